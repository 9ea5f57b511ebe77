"""Runs of Boltzmann machines: how a model starts, an update, and what to do if it goes wrong."""

from itertools import islice, pairwise

import numpy as np

from deepgen.checks import check_instance, has_role
from deepgen.inference.running import moved_particles
from deepgen.layers.context import Context
from deepgen.layers.passes import Site
from deepgen.learning.gradients import RowGradients, check_phases
from deepgen.learning.loop import TrainingLoop, Update
from deepgen.learning.optimizers import GradientOptimizer, check_optimizer
from deepgen.learning.rule_states import check_particles
from deepgen.learning.rules import takes_holes
from deepgen.learning.sums import WeighedPhases, phase_sums
from deepgen.learning.whole_updates import whole_updates
from deepgen.models import Parameters
from deepgen.rows.batch import Batch, ByteRows, check_batch, with_checked_states
from deepgen.rows.holes import filled, holes_in
from deepgen.rows.particles import Particles, unchecked_particles
from deepgen.rows.states import ChosenRows, dense
from deepgen.runtime.collective import (
    Alone,
    any_of,
    part_of,
    require_shards,
    shard_bounds,
    sum_of_shards,
)
from deepgen.runtime.stream import BINARIZE, SAMPLE, Stream
from deepgen.runtime.work import Work

# Particles this many of the data's standard deviations away will not come back.
RUNAWAY = 1e6
# Of means in steps, which layers above the first one have.
MOST_STEPS = 255


