"""What the rows of a run say about its defaults: how many updates, and at what learning rate.

Measured on rows that are held out (docs/decisions.md, "Updates by the rows").
"""

import math
from dataclasses import dataclass

import numpy as np

from deepgen.learning.schedules import Linear
from deepgen.learning.starts import default_schedule
from deepgen.rows.parts import first_number, joined
from deepgen.rows.states import dense

MOST_UPDATES, FEWEST_UPDATES = 5_000, 100
# A run on noise starts from weights of this share of the usual size, whose own noise costs nats.
SHARE_ON_NOISE = 0.01
# Updates for each row and coin, and for each row and real-valued column.
UPDATES_BY_COIN, UPDATES_BY_COLUMN = 300, 100
# Beside real-valued columns the others learn at a quarter of their own rate, or half of it.
SLOWER = 2
# Rows that the correlation of columns is measured on, and steps of the power iteration.
SOME_ROWS, POWER_STEPS = 1_000, 30
# Columns, evenly spread, whose dependence is looked for; from so many rows on it is taken for
# granted: what noise teaches is then forgotten among the rest.
SOME_COLUMNS, MANY_ROWS = 500, 20_000
# Standard errors by which correlations, or moments of real-valued columns, must be beyond noise.
SURE = 4.0
# Columns count as measured where the rarer state came so often.
RARE = 5
# Deviations beyond this are cut off, where squares are correlated: outliers would decide.
LARGEST_DEVIATION = 3.0


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
    is_noise : bool
        Whether the columns look like independent coins or normal variables: a machine can then
        learn nothing but what differs in other rows, and ends as independent columns do.
    """

    n_rows: int
    n_columns: float
    n_real: int = 0
    eigenvalue: float | None = None
    n_measured: int = 0
    is_noise: bool = False

    @classmethod
    def of_rows(cls, rows, units, moments):
        """Measure rows.

        Parameters
        ----------
        rows : Rows
            A thousand of them are looked at. Bounded ones only where they can be asked for again;
            of real-valued ones an iterable is read once more.
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
        if not real.any() and (n_rows >= MANY_ROWS or not rows.is_fixed):
            return cls(n_rows, max(coins, 1.0))
        # where a value is not known, that of the column's mean
        deviations = np.nan_to_num(spread_rows(rows, n_rows, SOME_ROWS) - mean)
        enough = np.asarray(variance) * n_rows > RARE
        if not real.any():
            sites = units.group == 1  # the columns of a variable depend on each other anyway
            is_noise = sites and not depend(deviations[:, enough])
            return cls(n_rows, max(coins, 1.0), is_noise=is_noise)
        precision = units.fitted_to(mean, variance, n_rows).precision
        deviations = deviations * np.sqrt(np.asarray(precision, np.float64))
        n_real, eigenvalue = int(real.sum()), largest_eigenvalue(deviations[:, real])
        is_noise = bool(real.all()) and n_rows < MANY_ROWS and are_normal(deviations)
        return cls(n_rows, coins + n_real, n_real, eigenvalue, len(deviations), is_noise)

    @property
    def n_updates(self):
        """Updates after which a machine has learned what these rows can tell, and not yet more.

        ``300 n_rows / n_columns``; of real-valued columns ``100 n_rows / n_columns`` times the
        ratio of their largest eigenvalue to that of as many rows of noise, which is
        ``(1 + sqrt(n_columns / n_rows))^2`` (Marchenko & Pastur 1967). From 100 to 5,000. Where
        there are both, each column counts by its kind, bounded ones twice. Of noise ``100 +
        n_rows / 20`` at most: enough for the biases.
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
        if self.is_noise:
            wanted = min(wanted, FEWEST_UPDATES + self.n_rows / 20)
        return int(min(max(wanted, FEWEST_UPDATES), MOST_UPDATES))

    def start(self, model):
        """Return the first model for these rows: the usual one, with next to no weights for noise.

        Parameters
        ----------
        model : BoltzmannMachine
            The usual one, of :func:`~deepgen.learning.starts.initial_model`.

        Returns
        -------
        BoltzmannMachine
            The same; of noise with its weights times `SHARE_ON_NOISE`.
        """
        if not self.is_noise:
            return model
        weights = [np.float32(SHARE_ON_NOISE) * weights for weights in model.weights]
        return model.replace(weights=weights)

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
    some, first = [], first_number(rows)
    for states in (batch.states[0] for batch in rows.pieces()):
        chosen = np.arange(-first % step, states.shape[0], step)
        some.append(np.asarray(dense(states), np.float64)[chosen])
        first += states.shape[0]
    some = np.concatenate([*some, np.empty((0, rows.n_columns))])
    return np.concatenate(joined(rows, some))


def depend(deviations):
    """Tell whether columns are correlated, by more than independent ones are by chance.

    With correlations r of P pairs of columns over n rows, the sum of r^2 is about ``P / n`` for
    independent columns, with standard error ``sqrt(2 P) / n``.

    Parameters
    ----------
    deviations : ndarray of shape (n_rows, n_columns)
        From the columns' means.
    """
    step = max(1, -(-deviations.shape[1] // SOME_COLUMNS))
    some = deviations[:, ::step] - deviations[:, ::step].mean(axis=0)
    length = np.sqrt(np.square(some).sum(axis=0))
    some = some[:, length > 0.0] / length[length > 0.0]
    n_rows, n_columns = some.shape
    n_pairs = n_columns * (n_columns - 1) / 2
    if n_rows < 2 or n_pairs == 0:
        return False
    total = 0.5 * (float(np.square(some.T @ some).sum()) - n_columns)
    return total > (n_pairs + SURE * math.sqrt(2.0 * n_pairs)) / (n_rows - 1)


def are_normal(deviations):
    """Tell whether real-valued columns look like independent normal variables.

    Neither they nor their squares are correlated, and their third and fourth moments are those of
    a normal variable, with standard errors ``sqrt(6 / n)`` and ``sqrt(24 / n)``.

    Parameters
    ----------
    deviations : ndarray of shape (n_rows, n_columns)
        From the columns' means, some of all rows.
    """
    n_rows, n_columns = deviations.shape
    spread = deviations.std(axis=0)
    deviations = (deviations - deviations.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    near = np.clip(deviations, -LARGEST_DEVIATION, LARGEST_DEVIATION)
    squares = np.square(near)
    if depend(deviations) or depend(squares - squares.mean(axis=0)):
        return False
    skew = (deviations**3).mean(axis=0) / math.sqrt(6.0 / n_rows)
    tails = ((deviations**4).mean(axis=0) - 3.0) / math.sqrt(24.0 / n_rows)
    surprise = float(np.square(skew).mean() + np.square(tails).mean()) / 2.0
    return surprise < 1.0 + SURE * math.sqrt(2.0 / n_columns)


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
