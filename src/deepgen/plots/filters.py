"""Weights of hidden units as pictures of the visible layer."""

from itertools import takewhile

import numpy as np

from deepgen.checks import check_integer, shown
from deepgen.models import BeliefNetwork, BoltzmannMachine, Network
from deepgen.plots.tiles import arranged, draw_grid, pictures_of
from deepgen.stacks.unrolling import checked_stack


def plot_filters(model_or_estimator, shape=None, *, layer=1, n=100, ax=None):
    """Draw the weights of hidden units as pictures of the visible layer.

    All pictures share one scale: white is no weight, red raises a pixel, blue lowers it. Colours
    are full at the 99.5th percentile of the absolute weights.

    A unit of a higher layer is drawn as the sum of the filters below it, each times its weight to
    that unit: columns of ``W1 W2``, of ``W1 W2 W3`` and so on (Lee, Ekanadham & Ng 2008; Erhan,
    Bengio, Courville & Vincent 2009, section 2). This leaves the nonlinearity between the layers
    out, so it shows what a unit prefers only roughly.

    Parameters
    ----------
    model_or_estimator : core model, sequence of BoltzmannMachine or fitted estimator
        A sequence is a stack of two-layer machines, bottom first. Of a belief network the
        generative weights are drawn.
    shape : tuple of int or None
        (rows, columns) of a picture. None: square.
    layer : int, default 1
        Number of the hidden layer, from below.
    n : int, default 100
        The first `n` hidden units are drawn.
    ax : matplotlib Axes or None
        None: a new figure.

    Returns
    -------
    matplotlib Axes
    """
    weights = _weights(model_or_estimator)
    check_integer(layer, "layer", most=len(weights))
    check_integer(n, "n")
    filters = weights[layer - 1][:, :n].astype(np.float64)
    for below in reversed(weights[: layer - 1]):
        filters = below.astype(np.float64) @ filters
    pictures = pictures_of(filters.T, shape, "the visible layer")
    limit = float(np.percentile(np.abs(pictures), 99.5)) or 1.0
    return draw_grid(arranged(pictures), ax, limits=(-limit, limit), colours="RdBu_r")


def _weights(model_or_estimator):
    """Return weight matrices (n_lower, n_upper), bottom first."""
    model = getattr(model_or_estimator, "model_", model_or_estimator)
    if isinstance(model, BoltzmannMachine):
        return model.weights
    if isinstance(model, Network):
        # a tied layer is the mirror image of one below: nothing above it is a new filter
        weights = [layer.weights for layer in model.layers]
        return list(takewhile(lambda matrix: matrix is not None, weights))
    if isinstance(model, BeliefNetwork):
        return [*(layer.generative for layer in model.layers), model.top.weights[0]]
    stack = model if isinstance(model, list | tuple) else ()
    if not stack or not all(isinstance(machine, BoltzmannMachine) for machine in stack):
        raise ValueError(
            "model_or_estimator must be a fitted estimator or a model with weights, got "
            f"{shown(model_or_estimator)}"
        )
    return [machine.weights[0] for machine in checked_stack(stack)]
