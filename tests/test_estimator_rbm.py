"""The RBM estimator among scikit-learn's: copies, scores, names; and what must not change a bit."""

import copy
import pickle
import threading

import numpy as np
import pandas as pd
import pytest
import rbm_cases
from comparisons import bits
from conftest import Batches
from rbm_cases import GREY, KINDS, SMALL, X
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deepgen as dg
from deepgen.runtime import threads

pytestmark = pytest.mark.usefixtures("serial_module")

fitted = rbm_cases.fitted


# ------------------------------------------------------------------------- among scikit-learn's


def test_clone_keeps_parameters_and_drops_the_model(fitted):
    """Would catch a constructor that converts or copies what it is given."""
    other = clone(dg.RBM(7, visible=dg.Softmax(3), rule=dg.CD(2), learning_rate=dg.Linear(0.1)))
    assert other.visible.group == 3
    assert other.rule == dg.CD(2)
    assert other.learning_rate == dg.Linear(0.1)
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert not hasattr(again, "model_")
    assert bits(again.fit(X).model_) == bits(fitted.model_)


@pytest.mark.parametrize("copier", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
@pytest.mark.parametrize("kind", KINDS)
def test_copies_answer_with_the_same_bits(copier, kind):
    """Would catch a model, a lock or a kernel object that a pickle cannot carry."""
    visible, rows = KINDS[kind]
    rbm = dg.RBM(visible=visible, **SMALL).fit(rows)
    other = copier(rbm)
    assert bits(other.model_) == bits(rbm.model_)
    assert np.array_equal(other.transform(rows), rbm.transform(rows))
    assert np.array_equal(
        other.sample(4, n_sweeps=3, random_state=1), rbm.sample(4, n_sweeps=3, random_state=1)
    )
    assert other.log_partition().value == rbm.log_partition().value


def test_a_copy_in_the_middle_of_partial_fit_goes_on_with_the_same_bits():
    """Would catch particles, velocities or a stream position lost by pickle (rbms' restore)."""
    rbm = dg.RBM(optimizer=dg.SGD(momentum=0.5), **SMALL).partial_fit(X[:30])
    other = pickle.loads(pickle.dumps(rbm))
    assert bits(other.partial_fit(X[30:]).model_) == bits(rbm.partial_fit(X[30:]).model_)
    assert other.n_updates_ == rbm.n_updates_ == 6


def test_pipeline_and_grid_search():
    """Would catch an estimator that scikit-learn's composition cannot use or score."""
    y = np.arange(60) % 2
    pipeline = make_pipeline(dg.RBM(**SMALL), StandardScaler(), LogisticRegression())
    assert pipeline.fit(X, y).score(X, y) > 0.9
    search = GridSearchCV(dg.RBM(**SMALL), {"n_hidden": [2, np.int64(3)]}, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
    assert search.best_estimator_.transform(X).shape == (60, search.best_params_["n_hidden"])


def test_score_is_the_mean_log_likelihood_at_the_lower_end(fitted):
    """Would catch a score that a model search can raise by an optimistic log Z."""
    assert fitted.log_partition().method == "exact"
    assert fitted.score(X) == pytest.approx(fitted.score_samples(X).mean(), rel=1e-12)
    wide = np.tile(X, (1, 3))
    bracketed = dg.RBM(**{**SMALL, "n_hidden": 30}).fit(wide)
    bracket = bracketed.log_partition()
    assert bracket.method == "bracket"
    assert bracket.lower <= bracket.value <= bracket.upper
    expected = -bracketed.free_energy(wide).mean() - bracket.upper
    assert bracketed.score(wide) == pytest.approx(expected, rel=1e-12)
    assert bracketed.log_partition() is bracket  # computed once


@pytest.mark.slow
def test_scores_use_the_bracket_that_was_asked_for_last():
    """Would catch a narrower bracket that is computed and then not used."""
    wide = np.tile(X, (1, 3))
    rbm = dg.RBM(**{**SMALL, "n_hidden": 30}).fit(wide)
    first = rbm.score(wide)
    narrow = rbm.log_partition(n_chains=400, n_betas=[0.0, 0.3, 0.6, 0.8, 0.9, 1.0])
    assert rbm.log_partition(n_chains=400, n_betas=[0.0, 0.3, 0.6, 0.8, 0.9, 1.0]) is narrow
    expected = -rbm.free_energy(wide).mean() - narrow.upper
    assert rbm.score(wide) == pytest.approx(expected, rel=1e-12)
    assert rbm.score(wide) != first
    rbm.fit(wide)
    assert rbm.score(wide) == first  # a new fit forgets


def test_names_and_data_frames_go_in_and_out():
    """Would catch lost column names, or a transform that ignores their order."""
    frame = pd.DataFrame(X, columns=[f"pixel{i}" for i in range(12)], index=range(100, 160))
    rbm = dg.RBM(**SMALL).fit(frame)
    assert list(rbm.feature_names_in_) == list(frame.columns)
    assert rbm.n_features_in_ == 12
    assert list(rbm.get_feature_names_out()) == [f"rbm{i}" for i in range(5)]
    with pytest.raises(ValueError, match="feature names"):
        rbm.transform(frame[frame.columns[::-1]])
    out = rbm.set_output(transform="pandas").transform(frame)
    assert list(out.columns) == [f"rbm{i}" for i in range(5)]
    assert (out.index == frame.index).all()
    assert np.array_equal(out.to_numpy(), dg.RBM(**SMALL).fit(X).transform(X))
    rbm.fit(Batches(X))  # rows without names: the old names must go
    assert not hasattr(rbm, "feature_names_in_")


def test_methods_before_fit_name_the_remedy(tmp_path):
    """Would catch an AttributeError from inside where NotFittedError is meant."""
    rbm = dg.RBM()
    calls = [
        lambda: rbm.transform(X), lambda: rbm.inverse_transform(X), lambda: rbm.free_energy(X),
        lambda: rbm.log_partition(), lambda: rbm.score_samples(X), lambda: rbm.score(X),
        lambda: rbm.sample(), lambda: rbm.impute(GREY), lambda: rbm.save(tmp_path / "a"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(NotFittedError, match="RBM"):
            call()
    assert list(tmp_path.iterdir()) == []
    assert vars(rbm) == vars(dg.RBM())


# ------------------------------------------------------------------------------------ same bits


@pytest.mark.parametrize("kind", KINDS)
def test_rows_one_by_one_or_together_give_the_same_bits(kind):
    """Would catch a result that depends on the neighbours in a batch (threaded BLAS does)."""
    visible, rows = KINDS[kind]
    rbm = dg.RBM(visible=visible, **SMALL).fit(rows)
    for method in (rbm.transform, rbm.free_energy):
        whole = method(rows)
        assert np.array_equal(whole, np.concatenate([method(rows[i : i + 1]) for i in range(60)]))
        assert np.array_equal(whole, np.concatenate([method(rows[:37]), method(rows[37:])]))
    hidden = rbm.transform(rows)
    whole = rbm.inverse_transform(hidden)
    pieces = [rbm.inverse_transform(hidden[i : i + 1]) for i in range(60)]
    assert np.array_equal(whole, np.concatenate(pieces))


@pytest.mark.parametrize("rule", ["pcd", "cd"])
def test_any_number_of_threads_gives_the_same_bits(rule, monkeypatch):
    """Would catch a sum that crosses threads or a generator for each thread."""
    monkeypatch.setattr(threads, "SERIAL_WORK", 0)
    rows = (np.random.default_rng(1).random((150, 70)) < 0.4).astype(np.uint8)
    models, draws = set(), set()
    for n_threads in (1, 2, 3, 7):
        rbm = dg.RBM(40, rule=rule, n_epochs=2, random_state=0, n_threads=n_threads).fit(rows)
        models.add(bits(rbm.model_))
        draws.add(rbm.sample(20, n_sweeps=5, random_state=0).tobytes())
    assert len(models) == len(draws) == 1


def test_concurrent_reading_gives_the_same_bits(fitted):
    """Would catch scratch memory or a cache shared by calls of a fitted estimator."""
    expected = fitted.transform(X), fitted.sample(7, n_sweeps=20, random_state=3)
    fresh, failures = copy.deepcopy(fitted), []

    def work():
        for _ in range(10):
            same = np.array_equal(fresh.transform(X), expected[0])
            draws = fresh.sample(7, n_sweeps=20, random_state=3)
            if not (same and np.array_equal(draws, expected[1]) and np.isfinite(fresh.score(X))):
                failures.append(1)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


def test_random_state_none_differs_and_an_integer_repeats():
    """Would catch a default seed, or a run that a seed does not fix."""
    options = {**SMALL, "random_state": None}
    assert bits(dg.RBM(**options).fit(X).model_) != bits(dg.RBM(**options).fit(X).model_)
    assert bits(dg.RBM(**SMALL).fit(X).model_) == bits(dg.RBM(**SMALL).fit(X).model_)
    assert bits(dg.RBM(**{**SMALL, "random_state": 1}).fit(X).model_) != bits(
        dg.RBM(**SMALL).fit(X).model_
    )
    rbm = dg.RBM(**SMALL).fit(X)
    draws = [rbm.sample(10, n_sweeps=2, random_state=seed) for seed in (None, None, 0, 0)]
    assert not np.array_equal(draws[0], draws[1])
    assert np.array_equal(draws[2], draws[3])


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_generators_are_accepted_and_advance(make):
    """Would catch a generator that is ignored, or used without being moved on."""
    first = dg.RBM(**{**SMALL, "random_state": make(3)}).fit(X)
    again = dg.RBM(**{**SMALL, "random_state": make(3)}).fit(X)
    assert bits(first.model_) == bits(again.model_)
    source = make(3)
    one = first.sample(20, n_sweeps=2, random_state=source)
    assert not np.array_equal(one, first.sample(20, n_sweeps=2, random_state=source))


@pytest.mark.parametrize("random_state", [None, 0])
def test_the_global_numpy_state_is_not_touched(random_state):
    """Would catch np.random.seed or np.random.rand anywhere below."""
    before = pickle.dumps(np.random.get_state())  # noqa: NPY002
    rbm = dg.RBM(**{**SMALL, "random_state": random_state}).fit(X)
    rbm.partial_fit(X).sample(3, n_sweeps=2, random_state=random_state)
    rbm.impute(X, X == 1, n_chains=2, n_sweeps=2, random_state=random_state)
    rbm.score(X)
    assert pickle.dumps(np.random.get_state()) == before  # noqa: NPY002
