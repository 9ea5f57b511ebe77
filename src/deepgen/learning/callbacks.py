"""Callbacks that act on a run: stop it, slow it down, write it down, keep it."""

import csv
import io
import logging
import math
import time
import warnings

from deepgen.checks import as_path, check_integer, check_number
from deepgen.io import atomic, checkpoints, trees
from deepgen.learning.hooks import require_machine
from deepgen.learning.monitors import FreeEnergyGap, LikelihoodMonitor, check_watched
from deepgen.likelihood import pseudo_log_likelihood
from deepgen.rows.states import as_states
from deepgen.runtime.collective import any_of

logger = logging.getLogger("deepgen")

# A stack is trained in several runs, one for each machine and perhaps one for the network made of
# them. By number of the history, what a run must have to be watched for it (`watchable`): our
# monitors write in the run that reads the data. Other names, a user's callback's, may be in any.
_NEEDED = {
    "loss": "loss", "validation_loss": "validation_loss",
    **dict.fromkeys(
        ("pseudo_log_likelihood", *LikelihoodMonitor.numbers, *FreeEnergyGap.numbers), "rows"
    ),
}  # fmt: skip


# Patience where none is named: this share of the epochs of the run, but so many epochs at least.
USUAL_SHARE, LEAST_PATIENCE = 0.1, 10


def _is_share(patience):
    return isinstance(patience, float) and 0.0 < patience < 1.0


def check_patience(value, name):
    """Raise ValueError unless `value` is a number of epochs, or a share of a run's epochs."""
    if not _is_share(value):
        check_integer(value, name)


class _Watch:
    """A number that should improve from epoch to epoch, its best, and the epochs since then."""

    def __init__(self, watched, patience, min_delta, mode):
        if patience is not None:
            check_patience(patience, "patience")
        check_number(min_delta, "min_delta", 0.0, closed=True)
        if mode not in ("max", "min"):
            raise ValueError(f"mode must be 'max' or 'min', got {mode!r}")
        self._of = watched if isinstance(watched, str) or callable(watched) else as_states(watched)
        self._sign = 1.0 if mode == "max" else -1.0
        self.patience, self.min_delta = patience, min_delta
        self.reset()

    def reset(self):
        self.best, self.best_epoch, self.waited = -math.inf, 0, 0
        self._warned = False

    def is_for(self, trainer):
        """Tell whether a run of a stack has what is watched; a function of the model sees all."""
        if isinstance(self._of, str):
            return self._of not in _NEEDED or _NEEDED[self._of] in trainer.watchable
        return callable(self._of) or "rows" in trainer.watchable

    def check(self, trainer):
        """Raise ValueError where the rows are none of the model's."""
        if isinstance(self._of, str) or callable(self._of):
            return
        require_machine(trainer, "a callback that watches rows")
        visible = trainer.parameters.layers[0]
        if math.isinf(visible.n_states):
            raise ValueError(
                f"rows of {type(visible).__name__} units have no pseudo-likelihood to watch; pass "
                "a function of the model, or 'log_likelihood' after dg.LikelihoodMonitor(X_valid)"
            )
        check_watched(trainer, self._of, "the rows to watch", states=True)

    def value(self, report):
        if isinstance(self._of, str):
            if self._of not in report.entry:
                raise ValueError(
                    f"this epoch's history has no {self._of!r}, only {sorted(report.entry)}; put "
                    "the callback that writes it first"
                )
            return float(report.entry[self._of])
        if callable(self._of):
            return float(self._of(report.trainer.model()))
        # the same sites in each epoch: differences are of the model
        return float(
            pseudo_log_likelihood(
                report.trainer.model(), self._of, random_state=0, n_threads=report.trainer.n_threads
            ).mean()
        )

    def better(self, report):
        """Look at an epoch; return (value, whether it is the best so far)."""
        value = self.value(report)
        if math.isnan(value) and not self._warned:
            self._warned = True
            warnings.warn(
                "a watched number is NaN, which counts as no improvement; look at the function or "
                "the callback that it comes from",
                RuntimeWarning,
                stacklevel=2,
            )
        if self._sign * value > self.best + self.min_delta:
            self.best, self.best_epoch, self.waited = self._sign * value, report.epoch, 0
            return value, True
        self.waited += 1
        return value, False

    def is_over(self, trainer):
        """Tell whether the epochs without improvement are more than patience allows."""
        patience = self.patience
        if patience is None:
            patience = max(LEAST_PATIENCE, math.ceil(USUAL_SHARE * trainer.n_epochs))
        elif _is_share(patience):
            patience = math.ceil(patience * trainer.n_epochs)
        return self.waited >= patience

    def state(self):
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def restore(self, state):
        self.best, self.best_epoch = float(state["best"]), int(state["best_epoch"])
        self.waited = int(state["waited"])


