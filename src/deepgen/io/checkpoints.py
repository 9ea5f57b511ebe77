"""Checkpoints of a run: writing and reading them, and whether one fits the run that goes on.

A callback decides when they are written: ``dg.Checkpoint``, in ``learning/callbacks.py``.

A checkpoint is the tree ``{"frame": ..., "trainer": ...}``: the trainer's state, and what the maker
of the run put around it (``Trainer.frame``): the settings that decide bits, and what else it needs
to go on, such as the finished layers of a stack.
"""

import logging

from deepgen.io import trees

logger = logging.getLogger("deepgen")


class OtherRunError(ValueError):
    """A checkpoint is that of a run with other settings."""


def tree_of(trainer):
    """Return a trainer's state and its frame, as a checkpoint has them."""
    return {"frame": trainer.frame, "trainer": trainer.state()}


def save(trainer, path):
    """Write a trainer's state and its frame to a file, atomically."""
    trees.save(tree_of(trainer), path)


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
    other = "; ".join(_difference(name, expected, stored) for name in names)
    remedy = remedy or (
        "Go on with the settings and the data that it was begun with, or begin a new run"
    )
    if other:
        raise OtherRunError(f"{path} is the checkpoint of another run: {other}. {remedy}")


def _difference(name, expected, stored):
    """Say a setting that is one here and another there; -1 is not "-1"."""
    here, there = (settings.get(name, "not set") for settings in (expected, stored))
    if str(here) == str(there):
        here, there = repr(here), repr(there)
    return f"{name} is {here} here and {there} there"


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
