"""Rows to learn from: arrays, memmaps, packed bits, CSR matrices and re-iterables of batches."""

from itertools import islice

import numpy as np
from scipy import sparse

from deepgen.bits import PackedBits
from deepgen.checks import real_array, shown
from deepgen.phases import column_moments
from deepgen.states import ByteMeans, CompressedRows, as_states, checked_csr, dense
from deepgen.stream import SHUFFLE

# Rows are shuffled in blocks of this many: memory does not grow with the data, and disks are
# read in order.
BLOCK = 65_536
# Where some rows have no target, at least this share of an epoch has one. Of labels that are few,
# a batch would else hold one or none, and their gradient be all noise.
TARGET_SHARE = 0.2
CHECK_ROWS = 8_192


class ArrayRows:
    """Rows of an array, a memmap or a CSR matrix; batches are taken without a copy of the data.

    Parameters
    ----------
    X : ndarray, PackedBits or sparse matrix of shape (n_rows, n_columns)
    """

    def __init__(self, X):
        self.X = checked_csr(X) if sparse.issparse(X) else X
        self.n_rows, self.n_columns = self.X.shape

    def pieces(self):
        """Yield the rows in order, as states of at most 8,192 rows."""
        return self.chunks(CHECK_ROWS)

    def states(self, chosen):
        """Return some rows, by a slice or an array of their numbers (no mask), as states."""
        if isinstance(chosen, slice) or not _in_order(self.X):
            return as_states(self.X[chosen])
        return as_states(self.X.take(chosen, axis=0))  # twice as fast

    def chunks(self, size):
        """Yield the rows in order, as states of `size` rows; the last ones may be fewer."""
        for start in range(0, self.n_rows, size):
            yield self.states(slice(start, start + size))

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch of batches in the keyed pseudo-random order of `stream`.

        The first `skip` batches are left out, and their rows are not read.
        """
        for chosen in islice(self._orders(batch_size, stream), skip, None):
            yield self.states(chosen)

    def _orders(self, batch_size, stream):
        n_blocks = -(-self.n_rows // BLOCK)
        pending = np.empty(0, np.int64)
        for block in stream.permutation(n_blocks, SHUFFLE):
            start = int(block) * BLOCK
            size = min(BLOCK, self.n_rows - start)
            order = start + stream.permutation(size, SHUFFLE, row=1 + int(block))
            order = np.concatenate([pending, order])
            full = len(order) // batch_size * batch_size
            for first in range(0, full, batch_size):
                yield order[first : first + batch_size]
            pending = order[full:]
        if len(pending):
            yield pending


def _in_order(X):
    """Tell whether rows lie one after the other; `take` would copy all of them if not."""
    return isinstance(X, np.ndarray) and X.flags.c_contiguous and X.flags.aligned


class PairedRows(ArrayRows):
    """Rows with a target each; batches are pairs of states and targets.

    Parameters
    ----------
    X : ndarray, PackedBits or sparse matrix of shape (n_rows, n_columns)
    targets : ndarray of shape (n_rows, ...) or None
        None: the rows themselves.
    known : ndarray of bool, shape (n_rows,), or None
        Which rows have a target. An epoch has as many rows as there are, a fifth of them or more
        with a target: those come as often as it takes, of the others some, drawn anew. The order
        takes memory for each row, and disks are not read in theirs. None: all have.
    """

    def __init__(self, X, targets=None, known=None):
        super().__init__(X)
        if targets is not None and len(targets) != self.n_rows:
            raise ValueError(f"targets must have {self.n_rows} rows, got {len(targets)}")
        self.targets, self.known = targets, known

    def _orders(self, batch_size, stream):
        if self.known is None or self.known.mean() >= TARGET_SHARE:
            yield from super()._orders(batch_size, stream)
            return
        known, others = np.flatnonzero(self.known), np.flatnonzero(~self.known)
        n_known = max(1, round(TARGET_SHARE * self.n_rows))
        often = [
            known[stream.child("known").permutation(len(known), SHUFFLE, row=turn)]
            for turn in range(-(-n_known // len(known)))
        ]
        others = others[stream.child("others").permutation(len(others), SHUFFLE)]
        rows = np.concatenate([np.concatenate(often)[:n_known], others[: self.n_rows - n_known]])
        rows = rows[stream.child("order").permutation(self.n_rows, SHUFFLE)]
        for first in range(0, self.n_rows, batch_size):
            yield rows[first : first + batch_size]

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch of pairs; see :meth:`ArrayRows.batches`."""
        for chosen in islice(self._orders(batch_size, stream), skip, None):
            states = self.states(chosen)
            yield states, dense(states) if self.targets is None else self.targets[chosen]

    def pairs(self, size):
        """Yield the rows in order, as pairs of at most `size` rows."""
        for start in range(0, self.n_rows, size):
            states = self.states(slice(start, start + size))
            targets = self.targets
            yield states, dense(states) if targets is None else targets[start : start + size]


