"""What the tables of deep Boltzmann machines share: training that goes on, and what is measured."""

import numpy as np

import deepgen as dg
from bench.results.data import binary_mnist
from bench.results.stacks import fitted
from deepgen import plots
from deepgen.inference.gibbs import start_particles, visible_mean

COLUMNS = (
    "model", "published test", "train", "test", "test, at log Z's upper end",
    "importance weighted", "bound's gap", "without upper layers", "log Z", "largest weights",
    "q (1 - q)", "s to train",
)  # fmt: skip
NOTES = [
    "Nats a row. Variational lower bound by mean field at the value of the bracket of log Z; "
    "train: the first 10,000 rows of one fixed stochastic binarization; test: mean over five "
    "binarizations of the test rows (standard deviation). Importance weighted: 100 draws of the "
    "odd layers from the mean-field posterior, the even ones summed out, the first binarization. "
    "*Gap*: log p(v) by AIS of the model with v clamped, minus the bound, mean over the first "
    "100 test rows (published for two layers, ten rows of each class: 0.49). AIS: 100 chains and "
    "14,501 temperatures each way (quick: 3,001), the larger parity of layers summed out.",
    "",
    "*Without upper layers*: log-likelihood of the RBM that is left when the weights above the "
    "first hidden layer are zero: where it equals the bound, upper layers are idle. With three "
    "hidden layers, then the bound, first binarization, where what the third one sends on average "
    "to the second, a bias, is all that is left of it. Then the largest absolute weights by "
    "matrix, and the mean of q (1 - q) by hidden layer: near zero where units are always on or "
    "always off. Particles are the training particles of the bracket's reverse runs.",
    "",
    "Samples: pixel means of 100 chains, 10,000 sweeps (quick: 1,000) from independent units; "
    "`--write` puts the picture into docs/figures.",
]


def trained(store, estimator, digits, key="dbm"):
    """Return (estimator, seconds) after training on grey rows, bits drawn at each presentation."""
    grey = digits.grey / np.float32(255.0)
    return fitted(store, key, estimator, grey)


def rows_of(store, quick, estimator, published, *, seconds_before=0.0):
    """Yield the row of one model.

    Parameters
    ----------
    store : Store
    quick : bool
    estimator : DBM
    published : str
    seconds_before : float
        What training took of the machine that this one starts from.
    """
    digits = binary_mnist()
    dbm, seconds = trained(store, estimator, digits)
    found = store.once("bounds", lambda: bounds(dbm.model_, digits, quick))
    picture = store.folder / "samples.png"
    if not picture.exists():
        samples(dbm.model_, 1_000 if quick else 10_000).savefig(picture, dpi=150)
    weights = ", ".join(f"{np.abs(w).max():.2f}" for w in dbm.model_.weights)
    test, spread = np.mean(found["test"]), np.std(found["test"], ddof=1)
    sizes = "-".join(str(layer.size) for layer in dbm.model_.layers)
    without = [found[name] for name in ("lower_alone", "without_third") if name in found]
    yield (
        f"{sizes}, {estimator.n_epochs} epochs", published, f"{found['train']:.2f}",
        f"{test:.2f} ({spread:.2f})", f"{test + found['value'] - found['upper']:.2f}",
        f"{found['weighted']:.2f}", shown_gap(found["gap"]),
        ", ".join(f"{v:.2f}" for v in without),
        f"{found['value']:.2f} ({found['lower']:.2f} to {found['upper']:.2f})", weights,
        ", ".join(f"{v:.3f}" for v in found["variances"]), f"{seconds_before + seconds:.0f}",
    )  # fmt: skip


def samples(model, n_sweeps):
    """Return a figure of 100 chains that begin far from the data."""
    particles = start_particles(model, 100, dg.Stream(0))
    particles = dg.gibbs(model, particles, n_sweeps, random_state=1)
    figure = plots.require_matplotlib("figure").Figure((6.0, 6.0), layout="constrained")
    plots.plot_samples(visible_mean(model, particles), ax=figure.subplots())
    return figure


def log_partition(model, quick, base):
    """Return the bracket of log Z as plain data."""
    bracket = dg.log_partition_bracket(
        model, n_betas=3_000 if quick else None, base=base, exact=False, random_state=0
    )
    return {name: getattr(bracket, name) for name in ("lower", "value", "upper")}


def bounds(model, digits, quick):
    """Return what the table says of a model."""
    base = dg.base_rates(model, digits.train)
    log_z = log_partition(model, quick, base)
    z = log_z["value"]
    lower = dg.BoltzmannMachine(model.layers[:2], model.weights[:1])
    lower_z = log_partition(lower, quick, base)["value"]
    more = {}
    if model.n_layers > 3:
        two = without_third(model, digits.train[:10_000])
        two_z = log_partition(two, quick, base)["value"]
        more["without_third"] = mean_bound(two, digits.tests[0], two_z)
    means = dg.mean_field(model, [digits.tests[0][:1000], *[None] * (model.n_layers - 1)]).means
    return log_z | more | {
        "train": mean_bound(model, digits.train[:10_000], z),
        "test": [mean_bound(model, test, z) for test in digits.tests],
        "weighted": float(
            dg.importance_weighted_bound(
                model, digits.tests[0], log_partition=z, n_draws=20 if quick else 100,
                random_state=0,
            ).mean()
        ),
        "gap": gap(model, digits.tests[0], 20 if quick else 100),
        "lower_alone": float(-dg.free_energy(lower, digits.tests[0]).mean()) - lower_z,
        "variances": [float((m * (1.0 - m)).mean()) for m in means[1:]],
    }  # fmt: skip


def without_third(model, X):
    """Return a machine without its third hidden layer, what it sends on average to X kept."""
    third = dg.mean_field(model, [X, None, None, None]).means[3]
    sent = model.weights[2] @ third.mean(axis=0)
    middle = model.layers[2].replace(bias=model.layers[2].bias + sent)
    return dg.BoltzmannMachine([*model.layers[:2], middle], model.weights[:2])


def mean_bound(model, X, log_z):
    """Return the mean of the variational bound over rows."""
    return float(dg.variational_bound(model, X, log_partition=log_z).mean())


def shown_gap(value):
    """Return a gap as text: annealing that ends below the bound tells nothing of log p(v)."""
    return f"{value:.2f}" if value >= 0.0 else "annealing ends below the bound"


def gap(model, X, n_rows):
    """Return the mean of log p(v) by annealing minus the bound, over the first rows.

    log p*(v) is the log weight of v and log Z of the machine that is left when v is clamped.
    """
    rows = X[:n_rows]
    bound = dg.variational_bound(model, rows, log_partition=0.0)
    true = []
    for row in rows:
        rest, constant = dg.conditional_model(model, {0: row})
        found = dg.ais(rest, n_chains=50, n_betas=500, random_state=0)
        true.append(constant + found.value)
    return float(np.mean(true - bound))
