"""Sums over rows and columns of states, and products of two layers' states."""

import numpy as np

from deepgen._kernels import engine
from deepgen.rows.states import CompressedRows, dense, kernel_states
from deepgen.runtime.threads import effective_threads
from deepgen.runtime.work import ANY_WORK


def row_dots(x, offset, n_threads=None):
    """Return ``x @ offset``, float64 of shape (n_rows,), for states x (n_rows, n_units)."""
    out = np.empty(x.shape[0])
    threads = effective_threads(n_threads, x.shape[0] * x.shape[1] * 4)
    engine.row_dot(kernel_states(x), offset, out, threads)
    return out


def _layer_threads(x, n_threads):
    """Threads for a pass over all entries; one of them counts as eight multiply-adds."""
    return effective_threads(n_threads, x.shape[0] * x.shape[1] * 8)


def column_moments(x, n_threads=None):
    """Return mean and mean square of each column of states, float64 of shape (n_columns,)."""
    total, square = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    threads = _layer_threads(x, n_threads)
    engine.layer_sums(kernel_states(x), None, total, square, None, threads)
    n_rows = max(x.shape[0], 1)
    return total / n_rows, square / n_rows


def column_sums(states, n_threads=None):
    """Return the sum of each column of states, float64 of shape (n_columns,)."""
    total = np.zeros(states.shape[1])
    threads = _layer_threads(states, n_threads)
    engine.layer_sums(kernel_states(states), None, total, None, None, threads)
    return total


def weighted_sums(x, factor, n_threads=None):
    """Return ``sum_r factor[r] x[r, :]``, float64 of shape (n_columns,)."""
    total, weighted = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    threads = _layer_threads(x, n_threads)
    factor = np.ascontiguousarray(factor, np.float64)
    engine.layer_sums(kernel_states(x), factor, total, None, weighted, threads)
    return weighted


def weight_sums(lower, upper, *, work=ANY_WORK):
    """Return lower^T upper, summed over rows in their order.

    Parameters
    ----------
    lower, upper : ndarray or CompressedRows of shape (n_rows, n_lower) and (n_rows, n_upper)

    Returns
    -------
    ndarray of shape (n_lower, n_upper), float32
    """
    out = np.empty((lower.shape[1], upper.shape[1]), np.float32)
    threads = effective_threads(work.n_threads, (lower.shape[0] + 4) * out.size)
    workspace = work.workspace or engine.Workspace()
    engine.weight_sums(kernel_states(lower), dense(upper), out, workspace, threads)
    return out


def products(x, y, *, work=ANY_WORK):
    """Return ``x^T y`` as :func:`weight_sums` does, along lists of the sparser of the two.

    A product of two numbers has the same bits from either side, so the order does not matter.
    """
    if _density(y) < _density(x):
        return weight_sums(y, x, work=work).T
    return weight_sums(x, y, work=work)


def _density(x):
    """Share of the entries that are not zero; of compressed rows those that are stored."""
    if isinstance(x, CompressedRows):
        return len(x.values) / max(x.shape[0] * x.shape[1], 1)
    return np.count_nonzero(x) / max(x.size, 1)
