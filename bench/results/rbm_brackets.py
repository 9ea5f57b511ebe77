"""Brackets of log Z beside its exact value, on models small enough to be enumerated."""

import time

import numpy as np

import deepgen as dg
from bench.results.data import binary_mnist

TITLE = "Brackets of log Z beside its exact value: RBM-25 on MNIST"
COLUMNS = (
    "estimate", "models", "exact value inside", "width, median", "width, largest",
    "value - exact, mean (sd)", "s, median",
)  # fmt: skip
NOTES = [
    "Models of 784-25 units, default settings, 3 epochs on 60,000 binarized digits, one seed "
    "each. `log_partition()` enumerates such a model, because that costs less than an estimate "
    "of the same precision; the other rows force the estimate with `exact=False`. Widths in nats.",
]

# Chains and temperatures of the estimates, and how many of the models they are made for.
SETTINGS = {
    "100 chains, 3,001 temperatures": (100, 3000, 20),
    "465 chains, 3,001 temperatures": (465, 3000, 5),
}


def rows(store, quick):
    """Yield the rows of the table."""
    train = binary_mnist().train
    models, exact = [], []
    n_models = 4 if quick else 20
    for seed in range(n_models):
        rbm, _ = store.model(f"rbm-{seed}", lambda seed=seed: dg.RBM(
            25, n_epochs=3, random_state=seed
        ).fit(train))  # fmt: skip
        models.append(rbm)
        exact.append(store.once(f"exact-{seed}", lambda rbm=rbm: by_default(rbm)))
    yield row("`log_partition()`: exact", exact, exact)
    for label, (n_chains, n_betas, n_first) in list(SETTINGS.items())[: 1 if quick else None]:
        found = [
            store.once(
                f"{n_chains}-{n_betas}-{seed}",
                lambda rbm=rbm, seed=seed, a=n_chains, b=n_betas: forced(rbm, seed, a, b),
            )
            for seed, rbm in enumerate(models[:n_first])
        ]
        yield row(label, found, exact)


def by_default(rbm):
    """Bracket a model in the way that the library chooses."""
    began = time.perf_counter()
    return ends(rbm.log_partition()) | {"seconds": time.perf_counter() - began}


def forced(rbm, seed, n_chains, n_betas):
    """Bracket a model by annealing."""
    began = time.perf_counter()
    found = dg.log_partition_bracket(
        rbm.model_, n_chains=n_chains, n_betas=n_betas, exact=False, random_state=seed
    )
    return ends(found) | {"seconds": time.perf_counter() - began}


def ends(bracket):
    """Return what is kept of a bracket."""
    return {name: getattr(bracket, name) for name in ("lower", "value", "upper", "method")}


def row(label, found, exact):
    """Return one row of the table."""
    pairs = list(zip(found, exact, strict=False))
    inside = sum(one["lower"] <= true["value"] <= one["upper"] for one, true in pairs)
    widths = [one["upper"] - one["lower"] for one in found]
    errors = [one["value"] - true["value"] for one, true in pairs]
    return (
        label, len(found), f"{inside} of {len(found)}", f"{np.median(widths):.2f}",
        f"{max(widths):.2f}", f"{np.mean(errors):+.3f} ({np.std(errors):.3f})",
        f"{np.median([one['seconds'] for one in found]):.1f}",
    )  # fmt: skip
