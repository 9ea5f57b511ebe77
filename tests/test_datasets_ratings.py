"""Ratings of films and jokes: tiny files of the same forms and, where they are, the real ones."""

import hashlib
import os

import numpy as np
import pytest

from deepgen.datasets import fetching, load_jester, load_movielens, ratings

# Film 7 has no rating, as some of the release have none.
TRIPLES = [(2, 9, 4), (1, 3, 5), (3, 9, 1), (1, 9, 2), (2, 3, 3)]


def digest(*arrays):
    """Return the hash of numbers as the module takes it."""
    return hashlib.sha256(b"".join(np.asarray(a, "<i2").tobytes() for a in arrays)).hexdigest()


@pytest.fixture
def small_100k(tmp_path, monkeypatch):
    """Twenty ratings of five users and six films in the files of the release, folds of four."""
    folder = tmp_path / "movielens100k"
    folder.mkdir()
    pairs = [(1 + n % 5, 1 + n % 6, 1 + n % 4) for n in range(20)]
    lines = ["\t".join(map(str, (*triple, 880000000))) for triple in pairs]
    (folder / "u.data").write_text("\n".join(lines) + "\n")
    (folder / "ua.test").write_text("\n".join(lines[3:13:5]) + "\n")
    titles = [f"{n}|Film {n}, Caf\xe9|01-Jan-1995||http\n" for n in range(1, 7)]
    (folder / "u.item").write_text("".join(titles), "latin-1")
    table = {
        name: fetching.DataFile(
            name, (folder / name).stat().st_size, fetching._sha256(folder / name), page="a page"
        )
        for name in ("u.data", "u.item", "ua.test")
    }
    monkeypatch.setattr(ratings, "_FILES", table)
    monkeypatch.setattr(ratings, "_FOLD", 4)
    return tmp_path, pairs


@pytest.mark.parametrize("split", ["u2", "ua"])
def test_folds_are_blocks_of_the_file_and_ua_its_own(small_100k, split):
    """Would catch random folds in place of the published ones, users and films swapped, and numbers
    from 1 that became columns."""
    home, pairs = small_100k
    found = load_movielens(split=split, data_home=home)
    tested = pairs[4:8] if split == "u2" else pairs[3:13:5]
    assert found.test.shape == found.train.shape == (5, 6)
    assert found.test.nnz == len(tested)
    for user, film, rating in tested:
        assert found.test[user - 1, film - 1] == rating
        assert found.train[user - 1, film - 1] == 0
    assert found.train.nnz == 20 - len(tested)
    assert found.titles[1] == "Film 2, Caf\xe9"


def test_validation_and_rest_are_the_training_ratings(small_100k, monkeypatch):
    """Would catch settings that are chosen on ratings that were learned from, or on the test."""
    home, _ = small_100k
    monkeypatch.setattr(ratings, "_FOLD", 0)
    found = load_movielens(data_home=home)
    assert (found.train.nnz, found.validation.nnz, found.rest.nnz) == (20, 1, 19)
    assert not (found.rest.toarray() * found.validation.toarray()).any()
    np.testing.assert_array_equal(
        found.train.toarray(), found.rest.toarray() + found.validation.toarray()
    )


def put_1m(folder, monkeypatch):
    """Write the triples as a release and as arrays, each into a folder of its own."""
    for name in ("release", "arrays"):
        (folder / name / "movielens1m").mkdir(parents=True)
    lines = [f"{u}::{i}::{r}::978300760\n" for u, i, r in TRIPLES]
    (folder / "release" / "movielens1m" / "ratings.dat").write_text("".join(lines))
    (folder / "release" / "movielens1m" / "movies.dat").write_text(
        "3::Caf\xe9 (1995)::Comedy\n7::None (1990)::Drama\n9::Last (2000)::War\n", "latin-1"
    )
    columns = {"user": [1, 2, 1, 2, 3], "item": [1, 1, 2, 2, 2], "rating": [5, 3, 2, 4, 1]}
    np.savez(folder / "arrays" / "movielens1m" / "ratings.npz", **columns)
    monkeypatch.setattr(ratings, "_MOVIELENS_1M", digest(*columns.values()))
    monkeypatch.setattr(ratings, "_TESTED_1M", 2)


