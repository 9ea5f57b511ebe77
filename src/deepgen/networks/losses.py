"""Losses of networks: a value, its gradient by the field of the last layer, and by parameters.

All of them start from the field, so that an output that rounds to 0 or 1 costs no precision. Most
are means over rows; a loss whose rows depend on each other, or that learns something itself, is a
`Loss` alone (docs/math.md, "Networks").
"""

from abc import ABC, abstractmethod

import numpy as np

from deepgen.checks import float32_array, shown
from deepgen.models.backprop import field_gradient, mean_of_field
from deepgen.models.network import ACTIVATIONS
from deepgen.rows.holes import filled, holes_in


class Loss(ABC):
    """A loss of the outputs of a batch, as one number: its rows may depend on each other.

    It never changes. What it learns, such as a temperature or the noise of a Gaussian process,
    is arrays that the run has beside those of the network: :meth:`learned` says where they start,
    and each evaluation gets their present values.

    Attributes
    ----------
    activations : tuple of str
        Last layers that it can judge.
    """

    activations = tuple(ACTIVATIONS)

    def __repr__(self):
        return f"{type(self).__name__}()"

    def learned(self):
        """Return the parameters of this loss by name: arrays of the values that a run starts from.

        An optimizer moves them by the rate of the network's weights, without weight decay. Name
        what may take any real value, such as the logarithm of a length; what should move ten times
        as far is a tenth of it.
        """
        return {}

    @abstractmethod
    def evaluate(self, layer, field, target, parameters):
        """Return the value and its gradients.

        Parameters
        ----------
        layer : NetworkLayer
            The last layer.
        field : ndarray of shape (n_rows, n_units), float32
            Not to be changed. The last batch of an epoch may have a single row.
        target : ndarray of shape (n_rows, ...)
            Of these rows. How a row says that it has no target, the loss decides: NaN says it of a
            single output to those of this library, where targets are floats of the shape of
            `field`; all-zero groups to :class:`SoftmaxCrossEntropy`. Such outputs cost nothing and
            have no gradient.
        parameters : dict of {str: ndarray, float32}
            Present values of what :meth:`learned` names; not to be changed.

        Returns
        -------
        tuple of (float, ndarray of shape (n_rows, n_units), dict of {str: ndarray})
            The value, its gradient by the field, and those by `parameters`, one for each.
        """

    def check(self, activation):
        """Raise ValueError where this loss does not fit the last layer's activation."""
        if activation not in self.activations:
            raise ValueError(
                f"{self!r} needs a last layer of {' or '.join(self.activations)} units, got "
                f"{activation}"
            )


class RowLoss(Loss):
    """A loss that is a mean over rows, and learns nothing itself.

    So it can tell the loss of one row, which scores and early stopping ask for.
    """

    def evaluate(self, layer, field, target, parameters):
        """Return the mean over rows, its gradient by the field, and no others."""
        by_row, gradient = self.by_row(layer, field, target)
        gradient *= np.float32(1.0 / max(len(field), 1))
        return float(by_row.mean()) if len(field) else 0.0, gradient, {}

    def weighted(self, layer, field, target, weights):
        """Return ``sum_r weights[r] loss[r] / n_rows`` and its gradient by the field.

        Parameters
        ----------
        layer, field, target
            See :meth:`Loss.evaluate`.
        weights : ndarray of shape (n_rows,)
        """
        by_row, gradient = self.by_row(layer, field, target)
        share = weights / max(len(field), 1)
        gradient *= np.float32(share)[:, None]
        return float((share * by_row).sum()), gradient

    @abstractmethod
    def by_row(self, layer, field, target):
        """Return the loss of each row, and the gradient of each by its field.

        Parameters
        ----------
        layer, field, target
            See :meth:`Loss.evaluate`.

        Returns
        -------
        tuple of (ndarray of shape (n_rows,), float64, ndarray of shape (n_rows, n_units), float32)
        """


def check_row_loss(loss, who):
    """Raise ValueError unless a loss is a mean over rows, which `who` asks for."""
    if not isinstance(loss, RowLoss):
        raise ValueError(
            f"{who} needs a loss of each row (a RowLoss such as dg.SquaredError()), got "
            f"{shown(loss)}; judge the network by a function of it, as in "
            "dg.EarlyStopping(function, mode='min')"
        )


def starting_parameters(loss):
    """Return copies of what a loss learns, float32 arrays by name, after a check.

    Raises
    ------
    ValueError
        If a name is no string, or a value is empty or not finite.
    """
    parameters = {}
    for name, value in loss.learned().items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"{loss!r} must name what it learns by strings, got {shown(name)}")
        array = np.array(float32_array(value, name), ndmin=1)
        if not array.size or not np.isfinite(array).all():
            raise ValueError(
                f"{name} of {loss!r} must start from finite numbers, got {shown(value)}"
            )
        parameters[name] = array
    return parameters


class CrossEntropy(RowLoss):
    """``-sum_j t_j log p_j + (1 - t_j) log(1 - p_j)`` of logistic outputs, targets in [0, 1].

    A target of NaN is none: it costs nothing.
    """

    activations = ("logistic",)

    def by_row(self, layer, field, target):
        """Return the loss of each row, and the gradient of each by its field."""
        holes = holes_in(target)
        if holes is not None:  # any field will do: here one whose log normalizer is 0
            field, target = filled(field, holes, -100.0), filled(target, holes)
        gradient, normalizer = mean_of_field(layer, field, normalizer=True)
        losses = normalizer - (field * target).sum(axis=1, dtype=np.float64)
        gradient -= target
        return losses, filled(gradient, holes)


class SoftmaxCrossEntropy(RowLoss):
    """``-sum_j t_j log p_j`` of softmax outputs.

    Targets are class numbers, or a distribution for each group of columns. A group of zeros or of
    NaN is a missing variable: it costs nothing.
    """

    activations = ("softmax",)

    def by_row(self, layer, field, target):
        """Return the loss of each row, and the gradient of each by its field."""
        if np.ndim(target) == 2:
            target = filled(target, holes_in(target))
            groups = (len(field), layer.size // layer.group, layer.group)
            missing = ~target.reshape(groups).any(axis=2)
            if missing.any():  # any field will do: here one whose log normalizer is 0
                absent = missing.repeat(layer.group, axis=1)
                field = np.where(absent, np.float32(-np.log(layer.group)), field)
        gradient, normalizer = mean_of_field(layer, field, normalizer=True)
        if np.ndim(target) == 1:
            rows = np.arange(len(field))
            losses = normalizer - field[rows, target].astype(np.float64)
            gradient[rows, target] -= 1.0
            return losses, gradient
        losses = normalizer - (field * target).sum(axis=1, dtype=np.float64)
        gradient -= target
        if missing.any():
            gradient[absent] = 0.0
        return losses, gradient


class SquaredError(RowLoss):
    """``sum_j (t_j - y_j)^2`` of outputs of any kind; a target of NaN is none: it costs nothing."""

    def by_row(self, layer, field, target):
        """Return the loss of each row, and the gradient of each by its field."""
        output, _ = mean_of_field(layer, field)
        difference = output - target
        difference = filled(difference, holes_in(difference))
        losses = np.square(difference).sum(axis=1, dtype=np.float64)
        difference *= np.float32(2.0)
        return losses, field_gradient(layer, output, difference)


LOSSES = {
    "cross_entropy": CrossEntropy, "softmax_cross_entropy": SoftmaxCrossEntropy,
    "squared_error": SquaredError,
}  # fmt: skip
