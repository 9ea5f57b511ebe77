"""The up-down algorithm: what it climbs, that it climbs, and that it goes on after a stop."""

import exact
import numpy as np
import pytest
import reference
from conftest import (
    assert_same_bits,
    assert_within_errors,
    bars_and_stripes,
    random_belief_network,
    random_states,
    twin_belief,
)
from scipy import sparse

import deepgen as dg
from deepgen.io import model_files
from deepgen.learning.belief_networks import UpDown, UpDownTrainer
from deepgen.learning.machines import Trainer
from deepgen.rows.batch import Batch
from deepgen.rows.sources import ArrayRows
from deepgen.runtime.stream import Stream
from deepgen.stacks.settings import Pretraining
from deepgen.stacks.trainer import pretrain

PLAIN = dg.SGD(weight_decay=0.0, averaging=0.0)


def with_array(network, name, array):
    """The float64 twin of a network with one array replaced."""
    model = twin_belief(network)
    side, _, rest = name.partition("[")
    l = int(rest[0]) if rest else 0
    if side.startswith("weights.top"):
        return exact.Belief(model.directed, (model.top[0], [array]))
    if side.startswith("top.layers"):
        layers = list(model.top[0])
        layers[l] = reference.Layer(layers[l].kind, array, group=layers[l].group)
        return exact.Belief(model.directed, (layers, model.top[1]))
    parts = list(model.directed[l])
    place = {"weights.generative": 2, "weights.recognition": 3}.get(side)
    if place is None:
        place = 0 if name.endswith("lower.bias") else 1
        old = parts[place]
        array = reference.Layer(old.kind, array, log_precision=old.log_precision, group=old.group)
    parts[place] = array
    directed = [tuple(parts) if m == l else other for m, other in enumerate(model.directed)]
    return exact.Belief(directed, model.top)


def mean_log_p(model, rows, proposal):
    """E over rows and q of `proposal` of log p(v, x) under `model`."""
    hidden, total = exact.hidden_states(model), 0.0
    for row in rows:
        log_p, _ = exact.belief_log_weights(model, row, hidden)
        _, log_q = exact.belief_log_weights(proposal, row, hidden)
        total += np.exp(log_q) @ log_p / len(rows)
    return total - model.log_partition


def mean_log_q(model, source):
    """E over v, x ~ p of `source` of log q(x | v) under `model`."""
    hidden, total = exact.hidden_states(model), 0.0
    for row in exact.layer_states(model.directed[0][0]):
        log_p, _ = exact.belief_log_weights(source, row, hidden)
        _, log_q = exact.belief_log_weights(model, row, hidden)
        total += np.exp(log_p - source.log_partition) @ log_q
    return total


