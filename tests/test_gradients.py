"""Phases: the gradient of two sets of states, and the update that is one visit to each tile."""

import numpy as np
import pytest
import reference
from conftest import (
    FLOAT32_ROUNDING,
    PAIRS,
    THREADS,
    assert_float32_close,
    assert_same_bits,
    assert_within_errors,
    in_form,
    random_model,
    random_states,
    twin,
)
from deepgen._kernels import engine

from deepgen.learning.gradients import (
    Phases,
    Step,
    follow_of,
    layer_gradients,
    step_weights,
    weight_gradient,
)
from deepgen.models import Parameters
from deepgen.rows.states import ByteMeans, as_states
from deepgen.rows.sums import column_moments, column_sums, weight_sums
from deepgen.runtime.work import Work

DEEP = [("gaussian", "binary", "copies"), ("binary", "softmax", "gaussian", "binary")]
SIZES = {2: (33, 70), 3: (33, 36, 5), 4: (5, 33, 3, 4)}


def make_case(kinds, seed=1, n_rows=(40, 30), sizes=None):
    """Parameters and the states of two phases: the upper layers of the positive one are means."""
    sizes = SIZES[len(kinds)] if sizes is None else sizes
    sizes = [size // 3 * 3 if kind == "softmax" else size
             for size, kind in zip(sizes, kinds, strict=True)]
    model = random_model(kinds, seed, sizes)
    rng = np.random.default_rng(seed)
    positive, negative = ([random_states(layer, n, rng) for layer in model.layers] for n in n_rows)
    for states in (positive, negative):
        states[-1] = (states[-1] + rng.random(states[-1].shape)).astype(np.float32) / 2
    return Parameters(model), positive, negative


def random_offsets(parameters, rng):
    """Offsets of every layer, as a rule keeps them."""
    return [rng.random(layer.size).astype(np.float32) for layer in parameters.layers]


def gradients_of(parameters, phases, n_threads=None):
    """All gradients: (weights, biases, log precisions)."""
    found = layer_gradients(parameters, phases, Work(n_threads=n_threads))
    weights = [weight_gradient(parameters, phases, l, found.difference,
                               work=Work(n_threads=n_threads))
               for l in range(len(parameters.weights))]
    return weights, found.bias, found.log_precision


def absolute_gradient(layers, positive, negative):
    """The sums of absolute terms of every gradient: the scale of its rounding."""
    sizes = [reference.Layer("binary", layer.bias) for layer in layers]
    return [reference.phase(sizes, [np.abs(x).astype(np.float64) for x in states])
            for states in (positive, negative)]


def assert_weights_close(found, expected, layers, positive, negative, factor=1.0):
    """Compare weight gradients, sums over rows in float32, with float64."""
    n_rows = max(len(positive[0]), len(negative[0]))
    one, other = absolute_gradient(layers, positive, negative)
    for l, gradient in enumerate(found):
        terms = np.max(factor * (one.weights[l] + other.weights[l]))
        assert_float32_close(gradient, expected[l], terms, n_rows)


# -------------------------------------------------------------------------- against the twins


@pytest.mark.parametrize("kinds", [*PAIRS, *DEEP])
def test_gradients_equal_reference(kinds):
    """Catches phases that are divided by one another's number of rows (a bug a peer shipped)."""
    parameters, positive, negative = make_case(kinds)
    layers, _ = twin(parameters.model)
    weights, biases, log_precisions = gradients_of(parameters, Phases(positive, negative))
    expected = reference.gradient(layers, positive, negative)
    assert_weights_close(weights, expected.weights, layers, positive, negative)
    for l, layer in enumerate(layers):
        np.testing.assert_allclose(biases[l], expected.biases[l], rtol=1e-12, atol=1e-12)
        if l == 0 and layer.kind == "gaussian":
            np.testing.assert_allclose(log_precisions[l], expected.log_precisions[l], rtol=1e-10,
                                       atol=1e-10)  # fmt: skip
        else:
            assert log_precisions[l] is None


