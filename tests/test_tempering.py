"""Samplers of several temperatures: what their rungs keep, how they mix, what is refused.

That each leaves the model's distribution as it is, draws alike in pieces and on several threads,
and holds entries, are the contracts of ``test_gibbs.py`` and ``test_samplers.py``.
"""

import exact
import numpy as np
import pytest
import reference
from conftest import FIVE_SIGMA, random_model, random_states, twin
from scipy import stats
from tempered_models import KINDS, two_modes

import deepgen as dg
from deepgen.inference.mixing import distances, effective_draws, even_places
from deepgen.inference.temperatures import Temperatures, row_dots, usual_temperatures
from deepgen.inference.tempering import NEXT_TO_MODEL
from deepgen.inference.trajectories import interpolated, log_ratio, log_weight
from deepgen.layers.passes import Site
from deepgen.models import Parameters
from deepgen.runtime.stream import SAMPLE
from deepgen.runtime.work import Work

pytestmark = pytest.mark.usefixtures("serial")


def at_rungs(layers, weights, base, betas, n_chains, seed):
    """Chains whose rows are exact draws of the binary model at each rung; float32 by layer."""
    rng, rows = np.random.default_rng(seed), []
    for beta in betas:
        found = tempered_twin(layers, weights, base, beta)
        rows.append(exact.sample(*found, n_chains, rng))
    return [
        np.stack(x, axis=1).reshape(n_chains * len(betas), -1).astype(np.uint8)
        for x in zip(*rows, strict=True)
    ]


def tempered_twin(layers, weights, base, beta):
    """Twin layers and weights of ``(1 - beta) base + beta own`` of a binary model."""
    biases = [base, *[np.zeros(layer.size) for layer in layers[1:]]]
    tempered = [
        reference.Layer("binary", (1 - beta) * b + beta * layer.bias)
        for b, layer in zip(biases, layers, strict=True)
    ]
    return tempered, [beta * w for w in weights]


def assert_rung(layers, weights, states):
    """Fail where joint states of independent chains are not those of a model: chi-square."""
    p = exact.enumerate_states(layers, weights).probabilities
    counts = np.bincount(exact.joint_index(layers, states), minlength=len(p))
    expected = p * counts.sum()
    rare = expected < 10
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    found = stats.chisquare(counts, expected)
    assert found.pvalue > 1e-6, found


# ---------------------------------------------------------------------------------- log ratios


@pytest.mark.parametrize("case", KINDS, ids=lambda case: "-".join(case[0]))
@pytest.mark.parametrize("held", [None, 0, 1])
def test_log_ratios_are_those_of_the_twin(case, held):
    """Catches a base that is left out, a precision that is scaled twice, a held layer that is
    summed out: swaps would be right for another model."""
    model = random_model(case[0], 5, case[1])
    layers, weights = twin(model)
    rng, n_rows = np.random.default_rng(5), 30
    states = [random_states(units, n_rows, rng, missing=False) for units in model.layers]
    base = model.layers[0].replace(bias=rng.normal(size=model.layers[0].size))
    sampler = dg.ParallelTempering(3, base=base)
    chains = sampler.start(model, dg.Particles([x[::3] for x in states]), Site(dg.Stream(0), 5))
    chains.particles = dg.Particles(states)
    context = dg.Context()
    if held is not None:
        context = dg.Context(held={held: np.ones(states[held].shape, bool)})
    path = Temperatures.around(model, chains, context, Work())
    old, new = rng.random((2, n_rows)).astype(np.float32)
    found = path.gain(states, path.fields(states), old, new)
    of_base = twin(model.replace(layers=[base, *model.layers[1:]]))[0]
    for layer in of_base[1:]:
        layer.bias = np.zeros(layer.size)

    def expected(beta):
        if held == 1:
            return joint_log_weight(layers, weights, of_base, states, beta)
        return reference.annealed_log_weight(layers, weights, of_base, states, beta)

    difference = expected(new.astype(np.float64)) - expected(old.astype(np.float64))
    np.testing.assert_allclose(found, difference, atol=2e-4)


