"""A ladder of models in place of temperatures: chains that swap along the way of a training.

A narrow mode beside a broad one of the same mass loses all of it when temperature rises, at once;
models of an earlier epoch have no such edge, because the masses of modes follow the data all along.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deepgen.checks import as_list
from deepgen.inference.gibbs import start_particles, sweep, sweep_in_place
from deepgen.inference.mean_field import field_from
from deepgen.inference.samplers import Chains, MoveInfo
from deepgen.inference.temperatures import bias_and_precision, means_at_model, row_dots
from deepgen.inference.tempering import (
    WARM_UP,
    accepted_swaps,
    count_swaps,
    swap_counts,
    swap_report,
)
from deepgen.layers.context import Context, with_trials
from deepgen.layers.passes import Outputs, Site, conditional_pass, layer_log_weight
from deepgen.models import BoltzmannMachine, check_model
from deepgen.rows.fingerprint import row_digests
from deepgen.rows.particles import unchecked_particles
from deepgen.rows.states import dense
from deepgen.runtime.stream import START
from deepgen.runtime.work import ANY_WORK

_NO_CONTEXT = Context()
# Rows of each chain that climb a ladder before its first sweep, and their steps from one model to
# the next: so few rows lose a mode where steps are long.
N_CLIMBERS, STEPS = 10, 3
# Share of the rows that a distance leaves out, the farthest ones.
FEW_ROWS = 0.03
# How often the line between two models is halved, and rungs, at the most.
MOST_HALVINGS, MOST_RUNGS = 6, 200


def independent(model):
    """Return a machine without weights, whose first layer is that of a model: its log Z is known.

    The other layers have biases of zero.
    """
    layers = [layer.replace(bias=np.zeros(layer.size)) for layer in model.layers]
    layers[0] = model.layers[0]
    weights = [np.zeros(w.shape) for w in model.weights]
    return BoltzmannMachine(layers, weights, observed=model.observed)


def interpolated(old, new, share):
    """Return the model whose natural parameters lie at `share` in [0, 1] from `old` to `new`."""

    def between(a, b):
        return (1.0 - share) * a.astype(np.float64) + share * b

    layers = []
    for a, b in zip(old.layers, new.layers, strict=True):
        changed = {"bias": between(a.bias, b.bias)}
        if a.precision is not None:
            changed["log_precision"] = np.log(between(a.precision, b.precision))
        layers.append(b.replace(**changed))
    weights = [between(a, b) for a, b in zip(old.weights, new.weights, strict=True)]
    return new.replace(layers=layers, weights=weights)


def log_weight(model, states, *, context=None, site=None, work=ANY_WORK):
    """Return the unnormalized log p of the even layers, the odd ones summed out, by row.

    Parameters
    ----------
    model : BoltzmannMachine or Parameters
    states : list of ndarray of shape (n_rows, n_units)
    context : Context or None
        An odd layer with held entries is not summed out: its states count.
    site : Site or None
        With one, the odd layers are drawn in the same pass, into `states`.
    work : Work

    Returns
    -------
    ndarray of shape (n_rows,), float64
    """
    n_rows = states[0].shape[0]
    context = with_trials(model.layers, states, _NO_CONTEXT if context is None else context)
    total = np.zeros(n_rows)
    kept = [l for l in range(model.n_layers) if l % 2 == 0 or context.holds(l)]
    for l in kept:
        total += layer_log_weight(
            model.chain, l, states[l], context.of_layer(l), n_threads=work.n_threads
        )
    for l in range(1, model.n_layers, 2):
        units, draws = model.layers[l], None
        if l in kept:
            total += _interaction(model, l, states, context, work)
        if site is not None:
            draws = np.empty((n_rows, units.size), units.state_dtype)
            if l in kept:
                draws[...] = states[l]
        elif l in kept:
            continue
        outputs = Outputs(sample=draws, log_normalizer=None if l in kept else total)
        conditional_pass(model.chain, l, states, outputs, context.of_layer(l), site, work)
        if draws is not None:
            states[l] = draws
    return total


def log_ratio(new, old, states, *, context=None, work=ANY_WORK):
    """Return ``log p*_new - log p*_old`` by row, the odd layers summed out.

    The difference of :func:`log_weight` for both, but that even layers are gone through once: with
    states x it is ``x . (b_new - b_old) - x^2 . (p_new - p_old) / 2``, biases b and precisions p.

    Parameters
    ----------
    new, old : BoltzmannMachine or Parameters
        Of one form.
    states, context, work
        See :func:`log_weight`.

    Returns
    -------
    ndarray of shape (n_rows,), float64
    """
    context = with_trials(new.layers, states, _NO_CONTEXT if context is None else context)
    if any(context.holds(l) for l in range(1, new.n_layers, 2)):
        options = {"context": context, "work": work}
        return log_weight(new, states, **options) - log_weight(old, states, **options)
    slope = np.zeros(states[0].shape[0])
    for l in range(0, new.n_layers, 2):
        x = dense(states[l])
        (bias, precision), (from_bias, from_precision) = (
            bias_and_precision(model, l) for model in (new, old)
        )
        dots = row_dots(x, bias - from_bias)
        slope += dots if l not in context.bias_scale else context.bias_scale[l] * dots
        if precision is not None:
            slope -= 0.5 * row_dots(x * x, precision - from_precision)
    total = slope if context.beta is None else context.beta * slope
    below = np.zeros(len(total))
    for l in range(1, new.n_layers, 2):
        around = context.of_layer(l)
        for model, sums in ((new, total), (old, below)):
            outputs = Outputs(log_normalizer=sums)
            conditional_pass(model.chain, l, states, outputs, around, work=work)
    return total - below


def _interaction(model, l, states, context, work):
    """Return ``beta x . (x_below W + x_above W^T)`` of states x of a layer, by row, float64."""
    field = field_from(model, l - 1, l, states[l - 1], work)
    if l + 1 < model.n_layers:
        field += field_from(model, l + 1, l, states[l + 1], work)
    sent = (states[l] * field).sum(axis=1, dtype=np.float64)
    return sent if context.beta is None else context.beta * sent


@dataclass(frozen=True, repr=False)
class TrajectoryTempering:
    """Trajectory tempering: swaps along a ladder of models, such as those of a training.

    Each chain has a row at every model of the ladder and one at the model that is sampled. A sweep
    offers neighbours a swap, even and odd pairs in turn, then moves each row by one Gibbs sweep of
    its own model.

    Before the first sweep of a chain its rungs are filled from the lowest one, which has no
    weights: ten rows a chain go up, and are weighted and drawn anew at every third of the way to
    the next model. So the rungs know modes that the first particles do not show.

    Parameters
    ----------
    models : tuple of BoltzmannMachine
        From the first of a training on, without the one that is sampled; equal in shape to it.
        :class:`deepgen.ModelLadder` keeps them during a fit, and :func:`deepgen.placed_rungs` adds
        some between neighbours that hardly swap. The first one should be without weights, so that
        its draws are independent (:func:`deepgen.independent`).

    Raises
    ------
    ValueError
        If there is no model, or their shapes differ.
    TypeError
        If one is no BoltzmannMachine.

    Notes
    -----
    ``Chains.beta`` is the place on the ladder, from 0 to 1 at the model; it is no temperature.
    Counts in ``Chains.further`` are those of :class:`ParallelTempering`.

    So few rows lose a part of a mode that grows tight on their way; swaps bring it back. Leave out
    some tens of sweeps, more where there are few round trips.

    References
    ----------
    Bereux, Decelle, Furtlehner, Rosset & Seoane (2025), "Fast training and sampling of restricted
    Boltzmann machines", section 4. The way up is population annealing, Hukushima & Iba (2003), with
    models in place of temperatures.
    """

    models: tuple
    takes_context: ClassVar[bool] = True

    def __post_init__(self):
        models = tuple(as_list(self.models, "models", "machines, from the first of a training on"))
        if not models:
            raise ValueError(
                "models must hold at least one machine, got none; dg.independent(model) is one"
            )
        for number, model in enumerate(models):
            check_model(model, name=f"models[{number}]")
            _check_form(model, models[0], f"models[{number}]")
        object.__setattr__(self, "models", models)

    def __repr__(self):
        digest = 0
        for model in self.models:
            arrays = [layer.bias for layer in model.layers] + [w.ravel() for w in model.weights]
            arrays += [x.precision for x in model.layers if x.precision is not None]
            digest = (31 * digest + row_digests(np.concatenate(arrays)[None])[0]) % 2**64
        return f"TrajectoryTempering({len(self.models)} models, {digest:016x})"

    @property
    def n_rungs(self):
        """Rungs, the model that is sampled included."""
        return len(self.models) + 1

    def ladder(self, model):
        """Return the model that is sampled and those below it, in this order."""
        _check_form(model, self.models[0], "model")
        return [model, *self.models[::-1]]

    def start(self, model, particles, site):
        """Return chains whose rungs all begin where the particles are; see `Sampler.start`."""
        self.ladder(model)
        rows = [np.repeat(x, self.n_rungs, axis=0) for x in particles.states]
        beta = np.tile(np.linspace(1.0, 0.0, self.n_rungs), len(particles))
        counts = swap_counts(len(particles), self.n_rungs)
        return Chains(
            unchecked_particles(rows), beta, {**counts, "has_climbed": np.zeros(1, np.uint8)}
        )

    def climb(self, model, chains, site, *, context=None, work=ANY_WORK):
        """Let the rungs below the model begin at rows that come up from the lowest one.

        A first :meth:`move` does so. The rows at the model stay.

        Parameters
        ----------
        model, chains, site, context, work
            See :meth:`Sampler.move`.
        """
        rungs = _Rungs(self.ladder(model), chains, context, work.reusing())
        rungs.climb(site)
        chains.particles = rungs.particles()
        chains.further = {**chains.further, "has_climbed": np.ones(1, np.uint8)}

    def move(
        self, model, chains, site, *, n_sweeps=1, means=False, context=None, work=ANY_WORK
    ):
        """Move chains on; see :meth:`Sampler.move`."""
        found = {}
        for _ in self.steps(model, chains, site, n_sweeps=n_sweeps, context=context, work=work):
            pass
        if means:
            found = means_at_model(model, chains.at_model(), context, work)
        return MoveInfo(found, diagnostics=swap_report(chains.further))

    def steps(self, model, chains, site, *, n_sweeps, context=None, work=ANY_WORK):
        """Move chains on; yield log ratios of each sweep, as an estimate of log Z needs them.

        The chains are where they will be when the last ratios have been taken.

        Yields
        ------
        list of tuple of (int, ndarray, ndarray)
            Of each pair of neighbours whose turn it is: the number of its upper rung, the model's
            is 0, and ``log p*`` of the upper model less that of the lower one, float64 of shape
            (n_chains,), at rows of the upper model and at rows of the lower one; before the swaps.
        """
        work = work.reusing()
        if not chains.further["has_climbed"][0]:
            self.climb(model, chains, site, context=context, work=work)
        rungs = _Rungs(self.ladder(model), chains, context, work)
        counts = {name: x.copy() for name, x in chains.further.items()}
        for number in range(n_sweeps):
            here = site.of_sweep(number)
            ratios = [(r, *rungs.ratios(r)) for r in rungs.pairs(counts["turn"][0])]
            rungs.swap(ratios, counts, here)
            rungs.sweep(here)
            yield ratios
        chains.particles, chains.further = rungs.particles(), counts


def grounded(ladder):
    """Return a ladder whose first model has no weights, so that its log Z is known."""
    first = ladder.models[0]
    if all(not w.any() for w in first.weights):
        return ladder
    return TrajectoryTempering((independent(first), *ladder.models))


class Climbers:
    """Rows that go up a ladder from its lowest model, weighted and drawn anew at each.

    Parameters
    ----------
    model : BoltzmannMachine
        The lowest, without weights.
    n_rows : int
    n_sweeps : int
        That all rows make at each model, and of which the states are looked at.
    stream : Stream
    work : Work
    """

    def __init__(self, model, n_rows, n_sweeps, stream, work):
        self.model, self.n_sweeps, self.work = model, n_sweeps, work
        self._stream, self._n_calls = stream, 0
        self.seen = self._swept(model, start_particles(model, n_rows, stream.child("start")))

    def log_ratios(self, model, seen=None):
        """Return ``log p*`` of a model less that of their own, (n_sweeps, n_rows), float64."""
        seen = self.seen if seen is None else seen
        return np.array([log_ratio(model, self.model, x, work=self.work) for x in seen])

    def go_on(self, model, farthest):
        """Go on to a model, if it is no farther away than that; tell whether it was done.

        The distance is looked at from both sides: a mode that is tight in the next model may have
        no row here that shows it.
        """
        ratios = self.log_ratios(model)
        if row_distance(ratios) > farthest:
            return False
        here = self._stream.child(f"choose {self._n_calls}")
        uniform = here.uniform(1, ratios.shape[1], START)
        chosen = drawn_by_weight(ratios[-1:], uniform)[0]
        own, seen = self.model, self._swept(
            model, unchecked_particles([x[chosen] for x in self.seen[-1]])
        )
        self.model = model
        if row_distance(self.log_ratios(own, seen)) > farthest:
            self.model = own
            return False
        self.seen = seen
        return True

    def _swept(self, model, particles):
        """Return the states of rows after each of some sweeps of a model."""
        seen = []
        for _ in range(self.n_sweeps):
            self._n_calls += 1
            site = Site(self._stream.child(self._n_calls), START)
            particles = sweep(model, particles, 1, site, n_threads=self.work.n_threads)
            seen.append(list(particles.states))
        return seen


def row_distance(ratios):
    """Return how far two models are apart for rows that few others are like.

    Parameters
    ----------
    ratios : ndarray of shape (n_sweeps, n_rows)
        Log ratios of both models at rows that one of them moves.

    Returns
    -------
    float
        Where log ratios are near normal, the distance of :func:`deepgen.placed_rungs`: their
        standard deviation. The greater one of two: of all, and along a row, which stays in its
        mode, the greatest but for a few rows in a hundred.

    Notes
    -----
    Rates of swaps are those of most rows: where nine of ten rows are in a broad mode, they are fine
    although those of a tight mode find no way.
    """
    along = np.quantile(ratios.std(axis=0, ddof=1), 1.0 - FEW_ROWS)
    return max(float(ratios.std()), float(along))


def filled_ladder(ladder, model, farthest, climbers):
    """Return a ladder with further models on the straight lines between distant neighbours.

    Parameters
    ----------
    ladder : TrajectoryTempering
    model : BoltzmannMachine
        That is sampled.
    farthest : float
        The greatest distance of neighbours, as :func:`row_distance` measures it.
    climbers : Climbers
        At the lowest model of the ladder.

    Returns
    -------
    TrajectoryTempering
    """
    models = [ladder.models[0]]
    for following in [*ladder.models[1:], model]:
        # a straight line in halves, until the rows can walk it
        ahead = [(following, 0)]
        while ahead:
            goal, n_halvings = ahead.pop()
            free = n_halvings < MOST_HALVINGS and len(models) + len(ahead) < MOST_RUNGS
            if climbers.go_on(goal, farthest if free else np.inf):
                models.append(goal)
                continue
            middle = interpolated(climbers.model, goal, 0.5)
            ahead += [(goal, n_halvings + 1), (middle, n_halvings + 1)]
    return TrajectoryTempering(tuple(models[:-1]))


class _Rungs:
    """The rows of all rungs of a ladder, rung by rung, with all that a sweep of them needs.

    Parameters
    ----------
    models : list of BoltzmannMachine
        The one that is sampled first.
    chains : Chains
        Rows of a chain beside each other; not changed.
    context : Context or None
        With a row for each chain.
    work : Work
    """

    def __init__(self, models, chains, context, work):
        self.models, self.work, self.n_chains = models, work, len(chains) // len(models)
        layers = models[0].layers
        shape = (self.n_chains, len(models))
        # rung by rung, so that the rows of two neighbours lie in one piece
        self.states = [
            np.array(dense(x).reshape(*shape, -1).swapaxes(0, 1), units.state_dtype, order="C")
            for x, units in zip(chains.particles.states, layers, strict=True)
        ]
        context = _NO_CONTEXT if context is None else context
        context.check(layers, self.n_chains)
        context = with_trials(layers, [x[0] for x in self.states], context)
        self._contexts = [context.of_layer(l) for l in range(len(layers))]
        self._context = context
        self._of_pair = context.of_rows(np.tile(np.arange(self.n_chains), 2))
        self._chains = [model.chain for model in models]

    def climb(self, site):
        """Let every rung but the model's begin at rows that have come up from the lowest one.

        Each chain sends a few rows of its own, which are weighted and drawn anew at each model: a
        tight mode, whose rows a few sweeps of the next model would lose, keeps its mass.
        """
        several = self._context.of_rows(np.repeat(np.arange(self.n_chains), N_CLIMBERS))
        contexts = [several.of_layer(l) for l in range(len(self.states))]
        climbers = [np.repeat(x[-1], N_CLIMBERS, axis=0) for x in self.states]
        site = site._replace(first_row=site.first_row * N_CLIMBERS)
        lowest = self.models[-1]
        # without weights its rows are independent after one sweep
        n_sweeps = WARM_UP if any(w.any() for w in lowest.weights) else 1
        here = site._replace(stream=site.stream.child("climb"))
        for number in range(n_sweeps):
            sweep_in_place(
                lowest.chain, climbers, contexts, 1, here.of_sweep(number), work=self.work
            )
        self._begin(len(self.models) - 1, climbers)
        for rung in range(len(self.models) - 2, 0, -1):
            old = self.models[rung + 1]
            for step in range(1, STEPS + 1):
                new = self.models[rung]
                if step < STEPS:
                    new = interpolated(self.models[rung + 1], new, step / STEPS)
                here = site._replace(stream=site.stream.child(f"climb {rung} {step}"))
                climbers = self._redrawn(old, new, climbers, several, here)
                sweep_in_place(new.chain, climbers, contexts, 1, here, work=self.work)
                old = new
            self._begin(rung, climbers)

    def _begin(self, rung, climbers):
        """Let a rung begin at the first climber of each chain; all are alike."""
        for x, rows in zip(self.states, climbers, strict=True):
            x[rung] = rows[::N_CLIMBERS]

    def _redrawn(self, old, new, climbers, context, site):
        """Return climbers drawn by their weights, those of each chain apart."""
        gain = log_ratio(new, old, climbers, context=context, work=self.work)
        uniform = site.stream.child("choose").uniform(
            len(gain), 1, site.kind, first_row=site.first_row
        )
        chosen = drawn_by_weight(gain.reshape(-1, N_CLIMBERS), uniform.reshape(-1, N_CLIMBERS))
        chosen += np.arange(self.n_chains)[:, None] * N_CLIMBERS
        return [x[chosen.ravel()] for x in climbers]

    def pairs(self, turn):
        """Return the numbers of the upper rungs of the pairs whose turn it is."""
        return range(turn % 2, len(self.models) - 1, 2)

    def ratios(self, rung):
        """Return log ratios of a rung and the next one; see :meth:`TrajectoryTempering.steps`."""
        both = [x[rung : rung + 2].reshape(2 * self.n_chains, -1) for x in self.states]
        ratio = log_ratio(
            *self.models[rung : rung + 2], both, context=self._of_pair, work=self.work
        )
        return ratio[: self.n_chains], ratio[self.n_chains :]

    def swap(self, ratios, counts, site):
        """Offer each pair of this turn a swap; `counts` are changed."""
        if not ratios:
            counts["turn"] = counts["turn"] + 1
            return
        n_chains, n_rungs = self.n_chains, len(self.models)
        pairs = np.array([rung for rung, _, _ in ratios])
        gain = np.stack([lower - upper for _, upper, lower in ratios], axis=1)
        swapped = accepted_swaps(gain, pairs, n_rungs, site)
        is_back = counts["is_back"].reshape(n_chains, n_rungs).copy()
        for number, rung in enumerate(pairs):
            taken = np.flatnonzero(swapped[:, number])
            for x in self.states:
                x[rung, taken], x[rung + 1, taken] = x[rung + 1, taken], x[rung, taken]
            is_back[taken, rung : rung + 2] = is_back[taken, rung : rung + 2][:, ::-1]
        counts["is_back"] = is_back.ravel()
        count_swaps(
            counts, pairs, swapped, np.arange(n_chains * n_rungs).reshape(n_chains, n_rungs)
        )

    def sweep(self, site):
        """Move the rows of each rung by a Gibbs sweep of its own model."""
        for rung, chain in enumerate(self._chains):
            here = site._replace(stream=site.stream.child(f"rung {rung}"))
            states = [x[rung] for x in self.states]
            sweep_in_place(chain, states, self._contexts, 1, here, work=self.work)

    def particles(self):
        """Return the rows of each chain beside each other."""
        n_rows = self.n_chains * len(self.models)
        return unchecked_particles(
            [np.ascontiguousarray(x.swapaxes(0, 1)).reshape(n_rows, -1) for x in self.states]
        )


def drawn_by_weight(log_weights, uniform):
    """Return columns drawn in proportion to their weights, row by row.

    Parameters
    ----------
    log_weights : ndarray of shape (n_rows, n_columns), float64
    uniform : ndarray of shape (n_rows, n_draws)
        Uniform between 0 and 1, one for each draw.

    Returns
    -------
    ndarray of shape (n_rows, n_draws), intp
    """
    edges = np.cumsum(np.exp(log_weights - log_weights.max(axis=1, keepdims=True)), axis=1)
    above = uniform[:, :, None] * edges[:, -1:, None] > edges[:, None, :]
    return np.minimum(above.sum(axis=2), log_weights.shape[1] - 1)


def _check_form(model, first, name):
    """Raise ValueError unless two machines have layers of one form."""
    if [a.form for a in model.layers] != [a.form for a in first.layers]:
        raise ValueError(
            f"{name} must be of the form of models[0], {first}, got {model}; take models of one "
            "training"
        )
