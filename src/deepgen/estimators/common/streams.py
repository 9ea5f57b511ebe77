"""The one way to learn from a stream: how it begins, goes on after short calls, and is kept."""

from abc import abstractmethod
from dataclasses import is_dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import MOST, as_path, is_integer
from deepgen.errors import ModelFileError
from deepgen.estimators.common.collectives import refuse_processes
from deepgen.estimators.common.fitting import FittingEstimator, Problem
from deepgen.estimators.common.guards import alone, settled, unchanged_on_error
from deepgen.estimators.common.resuming import (
    FIRST_ROWS,
    checkpoint_path,
    origin_of,
    read_run,
)
from deepgen.estimators.common.validation import (
    naming_columns,
    refuse_iterable,
    refuse_tables,
    rows_to_learn,
)
from deepgen.io import atomic, checkpoints
from deepgen.layers.units import Units
from deepgen.rows.sources import CHECK_ROWS, join
from deepgen.rows.states import CompressedRows, as_states, checked_csr
from deepgen.rows.survey import survey
from deepgen.runtime.interrupts import interrupt_between_steps
from deepgen.runtime.stream import seed_of

STREAM_REMEDY = (
    "Set the estimator up as it was when it was saved; rate and size of the batches may change "
    "afterwards"
)
# What may change while a stream goes on.
CHANGING = ("learning_rate", "batch_size")


class StreamProblem(Problem):
    """The problem of an estimator that has `fit` and `partial_fit`.

    In `partial_fit` its rows are those of one call; None where a checkpoint is read, which brings
    none. Its `layers` are units by layer, whose sizes a checkpoint is compared with.

    Attributes
    ----------
    makes_model_later : bool
        Whether `model_` may be made when somebody asks for it, which then is ``run.model()``: not
        after each row.
    """

    makes_model_later = False

    @abstractmethod
    def stream_settings(self):
        """Return the settings that decide the bits of the stream, as :meth:`settings` does.

        A stream has no end, so ``"n_epochs"`` is not among them.
        """

    @abstractmethod
    def first_run(self, X, seed):
        """Return a new run that starts from the moments of its first rows.

        Parameters
        ----------
        X : ndarray or CSR matrix
            As :meth:`stream_rows` returns them, a batch at most.
        seed : int
        """

    @abstractmethod
    def run_after_fit(self, seed):
        """Return a run that goes on from the fitted model, its particles and its place."""

    @abstractmethod
    def blank_run(self, seed):
        """Return a run of the right shapes, which the state of a checkpoint is read into."""

    @abstractmethod
    def require_fitted_layers(self):
        """Raise ValueError where the fitted model is not one of the layers asked for."""

    @abstractmethod
    def step(self, run, batch):
        """Let the run make one update of rows in the form of :meth:`stream_rows`, as states."""

    def stream_rows(self):
        """Return the rows of a call as the stream keeps them and cuts them into batches."""
        return self.rows.X

    def for_rows(self, rows):
        """Return the problem of the next rows of a stream whose settings are the same.

        None: it has to be made anew.
        """

    def check_first_rows(self, states):
        """Raise ValueError unless these can be the first rows of the stream."""
        self.units.states_of(states, holes=self.takes_holes)


def require_same_layers(layers, wanted, names):
    """Raise ValueError where a stream's layers are not those that the settings ask for."""
    for layer, want, name in zip(layers, wanted, names, strict=True):
        if layer.form != want.form:
            raise ValueError(
                f"{name} asks for {want!r}, but partial_fit goes on with {layer!r}; call fit, or "
                "set the parameters back"
            )


class _ModelMadeLater:
    """The `model_` of an estimator that has none yet; what is set on the estimator hides it.

    It is made if the last update of a stream left that for later.
    """

    def __get__(self, estimator, owner=None):
        if estimator is not None and make_model(estimator):
            return estimator.model_
        name = (owner or type(estimator)).__name__
        raise AttributeError(f"{name!r} object has no attribute 'model_'")


