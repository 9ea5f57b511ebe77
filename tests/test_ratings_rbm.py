"""The recommender: does it learn, answer what was asked, and refuse what it cannot know?"""

import pickle

import numpy as np
import pytest
from conftest import THREADS
from scipy import sparse
from sklearn.base import clone

import deepgen as dg
from deepgen.estimators.common.ratings import ndcg_of_users
from deepgen.rows.scale import Scale

N_USERS, N_ITEMS = 120, 60
SIDES = ("items", "users")


def made_up(seed=0, *, n_users=N_USERS, n_items=N_ITEMS, share=0.35, scale=(1, 2, 3, 4, 5)):
    """Ratings by tastes of two factors, cut into a scale: (train, test), users by items."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.normal(size=(n_users, 2)), rng.normal(size=(n_items, 2))
    wish = taste @ kind.T + rng.normal(0.0, 0.3, (n_users, n_items)) + rng.normal(size=n_items)
    edges = np.quantile(wish, np.arange(1, len(scale)) / len(scale))
    values = np.array(scale, np.float64)[np.searchsorted(edges, wish)]
    users, items = np.nonzero(rng.random((n_users, n_items)) < share)
    test = rng.random(len(users)) < 0.15
    return tuple(
        sparse.csr_array(
            (values[users[some], items[some]], (users[some], items[some])),
            shape=(n_users, n_items),
        )
        for some in (~test, test)
    )


TRAIN, TEST = made_up()


def model_of(rows="items", **settings):
    """A small model on the made-up ratings."""
    usual = {"n_hidden": 12, "n_epochs": 20, "learning_rate": 0.05, "random_state": 0}
    return dg.RatingsRBM(rows=rows, **{**usual, **settings})


@pytest.fixture(scope="module")
def fitted():
    """A model of each side."""
    return {rows: model_of(rows).fit(TRAIN) for rows in SIDES}


def error_of_means(train, test):
    """RMSE of the mean of each item, moved halfway to the user's: a plain baseline."""
    overall = train.data.mean()
    by_item = (train.sum(axis=0) + 3 * overall) / ((train != 0).sum(axis=0) + 3)
    users = np.repeat(np.arange(train.shape[0]), np.diff(train.indptr))
    own = np.zeros(train.shape[0])
    np.add.at(own, users, train.data - by_item[train.indices])
    own /= np.diff(train.indptr) + 3
    test = test.tocoo()
    return np.sqrt(np.mean((by_item[test.col] + own[test.row] - test.data) ** 2))


# ----------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("rows", SIDES)
@pytest.mark.parametrize("rule", ["prediction", "cd", "pcd", dg.CD(2)])
def test_it_predicts_better_than_means(rows, rule):
    """Would catch learning that leads nowhere, in either direction and by every rule."""
    epochs = 60 if rule == "prediction" else 150
    model = model_of(rows, rule=rule, n_epochs=epochs, n_hidden=30, weight_decay=0.01).fit(TRAIN)
    assert -model.score(TEST) < 0.95 * error_of_means(TRAIN, TEST)
    assert 0.5 < model.ndcg(TEST) <= 1.0
    assert len(model.history_) == epochs


@pytest.mark.parametrize("rows", SIDES)
def test_probabilities_are_better_than_frequencies(rows):
    """Would catch probabilities that are sure of themselves and wrong."""
    model = model_of(rows, n_epochs=60, learning_rate=0.03).fit(TRAIN)
    counts = np.bincount(TRAIN.data.astype(int))[1:] / TRAIN.nnz
    frequencies = -np.log(counts[TEST.data.astype(int) - 1]).mean()
    assert model.log_loss(TEST) < 0.95 * frequencies


@pytest.mark.parametrize("rule", ["prediction", "cd", "pcd"])
def test_the_same_bits_for_any_number_of_threads(rule):
    """Would catch learning or answers that depend on who computes what."""
    models = [model_of(rule=rule, n_epochs=2, n_threads=n).fit(TRAIN) for n in THREADS]
    first = models[0].model_.arrays()
    for model in models[1:]:
        for name, array in model.model_.arrays().items():
            np.testing.assert_array_equal(array, first[name])


