"""Models as configurations and tensors: the closed registry that files are read by.

A form says which entries a configuration has, checks them, computes the shape of every tensor from
them, and builds the model. Names are looked up here, never imported. Files, and what a checksum
covers, are the business of ``storage.py``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from deepgen.models import (
    BeliefLayer,
    BeliefNetwork,
    BernoulliMixture,
    BoltzmannMachine,
    Network,
    NetworkLayer,
    PosteriorNetwork,
)
from deepgen.models.network import ACTIVATIONS
from deepgen.units import Binary, Gaussian, Softmax

MAX_LAYERS = 64
MAX_UNITS = 10_000_000

_UNITS = {"binary": Binary, "gaussian": Gaussian, "softmax": Softmax}
_UNIT_OPTIONS = {
    "binary": {"n_copies": int},
    "gaussian": {"learn_precision": bool},
    "softmax": {"n_categories": int},
}
_VECTORS = {"binary": ("bias",), "gaussian": ("bias", "log_precision"), "softmax": ("bias",)}


@dataclass(frozen=True)
class Form:
    """How models of one kind stand in files.

    Attributes
    ----------
    kind : type
    entries : frozenset of str
        Of the configuration, beside ``model``.
    describe : callable
        From a model to its entries and its tensors by name.
    check : callable
        Takes a configuration with these entries; ValueError where one is not valid.
    shapes : callable
        From a checked configuration to the shape of each tensor.
    build : callable
        From a checked configuration and tensors of these shapes to the model, or a ValueError.
    """

    kind: type
    entries: frozenset
    describe: Callable
    check: Callable
    shapes: Callable
    build: Callable


def require(condition, message):
    """Raise ValueError with a message unless a condition holds."""
    if not condition:
        raise ValueError(message)


def is_count(value, most):
    """Tell whether a value of a configuration is an integer from 1 to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def describe(model):
    """Return (configuration, tensors) of a model: plain data and float32 arrays.

    Raises
    ------
    ValueError
        If the file format does not know the model, or one of its layers.
    """
    for name, form in FORMS.items():
        if type(model) is form.kind:
            entries, tensors = form.describe(model)
            return {"model": name, **entries}, tensors
    raise ValueError(
        f"model is a {type(model).__name__}, which the file format does not know; it knows "
        f"{', '.join(FORMS)}"
    )


def form_of(config):
    """Return the checked form of a configuration.

    Parameters
    ----------
    config : dict
        ``model`` and the entries of its form.

    Raises
    ------
    ValueError
        If the model is unknown, or an entry is not valid, missing or one too many.
    """
    name = config.get("model")
    require(isinstance(name, str) and name in FORMS, f"unknown model {name!r}")
    form = FORMS[name]
    require(
        set(config) == form.entries | {"model"}, "the configuration has unknown or missing entries"
    )
    form.check(config)
    return form


def as_tree(model):
    """Return a model as a tree that a checkpoint can hold."""
    return dict(zip(("model", "tensors"), describe(model), strict=True))


