"""Networks: forward and backward passes, losses, penalties, dropout, files."""

import numpy as np
import pytest
import reference
from conftest import (
    THREADS,
    assert_mean,
    assert_same_bits,
    in_form,
    random_model,
    random_units,
)

import deepgen as dg
from deepgen.inference.gibbs import update_layer
from deepgen.io import model_files
from deepgen.models import Network, NetworkLayer, NetworkParameters, backprop
from deepgen.networks.losses import CrossEntropy, SoftmaxCrossEntropy, SquaredError
from deepgen.networks.objective import Objective
from deepgen.networks.smoothness import scaled
from deepgen.rows.batch import Batch
from deepgen.runtime.stream import DROPOUT, Stream
from deepgen.runtime.work import Work

FLOAT32 = {"rtol": 2e-5, "atol": 2e-6}
N_ROWS = 6


def random_network(kinds, sizes, seed=0, scale=0.7, group=None):
    """A network with normal weights and biases."""
    rng = np.random.default_rng(seed)
    layers = []
    for l, kind in enumerate(kinds):
        options = {"group": group} if kind == "softmax" else {}
        layers.append(
            NetworkLayer(
                kind, rng.normal(0.0, 0.3, sizes[l + 1]),
                rng.normal(0.0, scale, (sizes[l], sizes[l + 1])), **options,
            )
        )  # fmt: skip
    return Network(layers)


def tied_network(kinds=("logistic", "logistic", "linear", "logistic", "logistic"), seed=3):
    """5-4-3-2-(3)-(4): the last two layers are transposes of the layers 2 and 1."""
    inner = random_network(kinds[:3], (4, 3, 2, 3), seed)
    rng = np.random.default_rng(seed + 1)
    last = NetworkLayer(kinds[3], rng.normal(size=4), tied_to=0)
    middle = NetworkLayer("rectified", rng.normal(size=3), tied_to=1)
    return Network([*inner.layers[:2], middle, last])


def targets_for(loss, size, rng):
    """Targets that a loss takes."""
    if isinstance(loss, SquaredError):
        return rng.normal(size=(N_ROWS, size)).astype(np.float32)
    targets = rng.random((N_ROWS, size))
    if isinstance(loss, SoftmaxCrossEntropy):
        targets /= targets.reshape(N_ROWS, -1, 2).sum(axis=2).repeat(2, axis=1)
        targets[1, :2] = 0.0  # a variable that is missing
    return targets.astype(np.float32)


def assert_gradients_match(network, objective, X, target):
    """Compare value and every derivative with the float64 twin's finite differences."""
    value, gradients = objective.evaluate(NetworkParameters(network), Batch((X,), target=target))
    layers, arrays = reference.network_arrays(network)
    name_of_loss = type(objective.loss).__name__

    def function(name):
        def at(array):
            moved = {**arrays, name: array}
            return reference.network_objective(
                layers, moved, X, target, name_of_loss, objective.l2, objective.l1
            )
        return at

    np.testing.assert_allclose(value, function("")(None), **FLOAT32)
    assert set(gradients) == set(arrays)
    for name, array in arrays.items():
        slope = reference.finite_difference(function(name), array)
        np.testing.assert_allclose(gradients[name], slope, rtol=1e-4, atol=2e-5, err_msg=name)


# ---------------------------------------------------------------------------- forward passes


@pytest.mark.parametrize("form", ["bytes", "floats", "csr"])
def test_forward_equals_reference(backend, form):
    """Would catch a wrong activation, a bias left out, a form of states read wrongly."""
    kinds = ("rectified", "softmax", "linear", "logistic")
    network = random_network(kinds, (40, 70, 6, 33, 9), group=3)
    X = np.random.default_rng(1).integers(0, 2, (N_ROWS, 40))
    expected = reference.network_outputs(*reference.network_arrays(network), X)[-1]
    np.testing.assert_allclose(network.forward(in_form(X, form)), expected, **FLOAT32)


def test_tied_layers_use_the_transpose():
    """Would catch a tied layer that reads its owner's weights the wrong way round."""
    network = tied_network()
    X = np.random.default_rng(2).normal(size=(N_ROWS, 4)).astype(np.float32)
    expected = reference.network_outputs(*reference.network_arrays(network), X)[-1]
    np.testing.assert_allclose(network.forward(X), expected, **FLOAT32)


