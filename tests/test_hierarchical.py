"""Hierarchies of classes: posteriors, super-categories, the estimator, files."""

import datetime
import json
import pickle
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import reference
from conftest import THREADS, assert_same_bits
from scipy import stats
from scipy.special import logsumexp
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

import deepgen as dg
from deepgen.cli import main
from deepgen.inference.class_hierarchy import (
    SHARE_OF_ALL,
    Heritage,
    class_of_rows,
    coordinates,
    counted,
    draw_categories,
    heritages_of_known,
    heritages_of_new,
    joined,
    log_of_rows,
    log_of_scatter,
    log_predictive,
    log_predictives,
    log_student,
    mean_posterior,
)
from deepgen.io.schemas.registry import as_tree, from_tree, schema_for
from deepgen.learning.class_hierarchy import learn_hierarchy, shrunk

DATA = Path(__file__).parent / "data"


def data(n_classes=5, n_rows=12, n_columns=4, seed=0):
    """Rows of classes whose means lie apart, and their labels, shuffled."""
    rng = np.random.default_rng(seed)
    centres = 3.0 * rng.normal(size=(n_classes, n_columns))
    labels = rng.permutation(np.repeat(np.arange(n_classes), n_rows))
    spread = rng.normal(size=(n_columns, n_columns))
    X = centres[labels] + rng.normal(size=(len(labels), n_columns)) @ spread
    return X.astype(np.float32), labels


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
    found = log_predictive(model(B, [known], None), known, points, [Heritage(0.0, C)])
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
    found = log_predictive(
        model([1e9], [known], r), known, points[:, None], [Heritage(0.0, np.array([[P]]))]
    )
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
    found = log_predictive(
        model([B], [known], r), known, points[:, None], [Heritage(0.0, np.eye(1))]
    )
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
    found = log_predictive(model(B, [known], inherited_rows), known, points, heritages)
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


def sorts(n_classes=4, n_rows=6, seed=1):
    """Classes of two columns, every other one wider in the first."""
    rng = np.random.default_rng(seed)
    return [
        class_of_rows(rng.normal(size=(n_rows, 2)) * ([1.6, 0.8] if k % 2 else [0.8, 1.0]))
        for k in range(n_classes)
    ]


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


# --- the estimator --------------------------------------------------------------------------------


def known(X=None, y=None, **settings):
    X, y = data() if X is None else (X, y)
    return dg.HierarchicalGaussian(**{"random_state": 0, **settings}).fit(X, y)


def assert_same(one, other, X):
    assert_same_bits(one.predict_proba(X), other.predict_proba(X))
    assert_same_bits(one.score_samples(X), other.score_samples(X))
    assert one.classes_.tolist() == other.classes_.tolist()
    assert one.super_categories_ == other.super_categories_


def test_a_new_digit_is_known_from_one_row():
    """Would catch what is inherited being lost: ahead of the nearest row of known classes."""
    digits = load_digits()
    X, y = digits.data.astype(np.float32), digits.target
    ours, nearest = [], []
    for digit in (3, 7):
        others = (y != digit) & (np.arange(len(y)) % 2 == 0)
        test = np.arange(len(y)) % 2 == 1
        for shot in np.flatnonzero((y == digit) & ~test)[[2, 11, 30]]:
            fitted = known(X[others], y[others], n_components=30).add_class(X[[shot]], digit)
            score = fitted.score_samples(X[test], digit)
            ours.append(roc_auc_score(y[test] == digit, score))
            D = np.linalg.norm(X[test][:, None] - X[others][None], axis=2).min(axis=1)
            D -= np.linalg.norm(X[test] - X[shot], axis=1)
            nearest.append(roc_auc_score(y[test] == digit, D))
    assert np.mean(ours) > 0.95
    assert np.mean(ours) > np.mean(nearest)


