"""RBM-500 on binarized MNIST: published rows, and how far defaults and long runs go."""

import numpy as np

import deepgen as dg
from bench.results import report
from bench.results.data import N_VALID, binary_mnist
from deepgen.learning.machines import Trainer
from deepgen.rows.sources import ArrayRows
from deepgen.runtime.stream import Stream

TITLE = "Log-likelihood of MNIST under an RBM with 500 hidden units"
COLUMNS = (
    "model", "published test", "train", "test, forward AIS", "test, reverse AIS",
    "test, bracket", "log Z", "seeds", "s to train",
)  # fmt: skip
NOTES = [
    "Nats a row; means over the seeds of training (standard deviation over the five test "
    "binarizations of the first seed). Training rows: one fixed stochastic binarization of the "
    "60,000; test rows: five of the 10,000; train: its first 10,000 rows at the bracket's value. "
    "Forward AIS errs upward in likelihood, reverse AIS downward; the bracket is "
    "`dg.log_partition_bracket`. AIS: 100 chains, and 14,501 temperatures (quick: 3,001).",
    "",
    "Published: Salakhutdinov & Murray (2008), table 1; -86.34 as quoted by other authors, the two "
    "others to the nat. Their rows here: the settings of their script (rate 0.05, momentum 0.5, "
    "then 0.9 after epoch 5, decay 0.0002, biases 0, no centring, no averaging); CD-25 is CD-k "
    "with k = epoch / 10, rate 0.05 / k.",
    "",
    "The learning rate of the rows below, 0.1, 0.2 or 0.4 at the start and linearly to 0, was "
    "chosen on the last 10,000 training rows, for 10 and for 30 epochs with 100 particles; longer "
    "rows use that of 30. *Defaults alone* is `dg.RBM(n_hidden=500, n_epochs=10)`.",
    "",
    "Rows marked *dynamic* draw the training bits afresh at each presentation, which the "
    "published rows did not: they see more data.",
]

N_HIDDEN = 500
REFERENCES = (("CD-1", 1, 100), ("CD-3", 3, 100), ("CD-25", 25, 250))
PUBLISHED = {"CD-1": "about -125", "CD-3": "about -105", "CD-25": "-86.34"}
RATES = (0.1, 0.2, 0.4)


def rows(store, quick):
    """Yield the rows of the table."""
    digits = binary_mnist()
    for name, k, n_epochs in (("CD-1", 1, 10),) if quick else REFERENCES:
        key = name.lower()
        rbm, seconds = store.model(key, lambda k=k, n=n_epochs, key=key: reference(
            digits, k, n, store, key
        ))  # fmt: skip
        label = f"{name}, authors' settings, {n_epochs} epochs"
        yield row(store, quick, digits, label, PUBLISHED[name], [(key, rbm, seconds)])
    rates = {}
    for n_epochs in (2,) if quick else (10, 30):
        found = store.once(f"rate-{n_epochs}", lambda n=n_epochs: choose_rate(digits, n))
        rates[n_epochs] = found["rate"]
        label = f"rate chosen for {n_epochs} epochs: {found['rate']:g}"
        yield (label, *[""] * 6, 1, f"{found['seconds']:.0f}")
    for label, key, settings, n_seeds in recipes(rates, quick):
        runs = []
        for seed in range(n_seeds):
            rbm, seconds = store.model(
                f"{key}-{seed}", lambda s=settings, seed=seed: ours(digits, seed, **s)
            )
            runs.append((f"{key}-{seed}", rbm, seconds))
        yield row(store, quick, digits, label, "", runs)


def recipes(rates, quick):
    """Return (label, key, settings, number of seeds) of our own rows."""
    default = ("defaults alone, 10 epochs", "defaults", {"n_epochs": 10}, 1 if quick else 3)
    if quick:
        return [default, ("chosen rate, 10 epochs", "ten", {"n_epochs": 10, "rate": rates[2]}, 1)]
    ten, thirty = ({"n_epochs": n, "rate": rates[n]} for n in (10, 30))
    many = {"n_particles": 500, "rate": rates[30]}
    return [
        default,
        ("chosen rate, 10 epochs", "ten", ten, 3),
        ("200 particles, chosen rate, 30 epochs", "thirty", thirty | {"n_particles": 200}, 3),
        (
            "500 particles, decay 0.0003, 60 epochs", "long",
            many | {"n_epochs": 60, "weight_decay": 3e-4}, 1,
        ),
        (
            "500 particles, *dynamic*, 120 epochs", "dynamic",
            many | {"n_epochs": 120, "binarize": True}, 1,
        ),
    ]  # fmt: skip


