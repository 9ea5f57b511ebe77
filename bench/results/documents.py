"""Documents for tables: splits, and what others make of them: unigram, LSA, LDA."""

import time

import numpy as np
from scipy.special import gammaln, logsumexp, psi
from sklearn.decomposition import LatentDirichletAllocation, TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer

import deepgen as dg

DRAWS = 1_000  # of the topics of a document, for LDA
TOPICS, ALPHA = 50, 0.1
# Of LDA; chosen on held-out training posts (docs/decisions.md, "Documents").
PASSES, BATCH = 10, 512


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


def fitted_lda(train, seed=0, *, n_passes=PASSES, batch_size=BATCH):
    """Return scikit-learn's LDA, and the processor seconds of its training.

    Documents are shuffled first: scikit-learn takes its batches in the order of the rows, and those
    of 20 Newsgroups stand group by group.
    """
    lda = LatentDirichletAllocation(
        TOPICS, doc_topic_prior=ALPHA, topic_word_prior=0.05, learning_method="online",
        max_iter=n_passes, batch_size=batch_size, random_state=seed,
    )  # fmt: skip
    order = np.random.default_rng(seed).permutation(train.shape[0])
    began = time.process_time()
    lda.fit(train[order])
    return lda, time.process_time() - began


def lda_log_p(lda, counts, seed=0):
    """Return log p of documents by LDA: the ELBO, and an estimate by importance sampling.

    Topics are fixed at their normalized weights. The estimate is the log mean over draws of
    ``p(words | theta) p(theta) / q(theta)``, a lower bound in expectation; the larger of the two is
    taken. ``LatentDirichletAllocation.perplexity`` is no yardstick: it divides the prior of the
    topics by the words of the test documents.
    """
    rng = np.random.default_rng(seed)
    words = lda.components_ / lda.components_.sum(axis=1, keepdims=True)
    elbo, sampled = np.empty(counts.shape[0]), np.empty(counts.shape[0])
    for start in range(0, counts.shape[0], 512):
        gammas = lda._unnormalized_transform(counts[start : start + 512].astype(np.float64))
        for row, gamma in enumerate(gammas, start):
            at = slice(counts.indptr[row], counts.indptr[row + 1])
            n, topics = counts.data[at], words[:, counts.indices[at]]
            elbo[row], sampled[row] = of_document(n, topics, gamma, ALPHA, rng)
    return elbo, np.maximum(elbo, sampled)


def of_document(n, topics, gamma, alpha, rng, n_draws=DRAWS):
    """Return the ELBO of one document, and the estimate of its log p.

    A third of the draws each come from the variational posterior, from half way to the prior, and
    from the prior, and q is their mixture: of the posterior alone weights have no variance where
    a parameter of it is more than twice that of the prior.

    Parameters
    ----------
    n : ndarray of shape (n_different,)
        Counts of its words.
    topics : ndarray of shape (n_topics, n_different)
        Their probabilities in each topic.
    gamma : ndarray of shape (n_topics,)
        Of the variational posterior, a Dirichlet.
    alpha : float
        Of the prior.
    rng : Generator
    n_draws : int
    """
    log_theta = psi(gamma) - psi(gamma.sum())
    elbo = n @ np.log(np.exp(log_theta) @ topics) + log_norm(np.full_like(gamma, alpha))
    elbo += ((alpha - gamma) * log_theta).sum() - log_norm(gamma)
    parts = [alpha + share * (gamma - alpha) for share in (1.0, 0.5, 0.0)]
    logs = np.concatenate([log_dirichlet(part, n_draws // 3, rng) for part in parts])
    of_q = [log_norm(part) + logs @ (part - 1.0) for part in parts]
    of_prior = of_q[2]
    log_weights = np.log(np.exp(logs) @ topics) @ n + of_prior
    log_weights -= logsumexp(of_q, axis=0) - np.log(len(parts))
    return elbo, logsumexp(log_weights) - np.log(len(logs))


def log_norm(gamma):
    """Return minus the log normalizer of a Dirichlet."""
    return gammaln(gamma.sum()) - gammaln(gamma).sum()


def log_dirichlet(gamma, n_draws, rng):
    """Draw logs of shares, which small parameters would make zero.

    A draw of Gamma(g) is one of Gamma(g + 1) times u^(1 / g).
    """
    shape = n_draws, len(gamma)
    logs = np.log(rng.standard_gamma(gamma + 1.0, shape)) - rng.exponential(size=shape) / gamma
    return logs - logsumexp(logs, axis=1, keepdims=True)
