"""Baselines and blends that tables of ratings hold our models against."""

import numpy as np
import pytest
from scipy import sparse

import deepgen as dg

baselines = pytest.importorskip(
    "bench.results.rating_baselines", reason="bench/ is not beside the tests"
)
ratings = pytest.importorskip("bench.results.ratings")
store = pytest.importorskip("bench.results.store")


@pytest.fixture(scope="module")
def made_up():
    """Ratings of biases, products of two factors and a little noise: (train, test)."""
    rng = np.random.default_rng(0)
    truth = 3.0 + rng.normal(size=(200, 1)) * 0.3 + rng.normal(size=(1, 40)) * 0.5
    truth += rng.normal(size=(200, 2)) @ rng.normal(size=(2, 40))
    whole = truth + 0.1 * rng.normal(size=truth.shape)
    users, items = np.nonzero(rng.random(truth.shape) < 0.5)
    tested = rng.random(len(users)) < 0.1
    return tuple(
        sparse.csr_array((whole[users[p], items[p]], (users[p], items[p])), shape=truth.shape)
        for p in (~tested, tested)
    )


def error_of(model, test):
    users, items, truth = baselines.triples(test)
    return float(np.sqrt(np.mean((model.predict(users, items) - truth) ** 2)))


def test_baselines_find_what_is_in_the_ratings(made_up):
    """Would catch a wrong sign of a step, factors or neighbours of another item, and residuals that
    are not those of the biases: each would be no better than biases alone."""
    train, test = made_up
    biases = error_of(baselines.Biases(train), test)
    assert biases == pytest.approx(np.sqrt(2.0), rel=0.2)
    svd = baselines.SVD(train, n_factors=2, n_epochs=60, batch_size=50, rate=0.05, decay=0.01)
    assert error_of(svd, test) < 0.25
    assert error_of(baselines.EASE(train, decay=20.0), test) < 0.85 * biases
    assert error_of(baselines.Neighbours(train, n_neighbours=10), test) < 0.85 * biases


def test_factors_keep_their_ones(made_up):
    """Would catch a bias that is multiplied by a number that learns."""
    svd = baselines.SVD(made_up[0], n_factors=3, n_epochs=2)
    assert (svd.users[:, 3] == 1.0).all()
    assert (svd.items[:, 4] == 1.0).all()


def test_ratings_of_zero_are_ratings():
    """Would catch an entry of 0.0 that is left out, as by a conversion of a sparse matrix."""
    matrix = sparse.csr_array(([0.0, 4.0], ([0, 1], [1, 0])), shape=(2, 2))
    assert [part.tolist() for part in baselines.triples(matrix)] == [[0, 1], [1, 0], [0.0, 4.0]]
    assert baselines.Biases(matrix).mean == 2.0


def test_weights_of_a_blend_are_those_of_its_parts():
    """Would catch a constant that is shrunk, and parts in another order."""
    rng = np.random.default_rng(0)
    parts = rng.normal(3.0, 1.0, (500, 3))
    weights = baselines.ridge(parts, parts @ [0.7, 0.1, 0.2] + 5.0, decay=1e-9)
    np.testing.assert_allclose(weights, [0.7, 0.1, 0.2, 5.0], atol=1e-5)
    np.testing.assert_allclose(
        baselines.blended(parts[:1], weights), [5.0 + parts[0] @ [0.7, 0.1, 0.2]]
    )
    equal = baselines.ridge(parts, rng.normal(size=500), decay=1e9)
    np.testing.assert_allclose(equal[:3], 1.0 / 3.0, atol=1e-6)


def split_of(train, test):
    """Return a split as loaders do, of stars, whose validation ratings are some of the training."""

    def stars(matrix):
        users, items, values = baselines.triples(matrix)
        values = np.clip(np.round(values), 1.0, 5.0)
        return sparse.csr_array((values, (users, items)), shape=matrix.shape)

    train, test = stars(train), stars(test)
    users, items, values = baselines.triples(train)
    some = np.arange(len(users)) % 10 == 0
    rest, validation = (
        sparse.csr_array((values[p], (users[p], items[p])), shape=train.shape)
        for p in (~some, some)
    )
    return dg.datasets.SplitRatings(train, test, rest, validation, None)


