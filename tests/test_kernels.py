"""Kernels: random numbers, elementwise functions and conditional passes, against float64 twins."""

import os
import subprocess
import sys

import numpy as np
import pytest
import reference
from conftest import (
    FLOAT32_ROUNDING,
    THREADS,
    assert_float32_close,
    assert_same_bits,
    in_form,
    random_model,
    random_states,
    random_units,
    twin,
)
from deepgen._kernels import engine
from scipy.stats import binom

import deepgen as dg
from deepgen.inference.gibbs import update_layer
from deepgen.layers.passes import LayerContext, Outputs, Site, conditional_pass, layer_log_weight
from deepgen.rows.states import as_states
from deepgen.runtime.stream import DATA, purpose
from deepgen.runtime.work import Work

SITE = Site(dg.Stream(0x0123456789ABCDEF, 5), DATA, first_row=11, temperature=3)
WORK = 10**9  # of a pass that is large enough for threads

# kind of the layer that is updated, columns of its groups, sizes of the two layers
SHAPES = [
    ("binary", 1, (1, 1)),
    ("binary", 1, (33, 65)),
    ("binary", 1, (65, 33)),
    ("binary", 1, (1, 65)),
    ("copies", 1, (33, 33)),
    ("gaussian", 1, (33, 65)),
    ("gaussian", 1, (65, 1)),
    ("softmax", 3, (1, 3)),
    ("softmax", 3, (65, 33)),
    ("softmax", 5, (33, 65)),
    ("softmax", 40, (33, 80)),
]
SHAPE_NAMES = [f"{kind}{group}-{lower}x{upper}" for kind, group, (lower, upper) in SHAPES]
CONTEXTS = ("plain", "bias_rows", "held", "beta", "annealed", "everything")
N_ROWS = 300  # more than one panel of 256 rows, and than two tiles of 128


# ---------------------------------------------------------------------------- random numbers


