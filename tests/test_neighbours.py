"""Nonlinear neighbourhood components: the loss, votes, the estimator, files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reference
from comparisons import assert_same_network
from conftest import assert_same_bits
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from stops import At, Stop, fail

import deepgen as dg
from deepgen.cli import main
from deepgen.inference import neighbours
from deepgen.inference.neighbours import neighbour_loss, votes
from deepgen.io.schemas.registry import as_tree, from_tree
from deepgen.models import NetworkParameters

DATA = Path(__file__).parent / "data"
QUICK = {"n_epochs": 4, "batch_size": 20, "random_state": 3, "learning_rate": 0.01}
GREEDY = dg.Pretraining(n_epochs=2)


def data(n_rows=40, seed=0):
    """Rows of three classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n_rows)
    X = np.clip(0.3 * rng.random((n_rows, 6)) + 0.6 * np.eye(6)[2 * labels], 0.0, 1.0)
    return X.astype(np.float32), np.array(["a", "b", "c"])[labels]


def network(top, seed=0):
    """6-5-2."""
    rng = np.random.default_rng(seed)
    return dg.Network([
        dg.NetworkLayer("logistic", np.zeros(5), rng.normal(0.0, 0.9, (6, 5))),
        dg.NetworkLayer(top, np.zeros(2), rng.normal(0.0, 0.9, (5, 2))),
    ])  # fmt: skip


def components(**settings):
    shape = {"n_hidden": (8, 5), "n_components": 2}
    return dg.NeighbourhoodComponents(**{**shape, **QUICK, **settings})


