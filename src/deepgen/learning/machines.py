"""Runs of Boltzmann machines: how a model starts, an update, and what to do if it goes wrong."""

import numpy as np

from deepgen.inference.samplers import moved_particles
from deepgen.layers.passes import Site
from deepgen.learning.loop import TrainingLoop
from deepgen.learning.rules import check_particles
from deepgen.models import Parameters
from deepgen.rows.particles import Particles
from deepgen.rows.states import dense
from deepgen.runtime.stream import BINARIZE, SAMPLE, Stream
from deepgen.runtime.work import Work

# Particles this many of the data's standard deviations away will not come back.
RUNAWAY = 1e6


class Trainer(TrainingLoop):
    """A run of learning: parameters, rule state, optimizer state, stream and place.

    A batch of :meth:`step` is rows of the first layer, array-like or states. Where the model
    observes its last layer too, it is a tuple of rows of both, or rows of the first alone: the last
    one is inferred then.

    Parameters
    ----------
    model : BoltzmannMachine
        Starting point.
    rule, optimizer
        See :mod:`deepgen.learning.rules`, :mod:`deepgen.learning.optimizers`.
    schedule : callable
        Learning rate by progress in [0, 1].
    stream : Stream
    batch_size : int
    binarize : bool, default False
        Draw binary states from grey values afresh at each presentation. Tied copies of a unit get
        one state, because they are copies of one pixel.
    n_threads : int or None

    Attributes
    ----------
    rule_state : RuleState
        Particles and offsets.
    n_updates, epoch, batch, history, rate_scale, whole, stopped, finished, frame, labels,
    reads_data
        See :class:`~deepgen.learning.loop.TrainingLoop`.
    """

    def __init__(
        self, model, rule, optimizer, schedule, *, stream, batch_size=100, binarize=False,
        n_threads=None,
    ):  # fmt: skip
        self.rule, self.binarize, self._some_rows = rule, binarize, None
        self.rule_state = self._start_rule(model, stream.child("rule"))
        super().__init__(
            Parameters(model, packed=True), optimizer, schedule, stream=stream,
            batch_size=batch_size, n_threads=n_threads,
        )  # fmt: skip

    def _start_rule(self, model, stream):
        about = {} if self._some_rows is None else {"rows": self._some_rows}
        return self.rule.start(model, stream, **about)

    def begin_trained(self, rows, n_sweeps):
        """Let the run begin from a model that has learned already.

        Centring starts from the means of some rows, which the biases of such a model no longer
        tell, and particles move towards the model before the first update: from independent units
        it would first unlearn.

        Parameters
        ----------
        rows : array-like or states of the first layer, (n_rows, n_units)
        n_sweeps : int
        """
        model = self.parameters.to_model()
        self._some_rows = model.layers[0].states_of(rows, "rows")
        self.rule_state = self._start_rule(model, self.stream.child("rule"))
        if self.rule_state.particles is not None:
            self.rule_state.particles = moved_particles(
                model, self.rule_state.particles, Site(self.stream.child("settle"), SAMPLE),
                n_sweeps=n_sweeps, sampler=getattr(self.rule, "sampler", None),
                work=Work(n_threads=self.n_threads),
            )  # fmt: skip

    def go_on(self, n_updates, history, particles, offsets):
        """Take over the place of an earlier run whose last model this one starts from.

        Its particles and offsets of centring are None where there were none, or are not known.
        """
        self.n_updates, self.history = n_updates, list(history)
        fresh = self.rule_state.particles
        if fresh is not None and particles is not None and len(fresh) == len(particles):
            self.rule_state.particles = particles
        if self.rule_state.offsets is not None and offsets is not None:
            self.rule_state.offsets = [offset.copy() for offset in offsets]

    def model(self):
        """Return the model that this run stands for: averaged where averaging has begun."""
        return self.parameters.to_model(self.optimizer_state["average"]["arrays"])

    def keep(self):
        """Return copies of the arrays that :meth:`model` is made of, and the particles."""
        particles = self.rule_state.particles
        states = particles and [array.copy() for array in particles.states]
        return {**super().keep(), "particles": states}

    def put_back(self, copies):
        """Go back to what :meth:`keep` returned; the optimizer begins anew."""
        super().put_back(copies)
        if copies["particles"]:
            self.rule_state.particles = Particles([array.copy() for array in copies["particles"]])

    @property
    def watchable(self):
        """Names that callbacks may watch in this run beside functions of its model, a frozenset.

        "machine": layers of units. "rows": their visible ones are the columns of the data, so
        held-out rows can be watched. "free_energy": there are two layers, so hidden units can be
        summed out.
        """
        told = {"machine"}
        if self.reads_data:
            told.add("rows")
        if self.parameters.n_layers == 2:
            told.add("free_energy")
        return frozenset(told)

    def _further_state(self):
        start = [layer.parameters() for layer in self.parameters.layers]
        return {"start": start, "rule": self.rule_state.tree()}

    def _take_over(self, state):
        layers = [
            layer.replace(**vectors)
            for layer, vectors in zip(self.parameters.layers, state["start"], strict=True)
        ]
        parameters = Parameters(self.parameters.model.replace(layers=layers), packed=True)
        parameters.restore(state["parameters"])
        rule_state = type(self.rule_state).from_tree(state["rule"])
        check_particles(rule_state, layers)
        self.parameters, self.rule_state = parameters, rule_state

    # --- learning -----------------------------------------------------------------------------

    def _update(self, batch, site, progress, work):
        if self.binarize:
            batch = self._binarized(batch)
        phases = self.rule.phases(
            self.parameters, batch, self.rule_state, site, context=None, work=work
        )
        overflow = self.optimizer.step(
            self.parameters, phases, self.optimizer_state, self._rate(progress), progress, work=work
        )
        return overflow, None

    def _checked(self, batch):
        """Return a batch as states that kernels read, after a check."""
        layers, observed = self.parameters.layers, self.parameters.model.observed
        if not isinstance(batch, tuple):
            return layers[0].states_of(batch, "batch")
        if observed != (0, len(layers) - 1) or len(batch) != 2:
            raise ValueError(
                "batch must be rows of the first layer, or a tuple of those and of the last layer "
                f"where the model observes both; got {len(batch)} parts, and the model observes "
                f"layers {observed}"
            )
        batch = tuple(
            layers[l].states_of(x, f"batch[{number}]")
            for number, (l, x) in enumerate(zip(observed, batch, strict=True))
        )
        counts = [x.shape[0] for x in batch]
        if len(set(counts)) != 1:
            raise ValueError(f"batch must have one number of rows for all layers, got {counts}")
        return batch

    def _check_particles(self):
        """Particles without bounds can run away long before a weight does."""
        particles = self.rule_state.particles
        for l, layer in enumerate(self.parameters.layers):
            if particles is not None and not layer.is_bounded:
                mean = layer.mean(layer.bias[None])
                away = np.abs(particles[l] - mean)
                if not (away < RUNAWAY * np.sqrt(layer.variance(mean))).all():
                    self._diverged(f"particles[{l}]")

    def _forget(self):
        # particles and velocities may hold what is not finite
        good = self.parameters.to_model()
        self.rule_state = self._start_rule(good, self.stream.child("diverged"))

    def _binarized(self, batch):
        if isinstance(batch, tuple):
            return self._binarized(batch[0]), *batch[1:]
        n_copies = self.parameters.layers[0].n_copies
        grey = dense(batch) / n_copies
        stream = Stream(self.stream.child("binarize").key, self.n_updates)
        drawn = stream.uniform(*grey.shape, BINARIZE) < grey
        return n_copies * drawn.astype(np.uint8)
