"""Belief networks in files."""

from deepgen.io.schemas.machines import (
    MACHINE,
    build_units,
    check_units,
    describe_units,
    shapes_of_units,
)
from deepgen.io.schemas.schema import (
    MAX_LAYERS,
    Schema,
    check_list_of_layers,
    require,
    under,
    within,
)
from deepgen.models import BeliefLayer, BeliefNetwork


class BeliefNetworkSchema(Schema):
    """Belief networks: lower and upper units of each directed layer, and the top machine."""

    model_class = BeliefNetwork
    entries = frozenset({"layers", "top"})

    def describe(self, model):
        layers, tensors = [], {}
        for l, layer in enumerate(model.layers):
            entry = {}
            for side, units in (("lower", layer.lower), ("upper", layer.upper)):
                entry[side], own_tensors = describe_units(units, f"layers.{l}.{side}")
                tensors |= own_tensors
            layers.append(entry)
            tensors[f"generative.{l}"] = layer.generative
            tensors[f"recognition.{l}"] = layer.recognition
        top, own_tensors = MACHINE.describe(model.top)
        tensors |= under("top", own_tensors)
        return {"layers": layers, "top": top}, tensors

    def check(self, config):
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
            check_list_of_layers(list(layer.values()), 2)
            for units in layer.values():
                check_units(units)
        require(
            isinstance(top, dict) and set(top) == {"layers", "observed"},
            "top is not an object of layers and observed",
        )
        MACHINE.check(top)
        require(len(top["layers"]) == 2, "top has not two layers")

    def shapes(self, config):
        shapes = under("top", MACHINE.shapes(config["top"]))
        for l, layer in enumerate(config["layers"]):
            for side, units in layer.items():
                shapes |= shapes_of_units(units, f"layers.{l}.{side}")
            size = (layer["lower"]["size"], layer["upper"]["size"])
            shapes |= {f"generative.{l}": size, f"recognition.{l}": size}
        return shapes

    def build(self, config, tensors):
        layers = [
            BeliefLayer(
                *(
                    build_units(layer[side], f"layers.{l}.{side}", tensors)
                    for side in ("lower", "upper")
                ),
                tensors[f"generative.{l}"], tensors[f"recognition.{l}"],
            )
            for l, layer in enumerate(config["layers"])
        ]  # fmt: skip
        return BeliefNetwork(layers, MACHINE.build(config["top"], within("top", tensors)))

    def is_usable(self, model):
        machines = [m for layer in model.layers for m in (layer.downward, layer.upward)]
        return all(MACHINE.is_usable(machine) for machine in [*machines, model.top])