def from_tree(tree):
    """Return the model that :func:`as_tree` was called on.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        config, tensors = tree["model"], tree["tensors"]
        form = form_of(config)
        found = {name: tensor.shape for name, tensor in tensors.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no model: {error}") from None
    require(found == form.shapes(config), "tensors of other names or shapes")
    return form.build(config, tensors)


def _check_list_of_layers(layers, least):
    require(
        isinstance(layers, list) and least <= len(layers) <= MAX_LAYERS,
        f"layers must be a list of {least} to {MAX_LAYERS}",
    )
    for layer in layers:
        require(isinstance(layer, dict), "a layer is not an object")
        require(is_count(layer.get("size"), MAX_UNITS), "a layer has no valid size")


# --- Boltzmann machines -----------------------------------------------------------------------


def _describe_units(units, name):
    """Entry of a layer of units, and its tensors."""
    tags = {kind: tag for tag, kind in _UNITS.items()}
    if type(units) not in tags:
        place = re.sub(r"[.]([0-9]+)", r"[\1]", name)
        raise ValueError(
            f"{place} is a {type(units).__name__}, which the file format does not know; it knows "
            f"{', '.join(kind.__name__ for kind in tags)}"
        )
    tensors = {f"{name}.{own}": value for own, value in units.parameters().items()}
    return {"units": tags[type(units)], "size": units.size, **units.options()}, tensors


def _check_units(layer):
    """Raise ValueError unless an entry of known size is one of units."""
    tag = layer.get("units")
    require(isinstance(tag, str) and tag in _UNITS, f"unknown units {tag!r}")
    for name, value in layer.items():
        kind = _UNIT_OPTIONS[tag].get(name)
        known = name in ("units", "size") or (kind is not None and type(value) is kind)
        require(known, f"unknown or invalid layer option {name!r}")
    if tag == "softmax":
        count = layer.get("n_categories")
        require(is_count(count, layer["size"]), "softmax has no valid n_categories")


def _shapes_of_units(layer, name):
    return {f"{name}.{own}": (layer["size"],) for own in _VECTORS[layer["units"]]}


def _build_units(layer, name, tensors):
    options = {own: layer[own] for own in _UNIT_OPTIONS[layer["units"]] if own in layer}
    vectors = {own: tensors[f"{name}.{own}"] for own in _VECTORS[layer["units"]]}
    return _UNITS[layer["units"]](**options, **vectors)


def _describe_machine(model):
    layers, tensors = [], {}
    for l, layer in enumerate(model.layers):
        entry, own = _describe_units(layer, f"layers.{l}")
        layers.append(entry)
        tensors |= own
    tensors |= {f"weights.{l}": matrix for l, matrix in enumerate(model.weights)}
    return {"layers": layers, "observed": list(model.observed)}, tensors


def _check_machine(config):
    layers, observed = config["layers"], config["observed"]
    _check_list_of_layers(layers, 2)
    for layer in layers:
        _check_units(layer)
    require(
        isinstance(observed, list)
        and all(type(l) is int and 0 <= l < len(layers) for l in observed)
        and 1 <= len(set(observed)) == len(observed),
        "observed must list layers of the model",
    )


def _shapes_of_machine(config):
    shapes, layers = {}, config["layers"]
    for l, layer in enumerate(layers):
        shapes |= _shapes_of_units(layer, f"layers.{l}")
        if l + 1 < len(layers):
            shapes[f"weights.{l}"] = (layer["size"], layers[l + 1]["size"])
    return shapes


def _build_machine(config, tensors):
    layers = [
        _build_units(layer, f"layers.{l}", tensors) for l, layer in enumerate(config["layers"])
    ]
    weights = [tensors[f"weights.{l}"] for l in range(len(layers) - 1)]
    return BoltzmannMachine(layers, weights, observed=config["observed"])


# --- belief networks --------------------------------------------------------------------------


def _describe_belief_network(model):
    layers, tensors = [], {}
    for l, layer in enumerate(model.layers):
        entry = {}
        for side, units in (("lower", layer.lower), ("upper", layer.upper)):
            entry[side], own = _describe_units(units, f"layers.{l}.{side}")
            tensors |= own
        layers.append(entry)
        tensors[f"generative.{l}"] = layer.generative
        tensors[f"recognition.{l}"] = layer.recognition
    top, own = _describe_machine(model.top)
    tensors |= {f"top.{name}": value for name, value in own.items()}
    return {"layers": layers, "top": top}, tensors


def _check_belief_network(config):
    layers, top = config["layers"], config["top"]
    require(
        isinstance(layers, list) and len(layers) <= MAX_LAYERS - 2,
        f"layers must be a list of at most {MAX_LAYERS - 2}",
    )
    for layer in layers:
        require(
            isinstance(layer, dict) and set(layer) == {"lower", "upper"},
            "a layer is not an object of lower and upper units",
        )
        _check_list_of_layers(list(layer.values()), 2)
        for units in layer.values():
            _check_units(units)
    require(
        isinstance(top, dict) and set(top) == {"layers", "observed"},
        "top is not an object of layers and observed",
    )
    _check_machine(top)
    require(len(top["layers"]) == 2, "top has not two layers")


def _shapes_of_belief_network(config):
    shapes = {f"top.{name}": shape for name, shape in _shapes_of_machine(config["top"]).items()}
    for l, layer in enumerate(config["layers"]):
        for side, units in layer.items():
            shapes |= _shapes_of_units(units, f"layers.{l}.{side}")
        size = (layer["lower"]["size"], layer["upper"]["size"])
        shapes |= {f"generative.{l}": size, f"recognition.{l}": size}
    return shapes


def _build_belief_network(config, tensors):
    layers = [
        BeliefLayer(
            *(_build_units(layer[s], f"layers.{l}.{s}", tensors) for s in ("lower", "upper")),
            tensors[f"generative.{l}"], tensors[f"recognition.{l}"],
        )
        for l, layer in enumerate(config["layers"])
    ]  # fmt: skip
    own = {name[4:]: value for name, value in tensors.items() if name.startswith("top.")}
    return BeliefNetwork(layers, _build_machine(config["top"], own))


# --- mixtures ---------------------------------------------------------------------------------


def _describe_mixture(model):
    tensors = {"log_weights": model.log_weights, "logits": model.logits}
    return {"n_features": model.n_features, "n_components": model.n_components}, tensors


def _check_mixture(config):
    for name in ("n_features", "n_components"):
        require(is_count(config[name], MAX_UNITS), f"{name} is not valid")


def _shapes_of_mixture(config):
    n_features, n_components = config["n_features"], config["n_components"]
    return {"log_weights": (n_components,), "logits": (n_features, n_components)}


def _build_mixture(config, tensors):
    return BernoulliMixture(**tensors)


# --- networks ---------------------------------------------------------------------------------


def _describe_network(network):
    layers, tensors = [], {}
    for l, layer in enumerate(network.layers):
        entry = {"activation": layer.activation, "size": layer.size}
        options = {"tied_to": layer.tied_to, "group": layer.group}
        entry |= {name: value for name, value in options.items() if value is not None}
        layers.append(entry)
        tensors[f"layers.{l}.bias"] = layer.bias
        if layer.weights is not None:
            tensors[f"weights.{l}"] = layer.weights
    return {"n_inputs": network.sizes[0], "layers": layers}, tensors


def _check_network(config):
    layers = config["layers"]
    require(is_count(config["n_inputs"], MAX_UNITS), "it has no valid n_inputs")
    _check_list_of_layers(layers, 1)
    for layer in layers:
        kind = layer.get("activation")
        require(isinstance(kind, str) and kind in ACTIVATIONS, f"unknown activation {kind!r}")
        for name, value in layer.items():
            known = name in ("activation", "size") or (
                (name == "group" and is_count(value, layer["size"]))
                or (name == "tied_to" and type(value) is int and 0 <= value < len(layers))
            )
            require(known, f"unknown or invalid layer option {name!r}")


def _shapes_of_network(config):
    shapes, below = {}, config["n_inputs"]
    for l, layer in enumerate(config["layers"]):
        shapes[f"layers.{l}.bias"] = (layer["size"],)
        if "tied_to" not in layer:
            shapes[f"weights.{l}"] = (below, layer["size"])
        below = layer["size"]
    return shapes


def _build_network(config, tensors):
    network = Network([
        NetworkLayer(
            layer["activation"], tensors[f"layers.{l}.bias"], tensors.get(f"weights.{l}"),
            layer.get("tied_to"), layer.get("group"),
        )
        for l, layer in enumerate(config["layers"])
    ])  # fmt: skip
    require(
        network.sizes[0] == config["n_inputs"],
        f"n_inputs is {config['n_inputs']}, but layers.0 takes {network.sizes[0]}",
    )
    return network


# --- networks beside machines -----------------------------------------------------------------

_PARTS = {
    "machine": ({"layers", "observed"}, _check_machine, _shapes_of_machine, _build_machine),
    "network": ({"n_inputs", "layers"}, _check_network, _shapes_of_network, _build_network),
}


def _describe_posterior_network(model):
    machine, tensors_of_machine = _describe_machine(model.machine)
    network, tensors_of_network = _describe_network(model.network)
    tensors = {f"machine.{name}": value for name, value in tensors_of_machine.items()}
    tensors |= {f"network.{name}": value for name, value in tensors_of_network.items()}
    return {"machine": machine, "network": network}, tensors


def _check_posterior_network(config):
    for name, (entries, check, _, _) in _PARTS.items():
        part = config[name]
        require(
            isinstance(part, dict) and set(part) == entries,
            f"{name} is not an object of {' and '.join(sorted(entries))}",
        )
        check(part)


def _shapes_of_posterior_network(config):
    return {
        f"{name}.{own}": shape
        for name, (_, _, shapes, _) in _PARTS.items()
        for own, shape in shapes(config[name]).items()
    }


def _build_posterior_network(config, tensors):
    parts = {}
    for name, (_, _, _, build) in _PARTS.items():
        own = {
            key.removeprefix(f"{name}."): value
            for key, value in tensors.items()
            if key.startswith(f"{name}.")
        }
        parts[name] = build(config[name], own)
    return PosteriorNetwork(**parts)


FORMS = {
    "BoltzmannMachine": Form(
        BoltzmannMachine, frozenset({"layers", "observed"}),
        _describe_machine, _check_machine, _shapes_of_machine, _build_machine,
    ),
    "BeliefNetwork": Form(
        BeliefNetwork, frozenset({"layers", "top"}), _describe_belief_network,
        _check_belief_network, _shapes_of_belief_network, _build_belief_network,
    ),
    "BernoulliMixture": Form(
        BernoulliMixture, frozenset({"n_features", "n_components"}),
        _describe_mixture, _check_mixture, _shapes_of_mixture, _build_mixture,
    ),
    "Network": Form(
        Network, frozenset({"n_inputs", "layers"}),
        _describe_network, _check_network, _shapes_of_network, _build_network,
    ),
    "PosteriorNetwork": Form(
        PosteriorNetwork, frozenset(_PARTS), _describe_posterior_network,
        _check_posterior_network, _shapes_of_posterior_network, _build_posterior_network,
    ),
}  # fmt: skip
