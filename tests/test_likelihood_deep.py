"""Likelihoods of machines of more than two layers: which side is summed out, what is clamped."""

from dataclasses import replace
from itertools import product

import exact
import numpy as np
import pytest
import reference
from conftest import (
    FIVE_SIGMA,
    assert_mean,
    assert_same_bits,
    assert_within_errors,
    exact_particles,
    random_model,
    twin,
    twin_layer,
)

import deepgen as dg

pytestmark = pytest.mark.usefixtures("serial")

DEEP = [
    ("binary", "binary", "binary"),
    ("gaussian", "copies", "binary"),
    ("binary", "gaussian", "softmax"),
    ("binary", "copies", "binary", "softmax"),
    ("softmax", "binary", "gaussian", "binary"),
]


def all_states(layer):
    """All states of a layer, in the type that models take."""
    return exact.layer_states(twin_layer(layer)).astype(layer.state_dtype)


# --------------------------------------------------------------------- which side is summed out


@pytest.mark.parametrize("own_base", [True, False])
@pytest.mark.parametrize("side", ["odd", "even"])
@pytest.mark.parametrize("kinds", [("binary", "softmax"), *DEEP])
def test_one_step_weighs_as_the_formula_says(kinds, side, own_base):
    """Catches a base at the wrong end or on the wrong layer, and a parity weighed as the other.

    From temperature 1 to 0 in one step nothing is drawn that counts: the weight is
    p*_0(x) / p*_1(x) of the kept layers' states x.
    """
    model = random_model(kinds, 1)
    base = None
    if not own_base:
        base = model.layers[0].replace(bias=np.linspace(-1.0, 1.0, model.layers[0].size))
        if base.precision is not None:
            base = base.replace(log_precision=base.log_precision + np.float32(0.2))
    particles = exact_particles(model, 20, 1)
    found = dg.reverse_ais(
        model, particles, n_betas=[0.0, 1.0], n_sweeps=0, base=base, summed_out=side,
        random_state=0,
    )  # fmt: skip
    layers, weights = twin(model)
    start = [twin_layer(model.layers[0] if base is None else base)]
    start += [twin_layer(layer.replace(bias=np.zeros(layer.size))) for layer in model.layers[1:]]
    kept = {"odd": 0, "even": 1}[side]
    cold, hot = (
        reference.annealed_log_weight(layers, weights, start, particles.states, beta, kept)
        for beta in (1.0, 0.0)
    )
    np.testing.assert_allclose(found.log_weights, hot - cold, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("sizes", "side"),
    [((9, 2), "odd"), ((5, 3, 4), "even"), ((4, 8, 3), "odd"), ((4, 7, 3), "odd"),
     ((6, 3, 4, 5), "even"), pytest.param((5, 3, 4, 7), "odd", marks=pytest.mark.slow)],
)  # fmt: skip
def test_the_side_with_more_units_is_summed_out(sizes, side):
    """Catches a deep machine that keeps its larger side, and an RBM whose weights change."""
    model = random_model(("binary",) * len(sizes), 2, sizes)
    other = {"odd": "even", "even": "odd"}[side]
    particles = exact_particles(model, 10, 2)

    def estimates(**options):
        options |= {"n_betas": 20, "random_state": 0}
        return (
            dg.ais(model, n_chains=10, **options).log_weights,
            dg.reverse_ais(model, particles, n_sweeps=1, **options).log_weights,
        )

    for default, named, opposite in zip(
        estimates(), estimates(summed_out=side), estimates(summed_out=other), strict=True
    ):
        assert_same_bits(default, named)
        assert (default != opposite).all()


def test_the_bracket_of_a_deep_machine_holds_the_exact_value():
    """Catches ends of forward chains that do not fit the reverse chains of the same side.

    30 - 10 - 40 units: as in 784-500-1000 both outer layers are summed out. 3 errors miss 1 in 370.
    """
    model = random_model(("binary",) * 3, 3, (30, 10, 40), scale=0.4)
    expected = dg.exact_log_partition(model).value
    n_runs, missed = 20, 0
    for seed in range(n_runs):
        found = dg.log_partition_bracket(
            model, n_chains=50, n_betas=100, exact=False, random_state=seed
        )
        assert found.upper - found.lower < 2.0
        missed += not found.lower <= expected <= found.upper
    share = 0.0027
    assert missed <= n_runs * share + FIVE_SIGMA * np.sqrt(n_runs * share * (1.0 - share))


