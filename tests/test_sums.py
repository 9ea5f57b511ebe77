"""Sums over rows: one process or several, rows that count differently, fused or split."""

from dataclasses import replace

import exact
import numpy as np
import pytest
import reference
from conftest import assert_same_bits, bars_and_stripes, exact_particles, random_model, twin
from ranks import trained

import deepgen as dg
from deepgen.learning.gradients import (
    Phases,
    RowGradients,
    named_gradients,
    row_differences,
)
from deepgen.learning.machines import Trainer
from deepgen.learning.sums import phase_sums
from deepgen.models import Parameters
from deepgen.rows.batch import Batch
from deepgen.rows.paired import LabelledRows
from deepgen.rows.sources import ArrayRows, IterableRows
from deepgen.rows.states import ByteMeans

ROWS = np.tile(bars_and_stripes(3), (6, 1))  # 84 rows of 9 columns
PLAIN = dg.SGD(weight_decay=0.0, averaging=0.0)


KINDS = {
    "cd": (dg.CD(2), ("binary", "binary")),
    "pcd": (dg.PCD(n_particles=30), ("binary", "binary")),
    "sparse": (dg.CD(sparsity=dg.Sparsity(0.1)), ("binary", "binary")),
    "softmax below": (dg.CD(), ("softmax", "binary")),
    "softmax above": (dg.PCD(n_particles=30), ("binary", "softmax")),
    "deep": (dg.MeanFieldPCD(n_particles=30), ("binary", "binary", "binary")),
}


@pytest.mark.parametrize("optimizer", [dg.SGD(momentum=0.5), dg.Adam()], ids=["sgd", "adam"])
@pytest.mark.parametrize("name", KINDS)
def test_any_number_of_processes_makes_the_same_bits(name, optimizer):
    """Would catch a sum that is rounded before it is added, draws that depend on who makes them,
    and a state of a rule that follows its own rows alone."""
    rule, kinds = KINDS[name]
    model = random_model(kinds, 4, (9, 6, 4)[: len(kinds)], 0.3)
    rows = ArrayRows(exact_particles(model, 90, 1)[0] if kinds[0] == "softmax" else ROWS)
    if optimizer != dg.Adam():
        optimizer = replace(optimizer, averaging=0.0)
    (alone,), *several = [trained(rule, optimizer, model, rows, size) for size in (0, 1, 2, 3)]
    for run in (run for runs in several for run in runs):
        for name, array in alone.parameters.learned().items():
            assert_same_bits(run.parameters.learned()[name], array)
        for one, other in zip(run.rule_state.offsets, alone.rule_state.offsets, strict=True):
            assert_same_bits(one, other)
        assert run.history[-1]["n_rows"] == rows.n_rows
    for run in (run for runs in several for run in runs):
        if alone.rule_state.particles is not None:
            for one, other in zip(
                run.rule_state.particles.states, alone.rule_state.particles.states, strict=True
            ):
                assert_same_bits(one, other)


def phases_of(kinds, seed, n_rows=(50, 40), sizes=(33, 21, 17), **settings):
    """Random phases: states of even layers, means of odd ones."""
    rng, model = np.random.default_rng(seed), random_model(kinds, seed, sizes[: len(kinds)])
    sides = []
    for count in n_rows:
        states = []
        for l, layer in enumerate(model.layers):
            x = rng.random((count, layer.size)).astype(np.float32)
            if layer.kind == dg.Gaussian(1).kind:
                x = rng.normal(size=(count, layer.size)).astype(np.float32)
            elif l % 2 == 0:
                x = (x < 0.4).astype(np.uint8)
            else:
                x = ByteMeans.of(x)
            states.append(x)
        sides.append(states)
    offsets = [rng.random(layer.size).astype(np.float32) for layer in model.layers]
    return Parameters(model, packed=True), Phases(*sides, offsets, **settings)


