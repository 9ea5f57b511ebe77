"""Samplers that leave a mode by way of higher temperatures: swaps, excursions, adaptive visits.

They are right for a machine of any depth and for held entries, and blind to one thing: a mode that
is narrow where another one is broad has no way from one to the other along temperature. For these,
see :class:`~deepgen.inference.trajectories.TrajectoryTempering`.
"""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deepgen.checks import check_integer, float32_array
from deepgen.inference.gibbs import spread_particles
from deepgen.inference.samplers import Chains, MoveInfo
from deepgen.inference.temperatures import (
    Temperatures,
    base_arrays,
    check_base,
    check_temperatures,
    means_at_model,
    own_states,
    repeated_context,
    usual_temperatures,
)
from deepgen.layers.passes import Site
from deepgen.layers.units import Units
from deepgen.models import Parameters
from deepgen.rows.fingerprint import row_digests
from deepgen.rows.particles import unchecked_particles
from deepgen.runtime.stream import START
from deepgen.runtime.work import ANY_WORK

# Sweeps without a swap before the first one: all rungs begin where the particles are, and a state
# of the model is none of a rung before it has warmed up.
WARM_UP = 10


def _keep_temperatures(sampler):
    """Check the temperatures of a frozen sampler, and keep them as a tuple with its length."""
    betas = float32_array(sampler.betas, "betas")
    check_temperatures(betas.tolist())
    object.__setattr__(sampler, "betas", tuple(betas.tolist()))
    object.__setattr__(sampler, "n_rungs", len(betas))


def _rungs(sampler):
    """Return the inverse temperatures of a sampler, falling from 1; float32."""
    if sampler.betas is None:
        return usual_temperatures(sampler.n_rungs)
    return np.array(sampler.betas, np.float32)


def _in_words(sampler, further=()):
    """Return the repr of a sampler: its settings, and a digest of the numbers of its base.

    Checkpoints compare it, so two samplers that move chains differently must differ in it.
    """
    words = [f"n_rungs={sampler.n_rungs}", *further]
    if sampler.betas is not None:
        words.append(f"betas={sampler.betas}")
    if sampler.base is not None:
        base = sampler.base
        numbers = [base.bias] + ([] if base.precision is None else [base.precision])
        digest = row_digests(np.concatenate(numbers)[None])[0]
        words.append(f"base={base!r} {digest:016x}")
    return f"{type(sampler).__name__}({', '.join(words)})"


