"""Bounds of deep Boltzmann machines: against enumeration, in expectation, what must not matter."""

import exact
import numpy as np
import pytest
import reference
from conftest import (
    FIVE_SIGMA,
    assert_mean,
    assert_same_bits,
    in_form,
    random_model,
    twin,
    whole_rows,
)

import deepgen as dg
from deepgen.inference.factorial import FactorialPosterior

MODELS = [
    ("binary", "binary", "binary"),
    ("gaussian", "binary", "binary", "binary"),
    ("softmax", "copies", "binary", "softmax"),
    ("binary", "gaussian", "binary"),
    ("copies", "binary", "gaussian"),
    ("binary", "softmax", "copies"),
]
BOUNDS = [dg.variational_bound, dg.importance_weighted_bound]
LOG_PARTITION = 2.5
VALUES = {"rtol": 2e-6, "atol": 2e-6}  # sums of some ten float32 fields of order one


def model_of(kinds, scale=0.7, seed=2):
    """A model that can be enumerated, and rows of it."""
    model = random_model(kinds, seed, scale=scale)
    return model, whole_rows(model.layers[0], 6, seed)


def log_weight(model, v):
    """Exact log p*(v) of each row."""
    layers, weights = twin(model)
    return np.array([exact.log_partition(layers, weights, clamped={0: row}) for row in v])


def draws_of(model, v, n_draws):
    """Log weights of independent draws, (n_draws, n_rows)."""
    posterior = FactorialPosterior(model, dg.Stream(3))
    return posterior.log_weights(posterior.terms(v), slice(0, len(v)), 0, n_draws).T


# ------------------------------------------------------------------------------ exact values


@pytest.mark.parametrize("kinds", MODELS)
def test_the_bound_is_that_of_its_means(kinds):
    """Catches a term of E_q[log p*] + H(q) that is missing or cancels against another by mistake:
    the twin sums each unit's entropy and base measure over its states."""
    model, v = model_of(kinds)
    found = dg.variational_bound(model, v, log_partition=LOG_PARTITION)
    means = [reference.float64(x) for x in FactorialPosterior(model, dg.Stream(0)).means(v)]
    free = [np.full(x.shape, l > 0) for l, x in enumerate(means)]
    expected = reference.mean_field_bound(*twin(model), means, free) - LOG_PARTITION
    np.testing.assert_allclose(found, expected, **VALUES)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("kinds", MODELS)
def test_the_bound_is_never_above_the_likelihood(kinds, scale):
    """Catches an entropy that counts twice: weak or strong, no bound may pass log p(v)."""
    model, v = model_of(kinds, scale)
    layers, weights = twin(model)
    likelihood = exact.log_likelihood(layers, weights, v)
    found = dg.variational_bound(model, v, log_partition=exact.log_partition(layers, weights))
    gap = likelihood - found
    assert (gap > -VALUES["atol"] * (1.0 + np.abs(likelihood))).all()
    assert gap.max() > 1e-4  # layers that depend on each other given v leave a gap


@pytest.mark.parametrize("kinds", [kinds for kinds in MODELS if "gaussian" not in kinds[1:]])
def test_the_gap_is_the_divergence_from_the_posterior(kinds):
    """Catches a bound that holds only because it is too low: log p*(v) - bound = KL(q || p)."""
    model, v = model_of(kinds)
    layers, weights = twin(model)
    found = dg.variational_bound(model, v, log_partition=0.0)
    means = FactorialPosterior(model, dg.Stream(0)).means(v)
    for i, row in enumerate(v):
        posterior = exact.enumerate_states(layers, weights, clamped={0: row})
        log_q = np.zeros(len(posterior.log_weights))
        for l, (layer, units) in enumerate(zip(layers, model.layers, strict=True)):
            if l:
                field = units.field_of(means[l][i : i + 1]).astype(np.float64)
                own = (field * posterior.states[l]).sum(axis=1)
                own += reference.log_base_measure(layer, posterior.states[l])
                log_q += own - reference.log_normalizer(layer, field)
        divergence = np.exp(log_q) @ (log_q - np.log(posterior.probabilities))
        np.testing.assert_allclose(posterior.log_partition - divergence, found[i], **VALUES)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("kinds", [*MODELS, ("binary", "copies"), ("gaussian", "softmax")])
def test_where_the_posterior_factorizes_bounds_are_exact(kinds, bound):
    """Catches any term that is wrong by itself: with two layers, or without weights above the
    first matrix, q is the posterior and every draw weighs p*(v)."""
    model, v = model_of(kinds)
    model = model.replace(weights=[model.weights[0], *(0.0 * w for w in model.weights[1:])])
    found = bound(model, v, log_partition=LOG_PARTITION, n_draws=3, random_state=1)
    np.testing.assert_allclose(found, log_weight(model, v) - LOG_PARTITION, **VALUES)


@pytest.mark.parametrize("kinds", MODELS)
def test_the_mean_weight_is_the_likelihood(kinds):
    """Catches a wrong proposal or target density: E_q[w] = p*(v) whatever q is."""
    model, v = model_of(kinds)
    expected = log_weight(model, v)
    assert_mean(np.exp(draws_of(model, v, 40_000) - expected), 1.0, 1e-5)


