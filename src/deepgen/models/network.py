"""Feed-forward networks: layers of weights and activations, plain data.

What is computed with them is in ``backprop.py``.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import as_list, check_integer, float32_array, shown
from deepgen.layers.named import columns_of
from deepgen.models import backprop
from deepgen.models.boltzmann_machine import next_version
from deepgen.models.parameters import WritableArrays
from deepgen.rows.counts import CountInputs
from deepgen.runtime.work import Work

# Names in files and messages, and the kernels' kinds.
ACTIVATIONS = {
    "logistic": engine.KINDS["binary"], "softmax": engine.KINDS["softmax"],
    "linear": engine.KINDS["linear"], "rectified": engine.KINDS["rectified"],
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class NetworkLayer:
    """One layer: ``output = activation(input weights + bias)``.

    Parameters
    ----------
    activation : {"logistic", "softmax", "linear", "rectified"}
    bias : array-like of shape (n_upper,)
    weights : array-like of shape (n_lower, n_upper) or None
        None: those of another layer, transposed.
    tied_to : int or None
        The layer whose weights this one uses, transposed.
    group : int or None
        Softmax: columns of one distribution. None: all of them.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """

    activation: str
    bias: np.ndarray = field(repr=False)
    weights: np.ndarray | None = field(default=None, repr=False)
    tied_to: int | None = None
    group: int | None = None

    def __post_init__(self):
        if not isinstance(self.activation, str) or self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {sorted(ACTIVATIONS)}, got {shown(self.activation)}"
            )
        bias = _array(self.bias, 1, "bias")
        object.__setattr__(self, "bias", bias)  # frozen for all but the constructor
        if (self.weights is None) == (self.tied_to is None):
            raise ValueError("a layer needs either weights or tied_to, and not both")
        if self.weights is not None:
            weights = _array(self.weights, 2, "weights")
            if weights.shape[1] != len(bias):
                raise ValueError(
                    f"weights must have {len(bias)} columns, one for each entry of bias, got "
                    f"shape {weights.shape}"
                )
            object.__setattr__(self, "weights", weights)
        group = self.group
        if self.activation == "softmax":
            group = len(bias) if group is None else group
            check_integer(group, "group")
            if len(bias) % group:
                raise ValueError(f"group must divide the {len(bias)} columns, got {group}")
        elif group is not None:
            raise ValueError(
                f"group is for softmax layers, got {shown(group)} for {self.activation}"
            )
        if self.tied_to is not None:
            check_integer(self.tied_to, "tied_to", 0)
        object.__setattr__(self, "group", group)

    @property
    def size(self):
        """Number of units."""
        return len(self.bias)

    @property
    def kind(self):
        """The kernels' number of the activation."""
        return ACTIVATIONS[self.activation]


def _array(value, n_dimensions, name):
    """Return a read-only float32 copy of an array after a check of its dimensions and values."""
    value = np.array(float32_array(value, name))
    if value.ndim != n_dimensions or value.size == 0:
        raise ValueError(
            f"{name} must have {n_dimensions} dimensions and an entry, got shape {value.shape}"
        )
    if not np.isfinite(value).all():
        raise ValueError(
            f"{name} must be finite, but contains NaN, inf or values beyond float32"
        )
    value.flags.writeable = False
    return value


