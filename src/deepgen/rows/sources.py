"""Rows to learn from: arrays, memmaps, packed bits, CSR matrices and re-iterables of batches."""

from collections.abc import Mapping, Set
from itertools import islice

import numpy as np
from scipy import sparse

from deepgen.checks import check_instance, real_array, shown
from deepgen.rows.batch import AroundRows, Batch, as_weights
from deepgen.rows.packed_bits import PackedBits
from deepgen.rows.states import as_states, checked_csr
from deepgen.runtime.stream import SHUFFLE

# Rows are shuffled within blocks of this many, and the blocks among each other: the order of an
# epoch takes memory for one block, and a file on disk is read a region at a time.
BLOCK = 65_536
# Rows of a piece where all are read in order, for a check or a measurement.
CHECK_ROWS = 8_192
# Features of rows that another model makes (stacks, posteriors) are kept in memory up to this many
# bytes; beyond it they are made anew for every batch.
KEEP_BYTES = 2**29


class ArrayRows:
    """Rows of an array, a memmap or a CSR matrix; batches are taken without a copy of the data.

    Parameters
    ----------
    X : ndarray, PackedBits or sparse matrix of shape (n_rows, n_columns)
    context : Context or None
        With a row for each row of `X`: each batch gets its own.
    weights : array-like of shape (n_rows,) or None
        How much each row counts; divided by their mean, so that learning rates keep their meaning.
    """

    is_fixed = True

    def __init__(self, X, *, context=None, weights=None):
        self.X = checked_csr(X) if sparse.issparse(X) else X
        self.n_rows, self.n_columns = self.X.shape
        if context is not None:
            check_instance(context, "context", AroundRows, "a dg.Context or None")
            context.check_rows(self.n_rows)
        self.context, self.weights = context, None
        if weights is not None:
            weights = as_weights(weights, self.n_rows)
            if not weights.any():
                raise ValueError("weights must be positive for at least one row, got zeros alone")
            self.weights = weights / weights.mean()

    def value_at(self, row, column):
        """Return one entry as it was given."""
        return self.X[row, column]

    def pieces(self, stream=None):
        """Yield the rows in order, as batches of at most 8,192 rows."""
        return self.in_order(CHECK_ROWS)

    def plain_bytes(self):
        """Return X where it is an array of bytes, C-contiguous, and nothing belongs to its rows.

        Else None. Kernels gather rows of such an array themselves.
        """
        X = self.X
        if self.context is not None or self.weights is not None or not _in_order(X):
            return None
        if X.dtype == np.bool_:
            return X.view(np.uint8)
        return X if X.dtype == np.uint8 else None

    def states(self, chosen):
        """Return some rows, by a slice or an array of their numbers (no mask), as states."""
        if isinstance(chosen, slice) or not _in_order(self.X):
            return as_states(self.X[chosen])
        return as_states(self.X.take(chosen, axis=0))  # twice as fast as an index

    def batch(self, chosen):
        """Return some rows, by a slice or an array of their numbers (no mask), as a batch."""
        return Batch(
            (self.states(chosen),),
            None if self.context is None else self.context.of_rows(chosen),
            None,
            None if self.weights is None else self.weights[chosen],
        )

    def in_order(self, size):
        """Yield the rows in order, as batches of `size` rows; the last one may have fewer."""
        for start in range(0, self.n_rows, size):
            yield self.batch(slice(start, min(start + size, self.n_rows)))

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch of batches in the keyed pseudo-random order of `stream`.

        The first `skip` batches are left out, and their rows are not read.
        """
        return map(self.batch, islice(self.orders(batch_size, stream), skip, None))

    def orders(self, batch_size, stream):
        """Yield the numbers of the rows of each batch; see :func:`shuffled`."""
        return shuffled(self.n_rows, batch_size, stream)


def shuffled(n_rows, batch_size, stream):
    """Yield the numbers of the rows of each batch of an epoch, in the keyed order of `stream`.

    Blocks come in a random order, the rows of each in one too. A batch may reach from one block
    into the next, so that all have `batch_size` rows but the last of the epoch.
    """
    n_blocks = -(-n_rows // BLOCK)
    pending = np.empty(0, np.int64)
    for block in stream.permutation(n_blocks, SHUFFLE):
        start = int(block) * BLOCK
        size = min(BLOCK, n_rows - start)
        order = start + stream.permutation(size, SHUFFLE, row=1 + int(block))
        order = np.concatenate([pending, order])
        full = len(order) // batch_size * batch_size
        for first in range(0, full, batch_size):
            yield order[first : first + batch_size]
        pending = order[full:]
    if len(pending):
        yield pending


def _in_order(X):
    """Tell whether `take` reads the chosen rows alone; it copies all of X first if not."""
    return isinstance(X, np.ndarray) and X.flags.c_contiguous and X.flags.aligned


class IterableRows:
    """Rows from an object that can be iterated over again and again, a batch at a time.

    Rows come in the iterable's own order; its batches are cut or joined to `batch_size` rows, so
    it does not matter how many rows each of them has. They have no context and no weights: these
    need rows that can be asked for by their numbers (:class:`ArrayRows`, of a memmap too).

    Parameters
    ----------
    batches : iterable of array-like or sparse matrix of shape (n_rows of the batch, n_columns)

    Attributes
    ----------
    n_rows : None
        Not known before all have been read.
    n_columns : int
    names : list of str or None
        Of the columns, where the batches are data frames.

    Raises
    ------
    ValueError
        If it can be read only once, or has no batch to begin with.
    """

    n_rows, is_fixed = None, False

    def __init__(self, batches):
        if isinstance(batches, Mapping | Set | str | bytes):
            raise TypeError(
                "X must be an array of rows, or an iterable that yields batches of them in order, "
                f"got a {type(batches).__name__}; pass an array that is in it"
            )
        iterator = iter(batches)
        if iterator is batches:
            raise ValueError(
                "X is a generator or iterator that can be read only once, but fit reads the rows "
                "once to measure them and once in each epoch; pass an object whose __iter__ starts "
                "again, or call partial_fit with each batch"
            )
        self.source = batches
        self.n_columns = self.names = None
        for batch in iterator:
            self.names = _column_names(batch)
            self.n_columns = self._matrix(0, batch).shape[1]
            break
        if not self.n_columns:
            raise ValueError("X must yield arrays of rows, got no batch or no column")

    def _matrix(self, number, batch):
        """Return a batch as an array or CSR matrix, after a check that it fits the first one."""
        name = f"batch {number} of X"
        if sparse.issparse(batch):
            try:
                matrix = checked_csr(batch)
            except ValueError as error:
                raise ValueError(f"{name} cannot be read: {error}") from None
        else:
            matrix = real_array(batch, name)
        if matrix.ndim != 2:
            raise ValueError(f"{name} must be a 2-D array of rows, got shape {matrix.shape}")
        if self.n_columns not in (None, matrix.shape[1]):
            raise ValueError(
                f"{name} has {matrix.shape[1]} features, but the first had {self.n_columns}"
            )
        if _column_names(batch) != self.names:
            raise ValueError(
                f"{name} must have the columns of the first, in their order: {shown(self.names)}, "
                f"got {shown(_column_names(batch))}"
            )
        return matrix

    def value_at(self, row, column):
        """Return one entry as it was given; the batches are read once more up to it."""
        for number, batch in enumerate(self.source):
            rows = self._matrix(number, batch)
            if row < rows.shape[0]:
                return rows[row, column]
            row -= rows.shape[0]
        raise IndexError(row)

    def pieces(self, stream=None):
        """Yield the batches as they come."""
        for number, batch in enumerate(self.source):
            yield Batch((as_states(self._matrix(number, batch)),))

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch without its first `skip` batches; the order is the iterable's."""
        for pieces in islice(self._cut(batch_size), skip, None):
            yield Batch((as_states(join(pieces)),))

    def in_order(self, size):
        """Yield the rows in order, `size` at a time, however the iterable cuts them."""
        for pieces in self._cut(size):
            yield Batch((as_states(join(pieces)),))

    def _cut(self, size):
        """Yield lists of pieces of batches that hold `size` rows together, the last ones fewer."""
        pending, count = [], 0
        for number, batch in enumerate(self.source):
            rows, start = self._matrix(number, batch), 0
            while start < rows.shape[0]:
                taken = rows[start : start + size - count]
                count += taken.shape[0]
                start += taken.shape[0]
                if count == size:
                    yield [*pending, taken]
                    pending, count = [], 0
                else:
                    pending.append(taken.copy())  # the source may fill the same buffer again
        if pending:
            yield pending


