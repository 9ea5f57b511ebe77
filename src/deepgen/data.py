"""Rows to learn from: arrays, memmaps, CSR matrices and re-iterables of batches."""

import numpy as np
from scipy import sparse

from deepgen.phases import column_moments
from deepgen.states import as_states
from deepgen.stream import SHUFFLE

# Rows are shuffled in blocks of this many: memory does not grow with the data, and disks are
# read in order.
BLOCK = 65_536
CHECK_ROWS = 8_192


class ArrayRows:
    """Rows of an array, a memmap or a CSR matrix; batches are taken without a copy of the data.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n_rows, n_columns)
    """

    def __init__(self, X):
        self.X = X.tocsr() if sparse.issparse(X) else X
        self.n_rows, self.n_columns = self.X.shape

    def pieces(self):
        """Yield the rows in order, as states of at most 8,192 rows."""
        for start in range(0, self.n_rows, CHECK_ROWS):
            yield as_states(self.X[start : start + CHECK_ROWS])

    def batches(self, batch_size, stream):
        """Yield one epoch of batches in the keyed pseudo-random order of `stream`."""
        n_blocks = -(-self.n_rows // BLOCK)
        pending = np.empty(0, np.int64)
        for block in stream.permutation(n_blocks, SHUFFLE):
            start = int(block) * BLOCK
            size = min(BLOCK, self.n_rows - start)
            order = start + stream.permutation(size, SHUFFLE, row=1 + int(block))
            order = np.concatenate([pending, order])
            full = len(order) // batch_size * batch_size
            for first in range(0, full, batch_size):
                yield as_states(self.X[order[first : first + batch_size]])
            pending = order[full:]
        if len(pending):
            yield as_states(self.X[pending])


class IterableRows:
    """Rows from an object that can be iterated over again and again, a batch at a time.

    Batches come in the iterable's own order and are cut or joined to `batch_size` rows.
    """

    n_rows = None

    def __init__(self, batches):
        self.source = batches
        try:
            first = next(iter(batches))
        except StopIteration:
            raise ValueError("X yields no batches; expected arrays of rows") from None
        self.n_columns = as_states(first).shape[1]

    def pieces(self):
        """Yield the batches as they come."""
        for number, batch in enumerate(self.source):
            states = as_states(batch)
            if states.shape[1] != self.n_columns:
                raise ValueError(
                    f"batch {number} of X has {states.shape[1]} features, but the first had "
                    f"{self.n_columns}"
                )
            yield states

    def batches(self, batch_size, stream):
        """Yield one epoch; the order is the iterable's."""
        for states in self.pieces():
            if not isinstance(states, np.ndarray):
                yield states
                continue
            for first in range(0, len(states), batch_size):
                yield states[first : first + batch_size]


def is_iterable_of_batches(X):
    """Tell an iterable of batches from an array-like."""
    array_like = isinstance(X, list | tuple | str) or hasattr(X, "__array__") or hasattr(X, "shape")
    return hasattr(X, "__iter__") and not array_like


def survey(rows, units, name="X", n_threads=None):
    """Check every value and measure the columns in one pass.

    Returns
    -------
    tuple of (n_rows, mean, variance)
        Moments by column, float64.

    Raises
    ------
    ValueError
        If the units cannot take a value.
    """
    n_rows, total, square = 0, 0.0, 0.0
    for states in rows.pieces():
        units.check(states, name)
        mean, mean_square = column_moments(states, n_threads)
        n_rows += states.shape[0]
        total = total + states.shape[0] * mean
        square = square + states.shape[0] * mean_square
    mean = total / n_rows
    return n_rows, mean, np.maximum(square / n_rows - mean**2, 0.0)
