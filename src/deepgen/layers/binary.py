"""Binary units: zeros and ones, or counts of tied copies."""

import math

import numpy as np
import scipy

from deepgen._kernels import engine
from deepgen.checks import check_integer
from deepgen.layers.units import LEAST, Alternatives, Units, check_range


def softplus(x):
    """Return log(1 + exp(x)) in float64."""
    x = np.asarray(x, np.float64)
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


class Binary(Units):
    """Units with states 0 and 1, or 0..n_copies for tied copies of one unit.

    Log weight ``field * x + log binom(n_copies, x)``, mean ``n_copies * logistic(field)``.

    Parameters
    ----------
    size, bias
        See :class:`Units`.
    n_copies : int, default 1
        Tied copies: the state is their sum. The greedy pretraining of a DBM is exact as an RBM
        with a layer of two copies (Salakhutdinov & Hinton 2009, section 3.3).
    """

    kind = engine.KINDS["binary"]
    state_dtype = np.uint8
    usual_rate = 0.2
    hidden_bias = -2.0  # rare: better likelihoods and features than from 0 (docs/decisions.md)
    can_tie = True

    def __init__(self, size=None, *, bias=None, n_copies=1):
        super().__init__(size, bias=bias)
        check_integer(n_copies, "n_copies", most=8)
        self.n_copies = int(n_copies)

    @property
    def n_states(self):
        """How many states a unit can take: 0..n_copies."""
        return self.n_copies + 1

    @property
    def largest_state(self):
        """Largest value of a state."""
        return self.n_copies

    @property
    def is_bernoulli(self):
        """Whether a state is 0 or 1: that of one copy."""
        return self.n_copies == 1

    @property
    def activation(self):
        """That of one copy; none has the mean of a sum of copies as its output."""
        return "logistic" if self.n_copies == 1 else None

    def alternatives(self):
        """Return the states 0..n_copies; the base measure is a binomial coefficient."""
        states = np.arange(self.n_states, dtype=np.uint8)[:, None]
        measure = [math.log(math.comb(self.n_copies, x)) for x in range(self.n_states)]
        return Alternatives(scipy.sparse.csr_array(states), np.array(measure))

    def tied(self, n_copies):
        """Return the layer of so many copies of a unit, whatever this one has."""
        return self.replace(n_copies=n_copies)

    def untied(self, n_copies):
        """Return the layer of one copy."""
        return self.replace(n_copies=1)

    def options(self):
        """Return the settings that are not parameters."""
        return {} if self.n_copies == 1 else {"n_copies": self.n_copies}

    def variance(self, mean):
        """Return that of a binomial distribution."""
        mean = np.asarray(mean).astype(np.float64)
        return mean * (1.0 - mean / self.n_copies)

    def field_of(self, mean):
        """Return log odds, within +-80."""
        p = np.asarray(mean, np.float64) / self.n_copies
        with np.errstate(divide="ignore"):
            return np.clip(np.log(p) - np.log1p(-p), -80.0, 80.0).astype(np.float32)

    def fitted_to(self, mean, variance, n_rows):
        """Return the layer whose bias is the log odds of the data, smoothed by half a count."""
        p = (np.asarray(mean) * n_rows / self.n_copies + 0.5) / (n_rows + 1.0)
        return self.replace(bias=np.log(p / (1.0 - p)))

    @property
    def can_mix(self):
        """Whether a unit is 0 or 1: that of one copy."""
        return self.n_copies == 1

    def column_log_normalizers(self, field):
        """Return log(1 + exp(field)) by copy."""
        return self.n_copies * softplus(field)

    def inner_mean(self, mean, n_rows):
        """Return the mean smoothed by half a count."""
        return (np.asarray(mean, np.float64) * n_rows + 0.5) / (n_rows + 1.0)

    def components(self, found, mean, strength):
        """Return these units and log odds: the modes of Beta densities."""
        on = np.maximum(found.sums, 0.0) + strength * mean[:, None]
        # sums and counts were rounded apart, so their difference may be a little below zero
        off = np.maximum(found.known - found.sums, 0.0)
        off += strength * (1.0 - mean)[:, None]
        return self, np.log(on) - np.log(off)

    def value_scores(self, x, mean, deviation):
        """Return log p of zeros and ones."""
        p = np.clip(np.asarray(mean, np.float64), LEAST, 1.0 - LEAST)
        return x * np.log(p) + (1.0 - x) * np.log1p(-p)

    @property
    def limits(self):
        """From 0 to `n_copies`."""
        return 0, self.n_copies

    def check(self, states, name="X"):
        """Raise RefusedValue unless every value lies in [0, n_copies], but for rounding."""
        check_range(
            states, name, 0, self.n_copies,
            expected=f"have values in [0, {self.n_copies}] for binary units",
            remedy="scale grey values to [0, 1] (for bytes: X / 255; with new rows too: "
            "MinMaxScaler(clip=True)), threshold them, or use visible='gaussian' for real values",
        )  # fmt: skip
