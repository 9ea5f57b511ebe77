"""States of a layer in the three forms that kernels read: bytes, floats, compressed rows."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse


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
        matrix = sparse.csr_array((self.values, self.indices, self.starts), shape=self.shape)
        return matrix.toarray()


def as_states(X):
    """Return rows in a form that kernels read, copying only where the form must change.

    bool and uint8 stay bytes; CSR stays sparse; everything else becomes float32.
    """
    if isinstance(X, CompressedRows):
        return X
    if sparse.issparse(X):
        X = X.tocsr()
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        return CompressedRows(
            np.ascontiguousarray(X.data, np.float32),
            np.ascontiguousarray(X.indices, np.int32),
            np.ascontiguousarray(X.indptr, np.int64),
            X.shape[1],
        )
    X = np.asarray(X)
    if X.dtype == np.bool_:
        return np.ascontiguousarray(X).view(np.uint8)
    if X.dtype == np.uint8:
        return np.ascontiguousarray(X)
    return np.ascontiguousarray(X, np.float32)


def kernel_form(states):
    """Return what the kernels take: an array, or the triple of a compressed matrix."""
    if isinstance(states, CompressedRows):
        return states.values, states.indices, states.starts
    return states


def dense(states):
    """Return states as an array, expanding compressed rows."""
    return states.to_dense() if isinstance(states, CompressedRows) else states


class Particles:
    """Joint configurations: one array per layer, rows of one index belong together.

    Binary and softmax states are uint8 (softmax one-hot by groups, an all-zero group is
    missing), the others float32.

    Parameters
    ----------
    states : sequence of ndarray of shape (n_particles, n_units of the layer)
    """

    def __init__(self, states):
        self.states = [as_states(x) for x in states]
        counts = {len(x) if isinstance(x, np.ndarray) else x.shape[0] for x in self.states}
        if len(counts) != 1:
            raise ValueError(
                f"states must have one number of rows for all layers, got {sorted(counts)}; "
                "rows of one index are one joint configuration"
            )

    def __len__(self):
        return self.states[0].shape[0]

    def __getitem__(self, layer):
        return self.states[layer]

    def __repr__(self):
        sizes = "-".join(str(x.shape[1]) for x in self.states)
        return f"Particles({len(self)} x {sizes})"

    def copy(self):
        """Return particles with arrays of their own."""
        return Particles([x.copy() for x in self.states])
