"""Identifiers of users and items: what people call them, for the numbers that models use."""

import json
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deepgen.checks import shown

# How things that stand for no value print themselves.
_MISSING = ("None", "nan", "<NA>", "NaT")
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, eq=False)
class Identifiers:
    """Distinct hashable objects; the number of each is its place, counted from 0.

    Attributes
    ----------
    values : ndarray of shape (n,)
        int64 where all are integers, else objects. Whole numbers that an array of floats holds are
        integers: pandas makes such columns where some were missing.
    """

    values: np.ndarray

    def __post_init__(self):
        values = self.values.view()
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def __len__(self):
        return len(self.values)

    def __getstate__(self):
        return {"values": np.array(self.values)}

    def __setstate__(self, state):
        self.__init__(**state)

    @cached_property
    def _places(self):
        return {value: place for place, value in enumerate(self.values.tolist())}

    @classmethod
    def of(cls, column, name):
        """Return the distinct identifiers of a column, and the number of each of its entries.

        Integers and strings ascend; other objects stand in the order in which they come.

        Parameters
        ----------
        column : array-like of shape (n_entries,)
            Hashable objects: strings, integers, tuples.
        name : str
            What messages call it.

        Returns
        -------
        tuple of (Identifiers, ndarray of int64)

        Raises
        ------
        ValueError
            If it is not one column, or if an identifier is missing.
        TypeError
            If an entry is not hashable.
        """
        entries, shape = _entries(column)
        if len(shape) != 1:
            raise ValueError(f"{name} must be one column of identifiers, got shape {shape}")
        if isinstance(entries, np.ndarray):  # of integers: a hundred million are no Python objects
            values, numbers = np.unique(entries, return_inverse=True)
            return cls(_array(values.tolist())), numbers.astype(np.int64, copy=False)
        places = {}
        try:
            numbers = [places.setdefault(entry, len(places)) for entry in entries]
        except TypeError:
            raise TypeError(
                f"{name} must hold hashable identifiers, such as strings and integers, got "
                f"{shown(next(entry for entry in entries if not _is_hashable(entry)))}"
            ) from None
        numbers, values = np.array(numbers, np.int64), list(places)
        missing = [value for value in values if not isinstance(value, str) and _is_missing(value)]
        if missing:
            raise ValueError(
                f"{name} must have an identifier for each rating, got {missing[0]!r} in row "
                f"{int(np.flatnonzero(numbers == places[missing[0]])[0])}; leave such rows out"
            )
        if all(type(value) is int for value in values) or all(isinstance(v, str) for v in values):
            order = sorted(range(len(values)), key=values.__getitem__)
            values = [values[place] for place in order]
            numbers = np.argsort(order)[numbers]
        return cls(_array(values)), numbers

    def find(self, wanted):
        """Return numbers of identifiers, int64, -1 where one is unknown.

        Parameters
        ----------
        wanted : object or array-like
            One identifier, or several in a list, an array of any shape or a column of a frame. A
            tuple is one identifier where there is such a one, else several.

        Returns
        -------
        ndarray
            Of the shape of `wanted`; of one identifier ``()``.
        """
        if isinstance(wanted, tuple) and _is_hashable(wanted) and wanted in self._places:
            entries, shape = [wanted], ()
        else:
            entries, shape = _entries(wanted)
        entries = entries.tolist() if isinstance(entries, np.ndarray) else entries
        places = [self._places.get(entry, -1) if _is_hashable(entry) else -1 for entry in entries]
        return np.array(places, np.int64).reshape(shape)

    def numbers(self, wanted, name, remedy="", *, whose="that the model knows"):
        """Return numbers of identifiers; ValueError that names the first that is unknown.

        Parameters
        ----------
        wanted : object or array-like
            See :meth:`find`.
        name : str
            What the message calls them.
        remedy : str
            The end of the message.
        whose : str
            Which identifiers they must be.
        """
        found = self.find(wanted)
        if (found < 0).any():
            first = int(np.flatnonzero(found.reshape(-1) < 0)[0])
            entry = _plain([_entries(wanted)[0][first]])[0]
            known = ", ".join(map(repr, self.values[:3].tolist()))
            raise ValueError(
                f"{name} must be identifiers {whose}, such as {known}, got "
                f"{shown(entry)}{self.other_form(entry) or (remedy and f'; {remedy}')}"
            )
        return found

    def other_form(self, entry):
        """Say that an unknown identifier is known as a text or as an integer, else nothing."""
        if isinstance(entry, str):
            other, what = int(entry) if _WHOLE.fullmatch(entry) else None, "an integer"
        else:
            other, what = str(entry) if type(entry) is int else None, "a string"
        return f"; {other!r}, {what}, is there" if other in self._places else ""

    @classmethod
    def in_order(cls, values, name):
        """Return identifiers in the order in which they are given; ValueError where one is twice.

        Parameters
        ----------
        values : sequence
        name : str
        """
        values, shape = _entries(values)
        values = values.tolist() if isinstance(values, np.ndarray) else values
        if len(shape) != 1 or not all(map(_is_hashable, values)) or len(set(values)) < len(values):
            raise ValueError(f"{name} must be a list of distinct identifiers")
        return cls(_array(values))

    def followed_by(self, others, name):
        """Return these and then others; ValueError where one of the others is among them."""
        known = self.find(others.values) >= 0
        if known.any():
            raise ValueError(
                f"{name} must be new, but {shown(others.values[known].tolist()[0])} is known "
                "already; leave its ratings out, or fit anew with all"
            )
        return Identifiers(_array(self.values.tolist() + others.values.tolist()))

    def named(self, numbers):
        """Return the identifiers of numbers, objects; None for -1."""
        objects = np.empty(len(self) + 1, object)
        objects[: len(self)] = self.values
        return objects[numbers]

    def texts(self, name):
        """Return the JSON of each, as files hold them; ValueError where that cannot be.

        Parameters
        ----------
        name : str
            What the message calls them.
        """
        values = self.values.tolist()
        for value in values:
            if not (isinstance(value, str) or (type(value) is int and _fits(value))):
                raise ValueError(
                    f"{name} must be strings or 64-bit integers in a model file, got "
                    f"{shown(value)}; give every one of them a string"
                )
        return [json.dumps(value) for value in values]

    @classmethod
    def from_texts(cls, texts, name):
        """Make identifiers of the texts of a file, as :meth:`texts` wrote them.

        ValueError where a text is no JSON of a string or of a 64-bit integer.
        """
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{name} are no list of texts")
        return cls.in_order([_value(text, name) for text in texts], name)


