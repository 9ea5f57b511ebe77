"""Posteriors of deep machines: mean field against TAP, beside the exact log p(v)."""

import itertools
import time

import numpy as np
from sklearn.datasets import load_digits

import deepgen as dg

TITLE = "Posteriors of deep machines: mean field and TAP"
COLUMNS = (
    "machine", "largest weight between hidden layers", "error, mean field", "error, TAP",
    "largest, TAP", "rows that fell back", "ms, mean field", "ms, TAP",
)  # fmt: skip
NOTES = [
    "Mean absolute error of log p(v), nats, against enumeration of the second hidden layer; log Z "
    "is the same for all. Mean field: `dg.variational_bound`, a bound. TAP: "
    "`dg.tap_log_likelihood`, no bound. Processor time of one thread for all rows.",
    "64-16-12: digits of 8 x 8 pixels, 397 rows that were not learned from; greedy start of 60 "
    "epochs, 20 together. The others: normal weights of the standard deviation that is named, "
    "200 random rows. Seed 0 everywhere.",
]


def rows(store, quick):
    """Yield the rows of the table."""
    found = store.once(
        "digits", lambda: {"row": judged("64-16-12, digits", *digits_machine(quick))}
    )
    yield found["row"]
    for scale in (0.5, 1.0, 1.5) if quick else (0.5, 1.0, 1.5, 2.0, 3.0):
        found = store.once(
            f"random-{scale}",
            lambda s=scale: {"row": judged(f"20-8-6, {s}", *random_machine(s))},
        )
        yield found["row"]


def digits_machine(quick):
    """Return a machine of digits whose second hidden layer is in use, and rows to score."""
    X = (load_digits().data > 7).astype(np.uint8)
    dbm = dg.DBM(
        (16, 12), pretrained=dg.Pretraining(n_epochs=60), n_epochs=20, random_state=0, n_threads=1
    ).fit(X[:1400])
    return dbm.model_, X[1400:1450] if quick else X[1400:]


def random_machine(scale):
    """Return a machine of normal weights and random rows."""
    rng = np.random.default_rng(0)
    sizes = (20, 8, 6)
    weights = [rng.normal(0, scale, pair) for pair in itertools.pairwise(sizes)]
    layers = [dg.Binary(bias=rng.normal(0, 0.5, size)) for size in sizes]
    return dg.BoltzmannMachine(layers, weights), (rng.random((200, 20)) < 0.5).astype(np.uint8)


def exact_values(model, v):
    """Return log p*(v) by row: the second hidden layer enumerated, the first summed out."""
    n = model.layers[2].size
    states = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
    above = states @ model.weights[1].T.astype(np.float64)
    constant = states @ model.layers[2].bias.astype(np.float64)
    values = []
    for row in v.astype(np.float64):
        field = model.layers[1].bias + row @ model.weights[0].astype(np.float64) + above
        terms = constant + np.logaddexp(0.0, field).sum(axis=1)
        values.append(row @ model.layers[0].bias + np.logaddexp.reduce(terms))
    return np.array(values)


def judged(name, model, v):
    """Return the row of one machine."""
    exact = exact_values(model, v)
    bound, slow = timed(lambda: dg.variational_bound(model, v, log_partition=0.0, n_threads=1))
    found, fast = timed(lambda: dg.tap(model, v, n_threads=1))
    error = np.abs(found.log_weight - exact)
    return (
        name, f"{np.abs(model.weights[1]).max():.2f}", f"{np.abs(bound - exact).mean():.4f}",
        f"{error.mean():.4f}", f"{error.max():.3f}", f"{found.fell_back.sum()} of {len(v)}",
        f"{1e3 * slow:.1f}", f"{1e3 * fast:.1f}",
    )  # fmt: skip


def timed(function):
    """Return a result and the least processor time of five calls."""
    times = []
    for _ in range(5):
        began = time.process_time()
        result = function()
        times.append(time.process_time() - began)
    return result, min(times)
