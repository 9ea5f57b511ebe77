"""Ratings as people have them: who, what and how much, by identifiers."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from deepgen.checks import check_number, real_array, shown
from deepgen.rows.identifiers import Identifiers
from deepgen.rows.scale import Scale
from deepgen.runtime.stream import Stream, seed_of


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings of users for items, with the identifiers of both.

    :meth:`from_triples` and :meth:`from_frame` make one of what people have. The class itself takes
    a matrix that is there already, whose arrays may be mapped from files, and names its rows and
    columns.

    Parameters
    ----------
    matrix : CSR matrix of shape (n_users, n_items)
        What is stored is a rating, zeros too; what is not stored is not rated.
    users, items : array-like of distinct identifiers
        Of rows and columns.
    scale : sequence of float, or Scale
        The values that a rating can have, or bins of continuous ones.

    Attributes
    ----------
    matrix, scale
    users, items : Identifiers

    Raises
    ------
    TypeError, ValueError
        If the matrix is no CSR matrix with an identifier for each row and column.
    """

    matrix: sparse.csr_array
    users: Identifiers
    items: Identifiers
    scale: Scale

    def __post_init__(self):
        if not sparse.issparse(self.matrix) or self.matrix.format != "csr":
            raise TypeError(
                "matrix must be a CSR matrix of users by items, got "
                f"{type(self.matrix).__name__}; write scipy.sparse.csr_array(matrix)"
            )
        for name in ("users", "items"):
            object.__setattr__(self, name, _as_identifiers(getattr(self, name), name))
        if not isinstance(self.scale, Scale):
            object.__setattr__(self, "scale", Scale(self.scale))
        shape = (len(self.users), len(self.items))
        if self.matrix.shape != shape:
            raise ValueError(
                f"matrix must have a row for each user and a column for each item, shape {shape}, "
                f"got {self.matrix.shape}"
            )

    def __repr__(self):
        n_users, n_items = self.matrix.shape
        scale = ", ".join(f"{value:g}" for value in self.scale.values)
        return f"Ratings({n_users} users, {n_items} items, {self.n_ratings} ratings of {scale})"

    @classmethod
    def from_triples(cls, users, items, ratings, *, scale=None, bins=None):
        """Gather triples of a user, an item and a rating.

        Parameters
        ----------
        users, items : array-like of shape (n_ratings,)
            Identifiers: strings, integers or other hashable objects, in lists, arrays or columns
            of a data frame. Only strings and integers can be saved in a model file.
        ratings : array-like of shape (n_ratings,)
        scale : sequence of float, Scale or None
            The values that ratings can have, at most 20; or the `scale` of other ratings. None: the
            distinct ones.
        bins : int, sequence of float or None
            For continuous ratings: how many bins of equally many ratings, or the edges between
            them; see :class:`deepgen.RatingsRBM`.

        Returns
        -------
        Ratings
            Rows and columns in ascending order of integers or strings, others as they come.

        Raises
        ------
        ValueError
            If lengths differ, an identifier is missing, a user has rated an item twice, or a rating
            is not finite or none of the scale; also if ratings have more than 20 distinct values,
            or a single one. Each message has the remedy.
        TypeError
            If an identifier is not hashable.

        Examples
        --------
        >>> import deepgen as dg
        >>> dg.Ratings.from_triples(["ann", "bob", "ann"], ["Alien", "Alien", "Heat"], [5, 3, 4])
        Ratings(2 users, 2 items, 3 ratings of 3, 4, 5)
        """
        if bins is not None and scale is not None:
            raise ValueError("bins and scale exclude each other: a bin's value is its mean")
        values = real_array(ratings, "ratings").astype(np.float64)
        users, rows = Identifiers.of(users, "users")
        items, columns = Identifiers.of(items, "items")
        if values.ndim != 1 or not len(rows) == len(columns) == len(values):
            raise ValueError(
                "users, items and ratings must have one length, got "
                f"{len(rows)}, {len(columns)} and {values.shape}"
            )
        if not len(values):
            raise ValueError("ratings must hold at least one rating, got none")
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(
                f"ratings must be finite, got {values[bad[0]]} in row {bad[0]}; leave out what is "
                "not rated: it is no rating of zero"
            )
        _refuse_repeated(users, items, rows, columns)
        if bins is not None:
            scale = Scale.of_bins(values, bins)
        else:
            if not isinstance(scale, Scale):
                scale = Scale.of(values, "ratings") if scale is None else Scale(scale)
            scale.numbers(values, "ratings")
        shape = (len(users), len(items))
        return cls(_matrix(values, rows, columns, shape), users, items, scale)

    @classmethod
    def from_frame(cls, frame, *, user, item, rating, scale=None, bins=None):
        """Gather the rows of a table, such as ``pandas.read_csv`` and ``read_parquet`` return.

        Parameters
        ----------
        frame : DataFrame, or mapping of columns
            ``frame[name]`` is a column: of pandas, polars, pyarrow, a dict or a structured array.
        user, item, rating : str
            Names of the columns.
        scale, bins
            See :meth:`from_triples`.

        Returns
        -------
        Ratings

        Raises
        ------
        ValueError
            If there is no such column; else see :meth:`from_triples`.
        """
        columns = []
        for name, label in (("user", user), ("item", item), ("rating", rating)):
            try:
                columns.append(frame[label])
            except Exception as error:  # each kind of frame has its own for a name it lacks
                what = error
                if isinstance(error, KeyError):  # which says no more than the name
                    there = [shown(column) for column in frame if isinstance(column, str)]
                    what = f"it has {', '.join(there[:10]) or 'no such name'}"
                raise ValueError(
                    f"{name} must name a column of frame, got {shown(label)}: {what}"
                ) from error
        return cls.from_triples(*columns, scale=scale, bins=bins)

    @property
    def shape(self):
        """(n_users, n_items)."""
        return self.matrix.shape

    @property
    def n_ratings(self):
        """Number of ratings."""
        return self.matrix.nnz

    @property
    def user_ids(self):
        """Identifiers of the rows, ndarray of shape (n_users,)."""
        return self.users.values

    @property
    def item_ids(self):
        """Identifiers of the columns, ndarray of shape (n_items,)."""
        return self.items.values

    def split(self, share=0.1, *, random_state=None):
        """Return two: ratings to learn from, and a random share that is held out.

        Both have all users and items, and this scale.

        Parameters
        ----------
        share : float, default 0.1
            In (0, 1).
        random_state : int, RandomState, Generator or None

        Returns
        -------
        tuple of (Ratings, Ratings)
        """
        check_number(share, "share", 0.0, 1.0)
        stream = Stream.from_random_state(seed_of(random_state))
        order = stream.generator("split").permutation(self.n_ratings)
        held_out = np.zeros(self.n_ratings, bool)
        held_out[order[: round(share * self.n_ratings)]] = True
        rows, columns = self._places()
        return tuple(
            Ratings(
                _matrix(self.matrix.data[part], rows[part], columns[part], self.matrix.shape),
                self.users, self.items, self.scale,
            )
            for part in (~held_out, held_out)
        )  # fmt: skip

    def ordered(self, *, users=None, items=None):
        """Return the matrix with rows or columns in the order of other identifiers.

        Parameters
        ----------
        users, items : Identifiers, array-like of distinct identifiers, or None
            None: those of this object.

        Returns
        -------
        csr_array

        Raises
        ------
        ValueError
            If a user or an item that has a rating is not among them; the message names it.
        """
        places, sizes, all_own = [], [], True
        for name, own, others, used in zip(
            ("users", "items"), (self.users, self.items), (users, items), self._places(),
            strict=True,
        ):  # fmt: skip
            others = own if others is None else _as_identifiers(others, name)
            sizes.append(len(others))
            if own is others or np.array_equal(own.values, others.values):
                places.append(used)
                continue
            all_own = False
            found = others.find(own.values)
            lost = np.flatnonzero(found[used] < 0)
            if len(lost):
                first = own.named(used[lost[:1]])[0]
                remedy = f"; X.among({name}=model.{name[:-1]}_ids_) leaves its ratings out"
                raise ValueError(
                    f"X must have {name} that the model knows, got {shown(first)}, which was not "
                    f"in fit{others.other_form(first) or remedy}"
                )
            places.append(found[used])
        return self.matrix if all_own else _matrix(self.matrix.data, *places, tuple(sizes))

    def among(self, *, users=None, items=None):
        """Return the ratings whose users and items are among some identifiers.

        Parameters
        ----------
        users, items : Identifiers, array-like of distinct identifiers, or None
            For example those that a model knows. None: all.

        Returns
        -------
        Ratings
            Of all users and items that were there, in their order, also of those that have no
            rating any more.
        """
        good = np.ones(self.n_ratings, bool)
        for name, own, others, used in zip(
            ("users", "items"), (self.users, self.items), (users, items), self._places(),
            strict=True,
        ):  # fmt: skip
            if others is not None:
                good &= (_as_identifiers(others, name).find(own.values) >= 0)[used]
        rows, columns = self._places()
        matrix = _matrix(self.matrix.data[good], rows[good], columns[good], self.shape)
        return Ratings(matrix, self.users, self.items, self.scale)

    def _places(self):
        """Return row and column of each rating, in the order of the matrix."""
        lengths = np.diff(self.matrix.indptr)
        return np.repeat(np.arange(len(lengths)), lengths), self.matrix.indices


def _as_identifiers(values, name):
    return values if isinstance(values, Identifiers) else Identifiers.in_order(values, name)


def _matrix(values, rows, columns, shape):
    matrix = sparse.csr_array((values, (rows, columns)), shape=shape)
    if matrix.nnz < len(values):  # scipy adds up what stands for one pair
        raise ValueError(
            "matrix must have one rating for a user and an item, got "
            f"{len(values) - matrix.nnz} too many; keep the last of each, for example"
        )
    matrix.sort_indices()
    return matrix


def _refuse_repeated(users, items, rows, columns):
    """Raise ValueError where a user has rated an item twice."""
    pairs = rows * np.int64(len(items)) + columns
    order = np.argsort(pairs, kind="stable")
    again = np.flatnonzero(np.diff(pairs[order]) == 0)
    if len(again):
        first, second = order[again[0]], order[again[0] + 1]
        user, item = users.named(rows[[first]])[0], items.named(columns[[first]])[0]
        raise ValueError(
            f"ratings must have one for a user and an item, got two of user {shown(user)} for item "
            f"{shown(item)}, in rows {first} and {second}, and {len(again)} too many in all; keep "
            "the last of each, for example by frame.drop_duplicates([user, item], keep='last')"
        )