def test_bits_do_not_depend_on_threads_or_cuts(threaded):
    """Would catch sums that cross threads, and remainders of rows that are summed otherwise."""
    network = random_network(("logistic", "rectified", "softmax"), (300, 270, 65, 40), scale=0.1)
    X = np.random.default_rng(0).normal(size=(301, 300)).astype(np.float32)
    target = np.random.default_rng(1).integers(0, 40, 301)
    objective = Objective(SoftmaxCrossEntropy(), l1=0.01, l2=0.1)
    whole = network.forward(X, n_threads=1)
    alone = Work(n_threads=1)
    batch = Batch((X,), target=target)
    value, gradients = objective.evaluate(NetworkParameters(network), batch, work=alone)
    for n_threads in THREADS:
        assert_same_bits(network.forward(X, n_threads=n_threads), whole)
        its_value, its = objective.evaluate(
            NetworkParameters(network), batch, work=Work(n_threads=n_threads)
        )
        assert its_value == value
        for name, gradient in gradients.items():
            assert_same_bits(its[name], gradient)
    for cut in (1, 2, 7, 15, 16, 17, 128, 300):
        pieces = [network.forward(part) for part in np.split(X, [cut])]
        assert_same_bits(np.concatenate(pieces), whole)


@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 5, 6, 11, 15, 16, 17, 31, 33])
def test_sums_over_rows_equal_reference(backend, n_rows):
    """Would catch a remainder of rows or columns that the micro kernels leave out."""
    rng = np.random.default_rng(n_rows)
    network = random_network(("linear", "linear"), (37, n_rows, 41), scale=0.1)
    X, delta = (rng.normal(size=(n_rows, n)).astype(np.float32) for n in (37, 41))
    kept = backprop.forward(network, X)
    gradients = backprop.backward(network, kept, delta.copy())
    hidden = X.astype(np.float64) @ network.layers[0].weights + network.layers[0].bias
    np.testing.assert_allclose(gradients["weights[1]"], hidden.T @ delta, rtol=1e-4, atol=1e-4)
    below = delta.astype(np.float64) @ network.layers[1].weights.T
    np.testing.assert_allclose(gradients["weights[0]"], X.T @ below, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradients["layers[0].bias"], below.sum(0), rtol=1e-4, atol=1e-4)


def test_no_rows_and_extreme_fields():
    """Would catch an empty batch that fails, and fields of 1e4 that overflow a loss."""
    network = random_network(("logistic", "softmax"), (3, 4, 5))
    assert network.forward(np.empty((0, 3), np.float32)).shape == (0, 5)
    layer = NetworkLayer("logistic", np.zeros(2), np.eye(2))
    field = np.array([[1e4, -1e4]], np.float32)
    value, gradient, _ = CrossEntropy().evaluate(
        layer, field, np.array([[0.0, 1.0]], np.float32), {}
    )
    assert value == pytest.approx(2e4)
    np.testing.assert_array_equal(gradient, [[1.0, -1.0]])


# ------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("hidden", ["logistic", "softmax", "linear", "rectified"])
@pytest.mark.parametrize(
    ("last", "loss"),
    [
        ("logistic", CrossEntropy()), ("softmax", SoftmaxCrossEntropy()),
        ("logistic", SquaredError()), ("softmax", SquaredError()), ("linear", SquaredError()),
        ("rectified", SquaredError()),
    ],
)  # fmt: skip
def test_gradients_equal_finite_differences(hidden, last, loss):
    """Would catch a wrong derivative of an activation or a loss, a factor 2, a lost 1 / n."""
    network = random_network((hidden, "logistic", last), (4, 6, 3, 4), seed=5, group=2)
    rng = np.random.default_rng(6)
    X = rng.normal(size=(N_ROWS, 4)).astype(np.float32)
    target = targets_for(loss, 4, rng)
    assert_gradients_match(network, Objective(loss), X, target)


