"""Log Z along a path of models: annealing from each model of a training to the next."""

import itertools
import math

import numpy as np

from deepgen.checks import check_integer
from deepgen.inference.gibbs import (
    check_particles,
    gibbs,
    start_particles,
    update_layer,
)
from deepgen.inference.trajectories import independent, interpolated, log_weight
from deepgen.layers.passes import Site
from deepgen.likelihood.annealing import mean_weight
from deepgen.likelihood.bracket import ERRORS
from deepgen.likelihood.bridge import bridge
from deepgen.likelihood.exact import LogPartition
from deepgen.models import check_model
from deepgen.rows.particles import Particles
from deepgen.runtime.stream import ANNEAL, Stream
from deepgen.runtime.threads import Governor, check_threads
from deepgen.runtime.work import Work

# Sweeps at a new model before its samples are annealed back.
SETTLE = 20


class Trajectory:
    """Chains that follow a model wherever it moves, and the log Z that they tell.

    From one model to the next, chains are annealed along the straight line between the natural
    parameters, forward from samples of the old model and back from samples of the new one; the
    bridge between both (Bennett 1976) gives the change of log Z.

    Parameters
    ----------
    model : BoltzmannMachine
        Where the path begins. Its weights are taken as zero: log Z is known there.
    n_chains : int
    random_state : int, RandomState, Generator or None
    n_threads : int or None

    References
    ----------
    Béreux, Decelle, Furtlehner, Rosset & Seoane (2025), "Fast training and sampling of
    restricted Boltzmann machines", on estimates along the trajectory of learning.
    """

    def __init__(self, model, n_chains=100, *, random_state=None, n_threads=None):
        check_model(model)
        check_integer(n_chains, "n_chains")
        check_threads(n_threads)
        self._stream = Stream.from_random_state(random_state)
        self._n_threads = n_threads
        self._moves = 0
        self._model = independent(model)
        layers = self._model.layers
        self._particles = start_particles(self._model, n_chains, self._stream.child("start"))
        self._value = sum(float(layer.log_normalizer(layer.bias[None])[0]) for layer in layers)
        self._variance = 0.0

    def state(self):
        """Return where the path is, as plain data and arrays that nobody changes."""
        return {
            "stream": {"key": self._stream.key, "position": self._stream.position},
            "moves": self._moves,
            "layers": [layer.parameters() for layer in self._model.layers],
            "weights": list(self._model.weights),
            "particles": list(self._particles.states),
            "value": float(self._value),
            "variance": float(self._variance),
        }

    @classmethod
    def from_state(cls, state, model, *, n_threads=None):
        """Return the path that :meth:`state` was called on.

        Parameters
        ----------
        state : dict
        model : BoltzmannMachine
            One with the same layers; its parameters do not matter.
        n_threads : int or None
        """
        path = cls(model, len(state["particles"][0]), random_state=0, n_threads=n_threads)
        layers = [
            layer.replace(**vectors)
            for layer, vectors in zip(model.layers, state["layers"], strict=True)
        ]
        path._stream, path._moves = Stream(**state["stream"]), state["moves"]
        path._model = model.replace(layers=layers, weights=state["weights"])
        path._particles = Particles(state["particles"])
        path._value, path._variance = state["value"], state["variance"]
        return path

    def advance(self, model, n_steps, particles=None):
        """Move on to another model of the same shape.

        Parameters
        ----------
        model : BoltzmannMachine
        n_steps : int
            Steps of the way, each with one sweep.
        particles : Particles or None
            Chains near the new model's distribution, training particles say; as many as there
            are chains are taken. None: the chains themselves go on.

        Returns
        -------
        LogPartition
            At `model`; the interval is 3 standard errors, which add up along the path. It does
            not know of chains that no longer are samples.
        """
        check_model(model)
        check_integer(n_steps, "n_steps")
        if [a.form for a in model.layers] != [a.form for a in self._model.layers]:
            raise ValueError(
                f"model must be of the form of the first, {self._model}, got {model}"
            )
        if particles is not None:
            check_particles(model, particles)
            if not len(particles):
                raise ValueError("particles must hold at least one chain, got none")
        self._moves += 1
        stream = self._stream.child(self._moves)
        n = len(self._particles)
        way = [interpolated(self._model, model, k / n_steps) for k in range(1, n_steps)]
        way = [self._model, *way, model]
        forward, ends = self._anneal(way, self._particles, stream.child("forward"))
        clusters = np.arange(n)  # descendants of the forward chains
        if particles is not None:
            chosen = np.arange(n) % len(particles)
            ends = Particles([x[chosen] for x in particles.states])
            clusters = n + chosen
        ends = gibbs(
            model, ends, SETTLE, random_state=stream.child("settle"), n_threads=self._n_threads
        )
        reverse, _ = self._anneal(way[::-1], ends, stream.child("reverse"))
        ratio, error = bridge(forward, reverse, clusters=clusters)
        self._model, self._particles = model, ends
        self._value += ratio
        self._variance += error**2
        reach = ERRORS * math.sqrt(self._variance)
        return LogPartition(
            self._value, self._value - reach, self._value + reach, forward,
            mean_weight(forward).ess, "trajectory",
        )  # fmt: skip

    def _anneal(self, way, particles, stream):
        """Move particles through the models of `way`; return log weights and last states."""
        states, log_weights = list(particles.states), np.zeros(len(particles))
        governor = Governor(self._n_threads)
        for number, (old, new) in enumerate(itertools.pairwise(way)):
            work = Work(n_threads=governor.next())
            site = Site(stream.advanced(number), ANNEAL)
            log_weights -= log_weight(old, states, work=work)
            log_weights += log_weight(new, states, site=site, work=work)
            for l in range(0, new.n_layers, 2):
                _, states[l] = update_layer(new, l, states, site=site, work=work)
            governor.done()
        return log_weights, Particles(states)
