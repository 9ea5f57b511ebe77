"""Classes from one row on: Gaussians that inherit from known classes."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_integer, check_number, shown
from deepgen.estimators.common.base import FeatureEstimator
from deepgen.estimators.common.guards import alone, unchanged_on_error
from deepgen.estimators.common.labels import as_classes, classes_in, split_labels
from deepgen.estimators.common.validation import (
    by_pieces,
    naming_columns,
    rows_to_read,
    rows_with_targets,
)
from deepgen.inference.class_hierarchy import (
    class_of_rows,
    coordinates,
    joined,
    log_predictives,
    members_of,
)
from deepgen.io.classes import plain_classes
from deepgen.layers.named import real_columns
from deepgen.learning.class_hierarchy import learn_hierarchy, with_super_categories
from deepgen.models import ClassHierarchy
from deepgen.models.class_hierarchy import check_inherited_rows
from deepgen.rows.states import dense
from deepgen.rows.survey import checked_pieces
from deepgen.runtime.stream import Stream, check_random_state


class HierarchicalGaussian(ClassifierMixin, FeatureEstimator, BaseEstimator):
    """Classifier that learns a new class from one row, by what known classes have in common.

    From known classes it learns how far the means of classes lie apart and how rows of a class
    vary. A new class inherits both: one row tells roughly where it is, and what it has inherited,
    in which directions its other rows differ from that one. With super-categories it inherits from
    classes that vary as it does. It reads any columns of like size: one that is far larger than
    the others is nearly all that it sees, so standardize such columns. Of deep machines fields
    serve better than means (``transform(X, quantity="field")``), which saturate.

    Parameters
    ----------
    n_components : int, default 50
        Principal components that are kept, where there are more columns.
    shrinkage : float, default 0.1
        Share of the covariance of rows within classes, and of that of the means of classes, that
        is replaced by a multiple of I. More where rows or classes are few.
    inherited_rows : float or None, default 100.0
        How many rows of a class, 1 or more, count as much as the covariance that it inherits.
        None: all classes have one covariance, whatever their rows are (two-covariance Gaussian,
        also known as PLDA).
    super_categories : {"crp"} or None, default "crp"
        "crp": groups of known classes that vary alike, their number and members drawn from the
        posterior under a Chinese restaurant process. None: all inherit from all; also where
        `inherited_rows` is None.
    random_state : int, RandomState, Generator or None
        Of the draws of super-categories. The same seed gives the same bits for any number of
        threads on one machine; on another one bits may be others, because LAPACK is called.

    Attributes
    ----------
    model_ : ClassHierarchy
    classes_ : ndarray of shape (n_classes,)
        Known classes in the order of the columns of `predict_proba`: those of `fit` ascending,
        then those that were added.
    super_categories_ : list of list or None
        Labels of the classes of `fit` by super-category, in the last draw; None without.
    n_features_in_ : int

    Notes
    -----
    All classes are equally likely before a row is seen, however many rows they have.

    References
    ----------
    Ioffe (2006), "Probabilistic linear discriminant analysis", section 2; Salakhutdinov, Tenenbaum
    & Torralba (2012), "One-shot learning with a hierarchical nonparametric Bayesian model". Here
    super-categories share a covariance, not a mean.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> rng = np.random.default_rng(0)
    >>> centres = 3.0 * rng.normal(size=(6, 4))
    >>> y = np.repeat(np.arange(5), 20)
    >>> X = centres[y] + rng.normal(size=(100, 4))
    >>> known = dg.HierarchicalGaussian(random_state=0).fit(X, y)
    >>> known.add_class(centres[5:] + rng.normal(size=(1, 4)), 5).predict(centres[5:])
    array([5])
    """

    _saved_as = "HierarchicalGaussian"

    def __init__(
        self, n_components=50, *, shrinkage=0.1, inherited_rows=100.0, super_categories="crp",
        random_state=None,
    ):  # fmt: skip
        self.n_components = n_components
        self.shrinkage = shrinkage
        self.inherited_rows = inherited_rows
        self.super_categories = super_categories
        self.random_state = random_state

    # --- learning -----------------------------------------------------------------------------

    def fit(self, X, y):
        """Learn from rows of known classes; classes that were added are forgotten.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap of shape (n_samples, n_features)
            Read as float32; a copy is made.
        y : array-like of shape (n_samples,)
            Labels of at least two classes, of one of them at least two rows. The more classes
            there are, the more is known of a new one.

        Returns
        -------
        HierarchicalGaussian
            This estimator.

        Raises
        ------
        ValueError
            If a parameter, a value of X or y is not valid, or rows are too few.
        RuntimeError
            If another thread is fitting this estimator.
        """
        self._check_settings()
        with alone(self), unchanged_on_error(self), naming_columns(self):
            rows = rows_with_targets(self, X, y)
            _, labels = split_labels(y, rows.n_rows, None)
            classes = classes_in(labels, None)
            units = real_columns(rows.n_columns)
            states = np.concatenate([dense(piece) for piece in checked_pieces(rows, units)])
            model = learn_hierarchy(
                states, np.searchsorted(classes, labels), n_components=self.n_components,
                shrinkage=self.shrinkage, inherited_rows=self.inherited_rows,
            )  # fmt: skip
            if self.super_categories is not None and self.inherited_rows is not None:
                stream = Stream.from_random_state(self.random_state)
                model = with_super_categories(model, stream.child("super-categories"))
            self.model_, self.classes_ = model, classes
        return self

    def add_class(self, X, label):
        """Learn a new class from a few rows; what is known of the others stays as it is.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows of the class, one or more.
        label : label
            Of the kind of those of `fit`, and none of them.

        Returns
        -------
        HierarchicalGaussian
            This estimator.

        Raises
        ------
        ValueError
            If the label is known, or of another kind, or a value of X is not valid.
        RuntimeError
            If another thread is fitting this estimator, or gives it rows.
        """
        with alone(self):
            points = self._coordinates(X)
            given = _one_label(label)
            if self._place_of(given) is not None:
                raise ValueError(
                    f"label must be that of a new class, but {shown(label)} is known; add_rows "
                    "gives it more rows"
                )
            classes = _with_label(self.classes_, given)
            if classes is None:
                raise ValueError(
                    "label must be of the kind of the known ones, such as "
                    f"{shown(_names(self.classes_)[0])}, got {shown(label)}"
                )
            model = self.model_.with_classes([*self.model_.classes, class_of_rows(points)])
            # names first: a thread that predicts meanwhile has one for each class of its model
            self.classes_ = classes
            self.model_ = model
        return self

    def add_rows(self, X, label):
        """Give a known class more rows, as if they had come with its first ones.

        Coordinates and super-categories stay as they are. Where the class is one of `fit`, what new
        classes inherit from it changes with its rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        label : label
            One of `classes_`.

        Returns
        -------
        HierarchicalGaussian
            This estimator.

        Raises
        ------
        ValueError
            If the label is not known, or a value of X is not valid.
        RuntimeError
            If another thread is fitting this estimator, or gives it rows.
        """
        with alone(self):
            points, number = self._coordinates(X), self._number_of(label)
            classes = self.model_.classes
            classes[number] = joined(classes[number], class_of_rows(points))
            self.model_ = self.model_.with_classes(classes)
        return self

    def _place_of(self, given):
        """Return the number of the class of a label, or None; `given` is an array of one."""
        if not _comparable(self.classes_, given):
            return None
        if given.dtype.kind in "mM":  # whatever their units, which Python's values depend on
            places = np.flatnonzero(self.classes_ == given)
            return int(places[0]) if len(places) else None
        names = self.classes_.tolist()
        return names.index(given.item()) if given.item() in names else None

    def _number_of(self, label):
        number = self._place_of(_one_label(label))
        if number is None:
            raise ValueError(
                f"label must be one of the known classes, {shown(_names(self.classes_))}, got "
                f"{shown(label)}; add_class adds a new one"
            )
        return number

    def _check_settings(self):
        check_integer(self.n_components, "n_components")
        check_number(self.shrinkage, "shrinkage", 0.0)
        if self.shrinkage > 1.0:
            raise ValueError(f"shrinkage must be a number in (0, 1], got {self.shrinkage}")
        check_inherited_rows(self.inherited_rows)
        if self.super_categories is not None and (
            not isinstance(self.super_categories, str) or self.super_categories != "crp"
        ):
            raise ValueError(
                f"super_categories must be 'crp' or None, got {shown(self.super_categories)}"
            )
        check_random_state(self.random_state)

    # --- what a fitted one answers ------------------------------------------------------------

    def predict(self, X):
        """Return the class of each row whose rows make it likeliest.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        chosen = self._log_densities(X).argmax(axis=1)
        return self.classes_[chosen]

    def predict_proba(self, X):
        """Return p(class | row), all known classes being equally likely before.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Columns as in `classes_`.
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X):
        """Return log p(class | row); see :meth:`predict_proba`."""
        logs = self._log_densities(X)
        return logs - np.logaddexp.reduce(logs, axis=1, keepdims=True)

    def score_samples(self, X, label=None):
        """Return how much rows look like rows of a class, in nats.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        label : label or None
            A known class: log p(row | class) minus the log of the sum of p(row | other) over all
            other known classes. A log density alone would say nothing of what else is there: that
            of a class of one row is low everywhere. None: log p(row), all known classes being
            equally likely; low for rows of none of them.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Of densities of coordinates: comparable for one fitted estimator.

        Raises
        ------
        ValueError
            If the label is not known.
        """
        check_is_fitted(self)
        number = None if label is None else self._number_of(label)
        logs = self._log_densities(X)
        if number is None:
            return np.logaddexp.reduce(logs, axis=1) - np.log(logs.shape[1])
        return logs[:, number] - np.logaddexp.reduce(np.delete(logs, number, axis=1), axis=1)

    def transform(self, X):
        """Return the coordinates of rows: those of a class vary by I, and by columns classes do.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components), float32
            By their Euclidean distances rows of a class are equally far in all directions.
        """
        return self._coordinates(X).astype(np.float32)

    @property
    def _n_features_out(self):
        return self.model_.n_components

    @property
    def super_categories_(self):
        """Labels of the classes of `fit` by super-category, in the last draw; None without."""
        check_is_fitted(self)
        draws = self.model_.categories
        if not draws.size:
            return None
        names = self.classes_[: draws.shape[1]]
        return [_names(names[list(members)]) for members in members_of(draws[-1])]

    def _coordinates(self, X):
        rows = rows_to_read(self, X)
        model, units = self.model_, real_columns(self.n_features_in_)
        with naming_columns(self):
            return by_pieces(rows, units, lambda states: coordinates(model, dense(states)))

    def _log_densities(self, X):
        points = self._coordinates(X)
        return log_predictives(self.model_, points)

    def _beside_model(self):
        return {"classes": plain_classes(self.classes_)}

    @classmethod
    def from_model(cls, model, classes=None):
        """Return a fitted estimator around a core model.

        Parameters
        ----------
        model : ClassHierarchy
        classes : array-like or None
            None: 0, 1, 2, ...
        """
        if not isinstance(model, ClassHierarchy):
            raise ValueError(f"model must be a ClassHierarchy, got {shown(model)}")
        if model.n_classes < 2:
            raise ValueError(f"model must know at least 2 classes, got {model.n_classes}")
        size = model.n_classes
        estimator = cls(
            model.n_components, inherited_rows=model.inherited_rows,
            super_categories="crp" if model.categories.size else None,
        )  # fmt: skip
        estimator.classes_ = as_classes(np.arange(size) if classes is None else classes, size)
        estimator.model_, estimator.n_features_in_ = model, model.n_features
        return estimator


def _one_label(label):
    """Return a label as an array of one; ValueError where it is none."""
    if isinstance(label, np.ndarray) and not label.ndim:
        label = label[()]
    try:
        if isinstance(label, list | tuple | np.ndarray):
            raise ValueError("it is a list")
        return split_labels([label], 1, None)[1]
    except ValueError as error:
        raise ValueError(f"label must be one label, got {shown(label)}: {error}") from None


def _comparable(classes, given):
    """Tell whether labels are of one kind: numbers, texts, truth values, dates or durations."""
    kinds = {classes.dtype.kind, given.dtype.kind}
    return len(kinds) == 1 or kinds <= set("iuf")


def _with_label(classes, given):
    """Return classes with one more, an array of one; None where no array type holds both.

    The type of the classes stays where it holds the new one too.
    """
    if not _comparable(classes, given):
        return None
    same = given.astype(classes.dtype)
    both = np.concatenate([classes, same if (same == given).all() else given])
    if both.dtype.kind == "f" and (
        classes.dtype.kind != "f" or both.tolist() != [*classes.tolist(), given.item()]
    ):
        return None
    return both


def _names(classes):
    """Return labels as a list: plain values, but dates and durations as they are."""
    # Python has no nanoseconds: NumPy would make whole numbers of them
    return list(classes) if classes.dtype.kind in "mM" else classes.tolist()
