"""Pictures of models and of data; each function draws into one matplotlib Axes and returns it.

matplotlib is imported when a picture is drawn (``pip install 'deepgen[demo]'``). Where `ax` is
given, pyplot is not touched; nothing is ever shown or saved here.
"""

import importlib
import math
from collections.abc import Mapping, Sequence

import numpy as np

from deepgen.checks import shown
from deepgen.states import as_states, dense

_BETWEEN = "#c3d0dd"  # colour between pictures: neither ink nor paper nor a grey
_MISSING = "#5b84b1"  # colour of a pixel that is NaN: not to be taken for a grey
_INCHES = 0.6  # side of one picture in a figure made here


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


def plot_filters(model_or_estimator, shape=None, *, n=100, ax=None):
    """Draw the weights of hidden units as pictures of the visible layer.

    All pictures share one scale: white is no weight, red raises a pixel, blue lowers it. Colours
    are full at the 99.5th percentile of the absolute weights.

    Parameters
    ----------
    model_or_estimator : BoltzmannMachine or fitted estimator
    shape : tuple of int or None
        (rows, columns) of a picture. None: square.
    n : int, default 100
        The first `n` hidden units are drawn.
    ax : matplotlib Axes or None
        None: a new figure.

    Returns
    -------
    matplotlib Axes
    """
    model = getattr(model_or_estimator, "model_", model_or_estimator)
    if not hasattr(model, "weights"):
        raise ValueError(
            "model_or_estimator must be a fitted estimator or a model with weights, got "
            f"{model_or_estimator!r}"
        )
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    pictures = _pictures(model.weights[0].T[:n], shape, "the visible layer")
    limit = float(np.percentile(np.abs(pictures), 99.5)) or 1.0
    grid = _arranged(pictures)
    return _draw(grid, ax, limits=(-limit, limit), colours="RdBu_r")


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
    pictures = _pictures(X, shape, "X")
    return _draw(_arranged(pictures, n_columns), ax, limits=limits or _limits([pictures]))


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
    if not rows:
        raise ValueError("rows must hold at least one row of pictures")
    pictures = [_pictures(X, shape, label) for label, X in rows.items()]
    shapes = {label: picture.shape for label, picture in zip(rows, pictures, strict=True)}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"rows must have one number of pictures of one shape, got {shapes}")
    ax = _draw(np.stack(pictures), ax, limits=limits or _limits(pictures))
    height, gap = pictures[0].shape[1], _gap(pictures[0].shape)
    ax.set_yticks(
        [gap + row * (height + gap) + height / 2 - 0.5 for row in range(len(rows))],
        labels=list(rows),
    )
    return ax


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
    original, observed_mask = _matrix(original, "original"), np.asarray(observed_mask)
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


def plot_history(history, name="weight_max", *, ax=None):
    """Draw quantities of a training history over the epochs.

    Parameters
    ----------
    history : list of dict
        ``rbm.history_``: one entry an epoch.
    name : str or sequence of str, default "weight_max"
        ``"weight_max"``, ``"learning_rate"``, ``"seconds"``, or what a callback added, for
        example ``("free_energy_train", "free_energy_valid")``.
    ax : matplotlib Axes or None
        None: a new figure.

    Returns
    -------
    matplotlib Axes
    """
    if not isinstance(history, Sequence) or not all(isinstance(e, Mapping) for e in history):
        raise TypeError(
            "history must be a list of entries as rbm.history_, got "
            f"{shown(history)}; pass .history_ of a fitted estimator"
        )
    names = [name] if isinstance(name, str) else list(name)
    lines = {one: [entry for entry in history if one in entry] for one in names}
    if not names:
        raise ValueError("name must be a string or some of them, got none")
    for one, entries in lines.items():
        if not entries:
            known = sorted({other for entry in history for other in entry})
            raise ValueError(
                f"history has no entry {one!r}; it has {known or 'no entries at all'}"
                + ("" if known else ": a model that was loaded has no history")
            )
    if ax is None:
        _, ax = require_matplotlib("pyplot").subplots(layout="constrained")
    for one, entries in lines.items():
        label = one.replace("_", " ")
        ax.plot(
            [entry["epoch"] for entry in entries], [entry[one] for entry in entries], label=label
        )
    ax.set_xlabel("epoch")
    if len(names) > 1:
        ax.legend()
    else:
        ax.set_ylabel(label)
    return ax


# --- from rows to one image -------------------------------------------------------------------


def _matrix(X, name):
    X = dense(as_states(X)).astype(np.float32)
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(
            f"{name} must have shape (n_samples, n_features), none of them 0, got {X.shape}"
        )
    return X


def _pictures(X, shape, name):
    """Rows as pictures (n, rows, columns)."""
    X = _matrix(X, name)
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


def _limits(pictures):
    values = [p[np.isfinite(p)] for p in pictures]
    return (
        min(0.0, *(float(v.min(initial=0.0)) for v in values)),
        max(1.0, *(float(v.max(initial=1.0)) for v in values)),
    )


def _arranged(pictures, n_columns=None):
    """Put pictures into a grid (rows, columns, height, width), as square as can be."""
    if n_columns is None:
        n_columns = math.ceil(math.sqrt(len(pictures)))
    if n_columns < 1:
        raise ValueError(f"n_columns must be at least 1, got {n_columns}")
    n_rows = -(-len(pictures) // n_columns)
    grid = np.full((n_rows * n_columns, *pictures.shape[1:]), np.inf, np.float32)
    grid[: len(pictures)] = pictures
    return grid.reshape(n_rows, n_columns, *pictures.shape[1:])


def _gap(shape):
    """Pixels between pictures (..., height, width)."""
    return max(1, round(max(shape[-2:]) / 14))


def _draw(grid, ax, *, limits, colours="gray"):
    """Draw a grid (rows, columns, height, width) as one image; infinite is between pictures."""
    n_rows, n_columns, height, width = grid.shape
    if ax is None:
        size = (max(3.0, _INCHES * n_columns), max(1.0, _INCHES * n_rows * height / width))
        _, ax = require_matplotlib("pyplot").subplots(figsize=size, layout="constrained")
    gap = _gap(grid.shape)
    tile = np.full((n_rows, n_columns, height + gap, width + gap), np.inf, np.float32)
    tile[:, :, gap:, gap:] = grid
    image = tile.transpose(0, 2, 1, 3).reshape(n_rows * (height + gap), -1)
    image = np.pad(image, ((0, gap), (0, gap)), constant_values=np.inf)
    # An image of colours: NaN and the gaps need two colours, and a colour map has one for both.
    colors = require_matplotlib("colors")
    scale = require_matplotlib("cm").ScalarMappable(colors.Normalize(*limits, clip=True), colours)
    colour = scale.to_rgba(np.nan_to_num(image, posinf=0.0))
    colour[np.isposinf(image)] = colors.to_rgba(_BETWEEN)
    colour[np.isnan(image)] = colors.to_rgba(_MISSING)
    ax.imshow(colour, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax
