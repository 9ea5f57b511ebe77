"""Rows of which each has values in some columns only, such as the films that a user has rated.

What a row lacks is not zero: it is no part of that row's model. So a row is its *pattern*, the
columns that it has, with a value for each.
"""

from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from scipy import sparse

from deepgen.rows.batch import Batch
from deepgen.rows.sources import CHECK_ROWS, shuffled


@dataclass(frozen=True)
class PatternedRows:
    """Compressed rows of values from a scale; also a source of batches, without copies.

    Attributes
    ----------
    starts : ndarray of shape (n_rows + 1,), int64
        Row r has the entries ``starts[r]`` to ``starts[r + 1] - 1``.
    columns : ndarray of shape (n_entries,), int32
        Ascending within a row, each at most once.
    values : ndarray of shape (n_entries,), uint8
        Numbers of values in the scale, from 0.
    n_columns : int
    order : ndarray of int64, or None
        Numbers of the rows that are meant, in their order. None: all. Draws for a row belong to
        its number, however rows are cut into batches.
    """

    starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    n_columns: int
    order: np.ndarray | None = None
    longest: int = field(init=False, compare=False)
    is_fixed = True

    def __post_init__(self):
        lengths = np.diff(self.starts)
        object.__setattr__(self, "longest", int(lengths.max()) if len(lengths) else 0)

    @property
    def n_rows(self):
        """Number of rows that are meant."""
        return len(self.starts) - 1 if self.order is None else len(self.order)

    @property
    def shape(self):
        """(n_rows, n_columns)."""
        return self.n_rows, self.n_columns

    @property
    def arrays(self):
        """(starts, columns, values): all rows, as kernels read them."""
        return self.starts, self.columns, self.values

    @property
    def lengths(self):
        """Number of entries of each row that is meant."""
        lengths = np.diff(self.starts)
        return lengths if self.order is None else lengths[self.order]

    def of_rows(self, chosen):
        """Return some rows, by an array of their numbers, without a copy of their entries."""
        chosen = np.ascontiguousarray(chosen, np.int64)
        rows = object.__new__(PatternedRows)  # the longest of all rows is no shorter
        vars(rows).update(vars(self), order=chosen if self.order is None else self.order[chosen])
        return rows

    def pieces(self, stream=None):
        """Yield the rows in order, as batches of at most 8,192 rows."""
        for first in range(0, self.n_rows, CHECK_ROWS):
            yield self.batch(np.arange(first, min(first + CHECK_ROWS, self.n_rows)))

    def batch(self, chosen):
        """Return some rows, by an array of their numbers, as a batch."""
        return Batch((self.of_rows(chosen),))

    def orders(self, batch_size, stream):
        """Yield the numbers of the rows of each batch of an epoch."""
        return shuffled(self.n_rows, batch_size, stream)

    def batches(self, batch_size, stream, *, skip=0):
        """Yield the batches of an epoch in the keyed random order of `stream`, without `skip`."""
        return map(self.batch, islice(self.orders(batch_size, stream), skip, None))

    def transposed(self):
        """Return columns as rows: the rows that have an entry there, by number."""
        if self.order is not None:
            raise ValueError("order must be None for a transpose: take all rows")
        matrix = sparse.csr_array((self.values, self.columns, self.starts), shape=self.shape)
        turned = matrix.tocsc()  # zeros that are stored stay, and rows ascend within a column
        return PatternedRows(
            turned.indptr.astype(np.int64), turned.indices.astype(np.int32, copy=False),
            turned.data, self.n_rows,
        )  # fmt: skip

    def counts(self, n_values):
        """Return how often each column has each value, int64 of shape (n_columns, n_values)."""
        counts = np.zeros(self.n_columns * n_values, np.int64)
        for first in range(0, len(self.columns), 2**24):  # a mapped file is read a piece at a time
            piece = slice(first, first + 2**24)
            index = self.columns[piece].astype(np.int64) * n_values + self.values[piece]
            counts += np.bincount(index, minlength=len(counts))
        return counts.reshape(self.n_columns, n_values)
