"""Optimizers: their steps against the twins, schedules, averaging, and what they refuse."""

from itertools import pairwise

import numpy as np
import pytest
import reference
from conftest import (
    THREADS,
    assert_same_bits,
    random_model,
    random_states,
    twin,
)

import deepgen as dg
from deepgen.learning.belief_networks import UpDown
from deepgen.learning.gradients import Phases, layer_gradients
from deepgen.learning.schedules import as_schedule
from deepgen.models import Parameters
from deepgen.runtime.work import Work

STEPS = {"rtol": 2e-5, "atol": 2e-6}  # a few steps of float32 parameters of order one
N_UPDATES = 10


def make_phases(model, seed=1):
    """Phases of random states, other ones for each update."""
    rng = np.random.default_rng(seed)
    phases = []
    for _ in range(N_UPDATES):
        positive, negative = ([random_states(layer, n, rng) for layer in model.layers]
                              for n in (8, 5))
        phases.append(Phases(positive, negative))
    return phases


def run(optimizer, model, phases, rates, progress=None, n_threads=None):
    """Parameters before the first and after each update, and the state at the end."""
    parameters = Parameters(model)
    state = optimizer.start(parameters)
    path = [parameters.snapshot()]
    for update, one in enumerate(phases):
        place = 0.0 if progress is None else progress[update]
        assert not optimizer.step(parameters, one, state, rates[update], place,
                                  work=Work(n_threads=n_threads))  # fmt: skip
        path.append(parameters.snapshot())
    return path, state


def reference_path(model, phases, step):
    """The same path in float64: `step(update, name, parameter, gradient)` moves one parameter."""
    layers, weights = twin(model)
    biases = [layer.bias for layer in layers]
    for update, one in enumerate(phases):
        gradient = reference.gradient(layers, one.positive, one.negative)
        weights = [step(update, f"weights[{l}]", w, gradient.weights[l])
                   for l, w in enumerate(weights)]
        biases = [step(update, f"layers[{l}].bias", b, gradient.biases[l])
                  for l, b in enumerate(biases)]
        named = {f"weights[{l}]": w for l, w in enumerate(weights)}
        yield {**named, **{f"layers[{l}].bias": b for l, b in enumerate(biases)}}


def assert_same_path(path, expected):
    """Compare after each update."""
    expected = list(expected)
    assert len(path) == len(expected) + 1
    for found, exact in zip(path[1:], expected, strict=True):
        assert set(found) == set(exact)
        for name, values in exact.items():
            np.testing.assert_allclose(found[name], values, **STEPS, err_msg=name)


# ------------------------------------------------------------------------- against the twins


@pytest.mark.parametrize("kinds", [("binary", "copies"), ("softmax", "binary", "binary")])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_sgd_equals_reference(kinds, momentum):
    """Catches a velocity that is multiplied by the rate (a peer's bug), decay of the biases."""
    model = random_model(kinds, 1)
    phases, rates = make_phases(model), np.linspace(0.2, 0.02, N_UPDATES)
    optimizer = dg.SGD(momentum=momentum, weight_decay=0.05, averaging=0.0)
    velocity = {}

    def step(update, name, parameter, gradient):
        decay = 0.05 if name.startswith("weights") else 0.0
        moved, velocity[name] = reference.sgd_step(
            parameter, velocity.get(name, 0.0), gradient, rates[update], momentum, decay
        )
        return moved

    path, _ = run(optimizer, model, phases, rates)
    assert_same_path(path, reference_path(model, phases, step))


def test_adam_equals_reference():
    """Catches a bias correction of the wrong step, moments shared by two parameters."""
    model = random_model(("softmax", "binary", "copies"), 2)
    phases, rates = make_phases(model, 2), np.linspace(0.05, 0.01, N_UPDATES)
    optimizer = dg.Adam(0.8, 0.95, 1e-3, weight_decay=0.05, averaging=0.0)
    moments = {}

    def step(update, name, parameter, gradient):
        if name.startswith("weights"):
            gradient = gradient - 0.05 * parameter
        first, second = moments.get(name, (0.0, 0.0))
        moved, *moments[name] = reference.adam_step(
            parameter, first, second, gradient, update + 1, rates[update], 0.8, 0.95, 1e-3
        )
        return moved

    path, _ = run(optimizer, model, phases, rates)
    assert_same_path(path, reference_path(model, phases, step))


