"""Documents for tables: splits, and what others make of them: unigram, LSA, LDA."""

import time

import numpy as np
from scipy.special import gammaln, logsumexp, psi
from sklearn.decomposition import LatentDirichletAllocation, TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer

import deepgen as dg

DRAWS = 1_000  # of the topics of a document, for LDA
TOPICS = 50


def newsgroups():
    """Return 20 Newsgroups without empty posts."""
    posts = dg.datasets.load_newsgroups20()
    keep = [np.flatnonzero(rows.sum(axis=1) > 0) for rows in (posts.train, posts.test)]
    return posts._replace(
        train=posts.train[keep[0]], train_labels=posts.train_labels[keep[0]],
        test=posts.test[keep[1]], test_labels=posts.test_labels[keep[1]],
    )  # fmt: skip


def lengths(counts):
    """Return words by document."""
    return counts.sum(axis=1)


def perplexities(log_p, counts):
    """Return the perplexity by document and by word of log p of documents."""
    words = lengths(counts)
    return float(np.exp(-(log_p / words).mean())), float(np.exp(-log_p.sum() / words.sum()))


def unigram_log_p(train, test):
    """Return log p of documents by the frequencies of words, one count added to each."""
    p = train.sum(axis=0) + 1.0
    return test @ np.log(p / p.sum())


def log_counts(counts):
    """Return log(1 + c) of counts."""
    logs = counts.astype(np.float64)
    logs.data = np.log1p(logs.data)
    return logs


def lsa(train, test, size, *, matrix, seed=0):
    """Return codes of latent semantic analysis, of "log" counts or of sublinear "tf-idf"."""
    if matrix == "tf-idf":
        weights = TfidfTransformer(sublinear_tf=True).fit(train)
        train, test = weights.transform(train), weights.transform(test)
    else:
        train, test = log_counts(train), log_counts(test)
    axes = TruncatedSVD(size, random_state=seed).fit(train)
    return axes.transform(train), axes.transform(test)


def fitted_lda(train, seed=0):
    """Return scikit-learn's LDA, and the processor seconds of its training."""
    lda = LatentDirichletAllocation(
        TOPICS, doc_topic_prior=0.1, topic_word_prior=0.05, learning_method="online", max_iter=4,
        batch_size=256, random_state=seed,
    )  # fmt: skip
    began = time.process_time()
    lda.fit(train)
    return lda, time.process_time() - began


def lda_log_p(lda, counts, seed=0):
    """Return log p of documents by LDA: the ELBO, and an estimate by importance sampling.

    Topics are fixed at their normalized weights. With q the variational posterior of the topics of
    a document, a Dirichlet, the estimate is the log mean over draws of ``p(words | theta)
    p(theta) / q(theta)``, a lower bound in expectation; the larger of the two is taken.
    ``LatentDirichletAllocation.perplexity`` is no yardstick: it divides the prior of the topics by
    the words of the test documents.
    """
    rng, alpha = np.random.default_rng(seed), 0.1
    words = lda.components_ / lda.components_.sum(axis=1, keepdims=True)
    elbo, sampled = np.empty(counts.shape[0]), np.empty(counts.shape[0])
    for start in range(0, counts.shape[0], 512):
        gammas = lda._unnormalized_transform(counts[start : start + 512].astype(np.float64))
        for row, gamma in enumerate(gammas, start):
            at = slice(counts.indptr[row], counts.indptr[row + 1])
            n, topics = counts.data[at], words[:, counts.indices[at]]
            elbo[row], sampled[row] = _of_document(n, topics, gamma, alpha, rng)
    return elbo, np.maximum(elbo, sampled)


def _of_document(n, topics, gamma, alpha, rng, n_draws=DRAWS):
    """Return the ELBO and the estimate of one document.

    Parameters
    ----------
    n : ndarray of shape (n_different,)
        Counts of its words.
    topics : ndarray of shape (n_topics, n_different)
        Their probabilities in each topic.
    gamma : ndarray of shape (n_topics,)
        Of the variational posterior.
    alpha : float
        Of the prior.
    """
    log_theta = psi(gamma) - psi(gamma.sum())
    norm_p = gammaln(alpha * len(gamma)) - len(gamma) * gammaln(alpha)
    norm_q = gammaln(gamma.sum()) - gammaln(gamma).sum()
    elbo = n @ np.log(np.exp(log_theta) @ topics) + norm_p - norm_q
    elbo += ((alpha - gamma) * log_theta).sum()
    theta = np.maximum(rng.dirichlet(gamma, n_draws), 1e-300)
    log_weights = np.log(theta @ topics) @ n + norm_p - norm_q + np.log(theta) @ (alpha - gamma)
    return elbo, logsumexp(log_weights) - np.log(n_draws)
