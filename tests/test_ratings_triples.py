"""Ratings by identifiers: from triples and tables to answers that name users and items."""

import json
import pickle

import numpy as np
import pytest
from scipy import sparse

import deepgen as dg
from deepgen.io import model_files
from deepgen.rows.identifiers import Identifiers

SIDES = ("items", "users")


def triples(seed=0, n_users=40, n_items=30, share=0.4):
    """Users by name, items by number, ratings by two tastes; in random order."""
    rng = np.random.default_rng(seed)
    wish = rng.normal(size=(n_users, 2)) @ rng.normal(size=(2, n_items))
    values = np.clip(np.round(3.0 + wish), 1, 5)
    users, items = np.nonzero(rng.random((n_users, n_items)) < share)
    order = rng.permutation(len(users))
    users, items = users[order], items[order]
    return [f"user {user}" for user in users], 100 + 7 * items, values[users, items]


def model_of(rows="items", **settings):
    """A small model."""
    usual = {"n_hidden": 6, "n_epochs": 5, "learning_rate": 0.05, "random_state": 0}
    return dg.RatingsRBM(rows=rows, **{**usual, **settings})


ALL = dg.Ratings.from_triples(*triples())
TRAIN, TEST = ALL.split(0.2, random_state=0)


@pytest.fixture(scope="module")
def fitted():
    """A model of each side, with identifiers."""
    return {rows: model_of(rows).fit(TRAIN) for rows in SIDES}


# ------------------------------------------------------------------------------------- triples


def test_triples_are_where_their_identifiers_say():
    """Would catch rows in another order than their names, and sums in place of ratings."""
    users, items, values = triples()
    matrix = ALL.matrix.toarray()
    assert ALL.n_ratings == len(values)
    assert ALL.user_ids.tolist() == sorted(set(users))
    assert ALL.item_ids.tolist() == sorted(set(items.tolist()))
    assert ALL.item_ids.dtype == np.int64
    for user, item, value in zip(users[:50], items[:50], values[:50], strict=True):
        row = ALL.user_ids.tolist().index(user)
        assert matrix[row, ALL.item_ids.tolist().index(item)] == value
    assert ALL.scale.values == (1.0, 2.0, 3.0, 4.0, 5.0)


@pytest.mark.parametrize("form", ["lists", "arrays", "numpy scalars", "pandas", "dict"])
def test_every_container_gives_the_same(form):
    """Would catch identifiers that change with the container, as numbers that become texts."""
    users, items, values = triples()
    if form == "arrays":
        given = np.array(users), items.astype(np.int32), values.astype(np.float32)
    elif form == "numpy scalars":
        given = list(np.array(users)), list(items), list(values)
    else:
        given = users, items.tolist(), values.tolist()
    if form in ("pandas", "dict"):
        frame = dict(zip(("u", "i", "r"), given, strict=True))
        if form == "pandas":
            frame = pytest.importorskip("pandas").DataFrame(frame)
        other = dg.Ratings.from_frame(frame, user="u", item="i", rating="r")
    else:
        other = dg.Ratings.from_triples(*given)
    assert other.user_ids.tolist() == ALL.user_ids.tolist()
    assert other.item_ids.tolist() == ALL.item_ids.tolist()
    assert (other.matrix != ALL.matrix).nnz == 0
    assert all(type(user) is str for user in other.user_ids.tolist())


def test_a_csv_file_by_pandas(tmp_path):
    """Would catch columns of a file that are taken by their places."""
    pd = pytest.importorskip("pandas")
    users, items, values = triples()
    path = tmp_path / "ratings.csv"
    pd.DataFrame({"when": 0, "rating": values, "film": items, "who": users}).to_csv(path)
    read = dg.Ratings.from_frame(pd.read_csv(path), user="who", item="film", rating="rating")
    assert (read.matrix != ALL.matrix).nnz == 0
    with pytest.raises(ValueError, match="item must name a column of frame, got 'films'"):
        dg.Ratings.from_frame(pd.read_csv(path), user="who", item="films", rating="rating")


def test_one_and_its_text_are_two_identifiers():
    """Would catch identifiers that go through an array of texts on their way."""
    mixed = dg.Ratings.from_triples([1, "1", (2, 3)], ["a", "a", "a\0"], [1, 2, 3])
    assert mixed.user_ids.tolist() == [1, "1", (2, 3)]
    assert mixed.item_ids.tolist() == ["a", "a\0"]


