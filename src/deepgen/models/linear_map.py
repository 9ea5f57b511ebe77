"""Products of rows with a matrix, on the kernels: a chain of a linear layer and one above it."""

import numpy as np

from deepgen._kernels import engine
from deepgen.layers.passes import LayerContext, Outputs, conditional_pass
from deepgen.models.network import ACTIVATIONS
from deepgen.runtime.work import ANY_WORK


class LinearMap:
    """The map ``f(x W + b)`` of rows, and back by ``W^T``, on the kernels.

    It points into its arrays: where these change, it changes. Its bits are those of the kernels,
    the same on every machine; NumPy's functions have others from processor to processor.

    Parameters
    ----------
    weights : ndarray of shape (n_lower, n_upper), float32, C-contiguous
    bias : ndarray of shape (n_upper,), float32, or None
        None: zero.
    activation : {"linear", "logistic", "softmax", "rectified"}
        f, on the way up.
    """

    def __init__(self, weights, bias=None, activation="linear"):
        self._sizes = weights.shape
        zeros = [np.zeros(size, np.float32) for size in weights.shape]
        upper = zeros[1] if bias is None else bias
        layers = [
            (ACTIVATIONS["linear"], 1, 1, zeros[0], None),
            (ACTIVATIONS[activation], 1, 1, upper, None),
        ]
        self._chain = engine.Chain(layers, [weights])

    def up(self, x, *, rows=None, out=None, work=ANY_WORK):
        """Return ``f(x W + b + rows)``.

        Parameters
        ----------
        x : states of shape (n_rows, n_lower)
        rows : ndarray of shape (n_rows, n_upper), float32, or None
        out : ndarray of that shape, float32, or None
            Where the result goes; not `x`.
        work : Work
        """
        return self._map(1, x, rows, out, work)

    def down(self, y, *, rows=None, out=None, work=ANY_WORK):
        """Return ``y W^T + rows``; see :meth:`up`."""
        return self._map(0, y, rows, out, work)

    def _map(self, to, x, rows, out, work):
        if out is None:
            out = np.empty((x.shape[0], self._sizes[to]), np.float32)
        states = [x, None] if to else [None, x]
        around = None if rows is None else LayerContext(bias_rows=rows)
        if out.shape[0]:
            conditional_pass(self._chain, to, states, Outputs(out), around, work=work)
        return out
