"""Autoencoders as scikit-learn estimators: one hidden layer, or a stack unrolled."""

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from deepgen.backprop import outputs
from deepgen.data import ArrayRows, PairedRows, survey
from deepgen.estimators.networks import (
    NetworkEstimator,
    check_network_settings,
    check_sizes,
    pretrained_stack,
)
from deepgen.fine_tuning import Objective, loss_by_row
from deepgen.losses import LOSSES, SquaredError
from deepgen.models import Network, NetworkLayer
from deepgen.stacking import Pretraining, pretrain
from deepgen.states import as_states
from deepgen.stream import child_seed
from deepgen.units import Binary, Gaussian, Softmax, as_units
from deepgen.unrolling import activation_of, random_layer, random_layers, unrolled

_LOSS_OF = {Binary: "cross_entropy", Gaussian: "squared_error", Softmax: "softmax_cross_entropy"}
_BACK = {"logistic": "binary", "linear": "gaussian"}


def _loss(estimator, visible):
    name = estimator.loss
    if name is None:
        return LOSSES[_LOSS_OF[type(visible)]]()
    if name not in LOSSES:
        raise ValueError(f"loss must be None or one of {sorted(LOSSES)}, got {name!r}")
    return LOSSES[name]()


class _Autoencoder(
    NetworkEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """What both autoencoders do once they have a network."""

    @property
    def _n_code_layers(self):
        return self.model_.n_layers // 2

    def _visible(self, X, stack=None):
        """Return the visible units fitted to the data, and their loss, after checks."""
        visible = as_units(self.visible, "visible") if stack is None else stack[0].layers[0]
        if visible.n_copies != 1:
            raise ValueError("visible must not have tied copies, got n_copies > 1")
        loss = _loss(self, visible)
        loss.check(activation_of(visible))
        visible = visible.sized(X.shape[1])
        n_rows, mean, variance = survey(ArrayRows(X), visible, n_threads=self.n_threads)
        return visible.fitted_to(mean, variance, n_rows), mean, loss

    def _objective(self, loss):
        return Objective(loss, l2=self.l2, l1=self.l1, masking=self.masking)

    def transform(self, X):
        """Return the codes of rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_code), float32
        """
        states = self._checked(X)
        return outputs(
            self.model_, states, until=self._n_code_layers, n_threads=self.n_threads
        )

    def inverse_transform(self, X):
        """Return the reconstructions of codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_code)

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
        """
        check_is_fitted(self)
        codes = check_array(X, dtype=[np.float64, np.float32], input_name="X", estimator=self)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X must have shape (n_samples, {self._n_features_out}), the code, got "
                f"{codes.shape}"
            )
        return outputs(
            self.model_, codes, first=self._n_code_layers, n_threads=self.n_threads
        )

    def reconstruction_error(self, X):
        """Return the squared error of the reconstruction of each row, summed over columns.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
        """
        rows = PairedRows(self._checked_rows(X))
        return loss_by_row(self.model_, SquaredError(), rows, n_threads=self.n_threads)

    def score(self, X, y=None):
        """Return minus the mean squared error of reconstructions: greater is better.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        float
        """
        return -float(self.reconstruction_error(X).mean())

    def _checked_rows(self, X):
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        self._units.check(as_states(X))
        return X

    def _checked(self, X):
        return as_states(self._checked_rows(X))

    @property
    def _units(self):
        """The visible units, as far as checks of values need them."""
        last = self.model_.layers[-1]
        if last.activation == "softmax":
            return Softmax(last.group, last.size)
        return as_units(_BACK[last.activation]).sized(last.size)

    def save(self, path):
        """Write the network to one file, atomically; :func:`deepgen.load` reads it.

        Parameters
        ----------
        path : str or path-like
            By custom ending in ``.safetensors``.
        """
        self._save(path)

    @property
    def _n_features_out(self):
        return self.model_.layers[self._n_code_layers - 1].size

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class Autoencoder(_Autoencoder):
    """Autoencoder of one hidden layer: codes from which the rows can be rebuilt.

    ``code = f(x W + b)``, ``reconstruction = g(code V + c)``, and V is W transposed where it is
    tied.

    Parameters
    ----------
    n_hidden : int, default 64
        Size of the code.
    visible : {"binary", "gaussian"} or Units, default "binary"
        Binary: values in [0, 1], logistic outputs. Gaussian: real values (standardize them),
        linear outputs. ``dg.Softmax(k)``: k one-hot columns for each variable.
    hidden : {"logistic", "linear", "rectified"}, default "logistic"
    loss : {"cross_entropy", "softmax_cross_entropy", "squared_error"} or None
        None: that of the visible units, squared error for Gaussian ones.
    tied : bool, default True
        Whether the decoder's weights are the encoder's, transposed.
    l1 : float, default 0.0
        Times the sum of absolute hidden activities: sparse codes.
    l2 : float, default 0.0
        Half of it times the sum of squared weights.
    masking : float, default 0.0
        Share of the inputs that is set to zero in training, while the whole row is to be
        rebuilt: a denoising autoencoder (Vincent et al. 2008).
    optimizer : Adam, SGD, ConjugateGradient, LBFGS or None
        None: ``dg.Adam(weight_decay=0)``. The last two take chunks of `batch_size` rows.
    learning_rate : float, schedule or None
        None: 0.002, linearly to 0.
    batch_size : int, default 100
    n_epochs : int or None
        None: enough for 5,000 updates.
    random_state : int, RandomState, Generator or None
        The same seed gives the same bits for any number of threads.
    n_threads : int or None
    callbacks : sequence of callable or None
        Called with an ``EpochReport`` after each epoch; a true value stops training.
    verbose : int, default 0

    Attributes
    ----------
    model_ : Network
        Encoder and decoder.
    history_ : list of dict
        One entry an epoch.
    n_features_in_, n_updates_ : int

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> X = np.random.default_rng(0).random((200, 16))
    >>> dg.Autoencoder(4, n_epochs=2, random_state=0).fit(X).transform(X).shape
    (200, 4)
    """

    def __init__(
        self, n_hidden=64, *, visible="binary", hidden="logistic", loss=None, tied=True, l1=0.0,
        l2=0.0, masking=0.0, optimizer=None, learning_rate=None, batch_size=100, n_epochs=None,
        random_state=None, n_threads=None, callbacks=None, verbose=0,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.visible = visible
        self.hidden = hidden
        self.loss = loss
        self.tied = tied
        self.l1 = l1
        self.l2 = l2
        self.masking = masking
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(self, X, y=None):
        """Learn from rows.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        Autoencoder
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or a value of X is not valid; raised before any work.
        DivergedError
            If a parameter is no longer finite; `model_` is the last good network.
        """
        check_network_settings(self)
        (size,) = check_sizes((self.n_hidden,))
        if self.hidden not in ("logistic", "linear", "rectified"):
            raise ValueError(
                f"hidden must be 'logistic', 'linear' or 'rectified', got {self.hidden!r}"
            )
        with self._unchanged_on_error():
            X = self._validated(X, reset=True)
            visible, mean, loss = self._visible(X)
            objective = self._objective(loss)
            _, stream = self._start()
            network = self._network(visible, mean, size, stream)
        self._train(network, objective, X, None, stream)
        return self

    def _network(self, visible, mean, size, stream):
        up = random_layer(self.hidden, visible.size, size, stream.generator("encoder"))
        bias = np.zeros(size) if self.hidden == "rectified" else -(mean @ up.weights)
        up = NetworkLayer(self.hidden, bias, up.weights)  # codes start around the mean row
        bias = visible.bias if visible.precision is None else mean
        group = visible.group if isinstance(visible, Softmax) else None
        kind = activation_of(visible)
        if self.tied:
            return Network([up, NetworkLayer(kind, bias, tied_to=0, group=group)])
        down = stream.generator("decoder")
        return Network(
            [up, random_layer(kind, size, visible.size, down, bias=bias, group=group)]
        )

    @classmethod
    def from_model(cls, model):
        """Return a fitted estimator around a network of two layers.

        Parameters
        ----------
        model : Network
        """
        if not isinstance(model, Network) or model.n_layers != 2:
            raise ValueError(f"model must be a Network of 2 layers, got {model!r}")
        up, down = model.layers
        visible = Softmax(down.group) if down.activation == "softmax" else _BACK[down.activation]
        return cls(
            up.size, visible=visible, hidden=up.activation, tied=down.tied_to is not None
        )._take(model)


class DeepAutoencoder(_Autoencoder):
    """Deep autoencoder, unrolled from a stack of Boltzmann machines (Hinton & Salakhutdinov 2006).

    The decoder starts as the encoder's mirror image and is then free.

    Parameters
    ----------
    n_hidden : sequence of int, default (1000, 500, 250, 30)
        Sizes of the encoder's layers; the last is the code. With `pretrained` its sizes count.
    pretrained : list of BoltzmannMachine, Pretraining or None
        Two-layer machines, bottom first; or settings of a greedy pretraining that `fit` does
        first, which pays on many rows (thousands of updates a layer). None: random start.
    visible : {"binary", "gaussian"} or Units, default "binary"
        See :class:`Autoencoder`; with machines in `pretrained` theirs count.
    code : {"linear", "logistic"}, default "linear"
        With machines in `pretrained` the topmost hidden units must agree.
    loss, l1, l2, masking, optimizer, learning_rate, batch_size, n_epochs
        See :class:`Autoencoder`; they are about the fine-tuning.
    random_state, n_threads, callbacks, verbose
        See :class:`Autoencoder`.

    Attributes
    ----------
    model_ : Network
    stack_ : list of BoltzmannMachine or None
        What the network was unrolled from.
    history_ : list of dict
    n_features_in_, n_updates_ : int
    """

    def __init__(
        self, n_hidden=(1000, 500, 250, 30), *, pretrained=None, visible="binary", code="linear",
        loss=None, l1=0.0, l2=0.0, masking=0.0, optimizer=None, learning_rate=None,
        batch_size=100, n_epochs=None, random_state=None, n_threads=None, callbacks=None,
        verbose=0,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.pretrained = pretrained
        self.visible = visible
        self.code = code
        self.loss = loss
        self.l1 = l1
        self.l2 = l2
        self.masking = masking
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(self, X, y=None):
        """Learn from rows; see :meth:`Autoencoder.fit`."""
        check_network_settings(self)
        sizes = check_sizes(self.n_hidden)
        if self.code not in ("linear", "logistic"):
            raise ValueError(f"code must be 'linear' or 'logistic', got {self.code!r}")
        with self._unchanged_on_error():
            X = self._validated(X, reset=True)
            stack = None
            if not isinstance(self.pretrained, Pretraining | None):
                stack = pretrained_stack(self.pretrained, X.shape[1])
                self._check_code(stack)
            visible, mean, loss = self._visible(X, stack)
            objective = self._objective(loss)
            seed, stream = self._start()
        if isinstance(self.pretrained, Pretraining):
            stack = self._pretrained(X, visible, sizes, seed)
        self.stack_ = stack
        random = stack is None
        network = self._random(visible, mean, sizes, stream) if random else unrolled(stack)
        self._train(network, objective, X, None, stream)
        return self

    def _check_code(self, stack):
        found = activation_of(stack[-1].layers[1])
        if found != self.code:
            raise ValueError(
                f"code is {self.code!r}, but pretrained ends in {found} units; pass "
                f"code={found!r}, or train its last machine with other hidden units"
            )

    def _pretrained(self, X, visible, sizes, seed):
        hidden = [Binary(size) for size in sizes]
        if self.code == "linear":
            hidden[-1] = Gaussian(sizes[-1], learn_precision=False)
        return pretrain(
            ArrayRows(X), [visible, *hidden], self.pretrained,
            random_state=child_seed(seed, "stack"), n_threads=self.n_threads,
        )  # fmt: skip

    def _random(self, visible, mean, sizes, stream):
        kinds = ["logistic"] * (len(sizes) - 1) + [self.code]
        kinds += ["logistic"] * (len(sizes) - 1)
        around = [visible.size, *sizes, *reversed(sizes[:-1])]
        group = visible.group if isinstance(visible, Softmax) else None
        bias = visible.bias if visible.precision is None else mean
        last = random_layer(
            activation_of(visible), around[-1], visible.size, stream.generator("last"), bias=bias,
            group=group,
        )  # fmt: skip
        return Network([*random_layers(around, kinds, stream), last])

    @classmethod
    def from_model(cls, model):
        """Return a fitted estimator around a network of an even number of layers.

        Parameters
        ----------
        model : Network
        """
        if not isinstance(model, Network) or model.n_layers % 2:
            raise ValueError(f"model must be a Network of encoder and decoder, got {model!r}")
        half, last = model.n_layers // 2, model.layers[-1]
        visible = Softmax(last.group) if last.activation == "softmax" else _BACK[last.activation]
        estimator = cls(
            tuple(layer.size for layer in model.layers[:half]), visible=visible,
            code=model.layers[half - 1].activation,
        )._take(model)  # fmt: skip
        estimator.stack_ = None
        return estimator