def ours(digits, seed, *, n_epochs, rate=None, n_particles=None, weight_decay=None, binarize=False):
    """Train by PCD with the library's defaults, but for what is given."""
    rbm = dg.RBM(
        N_HIDDEN,
        rule="pcd" if n_particles is None else dg.PCD(n_particles=n_particles),
        learning_rate=None if rate is None else dg.Linear(rate, 0.0),
        optimizer=None if weight_decay is None else dg.SGD(weight_decay=weight_decay),
        n_epochs=n_epochs,
        binarize=binarize,
        random_state=seed,
    )
    return rbm.fit(digits.grey / np.float32(255.0) if binarize else digits.train)


def choose_rate(digits, n_epochs):
    """Return the first learning rate with the best likelihood of held-out training rows."""
    fit, valid = digits.train[:-N_VALID], digits.train[-N_VALID:]
    found = {}
    for rate in RATES:
        rbm = dg.RBM(
            N_HIDDEN, n_epochs=n_epochs, learning_rate=dg.Linear(rate, 0.0), random_state=0
        ).fit(fit)
        found[rate] = float(rbm.score_samples(valid).mean())
    return {"rate": max(found, key=found.get), "valid": found}


def reference(digits, k, n_epochs, store, key):
    """Train by CD as the authors' script does; goes on from its last checkpoint."""
    rng = np.random.default_rng(0)
    model = dg.BoltzmannMachine(
        [dg.Binary(784), dg.Binary(N_HIDDEN)],
        [0.01 * rng.standard_normal((784, N_HIDDEN))],
    )
    trainer = Trainer(
        model, dg.CD(centring=False), dg.SGD(momentum=0.5), dg.Constant(0.05),
        stream=Stream.from_random_state(0),
    )  # fmt: skip
    store.resume(key, trainer)
    bits = ArrayRows(digits.train)
    while trainer.epoch < n_epochs:
        step = min(k, 1 + trainer.epoch // 10) if k == 25 else k
        trainer.rule = dg.CD(step, centring=False)
        momentum = 0.5 if trainer.epoch < 5 else 0.9
        trainer.optimizer = dg.SGD(momentum=momentum, weight_decay=2e-4, averaging=0.0)
        trainer.schedule = dg.Constant(0.05 / step if k == 25 else 0.05)
        trainer.fit(bits, trainer.epoch + 1, len(digits.train))
        if trainer.epoch % 10 == 0:
            store.keep(key, trainer)
    rbm = dg.RBM.from_model(trainer.model())
    rbm.bench_seconds_ = sum(entry["seconds"] for entry in trainer.history)
    return rbm


def row(store, quick, digits, label, published, runs):
    """Return one row: likelihoods of the models of several seeds."""
    found = []
    for key, rbm, _ in runs:
        found.append(store.once(f"{key}-likelihood", lambda r=rbm: likelihoods(r, digits, quick)))
    first, mean = found[0], {}
    for name in ("train", "forward", "reverse", "lower", "upper", "log_z"):
        mean[name] = np.mean([np.mean(one[name]) for one in found])
    deviation = np.std(first["forward"], ddof=1)
    return (
        label, published, f"{mean['train']:.2f}", f"{mean['forward']:.2f} ({deviation:.2f})",
        f"{mean['reverse']:.2f}", f"{mean['lower']:.2f} to {mean['upper']:.2f}",
        f"{mean['log_z']:.2f}", len(runs), report.spread([s for _, _, s in runs], 0),
    )  # fmt: skip


def likelihoods(rbm, digits, quick):
    """Return log-likelihoods of train and of each test binarization, by direction of AIS."""
    model = rbm.model_
    bracket = dg.log_partition_bracket(
        model, n_betas=3000 if quick else None, base=dg.base_rates(model, digits.train),
        exact=False, random_state=0,
    )  # fmt: skip
    tests = [float(-dg.free_energy(model, test).mean()) for test in digits.tests]
    return {
        "train": float(-dg.free_energy(model, digits.train[:10_000]).mean()) - bracket.value,
        "forward": [test - bracket.forward.value for test in tests],
        "reverse": [test - bracket.reverse.value for test in tests],
        "lower": [test - bracket.upper for test in tests],
        "upper": [test - bracket.lower for test in tests],
        "log_z": bracket.value,
        "method": bracket.method,
        "ess": bracket.ess,
    }
