"""Classifiers and regressors that read the mean-field posterior of a deep Boltzmann machine."""

import pickle

import numpy as np
import pytest
from conftest import THREADS, assert_same_bits, random_model
from model_files import same
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

import deepgen as dg
from deepgen.cli.info import describe_file
from deepgen.io import model_files
from deepgen.models.backprop import outputs
from deepgen.networks import posterior_rows
from deepgen.networks.posterior_rows import INPUT_FIXED_POINT, PosteriorRows, joined_inputs
from deepgen.rows.batch import Batch
from deepgen.rows.paired import PairedRows
from deepgen.stacks.unrolling import posterior_layers

QUICK = {"n_epochs": 2, "random_state": 0}
STILL = {"learning_rate": dg.Constant(0.0), "optimizer": dg.SGD(weight_decay=0.0), **QUICK}
ROUNDING = 2e-6  # of a logistic's output: some 100 float32 terms of order one, slope at most 1/4


def machine_of(kinds, sizes, observed=(0,)):
    """A machine with random parameters, and data for the layers `observed`."""
    model = random_model(kinds, 3, sizes)
    return dg.BoltzmannMachine(model.layers, model.weights, observed=observed)


@pytest.fixture(scope="module")
def machine():
    """64 - 14 - 9 units, random."""
    return machine_of(["binary"] * 3, [64, 14, 9])


@pytest.fixture(scope="module")
def labelled():
    """64 - 14 - 9 - 7 units under ten labels, random."""
    kinds = ["binary"] * 4 + ["softmax"]
    model = random_model(kinds, 4, [64, 14, 9, 7, 10], group=10)
    return dg.BoltzmannMachine(model.layers, model.weights, observed=(0, 4))


def losses(estimator):
    """What the history says of the run, without the time that it took."""
    return [(entry["loss"], entry["validation_loss"]) for entry in estimator.history_]


def posterior(machine, X):
    """Means of every layer at the fixed point, given rows only."""
    known = [X, *[None] * (machine.n_layers - 1)]
    return dg.mean_field(machine, known, until=dg.FixedPoint(50, 1e-4)).means


# ------------------------------------------------------------------------------------ the start


def test_the_start_is_the_fixed_point(digits, machine):
    """Would catch weights of the posterior that are not transposed, doubled or left out: with
    q2 in its place, layers 1 and 2 compute what mean field has found."""
    X, y = digits
    means = dg.mean_field(machine, [X, None, None], until=dg.FixedPoint(2000, 0.0)).means
    fitted = dg.DeepClassifier(pretrained=machine, **STILL).fit(X, y).model_
    inputs = joined_inputs(X, means[2])
    for l in (1, 2):
        found = outputs(fitted.network, inputs, until=l)
        assert np.abs(found - means[l]).max() < ROUNDING
    assert fitted.layers[0].weights.shape == (64 + 9, 14)
    assert fitted.sizes == (64, 14, 9, 10)
    assert len(np.unique(means[1].argmax(axis=1))) > 1  # rows differ, or nothing was tested


def test_higher_layers_are_in_the_biases_at_their_mean_over_rows(digits, labelled):
    """Would catch layers above that are dropped, or that label units get a layer."""
    X, y = digits
    X, y = X[:300], y[:300]
    means = posterior(labelled, X)
    network = dg.DeepClassifier(pretrained=labelled, **STILL).fit(X, y).model_.network
    assert network.sizes == (64 + 9, 14, 9, 7, 10)
    first = outputs(network, joined_inputs(X, means[2]), until=1)
    # q1 was the last to move in mean field's last sweep but q2 above it: within its tolerance
    assert np.abs(first - means[1]).max() < 1e-3
    for l in (2, 3):
        sent = means[l + 1].mean(axis=0, dtype=np.float64) @ labelled.weights[l].T
        expected = labelled.layers[l].bias + sent
        assert network.layers[l - 1].bias == pytest.approx(expected, abs=1e-5)
        assert_same_bits(network.layers[l - 1].weights, labelled.weights[l - 1])


def test_labels_are_inferred_never_read(digits, labelled):
    """Would catch a posterior that sees the label units clamped: its inputs then depend on y."""
    X, y = digits
    one, other = (
        dg.DeepClassifier(pretrained=labelled, **STILL).fit(X, labels).model_.network
        for labels in (y, np.roll(y, 1))
    )
    assert_same_bits(one.layers[2].bias, other.layers[2].bias)
    rows = PosteriorRows(PairedRows(X[:50], y[:50]), labelled)
    assert_same_bits(next(rows.in_order(50)).states[0][:, 64:], posterior(labelled, X[:50])[2])


# --------------------------------------------------------------------------------- the training


