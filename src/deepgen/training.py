"""The training loop: epochs, batches, callbacks, and what to do when a run goes wrong."""

import contextlib
import logging
import signal
import threading
import time
from dataclasses import dataclass, field

import numpy as np

from deepgen._kernels import engine
from deepgen.errors import DivergedError
from deepgen.hooks import Hooks
from deepgen.models import BoltzmannMachine, Parameters
from deepgen.optimizers import Linear
from deepgen.progress import OWN, ProgressBar
from deepgen.state_files import check_form, plain
from deepgen.states import Particles, dense
from deepgen.stream import BINARIZE, Stream
from deepgen.threads import Governor
from deepgen.units import Gaussian

DEFAULT_UPDATES = 5_000
# Hidden units start rare: better likelihoods and features than from 0 (docs/decisions.md).
HIDDEN_BIAS = -2.0
# Particles this many of the data's standard deviations away will not come back.
RUNAWAY = 1e6
# Updates between two copies of the last good parameters.
SNAPSHOT_EVERY = 100

logger = logging.getLogger("deepgen")


@dataclass(frozen=True)
class EpochReport:
    """What a callback gets after each epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    n_updates : int
        Updates so far.
    learning_rate : float
        Of the last update.
    seconds : float
        Of this epoch.
    n_rows : int
        Rows presented in this epoch.
    weight_max : float
        Largest absolute weight.
    trainer : Trainer
        `trainer.model()` is the current model.
    entry : dict
        This epoch's line of the history; a callback may add to it.
    """

    epoch: int
    n_updates: int
    learning_rate: float
    seconds: float
    n_rows: int
    weight_max: float
    trainer: "Trainer"
    entry: dict = field(default_factory=dict)


def initial_model(visible, hidden, mean, variance, n_rows, stream):
    """Return the model that training starts from.

    Visible parameters fit independent units to the data; weights are small and normal, of
    standard deviation 0.01 in units of each visible column's own.

    Parameters
    ----------
    visible, hidden : Units
        Sized.
    mean, variance : ndarray of shape (n_visible,)
    n_rows : int
    stream : Stream
    """
    visible = visible.fitted_to(mean, variance, n_rows)
    weights = 0.01 * stream.generator("weights").standard_normal((visible.size, hidden.size))
    for axis, units in enumerate((visible, hidden)):
        if units.precision is not None:
            weights *= np.expand_dims(np.sqrt(units.precision), 1 - axis)
    # hidden fields start at the hidden biases for the mean row, wherever the data lie
    shift = (np.asarray(mean)[:, None] * weights).sum(axis=0)
    hidden = hidden.replace(bias=hidden.bias - shift)
    return BoltzmannMachine([visible, hidden], [weights])


def default_schedule(layers):
    """Return the learning rate that works untuned, decaying to zero (docs/decisions.md)."""
    if any(isinstance(layer, Gaussian) for layer in layers):
        return Linear(0.05, 0.0)
    return Linear(0.2, 0.0)


@contextlib.contextmanager
def interrupt_between_steps():
    """Hold Ctrl-C back until an update is whole; yields a function that raises it.

    What arrives late is raised at the end.
    """
    asked = threading.Event()
    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, lambda number, frame: asked.set())

    def check():
        if asked.is_set():
            raise KeyboardInterrupt

    try:
        yield check
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    check()


