"""The rule of deep machines: its expected update is the gradient of the variational bound."""

import functools
from dataclasses import replace
from itertools import pairwise

import exact
import numpy as np
import pytest
import reference
from conftest import (
    FIVE_SIGMA,
    FLOAT32_ROUNDING,
    assert_same_bits,
    assert_within_errors,
    bars_and_stripes,
    exact_particles,
    in_form,
    random_model,
    random_states,
    twin,
)

import deepgen as dg
from deepgen.inference.mean_field import infer
from deepgen.learning.gradients import Phases, layer_gradients, weight_gradient
from deepgen.learning.machines import Trainer
from deepgen.learning.starts import default_schedule, initial_model
from deepgen.models import Parameters
from deepgen.rows.batch import Batch
from deepgen.rows.sources import ArrayRows
from deepgen.rows.survey import survey

pytestmark = pytest.mark.usefixtures("serial")

N_PARTICLES = 20_000
ARRIVED = dg.FixedPoint(max_sweeps=500, tol=1e-6)
MODELS = [
    ("binary", "binary", "binary"),
    ("gaussian", "binary", "copies"),
    ("softmax", "binary", "binary"),
    ("binary", "binary", "binary", "binary"),
]
SIZES = {"binary": 2, "copies": 2, "softmax": 3, "gaussian": 2}


def small_model(kinds, seed=1, scale=0.7):
    """A model of three or four layers that can be enumerated again and again."""
    return random_model(kinds, seed, [SIZES[kind] for kind in kinds], scale=scale)


@functools.cache
def slopes_of_the_bound(kinds):
    """Finite differences by every weight and bias of the mean over rows of
    max over q of E_q[log p*] + H(q), minus log Z, in float64; the model and its rows."""
    model = small_model(kinds)
    batch = exact_particles(model, 4, 2)[0]
    layers, weights = twin(model)
    states = [reference.float64(batch), *[None] * (len(layers) - 1)]
    best = reference.mean_field(layers, weights, states, max_sweeps=500, tol=1e-10).means
    free = [np.full(x.shape, l > 0) for l, x in enumerate(best)]

    def bound(layers, weights):
        # what is left of the bound is of the order of the tolerance squared
        found = reference.mean_field(layers, weights, states, start=best, tol=1e-6, max_sweeps=500)
        bounds = reference.mean_field_bound(layers, weights, found.means, free)
        return bounds.mean() - exact.log_partition(layers, weights)

    def with_bias(l, bias):
        return [*layers[:l], replace(layers[l], bias=bias), *layers[l + 1 :]]

    by_weights = [
        reference.finite_difference(
            lambda w, l=l: bound(layers, [*weights[:l], w, *weights[l + 1 :]]), weights[l]
        )
        for l in range(len(weights))
    ]
    by_bias = [
        reference.finite_difference(lambda b, l=l: bound(with_bias(l, b), weights), layer.bias)
        for l, layer in enumerate(layers)
    ]
    return model, batch, by_weights, by_bias


def phases_at_the_target(model, batch, *, centring, seed=1):
    """Parameters, and phases of an update whose particles are exact draws from the model."""
    rule = dg.MeanFieldPCD(2, n_particles=N_PARTICLES, inference=ARRIVED, centring=centring)
    state = rule.start(model, dg.Stream(seed))
    state.particles = exact_particles(model, N_PARTICLES, seed)
    parameters = Parameters(model)
    return parameters, rule.phases(parameters, Batch((batch,)), state, dg.Stream(seed + 1))


# --------------------------------------- the expected update is the gradient of the bound


