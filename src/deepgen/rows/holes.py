"""Holes: entries of rows whose value is not known, NaN in an array of floats.

A row with holes stands for all rows that agree with it elsewhere: its likelihood is the sum of
theirs (docs/math.md, "Holes"). Kernels never see one.
"""

import numpy as np

from deepgen.checks import RefusedValue, first_place
from deepgen.rows.states import CompressedRows


def holes_in(states):
    """Return a bool mask of the entries that are not known, or None where all are."""
    if not isinstance(states, np.ndarray) or states.dtype.kind != "f":
        return None
    mask = np.isnan(states)
    return mask if mask.any() else None


def filled(states, holes, values=0.0):
    """Return states with values at their holes; where `holes` is None, the states themselves.

    Parameters
    ----------
    states : states of shape (n_rows, n_units)
    holes : ndarray of bool, of that shape, or None
        See :func:`holes_in`.
    values : float or ndarray of shape (n_units,) or (n_rows, n_units)
    """
    if holes is None:
        return states
    return np.where(holes, np.asarray(values, np.float32), states)


def check_holes(states, holes, group, name):
    """Raise RefusedValue where only a part of a site is not known, or a sparse matrix stores NaN.

    Parameters
    ----------
    states : states
    holes : ndarray of bool or None
        See :func:`holes_in`.
    group : int
        Columns of a site: all are known or none.
    name : str
        What messages call the rows.
    """
    if isinstance(states, CompressedRows):
        absent = np.isnan(states.values)
        if absent.any():
            entry = int(absent.argmax())
            row = int(np.searchsorted(states.starts, entry, side="right")) - 1
            raise RefusedValue(
                name, "be finite where it is sparse", states.values[entry], row,
                int(states.indices[entry]),
                "pass X.toarray(), where NaN says that a value is missing",
            )  # fmt: skip
    if holes is None or group == 1:
        return
    count = holes.reshape(len(holes), -1, group).sum(axis=2)
    torn = (count > 0) & (count < group)
    if torn.any():
        row, variable = first_place(torn)
        first = variable * group
        raise RefusedValue(
            name, f"be NaN in all {group} columns of a variable or in none", states[row, first],
            row, first, f"{count[row, variable]} of columns {first} to {first + group - 1} are NaN",
        )  # fmt: skip
