"""Log Z along a ladder of models, and brackets that hear it beside annealing."""

import math
from dataclasses import replace

import numpy as np

from deepgen.checks import check_instance, check_integer
from deepgen.inference.gibbs import spread_particles, start_particles
from deepgen.inference.mixing import placed_rungs
from deepgen.inference.trajectories import TrajectoryTempering
from deepgen.layers.passes import Site
from deepgen.likelihood.bracket import ERRORS, log_partition_bracket
from deepgen.likelihood.bridge import bridge, influences
from deepgen.likelihood.exact import LogPartition
from deepgen.models import check_model, check_one_length
from deepgen.rows.particles import unchecked_particles
from deepgen.runtime.stream import SAMPLE, Stream
from deepgen.runtime.threads import check_threads
from deepgen.runtime.work import Work

# Shares of the sweeps: rungs begin elsewhere, so the first ones are left out, and those up to the
# second share tell whether chains are still on their way.
BURN_IN, ARRIVED = 0.25, 0.5
# Below this rate of swaps the rungs on both sides of a pair hardly know each other: of 22 models of
# a training whose smallest rate was .06 the estimate was .18 nats off, 5 standard errors.
FEWEST_SWAPS = 0.1
# Share of the chains that may be without a round trip; more of them are stuck in a mode.
MOST_STUCK = 0.05
# Every fifth chain is a scout: it begins far over the model at all rungs, and does not count for
# log Z. Where a mode has no way to the lowest rung, scouts that began in it make no round trip.
SCOUT = 5


def log_partition_by_ladder(
    model, ladder, *, n_chains=100, n_sweeps=400, random_state=None, n_threads=None
):
    """Estimate log Z from chains that swap along a ladder of models.

    Neighbours that are far apart first get rungs between them (:func:`deepgen.placed_rungs`). Of
    each pair of neighbours then the ratio of the two Z by the bridge between samples of both
    (Bennett 1976); the first model of the ladder is independent units. Where a narrow mode stands
    beside a broad one, this sees both, and annealing does not (docs/math.md, "Tempering").

    Parameters
    ----------
    model : BoltzmannMachine
    ladder : TrajectoryTempering
        Without weights in its first model, or such a model is put before it.
    n_chains : int, default 100
        Every fifth one tells whether a mode has no way to the other rungs, and does not count.
    n_sweeps : int, default 400
        The first half is left out.
    random_state : int, RandomState, Generator or None
    n_threads : int or None

    Returns
    -------
    LogPartition
        `method` is "ladder", or "open ladder", with infinite ends, where a pair of neighbours
        hardly swaps or chains have made no round trip (raise `n_sweeps`, or give more models);
        `reason` tells rates and round trips. The interval is 3 standard errors over chains, and
        reaches to what the quarter of the sweeps before those that count says.

    Raises
    ------
    TypeError
        If `ladder` is no TrajectoryTempering.
    ValueError
        If the models of the ladder have other shapes.

    References
    ----------
    Bereux, Decelle, Furtlehner, Rosset & Seoane (2025), section 4; Bennett (1976).
    """
    return _by_ladder(model, ladder, n_chains, n_sweeps, random_state, n_threads)[0]


def _by_ladder(model, ladder, n_chains, n_sweeps, random_state, n_threads):
    """Return the estimate of :func:`log_partition_by_ladder`, and the chains at the model."""
    check_model(model)
    check_one_length(model)
    check_instance(
        ladder, "ladder", TrajectoryTempering,
        "a dg.TrajectoryTempering, such as sampler() of a dg.ModelLadder",
    )  # fmt: skip
    check_integer(n_chains, "n_chains", 2)
    check_integer(n_sweeps, "n_sweeps", 8)
    check_threads(n_threads)
    stream = Stream.from_random_state(random_state)
    ladder = placed_rungs(
        model, ladder, random_state=stream.child("place").key, n_threads=n_threads
    )
    first, work = ladder.models[0], Work(n_threads=n_threads).reusing()
    log_base = sum(float(layer.log_normalizer(layer.bias[None])[0]) for layer in first.layers)
    site, is_scout = Site(stream.child("ladder"), SAMPLE), np.arange(n_chains) % SCOUT == SCOUT - 1
    chains = ladder.start(
        model, start_particles(first, n_chains, stream.child("start")), site
    )
    ladder.climb(model, chains, site, work=work)
    _send_scouts(model, chains, is_scout, stream.child("spread"))
    every = [
        [(pair, upper[~is_scout], lower[~is_scout]) for pair, upper, lower in ratios]
        for ratios in ladder.steps(model, chains, site, n_sweeps=n_sweeps, work=work)
    ]
    early, late = (
        every[int(first * n_sweeps) : int(stop * n_sweeps)]
        for first, stop in ((BURN_IN, ARRIVED), (ARRIVED, 1.0))
    )
    value, error, is_open = _along(ladder, late, log_base)
    before = _along(ladder, early, log_base)[0]
    counts = chains.further
    rates = counts["accepted"] / np.maximum(counts["offered"], 1)
    trips = counts["round_trips"]
    stuck = [(trips[some] == 0).mean() for some in (~is_scout, is_scout) if some.any()]
    is_open = is_open or rates.min() < FEWEST_SWAPS or max(stuck) > MOST_STUCK
    reach = math.inf if is_open else ERRORS * error
    lower, upper = min(value - reach, before), max(value + reach, before)
    reason = (
        f"{ladder.n_rungs} rungs, smallest rate of swaps {rates.min():.2f}, "
        f"{trips.mean():.1f} round trips a chain, {(trips == 0).sum()} chains without one"
    )
    estimate = LogPartition(
        value, lower, upper, ess=float(trips.sum()),
        method="open ladder" if is_open else "ladder", reason=reason,
    )  # fmt: skip
    return estimate, unchecked_particles(list(chains.at_model().states))