def test_rows_of_a_table(made_up, tmp_path, monkeypatch):
    """Would catch a blend whose weights are those of test ratings or of another seed's parts, a
    model that is fitted anew after a stop, and numbers of a model that only ranks."""
    monkeypatch.setenv("DEEPGEN_RUNS", str(tmp_path))
    fits = []

    def biases(matrix, seed):
        fits.append(matrix.nnz)
        return baselines.Biases(matrix)

    entries = (
        ratings.Entry("biases", biases, n_seeds=1),
        ratings.Entry("missing", lambda matrix, seed: __import__("no_such_package"), n_seeds=1),
        ratings.Entry("ranks", lambda X, seed: baselines.Biases(X), n_seeds=1, ranks_only=True),
        ratings.Entry("items", ratings.rbm(n_hidden=4, n_epochs=10), "0.9 / 0.8", 2),
    )
    blends = (ratings.Blend("blend", ("biases", "items")),)
    data = split_of(*made_up)

    def table():
        return list(ratings.results(
            store.Store("ratings"), {"made up": data}, entries, blends, bounds=(1.0, 5.0),
            quick=False,
        ))  # fmt: skip

    found = {name: (bars, by_seed) for name, bars, by_seed in table()}
    assert fits == [data.train.nnz, data.rest.nnz]
    assert found["missing"][1] == []
    assert "no_such_package" in found["missing"][0]
    assert np.isnan(found["ranks"][1][0]["rmse"])
    assert [len(by_seed) for _, by_seed in found.values()] == [1, 0, 1, 2, 2]
    model = dg.RatingsRBM(4, n_epochs=10, random_state=1, n_threads=1).fit(data.train)
    assert found["items"][1][1]["rmse"] == pytest.approx(-model.score(data.test), abs=1e-6)
    assert found["items"][1][1]["nll"] == pytest.approx(model.log_loss(data.test))
    assert found["items"][1][1]["ndcg"] == pytest.approx(model.ndcg(data.test))
    assert str(table()) == str(list(map(tuple, [(n, *rest) for n, rest in found.items()])))
    assert len(fits) == 2
    row = ratings.star_row("made up", "items", *found["items"])
    assert len(row) == len(ratings.STAR_COLUMNS)
    assert ratings.star_row("made up", "missing", *found["missing"])[2] == ""


def test_medians_lie_where_half_of_the_ratings_do():
    """Would catch edges that belong to the next bin: absolute errors of a skewed bin grow."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((300, 4)) < 0.8)
    values = rng.exponential(2.0, len(users))
    X = sparse.csr_array((values, (users, items)), shape=(300, 4))
    model = dg.RatingsRBM(2, rows="users", bins=10, n_epochs=2, random_state=0).fit(X)
    medians = ratings.medians(model, users, items)
    assert np.median(medians) == pytest.approx(np.median(values), abs=0.25)
    assert np.abs(medians - values).mean() < np.abs(model.predict(users, items) - values).mean()


def test_drawn_ratings_are_a_matrix(tmp_path, monkeypatch):
    """Would catch pairs that stand twice, rows that begin elsewhere after the first block of users,
    and films that are all rated alike."""
    speed = pytest.importorskip("bench.speed.ratings")
    monkeypatch.setattr(speed, "BLOCK", 30)
    n = speed.write_ratings(tmp_path, 100, 50, 1200)
    X = dg.map_csr(tmp_path)
    assert X.shape == (100, 50)
    assert X.nnz == n == pytest.approx(1200, rel=0.2)
    assert X.has_canonical_format
    assert (np.diff(X.indptr) > 0).all()
    assert sorted(np.unique(X.data)) == [1, 2, 3, 4, 5]
    counts = np.sort(np.bincount(X.indices, minlength=50))
    assert counts[-5:].sum() > 5 * counts[:5].sum()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "data.npy", "indices.npy", "indptr.npy", "shape.npy",
    ]  # fmt: skip
    found = speed.time_mapped(str(tmp_path))
    assert 0.0 < found["epoch"] < found["fit"]


@pytest.mark.parametrize("package", ["surprise", "implicit"])
def test_models_of_other_packages(made_up, package):
    """Would catch users or items under other numbers than ours, which a package renumbers."""
    pytest.importorskip(package)
    train, test = made_up
    users, items, truth = baselines.triples(test)
    if package == "surprise":
        model = baselines.Surprise(train, model="SVD", n_factors=4, n_epochs=60, lr_all=0.02)
        assert error_of(model, test) < 0.75 * error_of(baselines.Biases(train), test)
        return
    high = sparse.csr_array(train.toarray() * (train.toarray() > 3.0))
    scores = baselines.ImplicitALS(high, n_factors=4).predict(users, items)
    assert np.corrcoef(scores, truth)[0, 1] > 0.3