# --- the loss -------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_value_and_gradient_equal_finite_differences(temperature):
    """Would catch a pair that counts once, a row that chooses itself, a temperature on one side."""
    rng = np.random.default_rng(1)
    F, labels = rng.normal(size=(9, 3)), np.array([0, 0, 1, 1, 2, 0, 1, 3, 3])
    value, slopes = neighbour_loss(F, labels, temperature)
    np.testing.assert_allclose(value, reference.neighbour_value(F, labels, temperature), rtol=1e-12)
    slope = reference.finite_difference(
        lambda f: reference.neighbour_value(f, labels, temperature), F
    )
    np.testing.assert_allclose(slopes, slope, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("top", ["linear", "logistic", "rectified"])
@pytest.mark.parametrize("without", [0, 3, 9, 10])
def test_gradients_of_a_network_equal_finite_differences(top, without):
    """Would catch a gradient by outputs that is taken for one by fields, a row without a label
    that is chosen, a class of one row in the mean.
    """
    X, y = data(10)
    target = np.unique(y, return_inverse=True)[1]
    target[:without] = -1
    value, gradients = dg.Objective(dg.NeighbourLoss(1.5)).evaluate(
        NetworkParameters(network(top)), dg.Batch((X,), target=target)
    )
    layers, arrays = reference.network_arrays(network(top))

    def at(moved):
        outputs = reference.network_outputs(layers, moved, X)[-1]
        return reference.neighbour_value(outputs, target, 1.5)

    np.testing.assert_allclose(value, at(arrays), rtol=1e-5, atol=1e-12)
    assert set(gradients) == set(arrays)
    for name, array in arrays.items():
        slope = reference.finite_difference(
            lambda a, n=name: at({**arrays, n: a}), array, step=1e-5
        )
        np.testing.assert_allclose(gradients[name], slope, rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("last", ["logistic", "linear"])
@pytest.mark.parametrize("without", [0, 4, 10])
def test_gradients_with_a_decoder_equal_finite_differences(last, without):
    """Would catch the gradient by the code that is lost below the decoder, counted twice, or
    multiplied by its weight; and rows without a label that are not rebuilt.
    """
    X, y = data(10)
    target = np.unique(y, return_inverse=True)[1]
    target[:without] = -1
    rng, below = np.random.default_rng(5), network("linear")
    net = dg.Network([
        *below.layers, dg.NetworkLayer("logistic", np.zeros(4), rng.normal(0.0, 0.9, (2, 4))),
        dg.NetworkLayer(last, np.zeros(6), rng.normal(0.0, 0.9, (4, 6))),
    ])  # fmt: skip
    loss = dg.CrossEntropy() if last == "logistic" else dg.SquaredError()
    decoder = dg.Reconstruction(1, dg.Binary(6), loss, 0.3)
    value, gradients = dg.Objective(dg.NeighbourLoss(1.5), reconstruction=decoder).evaluate(
        NetworkParameters(net), dg.Batch((X,), target=target)
    )
    layers, arrays = reference.network_arrays(net)

    def at(moved):
        return reference.neighbour_reconstruction(layers, moved, X, target, 1.5, 1, 0.3)

    np.testing.assert_allclose(value, at(arrays), rtol=1e-5)
    assert set(gradients) == set(arrays)
    for name, array in arrays.items():
        slope = reference.finite_difference(
            lambda a, n=name: at({**arrays, n: a}), array, step=1e-5
        )
        np.testing.assert_allclose(gradients[name], slope, rtol=1e-4, atol=2e-6, err_msg=name)


def test_a_decoder_that_does_not_fit_is_refused():
    """Would catch a code whose field is not its output, and a last layer of other columns."""
    one = dg.Reconstruction(0, dg.Binary(6), dg.CrossEntropy(), 0.1)
    run = {"optimizer": dg.Adam(), "schedule": 0.1, "stream": dg.Stream(1)}
    for net, decoder, message in (
        (network("logistic"), replace(one, layer=1), "one of the layers 0 to 0, below the last"),
        (network("logistic"), one, "must be a linear layer, got layer 0 of logistic units"),
        (network("linear"), one, "needs a last layer of logistic"),
    ):
        with pytest.raises(ValueError, match=message):
            dg.NetworkTrainer(net, dg.Objective(dg.NeighbourLoss(), reconstruction=decoder), **run)
    linear = dg.Network([
        dg.NetworkLayer("linear", np.zeros(2), np.ones((6, 2))),
        dg.NetworkLayer("logistic", np.zeros(5), np.ones((2, 5))),
    ])  # fmt: skip
    with pytest.raises(ValueError, match="needs a last layer of 6 units, as the rows have, got 5"):
        dg.NetworkTrainer(linear, dg.Objective(dg.NeighbourLoss(), reconstruction=one), **run)
    with pytest.raises(ValueError, match="leave one of them out"):
        dg.Objective(
            dg.NeighbourLoss(), reconstruction=one, smoothness=dg.VirtualAdversarial(1.0)
        )
    with pytest.raises(ValueError, match="reconstruction needs a loss of each row"):
        replace(one, loss=dg.NeighbourLoss())
    with pytest.raises(ValueError, match=r"reconstruction must be None or dg\.Reconstruction"):
        dg.Objective(dg.NeighbourLoss(), reconstruction=0.1)


def test_far_codes_have_a_finite_loss():
    """Would catch 0 / 0 where all others are far, and the logarithm of zero."""
    F = np.array([[0.0], [1e4], [2e4 + 1.0], [-3e4]])
    value, slopes = neighbour_loss(F, np.array([0, 1, 0, 1]), 1.0)
    assert np.isfinite(value)
    assert np.isfinite(slopes).all()


def test_a_loss_tells_what_does_not_fit():
    """Would catch one-hot targets, or floats, that are read as numbers of classes."""
    X, _ = data(5)
    for target in (np.eye(5, 3, dtype=np.float32), np.zeros(5, np.float32)):
        with pytest.raises(ValueError, match=r"target must be integers of shape \(n_rows,\)"):
            dg.Objective(dg.NeighbourLoss()).evaluate(
                network("linear"), dg.Batch((X,), target=target)
            )
    with pytest.raises(ValueError, match="temperature must be a number in"):
        dg.NeighbourLoss(0.0)


def model(n_rows=30):
    """A network of codes that knows some rows."""
    X, y = data(n_rows)
    net, labels = network("linear"), np.unique(y, return_inverse=True)[1]
    return dg.NeighbourNetwork(net, net.forward(X), labels, 3, 1.5)


def test_votes_are_the_shares_of_the_classes(monkeypatch):
    """Would catch a vote that is not normalized, a wrong temperature, a piece that is lost."""
    known, codes = model(), network("linear").forward(data(20, seed=4)[0])
    D = ((codes[:, None].astype(np.float64) - known.codes[None]) ** 2).sum(axis=2)
    weights = np.exp(-D / 1.5)
    expected = np.stack([weights[:, known.labels == k].sum(axis=1) for k in range(3)], axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(votes(known, codes), expected, rtol=1e-9)
    monkeypatch.setattr(neighbours, "PIECE_NUMBERS", 100)
    np.testing.assert_allclose(votes(known, codes), expected, rtol=1e-9)
    far = votes(known, codes + np.float32(1e4))
    np.testing.assert_allclose(far.sum(axis=1), 1.0)


# --- the estimator --------------------------------------------------------------------------------


def assert_same(one, other, X):
    assert_same_network(one.model_.network, other.model_.network)
    assert_same_bits(one.transform(X), other.transform(X))
    assert_same_bits(one.predict_proba(X), other.predict_proba(X))
    assert (one.predict(X) == other.predict(X)).all()


def test_the_code_starts_from_principal_components():
    """Would catch a start without a scale, or one that turns the features at random."""
    X, y = data(200)
    stack = dg.DBN((8, 5), n_epochs=3, random_state=0).fit(X)
    start = components(pretrained=stack.model_, n_epochs=1, learning_rate=1e-9).fit(X, y)
    codes, features = start.transform(X).astype(np.float64), stack.transform(X)
    np.testing.assert_allclose(codes.var(axis=0).mean(), 1.0, rtol=1e-3)
    np.testing.assert_allclose(codes.mean(axis=0), 0.0, atol=1e-2)
    covariance = np.cov(features.astype(np.float64).T, bias=True)
    values = np.linalg.eigvalsh(covariance)[::-1][:2]
    expected = values / values.mean()
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.diag(expected), atol=2e-3)


def test_codes_lie_by_classes():
    """Would catch a loss that drives classes together, and a default that has not learned yet."""
    digits = load_digits()
    X, y = (digits.data / 16.0).astype(np.float32), digits.target
    order = np.random.default_rng(0).permutation(len(X))  # as they come, writers change
    train, test = order[:600], order[600:]
    fitted = dg.NeighbourhoodComponents((100, 50), 10, random_state=0).fit(X[train], y[train])
    pixels = KNeighborsClassifier(3).fit(X[train], y[train]).score(X[test], y[test])
    assert fitted.score(X[test], y[test]) > pixels - 0.02
    near = KNeighborsClassifier(3).fit(fitted.transform(X[train]), y[train])
    assert near.score(fitted.transform(X[test]), y[test]) > pixels - 0.02
    assert fitted.history_[-1]["loss"] < 0.5 * fitted.history_[0]["loss"]


def test_rows_without_a_label_serve_the_start_alone():
    """Would catch a row without a label that votes, or one that the pretraining does not see."""
    X, y = data()
    partly = y.astype(object)
    partly[20:] = None
    with_others = components(pretrained=GREEDY, unlabelled=float("nan")).fit(X, partly)
    alone = components(pretrained=GREEDY).fit(X[:20], y[:20])
    assert len(with_others.model_.labels) == 20
    assert (with_others.stack_[0].weights[0] != alone.stack_[0].weights[0]).any()


WITH_OTHERS = {
    "smoothness": {"smoothness": dg.VirtualAdversarial(0.3), "unlabelled": -1},
    "reconstruction": {"reconstruction": 0.1, "unlabelled": -1},
    "both labelled": {"reconstruction": 0.1},
    "rectified": {"reconstruction": 0.1, "unlabelled": -1, "activation": "rectified"},
    "one layer": {"reconstruction": 0.1, "unlabelled": -1, "n_hidden": (8,)},
    "stack": {"reconstruction": 0.1, "unlabelled": -1, "pretrained": GREEDY},
    "gaussian": {
        "reconstruction": 0.1, "unlabelled": -1, "pretrained": GREEDY, "visible": "gaussian"
    },
}  # fmt: skip


@pytest.mark.parametrize("name", WITH_OTHERS)
def test_rows_without_a_label_take_part_in_the_fine_tuning(name, tmp_path):
    """Would catch rows without a label that vote or that change nothing, a decoder that is kept,
    and a run that goes on as another one.
    """
    X, y = data()
    numbers = np.unique(y, return_inverse=True)[1]
    settings = WITH_OTHERS[name]
    if "unlabelled" in settings:
        numbers[20:] = -1
    fitted = components(**settings).fit(X, numbers)
    n_labelled = int((numbers >= 0).sum())
    assert len(fitted.model_.labels) == n_labelled
    assert fitted.model_.network.sizes[-1] == fitted.transform(X).shape[1] == 2
    np.testing.assert_array_equal(fitted.transform(X[:n_labelled]), fitted.model_.codes)
    assert fitted.n_updates_ == 8  # 4 epochs of 40 rows by 20
    if "unlabelled" in settings:
        moved = X.copy()
        moved[20:] = 1.0 - moved[20:]
        other = components(**settings).fit(moved, numbers)
        assert (other.model_.codes != fitted.model_.codes).any()
    path = tmp_path / "run.checkpoint"
    callbacks = [dg.Checkpoint(path), At(fail, update=3, layer=None)]
    with pytest.raises(Stop):
        components(**settings, callbacks=callbacks).fit(X, numbers)
    assert_same(fitted, components(**settings).fit(X, numbers, resume=path), X)


def test_a_decoder_learns_to_rebuild():
    """Would catch a decoder that does not learn, or one whose gradient does not reach the code."""
    X = np.repeat(np.eye(6, dtype=np.float32)[::2], 60, axis=0)
    y = np.tile([0, 1], 90)  # labels that say nothing of the rows
    settings = {"n_epochs": 60, "input_dropout": 0.0, "n_hidden": (20,)}
    fitted = components(reconstruction=1.0, **settings).fit(X, y)
    first, last = fitted.history_[0]["loss"], fitted.history_[-1]["loss"]
    assert first > 1.5  # log 2 of them by the labels
    assert last < 0.8


def test_the_command_tells_what_a_file_holds(capsys):
    """Would catch an entry of the file that the command takes for one of another model."""
    assert main(["info", str(DATA / "neighbours_v2.safetensors")]) == 0
    assert "NeighbourNetwork" in capsys.readouterr().out


def test_a_file_of_before_loads():
    """Would catch a loader that no longer reads files that users have."""
    loaded, (X, y) = dg.load(DATA / "neighbours_v2.safetensors"), data(20, seed=9)
    assert loaded.classes_.tolist() == ["a", "b", "c"]
    assert loaded.score(X, y) >= 0.9


@pytest.mark.parametrize(("entry", "value", "message"), [
    ("n_rows", 31, "tensors of other names or shapes"),
    ("n_classes", 31, "n_classes is not valid"),
    ("n_classes", 1, "n_classes is not valid"),
    ("n_classes", 2, "labels must be integers from 0 to 1"),
    ("temperature", -1.0, "temperature is no positive number"),
    ("temperature", "1", "temperature is no positive number"),
    ("network", {}, "network is not an object of layers and n_inputs"),
])  # fmt: skip
def test_a_damaged_configuration_is_refused(entry, value, message):
    """Would catch a file that takes memory, or votes for classes that are not there."""
    tree = as_tree(model())
    tree["model"] = {**tree["model"], entry: value}
    with pytest.raises(ValueError, match=message):
        from_tree(tree)


@pytest.mark.parametrize(("settings", "message"), [
    ({"temperature": 0.0}, r"temperature must be a number in \(0, inf\), got 0\.0"),
    ({"temperature": "warm"}, "temperature must be a number"),
    ({"input_dropout": 1.0}, r"input_dropout must be a number in \[0, 1\)"),
    ({"dropout": 1.0}, r"dropout must be a number in \[0, 1\)"),
    ({"smoothness": 1.0}, r"smoothness must be None or dg\.VirtualAdversarial"),
    ({"reconstruction": -0.1}, r"reconstruction must be a number in \[0, "),
    ({"reconstruction": 0.1, "smoothness": dg.VirtualAdversarial(1.0)},
     "reconstruction and smoothness do not go together"),
    ({"smoothness": dg.VirtualAdversarial(1.0), "optimizer": dg.LBFGS()},
     "smoothness needs an optimizer that takes steps"),
    ({"n_components": 0}, "n_components must be a positive integer"),
    ({"batch_size": 1}, "batch_size must be an integer"),
    ({"n_components": 6}, "n_components must be at most 5, the size of the last hidden layer"),
    ({"activation": "linear"}, "activation must be 'logistic' or 'rectified'"),
    ({"pretrained": 3}, "pretrained must be None"),
    ({"unlabelled": "a", "n_hidden": ()}, "n_hidden"),
])  # fmt: skip
def test_settings_without_a_meaning_are_refused(settings, message):
    """Would catch an error in the middle of the work, or one that names no remedy."""
    estimator = components(**settings)
    with pytest.raises(ValueError, match=message):
        estimator.fit(*data())
    assert "model_" not in vars(estimator)


@pytest.mark.parametrize(("y", "message"), [
    (np.zeros(40, int), "y must hold at least 2 classes, got 1 class"),
    (np.zeros((40, 2), int), r"y must have shape \(40,\), got \(40, 2\)"),
    (np.zeros(39, int), r"y must have shape \(40,\)"),
    (None, "y must hold a target for each row, got None"),
])  # fmt: skip
def test_labels_without_a_meaning_are_refused(y, message):
    """Would catch labels of other rows, and a task without a choice."""
    with pytest.raises(ValueError, match=message):
        components().fit(data()[0], y)


def test_classes_of_one_row_each_are_refused():
    """Would catch a fit that learns nothing, because no row has another one of its class."""
    with (
        pytest.warns(UserWarning, match="number of unique classes"),  # scikit-learn's
        pytest.raises(ValueError, match=r"at least two rows of some class, .* each of 40 classes"),
    ):
        components().fit(data()[0], np.arange(40))


@pytest.mark.parametrize(("change", "message"), [
    ({"codes": np.zeros((4, 3))}, r"codes must have shape \(n_labelled, 2\)"),
    ({"codes": np.full((4, 2), np.inf)}, "codes must be finite"),
    ({"labels": np.zeros(3)}, "labels must be 4 numbers of classes"),
    ({"labels": [0, 1, 2, 0.5]}, r"labels must be integers from 0 to 2, got 0\.5"),
    ({"labels": [0, 1, 2, 3]}, "labels must be integers from 0 to 2, got 3"),
    ({"n_classes": 1}, "n_classes must be an integer of at least 2"),
    ({"temperature": 0.0}, "temperature must be a number"),
])  # fmt: skip
def test_a_model_of_parts_that_do_not_fit_is_refused(change, message):
    """Would catch labelled rows of another network, and a vote out of bounds."""
    parts = {"codes": np.zeros((4, 2)), "labels": [0, 1, 2, 0], "n_classes": 3, "temperature": 1.0}
    with pytest.raises(ValueError, match=message):
        dg.NeighbourNetwork(network("linear"), **{**parts, **change})
    with pytest.raises(ValueError, match="model must be a NeighbourNetwork"):
        dg.NeighbourhoodComponents.from_model(network("linear"))
