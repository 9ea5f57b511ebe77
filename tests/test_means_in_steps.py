"""Means that cross a pass as bytes: exact sums over strips, and mean field while a model learns."""

import numpy as np
import pytest
import reference
from comparisons import assert_same_result
from conftest import (
    THREADS,
    assert_same_bits,
    in_form,
    random_model,
    twin,
    with_slow,
)
from deepgen._kernels import engine

import deepgen as dg
from deepgen.inference.gibbs import update_layer
from deepgen.inference.mean_field import field_from, infer
from deepgen.layers import passes
from deepgen.models import Parameters
from deepgen.rows.states import ByteMeans
from deepgen.runtime.precision import rounded
from deepgen.runtime.work import Work

pytestmark = pytest.mark.usefixtures("serial")

# sizes of both layers, which of them is updated, copies of what sends, rows
SHAPES = [
    ((1, 1), 1, 1, 1),
    ((255, 33), 1, 1, 5),
    ((256, 40), 1, 1, 140),
    ((257, 31), 1, 2, 33),
    ((40, 600), 0, 1, 17),
    ((1_025, 66), 1, 8, 20),
]
BINARY = ("binary", "binary", "binary")
MODELS = [
    (BINARY, (90, 70, 300), "first"),
    (("binary", "copies", "binary", "softmax"), (30, 40, 35, 21), "some labels"),
    (("gaussian", "binary", "binary", "binary"), (20, 40, 33, 65), "first"),
]


def make_pass(shape, seed=1):
    """A model on the grid, bytes of the neighbour and the layer to update."""
    sizes, layer, n_copies, n_rows = shape
    kinds = ["binary", "binary"]
    kinds[1 - layer] = "copies" if n_copies > 1 else "binary"
    model = random_model(kinds, seed, sizes, 0.3, n_copies=n_copies)
    model = model.replace(weights=[rounded(*model.layers, model.weights[0])])
    rng = np.random.default_rng(seed)
    steps = rng.integers(0, 256, (n_rows, sizes[1 - layer])).astype(np.uint8)
    return model, ByteMeans(steps, n_copies / 255.0), layer


def mean_of(model, layer, x, n_threads=1):
    """Means of one layer given bytes of the other."""
    states = [x, None] if layer else [None, x]
    return update_layer(model, layer, states, mean=True, work=Work(n_threads=n_threads))[0]


def make_chain(case, seed=3, n_rows=150):
    """Parameters in training, states of a batch as a rule has them, and a context."""
    kinds, sizes, condition = case
    model = random_model(kinds, seed, sizes, scale=0.5)
    parameters = Parameters(model, packed=True)
    rng = np.random.default_rng(seed)
    first = model.layers[0]
    rows = (rng.normal(size=(n_rows, first.size)).astype(np.float32) if kinds[0] == "gaussian"
            else (rng.random((n_rows, first.size)) < 0.5).astype(np.uint8))  # fmt: skip
    states, held = [rows, *[None] * (model.n_layers - 1)], {}
    if condition == "some labels":
        top = model.layers[-1]
        states[-1] = np.zeros((n_rows, top.size), np.uint8)
        states[-1][:, :: top.group] = 1
        held = {model.n_layers - 1: np.repeat(rng.random((n_rows, 1)) < 0.5, top.size, axis=1)}
    return parameters, states, dg.Context(held=held)


