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
from deepgen.runtime.stream import Stream

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
    prior = em.Prior.of_units(visible, survey(ArrayRows(x), visible, holes=True), strength)
    blocks, first = [], 0
    for (kind, n, _), (columns, part) in zip(
        LAYERS[layer], prior.columns.placed_parts, strict=True
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
    if model.visible.precision is not None:  # the prior's origin is that of the run
        model = model_of(layer, *random_blocks(layer, 4, seed=1, far=far), far=far)
        model = dg.ProductMixture.from_means(
            model.visible, model.weights, model.means, prior.origin
        )
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


@pytest.mark.parametrize("layer", LAYERS)
def test_the_m_step_of_the_twin_is_a_stationary_point(layer):
    """Catches formulas that are not the mode: EM would stop where the posterior still rises."""
    x = random_rows(layer, 40, seed=3, holes=0.1)
    visible = units_of(layer)
    _, prior = prior_of(layer, visible, x, 1.3)
    point = random_blocks(layer, 2, seed=4)
    for _ in range(3_000):
        point = reference_step(point, x, prior)
    weights, blocks = point
    value, h = reference.product_log_posterior(weights, blocks, x, prior, 1.3), 1e-4
    for number, (kind, first, means, variance) in enumerate(blocks):
        for index in np.ndindex(means.shape):
            if kind == "softmax":
                continue  # bound to sum to one by group; the iteration's test has them
            for sign in (h, -h):
                moved = means.copy()
                moved[index] += sign
                other = [*blocks]
                other[number] = (kind, first, moved, variance)
                assert reference.product_log_posterior(weights, other, x, prior, 1.3) < value + 1e-6
        if variance is not None:
            for j, factor in product(range(len(variance)), (0.98, 1.02)):
                moved = variance.copy()
                moved[j] *= factor
                other = [*blocks]
                other[number] = (kind, first, means, moved)
                assert reference.product_log_posterior(weights, other, x, prior, 1.3) < value


def reference_step(point, x, prior):
    return reference.product_em_step(*point, x, prior, 1.3)
