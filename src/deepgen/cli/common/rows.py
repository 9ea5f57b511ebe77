"""Rows in files: what commands read and write."""

import csv
import io
import math
import os
import sys
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

from deepgen.cli.common.archives import read_npz, require_regular
from deepgen.cli.common.errors import CommandError, UsageError
from deepgen.io.atomic import write_atomically
from deepgen.rows.packed_bits import PackedBits

READS = "a .npy (memory-mapped), .npz (FILE.npz:NAME where it holds several arrays) or .csv file"
PACKED = "the rows are bits that numpy.packbits(rows, axis=1) has packed: so many columns of them"
WRITES = (".npy", ".npz", ".csv")


def read_rows(source, packed_columns=None, *, gaps=False):
    """Read a matrix of rows.

    Parameters
    ----------
    source : str
        ``FILE.npy``, which is mapped and not read as a whole; ``FILE.npz`` of one array or of
        ``scipy.sparse.save_npz``; ``FILE.npz:NAME``; ``FILE.csv``: numbers and commas, where a
        first line of other words is taken as a header.
    packed_columns : int or None
        The bytes of the matrix are rows of so many bits.
    gaps : bool, default False
        Whether entries of a .csv file may be empty: they become NaN.

    Returns
    -------
    ndarray, memmap, PackedBits or CSR matrix of shape (n_rows, n_columns)

    Raises
    ------
    CommandError
        If there is no matrix of numbers in it.
    OSError
        If the file cannot be read.
    """
    rows = read_array(source, "data", READS, gaps=gaps)
    rows = _checked(rows, source)
    if packed_columns is None:
        return rows
    try:
        return PackedBits(rows, packed_columns)
    except (TypeError, ValueError) as error:
        raise CommandError(f"{source} must hold packed bits: {error}") from error


def read_array(source, what, reads, *, gaps=False):
    """Read what a file holds, whatever its shape.

    Parameters
    ----------
    source, gaps
        See :func:`read_rows`.
    what, reads : str
        What the message calls it, and which files it may be in.

    Returns
    -------
    ndarray, memmap or CSR matrix
    """
    path, name = file_of(source)
    ending = Path(path).suffix.lower()
    if ending not in _READERS:
        raise UsageError(f"{what} must be {reads}, got {source!r}")
    reader, remedy = _READERS[ending]
    try:
        return _read_csv(path, gaps=gaps) if ending == ".csv" else reader(path, name)
    except _DAMAGE as error:  # NumPy's words advise what is not safe, or what no command takes
        raise CommandError(
            f"{path} must be a {ending} file of numbers, got one that is damaged, of another "
            f"format or of objects; {remedy}"
        ) from error


def file_of(source):
    """Return the file and the name of the array in it, or None."""
    if not Path(source).exists() and ".npz:" in source.lower():
        path, _, name = source.rpartition(":")
        return path, name
    return source, None


def _checked(rows, source):
    if rows.ndim != 2:
        raise CommandError(
            f"{source} must hold a matrix of rows, got shape {rows.shape}; reshape it to "
            "(n_rows, n_columns)"
        )
    if 0 in rows.shape:
        raise CommandError(f"{source} must hold at least one row and column, got {rows.shape}")
    if rows.dtype.kind not in "buif":
        raise CommandError(
            f"{source} must hold real numbers, got dtype {rows.dtype}; write them as numbers"
        )
    return rows


def _read_npy(path, name):
    require_regular(path)
    with np.errstate(over="raise"):  # of a header whose shape is beyond all files
        return np.lib.format.open_memmap(path, mode="r")


def _read_csv(path, name=None, *, gaps=False):
    with open(path, newline="", encoding="utf-8-sig") as file:
        first = next(csv.reader(file), [])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "loadtxt: input contained no data")
        try:
            return np.loadtxt(
                path, delimiter=",", ndmin=2, comments=None, quotechar='"', encoding="utf-8-sig",
                skiprows=0 if all(map(_is_number, filter(None, first) if gaps else first)) else 1,
                converters=_number_or_gap if gaps else None,
            )  # fmt: skip
        except UnicodeDecodeError:
            raise
        except ValueError as error:  # it names the place; what it advises is for callers of NumPy
            place = str(error).partition(";")[0]
            raise CommandError(
                f"{path} must hold numbers and commas, below at most one line of names: {place}"
            ) from error


def _number_or_gap(word):
    return float(word) if word.strip() else math.nan


def _is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return True


_READERS = {
    ".npy": (_read_npy, "write it by numpy.save(FILE, X)"),
    ".npz": (read_npz, "write it by numpy.savez(FILE, X=X) or scipy.sparse.save_npz(FILE, X)"),
    ".csv": (_read_csv, "write it as UTF-8 text: numbers and commas, a line for each row"),
}
# What readers raise for files that are none of theirs.
_DAMAGE = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError,
    NotImplementedError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
    csv.Error,
)  # fmt: skip


def check_apart(read, written):
    """Raise before any work where a file to write is another one of the command's files.

    Parameters
    ----------
    read, written : dict of {str: str or None}
        Sources of rows and other files, by what the command calls them; None: not given.

    Raises
    ------
    UsageError
    """
    seen = {}
    for name, source in (*read.items(), *written.items()):
        if source is None:
            continue
        path = Path(file_of(source)[0] if name in read else source)
        try:
            about = path.stat()
            place = (about.st_dev, about.st_ino)  # of one file, whatever its names
        except OSError:
            place = path.resolve()
        other = seen.setdefault(place, name)
        if other != name and name in written:
            raise UsageError(
                f"{name} must be a file of its own, got {source}, which is {other} too; "
                "it would be overwritten"
            )


def check_target(path, endings=None):
    """Raise before any work where a file could not be written.

    Parameters
    ----------
    path : str or None
        None asks for no file.
    endings : tuple of str or None
        Endings that say a known format; None: any.
    """
    if path is None:
        return
    path = Path(path)
    if endings and path.suffix.lower() not in endings:
        raise UsageError(f"{path} must end in {' or '.join(endings)}")
    if path.is_dir():
        raise CommandError(f"{path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise CommandError(f"{path.parent}: no such folder; make it first")
    if path.exists() and not path.is_file():
        raise CommandError(f"{path} is a device, pipe or socket; name another file")
    folder = Path(os.path.realpath(path)).parent  # where a link leads to
    if not os.access(folder, os.W_OK):
        raise CommandError(f"{folder}: no permission to write there; name another folder")


def write_rows(path, rows):
    """Write an array in the format that the file's ending says; ``-`` is CSV to the output.

    Parameters
    ----------
    path : str
    rows : ndarray of shape (n_rows,) or (n_rows, n_columns)
        Numbers or texts.
    """
    ending = Path(path).suffix.lower()
    if path == "-":
        _write_csv(sys.stdout, rows)
        return
    if ending == ".csv":
        text = io.StringIO()
        _write_csv(text, rows)
        write_atomically(path, text.getvalue().encode())
        return
    buffer = io.BytesIO()
    if ending == ".npy":
        np.save(buffer, rows)
    else:
        np.savez_compressed(buffer, X=rows)
    write_atomically(path, buffer.getvalue())


def _write_csv(file, rows):
    if rows.dtype.kind == "U":
        lines = rows.reshape(len(rows), -1).tolist()
        csv.writer(file, lineterminator="\n").writerows(lines)
    else:
        np.savetxt(file, rows, fmt=_format(rows), delimiter=",")


def _format(rows):
    if rows.dtype.kind in "biu":
        return "%d"
    return "%.9g" if rows.dtype.itemsize <= 4 else "%s"  # nine digits are a whole float32