class IterableRows:
    """Rows from an object that can be iterated over again and again, a batch at a time.

    Batches come in the iterable's own order and are cut or joined to `batch_size` rows: how the
    iterable cuts its rows does not matter.
    """

    n_rows = None

    def __init__(self, batches):
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

    def pieces(self):
        """Yield the batches as they come."""
        for number, batch in enumerate(self.source):
            yield as_states(self._matrix(number, batch))

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch without its first `skip` batches; the order is the iterable's."""
        for pieces in islice(self._cut(batch_size), skip, None):
            yield as_states(join(pieces))

    def chunks(self, size):
        """Yield the rows in order, `size` at a time, however the iterable cuts them."""
        for pieces in self._cut(size):
            yield as_states(join(pieces))

    def _cut(self, size):
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


class DoubledRows:
    """Rows times two, batch by batch: the data of a layer of two tied copies.

    Parameters
    ----------
    rows : ArrayRows, IterableRows or FeatureRows
    """

    def __init__(self, rows):
        self.rows, self.n_rows, self.n_columns = rows, rows.n_rows, rows.n_columns

    def pieces(self, *stream):
        """Yield the rows in order; `stream` is for rows that are drawn."""
        return map(doubled, self.rows.pieces(*stream))

    def chunks(self, size):
        """Yield the rows in order, `size` at a time."""
        return map(doubled, self.rows.chunks(size))

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch in the order that the rows themselves would have."""
        return map(doubled, self.rows.batches(batch_size, stream, skip=skip))


def doubled(states):
    """Return states times two, in the form that they have."""
    if isinstance(states, CompressedRows):
        return CompressedRows(2.0 * states.values, states.indices, states.starts, states.n_columns)
    if isinstance(states, ByteMeans):
        return ByteMeans(states.steps, 2.0 * states.unit)
    if states.dtype == np.uint8:  # what no unit can take must not become 0 by overflow
        return 2 * np.minimum(states, 127)
    return 2.0 * states


def _column_names(batch):
    """Names of a data frame's columns, or None."""
    return list(batch.columns) if hasattr(batch, "columns") else None


def select(X, chosen):
    """Return some rows of an array, of packed bits or of a CSR matrix in the form they have."""
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


def survey(rows, units, name="X", n_threads=None, also=None):
    """Check every value and measure the columns in one pass.

    Parameters
    ----------
    rows : ArrayRows or IterableRows
    units : Units
    name : str
        What messages call the rows.
    n_threads : int or None
    also : callable or None
        Called with each piece of checked states: what else is to be measured in this pass.

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
        if also is not None:
            also(states)
        n_rows += states.shape[0]
        total = total + states.shape[0] * mean
        square = square + states.shape[0] * mean_square
    if n_rows == 0:
        raise ValueError(f"{name} must have at least one row, got none")
    mean = total / n_rows
    return n_rows, mean, np.maximum(square / n_rows - mean**2, 0.0)


def refuse_rows(expected, got, when):
    """Raise the ValueError of rows that are not as many as when they were measured."""
    raise ValueError(
        f"X must have {expected} rows each time that it is read, as when it was measured, got "
        f"{got} in {when}; let its __iter__ begin anew and yield all rows"
    )


def check_rule(rows, units, rule):
    """Raise ValueError where rows have missing variables that a rule cannot leave out."""
    if getattr(rule, "takes_context", False) or not units.can_be_missing:
        return
    if any(units.missing(states) is not None for states in rows.pieces()):
        raise ValueError(
            "X has missing variables (all-zero groups), which PCD cannot leave out of the model "
            "row by row; use rule='cd'"
        )
