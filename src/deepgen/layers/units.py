"""Unit types: what a layer means.

A layer is an exponential family in its field (docs/math.md, section "Units"). CONTRIBUTING, "Add
a unit type", says what a new one touches.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import (
    MOST_ROWS,
    check_instance,
    check_integer,
    float32_array,
    real_array,
)
from deepgen.layers.passes import (
    LayerContext,
    Outputs,
    Site,
    conditional_pass,
    layer_log_weight,
    segments_log_normalizer,
)
from deepgen.rows.states import CompressedRows, as_states, dense
from deepgen.runtime.stream import DATA, Stream

# Real values beyond this are refused: they were never standardized.
LARGEST_VALUE = 1e12

KIND_BINARY, KIND_GAUSSIAN, KIND_SOFTMAX = 0, 1, 2


def as_vector(value, size, name):
    """Return parameters of `size` units (None: of as many as there are), finite and read-only."""
    value = np.array(float32_array(value, name), ndmin=1)
    if value.ndim != 1 or (size is not None and len(value) != size):
        expected = "a vector" if size is None else f"shape ({size},)"
        raise ValueError(f"{name} must have {expected}, got shape {value.shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"{name} must be finite, got {value[~np.isfinite(value)][0]}")
    value.flags.writeable = False
    return value


def check_finite(low, high, name):
    """Raise ValueError where the smallest or the largest value of states is not finite."""
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            f"{name} must be finite, but contains NaN, inf or values beyond float32; remove such "
            "rows, or complete them with impute"
        )


def value_range(states):
    """Return the smallest and the largest value, with the zeros that a sparse matrix leaves out."""
    if isinstance(states, CompressedRows):
        values = states.values
        if len(values) < states.shape[0] * states.shape[1]:
            return min(values.min(initial=0.0), 0.0), max(values.max(initial=0.0), 0.0)
        states = values
    if states.size == 0:
        return 0.0, 0.0
    return states.min(), states.max()


class LayerForm(NamedTuple):
    """A layer without its parameters: two layers of one form can stand for each other."""

    type: type
    size: int | None
    n_copies: int
    group: int


def lone_chain(units):
    """Return a layer alone, as the kernels read it: no neighbours, bias zero.

    So the bias rows of a pass are its whole field.
    """
    layer = units.kernel_layer()
    return engine.Chain([(*layer[:3], np.zeros_like(units.bias), layer[4])], [])


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
            bias = as_vector(bias, size, "bias")
            size = len(bias)
        elif size is not None:
            bias = as_vector(np.zeros(size), size, "bias")
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

    @property
    def form(self):
        """Type, size, tied copies and columns of a group, to compare layers by."""
        return LayerForm(type(self), self.size, self.n_copies, self.group)

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
        """Return rows as states that kernels read, after a check of their width and values."""
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

    def _pass(self, field, outputs, site=None):
        """Run the kernels on this layer alone: its field comes as bias rows."""
        conditional_pass(lone_chain(self), 0, [None], outputs, LayerContext(bias_rows=field), site)

    def mean(self, field):
        """Return E[x | field], float32 of the shape of `field`, (n_rows, size)."""
        field = self._checked_field(field)
        out = np.empty(field.shape, np.float32)
        self._pass(field, Outputs(out))
        return out

    def sample(self, field, stream, *, first_row=0):
        """Draw x ~ p(x | field) with the random numbers of `stream`."""
        check_instance(stream, "stream", Stream, "a dg.Stream, such as dg.Stream(0)")
        check_integer(first_row, "first_row", 0, MOST_ROWS)
        field = self._checked_field(field)
        out = np.empty(field.shape, self.state_dtype)
        self._pass(field, Outputs(sample=out), Site(stream, DATA, first_row))
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
