"""Deep belief network 784-500-2000 on binarized MNIST: bounds of its likelihood."""

import numpy as np

import deepgen as dg
from bench.results.data import binary_mnist
from bench.results.stacks import fitted

TITLE = "Log-likelihood of MNIST under a deep belief network"
COLUMNS = (
    "model", "published test", "train", "test", "test, at log Z's upper end",
    "test, importance weighted", "log Z of the top", "seeds", "s to train",
)  # fmt: skip
NOTES = [
    "Nats a row. Variational lower bound at the value of the bracket of log Z, 20 draws a row "
    "(quick: 5); train: the first 10,000 rows of one fixed stochastic binarization; test: mean "
    "over five binarizations of the test rows (standard deviation). Importance weighted: a "
    "tighter bound, 200 draws a row (quick: 20), the first binarization only. AIS of the top "
    "machine: 100 chains and 14,501 temperatures each way (quick: 3,001).",
    "",
    "Published: lower bound -85.97 as in the lecture; an estimate of the true value by other "
    "authors is about -84.55. *Below*: the lower machine alone, an RBM with 500 hidden units, "
    "whose likelihood the belief network starts from (`transposed=True`). Layer 1: 500 "
    "particles, decay 0.0003, rate 0.2 linearly to 0, 60 epochs, as in the table of the RBM. "
    "Layer 2: 500 particles, drawn features, rate 0.001 linearly to 0, 20 epochs; that rate was "
    "chosen on the last 10,000 training rows (docs/decisions.md). *Up-down*: all layers together "
    "from there, CD-3 at the top, rate 0.001 linearly to 0 (docs/decisions.md).",
]

SIZES = (500, 2000)


def rows(store, quick):
    """Yield the rows of the table."""
    digits = binary_mnist()
    n_epochs = (5, 2) if quick else (60, 20)
    dbn, seconds = fitted(
        store, "dbn",
        dg.DBN(
            SIZES,
            rule=dg.PCD(n_particles=100 if quick else 500),
            learning_rate=[dg.Linear(0.2, 0.0), dg.Linear(0.001, 0.0)],
            optimizer=[dg.SGD(weight_decay=3e-4), dg.SGD()],
            n_epochs=n_epochs, features="samples", transposed=True, random_state=0,
        ), digits.train,
    )  # fmt: skip
    below = store.once("below", lambda: likelihoods(dbn.stack_[0], digits, quick))
    yield line("*below*: RBM-500", "", below, "")
    found = store.once("bounds", lambda: bounds(dbn.model_, digits, quick))
    label = f"784-500-2000, {n_epochs[0]} + {n_epochs[1]} epochs"
    yield line(label, "-85.97", found, f"{seconds:.0f}")
    n_epochs = 1 if quick else 15
    refined, more = store.model("refined", lambda: refine(store, dbn.model_, digits, n_epochs))
    found = store.once("refined-bounds", lambda: bounds(refined.model_, digits, quick))
    yield line(f"the same, up-down, {n_epochs} epochs", "", found, f"{seconds + more:.0f}")


def refine(store, model, digits, n_epochs):
    """Let all layers learn together; goes on from its last checkpoint."""
    path = store.folder / "refined.run"
    dbn = dg.DBN.from_model(model).set_params(
        callbacks=[dg.Checkpoint(path, minutes=3.0)], random_state=0
    )
    dbn.refine(
        digits.train, n_epochs, learning_rate=dg.Linear(0.001, 0.0),
        resume=path if path.exists() else None,
    )  # fmt: skip
    dbn.bench_seconds_ = sum(entry["seconds"] for entry in dbn.refinement_)
    path.unlink()
    return dbn


def line(label, published, found, seconds):
    """Return one row of the table."""
    test, spread = np.mean(found["test"]), np.std(found["test"], ddof=1)
    weighted = f"{found['weighted']:.2f}" if "weighted" in found else ""
    return (
        label, published, f"{found['train']:.2f}", f"{test:.2f} ({spread:.2f})",
        f"{test + found['value'] - found['upper']:.2f}", weighted,
        f"{found['value']:.2f} ({found['lower']:.2f} to {found['upper']:.2f})", 1, seconds,
    )  # fmt: skip


def log_partition(machine, quick, base):
    """Return the bracket of a machine's log Z as plain data."""
    bracket = dg.log_partition_bracket(
        machine, n_betas=3_000 if quick else None, base=base, exact=False, random_state=0
    )
    return {name: getattr(bracket, name) for name in ("lower", "value", "upper")}


def likelihoods(machine, digits, quick):
    """Return log-likelihoods under a machine of visible rows."""
    log_z = log_partition(machine, quick, dg.base_rates(machine, digits.train))
    mean = {
        "train": float(-dg.free_energy(machine, digits.train[:10_000]).mean()) - log_z["value"],
        "test": [
            float(-dg.free_energy(machine, test).mean()) - log_z["value"] for test in digits.tests
        ],
    }
    return mean | log_z


def bounds(model, digits, quick):
    """Return bounds of the log-likelihood under a belief network."""
    means = dg.RBM.from_model(model.stack[0]).transform(digits.train[:10_000])
    drawn = (np.random.default_rng(0).random(means.shape) < means).astype(np.uint8)
    log_z = log_partition(model.top, quick, dg.base_rates(model.top, drawn))
    z, n_draws, n_weighted = log_z["value"], *((5, 20) if quick else (20, 200))
    bound, weighted = dg.variational_bound, dg.importance_weighted_bound
    return log_z | {
        "train": mean_bound(bound, model, digits.train[:10_000], z, n_draws, 0),
        "test": [
            mean_bound(bound, model, test, z, n_draws, seed)
            for seed, test in enumerate(digits.tests, start=1)
        ],
        "weighted": mean_bound(weighted, model, digits.tests[0], z, n_weighted, 6),
    }


def mean_bound(bound, model, X, log_z, n_draws, seed):
    """Return the mean of a bound over rows."""
    found = bound(model, X, log_partition=log_z, n_draws=n_draws, random_state=seed)
    return float(found.mean())
