"""Training: what a run learns, in which order it sees the rows, and what it does when it fails."""

import pickle
import signal
from itertools import pairwise

import exact
import numpy as np
import pytest
from comparisons import assert_same_model
from conftest import (
    THREADS,
    assert_mean,
    assert_same_bits,
    assert_within_errors,
    bars_and_stripes,
    in_form,
    random_model,
    random_states,
    twin,
    with_slow,
)
from deepgen._kernels import engine
from scipy import stats

import deepgen as dg
from deepgen.learning import loop
from deepgen.learning.machines import Trainer
from deepgen.learning.starts import default_schedule, initial_model
from deepgen.rows import sources
from deepgen.rows.batch import Batch
from deepgen.rows.sources import ArrayRows
from deepgen.rows.survey import survey
from deepgen.runtime.precision import rounded

pytestmark = pytest.mark.usefixtures("serial")


def trainer_for(X, visible=None, hidden=None, *, rule=None, optimizer=None, schedule=None, seed=0,
                **options):  # fmt: skip
    """A trainer with the defaults of the estimator, started from the data."""
    rows = ArrayRows(X)
    visible = (dg.Binary() if visible is None else visible).sized(rows.n_columns)
    hidden = dg.Binary(8) if hidden is None else hidden
    n_rows, mean, variance = survey(rows, visible)
    stream = dg.Stream.from_random_state(seed)
    model = initial_model(visible, hidden, mean, variance, n_rows, stream)
    schedule = default_schedule(model.layers) if schedule is None else schedule
    return Trainer(model, dg.PCD() if rule is None else rule,
                   dg.SGD() if optimizer is None else optimizer, schedule, stream=stream,
                   **options)  # fmt: skip


class Spy:
    """A rule that writes down what it sees, and passes it on."""

    def __init__(self, rule=None):
        self.rule = dg.CD() if rule is None else rule
        self.batches = []

    def start(self, model, stream):
        return self.rule.start(model, stream)

    def phases(self, model, batch, state, stream, **options):
        self.batches.append(batch.states[0])
        return self.rule.phases(model, batch, state, stream, **options)


# ------------------------------------------------------------------------------- it learns


RULES = [dg.PCD(), dg.CD(), dg.PCD(centring=False)]


@pytest.mark.parametrize("rule", with_slow(RULES, RULES[1:]), ids=str)
def test_training_learns_bars_and_stripes(rule):
    """Catches any rule, sign or schedule that does not learn: the exact likelihood tells.

    Untuned defaults must reach nine tenths of the way from independent pixels to the 14 patterns
    by themselves, each as likely as another; reconstruction error would prove nothing.
    """
    X = bars_and_stripes(3)
    trainer = trainer_for(X, hidden=dg.Binary(16), rule=rule, batch_size=100)
    trainer.fit(ArrayRows(X), 5_000, len(X))
    found = dg.exact_log_likelihood(trainer.model(), X).mean()
    p = X.mean(axis=0)
    independent = (p * np.log(p) + (1.0 - p) * np.log(1.0 - p)).sum()
    best = -np.log(len(X))
    assert found > independent + 0.9 * (best - independent)
    assert found < best


