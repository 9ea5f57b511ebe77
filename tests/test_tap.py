"""TAP: second-order means of deep machines, their log p(v), and what happens where they fail."""

import exact
import numpy as np
import pytest
import reference
from conftest import random_model, twin
from stops import At, Stop, fail

import deepgen as dg
from deepgen.inference.mean_field import infer
from deepgen.inference.tap import tap_after_mean_field
from deepgen.models import Parameters

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
    np.testing.assert_allclose(dbm.score_samples(X, inference="tap"), estimate)
    assert (dbm.score_samples(X) != estimate).all()
    for answer in (dbm.transform, dbm.score_samples, dbm.score):
        with pytest.raises(ValueError, match="inference must be 'mean_field' or 'tap', got 'bp'"):
            answer(X, inference="bp")


def test_a_score_by_tap_is_at_the_upper_end_of_log_z():
    """Catches a score that prefers a model because annealing failed on it."""
    X = dg.datasets.sample_bars_and_stripes(50, 3, random_state=0)
    dbm = dg.DBM((6, 4), n_epochs=2, random_state=0).fit(X)
    bracket = dg.LogPartition(lower=5.0, value=6.0, upper=8.0)
    dbm._fitted.bracket = (None, bracket)
    found = dbm.score_samples(X, inference="tap").mean()
    assert dbm.score(X, inference="tap") == pytest.approx(found - 2.0)
    assert dbm.score(X) == pytest.approx(dbm.score_samples(X).mean() - 2.0)


@pytest.mark.parametrize("sizes", [(8, 6, 5), (6, 5, 4, 3), (6, 4)])
@pytest.mark.parametrize("packed", [False, True])
def test_sweeps_of_learning_are_those_of_the_twin(sizes, packed):
    """Catches a sweep in another order, weights of the rows among the squares, variances in steps
    of another unit, and starting means that are changed in place."""
    model, v = deep_model(sizes)
    layers, weights = twin(model)
    parameters = Parameters(model, packed=packed)
    start = infer(parameters, v, dg.FixedPoint(3, 1e-3))
    kept = [x.copy() for x in start]
    found = tap_after_mean_field(parameters, start, 2, 1e-3)
    known = [x.astype(np.float64) for x in start]
    means, _ = reference.tap(layers, weights, v.astype(np.float64), 2, start=known)
    # means and variances are read to half a step, and the weights of a unit add up to a few units
    allowed = 5.0 * 0.5 / 255 if packed else ROUNDING
    for x, y in zip(found[1:], means[1:], strict=True):
        np.testing.assert_allclose(x, y, atol=allowed)
    for x, before in zip(start, kept, strict=True):
        np.testing.assert_array_equal(x, before)


def test_rows_whose_sweeps_go_apart_learn_by_mean_field():
    """Catches an update by the means of a sweep that goes round in circles; a row that hides it."""
    model, v = deep_model(scale=6.0)
    parameters = Parameters(model)
    start = infer(parameters, v, dg.FixedPoint(3, 1e-3))
    found = tap_after_mean_field(parameters, start, 4, 1e-3)
    kept = [(x == y).all(axis=1) for x, y in zip(found[1:], start[1:], strict=True)]
    assert (kept[0] == kept[1]).all()
    assert kept[0].any()
    assert not kept[0].all()
    for row in (kept[0].argmax(), kept[0].argmin()):
        alone = tap_after_mean_field(parameters, [x[row : row + 1] for x in start], 4, 1e-3)
        np.testing.assert_array_equal(alone[2], found[2][row : row + 1])


def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path):
    """Catches a rule that keeps something between its updates, or is not told apart."""
    X = dg.datasets.sample_bars_and_stripes(60, 3, random_state=0)
    path, settings = tmp_path / "run", {"n_epochs": 4, "batch_size": 20, "random_state": 0}
    start, _ = deep_model((9, 6, 4), scale=1.0)  # of weights that move means by steps

    def machine(rule, **more):
        return dg.DBM((6, 4), rule=rule, pretrained=start, **settings, **more)

    whole = machine(dg.TAPPCD()).fit(X)
    callbacks = [dg.Checkpoint(path, minutes=None), At(fail, epoch=2)]
    with pytest.raises(Stop):
        machine(dg.TAPPCD(), callbacks=callbacks).fit(X)
    resumed = machine(dg.TAPPCD()).fit(X, resume=path)
    for x, y in zip(whole.model_.weights, resumed.model_.weights, strict=True):
        np.testing.assert_array_equal(x, y)
    assert (whole.model_.weights[1] != machine(dg.MeanFieldPCD()).fit(X).model_.weights[1]).any()
    for other in (dg.MeanFieldPCD(), dg.TAPPCD(tap_sweeps=3)):
        with pytest.raises(ValueError, match="rule"):
            machine(other).fit(X, resume=path)


def test_rows_with_holes_and_labels_are_not_learned():
    """Catches a hole that is taken for a value, and a formula for bits applied to labels."""
    X = dg.datasets.sample_bars_and_stripes(60, 3, random_state=0)
    holes = X.astype(np.float32)
    holes[3, 2] = np.nan
    dbm = dg.DBM((6, 4), rule=dg.TAPPCD(), n_epochs=1)
    with pytest.raises(ValueError, match="NaN in row 3, column 2"):
        dbm.fit(holes)
    with pytest.raises(ValueError, match=r"layers\[3\] must be binary .* use dg.MeanFieldPCD"):
        dbm.set_params(label_units=True).fit(X, X[:, 0])
    labelled = dg.DBM((6, 4), label_units=True, n_epochs=1, random_state=0).fit(X, X[:, 0])
    with pytest.raises(ValueError, match=r"for TAP.* use inference='mean_field'"):
        labelled.score_samples(X, inference="tap")
    with pytest.raises(ValueError, match="tap_sweeps must be a positive integer, got 0"):
        dg.TAPPCD(tap_sweeps=0)


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