def joint_log_weight(layers, weights, base, states, beta):
    """Log weight of states of all odd layers joined with the even ones, by row."""
    x = [reference.float64(state) for state in states]
    total = np.zeros(len(x[0]))
    for l, (layer, flat) in enumerate(zip(layers, base, strict=True)):
        own = reference.layer_log_weight(layer, x[l])
        measure = reference.log_base_measure(layer, x[l])
        ground = reference.layer_log_weight(flat, x[l])
        total += beta * (own - measure) + (1 - beta) * (ground - measure) + measure
    for l, matrix in enumerate(weights):
        total += beta * ((x[l] @ matrix) * x[l + 1]).sum(axis=1)
    return total


def test_weights_of_a_model_are_minus_its_free_energy():
    """Catches a ladder of models that judges its swaps by another function than the likelihood."""
    model = random_model(("binary", "binary"), 2, (7, 5))
    states = [random_states(u, 20, np.random.default_rng(0)) for u in model.layers]
    found = log_weight(model, states)
    np.testing.assert_allclose(found, -dg.free_energy(model, states[0]), atol=1e-5)


@pytest.mark.parametrize("case", [*KINDS, (("multinomial", "binary"), (5, 3))],
                         ids=lambda case: "-".join(case[0]))  # fmt: skip
@pytest.mark.parametrize("holds", [False, True])
def test_log_ratios_are_differences_of_log_weights(case, holds):
    """Catches even layers whose precisions, lengths of documents, or temperatures of rows are
    forgotten where only the difference of two models is computed, and odd layers with held entries
    that are summed out."""
    rng = np.random.default_rng(0)
    one, other = (random_model(case[0], seed, case[1]) for seed in (2, 3))
    if one.layers[0].precision is not None:
        log_precision = rng.normal(size=case[1][0])
        other = other.replace(
            layers=[other.layers[0].replace(log_precision=log_precision), *other.layers[1:]]
        )
    states = [random_states(u, 9, rng) for u in one.layers]
    held = {1: rng.random((9, case[1][1])) < 0.5} if holds else {}
    context = dg.Context(beta=rng.random(9).astype(np.float32), held=held)
    for around in (context, dg.Context(held=held)):
        expected = log_weight(one, states, context=around)
        expected -= log_weight(other, states, context=around)
        found = log_ratio(one, other, states, context=around)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


def test_log_ratios_follow_a_model_that_learns():
    """Catches biases of the start of a run, where rungs swap with a model that has moved on."""
    one, other = (random_model(("gaussian", "binary"), seed, (4, 3)) for seed in (2, 3))
    states = [random_states(u, 9, np.random.default_rng(0)) for u in one.layers]
    learning = Parameters(one)
    learning.biases[0] += 1.0
    found = log_ratio(learning, other, states)
    expected = log_weight(learning, states) - log_weight(other, states)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)
    assert np.abs(found - log_ratio(one, other, states)).max() > 0.1


