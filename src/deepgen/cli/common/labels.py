"""Labels and targets in files: what ``train`` learns and ``score`` compares with."""

import csv
import math
from pathlib import Path

import numpy as np

from deepgen.cli.common.errors import CommandError, UsageError
from deepgen.cli.common.rows import TEXTS, read_array, source_file
from deepgen.cli.common.tables import head_of, read_parquet

READS = (
    "a .npy, .npz (FILE.npz:NAME where it holds several arrays), .csv, .tsv or .parquet file, or - "
    "for standard input, an entry for each row; a first line too many is taken as a header"
)


def read_labels(source, n_rows, data):
    """Read a label for each row.

    Parameters
    ----------
    source : str
    n_rows : int
    data : str
        File of the rows, for the message.

    Returns
    -------
    ndarray of shape (n_rows,)
        Integers, bool, floats that are whole numbers, or texts.

    Raises
    ------
    CommandError
        If they are not as many as there are rows, or no labels.
    """
    values = _read(source, n_rows)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim != 1:
        raise CommandError(f"{source} must hold one label a row, got shape {values.shape}")
    _check_length(values, source, n_rows, data)
    if values.dtype.kind == "f":
        bad = ~(np.isfinite(values) & (values == np.round(values)))
        if bad.any():
            raise CommandError(
                f"{source} must hold classes, whole numbers or texts, got {values[bad][0]:g} in "
                f"row {bad.argmax()}; numbers that are measured are for --model regressor; mark "
                "rows without a label by a whole number, and say which: --unlabelled -1"
            )
    return values


def read_targets(source, n_rows, data, *, gaps=False):
    """Read one or more numbers for each row; see :func:`read_labels`.

    Parameters
    ----------
    source, n_rows, data
        See :func:`read_labels`.
    gaps : bool, default False
        Whether a row may have NaN, which is no target.

    Returns
    -------
    ndarray of shape (n_rows,) or (n_rows, n_targets)
    """
    values = _read(source, n_rows)
    if values.dtype.kind not in "buif" or values.ndim not in (1, 2):
        what = f"texts such as {str(values.flat[0])!r}" if values.dtype.kind == "U" else "others"
        raise CommandError(f"{source} must hold numbers, the targets of a regressor, got {what}")
    _check_length(values, source, n_rows, data)
    numbers = values.astype(np.float64)
    if not (np.isfinite(numbers) | (gaps & np.isnan(numbers))).all():
        remedy = "make it NaN where a row has none" if gaps else "leave others out"
        raise CommandError(f"{source} must hold a finite number for each row; {remedy}")
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def unlabelled_in(labels, settings):
    """Return the label that says "no label", in the type of these labels; None: all are classes.

    Parameters
    ----------
    labels : ndarray
    settings : dict
        With `unlabelled`, where it is given.
    """
    if "unlabelled" not in settings:
        return None
    value = settings["unlabelled"]
    if labels.dtype.kind == "U":
        return str(value)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"unlabelled must be a number where labels are, got {str(value)!r}")
    return int(number) if number.is_integer() else number


def check_classes(labels, unlabelled, source):
    """Raise CommandError unless labels have two classes or more."""
    known = labels if unlabelled is None else labels[labels != unlabelled]
    if "" in known.tolist():
        raise CommandError(
            f"{source} has an empty label, the first in row {labels.tolist().index('')}; say "
            "--unlabelled '' if such rows have none"
        )
    classes = np.unique(known)
    if len(classes) < 2:
        note = "" if unlabelled is None else (
            f"; {unlabelled} stands for rows without a label, and is a class without --unlabelled"
        )  # fmt: skip
        raise CommandError(
            f"{source} must hold at least 2 classes, got {classes.tolist() or 'none'}{note}"
        )


def _check_length(values, source, n_rows, data):
    if len(values) != n_rows:
        raise CommandError(
            f"{source} has {len(values):,} entries, but {data} has {n_rows:,} rows; give one for "
            "each row"
        )


def _read(source, n_rows):
    with source_file(source) as (path, name):
        ending = Path(path).suffix.lower()
        if ending in TEXTS:
            return _read_text(path, n_rows)
        if ending == ".parquet":
            return _read_parquet(path)
        values = read_array(path if name is None else f"{path}:{name}", "labels", READS)
    if not isinstance(values, np.ndarray):
        raise CommandError(f"{source} must hold labels, got a sparse matrix; write an array")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind not in "buifU":
        raise CommandError(f"{source} must hold numbers or texts, got dtype {values.dtype}")
    if values.ndim == 0 or not values.size:
        raise CommandError(f"{source} must hold an entry for each row, got shape {values.shape}")
    return np.array(values)  # a mapped file may change while a run lasts


def _read_parquet(path):
    columns = list(read_parquet(path).values())
    if len(columns) > 1 and any(values.dtype.kind == "U" for values in columns):
        raise CommandError(f"{path} must hold one column of labels, got {len(columns)}")
    return np.column_stack(columns) if columns else np.empty((0, 0))


def _read_text(path, n_rows):
    try:
        separator = head_of(path).separator
        lines = _lines(path, separator)
        if separator == ";" and not _is_table(lines):  # of texts that have semicolons
            lines = _lines(path, ",")
    except (UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"{path} must be UTF-8 text, a line for each row: {error}") from error
    while lines and lines[-1] == [""] and len(lines) > n_rows:
        lines.pop()
    if len(lines) == n_rows + 1 and _numbers([lines[0]]) is None:
        if lines[0][0] == "" and len(lines[0]) > 1:  # an index that pandas wrote
            lines = [line[1:] for line in lines]
        del lines[0]
    if not lines or len({len(line) for line in lines}) > 1:
        raise CommandError(f"{path} must hold lines of equally many entries, one line for each row")
    found = _numbers(lines)
    return np.array(lines) if found is None else found


def _lines(path, separator):
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=separator)
        return [[word.strip() for word in line] or [""] for line in reader]


def _is_table(lines):
    """Tell whether semicolons separate columns: below an index without a name, or of numbers."""
    return lines[0][0] == "" or _numbers(lines[1:]) is not None


def _numbers(lines):
    """Return texts as numbers, integers where all are; None where one is none."""
    for kind, dtype in ((int, np.int64), (float, np.float64)):
        try:
            if any("_" in word for line in lines for word in line):
                return None
            return np.array([[kind(word) for word in line] for line in lines], dtype)
        except (ValueError, OverflowError):
            continue
    return None
