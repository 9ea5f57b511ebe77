"""Deep machines scored with TAP, and learned with it: small ones exactly, MNIST in short."""

import time

import numpy as np
from sklearn.datasets import load_digits

import deepgen as dg
from bench.results.data import binary_mnist
from bench.results.inference import exact_values

TITLE = "Deep machines scored and learned with TAP"
COLUMNS = (
    "machine", "learned by", "seed", "exact", "bound", "TAP estimate, no bound",
    "importance weighted", "rows that fell back", "largest weight between hidden layers",
    "s to train",
)  # fmt: skip
NOTES = [
    "Nats a row, held-out rows. 64-16-12: digits of 8 x 8 pixels, 397 rows, log Z and log p(v) by "
    "enumeration; greedy start of 60 epochs, 40 together. 784-500-1000: a shortened schedule, not "
    "that of the table of deep machines: the first 20,000 training rows, greedy start of 2 epochs, "
    "3 together, 100 particles, rate 0.2 to 0 (a quarter above); the first 1,000 test rows; log Z "
    "by `dg.log_partition_bracket` at its value, the same for all columns of a row. Importance "
    "weighted: 50 draws.",
    "Learned by mean field: `dg.MeanFieldPCD`, at most 3 sweeps. By TAP: the same with the means "
    "of `dg.tap`, at most 12 sweeps to a change of 1e-3; a rule of the benchmark's own, not of the "
    "library. Processor seconds of one thread. Quick form: the small machines alone.",
]


class TAPPCD(dg.MeanFieldPCD):
    """Learning with the means of TAP in the positive phase."""

    def _posterior(self, model, batch, state, stream, work):
        until = dg.FixedPoint(max_sweeps=12, tol=1e-3)
        return dg.tap(
            model.to_model(), batch.states[0], until=until, n_threads=work.n_threads
        ).means


RULES = {"mean field": dg.MeanFieldPCD, "TAP": TAPPCD}


def rows(store, quick):
    """Yield the rows of the table."""
    for seed in range(3):
        for name in RULES:
            found = store.once(
                f"digits-{name.replace(' ', '-')}-{seed}", lambda n=name, s=seed: small(n, s)
            )
            yield row("64-16-12, digits", name, seed, found)
    for seed in () if quick else (0, 1):
        for name in RULES:
            key = f"mnist-{name.replace(' ', '-')}-{seed}"
            dbm, seconds = store.model(key, lambda n=name, s=seed: large(n, s))
            found = store.once(f"{key}-scores", lambda m=dbm.model_: scored(m))
            yield row("784-500-1000, MNIST", name, seed, found | {"seconds": seconds})


def row(machine, name, seed, found):
    """Return one row of the table."""
    exact = f"{found['exact']:.3f}" if "exact" in found else ""
    return (
        machine, name, seed, exact, f"{found['bound']:.3f}", f"{found['tap']:.3f}",
        f"{found['weighted']:.3f}", f"{found['fallen']} of {found['n']}",
        f"{found['largest']:.2f}", f"{found['seconds']:.0f}",
    )  # fmt: skip


def small(name, seed):
    """Return scores of a machine of digits whose log p(v) is enumerated."""
    X = (load_digits().data > 7).astype(np.uint8)
    began = time.process_time()
    model = dg.DBM(
        (16, 12), rule=RULES[name](), pretrained=dg.Pretraining(n_epochs=60), n_epochs=40,
        learning_rate=dg.Linear(0.1, 0.0), random_state=seed, n_threads=1,
    ).fit(X[:1400]).model_  # fmt: skip
    seconds = time.process_time() - began
    log_z = dg.exact_log_partition(model).value
    exact = float(exact_values(model, X[1400:]).mean()) - log_z
    return scores(model, X[1400:], log_z) | {"exact": exact, "seconds": seconds}


def large(name, seed):
    """Return a machine of MNIST on a short schedule."""
    grey = binary_mnist().grey[:20_000] / np.float32(255.0)
    began = time.process_time()
    dbm = dg.DBM(
        (500, 1000), rule=RULES[name](), pretrained=dg.Pretraining(n_epochs=2), n_epochs=3,
        learning_rate=dg.Linear(0.2, 0.0), optimizer=dg.SGD(rates=(1.0, 0.25)), binarize=True,
        random_state=seed, n_threads=1,
    ).fit(grey)  # fmt: skip
    dbm.bench_seconds_ = time.process_time() - began
    return dbm


def scored(model):
    """Return scores of a machine of MNIST."""
    digits = binary_mnist()
    base = dg.base_rates(model, digits.train)
    log_z = dg.log_partition_bracket(
        model, n_betas=1_500, base=base, exact=False, random_state=0, n_threads=1
    ).value
    return scores(model, digits.tests[0][:1_000], log_z)


def scores(model, X, log_z):
    """Return the means of all estimates of log p(v) over rows."""
    found = dg.tap(model, X, n_threads=1)
    options = {"log_partition": log_z, "n_threads": 1}
    weighted = dg.importance_weighted_bound(model, X, n_draws=50, random_state=0, **options)
    return {
        "bound": float(dg.variational_bound(model, X, **options).mean()),
        "tap": float(found.log_weight.mean()) - log_z, "weighted": float(weighted.mean()),
        "fallen": int(found.fell_back.sum()), "n": len(X),
        "largest": float(np.abs(model.weights[1]).max()),
    }  # fmt: skip