@pytest.mark.parametrize("optimizer", [
    dg.SGD(), dg.SGD(momentum=0.9, averaging=0.0), dg.Adam(), dg.SGD(rates=(1.0, 0.5)),
], ids=["sgd", "momentum", "adam", "rates"])  # fmt: skip
@pytest.mark.parametrize("centring", [False, True])
def test_split_and_fused_steps_agree(optimizer, centring):
    """Would catch a second definition of the update, or of what biases follow by: the bits are the
    same."""
    fused, phases = phases_of(("binary",) * 3, 1)
    phases.offsets = phases.offsets if centring else None
    split, _ = phases_of(("binary",) * 3, 1)
    states = [optimizer.start(parameters) for parameters in (fused, split)]
    for update in range(3):
        progress = (update + 1) / 3
        optimizer.step(fused, phases, states[0], 0.1, progress)
        optimizer.step(split, phase_sums(split, phases), states[1], 0.1, progress)
    for name, one in fused.learned().items():
        assert_same_bits(split.learned()[name], one)


def test_split_and_fused_gradients_of_real_values_agree():
    """Would catch squares, which log precisions learn by, that are left out of the sums."""
    parameters, phases = phases_of(("gaussian", "binary"), 2)
    phases.gains = [np.full(33, 2.0, np.float32), np.ones(21, np.float32)]
    one = named_gradients(parameters, phases)
    other = named_gradients(parameters, phase_sums(parameters, phases))
    assert one.keys() == other.keys() >= {"layers[0].log_precision"}
    for name, gradient in one.items():
        np.testing.assert_allclose(other[name], gradient, rtol=1e-4, atol=1e-5)


def test_sums_of_many_rows_stay_whole_numbers():
    """Would catch float32 sums of bytes beyond 2^24, which lose their last digits."""
    n_rows = 70_000
    steps = np.full((n_rows, 3), 255, np.uint8)
    model = random_model(("binary", "binary"), 3, (3, 3))
    states = [ByteMeans(steps, 1 / 255), ByteMeans(steps - 1, 1 / 255)]
    sums = phase_sums(Parameters(model), Phases(states, states))
    assert (sums.products["positive", 0] == n_rows * 255 * 254).all()
    assert (sums.states["positive", 1] == n_rows * 254).all()


def test_means_of_groups_stay_distributions_in_bytes():
    """Would catch rounded means of a group that add up to more or less than one."""
    rng = np.random.default_rng(0)
    means = rng.dirichlet(np.full(5, 0.3), (200, 4)).reshape(200, 20).astype(np.float32)
    found = ByteMeans.of_groups(means, 5)
    assert (found.steps.reshape(200, 4, 5).sum(axis=2, dtype=int) == 255).all()
    assert np.abs(found.to_dense() - means).max() < 1 / 255
    means[0, 0] = np.nan
    assert ByteMeans.of_groups(means, 5) is means


# ------------------------------------------------------------------------- weights and contexts


def exact_gradient(model, rows, weights, contexts):
    """Mean of w (E[. | v] - E[.]) over rows, each with its own bias rows and beta."""
    layers, matrices = twin(model)
    total = {"weights[0]": 0.0, "layers[0].bias": 0.0, "layers[1].bias": 0.0}
    for row, weight, about in zip(rows, weights, contexts, strict=True):
        data = exact.moments(layers, matrices, *about, clamped={0: row})
        own = exact.moments(layers, matrices, *about)
        total["weights[0]"] += weight * (data.weights[0] - own.weights[0])
        for l in range(2):
            total[f"layers[{l}].bias"] += weight * (data.biases[l] - own.biases[l])
    return {name: value / len(rows) for name, value in total.items()}


def moved(trainer, rows, rate):
    """What one epoch of a single batch adds to each parameter, by unit of the rate."""
    before = trainer.parameters.snapshot()
    trainer.fit(rows, 1)
    return {
        name: (array.astype(np.float64) - before[name]) / rate
        for name, array in trainer.parameters.learned().items()
    }


COPIES = 5_000  # of each of four rows
PATTERNS = np.array([[1, 0, 1, 0], [0, 1, 1, 1], [0, 0, 0, 1], [1, 1, 0, 0]], np.uint8)


