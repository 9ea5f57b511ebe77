"""Words by column, in files: what ``topics`` prints."""

import csv
import json
from pathlib import Path

from deepgen.cli.common.errors import CommandError
from deepgen.cli.common.rows import read_array

READS = (
    "words in the order of the columns: a text of one word a line, .csv or .tsv (the first "
    "column), .json (a list, or an object of columns by word), or .npy"
)


def read_vocabulary(path, n_words):
    """Read a word for each column.

    Parameters
    ----------
    path : str
        ``.json`` is a list of words, or an object that says the column of each word, as
        ``CountVectorizer.vocabulary_`` does; ``.csv`` and ``.tsv`` have the words in their first
        column, perhaps below a title; ``.npy`` is an array of texts; any other file is a text with
        a word in each line.
    n_words : int
        Columns of the model.

    Returns
    -------
    list of str

    Raises
    ------
    CommandError
        If there is not one word for each column.
    """
    ending = Path(path).suffix.lower()
    try:
        words = _READERS.get(ending, _read_text)(path)
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, RecursionError) as error:
        raise CommandError(f"{path} must hold {READS}: {error}") from error
    if ending in (".csv", ".tsv") and len(words) == n_words + 1:
        del words[0]  # the title of the column
    if len(words) != n_words:
        raise CommandError(
            f"{path} must hold {n_words:,} words, one for each column of the model, got "
            f"{len(words):,}; give the vocabulary that the counts were made with"
        )
    return words


def _read_text(path):
    with open(path, encoding="utf-8-sig") as file:
        text = file.read()
    return text.removesuffix("\n").split("\n")


def _read_cells(path):
    separator = "\t" if path.lower().endswith(".tsv") else ","
    with open(path, encoding="utf-8-sig", newline="") as file:
        return [line[0].strip() for line in csv.reader(file, delimiter=separator) if line]


def _read_json(path):
    with open(path, encoding="utf-8-sig") as file:
        found = json.load(file)
    if isinstance(found, dict):
        columns = list(found.values())
        if any(type(column) is not int for column in columns) or sorted(columns) != list(
            range(len(columns))
        ):
            raise CommandError(
                f"{path} must say a column for each word, each of 0 to {len(columns) - 1} once"
            )
        return sorted(found, key=found.get)
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise CommandError(f"{path} must hold a list of words, or an object of columns by word")
    return found


def _read_array(path):
    remedy = "write it by numpy.save(FILE, numpy.asarray(words, dtype=str))"
    try:
        words = read_array(path, "vocabulary", READS)
    except CommandError as error:  # the names of scikit-learn's vectorizers are objects
        raise CommandError(
            f"{path} must be a .npy file of texts, got one that is damaged or of objects; {remedy}"
        ) from error
    if words.dtype.kind not in "US" or words.ndim != 1:
        raise CommandError(
            f"{path} must hold a row of texts, got {words.dtype} of shape {words.shape}; {remedy}"
        )
    return [w.decode("utf-8", "replace") if isinstance(w, bytes) else w for w in words.tolist()]


_READERS = {".csv": _read_cells, ".tsv": _read_cells, ".json": _read_json, ".npy": _read_array}
