"""Recurrences: what the past of a sequence leaves behind, and how it is learned through time.

A recurrence is data, the arrays that make a state of each frame of those before it. The state gives
a machine its biases for the next frame (docs/math.md, "Time").
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from deepgen.checks import float32_array
from deepgen.models.linear_map import LinearMap
from deepgen.rows.sums import column_sums, weight_sums
from deepgen.runtime.work import ANY_WORK


@dataclass
class Unfolded:
    """States of a recurrence along sequences, in the order of time (`TimeOrder`).

    Attributes
    ----------
    before, after : ndarray of shape (n_frames, n_state), float32
        The state that a frame finds, and the one that it leaves. None where nobody asks for it.
    last : ndarray of shape (n_sequences, n_state), float32
        What the last frame of each sequence leaves, by number of sequence.
    """

    before: np.ndarray
    after: np.ndarray | None
    last: np.ndarray


@runtime_checkable
class Recurrence(Protocol):
    """What a :class:`ConditionalMachine` asks of its recurrence.

    Attributes
    ----------
    visible_weights : ndarray of shape (n_state, n_visible), float32
        From the state to the biases of the visible units.
    hidden_weights : ndarray of shape (n_state, n_hidden), float32
        From the state to the biases of the hidden units.
    frame_axes : dict of {str: tuple of bool}
        Of each matrix, whether its rows are columns of a frame, or of several, and whether its
        columns are.
    """

    def arrays(self):
        """Return the arrays by name, as files and training know them."""

    def check(self, machine):
        """Raise ValueError where the arrays do not fit a machine of two layers."""

    def writable(self):
        """Return the same on arrays of its own that training can change in place."""

    def first_state(self):
        """Return the state before the first frame, float32 of shape (n_state,)."""

    def unfold(self, machine, frames, steps, initial=None, *, work):
        """Return the :class:`Unfolded` states of frames in the order of time."""

    def backward(self, machine, frames, steps, unfolded, by_before, *, work):
        """Return gradients by name, of what moves the states, through time.

        Names are those of :meth:`arrays`, and of arrays of the machine that the states share.
        """


class _Arrays:
    """A recurrence that holds float32 arrays, read-only but for training.

    A class names them in `_names`, each with its number of dimensions.
    """

    _names: ClassVar[dict] = {}

    def _keep(self, arrays):
        for name, n_dimensions in self._names.items():
            array = np.array(float32_array(arrays[name], name), order="C")
            if array.ndim != n_dimensions or array.size == 0:
                raise ValueError(
                    f"{name} must have {n_dimensions} dimensions and an entry, got shape "
                    f"{array.shape}"
                )
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{name} must be finite, but contains NaN, inf or values beyond float32"
                )
            array.flags.writeable = False
            setattr(self, name, array)

    @property
    def n_state(self):
        """Numbers that a state has."""
        return len(self.visible_weights)

    def arrays(self):
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in self._names}

    def options(self):
        """Return the settings that are no arrays."""
        return {}

    def writable(self):
        """Return the same on arrays of its own that training can change in place."""
        copy = type(self)(**self.arrays(), **self.options())
        for array in copy.arrays().values():
            array.flags.writeable = True
        return copy

    def replace(self, **arrays):
        """Return the same with some arrays replaced, by name."""
        return type(self)(**{**self.arrays(), **arrays}, **self.options())

    def __reduce__(self):
        return _rebuilt, (type(self), self.arrays(), self.options())

    def _require(self, name, shape):
        array = getattr(self, name)
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")


def _rebuilt(kind, arrays, options):
    return kind(**arrays, **options)


class Window(_Arrays):
    """The state is the last frames themselves, the newest one first (Taylor et al. 2007).

    ``u_t = (v_t, v_(t-1), ..., v_(t-order+1))``; before the first frame all are zero. The visible
    weights are an autoregression. Nothing is learned through time.

    Parameters
    ----------
    visible_weights : array-like of shape (order * n_visible, n_visible)
    hidden_weights : array-like of shape (order * n_visible, n_hidden)
    """

    _names: ClassVar[dict] = {"visible_weights": 2, "hidden_weights": 2}
    frame_axes: ClassVar[dict] = {"visible_weights": (True, True), "hidden_weights": (True, False)}

    def __init__(self, visible_weights, hidden_weights):
        self._keep({"visible_weights": visible_weights, "hidden_weights": hidden_weights})

    def __repr__(self):
        return f"Window(order={self.order})"

    @property
    def order(self):
        """How many frames the state has."""
        return len(self.visible_weights) // self.visible_weights.shape[1]

    def check(self, machine):
        """Raise ValueError where the arrays do not fit a machine of two layers."""
        visible, hidden = (layer.size for layer in machine.layers)
        rows = len(self.visible_weights)
        if rows % visible:
            raise ValueError(
                f"visible_weights must have rows for whole frames of {visible} columns, got {rows}"
            )
        self._require("visible_weights", (rows, visible))
        self._require("hidden_weights", (rows, hidden))

    def first_state(self):
        """Return zeros: no frame was there."""
        return np.zeros(self.n_state, np.float32)

    def unfold(self, machine, frames, steps, initial=None, *, work=ANY_WORK):
        """Return the states of frames in the order of time; see :class:`Recurrence`."""
        width, n_sequences = frames.shape[1], len(steps.ranks)
        before = np.zeros((len(frames), self.n_state), np.float32)
        before[steps.rows(0)] = (0.0 if initial is None else initial[steps.ranks])
        for t in range(1, steps.n_steps):
            rows, past = steps.rows(t), steps.followed(t - 1)
            before[rows, :width] = frames[past]
            before[rows, width:] = before[past, :-width]
        last = np.empty((n_sequences, self.n_state), np.float32)
        last[:, :width] = frames[steps.ends]
        last[:, width:] = before[steps.ends, :-width]
        return Unfolded(before, None, last)

    def backward(self, machine, frames, steps, unfolded, by_before, *, work=ANY_WORK):
        """Return no gradients: frames are data."""
        return {}


class _Recursive(_Arrays, ABC):
    """A recurrence ``u_t = f(a + u_(t-1) A + v_t B)``; subclasses say what f, a, A and B are.

    ``f(x) = low + (1 - low) logistic(steepness x)``, by the logistic function of the kernels:
    NumPy's hyperbolic tangent has other bits on another processor.
    """

    _low: ClassVar[float]
    _steepness: ClassVar[float]

    @abstractmethod
    def _terms(self, machine):
        """Return (a, A, B), the arrays themselves."""

    @abstractmethod
    def _slope(self, after):
        """Return the derivative of f by its field, given its value."""

    @abstractmethod
    def _named(self, bias, recurrent, inputs):
        """Return gradients by a, A and B under the names of what these are."""

    def first_state(self):
        """Return the learned state before the first frame."""
        return self.initial

    def unfold(self, machine, frames, steps, initial=None, *, work=ANY_WORK):
        """Return the states of frames in the order of time; see :class:`Recurrence`."""
        work = work.reusing()
        bias, recurrent, inputs = self._terms(machine)
        low, steepness = np.float32(self._low), np.float32(self._steepness)
        # what does not depend on the past, for all frames in one pass
        field = LinearMap(inputs, bias).up(frames, work=work)
        field *= steepness
        step_on = LinearMap(steepness * recurrent, activation="logistic")
        after = np.empty((len(frames), self.n_state), np.float32)
        before = np.empty_like(after)
        rows = steps.rows(0)
        before[rows] = self.initial if initial is None else initial[steps.ranks]
        for t in range(steps.n_steps):
            rows = steps.rows(t)
            step_on.up(before[rows], rows=field[rows], out=after[rows], work=work)
            if low:
                after[rows] *= 1.0 - low
                after[rows] += low
            if t + 1 < steps.n_steps:
                before[steps.rows(t + 1)] = after[steps.followed(t)]
        return Unfolded(before, after, after[steps.ends])

    def backward(self, machine, frames, steps, unfolded, by_before, *, work=ANY_WORK):
        """Return the gradients by `initial`, a, A and B of a sum over frames.

        With ``g_t`` the gradient by the state before frame t that its biases give, and ``d_t``
        that by the field of the state after it (docs/math.md, "Time")::

            d_t = f'(u_t) (g_(t+1) + d_(t+1) A^T),   zero for the last frame of a sequence

            by A: sum u_(t-1)^T d_t    by B: sum v_t^T d_t    by a: sum d_t
            by u_0: sum over sequences of g_1 + d_1 A^T

        Parameters
        ----------
        by_before : ndarray of shape (n_frames, n_state), float32
            g, in the order of time.
        """
        work = work.reusing()
        recurrent = self._terms(machine)[1]
        step_back = LinearMap(recurrent)
        delta, total = np.zeros_like(by_before), np.array(by_before)
        slope = self._slope(unfolded.after)
        for t in range(steps.n_steps - 1, -1, -1):
            rows = steps.rows(t)
            if t + 1 < steps.n_steps:
                going_on = steps.followed(t)
                np.multiply(slope[going_on], total[steps.rows(t + 1)], out=delta[going_on])
            step_back.down(delta[rows], rows=by_before[rows], out=total[rows], work=work)
        gradients = self._named(
            column_sums(delta, work.n_threads).astype(np.float32),
            weight_sums(unfolded.before, delta, work=work),
            weight_sums(frames, delta, work=work),
        )
        first = total[steps.rows(0)]
        gradients["initial"] = column_sums(first, work.n_threads).astype(np.float32)
        return gradients


class Recurrent(_Recursive):
    """A recurrent network (RNN-RBM; Boulanger-Lewandowski, Bengio & Vincent 2012, section 4).

    ``u_t = tanh(bias + u_(t-1) recurrent_weights + v_t input_weights)``

    Parameters
    ----------
    initial, bias : array-like of shape (n_state,)
        The state before the first frame; and the network's bias.
    recurrent_weights : array-like of shape (n_state, n_state)
    input_weights : array-like of shape (n_visible, n_state)
    visible_weights : array-like of shape (n_state, n_visible)
    hidden_weights : array-like of shape (n_state, n_hidden)
    """

    _low, _steepness = -1.0, 2.0  # tanh(x) = 2 logistic(2 x) - 1
    _names: ClassVar[dict] = {
        "initial": 1, "bias": 1, "recurrent_weights": 2, "input_weights": 2,
        "visible_weights": 2, "hidden_weights": 2,
    }  # fmt: skip
    frame_axes: ClassVar[dict] = {
        "recurrent_weights": (False, False), "input_weights": (True, False),
        "visible_weights": (False, True), "hidden_weights": (False, False),
    }  # fmt: skip

    def __init__(
        self, initial, bias, recurrent_weights, input_weights, visible_weights, hidden_weights
    ):  # fmt: skip
        self._keep({
            "initial": initial, "bias": bias, "recurrent_weights": recurrent_weights,
            "input_weights": input_weights, "visible_weights": visible_weights,
            "hidden_weights": hidden_weights,
        })  # fmt: skip

    def __repr__(self):
        return f"Recurrent(n_state={self.n_state})"

    def check(self, machine):
        """Raise ValueError where the arrays do not fit a machine of two layers."""
        visible, hidden = (layer.size for layer in machine.layers)
        n_state = len(self.initial)
        for name, shape in {
            "bias": (n_state,), "recurrent_weights": (n_state, n_state),
            "input_weights": (visible, n_state), "visible_weights": (n_state, visible),
            "hidden_weights": (n_state, hidden),
        }.items():  # fmt: skip
            self._require(name, shape)

    def _terms(self, machine):
        return self.bias, self.recurrent_weights, self.input_weights

    def _slope(self, after):
        return 1.0 - after * after

    def _named(self, bias, recurrent, inputs):
        return {"bias": bias, "recurrent_weights": recurrent, "input_weights": inputs}


class HiddenMeans(_Recursive):
    """The state is the mean of the hidden units (RTRBM; Sutskever, Hinton & Taylor 2009).

    ``u_t = logistic(c + u_(t-1) hidden_weights + v_t W)``, with hidden biases c and weights W of
    the machine: they are learned through time too.

    Parameters
    ----------
    initial : array-like of shape (n_hidden,)
        The state before the first frame.
    visible_weights : array-like of shape (n_hidden, n_visible)
    hidden_weights : array-like of shape (n_hidden, n_hidden)
    """

    _low, _steepness = 0.0, 1.0
    _names: ClassVar[dict] = {"initial": 1, "visible_weights": 2, "hidden_weights": 2}
    frame_axes: ClassVar[dict] = {
        "visible_weights": (False, True), "hidden_weights": (False, False)
    }

    def __init__(self, initial, visible_weights, hidden_weights):
        self._keep({
            "initial": initial, "visible_weights": visible_weights,
            "hidden_weights": hidden_weights,
        })  # fmt: skip

    def __repr__(self):
        return f"HiddenMeans(n_state={self.n_state})"

    def check(self, machine):
        """Raise ValueError where the arrays do not fit a machine of two layers."""
        visible, hidden = (layer.size for layer in machine.layers)
        if not machine.layers[1].is_bernoulli:
            raise ValueError(
                "machine must have binary hidden units for a recurrence of their means, got "
                f"{machine.layers[1]!r}"
            )
        for name, shape in {
            "initial": (hidden,), "visible_weights": (hidden, visible),
            "hidden_weights": (hidden, hidden),
        }.items():  # fmt: skip
            self._require(name, shape)

    def _terms(self, machine):
        return machine.biases[1], self.hidden_weights, machine.weights[0]

    def _slope(self, after):
        return after * (1.0 - after)

    def _named(self, bias, recurrent, inputs):
        return {"layers[1].bias": bias, "hidden_weights": recurrent, "weights[0]": inputs}


# By the name that users and files have for it
RECURRENCES = {"window": Window, "rnn": Recurrent, "rtrbm": HiddenMeans}
