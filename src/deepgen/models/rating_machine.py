"""Machines of ratings: softmax units that a row has or lacks, and binary hidden units."""

import numpy as np

from deepgen.checks import check_instance, float32_array
from deepgen.layers.binary import Binary
from deepgen.layers.softmax import Softmax
from deepgen.models.boltzmann_machine import BoltzmannMachine
from deepgen.models.parameters import WritableArrays
from deepgen.rows.scale import Scale

# Kernels sum over hidden units in so many lanes: their arrays have a multiple of it.
LANES = 16


class RatingMachine:
    """A Boltzmann machine of ratings (Salakhutdinov, Mnih & Hinton 2007); plain data.

    A row has the columns j of its pattern alone, such as the films that a user has rated, each with
    a value v_j of the scale::

        E(v, h) = - sum_j (b[j, v_j] + sum_f (W[j, v_j, f] + D[j, f]) h_f) - sum_f c_f h_f

    D, the conditional weights, let hidden units see *that* a column is there, whatever its value.
    A model never changes: :meth:`replace` makes another one.

    Parameters
    ----------
    weights : array-like of shape (n_columns, n_values, n_hidden)
        W.
    bias : array-like of shape (n_columns, n_values)
        b.
    hidden_bias : array-like of shape (n_hidden,)
        c.
    scale : Scale
        What the values mean.
    conditional : array-like of shape (n_columns, n_hidden) or None
        D. None: zero.
    known_means : array-like of shape (n_known, n_hidden) or None
        Means of the hidden units of the rows that the machine was fitted on, by which it answers
        about them. None: of no rows.

    Attributes
    ----------
    weights, bias, hidden_bias, conditional, known_means : ndarray, float32, read-only

    Raises
    ------
    ValueError
        If shapes do not fit, or a value is not finite.
    """

    def __init__(
        self, weights, bias, hidden_bias, scale, *, conditional=None, known_means=None
    ):  # fmt: skip
        check_instance(scale, "scale", Scale, "a deepgen.rows.scale.Scale")
        arrays = {"weights": float32_array(weights, "weights")}
        arrays["bias"] = float32_array(bias, "bias")
        arrays["hidden_bias"] = float32_array(hidden_bias, "hidden_bias")
        shape = arrays["weights"].shape
        if len(shape) != 3 or 0 in shape or shape[1] != scale.n_values:
            raise ValueError(
                f"weights must have shape (n_columns, {scale.n_values}, n_hidden), got {shape}"
            )
        n_columns, n_values, n_hidden = shape
        if known_means is None:
            known_means = np.empty((0, n_hidden), np.float32)
        arrays["known_means"] = float32_array(known_means, "known_means")
        expected = {
            "bias": (n_columns, n_values), "hidden_bias": (n_hidden,),
            "known_means": (len(arrays["known_means"]), n_hidden),
        }  # fmt: skip
        if conditional is not None:
            arrays["conditional"] = float32_array(conditional, "conditional")
            expected["conditional"] = (n_columns, n_hidden)
        for name, shape in expected.items():
            if arrays[name].shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {arrays[name].shape}")
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{name} must be finite, but contains NaN, inf or values beyond float32"
                )
        self.scale, self.n_hidden = scale, n_hidden
        # kept as kernels read them, rounded up to whole lanes; what users see are views
        self._wide = {
            name: widened(array) if name != "bias" else np.array(array)
            for name, array in arrays.items()
        }
        self._floats = scale.floats
        for array in self._wide.values():
            array.flags.writeable = False

    def __repr__(self):
        return (
            f"RatingMachine({self.n_columns} columns, {self.n_values} values, "
            f"{self.n_hidden} hidden units)"
        )

    def __reduce__(self):
        return _rebuilt, (self.arrays(), self.scale)

    @property
    def n_columns(self):
        """Number of columns."""
        return self._wide["bias"].shape[0]

    @property
    def n_values(self):
        """Number of values of the scale."""
        return self._wide["bias"].shape[1]

    @property
    def n_known(self):
        """Number of rows that the machine knows by their hidden means."""
        return len(self._wide["known_means"])

    @property
    def weights(self):
        """W, (n_columns, n_values, n_hidden)."""
        return self._wide["weights"][..., : self.n_hidden]

    @property
    def bias(self):
        """Return b, (n_columns, n_values)."""
        return self._wide["bias"]

    @property
    def hidden_bias(self):
        """Return c, (n_hidden,)."""
        return self._wide["hidden_bias"][: self.n_hidden]

    @property
    def conditional(self):
        """D, (n_columns, n_hidden), or None."""
        wide = self._wide.get("conditional")
        return None if wide is None else wide[:, : self.n_hidden]

    @property
    def known_means(self):
        """Hidden means of known rows, (n_known, n_hidden)."""
        return self._wide["known_means"][:, : self.n_hidden]

    @property
    def wide_known_means(self):
        """The same as kernels read them, rounded up to whole lanes."""
        return self._wide["known_means"]

    def arrays(self):
        """Return all arrays by name, float32 and of their own shapes."""
        names = ("weights", "bias", "hidden_bias", "conditional", "known_means")
        arrays = {name: getattr(self, name) for name in names}
        return {n: np.ascontiguousarray(a) for n, a in arrays.items() if a is not None}

    @property
    def kernel_form(self):
        """(weights, bias, hidden bias, conditional, scale, n_hidden) as kernels read them."""
        wide = self._wide
        return (
            wide["weights"], wide["bias"], wide["hidden_bias"], wide.get("conditional"),
            self._floats, self.n_hidden,
        )  # fmt: skip

    def of_row(self, columns):
        """Return the machine of rows that have these columns: an ordinary one of two layers.

        All that is there for machines goes with it: exact likelihoods, :func:`deepgen.ais`,
        samples. Its states are one-hot, ``n_values`` columns for each of `columns`.

        Parameters
        ----------
        columns : array-like of int
            Without repetition.

        Returns
        -------
        BoltzmannMachine
            Its hidden bias is ``c + sum_j D[j]``.
        """
        columns = np.asarray(columns, np.int64)
        bias = self.hidden_bias.astype(np.float64)
        if self.conditional is not None:
            bias = bias + self.conditional[columns].sum(axis=0, dtype=np.float64)
        layers = [
            Softmax(self.n_values, bias=self.bias[columns].reshape(-1)),
            Binary(bias=bias),
        ]
        return BoltzmannMachine(layers, [self.weights[columns].reshape(-1, self.n_hidden)])

    def replace(self, **arrays):
        """Return a machine with some arrays replaced, by name; ``conditional=None`` drops it."""
        return RatingMachine(scale=self.scale, **{**self.arrays(), **arrays})