@pytest.mark.parametrize("rule", ["prediction", "pcd"])
def test_a_resumed_run_has_the_same_bits(rule, tmp_path):
    """Would catch averages, persistent states or places that a checkpoint forgets."""
    path = tmp_path / "run"
    whole = model_of(rule=rule, n_epochs=10).fit(TRAIN)
    for stop in (2, 8):

        def stop_here(report, stop=stop):
            if report.epoch == stop:
                raise RuntimeError

        stopped = model_of(rule=rule, n_epochs=10, callbacks=[dg.Checkpoint(path), stop_here])
        with pytest.raises(RuntimeError):
            stopped.fit(TRAIN)
        resumed = model_of(rule=rule, n_epochs=10).fit(TRAIN, resume=path)
        for name, array in whole.model_.arrays().items():
            np.testing.assert_array_equal(resumed.model_.arrays()[name], array)
        assert len(resumed.history_) == 10
    other = TRAIN.copy()
    other.data = np.roll(other.data, 1)
    with pytest.raises(ValueError, match="other rows"):
        model_of(rule=rule, n_epochs=10).fit(other, resume=path)
    with pytest.raises(ValueError, match="weight_decay"):
        model_of(rule=rule, n_epochs=10, weight_decay=0.1).fit(TRAIN, resume=path)


def test_a_mapped_matrix_gives_the_same_bits(tmp_path):
    """Would catch a copy of what is mapped, or a matrix that must be writable."""
    parts = {"data": TRAIN.data, "indices": TRAIN.indices, "indptr": TRAIN.indptr}
    for name, array in parts.items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in parts]
    X = sparse.csr_array(tuple(mapped), shape=TRAIN.shape)
    for rows in SIDES:
        a, b = (model_of(rows, n_epochs=2).fit(x).model_.arrays() for x in (TRAIN, X))
        assert all((a[name] == b[name]).all() for name in a)


def test_callbacks_see_the_run():
    """Would catch a run that callbacks cannot watch or stop."""
    seen = []
    model = model_of(
        n_epochs=30, callbacks=[lambda report: seen.append(report.entry["rmse"]) or len(seen) == 3]
    ).fit(TRAIN)
    assert len(seen) == len(model.history_) == 3
    assert model.n_epochs_ == 30
    watched = model_of(callbacks=[dg.EarlyStopping("loss", mode="min", patience=5)]).fit(TRAIN)
    assert watched.history_[-1]["loss"] < watched.history_[0]["loss"]