class EarlyStopping:
    """Callback that stops a run that no longer gets better, and goes back to its best epoch.

    Parameters
    ----------
    watched : array-like or sparse matrix, callable or str
        Held-out rows: their mean pseudo-log-likelihood (binary and softmax units), written into
        the history as ``pseudo_log_likelihood``. A function of the model that returns a number.
        Or the name of a number that an earlier callback writes into the history:
        ``"log_likelihood"`` of :class:`LikelihoodMonitor` is the best judge;
        ``"free_energy_gap"`` of :class:`FreeEnergyGap`, with ``mode="min"``, tells overfitting
        only.
    patience : int, float or None
        Epochs without improvement before it stops; a float between 0 and 1 is a share of the
        run's `n_epochs`. None: a tenth of them, at least 10: an epoch of few rows is one or two
        updates, in which hardly anything moves. NaN is no improvement, and gives a warning.
    min_delta : float, default 0.0
        An improvement is more than this.
    mode : {"max", "min"}, default "max"
        Whether more is better.
    restore_best : bool, default True
        At the end of the run take the model (and the particles) of the best epoch.

    Attributes
    ----------
    best : float
        The best number so far.
    best_epoch : int
        Its epoch, from 1; 0 before the first.

    Notes
    -----
    In a stack, rows and the numbers of this library's monitors are watched while its lowest
    machine learns, ``"loss"`` and ``"validation_loss"`` in the fine-tuning, functions and other
    names in each of its runs.

    The default learning rate decays over `n_epochs`: a run that is stopped has not come to its
    small steps. Where there is time, let it end, and keep the best epoch.
    """

    def __init__(self, watched, *, patience=None, min_delta=0.0, mode="max", restore_best=True):
        self._watch = _Watch(watched, patience, min_delta, mode)
        self._rows = not (isinstance(watched, str) or callable(watched))
        self.restore_best = restore_best
        self._best_arrays = None

    @property
    def best(self):
        """The best number so far."""
        return self._watch._sign * self._watch.best

    @property
    def best_epoch(self):
        """Epoch of the best number; 0 before the first."""
        return self._watch.best_epoch

    def is_for(self, trainer):
        """In a stack, tell whether this run has the rows or the number that are watched."""
        return self._watch.is_for(trainer)

    def begin(self, trainer):
        """Forget earlier runs."""
        self._watch.check(trainer)
        self._watch.reset()
        self._best_arrays = None

    def __call__(self, report):
        """Look at the epoch; return whether to stop."""
        value, better = self._watch.better(report)
        if self._rows:
            report.entry["pseudo_log_likelihood"] = value
        if better and self.restore_best:
            self._best_arrays = report.trainer.keep()
        if self._watch.is_over(report.trainer):
            logger.info("epoch %d: stopped, the best was %d", report.epoch, self.best_epoch)
            return True
        return False

    def finish(self, trainer):
        """Go back to the best epoch."""
        if self._best_arrays is not None and self.best_epoch != trainer.epoch:
            trainer.put_back(self._best_arrays)

    def state(self):
        """Return the best number and epoch, and copies of that epoch's arrays, for a checkpoint."""
        return {**self._watch.state(), "kept": self._best_arrays}

    def restore(self, state):
        """Take back what :meth:`state` returned."""
        self._watch.restore(state)
        self._best_arrays = state["kept"]


class ReduceLearningRate:
    """Callback that lowers the learning rate where a number no longer gets better.

    Parameters
    ----------
    watched, min_delta, mode
        See :class:`EarlyStopping`.
    factor : float, default 0.5
        The rate of the schedule is multiplied by it, once more at each plateau.
    patience : int, float or None, default 5
        Epochs without improvement before it does; see :class:`EarlyStopping`.
    min_scale : float, default 1e-3
        The product of all factors stays above this.
    """

    def __init__(
        self, watched, *, factor=0.5, patience=5, min_delta=0.0, mode="max", min_scale=1e-3
    ):
        check_number(factor, "factor", 0.0, 1.0)
        check_number(min_scale, "min_scale", 0.0, 1.0)
        self._watch = _Watch(watched, patience, min_delta, mode)
        self.factor, self.min_scale = factor, min_scale

    def is_for(self, trainer):
        """In a stack, tell whether this run has the rows or the number that are watched."""
        return self._watch.is_for(trainer)

    def begin(self, trainer):
        """Forget earlier runs."""
        self._watch.check(trainer)
        self._watch.reset()

    def __call__(self, report):
        """Look at the epoch; lower the rate of the next ones."""
        self._watch.better(report)
        trainer = report.trainer
        if self._watch.is_over(trainer):
            trainer.rate_scale = max(self.factor * trainer.rate_scale, self.min_scale)
            self._watch.waited = 0
            logger.info("epoch %d: learning rate times %g", report.epoch, trainer.rate_scale)

    def state(self):
        """Return the best number and the epochs without improvement, for a checkpoint."""
        return self._watch.state()

    def restore(self, state):
        """Take back what :meth:`state` returned."""
        self._watch.restore(state)


