"""From stacks of Boltzmann machines to feed-forward networks, and from nothing to a start.

A stack is a sequence of two-layer machines, bottom first, each the data's model one layer up.
"""

import numpy as np

from deepgen.checks import as_list, model_remedy, shown
from deepgen.models import (
    BeliefNetwork,
    BoltzmannMachine,
    Network,
    NetworkLayer,
    n_hidden_layers,
)


def activation_of(units, name):
    """Return (activation, columns of a group or None) of the layer whose output is their mean.

    Parameters
    ----------
    units : Units
    name : str
        What the message calls them.

    Raises
    ------
    ValueError
        If no activation has their mean as its output.
    """
    if units.activation is None:
        raise ValueError(
            f"{name} must be units whose mean an activation of a network is, such as binary, "
            f"Gaussian or softmax ones, got {units!r}"
        )
    return units.activation, units.group if units.activation == "softmax" else None


def checked_stack(stack):
    """Return a stack as a list after a check.

    Parameters
    ----------
    stack : BoltzmannMachine, sequence of BoltzmannMachine, or BeliefNetwork
        Of a belief network the recognition side is taken.

    Raises
    ------
    ValueError
        If a machine has not two layers, does not fit the one below, or has tied copies.
    """
    if isinstance(stack, BeliefNetwork):
        stack = stack.stack
    elif isinstance(stack, BoltzmannMachine):
        stack = [stack]
    if remedy := model_remedy(stack):
        raise TypeError(
            "stack must be a dg.BeliefNetwork or a sequence of machines, got "
            f"{shown(stack)}{remedy}"
        )
    stack = as_list(stack, "stack", "machines")
    if not stack:
        raise ValueError("a stack must hold at least one machine, got none")
    for l, machine in enumerate(stack):
        if not isinstance(machine, BoltzmannMachine) or machine.n_layers != 2:
            raise ValueError(
                f"machine {l} of a stack must be a BoltzmannMachine of 2 layers, got "
                f"{shown(machine)}{model_remedy(machine)}"
            )
        if any(units.n_copies != 1 for units in machine.layers):
            raise ValueError(
                f"machine {l} has tied copies, whose sums no activation stands for; take its "
                "layers as Binary units of one copy with the weights that belong to them"
            )
        for side, units in enumerate(machine.layers):
            activation_of(units, f"layer {side} of machine {l}")
        if l and machine.layers[0].size != stack[l - 1].layers[1].size:
            raise ValueError(
                f"machine {l} has {machine.layers[0].size} visible units, but the one below has "
                f"{stack[l - 1].layers[1].size} hidden ones"
            )
    return stack


def _layer(units, weights):
    """The layer whose output is the mean of `units`, whose field is `x weights + bias`."""
    bias, precision = units.bias, units.precision
    if precision is not None and (precision != 1).any():
        weights, bias = weights / precision, bias / precision
    activation, group = activation_of(units, "layers of a stack")
    return NetworkLayer(activation, bias, weights, group=group)


def _above_rows(machine):
    """Return (first hidden layer, weights) of a machine as a network has them.

    Above counts the bias counts once for each draw: ``D c + x W = x (W + 1 c^T)``.
    """
    visible, hidden = machine.layers[:2]
    if visible.takes_trials:
        return hidden.replace(bias=np.zeros(hidden.size)), machine.weights[0] + hidden.bias
    return hidden, machine.weights[0]


def encoder(stack, inputs=None):
    """Return the network whose output is the features of a stack, bit for bit.

    (Of hidden Gaussian units that is so at precision 1; other precisions are divided out of the
    weights, which rounds. Above counts the bias is added to the weights, which rounds, too.)

    Parameters
    ----------
    stack : sequence of BoltzmannMachine, or BeliefNetwork
    inputs : CountInputs or None
        How a network above multinomial units reads rows. None: as the stack does, as counts.

    Returns
    -------
    Network
    """
    lowest, *others = checked_stack(stack)
    layers = [_layer(*_above_rows(lowest)), *(_layer(m.layers[1], m.weights[0]) for m in others)]
    return Network(layers, inputs or lowest.layers[0].inputs())


def unrolled(stack, inputs=None):
    """Return the deep autoencoder of a stack: encoder, then decoder, which starts as its mirror.

    The decoder's weights are copies: training is free to move them apart (Hinton &
    Salakhutdinov 2006).

    Parameters
    ----------
    stack : sequence of BoltzmannMachine, or BeliefNetwork
    inputs : CountInputs or None
        See :func:`encoder`.

    Returns
    -------
    Network
    """
    stack = checked_stack(stack)
    down = [_layer(m.layers[0], m.weights[0].T) for m in reversed(stack)]
    up = encoder(stack, inputs)
    return Network([*up.layers, *down], up.inputs)


def posterior_layers(machine, averages=None):
    """Return the layers of a network that reads rows and the posterior of the second hidden layer.

    For rows v beside their posterior means q2 the first layer gives q1, and for a machine of two
    hidden layers the second one q2, as mean field does. In the machine a layer hears the one above
    it, too; in the network it does not. What the layer above sends on average over the rows is
    added to the bias instead.

    Parameters
    ----------
    machine : BoltzmannMachine
        See :class:`~deepgen.PosteriorNetwork`.
    averages : sequence of ndarray or None
        By layer of the machine, posterior means averaged over rows; only those above the second
        hidden layer are read, and None will do where there are none.

    Returns
    -------
    list of NetworkLayer
        One for each hidden layer; label units get none.

    Raises
    ------
    ValueError
        If the machine has no second hidden layer of binary units.
    """
    n_hidden, weights = n_hidden_layers(machine), machine.weights
    lowest, reading = _above_rows(machine)
    first = np.concatenate([reading, weights[1].T])  # the copy is free to move apart
    layers = [NetworkLayer("logistic", lowest.bias, first)]
    for l in range(2, 1 + n_hidden):
        bias = machine.layers[l].bias.astype(np.float64)
        if l + 1 < machine.n_layers:
            bias = bias + weights[l].astype(np.float64) @ averages[l + 1]
        layers.append(NetworkLayer("logistic", bias, weights[l - 1]))
    return layers


def random_layer(activation, n_lower, n_upper, generator, *, bias=None, group=None):
    """Return a layer with normal weights that keep the scale of signals (Glorot & Bengio 2010).

    Rectified layers get the variance of He et al. (2015).

    Parameters
    ----------
    activation : str
    n_lower, n_upper : int
    generator : numpy Generator
    bias : ndarray of shape (n_upper,) or None
        None: zeros.
    """
    if activation == "rectified":
        deviation = np.sqrt(2.0 / n_lower)
    else:
        deviation = np.sqrt(2.0 / (n_lower + n_upper))
    if activation == "logistic":
        deviation *= 2.0  # its slope is at most 1/4; more would saturate
    weights = deviation * generator.standard_normal((n_lower, n_upper))
    bias = np.zeros(n_upper) if bias is None else bias
    return NetworkLayer(activation, bias, weights, group=group)


def random_layers(sizes, activations, stream):
    """Return layers between these sizes, each from a generator of its own.

    Parameters
    ----------
    sizes : sequence of int
        Columns of the input and of each layer.
    activations : sequence of str
        One for each layer.
    stream : Stream
    """
    return [
        random_layer(activation, sizes[l], sizes[l + 1], stream.generator(f"layer {l}"))
        for l, activation in enumerate(activations)
    ]
