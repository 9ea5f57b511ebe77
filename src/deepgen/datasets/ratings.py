"""Ratings of films and jokes: MovieLens 100k and 1M, Jester, with splits that tables state."""

import hashlib
from typing import NamedTuple

import numpy as np
from scipy import sparse

from deepgen.checks import shown
from deepgen.datasets.fetching import DataFile, find, folder_of

_PAGE_100K = "https://grouplens.org/datasets/movielens/100k/"
_PAGE_1M = "https://grouplens.org/datasets/movielens/1m/"
_PAGE_JESTER = "https://eigentaste.berkeley.edu/dataset/"
# The terms of GroupLens let nobody else offer the files.
_FILES = {
    name: DataFile(name, size, sha256, page=_PAGE_100K)
    for name, size, sha256 in (
        ("u.data", 1979173, "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"),
        ("u.item", 236344, "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701"),
        ("ua.test", 186672, "d0497e202417720f57a184ec8c66be2d1afa4ff41bb53787c57b28d6bf79bc42"),
    )
}
# Of the numbers, as 16-bit integers: the same for every form that a file can have.
_MOVIELENS_1M = "44139555d1d3ac506c6c398c9114bd8c12c83f10bb8546278a8d39372e3ad31b"
_JESTER = "9e1208c052987ba526014f6ec55f9c758d30611604f23d3dcacac50b144fbe9b"
SIZES = ("100k", "1m")
SPLITS = ("u1", "u2", "u3", "u4", "u5", "ua")
_FOLD = 20_000  # ratings of a published fold of MovieLens 100k: a block of the file
_TESTED_1M = 100_021
_NOT_RATED = 9900


class SplitRatings(NamedTuple):
    """Ratings, users by items (CSR, float32; what is stored is rated, zeros too), and item titles.

    ``train`` and ``test`` together are all ratings; ``rest`` and ``validation`` together are
    ``train``.
    """

    train: sparse.csr_array
    test: sparse.csr_array
    rest: sparse.csr_array
    validation: sparse.csr_array
    titles: list | None