@pytest.mark.parametrize("kinds", [pair for pair in PAIRS if "gaussian" not in pair])
def test_centred_gradients_equal_reference(kinds):
    """Catches a wrong change of variables from centred to plain parameters."""
    parameters, positive, negative = make_case(kinds)
    layers, _ = twin(parameters.model)
    offsets = random_offsets(parameters, np.random.default_rng(2))
    phases = Phases(positive, negative, offsets)
    weights, biases, _ = gradients_of(parameters, phases)
    mu, lam = (o.astype(np.float64) for o in offsets)
    expected = reference.centred_gradient(layers, positive, negative, mu, lam)
    assert_weights_close(weights, expected.weights, layers, positive, negative, 4.0)
    # biases follow the float32 gradient by the weights: sums over units of it, and of its rounding
    one, other = absolute_gradient(layers, positive, negative)
    terms = 4.0 * (one.weights[0] + other.weights[0])
    sums = reference.follow_sums(terms, mu, lam)
    for found, exact, size in zip(biases, expected.biases, sums, strict=True):
        n_roundings = len(positive[0]) + max(len(mu), len(lam)) + 8
        assert_within_errors(found, exact, 0.0, n_roundings * FLOAT32_ROUNDING * size)


@pytest.mark.parametrize("gained", [False, True])
@pytest.mark.parametrize("kinds", [("gaussian", "binary"), *DEEP])
def test_centring_and_gains_are_a_change_of_parameters(kinds, gained):
    """Catches gains or offsets that reach only a part of the parameters of a deep model.

    W' = W / (g g'), b' = b + sum over neighbours of W o', the neighbour's offset; a step along the
    gradient by W' and b' / g is, in plain parameters, dW = g g' (centred gradient) and
    db = g (plain difference) - sum over neighbours of dW o'.
    """
    parameters, positive, negative = make_case(kinds)
    layers, _ = twin(parameters.model)
    rng = np.random.default_rng(3)
    offsets = random_offsets(parameters, rng)
    gains = None
    if gained:
        gains = [rng.uniform(0.5, 2.0, o.shape).astype(np.float32) for o in offsets]
    weights, biases, log_precisions = gradients_of(
        parameters, Phases(positive, negative, offsets, gains)
    )
    gain = [np.ones(len(o)) if gains is None else gains[l].astype(np.float64)
            for l, o in enumerate(offsets)]
    centred = [[x - o.astype(np.float64) for x, o in zip(states, offsets, strict=True)]
               for states in (positive, negative)]
    plain = reference.gradient(layers, positive, negative)
    steps = [
        (reference.statistics(*centred[0][l : l + 2]) / len(positive[0])
         - reference.statistics(*centred[1][l : l + 2]) / len(negative[0]))
        * np.outer(gain[l], gain[l + 1])
        for l in range(len(weights))
    ]  # fmt: skip
    assert_weights_close(weights, steps, layers, positive, negative, 16.0)
    for l, found in enumerate(biases):
        expected = gain[l] * plain.biases[l]
        if l > 0:
            expected = expected - steps[l - 1].T @ offsets[l - 1]
        if l + 1 < len(layers):
            expected = expected - steps[l] @ offsets[l + 1]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    if layers[0].kind == "gaussian":  # the derivative at a fixed mean, so centred too
        square = [((x[0]) ** 2).mean(axis=0) for x in centred]
        expected = -0.5 * layers[0].precision * (square[0] - square[1])
        np.testing.assert_allclose(log_precisions[0], expected, rtol=1e-6, atol=1e-6)


# both sides of a lane of 16, a tile of 32 and a block of 256
FOLLOW_SIZES = [(1, 1), (33, 15), (31, 16), (64, 257), (70, 530)]


