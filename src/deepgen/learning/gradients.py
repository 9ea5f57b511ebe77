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
from deepgen.rows.states import CompressedRows, dense, kernel_states, row_slice
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

    def rows(self, positive, negative):
        """Return some rows of each phase, by slices of row numbers; `follow` stays with the whole.

        Parameters
        ----------
        positive, negative : slice
            With a start and a stop.
        """
        chosen = positive, negative

        def of_pair(pair):
            if pair is None:
                return None
            return tuple(
                None if x is None else x[rows] for x, rows in zip(pair, chosen, strict=True)
            )

        states = (
            [row_slice(x, int(rows.start), int(rows.stop)) for x in side]
            for side, rows in zip((self.positive, self.negative), chosen, strict=True)
        )
        scales = tuple(
            {l: scale[rows] for l, scale in side.items()}
            for side, rows in zip(self.bias_scale, chosen, strict=True)
        )
        return Phases(
            *states, self.offsets, self.gains, weights=of_pair(self.weights),
            shares=of_pair(self.shares), bias_scale=scales,
        )  # fmt: skip

    def mean_changes(self, squares, work):
        """Return means over the positive phase minus those over the negative one.

        See :class:`PhaseStatistics`.
        """
        if not self.has_equal_rows:
            raise ValueError(
                "phases whose rows count differently must be summed first: "
                "phase_sums(parameters, phases)"
            )
        change = _phase_means(self.positive, squares, work.n_threads)
        change -= _phase_means(self.negative, squares, work.n_threads)
        return change

    def visit_weights(self, parameters, layer, differences, step, out, work):
        """Write the gradient by a matrix, or take the step; see :class:`PhaseStatistics`."""
        pair = slice(layer, layer + 2)
        phases = self.positive[pair], self.negative[pair]
        return visit_pair(parameters, layer, phases, self, differences, step, out, work)


class Visit(NamedTuple):
    """Arrays that a visit of a weight matrix (n_lower, n_upper) writes beside the matrix.

    Attributes
    ----------
    gradient : ndarray of shape (n_lower, n_upper), float32, or None
        The gradient by the weights; then these stay. None: they take the step.
    follow : tuple of two ndarrays of shape (n_lower,) and (n_upper,), float32, or None
        The centred gradient times the offsets of the other layer (docs/math.md, "Follow sums"):
        what the gradients by the two biases lose. None without centring, or where nobody asks.
    """

    gradient: np.ndarray | None = None
    follow: tuple | None = None


