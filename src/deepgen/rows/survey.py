"""One pass over rows before any work: every value checked, columns measured."""

from itertools import islice
from typing import NamedTuple

import numpy as np

from deepgen.checks import RefusedValue
from deepgen.rows.holes import filled, holes_in
from deepgen.rows.parts import OwnRows, own_rows
from deepgen.rows.sources import ArrayRows, IterableRows
from deepgen.rows.sums import column_moments
from deepgen.runtime.collective import on_all


def checked_pieces(rows, units, name="X", *, holes=False):
    """Yield rows in order as checked states, rounding taken back; see ``Units.states_of``.

    Parameters
    ----------
    rows : Rows
    units : Units
    name : str
        What messages call the rows.
    holes : bool, default False
        Let NaN pass; see ``Units.states_of``.

    Raises
    ------
    RefusedValue
        If the units cannot take a value; with its row among all rows, and as it was given.
    """
    first, check = 0, units.check_with_holes if holes else units.check
    for batch in rows.pieces():
        states = batch.states[0]
        try:
            check(states, name)
        except RefusedValue as error:
            if isinstance(rows, OwnRows):
                raise rows.placed(error, rows.first_row + first + error.row) from None
            if isinstance(rows, ArrayRows | IterableRows):  # others were given by nobody
                raise error.at(first + error.row, rows.value_at) from None
            raise
        yield units.clipped(states)
        first += states.shape[0]


class _Sums(NamedTuple):
    """Sums over rows: their number, values, squares of values, and values that are not known."""

    n_rows: int = 0
    total: float = 0.0
    square: float = 0.0
    unknown: int = 0


def _sums(pieces, n_threads, also, holes):
    """Return the :class:`_Sums` by column of pieces of checked states; see :func:`survey`."""
    n_rows, total, square, unknown = _Sums()
    for states in pieces:
        mask = holes_in(states) if holes else None
        mean, mean_square = column_moments(filled(states, mask), n_threads)
        if also is not None:
            also(states)
        if mask is not None:
            unknown = unknown + mask.sum(axis=0)
        n_rows += states.shape[0]
        total = total + states.shape[0] * mean
        square = square + states.shape[0] * mean_square
    return _Sums(n_rows, total, square, unknown)


def survey(rows, units, name="X", n_threads=None, also=None, *, holes=False):
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
    holes : bool, default False
        Let NaN pass; see ``Units.states_of``.

    Returns
    -------
    tuple of (n_rows, mean, variance)
        Moments by column, float64: ``mean = sum_r x / n``, ``variance = sum_r x^2 / n - mean^2``,
        each piece weighted by its rows. Where there are holes, n is the number of a column's known
        values; a column without any has the moments of units of field zero.

    Raises
    ------
    ValueError
        If the units cannot take a value.
    """
    pieces = checked_pieces(rows, units, name, holes=holes)
    own = own_rows(rows)
    if own is None:
        sums = _sums(pieces, n_threads, also, holes)
    else:  # each process those of its stripes, which are added in their order
        found = on_all(
            own.collective,
            lambda: [
                _sums(islice(pieces, count), n_threads, also, holes) for count in own.piece_counts
            ],
            "to read its rows",
        )
        sums = _Sums()
        for stripes in own.collective.gather(found):
            for stripe in stripes:
                sums = _Sums(*(x + y for x, y in zip(sums, stripe, strict=True)))
    n_rows, total, square, unknown = sums
    if n_rows == 0:
        raise ValueError(f"{name} must have at least one row, got none")
    known = n_rows - unknown
    with np.errstate(invalid="ignore"):  # 0 / 0 in columns without a value
        mean = total / known
        variance = np.maximum(square / known - mean**2, 0.0)
    empty = known == 0
    if np.any(empty):
        at_rest = units.sized(len(mean)).mean(np.zeros((1, len(mean)), np.float32))
        mean = np.where(empty, at_rest[0], mean)
        variance = np.where(empty, units.sized(len(mean)).variance(at_rest).reshape(-1), variance)
    return n_rows, mean, variance