def run_of(model, rule, n_rows, rate=0.01):
    return Trainer(model, rule, PLAIN, dg.Constant(rate), stream=dg.Stream(8), batch_size=n_rows)


@pytest.mark.parametrize("centring", [False, True])
@pytest.mark.parametrize("kind", ["nothing", "bias rows", "beta", "scale", "weights", "all"])
def test_rows_with_contexts_and_weights_learn_the_exact_gradient(kind, centring):
    """Would catch a context or a weight that `Trainer.fit` loses on the way from the rows to the
    sums, goes with other rows after the shuffle, or counts twice."""
    rng, n_rows = np.random.default_rng(5), 4 * COPIES
    model = random_model(("binary", "binary"), 7, (4, 3), 0.5)
    parts, about = {}, [[None, 1.0] for _ in PATTERNS]
    if kind in ("bias rows", "all"):
        bias_rows = rng.normal(0.0, 0.8, (4, 3)).astype(np.float32)
        parts["bias_rows"] = {1: np.repeat(bias_rows, COPIES, axis=0)}
        for each, own in zip(about, bias_rows, strict=True):
            each[0] = [None, own.astype(np.float64)]
    if kind == "beta":
        beta = np.array([0.5, 1.0, 1.5, 0.8], np.float32)
        parts["beta"] = np.repeat(beta, COPIES)
        for each, own in zip(about, beta, strict=True):
            each[1] = float(own)
    scale = np.ones(4)
    if kind in ("scale", "all"):
        scale = np.array([1.0, 3.0, 0.5, 2.0])
        parts["bias_scale"] = {1: np.repeat(scale, COPIES)}
        hidden = twin(model)[0][1].bias
        for each, own in zip(about, scale, strict=True):
            extra = 0.0 if each[0] is None else each[0][1]
            each[0] = [None, (own - 1.0) * hidden + extra]
    weights = np.array([0.2, 2.0, 0.0, 1.8]) if kind in ("weights", "all") else np.ones(4)
    rows = ArrayRows(
        np.repeat(PATTERNS, COPIES, axis=0), context=dg.Context(**parts) if parts else None,
        weights=np.repeat(weights, COPIES) if kind in ("weights", "all") else None,
    )  # fmt: skip
    rate = 0.01
    run = run_of(model, dg.CD(40, centring=centring), n_rows, rate)
    if centring:
        run.rule_state.offsets = [np.full(4, 0.4, np.float32), np.full(3, 0.6, np.float32)]
    found = moved(run, rows, rate)
    wanted = exact_gradient(model, PATTERNS, weights, about)
    # by a bias that is multiplied row by row
    scaled = [exact_gradient(model, PATTERNS, weights * scale, about)[f"layers[{l}].bias"]
              for l in range(2)]  # fmt: skip
    wanted["layers[1].bias"] = scaled[1]
    if centring:  # (the affine change of docs/math.md, with the scaled difference above)
        mu, lam = np.full(4, 0.4), np.full(3, 0.6)
        down, up = wanted["layers[0].bias"], wanted["layers[1].bias"]
        centred = wanted["weights[0]"] - np.outer(mu, up) - np.outer(down, lam)
        wanted = {
            "weights[0]": centred, "layers[0].bias": down - centred @ lam,
            "layers[1].bias": up - mu @ centred,
        }  # fmt: skip
    for name, gradient in wanted.items():
        # 20,000 rows, standard errors of at most .5 times the weight
        error = 2.0 * 0.5 / np.sqrt(n_rows) * (3.0 if kind in ("scale", "all") else 1.0)
        np.testing.assert_allclose(found[name], gradient, atol=4.0 * error)


