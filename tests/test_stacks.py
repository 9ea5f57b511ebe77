"""Greedy stacks: by hand and by fit, kept and streamed, stopped and resumed, turned over."""

from itertools import product

import numpy as np
import pytest
from comparisons import assert_same_models, without_seconds
from conftest import assert_same_bits, bars_and_stripes, random_model, rows_of
from stops import At, Stop, fail

import deepgen as dg
from deepgen.io import checkpoints
from deepgen.rows.batch import Batch
from deepgen.rows.sources import ArrayRows, IterableRows
from deepgen.runtime.stream import Stream
from deepgen.stacks.features import FeatureRows, stack_features
from deepgen.stacks.settings import Pretraining
from deepgen.stacks.starts import turned_over
from deepgen.stacks.stream import StackStream
from deepgen.stacks.trainer import StackTrainer, pretrain

pytestmark = pytest.mark.usefixtures("serial")

LAYERS = [dg.Binary(12), dg.Binary(8), dg.Binary(12), dg.Binary(9)]


# --- what a layer learns from -----------------------------------------------------------------


def test_a_stack_equals_its_layers_trained_by_hand(rows):
    """Would catch seeds, starts, rates or features that differ from those of single machines."""
    settings = [
        Pretraining(n_epochs=2, batch_size=50),
        Pretraining(n_epochs=3, batch_size=5, rule=dg.PCD()),  # few rows: a lower default rate
        Pretraining(n_epochs=1, learning_rate=0.1, optimizer=dg.SGD(momentum=0.5)),
    ]
    stack, features = pretrain(ArrayRows(rows), LAYERS, settings, random_state=7), rows
    for l, each in enumerate(settings):
        rbm = dg.RBM(
            LAYERS[l + 1].size, rule=each.rule, n_epochs=each.n_epochs,
            batch_size=each.batch_size, learning_rate=each.learning_rate,
            optimizer=each.optimizer, random_state=dg.child_seed(7, l),
        ).fit(features)  # fmt: skip
        assert_same_models([stack[l]], [rbm.model_])
        features = rbm.transform(features)
    assert_same_bits(stack_features(stack, rows), features)


@pytest.mark.parametrize("batches", [False, True])
def test_streamed_features_equal_kept_ones(batches, rows, monkeypatch):
    """Would catch an order or a cut of rows that changes what a layer learns from; batches of an
    iterable come in its own order, and keeping would shuffle them."""
    layers = [*LAYERS[:-1], dg.Gaussian(3, learn_precision=False)]
    data = IterableRows([rows[:60], rows[60:]]) if batches else ArrayRows(rows)
    settings = Pretraining(n_epochs=2, batch_size=50)
    kept = StackTrainer(data, layers, settings, random_state=1)
    kept.fit()
    assert isinstance(kept._data, FeatureRows if batches else ArrayRows)
    monkeypatch.setattr("deepgen.rows.sources.KEEP_BYTES", 0)
    streamed = pretrain(data, layers, settings, random_state=1)
    assert_same_models(kept.stack(), streamed)


@pytest.mark.parametrize("drawn", [False, True])
def test_batches_of_features_can_begin_anywhere(drawn, rows):
    """Would catch features of a resumed epoch that are not those of the whole one."""
    machines = [random_model(("binary", "binary"), l, (12, 12)) for l in range(2)]
    features = FeatureRows(ArrayRows(rows), machines[0], 0, drawn=drawn)
    features = FeatureRows(features, machines[1], 1, drawn=drawn)
    batches = list(rows_of(features.batches(20, Stream(3, 5))))
    later = rows_of(features.batches(20, Stream(3, 5), skip=4))
    for one, other in zip(later, batches[4:], strict=True):
        assert_same_bits(one, other)
    joined = np.concatenate(list(rows_of(features.batches(65, Stream(3, 5)))))
    assert_same_bits(np.concatenate(batches), joined)


