"""Samplers: chains that start at the target stay there, each row at its own."""

import signal
from itertools import product

import exact
import numpy as np
import pytest
import reference
from conftest import (
    FIVE_SIGMA,
    FIVE_SIGMA_PROBABILITY,
    PAIRS,
    THREADS,
    assert_mean,
    assert_same_bits,
    assert_within_errors,
    in_form,
    random_model,
    random_states,
    twin,
    with_slow,
)
from deepgen._kernels import engine
from samplers_of_ones_own import SAMPLERS, WITH_CONTEXT
from scipy import special, stats

import deepgen as dg
from deepgen.inference import gibbs
from deepgen.inference.completion import impute
from deepgen.inference.gibbs import start_particles, update_layer, visible_mean
from deepgen.layers import passes
from deepgen.layers.passes import Site
from deepgen.rows.states import as_states
from deepgen.runtime.stream import DATA, IMPUTE, SAMPLE
from deepgen.runtime.work import Work

pytestmark = pytest.mark.usefixtures("serial")

N_CHAINS = 20_000
SWEEPS = (1, 4, 16)

DISCRETE = [
    (("binary", "binary"), (5, 4)),
    (("copies", "binary"), (3, 3)),
    (("softmax", "binary"), (6, 3)),
    (("binary", "softmax"), (3, 6)),
    (("softmax", "copies"), (6, 2)),
    (("binary", "binary", "binary"), (3, 3, 3)),
    (("binary", "copies", "softmax"), (3, 2, 3)),
    (("softmax", "binary", "copies"), (6, 3, 2)),
    (("binary", "softmax", "binary", "binary"), (2, 3, 2, 3)),
]
GAUSSIAN = [
    (("gaussian", "binary"), (3, 4)),
    (("gaussian", "copies"), (2, 2)),
    (("gaussian", "softmax"), (2, 6)),
    (("binary", "gaussian"), (4, 3)),
    (("softmax", "gaussian"), (6, 2)),
    (("gaussian", "binary", "softmax"), (2, 3, 3)),
    (("binary", "gaussian", "binary"), (3, 2, 2)),
]


def name_of(case):
    """A short name for a model."""
    return "-".join(case[0])


def particles_of(states):
    """Particles from the float64 states of exact.sample."""
    return dg.Particles([x.astype(np.float32) for x in states])


def moved(name, model, particles, n_sweeps, seed, context=None, first_row=0):
    """Where a sampler of the list takes chains that begin at particles."""
    sampler, means = SAMPLERS[name]
    site = Site(dg.Stream.from_random_state(seed), SAMPLE, first_row)
    chains = sampler.start(model, particles, site)
    sampler.move(
        model, chains, site, n_sweeps=n_sweeps, means=means, context=context, work=Work()
    )
    return chains.at_model()


def assert_distributed(layers, states, p, missing=None):
    """Fail where the frequencies of joint states are not those of independent draws from p.

    The distance of n independent draws moves by 1 / n with each of them, so it is within five
    times 0.5 / sqrt(n) of its mean, the floor; four floors are the most in any case.
    """
    index = exact.joint_index(layers, states, missing)
    distance = exact.total_variation(exact.frequencies(index, len(p)), p)
    floor = exact.monte_carlo_floor(p, len(index))
    assert distance <= min(4.0 * floor, floor + FIVE_SIGMA * 0.5 / np.sqrt(len(index)))


# --------------------------------------------------------------------------- stationarity


# The contract of all samplers. In the plain run Gibbs sampling meets every model, the others some.
PLAIN = (DISCRETE[1], DISCRETE[7], GAUSSIAN[0], GAUSSIAN[5])

def ways(cases):
    """Models, samplers and numbers of sweeps."""

    def way(case, name, n_sweeps):
        plain = name == "gibbs" or (case in PLAIN and n_sweeps == 4)
        marks = () if plain else pytest.mark.slow
        return pytest.param(case, name, n_sweeps, id=f"{name_of(case)} {name} {n_sweeps}",
                            marks=marks)  # fmt: skip

    return [way(*each) for each in product(cases, SAMPLERS, SWEEPS)]


