"""Sequences: a machine for each frame, given those before it."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_flag, check_integer, check_number, real_array, shown
from deepgen.estimators.common.base import FeatureEstimator
from deepgen.estimators.common.conditional_machines import (
    SequencesProblem,
    schedule_of,
    trainer_of,
)
from deepgen.estimators.common.fitting import Fitted, FittingEstimator
from deepgen.estimators.common.guards import alone, unchanged_on_error
from deepgen.estimators.common.hyperparameters import (
    asked_units,
    check_machine_settings,
    visible_units,
)
from deepgen.estimators.common.networks import check_choice
from deepgen.estimators.common.reports import ReportingEstimator
from deepgen.estimators.common.sequences import as_gaps, as_sequences
from deepgen.estimators.common.validation import warn_of_grey_rows
from deepgen.inference.sequences import (
    continued,
    features,
    first_frames,
    predictions,
    unfolded,
)
from deepgen.layers.passes import Site
from deepgen.learning.optimizers import GradientOptimizer, check_optimizer
from deepgen.learning.schedules import Constant, as_schedule
from deepgen.likelihood.filtering import completed
from deepgen.likelihood.sequences import frame_log_likelihoods
from deepgen.models import ConditionalMachine, Window
from deepgen.models.conditional_machine import states_at
from deepgen.models.recurrences import RECURRENCES
from deepgen.rows.sequences import SequenceRows, Sequences
from deepgen.rows.states import dense
from deepgen.runtime.stream import SAMPLE, Stream, child_seed, seed_of
from deepgen.runtime.work import Work

RUN_IN = 32  # frames before a chunk that only bring its state to where it should be
STREAM_SHARE = 0.5  # of the rate that `fit` starts with, in `partial_fit`


class TemporalRBM(FittingEstimator, ReportingEstimator, FeatureEstimator, BaseEstimator):
    """Sequences: a restricted Boltzmann machine whose biases come from the frames before.

    ``p(v_1, ..., v_T) = prod_t p(v_t | past)``. A frame may be many columns that depend on each
    other, such as the notes of a chord: given the past it is a whole machine, not columns one by
    one.

    Parameters
    ----------
    n_hidden : int, default 150
        Hidden units of the machine.
    recurrence : {"rnn", "window", "rtrbm"}, default "rnn"
        What the past leaves behind: the state of a recurrent network (RNN-RBM;
        Boulanger-Lewandowski, Bengio & Vincent 2012), the last `order` frames (CRBM; Taylor,
        Hinton & Roweis 2007), or the means of the hidden units (RTRBM; Sutskever, Hinton & Taylor
        2009).
    n_recurrent : int, default 100
        Units of the recurrent network; not read by the others.
    order : int, default 3
        Frames of a window; not read by the others.
    visible : {"binary", "gaussian"} or Units, default "binary"
        Values in [0, 1], or real ones. Scale the columns of those first, for example by
        ``StandardScaler``; a window starts from a linear autoregression of them.
    n_gibbs : int, default 5
        Sweeps of contrastive divergence.
    dropout : float, default 0.0
        Share of the columns that are left out, frame by frame, of what the recurrence reads:
        against learning few sequences by heart.
    recurrence_decay : float, default 0.0
        Half of it times the sum of squares of the recurrence's matrices is added to the loss of a
        frame, real columns in units of their noise. The decay of the machine's own weights is that
        of `optimizer`.
    augment : callable or None
        ``augment(frames, generator)`` returns another version of frames, drawn anew each time they
        are presented; ``dg.Transpose()`` moves the notes of piano rolls to other keys.
    chunk : int or None, default 200
        Longer sequences are learned in pieces of at most so many frames, each after 32 frames of
        run-in. None: sequences stay whole.
    learning_rate : float, schedule or None
        None: 0.01 falling to zero, with real values 0.003.
    optimizer : SGD, Adam or None
        None: ``dg.Adam(weight_decay=0)``, the last fifth averaged.
    batch_size : int, default 8
        Sequences, or chunks of them, of an update.
    n_epochs : int or None
        None: as many as make 5,000 updates, 200 at most.
    random_state : int, RandomState, Generator or None
        The same seed gives the same bits for any number of threads.
    n_threads : int or None
    callbacks : sequence of callable or None
        Called with an ``EpochReport`` after each epoch; a true value stops training.
    verbose : int, default 0
        1 shows a progress bar.

    Attributes
    ----------
    model_ : ConditionalMachine
    history_ : list of dict
        One entry an epoch.
    n_features_in_, n_updates_, n_epochs_ : int
    likelihood_report_ : dict
        How the last likelihood was estimated: ``method``, ``value``, ``lower`` and ``upper`` (nats
        a frame), ``forward`` (optimistic), ``mean_of_sequences``, ``mean_variance`` (of log
        weights; above 0.1, raise `n_betas`), ``n_frames``.

    Notes
    -----
    Sequences are a list of arrays of shape (n_frames, n_features), one array with ``lengths``, or
    an array of three dimensions. An array of two dimensions alone is one sequence. Answers about
    frames come below each other in the order of the sequences.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> rng = np.random.default_rng(0)
    >>> X = [(rng.random((n, 6)) < 0.3).astype(np.uint8) for n in (12, 7, 20)]
    >>> model = dg.TemporalRBM(8, n_recurrent=5, n_epochs=2, random_state=0).fit(X)
    >>> model.score_samples(X).shape
    (39,)
    >>> [len(x) for x in model.sample(4, n_sequences=2, random_state=0)]
    [4, 4]
    """

    _saved_as = "TemporalRBM"

    def __init__(
        self, n_hidden=150, *, recurrence="rnn", n_recurrent=100, order=3, visible="binary",
        n_gibbs=5, dropout=0.0, recurrence_decay=0.0, augment=None, chunk=200,
        learning_rate=None, optimizer=None, batch_size=8, n_epochs=None, random_state=None,
        n_threads=None, callbacks=None, verbose=0,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.recurrence = recurrence
        self.n_recurrent = n_recurrent
        self.order = order
        self.visible = visible
        self.n_gibbs = n_gibbs
        self.dropout = dropout
        self.recurrence_decay = recurrence_decay
        self.augment = augment
        self.chunk = chunk
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose

    # --- learning -----------------------------------------------------------------------------

    def fit(self, X, y=None, *, lengths=None, resume=None):
        """Learn from sequences.

        Parameters
        ----------
        X : list of array-like, or array-like of 2 or 3 dimensions
            See the notes of the class.
        y : ignored
        lengths : array-like of shape (n_sequences,), int, or None
            Frames of each sequence, where X is one array of all.
        resume : str, path-like or None
            A file that :class:`deepgen.Checkpoint` has written: the run goes on from there, with
            the same bits as if it had not been stopped.

        Returns
        -------
        TemporalRBM
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or a value of X is not valid, or if the checkpoint is that of another
            run; raised before any work.
        DivergedError
            If a parameter is no longer finite; `model_` is the last good model.
        RuntimeError
            If another thread is fitting this estimator.
        """
        return self._fit((X, lengths), y, resume)

    def partial_fit(self, X, y=None, *, lengths=None, initial_state=None):
        """Learn once from more sequences, in their order, `batch_size` of them an update.

        The learning rate is constant, half of that which `fit` starts with. After `fit` learning
        goes on from the fitted model. Sequences that go on from earlier ones begin at their state:
        ``initial_state=model.state_after(earlier)``. They are not cut into chunks, and not
        augmented. Callbacks are not called.

        Parameters
        ----------
        X, lengths
            See :meth:`fit`.
        y : ignored
        initial_state : array-like of shape (n_sequences, n_state) or None
            None: sequences begin.

        Returns
        -------
        TemporalRBM
            This estimator.
        """
        self._check_settings()
        with alone(self), unchanged_on_error(self):
            first = not self.__sklearn_is_fitted__()
            sequences = self._sequences(X, lengths, reset=first)
            seed = seed_of(self.random_state) if first else self._fitted.score_seed
            if first:
                problem = SequencesProblem(self, SequenceRows(sequences))
                self.model_, self.history_, self.n_updates_ = problem.start(seed), [], 0
                self._fitted = Fitted(child_seed(seed, "score"))
            begun = states_at(self.model_, initial_state, sequences.n_sequences)
            run = self._fitted.stream
            if run is None:
                stream = Stream.from_random_state(seed).child("stream")
                run = trainer_of(self, self.model_, stream, Constant(
                    STREAM_SHARE * as_schedule(schedule_of(self))(0.0)
                ))  # fmt: skip
                run.go_on(self.n_updates_, [])
            for start in range(0, sequences.n_sequences, self.batch_size):
                some = slice(start, start + self.batch_size)
                run.step(sequences.batch(some, None if begun is None else begun[some]), None)
            self.model_, self.n_updates_ = run.model(), run.n_updates
            self._fitted = Fitted(self._fitted.score_seed, stream=run)
        return self

    def _check_settings(self):
        for name in ("n_hidden", "n_recurrent", "order", "n_gibbs"):
            check_integer(getattr(self, name), name)
        if self.chunk is not None:
            check_integer(self.chunk, "chunk")
        check_choice(self.recurrence, "recurrence", tuple(RECURRENCES))
        check_number(self.dropout, "dropout", 0.0, 1.0, closed=True)
        check_number(self.recurrence_decay, "recurrence_decay", 0.0, closed=True)
        if self.augment is not None and not callable(self.augment):
            raise ValueError(
                "augment must be None or a callable (frames, generator), such as dg.Transpose(), "
                f"got {shown(self.augment)}"
            )
        check_machine_settings(self, ("augment", "learning_rate", "optimizer"))
        if self.optimizer is not None:
            check_optimizer(self.optimizer, GradientOptimizer, "None, dg.SGD(...) or dg.Adam(...)")
        visible = asked_units(self)
        if visible.takes_trials or visible.can_be_missing:
            raise ValueError(
                f"visible must be 'binary' or 'gaussian' for sequences, got {self.visible!r}"
            )

    def _sequences(self, X, lengths, *, reset=False, holes=False):
        """Return `X` as :class:`Sequences`, checked by the units of the model, or of a fit."""
        if not reset:
            check_is_fitted(self)
        units = (lambda n_columns: visible_units(self, n_columns)) if reset else None
        return as_sequences(self, X, lengths, units=units, reset=reset, holes=holes)

    def _read(self, X, y):
        sequences = self._sequences(*X, reset=True)
        rows = SequenceRows(
            sequences, chunk=self.chunk, run_in=RUN_IN, augment=self.augment
        )
        return rows, None

    def _problem(self, rows, y):
        return SequencesProblem(self, rows)

    def _work(self):
        return Work(n_threads=self.n_threads)

    # --- likelihoods --------------------------------------------------------------------------

    def score_samples(self, X, lengths=None, *, initial_state=None, n_chains=4, n_betas=300):
        """Return log p(v_t | the frames before) by frame in nats.

        Exact where the smaller layer of so many frames can be enumerated in seconds; else log Z is
        annealed in both directions for each frame, and their middle is taken. `likelihood_report_`
        tells how far that can be believed.

        Parameters
        ----------
        X, lengths
            See :meth:`fit`. States; grey values give no log-likelihood and a warning.
        initial_state : array-like of shape (n_sequences, n_state) or None
            From :meth:`state_after`, of the frames before. None: sequences begin.
        n_chains, n_betas : int
            Chains of a frame and direction, and temperatures; see `likelihood_report_`.

        Returns
        -------
        ndarray of shape (n_frames,), float64
        """
        return self._likelihoods(X, lengths, initial_state, n_chains, n_betas).by_frame

    def score_sequences(
        self, X, lengths=None, *, initial_state=None, n_chains=4, n_betas=300, return_bracket=False
    ):
        """Return log p of each sequence in nats; see :meth:`score_samples`.

        Parameters
        ----------
        X, lengths, initial_state, n_chains, n_betas
            See :meth:`score_samples`.
        return_bracket : bool, default False
            Also return a lower and an upper end: the gap between the directions of annealing, and
            3 standard errors.

        Returns
        -------
        ndarray of shape (n_sequences,), float64, or tuple of three of them
        """
        check_flag(return_bracket, "return_bracket")
        found = self._likelihoods(X, lengths, initial_state, n_chains, n_betas)
        bracket = found.by_sequence()
        return bracket if return_bracket else bracket[0]

    def score(self, X, y=None, *, lengths=None):
        """Return the lower end of the mean log p of a frame, in nats.

        Parameters
        ----------
        X, lengths
            See :meth:`score_samples`.
        y : ignored

        Returns
        -------
        float
        """
        return self._likelihoods(X, lengths, None, 4, 300).mean()[1]

    def _likelihoods(self, X, lengths, initial_state, n_chains, n_betas):
        check_integer(n_chains, "n_chains", 2)
        check_integer(n_betas, "n_betas", 2)
        sequences = self._sequences(X, lengths)
        if not self.model_.layers[0].is_state(sequences.frames):
            warn_of_grey_rows()
        found = frame_log_likelihoods(
            self.model_, sequences, n_chains=n_chains, n_betas=n_betas,
            initial_state=initial_state, random_state=self._fitted.score_seed,
            n_threads=self.n_threads,
        )  # fmt: skip
        self._fitted.report = found.report()
        return found

    # --- using --------------------------------------------------------------------------------

    def transform(self, X, lengths=None, *, initial_state=None):
        """Return features of each frame: means of the hidden units, and the state that it finds.

        Parameters
        ----------
        X, lengths, initial_state
            See :meth:`score_samples`.

        Returns
        -------
        ndarray of shape (n_frames, n_hidden + n_state), float32
        """
        sequences = self._sequences(X, lengths)
        return features(self.model_, sequences, initial_state, work=self._work())

    def predict(self, X, lengths=None, *, initial_state=None):
        """Return the mean of each frame given those before it, by mean field.

        Row t is about frame t, which it does not know: the prediction of a first frame knows
        nothing but `initial_state`. Mean field starts at the frame before, there at the biases: of
        a sequence that is cut in two, the first prediction of the second part may be another one.

        Parameters
        ----------
        X, lengths, initial_state
            See :meth:`score_samples`.

        Returns
        -------
        ndarray of shape (n_frames, n_features), float32
        """
        sequences = self._sequences(X, lengths)
        return predictions(self.model_, sequences, initial_state, work=self._work())

    def state_after(self, X, lengths=None, *, initial_state=None):
        """Return the state after the last frame of each sequence, from which later frames go on.

        Parameters
        ----------
        X, lengths, initial_state
            See :meth:`score_samples`.

        Returns
        -------
        ndarray of shape (n_sequences, n_state), float32
            As `initial_state` of the frames that follow: features of a sequence that is cut in two
            have the bits of the whole.
        """
        sequences = self._sequences(X, lengths)
        return unfolded(self.model_, sequences, initial_state, work=self._work())[1]

    def forecast(
        self, X, n_steps, *, lengths=None, n_samples=1, n_sweeps=25, initial_state=None,
        random_state=None,
    ):  # fmt: skip
        """Draw how sequences go on.

        Parameters
        ----------
        X, lengths
            See :meth:`fit`.
        n_steps : int
        n_samples : int
            Ways to go on, of each sequence.
        n_sweeps : int
            Gibbs sweeps of each frame, from the one before.
        initial_state : array-like of shape (n_sequences, n_state) or None
            From :meth:`state_after`, of the frames before. None: sequences begin.
        random_state : int, RandomState, Generator or None

        Returns
        -------
        ndarray of shape (n_sequences, n_samples, n_steps, n_features)
        """
        for name, value in (("n_steps", n_steps), ("n_samples", n_samples), ("n_sweeps", n_sweeps)):
            check_integer(value, name)
        sequences = self._sequences(X, lengths)
        last = unfolded(self.model_, sequences, initial_state, work=self._work())[1]
        newest = _as_states(self.model_.layers[0], sequences.frames[sequences.starts[1:] - 1])
        draws, _ = continued(
            self.model_, np.repeat(last, n_samples, axis=0), np.repeat(newest, n_samples, axis=0),
            n_steps, Site(Stream.from_random_state(random_state), SAMPLE), n_sweeps=n_sweeps,
            work=self._work(),
        )  # fmt: skip
        return draws.reshape(sequences.n_sequences, n_samples, n_steps, -1)

    def sample(
        self, n_steps=100, n_sequences=1, *, prefix=None, n_sweeps=25, random_state=None
    ):
        """Draw sequences.

        Parameters
        ----------
        n_steps : int
            Frames of each, without the prefix.
        n_sequences : int
        prefix : array-like of shape (n_frames, n_features) or None
            How all of them begin; it is part of what is returned, grey values as they are.
        n_sweeps : int
            Gibbs sweeps of each frame, from the one before.
        random_state : int, RandomState, Generator or None

        Returns
        -------
        list of ndarray of shape (n_steps, n_features)
        """
        check_is_fitted(self)
        check_integer(n_sequences, "n_sequences")
        for name, value in (("n_steps", n_steps), ("n_sweeps", n_sweeps)):
            check_integer(value, name)
        if prefix is not None:
            begun = _frames_of_prefix(self.model_.layers[0], prefix)
            ways = self.forecast(
                [begun], n_steps, n_samples=n_sequences, n_sweeps=n_sweeps,
                random_state=random_state,
            )[0]  # fmt: skip
            return [np.concatenate([begun, way]) for way in ways]
        stream = Stream.from_random_state(random_state)
        states = np.repeat(self.model_.recurrence.first_state()[None], n_sequences, axis=0)
        draws, _ = continued(
            self.model_, states, first_frames(self.model_, n_sequences, stream), n_steps,
            Site(stream, SAMPLE), n_sweeps=n_sweeps, work=self._work(),
        )  # fmt: skip
        return list(draws)

    def impute(
        self, X, missing=None, *, lengths=None, method="mean", n_particles=20, n_sweeps=25,
        initial_state=None, random_state=None,
    ):  # fmt: skip
        """Complete sequences; known entries come back untouched.

        Particles go forward in time: a gap is drawn given the past and what is known of its frame.
        What is known of later frames weighs the particles by how probable they make it, exactly
        where hidden units or gaps are few, else by an annealed chain for each particle.

        Parameters
        ----------
        X, lengths
            See :meth:`fit`.
        missing : bool array or list of them, of the form of X, or None
            None: where X is NaN.
        method : {"mean", "draw"}, default "mean"
            Means of the missing entries over the particles, or one joint draw.
        n_particles, n_sweeps : int
            Particles of a sequence; and Gibbs sweeps of each in a frame.
        initial_state : array-like of shape (n_sequences, n_state) or None
            From :meth:`state_after`, of the frames before. None: sequences begin.
        random_state : int, RandomState, Generator or None

        Returns
        -------
        list of ndarray of shape (n_frames, n_features), float32
        """
        check_choice(method, "method", ("mean", "draw"))
        check_integer(n_particles, "n_particles", 2)
        check_integer(n_sweeps, "n_sweeps")
        sequences = self._sequences(X, lengths, holes=True)
        frames = dense(sequences.frames)
        gaps = np.isnan(frames) if frames.dtype.kind == "f" else np.zeros(frames.shape, bool)
        if missing is not None:
            gaps = gaps | as_gaps(missing, sequences)
        known = np.where(gaps, 0, frames)
        if not self.model_.layers[0].is_state(known):
            raise ValueError(
                "X must hold states where it is known, got values between them; binarize grey "
                "values first, for example X > rng.random(X.shape)"
            )
        draws, means = completed(
            self.model_, Sequences(np.ascontiguousarray(known), sequences.lengths), gaps,
            Stream.from_random_state(random_state), n_particles=n_particles, n_sweeps=n_sweeps,
            initial_state=initial_state, work=self._work(),
        )  # fmt: skip
        return sequences.cut(means if method == "mean" else draws)

    # --- files --------------------------------------------------------------------------------

    @classmethod
    def from_model(cls, model):
        """Return a fitted estimator around a core model.

        Parameters
        ----------
        model : ConditionalMachine
        """
        if not isinstance(model, ConditionalMachine):
            raise ValueError(f"model must be a ConditionalMachine, got {shown(model)}")
        visible, hidden = model.layers
        recurrence = model.recurrence
        kinds = {kind: name for name, kind in RECURRENCES.items()}
        sizes = {"n_recurrent": recurrence.n_state}
        if isinstance(recurrence, Window):
            sizes = {"order": recurrence.order}
        estimator = cls(
            hidden.size, recurrence=kinds[type(recurrence)],
            visible=type(visible)(**visible.options()), **sizes,
        )  # fmt: skip
        estimator.model_, estimator.history_, estimator.n_updates_ = model, [], 0
        estimator.n_features_in_ = visible.size
        estimator._fitted = Fitted()
        return estimator

    @property
    def _n_features_out(self):
        return self.model_.layers[1].size + self.model_.n_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.three_d_array = True
        return tags


def _frames_of_prefix(units, prefix):
    """Return how sequences begin, checked; of the state type where all values are states."""
    prefix = real_array(prefix, "prefix")
    if prefix.ndim != 2 or not len(prefix):
        raise ValueError(
            f"prefix must have shape (n_frames, {units.size}) with a frame at least, got shape "
            f"{prefix.shape}"
        )
    frames = units.states_of(prefix, "prefix")
    return frames.astype(units.state_dtype) if units.is_state(frames) else frames


def _as_states(units, frames):
    """Return frames as states where chains start: grey values are rounded."""
    if units.is_state(frames):
        return np.ascontiguousarray(frames.astype(units.state_dtype))
    return np.ascontiguousarray(np.rint(frames).astype(units.state_dtype))