def _column_names(batch):
    """Names of a data frame's columns, or None."""
    return list(batch.columns) if hasattr(batch, "columns") else None


def select(X, chosen):
    """Return some rows of an array, of packed bits or of a CSR matrix, as what `X` is."""
    return X.select(chosen) if isinstance(X, PackedBits) else X[chosen]


def join(pieces):
    """Return pieces of rows as one array, or as one CSR matrix where all are sparse."""
    if len(pieces) == 1:
        return pieces[0]
    if all(sparse.issparse(piece) for piece in pieces):
        return sparse.vstack(pieces, format="csr")
    dense = [piece.toarray() if sparse.issparse(piece) else piece for piece in pieces]
    return np.concatenate(dense)


def is_iterable_of_batches(X):
    """Tell an iterable of batches from an array-like."""
    array_like = isinstance(X, list | tuple | str) or hasattr(X, "__array__") or hasattr(X, "shape")
    return hasattr(X, "__iter__") and not array_like


def refuse_rows(expected, got, when):
    """Raise ValueError: an iterable gave another number of rows than when it was surveyed.

    Parameters
    ----------
    expected, got : int
    when : str
        What was reading, for example ``"epoch 2"``.
    """
    raise ValueError(
        f"X must have {expected} rows each time that it is read, as when it was measured, got "
        f"{got} in {when}; let its __iter__ begin anew and yield all rows"
    )