@pytest.mark.parametrize(("counter", "key", "expected"), reference.PHILOX_ANSWERS)
def test_philox_known_answers(counter, key, expected):
    """Catches any slip in rounds, constants or word order."""
    out = np.empty(4, np.uint32)
    engine.philox(counter, key, out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("first_row", [0, 7, 2**32 - 2, 2**40 + 3])
@pytest.mark.parametrize("step", [0, 2**32 - 1, 2**32, 2**50 + 1])
def test_words_equal_the_reference(first_row, step):
    """Catches rows or steps beyond 32 bits that wrap around and repeat the draws of others."""
    key = 0xFEDCBA9876543210
    words = dg.Stream(key, step).words(4, 9, DATA, first_row=first_row)
    rows = first_row + np.arange(4)
    expected = reference.site_words(key, step, purpose(DATA), rows, np.arange(9))
    np.testing.assert_array_equal(words, expected)


def test_uniforms_stay_inside_the_open_interval():
    """Catches the 24-bit form, whose largest value is 1.0 in float32, and a zero for log."""
    words = np.array([0, 511, 512, 2**31, 2**32 - 1], np.uint32)
    out = np.empty(len(words), np.float32)
    engine.uniform(words, out)
    np.testing.assert_array_equal(out, reference.uniform(words))
    assert out.min() == 2.0**-24
    assert out.max() == 1.0 - 2.0**-24


# ------------------------------------------------------------------------------- elementwise


def elementwise(name, x):
    x = np.ascontiguousarray(x, np.float32)
    out = np.empty_like(x)
    engine.elementwise(name, x, out)
    return out


@pytest.mark.parametrize(
    ("name", "exact", "low", "high"),
    [
        ("exp", np.exp, -86.9, 88.0),
        ("logistic", reference.logistic, -86.9, 86.9),
        ("softplus", reference.softplus, -86.9, 1e4),
    ],
)
def test_elementwise_functions_within_a_few_units_in_the_last_place(name, exact, low, high):
    """Catches a wrong digit of a polynomial, and a softplus that loses its small values."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(low, high, 20_000), rng.normal(size=20_000),
                        rng.normal(0.0, 1e-3, 2_000), [low, high, 0.0]])
    x = x.astype(np.float32)
    expected = exact(x.astype(np.float64))
    error = np.abs(elementwise(name, x) - expected) / np.spacing(expected.astype(np.float32))
    assert error.max() <= 4.0


def test_log_within_a_few_units_in_the_last_place():
    """Catches an exponent or a mantissa that is cut at the wrong place, near 1 above all."""
    rng = np.random.default_rng(2)
    x = np.concatenate([np.exp(rng.uniform(-87.0, 88.0, 20_000)), rng.uniform(0.4, 2.1, 20_000),
                        1.0 + rng.normal(0.0, 1e-4, 2_000), [1.0, 2.0**-24, 1.0 - 2.0**-24]])
    x = x.astype(np.float32)
    expected = np.log(x.astype(np.float64))
    error = np.abs(elementwise("log", x) - expected)
    assert (error <= 4.0 * np.spacing(np.abs(expected).astype(np.float32))).all()


def test_elementwise_functions_survive_extremes():
    """Catches overflow to infinity at large fields, and a NaN that turns into a number."""
    x = np.array([-1e4, -100.0, 100.0, 1e4], np.float32)
    tiny = np.finfo(np.float32).tiny
    logistic = elementwise("logistic", x)
    np.testing.assert_allclose(logistic, [0, 0, 1, 1], rtol=0, atol=1.0001 * tiny)
    assert (logistic >= tiny).all()  # normal: a smaller one takes a hundred cycles to work with
    np.testing.assert_allclose(elementwise("softplus", x), [0, 0, 100, 1e4], rtol=0, atol=2 * tiny)
    assert np.isfinite(elementwise("exp", x)).all()
    for name in ("exp", "logistic", "softplus"):
        assert np.isnan(elementwise(name, [np.nan, -np.nan])).all()


# --------------------------------------------------------------------------------- back ends


def test_back_ends_are_selected_by_name(restored_backend):
    """Catches a test matrix that runs the same instruction set three times."""
    assert "generic" in engine.available_backends()
    for name in engine.available_backends():
        assert restored_backend(name)
        assert engine.backend() == name
    assert not restored_backend("no such instruction set")


def test_environment_chooses_the_back_end():
    """Catches DEEPGEN_CPU being ignored, which bug reports and CI rely on."""
    code = "from deepgen._kernels import engine; print(engine.backend())"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "DEEPGEN_CPU": "generic"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == "generic"


@pytest.mark.parametrize(("name", "value"), [
    ("DEEPGEN_CPU", "bogus"), ("DEEPGEN_PRECISION", "float16"), ("OMP_NUM_THREADS", "\u00b2"),
    ("OMP_NUM_THREADS", "99999"), ("DEEPGEN_CPU", "generic"), ("OMP_NUM_THREADS", "2,1"),
])  # fmt: skip
def test_a_variable_that_asks_for_what_is_not_there_is_told(name, value):
    """Catches a slip that passes without a word, and one that ends a fit."""
    code = """if True:
        import deepgen as dg, numpy as np
        dg.RBM(2, n_epochs=1).fit(np.eye(4, dtype=np.uint8))
    """
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, name: value}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    told = f"{name} must be" in run.stderr
    assert told == (value not in ("generic", "2,1"))


# ------------------------------------------------------------------------- conditional passes


def make_case(shape, context, *, density=0.5, n_rows=N_ROWS, seed=3):
    """A two-layer model, states of both layers and a context for the upper one."""
    kind, group, sizes = shape
    lower = "copies" if kind == "gaussian" else "gaussian"
    model = random_model((lower, kind), seed, sizes, scale=0.3, group=group)
    rng = np.random.default_rng(seed)
    states = [random_states(layer, n_rows, rng) for layer in model.layers]
    states[0] *= rng.random(states[0].shape) < density
    return model, states, make_context(model.layers[1], context, n_rows, rng)


def make_context(units, name, n_rows, rng):
    """A context in which one thing varies from row to row, or everything does."""
    base = units.replace(bias=rng.normal(0.0, 0.5, units.size))
    if isinstance(units, dg.Gaussian):
        base = base.replace(log_precision=rng.normal(0.0, 0.3, units.size))
    held = rng.random((n_rows, units.size // units.group)) < 0.3
    parts = {
        "bias_rows": {1: rng.normal(0.0, 0.5, (n_rows, units.size))},
        "held": {1: np.repeat(held, units.group, axis=1)},
        "beta": rng.uniform(0.2, 1.2, n_rows),
    }
    annealed = {"beta": rng.uniform(0.0, 1.0, n_rows), "base": (None, base)}
    chosen = {"plain": {}, "annealed": annealed, "everything": {**parts, **annealed}}
    return dg.Context(**chosen.get(name, {name: parts.get(name)}))


def run_pass(model, states, context, *, layer=1, site=SITE, n_threads=1):
    """Mean, draw and log normalizer of one layer."""
    states = [as_states(x) for x in states]
    means, draws = update_layer(
        model, layer, states, context=context, mean=True, site=site, work=Work(n_threads=n_threads)
    )
    normalizer = np.zeros(len(means))
    conditional_pass(
        model.chain, layer, states, Outputs(log_normalizer=normalizer), context.of_layer(layer),
        work=Work(n_threads=n_threads),
    )  # fmt: skip
    return means, draws, normalizer


def natural_parameters(model, layer, states, context):
    """The twin layer, its field and precision by row, and the sum of the field's absolute terms."""
    layers, weights = twin(model)
    beta = 1.0 if context.beta is None else context.beta.astype(np.float64)
    rows = context.bias_rows.get(layer)
    sizes = [reference.Layer("binary", np.abs(one.bias)) for one in layers]
    magnitudes = [np.abs(x.astype(np.float64)) for x in states]
    field = reference.field(layers, weights, states, layer, rows)
    terms = reference.field(sizes, [np.abs(w) for w in weights], magnitudes, layer,
                            None if rows is None else np.abs(rows))
    base = None if context.base is None else context.base[layer]
    start = np.zeros(1) if base is None else base.bias.astype(np.float64)
    field = reference.annealed_field(start, field, beta)
    terms = reference.annealed_field(np.abs(start), terms, beta)
    precision = None
    if layers[layer].kind == "gaussian":
        start = 0.0 if base is None else base.precision.astype(np.float64)
        precision = reference.annealed_precision(start, layers[layer].precision, beta)
        precision = precision + np.zeros_like(field)
    return layers[layer], field, precision, terms


def reference_draws(layer, field, precision, words):
    """The twin's draws, and the distance of each uniform from the nearest step of its CDF."""
    uniforms = reference.uniform(words)
    mean = reference.mean(layer, field, precision=precision)
    if layer.kind == "gaussian":
        pairs = reference.normal_pair(uniforms[:, ::2], uniforms[:, 1::2])
        normals = np.stack(pairs, axis=2).reshape(len(words), -1)[:, : layer.size]
        return mean + normals / np.sqrt(precision), np.full(field.shape, np.inf)
    if layer.kind == "softmax":
        uniforms = uniforms[:, : layer.size // layer.group]
        ends = reference.grouped(mean, layer.group).cumsum(axis=2)[..., :-1]
        distance = np.abs(ends - uniforms[..., None]).min(axis=2)
        distance = np.repeat(distance, layer.group, axis=1)
        return reference.draw_softmax(layer, field, uniforms), distance
    uniforms = uniforms[:, : layer.size]
    steps = [binom.sf(k, layer.n_copies, mean / layer.n_copies) for k in range(layer.n_copies)]
    distance = np.abs(np.stack(steps) - uniforms).min(axis=0)
    return reference.draw_binary(layer, field, uniforms), distance


def assert_pass_equals_reference(model, states, context, found, layer=1):
    """Compare mean, draw and log normalizer with the twins."""
    means, draws, normalizer = found
    units, field, precision, terms = natural_parameters(model, layer, states, context)
    n_terms = sum(x.shape[1] for x in states) - units.size
    held = context.held.get(layer, np.zeros(field.shape)) != 0

    slope = np.full(field.shape, units.n_copies) if precision is None else 1.0 / precision
    mean_terms = terms
    if units.kind == "softmax":  # every field of a group moves each mean of it
        widest = reference.grouped(terms, units.group).max(axis=2)
        mean_terms = np.repeat(widest, units.group, axis=1)
    expected = reference.mean(units, field, precision=precision)
    n_roundings = 16 + (units.group or 0)
    assert_float32_close(means[~held], expected[~held], mean_terms[~held], n_terms, slope[~held],
                         n_roundings)
    np.testing.assert_array_equal(means[held], states[layer][held])

    columns = np.arange(units.size + units.size % 2)
    rows = SITE.first_row + np.arange(len(field))
    words = reference.site_words(SITE.stream.key, SITE.stream.position,
                                 purpose(DATA, layer, SITE.temperature), rows, columns)
    expected, distance = reference_draws(units, field, precision, words)
    error = slope * (n_terms + 4) * FLOAT32_ROUNDING * mean_terms + 8 * FLOAT32_ROUNDING
    sure = (distance > 2 * error) & ~held
    assert sure[~held].mean() > 0.99
    if units.kind == "gaussian":
        noise = np.abs(expected) + 6.0 / np.sqrt(precision)  # log(u) near 1 loses a few digits
        assert_float32_close(draws[sure], expected[sure], (terms + noise)[sure], n_terms,
                             (slope + 1.0)[sure], 64)
    else:
        np.testing.assert_array_equal(draws[sure], expected[sure])
    np.testing.assert_array_equal(draws[held], states[layer][held])

    expected = reference.log_normalizer(units, field, precision=precision)
    slopes = units.n_copies + np.abs(reference.mean(units, field, precision=precision))
    assert_float32_close(normalizer, expected, (slopes * terms).sum(axis=1), n_terms,
                         n_roundings=n_roundings)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("shape", SHAPES, ids=SHAPE_NAMES)
def test_pass_equals_reference(shape, context):
    """Catches a wrong tile edge, base measure, temperature, held entry or random word."""
    model, states, context = make_case(shape, context, n_rows=140)
    assert_pass_equals_reference(model, states, context, run_pass(model, states, context))


@pytest.mark.parametrize("shape", SHAPES, ids=SHAPE_NAMES)
def test_pass_of_the_first_layer_equals_reference(shape):
    """Catches weights that are not transposed on the way down, at every tile edge."""
    kind, group, sizes = shape
    upper = "binary" if kind == "gaussian" else "copies"
    model = random_model((kind, upper), 4, sizes[::-1], scale=0.3, group=group)
    rng = np.random.default_rng(4)
    states = [random_states(layer, 40, rng) for layer in model.layers]
    found = run_pass(model, states, dg.Context(), layer=0)
    assert_pass_equals_reference(model, states, dg.Context(), found, layer=0)


@pytest.mark.parametrize("kind", ["binary", "copies", "softmax"])
def test_pass_of_a_middle_layer_equals_reference(kind):
    """Catches a DBM layer that hears only one of its neighbours, or one of them twice."""
    model = random_model(("gaussian", kind, "copies"), 5, (33, 36, 65), scale=0.2)
    rng = np.random.default_rng(5)
    states = [random_states(layer, 40, rng) for layer in model.layers]
    context = make_context(model.layers[1], "bias_rows", 40, rng)
    found = run_pass(model, states, context)
    assert_pass_equals_reference(model, states, context, found)


def forms_of(states):
    """Every form in which the kernels read these states."""
    exact = ((states == np.rint(states)) & (states >= 0)).all()
    return [in_form(states, form) for form in (("bytes",) if exact else ()) + ("floats", "csr")]


@pytest.mark.parametrize("density", [0.1, 0.9])
@pytest.mark.parametrize("shape", SHAPES, ids=SHAPE_NAMES)
def test_same_bits_for_every_back_end_form_and_number_of_threads(
    shape, density, restored_backend, threaded
):
    """Catches sums that cross threads, a contracted multiply-add, a list in another order."""
    model, states, context = make_case(shape, "everything", density=density)
    expected = run_pass(model, states, context)
    names = engine.available_backends()
    runs = [(name, form, 1) for name in names for form in forms_of(states[0])]
    runs += [(names[-1], states[0], n_threads) for n_threads in THREADS]
    for name, form, n_threads in runs:
        restored_backend(name)
        found = run_pass(model, [form, states[1]], context, n_threads=n_threads)
        for one, other in zip(found, expected, strict=True):
            assert_same_bits(one, other)


@pytest.mark.parametrize("shape", SHAPES, ids=SHAPE_NAMES)
def test_same_bits_for_rows_one_by_one_or_together(shape, backend):
    """Catches results that depend on which rows came together, or on where a piece began."""
    model, states, context = make_case(shape, "everything")
    states[0][100:200] = 0  # some panels are read as lists, others are dense
    whole = run_pass(model, states, context)
    for width, starts in ((1, (0, 1, 99, 255, 256, 299)), (7, (0, 126)), (8, (250,)), (129, (3,))):
        for start in starts:
            rows = slice(start, min(start + width, N_ROWS))
            piece = run_pass(model, [x[rows] for x in states], context.of_rows(rows),
                             site=SITE._replace(first_row=SITE.first_row + start))
            for one, other in zip(piece, whole, strict=True):
                assert_same_bits(one, other[rows])


@pytest.mark.parametrize("shape", SHAPES, ids=SHAPE_NAMES)
def test_no_rows_give_no_rows(shape, backend):
    """Catches a division by the number of rows, and a read of a row that is not there."""
    model, states, context = make_case(shape, "everything", n_rows=0)
    for form in forms_of(states[0]):
        means, draws, normalizer = run_pass(model, [form, states[1]], context)
        assert means.shape == draws.shape == (0, shape[2][1])
        assert normalizer.shape == (0,)


@pytest.mark.parametrize("kind", ["binary", "copies", "softmax"])
def test_pass_survives_extreme_fields(kind, backend):
    """Catches overflow at fields of 1e4, where units must be certain and stay finite."""
    units = random_units(kind, np.random.default_rng(6), 6)
    signs = np.array([[1, -1, -1, -1, 1, -1], [-1, 1, 1, -1, 1, 1]], np.float32)
    if kind == "softmax":
        signs[1] = [-1, -1, 1, 1, -1, -1]
    model = dg.BoltzmannMachine([dg.Binary(2), units], [1e4 * signs])
    states = [np.eye(2, dtype=np.uint8), np.zeros((2, 6), np.uint8)]
    means, draws, normalizer = run_pass(model, states, dg.Context())
    certain = units.n_copies * (signs > 0)
    np.testing.assert_allclose(means, certain, rtol=0, atol=np.finfo(np.float32).tiny * 4)
    np.testing.assert_array_equal(draws, certain)
    expected = (certain * (1e4 * signs + units.bias)).sum(axis=1)
    np.testing.assert_allclose(normalizer, expected, rtol=8 * FLOAT32_ROUNDING)


@pytest.mark.parametrize("kind", ["binary", "copies", "gaussian", "softmax"])
def test_not_a_number_comes_out(kind, backend):
    """Catches a NaN field that is hidden by a clamp: training would go on with garbage."""
    units = random_units(kind, np.random.default_rng(7), 6)
    field = np.zeros((2, 6), np.float32)
    field[1, 4] = np.nan
    spoilt = np.zeros((2, 6), bool)
    spoilt[1, slice(3, 6) if kind == "softmax" else 4] = True
    mean, normalizer = np.zeros((2, 6), np.float32), np.zeros(2)
    chain = engine.Chain([units.replace(bias=np.zeros(6)).kernel_layer()], [])
    outputs = Outputs(mean=mean, log_normalizer=normalizer)
    conditional_pass(chain, 0, [None], outputs, LayerContext(bias_rows=field))
    np.testing.assert_array_equal(np.isnan(mean), spoilt)
    np.testing.assert_array_equal(np.isnan(normalizer), [False, True])


def test_log_normalizer_between_two_temperatures():
    """Catches annealing weights whose two temperatures are swapped or use the wrong base."""
    for shape in SHAPES:
        model, states, context = make_case(shape, "annealed", n_rows=20)
        rng = np.random.default_rng(8)
        before = rng.uniform(0.0, 1.0, 20).astype(np.float32)
        both = [np.zeros(20) for _ in range(3)]
        around = context.of_layer(1)
        old = around._replace(beta=before)
        conditional_pass(model.chain, 1, states, Outputs(log_normalizer=both[0]), around)
        conditional_pass(model.chain, 1, states, Outputs(log_normalizer=both[1]), old)
        outputs = Outputs(log_normalizer=both[2], beta_from=before)
        conditional_pass(model.chain, 1, states, outputs, around)
        np.testing.assert_allclose(both[2], both[0] - both[1], rtol=1e-12, atol=1e-10)


def test_outputs_are_not_read_only():
    """Catches an output that is taken as an input: writing to a mapped file kills the process."""
    weights = np.full((3, 2), 0.3, np.float32)
    weights.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        engine.round_weights(weights, 1)
    model = random_model(("binary", "binary"), 0)
    mean = np.empty((2, model.layers[1].size), np.float32)
    mean.flags.writeable = False
    states = [np.zeros((2, model.layers[0].size), np.uint8), None]
    with pytest.raises(ValueError, match="read-only"):
        conditional_pass(model.chain, 1, states, Outputs(mean=mean))
    states[1] = np.zeros((2, model.layers[1].size), np.uint8)
    for state in states:
        state.flags.writeable = False
    free = np.array([0, 1], np.uint8)
    position = 0, 0, 0, 0  # key, step, purpose, first row
    with pytest.raises(ValueError, match="read-only"):
        engine.gibbs(model.chain, free, states, [None, None], *position, 1, 2,
                     engine.Workspace(), 1)
    states[1].flags.writeable = True  # the other is held
    engine.gibbs(model.chain, free, states, [None, None], *position, 1, 2, engine.Workspace(), 1)


# ------------------------------------------------------------------------- layers by themselves


@pytest.mark.parametrize("context", ["plain", "bias_rows", "beta", "annealed"])
@pytest.mark.parametrize("kind", ["binary", "copies", "gaussian", "softmax"])
def test_layer_log_weight_equals_reference(kind, context, threaded):
    """Catches a lost binomial factor or half, and a temperature on the base measure."""
    rng = np.random.default_rng(9)
    units = random_units(kind, rng, 33)
    x = random_states(units, 50, rng)
    context = make_context(units, context, 50, rng)
    layer = twin(dg.BoltzmannMachine([dg.Binary(1), units], [np.zeros((1, 33))]))[0][1]
    beta = 1.0 if context.beta is None else context.beta.astype(np.float64)
    expected = reference.layer_log_weight(layer, x, context.bias_rows.get(1), beta)
    if context.base is not None:
        start = twin(dg.BoltzmannMachine([dg.Binary(1), context.base[1]], [np.zeros((1, 33))]))
        start = start[0][1]
        expected = expected + (reference.layer_log_weight(start, x, None, 1.0 - beta)
                               - reference.log_base_measure(start, x))
    chain = engine.Chain([units.kernel_layer()], [])
    for form in forms_of(x):
        for n_threads in THREADS:
            found = layer_log_weight(chain, 0, as_states(form), context.of_layer(1),
                                     n_threads=n_threads)
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-11)