def followed(sizes, gained=False, n_threads=None, weight_decay=0.0):
    """The gradient of one matrix, the offsets of both layers, and the follow sums."""
    parameters, positive, negative = make_case(("binary", "binary"), sizes=sizes)
    rng = np.random.default_rng(8)
    offsets, gains = random_offsets(parameters, rng), None
    if gained:
        gains = [rng.uniform(0.5, 2.0, o.shape).astype(np.float32) for o in offsets]
    phases = Phases(positive, negative, offsets, gains)
    difference = layer_gradients(parameters, phases).difference
    follow = follow_of(phases, 0)
    gradient = weight_gradient(parameters, phases, 0, difference, weight_decay=weight_decay,
                               follow=follow, work=Work(n_threads=n_threads))  # fmt: skip
    return gradient, offsets, follow


@pytest.mark.parametrize("gained", [False, True])
@pytest.mark.parametrize("sizes", FOLLOW_SIZES, ids=str)
def test_follow_sums_are_those_of_the_gradient(sizes, gained, backend):
    """Catches a lane, a tile or a block that is left out or counted twice, and biases that follow
    the decay without gains, or do not with them."""
    plain, (mu, lam), _ = followed(sizes, gained)
    decayed, _, follow = followed(sizes, gained, weight_decay=0.5)
    gradient = decayed if gained else plain
    expected = reference.follow_sums(gradient, mu, lam)
    terms = reference.follow_sums(np.abs(gradient), mu, lam)
    for found, exact, size, n in zip(follow, expected, terms, sizes[::-1], strict=True):
        assert_float32_close(found, exact, size, n)


def test_follow_sums_have_the_same_bits(restored_backend, threaded):
    """Catches an order of the sums over units that depends on the instruction set, or on how many
    units a task has."""
    for sizes in FOLLOW_SIZES:
        restored_backend("generic")
        _, _, expected = followed(sizes, n_threads=1)
        for name in engine.available_backends():
            restored_backend(name)
            for n_threads in THREADS:
                for one, other in zip(followed(sizes, False, n_threads)[2], expected, strict=True):
                    assert_same_bits(one, other)


def test_follow_sums_have_the_order_of_their_definition(backend):
    """Catches another order of lanes, halves, tiles and blocks than docs/math.md tells, which
    would change the bits of every run."""
    gradient, (mu, lam), (lower, upper) = followed((70, 530))

    def fma(a, b, c):  # a product of float32 is exact in float64; ties of the sum are not met here
        return (a.astype(np.float64) * b.astype(np.float64) + c).astype(np.float32)

    total = np.zeros(70, np.float32)
    for first in range(0, 530, 256):
        lanes = np.zeros((70, 16), np.float32)
        for c in range(first, min(first + 256, 530)):
            lanes[:, c % 16] = fma(gradient[:, c], lam[c], lanes[:, c % 16])
        for half in (8, 4, 2, 1):
            lanes = lanes[:, :half] + lanes[:, half:]
        total = lanes[:, 0] if first == 0 else total + lanes[:, 0]
    assert_same_bits(lower, total)
    total = np.zeros(530, np.float32)
    for first in range(0, 70, 32):
        part = np.zeros(530, np.float32)
        for i in range(first, min(first + 32, 70)):
            part = fma(gradient[i], mu[i], part)
        total = part if first == 0 else total + part
    assert_same_bits(upper, total)


def test_bias_terms_are_added_to_the_bias_alone():
    """Catches a sparsity target that leaks into weights, or that gains scale."""
    parameters, positive, negative = make_case(("gaussian", "binary"))
    gains = [np.full(layer.size, 2.0, np.float32) for layer in parameters.layers]
    term = np.linspace(-1.0, 1.0, parameters.layers[1].size)
    plain = gradients_of(parameters, Phases(positive, negative, gains=gains))
    found = gradients_of(parameters, Phases(positive, negative, None, gains, {1: term}))
    assert_same_bits(found[0][0], plain[0][0])
    np.testing.assert_array_equal(found[1][0], plain[1][0])
    np.testing.assert_allclose(found[1][1], plain[1][1] + term, rtol=1e-12)


