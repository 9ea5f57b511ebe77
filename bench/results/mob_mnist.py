"""Mixtures of Bernoullis on binarized MNIST, and one iteration of EM beside NumPy."""

import time

import numpy as np

import deepgen as dg
from bench.results import report
from bench.results.data import N_VALID, binary_mnist
from deepgen.learning.mixtures import (
    Prior,
    Run,
    expectation,
    maximization,
    run_em,
    starting_mixture,
)
from deepgen.rows.sources import ArrayRows
from deepgen.runtime.stream import Stream

TITLE = "Log-likelihood of MNIST under mixtures of Bernoullis"
COLUMNS = (
    "components", "published test", "smoothing", "train", "test", "iterations", "seeds",
    "s to train",
)  # fmt: skip
NOTES = [
    "Nats a row, exact. Training rows: one fixed stochastic binarization of the 60,000; test "
    "rows: five of the 10,000; means over seeds, that is starts (standard deviation over the five "
    "test binarizations of the first seed). Published: 500 components as in the lecture; 10 and "
    "100 as quoted with it.",
    "",
    "Smoothing is the number of pseudo-rows that each component gets, equal to the column means. "
    "*Laplace* is one pseudo-row of ones and one of zeros instead: in each component a pixel "
    "that is never on keeps a chance of 1 / (rows of the component + 2), and most pixels of most "
    "components are such. The smoothing of 100 and 500 components was chosen on the last 10,000 "
    "training rows.",
    "",
    "Trained on *grey* values, EM maximizes a lower bound of the expected log-likelihood over all "
    "binarizations of the training rows (docs/math.md), which the published rows did not: it "
    "sees more data. Its test rows are binary, too; its train column is that of the bits.",
    "",
    "Last rows: seconds of one iteration on 60,000 rows, 500 components, in turn, median of "
    "three (min..max); NumPy in float32, BLAS with all cores, 8,192 rows at a time.",
]

PUBLISHED = {10: "-168.95", 100: "-142.63", 500: "-137.64"}
SMOOTHINGS = (0.1, 0.3, 1.0, 3.0)
# number of seeds and most iterations by number of components
FULL = {10: (3, 40), 100: (3, 40), 500: (2, 25)}
QUICK = {10: (1, 8), 100: (1, 8)}


def rows(store, quick):
    """Yield the rows of the table."""
    digits = binary_mnist()
    sizes = QUICK if quick else FULL
    chosen = {10: 1.0}
    for n_components in sorted(set(sizes) - {10}):
        found = {
            smoothing: store.once(
                f"{n_components}-smoothing-{smoothing}",
                lambda k=n_components, s=smoothing: held_out(digits, k, s, 4 if quick else 12),
            )
            for smoothing in SMOOTHINGS
        }
        chosen[n_components] = max(found, key=lambda smoothing: found[smoothing]["valid"])
        scores = ", ".join(f"{s:g}: {one['valid']:.2f}" for s, one in found.items())
        label = f"{n_components}, held-out rows by smoothing: {scores}"
        seconds = sum(one["seconds"] for one in found.values())
        yield (label, "", f"{chosen[n_components]:g}", *[""] * 3, 1, f"{seconds:.0f}")
    for n_components, (n_seeds, max_iter) in sizes.items():
        smoothing = chosen[n_components]
        settings = {"smoothing": smoothing, "max_iter": max_iter}
        runs = [
            piece(
                store,
                digits,
                f"{n_components}-smoothed-{smoothing:g}-{seed}",
                n_components,
                seed,
                **settings,
            )
            for seed in range(n_seeds)
        ]
        yield row(n_components, PUBLISHED[n_components], f"{smoothing:g}", runs)
    largest = max(sizes)
    settings = {"smoothing": chosen[largest], "max_iter": max_iter}
    laplace = piece(store, digits, "laplace", largest, 0, laplace=True, **settings)
    yield row(largest, "", "*Laplace*", [laplace])
    grey = piece(store, digits, "grey", largest, 0, grey=True, **settings)
    yield row(f"{largest}, *grey*", "", f"{chosen[largest]:g}", [grey])
    speed = store.once("speed", lambda: time_iterations(digits.train[: 10_000 if quick else None]))
    for name in ("deepgen", "NumPy float32"):
        low, middle, high = np.sort(speed[name])
        label = f"one iteration of EM, {speed['rows']:,} rows: {name}"
        yield (label, *[""] * 6, f"{middle:.2f} ({low:.2f}..{high:.2f})")


