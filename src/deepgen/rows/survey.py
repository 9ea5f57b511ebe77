"""One pass over rows before any work: every value checked, columns measured."""

import numpy as np

from deepgen.checks import RefusedValue
from deepgen.rows.sources import ArrayRows, IterableRows
from deepgen.rows.sums import column_moments


def checked_pieces(rows, units, name="X"):
    """Yield rows in order as checked states, rounding taken back; see ``Units.states_of``.

    Parameters
    ----------
    rows : Rows
    units : Units
    name : str
        What messages call the rows.

    Raises
    ------
    RefusedValue
        If the units cannot take a value; with its row among all rows, and as it was given.
    """
    first = 0
    for batch in rows.pieces():
        states = batch.states[0]
        try:
            units.check(states, name)
        except RefusedValue as error:
            if isinstance(rows, ArrayRows | IterableRows):  # others were given by nobody
                raise error.at(first + error.row, rows.value_at) from None
            raise
        yield units.clipped(states)
        first += states.shape[0]


def survey(rows, units, name="X", n_threads=None, also=None):
    """Check every value and measure the columns in one pass.

    Parameters
    ----------
    rows : Rows
    units : Units
    name : str
        What messages call the rows.
    n_threads : int or None
    also : callable or None
        Called with each piece of checked states: another measurement in the same pass, such as
        :meth:`RowOrder.add`.

    Returns
    -------
    tuple of (n_rows, mean, variance)
        Moments by column, float64: ``mean = sum_r x / n``, ``variance = sum_r x^2 / n - mean^2``,
        each piece weighted by its rows.

    Raises
    ------
    ValueError
        If the units cannot take a value.
    """
    n_rows, total, square = 0, 0.0, 0.0
    for states in checked_pieces(rows, units, name):
        mean, mean_square = column_moments(states, n_threads)
        if also is not None:
            also(states)
        n_rows += states.shape[0]
        total = total + states.shape[0] * mean
        square = square + states.shape[0] * mean_square
    if n_rows == 0:
        raise ValueError(f"{name} must have at least one row, got none")
    mean = total / n_rows
    return n_rows, mean, np.maximum(square / n_rows - mean**2, 0.0)
