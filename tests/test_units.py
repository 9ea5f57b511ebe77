"""Unit types: one contract for all of them, and what each refuses."""

import pickle

import exact
import numpy as np
import pytest
import reference
from conftest import (
    FIVE_SIGMA_PROBABILITY,
    FLOAT32_ROUNDING,
    KINDS,
    SMALL,
    assert_float32_close,
    assert_mean,
    assert_same_bits,
    assert_within_errors,
    random_states,
    random_units,
    twin_layer,
)
from scipy import sparse, stats

import deepgen as dg
from deepgen.layers.named import as_units

STREAM = dg.Stream(0xA5A5A5A5DEADBEEF, 3)


def units_of(kind, seed=1, size=None):
    """Units with random parameters."""
    return random_units(kind, np.random.default_rng(seed), size)


def fields_of(units, n_rows=20, seed=2):
    """Fields of order two, exact in float32."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.0, 2.0, (n_rows, units.size)).astype(np.float32)


# ------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("kind", KINDS)
def test_log_normalizer_equals_reference(kind):
    """Catches a lost 2 pi, a number of copies that is left out, float32 in an exact path."""
    units = units_of(kind)
    field = fields_of(units)
    expected = reference.log_normalizer(twin_layer(units), field)
    np.testing.assert_allclose(units.log_normalizer(field), expected, rtol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_mean_is_the_derivative_of_the_log_normalizer(kind):
    """Catches a mean of another distribution than the normalizer's."""
    units = units_of(kind)
    field = fields_of(units, 3)
    slope = reference.finite_difference(lambda f: units.log_normalizer(f).sum(), field)
    assert_float32_close(units.mean(field), slope, np.abs(field), 1, 2.0 * units.n_copies, 32)


