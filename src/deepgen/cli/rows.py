"""Rows in files: what ``train`` and ``score`` read, and what ``sample`` writes."""

import csv
import io
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
from scipy import sparse

from deepgen.cli.errors import CommandError, UsageError
from deepgen.storage import write_atomically

READS = "a .npy (memory-mapped), .npz (FILE.npz:NAME where it holds several arrays) or .csv file"
WRITES = (".npy", ".npz", ".csv")


def read_rows(source):
    """Read a matrix of rows.

    Parameters
    ----------
    source : str
        ``FILE.npy``, which is mapped and not read as a whole; ``FILE.npz`` of one array or of
        ``scipy.sparse.save_npz``; ``FILE.npz:NAME``; ``FILE.csv``: numbers and commas, where a
        first line of other words is taken as a header.

    Returns
    -------
    ndarray, memmap or CSR matrix of shape (n_rows, n_columns)

    Raises
    ------
    CommandError
        If there is no matrix of numbers in it.
    OSError
        If the file cannot be read.
    """
    path, name = source, None
    if not Path(source).exists() and ".npz:" in source.lower():
        path, _, name = source.rpartition(":")
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise UsageError(f"data must be {READS}, got {source!r}")
    try:
        rows = reader(path, name)
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise CommandError(f"{path}: no rows in it can be read: {error}") from error
    if rows.ndim != 2:
        raise CommandError(
            f"{source} must hold a matrix of rows, got shape {rows.shape}; reshape it to "
            "(n_rows, n_columns)"
        )
    return rows


def _read_npy(path, name):
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _read_npz(path, name):
    with np.load(path, allow_pickle=False) as archive:
        names = sorted(archive.files)
        if name is None and {"format", "shape", "data"} <= set(names):
            return sparse.load_npz(path).tocsr()
        if name is None and len(names) != 1:
            raise ValueError(f"it holds {names}: say which one by {path}:NAME")
        if name is not None and name not in names:
            raise ValueError(f"it has no array {name!r}; it holds {names}")
        return archive[name or names[0]]


def _read_csv(path, name):
    with open(path, newline="", encoding="utf-8-sig") as file:
        first = next(csv.reader(file), [])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "loadtxt: input contained no data")
        rows = np.loadtxt(
            path, delimiter=",", ndmin=2, comments=None, quotechar='"', encoding="utf-8-sig",
            skiprows=0 if all(map(_is_number, first)) else 1,
        )  # fmt: skip
    if not rows.size:
        raise ValueError("it has no line of numbers")
    return rows


def _is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return True


_READERS = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}


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


def write_rows(path, rows):
    """Write a matrix in the format that the file's ending says; ``-`` is CSV to the output."""
    if path == "-":
        np.savetxt(sys.stdout, rows, fmt=_format(rows), delimiter=",")
        return
    buffer = io.BytesIO()
    ending = Path(path).suffix.lower()
    if ending == ".npy":
        np.save(buffer, rows)
    elif ending == ".npz":
        np.savez_compressed(buffer, X=rows)
    else:
        np.savetxt(buffer, rows, fmt=_format(rows), delimiter=",")
    write_atomically(path, buffer.getvalue())


def _format(rows):
    return "%d" if rows.dtype.kind in "biu" else "%.9g"  # nine digits are a whole float32