def test_stored_zeros_and_half_stars_are_ratings():
    """Would catch a zero that is dropped as what is not rated."""
    ratings = dg.Ratings.from_triples([1, 1, 2], [1, 2, 1], [0.0, 0.5, 1.0])
    assert ratings.n_ratings == 3
    assert ratings.split(0.4, random_state=0)[0].n_ratings == 2
    assert ratings.scale.values == (0.0, 0.5, 1.0)
    assert ratings.ordered(users=Identifiers.in_order([2, 1], "u")).nnz == 3


def test_bins_of_continuous_ratings():
    """Would catch bins that the model does not take over, or that win over its own."""
    rng = np.random.default_rng(0)
    users, items, values = triples()
    noisy = values + rng.uniform(-0.5, 0.5, len(values))
    ratings = dg.Ratings.from_triples(users, items, noisy, bins=6)
    assert ratings.scale.edges is not None
    assert model_of().fit(ratings).model_.scale == ratings.scale
    assert len(model_of(bins=4).fit(ratings).scale_) == 4
    wide = dg.Ratings.from_triples(users, items, values, scale=range(8))
    assert model_of().fit(wide).scale_.tolist() == list(range(8))


def test_a_split_has_every_rating_once():
    """Would catch a rating on both sides, and shares of another size."""
    assert TRAIN.n_ratings + TEST.n_ratings == ALL.n_ratings
    assert TEST.n_ratings == round(0.2 * ALL.n_ratings)
    assert (TRAIN.matrix + TEST.matrix != ALL.matrix).nnz == 0
    again = ALL.split(0.2, random_state=0)[1]
    assert (again.matrix != TEST.matrix).nnz == 0
    with pytest.raises(ValueError, match="share"):
        ALL.split(1.0)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((["a", "b", "a"], [7, 7, 7], [1, 2, 3]), ValueError,
         "two of user 'a' for item 7, in rows 0 and 2, and 1 too many in all; keep the last"),
        ((["a", "b"], [7, 7], [1, np.nan]), ValueError, "finite, got nan in row 1; leave out"),
        ((["a", None], [7, 7], [1, 2]), ValueError, "got None in row 1; leave such rows out"),
        (([1.0, np.nan], [7, 7], [1, 2]), ValueError, "got nan in row 1"),
        ((range(30), range(30), np.arange(30.0)), ValueError, "pass bins=20"),
        ((["a", "b"], [7, 7], [1, 1]), ValueError, "visible='binary'"),
        ((["a", "b"], [7], [1, 2]), ValueError, "one length, got 2, 1"),
        (([], [], []), ValueError, "at least one rating"),
        (([["a"], ["b"]], [7, 7], [1, 2]), TypeError, "hashable identifiers"),
        ((["a", "b"], [7, 7], ["good", "bad"]), ValueError, "ratings must hold real numbers"),
        ((np.ones((2, 2)), [7, 7], [1, 2]), ValueError, "users must be one column"),
    ],
)  # fmt: skip
def test_bad_triples_are_refused_with_the_remedy(arguments, error, words):
    """Would catch duplicates that add up to a rating of 10, and implicit feedback as ratings."""
    with pytest.raises(error, match=words):
        dg.Ratings.from_triples(*arguments)


