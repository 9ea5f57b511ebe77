"""Tables as people have them: text with separators, and Parquet; names of columns, gaps, an index.

A cell that is empty is a missing value, NaN. A first line of other words than numbers names the
columns. A first column without a name, beside others that have one, is the index that pandas
writes: it is no data, and left out.
"""

import csv
import itertools
import json
import math
import re
import sys
import warnings
from array import array
from dataclasses import dataclass

import numpy as np

from deepgen.cli.common.errors import CommandError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# Cells that are no number, and what they are: an empty one and that of R are missing, and frames of
# bool columns are written in words.
WORDS = {"": math.nan, "NA": math.nan} | {
    word: value
    for truth, value in (("true", 1.0), ("false", 0.0))
    for word in (truth, truth.title(), truth.upper())
}
# Names of an index: none, and what pandas calls it after it has read that.
INDEX = ("", "Unnamed: 0")
# Lines of a text that tell its separator.
LOOKED_AT = 20
# Characters of a line: a cell takes up to 34 times its length in memory while a line is read.
LONGEST = 2**21
# What pandas calls an index without a name in a Parquet file.
_NAMELESS = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True)
class Head:
    """How a text begins.

    Attributes
    ----------
    separator : str
    n_columns : int
        Of the first line, an index included.
    names : tuple of str or None
        None: the first line is one of numbers.
    n_lines : int
        Lines of the file above the first row.
    """

    separator: str
    n_columns: int
    names: tuple | None
    n_lines: int

    @property
    def has_index(self):
        """Whether the first column is an index that pandas wrote."""
        return self.names is not None and self.names[0] in INDEX and self.n_columns > 1

    @property
    def columns(self):
        """Names of the columns of data, or None."""
        return self.names[1:] if self.has_index else self.names


def read_text(path):
    """Read a table of numbers.

    Parameters
    ----------
    path : str
        UTF-8; columns stand between commas, semicolons or tabs. A file in ``.tsv`` has tabs.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), float64

    Raises
    ------
    CommandError
        If a cell is no number, or a line has more or fewer cells than the first.
    """
    head = head_of(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "loadtxt: input contained no data")
        try:  # ten times as fast as cell by cell, but takes numbers alone
            values = np.loadtxt(
                path, delimiter=head.separator, ndmin=2, comments=None, quotechar='"',
                encoding="utf-8-sig", skiprows=head.n_lines,
            )  # fmt: skip
        except UnicodeDecodeError:
            raise
        except ValueError:
            return _read_cells(path, head)
    if len(values) and values.shape[1] != head.n_columns:
        raise CommandError(
            f"{path} must have a name for each column, got {head.n_columns:,} in the first line "
            f"and {values.shape[1]:,} cells in row 0; name the index too, or write it without"
        )
    if not head.has_index:
        _warn_of_counted_columns(path, values)
        return values
    _check_index(path, values[:, 0], len(values))
    return np.ascontiguousarray(values[:, 1:])