@pytest.mark.slow
@pytest.mark.parametrize("centring", [False, True])
@pytest.mark.parametrize("kinds", MODELS)
def test_the_expected_update_is_the_gradient_of_the_bound(kinds, centring):
    """Catches a positive phase that is no fixed point, particles of two sweeps in one product, a
    middle layer that gets one neighbour's share, and centring that moves the optimum.

    By the envelope theorem the bound's slope at its best q is that at a fixed q.
    """
    model, batch, by_weights, by_bias = slopes_of_the_bound(kinds)
    parameters, phases = phases_at_the_target(model, batch, centring=centring)
    found = layer_gradients(parameters, phases)
    ones = [np.ones(layer.size) for layer in model.layers]
    gains = ones if phases.gains is None else phases.gains
    offsets = [0.0 * one for one in ones] if phases.offsets is None else phases.offsets
    offsets = [reference.float64(o) for o in offsets]
    x = [reference.float64(states) for states in phases.negative]
    centred, noise = [], []
    for l, (lower, upper) in enumerate(pairwise(range(model.n_layers))):
        mu, lam = offsets[lower], offsets[upper]
        expected = (by_weights[l] - np.outer(mu, by_bias[upper]) - np.outer(by_bias[lower], lam))
        terms = (x[lower] - mu)[:, :, None] * (x[upper] - lam)[:, None, :]
        error = terms.std(axis=0) / np.sqrt(N_PARTICLES)
        rounding = 2 * N_PARTICLES * FLOAT32_ROUNDING * np.abs(terms).mean(axis=0) + 1e-5
        scale = np.outer(gains[lower], gains[upper])
        weights = weight_gradient(parameters, phases, l, found.difference)
        assert_within_errors(weights / scale, expected, error, rounding)
        centred.append(expected)
        noise.append((error, rounding))
    for l in range(model.n_layers):
        expected = by_bias[l].copy()
        error = x[l].std(axis=0) / np.sqrt(N_PARTICLES)
        rounding = np.full(len(error), 1e-5)
        for m, pair in ((l - 1, l - 1), (l + 1, l)):
            if 0 <= m < model.n_layers:
                turned = [part.T if m < l else part for part in (centred[pair], *noise[pair])]
                follow = gains[m] * offsets[m]
                expected -= turned[0] @ follow
                error = error + turned[1] @ np.abs(follow)
                rounding = rounding + turned[2] @ np.abs(follow)
        assert_within_errors(found.bias[l] / gains[l], expected, error, rounding)


@pytest.mark.parametrize("kinds", MODELS[:3])
def test_the_update_has_less_noise_than_draws(kinds):
    """Catches an odd layer that is drawn in both phases: means given the even layers take the
    noise of one side out of every product."""
    model = small_model(kinds)
    batch = exact_particles(model, 5, 2)[0]
    _, phases = phases_at_the_target(model, batch, centring=False)
    means = phases.negative[1]
    assert means.dtype == np.float32
    assert ((means != np.rint(means)).mean(axis=0) > 0.9).all()
    for l in range(0, model.n_layers, 2):
        assert phases.negative[l].dtype == model.layers[l].state_dtype


@pytest.mark.parametrize(
    "kinds", [("binary", "binary"), ("gaussian", "copies"), ("softmax", "binary")]
)
@pytest.mark.parametrize("k", [1, 3])
def test_with_two_layers_it_is_pcd(kinds, k):
    """Catches another order of sweeps or other random numbers than those of PCD."""
    model = random_model(kinds, 3, [6, 6])
    batch = exact_particles(model, 12, 3)[0]
    sparsity = dg.Sparsity(0.2)
    rules = [dg.PCD(k, n_particles=9, sparsity=sparsity),
             dg.MeanFieldPCD(k, n_particles=9, sparsity=(sparsity,))]  # fmt: skip
    runs = []
    for rule in rules:
        state, phases = rule.start(model, dg.Stream(3)), []
        for update in range(3):
            site = dg.Stream(4, update)
            phases.append(rule.phases(Parameters(model), Batch((batch,)), state, site))
        runs.append((phases, state))
    (one, own), (other, its) = runs
    for p, q in zip(one, other, strict=True):
        for x, y in zip([*p.positive, *p.negative, *p.offsets], [*q.positive, *q.negative,
                        *q.offsets], strict=True):  # fmt: skip
            assert_same_bits(x, y)
        assert_same_bits(p.bias_terms[1], q.bias_terms[1])
    for x, y in zip(own.particles.states, its.particles.states, strict=True):
        assert_same_bits(x, y)


@pytest.mark.parametrize("n_updates", [1, 4])
@pytest.mark.parametrize("kinds", [MODELS[0], MODELS[2], MODELS[3]])
def test_particles_stay_at_the_models_distribution(kinds, n_updates):
    """Catches a layer drawn from stale neighbours: from exact draws, sweeps must not lead away."""
    model = small_model(kinds)
    layers, weights = twin(model)
    p = exact.enumerate_states(layers, weights).probabilities
    rule = dg.MeanFieldPCD(2, n_particles=N_PARTICLES)
    state = rule.start(model, dg.Stream(5))
    state.particles = exact_particles(model, N_PARTICLES, 5)
    batch = exact_particles(model, 2, 6)[0]
    for update in range(n_updates):
        rule.phases(Parameters(model), Batch((batch,)), state, dg.Stream(6, update))
    index = exact.joint_index(layers, state.particles.states)
    distance = exact.total_variation(exact.frequencies(index, len(p)), p)
    floor = exact.monte_carlo_floor(p, len(index))
    assert distance <= floor + FIVE_SIGMA * 0.5 / np.sqrt(len(index))


