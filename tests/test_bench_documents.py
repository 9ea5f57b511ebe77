"""What tables say of LDA: its bound below log p, and the estimate around it."""

import numpy as np
import pytest
from scipy import integrate, stats

documents = pytest.importorskip("bench.results.documents", reason="bench/ is not beside the tests")


@pytest.mark.parametrize("alpha", [0.1, 1.0])
@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_the_estimate_of_log_p_is_that_of_integration(alpha, scale):
    """Would catch a density that is not normalized, and weights without variance where the
    posterior is narrower than what it stands for."""
    rng = np.random.default_rng(0)
    topics, n = rng.dirichlet(np.ones(4), 2), np.array([3, 2, 5, 1])
    gamma = alpha + scale * np.array([5.0, 6.0])
    elbo, found = documents.of_document(n, topics, gamma, alpha, rng, 60_000)

    def likelihood(u):
        share = stats.beta.ppf(u, alpha, alpha)
        return np.exp(n @ np.log(share * topics[0] + (1.0 - share) * topics[1]))

    exact = np.log(integrate.quad(likelihood, 0.0, 1.0, limit=500)[0])
    assert elbo < exact
    assert found == pytest.approx(exact, abs=0.05)


def test_perplexities_are_by_document_and_by_word():
    """Would catch means over words in place of documents."""
    counts = np.array([[1, 0], [3, 5]])
    log_p = counts.sum(axis=1) * np.log([0.5, 0.25])
    by_document, by_word = documents.perplexities(log_p, counts)
    assert by_document == pytest.approx(np.exp((np.log(2) + np.log(4)) / 2))
    assert by_word == pytest.approx(np.exp((np.log(2) + 8 * np.log(4)) / 9))
