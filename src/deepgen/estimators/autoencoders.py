"""Autoencoders as scikit-learn estimators: one hidden layer, or a stack unrolled."""

from abc import abstractmethod
from dataclasses import replace

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_flag, check_integer, check_number, shown
from deepgen.estimators.common.base import FeatureEstimator
from deepgen.estimators.common.density import check_quantity
from deepgen.estimators.common.hyperparameters import check_sizes
from deepgen.estimators.common.networks import (
    LOSS_OF,
    Examples,
    NetworkEstimator,
    NetworkProblem,
    check_choice,
    check_network_settings,
    core_models,
    pretrained_stack,
)
from deepgen.estimators.common.validation import by_pieces, features, rows_to_read, validated
from deepgen.layers.binary import Binary
from deepgen.layers.gaussian import Gaussian
from deepgen.layers.named import as_units, real_columns, visible_of
from deepgen.layers.units import LARGEST_VALUE
from deepgen.learning.evidence import MOST_UPDATES
from deepgen.models import Network, NetworkLayer
from deepgen.models.backprop import forward, outputs
from deepgen.networks.losses import LOSSES, SquaredError
from deepgen.networks.objective import FieldNoise, Objective
from deepgen.rows.counts import FORMS
from deepgen.rows.holes import filled, holes_in
from deepgen.rows.paired import PairedRows
from deepgen.rows.sources import ArrayRows
from deepgen.runtime.work import Work
from deepgen.stacks.settings import is_greedy
from deepgen.stacks.unrolling import (
    activation_of,
    checked_stack,
    random_layer,
    random_layers,
    unrolled,
)


def _visible_of(network):
    """Return the visible units that a network's last layer stands for, or None."""
    last = network.layers[-1]
    return visible_of(last.activation, last.group, network.inputs)


def _is_mirrored(network):
    """Tell whether a network's outputs can be means of its inputs."""
    return network.sizes[0] == network.sizes[-1] and _visible_of(network) is not None


def _rebuilt(units, states):
    """Return 1 for each row that has something to be rebuilt, 0 for documents without words."""
    weights = units.row_weights(states)
    return np.ones(states.shape[0]) if weights is None else np.float64(weights > 0)


class _RebuildingProblem(NetworkProblem):
    """Rows that are their own targets: the loss is that of what is known of them."""

    takes_holes = True