@pytest.mark.parametrize("optimizer", [dg.SGD(averaging=0.35), dg.Adam(averaging=0.35)])
@pytest.mark.parametrize("kinds", [("binary", "copies"), ("gaussian", "binary")])
def test_the_tail_average_is_the_mean_of_the_last_updates(optimizer, kinds):
    """Catches an average that begins too early, is off by one, or lags behind a parameter."""
    model = random_model(kinds, 3)
    phases = make_phases(model, 3)
    for one in phases:
        one.offsets = [np.full(layer.size, 0.5, np.float32) for layer in model.layers]
    progress = (np.arange(N_UPDATES) + 1) / N_UPDATES
    rates = np.full(N_UPDATES, 0.1)
    path, state = run(optimizer, model, phases, rates, progress)
    tail = path[1:][-4:]  # at 0.7, 0.8, 0.9 and 1.0 of the updates, all beyond 1 - 0.35
    assert set(state["average"]["arrays"]) == set(path[0])
    for name, average in state["average"]["arrays"].items():
        expected = np.mean([values[name].astype(np.float64) for values in tail], axis=0)
        np.testing.assert_allclose(average, expected, **STEPS, err_msg=name)


def test_no_average_before_the_tail_and_none_without_averaging():
    """Catches a model that is averaged with its own random start."""
    model = random_model(("binary", "binary"), 4)
    phases, rates = make_phases(model, 4), np.full(N_UPDATES, 0.1)
    _, state = run(dg.SGD(averaging=0.2), model, phases, rates, np.full(N_UPDATES, 0.79))
    assert state["average"]["arrays"] is None
    _, state = run(dg.SGD(averaging=0.0), model, phases, rates, np.ones(N_UPDATES))
    assert state["average"]["arrays"] is None


# ---------------------------------------------------------------------------- log precisions


@pytest.mark.parametrize("offset", [None, 3.0])
def test_log_precision_moves_a_fifth_and_takes_the_bias_along(offset):
    """Catches a mean that jumps when the variance moves, on data that are not centred."""
    model = random_model(("gaussian", "binary"), 5)
    phases = make_phases(model, 5)[0]
    if offset is not None:
        phases.offsets = [np.full(layer.size, offset, np.float32) for layer in model.layers]
    parameters = Parameters(model)
    found = layer_gradients(parameters, phases)
    dg.SGD(averaging=0.0).step(parameters, phases, dg.SGD().start(parameters), 0.01, 0.0)
    precision, bias = (getattr(model.layers[0], name).astype(np.float64)
                       for name in ("precision", "bias"))
    change = np.clip(0.2 * 0.01 * found.log_precision[0], -0.1, 0.1)
    expected = model.layers[0].log_precision + change
    np.testing.assert_allclose(parameters.log_precisions[0], expected, **STEPS)
    np.testing.assert_allclose(parameters.precisions[0], np.exp(expected), **STEPS)
    shift = 0.0 if offset is None else precision * np.expm1(change) * offset
    np.testing.assert_allclose(
        parameters.biases[0], bias + 0.01 * found.bias[0] + shift, **STEPS
    )


@pytest.mark.parametrize("optimizer", [dg.SGD(), dg.SGD(momentum=0.9), dg.Adam()])
def test_log_precision_is_bounded(optimizer):
    """Catches a variance that runs away (peers shipped negative ones and NaN)."""
    model = random_model(("gaussian", "binary"), 6)
    parameters = Parameters(model)
    wide, narrow = ([scale * np.ones((4, 3), np.float32), np.zeros((4, 3), np.uint8)]
                    for scale in (10.0, 0.0))
    start = model.layers[0].log_precision
    for phases in (Phases(narrow, wide), Phases(wide, narrow)):
        state = optimizer.start(parameters)
        for _ in range(300):
            before = parameters.log_precisions[0].copy()
            assert not optimizer.step(parameters, phases, state, 1.0, 0.0)
            after = parameters.log_precisions[0]
            assert np.abs(after - before).max() <= 0.1 + 1e-5
            assert np.abs(after - start).max() <= 7.0 + 1e-5
        if phases.positive is narrow:  # the gradient grows with the precision
            np.testing.assert_allclose(after, start + 7.0, rtol=1e-6)


