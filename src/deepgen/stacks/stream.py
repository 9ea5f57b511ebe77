"""A stack that learns from a stream: every machine makes an update for every batch."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from deepgen.inference.gibbs import update_layer
from deepgen.inference.mean_field import completed_by_means
from deepgen.layers.passes import Site
from deepgen.learning.machines import Trainer
from deepgen.learning.rules import takes_holes
from deepgen.rows.survey import survey
from deepgen.runtime.stream import DATA, Stream, child_seed, seed_of
from deepgen.runtime.work import Work
from deepgen.stacks.features import FeatureRows
from deepgen.stacks.starts import first_machine, turned_over


class StackStream:
    """A stack that learns from a stream: each batch is one update of every machine.

    A machine reads the features of those below as they are then.

    Parameters
    ----------
    machines : sequence of BoltzmannMachine
        Where it starts, bottom first.
    settings : sequence of Pretraining
        One for each machine.
    random_state : int, RandomState, Generator or None
        Machine `l` takes ``child_seed(random_state, l)``.
    n_threads : int or None

    Attributes
    ----------
    trainers : list of Trainer
    history : list of dict
        Of an earlier run that this one goes on from.
    frame : dict
        See :attr:`deepgen.learning.loop.TrainingLoop.frame`.
    """

    def __init__(self, machines, settings, *, random_state=None, n_threads=None):
        seed, self.settings = seed_of(random_state), list(settings)
        self.n_threads, self.history, self.frame = n_threads, [], {}
        self.trainers = [
            Trainer(
                machine, each.rule, each.optimizer, each.stream_schedule(machine.layers, 1),
                stream=Stream.from_random_state(child_seed(seed, l)),
                binarize=each.binarize and l == 0, n_threads=n_threads,
            )
            for l, (machine, each) in enumerate(zip(machines, self.settings, strict=True))
        ]  # fmt: skip

    @classmethod
    def begin(cls, rows, layers, settings, *, random_state=None, n_threads=None):
        """Return a stack that starts from the moments of its first rows.

        Parameters
        ----------
        rows : ArrayRows
        layers : sequence of Units
        settings, random_state, n_threads
            See :class:`StackStream`.
        """
        seed, machines = seed_of(random_state), []
        for l, each in enumerate(settings):
            if l:
                drawn = each.features == "samples"
                rows = FeatureRows(
                    rows, machines[-1], l - 1, drawn=drawn, n_threads=n_threads
                )
            holes = l == 0 and takes_holes(each.rule)
            moments = survey(rows, layers[l], n_threads=n_threads, holes=holes)
            stream = Stream.from_random_state(child_seed(seed, l))
            machine = first_machine(layers[l], layers[l + 1], moments, stream)
            if l and each.transposed:
                machine = turned_over(machine, machines[-1])
            machines.append(machine)
        return cls(machines, settings, random_state=seed, n_threads=n_threads)

    @classmethod
    def blank(cls, layers, settings, *, random_state=None, n_threads=None):
        """Return a stack of these layers that a state can be read into."""
        seed, machines = seed_of(random_state), []
        for l, pair in enumerate(pairwise(layers)):
            zeros, stream = np.zeros(pair[0].size), Stream.from_random_state(child_seed(seed, l))
            machines.append(first_machine(*pair, (1, zeros, zeros + 1.0), stream))
        return cls(machines, settings, random_state=seed, n_threads=n_threads)

    @property
    def n_updates(self):
        """Updates of each machine so far."""
        return [trainer.n_updates for trainer in self.trainers]

    @property
    def particles(self):
        """Particles of the uppermost machine, or None."""
        return self.trainers[-1].rule_state.particles

    def stack(self):
        """Return the machines as they are now, bottom first."""
        return [trainer.model() for trainer in self.trainers]

    def go_on(self, n_updates, history, particles):
        """Take over the place of an earlier run: updates by layer, particles of the uppermost."""
        self.history, top = list(history), len(self.trainers) - 1
        for l, trainer in enumerate(self.trainers):
            trainer.go_on(n_updates[l], [], particles if l == top else None, None)

    def state(self):
        """Return all that decides how the stream goes on; see :meth:`Trainer.state`."""
        return {
            "machines": [trainer.state() for trainer in self.trainers], "history": self.history
        }  # fmt: skip

    def restore(self, state):
        """Go on from what :meth:`state` returned, in a stack made with the same settings.

        Raises
        ------
        ValueError
            If the state is not one of such a stack.
        """
        self.history = list(state["history"])
        for trainer, each in zip(self.trainers, state["machines"], strict=True):
            trainer.restore(each)

    def step(self, batch):
        """Make one update of every machine, bottom first.

        Parameters
        ----------
        batch : Batch
            Of states of the visible layer.
        """
        for l, trainer in enumerate(self.trainers):
            each = self.settings[l]
            if l:
                batch = self._features(l, batch)
            trainer.schedule = each.stream_schedule(trainer.parameters.layers, batch.n_rows)
            trainer.step(batch, None)

    def _features(self, l, batch):
        """Return the batch that machine `l` learns from: features by the machine below.

        A context is read here, as by :class:`~deepgen.stacks.features.FeatureRows`.
        """
        below, trainer = self.trainers[l - 1], self.trainers[l]
        drawn = self.settings[l].features == "samples"
        site = None
        if drawn:
            stream = Stream(trainer.stream.child("features").key, trainer.n_updates)
            site = Site(stream, DATA, batch.first_row)
        work = Work(n_threads=self.n_threads)
        states = completed_by_means(below.parameters, batch.states[0], work=work)
        means, draws = update_layer(
            below.parameters, 1, [states, None], context=batch.context, mean=not drawn, site=site,
            work=work,
        )  # fmt: skip
        return replace(batch, states=(draws if drawn else means,), context=None)
