"""The float64 twins (reference.py) and the enumeration (exact.py) against first principles."""

from dataclasses import replace
from itertools import product
from math import comb, log

import exact
import numpy as np
import pytest
import reference as ref

KINDS = ("binary", "copies", "softmax", "gaussian")
PAIRS = [pair for pair in product(KINDS, KINDS) if pair != ("gaussian", "gaussian")]
ROUNDING = {"rtol": 1e-11, "atol": 1e-11}  # float64 sums of a few thousand terms of order one
DIFFERENCE = {"rtol": 1e-9, "atol": 1e-9}  # finite differences: step^4 and rounding / step


def make_layer(kind, rng, size=None):
    """A small layer with random parameters."""
    size = {"binary": 3, "copies": 2, "softmax": 4, "gaussian": 2}[kind] if size is None else size
    bias = rng.normal(0.0, 0.5, size)
    if kind == "copies":
        return ref.Layer("binary", bias, n_copies=3)
    if kind == "softmax":
        return ref.Layer("softmax", bias, group=2)
    if kind == "gaussian":
        return ref.Layer("gaussian", bias, log_precision=rng.normal(0.0, 0.3, size))
    return ref.Layer("binary", bias)


def make_model(kinds, seed):
    """Layers of these kinds and weights between neighbours."""
    rng = np.random.default_rng(seed)
    layers = [make_layer(kind, rng) for kind in kinds]
    weights = [rng.normal(0.0, 0.5, (layers[i].size, layers[i + 1].size))
               for i in range(len(layers) - 1)]
    return layers, weights, rng


def points(layer):
    """States of a layer and the logs of their volumes; gaussian: a wide grid (trapezoid rule)."""
    if layer.kind != "gaussian":
        states = exact.layer_states(layer)
        return states, np.zeros(len(states))
    step, axis = 0.25, np.arange(-22.0, 22.01, 0.25)  # 10 deviations at the lowest beta
    states = np.stack(np.meshgrid(*[axis] * layer.size, indexing="ij"), axis=-1)
    states = states.reshape(-1, layer.size)
    return states, np.full(len(states), layer.size * log(step))


def draw_rows(layer, n_rows, rng):
    """Some states of a layer, from its units without neighbours."""
    return exact.sample([layer], [], n_rows, rng)[0]


# ---------------------------------------------------------------------------- random numbers


@pytest.mark.parametrize(("counter", "key", "expected"), ref.PHILOX_ANSWERS)
def test_philox_known_answers(counter, key, expected):
    """Catches any slip in rounds, constants or word order."""
    np.testing.assert_array_equal(ref.philox4x32(counter, key), expected)
    np.testing.assert_array_equal(ref.philox4x32(np.tile(counter, (2, 3, 1)), key)[1, 2], expected)


def test_uniforms_are_inside_the_open_interval_in_float32():
    """Catches the 24-bit form, whose largest value rounds to 1.0 in float32."""
    ends = ref.uniform(np.array([0, 2**32 - 1], dtype=np.uint32))
    np.testing.assert_array_equal(ends, [2.0**-24, 1.0 - 2.0**-24])
    np.testing.assert_array_equal(ends, ends.astype(np.float32))