@pytest.mark.parametrize("n_columns", [3, 700])
def test_dots_of_rows_do_not_depend_on_their_place(n_columns):
    """Catches sums whose rounding depends on how rows are cut: pieces would take other swaps."""
    rng = np.random.default_rng(0)
    x, y = rng.random((100, n_columns)), rng.normal(size=n_columns).astype(np.float32)
    whole = row_dots(x.astype(np.float32), y)
    np.testing.assert_allclose(whole, x @ y, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(row_dots(x[37:61].astype(np.float32), y), whole[37:61])


# ------------------------------------------------------------------------------------- ladders


@pytest.mark.parametrize("sizes", [(6, 4), (4, 3, 3)])
def test_every_rung_keeps_its_own_distribution(sizes):
    """Catches swaps that are right at the model alone, and rows that are counted at a wrong
    rung: chi-square of all joint states against enumeration, 6-4 and K = 4."""
    model = random_model(("binary",) * len(sizes), 3, sizes, scale=1.5)
    layers, weights = twin(model)
    base = np.random.default_rng(1).normal(size=sizes[0]).astype(np.float32)
    sampler = dg.ParallelTempering(4, base=dg.Binary(bias=base))
    betas, n_chains, site = sampler.rungs(), 8_000, Site(dg.Stream(4), SAMPLE)
    chains = sampler.start(model, dg.Particles([np.zeros((n_chains, s)) for s in sizes]), site)
    chains.particles = dg.Particles(at_rungs(layers, weights, base, betas, n_chains, 0))
    info = sampler.move(model, chains, site, n_sweeps=6)
    for beta in betas:
        rows = chains.beta == beta
        assert rows.sum() == n_chains
        at_rung = tempered_twin(layers, weights, base, float(beta))
        assert_rung(*at_rung, [x[rows] for x in chains.particles.states])
    assert (info.diagnostics["swap_rate"] > 0.2).all()


def test_every_model_of_a_ladder_keeps_its_own_distribution():
    """Catches swaps by the ratio upside down, and rows that go back to another model's place."""
    model = random_model(("binary", "binary"), 3, (6, 4), scale=1.5)
    first = dg.independent(model)
    sampler = dg.TrajectoryTempering([first, interpolated(first, model, 0.5)])
    rungs, n_chains, site = sampler.ladder(model), 8_000, Site(dg.Stream(4), SAMPLE)
    rng = np.random.default_rng(0)
    draws = [exact.sample(*twin(m), n_chains, rng) for m in rungs]
    states = [
        np.stack(x, axis=1).reshape(3 * n_chains, -1).astype(np.uint8)
        for x in zip(*draws, strict=True)
    ]
    chains = sampler.start(model, dg.Particles([x[::3] for x in states]), site)
    chains.particles = dg.Particles(states)
    chains.further["has_climbed"][:] = 1  # the rungs are where they should be
    sampler.move(model, chains, site, n_sweeps=6)
    for rung, own in enumerate(rungs):
        assert_rung(*twin(own), [x[rung::3] for x in chains.particles.states])


def test_wandering_rows_keep_the_distribution_of_their_weights():
    """Catches a move between rungs by the weights upside down, an exchange of rows that are not at
    one temperature, weights that still adapt: with any weights w that stay, rung and states are
    distributed as ``p*_k(x) e^(-w_k)`` beside rows of the model, and after an exchange too."""
    sizes, n_chains = (4, 3), 20_000
    model = random_model(("binary", "binary"), 3, sizes, scale=1.5)
    layers, weights = twin(model)
    base = np.random.default_rng(1).normal(size=4).astype(np.float32)
    sampler, site = dg.CoupledTempering(3, base=dg.Binary(bias=base)), Site(dg.Stream(4), SAMPLE)
    betas, rng = sampler.rungs(), np.random.default_rng(0)
    twins = [tempered_twin(layers, weights, base, float(beta)) for beta in betas]
    log_z = np.array([exact.enumerate_states(*pair).log_partition for pair in twins])
    log_weights = log_z + np.array([0.3, -0.5, 0.4])
    p = np.exp(log_z - log_weights)
    rung = rng.choice(3, n_chains, p=p / p.sum())
    first = exact.sample(layers, weights, n_chains, rng)
    draws = [exact.sample(*pair, n_chains, rng) for pair in twins]
    second = [np.choose(rung[:, None], [x[l] for x in draws]) for l in range(2)]
    chains = sampler.start(model, dg.Particles([x.astype(np.uint8) for x in first]), site)
    chains.particles = dg.Particles([
        np.stack(rows, axis=1).reshape(2 * n_chains, -1).astype(np.uint8)
        for rows in zip(first, second, strict=True)
    ])  # fmt: skip
    chains.beta = np.stack([np.ones(n_chains, np.float32), betas[rung]], axis=1).ravel()
    chains.further.update(
        rung=rung, log_weights=np.tile(log_weights, (n_chains, 1)),
        is_settled=np.ones(n_chains, np.uint8),
    )  # fmt: skip
    info = sampler.move(model, chains, site, n_sweeps=5)
    assert info.diagnostics["exchanges"].sum() > n_chains
    np.testing.assert_array_equal(chains.further["log_weights"][0], log_weights)
    assert_rung(layers, weights, list(chains.at_model().states))
    others = [x[chains.beta != 1.0] for x in chains.particles.states]
    rung = chains.further["rung"]
    assert stats.chisquare(np.bincount(rung), n_chains * p / p.sum()).pvalue > 1e-6
    for k, pair in enumerate(twins):
        assert_rung(*pair, [x[rung == k] for x in others])


def test_weights_of_wandering_rows_adapt_before_the_first_sweep_and_while_a_model_learns():
    """Catches chains that change places while weights adapt, which moves the distribution of the
    model; and weights that stay where the models of a run have left them."""
    model = random_model(("binary", "binary"), 3, (6, 4))
    sampler, site = dg.CoupledTempering(3, n_settling=20), Site(dg.Stream(0), SAMPLE)
    particles = dg.Particles([np.zeros((7, 6)), np.zeros((7, 4))])
    for own, adapts in ((model, False), (Parameters(model), True)):
        chains = sampler.start(own, particles, site)
        first = chains.further["log_weights"]
        sampler.move(own, chains, site)
        settled = chains.further["log_weights"]
        assert (settled.max(axis=1) > first.max(axis=1)).all()
        sampler.move(own, chains, site.of_sweep(1), n_sweeps=3)
        later = chains.further["log_weights"]
        assert (later.sum(axis=1) > settled.sum(axis=1)).all() == adapts
        assert adapts or np.array_equal(later, settled)


@pytest.mark.parametrize("beta", [0.6, 2.0])
def test_temperatures_of_rows_and_of_rungs_multiply(beta):
    """Catches a base that stays in where a row has a temperature of its own: its rows would be
    those of another model."""
    model = random_model(("binary", "binary"), 3, (4, 3))
    layers, weights = twin(model)
    n_chains, sampler, site = 8_000, dg.ParallelTempering(3), Site(dg.Stream(4), SAMPLE)
    own = ([reference.Layer("binary", beta * layer.bias) for layer in layers],
           [beta * w for w in weights])  # fmt: skip
    start = exact.sample(*own, n_chains, np.random.default_rng(0))
    chains = sampler.start(model, dg.Particles([x.astype(np.uint8) for x in start]), site)
    context = dg.Context(beta=np.full(n_chains, beta))
    sampler.move(model, chains, site, n_sweeps=30, context=context)
    assert_rung(*own, list(chains.at_model().states))


def test_counts_of_a_ladder_are_those_of_its_swaps():
    """Catches rates over offers that were never made, and round trips that count a way once up
    and once down."""
    model = random_model(("binary", "binary"), 3, (4, 3), scale=0.0)
    sampler, site = dg.ParallelTempering(2), Site(dg.Stream(0), SAMPLE)
    chains = sampler.start(model, dg.Particles([np.zeros((5, 4)), np.zeros((5, 3))]), site)
    chains.further["base bias"] = np.array(model.layers[0].bias)
    model = model.replace(layers=[model.layers[0], dg.Binary(3)])
    info = sampler.move(model, chains, site, n_sweeps=8)
    # both rungs are one model: each offer is taken, at every second turn
    np.testing.assert_array_equal(info.diagnostics["swap_rate"], [1.0])
    np.testing.assert_array_equal(chains.further["offered"], [20])
    np.testing.assert_array_equal(info.diagnostics["round_trips"], [3] * 5)


def test_a_run_of_a_ladder_goes_on_from_its_tree():
    """Catches counts, places or a base that a checkpoint forgets: the next sweeps would differ."""
    model = random_model(("binary", "binary"), 3, (6, 4))
    particles = dg.Particles([np.zeros((7, 6)), np.zeros((7, 4))])
    site = Site(dg.Stream(0), SAMPLE)
    for sampler in (
        dg.ParallelTempering(4), dg.TemperedTransitions(4), dg.CoupledTempering(4),
        dg.TrajectoryTempering([dg.independent(model)]),
    ):  # fmt: skip
        one = sampler.start(model, particles, site)
        sampler.move(model, one, site, n_sweeps=3)
        other = dg.Chains.from_tree(one.tree())
        for chains in (one, other):
            sampler.move(model, chains, site.of_sweep(3), n_sweeps=3)
        np.testing.assert_equal(other.tree(), one.tree())


# -------------------------------------------------------------------------------------- mixing


def test_effective_draws_are_those_of_the_means_of_chains():
    """Catches a report that praises chains which stay where they began."""
    rng = np.random.default_rng(0)
    independent = rng.normal(size=(400, 200))
    found = effective_draws(independent)
    assert abs(found / independent.size - 1.0) < FIVE_SIGMA * np.sqrt(2 / 200)
    stuck = np.repeat(rng.normal(size=(1, 200)), 400, axis=0)
    assert effective_draws(stuck) == pytest.approx(199.0)
    assert effective_draws(np.ones((5, 3))) == 3.0


def test_parallel_tempering_mixes_better_than_gibbs_on_two_modes():
    """Catches diagnostics that cannot tell a stuck sampler from one that moves."""
    field = 3.0 * np.where(np.arange(20) % 2, 1.0, -1.0)
    model = dg.BoltzmannMachine([dg.Binary(bias=-field / 2), dg.Binary(1)], [field[:, None]])

    def mode(particles):
        return particles[1][:, 0]

    options = {"statistic": mode, "n_sweeps": 200, "random_state": 0}
    gibbs = dg.mixing(model, **options)
    ladder = dg.mixing(model, dg.ParallelTempering(6), **options)
    assert gibbs.n_effective < 60 < 5 * gibbs.n_effective < ladder.n_effective
    assert ladder.values.shape == (150, 50)
    assert set(ladder.diagnostics) == {"swap_rate", "round_trips"}
    assert dg.mixing(model, n_sweeps=20, random_state=0).n_draws == 750


def test_rungs_are_placed_for_rates_that_are_neither_low_nor_high():
    """Catches rungs that bunch where nothing happens, and gaps that no chain crosses."""
    model = random_model(("binary", "binary"), 3, (40, 30), scale=0.6)
    for first in (2, 25):
        found = dg.placed_rungs(model, dg.ParallelTempering(first), random_state=0)
        assert found.rungs()[0] == 1.0
        assert found.rungs()[-1] == 0.0
        report = dg.mixing(model, found, n_sweeps=400, random_state=1)
        rates = report.diagnostics["swap_rate"]
        assert rates.min() > 0.15
        assert rates.max() < 0.6 or len(rates) == 1
    ladder = dg.TrajectoryTempering([model])
    found = dg.placed_rungs(model, ladder, random_state=0)
    assert not found.models[0].weights[0].any()
    rates = dg.mixing(model, found, n_sweeps=400, random_state=1).diagnostics["swap_rate"]
    assert rates.min() > 0.15


def test_places_of_rungs_follow_distances():
    """Catches rungs that are put by rates themselves, which do not add up."""
    rate = 0.35
    even = even_places(np.full(4, rate))
    np.testing.assert_allclose(even, np.arange(5), atol=1e-9)
    assert distances(np.array([rate]))[0] == pytest.approx(1.3217, abs=1e-3)
    places = even_places(np.array([0.9, 0.9, 0.01]))
    assert (places[1:-1] > 2).all()


# ------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dg.ParallelTempering(1), ValueError, "n_rungs must be an integer of at least 2"),
        (lambda: dg.ParallelTempering(betas=(0.9, 0.1)), ValueError, "fall from 1 to 0 or more"),
        (lambda: dg.TemperedTransitions(betas=(1.0, 1.0)), ValueError, "fall from 1 to 0 or more"),
        (lambda: dg.CoupledTempering(betas=(1.0, -0.1)), ValueError, "fall from 1 to 0 or more"),
        (lambda: dg.CoupledTempering(n_settling=1), ValueError, "n_settling must be an integer of"),
        (lambda: dg.ParallelTempering(base=[1.0]), TypeError, "base must be None or Units"),
        (lambda: dg.TrajectoryTempering([]), ValueError, "models must hold at least one machine"),
        (lambda: dg.TrajectoryTempering([3]), TypeError, r"models\[0\] must be a dg.Boltzmann"),
        (lambda: dg.placed_rungs(two_modes(1.0), dg.Gibbs()), TypeError, "which have rungs"),
        (lambda: dg.mixing(two_modes(1.0), statistic=lambda p: p[0], n_sweeps=4), ValueError,
         "statistic must return 50 finite numbers"),
        (lambda: dg.mixing(two_modes(1.0), statistic=3), TypeError, "None or a function from"),
        (lambda: dg.mixing(two_modes(1.0), statistic=lambda p: ["a"] * 50), ValueError,
         "values of statistic must hold real numbers"),
        (lambda: dg.log_partition_by_ladder(two_modes(1.0), dg.ModelLadder()), TypeError,
         r"such as sampler\(\) of a dg.ModelLadder"),
        (lambda: dg.log_partition_by_ladder(two_modes(1.0), dg.Gibbs()), TypeError,
         "ladder must be a dg.TrajectoryTempering"),
    ],
)  # fmt: skip
def test_what_is_no_ladder_is_refused(call, error, message):
    """Catches a ladder that ends elsewhere than at the model, and fails in its first sweep."""
    with pytest.raises(error, match=message):
        call()


