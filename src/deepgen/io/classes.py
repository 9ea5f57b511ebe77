"""Labels of classes as they stand in files: plain data, dates and durations too."""

import re

import numpy as np

from deepgen.checks import shown

_OF_TIME = "mM"  # NumPy's letters for types of durations and dates


def plain_classes(classes):
    """Return classes as plain data for a file: dates and durations as whole numbers and a type."""
    if classes.dtype.kind in _OF_TIME:
        return {"dtype": classes.dtype.name, "values": classes.astype(np.int64).tolist()}
    return classes.tolist()


def classes_of_plain(plain):
    """Undo :func:`plain_classes`; ValueError where a file holds something else."""
    if not isinstance(plain, dict):
        return plain
    dtype, values = plain.get("dtype"), plain.get("values")
    known = isinstance(dtype, str) and re.fullmatch(r"(datetime|timedelta)64\[\w{1,2}\]", dtype)
    whole = isinstance(values, list) and all(
        type(value) is int and abs(value) < 2**63 for value in values
    )
    if set(plain) != {"dtype", "values"} or not known or not whole:
        raise ValueError(f"classes must be labels, got {shown(plain)}")
    try:
        return np.array(values, np.int64).astype(dtype)
    except TypeError:  # a unit that NumPy does not know
        raise ValueError(f"classes must be labels, got dtype {dtype}") from None


def json_classes(classes):
    """Return classes of a model as JSON has them: numbers, truth values, texts; dates as texts."""
    array = np.asarray(classes)
    return array.astype(str).tolist() if array.dtype.kind in _OF_TIME else array.tolist()