def as_csv(history):
    """Return a history as CSV text: a column for each name, empty where an epoch has none."""
    names = list(dict.fromkeys(name for entry in history for name in entry))
    text = io.StringIO()
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    return text.getvalue()


class CSVLog:
    """Callback that writes the history to a CSV file, one line an epoch.

    The file is written anew after each epoch, so it is whole at all times and has no epoch twice
    after a stop. Numbers that callbacks behind it write come into the file one epoch later, and
    those of the last epoch at the end. A full disk gives a warning and stops nothing.

    Parameters
    ----------
    path : str or path-like
        One file; its folder must exist.
    """

    def __init__(self, path):
        self.path = as_path(path)

    def begin(self, trainer):
        """Look for what would keep the file from being written."""
        if trainer.collective.rank == 0:
            atomic.require_writable(self.path, "the log")

    def __call__(self, report):
        """Write the history so far."""
        self._write(report.trainer)

    def end(self, trainer, error):
        """Write it once more: callbacks behind this one may have added to it."""
        if trainer.history:
            self._write(trainer)

    def _write(self, trainer):
        if trainer.collective.rank != 0:
            return
        try:
            atomic.write_atomically(self.path, as_csv(trainer.history).encode())
        except OSError as error:
            warnings.warn(
                f"the log {str(self.path)!r} could not be written ({error}); training goes on",
                RuntimeWarning,
                stacklevel=2,
            )


class Checkpoint:
    """Callback that writes the run to a file now and then, and where it is broken off.

    ``rbm.fit(X, resume=path)`` goes on from the file with the same bits as if nothing had
    happened. The file is replaced atomically: it is always a whole one. After Ctrl-C, SIGTERM or
    an error of a callback it is written once more, and at the end, where ``resume`` returns the
    finished model. A run that diverged is not written: the file is that of before.

    Parameters
    ----------
    path : str or path-like
        One file; its folder must exist.
    minutes : float or None, default 10.0
        Write after this many minutes, in the middle of an epoch too. None: never by the clock.
    epochs : int or None
        Write after every so many epochs too.
    on_save_error : {"warn", "raise"}, default "warn"
        What a full disk does: a warning, and training goes on with the last file in place, or
        an error.

    Examples
    --------
    >>> import os, tempfile
    >>> import deepgen as dg
    >>> X = dg.datasets.sample_bars_and_stripes(200, 3, random_state=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "run.checkpoint")
    >>> rbm = dg.RBM(8, n_epochs=3, random_state=0, callbacks=[dg.Checkpoint(path)])
    >>> rbm.fit(X, resume=path if os.path.exists(path) else None).n_updates_
    6
    """

    def __init__(self, path, *, minutes=10.0, epochs=None, on_save_error="warn"):
        if minutes is not None:
            check_number(minutes, "minutes", 0.0, closed=True)
        if epochs is not None:
            check_integer(epochs, "epochs")
        if on_save_error not in ("warn", "raise"):
            raise ValueError(f"on_save_error must be 'warn' or 'raise', got {on_save_error!r}")
        self.path, self.minutes, self.epochs = as_path(path), minutes, epochs
        self.on_save_error = on_save_error
        self._due, self._last = False, time.monotonic()

    def begin(self, trainer):
        """Start the clock; raise now what would keep the file from being written later."""
        if trainer.collective.rank == 0:
            atomic.require_writable(self.path, "the checkpoint")
        trees.plain(trainer.state())  # the state of a user's own rule may be no plain data
        self._due, self._last = False, time.monotonic()

    def __call__(self, report):
        """Note that an epoch is over."""
        self._due = self.epochs is not None and report.epoch % self.epochs == 0

    def between_updates(self, trainer):
        """Write, if it is time."""
        late = self.minutes is not None and any_of(
            trainer.collective, time.monotonic() - self._last >= 60.0 * self.minutes
        )
        if late or self._due:
            self._write(trainer, self.on_save_error)

    def end(self, trainer, error):
        """Write the end of the run, or the place where it was broken off."""
        if trainer.whole:
            self._write(trainer, self.on_save_error if error is None else "warn")

    def _write(self, trainer, on_error):
        """Write the file; a failure is a warning or, where `on_error` is "raise", the error."""
        try:
            tree = checkpoints.tree_of(trainer)  # of all processes
            if trainer.collective.rank == 0:
                trees.save(tree, self.path)
        except (OSError, ValueError) as error:
            if on_error == "raise":
                raise
            message = f"the checkpoint {str(self.path)!r} could not be written ({error})"
            logger.warning("%s", message)
            warnings.warn(
                f"{message}; training goes on, and the file of before, if any, is in place",
                RuntimeWarning,
                stacklevel=2,
            )
        self._due, self._last = False, time.monotonic()
