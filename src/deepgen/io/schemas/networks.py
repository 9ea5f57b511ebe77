"""Networks, and networks beside a machine, in files."""

import numpy as np

from deepgen.io.schemas.machines import MACHINE
from deepgen.io.schemas.schema import (
    MAX_UNITS,
    Schema,
    absolute_sums,
    check_list_of_layers,
    is_count,
    require,
    under,
    within,
)
from deepgen.models import Network, NetworkLayer, PosteriorNetwork
from deepgen.models.network import ACTIVATIONS
from deepgen.rows.counts import FORMS, MOST_COUNTS, CountInputs


class NetworkSchema(Schema):
    """Networks: number of inputs; activation, size and ties of each layer; how counts are read."""

    model_class = Network
    entries = frozenset({"n_inputs", "layers"})
    optional = frozenset({"inputs"})

    def describe(self, network):
        layers, tensors = [], {}
        for l, layer in enumerate(network.layers):
            entry = {"activation": layer.activation, "size": layer.size}
            options = {"tied_to": layer.tied_to, "group": layer.group}
            entry |= {name: value for name, value in options.items() if value is not None}
            layers.append(entry)
            tensors[f"layers.{l}.bias"] = layer.bias
            if layer.weights is not None:
                tensors[f"weights.{l}"] = layer.weights
        entries = {"n_inputs": network.sizes[0], "layers": layers}
        if network.inputs is not None:
            entries["inputs"] = {"form": network.inputs.form, "gain": network.inputs.gain}
        return entries, tensors

    def check(self, config):
        layers = config["layers"]
        require(is_count(config["n_inputs"], MAX_UNITS), "it has no valid n_inputs")
        check_list_of_layers(layers, 1)
        if "inputs" in config:
            _check_inputs(config["inputs"])
        for layer in layers:
            activation = layer.get("activation")
            require(
                isinstance(activation, str) and activation in ACTIVATIONS,
                f"unknown activation {activation!r}",
            )
            for name, value in layer.items():
                known = name in ("activation", "size") or (
                    (name == "group" and is_count(value, layer["size"]))
                    or (name == "tied_to" and type(value) is int and 0 <= value < len(layers))
                )
                require(known, f"unknown or invalid layer option {name!r}")

    def shapes(self, config):
        shapes, below = {}, config["n_inputs"]
        for l, layer in enumerate(config["layers"]):
            shapes[f"layers.{l}.bias"] = (layer["size"],)
            if "tied_to" not in layer:
                shapes[f"weights.{l}"] = (below, layer["size"])
            below = layer["size"]
        return shapes

    def build(self, config, tensors):
        layers = [
            NetworkLayer(
                layer["activation"], tensors[f"layers.{l}.bias"], tensors.get(f"weights.{l}"),
                layer.get("tied_to"), layer.get("group"),
            )
            for l, layer in enumerate(config["layers"])
        ]  # fmt: skip
        inputs = CountInputs(**config["inputs"]) if "inputs" in config else None
        network = Network(layers, inputs)
        require(
            network.sizes[0] == config["n_inputs"],
            f"n_inputs is {config['n_inputs']}, but layers.0 takes {network.sizes[0]}",
        )
        return network

    def is_usable(self, network):
        inputs = network.inputs
        reach = 1.0 if inputs is None else inputs.largest
        for layer in network.layers:
            owner = layer if layer.tied_to is None else network.layers[layer.tied_to]
            by_row, by_column = absolute_sums(owner.weights)
            inputs = by_column if layer.tied_to is None else by_row
            field = (np.abs(layer.bias.astype(np.float64)) + reach * inputs).max()
            if not field < np.finfo(np.float32).max:
                return False
            reach = field if layer.activation in ("linear", "rectified") else 1.0
        return True


def _check_inputs(inputs):
    """Raise ValueError unless this is how a network reads counts."""
    good = isinstance(inputs, dict) and set(inputs) == {"form", "gain"}
    require(good, "inputs is not an object of form and gain")
    form, gain = inputs["form"], inputs["gain"]
    require(isinstance(form, str) and form in FORMS, f"unknown form of inputs {form!r}")
    require(
        isinstance(gain, int | float) and not isinstance(gain, bool) and 0.0 < gain <= MOST_COUNTS,
        "inputs have no valid gain",
    )


_PARTS = {"machine": MACHINE, "network": NetworkSchema()}


class PosteriorNetworkSchema(Schema):
    """Networks that read the posterior of a machine: the entries of both, each as an object."""

    model_class = PosteriorNetwork
    entries = frozenset(_PARTS)

    def describe(self, model):
        entries, tensors = {}, {}
        for name, schema in _PARTS.items():
            entries[name], own_tensors = schema.describe(getattr(model, name))
            tensors |= under(name, own_tensors)
        return entries, tensors

    def check(self, config):
        for name, schema in _PARTS.items():
            entries = config[name]
            require(
                isinstance(entries, dict) and schema.knows(entries),
                f"{name} is not an object of {' and '.join(sorted(schema.entries))}",
            )
            schema.check(entries)

    def shapes(self, config):
        shapes = {}
        for name, schema in _PARTS.items():
            shapes |= under(name, schema.shapes(config[name]))
        return shapes

    def build(self, config, tensors):
        parts = {
            name: schema.build(config[name], within(name, tensors))
            for name, schema in _PARTS.items()
        }
        return PosteriorNetwork(**parts)

    def is_usable(self, model):
        return all(schema.is_usable(getattr(model, name)) for name, schema in _PARTS.items())
