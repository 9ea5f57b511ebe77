"""Classifier and regressor on a deep network, fine-tuned from a stack of machines."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_integer, check_number, shown
from deepgen.estimators.common.hyperparameters import check_sizes
from deepgen.estimators.common.labels import (
    as_classes,
    check_class_weight,
    classes_in,
    split_labels,
    weights_of_classes,
)
from deepgen.estimators.common.networks import (
    Examples,
    NetworkEstimator,
    NetworkProblem,
    check_choice,
    check_network_settings,
    check_width,
    core_models,
    pretrained_stack,
)
from deepgen.estimators.common.validation import (
    by_pieces,
    rows_to_read,
    rows_with_targets,
    targets_of,
)
from deepgen.io.classes import plain_classes
from deepgen.layers.binary import Binary
from deepgen.layers.named import as_units, real_columns
from deepgen.layers.units import LARGEST_VALUE
from deepgen.learning.callbacks import check_patience
from deepgen.learning.evidence import MOST_UPDATES
from deepgen.learning.networks import check_objective
from deepgen.learning.scaled_networks import InputScale, can_be_scaled
from deepgen.models import (
    BoltzmannMachine,
    Network,
    NetworkLayer,
    PosteriorNetwork,
    n_hidden_layers,
)
from deepgen.networks.losses import SoftmaxCrossEntropy, SquaredError
from deepgen.networks.objective import Objective
from deepgen.networks.posterior_rows import PosteriorRows, posterior_outputs
from deepgen.rows.batch import as_weights
from deepgen.rows.paired import PairedRows
from deepgen.rows.sources import select
from deepgen.stacks.settings import is_greedy
from deepgen.stacks.unrolling import encoder, posterior_layers, random_layer, random_layers


class _Targets(NamedTuple):
    """Targets of the rows of `fit`, and their weights, which may be None."""

    y: Any
    weights: np.ndarray | None


class DeepSupervised(NetworkEstimator, BaseEstimator):
    """The common half of estimators that learn from labels or targets: the way to a first network.

    Of classifier and regressor it has settings and examples too; those of processes and of
    neighbours are their own.
    """

    _usual_epochs, _fewest_updates = 50, 300

    def _usual_rate(self, n_updates):
        # a short run has to go as far in fewer steps (docs/decisions.md)
        return super()._usual_rate(n_updates) * (MOST_UPDATES / n_updates) ** (1 / 3)

    def _check_settings(self):
        check_network_settings(self)
        check_integer(self.top_epochs, "top_epochs", 0)
        if self.early_stopping is not None:
            check_patience(self.early_stopping, "early_stopping")
        check_number(self.validation_fraction, "validation_fraction", 0.0, 1.0)
        check_choice(self.activation, "activation", ("logistic", "rectified"))
        as_units(self.visible, "visible")
        check_sizes(self.n_hidden)
        self._objective()

    def _objective(self):
        return Objective(
            self._loss(), l2=self.l2, dropout=self.dropout, input_dropout=self.input_dropout
        )

    def _visible(self, n_columns):
        """Return the units that the values of X are checked by when they are learned."""
        if self.pretrained is None:
            return real_columns(n_columns)
        if is_greedy(self.pretrained):
            return as_units(self.visible, "visible").sized(n_columns)
        return self._pretrained_models(n_columns)[0].layers[0]

    def _pretrained_models(self, n_columns):
        models = core_models(self.pretrained)
        if not _is_deep(models):
            return pretrained_stack(self.pretrained, n_columns)
        n_hidden_layers(models[0], "pretrained")
        check_width(models[0], n_columns)
        return models

    @property
    def _top_epochs(self):
        return self.top_epochs

    def _read(self, X, targets):
        rows = rows_with_targets(self, X, targets.y)
        weights = targets.weights
        if weights is not None:
            weights = as_weights(weights, rows.n_rows, "sample_weight")
        return rows, _Targets(targets.y, weights)

    def _examples(self, X, targets, strata, weights=None):
        """Return the examples of rows with targets.

        `strata` is a number for each row, such as its class: early stopping holds back the same
        share of the rows of each number. Rows of -1 have no target, and none of them is held back.
        """
        known = None if (strata >= 0).all() else strata >= 0
        return Examples(
            PairedRows(X, targets, known, weights=weights), self._objective(),
            self._visible(X.shape[1]), strata=None if self.early_stopping is None else strata,
        )  # fmt: skip

    def _pretrained_layers(self, problem, survey):
        if self.pretrained is None:
            return []
        hidden = map(Binary, check_sizes(self.n_hidden))
        return [self._visible(self.n_features_in_), *hidden]

    def _network(self, problem, survey, stack):
        """Return the start: hidden layers, then a small random top."""
        start = self._hidden_layers(problem, stack)
        kind, size = self._top(problem.examples)
        top = random_layer(kind, start.sizes[-1], size, problem.stream.generator("top"))
        return Network([*start.layers, top], start.inputs)

    def _hidden_layers(self, problem, stack):
        """Return the hidden layers at their start, as a network, and keep the stack."""
        self.stack_ = stack
        if stack is None:
            sizes = check_sizes(self.n_hidden)
            kinds = [self.activation] * len(sizes)
            return Network(random_layers([self.n_features_in_, *sizes], kinds, problem.stream))
        if _is_deep(stack):
            return Network(self._posterior_layers(problem.examples, stack[0]))
        return encoder(stack)

    def _input_scale(self, problem, survey):
        if can_be_scaled(problem.rows):
            return InputScale.needed(survey.mean, survey.variance)
        return None

    def _posterior_layers(self, examples, machine):
        """Put the posterior beside the rows of examples; return the layers that read both."""
        examples.rows = PosteriorRows(examples.rows, machine, n_threads=self.n_threads)
        if examples.held is not None:
            examples.held = PosteriorRows(examples.held, machine, n_threads=self.n_threads)
        averages = examples.rows.averages() if machine.n_layers > 3 else None
        return posterior_layers(machine, averages)

    def _finished(self, problem, network):
        return PosteriorNetwork(self.stack_[0], network) if _is_deep(self.stack_) else network

    def _outputs(self, X):
        check_is_fitted(self)
        model = self.model_
        if not isinstance(model, PosteriorNetwork):
            return super()._outputs(X)
        return by_pieces(
            rows_to_read(self, X), model.machine.visible,
            lambda states: posterior_outputs(model, states, n_threads=self.n_threads),
        )  # fmt: skip

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _is_deep(models):
    """Tell whether models are one machine of several hidden layers, whose posterior is read."""
    return (
        models is not None
        and len(models) == 1
        and isinstance(models[0], BoltzmannMachine)
        and models[0].n_layers > 2
    )


def _require_top(model, activation):
    """Raise ValueError unless `model` is a network whose last layer has this activation."""
    known = isinstance(model, Network | PosteriorNetwork)
    if not known or model.layers[-1].activation != activation:
        raise ValueError(
            "model must be a Network, or a PosteriorNetwork around one, with a "
            f"{activation} top, got {shown(model)}"
        )


class DeepClassifier(ClassifierMixin, DeepSupervised):
    """Classifier: hidden layers, from a stack or at random, under a softmax.

    Inputs should have values around 1: where those of the largest column are beyond 4 or below
    0.25 (root mean square), a network without `pretrained` is trained on standardized columns, and
    `model_` reads plain ones. Sparse rows are taken as they are.

    Parameters
    ----------
    n_hidden : int or sequence of int, default (500, 500)
        Sizes of the hidden layers. With machines in `pretrained` their sizes count.
    pretrained : BeliefNetwork, BoltzmannMachine, list of it, Pretraining, list of it, or None
        A belief network (``dbn.model_``), whose recognition side counts, or two-layer machines,
        bottom first; or settings of a greedy pretraining that `fit` does first, on all rows: for
        every layer or one for each. None: random start.

        A machine of two or more binary hidden layers (``dbm.model_``; label units on top are
        left out): the network then reads beside each row the mean-field posterior of the second
        hidden layer (Salakhutdinov & Hinton 2009), and starts where mean field ends.
    visible : {"binary", "gaussian"} or Units, default "binary"
        What the columns are for the greedy pretraining; not read without it.
    activation : {"logistic", "rectified"}, default "logistic"
        Of hidden layers that start at random.
    l2, dropout, input_dropout : float, default 0.0
        Half of `l2` times the sum of squared weights; share of the hidden units and of the
        inputs that is left out of an update.
    smoothness : VirtualAdversarial or None
        A penalty on outputs that change where inputs move a little. With it rows without a label
        take part in the fine-tuning.
    top_epochs : int, default 0
        Epochs at the start in which only the new top layer moves.
    class_weight : "balanced", dict of {label: float} or None
        How much rows of a class count in the fine-tuning; classes that a dict does not name count
        1. "balanced": as much in sum for every class. None: 1 for all.
    early_stopping : int, float or None
        Epochs without a smaller loss on held-back rows after which training stops; the best
        network is kept. A float between 0 and 1 is a share of `n_epochs`. None: no rows are held
        back.
    validation_fraction : float, default 0.1
        Share of the rows that early stopping holds back.
    unlabelled : label, NaN or None, default None
        Stands in `y` for rows without a label: they serve the pretraining, and `smoothness`. None:
        each row has a label, and -1 is a class like any other. -1: as in scikit-learn's
        semi-supervised estimators. NaN: missing values, which are NaN, None and ``pandas.NA``.
    optimizer, learning_rate, batch_size, n_epochs
        See :class:`Autoencoder`.
    random_state, n_threads, callbacks, verbose, communicator
        See :class:`Autoencoder`.

    Attributes
    ----------
    model_ : Network or PosteriorNetwork
    classes_ : ndarray of shape (n_classes,)
    stack_ : list of BoltzmannMachine or None
        What the hidden layers started from.
    history_ : list of dict
        One entry an epoch; those of a greedy pretraining come first and have a ``layer``.
    n_features_in_, n_updates_, n_epochs_ : int
    """

    _saved_as = "DeepClassifier"

    def __init__(
        self, n_hidden=(500, 500), *, pretrained=None, visible="binary", activation="logistic",
        l2=0.0, dropout=0.0, input_dropout=0.0, smoothness=None, top_epochs=0, class_weight=None,
        early_stopping=None, validation_fraction=0.1, unlabelled=None, optimizer=None,
        learning_rate=None, batch_size=100, n_epochs=None, random_state=None, n_threads=None,
        callbacks=None, verbose=0, communicator=None,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.pretrained = pretrained
        self.visible = visible
        self.activation = activation
        self.l2 = l2
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.smoothness = smoothness
        self.top_epochs = top_epochs
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.unlabelled = unlabelled
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose
        self.communicator = communicator

    def fit(self, X, y, sample_weight=None, *, resume=None):
        """Learn from rows and labels.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels: numbers, texts, truth values or dates; `unlabelled` where there is none.
        sample_weight : array-like of shape (n_samples,) or None
            How much each row counts in the fine-tuning, beside `class_weight`; not in a greedy
            pretraining. Only ratios matter. None: 1 for all.
        resume : str, path-like or None
            A file that :class:`deepgen.Checkpoint` has written: the run goes on from there, in
            the pretraining or in the fine-tuning, with the same bits; see :meth:`RBM.fit`.

        Returns
        -------
        DeepClassifier
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or a value is not valid, or if the checkpoint is that of another run;
            raised before any work. ModelFileError is one of them: the file is damaged.
        FileNotFoundError
            If there is no such checkpoint.
        DivergedError
            If a parameter is no longer finite; `model_` is the last good network.
        RuntimeError
            If another thread is fitting this estimator.
        """
        return self._fit(X, _Targets(y, sample_weight), resume)

    def _check_settings(self):
        super()._check_settings()
        check_class_weight(self.class_weight)
        check_objective(self._objective(), "softmax", self.optimizer)

    def _loss(self):
        return SoftmaxCrossEntropy()

    def _objective(self):
        return replace(super()._objective(), smoothness=self.smoothness)

    def _problem(self, rows, targets):
        y, weights = targets
        known, labels = split_labels(y, rows.n_rows, self.unlabelled)
        self.classes_ = classes_in(labels, self.unlabelled)
        X, targets = rows.X, np.searchsorted(self.classes_, labels)
        strata, weights = targets, self._row_weights(known, targets, weights)
        if not known.all() and self.smoothness is None:
            X = select(X, known)
            weights = None if weights is None else weights[known]
        elif not known.all():
            strata = np.full(len(known), -1)
            strata[known] = targets
            targets = (strata[:, None] == np.arange(len(self.classes_))).astype(np.float32)
        return NetworkProblem(self, rows, self._examples(X, targets, strata, weights))

    def _row_weights(self, known, targets, weights):
        """Return the weights of all rows: those given, times those of the classes; or None."""
        if self.class_weight is None:
            return weights
        by_class = weights_of_classes(self.class_weight, self.classes_, targets)
        weights = np.ones(len(known)) if weights is None else weights.copy()
        weights[known] *= by_class[targets]
        return weights

    def _top(self, examples):
        return "softmax", len(self.classes_)

    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32
        """
        return self._outputs(X)

    def predict(self, X):
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        chosen = self._outputs(X).argmax(axis=1)
        return self.classes_[chosen]

    def _beside_model(self):
        return {"classes": plain_classes(self.classes_)}

    @classmethod
    def from_model(cls, model, classes=None):
        """Return a fitted classifier around a network with a softmax top.

        Parameters
        ----------
        model : Network or PosteriorNetwork
        classes : array-like or None
            None: 0, 1, 2, ...
        """
        _require_top(model, "softmax")
        size = model.layers[-1].size
        classes = as_classes(np.arange(size) if classes is None else classes, size)
        estimator = cls(tuple(layer.size for layer in model.layers[:-1]))._take(model)
        estimator.classes_, estimator.stack_ = classes, None
        return estimator