@dataclass(frozen=True, repr=False)
class ParallelTempering:
    """Parallel tempering: rows at a ladder of temperatures, whose neighbours change places.

    Each chain has a row at every rung. A sweep offers each pair of neighbours a swap, even and odd
    pairs in turn, then moves all rows by one Gibbs sweep. A swap is judged with the odd layers
    summed out, all rows in one call; about a fifth is added to the cost of the Gibbs sweep.

    Parameters
    ----------
    n_rungs : int, default 10
        Inverse temperatures: ``sqrt(i / (n_rungs - 1))``.
    betas : tuple of float or None
        These instead, falling from 1; :func:`deepgen.placed_rungs` measures where they should be.
    base : Units or None
        First layer at ``beta`` = 0, from :func:`deepgen.base_rates`: independent units at the log
        odds of the data. None: at the rates of some chains of the model itself.

    Raises
    ------
    ValueError
        If there are fewer than two rungs, or `betas` do not fall from 1.

    Notes
    -----
    What a chain keeps in ``Chains.further``: ``accepted`` and ``offered`` swaps of each pair, the
    hottest last; ``round_trips`` of each chain, from the model to the hottest rung and back.

    References
    ----------
    Swendsen & Wang (1986); of RBMs, Desjardins, Courville, Bengio, Vincent & Delalleau (2010);
    even and odd pairs in turn, Syed, Bouchard-Cote, Deligiannidis & Doucet (2022), section 3.

    Examples
    --------
    >>> import deepgen as dg
    >>> X = dg.datasets.sample_bars_and_stripes(200, 3, random_state=0)
    >>> rbm = dg.RBM(8, n_epochs=2, random_state=0).fit(X)
    >>> rbm.sample(3, n_sweeps=20, sampler=dg.ParallelTempering(5), random_state=0).shape
    (3, 9)
    """

    n_rungs: int = 10
    betas: tuple | None = None
    base: Units | None = None
    takes_context: ClassVar[bool] = True

    def __post_init__(self):
        check_integer(self.n_rungs, "n_rungs", 2)
        check_base(self.base)
        if self.betas is not None:
            _keep_temperatures(self)

    def __repr__(self):
        return _in_words(self)

    def rungs(self):
        """Return the inverse temperatures, falling from 1; float32 of shape (n_rungs,)."""
        return _rungs(self)

    def start(self, model, particles, site):
        """Return chains whose rungs all begin where the particles are; see `Sampler.start`."""
        betas = self.rungs()
        rows = [np.repeat(x, len(betas), axis=0) for x in particles.states]
        further = {
            **base_arrays(self, model, site),
            **swap_counts(len(particles), len(betas)),
        }
        beta = np.tile(betas, len(particles))
        return Chains(unchecked_particles(rows), beta, further)

    def move(
        self, model, chains, site, *, n_sweeps=1, means=False, context=None, work=ANY_WORK
    ):
        """Move chains on; see :meth:`Sampler.move`."""
        betas = self.rungs()
        path = Temperatures.around(
            model, chains, repeated_context(context, len(betas)), work
        )
        states, beta = own_states(model, chains.particles), chains.beta.copy()
        # rows by rung of each chain: temperatures wander over the rows, not states
        place = np.argsort(-beta.reshape(-1, len(betas)), axis=1, kind="stable")
        place += np.arange(len(place))[:, None] * len(betas)
        counts = {name: x.copy() for name, x in chains.further.items()}
        if not counts["turn"][0]:
            for number in range(WARM_UP):
                path.sweep(states, beta, _of_rows(site, "warm up", number, len(betas)))
        for number in range(n_sweeps):
            here = site.of_sweep(number)
            rows = here._replace(first_row=here.first_row * len(betas))
            fields = path.fields(states)
            self._swap(path, (states, fields), (beta, place), here, counts)
            path.draw_odd(states, fields, beta, rows)
            path.draw_even(states, beta, rows)
        chains.particles, chains.beta, chains.further = unchecked_particles(states), beta, counts
        found = {}
        if means:
            found = means_at_model(model, chains.at_model(), context, work)
        return MoveInfo(found, diagnostics=swap_report(counts))

    def _swap(self, path, at, ladder, site, counts):
        """Offer each pair of this turn a swap; beta and places by rung, `ladder`, are changed."""
        beta, place = ladder
        n_rungs = place.shape[1]
        pairs = np.arange(counts["turn"][0] % 2, n_rungs - 1, 2)
        one, other = place[:, pairs], place[:, pairs + 1]
        offer = beta.copy()
        offer[one], offer[other] = beta[other], beta[one]
        gain = path.gain(*at, beta, offer)
        swapped = accepted_swaps(gain[one] + gain[other], pairs, n_rungs, site)
        taken, given = one[swapped], other[swapped]
        beta[taken], beta[given] = offer[taken], offer[given]
        chain, pair = np.nonzero(swapped)
        place[chain, pairs[pair]], place[chain, pairs[pair] + 1] = given, taken
        count_swaps(counts, pairs, swapped, place)


