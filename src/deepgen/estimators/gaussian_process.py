"""Regressor: a Gaussian process on the features of a deep network, both learned together."""

import warnings
from dataclasses import replace

import numpy as np
from scipy import sparse
from sklearn.base import RegressorMixin
from sklearn.exceptions import DataConversionWarning

from deepgen.checks import (
    RefusedValue,
    check_flag,
    check_integer,
    check_number,
    real_array,
    shown,
)
from deepgen.estimators.common.fitting import Problem
from deepgen.estimators.common.hyperparameters import check_sizes
from deepgen.estimators.common.known_rows import outputs_of, outputs_of_new, outputs_of_some
from deepgen.estimators.common.networks import (
    Examples,
    NetworkProblem,
    check_choice,
    check_network_settings,
    pretrained_stack,
)
from deepgen.estimators.common.validation import rows_with_targets
from deepgen.estimators.supervised import DeepSupervised
from deepgen.inference.processes import (
    check_size,
    most_likely,
    posterior_of,
    squared_distances,
)
from deepgen.layers.named import as_units
from deepgen.layers.units import LARGEST_VALUE
from deepgen.models import ProcessNetwork, SquaredExponential
from deepgen.networks.objective import Objective
from deepgen.networks.process_loss import ProcessLikelihood
from deepgen.rows.paired import PairedRows
from deepgen.rows.sources import select
from deepgen.runtime.stream import Stream

# Labelled rows whose distances say how long the covariance is at its start.
MEDIAN_ROWS = 500
# Rows that are drawn together, at most: their covariance is a matrix of so many by so many.
MOST_DRAWN = 10_000


class _ProcessProblem(NetworkProblem):
    """The training of a network by marginal likelihood, then a process on all labelled rows."""

    def learn(self, run, settings, n_rows):
        """Let the network learn, unless it is to stay as it starts."""
        if self.estimator.fine_tune:
            super().learn(run, settings, n_rows)

    def keep(self, run, score_seed):
        """Set what is fitted: the process of the labelled rows, with the features of the run.

        At the end of a whole run amplitude, length and noise are those of the greatest likelihood
        of all labelled rows, or of the inducing ones; before, those that the run has learned from
        its batches.
        """
        Problem.keep(self, run, score_seed)
        estimator, rows, network = self.estimator, self.examples.rows, run.model()
        features = outputs_of(network, rows, n_threads=estimator.n_threads)
        targets, n_inducing = rows.targets, None
        if len(targets) > estimator.max_exact:
            # those that stand for all come first in the model
            n_inducing = int(estimator.inducing)
            order = self.stream.generator("inducing").permutation(len(targets))
            features, targets = features[order], targets[order]
        covariance = run.objective.loss.covariance_of(run.loss_parameters())
        if run.finished or not estimator.fine_tune:
            alone = slice(n_inducing)
            covariance = most_likely(features[alone], targets[alone], covariance)
        estimator.model_ = ProcessNetwork(
            network, covariance, features, targets, *estimator._scale, n_inducing
        )