def test_gradients_with_labels():
    """Would catch class numbers that are read as something else than one-hot rows."""
    network = random_network(("logistic", "softmax"), (4, 5, 3), seed=7)
    X = np.random.default_rng(8).normal(size=(N_ROWS, 4)).astype(np.float32)
    labels = np.array([0, 2, 1, 1, 0, 2])
    objective = Objective(SoftmaxCrossEntropy())
    assert_gradients_match(network, objective, X, labels)
    one = objective.evaluate(network, Batch((X,), target=labels))
    other = objective.evaluate(network, Batch((X,), target=np.eye(3, dtype=np.float32)[labels]))
    assert one[0] == pytest.approx(other[0], rel=1e-6)


@pytest.mark.parametrize("l1", [0.0, 0.3])
@pytest.mark.parametrize("l2", [0.0, 0.2])
def test_gradients_of_tied_weights_and_penalties(l1, l2):
    """Would catch tied weights that get one side's gradient, or whose penalty counts twice."""
    network = tied_network()
    X = np.random.default_rng(9).random((N_ROWS, 4)).astype(np.float32)
    assert_gradients_match(network, Objective(CrossEntropy(), l1=l1, l2=l2), X, X)


@pytest.mark.parametrize(("top", "group"), [("softmax", 3), ("logistic", None), ("linear", None)])
def test_virtual_adversarial_penalty_equals_the_reference(top, group):
    """Would catch a move along the wrong direction, or one of the whole batch in place of each
    row; a penalty that is not divided by the rows; a gradient that goes through p(x) or the move.
    """
    rng, radius, weight, step = np.random.default_rng(2), 0.4, 0.7, 0.2
    first = NetworkLayer("logistic", rng.normal(size=5), rng.normal(size=(4, 5)))
    last = NetworkLayer(top, rng.normal(size=6), rng.normal(size=(5, 6)), group=group)
    network = dg.Network([first, last])
    X = rng.random((N_ROWS, 4)).astype(np.float32)
    stream, penalty = Stream(8), dg.VirtualAdversarial(radius, weight, step)
    layers, arrays = reference.network_arrays(network)
    direction = stream.child("smoothness").uniform(*X.shape, DROPOUT) - 0.5
    output, move = reference.virtual_adversarial(layers, arrays, X, direction, radius, step)

    def expected(changed):
        away = reference.network_divergence(layers, arrays | changed, X + move, output)
        return weight * away.mean()

    _, kept = network.forward(X, keep=True)
    value, gradients = penalty.evaluate(network, X, kept.field, stream=stream)
    assert value == pytest.approx(expected({}), rel=2e-4)
    for name, array in arrays.items():
        slope = reference.finite_difference(lambda a, name=name: expected({name: a}), array)
        np.testing.assert_allclose(gradients[name], slope, rtol=2e-3, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("size", [3.0, 1e-4, 1e-20, 1e-25, 1e-38])
def test_moves_have_their_length(size):
    """Would catch squares that vanish as float32: such a move was 1e16 long."""
    rows = np.full((2, 64), size, np.float32)
    rows[1] = 0.0
    moves = scaled(rows, 0.5)
    np.testing.assert_allclose(np.sqrt((moves.astype(np.float64) ** 2).sum(axis=1)), [0.5, 0.0],
                               rtol=1e-5)  # fmt: skip


def test_a_row_that_hardly_moves_costs_nothing():
    """Would catch a penalty below zero: of normalizers that cancel rounding leaves either sign."""
    first = NetworkLayer("rectified", np.zeros(3), 5.0 * np.eye(3))
    network = dg.Network([first, NetworkLayer("softmax", np.zeros(3), 5.0 * np.eye(3))])
    X = (0.93 * np.eye(3) + 0.013).astype(np.float32)
    _, kept = network.forward(X, keep=True)
    value, _ = dg.VirtualAdversarial(1e-4).evaluate(network, X, kept.field, stream=Stream(0))
    assert 0.0 <= value < 1e-12


def test_smoothness_adds_to_an_objective_and_draws_nothing_out():
    """Would catch a penalty of the outputs under dropout, one counted in a validation loss, or
    layers that `first` keeps still and that move.
    """
    network = random_network(("logistic", "softmax"), (4, 5, 3), seed=1)
    X, labels = np.random.default_rng(0).random((8, 4)).astype(np.float32), np.arange(8) % 3
    plain = Objective(SoftmaxCrossEntropy(), dropout=0.5)
    smooth = Objective(SoftmaxCrossEntropy(), dropout=0.5, smoothness=dg.VirtualAdversarial(0.5))
    stream = Stream(5)
    alone, slopes = plain.evaluate(network, Batch((X,), target=labels), stream=stream)
    value, gradients = smooth.evaluate(network, Batch((X,), target=labels), stream=stream)
    _, kept = network.forward(X, keep=True)
    more, added = dg.VirtualAdversarial(0.5).evaluate(network, X, kept.field, stream=stream)
    assert value == pytest.approx(alone + more)
    for name, slope in slopes.items():
        np.testing.assert_allclose(gradients[name], slope + added[name], rtol=1e-6)
    batch = Batch((X,), target=labels)
    assert smooth.evaluate(network, batch)[0] == plain.evaluate(network, batch)[0]
    _, top = smooth.evaluate(network, Batch((X,), target=labels), stream=stream, first=1)
    assert set(top) == {"weights[1]", "layers[1].bias"}


def test_backward_of_any_function_of_the_outputs():
    """Would catch a `backward` that serves the built-in losses only, or a wrong input gradient."""
    network = random_network(("rectified", "softmax"), (4, 5, 3), seed=2)
    rng = np.random.default_rng(3)
    X, factor = rng.normal(size=(N_ROWS, 4)), rng.normal(size=(N_ROWS, 3))
    output, kept = network.forward(X, keep=True)
    assert_same_bits(output, network.forward(X))
    gradients, by_input = network.backward(kept, factor, by_input=True)
    layers, arrays = reference.network_arrays(network)

    def function(x):
        return (reference.network_outputs(layers, arrays, x)[-1] * factor).sum()

    slope = reference.finite_difference(function, X.astype(np.float32))
    np.testing.assert_allclose(by_input, slope, rtol=1e-4, atol=2e-5)
    for name, array in arrays.items():
        slope = reference.finite_difference(
            lambda a, name=name: (
                reference.network_outputs(layers, {**arrays, name: a}, X)[-1] * factor
            ).sum(),
            array,
        )
        np.testing.assert_allclose(gradients[name], slope, rtol=1e-4, atol=2e-5, err_msg=name)


def test_only_the_layers_asked_for_get_gradients():
    """Would catch a training of the top alone that moves what lies below."""
    network = random_network(("logistic", "logistic", "linear"), (4, 5, 3, 2))
    X = np.random.default_rng(0).random((N_ROWS, 4)).astype(np.float32)
    target = np.zeros((N_ROWS, 2), np.float32)
    parameters, objective = NetworkParameters(network), Objective(SquaredError())
    _, every = objective.evaluate(parameters, Batch((X,), target=target))
    _, top = objective.evaluate(parameters, Batch((X,), target=target), first=2)
    assert set(top) == {"weights[2]", "layers[2].bias"}
    for name, gradient in top.items():
        assert_same_bits(gradient, every[name])


# ----------------------------------------------------------------------------------- dropout


def test_dropout_keeps_the_mean_and_the_share():
    """Would catch masks without the division, a share that is kept instead of left out."""
    dropout = backprop.Dropout(Stream(5), inputs=0.25, hidden=0.5)
    for layer, share in ((0, 0.25), (3, 0.5)):
        mask = dropout.mask(layer, (4000, 8))
        np.testing.assert_allclose(np.unique(mask), [0.0, 1.0 / (1.0 - share)])
        assert_mean(mask, 1.0)
    assert backprop.Dropout(Stream(5), inputs=0.25).mask(1, (3, 3)) is None


def test_dropout_differs_between_layers_rows_and_updates():
    """Would catch masks that two layers or two updates share."""
    masks = [
        backprop.Dropout(Stream(5, update), hidden=0.5).mask(layer, (64, 64))
        for layer in (1, 2) for update in (0, 1)
    ]  # fmt: skip
    masks += [masks[0].T.copy()]
    for i, one in enumerate(masks):
        for other in masks[i + 1 :]:
            assert 0.4 < (one == other).mean() < 0.6


def test_masking_noise_leaves_the_rest_untouched():
    """Would catch denoising that rescales what stays."""
    mask = backprop.Dropout(Stream(6), masking=0.3).mask(0, (4000, 8))
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert_mean(mask, 0.7)


def test_gradient_under_dropout_is_that_of_the_thinned_network():
    """Would catch a backward pass that forgets the masks: the dropped function is still smooth."""
    network = random_network(("logistic", "linear"), (4, 6, 3), seed=4)
    X = np.random.default_rng(1).normal(size=(N_ROWS, 4)).astype(np.float32)
    target = np.ones((N_ROWS, 3), np.float32)
    objective = Objective(SquaredError(), dropout=0.5, input_dropout=0.3)
    stream = Stream(9, 4)
    dropout = backprop.Dropout(stream, 0.3, 0.5)
    masks = [dropout.mask(l, (N_ROWS, network.sizes[l])) for l in range(2)]
    layers, arrays = reference.network_arrays(network)
    _, gradients = objective.evaluate(network, Batch((X,), target=target), stream=stream)
    for name, array in arrays.items():
        def function(a, name=name):
            outputs = reference.network_outputs(layers, {**arrays, name: a}, X, masks)
            return ((outputs[-1] - target) ** 2).sum(axis=1).mean()
        slope = reference.finite_difference(function, array)
        np.testing.assert_allclose(gradients[name], slope, rtol=1e-4, atol=2e-5, err_msg=name)


def test_input_noise_is_normal_and_drawn_anew_in_each_update():
    """Would catch noise of another deviation, the same one in every update or row, noise where
    nothing learns, and rows that keep it.
    """
    fields, n = [], 4_000

    class Watched(SquaredError):
        def evaluate(self, layer, field, target, parameters):
            fields.append(field.copy())
            return super().evaluate(layer, field, target, parameters)

    as_it_is = Network([NetworkLayer("linear", np.zeros(3), np.eye(3))])
    X = np.ones((n, 3), np.float32)
    objective = Objective(Watched(), input_noise=0.25)
    for stream in (Stream(9, 4), Stream(9, 4), Stream(9, 5), None):
        objective.evaluate(as_it_is, Batch((X,), target=X), stream=stream)
    first, again, later, judged = (field - 1.0 for field in fields)
    assert_same_bits(first, again)
    assert (X == 1.0).all()
    assert not judged.any()
    for noise in (first, later):
        assert abs(noise.mean()) < 5 * 0.25 / np.sqrt(3 * n)
        assert abs(noise.std() - 0.25) < 5 * 0.25 / np.sqrt(6 * n)
        assert np.abs(np.corrcoef(noise.T) - np.eye(3)).max() < 5 / np.sqrt(n)
    assert abs(np.corrcoef(first.ravel(), later.ravel())[0, 1]) < 5 / np.sqrt(3 * n)


# ---------------------------------------------------------------------------------- unrolling


@pytest.mark.parametrize("top", ["binary", "gaussian", "softmax"])
def test_a_fresh_stack_gives_exactly_its_features(top):
    """Would catch an encoder that only resembles the stack: no bit may differ before a step."""
    rng = np.random.default_rng(3)
    sizes, models = [50, 40, 33, 6], []
    for l in range(3):
        hidden = dg.Binary(bias=rng.normal(size=sizes[l + 1]))
        if l == 2 and top == "gaussian":
            hidden = dg.Gaussian(bias=rng.normal(size=6), learn_precision=False)
        if l == 2 and top == "softmax":
            hidden = random_units("softmax", rng, 6)
        visible = dg.Binary(bias=rng.normal(size=sizes[l]))
        weights = rng.normal(0.0, 0.3, (sizes[l], sizes[l + 1]))
        models.append(dg.BoltzmannMachine([visible, hidden], [weights]))
    X = rng.random((20, 50)).astype(np.float32)
    features = X
    for model in models:
        features = update_layer(model, 1, [features, None], mean=True)[0]
    assert_same_bits(dg.encoder(models).forward(X), features)
    assert_same_bits(backprop.outputs(dg.unrolled(models), X, until=3), features)


def test_the_decoder_is_the_mirror():
    """Would catch decoders with the wrong biases, order or scale of Gaussian units."""
    models = [random_model(("gaussian", "binary"), 1, (5, 4)),
              random_model(("binary", "gaussian"), 2, (4, 3))]  # fmt: skip
    network = dg.unrolled(models)
    assert [layer.activation for layer in network.layers] == [
        "logistic", "linear", "logistic", "linear"
    ]  # fmt: skip
    code = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    hidden = dg.RBM.from_model(models[1]).inverse_transform(code)
    rebuilt = dg.RBM.from_model(models[0]).inverse_transform(hidden)
    np.testing.assert_allclose(backprop.outputs(network, code, first=2), rebuilt, **FLOAT32)


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ([], "at least one"),
        ([random_model(("binary", "binary"), 0), random_model(("binary", "binary"), 1, (4, 2))],
         "has 4 visible"),
        ([random_model(("binary", "copies"), 0)], "tied copies"),
        ([random_model(("binary", "binary", "binary"), 0)], "2 layers"),
    ],
)  # fmt: skip
def test_stacks_that_do_not_fit_are_refused(stack, message):
    """Would catch a stack that fails late, or silently means something else."""
    with pytest.raises(ValueError, match=message):
        dg.encoder(stack)


