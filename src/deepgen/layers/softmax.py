"""Softmax units: categorical variables, one column for each category."""

import numpy as np
import scipy

from deepgen._kernels import engine
from deepgen.checks import RefusedValue, check_integer, first_place
from deepgen.layers.units import LEAST, Alternatives, Units, check_range
from deepgen.rows.states import dense


class Softmax(Units):
    """Groups of `n_categories` columns, one of which is 1: categorical variables.

    Columns are one-hot by groups; an all-zero group is missing and sends nothing.

    Parameters
    ----------
    n_categories : int
        Columns of a group, at least 2.
    size, bias
        See :class:`Units`; the size is a multiple of `n_categories`.
    """

    kind = engine.KINDS["softmax"]
    state_dtype = np.uint8
    largest_state = 1
    usual_rate = 0.2
    activation = "softmax"
    can_be_missing = True
    can_mix = True
    limits = 0, 1

    def __init__(self, n_categories, size=None, *, bias=None):
        check_integer(n_categories, "n_categories", 2)
        super().__init__(size, bias=bias)
        self.group = int(n_categories)
        if self.size is not None and self.size % self.group:
            raise ValueError(
                f"softmax units of {self.group} categories need a multiple of {self.group} "
                f"columns, got {self.size}; encode each variable as {self.group} one-hot columns"
            )

    @property
    def n_states(self):
        """How many categories a variable can take; missing is no state."""
        return self.group

    def alternatives(self):
        """Return the one-hot states of a group."""
        states = scipy.sparse.eye_array(self.group, format="csr", dtype=np.uint8)
        return Alternatives(states, np.zeros(self.group))

    def variance(self, mean):
        """Return that of each column by itself."""
        mean = np.asarray(mean).astype(np.float64)
        return mean * (1.0 - mean)

    def options(self):
        """Return the settings that are not parameters."""
        return {"n_categories": self.group}

    def missing(self, states):
        """Return the mask of the columns of all-zero groups, or None."""
        rows = dense(states)
        absent = ~rows.reshape(len(rows), self.n_sites, self.group).any(axis=2)
        return np.repeat(absent, self.group, axis=1) if absent.any() else None

    def field_of(self, mean):
        """Return log probabilities, at least -80."""
        return np.log(np.maximum(mean, np.exp(-80.0))).astype(np.float32)

    def fitted_to(self, mean, variance, n_rows):
        """Return the layer whose bias is the log frequency, smoothed by one count a group."""
        return self.replace(bias=np.log(self.inner_mean(mean, n_rows)))

    def column_log_normalizers(self, field):
        """Return the log of the sum of exponentials of each group, in its first column."""
        groups = np.asarray(field, np.float64).reshape(-1, self.group)
        out = np.zeros(groups.shape)
        out[:, 0] = scipy.special.logsumexp(groups, axis=1)
        return out.reshape(np.shape(field))

    def inner_mean(self, mean, n_rows):
        """Return frequencies smoothed by one count a group; they sum to one by group."""
        p = (np.asarray(mean, np.float64) * n_rows + 1.0 / self.group).reshape(-1, self.group)
        return (p / p.sum(axis=1, keepdims=True)).reshape(-1)

    def components(self, found, mean, strength):
        """Return these units and log probabilities: the modes of Dirichlet densities."""
        counts = np.maximum(found.sums, 0.0) + strength * mean[:, None]
        groups = counts.reshape(-1, self.group, counts.shape[1])
        fields = np.log(groups) - np.log(groups.sum(axis=1, keepdims=True))
        return self, fields.reshape(counts.shape)

    def value_scores(self, x, mean, deviation):
        """Return log p of the category, in its column."""
        return x * np.log(np.maximum(np.asarray(mean, np.float64), LEAST))

    def check(self, states, name="X"):
        """Raise ValueError unless each group is a distribution, a one-hot state or all zero."""
        check_range(
            states, name, 0, 1, expected="have values in [0, 1] for softmax units",
            remedy=f"encode each variable as {self.group} one-hot columns",
        )  # fmt: skip
        n_rows, n_columns = states.shape
        totals = dense(states).reshape(n_rows, n_columns // self.group, self.group)
        totals = totals.sum(axis=2, dtype=np.float64)
        bad = (np.abs(totals - 1.0) > 1e-3) & (totals != 0.0)
        if bad.any():
            row, variable = first_place(bad)
            first = variable * self.group
            raise RefusedValue(
                name,
                f"have one 1 in each group of {self.group} columns (or none, where the variable "
                "is missing)",
                totals[row, variable], row,
                remedy=f"it is the sum of columns {first} to {first + self.group - 1}",
            )  # fmt: skip
