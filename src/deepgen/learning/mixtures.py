"""Expectation maximization for mixtures (docs/math.md, "Mixtures of products")."""

import logging
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, pairwise

import numpy as np

from deepgen._kernels import engine
from deepgen.inference.mixtures import known_rows, posterior
from deepgen.layers.passes import Outputs
from deepgen.layers.units import ComponentSums, Units
from deepgen.models import ProductMixture, mixture_of
from deepgen.rows.holes import filled
from deepgen.rows.sources import refuse_rows
from deepgen.rows.states import dense
from deepgen.rows.sums import products
from deepgen.runtime.collective import (
    ALONE,
    Alone,
    check_together,
    require_shards,
    shard_bounds,
    sum_of_shards,
)
from deepgen.runtime.stream import START
from deepgen.runtime.threads import Governor
from deepgen.runtime.work import Work

# Rows whose sums are formed in float32; the sums of these pieces are added in float64. Part of
# the result: another number changes its last bits.
CHUNK = 1024
# Responsibilities below this are dropped: less than the rounding of one near 1, and most of them.
NEGLIGIBLE = 1e-8
# Pseudo-rows of column means that soften the row that a component starts from. Real columns start
# at the row: near the mean, all components look alike, and EM would stop before they part.
START_SMOOTHING = 2.0
# A real column never varies where its deviation is less than a step of float32. Its variance is
# then this share of the square of its value; of smaller squares none: precisions end somewhere.
STILL, STILL_SHARE, LEAST_SQUARE = 2.0**-46, 1e-4, 1e-12

logger = logging.getLogger("deepgen")


@dataclass
class Statistics:
    """Sums over rows, weighted by responsibilities: all that the M-step reads of the data.

    Attributes
    ----------
    counts : ndarray of shape (n_components,), float64
    sums : ndarray of shape (n_features, n_components), float64
        Of the known values of each column, from the model's origin on.
    unknown : ndarray of shape (n_features, n_components), float64
        Of the rows that have a hole in that column.
    squares : ndarray of shape (n_features,), float64
        Of known values in columns that have a scale, over all components.
    log_likelihood : float
        Sum over rows, under the model that gave the responsibilities.
    n_rows : int
    """

    counts: np.ndarray
    sums: np.ndarray
    unknown: np.ndarray
    squares: np.ndarray
    log_likelihood: float = 0.0
    n_rows: int = 0

    @classmethod
    def zeros(cls, model):
        """Return sums over no row, of the shapes of a model."""
        shape = (model.n_features, model.n_components)
        counts, squares = np.zeros(model.n_components), np.zeros(model.n_features)
        return cls(counts, np.zeros(shape), np.zeros(shape), squares)

    @property
    def _arrays(self):
        return self.counts, self.sums, self.unknown, self.squares

    def flat(self):
        """Return all sums as one array, float64."""
        ends = [self.log_likelihood, self.n_rows]
        return np.concatenate([*(array.ravel() for array in self._arrays), ends])

    def take(self, flat):
        """Become the sums that :meth:`flat` returned."""
        first = 0
        for array in self._arrays:
            array.ravel()[:] = flat[first : first + array.size]
            first += array.size
        self.log_likelihood, self.n_rows = float(flat[-2]), round(float(flat[-1]))

    def of_columns(self):
        """Return the sums that units make the components' fields of, in the M-step."""
        return ComponentSums(self.counts - self.unknown, self.sums, self.squares)


@dataclass(frozen=True)
class Prior:
    """Pseudo-rows: `strength` of them for each component, all equal to the column means.

    Attributes
    ----------
    mean : ndarray of shape (n_features,), float64
        One that fields can have: probabilities are strictly between 0 and 1.
    strength : float
        Positive.
    units : Units
        Those that fit independent columns. Their precisions count as `strength` pseudo-rows too.
    """

    mean: np.ndarray
    strength: float
    units: Units

    @classmethod
    def of_rows(cls, visible, moments, strength):
        """Return the prior for rows whose columns are some units.

        Parameters
        ----------
        visible : Units
            With a size.
        moments : tuple of (n_rows, mean, variance)
            As :func:`deepgen.rows.survey.survey` measures them.
        strength : float
        """
        n_rows, mean, variance = moments
        units = visible.fitted_to(mean, _spread(mean, variance), n_rows)
        return cls(visible.inner_mean(mean, n_rows), float(strength), units)

    @property
    def origin(self):
        """Where mixtures measure real columns from: their means, and 0 of others; float32."""
        origin = np.zeros(len(self.mean), np.float32)
        for place, part in self.units.placed_parts:
            if part.precision is not None:
                origin[place] = self.mean[place]
        return origin

    def log_density(self, model):
        """Return the log prior density of a model's parameters, up to a constant."""
        mean = self.mean - model.origin.astype(np.float64)
        joint = model.constants + mean @ model.fields.astype(np.float64)
        of_scale = self.units.scale_log_prior(
            model.visible, model.n_components, mean, self.strength
        )
        return self.strength * float(joint.sum()) + of_scale