# -------------------------------------------------------------------------- sparsity by layer


def test_each_layer_has_its_own_sparsity_target():
    """Catches targets that are off by one layer, or that pull where there is none."""
    model = small_model(MODELS[3])
    batch = random_states(model.layers[0], 20, np.random.default_rng(0))
    targets = (None, dg.Sparsity(0.1, strength=2.0, decay=0.5), dg.Sparsity(0.4))
    rule = dg.MeanFieldPCD(sparsity=targets)
    state = rule.start(model, dg.Stream(1))
    activity = {2: np.full(2, 0.1), 3: np.full(2, 0.4)}
    for update in range(2):
        phases = rule.phases(Parameters(model), Batch((batch,)), state, dg.Stream(2, update))
        assert sorted(phases.bias_terms) == [2, 3]
        for l, target in ((2, targets[1]), (3, targets[2])):
            mean = phases.positive[l].mean(axis=0, dtype=np.float64)
            activity[l] = target.decay * activity[l] + (1.0 - target.decay) * mean
            expected = target.strength * (target.target - activity[l])
            np.testing.assert_allclose(phases.bias_terms[l], expected, rtol=1e-12)
    again = type(state).from_tree(state.tree())
    for x, y in zip(again.activity, state.activity, strict=True):
        assert_same_bits(x, y)
    alike = dg.MeanFieldPCD(sparsity=dg.Sparsity(0.1))
    state = alike.start(model, dg.Stream(1))
    phases = alike.phases(Parameters(model), Batch((batch,)), state, dg.Stream(2))
    assert sorted(phases.bias_terms) == [1, 2, 3]


# ------------------------------------------------------------------- rates by weight matrix


def test_rates_step_in_centred_coordinates():
    """Catches biases that follow a change which the weights did not make: with rates by matrix,
    the plain step must be that of the centred parametrization, momentum and decay included.

    There the field of layer l is b'_l + sum of W (x - offset): b' moves by rate c dx alone.
    """
    rates, rate, momentum, decay = (0.5, 2.0), 0.1, 0.5, 0.01
    rng = np.random.default_rng(1)
    layers = [dg.Gaussian(3, log_precision=[0.3, -0.2, 0.1], learn_precision=False),
              dg.Binary(4), dg.Binary(2)]  # fmt: skip
    weights = [rng.normal(size=(3, 4)), rng.normal(size=(4, 2))]
    model = dg.BoltzmannMachine(layers, weights)
    optimizer = dg.SGD(momentum=momentum, weight_decay=decay, averaging=0.0, rates=rates)
    parameters = Parameters(model)
    state = optimizer.start(parameters)
    offsets = [rng.random(layer.size).astype(np.float32) for layer in layers]
    gains = [layers[0].precision.copy(), np.ones(4, np.float32), np.ones(2, np.float32)]
    before, velocity = parameters.snapshot(), [np.zeros(layer.size) for layer in layers]
    of_weights, moved = [np.zeros(w.shape) for w in weights], [np.zeros(n) for n in (3, 4, 2)]
    inner = [reference.float64(w) for w in model.weights]
    for _ in range(3):
        sides = [[random_states(layer, n, rng) for layer in layers] for n in (6, 9)]
        optimizer.step(parameters, Phases(*sides, offsets, gains), state, rate, 0.0)
        centred = [[(x - o) * g for x, o, g in zip(side, offsets, gains, strict=True)]
                   for side in sides]  # fmt: skip
        gradient = reference.gradient(twin(model)[0], *centred)
        for l in range(2):
            of_weights[l] = momentum * of_weights[l] + gradient.weights[l] - decay * inner[l]
            inner[l] = inner[l] + rates[l] * rate * of_weights[l]
        for l in range(3):
            velocity[l] = momentum * velocity[l] + gradient.biases[l]
            moved[l] += rate * velocity[l]
    for l in range(2):
        np.testing.assert_allclose(parameters.weights[l], inner[l], rtol=2e-5, atol=2e-6)
    for l in range(3):
        expected = reference.float64(before[f"layers[{l}].bias"]) + moved[l]
        if l > 0:
            expected -= (inner[l - 1] - before[f"weights[{l - 1}]"]).T @ offsets[l - 1]
        if l < 2:
            expected -= (inner[l] - before[f"weights[{l}]"]) @ offsets[l + 1]
        np.testing.assert_allclose(parameters.biases[l], expected, rtol=2e-5, atol=5e-6)