def test_drawn_features_are_states_fresh_in_each_epoch_and_right_on_average(rows):
    """Would catch draws that are means, that repeat from epoch to epoch or from layer to layer,
    or that are not of the machine's conditional."""
    machine = random_model(("binary", "binary"), 0, (12, 12), scale=1.0)
    features = FeatureRows(ArrayRows(rows[:10]), machine, 0, drawn=True)
    # epochs of one row order: batches of a sorted copy would hide the keys
    epochs = []
    for epoch in range(2_000):
        numbers = ArrayRows(np.arange(10)[:, None])
        order = np.concatenate(list(rows_of(numbers.batches(4, Stream(9, epoch)))))
        drawn = np.empty((10, 12), np.uint8)
        drawn[order[:, 0].astype(int)] = np.concatenate(
            list(rows_of(features.batches(4, Stream(9, epoch))))
        )
        epochs.append(drawn)
    epochs = np.array(epochs)
    assert epochs.dtype == np.uint8
    assert set(np.unique(epochs)) == {0, 1}
    assert (epochs[0] != epochs[1]).any()
    mean = stack_features([machine], rows[:10])
    error = np.sqrt(mean * (1 - mean) / len(epochs))
    assert (np.abs(epochs.mean(axis=0) - mean) < 5.0 * error + 1e-6).all()
    above = FeatureRows(ArrayRows(rows[:10]), machine, 1, drawn=True)
    other = np.concatenate(list(rows_of(above.batches(4, Stream(9)))))
    assert (other != np.concatenate(list(rows_of(features.batches(4, Stream(9)))))).any()


def test_sampled_features_keep_the_bits_for_any_number_of_threads(rows):
    """Would catch draws that depend on how rows are cut among threads."""
    settings = Pretraining(n_epochs=2, batch_size=50, features="samples", rule=dg.PCD())
    stacks = [
        pretrain(ArrayRows(rows), LAYERS, settings, random_state=1, n_threads=n) for n in (1, 3)
    ]
    assert_same_models(*stacks)
    means = pretrain(
        ArrayRows(rows), LAYERS, Pretraining(n_epochs=2, batch_size=50, rule=dg.PCD()),
        random_state=1,
    )  # fmt: skip
    assert_same_models(stacks[0][:1], means[:1])
    assert (stacks[0][1].weights[0] != means[1].weights[0]).any()


# --- turned over ------------------------------------------------------------------------------


def test_a_machine_turned_over_defines_the_same_distribution():
    """Would catch swapped biases or weights that are not transposed: with h1 = the upper machine's
    visible units, sum_h2 of it must equal sum_v of the lower one, state by state."""
    below = random_model(("binary", "binary"), 3, (5, 4))
    start = random_model(("binary", "binary"), 4, (4, 5))
    upper = turned_over(start, below)
    states = np.array(list(product((0, 1), repeat=4)), np.uint8)
    flipped = dg.BoltzmannMachine(below.layers[::-1], [below.weights[0].T])
    expected = dg.exact_log_likelihood(flipped, states)
    np.testing.assert_allclose(
        dg.exact_log_likelihood(upper, states), expected, rtol=1e-6, atol=1e-6
    )


def test_further_units_start_small(rows):
    """Would catch a transposed start that leaves further units at zero or at the wrong columns."""
    run = StackTrainer(
        ArrayRows(rows), [dg.Binary(12), dg.Binary(8), dg.Binary(15)],
        Pretraining(n_epochs=1, transposed=True), random_state=0,
    )  # fmt: skip
    starts = []
    run.attach([_Starts(starts)])
    run.fit()
    below, upper = run.machines[0], starts[1]
    assert_same_bits(upper.weights[0][:, :12], np.ascontiguousarray(below.weights[0].T))
    assert_same_bits(upper.layers[0].bias, below.layers[1].bias)
    assert_same_bits(upper.layers[1].bias[:12], below.layers[0].bias)
    further = upper.weights[0][:, 12:]
    assert 0.005 < further.std() < 0.02
    assert (upper.layers[1].bias[12:] < -1.5).all()


class _Starts:
    """A callback that keeps the model that each run starts from."""

    def __init__(self, starts):
        self.starts = starts

    def begin(self, trainer):
        self.starts.append(trainer.model())

    def __call__(self, report):
        """Go on."""


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((dg.Binary(12), dg.Binary(8), dg.Binary(11)), "at least the 12 units of layer 0"),
        ((dg.Gaussian(12), dg.Binary(8), dg.Binary(12)), "needs binary units"),
        ((dg.Softmax(3).sized(12), dg.Binary(8), dg.Binary(12)), "needs binary units"),
        ((dg.Binary(12), dg.Binary(8), dg.Gaussian(12)), "needs binary units"),
    ],
)
def test_a_start_that_cannot_be_turned_over_is_refused(layers, message, rows):
    """Would catch weights cut off without a word, or biases taken for what they are not."""
    with pytest.raises(ValueError, match=message):
        StackTrainer(ArrayRows(rows), layers, Pretraining(transposed=True))