def test_persistent_chains_take_the_total_weight_of_a_batch():
    """Would catch a negative phase that counts more or less than the rows against it."""
    model = random_model(("binary", "binary"), 9, (4, 3))
    weights = np.array([2.0, 0.5, 0.0, 4.0])
    X, n_particles = np.repeat(PATTERNS, 50, axis=0), 20_000
    run = run_of(model, dg.PCD(n_particles=n_particles, centring=False), len(X))
    run.rule_state.particles = exact_particles(model, n_particles, 2)
    batch = Batch((X,), weights=np.repeat(weights, 50))
    before = run.parameters.snapshot()
    run.step(batch, 0.0)
    wanted = exact_gradient(model, PATTERNS, weights, [(None, 1.0)] * 4)
    for name, gradient in wanted.items():
        found = (run.parameters.learned()[name].astype(np.float64) - before[name]) / 0.01
        np.testing.assert_allclose(found, gradient, atol=5 * weights.mean() / n_particles**0.5)


@pytest.mark.parametrize("n_chains", [1, 5, 300])
@pytest.mark.parametrize("weight", [0.01, 1.0, 30.0])
def test_few_chains_stand_against_heavy_rows(n_chains, weight):
    """Would catch a divisor of the negative phase below 1 that is taken for 1: the weights would
    learn at another rate than the biases."""
    weights = weight * np.random.default_rng(0).uniform(0.5, 1.5, 40)
    parameters, phases = phases_of(
        ("binary",) * 2, 1, (40, n_chains), sizes=(7, 5), weights=(weights, None)
    )  # fmt: skip
    phases.offsets = None
    found = named_gradients(parameters, phase_sums(parameters, phases))
    (v, h), (own_v, own_h) = (
        [np.float64(x if isinstance(x, np.ndarray) else x.to_dense()) for x in side]
        for side in (phases.positive, phases.negative)
    )
    total = weights.sum() / 40
    wanted = {
        "weights[0]": (v * weights[:, None]).T @ h / 40 - total * own_v.T @ own_h / n_chains,
        "layers[0].bias": weights @ v / 40 - total * own_v.mean(axis=0),
        "layers[1].bias": weights @ h / 40 - total * own_h.mean(axis=0),
    }
    for name, gradient in wanted.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-5 * weight)


def test_a_machine_with_biases_by_row_learns_through_fit():
    """Would catch a context that reaches the positive phase alone: two groups of rows whose biases
    differ, which one machine without a context cannot tell apart."""
    rng = np.random.default_rng(1)
    group = np.arange(400) % 2
    X = (rng.random((400, 6)) < np.where(group[:, None], 0.85, 0.15)).astype(np.uint8)
    shift = np.where(group[:, None], 1.7, -1.7) * np.ones(6)
    model = random_model(("binary", "binary"), 2, (6, 3), 0.05)
    scores = {}
    for name, context in (("with", dg.Context(bias_rows={0: shift})), ("without", None)):
        run = Trainer(model, dg.CD(), PLAIN, dg.Constant(0.05), stream=dg.Stream(1), batch_size=50)
        run.fit(ArrayRows(X, context=context), 30)
        layers, weights = twin(run.model())
        about = [[shift[number], None] if context else None for number in (0, 1)]
        log_z = [exact.log_partition(layers, weights, extra) for extra in about]
        scores[name] = np.mean([
            -reference.free_energy(layers, weights, X[group == k].astype(float)).mean()
            + (X[group == k] @ shift[k]).mean() * (context is not None) - log_z[k]
            for k in (0, 1)
        ])  # fmt: skip
    truth = 6 * (0.85 * np.log(0.85) + 0.15 * np.log(0.15))
    assert scores["with"] > truth - 0.25
    assert scores["with"] > scores["without"] + 0.3


def test_labelled_rows_weigh_too():
    """Would catch weights of a machine that observes two layers going to one of them alone."""
    dbm = dg.DBM((5,), label_units=True, n_epochs=1, random_state=0)
    y = np.arange(len(ROWS)) % 3
    model = dbm.fit(ROWS, y).model_
    labels = np.eye(3, dtype=np.uint8)[y]
    weights = (np.arange(len(ROWS)) % 2).astype(float)
    runs = []
    for rows in (LabelledRows(ROWS, labels, weights=weights),
                 LabelledRows(ROWS[weights > 0], labels[weights > 0])):  # fmt: skip
        run = Trainer(model, dg.MeanFieldPCD(n_particles=10), PLAIN, dg.Constant(0.1),
                      stream=dg.Stream(0), batch_size=rows.n_rows)  # fmt: skip
        run.fit(rows, 1)
        runs.append(run.parameters.learned())
    for name, array in runs[0].items():
        np.testing.assert_allclose(array, runs[1][name], atol=1e-4)