def visit_pair(parameters, layer, phases, statistics, differences, step, out, work):
    """Write the gradient by ``weights[layer]``, or where `out` has no array for it step.

    Parameters
    ----------
    phases : tuple of two pairs (lower, upper) of states
        Positive and negative; each is divided by its number of rows.
    statistics : PhaseStatistics
        With offsets and gains.
    parameters, layer, differences, step, out, work
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
        out.gradient, out.follow, weights, step.velocity, step.average,
        None if out.gradient is not None else parameters.packed[layer],
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

    def mean_changes(self, squares, work):
        """Return means over the positive phase minus those over the negative one.

        Parameters
        ----------
        squares : list of bool
            By layer: whether means of x^2 are wanted.
        work : Work

        Returns
        -------
        ndarray of shape (1 or 2, n_units of all layers), float64
            The mean of x of each unit, and the mean of x^2 where `squares` says so for its layer;
            without any of these there is no second row.
        """

    def visit_weights(self, parameters, layer, differences, step, out, work):
        """Write the gradient by ``weights[layer]``, or where `out` has no array for it step.

        Parameters
        ----------
        parameters : Parameters
        layer : int
        differences : list of ndarray, float32
            By layer: row 0 of :meth:`mean_changes`.
        step : Step
        out : Visit
        work : Work

        Returns
        -------
        bool
            True where a weight became non-finite.
        """


def _phase_means(states, squares, n_threads):
    """Return means over the rows of one phase, see :meth:`PhaseStatistics.mean_changes`."""
    sizes, n_rows = [x.shape[1] for x in states], states[0].shape[0]
    means = np.zeros((2 if any(squares) else 1, sum(sizes)))
    threads = effective_threads(n_threads, n_rows * max(sizes) * 8)
    engine.phase_sums([kernel_states(x) for x in states], sizes, squares, means, threads)
    means /= max(n_rows, 1)
    return means


class Differences:
    """Means over the positive phase minus those over the negative one, by layer.

    Parameters
    ----------
    parameters : Parameters
    statistics : PhaseStatistics
    work : Work

    Attributes
    ----------
    states : list of ndarray, float64
        ``mean(x+) - mean(x-)``.
    rounded : list of ndarray, float32
        The same, which gradients by weights are centred with.
    squares : list of ndarray, float64, or None
        ``mean(x+^2) - mean(x-^2)`` of layers that learn a precision; elsewhere of no use.
    """

    def __init__(self, parameters, statistics, work):
        change = statistics.mean_changes(parameters.learns_precision, work)
        stops = list(itertools.accumulate(layer.size for layer in parameters.layers))
        cuts = [slice(start, stop) for start, stop in itertools.pairwise([0, *stops])]
        self.states = [change[0, cut] for cut in cuts]
        self.rounded = [x.astype(np.float32) for x in self.states]
        self.squares = [change[1, cut] for cut in cuts] if len(change) > 1 else None


@dataclass
class LayerGradients:
    """By layer: gradients by bias and by log precision (None where it is not learned), float64.

    `difference` is ``mean(x+) - mean(x-)``, float32, which gradients by weights are centred with.
    `weights` are the gradients by the matrices, float32; None where they were stepped instead.
    """

    bias: list
    log_precision: list
    difference: list
    weights: list | None = None


def layer_gradients(parameters, statistics, work=ANY_WORK, *, weight_decay=0.0, centred=False):
    """Return the gradient of every weight matrix, bias and log precision, up the likelihood.

    Parameters
    ----------
    parameters : Parameters
    statistics : PhaseStatistics
    work : Work
    weight_decay : float
        Of the weights.
    centred : bool, default False
        Leave out of the bias gradients what the change of the weights adds to them: the
        gradient by the biases of the centred parametrization.

    Returns
    -------
    LayerGradients
    """
    differences = Differences(parameters, statistics, work)
    follow = [None if centred else follow_of(statistics, l) for l in range(parameters.n_layers - 1)]
    weights = [
        weight_gradient(
            parameters, statistics, l, differences.rounded,
            weight_decay=weight_decay, follow=follow[l], work=work,
        )
        for l in range(len(parameters.weights))
    ]  # fmt: skip
    found = vector_gradients(parameters, statistics, differences, follow)
    found.weights = weights
    return found


def follow_of(statistics, layer):
    """Return arrays for what the biases follow ``weights[layer]`` by, or None without centring.

    See :class:`Visit`.
    """
    if statistics.offsets is None:
        return None
    return tuple(np.empty(len(o), np.float32) for o in statistics.offsets[layer : layer + 2])


def vector_gradients(parameters, statistics, differences, follow, rates=None):
    """Return the gradient of every bias and log precision, up the likelihood.

    With mean differences ``dx_l = mean(x+) - mean(x-)``, offsets ``mu`` and gains ``g``::

        bias of layer l:  g_l dx_l - sum of what it follows the weights to both neighbours by
        log precision:    -p/2 (mean(x+^2) - mean(x-^2) - 2 mu dx)

    (docs/math.md, "One update").

    Parameters
    ----------
    parameters : Parameters
    statistics : PhaseStatistics
    differences : Differences
    follow : list of tuple or None
        By matrix, written by a visit of it: see :class:`Visit`.
    rates : sequence of float or None
        Factors on the learning rate of each weight matrix. A bias follows the weights at their
        rate, so what it follows by gets them too; ``dx_l`` does not.

    Returns
    -------
    LayerGradients
        Without `weights`. A log precision's gradient is taken at a fixed mean: who changes it
        moves the bias along by ``precision * offset * change``.
    """
    offsets, gains, learns = statistics.offsets, statistics.gains, parameters.learns_precision
    bias, log_precision = [], []
    for l, difference in enumerate(differences.states):
        gradient = difference.copy() if gains is None else gains[l] * difference
        for m, side in ((l - 1, 1), (l, 0)):  # matrices that the layer is above and below of
            if 0 <= m < len(follow) and follow[m] is not None:
                gradient -= follow[m][side] if rates is None else rates[m] * follow[m][side]
        if l in statistics.bias_terms:
            gradient += statistics.bias_terms[l]
        bias.append(gradient)
        by_log_precision = None
        if learns[l]:
            # -p/2 (d mean(x^2) - 2 mu dx): of -p/2 (x - mu)^2 at an offset that stays
            centre = 0.0 if offsets is None else offsets[l]
            square = differences.squares[l] - 2.0 * centre * difference
            by_log_precision = -0.5 * parameters.precisions[l] * square
            learned = parameters.layers[l].learned_precisions
            if learned is not None:
                by_log_precision *= learned
        log_precision.append(by_log_precision)
    return LayerGradients(bias, log_precision, differences.rounded)


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


def weight_gradient(
    parameters, statistics, layer, differences, *, weight_decay=0.0, follow=None, work=ANY_WORK
):
    """Return the gradient by weights[layer], float32 of shape (n_lower, n_upper).

    `follow` is written: see :class:`Visit`.
    """
    out = np.empty_like(parameters.weights[layer])
    step = Step(0.0, weight_decay=weight_decay)
    visit = Visit(out, follow)
    statistics.visit_weights(parameters, layer, differences, step, visit, work)
    return out


def step_weights(parameters, statistics, layer, differences, step, *, follow=None, work=ANY_WORK):
    """Change weights[layer], its velocity, its average and its packed form tile by tile.

    `follow` is written: see :class:`Visit`.

    Returns
    -------
    bool
        True where a weight became non-finite.
    """
    visit = Visit(None, follow)
    return statistics.visit_weights(parameters, layer, differences, step, visit, work)


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
    gradients = {f"weights[{l}]": gradient for l, gradient in enumerate(by_layer.weights)}
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
