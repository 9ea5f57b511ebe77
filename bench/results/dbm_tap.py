"""Deep machines scored with TAP, and learned with it: small ones exactly, MNIST in short."""

import time
from dataclasses import replace

import numpy as np
from sklearn.datasets import load_digits

import deepgen as dg
from bench.results import dbm_mnist
from bench.results.data import binary_mnist
from bench.results.inference import exact_values
from bench.results.stacks import fitted, grey_mnist
from deepgen.rows.sources import ArrayRows
from deepgen.stacks.trainer import StackTrainer

TITLE = "Deep machines scored and learned with TAP"
COLUMNS = (
    "machine", "learned by", "seed", "exact", "bound", "TAP estimate, no bound",
    "importance weighted", "rows that fell back", "largest weight between hidden layers",
    "s to train",
)  # fmt: skip
NOTES = [
    "Nats a row, held-out rows. 64-16-12: digits of 8 x 8 pixels, 397 rows, log Z and log p(v) by "
    "enumeration; greedy start of 60 epochs, 40 together. 784-500-1000: the recipe of the table of "
    "deep machines (`dbm_mnist`) with 20 epochs of joint training in place of 80, each seed with "
    "one greedy start for both ways; the first 2,000 test rows of the first binarization; log Z by "
    "`dg.log_partition_bracket` (100 chains, 14,501 temperatures) at its value, the same for all "
    "columns of a row; behind the bound, what the ends of the bracket make of it. Importance "
    "weighted: 50 draws.",
    "Learned by mean field: `dg.MeanFieldPCD`, at most 3 sweeps. By TAP: `dg.TAPPCD`, 2 sweeps "
    "after these. Seconds of one thread: of the processor for small machines, of a clock for large "
    "ones, whose joint training shared a core with other programs. Quick form: the small machines "
    "alone.",
]


RULES = {"mean field": dg.MeanFieldPCD, "TAP": dg.TAPPCD}
# Of the joint training of the large machines.
N_EPOCHS = 20


def rows(store, quick):
    """Yield the rows of the table."""
    for seed in range(3):
        for name in RULES:
            found = store.once(
                f"digits-{name.replace(' ', '-')}-{seed}", lambda n=name, s=seed: small(n, s)
            )
            yield row("64-16-12, digits", name, seed, found)
    for seed in () if quick else (0, 1):
        start, before = store.model(f"mnist-start-{seed}", lambda s=seed: greedy_start(s))
        for name in RULES:
            key = f"mnist-{name.replace(' ', '-')}-{seed}"
            dbm, seconds = fitted(store, key, large(name, seed, start.model_), grey_mnist().X_train)
            found = store.once(f"{key}-scores", lambda m=dbm.model_: scored(m))
            yield row("784-500-1000, MNIST", name, seed, found | {"seconds": before + seconds})


def row(machine, name, seed, found):
    """Return one row of the table."""
    exact = f"{found['exact']:.3f}" if "exact" in found else ""
    bound = f"{found['bound']:.3f}"
    if "lower" in found:
        low, high = (found["bound"] - found[end] for end in ("upper", "lower"))
        bound += f" ({low:.2f} to {high:.2f})"
    return (
        machine, name, seed, exact, bound, f"{found['tap']:.3f}",
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


def greedy_start(seed):
    """Return a machine of MNIST that is pretrained greedily, as that of `dbm_mnist` is."""
    began = time.process_time()
    settings = replace(dbm_mnist.estimator(quick=False).pretrained, binarize=True)
    layers = [dg.Binary(784), dg.Binary(500), dg.Binary(1000)]
    run = StackTrainer(
        ArrayRows(grey_mnist().X_train), layers, settings, tied=True, random_state=seed, n_threads=1
    )
    run.fit()
    dbm = dg.DBM.from_model(dg.compose(run.stack()))
    dbm.bench_seconds_ = time.process_time() - began
    return dbm


def large(name, seed, start):
    """Return the estimator of a machine of MNIST: the recipe of `dbm_mnist`, fewer epochs."""
    recipe = dbm_mnist.estimator(quick=False)
    return recipe.set_params(
        pretrained=start, rule=RULES[name](n_particles=recipe.rule.n_particles), n_epochs=N_EPOCHS,
        random_state=seed, n_threads=1,
    )  # fmt: skip


def scored(model):
    """Return scores of a machine of MNIST."""
    digits = binary_mnist()
    base = dg.base_rates(model, digits.train)
    log_z = dg.log_partition_bracket(
        model, n_betas=None, base=base, exact=False, random_state=0, n_threads=1
    )
    found = scores(model, digits.tests[0][:2_000], log_z.value)
    return found | {"lower": log_z.lower - log_z.value, "upper": log_z.upper - log_z.value}


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
