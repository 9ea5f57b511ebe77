"""Neighbourhood components: the loss of a network whose codes are to lie by classes."""

from dataclasses import dataclass

import numpy as np

from deepgen.checks import check_number
from deepgen.inference.neighbours import neighbour_loss
from deepgen.models.backprop import field_gradient, mean_of_field
from deepgen.networks.losses import Loss


@dataclass(frozen=True)
class NeighbourLoss(Loss):
    """Mean of ``-log p_i`` in nats, p_i the probability that a row chooses one of its class.

    A row chooses another one of its batch with probability ``~ exp(-|f_i - f_j|^2 / T)`` of their
    outputs (Salakhutdinov & Hinton 2007, "Learning a nonlinear embedding by preserving class
    neighbourhood structure"). Batches of some hundred to a thousand rows: each class needs several.

    Targets are numbers of classes, of shape (n_rows,); a row of -1 has none, and none chooses it.

    Parameters
    ----------
    temperature : float, default 4.0
        T, in squared units of the outputs, best some times the variance of one of them. Where it
        is small, rows choose rightly soon, and the gradient is gone before the codes are good.
    """

    temperature: float = 4.0

    def __post_init__(self):
        check_number(self.temperature, "temperature", 0.0)

    def evaluate(self, layer, field, target, parameters):
        """Return the value, its gradient by the field, and no others.

        Raises
        ------
        ValueError
            If the target is no vector of integers.
        """
        target = np.asarray(target)
        if target.ndim != 1 or target.dtype.kind not in "iu":
            raise ValueError(
                f"target must be integers of shape (n_rows,) for {self!r}, numbers of classes and "
                f"-1 for none, got shape {target.shape} and dtype {target.dtype}"
            )
        known = target >= 0
        output, _ = mean_of_field(layer, field)
        slopes = np.zeros(output.shape, np.float32)
        value, slopes[known] = neighbour_loss(output[known], target[known], self.temperature)
        return value, field_gradient(layer, output, slopes), {}
