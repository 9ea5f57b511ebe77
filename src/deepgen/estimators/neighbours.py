"""Nonlinear neighbourhood components: codes of a deep network that lie by classes."""

from dataclasses import replace

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from deepgen.checks import check_integer, check_number, shown
from deepgen.estimators.common.base import FeatureEstimator
from deepgen.estimators.common.fitting import Problem
from deepgen.estimators.common.hyperparameters import check_sizes
from deepgen.estimators.common.known_rows import outputs_of, outputs_of_new, outputs_of_some
from deepgen.estimators.common.labels import as_classes, classes_in, split_labels
from deepgen.estimators.common.networks import (
    LOSS_OF,
    Examples,
    NetworkProblem,
    check_choice,
    check_network_settings,
    pretrained_stack,
)
from deepgen.estimators.common.validation import rows_with_targets
from deepgen.estimators.supervised import DeepSupervised
from deepgen.inference.neighbours import votes
from deepgen.io.classes import plain_classes
from deepgen.layers.named import as_units
from deepgen.layers.units import LARGEST_VALUE
from deepgen.learning.networks import check_objective
from deepgen.models import NeighbourNetwork, Network, NetworkLayer
from deepgen.networks.losses import LOSSES
from deepgen.networks.neighbour_loss import NeighbourLoss
from deepgen.networks.objective import Objective, Reconstruction
from deepgen.rows.paired import PairedRows
from deepgen.rows.sources import select
from deepgen.runtime.blas import one_blas_thread
from deepgen.stacks.settings import is_greedy
from deepgen.stacks.unrolling import activation_of, random_layer, random_layers, unrolled

# Rows whose principal components the code starts from, at most.
START_ROWS = 10_000


class _NeighbourProblem(NetworkProblem):
    """The training of codes, which are then kept for the labelled rows; a decoder is not kept."""

    def keep(self, run, score_seed):
        """Set what is fitted, with the codes of the labelled rows by the network of the run."""
        Problem.keep(self, run, score_seed)
        estimator, rows, network = self.estimator, self.examples.rows, run.model()
        decoder = self.examples.objective.reconstruction
        if decoder is not None:
            network = Network(network.layers[: decoder.layer + 1], network.inputs)
        if rows.known is not None:
            rows = PairedRows(select(rows.X, rows.known), rows.targets[rows.known])
        codes = outputs_of(network, rows, n_threads=estimator.n_threads)
        estimator.model_ = NeighbourNetwork(
            network, codes, rows.targets, len(estimator.classes_), float(estimator.temperature)
        )


