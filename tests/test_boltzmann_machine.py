"""Models are data: what a BoltzmannMachine refuses, keeps and is equal to; and its Parameters."""

import pickle

import exact
import numpy as np
import pytest
import reference
from comparisons import assert_same_model
from conftest import (
    KINDS,
    PAIRS,
    random_model,
    random_states,
    random_units,
    twin,
)

import deepgen as dg
from deepgen.inference.gibbs import update_layer
from deepgen.models import Parameters

# -------------------------------------------------------------------------------- plain data


@pytest.mark.parametrize("kinds", PAIRS)
def test_free_energy_sums_the_hidden_layer_out(kinds):
    """Catches weights read in the wrong order: F(v) = -log sum_h exp(-E(v, h)) ties all parts."""
    model = random_model(kinds, 1)
    layers, weights = twin(model)
    v = random_states(model.layers[0], 5, np.random.default_rng(1))
    missing = [None] * len(v)
    if kinds[0] == "softmax":
        missing = [[row, None] for row in reference.missing_groups(layers[0], v)]
    expected = [-exact.log_partition(layers, weights, missing=absent, clamped={0: row})
                for absent, row in zip(missing, v, strict=True)]
    np.testing.assert_allclose(dg.free_energy(model, v), expected, rtol=1e-5, atol=1e-5)


def test_parameters_of_a_model_are_read_only_copies():
    """Catches weights that change without a new version, so that caches go stale."""
    weights = np.ones((2, 3))
    model = dg.BoltzmannMachine([dg.Binary(2), dg.Binary(3)], [weights])
    weights[0, 0] = 5.0
    np.testing.assert_array_equal(model.weights[0], 1.0)
    assert model.weights[0].dtype == np.float32
    for array in (model.weights[0], model.layers[0].bias):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_replace_makes_another_version():
    """Catches a cache of log Z that survives a change of the parameters, and lost settings."""
    model = dg.BoltzmannMachine([dg.Binary(2), dg.Softmax(3, 3)], [np.zeros((2, 3))], observed=(1,))
    versions = {model.version}
    for changes in ({}, {"weights": [np.ones((2, 3))]},
                    {"layers": [dg.Binary(bias=[1, 2]), model.layers[1]]}):
        other = model.replace(**changes)
        versions.add(other.version)
        assert other.observed == (1,)
        assert other.layers[1].group == 3
    assert len(versions) == 4
    np.testing.assert_array_equal(model.weights[0], 0.0)
    assert model.chain is model.chain


def test_a_strided_or_wide_matrix_is_read_row_by_row():
    """Catches a transposed view or a float64 matrix that crosses to the kernels as it lies."""
    wide = np.arange(24.0).reshape(4, 6).T[::2]
    model = dg.BoltzmannMachine([dg.Binary(3), dg.Binary(4)], [0.01 * wide])
    v = np.eye(3, dtype=np.uint8)
    expected = reference.free_energy(*twin(model), v)
    np.testing.assert_allclose(dg.free_energy(model, v), expected, rtol=1e-6)


@pytest.mark.parametrize("kinds", [("binary", "binary"), ("gaussian", "copies", "softmax")])
def test_models_survive_pickling(kinds):
    """Catches a kernel view that is pickled, or parameters that lose bits; joblib needs this."""
    model = random_model(kinds, 2)
    model.chain  # noqa: B018  (built once, must not travel)
    again = pickle.loads(pickle.dumps(model))
    assert_same_model(again, model)
    assert again.version != model.version


def test_repr_names_the_layers():
    """Catches a repr that prints whole weight matrices."""
    model = dg.BoltzmannMachine([dg.Gaussian(2), dg.Binary(3)], [np.zeros((2, 3))])
    assert repr(model) == "BoltzmannMachine(Gaussian(2) - Binary(3))"


# ---------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("layers", "weights", "message"),
    [
        ([dg.Binary(2)], [], "at least two layers, got 1"),
        ([dg.Binary(2), dg.Binary()], [np.zeros((2, 2))], r"layers\[1\] must be Units with a size"),
        ([dg.Binary(2), 3], [np.zeros((2, 3))], r"layers\[1\] must be Units"),
        ([dg.Binary(2), dg.Binary(3)], [], "must hold 1 matrices"),
        ([dg.Binary(2), dg.Binary(3)], [np.zeros((3, 2))], r"shape \(2, 3\), got \(3, 2\)"),
        ([dg.Binary(2), dg.Binary(3)], [np.full((2, 3), np.nan)], r"weights\[0\] must be finite"),
        ([dg.Gaussian(2), dg.Gaussian(3)], [np.zeros((2, 3))], "both Gaussian"),
        ([dg.Binary(1), dg.Gaussian(2), dg.Gaussian(3)], [np.zeros((1, 2)), np.zeros((2, 3))],
         r"layers\[1\] and layers\[2\] are both Gaussian"),
        ([dg.Multinomial(2), dg.Binary(3)], [np.full((2, 3), 1e32)],
         r"weights\[0\] must lie within .* beside Multinomial units"),
        ([dg.Multinomial(2), dg.Binary(1, bias=[-1e32])], [np.zeros((2, 1))],
         r"layers\[1\].bias must lie within"),
    ],
)
def test_impossible_models_are_refused(layers, weights, message):
    """Catches shapes that kernels would read beyond, models without a finite log Z, and parameters
    whose sum over the words of a long document is infinite."""
    with pytest.raises(ValueError, match=message):
        dg.BoltzmannMachine(layers, weights)