# ------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize("rows", SIDES)
def test_an_answer_does_not_depend_on_who_else_is_asked(fitted, rows):
    """Would catch sums over a batch of questions."""
    model = fitted[rows]
    users, items = np.arange(N_USERS)[:, None], np.arange(N_ITEMS)
    together, p = model.predict(users, items), model.predict_proba(users, items)
    assert together.shape == (N_USERS, N_ITEMS)
    assert ((together >= 1.0) & (together <= 5.0)).all()
    np.testing.assert_allclose(p.sum(axis=-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(p @ model.scale_, together, atol=1e-4)
    for user, item in ((0, 0), (5, 59), (119, 31)):
        assert model.predict(user, item) == together[user, item]
        assert (model.predict_proba([user], [item])[0] == p[user, item]).all()
    ids, scores = model.recommend(TRAIN, 7)
    one = model.recommend(TRAIN[[17]], 7, users=[17] if rows == "items" else None)
    assert (one[0][0] == ids[17]).all()
    assert (one[1][0] == scores[17]).all()
    assert (scores == together[np.arange(N_USERS)[:, None], ids]).all()


@pytest.mark.parametrize("rows", SIDES)
def test_recommendations_are_the_best_of_what_is_left(fitted, rows):
    """Would catch what is rated among the answers, ties in another order, a shape that varies."""
    model = fitted[rows]
    scores = model.predict(np.arange(N_USERS)[:, None], np.arange(N_ITEMS))
    top = model.predict_proba(np.arange(N_USERS)[:, None], np.arange(N_ITEMS))[..., -1]
    for options, values in (
        ({}, scores), ({"rank": "top"}, top), ({"exclude": [3, 4, 4]}, scores),
        ({"among": np.arange(10, 30)}, scores), ({"among": [5, 7, 9], "exclude": [7]}, scores),
    ):  # fmt: skip
        for n in (1, 10, 80, 120):
            ids, best = model.recommend(TRAIN, n, **options)
            assert ids.shape == best.shape == (N_USERS, n)
            left = np.where(TRAIN.toarray() > 0, np.nan, values)
            if "among" in options:
                left[:, np.setdiff1d(np.arange(N_ITEMS), options["among"])] = np.nan
            left[:, options.get("exclude", [])] = np.nan
            for user in (0, 50, 119):
                order = np.argsort(-left[user], kind="stable")[:n]
                order = order[~np.isnan(left[user, order])]
                assert ids[user, : len(order)].tolist() == order.tolist()
                assert (ids[user, len(order) :] == -1).all()
                assert np.isnan(best[user, len(order) :]).all()


@pytest.mark.parametrize("rows", SIDES)
def test_a_recommender_that_is_given_the_test_ratings_hits_none(fitted, rows):
    """Would catch exclusion of what was in `fit` in place of what is in the rows: a peer's notebook
    passed the test matrix, and its precision was that of a leak."""
    users = np.flatnonzero(np.diff(TEST.indptr))
    ids, _ = fitted[rows].recommend(TEST[users], 10, users=users if rows == "items" else None)
    there = TEST[users].toarray() > 0
    assert not np.take_along_axis(there, ids, axis=1).any()
    assert there.sum() > 300


def test_new_users_fold_in(fitted):
    """Would catch a model of users that answers by number in place of ratings."""
    model = fitted["users"]
    new, _ = made_up(3, n_users=15)
    ids, _ = model.recommend(new, 5)
    assert ids.shape == (15, 5)
    assert (model.recommend(TRAIN[[4]], 5)[0] == model.recommend(TRAIN, 5)[0][4]).all()
    np.testing.assert_array_equal(model.transform(TRAIN[[4]])[0], model.model_.known_means[4])
    empty = sparse.csr_array((1, N_ITEMS))
    with pytest.warns(UserWarning, match="without a rating"):
        cold = model.recommend(empty, 3)
    assert (cold[0] >= 0).all()
    with pytest.raises(ValueError, match="rows='users'"):
        fitted["items"].recommend(new, 5)
    with pytest.raises(ValueError, match="rows='users'"):
        fitted["items"].recommend(new[[0]], 5, users=[N_USERS])


@pytest.mark.parametrize("rows", SIDES)
def test_partial_fit_knows_what_came_later(rows):
    """Would catch rows that are learned from and then unknown, or old ones that are forgotten."""
    new, _ = made_up(3, n_users=15) if rows == "users" else made_up(3, n_items=15)
    model = model_of(rows).fit(TRAIN)
    before, known = model.score(TEST), model.model_.known_means.copy()
    model.partial_fit(new)
    assert (model.n_users_, model.n_items_) == (
        (N_USERS + 15, N_ITEMS) if rows == "users" else (N_USERS, N_ITEMS + 15)
    )
    np.testing.assert_array_equal(model.model_.known_means[: len(known)], known)
    wide = TEST.copy()
    wide.resize(model.n_users_, model.n_items_)
    assert abs(model.score(wide) - before) < 0.05
    first = model_of(rows).partial_fit(TRAIN)
    np.testing.assert_array_equal(first.model_.weights, model_of(rows).fit(TRAIN).model_.weights)


def test_a_stream_of_single_users_takes_no_memory_of_their_calls():
    """Would catch a history that grows, and is copied, with each call of `partial_fit`."""
    model = model_of("users").fit(TRAIN)
    before, updates = list(model.history_), model.n_updates_
    for user in range(3):
        model.partial_fit(TRAIN[[user]])
    assert model.history_ == before
    assert model.n_updates_ == updates + 3
    assert model.n_users_ == N_USERS + 3


@pytest.mark.parametrize("rows", SIDES)
def test_settings_of_the_next_fit_change_no_answer(rows, tmp_path):
    """Would catch a known user who is looked up among items, beyond the end of their array."""
    model, other = model_of(rows).fit(TRAIN), SIDES[rows == "items"]
    users, items = np.array([0, N_USERS - 1]), np.array([3, 4])
    wanted = model.predict(users, items), model.recommend(TRAIN, 3), model.similar_items(2, 3)
    model.set_params(rows=other, n_hidden=3, conditional=True, rule="pcd")
    model.save(tmp_path / "a")
    for same in (model, dg.load(tmp_path / "a"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(same.predict(users, items), wanted[0])
        np.testing.assert_array_equal(same.recommend(TRAIN, 3), wanted[1])
        np.testing.assert_array_equal(same.similar_items(2, 3), wanted[2])
        assert same.transform(TRAIN).shape == (N_USERS if rows == "users" else N_ITEMS, 12)
    assert model.fit(TRAIN).model_.n_columns == (N_USERS if other == "items" else N_ITEMS)


def test_similar_items_are_alike():
    """Would catch features of users in place of items, and an item that resembles itself."""
    # two kinds of items, and users who like one of them
    rng = np.random.default_rng(0)
    likes = rng.random(200) < 0.5
    values = np.where(likes[:, None] == (np.arange(20) < 10), 5.0, 1.0)
    there = rng.random((200, 20)) < 0.5
    X = sparse.csr_array(np.where(there, values, 0.0))
    for rows in SIDES:
        model = model_of(rows, n_epochs=60).fit(X)
        ids, cosines = model.similar_items(2, 9)
        assert sorted(ids) == [i for i in range(10) if i != 2], rows
        assert (np.diff(cosines) <= 0).all()
        ids, _ = model.similar_items(0, 25)
        assert ids[19:].tolist() == [-1] * 6


def test_ndcg_by_hand():
    """Would catch a discount that begins elsewhere, and an ideal order over all users."""
    users = np.array([0, 0, 0, 1, 1, 2])
    scores, gains = np.array([3.0, 2.0, 1.0, 1.0, 2.0, 9.0]), np.array([0, 2, 1, 1, 1, 4])
    ideal = 3.0 + 1.0 / np.log2(3.0)
    found = (3.0 / np.log2(3.0) + 1.0 / 2.0) / ideal
    assert ndcg_of_users(users, scores, gains, 10) == pytest.approx((found + 1.0) / 2)
    assert ndcg_of_users(users, scores, gains, 1) == pytest.approx((0.0 + 1.0) / 2)


def test_likelihoods_are_those_of_rows(fitted):
    """Would catch likelihoods of the other side's rows."""
    for rows, n in (("users", N_USERS), ("items", N_ITEMS)):
        scores = fitted[rows].score_samples(TRAIN)
        assert scores.shape == (n,)
        assert (scores < 0).all()


# ------------------------------------------------------------------------------------- scales


@pytest.mark.parametrize(
    "scale", [(0, 1, 2, 3, 4), tuple(np.arange(0.5, 5.5, 0.5)), (-1, 1), tuple(range(20))]
)
def test_any_scale(scale):
    """Would catch zeros that are taken for what is not rated, and values that are rounded."""
    train, test = made_up(scale=scale)
    assert train.nnz == TRAIN.nnz
    model = model_of(n_epochs=60).fit(train)
    assert model.scale_.tolist() == list(scale)
    p = model.predict(np.arange(N_USERS)[:, None], np.arange(N_ITEMS))
    assert ((p >= scale[0]) & (p <= scale[-1])).all()
    spread = np.std(test.data)
    assert -model.score(test) < 0.9 * spread
    if len(scale) < 20:  # a value that nobody has given yet
        wider = model_of(scale=(*scale, 99), n_epochs=2).fit(train)
        assert wider.predict_proba(0, 0)[-1] < 0.05


def test_a_scale_shifted_or_stretched_is_the_same_model():
    """Would catch a loss that depends on the unit that ratings are given in."""
    train, _ = made_up()
    other = train.copy()
    other.data = 10.0 * other.data - 7.0
    a, b = model_of().fit(train), model_of().fit(other)
    np.testing.assert_array_equal(a.model_.weights, b.model_.weights)


def test_bins_hold_continuous_ratings():
    """Would catch edges that belong to the wrong bin, and a value outside of its bin."""
    rng = np.random.default_rng(0)
    train, test = made_up()
    for part in (train, test):
        part.data = part.data + rng.uniform(-0.5, 0.5, part.nnz)
    with pytest.raises(ValueError, match="bins="):
        model_of().fit(train)
    model = model_of(bins=10, n_epochs=60).fit(train)
    assert len(model.scale_) == 10
    assert -model.score(test) < 0.95 * test.data.std()
    scale = model.model_.scale
    assert all(a < e <= b for a, e, b in zip(scale.values, scale.edges, scale.values[1:], strict=0))
    numbers = scale.numbers(train.data)
    for k in range(10):
        assert train.data[numbers == k].mean() == pytest.approx(scale.values[k])
    assert np.bincount(numbers).min() > 0.8 * train.nnz / 10
    again = pickle.loads(pickle.dumps(model))
    assert again.score(test) == model.score(test)
    edges = model_of(bins=[2.0, 4.0]).fit(train)
    numbers = edges.model_.scale.numbers(np.array([1.9, 2.0, 3.9, 4.0, 9.0]))
    assert numbers.tolist() == [0, 1, 1, 2, 2]


def test_a_column_without_ratings_says_what_all_say():
    """Would catch infinite biases, and an item that nobody rated at an end of the scale."""
    train, _ = made_up()
    keep = train.tocoo()
    some = (keep.col != 7) & (keep.row != 3)
    train = sparse.csr_array((keep.data[some], (keep.row[some], keep.col[some])), train.shape)
    for rows in SIDES:
        model = model_of(rows).fit(train)
        p = model.predict_proba(3, 7)
        overall = np.bincount(train.data.astype(int))[1:] / train.nnz
        assert np.abs(p - overall).max() < 0.25


# ------------------------------------------------------------------------------ files and copies


@pytest.mark.parametrize("rows", SIDES)
@pytest.mark.parametrize("bins", [None, 6])
def test_files_and_pickles_answer_alike(rows, bins, tmp_path):
    """Would catch a file without known rows, scale, bins or the side that is a row."""
    model = model_of(rows, bins=bins, n_epochs=3).fit(TRAIN)
    model.save(tmp_path / "model.safetensors")
    for other in (dg.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))):
        assert other.rows == rows
        assert other.n_users_ == N_USERS
        assert other.n_items_ == other.n_features_in_ == N_ITEMS
        assert other.scale_.tolist() == model.scale_.tolist()
        assert other.score(TEST) == model.score(TEST)
        for a, b in zip(other.recommend(TRAIN, 4), model.recommend(TRAIN, 4), strict=True):
            np.testing.assert_array_equal(a, b)
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "model_")


# ------------------------------------------------------------------------------------ bad input


def csr(values, users, items, shape=(3, 3)):
    """A matrix of these entries."""
    return sparse.coo_array((np.array(values, float), (users, items)), shape=shape)


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (np.ones((3, 3)), TypeError, "sparse matrix of users by items"),
        ([[1, 2], [3, 4]], TypeError, "sparse matrix"),
        (csr([1, 5, 5], [0, 1, 1], [0, 2, 2]), ValueError, "one rating for a user and an item"),
        (csr([3, 3, 3], [0, 1, 2], [0, 1, 2]), ValueError, "visible='binary'"),
        (csr([], [], []), ValueError, "at least one user, one item and one rating"),
        (csr([1, np.nan], [0, 1], [0, 1]), ValueError, "finite ratings"),
        (csr(np.arange(25.0), np.arange(25), np.zeros(25, int), (25, 3)), ValueError, "bins="),
    ],
)
def test_bad_ratings_are_refused_with_the_remedy(X, error, words):
    """Would catch duplicates that add up, implicit feedback as ratings, zeros for what is not."""
    model = model_of()
    with pytest.raises(error, match=words):
        model.fit(X)
    assert not hasattr(model, "model_")
    assert not hasattr(model, "_scale")


