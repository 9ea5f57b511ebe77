"""Labels of rows: which are known, their classes, and the units that stand for them.

A label is a number, a text, True or False, or a date or duration; -1 is one like any other. Which
label says "this row has none", the user tells (`unlabelled`): nothing is left out unasked.
"""

import datetime
import numbers
import warnings

import numpy as np
from scipy import sparse
from sklearn.exceptions import DataConversionWarning

from deepgen.checks import RefusedValue, check_number, shown, warn_at_users_line
from deepgen.estimators.common.validation import labels_of
from deepgen.layers.softmax import Softmax

MISSING_REMEDY = (
    "leave such rows out, or say how rows without a label are marked: unlabelled=float('nan') for "
    "missing values (NaN, None, pandas.NA), unlabelled=-1 as in scikit-learn's semi-supervised "
    "estimators"
)
# Kinds of labels, by the types of Python that they have in an array of objects.
_KINDS = {
    "truth values": bool | np.bool_,
    "numbers": numbers.Real,
    "texts": str,
    "bytes": bytes,
    "dates": datetime.date | np.datetime64,
    "durations": datetime.timedelta | np.timedelta64,
}
_OF_TIME = "mM"  # NumPy's letters for types of durations and dates


def split_labels(y, n_rows, unlabelled):
    """Return the labels of the rows that have one.

    Parameters
    ----------
    y : array-like of shape (n_rows,), or of one column
    n_rows : int
    unlabelled : label, NaN or None
        Stands for no label; of another type than the labels it may be. NaN: missing values, which
        are NaN, None, NaT and pandas.NA. None: each row has a label.

    Returns
    -------
    tuple of (known, labels)
        bool of shape (n_rows,); labels of the rows where it is True.

    Raises
    ------
    ValueError
        If y has another shape, or holds what is no class.
    """
    values = _one_column(y, n_rows)
    known = has_label(values, unlabelled)
    if (known & _is_missing(values)).any():
        row = int((known & _is_missing(values)).argmax())
        raise RefusedValue("y", "hold a label for each row", values[row], row, None, MISSING_REMEDY)
    rows = np.flatnonzero(known)
    labels = _of_one_kind(values[known], rows)
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        place = int((~np.isfinite(labels)).argmax())
        raise RefusedValue("y", "be finite", labels[place], int(rows[place]))
    if len(labels):
        labels_of(labels)
    return known, labels


def has_label(values, unlabelled):
    """Return a bool mask of labels that are not `unlabelled`; see :func:`split_labels`.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
    unlabelled : label, NaN or None
    """
    kind = values.dtype.kind
    if unlabelled is None:
        return np.ones(len(values), np.bool_)
    if not isinstance(unlabelled, (*_KINDS.values(), np.generic)) and not _is_none(unlabelled):
        raise ValueError(
            "unlabelled must be a label, NaN for missing values, or None where each row has a "
            f"label; got {shown(unlabelled)}"
        )
    if _is_none(unlabelled):
        return ~_is_missing(values)
    if kind in _OF_TIME:
        try:
            return values != np.asarray(unlabelled, values.dtype)
        except (ValueError, TypeError):  # no date: no label of these
            return np.ones(len(values), np.bool_)
    truth = isinstance(unlabelled, bool | np.bool_)
    if kind != "O":
        if truth != (kind == "b"):  # True is not 1
            return np.ones(len(values), np.bool_)
        different = values != np.asarray(unlabelled, dtype=object)
        return np.broadcast_to(different, values.shape).astype(np.bool_)
    return np.array([
        _is_none(value) or truth != isinstance(value, bool | np.bool_)
        or bool(value != unlabelled)
        for value in values
    ], np.bool_)  # fmt: skip