# ------------------------------------------------------------------------------- one pass


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fields_are_the_integer_twin(shape, backend):
    """Catches a strip that is left out, read twice or met by the weights of another one, and a
    sum rounded at another place."""
    model, x, layer = make_pass(shape)
    numbers, scale = reference.grid(model.weights[0])
    numbers = numbers if layer else numbers.T
    field = reference.field_of_steps(model.layers[layer].bias, x.steps, x.unit, numbers, scale)
    expected = np.empty(field.size, np.float32)
    engine.elementwise("logistic", field.reshape(-1), expected)
    assert_same_bits(mean_of(model, layer, x), expected.reshape(field.shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_same_bits_for_every_back_end_and_number_of_threads(shape, restored_backend, threaded):
    """Catches an instruction set whose strips end elsewhere."""
    model, x, layer = make_pass(shape)
    expected = mean_of(model, layer, x)
    for name in engine.available_backends():
        restored_backend(name)
        for n_threads in (1, 2, 5, 8):
            assert_same_bits(mean_of(model, layer, x, n_threads), expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_stay_exact(sign, backend):
    """Catches an overflow of int32: 1,000 means of one that all meet the largest number, together
    255,000 steps, four times what one sum may have."""
    model = dg.BoltzmannMachine([dg.Binary(1_000), dg.Binary(3)],
                                [np.full((1_000, 3), sign * 32767 * 2.0**-25)])  # fmt: skip
    x = ByteMeans(np.full((20, 1_000), 255, np.uint8), 1.0 / 255.0)
    expected = 1.0 / (1.0 + np.exp(-sign * 32_767_000 * 2.0**-25))
    np.testing.assert_allclose(mean_of(model, 1, x), expected, rtol=1e-6)


@pytest.mark.parametrize("n_rows", [3, 40])
def test_floats_read_the_same_means(n_rows):
    """Catches a unit that only fixed-point weights know: a model off the grid, few and many means
    that are zero."""
    model = random_model(("binary", "binary"), 1, (70, 33), 0.3)
    rng = np.random.default_rng(1)
    for density in (0.1, 1.0):
        steps = rng.integers(1, 256, (n_rows, 70)) * (rng.random((n_rows, 70)) < density)
        x = ByteMeans(steps.astype(np.uint8), 1.0 / 255.0)
        assert_same_bits(mean_of(model, 1, x), mean_of(model, 1, x.to_dense()))


# ------------------------------------------------------------------------------- mean field


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_a_model_that_learns_reads_steps(case):
    """Catches a layer that reads another's mean unrounded, doubled in the wrong place, or at the
    unit of one copy. A mean that falls on the other side of half a step moves a field by a weight
    / 255, so a few rows may differ by that, where means that are not rounded differ everywhere."""
    parameters, states, context = make_chain(case)
    until = dg.FixedPoint(max_sweeps=4, tol=0.0)
    found = dg.mean_field(parameters, states, context=context, until=until)
    layers, weights = twin(parameters.to_model())
    held = {l: mask.astype(bool) for l, mask in context.held.items()}
    away = {}
    for in_steps in (True, False):
        expected = reference.mean_field(layers, weights, states, held, max_sweeps=4, tol=0.0,
                                        in_steps=in_steps)  # fmt: skip
        distances = [np.abs(x - y).max(axis=1)
                     for x, y in zip(found.means[1:], expected.means[1:], strict=True)]
        away[in_steps] = np.max(distances, axis=0)
    assert (away[True] < 2e-5).mean() > 0.9
    assert away[True].max() < 0.02
    assert (away[False] > 2e-5).mean() > 0.9


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_a_finished_model_reads_its_means(case):
    """Catches likelihoods and features from rounded means."""
    parameters, states, context = make_chain(case)
    model = parameters.to_model()
    until = dg.FixedPoint(max_sweeps=4, tol=0.0)
    found = dg.mean_field(model, states, context=context, until=until)
    held = {l: mask.astype(bool) for l, mask in context.held.items()}
    expected = reference.mean_field(*twin(model), states, held, max_sweeps=4, tol=0.0)
    for x, y in zip(found.means[1:], expected.means[1:], strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("case", with_slow(MODELS, [MODELS[0], MODELS[2]]), ids=str)
def test_rows_do_not_depend_on_back_ends_threads_or_their_neighbours(
    case, restored_backend, threaded
):
    """Catches a row whose bytes stay behind when the rows that have arrived leave the tile."""
    parameters, states, context = make_chain(case)
    until = dg.FixedPoint(max_sweeps=30, tol=1e-3)
    tools = {"until": until, "n_threads": 1}
    expected = dg.mean_field(parameters, states, context=context, **tools)
    assert len(set(expected.n_sweeps)) > 2
    for name in engine.available_backends():
        restored_backend(name)
        for n_threads in THREADS:
            tools["n_threads"] = n_threads
            found = dg.mean_field(parameters, states, context=context, **tools)
            assert_same_result(found, expected)
    for row in range(0, len(states[0]), 11):
        one = slice(row, row + 1)
        alone = [None if x is None else x[one] for x in states]
        held = {l: mask[one] for l, mask in context.held.items()}
        found = dg.mean_field(parameters, alone, context=dg.Context(held=held), **tools)
        for x, y in zip(found.means, expected.means, strict=True):
            assert_same_bits(np.asarray(x), np.ascontiguousarray(y[one]))
        assert found.n_sweeps[0] == expected.n_sweeps[row]


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_a_batch_of_several_kernel_calls_has_the_same_bits(case, monkeypatch):
    """Catches means in bytes that cannot be cut: 1,000 rows of 784-500-1000 are two calls."""
    parameters, states, context = make_chain(case)
    expected = dg.mean_field(parameters, states, context=context)
    monkeypatch.setattr(passes, "CALL_WORK", 1)
    assert_same_result(dg.mean_field(parameters, states, context=context), expected)


@pytest.mark.parametrize("n_categories", [7, 40])
def test_what_a_known_layer_sends_to_softmax_units(n_categories):
    """Catches packed tiles of whole groups read as those of a linear layer."""
    layers = [dg.Binary(50), dg.Softmax(n_categories, 10 * n_categories)]
    rng = np.random.default_rng(4)
    model = dg.BoltzmannMachine(
        layers, [rounded(*layers, rng.normal(size=(50, 10 * n_categories)).astype(np.float32))]
    )
    x = (rng.random((20, 50)) < 0.5).astype(np.uint8)
    sent = field_from(model, 0, 1, x, Work(n_threads=1))
    np.testing.assert_allclose(sent, x @ model.weights[0].astype(float), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("density", [0.05, 0.6])
def test_all_forms_of_binary_rows_start_alike(density, backend):
    """Catches rows that count twice in the start as states 0 and 2, which a table of states 0 and
    1 takes for nothing: it did where more than half of the pixels were on."""
    parameters, _, _ = make_chain(MODELS[0])
    rows = (np.random.default_rng(2).random((64, 90)) < density).astype(np.uint8)
    until = dg.FixedPoint(max_sweeps=1, tol=0.0)
    layers, weights = twin(parameters.to_model())
    expected = reference.mean_field(layers, weights, [rows, None, None], max_sweeps=1,
                                    in_steps=True)  # fmt: skip
    for form in ("bytes", "floats", "csr"):
        found = infer(parameters, in_form(rows, form), until)
        for x, y in zip(found[1:], expected.means[1:], strict=True):
            np.testing.assert_allclose(x, y, atol=0.005)


def test_a_mean_that_is_no_number_comes_out_as_such():
    """Catches a run that diverged and goes on with the byte that not-a-number became."""
    parameters, states, _ = make_chain(MODELS[0], n_rows=5)
    parameters.biases[1][3] = np.nan
    found = infer(parameters, states[0], dg.FixedPoint(max_sweeps=2))
    assert np.isnan(found[1][:, 3]).all()


def test_the_setting_float32_has_no_steps():
    """Catches bytes in a run that was asked to have none."""
    model = random_model(BINARY, 3, (90, 70, 300), scale=0.5)
    rows = (np.random.default_rng(2).random((30, 90)) < 0.5).astype(np.uint8)
    dg.set_precision("float32")
    try:
        parameters = Parameters(model, packed=True)
    finally:
        dg.set_precision(None)
    found = dg.mean_field(parameters, [rows, None, None])
    assert_same_result(found, dg.mean_field(Parameters(model), [rows, None, None]))
