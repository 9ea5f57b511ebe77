"""Checkpoints of a run: when they are written, and whether one fits the run that goes on.

A checkpoint is the tree ``{"frame": ..., "trainer": ...}``: the trainer's state, and what the maker
of the run put around it (``Trainer.frame``): the settings that decide bits, and what else it needs
to go on, such as the finished layers of a stack.
"""

import logging
import time
import warnings

from deepgen.checks import as_path, check_integer, check_number
from deepgen.io import atomic, trees

logger = logging.getLogger("deepgen")


class OtherRunError(ValueError):
    """A checkpoint is that of a run with other settings."""


def save(trainer, path):
    """Write a trainer's state and its frame to a file, atomically."""
    trees.save({"frame": trainer.frame, "trainer": trainer.state()}, path)


def load(path, remedy=None):
    """Return (frame, state) of a checkpoint.

    Parameters
    ----------
    path : str or path-like
    remedy : str or None
        End of the message where there is no such file. None: what a user of ``fit(resume=)``
        should do.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is not a whole checkpoint.
    """
    try:
        tree = trees.load(path)
    except FileNotFoundError:
        remedy = remedy or (
            "leave `resume` out to begin a run that writes it, or name the file that "
            "dg.Checkpoint was given"
        )
        raise FileNotFoundError(f"there is no checkpoint {str(path)!r}; {remedy}") from None
    if set(tree) != {"frame", "trainer"} or not all(isinstance(v, dict) for v in tree.values()):
        raise trees.ModelFileError(f"{path}: damaged (no frame or no trainer)")
    return tree["frame"], tree["trainer"]


def require_same(stored, expected, path, remedy=None):
    """Raise OtherRunError naming each setting of a checkpoint that is not the run's.

    Parameters
    ----------
    stored, expected : dict
        Settings by name, plain data: of the checkpoint, and of the run that shall go on from it.
    path : str or path-like
    remedy : str or None
        End of the message. None: what a user of ``fit(resume=)`` should do.
    """
    stored = stored if isinstance(stored, dict) else {}
    names = sorted(
        name for name in {*stored, *expected} if stored.get(name) != expected.get(name)
    )
    if "estimator" in names:  # the others follow from it
        names = ["estimator"]
    other = "; ".join(
        f"{name} is {expected.get(name, 'not set')!s} here and "
        f"{stored.get(name, 'not set')!s} there"
        for name in names
    )
    remedy = remedy or (
        "Go on with the settings and the data that it was begun with, or begin a new run"
    )
    if other:
        raise OtherRunError(f"{path} is the checkpoint of another run: {other}. {remedy}")


def restore(trainer, state, path):
    """Put a checkpoint's state into a trainer made with the same settings.

    Raises
    ------
    ModelFileError
        If the state is not one of such a trainer.
    """
    try:
        trainer.restore(state)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise trees.ModelFileError(f"{path}: damaged ({error})") from None


class Checkpoint:
    """Callback that writes the run to a file now and then, and where it is broken off.

    ``rbm.fit(X, resume=path)`` goes on from the file with the same bits as if nothing had
    happened. The file is replaced atomically: it is always a whole one. After Ctrl-C or an error
    of a callback it is written once more, and at the end, where ``resume`` returns the finished
    model. A run that diverged is not written: the file is that of before.

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
        atomic.require_writable(self.path, "the checkpoint")
        trees.plain(trainer.state())  # the state of a user's own rule may be no plain data
        self._due, self._last = False, time.monotonic()

    def __call__(self, report):
        """Note that an epoch is over."""
        self._due = self.epochs is not None and report.epoch % self.epochs == 0

    def between_updates(self, trainer):
        """Write, if it is time."""
        late = self.minutes is not None and time.monotonic() - self._last >= 60.0 * self.minutes
        if late or self._due:
            self._write(trainer, self.on_save_error)

    def end(self, trainer, error):
        """Write the end of the run, or the place where it was broken off."""
        if trainer.whole:
            self._write(trainer, self.on_save_error if error is None else "warn")

    def _write(self, trainer, on_error):
        """Write the file; a failure is a warning or, where `on_error` is "raise", the error."""
        try:
            save(trainer, self.path)
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
