"""Mixtures of Bernoullis: kernels against the float64 twin, EM, and what a fitted one answers."""

import json
from itertools import product

import numpy as np
import pytest
import reference
from conftest import (
    FIVE_SIGMA_PROBABILITY,
    THREADS,
    assert_mean,
    assert_same_bits,
    assert_within_errors,
    in_form,
)
from scipy import sparse, stats
from sklearn.exceptions import NotFittedError

import deepgen as dg
from deepgen.cli import main
from deepgen.cli.info import describe_file
from deepgen.inference import mixtures
from deepgen.learning import mixtures as em
from deepgen.learning.mixture_sizes import SIZES as SIZES_OF_RUNS
from deepgen.learning.mixture_sizes import number_of_runs
from deepgen.rows.sources import ArrayRows, IterableRows
from deepgen.rows.states import as_states
from deepgen.rows.sums import products
from deepgen.runtime.stream import Stream

SIZES = [(1, 1), (5, 2), (40, 31), (33, 65), (70, 130)]  # features, components: around 32


def random_mixture(n_features, n_components, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(n_components))
    means = 1.0 / (1.0 + np.exp(rng.normal(0.0, scale, (n_components, n_features))))
    return dg.BernoulliMixture.from_means(weights, means)


def parameters(model):
    """Log weights and logits in float64."""
    return model.log_weights.astype(np.float64), model.logits.astype(np.float64)


def all_states(n):
    return np.array(list(product((0, 1), repeat=n)), np.uint8)


def random_rows(n_rows, n_features, seed=0, density=0.4):
    return (np.random.default_rng(seed).random((n_rows, n_features)) < density).astype(np.uint8)


def planted(n_rows, seed=0):
    """Rows of three clear groups, and their groups."""
    rng = np.random.default_rng(seed)
    means = np.full((3, 30), 0.1)
    for k in range(3):
        means[k, 10 * k : 10 * k + 10] = 0.9
    labels = rng.choice(3, n_rows, p=(0.5, 0.3, 0.2))
    return (rng.random((n_rows, 30)) < means[labels]).astype(np.uint8), labels, means


# ---------------------------------------------------------------------------------- the E-step


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("form", ["bytes", "floats", "csr"])
def test_posteriors_and_likelihoods_equal_the_twin(size, form, backend):
    """Catches a constant that leaves out a pixel that is off, or a softmax over wrong columns."""
    model, x = random_mixture(*size), random_rows(37, size[0])
    states = as_states(in_form(x, form))
    joint = reference.mixture_log_joint(*parameters(model), x)
    found = mixtures.log_likelihood(model, states)
    np.testing.assert_allclose(found, reference.log_sum_exp(joint), rtol=2e-6, atol=2e-5)
    found = mixtures.responsibilities(model, states)
    expected = reference.responsibilities(*parameters(model), x)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("n_components", [1, 2, 40])
def test_probabilities_of_all_states_sum_to_one(n_components):
    """Catches a likelihood that is not normalized."""
    fitted = dg.MixtureOfBernoullis.from_model(random_mixture(8, n_components, seed=1))
    total = np.exp(fitted.score_samples(all_states(8))).sum()
    assert total == pytest.approx(1.0, abs=1e-5)


def test_it_is_a_boltzmann_machine_with_log_z_zero():
    """Catches a parametrization that is not the softmax-hidden RBM of the formulas page."""
    model, x = random_mixture(6, 4, seed=2), all_states(6)
    machine = dg.BoltzmannMachine(
        [dg.Binary(6), dg.Softmax(4, bias=model.constants)], [model.logits]
    )
    assert dg.exact_log_partition(machine).value == pytest.approx(0.0, abs=1e-5)
    np.testing.assert_allclose(
        -dg.free_energy(machine, x), mixtures.log_likelihood(model, x), atol=1e-5
    )


