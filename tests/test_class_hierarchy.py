"""What a hierarchy of classes says of rows: against integrals, all partitions, float64 twins."""

import numpy as np
import pytest
import reference
from class_rows import data, sorts
from scipy import stats
from scipy.special import logsumexp

import deepgen as dg
from deepgen.inference.class_hierarchy import (
    SHARE_OF_ALL,
    Heritage,
    class_density,
    class_of_rows,
    coordinates,
    counted,
    draw_categories,
    heritages_of_known,
    heritages_of_new,
    joined,
    log_of_rows,
    log_of_scatter,
    log_student,
    mean_posterior,
)
from deepgen.learning.class_hierarchy import learn_hierarchy, shrunk


def model(variances, classes, inherited_rows, categories=None):
    """A model whose coordinates are the columns."""
    d = len(variances)
    return dg.ClassHierarchy(
        np.zeros(d), np.eye(d), variances, counts=[c.count for c in classes],
        means=[c.mean for c in classes], scatters=[c.scatter for c in classes],
        inherited_rows=inherited_rows, categories=categories,
    )  # fmt: skip


def positive_definite(d, seed):
    A = np.random.default_rng(seed).normal(size=(d, d + 2))
    return A @ A.T / d


# --- against integrals ----------------------------------------------------------------------------


def grid(d, reach=12.0, step=0.05):
    axis = np.arange(-reach, reach, step)
    return np.stack([a.ravel() for a in np.meshgrid(*[axis] * d)], axis=1), step**d


@pytest.mark.parametrize("d", [1, 2])
def test_the_mean_of_a_class_is_integrated_over(d):
    """Would catch a posterior or a density that differs from the integral over the mean: B and C
    interchanged, n rows that count as one, a density without the uncertainty of the mean.
    """
    rng = np.random.default_rng(d)
    rows, C, B = rng.normal(size=(3, d)) + 1.0, positive_definite(d, 3), np.array([2.0, 0.7])[:d]
    means, volume = grid(d)
    log_prior = stats.multivariate_normal(np.zeros(d), np.diag(B)).logpdf(means)
    log_rows = sum(stats.multivariate_normal(x, C).logpdf(means) for x in rows)
    log_joint = log_prior + log_rows
    weights = np.exp(log_joint - logsumexp(log_joint))
    known = class_of_rows(rows)
    mean, V = mean_posterior(known, C, B)
    np.testing.assert_allclose(mean, weights @ means, atol=1e-9)
    expected = (weights[:, None] * (means - mean)).T @ (means - mean)
    np.testing.assert_allclose(V, expected, atol=1e-9)
    points = 2.0 * rng.normal(size=(4, d))
    density = [
        logsumexp(np.log(weights) + stats.multivariate_normal(x, C).logpdf(means)) for x in points
    ]
    found = class_density(model(B, [known], None), known, [Heritage(0.0, C)]).log_of(points)
    np.testing.assert_allclose(found, density, atol=1e-8)
    evidence = []
    for covariance in (C, 2.0 * C + 0.3):
        log_rows = sum(stats.multivariate_normal(x, covariance).logpdf(means) for x in rows)
        whole = logsumexp(log_prior + log_rows) + np.log(volume)
        # a covariance that so many rows have told is as good as fixed
        evidence.append(whole - log_of_rows(known, covariance, B, 1e6))
    np.testing.assert_allclose(evidence[0], evidence[1], atol=1e-4)