def test_site_words_are_a_function_of_the_site():
    """Catches draws that depend on where a batch starts; rows and steps that wrap at 2**32."""
    key, step, purpose = 0x0123456789ABCDEF, 5, 1 << 24
    whole = ref.site_words(key, step, purpose, range(4), range(10))
    np.testing.assert_array_equal(
        ref.site_words(key, step, purpose, [2, 3], [3, 4, 9]), whole[2:][:, [3, 4, 9]]
    )
    counter = np.array([9 // 4, 3, step, purpose], dtype=np.uint32)
    halves = np.array([0x89ABCDEF, 0x01234567], dtype=np.uint32)
    assert whole[3, 9] == ref.philox4x32(counter, halves)[9 % 4]
    others = [
        ref.site_words(key, step, purpose, np.arange(4) + 2**32, range(10)),
        ref.site_words(key, step + 2**32, purpose, range(4), range(10)),
        ref.site_words(key, step + 1, purpose, range(4), range(10)),
        ref.site_words(key, step, purpose + 1, range(4), range(10)),
        ref.site_words(key + 1, step, purpose, range(4), range(10)),
    ]
    assert all((other != whole).mean() > 0.9 for other in others)


def test_normal_pairs_have_normal_moments():
    """Catches a lost factor under the root, or a cosine and a sine of different angles."""
    n = 200_000
    x, y = ref.normal_pair(*np.random.default_rng(1).random((2, n)))
    for z in (x, y):
        assert abs(z.mean()) < 5.0 / np.sqrt(n)
        assert abs((z**2).mean() - 1.0) < 5.0 * np.sqrt(2.0 / n)
        assert abs((z**4).mean() - 3.0) < 5.0 * np.sqrt(96.0 / n)
    assert abs((x * y).mean()) < 5.0 / np.sqrt(n)
    np.testing.assert_allclose(ref.normal_pair(0.5, 0.125), [np.sqrt(log(2.0))] * 2, rtol=1e-14)


# ------------------------------------------------------------------------ elementwise and fields


def test_logistic_and_softplus():
    """Catches overflow at large fields and a twin that is no derivative of the other."""
    x = np.linspace(-30.0, 30.0, 61)
    np.testing.assert_allclose(ref.logistic(x) + ref.logistic(-x), 1.0, rtol=1e-14)
    np.testing.assert_allclose(ref.softplus(x) - ref.softplus(-x), x, rtol=0, atol=1e-14)
    slope = [ref.finite_difference(ref.softplus, value) for value in x]
    np.testing.assert_allclose(ref.logistic(x), slope, **DIFFERENCE)
    np.testing.assert_array_equal(ref.logistic([-1e4, 0.0, 1e4]), [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(ref.softplus([-1e4, 1e4]), [0.0, 1e4])


def test_row_softmax():
    """Catches groups that run over rows, and overflow at large fields."""
    x = np.array([[0.0, np.log(2.0), np.log(5.0), 1e4, 0.0, -1e4]])
    expected = [[1 / 8, 2 / 8, 5 / 8, 1.0, 0.0, 0.0]]
    np.testing.assert_allclose(ref.row_softmax(x, 3), expected, rtol=1e-14)
    two_rows = np.concatenate([x + 3.0, x])
    np.testing.assert_allclose(ref.row_softmax(two_rows, 3), expected * 2, rtol=1e-12)


def test_field_by_loops():
    """Catches a transposed matrix, a wrong neighbour, or beta applied before the bias rows."""
    layers, weights, rng = make_model(("binary", "copies", "softmax"), 2)
    states = [draw_rows(layer, 4, rng) for layer in layers]
    beta = np.array([0.1, 0.5, 1.0, 2.0])
    for index, layer in enumerate(layers):
        bias_rows = rng.normal(size=(4, layer.size))
        expected = np.empty((4, layer.size))
        for row, j in np.ndindex(4, layer.size):
            total = layer.bias[j] + bias_rows[row, j]
            if index > 0:
                for i in range(layers[index - 1].size):
                    total += states[index - 1][row, i] * weights[index - 1][i, j]
            if index < 2:
                for k in range(layers[index + 1].size):
                    total += weights[index][j, k] * states[index + 1][row, k]
            expected[row, j] = beta[row] * total
        found = ref.field(layers, weights, states, index, bias_rows, beta)
        np.testing.assert_allclose(found, expected, **ROUNDING)


# ----------------------------------------------------------------------------- contract of units


@pytest.mark.parametrize("kind", KINDS)
def test_mean_is_derivative_of_log_normalizer(kind):
    """Catches a mean or a normalizer of another distribution, with and without temperature."""
    rng = np.random.default_rng(3)
    layer = make_layer(kind, rng)
    field, beta = rng.normal(0.0, 2.0, (3, layer.size)), np.array([0.3, 1.0, 1.7])
    slope = ref.finite_difference(lambda f: ref.log_normalizer(layer, f, beta).sum(), field)
    np.testing.assert_allclose(ref.mean(layer, field, beta), slope, **DIFFERENCE)


@pytest.mark.parametrize("beta", [0.5, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_log_normalizer_is_the_sum_over_states(kind, beta):
    """Catches a lost 2 pi or binomial factor, and a base measure that is tempered."""
    rng = np.random.default_rng(4)
    layer = make_layer(kind, rng)
    bias_rows = rng.normal(0.0, 0.5, (1, layer.size))
    states, log_volume = points(layer)
    weights = ref.layer_log_weight(layer, states, bias_rows, beta) + log_volume
    field = ref.field([layer], [], [None], 0, bias_rows, beta)
    found = ref.log_normalizer(layer, field, beta)[0]
    np.testing.assert_allclose(found, ref.log_sum_exp(weights), **ROUNDING)
    centre = np.exp(weights - found) @ states
    np.testing.assert_allclose(ref.mean(layer, field, beta)[0], centre, **ROUNDING)


def test_missing_groups_do_not_exist():
    """Catches a missing rating that still adds log k, or that is predicted in the mean."""
    rng = np.random.default_rng(5)
    layer = ref.Layer("softmax", rng.normal(size=9), group=3)
    field = rng.normal(size=(2, 9))
    missing = np.array([[False, True, False], [True, True, True]])
    kept = [0, 1, 2, 6, 7, 8]
    smaller = ref.Layer("softmax", layer.bias[kept], group=3)
    found = ref.log_normalizer(layer, field, missing=missing)
    np.testing.assert_allclose(found[0], ref.log_normalizer(smaller, field[:1, kept])[0])
    assert found[1] == 0.0
    mean = ref.mean(layer, field, missing=missing)
    np.testing.assert_allclose(mean[:1, kept], ref.mean(smaller, field[:1, kept]))
    assert not mean[0, 3:6].any()
    assert not mean[1].any()
    np.testing.assert_array_equal(ref.missing_groups(layer, mean), missing)


def test_copies_are_tied_binary_units():
    """Catches a wrong binomial base measure: three copies equal three units of equal weights."""
    layers, weights, _ = make_model(("copies", "binary"), 6)
    untied = [ref.Layer("binary", np.repeat(layers[0].bias, 3)), layers[1]]
    untied_weights = [np.repeat(weights[0], 3, axis=0)]
    np.testing.assert_allclose(exact.log_partition(layers, weights),
                               exact.log_partition(untied, untied_weights), **ROUNDING)
    states, p = exact.marginal(untied, untied_weights)
    index = exact.layer_index(layers[0], states.reshape(-1, 2, 3).sum(axis=2))
    tied_states, tied = exact.marginal(layers, weights)
    found = np.bincount(index, weights=p, minlength=len(tied_states))
    np.testing.assert_allclose(found, tied, **ROUNDING)


# ---------------------------------------------------------------------------------------- draws


@pytest.mark.parametrize("n_copies", [1, 2, 4])
def test_binary_draw_has_binomial_frequencies(n_copies):
    """Catches an inverse CDF that is off by one; an even grid of uniforms errs by 1 / n at most."""
    n, field = 20_000, np.array([[-1.3, 0.4]])
    layer = ref.Layer("binary", np.zeros(2), n_copies=n_copies)
    grid = np.tile(((np.arange(n) + 0.5) / n)[:, None], (1, 2))
    drawn = ref.draw_binary(layer, np.tile(field, (n, 1)), grid)
    p = 1.0 / (1.0 + np.exp(-field[0]))
    for k in range(n_copies + 1):
        expected = comb(n_copies, k) * p**k * (1.0 - p) ** (n_copies - k)
        assert np.abs((drawn == k).mean(axis=0) - expected).max() <= 1.0 / n
    if n_copies == 1:
        np.testing.assert_array_equal(drawn, grid < p)


def test_softmax_draw_has_softmax_frequencies():
    """Catches an inverse CDF that is off by one, and draws for groups that are missing."""
    n, field = 20_000, np.array([[0.1, -1.0, 2.0, 5.0, 0.0, -5.0]])
    layer = ref.Layer("softmax", np.zeros(6), group=3)
    grid = np.tile(((np.arange(n) + 0.5) / n)[:, None], (1, 2))
    drawn = ref.draw_softmax(layer, np.tile(field, (n, 1)), grid)
    np.testing.assert_array_equal(drawn.reshape(n, 2, 3).sum(axis=2), 1.0)
    assert np.abs(drawn.mean(axis=0) - ref.row_softmax(field, 3)[0]).max() <= 1.0 / n
    assert drawn[0].tolist() == [1, 0, 0, 1, 0, 0]
    missing = np.zeros((n, 2), dtype=bool)
    missing[:, 0] = True
    drawn = ref.draw_softmax(layer, np.tile(field, (n, 1)), grid, missing)
    assert not drawn[:, :3].any()
    assert drawn[:, 3:].sum() == n


def test_gaussian_draw_has_mean_and_variance():
    """Catches a variance in place of a deviation, and a precision that beta does not scale."""
    layer = ref.Layer("gaussian", np.zeros(1), log_precision=np.log([4.0]))
    field, beta = np.array([[2.0], [2.0]]), np.array([1.0, 0.25])
    found = ref.draw_gaussian(layer, field, np.array([[1.0], [-1.0]]), beta)
    np.testing.assert_allclose(found, [[0.5 + 0.5], [2.0 - 1.0]], rtol=1e-14)


# ----------------------------------------------------------------------------------- energies


def test_energy_by_loops():
    """Catches a sign, a missing factor 1/2, or a layer that is left out of a deep energy."""
    layers, weights, rng = make_model(("gaussian", "copies", "softmax"), 7)
    v, h1, h2 = [draw_rows(layer, 1, rng) for layer in layers]
    expected = 0.0
    for i in range(2):
        expected -= layers[0].bias[i] * v[0, i]
        expected += np.exp(layers[0].log_precision[i]) * v[0, i] ** 2 / 2.0
        expected -= layers[1].bias[i] * h1[0, i] + log(comb(3, int(h1[0, i])))
        for j in range(2):
            expected -= v[0, i] * weights[0][i, j] * h1[0, j]
        for k in range(4):
            expected -= h1[0, i] * weights[1][i, k] * h2[0, k]
    for k in range(4):
        expected -= layers[2].bias[k] * h2[0, k]
    np.testing.assert_allclose(ref.energy(layers, weights, [v, h1, h2]), [expected], **ROUNDING)


@pytest.mark.parametrize(("visible", "hidden"), PAIRS)
def test_free_energy_sums_the_hidden_layer_out(visible, hidden):
    """Catches a free energy of another model than the energy's, bias rows and beta included."""
    layers, weights, rng = make_model((visible, hidden), 8)
    v = draw_rows(layers[0], 3, rng)
    bias_rows, beta = rng.normal(0.0, 0.5, (3, layers[1].size)), np.array([0.4, 1.0, 1.3])
    h, log_volume = points(layers[1])
    for row in range(3):
        states = [np.tile(v[row], (len(h), 1)), h]
        joint = ref.log_weight(layers, weights, states, [None, bias_rows[row]], beta[row])
        found = ref.free_energy(layers, weights, v[row : row + 1], bias_rows[row], beta[row])
        np.testing.assert_allclose(found, -ref.log_sum_exp(joint + log_volume), **ROUNDING)
    all_rows = ref.free_energy(layers, weights, v, bias_rows, beta)
    np.testing.assert_allclose(all_rows[-1:], found, **ROUNDING)


# --------------------------------------------------------------------------------- enumeration


@pytest.mark.parametrize("kinds", [*PAIRS, ("binary", "copies", "softmax"),
                                   ("gaussian", "binary", "copies"), ("binary",) * 4,
                                   ("binary", "gaussian", "binary")])
def test_log_partition_sums_over_all_layers(kinds):
    """Catches states left out or counted twice, and a wrong integral of a gaussian layer."""
    layers, weights, _ = make_model(kinds, 9)
    grids = [points(layer) for layer in layers]
    for beta in (0.6, 1.0):
        total = [grids[0][1] + ref.layer_log_weight(layers[0], grids[0][0], None, beta)]
        for index, w in enumerate(weights):  # messages upwards: sum one layer out after the other
            lower, upper = grids[index][0], grids[index + 1][0]
            message = ref.log_sum_exp(beta * (upper @ w.T) @ lower.T + total[-1])
            own = ref.layer_log_weight(layers[index + 1], upper, None, beta)
            total.append(message + own + grids[index + 1][1])
        found = exact.log_partition(layers, weights, beta=beta)
        np.testing.assert_allclose(found, ref.log_sum_exp(total[-1]), **ROUNDING)


def test_joint_states_are_all_different_and_indexed():
    """Catches an index that maps a state to the frequency bin of another."""
    layers, weights, _ = make_model(("softmax", "gaussian", "copies"), 10)
    found = exact.enumerate_states(layers, weights)
    assert len(found.log_weights) == 4 * 16
    np.testing.assert_array_equal(exact.joint_index(layers, found.states), np.arange(64))
    assert len(np.unique(np.concatenate(found.states[::2], axis=1), axis=0)) == 64
    missing = [np.array([False, True]), None, None]
    found = exact.enumerate_states(layers, weights, missing=missing)
    assert not found.states[0][:, 2:].any()
    np.testing.assert_array_equal(exact.joint_index(layers, found.states, missing), np.arange(32))


@pytest.mark.parametrize("kinds", [*PAIRS, ("softmax", "binary", "copies")])
def test_log_likelihood_is_a_distribution(kinds):
    """Catches a clamped sum that belongs to another model than log Z."""
    layers, weights, _ = make_model(kinds, 11)
    v, log_volume = points(layers[0])
    if kinds[0] == "gaussian":  # with the free energy: a grid is long for row by row enumeration
        found = -ref.free_energy(layers, weights, v) - exact.log_partition(layers, weights)
        some = slice(None, None, 397)
        np.testing.assert_allclose(
            exact.log_likelihood(layers, weights, v[some]), found[some], **ROUNDING
        )
    else:
        found = exact.log_likelihood(layers, weights, v)
        np.testing.assert_allclose(np.exp(found), exact.marginal(layers, weights)[1], **ROUNDING)
    np.testing.assert_allclose(ref.log_sum_exp(found + log_volume), 0.0, **ROUNDING)


@pytest.mark.parametrize("kind", ["binary", "copies", "softmax"])
def test_conditional_of_a_layer_follows_from_its_field(kind):
    """Catches a conditional with the wrong neighbours, and enumeration that ignores a clamp."""
    layers, weights, rng = make_model(("binary", kind, "gaussian"), 12)
    v, h, top = [draw_rows(layer, 1, rng) for layer in layers]
    rows = [None, rng.normal(size=layers[1].size), None]
    field = ref.field(layers, weights, [v, h, top], 1, rows[1], 0.7)
    clamped = {0: v[0], 2: top[0]}
    states, p = exact.conditional(layers, weights, 1, clamped, rows, 0.7)
    expected = states @ field[0] + ref.log_base_measure(layers[1], states)
    expected -= ref.log_normalizer(layers[1], field, 0.7)
    np.testing.assert_allclose(p, np.exp(expected), **ROUNDING)
    centre = exact.expectation(layers, weights, rows, 0.7, clamped=clamped)
    np.testing.assert_allclose(centre[1], ref.mean(layers[1], field, 0.7)[0], **ROUNDING)
    np.testing.assert_allclose(centre[0], v[0], rtol=1e-14)
    np.testing.assert_allclose(centre[2], top[0], rtol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_a_partly_clamped_layer_sums_its_free_units_out(kind):
    """Catches an imputation target that ignores what is held, or holds the wrong entries."""
    layers, weights, rng = make_model((kind, "binary"), 13)
    v = draw_rows(layers[0], 1, rng)[0]
    states, log_volume = points(layers[0])
    held = np.full(layers[0].size, np.nan)
    n_held = 2 if kind == "softmax" else 1
    held[:n_held] = states[len(states) // 3, :n_held] if kind == "gaussian" else v[:n_held]
    kept = (states[:, :n_held] == held[:n_held]).all(axis=1)
    joint = log_volume[kept] - ref.free_energy(layers, weights, states[kept])
    if kind == "gaussian":
        joint = joint - log(0.25)  # the held unit has no volume
    found = exact.log_partition(layers, weights, clamped={0: held})
    np.testing.assert_allclose(found, ref.log_sum_exp(joint), **ROUNDING)
    expected = np.exp(joint - found) @ states[kept]
    centre = exact.expectation(layers, weights, clamped={0: held})[0]
    np.testing.assert_allclose(centre, expected, **ROUNDING)


def test_beta_and_bias_rows_are_another_model():
    """Catches a temperature or bias row that reaches only a part of the parameters."""
    layers, weights, rng = make_model(("gaussian", "binary", "softmax"), 14)
    rows = [rng.normal(0.0, 0.5, (2, layer.size)) for layer in layers]
    beta = np.array([0.5, 1.2])
    v = draw_rows(layers[0], 2, rng)
    found = exact.log_likelihood(layers, weights, v, bias_rows=rows, beta=beta)
    for row in range(2):
        own = [replace(layer, bias=beta[row] * (layer.bias + extra[row]))
               for layer, extra in zip(layers, rows, strict=True)]
        own[0] = replace(own[0], log_precision=own[0].log_precision + log(beta[row]))
        expected = exact.log_likelihood(own, [beta[row] * w for w in weights], v[row : row + 1])
        np.testing.assert_allclose(found[row : row + 1], expected, **ROUNDING)


def test_missing_groups_give_the_smaller_model():
    """Catches unrated items that still take part in a row's own log Z."""
    layers, weights, _ = make_model(("softmax", "binary"), 15)
    v = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    missing = [ref.missing_groups(layers[0], v), None]
    found = exact.log_likelihood(layers, weights, v, missing=missing)
    smaller = [ref.Layer("softmax", layers[0].bias[:2], group=2), layers[1]]
    expected = exact.log_likelihood(smaller, [weights[0][:2]], v[:1, :2])
    np.testing.assert_allclose(found[:1], expected, **ROUNDING)
    np.testing.assert_allclose(found[1:2], exact.log_likelihood(layers, weights, v[1:2]))
    np.testing.assert_allclose(found[2], 0.0, **ROUNDING)


# ----------------------------------------------------------------------------------- gradients


def slopes(function, layers, weights):
    """Finite differences of function(layers, weights) by every parameter."""

    def with_weights(index):
        return lambda w: function(layers, [*weights[:index], w, *weights[index + 1 :]])

    def with_layer(index, name):
        return lambda x: function(
            [*layers[:index], replace(layers[index], **{name: x}), *layers[index + 1 :]], weights
        )

    return ref.Gradient(
        [ref.finite_difference(with_weights(i), w) for i, w in enumerate(weights)],
        [ref.finite_difference(with_layer(i, "bias"), layer.bias)
         for i, layer in enumerate(layers)],
        [ref.finite_difference(with_layer(i, "log_precision"), layer.log_precision)
         if layer.kind == "gaussian" else None for i, layer in enumerate(layers)],
    )


def assert_gradients_close(found, expected):
    """Compare part by part."""
    for name in ("weights", "biases", "log_precisions"):
        pairs = zip(getattr(found, name), getattr(expected, name), strict=True)
        for index, (one, other) in enumerate(pairs):
            assert (one is None) == (other is None), f"{name}[{index}]"
            if one is not None:
                np.testing.assert_allclose(one, other, **DIFFERENCE, err_msg=f"{name}[{index}]")


@pytest.mark.parametrize("kinds", [*PAIRS, ("binary", "softmax", "copies")])
def test_exact_gradient_is_derivative_of_log_likelihood(kinds):
    """Catches a phase with the wrong sign, and a second moment without its variance."""
    layers, weights, rng = make_model(kinds, 16)
    v = draw_rows(layers[0], 2, rng)

    def objective(layers, weights):
        return exact.log_likelihood(layers, weights, v).mean()

    assert_gradients_close(exact.gradient(layers, weights, v), slopes(objective, layers, weights))


def test_exact_gradient_with_bias_rows_and_missing_groups():
    """Catches a negative phase that is shared by rows whose distributions differ."""
    layers, weights, rng = make_model(("softmax", "binary"), 17)
    v = np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]])
    own = {"bias_rows": [None, rng.normal(size=(2, 3))],
           "missing": [ref.missing_groups(layers[0], v), None]}

    def objective(layers, weights):
        return exact.log_likelihood(layers, weights, v, **own).mean()

    found = exact.gradient(layers, weights, v, **own)
    assert_gradients_close(found, slopes(objective, layers, weights))


@pytest.mark.parametrize("kinds", [*PAIRS, ("gaussian", "binary", "copies")])
def test_gradient_of_states_is_derivative_of_energies(kinds):
    """Catches phases divided by the wrong row count, and the sign or half of log_precision."""
    layers, weights, rng = make_model(kinds, 18)
    positive = [draw_rows(layer, 5, rng) for layer in layers]
    negative = [draw_rows(layer, 3, rng) for layer in layers]

    def objective(layers, weights):
        return (ref.energy(layers, weights, negative).mean()
                - ref.energy(layers, weights, positive).mean())

    found = ref.gradient(layers, positive, negative)
    assert_gradients_close(found, slopes(objective, layers, weights))


def test_centred_gradient_is_the_gradient_of_centred_parameters():
    """Catches a wrong change of variables: b = b' - W lam, c = c' - W^T mu, b' and c' centred."""
    layers, weights, rng = make_model(("binary", "copies"), 19)
    positive = [draw_rows(layer, 6, rng) for layer in layers]
    negative = [draw_rows(layer, 4, rng) for layer in layers]
    mu, lam = rng.random(3), rng.random(2)

    def objective(w, b, c):  # b and c are the centred biases
        plain = [replace(layers[0], bias=b - w @ lam), replace(layers[1], bias=c - w.T @ mu)]
        return (ref.energy(plain, [w], negative).mean() - ref.energy(plain, [w], positive).mean())

    w = weights[0]
    b, c = layers[0].bias + w @ lam, layers[1].bias + w.T @ mu
    d_w = ref.finite_difference(lambda x: objective(x, b, c), w)
    d_b = ref.finite_difference(lambda x: objective(w, x, c), b)
    d_c = ref.finite_difference(lambda x: objective(w, b, x), c)
    found = ref.centred_gradient(layers, positive, negative, mu, lam)
    expected = ref.Gradient([d_w], [d_b - d_w @ lam, d_c - d_w.T @ mu], [None, None])
    assert_gradients_close(found, expected)
    plain = ref.centred_gradient(layers, positive, negative, np.zeros(3), np.zeros(2))
    assert_gradients_close(plain, ref.gradient(layers, positive, negative))


def test_centred_gradient_does_not_see_flipped_bits():
    """Catches offsets of one phase only: coding 0 as 1 must change parameters, not the model."""
    layers, _, rng = make_model(("binary", "binary"), 20)
    phases = [[draw_rows(layer, n, rng) for layer in layers] for n in (6, 4)]
    mu, lam = rng.random(3), rng.random(3)
    one = ref.centred_gradient(layers, *phases, mu, lam)
    flipped = ref.centred_gradient(layers, *[[1.0 - v, h] for v, h in phases], 1.0 - mu, lam)
    np.testing.assert_allclose(flipped.weights[0], -one.weights[0], **ROUNDING)
    np.testing.assert_allclose(flipped.biases[0], -one.biases[0], **ROUNDING)
    expected = one.biases[1] + one.weights[0].sum(axis=0)
    np.testing.assert_allclose(flipped.biases[1], expected, **ROUNDING)


# --------------------------------------------------------------------------------------- steps


def test_sgd_step_by_hand():
    """Catches decay that skips the velocity, descent in place of ascent, a dampened gradient."""
    w, velocity = ref.sgd_step(2.0, 0.5, 3.0, 0.1, momentum=0.9, weight_decay=0.25)
    np.testing.assert_allclose([w, velocity], [2.295, 2.95], rtol=1e-14)
    w, velocity = 0.0, 0.0
    for _ in range(10):
        w, velocity = ref.sgd_step(w, velocity, 1.0, 0.1, momentum=0.5)
    np.testing.assert_allclose(velocity, (1 - 0.5**10) / 0.5, rtol=1e-14)


def test_tail_average_is_the_mean():
    """Catches a count that is off by one."""
    steps = np.random.default_rng(21).normal(size=(7, 3))
    average = np.zeros(3)
    for count, step in enumerate(steps, start=1):
        average = ref.tail_average(average, step, count)
    np.testing.assert_allclose(average, steps.mean(axis=0), **ROUNDING)


def test_adam_step_from_weighted_sums():
    """Catches a bias correction of the wrong step, and epsilon inside the root."""
    gradients, rate, epsilon = np.array([0.5, -2.0, 1.0]), 0.01, 1e-3
    w, first, second = 0.0, 0.0, 0.0
    expected = 0.0
    for t in range(1, 4):
        gradient = gradients[t - 1]
        w, first, second = ref.adam_step(w, first, second, gradient, t, rate, epsilon=epsilon)
        seen = gradients[:t]
        decays = 0.9 ** np.arange(t)[::-1], 0.999 ** np.arange(t)[::-1]
        centre = (decays[0] @ seen) / decays[0].sum()
        square = (decays[1] @ seen**2) / decays[1].sum()
        expected += rate * centre / (np.sqrt(square) + epsilon)
        np.testing.assert_allclose(w, expected, rtol=1e-12)


# ------------------------------------------------------------------------------------ annealing


@pytest.mark.parametrize(("visible", "hidden"), PAIRS)
def test_annealed_model_is_the_model_of_interpolated_parameters(visible, hidden):
    """Catches a bridge that is not the base at 0 or the model at 1, and tempered base measures."""
    layers, weights, rng = make_model((visible, hidden), 22)
    base = [make_layer(visible, rng), make_layer(hidden, rng)]
    v = draw_rows(layers[0], 5, rng)
    beta = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    found = ref.annealed_log_weight(layers, weights, base, [v, None], beta)
    for row, b in enumerate(beta):
        between = []
        for start, end in zip(base, layers, strict=True):
            layer = replace(start, bias=(1 - b) * start.bias + b * end.bias)
            if layer.kind == "gaussian":
                layer.log_precision = np.log((1 - b) * start.precision + b * end.precision)
            between.append(layer)
        expected = -ref.free_energy(between, [b * weights[0]], v[row : row + 1])
        np.testing.assert_allclose(found[row : row + 1], expected, **ROUNDING)
    np.testing.assert_allclose(-found[-1:], ref.free_energy(layers, weights, v[-1:]), **ROUNDING)


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("kinds", [("gaussian", "binary", "copies"),
                                   ("softmax", "binary", "gaussian", "binary")])  # fmt: skip
def test_annealed_log_weight_sums_the_other_parity_out(kinds, kept):
    """Catches a layer that is left out or counted twice, and fields of one neighbour only."""
    layers, weights, rng = make_model(kinds, 27)
    base = [make_layer(kind, rng) for kind in kinds]
    states = [draw_rows(layer, 4, rng) for layer in layers]
    for beta in (0.0, 0.4, 1.0):
        found = ref.annealed_log_weight(layers, weights, base, states, beta, kept)
        between = []
        for start, end in zip(base, layers, strict=True):
            layer = replace(start, bias=(1 - beta) * start.bias + beta * end.bias)
            if layer.kind == "gaussian":
                layer.log_precision = np.log((1 - beta) * start.precision + beta * end.precision)
            between.append(layer)
        expected = [
            exact.log_partition(
                between, [beta * w for w in weights],
                clamped={l: states[l][row] for l in range(kept, len(kinds), 2)},
            )
            for row in range(4)
        ]  # fmt: skip
        np.testing.assert_allclose(found, expected, **ROUNDING)


@pytest.mark.parametrize("kind", KINDS)
def test_base_log_partition_sums_the_base(kind):
    """Catches an AIS base whose log Z leaves the hidden layer out."""
    layers, weights, rng = make_model((kind, "copies"), 23)
    base = [make_layer(kind, rng), make_layer("copies", rng)]
    v, log_volume = points(layers[0])
    found = ref.annealed_log_weight(layers, weights, base, [v, None], 0.0) + log_volume
    np.testing.assert_allclose(ref.base_log_partition(base), ref.log_sum_exp(found), **ROUNDING)


# ---------------------------------------------------------------------------- draws and distance


def test_total_variation():
    """Catches a lost factor 1/2."""
    assert exact.total_variation([1.0, 0.0], [0.0, 1.0]) == 1.0
    assert exact.total_variation([0.5, 0.5], [0.25, 0.75]) == 0.25


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_monte_carlo_floor_by_summing_binomials(n):
    """Catches De Moivre's formula with a wrong m (whole n p included)."""
    p = np.array([0.5, 0.25, 0.2, 0.05, 0.0])
    expected = sum(
        comb(n, k) * q**k * (1 - q) ** (n - k) * abs(k / n - q) / 2 for q in p for k in range(n + 1)
    )
    np.testing.assert_allclose(exact.monte_carlo_floor(p, n), expected, rtol=1e-12)
    assert exact.monte_carlo_floor([1.0, 0.0], n) == 0.0


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_sample_reaches_the_monte_carlo_floor(beta):
    """Catches draws from another distribution; one draw moves the distance by 1 / n at most."""
    layers, weights, rng = make_model(("binary", "softmax", "copies"), 24)
    n = 50_000
    p = exact.enumerate_states(layers, weights, beta=beta).probabilities
    index = exact.joint_index(layers, exact.sample(layers, weights, n, rng, beta=beta))
    distance = exact.total_variation(exact.frequencies(index, len(p)), p)
    floor, deviation = exact.monte_carlo_floor(p, n), 0.5 / np.sqrt(n)
    assert abs(distance - floor) < 5.0 * deviation


def test_sample_gives_each_row_its_own_distribution():
    """Catches rows that are drawn with a neighbour's bias row, temperature, gap or clamp."""
    layers, weights, rng = make_model(("softmax", "gaussian", "binary"), 25)
    n = 20_000
    kind = rng.integers(0, 2, n)
    rows, beta = rng.normal(size=(2, 2)), np.array([0.5, 1.5])
    missing = np.array([[False, True], [False, False]])
    drawn = exact.sample(layers, weights, n, rng, [None, rows[kind], None], beta[kind],
                         [missing[kind], None, None], clamped={2: [1.0, np.nan, 0.0]})
    for k in range(2):
        own = [None, rows[k], None], beta[k], [missing[k], None, None], {2: [1.0, np.nan, 0.0]}
        found = exact.enumerate_states(layers, weights, *own)
        for x, centre, variance in zip(drawn, found.states, found.variances, strict=True):
            expected = found.probabilities @ centre
            spread = found.probabilities @ (centre**2 + variance) - expected**2
            error = np.sqrt(np.maximum(spread, 0.0) / (kind == k).sum())
            assert (np.abs(x[kind == k].mean(axis=0) - expected) <= 5.0 * error + 1e-12).all()
            noise = x[kind == k].var(axis=0) - spread  # |x - mean|^4 of a unit here is below 12 s^4
            assert (np.abs(noise) <= 5.0 * spread * np.sqrt(12.0 / (kind == k).sum()) + 1e-12).all()


def test_refusals_name_the_reason():
    """Catches silent nonsense for models that cannot be enumerated."""
    rng = np.random.default_rng(26)
    pair = [make_layer("gaussian", rng), make_layer("gaussian", rng)]
    with pytest.raises(ValueError, match="neighbouring gaussian"):
        exact.log_partition(pair, [np.zeros((2, 2))])
    with pytest.raises(ValueError, match="too many"):
        exact.log_partition([ref.Layer("binary", np.zeros(40))], [])
    with pytest.raises(ValueError, match="agrees"):
        exact.log_partition([ref.Layer("binary", np.zeros(2))], [], clamped={0: [0.5, 1.0]})
