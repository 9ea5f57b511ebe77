"""Whether whole-number states meet weights of 16 bits or of float32: decided here alone.

Binary and softmax states meet 16-bit fixed-point weights (docs/kernels.md), unless the setting
says float32. A finished model never changes for that: its matrix is packed only where its weights
are multiples of the scale, so that packing loses nothing (:func:`pack_exactly`), and a run ends
with such weights (:func:`rounded`). While a run goes on, updates change float32 weights, and
passes read their packed form, which is rounded anew after each update (:func:`pack`).
"""

import os

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import shown
from deepgen.runtime.threads import effective_threads

PRECISIONS = ("auto", "float32")
# The states of a row must not add up to more: 65,535 * 32,767 < 2**31, so no sum of states times
# weights leaves int32 (DG_MOST_STATES in _kernels/fixed_point.h).
MOST_STATES = 65_535

_chosen = None


def set_precision(precision):
    """Choose the arithmetic of binary and softmax states in this process.

    Parameters
    ----------
    precision : {"auto", "float32"} or None
        "auto": products with such states are sums of 16-bit fixed-point weights, exact in 32-bit
        integers, and models end their training with weights that these stand for exactly. While
        a model learns, means beside such weights are rounded to 255 steps where neighbours read
        them and in the statistics of an update.
        "float32": sums of float32 everywhere. None: what the environment variable
        ``DEEPGEN_PRECISION`` says, else "auto".

        Models keep their weights. A run of training keeps the arithmetic that it began with.

    Raises
    ------
    ValueError
        If `precision` is none of them.
    """
    global _chosen
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(f"precision must be 'auto', 'float32' or None, got {shown(precision)}")
    _chosen = precision


def precision():
    """Return the setting in force: "auto" or "float32"."""
    if _chosen is not None:
        return _chosen
    wish = os.environ.get("DEEPGEN_PRECISION")
    return wish if wish in PRECISIONS else "auto"


def _takes(lower, upper):
    """Tell whether both layers have whole-number states whose sums stay in int32."""
    return all(
        layer.state_dtype == np.uint8 and layer.size * layer.largest_state <= MOST_STATES
        for layer in (lower, upper)
    )


def pack(lower, upper, weights):
    """Return the packed form of a matrix in training, or None where passes read the floats.

    After each change of the weights the caller has to refresh it (``Packed.refresh``).

    Parameters
    ----------
    lower, upper : Units
    weights : ndarray of shape (n_lower, n_upper), float32
    """
    if precision() == "float32" or not _takes(lower, upper):
        return None
    return packed_form(lower, upper, weights)


def pack_exactly(lower, upper, weights):
    """Return the packed form of a model's matrix, or None where it would not be exact."""
    if precision() == "float32" or not _takes(lower, upper):
        return None
    if engine.round_weights(weights.copy(), _threads(weights)):
        return None
    return packed_form(lower, upper, weights)


def rounded(lower, upper, weights):
    """Return the weights rounded to multiples of their scale, or as they are for real states.

    The setting does not matter here: whoever calls it knows which arithmetic the run began with.
    """
    if not _takes(lower, upper):
        return weights
    weights = np.array(weights)
    engine.round_weights(weights, _threads(weights))
    return weights


def packed_form(lower, upper, weights):
    """Return the kernels' packed form of a matrix, whatever the setting is.

    For what a run makes of its weights: it keeps the arithmetic that it began with.
    """
    layers = lower.kernel_layer(), upper.kernel_layer()
    return engine.Packed(*layers, weights, _threads(weights))


def _threads(weights):
    """Threads for a visit to every weight; packing one counts as four multiply-adds."""
    return effective_threads(None, 4 * weights.size)
