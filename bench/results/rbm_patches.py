"""Gaussian-visible RBMs on patches of faces, beside Gaussians fitted on the same rows."""

import numpy as np

import deepgen as dg
from bench.results import report
from deepgen.datasets import load_olivetti

TITLE = "Log-likelihood of patches of faces under an RBM with learned variances"
COLUMNS = (
    "side", "rows are", "diagonal Gaussian", "full-covariance Gaussian", "RBM-200, bracket",
    "RBM - full", "seeds", "s to train",
)  # fmt: skip
NOTES = [
    "Nats a test patch, densities of grey values in [0, 1) after uniform dequantization; 40,000 "
    "patches of 30 people to train, 10,000 of 10 other people to test. Whitening (an invertible "
    "linear map fitted on the training rows, its determinant added) changes nothing for the full "
    "Gaussian; an RBM with no weights then *is* that Gaussian, and learning adds the heavy tails. "
    "On standardized pixels the few binary units must first build the covariance itself, which "
    "they do not. Whitened rows: Adam, rate 0.01 to 0; standardized rows: the defaults. 500 "
    "particles, 20 epochs, means over seeds (standard deviation of the difference).",
]

SIDES = (6, 8)
N_TRAIN, N_TEST = 40_000, 10_000


def rows(store, quick):
    """Yield the rows of the table."""
    images = load_olivetti().images
    for side in SIDES[:1] if quick else SIDES:
        for form in ("whitened", "standardized"):
            found = [
                store.once(
                    f"{side}-{form}-{seed}",
                    lambda side=side, form=form, seed=seed: measured(
                        images, side, form, seed, 10 if quick else 20
                    ),
                )
                for seed in range(1 if quick else 3)
            ]
            mean = {name: np.mean([one[name] for one in found]) for name in found[0]}
            yield (
                f"{side} x {side}", form, f"{mean['diagonal']:.1f}", f"{mean['full']:.1f}",
                f"{mean['lower']:.1f} to {mean['upper']:.1f}",
                report.spread([one["value"] - one["full"] for one in found], 1), len(found),
                f"{mean['seconds']:.0f}",
            )  # fmt: skip


def patches(images, n, side, rng):
    """Cut patches at random places, dequantized to [0, 1)."""
    image, row, column = (
        rng.integers(0, high, n) for high in (len(images), 65 - side, 65 - side)
    )  # fmt: skip
    window = np.arange(side)
    rows, columns = row[:, None] + window, column[:, None] + window
    grey = images[image[:, None, None], rows[:, :, None], columns[:, None, :]]
    return (grey.reshape(n, -1) + rng.random((n, side * side))) / 256.0


def gaussian(rows, mean, covariance):
    """Return the mean log density of rows under a normal distribution."""
    factor = np.linalg.cholesky(covariance)
    z = np.linalg.solve(factor, (rows - mean).T)
    constant = 0.5 * len(mean) * np.log(2.0 * np.pi) + np.log(np.diag(factor)).sum()
    return float(-0.5 * (z**2).sum(axis=0).mean() - constant)


def measured(images, side, form, seed, n_epochs):
    """Return likelihoods of the three models for one draw of patches."""
    rng = np.random.default_rng(seed)
    train = patches(images[:300], N_TRAIN, side, rng)
    test = patches(images[300:], N_TEST, side, rng)
    mean, covariance = train.mean(axis=0), np.cov(train.T)
    if form == "whitened":
        values, vectors = np.linalg.eigh(covariance)
        turn = vectors / np.sqrt(values)
        settings = {"optimizer": dg.Adam(), "learning_rate": dg.Linear(0.01, 0.0)}
    else:
        turn = np.diag(1.0 / train.std(axis=0))
        settings = {}
    log_determinant = np.linalg.slogdet(turn)[1]
    rbm = dg.RBM(
        200, visible="gaussian", rule=dg.PCD(n_particles=500), n_epochs=n_epochs,
        random_state=seed, **settings,
    ).fit(((train - mean) @ turn).astype(np.float32))  # fmt: skip
    seconds = sum(entry["seconds"] for entry in rbm.history_)
    bracket = rbm.log_partition()
    free_energy = rbm.free_energy(((test - mean) @ turn).astype(np.float32)).mean()
    here = log_determinant - float(free_energy)
    return {
        "diagonal": gaussian(test, mean, np.diag(np.diag(covariance))),
        "full": gaussian(test, mean, covariance),
        "lower": here - bracket.upper,
        "value": here - bracket.value,
        "upper": here - bracket.lower,
        "seconds": seconds,
    }
