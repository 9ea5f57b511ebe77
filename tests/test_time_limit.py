"""Time limits: what is stopped, what is not, and that nothing is left half done."""

import pickle
import threading
import time

import numpy as np
import pytest
from conftest import assert_same_bits

import deepgen as dg
from deepgen.runtime.time_limit import check_time

RNG = np.random.default_rng(5)
X = (RNG.random((200, 60)) < 0.3).astype(np.uint8)
SHORT = 0.02
# What would take minutes.
MANY = 10**7

pytestmark = pytest.mark.usefixtures("serial")


@pytest.fixture(scope="module")
def fitted():
    run = {"n_epochs": 1, "random_state": 0, "n_threads": 1}
    return {
        "rbm": dg.RBM(40, **run).fit(X),
        "dbn": dg.DBN((40, 30), **run).fit(X),
        "dbm": dg.DBM((40, 30), pretrained=None, **run).fit(X),
        "documents": dg.ReplicatedSoftmax(8, **run).fit(X),
    }


LONG = {
    "samples": ("rbm", lambda rbm: rbm.sample(3, n_sweeps=MANY)),
    "samples of many": ("rbm", lambda rbm: rbm.sample(60_000, n_sweeps=MANY)),
    "samples of a stack": ("dbn", lambda dbn: dbn.sample(3, n_sweeps=MANY)),
    "completions": ("dbm", lambda dbm: dbm.impute(X[:2], X[:2] == 1, n_chains=MANY)),
    "completions of a stack": ("dbn", lambda dbn: dbn.impute(X[:2], X[:2] == 1, n_sweeps=MANY)),
    "log Z": ("rbm", lambda rbm: rbm.log_partition(n_betas=10**6)),
    "a bound": ("dbn", lambda dbn: dbn.score_samples(X, n_draws=MANY)),
    "mean field": ("dbm", lambda dbm: [dbm.transform(X) for _ in range(MANY)]),
    "words": ("documents", lambda model: model.impute(X[:2], 5, n_sweeps=MANY)),
}


@pytest.mark.parametrize("case", LONG)
def test_long_work_is_stopped(fitted, case):
    """Would catch a loop that does not look at the clock: a server would wait for it."""
    name, work = LONG[case]
    if case == "a bound":
        fitted[name].log_partition(n_chains=10, n_betas=20)
    began = time.monotonic()
    with pytest.raises(dg.TimeLimitError, match="ask for fewer"), dg.TimeLimit(SHORT):
        work(fitted[name])
    assert time.monotonic() - began < 20  # of minutes to hours


def test_sweeps_are_counted(fitted):
    """Would catch a number that forgets rows or chains, and limits inside each other that count
    twice or not at all."""
    with dg.TimeLimit(1000) as outer:
        fitted["rbm"].sample(3, n_sweeps=10)
        with dg.TimeLimit(1000) as inner:
            fitted["rbm"].impute(X[:2], X[:2] == 1, n_chains=4, n_sweeps=5)
    assert (inner.n_sweeps, outer.n_sweeps) == (40, 70)


def test_the_limit_that_ends_first_counts(fitted):
    """Would catch an inner limit that gives more time than the outer one has left, and a message
    that blames the wrong one."""
    with dg.TimeLimit(SHORT) as outer, dg.TimeLimit(1000) as inner:
        assert inner.remaining <= SHORT
        with pytest.raises(dg.TimeLimitError, match=f"limit of {SHORT:g} s") as caught:
            fitted["rbm"].sample(3, n_sweeps=MANY)
    assert caught.value.seconds == SHORT
    assert outer.n_sweeps == caught.value.n_sweeps > 0
    check_time()  # no limit is left behind
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


def test_answers_do_not_depend_on_it(fitted):
    """Would catch work that is cut in other pieces under a limit."""
    free = fitted["dbm"].sample(20, n_sweeps=30, random_state=3)
    with dg.TimeLimit(1000):
        assert_same_bits(free, fitted["dbm"].sample(20, n_sweeps=30, random_state=3))


def test_a_limit_is_one_thread_s(fitted):
    """Would catch a limit of one request that stops another one's work."""
    answers = []

    def other():
        answers.append(fitted["rbm"].sample(3, n_sweeps=2000, random_state=0))

    with dg.TimeLimit(1e-6):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(answers) == 1


@pytest.mark.parametrize("name", ["rbm", "dbn", "dbm"])
def test_fits_do_not_heed_it(name):
    """Would catch an update that is broken off: parameters without a whole update."""
    made = {"rbm": dg.RBM(20), "dbn": dg.DBN((20, 10)), "dbm": dg.DBM((20, 10), pretrained=None)}
    estimator = made[name].set_params(n_epochs=1, random_state=0, n_threads=1)
    expected = estimator.fit(X).model_
    with dg.TimeLimit(1e-9):
        found = estimator.fit(X).model_
        estimator.partial_fit(X[:100])
    machine, other = (getattr(model, "top", model) for model in (expected, found))
    assert_same_bits(machine.weights[0], other.weights[0])


def test_chains_that_are_stopped_have_not_moved(fitted):
    """Would catch a run that is half made: the next one would have other bits than one long run."""
    chains = fitted["rbm"].chains(4, random_state=0)
    chains.run(5)
    with pytest.raises(dg.TimeLimitError), dg.TimeLimit(SHORT):
        chains.run(MANY)
    assert chains.n_sweeps == 5
    expected = fitted["rbm"].sample(4, n_sweeps=9, random_state=0)
    assert_same_bits(chains.run(4), expected)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), "1", True])
def test_refused(seconds):
    """Would catch a limit that never ends, or that is over before it begins."""
    with pytest.raises(ValueError, match="seconds must be a number"):
        dg.TimeLimit(seconds)
