"""Gaussian units: real values with a precision each."""

import math

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import check_flag
from deepgen.layers.units import LARGEST_VALUE, Units, as_vector, check_range
from deepgen.rows.states import dense

# Beyond this, products of a precision and a mean leave float32.
MAX_LOG_PRECISION = 60.0
# A variance of less than this share of the squared mean is what rounding leaves of none.
ROUNDING = 1e-12


class Gaussian(Units):
    """Real-valued units: log weight ``field * x - precision * x**2 / 2``.

    Weights act on x itself; the mean is ``field / precision``. Files and tests rely on this
    parametrization.

    Parameters
    ----------
    size, bias
        See :class:`Units`.
    log_precision : array-like of shape (size,) or None
        None: zeros, unit variance.
    learn_precision : bool, default True
        Whether training changes `log_precision`.
    """

    kind = engine.KINDS["gaussian"]
    state_dtype = np.float32
    n_states = largest_state = math.inf
    usual_rate = 0.05
    activation = "linear"
    can_tie = can_mix = True

    def __init__(self, size=None, *, bias=None, log_precision=None, learn_precision=True):
        if size is None and bias is None and log_precision is not None:
            size = len(np.atleast_1d(log_precision))
        super().__init__(size, bias=bias)
        check_flag(learn_precision, "learn_precision")
        self.learn_precision = bool(learn_precision)
        if self.size is None:
            self.log_precision = None
            return
        if log_precision is None:
            log_precision = np.zeros(self.size)
        self.log_precision = as_vector(log_precision, self.size, "log_precision")
        if np.abs(self.log_precision).max() > MAX_LOG_PRECISION:
            raise ValueError(
                f"log_precision must lie within +-{MAX_LOG_PRECISION:g}, got "
                f"{self.log_precision[np.abs(self.log_precision).argmax()]:g}; standardize the "
                "columns"
            )
        self.precision = np.exp(self.log_precision)
        self.precision.flags.writeable = False

    def with_learned_scale(self, learned):
        """Return these units with a precision that training changes, or leaves."""
        return self.replace(learn_precision=learned)

    def tied(self, n_copies):
        """Return the layer of the sum of copies: so many times the mean and the variance of one.

        The copies of a row are equal, not independent: rows would ask for the square of that many
        times the variance, so it must not be learned.
        """
        if n_copies == 1:
            return self
        log_precision = self.log_precision - math.log(n_copies)
        return self.replace(log_precision=log_precision, learn_precision=False)

    def untied(self, n_copies):
        """Return the layer of one copy; whether its precision is learned stays as it is."""
        if n_copies == 1:
            return self
        return self.replace(log_precision=self.log_precision + math.log(n_copies))

    def options(self):
        """Return the settings that are not parameters."""
        return {} if self.learn_precision else {"learn_precision": False}

    def parameters(self):
        """Return bias and log_precision."""
        return {"bias": self.bias, "log_precision": self.log_precision}

    def moments(self, x):
        """Return the derivatives by bias, x, and by log_precision, -precision x**2 / 2."""
        square = (dense(self.states_of(x, "x")).astype(np.float64) ** 2).mean(axis=0)
        return {**super().moments(x), "log_precision": -0.5 * self.precision * square}

    def variance(self, mean):
        """Return one by the precision, whatever the mean."""
        return 1.0 / self.precision.astype(np.float64)

    def field_of(self, mean):
        """Return precision times mean."""
        return np.asarray(mean, np.float32) * self.precision

    def fitted_to(self, mean, variance, n_rows):
        """Return the layer with the data's mean and, where it is learned, its variance.

        Each column counts by itself: in what unit another one is measured changes nothing. One
        that never varies, but for rounding, gets a floor: no precision is infinite.
        """
        variance = np.asarray(variance, np.float64)
        if not self.learn_precision:
            return self.replace(bias=mean * self.precision)
        square = np.square(np.asarray(mean, np.float64))
        varies = variance > ROUNDING * square
        if not varies.all():
            scale = variance.mean() + ROUNDING * square.mean()
            variance = np.where(varies, variance, 1e-4 * scale if scale > 0 else 1.0)
        log_precision = -np.log(variance)
        return self.replace(log_precision=log_precision, bias=mean * np.exp(log_precision))

    def column_log_normalizers(self, field):
        """Return ``field^2 / (2 precision) + log(2 pi / precision) / 2``."""
        precision = self.precision.astype(np.float64)
        square = np.asarray(field, np.float64) ** 2 / precision
        return 0.5 * (square + np.log(2.0 * np.pi / precision))

    def inner_mean(self, mean, n_rows):
        """Return the mean: every number is an inner one."""
        return np.asarray(mean, np.float64)

    def components(self, found, mean, strength):
        """Return units with the variance of all components, where it is learned, and fields."""
        known = found.known + strength
        means = (found.sums + strength * mean[:, None]) / known
        units = self
        if self.learn_precision:
            # sum_k sum_r r_k (x - mean_k)^2
            square = found.squares + (means * (found.known * means - 2.0 * found.sums)).sum(axis=1)
            square = np.maximum(square, 0.0)
            square += strength * ((means - mean[:, None]) ** 2).sum(axis=1)
            square += strength / self.precision.astype(np.float64)
            variance = square / (found.known.sum(axis=1) + strength)
            units = self.replace(log_precision=-np.log(variance))
        return units, means * units.precision.astype(np.float64)[:, None]

    def scale_log_prior(self, units, n_components, mean, strength):
        """Return the part of the log prior density that the pseudo-rows do not have.

        Their own density counts each component's precision in full; the means are normal around
        `mean`, and the variance has `strength` pseudo-rows of this layer's variance once.
        """
        log_precision = units.log_precision.astype(np.float64)
        precision = units.precision.astype(np.float64)
        of_rows = 0.5 * (np.log(2.0 * np.pi) - log_precision - precision * mean**2)
        of_scale = 0.5 * (log_precision - precision / self.precision.astype(np.float64))
        return strength * float((n_components * of_rows + of_scale).sum())

    def pooled(self, layers):
        """Return the layer with the mean of the variances of layers of this form."""
        if not self.learn_precision:
            return self
        variance = np.mean([1.0 / units.precision.astype(np.float64) for units in layers], axis=0)
        return self.replace(log_precision=-np.log(variance))

    def value_scores(self, x, mean, deviation):
        """Return the log density of the normal distribution of that mean and deviation."""
        deviation = np.asarray(deviation, np.float64)
        away = (np.asarray(x, np.float64) - mean) / deviation
        return -0.5 * (away**2 + np.log(2.0 * np.pi)) - np.log(deviation)

    def check(self, states, name="X"):
        """Raise RefusedValue where a value is not finite or beyond 1e12."""
        check_range(
            states, name, -LARGEST_VALUE, LARGEST_VALUE,
            expected="lie within +-1e12 for Gaussian units", remedy="standardize the columns",
        )  # fmt: skip

    def is_state(self, states):
        """Every real number is a state."""
        return True