class Trainer:
    """A run of learning: parameters, rule state, optimizer state, stream and place.

    Parameters
    ----------
    model : BoltzmannMachine
        Starting point.
    rule, optimizer
        See :mod:`deepgen.rules`, :mod:`deepgen.optimizers`.
    schedule : callable
        Learning rate by progress in [0, 1].
    stream : Stream
    batch_size : int
    binarize : bool, default False
        Draw binary states from grey values afresh at each presentation.
    n_threads : int or None

    Attributes
    ----------
    n_updates, epoch, batch : int
        Place of the run: updates and whole epochs so far, batches of the epoch that has begun.
    history : list of dict
        One entry an epoch.
    rate_scale : float
        Multiplies the schedule's rate; 1 unless a callback has changed it.
    whole : bool
        False in the middle of an update, and after one that diverged.
    stopped, finished : bool
        Whether a callback asked for the end; whether :meth:`fit` reached it.
    frame : dict
        Plain data and arrays that a checkpoint keeps around the run for those who made it: the
        settings that it must agree with, finished layers of a stack. The trainer does not read it.
    """

    def __init__(
        self, model, rule, optimizer, schedule, *, stream, batch_size=100, binarize=False,
        n_threads=None,
    ):  # fmt: skip
        self.rule, self.optimizer, self.schedule = rule, optimizer, schedule
        self.stream, self.batch_size, self.binarize = stream, batch_size, binarize
        self.n_threads = n_threads
        self.parameters = Parameters(model)
        self.rule_state = rule.start(model, stream.child("rule"))
        self.optimizer_state = optimizer.start(self.parameters)
        self.n_updates = self.epoch = self.batch = 0
        self.history = []
        self.learning_rate, self.rate_scale = float(schedule(0.0)), 1.0
        self.whole, self.stopped, self.finished = True, False, False
        self.frame = {}
        self._n_rows, self._seconds = 0, 0.0  # of the epoch that has begun
        self._good = self.parameters.snapshot()
        self._before = None  # what the reports of an epoch may change, as it was before them
        self._callback_states = {}  # from a checkpoint, until there are callbacks
        self._hooks = Hooks()
        self._workspace = engine.Workspace()
        self._governor = Governor(n_threads)

    def __getstate__(self):
        tools = ("_workspace", "_governor", "_hooks")
        return {name: value for name, value in vars(self).items() if name not in tools}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._hooks = Hooks()
        self._workspace = engine.Workspace()
        self._governor = Governor(self.n_threads)

    def go_on(self, n_updates, history, particles):
        """Take over the place of an earlier run whose last model this one starts from."""
        self.n_updates, self.history = n_updates, list(history)
        own = self.rule_state.particles
        if own is not None and particles is not None and len(own) == len(particles):
            self.rule_state.particles = particles

    def model(self):
        """Return the model that this run stands for: averaged where averaging has begun."""
        return self.parameters.to_model(self.optimizer_state["average"]["arrays"])

    def keep(self):
        """Return copies of what :meth:`model` is made of, and the particles, as a tree."""
        average = self.optimizer_state["average"]["arrays"]
        particles = self.rule_state.particles
        arrays = self.parameters.learned() if average is None else average
        return {
            "parameters": {name: array.copy() for name, array in arrays.items()},
            "particles": particles and [array.copy() for array in particles.states],
        }

    def put_back(self, kept):
        """Go back to what :meth:`keep` returned; the optimizer begins anew."""
        self.parameters.restore(kept["parameters"])
        self.optimizer_state = self.optimizer.start(self.parameters)
        if kept["particles"]:
            self.rule_state.particles = Particles([array.copy() for array in kept["particles"]])

    # --- going on after a stop ----------------------------------------------------------------

    def state(self):
        """Return all that decides how the run goes on, and its history.

        A tree of plain data and arrays (:mod:`deepgen.state_files`). Callbacks of an epoch that
        one of them broke off are as they were before it: they will be called again. Some arrays
        are the run's own: write or copy them before the next update.
        """
        before = self._before or {"callbacks": self._hooks.states(), "rate_scale": self.rate_scale}
        return plain({
            "place": {
                "n_updates": self.n_updates, "epoch": self.epoch, "batch": self.batch,
                "n_rows": self._n_rows, "seconds": self._seconds,
                "reported": self._before is None,
                "stopped": self.stopped, "finished": self.finished,
            },
            "stream": {"key": self.stream.key, "position": self.stream.position},
            "learning_rate": float(self.learning_rate),
            "rate_scale": float(before["rate_scale"]),
            "start": [layer.parameters() for layer in self.parameters.layers],
            "parameters": self.parameters.snapshot(),
            "good": self._good,
            "rule": self.rule_state.tree(),
            "optimizer": self.optimizer_state,
            "history": self.history,
            "callbacks": before["callbacks"],
        })  # fmt: skip

    def restore(self, state):
        """Go on from what :meth:`state` returned, in a run made with the same settings.

        Raises
        ------
        ValueError
            If the state is not one of such a run; nothing is changed then.
        """
        expected = self.state()
        free = ("history", "callbacks")  # theirs is any form
        average = state.get("optimizer", {}).get("average")
        if isinstance(average, dict) and average.get("arrays") is not None:
            expected["optimizer"]["average"]["arrays"] = expected["parameters"]
        check_form({**state, **dict.fromkeys(free)}, {**expected, **dict.fromkeys(free)}, "state")
        history, place = state["history"], state["place"]
        if (
            not isinstance(state["callbacks"], dict)
            or not isinstance(history, list)
            or not all(isinstance(entry, dict) and set(OWN) <= set(entry) for entry in history)
            or any(value < 0 for value in place.values())
            or (not place["reported"] and not history)
        ):
            raise ValueError("state holds no valid place or history")
        layers = [
            layer.replace(**vectors)
            for layer, vectors in zip(self.parameters.layers, state["start"], strict=True)
        ]
        parameters = Parameters(self.parameters.model.replace(layers=layers))
        parameters.restore(state["parameters"])
        rule_state = type(self.rule_state).from_tree(state["rule"])
        name = parameters.first_non_finite()
        if name is not None:
            raise ValueError(f"state.{name} is not finite")
        self.parameters, self.rule_state = parameters, rule_state
        self.optimizer_state = _copied(state["optimizer"])
        self._good = _copied(state["good"])
        self.stream = Stream(**state["stream"])
        self.learning_rate, self.rate_scale = state["learning_rate"], state["rate_scale"]
        self.history = _copied(history)
        self.n_updates, self.epoch, self.batch = (
            place["n_updates"], place["epoch"], place["batch"],
        )  # fmt: skip
        self._n_rows, self._seconds = place["n_rows"], place["seconds"]
        self.stopped, self.finished = place["stopped"], place["finished"]
        self.whole, self._callback_states = True, state["callbacks"]
        self._before = None
        if not place["reported"]:
            self._before = {"callbacks": state["callbacks"], "rate_scale": self.rate_scale}

    # --- learning -----------------------------------------------------------------------------

    def step(self, batch, progress, context=None):
        """Make one update.

        Parameters
        ----------
        batch : states of the first layer
        progress : float
            In [0, 1], for schedules and averaging.
        context : Context or None

        Raises
        ------
        DivergedError
            If a parameter is no longer finite; the last good parameters are put back.
        """
        self.whole = False
        if self.n_updates % SNAPSHOT_EVERY == 0:
            self._check_particles()
            self._good = self.parameters.snapshot()
        tools = {"workspace": self._workspace, "n_threads": self._governor.next()}
        if self.binarize:
            batch = self._binarized(batch)
        # positions of different updates never meet, however many draws an update takes
        site = Stream(self.stream.child("updates").key, self.n_updates)
        with np.errstate(over="ignore", invalid="ignore"):  # a flag tells, and is acted on
            phases = self.rule.phases(
                self.parameters, batch, self.rule_state, site, context=context, **tools
            )
            self.learning_rate = self.rate_scale * self.schedule(progress)
            overflow = self.optimizer.step(
                self.parameters, phases, self.optimizer_state, self.learning_rate, progress, **tools
            )
        self._governor.done()
        if overflow:
            self._diverged(self.parameters.first_non_finite() or "parameters")
        self.n_updates += 1
        self.whole = True

    def _check_particles(self):
        """Real-valued particles can run away long before a weight does."""
        particles = self.rule_state.particles
        for l, layer in enumerate(self.parameters.layers):
            if particles is not None and layer.precision is not None:
                away = np.abs(particles[l] - layer.bias / layer.precision)
                if not (away * np.sqrt(layer.precision) < RUNAWAY).all():
                    self._diverged(f"particles[{l}]")

    def _diverged(self, name):
        self.whole = False
        self.parameters.restore(self._good)
        # particles and velocities may hold what is not finite: begin them anew
        good = self.parameters.to_model()
        self.rule_state = self.rule.start(good, self.stream.child("diverged"))
        self.optimizer_state = self.optimizer.start(self.parameters)
        raise DivergedError(name, self.epoch + 1, self.learning_rate)

    def _binarized(self, batch):
        grey = dense(batch)
        stream = Stream(self.stream.child("binarize").key, self.n_updates)
        return (stream.uniform(*grey.shape, BINARIZE) < grey).astype(np.uint8)

    def attach(self, callbacks):
        """Take callbacks along (:mod:`deepgen.hooks`), with what a checkpoint knows of them.

        Whatever they raise is raised before any work.
        """
        hooks = Hooks(callbacks)
        hooks.begin(self)
        hooks.restore(self._callback_states)
        self._hooks, self._callback_states = hooks, {}

    def fit(self, rows, n_epochs, n_rows, *, callbacks=(), verbose=0):
        """Train until `n_epochs` epochs are whole; goes on where the run is.

        Parameters
        ----------
        rows : ArrayRows or IterableRows
        n_epochs : int
        n_rows : int
            Rows of an epoch.
        callbacks : sequence of callable
            To :meth:`attach` first. Called with an :class:`EpochReport` after each epoch; a true
            value stops training.
        verbose : int
            1 or more shows a progress bar.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, between two updates.
        """
        if callbacks:
            self.attach(callbacks)
        if self.finished:  # and now there is more to do
            self.stopped = self.finished = False
        total = n_epochs * -(-n_rows // self.batch_size)
        with (
            interrupt_between_steps() as check_interrupt,
            ProgressBar(total, self.n_updates, bool(verbose)) as bar,
        ):
            try:
                if self._before is not None:
                    self._report()
                while self.epoch < n_epochs and not self.stopped:
                    self._epoch(rows, total, check_interrupt, bar)
                    self._report()
                    bar.report(self.history[-1])
                self._hooks.finish(self)
                self.finished = True
            except BaseException as error:
                self._hooks.end(self, error)
                raise
            self._hooks.end(self, None)

    def _epoch(self, rows, total, check_interrupt, bar):
        """Make the updates of an epoch that are not made yet, and its line of the history."""
        began = time.perf_counter() - self._seconds
        order = Stream(self.stream.child("order").key, self.epoch)
        for batch in rows.batches(self.batch_size, order, skip=self.batch):
            check_interrupt()
            self.step(batch, (self.n_updates + 1) / total)
            self.batch += 1
            self._n_rows += batch.shape[0]
            self._seconds = time.perf_counter() - began
            bar.update(batch.shape[0])
            self._hooks.between_updates(self)
        self._check_particles()
        self.epoch += 1
        entry = {
            "epoch": self.epoch, "n_updates": self.n_updates,
            "learning_rate": float(self.learning_rate), "seconds": time.perf_counter() - began,
            "n_rows": self._n_rows,
            "weight_max": max(float(np.abs(w).max()) for w in self.parameters.weights),
        }  # fmt: skip
        self.history.append(entry)
        self.batch, self._n_rows, self._seconds = 0, 0, 0.0
        self._before = {"callbacks": self._hooks.states(), "rate_scale": self.rate_scale}
        logger.info("epoch %(epoch)d: learning rate %(learning_rate).4g, %(seconds).2f s", entry)

    def _report(self):
        entry = self.history[-1]
        report = EpochReport(**{name: entry[name] for name in OWN}, trainer=self, entry=entry)
        self.stopped = self._hooks.report(report)
        self._before = None
        self._hooks.between_updates(self)


def _copied(tree):
    """Return a tree with arrays of its own."""
    if isinstance(tree, dict):
        return {name: _copied(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_copied(value) for value in tree]
    return tree.copy() if isinstance(tree, np.ndarray) else tree