# ------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (list, "at least one"),
        (lambda: [NetworkLayer("tanh", [0.0], [[1.0]])], "activation"),
        (lambda: [NetworkLayer("linear", [0.0], [[1.0, 2.0]])], "columns"),
        (lambda: [NetworkLayer("linear", [0.0])], "either weights or tied_to"),
        (lambda: [NetworkLayer("linear", [np.nan], [[1.0]])], "finite"),
        (lambda: [NetworkLayer("linear", [0.0], tied_to=0)], "tied_to"),
        (lambda: [NetworkLayer("linear", [0.0, 0.0], np.ones((3, 2))),
                  NetworkLayer("linear", [0.0], np.ones((3, 1)))], "come from below"),
        (lambda: [NetworkLayer("softmax", [0.0, 0.0, 0.0], np.ones((2, 3)), group=2)], "divide"),
    ],
)  # fmt: skip
def test_networks_that_do_not_fit_are_refused(layers, message):
    """Would catch a wrong network that a kernel would read beyond its arrays."""
    with pytest.raises(ValueError, match=message):
        Network(layers())


def test_networks_do_not_change():
    """Would catch arrays that a user could change behind the version."""
    network = tied_network()
    with pytest.raises(ValueError):
        network.layers[0].weights[0, 0] = 1.0
    assert network.replace(layers=network.layers).version != network.version


