"""Ladders of models: do they find modes that temperature misses, and log Z with them?"""

import exact
import numpy as np
import pytest
import reference
from conftest import FIVE_SIGMA, random_model, twin
from tempered_models import KINDS, ladder_to, modes_of_mass, scaled, two_modes, way_to

import deepgen as dg
from deepgen.inference.trajectories import drawn_by_weight, interpolated, row_distance
from deepgen.layers.passes import Site
from deepgen.likelihood.ladder import joined
from deepgen.runtime.stream import SAMPLE
from deepgen.runtime.work import Work

pytestmark = pytest.mark.usefixtures("serial")


def tight_share(model, sampler, n_sweeps):
    """Share of 50 chains, all begun in the broad mode, that are in the tight one; by sweep."""
    rng, site = np.random.default_rng(0), Site(dg.Stream(0), SAMPLE)
    particles = dg.Particles(
        [(rng.random((50, 60)) < 0.5).astype(np.uint8), np.zeros((50, 1), np.uint8)]
    )
    chains, found = sampler.start(model, particles, site), []
    for number in range(n_sweeps):
        sampler.move(
            model, chains, site.of_sweep(number), n_sweeps=1, means=False, context=None,
            work=Work(),
        )  # fmt: skip
        found.append(chains.at_model()[1].mean())
    return np.array(found)


def test_temperature_frees_chains_from_a_mode_of_its_width():
    """Catches a ladder whose rungs do not know each other: chains begun in one of two modes of
    one width must come to both in equal shares, where Gibbs chains never leave."""
    field = 4.0 * np.where(np.arange(40) % 2, 1.0, -1.0)
    layers = [dg.Binary(bias=-field / 2), dg.Binary(1)]
    model = dg.BoltzmannMachine(layers, [field[:, None]])

    def share(sampler):
        particles = dg.Particles([(np.tile(field < 0, (50, 1))), np.zeros((50, 1), np.uint8)])
        site = Site(dg.Stream(0), SAMPLE)
        chains = sampler.start(model, particles, site)
        found = []
        for number in range(80):
            sampler.move(model, chains, site.of_sweep(10 * number), n_sweeps=10, means=False,
                         context=None, work=Work())  # fmt: skip
            found.append(chains.at_model()[1].mean())
        return np.mean(found[40:])

    assert share(dg.Gibbs()) == 0.0
    for sampler in (
        dg.ParallelTempering(6), dg.TemperedTransitions(12), dg.CoupledTempering(6),
        dg.TrajectoryTempering([scaled(model, s) for s in np.linspace(0, 1, 7)[:-1]]),
    ):  # fmt: skip
        assert abs(share(sampler) - 0.5) < 0.1, sampler


def test_a_ladder_of_models_finds_a_tight_mode_beside_a_broad_one():
    """Catches what temperature cannot do: its chains miss the tight mode without a warning, and
    those along a training must find it. Mass within .45 to .55, log Z within .05."""
    model = two_modes(8.0)
    value = dg.exact_log_partition(model).value
    assert tight_share(model, dg.ParallelTempering(10), 300)[75:].mean() < 0.1
    found = tight_share(model, dg.placed_rungs(model, way_to(8.0), random_state=0), 1_000)
    assert 0.45 < found[250:].mean() < 0.55
    estimate = dg.log_partition_by_ladder(model, way_to(8.0), random_state=0)
    assert estimate.method == "ladder"
    assert abs(estimate.value - value) < 0.05
    assert estimate.lower <= value <= estimate.upper
    silent = dg.ais(model, n_betas=1000, random_state=0)
    assert silent.upper < value - 0.5  # annealing: sure of itself, and half of Z is missing
    bracket = dg.ladder_bracket(model, way_to(8.0), n_betas=300, random_state=0)
    assert bracket.lower <= value <= bracket.upper


@pytest.mark.parametrize(
    ("first", "last", "tightness"),
    [
        pytest.param((0.2,), (0.2,), (8.0,), marks=pytest.mark.slow),
        pytest.param((0.5,), (0.2,), (8.0,), marks=pytest.mark.slow),
        pytest.param((0.5,), (0.8,), (8.0,), marks=pytest.mark.slow),
        ((0.3, 0.3), (0.3, 0.3), (8.0, 4.0)),
    ],
)
def test_a_ladder_finds_modes_of_any_mass(first, last, tightness):
    """Catches rungs that are placed, or begun, for modes of one mass, or for a single tight one:
    masses that stay or change along the ladder, and three modes; log Z within .05."""
    shares = np.linspace(0.0, 1.0, 9)
    masses = [np.array(first) + s * (np.array(last) - first) for s in shares]
    models = [
        modes_of_mass(mass, tightness, s**2) for mass, s in zip(masses, shares, strict=True)
    ]
    found = dg.log_partition_by_ladder(
        models[-1], dg.TrajectoryTempering(models[:-1]), random_state=0
    )
    value = dg.exact_log_partition(models[-1]).value
    assert found.method == "ladder"
    assert abs(found.value - value) < 0.05
    assert found.lower <= value <= found.upper


