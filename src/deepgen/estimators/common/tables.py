"""Tables as people have them: each column binary, categorical or real; to states of units and back.

``visible="auto"`` reads the type of each column off the rows of `fit`: what is bool, or has no
other numbers than 0 and 1, is binary; texts and columns of a categorical type are categorical, a
softmax group with one column for each category; other numbers are real, a Gaussian unit each. An
empty cell is missing: NaN among states, or a group of zeros.
"""

import importlib
import json
import math
import numbers
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from deepgen.checks import RefusedValue, shown
from deepgen.layers.binary import Binary
from deepgen.layers.gaussian import Gaussian
from deepgen.layers.mixed import Mixed
from deepgen.layers.softmax import Softmax
from deepgen.layers.units import LARGEST_VALUE

AUTO = "auto"
HELD = ("binary", "categorical", "real")
# More categories than this, and more than half of the rows: names or keys, of which nothing can be
# learned.
MANY_CATEGORIES = 100
# Decimal commas and blanks or points between thousands, which are read as texts.
_NUMBER_AS_TEXT = re.compile(r"[+-]?\d[\d., ']*")
_WHOLE = re.compile(r"[Uu]?[Ii]nt(8|16|32|64)")
_BOOLS = ("bool", "boolean", "Boolean")
# Types that columns come back in, by (container, whether it is categorical); others become the
# last one: int64[pyarrow] is int64, and what is of no such name is float64.
_OF_NUMPY = r"u?int(8|16|32|64)|bool|boolean|object|float32|float64"
_TYPES = {
    ("pandas", False): rf"U?Int(8|16|32|64)|Float(32|64)|{_OF_NUMPY}",
    ("pandas", True): "category|str|string|object",
    ("polars", False): r"U?Int(8|16|32|64)|Boolean|Float32|Float64",
    ("polars", True): "Categorical|Enum|String",
    (None, False): _OF_NUMPY,
    (None, True): "object",
}


@dataclass(frozen=True)
class Column:
    """One column of a table: real, binary or categorical, with its categories.

    Attributes
    ----------
    holds : {"binary", "categorical", "real"}
    categories : tuple
        Of a categorical column, in the order of its units. A single one needs no unit.
    dtype : str
        The type that the column has in a frame.
    """

    holds: str
    categories: tuple
    dtype: str

    @property
    def width(self):
        """How many units the column has."""
        if self.holds != "categorical":
            return 1
        return 0 if len(self.categories) == 1 else len(self.categories)

    def numbers(self, values):
        """Return values of a binary or real column, float64, as bools or whole where it has such.

        Binary ones are rounded: of means that is the most probable value.
        """
        if self.holds == "binary":
            values = (values >= 0.5).astype(np.float64)
        elif _WHOLE.fullmatch(self.dtype):
            limits = np.iinfo(self.dtype.lower())
            values = np.clip(np.rint(values), limits.min, min(limits.max, 2**62))
        return values.astype(np.bool_) if self.dtype in _BOOLS else values


class _Cells:
    """The cells of one column as they came.

    Attributes
    ----------
    values : ndarray of shape (n_rows,)
        float64 where they are numbers, else objects.
    missing : ndarray of shape (n_rows,), bool
    categories : list or None
        Those that the column's type declares.
    dtype : str
    """

    def __init__(self, values, missing, dtype, categories=None):
        self.missing, self.dtype, self.categories = missing, dtype, categories
        if values.dtype.kind in "buif":
            values = values.astype(np.float64)
        elif categories is None and all(map(_is_number, values[~missing])):
            if all(isinstance(value, bool | np.bool_) for value in values[~missing]):
                self.dtype = "boolean"
            values = np.where(missing, math.nan, values).astype(np.float64)
        self.values = values

    @property
    def are_numbers(self):
        """Whether the cells are numbers of a type that is not categorical."""
        return self.values.dtype == np.float64


def _is_number(value):
    return isinstance(value, numbers.Real | np.bool_)


def _is_missing(value):
    return value is None or (isinstance(value, numbers.Real) and value != value)


def container_of(X):
    """Return "pandas" or "polars" for a data frame of one of these, None for others."""
    package = type(X).__module__.partition(".")[0]
    return package if package in ("pandas", "polars") and len(np.shape(X)) == 2 else None


