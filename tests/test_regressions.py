"""Bugs that other Boltzmann machine libraries shipped; numbers as in docs where they are listed.

Each test runs a whole estimator or a whole training step, so that the bug is caught wherever it
comes back. Not here: 8 (rescaling gauges), 10 (dropout) and 11 (rectified units) have nothing
they could happen in; 9 (parallel tempering) only as far as state is carried on.
"""

import copy
import itertools
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from comparisons import bits
from conftest import with_slow

import deepgen as dg
from deepgen.layers.units import Units
from deepgen.learning.gradients import Phases
from deepgen.learning.optimizers import SGD
from deepgen.learning.rules import CD, PCD
from deepgen.models import Parameters
from deepgen.rows.batch import Batch
from deepgen.rows.sources import ArrayRows
from deepgen.runtime.stream import Stream

pytestmark = pytest.mark.usefixtures("serial_module")

RNG = np.random.default_rng(3)


def two_clusters(n_rows, n_columns=12, seed=0):
    rng = np.random.default_rng(seed)
    side = rng.random((n_rows, 1)) < 0.5
    return (rng.random((n_rows, n_columns)) < np.where(side, 0.55, 0.07)).astype(np.uint8)


def every_state(n_columns):
    return np.array(list(itertools.product((0, 1), repeat=n_columns)), np.uint8)


# 1. partial_fit with calls of another length than batch_size ------------------------------------


@pytest.mark.parametrize("batch_size", with_slow([10, 100], [10]))
def test_01_partial_fit_in_large_calls_does_not_collapse(batch_size):
    """scikit-learn #4211: 20 calls of 5,000 rows drove hidden means to 0.9998 and sampled pixels
    to 0.94 where the data had 0.31; the positive phase summed n rows, the negative a batch."""
    rows = two_clusters(5000)
    rbm = dg.RBM(16, batch_size=batch_size, random_state=0)
    for _ in range(20 if batch_size == 100 else 3):
        assert rbm.partial_fit(rows) is rbm
    assert rbm.n_updates_ == (1000 if batch_size == 100 else 1500)
    assert 0.02 < rbm.transform(rows).mean() < 0.98
    draws = rbm.sample(3000, n_sweeps=200, random_state=0)
    assert draws.mean() == pytest.approx(rows.mean(), abs=0.06)


def test_01_a_short_call_counts_as_one_update_of_its_own_size():
    """The same bug from the other side: each phase is divided by its own number of rows, so a
    batch given twice over is the same update."""
    rows = two_clusters(40)
    once = dg.RBM(6, batch_size=40, random_state=0).partial_fit(rows)
    start = copy.deepcopy(once)
    start.set_params(batch_size=1000)
    twice = copy.deepcopy(start).partial_fit(np.concatenate([rows, rows]))
    single = start.partial_fit(rows)
    assert twice.n_updates_ == single.n_updates_ == 2
    for one, other in zip(twice.model_.weights, single.model_.weights, strict=True):
        assert one == pytest.approx(other, abs=2e-7)


def test_01_float32_stays_float32():
    """scikit-learn's partial_fit forced float64."""
    rows = two_clusters(50).astype(np.float32)
    rbm = dg.RBM(4, random_state=0).partial_fit(rows)
    assert rbm.transform(rows).dtype == np.float32
    assert rbm.model_.weights[0].dtype == np.float32


# 2. no shuffling between epochs -----------------------------------------------------------------


@dataclass(frozen=True)
class Watched(CD):
    """CD that keeps the batches it is shown."""

    def phases(self, model, batch, state, stream, **options):
        watched.append(np.array(batch.states[0]))
        return super().phases(model, batch, state, stream, **options)


watched = []


def test_02_rows_sorted_by_class_come_mixed_and_in_another_order_each_epoch():
    """scikit-learn's fit takes batches in the order of the data: one class at a time."""
    rows = np.repeat(np.eye(10, dtype=np.uint8), 50, axis=0)  # 10 classes, sorted
    watched.clear()
    dg.RBM(3, rule=Watched(), batch_size=50, n_epochs=3, random_state=0).fit(rows)
    batches = np.array(watched)
    assert batches.shape == (30, 50, 10)
    counts = batches.sum(axis=1)
    assert (counts.reshape(3, 10, 10).sum(axis=1) == 50).all()  # each row once an epoch
    assert counts.max() < 20  # hypergeometric, mean 5, standard deviation 2
    assert (batches[0] != batches[10]).any()
    assert (batches[10] != batches[20]).any()