class _Autoencoder(FeatureEstimator, NetworkEstimator, BaseEstimator):
    """Codes, reconstructions and errors of a network that rebuilds its inputs."""

    @property
    def _n_code_layers(self):
        return self.model_.n_layers // 2

    def _check_settings(self):
        check_network_settings(self)
        as_units(self.visible, "visible")
        if self.loss is not None:
            check_choice(self.loss, "loss", sorted(LOSSES))
        self._check_further_settings()
        self._objective(SquaredError())

    @abstractmethod
    def _check_further_settings(self):
        """Raise ValueError where a setting that only this autoencoder has is not valid."""

    def _read(self, X, y):
        X = validated(self, X, reset=True, accept_sparse="csr", ensure_all_finite=False)
        return ArrayRows(X), None

    def _problem(self, rows, y):
        visible = self._first_units(rows.n_columns)
        if visible.n_copies != 1:
            raise ValueError("visible must not have tied copies, got n_copies > 1")
        activation, _ = activation_of(visible, "visible")
        self._inputs(visible)
        loss = LOSSES[LOSS_OF[activation] if self.loss is None else self.loss]()
        try:
            loss.check(activation)
        except ValueError as error:
            raise ValueError(
                f"loss must fit the visible units, but {error}; leave loss out for the one that "
                "does"
            ) from None
        paired = PairedRows(rows.X, target_of=visible.target_of)
        examples = Examples(paired, self._objective(loss), visible)
        return _RebuildingProblem(self, rows, examples)

    def _first_units(self, n_columns):
        return as_units(self.visible, "visible").sized(n_columns)

    def _visible(self, survey):
        """Return the visible units fitted to the data."""
        visible = self._first_units(len(survey.mean))
        return visible.fitted_to(survey.mean, survey.variance, survey.n_rows)

    def _inputs(self, visible):
        """Return how the network reads rows of these visible units: `CountInputs`, or None."""
        return visible.inputs("logs")

    def _last_layer(self, visible, mean):
        """Return (activation, options) of the last layer, whose output starts at the mean row."""
        activation, group = activation_of(visible, "visible")
        # the field of units with a precision is that of a network times the precision
        bias = visible.bias if visible.precision is None else mean
        return activation, {"bias": bias, "group": group}

    def _objective(self, loss):
        return Objective(loss, l2=self.l2, l1=self.l1, masking=self.masking)

    def transform(self, X, *, quantity="mean"):
        """Return the codes of rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            NaN where a value is missing: an input of zero, as with `masking`.
        quantity : {"mean", "field"}, default "mean"
            The code, or what it is before its logistic or rectified function. Of a linear code
            they are the same.

        Returns
        -------
        ndarray of shape (n_samples, n_code), float32
        """
        check_is_fitted(self)
        check_quantity(quantity)
        return self._outputs(X, until=self._n_code_layers, field=quantity == "field", holes=True)

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
        codes = features(self, X, self._n_features_out, "the code")
        codes = real_columns(self._n_features_out).states_of(codes)
        return outputs(
            self.model_, codes, first=self._n_code_layers, work=Work(n_threads=self.n_threads)
        )

    def reconstruction_error(self, X, *, loss=None):
        """Return the error of the reconstruction of each row, summed over columns.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            NaN where a value is missing, and no error. Nor has a row of no counts one.
        loss : {"cross_entropy", "softmax_cross_entropy", "squared_error"} or None
            None: the squared error; of counts the cross-entropy ``-sum_j p_j log q_j`` of the
            shares p of the words, in nats a word.

        Returns
        -------
        ndarray of shape (n_samples,), float64
        """
        X, network, units = rows_to_read(self, X), self.model_, self._units
        if loss is None:
            loss = "squared_error" if network.inputs is None else "softmax_cross_entropy"
        check_choice(loss, "loss", sorted(LOSSES))
        loss = LOSSES[loss]()
        loss.check(network.layers[-1].activation)

        def errors(states):
            inputs = filled(states, holes_in(states))
            work, last = Work(n_threads=self.n_threads), network.layers[-1]
            field = forward(network, network.read(inputs), work=work).field
            by_row, _ = loss.by_row(last, field, units.target_of(states))
            return by_row * _rebuilt(units, inputs)

        return by_pieces(X, units, errors, holes=True)

    def score(self, X, y=None):
        """Return minus the mean reconstruction error: greater is better.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows of no counts do not count.
        y : ignored

        Returns
        -------
        float
        """
        errors = self.reconstruction_error(X)
        if self.model_.inputs is None:
            return -float(errors.mean())
        units = self._units
        rebuilt = by_pieces(
            rows_to_read(self, X), units, lambda x: _rebuilt(units, filled(x, holes_in(x))),
            holes=True,
        )  # fmt: skip
        return -float(errors.sum() / max(rebuilt.sum(), 1.0))

    @property
    def _units(self):
        """The visible units, as far as checks of values need them."""
        return as_units(_visible_of(self.model_)).sized(self.model_.sizes[0])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @property
    def _n_features_out(self):
        return self.model_.layers[self._n_code_layers - 1].size


