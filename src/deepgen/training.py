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
from deepgen.models import BoltzmannMachine, Parameters
from deepgen.optimizers import Linear
from deepgen.states import dense
from deepgen.stream import BINARIZE, Stream
from deepgen.threads import Governor
from deepgen.units import Gaussian

DEFAULT_UPDATES = 5_000
# Hidden units start rare: better likelihoods and features than from 0 (docs/decisions.md).
HIDDEN_BIAS = -2.0
# Rows of an update from which on the default learning rate is used in full (docs/decisions.md).
ROWS_OF_FULL_RATE = 10
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


def default_schedule(layers, n_rows=ROWS_OF_FULL_RATE):
    """Return the learning rate that works untuned, decaying to zero (docs/decisions.md).

    Updates of few rows are noisy, and a lower rate averages over more of them.

    Parameters
    ----------
    layers : sequence of Units
    n_rows : int
        Rows of an update.
    """
    rate = 0.05 if any(isinstance(layer, Gaussian) for layer in layers) else 0.2
    return Linear(rate * min(1.0, n_rows / ROWS_OF_FULL_RATE), 0.0)


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
    n_updates, epoch : int
        Place of the run.
    history : list of dict
        One entry an epoch.
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
        self.n_updates = self.epoch = 0
        self.history = []
        self.learning_rate = schedule(0.0)
        self._good = self.parameters.snapshot()
        self._workspace = engine.Workspace()
        self._governor = Governor(n_threads)

    def __getstate__(self):
        tools = ("_workspace", "_governor")
        return {name: value for name, value in vars(self).items() if name not in tools}

    def __setstate__(self, state):
        self.__dict__.update(state)
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
        return self.parameters.to_model(self.optimizer_state["average"].arrays)

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
            self.learning_rate = self.schedule(progress)
            overflow = self.optimizer.step(
                self.parameters, phases, self.optimizer_state, self.learning_rate, progress, **tools
            )
        self._governor.done()
        if overflow:
            self._diverged(self.parameters.first_non_finite() or "parameters")
        self.n_updates += 1

    def _check_particles(self):
        """Real-valued particles can run away long before a weight does."""
        particles = self.rule_state.particles
        for l, layer in enumerate(self.parameters.layers):
            if particles is not None and layer.precision is not None:
                away = np.abs(particles[l] - layer.bias / layer.precision)
                if not (away * np.sqrt(layer.precision) < RUNAWAY).all():
                    self._diverged(f"particles[{l}]")

    def _diverged(self, name):
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

    def fit(self, rows, n_epochs, n_rows, *, callbacks=(), verbose=0):
        """Train for `n_epochs` epochs.

        Parameters
        ----------
        rows : ArrayRows or IterableRows
        n_epochs : int
        n_rows : int
            Rows of an epoch.
        callbacks : sequence of callable
            Called with an :class:`EpochReport` after each epoch; a true value stops training.
        verbose : int
            1 or more shows a progress bar.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, between two updates.
        """
        per_epoch = -(-n_rows // self.batch_size)
        total, stop = n_epochs * per_epoch, False
        bar = None
        if verbose:  # without a bar, no tqdm: it brings asyncio, and locks and threads of its own
            from tqdm.auto import tqdm

            bar = tqdm(total=total, unit="update")
        with interrupt_between_steps() as check_interrupt, bar or contextlib.nullcontext():
            while self.epoch < n_epochs and not stop:
                began, seen = time.perf_counter(), 0
                order = Stream(self.stream.child("order").key, self.epoch)
                for batch in rows.batches(self.batch_size, order):
                    check_interrupt()
                    self.step(batch, (self.n_updates + 1) / total)
                    seen += batch.shape[0]
                    if bar is not None:
                        bar.update()
                self._check_particles()
                self.epoch += 1
                stop = self._report(time.perf_counter() - began, seen, callbacks)

    def _report(self, seconds, n_rows, callbacks):
        report = EpochReport(
            self.epoch, self.n_updates, self.learning_rate, seconds, n_rows,
            max(float(np.abs(w).max()) for w in self.parameters.weights), self,
        )  # fmt: skip
        entry = report.entry
        entry.update(
            (name, getattr(report, name))
            for name in ("epoch", "n_updates", "learning_rate", "seconds", "n_rows", "weight_max")
        )
        self.history.append(entry)
        logger.info("epoch %(epoch)d: learning rate %(learning_rate).4g, %(seconds).2f s", entry)
        answers = [callback(report) for callback in callbacks]  # all of them are called
        return any(answers)
