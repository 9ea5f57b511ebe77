"""Boltzmann machines, and layers of units, in files."""

import re

from deepgen.io.schemas.schema import Schema, check_list_of_layers, is_count, require
from deepgen.layers.binary import Binary
from deepgen.layers.gaussian import Gaussian
from deepgen.layers.softmax import Softmax
from deepgen.models import (
    BoltzmannMachine,
)

_UNITS = {"binary": Binary, "gaussian": Gaussian, "softmax": Softmax}
_UNIT_OPTIONS = {
    "binary": {"n_copies": int},
    "gaussian": {"learn_precision": bool},
    "softmax": {"n_categories": int},
}
_VECTORS = {"binary": ("bias",), "gaussian": ("bias", "log_precision"), "softmax": ("bias",)}


# --- Boltzmann machines -----------------------------------------------------------------------


def describe_units(units, name):
    """Return the entry of a layer of units, and its tensors under a name."""
    tags = {kind: tag for tag, kind in _UNITS.items()}
    if type(units) not in tags:
        place = re.sub(r"[.]([0-9]+)", r"[\1]", name)
        raise ValueError(
            f"{place} is a {type(units).__name__}, which the file format does not know; it knows "
            f"{', '.join(kind.__name__ for kind in tags)}"
        )
    tensors = {f"{name}.{own}": value for own, value in units.parameters().items()}
    return {"units": tags[type(units)], "size": units.size, **units.options()}, tensors


def check_units(layer):
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


def shapes_of_units(layer, name):
    """Return the shapes of the tensors of a layer of units."""
    return {f"{name}.{own}": (layer["size"],) for own in _VECTORS[layer["units"]]}


def build_units(layer, name, tensors):
    """Return the units of a checked entry."""
    options = {own: layer[own] for own in _UNIT_OPTIONS[layer["units"]] if own in layer}
    vectors = {own: tensors[f"{name}.{own}"] for own in _VECTORS[layer["units"]]}
    return _UNITS[layer["units"]](**options, **vectors)


class MachineSchema(Schema):
    """Boltzmann machines: units by layer, weights between neighbours, which layers are observed."""

    kind = BoltzmannMachine
    entries = frozenset({"layers", "observed"})

    def describe(self, model):
        layers, tensors = [], {}
        for l, layer in enumerate(model.layers):
            entry, own = describe_units(layer, f"layers.{l}")
            layers.append(entry)
            tensors |= own
        tensors |= {f"weights.{l}": matrix for l, matrix in enumerate(model.weights)}
        return {"layers": layers, "observed": list(model.observed)}, tensors

    def check(self, config):
        layers, observed = config["layers"], config["observed"]
        check_list_of_layers(layers, 2)
        for layer in layers:
            check_units(layer)
        require(
            isinstance(observed, list)
            and all(type(l) is int and 0 <= l < len(layers) for l in observed)
            and 1 <= len(set(observed)) == len(observed),
            "observed must list layers of the model",
        )

    def shapes(self, config):
        shapes, layers = {}, config["layers"]
        for l, layer in enumerate(layers):
            shapes |= shapes_of_units(layer, f"layers.{l}")
            if l + 1 < len(layers):
                shapes[f"weights.{l}"] = (layer["size"], layers[l + 1]["size"])
        return shapes

    def build(self, config, tensors):
        layers = [
            build_units(layer, f"layers.{l}", tensors) for l, layer in enumerate(config["layers"])
        ]
        weights = [tensors[f"weights.{l}"] for l in range(len(layers) - 1)]
        return BoltzmannMachine(layers, weights, observed=config["observed"])


MACHINE = MachineSchema()
