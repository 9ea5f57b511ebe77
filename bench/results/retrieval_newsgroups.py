"""Retrieval in 20 Newsgroups by 50 numbers a post."""

import numpy as np

import deepgen as dg
from bench.results.documents import TOPICS, fitted_lda, lsa, newsgroups
from bench.results.report import spread
from deepgen.retrieval import evaluate

TITLE = "Retrieval in 20 Newsgroups: 50 numbers a post"
RECALLS = (0.002, 0.01, 0.1, 0.3, 0.5, 0.8)
COLUMNS = ("codes", "mean average precision", *(f"at {recall:g}" for recall in RECALLS))
SEEDS = (0, 1, 2)

NOTES = [
    "Each test post asks for training posts of its group, by cosines of codes; 11,308 training "
    "posts, all 7,524 test posts with a word as queries (quick: 600 by "
    "`default_rng(0).permutation`). Mean average precision, and precision where a share of the "
    "relevant posts has come (recall); mean (standard deviation) over three seeds of what is "
    "learned (quick: one). Field: `transform(X, quantity=\"field\")`, by the word, the mean over "
    "training posts taken away. LSA: 50 singular vectors of log(1 + c) or of sublinear TF-IDF. LDA "
    "as in the table of perplexities.",
]


def rows(store, quick):
    """Yield the rows of the table."""
    posts = newsgroups()
    some = np.arange(posts.test.shape[0])
    if quick:
        some = np.random.default_rng(0).permutation(some)[:600]
    seeds = SEEDS[:1] if quick else SEEDS
    for name, codes in CODES.items():
        found = [
            store.once(
                f"{name}-{seed}".replace(" ", "_").replace(",", ""),
                lambda s=seed, c=codes: _measured(c(store, posts, s), posts, some),
            )
            for seed in seeds
        ]
        yield (
            name, spread((one["map"] for one in found), 3),
            *(spread((one["precisions"][i] for one in found), 3) for i in range(len(RECALLS))),
        )  # fmt: skip


def _measured(codes, posts, some):
    train, test, centre = codes
    found = evaluate(
        test[some], posts.test_labels[some], train, posts.train_labels, recalls=RECALLS,
        centre=centre,
    )  # fmt: skip
    return {"map": found.mean_average_precision, "precisions": found.precisions.tolist()}


def _topics(quantity):
    def codes(store, posts, seed):
        topics, _ = store.model(
            f"rs-{seed}", lambda: dg.ReplicatedSoftmax(TOPICS, random_state=seed).fit(posts.train)
        )
        both = (topics.transform(x, quantity=quantity) for x in (posts.train, posts.test))
        return (*both, quantity == "field")

    return codes


def _lsa(matrix):
    def codes(store, posts, seed):
        return (*lsa(posts.train, posts.test, TOPICS, matrix=matrix, seed=seed), False)

    return codes


def _lda(store, posts, seed):
    lda, _ = fitted_lda(posts.train, seed)
    return lda.transform(posts.train), lda.transform(posts.test), False


CODES = {
    "LSA, log counts": _lsa("log"),
    "LSA, TF-IDF": _lsa("tf-idf"),
    "LDA": _lda,
    "replicated softmax, mean": _topics("mean"),
    "replicated softmax, field": _topics("field"),
}