def test_a_rate_of_zero_keeps_a_matrix_and_ones_change_nothing():
    """Catches rates that are taken from another matrix."""
    model = small_model(MODELS[0])
    batch = random_states(model.layers[0], 20, np.random.default_rng(0))
    found = {}
    for rates in (None, (1.0, 1.0), (0.0, 1.0)):
        trainer = Trainer(model, dg.MeanFieldPCD(), dg.SGD(rates=rates), dg.Constant(0.1),
                          stream=dg.Stream(1))  # fmt: skip
        for _ in range(3):
            trainer.step(Batch((batch,)), 0.0)
        found[rates] = trainer.parameters.snapshot()
    for name, array in found[None].items():
        assert_same_bits(found[1.0, 1.0][name], array)
    assert_same_bits(found[0.0, 1.0]["weights[0]"], model.weights[0])
    assert (found[0.0, 1.0]["weights[1]"] != model.weights[1]).all()


# ------------------------------------------------------------------------------------ it learns


def deep_trainer(X, sizes, *, rule, n_threads=None, seed=0, scale=0.01):
    """A trainer of a deep machine that starts from the data; `scale` is that of upper weights."""
    n_rows, mean, variance = survey(ArrayRows(X), dg.Binary(X.shape[1]))
    stream = dg.Stream.from_random_state(seed)
    visible, hidden = dg.Binary(X.shape[1]), dg.Binary(sizes[0])
    first = initial_model(visible, hidden, mean, variance, n_rows, stream)
    layers, weights = list(first.layers), list(first.weights)
    for l, (lower, upper) in enumerate(pairwise(sizes)):
        layers.append(dg.Binary(upper))
        weights.append(scale * stream.generator(f"weights {l}").standard_normal((lower, upper)))
    model = dg.BoltzmannMachine(layers, weights)
    return Trainer(model, rule, dg.SGD(), default_schedule(layers), stream=stream,
                   n_threads=n_threads)  # fmt: skip


@pytest.mark.slow
def test_training_learns_bars_and_stripes():
    """Catches a sign, an order or a phase that does not learn: the exact likelihood tells.

    Half of the way from independent pixels to the 14 patterns by themselves is far beyond what
    a machine whose layers do not learn reaches; reconstruction error would prove nothing.
    """
    X = bars_and_stripes(3)
    trainer = deep_trainer(X, (8, 4), rule=dg.MeanFieldPCD(), scale=0.5)
    trainer.fit(ArrayRows(X), 2_000, len(X))
    model = trainer.model()
    layers, weights = twin(model)
    log_z = dg.exact_log_partition(model).value
    found = np.mean([exact.log_partition(layers, weights, clamped={0: row}) for row in X]) - log_z
    p = X.mean(axis=0)
    independent = (p * np.log(p) + (1.0 - p) * np.log(1.0 - p)).sum()
    best = -np.log(len(X))
    assert independent + 0.5 * (best - independent) < found < best
    bound = dg.variational_bound(model, X, log_partition=log_z).mean()
    assert independent < bound < found + 1e-6
    assert (model.weights[1] != trainer.parameters.model.weights[1]).all()


def test_a_stopped_run_goes_on_with_the_same_bits():
    """Catches particles, offsets or running means that a state leaves out."""
    X = np.tile(bars_and_stripes(3), (20, 1))
    rule = dg.MeanFieldPCD(n_particles=11, sparsity=(dg.Sparsity(0.3), None))
    whole = deep_trainer(X, (6, 5), rule=rule)
    whole.fit(ArrayRows(X), 8, len(X))
    stopped = deep_trainer(X, (6, 5), rule=rule)

    def stop(report):
        if report.epoch == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        stopped.fit(ArrayRows(X), 8, len(X), callbacks=[stop])
    again = deep_trainer(X, (6, 5), rule=rule)
    again.restore(stopped.state())
    again.fit(ArrayRows(X), 8, len(X))
    for name, array in whole.parameters.snapshot().items():
        assert_same_bits(again.parameters.snapshot()[name], array)
    for x, y in zip(again.rule_state.particles.states, whole.rule_state.particles.states,
                    strict=True):  # fmt: skip
        assert_same_bits(x, y)


def test_same_bits_for_any_number_of_threads(threaded):
    """Catches sums or draws that depend on who computes them."""
    X = np.tile(bars_and_stripes(3), (20, 1))
    found = []
    for n_threads in (1, 3):
        rule = dg.MeanFieldPCD(n_particles=70)
        trainer = deep_trainer(X, (40, 33), rule=rule, n_threads=n_threads)
        trainer.fit(ArrayRows(X), 2, len(X))
        found.append(trainer.parameters.snapshot())
    for name, array in found[0].items():
        assert_same_bits(found[1][name], array)