def _spread(mean, variance):
    """Return variances of columns; of one that never varies, that of a hundredth of its value.

    Units would give it one by the variances of the others, which are measured in other units.
    """
    square = np.square(np.asarray(mean, np.float64))
    still = (variance <= STILL * square) & (square > LEAST_SQUARE)
    return np.where(still, STILL_SHARE * square, variance)


def starting_mixture(rows, n_rows, n_components, prior, stream):
    """Return equal components around rows drawn without replacement (again, where too few)."""
    repeats = -(-n_components // n_rows)
    order = [stream.permutation(n_rows, START, row=row) for row in range(repeats)]
    chosen, units = np.concatenate(order)[:n_components], prior.units
    means, first = np.empty((n_components, len(prior.mean))), 0
    for states in (batch.states[0] for batch in rows.in_order(CHUNK)):
        inside = np.flatnonzero((chosen >= first) & (chosen < first + states.shape[0]))
        if len(inside):
            some = dense(states)[chosen[inside] - first]
            some = filled(some, units.unknown_in(some), prior.mean)
            means[inside] = units.clipped(some)
        first += states.shape[0]
    softened = (means + START_SMOOTHING * prior.mean) / (1.0 + START_SMOOTHING)
    for place, part in units.placed_parts:
        if part.precision is None:
            means[:, place] = softened[:, place]
    origin, log_weights = prior.origin, np.full(n_components, -np.log(n_components))
    return mixture_of(units, log_weights, units.field_of(means - origin).T, origin)


def expectation(
    model, rows, *, n_rows=None, workspace=None, governor=None, check=None, collective=ALONE
):
    """Return the statistics of rows under a model's responsibilities: the E-step.

    Parameters
    ----------
    model : ProductMixture
    rows : ArrayRows or IterableRows
    n_rows : int or None
        Their number, where processes share them and the rows do not know it.
    workspace : Workspace or None
    governor : Governor or None
        Chooses the number of threads, piece by piece.
    check : callable or None
        Called between pieces; may raise.
    collective : Collective
        Each process reads its virtual shards, whole chunks of rows, and has the sums of all then.

    Returns
    -------
    Statistics
    """
    about = {"workspace": workspace or engine.Workspace(), "governor": governor or Governor()}
    statistics, pieces = Statistics.zeros(model), rows.in_order(CHUNK)
    if isinstance(collective, Alone):
        _add(statistics, model, pieces, check=check, **about)
        return statistics
    require_shards(collective, "mixtures")
    n_chunks = -(-(rows.n_rows or n_rows) // CHUNK)
    cuts, shards, read = shard_bounds(n_chunks, collective), [], 0
    for start, stop in pairwise(cuts):
        if start < stop:
            shards.append(Statistics.zeros(model))
            _add(shards[-1], model, islice(pieces, start - read, stop - read), check=check, **about)
            read = stop
    total = np.empty(statistics.flat().shape)
    sum_of_shards(collective, [shard.flat() for shard in shards], total)
    statistics.take(total)
    return statistics


def _add(statistics, model, pieces, *, workspace, governor, check):
    """Add the sums over some chunks of rows; see :func:`expectation`."""
    responsibilities = np.empty((CHUNK, model.n_components), np.float32)
    for batch in pieces:
        states = model.visible.clipped(batch.states[0])
        if check is not None:
            check()
        n_rows, work = states.shape[0], Work(workspace, governor.next())
        known = known_rows(model, states)
        means, log_p = responsibilities[:n_rows], np.zeros(n_rows)
        posterior(model, known, Outputs(mean=means, log_normalizer=log_p), work=work)
        np.multiply(means, means >= NEGLIGIBLE, out=means)
        sums = products(known.states, means, work=work)
        if known.unknown is not None:
            statistics.unknown += products(known.unknown.view(np.uint8), means, work=work)
        if model.has_scales:
            statistics.squares += np.square(known.states, dtype=np.float64).sum(axis=0)
        governor.done()
        statistics.counts += means.sum(axis=0, dtype=np.float64)
        statistics.sums += sums
        statistics.log_likelihood += float(log_p.sum())
        statistics.n_rows += n_rows


def maximization(statistics, prior):
    """Return the mixture of largest posterior density given responsibilities: the M-step.

    Parameters
    ----------
    statistics : Statistics
    prior : Prior

    Returns
    -------
    ProductMixture
    """
    counts, strength = statistics.counts, prior.strength
    weights = (counts + strength) / (counts.sum() + strength * len(counts))
    origin = prior.origin
    mean = prior.mean - origin.astype(np.float64)
    units, fields = prior.units.components(statistics.of_columns(), mean, strength)
    return mixture_of(units, np.log(weights), fields, origin)


@dataclass
class Run:
    """One run of EM: a model, and how it got there.

    Attributes
    ----------
    model : ProductMixture
    converged : bool
    history : list of dict
        One entry an iteration: log likelihood and log posterior density at its start, nats a
        row, and seconds.
    collective : Collective
        The processes that share it; see :func:`expectation`.
    """

    model: ProductMixture
    converged: bool = False
    history: list = field(default_factory=list)
    collective: object = ALONE

    @property
    def log_posterior(self):
        """Nats a row, as of the last E-step."""
        return self.history[-1]["log_posterior"] if self.history else -np.inf


def joined(runs):
    """Return the average of the densities of some runs, as one run: components of all of them.

    ``p(x) = mean over runs of p_r(x)``, weights divided by the number of runs. Its log is on
    average at least the average of theirs (Jensen), on rows that none of them has seen too. Real
    columns then have one variance for all runs, the mean of theirs, and means as they were.

    Parameters
    ----------
    runs : list of Run

    Returns
    -------
    Run
        Its history is theirs, one after the other.
    """
    if len(runs) == 1:
        return runs[0]
    models = [run.model for run in runs]
    log_weights = np.concatenate([model.log_weights for model in models]) - np.log(len(runs))
    visible = models[0].visible.pooled([model.visible for model in models])
    fields = [
        model.fields if not model.has_scales
        else model.fields * (visible.precision / model.visible.precision)[:, None]
        for model in models
    ]  # fmt: skip
    return Run(
        mixture_of(visible, log_weights, np.hstack(fields), models[0].origin),
        all(run.converged for run in runs),
        [entry for run in runs for entry in run.history],
    )


def run_em(run, rows, prior, *, max_iter, tol, n_rows=None, n_threads=None, check=None):
    """Improve the model of a run in place until the log posterior rises by less than `tol`.

    Parameters
    ----------
    run : Run
        `run.model` is always that of the last whole iteration.
    rows : ArrayRows or IterableRows
    prior : Prior
    max_iter : int
    tol : float
        Nats a row and iteration.
    n_rows : int or None
        Rows of an iteration; other numbers are a ValueError. None: ``rows.n_rows``.
    check : callable or None
        Called between pieces of rows; may raise. Where processes share the run, between
        iterations, and what one of them raises ends the run in all.

    Yields
    ------
    dict
        The new entry of ``run.history``.
    """
    workspace, governor = engine.Workspace(), Governor(n_threads)
    collective = run.collective
    if check is not None and not isinstance(collective, Alone):
        between, check = partial(check_together, collective, check), None
    else:
        between = None
    n_rows = rows.n_rows if n_rows is None else n_rows
    for iteration in range(1, max_iter + 1):
        began, before = time.perf_counter(), run.log_posterior
        if between is not None:
            between()
        statistics = expectation(
            run.model, rows, n_rows=n_rows, workspace=workspace, governor=governor, check=check,
            collective=collective,
        )  # fmt: skip
        if n_rows is not None and statistics.n_rows != n_rows:
            refuse_rows(n_rows, statistics.n_rows, f"iteration {iteration}")
        density = statistics.log_likelihood + prior.log_density(run.model)
        entry = {
            "iteration": iteration,
            "log_likelihood": statistics.log_likelihood / statistics.n_rows,
            "log_posterior": density / statistics.n_rows,
        }
        run.converged = entry["log_posterior"] - before < tol
        if not run.converged:
            run.model = maximization(statistics, prior)
        entry["seconds"] = collective.broadcast(time.perf_counter() - began)
        run.history.append(entry)
        logger.info("iteration %(iteration)d: %(log_posterior).4f, %(seconds).2f s", entry)
        yield entry
        if run.converged:
            return
