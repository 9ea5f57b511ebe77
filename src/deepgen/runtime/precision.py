"""Which weights passes of whole-number states use: the only place that decides it.

Binary and softmax states meet 16-bit fixed-point weights (docs/kernels.md), unless the setting
says float32. A model never changes for that: its weights are packed only where packing loses
nothing, and training ends with weights for which this holds. While it learns, passes read
the rounded form of the float32 weights that take the updates.
"""

import os

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import shown
from deepgen.runtime.threads import effective_threads

PRECISIONS = ("auto", "float32")
# States of a row add up to at most so much: then no sum leaves int32 (DG_MOST_STATES).
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
        If it is none of them.
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
        layer.state_dtype == np.uint8 and layer.size * layer.n_copies <= MOST_STATES
        for layer in (lower, upper)
    )


def pack(lower, upper, weights):
    """Return the packed form of a matrix in training, or None; the caller keeps it up to date.

    Parameters
    ----------
    lower, upper : Units
    weights : ndarray of shape (n_lower, n_upper), float32
    """
    if precision() == "float32" or not _takes(lower, upper):
        return None
    return _packed(lower, upper, weights)


def pack_exactly(lower, upper, weights):
    """Return the packed form of a model's matrix, or None where it would not be exact."""
    if precision() == "float32" or not _takes(lower, upper):
        return None
    if engine.round_weights(weights.copy(), _threads(weights)):
        return None
    return _packed(lower, upper, weights)


def rounded(lower, upper, weights):
    """Return weights whose packed form is exact, or the same ones where there is none.

    Whatever the setting: a run ends with the weights of the arithmetic that it began with.
    """
    if not _takes(lower, upper):
        return weights
    weights = np.array(weights)
    engine.round_weights(weights, _threads(weights))
    return weights


def _packed(lower, upper, weights):
    layers = lower.kernel_layer(), upper.kernel_layer()
    return engine.Packed(*layers, weights, _threads(weights))


def _threads(weights):
    return effective_threads(None, 4 * weights.size)
