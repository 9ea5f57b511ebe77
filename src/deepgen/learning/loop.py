"""The training loop: updates, epochs, callbacks, Ctrl-C, and the state that a run goes on from.

Each type of run says how one batch changes its parameters: `Trainer` of
:mod:`deepgen.learning.machines`, `NetworkTrainer` of :mod:`deepgen.learning.networks`,
`UpDownTrainer` of :mod:`deepgen.learning.belief_networks`.
"""

import logging
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import check_instance
from deepgen.errors import DivergedError
from deepgen.io.trees import check_structure, plain
from deepgen.learning.hooks import Hooks
from deepgen.rows.batch import Batch, Rows
from deepgen.rows.parts import shared
from deepgen.rows.sources import refuse_rows
from deepgen.runtime.collective import Alone, any_of, check_together, on_all
from deepgen.runtime.interrupts import interrupt_between_steps
from deepgen.runtime.progress import ProgressBar
from deepgen.runtime.stream import Stream
from deepgen.runtime.threads import Governor
from deepgen.runtime.work import Work

# Updates between two copies of the last good parameters.
SNAPSHOT_EVERY = 100

# Names that every line of a history has; the others are labels, and numbers of callbacks.
EPOCH_NUMBERS = ("epoch", "n_updates", "learning_rate", "seconds", "n_rows", "weight_max")

logger = logging.getLogger("deepgen")


