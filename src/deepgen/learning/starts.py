"""Where training starts: first models, usual learning rates."""

import numpy as np

from deepgen.learning.schedules import Constant, Linear
from deepgen.models import BoltzmannMachine

# Rows of an update from which on the default learning rate is used in full (docs/decisions.md).
ROWS_OF_FULL_RATE = 10


def first_hidden(units):
    """Return hidden units at the bias that their type starts from, the others as they are.

    Parameters
    ----------
    units : Units
        Sized.
    """
    if units.hidden_bias is None:
        return units
    return units.replace(bias=np.full(units.size, units.hidden_bias))


def initial_model(visible, hidden, mean, variance, n_rows, stream):
    """Return the model that training starts from.

    Visible parameters fit independent units to the data; weights are small and normal, of
    standard deviation 0.01 in units of each visible column's own.

    Parameters
    ----------
    visible, hidden : Units
        Sized.
    mean, variance : ndarray of shape (n_visible,)
    n_rows : int
    stream : Stream
    """
    visible = visible.fitted_to(mean, variance, n_rows)
    weights = 0.01 * stream.generator("weights").standard_normal((visible.size, hidden.size))
    for axis, units in enumerate((visible, hidden)):
        if units.precision is not None:
            weights *= np.expand_dims(np.sqrt(units.precision), 1 - axis)
    # hidden fields start at the hidden biases for the mean row, wherever the data lie
    shift = (np.asarray(mean)[:, None] * weights).sum(axis=0)
    # a bias that counts once for each draw is that share of the field
    draws = visible.mean_trials if visible.takes_trials else 1.0
    hidden = hidden.replace(bias=(hidden.bias - shift) / draws)
    return BoltzmannMachine([visible, hidden], [weights])


def initial_deep_model(layers, mean, variance, n_rows, stream, *, observed=(0,)):
    """Return the deep model that joint training starts from: every layer as :func:`initial_model`.

    Biases are such that a hidden layer whose neighbours are at their means has the field that
    its units start from; of hidden neighbours these are the means that their biases alone give.

    Parameters
    ----------
    layers : sequence of Units
        Sized, bottom first.
    mean, variance, n_rows, stream
        See :func:`initial_model`.
    observed : sequence of int
        See :class:`BoltzmannMachine`.
    """
    model = initial_model(*layers[:2], mean, variance, n_rows, stream)
    for units in layers[2:]:
        model = with_top(model, units, stream)
    return BoltzmannMachine(model.layers, model.weights, observed=observed)


def with_top(model, top, stream):
    """Return a model with one more layer on small random weights, which data can be given for.

    Biases of the two layers that the weights join are shifted, so that neither field changes
    where the other layer is at the mean that its bias alone gives.

    Parameters
    ----------
    model : BoltzmannMachine
    top : Units
        Sized; label units, say.
    stream : Stream
    """
    below, l = model.layers[-1], model.n_layers - 1
    mean = below.mean(below.bias[None])[0]
    matrix = 0.01 * stream.generator(f"weights {l}").standard_normal((below.size, top.size))
    from_above = (matrix * top.mean(top.bias[None])[0]).sum(axis=1)
    layers = [
        *model.layers[:-1], below.replace(bias=below.bias - from_above),
        top.replace(bias=top.bias - (mean[:, None] * matrix).sum(axis=0)),
    ]  # fmt: skip
    observed = (*model.observed, l + 1)
    return BoltzmannMachine(layers, [*model.weights, matrix], observed=observed)


def default_schedule(layers, n_rows=ROWS_OF_FULL_RATE):
    """Return the learning rate that works untuned, decaying to zero (docs/decisions.md).

    Updates of few rows are noisy, and a lower rate averages over more of them.

    Parameters
    ----------
    layers : sequence of Units
    n_rows : int
        Rows of an update.
    """
    rate = min(layer.usual_rate for layer in layers)
    return Linear(rate * min(1.0, n_rows / ROWS_OF_FULL_RATE), 0.0)


def default_stream_schedule(layers, n_rows=ROWS_OF_FULL_RATE):
    """Return the learning rate of a stream, which has no end: constant, half of where runs start.

    Parameters
    ----------
    layers : sequence of Units
    n_rows : int
        Rows of an update.
    """
    return Constant(0.5 * default_schedule(layers, n_rows).start)
