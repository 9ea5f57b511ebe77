"""Codes of Reuters stories by deep autoencoders, beside LSA of the same size."""

import numpy as np

import deepgen as dg
from bench.results import documents, report
from bench.results.stacks import fitted
from deepgen import plots, retrieval
from deepgen.datasets import load_reuters21578

TITLE = "Codes of Reuters stories"
RECALLS = (0.01, 0.1, 0.3, 0.5, 0.8)
COLUMNS = (
    "code", "numbers", "mAP", *(f"precision at recall {recall:g}" for recall in RECALLS),
    "test, nats a word", "epochs", "seeds", "s to train",
)  # fmt: skip
NOTES = [
    "Reuters-21578, ModApte, 2,000 words. Learned from all 9,603 training stories, topics unseen. "
    "Queries: 800 test stories with a topic (`default_rng(0)`); they look for the 7,770 training "
    "stories with a topic, by the cosine of codes, and those that share a topic are right. mAP and "
    "precision are means over queries; seeds: mean (standard deviation). Nats a word: the loss, "
    "cross-entropy of a story's shares of words, mean over the 3,299 test stories.",
    "",
    "2000-500-250-125-code and its mirror image, rectified, random start, half of the words of a "
    "story masked, normal noise in the code: `code_noise` 2, of the bits 4; Adam, rate 0.001 "
    "linearly to 0, batches of 100. *Bits* are logistic codes, cut at 0.5; their cosine is that "
    "of plus and minus ones, so it orders as the Hamming distance does. *Pretrained*: logistic "
    "units, a replicated softmax and three RBMs, CD-1, then the same. LSA: the better of two "
    "matrices by mAP, logs of counts and TF-IDF (sublinear). Settings were chosen on 800 training "
    "stories that were held out as queries (docs/decisions.md). Picture: `codes.png`, test stories "
    "that have one of the eight largest topics alone, in the folder of the run.",
]

N_QUERIES, N_PICTURED = 800, 8
COMMON = {
    "visible": "multinomial", "masking": 0.5, "learning_rate": dg.Linear(0.001, 0.0),
    "optimizer": dg.Adam(weight_decay=0.0),
}  # fmt: skip
BELOW = (500, 250, 125)
REAL = {"code_noise": 2.0, "l2": 1e-4}
BITS = {"code": "logistic", "code_noise": 4.0, "l2": 2e-4}
PRETRAINED = [
    dg.Pretraining(10, rule=dg.CD(1, centring=False), optimizer=dg.SGD(momentum=0.9)),
    *[dg.Pretraining(10)] * 3,
]


def rows(store, quick):
    """Yield the rows of the table."""
    stories = load_reuters21578()
    seeds, epochs = ((0,), 10) if quick else ((0, 1, 2), 20)
    yield ("unigram", "", *[""] * 6, f"{unigram(stories):.3f}", "", "", "")
    for size in (2, 10, 32):
        yield lsa(store, stories, size)
    yield row(store, stories, "noise in the code", (*BELOW, 10), REAL, epochs, seeds)
    if not quick:
        plain = {"l2": REAL["l2"]}
        yield row(store, stories, "no noise", (*BELOW, 10), plain, epochs, seeds[:1])
        start = REAL | {"pretrained": PRETRAINED}
        yield row(store, stories, "pretrained", (*BELOW, 10), start, epochs, seeds[:1])
    yield row(store, stories, "noise in the code", (*BELOW, 2), REAL, epochs, (0, 1, 2))
    yield row(store, stories, "bits", (*BELOW, 32), BITS, epochs, seeds)


def unigram(stories):
    """Return the cross-entropy of the words of test stories by their frequency in training."""
    counts = stories.train.sum(axis=0) + 1.0
    shares = stories.test.multiply(1.0 / stories.test.sum(axis=1)[:, None])
    return float(-(shares @ np.log(counts / counts.sum())).mean())


def lsa(store, stories, size):
    """Return the row of latent semantic analysis of so many numbers, on the better matrix."""

    def of(matrix):
        codes = documents.lsa(stories.train, stories.test, size, matrix=matrix)
        return retrieved(stories, *codes)

    found = {
        name: store.once(f"lsa-{size}-{matrix}", lambda matrix=matrix: of(matrix))
        for name, matrix in (("logs", "log"), ("TF-IDF", "tf-idf"))
    }
    name, best = max(found.items(), key=lambda item: item[1]["map"])
    numbers = [f"{best['map']:.3f}", *(f"{p:.3f}" for p in best["precision"])]
    return (f"LSA on {name}", size, *numbers, "", "", 1, f"{best['seconds']:.0f}")


def row(store, stories, label, sizes, settings, epochs, seeds):
    """Return one row: what autoencoders of some seeds retrieve and rebuild."""
    found = [one(store, stories, label, sizes, settings, epochs, seed) for seed in seeds]
    if sizes[-1] == 2:
        picture(store, stories, f"{label}-{sizes[-1]}-{seeds[0]}")
    precision = zip(*(result["precision"] for result in found), strict=True)
    return (
        label, sizes[-1], report.spread((result["map"] for result in found), 3),
        *(report.spread(values, 3) for values in precision),
        report.spread((result["loss"] for result in found), 3), epochs, len(seeds),
        f"{np.mean([result['seconds'] for result in found]):.0f}",
    )  # fmt: skip


def one(store, stories, label, sizes, settings, epochs, seed):
    """Return what one autoencoder retrieves and rebuilds, and the seconds of its training."""
    key = f"{label}-{sizes[-1]}-{seed}"
    autoencoder, seconds = fitted(
        store, key,
        dg.DeepAutoencoder(sizes, n_epochs=epochs, random_state=seed, **COMMON, **settings),
        stories.train,
    )  # fmt: skip
    is_binary = settings.get("code") == "logistic"

    def measure():
        train, test = (autoencoder.transform(X) for X in (stories.train, stories.test))
        if is_binary:
            train, test = (2.0 * retrieval.binary_codes(codes) - 1.0 for codes in (train, test))
        loss = -autoencoder.score(stories.test)
        return {**retrieved(stories, train, test), "loss": loss, "seconds": seconds}

    return store.once(f"{key}-answers", measure)


def retrieved(stories, train, test):
    """Return mAP and precision at some recalls of codes of all stories, by their cosine."""
    with_topic = np.flatnonzero(stories.test_topics.any(axis=1))
    order = np.random.default_rng(0).permutation(len(with_topic))
    queries, database = with_topic[order[:N_QUERIES]], stories.train_topics.any(axis=1)
    found = retrieval.evaluate(
        test[queries], stories.test_topics[queries],
        train[database], stories.train_topics[database], recalls=RECALLS,
    )  # fmt: skip
    return {"map": found.mean_average_precision, "precision": found.precisions.tolist()}


def picture(store, stories, key):
    """Draw the codes of test stories that have one of the largest topics alone."""
    place = store.folder / "codes.png"
    if place.exists():
        return
    alone = stories.test_topics.sum(axis=1) == 1
    topic = stories.test_topics.argmax(axis=1)
    shown = alone & (topic < N_PICTURED)
    codes = dg.load(store.folder / f"{key}.safetensors").transform(stories.test[shown])
    names = np.array(stories.topics)[topic[shown]]
    axes = plots.plot_codes(codes, names)
    axes.figure.savefig(place, dpi=150)
