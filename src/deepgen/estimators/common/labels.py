"""Labels of rows: which are known, their classes, and the units that stand for them."""

import numbers

import numpy as np

from deepgen.checks import shown
from deepgen.estimators.common.validation import labels_of
from deepgen.layers.softmax import Softmax


def split_labels(y, n_rows, unlabelled):
    """Return the labels of the rows that have one.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
    n_rows : int
    unlabelled : label or None
        Stands for no label; of another type than the labels it may be.

    Returns
    -------
    tuple of (known, labels)
        bool of shape (n_rows,); labels of the rows where it is True.

    Raises
    ------
    ValueError
        If y has another shape, or holds what is no class.
    """
    if y is None:
        raise ValueError("y must hold a label for each row where label_units is True, got None")
    values = np.asarray(y)
    if values.dtype.kind in "US" and not hasattr(y, "dtype"):
        values = np.asarray(y, dtype=object)  # of ["a", -1] NumPy would make a class "-1"
    if values.shape != (n_rows,):
        raise ValueError(f"y must have shape ({n_rows},), got {values.shape}")
    known = np.ones(n_rows, np.bool_)
    if unlabelled is not None:
        different = values != np.asarray(unlabelled, dtype=object)
        known = np.broadcast_to(different, values.shape).astype(np.bool_)
    labels = values[known]
    if labels.dtype == object and all(isinstance(label, numbers.Real) for label in labels):
        labels = np.asarray(labels.tolist())
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(
            f"y must be finite, got {labels[~np.isfinite(labels)][0]}; rows without a label have "
            f"unlabelled={unlabelled!r}"
        )
    if len(labels):
        labels_of(labels)
    return known, np.asarray(labels.tolist()) if labels.dtype == object else labels


def classes_in(labels, unlabelled):
    """Return the classes of labels in their order; ValueError where there are fewer than two."""
    classes = np.unique(labels)
    if len(classes) < 2:
        note = "" if unlabelled is None else (
            f"; {unlabelled!r} stands for rows without a label: pass unlabelled=None if it is a "
            "class"
        )  # fmt: skip
        count = "1 class" if len(classes) else "none"
        raise ValueError(f"y must hold at least 2 classes, got {count}: {classes.tolist()}{note}")
    return classes


def as_classes(classes, size=None):
    """Return names of classes as an array after a check.

    Parameters
    ----------
    classes : array-like
        Distinct texts or numbers.
    size : int or None
        How many there must be. None: at least two.
    """
    try:
        names = np.asarray(classes)
        names = np.asarray(names.tolist()) if names.dtype == object else names
        fitting = names.ndim == 1 and (len(names) >= 2 if size is None else len(names) == size)
    except ValueError:  # ragged
        fitting = False
    if not fitting or names.dtype.kind not in "biufU" or len(set(names.tolist())) < len(names):
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
    distinct, inverse = np.unique(labels, return_inverse=True)
    places = {label: place for place, label in enumerate(classes.tolist())}
    for label in distinct.tolist():
        if label not in places:
            raise ValueError(f"y must hold labels of {shown(classes.tolist())}, got {label!r}")
    rows = np.zeros((len(known), len(classes)), np.uint8)
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
