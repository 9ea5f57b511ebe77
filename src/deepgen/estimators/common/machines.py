"""Problems whose run is that of one Boltzmann machine: RBM, DBM, estimators of one's own."""

import numpy as np

from deepgen.estimators.common.fitting import Fitted
from deepgen.estimators.common.plain_settings import plain_settings
from deepgen.estimators.common.streams import StreamProblem, require_same_layers
from deepgen.learning.evidence import Evidence
from deepgen.learning.machines import Trainer
from deepgen.learning.optimizers import SGD
from deepgen.learning.rules import as_rule, takes_holes
from deepgen.learning.runaway import warn_of_runaway
from deepgen.learning.schedules import as_schedule
from deepgen.learning.starts import default_stream_schedule, initial_model
from deepgen.rows.batch import Batch
from deepgen.rows.sources import ArrayRows
from deepgen.rows.survey import survey
from deepgen.runtime.stream import Stream


class MachineProblem(StreamProblem):
    """A Boltzmann machine of two layers that learns by a `Trainer`.

    Parameters
    ----------
    estimator : StreamEstimator
        Has ``rule``, ``learning_rate``, ``optimizer``, ``batch_size`` and ``n_epochs`` as
        :class:`deepgen.RBM`.
    layers : sequence of Units
        Visible and hidden, sized.
    rows : ArrayRows, IterableRows or None
    rule : rule or None
        None: that of the estimator.
    binarize : bool, default False
        Draw binary states from grey values afresh at each presentation.

    Attributes
    ----------
    names : sequence of str
        What messages call the layers.
    without_end : tuple of str
        Hyper-parameters that a stream does not have.
    """

    names, makes_model_later = ("visible", "hidden"), True
    without_end = ("n_epochs",)

    def __init__(self, estimator, layers, rows=None, *, rule=None, binarize=False):
        super().__init__(estimator, rows)
        self.layers, self.binarize = layers, bool(binarize)
        self.rule = as_rule(estimator.rule) if rule is None else rule
        self._known = None

    @property
    def units(self):
        """The visible units."""
        return self.layers[0]

    @property
    def takes_holes(self):
        """Whether the rule learns from rows with NaN."""
        return takes_holes(self.rule)

    # --- settings -----------------------------------------------------------------------------

    @property
    def evidence(self):
        """The :class:`Evidence` of the rows: how many updates they call for, and at what rate."""
        if self._known is None:
            self._known = Evidence.of_rows(self.rows, self.units, self.survey.moments)
        return self._known

    def schedule(self):
        """Return the learning rates of `fit`."""
        if self.estimator.learning_rate is not None:
            return as_schedule(self.estimator.learning_rate)
        return self.evidence.schedule(self.layers, self.estimator.batch_size)

    def stream_schedule(self, n_rows):
        """Return the learning rate of an update of `n_rows` rows of a stream: it has no end."""
        if self.estimator.learning_rate is not None:
            return as_schedule(self.estimator.learning_rate)
        return default_stream_schedule(self.layers, n_rows)

    def optimizer(self, model):
        """Return the optimizer for a model: that of the estimator, else plain steps."""
        return SGD() if self.estimator.optimizer is None else self.estimator.optimizer

    def resolved(self, schedule):
        """Resolve hyper-parameters, such as the rule that ``"pcd"`` means, for the settings.

        Parameters
        ----------
        schedule : callable
            The learning rates of `fit`, or those of the stream.
        """
        return {
            "rule": self.rule, "optimizer": self.optimizer(None), "learning_rate": schedule
        }  # fmt: skip

    def settings(self, n_rows):
        """Return the settings that decide the bits of a run of `fit`, as plain data."""
        estimator = self.estimator
        n_epochs = estimator.n_epochs or self.usual_epochs(n_rows)
        resolved = self.resolved(self.schedule())
        counts = {"n_samples": int(n_rows), "n_epochs": int(n_epochs)}
        return plain_settings(estimator, {**resolved, **counts})

    def usual_epochs(self, n_rows):
        """Return how many epochs a run has where nobody says: as many as the rows call for.

        Of noise one: the first biases fit it, with half a count that more updates would unlearn.
        """
        evidence = self.evidence
        return 1 if evidence.is_noise else evidence.n_epochs(self.estimator.batch_size)

    def stream_settings(self):
        """Return the settings that decide the bits of a stream, as plain data."""
        resolved = self.resolved(self.stream_schedule(self.estimator.batch_size))
        return plain_settings(self.estimator, resolved, without=self.without_end)

    # --- runs ---------------------------------------------------------------------------------

    def first_model(self, moments, stream):
        """Return the model that learning starts from.

        Parameters
        ----------
        moments : tuple of (n_rows, mean, variance)
            Of the rows, or of the first of a stream.
        stream : Stream
        """
        n_rows, mean, variance = moments
        return initial_model(*self.layers, mean, variance, n_rows, stream)

    def started_by_evidence(self, model):
        """Return a first model as the rows want it (:meth:`Evidence.start`).

        As it is where the user says how many epochs: then the rows are not measured.
        """
        if self.estimator.n_epochs is not None or self.units.takes_trials:
            return model
        return self.evidence.start(model)

    def trainer(self, model, schedule, stream):
        """Return a run at its first update."""
        estimator = self.estimator
        run = Trainer(
            model, self.rule, self.optimizer(model), schedule, stream=stream,
            batch_size=int(estimator.batch_size), binarize=self.binarize,
            n_threads=estimator.n_threads,
        )  # fmt: skip
        run.collective = self.collective
        return run

    def run(self, beginning):
        """Return the run of `fit`."""
        stream = Stream.from_random_state(beginning.seed)
        model = self.started_by_evidence(self.first_model(beginning.survey.moments, stream))
        run = self.trainer(model, self.schedule(), stream)
        run.frame = beginning.frame
        beginning.take_over(run)
        return run

    def first_run(self, X, seed):
        """Return a new run of a stream."""
        moments = survey(
            ArrayRows(X), self.units, n_threads=self.estimator.n_threads, holes=self.takes_holes
        )
        return self._run_from(moments, seed)

    def blank_run(self, seed):
        """Return a run of the right shapes."""
        zeros = np.zeros(self.units.size)
        return self._run_from((1, zeros, zeros + 1.0), seed)

    def _run_from(self, moments, seed):
        stream = Stream.from_random_state(seed)
        return self._stream_run(self.first_model(moments, stream), stream)

    def _stream_run(self, model, stream):
        return self.trainer(model, self.stream_schedule(self.estimator.batch_size), stream)

    def run_after_fit(self, seed):
        """Return a run that goes on from the fitted model."""
        estimator, fitted = self.estimator, self.estimator._fitted
        run = self._stream_run(estimator.model_, Stream.from_random_state(seed))
        run.go_on(estimator.n_updates_, estimator.history_, fitted.particles, fitted.offsets)
        return run

    def require_fitted_layers(self):
        """Raise ValueError where the fitted model is not one of these layers."""
        require_same_layers(self.estimator.model_.layers, self.layers, self.names)

    def step(self, run, batch):
        """Let the run make one update."""
        run.schedule = self.stream_schedule(batch.shape[0])
        run.step(Batch((batch,)), None)

    def learn(self, run, settings, n_rows):
        """Let the run learn until it is finished; warn where it has run away."""
        super().learn(run, settings, n_rows)
        warn_of_runaway(run.model(), self.rows)

    def keep_beside(self, run, score_seed):
        """Set what is fitted beside `model_`."""
        super().keep_beside(run, score_seed)
        state = run.rule_state
        self.estimator._fitted = Fitted(score_seed, state.particles, state.offsets)