@pytest.mark.parametrize(("case", "name", "n_sweeps"), ways(DISCRETE))
def test_chains_that_start_at_the_target_stay_there(case, name, n_sweeps):
    """Catches a conditional that is not the model's: any wrong one moves the distribution."""
    model = random_model(case[0], 1, case[1])
    layers, weights = twin(model)
    p = exact.enumerate_states(layers, weights).probabilities
    start = exact.sample(layers, weights, N_CHAINS, np.random.default_rng(1))
    found = moved(name, model, particles_of(start), n_sweeps, 2)
    assert_distributed(layers, found.states, p)


@pytest.mark.parametrize(("case", "name", "n_sweeps"), ways(GAUSSIAN))
def test_gaussian_chains_that_start_at_the_target_stay_there(case, name, n_sweeps):
    """Catches a wrong variance or mean of real-valued units, visible, hidden or in the middle."""
    model = random_model(case[0], 3, case[1])
    layers, weights = twin(model)
    found = exact.enumerate_states(layers, weights)
    start = exact.sample(layers, weights, N_CHAINS, np.random.default_rng(3))
    drawn = moved(name, model, particles_of(start), n_sweeps, 4)
    x = np.concatenate([state.astype(np.float64) for state in drawn.states], axis=1)
    centre, variance = (np.concatenate(parts, axis=1) for parts in (found.states, found.variances))
    p = found.probabilities
    second = (p[:, None] * centre).T @ centre + np.diag(p @ variance)
    assert_mean(x, p @ centre)
    assert_mean(x[:, :, None] * x[:, None, :], second)
    for l, layer in enumerate(layers):
        if layer.kind != "gaussian":
            continue
        for unit in range(layer.size):
            own, deviation = found.states[l][:, unit], np.sqrt(found.variances[l][:, unit])

            def mixture(values, own=own, deviation=deviation):
                return special.ndtr((values[:, None] - own) / deviation) @ p

            pvalue = stats.kstest(drawn[l][:5_000, unit], mixture).pvalue
            assert pvalue > FIVE_SIGMA_PROBABILITY


@pytest.mark.parametrize("clamp", [(0,), (1,), (2,), (0, 2)])
def test_clamped_layers_condition_the_others(clamp):
    """Catches a clamped layer that is drawn anew, or one that its neighbours do not hear."""
    model = random_model(("binary", "copies", "softmax"), 5, (3, 2, 3))
    layers, weights = twin(model)
    rng = np.random.default_rng(5)
    one = exact.sample(layers, weights, 1, rng)
    clamped = {l: one[l][0] for l in clamp}
    start = exact.sample(layers, weights, N_CHAINS, rng, clamped=clamped)
    found = dg.gibbs(model, particles_of(start), 4, clamp=clamp, random_state=6)
    for l in clamp:
        np.testing.assert_array_equal(found[l], start[l])
    p = exact.enumerate_states(layers, weights, clamped=clamped)
    target = np.zeros(np.prod([len(exact.layer_states(layer)) for layer in layers]))
    target[exact.joint_index(layers, p.states)] = p.probabilities
    assert_distributed(layers, found.states, target)


@pytest.mark.parametrize("name", WITH_CONTEXT)
@pytest.mark.parametrize("kinds", [("binary", "copies"), ("copies", "softmax"),
                                   ("softmax", "binary")])  # fmt: skip
def test_held_entries_condition_the_others(kinds, name):
    """Catches a completion that forgets what was observed, or observes the wrong entries."""
    model = random_model(kinds, 7)
    layers, weights = twin(model)
    rng = np.random.default_rng(7)
    row = exact.sample(layers, weights, 1, rng)[0][0]
    n_held = layers[0].group or 1
    row[n_held:] = np.nan
    start = exact.sample(layers, weights, N_CHAINS, rng, clamped={0: row})
    held = np.tile(~np.isnan(row), (N_CHAINS, 1))
    context = dg.Context(held={0: held})
    found = moved(name, model, particles_of(start), 4, 8, context)
    np.testing.assert_array_equal(found[0][held], start[0][held])
    p = exact.enumerate_states(layers, weights, clamped={0: row})
    target = np.zeros(np.prod([len(exact.layer_states(layer)) for layer in layers]))
    target[exact.joint_index(layers, p.states)] = p.probabilities
    assert_distributed(layers, found.states, target)