def test_02_the_order_of_the_data_does_not_matter_much():
    """The consequence: sorted data must train as well as shuffled data."""
    rows, held_out = two_clusters(600), two_clusters(600, seed=1)
    by_class = rows[np.argsort(rows.sum(axis=1), kind="stable")]
    options = {"n_hidden": 4, "n_epochs": 150, "random_state": 0}
    scores = [dg.RBM(**options).fit(x).score(held_out) for x in (rows, by_class)]
    assert scores[0] == pytest.approx(scores[1], abs=0.15)


# 3. an integer seed made all samples the same ---------------------------------------------------


def test_03_an_integer_seed_gives_different_rows_and_sweeps():
    """scikit-learn #4227: a generator made anew from the seed in each step."""
    model = dg.BoltzmannMachine([dg.Binary(10), dg.Binary(5)], [np.zeros((10, 5))])
    rbm = dg.RBM.from_model(model)
    draws = rbm.sample(4000, n_sweeps=1, random_state=0)
    assert len(np.unique(draws, axis=0)) > 900  # of 1,024 states
    again = rbm.sample(4000, n_sweeps=2, random_state=0)
    agreement = (draws == again).mean()
    assert abs(agreement - 0.5) < 5 * 0.5 / np.sqrt(draws.size)
    pairs = np.corrcoef(draws.T)[~np.eye(10, dtype=bool)]
    assert np.abs(pairs).max() < 5 / np.sqrt(4000)


# 4. a pseudo-likelihood read as a likelihood ----------------------------------------------------


def test_04_scores_are_log_likelihoods():
    """scikit-learn #23179: score_samples was a scaled pseudo-likelihood of one bit. Here the
    exponentials of score_samples over all states sum to one."""
    rbm = dg.RBM(4, n_epochs=50, random_state=0).fit(two_clusters(300, 8))
    total = np.exp(rbm.score_samples(every_state(8))).sum()
    assert total == pytest.approx(1.0, abs=1e-5)


# 5. and 15. wrong annealed importance sampling --------------------------------------------------


def test_05_annealing_brackets_the_exact_value_on_a_trained_model():
    """rbms #6: transitions with the parameters of the wrong temperature."""
    rbm = dg.RBM(12, n_epochs=100, random_state=0).fit(two_clusters(400, 14))
    exact = dg.exact_log_partition(rbm.model_).value
    forward = dg.ais(rbm.model_, n_chains=400, n_betas=400, random_state=0)
    assert forward.lower <= exact <= forward.upper
    assert forward.upper - forward.lower < 0.5
    coarse = dg.ais(rbm.model_, n_chains=400, n_betas=np.linspace(0, 1, 5), random_state=0)
    weights = coarse.log_weights - coarse.log_weights.max()
    error = np.exp(weights).std() / np.sqrt(400) / np.exp(weights).mean()
    ratio = np.exp(coarse.value - exact)  # unbiased, whatever the number of temperatures
    assert abs(ratio - 1) < 5 * error * ratio


@pytest.mark.parametrize("n_chains", [1, 2, 50])
@pytest.mark.parametrize("n_betas", [2, 17])
def test_15_annealing_without_weights_is_exact_for_any_counts(n_chains, n_betas):
    """tensorflow/probability #267: an average over the wrong count, off by 1.2 nats."""
    bias = RNG.normal(size=9)
    model = dg.BoltzmannMachine([dg.Binary(bias=bias), dg.Binary(4)], [np.zeros((9, 4))])
    exact = np.logaddexp(0, bias).sum() + 4 * np.log(2)
    betas = np.linspace(0, 1, n_betas)
    found = dg.ais(model, n_chains=n_chains, n_betas=betas, random_state=0)
    assert found.value == pytest.approx(exact, abs=1e-5)
    assert dg.exact_log_partition(model).value == pytest.approx(exact, abs=1e-6)


# 6. h(t) paired with v(t - 1), and 14. drawn positive hidden states ------------------------------


