"""Classification of MNIST with all labels by a network that a deep Boltzmann machine starts."""

import numpy as np

import deepgen as dg
from bench.results import dbm_mnist, report
from bench.results.classify_mnist import error
from bench.results.stacks import fewer, fitted, grey_mnist
from bench.results.store import Store
from deepgen.inference.mean_field import infer
from deepgen.models import backprop
from deepgen.networks.posterior_rows import INPUT_FIXED_POINT, LAYER, joined_inputs

TITLE = "Classification of MNIST with all labels, from a deep Boltzmann machine"
COLUMNS = (
    "rows to learn", "published error, %", "test error, %", "of each seed",
    "at the best epoch of the slice", "of each seed", "epochs", "s to fine-tune",
)  # fmt: skip
NOTES = [
    "Test error in per cent after the last epoch, mean over three seeds of fine-tuning (standard "
    "deviation); one machine, that of the table of likelihoods, trained without labels. Published: "
    "Salakhutdinov & Hinton (2009), whose machine had label units. Where 5,000 of the 60,000 rows, "
    "the last ones, are a validation slice, the network of the epoch with the fewest errors on it, "
    "the first of equals, is looked at too.",
    "",
    "Network: 784-500-1000-10 that reads the means of the second hidden layer beside each row "
    "(1,784 inputs), grey pixels, no augmentation; 20 epochs of Adam (quick: 1, of the "
    "first 20,000 rows), rate 0.003 linearly to 0; outputs are to change little within a radius "
    "of 2 of each row (Miyato et al. 2018); chosen on training rows (docs/decisions.md).",
]

N_SLICE = 5_000


def rows(store, quick):
    """Yield the rows of the table: all rows, then all but the validation slice."""
    digits = grey_mnist()
    source = Store("dbm_mnist" + ("_quick" if quick else ""))
    machine = fitted(source, "dbm", dbm_mnist.estimator(quick), digits.X_train)[0].model_
    n_epochs = 1 if quick else 20
    digits = fewer(digits) if quick else digits
    for n_held in (0, N_SLICE):
        runs = [
            learned(store, digits, machine, n_held, seed, n_epochs)
            for seed in range(1 if quick else 3)
        ]
        yield (
            f"{len(digits.y_train) - n_held:,}", "0.95", *both(runs, "last"),
            *(both(runs, "best") if n_held else ("", "")), n_epochs,
            report.spread([run["seconds"] for run in runs], 0),
        )  # fmt: skip


def both(runs, name):
    """Return mean and spread, and the numbers themselves."""
    errors = [run[name] for run in runs]
    return report.spread(errors), ", ".join(f"{e:.2f}" for e in errors)


def learned(store, digits, machine, n_held, seed, n_epochs):
    """Return test errors after the last epoch and at the best one of the slice, and seconds."""
    n_rows = len(digits.y_train) - n_held
    key = f"smooth-{n_rows}-{seed}"
    watch = [Slice(store, f"{key}-best", machine, digits, n_rows)] if n_held else []
    classifier, seconds = fitted(
        store, key,
        dg.DeepClassifier(
            pretrained=machine, n_epochs=n_epochs, learning_rate=dg.Linear(0.003, 0.0),
            smoothness=dg.VirtualAdversarial(2.0), random_state=seed, callbacks=watch,
        ), digits.X_train[:n_rows], digits.y_train[:n_rows],
    )  # fmt: skip
    last = store.once(f"{key}-error", lambda: {"last": error(classifier, digits)})["last"]
    best = watch[0].best()["test"] if watch else None
    return {"last": last, "best": best, "seconds": seconds}


class Slice:
    """A callback that counts errors on held-back training rows and on test rows, epoch by epoch.

    Parameters
    ----------
    store : Store
        Gets the numbers of the best epoch when the run is over.
    name : str
    machine : BoltzmannMachine
    digits : GreyDigits
    n_rows : int
        Training rows that are not held back.
    """

    def __init__(self, store, name, machine, digits, n_rows):
        self.store, self.name = store, name
        self.machine, self.digits, self.n_rows = machine, digits, n_rows
        self.read, self.errors = None, []

    def begin(self, trainer):
        """Infer what the network reads, once for all epochs."""
        X = np.concatenate([self.digits.X_train[self.n_rows :], self.digits.X_test])
        self.read = joined_inputs(X, infer(self.machine, X, INPUT_FIXED_POINT)[LAYER])

    def __call__(self, report):
        """Look at the network after an epoch."""
        digits = self.digits
        labels = np.concatenate([digits.y_train[self.n_rows :], digits.y_test])
        wrong = backprop.outputs(report.trainer.model(), self.read).argmax(axis=1) != labels
        n_held = len(digits.y_train) - self.n_rows
        entry = {"slice": int(wrong[:n_held].sum()), "test": float(100.0 * wrong[n_held:].mean())}
        self.errors = [*self.errors, entry]

    def state(self):
        """Return what a checkpoint keeps."""
        return {"errors": self.errors}

    def restore(self, state):
        """Take over what a checkpoint kept."""
        self.errors = state["errors"]

    def finish(self, trainer):
        """Keep the best epoch."""
        self.best()

    def best(self):
        """Return the numbers of the epoch with the fewest errors on the slice."""
        return self.store.once(self.name, lambda: min(self.errors, key=lambda e: e["slice"]))