# ------------------------------------------------------------------ each row its own model


def own_models(model, n_rows, rng, missing_share=0.4):
    """A bias row for each layer, a temperature and missing groups for each of `n_rows` rows."""
    bias_rows = [rng.normal(0.0, 1.0, (n_rows, layer.size)) for layer in model.layers]
    bias_rows = [rows.astype(np.float32).astype(np.float64) for rows in bias_rows]
    beta = rng.uniform(0.3, 2.0, n_rows).astype(np.float32).astype(np.float64)
    missing, held = [None] * model.n_layers, {}
    for l, layer in enumerate(model.layers):
        if isinstance(layer, dg.Softmax):
            missing[l] = rng.random((n_rows, layer.size // layer.group)) < missing_share
            held[l] = np.repeat(missing[l], layer.group, axis=1)
    context = dg.Context(bias_rows=dict(enumerate(bias_rows)), held=held, beta=beta)
    return context, {"bias_rows": bias_rows, "beta": beta, "missing": missing}


def assert_rows_follow_their_own(model, states, own):
    """Compare every row's moments with its own model's, alone and against what varies by row."""
    layers, weights = twin(model)
    n_rows = len(own["beta"])
    residuals = []
    for row in range(n_rows):
        parts = [exact.row_of(own[name], row) for name in ("bias_rows", "missing")]
        expected = exact.moments(layers, weights, parts[0], own["beta"][row], parts[1])
        here = [x[row].astype(np.float64) for x in states]
        residuals.append(np.concatenate(
            [x - mean for x, mean in zip(here, expected.biases, strict=True)]
            + [(np.outer(here[l], here[l + 1]) - expected.weights[l]).ravel()
               for l in range(len(layers) - 1)]
        ))  # fmt: skip
    residuals = np.array(residuals)
    rows = np.concatenate(own["bias_rows"], axis=1)
    beta = own["beta"][:, None] - own["beta"].mean()
    covariates = np.concatenate([np.ones((n_rows, 1)), beta, rows, rows * beta], axis=1)
    products = residuals[:, :, None] * covariates[:, None, :]
    assert_mean(products, 0.0, rounding=1e-6)


@pytest.mark.parametrize("name", with_slow(WITH_CONTEXT, ["gibbs with means", "random order"]))
@pytest.mark.parametrize("start", with_slow(["at the target", "anywhere"], ["at the target"]))
@pytest.mark.parametrize("kinds", [("softmax", "binary"), ("softmax", "binary", "copies"),
                                   ("gaussian", "binary")])  # fmt: skip
def test_every_row_has_a_model_of_its_own(kinds, start, name):
    """Catches a row that gets a neighbour's bias row, temperature or missing group.

    Documents of any length, ratings with holes, tempering and time series are all rows of an
    enumerable model with a bias row, a missing softmax group and a temperature for each row.
    """
    model = random_model(kinds, 9)
    n_rows, rng = 1_000, np.random.default_rng(9)
    context, own = own_models(model, n_rows, rng)
    if start == "at the target":
        states = exact.sample(*twin(model), n_rows, rng, **own)
        particles, n_sweeps = particles_of(states), 4
    else:
        particles, n_sweeps = start_particles(model, n_rows, dg.Stream(9)), 100
        for l, held in context.held.items():
            particles[l][held != 0] = 0
    found = moved(name, model, particles, n_sweeps, 10, context)
    for l, held in context.held.items():
        np.testing.assert_array_equal(found[l][held != 0], 0)
    assert_rows_follow_their_own(model, found.states, own)


@pytest.mark.parametrize("start", ["at the target", "anywhere"])
def test_rows_of_three_models_reach_three_distributions(start):
    """Catches what moments cannot see: joint frequencies of three kinds of rows, interleaved."""
    model = random_model(("softmax", "binary"), 11, (6, 3))
    layers, weights = twin(model)
    n_rows, rng = 30_000, np.random.default_rng(11)
    _, three = own_models(model, 3, rng)
    three["missing"] = [np.array([[False, True], [False, False], [True, False]]), None]
    kind = rng.integers(0, 3, n_rows)
    own = {"bias_rows": [rows[kind] for rows in three["bias_rows"]], "beta": three["beta"][kind],
           "missing": [three["missing"][0][kind], None]}
    held = np.repeat(own["missing"][0], 3, axis=1)
    context = dg.Context(bias_rows=dict(enumerate(own["bias_rows"])), beta=own["beta"],
                         held={0: held})
    if start == "at the target":
        particles, n_sweeps = particles_of(exact.sample(layers, weights, n_rows, rng, **own)), 4
    else:
        particles, n_sweeps = start_particles(model, n_rows, dg.Stream(11)), 60
        particles[0][held] = 0
    found = dg.gibbs(model, particles, n_sweeps, context=context, random_state=12)
    for k in range(3):
        rows, missing = kind == k, [three["missing"][0][k], None]
        p = exact.enumerate_states(layers, weights, exact.row_of(three["bias_rows"], k),
                                   three["beta"][k], missing).probabilities
        assert_distributed(layers, [x[rows] for x in found.states], p, missing)


# ------------------------------------------------------------------------------- invariance


def chain_case(n_rows=70):
    """A three-layer model with a context, and particles."""
    model = random_model(("softmax", "binary", "gaussian"), 13, (33, 40, 35))
    rng = np.random.default_rng(13)
    context, _ = own_models(model, n_rows, rng)
    particles = dg.Particles([random_states(layer, n_rows, rng) for layer in model.layers])
    return model, particles, context


def impute_site(seed):
    """Where a completion draws."""
    return Site(dg.Stream.from_random_state(seed), IMPUTE)


def assert_same_particles(one, other):
    """Fail unless all layers have the same bits."""
    for x, y in zip(one.states, other.states, strict=True):
        assert_same_bits(x, y)


def test_same_bits_for_every_back_end_and_number_of_threads(restored_backend, threaded):
    """Catches a sweep whose layers or rows race, or an instruction set of its own rounding."""
    model, particles, context = chain_case()
    expected = dg.gibbs(model, particles, 5, context=context, random_state=1, n_threads=1)
    for name in engine.available_backends():
        restored_backend(name)
        for n_threads in THREADS:
            found = dg.gibbs(
                model, particles, 5, context=context, random_state=1, n_threads=n_threads
            )
            assert_same_particles(found, expected)


def test_pieces_drawn_with_first_row_equal_the_whole():
    """Catches draws that depend on the position in a call instead of the row."""
    model, particles, context = chain_case()
    whole = dg.gibbs(model, particles, 3, context=context, random_state=1)
    for start, stop in ((0, 1), (1, 69), (69, 70)):
        rows = slice(start, stop)
        piece = dg.gibbs(
            model, dg.Particles([x[rows] for x in particles.states]), 3, random_state=1,
            context=context.of_rows(rows), first_row=start,
        )  # fmt: skip
        assert_same_particles(piece, dg.Particles([x[rows] for x in whole.states]))


def test_sweeps_cut_into_calls_equal_one_call(monkeypatch):
    """Catches kernel calls (cut for Ctrl-C) that repeat or skip random numbers."""
    model, particles, context = chain_case()
    whole = dg.gibbs(model, particles, 7, context=context, random_state=1)
    monkeypatch.setattr(gibbs, "CALL_WORK", 1)
    assert_same_particles(
        dg.gibbs(model, particles, 7, context=context, random_state=1), whole
    )
    stream = dg.Stream.from_random_state(1)
    half = dg.gibbs(model, particles, 3, context=context, random_state=stream)
    rest = dg.gibbs(model, half, 4, context=context, random_state=stream.advanced(3))
    assert_same_particles(rest, whole)


@pytest.mark.parametrize("work", [1, 40_000])
def test_rows_cut_into_calls_equal_one_call(work, monkeypatch):
    """Catches rows (cut for Ctrl-C) that get other random numbers, contexts or places."""
    model, particles, context = chain_case()
    base = dg.Context(
        bias_rows=context.bias_rows, held=context.held, beta=context.beta, base=model.layers
    )
    rbm = random_model(("binary", "binary"), 14, (40, 33))
    X = random_states(rbm.layers[0], 70, np.random.default_rng(14))

    def results():
        site = Site(dg.Stream(5), DATA, 3)
        for own in (context, base):
            for l in range(3):
                yield from update_layer(model, l, list(particles.states), context=own, mean=True,
                                        site=site)  # fmt: skip
        yield from dg.gibbs(model, particles, 3, context=context, random_state=1).states
        for form in ("bytes", "floats", "csr"):
            yield dg.free_energy(rbm, in_form(X, form))
            yield update_layer(rbm, 1, [as_states(in_form(X, form)), None], mean=True)[0]
        yield dg.ais(rbm, n_chains=70, n_betas=5, random_state=0).log_weights

    whole = list(results())
    monkeypatch.setattr(passes, "CALL_WORK", work)
    monkeypatch.setattr(gibbs, "CALL_WORK", work)
    pieces = [(piece.start, piece.stop) for piece in passes.row_pieces(70, 10**4)]
    assert pieces == [(0, 32), (32, 64), (64, 70)]
    for one, other in zip(results(), whole, strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize("call", ["conditional", "layer_log_weight"])
def test_ctrl_c_is_heard_between_pieces_of_rows(call, monkeypatch):
    """Catches a pass over many rows that is one call: Ctrl-C would wait for its end."""
    model = random_model(("binary", "binary"), 14, (40, 33))
    X = random_states(model.layers[0], 3_200, np.random.default_rng(14))
    monkeypatch.setattr(passes, "CALL_WORK", 1)
    calls, kernel = [], getattr(engine, call)

    def interrupted(*arguments):
        calls.append(len(calls))
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        kernel(*arguments)

    monkeypatch.setattr(engine, call, interrupted)
    with pytest.raises(KeyboardInterrupt):
        dg.free_energy(model, X)
    assert len(calls) == 3


def test_chains_seeds_and_sweeps_differ():
    """Catches an integer seed that makes all Gibbs samples alike (a bug that a peer shipped)."""
    model = dg.BoltzmannMachine([dg.Binary(64), dg.Binary(64)], [np.zeros((64, 64))])
    start = dg.Particles([np.zeros((50, 64), np.uint8)] * 2)
    runs = [dg.gibbs(model, start, n, random_state=seed) for n, seed in ((1, 0), (2, 0), (1, 1))]
    rows = np.concatenate([x for run in runs for x in run.states])
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert_within_errors(rows.mean(), 0.5, 0.5 / np.sqrt(rows.size))


def test_the_global_random_state_is_not_touched():
    """Catches a sampler that changes what other libraries draw."""
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    model, particles, context = chain_case()
    dg.gibbs(model, particles, 2, context=context)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_gibbs_leaves_its_arguments_alone():
    """Catches particles that are swept in place, and a copy of zero sweeps that shares memory."""
    model, particles, context = chain_case()
    kept = particles.copy()
    dg.gibbs(model, particles, 2, context=context, random_state=0)
    assert_same_particles(particles, kept)
    same = dg.gibbs(model, particles, 0, context=context, random_state=0)
    assert_same_particles(same, kept)
    same[0][...] = 0
    assert_same_particles(particles, kept)


def test_no_rows():
    """Catches an empty batch that fails or divides by zero."""
    model, particles, context = chain_case()
    none = slice(0, 0)
    found = dg.gibbs(model, dg.Particles([x[none] for x in particles.states]), 2,
                     context=context.of_rows(none), random_state=0)  # fmt: skip
    assert [x.shape for x in found.states] == [(0, 33), (0, 40), (0, 35)]


# ------------------------------------------------------------------------ what is drawn with it


@pytest.mark.parametrize("case", DISCRETE[:6], ids=name_of)
def test_first_particles_come_from_the_biases(case):
    """Catches layers that share their first draws, which would correlate v and h."""
    model = random_model(case[0], 14, case[1])
    layers, weights = twin(model)
    particles = start_particles(model, N_CHAINS, dg.Stream(14))
    p = exact.enumerate_states(layers, [np.zeros_like(w) for w in weights]).probabilities
    assert_distributed(layers, particles.states, p)
    assert_same_particles(start_particles(model, 10, dg.Stream(14), first_row=5),
                          dg.Particles([x[5:15] for x in particles.states]))


@pytest.mark.parametrize("kinds", PAIRS)
def test_update_layer_draws_around_its_mean(kinds):
    """Catches a mean and a draw of different fields, and a draw where only means are wanted."""
    model = random_model(kinds, 15)
    h = np.repeat(random_states(model.layers[1], 1, np.random.default_rng(15)), 4_000, axis=0)
    site = Site(dg.Stream(15), DATA)
    means, draws = update_layer(model, 0, [None, h], mean=True, site=site)
    np.testing.assert_array_equal(means, visible_mean(model, dg.Particles([h, h])))
    assert_mean(draws, means[0], rounding=1e-6)
    assert update_layer(model, 0, [None, h], mean=True)[1] is None
    assert update_layer(model, 0, [None, h], site=site)[0] is None


@pytest.mark.parametrize("kinds", [("binary", "binary"), ("copies", "binary"),
                                   ("softmax", "copies"), ("gaussian", "binary")])  # fmt: skip
def test_impute_means_and_deviations_are_the_exact_ones(kinds):
    """Catches completions that ignore what is observed, and a spread without its own noise."""
    model = random_model(kinds, 16, scale=0.8)
    layers, weights = twin(model)
    rng = np.random.default_rng(16)
    n_rows, n_chains, group = 400, 30, layers[0].group or 1
    row = exact.sample(layers, weights, 1, rng)[0]
    missing = np.ones(row.shape, bool)
    missing[:, :group] = False
    X = np.where(missing, np.nan, row)
    X, missing = np.repeat(X, n_rows, axis=0), np.repeat(missing, n_rows, axis=0)
    draws, means, deviations = impute(
        model, X, missing, impute_site(16), n_chains=n_chains, n_sweeps=30
    )
    for values in (draws, means):
        np.testing.assert_array_equal(values[~missing], X[~missing].astype(np.float32))
    np.testing.assert_array_equal(deviations[~missing], 0.0)
    known = np.where(missing[0], np.nan, row[0])
    found = exact.enumerate_states(layers, weights, clamped={0: known})
    p, centre, variance = found.probabilities, found.states[0], found.variances[0]
    free = missing[0]
    expected = p @ centre
    spread = p @ (centre**2 + variance) - expected**2
    assert_mean(draws[:, free], expected[free])
    assert_mean(means[:, free], expected[free], rounding=1e-6)
    # the estimate from 30 chains has a bias of order 1 / 30
    error = deviations[:, free].astype(np.float64)
    assert_mean(error**2, spread[free], rounding=spread[free] / n_chains)


def test_impute_takes_grey_values_as_means():
    """Catches observed grey pixels that become black by a cast to bytes."""
    model = dg.BoltzmannMachine([dg.Binary(2), dg.Binary(1)], [[[8.0], [8.0]]])
    model = model.replace(layers=[dg.Binary(bias=[-4.0, -4.0]), dg.Binary(bias=[-8.0])])
    X = np.repeat(np.array([[0.7, np.nan]]), 500, axis=0)
    missing = np.isnan(X)
    draws, means, _ = impute(model, X, missing, impute_site(0), n_chains=20, n_sweeps=30)
    np.testing.assert_array_equal(draws[:, 0], np.float32(0.7))
    p = exact.conditional(*twin(model), 0, {0: [1.0, np.nan]})[1].reshape(2, 2)[1, 1]
    q = exact.conditional(*twin(model), 0, {0: [0.0, np.nan]})[1].reshape(2, 2)[0, 1]
    assert_mean(means[:, 1], 0.7 * p + 0.3 * q, rounding=1e-6)


# ---------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_sweeps": -1}, "n_sweeps must be an integer of at least 0"),
        ({"clamp": (2,)}, "clamp must name layers"),
        ({"context": dg.Context(beta=np.ones(3))}, r"beta must have shape \(2,\)"),
        ({"context": dg.Context(bias_rows={1: np.ones((2, 4))})}, r"bias_rows\[1\] must have"),
        ({"context": dg.Context(held={0: np.ones((1, 4))})}, r"held\[0\] must have shape \(2, 4\)"),
        ({"context": dg.Context(held={2: np.ones((2, 4))})}, "held names layer 2"),
        ({"context": dg.Context(beta=np.ones(2), base=(dg.Binary(3),))}, "base must name 2 layers"),
        ({"random_state": "seed"}, "random_state must be"),
    ],
)
def test_gibbs_refuses_what_does_not_fit(options, message):
    """Catches arrays that kernels would read beyond, and typing errors that pass silently."""
    model = dg.BoltzmannMachine([dg.Binary(4), dg.Binary(3)], [np.zeros((4, 3))])
    particles = dg.Particles([np.zeros((2, 4)), np.zeros((2, 3))])
    with pytest.raises(ValueError, match=message):
        dg.gibbs(model, particles, **{"n_sweeps": 1, "random_state": 0, **options})


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([np.zeros((2, 4))], "particles must have 2 layers"),
        ([np.zeros((2, 4)), np.zeros((2, 4))], r"particles\[1\] must have"),
        ([np.full((2, 4), 0.7), np.zeros((2, 3))], r"particles\[0\] must hold states"),
        ([np.full((2, 4), -1.0), np.zeros((2, 3))], r"particles\[0\] must have values"),
    ],
)
def test_gibbs_refuses_particles_that_are_no_states(states, message):
    """Catches grey values that become zeros, and -1 that becomes 255, by a cast to bytes."""
    model = dg.BoltzmannMachine([dg.Binary(4), dg.Binary(3)], [np.zeros((4, 3))])
    with pytest.raises(ValueError, match=message):
        dg.gibbs(model, dg.Particles(states), 1, clamp=(0,), random_state=0)


