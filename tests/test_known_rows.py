"""Estimators that keep labelled rows to answer by: what is promised of all of them."""

import json
import pickle

import numpy as np
import pytest
from comparisons import assert_same_network
from conftest import THREADS, assert_same_bits
from stops import ANY, At, Stop, fail
from threadpoolctl import threadpool_info, threadpool_limits

import deepgen as dg

QUICK = {
    "n_hidden": (8, 5), "n_epochs": 4, "batch_size": 20, "random_state": 3, "learning_rate": 0.01,
}  # fmt: skip
GREEDY = dg.Pretraining(n_epochs=2)


class Process:
    """A process of numbers, some of which are not known."""

    other = ("noise_floor", 0.1)

    def make(self, **settings):
        return dg.DeepGaussianProcessRegressor(**{**QUICK, **settings})

    def data(self, n_rows=40):
        rng = np.random.default_rng(0)
        X = rng.random((n_rows, 6)).astype(np.float32)
        y = 3.0 + 2.0 * np.sin(4.0 * X[:, 0]) + X[:, 1] * X[:, 2]
        y[::4] = np.nan
        return X, y

    def answers(self, fitted, X):
        arrays = [*fitted.predict(X, return_std=True), fitted.sample_y(X, 2, random_state=1)]
        return [*arrays, fitted.model_.features], (
            fitted.kernel_, fitted.log_marginal_likelihood_, fitted.model_.mean,
        )  # fmt: skip

    def around(self, fitted):
        return dg.DeepGaussianProcessRegressor.from_model(fitted.model_)


class Neighbours:
    """Votes of three classes."""

    other = ("temperature", 1.0)

    def make(self, **settings):
        start = {"n_components": 2, "temperature": 1.7}
        return dg.NeighbourhoodComponents(**{**QUICK, **start, **settings})

    def data(self, n_rows=40):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, n_rows)
        X = 0.3 * rng.random((n_rows, 6)) + 0.6 * np.eye(6)[2 * labels]
        return X.astype(np.float32), np.array(["a", "b", "c"])[labels]

    def answers(self, fitted, X):
        plain = fitted.predict(X).tolist(), fitted.get_feature_names_out().tolist()
        return [fitted.transform(X), fitted.predict_proba(X)], plain

    def around(self, fitted):
        return dg.NeighbourhoodComponents.from_model(fitted.model_, ["a", "b", "c"])


@pytest.fixture(params=[Process(), Neighbours()], ids=lambda kind: type(kind).__name__)
def kind(request):
    return request.param


def assert_same(kind, one, other, X):
    assert_same_network(one.model_.network, other.model_.network)
    (arrays, plain), (its, its_plain) = kind.answers(one, X), kind.answers(other, X)
    assert plain == its_plain
    for array, its_array in zip(arrays, its, strict=True):
        assert_same_bits(array, its_array)


def test_bits_do_not_depend_on_threads(kind, threaded):
    """Would catch a product or a factor by as many threads of BLAS as there are."""
    X, y = kind.data(300)
    runs = []
    for n_threads in THREADS:
        with threadpool_limits(n_threads, "blas"):
            runs.append(kind.make(n_threads=n_threads, batch_size=150).fit(X, y))
            kind.answers(runs[-1], X)
    for run in runs[1:]:
        assert_same(kind, runs[0], run, X)


def test_a_fit_leaves_the_settings_of_the_process(kind):
    """Would catch a number of threads that other libraries feel after `fit` and `predict`."""
    X, y = kind.data()
    before = json.dumps(threadpool_info(), sort_keys=True)
    kind.answers(kind.make().fit(X, y), X)
    assert json.dumps(threadpool_info(), sort_keys=True) == before


@pytest.mark.parametrize(("pretrained", "layer", "update"), [
    (None, ANY, 3), (None, ANY, 7), (GREEDY, 1, 1), (GREEDY, None, 3),
], ids=["early", "late", "pretraining", "after pretraining"])  # fmt: skip
def test_a_resumed_fit_has_the_same_bits(kind, tmp_path, pretrained, layer, update):
    """Would catch a checkpoint without the covariance, another start of the code after a resume,
    and a resume in the pretraining.
    """
    X, y = kind.data()
    whole, path = kind.make(pretrained=pretrained).fit(X, y), tmp_path / "run.checkpoint"
    callbacks = [dg.Checkpoint(path), At(fail, update=update, layer=layer)]
    with pytest.raises(Stop):
        kind.make(pretrained=pretrained, callbacks=callbacks).fit(X, y)
    assert_same(kind, whole, kind.make(pretrained=pretrained).fit(X, y, resume=path), X)
    setting, value = kind.other
    with pytest.raises(ValueError, match=setting):
        kind.make(pretrained=pretrained, **{setting: value}).fit(X, y, resume=path)


def test_a_run_that_is_broken_off_answers(kind):
    """Would catch an estimator that lacks the labelled rows after Ctrl-C or an error."""
    X, y = kind.data()
    stopped = kind.make(callbacks=[At(fail, update=3)])
    with pytest.raises(Stop):
        stopped.fit(X, y)
    assert stopped.n_updates_ == 3
    for array in kind.answers(stopped, X)[0]:
        assert np.isfinite(array).all()


@pytest.mark.parametrize("way", ["file", "pickle", "model"])
def test_a_saved_model_has_the_same_bits(kind, tmp_path, way):
    """Would catch a file without the labelled rows, their classes or the temperature, or numbers
    of the covariance as float32.
    """
    X, y = kind.data()
    fitted = kind.make().fit(X, y)
    fitted.predict(X)  # what a model keeps of an answer is no part of its copies
    if way == "file":
        fitted.save(tmp_path / "model")
        again = dg.load(tmp_path / "model")
        assert type(again) is type(fitted)
    else:
        again = pickle.loads(pickle.dumps(fitted)) if way == "pickle" else kind.around(fitted)
    assert_same(kind, fitted, again, X)
