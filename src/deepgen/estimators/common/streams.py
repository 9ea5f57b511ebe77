"""Learning from a stream: how it begins, however few rows come at a time, and how it goes on."""

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import as_path
from deepgen.errors import ModelFileError
from deepgen.estimators.common.guards import alone, unchanged_on_error
from deepgen.estimators.common.hyperparameters import stream_schedule, trainer_for
from deepgen.estimators.common.runs import (
    FIRST_ROWS,
    checkpoint_path,
    origin_of,
    read_run,
    settings_of,
)
from deepgen.io import atomic, checkpoints
from deepgen.learning.loop import interrupt_between_steps
from deepgen.learning.starts import initial_model
from deepgen.rows.sources import ArrayRows, join
from deepgen.rows.states import CompressedRows, as_states
from deepgen.rows.survey import survey
from deepgen.runtime.stream import Stream, seed_of

STREAM_REMEDY = (
    "Set the estimator up as it was when it was saved; rate and size of the batches may change "
    "afterwards"
)


def run_for(estimator, X, kind):
    """Return the run that a call of `partial_fit` belongs to, and the rows it should learn.

    The model starts from the moments of its first rows, and so do the offsets of centring and the
    scale of real-valued units: one row has no variance. So short calls are put together, and each
    starts anew with all that came before it, until there is a batch.

    Parameters
    ----------
    estimator : RBM, DBN or DBM
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
        return _after_fit(estimator, kind), X
    if run is None:
        return _begin(estimator, kind, X, seed_of(estimator.random_state))
    earlier = run.frame[FIRST_ROWS]
    if earlier is None:
        kind.take_over(run)
        return run, X
    return _begin(estimator, kind, join([_rows_of(earlier), X]), run.frame["seed"])


def _after_fit(estimator, kind):
    run = kind.after_fit()
    run.frame["score_seed"] = estimator._score_seed  # its likelihoods stay the same numbers
    return run


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
        rbm = self.estimator
        trainer = _run(rbm, rbm.model_, seed_of(rbm.random_state))
        trainer.go_on(rbm.n_updates_, rbm.history_, rbm._particles, rbm._offsets)
        return trainer

    def blank(self, seed):
        """Return a run of these layers that a checkpoint can be read into."""
        zeros, stream = np.zeros(self.layers[0].size), Stream.from_random_state(seed)
        model = initial_model(*self.layers, zeros, zeros + 1.0, 1, stream)
        return _run(self.estimator, model, seed)

    def check_first_rows(self, states):
        """Raise ValueError unless these can be the first rows of the stream."""
        check_rows_of(self.layers[0], states)

    def take_over(self, run):
        """Let the rate and the size of the batches change in a stream; refuse what cannot."""
        run.schedule = stream_schedule(self.estimator, self.layers, self.estimator.batch_size)
        now = settings_of(self.estimator, run)
        run.frame["settings"] = settings_in_stream(run.frame["settings"], now)


def _run(estimator, model, seed):
    trainer = trainer_for(estimator, model, Stream.from_random_state(seed), streaming=True)
    settings = settings_of(estimator, trainer)
    trainer.frame = {**origin_of(seed), "settings": settings, FIRST_ROWS: None}
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


def check_rows_of(layer, states):
    """Raise ValueError unless these are states of a layer."""
    layer.check_width(states)
    layer.check(states)


def check_same_layers(layers, wanted, names=("visible", "hidden")):
    """Raise ValueError where a stream's layers are not those that the settings ask for."""
    for layer, want, name in zip(layers, wanted, names, strict=True):
        if (type(layer), layer.size) != (type(want), want.size):
            raise ValueError(
                f"{name} asks for {want!r}, but partial_fit goes on with {layer!r}; call fit, or "
                "set the parameters back"
            )


class StreamEstimator:
    """Mix-in: checkpoints of a stream of `partial_fit`.

    Who takes it has ``_trainer``, the run of the stream or None; ``_check_settings()``;
    ``_stream_of(settings)``, which returns how its streams begin (see :func:`run_for`), after
    taking over what only the settings of a checkpoint tell, if anything, where those are not
    None; and ``_keep(run)``, which sets what is fitted.
    """

    def save_checkpoint(self, path):
        """Write all that `partial_fit` needs to go on with the same bits, atomically.

        For streams, between two calls; `fit` has :class:`deepgen.Checkpoint`. The file does not
        hold how far the rows were read: `n_updates_` tells it where all calls bring multiples of
        `batch_size` rows.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        ValueError
            If no stream can go on from the model, such as one that ``DBN.refine`` has taught, or
            a setting has changed that cannot within a stream.
        FileNotFoundError
            If the folder does not exist.
        RuntimeError
            If a call of `partial_fit` is under way, in another thread or around a signal handler.
        """
        check_is_fitted(self)
        path = as_path(path)
        atomic.require_writable(path, "the checkpoint")
        with alone(self):
            kind = self._stream_of(None)
            if self._trainer is None:  # partial_fit would begin one
                self._trainer = _after_fit(self, kind)
            kind.take_over(self._trainer)
            names = getattr(self, "feature_names_in_", None)
            self._trainer.frame["feature_names"] = None if names is None else list(map(str, names))
            checkpoints.save(self._trainer, path)

    def load_checkpoint(self, path):
        """Go on where :meth:`save_checkpoint` was called: `partial_fit` gives the same bits.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        object
            This estimator, whose settings must be those of the stream; `random_state` may be
            None.

        Raises
        ------
        ValueError
            If the settings differ; the message names them. ModelFileError is one of them: the
            file is damaged or no checkpoint.
        FileNotFoundError
            If there is none.
        """
        self._check_settings()
        path = checkpoint_path(path, "path", "save_checkpoint")
        with alone(self), unchanged_on_error(self):
            run, names = _load(self, path)
            vars(self).pop("feature_names_in_", None)
            if names is not None:
                self.feature_names_in_ = np.array(names, dtype=object)
            self._score_seed = run.frame["score_seed"]
            self._keep(run)
            self._trainer = run
        return self


def _load(estimator, path):
    """Return the run of a stream's checkpoint and the names of its columns, or None."""
    frame, state, seed = read_run(estimator, path, stream=True)
    settings = frame.get("settings")
    n_features = settings.get("n_features") if isinstance(settings, dict) else None
    if not isinstance(n_features, int) or isinstance(n_features, bool) or n_features < 1:
        raise ModelFileError(f"{path}: damaged (no number of features)")
    estimator.n_features_in_ = n_features
    try:
        kind = estimator._stream_of(settings)
    except (KeyError, TypeError) as error:
        raise ModelFileError(f"{path}: damaged (settings: {error})") from None
    run = kind.blank(seed)
    checkpoints.require_same(settings, run.frame["settings"], path, STREAM_REMEDY)
    checkpoints.restore(run, state, path)
    score_seed = frame.get("score_seed")
    if not isinstance(score_seed, int) or isinstance(score_seed, bool) or score_seed < 0:
        raise ModelFileError(f"{path}: damaged (no seed of likelihoods)")
    run.frame["score_seed"] = score_seed
    run.frame[FIRST_ROWS] = _checked_first_rows(frame.get(FIRST_ROWS), kind, path)
    names = frame.get("feature_names")
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if names is not None and not (listed and len(names) == n_features):
        raise ModelFileError(f"{path}: damaged (names of columns)")
    return run, names


def _checked_first_rows(kept, kind, path):
    if kept is None:
        return None
    try:
        kind.check_first_rows(as_states(_rows_of(kept)))
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(f"{path}: damaged (no first rows: {error})") from None
    return kept