def test_a_scale_that_is_given_is_kept_to():
    """Would catch a rating off the scale, and two answers to what ratings mean."""
    with pytest.raises(ValueError, match=r"got 6; pass the whole scale"):
        dg.Ratings.from_triples([1, 2], [1, 2], [6, 3], scale=[1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="exclude each other"):
        dg.Ratings.from_triples([1, 2], [1, 2], [6, 3], scale=[1, 2], bins=2)


def test_a_matrix_that_is_there_gets_names(tmp_path):
    """Would catch arrays of a mapped file that are copied, and names of the wrong axis."""
    for name in ("data", "indices", "indptr"):
        np.save(tmp_path / f"{name}.npy", getattr(TRAIN.matrix, name))
    np.save(tmp_path / "shape.npy", TRAIN.shape)
    mapped = dg.map_csr(tmp_path)
    ratings = dg.Ratings(mapped, TRAIN.user_ids.tolist(), TRAIN.item_ids, [1, 2, 3, 4, 5])
    assert ratings.matrix is mapped
    model, wanted = model_of().fit(ratings), model_of().fit(TRAIN)
    np.testing.assert_array_equal(model.model_.weights, wanted.model_.weights)
    assert model.recommend(ratings, 3)[0].tolist() == wanted.recommend(TRAIN, 3)[0].tolist()
    for arguments, error, words in (
        ((mapped, TRAIN.item_ids, TRAIN.user_ids, TRAIN.scale), ValueError, "a row for each user"),
        ((mapped, ["a"] * 40, TRAIN.item_ids, TRAIN.scale), ValueError, "users must be .*distinct"),
        ((mapped.toarray(), TRAIN.user_ids, TRAIN.item_ids, TRAIN.scale), TypeError, "csr_array"),
        ((mapped, TRAIN.user_ids, TRAIN.item_ids, [1]), ValueError, "2 to 20"),
    ):
        with pytest.raises(error, match=words):
            dg.Ratings(*arguments)


def test_a_matrix_that_says_a_pair_twice_is_refused():
    """Would catch two ratings of 5 that become one of 10 where a matrix is cut or turned."""
    matrix = sparse.csr_array((np.array([5.0, 5.0, 3.0]), np.array([0, 0, 1]), np.array([0, 2, 3])))
    twice = dg.Ratings(matrix, ["ann", "bob"], ["Alien", "Heat"], [1, 2, 3, 4, 5])
    for call in (
        lambda: twice.ordered(users=["bob", "ann"]), twice.among, lambda: twice.split(0.1),
        lambda: model_of().fit(twice),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="must have one rating for a user and an item, got"):
            call()


def test_whole_floats_of_a_column_are_integers(tmp_path):
    """Would catch users that no file can hold, since one who was missing made all of them floats;
    and numbers with a fraction that are cut off."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"who": [3, None, 7], "what": [1.0, 2.0, 2.0], "how": [1, 2, 5]})
    ratings = dg.Ratings.from_frame(frame.dropna(), user="who", item="what", rating="how")
    assert ratings.user_ids.dtype == ratings.item_ids.dtype == np.int64
    assert ratings.user_ids.tolist() == [3, 7]
    model_of().fit(ratings).save(tmp_path / "a")
    assert dg.load(tmp_path / "a").user_ids_.tolist() == [3, 7]
    for column in ([1.5, 2.0], [1e300, 2.0]):
        users = dg.Ratings.from_triples(np.array(column), [1, 2], [1, 2]).user_ids
        assert users.tolist() == column


def test_a_column_that_is_not_there_is_told_which_are():
    """Would catch a message that says the name, and no more than the name."""
    frame = {"userId": [1, 2], "movieId": [1, 2], "rating": [1, 2]}
    with pytest.raises(ValueError, match=r"got 'user': it has 'userId', 'movieId', 'rating'"):
        dg.Ratings.from_frame(frame, user="user", item="movieId", rating="rating")


# ------------------------------------------------------------------- questions by identifiers


@pytest.mark.parametrize("rows", SIDES)
def test_identifiers_and_numbers_are_the_same_model(fitted, rows):
    """Would catch an identifier that is answered with somebody else's ratings."""
    named, plain = fitted[rows], model_of(rows, scale=[1, 2, 3, 4, 5]).fit(TRAIN.matrix)
    np.testing.assert_array_equal(named.model_.weights, plain.model_.weights)
    assert plain.user_ids_ is None
    users, items = np.arange(len(TRAIN.user_ids)), np.arange(len(TRAIN.item_ids))
    wanted = plain.predict(users[:, None], items)
    found = named.predict(named.user_ids_[:, None], named.item_ids_)
    np.testing.assert_array_equal(found, wanted)
    assert named.predict("user 7", 107) == found[named.user_ids_.tolist().index("user 7"), 1]
    assert named.predict(["user 7"], [107]).shape == (1,)
    assert named.predict_proba("user 7", 107).shape == (5,)
    assert named.score(TEST) == plain.score(TEST.matrix)
    assert named.ndcg(TEST) == plain.ndcg(TEST.matrix)
    np.testing.assert_array_equal(named.transform(TRAIN), plain.transform(TRAIN.matrix))
    ids, scores = named.recommend(TRAIN, 40)
    numbers, other = plain.recommend(TRAIN.matrix, 40)
    np.testing.assert_array_equal(scores, other)
    left = numbers >= 0
    assert (ids[left] == named.item_ids_[numbers[left]]).all()
    assert all(item is None for item in ids[~left])
    similar, cosines = named.similar_items(107, 3)
    near, other = plain.similar_items(1, 3)
    assert similar.tolist() == named.item_ids_[near].tolist()
    np.testing.assert_array_equal(cosines, other)


@pytest.mark.parametrize("rows", SIDES)
def test_a_user_is_asked_about_by_name(fitted, rows):
    """Would catch a row of ratings that belongs to another user than the one who is named."""
    model = fitted[rows]
    place = TRAIN.user_ids.tolist().index("user 12")
    every = model.recommend(TRAIN, 5)
    for one in (
        model.recommend(TRAIN, 5, users="user 12"),
        model.recommend(TRAIN, 5, users=["user 12"]),
    ):
        assert one[0].tolist() == [every[0][place].tolist()]
        np.testing.assert_array_equal(one[1], every[1][[place]])
    twice = model.recommend(TRAIN, 5, users=["user 3", "user 12", "user 3"])[0]
    assert twice[1].tolist() == every[0][place].tolist()
    assert twice[0].tolist() == twice[2].tolist()
    some = model.recommend(TRAIN, 5, users="user 12", among=[100, 107, 114], exclude=[107])
    assert {item for item in some[0][0] if item is not None} <= {100, 114}
    # ratings of fit are not remembered: without any, the same scores and nothing left out
    free = model.recommend(users="user 12", n=30)
    assert sorted(free[0][0]) == model.item_ids_.tolist()
    scores = dict(zip(free[0][0], free[1][0], strict=True))
    assert [scores[item] for item in every[0][place]] == every[1][place].tolist()
    assert model.recommend()[0].shape == (40, 10)


@pytest.mark.parametrize("rows", SIDES)
def test_ratings_in_another_order_are_the_same(fitted, rows):
    """Would catch columns that are taken by their places where their identifiers say others."""
    model = fitted[rows]
    lengths = np.diff(TRAIN.matrix.indptr)
    users = np.repeat(TRAIN.user_ids, lengths)
    items, values = TRAIN.item_ids[TRAIN.matrix.indices], TRAIN.matrix.data
    some = (users != "user 3") & (items != 114)
    other = dg.Ratings.from_triples(users[some], items[some], values[some])
    assert len(other.item_ids) < len(TRAIN.item_ids)
    turned = dg.Ratings(
        other.ordered(
            users=Identifiers.in_order(other.user_ids[::-1], "u"),
            items=Identifiers.in_order(other.item_ids[::-1], "i"),
        ),
        Identifiers.in_order(other.user_ids[::-1], "u"),
        Identifiers.in_order(other.item_ids[::-1], "i"), TRAIN.scale,
    )  # fmt: skip
    assert model.score(turned) == pytest.approx(model.score(other), rel=1e-6)
    a, b = model.recommend(other, 5), model.recommend(turned, 5)
    np.testing.assert_array_equal(a[1], b[1][::-1])
    assert a[0].tolist() == b[0][::-1].tolist()
    np.testing.assert_array_equal(model.transform(other), model.transform(turned)[::-1])


def test_new_users_are_answered_by_their_ratings(fitted):
    """Would catch new users who need a number of the model, or take that of a known one."""
    new = dg.Ratings.from_triples(["eve", "eve", "tom"], [100, 121, 121], [5, 1, 3])
    ids, _ = fitted["users"].recommend(new, 4)
    assert ids.shape == (2, 4)
    assert not {100, 121} & set(ids[0])
    with pytest.raises(ValueError, match=r"got 'eve'; .* fit with rows='users'"):
        fitted["items"].recommend(new, 4)
    with pytest.raises(ValueError, match=r"got 'eve'; recommend\(X\) answers for new"):
        fitted["users"].recommend(users="eve")


@pytest.mark.parametrize("rows", SIDES)
def test_what_comes_later_is_known_by_name(rows):
    """Would catch new rows whose names are those of old ones, or that have none."""
    model = model_of(rows).fit(TRAIN)
    if rows == "users":
        new = dg.Ratings.from_triples(["eve", "eve", "tom"], [100, 121, 121], [5, 1, 3])
        model.partial_fit(new)
        assert model.user_ids_[-2:].tolist() == ["eve", "tom"]
        assert model.n_users_ == 42
        assert model.predict("eve", 100) == model.predict(["tom", "eve"], 100)[1]
    else:
        model.partial_fit(dg.Ratings.from_triples(["user 1", "user 3"], [7, 7], [5, 1]))
        assert model.item_ids_[-1] == 7
        assert np.isfinite(model.predict("user 1", 7))
    before = model.model_
    with pytest.raises(ValueError, match="known already"):
        model.partial_fit(TRAIN)
    with pytest.raises(ValueError, match=r"dg.Ratings for partial_fit"):
        model.partial_fit(TRAIN.matrix)
    assert model.model_ is before


def test_bad_questions_name_the_identifier(fitted):
    """Would catch an unknown name that is answered with the last row (number -1)."""
    model, plain = fitted["users"], model_of().fit(TRAIN.matrix)
    for call, words in (
        (lambda: model.predict("nobody", 107), "users must be identifiers .* got 'nobody'"),
        (lambda: model.predict("user 7", [107, 1]), "items must be identifiers .* got 1"),
        (lambda: model.predict("user 7", "107"), "got '107'; 107, an integer, is there"),
        (lambda: model.similar_items([107, 114]), "one item"),
        (lambda: model.similar_items([[107]]), "item must be"),
        (lambda: model.recommend(TRAIN, users="nobody"), "that X has, .*'nobody'; leave"),
        (lambda: model.recommend(TRAIN.matrix, users=["user 1"]), "users must be None"),
        (lambda: model.score(dg.Ratings.from_triples(["user 1", "x"], [107, 107], [1, 2])),
         "X must have users that the model knows, got 'x'"),
        (lambda: model.recommend(dg.Ratings.from_triples([1, 2], [107, 9], [1, 2])),
         "X must have items that the model knows, got 9"),
        (lambda: model.recommend(dg.Ratings.from_triples([1, 2], ["107", "114"], [1, 2])),
         "got '107', which was not in fit; 107, an integer, is there"),
        (lambda: plain.score(TEST), "knows no identifiers"),
        (lambda: plain.partial_fit(TEST), "knows no identifiers"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            call()


# ----------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("rows", SIDES)
def test_files_and_pickles_know_the_identifiers(fitted, rows, tmp_path):
    """Would catch numbers that come back as texts, and names in another order."""
    model = fitted[rows]
    model.save(tmp_path / "model")
    for other in (dg.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert other.item_ids_.dtype == np.int64
        assert other.user_ids_.tolist() == model.user_ids_.tolist()
        assert other.score(TEST) == model.score(TEST)
        assert other.recommend(TRAIN, 3)[0].tolist() == model.recommend(TRAIN, 3)[0].tolist()
    fresh = model_of(rows).fit(TRAIN.matrix)
    fresh.save(tmp_path / "plain")
    assert dg.load(tmp_path / "plain").item_ids_ is None


def test_any_text_and_any_int64_come_back(tmp_path):
    """Would catch surrogates, null characters, negative numbers and texts of digits."""
    users = ["", "\ud800", "a\0", "7", 7, -(2**63), 2**63 - 1, '"', "é"]
    items = [0] * len(users)
    values = [1, 2, 3, 4, 5, 1, 2, 3, 4]
    model = model_of(n_epochs=1).fit(dg.Ratings.from_triples(users, items, values))
    model.save(tmp_path / "model")
    assert dg.load(tmp_path / "model").user_ids_.tolist() == users


@pytest.mark.parametrize("wrong", [(1, 2), 2.5, 2**64, b"x"])
def test_other_identifiers_are_refused_at_save(wrong, tmp_path):
    """Would catch a file that loses who is who; the model itself takes any hashable object."""
    model = model_of(n_epochs=1).fit(dg.Ratings.from_triples([wrong, "a"], ["x", "y"], [1, 2]))
    assert np.isfinite(model.predict([wrong], ["x"])[0])
    with pytest.raises(ValueError, match="users must be strings or 64-bit integers"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"user_ids": ["1"]}, "must name the 40 users"),
        ({"item_ids": ["1", "1"]}, "distinct"),
        ({"item_ids": ["[1]"]}, "no string and no integer"),
        ({"item_ids": ["1e5"]}, "no string and no integer"),
        ({"item_ids": ['"a']}, "no estimator for this model"),
        ({"item_ids": ['"a" 1']}, "no estimator for this model"),
        ({"item_ids": ["9" * 19]}, "no string and no integer"),
        ({"item_ids": 3}, "no list of texts"),
        ({"item_ids": None}, "must name the 30 items"),
    ],
)
def test_damaged_identifiers_are_refused(fitted, changes, words, tmp_path):
    """Would catch a stranger's file that names two users alike, or nests what JSON can nest."""
    model = fitted["items"]
    extra = {"estimator": "RatingsRBM", **model._beside_model(), **changes}
    extra = {name: value for name, value in extra.items() if value is not None}
    model_files.save(model.model_, tmp_path / "model", extra=extra)
    with pytest.raises(dg.ModelFileError, match=words):
        dg.load(tmp_path / "model")


def test_identifiers_are_no_part_of_the_header(fitted, tmp_path):
    """Would catch a model of many users that cannot be saved: a header holds a mebibyte."""
    fitted["items"].save(tmp_path / "model")
    with model_files.opened(tmp_path / "model") as file:
        assert "texts.user_ids.bytes" in file.shapes
        assert "user 7" not in json.dumps(file.config)


# ---------------------------------------------------------------------------------------- blends


def test_a_blend_is_the_ridge_regression():
    """Would catch a penalty on the intercept, and weights that are pulled to zero."""
    rng = np.random.default_rng(0)
    ratings = rng.integers(1, 6, 300).astype(float)
    noise = ((0.0, 0.5), (1.0, 1.0), (0.3, 2.0))
    p = np.stack([ratings + rng.normal(mean, s, 300) for mean, s in noise])
    found = dg.blend(p, ratings, ridge=7.0)
    # the same, with the intercept as a column without a penalty
    A = np.vstack([p, np.ones(300)]).T
    penalty = np.diag([7.0, 7.0, 7.0, 0.0])
    start = np.array([1 / 3, 1 / 3, 1 / 3, 0.0])
    wanted = np.linalg.solve(A.T @ A + penalty, A.T @ ratings + penalty @ start)
    np.testing.assert_allclose([*found.weights, found.intercept], wanted, rtol=1e-9)
    np.testing.assert_allclose(found.predict(p), A @ wanted, rtol=1e-9)
    even = dg.blend(p, ratings, ridge=1e9)
    np.testing.assert_allclose(even.weights, 1 / 3, rtol=1e-4)
    twins = dg.blend([p[0], p[0]], ratings)
    np.testing.assert_allclose(twins.weights[0], twins.weights[1])


def test_a_blend_is_better_than_each_of_its_models():
    """Would catch weights of another order than the predictions."""
    rng = np.random.default_rng(1)
    ratings = rng.integers(1, 6, 4000).astype(float)
    p = np.stack([ratings + rng.normal(0, s, 4000) for s in (0.8, 1.0)])
    fitted = dg.blend(p[:, :2000], ratings[:2000])
    rmse = [np.sqrt(np.mean((q - ratings[2000:]) ** 2)) for q in p[:, 2000:]]
    assert np.sqrt(np.mean((fitted.predict(p[:, 2000:]) - ratings[2000:]) ** 2)) < min(rmse)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0, 2.0], [1.0, 2.0]), "a row for each model"),
        (([[1.0, 2.0]], [1.0]), "one for each prediction"),
        (([[1.0, np.nan]], [1.0, 2.0]), "predictions must be finite"),
        (([[1.0, 2.0]], [1.0, np.inf]), "ratings must be finite"),
        (([[]], []), "at least one"),
    ],
)
def test_bad_blends_are_refused(arguments, words):
    """Would catch predictions by column, and NaN that spreads to all weights."""
    with pytest.raises(ValueError, match=words):
        dg.blend(*arguments)
    with pytest.raises(ValueError, match="ridge"):
        dg.blend([[1.0, 2.0]], [1.0, 2.0], ridge=0.0)
    with pytest.raises(ValueError, match="2 models"):
        dg.blend([[1.0, 2.0], [2.0, 1.0]], [1.0, 2.0]).predict([[1.0]])


def test_a_matrix_that_is_no_ratings_is_told_what_to_write():
    """Would catch a remedy that leads to another refusal."""
    with pytest.raises(TypeError, match=r"write dg.Ratings.from_triples"):
        model_of().fit(np.ones((3, 3)))
    assert model_of().fit(sparse.coo_array(TRAIN.matrix)).n_users_ == 40