def test_gradient_of_exact_frequencies_is_the_exact_gradient():
    """Catches a gradient that vanishes elsewhere than at the data: at the optimum it is zero."""
    parameters, positive, _ = make_case(("binary", "binary"), sizes=(9, 7))
    for negative in (positive, [np.repeat(x, 3, axis=0) for x in positive]):
        weights, biases, _ = gradients_of(parameters, Phases(positive, negative))
        assert_within_errors(weights[0], 0.0, 0.0, 3 * 40 * FLOAT32_ROUNDING)
        np.testing.assert_allclose(biases[0], 0.0, atol=1e-15)
        np.testing.assert_allclose(biases[1], 0.0, atol=1e-15)


@pytest.mark.parametrize("n_rows", [(1, 1), (0, 3), (3, 0), (1024, 7), (1025, 2100)])
def test_any_number_of_rows(n_rows):
    """Catches a chunk of 1,024 rows that is dropped or counted twice, and an empty phase."""
    parameters, positive, negative = make_case(("copies", "binary"), n_rows=n_rows, sizes=(3, 2))
    weights, biases, _ = gradients_of(parameters, Phases(positive, negative))
    sums = [[reference.statistics(*states) / max(len(states[0]), 1),
             *[x.sum(axis=0, dtype=np.float64) / max(len(x), 1) for x in states]]
            for states in (positive, negative)]  # fmt: skip
    expected, *expected_biases = [p - q for p, q in zip(*sums, strict=True)]
    terms = sum(np.abs(one[0]).max() for one in sums)
    assert_float32_close(weights[0], expected, terms, max(n_rows))
    for found, exact in zip(biases, expected_biases, strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-12)


# ----------------------------------------------------------------------------------- invariance


def test_sums_of_chunks_go_on_where_the_last_one_ended(backend, threaded):
    """Catches chunks of 1,024 rows whose sums are added to each other, which rounds otherwise,
    and a thread that starts on the next chunk too early."""
    rng = np.random.default_rng(4)
    x = (rng.random((2_500, 70)) < 0.1).astype(np.uint8)
    y = rng.random((2_500, 40), dtype=np.float32)
    found = weight_sums(x, y, work=Work(n_threads=1))
    # rows of zeros before all others move them to other chunks, and add nothing to a sum
    later = np.concatenate([np.zeros((300, 70), np.uint8), x])
    later_y = np.concatenate([np.ones((300, 40), np.float32), y])
    for n_threads in THREADS:
        assert_same_bits(weight_sums(x, y, work=Work(n_threads=n_threads)), found)
        assert_same_bits(weight_sums(later, later_y, work=Work(n_threads=n_threads)), found)


@pytest.mark.parametrize("density", [0.05, 0.9])
def test_same_bits_for_bytes_floats_and_sparse_rows(density, backend):
    """Catches rows of a CSR matrix that are read past their end, or summed in another order."""
    parameters, positive, negative = make_case(("copies", "binary"), n_rows=(40, 30))
    rng = np.random.default_rng(4)
    positive[0] *= rng.random(positive[0].shape) < density
    offsets = random_offsets(parameters, rng)
    runs = []
    for form in ("bytes", "floats", "csr"):
        states = [as_states(in_form(positive[0], form)), positive[1]]
        runs.append(gradients_of(parameters, Phases(states, negative, offsets)))
    for weights, biases, _ in runs[1:]:
        assert_same_bits(weights[0], runs[0][0][0])
        for found, expected in zip(biases, runs[0][1], strict=True):
            assert_same_bits(found, expected)


@pytest.mark.parametrize("kinds", [("gaussian", "binary"), DEEP[0]])
def test_same_bits_for_every_back_end_and_number_of_threads(kinds, restored_backend, threaded):
    """Catches statistics whose sums cross threads, or that depend on the instruction set."""
    parameters, positive, negative = make_case(kinds, n_rows=(1030, 70))
    rng = np.random.default_rng(5)
    gains = [rng.uniform(0.5, 2.0, layer.size).astype(np.float32) for layer in parameters.layers]
    phases = Phases(positive, negative, random_offsets(parameters, rng), gains)
    first = gradients_of(parameters, phases, n_threads=1)
    for name in engine.available_backends():
        restored_backend(name)
        for n_threads in THREADS:
            found = gradients_of(parameters, phases, n_threads=n_threads)
            for part, expected in zip(found, first, strict=True):
                for one, other in zip(part, expected, strict=True):
                    if one is not None:
                        assert_same_bits(one, other)