@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 2.0, 84)], ids=["equal", "weights"])
def test_parts_may_miss_labels_or_not(weights):
    """Would catch states of one process that are added to means of another, in other steps."""
    layers = [dg.Binary(9), dg.Binary(6), dg.Binary(5), dg.Softmax(3).sized(3)]
    rng = np.random.default_rng(4)
    matrices = [rng.normal(0.0, 0.3, pair) for pair in ((9, 6), (6, 5), (5, 3))]
    model = dg.BoltzmannMachine(layers, matrices, observed=(0, 3))
    labels = np.eye(3, dtype=np.uint8)[np.arange(84) % 3]
    labels[::20] = 0
    rows = LabelledRows(ROWS, labels, weights=weights)
    rule = dg.MeanFieldPCD(n_particles=30, inference=dg.FixedPoint(500, 1e-6))
    (alone,), several = [trained(rule, PLAIN, model, rows, size, 2) for size in (1, 3)]
    whole = Trainer(model, rule, PLAIN, dg.Constant(0.1), stream=dg.Stream(3), batch_size=32)
    whole.fit(rows, 2)
    for name, array in alone.parameters.learned().items():
        np.testing.assert_allclose(whole.parameters.learned()[name], array, atol=5e-3)
        for run in several:
            assert_same_bits(run.parameters.learned()[name], several[0].parameters.learned()[name])
            np.testing.assert_allclose(run.parameters.learned()[name], array, atol=5e-3)


@pytest.mark.parametrize(("batch", "message"), [
    (ROWS, "must be a dg.Batch"), (Batch([ROWS]), "tuple of states"),
    (Batch((None,), weights=np.ones(3)), "tuple of states"),
    (Batch((ROWS[:0],)), "at least one row"),
    (Batch((ROWS,), weights=np.ones(3)), r"weights must have shape \(84,\)"),
    (Batch((ROWS,), weights=-np.ones(84)), "not negative, got -1.0 in row 0"),
    (Batch((ROWS,), weights=[1e308] * 84), "finite sum"),
    (Batch((ROWS,), first_row=-1), "first_row must be"),
    (Batch((ROWS,), n_whole=80), "n_whole must be an integer of at least 84"),
    (Batch((ROWS,), dg.Context(beta=np.ones(83))), r"beta must have shape \(84,\)"),
    (Batch((ROWS,), {"beta": 1.0}), "context must be a dg.Context"),
])  # fmt: skip
def test_batches_that_do_not_fit_are_refused(batch, message):
    """Would catch weights of another batch, which sums would read beyond, and offsets that the mean
    of no row makes NaN. Nothing is begun."""
    run = run_of(random_model(("binary", "binary"), 3, (9, 6)), dg.CD(), 84)
    with pytest.raises((ValueError, TypeError), match=message):
        run.step(batch, 0.0)
    assert run.whole


def test_weights_may_be_any_numbers():
    """Would catch an array that the caller has to convert first."""
    model, runs = random_model(("binary", "binary"), 3, (9, 6)), []
    for weights in ([1, 2] * 42, np.tile(np.float32([1, 2]), 42), np.repeat([1, 2] * 42, 2)[::2]):
        runs.append(run_of(model, dg.CD(), 84))
        runs[-1].step(Batch((ROWS,), weights=weights), 0.0)
    for run in runs[1:]:
        assert_same_bits(runs[0].parameters.weights[0], run.parameters.weights[0])