def test_the_weights_of_the_posterior_learn_apart(digits, machine):
    """Would catch a copy of W2 that is tied or gets no gradient."""
    X, y = digits
    network = dg.DeepClassifier(pretrained=machine, **QUICK).fit(X, y).model_.network
    start, copy = machine.weights[1], network.layers[0].weights[64:].T
    assert (np.abs(copy - start).max(axis=1) > 0).all()
    assert np.abs(copy - network.layers[1].weights).max() > 1e-3
    inputs = joined_inputs(X[:20], posterior(machine, X[:20])[2])
    objective = dg.Objective(dg.SoftmaxCrossEntropy())
    value, gradients = objective.evaluate(network, Batch((inputs,), target=y[:20]))
    by_hand, step = np.zeros(2), 1e-2
    for sign in (-1.0, 1.0):  # a central difference in the direction of the gradient
        moved = np.array(network.layers[0].weights)
        moved[64:] += sign * step * gradients["weights[0]"][64:]
        layers = [dg.NetworkLayer("logistic", network.layers[0].bias, moved), *network.layers[1:]]
        batch = Batch((inputs,), target=y[:20])
        by_hand[int(sign > 0)] = objective.evaluate(dg.Network(layers), batch)[0]
    expected = np.square(gradients["weights[0]"][64:], dtype=np.float64).sum()
    assert expected > 0
    # float32 losses: their rounding over the step, beside the gradient itself
    rounding = 2.0**-20 * value / step
    assert (by_hand[1] - by_hand[0]) / (2 * step) == pytest.approx(
        expected, rel=2e-2, abs=rounding
    )


def test_kept_means_and_those_made_anew_train_the_same_bits(digits, machine, monkeypatch):
    """Would catch a limit of memory that changes results, or rows paired with others' means."""
    X, y = digits
    settings = {"dropout": 0.2, "input_dropout": 0.2, "early_stopping": 5, **QUICK}
    kept = dg.DeepClassifier(pretrained=machine, **settings).fit(X, y)
    monkeypatch.setattr(posterior_rows, "KEEP_BYTES", 0)
    anew = dg.DeepClassifier(pretrained=machine, **settings).fit(X, y)
    assert same(kept.model_, anew.model_)
    assert losses(kept) == losses(anew)


def test_bits_do_not_depend_on_threads_cuts_or_the_form_of_rows(threaded, digits, labelled):
    """Would catch rows that depend on their neighbours, or threads that are not passed on."""
    X, y = digits[0][:60], digits[1][:60]
    whole = dg.DeepClassifier(pretrained=labelled, n_threads=1, **QUICK).fit(X, y)
    proba = whole.predict_proba(X)
    other = dg.DeepClassifier(pretrained=labelled, n_threads=THREADS[2], **QUICK).fit(X, y)
    assert_same_bits(other.predict_proba(X), proba)
    parts = [X[:7], X[7:8], X[8:]]
    assert_same_bits(np.concatenate([whole.predict_proba(part) for part in parts]), proba)
    csr = sparse.csr_array(X)
    assert_same_bits(whole.predict_proba(csr), proba)
    assert_same_bits(
        dg.DeepClassifier(pretrained=labelled, n_threads=1, **QUICK).fit(csr, y)
        .predict_proba(X), proba,
    )


def test_a_run_goes_on_with_the_same_bits(digits, machine, tmp_path):
    """Would catch a resumed run that starts from other weights, or reads other inputs."""
    X, y = digits
    settings = {"pretrained": machine, "n_epochs": 4, "random_state": 0, "early_stopping": 9}
    whole = dg.DeepClassifier(**settings).fit(X, y)

    def stop(report):
        if report.epoch == 2:
            raise InterruptedError

    path = tmp_path / "run"
    stopped = dg.DeepClassifier(
        **settings, callbacks=[dg.Checkpoint(path, epochs=1, minutes=None), stop]
    )
    with pytest.raises(InterruptedError):
        stopped.fit(X, y)
    assert len(stopped.history_) == 2
    assert not same(stopped.model_, whole.model_)
    resumed = dg.DeepClassifier(**settings).fit(X, y, resume=path)
    assert same(resumed.model_, whole.model_)
    assert losses(resumed) == losses(whole)
    other = machine.replace(weights=[machine.weights[0] + 1, machine.weights[1]])
    with pytest.raises(ValueError, match="pretrained"):
        dg.DeepClassifier(**{**settings, "pretrained": other}).fit(X, y, resume=path)