@pytest.mark.parametrize("observed", [(2,), (-1,)])
def test_observed_names_layers_of_the_model(observed):
    """Catches data that are given for a layer which does not exist."""
    with pytest.raises(ValueError, match="observed must name layers"):
        dg.BoltzmannMachine([dg.Binary(2), dg.Binary(3)], [np.zeros((2, 3))], observed=observed)


def test_too_many_layers_are_refused():
    """Catches a chain that overruns the fixed table of layers in C."""
    layers, weights = [dg.Binary(1)] * 65, [np.zeros((1, 1))] * 64
    with pytest.raises(ValueError, match="at most 64 layers, got 65"):
        dg.BoltzmannMachine(layers, weights).chain  # noqa: B018
    dg.BoltzmannMachine(layers[1:], weights[1:]).chain  # noqa: B018


# ----------------------------------------------------------------------- parameters in training


@pytest.mark.parametrize("kinds", [("gaussian", "binary"), ("softmax", "copies", "gaussian")])
def test_parameters_make_the_same_model_again(kinds):
    """Catches a parameter that training would lose on the way in or out."""
    model = random_model(kinds, 3)
    parameters = Parameters(model)
    assert_same_model(parameters.to_model(), model)
    again = pickle.loads(pickle.dumps(parameters))
    assert_same_model(again.to_model(), model)


def test_parameters_are_the_trainers_own():
    """Catches training that changes the model it started from."""
    model = random_model(("gaussian", "binary"), 4)
    before = [array.copy() for array in (*model.weights, model.layers[0].log_precision)]
    parameters = Parameters(model)
    for array in parameters.learned().values():
        array += 1.0
    parameters.refresh()
    for array, kept in zip((*model.weights, model.layers[0].log_precision), before, strict=True):
        np.testing.assert_array_equal(array, kept)
    np.testing.assert_allclose(parameters.precisions[0], np.exp(parameters.log_precisions[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_kernels_see_parameters_as_they_change(kind):
    """Catches a chain that reads copies: training would sample from the first model for ever."""
    model = random_model((kind, "binary"), 5)
    parameters = Parameters(model)
    rng = np.random.default_rng(5)
    for array in parameters.learned().values():
        array += rng.normal(0.0, 0.1, array.shape).astype(np.float32)
    parameters.refresh()
    h = random_states(model.layers[1], 4, rng)
    changed = parameters.to_model()
    found, _ = update_layer(parameters, 0, [None, h], mean=True)
    expected, _ = update_layer(changed, 0, [None, h], mean=True)
    np.testing.assert_array_equal(found, expected)
    before, _ = update_layer(model, 0, [None, h], mean=True)
    assert (found != before).any()


def test_learned_names_say_the_layer():
    """Catches an optimizer state that is restored into another parameter."""
    names = list(Parameters(random_model(("gaussian", "binary"), 6)).learned())
    assert names == ["weights[0]", "layers[0].bias", "layers[1].bias", "layers[0].log_precision"]
    fixed = random_units("gaussian", np.random.default_rng(6))
    fixed = dg.Gaussian(bias=fixed.bias, learn_precision=False)
    model = dg.BoltzmannMachine([fixed, dg.Binary(2)], [np.zeros((3, 2))])
    assert "layers[0].log_precision" not in Parameters(model).learned()


def test_snapshots_restore_every_learned_parameter():
    """Catches a last good model that shares memory with the one that diverged."""
    parameters = Parameters(random_model(("gaussian", "binary"), 7))
    before = parameters.to_model()
    kept = parameters.snapshot()
    for name, array in parameters.learned().items():
        assert parameters.first_non_finite() is None
        array[...] = np.nan
        assert parameters.first_non_finite() == name
        parameters.restore(kept)
    parameters.refresh()
    assert_same_model(parameters.to_model(), before)