# ------------------------------------------------------------------------- what is clamped

CLAMPED = {
    3: [(0,), (2,), (0, 1), (0, 2), (1, 2)],
    4: [(0,), (0, 1), (0, 3), (0, 2, 3), (1, 2, 3)],
}


@pytest.mark.parametrize(
    ("kinds", "clamp"),
    [(kinds, clamp) for kinds in DEEP for clamp in CLAMPED[len(kinds)]]
    + [(("softmax", "copies"), (0,)), (("gaussian", "binary"), (1,)), (DEEP[3], ())],
)  # fmt: skip
def test_a_conditional_model_sums_to_the_weight_of_what_is_clamped(kinds, clamp):
    """Catches a field from one side only, a weight between clamped layers, a base measure lost."""
    model = random_model(kinds, 4)
    layers, weights = twin(model)
    states = exact.sample(layers, weights, 1, np.random.default_rng(4))
    clamped = {l: states[l][0].astype(np.float32) for l in clamp}
    rest, log_weight = dg.conditional_model(model, clamped)
    assert type(log_weight) is float
    if isinstance(rest, dg.Units):
        assert len(clamp) + 1 == len(kinds)
        value = float(rest.log_normalizer(rest.bias[None])[0])
    else:
        assert rest.n_layers == len(kinds) - len(clamp)
        value = dg.exact_log_partition(rest).value
    expected = exact.log_partition(layers, weights, clamped=clamped)
    # fields of order 10 are rounded to float32: a few 1e-6
    np.testing.assert_allclose(log_weight + value, expected, rtol=0.0, atol=1e-5)


def test_missing_groups_are_clamped_to_nothing():
    """Catches a missing variable that sends its first category."""
    model = random_model(("softmax", "binary", "copies"), 5)
    layers, weights = twin(model)
    v = np.array([0, 1, 0, 0, 0, 0], np.uint8)
    rest, log_weight = dg.conditional_model(model, {0: v})
    expected = exact.log_partition(
        layers, weights, missing=[np.array([False, True]), None, None], clamped={0: v}
    )
    found = log_weight + dg.exact_log_partition(rest).value
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-5)


def test_layers_that_can_be_observed_keep_their_meaning():
    """Catches numbers of layers that count from the layer that is gone."""
    model = random_model(("binary", "binary", "softmax"), 6)
    model = dg.BoltzmannMachine(model.layers, model.weights, observed=(0, 2))
    assert dg.conditional_model(model, {0: np.ones(3)})[0].observed == (1,)
    assert dg.conditional_model(model, {2: np.eye(6)[0] + np.eye(6)[3]})[0].observed == (0,)
    plain = dg.BoltzmannMachine(model.layers, model.weights)
    assert dg.conditional_model(plain, {0: np.ones(3)})[0].observed == (0,)


@pytest.mark.parametrize("numbers", [(1,), (1, 2), (0, 2)])
def test_layers_that_are_left_must_be_neighbours(numbers):
    """Catches two independent parts that are joined to one machine as if they were neighbours."""
    model = random_model(("binary",) * 4, 7)
    with pytest.raises(ValueError, match="must leave neighbouring layers free"):
        dg.conditional_model(model, {l: np.zeros(3) for l in numbers})
    with pytest.raises(ValueError, match="must leave a layer free"):
        dg.conditional_model(model, {l: np.zeros(3) for l in range(4)})


def test_annealing_a_conditional_model_estimates_the_likelihood_of_a_row():
    """Catches fields of the row that are counted in the base and in log Z_0 but not in both."""
    model = random_model(("binary", "copies", "binary"), 8, scale=1.0)
    v = np.array([1, 0, 1], np.uint8)
    rest, log_weight = dg.conditional_model(model, {0: v})
    expected = dg.exact_log_likelihood(model, v[None], log_partition=0.0)[0]
    for side, seed in product(("odd", "even"), range(3)):
        found = dg.ais(
            rest, n_chains=2_000, n_betas=[0.0, 0.5, 1.0], summed_out=side, random_state=seed
        )
        log_base = found.value - reference.log_sum_exp(found.log_weights) + np.log(2_000)
        assert_mean(np.exp(log_weight + log_base + found.log_weights - expected), 1.0, 1e-5)


