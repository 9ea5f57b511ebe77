"""From rows to one image: pictures, their grid, the gaps between them, the colours.

Rows (n, n_features) become pictures (n, height, width), these a grid (rows, columns, height,
width), and that an image. In an image plus infinity is the gap between pictures, minus infinity is
where nothing is drawn, and NaN is a missing pixel.
"""

import importlib
import math

import numpy as np

from deepgen.checks import check_integer, shown
from deepgen.rows.states import as_states, dense

BETWEEN = "#c3d0dd"  # colour between pictures: neither ink nor paper nor a grey
MISSING = "#5b84b1"  # colour of a pixel that is NaN: not to be taken for a grey
INCHES = 0.6  # side of one picture in a figure made here


def require_matplotlib(module):
    """Import a module of matplotlib, or say how to get it.

    Parameters
    ----------
    module : str
        For example ``"pyplot"``.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If matplotlib cannot be imported.
    """
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise ImportError(
            f"pictures need matplotlib ({error}): pip install 'deepgen[demo]'"
        ) from error


def matrix(X, name):
    """Return rows as a dense float32 matrix; raise ValueError where it has no row or column."""
    X = dense(as_states(X, name)).astype(np.float32)
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(
            f"{name} must have shape (n_samples, n_features), none of them 0, got {X.shape}"
        )
    return X


def by_label(value, name, of):
    """Raise unless `value` is a dict of labels with at least one entry.

    Parameters
    ----------
    value
    name : str
        What messages call it.
    of : str
        What the labels should lead to, for the message.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dict of labels and {of}, got {shown(value)}")
    if not value:
        raise ValueError(f"{name} must hold at least one row of pictures")


def pictures_of(X, shape, name):
    """Return rows as pictures (n, rows, columns)."""
    X = matrix(X, name)
    n_features = X.shape[1]
    if shape is None:
        side = math.isqrt(n_features)
        if side * side != n_features:
            raise ValueError(
                f"{name} has {n_features} features, which is not a square; pass shape="
                "(rows, columns)"
            )
        shape = (side, side)
    if len(shape) != 2 or shape[0] * shape[1] != n_features:
        raise ValueError(
            f"shape must be (rows, columns) of {n_features} features, got {tuple(shape)}"
        )
    return X.reshape(-1, *shape)


def limits_of(pictures):
    """Return the values drawn black and white: 0 and 1, or beyond where the pictures go beyond."""
    values = [p[np.isfinite(p)] for p in pictures]
    return (
        min(0.0, *(float(v.min(initial=0.0)) for v in values)),
        max(1.0, *(float(v.max(initial=1.0)) for v in values)),
    )


def arranged(pictures, n_columns=None):
    """Put pictures into a grid (rows, columns, height, width), as square as can be."""
    if n_columns is None:
        n_columns = math.ceil(math.sqrt(len(pictures)))
    check_integer(n_columns, "n_columns")
    n_rows = -(-len(pictures) // n_columns)
    grid = np.full((n_rows * n_columns, *pictures.shape[1:]), np.inf, np.float32)
    grid[: len(pictures)] = pictures
    return grid.reshape(n_rows, n_columns, *pictures.shape[1:])


def gap_of(shape):
    """Return how many pixels lie between pictures of shape (..., height, width)."""
    return max(1, round(max(shape[-2:]) / 14))


def tiled(grid):
    """Return a grid (rows, columns, height, width) as one image, with gaps around each picture."""
    n_rows, n_columns, height, width = grid.shape
    gap = gap_of(grid.shape)
    tile = np.full((n_rows, n_columns, height + gap, width + gap), np.inf, np.float32)
    tile[:, :, gap:, gap:] = grid
    image = tile.transpose(0, 2, 1, 3).reshape(n_rows * (height + gap), -1)
    return np.pad(image, ((0, gap), (0, gap)), constant_values=np.inf)


def new_axes(ax, n_columns, n_rows, shape):
    """Return `ax`, or where it is None axes of a new figure for a grid of pictures.

    Parameters
    ----------
    n_columns, n_rows : float
        Of the grid.
    shape : tuple of int
        (height, width) of a picture.
    """
    if ax is None:
        size = (max(3.0, INCHES * n_columns), max(1.0, INCHES * n_rows * shape[0] / shape[1]))
        _, ax = require_matplotlib("pyplot").subplots(figsize=size, layout="constrained")
    return ax


def draw_image(image, ax, *, limits, colours="gray"):
    """Draw an image; grey values between `limits`, the others as at the head of this module."""
    # drawn as an image of colours: a colour map has one colour for all that is not finite
    colors = require_matplotlib("colors")
    scale = require_matplotlib("cm").ScalarMappable(colors.Normalize(*limits, clip=True), colours)
    colour = scale.to_rgba(np.nan_to_num(image, posinf=0.0, neginf=0.0))
    colour[np.isposinf(image)] = colors.to_rgba(BETWEEN)
    colour[np.isneginf(image)] = (1.0, 1.0, 1.0, 0.0)
    colour[np.isnan(image)] = colors.to_rgba(MISSING)
    ax.imshow(colour, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def draw_grid(grid, ax, *, limits, colours="gray"):
    """Draw a grid (rows, columns, height, width) of pictures."""
    ax = new_axes(ax, grid.shape[1], grid.shape[0], grid.shape[2:])
    return draw_image(tiled(grid), ax, limits=limits, colours=colours)