@pytest.mark.parametrize("form", ["bsr", "dia"])
def test_formats_that_do_not_say_what_is_rated_are_refused(form):
    """Would catch the zeros that fill a block up as ratings of zero."""
    with pytest.raises(TypeError, match=rf"format '{form}'.*build a scipy.sparse.csr_array"):
        model_of().fit(TRAIN[:40, :20].asformat(form))


def test_duplicates_in_a_csr_matrix_are_refused():
    """Would catch pairs that scipy has not added up yet."""
    X = sparse.csr_array((np.array([1.0, 5.0, 2.0]), np.array([1, 1, 0]), np.array([0, 2, 3])))
    with pytest.raises(ValueError, match="one rating for a user and an item"):
        model_of().fit(X)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rows": "films"}, "'items' or 'users'"),
        ({"n_hidden": 0}, "n_hidden"),
        ({"rule": "sml"}, "MaskedPrediction"),
        ({"rule": dg.MaskedPrediction}, "write MaskedPrediction"),
        ({"rule": type("Own", (dg.MaskedPrediction,), {})()}, "rule must be"),
        ({"rule": dg.CD(1, centring=False)}, "k alone"),
        ({"rule": dg.PCD(1, n_particles=7)}, "k alone"),
        ({"conditional": 1.5}, "conditional"),
        ({"scale": [1, 2, 2]}, "ascending"),
        ({"scale": [1]}, "2 to 20"),
        ({"scale": [1, 2, 3]}, "got 4|got 5"),
        ({"scale": [0, 1e39]}, "finite and differ in float32"),
        ({"scale": [-1e308, 1e308]}, "finite and differ in float32"),
        ({"scale": [1e9, 1e9 + 1]}, "subtract a number"),
        ({"scale": [1, 2, 3, 4, 5], "bins": 5}, "exclude each other"),
        ({"bins": 21}, "bins"),
        ({"bins": [9.0]}, "part|but one"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"n_threads": 0}, "n_threads"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    """Would catch a setting that is found wrong after an hour, or never."""
    with pytest.raises(ValueError, match=words):
        model_of(**settings).fit(TRAIN)


