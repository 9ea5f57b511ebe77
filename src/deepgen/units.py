"""Unit types: what a layer means.

A layer is an exponential family in its field (docs/math.md, section "Units"). A new type
touches its case in ``_kernels/units.h``, this file, one tag in ``model_forms.py``, its twin in
``tests/reference.py`` and one line of the contract tests.
"""

from abc import ABC, abstractmethod

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import (
    MOST_ROWS,
    check_flag,
    check_instance,
    check_integer,
    float32_array,
    real_array,
)
from deepgen.passes import (
    Site,
    bias_fields,
    conditional_pass,
    layer_log_weight,
    segments_log_normalizer,
)
from deepgen.states import CompressedRows, as_states, dense
from deepgen.stream import DATA, Stream

# Beyond this, products of a precision and a mean leave float32.
MAX_LOG_PRECISION = 60.0
# Real values beyond this are refused: they were never standardized.
LARGEST_VALUE = 1e12

KIND_BINARY, KIND_GAUSSIAN, KIND_SOFTMAX = 0, 1, 2


def _vector(value, size, name):
    value = np.array(float32_array(value, name), ndmin=1)
    if value.ndim != 1 or (size is not None and len(value) != size):
        expected = "a vector" if size is None else f"shape ({size},)"
        raise ValueError(f"{name} must have {expected}, got shape {value.shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"{name} must be finite, got {value[~np.isfinite(value)][0]}")
    value.flags.writeable = False
    return value


def _check_finite(low, high, name):
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            f"{name} must be finite, but contains NaN, inf or values beyond float32; remove such "
            "rows, or complete them with impute"
        )


def _bounds(states):
    """Smallest and largest value, counting the zeros that a sparse matrix leaves out."""
    if isinstance(states, CompressedRows):
        values = states.values
        if len(values) < states.shape[0] * states.shape[1]:
            return min(values.min(initial=0.0), 0.0), max(values.max(initial=0.0), 0.0)
        states = values
    if states.size == 0:
        return 0.0, 0.0
    return states.min(), states.max()