@pytest.mark.parametrize("n_rows", [1, 2, 7])
def test_the_covariance_of_a_class_is_integrated_over(n_rows):
    """Would catch wrong degrees of freedom, a scatter that counts as another number of rows, a
    t distribution of another scale: mean and variance by a grid, the prior of the mean flat.
    """
    r, P = 6.0, 1.7
    rows = np.array([0.4, -1.3, 2.2, 0.9, 0.1, -2.0, 1.1])[:n_rows]
    logs = np.linspace(-7.0, 12.0, 6_000)
    variance = np.exp(logs)
    # the inverse Wishart of one column
    log_prior = stats.invgamma((r + 2) / 2, scale=r * P / 2).logpdf(variance) + logs
    S, m = ((rows - rows.mean()) ** 2).sum(), rows.mean()
    # rows with a flat mean: the density of n - 1 centred rows
    log_rows = -0.5 * (n_rows - 1) * np.log(2.0 * np.pi * variance) - 0.5 * S / variance
    step = logs[1] - logs[0]
    value = logsumexp(log_prior + log_rows) + np.log(step)
    scatter = np.array([[S]])
    np.testing.assert_allclose(
        log_of_scatter(scatter, n_rows - 1, np.array([[P]]), r), value, atol=1e-9
    )
    weights = log_prior + log_rows - logsumexp(log_prior + log_rows)
    points = np.array([-3.0, 0.0, 0.7, 5.0])
    widths = np.sqrt(variance * (1.0 + 1.0 / n_rows))
    expected = [logsumexp(weights + stats.norm(m, widths).logpdf(x)) for x in points]
    known = class_of_rows(rows[:, None])
    density = class_density(model([1e9], [known], r), known, [Heritage(0.0, np.array([[P]]))])
    found = density.log_of(points[:, None])
    # where the variance of means is that of rows by a factor, t is exact; flat is the limit
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_density_of_few_rows_is_near_the_integral():
    """Would catch an approximation that is worse than said where means are not known: within
    0.02 nats two standard deviations around the class, whose mean and variance are on a grid.
    """
    r, P, B, rows = 20.0, 1.0, 3.0, np.array([0.5, 1.8])
    variance = np.exp(np.linspace(-3.0, 3.0, 400))[:, None]
    means = np.linspace(-12.0, 12.0, 1_600)
    log_joint = stats.invgamma((r + 2) / 2, scale=r * P / 2).logpdf(variance) + np.log(variance)
    log_joint = log_joint + stats.norm(0.0, B**0.5).logpdf(means)
    for x in rows:
        log_joint = log_joint + stats.norm(means, np.sqrt(variance)).logpdf(x)
    log_joint -= logsumexp(log_joint)
    points = np.array([-1.5, 0.0, 1.0, 2.5, 3.5])
    expected = [
        logsumexp(log_joint + stats.norm(means, np.sqrt(variance)).logpdf(x)) for x in points
    ]
    known = class_of_rows(rows[:, None])
    density = class_density(model([B], [known], r), known, [Heritage(0.0, np.eye(1))])
    found = density.log_of(points[:, None])
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("d", [2, 3])
def test_a_scatter_is_as_likely_as_its_rows_one_by_one(d):
    """Would catch a normalizer or degrees of freedom that are right in one column alone."""
    rng, r, P = np.random.default_rng(4), 3.5, positive_definite(d, 5)
    rows, S, total = rng.normal(size=(6, d)), np.zeros((d, d)), 0.0
    for i, x in enumerate(rows):
        C = (r * P + S) / (r + i)
        total += log_student(x[None], np.zeros(d), C, r + i + 2)[0]
        S = S + np.outer(x, x)
    np.testing.assert_allclose(log_of_scatter(S, len(rows), P, r), total, rtol=1e-10)
    np.testing.assert_allclose(
        log_of_scatter(S, len(rows), P, r), reference.scatter_log_density(S, len(rows), P, r)
    )


@pytest.mark.parametrize("inherited_rows", [None, 4.0, 60.0])
@pytest.mark.parametrize("n_rows", [1, 5])
def test_densities_equal_the_twin(n_rows, inherited_rows):
    """Would catch heritages that are not weighted by the rows, or by their prior alone."""
    rng, d = np.random.default_rng(6), 3
    rows, points, B = rng.normal(size=(n_rows, d)), rng.normal(size=(7, d)), [2.0, 1.0, 0.25]
    pairs = [(0.2, np.eye(d)), (0.5, positive_definite(d, 7)), (0.3, positive_definite(d, 8))]
    known = class_of_rows(rows)
    pairs = pairs[1:2] if inherited_rows is None else pairs
    heritages = [Heritage(float(np.log(weight)), P) for weight, P in pairs]
    found = class_density(model(B, [known], inherited_rows), known, heritages).log_of(points)
    expected = reference.class_log_densities(rows, points, pairs, B, inherited_rows)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_rows_are_exchangeable():
    """Would catch rows that count otherwise when they come one at a time."""
    points = np.random.default_rng(9).normal(size=(6, 3))
    whole, parts = class_of_rows(points), class_of_rows(points[:1])
    for x in points[:0:-1]:
        parts = joined(parts, class_of_rows(x[None]))
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


# --- super-categories -----------------------------------------------------------------------------


def partitions(n):
    """All partitions of n classes, as tuples of numbers of groups."""
    found = [()]
    for _ in range(n):
        found = [(*p, k) for p in found for k in range(max(p, default=-1) + 2)]
    return found


