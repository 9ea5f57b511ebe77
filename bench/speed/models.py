"""What an update and one row cost, model by model: deepgen alone.

Ratings and sequences have comparisons of their own, `ratings` and `temporal`.
"""

import statistics
import time

import numpy as np

from bench.speed import arithmetic, fresh, machine, rounds
from bench.speed.data import binary_digits

BATCH_SIZE = 100
TIMEOUT = 300  # seconds, for one process


def run(*, n_rows, n_calls, n_rounds, n_threads):
    """Measure every model in a fresh process and print one Markdown table."""
    _, origin = binary_digits(10)
    print(*machine.describe(n_threads), arithmetic.describe(), sep="\n")
    print(
        f"data: {origin}, but for documents, which are drawn; {n_rounds} rounds, models in turn; "
        f"median (min..max). Update: the second of two epochs of {n_rows:,} rows, batches of "
        f"{BATCH_SIZE} where a model has batches, else an iteration or the whole fit. One row: "
        f"median of {n_calls} calls",
        flush=True,
    )
    results = rounds.in_turn(
        lambda name: fresh.call(
            time_model, n_threads=n_threads, timeout=TIMEOUT, name=name, n_rows=n_rows,
            n_calls=n_calls,
        ),
        MODELS, n_rounds,
    )  # fmt: skip
    print(
        "\n| model | us an update | `partial_fit` of a row, us | answer for a row | us |\n"
        + "| --- " * 5 + "|"
    )  # fmt: skip
    for name, found in results.items():
        cells = [
            rounds.spread([result[what] for result in found if result[what] is not None])
            for what in ("update", "partial_fit", "answer")
        ]
        print(f"| {name} | {cells[0]} | {cells[1]} | `{found[-1]['asked']}` | {cells[2]} |")


def time_model(name, n_rows, n_calls):
    """Time one model; called in a process of its own.

    Returns
    -------
    dict
        In microseconds: an `update`; `partial_fit` of one row, or None where a model has no such
        method; and the `answer` for one row of the method that is `asked`.
    """
    make, asked = MODELS[name]
    X, y = _data(name, n_rows)
    labelled = () if y is None else (y,)
    marks = []

    def mark(report):
        marks.append((time.perf_counter(), report.n_updates))

    estimator = make(mark)
    began = time.perf_counter()
    estimator.fit(X, *labelled)
    seconds, n_updates = time.perf_counter() - began, 1
    if len(marks) > 1:
        (first, before), (last, after) = marks[-2:]
        seconds, n_updates = last - first, after - before
    answer = getattr(estimator, asked)
    found = {
        "update": 1e6 * seconds / n_updates, "asked": asked, "partial_fit": None,
        "answer": _median(lambda r: answer(X[r : r + 1]), n_calls),
    }  # fmt: skip
    if name in STREAMS:
        stream = make(None)
        stream.partial_fit(X[:BATCH_SIZE])
        found["partial_fit"] = _median(lambda r: stream.partial_fit(X[r : r + 1]), n_calls)
    return found


def _data(name, n_rows):
    """Return rows and, for models that need them, targets."""
    if name.startswith("ReplicatedSoftmax"):
        rng = np.random.default_rng(0)
        return rng.poisson(0.05, (n_rows, 2000)).astype(np.float32), None
    rows, _ = binary_digits(n_rows)
    rows = np.ascontiguousarray(rows)
    if name.startswith("RBM 64"):
        return np.ascontiguousarray(rows[:, 300:364]), None
    teacher = np.random.default_rng(1).standard_normal((rows.shape[1], 10))
    score = (rows - rows.mean(axis=0)) @ teacher
    if name.startswith("DeepClassifier"):
        return rows, score.argmax(axis=1)
    if name.startswith(("NeighbourhoodComponents", "HierarchicalGaussian")):
        return rows, score.argmax(axis=1)
    if name.startswith(("DeepRegressor", "DeepGaussianProcess")):
        return rows, score[:, 0]
    return rows, None


def _median(call, n_calls):
    """Return the median microseconds of a call for one row after another, after one to warm up."""
    found = []
    for number in range(n_calls + 1):
        began = time.perf_counter()
        call(number % 50)
        found.append(time.perf_counter() - began)
    return 1e6 * statistics.median(found[1:])


def _estimator(name, *arguments, n_epochs=2, **settings):
    """Return a function that makes an estimator of a class, whose fits tell their epochs."""

    def make(mark):
        import deepgen as dg

        built = {key: value(dg) if callable(value) else value for key, value in settings.items()}
        callbacks = [] if mark is None else [mark]
        return getattr(dg, name)(
            *arguments, **built, n_epochs=n_epochs, callbacks=callbacks, batch_size=BATCH_SIZE,
            random_state=0,
        )  # fmt: skip

    return make


def _mixture(mark):
    import deepgen as dg

    return dg.MixtureOfBernoullis(50, max_iter=10, random_state=0)


def _product_mixture(mark):
    import deepgen as dg

    return dg.MixtureOfProducts(50, visible=dg.Gaussian(784), max_iter=10, random_state=0)


def _hierarchy(mark):
    import deepgen as dg

    return dg.HierarchicalGaussian(20, random_state=0)


# By name: what makes the estimator, and the method that answers for a row.
MODELS = {
    "RBM 64-32, PCD": (_estimator("RBM", 32), "transform"),
    "RBM 784-500, PCD": (_estimator("RBM", 500), "transform"),
    "RBM 784-500, CD": (_estimator("RBM", 500, rule="cd"), "transform"),
    "RBM 784-500, CD, Adam": (
        _estimator("RBM", 500, rule="cd", optimizer=lambda dg: dg.Adam()), "transform"
    ),
    "RBM 784-500, Gaussian visible units": (
        _estimator("RBM", 500, visible=lambda dg: dg.Gaussian(784)), "transform"
    ),
    "ReplicatedSoftmax 2000-50": (_estimator("ReplicatedSoftmax", 50), "transform"),
    "DBM 784-500-500": (_estimator("DBM", (500, 500)), "transform"),
    "DBN 784-500-500": (_estimator("DBN", (500, 500)), "transform"),
    "Autoencoder 784-500": (_estimator("Autoencoder", 500), "transform"),
    "DeepAutoencoder 784-500-30": (_estimator("DeepAutoencoder", (500, 30)), "transform"),
    "DeepClassifier 784-500-500": (_estimator("DeepClassifier", (500, 500)), "predict"),
    "DeepRegressor 784-500-500": (_estimator("DeepRegressor", (500, 500)), "predict"),
    "DeepGaussianProcessRegressor 784-500-500": (
        _estimator("DeepGaussianProcessRegressor", (500, 500)), "predict"
    ),
    "NeighbourhoodComponents 784-500-30": (
        _estimator("NeighbourhoodComponents", (500,), 30), "transform"
    ),
    "HierarchicalGaussian, 20 components": (_hierarchy, "predict"),
    "MixtureOfBernoullis, 50 parts": (_mixture, "predict_proba"),
    "MixtureOfProducts, 50 parts, Gaussian columns": (_product_mixture, "predict_proba"),
}  # fmt: skip
STREAMS = ("RBM 64-32, PCD", "RBM 784-500, PCD", "RBM 784-500, CD", "DBM 784-500-500")