class Units(ABC):
    """A layer: its size, its bias and its own parameters; knows nothing of its neighbours.

    Without a size or a bias it is a description ("binary units, as many as there are
    columns"); :meth:`sized` makes the layer.

    Parameters
    ----------
    size : int or None
        Number of units (columns). None: taken from `bias`, or left open.
    bias : array-like of shape (size,) or None
        None: zeros.

    Attributes
    ----------
    size : int or None
    bias : ndarray of shape (size,), float32, read-only
    """

    state_dtype = np.uint8
    can_be_missing = False  # whether a state says so, see `missing`
    n_copies = 1
    group = 1
    precision = None

    size = bias = None  # until the constructor has checked them

    def __init__(self, size=None, *, bias=None):
        if size is not None:
            check_integer(size, "size")
        if bias is not None:
            bias = _vector(bias, size, "bias")
            size = len(bias)
        elif size is not None:
            bias = _vector(np.zeros(size), size, "bias")
        self.size = None if size is None else int(size)
        self.bias = bias

    def __repr__(self):
        options = "".join(f", {name}={value!r}" for name, value in self.options().items())
        return f"{type(self).__name__}(size={self.size}{options})"

    def __setstate__(self, state):
        vars(self).update(state)
        for value in state.values():  # arrays come writeable out of a pickle
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def options(self):
        """Return the settings that are not parameters, as plain data."""
        return {}

    def parameters(self):
        """Return the layer's parameters by name (float32 vectors)."""
        return {"bias": self.bias}

    def replace(self, **parameters):
        """Return the same layer with other parameters."""
        return type(self)(**{**self.options(), **self.parameters(), **parameters})

    def sized(self, size):
        """Return a layer of `size` units, bias zero, with this layer's options."""
        check_integer(size, "size")
        if self.size is not None and self.size != size:
            raise ValueError(f"{self!r} has {self.size} units, but {size} are needed")
        return self if self.size is not None else type(self)(size=size, **self.options())

    def kernel_layer(self):
        """Return (kind, n_copies, group, bias, precision) for ``Chain``."""
        return self.kind, self.n_copies, self.group, self.bias, self.precision

    def check_width(self, x, name="X"):
        """Raise ValueError unless `x` is (n_rows, size)."""
        if self.size is None:
            raise ValueError(f"{self!r} has no size yet; make a layer of it with .sized(n)")
        shape = np.shape(x)
        if len(shape) != 2 or shape[1] != self.size:
            raise ValueError(f"{name} must have shape (n_rows, {self.size}), got {shape}")

    def states_of(self, X, name="X"):
        """Return rows as states that kernels read, checked: their form, width and values."""
        states = as_states(X, name)
        self.check_width(states, name)
        self.check(states, name)
        return states

    def _checked_field(self, field):
        field = float32_array(field, "field")
        self.check_width(field, "field")
        if not np.isfinite(field).all():  # a draw from NaN would be a silent zero
            raise ValueError("field must be finite, but contains NaN, inf or values beyond float32")
        return field

    def _pass(self, field, **outputs):
        """Run the kernels on this layer alone: its field comes as bias rows."""
        layer = self.kernel_layer()
        chain = engine.Chain([(*layer[:3], np.zeros_like(self.bias), layer[4])], [])
        fields = bias_fields(field)
        conditional_pass(chain, 0, [None], fields, n_rows=len(field), work=8 * self.size, **outputs)

    def mean(self, field):
        """Return E[x | field], float32 of the shape of `field`, (n_rows, size)."""
        field = self._checked_field(field)
        out = np.empty(field.shape, np.float32)
        self._pass(field, mean=out)
        return out

    def sample(self, field, stream, *, first_row=0):
        """Draw x ~ p(x | field) with the random numbers of `stream`."""
        check_instance(stream, "stream", Stream, "a dg.Stream, such as dg.Stream(0)")
        check_integer(first_row, "first_row", 0, MOST_ROWS)
        field = self._checked_field(field)
        out = np.empty(field.shape, self.state_dtype)
        self._pass(field, sample=out, site=Site(stream, DATA, first_row))
        return out

    def log_normalizer(self, field):
        """Return sum over units of log sum_x exp(field x + log base measure), in float64.

        Parameters
        ----------
        field : array-like of shape (n_rows, size)

        Returns
        -------
        ndarray of shape (n_rows,), float64
        """
        field = real_array(field, "field")
        self.check_width(field, "field")
        return segments_log_normalizer([self.kernel_segment()], field)

    def kernel_segment(self):
        """Return (kind, n_copies, size, group, float64 precision) for exact kernels."""
        precision = None if self.precision is None else self.precision.astype(np.float64)
        return self.kind, self.n_copies, self.size, self.group, precision

    def energy(self, x):
        """Return minus the log weight of states `x` under this layer alone.

        Parameters
        ----------
        x : array-like of shape (n_rows, size)

        Returns
        -------
        ndarray of shape (n_rows,), float64
        """
        x = self.states_of(x, "x")
        return -layer_log_weight(engine.Chain([self.kernel_layer()], []), 0, x)

    def moments(self, x):
        """Return minus the derivative of the energy by each own parameter, averaged over rows."""
        return {"bias": dense(self.states_of(x, "x")).astype(np.float64).mean(axis=0)}

    @abstractmethod
    def fitted_to(self, mean, variance, n_rows):
        """Return this layer with the parameters that fit independent units to the data.

        Parameters
        ----------
        mean, variance : ndarray of shape (size,), float64
            Moments of the data by column.
        n_rows : int
            Number of rows, for smoothing.
        """

    @abstractmethod
    def field_of(self, mean):
        """Return fields whose means are `mean`: the inverse of :meth:`mean`, within float32."""

    @abstractmethod
    def check(self, states, name="X"):
        """Raise ValueError unless every value is one that these units can take."""

    def missing(self, states):
        """Return a bool mask of entries that say "missing", or None where there are none."""

    def is_state(self, states):
        """Tell whether the values are states, not means between states."""
        values = states.values if isinstance(states, CompressedRows) else states
        return values.dtype == np.uint8 or bool((values == np.rint(values)).all())


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

    kind = KIND_BINARY

    def __init__(self, size=None, *, bias=None, n_copies=1):
        super().__init__(size, bias=bias)
        check_integer(n_copies, "n_copies", most=8)
        self.n_copies = int(n_copies)

    def options(self):
        """Return the settings that are not parameters."""
        return {} if self.n_copies == 1 else {"n_copies": self.n_copies}

    def field_of(self, mean):
        """Return log odds, within +-80."""
        p = np.asarray(mean, np.float64) / self.n_copies
        with np.errstate(divide="ignore"):
            return np.clip(np.log(p) - np.log1p(-p), -80.0, 80.0).astype(np.float32)

    def fitted_to(self, mean, variance, n_rows):
        """Return the layer whose bias is the log odds of the data, smoothed by half a count."""
        p = (np.asarray(mean) * n_rows / self.n_copies + 0.5) / (n_rows + 1.0)
        return self.replace(bias=np.log(p / (1.0 - p)))

    def check(self, states, name="X"):
        """Raise ValueError unless every value lies in [0, n_copies]."""
        low, high = _bounds(states)
        _check_finite(low, high, name)
        if not (low >= 0 and high <= self.n_copies):
            value = high if not high <= self.n_copies else low
            raise ValueError(
                f"{name} must have values in [0, {self.n_copies}] for binary units, got {value:g}; "
                "scale grey values to [0, 1] (for bytes: X / 255), threshold them, or use "
                "visible='gaussian' for real values"
            )


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

    kind = KIND_GAUSSIAN
    state_dtype = np.float32

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
        self.log_precision = _vector(log_precision, self.size, "log_precision")
        if np.abs(self.log_precision).max() > MAX_LOG_PRECISION:
            raise ValueError(
                f"log_precision must lie within +-{MAX_LOG_PRECISION:g}, got "
                f"{self.log_precision[np.abs(self.log_precision).argmax()]:g}; standardize the "
                "columns"
            )
        self.precision = np.exp(self.log_precision)
        self.precision.flags.writeable = False

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

    def field_of(self, mean):
        """Return precision times mean."""
        return np.asarray(mean, np.float32) * self.precision

    def fitted_to(self, mean, variance, n_rows):
        """Return the layer with the data's mean and, where it is learned, its variance.

        Columns that (almost) never vary get a floor, so that no precision is infinite.
        """
        variance = np.asarray(variance, np.float64)
        if not self.learn_precision:
            return self.replace(bias=mean * self.precision)
        scale = variance.mean() + 1e-12 * np.square(mean).mean()
        floor = 1e-4 * scale if scale > 0 else 1.0
        log_precision = -np.log(np.maximum(variance, floor))
        return self.replace(log_precision=log_precision, bias=mean * np.exp(log_precision))

    def check(self, states, name="X"):
        """Raise ValueError where a value is not finite or beyond float32."""
        low, high = _bounds(states)
        _check_finite(low, high, name)
        if max(abs(low), abs(high)) > LARGEST_VALUE:
            raise ValueError(
                f"{name} must lie within +-1e12 for Gaussian units, got {low:g} to {high:g}; "
                "standardize the columns"
            )

    def is_state(self, states):
        """Every real number is a state."""
        return True


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

    kind = KIND_SOFTMAX
    can_be_missing = True

    def __init__(self, n_categories, size=None, *, bias=None):
        check_integer(n_categories, "n_categories", 2)
        super().__init__(size, bias=bias)
        self.group = int(n_categories)
        if self.size is not None and self.size % self.group:
            raise ValueError(
                f"softmax units of {self.group} categories need a multiple of {self.group} "
                f"columns, got {self.size}; encode each variable as {self.group} one-hot columns"
            )

    def options(self):
        """Return the settings that are not parameters."""
        return {"n_categories": self.group}

    def missing(self, states):
        """Return the mask of the columns of all-zero groups, or None."""
        rows = dense(states)
        absent = ~rows.reshape(len(rows), self.size // self.group, self.group).any(axis=2)
        return np.repeat(absent, self.group, axis=1) if absent.any() else None

    def field_of(self, mean):
        """Return log probabilities, at least -80."""
        return np.log(np.maximum(mean, np.exp(-80.0))).astype(np.float32)

    def fitted_to(self, mean, variance, n_rows):
        """Return the layer whose bias is the log frequency, smoothed by one count a group."""
        p = np.asarray(mean) * n_rows + 1.0 / self.group
        p = p.reshape(-1, self.group)
        p = p / p.sum(axis=1, keepdims=True)
        return self.replace(bias=np.log(p).reshape(-1))

    def check(self, states, name="X"):
        """Raise ValueError unless each group is a distribution, a one-hot state or all zero."""
        low, high = _bounds(states)
        _check_finite(low, high, name)
        if not (low >= 0 and high <= 1):
            value = high if not high <= 1 else low
            raise ValueError(
                f"{name} must have values in [0, 1] for softmax units, got {value:g}; encode each "
                f"variable as {self.group} one-hot columns"
            )
        totals = dense(states).reshape(-1, self.group).sum(axis=1, dtype=np.float64)
        bad = (np.abs(totals - 1.0) > 1e-3) & (totals != 0.0)
        if bad.any():
            raise ValueError(
                f"{name} must have one 1 in each group of {self.group} columns (or none, where "
                f"the variable is missing), got a group with sum {totals[bad][0]:g}"
            )


def as_units(value, name="units"):
    """Turn ``"binary"``, ``"gaussian"`` or a Units object into Units."""
    if isinstance(value, Units):
        return value
    named = {"binary": Binary, "gaussian": Gaussian}
    if not isinstance(value, str) or value not in named:
        raise ValueError(
            f"{name} must be 'binary', 'gaussian' or a Units object such as dg.Softmax(5), got "
            f"{value!r}"
        )
    return named[value]()
