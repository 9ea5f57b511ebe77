"""Mixtures of products: categories, real columns and several types side by side."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import reference
from conftest import THREADS, assert_mean, assert_same_bits, assert_within_errors
from scipy import sparse

import deepgen as dg
from deepgen.inference import mixtures
from deepgen.learning import mixtures as em
from deepgen.learning.mixture_sizes import SIZES as SIZES_OF_RUNS
from deepgen.learning.mixture_sizes import number_of_runs
from deepgen.rows.sources import ArrayRows
from deepgen.rows.survey import survey

# Kind, columns, and columns of a group, from the first column on.
LAYERS = {
    "binary": [("binary", 5, 1)],
    "softmax": [("softmax", 9, 3)],
    "gaussian": [("gaussian", 4, 1)],
    "mixed": [("binary", 3, 1), ("softmax", 8, 4), ("gaussian", 2, 1), ("softmax", 4, 2)],
}
PART = {
    "binary": lambda n, group: dg.Binary(n),
    "softmax": lambda n, group: dg.Softmax(group, n),
    "gaussian": lambda n, group: dg.Gaussian(n),
}


def units_of(layer):
    parts = [PART[kind](n, group) for kind, n, group in LAYERS[layer]]
    return parts[0] if len(parts) == 1 else dg.Mixed(parts)


def random_blocks(layer, n_components, seed=0, far=0.0):
    """Weights and blocks as the twin reads them; real columns around `far`."""
    rng, blocks, first = np.random.default_rng(seed), [], 0
    for kind, n, group in LAYERS[layer]:
        variance = None
        if kind == "gaussian":
            means, variance = rng.normal(far, 2.0, (n_components, n)), rng.uniform(0.3, 2.0, n)
        elif kind == "softmax":
            means = rng.dirichlet(np.ones(group), (n_components, n // group))
            means = means.reshape(n_components, n)
        else:
            means = rng.uniform(0.05, 0.95, (n_components, n))
        blocks.append((kind, first, means, variance))
        first += n
    return rng.dirichlet(np.ones(n_components)), blocks


def model_of(layer, weights, blocks, far=0.0):
    """The mixture of the library with these parameters, whose origin is `far`."""
    visible, log_precision = units_of(layer), []
    origin = np.concatenate(
        [np.full(len(b[2][0]), far if b[0] == "gaussian" else 0.0) for b in blocks]
    )
    for _, _, means, variance in blocks:
        log_precision.append(-np.log(variance) if variance is not None else np.zeros(len(means[0])))
    if visible.precision is not None:
        visible = visible.replace(log_precision=np.concatenate(log_precision))
    means = np.hstack([block[2] for block in blocks])
    return dg.ProductMixture.from_means(visible, weights, means, origin)


def blocks_of(layer, model):
    """Weights and blocks of a mixture of the library."""
    blocks, first, means = [], 0, model._means_from_origin().astype(np.float64)
    means += model.origin.astype(np.float64)
    for (kind, n, _), (_, part) in zip(LAYERS[layer], model.visible.placed_parts, strict=True):
        variance = None if part.precision is None else 1.0 / part.precision.astype(np.float64)
        blocks.append((kind, first, means[:, first : first + n], variance))
        first += n
    return model.weights, blocks


def random_rows(layer, n_rows, seed=0, far=0.0, holes=0.2):
    """Rows of the columns, with NaN in a share of the variables."""
    rng, columns = np.random.default_rng(seed), []
    for kind, n, group in LAYERS[layer]:
        if kind == "gaussian":
            x = rng.normal(far, 2.0, (n_rows, n))
        elif kind == "softmax":
            x = np.eye(group)[rng.integers(group, size=(n_rows, n // group))].reshape(n_rows, n)
        else:
            x = rng.integers(0, 2, (n_rows, n)).astype(float)
        gaps = np.repeat(rng.random((n_rows, n // group)) < holes, group, axis=1)
        columns.append(np.where(gaps, np.nan, x))
    return np.hstack(columns).astype(np.float32)


def prior_of(layer, visible, x, strength):
    """The library's prior, and the twin's blocks of it."""
    prior = em.Prior.of_rows(visible, survey(ArrayRows(x), visible, holes=True), strength)
    blocks, first = [], 0
    for (kind, n, _), (columns, part) in zip(
        LAYERS[layer], prior.units.placed_parts, strict=True
    ):
        variance = None if part.precision is None else 1.0 / part.precision.astype(np.float64)
        blocks.append((kind, first, prior.mean[columns], variance))
        first += n
    return prior, blocks


@pytest.mark.parametrize("far", [0.0, 3_000.0])
@pytest.mark.parametrize("layer", LAYERS)
def test_posteriors_and_likelihoods_equal_the_twin(layer, far, backend):
    """Catches a base measure left out, the normalizer of a hole, a group that counts by column, and
    digits of columns far from zero that are lost."""
    model = model_of(layer, *random_blocks(layer, 7, far=far), far=far)
    x = random_rows(layer, 40, far=far)
    joint = reference.product_log_joint(*blocks_of(layer, model), x)
    total = reference.log_sum_exp(joint)
    np.testing.assert_allclose(mixtures.log_likelihood(model, x), total, rtol=1e-5, atol=5e-5)
    found = mixtures.responsibilities(model, x)
    np.testing.assert_allclose(found, np.exp(joint - total[:, None]), atol=5e-5)


@pytest.mark.parametrize("far", [0.0, 3_000.0])
@pytest.mark.parametrize("layer", LAYERS)
def test_one_iteration_equals_the_twin(layer, far, monkeypatch):
    """Catches a variance of another mean, pseudo-rows on the wrong side of a fraction, a group that
    does not sum to one, and an iteration that loses a piece of rows."""
    monkeypatch.setattr(em, "CHUNK", 16)
    model = model_of(layer, *random_blocks(layer, 4, seed=1, far=far), far=far)
    x = random_rows(layer, 53, seed=2, far=far)
    prior, blocks = prior_of(layer, model.visible, x, 0.7)
    # the prior's origin is that of the run
    model = dg.ProductMixture.from_means(model.visible, model.weights, model.means, prior.origin)
    found = em.expectation(model, ArrayRows(x))
    before = blocks_of(layer, model)
    density = found.log_likelihood + prior.log_density(model)
    expected = reference.product_log_posterior(*before, x, blocks, 0.7)
    weights, after = reference.product_em_step(*before, x, blocks, 0.7)
    new = em.maximization(found, prior)
    risen = em.expectation(new, ArrayRows(x)).log_likelihood + prior.log_density(new)
    # up to a constant, so what counts is the difference
    rise = reference.product_log_posterior(weights, after, x, blocks, 0.7) - expected
    assert rise > 0.0
    assert risen - density == pytest.approx(rise, rel=1e-3, abs=2e-3)
    np.testing.assert_allclose(new.weights, weights, rtol=1e-4)
    for (_, _, means, variance), (_, _, wanted, wanted_variance) in zip(
        blocks_of(layer, new)[1], after, strict=True
    ):
        np.testing.assert_allclose(means, wanted, rtol=1e-4, atol=1e-4)
        if variance is not None:
            np.testing.assert_allclose(variance, wanted_variance, rtol=1e-4)


def expected_log_posterior(r, point, x, prior, strength):
    """The sum over rows and components of r log p(x, k), and the log prior."""
    joint = reference.product_log_joint(*point, x)
    return (r * joint).sum() + reference.product_log_posterior(*point, x[:0], prior, strength)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_m_step_of_the_twin_is_a_maximum(layer):
    """Catches formulas that are not the mode: EM would stop where the posterior still rises."""
    x = random_rows(layer, 25, seed=3)
    _, prior = prior_of(layer, units_of(layer), x, 1.3)
    point = random_blocks(layer, 2, seed=4)
    joint = reference.product_log_joint(*point, x)
    r = np.exp(joint - reference.log_sum_exp(joint)[:, None])
    weights, blocks = reference.product_em_step(*point, x, prior, 1.3)
    best = expected_log_posterior(r, (weights, blocks), x, prior, 1.3)
    for number, (kind, first, means, variance) in enumerate(blocks):
        for k, j in np.ndindex(means.shape):
            for step in (1e-3, -1e-3):
                moved = means.copy()
                moved[k, j] += step
                if kind == "softmax":  # the probability of another category of the variable
                    group = 4 if means.shape[1] == 8 else 3 if means.shape[1] == 9 else 2
                    moved[k, j - j % group + (j + 1) % group] -= step
                other = [*blocks]
                other[number] = (kind, first, moved, variance)
                assert expected_log_posterior(r, (weights, other), x, prior, 1.3) < best
        for j, factor in product(range(0 if variance is None else len(variance)), (0.98, 1.02)):
            moved = variance.copy()
            moved[j] *= factor
            other = [*blocks]
            other[number] = (kind, first, means, moved)
            assert expected_log_posterior(r, (weights, other), x, prior, 1.3) < best
    for share in (1e-3, -1e-3):
        moved = weights + np.array([share, -share])
        assert expected_log_posterior(r, (moved, blocks), x, prior, 1.3) < best


def test_statistics_go_through_one_array_and_back():
    """Catches sums of squares that processes do not share, and a view that is a copy."""
    model = model_of("mixed", *random_blocks("mixed", 4))
    found = em.expectation(model, ArrayRows(random_rows("mixed", 30)))
    again = em.Statistics.zeros(model)
    again.take(found.flat())
    for name in ("counts", "sums", "unknown", "squares", "log_likelihood", "n_rows"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert found.squares[[11, 12]].min() > 0.0


@pytest.mark.parametrize("layer", LAYERS)
def test_the_log_posterior_never_falls(layer):
    """Catches a prior that is not the one of the M-step, and a variance that collapses."""
    x = random_rows(layer, 200, seed=5, far=50.0)
    fitted = dg.MixtureOfProducts(
        6, visible=units_of(layer), tol=0.0, smoothing=0.1, random_state=0
    ).fit(x)
    rise = np.diff([entry["log_posterior"] for entry in fitted.history_])
    assert len(rise) > 5
    assert rise.min() > -2e-5  # rounding of float32


# ------------------------------------------------------------------------ what it is good for


def test_probabilities_of_all_categories_sum_to_one():
    """Catches a category whose evidence counts once for each of its columns."""
    fitted = dg.MixtureOfProducts.from_model(model_of("softmax", *random_blocks("softmax", 4)))
    states = np.array([np.eye(3)[list(each)].ravel() for each in product(range(3), repeat=3)])
    assert np.exp(fitted.score_samples(states)).sum() == pytest.approx(1.0, abs=1e-5)
    gap = np.where(np.arange(9) // 3 == 1, np.nan, states)
    zeros = np.where(np.isnan(gap), 0.0, gap)
    # of two variables each combination is met three times
    assert np.exp(fitted.score_samples(gap)).sum() == pytest.approx(3.0, abs=1e-5)
    assert_same_bits(fitted.score_samples(zeros), fitted.score_samples(gap))


def test_a_mixture_of_categories_is_a_boltzmann_machine_with_log_z_zero():
    """Catches a parametrization that is not the softmax-hidden RBM of the formulas page."""
    model = model_of("softmax", *random_blocks("softmax", 4, seed=6))
    machine = dg.BoltzmannMachine(
        [dg.Softmax(3, 9), dg.Softmax(4, bias=model.constants)], [model.fields]
    )
    assert dg.exact_log_partition(machine).value == pytest.approx(0.0, abs=1e-5)


def test_real_columns_have_the_density_of_a_mixture_of_normals():
    """Catches a log density without its constant: by the formula of scikit-learn's mixture, whose
    covariance is diagonal and the same for all components."""
    from sklearn.mixture import GaussianMixture

    weights, blocks = random_blocks("gaussian", 3, seed=7)
    model, x = model_of("gaussian", weights, blocks), random_rows("gaussian", 30, holes=0.0)
    other = GaussianMixture(3, covariance_type="diag")
    other.weights_, other.means_ = weights, blocks[0][2]
    other.covariances_ = np.tile(blocks[0][3], (3, 1))
    other.precisions_cholesky_ = 1.0 / np.sqrt(other.covariances_)
    found = dg.MixtureOfProducts.from_model(model).score_samples(x)
    np.testing.assert_allclose(found, other.score_samples(x), rtol=1e-5, atol=1e-4)
    assert dg.MixtureOfProducts.from_model(model).model_.n_free == 3 * 4 + 4 + 2


@pytest.mark.parametrize(("layer", "n_free"), [("binary", 17), ("softmax", 20), ("mixed", 43)])
def test_free_parameters(layer, n_free):
    """Catches a category too many, and a variance that counts by component."""
    model = model_of(layer, *random_blocks(layer, 3))
    assert model.n_free == n_free
    fitted = dg.MixtureOfProducts.from_model(model)
    x = random_rows(layer, 20)
    assert fitted.bic(x) - fitted.aic(x) == pytest.approx(n_free * (np.log(20) - 2.0))


def planted(n_rows, seed=0):
    """A frame of two groups, and the groups."""
    rng = np.random.default_rng(seed)
    group = (rng.random(n_rows) < 0.4).astype(int)
    colour = np.array(["red", "green", "blue"])[
        (rng.random(n_rows)[:, None] > np.cumsum([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], 1)[group]).sum(
            1
        )
    ]
    return pd.DataFrame({
        "colour": colour, "year": rng.normal(np.where(group, 1995.0, 1950.0), 10.0),
        "big": rng.random(n_rows) < np.where(group, 0.8, 0.1),
    }), group  # fmt: skip


def test_planted_groups_of_a_table_are_found():
    """Catches learning that improves a likelihood and finds nothing."""
    frame, group = planted(3_000)
    fitted = dg.MixtureOfProducts(2, tol=1e-6, n_init=3, random_state=0).fit(frame)
    found = fitted.predict(frame)
    order = [0, 1] if (found == group).mean() > 0.5 else [1, 0]
    means, weights = fitted.model_.means[order], fitted.model_.weights[order]
    counts = np.bincount(group)
    assert_within_errors(weights[1:], [0.4], [3 * np.sqrt(0.24 / 3_000)], 0.0)
    names = [
        category for column in fitted.table_.columns if column.holds == "categorical"
        for category in column.categories
    ]  # fmt: skip
    wanted = {"red": (0.7, 0.1), "green": (0.2, 0.1), "blue": (0.1, 0.8)}
    real = int(np.argmax(fitted.model_.means.max(axis=0)))
    assert_within_errors(means[:, real], [1950.0, 1995.0], 3 * 10.0 / np.sqrt(counts), 0.0)
    variance = 1.0 / fitted.model_.visible.precision[real]
    assert abs(np.sqrt(variance) - 10.0) < 0.6
    p = np.array([wanted[name] for name in names]).T
    columns = next(c for c, part in fitted.model_.visible.placed_parts if part.group == 3)
    errors = 3 * np.sqrt(p * (1 - p) / counts[:, None])
    assert_within_errors(means[:, columns], p, errors, 0.0)


def test_two_groups_of_one_real_column_are_found():
    """Would catch components that start so near the mean that EM stops before they part: one
    normal distribution has -3.83 nats here, the groups themselves -3.53."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2200, 2))
    X[:, 0] += 5.0 * rng.integers(0, 2, len(X))
    with_nothing_set = dg.MixtureOfProducts(visible="gaussian", random_state=0).fit(X[:200])
    two = dg.MixtureOfProducts(2, visible="gaussian", n_init=5, random_state=0).fit(X[:200])
    assert with_nothing_set.score(X[200:]) > -3.65
    assert two.score(X[200:]) > -3.6


