"""Training of the RBM estimator: that it learns, by `fit` and `partial_fit`, and what stops it."""

import copy
import re
import signal
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
import rbm_cases
from comparisons import bits, is_finite
from conftest import with_slow
from rbm_cases import KINDS, SMALL, X

import deepgen as dg

pytestmark = pytest.mark.usefixtures("serial_module")

digits, fitted_digits, fitted = rbm_cases.digits, rbm_cases.fitted_digits, rbm_cases.fitted


@pytest.fixture
def ctrl_c():
    """Python's own handler of SIGINT: a job in the background of a shell starts without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# ------------------------------------------------------------------------------------- learning


def bernoulli_log_likelihood(train, test):
    """Mean log-likelihood of independent pixels, smoothed by half a count."""
    p = (train.sum(axis=0, dtype=np.float64) + 0.5) / (len(train) + 1.0)
    return float((test * np.log(p) + (1 - test) * np.log1p(-p)).sum(axis=1).mean())


def test_defaults_learn_digits_far_beyond_independent_pixels(digits, fitted_digits):
    """Would catch any step of training gone wrong: judged by exact held-out likelihood."""
    train, held_out = digits
    assert fitted_digits.log_partition().method == "exact"
    assert fitted_digits.n_updates_ == 5010  # 334 epochs of 15 updates: the first beyond 5,000
    gain = fitted_digits.score(held_out) - bernoulli_log_likelihood(train, held_out)
    assert gain > 4.0
    overfit = fitted_digits.score(train) - fitted_digits.score(held_out)
    assert overfit < 1.5


@pytest.mark.parametrize("options", [
    {"rule": dg.CD(1)}, {"rule": dg.CD(3)}, {"rule": dg.PCD(2, n_particles=37)},
    {"optimizer": dg.SGD(momentum=0.5), "learning_rate": dg.Linear(0.1, 0.0)},
    {"optimizer": dg.Adam(), "learning_rate": dg.Linear(0.01, 0.0)},
    {"rule": dg.PCD(sparsity=dg.Sparsity(0.2))}, {"rule": dg.PCD(centring=False)},
    {"hidden": dg.Softmax(4)}, {"hidden": dg.Binary(n_copies=2)}, {"binarize": True},
    pytest.param({"batch_size": 7, "learning_rate": 0.02, "n_epochs": 40}, marks=pytest.mark.slow),
    {"batch_size": 10**9, "n_epochs": 600},
], ids=repr)  # fmt: skip
def test_every_option_learns_two_prototypes(options):
    """Would catch an option that is accepted and ruins learning: exact likelihood must rise
    well above independent pixels, most of the way to the two prototypes that made the data."""
    rng = np.random.default_rng(11)
    rows, held_out = (
        (rng.random((400, 12)) < np.where(rng.random((400, 1)) < 0.5, 0.85, 0.15)).astype(np.uint8)
        for _ in range(2)
    )
    rbm = dg.RBM(**{"n_hidden": 4, "n_epochs": 150, "random_state": 0, **options}).fit(rows)
    assert rbm.log_partition().method == "exact"
    ones = held_out.sum(axis=1, dtype=np.float64)
    one = ones * np.log(0.85) + (12 - ones) * np.log(0.15)
    other = ones * np.log(0.15) + (12 - ones) * np.log(0.85)
    ideal = float((np.logaddexp(one, other) - np.log(2)).mean())
    base = bernoulli_log_likelihood(rows, held_out)
    assert rbm.score(held_out) > base + 0.5 * (ideal - base)


@pytest.mark.slow
def test_gaussian_units_learn_means_variances_and_clusters():
    """Would catch a blow-up of the precision, or features that ignore real-valued data."""
    rng = np.random.default_rng(2)
    side = np.where(rng.random((600, 1)) < 0.5, 2.0, -2.0)
    rows = 5.0 + np.array([1.0, 3.0, 0.2]) * (side + rng.normal(size=(600, 3)))
    rbm = dg.RBM(4, visible="gaussian", random_state=0).fit(rows[:400])
    mean, variance = rows[:400].mean(axis=0), rows[:400].var(axis=0)
    square = (rows[400:] - mean) ** 2 / variance
    base = -0.5 * (square + np.log(2 * np.pi * variance)).sum(axis=1).mean()
    assert rbm.log_partition().method == "exact"
    assert rbm.score(rows[400:]) > base + 1.0
    draws = rbm.sample(2000, n_sweeps=300, random_state=0)
    assert draws.mean(axis=0) == pytest.approx(mean, abs=0.3 * np.sqrt(variance).max())
    assert draws.std(axis=0) == pytest.approx(np.sqrt(variance), rel=0.2)


def test_softmax_units_learn_categories_and_missing_ones():
    """Would catch frequencies that are not matched, or missing groups taken for a category."""
    rng = np.random.default_rng(4)
    same = rng.integers(0, 3, 500)
    values = np.where(rng.random((500, 4)) < 0.8, same[:, None], rng.integers(0, 3, (500, 4)))
    rows = np.eye(3, dtype=np.uint8)[values].reshape(500, 12)
    rbm = dg.RBM(6, visible=dg.Softmax(3), n_epochs=150, random_state=0).fit(rows)
    base = np.log(np.maximum(rows.mean(axis=0), 1e-9)) @ rows.T
    assert rbm.score(rows) > base.mean() + 0.7
    holes = rows.copy()
    holes[:, :3] = 0  # the first variable is missing
    with_holes = dg.RBM(6, visible=dg.Softmax(3), rule="cd", n_epochs=5, random_state=0).fit(holes)
    assert is_finite(with_holes.model_)
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=r"X has missing variables.*rule='cd'"):
            getattr(dg.RBM(6, visible=dg.Softmax(3), rule="pcd"), method)(holes)
    missing = np.zeros(rows.shape, bool)
    missing[:, :3] = True
    mean = rbm.impute(rows, missing, n_sweeps=30, random_state=0)
    assert mean[:, :3].sum(axis=1) == pytest.approx(1.0, abs=1e-4)
    assert (mean[:, :3].argmax(axis=1) == values[:, 0]).mean() > 0.7


def test_data_of_one_row_one_column_or_no_variance():
    """Would catch a division by zero or a logarithm of zero on degenerate data."""
    cases = [
        ("binary", np.ones((1, 1))), ("binary", np.zeros((30, 4))), ("binary", np.ones((30, 4))),
        ("gaussian", np.zeros((30, 4))), ("gaussian", np.full((30, 4), 7.5)),
        ("gaussian", np.full((1, 1), -3.0)), ("gaussian", np.c_[np.zeros(30), np.arange(30.0)]),
        (dg.Softmax(2), np.tile([1.0, 0.0], (30, 2))), (dg.Softmax(2), np.zeros((30, 4))),
    ]  # fmt: skip
    for visible, rows in cases:
        rbm = dg.RBM(3, visible=visible, rule="cd", n_epochs=50, random_state=0).fit(rows)
        assert is_finite(rbm.model_)
        assert np.isfinite(rbm.free_energy(rows)).all()
        assert np.isfinite(rbm.sample(5, n_sweeps=20, random_state=0)).all()


@pytest.mark.slow
def test_the_default_number_of_epochs_is_that_of_the_rows():
    """Would catch small data that are hardly looked at, or a batch that counts wrongly."""
    rbm = dg.RBM(2, batch_size=25, random_state=0).fit(X)
    assert rbm.n_updates_ == 3 * rbm.n_epochs_
    assert 100 <= rbm.n_updates_ <= 5_002  # whole epochs of 3
    assert rbm.history_[-1]["learning_rate"] == pytest.approx(0.0, abs=1e-12)
    assert rbm.history_[0]["learning_rate"] > 0.1


def test_verbose_shows_a_bar_and_silence_is_silent(capfd):
    """Would catch prints from a library."""
    dg.RBM(**SMALL).fit(X)
    assert capfd.readouterr() == ("", "")
    dg.RBM(verbose=1, **SMALL).fit(X)
    out, err = capfd.readouterr()
    assert out == ""
    assert "12/12" in err


# ---------------------------------------------------------------------------------- partial_fit


@pytest.mark.parametrize("kind", KINDS)
def test_partial_fit_gives_the_same_bits_however_multiples_of_the_batch_are_cut(kind):
    """Would catch a phase divided by the length of the call (scikit-learn #4211)."""
    visible, rows = KINDS[kind]
    models = []
    for sizes in ([60], [10] * 6, [30, 30], [20, 40]):
        rbm = dg.RBM(visible=visible, **SMALL)
        rbm.partial_fit(rows)  # the first call sets the biases from what it sees
        for part in np.split(rows, np.cumsum(sizes)[:-1]):
            assert rbm.partial_fit(part) is rbm
        assert rbm.n_updates_ == 12
        models.append(bits(rbm.model_))
    assert len(set(models)) == 1


@pytest.mark.parametrize("size", with_slow([1, 37, 100, 5000], [1, 37]))
def test_partial_fit_does_not_collapse_for_any_size_of_call(size):
    """Would catch saturated hidden units: 20 calls of 5,000 rows drove scikit-learn's samples
    to a mean of 0.94 where the data had 0.31."""
    rng = np.random.default_rng(5)
    n_rows = max(5000, size)
    on = rng.random((n_rows, 1)) < 0.5
    rows = (rng.random((n_rows, 16)) < np.where(on, 0.5, 0.12)).astype(np.uint8)
    rbm = dg.RBM(8, random_state=0, batch_size=100)
    for call in range(300 if size < 5000 else 20):
        first = call * size % (n_rows - size + 1)
        rbm.partial_fit(rows[first : first + size])
    hidden = rbm.transform(rows).mean()
    assert 0.02 < hidden < 0.98
    draws = rbm.sample(2000, n_sweeps=200, random_state=0)
    # single rows are noisy steps at a constant rate: only the collapse is excluded there
    assert draws.mean() == pytest.approx(rows.mean(), abs=0.25 if size == 1 else 0.1)


def test_partial_fit_goes_on_from_fit_from_a_file_and_from_a_core_model(tmp_path, fitted):
    """Would catch training that starts over, or attributes that a loaded estimator lacks."""
    fitted.save(tmp_path / "a.safetensors")
    for rbm in (
        copy.deepcopy(fitted),
        dg.load(tmp_path / "a.safetensors"),
        dg.RBM.from_model(fitted.model_),
    ):
        before, n_before = rbm.model_.weights[0].copy(), rbm.n_updates_
        rbm.set_params(batch_size=10, random_state=0).partial_fit(X[:10])
        change = np.abs(rbm.model_.weights[0] - before).max()
        assert 0 < change < 0.1 * np.abs(before).max() + 0.05
        assert rbm.n_updates_ == n_before + 1
        assert np.isfinite(rbm.score(X))
    again = copy.deepcopy(fitted).fit(X)
    assert bits(again.model_) == bits(fitted.model_)  # while fit starts over


def test_partial_fit_interrupted_leaves_whole_updates(monkeypatch, ctrl_c):
    """Would catch weights of one update beside the biases of the one before."""
    rbm = dg.RBM(**SMALL).partial_fit(X)
    reference = copy.deepcopy(rbm)
    step, calls = type(rbm._fitted.stream).step, []

    def interrupting(self, *args, **options):
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        calls.append(1)
        return step(self, *args, **options)

    monkeypatch.setattr(type(rbm._fitted.stream), "step", interrupting)
    with pytest.raises(KeyboardInterrupt):
        rbm.partial_fit(X)
    monkeypatch.undo()
    whole = rbm.n_updates_ - reference.n_updates_
    assert whole in (2, 3)
    reference.partial_fit(X[: 10 * whole])
    assert bits(rbm.model_) == bits(reference.model_)


# ---------------------------------------------------------------- callbacks, Ctrl-C, divergence


def test_callbacks_get_a_report_after_each_epoch():
    """Would catch a callback that is skipped once another one asks to stop, or a wrong count."""
    seen = []
    rbm = dg.RBM(**{**SMALL, "n_epochs": 5}, learning_rate=dg.Linear(0.2, 0.0))
    rbm.set_params(callbacks=[lambda report: report.epoch == 3, seen.append]).fit(X)
    assert [report.epoch for report in seen] == [1, 2, 3]
    assert [report.n_updates for report in seen] == [6, 12, 18]
    assert [report.n_rows for report in seen] == [60, 60, 60]
    assert all(report.seconds > 0 for report in seen)
    rates = [0.2 * (1 - 6 * epoch / 30) for epoch in (1, 2, 3)]
    assert [report.learning_rate for report in seen] == pytest.approx(rates, abs=1e-12)
    largest = np.abs(seen[-1].trainer.parameters.weights[0]).max()  # a model has rounded weights
    assert seen[-1].weight_max == pytest.approx(largest)
    assert isinstance(seen[0].trainer.model(), dg.BoltzmannMachine)
    assert [entry["epoch"] for entry in rbm.history_] == [1, 2, 3]
    assert rbm.n_updates_ == 18
    assert rbm.transform(X).shape == (60, 5)


@pytest.mark.parametrize("error", [RuntimeError("mine"), StopIteration(), MemoryError()])
def test_an_exception_in_a_callback_leaves_the_last_state(error):
    """Would catch a run lost, or an exception swallowed, because a callback failed."""

    def fail(report):
        if report.epoch == 2:
            raise error

    rbm = dg.RBM(**{**SMALL, "n_epochs": 4}, optimizer=dg.SGD(averaging=0), callbacks=[fail])
    with pytest.raises(type(error)):
        rbm.fit(X)
    assert rbm.n_updates_ == 12
    whole = dg.RBM(
        **{**SMALL, "n_epochs": 4}, optimizer=dg.SGD(averaging=0),
        callbacks=[lambda report: report.epoch == 2],
    ).fit(X)  # fmt: skip
    assert bits(rbm.model_) == bits(whole.model_)
    assert np.isfinite(rbm.score(X))


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_ctrl_c_from_a_callback_is_raised_and_leaves_a_usable_model(epoch, ctrl_c):
    """Would catch Ctrl-C swallowed, in the last epoch too, or a model that was never set."""

    def interrupt(report):
        if report.epoch == epoch:
            signal.raise_signal(signal.SIGINT)

    rbm = dg.RBM(**{**SMALL, "n_epochs": 4}, callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt):
        rbm.fit(X)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert rbm.n_updates_ == 6 * epoch
    assert is_finite(rbm.model_)
    assert np.isfinite(rbm.score(X))
    rbm.partial_fit(X)
    assert rbm.sample(3, n_sweeps=2).shape == (3, 12)


class Enough(Exception):
    """Raised by Counted."""


@dataclass(frozen=True)
class Counted(dg.PCD):
    """PCD that raises instead of making one more update than `limit`."""

    limit: int = 0

    def phases(self, *args, **options):
        counted.append(1)
        if len(counted) > self.limit:
            raise Enough
        return super().phases(*args, **options)


counted = []


def test_ctrl_c_from_outside_stops_soon_between_updates(ctrl_c):
    """Would catch a long run that cannot be stopped, or that stops in the middle of an update."""
    rows = np.tile(X, (100, 1))
    started, begun = threading.Event(), []
    counted.clear()

    def send():
        started.wait(600)
        time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        begun.append(len(counted))

    sender = threading.Thread(target=send)
    sender.start()
    rbm = dg.RBM(8, batch_size=10, n_epochs=10**6, random_state=0, optimizer=dg.SGD(averaging=0),
                 learning_rate=0.01, callbacks=[lambda report: started.set()],
                 rule=Counted(limit=10**9))  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        rbm.fit(rows)
    sender.join()
    n_updates = rbm.n_updates_
    assert n_updates == len(counted)
    assert n_updates <= begun[0] + 2  # no more than the updates around the signal
    n_epochs, rest = divmod(n_updates, 600)
    assert len(rbm.history_) == n_epochs
    assert n_epochs >= 1
    # the same run, stopped by its rule before the next update: the bits of whole updates
    counted.clear()
    again = dg.RBM(**{**rbm.get_params(), "callbacks": None, "rule": Counted(limit=n_updates)})
    with pytest.raises(Enough):
        again.fit(rows)
    assert rest == again.n_updates_ % 600
    assert bits(again.model_) == bits(rbm.model_)


def test_training_in_a_thread_leaves_the_signal_handler_alone(ctrl_c):
    """Would catch signal.signal called outside the main thread, which raises."""
    before, errors = signal.getsignal(signal.SIGINT), []

    def work():
        try:
            dg.RBM(**SMALL).fit(X)
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert errors == []
    assert signal.getsignal(signal.SIGINT) is before


def test_a_users_own_signal_handler_stays(ctrl_c):
    """Would catch a library that replaces an application's handler."""
    calls = []

    def mine(number, frame):
        calls.append(number)

    before = signal.signal(signal.SIGINT, mine)
    try:
        dg.RBM(**SMALL, callbacks=[lambda r: signal.raise_signal(signal.SIGINT)]).fit(X)
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == [signal.SIGINT] * 2


@pytest.mark.parametrize("optimizer", [dg.SGD(), dg.SGD(momentum=0.9), dg.Adam()])
@pytest.mark.parametrize("kind", ["binary", "gaussian"])
def test_a_run_that_diverges_says_where_and_keeps_the_last_good_model(kind, optimizer):
    """Would catch NaN weights kept, or sampled as zeros because u < NaN is False."""
    visible, rows = KINDS[kind]
    rbm = dg.RBM(visible=visible, optimizer=optimizer, learning_rate=1e38, **SMALL)
    with pytest.raises(dg.DivergedError, match=r"learning rate 1e\+38") as caught:
        rbm.fit(rows)
    error = caught.value
    assert re.fullmatch(r"weights\[0\]|layers\[[01]\]\.\w+", error.parameter)
    assert error.parameter in str(error)
    assert error.epoch in (1, 2)
    assert error.learning_rate == pytest.approx(1e38)
    assert is_finite(rbm.model_)
    assert np.isfinite(rbm.transform(rows)).all()
    for n_sweeps in (0, 1, 20):
        assert np.isfinite(rbm.sample(5, n_sweeps=n_sweeps, random_state=0)).all()
    rbm.set_params(learning_rate=None, optimizer=None).partial_fit(rows)
    assert is_finite(rbm.model_)


def test_a_run_that_diverges_late_keeps_what_was_learned_before():
    """Would catch a fall back to the very first parameters, or an average full of NaN."""

    def rate(progress):
        return 0.1 if progress < 0.9 else 1e38

    rbm = dg.RBM(5, n_epochs=200, batch_size=10, random_state=0, learning_rate=rate)
    with pytest.raises(dg.DivergedError) as caught:
        rbm.fit(X)
    assert caught.value.epoch >= 180
    assert is_finite(rbm.model_)
    first = dg.RBM(5, n_epochs=1, batch_size=60, random_state=0, learning_rate=1e-9).fit(X)
    assert rbm.score(X) > first.score(X) + 0.3