class StreamEstimator(FittingEstimator):
    """Mix-in: the skeleton of `partial_fit`, and checkpoints of streams.

    A class with it has the hyper-parameter ``batch_size`` too. Its problems are
    :class:`StreamProblem`; if `_problem` reads labels, it also writes `_problem_of_state`.
    """

    model_ = _ModelMadeLater()

    def __getstate__(self):
        make_model(self)  # a copy may learn on in the same run
        return super().__getstate__()

    def _partial_fit(self, X, problem_of, *, rows_alone=False):
        """Check, begin or go on, and learn the rows of one call; return the estimator.

        Parameters
        ----------
        X
            As the user passes it.
        problem_of : callable
            From (rows, whether this is the first call) to the problem of this call.
        rows_alone : bool, default False
            Whether a call brings nothing but rows, so that the problem of the last one serves.
        """
        known = _prepared(self) if rows_alone else None
        if known is None:
            self._check_settings()
            refuse_processes(self, "partial_fit", "call fit with an iterable of batches")
            refuse_tables(self, "partial_fit")
        refuse_iterable(X)
        with alone(self):
            with unchanged_on_error(self):
                first = not _is_fitted(self)
                rows = rows_to_learn(self, X, reset=first)
                problem = problem_of(rows, first) if known is None else known.for_rows(rows)
                with naming_columns(self):
                    checked = _checked(rows, problem)
                problem.check_missing()
                if known is None:
                    run, X = _run_of_call(self, problem)
                else:
                    run, X = self._fitted.stream, problem.stream_rows()
                one = X.shape[0] <= self.batch_size
                if one and known is not None:
                    X = checked
                elif not one:
                    make_model(self)  # others have that of before as long as these rows take
            try:
                _learn(problem, run, X)
            except BaseException:
                _keep(problem, run)
                raise
            _keep(problem, run, later=one)
            if known is None and rows_alone:
                _prepare(self, problem)
        return self

    def _problem_of_state(self, settings):
        """Return the problem of a stream's checkpoint, or of the stream that is under way.

        Parameters
        ----------
        settings : dict or None
            Those of the checkpoint. Where only they tell something, such as the classes of labels,
            the estimator takes it over. None: the stream is under way.
        """
        return self._problem(None, None)

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
        refuse_tables(self, "save_checkpoint")
        path = as_path(path)
        atomic.require_writable(path, "the checkpoint")
        with alone(self):
            problem = self._problem_of_state(None)
            if self._fitted.stream is None:  # partial_fit would begin one
                self._fitted.stream = _run_after_fit(self, problem)
            run = self._fitted.stream
            _take_settings(problem, run)
            names = getattr(self, "feature_names_in_", None)
            run.frame["feature_names"] = None if names is None else list(map(str, names))
            checkpoints.save(run, path)

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
        refuse_tables(self, "load_checkpoint")
        path = checkpoint_path(path, "path", "save_checkpoint")
        with alone(self), unchanged_on_error(self):
            problem, run, names = _load(self, path)
            vars(self).pop("feature_names_in_", None)
            if names is not None:
                self.feature_names_in_ = np.array(names, dtype=object)
            _keep(problem, run)
        return self


# --- what is left to be done when it is needed ------------------------------------------------


def make_model(estimator):
    """Make the `model_` of a stream, if its last update left that for later.

    Returns
    -------
    bool
        Whether the estimator has a `model_`, now or before.

    Raises
    ------
    RuntimeError
        In the middle of an update of this thread: in a signal handler, or in a schedule.
    """
    if "_fitted" not in vars(estimator) or "model_" in vars(estimator):
        return "model_" in vars(estimator)
    with settled(estimator):
        run = estimator._fitted.stream
        if "model_" not in vars(estimator) and run is not None:
            if not run.whole:
                raise RuntimeError(
                    "model_ is not whole in the middle of an update; read it between two calls of "
                    "partial_fit, or keep the model of an earlier one"
                )
            estimator.model_ = run.model()
    return "model_" in vars(estimator)


def _is_fitted(estimator):
    """Tell whether there is a `model_`, or a stream to make it from."""
    has_stream = "_fitted" in vars(estimator) and estimator._fitted.stream is not None
    return has_stream or "model_" in vars(estimator)