@pytest.mark.parametrize("rule", [CD(1), CD(3), PCD(1), PCD(4)])
@pytest.mark.parametrize("grey", [False, True])
def test_06_14_phases_pair_each_row_with_its_own_hidden_means(rule, grey):
    """rbms #31 paired the hidden states of one step with the visible ones of the step before;
    Boltzmann.jl #15 used draws of h in the positive phase where means belong."""
    model = dg.BoltzmannMachine(
        [dg.Binary(bias=RNG.normal(size=7)), dg.Binary(bias=RNG.normal(size=5))],
        [RNG.normal(size=(7, 5))],
    )
    batch = RNG.random((30, 7)).astype(np.float32)
    batch = batch if grey else (batch > 0.5).astype(np.uint8)
    stream = Stream.from_random_state(0)
    state = rule.start(model, stream)
    for update in range(3):
        phases = rule.phases(Parameters(model), Batch((batch,)), state, stream.advanced(update))
        for side in (phases.positive, phases.negative):
            visible = np.asarray(side[0], np.float64)
            field = visible @ model.weights[0].astype(np.float64) + model.layers[1].bias
            assert side[1] == pytest.approx(1 / (1 + np.exp(-field)), abs=1e-5)
        assert np.array_equal(phases.positive[0], batch)
        assert set(np.unique(phases.negative[0])) <= {0, 1}  # states, not means


# 7. wrong initial biases ------------------------------------------------------------------------


def test_07_training_starts_from_the_frequencies_of_the_data():
    """rbms #27: visible biases of categorical units that did not fit the data (COS 5.6 froze
    them). Before the first step, the model is the best one of independent units."""
    values = RNG.choice(3, size=(400, 4), p=[0.7, 0.2, 0.1])
    rows = np.eye(3, dtype=np.uint8)[values].reshape(400, 12)
    rbm = dg.RBM(4, visible=dg.Softmax(3), learning_rate=1e-9, n_epochs=1, random_state=0)
    model = rbm.fit(rows).model_
    p = np.exp(model.layers[0].bias.reshape(4, 3))
    p /= p.sum(axis=1, keepdims=True)
    assert p.reshape(-1) == pytest.approx(rows.mean(axis=0), abs=0.005)
    moved = dg.RBM(4, visible=dg.Softmax(3), n_epochs=30, random_state=0).fit(rows).model_
    assert np.abs(moved.layers[0].bias - model.layers[0].bias).min() > 0  # none is frozen
    bytes_ = two_clusters(400)
    model = dg.RBM(4, learning_rate=1e-9, n_epochs=1, random_state=0).fit(bytes_).model_
    assert 1 / (1 + np.exp(-model.layers[0].bias)) == pytest.approx(bytes_.mean(axis=0), abs=0.005)
    real = RNG.normal(50.0, 4.0, (400, 3))
    rbm = dg.RBM(4, visible="gaussian", learning_rate=1e-9, n_epochs=1, random_state=0).fit(real)
    visible = rbm.model_.layers[0]
    assert visible.bias / visible.precision == pytest.approx(real.mean(axis=0), rel=1e-4)
    assert 1 / visible.precision == pytest.approx(real.var(axis=0), rel=1e-3)


# 8. centring changed the model ------------------------------------------------------------------


@pytest.mark.parametrize("centring", [True, False])
def test_08_a_trained_model_holds_plain_parameters(centring):
    """COS #108, #117: transformations of centred models changed the distribution. What comes out
    of training means the same with and without centring, and complementing the data (which
    centring makes harmless) leaves the quality of the model as it is."""
    rows, held_out = two_clusters(500), two_clusters(500, seed=1)
    options = {"n_hidden": 4, "n_epochs": 200, "random_state": 0, "rule": PCD(centring=centring)}
    rbm = dg.RBM(**options).fit(rows)
    model = rbm.model_
    field = held_out @ model.weights[0].astype(np.float64) + model.layers[1].bias
    energy = -(held_out @ model.layers[0].bias.astype(np.float64))
    expected = energy - np.logaddexp(0, field).sum(axis=1)
    assert rbm.free_energy(held_out) == pytest.approx(expected, abs=1e-4)
    if centring:
        flipped = dg.RBM(**options).fit(1 - rows)
        assert flipped.score(1 - held_out) == pytest.approx(rbm.score(held_out), abs=0.1)


