"""The one way to fit: an estimator says what its problem is, and everything else stands here.

An estimator of one's own is a class with hyper-parameters and two methods: ``_check_settings()``,
and ``_problem(rows, y)``, which returns a :class:`Problem`. What it gets for it: one thread at a
time, nothing changed by bad input, a survey of the rows, callbacks, Ctrl-C, checkpoints that
:class:`deepgen.Checkpoint` writes and `resume` reads, and the last good model whatever happens.
``examples/estimator_of_ones_own.py`` is one. Streams of `partial_fit`: ``streams.py``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

from deepgen.errors import ModelFileError
from deepgen.estimators.common.base import ModelEstimator
from deepgen.estimators.common.collectives import collective_of, require_same_call
from deepgen.estimators.common.guards import alone, unchanged_on_error
from deepgen.estimators.common.resuming import (
    StoppedRun,
    checkpoint_path,
    marks_of,
    origin_of,
    read_run,
    require_same_run,
)
from deepgen.estimators.common.validation import (
    Survey,
    naming_columns,
    rows_to_learn,
    surveyed,
)
from deepgen.io import checkpoints
from deepgen.io.schemas.registry import as_tree, from_tree
from deepgen.learning.rules import check_missing_variables
from deepgen.rows.particles import Particles
from deepgen.runtime.collective import from_first, on_all
from deepgen.runtime.stream import child_seed, seed_of
from deepgen.stacks.trainer import StackTrainer


@dataclass
class Fitted:
    """The memory of a fitted estimator beside its public attributes; it is its ``_fitted``.

    Attributes
    ----------
    score_seed : int
        Seed of the draws that estimate its likelihoods.
    particles : Particles or None
        Training particles of the machine whose log Z is bracketed: chains of samples start there.
    offsets : list of ndarray or None
        Offsets of centring by layer, for a stream that goes on after `fit`.
    bracket : tuple or None
        The last bracket of log Z, and the numbers that it was asked for with.
    report : dict or None
        How the last likelihoods were estimated; see :class:`ReportingEstimator`.
    stream : Trainer, StackStream or None
        The run of `partial_fit`.
    refined_from : str or None
        Digest of the model that ``DBN.refine`` began with.
    prepared : tuple of (settings, StreamProblem), or None
        What the last call of `partial_fit` has checked already; see ``streams.py``.
    """

    score_seed: int = 0
    particles: Particles | None = None
    offsets: list | None = None
    bracket: tuple | None = None
    report: dict | None = None
    stream: Any = None
    refined_from: str | None = None
    prepared: tuple | None = None


@dataclass
class Beginning:
    """All that is known when a run of `fit` begins: measured rows, frame, a stopped run.

    Attributes
    ----------
    survey : Survey
        What was measured of the rows.
    frame : dict
        What checkpoints keep around the run; see :attr:`deepgen.NetworkTrainer.frame`.
    stopped : StoppedRun or None
        The run to go on from. None: there is none, or its state has been taken over already.
    """

    survey: Survey
    frame: dict
    stopped: StoppedRun | None

    @property
    def seed(self):
        """The seed of the run."""
        return self.frame["seed"]

    def take_over(self, run):
        """Put the state of the stopped run, if there is one, into a run at its first update."""
        if self.stopped is not None:
            checkpoints.restore(run, self.stopped.state, self.stopped.path)
            self.stopped = None


class Problem(ABC):
    """The task of one call of `fit`: its rows, the settings that decide bits, and its run.

    Parameters
    ----------
    estimator : FittingEstimator
    rows : ArrayRows or IterableRows
        All of them; they are surveyed before any work.

    Attributes
    ----------
    survey : Survey or None
        What was measured of the rows, once they are known to be good.
    rule : rule or None
        The rule that reads these rows. PCD, for example, cannot leave out variables that are
        missing, and such rows are refused before the run. None: no rule reads the rows.
    tells_epochs : bool
        Whether the estimator's `n_epochs_` is that of this run.
    takes_holes : bool
        Whether the run learns from rows with NaN, values that are not known.
    """

    survey = rule = None
    tells_epochs, takes_holes = True, False

    def __init__(self, estimator, rows):
        self.estimator, self.rows = estimator, rows

    @property
    @abstractmethod
    def units(self):
        """The units that values of the rows are checked by."""

    @property
    def collective(self):
        """The processes that share the run."""
        return collective_of(self.estimator)

    def surveyed(self):
        """Check every value of the rows and measure them; return the :class:`Survey`."""
        n_threads = self.estimator.n_threads
        return surveyed(self.rows, self.units, n_threads, holes=self.takes_holes)

    def check_missing(self):
        """Raise ValueError where rows have missing variables that the rule cannot leave out."""
        if self.rule is not None:
            check_missing_variables(self.rows, self.units, self.rule)

    def draw(self, seed):
        """Draw what the settings depend on, by the seed of the run, once the rows are good."""

    @abstractmethod
    def settings(self, n_rows):
        """Return the settings that decide the bits of the run, as plain data.

        With ``"n_epochs"``. A checkpoint keeps them, and a run that goes on must have the same
        (:func:`deepgen.estimators.common.plain_settings.plain_settings`).
        """

    def accept(self, stopped, settings):
        """Allow a stopped run other settings than those of this call, by a change of `settings`.

        Called before `settings` are compared with the checkpoint's. As a rule nothing is allowed.
        """

    @abstractmethod
    def run(self, beginning):
        """Return the run: at its first update, or where a stopped one was.

        Parameters
        ----------
        beginning : Beginning
            Its frame becomes the run's, and ``beginning.take_over(run)`` lets a stopped run go on.

        Returns
        -------
        TrainingLoop or StackTrainer
        """

    @property
    def learned_rows(self):
        """The rows that the run reads: all of them, or those that have targets beside them."""
        return self.rows

    def callbacks(self, run):
        """Return the callbacks of the run: all of the estimator's."""
        return self.estimator.callbacks or ()

    def learn(self, run, settings, n_rows):
        """Let the run learn until it is finished."""
        if run.finished:
            return
        rows = self.learned_rows
        n_rows = rows.n_rows or n_rows  # an iterable does not know: the survey has counted
        run.fit(rows, settings["n_epochs"], n_rows, verbose=self.estimator.verbose)

    def keep(self, run, score_seed):
        """Set `model_` and the other fitted attributes; also after a run that was broken off."""
        self.estimator.model_ = run.model()
        self.keep_beside(run, score_seed)

    def keep_beside(self, run, score_seed):
        """Set the fitted attributes beside `model_`."""
        estimator = self.estimator
        estimator.history_, estimator.n_updates_ = run.history, run.n_updates
        estimator._fitted = Fitted(score_seed)