def test_models_and_bases_of_other_forms_are_refused():
    """Catches kernels that read beyond a layer."""
    model, other = two_modes(1.0), random_model(("binary", "binary"), 1, (4, 3))
    particles = dg.Particles([np.zeros((2, 60)), np.zeros((2, 1))])
    site = Site(dg.Stream(0), SAMPLE)
    with pytest.raises(ValueError, match=r"models\[1\] must be of the form of models\[0\]"):
        dg.TrajectoryTempering([model, other])
    with pytest.raises(ValueError, match=r"model must be of the form of models\[0\]"):
        dg.TrajectoryTempering([other]).start(model, particles, site)
    with pytest.raises(ValueError, match="base must be like the first layer"):
        dg.ParallelTempering(base=dg.Binary(4)).start(model, particles, site)
    sampler = dg.ParallelTempering(2)
    chains = sampler.start(model, particles, site)
    context = dg.Context(base=(dg.Binary(60), None))
    with pytest.raises(ValueError, match="context must have no base for a sampler"):
        sampler.move(model, chains, site, context=context)
    held = dg.Context(held={1: np.ones((2, 1), bool)})
    sampler = dg.TemperedTransitions(2)
    chains = sampler.start(model, particles, site)
    with pytest.raises(ValueError, match="held must name even layers"):
        sampler.move(model, chains, site, context=held)