# 9. state lost by a restore ---------------------------------------------------------------------


def test_09_a_restored_run_goes_on_with_the_same_bits(tmp_path):
    """rbms 0.6 expects "chains" in a checkpoint and saves "parallel_chains"."""
    rows = two_clusters(300)
    rbm = dg.RBM(6, batch_size=50, optimizer=SGD(momentum=0.9), random_state=0).partial_fit(rows)
    (tmp_path / "run").write_bytes(pickle.dumps(rbm))
    restored = pickle.loads((tmp_path / "run").read_bytes())
    for part in np.split(rows, 3):
        rbm.partial_fit(part)
        restored.partial_fit(part)
    assert bits(restored.model_) == bits(rbm.model_)
    draws = [x.sample(20, n_sweeps=2, random_state=0) for x in (rbm, restored)]
    assert np.array_equal(*draws)


# 12. categories drawn as independent bits -------------------------------------------------------


def test_12_softmax_units_draw_one_category_with_its_probability():
    """CFRBM #2: softmax units sampled as independent binomials."""
    bias = np.array([1.0, 0.0, -1.0, 0.5, 0.5, -2.0])
    model = dg.BoltzmannMachine([dg.Softmax(3, bias=bias), dg.Binary(2)], [np.zeros((6, 2))])
    n = 20_000
    draws = dg.RBM.from_model(model).sample(n, n_sweeps=1, random_state=0)
    assert (draws.reshape(n, 2, 3).sum(axis=2) == 1).all()
    p = np.exp(bias.reshape(2, 3))
    p = (p / p.sum(axis=1, keepdims=True)).reshape(-1)
    assert (np.abs(draws.mean(axis=0) - p) < 5 * np.sqrt(p * (1 - p) / n)).all()


# 13. variances that run away --------------------------------------------------------------------


@pytest.mark.parametrize("scale", with_slow([1e-3, 1.0, 1e3], [1e-3, 1.0]))
@pytest.mark.parametrize("n_hidden", [1, 30])
def test_13_real_valued_training_does_not_depend_on_the_scale_of_the_data(scale, n_hidden):
    """deepmat #7, xRBM #1, learnergy #15 and #38: negative or exploding variances, NaN with few
    hidden units, reconstructions that grow a thousandfold."""
    rng = np.random.default_rng(0)
    side = np.where(rng.random((400, 1)) < 0.5, 1.5, -1.5)
    rows = scale * (7.0 + np.array([1.0, 0.1, 5.0]) * (side + rng.normal(size=(400, 3))))
    rbm = dg.RBM(n_hidden, visible="gaussian", n_epochs=300, random_state=0).fit(rows)
    precision = rbm.model_.layers[0].precision
    assert np.isfinite(precision).all()
    assert (precision > 0).all()
    ratio = 1 / precision / rows.var(axis=0)
    assert (ratio > 0.01).all()
    assert (ratio < 1.5).all()
    back = rbm.inverse_transform(rbm.transform(rows))
    error = ((back - rows) ** 2).mean(axis=0) / rows.var(axis=0)
    assert (error < 1.2).all()
    draws = rbm.sample(1000, n_sweeps=200, random_state=0)
    assert draws.mean(axis=0) == pytest.approx(rows.mean(axis=0), abs=0.4 * rows.std(axis=0).max())
    assert draws.std(axis=0) == pytest.approx(rows.std(axis=0), rel=0.4)


@pytest.mark.parametrize("learning_rate", [1.0, 30.0, 1e3])
def test_13_a_rate_that_is_too_high_ends_finite_or_with_its_name(learning_rate):
    """The same reports: NaN must never be the answer."""
    rows = np.random.default_rng(0).normal(size=(200, 4))
    rbm = dg.RBM(2, visible="gaussian", learning_rate=learning_rate, n_epochs=30, random_state=0)
    try:
        rbm.fit(rows)
    except dg.DivergedError as error:
        assert f"learning rate {learning_rate:g}" in str(error)  # noqa: PT017
    assert np.isfinite(np.frombuffer(bits(rbm.model_), np.float32)).all()
    assert np.isfinite(rbm.sample(10, n_sweeps=10, random_state=0)).all()


