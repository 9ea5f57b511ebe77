"""Ratings of MovieLens 1M: RBMs beside biases, SVD, EASE and other packages, and blends."""

import deepgen as dg
from bench.results.rating_baselines import EASE, SVD, Biases, ImplicitALS, Surprise
from bench.results.ratings import STAR_COLUMNS, Blend, Entry, rbm, results, star_row

TITLE = "Ratings: MovieLens 1M"
COLUMNS = STAR_COLUMNS
BOUNDS = (1.0, 5.0)

# Prediction by rows of users: half of the usual rate for twice the epochs, and more weight on the
# squared error, were better on validation ratings.
PREDICTING_USERS = {
    "rows": "users",
    "rule": dg.MaskedPrediction(squared_error=0.75),
    "learning_rate": dg.Linear(0.01, 0.0),
    "n_epochs": 60,
}
WIDE = Entry("items, 500 hidden", rbm(n_hidden=500), "0.848 / 0.840")
NARROW = Entry("items, 100 hidden", rbm())
USERS = Entry("users, 100 hidden", rbm(**PREDICTING_USERS), "0.878 / 0.872")
ENTRIES = (
    Entry("biases", lambda X, seed: Biases(X), n_seeds=1),
    Entry("SVD-50", lambda X, seed: SVD(X, seed, rate=0.03)),
    Entry("EASE", lambda X, seed: EASE(X), n_seeds=1),
    WIDE,
    Entry("items, 300 hidden", rbm(n_hidden=300), "0.848 / 0.840"),
    NARROW,
    USERS,
    Entry(
        "items, 300 hidden, CD-1",
        rbm(n_hidden=300, rule="cd", learning_rate=dg.Linear(0.005, 0.0)),
        "0.890 / 0.854",
    ),
    Entry(
        "users, 100 hidden, CD-1",
        rbm(rows="users", rule="cd", learning_rate=dg.Linear(0.005, 0.0)),
        "0.890 / 0.881",
    ),
    Entry("scikit-surprise SVD", lambda X, seed: Surprise(X, seed, model="SVD"), n_seeds=1),
    Entry("scikit-surprise SVD++", lambda X, seed: Surprise(X, seed), n_seeds=1),
    Entry("implicit ALS-50", lambda X, seed: ImplicitALS(X, seed), n_seeds=1, ranks_only=True),
)
QUICK = ("biases", "SVD-50", "EASE", NARROW.name, USERS.name)
BLENDS = (
    Blend("blend: items 500, users", (WIDE.name, USERS.name), "0.838 / 0.832"),
    Blend("blend: items 500, users, SVD", (WIDE.name, USERS.name, "SVD-50"), "0.838 / 0.832"),
    Blend(
        "blend: items 500, users, SVD, EASE", (WIDE.name, USERS.name, "SVD-50", "EASE"),
        "0.838 / 0.832",
    ),
)  # fmt: skip
QUICK_BLENDS = (
    Blend("blend: items 100, users, SVD, EASE", (NARROW.name, USERS.name, "SVD-50", "EASE")),
)

NOTES = [
    "`datasets.load_movielens(\"1m\")`: 100,021 of the 1,000,209 ratings are the test, 900,188 are "
    "learned from. Settings, those of SVD and EASE too, were chosen on the validation slice, 5 % "
    "of the training ratings, and learned then from all of them (docs/decisions.md, \"Ratings\"). "
    "Weights of blends are those of a ridge regression of the validation ratings on predictions "
    "of models that learned from the rest; they weigh predictions of models that learned from all. "
    "Predictions beyond one and five stars are cut off.",
    "NDCG@10 ranks the test ratings of each user, gains 2^(stars - 1) - 1. NLL: of a rating among "
    "its five values. Mean (standard deviation) over seeds (quick: one); one thread. Seconds are "
    "of the processor, of a blend the sum over its parts, without those of its weights. "
    "Published, on other random splits: rows of users 0.881, of items 0.854 (contrastive "
    "divergence; Sedhain et al. 2015). must / aim: what these rows have to reach.",
]  # fmt: skip


def rows(store, quick):
    """Yield the rows of the table."""
    splits = {"1M": dg.datasets.load_movielens("1m")}
    entries = [entry for entry in ENTRIES if not quick or entry.name in QUICK]
    blends = QUICK_BLENDS if quick else BLENDS
    for found in results(store, splits, entries, blends, bounds=BOUNDS, quick=quick):
        yield star_row("1M", *found)
