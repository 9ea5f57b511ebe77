"""Rules: the update that they expect is the exact gradient, and what they keep between updates."""

from itertools import pairwise

import exact
import numpy as np
import pytest
import reference
from conftest import (
    FLOAT32_ROUNDING,
    PAIRS,
    THREADS,
    assert_mean,
    assert_same_bits,
    assert_within_errors,
    exact_particles,
    random_model,
    random_states,
    twin,
    with_slow,
)

import deepgen as dg
from deepgen.inference.gibbs import start_particles, update_layer
from deepgen.learning.gradients import Phases, layer_gradients, weight_gradient
from deepgen.learning.rules import as_rule
from deepgen.models import Parameters
from deepgen.rows.batch import Batch
from deepgen.rows.states import ByteMeans
from deepgen.runtime.work import Work

pytestmark = pytest.mark.usefixtures("serial")

N_PARTICLES = 20_000
MEANS = {"rtol": 1e-5, "atol": 1e-5}  # float32 means, whose fields are sums of a few terms
RULES = [dg.CD(), dg.CD(3, centring=False), dg.PCD(), dg.PCD(2, n_particles=7)]
RULE_NAMES = ["CD1", "CD3", "PCD1", "PCD2"]


def random_batch(model, seed):
    """Six rows that the model can draw: no missing groups."""
    return exact_particles(model, 6, seed)[0]


def assert_expected(model, phases, rows):
    """Compare the phases, the negative one row by row, with exact expectations."""
    layers, weights = twin(model)
    data = exact.average([exact.moments(layers, weights, clamped={0: row}) for row in rows])
    own = exact.moments(layers, weights)
    positive = reference.phase(layers, phases.positive)
    np.testing.assert_allclose(positive.weights[0], data.weights[0], **MEANS)
    for l in range(2):
        np.testing.assert_allclose(positive.biases[l], data.biases[l], **MEANS)
    v, h = (x.astype(np.float64) for x in phases.negative)
    assert_mean(v[:, :, None] * h[:, None, :], own.weights[0], MEANS["atol"])
    assert_mean(v, own.biases[0], MEANS["atol"])
    assert_mean(h, own.biases[1], MEANS["atol"])
    if layers[0].kind == "gaussian":
        assert_mean(-layers[0].precision * v**2 / 2.0, own.log_precisions[0], MEANS["atol"])


# ------------------------------------------------------------------------------ means in bytes


@pytest.mark.parametrize("n_copies", [1, 3])
@pytest.mark.parametrize("rule", [dg.CD(1), dg.PCD(1, n_particles=7), dg.MeanFieldPCD()], ids=repr)
def test_means_come_in_bytes_where_weights_are_packed(rule, n_copies):
    """Catches statistics that stay floats on the fast path, or are rounded off it; forgotten
    copies."""
    kind = "binary" if n_copies == 1 else "copies"
    model = random_model(("binary", kind), 5, (6, 4), n_copies=n_copies)
    batch = random_batch(model, 5)
    found = {}
    for packed in (False, True):
        state = rule.start(model, dg.Stream(6))
        parameters = Parameters(model, packed=packed)
        found[packed] = rule.phases(parameters, Batch((batch,)), state, dg.Stream(7))
    plain, packed = found[False], found[True]
    assert [type(x) for x in (*plain.positive, *plain.negative)] == [np.ndarray] * 4
    assert packed.positive[0].dtype == packed.negative[0].dtype == np.uint8
    for side in ("positive", "negative"):
        means = getattr(packed, side)[1]
        assert isinstance(means, ByteMeans)
        off = np.abs(means.to_dense() - getattr(plain, side)[1])
        assert off.max() < n_copies * (0.501 / 255 + 1e-4)  # the step, and weights on their grid


def test_means_stay_floats_beside_real_values():
    """Catches means in bytes of a layer whose weights meet no whole numbers."""
    model = random_model(("gaussian", "binary"), 5, (9, 8))
    state = dg.CD(1).start(model, dg.Stream(6))
    phases = dg.CD(1).phases(
        Parameters(model, packed=True), Batch((random_batch(model, 5),)), state, dg.Stream(7)
    )
    assert phases.positive[1].dtype == np.float32


