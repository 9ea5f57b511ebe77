"""Two phases of states, and the gradient that their difference is (docs/math.md, "One update").

The gradient of every layered model is the same sum: ``x^T y / n`` of the positive phase minus
``x^T y / m`` of the negative phase, plus rank-one terms. Centring and standardization are
affine changes of that gradient; models and files always hold plain parameters.
"""

import itertools
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from deepgen._kernels import engine
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
        By layer, (n_rows, n_units): samples or conditional means. Each phase is divided by its
        own number of rows.
    offsets : list of ndarray or None
        Centring by layer (Montavon & Müller 2012; Melchior et al. 2016). None: no centring.
    gains : list of ndarray or None
        Standardization by layer: the precision that Gaussian units started from, 1 elsewhere.
    bias_terms : dict of int to ndarray
        Added to the gradient of a layer's bias: sparsity targets.
    """

    positive: list
    negative: list
    offsets: list | None = None
    gains: list | None = None
    bias_terms: dict = field(default_factory=dict)


def _phase_means(states, offsets, squares, n_threads):
    """Return means over the rows of a phase, float64; columns are the units of all layers.

    Four rows. With x of a unit, ``mu`` the `offsets`, and ``u``, ``w`` the states of the layers
    below and above:

    0. mean of x
    1. mean of x^2, where `squares` says so for the layer
    2. mean of x (u . mu_below)
    3. mean of x (w . mu_above)

    Row 0 alone where neither squares nor offsets are given.
    """
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


def learns_precision(parameters, layer):
    """Tell whether training changes the log precision of a layer."""
    if parameters.log_precisions[layer] is None:
        return False
    return f"layers[{layer}].log_precision" in parameters.learned()


@dataclass
class LayerGradients:
    """By layer: gradients by bias and by log precision (None where it is not learned), float64.

    `difference` is ``mean(x+) - mean(x-)``, float32, which gradients by weights are centred with.
    """

    bias: list
    log_precision: list
    difference: list


def layer_gradients(
    parameters, phases, n_threads=None, *, weight_decay=0.0, rates=None, centred=False
):
    """Return the gradient of every bias and log precision, up the likelihood.

    With mean differences ``dx_l = mean(x+) - mean(x-)``, offsets ``mu`` and gains ``g``::

        bias of layer l:  g_l (dx_l - sum over neighbours m of (centred gradient) (g_m o mu_m))
        log precision:    -p/2 (mean(x+^2) - mean(x-^2) - 2 mu dx)

    where o is a product by unit (docs/math.md, "One update").

    Parameters
    ----------
    parameters : Parameters
    phases : Phases
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
    n_layers, offsets, gains = parameters.n_layers, phases.offsets, phases.gains
    scaled = None  # gain o offset, by layer
    if offsets is not None and not centred:
        scaled = [o if gains is None else o * gains[l] for l, o in enumerate(offsets)]
    learns = [learns_precision(parameters, l) for l in range(n_layers)]
    # every mean of the positive phase minus that of the negative one, cut into layers
    change = _phase_means(phases.positive, scaled, learns, n_threads)
    change -= _phase_means(phases.negative, scaled, learns, n_threads)
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
        if l in phases.bias_terms:
            gradient += phases.bias_terms[l]
        bias.append(gradient)
        by_log_precision = None
        if learns[l]:
            # -p/2 (d mean(x^2) - 2 mu dx): of -p/2 (x - mu)^2 at an offset that stays
            centre = 0.0 if offsets is None else offsets[l]
            square = changes[l][1] - 2.0 * centre * difference[l]
            by_log_precision = -0.5 * parameters.precisions[l] * square
        log_precision.append(by_log_precision)
    if gains is not None and scaled is not None and weight_decay:
        # Weights lose a W in centred coordinates: biases get a W lambda below, a W^T mu above, or
        # the decay would move the field of the mean row.
        for l, weights in enumerate(parameters.weights):
            decay = weight_decay if rates is None else rates[l] * weight_decay
            bias[l] += decay * row_dots(weights, offsets[l + 1], n_threads)
            bias[l + 1] += decay * len(weights) * weighted_mean(weights, offsets[l], n_threads)
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


def _visit_weights(parameters, phases, layer, differences, step, gradient, work):
    """Write the gradient to `gradient`, or where that is None take the step."""
    pair = slice(layer, layer + 2)
    (lower, upper), (below, above) = phases.positive[pair], phases.negative[pair]
    rows = phases.positive[layer].shape[0] + phases.negative[layer].shape[0]
    weights = parameters.weights[layer]
    return engine.update_weights(
        (kernel_states(lower), _expanded(upper)),
        (kernel_states(below), _expanded(above)),
        None if phases.offsets is None else phases.offsets[pair],
        differences[pair],
        None if phases.gains is None else phases.gains[pair],
        gradient, weights, step.velocity, step.average,
        None if gradient is not None else parameters.packed[layer],
        step.learning_rate, step.momentum, step.weight_decay, step.averaging,
        work.workspace or engine.Workspace(),
        effective_threads(work.n_threads, (rows + 4) * weights.size),
    )  # fmt: skip


def _expanded(upper):
    """Return upper states as kernels read them, never sparse: only lower ones of a pair may be."""
    return dense(upper) if isinstance(upper, CompressedRows) else kernel_states(upper)


def weight_gradient(parameters, phases, layer, differences, *, weight_decay=0.0, work=ANY_WORK):
    """Return the gradient by weights[layer], float32 of shape (n_lower, n_upper)."""
    out = np.empty_like(parameters.weights[layer])
    step = Step(0.0, weight_decay=weight_decay)
    _visit_weights(parameters, phases, layer, differences, step, out, work)
    return out


def step_weights(parameters, phases, layer, differences, step, *, work=ANY_WORK):
    """Change weights[layer], its velocity, its average and its packed form tile by tile.

    Returns
    -------
    bool
        True where a weight became non-finite.
    """
    return _visit_weights(parameters, phases, layer, differences, step, None, work)