def test_samplers_are_told_by_their_numbers():
    """Catches a checkpoint that goes on with another base or another ladder of the same size."""
    one, other = dg.Binary(bias=[0.0, 1.0]), dg.Binary(bias=[0.0, 2.0])
    words = {repr(dg.ParallelTempering(base=base)) for base in (None, one, other)}
    assert len(words) == 3
    assert repr(dg.ParallelTempering(3)) == "ParallelTempering(n_rungs=3)"
    assert repr(dg.CoupledTempering(3, n_settling=9)).endswith("n_rungs=3, n_settling=9)")
    assert "betas=(1.0, 0.5)" in repr(dg.TemperedTransitions(betas=(1.0, 0.5)))
    ladders = [dg.TrajectoryTempering([two_modes(t)]) for t in (1.0, 1.0, 2.0)]
    assert repr(ladders[0]) == repr(ladders[1]) != repr(ladders[2])
    precise = [dg.Gaussian(2, log_precision=[p, 0.0]) for p in (0.0, 1.0)]
    models = [dg.BoltzmannMachine([x, dg.Binary(1)], [np.ones((2, 1))]) for x in precise]
    assert len({repr(dg.TrajectoryTempering([model])) for model in models}) == 2
    assert usual_temperatures(5)[1] == np.float32(np.sqrt(0.75))
    assert dg.CoupledTempering(4).rungs()[0] == NEXT_TO_MODEL < 1.0