def test_scores_compare_with_the_other_classes():
    """Would catch a score that leaves a class out, or has it on both sides."""
    X, y = data()
    fitted = known(X, y)
    logs = log_predictives(fitted.model_, coordinates(fitted.model_, X))
    others = np.delete(logs, 3, axis=1)
    np.testing.assert_allclose(
        fitted.score_samples(X, 3), logs[:, 3] - logsumexp(others, axis=1), rtol=1e-9
    )
    np.testing.assert_allclose(fitted.score_samples(X), logsumexp(logs, axis=1) - np.log(5))
    proba = fitted.predict_proba(X)
    np.testing.assert_allclose(proba, np.exp(logs - logsumexp(logs, axis=1, keepdims=True)))
    assert (fitted.predict(X) == proba.argmax(axis=1)).all()
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), proba)
    assert fitted.score(X, y) > 0.9
    assert fitted.score_samples(X + 1e3).max() < fitted.score_samples(X).min()


def test_the_functions_give_the_scores_of_the_estimator():
    """Would catch a new class that changes what is said of known ones, and a table of results that
    is not one of this estimator."""
    (X, y), new = data(), data(7)[0][:3]
    fitted = known(X, y)
    before, points = fitted.model_, coordinates(fitted.model_, X)
    score = log_predictive(
        before, class_of_rows(coordinates(before, new)), points, heritages_of_new(before)
    ) - logsumexp(log_predictives(before, points), axis=1)
    np.testing.assert_allclose(
        fitted.add_class(new, 9).score_samples(X, 9), score, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("super_categories", ["crp", None])
def test_rows_of_a_new_class_may_come_one_at_a_time(super_categories):
    """Would catch rows that count by the order in which they came."""
    X, y = data(7)
    few = X[y == 6][:4]
    fit = X[y < 5], y[y < 5]
    at_once = known(*fit, super_categories=super_categories).add_class(few, 6)
    one_by_one = known(*fit, super_categories=super_categories).add_class(few[3:], 6)
    for row in few[:3]:
        one_by_one.add_rows(row[None], 6)
    np.testing.assert_allclose(
        one_by_one.predict_log_proba(X), at_once.predict_log_proba(X), rtol=1e-4, atol=1e-3
    )
    assert one_by_one.model_.counts.tolist() == [12] * 5 + [4]


def test_the_names_and_the_order_of_classes_do_not_matter():
    """Would catch a class that is judged by its place."""
    X, y = data()
    turned = np.array([3, 1, 4, 0, 2])
    one, other = (known(X, labels, super_categories=None) for labels in (y, turned[y]))
    np.testing.assert_allclose(
        one.predict_proba(X), other.predict_proba(X)[:, turned], rtol=1e-3, atol=1e-6
    )
    names = np.array(["e", "d", "c", "b", "a"])
    texts = known(X, names[y], super_categories=None).add_class(X[:1] + 30.0, "longer")
    assert (texts.predict(X) == names[one.predict(X)]).all()
    assert texts.predict(X[:1] + 30.0).tolist() == ["longer"]
    assert texts.classes_.tolist() == ["a", "b", "c", "d", "e", "longer"]


def test_a_new_fit_forgets_added_classes():
    """Would catch a class of other rows that stays behind."""
    X, y = data()
    fitted = known(X, y).add_class(X[:2] + 9.0, 9)
    assert len(fitted.classes_) == 6
    assert_same(fitted.fit(X, y), known(X, y), X)


def test_bits_do_not_depend_on_threads(threaded):
    """Would catch a product by as many threads of BLAS as there are."""
    X, y = data(6, 50, 70)
    answers = []
    for n_threads in THREADS:
        with threadpool_limits(n_threads, "blas"):
            fitted = known(X, y).add_class(X[:3] + 1.0, 9)
            answers.append(fitted.predict_log_proba(X))
    for answer in answers[1:]:
        assert_same_bits(answers[0], answer)


def test_the_same_seed_gives_the_same_super_categories():
    """Would catch random numbers of the whole process."""
    X, y = data(8, 30)
    one, other = known(X, y), known(X, y)
    assert_same(one, other, X)
    streams = map(dg.Stream.from_random_state, range(8))
    drawn = {str(draw_categories(sorts(5), 4.0, stream).tolist()) for stream in streams}
    assert len(drawn) > 1


@pytest.mark.parametrize("way", ["file", "pickle", "model"])
@pytest.mark.parametrize("settings", [
    {}, {"super_categories": None, "inherited_rows": 7.5}, {"inherited_rows": None},
])  # fmt: skip
def test_a_saved_model_has_the_same_bits(tmp_path, way, settings):
    """Would catch a file without the classes that were added, or without super-categories."""
    X, y = data()
    fitted = known(X, np.array(list("abcde"))[y], **settings).add_class(X[:2] + 5.0, "new")
    if way == "file":
        fitted.save(tmp_path / "model")
        again = dg.load(tmp_path / "model")
        assert isinstance(again, dg.HierarchicalGaussian)
    elif way == "pickle":
        again = pickle.loads(pickle.dumps(fitted))
    else:
        again = dg.HierarchicalGaussian.from_model(fitted.model_, fitted.classes_)
    assert_same(fitted, again, X)
    assert_same(fitted.add_class(X[:1] - 7.0, "last"), again.add_class(X[:1] - 7.0, "last"), X)
    assert again.get_feature_names_out().tolist() == [f"hierarchicalgaussian{k}" for k in range(4)]


def test_the_command_tells_what_a_file_holds(capsys):
    """Would catch an entry of the file that the command takes for one of another model."""
    assert main(["info", str(DATA / "hierarchy_v2.safetensors")]) == 0
    assert "ClassHierarchy" in capsys.readouterr().out


def test_commands_work_on_a_file_of_classes(tmp_path, capsys):
    """Would catch a command that sets threads which the estimator has not, or takes its densities
    for a likelihood of rows.
    """
    X, y = data()
    fitted, model_file = known(X, y), str(tmp_path / "model")
    fitted.save(model_file)
    rows, labels, out = (str(tmp_path / name) for name in ("rows.npy", "labels.npy", "out.npy"))
    np.save(rows, X)
    np.save(labels, y)
    for arguments, expected in (
        (["predict"], fitted.predict(X)), (["predict", "--proba"], fitted.predict_proba(X)),
        (["transform"], fitted.transform(X)),
    ):  # fmt: skip
        command, *flags = arguments
        assert main([command, model_file, rows, *flags, "--n-threads", "2", "--out", out]) == 0
        np.testing.assert_array_equal(np.load(out), expected)
    capsys.readouterr()
    assert main(["score", model_file, rows, "--labels", labels, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(told["accuracy"]["value"], fitted.score(X, y))
    assert main(["score", model_file, rows]) == 2
    assert "give --labels FILE" in capsys.readouterr().err


def test_a_file_of_before_loads():
    """Would catch a loader that no longer reads files that users have."""
    loaded, (X, y) = dg.load(DATA / "hierarchy_v2.safetensors"), data()
    assert loaded.classes_.tolist() == ["a", "b", "c", "d", "e", "new"]
    assert (loaded.predict(X) == np.array(list("abcde"))[y]).mean() > 0.9
    assert loaded.super_categories_ is not None


@pytest.mark.parametrize(("entry", "value", "message"), [
    ("n_classes", 6, "tensors of other names or shapes"),
    ("n_classes", 0, "n_classes is not valid"),
    ("n_components", 10**12, "n_components is not valid"),
    ("n_draws", 0, "n_draws is not valid"),
    ("n_draws", False, "n_draws is not valid"),
    ("n_sorted", 9, "n_sorted is not valid"),
    ("inherited_rows", -1.0, "inherited_rows is no positive number"),
    ("inherited_rows", "1", "inherited_rows is no positive number"),
    ("inherited_rows", None, "categories need classes with a covariance of their own"),
])  # fmt: skip
def test_a_damaged_configuration_is_refused(entry, value, message):
    """Would catch a file that takes memory, or classes that are not there."""
    tree = as_tree(known().model_)
    tree["model"] = {**tree["model"], entry: value}
    with pytest.raises(ValueError, match=message):
        from_tree(tree)


def test_a_covariance_that_is_none_is_refused(tmp_path):
    """Would catch a file whose answers end in an error of LAPACK."""
    fitted = known(inherited_rows=2.0, super_categories=None)
    scatters = fitted.model_.scatters.copy()
    scatters[1] = 0.0
    scatters[1, 0, 1] = scatters[1, 1, 0] = 1e3
    parts = {"counts": fitted.model_.counts, "means": fitted.model_.means, "scatters": scatters}
    bad = dg.ClassHierarchy(
        fitted.model_.offset, fitted.model_.weights, fitted.model_.variances, **parts
    )
    assert schema_for(fitted.model_).is_usable(fitted.model_)
    assert not schema_for(bad).is_usable(bad)


def test_a_super_category_without_a_covariance_is_refused():
    """Would catch a file whose classes have covariances each, but none for those that inherit from
    both: the sum has a negative variance.
    """
    odd = np.array([[0.0, 30.0], [30.0, 5.0]])  # -28 and 33 in its own directions
    for size, usable in ((0.0, True), (1.0, False)):
        parts = {"counts": [3, 4, 5], "means": np.zeros((3, 2)), "scatters": [size * odd] * 3}
        one = dg.ClassHierarchy(
            np.zeros(2), np.eye(2), np.ones(2), **parts, categories=[[0, 0, 0]]
        )
        assert (np.linalg.eigvalsh(100.0 * np.eye(2) + size * odd) > 0.0).all()
        assert schema_for(one).is_usable(one) == usable


def test_more_draws_than_classes_come_back():
    """Would catch a file that is written and cannot be read, draws counted by classes; and numbers
    of super-categories that are taken for how many there are.
    """
    parts = {"counts": [3, 4], "means": np.zeros((2, 2)), "scatters": np.stack([np.eye(2)] * 2)}
    start = dg.ClassHierarchy(np.zeros(2), np.eye(2), np.ones(2), **parts)
    many = start.with_categories([[0, 1]] * 7)
    np.testing.assert_array_equal(from_tree(as_tree(many)).categories, many.categories)
    far = dg.HierarchicalGaussian.from_model(start.with_categories([[2**31 - 1, 1]]))
    assert far.super_categories_ == [[0], [1]]
    with pytest.raises(ValueError, match="categories must hold at most 100 draws, got 101"):
        start.with_categories([[0, 1]] * 101)


@pytest.mark.parametrize(("settings", "message"), [
    ({"n_components": 0}, "n_components must be a positive integer"),
    ({"shrinkage": 0.0}, r"shrinkage must be a number in \(0"),
    ({"shrinkage": 1.5}, r"shrinkage must be a number in \(0, 1\], got 1\.5"),
    ({"inherited_rows": -1.0}, "inherited_rows must be a number in"),
    ({"inherited_rows": 0.5}, r"inherited_rows must be a number in \[1, 1e\+09\).*None is for"),
    ({"inherited_rows": 1e12}, "inherited_rows must be a number in"),
    ({"super_categories": "hdp"}, "super_categories must be 'crp' or None, got 'hdp'"),
    ({"random_state": "x"}, "random_state must be None, an integer"),
])  # fmt: skip
def test_settings_without_a_meaning_are_refused(settings, message):
    """Would catch an error in the middle of the work, or one that names no remedy."""
    estimator = dg.HierarchicalGaussian(**settings)
    with pytest.raises(ValueError, match=message):
        estimator.fit(*data())
    assert "model_" not in vars(estimator)


@pytest.mark.parametrize(("change", "message"), [
    (lambda X, y: (X, np.zeros(len(y))), "y must hold at least 2 classes, got 1 class"),
    (lambda X, y: (X[:5], np.arange(5)), "y must have two rows of some class, got one of each"),
    (lambda X, y: (X, y[:-1]), r"y must have shape \(60,\)"),
    (lambda X, y: (X, None), "y must hold a target for each row"),
    (lambda X, y: (np.where(np.arange(4) == 2, np.nan, X), y), "got NaN in row 0, column 2"),
    (lambda X, y: (np.tile(X, (1, 20)), y), "X must have more rows than n_components=60"),
    (lambda X, y: (np.repeat(y[:, None], 4, axis=1), y), "X must differ within classes"),
    (lambda X, y: (1e-42 * X.astype(np.float64), y), "standardize columns of tiny values"),
])  # fmt: skip
def test_rows_without_a_meaning_are_refused(change, message):
    """Would catch a covariance of no rows, and NaN that spreads to all coordinates."""
    with pytest.raises(ValueError, match=message):
        dg.HierarchicalGaussian(60).fit(*change(*data()))


@pytest.mark.parametrize("n_rows", [5, 60])
def test_a_direction_without_variance_is_told(n_rows):
    """Would catch an error of LAPACK, or one about weights that no user has given."""
    X, y = data()
    X = np.column_stack([X, np.ones(60)])[:n_rows]
    with pytest.raises(ValueError, match="raise shrinkage"):
        known(X, y[:n_rows], shrinkage=1e-300)
    known(X, y[:n_rows])


@pytest.mark.parametrize(("call", "message"), [
    (lambda e, X: e.add_class(X, 3), "3 is known; add_rows gives it more rows"),
    (lambda e, X: e.add_class(X, "new"), "label must be of the kind of the known ones, such as 0"),
    (lambda e, X: e.add_class(X, [1, 2]), "label must be one label"),
    (lambda e, X: e.add_class(X, np.nan), "label must be one label"),
    (lambda e, X: e.add_class(X[:, :2], 9), "X has 2 features"),
    (lambda e, X: e.add_class(X * np.inf, 9), "X must be finite"),
    (lambda e, X: e.add_class(X[:0], 9), "0 sample"),
    (lambda e, X: e.add_rows(X, 9), "label must be one of the known classes.*add_class adds"),
    (lambda e, X: e.score_samples(X, 9), "label must be one of the known classes"),
])  # fmt: skip
def test_a_class_without_a_meaning_is_refused(call, message):
    """Would catch rows that go to another class, and an estimator that is changed by an error."""
    X, y = data()
    fitted = known(X, y)
    with pytest.raises(ValueError, match=message):
        call(fitted, X[:3] + 1.0)
    assert_same(fitted, known(X, y), X)


DAYS = np.array(["2020-01-01", "2020-01-02", "2020-01-03", "2021-01-01", "2021-01-02"], "M8[D]")


@pytest.mark.parametrize("names", [DAYS, DAYS.astype("M8[ns]")], ids=["days", "nanoseconds"])
def test_dates_are_labels_whatever_their_unit(tmp_path, names):
    """Would catch a date that is not known again, or is added twice, because dates in nanoseconds
    are whole numbers in Python and others are not.
    """
    X, y = data()
    fitted, plain = known(X, names[y]), known(X, y)
    for known_day in (np.datetime64("2020-01-03"), datetime.date(2020, 1, 3), names[2]):
        with pytest.raises(ValueError, match="add_rows gives it more rows"):
            fitted.add_class(X[:1], known_day)
        assert_same_bits(fitted.score_samples(X, known_day), plain.score_samples(X, 2))
    new = np.datetime64("2022-05-01")
    fitted.add_class(X[:2] + 9.0, new)
    assert fitted.classes_.dtype == names.dtype
    assert fitted.predict(X[:1] + 9.0)[0] == new
    groups = fitted.super_categories_
    assert {day for group in groups for day in group} == set(names)
    fitted.save(tmp_path / "model")
    assert (dg.load(tmp_path / "model").add_rows(X[:1], new).classes_ == fitted.classes_).all()


def test_a_new_label_leaves_the_type_of_the_known_ones():
    """Would catch classes that become fractions because of one new label, numbers that are rounded
    to another one, and True that stands for 1.
    """
    X, y = data()
    for dtype, new in (("uint64", 7), ("int64", 7.0), ("float64", 7), ("uint8", np.array(7))):
        fitted = known(X, y.astype(dtype)).add_class(X[:1], new)
        assert fitted.classes_.dtype == dtype
        assert fitted.classes_[-1] == 7
    assert known(X, y.astype("uint8")).add_class(X[:1], 300).classes_[-1] == 300
    for dtype, new in (("uint64", -5), ("float64", 2**60 + 1), ("int64", True), ("bool", 0)):
        with pytest.raises(ValueError, match="label must be of the kind of the known ones"):
            known(X, (y % 2).astype(dtype)).add_class(X[:1], new)
    with pytest.raises(ValueError, match="label must be one of the known classes"):
        known(X, y).score_samples(X, True)


def test_threads_that_add_classes_do_not_lose_any():
    """Would catch labels and models of different classes: two threads that each add one to the
    classes that both have seen.
    """
    X, y = data()
    fitted = known(X, y)
    inside, refused = threading.Event(), []

    def slow(rows):
        inside.set()
        other.join()
        return coordinates(fitted.model_, rows)

    def add():
        inside.wait()
        try:
            fitted.add_class(X[:1], 8)
        except RuntimeError as error:
            refused.append(str(error))

    other = threading.Thread(target=add)
    other.start()
    with mock.patch("deepgen.estimators.hierarchical.coordinates", lambda model, rows: slow(rows)):
        fitted.add_class(X[:1], 7)
    assert len(refused) == 1
    assert "wait" in refused[0]
    assert fitted.classes_.tolist() == [0, 1, 2, 3, 4, 7]
    assert fitted.model_.n_classes == 6


@pytest.mark.parametrize(("change", "message"), [
    ({"offset": np.zeros((2, 2))}, r"offset must have shape \(n\)"),
    ({"weights": np.zeros((3, 2))}, r"weights must have shape \(2, n\)"),
    ({"weights": np.full((2, 2), np.nan)}, "weights must be finite"),
    ({"variances": [1.0, -1.0]}, "variances must not be negative"),
    ({"means": np.zeros((2, 3))}, r"means must have shape \(n, 2\)"),
    ({"counts": [1, 0]}, "counts must be whole numbers from 1 to 2147483647, got 0"),
    ({"counts": [1, 2.5]}, r"counts must be whole numbers from 1 to 2147483647, got 2\.5"),
    ({"counts": ["a", "b"]}, "counts must be whole numbers, got dtype"),
    ({"scatters": np.zeros((2, 2, 3))}, r"scatters must have shape \(2, 2, 2\)"),
    ({"scatters": -np.ones((2, 2, 2))}, "scatters must be sums of squares"),
    ({"scatters": np.triu(np.ones((2, 2, 2)))}, "scatters must be symmetric"),
    ({"categories": [[0, 1, 0]]}, "categories must have at most 2 columns"),
    ({"categories": [[0, -1]]}, "categories must be whole numbers from 0"),
    ({"categories": [[0, 1]], "inherited_rows": None}, "categories need classes"),
    ({"inherited_rows": 0.0}, "inherited_rows must be a number"),
])  # fmt: skip
def test_a_model_of_parts_that_do_not_fit_is_refused(change, message):
    """Would catch classes of other coordinates, and a super-category of nobody."""
    parts = {
        "offset": np.zeros(2), "weights": np.eye(2), "variances": np.ones(2), "counts": [3, 4],
        "means": np.zeros((2, 2)), "scatters": np.stack([np.eye(2)] * 2),
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        dg.ClassHierarchy(**{**parts, **change})
    with pytest.raises(ValueError, match="model must be a ClassHierarchy"):
        dg.HierarchicalGaussian.from_model(dg.BernoulliMixture([0.0], [[0.0]]))
