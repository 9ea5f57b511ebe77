"""Weights of rows and classes in estimators."""

import numpy as np
import pytest

import deepgen as dg

X = np.random.default_rng(0).random((90, 6)).astype(np.float32)
Y = (X[:, 0] + 0.3 * X[:, 1] > 0.65).astype(int)
SETTINGS = {"n_epochs": 60, "batch_size": 1_000, "random_state": 0}


def answers(fitted):
    return fitted.predict_proba(X) if hasattr(fitted, "classes_") else fitted.predict(X)


@pytest.mark.parametrize("kind", [dg.DeepClassifier, dg.DeepRegressor])
def test_a_weight_of_two_is_a_row_twice(kind):
    """Would catch weights that are lost, of other rows, or that change the step of all."""
    weights = np.arange(90) % 3
    again = np.repeat(np.arange(90), weights)
    one = kind((8,), **SETTINGS).fit(X, Y, sample_weight=weights)
    other = kind((8,), **SETTINGS).fit(X[again], Y[again])
    np.testing.assert_allclose(answers(one), answers(other), atol=1e-3)


def test_rows_without_weight_teach_nothing():
    """Would catch a row whose weight is taken for none given."""
    wrong = Y.copy()
    wrong[:30] = 1 - Y[:30]
    weights = np.where(np.arange(90) < 30, 0.0, 5.0)
    one = dg.DeepClassifier((8,), **SETTINGS).fit(X, wrong, weights)
    other = dg.DeepClassifier((8,), **SETTINGS).fit(X[30:], Y[30:])
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-3)


def test_weights_of_classes_are_weights_of_their_rows():
    """Would catch a weight that goes to another class, and balance by the wrong counts."""
    names = np.array(["no", "yes"])[Y]
    counts = np.bincount(Y)
    balanced = (90 / (2 * counts))[Y]
    for given, weights in (("balanced", balanced), ({"yes": 3.0}, np.where(Y, 3.0, 1.0))):
        one = dg.DeepClassifier((8,), class_weight=given, **SETTINGS).fit(X, names)
        other = dg.DeepClassifier((8,), **SETTINGS).fit(X, names, sample_weight=weights)
        assert (one.predict_proba(X) == other.predict_proba(X)).all()


def test_balance_finds_a_rare_class():
    """The use of it: one row of ten, with much overlap."""
    rng = np.random.default_rng(3)
    y = (rng.random(2_000) < 0.1).astype(int)
    rows = rng.normal(size=(2_000, 3)) + 0.7 * y[:, None]
    recall = {
        given: (dg.DeepClassifier((8,), class_weight=given, n_epochs=40, random_state=0)
                .fit(rows, y).predict(rows)[y == 1] == 1).mean()
        for given in (None, "balanced")
    }  # fmt: skip
    assert recall["balanced"] > recall[None] + 0.3


def test_rows_held_back_are_weighed_too():
    """Would catch early stopping that judges by rows that do not count."""
    weights = np.where(np.arange(90) % 2, 1.0, 0.0)
    fits = [
        dg.DeepRegressor((8,), early_stopping=3, validation_fraction=0.4, **SETTINGS)
        .fit(X, np.where(weights > 0, Y, others), weights)
        for others in (1 - Y, 5.0 * Y)
    ]  # fmt: skip
    assert fits[0].history_[-1]["validation_loss"] == fits[1].history_[-1]["validation_loss"]
    assert (fits[0].predict(X) == fits[1].predict(X)).all()


def test_unlabelled_rows_keep_their_weights():
    """Would catch weights of labelled rows going to those without a label."""
    y = np.where(np.arange(90) % 3, Y, -1)
    settings = {**SETTINGS, "unlabelled": -1}
    weights = np.where(y < 0, 7.0, 1.0)
    one = dg.DeepClassifier((8,), **settings).fit(X, y, weights)
    other = dg.DeepClassifier((8,), **settings).fit(X, y)
    assert (one.predict_proba(X) == other.predict_proba(X)).all()
    smooth = {**settings, "smoothness": dg.VirtualAdversarial(0.5)}
    dg.DeepClassifier((8,), class_weight="balanced", **smooth).fit(X, y, weights)


def test_another_run_has_other_weights(tmp_path):
    """Would catch a resume that goes on with other weights."""
    path = tmp_path / "run.checkpoint"
    settings = {**SETTINGS, "callbacks": [dg.Checkpoint(path)]}
    dg.DeepClassifier((8,), **settings).fit(X, Y, np.ones(90) + Y)
    with pytest.raises(ValueError, match=r"sample_weight is .* here and .* there"):
        dg.DeepClassifier((8,), **settings).fit(X, Y, np.ones(90) + 2 * Y, resume=path)


@pytest.mark.parametrize(("weights", "message"), [
    (np.ones(89), r"sample_weight must have shape \(90,\)"),
    (np.full(90, -1.0), "sample_weight must be finite and not negative, got -1.0 in row 0"),
    (np.r_[np.ones(5), np.nan, np.ones(84)], "got nan in row 5"),
    (np.zeros(90), "positive for at least one row"),
])  # fmt: skip
def test_weights_that_are_none_are_refused(weights, message):
    """Would catch a run that ends in NaN."""
    for kind in (dg.DeepClassifier, dg.DeepRegressor):
        with pytest.raises(ValueError, match=message):
            kind((8,), **SETTINGS).fit(X, Y, sample_weight=weights)


@pytest.mark.parametrize(("given", "message"), [
    ("even", "class_weight must be 'balanced'"),
    ({2: 1.0}, r"names 2, but the labels are \[0, 1\]"),
    ({0: -1.0}, r"class_weight\[0\]"), ([1.0, 2.0], "class_weight must be"),
])  # fmt: skip
def test_class_weights_that_are_none_are_refused(given, message):
    """Would catch a slip in a label's name that weighs nothing."""
    with pytest.raises(ValueError, match=message):
        dg.DeepClassifier((8,), class_weight=given, **SETTINGS).fit(X, Y)
