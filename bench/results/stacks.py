"""What the tables of stacks share: grey digits, stacks that are trained once, runs that go on."""

from typing import NamedTuple

import numpy as np

import deepgen as dg
from deepgen.datasets import load_mnist
from deepgen.io import checkpoints
from deepgen.rows.sources import ArrayRows
from deepgen.stacks.trainer import StackTrainer


class GreyDigits(NamedTuple):
    """MNIST with values in [0, 1], float32."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


# Training rows of a quick form whose models infer a posterior of each row first.
QUICK_ROWS = 20_000


def fewer(digits):
    """Return digits with the first training rows alone."""
    train = digits.X_train[:QUICK_ROWS], digits.y_train[:QUICK_ROWS]
    return digits._replace(X_train=train[0], y_train=train[1])


def grey_mnist():
    """Return MNIST as values in [0, 1]."""
    mnist = load_mnist()
    unit = np.float32(255.0)
    return GreyDigits(mnist.X_train / unit, mnist.y_train, mnist.X_test / unit, mnist.y_test)


def chosen(digits, n_labels, draw):
    """Return the rows whose labels are known in this draw, in order."""
    everything = np.arange(len(digits.y_train))
    if n_labels == len(everything):
        return everything
    rng = np.random.default_rng(draw)
    picked = [
        rng.choice(everything[digits.y_train == digit], n_labels // 10, replace=False)
        for digit in range(10)
    ]
    return np.sort(np.concatenate(picked))


def stack_of(store, key, X, layers, settings, *, random_state=0):
    """Return (machines, seconds) of a greedy pretraining, done once for this name.

    Parameters
    ----------
    store : Store
    key : str
    X : ndarray of shape (n_rows, n_columns)
    layers : sequence of Units
        The visible ones and the hidden ones, with sizes.
    settings : Pretraining
    """

    def train():
        path = store.folder / f"{key}.run"
        run = StackTrainer(ArrayRows(X), layers, settings, random_state=random_state)
        run.attach([dg.Checkpoint(path, minutes=3.0)])
        if path.exists():
            frame, state = checkpoints.load(path)
            checkpoints.restore(run, {"stack": frame["stack"], "trainer": state}, path)
        run.fit()
        trained["stack"] = run.stack()
        for l, machine in enumerate(trained["stack"]):
            dg.RBM.from_model(machine).save(store.folder / f"{key}-{l}.safetensors")
        path.unlink()
        return {"seconds": sum(entry["seconds"] for entry in run.history)}

    trained = {}
    found = store.once(key, train)
    stack = trained.get("stack") or [
        dg.load(store.folder / f"{key}-{l}.safetensors").model_ for l in range(len(layers) - 1)
    ]
    return stack, found["seconds"]


def fitted(store, key, estimator, X, y=None):
    """Return (estimator, seconds) after `fit`, which goes on from its last checkpoint."""

    def train():
        path = store.folder / f"{key}.run"
        callbacks = [*(estimator.callbacks or ()), dg.Checkpoint(path, minutes=3.0)]
        estimator.set_params(callbacks=callbacks)
        fit = {"resume": path if path.exists() else None}
        estimator.fit(X, **fit) if y is None else estimator.fit(X, y, **fit)
        estimator.bench_seconds_ = sum(entry["seconds"] for entry in estimator.history_)
        path.unlink()
        return estimator

    return store.model(key, train)