def _cells(X):
    """Return the cells of each column of a frame or an array: a list of :class:`_Cells`."""
    container = container_of(X)
    if container == "pandas":
        return [_cells_of_pandas(X.iloc[:, j]) for j in range(X.shape[1])]
    if container == "polars":
        return [_cells_of_polars(X.to_series(j)) for j in range(X.shape[1])]
    if sparse.issparse(X):
        raise TypeError(f"X must be a data frame or an array for visible={AUTO!r}, got sparse rows")
    try:
        values = np.asarray(X)
    except ValueError:
        raise ValueError("X must have rows and columns, got rows of different lengths") from None
    if values.ndim != 2 or values.dtype.kind not in "buifOU":
        raise ValueError(
            f"X must be a data frame or an array of two dimensions for visible={AUTO!r}, got "
            f"{values.dtype} of shape {values.shape}"
        )
    if values.dtype.kind in "OU":
        columns = [np.array(column, object) for column in values.T]
        gaps = [np.array([_is_missing(cell) for cell in column], np.bool_) for column in columns]
        return [_Cells(column, gap, "object") for column, gap in zip(columns, gaps, strict=True)]
    dtype = str(values.dtype)
    return [_Cells(column, np.isnan(column.astype(np.float64)), dtype) for column in values.T]


def _cells_of_pandas(series):
    missing, dtype = series.isna().to_numpy(), series.dtype
    if dtype.kind in "buif":
        values = series.to_numpy(dtype=np.float64, na_value=math.nan)
        return _Cells(values, missing, str(dtype))
    if str(dtype) == "category":
        values = series.astype(object).to_numpy()
        return _Cells(values, missing, "category", list(series.cat.categories))
    if dtype.kind in "mM":
        raise ValueError(_of_no_kind(series.name, str(dtype)))
    return _Cells(series.to_numpy(dtype=object), missing, str(dtype))


def _cells_of_polars(series):
    missing, dtype = series.is_null().to_numpy(), str(series.dtype)
    if series.dtype.is_numeric() or dtype == "Boolean":
        values = series.cast(importlib.import_module("polars").Float64).to_numpy()
        return _Cells(values, missing | np.isnan(values), dtype)
    if dtype.startswith(("Categorical", "Enum")):
        values = np.array(series.cast(importlib.import_module("polars").String).to_list(), object)
        declared = getattr(series.dtype, "categories", None) if dtype.startswith("Enum") else None
        categories = None if declared is None else declared.to_list()
        return _Cells(values, missing, dtype.partition("(")[0], categories)
    if dtype != "String":
        raise ValueError(_of_no_kind(series.name, dtype))
    return _Cells(np.array(series.to_list(), object), missing, dtype)


def _of_no_kind(name, dtype):
    return (
        f"X must have columns of numbers, bools, texts or categories, got {dtype} in column "
        f"{name!r}; turn it into numbers or leave it out"
    )


def _type_of(container, holds, dtype):
    """Return the type that a column comes back in; of an unknown one the usual type."""
    known, name = _TYPES[container, holds == "categorical"], dtype.partition("[")[0]
    return name if re.fullmatch(known, name) else known.rpartition("|")[2]


def _column_of(cells, name, container):
    """Return the :class:`Column` that cells of `fit` make: its type, and its categories."""
    known = cells.values[~cells.missing]
    if not len(known) and cells.categories is None:
        raise ValueError(f"X must have a value in each column, got none in column {name!r}")
    if cells.are_numbers:
        is_binary = bool(np.isin(known, (0.0, 1.0)).all())
        holds = "binary" if is_binary else "real"
        return Column(holds, (), _type_of(container, holds, cells.dtype))
    found = {_plain(value, name) for value in known}
    if cells.categories is None:
        try:
            categories = sorted(found)
        except TypeError:  # texts and numbers
            categories = sorted(found, key=lambda value: (type(value).__name__, str(value)))
    else:
        categories = [_plain(value, name) for value in cells.categories]
    if len(categories) > max(MANY_CATEGORIES, len(cells.values) // 2):
        remedy = "leave it out, or join rare ones"
        if all(_NUMBER_AS_TEXT.fullmatch(str(value)) for value in categories):
            remedy = (
                f"they are texts that look like numbers, such as {categories[0]!r}: make them "
                "numbers first, with decimal points"
            )
        raise ValueError(
            f"X has {len(categories):,} categories in {len(cells.values):,} rows of column "
            f"{name!r}, too many to learn of; {remedy}"
        )
    dtype = _type_of(container, "categorical", cells.dtype)
    return Column("categorical", tuple(categories), dtype)


def _plain(value, name):
    """Return a category as plain data: a text, a number or a bool."""
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, str | bool | int | float):
        raise ValueError(
            "X must have texts, numbers or bools as categories, got "
            f"{shown(value)} in column {name!r}; turn them into texts"
        )
    return value