@pytest.mark.parametrize("masked", [(0.8, 0.5), (0.0, 0.0), (0.5, 1.5), 0.5, (0.1, 0.2, 0.3)])
def test_bad_shares_are_refused(masked):
    """Would catch shares that no row can have."""
    with pytest.raises(ValueError, match="masked"):
        dg.MaskedPrediction(masked=masked)
    with pytest.raises(ValueError, match="squared_error"):
        dg.MaskedPrediction(squared_error=1.5)


def test_bad_questions_are_refused(fitted):
    """Would catch a transposed matrix that filters nothing, and numbers that are none."""
    model = fitted["users"]
    for call, words in (
        (lambda: model.predict(N_USERS, 0), "from 0 to 119"),
        (lambda: model.predict(0, -1), "from 0 to 59"),
        (lambda: model.predict(0.5, 0), "whole numbers"),
        (lambda: model.predict([0, 1], [0, 1, 2]), "one shape"),
        (lambda: model.recommend(TRAIN.T), "pass X.T"),
        (lambda: model.score(TEST.T), "pass X.T"),
        (lambda: model.transform(TRAIN.T), "pass X.T"),
        (lambda: model.recommend(TRAIN[:, :5]), "60 columns"),
        (lambda: model.recommend(TRAIN, 0), "n must be"),
        (lambda: model.recommend(TRAIN, rank="best"), "'mean' or 'top'"),
        (lambda: model.recommend(TRAIN, among=[60]), "among"),
        (lambda: model.score(TEST[:5]), "users by items"),
        (lambda: model.score(sparse.csr_array((N_USERS, N_ITEMS))), "at least one rating"),
        (lambda: model.similar_items(60), "item"),
        (lambda: model.partial_fit(TRAIN[:, :5]), "60 items"),
        (lambda: fitted["items"].recommend(TRAIN[:3], users=[1, 2]), "one user for each"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    off = TRAIN[[0]].copy()
    off.data[0] = 7.0
    with pytest.raises(ValueError, match=r"scale .* got 7"):
        model.recommend(off)


def test_scales_look_at_ratings_by_pieces(monkeypatch):
    """Would catch a value that is overlooked where a piece begins."""
    monkeypatch.setattr("deepgen.rows.scale.PIECE", 3)
    assert Scale.of(np.array([1, 1, 2, 2, 2, 3, 5])).values == (1.0, 2.0, 3.0, 5.0)
    scale = Scale((1.0, 2.0, 3.0))
    assert scale.numbers(np.array([3, 2, 1, 1, 2])).tolist() == [2, 1, 0, 0, 1]
    with pytest.raises(ValueError, match="got 5"):
        scale.numbers(np.array([1, 2, 3, 1, 5]))
