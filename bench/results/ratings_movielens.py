"""RBMs of ratings on MovieLens 1M and 100k."""

import os
import time
from pathlib import Path

import numpy as np
from scipy import sparse

import deepgen as dg
from bench.results import report

TITLE = "Ratings: MovieLens 1M and 100k"
COLUMNS = (
    "data", "model", "RMSE", "NLL, nats", "NDCG@10", "seeds", "CPU s to fit", "CPU s an epoch",
)  # fmt: skip
NOTES = [
    "MovieLens 1M: 100,021 of the ratings to test, the first of `default_rng(0).permutation` over "
    "the stored rows, the others to train. MovieLens 100k: the published folds u1 to u5 (blocks of "
    "20,000 of the stored rows; mean of the five) and ua (ten ratings a user). Settings were "
    "chosen on the first 5 % of `default_rng(7).permutation` of the training rows, which then "
    "belonged to the training rows again. NLL is that of the rating among its five values; NDCG "
    "ranks the test ratings of each user. Means over seeds (standard deviation). One thread.",
]

# Name, settings: those of the defaults where nothing is said.
MODELS_1M = (
    ("items, 300 hidden", {"rows": "items", "n_hidden": 300}),
    ("items, 100 hidden", {"rows": "items"}),
    ("users, 100 hidden", {"rows": "users"}),
    ("items, 100 hidden, CD-1", {"rows": "items", "rule": "cd"}),
    ("users, 100 hidden, CD-1", {"rows": "users", "rule": "cd"}),
)
MODELS_100K = (
    ("items, 100 hidden", {"rows": "items"}),
    ("users, 100 hidden", {"rows": "users"}),
)


def rows(store, quick):
    """Yield the rows of the table."""
    seeds = range(1 if quick else 3)
    for name, settings in MODELS_100K:
        for data, splits in (("100k u1-u5", (1, 2, 3, 4, 5)), ("100k ua", ("ua",))):
            yield _row(store, data, splits, name, settings, seeds)
    for name, settings in MODELS_1M[: 2 if quick else None]:
        yield _row(store, "1M", ("1m",), name, settings, seeds)


def _row(store, data, splits, name, settings, seeds):
    runs = [
        [
            store.once(
                f"{split}-{name}-{seed}",
                lambda split=split, seed=seed: measured(split, {**settings, "random_state": seed}),
            )
            for split in splits
        ]
        for seed in seeds
    ]
    means = [{n: np.mean([run[n] for run in one]) for n in one[0]} for one in runs]
    return (
        data, name, report.spread([m["rmse"] for m in means], 4),
        report.spread([m["nll"] for m in means], 3), report.spread([m["ndcg"] for m in means], 4),
        len(means), f"{np.mean([m['seconds'] for m in means]):.1f}",
        f"{np.mean([m['epoch'] for m in means]):.2f}",
    )  # fmt: skip


def measured(split, settings):
    """Fit one model on one split; return its numbers."""
    train, test = movielens1m() if split == "1m" else movielens100k(split)
    began = time.process_time()
    model = dg.RatingsRBM(**settings, n_threads=1).fit(train)
    seconds = time.process_time() - began
    return {
        "rmse": -model.score(test), "nll": model.log_loss(test), "ndcg": model.ndcg(test),
        "seconds": seconds, "epoch": seconds / model.n_epochs_,
    }  # fmt: skip


def movielens1m():
    """Return (train, test) of the split that the notes tell, users by items."""
    with np.load(_folder("movielens1m") / "ratings.npz") as file:
        users, items, ratings = file["user"] - 1, file["item"] - 1, file["rating"]
    order = np.random.default_rng(0).permutation(len(ratings))
    some = np.zeros(len(ratings), bool)
    some[order[:100_021]] = True
    return _cut(users, items, ratings, some, (6040, 3706))


def movielens100k(split):
    """Return (train, test) of a published split: 1 to 5, or "ua"."""
    folder = _folder("movielens100k")
    users, items, ratings = np.loadtxt(folder / "u.data", int, usecols=(0, 1, 2)).T
    some = np.zeros(len(ratings), bool)
    if split == "ua":
        pairs = np.loadtxt(folder / "ua.test", int, usecols=(0, 1))
        some = np.isin(users * 10_000 + items, pairs[:, 0] * 10_000 + pairs[:, 1])
    else:
        some[20_000 * (split - 1) : 20_000 * split] = True
    return _cut(users - 1, items - 1, ratings, some, (943, 1682))


def _cut(users, items, ratings, some, shape):
    return tuple(
        sparse.csr_array((ratings[part], (users[part], items[part])), shape=shape)
        for part in (~some, some)
    )


def _folder(name):
    """Return the folder of a data set."""
    folder = Path(os.environ.get("DEEPGEN_DATA", "."), name)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: set DEEPGEN_DATA to the folder that has {name}")
    return folder