class Network:
    """A feed-forward network; where its weights came from it does not know.

    A network never changes: :meth:`replace` makes another one, with another `version`.

    Parameters
    ----------
    layers : sequence of NetworkLayer
        Bottom layer first.
    inputs : CountInputs or None
        How rows of counts are read. None: the first layer reads rows as they are.

    Attributes
    ----------
    layers : tuple of NetworkLayer
    inputs : CountInputs or None
    sizes : tuple of int
        Columns of the input and of each layer.
    version : int
        Different for every set of parameters in this process.

    Raises
    ------
    ValueError
        If the layers do not fit together.
    """

    def __init__(self, layers, inputs=None):
        self.layers = tuple(as_list(layers, "layers", "NetworkLayer"))
        if not isinstance(inputs, CountInputs | None):
            raise TypeError(f"inputs must be None or dg.CountInputs(...), got {shown(inputs)}")
        self.inputs = inputs
        if not self.layers:
            raise ValueError("layers must hold at least one layer, got none")
        self.version = next_version()
        self.sizes = self._sizes()
        self._chains = None

    def _sizes(self):
        """Return the columns of the input and of each layer, after a check that layers fit."""
        sizes = []
        for l, layer in enumerate(self.layers):
            if not isinstance(layer, NetworkLayer):
                raise ValueError(f"layers[{l}] must be a NetworkLayer, got {shown(layer)}")
            shape = layer.weights.shape if layer.tied_to is None else self._tied_shape(l)
            if sizes and sizes[-1] != shape[0]:
                raise ValueError(
                    f"layers[{l}] takes {shape[0]} columns, but {sizes[-1]} come from below"
                )
            if shape[1] != layer.size:
                raise ValueError(f"layers[{l}] needs a bias of {shape[1]}, got {layer.size}")
            sizes = [*(sizes or [shape[0]]), shape[1]]
        return tuple(sizes)

    def _tied_shape(self, l):
        """Return the shape of the weights of a tied layer: that of the other's, turned."""
        tied_to = self.layers[l].tied_to
        if not 0 <= tied_to < len(self.layers) or self.layers[tied_to].weights is None:
            raise ValueError(
                f"layers[{l}].tied_to must name a layer with weights of its own, got {tied_to}"
            )
        return self.layers[tied_to].weights.shape[::-1]

    def __repr__(self):
        layers = [f"{layer.activation}({layer.size})" for layer in self.layers]
        return f"Network({' - '.join([str(self.sizes[0]), *layers])})"

    def __reduce__(self):
        return Network, (self.layers, self.inputs)

    @property
    def n_layers(self):
        """Number of layers, the input not counted."""
        return len(self.layers)

    @property
    def chains(self):
        """For each layer (chain, number of the layer in that chain), as the kernels read it."""
        if self._chains is None:  # two threads may both build them: they are equal
            self._chains = _build_chains(
                self.layers, [layer.weights for layer in self.layers],
                [layer.bias for layer in self.layers],
            )  # fmt: skip
        return self._chains[:-1]

    @property
    def field_chain(self):
        """(chain, number) of the last layer as a linear one, whose output is the field."""
        return self.chains and self._chains[-1]  # `chains` builds them

    def field_chain_of(self, l):
        """Return (chain, number) of layer l as a linear one, whose output is the field."""
        weights, biases = zip(*((layer.weights, layer.bias) for layer in self.layers), strict=True)
        return _linear_chain(self.layers, weights, biases, l)

    def read(self, states):
        """Return rows as the first layer multiplies them: counts as logs or shares, for example.

        Parameters
        ----------
        states : states of shape (n_rows, n_inputs)
        """
        return read(self.inputs, states)

    def replace(self, *, layers):
        """Return a network with other layers, which reads rows in the same way."""
        return Network(layers, inputs=self.inputs)

    def forward(self, X, *, keep=False, n_threads=None):
        """Return the output of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_inputs)
        keep : bool, default False
            Also return what :meth:`backward` needs.

        Returns
        -------
        ndarray of shape (n_rows, n_outputs), or tuple of it and Activities

        Raises
        ------
        ValueError
            If X has another width than the network, or a value that is not finite.
        """
        rows = columns_of(self.inputs, self.sizes[0]).states_of(X)  # as wide as the network
        if not keep:
            return backprop.outputs(self, rows, work=Work(n_threads=n_threads))
        activities = backprop.forward(self, self.read(rows), work=Work(n_threads=n_threads))
        return backprop.mean_of_field(self.layers[-1], activities.field)[0], activities

    def backward(self, kept, grad_output, *, by_input=False, n_threads=None):
        """Back-propagate: from the gradient by the outputs to those by the parameters.

        Parameters
        ----------
        kept : Activities
            From :meth:`forward`.
        grad_output : array-like of shape (n_rows, n_outputs)
            Derivatives of any function of the outputs; it need be no sum over rows.
        by_input : bool, default False
            Also return the gradient by what the first layer reads of X.

        Returns
        -------
        dict of {str: ndarray}, or tuple of it and an ndarray
            By name: ``"weights[l]"`` and ``"layers[l].bias"``.

        Raises
        ------
        ValueError
            If `kept` or `grad_output` do not fit the network.
        """
        if not isinstance(kept, backprop.Activities) or kept.sizes != self.sizes:
            raise ValueError("kept must be what forward(X, keep=True) of this network returned")
        gradient = np.array(float32_array(grad_output, "grad_output"))
        if gradient.shape != kept.field.shape:
            raise ValueError(
                f"grad_output must have shape {kept.field.shape}, that of the outputs, got "
                f"{gradient.shape}"
            )
        # d / d field = d / d output * d output / d field; the layers below follow from there
        output, _ = backprop.mean_of_field(self.layers[-1], kept.field)
        gradient = backprop.field_gradient(self.layers[-1], output, gradient)
        work = Work(n_threads=n_threads)
        return backprop.backward(self, kept, gradient, by_input=by_input, work=work)


