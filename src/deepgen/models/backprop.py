"""Forward and backward passes through a network (docs/math.md, "Networks")."""

from dataclasses import dataclass, field

import numpy as np

from deepgen._kernels import engine
from deepgen.layers.passes import LayerContext, Outputs, conditional_pass
from deepgen.rows.states import as_states, dense
from deepgen.rows.sums import column_sums, weight_sums
from deepgen.runtime.stream import DROPOUT, Stream
from deepgen.runtime.work import ANY_WORK, Work

_SERIAL = Work(n_threads=1)


@dataclass
class Activities:
    """States of a network's layers for some rows, which the backward pass needs; 0 is the input.

    Attributes
    ----------
    outputs : list of ndarray
        By layer, (n_rows, n_units), the last layer left out.
    inputs : list of ndarray
        By layer: the outputs below it, after dropout, which its weights multiplied.
    masks : list of ndarray or None
        Factors of dropout by layer, which turned `outputs` into `inputs`.
    field : ndarray of shape (n_rows, n_outputs)
        Of the last layer.
    """

    outputs: list
    inputs: list = field(default_factory=list)
    masks: list = field(default_factory=list)
    field: np.ndarray | None = None

    @property
    def sizes(self):
        """Columns of the input and of each layer."""
        return (*(rows.shape[1] for rows in self.outputs), self.field.shape[1])


@dataclass(frozen=True)
class Dropout:
    """Which shares of the units are left out, and the random numbers that choose them.

    What stays is divided by the probability to stay ("inverted dropout"; Srivastava et al.
    2014, section 10). An update, a layer and a row of the batch have numbers of their own.

    Parameters
    ----------
    stream : Stream
        At the position of the update.
    inputs, hidden : float, default 0.0
        Probability to leave out an input, or a hidden unit.
    masking : float, default 0.0
        Probability to set an input to zero without the division: the noise of a denoising
        autoencoder (Vincent et al. 2008).
    first_row : int, default 0
        Number of the first row in the whole batch.
    """

    stream: Stream
    inputs: float = 0.0
    hidden: float = 0.0
    masking: float = 0.0
    first_row: int = 0

    def mask(self, layer, shape):
        """Return the factors of a layer's units (0 is the input), or None where all stay."""
        share = self.hidden if layer else self.inputs
        mask = None
        if share:
            drawn = self.stream.uniform(*shape, DROPOUT, layer=layer, first_row=self.first_row)
            mask = (drawn >= share) * np.float32(1.0 / (1.0 - share))
        if self.masking and layer == 0:
            stream = self.stream.child("masking")
            drawn = stream.uniform(*shape, DROPOUT, first_row=self.first_row)
            mask = (drawn >= self.masking) * np.float32(1.0 if mask is None else mask)
        return mask


def forward(network, X, *, dropout=None, noise=None, work=ANY_WORK):
    """Run rows through a network and return the states of all its layers.

    ``output_l = activation_l(input_l W_l + bias_l + noise_l)`` with
    ``input_l = mask_l o output_(l-1)``, row by row; of the last layer the field, not the output.

    Parameters
    ----------
    network : Network or NetworkParameters
    X : states of shape (n_rows, n_inputs)
        What the first layer reads: bytes, floats or compressed rows.
    dropout : Dropout or None
    noise : dict of {int: ndarray of shape (n_rows, n_units), float32} or None
        Added to the fields of some layers.
    work : Work

    Returns
    -------
    Activities
    """
    activities, last = Activities([X]), network.n_layers - 1
    for l in range(network.n_layers):
        below = activities.outputs[-1]
        mask = None if dropout is None else dropout.mask(l, below.shape)
        if mask is not None:
            below = dense(below) * mask
        activities.inputs.append(below)
        activities.masks.append(mask)
        pair = network.field_chain if l == last else network.chains[l]
        output = _layer_output(pair, network, l, below, work, noise and noise.get(l))
        if l == last:
            activities.field = output
        else:
            activities.outputs.append(output)
    return activities


def _layer_output(pair, network, l, below, work, noise=None):
    """Return the mean of layer l given rows below it, by its (chain, position in the chain)."""
    chain, position = pair
    out = np.empty((below.shape[0], network.layers[l].size), np.float32)
    states = [below, None] if position else [None, dense(below)]
    around = None if noise is None else LayerContext(bias_rows=noise)
    conditional_pass(chain, position, states, Outputs(out), around, work=work)
    return out


def outputs(network, X, *, first=0, until=None, field=False, work=ANY_WORK):
    """Return the output of rows, keeping nothing.

    Parameters
    ----------
    network : Network or NetworkParameters
    X : array-like or sparse matrix of shape (n_rows, n_columns)
    first, until : int
        Layers ``first, ..., until - 1`` are run; `X` is what `first` reads, and rows as they came
        where it is 0. None: to the last.
    field : bool, default False
        Return the field of the last layer that is run, ``input W + bias``, not its output.
    work : Work

    Returns
    -------
    ndarray of shape (n_rows, n_outputs), float32
    """
    rows = as_states(X)
    if first == 0:
        rows = network.read(rows)
    end = network.n_layers if until is None else until
    for l in range(first, end):
        pair = network.field_chain_of(l) if field and l == end - 1 else network.chains[l]
        rows = _layer_output(pair, network, l, rows, work)
    return rows


