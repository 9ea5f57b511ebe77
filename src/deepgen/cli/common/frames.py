"""Tables with texts and numbers, for models with ``visible="auto"``: data frames, by pandas."""

import sys
from pathlib import Path

from deepgen.cli.common.errors import CommandError, UsageError
from deepgen.cli.common.rows import TEXTS, name_of, read_rows, source_file
from deepgen.cli.common.tables import WORDS, head_of
from deepgen.estimators.common.validation import table_of
from deepgen.io.atomic import write_atomically

FRAMES = (*TEXTS, ".parquet")
# Cells of a text that are missing, as in tables of numbers.
GAPS = [word for word, value in WORDS.items() if value != value]


def read_data(estimator, source, packed_columns=None):
    """Read rows for a fitted estimator: a data frame where it has learned from a table.

    See :func:`~deepgen.cli.common.rows.read_rows`.
    """
    if table_of(estimator) is None:
        return read_rows(source, packed_columns)
    return read_frame(source, packed_columns)


def read_frame(source, packed_columns=None):
    """Read a table whose columns may hold texts.

    Parameters
    ----------
    source : str
        ``FILE.csv`` or ``FILE.tsv``, whose first line names the columns, ``FILE.parquet``, or
        ``-``; ``.npy`` and ``.npz`` are arrays of numbers.
    packed_columns : int or None
        Must be None.

    Returns
    -------
    DataFrame or ndarray

    Raises
    ------
    CommandError
        If it is no such table, or pandas is not installed.
    """
    if packed_columns is not None:
        raise UsageError("packed_columns is for bits, and this model reads a table of columns")
    with source_file(source) as (path, _):
        ending = Path(path).suffix.lower()
        if ending not in FRAMES:
            return read_rows(source)
        pandas = _pandas(source)
        if ending == ".parquet":
            return _parsed(source, pandas.read_parquet, path)
        head = head_of(path)
        if head.names is None:
            return read_rows(path if source == "-" else source)
        repeated = [name for name in head.names if head.names.count(name) > 1]
        if repeated:
            raise CommandError(
                f"{name_of(source)} must begin with the names of its columns, each once, got "
                f"{repeated[0]!r} twice; write such a line above the rows"
            )
        return _parsed(
            source, pandas.read_csv, path, sep=head.separator, keep_default_na=False,
            na_values=GAPS, encoding="utf-8-sig", header=None, names=list(head.names),
            skiprows=head.n_lines, skipinitialspace=True, index_col=0 if head.has_index else False,
        )  # fmt: skip


def _pandas(source):
    try:
        import pandas
    except ImportError:
        raise CommandError(
            f"{name_of(source)} is a table of columns, which pandas reads; python -m pip install "
            "pandas"
        ) from None
    return pandas


def _parsed(source, read, path, **options):
    try:
        return read(path, **options)
    except (ValueError, ImportError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise CommandError(
            f"{name_of(source)} must be a table: {str(error).partition(chr(10))[0]}"
        ) from error


def check_frame_out(estimator, path):
    """Raise UsageError where a model gives tables, and a file holds arrays of numbers alone."""
    if table_of(estimator) is not None and path != "-" and Path(path).suffix.lower() != ".csv":
        raise UsageError(f"out must be a .csv file or -, for a table of columns, got {path!r}")


def write_frame(path, frame):
    """Write a data frame as CSV with a line of names; ``-`` is the output."""
    text = frame.to_csv(index=False, lineterminator="\n")
    if path == "-":
        sys.stdout.write(text)
    else:
        write_atomically(path, text.encode())
