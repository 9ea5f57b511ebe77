"""Which rows came, and in which order: one number for a data set, and one for each row."""

import hashlib
import math

import numpy as np

from deepgen.rows.holes import filled, holes_in
from deepgen.rows.states import CompressedRows
from deepgen.rows.sums import row_dots
from deepgen.runtime.stream import DATA, Stream

# The same rows in batches of another size give another sum, by rounding alone: by about 1e-16 times
# the root of the number of rows, relative to the size of the sum. Other rows differ by that size.
TOLERANCE = 1e-9
# In place of a value that is not known: the root of 1/2, turned over.
HOLE = -(0.5**0.5)


class RowOrder:
    """A weighted sum of all entries, ``sum_r sum_j a_r x_rj b_j``, that knows rows and their order.

    The weights a and b are uniform in (-1/2, 1/2), and functions of the number of the row or of
    the column alone. So the sum does not depend on how rows are stored or cut into batches, but
    on which rows there are and in which place. A resumed run compares it with that of its
    checkpoint: rows that were shuffled or replaced meanwhile have another one.

    Parameters
    ----------
    n_threads : int or None
    first_row : int, default 0
        Number of the first row that is added, where another process adds those before it.
    """

    def __init__(self, n_threads=None, first_row=0):
        self.n_threads = n_threads
        self._stream = Stream.from_random_state(0).child("row order")
        self._columns = None
        self._n_rows, self._sum, self._squares = first_row, 0.0, 0.0

    def add(self, states):
        """Take the next rows; a hole counts as a number that no row holds by chance."""
        states = filled(states, holes_in(states), HOLE)
        n_rows, n_columns = states.shape
        if self._columns is None:
            columns = self._stream.child("columns")
            self._columns = columns.uniform(1, n_columns, DATA)[0] - np.float32(0.5)
        weights = self._stream.uniform(n_rows, 1, DATA, first_row=self._n_rows)[:, 0] - 0.5
        terms = weights * row_dots(states, self._columns, self.n_threads)  # a_r sum_j x_rj b_j
        self._n_rows += n_rows
        self._sum += float(terms.sum())
        self._squares += float((terms * terms).sum())

    def join(self, others):
        """Become the sum of some :meth:`tree`, of one process each."""
        self._sum = sum(tree["sum"] for tree in others)
        self._squares = sum(tree["size"] ** 2 for tree in others)

    def tree(self):
        """Return the sum, and its size: the root of the sum of the squared terms of the rows."""
        return {"sum": self._sum, "size": math.sqrt(self._squares)}


def is_order(tree):
    """Tell whether plain data, read from a file, are what :meth:`RowOrder.tree` returns."""
    return (
        isinstance(tree, dict)
        and set(tree) == {"sum", "size"}
        and all(isinstance(value, float) and math.isfinite(value) for value in tree.values())
    )


def same_order(a, b):
    """Tell whether two sums are of the same rows in the same order."""
    return abs(a["sum"] - b["sum"]) <= TOLERANCE * max(a["size"], b["size"])


def digest_of(*arrays):
    """Return a digest of all bytes of some arrays, by which processes compare what they have."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def row_digests(states):
    """Return a digest of 64 bits of each row: of the columns that are not zero, and their values.

    Where it names the random numbers of a row (:meth:`Stream.child`), equal rows get equal draws,
    alone or among others, dense or sparse.

    Parameters
    ----------
    states : ndarray or CompressedRows of shape (n_rows, n_columns)

    Returns
    -------
    list of int
    """
    digests = []
    for row in range(states.shape[0]):
        if isinstance(states, CompressedRows):
            entries = slice(states.starts[row], states.starts[row + 1])
            columns, values = states.indices[entries], states.values[entries]
            columns, values = columns[values != 0], values[values != 0]
        else:
            columns = np.flatnonzero(states[row])
            values = states[row, columns]
        digest = hashlib.blake2b(columns.astype("<i4").tobytes(), digest_size=8)
        digest.update(values.astype("<f4").tobytes())
        digests.append(int.from_bytes(digest.digest(), "little"))
    return digests
