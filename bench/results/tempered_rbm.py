"""RBM-500 on MNIST and on digits 0, 1 and 7: tempered chains against plain ones at equal time."""

import time

import numpy as np

import deepgen as dg
from bench.results.data import binary_mnist
from deepgen.datasets import load_mnist

TITLE = "Tempered chains in learning: RBM-500 at equal processor time"
COLUMNS = (
    "rows", "rule", "updates", "s to train", "test, bracket's value", "at its ends", "bracket",
    "seed",
)  # fmt: skip
NOTES = [
    "Nats a row, mean over the test rows of these digits (first binarization). All rules learn for "
    "about the same processor time of one thread: 200 updates of each are timed first, and the "
    "number of epochs follows. Rate 0.2 linearly to 0, batches of 100, all else by default; the "
    "rate was chosen for plain PCD in the table of MNIST, not for the tempered rules.",
    "Plain: `dg.PCD()`, 100 particles. 10 rungs: `dg.ParallelTempering(10)`, 10 particles at the "
    "model, so that as many rows move; the base is `dg.base_rates` of the data's mean. Bracket: "
    "`dg.log_partition_bracket`, 100 chains, 3,000 temperatures.",
]

BATCH = 100
# Rows by name: their digits, seconds of training, seeds.
ROWS = {"digits 0, 1, 7": ((0, 1, 7), 25.0, (0, 1)), "all digits": (tuple(range(10)), 40.0, (0,))}


def rules(base):
    """Return the rules by name."""
    return {
        "plain": dg.PCD(),
        "10 rungs": dg.PCD(n_particles=10, sampler=dg.ParallelTempering(10, base=base)),
    }


def rows(store, quick):
    """Yield the rows of the table."""
    digits, mnist = binary_mnist(), load_mnist()
    for name, (chosen, seconds, seeds) in ROWS.items():
        train = digits.train[np.isin(mnist.y_train, chosen)]
        test = digits.tests[0][np.isin(mnist.y_test, chosen)]
        base = dg.base_rates(dg.BoltzmannMachine([dg.Binary(784), dg.Binary(500)], [
            np.zeros((784, 500))
        ]), train)  # fmt: skip
        key = "".join(map(str, chosen))
        for label, rule in rules(base).items():
            short = label.replace(" ", "-")
            per_update = store.once(
                f"{key}-{short}-pace", lambda r=rule, x=train: {"s": pace(r, x)}
            )["s"]
            n_updates = -(-len(train) // BATCH)
            n_epochs = max(1, round((5.0 if quick else seconds) / (per_update * n_updates)))
            for seed in seeds[: 1 if quick else None]:
                rbm, taken = store.model(
                    f"{key}-{short}-{seed}",
                    lambda r=rule, x=train, n=n_epochs, s=seed: learned(r, x, n, s),
                )
                found = store.once(
                    f"{key}-{short}-{seed}-bracket",
                    lambda m=rbm.model_, x=train, t=test: judged(m, x, t),
                )
                yield (
                    name, label, n_epochs * n_updates, f"{taken:.0f}", f"{found['value']:.2f}",
                    f"{found['low']:.2f} to {found['high']:.2f}", found["method"], seed,
                )  # fmt: skip


def machine(rule, n_epochs, seed):
    """Return the estimator of one run."""
    return dg.RBM(
        500, rule=rule, learning_rate=dg.Linear(0.2, 0.0), batch_size=BATCH, n_epochs=n_epochs,
        random_state=seed, n_threads=1,
    )  # fmt: skip


def pace(rule, train):
    """Return processor seconds an update: of 250 updates less 50, after a first fit."""
    machine(rule, 1, 0).fit(train[: 20 * BATCH])
    seconds = []
    for n in (50, 250):
        began = time.process_time()
        machine(rule, 1, 0).fit(np.resize(train, (n * BATCH, train.shape[1])))
        seconds.append(time.process_time() - began)
    return (seconds[1] - seconds[0]) / 200


def learned(rule, train, n_epochs, seed):
    """Return a fitted estimator, with the processor seconds that it took."""
    began = time.process_time()
    rbm = machine(rule, n_epochs, seed).fit(train)
    rbm.bench_seconds_ = time.process_time() - began
    return rbm


def judged(model, train, test):
    """Return the test log-likelihood at the bracket's value and at its ends."""
    found = dg.log_partition_bracket(
        model, base=dg.base_rates(model, train), exact=False, random_state=0, n_threads=1
    )
    mean = float(-dg.free_energy(model, test).mean())
    return {
        "value": mean - found.value, "low": mean - found.upper, "high": mean - found.lower,
        "method": found.method,
    }  # fmt: skip