def _one_column(y, n_rows):
    """Return labels as a vector; lists become objects, because NumPy would mix their types."""
    if sparse.issparse(y):
        raise ValueError("y must be an array of labels, got a sparse matrix; pass y.toarray()")
    if np.ma.isMaskedArray(y):
        raise ValueError(
            "y is a masked array, whose mask would be lost; fill it with a label that stands for "
            "none, and name that label as unlabelled"
        )
    try:
        values = np.asarray(y, dtype=object if isinstance(y, list | tuple) else None)
    except ValueError as error:
        raise ValueError(f"y must hold one label for each row: {error}") from None
    if values.shape == (n_rows, 1):
        if not hasattr(y, "columns"):  # of an array it may be a slip
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected; it is read as labels. "
                "Pass y.ravel()",
                DataConversionWarning,
                stacklevel=2,
            )
        values = values[:, 0]
    if values.shape != (n_rows,):
        raise ValueError(f"y must have shape ({n_rows},), got {values.shape}")
    return values.astype(object) if values.dtype.kind == "T" else values  # variable-length texts


def _is_none(value):
    """Tell whether one value says that there is none: None, NaN, NaT or pandas.NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return isinstance(value, numbers.Real) and bool(value != value)


def _is_missing(values):
    """Return a bool mask of the labels that are no value at all."""
    kind = values.dtype.kind
    if kind == "O":
        return np.array([_is_none(value) for value in values], np.bool_)
    if kind in _OF_TIME:
        return np.isnat(values)
    return np.isnan(values) if kind == "f" else np.zeros(len(values), np.bool_)


def _of_one_kind(labels, rows):
    """Return labels in the array type of their kind; ValueError where they are of several.

    `rows` are the numbers of their rows.
    """
    if labels.dtype.kind not in "buifUSmM":
        if labels.dtype != object:
            raise ValueError(
                "y must hold numbers, texts, truth values or dates as labels, got dtype "
                f"{labels.dtype}"
            )
        kinds = [
            next((kind for kind, types in _KINDS.items() if isinstance(label, types)), None)
            for label in labels
        ]
        for row, label, kind in zip(rows.tolist(), labels, kinds, strict=True):
            if kind is None or getattr(label, "tzinfo", None) is not None:
                raise RefusedValue(
                    "y", "hold numbers, texts, truth values or dates without a time zone as labels",
                    label, row,
                )  # fmt: skip
            if kind != kinds[0]:
                raise RefusedValue(
                    "y", f"hold labels of one kind, as {labels[0]!r} in row {rows[0]}", label, row,
                    remedy="make all of them texts, or pass the one that stands for no label as "
                    "unlabelled",
                )  # fmt: skip
        of_time = {"dates": "M8[us]", "durations": "m8[us]"}
        kind = kinds[0] if kinds else None
        labels = np.array(labels.tolist(), of_time.get(kind))
        if labels.dtype == object:  # integers beyond 64 bits, fractions
            expected = "hold labels that NumPy has a type for"
            raise RefusedValue("y", expected, labels[0], int(rows[0]))
    return labels


def classes_in(labels, unlabelled):
    """Return the classes of labels in their order; ValueError where there are fewer than two."""
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        note = "" if unlabelled is None else (
            f"; {unlabelled!r} stands for rows without a label: pass unlabelled=None if it is a "
            "class"
        )  # fmt: skip
        count = "1 class" if len(classes) else "none"
        raise ValueError(f"y must hold at least 2 classes, got {count}: {classes.tolist()}{note}")
    # 0, 1, ... and mostly -1 is how scikit-learn's semi-supervised estimators take labels
    if (
        unlabelled is None and classes.dtype.kind in "if" and len(classes) > 2
        and classes[0] == -1 and classes[1] == 0 and 2 * counts[0] > len(labels)
    ):  # fmt: skip
        warn_at_users_line(
            f"y has the label -1 in {counts[0]} of {len(labels)} rows, and it is a class like any "
            "other; if it says that a row has no label, pass unlabelled=-1",
            UserWarning,
        )
    return classes


def as_classes(classes, size=None):
    """Return names of classes as an array after a check.

    Parameters
    ----------
    classes : array-like
        Distinct labels.
    size : int or None
        How many there must be. None: at least two.
    """
    try:
        names = np.asarray(classes)
        names = np.asarray(names.tolist()) if names.dtype == object else names
        fitting = names.ndim == 1 and (len(names) >= 2 if size is None else len(names) == size)
    except ValueError:  # ragged
        fitting = False
    if not fitting or names.dtype.kind not in "biufUmM" or len(np.unique(names)) < len(names):
        wanted = "at least 2" if size is None else size
        raise ValueError(
            f"classes must hold {wanted} different labels, texts or numbers, got {shown(classes)}"
        )
    return names


def one_hot(known, labels, classes):
    """Return one-hot rows of labels, all zero where there is none.

    Parameters
    ----------
    known, labels
        See :func:`split_labels`.
    classes : ndarray of shape (n_classes,)

    Returns
    -------
    ndarray of shape (n_rows, n_classes), uint8

    Raises
    ------
    ValueError
        If a label is none of the classes.
    """
    rows = np.zeros((len(known), len(classes)), np.uint8)
    if not len(labels):
        return rows
    kinds = labels.dtype.kind, classes.dtype.kind
    comparable = kinds[0] == kinds[1] or not set(kinds) & set(_OF_TIME)
    if comparable and kinds[0] in _OF_TIME:  # whatever their units
        both = np.promote_types(labels.dtype, classes.dtype)
        labels, classes = labels.astype(both), classes.astype(both)
    distinct, inverse = np.unique(labels, return_inverse=True)
    places = {label: place for place, label in enumerate(classes.tolist())}
    for place, label in enumerate(distinct.tolist()):
        if not comparable or label not in places:
            row = int(np.flatnonzero(known)[(inverse == place).argmax()])
            expected = f"hold labels of {shown(classes.tolist())}"
            raise RefusedValue("y", expected, label, row)
    columns = np.array([places[label] for label in distinct.tolist()], np.intp)
    rows[np.flatnonzero(known), columns[inverse]] = 1
    return rows


def units_for_labels(n_classes):
    """Return one softmax group, a unit for each class."""
    return Softmax(n_classes, size=n_classes)


def are_label_units(units):
    """Tell whether units are one softmax group."""
    return units.size > 1 and units.form == units_for_labels(units.size).form


def label_units(one_hot_rows):
    """Return one softmax group, a unit for each class, at the frequencies of the labels."""
    n_labels, size = int(one_hot_rows.sum()), one_hot_rows.shape[1]
    mean = one_hot_rows.sum(axis=0) / max(n_labels, 1)
    return units_for_labels(size).fitted_to(mean, None, max(n_labels, 1))


def check_class_weight(value):
    """Raise ValueError unless `value` is "balanced", None or a dict of numbers by label."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return
    if not isinstance(value, dict):
        raise ValueError(
            "class_weight must be 'balanced', a dict from labels to numbers, or None, got "
            f"{shown(value)}"
        )
    for label, weight in value.items():
        check_number(weight, f"class_weight[{label!r}]", 0.0, closed=True)


def weights_of_classes(class_weight, classes, targets):
    """Return how much rows of each class count, float64 of shape (n_classes,).

    Parameters
    ----------
    class_weight : "balanced" or dict
        "balanced": ``n_rows / (n_classes * count)`` of each class.
    classes : ndarray of shape (n_classes,)
    targets : ndarray of shape (n_rows,)
        Number of the class of each row.

    Raises
    ------
    ValueError
        If a dict names a label that no row has.
    """
    if isinstance(class_weight, str):
        counts = np.bincount(targets, minlength=len(classes))
        return len(targets) / (len(classes) * np.maximum(counts, 1))
    known, weights = classes.tolist(), np.ones(len(classes))
    for label, weight in class_weight.items():
        if label not in known:
            raise ValueError(
                f"class_weight names {label!r}, but the labels are {shown(known)}; name classes "
                "that y has"
            )
        weights[known.index(label)] = weight
    return weights