def test_it_learns_few_labels_better_than_a_random_start(digits, serial):
    """Would catch a start or an input that is worth nothing: 5 labels a class, two draws of
    them, 597 rows to judge by (a draw's difference has a standard error below 0.02)."""
    X, y = digits
    train, test = slice(0, 1200), slice(1200, None)
    how = {"rule": "cd", "n_epochs": 15, "batch_size": 20, "learning_rate": 0.1, "random_state": 0}
    lower = dg.RBM(60, visible=dg.Binary(n_copies=2), **how).fit(2 * X[train])
    upper = dg.RBM(40, hidden=dg.Binary(n_copies=2), **how).fit(lower.transform(2 * X[train]))
    machine = dg.compose([lower.model_, upper.model_])
    settings = {
        "n_epochs": 40, "batch_size": 10, "learning_rate": dg.Linear(0.01, 0.0), "random_state": 0,
        "unlabelled": -1,
    }  # fmt: skip
    scores = []
    for draw in range(2):
        few = np.full(1200, -1)
        for label in range(10):
            few[np.flatnonzero(y[train] == label)[5 * draw : 5 * draw + 5]] = label
        scores.append([
            dg.DeepClassifier((60, 40), pretrained=start, **settings).fit(X[train], few)
            .score(X[test], y[test])
            for start in (machine, None)
        ])  # fmt: skip
    deep, random = np.mean(scores, axis=0)
    assert deep > random + 0.03


# ----------------------------------------------------------------------- what estimators are to


def test_files_pickles_and_clones_answer_with_the_same_bits(digits, machine, labelled, tmp_path):
    """Would catch a file without the machine, or a clone that starts at random."""
    X, y = digits[0][:300], digits[1][:300]
    for number, model in enumerate((machine, labelled)):
        for kind in (dg.DeepClassifier, dg.DeepRegressor):
            estimator = kind(pretrained=model, **QUICK).fit(X, y)
            path = tmp_path / f"{kind.__name__} {number}"
            estimator.save(path)
            again = clone(estimator).fit(X, y)
            for other in (dg.load(path), pickle.loads(pickle.dumps(estimator)), again):
                assert type(other) is type(estimator)
                assert other.n_features_in_ == 64
                assert isinstance(other.model_, dg.PosteriorNetwork)
                assert_same_bits(other.predict(X), estimator.predict(X))
                assert same(other.model_, estimator.model_)


def test_a_regressor_predicts_on_the_scale_of_its_targets(digits, machine):
    """Would catch a scale of the targets that is lost beside the machine."""
    X, y = digits
    fitted = dg.DeepRegressor(pretrained=machine, n_epochs=20, random_state=0).fit(X, 1e3 + y)
    assert isinstance(fitted.model_, dg.PosteriorNetwork)
    assert fitted.score(X, 1e3 + y) > 0.2  # without the shift: -100,000


def test_frozen_estimators_and_lists_of_one_are_taken(digits, machine):
    """Would catch a way of passing the machine that ends in another model."""
    X, y = digits[0][:100], digits[1][:100]
    plain = dg.DeepClassifier(pretrained=machine, **QUICK).fit(X, y)
    frozen = FrozenEstimator(dg.DBM.from_model(machine))
    for other in ([machine], frozen):
        assert same(dg.DeepClassifier(pretrained=other, **QUICK).fit(X, y).model_, plain.model_)
    assert plain.stack_ == [machine]
    taken = dg.DeepClassifier.from_model(plain.model_)
    assert_same_bits(taken.predict_proba(X), plain.predict_proba(X))
    assert taken.n_hidden == (14, 9)


def test_gaussian_rows_and_softmax_columns_are_read(digits):
    """Would catch a visible layer whose means or checks are not its own."""
    X, y = digits[0][:100], digits[1][:100]
    gaussian = machine_of(["gaussian", "binary", "binary"], [64, 14, 9])
    fitted = dg.DeepClassifier(pretrained=gaussian, **QUICK).fit(3 * X - 1, y)
    assert np.isfinite(fitted.predict_proba(5 * X)).all()
    softmax = random_model(["softmax", "binary", "binary"], 0, [64, 14, 9], group=2)
    pairs = np.stack([X[:, ::2] > 0.5, X[:, ::2] <= 0.5], axis=2).reshape(len(X), 64)
    pairs[0, :2] = False  # a variable that is missing
    fitted = dg.DeepClassifier(pretrained=softmax, **QUICK).fit(pairs, y)
    assert np.isfinite(fitted.predict_proba(pairs)).all()


def test_rows_that_the_machine_cannot_take_are_refused(digits, machine):
    """Would catch fields of rows that mean field was never meant for, at fit or later."""
    X, y = digits[0][:100], digits[1][:100]
    with pytest.raises(ValueError, match=r"X.*\[0, 1\]"):
        dg.DeepClassifier(pretrained=machine, **QUICK).fit(2 * X, y)
    fitted = dg.DeepClassifier(pretrained=machine, **QUICK).fit(X, y)
    for estimator in (fitted, dg.DeepClassifier.from_model(fitted.model_)):
        with pytest.raises(ValueError, match=r"X.*\[0, 1\]"):
            estimator.predict(2 * X)
    with pytest.raises(ValueError, match="X has 9 features, but pretrained was trained on 64"):
        dg.DeepClassifier(pretrained=machine, **QUICK).fit(X[:, :9], y)


