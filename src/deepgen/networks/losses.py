"""Losses of networks: a value, and its gradient by the field of the last layer.

The value is a mean over rows of a sum over columns. All of them start from the field, so that an
output that rounds to 0 or 1 costs no precision.
"""

from abc import ABC, abstractmethod

import numpy as np

from deepgen.models.backprop import field_gradient, mean_of_field
from deepgen.models.network import ACTIVATIONS


class Loss(ABC):
    """A loss of the output of a layer.

    Attributes
    ----------
    activations : tuple of str
        Last layers that it can judge.
    """

    activations = tuple(ACTIVATIONS)

    def __repr__(self):
        return f"{type(self).__name__}()"

    def __call__(self, layer, field, target):
        """Return the value and its gradient by the field.

        Parameters
        ----------
        layer : NetworkLayer
            The last layer.
        field : ndarray of shape (n_rows, n_units), float32
        target : ndarray
            (n_rows, n_units), or (n_rows,) class numbers for :class:`SoftmaxCrossEntropy`.

        Returns
        -------
        tuple of (float, ndarray of shape (n_rows, n_units))
        """
        by_row, gradient = self.evaluate(layer, field, target)
        gradient *= np.float32(1.0 / max(len(field), 1))
        return float(by_row.mean()) if len(field) else 0.0, gradient

    def by_row(self, layer, field, target):
        """Return the loss of each row, float64 of shape (n_rows,)."""
        return self.evaluate(layer, field, target)[0]

    @abstractmethod
    def evaluate(self, layer, field, target):
        """Return the loss of each row and the gradient of each by its field."""

    def check(self, activation):
        """Raise ValueError where this loss does not fit the last layer's activation."""
        if activation not in self.activations:
            raise ValueError(
                f"{self!r} needs a last layer of {' or '.join(self.activations)} units, got "
                f"{activation}"
            )


class CrossEntropy(Loss):
    """``-sum_j t_j log p_j + (1 - t_j) log(1 - p_j)`` of logistic outputs, targets in [0, 1]."""

    activations = ("logistic",)

    def evaluate(self, layer, field, target):
        """Return the loss of each row and the gradient of each by its field."""
        gradient, normalizer = mean_of_field(layer, field, normalizer=True)
        by_row = normalizer - (field * target).sum(axis=1, dtype=np.float64)
        gradient -= target
        return by_row, gradient


class SoftmaxCrossEntropy(Loss):
    """``-sum_j t_j log p_j`` of softmax outputs.

    Targets are class numbers, or a distribution for each group of columns. A group of zeros is a
    missing variable: it costs nothing.
    """

    activations = ("softmax",)

    def evaluate(self, layer, field, target):
        """Return the loss of each row and the gradient of each by its field."""
        if np.ndim(target) == 2:
            groups = (len(field), layer.size // layer.group, layer.group)
            missing = ~target.reshape(groups).any(axis=2)
            if missing.any():  # any field will do: here one whose log normalizer is 0
                absent = missing.repeat(layer.group, axis=1)
                field = np.where(absent, np.float32(-np.log(layer.group)), field)
        gradient, normalizer = mean_of_field(layer, field, normalizer=True)
        if np.ndim(target) == 1:
            rows = np.arange(len(field))
            by_row = normalizer - field[rows, target].astype(np.float64)
            gradient[rows, target] -= 1.0
            return by_row, gradient
        by_row = normalizer - (field * target).sum(axis=1, dtype=np.float64)
        gradient -= target
        if missing.any():
            gradient[absent] = 0.0
        return by_row, gradient


class SquaredError(Loss):
    """``sum_j (t_j - y_j)^2`` of outputs of any kind."""

    def evaluate(self, layer, field, target):
        """Return the loss of each row and the gradient of each by its field."""
        output, _ = mean_of_field(layer, field)
        difference = output - target
        by_row = np.square(difference).sum(axis=1, dtype=np.float64)
        difference *= np.float32(2.0)
        return by_row, field_gradient(layer, output, difference)


LOSSES = {
    "cross_entropy": CrossEntropy, "softmax_cross_entropy": SoftmaxCrossEntropy,
    "squared_error": SquaredError,
}  # fmt: skip