def test_rungs_begin_at_rows_that_climb():
    """Catches rungs that begin where the first particles are, all in one mode; a way up on which
    a mode that grows tight is lost, as without weights of the rows; and rows of the model that
    move before the first sweep."""
    model, n = two_modes(8.0), 2_000
    ladder = dg.placed_rungs(model, way_to(8.0), random_state=0)
    coins = (np.random.default_rng(0).random((n, 60)) < 0.5).astype(np.uint8)
    particles, site = dg.Particles([coins, np.zeros((n, 1))]), Site(dg.Stream(0), SAMPLE)
    chains = ladder.start(model, particles, site)
    ladder.climb(model, chains, site)
    np.testing.assert_array_equal(chains.particles[0][:: ladder.n_rungs], coins)
    shares = chains.particles[1].reshape(n, -1).mean(axis=0)
    assert abs(shares[-1] - 0.5) < FIVE_SIGMA * np.sqrt(0.25 / n)
    assert shares[0] == 0.0
    assert shares[1] > 0.2  # sweeps alone leave .01 there


def test_rows_are_drawn_by_their_weights():
    """Catches draws that forget the greatest weight, or name a row beyond the last one."""
    rng = np.random.default_rng(0)
    weights, uniform = rng.normal(0, 2, (3, 7)), rng.random((3, 50))
    found = drawn_by_weight(weights, uniform)
    for row in range(3):
        expected = reference.drawn_by_weight(weights[row], uniform[row])
        np.testing.assert_array_equal(found[row], expected)
    far = drawn_by_weight(np.array([[-1e4, 1e4, -np.inf]]), np.array([[1e-12, 0.5, 1.0]]))
    np.testing.assert_array_equal(far, [[1, 1, 1]])


def test_the_distance_of_models_is_that_of_a_mode_of_small_mass():
    """Catches a distance by which nine of ten rows, in a broad mode, outvote those of a tight
    one, whose swaps are refused; with the twin's numbers."""
    rng = np.random.default_rng(0)
    ratios = np.zeros((12, 200))
    ratios[:, :14] = rng.normal(0, 2.0, (12, 14))
    found = row_distance(ratios)
    assert found == pytest.approx(reference.row_distance(ratios))
    assert found > 1.3 > 2.0 * ratios.std()
    apart = np.repeat(rng.normal(0, 3.0, (1, 200)), 12, axis=0)  # rows differ, none moves
    assert row_distance(apart) == pytest.approx(reference.row_distance(apart))
    assert row_distance(apart) > 2.0


# ------------------------------------------------------------------------- log Z by the ladder


@pytest.mark.parametrize("case", KINDS, ids=lambda case: "-".join(case[0]))
def test_log_partition_by_a_ladder_is_the_exact_one(case):
    """Catches ratios of neighbours with the wrong sign, and a base without its own log Z."""
    model = random_model(case[0], 5, case[1])
    first = dg.independent(model)
    ladder = dg.TrajectoryTempering([interpolated(first, model, s) for s in (0.3, 0.7)])
    found = dg.log_partition_by_ladder(model, ladder, random_state=0)
    layers, weights = twin(model)
    value = exact.enumerate_states(layers, weights).log_partition
    error = (found.upper - found.lower) / 6.0
    assert abs(found.value - value) < FIVE_SIGMA * error + 1e-4
    assert error < 0.02
    assert found.reason.startswith("4 rungs, smallest rate of swaps")


def test_a_broken_ladder_says_so():
    """Catches an interval that is narrow where the models do not overlap, all of them or in one
    mode: chains that began in the tight mode cannot leave it, and the others never see it."""
    model = two_modes(30.0)
    options = {"random_state": 0}
    torn = dg.log_partition_by_ladder(model, ladder_to(model), n_sweeps=40, **options)
    assert torn.method == "open ladder"
    model = dg.BoltzmannMachine([dg.Binary(200), dg.Binary(bias=[50.0])], [np.full((200, 1), 9.0)])
    found = dg.log_partition_by_ladder(model, ladder_to(model), n_sweeps=40, **options)
    assert found.method == "open ladder"
    assert (found.lower, found.upper) == (-np.inf, np.inf)
    bracket = dg.LogPartition(3.0, 2.5, 3.5, method="bracket")
    heard = joined(bracket, found)
    assert (heard.lower, heard.upper, heard.method) == (2.5, 3.5, "bracket")
    assert heard.reason.startswith("the ladder of models is broken")


def test_a_bracket_opens_where_a_ladder_contradicts_it():
    """Catches a contradiction that is averaged away, or believed without a word; and the value of
    an open bracket that is preferred to a ladder that holds."""
    bracket = dg.LogPartition(3.0, 2.5, 3.5, method="bracket")
    ladder = dg.LogPartition(4.0, 3.8, 4.2, method="ladder", reason="5 rungs")
    heard = joined(bracket, ladder)
    assert (heard.lower, heard.upper, heard.method) == (2.5, 4.2, "open bracket")
    assert "annealing gives 3.000" in heard.reason
    assert "a mode is missing from one of them" in heard.reason
    agreed = joined(bracket, dg.LogPartition(3.2, 3.1, 3.3, method="ladder"))
    assert (agreed.lower, agreed.upper, agreed.method) == (2.5, 3.5, "bracket")
    unsure = dg.LogPartition(3.0, 2.5, 12.0, method="open bracket")
    found = joined(unsure, ladder)
    assert (found.value, found.lower, found.upper, found.method) == (4.0, 2.5, 12.0, "open bracket")
    assert found.reason.startswith("annealing contradicts itself; the value is that of the ladder")
    sure = dg.LogPartition(3.0, 3.0, 3.0)
    assert joined(sure, ladder) is sure
