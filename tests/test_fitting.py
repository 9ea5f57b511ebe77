"""The one way to fit: by all that take it, and by an estimator that the library does not know."""

import copy
import runpy
import threading
from pathlib import Path

import numpy as np
import pytest
from comparisons import assert_same_model, without_seconds
from sklearn.base import clone
from stops import At, Stop, fail

import deepgen as dg

EXAMPLE = Path(__file__).parents[1] / "examples" / "estimator_of_ones_own.py"
X = dg.datasets.sample_bars_and_stripes(130, 3, random_state=0)
SETTINGS = {"n_groups": 4, "n_epochs": 4, "batch_size": 20, "random_state": 3, "n_threads": 1}


@pytest.fixture(scope="module")
def groups():
    """The class `Groups` of the example, which runs as a whole."""
    return runpy.run_path(str(EXAMPLE))["Groups"]


def assert_same(one, other):
    """Compare model, history and place."""
    assert_same_model(one.model_, other.model_)
    assert without_seconds(one.history_) == without_seconds(other.history_)
    assert one.n_updates_ == other.n_updates_


@pytest.mark.parametrize("update", [3, 7, 20])
def test_a_stopped_run_goes_on_with_the_same_bits(groups, update, tmp_path):
    """Would catch a skeleton that keeps or restores only what its own estimators need."""
    path, whole = tmp_path / "run", groups(**SETTINGS).fit(X)
    stops = [dg.Checkpoint(path, minutes=None), At(fail, update=update)]
    stopped = groups(**SETTINGS, callbacks=stops)
    with pytest.raises(Stop):
        stopped.fit(X)
    assert stopped.n_updates_ == update
    assert_same(groups(**SETTINGS).fit(X, resume=path), whole)


def test_a_run_with_another_setting_is_refused_by_name(groups, tmp_path):
    """Would catch a hyper-parameter that checkpoints do not compare, as nobody has listed it."""
    path = tmp_path / "run"
    groups(**SETTINGS, callbacks=[dg.Checkpoint(path)]).fit(X)
    with pytest.raises(ValueError, match="n_groups is 5 here and 4 there"):
        groups(**{**SETTINGS, "n_groups": 5}).fit(X, resume=path)
    with pytest.raises(ValueError, match="estimator is RBM here and Groups there"):
        dg.RBM(4, random_state=3).fit(X, resume=path)


def test_a_stream_is_cut_kept_and_goes_on_with_the_same_bits(groups, tmp_path):
    """Would catch short calls that are not put together, or a stream that is kept in part."""
    whole = groups(**SETTINGS).partial_fit(X)
    cut = groups(**SETTINGS)
    for start, stop in ((0, 3), (3, 40), (40, 60)):
        cut.partial_fit(X[start:stop])
    cut.save_checkpoint(tmp_path / "stream")
    again = groups(**SETTINGS).load_checkpoint(tmp_path / "stream").partial_fit(X[60:])
    assert_same(again, whole)


def test_bad_input_changes_nothing_and_ctrl_c_keeps_what_is_learned(groups):
    """Would catch an attribute that is set before the rows are known to be good, or a model that
    is lost with the run."""
    fitted = groups(**SETTINGS).fit(X)
    before = dict(vars(fitted))
    with pytest.raises(ValueError, match=r"X must have values in \[0, 1\]"):
        fitted.fit(2.0 * X)
    assert all(vars(fitted)[name] is value for name, value in before.items())
    assert set(vars(fitted)) == set(before)

    def press():
        raise KeyboardInterrupt

    stopped = groups(**SETTINGS, callbacks=[At(press, update=9)])
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(X)
    assert stopped.n_updates_ == 9
    assert np.isfinite(stopped.model_.weights[0]).all()


def test_one_thread_at_a_time_fits_an_estimator(groups):
    """Would catch two runs that write into one estimator."""
    inside, go_on, errors = threading.Event(), threading.Event(), []

    def wait():
        inside.set()
        go_on.wait(60)

    estimator = groups(**SETTINGS, callbacks=[At(wait, update=2)])
    thread = threading.Thread(target=estimator.fit, args=(X,))
    thread.start()
    assert inside.wait(60)
    try:
        estimator.partial_fit(X)
    except RuntimeError as error:
        errors.append(str(error))
    go_on.set()
    thread.join(60)
    assert len(errors) == 1
    assert "is being fitted already" in errors[0]
    assert estimator.n_updates_ == 4 * 7


@pytest.mark.parametrize(
    "estimator",
    [
        dg.RBM(3), dg.DBN((3, 2)), dg.DBM((3, 2)), dg.Autoencoder(3), dg.DeepAutoencoder((3, 2)),
        dg.DeepClassifier((3,), early_stopping=1), dg.DeepRegressor((3,)),
        dg.DeepGaussianProcessRegressor((3,)), dg.NeighbourhoodComponents((3,), 2),
    ],
    ids=lambda estimator: type(estimator).__name__,
)  # fmt: skip
def test_bad_rows_leave_a_random_state_where_it_was(estimator):
    """Would catch a seed that is drawn before the rows are known to be good: the next fit would
    have other bits than without the mistake."""
    random_state, untouched = np.random.RandomState(3), np.random.RandomState(3)
    with pytest.raises(ValueError, match="X must be finite"):
        clone(estimator).set_params(random_state=random_state).fit(np.inf + X, np.arange(130) % 2)
    assert random_state.randint(1 << 30) == untouched.randint(1 << 30)


def test_a_copy_remembers_for_itself(tmp_path):
    """Would catch a stream that copies have in common: what one of them learns would change the
    other."""
    one = dg.RBM(5, n_epochs=1, random_state=3).fit(X)
    other, alone = copy.copy(one), copy.deepcopy(one)
    one.save_checkpoint(tmp_path / "stream")
    for each in (other, one, alone):
        each.partial_fit(X[:100])
    assert_same(other, alone)
    assert_same(one, alone)