class Table:
    """How the columns of a table become units, and states become a table again.

    Attributes
    ----------
    columns : tuple of Column
    names : tuple
        Of the columns, or their numbers.
    container : {"pandas", "polars"} or None
        What rows come back as; None: an array.
    """

    def __init__(self, columns, names, container):
        self.columns, self.names, self.container = tuple(columns), tuple(names), container

    def __getstate__(self):
        """Return columns, names and container alone: all else is made anew of them when read."""
        return {name: vars(self)[name] for name in ("columns", "names", "container")}

    @classmethod
    def of(cls, X):
        """Return the table whose columns are those of a data frame or an array."""
        cells, container = _cells(X), container_of(X)
        names = list(X.columns) if container else list(range(len(cells)))
        columns = [
            _column_of(column, name, container) for column, name in zip(cells, names, strict=True)
        ]
        table = cls(columns, names, container)
        if table.width == 0:
            raise ValueError("X must have a column with more than one category, got none")
        return table

    def __repr__(self):
        columns = zip(self.names, self.columns, strict=True)
        return f"Table({ {name: column.holds for name, column in columns} })"

    # --- units --------------------------------------------------------------------------------

    @property
    def width(self):
        """How many units all columns have."""
        return sum(column.width for column in self.columns)

    @cached_property
    def _by_form(self):
        """Numbers of the columns of each form, (what it holds, width), in order of appearance."""
        by_form = {}
        for number, column in enumerate(self.columns):
            if column.width:
                by_form.setdefault((column.holds, column.width), []).append(number)
        return by_form

    @cached_property
    def _column_of_unit(self):
        """The number of the column that each unit stands for."""
        order = [number for alike in self._by_form.values() for number in alike]
        return np.repeat(order, [self.columns[number].width for number in order])

    @cached_property
    def _places(self):
        """Slices of units, by column."""
        alike = [np.flatnonzero(self._column_of_unit == j) for j in range(len(self.columns))]
        return [slice(int(units[0]), int(units[-1]) + 1) if len(units) else slice(0, 0)
                for units in alike]  # fmt: skip

    @property
    def units(self):
        """Units for all columns; those of one form stand together, and are one part."""
        return Mixed([_part(*form, len(alike)) for form, alike in self._by_form.items()])

    def named(self, error):
        """Return an error about a state as one about its column."""
        if error.column is None:
            return error
        number = int(self._column_of_unit[error.column])
        return RefusedValue(
            error.name, error.expected, error.value, error.row, number, error.remedy,
            str(self.names[number]),
        )  # fmt: skip

    # --- rows to states -----------------------------------------------------------------------

    def read(self, X):
        """Return rows as states, and which cells are missing.

        Parameters
        ----------
        X : data frame or array of shape (n_rows, n_columns)

        Returns
        -------
        tuple of (ndarray of shape (n_rows, width), float32; bool of shape (n_rows, n_columns))
            Missing cells are NaN among states, in all columns of a categorical one.

        Raises
        ------
        RefusedValue
            If a cell is none that its column can have.
        """
        cells = _cells(X)
        n_rows = len(cells[0].values) if cells else 0
        if len(cells) != len(self.columns):
            raise ValueError(f"X must have {len(self.columns)} columns, got {len(cells)}")
        states = np.zeros((n_rows, self.width), np.float32)
        for number, (column, place) in enumerate(zip(self.columns, self._places, strict=True)):
            if column.holds == "categorical":
                codes = self._codes(number, cells[number])
                if column.width:
                    rows = np.flatnonzero(codes >= 0)
                    states[rows, place.start + codes[rows]] = 1.0
                    states[codes < 0, place] = np.nan
            else:
                states[:, place.start] = self._numbers(number, cells[number])
        missing = [column.missing for column in cells]
        return states, np.stack(missing, axis=1)

    def _refused(self, expected, cells, row, number, remedy=""):
        return RefusedValue(
            "X", expected, cells.values[row], int(row), number, remedy, str(self.names[number])
        )

    def _codes(self, number, cells):
        """Return the number of the category of each cell, -1 where it is missing."""
        known = {category: code for code, category in enumerate(self.columns[number].categories)}
        codes = np.array(
            [-1 if gap else known.get(value, -2)
             for value, gap in zip(cells.values.tolist(), cells.missing.tolist(), strict=True)],
            np.int64,
        )  # fmt: skip
        if (codes == -2).any():
            raise self._refused(
                f"have one of the categories {shown(list(known))}", cells, (codes == -2).argmax(),
                number, "fit with a categorical column that declares it, or leave the cell empty",
            )  # fmt: skip
        return codes

    def _numbers(self, number, cells):
        """Return the cells of a binary or a real column, NaN where one is missing."""
        if not cells.are_numbers:
            is_text = np.array([not _is_number(value) for value in cells.values]) & ~cells.missing
            raise self._refused("be a number", cells, is_text.argmax(), number)
        values = np.where(cells.missing, 0.0, cells.values)
        expected, bad = "lie within +-1e12", ~(np.abs(values) <= LARGEST_VALUE)
        if self.columns[number].holds == "binary":
            expected, bad = "be 0 or 1, as in the rows of fit", ~np.isin(values, (0.0, 1.0))
        if bad.any():
            raise self._refused(expected, cells, bad.argmax(), number)
        return np.where(cells.missing, math.nan, values)

    def gaps(self, missing):
        """Return which states are missing where cells are, bool of shape (n_rows, width)."""
        return missing[:, self._column_of_unit]

    # --- states to rows -----------------------------------------------------------------------

    def rows(self, states):
        """Return states, or means, as a table of the kind that `fit` got.

        Each cell has a value that its column can have: of means the most probable one. Real
        columns have the mean itself.

        Parameters
        ----------
        states : ndarray of shape (n_rows, width)
        """
        columns = [self._values(number, states) for number in range(len(self.columns))]
        return self._framed(columns)

    def _values(self, number, states):
        """Return a column of a table from states: floats, or an array of categories."""
        column, of_column = self.columns[number], states[:, self._places[number]]
        if column.holds != "categorical":
            return column.numbers(of_column[:, 0].astype(np.float64))
        categories = np.empty(len(column.categories), object)
        categories[:] = column.categories
        codes = of_column.argmax(axis=1) if column.width else np.zeros(len(states), np.int64)
        return categories[codes]

    def _framed(self, columns):
        if self.container is None:
            if any(column.holds == "categorical" for column in self.columns):
                columns = [column.astype(object) for column in columns]
            return np.stack(columns, axis=1)
        package = importlib.import_module(self.container)
        if self.container == "polars":
            return package.DataFrame([
                self._polars_series(package, number, values)
                for number, values in enumerate(columns)
            ])  # fmt: skip
        series = [
            self._pandas_series(package, number, values) for number, values in enumerate(columns)
        ]
        frame = package.concat(series, axis=1)
        frame.columns = list(self.names)
        return frame

    def _pandas_series(self, pandas, number, values):
        column = self.columns[number]
        if column.dtype == "category":
            return pandas.Series(pandas.Categorical(values, categories=list(column.categories)))
        return pandas.Series(values).astype(column.dtype)

    def _polars_series(self, polars, number, values):
        column = self.columns[number]
        if column.dtype in ("Categorical", "Enum"):
            return polars.Series(str(self.names[number]), values.tolist(), dtype=polars.Categorical)
        series = polars.Series(str(self.names[number]), values.tolist())
        return series.cast(getattr(polars, column.dtype))

    def completed(self, X, missing, states):
        """Return a table with values of states, or of means, where cells are missing.

        Cells that are not missing come back as they are, and a frame keeps its index and types.
        """
        container, filled = container_of(X), []
        for number in range(len(self.columns)):
            gap = missing[:, number]
            if gap.any():
                values = self._values(number, states)
                filled.append((number, gap, values))
        if container is None:
            out = np.array(X, object if self._has_texts else np.float64)
            for number, gap, values in filled:
                out[gap, number] = values[gap]
            return out
        package, out = importlib.import_module(container), X.copy() if container == "pandas" else X
        for number, gap, values in filled:
            if container == "polars":
                new = self._polars_series(package, number, values)
                old = out.to_series(number)
                here = package.Series(gap)
                out = out.with_columns(
                    new.cast(old.dtype).zip_with(here, old).alias(out.columns[number])
                )
                continue
            old = out.iloc[:, number]
            if str(old.dtype) == "category":
                known = set(old.cat.categories)
                new = [value for value in dict.fromkeys(values[gap].tolist()) if value not in known]
                old = old.cat.add_categories(new) if new else old
            cells = old.astype(object).to_numpy(copy=True)
            cells[gap] = values[gap]
            out.isetitem(number, package.Series(cells, index=out.index).astype(old.dtype))
        return out

    @property
    def _has_texts(self):
        return any(column.holds == "categorical" for column in self.columns)

    def deviations(self, missing, means, deviations):
        """Return how uncertain each missing cell is, 0 where one is not missing.

        The standard deviation of a number; of a category the probability that it is another one.

        Parameters
        ----------
        missing : bool array of shape (n_rows, n_columns)
        means, deviations : ndarray of shape (n_rows, width)
            Of the units.

        Returns
        -------
        ndarray of shape (n_rows, n_columns), float32
        """
        out = np.zeros(missing.shape, np.float32)
        for number, (column, place) in enumerate(zip(self.columns, self._places, strict=True)):
            if column.holds != "categorical":
                out[:, number] = deviations[:, place.start]
            elif column.width:
                out[:, number] = 1.0 - means[:, place].max(axis=1)
        return np.where(missing, out, np.float32(0.0))

    # --- files --------------------------------------------------------------------------------

    def plain(self):
        """Return the table as entries of a file: {"table": plain data, "categories": texts}."""
        return {
            "table": {
                "container": self.container,
                "kinds": [column.holds for column in self.columns],
                "dtypes": [column.dtype for column in self.columns],
                "n_categories": [len(column.categories) for column in self.columns],
            },
            "categories": [
                json.dumps(category) for column in self.columns for category in column.categories
            ],
        }

    @classmethod
    def from_plain(cls, table, categories, names):
        """Undo :meth:`plain`; ValueError where a file holds something else.

        Parameters
        ----------
        table, categories
            The entries of the file.
        names : sequence of str or None
            Of the columns.
        """
        try:
            kinds, dtypes, counts = (table[name] for name in ("kinds", "dtypes", "n_categories"))
            container = table["container"]
            texts = iter([json.loads(text) for text in categories])
            columns = [
                Column(kind, tuple(next(texts) for _ in range(count)), dtype)
                for kind, dtype, count in zip(kinds, dtypes, counts, strict=True)
            ]
            good = all(_is_valid(column, container) for column in columns) and not list(texts)
        except (TypeError, KeyError, ValueError, RuntimeError, RecursionError):
            good = False
        if not good or not columns:
            raise ValueError("the columns of its table are damaged")
        names = range(len(columns)) if names is None else names
        if len(names) != len(columns):
            raise ValueError(f"feature_names must name {len(columns)} columns")
        return cls(columns, names, container)


def _part(kind, width, count):
    """Return the units of neighbouring columns of one kind."""
    if kind == "categorical":
        return Softmax(width, size=width * count)
    return Binary(count) if kind == "binary" else Gaussian(count)


def _is_valid(column, container):
    """Tell whether a column of a file is one; KeyError or TypeError where it is far from one."""
    categories, is_categorical = column.categories, column.holds == "categorical"
    is_type = re.fullmatch(_TYPES[container, is_categorical], column.dtype)
    if column.holds not in HELD or not is_type:
        return False
    plain = all(isinstance(value, str | bool | int | float) for value in categories)
    return plain and len(set(categories)) == len(categories) and bool(categories) == is_categorical