def swap_counts(n_chains, n_rungs):
    """Return the counts that a ladder keeps, all zero.

    Returns
    -------
    dict of str to ndarray
        ``turn``, (1,); ``accepted`` and ``offered`` by pair, (n_rungs - 1,); by chain
        ``round_trips``, (n_chains,); by row ``is_back``, whether it has been at the hottest rung
        since it was at the model.
    """
    return {
        "turn": np.zeros(1, np.int64),
        "accepted": np.zeros(n_rungs - 1, np.int64),
        "offered": np.zeros(n_rungs - 1, np.int64),
        "round_trips": np.zeros(n_chains, np.int64),
        "is_back": np.zeros(n_chains * n_rungs, np.uint8),
    }


def accepted_swaps(gain, pairs, n_rungs, site):
    """Return which swaps are accepted, with the probability min(1, exp(gain)).

    Parameters
    ----------
    gain : ndarray of shape (n_chains, n_pairs), float64
    pairs : ndarray of shape (n_pairs,)
        Number of the upper rung of each pair.
    n_rungs : int
    site : Site
        Of the sweep; its first row counts chains.

    Returns
    -------
    bool ndarray of shape (n_chains, n_pairs)
    """
    uniform = site.stream.child("swap").uniform(
        len(gain), n_rungs - 1, site.kind, first_row=site.first_row
    )
    return np.log(uniform[:, pairs]) < gain


def count_swaps(counts, pairs, swapped, place):
    """Add the swaps of one turn to the counts, in place.

    Parameters
    ----------
    counts : dict
        Of :func:`swap_counts`.
    pairs : ndarray of shape (n_pairs,)
    swapped : bool ndarray of shape (n_chains, n_pairs)
    place : ndarray of shape (n_chains, n_rungs)
        Number of the row at each rung, after the swaps.
    """
    counts["accepted"][pairs] += swapped.sum(axis=0)
    counts["offered"][pairs] += len(swapped)
    counts["turn"] += 1
    is_back = counts["is_back"]
    counts["round_trips"] += is_back[place[:, 0]]
    is_back[place[:, 0]] = 0
    is_back[place[:, -1]] = 1


def swap_report(counts):
    """Return diagnostics of swaps by name: the rate of each pair of rungs, round trips by chain."""
    offered = np.maximum(counts["offered"], 1)
    return {
        "swap_rate": counts["accepted"] / offered,
        "round_trips": counts["round_trips"].copy(),
    }


def _of_rows(site, name, number, n_rungs):
    """Return the site of draws of all rungs, in a part of its own."""
    stream = site.stream.child(f"{name} {number}")
    return site._replace(stream=stream, first_row=site.first_row * n_rungs)


