"""Imputation of small public tables, learned from rows with holes."""

import time

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

import deepgen as dg
from bench.results.report import spread

TITLE = "Imputation, learned from the holes"
COLUMNS = ("table", "method", "log loss", "right", "s")
MISSING, SEEDS = 0.2, (0, 1, 2)
# No probability of a removed value is taken to be smaller.
LEAST = 1e-3

NOTES = [
    "A fifth of the cells removed at random; every method learns from what is left of the same "
    "rows and fills it in. Log loss: minus the log probability of the removed values, mean over "
    "cells, nats; right: share of them whose most probable value is the true one; mean (standard "
    "deviation) over three seeds of the removed cells (quick: one), which are the seeds of the "
    "methods too. Answers are taken as probabilities: clipped to [0.001, 0.999], and of a "
    "category divided by their sum. Digits: scikit-learn's, 1,797 x 64, on where at least 8 of "
    "16. Breast cancer: 569 x 30, on where above the column's median. Tic-tac-toe: the 958 boards "
    "at the end of a game, as in the UCI repository, nine variables of three categories. Wine: "
    "178 rows, 13 variables, cut into three categories at their terciles. Categories are one-hot "
    "columns, removed together.",
    "RBM: PCD, in the order of the tables 256, 64, 64 and 32 hidden units, 5,000, 15,000, 15,000 "
    "and 1,000 updates, decay 0.0002, 0.001, 0.0001 and 0.001, means over 100 chains of 100 "
    "sweeps; *nothing set*: but for the kind of columns. Mixture of Bernoullis: nothing set; of "
    "products, where there are categories: nothing set but their number. "
    "KNNImputer: 20, 20, 50 and 20 neighbours. IterativeImputer: as it comes (Bayesian ridge "
    "regression). Settings of the RBM and of KNNImputer were chosen from about ten of each with "
    "the cells removed by seed 100, a fifth of which other seeds remove too; the mixture chooses "
    "by known cells alone. On one-hot columns IterativeImputer stays at the means: the columns of "
    "a variable, removed together, predict each other exactly.",
]

# By table: hidden units, updates and decay of the RBM; neighbours.
SETTINGS = {
    "digits": (256, 5_000, 2e-4, 20),
    "breast cancer": (64, 15_000, 1e-3, 20),
    "tic-tac-toe": (64, 15_000, 1e-4, 50),
    "wine": (32, 1_000, 1e-3, 20),
}


def rows(store, quick):
    """Yield the rows of the table."""
    for table, (X, group) in tables().items():
        for name, method in methods(table, group).items():
            found = [
                store.once(
                    f"{table}-{name}-{seed}".replace(" ", "_"),
                    lambda seed=seed, m=method, X=X, g=group: measured(m(seed), X, g, seed),
                )
                for seed in (SEEDS[:1] if quick else SEEDS)
            ]
            yield (
                table, name, spread((one["loss"] for one in found), 3),
                spread((one["right"] for one in found), 3),
                f"{np.mean([one['seconds'] for one in found]):.1f}",
            )  # fmt: skip


def tables():
    """Return by name the rows of zeros and ones, and how many columns are one variable."""
    cancer, wine = load_breast_cancer().data, load_wine().data
    thirds = [np.searchsorted(np.quantile(x, [1 / 3, 2 / 3]), x) for x in wine.T]
    return {
        "digits": ((load_digits().data >= 8).astype(float), 1),
        "breast cancer": ((cancer > np.median(cancer, axis=0)).astype(float), 1),
        "tic-tac-toe": (np.eye(3)[final_boards()].reshape(-1, 27), 3),
        "wine": (np.eye(3)[np.stack(thirds, axis=1)].reshape(len(wine), -1), 3),
    }


def final_boards():
    """Return the boards on which a game of tic-tac-toe ends: 0 empty, 1 first, 2 second player."""
    lines = [range(3 * i, 3 * i + 3) for i in range(3)] + [range(i, 9, 3) for i in range(3)]
    lines += [(0, 4, 8), (2, 4, 6)]
    boards, going = set(), {(0,) * 9}
    for turn in range(9):
        player, following = 1 + turn % 2, set()
        for board in going:
            for cell in np.flatnonzero(np.array(board) == 0):
                after = (*board[:cell], player, *board[cell + 1 :])
                won = any(all(after[i] == player for i in line) for line in lines)
                (boards if won or turn == 8 else following).add(after)
        going = following
    return np.array(sorted(boards))


def removed(X, group, seed):
    """Return a mask of the cells that are removed, whole variables."""
    cells = np.random.default_rng(seed).random((len(X), X.shape[1] // group)) < MISSING
    return np.repeat(cells, group, axis=1)


def measured(method, X, group, seed):
    """Return loss, share of right answers and seconds of a method that fills holes in."""
    holes = removed(X, group, seed)
    began = time.perf_counter()
    answers = method(np.where(holes, np.nan, X))
    seconds = time.perf_counter() - began
    p = np.clip(answers, LEAST, 1.0 - LEAST)
    if group == 1:
        p = np.stack([1.0 - p, p], axis=2)
        truth, cells = X.astype(int), holes
    else:
        p = p.reshape(len(X), -1, group)
        p, truth = p / p.sum(axis=2, keepdims=True), X.reshape(p.shape).argmax(axis=2)
        cells = holes.reshape(p.shape)[:, :, 0]
    of_truth = np.take_along_axis(p, truth[:, :, None], axis=2)[:, :, 0][cells]
    right = (p.argmax(axis=2) == truth)[cells]
    return {"loss": -np.log(of_truth).mean(), "right": right.mean(), "seconds": seconds}


def methods(table, group):
    """Return by name functions of a seed that return a method: from holes to completed rows."""
    visible = "binary" if group == 1 else dg.Softmax(group)
    n_hidden, n_updates, decay, n_neighbors = SETTINGS[table]

    def rbm(X, seed):
        estimator = dg.RBM(
            n_hidden, visible=visible, optimizer=dg.SGD(weight_decay=decay),
            n_epochs=n_updates // -(-len(X) // 100), random_state=seed,
        )  # fmt: skip
        return estimator.fit(X).impute(X, n_chains=100, random_state=seed)

    def rbm_alone(X, seed):
        estimator = dg.RBM(visible=visible, random_state=seed)
        return estimator.fit(X).impute(X, random_state=seed)

    def mixture(X, seed):
        return dg.MixtureOfBernoullis(random_state=seed).fit(X).impute(X)

    def of_products(X, seed):
        return dg.MixtureOfProducts(visible=visible, random_state=seed).fit(X).impute(X)

    for_categories = {"mixture of products": lambda seed: lambda X: of_products(X, seed)}
    return {
        "column means": lambda seed: SimpleImputer().fit_transform,
        "KNNImputer": lambda seed: KNNImputer(n_neighbors=n_neighbors).fit_transform,
        "IterativeImputer": lambda seed: IterativeImputer(random_state=seed).fit_transform,
        "mixture of Bernoullis": lambda seed: lambda X: mixture(X, seed),
        **(for_categories if group > 1 else {}),
        "RBM, nothing set": lambda seed: lambda X: rbm_alone(X, seed),
        "RBM": lambda seed: lambda X: rbm(X, seed),
    }