# ----------------------------------------------------- the expected update is the exact gradient


@pytest.mark.parametrize("kinds", PAIRS)
def test_pcd_at_the_target_expects_the_exact_gradient(kinds):
    """Catches h(t) paired with v(t - 1) (a bug a peer shipped), draws where means are wanted."""
    model = random_model(kinds, 1)
    batch = random_batch(model, 1)
    rule = dg.PCD(2, n_particles=N_PARTICLES, centring=False)
    state = rule.start(model, dg.Stream(1))
    state.particles = exact_particles(model, N_PARTICLES, 1)
    parameters = Parameters(model)
    phases = rule.phases(parameters, Batch((batch,)), state, dg.Stream(2))
    assert_expected(model, phases, batch)

    found = layer_gradients(parameters, phases)
    weights = weight_gradient(parameters, phases, 0, found.difference)
    expected = exact.gradient(*twin(model), batch)
    gains = [np.ones(layer.size) for layer in model.layers]
    gains = gains if phases.gains is None else phases.gains
    v, h = (x.astype(np.float64) for x in phases.negative)
    for one, other, terms in (
        (weights, expected.weights[0] * np.outer(*gains),
         v[:, :, None] * h[:, None, :] * np.outer(*gains)),
        (found.bias[0], expected.biases[0] * gains[0], v * gains[0]),
        (found.bias[1], expected.biases[1] * gains[1], h * gains[1]),
    ):  # fmt: skip
        rounding = 2 * N_PARTICLES * FLOAT32_ROUNDING * np.abs(terms).mean(axis=0)
        error = terms.std(axis=0) / np.sqrt(N_PARTICLES)
        assert_within_errors(one, other, error, rounding + MEANS["atol"])


