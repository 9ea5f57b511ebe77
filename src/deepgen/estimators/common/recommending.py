"""What a fitted recommender answers: ratings of pairs, lists for users, features, scores."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_integer
from deepgen.estimators.common.networks import check_choice
from deepgen.estimators.common.ratings import ndcg_of_users, patterned
from deepgen.estimators.common.reports import ReportingEstimator
from deepgen.inference.ratings import (
    best_columns,
    expected_ratings,
    hidden_means,
    rating_probabilities,
    rating_scores,
)
from deepgen.likelihood import rating_log_likelihood
from deepgen.runtime.work import Work

RANKS = ("mean", "top")
# Rows whose scores are in memory at once.
ROWS_AT_ONCE = 256


class Recommender(ReportingEstimator):
    """Mix-in: questions to `model_`, a machine of ratings, about users and items.

    A class with it sets ``_known``, the :class:`KnownSides` of its model, and has the setting
    ``n_threads``.
    """

    # --- questions about known users and items --------------------------------------------------

    def predict(self, users, items):
        """Return expected ratings of pairs of a user and an item that the model knows.

        Parameters
        ----------
        users, items : identifier or int, or array-like
            Identifiers where the model knows them, else numbers of rows and columns of the X of
            `fit`; broadcast together.

        Returns
        -------
        ndarray, float32
            Of their common shape, inside the scale. An answer about a pair does not depend on the
            others. A pair that was rated in `fit` is predicted with its own rating in sight.
        """
        check_is_fitted(self)
        users, items = self._known.pairs(users, items)
        answer = self._of_pairs(expected_ratings, users.reshape(-1), items.reshape(-1))
        return answer.reshape(users.shape)

    def predict_proba(self, users, items):
        """Return the probability of each value of `scale_` for pairs of a user and an item.

        Parameters
        ----------
        users, items : identifier or int, or array-like
            See :meth:`predict`.

        Returns
        -------
        ndarray of shape (..., n_values), float32
        """
        check_is_fitted(self)
        users, items = self._known.pairs(users, items)
        answer = self._of_pairs(rating_probabilities, users.reshape(-1), items.reshape(-1))
        return answer.reshape(*users.shape, -1)

    def similar_items(self, item, n=10):
        """Return the items whose features are most like those of an item.

        Features are the hidden means of items, where these are rows; else how much each hidden unit
        moves the expected rating of an item. They are compared by the cosine of what they have
        beyond the mean of all items.

        Parameters
        ----------
        item : identifier or int
            See :meth:`predict`.
        n : int, default 10

        Returns
        -------
        tuple of ndarray of shape (n,)
            Items, the most similar first and without the item itself, and cosines. Where there are
            no more, NaN, and -1 for the item, or None where items have identifiers.
        """
        check_is_fitted(self)
        numbers = self._known.numbers("items", item, "item")
        if numbers.size != 1:
            raise ValueError(f"item must be one item, got {numbers.size}")
        item = int(numbers.reshape(-1)[0])
        check_integer(n, "n", 1)
        features = self.item_features()
        lengths = np.sqrt((features * features).sum(axis=1))
        features /= np.where(lengths > 0.0, lengths, 1.0)[:, None]
        # no product by BLAS, whose bits may depend on its threads
        cosines = np.einsum("jf,f->j", features, features[item]).astype(np.float32)
        cosines[item] = np.nan
        ids, best = best_columns(cosines[None], int(n), work=self._work())
        return self._known.items_named(ids[0]), best[0]

    def item_features(self):
        """Return a vector for each item; :meth:`similar_items` takes cosines between them.

        Returns
        -------
        ndarray of shape (n_items, n_hidden), float64
            The hidden means of items where these are rows, else how much each hidden unit moves the
            expected rating of an item; minus the mean of all items.
        """
        check_is_fitted(self)
        machine = self.model_
        if self._known.rows == "items":
            features = machine.known_means.astype(np.float64)
        else:
            points = machine.scale.points - machine.scale.points.mean()
            features = np.einsum("jkf,k->jf", machine.weights, points, dtype=np.float64)
        return features - features.mean(axis=0)

    def score(self, X, y=None):
        """Return minus the root of the mean squared error of ratings that were held out.

        Parameters
        ----------
        X : Ratings, or sparse matrix of shape (n_users, n_items)
            Of users and items of `fit`; its ratings are those to be predicted.
        y : ignored

        Returns
        -------
        float
        """
        check_is_fitted(self)
        users, items, ratings = self._known.held_out(X)
        error = self._of_pairs(expected_ratings, users, items).astype(np.float64) - ratings
        return -float(np.sqrt(np.mean(error * error)))

    def log_loss(self, X):
        """Return the mean of minus the log probability of ratings that were held out, in nats.

        With bins, of the bin that a rating falls into.

        Parameters
        ----------
        X : Ratings, or sparse matrix of shape (n_users, n_items)
            See :meth:`score`.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        users, items, ratings = self._known.held_out(X)
        numbers = self.model_.scale.numbers(ratings)
        p = self._of_pairs(rating_probabilities, users, items)[np.arange(len(numbers)), numbers]
        return -float(np.mean(np.log(np.maximum(p.astype(np.float64), 1e-38))))

    def ndcg(self, X, n=10):
        """Return the normalized discounted cumulative gain of held-out ratings, a mean over users.

        The held-out items of each user are ranked by their expected ratings. The gain of a rating
        is ``2^value - 1``, with values counted from 0, the discount of place i ``log2(i + 1)``
        (Järvelin & Kekäläinen 2002; Burges et al. 2005). Users with fewer than two held-out
        ratings, or with the lowest value alone, do not count.

        Parameters
        ----------
        X : Ratings, or sparse matrix of shape (n_users, n_items)
            See :meth:`score`.
        n : int, default 10
            Places that count.

        Returns
        -------
        float
        """
        check_integer(n, "n", 1)
        check_is_fitted(self)
        users, items, ratings = self._known.held_out(X)
        scores = self._of_pairs(expected_ratings, users, items)
        return ndcg_of_users(users, scores, self.model_.scale.numbers(ratings), int(n))

    # --- questions about rows -------------------------------------------------------------------

    def recommend(self, X=None, n=10, *, users=None, exclude=None, among=None, rank="mean"):
        """Return the best items for users, without those that their rows have.

        Parameters
        ----------
        X : Ratings, sparse matrix of shape (n_rows, n_items), or None
            What each user has rated: with ``rows="users"`` that is all the model looks at, so new
            users are answered like known ones. What is in the row is not recommended, and nothing
            else is left out: ratings of `fit` are not remembered. None: known users are asked for,
            and nothing is left out but `exclude`.
        n : int, default 10
        users : identifier or int, array-like of these, or None
            Of a :class:`Ratings`: which of its users to answer for. Of a matrix with
            ``rows="items"``, or without X: which users of `fit` the rows are. None: all, in their
            order.
        exclude : array-like of identifiers or int, or None
            Items that are not to be recommended to anybody.
        among : array-like of identifiers or int, or None
            Items to choose from. None: all.
        rank : {"mean", "top"}, default "mean"
            By expected rating, or by the probability of the highest value.

        Returns
        -------
        tuple of ndarray of shape (n_rows, n)
            Items, the best first and of equal ones the one that `fit` had first, and their scores,
            float32. Items are int64, or identifiers where the model knows them. Where no item is
            left, NaN, and -1 for the item, or None where items have identifiers.

        Raises
        ------
        ValueError
            Also for users that are not known, where rows are items.
        """
        check_is_fitted(self)
        check_integer(n, "n", 1)
        check_choice(rank, "rank", RANKS)
        matrix, numbers = self._known.asked(X, users)
        chosen = np.arange(self._known.n_items)
        if among is not None:
            chosen = np.unique(self._known.numbers("items", among, "among"))
        if exclude is not None:
            chosen = np.setdiff1d(chosen, self._known.numbers("items", exclude, "exclude"))
        place = np.full(self._known.n_items, -1)  # of an item among the chosen ones
        place[chosen] = np.arange(len(chosen))
        rows = patterned(matrix, self.model_.scale, "users") if numbers is None else None
        ids = np.empty((matrix.shape[0], n), np.int64)
        best = np.empty(ids.shape, np.float32)
        for first in range(0, matrix.shape[0], ROWS_AT_ONCE):
            piece = slice(first, min(first + ROWS_AT_ONCE, matrix.shape[0]))
            scores = self._scores(rows, numbers, piece, chosen, rank == "top")
            entries = slice(matrix.indptr[piece.start], matrix.indptr[piece.stop])
            lengths = np.diff(matrix.indptr[piece.start : piece.stop + 1])
            row, places = np.repeat(np.arange(len(lengths)), lengths), matrix.indices[entries]
            places = place[places]
            scores[row[places >= 0], places[places >= 0]] = np.nan
            own, best[piece] = best_columns(scores, n, work=self._work())
            ids[piece] = np.where(own >= 0, np.append(chosen, -1)[own], -1)
        return self._known.items_named(ids), best

    def _scores(self, rows, numbers, piece, chosen, top):
        """Return scores of some of the rows by the chosen items."""
        machine, work = self.model_, self._work()
        if numbers is None:
            some = rows.of_rows(np.arange(piece.start, piece.stop))
            means = hidden_means(machine, some, work=work)
            return rating_scores(machine, means, chosen, top=top, work=work)
        known = machine.wide_known_means
        if self._known.rows == "users":
            return rating_scores(machine, known[numbers[piece]], chosen, top=top, work=work)
        means = known if len(chosen) == len(known) else known[chosen]
        return rating_scores(machine, means, numbers[piece], top=top, by_column=True, work=work)

    def transform(self, X):
        """Return the features of rows: the means of the hidden units, given their ratings.

        Parameters
        ----------
        X : Ratings or sparse matrix
            Users by items: with ``rows="users"`` any users by the items of `fit`, with
            ``rows="items"`` the users of `fit` by any items.

        Returns
        -------
        ndarray of shape (n_users, n_hidden) or (n_items, n_hidden), float32
            Of users, or of items, whichever rows are, in the order of X.
        """
        check_is_fitted(self)
        rows = self._known.rows_like_known(X, "transform")
        means = hidden_means(self.model_, rows, work=self._work())
        return np.ascontiguousarray(means[:, : self.model_.n_hidden])

    def score_samples(self, X, *, n_chains=100, n_betas=1000, random_state=None):
        """Return log p(ratings | what is rated) of rows, in nats.

        Exact up to 12 hidden units, else log Z is annealed in both directions, row by row, and
        their middle is taken: ask about a sample of rows. `likelihood_report_` tells how far that
        can be believed. A machine that was trained to predict has no high likelihoods.

        Parameters
        ----------
        X : Ratings or sparse matrix
            As for :meth:`transform`.
        n_chains, n_betas : int
            Chains of a row and direction, and temperatures.
        random_state : int, RandomState, Generator or None

        Returns
        -------
        ndarray of shape (n_users,) or (n_items,), float64
        """
        check_is_fitted(self)
        check_integer(n_chains, "n_chains", 2)
        rows = self._known.rows_like_known(X, "score_samples")
        found = rating_log_likelihood(
            self.model_, rows, n_chains=n_chains, n_betas=n_betas, random_state=random_state,
            n_threads=self.n_threads,
        )  # fmt: skip
        self._fitted.report = found.report()
        return found.by_row

    def _work(self):
        return Work(n_threads=self.n_threads)

    def _of_pairs(self, question, users, items):
        """Ask about pairs of numbers of users and items by a function of `inference.ratings`."""
        rows, columns = (users, items) if self._known.rows == "users" else (items, users)
        return question(
            self.model_, self.model_.wide_known_means, rows, columns, work=self._work()
        )
