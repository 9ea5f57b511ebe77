"""The restricted Boltzmann machine of collaborative filtering as a recommender."""

import numpy as np
from sklearn.base import BaseEstimator

from deepgen.checks import check_integer, check_number, is_integer, shown
from deepgen.estimators.common.fitting import Fitted, FittingEstimator, Problem
from deepgen.estimators.common.guards import alone
from deepgen.estimators.common.hyperparameters import (
    check_callbacks,
    check_common,
    check_objects,
)
from deepgen.estimators.common.known_sides import KnownSides
from deepgen.estimators.common.networks import check_choice
from deepgen.estimators.common.plain_settings import plain_settings
from deepgen.estimators.common.ratings import patterned, ratings_matrix
from deepgen.estimators.common.recommending import Recommender
from deepgen.estimators.common.validation import Survey
from deepgen.inference.ratings import hidden_means
from deepgen.learning.ratings import (
    MaskedPrediction,
    RatingStep,
    RatingTrainer,
    as_rating_rule,
    starting_rating_machine,
)
from deepgen.learning.schedules import Constant, Linear, as_schedule
from deepgen.models import RatingMachine
from deepgen.rows.fingerprint import RowOrder
from deepgen.rows.identifiers import Identifiers
from deepgen.rows.ratings import Ratings
from deepgen.rows.scale import MOST_VALUES, Scale
from deepgen.rows.states import CompressedRows
from deepgen.runtime.stream import Stream, seed_of

SIDES = ("items", "users")
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


class RatingsRBM(Recommender, FittingEstimator, BaseEstimator):
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
        One entry an epoch of `fit`; ``rmse`` is that of the ratings that were hidden and predicted.
    n_users_, n_items_ : int
        That the model knows.
    user_ids_, item_ids_ : ndarray or None
        Identifiers of these, in the order of rows and columns. None: the model knows none.
    n_features_in_ : int
        Number of items.
    n_updates_, n_epochs_ : int
    likelihood_report_ : dict
        How the last likelihood was estimated: ``method``, ``value``, ``lower`` and ``upper`` (nats
        a row), ``forward`` (optimistic), ``mean_variance`` (of log weights; above 0.1, raise
        `n_betas`), ``n_rows``.

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
            rows, ids = self._known.rows_like_known(X, "partial_fit"), self._known.with_new(X)
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
            self.n_updates_ += run.n_updates
            self._set_known(self._known.rows, len(known), ids)
        return self

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

    def _set_known(self, rows, n_known, ids):
        """Set who is known, and what follows from that: sizes, the scale, names.

        The side is remembered: whoever sets `rows` anew changes what the next `fit` does, not what
        the arrays of this model mean.
        """
        sizes = (n_known, self.model_.n_columns)
        self.n_users_, self.n_items_ = sizes if rows == "users" else sizes[::-1]
        self._known = KnownSides(rows, self.n_users_, self.n_items_, self.model_.scale, ids)
        self.n_features_in_ = self.n_items_
        self.scale_ = np.array(self.model_.scale.values)
        self.user_ids_, self.item_ids_ = (
            (None, None) if ids is None else (ids["users"].values, ids["items"].values)
        )

    # --- files ------------------------------------------------------------------------------------

    def _beside_model(self):
        known = self._known
        if known.ids is None:
            return {"rows": known.rows}
        texts = {f"{side[:-1]}_ids": ids.texts(side) for side, ids in known.ids.items()}
        return {"rows": known.rows, **texts}

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
        estimator._set_known(rows, model.n_known, None)
        if user_ids is not None or item_ids is not None:
            ids, sizes = {}, (estimator.n_users_, estimator.n_items_)
            for side, given, size in zip(SIDES[::-1], (user_ids, item_ids), sizes, strict=True):
                name = f"{side[:-1]}_ids"
                ids[side] = Identifiers.in_order([] if given is None else given, name)
                if len(ids[side]) != size:
                    raise ValueError(
                        f"{name} must name the {size} {side} of model, got {len(ids[side])}"
                    )
            estimator._set_known(rows, model.n_known, ids)
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
        estimator._set_known(estimator.rows, self.rows.n_rows, self.ids)


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