# --------------------------------------------------------------------------- exact likelihoods


@pytest.mark.parametrize("kinds", DEEP)
def test_exact_log_likelihood_of_a_deep_machine_equals_enumeration(kinds):
    """Catches a hidden layer that is left out of one of both sums."""
    model = random_model(kinds, 9)
    layers, weights = twin(model)
    v = exact_particles(model, 20, 9)[0]
    expected = exact.log_likelihood(layers, weights, v)
    found = dg.exact_log_likelihood(model, v)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    value = dg.exact_log_partition(model).value
    assert_same_bits(dg.exact_log_likelihood(model, v, log_partition=value), found)
    assert_same_bits(dg.exact_log_likelihood(model, v[7:8]), found[7:8])


@pytest.mark.parametrize("kinds", [DEEP[0], DEEP[3], DEEP[4]])
def test_exact_likelihoods_of_all_rows_sum_to_one(kinds):
    """Catches sums that leave states out on both sides alike."""
    model = random_model(kinds, 10)
    total = np.exp(dg.exact_log_likelihood(model, all_states(model.layers[0]))).sum()
    assert_within_errors(total, 1.0, 0.0, 1e-9)


def test_exact_likelihoods_use_float64_fields():
    """Catches fields of a row rounded to float32, where hundreds of units with large ones meet."""
    model = random_model(("binary", "binary", "binary"), 11, (400, 11, 8), scale=2.0)
    (visible, lower, upper), weights = twin(model)
    v = (np.random.default_rng(11).random((3, 400)) < 0.5).astype(np.uint8)
    expected = reference.layer_log_weight(visible, v)
    for row, field in enumerate(reference.field([visible, lower], weights[:1], [v, None], 1)):
        expected[row] += exact.log_partition([replace(lower, bias=field), upper], weights[1:])
    found = dg.exact_log_likelihood(model, v, log_partition=0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("kinds", [("binary", "binary", "copies", "binary"),
                                   ("gaussian", "binary", "binary", "softmax")])  # fmt: skip
def test_two_machines_without_weights_between_them_are_independent(kinds):
    """Catches a middle layer that is counted twice, or that hears of nothing through nothing."""
    lower, upper = random_model(kinds[:2], 12), random_model(kinds[2:], 13)
    between = np.zeros((lower.layers[1].size, upper.layers[0].size))
    weights = [lower.weights[0], between, upper.weights[0]]
    joined = dg.BoltzmannMachine([*lower.layers, *upper.layers], weights)
    parts = [dg.exact_log_partition(part).value for part in (lower, upper)]
    np.testing.assert_allclose(dg.exact_log_partition(joined).value, sum(parts), rtol=1e-12)
    v = exact_particles(lower, 10, 12)[0]
    expected = dg.exact_log_likelihood(lower, v)
    np.testing.assert_allclose(dg.exact_log_likelihood(joined, v), expected, rtol=1e-11)
    for side in ("odd", "even"):
        found = dg.ais(joined, n_chains=4_000, n_betas=10, summed_out=side, random_state=0)
        log_base = found.value - reference.log_sum_exp(found.log_weights) + np.log(4_000)
        assert_mean(np.exp(log_base + found.log_weights - sum(parts)), 1.0)


def test_rows_of_deep_machines_are_refused_where_a_sum_is_too_large():
    """Catches a row that would take years, and a check that comes after the sum of log Z."""
    model = random_model(("binary",) * 4, 14, (2, 30, 30, 2))
    with pytest.raises(ValueError, match=r"2\*\*30 .* use ais on conditional_model"):
        dg.exact_log_likelihood(model, np.zeros((1, 2)), log_partition=0.0)
    narrow = random_model(("binary",) * 3, 14, (2, 5, 30))
    with pytest.raises(ValueError, match=r"shape \(n_rows, 2\)"):
        dg.exact_log_likelihood(narrow, np.zeros((1, 3)))
    assert dg.exact_log_likelihood(narrow, np.zeros((0, 2))).shape == (0,)
