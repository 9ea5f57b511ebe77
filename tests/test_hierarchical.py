"""`HierarchicalGaussian`: new classes from few rows, scores, names, files."""

import datetime
import json
import pickle
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from class_rows import data, sorts
from conftest import THREADS, assert_same_bits
from scipy.special import logsumexp
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

import deepgen as dg
from deepgen.cli import main
from deepgen.inference.class_hierarchy import (
    class_density,
    class_of_rows,
    coordinates,
    draw_categories,
    heritages_of_new,
    log_predictives,
)
from deepgen.io.schemas.registry import as_tree, from_tree, schema_for

DATA = Path(__file__).parent / "data"


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
    density = class_density(
        before, class_of_rows(coordinates(before, new)), heritages_of_new(before)
    )
    known_classes = log_predictives(before, points)
    score = density.log_of(points) - logsumexp(known_classes, axis=1)
    np.testing.assert_allclose(
        fitted.add_class(new, 9).score_samples(X, 9), score, rtol=1e-4, atol=1e-4
    )


def test_answers_follow_what_the_classes_have_become():
    """Would catch densities that are kept beyond the model which they were computed of."""
    (X, y), new = data(), data(7)[0][:3]
    fitted = known(X, y)
    fitted.predict(X)

    for change in (
        lambda: fitted.add_class(new, 9),
        lambda: fitted.add_rows(X[:4], 9),
        lambda: fitted.fit(X[y != 3], y[y != 3]),
    ):
        change()
        fresh = pickle.loads(pickle.dumps(fitted))
        assert fresh.model_.kept is None
        for _ in range(2):
            found, expected = fitted.predict_log_proba(X[:5]), fresh.predict_log_proba(X[:5])
            assert (found == expected).all()


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
