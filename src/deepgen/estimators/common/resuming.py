"""Checkpoints of an estimator's runs: what is kept around a run, and whether one fits."""

import numbers
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepgen.checks import as_path
from deepgen.errors import ModelFileError
from deepgen.estimators.common.plain_settings import FREE
from deepgen.io import checkpoints
from deepgen.rows.fingerprint import is_order, same_order
from deepgen.runtime.precision import PRECISIONS, precision
from deepgen.runtime.stream import child_seed

# The entry in the frame of a stream's run that holds the rows it has begun with, while they are
# fewer than a batch; None after that. A run of `fit` has no such entry.
FIRST_ROWS = "first_rows"


@dataclass(frozen=True)
class StoppedRun:
    """The content of a checkpoint, once it is known to be of this kind, seed and arithmetic.

    Attributes
    ----------
    path : Path
    frame : dict
        What was kept around the run: settings, marks of the rows, finished layers of a stack.
    state : dict
        Of the trainer.
    seed : int
        What the run was begun with.
    """

    path: Path
    frame: dict
    state: dict
    seed: int


def checkpoint_path(path, name, writer):
    """Return a path; TypeError or OSError, which names what writes the file, if it can be none."""
    path = as_path(path, name)
    if path.is_dir():
        raise IsADirectoryError(
            f"{name} must name a file that {writer} has written, got the folder {str(path)!r}"
        )
    return path


def origin_of(seed):
    """Return entries of a frame about a run's origin: seed, seed of likelihoods, arithmetic."""
    return {"seed": seed, "score_seed": child_seed(seed, "score"), "precision": precision()}


def marks_of(survey):
    """Return entries of a frame by which the rows are known again: their mean, their order."""
    return {"mean": np.asarray(survey.mean), "order": survey.order}


def read_run(estimator, path, *, stream=False):
    """Return the :class:`StoppedRun` of a checkpoint of `fit`, or of a stream.

    Raises
    ------
    ValueError
        If it is one of the other kind, of another seed or another arithmetic, or damaged.
    FileNotFoundError
    """
    ours = "name a file that save_checkpoint has written"
    frame, state = checkpoints.load(path, ours if stream else None)
    if isinstance(frame.get("settings"), dict):  # earlier versions compared more
        compared = frame["settings"].items()
        frame["settings"] = {name: value for name, value in compared if name not in FREE}
    if stream and FIRST_ROWS not in frame:
        raise checkpoints.OtherRunError(
            f"{path} is not the checkpoint of a stream; go on with fit or refine(X, resume=path), "
            f"or {ours}"
        )
    if not stream and FIRST_ROWS in frame:
        raise checkpoints.OtherRunError(
            f"{path} is the checkpoint of a stream; read it with load_checkpoint and go on with "
            "partial_fit, or name a file that dg.Checkpoint has written"
        )
    seed = _seed_in(estimator, frame, path)
    _require_same_precision(frame, path)
    return StoppedRun(path, frame, state, seed)


def _seed_in(estimator, frame, path):
    """Return the seed of a checkpoint's run; ValueError if the estimator names another."""
    seed, wish = frame.get("seed"), estimator.random_state
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ModelFileError(f"{path}: damaged (no seed)")
    if isinstance(wish, numbers.Integral) and wish != seed:
        checkpoints.require_same({"random_state": seed}, {"random_state": int(wish)}, path)
    return seed


def _require_same_precision(frame, path):
    """Raise ValueError where a checkpoint's run had another arithmetic than the process has."""
    before, now = frame.get("precision"), precision()
    if before not in PRECISIONS:
        raise ModelFileError(f"{path}: damaged (no precision)")
    if before != now:
        raise checkpoints.OtherRunError(
            f"{path} is the checkpoint of a run with precision {before!r}, and here it is "
            f"{now!r}; call dg.set_precision({before!r}) first, or set DEEPGEN_PRECISION"
        )


def require_same_run(stopped, settings, survey):
    """Raise ValueError where a stopped run had other settings or other rows.

    Parameters
    ----------
    stopped : StoppedRun
    settings : dict
        Of this run.
    survey : Survey
        Of its rows.
    """
    frame, path = stopped.frame, stopped.path
    checkpoints.require_same(frame.get("settings"), settings, path)
    mean = frame.get("mean")
    if not isinstance(mean, np.ndarray) or mean.shape != survey.mean.shape:
        raise ModelFileError(f"{path}: damaged (no mean of the data)")
    # the same rows, cut or stored in another way, differ by rounding only
    away = np.abs(survey.mean - mean) > 1e-3 * np.sqrt(survey.variance) + 1e-5 * np.abs(mean)
    if away.any():
        column = int(away.argmax())
        raise ValueError(
            f"{path} is the checkpoint of a run on other rows: the mean of column {column} of X "
            f"is {survey.mean[column]:.6g} here and {mean[column]:.6g} there; pass the rows that "
            "it was begun with, in their order"
        )
    order = frame.get("order")
    if not is_order(order):
        raise ModelFileError(f"{path}: damaged (no order of the data)")
    if not same_order(order, survey.order):
        raise ValueError(
            f"{path} is the checkpoint of a run on other rows, or on these in another order: their "
            f"weighted sum is {survey.order['sum']:.9g} here and {order['sum']:.9g} there; pass "
            "the rows that it was begun with, in their order"
        )
