"""
An estimator of your own
========================

An estimator writes what its problem is: which layers it has, and what its settings may be. The
rest is there already: checks of rows, one thread at a time, callbacks, Ctrl-C, streams,
checkpoints, and the last good model whatever happens.

This one puts rows into groups. It is a Boltzmann machine whose hidden layer is a single
categorical variable: the number of the group.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.validation import check_is_fitted

import deepgen as dg
from deepgen.checks import check_integer
from deepgen.estimators.common.hyperparameters import check_machine_settings, visible_units
from deepgen.estimators.common.machines import MachineProblem
from deepgen.estimators.common.streams import StreamEstimator
from deepgen.estimators.common.validation import by_pieces, rows_to_read
from deepgen.inference.gibbs import update_layer
from deepgen.plots import plot_samples

# %%


class Groups(StreamEstimator, ClusterMixin, BaseEstimator):
    """Groups of rows: ``p(v, k) = exp(v^T W[:, k] + b^T v + c[k]) / Z``."""

    def __init__(
        self, n_groups=8, *, visible="binary", rule="cd", learning_rate=None, optimizer=None,
        batch_size=100, n_epochs=None, random_state=None, n_threads=None, callbacks=None, verbose=0,
    ):  # fmt: skip
        self.n_groups = n_groups
        self.visible = visible
        self.rule = rule
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(self, X, y=None, *, resume=None):
        """Learn from rows; with `resume`, go on from a file of ``dg.Checkpoint``."""
        return self._fit(X, y, resume)

    def partial_fit(self, X, y=None):
        """Learn from more rows; ``save_checkpoint`` and ``load_checkpoint`` come along."""
        return self._partial_fit(X, lambda rows, first: self._problem(rows, y))

    def _check_settings(self):
        check_integer(self.n_groups, "n_groups", 2)
        check_machine_settings(self)

    def _problem(self, rows, y):
        visible = visible_units(self, self.n_features_in_)
        return MachineProblem(self, [visible, dg.Softmax(self.n_groups, self.n_groups)], rows)

    def predict(self, X):
        """Return the most probable group of each row."""
        check_is_fitted(self)
        X, model = rows_to_read(self, X), self.model_
        probabilities = by_pieces(
            X, model.visible, lambda v: update_layer(model, 1, [v, None], mean=True)[0]
        )
        return probabilities.argmax(axis=1)


# %%
# Rows in memory, with a checkpoint. A run that was stopped goes on with the same call.

digits = load_digits()
X = (digits.data > 7).astype(np.uint8)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "groups.checkpoint")
    settings = {"learning_rate": dg.Linear(1.0, 0.0), "n_epochs": 200, "random_state": 0}
    groups = Groups(10, **settings, callbacks=[dg.Checkpoint(path)])
    groups.fit(X, resume=path if path.exists() else None)
    again = Groups(10, **settings).fit(X, resume=path)
print(f"agreement with the digits: {adjusted_rand_score(digits.target, groups.predict(X)):.2f}")
assert (again.predict(X) == groups.predict(X)).all()

# %%
# What the groups are: the mean of the digits in each.

found = groups.predict(X)
plot_samples(np.stack([X[found == k].mean(axis=0) for k in np.unique(found)]))
plt.show()

# %%
# Rows as they come, and a stream that is kept overnight.

stream = Groups(10, learning_rate=0.5, random_state=0)
for start in range(0, 900, 100):
    stream.partial_fit(X[start : start + 100])
with tempfile.TemporaryDirectory() as folder:
    stream.save_checkpoint(Path(folder, "groups.stream"))
    stream = Groups(10, learning_rate=0.5).load_checkpoint(Path(folder, "groups.stream"))
stream.partial_fit(X[900:])
print(f"after one pass: {adjusted_rand_score(digits.target, stream.predict(X)):.2f}")