def mean_of_field(layer, field, *, normalizer=False):
    """Return the output of a layer with this field and, where asked for, its log normalizer.

    Returns
    -------
    tuple of (ndarray of shape (n_rows, n_units), ndarray of shape (n_rows,), float64, or None)
    """
    chain = engine.Chain(
        [(layer.kind, 1, layer.group or 1, np.zeros(layer.size, np.float32), None)], []
    )
    mean = np.empty(field.shape, np.float32)
    total = np.zeros(len(field)) if normalizer else None
    outputs = Outputs(mean=mean, log_normalizer=total)
    conditional_pass(chain, 0, [None], outputs, LayerContext(bias_rows=field), work=_SERIAL)
    return mean, total


def field_gradient(layer, output, gradient):
    """Turn a gradient by a layer's output into one by its field, in place where possible.

    Parameters
    ----------
    layer : NetworkLayer
    output, gradient : ndarray of shape (n_rows, n_units)
    """
    if layer.activation == "linear":
        return gradient
    if layer.activation == "rectified":
        gradient *= output > 0
    elif layer.activation == "logistic":
        gradient = np.ascontiguousarray(gradient, np.float32)
        engine.logistic_gradient(gradient, np.ascontiguousarray(output, np.float32))
    elif layer.activation == "softmax":
        groups = (len(output), layer.size // layer.group, layer.group)
        mean = (gradient * output).reshape(groups).sum(axis=2, keepdims=True)
        gradient = (gradient.reshape(groups) - mean).reshape(output.shape)
        gradient *= output
    else:
        raise ValueError(f"the derivative of {layer.activation} units is not known")
    return gradient


def backward(
    network, activities, gradient, *, inner=None, first=0, l1=0.0, by_input=False, work=ANY_WORK
):
    """Return the gradient of a sum over rows by the parameters.

    With ``d_l`` the gradient by the field of layer l, (n_rows, n_units)::

        by weights l:  input_l^T d_l            by bias l:  sum over rows of d_l
        d_(l-1) = (d_l W_l^T o mask_l) o activation'(field_(l-1))

    Parameters
    ----------
    network : Network or NetworkParameters
    activities : Activities
        Of the forward pass of the same parameters.
    gradient : ndarray of shape (n_rows, n_outputs), float32
        By the field of the last layer; see :func:`field_gradient` for one by the output. It
        may be changed.
    inner : dict of {int: ndarray of shape (n_rows, n_units)} or None
        Gradients by the outputs of layers below the last, before dropout, that are added to what
        comes from above.
    first : int, default 0
        The parameters of layers below it get no gradient.
    l1 : float, default 0.0
        Factor of the sum of the hidden units' absolute activities, added to what is
        differentiated.
    by_input : bool, default False
        Also return the gradient by X.
    work : Work

    Returns
    -------
    dict of {str: ndarray}, or tuple of it and an ndarray
        By name: ``"weights[l]"`` and ``"layers[l].bias"``. Tied weights get one sum.
    """
    work, gradients = work.reusing(), {}
    end = 0 if by_input else first
    for l in range(network.n_layers - 1, end - 1, -1):
        if l >= first:
            _add_sums(gradients, network.layers[l], l, first, activities.inputs[l], gradient, work)
        if l > end or by_input:
            gradient = _downwards(network, l, gradient, work)
            if activities.masks[l] is not None:
                gradient *= activities.masks[l]
        if l > end:
            if l1:
                gradient += np.float32(l1) * np.sign(activities.outputs[l])
            if inner is not None and l - 1 in inner:
                gradient += inner[l - 1]
            gradient = field_gradient(network.layers[l - 1], activities.outputs[l], gradient)
    return (gradients, gradient) if by_input else gradients


def _add_sums(gradients, layer, l, first, inputs, gradient, work):
    """Add the gradients by the parameters of layer l, whose field has this `gradient`."""
    bias = column_sums(gradient, work.n_threads).astype(np.float32)
    gradients[f"layers[{l}].bias"] = bias
    owner = l if layer.tied_to is None else layer.tied_to
    if owner < first:
        return
    tied = layer.tied_to is not None  # the sum as its owner lies
    sums = weight_sums(*((gradient, inputs) if tied else (inputs, gradient)), work=work)
    name = f"weights[{owner}]"
    if name in gradients:
        gradients[name] += sums
    else:
        gradients[name] = sums


def _downwards(network, l, gradient, work):
    """Gradient by the input of a layer: gradient by its field times the transposed weights."""
    chain, position = network.chains[l]
    out = np.empty((len(gradient), network.sizes[l]), np.float32)
    states = [None, gradient] if position else [gradient, None]
    conditional_pass(chain, 1 - position, states, Outputs(out), work=work)
    return out
