"""TAP: second-order means of deep machines, their log p(v), and what happens where they fail."""

import exact
import numpy as np
import pytest
import reference
from conftest import random_model, twin

import deepgen as dg

pytestmark = pytest.mark.usefixtures("serial")

# Allowed distance of float32 sums from their float64 twin.
ROUNDING = 2e-4


def deep_model(sizes=(8, 6, 5), scale=0.5, seed=1):
    """A machine of binary layers, and all of its rows."""
    return random_model(("binary",) * len(sizes), seed, sizes, scale=scale), some_rows(sizes[0])


def some_rows(n, n_rows=40):
    """Rows of n bits."""
    return (np.random.default_rng(0).random((n_rows, n)) < 0.5).astype(np.uint8)


def exact_values(model, v):
    """log p*(v) by enumeration."""
    layers, weights = twin(model)
    return exact.log_likelihood(layers, weights, v) + exact.log_partition(layers, weights)


@pytest.mark.parametrize("sizes", [(8, 6, 5), (6, 5, 4, 3)])
def test_means_and_estimate_are_those_of_the_twin(sizes):
    """Catches a reaction with the wrong sign, squares of the wrong matrix, pairs counted twice."""
    model, v = deep_model(sizes)
    layers, weights = twin(model)
    found = dg.tap(model, v, until=dg.FixedPoint(200, 1e-6))
    means, value = reference.tap(layers, weights, v.astype(np.float64))
    for x, y in zip(found.means[1:], means[1:], strict=True):
        np.testing.assert_allclose(x, y, atol=ROUNDING)
    np.testing.assert_allclose(found.log_weight, value, atol=ROUNDING)
    assert not found.fell_back.any()


def test_the_fixed_point_is_a_stationary_point_of_the_estimate():
    """Catches equations and a free energy that do not belong together."""
    model, v = deep_model()
    layers, weights = twin(model)
    x = v.astype(np.float64)
    means, value = reference.tap(layers, weights, x)
    rng = np.random.default_rng(0)
    for step in (1e-4, -1e-4):
        moved = [m + step * rng.normal(size=m.shape) * m * (1 - m) if l else m
                 for l, m in enumerate(means)]  # fmt: skip
        change = reference.tap_free_energy(layers, weights, moved) - value
        assert np.abs(change).max() < 1e-6  # of first order it would be 1e-4


def test_estimates_are_nearer_than_the_bound():
    """Catches a second order that takes nothing from the error of the first."""
    model, v = deep_model()
    value = exact_values(model, v)
    bound = dg.variational_bound(model, v, log_partition=0.0)
    found = dg.tap_log_likelihood(model, v, log_partition=0.0)
    assert (bound <= value + ROUNDING).all()
    assert np.abs(found - value).mean() < 0.05 * np.abs(bound - value).mean()


def test_loopy_belief_propagation_says_the_same():
    """Catches an estimate that is near by chance: BP, which is exact on trees, must agree."""
    model, v = deep_model()
    layers, weights = twin(model)
    found = dg.tap(model, v)
    means = reference.belief_propagation(layers, weights, v.astype(np.float64))
    for x, y in zip(found.means[1:], means[1:], strict=True):
        assert np.abs(x - y).max() < 0.01


def test_two_layers_are_exact():
    """Catches a correction where the hidden units are independent: there is none."""
    model, v = deep_model((6, 4))
    found = dg.tap_log_likelihood(model, v, log_partition=0.0)
    np.testing.assert_allclose(found, -dg.free_energy(model, v), atol=ROUNDING)


def test_rows_that_do_not_settle_have_mean_field():
    """Catches means of a sweep that goes round in circles, which nobody would notice."""
    model, v = deep_model(scale=6.0)
    found = dg.tap(model, v, until=dg.FixedPoint(30, 1e-5))
    assert found.fell_back.any()
    rows = found.fell_back
    bound = dg.variational_bound(model, v, log_partition=0.0)
    np.testing.assert_allclose(found.log_weight[rows], bound[rows], atol=ROUNDING)
    assert found.damped.any()
    assert all(np.isfinite(x).all() for x in found.means)


def test_rows_alone_and_together_are_the_same(monkeypatch):
    """Catches rows that share a number of sweeps, or a piece that is left out."""
    model, v = deep_model()
    whole = dg.tap(model, v)
    monkeypatch.setattr("deepgen.inference.tap.PIECE", 7)
    cut = dg.tap(model, v)
    np.testing.assert_array_equal(cut.log_weight, whole.log_weight)
    one = dg.tap(model, v[5:6])
    np.testing.assert_array_equal(one.means[2], whole.means[2][5:6])
    assert dg.tap(model, v[:0]).log_weight.shape == (0,)


def test_a_dbm_answers_by_tap():
    """Catches an estimator that takes the word and infers as before."""
    X = dg.datasets.sample_bars_and_stripes(200, 3, random_state=0)
    dbm = dg.DBM((6, 4), n_epochs=2, random_state=0).fit(X)
    plain, tapped = dbm.posterior(X), dbm.posterior(X, inference="tap")
    expected = dg.tap(dbm.model_, X).means[1:]
    for x, y in zip(tapped, expected, strict=True):
        np.testing.assert_array_equal(x, y)
    assert any((x != y).any() for x, y in zip(plain, tapped, strict=True))
    np.testing.assert_array_equal(dbm.transform(X, inference="tap"), expected[-1])
    value = dbm.log_partition().value
    estimate = dg.tap_log_likelihood(dbm.model_, X, log_partition=value)
    np.testing.assert_allclose(dbm.estimate(X), estimate)
    with pytest.raises(ValueError, match="inference must be 'mean_field' or 'tap', got 'bp'"):
        dbm.transform(X, inference="bp")


def test_other_units_are_refused():
    """Catches a formula for bits that is applied to groups."""
    model = random_model(("binary", "softmax", "binary"), 1, (4, 6, 3))
    with pytest.raises(ValueError, match=r"layers\[1\] must be binary units of one copy for TAP"):
        dg.tap(model, some_rows(4))


def test_log_z_is_a_number():
    """Catches a bracket of log Z that is subtracted after all the work."""
    model, v = deep_model()
    with pytest.raises(ValueError, match=r"log_partition must be a number in .*got LogPartition"):
        dg.tap_log_likelihood(model, v, log_partition=dg.LogPartition(1.0, 1.0, 1.0))
