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
            raise ValueError(f"{name} must hold real numbers, got objects: {error}") from None
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
