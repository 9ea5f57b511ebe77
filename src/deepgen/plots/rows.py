"""Rows of data as pictures: samples, reconstructions, completions."""

import numpy as np

from deepgen.checks import check_integer, is_integer, real_array, shown
from deepgen.plots.tiles import (
    arranged,
    by_label,
    draw_grid,
    draw_image,
    gap_of,
    limits_of,
    matrix,
    new_axes,
    pictures_of,
    tiled,
)


def plot_samples(X, shape=None, *, n_columns=None, limits=None, ax=None):
    """Draw rows as a grid of pictures.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        States or means; NaN pixels are drawn in blue.
    shape : tuple of int or None
        (rows, columns) of a picture. None: square.
    n_columns : int or None
        Pictures side by side. None: about as many as there are rows of them.
    limits : tuple of float or None
        Values drawn black and white. None: 0 and 1, or further if the data go further.
    ax : matplotlib Axes or None
        None: a new figure.

    Returns
    -------
    matplotlib Axes
    """
    pictures = pictures_of(X, shape, "X")
    return draw_grid(arranged(pictures, n_columns), ax, limits=limits or limits_of([pictures]))


def plot_side_by_side(samples, shape=None, *, n_columns=None, limits=None, ax=None):
    """Draw grids of pictures beside each other, each under its title.

    Parameters
    ----------
    samples : dict of {str: array-like or sparse matrix of shape (n_samples, n_features)}
        Titles and rows: data, samples of one model, of another ... The grids may hold different
        numbers of pictures. NaN pixels are blue.
    shape : tuple of int or None
        (rows, columns) of a picture. None: square.
    n_columns : int or None
        Pictures side by side in a grid. None: about as many as there are rows in the largest.
    limits : tuple of float or None
        Values drawn black and white. None: 0 and 1, or further if the data go further.
    ax : matplotlib Axes or None
        None: a new figure.

    Returns
    -------
    matplotlib Axes
    """
    by_label(samples, "samples", "pictures")
    pictures = [pictures_of(X, shape, label) for label, X in samples.items()]
    shapes = {label: p.shape[1:] for label, p in zip(samples, pictures, strict=True)}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"samples must have pictures of one shape, got {shapes}")
    largest = arranged(max(pictures, key=len), n_columns)
    n_columns, (height, width) = largest.shape[1], largest.shape[2:]
    images = [tiled(arranged(p, n_columns)) for p in pictures]
    # grids side by side, half a picture apart; below shorter ones nothing is drawn (tiles.py)
    tall, wide, gap = max(map(len, images)), images[0].shape[1], width // 2
    canvas = np.full((tall, (wide + gap) * len(images) - gap), -np.inf, np.float32)
    for number, image in enumerate(images):
        left = number * (wide + gap)
        canvas[: len(image), left : left + wide] = image
    ax = new_axes(ax, (n_columns + 0.5) * len(images), largest.shape[0] + 0.5, (height, width))
    draw_image(canvas, ax, limits=limits or limits_of(pictures))
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.set_xticks(
        [number * (wide + gap) + wide / 2 - 0.5 for number in range(len(images))],
        labels=list(samples),
    )
    return ax


def plot_rows(rows, shape=None, *, limits=None, ax=None):
    """Draw rows of pictures under each other, each row with its label.

    Parameters
    ----------
    rows : dict of {str: array-like of shape (n_pictures, n_features)}
        Labels and pictures; pictures of one index stand in one column. NaN pixels are blue.
    shape : tuple of int or None
        (rows, columns) of a picture. None: square.
    limits : tuple of float or None
        Values drawn black and white. None: 0 and 1, or further if the data go further.
    ax : matplotlib Axes or None
        None: a new figure.

    Returns
    -------
    matplotlib Axes
    """
    by_label(rows, "rows", "pictures")
    pictures = [pictures_of(X, shape, label) for label, X in rows.items()]
    shapes = {label: picture.shape for label, picture in zip(rows, pictures, strict=True)}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"rows must have one number of pictures of one shape, got {shapes}")
    ax = draw_grid(np.stack(pictures), ax, limits=limits or limits_of(pictures))
    height, gap = pictures[0].shape[1], gap_of(pictures[0].shape)
    ax.set_yticks(
        [gap + row * (height + gap) + height / 2 - 0.5 for row in range(len(rows))],
        labels=list(rows),
    )
    return ax