@pytest.mark.parametrize("kind", KINDS)
def test_energy_is_minus_the_log_weight(kind):
    """Catches a sign, a lost half, a lost binomial factor, or a missing group that has energy."""
    units = units_of(kind)
    x = random_states(units, 30, np.random.default_rng(3))
    expected = -reference.layer_log_weight(twin_layer(units), x)
    for form in (x, x.astype(np.float32), sparse.csr_array(x)):
        np.testing.assert_allclose(units.energy(form), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_moments_are_minus_the_derivatives_of_the_energy(kind):
    """Catches a moment with the wrong sign or factor, and a parameter without a moment."""
    units = units_of(kind)
    layer = twin_layer(units)
    x = random_states(units, 30, np.random.default_rng(4))
    found = units.moments(x)
    assert set(found) == set(units.parameters())
    for name, moment in found.items():
        def log_weight(value, name=name):
            changed = {"bias": layer.bias, "log_precision": layer.log_precision, name: value}
            own = reference.Layer(layer.kind, changed["bias"], layer.n_copies, layer.group,
                                  changed["log_precision"])
            return reference.layer_log_weight(own, x).mean()

        slope = reference.finite_difference(log_weight, getattr(layer, name))
        np.testing.assert_allclose(moment, slope, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", ["binary", "copies", "softmax"])
def test_draws_have_the_exact_frequencies(kind):
    """Catches an inverse CDF that is off by one, and neighbours that share a uniform."""
    units = units_of(kind)
    n = 20_000
    field = fields_of(units, 1) / 2.0
    draws = units.sample(np.repeat(field, n, axis=0), STREAM)
    assert draws.dtype == np.uint8
    layer = twin_layer(units.replace(bias=field[0]))
    states = exact.layer_states(layer)
    weights = reference.layer_log_weight(layer, states)
    p = np.exp(weights - reference.log_sum_exp(weights))
    counts = np.bincount(exact.layer_index(layer, draws), minlength=len(p))
    assert stats.chisquare(counts, n * p).pvalue > FIVE_SIGMA_PROBABILITY


def test_gaussian_draws_are_normal_and_independent():
    """Catches a variance in place of a deviation, and pairs whose sine and cosine are related."""
    units = units_of("gaussian", size=5)
    n = 20_000
    field = fields_of(units, 1)
    draws = units.sample(np.repeat(field, n, axis=0), STREAM)
    assert draws.dtype == np.float32
    precision = units.precision.astype(np.float64)
    z = (draws - field / precision) * np.sqrt(precision)
    for column in z.T:
        assert stats.kstest(column, "norm").pvalue > FIVE_SIGMA_PROBABILITY
    for other in (z, z**2 - 1.0):
        for power in (z, z**2 - 1.0):
            products = power[:, :, None] * other[:, None, :]
            same = np.eye(5)[None] * (power * other)[:, :, None]
            assert_mean(products - same, 0.0)
    assert_mean(z[1:] * z[:-1], 0.0)


@pytest.mark.parametrize("n_copies", range(2, 9))
def test_copies_are_binomial(n_copies):
    """Catches an inverse CDF that underflows: many copies, or copies that are nearly certain."""
    n = 4_000
    field = np.repeat(np.array([[-6.0, -2.0, 0.0, 1.0, 4.0, 6.0]], np.float32), n, axis=0)
    units = dg.Binary(6, n_copies=n_copies)
    draws = units.sample(field, STREAM)
    p = reference.logistic(field[0])
    spread = n_copies * p * (1.0 - p)
    assert_within_errors(draws.mean(axis=0), n_copies * p, np.sqrt(spread / n))
    kurtosis = 3.0 + (1.0 - 6.0 * p * (1.0 - p)) / spread
    assert_within_errors(draws.var(axis=0), spread, spread * np.sqrt((kurtosis - 1.0) / n))


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_fields_keep_units_finite_and_certain(kind):
    """Catches overflow, and draws that leave the state space, at fields of 1e4."""
    units = units_of(kind)
    field = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    field = np.repeat(field, -(-units.size // 2), axis=0).reshape(2, -1)[:, : units.size]
    mean, draws = units.mean(field), units.sample(field, STREAM)
    assert np.isfinite(mean).all()
    assert np.isfinite(draws).all()
    expected = reference.log_normalizer(twin_layer(units), field)
    np.testing.assert_allclose(units.log_normalizer(field), expected, rtol=1e-13)
    if kind in ("binary", "copies"):
        np.testing.assert_array_equal(draws, np.where(field > 0, units.n_copies, 0))
    if kind == "softmax":
        np.testing.assert_array_equal(draws.reshape(2, -1, units.group).sum(axis=2), 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 33])
def test_any_size_and_no_rows(kind, size):
    """Catches a layer of one unit, a last tile of one column, or an empty batch that fails."""
    units = units_of(kind, size=3 * size if kind == "softmax" else size)
    for n_rows in (0, 1, 3):
        field = fields_of(units, n_rows)
        assert units.mean(field).shape == field.shape
        assert units.sample(field, STREAM).shape == field.shape
        assert units.log_normalizer(field).shape == (n_rows,)
        assert units.energy(units.sample(field, STREAM)).shape == (n_rows,)


@pytest.mark.parametrize("kind", KINDS)
def test_fitted_to_matches_the_moments_of_the_data(kind):
    """Catches visible biases that start elsewhere than at the data's own log odds."""
    units = units_of(kind)
    rng = np.random.default_rng(5)
    x = random_states(units, 500, rng).astype(np.float64)
    if kind == "softmax":
        x = np.eye(3)[rng.integers(0, 3, (500, 2))].reshape(500, 6)
    fitted = units.fitted_to(x.mean(axis=0), x.var(axis=0), len(x))
    mean = fitted.mean(fitted.bias[None])[0]
    if kind == "gaussian":
        np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(1.0 / fitted.precision, x.var(axis=0), rtol=1e-5)
    else:  # smoothed by at most one row
        np.testing.assert_allclose(mean, x.mean(axis=0), rtol=0, atol=units.n_copies / 500)


@pytest.mark.parametrize("kind", KINDS)
def test_fitted_to_stays_finite_for_constant_columns(kind):
    """Catches infinite log odds of a pixel that is always black, and an infinite precision."""
    units = units_of(kind)
    for value in (0.0, 1.0):
        fitted = units.fitted_to(np.full(units.size, value), np.zeros(units.size), 10)
        for parameter in fitted.parameters().values():
            assert np.isfinite(parameter).all()


@pytest.mark.parametrize("kind", KINDS)
def test_field_of_is_the_inverse_of_the_mean(kind):
    """Catches grey values that are imputed from another distribution than their means name."""
    units = units_of(kind)
    mean = units.mean(fields_of(units))
    again = units.mean(units.field_of(mean))
    np.testing.assert_allclose(again, mean, rtol=1e-4, atol=1e-6)
    certain = np.zeros((1, units.size), np.float32)
    certain[:, :: units.group] = units.n_copies
    fields = units.field_of(certain)
    assert np.isfinite(fields).all()
    np.testing.assert_allclose(units.mean(fields), certain, rtol=1e-6, atol=1e-6)


# ----------------------------------------------------------------------------- plain data


@pytest.mark.parametrize("kind", KINDS)
def test_units_are_read_only_values(kind):
    """Catches a parameter that changes behind the model's version, or is lost on the way."""
    units = units_of(kind)
    for name, parameter in units.parameters().items():
        assert parameter.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            parameter[0] = 0.0
        changed = units.replace(**{name: parameter + 1.0})
        assert type(changed) is type(units)
        assert_same_bits(getattr(changed, name), parameter + np.float32(1.0))
        assert changed.options() == units.options()
    again = pickle.loads(pickle.dumps(units))
    for name, parameter in units.parameters().items():
        assert_same_bits(again.parameters()[name], parameter)


def test_a_bias_is_copied():
    """Catches a layer that changes with the caller's array."""
    bias = np.zeros(3, np.float32)
    units = dg.Binary(bias=bias)
    bias[0] = 5.0
    np.testing.assert_array_equal(units.bias, 0.0)


def test_sized_makes_the_layer_that_a_description_stands_for():
    """Catches options that are lost when the size becomes known."""
    assert dg.Binary(n_copies=2).sized(4).n_copies == 2
    assert dg.Softmax(3).sized(6).group == 3
    assert not dg.Gaussian(learn_precision=False).sized(2).learn_precision
    layer = dg.Binary(4)
    assert layer.sized(4) is layer
    with pytest.raises(ValueError, match="has 4 units, but 5 are needed"):
        layer.sized(5)


def test_as_units_names_the_choices():
    """Catches a misspelt kind that is taken for another."""
    assert isinstance(as_units("binary"), dg.Binary)
    assert isinstance(as_units("gaussian"), dg.Gaussian)
    units = dg.Softmax(5)
    assert as_units(units) is units
    for wrong in ("softmax", 3, None):
        with pytest.raises(ValueError, match="visible must be 'binary', 'gaussian' or a Units"):
            as_units(wrong, "visible")


# -------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dg.Binary(0), "size must be a positive integer"),
        (lambda: dg.Binary(2.5), "size must be a positive integer"),
        (lambda: dg.Binary(2, bias=[0.0]), r"bias must have shape \(2,\)"),
        (lambda: dg.Binary(bias=[0.0, np.nan]), "bias must be finite"),
        (lambda: dg.Binary(bias=[0.0, 1e300]), "bias must be finite"),
        (lambda: dg.Binary(bias=np.zeros((2, 2))), "bias must have a vector"),
        (lambda: dg.Binary(2, n_copies=0), "n_copies must be an integer from 1"),
        (lambda: dg.Binary(2, n_copies=256), "n_copies must be an integer from 1"),
        (lambda: dg.Gaussian(2, log_precision=[0.0]), r"log_precision must have shape \(2,\)"),
        (lambda: dg.Gaussian(2, log_precision=[0.0, np.inf]), "log_precision must be finite"),
        (lambda: dg.Softmax(1, 2), "n_categories must be an integer of at least 2"),
        (lambda: dg.Softmax(3, 4), "need a multiple of 3 columns, got 4"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_wrong_parameters_are_refused(make, message):
    """Catches nonsense that would only show as NaN during training."""
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("units", "row", "message"),
    [
        (dg.Binary(2), [0.0, 1.5], r"values in \[0, 1\] for binary units, got 1.5"),
        (dg.Binary(2), [0.0, -0.1], "got -0.1"),
        (dg.Binary(2), [0.0, np.nan], "must be finite"),
        (dg.Binary(2, n_copies=3), [0.0, 4.0], r"values in \[0, 3\]"),
        (dg.Gaussian(2), [0.0, np.inf], "must be finite"),
        (dg.Gaussian(2), [0.0, np.nan], "must be finite"),
        (dg.Softmax(2, 2), [0.7, 0.7], "one 1 in each group of 2 columns"),
        (dg.Softmax(2, 2), [0.0, 2.0], r"values in \[0, 1\] for softmax"),
    ],
)
def test_check_refuses_what_units_cannot_take(units, row, message):
    """Catches data of another range: sampling from NaN would silently give zeros."""
    row = np.array([row], np.float32)
    for states in (row, dg.Particles([sparse.csr_array(row)])[0]):
        with pytest.raises(ValueError, match=message):
            units.check(states, "X")


def test_check_takes_states_means_and_missing_groups():
    """Catches a check that is stricter than the model: grey pixels, unrated items, no rows."""
    dg.Binary(2).check(np.array([[0.0, 0.5], [1.0, 0.0]], np.float32))
    dg.Binary(2, n_copies=2).check(np.array([[2, 0]], np.uint8))
    dg.Softmax(2, 4).check(np.array([[0, 0, 1, 0]], np.uint8))
    dg.Softmax(2, 2).check(np.array([[0.25, 0.75]], np.float32))
    dg.Gaussian(2).check(np.array([[-1e10, 1e10]], np.float32))
    for kind in KINDS:
        units_of(kind).check(np.zeros((0, SMALL[kind]), np.float32))
    assert dg.Binary(2).is_state(np.array([[0.0, 1.0]], np.float32))
    assert not dg.Binary(2).is_state(np.array([[0.5, 1.0]], np.float32))
    assert dg.Gaussian(2).is_state(np.array([[0.5, 1.0]], np.float32))


def test_missing_names_the_columns_of_empty_groups():
    """Catches ratings that nobody gave being taken for a state, in any form and with no rows."""
    units = dg.Softmax(2, 4)
    rows = np.array([[0, 0, 1, 0], [0, 1, 0, 0]], np.uint8)
    expected = [[True, True, False, False], [False, False, True, True]]
    for states in (rows, dg.Particles([sparse.csr_array(rows)])[0]):
        np.testing.assert_array_equal(units.missing(states), expected)
    assert units.missing(np.array([[0, 1, 1, 0]], np.uint8)) is None
    assert units.missing(np.zeros((0, 4), np.uint8)) is None
    for kind in ("binary", "copies", "gaussian"):
        assert units_of(kind).missing(np.zeros((2, SMALL[kind]), np.float32)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_of_another_shape_is_refused(kind):
    """Catches a read beyond the end of the field: a crash, or a neighbour's memory."""
    units = units_of(kind)
    for shape in ((units.size,), (2, units.size + 1), (2, units.size - 1)):
        for method in (units.mean, units.log_normalizer, units.energy,
                       lambda field: units.sample(field, STREAM)):
            with pytest.raises(ValueError, match=rf"shape \(n_rows, {units.size}\)"):
                method(np.zeros(shape, np.float32))


def test_float32_rounding_of_the_helper():
    """Catches a tolerance helper that is one rounding off: 1 + 2**-24 rounds to 1."""
    assert np.float32(1.0 + FLOAT32_ROUNDING) == 1.0
    assert np.float32(1.0 + 1.01 * FLOAT32_ROUNDING) != 1.0


def test_layers_of_one_form_differ_in_parameters_alone():
    """Catches layers that pass for each other with other groups, copies, sizes or types."""
    forms = [
        units.form
        for units in (
            dg.Binary(12), dg.Binary(6), dg.Binary(12, n_copies=2), dg.Gaussian(12),
            dg.Softmax(3, 12), dg.Softmax(4, 12),
        )
    ]  # fmt: skip
    assert len(set(forms)) == len(forms)
    for kind in KINDS:
        assert units_of(kind, 1, 12).form == units_of(kind, 2, 12).form
