"""Perplexity of 20 Newsgroups: replicated softmax beside a unigram and LDA."""

import time

import numpy as np

import deepgen as dg
from bench.results.documents import (
    TOPICS,
    fitted_lda,
    lda_log_p,
    newsgroups,
    perplexities,
    unigram_log_p,
)
from bench.results.report import spread

TITLE = "Documents of 20 Newsgroups: perplexity"
COLUMNS = ("model", "by document", "of the unigram's", "by word", "training, s of one core")
SEEDS = (0, 1, 2)

NOTES = [
    "Posts by date, counts of the 2,000 words that are the most frequent in training (header "
    "dropped but for the subject, no stop words, no stemming), posts without any of them left "
    "out: 11,308 for training, 7,524 for the test, all of them scored, those of more than 1,200 "
    "words too. By document: exp(-mean log p / D); by word: exp(-sum log p / sum D). p is that of "
    "the words in their order. Mean (standard deviation) over three seeds (quick: one); the quick "
    "form scores the first 1,500 test posts.",
    "Replicated softmax: the estimator as it comes, 50 units, one thread; seconds are processor "
    "time. Its log Z has brackets "
    "by forward and reverse annealing at 18 lengths, and between them a curve whose error is added "
    "(`log_partition_by_length`, 1,000 temperatures; quick: 300): the upper end, the value, and "
    "the lower end of the perplexity are three rows. LDA: scikit-learn's, 50 topics, online, ten "
    "passes over shuffled posts, batches of 512, alpha 0.1, eta 0.05, by its ELBO with fixed "
    "topics and by importance sampling with 1,000 draws, both lower bounds of log p. The "
    "published ratios to a unigram, on another vocabulary, are 0.714 for the replicated softmax "
    "and 0.817 for LDA (Salakhutdinov & Hinton 2009, 50 posts).",
]


def rows(store, quick):
    """Yield the rows of the table."""
    posts = newsgroups()
    test = posts.test[:1_500] if quick else posts.test
    first = perplexities(unigram_log_p(posts.train, test), test)
    yield _row("unigram", [first], first)
    seeds = SEEDS[:1] if quick else SEEDS
    found = [
        store.once(f"lda-{seed}", lambda s=seed: _lda(posts.train, test, s)) for seed in seeds
    ]
    for name, key in (("LDA-50, ELBO", "elbo"), ("LDA-50, importance sampling", "sampled")):
        yield _row(name, [one[key] for one in found], first, [one["training"] for one in found])
    found = [
        store.once(f"rs-{seed}", lambda s=seed: _topics(store, posts.train, test, s, quick))
        for seed in seeds
    ]
    for end in ("upper", "value", "lower"):
        yield _row(
            f"replicated softmax-50, {end}", [one[end] for one in found], first,
            [one["training"] for one in found],
        )  # fmt: skip


def _row(name, found, unigram, seconds=()):
    by_document, by_word = zip(*found, strict=True)
    return (
        name, spread(by_document, 1), spread([one / unigram[0] for one in by_document], 3),
        spread(by_word, 1), spread(seconds, 1) if seconds else "",
    )  # fmt: skip


def _lda(train, test, seed):
    lda, seconds = fitted_lda(train, seed)
    elbo, sampled = lda_log_p(lda, test, seed)
    return {
        "elbo": perplexities(elbo, test), "sampled": perplexities(sampled, test),
        "training": seconds,
    }  # fmt: skip


def _topics(store, train, test, seed, quick):
    def fit():
        began = time.process_time()
        topics = dg.ReplicatedSoftmax(TOPICS, random_state=seed, n_threads=1).fit(train)
        topics.bench_seconds_ = time.process_time() - began
        return topics

    topics, seconds = store.model(f"rs-{seed}", fit)
    energies, words = topics.free_energy(test), test.sum(axis=1).astype(int)
    partition = topics.log_partition(test, n_betas=300 if quick else 1_000)
    log_z = {"upper": partition.upper, "value": partition.value, "lower": partition.lower}
    ends = {end: perplexities(-energies - read(words), test) for end, read in log_z.items()}
    assert np.isfinite(list(ends.values())).all()
    return {**ends, "training": seconds}
