"""The restricted Boltzmann machine of collaborative filtering as a recommender."""

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_integer, check_number, is_integer, shown, warn_at_users_line
from deepgen.estimators.common.fitting import Fitted, FittingEstimator, Problem
from deepgen.estimators.common.guards import alone
from deepgen.estimators.common.hyperparameters import (
    check_callbacks,
    check_common,
    check_objects,
)
from deepgen.estimators.common.networks import check_choice
from deepgen.estimators.common.plain_settings import plain_settings
from deepgen.estimators.common.ratings import (
    ndcg_of_users,
    numbers_of,
    patterned,
    ratings_matrix,
    told_shape,
)
from deepgen.estimators.common.validation import Survey
from deepgen.inference.ratings import (
    best_columns,
    expected_ratings,
    hidden_means,
    rating_probabilities,
    rating_scores,
)
from deepgen.learning.ratings import (
    MaskedPrediction,
    RatingStep,
    RatingTrainer,
    as_rating_rule,
    starting_rating_machine,
)
from deepgen.learning.schedules import Constant, Linear, as_schedule
from deepgen.likelihood import rating_log_likelihood
from deepgen.models import RatingMachine
from deepgen.rows.fingerprint import RowOrder
from deepgen.rows.identifiers import Identifiers
from deepgen.rows.ratings import Ratings
from deepgen.rows.scale import MOST_VALUES, Scale
from deepgen.rows.states import CompressedRows
from deepgen.runtime.stream import Stream, seed_of
from deepgen.runtime.work import Work

SIDES = ("items", "users")
RANKS = ("mean", "top")
# Where the learning rate starts; it falls to zero.
USUAL_RATES = {"MaskedPrediction": 0.02, "CD": 0.005, "PCD": 0.005}
# Decay by rating, by side; less where columns have more ratings than LONG.
USUAL_DECAYS = {"items": 0.06, "users": 0.03}
LONG = 500
# Factor on the rate of conditional weights in masked prediction.
CONDITIONAL_RATE = 3.0
# Epochs without `n_epochs`, by rule, of fewer ratings than MANY and of more.
USUAL_EPOCHS = {"MaskedPrediction": (60, 30), "CD": (60, 40), "PCD": (60, 40)}
MANY = 500_000
# A stream learns at this share of the rate: the machine is not to forget what it knows.
STREAM_SHARE = 0.1
# Rows whose scores are in memory at once.
ROWS_AT_ONCE = 256
# What helps who asks about users that are not known, by side.
_NEW_USERS = {
    "items": "a machine with rows='items' has users as its columns and cannot answer for new ones: "
    "fit with rows='users' for that",
    "users": "pass the ratings of new users as X",
}


