"""A run of a network on standardized inputs, whose network reads the rows as they came."""

from dataclasses import dataclass

import numpy as np

from deepgen.learning.networks import NetworkTrainer
from deepgen.models import Network, NetworkLayer
from deepgen.rows.states import CompressedRows, dense

# Where the column of the largest values has a root mean square between these, inputs are taken
# as they are: grey values and bits, columns that are standardized.
LEAST_SIZE, LARGEST_SIZE = 0.25, 4.0


@dataclass(frozen=True)
class InputScale:
    """Mean and deviation of each column of the inputs.

    Attributes
    ----------
    mean, deviation : ndarray of shape (n_columns,), float64
        The deviation of a column that does not vary counts as 1.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def needed(cls, mean, variance):
        """Return the scale of columns of these moments, or None where they are fine as they are."""
        size = float(np.sqrt(np.square(mean) + variance).max())
        if LEAST_SIZE <= size <= LARGEST_SIZE or size == 0.0:
            return None
        varies = variance > 1e-12 * np.square(mean)
        return cls(np.asarray(mean), np.sqrt(np.where(varies, variance, 1.0)))

    def standardized(self, states):
        """Return rows ``(x - mean) / deviation``, float32."""
        return ((dense(states) - self.mean) / self.deviation).astype(np.float32)

    def folded_into(self, network):
        """Return the network that gives for plain rows what `network` gives for standardized ones.

        ``W' = W / deviation`` by row, ``b' = b - mean W'``.
        """
        first, *others = network.layers
        weights = first.weights / self.deviation[:, None]
        bias = first.bias - (self.mean[:, None] * weights).sum(axis=0)
        return Network([NetworkLayer(first.activation, bias, weights), *others])


class ScaledNetworkTrainer(NetworkTrainer):
    """A run of fine-tuning that standardizes each batch of inputs.

    Gradients by columns of very different sizes have no common learning rate. The parameters of
    the run are those for standardized rows; :meth:`model` is the network for plain ones.

    Attributes
    ----------
    scale : InputScale
        Set before the first update.
    """

    scale = None

    def model(self):
        """Return the network that this run stands for, which reads rows as they came."""
        return self.scale.folded_into(super().model())

    def _checked(self, batch):
        batch = super()._checked(batch)
        return batch.with_states(self.scale.standardized(batch.states[0]))


def can_be_scaled(rows):
    """Tell whether rows can be standardized without becoming larger: sparse ones cannot."""
    return not isinstance(rows.states(slice(0, 1)), CompressedRows)
