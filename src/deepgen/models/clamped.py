"""The model of some layers of a machine, given the states of the others."""

import numpy as np

from deepgen.checks import real_array, shown
from deepgen.models.boltzmann_machine import BoltzmannMachine, are_layers, check_model


def conditional_model(model, states):
    """Return the model of the layers that are left when others are clamped.

    With ``rest, log_weight = conditional_model(model, {0: v})`` the unnormalized probability of a
    row, every other layer summed out, is ``log p*(v) = log_weight + log Z of rest``, and
    ``log p(v)`` is that minus log Z of `model`.

    Parameters
    ----------
    model : BoltzmannMachine
    states : dict of int to array-like of shape (n_units,)
        One row of states by number of layer. A softmax group of zeros sends nothing.

    Returns
    -------
    rest : BoltzmannMachine or Units
        Layers that are left, in their order; what clamped neighbours send them is in their
        biases. Units where one layer is left: ``rest.log_normalizer(rest.bias[None])`` is its
        log Z. Those of the model's `observed` layers that are left can be observed here too; if
        there is none, the first layer can.
    log_weight : float
        Of the clamped states alone: their biases, base measures and the weights between them.

    Raises
    ------
    TypeError
        If `states` is no dict from numbers of layers.
    ValueError
        If a vector holds no states of its layer, if no layer is left, or if those that are left
        are not neighbours: given the clamped ones between them they are independent models.

    Notes
    -----
    Biases of models are float32: with hundreds of units and fields of size 10 the sum is off by
    1e-5 or so. :func:`deepgen.exact_log_likelihood` takes its fields in float64.
    """
    check_model(model)
    clamped = _checked_states(model, states)
    left = [l for l in range(model.n_layers) if l not in clamped]
    if not left:
        raise ValueError(f"states must leave a layer free, got states of all {model.n_layers}")
    if left[-1] - left[0] >= len(left):
        raise ValueError(
            f"states must leave neighbouring layers free, got states that leave layers {left}, "
            "which are independent models given those between them; make a machine of each part "
            "with its clamped neighbours, and condition that"
        )
    weights = [w.astype(np.float64) for w in model.weights]
    # log_weight = - energy of each clamped layer alone + x_l W_l x_(l+1) between clamped neighbours
    log_weight = 0.0
    for l, x in clamped.items():
        log_weight -= float(model.layers[l].energy(x[None])[0])
        if l + 1 in clamped:
            log_weight += float(x @ weights[l] @ clamped[l + 1])
    # the two outer layers that are left take over what clamped neighbours send: bias + x W
    first, last = left[0], left[-1]
    layers = list(model.layers)
    biases = {l: layers[l].bias.astype(np.float64) for l in (first, last)}
    if first > 0:
        biases[first] += clamped[first - 1] @ weights[first - 1]
    if last + 1 < model.n_layers:
        biases[last] += weights[last] @ clamped[last + 1]
    for l, bias in biases.items():
        layers[l] = layers[l].replace(bias=bias)
    if first == last:
        return layers[first], log_weight
    observed = [l - first for l in model.observed if l in left]
    rest = BoltzmannMachine(
        layers[first : last + 1], model.weights[first:last], observed=observed or (0,)
    )
    return rest, log_weight


def _checked_states(model, states):
    """Return a checked float64 vector of states for each clamped layer, by its number."""
    if not isinstance(states, dict) or not are_layers(states, model.n_layers):
        raise TypeError(
            "states must be a dict from numbers of layers to vectors, with layers from 0 to "
            f"{model.n_layers - 1}, got {shown(states)}"
        )
    clamped = {}
    for l, x in states.items():
        name, layer = f"states[{int(l)}]", model.layers[l]
        x = real_array(x, name)
        if x.shape != (layer.size,):
            raise ValueError(f"{name} must have shape ({layer.size},), got {x.shape}")
        row = layer.states_of(x[None], name)
        if not layer.is_state(row):
            raise ValueError(
                f"{name} must hold states, got values between them; binarize grey values first, "
                "for example x > rng.random(x.shape)"
            )
        clamped[int(l)] = row[0].astype(np.float64)
    return clamped
