"""How well a sampler mixes, measured; and where the rungs of a ladder should be."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import erfcinv

from deepgen.checks import check_instance, check_integer, real_array, shown
from deepgen.inference.gibbs import spread_particles
from deepgen.inference.samplers import Gibbs, check_one_row_each, check_sampler
from deepgen.inference.tempering import ParallelTempering
from deepgen.inference.trajectories import (
    MOST_RUNGS,
    Climbers,
    TrajectoryTempering,
    filled_ladder,
    grounded,
)
from deepgen.layers.passes import Site
from deepgen.models import check_model
from deepgen.runtime.stream import SAMPLE, Stream
from deepgen.runtime.threads import check_threads
from deepgen.runtime.work import Work

# Share of the sweeps that are left out of a report.
BURN_IN = 0.25
# Rungs are placed for this rate of swaps; rates of LOWEST to HIGHEST are as good.
TARGET, LOWEST, HIGHEST = 0.35, 0.2, 0.5
MOST_ROUNDS = 8
# Rates nearer to 0 or 1 than this cannot be told from them by so few swaps.
FINEST_RATE = 1e-3


@dataclass(frozen=True)
class Mixing:
    """A report of how chains move.

    Attributes
    ----------
    n_effective : float
        As many independent draws would have a mean of the statistic as good as that of all chains.
    n_draws : int
        Draws that it was computed from: chains times sweeps.
    mean : float
        Mean of the statistic.
    diagnostics : dict of str to ndarray
        What the sampler tells: ``swap_rate`` by pair of rungs, ``round_trips`` by chain,
        ``acceptance``, ``exchanges``.
    values : ndarray of shape (n_sweeps, n_chains)
        The statistic, for pictures of stuck and mixing chains.
    """

    n_effective: float
    n_draws: int
    mean: float
    diagnostics: dict = field(repr=False)
    values: np.ndarray = field(repr=False)


def mixing(
    model, sampler=None, *, statistic=None, n_chains=50, n_sweeps=1000, random_state=None,
    n_threads=None,
):  # fmt: skip
    """Measure how a sampler mixes on a model, from chains that begin far from each other.

    Parameters
    ----------
    model : BoltzmannMachine
    sampler : Sampler or None
        None: :class:`deepgen.Gibbs`.
    statistic : callable or None
        From :class:`deepgen.Particles` to one number for each row: whether it is in a mode, say.
        None: the projection of the first layer on the strongest direction of the first weights.
    n_chains : int, default 50
    n_sweeps : int, default 1000
        The first quarter is left out.
    random_state : int, RandomState, Generator or None
    n_threads : int or None

    Returns
    -------
    Mixing

    Raises
    ------
    ValueError
        If the statistic is not one finite number for each chain.
    TypeError
        If it is no function, or `model` is no BoltzmannMachine.

    Notes
    -----
    With the variance s^2 of the statistic over all draws and the variance u^2 of the means of the
    chains, n chains are worth ``n s^2 / u^2`` draws, at most as many as there are. Chains that stay
    where they began differ in their means: they count once each. That cannot be seen where all
    begin in one mode and stay there.
    """
    check_model(model)
    sampler = Gibbs() if sampler is None else sampler
    check_sampler(sampler)
    check_integer(n_chains, "n_chains", 2)
    check_integer(n_sweeps, "n_sweeps", 4)
    check_threads(n_threads)
    statistic = _strongest_direction(model) if statistic is None else statistic
    check_instance(
        statistic, "statistic", Callable,
        "None or a function from dg.Particles to one number for each row",
    )  # fmt: skip
    stream, work = Stream.from_random_state(random_state), Work(n_threads=n_threads).reusing()
    site = Site(stream.child("mixing"), SAMPLE)
    chains = sampler.start(
        model, spread_particles(model, n_chains, stream), Site(stream.child("start"), SAMPLE)
    )
    values, info = np.empty((n_sweeps, n_chains)), None
    for number in range(n_sweeps):
        info = sampler.move(
            model, chains, site.of_sweep(number), n_sweeps=1, means=False, context=None, work=work
        )
        particles = chains.at_model()
        check_one_row_each(particles, n_chains, sampler)
        found = real_array(statistic(particles), "values of statistic").astype(np.float64)
        if found.shape != (n_chains,) or not np.isfinite(found).all():
            raise ValueError(
                f"statistic must return {n_chains} finite numbers, one for each row, got "
                f"{shown(found)}"
            )
        values[number] = found
    values = values[int(BURN_IN * n_sweeps) :]
    return Mixing(
        effective_draws(values), values.size, float(values.mean()), info.diagnostics, values
    )


def effective_draws(values):
    """Return how many independent draws a statistic of chains is worth; see :func:`mixing`.

    Parameters
    ----------
    values : ndarray of shape (n_sweeps, n_chains)
    """
    n_chains = values.shape[1]
    between = values.mean(axis=0).var(ddof=1)
    if between <= 0.0:
        return float(values.size if values.var() > 0.0 else n_chains)
    return float(min(n_chains * values.var() / between, values.size))


def _strongest_direction(model):
    """Return a statistic: the projection of rows on the first left singular vector of W_0."""
    weights = model.weights[0].astype(np.float64)
    direction = np.linalg.svd(weights, full_matrices=False)[0][:, 0]

    def projection(particles):
        return particles[0].astype(np.float64) @ direction

    return projection


def placed_rungs(
    model, sampler, *, n_chains=None, n_sweeps=None, random_state=None, n_threads=None
):
    """Return a sampler whose rungs lie where neighbours swap: at rates of .2 to .5, or more.

    Parameters
    ----------
    model : BoltzmannMachine
    sampler : ParallelTempering or TrajectoryTempering
        Whose rungs are the first guess. Temperatures are moved, added and taken away. To a
        trajectory rungs are only added, on the straight lines between its models; a model without
        weights is put before them.
    n_chains : int or None
        None: 50. Of a trajectory: rows that go up its models; 200.
    n_sweeps : int or None
        None: 100, of each round of measurement, of which there are at most eight. Of a trajectory:
        at each model; 12.
    random_state : int, RandomState, Generator or None
    n_threads : int or None

    Returns
    -------
    ParallelTempering or TrajectoryTempering
        Of as many rungs as it takes; the one of the last round, should rates not settle.

    Raises
    ------
    TypeError
        If the sampler has no ladder.

    Notes
    -----
    Where log ratios are near normal, a rate r of swaps is ``erfc(d / 2)`` of the distance d of two
    rungs, and distances add along the ladder: d^2 is the symmetric divergence. So rates tell
    distances, and temperatures are put at equal ones. Rates are those of most chains, and a ladder
    of models that is fine enough for a broad mode may be torn for a tight one: its distances are
    those of the rows to which neighbours differ most (docs/math.md, "Tempering").

    References
    ----------
    Syed, Bouchard-Cote, Deligiannidis & Doucet (2022), section 5, by rates of refusal; Predescu,
    Predescu & Ciobanu (2004) for the normal approximation.
    """
    check_model(model)
    check_instance(
        sampler, "sampler", (ParallelTempering, TrajectoryTempering),
        "a dg.ParallelTempering or dg.TrajectoryTempering, which have rungs",
    )  # fmt: skip
    along_models = isinstance(sampler, TrajectoryTempering)
    n_chains = (200 if along_models else 50) if n_chains is None else n_chains
    n_sweeps = (12 if along_models else 100) if n_sweeps is None else n_sweeps
    check_integer(n_chains, "n_chains", 2)
    check_integer(n_sweeps, "n_sweeps", 4)
    check_threads(n_threads)
    stream = Stream.from_random_state(random_state)
    if along_models:
        ladder = grounded(sampler)
        ladder.ladder(model)
        work = Work(n_threads=n_threads).reusing()
        climbers = Climbers(ladder.models[0], n_chains, n_sweeps, stream, work)
        return filled_ladder(ladder, model, distances(np.array([LOWEST]))[0], climbers)
    for number in range(MOST_ROUNDS):
        report = mixing(
            model, sampler, n_chains=n_chains, n_sweeps=n_sweeps,
            random_state=stream.child(number).key, n_threads=n_threads,
        )  # fmt: skip
        rates = report.diagnostics["swap_rate"]
        if rates.min() >= LOWEST and (rates.max() <= HIGHEST or len(rates) == 1):
            break
        places = even_places(rates)
        if len(places) == sampler.n_rungs and np.abs(places - np.arange(len(places))).max() < 0.05:
            break
        betas = np.interp(places, np.arange(sampler.n_rungs), sampler.rungs().astype(np.float64))
        sampler = replace(sampler, betas=tuple(betas.tolist()))
    return sampler


def distances(rates):
    """Return the distances of neighbouring rungs that swap at these rates: ``2 erfcinv(rate)``."""
    return 2.0 * erfcinv(np.clip(rates, FINEST_RATE, 1.0 - FINEST_RATE))


def even_places(rates):
    """Return where rungs at equal distances lie among those that were measured.

    Parameters
    ----------
    rates : ndarray of shape (n_rungs - 1,)

    Returns
    -------
    ndarray
        Of the new number of rungs; 1.5 lies halfway between rungs 1 and 2.
    """
    along = np.concatenate([[0.0], np.cumsum(distances(rates))])
    n_rungs = 1 + math.ceil(along[-1] / distances(np.array([TARGET]))[0])
    n_rungs = min(max(n_rungs, 2), MOST_RUNGS)
    return np.interp(np.linspace(0.0, along[-1], n_rungs), along, np.arange(len(along)))