@dataclass(frozen=True, repr=False)
class TemperedTransitions:
    """Tempered transitions: each chain goes up the temperatures and down again, or stays.

    An excursion visits every rung once upwards and once downwards, one Gibbs sweep each, and ends
    in an offer that is accepted or refused as a whole. So a sweep costs two Gibbs sweeps a rung;
    then follows one at the model. No row is kept but the chain's own.

    Parameters
    ----------
    n_rungs : int, default 20
        More than swaps need: the whole way is one offer.
    betas : tuple of float or None
        See :class:`ParallelTempering`.
    base : Units or None
        See :class:`ParallelTempering`.

    Raises
    ------
    ValueError
        If there are fewer than two rungs, or `betas` do not fall from 1.

    Notes
    -----
    ``accepted`` and ``offered`` in ``Chains.further`` count excursions of each chain. Entries can
    be held in even layers alone, the first one for example: an excursion back must be the mirror of
    one forth.

    References
    ----------
    Neal (1996); of RBMs, Salakhutdinov (2009), "Learning in Markov random fields using tempered
    transitions".
    """

    n_rungs: int = 20
    betas: tuple | None = None
    base: Units | None = None
    takes_context: ClassVar[bool] = True

    def __post_init__(self):
        check_integer(self.n_rungs, "n_rungs", 2)
        check_base(self.base)
        if self.betas is not None:
            _keep_temperatures(self)

    def __repr__(self):
        return _in_words(self)

    def rungs(self):
        """Return the inverse temperatures, falling from 1; float32 of shape (n_rungs,)."""
        return _rungs(self)

    def start(self, model, particles, site):
        """Return the chains that begin where particles are; see :meth:`Sampler.start`."""
        counts = {name: np.zeros(len(particles), np.int64) for name in ("accepted", "offered")}
        return Chains(particles, further={**base_arrays(self, model, site), **counts})

    def move(
        self, model, chains, site, *, n_sweeps=1, means=False, context=None, work=ANY_WORK
    ):
        """Move chains on; see :meth:`Sampler.move`."""
        path = Temperatures.around(model, chains, context, work)
        for l in range(1, model.n_layers, 2):
            if path.context.holds(l):
                raise ValueError(
                    f"held must name even layers for TemperedTransitions, got layer {l}; use "
                    "dg.ParallelTempering()"
                )
        states, further = own_states(model, chains.particles), dict(chains.further)
        ones = np.ones(len(chains), np.float32)
        for number in range(n_sweeps):
            here = site.of_sweep(number)
            offer, gain = self._excursion(path, states, here)
            uniform = here.stream.child("accept").uniform(
                len(ones), 1, here.kind, first_row=here.first_row
            )
            taken = np.log(uniform[:, 0]) < gain
            states = [
                np.where(taken[:, None], new, old)
                for new, old in zip(offer, states, strict=True)
            ]
            path.sweep(states, ones, here)
            further["accepted"] = further["accepted"] + taken
            further["offered"] = further["offered"] + 1
        chains.particles, chains.further = unchecked_particles(states), further
        found = means_at_model(model, chains.particles, context, work) if means else {}
        rate = further["accepted"] / np.maximum(further["offered"], 1)
        return MoveInfo(found, diagnostics={"acceptance": rate})

    def _excursion(self, path, states, site):
        """Return the states at the end of the way up and down, and the log odds of taking them."""
        betas, states = self.rungs(), [x.copy() for x in states]
        way = [*range(len(betas)), *range(len(betas) - 1, -1, -1)]
        rows = np.ones(len(states[0]), np.float32)
        gain = np.zeros(len(rows))
        for number, (rung, following) in enumerate(itertools.pairwise(way)):
            fields = path.fields(states)
            old, new = betas[rung] * rows, betas[following] * rows
            if rung != following:
                gain += path.gain(states, fields, old, new)
            if number < len(way) - 2:
                here = site._replace(stream=site.stream.child(f"excursion {number}"))
                path.draw_odd(states, fields, new, here)
                path.draw_even(states, new, here)
        return states, gain


# Inverse temperature of a visiting row that is as good as at the model: 1 is the other row's.
NEXT_TO_MODEL = np.nextafter(np.float32(1.0), np.float32(0.0))
# Chains whose way from the base tells first weights of the rungs.
WEIGHT_CHAINS = 20
# Sweeps for each rung, before the first one of a chain, in which second rows wander alone.
SETTLING = 50


