"""Who a fitted recommender knows, and what a question about users and items means to it."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from deepgen.checks import warn_at_users_line
from deepgen.estimators.common.ratings import (
    numbers_of,
    patterned,
    ratings_matrix,
    told_shape,
)
from deepgen.rows.identifiers import Identifiers
from deepgen.rows.ratings import Ratings
from deepgen.rows.scale import Scale

# What helps who asks about users that are not known, by side.
_NEW_USERS = {
    "items": "a machine with rows='items' has users as its columns and cannot answer for new ones: "
    "fit with rows='users' for that",
    "users": "recommend(X) answers for new users, from their ratings in X",
}
_LEAVE_OUT = "leave X out to ask about a known user without ratings"


@dataclass(frozen=True)
class KnownSides:
    """The users and items that a fitted model knows: a memory that settings do not change.

    Attributes
    ----------
    rows : {"items", "users"}
        Which side is a row of the machine.
    n_users, n_items : int
    scale : Scale
    ids : dict of {str: Identifiers} or None
        Of "users" and "items". None: they are called by the numbers of rows and columns.
    """

    rows: str
    n_users: int
    n_items: int
    scale: Scale
    ids: dict | None = None

    def numbers(self, side, wanted, name):
        """Return the numbers of users or items, int64; ValueError where one is not known.

        Parameters
        ----------
        side : {"users", "items"}
        wanted : identifier or int, or array-like
            As users of the model call them.
        name : str
            What messages call them.
        """
        remedy = _NEW_USERS[self.rows] if side == "users" else ""
        if self.ids is not None:
            return self.ids[side].numbers(wanted, name, remedy)
        n = self.n_users if side == "users" else self.n_items
        return numbers_of(wanted, name, n, remedy=remedy)

    def items_named(self, numbers):
        """Return items as users of the model call them: by identifiers, or by these numbers."""
        return numbers if self.ids is None else self.ids["items"].named(numbers)

    def pairs(self, users, items):
        """Return the numbers of users and items, of one shape."""
        users = self.numbers("users", users, "users")
        items = self.numbers("items", items, "items")
        try:
            return np.broadcast_arrays(users, items)
        except ValueError:
            raise ValueError(
                f"users and items must have one shape, got {users.shape} and {items.shape}"
            ) from None

    def matrix(self, X, *sides):
        """Return ratings as CSR; those of these sides, which X names, in the order of `fit`."""
        if not isinstance(X, Ratings):
            return ratings_matrix(X)
        if self.ids is None:
            raise ValueError(
                "X must be a sparse matrix, as in fit: the model knows no identifiers; pass "
                "X.matrix where its rows and columns are those of fit, or fit on a dg.Ratings"
            )
        return ratings_matrix(X.ordered(**{side: self.ids[side] for side in sides}))

    def held_out(self, X):
        """Return numbers of users and items, and ratings, of all ratings of X, checked."""
        matrix = self.matrix(X, "users", "items")
        if matrix.shape != (self.n_users, self.n_items):
            raise ValueError(
                f"X must be users by items, ({self.n_users}, {self.n_items}) as in fit, got "
                f"{told_shape(matrix.shape, (self.n_users, self.n_items))}"
            )
        if not matrix.nnz:
            raise ValueError("X must have at least one rating to predict, got none")
        self.scale.numbers(matrix.data)
        users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        return users, matrix.indices, matrix.data.astype(np.float64)

    def asked(self, X, users):
        """Return ratings of the users who are asked about, and the numbers of these users.

        No numbers where the ratings alone say who is asked about.
        """
        if X is None:
            numbers = np.arange(self.n_users)
            if users is not None:
                numbers = self.numbers("users", users, "users").reshape(-1)
            return sparse.csr_array((len(numbers), self.n_items)), numbers
        names = users
        if not isinstance(X, Ratings):
            matrix = self.matrix(X)
        elif users is None:
            names, matrix = X.user_ids, self.matrix(X, "items")
        else:  # their rows alone: X may have millions
            chosen = X.users.numbers(users, "users", _LEAVE_OUT, whose="that X has").reshape(-1)
            names, (few, place) = X.users.named(chosen), np.unique(chosen, return_inverse=True)
            some = Identifiers.in_order(X.users.named(few), "users")
            matrix = self.matrix(Ratings(X.matrix[few], some, X.items, X.scale), "items")[place]
        if matrix.shape[1] != self.n_items:
            raise ValueError(
                f"X must be users by items, with {self.n_items} columns, got "
                f"{told_shape(matrix.shape, (self.n_users, self.n_items))}"
            )
        if not isinstance(X, Ratings) and self.rows == "users" and users is not None:
            raise ValueError(
                "users must be None for a matrix with rows='users': its rows say all that the "
                "model looks at; pass the rows that you ask about"
            )
        if self.rows == "items":
            return matrix, self._users_of(matrix, names)
        if not np.diff(matrix.indptr).all():
            warn_at_users_line(
                "rows of X without a rating get what the items' own frequencies say", UserWarning
            )
        return matrix, None

    def _users_of(self, matrix, users):
        """Return the numbers of the known users that rows are."""
        if users is None:
            if matrix.shape[0] != self.n_users:
                raise ValueError(
                    f"X must have the {self.n_users} users of fit, got {matrix.shape[0]} rows; "
                    f"say with users= which of them they are; {_NEW_USERS['items']}"
                )
            return np.arange(self.n_users)
        numbers = self.numbers("users", users, "users").reshape(-1)
        if len(numbers) != matrix.shape[0]:
            raise ValueError(
                f"users must name one user for each of the {matrix.shape[0]} rows of X, got "
                f"{len(numbers)}"
            )
        return numbers

    def rows_like_known(self, X, method):
        """Return rows of users or items in place of those of `fit`, whose columns are the same.

        Parameters
        ----------
        X : Ratings or sparse matrix
        method : str
            The method that asks, for messages.

        Returns
        -------
        PatternedRows
        """
        side = "items" if self.rows == "users" else "users"
        matrix = self.matrix(X, side)
        axis, n_columns = (1, self.n_items) if self.rows == "users" else (0, self.n_users)
        if matrix.shape[axis] != n_columns:
            raise ValueError(
                f"X must be users by items, with the {n_columns} {side} of fit, for {method} with "
                f"rows={self.rows!r}, got "
                f"{told_shape(matrix.shape, (self.n_users, self.n_items))}"
            )
        return patterned(matrix, self.scale, self.rows)

    def with_new(self, X):
        """Return the identifiers that are known once new rows have been learned from, or None.

        Raises
        ------
        ValueError
            If `X` does not name them, or names one that is known already.
        """
        if self.ids is None:
            return None
        if not isinstance(X, Ratings):
            raise ValueError(
                "X must be a dg.Ratings for partial_fit, as in fit: the model knows identifiers, "
                f"and needs those of what is new, got {type(X).__name__}"
            )
        new = {"users": X.users, "items": X.items}[self.rows]
        return {**self.ids, self.rows: self.ids[self.rows].followed_by(new, self.rows)}