class _Gains:
    """A callback that says by how much a machine is better than the one below it, turned over.

    Judged exactly, on draws of the features: the part of the bound of log p(v) that it decides.
    """

    def __init__(self, below, rows):
        mean = np.repeat(stack_features([below], rows), 20, axis=0)
        self.drawn = (np.random.default_rng(1).random(mean.shape) < mean).astype(np.uint8)
        flipped = dg.BoltzmannMachine(below.layers[::-1], [below.weights[0].T])
        self.before = dg.exact_log_likelihood(flipped, self.drawn).mean()
        self.gains = []

    def is_for(self, trainer):
        return trainer.labels["layer"] == 1

    def begin(self, trainer):
        self(None, trainer)

    def __call__(self, report, trainer=None):
        model = (trainer or report.trainer).model()
        self.gains.append(dg.exact_log_likelihood(model, self.drawn).mean() - self.before)


@pytest.mark.slow
def test_what_a_machine_has_learned_is_not_thrown_away_when_it_is_turned_over(monkeypatch):
    """Would catch particles that start anew, offsets that are not the data's means, or a first
    rate that is that of a fresh machine: each costs nats in the first epochs of the upper one.

    On bars and stripes, exactly: with the usual state and rate the loss is several times as large.
    """
    X = np.repeat(bars_and_stripes(3), 20, axis=0)
    layers = [dg.Binary(9), dg.Binary(7), dg.Binary(9)]
    lower = Pretraining(300, rule=dg.PCD(), batch_size=20)
    upper = Pretraining(20, rule=dg.PCD(), batch_size=20, features="samples", transposed=True)
    run = StackTrainer(ArrayRows(X), layers, [lower, upper], random_state=0)
    run.trainer.fit(ArrayRows(X), 300)
    state = {"stack": [], "trainer": run.trainer.state()}
    worst = {}
    for name in ("turned over", "usual"):
        if name == "usual":
            monkeypatch.setattr("deepgen.stacks.trainer.RATE_TURNED_OVER", 1.0)
            monkeypatch.setattr(
                "deepgen.stacks.trainer.state_turned_over",
                lambda rule, usual, model, stream, below: rule.start(model, stream),
            )
        again = StackTrainer(ArrayRows(X), layers, [lower, upper], random_state=0)
        again.restore(state)
        watching = _Gains(again.trainer.model(), X)
        again.attach([watching])
        again.fit()
        assert abs(watching.gains[0]) < 1e-5  # the start is the lower machine's distribution
        worst[name] = min(watching.gains)
    assert worst["turned over"] > worst["usual"] / 5


# --- stopped and resumed ----------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("features", ["means", "samples"])
@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("update", [4, 6])  # inside the second epoch, and at its end
def test_a_stack_stopped_in_any_layer_ends_with_the_same_bits(
    layer, update, features, transposed, rows, tmp_path
):
    """Would catch finished machines, a place, draws or a start that a checkpoint forgets."""
    settings = Pretraining(
        n_epochs=2, rule=dg.PCD(), batch_size=50, features=features, transposed=transposed
    )
    layers = [*LAYERS[:-1], dg.Binary(8)]
    whole = StackTrainer(ArrayRows(rows), layers, settings, random_state=3)
    whole.fit()
    path = tmp_path / "run"
    stopped = StackTrainer(ArrayRows(rows), layers, settings, random_state=3)
    stopped.attach([dg.Checkpoint(path), At(fail, layer=layer, update=update)])
    with pytest.raises(Stop):
        stopped.fit()
    assert len(stopped.stack()) == layer + 1
    frame, state = checkpoints.load(path)
    other = StackTrainer(ArrayRows(rows), layers, settings, random_state=3)
    other.restore({"stack": frame["stack"], "trainer": state})
    other.fit()
    assert_same_models(whole.stack(), other.stack())
    assert_same_bits(whole.particles[0], other.particles[0])
    assert without_seconds(whole.history) == without_seconds(other.history)
    assert other.n_updates == [6, 6, 6]


def test_finished_machines_of_another_stack_are_refused(rows):
    """Would catch a checkpoint whose machines do not fit, or are too many."""
    settings = Pretraining(n_epochs=1)
    run = StackTrainer(ArrayRows(rows), LAYERS, settings, random_state=3)
    run.attach([])
    run.fit()
    trees = run.trainer.frame["stack"]
    for wrong in (trees[1:], [*trees, *trees], [{}], [{"model": {"model": "Network"}}]):
        again = StackTrainer(ArrayRows(rows), LAYERS, settings, random_state=3)
        with pytest.raises(ValueError, match=r"machines|no model|configuration"):
            again.restore({"stack": wrong, "trainer": run.trainer.state()})


