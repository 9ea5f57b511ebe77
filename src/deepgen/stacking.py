"""Greedy pretraining: learn a layer, freeze it, treat its features as data."""

import math
from itertools import pairwise

import numpy as np

from deepgen import model_forms
from deepgen.composition import copies_in, single, tied_copies
from deepgen.data import DoubledRows, survey
from deepgen.features import FeatureRows, kept
from deepgen.hooks import callbacks_for
from deepgen.models import BoltzmannMachine
from deepgen.passes import Site
from deepgen.pretraining import check_layers, settings_by_layer
from deepgen.sampling import update_layer
from deepgen.states import Particles
from deepgen.stream import DATA, Stream, child_seed, seed_of
from deepgen.training import HIDDEN_BIAS, Trainer, initial_model
from deepgen.units import Binary

# Share of the usual rate for a machine that starts where the one below has ended.
RATE_TURNED_OVER = 0.25


def _state_turned_over(rule, usual, model, stream, below):
    """Return the state of a rule for a machine that starts as the one below it, upside down.

    Offsets are those of the data: the visible biases no longer tell their mean, so the usual start
    does. Particles of the lower machine are samples of that distribution: from independent units
    PCD would first unlearn what the start has (docs/decisions.md).
    """
    state = rule.start(model.replace(layers=[usual.layers[0], model.layers[1]]), stream)
    own = state.particles
    if own is not None and below is not None:
        chosen = np.arange(len(own)) % len(below)
        further = own[1][:, below[0].shape[1] :]
        columns = np.concatenate([below[0][chosen], further], axis=1)
        state.particles = Particles([below[1][chosen], columns])
    return state


def turned_over(model, below):
    """Return a machine that starts as the one below it, upside down.

    Parameters
    ----------
    model : BoltzmannMachine
        The usual start; its hidden units beyond the visible ones of `below` stay as they are.
    below : BoltzmannMachine

    Returns
    -------
    BoltzmannMachine
        ``W = W_below^T``, visible bias = hidden bias of `below`, hidden bias = its visible bias.
    """
    lowest, middle = below.layers
    weights, bias = np.array(model.weights[0]), np.array(model.layers[1].bias)
    weights[:, : lowest.size] = below.weights[0].T
    bias[: lowest.size] = lowest.bias
    layers = [model.layers[0].replace(bias=middle.bias), model.layers[1].replace(bias=bias)]
    return BoltzmannMachine(layers, [weights])


def _first_machine(visible, hidden, moments, stream):
    """Return the machine that a layer starts from, as an RBM of the same units would."""
    if isinstance(hidden, Binary):
        hidden = hidden.replace(bias=np.full(hidden.size, HIDDEN_BIAS))
    n_rows, mean, variance = moments
    return initial_model(visible, hidden, mean, variance, n_rows, stream)