# ---------------------------------------------------------------------------------- with labels


@pytest.mark.parametrize("form", ["bytes", "csr"])
def test_labels_are_learned_where_they_are_known(form):
    """Catches rows without a label that learn "no label", and labels that no phase has."""
    model = random_model(("binary", "binary", "softmax"), 3, [8, 6, 3])
    rng = np.random.default_rng(3)
    rows, labels = random_states(model.layers[0], 12, rng), np.zeros((12, 3), np.uint8)
    known = np.arange(12) % 3 != 0
    labels[known] = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, known.sum())]
    rule = dg.MeanFieldPCD(inference=ARRIVED)
    state = rule.start(model, dg.Stream(1))
    given = model.layers[2].states_of(in_form(labels, form))
    parameters = Parameters(model)
    phases = rule.phases(parameters, Batch((rows, given)), state, dg.Stream(2))
    for x, y in zip(phases.positive, infer(model, (rows, labels), ARRIVED), strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(phases.positive[2][known], labels[known])
    np.testing.assert_allclose(phases.positive[2].sum(axis=1), 1.0, atol=1e-6)
    assert (phases.positive[2][~known] > 0.0).all()
    difference = phases.positive[2].mean(axis=0) - phases.negative[2].mean(axis=0)
    found = layer_gradients(parameters, phases)
    np.testing.assert_allclose(found.difference[2], difference, atol=1e-6)


# ---------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: dg.MeanFieldPCD(0), ValueError, "k must be a positive integer, got 0"),
        (lambda: dg.MeanFieldPCD(n_particles=0), ValueError, "n_particles must be a positive"),
        (lambda: dg.MeanFieldPCD(inference=10), TypeError, r"inference must be dg\.FixedPoint"),
        (lambda: dg.MeanFieldPCD(centring=1), ValueError, "centring must be True or False"),
        (lambda: dg.MeanFieldPCD(sparsity=0.1), ValueError, "sparsity must be None, dg.Sparsity"),
        (lambda: dg.MeanFieldPCD(sparsity=(0.1, None)), ValueError, "one for each hidden layer"),
        (lambda: dg.SGD(rates=1.0), TypeError, "rates must be a sequence of numbers, got 1.0"),
        (lambda: dg.SGD(rates="ab"), TypeError, "rates must be a sequence of numbers"),
        (lambda: dg.SGD(rates=(1.0, -1.0)), ValueError, "each of rates must be a number in"),
        (lambda: dg.SGD(rates=(None,)), ValueError, "each of rates must be a number in"),
    ],
)
def test_wrong_recipes_are_refused(make, error, message):
    """Catches settings that would fail, or be ignored, in the middle of a run."""
    with pytest.raises(error, match=message):
        make()


def test_settings_that_do_not_fit_the_model_are_refused_at_the_start():
    """Catches a rule that meets the wrong number of layers after the first rows were read."""
    model = small_model(MODELS[0])
    rule = dg.MeanFieldPCD(sparsity=(dg.Sparsity(0.1),))
    with pytest.raises(ValueError, match="one entry for each of 2 hidden layers, got 1"):
        rule.start(model, dg.Stream(0))
    with pytest.raises(ValueError, match="one factor for each of 2 weight matrices, got 3"):
        dg.SGD(rates=(1.0, 1.0, 1.0)).start(Parameters(model))
    for rule in (dg.CD(), dg.PCD()):
        with pytest.raises(ValueError, match=r"two layers for .*, got 3; use dg\.MeanField"):
            rule.start(model, dg.Stream(0))
    network = dg.Network([dg.NetworkLayer("linear", bias=[0.0], weights=[[1.0]])])
    with pytest.raises(ValueError, match="rates must be None where gradients come by name"):
        dg.NetworkTrainer(network, dg.Objective(dg.SquaredError()), dg.SGD(rates=(1.0,)),
                          dg.Constant(0.1), stream=dg.Stream(0))  # fmt: skip


def test_a_context_is_refused():
    """Catches particles that get the context of a row to which they do not belong."""
    model = small_model(MODELS[0])
    rule = dg.MeanFieldPCD(n_particles=2)
    state, batch = rule.start(model, dg.Stream(1)), np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="cannot use a context by row"):
        rule.phases(Parameters(model), Batch((batch,), dg.Context()), state, dg.Stream(2))
    with pytest.raises(ValueError, match=r"one number of rows for all layers, got \[1, 2\]"):
        rule.phases(Parameters(model), Batch((batch, batch[:1])), state, dg.Stream(2))
