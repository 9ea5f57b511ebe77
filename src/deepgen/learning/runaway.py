"""Real-valued machines that have run away: no parameter is infinite, and the model fits no row."""

import numpy as np

from deepgen.checks import warn_at_users_line
from deepgen.inference.gibbs import update_layer
from deepgen.rows.states import dense

# Mean square of (row - reconstruction), in the model's own variances, from which a machine is told
# to have run away. Where it fits the rows this is about 1.
LARGEST_RESIDUAL = 30.0
SOME_ROWS = 1_000
# A variance of less than this share of the squared mean is what float32 leaves of none.
ROUNDING = 1e-10


def mean_residual(machine, states):
    """Return the mean of ``p (v - E[v | E[h | v]])^2`` over rows and columns, for precisions p.

    Columns that do not vary are left out: there rounding alone is many of the model's deviations.
    """
    hidden, _ = update_layer(machine, 1, [states, None], mean=True)
    rebuilt, _ = update_layer(machine, 0, [None, hidden], mean=True)
    rows = np.asarray(dense(states), np.float64)
    varies = rows.var(axis=0) > ROUNDING * np.square(rows.mean(axis=0))
    if not varies.any():
        return 0.0
    away = machine.visible.precision * np.square(rows - rebuilt)
    return float(away[:, varies].mean())


def warn_of_runaway(machine, rows):
    """Warn where a machine of two layers with real-valued columns fits none of its rows.

    Parameters
    ----------
    machine : BoltzmannMachine
    rows : Rows
    """
    if machine.n_layers != 2 or machine.visible.precision is None:
        return
    first = next(iter(rows.pieces()), None)
    if first is None:  # another process has the rows
        return
    first = first.states[0]
    some = np.asarray(dense(first)[:SOME_ROWS], np.float32)
    some = some[~np.isnan(some).any(axis=1)]
    if not len(some):  # each row has a value that is not known
        return
    residual = mean_residual(machine, some)
    if residual < LARGEST_RESIDUAL:
        return
    warn_at_users_line(
        f"the run has run away: rows lie {residual:.3g} of the model's variances from their "
        "reconstructions, where 1 is usual; lower learning_rate (None chooses one by the columns), "
        "or standardize the columns",
        RuntimeWarning,
    )
