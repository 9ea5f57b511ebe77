"""``transform(X, quantity="field")``: the total inputs behind the means of RBM, DBN and DBM."""

import numpy as np
import pytest
from conftest import THREADS, assert_same_bits, in_form, random_model
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import deepgen as dg
from deepgen.estimators.common import validation

KINDS = [
    ("binary", "binary"), ("gaussian", "binary"), ("softmax", "binary"), ("binary", "gaussian"),
    ("binary", "softmax"), ("gaussian", "softmax"),
]  # fmt: skip
FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}


def rows_for(kind, n_rows=40, size=6, seed=0):
    """States, or real values."""
    rng = np.random.default_rng(seed)
    if kind == "gaussian":
        return rng.normal(size=(n_rows, size)).astype(np.float32)
    if kind == "softmax":
        return np.eye(3, dtype=np.uint8)[rng.integers(0, 3, (n_rows, size // 3))].reshape(-1, size)
    return rng.integers(0, 2, (n_rows, size)).astype(np.uint8)


def fitted(kind):
    """A small trained estimator: its weights are on the grid of the packed ones."""
    X, settings = rows_for("binary"), {"n_epochs": 2, "batch_size": 10, "random_state": 0}
    if kind == "rbm":
        return dg.RBM(6, **settings).fit(X)
    if kind == "dbn":
        return dg.DBN((6, 6), **settings).fit(X)
    return dg.DBM((6, 6), **settings).fit(X)


def total_input(model, layer, states):
    """``b + x_below W + x_above W^T`` in float64."""
    field = model.layers[layer].bias.astype(np.float64)
    if layer > 0:
        field = field + np.asarray(states[layer - 1], np.float64) @ model.weights[layer - 1]
    if layer + 1 < model.n_layers:
        field = field + np.asarray(states[layer + 1], np.float64) @ model.weights[layer].T
    return field


@pytest.mark.parametrize(("visible", "hidden"), KINDS)
def test_means_are_the_activation_of_fields(visible, hidden):
    """Would catch a field without its bias or divided by a precision, and one of another pass than
    the means: their relation holds to the last bit.
    """
    model, X = random_model((visible, hidden), 3, (6, 6)), rows_for(visible)
    rbm = dg.RBM.from_model(model)
    field = rbm.transform(X, quantity="field")
    assert field.dtype == np.float32
    np.testing.assert_allclose(field, total_input(model, 1, [X, None]), **FLOAT32)
    assert_same_bits(model.layers[1].mean(field), rbm.transform(X))
    assert_same_bits(rbm.transform(X, quantity="mean"), rbm.transform(X))


@pytest.mark.parametrize(
    "hidden", ["binary", dg.Binary(n_copies=2), dg.Softmax(3), "gaussian"], ids=str
)
def test_fields_beside_packed_weights(hidden):
    """Would catch packed weights that a layer of another kind reads wrongly. Products of softmax
    units sum float32 where the means' are sums of whole numbers, so their bits may differ.
    """
    X = rows_for("binary", size=37)
    rbm = dg.RBM(6, hidden=hidden, n_epochs=3, batch_size=10, random_state=0).fit(X)
    field = rbm.transform(X, quantity="field")
    np.testing.assert_allclose(field, total_input(rbm.model_, 1, [X, None]), **FLOAT32)
    mean = rbm.model_.layers[1].mean(field)
    if isinstance(hidden, dg.Softmax):
        np.testing.assert_allclose(mean, rbm.transform(X), rtol=2e-6)
    else:
        assert_same_bits(mean, rbm.transform(X))


def test_fields_tell_rows_apart_whose_means_are_one():
    """Would catch fields that are made of means again: nothing is left where these have rounded."""
    model = dg.BoltzmannMachine([dg.Binary(3), dg.Binary(1)], [np.full((3, 1), 40.0)])
    rbm, X = dg.RBM.from_model(model), np.tril(np.ones((3, 3), np.uint8))
    assert rbm.transform(X).tolist() == [[1.0], [1.0], [1.0]]
    assert rbm.transform(X, quantity="field").tolist() == [[40.0], [80.0], [120.0]]


@pytest.mark.parametrize("sizes", [(5,), (5, 4), (5, 4, 3)], ids=str)
def test_fields_of_a_belief_network(sizes):
    """Would catch fields of a lower layer, or a top that reads the fields below it."""
    X = rows_for("binary")
    dbn = dg.DBN(sizes, n_epochs=2, batch_size=10, random_state=0).fit(X)
    field, states = dbn.transform(X, quantity="field"), X
    for machine in dbn.stack_:
        expected = total_input(machine, 1, [states, None])
        states = 1.0 / (1.0 + np.exp(-expected))
    np.testing.assert_allclose(field, expected, **FLOAT32)
    assert_same_bits(dg.Binary(sizes[-1]).mean(field), dbn.transform(X))


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("n_hidden", [1, 2, 3])
def test_fields_of_a_deep_machine_are_those_at_the_fixed_point(n_hidden, labels):
    """Would catch a field of the first sweep, one without the label units above, and a relation
    that is claimed to the last bit where an odd layer's neighbours have moved after it.
    """
    kinds = ("binary",) * (n_hidden + 1) + (("softmax",) if labels else ())
    model = random_model(kinds, 5, (6, 5, 4, 4)[: n_hidden + 1] + ((3,) if labels else ()))
    if labels:
        model = dg.BoltzmannMachine(
            model.layers, model.weights, observed=(0, model.n_layers - 1)
        )
    dbm, X = dg.DBM.from_model(model), rows_for("binary")
    field, means = dbm.transform(X, quantity="field"), [X, *dbm.posterior(X)]
    np.testing.assert_allclose(field, total_input(model, n_hidden, means), **FLOAT32)
    again = model.layers[n_hidden].mean(field)
    if n_hidden % 2 == 0 or model.n_layers == 2:
        assert_same_bits(again, dbm.transform(X))
    else:
        np.testing.assert_allclose(again, dbm.transform(X), atol=1e-4)


@pytest.mark.parametrize("kind", ["rbm", "dbn", "dbm"])
def test_fields_do_not_depend_on_storage_pieces_or_threads(kind, threaded, monkeypatch):
    """Would catch rows lost between pieces, and sums that cross threads."""
    estimator, X = fitted(kind), rows_for("binary")
    expected = estimator.transform(X, quantity="field")
    for form in ("csr", "bytes", "floats"):
        assert_same_bits(estimator.transform(in_form(X, form), quantity="field"), expected)
    monkeypatch.setattr(validation, "CHECK_ROWS", 32)
    for n_threads in THREADS:
        estimator.set_params(n_threads=n_threads)
        assert_same_bits(estimator.transform(X, quantity="field"), expected)


@pytest.mark.parametrize("kind", ["rbm", "dbn", "dbm"])
@pytest.mark.parametrize("quantity", ["fields", "", None, 1, ["mean"]])
def test_other_quantities_are_refused(kind, quantity):
    """Would catch a typing error that gives means."""
    with pytest.raises(ValueError, match="quantity must be 'mean' or 'field', got"):
        fitted(kind).transform(rows_for("binary"), quantity=quantity)


@pytest.mark.parametrize("kind", ["rbm", "dbn", "dbm"])
def test_names_frames_clones_and_pipelines_stay(kind):
    """Would catch an option that hides the estimator from scikit-learn, or one that a pipeline
    cannot pass on.
    """
    estimator, X = fitted(kind), rows_for("binary")
    field = estimator.transform(X, quantity="field")
    frame = estimator.set_output(transform="pandas").transform(X, quantity="field")
    assert list(frame.columns) == list(estimator.get_feature_names_out())
    assert_same_bits(frame.to_numpy(), field)
    assert clone(estimator).get_params() == estimator.get_params()
    plain = make_pipeline(fitted(kind), PCA(2)).fit(X)
    assert plain.transform(X).shape == (40, 2)
    fields = FunctionTransformer(fitted(kind).transform, kw_args={"quantity": "field"})
    steps = clone(make_pipeline(fields, PCA(2))).fit(X)
    np.testing.assert_allclose(steps[1].mean_, field.mean(axis=0), rtol=1e-5)
