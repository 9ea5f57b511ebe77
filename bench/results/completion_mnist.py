"""Completion of MNIST digits whose lower half is missing."""

import time

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

import deepgen as dg
from bench.results import dbm_mnist
from bench.results.stacks import fitted, grey_mnist
from bench.results.store import Store

TITLE = "Completion of MNIST: the lower half"
COLUMNS = ("method", "squared error", "standard error", "rows", "s to learn", "s to complete")
N_SEEN = 392  # pixels of the upper half

SWEEPS, CHAINS = 100, 100


def notes(n_rows):
    """Return the notes of the table for so many test rows."""
    return [
        f"Sum over the lower 392 pixels of the squared error, grey values in [0, 1], mean over "
        f"{n_rows:,} test rows (the first ones). Mean image, ridge regression (penalty 1) and "
        "nearest neighbours (k = 20, mean of their lower halves) learn from all 60,000 training "
        "rows. RBM: 500 hidden units, 500 particles, rate 0.2 linearly to 0, decay 0.0003, 60 "
        "epochs, bits drawn at each presentation. Deep Boltzmann machine: that of the table of "
        f"its likelihood. Both: mean over {CHAINS} chains of {SWEEPS} sweeps of the conditional "
        "means of the missing pixels; each chain sees bits drawn from the grey upper half.",
    ]


NOTES = notes(1_000)


def rows(store, quick):
    """Yield the rows of the table."""
    digits, n_rows = grey_mnist(), 100 if quick else 1_000
    for name, method in (
        ("mean image", mean_image), ("ridge regression", ridge), ("nearest neighbours", neighbours)
    ):  # fmt: skip
        found = store.once(name.split()[0], lambda m=method: plain(m, digits, n_rows))
        yield line(name, found, n_rows)
    n_epochs = 3 if quick else 60
    rbm, seconds = fitted(
        store, "rbm",
        dg.RBM(
            500, rule=dg.PCD(n_particles=100 if quick else 500), learning_rate=dg.Linear(0.2, 0.0),
            optimizer=dg.SGD(weight_decay=3e-4), n_epochs=n_epochs, binarize=True, random_state=0,
        ), digits.X_train,
    )  # fmt: skip
    found = store.once("rbm-error", lambda: completed(rbm, digits, n_rows, quick))
    yield line("RBM, 784-500", found | {"learn": seconds}, n_rows)
    source = Store("dbm_mnist" + ("_quick" if quick else ""))
    dbm, seconds = fitted(source, "dbm", dbm_mnist.estimator(quick), digits.X_train)
    found = store.once("dbm-error", lambda: completed(dbm, digits, n_rows, quick))
    yield line("deep Boltzmann machine, 784-500-1000", found | {"learn": seconds}, n_rows)


def line(name, found, n_rows):
    """Return one row of the table."""
    return (
        name, f"{found['error']:.2f}", f"{found['deviation'] / np.sqrt(n_rows):.2f}", n_rows,
        f"{found['learn']:.0f}", f"{found['complete']:.0f}",
    )  # fmt: skip


def measured(predicted, digits):
    """Return mean and standard deviation over rows of the squared error of lower halves."""
    errors = ((predicted - digits.X_test[: len(predicted), N_SEEN:]) ** 2).sum(axis=1)
    return {"error": float(errors.mean()), "deviation": float(errors.std(ddof=1))}


def plain(method, digits, n_rows):
    """Return errors and seconds of a method that learns lower halves from upper ones."""
    train = digits.X_train[:, :N_SEEN], digits.X_train[:, N_SEEN:]
    began = time.perf_counter()
    predict = method(*train)
    learned = time.perf_counter()
    predicted = predict(digits.X_test[:n_rows, :N_SEEN])
    seconds = {"learn": learned - began, "complete": time.perf_counter() - learned}
    return measured(predicted, digits) | seconds


def mean_image(seen, hidden):
    """Answer with the mean lower half."""
    return lambda rows: np.repeat(hidden.mean(axis=0)[None], len(rows), axis=0)


def ridge(seen, hidden):
    """Fit ridge regression."""
    return Ridge(1.0).fit(seen, hidden).predict


def neighbours(seen, hidden):
    """Fit nearest neighbours."""
    return KNeighborsRegressor(20).fit(seen, hidden).predict


def completed(estimator, digits, n_rows, quick):
    """Return errors and seconds of completions by chains."""
    rows = digits.X_test[:n_rows]
    missing = np.zeros(rows.shape, np.bool_)
    missing[:, N_SEEN:] = True
    began = time.perf_counter()
    means = estimator.impute(
        rows, missing, n_chains=20 if quick else CHAINS, n_sweeps=30 if quick else SWEEPS,
        random_state=0,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    return measured(means[:, N_SEEN:], digits) | {"complete": seconds}
