"""Comparisons to the last bit: arrays, models, stacks, results, histories."""

import numpy as np
from conftest import assert_same_bits


def assert_same_parameters(one, other):
    """Fail unless two Boltzmann machines have the same bits of parameters."""
    for layer, its in zip(one.layers, other.layers, strict=True):
        for name, parameter in layer.parameters().items():
            assert_same_bits(parameter, its.parameters()[name])
    for weights, its in zip(one.weights, other.weights, strict=True):
        assert_same_bits(weights, its)


def assert_same_model(one, other):
    """Fail unless two Boltzmann machines have the same layers, with options, and parameters."""
    for layer, its in zip(one.layers, other.layers, strict=True):
        assert type(layer) is type(its)
        assert layer.options() == its.options()
    assert one.observed == other.observed
    assert_same_parameters(one, other)


def assert_same_models(ones, others):
    """Fail unless two stacks have the same machines."""
    for one, other in zip(ones, others, strict=True):
        assert_same_model(one, other)


def assert_same_network(one, other):
    """Fail unless two networks have the same bits of weights and biases."""
    for layer, its in zip(one.layers, other.layers, strict=True):
        assert_same_bits(layer.weights, its.weights)
        assert_same_bits(layer.bias, its.bias)


def assert_same_result(one, other):
    """Fail unless two results of mean field have the same bits."""
    for means, its in zip(one.means, other.means, strict=True):
        assert_same_bits(np.asarray(means), np.asarray(its))
    for name in ("n_sweeps", "change", "converged"):
        assert_same_bits(getattr(one, name), getattr(other, name))


def bits(model):
    """All parameters of a Boltzmann machine as bytes."""
    arrays = [*model.weights, *(p for layer in model.layers for p in layer.parameters().values())]
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def is_finite(model):
    """Tell whether every parameter is a number."""
    return bool(np.isfinite(np.frombuffer(bits(model), np.float32)).all())


def without_seconds(history):
    """A history without what differs from run to run."""
    return [{**entry, "seconds": 0} for entry in history]