class FittingEstimator(ModelEstimator, ABC):
    """Mix-in: the skeleton of `fit`.

    A class with it has the hyper-parameters ``random_state``, ``n_threads``, ``callbacks`` and
    ``verbose``, and writes ``_check_settings`` and ``_problem``.
    """

    @abstractmethod
    def _check_settings(self):
        """Raise ValueError where a hyper-parameter is not valid, before any work."""

    def __getstate__(self):
        """A copy remembers for itself: its stream and its brackets are not those of this one."""
        state = dict(super().__getstate__())
        if "_fitted" in state:
            state["_fitted"] = replace(state["_fitted"], prepared=None)
        return state

    def _read(self, X, y):
        """Return rows to learn from and what goes with them, by scikit-learn's rules."""
        return rows_to_learn(self, X, reset=True), y

    @abstractmethod
    def _problem(self, rows, y):
        """Return the :class:`Problem` of these rows, and of what `_read` returned with them."""

    def _fit(self, X, y, resume):
        """Check, begin or go on, and learn.

        Parameters
        ----------
        X, y
            As the user passes them.
        resume : str, path-like or None
            A checkpoint.
        """
        self._check_settings()

        def make_problem():
            rows, targets = self._read(X, y)
            return self._problem(rows, targets)

        return solve(self, make_problem, resume)


