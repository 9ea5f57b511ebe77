"""Boltzmann machines, and layers of units, in files."""

import re

import numpy as np

from deepgen.io.schemas.schema import Schema, absolute_sums, check_list_of_layers, is_count, require
from deepgen.layers.binary import Binary
from deepgen.layers.gaussian import Gaussian
from deepgen.layers.softmax import Softmax
from deepgen.layers.units import LARGEST_VALUE
from deepgen.models import BoltzmannMachine

# --- layers of units: a tag, a size, options; and vectors, which are tensors -------------------

_UNITS = {"binary": Binary, "gaussian": Gaussian, "softmax": Softmax}
_UNIT_OPTIONS = {
    "binary": {"n_copies": int},
    "gaussian": {"learn_precision": bool},
    "softmax": {"n_categories": int},
}
_VECTORS = {"binary": ("bias",), "gaussian": ("bias", "log_precision"), "softmax": ("bias",)}


def describe_units(units, name):
    """Return (entry, tensors) of a layer of units; ``name.`` begins the names of its tensors."""
    tags = {unit_class: tag for tag, unit_class in _UNITS.items()}
    if type(units) not in tags:
        in_python = re.sub(r"[.]([0-9]+)", r"[\1]", name)  # layers.0 in a file is layers[0] here
        raise ValueError(
            f"{in_python} is a {type(units).__name__}, which the file format does not know; it "
            f"knows {', '.join(unit_class.__name__ for unit_class in tags)}"
        )
    tensors = {f"{name}.{vector}": value for vector, value in units.parameters().items()}
    return {"units": tags[type(units)], "size": units.size, **units.options()}, tensors


def check_units(layer):
    """Raise ValueError unless an entry, whose size is checked, describes a layer of units."""
    tag = layer.get("units")
    require(isinstance(tag, str) and tag in _UNITS, f"unknown units {tag!r}")
    for name, value in layer.items():
        option = _UNIT_OPTIONS[tag].get(name)  # the type of its values; True is no integer here
        known = name in ("units", "size") or (option is not None and type(value) is option)
        require(known, f"unknown or invalid layer option {name!r}")
    if tag == "softmax":
        count = layer.get("n_categories")
        require(is_count(count, layer["size"]), "softmax has no valid n_categories")


def shapes_of_units(layer, name):
    """Return the shapes of the tensors of a layer of units, by name."""
    return {f"{name}.{vector}": (layer["size"],) for vector in _VECTORS[layer["units"]]}


def build_units(layer, name, tensors):
    """Return the units of a checked entry, with their tensors under a name."""
    options = {option: layer[option] for option in _UNIT_OPTIONS[layer["units"]] if option in layer}
    vectors = {vector: tensors[f"{name}.{vector}"] for vector in _VECTORS[layer["units"]]}
    return _UNITS[layer["units"]](**options, **vectors)


# --- machines of layers -----------------------------------------------------------------------


class MachineSchema(Schema):
    """Boltzmann machines: units by layer, weights between neighbours, which layers are observed."""

    model_class = BoltzmannMachine
    entries = frozenset({"layers", "observed"})

    def describe(self, model):
        layers, tensors = [], {}
        for l, layer in enumerate(model.layers):
            entry, own_tensors = describe_units(layer, f"layers.{l}")
            layers.append(entry)
            tensors |= own_tensors
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

    def is_usable(self, model):
        # largest absolute value of a state, by layer, and from it the largest input of a unit
        reach = [
            layer.n_copies if layer.precision is None else LARGEST_VALUE for layer in model.layers
        ]
        inputs = [np.zeros(layer.size) for layer in model.layers]
        for l, matrix in enumerate(model.weights):
            by_row, by_column = absolute_sums(matrix)
            inputs[l] += reach[l + 1] * by_row
            inputs[l + 1] += reach[l] * by_column
        for layer, most in zip(model.layers, inputs, strict=True):
            field = np.abs(layer.bias) + most
            if not field.max() < np.finfo(np.float32).max:
                return False
            if layer.precision is not None and layer is model.layers[0]:
                precision = layer.precision.astype(np.float64)
                if not (field / precision + 6.0 / np.sqrt(precision)).max() < LARGEST_VALUE:
                    return False
        return True


MACHINE = MachineSchema()