def _prepared(estimator):
    """Return the problem of the last call, if it serves this one; else None.

    So it is where the run goes on, and all hyper-parameters are the same objects, which cannot
    change: what was checked of them, and compared with the stream, holds.
    """
    fitted = vars(estimator).get("_fitted")
    if fitted is None or fitted.prepared is None:
        return None
    settings, problem = fitted.prepared
    now = vars(estimator)
    same = all(now.get(name, now) is value for name, value in settings)
    return problem if same else None


def _prepare(estimator, problem):
    """Remember the problem of a call for the next one, where hyper-parameters cannot change."""
    run = estimator._fitted.stream
    settings = tuple(estimator.get_params(deep=False).items())
    fixed = all(_is_fixed(value) for _, value in settings)
    if fixed and run.frame[FIRST_ROWS] is None and problem.for_rows(problem.rows) is problem:
        estimator._fitted.prepared = settings, problem


def _is_fixed(value):
    """Tell whether a hyper-parameter is an object that never changes."""
    if isinstance(value, tuple):
        return all(map(_is_fixed, value))
    frozen = is_dataclass(value) and value.__dataclass_params__.frozen
    return value is None or frozen or isinstance(value, str | bool | int | float | Units)


def _checked(rows, problem):
    """Check every value of the rows of a call; return them as states, or None of many rows."""
    if rows.n_rows > CHECK_ROWS or rows.n_rows == 0:
        survey(rows, problem.units, n_threads=problem.estimator.n_threads,
               holes=problem.takes_holes)  # fmt: skip
        return None
    return problem.units.states_of(rows.X, holes=problem.takes_holes)


# --- how a stream begins and goes on ----------------------------------------------------------


def _run_of_call(estimator, problem):
    """Return the run that a call of `partial_fit` belongs to, and the rows it should learn.

    The model starts from the moments of its first rows, and so do the offsets of centring and the
    scale of real-valued units: one row has no variance. So until `batch_size` rows have come, each
    call begins a new run, with its own rows behind those of the calls before.
    """
    X = problem.stream_rows()
    if not _is_fitted(estimator):
        return _begin(problem, X, seed_of(estimator.random_state))
    run = estimator._fitted.stream
    if run is None:
        return _run_after_fit(estimator, problem), X
    earlier = run.frame[FIRST_ROWS]
    if earlier is None:
        _take_settings(problem, run)
        return run, X
    problem.require_fitted_layers()
    return _begin(problem, join([_rows_of(earlier), X]), run.frame["seed"])


def _begin(problem, X, seed):
    size = int(problem.estimator.batch_size)
    run = _framed(problem, problem.first_run(X[:size], seed), seed)
    if X.shape[0] < size:
        run.frame[FIRST_ROWS] = _plain_rows(X)
    return run, X


def _run_after_fit(estimator, problem):
    problem.require_fitted_layers()
    seed = seed_of(estimator.random_state)
    run = _framed(problem, problem.run_after_fit(seed), seed)
    run.frame["score_seed"] = estimator._fitted.score_seed  # its likelihoods stay the same numbers
    return run


def _framed(problem, run, seed):
    run.frame = {
        **origin_of(seed), "settings": problem.stream_settings(), FIRST_ROWS: None
    }  # fmt: skip
    return run


def _take_settings(problem, run):
    """Put the present settings into the frame of a stream that goes on.

    ValueError names a setting that was changed and must not change within a stream.
    """
    before, now = run.frame["settings"], problem.stream_settings()
    for name in sorted(now):
        if name not in CHANGING and now[name] != before[name]:
            raise ValueError(
                f"{name} was {before[name]} when the stream began, and cannot become {now[name]} "
                "within it; set it back, or begin a new stream with sklearn.base.clone"
            )
    run.frame["settings"] = now


def _learn(problem, run, X):
    """Make an update of one batch of rows after the other; Ctrl-C is heard between them."""
    size = int(problem.estimator.batch_size)
    with interrupt_between_steps() as interrupts:
        for start in range(0, X.shape[0], size):
            interrupts.check()
            batch = X if X.shape[0] <= size else X[start : start + size]
            batch = as_states(batch)
            with interrupts.held():
                problem.step(run, batch)


