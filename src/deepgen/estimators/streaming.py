"""Learning from a stream: how it begins, however few rows come at a time, and how it goes on."""

import numpy as np
from scipy import sparse

from deepgen import checkpoints
from deepgen.data import ArrayRows, join, survey
from deepgen.errors import ModelFileError
from deepgen.estimators.running import seed_in, seeds_of, settings_of
from deepgen.estimators.settings import stream_schedule, trainer_for, units_for
from deepgen.loop import interrupt_between_steps
from deepgen.states import CompressedRows, as_states
from deepgen.stream import Stream, seed_of
from deepgen.training import initial_model

# The name in a run's frame of the rows that a stream has begun with, while they are few.
FIRST_ROWS = "first_rows"


def run_for(estimator, X, kind):
    """Return the run that a call of `partial_fit` belongs to, and the rows it should learn.

    The model starts from the moments of its first rows, and so do the offsets of centring and the
    scale of real-valued units: one row has no variance. So short calls are put together, and each
    starts anew with all that came before it, until there is a batch.

    Parameters
    ----------
    estimator : RBM or DBN
        Its `_trainer` is the run so far, or None.
    X : ndarray or CSR matrix
        Rows of the call.
    kind : object
        How its runs begin: ``begin(rows, seed)`` from the first batch, ``after_fit()``;
        ``take_over(run)`` lets a run go on with the settings of now. Runs have a ``frame``.

    Returns
    -------
    tuple of (run, rows)
    """
    run = getattr(estimator, "_trainer", None)
    if run is None and hasattr(estimator, "model_"):
        return kind.after_fit(), X
    if run is None:
        return _begin(estimator, kind, X, seed_of(estimator.random_state))
    earlier = run.frame[FIRST_ROWS]
    if earlier is None:
        kind.take_over(run)
        return run, X
    return _begin(estimator, kind, join([_rows_of(earlier), X]), run.frame["seed"])


def _begin(estimator, kind, X, seed):
    size = int(estimator.batch_size)
    run = kind.begin(ArrayRows(X[:size]), seed)
    if X.shape[0] < size:
        run.frame[FIRST_ROWS] = _kept(X)
    return run, X


def settings_in_stream(before, now):
    """Return the settings of now after a check that a stream can go on with them.

    Rate and size of the batches may change; ValueError names another one that differs.
    """
    for name in sorted(now):
        if name not in ("learning_rate", "batch_size") and now[name] != before[name]:
            raise ValueError(
                f"{name} was {before[name]} when the stream began, and cannot become {now[name]} "
                "within it; set it back, or begin a new stream with sklearn.base.clone"
            )
    return now


def learn(step, X, batch_size):
    """Call `step` with one batch of rows after the other; Ctrl-C is heard between them."""
    with interrupt_between_steps() as interrupts:
        for start in range(0, X.shape[0], int(batch_size)):
            interrupts.check()
            batch = as_states(X[start : start + int(batch_size)])
            with interrupts.held():
                step(batch)


class MachineStream:
    """How a stream of one machine begins and goes on; see :func:`run_for`.

    Parameters
    ----------
    estimator : RBM
    layers : tuple of Units
        Visible and hidden, sized.
    """

    def __init__(self, estimator, layers):
        self.estimator, self.layers = estimator, layers

    def begin(self, rows, seed):
        """Return a new run that starts from the moments of its first rows."""
        n_threads = self.estimator.n_threads
        n_rows, mean, variance = survey(rows, self.layers[0], n_threads=n_threads)
        stream = Stream.from_random_state(seed)
        return _run(
            self.estimator, initial_model(*self.layers, mean, variance, n_rows, stream), seed
        )

    def after_fit(self):
        """Return a run that goes on from the fitted model and its particles."""
        return run_after_fit(self.estimator)

    def take_over(self, run):
        """Let the rate and the size of the batches change in a stream; refuse what cannot."""
        run.schedule = stream_schedule(self.estimator, self.layers, self.estimator.batch_size)
        now = settings_of(self.estimator, run)
        run.frame["settings"] = settings_in_stream(run.frame["settings"], now)


def run_after_fit(estimator):
    """Return a run that goes on from the fitted model of an RBM and its particles."""
    trainer = _run(estimator, estimator.model_, seed_of(estimator.random_state))
    trainer.go_on(estimator.n_updates_, estimator.history_, estimator._particles)
    return trainer


def _run(estimator, model, seed):
    trainer = trainer_for(estimator, model, Stream.from_random_state(seed), streaming=True)
    settings = settings_of(estimator, trainer)
    trainer.frame = {**seeds_of(seed), "settings": settings, FIRST_ROWS: None}
    return trainer


def _kept(X):
    """Return rows as plain arrays of our own: the caller may fill the same buffer again."""
    states = as_states(X)
    if isinstance(states, CompressedRows):
        parts = {name: np.array(getattr(states, name)) for name in ("values", "indices", "starts")}
        return {**parts, "n_columns": states.n_columns}
    return np.array(states)


def _rows_of(kept):
    """Return what :func:`_kept` was given, in a form that new rows can be joined to."""
    if isinstance(kept, np.ndarray):
        return kept
    shape = (len(kept["starts"]) - 1, kept["n_columns"])
    return sparse.csr_array((kept["values"], kept["indices"], kept["starts"]), shape=shape)


def check_same_layers(layers, wanted, names=("visible", "hidden")):
    """Raise ValueError where a stream's layers are not those that the settings ask for."""
    for layer, want, name in zip(layers, wanted, names, strict=True):
        if (type(layer), layer.size) != (type(want), want.size):
            raise ValueError(
                f"{name} asks for {want!r}, but partial_fit goes on with {layer!r}; call fit, or "
                "set the parameters back"
            )


def save(estimator, path):
    """Write the state of a stream of `partial_fit`."""
    trainer = estimator._trainer
    names = getattr(estimator, "feature_names_in_", None)
    trainer.frame["feature_names"] = None if names is None else [str(name) for name in names]
    checkpoints.save(trainer, path)


def load(estimator, path):
    """Return the run of a stream's checkpoint and the names of its columns, or None."""
    frame, state = checkpoints.load(path)
    seed, settings = seed_in(estimator, frame, path), frame.get("settings")
    n_features = settings.get("n_features") if isinstance(settings, dict) else None
    if not isinstance(n_features, int) or isinstance(n_features, bool) or n_features < 1:
        raise ModelFileError(f"{path}: damaged (no number of features)")
    estimator.n_features_in_ = n_features
    layers = units_for(estimator, n_features)
    zeros = np.zeros(n_features)
    model = initial_model(*layers, zeros, zeros + 1.0, 1, Stream.from_random_state(seed))
    trainer = _run(estimator, model, seed)
    checkpoints.require_same(settings, trainer.frame["settings"], path)
    checkpoints.restore(trainer, state, path)
    trainer.frame[FIRST_ROWS] = _checked_first_rows(frame.get(FIRST_ROWS), layers[0], path)
    names = frame.get("feature_names")
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if names is not None and not (listed and len(names) == n_features):
        raise ModelFileError(f"{path}: damaged (names of columns)")
    return trainer, names


def _checked_first_rows(kept, visible, path):
    if kept is None:
        return None
    try:
        states = as_states(_rows_of(kept))
        visible.check_width(states)
        visible.check(states)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(f"{path}: damaged (no first rows: {error})") from None
    return kept