def _along(ladder, kept, log_base):
    """Return log Z by the ratios of some sweeps, its standard error, and whether rungs are torn."""
    by_pair = [[] for _ in range(ladder.n_rungs - 1)]
    for ratios in kept:
        for pair, upper, lower in ratios:
            by_pair[pair].append((upper, lower))
    value, moved, is_torn = log_base, np.zeros(len(by_pair[0][0][0])), False
    for found in by_pair:
        forward = np.array([lower for _, lower in found])
        reverse = -np.array([upper for upper, _ in found])
        ratio, _ = bridge(forward.ravel(), reverse.ravel())
        ours, theirs, slope = influences(forward, reverse, ratio)
        value += ratio
        if slope <= 1e-12 * forward.size:
            is_torn = True
            continue
        moved += (ours - theirs).sum(axis=0) / slope
    return value, math.sqrt(float((moved**2).sum())), is_torn


def _send_scouts(model, chains, is_scout, stream):
    """Let all rows of some chains begin at states that lie far from each other; chains change."""
    n_rungs = len(chains) // len(is_scout)
    rows = np.flatnonzero(np.repeat(is_scout, n_rungs))
    spread = spread_particles(model, is_scout.sum(), stream)
    states = [np.array(x) for x in chains.particles.states]
    for x, far in zip(states, spread.states, strict=True):
        x[rows] = np.repeat(far, n_rungs, axis=0)
    chains.particles = unchecked_particles(states)


def ladder_bracket(
    model, ladder, *, n_chains=100, n_betas=3000, n_sweeps=400, random_state=None,
    n_threads=None,
):  # fmt: skip
    """Bracket log Z by annealing and by a ladder of models, and open it where they contradict.

    Annealing cannot see that a mode is missing from all temperatures but the last ones; chains
    along a training can miss a mode that no data have. Neither is right always, so where the
    intervals do not meet the bracket holds both, and `reason` says so. The samples of the ladder
    are among the starts of the reverse chains.

    Parameters
    ----------
    model : BoltzmannMachine
    ladder : TrajectoryTempering
    n_chains, n_betas
        See :func:`deepgen.log_partition_bracket`.
    n_sweeps : int, default 400
        See :func:`deepgen.log_partition_by_ladder`.
    random_state : int, RandomState, Generator or None
    n_threads : int or None

    Returns
    -------
    LogPartition
        The method is that of :func:`deepgen.log_partition_bracket`, also where the ladder opens
        the bracket.
    """
    stream = Stream.from_random_state(random_state)
    estimate, particles = _by_ladder(
        model, ladder, n_chains, n_sweeps, stream.key, n_threads
    )
    bracket = log_partition_bracket(
        model, particles, n_chains=n_chains, n_betas=n_betas, random_state=stream.key,
        n_threads=n_threads,
    )  # fmt: skip
    return joined(bracket, estimate)


def joined(bracket, ladder):
    """Return a bracket that has heard a ladder: as it is where they meet, else around both.

    An open bracket that holds a whole ladder keeps its ends, which hold what the ladder may not
    know, and has the ladder's value: its own is that of estimates which contradict each other.

    Parameters
    ----------
    bracket, ladder : LogPartition

    Returns
    -------
    LogPartition
    """
    if bracket.method == "exact":
        return bracket
    if ladder.method == "open ladder":
        return replace(bracket, reason=f"the ladder of models is broken: {ladder.reason}")
    meet = bracket.lower <= ladder.upper and ladder.lower <= bracket.upper
    if meet and bracket.method == "open bracket":
        reason = (
            f"annealing contradicts itself; the value is that of the ladder of models, "
            f"[{ladder.lower:.3f}, {ladder.upper:.3f}]: {ladder.reason}"
        )
        return replace(
            bracket, value=ladder.value, lower=min(bracket.lower, ladder.lower),
            upper=max(bracket.upper, ladder.upper), reason=reason,
        )  # fmt: skip
    if meet:
        return replace(bracket, reason=f"the ladder of models agrees: {ladder.reason}")
    reason = (
        f"annealing gives {bracket.value:.3f} [{bracket.lower:.3f}, {bracket.upper:.3f}], the "
        f"ladder of models {ladder.value:.3f} [{ladder.lower:.3f}, {ladder.upper:.3f}] "
        f"({ladder.reason}); a mode is missing from one of them"
    )
    return replace(
        bracket, lower=min(bracket.lower, ladder.lower), upper=max(bracket.upper, ladder.upper),
        method="open bracket", reason=reason,
    )  # fmt: skip
