"""What a fitted DBN answers: scores as bounds, samples, completions."""

import exact
import numpy as np
import pytest
from conftest import (
    assert_mean,
    assert_same_bits,
    random_belief_network,
    twin_belief,
)

import deepgen as dg
from deepgen.inference.belief_networks import sample_belief

pytestmark = pytest.mark.usefixtures("serial")

TINY = {"n_hidden": (8, 12, 5), "n_epochs": 2, "batch_size": 50, "random_state": 3}


def small(seed=1, kinds=("binary", "binary", "binary"), sizes=None):
    """An estimator around an enumerable network, and the network's twin."""
    network = random_belief_network(kinds, seed, sizes)
    return dg.DBN.from_model(network), twin_belief(network)


@pytest.mark.parametrize(
    "kinds", [("binary", "binary", "binary"), ("softmax", "binary", "copies", "binary")]
)
def test_scores_are_bounds_at_the_bracket(kinds):
    """Would catch log Z of another machine, another end of the bracket, or random numbers that
    differ from call to call: against enumeration, and bit for bit against the functions."""
    dbn, twin_of_it = small(kinds=kinds)
    v = exact.layer_states(twin_of_it.directed[0][0]).astype(np.uint8)
    likelihood = exact.belief_log_likelihood(twin_of_it, v)
    log_z = dbn.log_partition()
    assert log_z.method == "exact"
    np.testing.assert_allclose(log_z.value, twin_of_it.log_partition, rtol=1e-6)
    options = {"log_partition": log_z.value, "random_state": dbn._fitted.score_seed}
    assert_same_bits(dbn.score_samples(v), dg.importance_weighted_bound(dbn.model_, v, **options))
    assert_same_bits(
        dbn.bound(v, n_draws=7), dg.variational_bound(dbn.model_, v, n_draws=7, **options)
    )
    many = dbn.score_samples(v, n_draws=20_000)
    assert np.abs(many - likelihood).max() < 0.1
    assert dbn.score(v) == dbn.score_samples(v).mean()
    assert dbn.bound(v, n_draws=5_000).mean() < likelihood.mean()


def test_score_is_taken_at_the_lower_end_of_the_bracket(rows):
    """Would catch a model search that prefers what annealing fails on, and a bracket that is
    computed for each call or kept after another fit."""
    dbn = dg.DBN((30, 40), n_epochs=1, random_state=0).fit(rows)
    bracket = dbn.log_partition(n_chains=10, n_betas=50)
    assert bracket.method != "exact"
    assert bracket is dbn.log_partition(n_chains=10, n_betas=50)
    expected = dbn.score_samples(rows[:20]).mean() - (bracket.upper - bracket.value)
    assert dbn.score(rows[:20]) == pytest.approx(expected, rel=1e-12)
    dbn.fit(rows[:60])
    assert dbn._fitted.bracket is None


def test_rows_without_a_likelihood_are_told():
    """Would catch a likelihood of means, or of rows with holes."""
    dbn, _ = small()
    rbm = dg.RBM.from_model(dbn.model_.layers[0].upward)
    mixture = dg.MixtureOfBernoullis(2, random_state=0).fit(np.eye(3, dtype=np.uint8))
    for ask in (
        dbn.score_samples, dbn.bound, dbn.score, rbm.score_samples, rbm.score,
        mixture.score_samples, mixture.score,
    ):  # fmt: skip
        with pytest.warns(UserWarning, match="not a log-likelihood") as caught:
            ask(np.full((2, 3), 0.5))
        assert [warning.filename for warning in caught] == [__file__]
    dbn, _ = small(kinds=("softmax", "binary", "binary"))
    with pytest.raises(ValueError, match="missing variables"):
        dbn.bound(np.zeros((2, 6)))
    with pytest.raises(ValueError, match="n_draws must be a positive integer"):
        dbn.bound(np.eye(6)[:2] + np.eye(6)[3:5], n_draws=0)


def test_samples_have_the_distribution_of_the_model_and_come_in_pieces():
    """Would catch samples that are not those of the core, or pieces that do not fit."""
    dbn, twin_of_it = small(seed=3)
    states = exact.layer_states(twin_of_it.directed[0][0])
    expected = np.exp(exact.belief_log_likelihood(twin_of_it, states)) @ states
    draws = dbn.sample(20_000, n_sweeps=50, random_state=0)
    assert_mean(draws, expected, 1e-6)
    whole = dbn.sample(11, n_sweeps=4, random_state=2)
    parts = [dbn.sample(n, n_sweeps=4, random_state=2, first_row=f) for n, f in ((5, 0), (6, 5))]
    assert_same_bits(np.concatenate(parts), whole)
    assert dbn.sample(0).shape == (0, 3)
    assert_same_bits(whole, sample_belief(dbn.model_, 11, n_sweeps=4, random_state=2))


def test_samples_start_from_the_training_particles(rows):
    """Would catch chains that start from nothing although training has good ones."""
    dbn = dg.DBN((6, 5), rule=dg.PCD(n_particles=4), n_epochs=1, random_state=0).fit(rows)
    found = dbn.sample(6, n_sweeps=0, random_state=0)
    chosen = dg.Particles([x[np.arange(6) % 4] for x in dbn._fitted.particles.states])
    expected = sample_belief(dbn.model_, 6, particles=chosen, n_sweeps=0, random_state=0)
    assert_same_bits(found, expected)


def test_impute_completes_what_is_missing():
    """Would catch observed entries that change, or draws in the place of means."""
    dbn, twin_of_it = small(seed=5)
    X = np.tile([1.0, np.nan, np.nan], (4_000, 1))
    draws = dbn.impute(X, method="draw", n_chains=1, n_sweeps=20, random_state=0)
    states = exact.layer_states(twin_of_it.directed[0][0])
    states = states[states[:, 0] == 1]
    p = np.exp(exact.belief_log_likelihood(twin_of_it, states))
    assert_mean(draws, p @ states / p.sum(), 1e-6)
    means, deviation = dbn.impute(X[:2], return_std=True, n_chains=4, n_sweeps=2, random_state=0)
    assert means.dtype == np.float64
    assert (means[:, 0] == 1).all()
    assert (deviation[:, 1:] > 0).all()
    assert not deviation[:, 0].any()
    with pytest.raises(ValueError, match="method must be"):
        dbn.impute(X, method="mode")
    with pytest.raises(ValueError, match="n_chains must be a positive integer"):
        dbn.impute(X, n_chains=0)