def _rebuilt(arrays, scale):
    return RatingMachine(scale=scale, **arrays)


def widened(array):
    """Return a float32 copy whose last axis is rounded up to whole lanes, by zeros."""
    width = -(-array.shape[-1] // LANES) * LANES
    wide = np.zeros((*array.shape[:-1], width), np.float32)
    wide[..., : array.shape[-1]] = array
    return wide


class RatingParameters(WritableArrays):
    """Writable copies of a rating machine's parameters, as kernels change them in place.

    Parameters
    ----------
    machine : RatingMachine

    Attributes
    ----------
    machine : RatingMachine
        The starting point: its scale is kept.
    points : ndarray of shape (n_values,), float32
        The scale in the unit of the loss; see :attr:`Scale.points`.
    """

    def __init__(self, machine):
        self.machine = machine
        names = ("weights", "bias", "hidden_bias", "conditional")
        arrays = {name: getattr(machine, name) for name in names}
        self._arrays = {
            name: np.array(array) if name == "bias" else widened(array)
            for name, array in arrays.items()
            if array is not None
        }
        self.points = machine.scale.points

    def __getstate__(self):
        return self.machine, self.snapshot()

    def __setstate__(self, state):
        self.__init__(state[0])
        self.restore(state[1])

    @property
    def weights(self):
        """The weights alone, as a list: their largest is watched."""
        return [self._arrays["weights"]]

    def learned(self):
        """Return the arrays that training changes, by name."""
        return self._arrays

    @property
    def kernel_form(self):
        """As :attr:`RatingMachine.kernel_form`, but writable, and with the points of the scale."""
        names = ("weights", "bias", "hidden_bias", "conditional")
        arrays = (self._arrays.get(name) for name in names)
        return (*arrays, self.points, self.machine.n_hidden)

    def to_machine(self, arrays=None, known_means=None):
        """Return a machine with these parameters, or with `arrays` in their place."""
        n_hidden = self.machine.n_hidden
        arrays = self.learned() if arrays is None else arrays
        own = {n: a if n == "bias" else a[..., :n_hidden] for n, a in arrays.items()}
        return RatingMachine(scale=self.machine.scale, known_means=known_means, **own)