@dataclass(frozen=True)
class EpochReport:
    """The argument of callbacks: an epoch that is over, and the run.

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
    trainer : Trainer or NetworkTrainer
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
    trainer: "TrainingLoop"
    entry: dict = field(default_factory=dict)


class Update(NamedTuple):
    """A batch to learn from, and the place of its update in the run.

    Attributes
    ----------
    batch : Batch
        Checked.
    site : Stream
        Of this update alone: its random numbers are those of no other update.
    progress : float or None
        See :meth:`TrainingLoop.step`.
    """

    batch: Batch
    site: Stream
    progress: float | None


class TrainingLoop(ABC):
    """A trainer: the object that makes one run of learning. Its subclasses say what an update is.

    Parameters
    ----------
    parameters : Parameters or NetworkParameters
        Changed in place.
    optimizer
        See :mod:`deepgen.learning.optimizers`.
    schedule : callable
        Learning rate by progress in [0, 1].
    stream : Stream
    batch_size : int
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
    n_epochs : int or None
        Epochs that :meth:`fit` was last asked for; None before that.
    stopped, finished : bool
        Whether a callback asked for the end; whether :meth:`fit` reached it.
    frame : dict
        Plain data and arrays that a checkpoint keeps around the run for those who made it: the
        settings that it must agree with, finished layers of a stack. The run does not read it.
    labels : dict
        Plain data that each line of the history gets: in a stack the number of the layer.
    reads_data : bool
        Whether the run reads the rows of the data, not features of them or rows times two. A
        callback that watches rows of the data takes part in such a run only.
    collective : Collective
        The processes that share the run, all of which call the same methods in turn. Set it before
        :meth:`fit`, which cuts the batches then.
    """

    def __init__(self, parameters, optimizer, schedule, *, stream, batch_size, n_threads):
        self.parameters, self.optimizer, self.schedule = parameters, optimizer, schedule
        self.stream, self.batch_size, self.n_threads = stream, batch_size, n_threads
        self.optimizer_state = self._start_optimizer()
        self.n_updates = self.epoch = self.batch = 0
        self.history = []
        self.learning_rate, self.rate_scale = float(schedule(0.0)), 1.0
        self.whole, self.stopped, self.finished = True, False, False
        self.n_epochs = None
        self.frame, self.labels, self.reads_data = {}, {}, True
        self._n_rows, self._seconds = 0, 0.0  # of the epoch that has begun
        self._good = self.parameters.snapshot()
        # between the end of an epoch and the last of its reports: callbacks' states and the rate
        # scale as they were before, so that a checkpoint can begin the reports again
        self._before = None
        self._callback_states = {}  # from a checkpoint, until there are callbacks
        self._begin_process()

    def _begin_process(self):
        """Make what belongs to this process, and is left out of a pickle."""
        self._hooks = Hooks()
        self._workspace = engine.Workspace()
        self._governor = Governor(self.n_threads)
        self.collective = Alone()
        self._is_common = False  # whether all processes raise the error that is raised here

    # What `_begin_process` makes.
    _of_process = ("_workspace", "_governor", "_hooks", "collective", "_is_common")

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name not in self._of_process}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._begin_process()

    # --- what each type of run says -------------------------------------------------------------

    @abstractmethod
    def model(self):
        """Return the model that this run stands for: averaged where averaging has begun."""

    @property
    def watchable(self):
        """Names that callbacks may watch in this run beside functions of its model, a frozenset.

        Names of numbers in its history that runs of other types do not have; a run that does not
        write one of them says so once it is watched. Runs of machines have others.
        """
        return frozenset({"loss", "validation_loss"})

    # Updates that `_updates` is asked for at a time: more than one where a trainer makes several in
    # one call of a kernel, some 5 ms of them, because Ctrl-C and callbacks wait so long.
    updates_at_once = 1

    @abstractmethod
    def _checked(self, batch):
        """Return a batch in states that kernels read; ValueError where it does not fit."""

    @abstractmethod
    def _updates(self, updates, work):
        """Change the parameters by one batch after the other.

        Parameters
        ----------
        updates : list of Update
        work : Work

        Yields
        ------
        tuple of (bool, float or None)
            For each update: whether a parameter or the value is no longer finite; and the value of
            what is made small, before the update, or None where a run has no such number. None
            comes after the first that is not finite.
        """

    def _coming(self, rows, order):
        """Return the batches of an epoch that are not learned yet, in the order of a stream."""
        return rows.batches(self.batch_size, order, skip=self.batch)

    def _check_particles(self):
        """Raise DivergedError where states of the run have run away and parameters have not yet."""

    def _share(self):
        """Keep the part of this process, of what the run has by row: particles."""

    def _join(self):
        """Get whole again what :meth:`_share` has cut, in every process."""

    def _forget(self):
        """Begin anew what may hold numbers that are not finite, after a divergence."""

    @abstractmethod
    def _further_state(self):
        """Return the entries of :meth:`state` that runs of this type alone have, as a tree."""

    @abstractmethod
    def _take_over(self, state):
        """Take parameters and further entries of a checked state; ValueError before any change."""

    def _start_optimizer(self):
        return self.optimizer.start(self.parameters)

    def _add_value(self, value, n_rows):
        """Take what :meth:`step` returned for a batch of an epoch, for :meth:`_close_epoch`."""

    def _close_epoch(self):
        """Return numbers of the epoch that ends here for its line of the history."""
        return {}

    # --- one update -----------------------------------------------------------------------------

    def step(self, batch, progress):
        """Make one update of the parameters.

        Parameters
        ----------
        batch : Batch
            The class of the run says what its states are.
        progress : float or None
            In [0, 1], for schedules and averaging. None: a stream, which has no end.

        Returns
        -------
        float or None
            The value of what is made small, before the update, where the run has such a number.

        Raises
        ------
        ValueError
            If a shape or a value of the batch does not fit; nothing is changed then.
        DivergedError
            If a parameter is no longer finite; the last good parameters are put back.
        """
        return self.steps([batch], [progress])[0]

    def steps(self, batches, progress):
        """Make an update for each of some batches, as :meth:`step` does one after the other.

        Parameters
        ----------
        batches : list of Batch
        progress : list of float or None
            By batch.

        Returns
        -------
        list of float or None
            By batch.
        """
        # positions of different updates never meet, however many draws an update takes
        stream, number, updates, values = self.stream.child("updates"), self.n_updates, [], []
        for batch, share in zip(batches, progress, strict=True):
            updates.append(Update(self._checked(batch), stream.at(number), share))
            number += 1
        while updates:  # up to the next copy of the good parameters
            n_left = SNAPSHOT_EVERY - self.n_updates % SNAPSHOT_EVERY
            self._make(updates[:n_left], values)
            del updates[:n_left]
        return values

    def _make(self, updates, values):
        """Make updates, all before the next snapshot, and add their values to a list."""
        self.whole = False
        if self.n_updates % SNAPSHOT_EVERY == 0:
            self._check_particles()
            self._good = self.parameters.snapshot()
        work, before = Work(self._workspace, self._governor.next()), self.n_updates
        with np.errstate(over="ignore", invalid="ignore"):  # a flag tells, and is acted on
            for overflow, value in self._updates(updates, work):
                if any_of(self.collective, overflow):
                    # where every parameter is finite, the value of the objective is not
                    name = self.parameters.first_non_finite()
                    self._diverged(name or ("parameters" if value is None else "loss"))
                self.n_updates += 1
                values.append(value)
        name = self.parameters.first_run_away()
        if any_of(self.collective, name is not None):
            self._diverged(name or "a parameter of another process")
        self._governor.done(self.n_updates - before)
        self.whole = True

    def _rate(self, progress):
        """Return the learning rate of this update, and note it for the history."""
        # a float, whatever a schedule returns: NumPy's would decide what arithmetic a step is in
        self.learning_rate = float(self.rate_scale * self.schedule(progress or 0.0))
        return self.learning_rate

    def _diverged(self, name):
        """Put the last good parameters back, and raise, in all processes."""
        self.whole, self._is_common = False, True
        self.parameters.restore(self._good)
        self._forget()
        self.optimizer_state = self._start_optimizer()
        raise DivergedError(name, self.epoch + 1, self.learning_rate)

    # --- going on after a stop ----------------------------------------------------------------

    def keep(self):
        """Return copies of the arrays that :meth:`model` is made of, as a tree."""
        average = self.optimizer_state["average"]["arrays"]
        arrays = self.parameters.learned() if average is None else average
        return {"parameters": {name: array.copy() for name, array in arrays.items()}}

    def put_back(self, copies):
        """Go back to what :meth:`keep` returned; the optimizer begins anew."""
        self.parameters.restore(copies["parameters"])
        self.optimizer_state = self._start_optimizer()

    def state(self):
        """Return all that decides how the run goes on, and its history, as a tree.

        A tree of plain data and arrays (:mod:`deepgen.io.trees`). Callbacks of an epoch that
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
            "parameters": self.parameters.snapshot(),
            "good": self._good,
            "optimizer": self.optimizer_state,
            "history": self.history,
            "callbacks": before["callbacks"],
            **self._further_state(),
        })  # fmt: skip

    def restore(self, state):
        """Go on from what :meth:`state` returned, in a run made with the same settings.

        Raises
        ------
        ValueError
            If the state is not one of such a run; nothing is changed then.
        """
        self._check_state(state)
        stream, place = Stream(**state["stream"]), state["place"]
        self._take_over(state)
        self.stream = stream
        self.optimizer_state = copied(state["optimizer"])
        self._good = copied(state["good"])
        self.learning_rate, self.rate_scale = state["learning_rate"], state["rate_scale"]
        self.history = copied(state["history"])
        self.n_updates, self.epoch, self.batch = (
            place["n_updates"], place["epoch"], place["batch"],
        )  # fmt: skip
        self._n_rows, self._seconds = place["n_rows"], place["seconds"]
        self.stopped, self.finished = place["stopped"], place["finished"]
        self.whole, self._callback_states = True, state["callbacks"]
        self._before = None
        if not place["reported"]:
            self._before = {"callbacks": state["callbacks"], "rate_scale": self.rate_scale}

    def _check_state(self, state):
        expected = self.state()
        free = ("history", "callbacks")  # of any structure
        average = state.get("optimizer", {}).get("average")
        if isinstance(average, dict) and average.get("arrays") is not None:
            expected["optimizer"]["average"]["arrays"] = expected["parameters"]
        blank = dict.fromkeys(free)
        check_structure({**state, **blank}, {**expected, **blank}, "state")
        history, place = state["history"], state["place"]
        if (
            not isinstance(state["callbacks"], dict)
            or not isinstance(history, list)
            or not all(isinstance(e, dict) and set(EPOCH_NUMBERS) <= set(e) for e in history)
            or any(value < 0 for value in place.values())
            or (not place["reported"] and not history)
        ):
            raise ValueError("state holds no valid place or history")
        for name, value in {**state, **blank}.items():
            if not all(np.isfinite(number).all() for number in numbers_of(value)):
                raise ValueError(f"state.{name} is not finite")

    # --- the loop -----------------------------------------------------------------------------

    def attach(self, callbacks):
        """Take callbacks along (see ``hooks.py``), with what a checkpoint knows of them.

        Whatever they raise is raised before any work.
        """
        hooks = Hooks(callbacks)
        on_all(self.collective, lambda: hooks.begin(self), "to begin a callback")
        hooks.restore(self._callback_states)
        self._hooks, self._callback_states = hooks, {}

    def fit(self, rows, n_epochs, n_rows=None, *, callbacks=(), verbose=0):
        """Train until `n_epochs` epochs are whole; goes on where the run is.

        Parameters
        ----------
        rows : Rows
        n_epochs : int
        n_rows : int or None
            Rows of an epoch. None: ``rows.n_rows``, where the rows know it.
        callbacks : sequence of callable
            To :meth:`attach` first. Called with an :class:`EpochReport` after each epoch; a true
            value stops training.
        verbose : int
            1 or more shows a progress bar.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, between two updates.
        ValueError
            If an epoch has another number of rows than `n_rows`. The run stays at its last whole
            update.
        """
        if callbacks:
            self.attach(callbacks)
        if self.finished:  # and now there is more to do
            self.stopped = self.finished = False
        check_instance(
            rows, "rows", Rows, "rows that give batches, such as ArrayRows(X) of an array"
        )
        n_rows = rows.n_rows if n_rows is None else n_rows
        if n_rows is None:
            raise ValueError(
                "n_rows must be given where the rows do not know their number, got None"
            )
        self.n_epochs = n_epochs
        total = n_epochs * -(-n_rows // self.batch_size)
        rows, is_first = shared(rows, self.collective), self.collective.rank == 0
        self._is_common = False
        with (
            interrupt_between_steps() as interrupts,
            ProgressBar(total, self.n_updates, bool(verbose) and is_first) as bar,
        ):
            try:
                self._share()
                if self._before is not None:
                    self._report()
                while self.epoch < n_epochs and not self.stopped:
                    self._epoch(rows, n_rows, total, interrupts, bar)
                    self._report()
                    bar.report(self._numbers_of_callbacks())
                self._hooks.finish(self)
                self.finished = True
            except BaseException as error:
                self._leave(error)
                raise
            self._hooks.end(self, None)
            self._join()

    def _leave(self, error):
        """Tell the callbacks that an error breaks the run off.

        In all processes of a run, where all have the error; one that this process alone has ends
        them, because they would wait for it.
        """
        if not (self._is_common or isinstance(self.collective, Alone)):
            self.collective.abort(error)
            return
        self._hooks.end(self, error)
        self._join()

    def _epoch(self, rows, expected, total, interrupts, bar):
        """Make the updates of an epoch that are not made yet, and its line of the history."""
        began = time.perf_counter() - self._seconds
        order = Stream(self.stream.child("order").key, self.epoch)
        coming = iter(self._coming(rows, order))
        while batches := list(islice(coming, self.updates_at_once)):
            self._check(interrupts)
            n_rows = [batch.n_whole or batch.n_rows for batch in batches]
            if self._n_rows + sum(n_rows) - n_rows[-1] >= expected:
                refuse_rows(expected, f"more than {expected}", f"epoch {self.epoch + 1}")
            progress = [(self.n_updates + 1 + i) / total for i in range(len(batches))]
            with interrupts.held():  # a state between these lines would repeat the batches
                for value, count in zip(self.steps(batches, progress), n_rows, strict=True):
                    self._add_value(value, count)
                self.batch += len(batches)
                self._n_rows += sum(n_rows)
                self._seconds = time.perf_counter() - began
            bar.update(sum(n_rows), len(n_rows))
            self._hooks.between_updates(self)
        if self._n_rows != expected:
            refuse_rows(expected, self._n_rows, f"epoch {self.epoch + 1}")
        with interrupts.held():
            self._end_epoch(began)

    def _check(self, interrupts):
        """Do what was to be done at a signal; where it ends one process, end the run in all."""
        try:
            check_together(self.collective, interrupts.check)
        except BaseException:
            self._is_common = True
            raise

    def _end_epoch(self, began):
        self._check_particles()
        numbers = self._close_epoch()
        self.epoch += 1
        entry = {
            "epoch": self.epoch, "n_updates": self.n_updates,
            "learning_rate": float(self.learning_rate),
            "seconds": self.collective.broadcast(time.perf_counter() - began),
            "n_rows": self._n_rows,
            "weight_max": max(
                float(np.abs(w).max()) for w in self.parameters.weights if w is not None
            ),
            **self.labels, **numbers,
        }  # fmt: skip
        self.history.append(entry)
        self.batch, self._n_rows, self._seconds = 0, 0, 0.0
        self._before = {"callbacks": self._hooks.states(), "rate_scale": self.rate_scale}
        logger.info("epoch %(epoch)d: learning rate %(learning_rate).4g, %(seconds).2f s", entry)

    def _numbers_of_callbacks(self):
        return {n: x for n, x in self.history[-1].items() if n not in EPOCH_NUMBERS}

    def _report(self):
        entry = self.history[-1]
        numbers = {name: entry[name] for name in EPOCH_NUMBERS}
        report = EpochReport(**numbers, trainer=self, entry=entry)
        self.stopped = any_of(self.collective, self._hooks.report(report))
        self._before = None
        self._hooks.between_updates(self)


def numbers_of(tree):
    """Yield the arrays and the numbers of a tree."""
    if isinstance(tree, dict | list):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from numbers_of(part)
    elif isinstance(tree, np.ndarray | int | float):
        yield tree


def copied(tree):
    """Return a tree with arrays of its own."""
    if isinstance(tree, dict):
        return {name: copied(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [copied(value) for value in tree]
    return tree.copy() if isinstance(tree, np.ndarray) else tree