@pytest.mark.parametrize(
    ("kinds", "sizes"),
    [
        (("binary", "binary", "binary"), [3, 3, 2]),
        (("softmax", "binary", "binary", "binary"), [6, 3, 2, 3]),
    ],
)
def test_an_update_is_the_gradient_of_what_each_phase_climbs(kinds, sizes):
    """Catches a delta rule of the wrong sign or side, means in place of draws, and biases of
    another layer: wake and top follow the gradient of E_q log p(v, x), sleep that of E_p log q."""
    network = random_belief_network(kinds, 1, sizes, scale=1.5)
    states = exact.layer_states(twin_belief(network).directed[0][0])[[0, 2, 3, 5]]
    n = 20_000
    rows = np.tile(states, (n // 4, 1)).astype(np.uint8)
    rule = dg.PCD(k=40, n_particles=n, centring=False)
    trainer = UpDownTrainer(network, rule, PLAIN, 1.0, stream=Stream(1), batch_size=n)
    before = trainer.parameters.snapshot()
    trainer.step(Batch((rows,)), 0.0)
    model = twin_belief(network)
    for name, start in before.items():
        def climbed(array, name=name, shape=start.shape):
            changed = with_array(network, name, array.reshape(shape))
            if "recognition" in name or "upper" in name:
                return mean_log_q(changed, model)
            return mean_log_p(changed, states, model)

        expected = reference.finite_difference(climbed, start.astype(np.float64).reshape(-1))
        change = (trainer.parameters.learned()[name] - start).reshape(-1)
        # products of states and errors lie within [-1, 1]; the top has two phases
        error = (1.5 if "top" in name else 1.0) * 0.5 / np.sqrt(n)
        assert_within_errors(change, expected, error, 1e-5)
        if name.startswith("weights"):
            assert np.abs(expected).max() > 10 * error


def test_up_down_raises_the_exact_bound():
    """Catches a recognition side that falls behind, and parameters of the run that do not get
    into its model: after up-down the enumerated bound of bars and stripes is higher."""
    patterns = bars_and_stripes(3)
    X = np.tile(patterns, (10, 1))
    layers = [dg.Binary(9), dg.Binary(7), dg.Binary(6)]
    settings = Pretraining(n_epochs=40, batch_size=14, learning_rate=1.0)
    stack = pretrain(ArrayRows(X), layers, settings, random_state=0, n_threads=1)
    network = dg.BeliefNetwork.from_stack(stack)
    trainer = UpDownTrainer(
        network, dg.CD(3), dg.SGD(), dg.Linear(0.2, 0.0), stream=Stream(2), batch_size=14,
        n_threads=1,
    )  # fmt: skip
    trainer.fit(ArrayRows(X), 30)
    before, after = (
        exact.belief_bound(twin_belief(model), patterns).mean()
        for model in (network, trainer.model())
    )
    assert after > before + 0.1
    assert (trainer.model().layers[0].generative != trainer.model().layers[0].recognition).any()
    assert_same_bits(network.layers[0].generative, stack[0].weights[0])


@pytest.mark.parametrize("optimizer", [dg.SGD(momentum=0.5), dg.Adam()])
@pytest.mark.parametrize("rule", [dg.CD(2), dg.PCD(n_particles=7)])
def test_a_run_goes_on_with_the_same_bits(rule, optimizer):
    """Catches particles, velocities, averages or a place that a checkpoint leaves out."""
    network = random_belief_network(("gaussian", "binary", "softmax", "binary"), 1, [5, 4, 6, 3])
    X = np.random.default_rng(0).normal(size=(25, 5)).astype(np.float32)

    def run():
        return UpDownTrainer(
            network, rule, optimizer, 0.01, stream=Stream(3), batch_size=10, n_threads=1
        )

    whole = run()
    whole.fit(ArrayRows(X), 6)
    stopped = run()

    def interrupt(report):
        return report.epoch == 3

    stopped.fit(ArrayRows(X), 6, callbacks=[interrupt])
    resumed = run()
    resumed.restore(stopped.state())
    resumed.fit(ArrayRows(X), 6)
    for name, array in whole.parameters.learned().items():
        assert_same_bits(resumed.parameters.learned()[name], array)
    one, other = (model_files.describe(trainer.model())[1] for trainer in (whole, resumed))
    for name, array in one.items():
        assert_same_bits(other[name], array)


def test_threads_do_not_change_an_update(threaded):
    """Catches a sum that depends on how it was shared out."""
    network = random_belief_network(("binary", "binary", "binary"), 1, [70, 40, 33])
    X = np.random.default_rng(0).integers(0, 2, (50, 70)).astype(np.uint8)
    found = []
    for n_threads in (1, 3):
        trainer = UpDownTrainer(
            network, dg.CD(), PLAIN, 0.1, stream=Stream(3), batch_size=25, n_threads=n_threads
        )
        trainer.fit(ArrayRows(X), 1)
        found.append(trainer.parameters.learned())
    for name, array in found[0].items():
        assert_same_bits(found[1][name], array)


def test_a_run_that_diverges_goes_back():
    """Catches NaN in a model: the error names rate and epoch, the parameters are finite."""
    network = random_belief_network(("gaussian", "binary", "binary"), 1)
    X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    trainer = UpDownTrainer(network, dg.CD(), PLAIN, 1e38, stream=Stream(3), batch_size=10)
    with pytest.raises(dg.DivergedError, match="learning rate"):
        trainer.fit(ArrayRows(1e6 * X), 3)
    assert trainer.parameters.first_non_finite() is None


def test_missing_variables_teach_nothing():
    """Catches an all-zero group whose means are pulled towards zero."""
    network = random_belief_network(("softmax", "binary", "binary"), 1)
    X = np.zeros((40, 6), np.uint8)
    X[:, 1] = 1
    trainer = UpDownTrainer(network, dg.CD(), PLAIN, 0.5, stream=Stream(3), batch_size=40)
    before = trainer.parameters.snapshot()
    trainer.step(Batch((X,)), 0.0)
    for name in ("weights.generative[0]", "layers[0].lower.bias"):
        moved = trainer.parameters.learned()[name] != before[name]
        assert moved[:3].any()
        assert not moved[3:].any()


def test_bad_settings_are_refused_before_any_work():
    """Catches an error from inside the first update."""
    network = random_belief_network(("binary", "binary", "binary"), 1)
    good = {"stream": Stream(0)}
    with pytest.raises(TypeError, match=r"network must be a dg\.BeliefNetwork"):
        UpDownTrainer(network.top, "cd", PLAIN, 0.1, **good)
    with pytest.raises(ValueError, match="rule must be"):
        UpDownTrainer(network, 3, PLAIN, 0.1, **good)
    with pytest.raises(ValueError, match="learning_rate must be"):
        UpDownTrainer(network, "cd", PLAIN, -0.1, **good)
    with pytest.raises(ValueError, match="batch_size"):
        UpDownTrainer(network, "cd", PLAIN, 0.1, batch_size=0, **good)
    for optimizer in ("adam", dg.LBFGS(), dg.SGD, None):
        with pytest.raises(ValueError, match=r"optimizer must be dg\.SGD"):
            UpDownTrainer(network, "cd", optimizer, 0.1, **good)
        with pytest.raises(ValueError, match=r"optimizer must be dg\.SGD"):
            UpDown(optimizer=optimizer)


def test_a_bad_batch_is_refused_and_leaves_the_run_whole():
    """Catches a raw error of a kernel, and a run that no checkpoint keeps after it."""
    network = random_belief_network(("binary", "binary", "binary"), 1)
    size = network.visible.size
    run = UpDownTrainer(network, "cd", PLAIN, 0.1, stream=Stream(0))
    machine = Trainer(network.top, dg.CD(), PLAIN, dg.Constant(0.1), stream=Stream(0))
    for trainer, width in ((run, size), (machine, network.top.layers[0].size)):
        before = trainer.parameters.snapshot()
        for batch, message in (
            ([0.5] * width, "batch must have shape"),
            (np.zeros((2, width + 1)), "batch must have shape"),
            (np.full((2, width), 7.0), r"batch must have values in \[0, 1\]"),
            ([["a"] * width], "batch must hold real numbers"),
        ):
            with pytest.raises(ValueError, match=message):
                trainer.step(Batch((batch,)), 0.0)
        assert trainer.whole
        for name, array in trainer.parameters.learned().items():
            assert_same_bits(array, before[name])
        trainer.step(Batch(([[0] * width, [1] * width],)), 0.0)
        assert trainer.n_updates == 1
    for X, message in (
        (np.zeros((2, size + 1)), "X must have shape"), (np.full((2, size), np.nan), "finite"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            run.fit(X, 1)
    with pytest.raises(ValueError, match="n_epochs must be"):
        run.fit(np.zeros((2, size)), -1)


def test_arrays_train_as_their_rows_do():
    """Catches a run that takes only what no user can make: rows of a private class."""
    network = random_belief_network(("binary", "binary", "binary"), 1)
    X = random_states(network.visible, 30, np.random.default_rng(2))
    found = []
    for rows in (ArrayRows(X), X, X.tolist(), sparse.csr_array(X)):
        run = UpDownTrainer(network, "cd", PLAIN, 0.1, stream=Stream(0), batch_size=10)
        run.fit(rows, 2)
        assert run.n_updates == 6
        found.append(run.parameters.learned())
    for other in found[1:]:
        for name, array in found[0].items():
            assert_same_bits(other[name], array)


def test_a_state_of_a_network_with_other_precisions_is_refused():
    """Catches a run that goes on with precisions which its file does not have."""
    kinds = ("gaussian", "binary", "binary")
    network, other = (random_belief_network(kinds, seed) for seed in (1, 2))
    one, two = (
        UpDownTrainer(each, dg.CD(), PLAIN, 0.1, stream=Stream(0)) for each in (network, other)
    )
    with pytest.raises(ValueError, match=r"another layers\[0\]\.lower\.log_precision"):
        two.restore(one.state())


def test_default_rates_know_real_valued_units():
    """Catches a rate of binary units on real-valued ones, where it diverges."""
    for kinds, rate in ((("binary",) * 3, 0.1), (("gaussian", "binary", "binary"), 0.01)):
        run = UpDown().run(random_belief_network(kinds, 1), stream=Stream(0))
        assert run.schedule == dg.Linear(rate, 0.0)
        assert run.rule == dg.CD(3)
