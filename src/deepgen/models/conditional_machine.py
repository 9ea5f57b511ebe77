"""Machines whose biases come from the past: one machine for each frame of a sequence."""

import numpy as np

from deepgen.checks import check_instance, float32_array, has_role, shown
from deepgen.layers.context import Context
from deepgen.models.boltzmann_machine import BoltzmannMachine, next_version
from deepgen.models.linear_map import LinearMap
from deepgen.models.parameters import Parameters, WritableArrays
from deepgen.models.recurrences import Recurrence
from deepgen.runtime.work import ANY_WORK


class ConditionalMachine:
    """A machine of two layers, and a recurrence that gives its biases frame by frame.

    ``p(v_1, ..., v_T) = prod_t p(v_t | u_(t-1))``, where ``p(. | u)`` is the machine with ``u A``
    added to its visible biases and ``u B`` to its hidden ones, and u the state that the frames
    before leave. A model never changes: :meth:`replace` makes another one.

    Parameters
    ----------
    machine : BoltzmannMachine
        Two layers; those of the visible one must not have rows with their own number of draws.
    recurrence : Window, Recurrent or HiddenMeans
        With A, ``visible_weights``, and B, ``hidden_weights``.

    Attributes
    ----------
    version : int
        Different for every set of parameters in this process.

    Raises
    ------
    ValueError
        If the machine has other than two layers, or shapes do not fit.
    """

    def __init__(self, machine, recurrence):
        check_instance(machine, "machine", BoltzmannMachine, "a dg.BoltzmannMachine")
        if machine.n_layers != 2 or any(units.takes_trials for units in machine.layers):
            raise ValueError(
                "machine must have two layers whose rows have no number of draws of their own, "
                f"got {machine!r}"
            )
        if not has_role(recurrence, Recurrence):
            raise TypeError(
                "recurrence must be a dg.Window, dg.Recurrent or dg.HiddenMeans, got "
                f"{shown(recurrence)}"
            )
        recurrence.check(machine)
        self.machine, self.recurrence, self.version = machine, recurrence, next_version()

    def __repr__(self):
        return f"ConditionalMachine({self.machine!r}, {self.recurrence!r})"

    @property
    def layers(self):
        """Layers of the machine."""
        return self.machine.layers

    @property
    def n_visible(self):
        """Columns of a frame."""
        return self.machine.layers[0].size

    @property
    def n_state(self):
        """Numbers that a state has."""
        return self.recurrence.n_state

    def replace(self, *, machine=None, recurrence=None):
        """Return a model with another machine or recurrence."""
        return ConditionalMachine(
            self.machine if machine is None else machine,
            self.recurrence if recurrence is None else recurrence,
        )

    def parameters(self):
        """Return the machine's arrays as the functions over recurrences read them."""
        return Parameters(self.machine)


class ConditionalParameters(WritableArrays):
    """Writable copies of the parameters of a conditional machine.

    Parameters
    ----------
    model : ConditionalMachine

    Attributes
    ----------
    machine : Parameters
    recurrence : Window, Recurrent or HiddenMeans
        On arrays that training changes in place.
    """

    def __init__(self, model):
        self.model = model
        self.machine = Parameters(model.machine, packed=True)
        self.recurrence = model.recurrence.writable()

    def __getstate__(self):
        return self.model, self.snapshot()

    def __setstate__(self, state):
        self.__init__(state[0])
        self.restore(state[1])

    @property
    def layers(self):
        """Layers of the machine."""
        return self.machine.layers

    @property
    def weights(self):
        """All matrices: their largest entry is watched."""
        arrays = self.recurrence.arrays().values()
        return [*self.machine.weights, *(array for array in arrays if array.ndim == 2)]

    def learned(self):
        """Return the arrays that training changes, by name; "recurrence." begins those of it."""
        arrays = self.recurrence.arrays()
        return self.machine.learned() | {f"recurrence.{name}": a for name, a in arrays.items()}

    def refresh(self, n_threads=None):
        """Recompute what is derived: precisions and packed weights."""
        self.machine.refresh(n_threads)

    def restore(self, arrays):
        """Put back what :meth:`snapshot` returned."""
        super().restore(arrays)
        self.refresh()

    def to_model(self, arrays=None):
        """Return a model with these parameters, or with `arrays` in their place."""
        arrays = self.learned() if arrays is None else arrays
        own = {name: arrays[f"recurrence.{name}"] for name in self.recurrence.arrays()}
        recurrence = self.model.recurrence.replace(**own)
        return ConditionalMachine(self.machine.to_model(arrays), recurrence)


def biases_of(recurrence, before, *, work=ANY_WORK):
    """Return what states add to the biases of both layers, as a context.

    Parameters
    ----------
    recurrence : Window, Recurrent or HiddenMeans
    before : ndarray of shape (n_frames, n_state), float32
        The state that each frame finds.
    work : Work

    Returns
    -------
    Context
        With bias rows ``before @ visible_weights`` of layer 0, ``before @ hidden_weights`` of 1.
    """
    weights = (recurrence.visible_weights, recurrence.hidden_weights)
    return Context(
        bias_rows={l: LinearMap(matrix).up(before, work=work) for l, matrix in enumerate(weights)}
    )


def check_conditional(model, name="model"):
    """Raise TypeError unless `model` is a :class:`ConditionalMachine`."""
    check_instance(model, name, ConditionalMachine, "a dg.ConditionalMachine")


def states_at(model, states, n_sequences):
    """Return initial states as float32 of shape (n_sequences, n_state), or None.

    Parameters
    ----------
    model : ConditionalMachine
    states : array-like or None
    n_sequences : int

    Raises
    ------
    ValueError
        If the shape is another, or a value is no finite number.
    """
    if states is None:
        return None
    states = float32_array(states, "initial_state")
    if states.shape != (n_sequences, model.n_state):
        raise ValueError(
            f"initial_state must have shape ({n_sequences}, {model.n_state}), a row for each "
            f"sequence, got {states.shape}"
        )
    if not np.isfinite(states).all():
        raise ValueError("initial_state must be finite, but contains NaN or inf")
    return states