def _keep(problem, run, *, later=False):
    """Set what is fitted; with `later`, `model_` may be left to be made when it is needed."""
    estimator, seed = problem.estimator, run.frame["score_seed"]
    prepared = estimator._fitted.prepared if "_fitted" in vars(estimator) else None
    if later and problem.makes_model_later:
        problem.keep_beside(run, seed)
        vars(estimator).pop("model_", None)
    else:
        problem.keep(run, seed)
    estimator._fitted.stream, estimator._fitted.prepared = run, prepared


# --- first rows, while they are fewer than a batch --------------------------------------------


def _plain_rows(X):
    """Return rows as plain arrays of our own: the caller may fill the same buffer again."""
    states = as_states(X)
    if isinstance(states, CompressedRows):
        parts = {name: np.array(getattr(states, name)) for name in ("values", "indices", "starts")}
        return {**parts, "n_columns": states.n_columns}
    return np.array(states)


def _rows_of(plain_rows):
    """Undo :func:`_plain_rows`: return an array or a CSR matrix that new rows can be joined to."""
    if isinstance(plain_rows, np.ndarray):
        return plain_rows
    starts, n_columns = plain_rows["starts"], plain_rows["n_columns"]
    return sparse.csr_array(
        (plain_rows["values"], plain_rows["indices"], starts), shape=(len(starts) - 1, n_columns)
    )


# --- checkpoints ------------------------------------------------------------------------------


def _load(estimator, path):
    """Return problem and run of a stream's checkpoint, and the names of its columns or None."""
    stopped = read_run(estimator, path, stream=True)
    frame, settings = stopped.frame, stopped.frame.get("settings")
    n_features = settings.get("n_features") if isinstance(settings, dict) else None
    shapes = set(_float_shapes(stopped.state))
    # before memory is taken for so many columns: the file has a bias for each of them
    if not is_integer(n_features) or (n_features,) not in shapes:
        raise ModelFileError(f"{path}: damaged (no number of features)")
    estimator.n_features_in_ = n_features
    try:
        problem = estimator._problem_of_state(settings)
    except (KeyError, TypeError) as error:
        raise ModelFileError(f"{path}: damaged (settings: {error})") from None
    checkpoints.require_same(settings, problem.stream_settings(), path, STREAM_REMEDY)
    sizes = [layer.size for layer in problem.layers]
    if not set(pairwise(sizes)) <= shapes:  # and weights, before memory is taken for the run
        raise ModelFileError(f"{path}: damaged (no weights of layers of {sizes} units)")
    run = _framed(problem, problem.blank_run(stopped.seed), stopped.seed)
    checkpoints.restore(run, stopped.state, path)
    score_seed = frame.get("score_seed")
    if not isinstance(score_seed, int) or isinstance(score_seed, bool) or score_seed < 0:
        raise ModelFileError(f"{path}: damaged (no seed of likelihoods)")
    run.frame["score_seed"] = score_seed
    run.frame[FIRST_ROWS] = _checked_first_rows(frame.get(FIRST_ROWS), problem, path)
    names = frame.get("feature_names")
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if names is not None and not (listed and len(names) == n_features):
        raise ModelFileError(f"{path}: damaged (names of columns)")
    return problem, run, names


def _float_shapes(tree):
    """Yield the shapes of the float32 arrays in a tree, but for those of no elements."""
    if isinstance(tree, np.ndarray):
        if tree.dtype == np.float32 and tree.size:
            yield tree.shape
    elif isinstance(tree, dict | list):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _float_shapes(part)


def _checked_first_rows(plain_rows, problem, path):
    if plain_rows is None:
        return None
    try:
        if isinstance(plain_rows, np.ndarray):
            matrix = plain_rows.ndim == 2
        else:
            matrix = is_integer(plain_rows["n_columns"]) and plain_rows["n_columns"] <= MOST
        if not matrix:
            raise ValueError("not a matrix")
        rows = _rows_of(plain_rows)
        rows = checked_csr(rows) if sparse.issparse(rows) else rows
        problem.check_first_rows(as_states(rows))
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(f"{path}: damaged (no first rows: {error})") from None
    return plain_rows
