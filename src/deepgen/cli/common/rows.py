"""Rows in files: what commands read and write."""

import contextlib
import csv
import io
import os
import shutil
import sys
import tempfile
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from scipy import sparse

from deepgen.cli.common.archives import read_npz, require_regular
from deepgen.cli.common.errors import CommandError, UsageError
from deepgen.cli.common.tables import head_of, place, read_parquet, read_text
from deepgen.io.atomic import write_atomically
from deepgen.rows.mapped import ARRAYS, map_csr
from deepgen.rows.packed_bits import PackedBits
from deepgen.rows.sources import CHECK_ROWS
from deepgen.rows.states import checked_csr

READS = (
    "a .npy (memory-mapped), .npz (FILE.npz:NAME where it holds several arrays), .csv, .tsv or "
    ".parquet file, a folder of the arrays of a CSR matrix (memory-mapped), or - for standard input"
)
PACKED = "the rows are bits that numpy.packbits(rows, axis=1) has packed: so many columns of them"
WRITES = (".npy", ".npz", ".csv")


def read_rows(source, packed_columns=None):
    """Read a matrix of rows.

    Parameters
    ----------
    source : str
        ``FILE.npy``, which is mapped and not read as a whole; ``FILE.npz`` of one array or of
        ``scipy.sparse.save_npz``; ``FILE.npz:NAME``; ``FILE.csv``, ``FILE.tsv`` and
        ``FILE.parquet``, see :mod:`deepgen.cli.common.tables`, where what is missing is NaN;
        ``-``: any of these from standard input, told by its first bytes; a folder of which
        :func:`deepgen.map_csr` knows the files.
    packed_columns : int or None
        The bytes of the matrix are rows of so many bits.

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
    rows = _read_folder(source) if os.path.isdir(source) else read_array(source, "data", READS)
    rows = _checked(rows, name_of(source))
    if packed_columns is None:
        return rows
    try:
        return PackedBits(rows, packed_columns)
    except (TypeError, ValueError) as error:
        raise CommandError(f"{name_of(source)} must hold packed bits: {error}") from error


def read_array(source, what, reads):
    """Read what a file holds, whatever its shape.

    Parameters
    ----------
    source
        See :func:`read_rows`.
    what, reads : str
        What the message calls it, and which files it may be in.

    Returns
    -------
    ndarray, memmap or CSR matrix
    """
    with source_file(source) as (path, name):
        ending = Path(path).suffix.lower()
        if ending not in _READERS:
            raise UsageError(f"{what} must be {reads}, got {source!r}")
        reader, remedy = _READERS[ending]
        try:
            return reader(path, name)
        except _DAMAGE as error:  # NumPy's words advise what is not safe, or what no command takes
            raise CommandError(
                f"{path} must be a {ending} file of numbers, got one that is damaged, of another "
                f"format or of objects; {remedy}"
            ) from error


@contextlib.contextmanager
def source_file(source):
    """Give the file of a source, and the name of the array in it or None.

    Standard input is kept in a file that lasts as long as the context; messages name its source.

    Parameters
    ----------
    source : str
    """
    if source != STANDARD_INPUT:
        yield file_of(source)
        return
    if sys.stdin is None:  # the process was started without one
        raise CommandError("standard input is closed; pipe rows into the command, or name a file")
    first = sys.stdin.buffer.read(4)
    ending = next((e for start, e in _STARTS.items() if first.startswith(start)), ".csv")
    with tempfile.NamedTemporaryFile(suffix=ending) as file:
        file.write(first)
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        try:
            yield file.name, None
        except CommandError as error:
            raise type(error)(str(error).replace(file.name, name_of(source))) from error


def name_of(source):
    """Return the name of a source in messages."""
    return "standard input" if source == STANDARD_INPUT else source


def refused(source, rows, error):
    """Return the error of rows that a model cannot take; with the first of their gaps, if any.

    Parameters
    ----------
    source : str
    rows : ndarray, PackedBits, CSR matrix or DataFrame
    error : ValueError
        What the library says of them.

    Returns
    -------
    CommandError
    """
    gap = _first_gap(rows)
    note = ""
    if gap is not None:
        names = _names_in(source)
        if names is not None and len(names) != rows.shape[1]:
            names = None
        where = place(*gap, names)
        note = f"; its first missing value is in {where}: deepgen impute completes rows"
    return CommandError(f"{name_of(source)}: {error}{note}")


def _first_gap(rows):
    """Return row and column of the first NaN, or None."""
    is_matrix = isinstance(rows, np.ndarray) or sparse.issparse(rows)  # no bits, no data frame
    if not is_matrix or rows.dtype.kind != "f":
        return None
    for start in range(0, rows.shape[0], CHECK_ROWS):
        piece = rows[start : start + CHECK_ROWS]
        piece = piece.tocoo() if sparse.issparse(piece) else piece
        if sparse.issparse(piece):
            gaps = np.isnan(piece.data)
            places = np.stack([piece.row[gaps], piece.col[gaps]], axis=1)
            places = places[np.lexsort(places.T[::-1])]
        else:
            places = np.argwhere(np.isnan(piece))
        if len(places):
            row, column = places[0].tolist()
            return start + row, column
    return None


def _names_in(source):
    """Return the names of the columns of a text, or None."""
    if Path(source).suffix.lower() not in TEXTS:
        return None
    return head_of(source).columns


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


def _read_folder(path):
    for name in (*ARRAYS, "shape"):
        if not os.path.exists(os.path.join(path, f"{name}.npy")):
            raise CommandError(
                f"{path} is a folder, in which there is no {name}.npy; name a file of rows, or a "
                "folder that a file of scipy.sparse.save_npz was unpacked to"
            )
        require_regular(os.path.join(path, f"{name}.npy"))
    try:
        return checked_csr(map_csr(path), path)
    except _DAMAGE as error:
        raise CommandError(f"{path} must hold a CSR matrix: {error}") from error


def _read_npy(path, name):
    require_regular(path)
    with np.errstate(over="raise"):  # of a header whose shape is beyond all files
        return np.lib.format.open_memmap(path, mode="r")


def _read_text(path, name):
    return read_text(path)


def _read_parquet(path, name):
    columns = read_parquet(path)
    for column, values in columns.items():
        if values.dtype.kind == "U":
            raise CommandError(
                f"{path} must hold numbers, got {str(values[0])!r} in column {column!r}; write "
                "categories as numbers"
            )
    return np.column_stack(list(columns.values())) if columns else np.empty((0, 0))


_READERS = {
    ".npy": (_read_npy, "write it by numpy.save(FILE, X)"),
    ".npz": (read_npz, "write it by numpy.savez(FILE, X=X) or scipy.sparse.save_npz(FILE, X)"),
    ".csv": (_read_text, "write it as UTF-8 text: numbers and commas, a line for each row"),
    ".tsv": (_read_text, "write it as UTF-8 text: numbers and tabs, a line for each row"),
    ".parquet": (_read_parquet, "write it by DataFrame.to_parquet(FILE)"),
}
TEXTS = (".csv", ".tsv")
STANDARD_INPUT = "-"
# How files that are no text begin.
_STARTS = {b"\x93NUM": ".npy", b"PK": ".npz", b"PAR1": ".parquet"}
# What readers raise for files that are none of theirs.
_DAMAGE = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError,
    RuntimeError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
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
    from_input = [name for name, source in read.items() if source == STANDARD_INPUT]
    if len(from_input) > 1:
        raise UsageError(
            f"standard input holds one file, but {' and '.join(from_input)} are -; name files"
        )
    seen = {}
    for name, source in (*read.items(), *written.items()):
        if source is None or (name in read and source == STANDARD_INPUT):
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
    rows : ndarray of shape (n_rows,) or (n_rows, n_columns), or sparse matrix
        Numbers or texts. A sparse matrix stays one in .npz, and becomes an array elsewhere.
    """
    ending = Path(path).suffix.lower()
    if sparse.issparse(rows):
        if ending == ".npz":
            buffer = io.BytesIO()
            sparse.save_npz(buffer, rows)
            write_atomically(path, buffer.getvalue())
            return
        rows = rows.toarray()
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