def plot_reconstructions(X, reconstructions, shape=None, *, draw=10, limits=None, ax=None):
    """Draw rows over their reconstructions, with the squared error of each model.

    The label of a row of pictures ends in the squared error, summed over the columns and averaged
    over *all* rows of `X`, as ``-score(X)`` of an autoencoder gives it, not only over those drawn.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
    reconstructions : dict of {str: array-like of shape (n_samples, n_features)}
        Labels and reconstructions, for example of an autoencoder and of PCA.
    shape : tuple of int or None
        (rows, columns) of a picture. None: square.
    draw : int or sequence of int, default 10
        How many of the rows are drawn, from the first, or the numbers of those that are.
    limits : tuple of float or None
        Values drawn black and white. None: 0 and 1, or further if `X` goes further; values of
        reconstructions beyond are drawn black and white.
    ax : matplotlib Axes or None
        None: a new figure.

    Returns
    -------
    matplotlib Axes
    """
    by_label(reconstructions, "reconstructions", "pictures")
    original = _finite(X, "X")
    chosen = _chosen(draw, len(original))
    rows = {"input": original[chosen]}
    for label, rebuilt in reconstructions.items():
        rebuilt = _finite(rebuilt, label)
        if rebuilt.shape != original.shape:
            raise ValueError(
                f"reconstructions[{label!r}] must have the shape of X, {original.shape}, got "
                f"{rebuilt.shape}"
            )
        error = np.square(original - rebuilt, dtype=np.float64).sum(axis=1).mean()
        rows[f"{label}\nerror {error:.3g}"] = rebuilt[chosen]
    if limits is None:
        limits = limits_of([original])
    return plot_rows(rows, shape, limits=limits, ax=ax)


def _finite(X, name):
    """Return rows as a float32 matrix, or raise ValueError where a value is not finite."""
    X = matrix(X, name)
    if not np.isfinite(X).all():
        raise ValueError(f"{name} must be finite to have a squared error, got NaN or inf")
    return X


def _chosen(draw, n_rows):
    """Return the numbers of the rows to draw."""
    if is_integer(draw):
        check_integer(draw, "draw")
        return np.arange(min(draw, n_rows))
    chosen = real_array(draw, "draw")
    integers = chosen.ndim == 1 and chosen.size and chosen.dtype.kind in "ui"
    if not integers or chosen.min() < 0 or chosen.max() >= n_rows:
        raise ValueError(
            f"draw must be a number of rows or integers from 0 to {n_rows - 1}, got {shown(draw)}"
        )
    return chosen


def plot_completions(original, observed_mask, completed, shape=None, *, limits=None, ax=None):
    """Draw rows, what was observed of them, and how they were completed.

    Parameters
    ----------
    original : array-like of shape (n_samples, n_features)
    observed_mask : bool array of shape (n_samples, n_features) or (n_features,)
        True where a pixel was given; the others are blue in the second row.
    completed : array-like of shape (n_samples, n_features), or dict of {label: array-like}
        For example from ``rbm.impute(original, ~observed_mask)``; several by their labels.
    shape : tuple of int or None
        (rows, columns) of a picture. None: square.
    limits : tuple of float or None
        See :func:`plot_rows`.
    ax : matplotlib Axes or None
        None: a new figure.

    Returns
    -------
    matplotlib Axes
    """
    original, observed_mask = matrix(original, "original"), np.asarray(observed_mask)
    if observed_mask.dtype != np.bool_ or observed_mask.shape not in (
        original.shape, original.shape[1:],
    ):  # fmt: skip
        raise ValueError(
            f"observed_mask must be a bool array of shape {original.shape} or "
            f"{original.shape[1:]}, got {observed_mask.dtype} of shape {observed_mask.shape}"
        )
    observed = np.where(observed_mask, original, np.nan)
    if not isinstance(completed, dict):
        completed = {"completed": completed}
    rows = {"original": original, "observed": observed, **completed}
    return plot_rows(rows, shape, limits=limits, ax=ax)