class RatingsRBM(FittingEstimator, BaseEstimator):
    """Recommender: a restricted Boltzmann machine of ratings.

    Each rating is a choice among a few values, and what is not rated is no part of the model
    (Salakhutdinov, Mnih & Hinton 2007). ``rows="items"``, a row for each item whose columns are
    users, predicts better, but it cannot answer for users that were not in `fit`: they would be new
    columns. ``rows="users"`` can; their ratings come with the question.

    Fitted on a :class:`Ratings`, the model calls users and items by their identifiers, in questions
    and in answers. Fitted on a sparse matrix it knows none, and calls them by the numbers of rows
    and columns.

    Parameters
    ----------
    n_hidden : int, default 100
        Hidden units; 300 predict better where there are a million ratings.
    rows : {"items", "users"}, default "items"
        Which side is a row of the machine. `X` is always users by items.
    scale : sequence of float or None
        The values that ratings can have, at most 20. None: that of a :class:`Ratings`, or the
        distinct values of a matrix.
    bins : int, sequence of float or None
        For continuous ratings: how many bins, of equally many ratings, or the edges between them.
        A bin counts as the mean of its ratings.
    rule : {"prediction", "cd", "pcd"} or rule, default "prediction"
        ``dg.MaskedPrediction(...)`` hides ratings and predicts them. ``dg.CD(k)`` and ``dg.PCD(k)``
        follow the likelihood; they need many times the epochs, and predict worse.
    conditional : {"auto", True, False}, default "auto"
        Whether hidden units see *that* a column is rated, whatever its value. "auto": where rows
        are items; it makes users worse.
    learning_rate : float, schedule or None
        None: 0.02 falling to zero; with contrastive divergence 0.005.
    weight_decay : float or None
        By rating: a column's weights shrink once for each of its ratings that is learned from.
        None: 0.06 where rows are items, 0.03 where they are users; where a column has n > 500
        ratings on average, times the square root of 500 / n.
    n_epochs : int or None
        None: 30 for 500,000 ratings and more, else 60; with contrastive divergence 40 and 60.
    random_state : int, RandomState, Generator or None
        The same seed gives the same bits for any number of threads.
    n_threads : int or None
        Of answers; learning takes one row after the other.
    callbacks : sequence of callable or None
        Called with an ``EpochReport`` after each epoch; a true value stops training.
    verbose : int, default 0
        1 shows a progress bar.

    Attributes
    ----------
    model_ : RatingMachine
    scale_ : ndarray of shape (n_values,)
        The values, ascending.
    history_ : list of dict
        One entry an epoch; ``rmse`` is that of the ratings that were hidden and predicted.
    n_users_, n_items_ : int
        That the model knows.
    user_ids_, item_ids_ : ndarray or None
        Identifiers of these, in the order of rows and columns. None: the model knows none.
    n_features_in_ : int
        Number of items.
    n_updates_, n_epochs_ : int

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> from scipy import sparse
    >>> rng = np.random.default_rng(0)
    >>> users, items = np.nonzero(rng.random((40, 30)) < 0.3)
    >>> X = sparse.csr_array((rng.integers(1, 6, len(users)), (users, items)), shape=(40, 30))
    >>> model = dg.RatingsRBM(8, n_epochs=5, random_state=0).fit(X)
    >>> model.predict([0, 1], [3, 3]).shape
    (2,)
    >>> ids, scores = model.recommend(X, n=5)
    >>> ids.shape
    (40, 5)
    """

    _saved_as = "RatingsRBM"

    def __init__(
        self, n_hidden=100, *, rows="items", scale=None, bins=None, rule="prediction",
        conditional="auto", learning_rate=None, weight_decay=None, n_epochs=None,
        random_state=None, n_threads=None, callbacks=None, verbose=0,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.rows = rows
        self.scale = scale
        self.bins = bins
        self.rule = rule
        self.conditional = conditional
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.n_epochs = n_epochs
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose

    # --- learning -----------------------------------------------------------------------------

    def fit(self, X, y=None, *, resume=None):
        """Learn from ratings.

        Parameters
        ----------
        X : Ratings, or sparse matrix of shape (n_users, n_items)
            Stored entries of a matrix are the ratings, zeros too; what is not stored is not rated.
            The arrays of a CSR matrix may be mapped from a file.
        y : ignored
        resume : str, path-like or None
            A file that :class:`deepgen.Checkpoint` has written: the run goes on from there, with
            the same bits as if it had not been stopped.

        Returns
        -------
        RatingsRBM
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or a rating is not valid, or if the checkpoint is that of another run;
            raised before any work.
        DivergedError
            If a parameter is no longer finite; `model_` is the last good model.
        RuntimeError
            If another thread is fitting this estimator.
        """
        return self._fit(X, y, resume)

    def partial_fit(self, X, y=None):
        """Learn from rows that come later, and know them from then on.

        With ``rows="users"`` new users by the items of `fit`; with ``rows="items"`` the users of
        `fit` by new items. They are learned from once, at a tenth of the rate that `fit` starts
        with, and are known after those that are known already. The first call without `fit` is
        that of `fit`.

        Parameters
        ----------
        X : Ratings, or sparse matrix of shape (n_new, n_items) or (n_users, n_new)
            A :class:`Ratings` where the model knows identifiers, which must be new ones.
        y : ignored

        Returns
        -------
        RatingsRBM
            This estimator.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(X)
        self._check_settings()
        with alone(self):
            rows = self._rows_like_known(X, "partial_fit")
            ids = self._ids_with(X)
            machine = self.model_
            stream = Stream.from_random_state(seed_of(self.random_state))
            schedule = as_schedule(_schedule_of(self))
            run = RatingTrainer(
                machine, self.rule, Constant(STREAM_SHARE * schedule(0.0)), n_rows=rows.n_rows,
                stream=stream.child("stream").child(machine.n_known),
                step=self._step(rows, machine.n_known, averaging=0.0),
                n_threads=self.n_threads,
            )  # fmt: skip
            if rows.n_rows:
                run.fit(rows, 1)
            means = hidden_means(run.model(), rows, work=self._work())[:, : machine.n_hidden]
            known = np.concatenate([machine.known_means, means])
            self.model_ = run.model().replace(known_means=known)
            self.history_ = [*self.history_, *run.history]
            self.n_updates_ += run.n_updates
            self._set_sizes(len(known), ids)
        return self

    def _ids_with(self, X):
        """Return the identifiers that are known once new ones have been learned from."""
        if self._ids is None:
            return None
        if not isinstance(X, Ratings):
            raise ValueError(
                "X must be a dg.Ratings for partial_fit, as in fit: the model knows identifiers, "
                f"and needs those of what is new, got {type(X).__name__}"
            )
        new = {"users": X.users, "items": X.items}[self.rows]
        return {**self._ids, self.rows: self._ids[self.rows].followed_by(new, self.rows)}

    def _check_settings(self):
        check_integer(self.n_hidden, "n_hidden")
        if self.n_epochs is not None:
            check_integer(self.n_epochs, "n_epochs")
        check_choice(self.rows, "rows", SIDES)
        check_common(self)
        check_objects(self, ("rule", "learning_rate"))
        if self.weight_decay is not None:
            check_number(self.weight_decay, "weight_decay", 0.0, closed=True)
        as_rating_rule(self.rule)
        if self.conditional != "auto" and not isinstance(self.conditional, bool):
            raise ValueError(
                f"conditional must be 'auto', True or False, got {shown(self.conditional)}"
            )
        if self.learning_rate is not None:
            as_schedule(self.learning_rate)
        if self.bins is not None and self.scale is not None:
            raise ValueError("bins and scale exclude each other: a bin's value is its mean")
        if self.scale is not None:
            Scale(self.scale)
        if is_integer(self.bins):
            check_integer(self.bins, "bins", 2, MOST_VALUES)
        check_callbacks(self.callbacks)

    def _read(self, X, y):
        """Return ratings as rows, of users or of items, and their scale and identifiers."""
        named = isinstance(X, Ratings)
        matrix = ratings_matrix(X.matrix if named else X)
        if 0 in matrix.shape or not matrix.nnz:
            raise ValueError(
                f"X must have at least one user, one item and one rating, got shape {matrix.shape} "
                f"with {matrix.nnz} ratings"
            )
        self.n_features_in_ = matrix.shape[1]
        scale = _scale_of(self, matrix.data, X.scale if named else None)
        ids = {"users": X.users, "items": X.items} if named else None
        return patterned(matrix, scale, self.rows), (scale, ids)

    def _problem(self, rows, y):
        return RatingsProblem(self, rows, *y)

    def _step(self, rows, n_known=0, **changes):
        masked = isinstance(as_rating_rule(self.rule), MaskedPrediction)
        factor = CONDITIONAL_RATE if masked else 1.0
        decay = self._decay(rows, n_known)
        return RatingStep(weight_decay=decay, conditional_rate=factor, **changes)

    def _decay(self, rows, n_known=0):
        """Return the decay by rating; a column's length is that in these rows and known ones."""
        if self.weight_decay is not None:
            return float(self.weight_decay)
        by_row = len(rows.columns) / max(rows.n_rows, 1)
        length = by_row * (n_known + rows.n_rows) / rows.n_columns
        return USUAL_DECAYS[self.rows] * min(1.0, (LONG / max(length, 1.0)) ** 0.5)

    def _set_sizes(self, n_known, ids):
        """Set what follows from the model and the identifiers: sizes, the scale, names."""
        sizes = (n_known, self.model_.n_columns)
        self.n_users_, self.n_items_ = sizes if self.rows == "users" else sizes[::-1]
        self.n_features_in_ = self.n_items_
        self.scale_ = np.array(self.model_.scale.values)
        self._ids = ids
        self.user_ids_, self.item_ids_ = (
            (None, None) if ids is None else (ids["users"].values, ids["items"].values)
        )

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
        users, items = self._pairs(users, items)
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
        users, items = self._pairs(users, items)
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
        numbers = self._numbers("items", item, "item")
        if numbers.size != 1:
            raise ValueError(f"item must be one item, got {numbers.size}")
        item = int(numbers.reshape(-1)[0])
        check_integer(n, "n", 1)
        features = self.item_features()
        lengths = np.sqrt((features * features).sum(axis=1))
        features /= np.where(lengths > 0.0, lengths, 1.0)[:, None]
        cosines = (features @ features[item]).astype(np.float32)
        cosines[item] = np.nan
        ids, best = best_columns(cosines[None], int(n), work=self._work())
        return self._items_named(ids[0]), best[0]

    def item_features(self):
        """Return what hidden units know of each item, as :meth:`similar_items` compares it.

        Returns
        -------
        ndarray of shape (n_items, n_hidden), float64
            The hidden means of items where these are rows, else how much each hidden unit moves the
            expected rating of an item; minus the mean of all items.
        """
        check_is_fitted(self)
        machine = self.model_
        if self.rows == "items":
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
        users, items, ratings = self._held_out(X)
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
        users, items, ratings = self._held_out(X)
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
        users, items, ratings = self._held_out(X)
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
        matrix, numbers = self._asked(X, users)
        chosen = np.arange(self.n_items_)
        if among is not None:
            chosen = np.unique(self._numbers("items", among, "among"))
        if exclude is not None:
            chosen = np.setdiff1d(chosen, self._numbers("items", exclude, "exclude"))
        place = np.full(self.n_items_, -1)  # of an item among the chosen ones
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
        return self._items_named(ids), best

    def _scores(self, rows, numbers, piece, chosen, top):
        """Return scores of some of the rows by the chosen items."""
        machine, work = self.model_, self._work()
        if numbers is None:
            some = rows.of_rows(np.arange(piece.start, piece.stop))
            means = hidden_means(machine, some, work=work)
            return rating_scores(machine, means, chosen, top=top, work=work)
        known = machine.wide_known_means
        if self.rows == "users":
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
        rows = self._rows_like_known(X, "transform")
        means = hidden_means(self.model_, rows, work=self._work())
        return np.ascontiguousarray(means[:, : self.model_.n_hidden])

    def score_samples(self, X, *, n_chains=100, n_betas=1000, random_state=None):
        """Return log p(ratings | what is rated) of rows, in nats.

        Exact up to 12 hidden units, else by annealed importance sampling, row by row: ask about a
        sample of rows. A machine that was trained to predict has no high likelihoods.

        Parameters
        ----------
        X : Ratings or sparse matrix
            As for :meth:`transform`.
        n_chains, n_betas : int
            See :func:`deepgen.ais`.
        random_state : int, RandomState, Generator or None

        Returns
        -------
        ndarray of shape (n_users,) or (n_items,), float64
        """
        check_is_fitted(self)
        rows = self._rows_like_known(X, "score_samples")
        return rating_log_likelihood(
            self.model_, rows, n_chains=n_chains, n_betas=n_betas, random_state=random_state,
            n_threads=self.n_threads,
        )[0]  # fmt: skip

    # --- reading --------------------------------------------------------------------------------

    def _work(self):
        return Work(n_threads=self.n_threads)

    def _numbers(self, side, wanted, name, remedy=""):
        """Return numbers of users or items that are called as users of the model call them."""
        if self._ids is not None:
            return self._ids[side].numbers(wanted, name, remedy)
        n = self.n_users_ if side == "users" else self.n_items_
        return numbers_of(wanted, name, n, remedy=remedy)

    def _items_named(self, numbers):
        return numbers if self._ids is None else self._ids["items"].named(numbers)

    def _pairs(self, users, items):
        """Return the numbers of users and items, of one shape."""
        users = self._numbers("users", users, "users")
        items = self._numbers("items", items, "items")
        try:
            return np.broadcast_arrays(users, items)
        except ValueError:
            raise ValueError(
                f"users and items must have one shape, got {users.shape} and {items.shape}"
            ) from None

    def _of_pairs(self, question, users, items):
        """Ask about pairs of numbers of users and items by a function of `inference.ratings`."""
        rows, columns = (users, items) if self.rows == "users" else (items, users)
        return question(
            self.model_, self.model_.wide_known_means, rows, columns, work=self._work()
        )

    def _matrix(self, X, *sides):
        """Return ratings as CSR; those of these sides, which X names, in the order of `fit`."""
        if not isinstance(X, Ratings):
            return ratings_matrix(X)
        if self._ids is None:
            raise ValueError(
                "X must be a sparse matrix, as in fit: the model knows no identifiers; pass "
                "X.matrix where its rows and columns are those of fit, or fit on a dg.Ratings"
            )
        return ratings_matrix(X.ordered(**{side: self._ids[side] for side in sides}))

    def _held_out(self, X):
        """Return numbers of users and items, and ratings, of all ratings of X, checked."""
        check_is_fitted(self)
        matrix = self._matrix(X, "users", "items")
        if matrix.shape != (self.n_users_, self.n_items_):
            raise ValueError(
                f"X must be users by items, ({self.n_users_}, {self.n_items_}) as in fit, got "
                f"{told_shape(matrix.shape, (self.n_users_, self.n_items_))}"
            )
        if not matrix.nnz:
            raise ValueError("X must have at least one rating to predict, got none")
        self.model_.scale.numbers(matrix.data)
        users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        return users, matrix.indices, matrix.data.astype(np.float64)

    def _asked(self, X, users):
        """Return ratings of the users who are asked about, and the numbers of these users.

        No numbers where the ratings alone say who is asked about.
        """
        if X is None:
            numbers = np.arange(self.n_users_)
            if users is not None:
                numbers = self._numbers("users", users, "users", _NEW_USERS[self.rows]).reshape(-1)
            return sparse.csr_array((len(numbers), self.n_items_)), numbers
        names = users
        if isinstance(X, Ratings):
            names, place = X.user_ids, slice(None)
            if users is not None:  # their rows alone: X may have millions
                chosen = X.users.numbers(users, "users", "ask about users of X").reshape(-1)
                names, (few, place) = X.users.named(chosen), np.unique(chosen, return_inverse=True)
                some = Identifiers.in_order(X.users.named(few), "users")
                X = Ratings(X.matrix[few], some, X.items, X.scale)
            matrix = self._matrix(X, "items")[place]
        else:
            matrix = self._matrix(X)
        if matrix.shape[1] != self.n_items_:
            raise ValueError(
                f"X must be users by items, with {self.n_items_} columns, got "
                f"{told_shape(matrix.shape, (self.n_users_, self.n_items_))}"
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
        remedy = _NEW_USERS["items"]
        if users is None:
            if matrix.shape[0] != self.n_users_:
                raise ValueError(
                    f"X must have the {self.n_users_} users of fit, got {matrix.shape[0]} rows; "
                    f"say with users= which of them they are; {remedy}"
                )
            return np.arange(self.n_users_)
        numbers = self._numbers("users", users, "users", remedy).reshape(-1)
        if len(numbers) != matrix.shape[0]:
            raise ValueError(
                f"users must name one user for each of the {matrix.shape[0]} rows of X, got "
                f"{len(numbers)}"
            )
        return numbers

    def _rows_like_known(self, X, method):
        """Return rows of users or items in place of those of `fit`, whose columns are the same."""
        side = "items" if self.rows == "users" else "users"
        matrix = self._matrix(X, side)
        axis, n_columns = (1, self.n_items_) if self.rows == "users" else (0, self.n_users_)
        if matrix.shape[axis] != n_columns:
            raise ValueError(
                f"X must be users by items, with the {n_columns} {side} of fit, for {method} with "
                f"rows={self.rows!r}, got "
                f"{told_shape(matrix.shape, (self.n_users_, self.n_items_))}"
            )
        return patterned(matrix, self.model_.scale, self.rows)

    # --- files ------------------------------------------------------------------------------------

    def _beside_model(self):
        if self._ids is None:
            return {"rows": self.rows}
        texts = {f"{side[:-1]}_ids": ids.texts(side) for side, ids in self._ids.items()}
        return {"rows": self.rows, **texts}

    @classmethod
    def from_model(cls, model, rows="items", user_ids=None, item_ids=None):
        """Return a fitted estimator around a core model.

        Parameters
        ----------
        model : RatingMachine
        rows : {"items", "users"}
        user_ids, item_ids : sequence of hashable, or None
            Identifiers of all users and items that the model knows, in their order; of both or of
            neither.
        """
        if not isinstance(model, RatingMachine):
            raise ValueError(f"model must be a RatingMachine, got {shown(model)}")
        check_choice(rows, "rows", SIDES)
        estimator = cls(
            model.n_hidden, rows=rows, conditional=model.conditional is not None
        )
        estimator.model_, estimator.history_, estimator.n_updates_ = model, [], 0
        estimator._fitted = Fitted()
        estimator._set_sizes(model.n_known, None)
        if user_ids is not None or item_ids is not None:
            ids, sizes = {}, (estimator.n_users_, estimator.n_items_)
            for side, given, size in zip(SIDES[::-1], (user_ids, item_ids), sizes, strict=True):
                name = f"{side[:-1]}_ids"
                ids[side] = Identifiers.in_order([] if given is None else given, name)
                if len(ids[side]) != size:
                    raise ValueError(
                        f"{name} must name the {size} {side} of model, got {len(ids[side])}"
                    )
            estimator._set_sizes(model.n_known, ids)
        return estimator

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class RatingsProblem(Problem):
    """The training of a rating machine.

    Parameters
    ----------
    estimator : RatingsRBM
    rows : PatternedRows
    scale : Scale
    ids : dict of {str: Identifiers} or None
        Of "users" and "items".
    """

    def __init__(self, estimator, rows, scale, ids):
        super().__init__(estimator, rows)
        self.scale, self.ids = scale, ids
        self.learning_rule = as_rating_rule(estimator.rule)

    @property
    def units(self):
        """None: the scale has checked all ratings."""
        return

    def surveyed(self):
        """Measure how often columns are rated, and tell these ratings, in this order, from others.

        A column that nobody rated has the mean 0, which is no value that counts from 1.
        """
        rows = self.rows
        order = RowOrder(self.estimator.n_threads)
        for first in range(0, rows.n_rows, 8192):
            starts = rows.starts[first : first + 8193]
            entries = slice(starts[0], starts[-1])
            values = rows.values[entries].astype(np.float32) + 1.0
            columns = rows.columns[entries]
            order.add(CompressedRows(values, columns, starts - starts[0], rows.n_columns))
        counts, values = rows.counts(self.scale.n_values), np.arange(1.0, self.scale.n_values + 1.0)
        n = np.maximum(counts.sum(axis=1), 1)
        mean = counts @ values / n
        return Survey(rows.n_rows, mean, counts @ (values * values) / n - mean**2, order.tree())

    def settings(self, n_rows):
        """Return the settings that decide the bits of a run, as plain data."""
        estimator = self.estimator
        many = len(self.rows.columns) >= MANY
        n_epochs = estimator.n_epochs or USUAL_EPOCHS[type(self.learning_rule).__name__][many]
        return plain_settings(
            estimator,
            {
                "n_epochs": int(n_epochs), "n_samples": int(n_rows),
                "learning_rate": _schedule_of(estimator), "rule": self.learning_rule,
                "weight_decay": estimator._decay(self.rows),
                "scale": list(self.scale.values),
                "bins": None if self.scale.edges is None else list(self.scale.edges),
            },
        )  # fmt: skip

    def run(self, beginning):
        """Return the run."""
        estimator = self.estimator
        stream = Stream.from_random_state(beginning.seed)
        conditional = estimator.conditional
        if conditional == "auto":
            conditional = estimator.rows == "items"
        machine = starting_rating_machine(
            self.rows, self.scale, int(estimator.n_hidden), conditional=conditional, stream=stream
        )
        run = RatingTrainer(
            machine, self.learning_rule, _schedule_of(estimator), n_rows=self.rows.n_rows,
            stream=stream, step=estimator._step(self.rows), n_threads=estimator.n_threads,
        )  # fmt: skip
        run.frame = beginning.frame
        beginning.take_over(run)
        return run

    def keep(self, run, score_seed):
        """Set `model_`, with the hidden means of the rows, and the other fitted attributes."""
        super().keep(run, score_seed)
        estimator, machine = self.estimator, self.estimator.model_
        known = hidden_means(machine, self.rows, work=estimator._work())
        estimator.model_ = machine.replace(known_means=known[:, : machine.n_hidden])
        estimator._set_sizes(self.rows.n_rows, self.ids)


def _schedule_of(estimator):
    """Return the learning rate of a run: the estimator's, or the usual one of its rule."""
    if estimator.learning_rate is not None:
        return estimator.learning_rate
    return Linear(USUAL_RATES[type(as_rating_rule(estimator.rule)).__name__], 0.0)


def _scale_of(estimator, ratings, own):
    """Return the scale that the settings ask for, else the ratings' own, else their values."""
    if estimator.bins is not None:
        return Scale.of_bins(ratings, estimator.bins)
    if estimator.scale is not None:
        return Scale(estimator.scale)
    return Scale.of(ratings) if own is None else own