@pytest.mark.parametrize("rule", [
    dg.CD(sparsity=dg.Sparsity(0.1)), dg.PCD(n_particles=5, sparsity=dg.Sparsity(0.1)),
], ids=["cd", "pcd"])  # fmt: skip
@pytest.mark.parametrize("n_whole", [None, 84])
def test_a_batch_of_no_weight_moves_nothing(rule, n_whole):
    """Would catch offsets and running means that follow the mean of nothing to zero."""
    run = run_of(random_model(("binary", "binary"), 3, (9, 6)), rule, 84)
    before, state = run.parameters.snapshot(), run.rule_state
    offsets, activity = [x.copy() for x in state.offsets], [x.copy() for x in state.activity]
    run.step(Batch((ROWS,), weights=np.zeros(84), n_whole=n_whole), 0.0)
    for name, array in run.parameters.learned().items():
        assert_same_bits(array, before[name])
    for one, other in zip(state.offsets + state.activity, offsets + activity, strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize("rule", [dg.CD(), dg.PCD(n_particles=2)], ids=["cd", "pcd"])
def test_a_part_may_have_no_row(rule):
    """Would catch a mean over no row: the last batch has one, for three processes."""
    model, rows = random_model(("binary", "binary"), 4, (9, 6), 0.3), ArrayRows(ROWS[:65])
    (alone,), several = [trained(rule, PLAIN, model, rows, size) for size in (1, 3)]
    for run in several:
        for name, array in alone.parameters.learned().items():
            assert_same_bits(run.parameters.learned()[name], array)


def test_a_part_without_the_others_is_refused():
    """Would catch processes that each learn their own part, because nobody told them of others."""
    run = run_of(random_model(("binary", "binary"), 3, (9, 6)), dg.CD(), 84)
    with pytest.raises(ValueError, match=r"n_whole=84 rows .* together, got 40.*collective"):
        run.step(Batch((ROWS[:40],), n_whole=84), 0.0)


def test_fit_needs_rows_that_give_batches():
    """Would catch an array, or rows of an unknown number, that fail somewhere inside."""
    run = run_of(random_model(("binary", "binary"), 3, (9, 6)), dg.CD(), 84)
    with pytest.raises(TypeError, match=r"rows must be .*ArrayRows\(X\)"):
        run.fit(ROWS, 1)
    with pytest.raises(ValueError, match="n_rows must be given"):
        run.fit(IterableRows([ROWS]), 1)
    run.fit(IterableRows([ROWS]), 1, 84)


@pytest.mark.parametrize(("around", "message"), [
    ({"weights": np.ones(84)}, "a batch with weights must have weights too"),
    ({"context": dg.Context(bias_scale={1: np.ones(84)})}, "with bias_scale must have bias_scale"),
])  # fmt: skip
def test_a_rule_that_loses_what_counts_rows_is_told(around, message):
    """Would catch a rule of one's own that learns every row alike, and nobody notices."""
    run = run_of(random_model(("binary", "binary"), 3, (9, 6)), Given(Phases([V, H], [V, H])), 84)
    run.step(Batch((ROWS,)), 0.0)
    with pytest.raises(ValueError, match=message):
        run.step(Batch((ROWS,), **around), 0.0)


class Given:
    """A rule that gives the same phases for every batch."""

    def __init__(self, phases):
        self.given = phases

    def start(self, model, stream, *, rows=None):
        return dg.CD(centring=False).start(model, stream)

    def phases(self, model, batch, state, stream, *, work):
        return self.given


V, H = ROWS, np.ones((84, 6), np.float32)


@pytest.mark.parametrize(("phases", "message"), [
    (None, "must return Phases"),
    (Phases([V, H], [V]), "negative phase must have states of 2 layers, got 1"),
    (Phases([V, H[:50]], [V, H]), r"positive\[1\] of the phases must have shape \(84, 6\)"),
    (Phases([V, H], [V[:, :5], H]), r"negative\[0\] of the phases must have shape \(84, 9\)"),
    (Phases([V, H], [V[:0], H[:0]]), "negative phase must have at least one row"),
    (Phases([V, H], [V, H], [np.zeros(9), np.zeros(3)]), r"offsets\[1\] .* shape \(6,\)"),
    (Phases([V, H], [V, H], weights=np.ones(84)), "tuple of two"),
    (Phases([V, H], [V[:7], H[:7]], weights=(np.ones(84), np.ones(84))),
     r"weights\[1\] of the phases must have shape \(7,\)"),
    (Phases([V, H], [V[:7], H[:7]], bias_scale=({}, {1: np.ones(84)})),
     r"bias_scale\[1\] of the phases must have shape \(7,\)"),
    (Phases([V, H], [V[:7], H[:7]], shares=(np.ones(84), np.ones(84))),
     r"shares\[1\] of the phases must have shape \(7,\)"),
])  # fmt: skip
def test_phases_of_a_rule_of_ones_own_are_checked(phases, message):
    """Would catch sums over rows that are not there, which kernels would read."""
    run = run_of(random_model(("binary", "binary"), 3, (9, 6)), Given(phases), 84)
    before = run.parameters.snapshot()
    with pytest.raises((ValueError, TypeError), match=message):
        run.step(Batch((ROWS,)), 0.0)
    for name, array in run.parameters.learned().items():
        assert_same_bits(array, before[name])


def test_rows_without_any_weight_are_refused():
    """Would catch a division by zero for all rows of a run."""
    with pytest.raises(ValueError, match="positive for at least one row"):
        ArrayRows(ROWS, weights=np.zeros(len(ROWS)))


# ------------------------------------------------------------------------- gradients by name


class Squares:
    """A rule that back-propagates: makes the hidden means of rows small, by their squares."""

    def start(self, model, stream, *, rows=None):
        return dg.CD(centring=False).start(model, stream)

    def phases(self, model, batch, state, stream, *, work):
        v = batch.states[0].astype(np.float64)
        h = reference.logistic(v @ model.weights[0] + model.biases[1])
        slope = h * h * (1.0 - h)
        return RowGradients(
            {"weights[0]": v.T @ slope, "layers[1].bias": slope.sum(axis=0)}, batch.n_rows,
            0.5 * float(np.square(h).sum()),
        )  # fmt: skip


@pytest.mark.parametrize("optimizer", [
    dg.SGD(averaging=0.5), dg.Adam(averaging=0.5), dg.SGD(rates=(2.0,)),
], ids=["sgd", "adam", "rates"])  # fmt: skip
def test_a_rule_may_give_gradients_by_name(optimizer):
    """Would catch packed weights that are not made anew, and rates of matrices that are lost."""
    model = random_model(("binary", "binary"), 3, (9, 6), 0.5)
    run = Trainer(model, Squares(), optimizer, dg.Constant(0.3), stream=dg.Stream(0), batch_size=84)
    values = [run.step(Batch((ROWS,)), (update + 1) / 40) for update in range(40)]
    assert values[-1] < 0.5 * values[0]
    found = run.rule.phases(run.parameters, Batch((ROWS,)), None, None, work=None).value / 84
    assert found < values[-1]
    means = dg.CD().phases(run.parameters, Batch((ROWS,)), run.rule_state, dg.Stream(1)).positive[1]
    exactly = reference.logistic(ROWS @ run.parameters.weights[0].astype(float)
                                 + run.parameters.biases[1])  # fmt: skip
    np.testing.assert_allclose(means.to_dense(), exactly, atol=1 / 255)


def test_gradients_by_name_add_up_over_processes():
    """Would catch a mean of means, where processes have different numbers of rows."""
    model = random_model(("binary", "binary"), 3, (9, 6), 0.5)
    (alone,), several = [trained(Squares(), PLAIN, model, ArrayRows(ROWS), size) for size in (1, 3)]
    for run in several:
        for name, array in alone.parameters.learned().items():
            np.testing.assert_allclose(run.parameters.learned()[name], array, atol=1e-6)


def test_gradients_by_name_need_an_optimizer_that_takes_them():
    """Would catch an AttributeError in the first update."""

    class Steps:
        start, step = dg.SGD().start, dg.SGD().step

    model = random_model(("binary", "binary"), 3, (9, 6))
    run = Trainer(model, Squares(), Steps(), dg.Constant(0.3), stream=dg.Stream(0))
    with pytest.raises(ValueError, match="optimizer must be"):
        run.step(Batch((ROWS,)), 0.0)


@pytest.mark.parametrize(("sums", "message"), [
    ({"weights": np.ones((9, 6))}, r"must have names of \['weights\[0\]'.*got 'weights'"),
    ({"weights[0]": np.ones((6, 9))}, r"'weights\[0\]' must have shape \(9, 6\), got \(6, 9\)"),
    ({"layers[1].bias": 1.0}, r"'layers\[1\].bias' must have shape \(6,\)"),
])  # fmt: skip
@pytest.mark.parametrize("optimizer", [dg.SGD(), dg.Adam()], ids=["sgd", "adam"])
def test_gradients_by_name_of_other_shapes_are_refused(optimizer, sums, message):
    """Would catch a step of the kernel that reads beyond a gradient."""

    class Careless(Squares):
        def phases(self, model, batch, state, stream, *, work):
            return RowGradients(dict(sums), 84)

    model = random_model(("binary", "binary"), 3, (9, 6))
    run = Trainer(model, Careless(), optimizer, dg.Constant(0.3), stream=dg.Stream(0))
    with pytest.raises(ValueError, match=message):
        run.step(Batch((ROWS,)), 0.0)


def test_row_differences_are_the_gradient_by_bias_rows():
    """Would catch a sign, or rows of another phase: finite differences of exact log p(v | row)."""
    model = random_model(("binary", "binary"), 6, (4, 3))
    bias_rows = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    repeats = 4_000
    context = dg.Context(bias_rows={1: np.repeat(bias_rows, repeats, axis=0)})
    rule, X = dg.CD(40, centring=False), np.repeat(PATTERNS, repeats, axis=0)
    state = rule.start(model, dg.Stream(0))
    phases = rule.phases(Parameters(model), Batch((X,), context), state, dg.Stream(1))
    found = row_differences(phases, 1).reshape(4, repeats, 3).mean(axis=1)
    layers, weights = twin(model)

    def log_p(extra, row):
        about = [None, extra]
        free = -reference.free_energy(layers, weights, row[None].astype(float), extra[None])[0]
        return free - exact.log_partition(layers, weights, about)

    for k, row in enumerate(PATTERNS):
        slope = reference.finite_difference(lambda x, row=row: log_p(x, row),
                                            bias_rows[k].astype(float))  # fmt: skip
        np.testing.assert_allclose(found[k], slope, atol=5 * 0.5 / repeats**0.5)
    persistent = dg.PCD(n_particles=7)
    state = persistent.start(model, dg.Stream(0))
    phases = persistent.phases(Parameters(model), Batch((X,)), state, dg.Stream(1))
    with pytest.raises(ValueError, match="same rows"):
        row_differences(phases, 1)


# ------------------------------------------------------------------------- chunks of updates


def test_updates_in_chunks_keep_the_bits():
    """Would catch a snapshot, a rate or a draw that depends on how many updates are asked for."""
    model = random_model(("binary", "binary"), 3, (9, 6), 0.3)

    class Chunks(Trainer):
        updates_at_once = 7

    runs = []
    for kind in (Trainer, Chunks):
        run = kind(model, dg.PCD(n_particles=10), dg.SGD(momentum=0.5), dg.Linear(0.1, 0.0),
                   stream=dg.Stream(2), batch_size=5)  # fmt: skip
        run.fit(ArrayRows(ROWS), 9)  # 153 updates: a snapshot within a chunk
        runs.append(run)
    assert runs[0].n_updates == runs[1].n_updates == 153
    for name, array in runs[0].parameters.learned().items():
        assert_same_bits(runs[1].parameters.learned()[name], array)
        assert_same_bits(runs[1]._good[name], runs[0]._good[name])
    assert runs[0].history[-1]["learning_rate"] == runs[1].history[-1]["learning_rate"]
