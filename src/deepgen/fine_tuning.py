"""Training of networks: what is made small, and the loop that does it."""

import contextlib
import logging
import time
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from deepgen import backprop
from deepgen._kernels import engine
from deepgen.errors import DivergedError
from deepgen.losses import Loss
from deepgen.models import NetworkParameters
from deepgen.stream import Stream
from deepgen.threads import Governor
from deepgen.training import SNAPSHOT_EVERY, EpochReport, interrupt_between_steps

# Rows of one pass where a whole data set goes through.
PASS_ROWS = 2_048

logger = logging.getLogger("deepgen")


def _check_share(value, name):
    good = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not (good and 0 <= value < 1):
        raise ValueError(f"{name} must be a number in [0, 1), got {value!r}")


@dataclass(frozen=True)
class Objective:
    """What training makes small: a loss, penalties, and what is left out at random.

    Parameters
    ----------
    loss : Loss
    l2 : float, default 0.0
        ``l2 / 2`` times the sum of all squared weights; tied ones count once.
    l1 : float, default 0.0
        Times the sum of the hidden units' absolute activities, mean over rows.
    dropout, input_dropout : float, default 0.0
        Share of the hidden units and of the inputs that is left out of an update (Srivastava et
        al. 2014).
    masking : float, default 0.0
        Share of the inputs that is set to zero; the target stays whole (Vincent et al. 2008).
    """

    loss: Loss
    l2: float = 0.0
    l1: float = 0.0
    dropout: float = 0.0
    input_dropout: float = 0.0
    masking: float = 0.0

    def __post_init__(self):
        for name in ("dropout", "input_dropout", "masking"):
            _check_share(getattr(self, name), name)
        for name in ("l1", "l2"):
            value = getattr(self, name)
            good = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not (good and 0 <= value < np.inf):
                raise ValueError(f"{name} must be a number of at least 0, got {value!r}")

    @property
    def is_random(self):
        """Whether anything is left out at random."""
        return bool(self.dropout or self.input_dropout or self.masking)

    def evaluate(
        self, network, X, target, *, stream=None, first=0, workspace=None, n_threads=None
    ):
        """Return the value and its gradient by name.

        Parameters
        ----------
        network : Network or NetworkParameters
        X : states of shape (n_rows, n_inputs)
        target : ndarray
            See :class:`~deepgen.losses.Loss`.
        stream : Stream or None
            At the position of the update; None: nothing is left out.
        first : int, default 0
            Layers below it get no gradient.

        Returns
        -------
        tuple of (float, dict of {str: ndarray})
        """
        tools = {"workspace": workspace, "n_threads": n_threads}
        dropout = None
        if stream is not None and self.is_random:
            dropout = backprop.Dropout(stream, self.input_dropout, self.dropout, self.masking)
        kept = backprop.forward(network, X, dropout=dropout, **tools)
        value, gradient = self.loss(network.layers[-1], kept.field, target)
        l1 = self.l1 / max(len(kept.field), 1)
        if l1:
            value += l1 * sum(float(np.abs(h).sum(dtype=np.float64)) for h in kept.outputs[1:])
        gradients = backprop.backward(network, kept, gradient, first=first, l1=l1, **tools)
        if self.l2:
            arrays = network.learned(first)
            for name, array in arrays.items():
                if name.startswith("weights"):
                    value += 0.5 * self.l2 * float(np.square(array).sum(dtype=np.float64))
                    gradients[name] += np.float32(self.l2) * array
        return value, gradients


def loss_by_row(network, loss, rows, *, n_threads=None):
    """Return the loss of each row, float64 of shape (n_rows,).

    Parameters
    ----------
    network : Network or NetworkParameters
    loss : Loss
    rows : PairedRows
    """
    by_row = [
        loss.by_row(
            network.layers[-1], backprop.forward(network, states, n_threads=n_threads).field,
            target,
        )
        for states, target in rows.pairs(PASS_ROWS)
    ]  # fmt: skip
    return np.concatenate(by_row) if by_row else np.empty(0)


