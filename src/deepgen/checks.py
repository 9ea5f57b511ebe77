"""What arguments must be: the checks that all folders share.

A ``check_`` raises or does nothing; the other functions return the value as its caller needs it.
Each message says the name, what was expected and what came.
"""

import math
import numbers
import os
import reprlib
import sys
import warnings
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

# Largest count or number of columns: more is a slip, and products of two would leave int64.
MOST = 2**31 - 1
# Largest number of a first row, where an array is a piece of a whole that is drawn piece by piece.
MOST_ROWS = 2**62

_shorten = reprlib.Repr()
_shorten.maxother = _shorten.maxstring = 80


def shown(value):
    """Return a representation of `value` that fits into a message, shortened in the middle."""
    return _shorten.repr(value)


def is_integer(value):
    """Tell whether `value` is an integer; True and False are not."""
    return type(value) is int or (
        isinstance(value, int | np.integer) and not isinstance(value, bool)
    )


def check_integer(value, name, least=1, most=MOST):
    """Raise ValueError unless `value` is an integer from `least` to `most`."""
    if is_integer(value) and least <= value <= most:
        return
    if most < MOST or (is_integer(value) and value > most):
        expected = f"an integer from {least} to {most}"
    else:
        expected = "a positive integer" if least == 1 else f"an integer of at least {least}"
    raise ValueError(f"{name} must be {expected}, got {shown(value)}")


def check_number(value, name, low=-math.inf, high=math.inf, *, closed=False):
    """Raise ValueError unless `value` is a finite number in (low, high), or [low, high)."""
    good = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (good and (low < value or (closed and low == value)) and value < high):
        bracket = "[" if closed else "("
        raise ValueError(
            f"{name} must be a number in {bracket}{low:g}, {high:g}), got {shown(value)}"
        )


def check_flag(value, name):
    """Raise ValueError unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {shown(value)}")


def check_instance(value, name, expected_type, expected):
    """Raise TypeError unless `value` is an `expected_type`; `expected` names it in the message."""
    if not isinstance(value, expected_type):
        raise TypeError(f"{name} must be {expected}, got {shown(value)}")


@runtime_checkable
class _Estimator(Protocol):
    """An estimator: it learns a model and holds it as ``model_``, which the core takes."""

    def fit(self, X): ...


def has_role(value, role):
    """Tell whether `value` is an object, not a class, with the methods of the protocol `role`."""
    return isinstance(value, role) and not isinstance(value, type)


def model_remedy(value):
    """Return the end of a message about `value`, which is no model: where an estimator has it."""
    return "; pass its model_" if has_role(value, _Estimator) else ""


def as_list(value, name, of):
    """Return an iterable as a list; a string or a dictionary is none.

    Parameters
    ----------
    value
    name : str
        What messages call it.
    of : str
        What it should hold, for the message.

    Raises
    ------
    TypeError
        If it cannot be iterated over.
    """
    if isinstance(value, str | bytes | dict) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be a sequence of {of}, got {shown(value)}")
    return list(value)


class RefusedValue(ValueError):
    """One value of an argument is refused: which, where it stands, and what to do.

    Parameters
    ----------
    name : str
        Of the argument.
    expected : str
        Behind "must", for example ``"be finite"``.
    value : object
        As it was given: a float64 with all of its digits.
    row : int
        Counted from 0.
    column : int or None
        None: there is one value for each row.
    remedy : str
    column_name : str or None
        What a data frame calls the column.
    """

    def __init__(self, name, expected, value, row, column=None, remedy="", column_name=None):
        super().__init__(name, expected, value, row, column, remedy, column_name)
        self.name, self.expected, self.value = name, expected, value
        self.row, self.column = row, column
        self.remedy, self.column_name = remedy, column_name

    def __str__(self):
        place = f"row {self.row}"
        if self.column is not None:
            place += f", column {self.column}"
        if self.column_name is not None:
            place += f" ({self.column_name!r})"
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.name} must {self.expected}, got {in_words(self.value)} in {place}{remedy}"

    def at(self, row, value_of):
        """Return the error where its rows are a part of others, in which it stands in `row`.

        `value_of(row, column)` is the value as it was given, before it became a state.
        """
        value = self.value if self.column is None else value_of(row, self.column)
        return RefusedValue(self.name, self.expected, value, row, self.column, self.remedy)

    def in_columns_from(self, first):
        """Return the error where its columns are some of others, of which `first` is the first."""
        if self.column is not None:
            column, remedy = first + self.column, self.remedy
        else:
            column, remedy = None, f"{self.remedy}, counted from column {first} on"
        return RefusedValue(self.name, self.expected, self.value, self.row, column, remedy)

    def named(self, names):
        """Return the error with the name of its column; `names` of all columns, or None."""
        if names is None or self.column is None:
            return self
        return RefusedValue(*self.args[:-1], str(names[self.column]))


def in_words(value):
    """Return one value for a message: a number with all of its digits, "NaN", or shortened."""
    if isinstance(value, numbers.Real) and value != value:
        return "NaN"
    return str(value) if isinstance(value, np.number | np.bool_) else shown(value)


def first_place(bad):
    """Return (row, column) of the first True of a bool array of two dimensions."""
    row, column = np.unravel_index(int(np.argmax(bad)), bad.shape)
    return int(row), int(column)


def _first_no_number(objects):
    """Return (place, value) of the first object that is no real number; None: all are."""
    for place, value in np.ndenumerate(objects):
        try:
            np.asarray(value, dtype=object).astype(np.float64)
        except (ValueError, TypeError, OverflowError):
            return place, value
    return None


def real_array(value, name):
    """Return an array of real numbers of the dtype that it has; an array is not copied.

    Raises
    ------
    ValueError
        For masked arrays, rows of different lengths, complex numbers, dates and all that is no
        number.
    """
    if type(value) is not np.ndarray:
        if np.ma.isMaskedArray(value):
            raise ValueError(
                f"{name} is a masked array, whose mask would be lost; fill it, or drop such rows"
            )
        try:
            value = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name} must be an array of numbers, got none: {error}") from None
    if value.dtype.kind == "O":
        try:
            value = value.astype(np.float64)
        except (ValueError, TypeError, OverflowError) as error:
            found = _first_no_number(value)
            if found is None or not 1 <= len(found[0]) <= 2:
                raise ValueError(f"{name} must hold real numbers, got objects: {error}") from None
            remedy = "encode it as numbers first, texts as categories in one-hot columns"
            raise RefusedValue(
                name, "hold real numbers", found[1], *found[0], remedy=remedy
            ) from None
    if value.dtype.kind == "c":
        raise ValueError(
            f"{name} must be real, got complex values; take their real part or their magnitude"
        )
    if value.dtype.kind not in "buif":
        raise ValueError(
            f"{name} must hold real numbers, got dtype {value.dtype}; encode it as numbers first"
        )
    return value


def float32_array(value, name):
    """Return a C-ordered float32 array; values beyond float32 become infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(real_array(value, name), np.float32)


def as_path(path, name="path"):
    """Return `path` as a Path; raise TypeError, or ValueError for characters that no path has."""
    if not isinstance(path, str | os.PathLike) or not path:
        raise TypeError(f"{name} must be a str or a path-like object, got {shown(path)}")
    if "\0" in os.fspath(path):
        raise ValueError(f"{name} must not hold null characters, got {shown(path)}")
    return Path(path)


def warn_at_users_line(message, category):
    """Warn with the line outside this package from which it was called."""
    frame, level = sys._getframe(), 1
    package = __name__.partition(".")[0]
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