@pytest.mark.parametrize("n_classes", [4, 5])
def test_sweeps_draw_from_the_posterior_of_partitions(n_classes):
    """Would catch a class that is not taken out, weights of a restaurant that are off by one, a
    group that is never made or never left: frequencies of all partitions within five standard
    errors, from means of blocks of sweeps.
    """
    classes, r, n_blocks = sorts(n_classes), 4.0, 40
    every = partitions(n_classes)
    counts = [counted(classes, [k], r) for k in range(n_classes)]
    logs = np.array([
        reference.partition_log_weight(
            [np.flatnonzero(np.array(p) == k) for k in range(max(p) + 1)],
            [S for _, S in counts], [n for n, _ in counts], SHARE_OF_ALL * r,
        ) for p in every
    ])  # fmt: skip
    exact = np.exp(logs - logsumexp(logs))
    drawn = draw_categories(
        classes, r, dg.Stream.from_random_state(0), n_sweeps=4_040, n_draws=4_000
    )
    number = {p: k for k, p in enumerate(every)}
    places = np.array([number[tuple(draw.tolist())] for draw in drawn]).reshape(n_blocks, -1)
    shares = np.stack([(places == k).mean(axis=1) for k in range(len(every))], axis=1)
    error = shares.std(axis=0, ddof=1) / np.sqrt(n_blocks)
    # where a partition hardly ever comes, blocks tell its error badly: that of independent draws
    error = np.maximum(error, np.sqrt(exact * (1.0 - exact) / places.size))
    assert (np.abs(shares.mean(axis=0) - exact) < 5.0 * error).all()
    assert exact.max() < 0.5  # there is something to draw


def test_classes_that_vary_alike_come_together():
    """Would catch super-categories that are as likely whatever the classes are."""
    rng = np.random.default_rng(0)
    spreads = [np.array([3.0, 0.3, 1.0]), np.array([0.3, 3.0, 1.0])]
    classes = [class_of_rows(rng.normal(size=(60, 3)) * spreads[k % 2]) for k in range(6)]
    drawn = draw_categories(classes, 40.0, dg.Stream.from_random_state(1))
    assert (drawn == [0, 1, 0, 1, 0, 1]).all()


def test_heritages_are_those_of_the_restaurant():
    """Would catch a known class that inherits its own rows, a weight that is no probability, a
    new class that can have no super-category of its own.
    """
    classes = sorts(3, 9)
    known = model([1.0, 1.0], classes, 5.0, categories=[[0, 1, 0], [0, 0, 0]])
    new = heritages_of_new(known)
    weights = {round(np.exp(h.log_weight) * 8): h.covariance for h in new}
    assert sorted(weights) == [1, 2, 3]  # two classes, one alone and all three; none 1/8 + 1/8
    np.testing.assert_allclose(sum(np.exp(h.log_weight) for h in new), 1.0)
    own = next(h for h in new if np.array_equal(h.covariance, np.eye(2)))
    np.testing.assert_allclose(np.exp(own.log_weight), 0.25)
    first = heritages_of_known(known, 0)
    n_rows, S = counted(known.classes, [2], 5.0)
    assert n_rows == 5.0
    np.testing.assert_allclose(first[0].covariance, (np.eye(2) + S) / 6.0)
    np.testing.assert_allclose(np.exp([h.log_weight for h in first]), [0.5, 0.5])


# --- learning -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_components", [3, 10])
def test_coordinates_make_one_covariance_the_identity(n_components):
    """Would catch an offset or a rotation that is forgotten, a shrinkage of one of the two."""
    X, y = data(n_classes=8, n_rows=10, n_columns=6)
    learned = learn_hierarchy(X, y, n_components=n_components, shrinkage=0.2)
    centred = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    axes = np.linalg.svd(centred, full_matrices=False)[2][: min(n_components, 6)].T
    P = centred @ axes
    means = np.stack([P[y == k].mean(axis=0) for k in range(8)])
    W = sum((P[y == k] - means[k]).T @ (P[y == k] - means[k]) for k in range(8)) / (80 - 8)
    B = np.cov(means.T)
    to = axes.T @ learned.weights  # from components to coordinates
    np.testing.assert_allclose(to.T @ shrunk(W, 0.2) @ to, np.eye(len(to)), atol=1e-4)
    between = to.T @ shrunk(B, 0.2) @ to
    np.testing.assert_allclose(between, np.diag(learned.variances), atol=1e-3)
    np.testing.assert_allclose(learned.means.mean(axis=0), 0.0, atol=1e-4)
    Z = coordinates(learned, X)
    np.testing.assert_allclose(Z[y == 2].mean(axis=0), learned.means[2], atol=1e-5)


def test_fewer_rows_than_columns_have_the_same_components():
    """Would catch axes of the smaller matrix that are not those of the larger one."""
    X, y = data(n_classes=3, n_rows=6, n_columns=30)
    few = learn_hierarchy(X, y, n_components=5)
    twice = learn_hierarchy(np.repeat(X, 2, axis=0), np.repeat(y, 2), n_components=5)
    span = np.linalg.qr(few.weights)[0], np.linalg.qr(twice.weights)[0]
    np.testing.assert_allclose(np.linalg.svd(span[0].T @ span[1])[1], 1.0, atol=1e-5)