class Autoencoder(_Autoencoder):
    """Autoencoder of one hidden layer: codes from which the rows can be rebuilt.

    ``code = f(x W + b)``, ``reconstruction = g(code V + c)``, and V is W transposed where it is
    tied.

    Parameters
    ----------
    n_hidden : int, default 64
        Size of the code.
    visible : {"binary", "gaussian", "multinomial"} or Units, default "binary"
        Binary: values in [0, 1], logistic outputs. Gaussian: real values (standardize them),
        linear outputs. Multinomial: counts, such as the words of documents, whose shares are
        rebuilt by a softmax. ``dg.Softmax(k)``: k one-hot columns for each variable.
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
        None: 0.002, linearly to 0. Classifier and regressor take more where `n_epochs` is None and
        they make few updates: times the cube root of 5,000 by their number.
    batch_size : int, default 100
    n_epochs : int or None
        None: enough for 5,000 updates. Deep networks learn few rows by heart:
        :class:`DeepAutoencoder` takes 250 epochs, at least 250 updates, :class:`DeepClassifier` and
        :class:`DeepRegressor` take 50 epochs, at least 300; all of them 5,000 updates at most.
    random_state : int, RandomState, Generator or None
        The same seed gives the same bits for any number of threads.
    n_threads : int or None
    callbacks : sequence of callable or None
        Called with an ``EpochReport`` after each epoch; a true value stops training.
    verbose : int, default 0
    communicator : communicator or None
        See :class:`RBM`; at most 24 processes.

    Attributes
    ----------
    model_ : Network
        Encoder and decoder.
    history_ : list of dict
        One entry an epoch.
    n_features_in_, n_updates_, n_epochs_ : int

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> X = np.random.default_rng(0).random((200, 16))
    >>> dg.Autoencoder(4, n_epochs=2, random_state=0).fit(X).transform(X).shape
    (200, 4)
    """

    _saved_as = "Autoencoder"
    _fewest_updates = MOST_UPDATES  # few rows gain by them too (docs/decisions.md)

    def __init__(
        self, n_hidden=64, *, visible="binary", hidden="logistic", loss=None, tied=True, l1=0.0,
        l2=0.0, masking=0.0, optimizer=None, learning_rate=None, batch_size=100, n_epochs=None,
        random_state=None, n_threads=None, callbacks=None, verbose=0, communicator=None,
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
        self.communicator = communicator

    def fit(self, X, y=None, *, resume=None):
        """Learn from rows.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap of shape (n_samples, n_features)
            NaN where a value is missing: an input of zero, which costs nothing. Real columns should
            be standardized, so that zero is their mean.
        y : ignored
        resume : str, path-like or None
            A file that :class:`deepgen.Checkpoint` has written: the run goes on from there with
            the same bits; see :meth:`RBM.fit`.

        Returns
        -------
        Autoencoder
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or a value of X is not valid, or if the checkpoint is that of another
            run; raised before any work. ModelFileError is one of them: the file is damaged.
        FileNotFoundError
            If there is no such checkpoint.
        DivergedError
            If a parameter is no longer finite; `model_` is the last good network.
        RuntimeError
            If another thread is fitting this estimator.
        """
        return self._fit(X, y, resume)

    def _check_further_settings(self):
        check_integer(self.n_hidden, "n_hidden")
        check_choice(self.hidden, "hidden", ("logistic", "linear", "rectified"))
        check_flag(self.tied, "tied")

    def _network(self, problem, survey, stack):
        size, mean, stream = int(self.n_hidden), survey.mean, problem.stream
        visible = self._visible(survey)
        inputs = self._inputs(visible)
        up = random_layer(self.hidden, visible.size, size, stream.generator("encoder"))
        bias = np.zeros(size) if self.hidden == "rectified" else -(mean @ up.weights)
        up = NetworkLayer(self.hidden, bias, up.weights)  # codes start around the mean row
        activation, options = self._last_layer(visible, mean)
        if self.tied:
            return Network([up, NetworkLayer(activation, tied_to=0, **options)], inputs)
        down = stream.generator("decoder")
        layers = [up, random_layer(activation, size, visible.size, down, **options)]
        return Network(layers, inputs)

    @classmethod
    def from_model(cls, model):
        """Return a fitted estimator around a network of two layers.

        Parameters
        ----------
        model : Network
        """
        if not isinstance(model, Network) or model.n_layers != 2 or not _is_mirrored(model):
            raise ValueError(f"model must be a Network of encoder and decoder, got {shown(model)}")
        up, down = model.layers
        return cls(
            up.size, visible=_visible_of(model), hidden=up.activation, tied=down.tied_to is not None
        )._take(model)


class DeepAutoencoder(_Autoencoder):
    """Deep autoencoder, unrolled from a stack of Boltzmann machines (Hinton & Salakhutdinov 2006).

    The decoder starts as the encoder's mirror image and is then free.

    Parameters
    ----------
    n_hidden : int or sequence of int, default (1000, 500, 250, 30)
        Sizes of the encoder's layers; the last is the code. With `pretrained` its sizes count.
    pretrained : BeliefNetwork, list of BoltzmannMachine, Pretraining, list of it, or None
        A belief network (``dbn.model_``), whose recognition side counts, or two-layer machines,
        bottom first; or settings of a greedy pretraining that `fit` does first, for every layer
        or one for each, which pays on many rows (thousands of updates a layer). None: random
        start.
    visible : {"binary", "gaussian", "multinomial"} or Units, default "binary"
        See :class:`Autoencoder`; with machines in `pretrained` theirs count.
    inputs : {"counts", "logs", "shares"} or None
        How counts are read, see :class:`CountInputs`. None: as logs.
    activation : {"logistic", "rectified"} or None
        Of the hidden layers below and above the code. None: rectified above counts without
        `pretrained`, which learn much faster from a random start; else logistic, as the units of
        machines are.
    code : {"linear", "logistic"}, default "linear"
        With machines in `pretrained` the topmost hidden units must agree.
    code_noise : float or None
        Standard deviation of normal noise that is added to the code in training, before its
        logistic function. A logistic code then learns to be near 0 or 1 (semantic hashing:
        Salakhutdinov & Hinton 2009); rows that a linear code lays apart in spite of it are grouped
        by what they have in common.
    loss, l1, l2, masking, optimizer, learning_rate, batch_size, n_epochs
        See :class:`Autoencoder`; they are about the fine-tuning.
    random_state, n_threads, callbacks, verbose, communicator
        See :class:`Autoencoder`.

    Attributes
    ----------
    model_ : Network
    stack_ : list of BoltzmannMachine or None
        What the network was unrolled from.
    history_ : list of dict
        One entry an epoch; those of a greedy pretraining come first and have a ``layer``.
    n_features_in_, n_updates_, n_epochs_ : int
    """

    _saved_as = "DeepAutoencoder"

    def __init__(
        self, n_hidden=(1000, 500, 250, 30), *, pretrained=None, visible="binary", inputs=None,
        activation=None, code="linear", code_noise=None, loss=None, l1=0.0, l2=0.0,
        masking=0.0, optimizer=None, learning_rate=None, batch_size=100, n_epochs=None,
        random_state=None, n_threads=None, callbacks=None, verbose=0, communicator=None,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.pretrained = pretrained
        self.visible = visible
        self.inputs = inputs
        self.activation = activation
        self.code = code
        self.code_noise = code_noise
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
        self.communicator = communicator

    def fit(self, X, y=None, *, resume=None):
        """Learn from rows; see :meth:`Autoencoder.fit`.

        `resume` goes on in the pretraining too.
        """
        return self._fit(X, y, resume)

    def _check_further_settings(self):
        check_sizes(self.n_hidden)
        check_choice(self.code, "code", ("linear", "logistic"))
        if self.activation is not None:
            check_choice(self.activation, "activation", ("logistic", "rectified"))
        if self.code_noise is not None:
            check_number(self.code_noise, "code_noise", 0.0, LARGEST_VALUE, closed=True)
        if self.inputs is not None:
            check_choice(self.inputs, "inputs", FORMS)
        if self.pretrained is not None and self.activation == "rectified":
            raise ValueError(
                "activation must be None or 'logistic' with pretrained, whose hidden units are "
                "logistic, got 'rectified'; leave pretrained out"
            )

    def _objective(self, loss):
        objective = super()._objective(loss)
        if not self.code_noise:
            return objective
        return replace(objective, noise=FieldNoise(self._code_layer(), float(self.code_noise)))

    def _code_layer(self):
        """Return the number of the layer that is the code."""
        if self.pretrained is None or is_greedy(self.pretrained):
            return len(check_sizes(self.n_hidden)) - 1
        return len(checked_stack(core_models(self.pretrained))) - 1

    def _inputs(self, visible):
        inputs = visible.inputs(self.inputs or "logs")
        if inputs is None and self.inputs is not None:
            raise ValueError(
                f"inputs is for counts, visible='multinomial', got {self.inputs!r} with {visible!r}"
            )
        return inputs

    def _first_units(self, n_columns):
        if self.pretrained is None or is_greedy(self.pretrained):
            return super()._first_units(n_columns)
        stack = pretrained_stack(self.pretrained, n_columns)
        self._check_code(stack)
        return stack[0].layers[0]

    def _pretrained_layers(self, problem, survey):
        if self.pretrained is None:
            return []
        sizes = check_sizes(self.n_hidden)
        hidden = [Binary(size) for size in sizes]
        if self.code == "linear":
            hidden[-1] = Gaussian(sizes[-1], learn_precision=False)
        return [self._visible(survey), *hidden]

    def _network(self, problem, survey, stack):
        self.stack_ = stack
        if stack is None:
            return self._random(self._visible(survey), survey.mean, problem.stream)
        return unrolled(stack, self._inputs(self._visible(survey)))

    def _check_code(self, stack):
        topmost = stack[-1].layers[1].activation
        if topmost != self.code:
            raise ValueError(
                f"code is {self.code!r}, but pretrained ends in {topmost} units; pass "
                f"code={topmost!r}, or train its last machine with other hidden units"
            )

    def _random(self, visible, mean, stream):
        sizes = check_sizes(self.n_hidden)
        inputs = self._inputs(visible)
        hidden = self.activation or ("logistic" if inputs is None else "rectified")
        kinds = [hidden] * (len(sizes) - 1) + [self.code] + [hidden] * (len(sizes) - 1)
        around = [visible.size, *sizes, *reversed(sizes[:-1])]
        activation, options = self._last_layer(visible, mean)
        generator = stream.generator("last")
        last = random_layer(activation, around[-1], visible.size, generator, **options)
        layers = [*random_layers(around, kinds, stream), last]
        return Network(layers, inputs)

    @classmethod
    def from_model(cls, model):
        """Return a fitted estimator around a network of an even number of layers.

        Parameters
        ----------
        model : Network
        """
        if not isinstance(model, Network) or model.n_layers % 2 or not _is_mirrored(model):
            raise ValueError(f"model must be a Network of encoder and decoder, got {shown(model)}")
        half = model.n_layers // 2
        estimator = cls(
            tuple(layer.size for layer in model.layers[:half]),
            visible=_visible_of(model),
            inputs=None if model.inputs is None else model.inputs.form,
            activation=model.layers[0].activation if half > 1 else None,
            code=model.layers[half - 1].activation,
        )._take(model)  # fmt: skip
        estimator.stack_ = None
        return estimator
