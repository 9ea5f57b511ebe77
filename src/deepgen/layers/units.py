"""Unit types: what a layer means.

A layer is an exponential family in its field (docs/math.md, section "Units"). Nobody asks which
type it is: a type answers what others want to know of it, and `tests/test_units_answer.py` lists
the files that name one. CONTRIBUTING, "Add a unit type", says what a new one touches.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy

from deepgen._kernels import engine
from deepgen.checks import (
    MOST_ROWS,
    RefusedValue,
    check_instance,
    check_integer,
    first_place,
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
from deepgen.rows.holes import check_holes, filled, holes_in
from deepgen.rows.states import CompressedRows, as_states, dense
from deepgen.runtime.stream import DATA, Stream

# Real values beyond this are refused: they were never standardized.
LARGEST_VALUE = 1e12
# So far outside of [0, largest state], as a share of it, a value is there by rounding: 4 steps of
# float32. A scaler that brings a column to [0, 1] leaves some of its values 1 or 2 steps outside.
ROUNDING = 4 * 2.0**-23


# No probability of a value that is to be judged is taken to be smaller.
LEAST = 1e-6


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


def check_range(states, name, low=-math.inf, high=math.inf, *, expected="", remedy=""):
    """Raise RefusedValue at the first value that is not finite or not in [low, high].

    Rounding is forgiven: :data:`ROUNDING` beyond the ends, relative to `high`.

    Parameters
    ----------
    states : states
    name : str
        What messages call them.
    low, high : float
    expected, remedy : str
        For the message about a value that is finite and outside.
    """
    in_bytes = isinstance(states, np.ndarray) and states.dtype == np.uint8
    if in_bytes and low <= 0:  # finite, and not negative
        is_read = states.flags.c_contiguous  # by kernels, as rows that are asked about one by one
        if (engine.largest_byte(states) if is_read else states.max(initial=0)) <= high:
            return
    least, most = value_range(states)
    slack = ROUNDING * high if math.isfinite(high) else 0.0
    finite = np.isfinite(least) and np.isfinite(most)
    if finite and low - slack <= least and most <= high + slack:
        return
    if finite:
        row, column, value = _first_value(states, lambda x: (x < low - slack) | (x > high + slack))
        raise RefusedValue(name, expected, value, row, column, remedy)
    row, column, value = _first_value(states, lambda x: ~np.isfinite(x))
    if np.isnan(value):
        remedy = "remove such rows, or complete them with impute or dg.Imputer"
    else:
        remedy = "remove such rows, or scale values that are beyond float32"
    raise RefusedValue(name, "be finite", value, row, column, remedy)


def _first_value(states, is_bad):
    """Return (row, column, value) of the first entry, row by row, that a function calls bad."""
    if isinstance(states, CompressedRows):
        entry = int(is_bad(states.values).argmax())
        row = int(np.searchsorted(states.starts, entry, side="right")) - 1
        return row, int(states.indices[entry]), states.values[entry]
    row, column = first_place(is_bad(states))
    return row, column, states[row, column]


def value_at(X, row, column):
    """Return an entry of an array or a sparse matrix as it was given."""
    if isinstance(X, CompressedRows):
        return X.to_dense()[row, column]
    return X.tocsr()[row, column] if scipy.sparse.issparse(X) else np.asarray(X)[row, column]


class LayerForm(NamedTuple):
    """A layer without its parameters: two layers of one form can stand for each other."""

    type: type
    size: int | None
    n_copies: int
    group: int


class Alternatives(NamedTuple):
    """The states that a site can take: a unit by itself, or a group of columns.

    Attributes
    ----------
    states : csr_array of shape (n_states, group)
        A row for each state, of the layer's state type.
    log_measure : ndarray of shape (n_states,), float64
        Logs of the base measure.
    """

    states: "scipy.sparse.csr_array"
    log_measure: np.ndarray


class ComponentSums(NamedTuple):
    """Sums over rows by column and component of a mixture: what the M-step reads.

    Attributes
    ----------
    known : ndarray of shape (size, n_components), float64
        Of responsibilities, over the rows in which the column is known.
    sums : ndarray of shape (size, n_components), float64
        Of these times the values.
    squares : ndarray of shape (size,), float64
        Of squared values, over the rows in which they are known.
    """

    known: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    def of_columns(self, columns):
        """Return the sums of a slice of the columns."""
        return ComponentSums(*(array[columns] for array in self))


def both_in_words(one, other):
    """Return "both Gaussian" of two layers of one type, "Gaussian and Poisson" of two."""
    names = [type(units).__name__ for units in (one, other)]
    return f"both {names[0]}" if names[0] == names[1] else " and ".join(names)


def lone_chain(units):
    """Return a layer alone, as the kernels read it: no neighbours, bias zero.

    So the bias rows of a pass are its whole field.
    """
    layer = units.kernel_layer()
    return engine.Chain([(*layer[:3], np.zeros_like(units.bias), layer[4])], [])


def log_ratio_chain(bias, precision=None):
    """Return a layer for the kernels whose log weight is ``bias x - precision x^2 / 2``.

    That is the log ratio of two layers of one form, from the differences of their natural
    parameters: their base measures are the same, and cancel.
    """
    return engine.Chain([(engine.KINDS["linear"], 1, 1, bias, precision)], [])


class Units(ABC):
    """A layer: its size, its bias and its own parameters; knows nothing of its neighbours.

    Without a size or a bias it is a description ("binary units, as many as there are
    columns"); :meth:`sized` makes the layer.

    A site is what takes its state by itself: a unit, or a group of columns of which one state
    says all. What other files need to know of a type they ask here. A new type must answer
    `kind`, `state_dtype`, `n_states`, `largest_state`, `usual_rate`, :meth:`variance`,
    :meth:`fitted_to`, :meth:`field_of` and :meth:`check`; the other answers have a default that
    is right, or an error, for a type that says nothing.

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
    kind : int
        Number of the kernels' case, one of ``engine.KINDS``. Of mixed units a tuple of what the
        kernels read of each part.
    state_dtype : type
        ``np.uint8`` for whole numbers from 0 on, which kernels read as bytes and multiply with
        fixed-point weights; ``np.float32`` for any others.
    n_states : int or float
        How many states a site can take; ``math.inf`` where they cannot be counted: such a layer
        has no :meth:`alternatives`, so no enumeration and no pseudo-likelihood.
    largest_state : int or float
        Largest absolute value of a state; ``math.inf`` where there is no bound.
    usual_rate : float
        Learning rate of a machine that works untuned (docs/decisions.md); the lowest one of its
        layers counts.
    group : int
        Columns of a site, of mixed units the widest one. Their means belong together; all of them
        are missing or none.
    n_copies : int
        Tied copies of each unit whose sum a state is.
    precision : ndarray of shape (size,), float32, or None
        The second natural parameter, of ``-x^2 / 2``, where a type has one; ``log_precision``
        is then one of its :meth:`parameters`.
    learn_precision : bool
        Whether training changes it in the lowest layer of a machine.
    learned_precisions : ndarray of shape (size,), bool, or None
        Of which columns it does, if not of all.
    activation : str or None
        Activation of a network layer whose output is the mean, given the field (divided by the
        precision where there is one). None: no network stands for such units.
    is_bernoulli : bool
        Whether each unit is 0 or 1 by itself. A value in between is then the probability of a 1:
        grey values can be drawn as bits, means can be rows of a machine above, and hidden units
        can change places with visible ones.
    hidden_bias : float or None
        Bias that hidden units start from. None: zero, or as they were given.
    can_tie : bool
        Whether the sum of several copies is a layer of this type too; see :meth:`tied`.
    can_be_missing : bool
        Whether a state says that a variable is missing; see :meth:`missing`.
    takes_trials : bool
        Whether each row has a number of draws that its units share (``Context.trials``), such as
        the words of a document.
    gain : ndarray of shape (size,), float32, or None
        Factor on the gradients by the bias and the weights, where a type's states are far from 1:
        the precisions, or how many draws a row has.
    usual_trials : int
        Draws of a row whose number nobody tells, of units that take trials; 1 of all others.
    can_mix : bool
        Whether the layer can be the columns of a mixture. It then answers
        :meth:`column_log_normalizers`, :meth:`inner_mean`, :meth:`components` and
        :meth:`value_scores`.
    limits : tuple of (float, float) or None
        Smallest and largest value of rows, where :meth:`check` forgives rounding beyond them and
        :meth:`clipped` takes it back. None: nothing is forgiven.
    """

    group = n_copies = 1
    precision = None
    learn_precision = False
    learned_precisions = None
    activation = None
    is_bernoulli = False
    hidden_bias = None
    can_tie = False
    can_be_missing = takes_trials = can_mix = False
    limits = None
    usual_trials = 1

    @property
    def gain(self):
        """Factor on gradients by bias and weights, or None."""
        return None if self.precision is None else self.precision.copy()

    size = bias = None  # until the constructor has checked them

    @property
    @abstractmethod
    def kind(self):
        """Number of the kernels' case; a class attribute will do, of this and the next ones."""

    @property
    @abstractmethod
    def state_dtype(self):
        """Type of the states, ``np.uint8`` or ``np.float32``."""

    @property
    @abstractmethod
    def n_states(self):
        """How many states a site can take."""

    @property
    @abstractmethod
    def largest_state(self):
        """Largest absolute value of a state."""

    @property
    @abstractmethod
    def usual_rate(self):
        """Learning rate of a machine that works untuned."""

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

    @property
    def n_sites(self):
        """How many sites the layer has."""
        return self.size // self.group

    @property
    def widths(self):
        """How many columns each site has."""
        return np.full(self.n_sites, self.group)

    @property
    def placed_parts(self):
        """Columns of one type each, from the first one on: tuples (slice, units).

        A layer of one type is its only part. Who needs the sites of a layer one by one asks its
        parts, whose sites are alike.
        """
        return ((slice(0, self.size), self),)

    @property
    def is_bounded(self):
        """Whether states lie between two numbers.

        Weights between two layers without bounds need not leave a model normalizable, and states
        without bounds can run away while a model learns.
        """
        return math.isfinite(self.largest_state)

    def options(self):
        """Return the settings that are not parameters, as plain data."""
        return {}

    def parameters(self):
        """Return the layer's parameters by name (float32 vectors)."""
        return {"bias": self.bias}

    def measures(self):
        """Return options that were measured of the rows by :meth:`fitted_to`, by name.

        A run that goes on has to have them again.
        """
        return {}

    def replace(self, **parameters):
        """Return the same layer with other parameters."""
        return type(self)(**{**self.options(), **self.parameters(), **parameters})

    def sized(self, size):
        """Return a layer of `size` units, bias zero, with this layer's options."""
        check_integer(size, "size")
        if self.size is not None and self.size != size:
            raise ValueError(f"{self!r} has {self.size} units, but {size} are needed")
        return self if self.size is not None else type(self)(size=size, **self.options())

    def of_columns(self, columns):
        """Return the layer of some of the columns: units of one type do not know each other.

        Parameters
        ----------
        columns : array-like of int
            Ascending; one at least.

        Raises
        ------
        ValueError
            If they are not whole groups, or the columns share a number of draws.
        """
        columns = np.asarray(columns, np.int64)
        groups = columns // self.group
        whole = np.bincount(groups)[groups] == self.group
        if self.takes_trials or not whole.all():
            raise ValueError(
                f"columns must be whole groups, of units that do not share draws, got {columns} "
                f"of {self!r}"
            )
        return self.replace(**{name: x[columns] for name, x in self.parameters().items()})

    def with_learned_scale(self, learned):
        """Return these units with a scale of their own that training changes, or leaves.

        Units that have none are the same in both cases.
        """
        return self

    def tied(self, n_copies):
        """Return the layer whose state is the sum of so many copies of this one, given one field.

        Raises
        ------
        ValueError
            If a sum of copies is no layer of this type (`can_tie`).
        """
        if n_copies == 1:
            return self
        raise ValueError(f"{self!r} cannot have {n_copies} tied copies: no units are their sum")

    def untied(self, n_copies):
        """Return the layer that :meth:`tied` made this one of."""
        return self.tied(n_copies)  # one copy is the layer itself; else there is none

    def kernel_layer(self):
        """Return (kind, largest state, group, bias, precision) for ``Chain``."""
        return self.kind, self._kernel_copies, self.group, self.bias, self.precision

    @property
    def _kernel_copies(self):
        """The number that kernels call copies: the largest state, 1 where there is no bound."""
        return int(self.largest_state) if self.is_bounded else 1

    def check_width(self, x, name="X"):
        """Raise ValueError unless `x` is (n_rows, size)."""
        if self.size is None:
            raise ValueError(f"{self!r} has no size yet; make a layer of it with .sized(n)")
        shape = x.shape if type(x) is np.ndarray else np.shape(x)
        if len(shape) != 2 or shape[1] != self.size:
            raise ValueError(f"{name} must have shape (n_rows, {self.size}), got {shape}")

    def states_of(self, X, name="X", *, holes=False):
        """Return rows as states that kernels read, after a check of their width and values.

        Rounding beyond the ends of :attr:`limits` is taken back.

        Parameters
        ----------
        X : array-like, sparse matrix or states of shape (n_rows, size)
        name : str
            What messages call the rows.
        holes : bool, default False
            Let NaN pass, in floats: a value that is not known.
        """
        states = as_states(X, name)
        self.check_width(states, name)
        in_bytes = type(states) is np.ndarray and states.dtype == np.uint8
        try:
            if holes and not in_bytes:
                self.check_with_holes(states, name)
            else:
                self.check(states, name)
        except RefusedValue as error:
            raise error.at(error.row, partial(value_at, X)) from None
        return states if in_bytes else self.clipped(states)

    def check_with_holes(self, states, name="X"):
        """Raise RefusedValue as :meth:`check` does, but let NaN pass: a value that is not known.

        Of a group of columns all are known or none.
        """
        holes = holes_in(states)
        check_holes(states, holes, self.group, name)
        self.check(filled(states, holes), name)

    def clipped(self, states):
        """Return checked states without rounding beyond :attr:`limits`; good ones are not copied.

        Parameters
        ----------
        states : states
        """
        values = states.values if isinstance(states, CompressedRows) else states
        if self.limits is None or values.dtype == np.uint8 or not values.size:
            return states
        low, high = self.limits
        if low <= values.min() and values.max() <= high:
            return states
        values = np.clip(values, np.float32(low), np.float32(high))
        return replace(states, values=values) if isinstance(states, CompressedRows) else values

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
        return segments_log_normalizer(self.kernel_segments(), field)

    def kernel_segments(self):
        """Return [(kind, largest state, size, group, float64 precision)] for exact kernels."""
        precision = None if self.precision is None else self.precision.astype(np.float64)
        return [(self.kind, self._kernel_copies, self.size, self.group, precision)]

    def alternatives(self):
        """Return the states that a site can take, where they can be counted.

        Returns
        -------
        Alternatives

        Raises
        ------
        ValueError
            If `n_states` is infinite.
        """
        raise ValueError(f"the states of {self!r} cannot be listed")

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

    # --- the columns of a mixture, of types that can be (`can_mix`) -----------------------------

    def column_log_normalizers(self, field):
        """Return the terms of :meth:`log_normalizer` by column, in float64.

        Parameters
        ----------
        field : array-like of shape (n_rows, size)

        Returns
        -------
        ndarray of shape (n_rows, size), float64
            That of a group in its first column, with zeros in the others.
        """
        raise self._no_mixture()

    def inner_mean(self, mean, n_rows):
        """Return means of the data as means that fields can have, smoothed by `n_rows` rows."""
        raise self._no_mixture()

    def components(self, found, mean, strength):
        """Return units and fields of all components of largest posterior density: the M-step.

        This layer is the one that fits independent columns (:meth:`fitted_to`).

        Parameters
        ----------
        found : ComponentSums
        mean : ndarray of shape (size,)
            Of the pseudo-rows of the prior; see :meth:`inner_mean`.
        strength : float
            How many of them each component has.

        Returns
        -------
        tuple of (Units, ndarray of shape (size, n_components), float64)
        """
        raise self._no_mixture()

    def scale_log_prior(self, units, n_components, mean, strength):
        """Return log prior density minus the log density of the pseudo-rows, up to a constant.

        Without a scale the pseudo-rows are all of the prior: 0.

        Parameters
        ----------
        units : Units
            Those of a mixture; this layer is as in :meth:`components`, as are the others.
        """
        return 0.0

    def pooled(self, layers):
        """Return this layer with one scale for several layers of its form."""
        return self

    def value_scores(self, x, mean, deviation):
        """Return the log probability of values given their predicted means and deviations.

        Parameters
        ----------
        x, mean, deviation : ndarray of shape (n_rows, size)

        Returns
        -------
        ndarray of shape (n_rows, size), float64
        """
        raise self._no_mixture()

    def _no_mixture(self):
        return ValueError(f"{self!r} cannot be the columns of a mixture")

    # --- what each type answers ---------------------------------------------------------------

    @abstractmethod
    def variance(self, mean):
        """Return the variance of each unit given its field, from its mean.

        Parameters
        ----------
        mean : ndarray of shape (n_rows, size)

        Returns
        -------
        ndarray, float64
            Of the shape of `mean`, or (size,) where it is the same for all rows.
        """

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
        """Raise RefusedValue unless every value is one that these units can take.

        :func:`check_range` finds values that are not finite or outside of a range.
        """

    def missing(self, states):
        """Return a bool mask of entries that say "missing", or None where there are none."""

    def unknown_in(self, states):
        """Return a bool mask of entries that are NaN or said to be missing, None without any."""
        holes = holes_in(states)
        absent = self.missing(states) if self.can_be_missing else None
        if holes is None or absent is None:
            return absent if holes is None else holes
        return holes | absent

    def trials_of(self, states):
        """Return how many draws each row has, of units that take trials (`takes_trials`)."""
        raise ValueError(f"{self!r} has no number of trials")

    def row_weights(self, states):
        """Return how much each row counts in learning, float64 of shape (n_rows,); None: 1."""

    def inputs(self, form="counts"):
        """Return how a network reads rows of these units, :class:`CountInputs`; None: as they are.

        Parameters
        ----------
        form : {"counts", "logs", "shares"}
        """

    def target_of(self, states):
        """Return the outputs of a network that would rebuild rows without an error.

        They are the rows themselves, dense, of shape (n_rows, size), with NaN where a value is not
        known; of counts, for example, their shares.
        """
        return dense(states)

    def is_state(self, states):
        """Tell whether the values are states, not means between states."""
        values = states.values if isinstance(states, CompressedRows) else states
        return values.dtype == np.uint8 or bool((values == np.rint(values)).all())
