"""Greedy pretraining: learn a layer, freeze it, treat its features as data."""

import math
from itertools import pairwise

from deepgen.io.schemas import registry
from deepgen.learning.evidence import Evidence
from deepgen.learning.hooks import callbacks_for
from deepgen.learning.machines import Trainer
from deepgen.learning.rules import takes_holes
from deepgen.models import BoltzmannMachine
from deepgen.rows.survey import survey
from deepgen.runtime.collective import ALONE
from deepgen.runtime.stream import Stream, child_seed, seed_of
from deepgen.stacks.composition import copies_in, tied_copies
from deepgen.stacks.features import DoubledRows, FeatureRows, kept_in_memory
from deepgen.stacks.settings import check_layers, settings_by_layer
from deepgen.stacks.starts import RATE_TURNED_OVER, first_machine, state_turned_over, turned_over


class StackTrainer:
    """A greedy run from the bottom up: finished machines, and the run of the next one.

    Machine `l` trains with ``child_seed(random_state, l)`` on the features of the machine below.
    Each is a run of its own: callbacks begin and end with it, and one that asks for the end ends
    the training of that layer. Lines of the history say ``layer``, from 0.

    Parameters
    ----------
    rows : ArrayRows or IterableRows
    layers : sequence of Units
        The visible layer and the hidden ones, each with a size.
    settings : Pretraining or sequence of Pretraining
        One for all machines, or one for each.
    moments : tuple of (n_rows, mean, variance) or None
        Those of the rows. None: they are measured here.
    random_state : int, RandomState, Generator or None
    frame : dict or None
        What checkpoints keep around the run (:attr:`deepgen.learning.loop.TrainingLoop.frame`); the
        finished machines are added to it as ``"stack"``.
    tied : bool, default False
        Train machines that :func:`deepgen.compose` makes a deep Boltzmann machine of, with tied
        copies (:func:`deepgen.stacks.composition.tied_copies`). `layers`, `rows` and `moments` are
        of that model and its data, as without copies: where a visible layer has two copies, its
        rows are doubled here. Features are those of one copy. Default learning rates are divided
        by the numbers of copies.
    n_threads : int or None

    Attributes
    ----------
    machines : list of BoltzmannMachine
        Finished ones below the one that learns, bottom first.
    trainer : Trainer
        That of the machine that learns; after `fit`, that of the topmost one.
    """

    def __init__(
        self, rows, layers, settings, *, moments=None, random_state=None, frame=None, tied=False,
        n_threads=None,
    ):  # fmt: skip
        self.layers, self.n_threads = list(layers), n_threads
        self.settings = settings_by_layer(settings, len(self.layers) - 1)
        check_layers(self.layers, self.settings, tied=tied)
        self.seed, self._frame, self._callbacks = seed_of(random_state), frame or {}, ()
        self._copies, self._pairs = [(1, 1)] * len(self.settings), list(pairwise(self.layers))
        if tied:
            self._copies, self._pairs = copies_in(self.layers), tied_copies(self.layers)
        self._moments = moments or survey(
            rows, self.layers[0], n_threads=n_threads, holes=takes_holes(self.settings[0].rule)
        )
        if tied:  # the precision that one copy has, if it has one, is known with the data
            n_rows, mean, variance = self._moments
            fitted = self.layers[0].fitted_to(mean, variance, n_rows)
            self._pairs = tied_copies([fitted, *self.layers[1:]])
        self._rows, self._data_rows, self._known = self._read_by(0, rows), rows, None
        self._collective = ALONE
        self._start([], self._rows)

    def evidence(self):
        """Return the :class:`Evidence` of the rows, measured once and only if it is asked for."""
        if self._known is None:
            self._known = Evidence.of_rows(self._data_rows, self.layers[0], self._moments)
        return self._known

    @property
    def collective(self):
        """The processes that share the run; see :class:`TrainingLoop`. Set it before `attach`."""
        return self._collective

    @collective.setter
    def collective(self, collective):
        self._collective = self.trainer.collective = collective

    @property
    def n_rows(self):
        """Rows of an epoch."""
        return self._moments[0]

    @property
    def history(self):
        """One entry an epoch, of all layers so far."""
        return self.trainer.history

    @property
    def n_updates(self):
        """Updates of each machine so far."""
        ends = {entry["layer"]: entry["n_updates"] for entry in self.history}
        return [*(ends[l] for l in range(len(self.machines))), self.trainer.n_updates]

    @property
    def particles(self):
        """Particles of the machine that learns, or None."""
        return self.trainer.rule_state.particles

    def stack(self):
        """Return the machines so far, bottom first, the one that learns as it is now."""
        return [*self.machines, self.trainer.model()]

    def attach(self, callbacks):
        """Take callbacks along; whatever they raise of the present layer is raised now."""
        self._callbacks = tuple(callbacks)
        self.trainer.attach(callbacks_for(self._callbacks, self.trainer))

    def restore(self, state):
        """Go on from a checkpoint.

        Parameters
        ----------
        state : dict
            ``"stack"``: the finished machines of its frame; ``"trainer"``: its state.

        Raises
        ------
        ValueError
            If they are none of such a run.
        """
        machines = [registry.from_tree(tree) for tree in state["stack"]]
        fitting = len(machines) < len(self.settings) and all(
            isinstance(machine, BoltzmannMachine)
            and [a.form for a in machine.layers] == [a.form for a in self._pairs[l]]
            for l, machine in enumerate(machines)
        )
        if not fitting:
            raise ValueError(
                "the finished machines are none of this stack: their layers have other units, "
                "sizes or copies; resume with the settings of the run that wrote the checkpoint"
            )
        data = self._rows
        for l in range(len(machines)):
            data = self._features(data, machines[l], l)
        if machines:
            self._start(machines, data)
        self.trainer.restore(state["trainer"])

    def fit(self, *, verbose=0):
        """Train the layers that are not finished, each by `TrainingLoop.fit`."""
        while True:
            n_epochs = self.settings[len(self.machines)].epochs(self.evidence)
            if not self.trainer.finished:
                self.trainer.fit(self._data, n_epochs, self.n_rows, verbose=verbose)
            if len(self.machines) == len(self.settings) - 1:
                return
            machine = self.trainer.model()
            data = self._features(self._data, machine, len(self.machines))
            self._start([*self.machines, machine], data, self.history, self.particles)

    def _features(self, data, machine, l):
        """Return the rows that machine `l + 1` learns from: features by machine `l` of `data`."""
        drawn = self.settings[l + 1].features == "samples"
        visible, hidden = machine.layers
        of_one_copy = machine.replace(layers=[visible, hidden.untied(self._copies[l][1])])
        rows = FeatureRows(data, of_one_copy, l, drawn=drawn, n_threads=self.n_threads)
        return self._read_by(l + 1, kept_in_memory(rows, self.n_rows))

    def _read_by(self, l, rows):
        """Return rows as the visible layer of machine `l` takes them."""
        return DoubledRows(rows) if self._copies[l][0] == 2 else rows

    def _first_moments(self):
        """Return the moments of what the lowest machine reads."""
        n_rows, mean, variance = self._moments
        n_copies = self._copies[0][0]
        return n_rows, n_copies * mean, n_copies**2 * variance

    def _start(self, machines, data, history=(), particles=None):
        """Make the run of the machine above `machines`; nothing is changed if that fails.

        `particles` are those of the uppermost of `machines`.
        """
        l = len(machines)
        (visible, hidden), settings = self._pairs[l], self.settings[l]
        moments = (
            survey(data, visible, n_threads=self.n_threads) if l else self._first_moments()
        )  # fmt: skip
        stream = Stream.from_random_state(child_seed(self.seed, l))
        model = usual = first_machine(visible, hidden, moments, stream)
        if l + 1 < len(self.settings):  # refuses units that no file has, before any work
            registry.describe(model)
        turned = l > 0 and settings.transposed
        if turned:
            model = turned_over(usual, machines[-1])
        # with copies, each change of a weight counts as often as there are pairs of them
        factor = RATE_TURNED_OVER if turned else 1.0 / math.prod(self._copies[l])
        trainer = Trainer(
            model, settings.rule, settings.optimizer,
            settings.schedule(model.layers, None if l else self.evidence, factor=factor),
            stream=stream,
            batch_size=settings.batch_size, binarize=settings.binarize and l == 0,
            n_threads=self.n_threads,
        )  # fmt: skip
        if turned:  # (a run that is restored gets that of its checkpoint)
            trainer.rule_state = state_turned_over(
                settings.rule, usual, model, stream.child("rule"), particles
            )
        trainer.collective = self._collective
        trainer.history, trainer.labels = list(history), {"layer": l}
        trainer.reads_data = l == 0 and self._copies[0][0] == 1
        trainer.frame = {**self._frame, "stack": [registry.as_tree(m) for m in machines]}
        trainer.attach(callbacks_for(self._callbacks, trainer))
        self.machines, self.trainer, self._data = machines, trainer, data


def pretrain(
    rows, layers, settings, *, random_state=None, tied=False, n_threads=None, callbacks=()
):
    """Train a stack of two-layer machines from the bottom up; see :class:`StackTrainer`.

    Returns
    -------
    list of BoltzmannMachine
    """
    trainer = StackTrainer(
        rows, layers, settings, random_state=random_state, tied=tied, n_threads=n_threads
    )
    trainer.attach(callbacks)
    trainer.fit()
    return trainer.stack()
