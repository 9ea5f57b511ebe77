"""What varies by row: scales of biases, trials, patterns; and contexts of some rows."""

import numpy as np
import pytest
from conftest import assert_same_bits, exact_particles, random_model
from scipy import sparse

import deepgen as dg
from deepgen.inference.gibbs import update_layer
from deepgen.layers.passes import Outputs, conditional_pass, layer_log_weight
from deepgen.learning.machines import Trainer
from deepgen.models import Parameters
from deepgen.rows.batch import Batch
from deepgen.rows.sources import ArrayRows

N_ROWS = 60
KINDS = [("binary", "binary"), ("gaussian", "binary"), ("softmax", "binary"), ("binary", "softmax")]


def scaled(model, layer, seed=1):
    """A context with a bias scale, and one with bias rows that say the same."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.0, 5.0, N_ROWS).astype(np.float32)
    shift = rng.normal(size=(N_ROWS, model.layers[layer].size)).astype(np.float32)
    more = (scale[:, None] - 1.0) * model.layers[layer].bias
    return (dg.Context(bias_scale={layer: scale}, bias_rows={layer: shift}),
            dg.Context(bias_rows={layer: shift + more}))  # fmt: skip


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_a_bias_scale_is_bias_rows_of_that_many_biases(kinds, layer):
    """Would catch a scale that multiplies bias rows or weights too, or that of another row."""
    model = random_model(kinds, 3)
    states = exact_particles(model, N_ROWS, 2).states
    scale, rows = scaled(model, layer)
    for beta in (None, np.linspace(0.0, 1.0, N_ROWS)):
        around = [dg.Context(c.bias_rows, beta=beta, bias_scale=c.bias_scale)
                  for c in (scale, rows)]  # fmt: skip
        one, other = (update_layer(model, layer, states, context=c, mean=True)[0] for c in around)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        one, other = (layer_log_weight(model.chain, layer, states[layer], c.of_layer(layer))
                      for c in around)  # fmt: skip
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)
        logs = [np.zeros(N_ROWS) for _ in around]
        for out, c in zip(logs, around, strict=True):
            conditional_pass(model.chain, layer, states, Outputs(log_normalizer=out),
                             c.of_layer(layer))  # fmt: skip
        np.testing.assert_allclose(*logs, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("layer", [1, 2])
def test_mean_field_reads_a_bias_scale(layer):
    """Would catch rows that have arrived leaving their scales to others."""
    model = random_model(("binary", "binary", "binary"), 4)
    v = exact_particles(model, N_ROWS, 2)[0]
    scale, rows = scaled(model, layer)
    one, other = (dg.mean_field(model, [v, None, None], context=c, until=dg.FixedPoint(30))
                  for c in (scale, rows))  # fmt: skip
    assert len(set(one.n_sweeps.tolist())) > 1
    for l in (1, 2):
        np.testing.assert_allclose(one.means[l], other.means[l], atol=1e-4)


@pytest.mark.parametrize("kinds", [("binary", "binary"), ("softmax", "binary")], ids=str)
def test_what_is_not_in_a_pattern_is_no_part_of_a_row(kinds):
    """Would catch absent entries that the negative phase draws, or a stored zero that is absent."""
    model = random_model(kinds, 5)
    width, rng = model.layers[0].size, np.random.default_rng(0)
    there = np.repeat(rng.random((N_ROWS, width // 3)) < 0.5, 3, axis=1)
    X = exact_particles(model, N_ROWS, 1)[0] * there.astype(np.uint8)
    pattern = sparse.csr_array(there.astype(np.float32))
    pattern.data[:] = 0.0  # stored zeros are there
    rule = dg.CD(3)
    phases = [
        rule.phases(Parameters(model), Batch((X,), c), rule.start(model, dg.Stream(0)),
                    dg.Stream(1))
        for c in (dg.Context(pattern={0: pattern}), dg.Context(held={0: ~there}))
    ]  # fmt: skip
    for one, other in zip(phases[0].negative, phases[1].negative, strict=True):
        assert_same_bits(one, other)
    assert (phases[0].negative[0][~there] == 0).all()
    assert (phases[0].negative[0][there] != X[there]).any()


class Draws(dg.Binary):
    """A stand-in for units that share a number of draws."""

    takes_trials = True


def test_trials_reach_layers_whose_units_take_them():
    """Would catch lengths of documents that are dropped on the way, or that other units ignore."""
    context = dg.Context(trials={0: [3, 0, 9]}, bias_scale={1: [3.0, 0.0, 9.0]})
    context.check([Draws(4), dg.Binary(2)], 3)
    part = context.of_rows(np.array([2, 0])).of_layer(0)
    assert part.trials.tolist() == [9, 3]
    with pytest.raises(ValueError, match=r"trials names layer 0, but Binary.* has no number"):
        context.check([dg.Binary(4), dg.Binary(2)], 3)


@pytest.mark.parametrize("chosen", [slice(3, 8), np.array([9, 0, 4])], ids=["slice", "numbers"])
def test_some_rows_of_a_context_are_those_rows(chosen):
    """Would catch a part that keeps all rows, or takes those of another field."""
    rng = np.random.default_rng(1)
    there = sparse.csr_array((rng.random((10, 4)) < 0.5).astype(float))
    whole = dg.Context(
        bias_rows={0: rng.normal(size=(10, 4))}, held={0: rng.random((10, 4)) < 0.5},
        beta=rng.random(10), bias_scale={1: rng.random(10)}, trials={1: rng.integers(0, 9, 10)},
        pattern={0: there},
    )  # fmt: skip
    part = whole.of_rows(chosen)
    for name in ("bias_rows", "held", "bias_scale", "trials"):
        for l, value in getattr(whole, name).items():
            assert_same_bits(getattr(part, name)[l], value[chosen])
    assert_same_bits(part.beta, whole.beta[chosen])
    assert (part.pattern[0].toarray() == there.toarray()[chosen]).all()
    held = whole.of_layer(0).held
    assert (held == (whole.held[0] | (there.toarray() == 0))).all()


@pytest.mark.parametrize(("field", "value", "message"), [
    ("bias_scale", {1: np.ones(4)}, r"bias_scale\[1\] must have shape \(5,\), got \(4,\)"),
    ("bias_scale", {1: np.full(5, np.nan)}, r"bias_scale\[1\] must be finite"),
    ("trials", {0: [1.5] * 5}, r"trials\[0\] must be whole numbers"),
    ("trials", {0: [-1] * 5}, r"trials\[0\] must be whole numbers"),
    ("pattern", {0: np.ones((5, 6))}, r"pattern\[0\] must be a sparse matrix"),
    ("pattern", {0: sparse.csr_array((5, 7))}, r"pattern\[0\] must have shape \(5, 6\)"),
])  # fmt: skip
def test_contexts_that_do_not_fit_are_refused(field, value, message):
    """Would catch arrays that kernels read beyond."""
    model = random_model(("binary", "binary"), 1, (6, 3))
    X = np.zeros((5, 6), np.uint8)
    with pytest.raises((ValueError, TypeError), match=message):
        update_layer(model, 1, [X, None], mean=True, context=dg.Context(**{field: value}))


def test_data_with_a_context_of_other_rows_are_refused():
    """Would catch rows that get the contexts of others: more of them than data fit any number."""
    X = np.zeros((5, 6), np.uint8)
    for n_rows in (4, 6):
        for context in (
            dg.Context(beta=np.ones(n_rows)), dg.Context(bias_rows={1: np.zeros((n_rows, 3))}),
            dg.Context(pattern={0: sparse.csr_array((n_rows, 6))}),
        ):  # fmt: skip
            with pytest.raises(ValueError, match="must have 5 rows, one for each row of the data"):
                ArrayRows(X, context=context)
    with pytest.raises(TypeError, match=r"context must be a dg.Context or None, got {'beta'"):
        ArrayRows(X, context={"beta": np.ones(5)})


@pytest.mark.parametrize("as_given", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_states_outside_of_a_pattern_are_refused(as_given):
    """Would catch entries that the context leaves out of a row's model, and learning reads."""
    model = random_model(("binary", "binary"), 5, (4, 3))
    X = np.array([[1, 0, 0, 0], [0, 0, 1, 0]], np.uint8)
    pattern = sparse.csr_array(np.array([[1.0, 1, 0, 0], [1, 0, 0, 1]]))
    context = dg.Context(pattern={0: pattern})
    message = r"must be zero where pattern\[0\] has no entry, but are not in row 1, column 2"
    run = Trainer(model, dg.CD(), dg.SGD(), dg.Constant(0.1), stream=dg.Stream(0))
    with pytest.raises(ValueError, match=message):
        run.step(Batch((as_given(X),), context), 0.0)
    assert run.whole
    hidden = np.zeros((2, 3), np.uint8)
    for answer in (
        lambda: dg.gibbs(model, dg.Particles([X, hidden]), context=context),
        lambda: dg.mean_field(model, [as_given(X), None], context=context),
    ):
        with pytest.raises(ValueError, match=message):
            answer()
    X[1] = 0
    run.step(Batch((as_given(X),), context), 0.0)