def test_a_fixed_precision_stays():
    """Catches learn_precision=False that is not heard."""
    layer = dg.Gaussian(3, learn_precision=False)
    model = dg.BoltzmannMachine([layer, dg.Binary(3)], [np.zeros((3, 3))])
    for optimizer in (dg.SGD(), dg.Adam()):
        parameters = Parameters(model)
        optimizer.step(parameters, make_phases(model, 7)[0], optimizer.start(parameters), 0.1, 0.0)
        np.testing.assert_array_equal(parameters.precisions[0], 1.0)
        assert parameters.biases[0].any()


# ------------------------------------------------------------- the unit of real-valued data


def in_other_units(model, factor, shift):
    """The model of ``factor * v + shift``: the same probabilities, other numbers."""
    visible, hidden = model.layers
    precision = visible.precision / factor**2
    weights = model.weights[0] / factor[:, None]
    layers = [
        visible.replace(bias=visible.bias / factor + precision * shift,
                        log_precision=visible.log_precision - 2.0 * np.log(factor)),
        hidden.replace(bias=hidden.bias - shift @ weights),
    ]  # fmt: skip
    return dg.BoltzmannMachine(layers, [weights])


def as_means(model, offsets):
    """Parameters in numbers that have no cancellation: fields at the offsets, not biases."""
    visible, hidden = ([x.astype(np.float64) for x in (layer.bias, offset)]
                       for layer, offset in zip(model.layers, offsets, strict=True))
    weights, precision = (x.astype(np.float64) for x in (model.weights[0],
                                                         model.layers[0].precision))
    return (np.log(precision), weights,
            (visible[0] + weights @ hidden[1]) / precision - visible[1],
            hidden[0] + visible[1] @ weights)  # fmt: skip


@pytest.mark.parametrize("optimizer", [dg.SGD(weight_decay=0.1, averaging=0.0), dg.Adam(
    weight_decay=0.1, averaging=0.0), dg.SGD(0.5, 0.1, 0.0)], ids=["SGD", "Adam", "momentum"])