def test_update_layer_refuses_what_does_not_fit():
    """Catches a pass that reads beyond the states, the context, or a layer that is not there."""
    model = dg.BoltzmannMachine([dg.Binary(4), dg.Binary(3)], [np.zeros((4, 3))])
    v = np.zeros((2, 4), np.uint8)
    with pytest.raises(ValueError, match=r"states\[0\] must have shape \(n_rows, 4\)"):
        update_layer(model, 1, [v[:, :3], None], mean=True)
    for context, message in (
        (dg.Context(bias_rows={1: np.zeros((1, 3))}), r"bias_rows\[1\] must have shape \(2, 3\)"),
        (dg.Context(held={1: np.zeros((2, 3))}), r"held\[1\] needs the states"),
    ):
        with pytest.raises(ValueError, match=message):
            update_layer(model, 1, [v, None], context=context, mean=True)


def test_particles_have_one_number_of_rows():
    """Catches joint configurations whose layers are of different lengths."""
    with pytest.raises(ValueError, match="one number of rows"):
        dg.Particles([np.zeros((2, 4)), np.zeros((3, 3))])
    particles = dg.Particles([np.zeros((2, 4), bool), np.zeros((2, 3))])
    assert len(particles) == 2
    assert particles[0].dtype == np.uint8
    assert particles[1].dtype == np.float32
    assert repr(particles) == "Particles(2 x 4-3)"


def test_missing_groups_send_nothing():
    """Catches a missing rating that pulls on the hidden units: the field check of the seam."""
    model = random_model(("softmax", "binary"), 17)
    layers, weights = twin(model)
    v = random_states(model.layers[0], 30, np.random.default_rng(17))
    missing = reference.missing_groups(layers[0], v)
    assert 0 < missing.sum() < missing.size
    means, _ = update_layer(model, 1, [v, None], mean=True)
    for row, absent in enumerate(np.repeat(missing, 3, axis=1)):
        smaller = [layers[0], layers[1]], [weights[0][~absent]]
        field = layers[1].bias + v[row][~absent] @ smaller[1][0]
        np.testing.assert_allclose(means[row], reference.logistic(field), rtol=1e-5)