BAD_MACHINES = {
    "gaussian": (["binary", "binary", "gaussian"], (0,), r"layers\[2\] of pretrained must be Bin"),
    "copies": (["binary", "copies", "binary"], (0,), r"layers\[1\] of pretrained must be Binary"),
    "softmax": (["binary", "binary", "binary", "softmax"], (0,), "label units belong on top"),
    "one hidden": (["binary", "binary", "softmax"], (0, 2), "two hidden layers, got 1"),
    "observed": (["binary", "binary", "binary"], (0, 1), "labels for its last one at most"),
    "visible": (["copies", "binary", "binary"], (0,), "tied copies of its visible units"),
}


@pytest.mark.parametrize("name", BAD_MACHINES)
def test_other_machines_are_refused_before_any_work(name):
    """Would catch a network that is no network of the machine it came from."""
    kinds, observed, message = BAD_MACHINES[name]
    machine = machine_of(kinds, [6] * len(kinds), observed)
    X, y = np.eye(6), [0, 1] * 3
    with pytest.raises(ValueError, match=message):
        dg.DeepClassifier(pretrained=machine, **QUICK).fit(X, y)


def test_two_layers_and_stacks_keep_their_way(digits, machine):
    """Would catch a machine that is taken apart, or a mean field over an RBM."""
    X, y = digits[0][:100], digits[1][:100]
    rbm = dg.BoltzmannMachine(machine.layers[:2], machine.weights[:1])
    assert isinstance(dg.DeepClassifier(pretrained=rbm, **QUICK).fit(X, y).model_, dg.Network)
    with pytest.raises(ValueError, match="machine 0 of a stack must be"):
        dg.DeepClassifier(pretrained=[machine, rbm], **QUICK).fit(X, y)
    with pytest.raises(ValueError, match="machine 0 of a stack must be"):
        dg.DeepAutoencoder(pretrained=machine, **QUICK).fit(X)


# ------------------------------------------------------------------------------ model and files


def network_of(machine, kind="softmax", size=2):
    """A network with the layers of a machine under a top of zeros."""
    hidden = posterior_layers(machine)
    top = dg.NetworkLayer(kind, np.zeros(size), np.zeros((hidden[-1].size, size)))
    return dg.Network([*hidden, top])


def test_a_model_is_checked_and_never_changes(machine):
    """Would catch a network and a machine that do not belong together."""
    network = network_of(machine)
    model = dg.PosteriorNetwork(machine, network)
    assert repr(model) == f"PosteriorNetwork({machine!r}, {network!r})"
    assert model.n_layers == 3
    assert model.layers == network.layers
    other = model.replace(network=network_of(machine, "linear"))
    assert other.machine is machine
    assert other.version != model.version
    with pytest.raises(ValueError, match="network must read 73 columns, 64 of the rows and 9"):
        model.replace(network=dg.Network(network.layers[1:]))
    with pytest.raises(TypeError, match=r"machine must be a dg\.BoltzmannMachine"):
        dg.PosteriorNetwork(network, network)
    with pytest.raises(ValueError, match="with a linear top"):
        dg.DeepRegressor.from_model(model)
    with pytest.raises(ValueError, match="with a softmax top"):
        dg.DeepClassifier.from_model(other)


def test_info_tells_of_machine_and_network(labelled, digits, tmp_path):
    """Would catch a description that leaves one of the two out."""
    X, y = digits[0][:100], digits[1][:100]
    dg.DeepClassifier(pretrained=labelled, **QUICK).fit(X, y).save(tmp_path / "a")
    about = describe_file(tmp_path / "a")
    assert about["model"] == "PosteriorNetwork"
    assert about["n_inputs"] == 73
    assert [layer["size"] for layer in about["layers"]] == [14, 9, 7, 10]
    assert [layer["size"] for layer in about["machine"]["layers"]] == [64, 14, 9, 7, 10]
    assert about["tensors"]["network.weights.0"] == [73, 14]
    assert about["tensors"]["machine.weights.0"] == [64, 14]


def test_golden_bits_of_mean_field_stay(digits, machine):
    """Would catch another stopping rule: files of before would answer differently."""
    assert dg.FixedPoint(max_sweeps=50, tol=1e-4, damping=0.0) == INPUT_FIXED_POINT
    X = digits[0][:40]
    model = dg.PosteriorNetwork(machine, network_of(machine))
    by_hand = outputs(model.network, joined_inputs(X, posterior(machine, X)[2]))
    assert_same_bits(dg.DeepClassifier.from_model(model).predict_proba(X), by_hand)
    assert model_files.describe(model)[0]["machine"]["observed"] == [0]