def test_callbacks_see_each_layer_and_watch_rows_in_the_lowest_one_only(rows):
    """Would catch monitors that get rows of other columns, or a history that loses layers."""
    seen = []
    run = StackTrainer(ArrayRows(rows), LAYERS, Pretraining(n_epochs=2), random_state=0)
    stopping = dg.EarlyStopping(rows[:20], patience=5)
    log = dg.EarlyStopping("log_likelihood", patience=5)
    run.attach([
        dg.LikelihoodMonitor(rows[:20], n_chains=5, n_steps=2), stopping, log,
        lambda report: seen.append((report.entry["layer"], report.epoch)),
    ])  # fmt: skip
    run.fit()
    assert seen == [(l, epoch) for l in range(3) for epoch in (1, 2)]
    assert [entry["layer"] for entry in run.history] == [0, 0, 1, 1, 2, 2]
    assert ["log_likelihood" in entry for entry in run.history] == [True] * 2 + [False] * 4
    with pytest.raises(ValueError, match="must have shape"):  # and is not left out
        StackTrainer(ArrayRows(rows), LAYERS, Pretraining(n_epochs=1)).attach(
            [dg.LikelihoodMonitor(rows[:, :5])]
        )


def test_a_callback_that_asks_for_the_end_ends_its_layer(rows):
    """Would catch layers that are left untrained because one of them was good enough."""
    run = StackTrainer(ArrayRows(rows), LAYERS, Pretraining(n_epochs=5), random_state=0)
    run.attach([lambda report: report.epoch == 2 and report.entry["layer"] == 1])
    run.fit()
    assert [entry["layer"] for entry in run.history] == [0] * 5 + [1] * 2 + [2] * 5


# --- streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("features", ["means", "samples"])
def test_a_stream_trains_each_layer_on_the_present_features_below(features, rows):
    """Would catch layers that read the rows, stale features, or the same draw twice."""
    settings = [Pretraining(batch_size=50, features=features)] * 2
    run = StackStream.begin(ArrayRows(rows[:50]), LAYERS[:3], settings, random_state=0)
    twin = StackStream.begin(ArrayRows(rows[:50]), LAYERS[:3], settings, random_state=0)
    run.step(Batch((rows[:50],)))
    lower, upper = twin.trainers
    lower.schedule = settings[0].stream_schedule(LAYERS[:2], 50)
    upper.schedule = settings[1].stream_schedule(LAYERS[1:3], 50)
    lower.step(Batch((rows[:50],)), None)
    below = lower.parameters.to_model()
    means = stack_features([below], rows[:50])
    upper.step(Batch((means,)), None)
    assert_same_models(run.stack()[:1], twin.stack()[:1])
    same = (run.stack()[1].weights[0] == twin.stack()[1].weights[0]).all()
    assert same == (features == "means")
    assert run.n_updates == [1, 1]


def test_a_stack_reads_contexts_in_its_lowest_machine_alone(rows):
    """Would catch features without the biases of their rows, a context that goes on to another
    layer, and weights that do not."""
    rng = np.random.default_rng(0)
    X, settings = rows[:50], [Pretraining(batch_size=50, rule=dg.CD())] * 2
    weights = rng.uniform(0.5, 2.0, 50)
    context = dg.Context(bias_rows={1: rng.normal(0.0, 3.0, (50, LAYERS[1].size))})
    run, twin = (
        StackStream.begin(ArrayRows(X), LAYERS[:3], settings, random_state=0) for _ in range(2)
    )
    run.step(Batch((X,), context, weights=weights))
    lower, upper = twin.trainers
    lower.schedule = settings[0].stream_schedule(LAYERS[:2], 50)
    upper.schedule = settings[1].stream_schedule(LAYERS[1:3], 50)
    lower.step(Batch((X,), context, weights=weights), None)
    data = ArrayRows(X, context=context, weights=weights)
    (batch,) = FeatureRows(data, lower.parameters.to_model()).pieces()
    assert np.abs(batch.states[0] - stack_features([lower.parameters.to_model()], X)).max() > 0.1
    assert batch.context is None
    upper.step(Batch(batch.states, weights=weights), None)
    assert_same_models(run.stack(), twin.stack())
