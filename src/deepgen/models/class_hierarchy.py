"""Classes as Gaussians that inherit from each other: what a few rows of a new class are read by."""

from typing import NamedTuple

import numpy as np

from deepgen.checks import check_number, float32_array
from deepgen.models.boltzmann_machine import next_version

# Rows that an inherited covariance counts for, and draws of super-categories.
MOST_INHERITED, MOST_DRAWS = 1e9, 100


class ClassRows(NamedTuple):
    """Number, mean and scatter of the rows of a class, from which Gaussian densities are made.

    Attributes
    ----------
    count : int
        Rows, at least one.
    mean : ndarray of shape (n_components,)
        Of their coordinates.
    scatter : ndarray of shape (n_components, n_components)
        Sum over rows of ``(z - mean) (z - mean)^T``.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray


class ClassHierarchy:
    """Coordinates in which classes are Gaussians that inherit their covariance, and known classes.

    A row x has coordinates ``z = (x - offset) @ weights``. The mean of a class is normal around 0
    with the diagonal covariance `variances`; its rows are normal around its mean. What they have
    as covariance the class inherits, and its own rows change it: from the classes of its
    super-category where there are any, which have it from all classes; of these it is I. A model
    never changes. What it says of rows is in ``inference/class_hierarchy.py``.

    Parameters
    ----------
    offset : array-like of shape (n_features,)
    weights : array-like of shape (n_features, n_components)
    variances : array-like of shape (n_components,)
        Of the means of classes, not negative.
    counts : array-like of shape (n_classes,)
        Rows of each known class.
    means : array-like of shape (n_classes, n_components)
        Of the coordinates of its rows.
    scatters : array-like of shape (n_classes, n_components, n_components)
        Sums over its rows of ``(z - mean) (z - mean)^T``.
    categories : array-like of shape (n_draws, n_sorted) or None
        Draws of the super-categories of the first `n_sorted` classes, as numbers from 0; at most
        100 of them. None, or no draws: all classes inherit from all.
    inherited_rows : float or None, default 100.0
        How many rows of a class count as much as the covariance that it inherits: from 1 to 1e9.
        None: the covariance is that of all classes, whatever its rows are (the two-covariance
        Gaussian).

    Attributes
    ----------
    offset, weights, variances, means, scatters : ndarray, float32, read-only
    counts, categories : ndarray, int64, read-only
    version : int
        Different for every set of parameters in this process.
    kept : tuple of ClassDensity or None
        What ``inference/class_hierarchy.py`` has computed of it once; no part of copies and files.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, a variance or a scatter is negative, or
        super-categories stand beside ``inherited_rows=None``.

    References
    ----------
    Ioffe (2006), "Probabilistic linear discriminant analysis": the two covariances.
    Salakhutdinov, Tenenbaum & Torralba (2012), "One-shot learning with a hierarchical
    nonparametric Bayesian model": super-categories.
    """

    def __init__(
        self, offset, weights, variances, *, counts, means, scatters, categories=None,
        inherited_rows=100.0,
    ):  # fmt: skip
        self.offset, self.weights = _finite(offset, "offset"), _finite(weights, "weights")
        self.variances, self.means = _finite(variances, "variances"), _finite(means, "means")
        self.scatters = _finite(scatters, "scatters")
        _check_shape(self.offset, "offset", (None,))
        _check_shape(self.weights, "weights", (len(self.offset), None))
        d = self.weights.shape[1]
        _check_shape(self.variances, "variances", (d,))
        _check_shape(self.means, "means", (None, d))
        n_classes = len(self.means)
        _check_shape(self.scatters, "scatters", (n_classes, d, d))
        if (self.variances < 0.0).any():
            raise ValueError(f"variances must not be negative, got {self.variances.min():g}")
        if (np.diagonal(self.scatters, axis1=1, axis2=2) < 0.0).any():
            raise ValueError("scatters must be sums of squares, but have a negative diagonal")
        if (self.scatters != self.scatters.transpose(0, 2, 1)).any():
            raise ValueError("scatters must be symmetric")
        self.counts = _whole(counts, "counts", least=1)
        _check_shape(self.counts, "counts", (n_classes,))
        given = np.zeros((0, 0)) if categories is None else categories
        self.categories = _whole(given, "categories", least=0)
        _check_shape(self.categories, "categories", (None, None))
        if self.categories.shape[1] > n_classes:
            raise ValueError(
                f"categories must have at most {n_classes} columns, one for each class, got "
                f"{self.categories.shape[1]}"
            )
        check_inherited_rows(inherited_rows)
        if len(self.categories) > MOST_DRAWS:
            raise ValueError(
                f"categories must hold at most {MOST_DRAWS} draws, got {len(self.categories)}; "
                "each of them costs time in every answer"
            )
        if inherited_rows is not None:
            inherited_rows = float(inherited_rows)
        elif self.categories.size:
            raise ValueError(
                "categories need classes with a covariance of their own, got "
                "inherited_rows=None; pass a number of rows, or categories=None"
            )
        self.inherited_rows = inherited_rows
        for array in (
            self.offset, self.weights, self.variances, self.counts, self.means, self.scatters,
            self.categories,
        ):  # fmt: skip
            array.flags.writeable = False
        self.version, self.kept = next_version(), None

    def __repr__(self):
        return f"ClassHierarchy({self.n_components} components, {self.n_classes} classes)"

    def __reduce__(self):
        return _from_parts, (
            self.offset, self.weights, self.variances, self.counts, self.means, self.scatters,
            self.categories, self.inherited_rows,
        )  # fmt: skip

    @property
    def n_features(self):
        """Columns of the rows."""
        return len(self.offset)

    @property
    def n_components(self):
        """Number of coordinates."""
        return len(self.variances)

    @property
    def n_classes(self):
        """Number of known classes."""
        return len(self.counts)

    @property
    def classes(self):
        """The known classes as a list of :class:`ClassRows`, in float64."""
        return [
            ClassRows(int(count), mean.astype(np.float64), scatter.astype(np.float64))
            for count, mean, scatter in zip(self.counts, self.means, self.scatters, strict=True)
        ]

    def with_classes(self, classes):
        """Return the model with other known classes; the first ones stay sorted as they are.

        Parameters
        ----------
        classes : sequence of ClassRows
        """
        return ClassHierarchy(
            self.offset, self.weights, self.variances, counts=[c.count for c in classes],
            means=[c.mean for c in classes], scatters=[c.scatter for c in classes],
            categories=self.categories, inherited_rows=self.inherited_rows,
        )  # fmt: skip

    def with_categories(self, categories):
        """Return the model with other super-categories; see the parameter of the same name."""
        return ClassHierarchy(
            self.offset, self.weights, self.variances, counts=self.counts, means=self.means,
            scatters=self.scatters, categories=categories, inherited_rows=self.inherited_rows,
        )  # fmt: skip


def check_inherited_rows(value):
    """Raise ValueError unless `value` is a number of rows that an inheritance may count for.

    Beyond a billion the logarithms of gamma functions, whose differences count, have no digits
    left; None is what so many rows stand for. Below one row float32 has none for the scatter of a
    class some of whose coordinates do not vary.
    """
    if value is None:
        return
    try:
        check_number(value, "inherited_rows", 1.0, MOST_INHERITED, closed=True)
    except ValueError as error:
        raise ValueError(f"{error}; None is for classes that share their covariance") from None


def _from_parts(offset, weights, variances, *classes):
    """Return the model that a copy or a pickle has the parts of."""
    names = ("counts", "means", "scatters", "categories", "inherited_rows")
    parts = dict(zip(names, classes, strict=True))
    return ClassHierarchy(offset, weights, variances, **parts)


def _finite(value, name):
    array = np.array(float32_array(value, name))
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite within float32, but contains NaN or inf")
    return array


def _whole(value, name, least):
    """Return whole numbers of at least `least` as an array of int64."""
    given = np.asarray(value)
    if given.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be whole numbers, got dtype {given.dtype}")
    bad = ~((given >= least) & (given < 2**31) & (given == np.floor(given)))
    if bad.any():
        raise ValueError(
            f"{name} must be whole numbers from {least} to {2**31 - 1}, got {given[bad][0]}"
        )
    return given.astype(np.int64)


def _check_shape(array, name, shape):
    """Raise ValueError unless an array has the shape; None stands for any number from 1 on.

    Of super-categories there may be none.
    """
    least = 0 if name == "categories" else 1
    good = array.ndim == len(shape) and all(
        n >= least if wanted is None else n == wanted
        for n, wanted in zip(array.shape, shape, strict=True)
    )
    if not good:
        wanted = ", ".join("n" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must have shape ({wanted}), got {array.shape}")