@dataclass(frozen=True, repr=False)
class CoupledTempering:
    """Coupled adaptive tempering: beside each chain a second one that wanders over temperatures.

    The second row of a chain moves a rung up or down after each sweep (simulated tempering), by
    weights that let it visit all rungs. Whenever it is back at the model, both rows change places.
    Two rows a chain are moved, whatever the number of rungs.

    The weights are learned first: in `n_settling` sweeps before the first one of a chain its second
    row wanders alone, and for half of them rungs that it visits lose weight (Wang & Landau). After
    that the weights stay, so that the sampler keeps the model's distribution. In a run of learning,
    where the model is another one in each move, they go on adapting.

    Parameters
    ----------
    n_rungs : int, default 10
    betas : tuple of float or None
        See :class:`ParallelTempering`.
    base : Units or None
        See :class:`ParallelTempering`.
    n_settling : int or None
        None: 50 for each rung.

    Raises
    ------
    ValueError
        If there are fewer than two rungs, `betas` do not fall from 1, or `n_settling` is below 2.

    Notes
    -----
    In ``Chains.further``: the ``rung`` of the second row, 0 next to the model, and the
    ``log_weights`` of the rungs, (n_chains, n_rungs), estimates of log Z at each. Each chain has
    weights of its own, so that chains drawn in pieces equal the whole.

    Rows that change places while weights adapt, or before the second row has left its first rung,
    would move the model's distribution: which rows are back at the model then depends on the
    rows.

    References
    ----------
    Salakhutdinov (2010), "Learning deep Boltzmann machines using adaptive MCMC"; Wang & Landau
    (2001); Marinari & Parisi (1992), simulated tempering.
    """

    n_rungs: int = 10
    betas: tuple | None = None
    base: Units | None = None
    n_settling: int | None = None
    takes_context: ClassVar[bool] = True

    def __post_init__(self):
        check_integer(self.n_rungs, "n_rungs", 2)
        check_base(self.base)
        if self.n_settling is not None:
            check_integer(self.n_settling, "n_settling", 2)
        if self.betas is not None:
            _keep_temperatures(self)

    def __repr__(self):
        further = [] if self.n_settling is None else [f"n_settling={self.n_settling}"]
        return _in_words(self, further)

    def rungs(self):
        """Return the inverse temperatures of the second rows; the first is next to 1."""
        betas = _rungs(self)
        betas[0] = NEXT_TO_MODEL
        return betas

    def start(self, model, particles, site):
        """Return chains whose two rows begin where the particle is; see :meth:`Sampler.start`."""
        base = base_arrays(self, model, site)
        first = self._first_weights(model, base, site)
        further = {
            **base,
            "rung": np.zeros(len(particles), np.int64),
            "log_weights": np.tile(first, (len(particles), 1)),
            "is_settled": np.zeros(len(particles), np.uint8),
            "exchanges": np.zeros(len(particles), np.int64),
        }
        rows = [np.repeat(x, 2, axis=0) for x in particles.states]
        beta = np.tile(np.array([1.0, NEXT_TO_MODEL], np.float32), len(particles))
        return Chains(unchecked_particles(rows), beta, further)

    def _first_weights(self, model, base, site):
        """Return log Z at each rung less that of the first, roughly, by a way up of a few chains.

        They do not depend on the particles, so that chains drawn in pieces have equal weights.
        """
        betas = self.rungs()
        if any(units.takes_trials for units in model.layers):
            return np.zeros(len(betas))
        stream = site.stream.child("weights")
        few = Chains(spread_particles(model, WEIGHT_CHAINS, stream), further=base)
        path = Temperatures.around(model, few, None, ANY_WORK)
        states, rows = own_states(model, few.particles), np.ones(WEIGHT_CHAINS, np.float32)
        weights = np.zeros(len(betas))
        for rung in range(len(betas) - 1):
            here = Site(stream.child(rung), START)
            for number in range(WARM_UP):
                path.sweep(states, betas[rung] * rows, here.of_sweep(number))
            gain = path.gain(
                states, path.fields(states), betas[rung] * rows, betas[rung + 1] * rows
            )
            weights[rung + 1] = weights[rung] + gain.mean()
        return weights

    def move(
        self, model, chains, site, *, n_sweeps=1, means=False, context=None, work=ANY_WORK
    ):
        """Move chains on; see :meth:`Sampler.move`."""
        further = {name: x.copy() for name, x in chains.further.items()}
        if not further["is_settled"].all():
            self._settle(model, chains, further, site, context, work)
        path = Temperatures.around(model, chains, repeated_context(context, 2), work)
        states, beta = own_states(model, chains.particles), chains.beta.copy()
        step = self._step(self._n_settling()) if isinstance(model, Parameters) else 0.0
        for number in range(n_sweeps):
            here = site.of_sweep(number)
            fields = path.fields(states)
            second = 2 * np.arange(len(further["rung"])) + (beta[1::2] != 1.0)
            self._wander(path, states, fields, beta, second, here, further)
            further["log_weights"][np.arange(len(second)), further["rung"]] += step
            self._exchange(path, states, fields, beta, second, here, further)
            rows = here._replace(first_row=2 * here.first_row)
            path.draw_odd(states, fields, beta, rows)
            path.draw_even(states, beta, rows)
        chains.particles, chains.beta, chains.further = unchecked_particles(states), beta, further
        found = {}
        if means:
            found = means_at_model(model, chains.at_model(), context, work)
        return MoveInfo(found, diagnostics={"exchanges": further["exchanges"].copy()})

    def _n_settling(self):
        return SETTLING * self.n_rungs if self.n_settling is None else self.n_settling

    def _step(self, number):
        """Return by how much a visit lowers the log weight of a rung, less after many sweeps."""
        return min(1.0, 5.0 * self.n_rungs / (number + 1))

    def _settle(self, model, chains, further, site, context, work):
        """Let the second rows wander alone, first with weights that adapt; chains are changed."""
        rows = np.arange(1, len(chains), 2)
        few = Chains(
            unchecked_particles([x[rows] for x in chains.particles.states]), further=further
        )
        path = Temperatures.around(model, few, context, work)
        states, beta = own_states(model, few.particles), chains.beta[rows]
        n_settling, chain = self._n_settling(), np.arange(len(rows))
        for number in range(n_settling):
            here = site._replace(stream=site.stream.child(f"settle {number}"))
            fields = path.fields(states)
            self._wander(path, states, fields, beta, chain, here, further)
            if number < n_settling // 2:
                further["log_weights"][chain, further["rung"]] += self._step(number)
            path.draw_odd(states, fields, beta, here)
            path.draw_even(states, beta, here)
        everywhere = own_states(model, chains.particles)
        for whole, x in zip(everywhere, states, strict=True):
            whole[rows] = x
        temperatures = chains.beta.copy()
        temperatures[rows] = beta
        chains.particles, chains.beta = unchecked_particles(everywhere), temperatures
        further["is_settled"][:] = 1

    def _wander(self, path, states, fields, beta, second, site, further):
        """Offer the second rows, numbers of rows by chain, the rung above or below; in place."""
        betas, rung, weights = self.rungs(), further["rung"], further["log_weights"]
        chain = np.arange(len(rung))
        uniform = site.stream.child("wander").uniform(
            len(chain), 2, site.kind, first_row=site.first_row
        )
        target = rung + np.where(uniform[:, 0] < 0.5, -1, 1)
        inside = (target >= 0) & (target < len(betas))
        target = np.where(inside, target, rung)
        offer = beta.copy()
        offer[second] = betas[target]
        gain = path.gain(states, fields, beta, offer)[second]
        gain -= weights[chain, target] - weights[chain, rung]
        taken = inside & (np.log(uniform[:, 1]) < gain)
        rung[taken] = target[taken]
        beta[second] = betas[rung]

    def _exchange(self, path, states, fields, beta, second, site, further):
        """Let both rows of a chain change places where the second one is at rung 0; in place."""
        # places are offered by all: where the second row is elsewhere the offer is its own place
        chain = np.arange(len(second))
        first, here = 4 * chain + 1 - second, further["rung"] == 0
        offer = beta.copy()
        offer[first], offer[second] = (
            np.where(here, beta[second], 1.0), np.where(here, 1.0, beta[second]),
        )  # fmt: skip
        gain = path.gain(states, fields, beta, offer)
        uniform = site.stream.child("exchange").uniform(
            len(chain), 1, site.kind, first_row=site.first_row
        )[:, 0]
        swapped = here & (np.log(uniform) < gain[first] + gain[second])
        beta[first[swapped]], beta[second[swapped]] = NEXT_TO_MODEL, 1.0
        further["exchanges"] += swapped
