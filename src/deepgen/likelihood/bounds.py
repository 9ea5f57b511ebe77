"""Bounds of log p(v) for models whose hidden layers cannot be summed out."""

from typing import Protocol, runtime_checkable

import numpy as np

from deepgen.checks import check_integer, check_number, model_remedy, real_array, shown
from deepgen.inference.factorial import FactorialPosterior
from deepgen.inference.recognition import Recognition
from deepgen.models import BeliefNetwork, BoltzmannMachine
from deepgen.rows.sources import ArrayRows
from deepgen.rows.survey import checked_pieces
from deepgen.runtime.stream import Stream
from deepgen.runtime.threads import check_threads
from deepgen.runtime.time_limit import check_time

# Draws that share the passes: enough to fill them, few enough to stay in the cache.
TOGETHER = 1_024


class Posterior(Protocol):
    """An approximate posterior q(x | v) of the hidden layers x, as these bounds need it.

    Its constructor takes (model, stream, n_threads).
    """

    def terms(self, v):
        """Return the numbers of these rows that all their draws share."""

    def log_weights(self, terms, rows, first_draw, n_draws):
        """Return ``log p*(v, x) - log q(x | v)`` of draws x, (n of these rows, n_draws)."""


@runtime_checkable
class PosteriorInClosedForm(Posterior, Protocol):
    """A posterior under which the variational bound can be computed without draws."""

    def bound(self, v):
        """Return ``E_q[log p*(v, x) - log q(x | v)]`` by row."""


_POSTERIORS = {BeliefNetwork: Recognition, BoltzmannMachine: FactorialPosterior}


def variational_bound(
    model, X, *, log_partition, n_draws=100, random_state=None, n_threads=None
):
    """Compute or estimate the variational lower bound of log p(v) by row.

    ``E_q[log p*(v, x) - log q(x | v)] - log Z``, which lies below log p(v) by the divergence of q
    from the true posterior. Of a belief network, q is the recognition model; layers are drawn from
    it upwards, the topmost one is summed out, and the estimate is unbiased: where q is the
    posterior, all draws weigh the same. Of a Boltzmann machine, q is the mean-field posterior, and
    the expectation is computed, not drawn.

    Parameters
    ----------
    model : BeliefNetwork or BoltzmannMachine
    X : array-like or sparse matrix of shape (n_samples, n_visible)
        States; values between states give no likelihood.
    log_partition : float or array-like of shape (n_samples,)
        log Z of the machine, or of the top machine of a belief network. The result is a bound
        where this is exact; at the upper end of a bracket it is one as surely as the bracket
        holds. Of a machine whose rows have several lengths, one for each row:
        ``log_partition_by_length(model, lengths).value(lengths)``.
    n_draws : int, default 100
        Draws a row. Their random numbers are those of what the row holds: its value does not
        depend on its neighbours or its place, errors of different rows are independent, and equal
        rows have equal values. A Boltzmann machine needs none, and ignores `random_state` too.
    random_state : int, RandomState, Generator or None
    n_threads : int or None

    Returns
    -------
    ndarray of shape (n_samples,), float64
        Nats.

    Raises
    ------
    ValueError
        If a shape or a value of X does not fit, or variables are missing.

    References
    ----------
    Hinton, Osindero & Teh (2006), section 2; Salakhutdinov & Murray (2008), section 3.1;
    Salakhutdinov & Hinton (2009), section 3.2.
    """
    return _bound(model, X, _Mean, log_partition, n_draws, random_state, n_threads)


def importance_weighted_bound(
    model, X, *, log_partition, n_draws=100, random_state=None, n_threads=None
):
    """Estimate log p(v) by row from below, with importance weights of recognition draws.

    ``log (1/k) sum_i w_i - log Z``, with ``w = p*(v, x) / q(x | v)`` and k draws. Its expectation
    is a lower bound of log p(v), the variational bound at k = 1, and grows with k towards
    log p(v). A single row can lie above log p(v) by chance. Memory does not grow with k. Of a
    Boltzmann machine, odd layers are drawn from the mean-field posterior, and the even ones above
    the first are summed out given them: at k = 1 that is already no worse than the variational
    bound.

    Parameters
    ----------
    model, X, log_partition, random_state, n_threads
        See :func:`variational_bound`.
    n_draws : int, default 100
        Draws a row.

    Returns
    -------
    ndarray of shape (n_samples,), float64
        Nats.

    Raises
    ------
    ValueError
        See :func:`variational_bound`.

    References
    ----------
    Burda, Grosse & Salakhutdinov (2016), section 3.
    """
    return _bound(model, X, _LogMeanExp, log_partition, n_draws, random_state, n_threads)