@pytest.mark.parametrize("network", [
    tied_network(), random_network(("softmax", "rectified"), (3, 4, 2), group=2),
])  # fmt: skip
def test_files_keep_every_bit(tmp_path, network):
    """Would catch a file that forgets a tie, a group, an activation."""
    model_files.save(network, tmp_path / "n.safetensors", extra={"a": 1})
    loaded, extra = model_files.load_model(tmp_path / "n.safetensors")
    assert extra == {"a": 1}
    assert repr(loaded) == repr(network)
    for one, other in zip(network.layers, loaded.layers, strict=True):
        assert (one.activation, one.tied_to, one.group) == (
            other.activation, other.tied_to, other.group
        )  # fmt: skip
        assert_same_bits(one.bias, other.bias)
        if one.weights is not None:
            assert_same_bits(one.weights, other.weights)


def test_damaged_network_files_are_refused(tmp_path, monkeypatch):
    """Would catch a loader that trusts sizes, ties or names of a file."""
    describe = model_files.describe

    def with_change(change):
        def changed(model):
            config, tensors = describe(model)
            change(config)
            return config, tensors
        return changed

    for change in (
        lambda c: c["layers"][0].update(activation="tanh"),
        lambda c: c["layers"][0].update(size=7),
        lambda c: c["layers"][0].update(unknown=1),
        lambda c: c["layers"][3].update(tied_to=9),
        lambda c: c["layers"][3].update(tied_to=2),
        lambda c: c.update(n_inputs=0),
        lambda c: c.update(observed=[0]),
        lambda c: c.update(layers=[]),
    ):
        monkeypatch.setattr(model_files, "describe", with_change(change))
        model_files.save(tied_network(), tmp_path / "n.safetensors")
        with pytest.raises(dg.ModelFileError):
            model_files.load_model(tmp_path / "n.safetensors")
