"""Samplers that the library does not know, each in some 30 lines; and the list of all of them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import deepgen as dg
from deepgen.inference.gibbs import update_layer
from deepgen.inference.trajectories import interpolated


class RandomOrder:
    """Gibbs sampling whose layers come in an order drawn anew for each sweep."""

    takes_context = True

    def start(self, model, particles, site):
        """Chains that begin where particles are."""
        return dg.Chains(particles)

    def move(self, model, chains, site, *, n_sweeps, means, context, work):
        """Move chains on."""
        states, context = list(chains.particles.states), chains.around(context)
        for number in range(n_sweeps):
            here = site.of_sweep(number)
            for l in here.stream.child("order").permutation(model.n_layers, here.kind):
                _, states[l] = update_layer(
                    model, l, states, context=context, site=here, work=work
                )
        chains.particles = dg.Particles(states)
        return dg.MoveInfo()


@dataclass(frozen=True)
class Offers:
    """Metropolis: a layer drawn from biases, or from a share of its field, is offered each unit.

    With the field f = b + r of the layer and offers drawn at b + share r, the log weight of states
    x against their probability as an offer is (1 - share) r x. Such an independence chain has the
    layer's conditional distribution. It cannot hold entries.

    Parameters
    ----------
    share : float
    """

    share: float = 0.9

    def start(self, model, particles, site):
        """Chains that begin where particles are, with a count of accepted offers."""
        return dg.Chains(particles, further={"accepted": np.zeros(len(particles), np.int64)})

    def move(self, model, chains, site, *, n_sweeps, means, context, work):
        """Move chains on."""
        states, accepted = list(chains.particles.states), chains.further["accepted"].copy()
        for number in range(n_sweeps):
            here = site.of_sweep(number)
            for l, layer in enumerate(_layers_now(model)):
                received = 0.0
                for m, weights in _neighbours(model, l):
                    received = received + states[m].astype(np.float64) @ weights
                field = layer.bias + self.share * received
                stream = here.stream.child(f"offer {l}")
                offer = layer.sample(field, stream, first_row=here.first_row)
                gain = (1.0 - self.share) * (received * (offer - states[l].astype(np.float64)))
                uniform = here.stream.child(f"accept {l}").uniform(
                    len(offer), 1, here.kind, first_row=here.first_row
                )
                taken = np.log(uniform) < gain.sum(axis=1, keepdims=True)
                states[l] = np.where(taken, offer, states[l]).astype(layer.state_dtype)
                accepted += taken[:, 0]
        chains.particles, chains.further = dg.Particles(states), {"accepted": accepted}
        return dg.MoveInfo(diagnostics={"accepted": accepted})


@dataclass(frozen=True)
class Rungs:
    """Parallel tempering: of each chain a row at each temperature, and swaps of neighbours.

    Rows of one chain lie together, the model's first. A swap of rows a and b is accepted with the
    probability min(1, exp((beta_a - beta_b) (E_a - E_b))), even and odd pairs in turn.

    Parameters
    ----------
    betas : tuple of float
        Falling from 1.
    """

    betas: tuple = (1.0, 0.7, 0.4)
    takes_context: ClassVar[bool] = True

    def start(self, model, particles, site):
        """Chains whose rows all begin where the particles are."""
        n_chains, n_rungs = len(particles), len(self.betas)
        rows = dg.Particles([np.repeat(x, n_rungs, axis=0) for x in particles.states])
        counts = {"turn": np.zeros(1, np.int64), "swaps": np.zeros(n_rungs - 1, np.int64)}
        return dg.Chains(rows, np.tile(self.betas, n_chains), counts)

    def move(self, model, chains, site, *, n_sweeps, means, context, work):
        """Move chains on."""
        n_rungs = len(self.betas)
        context = repeated(context, n_rungs)
        swaps, (turn,) = chains.further["swaps"].copy(), chains.further["turn"]
        energy = energies(model, context, len(chains))
        for number in range(n_sweeps):
            here = site.of_sweep(number)
            here = here._replace(first_row=here.first_row * n_rungs)
            dg.Gibbs().move(model, chains, here, n_sweeps=1, context=context, work=work)
            a = np.arange(len(chains)).reshape(-1, n_rungs)[:, turn % 2 : -1 : 2]
            e = energy(chains.particles.states)
            uniform = here.stream.child("swap").uniform(
                len(chains), 1, here.kind, first_row=here.first_row
            )[a, 0]
            gain = (chains.beta[a] - chains.beta[a + 1]) * (e[a] - e[a + 1])
            swapped = np.log(uniform) < gain
            order = np.arange(len(chains))
            order[a[swapped]], order[a[swapped] + 1] = a[swapped] + 1, a[swapped]
            chains.particles = dg.Particles([x[order] for x in chains.particles.states])
            swaps[turn % 2 :: 2] += swapped.sum(axis=0)
            turn = turn + 1
        chains.further = {"turn": np.array([turn]), "swaps": swaps}
        return dg.MoveInfo(diagnostics={"swaps": swaps})


def _layers_now(model):
    """Layers with the parameters of now, which those of a run have elsewhere."""
    if isinstance(model, dg.BoltzmannMachine):
        return model.layers
    return model.to_model().layers


def _neighbours(model, layer):
    """Numbers of the neighbours of a layer, with the matrices that lead from them to it."""
    below = [(layer - 1, model.weights[layer - 1])] if layer else []
    above = [(layer + 1, model.weights[layer].T)] if layer < model.n_layers - 1 else []
    return below + above


def repeated(context, n_rungs):
    """A context with `n_rungs` rows for each row."""
    if context is None:
        return None

    def rows(x):
        return np.repeat(x, n_rungs, axis=0)

    return dg.Context(
        bias_rows={l: rows(x) for l, x in context.bias_rows.items()},
        held={l: rows(x) for l, x in context.held.items()},
        beta=None if context.beta is None else rows(context.beta),
    )


def energies(model, context, n_rows):
    """A function from states to the energy of each row, without what no temperature scales.

    That is the number of ways in which tied copies make their sum.
    """
    layers = _layers_now(model)
    extra, beta = ({}, None) if context is None else (context.bias_rows, context.beta)
    beta = np.ones(n_rows) if beta is None else beta

    def energy(states):
        x = [state.astype(np.float64) for state in states]
        total = -sum((extra[l] * x[l]).sum(axis=1) for l in extra)
        for layer, state in zip(layers, x, strict=True):
            precision = 0.0 if layer.precision is None else layer.precision
            total = total + (0.5 * precision * state**2 - layer.bias * state).sum(axis=1)
        for l, weights in enumerate(model.weights):
            total = total - ((x[l] @ weights) * x[l + 1]).sum(axis=1)
        return beta * total

    return energy


class AlongTheWay:
    """Trajectory tempering along the straight line from independent units to each model."""

    takes_context = True

    def _sampler(self, model):
        if not isinstance(model, dg.BoltzmannMachine):
            model = model.to_model()
        first = dg.independent(model)
        return model, dg.TrajectoryTempering((first, interpolated(first, model, 0.6)))

    def start(self, model, particles, site):
        """Chains whose rows all begin where the particles are."""
        model, sampler = self._sampler(model)
        return sampler.start(model, particles, site)

    def move(self, model, chains, site, **options):
        """Move chains on."""
        model, sampler = self._sampler(model)
        return sampler.move(model, chains, site, **options)


# By name: sampler, and whether means of the odd layers are asked for
SAMPLERS = {
    "gibbs": (dg.Gibbs(), False),
    "gibbs with means": (dg.Gibbs(), True),
    "random order": (RandomOrder(), False),
    "offers": (Offers(), False),
    "rungs": (Rungs(), True),
    "parallel tempering": (dg.ParallelTempering(3), True),
    "tempered transitions": (dg.TemperedTransitions(3), False),
    "coupled tempering": (dg.CoupledTempering(3, n_settling=60), False),
    "trajectory tempering": (AlongTheWay(), True),
}
WITH_CONTEXT = [name for name, (sampler, _) in SAMPLERS.items()
                if getattr(sampler, "takes_context", False)]  # fmt: skip
