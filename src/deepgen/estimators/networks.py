"""What the estimators around a network share: rows, settings, training, files."""

import contextlib

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted, validate_data

from deepgen import storage
from deepgen.data import PairedRows, is_iterable_of_batches
from deepgen.estimators.settings import check_integer
from deepgen.fine_tuning import KeepBest, NetworkTrainer, loss_by_row
from deepgen.models import Network
from deepgen.optimizers import Adam, Linear, as_schedule
from deepgen.states import as_states, checked_csr
from deepgen.stream import SHUFFLE, Stream, seed_of
from deepgen.training import DEFAULT_UPDATES
from deepgen.unrolling import checked_stack

_DTYPES = [np.dtype(kind) for kind in (np.float64, np.float32, np.uint8, np.bool_)]


def check_network_settings(estimator):
    """Raise ValueError where a hyper-parameter of the training is not valid, before any work."""
    check_integer(estimator.batch_size, "batch_size")
    for name in ("n_epochs", "n_threads"):
        if getattr(estimator, name) is not None:
            check_integer(getattr(estimator, name), name)
    if not isinstance(estimator.verbose, bool):
        check_integer(estimator.verbose, "verbose", 0)
    if estimator.learning_rate is not None:
        as_schedule(estimator.learning_rate)
    optimizer = estimator.optimizer
    able = hasattr(optimizer, "descend") or hasattr(optimizer, "minimize")
    if optimizer is not None and (isinstance(optimizer, type) or not able):
        raise ValueError(
            "optimizer must be None, dg.SGD(...), dg.Adam(...), dg.ConjugateGradient() or "
            f"dg.LBFGS(), got {optimizer!r}"
        )
    if not isinstance(estimator.callbacks, list | tuple | None) or not all(
        callable(callback) for callback in estimator.callbacks or ()
    ):
        raise ValueError(f"callbacks must be a list of callables, got {estimator.callbacks!r}")


def check_sizes(n_hidden):
    """Return the sizes of hidden layers as a tuple after a check."""
    sizes = (n_hidden,) if isinstance(n_hidden, int | np.integer) else n_hidden
    if not isinstance(sizes, list | tuple) or not sizes:
        raise ValueError(f"n_hidden must be a sequence of sizes, got {n_hidden!r}")
    for size in sizes:
        check_integer(size, "each size in n_hidden")
    return tuple(int(size) for size in sizes)


def pretrained_stack(pretrained, n_columns=None):
    """Return core models from what a user passes as `pretrained`, after a check.

    A ``sklearn.frozen.FrozenEstimator`` around a fitted estimator will do as well.

    Raises
    ------
    ValueError
        For a bare estimator, which ``clone`` would strip of its weights; or a misfit.
    """
    parts = pretrained if isinstance(pretrained, list | tuple) else [pretrained]
    stack = []
    for part in parts:
        frozen = type(part).__name__ == "FrozenEstimator"
        if frozen:
            part = part.estimator.model_
        elif hasattr(part, "get_params"):
            raise ValueError(
                f"pretrained must hold core models, got a {type(part).__name__}: scikit-learn's "
                "clone would silently strip it of its weights; pass its model_, or wrap it in "
                "sklearn.frozen.FrozenEstimator"
            )
        stack.append(part)
    stack = checked_stack(stack)
    if n_columns is not None and stack[0].layers[0].size != n_columns:
        raise ValueError(
            f"X has {n_columns} features, but pretrained was trained on "
            f"{stack[0].layers[0].size}"
        )
    return stack


class NetworkEstimator:
    """Mix-in: an estimator whose `model_` is a network."""

    def _default_optimizer(self):
        return Adam(weight_decay=0.0)

    def _train(self, network, objective, X, targets, stream, *, top_epochs=0, held=None):
        """Train and keep the network; `held` is a pair of rows and targets, and a patience."""
        rows = PairedRows(X, targets)
        n_epochs = self.n_epochs
        if n_epochs is None:
            n_epochs = -(-DEFAULT_UPDATES // -(-rows.n_rows // self.batch_size))
        rate = Linear(0.002, 0.0) if self.learning_rate is None else self.learning_rate
        trainer = NetworkTrainer(
            network, objective, self.optimizer or self._default_optimizer(), as_schedule(rate),
            stream=stream, batch_size=self.batch_size, top_epochs=top_epochs,
            n_threads=self.n_threads,
        )  # fmt: skip
        callbacks, stopping = list(self.callbacks or ()), None
        if held is not None:
            stopping = _early_stopping(objective.loss, held, self.n_threads)
            callbacks.insert(0, stopping)
        self.model_ = network
        try:
            trainer.fit(rows, n_epochs, callbacks=callbacks, verbose=self.verbose)
        finally:
            self.model_ = trainer.network()
            if stopping is not None and stopping.network is not None:
                self.model_ = stopping.network
            self.history_ = trainer.history
            self.n_updates_ = trainer.n_updates

    def _start(self):
        """Return a seed and its stream."""
        seed = seed_of(self.random_state)
        return seed, Stream.from_random_state(seed)

    @contextlib.contextmanager
    def _unchanged_on_error(self):
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _validated(self, X, *, reset, y="no_validation", **options):
        if is_iterable_of_batches(X):
            raise TypeError(f"X must be an array or a sparse matrix, got {type(X).__name__}")
        if sparse.issparse(X):
            X = checked_csr(X)
        return validate_data(
            self, X, y, dtype=_DTYPES, reset=reset, accept_sparse="csr", **options
        )

    def _states(self, X):
        check_is_fitted(self)
        return as_states(self._validated(X, reset=False))

    def _save(self, path, **extra):
        check_is_fitted(self)
        storage.save(self.model_, path, extra={"estimator": type(self).__name__, **extra})

    def _take(self, network):
        """Become a fitted estimator around a network."""
        if not isinstance(network, Network):
            raise ValueError(f"model must be a Network, got {network!r}")
        self.model_ = network
        self.history_, self.n_updates_ = [], 0
        self.n_features_in_ = network.sizes[0]
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "model_")


def _early_stopping(loss, held, n_threads):
    X, targets, patience = held
    rows = PairedRows(X, targets)

    def error(network):
        return loss_by_row(network, loss, rows, n_threads=n_threads).mean()

    return KeepBest(error, patience, "validation_loss")


def held_back(labels, fraction, stream):
    """Return a bool mask of rows to hold back: this share of each label, at least one row.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,)
    fraction : float
    stream : Stream
    """
    order = stream.child("validation").permutation(len(labels), SHUFFLE)
    held = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        own = order[labels[order] == label]
        if len(own) > 1:
            held[own[: max(1, int(fraction * len(own)))]] = True
    return held