@pytest.mark.parametrize(
    "kinds", with_slow(PAIRS, [pair for pair in PAIRS if "binary" not in pair])
)
def test_cd_of_many_sweeps_expects_the_exact_gradient(kinds):
    """Catches a chain from the data that does not converge to the model."""
    model = random_model(kinds, 3)
    rows = random_batch(model, 3)[:4]
    batch = np.repeat(rows, N_PARTICLES // 4, axis=0)
    rule = dg.CD(40, centring=False)
    state = rule.start(model, dg.Stream(3))
    phases = rule.phases(Parameters(model), Batch((batch,)), state, dg.Stream(4))
    assert_expected(model, phases, rows)


def test_cd_with_a_context_expects_each_rows_own_gradient():
    """Catches a negative phase without a row's bias row, temperature or missing ratings."""
    model = random_model(("softmax", "binary"), 5)
    rng = np.random.default_rng(5)
    n_rows = 20_000
    kind = rng.integers(0, 3, n_rows)
    bias_rows = rng.normal(0.0, 0.7, (3, 3)).astype(np.float32)
    beta = np.array([0.5, 1.0, 1.4], np.float32)
    missing = np.array([[True, False], [False, False], [False, True]])
    batch = np.tile(np.array([0, 1, 0, 0, 0, 1], np.uint8), (n_rows, 1))
    absent = np.repeat(missing, 3, axis=1)[kind]
    batch[absent] = 0
    context = dg.Context(bias_rows={1: bias_rows[kind]}, held={0: absent}, beta=beta[kind])
    rule = dg.CD(30, centring=False)
    phases = rule.phases(
        Parameters(model), Batch((batch,), context), rule.start(model, dg.Stream(5)), dg.Stream(6)
    )
    np.testing.assert_array_equal(phases.negative[0][absent], 0)
    layers, weights = twin(model)
    for k in range(3):
        rows = kind == k
        own = ([None, bias_rows[k].astype(np.float64)], float(beta[k]), [missing[k], None])
        data = exact.moments(layers, weights, *own, clamped={0: batch[rows][0]})
        expected = np.tile(data.biases[1], (rows.sum(), 1))
        np.testing.assert_allclose(phases.positive[1][rows], expected, **MEANS)
        target = exact.moments(layers, weights, *own)
        v, h = (x[rows].astype(np.float64) for x in phases.negative)
        assert_mean(v[:, :, None] * h[:, None, :], target.weights[0], MEANS["atol"])
        assert_mean(h, target.biases[1], MEANS["atol"])


def test_cd_leaves_missing_ratings_out_of_each_rows_model():
    """Catches items that nobody rated being drawn in the negative phase, and learned from."""
    model = random_model(("softmax", "binary"), 6)
    layers, weights = twin(model)
    patterns = np.array([[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 1, 0]], np.uint8)
    batch = patterns[np.random.default_rng(6).integers(0, 3, N_PARTICLES)]
    rule = dg.CD(30, centring=False)
    state = rule.start(model, dg.Stream(6))
    phases = rule.phases(Parameters(model), Batch((batch,)), state, dg.Stream(7))
    for pattern in patterns:
        rows = (batch == pattern).all(axis=1)
        missing = [reference.missing_groups(layers[0], pattern[None])[0], None]
        target = exact.moments(layers, weights, missing=missing)
        v, h = (x[rows].astype(np.float64) for x in phases.negative)
        assert not v[:, np.repeat(missing[0], 3)].any()
        assert_mean(v[:, :, None] * h[:, None, :], target.weights[0], MEANS["atol"])
        assert_mean(h, target.biases[1], MEANS["atol"])


@pytest.mark.parametrize("kinds", [("binary", "binary"), ("gaussian", "binary")])
def test_centring_is_an_affine_change_of_the_expected_gradient(kinds):
    """Catches centring that moves the optimum: where the exact gradient is zero, so is this."""
    model = random_model(kinds, 7)
    parameters = Parameters(model)
    rule = dg.PCD(1, n_particles=N_PARTICLES)
    state = rule.start(model, dg.Stream(7))
    state.particles = exact_particles(model, N_PARTICLES, 7)
    batch = exact_particles(model, N_PARTICLES, 8)[0]
    phases = rule.phases(parameters, Batch((batch,)), state, dg.Stream(9))
    found = layer_gradients(parameters, phases)
    weights = weight_gradient(parameters, phases, 0, found.difference)
    gains = [np.ones(layer.size) for layer in model.layers]
    gains = gains if phases.gains is None else phases.gains
    mu, lam = (np.asarray(o, np.float64) for o in phases.offsets)
    sides = [[x.astype(np.float64) for x in states] for states in (phases.positive,
                                                                   phases.negative)]
    scale = np.outer(*gains)
    terms = [(v - mu)[:, :, None] * (h - lam)[:, None, :] * scale for v, h in sides]

    def error_of(parts):
        """Standard error of the difference of two means."""
        return np.sqrt(sum(part.var(axis=0) / N_PARTICLES for part in parts))

    rounding = 2 * N_PARTICLES * FLOAT32_ROUNDING * np.abs(terms).mean(axis=(0, 1))
    assert_within_errors(weights, 0.0, error_of(terms), rounding)
    for l, offsets, axes in ((0, lam, "nij,j->ni"), (1, mu, "nij,i->nj")):
        error = gains[l] * error_of([side[l] for side in sides])
        error = error + error_of([np.einsum(axes, one, offsets) for one in terms])
        assert_within_errors(found.bias[l], 0.0, error, MEANS["atol"])


# ----------------------------------------------------------------------------- which states


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_rows_of_one_phase_belong_together(rule):
    """Catches h(t) paired with v(t - 1): the last hidden means are those of the last visibles."""
    model = random_model(("binary", "softmax"), 10, (20, 12))
    parameters = Parameters(model)
    batch = random_states(model.layers[0], 30, np.random.default_rng(10))
    state = rule.start(model, dg.Stream(10))
    for update in range(3):
        phases = rule.phases(parameters, Batch((batch,)), state, dg.Stream(11, update))
        for v, h in (phases.positive, phases.negative):
            expected, _ = update_layer(model, 1, [v, None], mean=True)
            assert_same_bits(h, expected)
        assert phases.positive[0] is batch
    expected = 30 if state.particles is None else rule.n_particles
    assert len(phases.negative[0]) == expected


def test_each_phase_is_divided_by_its_own_number_of_rows():
    """Catches partial_fit that sums n rows against n_particles chains and divides both by n.

    A peer shipped that: mean hidden units went to 0.9998. Here 7 particles stand against 700
    rows of the model's own distribution, so that no mean may move by more than its noise.
    """
    model = random_model(("binary", "binary"), 12, (6, 4))
    rule = dg.PCD(1, n_particles=7, centring=False)
    batch = exact_particles(model, 700, 12)[0]
    total, n_updates = 0.0, 300
    state = rule.start(model, dg.Stream(12))
    state.particles = exact_particles(model, 7, 13)
    for update in range(n_updates):
        phases = rule.phases(Parameters(model), Batch((batch,)), state, dg.Stream(14, update))
        total = total + layer_gradients(Parameters(model), phases).bias[0]
    # particles of neighbouring updates are alike: count a tenth of them as independent
    error = 0.5 * np.sqrt(1.0 / 700 + 10.0 / (7 * n_updates))
    assert_within_errors(total / n_updates, 0.0, error)


def test_particles_move_on_and_cd_starts_afresh():
    """Catches particles that are reset at each update, and draws repeated by two updates."""
    model = random_model(("binary", "binary"), 15, (30, 20))
    batch = random_states(model.layers[0], 9, np.random.default_rng(15))
    rule = dg.PCD(1, n_particles=9)
    state = rule.start(model, dg.Stream(15))
    start = state.particles.copy()
    one = rule.phases(Parameters(model), Batch((batch,)), state, dg.Stream(16, 0)).negative[0]
    assert state.particles[0] is one
    two = rule.phases(Parameters(model), Batch((batch,)), state, dg.Stream(16, 1)).negative[0]
    assert (one != start[0]).any()
    assert (one != two).any()
    assert not np.array_equal(one ^ start[0], two ^ one)
    rule = dg.CD(1)
    state = rule.start(model, dg.Stream(15))
    batch = Batch((batch,))
    runs = [rule.phases(Parameters(model), batch, state, dg.Stream(16, update)).negative[0]
            for update in (0, 0, 1)]
    assert_same_bits(runs[0], runs[1])
    assert (runs[1] != runs[2]).any()


def test_start_draws_particles_from_the_biases():
    """Catches rules that share particles, and a start that ignores the visible biases."""
    model = random_model(("gaussian", "binary"), 17)
    stream = dg.Stream(17)
    state = dg.PCD(n_particles=50).start(model, stream)
    expected = start_particles(model, 50, stream.child("particles"))
    for x, y in zip(state.particles.states, expected.states, strict=True):
        assert_same_bits(x, y)
    assert dg.CD().start(model, stream).particles is None


# ---------------------------------------------------------------------- offsets, gains, sparsity


def test_offsets_follow_the_positive_phase():
    """Catches offsets that follow the negative phase, or that move before they are used."""
    model = random_model(("binary", "copies"), 18)
    batch = random_states(model.layers[0], 20, np.random.default_rng(18))
    rule = dg.CD(offset_rate=0.25)
    state = rule.start(model, dg.Stream(18))
    visible, hidden = model.layers
    lower = visible.mean(visible.bias[None])[0]
    # hidden units as the mean row finds them, not at their bare bias
    first = [lower, hidden.mean(hidden.bias[None] + lower[None] @ model.weights[0])[0]]
    for found, expected in zip(state.offsets, first, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    first = list(state.offsets)
    phases = rule.phases(Parameters(model), Batch((batch,)), state, dg.Stream(19))
    np.testing.assert_array_equal(phases.offsets[1], first[1])
    np.testing.assert_array_equal(state.offsets[0], first[0])
    mean = phases.positive[1].mean(axis=0)
    np.testing.assert_allclose(state.offsets[1], 0.75 * first[1] + 0.25 * mean, rtol=1e-6)
    assert dg.CD(centring=False).start(model, dg.Stream(18)).offsets is None


def test_gains_are_the_precision_that_training_started_from():
    """Catches steps on real-valued data whose size depends on the data's unit."""
    model = random_model(("gaussian", "binary"), 20)
    gains = dg.CD().start(model, dg.Stream(20)).gains
    np.testing.assert_array_equal(gains[0], model.layers[0].precision)
    np.testing.assert_array_equal(gains[1], 1.0)
    assert dg.CD().start(random_model(("binary", "binary"), 20), dg.Stream(20)).gains is None


def test_sparsity_pulls_the_running_mean_to_its_target():
    """Catches a target with the wrong sign, or one that pulls on visible units."""
    model = random_model(("binary", "binary"), 21)
    batch = random_states(model.layers[0], 20, np.random.default_rng(21))
    rule = dg.CD(sparsity=dg.Sparsity(0.1, strength=2.0, decay=0.5))
    state = rule.start(model, dg.Stream(21))
    activity = np.full(3, 0.1)
    for update in range(2):
        phases = rule.phases(Parameters(model), Batch((batch,)), state, dg.Stream(22, update))
        mean = phases.positive[1].mean(axis=0, dtype=np.float64)
        activity = 0.5 * activity + 0.5 * mean
        assert list(phases.bias_terms) == [1]
        np.testing.assert_allclose(phases.bias_terms[1], 2.0 * (0.1 - activity), rtol=1e-12)


# ------------------------------------------------------------------------------- invariance


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_same_bits_for_any_number_of_threads(rule, threaded):
    """Catches a rule whose draws depend on who computes them."""
    model = random_model(("gaussian", "binary"), 23, (33, 40))
    batch = random_states(model.layers[0], 30, np.random.default_rng(23))
    runs = []
    for n_threads in THREADS:
        state = rule.start(model, dg.Stream(23))
        phases = [rule.phases(Parameters(model), Batch((batch,)), state, dg.Stream(24, update),
                              work=Work(n_threads=n_threads)) for update in range(2)]  # fmt: skip
        runs.append([x for one in phases for x in (*one.positive, *one.negative)])
    for one, other in pairwise(runs):
        for x, y in zip(one, other, strict=True):
            assert_same_bits(x, y)


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_grey_rows_count_as_means(rule):
    """Catches grey pixels that a rule casts to bytes."""
    model = random_model(("binary", "binary"), 25)
    batch = np.full((4, 3), 0.25, np.float32)
    state = rule.start(model, dg.Stream(25))
    phases = rule.phases(Parameters(model), Batch((batch,)), state, dg.Stream(26))
    np.testing.assert_array_equal(phases.positive[0], 0.25)
    assert phases.negative[0].dtype == np.uint8
    plain = Phases(phases.positive, phases.negative)
    found = layer_gradients(Parameters(model), plain)
    expected = 0.25 - phases.negative[0].mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(found.bias[0], expected, rtol=1e-12)


# ---------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dg.CD(0), "k must be a positive integer"),
        (lambda: dg.CD(True), "k must be a positive integer"),
        (lambda: dg.PCD(1.5), "k must be a positive integer"),
        (lambda: dg.PCD(n_particles=0), "n_particles must be a positive integer"),
        (lambda: dg.Sparsity(1.0), "target must"),
        (lambda: as_rule("sml"), "rule must be 'cd', 'pcd'"),
    ],
)
def test_wrong_recipes_are_refused(make, message):
    """Catches zero sweeps, which would train towards nothing."""
    with pytest.raises(ValueError, match=message):
        make()


def test_names_stand_for_rules():
    """Catches a default that changes silently."""
    assert as_rule("cd") == dg.CD(1)
    assert as_rule("pcd") == dg.PCD(1, n_particles=100)
    rule = dg.CD(3)
    assert as_rule(rule) is rule


def test_pcd_refuses_a_context():
    """Catches particles that get the context of a row to which they do not belong."""
    model = random_model(("binary", "binary"), 27)
    rule = dg.PCD(n_particles=2)
    state = rule.start(model, dg.Stream(27))
    batch = np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match="use CD"):
        rule.phases(Parameters(model), Batch((batch,), dg.Context()), state, dg.Stream(28))


def test_cd_refuses_a_context_of_other_rows():
    """Catches bias rows of another batch, which the kernels would read beyond."""
    model = random_model(("binary", "binary"), 29)
    context = dg.Context(bias_rows={1: np.zeros((1, 3))})
    rule = dg.CD()
    state = rule.start(model, dg.Stream(29))
    batch = Batch((np.zeros((2, 3), np.uint8),), context)
    with pytest.raises(ValueError, match=r"bias_rows\[1\] must have shape \(2, 3\)"):
        rule.phases(Parameters(model), batch, state, dg.Stream(30))
