"""How good a model that is no distribution is: accuracy, R2, squared error, each with its error."""

import math
import sys

import numpy as np

from deepgen.cli.common.errors import CommandError
from deepgen.cli.common.labels import read_labels, read_targets, unlabelled_in
from deepgen.estimators.common.labels import has_label


def mean_with_error(values):
    """Return the mean over rows and its standard error."""
    error = float(np.std(values)) / math.sqrt(len(values))
    return {"value": float(np.mean(values)), "standard_error": error}


def accuracy(predict, classes, rows, source, data, settings):
    """Return the share of labels that are predicted, among rows that have one.

    Parameters
    ----------
    predict : callable
        From rows to labels.
    classes : ndarray
        Those that it knows.
    rows : rows of `data`
    source, data : str
        Files of labels and rows.
    settings : dict
        See :func:`deepgen.cli.common.labels.unlabelled_in`.

    Returns
    -------
    dict
        `value`, `standard_error`, `n_labelled`.
    """
    labels = read_labels(source, rows.shape[0], data)
    known = np.isin(labels, classes)
    unlabelled = unlabelled_in(labels, settings)
    labelled = known | has_label(labels, unlabelled)
    if not known.any():
        raise CommandError(
            f"{source} must hold classes of the model, {_some(classes.tolist())}, got "
            f"{_some(np.unique(labels).tolist())}"
        )
    if not known[labelled].all():
        unknown = np.unique(labels[labelled & ~known]).tolist()
        print(
            f"deepgen: warning: {int((labelled & ~known).sum()):,} rows of {source} have labels "
            f"that the model does not know, {_some(unknown)}; they count as wrong (--unlabelled "
            "LABEL leaves them out)",
            file=sys.stderr,
        )
    right = (predict(rows) == labels)[labelled]
    return {**mean_with_error(right), "n_labelled": int(labelled.sum())}


def _some(values, most=5):
    shown = ", ".join(map(repr, values[:most]))
    return shown if len(values) <= most else f"{shown}, ..."


def r_squared(predict, rows, source, data):
    """Return the share of the targets' variance that predictions explain, their mean over targets.

    The standard error is that of the ratio of two means, by its derivatives.

    Returns
    -------
    dict
        `value`, `standard_error`, `squared_error` (the mean over rows and targets).
    """
    targets = read_targets(source, rows.shape[0], data).astype(np.float64)
    predicted = predict(rows)
    if predicted.shape != targets.shape:
        raise CommandError(
            f"{source} must hold {_targets(predicted)} a row, as the model has, got "
            f"{_targets(targets)}"
        )
    value, error = r_squared_of(predicted, targets)
    if math.isnan(value):
        raise CommandError(f"{source} must hold targets that differ, or R2 is not defined")
    squared = float(np.mean((predicted - targets) ** 2))
    return {"value": value, "standard_error": error, "squared_error": squared}


def _targets(values):
    return "1 target" if values.ndim == 1 else f"{values.shape[1]} targets"


def r_squared_of(predicted, targets):
    """Return R2 and its standard error; NaN where a column of the targets is constant."""
    left = ((predicted - targets) ** 2).reshape(len(targets), -1)
    spread = ((targets - targets.mean(axis=0)) ** 2).reshape(len(targets), -1)
    total = spread.mean(axis=0)
    if not total.all():
        return math.nan, math.nan
    ratio = left.mean(axis=0) / total
    influence = ((left - ratio * spread) / total).mean(axis=1)
    return float(1.0 - ratio.mean()), float(influence.std() / math.sqrt(len(influence)))