def test_sparse_upper_layers_are_read_too():
    """Catches labels given as CSR at the top, which a dense reader would take for floats."""
    parameters, positive, negative = make_case(("binary", "binary"), sizes=(4, 5))
    y = (positive[1] > 0.5).astype(np.uint8)
    expected = gradients_of(parameters, Phases([positive[0], y], negative))
    sparse_y = as_states(in_form(y, "csr"))
    found = gradients_of(parameters, Phases([positive[0], sparse_y], negative))
    assert_same_bits(found[0][0], expected[0][0])
    assert_same_bits(found[1][1], expected[1][1])


def test_moments_of_columns(threaded):
    """Catches a survey of the data that loses rows, in any of the forms that data come in."""
    rng = np.random.default_rng(6)
    x = rng.integers(0, 4, (300, 70)) * (rng.random((300, 70)) < 0.3)
    for form in ("bytes", "floats", "csr"):
        for n_threads in THREADS:
            mean, square = column_moments(as_states(in_form(x, form)), n_threads)
            np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-14)
            np.testing.assert_allclose(square, (x**2).mean(axis=0), rtol=1e-14)


# -------------------------------------------------------------------------------- the fused step


@pytest.mark.parametrize("averaging", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_fused_step_is_the_gradient_and_then_the_step(momentum, averaging, backend):
    """Catches decay that skips the velocity, or an average of the weights before the step."""
    parameters, positive, negative = make_case(("gaussian", "binary"))
    rng = np.random.default_rng(7)
    gains = [rng.uniform(0.5, 2.0, layer.size).astype(np.float32) for layer in parameters.layers]
    phases = Phases(positive, negative, random_offsets(parameters, rng), gains)
    difference = layer_gradients(parameters, phases).difference
    gradient = weight_gradient(parameters, phases, 0, difference).astype(np.float64)
    before = parameters.weights[0].astype(np.float64)
    velocity, average = (rng.normal(size=before.shape).astype(np.float32) for _ in range(2))
    start = average.astype(np.float64)
    expected, expected_velocity = reference.sgd_step(
        before, velocity.astype(np.float64), gradient, 0.125, momentum, 0.01
    )
    step = Step(
        0.125, momentum, 0.01, averaging, velocity if momentum else None,
        average if averaging else None,
    )  # fmt: skip
    overflow = step_weights(parameters, phases, 0, difference, step)
    assert overflow is False
    magnitude = np.abs(before) + np.abs(expected) + np.abs(expected_velocity)
    rounding = 8 * FLOAT32_ROUNDING * magnitude
    assert_within_errors(parameters.weights[0], expected, 0.0, rounding)
    if momentum:
        assert_within_errors(velocity, expected_velocity, 0.0, 8 * rounding)
    after = parameters.weights[0].astype(np.float64)
    expected = start + averaging * (after - start)
    assert_within_errors(average, expected, 0.0, 8 * FLOAT32_ROUNDING * (1.0 + np.abs(start)))


def test_a_weight_decay_of_the_gradient_alone(backend):
    """Catches Adam without its decay, or with it twice."""
    parameters, positive, negative = make_case(("binary", "binary"))
    phases = Phases(positive, negative)
    difference = layer_gradients(parameters, phases).difference
    plain = weight_gradient(parameters, phases, 0, difference)
    decayed = weight_gradient(parameters, phases, 0, difference, weight_decay=0.5)
    weights = parameters.weights[0].astype(np.float64)
    rounding = 4 * FLOAT32_ROUNDING * (np.abs(plain) + np.abs(weights))
    assert_within_errors(decayed, plain - 0.5 * weights, 0.0, rounding)


def test_same_bits_of_the_fused_step(restored_backend, threaded):
    """Catches tiles of an update that race, or that one instruction set rounds differently."""
    runs = []
    for name in engine.available_backends():
        restored_backend(name)
        for n_threads in THREADS:
            parameters, positive, negative = make_case(("copies", "binary"), sizes=(70, 65))
            velocity = np.ones_like(parameters.weights[0])
            average = np.zeros_like(velocity)
            phases = Phases(positive, negative)
            step = Step(0.1, 0.9, 1e-3, 0.5, velocity, average)
            step_weights(parameters, phases, 0, [None, None], step, work=Work(n_threads=n_threads))
            runs.append((parameters.weights[0], velocity, average))
    for run in runs[1:]:
        for one, other in zip(run, runs[0], strict=True):
            assert_same_bits(one, other)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (32, 69), (31, 32)])
