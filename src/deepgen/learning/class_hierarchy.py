"""Hierarchies of classes from rows with labels: closed forms, and draws of super-categories."""

import numpy as np

from deepgen.inference.class_hierarchy import class_of_rows, coordinates, draw_categories
from deepgen.models import ClassHierarchy
from deepgen.runtime.blas import one_blas_thread

# Rows that are in memory in float64 at a time.
PIECE_ROWS = 4_096


def learn_hierarchy(X, labels, *, n_components=50, shrinkage=0.1, inherited_rows=100.0):
    """Learn coordinates and known classes, without super-categories.

    Principal components of all rows first, where there are more columns than `n_components`; then,
    in closed form, the covariance W of rows around the mean of their class and the covariance B
    of the means of classes around their mean, each ``(1 - s) C + s trace(C) / d I`` with the
    shrinkage s; then the coordinates in which W is I and B is diagonal.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
    labels : ndarray of shape (n_rows,), int
        Numbers of classes, from 0; each has rows, and some class has two.
    n_components : int, default 50
    shrinkage : float, default 0.1
    inherited_rows : float or None, default 100.0

    Returns
    -------
    ClassHierarchy

    Raises
    ------
    ValueError
        If there are too few rows, or rows of a class do not differ, or hardly in some direction.
    """
    n_rows, n_columns = X.shape
    if n_components < n_columns and n_rows <= n_components:
        raise ValueError(
            f"X must have more rows than n_components={n_components}, got {n_rows} samples; pass "
            "more rows, or a smaller n_components"
        )
    counts = np.bincount(labels)
    if counts.max() < 2:
        raise ValueError(
            "y must have two rows of some class, got one of each; how rows of a class differ is "
            "learned from them"
        )
    mean, axes = _principal_axes(X, n_components)
    with one_blas_thread():
        points = _projected(X, mean, axes)
        classes = [class_of_rows(points[labels == k]) for k in range(len(counts))]
        means = np.stack([known.mean for known in classes])
        W = sum(known.scatter for known in classes) / (n_rows - len(classes))
        size = np.trace(points.T @ points) / n_rows
        if not np.trace(W) > 1e-10 * size:
            raise ValueError(
                "X must differ within classes, but all rows of a class are equal; how rows of a "
                "class differ is what a new class is judged by"
            )
        centre = means.mean(axis=0)
        B = (means - centre).T @ (means - centre) / (len(classes) - 1)
        try:
            whitening = np.linalg.inv(np.linalg.cholesky(shrunk(W, shrinkage))).T
        except np.linalg.LinAlgError:
            raise _hardly_varying(shrinkage) from None
        variances, turned = np.linalg.eigh(whitening.T @ shrunk(B, shrinkage) @ whitening)
        weights = axes @ (whitening @ turned)
        offset = mean + axes @ centre
    if not np.abs(weights).max() < np.finfo(np.float32).max:
        raise _hardly_varying(shrinkage)
    variances = np.maximum(variances, 0.0)
    d = len(variances)
    start = ClassHierarchy(
        offset, weights, variances, counts=[1], means=np.zeros((1, d)),
        scatters=np.zeros((1, d, d)), inherited_rows=inherited_rows,
    )  # fmt: skip
    # by the coordinates as the model has them, in float32
    points = np.concatenate([coordinates(start, piece) for piece in _pieces(X)])
    return start.with_classes([class_of_rows(points[labels == k]) for k in range(len(counts))])


def _hardly_varying(shrinkage):
    return ValueError(
        "X must vary within classes in all directions for coordinates within float32, with "
        f"shrinkage={shrinkage}; raise shrinkage, leave such columns out, or standardize columns "
        "of tiny values"
    )


def shrunk(covariance, shrinkage):
    """Return ``(1 - s) C + s trace(C) / d I``."""
    d = len(covariance)
    return (1.0 - shrinkage) * covariance + shrinkage * np.trace(covariance) / d * np.eye(d)


def with_super_categories(model, stream):
    """Return a model with super-categories of its classes, drawn from their posterior.

    Parameters
    ----------
    model : ClassHierarchy
    stream : Stream
    """
    categories = draw_categories(model.classes, model.inherited_rows, stream)
    return model.with_categories(categories)


def _pieces(X):
    return (X[first : first + PIECE_ROWS] for first in range(0, len(X), PIECE_ROWS))


def _projected(X, mean, axes):
    return np.concatenate([(piece.astype(np.float64) - mean) @ axes for piece in _pieces(X)])


def _principal_axes(X, n_components):
    """Return the mean of rows, and axes of shape (n_features, n_components) of largest variance.

    All columns themselves where they are no more than `n_components`.
    """
    n_rows, n_columns = X.shape
    mean = X.mean(axis=0, dtype=np.float64)
    if n_columns <= n_components:
        return mean, np.eye(n_columns)
    with one_blas_thread():
        if n_rows < n_columns:  # the same axes from the smaller matrix
            centred = X.astype(np.float64) - mean
            vectors = np.linalg.eigh(centred @ centred.T)[1][:, ::-1]
            vectors = centred.T @ vectors[:, :n_components]
            norms = np.linalg.norm(vectors, axis=0)
            return mean, vectors / np.maximum(norms, 1e-12 * max(norms.max(), 1e-300))
        squares = np.zeros((n_columns, n_columns))
        for piece in _pieces(X):
            centred = piece.astype(np.float64) - mean
            squares += centred.T @ centred
        return mean, np.linalg.eigh(squares)[1][:, ::-1][:, :n_components]
