"""From an estimator's settings to a run of `fit`: a new one, or one that goes on."""

import numbers
from dataclasses import dataclass

import numpy as np

from deepgen.checks import as_path
from deepgen.errors import ModelFileError
from deepgen.estimators.common.hyperparameters import trainer_for
from deepgen.estimators.common.plain_settings import text
from deepgen.io import checkpoints
from deepgen.layers.named import as_units
from deepgen.learning.optimizers import SGD
from deepgen.learning.rules import as_rule
from deepgen.learning.starts import default_epochs, initial_model
from deepgen.rows.fingerprint import RowOrder, is_order, same_order
from deepgen.rows.survey import survey
from deepgen.runtime.precision import PRECISIONS, precision
from deepgen.runtime.stream import Stream, child_seed, seed_of

# The name in the frame of a stream's run of the rows that it has begun with, while they are few.
FIRST_ROWS = "first_rows"


@dataclass(frozen=True)
class Survey:
    """What was measured of the rows.

    Attributes
    ----------
    n_rows : int
    mean, variance : ndarray of shape (n_columns,)
    order : dict
        See :meth:`deepgen.rows.fingerprint.RowOrder.tree`.
    """

    n_rows: int
    mean: np.ndarray
    variance: np.ndarray
    order: dict

    @property
    def moments(self):
        """(n_rows, mean, variance)."""
        return self.n_rows, self.mean, self.variance


def surveyed(rows, units, n_threads=None):
    """Check and measure rows in one pass; see :func:`deepgen.rows.survey.survey`."""
    order = RowOrder(n_threads)
    return Survey(*survey(rows, units, n_threads=n_threads, also=order.add), order.tree())


def checked_resume(resume):
    """Return `resume` as a Path, or None; TypeError or OSError where it can be no checkpoint."""
    return None if resume is None else checkpoint_path(resume, "resume", "dg.Checkpoint")


def checkpoint_path(path, name, writer):
    """Return a path; TypeError or OSError, which names what writes the file, if it can be none."""
    path = as_path(path, name)
    if path.is_dir():
        raise IsADirectoryError(
            f"{name} must name a file that {writer} has written, got the folder {str(path)!r}"
        )
    return path


def settings_of(estimator, trainer):
    """Return the settings that decide the bits of a run, as plain data."""
    return {
        "estimator": type(estimator).__name__,
        "n_hidden": int(estimator.n_hidden),
        "visible": text(as_units(estimator.visible, "visible")),
        "hidden": text(as_units(estimator.hidden, "hidden")),
        "rule": text(as_rule(estimator.rule)),
        "learning_rate": text(trainer.schedule),
        "optimizer": text(estimator.optimizer or SGD()),
        "batch_size": int(estimator.batch_size),
        "binarize": bool(estimator.binarize),
        "n_features": int(estimator.n_features_in_),
    }


def n_epochs_for(estimator, n_rows):
    """Return the number of epochs: as asked for, else enough for the default updates."""
    if estimator.n_epochs is not None:
        return int(estimator.n_epochs)
    return default_epochs(n_rows, estimator.batch_size)


def new_run(estimator, layers, found):
    """Return a trainer at its first update."""
    return _fit_trainer(estimator, layers, found, seed_of(estimator.random_state))


def _fit_trainer(estimator, layers, found, seed):
    stream = Stream.from_random_state(seed)
    model = initial_model(*layers, found.mean, found.variance, found.n_rows, stream)
    trainer = trainer_for(estimator, model, stream)
    settings = settings_of(estimator, trainer)
    settings["n_samples"] = int(found.n_rows)
    settings["n_epochs"] = n_epochs_for(estimator, found.n_rows)
    trainer.frame = {**origin_of(seed), "settings": settings, **marks_of(found)}
    return trainer


def marks_of(found):
    """Return what a frame keeps of the rows, to know them again."""
    return {"mean": np.asarray(found.mean), "order": found.order}


def origin_of(seed):
    """Return what a run begins from: its seed, that of its likelihoods, and the arithmetic."""
    return {"seed": seed, "score_seed": child_seed(seed, "score"), "precision": precision()}


def resumed_run(estimator, layers, found, path):
    """Return the trainer of a checkpoint.

    Raises
    ------
    ValueError
        If it is that of another run; the message names what differs.
    """
    frame, state, seed = read_run(estimator, path)
    trainer = _fit_trainer(estimator, layers, found, seed)
    require_same_run(frame, trainer.frame["settings"], found, path)
    checkpoints.restore(trainer, state, path)
    return trainer


def read_run(estimator, path, *, stream=False):
    """Return (frame, state, seed) of the checkpoint of a fit, or of a stream.

    Raises
    ------
    ValueError
        If it is one of the other kind, of another seed or another arithmetic, or damaged.
    FileNotFoundError
    """
    ours = "name a file that save_checkpoint has written"
    frame, state = checkpoints.load(path, ours if stream else None)
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
    return frame, state, seed


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
    kept, now = frame.get("precision"), precision()
    if kept not in PRECISIONS:
        raise ModelFileError(f"{path}: damaged (no precision)")
    if kept != now:
        raise checkpoints.OtherRunError(
            f"{path} is the checkpoint of a run with precision {kept!r}, and here it is {now!r}; "
            f"call dg.set_precision({kept!r}) first, or set DEEPGEN_PRECISION"
        )


def require_same_run(frame, settings, found, path):
    """Raise ValueError where a checkpoint's run had other settings or other rows.

    Parameters
    ----------
    frame : dict
        Of the checkpoint.
    settings : dict
        Of this run.
    found : Survey
    path : str or path-like
    """
    checkpoints.require_same(frame.get("settings"), settings, path)
    mean = frame.get("mean")
    if not isinstance(mean, np.ndarray) or mean.shape != found.mean.shape:
        raise ModelFileError(f"{path}: damaged (no mean of the data)")
    # the same rows, cut or stored in another way, differ by rounding only
    away = np.abs(found.mean - mean) > 1e-3 * np.sqrt(found.variance) + 1e-5 * np.abs(mean)
    if away.any():
        column = int(away.argmax())
        raise ValueError(
            f"{path} is the checkpoint of a run on other rows: the mean of column {column} of X "
            f"is {found.mean[column]:.6g} here and {mean[column]:.6g} there; pass the rows that it "
            "was begun with, in their order"
        )
    kept = frame.get("order")
    if not is_order(kept):
        raise ModelFileError(f"{path}: damaged (no order of the data)")
    if not same_order(kept, found.order):
        raise ValueError(
            f"{path} is the checkpoint of a run on other rows, or on these in another order: their "
            f"weighted sum is {found.order['sum']:.9g} here and {kept['sum']:.9g} there; pass the "
            "rows that it was begun with, in their order"
        )
