"""RBM-500 on binarized MNIST with fixed-point weights and with float32: the same likelihood."""

import numpy as np

import deepgen as dg
from bench.results import report
from bench.results.data import binary_mnist
from bench.results.rbm_mnist import N_HIDDEN, likelihoods

TITLE = "Log-likelihood of MNIST by the precision of training"
COLUMNS = (
    "epochs", "sparsity target", "fixed point, test", "float32, test", "difference by seed",
    "standard error", "median s to train, fixed point", "float32",
)  # fmt: skip
NOTES = [
    "Nats a row: mean of the first binarization of the 10,000 test rows at the value of the "
    "bracket of log Z, mean over five seeds (standard deviation). PCD with 100 particles, the "
    "library's defaults, on one fixed binarization of the 60,000 training rows. Fixed point: "
    "weights of 16 bits, and means of hidden units in bytes in the statistics "
    "(`precision='auto'`); float32: "
    "neither. Difference: fixed point minus float32 with the same seed; a seed decides first "
    "weights, order and random numbers of both, but they part after the first draws. AIS: 100 "
    "chains, 14,501 temperatures (quick: 3,001).",
]
SEEDS = range(5)
TARGETS = (None, 0.05)


def rows(store, quick):
    """Yield the rows of the table."""
    digits = binary_mnist()
    n_epochs = 3 if quick else 30
    for target in TARGETS:
        found = {
            precision: [one(store, quick, digits, n_epochs, target, precision, s) for s in SEEDS]
            for precision in ("auto", "float32")
        }
        test = {name: np.array([run["test"] for run in runs]) for name, runs in found.items()}
        difference = test["auto"] - test["float32"]
        yield (
            n_epochs, "" if target is None else target,
            report.spread(test["auto"]), report.spread(test["float32"]),
            f"{difference.mean():+.2f}",
            f"{difference.std(ddof=1) / np.sqrt(len(difference)):.2f}",
            *(f"{np.median([run['seconds'] for run in runs]):.0f}" for runs in found.values()),
        )  # fmt: skip


def one(store, quick, digits, n_epochs, target, precision, seed):
    """Return test log-likelihood and seconds of one run."""
    key = f"{target}-{precision}-{seed}"
    sparsity = None if target is None else dg.Sparsity(target)

    def train():
        dg.set_precision(precision)
        try:
            return dg.RBM(
                N_HIDDEN, rule=dg.PCD(sparsity=sparsity), n_epochs=n_epochs, random_state=seed
            ).fit(digits.train)
        finally:
            dg.set_precision(None)

    rbm, seconds = store.model(key, train)
    found = store.once(f"{key}-likelihood", lambda: likelihoods(rbm, digits, quick))
    test = float(-dg.free_energy(rbm.model_, digits.tests[0]).mean()) - found["log_z"]
    return {"test": test, "seconds": seconds}