def solve(estimator, make_problem, resume):
    """Solve a problem of an estimator, whose hyper-parameters are checked; return the estimator.

    Until the run begins, whatever is raised leaves the estimator as it was; bad rows also leave a
    RandomState where it was. From then on it keeps what the run has learned, whatever is raised.

    Parameters
    ----------
    estimator : FittingEstimator
    make_problem : callable
        Reads rows and returns the :class:`Problem`.
    resume : str, path-like or None
    """
    collective = collective_of(estimator)

    def begin():
        if resume is None:
            return None
        return read_run(estimator, checkpoint_path(resume, "resume", "dg.Checkpoint"))

    def measure():
        problem = make_problem()
        with naming_columns(estimator):
            problem.survey = problem.surveyed()
        problem.check_missing()
        return problem

    with alone(estimator):
        with unchanged_on_error(estimator):
            stopped = from_first(collective, begin, "to read the checkpoint")
            problem = on_all(collective, measure, "to read its rows")
            survey = problem.survey
            seed = seed_of(estimator.random_state) if stopped is None else stopped.seed
            seed = collective.broadcast(seed)
            problem.draw(seed)
            settings = problem.settings(survey.n_rows)
            require_same_call(collective, estimator, settings, survey)
            if stopped is not None:
                problem.accept(stopped, settings)
                require_same_run(stopped, settings, survey)
            frame = {**origin_of(seed), "settings": settings, **marks_of(survey)}
            run = problem.run(Beginning(survey, frame, stopped))
            run.attach(problem.callbacks(run))
            if problem.tells_epochs:
                estimator.n_epochs_ = settings["n_epochs"]
        try:
            problem.learn(run, settings, survey.n_rows)
        finally:
            problem.keep(run, frame["score_seed"])
    return estimator


def greedy_start(problem, beginning, layers, settings, *, made_of, tied=False):
    """Pretrain machines greedily; return what `made_of` makes of them, and their history.

    A network or a deep machine, for example, is made of them. The machines are trained here, on
    the rows of the problem. If the run goes on from a checkpoint that was written after their
    training, they come from the checkpoint, and the history is empty: the run has it. The frame
    of the run keeps them as ``"stack"``.

    Parameters
    ----------
    problem : Problem
    beginning : Beginning
    layers : sequence of Units
        Of all machines, bottom first.
    settings : Pretraining or sequence of Pretraining
    made_of : callable
        From the machines, bottom first, to what is made of them; ValueError or TypeError where
        they do not fit.
    tied : bool, default False
        See :class:`~deepgen.stacks.trainer.StackTrainer`.

    Returns
    -------
    tuple of (object, list of dict)
    """
    stopped, estimator = beginning.stopped, problem.estimator
    trees = None if stopped is None else stopped.frame.get("stack")
    if isinstance(trees, list) and len(trees) == len(layers) - 1:
        try:
            machines = [from_tree(tree) for tree in trees]
            made = made_of(machines)
        except (TypeError, ValueError) as error:
            raise ModelFileError(
                f"{stopped.path}: damaged (no pretrained machines: {error})"
            ) from None
        history = []
    else:
        run = StackTrainer(
            problem.rows, layers, settings, moments=beginning.survey.moments, tied=tied,
            frame=beginning.frame, random_state=child_seed(beginning.seed, "stack"),
            n_threads=estimator.n_threads,
        )  # fmt: skip
        run.collective = problem.collective
        if stopped is not None:
            state = {"stack": trees, "trainer": stopped.state}
            checkpoints.restore(run, state, stopped.path)
            beginning.stopped = None
        run.attach(estimator.callbacks or ())
        run.fit(verbose=estimator.verbose)
        machines, history = run.stack(), run.history
        made = made_of(machines)
    beginning.frame["stack"] = [as_tree(machine) for machine in machines]
    return made, history