def held_out(digits, n_components, smoothing, max_iter):
    """Return the likelihood of the last training rows, after learning from the others."""
    mixture = dg.MixtureOfBernoullis(
        n_components, max_iter=max_iter, smoothing=smoothing, random_state=0
    ).fit(digits.train[:-N_VALID])
    return {"valid": mixture.score(digits.train[-N_VALID:])}


def piece(store, digits, key, n_components, seed, **settings):
    """Return (likelihoods, seconds) of one run, done once."""
    taken = {}

    def train():
        mixture, taken["iterations"] = fitted(digits, n_components, seed, **settings)
        return mixture

    mixture, seconds = store.model(key, train)
    found = store.once(f"{key}-likelihood", lambda: {
        "train": mixture.score(digits.train),
        "tests": [mixture.score(test) for test in digits.tests],
        **taken,
    })  # fmt: skip
    return found, seconds


def fitted(digits, n_components, seed, *, smoothing, max_iter, laplace=False, grey=False):
    """Return a fitted mixture and its number of iterations."""
    X = digits.grey / np.float32(255.0) if grey else digits.train
    if not laplace:
        mixture = dg.MixtureOfBernoullis(
            n_components, max_iter=max_iter, smoothing=smoothing, random_state=seed
        ).fit(X)
        return mixture, mixture.n_iter_
    bits, prior = ArrayRows(X), Prior(np.full(X.shape[1], 0.5), 2.0, dg.Binary(X.shape[1]))
    start = starting_mixture(bits, len(X), n_components, prior, Stream.from_random_state(seed))
    run = Run(start)
    n_iter = sum(1 for _ in run_em(run, bits, prior, max_iter=max_iter, tol=1e-3))
    return dg.MixtureOfBernoullis.from_model(run.model), n_iter


def row(label, published, smoothing, runs):
    """Return one row: likelihoods of the runs of several seeds."""
    found = [one for one, _ in runs]
    test = np.mean([one["tests"] for one in found])
    deviation = np.std(found[0]["tests"], ddof=1)
    return (
        label, published, smoothing, report.spread([one["train"] for one in found]),
        f"{test:.2f} ({deviation:.2f})",
        ", ".join(str(one.get("iterations", "?")) for one in found), len(runs),
        report.spread([seconds for _, seconds in runs], 0),
    )  # fmt: skip


def time_iterations(X, n_components=500):
    """Return seconds of three iterations of EM, deepgen and NumPy in turn."""
    bits, floats = ArrayRows(X), X.astype(np.float32)
    moments = len(X), X.mean(axis=0), X.var(axis=0)
    prior = Prior.of_rows(dg.Binary(X.shape[1]), moments, 1.0)
    model = starting_mixture(bits, len(X), n_components, prior, Stream.from_random_state(0))
    for _ in range(2):  # the first responsibilities are unlike all others
        model = maximization(expectation(model, bits), prior)
    found = {"deepgen": [], "NumPy float32": [], "rows": len(X)}
    for _ in range(3):
        began = time.perf_counter()
        maximization(expectation(model, bits), prior)
        found["deepgen"].append(time.perf_counter() - began)
        began = time.perf_counter()
        numpy_iteration(floats, model.logits, model.constants.astype(np.float32), prior)
        found["NumPy float32"].append(time.perf_counter() - began)
    return found


def numpy_iteration(X, logits, constants, prior, batch=8192):
    """Return log weights and logits after one iteration of EM in plain NumPy."""
    sums, counts = np.zeros(logits.shape, np.float32), np.zeros(len(constants))
    for first in range(0, len(X), batch):
        rows = X[first : first + batch]
        r = rows @ logits
        r += constants
        r -= r.max(axis=1, keepdims=True)
        np.exp(r, out=r)
        r /= r.sum(axis=1, keepdims=True)
        sums += rows.T @ r
        counts += r.sum(axis=0)
    on = sums + prior.strength * prior.mean[:, None]
    off = np.maximum(counts - sums, 0.0) + prior.strength * (1.0 - prior.mean)[:, None]
    weights = (counts + prior.strength) / (counts.sum() + prior.strength * len(counts))
    return np.log(weights), np.log(on) - np.log(off)
