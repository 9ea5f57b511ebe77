"""Estimators through `skops.io`: whole ones in a file, for who does not trust pickle."""

import numpy as np
import pytest
from sklearn.base import clone

import deepgen as dg

skops_io = pytest.importorskip("skops.io")

RNG = np.random.default_rng(0)
X = (RNG.random((60, 6)) < 0.4).astype(np.uint8)
Y = np.arange(60) % 2
ONE_HOT = np.eye(3, dtype=np.uint8)[RNG.integers(0, 3, (60, 2))].reshape(60, 6)
RUN = {"n_epochs": 1, "batch_size": 20, "random_state": 0, "n_threads": 1}
ESTIMATORS = {
    "rbm": dg.RBM(3, **RUN),
    "gaussian rbm": dg.RBM(3, visible="gaussian", **RUN),
    "settings": dg.RBM(
        3, visible=dg.Softmax(3), rule=dg.CD(1), optimizer=dg.Adam(),
        learning_rate=dg.Linear(0.1, 0.0), **RUN,
    ),
    "mixed rbm": dg.RBM(3, visible=dg.Mixed([dg.Binary(4), dg.Gaussian(2)]), **RUN),
    "table": dg.RBM(3, visible="auto", **RUN),
    "dbn": dg.DBN((4, 3), **RUN),
    "dbm": dg.DBM((4, 3), **RUN),
    "labels": dg.DBM((4, 3), label_units=True, **RUN),
    "mixture": dg.MixtureOfBernoullis(2, random_state=0),
    "table mixture": dg.MixtureOfProducts(2, random_state=0),
    "autoencoder": dg.Autoencoder(3, **RUN),
    "deep autoencoder": dg.DeepAutoencoder((4, 2), pretrained=dg.Pretraining(1), **RUN),
    "classifier": dg.DeepClassifier((4,), **RUN),
    "smooth classifier": dg.DeepClassifier(
        (4, 3), pretrained=dg.Pretraining(1), smoothness=dg.VirtualAdversarial(0.5),
        unlabelled=float("nan"), **RUN,
    ),
    "regressor": dg.DeepRegressor((4,), **RUN),
}  # fmt: skip
METHODS = ("transform", "predict", "predict_proba", "score_samples", "free_energy")


def through(estimator):
    """Dump and load an estimator, whatever types it is made of."""
    data = skops_io.dumps(estimator)
    types = skops_io.get_untrusted_types(data=data)
    assert all(name.startswith("deepgen.") for name in types)
    return skops_io.loads(data, trusted=types)


def rows_of(name):
    return ONE_HOT if name == "settings" else X


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_that_is_not_fitted_comes_back(name):
    """Would catch hyper-parameters that skops cannot write, or that come back as others."""
    again = through(ESTIMATORS[name])
    assert repr(again) == repr(ESTIMATORS[name])
    assert not hasattr(again, "model_")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_fitted_estimator_gives_the_same_answers(name):
    """Would catch a model that loses its arrays, its precision or its read-only flags, and a
    memory (seed of likelihoods, particles) that does not come along."""
    rows = rows_of(name)
    fitted = clone(ESTIMATORS[name]).fit(rows, Y)
    for method in METHODS:  # what answers keep for the next ones must not be in the way
        if hasattr(fitted, method):
            getattr(fitted, method)(rows)
    again = through(fitted)
    for method in METHODS:
        if hasattr(fitted, method):
            assert np.array_equal(getattr(again, method)(rows), getattr(fitted, method)(rows))
    if hasattr(fitted, "sample"):
        draws = [one.sample(5, random_state=0) for one in (fitted, again)]
        assert np.array_equal(*draws)
    if hasattr(fitted.model_, "weights"):
        assert not any(w.flags.writeable for w in again.model_.weights if w is not None)
    assert again.history_ == fitted.history_


@pytest.mark.parametrize("name", ["rbm", "gaussian rbm", "dbn", "dbm"])
def test_a_stream_goes_on(name):
    """Would catch the state of a run of `partial_fit` that is lost on the way."""
    kinds = {"pretrained": None} if name == "dbm" else {}
    whole = clone(ESTIMATORS[name]).set_params(**kinds).partial_fit(X[:20]).partial_fit(X[20:40])
    again = through(whole)
    for stream in (whole, again):
        stream.partial_fit(X[40:])
    assert np.array_equal(whole.transform(X), again.transform(X))