def test_units_and_origins_of_real_columns_do_not_matter():
    """Catches a variance whose floor is a number, and digits lost far from zero."""
    x = random_rows("gaussian", 150, seed=8).astype(np.float64)
    x[:60] += 6.0
    scale, shift = np.array([1e-6, 1.0, 1e4, 8.0]), np.array([0.0, 512.0, 1e7, -64.0])
    fits = [
        dg.MixtureOfProducts(3, visible="gaussian", random_state=0).fit(rows)
        for rows in (x, x * scale + shift)
    ]
    first, second = (f.score(rows) for f, rows in zip(fits, (x, x * scale + shift), strict=True))
    known = (~np.isnan(x)).mean(axis=0)
    assert second == pytest.approx(first - (known * np.log(scale)).sum(), abs=2e-3)


def test_a_column_that_never_varies_is_learned():
    """Catches a precision that is infinite, and a likelihood that is NaN."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    x[:, 1] = 7.0
    fitted = dg.MixtureOfProducts(3, visible="gaussian", random_state=0).fit(x)
    assert np.isfinite(fitted.score(x))
    np.testing.assert_allclose(fitted.model_.means[:, 1], 7.0, rtol=1e-6)
    hole = np.where(np.arange(3) == 1, np.nan, x)
    np.testing.assert_allclose(fitted.impute(hole)[:, 1], 7.0, rtol=1e-4)


def test_a_column_that_never_varies_has_a_width_of_its_own():
    """Catches one whose draws are as far from it as other columns, in other units, vary."""
    x = np.random.default_rng(8).normal(size=(200, 3))
    x[:, 1] = 3.5
    deviations = []
    for unit in (1e-6, 1.0, 1e8):
        fitted = dg.MixtureOfProducts(2, visible="gaussian", random_state=0).fit(x * [1, 1, unit])
        drawn = fitted.sample(500, random_state=0)[:, 1]
        np.testing.assert_allclose(drawn, 3.5, rtol=0.1)
        deviations.append(drawn.std())
    np.testing.assert_allclose(deviations, deviations[0], rtol=1e-3)
    times = 1.7e9 + np.where(np.arange(400) < 200, 0.0, 4096.0)
    fitted = dg.MixtureOfProducts(2, visible="gaussian", random_state=0).fit(times[:, None])
    assert (1.0 / fitted.model_.visible.precision < 4096.0**2).all()  # it varies, if a little


def test_few_rows_and_a_little_smoothing_do_not_collapse():
    """Catches a variance that goes to zero where each row has a component of its own."""
    x = np.random.default_rng(1).normal(size=(20, 2))
    fitted = dg.MixtureOfProducts(40, visible="gaussian", smoothing=1e-2, random_state=0).fit(x)
    assert np.isfinite(fitted.score(x))
    assert (1.0 / fitted.model_.visible.precision > 1e-4 * x.var(axis=0)).all()


def test_with_nothing_set_it_is_not_behind_independent_columns():
    """Catches joined components that fit noise, and a choice by another likelihood."""
    rng = np.random.default_rng(2)
    for rows in (rng.normal(size=(250, 4)), rng.normal(size=(250, 4)) @ rng.normal(size=(4, 4))):
        train, held = rows[:50], rows[50:]
        fitted = dg.MixtureOfProducts(random_state=0).fit(train)
        apart = (held - train.mean(axis=0)) / train.std(axis=0)
        alone = -0.5 * (apart**2 + np.log(2 * np.pi)) - np.log(train.std(axis=0))
        ahead = fitted.score_samples(held) - alone.sum(axis=1)
        assert ahead.mean() > -2.0 * ahead.std() / np.sqrt(len(ahead))
    assert fitted.n_components_ > 1
    assert ahead.mean() > 0.5


def test_a_category_counts_once():
    """Catches evidence of a variable that counts by column, as that of one-hot Bernoullis does:
    likelihoods of whole variables are then behind, and completions too sure."""
    rng = np.random.default_rng(0)
    group, kinds = rng.integers(0, 3, 400), rng.integers(0, 4, (400, 6))
    kinds = np.where(rng.random(kinds.shape) < 0.5, group[:, None], kinds)
    x = np.eye(4)[kinds].reshape(400, 24)
    train, held = x[:200], x[200:]
    gaps = np.repeat(rng.random((200, 6)) < 0.3, 4, axis=1)
    losses = {}
    for name, visible in (("categories", dg.Softmax(4)), ("columns", "binary")):
        fitted = dg.MixtureOfProducts(12, visible=visible, random_state=0).fit(train)
        p = np.clip(fitted.impute(np.where(gaps, np.nan, held)), 1e-3, 1.0).reshape(200, 6, 4)
        p = (p / p.sum(axis=2, keepdims=True)).reshape(200, 24)
        losses[name] = -np.log(p)[gaps & (held == 1)].mean()
    assert losses["categories"] < losses["columns"]


def test_with_nothing_set_runs_are_joined():
    """Catches weights of joined runs that are not divided, a variance of one run alone, and a
    choice of the size that cannot judge hidden values of several types."""
    frame, _ = planted(90)
    frame = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.2)
    fitted = dg.MixtureOfProducts(random_state=0).fit(frame)
    size = next(k for k in SIZES_OF_RUNS if k * number_of_runs(k) == fitted.n_components_)
    assert 1 < size < 100
    assert fitted.model_.weights.sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("layer", ["softmax", "gaussian", "mixed"])
def test_joined_runs_average_their_densities(layer):
    """Catches components whose means move where the variance becomes that of all runs."""
    x = random_rows(layer, 120, seed=9)
    fits = [dg.MixtureOfProducts(k, visible=units_of(layer), random_state=k).fit(x) for k in (2, 3)]
    one = em.joined([em.Run(each.model_) for each in fits]).model
    np.testing.assert_allclose(
        one.means, np.vstack([each.model_.means for each in fits]), rtol=1e-5, atol=1e-5
    )
    density = np.mean([np.exp(each.score_samples(x)) for each in fits], axis=0)
    tolerance = 1e-5 if layer == "softmax" else 0.5
    np.testing.assert_allclose(mixtures.log_likelihood(one, x), np.log(density), atol=tolerance)


# --------------------------------------------------------------- samples, completions, tables


@pytest.mark.parametrize("layer", LAYERS)
def test_completions_equal_the_twin(layer):
    """Catches a deviation without the spread between components, and an origin left out."""
    model = model_of(layer, *random_blocks(layer, 4, seed=10, far=30.0), far=30.0)
    x = random_rows(layer, 25, seed=11, far=30.0, holes=0.4)
    means, deviations = reference.product_completion(*blocks_of(layer, model), x)
    fitted = dg.MixtureOfProducts.from_model(model)
    completed, found = fitted.impute(x, return_std=True)
    gaps = np.isnan(x)
    np.testing.assert_allclose(completed[gaps], means[gaps], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[gaps], deviations[gaps], atol=5e-3)
    assert_same_bits(completed[~gaps], x[~gaps])
    assert (found[~gaps] == 0.0).all()
    many = np.repeat(x[:1], 4_000, axis=0)
    draws = fitted.impute(many, method="draw", random_state=0)
    assert_mean(draws, np.where(gaps[:1], means[:1], x[:1])[0], rounding=1e-3)


@pytest.mark.parametrize("layer", LAYERS)
def test_samples_have_the_moments_of_the_model(layer):
    """Catches a draw from zero in place of the origin, and of several categories of a variable."""
    model = model_of(layer, *random_blocks(layer, 3, seed=12, far=30.0), far=30.0)
    fitted = dg.MixtureOfProducts.from_model(model)
    draws = fitted.sample(20_000, random_state=0)
    assert_mean(draws, model.weights @ model.means, rounding=1e-3)
    assert_same_bits(draws[100:], fitted.sample(19_900, random_state=0, first_row=100))
    model.visible.check(draws)
    nothing = np.full((1, model.n_features), np.nan)
    _, deviation = fitted.impute(nothing, return_std=True)
    np.testing.assert_allclose(draws.std(axis=0), deviation[0], rtol=0.05)


def test_a_table_comes_back():
    """Catches a frame that becomes numbers, a known cell that changes, and a lost index."""
    frame, _ = planted(200)
    frame.index = frame.index + 1_000
    holes = frame.mask(np.random.default_rng(3).random(frame.shape) < 0.2)
    fitted = dg.MixtureOfProducts(4, random_state=0).fit(holes)
    drawn = fitted.sample(5, random_state=1)
    assert list(drawn.columns) == ["colour", "year", "big"]
    assert set(drawn["colour"]) <= {"red", "green", "blue"}
    completed, deviation = fitted.impute(holes, return_std=True)
    assert completed.notna().all(axis=None)
    assert (completed.index == frame.index).all()
    known = holes.notna()
    assert ((completed == holes) | ~known).all(axis=None)
    assert (deviation[known.to_numpy()] == 0.0).all()
    assert fitted.transform(holes).shape == (200, 4)
    filled = dg.Imputer(dg.MixtureOfProducts(4), random_state=0).fit_transform(holes)
    assert filled.notna().all(axis=None)


def test_a_table_without_a_missing_category_is_completed():
    """Catches masks that lie column by column, which the kernels cannot read."""
    frame, _ = planted(60)
    fitted = dg.MixtureOfProducts(2, random_state=0).fit(frame)
    assert fitted.impute(frame).equals(frame)
    holes = frame.astype({"year": float})
    holes.loc[3, "year"] = np.nan
    mask = np.asfortranarray(holes.isna())
    completed = fitted.impute(holes)
    assert completed.notna().all(axis=None)
    assert fitted.impute(holes, missing=mask).equals(completed)
    real = frame[["year"]]
    fitted = dg.MixtureOfProducts(2, random_state=0).fit(real)
    assert fitted.impute(real.assign(year=np.nan)).notna().all(axis=None)


def test_a_saved_mixture_has_the_same_bits(tmp_path):
    """Catches a file without the origin, the precisions or the categories."""
    frame, _ = planted(120)
    fitted = dg.MixtureOfProducts(3, random_state=0).fit(frame)
    fitted.save(tmp_path / "m")
    again = dg.load(tmp_path / "m")
    assert type(again) is dg.MixtureOfProducts
    assert_same_bits(again.score_samples(frame), fitted.score_samples(frame))
    assert again.sample(4, random_state=0).equals(fitted.sample(4, random_state=0))
    with pytest.raises(ValueError, match="colour"):
        again.score(frame.assign(colour="pink"))
    for layer in LAYERS:
        model = model_of(layer, *random_blocks(layer, 3, far=9.0), far=9.0)
        dg.MixtureOfProducts.from_model(model).save(tmp_path / "m")
        other = dg.load(tmp_path / "m").model_
        for name in ("log_weights", "fields", "origin", "constants"):
            assert_same_bits(getattr(other, name), getattr(model, name))


@pytest.mark.parametrize("layer", ["softmax", "mixed"])
def test_the_same_bits_for_threads_batches_and_back_ends(layer, backend):
    """Catches a sum whose order is that of the threads, or of the batches that rows come in."""
    x, found = random_rows(layer, 2_100, seed=13), []
    batches = type(
        "Batches", (), {"__iter__": lambda self: iter([x[:700], x[700:1_900], x[1_900:]])}
    )
    for rows, n_threads in [(x, 1), *((x, n) for n in THREADS), (batches(), 1)]:
        fitted = dg.MixtureOfProducts(
            4, visible=units_of(layer), max_iter=3, random_state=0, n_threads=n_threads
        ).fit(rows)
        found.append(fitted.model_)
    for other in found[1:]:
        assert_same_bits(found[0].fields, other.fields)
        assert_same_bits(found[0].visible.bias, other.visible.bias)


def test_binary_columns_are_the_mixture_of_bernoullis():
    """Catches a second EM: the same bits, whatever the estimator is called."""
    x = random_rows("binary", 100, seed=14)
    one = dg.MixtureOfBernoullis(3, random_state=0).fit(x)
    other = dg.MixtureOfProducts(3, visible="binary", random_state=0).fit(x)
    assert type(other.model_) is dg.BernoulliMixture
    assert_same_bits(one.model_.logits, other.model_.logits)
    rows = sparse.csr_array(np.nan_to_num(x))
    assert_same_bits(one.score_samples(rows), other.score_samples(rows))


def test_sparse_categories_are_read():
    """Catches one-hot columns that scikit-learn's encoder gives, and a variable that is missing."""
    x = np.nan_to_num(random_rows("softmax", 80, seed=15))
    fits = [
        dg.MixtureOfProducts(3, visible=dg.Softmax(3), random_state=0).fit(rows)
        for rows in (x, sparse.csr_array(x))
    ]
    np.testing.assert_allclose(fits[0].model_.means, fits[1].model_.means, atol=1e-4)
    totals = fits[0].model_.means.reshape(3, 3, 3).sum(axis=2)
    np.testing.assert_allclose(totals, 1.0, atol=1e-5)


