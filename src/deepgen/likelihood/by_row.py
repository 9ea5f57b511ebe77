"""Log Z by row, and likelihoods that are made of it, with how far they can be believed.

Rows whose biases differ anneal in one call; those of ratings, of documents and of sequences report
in the same words.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from deepgen.checks import check_instance, check_integer, shown
from deepgen.inference.gibbs import sweep, update_layer
from deepgen.layers.context import Context
from deepgen.layers.passes import Site
from deepgen.likelihood.annealing import anneal, scratch
from deepgen.likelihood.bracket import ERRORS, resample
from deepgen.likelihood.exact import exact_log_partitions, is_cheap_by_row
from deepgen.models import check_model
from deepgen.rows.particles import Particles
from deepgen.runtime.stream import ANNEAL, REVERSE, SAMPLE, Stream
from deepgen.runtime.threads import check_threads
from deepgen.runtime.work import Work

# Chains that anneal together: their biases stay in the caches, and Ctrl-C is heard between pieces.
CHAINS_AT_ONCE = 2048
FRESHEN = 10  # sweeps at the model between annealing forwards and back
# The base of a row is estimated by chains of it, one for so many of annealing's steps, so that they
# cost a tenth of it, and no more than so many (docs/decisions.md, "Time").
STEPS_OF_A_CHAIN, MOST_CHAINS = 100, 64
SETTLE, AVERAGED = 15, 5  # their sweeps: those before means count, and those whose means do
OWN_CHAINS = 4.0  # chains' worth of units with the biases of the row, as if there were no weights


@dataclass(frozen=True)
class RowPartitions:
    """Estimates of log Z by row.

    Attributes
    ----------
    value : ndarray of shape (n_rows,), float64
        Halfway between `forward` and `reverse`, whose errors are of opposite signs; that of the
        only direction where there is one. In nats.
    forward, reverse : ndarray of shape (n_rows,), float64
        Logs of mean weights of annealing from independent units, which err low, and of annealing
        back to them, which err high. Not a number where that way was not gone; both are `value`
        where it is exact.
    error : ndarray of shape (n_rows,), float64
        Standard errors of `value`, 0 where it is exact.
    variance : ndarray of shape (n_rows,), float64
        Of the log weights of a row, the larger one of both directions. Where its mean over rows is
        above 0.1, the forward estimate is too optimistic to be believed: raise `n_betas`.
    method : str
        "exact" or "annealed"; of brackets that rows share "bracket" or "open bracket".
    shared : tuple of two ndarray of shape (n_rows,), float64, or None
        Lower and upper ends, where rows share brackets, such as documents of one length. None:
        each row has chains of its own.
    """

    value: np.ndarray
    forward: np.ndarray
    reverse: np.ndarray
    error: np.ndarray
    variance: np.ndarray
    method: str
    shared: tuple | None = None

    @classmethod
    def joined(cls, parts):
        """Return the rows of several of them, which have chains of their own, as one."""
        names = ("value", "forward", "reverse", "error", "variance")
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
        is_exact = all(part.method == "exact" for part in parts)
        return cls(*columns, "exact" if is_exact else "annealed")

    @classmethod
    def known(cls, value):
        """Return exact values, float64 of shape (n_rows,)."""
        zeros = np.zeros(len(value))
        return cls(value, value, value, zeros, zeros, "exact")

    @property
    def ends(self):
        """Lower and upper end by row: half the gap between directions and 3 standard errors."""
        if self.shared is not None:
            return self.shared
        away = ERRORS * self.error
        if np.isfinite(self.reverse).all():
            away = away + 0.5 * np.abs(self.reverse - self.forward)
        return self.value - away, self.value + away

    def sums(self, starts):
        """Return (value, lower, upper) of the sum over each run of rows.

        Rows with chains of their own are independent: their standard errors add in squares. The
        gap between directions, which is no noise, adds as it is, and so do brackets that rows
        share. An end is half the gap and 3 standard errors away.

        Parameters
        ----------
        starts : array-like of shape (n_runs + 1,), int
            First row of each run, and after the last one the number of rows.

        Returns
        -------
        tuple of ndarray of shape (n_runs,), float64
        """
        starts = np.asarray(starts)

        def total(x):
            return np.diff(np.concatenate([[0.0], np.cumsum(x)])[starts])

        value = total(self.value)
        if self.shared is not None:
            return value, *(total(end) for end in self.shared)
        away = ERRORS * np.sqrt(np.maximum(total(self.error**2), 0.0))
        if np.isfinite(self.reverse).all() and np.isfinite(self.forward).all():
            away = away + 0.5 * np.abs(total(self.reverse - self.forward))
        return value, value - away, value + away


@dataclass(frozen=True)
class RowLikelihoods:
    """Estimates of log p of rows, each with a log Z of its own, in nats.

    Attributes
    ----------
    free_energy : ndarray of shape (n_rows,), float64
        Of each row under its own machine: ``log p = -free_energy - log Z``.
    partitions : RowPartitions
        log Z by row.
    """

    free_energy: np.ndarray
    partitions: RowPartitions

    @property
    def by_row(self):
        """log p of each row, float64, at ``partitions.value``."""
        return -self.free_energy - self.partitions.value

    @property
    def optimistic(self):
        """log p of each row by forward annealing alone, which makes a model look better."""
        return -self.free_energy - self.partitions.forward

    @property
    def lower(self):
        """Lower end of log p of each row: that of the upper end of its log Z."""
        return -self.free_energy - self.partitions.ends[1]

    @property
    def upper(self):
        """Upper end of log p of each row."""
        return -self.free_energy - self.partitions.ends[0]

    def sums(self, starts):
        """Return (value, lower, upper) of log p of each run of rows.

        Parameters
        ----------
        starts : array-like of shape (n_runs + 1,), int
            First row of each run, and after the last one the number of rows.
        """
        value, lower, upper = self.partitions.sums(starts)
        energy = np.diff(np.concatenate([[0.0], np.cumsum(self.free_energy)])[starts])
        return -energy - value, -energy - upper, -energy - lower

    def mean(self):
        """Return (value, lower, upper) of the mean log p of a row."""
        n_rows = len(self.free_energy)
        ends = self.sums(np.array([0, n_rows]))
        return tuple(float(end[0]) / max(n_rows, 1) for end in ends)

    def report(self):
        """Return how the estimate was made and how far it can be believed, as plain data.

        Nats are means of rows. ``mean_variance`` is that of the log weights of a row.
        """
        value, lower, upper = self.mean()
        partitions = self.partitions
        return {
            "method": partitions.method, "n_rows": len(self.free_energy),
            "value": value, "lower": lower, "upper": upper,
            "forward": float(np.mean(self.optimistic)),
            "mean_variance": float(np.mean(partitions.variance)),
        }  # fmt: skip


def log_partitions_by_row(
    model, context, *, n_chains=4, n_betas=1000, reverse=True, exact=None, random_state=None,
    n_threads=None,
):  # fmt: skip
    """Estimate log Z of a machine of two layers for each row of biases.

    Parameters
    ----------
    model : BoltzmannMachine
        Two layers.
    context : Context
        With bias rows of both layers, (n_rows, n_units), and nothing else.
    n_chains : int
        Of each row and direction.
    n_betas : int
        Inverse temperatures, evenly from 0 to 1. At 0 all units are independent, with about the
        means that the machine gives them in that row.
    reverse : bool
        Whether to anneal back too, from the ends of the forward chains.
    exact : bool or None
        Whether to enumerate. None: where that takes some seconds at the most.
    random_state : int, RandomState, Generator, Stream or None
    n_threads : int or None

    Returns
    -------
    RowPartitions

    Notes
    -----
    A mean over few chains errs low in log Z by about ``var(log w) / (2 n_chains)``: too few
    temperatures make a model look better than it is. :attr:`RowPartitions.variance` tells. The
    means of the start are those of chains of their own, a tenth of the work at the most.

    References
    ----------
    Neal (2001); Burda, Grosse & Salakhutdinov (2015), annealing back.
    """
    check_model(model, 2)
    check_instance(context, "context", Context, "a dg.Context with bias rows of both layers")
    check_integer(n_chains, "n_chains")
    check_integer(n_betas, "n_betas", 2)
    check_threads(n_threads)
    if set(context.bias_rows) != {0, 1} or _has_more(context):
        raise ValueError(
            "context must have bias rows of layers 0 and 1, and nothing else, got "
            f"{shown(context)}"
        )
    n_rows = len(context.bias_rows[0])
    context.check(model.layers, n_rows)
    if exact or (exact is None and is_cheap_by_row(model, n_rows)):
        value = exact_log_partitions(model, context.bias_rows, n_threads=n_threads)
        return RowPartitions.known(value)
    stream = random_state
    if not isinstance(random_state, Stream):
        stream = Stream.from_random_state(random_state)
    n_steps = n_chains * n_betas * (2 if reverse else 1)
    context = replace(context, base_rows=base_rows(
        model, context, min(n_steps // STEPS_OF_A_CHAIN, MOST_CHAINS), stream.child("base"),
        n_threads,
    ))  # fmt: skip
    betas, work = np.linspace(0.0, 1.0, n_betas), scratch(n_threads)
    size = max(CHAINS_AT_ONCE // n_chains, 1)
    pieces = []
    for first in range(0, n_rows, size):
        some = context.of_rows(slice(first, min(first + size, n_rows)))
        weights = _weights(model, some, n_chains, betas, stream, first * n_chains, reverse, work)
        pieces.append(_estimates(*weights))
    joined = [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
    return RowPartitions(*joined, "annealed")


def base_rows(model, context, n_chains, stream, n_threads):
    """Return the biases of the independent units that each row is annealed from.

    Log weights vary the less the nearer the units are to the row's machine, so they have about the
    means that it gives its units: those over some sweeps of `n_chains` chains of the row, and, as
    `OWN_CHAINS` chains more, the means at the row's own biases. No chain of annealing is among
    them: its weights have no bias, whatever the base is (docs/math.md, "Log Z by row").

    Parameters
    ----------
    model : BoltzmannMachine
    context : Context
        Bias rows of both layers.
    n_chains : int
        Of each row. 0: the biases of the rows.
    stream : Stream
    n_threads : int or None

    Returns
    -------
    dict of int to ndarray of shape (n_rows, n_units), float32
        By layer.
    """
    own = {l: units.bias + context.bias_rows[l] for l, units in enumerate(model.layers)}
    if n_chains == 0:
        return own
    n_rows, size = len(own[0]), max(CHAINS_AT_ONCE // n_chains, 1)
    pieces = []
    for first in range(0, n_rows, size):
        some = context.of_rows(slice(first, min(first + size, n_rows)))
        pieces.append(_means(model, some, n_chains, stream, first * n_chains, n_threads))
    base = {}
    for l, units in enumerate(model.layers):
        mean = np.concatenate([means[l] for means in pieces])
        total = n_chains * mean + OWN_CHAINS * units.mean(own[l])  # sums first: 1 stays 1
        base[l] = units.field_of(total / (n_chains + OWN_CHAINS))
    return base


def _means(model, context, n_chains, stream, first_chain, n_threads):
    """Return means of units over chains of each row, (n_rows, n_units) by layer, float64."""
    n_rows, work = len(context.bias_rows[0]), Work(n_threads=n_threads)
    chains = context.of_rows(np.repeat(np.arange(n_rows), n_chains))
    own = {l: units.bias + chains.bias_rows[l] for l, units in enumerate(model.layers)}
    particles = Particles(_independent(model, own, stream.child("start"), first_chain))
    site = Site(stream.child("settle"), SAMPLE, first_chain)
    states = sweep(model, particles, SETTLE, site, context=chains, n_threads=n_threads).states
    totals = [np.zeros((n_rows, units.size)) for units in model.layers]
    site = Site(stream.child("means"), SAMPLE, first_chain)
    for number in range(AVERAGED):
        here = site.of_sweep(number)
        for l in (1, 0):
            mean, states[l] = update_layer(
                model, l, states, context=chains, mean=True, site=here, work=work
            )
            of_rows = mean.reshape(n_rows, n_chains, -1)
            totals[l] += of_rows.sum(axis=1, dtype=np.float64)
    return [total / (AVERAGED * n_chains) for total in totals]


def _independent(model, biases, stream, first_row):
    """Return draws of independent units with biases by row, a list by layer."""
    return [
        units.sample(biases[l], stream.child(l), first_row=first_row)
        for l, units in enumerate(model.layers)
    ]


def _has_more(context):
    """Tell whether a context has anything beside bias rows."""
    by_layer = (context.held, context.bias_scale, context.trials, context.pattern)
    return any(by_layer) or context.beta is not None or context.base is not None


def _weights(model, context, n_chains, betas, stream, first_chain, reverse, work):
    """Return log Z at beta = 0 by row, and log weights of both directions, (n_rows, n_chains)."""
    n_rows, base = len(context.bias_rows[0]), context.base_rows
    log_base = sum(
        units.log_normalizer(base[l]).astype(np.float64) for l, units in enumerate(model.layers)
    )
    chains = context.of_rows(np.repeat(np.arange(n_rows), n_chains))
    states = _independent(model, chains.base_rows, stream.child("start"), first_chain)
    site = Site(stream.child("forward"), ANNEAL, first_chain)
    forward, states = anneal(model, model.layers, states, betas, site, work, context=chains)
    forward = forward.reshape(n_rows, n_chains)
    if not reverse:
        return log_base, forward, None
    at_model = replace(chains, base_rows={})
    ancestors = np.concatenate([r * n_chains + resample(w) for r, w in enumerate(forward)])
    moved = sweep(
        model, Particles([x[ancestors] for x in states]), FRESHEN,
        Site(stream.child("freshen"), SAMPLE, first_chain), context=at_model,
        n_threads=work[1].most,
    )  # fmt: skip
    site = Site(stream.child("reverse"), REVERSE, first_chain)
    back, _ = anneal(
        model, model.layers, moved.states, betas[::-1], site, work, context=chains
    )
    return log_base, forward, back.reshape(n_rows, n_chains)


def _estimates(log_base, forward, back):
    """Return value, forward, reverse, error, variance by row of log weights by chain.

    With n chains, ``log Z = log Z_0 + log mean w`` forwards and ``log Z_0 - log mean w`` back.
    Standard errors are those of the logs of means; what both directions share, since chains go
    back from where others arrived, makes them at most the mean of both.
    """
    n = forward.shape[1]

    def log_mean(w):
        top = w.max(axis=1, keepdims=True)
        return top[:, 0] + np.log(np.exp(w - top).mean(axis=1))

    def spread(w):
        return w.var(axis=1, ddof=1) if n > 1 else np.full(len(w), math.nan)

    ahead, variance = log_base + log_mean(forward), spread(forward)
    if back is None:
        nothing = np.full(len(ahead), math.nan)
        return ahead, ahead, nothing, np.sqrt(variance / n), variance
    behind, other = log_base - log_mean(back), spread(back)
    error = 0.5 * (np.sqrt(variance / n) + np.sqrt(other / n))
    return 0.5 * (ahead + behind), ahead, behind, error, np.maximum(variance, other)
