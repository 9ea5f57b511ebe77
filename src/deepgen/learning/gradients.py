"""Two phases of states, and the gradient that their difference is (docs/math.md, "One update").

The gradient of every layered model is the same sum: ``x^T y / n`` of the positive phase minus
``x^T y / m`` of the negative phase, plus rank-one terms. Centring and standardization are
affine changes of that gradient; models and files always hold plain parameters.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import shown
from deepgen.rows.states import CompressedRows, dense, kernel_states
from deepgen.rows.sums import row_dots, weighted_mean
from deepgen.runtime.threads import effective_threads
from deepgen.runtime.work import ANY_WORK


@dataclass
class Phases:
    """States under the data and states under the model.

    Attributes
    ----------
    positive, negative : list of ndarray, CompressedRows or ByteMeans
        By layer, (n_rows, n_units): samples or conditional means, as kernels read them (arrays
        are C-contiguous, uint8 or float32). Each phase is divided by its own number of rows.
    offsets : list of ndarray or None
        Centring by layer (Montavon & Müller 2012; Melchior et al. 2016). None: no centring.
    gains : list of ndarray or None
        Standardization by layer: the precision that Gaussian units started from, 1 elsewhere.
    bias_terms : dict of int to ndarray
        Added to the gradient of a layer's bias: sparsity targets.
    weights : tuple of two ndarrays of shape (n_rows,), float64, or None
        How much each row of the two phases counts. None: 1. The second may be None alone, of chains
        that belong to no row: they share the total of the first.
    shares : tuple of two ndarrays of shape (n_rows,), float64, or None
        What the states of each row are multiplied by beside its weight: one over the words of a
        document. A row of weight 1 has as much of the total as any other, whatever its share.
    bias_scale : tuple of two dicts of int to ndarray of shape (n_rows,)
        By layer: what the bias was multiplied by, row by row (`Context`), in the positive and in
        the negative phase.
    follow : callable or None
        Of a part of a batch: what the rule still has to do. Called once with ``mean(x+)`` by
        layer, float64, over the rows of all parts; moves the state of the rule and returns
        `bias_terms`.
    """

    positive: list
    negative: list
    offsets: list | None = None
    gains: list | None = None
    bias_terms: dict = field(default_factory=dict)
    weights: tuple | None = None
    shares: tuple | None = None
    bias_scale: tuple = field(default_factory=lambda: ({}, {}))
    follow: Callable | None = None

    @property
    def has_equal_rows(self):
        """Whether every row counts alike, so that sums and step can be one visit of the weights."""
        return self.weights is None and not any(self.bias_scale)

    def counts_of(self, side):
        """Return the weights of the rows of a phase (0 or 1), and those times their shares.

        None: every row counts 1.
        """
        weights = None if self.weights is None else self.weights[side]
        if self.shares is None:
            return weights, weights
        return weights, self.shares[side] if weights is None else weights * self.shares[side]

    def mean_changes(self, scaled, squares, work):
        """Return means over the positive phase minus those over the negative one.

        See :class:`PhaseStatistics`.
        """
        if not self.has_equal_rows:
            raise ValueError(
                "phases whose rows count differently must be summed first: "
                "phase_sums(parameters, phases)"
            )
        change = _phase_means(self.positive, scaled, squares, work.n_threads)
        change -= _phase_means(self.negative, scaled, squares, work.n_threads)
        return change

    def visit_weights(self, parameters, layer, differences, step, gradient, work):
        """Write the gradient by a matrix, or take the step; see :class:`PhaseStatistics`."""
        pair = slice(layer, layer + 2)
        phases = self.positive[pair], self.negative[pair]
        return visit_pair(parameters, layer, phases, self, differences, step, gradient, work)


def visit_pair(parameters, layer, phases, statistics, differences, step, gradient, work):
    """Write the gradient by ``weights[layer]`` to `gradient`, or where that is None step.

    Parameters
    ----------
    phases : tuple of two pairs (lower, upper) of states
        Positive and negative; each is divided by its number of rows.
    statistics : PhaseStatistics
        With offsets and gains.
    parameters, layer, differences, step, gradient, work
        See :meth:`PhaseStatistics.visit_weights`.
    """
    pair, weights = slice(layer, layer + 2), parameters.weights[layer]
    rows = sum(lower.shape[0] for lower, _ in phases)
    positive, negative = ((kernel_states(lower), _expanded(upper)) for lower, upper in phases)
    return engine.update_weights(
        positive, negative,
        None if statistics.offsets is None else statistics.offsets[pair],
        differences[pair],
        None if statistics.gains is None else statistics.gains[pair],
        gradient, weights, step.velocity, step.average,
        None if gradient is not None else parameters.packed[layer],
        step.learning_rate, step.momentum, step.weight_decay, step.averaging,
        work.workspace or engine.Workspace(),
        effective_threads(work.n_threads, (rows + 4) * weights.size),
    )  # fmt: skip


def check_phases(phases, layers, batch):
    """Raise unless what a rule has made of a batch are phases of these layers.

    Kernels trust the shapes. Weights and bias scales of the batch must have reached the phases: a
    rule that has no use for them has to say so.

    Parameters
    ----------
    phases : object
    layers : sequence of Units
    batch : Batch
    """
    if not isinstance(phases, Phases):
        raise TypeError(
            f"a rule must return Phases, or RowGradients to a Trainer, got {shown(phases)}"
        )
    counts = []
    for side in ("positive", "negative"):
        states = getattr(phases, side)
        n_rows = states[0].shape[0]
        counts.append(n_rows)
        if len(states) != len(layers):
            raise ValueError(
                f"the {side} phase must have states of {len(layers)} layers, got {len(states)}"
            )
        for l, x in enumerate(states):
            if x.shape != (n_rows, layers[l].size):
                raise ValueError(
                    f"{side}[{l}] of the phases must have shape {(n_rows, layers[l].size)}, got "
                    f"{x.shape}"
                )
        if not n_rows and not batch.is_part:
            raise ValueError(f"the {side} phase must have at least one row, got none")
    for name in ("offsets", "gains"):
        vectors = getattr(phases, name)
        if vectors is None:
            continue
        for l, layer in enumerate(layers):
            if vectors[l].shape != (layer.size,):
                raise ValueError(
                    f"{name}[{l}] of the phases must have shape {(layer.size,)}, got "
                    f"{vectors[l].shape}"
                )
    for name, given in (
        ("weights", batch.weights is not None),
        ("bias_scale", batch.context is not None and batch.context.bias_scale),
    ):
        if given and not (phases.weights if name == "weights" else any(phases.bias_scale)):
            raise ValueError(
                f"phases of a batch with {name} must have {name} too, got none: a rule passes them "
                "on, or refuses the batch"
            )
    if phases.weights is not None:
        if not isinstance(phases.weights, tuple) or len(phases.weights) != 2:
            raise TypeError(
                "weights of the phases must be a tuple of two, for the positive and the negative "
                f"phase, got {shown(phases.weights)}"
            )
        for side, weights in enumerate(phases.weights):
            if weights is not None:
                _check_by_row(f"weights[{side}]", weights, counts[side])
    for side, shares in enumerate(phases.shares or ()):
        _check_by_row(f"shares[{side}]", shares, counts[side])
    for scales, n_rows in zip(phases.bias_scale, counts, strict=True):
        for l, scale in scales.items():
            _check_by_row(f"bias_scale[{l}]", scale, n_rows)


def _check_by_row(name, values, n_rows):
    """Raise ValueError unless there is a number for each row of a phase."""
    if np.shape(values) != (n_rows,):
        raise ValueError(
            f"{name} of the phases must have shape {(n_rows,)}, a number for each row, got "
            f"{np.shape(values)}"
        )


class PhaseStatistics(Protocol):
    """Two phases as gradients read them, as states or as sums over their rows.

    :class:`Phases` is one, :class:`~deepgen.learning.sums.Sums` the other.

    Attributes
    ----------
    offsets, gains, bias_terms
        See :class:`Phases`.
    """

    def mean_changes(self, scaled, squares, work):
        """Return means over the positive phase minus those over the negative one.

        Parameters
        ----------
        scaled : list of ndarray or None
            Gain times offset by layer, ``mu`` below; None without centring.
        squares : list of bool
            By layer: whether means of x^2 are wanted.
        work : Work

        Returns
        -------
        ndarray of shape (4, n_units of all layers), float64
            With x of a unit, and ``u``, ``w`` the states of the layers below and above:

            0. mean of x
            1. mean of x^2, where `squares` says so for the layer
            2. mean of x (u . mu_below)
            3. mean of x (w . mu_above)

            Row 0 alone where neither squares nor offsets are given.
        """

    def visit_weights(self, parameters, layer, differences, step, gradient, work):
        """Write the gradient by ``weights[layer]`` to `gradient`, or where that is None step.

        Parameters
        ----------
        parameters : Parameters
        layer : int
        differences : list of ndarray, float32
            By layer: row 0 of :meth:`mean_changes`.
        step : Step
        gradient : ndarray or None
        work : Work

        Returns
        -------
        bool
            True where a weight became non-finite.
        """


def _phase_means(states, offsets, squares, n_threads):
    """Return means over the rows of one phase, see :meth:`PhaseStatistics.mean_changes`."""
    sizes, n_rows = [x.shape[1] for x in states], states[0].shape[0]
    plain = offsets is None and not any(squares)
    means = np.zeros((1 if plain else 4, sum(sizes)))
    # scratch of the kernel: the products u . mu of each row, by layer
    dots = None if offsets is None else np.empty((len(states), n_rows))
    threads = effective_threads(n_threads, n_rows * max(sizes) * 8)
    rows = [kernel_states(x) for x in states]
    engine.phase_sums(rows, sizes, offsets, squares, dots, means, threads)
    means /= max(n_rows, 1)
    return means


@dataclass
class LayerGradients:
    """By layer: gradients by bias and by log precision (None where it is not learned), float64.

    `difference` is ``mean(x+) - mean(x-)``, float32, which gradients by weights are centred with.
    """

    bias: list
    log_precision: list
    difference: list


def layer_gradients(
    parameters, statistics, work=ANY_WORK, *, weight_decay=0.0, rates=None, centred=False
):
    """Return the gradient of every bias and log precision, up the likelihood.

    With mean differences ``dx_l = mean(x+) - mean(x-)``, offsets ``mu`` and gains ``g``::

        bias of layer l:  g_l (dx_l - sum over neighbours m of (centred gradient) (g_m o mu_m))
        log precision:    -p/2 (mean(x+^2) - mean(x-^2) - 2 mu dx)

    where o is a product by unit (docs/math.md, "One update").

    Parameters
    ----------
    parameters : Parameters
    statistics : Phases or Sums
    work : Work
    weight_decay : float
        Of the weights. Real-valued units far from zero need their neighbours' biases to follow
        the decay too, or it would move every field.
    rates : sequence of float or None
        Factors on the learning rate of each weight matrix. The sum over neighbours, by which a
        bias follows the weights, gets them too; ``dx_l`` does not.
    centred : bool, default False
        Leave out of the bias gradients what the change of the weights adds to them: the
        gradient by the biases of the centred parametrization.

    Returns
    -------
    LayerGradients
        ``difference[l]`` is the plain difference of means, float32; ``bias[l]`` and
        ``log_precision[l]`` are float64. The latter is taken at a fixed mean: who changes a log
        precision moves the bias along by ``precision * offset * change``.
    """
    n_layers, offsets, gains = parameters.n_layers, statistics.offsets, statistics.gains
    scaled = None  # gain o offset, by layer
    if offsets is not None and not centred:
        scaled = [o if gains is None else o * gains[l] for l, o in enumerate(offsets)]
    learns = parameters.learns_precision
    # every mean of the positive phase minus that of the negative one, cut into layers
    change = statistics.mean_changes(scaled, learns, work)
    stops = list(itertools.accumulate(layer.size for layer in parameters.layers))
    changes = [change[:, start:stop] for start, stop in itertools.pairwise([0, *stops])]
    difference = [rows[0] for rows in changes]  # dx_l
    bias, log_precision = [], []
    for l in range(n_layers):
        # dx_l - sum over neighbours m of (G - mu_l dx_m^T - dx_l mu_m^T) (g_m o mu_m),
        # G as seen from layer l: mean of x_l x_m^T under the data minus that under the model.
        # Rows 2 and 3 of the means are G (g_m o mu_m) of the layers below and above.
        gradient = difference[l].copy()
        for row, m in ((2, l - 1), (3, l + 1)):
            if scaled is None or not 0 <= m < n_layers:
                continue
            follow = changes[l][row]
            follow -= offsets[l] * (difference[m] * scaled[m]).sum()
            follow -= difference[l] * (offsets[m] * scaled[m]).sum(dtype=np.float64)
            # the bias follows the weights, so it goes at their rate
            gradient -= follow if rates is None else rates[min(l, m)] * follow
        if gains is not None:
            gradient *= gains[l]
        if l in statistics.bias_terms:
            gradient += statistics.bias_terms[l]
        bias.append(gradient)
        by_log_precision = None
        if learns[l]:
            # -p/2 (d mean(x^2) - 2 mu dx): of -p/2 (x - mu)^2 at an offset that stays
            centre = 0.0 if offsets is None else offsets[l]
            square = changes[l][1] - 2.0 * centre * difference[l]
            by_log_precision = -0.5 * parameters.precisions[l] * square
            learned = parameters.layers[l].learned_precisions
            if learned is not None:
                by_log_precision *= learned
        log_precision.append(by_log_precision)
    if gains is not None and scaled is not None and weight_decay:
        # Weights lose a W in centred coordinates: biases get a W lambda below, a W^T mu above, or
        # the decay would move the field of the mean row.
        for l, weights in enumerate(parameters.weights):
            decay = weight_decay if rates is None else rates[l] * weight_decay
            bias[l] += decay * row_dots(weights, offsets[l + 1], work.n_threads)
            bias[l + 1] += decay * len(weights) * weighted_mean(weights, offsets[l], work.n_threads)
    return LayerGradients(bias, log_precision, [d.astype(np.float32) for d in difference])


class Step(NamedTuple):
    """One optimizer step on a weight matrix W with gradient g, which the kernel forms as it goes.

    ``velocity = momentum * velocity + g - weight_decay * W``, ``W += learning_rate * velocity``,
    ``average += averaging * (W - average)``.

    Attributes
    ----------
    learning_rate, momentum, weight_decay, averaging : float
    velocity, average : ndarray like the matrix, float32, or None
        Changed in place. None: no momentum, no average.
    """

    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    averaging: float = 0.0
    velocity: np.ndarray | None = None
    average: np.ndarray | None = None


def _expanded(upper):
    """Return upper states as kernels read them, never sparse: only lower ones of a pair may be."""
    return dense(upper) if isinstance(upper, CompressedRows) else kernel_states(upper)


def weight_gradient(parameters, statistics, layer, differences, *, weight_decay=0.0, work=ANY_WORK):
    """Return the gradient by weights[layer], float32 of shape (n_lower, n_upper)."""
    out = np.empty_like(parameters.weights[layer])
    step = Step(0.0, weight_decay=weight_decay)
    statistics.visit_weights(parameters, layer, differences, step, out, work)
    return out


def step_weights(parameters, statistics, layer, differences, step, *, work=ANY_WORK):
    """Change weights[layer], its velocity, its average and its packed form tile by tile.

    Returns
    -------
    bool
        True where a weight became non-finite.
    """
    return statistics.visit_weights(parameters, layer, differences, step, None, work)


def named_gradients(parameters, statistics, *, work=ANY_WORK):
    """Return the gradient by every array that training changes, up the likelihood.

    Without centring it is the plain gradient; with it, that of docs/math.md, "One update".

    Parameters
    ----------
    parameters : Parameters
    statistics : Phases or Sums
    work : Work

    Returns
    -------
    dict of {str: ndarray, float32}
        By the names of ``parameters.learned()``.
    """
    by_layer = layer_gradients(parameters, statistics, work)
    gradients = {
        f"weights[{l}]": weight_gradient(
            parameters, statistics, l, by_layer.difference, work=work
        )
        for l in range(len(parameters.weights))
    }  # fmt: skip
    for l, bias in enumerate(by_layer.bias):
        gradients[f"layers[{l}].bias"] = bias.astype(np.float32)
        if by_layer.log_precision[l] is not None:
            by_log_precision = by_layer.log_precision[l].astype(np.float32)
            gradients[f"layers[{l}].log_precision"] = by_log_precision
    return gradients


def row_differences(phases, layer):
    """Return the gradient by the bias rows of a layer, up the likelihood of each row.

    ``x+ - x-``, where the rows of both phases belong together, as those of CD do: what gives the
    biases, such as past frames of a time series, is learned through it.

    Parameters
    ----------
    phases : Phases
    layer : int

    Returns
    -------
    ndarray of shape (n_rows, n_units), float32
        At ``beta`` = 1, and before any weights by row.

    Raises
    ------
    ValueError
        If the phases have different numbers of rows: those of persistent chains belong to no row.
    """
    positive, negative = phases.positive[layer], phases.negative[layer]
    if positive.shape != negative.shape:
        raise ValueError(
            "phases must have the same rows for a gradient by bias rows, got "
            f"{positive.shape[0]} positive and {negative.shape[0]} negative ones; use CD"
        )
    return dense(positive).astype(np.float32) - dense(negative)


@dataclass
class RowGradients:
    """Gradients by name in place of phases: of a rule that back-propagates through its answers.

    Such as the prediction of ratings that are held back from the visible layer.

    Attributes
    ----------
    sums : dict of {str: ndarray}
        Gradients of what is made small, summed over `n_rows` rows, by the names of
        ``parameters.learned()``, and of their shapes. Parameters without one stay. All processes
        have the same names.
    n_rows : float
        The number of rows, or the sum of their weights, that the sums are divided by.
    value : float or None
        What is made small, summed over the same rows; None where the rule has no such number.
    """

    sums: dict
    n_rows: float
    value: float | None = None

    def add_up(self, collective):
        """Add the sums of all processes, in place."""
        names = sorted(self.sums)
        parts = [np.ravel(self.sums[name]) for name in names]
        value = 0.0 if self.value is None else self.value
        flat = np.concatenate([*parts, [self.n_rows, value]], dtype=np.float64)
        collective.sum(flat)
        cuts = np.cumsum([part.size for part in parts])
        for name, piece in zip(names, np.split(flat[:-2], cuts[:-1]), strict=True):
            self.sums[name] = piece.reshape(self.sums[name].shape)
        self.n_rows = float(flat[-2])
        self.value = None if self.value is None else float(flat[-1])

    def by_name(self):
        """Return the gradients, ``sums / n_rows``, float32."""
        n_rows = max(self.n_rows, 1e-300)
        return {
            name: np.ascontiguousarray(np.asarray(total) / n_rows, np.float32)
            for name, total in self.sums.items()
        }
