"""Requests that are refused: the status, and what a client reads: field, expected, got, message."""

import re

from deepgen.checks import RefusedValue, in_words, shown

# What the library calls an argument, by what a request calls it.
_FIELDS = {"X": "rows", "n_samples": "n", "random_state": "seed", "return_std": "std"}
_MESSAGE = re.compile(r"(?s)(\w+)(?:\[\d+\])* (?:must|has|have) (.*?)(?:, (?:got|but) (.*))?")
LONGEST = 400  # characters of a message of the library's that a client gets


class Refusal(Exception):
    """A request gets an error instead of an answer.

    Attributes
    ----------
    status : int
    message : str
        The sentence that says all of it, for people.
    field : str or None
        Of the request: ``"rows"``, ``"n_sweeps"``; or what else is wrong, such as
        ``"Content-Type"``.
    expected, got : str or None
    place : dict
        ``row`` and ``column`` of a value, counted from 0, where it is one.
    headers : dict
    """

    def __init__(
        self, status, message, field=None, expected=None, got=None, *, place=None, headers=None
    ):
        super().__init__(status, message)
        self.status, self.message, self.field = status, message, field
        self.expected, self.got = expected, got
        self.place, self.headers = place or {}, headers or {}

    def body(self):
        """Return what the client gets, as plain data."""
        return {
            "error": {
                "status": self.status, "message": self.message, "field": self.field,
                "expected": self.expected, "got": self.got, **self.place,
            }
        }  # fmt: skip


def wrong(field, expected, got, remedy="", *, status=422):
    """Return the refusal of a field that must be something else.

    Parameters
    ----------
    field : str
    expected : str
        Behind "must", for example ``"be an integer"``.
    got : object
    remedy : str
    status : int
    """
    got = got if isinstance(got, str) else shown(got)
    message = f"{field} must {expected}, got {got}{'; ' if remedy else ''}{remedy}"
    return Refusal(status, message, field, expected, got)


def of_the_library(error):
    """Return the refusal that an error of an estimator is to the client: 422, in its own words.

    Parameters
    ----------
    error : ValueError or TypeError
    """
    if isinstance(error, RefusedValue):
        field = _FIELDS.get(error.name, error.name)
        place = {"row": error.row}
        if error.column is not None:
            place["column"] = error.column
        message = f"{field}{str(error).removeprefix(error.name)}"
        got = in_words(error.value)
        return Refusal(422, message, field, error.expected, got, place=place)
    message = " ".join(str(error).split())[:LONGEST]
    parts = _MESSAGE.fullmatch(message)
    if not parts:
        return Refusal(422, message)
    name, expected, got = parts.groups()
    field = _FIELDS.get(name, name)
    return Refusal(422, f"{field}{message[len(name):]}", field, expected, got)
