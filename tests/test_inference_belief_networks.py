"""Belief networks at work: passes, ancestral samples and completions against enumeration."""

import exact
import numpy as np
import pytest
import reference
from conftest import (
    THREADS,
    assert_mean,
    assert_same_bits,
    random_belief_network,
    random_model,
    tied_belief_network,
    twin,
    twin_belief,
)

import deepgen as dg
from deepgen.inference.belief_completion import impute_belief
from deepgen.inference.belief_networks import sample_belief, upward_pass
from deepgen.inference.completion import impute
from deepgen.inference.gibbs import update_layer
from deepgen.layers.passes import Site
from deepgen.runtime.stream import IMPUTE, Stream

DEEP = ("softmax", "binary", "copies", "binary")


def indicators(layer, draws):
    """One column for each state of a layer: whether a draw is that state."""
    n_states = len(exact.layer_states(layer))
    return np.eye(n_states, dtype=np.float32)[exact.layer_index(layer, draws)]


# ---------------------------------------------------------------------------------------- passes


def test_means_upwards_are_the_features_of_the_recognition_side():
    """Catches a pass that uses generative weights, or draws where means are wanted."""
    network = random_belief_network(DEEP, 1)
    v = np.eye(6, dtype=np.uint8)[[0, 4, 2]]
    found = upward_pass(network, v)
    first = dg.encoder(network.stack[:1]).forward(v)
    assert_same_bits(found[0], first)
    expected = update_layer(network.layers[1].upward, 1, [first, None], mean=True)[0]
    assert_same_bits(found[1], expected)


def test_draws_upwards_follow_the_recognition_model():
    """Catches a layer drawn from means instead of the draws below it, or with random numbers that
    two layers share: joint frequencies of both layers are those of q."""
    network = random_belief_network(DEEP, 1, [6, 3, 2, 3])
    model, n = twin_belief(network), 20_000
    row = np.eye(6)[1] + np.eye(6)[3]
    hidden = exact.hidden_states(model)
    expected = np.exp(exact.belief_log_weights(model, row, hidden)[1])
    draws = upward_pass(network, np.tile(row, (n, 1)).astype(np.uint8), Stream(1))
    layers = [upper for _, upper, _, _ in model.directed]
    index = exact.joint_index(layers, draws)
    assert_mean(np.eye(len(expected), dtype=np.float32)[index], expected, 1e-6)


@pytest.mark.parametrize("kinds", [("binary", "binary", "binary"), DEEP])
def test_ancestral_samples_have_the_distribution_of_the_model(kinds):
    """Catches samples through recognition weights or biases, a layer that is skipped, and random
    numbers shared by layers: frequencies of whole rows are those of enumeration."""
    network = random_belief_network(kinds, 3, scale=0.8)
    visible = twin_belief(network).directed[0][0]
    states = exact.layer_states(visible)
    expected = np.exp(exact.belief_log_likelihood(twin_belief(network), states))
    draws = sample_belief(network, 20_000, n_sweeps=50, random_state=0)
    assert draws.dtype == np.uint8
    assert_mean(indicators(visible, draws), expected, 1e-6)
    means = sample_belief(network, 20_000, n_sweeps=50, mean=True, random_state=1)
    assert means.dtype == np.float32
    assert_mean(means, expected @ states, 1e-6)
    assert means.std(axis=0).max() > 0.05  # of draws above, not of means


def test_gaussian_samples_have_mean_and_variance_of_the_model():
    """Catches real-valued samples without their noise."""
    network = random_belief_network(("gaussian", "binary", "binary"), 3)
    model = twin_belief(network)
    states, share = exact.marginal(*model.top)
    lower, _, weights, _ = model.directed[0]
    means = reference.mean(lower, lower.bias + states @ weights.T)
    draws = sample_belief(network, 20_000, n_sweeps=50, random_state=0)
    assert_mean(draws, share @ means)
    assert_mean(draws.astype(np.float64) ** 2, share @ (means**2 + 1.0 / lower.precision))


@pytest.mark.parametrize("mean", [False, True])
def test_samples_in_pieces_equal_the_whole(mean, threaded):
    """Catches random numbers that depend on threads or on the place of a row in a call."""
    network = random_belief_network(DEEP, 3, [33, 20, 9, 18])
    options = {"n_sweeps": 3, "random_state": 4, "mean": mean}
    whole = sample_belief(network, 23, **options, n_threads=1)
    pieces = [
        sample_belief(network, n, **options, first_row=first, n_threads=n_threads)
        for first, n, n_threads in ((0, 10, 3), (10, 0, 1), (10, 13, 2))
    ]
    assert_same_bits(np.concatenate(pieces), whole)
    particles = dg.Particles([np.ones((23, 9), np.uint8), np.ones((23, 18), np.uint8)])
    assert (sample_belief(network, 23, particles=particles, **options) != whole).any()


def test_a_network_without_directed_layers_samples_its_machine():
    """Catches a downward pass that needs a layer."""
    machine = random_model(("binary", "binary"), 1)
    layers, weights = twin(machine)
    states, expected = exact.marginal(layers, weights)
    network = dg.BeliefNetwork([], machine)
    draws = sample_belief(network, 20_000, n_sweeps=50, random_state=0)
    assert_mean(indicators(layers[0], draws), expected, 1e-6)
    means = sample_belief(network, 20_000, n_sweeps=50, mean=True, random_state=0)
    assert_mean(means, expected @ states, 1e-6)


# ----------------------------------------------------------------------------------- completions