def test_the_release_and_its_arrays_are_one_split(tmp_path, monkeypatch):
    """Would catch a release in the order of its users, whose split is another one, and titles
    that belong to films with gaps between their numbers."""
    put_1m(tmp_path, monkeypatch)
    release, arrays = (load_movielens("1m", data_home=tmp_path / n) for n in ("release", "arrays"))
    assert release.titles == ["Caf\xe9 (1995)", "Last (2000)"]
    assert arrays.titles is None
    assert arrays.test.nnz == 2
    whole = arrays.train.toarray() + arrays.test.toarray()
    assert whole.tolist() == [[5, 2], [3, 4], [0, 1]]
    for part in ("train", "test", "rest", "validation"):
        np.testing.assert_array_equal(
            getattr(release, part).toarray(), getattr(arrays, part).toarray()
        )
    order = np.random.default_rng(0).permutation(5)[:2]
    assert sorted(arrays.test.data) == sorted(np.array([5, 3, 2, 4, 1])[order])


def test_changed_ratings_are_refused(tmp_path, monkeypatch):
    """Would catch numbers of another data set beside published ones."""
    put_1m(tmp_path, monkeypatch)
    monkeypatch.setattr(ratings, "_MOVIELENS_1M", "0" * 64)
    with pytest.raises(ValueError, match="must hold the known ratings"):
        load_movielens("1m", data_home=tmp_path / "arrays")


def test_jokes_keep_their_zeros(tmp_path, monkeypatch):
    """Would catch a rating of 0.0 that is lost as if nobody had given it."""
    table = np.full((4, 5), 9900, np.int16)
    table[:, :3] = [[0, -995, 1000], [250, 0, 9900], [0, 0, 125], [9900, 1, 2]]
    (tmp_path / "jester").mkdir()
    np.savez(tmp_path / "jester" / "jester1.npz", rating_x100=table)
    monkeypatch.setattr(ratings, "_JESTER", digest(table))
    found = load_jester(tmp_path)
    assert found.train.nnz + found.test.nnz == 10
    assert found.test.nnz == 1
    stored = np.sort(np.concatenate([found.train.data, found.test.data]))
    np.testing.assert_allclose(stored, [-9.95, 0, 0, 0, 0, 0.01, 0.02, 1.25, 2.5, 10.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (lambda home: load_movielens(data_home=home), "u.data"),
        (lambda home: load_movielens("1m", data_home=home), "ratings.dat or ratings.npz"),
        (load_jester, "jester1.npz"),
    ],
)
def test_a_missing_file_says_where_to_get_it(load, name, tmp_path):
    """Would catch an error that names no page and no folder."""
    with pytest.raises(FileNotFoundError, match=f"{name} is missing.*https://") as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"size": "10m"}, "size must be one of '100k', '1m', got '10m'"),
    ({"split": 1}, "split must be one of u1, u2"),
    ({"size": "1m", "split": "ua"}, "split must be None for size='1m'"),
])  # fmt: skip
def test_what_is_no_split_is_refused(arguments, message):
    """Would catch another split than the one that was asked for."""
    with pytest.raises(ValueError, match=message):
        load_movielens(**arguments)


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("DEEPGEN_DATA"), reason="DEEPGEN_DATA is not set")
def test_the_real_ratings():
    """Would catch ratings that are lost or cut, and another split."""
    films, more, jokes = load_movielens(), load_movielens("1m"), load_jester()
    assert (films.train.nnz, films.test.nnz, films.validation.nnz) == (80_000, 20_000, 4_000)
    assert int((np.diff(films.test.indptr) > 0).sum()) == 459
    assert films.titles[0] == "Toy Story (1995)"
    assert load_movielens(split="ua").test.nnz == 9_430
    assert (more.test.nnz, more.validation.nnz, more.rest.nnz) == (100_021, 45_009, 855_179)
    histogram = np.bincount(np.concatenate([more.train.data, more.test.data]).astype(int))
    assert histogram.tolist() == [0, 56174, 107557, 261197, 348971, 226310]
    assert jokes.train.nnz + jokes.test.nnz == 1_810_455
    assert int((np.concatenate([jokes.train.data, jokes.test.data]) == 0).sum()) == 5_383