def _kinds(layers):
    return [(type(units), units.size, units.n_copies) for units in layers]


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
        Of the rows; None: measured here.
    random_state : int, RandomState, Generator or None
    frame : dict or None
        What checkpoints keep around the run (:attr:`deepgen.loop.TrainingLoop.frame`); the
        finished machines are added to it as ``"stack"``.
    tied : bool, default False
        Train machines that :func:`deepgen.compose` makes a deep Boltzmann machine of, with tied
        copies (:func:`deepgen.composition.tied_copies`). `layers` are those of that model, `rows`
        and `moments` its data; what a layer of two copies reads is doubled here, and features
        are of one copy. Default rates are divided by the numbers of copies.
    n_threads : int or None

    Attributes
    ----------
    machines : list of BoltzmannMachine
        Finished ones below the one that learns, bottom first.
    trainer : Trainer
        Of the machine that learns; in the end of the topmost one.
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
        self._moments = moments or survey(rows, self.layers[0], n_threads=n_threads)
        if tied:  # the precision that one copy of Gaussian units has is known with the data
            n_rows, mean, variance = self._moments
            fitted = self.layers[0].fitted_to(mean, variance, n_rows)
            self._pairs = tied_copies([fitted, *self.layers[1:]])
        self._rows = self._read_by(0, rows)
        self._start([], self._rows)

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
        machines = [model_forms.from_tree(tree) for tree in state["stack"]]
        fitting = len(machines) < len(self.settings) and all(
            isinstance(machine, BoltzmannMachine)
            and _kinds(machine.layers) == _kinds(self._pairs[l])
            for l, machine in enumerate(machines)
        )
        if not fitting:
            raise ValueError("the finished machines are none of this stack")
        data = self._rows
        for l in range(len(machines)):
            data = self._features(data, machines[l], l)
        if machines:
            self._start(machines, data)
        self.trainer.restore(state["trainer"])

    def fit(self, *, verbose=0):
        """Train the layers that are not finished; see :meth:`deepgen.loop.TrainingLoop.fit`."""
        while True:
            n_epochs = self.settings[len(self.machines)].epochs(self.n_rows)
            if not self.trainer.finished:
                self.trainer.fit(self._data, n_epochs, self.n_rows, verbose=verbose)
            if len(self.machines) == len(self.settings) - 1:
                return
            machine = self.trainer.model()
            data = self._features(self._data, machine, len(self.machines))
            self._start([*self.machines, machine], data, self.history, self.particles)

    def _features(self, data, machine, l):
        """Return what machine `l + 1` reads."""
        drawn = self.settings[l + 1].features == "samples"
        visible, hidden = machine.layers
        one_copy = machine.replace(layers=[visible, single(hidden, self._copies[l][1])])
        rows = FeatureRows(data, one_copy, l, drawn=drawn, n_threads=self.n_threads)
        return self._read_by(l + 1, kept(rows, self.n_rows))

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
        model = usual = _first_machine(visible, hidden, moments, stream)
        turned = l > 0 and settings.transposed
        if turned:
            model = turned_over(usual, machines[-1])
        # with copies, each change of a weight counts as often as there are pairs of them
        factor = RATE_TURNED_OVER if turned else 1.0 / math.prod(self._copies[l])
        trainer = Trainer(
            model, settings.rule, settings.optimizer,
            settings.schedule(model.layers, factor=factor), stream=stream,
            batch_size=settings.batch_size, binarize=settings.binarize and l == 0,
            n_threads=self.n_threads,
        )  # fmt: skip
        if turned:  # (a run that is restored gets that of its checkpoint)
            trainer.rule_state = _state_turned_over(
                settings.rule, usual, model, stream.child("rule"), particles
            )
        trainer.history, trainer.labels = list(history), {"layer": l}
        trainer.reads_data = l == 0 and self._copies[0][0] == 1
        trainer.frame = {**self._frame, "stack": [model_forms.as_tree(m) for m in machines]}
        trainer.attach(callbacks_for(self._callbacks, trainer))
        self.machines, self.trainer, self._data = machines, trainer, data


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
        See :attr:`deepgen.loop.TrainingLoop.frame`.
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
            moments = survey(rows, layers[l], n_threads=n_threads)
            stream = Stream.from_random_state(child_seed(seed, l))
            machine = _first_machine(layers[l], layers[l + 1], moments, stream)
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
            machines.append(_first_machine(*pair, (1, zeros, zeros + 1.0), stream))
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
        batch : states of the visible layer
        """
        for l, trainer in enumerate(self.trainers):
            each = self.settings[l]
            if l:
                batch = self._features(l, batch)
            trainer.schedule = each.stream_schedule(trainer.parameters.layers, batch.shape[0])
            trainer.step(batch, None)

    def _features(self, l, batch):
        """Return what an update of machine `l` reads of the one below."""
        below, trainer = self.trainers[l - 1], self.trainers[l]
        drawn = self.settings[l].features == "samples"
        site = None
        if drawn:
            site = Site(Stream(trainer.stream.child("features").key, trainer.n_updates), DATA)
        means, draws = update_layer(
            below.parameters, 1, [batch, None], mean=not drawn, site=site,
            n_threads=self.n_threads,
        )  # fmt: skip
        return draws if drawn else means


def pretrain(
    rows, layers, settings, *, random_state=None, tied=False, n_threads=None, callbacks=()
):
    """Train a stack of two-layer machines from the bottom up; see :class:`StackTrainer`.

    Returns
    -------
    list of BoltzmannMachine
    """
    run = StackTrainer(
        rows, layers, settings, random_state=random_state, tied=tied, n_threads=n_threads
    )
    run.attach(callbacks)
    run.fit()
    return run.stack()
