"""Outputs that stay where inputs move a little: virtual adversarial training."""

from dataclasses import dataclass

import numpy as np

from deepgen.checks import check_number
from deepgen.layers.units import LARGEST_VALUE
from deepgen.models import backprop
from deepgen.rows.states import dense
from deepgen.runtime.stream import DROPOUT
from deepgen.runtime.work import ANY_WORK

# A rectified output is no mean of a distribution, so it has no divergence.
ACTIVATIONS = ("logistic", "softmax", "linear")


@dataclass(frozen=True)
class VirtualAdversarial:
    """A penalty on outputs that change where the input moves, the worst way for each row.

    `weight` times the mean over rows of ``KL(p(x) || p(x + r))`` (Miyato et al. 2018): `r` has the
    length `radius` and the direction that changes the output most, by one step of power
    iteration. It needs no labels, so rows without one teach a network too. An update costs three
    times as much.

    Parameters
    ----------
    radius : float
        Length of `r` in the units of the inputs, all columns together. Too large a one is worse
        than none. On digits 0.5 for 64 pixels in [0, 1], 2 for 784 pixels beside 1,000 means.
    weight : float, default 1.0
        Factor of the penalty. Both it and the loss are means over all rows of a batch, but rows
        without a target add nothing to the loss: where a fifth of the rows has one, weight 1 here
        is weight 5 in the paper, whose loss is a mean over the rows with a target.
    step : float, default 0.1
        Length of the trial move whose gradient tells the direction.
    """

    radius: float
    weight: float = 1.0
    step: float = 0.1

    def __post_init__(self):
        for name in ("radius", "weight", "step"):
            check_number(getattr(self, name), name, 0.0, LARGEST_VALUE)

    def check(self, activation):
        """Raise ValueError where the penalty does not fit the last layer."""
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"smoothness needs a last layer of {', '.join(ACTIVATIONS)} units, got "
                f"{activation}"
            )

    def evaluate(self, network, X, field, *, stream, first_row=0, first=0, work=ANY_WORK):
        """Return the penalty and its gradient by name; p(x) and r are not differentiated.

        Parameters
        ----------
        network : Network or NetworkParameters
        X : states of shape (n_rows, n_inputs)
        field : ndarray of shape (n_rows, n_outputs)
            Of the last layer for X, nothing left out.
        stream : Stream
            At the position of the update.
        first_row : int, default 0
            Number of the first row in the whole batch.
        first : int, default 0
            Layers below it get no gradient.
        work : Work

        Returns
        -------
        tuple of (float, dict of {str: ndarray})
        """
        X, last = dense(X), network.layers[-1]
        mean, normalizer = distribution(last, field)
        drawn = stream.child("smoothness").uniform(*X.shape, DROPOUT, first_row=first_row)
        drawn -= np.float32(0.5)
        activities = backprop.forward(network, X + scaled(drawn, self.step), work=work)
        slope = backprop.mean_of_field(last, activities.field)[0] - mean
        _, worst = backprop.backward(
            network, activities, slope, first=network.n_layers, by_input=True, work=work
        )
        activities = backprop.forward(network, X + scaled(worst, self.radius), work=work)
        moved, moved_normalizer = distribution(last, activities.field)
        away = (mean * (activities.field - field)).sum(axis=1, dtype=np.float64)
        by_row = np.maximum(moved_normalizer - normalizer - away, 0.0)  # it is, but for rounding
        slope = (moved - mean) * np.float32(self.weight / max(len(X), 1))
        gradients = backprop.backward(network, activities, slope, first=first, work=work)
        return self.weight * float(by_row.mean()) if len(X) else 0.0, gradients


def distribution(layer, field):
    """Return mean and log normalizer of the distribution whose means the outputs of a layer are.

    Of linear units it is a normal distribution of variance 1.
    """
    if layer.activation == "linear":
        return field, 0.5 * np.square(field).sum(axis=1, dtype=np.float64)
    return backprop.mean_of_field(layer, field, normalizer=True)


def scaled(rows, length):
    """Return rows with this Euclidean length; those of zeros stay zeros.

    The gradient of a row whose class is certain has entries whose squares are zero as float32.
    """
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    rows = rows / np.where(largest > 0.0, largest, 1.0)
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return rows * (np.float32(length) / np.maximum(lengths, 1.0))