def test_steps_do_not_depend_on_the_unit_of_the_data(optimizer):
    """Catches decay, precisions or Adam's normalization applied to uncentred parameters.

    Temperatures in Kelvin or in degrees Celsius must train the same model: a bias that does not
    follow its weights or its precision exactly moves the mean of data that are far from zero.
    """
    plain = random_model(("gaussian", "binary"), 10)
    factor, shift = np.array([0.5, 1.0, 4.0]), np.array([-30.0, 100.0, 10.0])
    phases, found = make_phases(plain, 10), []
    for change in (False, True):
        model = in_other_units(plain, factor, shift) if change else plain
        offsets = [np.full(3, 0.25), np.full(3, 0.5)]
        gains = [model.layers[0].precision.copy(), np.ones(3, np.float32)]
        if change:
            offsets[0] = factor * offsets[0] + shift
        offsets = [offset.astype(np.float32) for offset in offsets]
        own = []
        for one in phases:
            sides = [list(one.positive), list(one.negative)]
            for states in sides:
                if change:
                    states[0] = (factor * states[0] + shift).astype(np.float32)
            own.append(Phases(*sides, offsets, gains))
        parameters = Parameters(model)
        state = optimizer.start(parameters)
        for one in own:
            assert not optimizer.step(parameters, one, state, 0.05, 0.0)
        found.append(as_means(parameters.to_model(), offsets))
    scales = (1.0, factor[:, None], 1.0 / factor, 1.0)
    for name, one, other, scale, move in zip(
        ("log precision", "weights", "mean", "hidden field"), *found, scales,
        (2.0 * np.log(factor), 0.0, 0.0, 0.0), strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(other * scale + move, one, rtol=0, atol=2e-3, err_msg=name)


@pytest.mark.parametrize("optimizer", [dg.SGD(0.5, 0.0, 0.0), dg.Adam(weight_decay=0.1)], ids=str)
def test_centred_steps_do_not_see_flipped_bits(optimizer):
    """Catches an optimizer that is blind to centring: ink on paper must learn as paper on ink."""
    plain = random_model(("binary", "binary"), 11)
    weights = plain.weights[0].astype(np.float64)
    flipped = dg.BoltzmannMachine(
        [plain.layers[0].replace(bias=-plain.layers[0].bias),
         plain.layers[1].replace(bias=plain.layers[1].bias + weights.sum(axis=0))], [-weights],
    )  # fmt: skip
    offsets, ends = [np.array([0.1, 0.6, 0.3], np.float32), np.full(3, 0.5, np.float32)], []
    for model in (plain, flipped):
        parameters = Parameters(model)
        state = optimizer.start(parameters)
        for one in make_phases(plain, 11):
            sides, own = [list(one.positive), list(one.negative)], list(offsets)
            if model is flipped:
                sides = [[1 - states[0], states[1]] for states in sides]
                own[0] = 1 - offsets[0]
            assert not optimizer.step(parameters, Phases(*sides, own), state, 0.1, 0.0)
        ends.append(parameters.to_model())
    one, other = ends
    np.testing.assert_allclose(other.weights[0], -one.weights[0], **STEPS)
    np.testing.assert_allclose(other.layers[0].bias, -one.layers[0].bias, **STEPS)
    expected = one.layers[1].bias + one.weights[0].sum(axis=0)
    np.testing.assert_allclose(other.layers[1].bias, expected, **STEPS)


# ---------------------------------------------------------------------------- one's own


class OfMachines:
    """An optimizer of one's own that knows two phases, and nothing of networks."""

    def start(self, parameters):
        return dg.SGD().start(parameters)

    def step(self, *arguments, work):
        return dg.SGD().step(*arguments, work=work)


class OfNetworks:
    """An optimizer of one's own that knows gradients by name, and nothing of machines."""

    def start(self, parameters):
        return dg.SGD().start(parameters)

    def descend(self, *arguments, work):
        return dg.SGD().descend(*arguments, work=work)


def test_an_optimizer_has_what_its_run_asks_of_it():
    """Would catch a run that wants a method which it never calls, or one that misses a method in
    the middle of its first update."""
    X = np.random.default_rng(0).integers(0, 2, (20, 6)).astype(np.uint8)
    options = {"n_epochs": 1, "batch_size": 10, "random_state": 0}
    own = dg.RBM(3, optimizer=OfMachines(), **options).fit(X)
    assert_same_bits(own.model_.weights[0], dg.RBM(3, **options).fit(X).model_.weights[0])
    own, usual = (
        dg.Autoencoder(3, optimizer=optimizer, **options).fit(X)
        for optimizer in (OfNetworks(), dg.SGD())
    )
    assert_same_bits(own.model_.layers[0].weights, usual.model_.layers[0].weights)
    for wrong in (
        lambda: dg.RBM(3, optimizer=OfNetworks()).fit(X),
        lambda: dg.Pretraining(optimizer=OfNetworks()),
        lambda: dg.Autoencoder(3, optimizer=OfMachines()).fit(X),
        lambda: UpDown(optimizer=OfMachines()),
        lambda: UpDown(optimizer=dg.SGD),
    ):
        with pytest.raises(ValueError, match=r"optimizer must be .*dg\.SGD\("):
            wrong()


@pytest.mark.parametrize("optimizer", [dg.SGD(averaging=0), dg.Adam(averaging=0)], ids=str)
def test_the_type_of_a_rate_does_not_count_where_gradients_come_by_name(optimizer):
    """Would catch bits that change where a schedule returns numpy's float32."""
    X = np.random.default_rng(0).random((40, 6)).astype(np.float32)
    weights = [
        dg.Autoencoder(
            3, optimizer=optimizer, learning_rate=lambda p, of=of: of(np.float32(0.1 / (1.0 + p))),
            n_epochs=3, batch_size=10, random_state=0,
        ).fit(X).model_.layers[0].weights
        for of in (np.float32, float)
    ]  # fmt: skip
    assert_same_bits(*weights)


# --------------------------------------------------------------------------------- extremes


@pytest.mark.parametrize("optimizer", [dg.SGD(), dg.SGD(momentum=0.9), dg.Adam()])
def test_parameters_without_a_gradient_stay_finite(optimizer):
    """Catches 0 / 0 for a weight that never sees a gradient (a bug that a peer shipped)."""
    model = dg.BoltzmannMachine([dg.Binary(3), dg.Binary(2)], [np.zeros((3, 2))])
    states = [np.zeros((4, 3), np.uint8), np.zeros((4, 2), np.uint8)]
    phases = [Phases(states, states)] * 3
    path, _ = run(optimizer, model, phases, np.ones(3), np.ones(3))
    for values in path[-1].values():
        np.testing.assert_array_equal(values, 0.0)


@pytest.mark.parametrize("optimizer", [dg.SGD(), dg.SGD(momentum=0.9), dg.Adam()])
@pytest.mark.parametrize("layer", [0, 1])
def test_a_step_to_infinity_is_flagged(optimizer, layer):
    """Catches a parameter that is no longer finite while training goes on."""
    model = random_model(("gaussian", "binary"), 8)
    parameters = Parameters(model)
    phases = make_phases(model, 8)[0]
    spoilt = phases.positive[layer].astype(np.float32)
    spoilt[0, 1] = np.inf
    phases.positive[layer] = spoilt
    with np.errstate(all="ignore"):
        flagged = optimizer.step(parameters, phases, optimizer.start(parameters), 0.1, 0.0)
    assert flagged
    assert parameters.first_non_finite() is not None


@pytest.mark.parametrize("optimizer", [dg.SGD(), dg.SGD(momentum=0.9), dg.Adam()])
def test_same_bits_for_any_number_of_threads(optimizer, threaded):
    """Catches an update whose tiles race."""
    model = random_model(("gaussian", "binary"), 9, (65, 40))
    phases, rates = make_phases(model, 9), np.full(N_UPDATES, 0.05)
    progress = np.linspace(0.0, 1.0, N_UPDATES)
    runs = [run(optimizer, model, phases, rates, progress, n_threads) for n_threads in THREADS]
    for (path, state), (other, its_state) in pairwise(runs):
        for name, values in path[-1].items():
            assert_same_bits(values, other[-1][name])
            assert_same_bits(state["average"]["arrays"][name], its_state["average"]["arrays"][name])


# ----------------------------------------------------------------------- schedules and refusals


def test_schedules():
    """Catches a rate that ends elsewhere than at its end, or goes on beyond it."""
    assert dg.Constant(0.3)(0.7) == 0.3
    schedule = dg.Linear(0.4, 0.2)
    assert [schedule(p) for p in (0.0, 0.5, 1.0, 2.0)] == pytest.approx([0.4, 0.3, 0.2, 0.2])
    assert dg.Linear(0.1)(1.0) == 0.0
    assert as_schedule(0.25) == dg.Constant(0.25)
    assert as_schedule(np.float32(0.25))(0.0) == 0.25
    assert as_schedule(schedule) is schedule
    for wrong in (0, -1.0, True, "fast", np.nan, np.complex64(1)):
        with pytest.raises(ValueError, match="learning_rate must be"):
            as_schedule(wrong)
    for place in (0.0, 0.25, 0.5, 0.75, 1.0):
        for rate in (-0.1, np.nan, np.inf, np.complex64(1), None):
            with pytest.raises(ValueError, match=rf"learning_rate\({place}\) must be a number"):
                as_schedule(lambda p, place=place, rate=rate: rate if p == place else 0.1)
    with pytest.raises(ValueError, match="weight_decay must be a number"):
        dg.SGD(weight_decay=np.complex64(1))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: dg.SGD(momentum=1.0), "momentum"),
        (lambda: dg.SGD(momentum=-0.1), "momentum"),
        (lambda: dg.SGD(averaging=1.0), "averaging"),
        (lambda: dg.SGD(averaging=np.nan), "averaging"),
        (lambda: dg.Adam(beta1=1.0), "beta1"),
        (lambda: dg.Adam(beta2=-1.0), "beta2"),
        (lambda: dg.Adam(averaging=2.0), "averaging"),
    ],
)
def test_wrong_numbers_are_refused(make, name):
    """Catches a momentum of 1, which never forgets, and a decay of moments that divides by 0."""
    with pytest.raises(ValueError, match=name):
        make()