class _Mean:
    """Mean over draws."""

    def __init__(self, n_rows):
        self.total, self.count = np.zeros(n_rows), 0

    def add(self, rows, weights):
        """Add log weights of shape (n of these rows, n_draws)."""
        self.total[rows] += weights.sum(axis=1)

    def value(self, n_draws):
        """Return the mean by row."""
        return self.total / n_draws


class _LogMeanExp:
    """Log of the mean of exp over draws, relative to the largest so far."""

    def __init__(self, n_rows):
        self.top, self.total = np.full(n_rows, -np.inf), np.zeros(n_rows)

    def add(self, rows, weights):
        """Add log weights of shape (n of these rows, n_draws)."""
        top = np.maximum(self.top[rows], weights.max(axis=1))
        self.total[rows] *= np.exp(self.top[rows] - top)
        self.total[rows] += np.exp(weights - top[:, None]).sum(axis=1)
        self.top[rows] = top

    def value(self, n_draws):
        """Return the log of the mean by row."""
        return self.top + np.log(self.total / n_draws)


def _bound(model, X, average, log_partition, n_draws, random_state, n_threads):
    """Run the draws of all rows through an average; log Z is subtracted."""
    if type(model) not in _POSTERIORS:
        raise TypeError(
            "model must be a dg.BeliefNetwork or a dg.BoltzmannMachine, got "
            f"{shown(model)}{model_remedy(model)}"
        )
    check_integer(n_draws, "n_draws")
    check_threads(n_threads)
    stream, rows = Stream.from_random_state(random_state), _checked_rows(model, X)
    log_partition = _by_row(log_partition, rows.n_rows)
    pieces = (model.visible.clipped(batch.states[0]) for batch in rows.pieces())
    posterior = _POSTERIORS[type(model)](model, stream, n_threads)
    if average is _Mean and isinstance(posterior, PosteriorInClosedForm):
        out = [posterior.bound(v) for v in pieces]
    else:
        out = [_of_piece(posterior, v, average, n_draws) for v in pieces]
    return np.concatenate([np.zeros(0), *out]) - log_partition


def _by_row(log_partition, n_rows):
    """Return log Z, one number or one for each row, after a check."""
    if np.ndim(log_partition) == 0:
        check_number(log_partition, "log_partition")
        return log_partition
    values = np.asarray(real_array(log_partition, "log_partition"), np.float64)
    if values.shape != (n_rows,) or not np.isfinite(values).all():
        raise ValueError(
            f"log_partition must be a number or finite numbers of shape ({n_rows},), got "
            f"{shown(log_partition)}"
        )
    return values


def _checked_rows(model, X):
    visible = model.visible
    if not hasattr(X, "dtype"):
        X = real_array(X, "X")
    visible.check_width(X, "X")
    rows = ArrayRows(X)
    for v in checked_pieces(rows, visible):
        if visible.missing(v) is not None:
            raise ValueError(
                "X has missing variables (all-zero groups), and log p(v) is that of whole rows; "
                "complete them with impute"
            )
    return rows


def _of_piece(posterior, v, average, n_draws):
    terms, result = posterior.terms(v), average(v.shape[0])
    together = min(n_draws, TOGETHER)
    at_once = TOGETHER // together
    for start in range(0, v.shape[0], at_once):
        rows = slice(start, min(start + at_once, v.shape[0]))
        for first in range(0, n_draws, together):
            count = min(together, n_draws - first)
            result.add(rows, posterior.log_weights(terms, rows, first, count))
            check_time()
    return result.value(n_draws)