def head_of(path):
    """Return how a text begins: its separator, and names of columns."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        lines = list(itertools.islice(iter(lambda: file.readline(LONGEST + 1), ""), LOOKED_AT))
    if max(map(len, lines), default=0) > LONGEST:
        raise CommandError(
            f"{path} must have lines of at most {LONGEST:,} characters, got a longer one; write "
            "rows of so many columns by numpy.save"
        )
    separator = _separator(lines, path)
    reader = csv.reader(lines, delimiter=separator)
    rows = [([cell.strip() for cell in cells], reader.line_num) for cells in reader if cells]
    first, n_lines, below = (), 0, []
    while rows:
        (first, end), *rows = rows
        below = [cells for cells, _ in rows]
        is_comment = first[0].startswith("#") and below and len(below[0]) != len(first)
        if not is_comment:  # nor one of several lines that NumPy wrote above the names
            break
        n_lines = end
    if all(map(_is_value, first)) and not _counts_columns(first, below):
        return Head(separator, len(first), None, n_lines)
    return Head(separator, len(first), tuple(first), end)


def _separator(lines, path):
    if str(path).lower().endswith(".tsv"):
        return "\t"
    whole = lines[:-1] if len(lines) == LOOKED_AT else lines  # the last one may be half a cell
    whole = [line for line in whole if not line.startswith("#")]
    for separator in "\t;":  # a comma may be a decimal one between these
        widths = {len(cells) for cells in csv.reader(whole, delimiter=separator) if cells}
        if len(widths) == 1 and widths != {1}:
            return separator
    return ","


def _counts_columns(first, rows):
    """Tell whether a first line without other words names columns by their numbers.

    That is an empty cell, then 0, 1, 2 and so on, above rows that begin with an entry of an index:
    a frame without names as pandas writes it. In a row of data with a gap the next ones count too
    only by chance.
    """
    if len(first) < 2 or first[0] or first[1:] != list(map(str, range(len(first) - 1))):
        return False
    index = [cells[0] for cells in rows]
    return "" not in index and (len(first) > 3 or index == list(map(str, range(len(index)))))


def _read_cells(path, head):
    """Read a table cell by cell: slower, but with gaps, and with the place of what is no number."""
    begin = int(head.has_index)
    values, index = array("d"), []
    with open(path, newline="", encoding="utf-8-sig") as file:
        for _ in range(head.n_lines):
            next(file)
        reader = csv.reader(file, delimiter=head.separator)
        for number, cells in enumerate(filter(None, reader)):
            if len(cells) != head.n_columns:
                raise CommandError(
                    f"{path} must have {head.n_columns:,} cells between "
                    f"{SEPARATORS[head.separator]} in each line, as the first has, got "
                    f"{len(cells):,} in row {number:,}"
                )
            if begin:
                index.append(cells[0])
            cells = cells[begin:]
            try:
                row = [float(cell) for cell in cells]
            except ValueError:
                row = [_value(cell) for cell in cells]
            if None in row or any("_" in cell for cell in cells):
                column = next(j for j, cell in enumerate(cells) if _value(cell) is None)
                raise CommandError(_no_number(path, cells[column], number, column, head))
            values.extend(row)
    if begin:
        _check_index(path, index, len(index))
    return np.frombuffer(values, np.float64).reshape(-1, head.n_columns - begin)


def _no_number(path, cell, row, column, head):
    remedy = (
        "write categories as numbers, or train with --visible auto (rbm, dbn, dbm) or --model "
        "product-mixture, and leave a cell empty where a value is missing"
    )
    if re.fullmatch(r"\s*[-+]?\d*,\d+\s*", cell):
        remedy = "write decimals with a point"
    elif any(separator in cell for separator in SEPARATORS):
        remedy = "separate cells by commas, semicolons or tabs, the same in every line"
    return (
        f"{path} must hold numbers, below at most one line of names, got {cell!r} in "
        f"{place(row, column, head.columns)}; {remedy}"
    )


def place(row, column, names=None):
    """Return a place in words: "row 3, column 7 ('age')", counted from 0."""
    name = "" if names is None else f" ({names[column]!r})"
    return f"row {row:,}, column {column:,}{name}"


def _value(cell):
    """Return the number that a cell stands for; None: for none."""
    cell = cell.strip()
    if cell in WORDS:
        return WORDS[cell]
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _is_value(cell):
    return _value(cell) is not None


def _check_index(path, index, n_rows):
    """Say on standard error that a column is left out, unless it counts the rows from 0 or 1."""
    try:
        numbers = np.asarray(index, np.float64)
        counts = np.array_equal(numbers - numbers[:1], np.arange(n_rows)) and numbers[:1] in (0, 1)
    except ValueError:
        counts = False
    if not counts:
        print(
            f"deepgen: warning: the first column of {path} has no name: it is taken for an index "
            "and left out",
            file=sys.stderr,
        )


def _warn_of_counted_columns(path, values):
    """Say on standard error where a first row may be the names of columns, which are numbers."""
    if values.shape[1] > 3 and len(values) > 1:
        first = values[0]
        if np.array_equal(first, np.arange(len(first))):
            print(
                f"deepgen: warning: the first line of {path} counts 0, 1, 2 and is read as a row; "
                "if it names the columns, take it out, or write names that are no numbers",
                file=sys.stderr,
            )


# --- Parquet --------------------------------------------------------------------------------------


def read_parquet(path):
    """Read the columns of a Parquet file, by pyarrow, polars or pandas: whichever is there.

    Parameters
    ----------
    path : str

    Returns
    -------
    dict of {str: ndarray of shape (n_rows,)}
        Numbers, with NaN where a value is missing, or texts; an index that pandas wrote is left
        out.

    Raises
    ------
    CommandError
        If no package reads such files, or this one is damaged.
    """
    for reader in (_by_arrow, _by_polars, _by_pandas):
        try:
            read = reader()
        except ImportError:
            continue
        with open(path, "rb") as file:
            try:
                columns = read(file)
            except Exception as error:  # each of the packages has its own types
                raise CommandError(
                    f"{path} must be a Parquet file, got one that is damaged or of another format: "
                    f"{str(error).partition(chr(10))[0]}"
                ) from error
        return {name: _column(path, name, values) for name, values in columns.items()}
    raise CommandError(
        f"{path} is a Parquet file, which pyarrow, polars or fastparquet reads, and none of them "
        "is installed; python -m pip install pyarrow, or write it as .csv or .npy"
    )


def _by_arrow():
    from pyarrow import parquet

    def read(file):
        table = parquet.read_table(file)
        about = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
        index = {name for name in about.get("index_columns", []) if isinstance(name, str)}
        return {
            name: table.column(name).to_numpy()
            for name in table.column_names if name not in index
        }  # fmt: skip

    return read


def _by_polars():
    import polars

    def read(file):
        frame = polars.read_parquet(file)
        return {
            name: frame.get_column(name).to_numpy()
            for name in frame.columns if not _NAMELESS.fullmatch(name)
        }  # fmt: skip

    return read


def _by_pandas():
    import fastparquet  # noqa: F401 (pandas reads by it)
    import pandas as pd

    def read(file):
        frame = pd.read_parquet(file, engine="fastparquet")
        return {str(name): frame[name].to_numpy() for name in frame.columns}

    return read


def _column(path, name, values):
    """Return a column as numbers or texts; what is missing among numbers or bools is NaN."""
    if values.dtype.kind in "buifU":
        return values
    entries = values.tolist() if values.dtype.kind not in "mM" else list(values)  # no bare numbers
    known = [entry for entry in entries if entry is not None and entry == entry]
    if all(isinstance(entry, bool | int | float) for entry in known):
        return np.array([math.nan if e is None else e for e in entries], np.float64)
    if len(known) == len(entries) and all(isinstance(entry, str) for entry in known):
        return np.array(entries, np.str_)
    raise CommandError(
        f"{path} must hold numbers or texts in column {name!r}, got {values.dtype} such as "
        f"{str(known[0] if known else None)[:40]!r}"
    )
