"""Belief networks as data: what they refuse, keep and are equal to, in memory and in files."""

import pickle

import numpy as np
import pytest
from conftest import assert_same_bits, random_belief_network, random_model

import deepgen as dg
from deepgen.io import model_files


def assert_same_network(one, other):
    """Fail unless two networks have the same units and the same bits."""
    entries, tensors = model_files.describe(one)
    again, others = model_files.describe(other)
    assert entries == again
    assert set(tensors) == set(others)
    for name, tensor in tensors.items():
        assert_same_bits(tensor, others[name])


NETWORKS = [
    ("binary", "binary", "binary"),
    ("gaussian", "softmax", "copies", "gaussian"),
    ("softmax", "gaussian", "binary"),
    ("binary", "binary"),
]


@pytest.mark.parametrize("kinds", NETWORKS)
def test_networks_survive_pickling_and_files(kinds, tmp_path):
    """Catches generative and recognition parameters that change places, and lost bits."""
    network = random_belief_network(kinds, 1)
    again = pickle.loads(pickle.dumps(network))
    assert_same_network(again, network)
    assert again.version != network.version
    model_files.save(network, tmp_path / "a", extra={"by": "hand"})
    loaded, extra = model_files.load_model(tmp_path / "a")
    assert_same_network(loaded, network)
    assert extra == {"by": "hand"}
    for layer in again.layers:
        for weights in (layer.generative, layer.recognition):
            assert not weights.flags.writeable


def test_a_stack_becomes_a_network_and_comes_back():
    """Catches biases that go to the wrong side: machine l holds both biases of layer l."""
    stack = [random_model(("gaussian", "binary"), 1), random_model(("binary", "binary"), 2)]
    network = dg.BeliefNetwork.from_stack(stack)
    assert network.sizes == (3, 3, 3)
    assert network.visible is stack[0].layers[0]
    assert network.layers[0].generative is network.layers[0].recognition
    assert network.layers[0].upper is stack[0].layers[1]
    for machine, again in zip(stack, network.stack, strict=True):
        assert_same_bits(machine.weights[0], again.weights[0])
        assert machine.layers == again.layers
    x = np.random.default_rng(0).normal(size=(4, 3))
    assert_same_bits(dg.encoder(network.stack).forward(x), dg.encoder(stack).forward(x))


def test_the_recognition_side_is_what_networks_are_unrolled_from():
    """Catches an encoder made of the generative weights, which differ after up-down."""
    network = random_belief_network(("binary", "binary", "binary"), 3)
    encoder = dg.encoder(network.stack)
    assert_same_bits(encoder.layers[0].weights, network.layers[0].recognition)
    assert_same_bits(encoder.layers[0].bias, network.layers[0].upper.bias)


def test_replace_makes_another_version():
    """Catches a cache of log Z that survives a change of the top."""
    network = random_belief_network(("binary", "binary", "binary"), 3)
    other = network.replace(top=random_model(("binary", "binary"), 4))
    assert other.layers == network.layers
    assert len({network.version, other.version, network.replace().version}) == 3
    assert repr(network) == "BeliefNetwork(Binary(3) <- Binary(3) - Binary(3))"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((dg.Binary(2), dg.Binary(3), np.zeros((3, 2)), np.zeros((2, 3))),
         r"generative must have shape \(2, 3\), got \(3, 2\)"),
        ((dg.Binary(2), dg.Binary(3), np.zeros((2, 3)), np.full((2, 3), np.nan)),
         "recognition must be finite"),
        ((dg.Binary(2), dg.Binary(), np.zeros((2, 3)), np.zeros((2, 3))), "upper must be Units"),
        ((dg.Gaussian(2), dg.Gaussian(3), np.zeros((2, 3)), np.zeros((2, 3))),
         r"lower and upper must not both be Gaussian, got .*; make one of them binary"),
    ],
)
def test_impossible_layers_are_refused(arguments, message):
    """Catches shapes that kernels would read beyond, and a message that names another matrix."""
    with pytest.raises(ValueError, match=message):
        dg.BeliefLayer(*arguments)


def test_parts_that_do_not_meet_are_refused():
    """Catches a layer whose states the next one would misread."""
    layer = random_belief_network(("binary", "softmax", "binary"), 1).layers[0]
    for top in (("binary", "binary"), ("gaussian", "binary")):
        with pytest.raises(ValueError, match=r"layers\[0\] ends in Softmax.*but top begins"):
            dg.BeliefNetwork([layer], random_model(top, 1))
    top = random_model(("softmax", "binary"), 1)
    with pytest.raises(ValueError, match=r"layers\[0\] ends in .* but layers\[1\] begins"):
        dg.BeliefNetwork([layer, layer], top)
    with pytest.raises(TypeError, match=r"must be a dg\.BeliefLayer"):
        dg.BeliefNetwork([top], top)
    with pytest.raises(ValueError, match="top must have 2 layers"):
        dg.BeliefNetwork([], random_model(("binary", "binary", "binary"), 1))
    with pytest.raises(ValueError, match="at least one machine"):
        dg.BeliefNetwork.from_stack([])