def test_means_are_measured_from_the_origin_that_is_kept():
    """Catches an origin that is taken off in float64 and put back in float32."""
    model = dg.ProductMixture.from_means(dg.Gaussian(1), [1.0], [[1e8 + 1.0]], [1e8 + 3.0])
    assert float(model.origin[0]) + float(model.fields[0, 0]) == 1e8 + 1.0


def softmax_model(**changes):
    arguments = {
        "visible": dg.Softmax(3, 3), "log_weights": [0.0], "fields": np.zeros((3, 1)), **changes
    }  # fmt: skip
    return dg.ProductMixture(**arguments)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: softmax_model(visible="softmax"), TypeError, "visible must be Units"),
        (lambda: softmax_model(visible=dg.Multinomial(3)), ValueError, "binary, softmax, Gaussian"),
        (lambda: softmax_model(visible=dg.Binary(3, n_copies=2)), ValueError, "visible must be"),
        (lambda: softmax_model(visible=dg.Softmax(3)), ValueError, "that have a size"),
        (lambda: softmax_model(fields=np.zeros((2, 1))), ValueError, r"shape \(3, 1\)"),
        (lambda: softmax_model(fields=np.full((3, 1), np.inf)), ValueError, "must be finite"),
        (lambda: softmax_model(log_weights=[1.0]), ValueError, "sum to one"),
        (lambda: softmax_model(origin=np.ones(3)), ValueError, "origin must be 0"),
        (
            lambda: dg.ProductMixture.from_means(dg.Gaussian(2), [1.0], [[1.0, np.nan]]),
            ValueError, "matrix of numbers",
        ),
        (
            lambda: dg.ProductMixture.from_means(dg.Gaussian(2), [1.0], [[1.0, 2.0]], np.ones(3)),
            ValueError, "origin must have shape",
        ),
        (
            lambda: dg.MixtureOfProducts(visible=dg.Multinomial()).fit(np.ones((9, 2))),
            ValueError, "without tied copies",
        ),
        (
            lambda: dg.MixtureOfProducts(visible=dg.Softmax).fit(np.ones((9, 2))),
            ValueError, "must be an object",
        ),
        (
            lambda: dg.MixtureOfProducts(visible=dg.Softmax(2)).fit(np.ones((9, 4))),
            ValueError, "one 1 in each group of 2 columns",
        ),
        (lambda: dg.MixtureOfProducts(visible="real").fit(np.ones((9, 2))), ValueError, "'binary'"),
        (
            lambda: dg.MixtureOfProducts().fit(sparse.csr_array(np.eye(9))), TypeError,
            "got sparse rows",
        ),
        (lambda: dg.MixtureOfProducts.from_model(None), ValueError, "must be a ProductMixture"),
        (
            lambda: dg.MixtureOfBernoullis.from_model(softmax_model()), ValueError,
            "must be a BernoulliMixture",
        ),
    ],
)  # fmt: skip
def test_errors_say_what_was_expected(call, error, message):
    """Catches a wrong argument that is found late or never."""
    with pytest.raises(error, match=message):
        call()
