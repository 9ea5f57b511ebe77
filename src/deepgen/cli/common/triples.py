"""Ratings in files: a user, an item and a rating in each line; and titles of items."""

import csv
import re
from pathlib import Path

import numpy as np

from deepgen.cli.common.errors import CommandError, UsageError
from deepgen.cli.common.rows import TEXTS, name_of, source_file
from deepgen.cli.common.tables import INDEX, head_of, read_parquet
from deepgen.rows.ratings import Ratings

READS = (
    "a .csv, .tsv or .parquet file, or - for standard input, whose columns user, item and rating, "
    "or else the first three, are a rating in each line"
)
# By what a column is: its names in titles, in small letters and without "id", "_" and spaces.
_TRIPLE = {"user": ("user",), "item": ("item", "movie", "film"), "rating": ("rating",)}
_TITLE = {"item": _TRIPLE["item"], "title": ("title", "name")}
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")


def read_ratings(source, *, scale=None, bins=None, users=None, model=None):
    """Read ratings with identifiers: integers where all users, or all items, are such.

    A part of a file may have integers alone where the whole has other names too. So beside a model
    an identifier is the one that the model knows, a text or an integer, whatever else is there.

    Parameters
    ----------
    source : str
        See `READS`.
    scale, bins
        See :meth:`deepgen.Ratings.from_triples`.
    users : sequence of str or None
        Texts of the identifiers whose ratings are wanted. None: those of all.
    model : RatingsRBM or None
        The model that is asked about them.

    Returns
    -------
    Ratings or None
        None: none of these users has a rating.

    Raises
    ------
    CommandError
        If the file holds no such ratings.
    OSError
        If it cannot be read.
    """
    who, what, ratings = _columns(source, _TRIPLE)
    ratings = _numbers(source, ratings)
    who, what = _identifiers(who), _identifiers(what)
    if model is not None:
        who, what = _as_known(who, model.user_ids_), _as_known(what, model.item_ids_)
    if users is not None:
        users = set(users)
        wanted = [number for number, user in enumerate(who) if str(user) in users]
        if not wanted:
            return None
        who, what = [who[number] for number in wanted], [what[number] for number in wanted]
        ratings = ratings[wanted]
    try:
        return Ratings.from_triples(who, what, ratings, scale=scale, bins=bins)
    except ValueError as error:
        raise CommandError(f"{name_of(source)}: {error}") from error


def read_titles(source):
    """Read titles by the texts of identifiers of items, from the columns item and title.

    Parameters
    ----------
    source : str
        As for :func:`read_ratings`; where the columns have other names, the first two.

    Returns
    -------
    dict of {str: str}
    """
    items, titles = _columns(source, _TITLE)
    return {str(item): str(title) for item, title in zip(items, titles, strict=True)}


def identifier_of(text, known):
    """Return the identifier among known ones that a word of the command line means."""
    if text not in known and _WHOLE.fullmatch(text) and int(text) in known:
        return int(text)
    return text


def _columns(source, roles):
    """Return the columns of these roles, lists of texts or of what a Parquet file holds."""
    with source_file(source) as (path, _):
        ending = Path(path).suffix.lower()
        if ending == ".parquet":
            table = read_parquet(path)
            places = _places(list(table), roles, source)
            return [list(table.values())[where].tolist() for where in places]
        if ending not in TEXTS:
            raise UsageError(f"{name_of(source)} must be {READS}; write such a file")
        try:
            return _columns_of_text(path, roles, source)
        except (UnicodeDecodeError, csv.Error) as error:
            raise CommandError(
                f"{name_of(source)} must be UTF-8 text with a line for each row: {error}"
            ) from error


def _columns_of_text(path, roles, source):
    separator = head_of(path).separator
    with open(path, newline="", encoding="utf-8-sig") as file:
        lines = [line for line in csv.reader(file, delimiter=separator) if line]
    if not lines:
        raise CommandError(f"{name_of(source)} must hold a line at least, got none")
    width, first = len(lines[0]), [cell.strip() for cell in lines[0]]
    # a rating is a number, so a line without one names the columns; titles may be above or not
    names = None if "rating" in roles and width > 2 and _number(first[2]) is not None else first
    places = _places(names or [""] * width, roles, source)
    if names is not None and "rating" in roles:
        del lines[0]
    wrong = next((n for n, line in enumerate(lines) if len(line) <= max(places)), None)
    if wrong is not None:
        raise CommandError(
            f"{name_of(source)} must have {width} cells in each line, as the first has, got "
            f"{len(lines[wrong])} in row {wrong:,}"
        )
    return [[line[where].strip() for line in lines] for where in places]


def _places(names, roles, source):
    """Return the places of the columns of these roles: by their names, else the first ones."""
    begin = int(len(names) > len(roles) and names[0] in INDEX and any(names))
    plain = [re.sub(r"[\W_]|id$", "", re.sub(r"[\W_]", "", name.lower())) for name in names]
    found = {}
    for role, known in roles.items():
        here = [where for where, name in enumerate(plain) if name in known]
        if len(here) > 1:
            raise CommandError(f"{name_of(source)} must have one column {role}, got {len(here)}")
        found[role] = here[0] if here else None
    usual = list(range(begin, begin + len(roles)))
    named = [where for where in found.values() if where is not None]
    if len(named) == len(roles):
        return named
    if any(found[role] not in (None, usual[n]) for n, role in enumerate(roles)):
        raise CommandError(
            f"{name_of(source)} must name the columns {', '.join(roles)}, or have them first and "
            f"in this order, got {', '.join(names[:6])}; write these names into the first line"
        )
    if len(names) < len(usual) + begin:
        raise CommandError(
            f"{name_of(source)} must have the columns {', '.join(roles)}, got {len(names)} columns"
        )
    return usual


def _identifiers(cells):
    """Return texts as integers where all of them are such, else as they are."""
    if all(isinstance(cell, str) and _WHOLE.fullmatch(cell) for cell in cells):
        return [int(cell) for cell in cells]
    if all(isinstance(cell, float) and cell.is_integer() for cell in cells):
        return [int(cell) for cell in cells]  # as frames hold integers of which some were missing
    return [None if cell == "" else cell for cell in cells]


def _as_known(cells, known):
    """Return identifiers in the form that a model knows: 7 and "7" are one on a command line."""
    known = set(known.tolist())
    return [cell if cell is None else identifier_of(str(cell), known) for cell in cells]


def _numbers(source, cells):
    """Return ratings as an array; CommandError that says where one is no number."""
    numbers = [_number(cell) for cell in cells]
    if None in numbers:
        row = numbers.index(None)
        raise CommandError(
            f"{name_of(source)} must have a number for each rating, got {str(cells[row])!r} in "
            f"row {row:,}; leave out what is not rated"
        )
    return np.array(numbers, np.float64)


def _number(cell):
    try:
        return None if "_" in str(cell) else float(cell)
    except ValueError:
        return None