def load_movielens(size="100k", *, split=None, data_home=None):
    """Load ratings of films, one to five stars, and a split that published numbers are of.

    Settings are chosen on ``validation``, after learning from ``rest``; what was chosen then learns
    from ``train`` and is judged on ``test``. Validation ratings are 5 % of ``train``, the first of
    ``default_rng(7).permutation``.

    Parameters
    ----------
    size : {"100k", "1m"}, default "100k"
        100,000 ratings by 943 users of 1,682 films, or 1,000,209 by 6,040 users of 3,706 films.
    split : {"u1", "u2", "u3", "u4", "u5", "ua"} or None
        Of "100k": the published folds u1 to u5, of 20,000 test ratings each, or ua, with ten of
        each user. The folds are blocks of a file that is not in random order; u1 and u2 take more
        from fewer users. None: "u1". Of "1m", which has no published split, None: the first 100,021
        of ``default_rng(0).permutation`` are the test, of ratings sorted by film, then by user.
    data_home : path-like or None
        Folder that holds ``movielens100k`` with ``u.data``, ``u.item`` and ``ua.test``, or
        ``movielens1m`` with ``ratings.dat`` and ``movies.dat`` of the release or with its
        ``ratings.npz``: arrays ``user``, ``item``, ``rating``. None: ``$DEEPGEN_DATA``, else a
        cache folder.

    Returns
    -------
    SplitRatings
        Row u is user u + 1 of the release. Column i of "100k" is film i + 1; of "1m" it is film i
        among those that somebody rated, by ascending number. ``titles`` is None where there is no
        file with titles.

    Raises
    ------
    FileNotFoundError
        If a file is missing; says where to get it and where to put it.
    ValueError
        If a file is not the known one, or there is no such size or split.

    References
    ----------
    Harper & Konstan (2015), The MovieLens Datasets: History and Context. The terms allow research,
    and neither commercial use nor copies for others.
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(map(repr, SIZES))}, got {shown(size)}")
    if size == "1m":
        if split is not None:
            raise ValueError(
                f"split must be None for size='1m', which has one split, got {shown(split)}"
            )
        return _movielens1m(folder_of("movielens1m", data_home))
    split = "u1" if split is None else split
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)} or None, got {shown(split)}")
    return _movielens100k(data_home, split)


def load_jester(data_home=None):
    """Load ratings of jokes, real numbers from -10 to 10: data set 1, its first part.

    24,983 users have rated 36 or more of 100 jokes, 1,810,455 ratings in all, of which 5,383 are
    0.0: stored zeros. There is no published split: a tenth of the ratings is the test, the first
    of ``default_rng(0).permutation`` of them in the order of users, then of jokes, and 5 % of the
    others are ``validation``, the first of ``default_rng(7).permutation``.

    Parameters
    ----------
    data_home : path-like or None
        Folder that holds ``jester`` with ``jester1.npz``: an array ``rating_x100`` (24983, 100) of
        16-bit integers, the ratings of the release's first sheet, without its column of counts,
        times 100. None: ``$DEEPGEN_DATA``, else a cache folder.

    Returns
    -------
    SplitRatings
        ``titles`` is None: the jokes are not in the file.

    Raises
    ------
    FileNotFoundError
        If the file is missing; says where to get it and where to put it.
    ValueError
        If it does not hold the known ratings.

    References
    ----------
    Goldberg, Roeder, Gupta & Perkins (2001), Eigentaste: A Constant Time Collaborative Filtering
    Algorithm.
    """
    path = folder_of("jester", data_home) / "jester1.npz"
    _must_exist(path, _PAGE_JESTER)
    with np.load(path, allow_pickle=False) as arrays:
        hundredths = arrays["rating_x100"]
    _check(path, _JESTER, hundredths)
    users, items = np.nonzero(hundredths != _NOT_RATED)
    ratings = hundredths[users, items] / np.float32(100.0)
    tested = np.zeros(len(ratings), bool)
    tested[_first(0, np.arange(len(ratings)), len(ratings) // 10)] = True
    return _cut(users, items, ratings, tested, hundredths.shape, None)


def _movielens100k(data_home, split):
    def path_of(name):
        return find(_FILES[name], "movielens100k", data_home)

    users, items, ratings = np.loadtxt(path_of("u.data"), np.int64, usecols=(0, 1, 2)).T
    tested = np.zeros(len(users), bool)
    if split == "ua":
        of_test = np.loadtxt(path_of("ua.test"), np.int64, usecols=(0, 1)).T
        above = items.max() + 1
        tested = np.isin(users * above + items, of_test[0] * above + of_test[1])
    else:
        fold = SPLITS.index(split)
        tested[fold * _FOLD : (fold + 1) * _FOLD] = True
    lines = path_of("u.item").read_text("latin-1").splitlines()
    titles = [line.split("|")[1] for line in lines]
    shape = int(users.max()), len(titles)
    return _cut(users - 1, items - 1, ratings, tested, shape, titles)


def _movielens1m(folder):
    """Return the 1M ratings from the release's own file, or from its arrays."""
    path, titles = folder / "ratings.dat", None
    if path.exists():
        rows = np.array(
            [line.split("::")[:3] for line in path.read_text("ascii").splitlines()], np.int64
        )
        films, items = np.unique(rows[:, 1], return_inverse=True)
        order = np.lexsort((rows[:, 0], items))
        users, items, ratings = rows[order, 0], items[order] + 1, rows[order, 2]
        if (folder / "movies.dat").exists():
            lines = (folder / "movies.dat").read_text("latin-1").splitlines()
            by_number = {int(line.split("::")[0]): line.split("::")[1] for line in lines}
            titles = [by_number[film] for film in films.tolist()]
    else:
        path = folder / "ratings.npz"
        _must_exist(path, _PAGE_1M, offered="ratings.dat")
        with np.load(path, allow_pickle=False) as arrays:
            users, items, ratings = (arrays[name] for name in ("user", "item", "rating"))
    _check(path, _MOVIELENS_1M, users, items, ratings)
    users, items = users.astype(np.int64) - 1, items.astype(np.int64) - 1
    tested = np.zeros(len(ratings), bool)
    tested[_first(0, np.arange(len(ratings)), _TESTED_1M)] = True
    shape = int(users.max()) + 1, int(items.max()) + 1
    return _cut(users, items, ratings, tested, shape, titles)


def _must_exist(path, page, offered=None):
    """Raise FileNotFoundError with a remedy; `offered` is the file of the page."""
    if not path.exists():
        what = path.name if offered is None else f"{offered} or {path.name}"
        raise FileNotFoundError(
            f"{what} is missing: {page} offers the ratings; put them into {path.parent}, in the "
            "form that the docstring of this loader tells, or set DEEPGEN_DATA or data_home to the "
            "folder of folders that has them"
        )


def _check(path, sha256, *arrays):
    """Raise ValueError where the numbers of a file are not the known ones."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, "<i2").tobytes())
    if digest.hexdigest() != sha256:
        raise ValueError(
            f"{path} must hold the known ratings (16-bit numbers of SHA-256 {sha256}), got others "
            f"({digest.hexdigest()}); delete it and fetch it again"
        )


def _first(seed, numbers, n):
    """Return the first `n` of a permutation of the numbers of some ratings."""
    return numbers[np.random.default_rng(seed).permutation(len(numbers))[:n]]


def _cut(users, items, ratings, tested, shape, titles):
    """Cut ratings into test, validation and the rest of training; `tested` is a mask."""
    learned = np.flatnonzero(~tested)
    checked = np.zeros(len(tested), bool)
    checked[_first(7, learned, len(learned) // 20)] = True
    ratings = ratings.astype(np.float32)
    parts = (~tested, tested, ~tested & ~checked, checked)
    return SplitRatings(
        *(sparse.csr_array((ratings[p], (users[p], items[p])), shape=shape) for p in parts), titles
    )
