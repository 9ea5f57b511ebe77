"""A ladder of models in place of temperatures: chains that swap along the way of a training.

A narrow mode beside a broad one of the same mass loses all of it when temperature rises, at once;
models of an earlier epoch have no such edge, because the masses of modes follow the data all along.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deepgen.checks import as_list
from deepgen.inference.gibbs import sweep
from deepgen.inference.mean_field import field_from
from deepgen.inference.samplers import Chains, MoveInfo
from deepgen.inference.temperatures import means_at_model
from deepgen.inference.tempering import (
    WARM_UP,
    accepted_swaps,
    count_swaps,
    swap_counts,
    swap_report,
)
from deepgen.layers.context import Context, with_trials
from deepgen.layers.passes import Outputs, conditional_pass, layer_log_weight
from deepgen.models import BoltzmannMachine, check_model
from deepgen.rows.fingerprint import row_digests
from deepgen.rows.particles import unchecked_particles
from deepgen.runtime.work import ANY_WORK


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
    context = with_trials(model.layers, states, Context() if context is None else context)
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

    References
    ----------
    Bereux, Decelle, Furtlehner, Rosset & Seoane (2025), "Fast training and sampling of restricted
    Boltzmann machines", section 4.
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
        return Chains(
            unchecked_particles(rows), beta, swap_counts(len(particles), self.n_rungs)
        )

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
        """Move chains on; yield log weights of each sweep, as an estimate of log Z needs them.

        The chains are where they will be when the last weights have been taken.

        Yields
        ------
        list of tuple of ndarray of shape (n_chains,), float64
            By pair of neighbours, the model's first: ``log p*`` of the upper model less that of the
            lower one, at rows of the upper model and at rows of the lower one; before the swaps.
        """
        models, n_rungs, work = self.ladder(model), self.n_rungs, work.reusing()
        if context is not None:
            context.check(model.layers, len(chains) // n_rungs)
        counts = {name: x.copy() for name, x in chains.further.items()}
        states = [
            [np.ascontiguousarray(x[rung::n_rungs]) for x in chains.particles.states]
            for rung in range(n_rungs)
        ]
        if not counts["turn"][0]:
            for number in range(WARM_UP):
                here = site._replace(stream=site.stream.child(f"warm up {number}"))
                states = _moved(models, states, here, context, work)
        for number in range(n_sweeps):
            here = site.of_sweep(number)
            ratios = _ratios(models, states, context, work)
            _swap(states, ratios, counts, here)
            states = _moved(models, states, here, context, work)
            yield ratios
        n_rows = len(chains)
        rows = [np.stack(x, axis=1).reshape(n_rows, -1) for x in zip(*states, strict=True)]
        chains.particles, chains.further = unchecked_particles(rows), counts


def _check_form(model, first, name):
    """Raise ValueError unless two machines have layers of one form."""
    if [a.form for a in model.layers] != [a.form for a in first.layers]:
        raise ValueError(
            f"{name} must be of the form of models[0], {first}, got {model}; take models of one "
            "training"
        )


def _ratios(models, states, context, work):
    """Return log ratios of neighbouring models, see :meth:`TrajectoryTempering.steps`."""
    options = {"context": context, "work": work}
    own = [log_weight(m, x, **options) for m, x in zip(models, states, strict=True)]
    ratios = []
    for rung in range(len(models) - 1):
        at_lower = log_weight(models[rung], states[rung + 1], **options)
        at_upper = log_weight(models[rung + 1], states[rung], **options)
        ratios.append((own[rung] - at_upper, at_lower - own[rung + 1]))
    return ratios


def _swap(states, ratios, counts, site):
    """Offer each pair of this turn a swap; states and counts are changed."""
    n_chains, n_rungs = len(ratios[0][0]), len(states)
    pairs = np.arange(counts["turn"][0] % 2, n_rungs - 1, 2)
    gain = np.array([ratios[r][1] - ratios[r][0] for r in pairs]).reshape(len(pairs), n_chains).T
    swapped = accepted_swaps(gain, pairs, n_rungs, site)
    is_back = counts["is_back"].reshape(n_chains, n_rungs).copy()
    for number, rung in enumerate(pairs):
        taken = swapped[:, number]
        for l, (x, y) in enumerate(zip(states[rung], states[rung + 1], strict=True)):
            states[rung][l] = np.where(taken[:, None], y, x)
            states[rung + 1][l] = np.where(taken[:, None], x, y)
        upper, lower = is_back[:, rung].copy(), is_back[:, rung + 1].copy()
        is_back[:, rung] = np.where(taken, lower, upper)
        is_back[:, rung + 1] = np.where(taken, upper, lower)
    counts["is_back"] = is_back.ravel()
    count_swaps(counts, pairs, swapped, np.arange(n_chains * n_rungs).reshape(n_chains, n_rungs))


def _moved(models, states, site, context, work):
    """Return the states by rung after a Gibbs sweep of each rung's own model."""
    around, moved = Context() if context is None else context, []
    for rung, (model, x) in enumerate(zip(models, states, strict=True)):
        here = site._replace(stream=site.stream.child(f"rung {rung}"))
        particles = sweep(
            model, unchecked_particles(x), 1, here, context=around, n_threads=work.n_threads
        )
        moved.append(list(particles.states))
    return moved
