"""Sparse matrices in files that are mapped into memory, and not read as a whole."""

from pathlib import Path

import numpy as np
from scipy import sparse

from deepgen.checks import shown

# The names that the members of scipy.sparse.save_npz have.
ARRAYS = ("data", "indices", "indptr")


def map_csr(folder):
    """Map a sparse matrix whose arrays are files of a folder.

    Nothing of the matrix is read or copied before its rows are: `fit` takes memory for a batch.
    The files are ``data.npy``, ``indices.npy``, ``indptr.npy`` and ``shape.npy``, the members of an
    archive of ``scipy.sparse.save_npz``, which any program for zip files unpacks to a folder.

    Parameters
    ----------
    folder : str or path-like

    Returns
    -------
    csr_array of shape (n_rows, n_columns)
        Its arrays are read-only maps of the files. Where `indptr` has another type than `indices`,
        it is converted, in memory: ``csr_array`` itself would copy the indices.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or one of the files is not in it.
    ValueError
        If the files are not those of one CSR matrix.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> from tempfile import mkdtemp
    >>> from scipy import sparse
    >>> X = sparse.random_array((100, 30), density=0.1, format="csr", random_state=0)
    >>> folder = mkdtemp()
    >>> for name in ("data", "indices", "indptr", "shape"):
    ...     np.save(f"{folder}/{name}.npy", getattr(X, name))
    >>> dg.map_csr(folder).shape
    (100, 30)
    """
    folder = Path(folder)
    if (folder / "format.npy").exists():
        form = np.load(folder / "format.npy", allow_pickle=False)
        if form.tolist() not in (b"csr", "csr"):
            raise ValueError(
                f"{folder} must hold a CSR matrix, got format {shown(form.tolist())}; save "
                "X.tocsr()"
            )
    shape = np.load(folder / "shape.npy", allow_pickle=False)
    if shape.shape != (2,) or shape.dtype.kind not in "iu":
        raise ValueError(
            f"{folder / 'shape.npy'} must hold (n_rows, n_columns), got an array of "
            f"{shape.dtype} and shape {shape.shape}"
        )
    data, indices, starts = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
    if indices.dtype not in (np.int32, np.int64):  # scipy would copy any other
        raise ValueError(
            f"{folder / 'indices.npy'} must be int32 or int64, got {indices.dtype}; save it as "
            "indices.astype(numpy.int32)"
        )
    if starts.dtype.kind not in "iu":
        raise ValueError(f"{folder / 'indptr.npy'} must hold whole numbers, got {starts.dtype}")
    starts = _as_type_of(indices, starts, folder)
    try:
        return sparse.csr_array((data, indices, starts), shape=tuple(shape.tolist()))
    except ValueError as error:
        raise ValueError(
            f"{folder} must hold the arrays of one CSR matrix of shape {tuple(shape.tolist())}: "
            f"{error}"
        ) from None


def _as_type_of(indices, starts, folder):
    """Return the starts of the rows in the type of the indices; scipy wants one type of both."""
    if starts.dtype == indices.dtype:
        return starts
    if len(starts) and not 0 <= starts[-1] <= np.iinfo(indices.dtype).max:
        raise ValueError(
            f"indptr.npy of {folder} ends with {starts[-1]}, beyond what {indices.dtype}, the "
            "type of indices.npy, can hold; save the indices as int64"
        )
    return starts.astype(indices.dtype)
