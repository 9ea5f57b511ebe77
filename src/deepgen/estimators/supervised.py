"""Classifier and regressor on a deep network, fine-tuned from a stack of machines."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets

from deepgen.backprop import outputs
from deepgen.data import ArrayRows, survey
from deepgen.estimators.networks import (
    NetworkEstimator,
    check_network_settings,
    check_sizes,
    held_back,
    pretrained_stack,
)
from deepgen.estimators.settings import check_integer
from deepgen.fine_tuning import Objective
from deepgen.losses import SoftmaxCrossEntropy, SquaredError
from deepgen.models import Network, NetworkLayer
from deepgen.stacking import Pretraining, pretrain
from deepgen.stream import child_seed
from deepgen.units import Binary, as_units
from deepgen.unrolling import encoder, random_layer, random_layers


class _DeepSupervised(NetworkEstimator, BaseEstimator):
    """What classifier and regressor share."""

    def _check_settings(self):
        check_network_settings(self)
        check_integer(self.top_epochs, "top_epochs", 0)
        if self.early_stopping is not None:
            check_integer(self.early_stopping, "early_stopping")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must lie in (0, 1), got {self.validation_fraction!r}"
            )
        if self.activation not in ("logistic", "rectified"):
            raise ValueError(
                f"activation must be 'logistic' or 'rectified', got {self.activation!r}"
            )
        return check_sizes(self.n_hidden)

    def _stack(self, X, sizes, seed):
        """Return the machines that the hidden layers start from, or None."""
        if self.pretrained is None:
            return None
        if not isinstance(self.pretrained, Pretraining):
            stack = pretrained_stack(self.pretrained, X.shape[1])
            survey(ArrayRows(X), stack[0].layers[0], n_threads=self.n_threads)  # checks values
            return stack
        visible = as_units(self.visible, "visible").sized(X.shape[1])
        return pretrain(
            ArrayRows(X), [visible, *map(Binary, sizes)], self.pretrained,
            random_state=child_seed(seed, "stack"), n_threads=self.n_threads,
        )  # fmt: skip

    def _network(self, n_columns, sizes, stream, top):
        """Return the start: hidden layers, then a small random top of (activation, size)."""
        if self.stack_ is None:
            kinds = [self.activation] * len(sizes)
            hidden = random_layers([n_columns, *sizes], kinds, stream)
        else:
            hidden = list(encoder(self.stack_).layers)
        last = random_layer(top[0], hidden[-1].size, top[1], stream.generator("top"))
        return Network([*hidden, last])

    def _objective(self, loss):
        return Objective(
            loss, l2=self.l2, dropout=self.dropout, input_dropout=self.input_dropout
        )

    def _learn(self, X, targets, strata, network, loss, stream):
        held = None
        if self.early_stopping is not None:
            mask = held_back(strata, self.validation_fraction, stream)
            if mask.any():
                held = (X[mask], targets[mask], self.early_stopping)
                X, targets = X[~mask], targets[~mask]
        self._train(
            network, self._objective(loss), X, targets, stream, top_epochs=self.top_epochs,
            held=held,
        )  # fmt: skip

    def _outputs(self, X):
        states = self._states(X)
        return outputs(self.model_, states, n_threads=self.n_threads)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class DeepClassifier(ClassifierMixin, _DeepSupervised):
    """Classifier: hidden layers, from a stack or at random, under a softmax.

    Parameters
    ----------
    n_hidden : sequence of int, default (500, 500)
        Sizes of the hidden layers. With machines in `pretrained` their sizes count.
    pretrained : list of BoltzmannMachine, Pretraining or None
        Two-layer machines, bottom first; or settings of a greedy pretraining that `fit` does
        first, on all rows. None: random start.
    visible : {"binary", "gaussian"} or Units, default "binary"
        What the columns are for the greedy pretraining; not read without it.
    activation : {"logistic", "rectified"}, default "logistic"
        Of hidden layers that start at random.
    l2, dropout, input_dropout : float, default 0.0
        Half of `l2` times the sum of squared weights; share of the hidden units and of the
        inputs that is left out of an update.
    top_epochs : int, default 0
        Epochs at the start in which only the new top layer moves.
    early_stopping : int or None
        Epochs without a smaller loss on held-back rows after which training stops; the best
        network is kept. None: no rows are held back.
    validation_fraction : float, default 0.1
        Share of the rows that early stopping holds back.
    unlabelled : int, str or None, default -1
        Label of the rows that have none: they serve the pretraining only. None: every label is
        a class.
    optimizer, learning_rate, batch_size, n_epochs
        See :class:`Autoencoder`.
    random_state, n_threads, callbacks, verbose
        See :class:`Autoencoder`.

    Attributes
    ----------
    model_ : Network
    classes_ : ndarray of shape (n_classes,)
    stack_ : list of BoltzmannMachine or None
        What the hidden layers started from.
    history_ : list of dict
    n_features_in_, n_updates_ : int
    """

    def __init__(
        self, n_hidden=(500, 500), *, pretrained=None, visible="binary", activation="logistic",
        l2=0.0, dropout=0.0, input_dropout=0.0, top_epochs=0, early_stopping=None,
        validation_fraction=0.1, unlabelled=-1, optimizer=None, learning_rate=None,
        batch_size=100, n_epochs=None, random_state=None, n_threads=None, callbacks=None,
        verbose=0,
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
        self.unlabelled = unlabelled
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(self, X, y):
        """Learn from rows and labels.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels; `unlabelled` where there is none.

        Returns
        -------
        DeepClassifier
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or a value is not valid; raised before any work.
        DivergedError
            If a parameter is no longer finite; `model_` is the last good network.
        """
        sizes = self._check_settings()
        with self._unchanged_on_error():
            X, y = self._validated(X, reset=True, y=y)
            check_classification_targets(y)
            known = np.ones(len(y), np.bool_)
            if self.unlabelled is not None:
                known = y != np.asarray(self.unlabelled, dtype=object)
                known = np.broadcast_to(known, y.shape).astype(np.bool_)
            if not known.any():
                raise ValueError(f"y must hold a label, got {self.unlabelled!r} (none) only")
            self.classes_, labels = np.unique(y[known], return_inverse=True)
            if len(self.classes_) < 2:
                note = "" if known.all() else (
                    f"; {self.unlabelled!r} stands for rows without a label: pass "
                    "unlabelled=None if it is a class"
                )
                raise ValueError(
                    "y must hold at least 2 classes, got 1 class: "
                    f"{self.classes_.tolist()[0]!r}{note}"
                )
            seed, stream = self._start()
            self.stack_ = self._stack(X, sizes, seed)
        network = self._network(X.shape[1], sizes, stream, ("softmax", len(self.classes_)))
        if not known.all():
            X = X[known]
        self._learn(X, labels, labels, network, SoftmaxCrossEntropy(), stream)
        return self

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

    def save(self, path):
        """Write network and classes to one file, atomically; :func:`deepgen.load` reads it.

        Parameters
        ----------
        path : str or path-like
        """
        self._save(path, classes=self.classes_.tolist())

    @classmethod
    def from_model(cls, model, classes=None):
        """Return a fitted classifier around a network with a softmax top.

        Parameters
        ----------
        model : Network
        classes : array-like or None
            None: 0, 1, 2, ...
        """
        if not isinstance(model, Network) or model.layers[-1].activation != "softmax":
            raise ValueError(f"model must be a Network with a softmax top, got {model!r}")
        size = model.layers[-1].size
        classes = np.arange(size) if classes is None else np.asarray(classes)
        if classes.shape != (size,):
            raise ValueError(f"classes must hold {size} labels, got shape {classes.shape}")
        estimator = cls(tuple(layer.size for layer in model.layers[:-1]))._take(model)
        estimator.classes_, estimator.stack_ = classes, None
        return estimator


class DeepRegressor(RegressorMixin, _DeepSupervised):
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
    random_state, n_threads, callbacks, verbose
        See :class:`Autoencoder`.

    Attributes
    ----------
    model_ : Network
    stack_ : list of BoltzmannMachine or None
        What the hidden layers started from.
    history_ : list of dict
    n_features_in_, n_updates_ : int
    """

    def __init__(
        self, n_hidden=(500, 500), *, pretrained=None, visible="binary", activation="logistic",
        l2=0.0, dropout=0.0, input_dropout=0.0, top_epochs=0, early_stopping=None,
        validation_fraction=0.1, optimizer=None, learning_rate=None, batch_size=100,
        n_epochs=None, random_state=None, n_threads=None, callbacks=None, verbose=0,
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

    def fit(self, X, y):
        """Learn from rows and targets.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)

        Returns
        -------
        DeepRegressor
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or a value is not valid; raised before any work.
        DivergedError
            If a parameter is no longer finite; `model_` is the last good network.
        """
        sizes = self._check_settings()
        with self._unchanged_on_error():
            X, y = self._validated(X, reset=True, y=y, multi_output=True, y_numeric=True)
            y = np.asarray(y, np.float64)
            self._one_target = y.ndim == 1
            y = y.reshape(len(y), -1)
            seed, stream = self._start()
            self.stack_ = self._stack(X, sizes, seed)
        mean, scale = y.mean(axis=0), y.std(axis=0)
        scale[scale == 0] = 1.0
        targets = ((y - mean) / scale).astype(np.float32)
        network = self._network(X.shape[1], sizes, stream, ("linear", y.shape[1]))
        try:
            strata = np.zeros(len(y), np.int64)
            self._learn(X, targets, strata, network, SquaredError(), stream)
        finally:
            self._rescale(mean, scale)
        return self

    def _rescale(self, mean, scale):
        """Put the scale of the targets into the last layer."""
        *hidden, last = self.model_.layers
        last = NetworkLayer("linear", last.bias * scale + mean, last.weights * scale)
        self.model_ = Network([*hidden, last])

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

    def save(self, path):
        """Write the network to one file, atomically; :func:`deepgen.load` reads it.

        Parameters
        ----------
        path : str or path-like
        """
        self._save(path, one_target=self._one_target)

    @classmethod
    def from_model(cls, model, one_target=None):
        """Return a fitted regressor around a network with linear outputs.

        Parameters
        ----------
        model : Network
        one_target : bool or None
            Whether `predict` returns a vector. None: where there is one output.
        """
        if not isinstance(model, Network) or model.layers[-1].activation != "linear":
            raise ValueError(f"model must be a Network with a linear top, got {model!r}")
        estimator = cls(tuple(layer.size for layer in model.layers[:-1]))._take(model)
        estimator._one_target = model.sizes[-1] == 1 if one_target is None else bool(one_target)
        estimator.stack_ = None
        return estimator