def _value(text, name):
    """Return the string or the integer that a text of a file stands for."""
    value = None
    if text.startswith('"'):  # nothing that nests
        value = json.loads(text)
    elif _WHOLE.fullmatch(text):
        value = int(text)
    if not isinstance(value, str) and (value is None or not _fits(value)):
        raise ValueError(f"{name} hold {shown(text)}, which is no string and no integer")
    return value


def _array(values):
    """Return a list of identifiers as an array: int64 where that is possible, else objects."""
    if all(type(value) is int and _fits(value) for value in values):
        return np.array(values, np.int64)
    array = np.empty(len(values), object)  # NumPy would take tuples for rows
    array[:] = values
    return array


def _entries(values):
    """Return identifiers as a list, or a flat array of integers, and their shape."""
    if isinstance(values, list | tuple):
        return _plain(values), (len(values),)
    if isinstance(values, str | bytes | int | float):
        return [values], ()
    array = np.asarray(values)
    if array.ndim == 0:
        return [array.item() if isinstance(values, np.generic) else values], ()
    if array.dtype.kind == "f" and (np.abs(array) < 2**53).all() and (array % 1 == 0).all():
        array = array.astype(np.int64)
    if array.dtype.kind in "iu":
        return array.reshape(-1), array.shape
    return _plain(array.reshape(-1).tolist()), array.shape


def _plain(values):
    """Return objects as a list, NumPy's scalars as Python's: both compare alike, JSON has one."""
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _fits(value):
    return _INT64.min <= value <= _INT64.max


def _is_missing(value):
    return str(value) in _MISSING


def _is_hashable(value):
    try:
        hash(value)
    except TypeError:
        return False
    return True