def test_grey_values_are_a_lower_bound_over_their_bits():
    """Catches a treatment of grey values other than the one that the formulas page states."""
    model, grey = random_mixture(6, 3, seed=3, scale=2.0), np.random.default_rng(0).random((5, 6))
    bits = all_states(6)
    chance = np.exp(np.log(grey) @ bits.T + np.log1p(-grey) @ (1 - bits).T)
    bound = mixtures.log_likelihood(model, grey.astype(np.float32))
    joint = reference.mixture_log_joint(*parameters(model), grey)
    np.testing.assert_allclose(bound, reference.log_sum_exp(joint), atol=1e-5)
    assert (bound < chance @ mixtures.log_likelihood(model, bits)).all()


# ---------------------------------------------------------------------------------- the M-step


def prior_of(x, strength):
    """The prior for rows of zeros and ones."""
    moments = len(x), x.mean(axis=0), x.var(axis=0)
    return em.Prior.of_rows(dg.Binary(x.shape[1]), moments, strength)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("form", ["bytes", "floats", "csr"])
def test_one_iteration_equals_the_twin(size, form, backend, monkeypatch):
    """Catches sums that lose a piece of rows, or a prior on the wrong side of a fraction."""
    monkeypatch.setattr(em, "CHUNK", 16)
    model, x = random_mixture(*size, seed=4), random_rows(53, size[0], seed=5)
    prior = prior_of(x, 0.7)
    found = em.expectation(model, ArrayRows(in_form(x, form)))
    r = reference.responsibilities(*parameters(model), x)
    np.testing.assert_allclose(found.counts, r.sum(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.sums, x.T @ r, rtol=1e-5, atol=1e-5)
    assert found.n_rows == 53
    density = found.log_likelihood + prior.log_density(model)
    expected = reference.mixture_log_posterior(*parameters(model), x, prior.mean, 0.7)
    assert density == pytest.approx(expected, rel=2e-6)
    log_weights, logits = reference.em_step(*parameters(model), x, prior.mean, 0.7)
    after = em.maximization(found, prior)
    np.testing.assert_allclose(after.log_weights, log_weights, atol=2e-5)
    np.testing.assert_allclose(after.logits, logits, atol=2e-4)


@pytest.mark.parametrize("n_rows", [0, 1, 7, 1030])
def test_products_have_the_same_bits_from_either_side(n_rows, backend):
    """Catches a choice of the sparser side that changes a result."""
    rng = np.random.default_rng(6)
    x = random_rows(n_rows, 45, seed=7)
    y = rng.random((n_rows, 70)).astype(np.float32)
    sparser = y * (rng.random(y.shape) < 0.05)
    for other in (y, sparser):
        found = np.ascontiguousarray(products(x, other))
        assert_same_bits(found, np.ascontiguousarray(products(other, x).T))
        expected = x.T.astype(np.float64) @ other
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_m_step_is_a_stationary_point():
    """Catches a formula that is not the mode: the gradient of the expected log posterior is 0."""
    model, x = random_mixture(5, 3, seed=8), random_rows(40, 5, seed=9).astype(np.float64)
    log_weights, logits = parameters(model)
    prior_mean, strength = np.full(5, 0.3), 1.7
    r = reference.responsibilities(log_weights, logits, x)

    def expected_log_posterior(u, logits):
        own = u - reference.log_sum_exp(u)
        joint = reference.mixture_log_joint(own, logits, np.vstack([x, prior_mean]))
        return (r * joint[:-1]).sum() + strength * joint[-1].sum()

    best = reference.em_step(log_weights, logits, x, prior_mean, strength)
    h = 1e-5
    for number in (0, 1):
        for index in np.ndindex(best[number].shape):
            sides = []
            for sign in (h, -h):
                moved = [part.copy() for part in best]
                moved[number][index] += sign
                sides.append(expected_log_posterior(*moved))
            assert (sides[0] - sides[1]) / (2 * h) == pytest.approx(0.0, abs=1e-5)


def test_a_component_without_rows_stays_finite():
    """Catches 0 / 0 where nobody takes responsibility, and log 0 where a pixel is never on."""
    x = np.zeros((20, 6), np.uint8)
    x[:, 0] = 1
    means = np.full((3, 6), 1e-6)
    means[:2, 0] = 1.0 - 1e-6
    means[2] = 1.0 - 1e-6  # far from every row
    model = dg.BernoulliMixture.from_means([0.5, 0.5 - 1e-9, 1e-9], means)
    prior = prior_of(x, 0.5)
    found = em.expectation(model, ArrayRows(x))
    assert found.counts[2] == 0.0
    model = em.maximization(found, prior)
    np.testing.assert_allclose(model.means[2], prior.mean, rtol=1e-5)
    assert model.weights[2] == pytest.approx(0.5 / 21.5)
    assert np.isfinite(mixtures.log_likelihood(model, 1 - x)).all()


# --------------------------------------------------------------------------------------- EM


def test_the_log_posterior_never_falls():
    """Catches an E-step and an M-step of different models; the prior is part of what rises."""
    x = random_rows(300, 20, seed=10)
    prior = prior_of(x, 1.0)
    start = em.starting_mixture(ArrayRows(x), len(x), 7, prior, Stream(0))
    run, exact = em.Run(start), []
    point = parameters(start)
    for entry in em.run_em(run, ArrayRows(x), prior, max_iter=60, tol=0.0):
        exact.append(reference.mixture_log_posterior(*point, x, prior.mean, 1.0) / len(x))
        assert entry["log_posterior"] == pytest.approx(exact[-1], abs=1e-5)
        point = parameters(run.model)
    assert len(exact) > 20
    assert np.diff(exact).min() > -1e-6  # float32 parameters; a step of EM alone is above 0
    twin = [parameters(start)]
    for _ in range(60):
        twin.append(reference.em_step(*twin[-1], x, prior.mean, 1.0))
    values = [reference.mixture_log_posterior(*p, x, prior.mean, 1.0) for p in twin]
    assert np.diff(values).min() > -1e-9
    assert exact[-1] == pytest.approx(values[len(exact) - 1] / len(x), abs=1e-4)


def test_planted_groups_are_found():
    """Catches learning that improves a likelihood and finds nothing."""
    x, labels, means = planted(2_000)
    fitted = dg.MixtureOfBernoullis(3, n_init=4, tol=1e-6, random_state=0).fit(x)
    order = [int(np.argmin(((fitted.model_.means - row) ** 2).sum(axis=1))) for row in means]
    assert sorted(order) == [0, 1, 2]
    counts = np.bincount(labels)
    weights = fitted.model_.weights[order]
    assert_within_errors(weights, (0.5, 0.3, 0.2), np.sqrt(weights * (1 - weights) / len(x)), 5e-3)
    errors = np.sqrt(means * (1 - means) / counts[:, None])
    assert_within_errors(fitted.model_.means[order], means, errors, 5e-3)
    assert (np.argsort(order)[fitted.predict(x)] == labels).mean() > 0.99


def test_one_component_is_independent_columns():
    """Catches smoothing that is counted twice, or other columns than one's own."""
    x = random_rows(200, 12, seed=11)
    fitted = dg.MixtureOfBernoullis(1, random_state=0).fit(x)
    p = (x.mean(axis=0) * 200 + 0.5) / 201
    p = (x.sum(axis=0) + p) / 201  # smoothing of one pseudo-row
    expected = (x * np.log(p) + (1 - x) * np.log1p(-p)).sum(axis=1)
    np.testing.assert_allclose(fitted.score_samples(x), expected, atol=1e-5)
    assert fitted.converged_
    assert fitted.n_iter_ == len(fitted.history_) <= 3


def test_the_best_of_several_starts_is_kept():
    """Catches restarts that keep the last run, or all from one start."""
    x, _, _ = planted(300, seed=1)
    rows, ends = ArrayRows(x), []
    prior = prior_of(x, 1.0)
    for number in range(5):
        stream = Stream.from_random_state(7).child(number)
        run = em.Run(em.starting_mixture(rows, len(x), 4, prior, stream))
        list(em.run_em(run, rows, prior, max_iter=15, tol=1e-3))
        ends.append(run.log_posterior)
    kept = dg.MixtureOfBernoullis(4, n_init=5, max_iter=15, random_state=7).fit(x)
    assert len(set(ends)) > 1
    assert kept.history_[-1]["log_posterior"] == max(ends)


def test_joined_runs_average_their_densities():
    """Catches weights that are not divided, or components of one run that are lost."""
    x = planted(200)[0]
    models = [dg.MixtureOfBernoullis(k, random_state=k).fit(x).model_ for k in (2, 3, 5)]
    one = em.joined([em.Run(model, True, [{"iteration": 1}]) for model in models])
    expected = np.mean([np.exp(mixtures.log_likelihood(model, x)) for model in models], axis=0)
    np.testing.assert_allclose(np.exp(mixtures.log_likelihood(one.model, x)), expected, rtol=1e-5)
    assert one.converged
    assert len(one.history) == 3


def test_with_nothing_set_runs_are_joined():
    """Catches one run alone, which is behind: the average of densities is ahead of runs on
    average, on rows that none has seen too (Jensen)."""
    x = random_rows(400, 12, density=0.5) | np.repeat(random_rows(400, 4, seed=1), 3, axis=1)
    train, held = x[:120], x[120:]
    chosen = dg.MixtureOfBernoullis(random_state=0).fit(train)
    size = next(k for k in SIZES_OF_RUNS if k * number_of_runs(k) == chosen.n_components_)
    assert size > 1
    assert len(chosen.history_) == chosen.n_iter_
    assert chosen.predict_proba(held).shape == (280, chosen.n_components_)
    single = [dg.MixtureOfBernoullis(size, random_state=s).fit(train).score(held) for s in range(9)]
    assert chosen.score(held) > np.mean(single)


def test_the_best_size_is_taken_not_the_fewest_components_near_it():
    """Catches six components a run for nine planted ones, because they are within a standard
    error of the best: with tables and their holes that lost on average (docs/decisions.md)."""
    rng = np.random.default_rng(0)
    centres = rng.random((9, 12)) < 0.5
    x = centres[rng.integers(9, size=200)] ^ (rng.random((200, 12)) < 0.15)
    chosen = dg.MixtureOfBernoullis(random_state=0).fit(x)
    assert chosen.n_components_ == 12 * number_of_runs(12)


def test_hidden_values_choose_the_size_where_rows_have_holes():
    """Catches a choice by the likelihood of one-hot columns, which asks for more and more
    components to learn that one of them is on; a completion is asked for the whole variable."""
    rng = np.random.default_rng(0)
    group, kinds = rng.integers(0, 3, 240), rng.integers(0, 3, (240, 8))
    kinds = np.where(rng.random(kinds.shape) < 0.7, group[:, None], kinds)
    x = np.eye(3)[kinds].reshape(240, 24)
    holes = np.where(np.repeat(rng.random((240, 8)) < 0.2, 3, axis=1), np.nan, x)
    by_values, by_rows = (dg.MixtureOfBernoullis(random_state=0).fit(rows) for rows in (holes, x))
    assert 1 < by_values.n_components_ <= 6 * number_of_runs(6) < by_rows.n_components_
    one_row = np.where(np.arange(240)[:, None] == 7, holes, x)  # too few holes to tell anything
    few = dg.MixtureOfBernoullis(random_state=0).fit(one_row)
    assert few.n_components_ == by_rows.n_components_


def test_an_interrupted_run_keeps_its_last_whole_iteration():
    """Catches a model of half an iteration after Ctrl-C."""
    x = random_rows(50, 6)
    prior = prior_of(x, 1.0)
    start = em.starting_mixture(ArrayRows(x), len(x), 3, prior, Stream(0))
    whole, run, calls = em.Run(start), em.Run(start), []

    def check():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    list(em.run_em(whole, ArrayRows(x), prior, max_iter=2, tol=0.0))
    with pytest.raises(KeyboardInterrupt):
        list(em.run_em(run, ArrayRows(x), prior, max_iter=9, tol=0.0, check=check))
    assert_same_bits(run.model.logits, whole.model.logits)


def test_more_components_than_rows():
    """Catches a start that needs as many rows as components."""
    x = random_rows(5, 4)
    fitted = dg.MixtureOfBernoullis(12, random_state=0).fit(x)
    assert np.isfinite(fitted.score(x))


# ----------------------------------------------------------------------------- the same bits


def test_same_bits_for_any_number_of_threads(threaded, monkeypatch):
    """Catches a sum that crosses threads."""
    monkeypatch.setattr(em, "CHUNK", 300)
    x = random_rows(700, 50, seed=12)
    holes = random_rows(700, 50, seed=13).astype(bool)
    found = []
    for n_threads in THREADS:
        fitted = dg.MixtureOfBernoullis(
            40, max_iter=4, random_state=0, n_threads=n_threads
        ).fit(x)  # fmt: skip
        found.append([
            fitted.model_.logits, fitted.score_samples(x), fitted.transform(x),
            fitted.sample(90, random_state=1),
            *fitted.impute(x, holes, return_std=True),
            fitted.impute(x, holes, method="draw", random_state=2),
        ])  # fmt: skip
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert_same_bits(one, two)


def test_same_bits_for_any_cut_of_the_rows(monkeypatch):
    """Catches a row whose value depends on its company, and pieces that share random numbers."""
    x, holes = random_rows(150, 21, seed=14), random_rows(150, 21, seed=15).astype(bool)
    fitted = dg.MixtureOfBernoullis.from_model(random_mixture(21, 9, seed=16))
    for method in (fitted.score_samples, fitted.transform):
        parts = [method(x[a:b]) for a, b in ((0, 1), (1, 130), (130, 150))]
        assert_same_bits(np.concatenate(parts), method(x))
    options = {"method": "draw", "random_state": 3}
    whole = fitted.impute(x, holes, **options)
    for chunk in (7, mixtures.CHUNK):
        monkeypatch.setattr(mixtures, "CHUNK", chunk)
        cut = [
            fitted.impute(x[a:b], holes[a:b], first_row=a, **options)
            for a, b in ((0, 40), (40, 150))
        ]
        assert_same_bits(np.concatenate(cut), whole)
        cut = [fitted.sample(n, random_state=4, first_row=a) for a, n in ((0, 11), (11, 89))]
        assert_same_bits(np.concatenate(cut), fitted.sample(100, random_state=4))


def test_forms_and_batches_of_the_same_rows_give_the_same_bits(monkeypatch):
    """Catches an iterable whose own cuts, or a matrix whose zeros, change what is learned."""
    monkeypatch.setattr(em, "CHUNK", 64)
    x, found = random_rows(200, 18, seed=17), []
    batches = [x[:7], x[7:150], x[150:]]
    for rows in (x, x.astype(bool), x.astype(np.float64), in_form(x, "csr"), batches):
        if isinstance(rows, list):
            rows = type("Batches", (), {"__iter__": lambda self: iter(batches)})()
        fitted = dg.MixtureOfBernoullis(5, max_iter=3, random_state=0).fit(rows)
        found.append(fitted.model_.logits)
    for other in found[1:]:
        assert_same_bits(found[0], other)
    for rows in (ArrayRows(x), IterableRows(batches)):
        assert [batch.n_rows for batch in rows.in_order(64)] == [64, 64, 64, 8]


# ------------------------------------------------------------------------ samples, completions


def test_samples_have_the_probabilities_of_the_model():
    """Catches components drawn with wrong weights, or pixels of another component."""
    model, states = random_mixture(4, 3, seed=18, scale=2.0), all_states(4)
    draws = mixtures.sample_mixture(model, 20_000, random_state=0)
    assert draws.dtype == np.uint8
    found = np.bincount(draws @ (8, 4, 2, 1), minlength=16)
    expected = 20_000 * np.exp(mixtures.log_likelihood(model, states))
    assert stats.chisquare(found, expected, sum_check=False).pvalue > FIVE_SIGMA_PROBABILITY


@pytest.mark.parametrize("pattern", [(), (0, 3), (1, 2, 3, 4), (0, 1, 2, 3, 4)])
def test_completions_equal_enumeration(pattern):
    """Catches a posterior that counts missing pixels as zeros."""
    model = random_mixture(5, 3, seed=19, scale=2.0)
    fitted, states = dg.MixtureOfBernoullis.from_model(model), all_states(5)
    x, missing = np.array([[1.0, 0.0, 1.0, 1.0, 0.0]]), np.zeros((1, 5), bool)
    missing[:, list(pattern)] = True
    p = np.exp(mixtures.log_likelihood(model, states))
    p = p * (states[:, ~missing[0]] == x[:, ~missing[0]]).all(axis=1)
    mean = p @ states / p.sum()
    holes = np.where(missing, np.nan, x)
    completed, deviation = fitted.impute(holes, return_std=True)
    np.testing.assert_allclose(completed[0], mean, atol=1e-5)
    np.testing.assert_allclose(deviation[0], np.sqrt(mean * (1 - mean)), atol=1e-2)
    assert (completed[~missing] == x[~missing]).all()
    assert (deviation[~missing] == 0).all()
    many = np.repeat(holes, 4_000, axis=0)
    draws = fitted.impute(many, method="draw", random_state=0)
    assert_mean(draws, mean, rounding=1e-4)
    if len(pattern) == 5:  # joint draws, not one pixel at a time
        cross = (draws[:, 0] * draws[:, 1])[:, None]
        assert_mean(cross, p @ (states[:, 0] * states[:, 1]) / p.sum(), rounding=1e-4)


def test_completion_keeps_dtype_and_no_rows():
    """Catches float64 rows that come back rounded, and a failure on no rows."""
    fitted = dg.MixtureOfBernoullis.from_model(random_mixture(3, 2))
    assert fitted.impute(np.array([[np.nan, 1.0, 0.1]])).dtype == np.float64
    assert fitted.impute(np.array([[np.nan, 1.0, 0.1]]))[0, 2] == 0.1
    assert fitted.impute(np.zeros((0, 3))).shape == (0, 3)
    assert fitted.sample(0).shape == (0, 3)


# ------------------------------------------------------------------------------------ criteria


def twin_scores(means, weights, x):
    """log p(x) of each row, a product at a time, in float64."""
    each = np.where(x[:, None, :] == 1, means, 1.0 - means)
    return np.log(each.prod(axis=2) @ weights)


@pytest.mark.parametrize("size", [(1, 1), (4, 1), (1, 3), (5, 3)], ids=str)
def test_criteria_equal_a_direct_computation(size):
    """Catches bits for nats, a sign, a mean for a sum, and a parameter too many: of K weights
    K - 1 are free."""
    (n_features, n_components), x = size, random_rows(37, size[0], seed=20)
    model = random_mixture(n_features, n_components, seed=21)
    fitted = dg.MixtureOfBernoullis.from_model(model)
    total = twin_scores(model.means.astype(np.float64), model.weights.astype(np.float64), x).sum()
    n_free = {(1, 1): 1, (4, 1): 4, (1, 3): 5, (5, 3): 17}[size]
    assert fitted.aic(x) == pytest.approx(2 * n_free - 2 * total, rel=1e-5)
    assert fitted.bic(x) == pytest.approx(n_free * np.log(37) - 2 * total, rel=1e-5)
    assert fitted.bic(x) - fitted.aic(x) == pytest.approx(n_free * (np.log(37) - 2), abs=1e-9)
    assert fitted.bic(sparse.csr_array(x)) == pytest.approx(fitted.bic(x), rel=1e-6)


def test_criteria_over_all_states_are_an_entropy():
    """Catches a likelihood that is not the model's: over rows drawn in proportion to the model,
    each state as often as it is likely, -log p(X) is n times the model's entropy."""
    fitted = dg.MixtureOfBernoullis.from_model(
        dg.BernoulliMixture.from_means([0.5, 0.5], [[0.25, 0.5], [0.75, 0.5]])
    )
    # p of a first column of 1 is (0.25 + 0.75) / 2, so all four states have probability 1 / 4
    x = all_states(2)
    assert fitted.aic(x) == pytest.approx(2 * 5 + 2 * 4 * np.log(4), rel=1e-6)
    assert fitted.bic(x) == pytest.approx(5 * np.log(4) + 2 * 4 * np.log(4), rel=1e-6)


def test_bic_finds_the_number_of_planted_groups():
    """Catches a criterion that is better where it is greater, as `score` is."""
    x, _, _ = planted(600)
    found = [
        dg.MixtureOfBernoullis(k, n_init=3, random_state=0).fit(x).bic(x) for k in (1, 2, 3, 4, 6)
    ]
    assert np.argmin(found) == 2


def test_probabilities_and_labels_are_those_of_the_components():
    """Catches names of scikit-learn's mixtures that mean another thing here."""
    x, labels, _ = planted(300)
    fitted = dg.MixtureOfBernoullis(3, random_state=0)
    found = fitted.fit_predict(x, labels)
    assert found.dtype == np.int64
    assert_same_bits(found, fitted.predict(x))
    assert_same_bits(fitted.predict_proba(x), fitted.transform(x))
    np.testing.assert_array_equal(fitted.predict_proba(x).argmax(axis=1), found)
    again = dg.MixtureOfBernoullis(3, random_state=0).fit(x)
    assert_same_bits(again.model_.logits, fitted.model_.logits)


def test_fit_predict_of_batches_fails_before_the_run():
    """Catches a run whose rows cannot be predicted, which is noticed after it."""

    class Batches:
        def __iter__(self):
            return iter([random_rows(10, 4)])

    fitted = dg.MixtureOfBernoullis(2, random_state=0)
    with pytest.raises(TypeError, match=r"for fit_predict, got Batches; call fit"):
        fitted.fit_predict(Batches())
    assert not hasattr(fitted, "model_")


@pytest.mark.parametrize("name", ["bic", "aic", "predict_proba"])
def test_criteria_of_a_mixture_that_is_not_fitted_are_refused(name):
    """Catches an AttributeError about a private name."""
    with pytest.raises(NotFittedError):
        getattr(dg.MixtureOfBernoullis(2), name)(random_rows(3, 4))


# ------------------------------------------------------------------------------- model and file


def test_a_saved_mixture_has_the_same_bits(tmp_path, capsys):
    """Catches a tensor that is stored in another order, or a loader that knows RBMs only."""
    fitted = dg.MixtureOfBernoullis(4, random_state=0).fit(random_rows(60, 7))
    path = tmp_path / "mixture.safetensors"
    fitted.save(path)
    again, x = dg.load(path), all_states(7)
    assert isinstance(again, dg.MixtureOfBernoullis)
    assert_same_bits(again.model_.log_weights, fitted.model_.log_weights)
    assert_same_bits(again.score_samples(x), fitted.score_samples(x))
    about = describe_file(path)
    assert about["model"] == "BernoulliMixture"
    assert (about["n_features"], about["n_components"]) == (7, 4)
    assert about["n_parameters"] == 4 * 7 + 4
    assert main(["info", str(path)]) == 0
    assert "7 x 4" in capsys.readouterr().out


def test_commands_take_mixtures(tmp_path, capsys):
    """Catches a command that asks a mixture for sweeps, or for a bracket of its log Z."""
    rows, path = random_rows(60, 7), str(tmp_path / "mixture.safetensors")
    fitted = dg.MixtureOfBernoullis(4, random_state=0).fit(rows)
    fitted.save(path)
    np.save(tmp_path / "rows.npy", rows)
    assert main(["sample", path, "--n", "5", "--seed", "1", "--out", str(tmp_path / "a.npy")]) == 0
    drawn = np.load(tmp_path / "a.npy")
    assert_same_bits(drawn, fitted.sample(5, random_state=1))
    capsys.readouterr()
    assert main(["score", path, str(tmp_path / "rows.npy"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["method"] == "exact"
    assert found["log_likelihood"]["value"] == pytest.approx(fitted.score(rows))
    assert found["log_likelihood"]["lower"] == found["log_likelihood"]["upper"]


def test_a_file_whose_weights_do_not_sum_to_one_is_refused(tmp_path, monkeypatch):
    """Catches a loader that trusts numbers because their checksum is right."""
    fitted = dg.MixtureOfBernoullis.from_model(random_mixture(3, 2))
    path = tmp_path / "mixture.safetensors"
    fitted.model_.log_weights = np.zeros(2, np.float32)
    fitted.save(path)
    with pytest.raises(dg.ModelFileError, match="sum to one"):
        dg.load(path)


def test_means_and_weights_go_there_and_back():
    """Catches a transposed matrix of means."""
    means = np.array([[0.1, 0.0, 1.0], [0.5, 0.9, 0.25]])
    model = dg.BernoulliMixture.from_means([0.25, 0.75], means)
    np.testing.assert_allclose(model.means, means, atol=1e-6)
    np.testing.assert_allclose(model.weights, [0.25, 0.75], rtol=1e-6)
    assert model.logits.shape == (3, 2)
    assert not model.logits.flags.writeable
    other = model.replace(log_weights=np.log([0.5, 0.5]))
    assert_same_bits(other.logits, model.logits)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dg.BernoulliMixture([0.0], [[1.0, 2.0]]), "one column for each component"),
        (lambda: dg.BernoulliMixture([[0.0]], [[1.0]]), "must be a vector"),
        (lambda: dg.BernoulliMixture([0.0], [[np.nan]]), "must be finite"),
        (lambda: dg.BernoulliMixture.from_means([0.5, 0.2], [[0.5], [0.5]]), "sum to one"),
        (lambda: dg.MixtureOfBernoullis.from_model(None), "must be a BernoulliMixture"),
        (lambda: dg.MixtureOfBernoullis(0).fit([[0.0]]), "n_components must be a positive integer"),
        (lambda: dg.MixtureOfBernoullis(smoothing=0.0).fit([[0.0]]), "smoothing must be a number"),
        (lambda: dg.MixtureOfBernoullis(tol=np.nan).fit([[0.0]]), "tol must be a number"),
        (lambda: dg.MixtureOfBernoullis(2).fit([[0.0], [2.0]]), r"values in \[0, 1\]"),
        (
            lambda: dg.MixtureOfBernoullis.from_model(random_mixture(3, 2)).impute(
                np.zeros((1, 3)), method="mode"
            ),
            "method must be",
        ),
    ],
)  # fmt: skip
def test_errors_say_what_was_expected(call, message):
    """Catches a wrong argument that is found late or never."""
    with pytest.raises(ValueError, match=message):
        call()


def test_grey_rows_are_warned_about():
    """Catches a bound that is reported as a likelihood without a word."""
    fitted = dg.MixtureOfBernoullis(2, random_state=0).fit(np.random.default_rng(0).random((9, 4)))
    with pytest.warns(UserWarning, match="not a log-likelihood"):
        fitted.score_samples(np.full((2, 4), 0.5))
