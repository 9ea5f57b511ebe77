"""Bounds of log p(v): against enumeration, in expectation, and what must not change them."""

import exact
import numpy as np
import pytest
import reference
from conftest import (
    FIVE_SIGMA,
    THREADS,
    assert_mean,
    assert_same_bits,
    in_form,
    random_belief_network,
    random_model,
    tied_belief_network,
    twin_belief,
    whole_rows,
    with_slow,
)

import deepgen as dg
from deepgen.inference.recognition import Recognition
from deepgen.runtime.stream import Stream

# Kinds of layers, bottom first; the topmost one may be Gaussian, those between are enumerated.
NETWORKS = [
    ("binary", "binary", "binary"),
    ("binary", "binary", "binary", "binary"),
    ("gaussian", "binary", "binary"),
    ("gaussian", "softmax", "copies", "gaussian"),
    ("softmax", "copies", "softmax"),
    ("copies", "softmax", "binary", "binary"),
]
BOUNDS = [dg.variational_bound, dg.importance_weighted_bound]


def draws_of(network, v, n_draws):
    """Log weights of independent draws, (n_draws, n_rows)."""
    recognition = Recognition(network, Stream(3))
    terms = recognition.terms(v)
    return recognition.log_weights(terms, slice(0, len(v)), 0, n_draws).T


# ------------------------------------------------------------------------------ exact values


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(
    "kinds",
    [("binary", "binary"), ("gaussian", "binary"), ("softmax", "copies"), ("copies", "gaussian")],
)
def test_a_network_tied_to_its_transpose_has_the_likelihood_of_the_machine(kinds, bound):
    """Catches any term of the weight that is missing, twice there or of another sign: with the
    transpose on top the posterior is exact and every draw weighs p(v)."""
    machine = random_model(kinds, 1, [6, 6])
    network, v = tied_belief_network(machine), whole_rows(machine.layers[0], 9)
    log_partition = 7.25
    found = bound(network, v, log_partition=log_partition, n_draws=3, random_state=0)
    expected = dg.exact_log_likelihood(machine, v, log_partition=log_partition)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("kinds", NETWORKS)
def test_the_mean_weight_is_the_likelihood(kinds):
    """Catches a wrong proposal or target density: E_q[w] = p*(v) whatever the recognition model
    is, for layers of each kind and untied weights, biases and precisions."""
    network = random_belief_network(kinds, 2)
    v = whole_rows(network.visible, 4)
    model = twin_belief(network)
    log_weights = draws_of(network, v, 40_000)
    expected = exact.belief_log_likelihood(model, v) + model.log_partition
    assert_mean(np.exp(log_weights - expected), 1.0, 1e-5)


@pytest.mark.parametrize("kinds", NETWORKS)
def test_the_mean_log_weight_is_the_bound(kinds):
    """Catches a part of the weight that only moves with the draws, such as the entropy."""
    network = random_belief_network(kinds, 2)
    v = whole_rows(network.visible, 4)
    model = twin_belief(network)
    expected = exact.belief_bound(model, v) + model.log_partition
    assert_mean(draws_of(network, v, 20_000), expected, 1e-5)


def test_gaussian_hidden_layers_agree_with_quadrature():
    """Catches a difference of precisions that a Gaussian layer between two others leaves out."""
    network = random_belief_network(("binary", "gaussian", "binary"), 4, [3, 1, 3])
    v, model = whole_rows(network.visible, 3), twin_belief(network)
    grid = np.linspace(-12.0, 12.0, 4_001)[:, None]
    log_width = np.log(grid[1, 0] - grid[0, 0])
    log_weights = draws_of(network, v, 40_000)
    for i, row in enumerate(v):
        log_p, log_q = exact.belief_log_weights(model, row, [grid])
        total = reference.log_sum_exp(log_p + log_width)
        bound = np.exp(log_q + log_width) @ (log_p - log_q)
        assert_mean(np.exp(log_weights[:, i] - total), 1.0, 1e-5)
        assert_mean(log_weights[:, i], bound, 1e-5)