def conditional_of(network, row, missing):
    """States of the visible layer that agree with a row, and their conditional probabilities."""
    model = twin_belief(network)
    states = exact.layer_states(model.directed[0][0])
    states = states[(states[:, ~missing] == row[~missing]).all(axis=1)]
    log_p = exact.belief_log_likelihood(model, states)
    p = np.exp(log_p - log_p.max())
    return states, p / p.sum()


@pytest.mark.parametrize("kinds", [("binary", "binary", "binary"), DEEP])
def test_completions_have_the_conditional_distribution_of_the_model(kinds):
    """Catches chains that trust the recognition model, and steps that forget what is observed:
    the recognition side here has nothing to do with the generative one."""
    network = random_belief_network(kinds, 5, scale=0.8 if len(kinds) == 3 else 0.3)
    row, missing = np.zeros(network.sizes[0]), np.ones(network.sizes[0], bool)
    row[0], missing[: network.visible.group] = 1.0, False
    states, expected = conditional_of(network, row, missing)
    n = 8_000
    X, holes = (np.tile(a, (n, 1)) for a in (row, missing))
    draws, means, deviations = impute_belief(
        network, X, holes, n_chains=1, n_sweeps=40, random_state=0
    )
    visible = twin_belief(network).directed[0][0]
    found = indicators(visible, draws)
    chosen = exact.layer_index(visible, states)
    assert_mean(found[:, chosen], expected, 1e-6)
    assert_mean(means, expected @ states, 1e-6)
    assert_same_bits(draws[:, ~missing], X[:, ~missing].astype(np.float32))
    assert_same_bits(means[:, ~missing], X[:, ~missing].astype(np.float32))
    assert not deviations[:, ~missing].any()


@pytest.mark.parametrize("kinds", [("binary", "binary"), ("gaussian", "binary")])
def test_a_tied_network_completes_as_its_machine(kinds):
    """Catches offers that are refused where the recognition model is exact, and a completion that
    is not that of the machine which the network equals."""
    machine = random_model(kinds, 2, [5, 4], scale=0.8)
    network = tied_belief_network(machine)
    layers, weights = twin(machine)
    row, missing = np.array([1.0, 0.0, 1.0, 0.0, 0.0]), np.array([0, 0, 1, 1, 1], bool)
    clamped = {0: np.where(missing, np.nan, row)}
    expected = exact.expectation(layers, weights, clamped=clamped)[0]
    X, holes = (np.tile(a, (8_000, 1)) for a in (row, missing))
    options = {"n_chains": 1, "n_sweeps": 15, "random_state": 0}
    draws, means, _ = impute_belief(network, X, holes, **options)
    assert_mean(draws[:, missing], expected[missing], 1e-6)
    assert_mean(means[:, missing], expected[missing], 1e-6)
    assert_same_bits(draws[:, ~missing], X[:, ~missing].astype(np.float32))
    # all chains of a row together: mean and deviation
    few = {"n_chains": 100, "n_sweeps": 10}
    _, mean, deviation = impute_belief(network, X[:2], holes[:2], random_state=1, **few)
    site = Site(dg.Stream.from_random_state(1), IMPUTE)
    _, machine_mean, machine_deviation = impute(machine, X[:2], holes[:2], site, **few)
    np.testing.assert_allclose(mean, machine_mean, atol=0.25)
    np.testing.assert_allclose(deviation, machine_deviation, atol=0.2)


@pytest.mark.parametrize("kinds", [("binary", "binary", "binary"), DEEP, ("gaussian", "binary")])
def test_completions_in_pieces_equal_the_whole(kinds, threaded):
    """Catches random numbers that depend on threads or on the place of a row in a call."""
    network = random_belief_network(kinds, 3, [24, 20, 9, 18][: len(kinds)])
    rng = np.random.default_rng(0)
    group = network.visible.group
    X = np.eye(24)[::group][np.arange(9) % (24 // group)]
    missing = np.repeat(rng.random((9, 24 // group)) < 0.5, group, axis=1)
    X = np.where(missing, np.nan, X)
    options = {"n_chains": 2, "n_sweeps": 3, "random_state": 4}
    whole = impute_belief(network, X, missing, **options, n_threads=1)
    first = impute_belief(network, X[:4], missing[:4], **options, n_threads=THREADS[2])
    rest = impute_belief(network, X[4:], missing[4:], **options, first_row=4, n_threads=1)
    for a, b, c in zip(first, rest, whole, strict=True):
        assert_same_bits(np.concatenate([a, b]), c)


def test_grey_values_and_variables_that_stay_out_are_kept():
    """Catches an observed grey value that comes back as a state, and an all-zero group that is
    taken as evidence against all of its categories."""
    network = random_belief_network(("binary", "binary", "binary"), 1, [4, 3, 3])
    grey = np.array([[0.25, 0.75, np.nan, 0.5]])
    for found in impute_belief(network, grey, np.isnan(grey), n_chains=3, random_state=0)[:2]:
        np.testing.assert_array_equal(found[0, [0, 1, 3]], np.float32([0.25, 0.75, 0.5]))
        assert 0 <= found[0, 2] <= 1
    network = random_belief_network(("softmax", "binary", "binary"), 1, [9, 3, 3], scale=1.0)
    row, missing = np.zeros(9), np.zeros(9, bool)
    row[0], missing[3:6] = 1.0, True
    states, p = conditional_of(network, row, np.arange(9) >= 3)
    X, holes = np.tile(row, (8_000, 1)), np.tile(missing, (8_000, 1))
    draws, *_ = impute_belief(network, X, holes, n_chains=1, n_sweeps=50, random_state=0)
    assert_mean(draws[:, 3:6], p @ states[:, 3:6], 1e-6)
    assert not draws[:, 6:].any()