class DeepRegressor(RegressorMixin, DeepSupervised):
    """Regressor: hidden layers, from a stack or at random, under linear outputs.

    Targets are standardized for training; the network that is kept predicts them as they came.

    Parameters
    ----------
    n_hidden, pretrained, visible, activation, l2, dropout, input_dropout, top_epochs
        See :class:`DeepClassifier`.
    early_stopping, validation_fraction
        See :class:`DeepClassifier`.
    optimizer, learning_rate, batch_size, n_epochs
        See :class:`Autoencoder`.
    random_state, n_threads, callbacks, verbose, communicator
        See :class:`Autoencoder`.

    Attributes
    ----------
    model_ : Network or PosteriorNetwork
    stack_ : list of BoltzmannMachine or None
        What the hidden layers started from.
    history_ : list of dict
    n_features_in_, n_updates_, n_epochs_ : int
    """

    _saved_as = "DeepRegressor"

    def __init__(
        self, n_hidden=(500, 500), *, pretrained=None, visible="binary", activation="logistic",
        l2=0.0, dropout=0.0, input_dropout=0.0, top_epochs=0, early_stopping=None,
        validation_fraction=0.1, optimizer=None, learning_rate=None, batch_size=100,
        n_epochs=None, random_state=None, n_threads=None, callbacks=None, verbose=0,
        communicator=None,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.pretrained = pretrained
        self.visible = visible
        self.activation = activation
        self.l2 = l2
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.top_epochs = top_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose
        self.communicator = communicator

    def fit(self, X, y, sample_weight=None, *, resume=None):
        """Learn from rows and targets.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight, resume
            See :meth:`DeepClassifier.fit`.

        Returns
        -------
        DeepRegressor
            This estimator.

        Raises
        ------
        ValueError, FileNotFoundError, DivergedError, RuntimeError
            See :meth:`DeepClassifier.fit`.
        """
        return self._fit(X, _Targets(y, sample_weight), resume)

    def _loss(self):
        return SquaredError()

    def _read(self, X, targets):
        rows, targets = super()._read(X, targets)
        return rows, targets._replace(y=targets_of(targets.y, rows.n_rows, LARGEST_VALUE))

    def _problem(self, rows, targets):
        y, weights = targets
        self._one_target = y.ndim == 1
        y = y.reshape(len(y), -1)
        mean, scale = y.mean(axis=0), y.std(axis=0)
        if weights is not None and weights.any():
            mean = np.average(y, axis=0, weights=weights)
            scale = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weights))
        scale[scale == 0] = 1.0
        self._scale = mean, scale
        targets, strata = ((y - mean) / scale).astype(np.float32), np.zeros(len(y), np.int64)
        return NetworkProblem(self, rows, self._examples(rows.X, targets, strata, weights))

    def _top(self, examples):
        return "linear", examples.rows.targets.shape[1]

    def _finished(self, problem, network):
        """Put the scale of the targets into the last layer."""
        mean, scale = self._scale
        *hidden, last = network.layers
        last = NetworkLayer("linear", last.bias * scale + mean, last.weights * scale)
        return super()._finished(problem, Network([*hidden, last]))

    def predict(self, X):
        """Return the predictions of rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets), float64
        """
        predicted = self._outputs(X).astype(np.float64)
        return predicted[:, 0] if self._one_target else predicted

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _beside_model(self):
        return {"one_target": self._one_target}

    @classmethod
    def from_model(cls, model, one_target=None):
        """Return a fitted regressor around a network with linear outputs.

        Parameters
        ----------
        model : Network or PosteriorNetwork
        one_target : bool or None
            Whether `predict` returns a vector. None: where there is one output.
        """
        _require_top(model, "linear")
        estimator = cls(tuple(layer.size for layer in model.layers[:-1]))._take(model)
        estimator._one_target = model.sizes[-1] == 1 if one_target is None else bool(one_target)
        estimator.stack_ = None
        return estimator