@pytest.mark.parametrize(
    ("shift", "scale"),
    [
        (50.0, 5.0), pytest.param(0.0, 1.0, marks=pytest.mark.slow),
        pytest.param(1_000.0, 1.0, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_training_learns_clusters_in_any_unit(shift, scale):
    """Catches real-valued training that works only on standardized data (or blows up)."""
    rng = np.random.default_rng(5)
    centres = np.array([[-2.0, -2.0, -2.0], [2.0, 2.0, 0.0], [0.0, 2.0, 2.0]])
    X = centres[rng.integers(0, 3, 600)] + 0.5 * rng.normal(size=(600, 3))
    independent = stats.norm.logpdf(X, X.mean(axis=0), X.std(axis=0)).sum(axis=1).mean()
    densities = [stats.norm.logpdf(X, centre, 0.5).sum(axis=1) for centre in centres]
    best = np.logaddexp.reduce(densities, axis=0).mean() - np.log(3.0)
    X = (X * scale + shift).astype(np.float32)
    trainer = trainer_for(X, dg.Gaussian(), batch_size=100)
    trainer.fit(ArrayRows(X), 500, len(X))
    found = dg.exact_log_likelihood(trainer.model(), X).mean() + 3 * np.log(scale)
    assert found > independent + 0.5 * (best - independent)


def test_training_stays_at_the_data_when_the_model_is_right():
    """Catches a biased update: from the true parameters, training must not wander off."""
    model = random_model(("binary", "binary"), 1, (6, 4))
    X = exact.sample(*twin(model), 2_000, np.random.default_rng(1))[0].astype(np.uint8)
    before = dg.exact_log_likelihood(model, X)
    trainer = Trainer(model, dg.PCD(2, n_particles=500), dg.SGD(weight_decay=0.0),
                      dg.Linear(0.05, 0.0), stream=dg.Stream(1))  # fmt: skip
    trainer.fit(ArrayRows(X), 20, len(X))
    after = dg.exact_log_likelihood(trainer.model(), X)
    # 34 parameters fitted to 2,000 rows gain about 34 / 2 / 2,000 nats each, and lose none
    assert 0.0 < (after - before).mean() < 5 * 34 / 2 / 2_000


@pytest.mark.parametrize("kind", ["binary", "copies", "softmax", "gaussian"])
def test_the_first_model_is_independent_units_of_the_data(kind):
    """Catches visible biases that start at zero, and weights that saturate hidden units."""
    units = random_model((kind, "binary"), 2, (30, 20)).layers[0]
    rng = np.random.default_rng(2)
    X = random_states(units, 400, rng)
    if kind == "softmax":
        X = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, (400, 10))].reshape(400, 30)
    if kind == "gaussian":
        X = 100.0 * X + 7.0
    visible, hidden = units.replace(bias=np.zeros(30)), dg.Binary(20)
    mean, variance = X.mean(axis=0, dtype=np.float64), X.var(axis=0, dtype=np.float64)
    make = [initial_model(visible, hidden, mean, variance, 400, dg.Stream(seed))
            for seed in (2, 2, 3)]
    model = make[0]
    found = visible.replace(**model.layers[0].parameters()).mean(model.layers[0].bias[None])[0]
    np.testing.assert_allclose(found, mean, rtol=1e-5, atol=units.n_copies / 400)
    field = model.layers[1].bias + mean @ model.weights[0].astype(np.float64)
    assert np.abs(field).max() < 0.5  # the mean row leaves every hidden unit undecided
    scale = 1.0 if kind != "gaussian" else np.sqrt(variance)
    standardized = model.weights[0].T * scale
    assert_within_errors(standardized.std(), 0.01, 0.01 / np.sqrt(2 * 600))
    assert_same_model(make[1], model)
    assert (make[2].weights[0] != model.weights[0]).all()


# --------------------------------------------------------------------------- order of the rows


@pytest.mark.parametrize("form", ["bytes", "csr"])
@pytest.mark.parametrize("block", [sources.BLOCK, 16])
def test_each_epoch_shuffles_and_presents_each_row_once(form, block, monkeypatch):
    """Catches class-sorted mini-batches (scikit-learn does not shuffle), and rows left out."""
    monkeypatch.setattr(sources, "BLOCK", block)
    n_rows = 50
    X = ((np.arange(n_rows)[:, None] >> np.arange(6)) & 1).astype(np.uint8)
    spy = Spy()
    trainer = trainer_for(X, rule=spy, batch_size=8)
    trainer.fit(ArrayRows(in_form(X, form)), 3, n_rows)
    sizes = [batch.shape[0] for batch in spy.batches]
    assert sizes == 3 * [8, 8, 8, 8, 8, 8, 2]
    dense = [batch if isinstance(batch, np.ndarray) else batch.to_dense() for batch in spy.batches]
    seen = (np.concatenate(dense).astype(int) @ (1 << np.arange(6))).reshape(3, n_rows)
    for order in seen:
        np.testing.assert_array_equal(np.sort(order), np.arange(n_rows))
        assert (order != np.arange(n_rows)).any()
    for one, other in pairwise(seen):
        assert (one != other).mean() > 0.5
    if block > n_rows:  # the first batch of an order that is not sorted
        assert seen[0][:8].max() > 16


def test_the_order_depends_on_the_seed_alone():
    """Catches an order that follows the global random state, or the same one for all seeds."""
    X = ((np.arange(40)[:, None] >> np.arange(6)) & 1).astype(np.uint8)
    orders = []
    for seed in (0, 0, 1):
        spy = Spy()
        trainer_for(X, rule=spy, batch_size=7, seed=seed).fit(ArrayRows(X), 1, 40)
        orders.append(np.concatenate(spy.batches))
    assert_same_bits(orders[0], orders[1])
    assert (orders[0] != orders[2]).any()


def test_the_schedule_runs_from_start_to_end():
    """Catches a rate that reaches its end before the last update, or never."""
    X = bars_and_stripes(3)
    trainer = trainer_for(X, schedule=dg.Linear(1.0, 0.0), batch_size=5)
    rates = []
    trainer.fit(ArrayRows(X), 4, len(X), callbacks=[lambda report: rates.append(
        report.learning_rate)])  # fmt: skip
    np.testing.assert_allclose(rates, [0.75, 0.5, 0.25, 0.0], atol=1e-12)
    assert trainer.n_updates == 4 * 3


# ------------------------------------------------------------------------------- grey values


def test_binarize_draws_afresh_at_each_presentation():
    """Catches grey pixels that are binarized once and for all, or by another share."""
    X = np.tile(np.array([0.0, 0.2, 0.5, 0.9, 1.0], np.float32), (100, 1))
    spy = Spy()
    trainer = trainer_for(X, rule=spy, batch_size=50, binarize=True)
    trainer.fit(ArrayRows(X), 20, 100)
    drawn = np.stack(spy.batches)
    assert drawn.dtype == np.uint8
    assert len(np.unique(drawn.reshape(40, -1), axis=0)) == 40
    flat = drawn.reshape(-1, 5)
    assert_mean(flat, X[0])
    assert not flat[:, 0].any()
    assert flat[:, 4].all()
    spy = Spy()
    trainer_for(X, rule=spy, batch_size=50).fit(ArrayRows(X), 1, 100)
    np.testing.assert_array_equal(spy.batches[0], X[:50])


# ------------------------------------------------------------------------------ same bits


RUNS = [
    (dg.Binary(), dg.PCD(2, n_particles=11), dg.SGD(momentum=0.5, averaging=0.5)),
    (dg.Binary(n_copies=2), dg.CD(sparsity=dg.Sparsity(0.1)), dg.SGD()),
    (dg.Softmax(3), dg.CD(2, centring=False), dg.Adam()),
    (dg.Gaussian(), dg.PCD(), dg.SGD()),
    (dg.Gaussian(), dg.CD(), dg.Adam(averaging=0.5)),
]


def some_rows(units, n_rows=45):
    """States of 33 columns."""
    rng = np.random.default_rng(3)
    if isinstance(units, dg.Softmax):
        return np.eye(3, dtype=np.uint8)[rng.integers(0, 3, (n_rows, 11))].reshape(n_rows, 33)
    return random_states(units.sized(33), n_rows, rng)


@pytest.mark.parametrize(("units", "rule", "optimizer"), RUNS)
def test_training_gives_the_same_bits(units, rule, optimizer, restored_backend, threaded):
    """Catches a race, or a sum whose order depends on threads or on the instruction set."""
    X, models = some_rows(units), []
    runs = [(name, 1) for name in engine.available_backends()]
    runs += [(engine.available_backends()[-1], n_threads) for n_threads in THREADS]
    for name, n_threads in runs:
        restored_backend(name)
        trainer = trainer_for(X, units, dg.Binary(40), rule=rule, optimizer=optimizer,
                              batch_size=20, n_threads=n_threads)  # fmt: skip
        trainer.fit(ArrayRows(X), 2, len(X))
        models.append(trainer.model())
    for one, other in pairwise(models):
        assert_same_model(one, other)


@pytest.mark.parametrize(("units", "rule", "optimizer"), RUNS)
def test_a_resumed_run_gives_the_same_bits(units, rule, optimizer):
    """Catches a checkpoint without particles, velocities, offsets, averages or position."""
    X = some_rows(units)
    trainer = trainer_for(X, units, dg.Binary(10), rule=rule, optimizer=optimizer)
    pieces = [X[:20], X[20:40], X[40:]]
    for update, piece in enumerate(pieces * 2):
        if update == 4:
            kept = pickle.dumps(trainer)
        trainer.step(Batch((piece,)), (update + 1) / 6)
    resumed = pickle.loads(kept)
    for update, piece in enumerate((pieces * 2)[4:], start=4):
        resumed.step(Batch((piece,)), (update + 1) / 6)
    assert_same_model(resumed.model(), trainer.model())
    assert resumed.n_updates == trainer.n_updates == 6


def test_bytes_floats_and_sparse_rows_learn_the_same_bits():
    """Catches data whose storage changes what is learned."""
    X, models = bars_and_stripes(3), []
    for form in ("bytes", "floats", "csr"):
        trainer = trainer_for(X, batch_size=5)
        trainer.fit(ArrayRows(in_form(X, form)), 3, len(X))
        models.append(trainer.model())
    for one, other in pairwise(models):
        assert_same_model(one, other)


# --------------------------------------------------------------------------------- averages


def test_the_model_is_the_average_once_averaging_has_begun():
    """Catches a model that is the last, noisiest step, and an average that begins too early."""
    X = bars_and_stripes(3)
    trainer = trainer_for(X, optimizer=dg.SGD(averaging=0.35), schedule=dg.Constant(0.1))
    path = []
    for update in range(10):
        trainer.step(Batch((X,)), (update + 1) / 10)
        path.append(trainer.parameters.snapshot())
        if update < 6:
            last = rounded(*trainer.parameters.layers, path[-1]["weights[0]"])
            assert_same_bits(trainer.model().weights[0], last)
    expected = np.mean([one["weights[0]"] for one in path[6:]], axis=0, dtype=np.float64)
    half_a_step = trainer.parameters.packed[0].scale / 2  # models have rounded weights
    np.testing.assert_allclose(
        trainer.model().weights[0], expected, rtol=1e-5, atol=1e-7 + half_a_step
    )
    assert (trainer.model().weights[0] != path[-1]["weights[0]"]).any()


# ------------------------------------------------------------------------------- callbacks


def test_callbacks_see_each_epoch_and_can_stop_the_run():
    """Catches a callback that sees the state before the epoch, or that cannot stop."""
    X, reports = bars_and_stripes(3), []
    trainer = trainer_for(X, batch_size=5)

    def stop(report):
        reports.append((report.epoch, report.n_updates, report.n_rows))
        assert report.trainer is trainer
        assert report.seconds > 0
        assert report.weight_max == np.abs(trainer.parameters.weights[0]).max()
        return report.epoch == 3

    seen = []
    others = [stop, lambda report: seen.append(report.epoch)]
    trainer.fit(ArrayRows(X), 10, len(X), callbacks=others)
    assert reports == [(1, 3, 14), (2, 6, 14), (3, 9, 14)]
    assert seen == [1, 2, 3]
    assert [entry["epoch"] for entry in trainer.history] == [1, 2, 3]


def test_interrupts_are_honoured_between_updates():
    """Catches Ctrl-C in the middle of an update, which would leave half-moved parameters."""
    X = bars_and_stripes(3)
    trainer = trainer_for(X, batch_size=5)

    def interrupt(report):
        if report.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(ArrayRows(X), 10, len(X), callbacks=[interrupt])
    assert (trainer.epoch, trainer.n_updates) == (2, 6)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    same = trainer_for(X, batch_size=5)
    with pytest.raises(StopIteration):
        same.fit(ArrayRows(X), 10, len(X), callbacks=[interrupt_at_two])
    assert_same_model(same.model(), trainer.model())


def interrupt_at_two(report):
    """Stop after the second epoch by an error of its own."""
    if report.epoch == 2:
        raise StopIteration


# ------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize("optimizer", [dg.SGD(), dg.SGD(momentum=0.9)], ids=str)
@pytest.mark.parametrize("rule", [dg.CD(), dg.PCD()], ids=str)
def test_a_run_that_diverges_says_so_and_keeps_the_last_good_model(rule, optimizer):
    """Catches NaN that is kept, saved and sampled from (sampling NaN silently gives zeros)."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 5)).astype(np.float32)
    trainer = trainer_for(X, dg.Gaussian(), rule=rule, optimizer=optimizer, batch_size=20,
                          schedule=dg.Constant(1e10))  # fmt: skip
    start = trainer.model()
    with pytest.raises(dg.DivergedError) as caught:
        trainer.fit(ArrayRows(X), 40, 60)
    error = caught.value
    names = [*trainer.parameters.learned(), "particles[0]", "particles[1]"]
    assert error.parameter in names
    assert error.epoch == trainer.epoch + 1
    assert error.learning_rate == 1e10
    for part in (error.parameter, f"epoch {error.epoch}", "1e+10", "Lower learning_rate"):
        assert part in str(error)
    model = trainer.model()
    for array in (*model.weights, *(p for l in model.layers for p in l.parameters().values())):
        assert np.isfinite(array).all()
    if trainer.n_updates < loop.SNAPSHOT_EVERY:
        assert_same_model(model, start)
    trainer.schedule = dg.Constant(1e-3)
    trainer.step(Batch((X,)), 0.0)
    assert trainer.parameters.first_non_finite() is None


def test_fields_of_mean_field_beyond_float32_are_a_divergence():
    """Would catch an error about an argument that nobody has given, out of the middle of an
    update."""
    model = random_model(("gaussian", "binary", "binary"), 0)
    trainer = Trainer(
        model, dg.MeanFieldPCD(n_particles=5), dg.SGD(), dg.Constant(0.1), stream=dg.Stream(0)
    )
    trainer.parameters.weights[0][...] = 3e38
    with pytest.raises(dg.DivergedError):
        trainer.step(Batch((np.full((4, model.layers[0].size), 2.0, np.float32),)), 0.0)
    assert trainer.parameters.first_non_finite() is None


def test_the_last_good_model_is_a_recent_one():
    """Catches a run that diverges late and falls back to its random start."""
    X = bars_and_stripes(3)
    trainer = trainer_for(X, schedule=dg.Constant(0.1))
    n_updates = loop.SNAPSHOT_EVERY + 20
    for update in range(n_updates):
        if update == loop.SNAPSHOT_EVERY:
            good = trainer.model()
        trainer.step(Batch((X,)), 0.0)
    trainer.parameters.weights[0][0, 0] = np.nan
    with pytest.raises(dg.DivergedError, match=r"weights\[0\]"):
        trainer.step(Batch((X,)), 0.0)
    assert_same_model(trainer.model(), good)