class Trainer(TrainingLoop):
    """A run of learning: parameters, rule state, optimizer state, stream and place.

    States of a batch are rows of the first layer, array-like or states. Where the model observes
    its last layer too, they are rows of both, or of the first alone: the last one is inferred then.

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
        self._n_chains = None  # of all processes, while each has a part of them
        self._descends = False  # until the rule gives gradients by name, which the optimizer takes
        self.rule_state = self._start_rule(model, stream.child("rule"))
        super().__init__(
            Parameters(model, packed=True), optimizer, schedule, stream=stream,
            batch_size=batch_size, n_threads=n_threads,
        )  # fmt: skip

    _of_process = (*TrainingLoop._of_process, "_whole", "_whole_of", "_gathers")

    def _begin_process(self):
        super()._begin_process()
        self._whole, self._whole_of = None, ()  # until it is known what makes whole updates
        self._gathers = False  # whether the kernel gathers the rows of this epoch

    def _start_rule(self, model, stream):
        about = {} if self._some_rows is None else {"rows": self._some_rows}
        return self.rule.start(model, stream, **about)

    def _take_lengths(self, batch):
        """Let particles have the lengths of the first rows, where rows have lengths of their own.

        Particles of the usual length alone would be those of another model. Those that have others
        already were put there, and stay.
        """
        units, particles = self.parameters.layers[0], self.rule_state.particles
        if not units.takes_trials or particles is None or self._some_rows is not None:
            return
        if (units.trials_of(particles[0]) == units.usual_trials).all():
            self._some_rows = batch.states[0]
            model = self.parameters.to_model()
            self.rule_state = self._start_rule(model, self.stream.child("rule"))

    def begin_trained(self, rows, n_sweeps):
        """Let the run begin from a model that has learned already.

        Centring starts from the means of some rows, which the biases of such a model no longer
        tell, and particles move towards the model before the first update: from independent units
        it would first unlearn.

        Parameters
        ----------
        rows : array-like or states of the first layer, (n_rows, n_units)
            Drawn at random: the first rows of a file that is sorted by topic are of one topic, and
            the offset of the first layer would stay at its mean.
        n_sweeps : int
        """
        model = self.parameters.to_model()
        self._some_rows = model.layers[0].states_of(rows, "rows", holes=True)
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
        particles = self.all_particles()
        states = particles and [array.copy() for array in particles.states]
        return {**super().keep(), "particles": states}

    def put_back(self, copies):
        """Go back to what :meth:`keep` returned; the optimizer begins anew."""
        super().put_back(copies)
        if copies["particles"]:
            self.rule_state.particles = self._own(
                Particles([array.copy() for array in copies["particles"]])
            )

    # --- several processes --------------------------------------------------------------------

    def all_particles(self):
        """Return the particles of all processes of the run, in each of them; None without any."""
        particles = self.rule_state.particles
        if particles is None or self._n_chains is None:
            return particles
        pieces = self.collective.gather(particles.states)
        return unchecked_particles([np.concatenate(x) for x in zip(*pieces, strict=True)])

    def _own(self, particles):
        """Return those of all particles that this process moves."""
        if self._n_chains is None:
            return particles
        rows = part_of(self._n_chains, self.collective)
        return unchecked_particles([x[rows] for x in particles.states])

    def _share(self):
        chains = getattr(self.rule_state, "chains", None)
        if isinstance(self.collective, Alone) or chains is None:
            return
        self._is_common = True  # what is refused here
        if chains.beta is not None or chains.further:
            raise ValueError(
                "rule must move chains that do not depend on each other, as dg.Gibbs() does, where "
                f"processes share them, got {self.rule!r}; leave communicator out"
            )
        if self.parameters.layers[0].takes_trials:
            raise ValueError(
                "communicator must be None where rows are documents, whose particles have the "
                "lengths of rows that another process may have"
            )
        self._is_common, self._n_chains = False, len(chains)
        chains.particles = self._own(chains.particles)
        chains.first_row = part_of(self._n_chains, self.collective).start

    def _join(self):
        if self._n_chains is not None:
            chains, particles = self.rule_state.chains, self.all_particles()
            chains.particles, chains.first_row = particles, 0
            self._n_chains = None

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
        start = [{**layer.parameters(), **layer.measures()} for layer in self.parameters.layers]
        rule = self.rule_state.tree()
        if self._n_chains is not None:  # a checkpoint is one of any number of processes
            rule["particles"] = list(self.all_particles().states)
        return {"start": start, "rule": rule}

    def _take_over(self, state):
        layers = [
            layer.replace(**vectors)
            for layer, vectors in zip(self.parameters.layers, state["start"], strict=True)
        ]
        parameters = Parameters(self.parameters.model.replace(layers=layers), packed=True)
        parameters.restore(state["parameters"])
        rule_state = type(self.rule_state).from_tree(state["rule"])
        check_particles(rule_state, layers)
        self.parameters, self.rule_state, self._n_chains = parameters, rule_state, None

    # --- learning -----------------------------------------------------------------------------

    @property
    def updates_at_once(self):
        """See :class:`TrainingLoop`: more than one where a kernel makes whole updates."""
        # who wants to hear of each update hears of it before the next one
        if not self._gathers or self._hooks.watch_updates:
            return 1
        return self._whole_updates().at_once(self.batch_size)

    def _whole_updates(self):
        """Return the :class:`WholeUpdates` of this run; None where no kernel has a plan for it."""
        of = (self.parameters, self.rule_state, self.optimizer, self.stream)
        if self._whole is None or any(a is not b for a, b in zip(self._whole_of, of, strict=True)):
            self._whole_of, self._whole = of, [whole_updates(self.rule, *of)]
        return self._whole[0]

    def _coming(self, rows, order):
        whole = rows.plain_bytes() if has_role(rows, ByteRows) else None
        self._gathers = not (whole is None or self.binarize or self._whole_updates() is None)
        if not self._gathers:
            return super()._coming(rows, order)
        numbers = islice(rows.orders(self.batch_size, order), self.batch, None)
        return (Batch((ChosenRows(whole, chosen),)) for chosen in numbers)

    def _updates(self, updates, work):
        while updates:
            whole, made = self._whole_updates(), 0
            if self.binarize:
                batch, site, progress = updates[0]
                updates[0] = Update(self._binarized(batch, site), site, progress)
            if whole is not None:
                count = whole.count(updates, self.optimizer_state)
                if count:
                    rates = [self._rate(progress) for _, _, progress in updates[:count]]
                    made, overflow = whole.make(updates[:count], rates, self.optimizer_state, work)
                for number in range(made):
                    self.learning_rate = rates[number]
                    yield overflow and number == made - 1, None
            if not made:
                yield self._composed(*updates[0], work)
            updates = updates[made or 1 :]

    def _composed(self, batch, site, progress, work):
        """Make one update from what rule and optimizer do one after the other."""
        layers = self.parameters.layers
        if isinstance(batch.states[0], ChosenRows):
            rows = batch.states[0].gathered()
            batch = batch.with_states(layers[0].states_of(rows, "batch"))
        if self.n_updates == 0:
            self._take_lengths(batch)
        result = self.rule.phases(self.parameters, batch, self.rule_state, site, work=work)
        rate = self._rate(progress)
        if isinstance(result, RowGradients):
            return self._descend(result, batch, rate, progress, work)
        check_phases(result, layers, batch)
        statistics = result
        if result.shares is not None and not batch.is_part:
            statistics = WeighedPhases(result)
        elif batch.is_part or not result.has_equal_rows:
            statistics = self._summed(result, batch, work)
        overflow = self.optimizer.step(
            self.parameters, statistics, self.optimizer_state, rate, progress, work=work
        )
        return overflow, None

    def _summed(self, phases, batch, work):
        """Return the sums of an update's phases, over all processes where the batch is a part."""
        if not batch.is_part:
            return phase_sums(self.parameters, phases, work=work)
        whole = self._has_whole_sums(phases, batch)
        if batch.shards is None or whole:
            sums = phase_sums(self.parameters, phases, work=work)
            self.collective.sum(sums.buffer, most=self._largest_sum(batch) if whole else np.inf)
        else:
            sums = self._sums_by_shard(phases, batch, work)
        if batch.shards is None and sums.n_rows[0] != batch.n_whole:
            raise ValueError(
                f"the processes of a run must have n_whole={batch.n_whole} rows of a batch "
                f"together, got {sums.n_rows[0]:.0f}; give each its trainer's `collective`"
            )
        # where no row counts, there is no mean to follow
        if phases.follow is not None and sums.weight["positive"][0]:
            sums.bias_terms = phases.follow(sums.positive_means())
        return sums

    def _largest_sum(self, batch):
        """Return the largest sum over the rows of a phase that whole numbers can come to."""
        n_rows = max(batch.n_whole, self._n_chains or 0)
        lowest = int(self.parameters.layers[0].largest_state) * MOST_STEPS
        return n_rows * (lowest if self.parameters.n_layers == 2 else max(lowest, MOST_STEPS**2))

    def _has_whole_sums(self, phases, batch):
        """Tell whether sums over rows are whole numbers, as far as all processes know it alike.

        Not by the states of this process alone: means that are not finite are no bytes.
        """
        parameters = self.parameters
        return (
            phases.has_equal_rows
            and phases.shares is None
            and all(getattr(x, "dtype", None) == np.uint8 for x in batch.states if x is not None)
            and all(units.state_dtype == np.uint8 for units in parameters.layers)
            and all(map(parameters.has_packed, range(1, parameters.n_layers)))
        )

    def _sums_by_shard(self, phases, batch, work):
        """Return the sums over all processes of numbers that are not whole: shard by shard."""
        require_shards(self.collective, "layers of real values, or rows of weights or means")
        own = batch.shards
        if self._n_chains is not None:
            own = np.diff(shard_bounds(self._n_chains, self.collective))
        cuts = [np.cumsum([0, *lengths]) for lengths in (batch.shards, own)]
        buffers = []
        for positive, negative in zip(*map(pairwise, cuts), strict=True):
            sums = phase_sums(
                self.parameters, phases.rows(slice(*positive), slice(*negative)), work=work
            )
            buffers.append(sums.buffer)
        sum_of_shards(self.collective, buffers, sums.buffer)
        return sums

    def _descend(self, gradients, batch, rate, progress, work):
        """Make an update from a rule's gradients by name."""
        if not self._descends:
            check_optimizer(self.optimizer, GradientOptimizer)
            self._descends = True
        if batch.is_part:
            gradients.add_up(self.collective)
        overflow = self.optimizer.descend(
            self.parameters, gradients.by_name(), self.optimizer_state, rate, progress, work=work
        )
        self.parameters.refresh(work.n_threads)
        if gradients.value is None:
            return overflow, None
        value = gradients.value / max(gradients.n_rows, 1e-300)
        return overflow or not np.isfinite(value), value

    def _checked(self, batch):
        layers, observed = self.parameters.layers, self.parameters.model.observed
        check_batch(batch)
        states, context, holes = batch.states, batch.context, takes_holes(self.rule)
        if isinstance(states[0], ChosenRows):  # of rows that were surveyed
            return batch
        if len(states) == 2 and states[1] is None:
            states = states[:1]
        if len(states) > 1 and (observed != (0, len(layers) - 1) or len(states) != 2):
            raise ValueError(
                "states of a batch must be rows of the first layer, or of that and the last layer "
                f"where the model observes both; got {len(states)} parts, and the model observes "
                f"layers {observed}"
            )
        if len(states) == 1:
            states = [layers[0].states_of(states[0], "batch", holes=holes)]
        else:
            states = [
                layers[l].states_of(x, f"states[{number}]", holes=holes and l == 0)
                for number, (l, x) in enumerate(zip(observed, states, strict=True))
            ]
        batch = with_checked_states(batch, states)
        if context is not None:
            check_instance(context, "context", Context, "a dg.Context or None")
            context.check(layers, batch.n_rows)
            for l, x in zip((0, len(layers) - 1), states, strict=False):
                context.check_pattern(l, x)
        return batch

    def _check_particles(self):
        """Particles without bounds can run away long before a weight does."""
        particles = self.rule_state.particles
        for l, layer in enumerate(self.parameters.layers):
            if particles is not None and not layer.is_bounded:
                mean = layer.mean(layer.bias[None])
                away = np.abs(particles[l] - mean)
                near = (away < RUNAWAY * np.sqrt(layer.variance(mean))).all()
                if any_of(self.collective, not near):
                    self._diverged(f"particles[{l}]")

    def _forget(self):
        # particles and velocities may hold what is not finite
        good = self.parameters.to_model()
        self.rule_state = self._start_rule(good, self.stream.child("diverged"))
        self._n_chains = None

    def _binarized(self, batch, site):
        """Return a batch with states drawn from its grey values."""
        n_copies = self.parameters.layers[0].n_copies
        grey = dense(batch.states[0]) / n_copies
        stream = Stream(self.stream.child("binarize").key, site.position)
        drawn = stream.uniform(*grey.shape, BINARIZE, first_row=batch.first_row) < grey
        drawn, holes = n_copies * drawn.astype(np.uint8), holes_in(grey)
        return batch.with_states(filled(drawn, holes, np.nan), *batch.states[1:])
