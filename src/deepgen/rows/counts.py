"""Counts as a network reads them: logs, shares of a row's total, or as they are."""

from dataclasses import dataclass, replace

import numpy as np

from deepgen.checks import check_number, shown
from deepgen.rows.states import CompressedRows, row_totals

FORMS = ("counts", "logs", "shares")
# Of a row, at the most: float32 counts whole numbers exactly up to here.
MOST_COUNTS = 2**24


@dataclass(frozen=True)
class CountInputs:
    """How a network reads a row of counts c, such as the words of a document.

    Of compressed rows only the stored entries are read, so that they stay compressed.

    Parameters
    ----------
    form : {"counts", "logs", "shares"}
        ``c``; ``gain l / |l|`` with ``l = log(1 + c)``; or ``gain c / sum(c)``. Logs have a length
        of `gain`, and shares add up to it, however long a document is. A row of no counts is a row
        of zeros.
    gain : float, default 1.0
    """

    form: str
    gain: float = 1.0

    def __post_init__(self):
        if not isinstance(self.form, str) or self.form not in FORMS:
            raise ValueError(f"form must be one of {FORMS}, got {shown(self.form)}")
        check_number(self.gain, "gain", 0.0, MOST_COUNTS + 1)
        object.__setattr__(self, "gain", float(self.gain))

    @property
    def largest(self):
        """The largest value that can be read."""
        return MOST_COUNTS if self.form == "counts" else self.gain

    def read(self, states):
        """Return counts in their form: logs or shares as float32, counts as they are.

        Parameters
        ----------
        states : states of shape (n_rows, n_columns)
            Counts, after a check.
        """
        if self.form == "counts":
            return states
        compressed = isinstance(states, CompressedRows)
        values = states.values if compressed else states
        if self.form == "logs":
            values = np.log1p(values, dtype=np.float64)
            sizes = np.sqrt(_totals_of(states, np.square(values)))
        else:
            sizes = row_totals(states)
        factors = self.gain / np.where(sizes > 0.0, sizes, 1.0)
        by_value = np.repeat(factors, np.diff(states.starts)) if compressed else factors[:, None]
        values = (values * by_value).astype(np.float32)
        return replace(states, values=values) if compressed else values


def _totals_of(states, values):
    """Return the sums by row of other values of the same entries, float64."""
    if isinstance(states, CompressedRows):
        return row_totals(replace(states, values=values))
    return values.sum(axis=1)