@pytest.mark.parametrize("kinds", MODELS)
def test_the_importance_weighted_bound_lies_between_bound_and_likelihood(kinds):
    """Catches weights that are averaged on the wrong side of the logarithm: for k = 1, 5 and 50
    draws the mean rises from the variational bound, or above it, towards log p(v)."""
    model, v = model_of(kinds, scale=1.0)
    likelihood, bound = log_weight(model, v), dg.variational_bound(model, v, log_partition=0.0)
    log_weights, last = draws_of(model, v, 20_000), bound
    for k in (1, 5, 50):
        averages = np.logaddexp.reduce(log_weights.reshape(-1, k, len(v)), axis=1) - np.log(k)
        mean = averages.mean(axis=0)
        error = FIVE_SIGMA * averages.std(axis=0, ddof=1) / np.sqrt(len(averages)) + 1e-5
        assert (mean < likelihood + error).all()
        assert (mean > last - error).all()
        last = mean
    assert (last > bound).all()


def test_bounds_are_averages_of_the_weights():
    """Catches a sum over draws that overflows, loses its largest term or a piece of the draws."""
    model, v = model_of(MODELS[2])
    v, seed, n_draws = v[:3], 5, 2_500  # three pieces
    posterior = FactorialPosterior(model, dg.Stream.from_random_state(seed))
    terms, rows = posterior.terms(v), slice(0, 3)
    log_weights = np.concatenate([
        posterior.log_weights(terms, rows, first, count)
        for first, count in ((0, 1_000), (1_000, 1_500))
    ], axis=1)  # fmt: skip
    found = dg.importance_weighted_bound(
        model, v, log_partition=-3.0, n_draws=n_draws, random_state=seed
    )
    expected = np.logaddexp.reduce(log_weights, axis=1) - np.log(n_draws) + 3.0
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("kinds", [MODELS[0], MODELS[1]])
def test_saturated_units_leave_a_finite_bound(kinds):
    """Catches the log of a mean that is exactly 0 or 1 in float32."""
    model, v = model_of(kinds, scale=60.0)
    found = dg.variational_bound(model, v, log_partition=0.0)
    likelihood = log_weight(model, v)
    assert np.isfinite(found).all()
    assert (found < likelihood + 1e-6 * (1.0 + np.abs(likelihood))).all()
    found = dg.importance_weighted_bound(model, v, log_partition=0.0, random_state=0)
    assert np.isfinite(found).all()


# -------------------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("kinds", [MODELS[1], MODELS[2]])
def test_rows_alone_have_the_bits_of_rows_together(bound, kinds, threaded):
    """Catches random numbers that belong to a row's place, and sums that depend on neighbours."""
    model = random_model(kinds, 2, [33, 18, 21, 39], scale=0.3)
    v = whole_rows(model.layers[0], 12)
    options = {"log_partition": 0.5, "n_draws": 6, "random_state": 1}
    whole = bound(model, v, **options, n_threads=1)
    for n_threads in (2, 3):
        assert_same_bits(bound(model, v, **options, n_threads=n_threads), whole)
    options["n_threads"] = 1
    assert_same_bits(bound(model, v[::-1], **options)[::-1].copy(), whole)
    for i in (0, 11):
        assert_same_bits(bound(model, v[i : i + 1], **options), whole[i : i + 1])
    pieces = [bound(model, v[a:b], **options) for a, b in ((0, 1), (1, 8), (8, 12))]
    assert_same_bits(np.concatenate(pieces), whole)
    other = bound(model, v, **{**options, "random_state": 2})
    assert (whole != other).any() == (bound is dg.importance_weighted_bound)


def test_many_rows_have_the_bits_of_few():
    """Catches sums over columns that are cut where a buffer of many rows ends."""
    model = random_model(("binary", "binary", "binary"), 2, [150, 90, 70], scale=0.1)
    v = whole_rows(model.layers[0], 300)
    whole = dg.variational_bound(model, v, log_partition=0.0)
    for rows in (slice(0, 1), slice(100, 173), slice(299, 300)):
        found = dg.variational_bound(model, v[rows], log_partition=0.0)
        assert_same_bits(found, whole[rows].copy())


def test_errors_of_rows_are_independent():
    """Catches random numbers that rows share: the error of a mean would not fall with their
    number."""
    model = random_model(("binary", "binary", "binary", "binary"), 2, [24, 12, 9, 5])
    v = np.unique(whole_rows(model.layers[0], 80), axis=0)
    values = np.stack([
        dg.importance_weighted_bound(model, v, log_partition=0.0, n_draws=4, random_state=seed)
        for seed in range(100)
    ])  # fmt: skip
    found = values.mean(axis=1).var(ddof=1)
    expected = values.var(axis=0, ddof=1).sum() / len(v) ** 2
    # a variance of 100 normal numbers has the relative standard error sqrt(2 / 99)
    assert abs(found / expected - 1.0) < 5.0 * np.sqrt(2.0 / 99)


@pytest.mark.parametrize("form", ["bytes", "floats", "csr"])
def test_the_form_of_the_rows_does_not_matter(form):
    """Catches sparse rows that are read as something else, or a bool matrix that is refused."""
    model = random_model(("binary", "binary", "binary"), 2, [9, 5, 4])
    v = whole_rows(model.layers[0], 12)
    options = {"log_partition": 0.0, "n_draws": 5, "random_state": 1}
    for bound in BOUNDS:
        whole = bound(model, v, **options)
        assert_same_bits(bound(model, in_form(v, form), **options), whole)
        assert_same_bits(bound(model, v.astype(bool), **options), whole)
        assert_same_bits(bound(model, v.tolist(), **options), whole)
        assert bound(model, v[:0], **options).shape == (0,)


@pytest.mark.parametrize("bound", BOUNDS)
def test_missing_variables_are_refused(bound):
    """Catches a number for a row whose log p(v) is that of another model."""
    model, v = model_of(MODELS[2])
    v[1, :3] = 0
    with pytest.raises(ValueError, match="missing variables"):
        bound(model, v, log_partition=0.0)
