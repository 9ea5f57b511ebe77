"""Boltzmann machines, and layers of units, in files."""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from deepgen.checks import shown
from deepgen.io.schemas.schema import Schema, absolute_sums, check_list_of_layers, is_count, require
from deepgen.layers.binary import Binary
from deepgen.layers.gaussian import Gaussian
from deepgen.layers.mixed import Mixed
from deepgen.layers.multinomial import MOST_TRIALS, Multinomial
from deepgen.layers.softmax import Softmax
from deepgen.layers.units import LARGEST_VALUE
from deepgen.models import BoltzmannMachine

# --- layers of units: a tag, a size, options; and vectors, which are tensors -------------------


class UnitSchema(NamedTuple):
    """How units of one type stand in a file.

    Attributes
    ----------
    unit_class : type
    options : dict of {str: type}
        Settings that an entry may have, and the type of their values.
    vectors : tuple of str
        Parameters by name, each of the size of the layer. Units with the option ``parts``, whose
        entry lists other units side by side, have those of their parts.
    groups : str or None
        The option that says how many columns a group has, which an entry must have.
    check : callable or None
        Raises ValueError where the values of the options of an entry are none.
    """

    unit_class: type
    options: dict
    vectors: tuple = ("bias",)
    groups: str | None = None
    check: Callable | None = None


def _check_draws(layer):
    """Raise ValueError unless an entry says one number of draws, or their mean."""
    require(
        ("trials" in layer) != ("mean_trials" in layer),
        "multinomial units must have one of trials and mean_trials",
    )
    require(
        0 <= layer.get("trials", 0) <= MOST_TRIALS,
        f"multinomial units must have from 0 to {MOST_TRIALS} trials, got {layer.get('trials')!r}",
    )
    mean = layer.get("mean_trials", 1.0)
    require(
        0.0 < mean <= MOST_TRIALS,
        f"mean_trials of multinomial units must be above 0 and at most {MOST_TRIALS}, got {mean!r}",
    )


# By tag. A new unit type is one row.
UNITS = {
    "binary": UnitSchema(Binary, {"n_copies": int}),
    "gaussian": UnitSchema(Gaussian, {"learn_precision": bool}, ("bias", "log_precision")),
    "softmax": UnitSchema(Softmax, {"n_categories": int}, groups="n_categories"),
    "multinomial": UnitSchema(
        Multinomial, {"trials": int, "mean_trials": float}, check=_check_draws
    ),
    "mixed": UnitSchema(Mixed, {"parts": list}),
}


def _entry_of(units, name):
    """Return the entry of a layer of units; of mixed units it has those of the parts."""
    tags = {schema.unit_class: tag for tag, schema in UNITS.items()}
    if type(units) not in tags:
        in_python = re.sub(r"[.]([0-9]+)", r"[\1]", name)  # layers.0 in a file is layers[0] here
        raise ValueError(
            f"{in_python} is a {type(units).__name__}, which the file format does not know; it "
            f"knows {', '.join(unit_class.__name__ for unit_class in tags)}"
        )
    options = units.options()
    if "parts" in options:
        options["parts"] = [
            _entry_of(part, f"{name}.parts.{number}") for number, part in enumerate(units.parts)
        ]
    return {"units": tags[type(units)], "size": units.size, **options}


def describe_units(units, name):
    """Return (entry, tensors) of a layer of units; ``name.`` begins the names of its tensors."""
    tensors = {f"{name}.{vector}": value for vector, value in units.parameters().items()}
    return _entry_of(units, name), tensors


def check_units(layer):
    """Raise ValueError unless an entry, whose size is checked, describes a layer of units."""
    tag = layer.get("units")
    require(
        isinstance(tag, str) and tag in UNITS,
        f"unknown units {shown(tag)}; if a newer deepgen has written the file, update to read it",
    )
    schema = UNITS[tag]
    for name, value in layer.items():
        option = schema.options.get(name)  # the type of its values; True is no integer here
        known = name in ("units", "size") or (option is not None and type(value) is option)
        require(known, f"unknown or invalid layer option {name!r}")
    if schema.groups is not None:
        count = layer.get(schema.groups)
        require(is_count(count, layer["size"]), f"{tag} has no valid {schema.groups}")
    if schema.check is not None:
        schema.check(layer)
    if "parts" in schema.options:
        _check_parts(layer)


def _check_parts(layer):
    """Raise ValueError unless the parts of a mixed layer are layers that fill its columns."""
    parts = layer.get("parts")
    require(isinstance(parts, list) and parts, f"{layer['units']} has no parts")
    for part in parts:
        require(isinstance(part, dict), "a part is not an object")
        require(is_count(part.get("size"), layer["size"]), "a part has no valid size")
        require("parts" not in part, "a part has parts")
        check_units(part)
    total = sum(part["size"] for part in parts)
    require(total == layer["size"], f"parts have {total} columns, not {layer['size']}")


def _vectors_of(layer):
    """Return the names of the parameters of a checked entry; mixed units have all of the parts."""
    if "parts" not in layer:
        return UNITS[layer["units"]].vectors
    return tuple(dict.fromkeys(name for part in layer["parts"] for name in _vectors_of(part)))


def shapes_of_units(layer, name):
    """Return the shapes of the tensors of a layer of units, by name."""
    return {f"{name}.{vector}": (layer["size"],) for vector in _vectors_of(layer)}


def _options_of(layer):
    """Return the options of the units of a checked entry."""
    options = {name: layer[name] for name in UNITS[layer["units"]].options if name in layer}
    if "parts" in options:
        options["parts"] = [
            UNITS[part["units"]].unit_class(size=part["size"], **_options_of(part))
            for part in layer["parts"]
        ]
    return options


def build_units(layer, name, tensors):
    """Return the units of a checked entry, with their tensors under a name."""
    vectors = {vector: tensors[f"{name}.{vector}"] for vector in _vectors_of(layer)}
    return UNITS[layer["units"]].unit_class(**_options_of(layer), **vectors)


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
        reach = [min(layer.largest_state, LARGEST_VALUE) for layer in model.layers]
        inputs = [np.zeros(layer.size) for layer in model.layers]
        for l, matrix in enumerate(model.weights):
            by_row, by_column = absolute_sums(matrix)
            inputs[l] += reach[l + 1] * by_row
            inputs[l + 1] += reach[l] * by_column
        for layer, most in zip(model.layers, inputs, strict=True):
            field = np.abs(layer.bias) + most
            if not field.max() < np.finfo(np.float32).max:
                return False
            if not layer.is_bounded and layer is model.layers[0]:  # draws are rows: six deviations
                mean = layer.mean(field[None])
                if not (mean + 6.0 * np.sqrt(layer.variance(mean))).max() < LARGEST_VALUE:
                    return False
        return True


MACHINE = MachineSchema()