class NetworkTrainer:
    """A run of fine-tuning: parameters, optimizer state, stream and place.

    Parameters
    ----------
    network : Network
        Starting point.
    objective : Objective
    optimizer : SGD, Adam, ConjugateGradient or LBFGS
    schedule : callable
        Learning rate by progress in [0, 1]; minimizers need none.
    stream : Stream
    batch_size : int
    top_epochs : int, default 0
        Epochs at the start in which only the last layer moves: a new top would otherwise spoil
        the features below it before it has learned anything.
    n_threads : int or None

    Attributes
    ----------
    n_updates, epoch, batch : int
        Place of the run: updates and whole epochs so far, batches of the epoch that has begun.
    history : list of dict
        One entry an epoch; ``loss`` is the mean objective of its updates, each before its step.
    """

    def __init__(
        self, network, objective, optimizer, schedule, *, stream, batch_size=100, top_epochs=0,
        n_threads=None,
    ):  # fmt: skip
        objective.loss.check(network.layers[-1].activation)
        if top_epochs and network.layers[-1].tied_to is not None:
            raise ValueError("top_epochs needs weights of the last layer's own, got a tied one")
        self.objective, self.optimizer, self.schedule = objective, optimizer, schedule
        self.stream, self.batch_size, self.top_epochs = stream, batch_size, top_epochs
        self.n_threads = n_threads
        self.parameters = NetworkParameters(network)
        self.optimizer_state = self._start()
        self.n_updates = self.epoch = self.batch = 0
        self.history = []
        self.learning_rate = float(schedule(0.0))
        self.stopped = False
        self._total, self._n_rows, self._seconds = 0.0, 0, 0.0  # of the epoch that has begun
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

    def _start(self):
        if hasattr(self.optimizer, "minimize"):
            return {"average": {"arrays": None, "count": 0}}
        return self.optimizer.start(self.parameters)

    def network(self):
        """Return the network that this run stands for: averaged where averaging has begun."""
        return self.parameters.to_network(self.optimizer_state["average"]["arrays"])

    model = network  # what callbacks of other runs ask for

    # --- going on after a stop ----------------------------------------------------------------

    def state(self):
        """Return all that decides how the run goes on: a tree of plain data and arrays."""
        return {
            "place": {
                "n_updates": self.n_updates, "epoch": self.epoch, "batch": self.batch,
                "total": self._total, "n_rows": self._n_rows, "seconds": self._seconds,
                "stopped": self.stopped,
            },
            "stream": {"key": self.stream.key, "position": self.stream.position},
            "learning_rate": self.learning_rate,
            "parameters": self.parameters.snapshot(),
            "good": _copied(self._good),
            "optimizer": _copied(self.optimizer_state),
            "history": _copied(self.history),
        }  # fmt: skip

    def restore(self, state):
        """Go on from what :meth:`state` returned, in a run made with the same settings.

        Raises
        ------
        ValueError
            If the state is not one of such a network; nothing is changed then.
        """
        own = self.parameters.learned()
        for part in ("parameters", "good"):
            arrays = state[part]
            if {n: a.shape for n, a in arrays.items()} != {n: a.shape for n, a in own.items()}:
                raise ValueError(f"state.{part} holds other arrays than this run's network has")
        self.parameters.restore(state["parameters"])
        self._good = _copied(state["good"])
        self.optimizer_state = _copied(state["optimizer"])
        self.history = _copied(state["history"])
        self.stream = Stream(**state["stream"])
        self.learning_rate = state["learning_rate"]
        place = state["place"]
        self.n_updates, self.epoch, self.batch = (
            place["n_updates"], place["epoch"], place["batch"],
        )  # fmt: skip
        self._total, self._n_rows = place["total"], place["n_rows"]
        self._seconds, self.stopped = place["seconds"], place["stopped"]

    # --- learning -----------------------------------------------------------------------------

    def step(self, batch, target, progress):
        """Make one update.

        Parameters
        ----------
        batch : states of shape (n_rows, n_inputs)
        target : ndarray
        progress : float
            In [0, 1], for schedules and averaging.

        Returns
        -------
        float
            The objective before the update.

        Raises
        ------
        DivergedError
            If a parameter is no longer finite; the last good parameters are put back.
        """
        if self.n_updates % SNAPSHOT_EVERY == 0:
            self._good = self.parameters.snapshot()
        site = Stream(self.stream.child("updates").key, self.n_updates)
        first = self.parameters.n_layers - 1 if self.epoch < self.top_epochs else 0
        tools = {"workspace": self._workspace, "n_threads": self._governor.next()}
        asked = {"stream": site, "first": first, **tools}
        with np.errstate(over="ignore", invalid="ignore"):  # a flag tells, and is acted on
            if hasattr(self.optimizer, "minimize"):
                value = self._minimize(batch, target, asked)
                overflow = not np.isfinite(value)
            else:
                value, gradients = self.objective.evaluate(
                    self.parameters, batch, target, **asked
                )
                self.learning_rate = float(self.schedule(progress))
                overflow = self.optimizer.descend(
                    self.parameters, gradients, self.optimizer_state, self.learning_rate,
                    progress, n_threads=tools["n_threads"],
                )  # fmt: skip
        self._governor.done()
        if overflow or not np.isfinite(value):
            self._diverged()
        self.n_updates += 1
        return value

    def _minimize(self, batch, target, asked):
        """Take a few line searches on this batch; the parameters that move form one vector."""
        arrays = self.parameters.learned(asked["first"])
        cuts = np.cumsum([array.size for array in arrays.values()])[:-1]
        values = []

        def function(vector):
            for array, part in zip(arrays.values(), np.split(vector, cuts), strict=True):
                array[...] = part.reshape(array.shape)
            value, gradients = self.objective.evaluate(self.parameters, batch, target, **asked)
            values.append(value)
            flat = np.concatenate([gradients[name].reshape(-1) for name in arrays])
            return value, flat.astype(np.float64)

        start = np.concatenate([array.reshape(-1) for array in arrays.values()])
        best = self.optimizer.minimize(function, start.astype(np.float64))
        for array, part in zip(arrays.values(), np.split(best, cuts), strict=True):
            array[...] = part.reshape(array.shape)
        return values[0]

    def _diverged(self):
        name = self.parameters.first_non_finite() or "loss"
        self.parameters.restore(self._good)
        self.optimizer_state = self._start()
        raise DivergedError(name, self.epoch + 1, self.learning_rate)

    def fit(self, rows, n_epochs, *, callbacks=(), verbose=0):
        """Train until `n_epochs` epochs are whole; goes on where the run is.

        Parameters
        ----------
        rows : PairedRows
        n_epochs : int
        callbacks : sequence of callable
            Called with an :class:`EpochReport` after each epoch; a true value stops training.
        verbose : int
            1 or more shows a progress bar.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, between two updates.
        """
        total = n_epochs * -(-rows.n_rows // self.batch_size)
        bar = tqdm(total=total, initial=self.n_updates, unit="update") if verbose else None
        with interrupt_between_steps() as check_interrupt, bar or contextlib.nullcontext():
            while self.epoch < n_epochs and not self.stopped:
                began = time.perf_counter() - self._seconds
                order = Stream(self.stream.child("order").key, self.epoch)
                for batch, target in rows.batches(self.batch_size, order, skip=self.batch):
                    check_interrupt()
                    value = self.step(batch, target, (self.n_updates + 1) / total)
                    self.batch += 1
                    self._total += value * batch.shape[0]
                    self._n_rows += batch.shape[0]
                    self._seconds = time.perf_counter() - began
                    if bar is not None:
                        bar.update()
                self.epoch += 1
                self._report(time.perf_counter() - began, callbacks)

    def _report(self, seconds, callbacks):
        owned = [w for w in self.parameters.weights if w is not None]
        report = EpochReport(
            self.epoch, self.n_updates, self.learning_rate, seconds, self._n_rows,
            max(float(np.abs(w).max()) for w in owned), self,
        )  # fmt: skip
        names = ("epoch", "n_updates", "learning_rate", "seconds", "n_rows", "weight_max")
        report.entry.update((name, getattr(report, name)) for name in names)
        report.entry["loss"] = self._total / max(self._n_rows, 1)
        self.history.append(report.entry)
        self.batch, self._total, self._n_rows, self._seconds = 0, 0.0, 0, 0.0
        logger.info("epoch %(epoch)d: loss %(loss).5g, %(seconds).2f s", report.entry)
        answers = [callback(report) for callback in callbacks]  # all of them are called
        self.stopped = any(answers)


class KeepBest:
    """A callback that keeps the best parameters on rows held back, and stops when none follow.

    Parameters
    ----------
    error : callable
        Takes a Network, returns a number that should become small.
    patience : int, default 10
        Epochs without a better one before training stops.
    name : str, default "validation_error"
        Of the number in the history.
    """

    def __init__(self, error, patience=10, name="validation_error"):
        self.error, self.patience, self.name = error, patience, name
        self.best, self.best_epoch, self.network = np.inf, 0, None

    def __call__(self, report):
        """Judge an epoch; True ends the run."""
        network = report.trainer.network()
        value = report.entry[self.name] = float(self.error(network))
        if value < self.best:
            self.best, self.best_epoch, self.network = value, report.epoch, network
        return report.epoch - self.best_epoch >= self.patience


def _copied(tree):
    """Return a tree with arrays of its own."""
    if isinstance(tree, dict):
        return {name: _copied(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_copied(value) for value in tree]
    return tree.copy() if isinstance(tree, np.ndarray) else tree
