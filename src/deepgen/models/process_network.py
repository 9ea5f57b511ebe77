"""A Gaussian process on the outputs of a network, with the labelled rows that it knows."""

from dataclasses import dataclass

import numpy as np

from deepgen.checks import check_instance, check_integer, check_number, float32_array
from deepgen.layers.units import LARGEST_VALUE
from deepgen.models.boltzmann_machine import next_version
from deepgen.models.network import Network

# Lengths whose squares, and what is divided by them, are numbers of float64.
LENGTHS = 1e-150, 1e150


@dataclass(frozen=True)
class SquaredExponential:
    """A covariance of values at two rows, and the noise of each value.

    ``cov(y, y') = amplitude exp(-|f - f'|^2 / (2 length^2))``, where f and f' are the features of
    the rows, plus ``noise + noise_floor`` where both are the same value.

    Parameters
    ----------
    amplitude : float, default 1.0
        Variance of the function, in squared units of the targets.
    length : float, default 1.0
        Distance of features over which the function changes, in their units.
    noise : float, default 0.05
        Learned part of the variance of a value around the function, in squared units of the
        targets.
    noise_floor : float, default 0.01
        The other part, which is not learned. Likelihood alone drives the noise to zero where the
        labelled rows are fitted exactly; the deviations at new rows are then far too small.

    Raises
    ------
    ValueError
        If one of them is not positive and finite, or the square of `length` is not in float64.
    """

    amplitude: float = 1.0
    length: float = 1.0
    noise: float = 0.05
    noise_floor: float = 0.01

    def __post_init__(self):
        for name in ("amplitude", "length", "noise", "noise_floor"):
            value = getattr(self, name)
            check_number(value, name, *(LENGTHS if name == "length" else (0.0,)))
            object.__setattr__(self, name, float(value))  # frozen for all but the constructor

    @property
    def variance(self):
        """Variance of a value around the function: noise and its floor."""
        return self.noise + self.noise_floor

    def of_distances(self, squared):
        """Return the covariances of the function, by squared distances of features."""
        return self.amplitude * np.exp(squared * (-0.5 / self.length**2))


class ProcessNetwork:
    """A network and a Gaussian process on its outputs, given the labelled rows that it knows.

    ``y = mean + scale (g(f(x)) + noise)``, where f(x) are the outputs of the network and g is a
    Gaussian process with the values `targets` at `features`. What it predicts is in
    ``inference/processes.py``. A model never changes.

    Parameters
    ----------
    network : Network
    covariance : SquaredExponential
        Of standardized targets.
    features : array-like of shape (n_labelled, n_outputs)
        Outputs of the network for the labelled rows.
    targets : array-like of shape (n_labelled,)
        Of these rows, standardized: ``(y - mean) / scale``.
    mean, scale : float, default 0.0 and 1.0
        From standardized targets to those of the user.
    n_inducing : int or None
        The function is known through its values at the first so many labelled rows, whose best
        guess takes all targets. None: it is known at all of them, which is exact.

    Attributes
    ----------
    features, targets : ndarray, float32, read-only
    version : int
        Different for every set of parameters in this process.
    kept : ProcessPosterior or None
        What ``inference/processes.py`` has computed of it once; no part of copies and files.

    Raises
    ------
    ValueError
        If shapes do not fit, or a value is not finite.
    TypeError
        If `network` is no Network, or `covariance` no SquaredExponential.
    """

    def __init__(
        self, network, covariance, features, targets, mean=0.0, scale=1.0, n_inducing=None
    ):
        check_instance(network, "network", Network, "a dg.Network")
        check_instance(
            covariance, "covariance", SquaredExponential, "a dg.SquaredExponential(...)"
        )
        features = np.array(float32_array(features, "features"))
        targets = np.array(float32_array(targets, "targets"))
        if features.ndim != 2 or not len(features) or features.shape[1] != network.sizes[-1]:
            raise ValueError(
                f"features must have shape (n_labelled, {network.sizes[-1]}), a column for each "
                f"output of the network, got {features.shape}"
            )
        if targets.shape != (len(features),):
            raise ValueError(
                f"targets must have shape ({len(features)},), one for each row of features, got "
                f"{targets.shape}"
            )
        for name, array in (("features", features), ("targets", targets)):
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite, but contains NaN or inf")
            array.flags.writeable = False
        check_number(mean, "mean", -LARGEST_VALUE, LARGEST_VALUE, closed=True)
        check_number(scale, "scale", 0.0, LARGEST_VALUE)
        if n_inducing is not None:
            check_integer(n_inducing, "n_inducing")
            if n_inducing > len(features):
                raise ValueError(
                    "n_inducing must be at most the number of labelled rows, "
                    f"{len(features)}, got {n_inducing}"
                )
            n_inducing = int(n_inducing)
        self.network, self.covariance = network, covariance
        self.features, self.targets = features, targets
        self.mean, self.scale, self.n_inducing = float(mean), float(scale), n_inducing
        self.version = next_version()
        self.kept = None

    def __repr__(self):
        return f"ProcessNetwork({self.network!r}, {self.covariance!r}, {len(self.targets)} rows)"

    def __reduce__(self):
        return ProcessNetwork, (
            self.network, self.covariance, self.features, self.targets, self.mean, self.scale,
            self.n_inducing,
        )  # fmt: skip

    @property
    def layers(self):
        """Layers of the network."""
        return self.network.layers

    @property
    def sizes(self):
        """Columns of the rows and of each layer of the network."""
        return self.network.sizes