def test_a_weight_that_is_not_finite_is_flagged(value, place, backend):
    """Catches a run that diverged and goes on: sampling from NaN silently gives zeros."""
    parameters, positive, negative = make_case(("binary", "binary"))
    velocity = np.zeros_like(parameters.weights[0])
    velocity[place] = value
    step = Step(0.1, momentum=0.5, velocity=velocity)
    phases = Phases(positive, negative)
    assert step_weights(parameters, phases, 0, [None, None], step) is True
    assert np.isfinite(parameters.weights[0]).sum() == parameters.weights[0].size - 1


# --- means in bytes ---------------------------------------------------------------------------

# rows: one, odd, beyond the bytes whose sum 16 bits hold, beyond a chunk
BYTE_ROWS = [1, 3, 100, 300, 1_100]
BYTE_SIZES = [(1, 1), (33, 70), (64, 32), (65, 100)]


def byte_phases(sizes, n_rows, density, seed=1):
    """States of the lower layer and means of the upper one in bytes, for both phases."""
    rng = np.random.default_rng(seed)
    sides = []
    for n in (n_rows, max(n_rows // 2, 1)):
        lower = (rng.random((n, sizes[0])) < density).astype(np.uint8)
        sides.append([lower, ByteMeans.of(rng.random((n, sizes[1]), np.float32))])
    return Phases(*sides)


def gradient_of_bytes(phases, sizes, n_threads=None):
    parameters = Parameters(random_model(("binary", "binary"), 1, sizes))
    return weight_gradient(parameters, phases, 0, [None, None], work=Work(n_threads=n_threads))


@pytest.mark.parametrize("density", [0.1, 0.6])
@pytest.mark.parametrize("n_rows", BYTE_ROWS)
@pytest.mark.parametrize("sizes", BYTE_SIZES, ids=str)
def test_statistics_of_bytes_are_the_integer_twin(sizes, n_rows, density, backend):
    """Catches a row left out of a word or a list, a forgotten unit."""
    phases = byte_phases(sizes, n_rows, density)
    expected, size = 0.0, 0.0
    for sign, (x, y) in zip((1, -1), (phases.positive, phases.negative), strict=True):
        term = reference.byte_statistics(x, y.steps) / 255 / len(x)
        expected, size = expected + sign * term, size + term
    found = gradient_of_bytes(phases, sizes)
    assert (np.abs(found - expected) <= 8 * FLOAT32_ROUNDING * size).all()


@pytest.mark.parametrize("density", [0.1, 0.6])
def test_statistics_of_bytes_have_the_same_bits(density, backend):
    """Catches sums that depend on the instruction set, the threads or how work is cut."""
    sizes = (130, 300)
    phases = byte_phases(sizes, 200, density)
    engine.select_backend("generic")
    expected = gradient_of_bytes(phases, sizes, 1)
    engine.select_backend(backend)
    for n_threads in THREADS:
        assert_same_bits(gradient_of_bytes(phases, sizes, n_threads), expected)


def test_statistics_do_not_depend_on_the_form_of_states(backend):
    """Catches sums of steps as floats that are rounded, or a unit that comes before the sum."""
    phases = byte_phases((33, 70), 300, 0.3)
    expected = gradient_of_bytes(phases, (33, 70))
    for form in ("floats", "csr"):
        sides = [[as_states(in_form(x, form)), y] for x, y in (phases.positive, phases.negative)]
        assert_same_bits(gradient_of_bytes(Phases(*sides), (33, 70)), expected)


@pytest.mark.parametrize("n_rows", [257, 258, 514, 515, 1_100])
def test_lists_of_many_lines_do_not_wrap_around(n_rows, backend):
    """Catches more lines in 16 bits than they hold: units that are always on among many that are
    off, so that lists are taken, and the largest steps."""
    lower = np.zeros((n_rows, 40), np.uint8)
    lower[:, [0, 35]] = 1
    upper = ByteMeans.of(np.ones((n_rows, 34), np.float32))
    nothing = [lower[:1] * 0, ByteMeans.of(np.zeros((1, 34), np.float32))]
    found = gradient_of_bytes(Phases([lower, upper], nothing), (40, 34))
    np.testing.assert_allclose(found, np.repeat(lower[:1].T, 34, axis=1), rtol=FLOAT32_ROUNDING * 8)


@pytest.mark.parametrize("n_rows", [257, 258, 1_100])
@pytest.mark.parametrize("width", [1, 63, 64, 65])
def test_sums_of_bytes_do_not_wrap_around(n_rows, width):
    """Catches more bytes in 16 bits than they hold, and a last block that is cut wrong."""
    full = np.full((n_rows, width), 255, np.uint8)
    np.testing.assert_array_equal(column_sums(full), 255.0 * n_rows)
    means = ByteMeans(full, 1.0 / 255.0)
    np.testing.assert_allclose(column_sums(means), n_rows, rtol=FLOAT32_ROUNDING)


@pytest.mark.parametrize("sizes", [(40, 33), (300, 300), (33, 530)], ids=str)
def test_a_phase_without_rows_adds_nothing_to_many_rows(sizes):
    """Catches sums of an empty phase in memory that an earlier call has used (a bug we had)."""
    rng, n_rows = np.random.default_rng(1), 2_100
    x, y = (rng.random((n_rows, size), np.float32) for size in sizes)
    expected = weight_sums(x, y)
    assert np.isfinite(expected).all()
    for n_threads in (1, 2, 3, 8):
        work = Work(engine.Workspace(), n_threads)
        weight_sums(x * np.nan, y, work=work)
        found = weight_sums(x, y, work=work)
        assert_same_bits(found, expected)


def test_what_is_no_mean_stays_as_it_is():
    """Catches a run that diverges behind means that have become zero."""
    means = np.array([[0.5, np.nan]], np.float32)
    assert ByteMeans.of(means) is means
    assert ByteMeans.of(np.float32([[1.5]])).dtype == np.float32


def test_statistics_of_two_means_are_exact(backend):
    """Catches a product of two bytes that leaves its place: the largest that there are."""
    means = [ByteMeans.of(np.full((1_000, n), 1.0, np.float32)) for n in (33, 40)]
    nothing = [ByteMeans.of(np.zeros((1, n), np.float32)) for n in (33, 40)]
    found = gradient_of_bytes(Phases(means, nothing), (33, 40))
    np.testing.assert_allclose(found, 1.0, rtol=8 * FLOAT32_ROUNDING)


@pytest.mark.parametrize("n_copies", [1, 3])
def test_means_in_bytes_are_the_nearest_steps(n_copies):
    """Catches means that are cut off, or steps that do not end at the largest mean."""
    means = n_copies * np.linspace(0.0, 1.0, 1_200, dtype=np.float32).reshape(3, -1)
    found = ByteMeans.of(means, n_copies)
    off = np.abs(found.steps - reference.steps_of_means(means, n_copies))
    assert off.max() <= 1  # ties, by a rounding of float32
    assert (off > 0).mean() < 0.01
    assert np.abs(found.to_dense() - means).max() <= 0.5001 * n_copies / 255
    assert (found.steps.min(), found.steps.max()) == (0, 255)


def test_an_update_has_work_for_sixteen_cores():
    """Catches a matrix that is cut by rows alone: 784 x 500 are 25 tasks then."""
    assert engine.update_tasks(784, 500, 16) >= 48
    assert engine.update_tasks(784, 500, 1) == 25