# 14. momentum times learning rate, rates divided by the number of columns ------------------------


def fixed_phases(n_visible):
    positive = [np.ones((4, n_visible), np.float32), np.full((4, 2), 0.75, np.float32)]
    negative = [np.zeros((3, n_visible), np.float32), np.full((3, 2), 0.5, np.float32)]
    return Phases(positive, negative)


@pytest.mark.parametrize("n_visible", [1, 3, 60])
def test_14_steps_are_rate_times_velocity(n_visible):
    """Boltzmann.jl #13, #14: momentum multiplied by the learning rate, and rates divided by the
    number of visible units. The same phases twice: steps of rate * g and rate * (1 + m) * g."""
    model = dg.BoltzmannMachine([dg.Binary(n_visible), dg.Binary(2)], [np.zeros((n_visible, 2))])
    for rate, momentum in ((0.1, 0.0), (0.1, 0.5), (0.025, 0.9)):
        optimizer = SGD(momentum=momentum, weight_decay=0.0, averaging=0.0)
        parameters = Parameters(model)
        state, phases = optimizer.start(parameters), fixed_phases(n_visible)
        expected, velocity = 0.0, 0.0
        for _ in range(3):
            assert not optimizer.step(parameters, phases, state, rate, 0.0)
            velocity = momentum * velocity + 1.0
            expected += rate * velocity
            assert parameters.weights[0] == pytest.approx(0.75 * expected, rel=1e-5)
            assert parameters.biases[0] == pytest.approx(1.0 * expected, rel=1e-5)
            assert parameters.biases[1] == pytest.approx(0.25 * expected, rel=1e-5)


# 16. models that have no finite partition function ----------------------------------------------


def test_16_gaussian_neighbours_are_refused():
    """COS #142: a Gaussian-Gaussian model that is not normalizable gave a finite log Z."""
    weights = np.full((2, 2), 5.0)
    with pytest.raises(ValueError, match="need not be normalizable"):
        dg.BoltzmannMachine([dg.Gaussian(2), dg.Gaussian(2)], [weights])
    with pytest.raises(ValueError, match="hidden must not be Gaussian"):
        dg.RBM(2, visible="gaussian", hidden="gaussian").fit(np.zeros((3, 2)))


# 17. columns that never vary --------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [dg.SGD(), dg.SGD(momentum=0.9), dg.Adam()])
@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_17_constant_columns_and_repeated_rows_stay_finite(visible, optimizer):
    """COS #139, #140: parameters without variance or without weight became non-finite."""
    cases = [np.zeros((50, 4)), np.ones((50, 4)), np.tile([0.0, 1.0, 0.0, 1.0], (50, 1)),
             np.c_[np.zeros(50), np.ones(50), np.arange(50) % 2, np.full(50, 0.25)]]  # fmt: skip
    for rows in cases:
        options = {"optimizer": optimizer, "n_epochs": 60, "random_state": 0}
        rbm = dg.RBM(3, visible=visible, learning_rate=0.05, **options).fit(rows)
        assert np.isfinite(np.frombuffer(bits(rbm.model_), np.float32)).all()
        draws = rbm.sample(400, n_sweeps=50, random_state=0)
        assert np.isfinite(draws).all()
        assert draws.mean(axis=0) == pytest.approx(rows.mean(axis=0), abs=0.3)


# beyond the list: what the design forbids --------------------------------------------------------


def test_every_unit_type_of_the_library_has_a_tag_in_the_file_format():
    """Would catch a unit type that trains and cannot be saved."""
    from deepgen.io.schemas import machines

    known = {schema.unit_class for schema in machines.UNITS.values()}
    for kind in Units.__subclasses__():
        if kind.__module__.startswith("deepgen."):
            assert kind in known


def test_shuffled_epochs_are_permutations_of_large_data():
    """Would catch rows lost at the seams between blocks of 65,536."""
    n = 65_536 + 37
    rows = ArrayRows(np.arange(n, dtype=np.float32)[:, None])
    order = np.concatenate([
        batch.states[0][:, 0] for batch in rows.batches(1000, Stream.from_random_state(0))
    ])
    assert np.array_equal(np.sort(order), np.arange(n, dtype=np.float32))