@pytest.mark.parametrize("kinds", NETWORKS)
def test_bounds_are_averages_of_the_weights(kinds):
    """Catches a sum over draws that overflows, loses its largest term or a piece of the draws."""
    network = random_belief_network(kinds, 2)
    v = whole_rows(network.visible, 3)
    seed, n_draws = 5, 2_500  # three pieces
    recognition = Recognition(network, Stream.from_random_state(seed))
    terms, rows = recognition.terms(v), slice(0, 3)
    log_weights = np.concatenate([
        recognition.log_weights(terms, rows, first, count)
        for first, count in ((0, 1_000), (1_000, 1_500))
    ], axis=1)  # fmt: skip
    options = {"log_partition": -3.0, "n_draws": n_draws, "random_state": seed}
    found = dg.importance_weighted_bound(network, v, **options)
    expected = np.logaddexp.reduce(log_weights, axis=1) - np.log(n_draws) + 3.0
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    found = dg.variational_bound(network, v, **options)
    np.testing.assert_allclose(found, log_weights.mean(axis=1) + 3.0, rtol=1e-12)


@pytest.mark.parametrize("kinds", NETWORKS[:4])
def test_the_importance_weighted_bound_lies_between_bound_and_likelihood(kinds):
    """Catches weights that are averaged on the wrong side of the logarithm: for k = 1, 5 and 50
    draws its mean rises from the variational bound towards log p(v)."""
    network = random_belief_network(kinds, 2, scale=1.0)
    v, model = whole_rows(network.visible, 4), twin_belief(network)
    likelihood, bound = exact.belief_log_likelihood(model, v), exact.belief_bound(model, v)
    assert (bound < likelihood).all()
    log_weights = draws_of(network, v, 20_000) - model.log_partition
    means, errors = [], []
    for k in (1, 5, 50):
        groups = log_weights.reshape(-1, k, len(v))
        averages = np.logaddexp.reduce(groups, axis=1) - np.log(k)
        means.append(averages.mean(axis=0))
        errors.append(averages.std(axis=0, ddof=1) / np.sqrt(len(averages)))
        assert (means[-1] < likelihood + FIVE_SIGMA * errors[-1]).all()
        assert (means[-1] > bound - FIVE_SIGMA * errors[-1]).all()
    assert (means[0] < means[1]).all()
    assert (means[1] < means[2]).all()


def test_training_the_top_with_exact_gradients_never_lowers_the_bound():
    """Catches a bound that does not hold what greedy training promises (Hinton, Osindero & Teh
    2006, section 4): from the transpose on, steps up the top's likelihood raise it."""
    rows = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]], np.uint8)
    machine = random_model(("binary", "binary"), 3, [6, 4], scale=2.0)
    network = tied_belief_network(machine)
    layers, weights = twin_belief(network).top
    states = exact.layer_states(layers[0])
    # share of each state of the first hidden layer under data and recognition model
    target = sum(
        np.exp(exact.belief_log_weights(twin_belief(network), row, [states])[1]) for row in rows
    ) / len(rows)
    bounds = []
    for _ in range(25):
        model = twin_belief(network)
        bounds.append(exact.belief_bound(model, rows).mean())
        positive = [exact.moments(layers, weights, clamped={0: x}) for x in states]
        negative = exact.moments(layers, weights)
        step = 0.3
        weights = [weights[0] + step * (
            sum(p * m.weights[0] for p, m in zip(target, positive, strict=True))
            - negative.weights[0]
        )]  # fmt: skip
        biases = [
            layer.bias + step * (
                sum(p * m.biases[l] for p, m in zip(target, positive, strict=True))
                - negative.biases[l]
            )
            for l, layer in enumerate(layers)
        ]  # fmt: skip
        top = dg.BoltzmannMachine([dg.Binary(bias=b) for b in biases], weights)
        network = network.replace(top=top)
        layers, weights = twin_belief(network).top
    assert (np.diff(bounds) > 0).all()
    assert bounds[-1] > bounds[0] + 0.1
    np.testing.assert_allclose(bounds[0], dg.exact_log_likelihood(machine, rows).mean(), rtol=1e-6)
    log_partition = dg.exact_log_partition(network.top).value
    last = draws_of(network, rows, 20_000).mean(axis=1) - log_partition
    assert_mean(last, exact.belief_bound(twin_belief(network), rows).mean(), 1e-5)


def test_a_network_without_directed_layers_is_its_machine():
    """Catches a bound that needs a layer to draw."""
    machine = random_model(("gaussian", "binary"), 1)
    v = whole_rows(machine.layers[0], 5)
    for bound in BOUNDS:
        found = bound(dg.BeliefNetwork([], machine), v, log_partition=1.0, random_state=0)
        np.testing.assert_allclose(found, -dg.free_energy(machine, v) - 1.0, rtol=1e-12)