class DeepGaussianProcessRegressor(RegressorMixin, DeepSupervised):
    """Regressor: a Gaussian process whose covariance is learned by a deep network.

    The covariance of two rows falls with the distance of their features, the outputs of the last
    hidden layer (:class:`SquaredExponential`). All layers are trained, with the covariance, by
    the marginal likelihood of mini-batches, each a process of its own, and with inputs left out.
    Predictions take all labelled rows, exactly up to `max_exact`; beyond, some of them stand for
    all.

    Deviations are honest where the rows to come are like the labelled ones. Of known people in a
    new pose, say, they are good; of new people they are too small without `noise_floor`.

    Parameters
    ----------
    n_hidden : int or sequence of int, default (500, 500)
        Sizes of the layers, the last one that of the features. With machines in `pretrained`
        their sizes count.
    pretrained : BeliefNetwork, list of BoltzmannMachine, Pretraining, list of it, or None
        See :class:`DeepClassifier`; a machine of several hidden layers is not taken.
    visible, activation
        See :class:`DeepClassifier`.
    noise_floor : float, default 0.01
        Least variance of the noise, as a share of the variance of y; in squared units of y where
        all targets are equal.
    input_dropout : float, default 0.2
        Share of the inputs that is left out of an update. With 0 the process soon fits the
        labelled rows alone.
    input_noise : float, default 0.0
        Standard deviation of normal noise that is added to the inputs of an update, in units of
        the inputs, or of standardized columns where the network is trained on those
        (:class:`DeepClassifier` tells where).
    fine_tune : bool, default True
        False: the network stays as it starts, and amplitude, length and noise alone are learned.
    max_exact : int, default 4000
        Labelled rows up to which the process is exact. Time grows with the cube of their number
        and memory with its square: 4,000 take some 0.6 GB, and 3 minutes at the end of `fit`.
    inducing : int or None, default 1000
        Beyond `max_exact`: so many of the labelled rows, drawn at random, stand for all. Time
        grows with the number of labelled rows times the square of this one. The covariance is
        then that of the greatest likelihood of the drawn rows. None: refuse more than
        `max_exact`.
    batch_size : int, default 250
        Of labelled rows.
    optimizer, learning_rate, n_epochs
        See :class:`Autoencoder`.
    random_state, n_threads, callbacks, verbose
        See :class:`Autoencoder`. `fit` and `predict` have the same bits for any number of threads
        on one machine; on another one they may have others, because they call LAPACK.

    Attributes
    ----------
    model_ : ProcessNetwork
    kernel_ : SquaredExponential
        The covariance, of targets that are standardized.
    log_marginal_likelihood_ : float
        ``log p(y)`` of all labelled rows, in nats; with inducing rows a lower bound of it (Titsias
        2009). Never choose settings by it: it goes on rising long after predictions of new rows
        have become worse.
    stack_ : list of BoltzmannMachine or None
        What the hidden layers started from.
    history_ : list of dict
        One entry an epoch, its ``loss`` in nats a row; those of a greedy pretraining come first
        and have a ``layer``.
    n_features_in_, n_updates_, n_epochs_ : int

    References
    ----------
    Salakhutdinov & Hinton (2008), "Using deep belief nets to learn covariance kernels for Gaussian
    processes". Titsias (2009), "Variational learning of inducing variables in sparse Gaussian
    processes".
    """

    _saved_as = "DeepGaussianProcessRegressor"
    _usual_epochs, _fewest_updates = 20, 300

    def __init__(
        self, n_hidden=(500, 500), *, pretrained=None, visible="binary", activation="logistic",
        noise_floor=0.01, input_dropout=0.2, input_noise=0.0, fine_tune=True, max_exact=4000,
        inducing=1000, optimizer=None, learning_rate=None, batch_size=250, n_epochs=None,
        random_state=None, n_threads=None, callbacks=None, verbose=0,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.pretrained = pretrained
        self.visible = visible
        self.activation = activation
        self.noise_floor = noise_floor
        self.input_dropout = input_dropout
        self.input_noise = input_noise
        self.fine_tune = fine_tune
        self.max_exact = max_exact
        self.inducing = inducing
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(self, X, y, *, resume=None):
        """Learn from rows and targets.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            NaN where a row has no target: it serves a greedy pretraining.
        resume : str, path-like or None
            See :meth:`DeepClassifier.fit`.

        Returns
        -------
        DeepGaussianProcessRegressor
            This estimator.

        Raises
        ------
        ValueError, FileNotFoundError, DivergedError, RuntimeError
            See :meth:`DeepClassifier.fit`. Also if y has more than `max_exact` targets and
            `inducing` is None: the message tells what they would take.
        """
        return self._fit(X, y, resume)

    def _check_settings(self):
        check_network_settings(self)
        check_number(self.noise_floor, "noise_floor", 0.0)
        check_flag(self.fine_tune, "fine_tune")
        check_integer(self.max_exact, "max_exact")
        if self.inducing is not None:
            check_integer(self.inducing, "inducing")
        check_choice(self.activation, "activation", ("logistic", "rectified"))
        as_units(self.visible, "visible")
        check_sizes(self.n_hidden)
        self._objective()

    def _loss(self):
        return ProcessLikelihood(SquaredExponential(noise_floor=float(self.noise_floor)))

    def _objective(self):
        return Objective(
            self._loss(), input_dropout=self.input_dropout, input_noise=self.input_noise
        )

    @property
    def _top_epochs(self):
        return 0

    def _pretrained_models(self, n_columns):
        return pretrained_stack(self.pretrained, n_columns)

    def _read(self, X, y):
        rows = rows_with_targets(self, X, y)
        y = _targets(y, rows.n_rows)
        check_size(int((~np.isnan(y)).sum()), int(self.max_exact), self.inducing)
        return rows, y

    def _problem(self, rows, y):
        known = ~np.isnan(y)
        X, y = rows.X if known.all() else select(rows.X, known), y[known]
        # equal targets may differ from their rounded mean, which is no deviation to divide by
        equal = y.min() == y.max()
        self._scale = (float(y[0]), 1.0) if equal else (float(y.mean()), float(y.std()) or 1.0)
        targets = ((y - self._scale[0]) / self._scale[1]).astype(np.float32)
        examples = Examples(
            PairedRows(X, targets), self._objective(), self._visible(X.shape[1])
        )
        return _ProcessProblem(self, rows, examples)

    def _network(self, problem, survey, stack):
        """Return the hidden layers, and let the covariance start as long as their features need."""
        network = self._hidden_layers(problem, stack)
        scale = self._input_scale(problem, survey) if stack is None else None
        examples = problem.examples
        features = outputs_of_some(
            network, examples.rows, MEDIAN_ROWS, scale=scale, n_threads=self.n_threads
        )
        D = squared_distances(features)
        apart = D[np.triu_indices_from(D, 1)]
        apart = apart[apart > 0.0]
        length = float(np.sqrt(np.median(apart))) if len(apart) else 1.0
        loss = examples.objective.loss
        loss = replace(loss, covariance=replace(loss.covariance, length=length))
        examples.objective = replace(examples.objective, loss=loss)
        return network

    # --- what a fitted one answers ----------------------------------------------------------------

    @property
    def kernel_(self):
        """The covariance, of standardized targets."""
        return self.model_.covariance

    @property
    def log_marginal_likelihood_(self):
        """``log p(y)`` of all labelled rows, in nats."""
        return posterior_of(self.model_).log_likelihood

    def predict(self, X, return_std=False):
        """Return the expected values of rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        return_std : bool, default False
            Also return the standard deviations of values around them, with the noise, in units
            of y.

        Returns
        -------
        ndarray of shape (n_samples,), float64, or tuple of two of it
        """
        check_flag(return_std, "return_std")
        features = outputs_of_new(self, X)
        posterior = posterior_of(self.model_)
        return posterior.mean_and_deviation(features) if return_std else posterior.mean(features)

    def sample_y(self, X, n_samples=1, random_state=0):
        """Draw values of rows, with the noise; those of one draw belong together.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples_X, n_features)
            At most 10,000 rows: their covariances are a matrix.
        n_samples : int, default 1
            Number of draws.
        random_state : int, RandomState, Generator or None, default 0

        Returns
        -------
        ndarray of shape (n_samples_X, n_samples), float64

        Raises
        ------
        ValueError
            If there are more rows.
        """
        check_integer(n_samples, "n_samples")
        features = outputs_of_new(self, X)
        if len(features) > MOST_DRAWN:
            raise ValueError(
                f"X must have at most {MOST_DRAWN} rows to be drawn together, got {len(features)}: "
                f"their covariances would take {8e-9 * len(features) ** 2:.1f} GB and more; draw "
                "parts of them"
            )
        generator = Stream.from_random_state(random_state).generator("values")
        return posterior_of(self.model_).draw(features, n_samples, generator)

    @classmethod
    def from_model(cls, model):
        """Return a fitted regressor around a process network.

        Parameters
        ----------
        model : ProcessNetwork
        """
        if not isinstance(model, ProcessNetwork):
            raise ValueError(f"model must be a ProcessNetwork, got {shown(model)}")
        estimator = cls(model.sizes[1:], noise_floor=model.covariance.noise_floor)._take(model)
        estimator.stack_ = None
        return estimator


def _targets(y, n_rows):
    """Return targets, float64 of shape (n_rows,), NaN where there is none, after a check."""
    if sparse.issparse(y):
        raise ValueError("y must be an array of targets, got a sparse matrix; pass y.toarray()")
    values = real_array(y, "y").astype(np.float64)
    if values.shape == (n_rows, 1):
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected; pass y.ravel()",
            DataConversionWarning,
            stacklevel=2,
        )
        values = values[:, 0]
    if values.shape != (n_rows,):
        raise ValueError(
            f"y must have shape ({n_rows},), one target for each row, got {values.shape}"
        )
    known = ~np.isnan(values)
    if not known.any():
        raise ValueError("y must hold a target for at least one row, got NaN for all of them")
    for bad, expected, remedy in (
        (np.isinf(values), "be finite, or NaN for no target", "make it NaN"),
        (known & ~(np.abs(values) < LARGEST_VALUE), f"have values within +-{LARGEST_VALUE:g}",
         "standardize it"),
    ):  # fmt: skip
        if bad.any():
            row = int(bad.argmax())
            raise RefusedValue("y", expected, values[row], row, None, remedy)
    return values