class NeighbourhoodComponents(ClassifierMixin, FeatureEstimator, DeepSupervised, BaseEstimator):
    """Codes of a deep network, such that the neighbours of a row are of its class.

    A row chooses a neighbour with a probability that falls with the squared distance of their
    codes; training makes it choose one of its own class (nonlinear NCA). What comes out is a
    small code for search and pictures, and a classifier that votes among the labelled rows. As a
    classifier alone :class:`DeepClassifier` is better.

    Parameters
    ----------
    n_hidden : int or sequence of int, default (500, 500)
        Sizes of the hidden layers. With machines in `pretrained` their sizes count.
    n_components : int, default 30
        Size of the code: a linear layer above them, which starts as the principal components of
        the last hidden layer, scaled to a mean variance of 1.
    pretrained : BeliefNetwork, list of BoltzmannMachine, Pretraining, list of it, or None
        See :class:`DeepClassifier`; a machine of several hidden layers is not taken.
    visible, activation
        See :class:`DeepClassifier`.
    temperature : float, default 4.0
        See :class:`NeighbourLoss`.
    dropout, input_dropout : float, default 0.0 and 0.3
        Share of the hidden units and of the inputs that is left out of an update.
    smoothness : VirtualAdversarial or None
        A penalty on codes that move far where inputs move a little: half of their squared
        distance. With it rows without a label take part in the fine-tuning.
    reconstruction : float, default 0.0
        Factor of the loss of a decoder that rebuilds the rows from the code, a mean over rows: of
        binary columns the cross-entropy in nats, of Gaussian ones the squared error. With it rows
        without a label take part in the fine-tuning, which costs twice as much; not together with
        `smoothness`. The decoder starts as the mirror of the network, and is not kept.
    unlabelled : label, NaN or None, default None
        See :class:`DeepClassifier`: such rows serve the pretraining, the start of the code,
        `smoothness` and `reconstruction`.
    batch_size : int, default 1000
        Rows of an update, two or more, whose labelled ones choose among each other: time and
        memory of that grow with the square of their number. A row that is alone in its class in an
        update teaches nothing.
    optimizer, learning_rate, n_epochs
        See :class:`Autoencoder`.
    random_state, n_threads, callbacks, verbose
        See :class:`Autoencoder`. Results have the same bits for any number of threads on one
        machine; on another one they may have others, because BLAS is called.

    Attributes
    ----------
    model_ : NeighbourNetwork
    classes_ : ndarray of shape (n_classes,)
    stack_ : list of BoltzmannMachine or None
        What the hidden layers started from.
    history_ : list of dict
        One entry an epoch, its ``loss`` in nats a row; those of a greedy pretraining come first
        and have a ``layer``.
    n_features_in_, n_updates_, n_epochs_ : int

    References
    ----------
    Salakhutdinov & Hinton (2007), "Learning a nonlinear embedding by preserving class
    neighbourhood structure".
    """

    _saved_as = "NeighbourhoodComponents"
    _usual_epochs, _fewest_updates = 40, 150

    def __init__(
        self, n_hidden=(500, 500), n_components=30, *, pretrained=None, visible="binary",
        activation="logistic", temperature=4.0, dropout=0.0, input_dropout=0.3, smoothness=None,
        reconstruction=0.0, unlabelled=None, optimizer=None, learning_rate=None, batch_size=1000,
        n_epochs=None, random_state=None, n_threads=None, callbacks=None, verbose=0,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.n_components = n_components
        self.pretrained = pretrained
        self.visible = visible
        self.activation = activation
        self.temperature = temperature
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.smoothness = smoothness
        self.reconstruction = reconstruction
        self.unlabelled = unlabelled
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(self, X, y, *, resume=None):
        """Learn from rows and labels.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels; `unlabelled` where there is none.
        resume : str, path-like or None
            See :meth:`DeepClassifier.fit`.

        Returns
        -------
        NeighbourhoodComponents
            This estimator.

        Raises
        ------
        ValueError, FileNotFoundError, DivergedError, RuntimeError
            See :meth:`DeepClassifier.fit`.
        """
        return self._fit(X, y, resume)

    def _check_settings(self):
        check_network_settings(self)
        check_integer(self.n_components, "n_components")
        check_integer(self.batch_size, "batch_size", 2)
        check_number(self.temperature, "temperature", 0.0)
        check_choice(self.activation, "activation", ("logistic", "rectified"))
        as_units(self.visible, "visible")
        check_sizes(self.n_hidden)
        check_number(self.reconstruction, "reconstruction", 0.0, LARGEST_VALUE, closed=True)
        if self.reconstruction and self.smoothness is not None:
            raise ValueError(
                "reconstruction and smoothness do not go together: the one judges the outputs of a "
                "decoder, the other the code; leave one of them out"
            )
        check_objective(self._objective(), "linear", self.optimizer)

    def _objective(self):
        return Objective(
            NeighbourLoss(self.temperature), dropout=self.dropout,
            input_dropout=self.input_dropout, smoothness=self.smoothness,
        )  # fmt: skip

    @property
    def _top_epochs(self):
        return 0

    def _pretrained_models(self, n_columns):
        return pretrained_stack(self.pretrained, n_columns)

    def _read(self, X, y):
        return rows_with_targets(self, X, y), y

    def _problem(self, rows, y):
        known, labels = split_labels(y, rows.n_rows, self.unlabelled)
        self.classes_ = classes_in(labels, self.unlabelled)
        X, targets = rows.X, np.searchsorted(self.classes_, labels)
        if len(targets) > 1 and np.bincount(targets).max() == 1:
            raise ValueError(
                "y must have at least two rows of some class, whose codes then come to lie "
                f"together, got one row of each of {len(self.classes_)} classes; "
                "HierarchicalGaussian learns such classes from others that have more rows"
            )
        paired = PairedRows(X if known.all() else select(X, known), targets)
        if not known.all() and (self.smoothness is not None or self.reconstruction):
            everywhere = np.full(len(known), -1)
            everywhere[known] = targets
            paired = PairedRows(X, everywhere, known)
        visible, objective = self._visible(X.shape[1]), self._objective()
        if self.reconstruction:
            loss = LOSSES[LOSS_OF[activation_of(visible, "visible")[0]]]()
            objective = replace(objective, reconstruction=Reconstruction(
                self._n_hidden_layers(), visible, loss, float(self.reconstruction)
            ))  # fmt: skip
        return _NeighbourProblem(self, rows, Examples(paired, objective, visible))

    def _n_hidden_layers(self):
        if self.pretrained is None or is_greedy(self.pretrained):
            return len(check_sizes(self.n_hidden))
        return len(self._pretrained_models(self.n_features_in_))

    def _network(self, problem, survey, stack):
        """Return the start: hidden layers under the principal components of their features."""
        hidden = self._hidden_layers(problem, stack)
        if self.n_components > hidden.sizes[-1]:
            raise ValueError(
                f"n_components must be at most {hidden.sizes[-1]}, the size of the last hidden "
                f"layer, got {self.n_components}"
            )
        scale = self._input_scale(problem, survey) if stack is None else None
        features = outputs_of_some(
            hidden, problem.rows, START_ROWS, scale=scale, n_threads=self.n_threads
        )
        generator = problem.stream.generator("top")
        small = random_layer("linear", hidden.sizes[-1], self.n_components, generator)
        code = _principal_layer(features, small)
        encoder = Network([*hidden.layers, code], hidden.inputs)
        if not self.reconstruction:
            return encoder
        return Network([*encoder.layers, *self._decoder(problem, encoder, stack)], hidden.inputs)

    def _decoder(self, problem, encoder, stack):
        """Return the layers that rebuild rows from the code: the mirror of those below it."""
        visible, stream = problem.examples.units, problem.stream.child("decoder")
        *hidden, _ = encoder.layers
        sizes = [layer.size for layer in reversed(hidden)]
        lowest = random_layer(
            hidden[-1].activation, self.n_components, sizes[0], stream.generator("code")
        )
        if stack is not None:
            return [lowest, *unrolled(stack, encoder.inputs).layers[len(hidden) :]]
        activation, group = activation_of(visible, "visible")
        last = random_layer(
            activation, sizes[-1], visible.size, stream.generator("last"), group=group
        )
        between = random_layers(sizes, [layer.activation for layer in hidden[-2::-1]], stream)
        return [lowest, *between, last]

    # --- what a fitted one answers ----------------------------------------------------------------

    def transform(self, X):
        """Return the codes of rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components), float32
        """
        return outputs_of_new(self, X)

    def predict_proba(self, X):
        """Return the share of each class in a row's choice among the labelled rows of `fit`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
        """
        codes = self.transform(X)
        return votes(self.model_, codes)

    def predict(self, X):
        """Return the class of each row that has the largest share of its choice.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        chosen = self.predict_proba(X).argmax(axis=1)
        return self.classes_[chosen]

    @property
    def _n_features_out(self):
        return self.model_.sizes[-1]

    def _beside_model(self):
        return {"classes": plain_classes(self.classes_)}

    @classmethod
    def from_model(cls, model, classes=None):
        """Return a fitted estimator around a network of codes.

        Parameters
        ----------
        model : NeighbourNetwork
        classes : array-like or None
            None: 0, 1, 2, ...
        """
        if not isinstance(model, NeighbourNetwork):
            raise ValueError(f"model must be a NeighbourNetwork, got {shown(model)}")
        size = model.n_classes
        classes = as_classes(np.arange(size) if classes is None else classes, size)
        *n_hidden, n_components = model.sizes[1:]
        estimator = cls(n_hidden, n_components, temperature=model.temperature)._take(model)
        estimator.classes_, estimator.stack_ = classes, None
        return estimator


def _principal_layer(features, small):
    """Return a linear layer that gives the principal components of features.

    ``(f - mean) V / s``, V the eigenvectors of the largest eigenvalues of the covariance of
    features, s the root of the mean of these eigenvalues.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_lower)
    small : NetworkLayer
        A layer of random weights: its columns stay where the features have no variance left, as
        a column of zeros would never learn.
    """
    n_components = small.size
    centred = features.astype(np.float64)
    mean = centred.mean(axis=0)
    centred -= mean
    with one_blas_thread():
        values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        values, vectors = values[::-1][:n_components], vectors[:, ::-1][:, :n_components]
        there = values > 1e-10 * max(values[0], 1e-30)
        size = np.sqrt(np.mean(values[there])) if there.any() else 1.0
        weights = np.where(there, vectors / size, small.weights)
        bias = -mean @ weights
    return NetworkLayer("linear", bias, weights)
