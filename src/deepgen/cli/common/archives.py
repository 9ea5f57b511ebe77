"""Arrays in .npz files, which may come from strangers: sizes are checked before memory is taken.

An archive says three times how large an array is: in its directory, in the array's header, and by
the bytes that unpack. Each can lie; an array is read only where they agree, and where its size is
in proportion to the file.
"""

import errno
import math
import os
import stat
import zipfile

import numpy as np
from scipy import sparse

from deepgen.cli.common.errors import CommandError
from deepgen.rows.states import checked_csr

# What arrays may unpack to, in bytes, where ten times the file is less. Zeros pack a thousand
# times, and so does an attack on the memory of whoever reads it.
LEAST_LIMIT = 2**30
# What the starts of rows may take that no array of a sparse file holds, where ten times the
# arrays is less: a COO file of three entries may say that it has 10**12 rows.
LEAST_STARTS = 2**26
TIMES = 10

_MOST_DEFLATED = 1032  # bytes that one byte of a deflated stream can stand for
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def require_regular(path):
    """Raise CommandError where a path is a pipe, a device or a folder: none can be read twice."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise CommandError(f"{path} is no regular file; copy what it gives into one")


def read_npz(path, name=None):
    """Read one array, or a sparse matrix of ``scipy.sparse.save_npz``.

    Parameters
    ----------
    path : str
    name : str or None
        Of the array. None: the only one, or the sparse matrix.

    Returns
    -------
    ndarray or CSR matrix

    Raises
    ------
    CommandError
        If it is not told which array is meant, or it is too large.
    ValueError and others
        If the file is damaged, or none of this format.
    """
    require_regular(path)
    try:
        return _read(path, name)
    except OSError as error:
        if error.errno == errno.EINVAL:  # a directory that points before the file
            raise ValueError("no archive") from error
        raise


def _read(path, name):
    with open(path, "rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
        names = sorted(archive.files)
        if name is None and {"format", "shape", "data"} <= set(names):
            n_bytes = sum(_checked_size(archive, member) for member in names)
            _require_in_proportion(n_bytes, path)
            file.seek(0)
            return _csr(sparse.load_npz(file), n_bytes, path)
        if name is None and len(names) != 1:
            raise CommandError(f"{path} holds {names}: say which one by {path}:NAME")
        if name is not None and name not in names:
            raise CommandError(f"{path} has no array {name!r}; it holds {names}")
        name = name or names[0]
        _require_in_proportion(_checked_size(archive, name), path)
        return archive[name]


def _checked_size(archive, name):
    """Return the bytes of an array; ValueError unless directory, header and stream can agree."""
    member = name if name in archive.zip.namelist() else f"{name}.npy"
    info = archive.zip.getinfo(member)
    packed = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: _MOST_DEFLATED}
    if info.file_size > info.compress_size * packed.get(info.compress_type, 0):
        raise ValueError(f"{name} cannot unpack to {info.file_size} bytes")
    with archive.zip.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{name} is an array of an unknown version")
        shape, _, dtype = _HEADERS[version](file)
        n_bytes = math.prod(shape) * dtype.itemsize
        if not all(n >= 0 for n in shape) or file.tell() + n_bytes != info.file_size:
            raise ValueError(f"{name} has not the size of its header")
    return n_bytes


def _require_in_proportion(n_bytes, path):
    """Raise CommandError where arrays would unpack to far more than their file."""
    size = os.path.getsize(path)
    if n_bytes > max(LEAST_LIMIT, TIMES * size):
        raise CommandError(
            f"{path} has {size} bytes and would unpack to {n_bytes}; write such rows by "
            "numpy.save(FILE, X), which is read a piece at a time"
        )


def _csr(matrix, n_bytes, path):
    """Return a sparse matrix as CSR, after a check of its indices and of the memory for it."""
    if matrix.ndim == 2 and 8 * (matrix.shape[0] + 1) > max(LEAST_STARTS, TIMES * n_bytes):
        raise CommandError(
            f"{path} says that it has {matrix.shape[0]} rows, and its arrays have {n_bytes} bytes; "
            "drop the rows that are zero"
        )
    return checked_csr(matrix)