def read(inputs, states):
    """Return rows as the first layer multiplies them: as they are, or counts as `inputs` says.

    Parameters
    ----------
    inputs : CountInputs or None
    states : states
    """
    return states if inputs is None else inputs.read(states)


def _build_chains(layers, weights, biases):
    """Return (chain, number) for each layer, and once more for the last one as a linear layer.

    A chain has two layers, with the weights between them: the layer, and the one that it reads,
    which is linear with bias zero (passes downwards through it are gradients by the input). A
    layer with weights of its own is the upper one, number 1. A tied layer reads the weights of
    another one the other way round: it is the lower one, number 0.
    """

    chains = [
        _chain(layers, weights, l, (layer.kind, 1, layer.group or 1, biases[l], None))
        for l, layer in enumerate(layers)
    ]
    return [*chains, _linear_chain(layers, weights, biases, len(layers) - 1)]


def _chain(layers, weights, l, kernel_layer):
    """Return (chain, number) of layer l, whose units are `kernel_layer`."""
    layer = layers[l]
    matrix = weights[l if layer.tied_to is None else layer.tied_to]
    number = 1 if layer.tied_to is None else 0
    zeros = np.zeros(matrix.shape[1 - number], np.float32)
    read = (ACTIVATIONS["linear"], 1, 1, zeros, None)
    pair_of_layers = [read, kernel_layer] if number else [kernel_layer, read]
    return engine.Chain(pair_of_layers, [matrix]), number


def _linear_chain(layers, weights, biases, l):
    """Return (chain, number) of layer l as a linear one, whose output is its field."""
    return _chain(layers, weights, l, (ACTIVATIONS["linear"], 1, 1, biases[l], None))


class NetworkParameters(WritableArrays):
    """Writable copies of a network's arrays while it is trained, with the kernels' view of them.

    Parameters
    ----------
    network : Network
    loss : dict of {str: ndarray, float32} or None
        What the loss of the run learns, by name: it moves with the network and is no part of it.

    Attributes
    ----------
    loss : dict of {str: ndarray}
        Copies of these arrays; :meth:`learned` calls them ``"loss.<name>"``.
    layers : tuple of NetworkLayer
        Activations and ties; their arrays are the starting values.
    weights : list of ndarray or None
        By layer; None where it is tied.
    biases : list of ndarray
    chains, field_chain
        See :class:`Network`. They point into the arrays above, so they are always up to date.
    """

    def __init__(self, network, loss=None):
        self.layers, self.sizes, self.inputs = network.layers, network.sizes, network.inputs
        self.loss = {name: np.array(array) for name, array in (loss or {}).items()}
        self.weights = [None if l.weights is None else np.array(l.weights) for l in self.layers]
        self.biases = [np.array(layer.bias) for layer in self.layers]
        *self.chains, self.field_chain = _build_chains(self.layers, self.weights, self.biases)

    def __getstate__(self):
        return self.to_network(), self.loss

    def __setstate__(self, state):
        self.__init__(*state)

    @property
    def n_layers(self):
        """Number of layers, the input not counted."""
        return len(self.layers)

    def read(self, states):
        """Return rows as the first layer multiplies them; see :meth:`Network.read`."""
        return read(self.inputs, states)

    def learned(self, first=0):
        """Return the arrays of the layers from `first` on, and those of the loss, by name."""
        arrays = {}
        for l in range(first, self.n_layers):
            if self.weights[l] is not None:
                arrays[f"weights[{l}]"] = self.weights[l]
            arrays[f"layers[{l}].bias"] = self.biases[l]
        return arrays | {f"loss.{name}": array for name, array in self.loss.items()}

    def to_network(self, arrays=None):
        """Return a network with these parameters, or with `arrays` in their place."""
        arrays = {**self.learned(), **(arrays or {})}
        layers = [
            replace(
                layer, weights=arrays.get(f"weights[{l}]"), bias=arrays[f"layers[{l}].bias"]
            )
            for l, layer in enumerate(self.layers)
        ]
        return Network(layers, inputs=self.inputs)
