"""The marginal likelihood of a Gaussian process as the loss of a network."""

from dataclasses import dataclass, field

import numpy as np

from deepgen.checks import check_instance
from deepgen.inference.processes import logs_of, marginal_likelihood, with_logs
from deepgen.models.backprop import field_gradient, mean_of_field
from deepgen.models.process_network import SquaredExponential
from deepgen.networks.losses import Loss

# A logarithm is so many times its parameter, which an optimizer moves by the rate of the weights:
# the covariance has to stay scaled to features that move.
LOG_RATE = 20.0


@dataclass(frozen=True)
class ProcessLikelihood(Loss):
    """Negative log marginal likelihood of a Gaussian process on the outputs, by labelled row.

    ``-log p(y) / n`` in nats, where y are the n targets of a batch: each batch is a process of its
    own, whose covariance is :class:`SquaredExponential`. Its amplitude, length and noise are
    learned with the network (Salakhutdinov & Hinton 2008, "Using deep belief nets to learn
    covariance kernels for Gaussian processes").

    Targets have shape (n_rows,) and should have mean 0 and variance 1; NaN is none. Batches of
    some hundred rows: work grows with their cube.

    Parameters
    ----------
    covariance : SquaredExponential
        Where it starts; ``length**2`` near the median squared distance of outputs. Its
        `noise_floor` stays.
    """

    covariance: SquaredExponential = field(default_factory=SquaredExponential)

    def __post_init__(self):
        expected = "a dg.SquaredExponential(...)"
        check_instance(self.covariance, "covariance", SquaredExponential, expected)

    def learned(self):
        """Return twentieths of the logarithms of amplitude, squared length and noise."""
        names = ("log_amplitude", "log_length", "log_noise")
        return dict(zip(names, logs_of(self.covariance) / LOG_RATE, strict=True))

    def covariance_of(self, parameters):
        """Return the covariance that learned parameters stand for.

        Parameters
        ----------
        parameters : dict of {str: ndarray}
            See :meth:`deepgen.NetworkTrainer.loss_parameters`.
        """
        logs = np.array([float(parameters[name][0]) for name in self.learned()])
        return with_logs(self.covariance, LOG_RATE * logs)

    def evaluate(self, layer, field, target, parameters):
        """Return the value, its gradient by the field, and those by what is learned.

        Where the covariance is not positive definite in float64, which the floor of the noise
        prevents unless the run has run away, they are NaN, and the run raises DivergedError.

        Raises
        ------
        ValueError
            If the target is no vector.
        """
        if np.ndim(target) != 1:
            raise ValueError(
                f"target must have shape (n_rows,) for {type(self).__name__}, one number for each "
                f"row, got {np.shape(target)}"
            )
        known = ~np.isnan(target)
        output, _ = mean_of_field(layer, field)
        slopes, names = np.zeros(output.shape, np.float32), tuple(self.learned())
        if not known.any():
            return 0.0, slopes, {name: np.zeros(1) for name in names}
        try:
            covariance = self.covariance_of(parameters)
        except ValueError:  # a logarithm beyond all numbers: the run has run away
            value, by_logs, by_output = np.nan, np.full(3, np.nan), np.nan
        else:
            value, by_logs, by_output = marginal_likelihood(
                output[known], target[known], covariance
            )
        share = 1.0 / known.sum()
        slopes[known] = share * by_output
        of_loss = {
            name: np.array([LOG_RATE * share * slope])
            for name, slope in zip(names, by_logs, strict=True)
        }
        return float(share * value), field_gradient(layer, output, slopes), of_loss
