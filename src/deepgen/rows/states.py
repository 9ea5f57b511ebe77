"""Rows of states as kernels read them: bytes, floats, compressed rows, or means in bytes."""

from dataclasses import dataclass

import numpy as np
import scipy

from deepgen._kernels import engine
from deepgen.checks import MOST, real_array


@dataclass(frozen=True)
class CompressedRows:
    """CSR rows as kernels read them: float32 values, int32 columns ascending, int64 starts."""

    values: np.ndarray
    indices: np.ndarray
    starts: np.ndarray
    n_columns: int

    @property
    def shape(self):
        """(n_rows, n_columns)."""
        return len(self.starts) - 1, self.n_columns

    def to_dense(self):
        """Return the rows as a float32 array."""
        matrix = scipy.sparse.csr_array((self.values, self.indices, self.starts), shape=self.shape)
        return matrix.toarray()


@dataclass(frozen=True)
class ByteMeans:
    """Means as whole numbers of steps, a byte each: ``means = unit * steps``.

    While a model learns with fixed-point weights, neighbours read the means of a layer in this
    form, and an update sums over it: sums of whole numbers are exact (docs/math.md, "Fixed-point
    weights").

    Attributes
    ----------
    steps : ndarray of shape (n_rows, n_units), uint8
    unit : float
        One step: 1 / 255 of the largest mean.
    """

    steps: np.ndarray
    unit: float

    @classmethod
    def of(cls, means, largest=1):
        """Round means, float32 of shape (n_rows, n_units), to the nearest of 255 steps.

        An array with a value outside [0, largest], such as the not-a-number of a run that
        diverges, is returned as it is.
        """
        steps = np.empty(means.shape, np.uint8)
        if engine.to_bytes(means, 255.0 / largest, steps):
            return means
        return cls(steps, largest / 255.0)

    @classmethod
    def of_groups(cls, means, group):
        """Round means of groups that add up to one, so that their steps add up to 255.

        What is left after rounding down goes to the units that lost most, the first ones of equals.
        Means that are not finite are returned as they are.
        """
        if not np.isfinite(means).all():
            return means
        n_rows, n_units = means.shape
        share = 255.0 * means.reshape(n_rows, n_units // group, group).astype(np.float64)
        steps = np.floor(share)
        left = 255 - steps.sum(axis=2, keepdims=True)
        rank = np.argsort(np.argsort(steps - share, axis=2, kind="stable"), axis=2, kind="stable")
        steps += rank < left
        return cls(np.ascontiguousarray(steps.reshape(means.shape), np.uint8), 1.0 / 255.0)

    @property
    def shape(self):
        """(n_rows, n_units)."""
        return self.steps.shape

    def to_dense(self):
        """Return the means as a float32 array."""
        return np.float32(self.unit) * self.steps


@dataclass(frozen=True)
class ChosenRows:
    """Rows of an array by their numbers, which nobody has read yet: a kernel gathers them itself.

    Attributes
    ----------
    whole : ndarray, uint8, C-contiguous
        The array.
    numbers : ndarray of int64
        Of rows of the array.
    """

    whole: np.ndarray
    numbers: np.ndarray

    @property
    def shape(self):
        """(n_rows, n_units)."""
        return len(self.numbers), self.whole.shape[1]

    def gathered(self):
        """Return the rows as an array of their own."""
        return self.whole.take(self.numbers, axis=0)


def as_states(X, name="X"):
    """Return rows as kernels read them, copied only where they must be converted.

    bool and uint8 stay bytes, sparse matrices become :class:`CompressedRows`, all other numbers
    become float32 (values beyond it become infinite, which every unit type refuses).

    Raises
    ------
    ValueError
        If a sparse matrix points outside itself, which scipy does not check, or X holds no real
        numbers.
    """
    if type(X) is np.ndarray and X.dtype == np.uint8 and X.flags.c_contiguous:
        return X  # what a call with one row should not wait for
    if isinstance(X, CompressedRows):
        return X
    if scipy.sparse.issparse(X):
        X = checked_csr(X, name)
        if not X.has_canonical_format:
            X = X.copy()  # the caller's matrix stays as it is
            X.sum_duplicates()
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(X.data, np.float32)
        return CompressedRows(
            values,
            np.ascontiguousarray(X.indices, np.int32),
            np.ascontiguousarray(X.indptr, np.int64),
            X.shape[1],
        )
    X = real_array(X, name)
    if X.dtype == np.bool_:
        return np.ascontiguousarray(X).view(np.uint8)  # the same bytes, 0 and 1
    if X.dtype == np.uint8:
        return np.ascontiguousarray(X)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(X, np.float32)


def checked_csr(X, name="X"):
    """Return a sparse matrix as CSR after a check that its indices stay inside it.

    scipy trusts them, and kernels would read and write where they point to.
    """
    if X.ndim != 2:
        raise ValueError(f"{name} must be a sparse matrix of 2 dimensions, got shape {X.shape}")
    if X.dtype.kind not in "buif":
        raise ValueError(
            f"{name} must hold real numbers, got a sparse matrix of dtype {X.dtype}; take their "
            "real part, or encode them as numbers"
        )
    if X.shape[1] > MOST:
        raise ValueError(
            f"{name} must have at most {MOST} columns, got {X.shape[1]}; hash or select features"
        )
    if X.format == "coo":
        for axis, coordinates in enumerate(X.coords):
            if len(coordinates) and not 0 <= coordinates.min() <= coordinates.max() < X.shape[axis]:
                raise ValueError(
                    f"{name} is a damaged sparse matrix: indices point outside it; build it again"
                )
    if X.format not in ("csr", "csc", "bsr"):
        X = X.tocsr()  # which copies the indices of a list of lists as they are
    # compressed axis and the other one, whose numbers are the indices; of BSR counted in blocks
    rows, limit = X.shape if X.format != "csc" else X.shape[::-1]
    if X.format == "bsr":
        rows, limit = (n // max(size, 1) for n, size in zip(X.shape, X.blocksize, strict=True))
    starts, indices = X.indptr, X.indices
    whole = (
        starts.dtype.kind in "iu"
        and indices.dtype.kind in "iu"
        and starts.ndim == indices.ndim == X.data.ndim - (2 if X.format == "bsr" else 0) == 1
        and 0 not in X.data.shape[1:]
        and len(starts) == rows + 1
        and starts[0] == 0
        and (starts[1:] >= starts[:-1]).all()  # differences of unsigned numbers would wrap
        and starts[-1] <= min(len(indices), len(X.data))
        and (len(indices) == 0 or (indices.min() >= 0 and indices.max() < limit))
    )
    if not whole:
        raise ValueError(
            f"{name} is a damaged sparse matrix: indices point outside it; build it again"
        )
    return X.tocsr()


def kernel_states(states):
    """Return states as plain arrays for a kernel (``fill_rows`` in ``_kernels/arrays.pxi``).

    Returns
    -------
    ndarray, or tuple (values, indices, starts) of compressed rows, or (steps, unit) of means
    """
    if isinstance(states, CompressedRows):
        return states.values, states.indices, states.starts
    if isinstance(states, ByteMeans):
        return states.steps, states.unit
    return states


def are_states(x):
    """Tell whether `x` is rows as kernels read them, see :func:`as_states`."""
    return isinstance(x, CompressedRows | ByteMeans) or (
        isinstance(x, np.ndarray) and x.ndim == 2 and x.flags.c_contiguous
        and x.dtype in (np.uint8, np.float32)
    )


def row_slice(states, start, stop):
    """Return the rows from `start` up to `stop` of states, stored as they are."""
    if isinstance(states, CompressedRows):
        starts = states.starts[start : stop + 1]
        values, indices = (x[starts[0] : starts[-1]] for x in (states.values, states.indices))
        return CompressedRows(values, indices, starts - starts[0], states.n_columns)
    if isinstance(states, ByteMeans):
        return ByteMeans(states.steps[start:stop], states.unit)
    return states[start:stop]


def dense(states):
    """Return states as an array, expanding compressed rows and means in bytes."""
    return states.to_dense() if isinstance(states, CompressedRows | ByteMeans) else states


def row_totals(states):
    """Return the sum of each row of states, float64 of shape (n_rows,)."""
    if isinstance(states, CompressedRows):
        edges = np.concatenate([[0.0], np.cumsum(states.values, dtype=np.float64)])
        return edges[states.starts[1:]] - edges[states.starts[:-1]]
    if isinstance(states, ByteMeans):
        return states.unit * states.steps.sum(axis=1, dtype=np.float64)
    return states.sum(axis=1, dtype=np.float64)


def compressed(states):
    """Return a float32 array as compressed rows: few counts among many columns are a short list."""
    starts = np.zeros(len(states) + 1, np.int64)
    n_entries = engine.entry_starts(states, starts)
    # the kernel writes one entry ahead
    values, indices = np.empty(n_entries + 1, np.float32), np.empty(n_entries + 1, np.int32)
    engine.list_entries(states, values, indices)
    return CompressedRows(values[:-1], indices[:-1], starts, states.shape[1])


def doubled(states):
    """Return states times two, stored as they were: rows as a layer of two tied copies has them."""
    if isinstance(states, CompressedRows):
        return CompressedRows(2.0 * states.values, states.indices, states.starts, states.n_columns)
    if isinstance(states, ByteMeans):
        return ByteMeans(states.steps, 2.0 * states.unit)
    if states.dtype == np.uint8:  # what no unit can take must not become 0 by overflow
        return 2 * np.minimum(states, 127)
    return 2.0 * states
