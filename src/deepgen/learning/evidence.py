"""What the rows of a run say about its defaults: how many updates, and at what learning rate.

Measured on rows that are held out (docs/decisions.md, "Updates by the rows").
"""

import math
from dataclasses import dataclass

import numpy as np

from deepgen.learning.schedules import Linear
from deepgen.learning.starts import default_schedule
from deepgen.rows.states import dense

MOST_UPDATES, FEWEST_UPDATES = 5_000, 100
# Updates for each row and coin, and for each row and real-valued column.
UPDATES_BY_COIN, UPDATES_BY_COLUMN = 300, 100
# Beside real-valued columns the others learn at a quarter of their own rate, or half of it.
SLOWER = 2
# Rows that the correlation of columns is measured on, and steps of the power iteration.
SOME_ROWS, POWER_STEPS = 1_000, 30


@dataclass(frozen=True)
class Evidence:
    """How much rows can teach a machine.

    Attributes
    ----------
    n_rows : int
    n_columns : float
        How many columns there are to learn. Of columns with bounded states each counts as
        ``4 p (1 - p)``, by its mean `p`: 1 for a fair coin, next to nothing for a pixel that is
        hardly ever on. Real-valued columns count 1.
    n_real : int
        How many of them are real-valued.
    eigenvalue : float or None
        Largest eigenvalue of the correlation matrix of real-valued columns: 1 where they are
        independent, their number where all are the same. None: the states have bounds.
    n_measured : int
        Rows that the eigenvalue was measured on.
    """

    n_rows: int
    n_columns: float
    n_real: int = 0
    eigenvalue: float | None = None
    n_measured: int = 0

    @classmethod
    def of_rows(cls, rows, units, moments):
        """Measure rows.

        Parameters
        ----------
        rows : Rows
            Real-valued rows are read once more where they are no array: a thousand of them.
        units : Units
            The visible ones, sized.
        moments : tuple of (n_rows, mean, variance)
        """
        n_rows, mean, variance = moments
        coins, real = 0.0, np.zeros(units.size, np.bool_)
        for columns, part in units.placed_parts:
            if part.is_bounded:
                coins += float(4.0 * part.variance(mean[columns]).sum() / part.n_copies)
            else:
                real[columns] = True
        if not real.any():
            return cls(n_rows, max(coins, 1.0))
        some = spread_rows(rows, n_rows, SOME_ROWS)
        precision = units.fitted_to(mean, variance, n_rows).precision
        # where a value is not known, that of the column's mean
        deviations = np.nan_to_num(some - mean) * np.sqrt(np.asarray(precision, np.float64))
        n_real, eigenvalue = int(real.sum()), largest_eigenvalue(deviations[:, real])
        return cls(n_rows, coins + n_real, n_real, eigenvalue, len(some))

    @property
    def n_updates(self):
        """Updates after which a machine has learned what these rows can tell, and not yet more.

        ``300 n_rows / n_columns``; of real-valued columns ``100 n_rows / n_columns`` times the
        ratio of their largest eigenvalue to that of as many rows of noise, which is
        ``(1 + sqrt(n_columns / n_rows))^2`` (Marchenko & Pastur 1967). From 100 to 5,000. Where
        there are both, each column counts by its kind, bounded ones twice.
        """
        by_rows = self.n_rows / self.n_columns
        if self.eigenvalue is None:
            wanted = UPDATES_BY_COIN * by_rows
        else:
            of_noise = (1.0 + math.sqrt(self.n_real / self.n_measured)) ** 2
            by_real = UPDATES_BY_COLUMN * max(self.eigenvalue / of_noise, 1.0)
            coins = self.n_columns - self.n_real
            by_column = by_real * self.n_real + SLOWER * UPDATES_BY_COIN * coins
            wanted = by_rows * (by_column / self.n_columns)
        return int(min(max(wanted, FEWEST_UPDATES), MOST_UPDATES))

    def n_epochs(self, batch_size):
        """Return the epochs of so many updates."""
        return -(-self.n_updates // -(-self.n_rows // int(batch_size)))

    def schedule(self, layers, batch_size):
        """Return the learning rate of a machine on these rows, decaying to zero.

        That of its unit types; with real-valued columns 2 by their largest eigenvalue, and twice
        their units' usual rate at most, in units of the columns' own deviations: the mean of the
        model answers to a bias that many times, and rates above overshoot.
        """
        usual = default_schedule(layers, batch_size)
        if self.eigenvalue is None:
            return usual
        visible, *others = layers
        highest = min(2.0 * visible.usual_rate, 2.0 / self.eigenvalue)
        share = usual.start / min(layer.usual_rate for layer in layers)
        return Linear(share * min([highest, *(layer.usual_rate for layer in others)]), 0.0)


def spread_rows(rows, n_rows, n_wanted):
    """Return at most so many rows, from the first to the last in even steps, float64."""
    step = max(1, -(-n_rows // n_wanted))
    some, first = [], 0
    for states in (batch.states[0] for batch in rows.pieces()):
        chosen = np.arange(-first % step, states.shape[0], step)
        some.append(np.asarray(dense(states), np.float64)[chosen])
        first += states.shape[0]
    return np.concatenate(some)


def largest_eigenvalue(deviations):
    """Return the largest eigenvalue of ``Z^T Z / n`` by power iteration, for Z (n, n_columns).

    It has three digits: it becomes a rate, and the last bits of sums are not the same everywhere.
    """
    n_rows, n_columns = deviations.shape
    if n_rows == 0 or n_columns == 0:
        return 1.0
    vector = deviations[int(np.square(deviations).sum(axis=1).argmax())].copy()
    value = 0.0
    for _ in range(POWER_STEPS):
        length = math.sqrt(float(np.square(vector).sum()))
        if length == 0.0:
            break
        scores = (deviations * (vector / length)).sum(axis=1)
        vector = (deviations * scores[:, None]).sum(axis=0) / n_rows
        value = math.sqrt(float(np.square(vector).sum()))
    return max(1.0, float(f"{value:.3g}"))
