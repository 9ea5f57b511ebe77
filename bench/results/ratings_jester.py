"""Ratings of jokes, real numbers: RBMs with bins beside biases, neighbours, SVD and EASE."""

import deepgen as dg
from bench.results.rating_baselines import EASE, SVD, Biases, Neighbours
from bench.results.ratings import Blend, Entry, cell, plain, rbm, results

TITLE = "Ratings: Jester"
COLUMNS = (
    "model", "NMAE", "NMAE of medians", "RMSE", "NDCG@10", "NLL, nats", "seeds", "CPU s to fit",
    "CPU s an epoch",
)  # fmt: skip
BOUNDS = (-10.0, 10.0)

# With 16,000 ratings of each joke the usual decay by rating, 0.03, is too much.
USERS = Entry(
    "users, 200 hidden, 10 bins",
    rbm(
        rows="users", bins=10, n_hidden=200, weight_decay=0.003, n_epochs=30,
        learning_rate=dg.Linear(0.01, 0.0),
    ),
)  # fmt: skip
ENTRIES = (
    Entry("biases", lambda X, seed: Biases(X), n_seeds=1),
    Entry("20 nearest jokes", lambda X, seed: Neighbours(X), n_seeds=1),
    Entry(
        "SVD-10",
        lambda X, seed: SVD(X, seed, n_factors=10, n_epochs=10, rate=0.005, decay=0.05),
    ),
    Entry("EASE", lambda X, seed: EASE(X), n_seeds=1),
    USERS,
)
QUICK = ("biases", "20 nearest jokes", "SVD-10", "EASE", USERS.name)
BLENDS = (Blend("blend: users, EASE", (USERS.name, "EASE")),)

NOTES = [
    "`datasets.load_jester()`: 24,983 users, 100 jokes, ratings from -10 to 10, a tenth of the "
    "1,810,455 to test, drawn at random. NMAE: mean absolute error by 20, the length of the scale; "
    "a model with bins also says the median, which is what an absolute error asks for. NLL: of "
    "the bin of a rating. NDCG: gains are those of one to five stars, stretched over the scale. "
    "Settings, those of the baselines too, were chosen on a validation slice; blends, seeds and "
    "seconds as for MovieLens 1M. Published, on other splits and users: 0.187 (Eigentaste; "
    "Goldberg et al. 2001).",
]


def rows(store, quick):
    """Yield the rows of the table."""
    splits = {"jester": dg.datasets.load_jester()}
    entries = [entry for entry in ENTRIES if not quick or entry.name in QUICK]
    for name, _, by_seed in results(
        store, splits, entries, BLENDS, bounds=BOUNDS, quick=quick
    ):  # fmt: skip
        lengths = [
            {n: numbers[n] / 20.0 for n in ("mae", "mae of medians") if n in numbers}
            for numbers in by_seed
        ]
        yield (
            name, cell(lengths, "mae", 4), cell(lengths, "mae of medians", 4),
            cell(by_seed, "rmse", 3), cell(by_seed, "ndcg", 4), cell(by_seed, "nll", 3),
            len(by_seed), plain(by_seed, "seconds", 1), plain(by_seed, "epoch", 2),
        )  # fmt: skip