# -------------------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("kinds", [NETWORKS[1], NETWORKS[3]])
def test_rows_alone_have_the_bits_of_rows_together(bound, kinds, threaded):
    """Catches random numbers that belong to a row's place, and sums that depend on threads."""
    network = random_belief_network(kinds, 2, [33, 18, 21, 40][: len(kinds)])
    v = whole_rows(network.visible, 12)
    options = {"log_partition": 0.5, "n_draws": 6, "random_state": 1}
    whole = bound(network, v, **options, n_threads=1)
    for n_threads in THREADS[1:]:
        assert_same_bits(bound(network, v, **options, n_threads=n_threads), whole)
    options["n_threads"] = 1
    assert_same_bits(bound(network, v[::-1], **options)[::-1].copy(), whole)
    for i in (0, 11):
        assert_same_bits(bound(network, v[i : i + 1], **options), whole[i : i + 1])
    pieces = [bound(network, v[a:b], **options) for a, b in ((0, 1), (1, 8), (8, 12))]
    assert_same_bits(np.concatenate(pieces), whole)
    assert (whole != bound(network, v, **{**options, "random_state": 2})).any()


@pytest.mark.parametrize("bound", with_slow(BOUNDS, BOUNDS[1:]))
def test_errors_of_rows_are_independent(bound):
    """Catches random numbers that rows share: the error of a mean would not fall with their
    number, five times what independent rows give here."""
    network = random_belief_network(("binary", "binary", "binary", "binary"), 2, [24, 12, 9, 5])
    v = np.unique(whole_rows(network.visible, 80), axis=0)
    values = np.stack([
        bound(network, v, log_partition=0.0, n_draws=4, random_state=seed) for seed in range(200)
    ])  # fmt: skip
    found = values.mean(axis=1).var(ddof=1)
    expected = values.var(axis=0, ddof=1).sum() / len(v) ** 2
    # a variance of 200 normal numbers has the relative standard error sqrt(2 / 199)
    assert abs(found / expected - 1.0) < 5.0 * np.sqrt(2.0 / 199)


def test_equal_rows_have_equal_values():
    """Catches random numbers that depend on a row's place: a row found twice has one value."""
    network = random_belief_network(("gaussian", "binary", "binary"), 2)
    v = whole_rows(network.visible, 3)
    v[1, 0], v[2] = 0.0, v[1]
    v[2, 0] = -0.0
    found = dg.variational_bound(network, v, log_partition=0.0, n_draws=3, random_state=1)
    assert found[1] == found[2] != found[0]


@pytest.mark.parametrize("form", ["bytes", "floats", "csr"])
def test_the_form_of_the_rows_does_not_matter(form):
    """Catches sparse rows that are read as something else, or a bool matrix that is refused."""
    network = random_belief_network(("binary", "binary", "binary"), 2, [9, 5, 4])
    v = whole_rows(network.visible, 12)
    options = {"log_partition": 0.0, "n_draws": 5, "random_state": 1}
    for bound in BOUNDS:
        whole = bound(network, v, **options)
        assert_same_bits(bound(network, in_form(v, form), **options), whole)
        assert_same_bits(bound(network, v.astype(bool), **options), whole)
        assert_same_bits(bound(network, v.tolist(), **options), whole)
        assert bound(network, v[:0], **options).shape == (0,)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"X": np.full((2, 6), np.nan)}, ValueError, "must be finite"),
        ({"X": np.zeros((2, 5))}, ValueError, r"shape \(n_rows, 6\)"),
        ({"X": np.zeros((2, 6), np.uint8)}, ValueError, "missing variables"),
        ({"n_draws": 0}, ValueError, "n_draws must be a positive integer"),
        ({"log_partition": None}, ValueError, "log_partition must be a number"),
        ({"random_state": -1}, ValueError, "random_state must not be negative"),
        ({"n_threads": 0}, ValueError, "n_threads"),
        ({"model": 3}, TypeError, r"model must be a dg\.BeliefNetwork"),
        ({"model": dg.RBM()}, TypeError, "pass its model_"),
    ],
)
def test_bad_arguments_are_refused(change, error, message):
    """Catches a message that names another argument, and NaN that comes back as a number."""
    network = random_belief_network(("softmax", "binary", "binary"), 1)
    arguments = {
        "model": network, "X": np.eye(6)[[0, 1]] + np.eye(6)[[4, 5]], "log_partition": 0.0,
        "n_draws": 2, "random_state": 0, **change,
    }  # fmt: skip
    for bound in BOUNDS:
        model, X = arguments["model"], arguments["X"]
        options = {name: value for name, value in arguments.items() if name not in ("model", "X")}
        with pytest.raises(error, match=message):
            bound(model, X, **options)
