"""Conditional machines in files."""

import numpy as np

from deepgen.io.schemas.machines import MACHINE
from deepgen.io.schemas.schema import (
    MAX_UNITS,
    Schema,
    absolute_sums,
    is_count,
    require,
    under,
    within,
)
from deepgen.models import ConditionalMachine, Window
from deepgen.models.recurrences import RECURRENCES


class ConditionalMachineSchema(Schema):
    """Machines whose biases come from the past: the machine, and the recurrence by its tag."""

    model_class = ConditionalMachine
    format_version = 2
    entries = frozenset({"machine", "recurrence", "n_state"})

    def describe(self, model):
        entries, tensors = MACHINE.describe(model.machine)
        tags = {kind: tag for tag, kind in RECURRENCES.items()}
        arrays = model.recurrence.arrays()
        return (
            {
                "machine": entries, "recurrence": tags[type(model.recurrence)],
                "n_state": model.n_state,
            },
            {**under("machine", tensors), **under("recurrence", arrays)},
        )  # fmt: skip

    def check(self, config):
        machine, tag, n_state = config["machine"], config["recurrence"], config["n_state"]
        require(
            isinstance(machine, dict) and MACHINE.knows(machine),
            "machine is not an object of layers and observed",
        )
        MACHINE.check(machine)
        layers = machine["layers"]
        require(len(layers) == 2, "machine does not have two layers")
        require(isinstance(tag, str) and tag in RECURRENCES, f"unknown recurrence {tag!r}")
        require(is_count(n_state, MAX_UNITS), "n_state is not valid")
        if tag == "window":
            require(n_state % layers[0]["size"] == 0, "n_state is not that of whole frames")
        elif tag == "rtrbm":
            require(n_state == layers[1]["size"], "n_state is not that of the hidden units")

    def shapes(self, config):
        visible, hidden = (layer["size"] for layer in config["machine"]["layers"])
        n_state = config["n_state"]
        shapes = {"visible_weights": (n_state, visible), "hidden_weights": (n_state, hidden)}
        if config["recurrence"] != "window":
            shapes["initial"] = (n_state,)
        if config["recurrence"] == "rnn":
            shapes |= {
                "bias": (n_state,), "recurrent_weights": (n_state, n_state),
                "input_weights": (visible, n_state),
            }  # fmt: skip
        return {
            **under("machine", MACHINE.shapes(config["machine"])), **under("recurrence", shapes),
        }  # fmt: skip

    def build(self, config, tensors):
        machine = MACHINE.build(config["machine"], within("machine", tensors))
        recurrence = RECURRENCES[config["recurrence"]](**within("recurrence", tensors))
        return ConditionalMachine(machine, recurrence)

    def is_usable(self, model):
        if not MACHINE.is_usable(model.machine):
            return False
        # states of networks are at most 1 but for the first one; those of a window are frames
        visible, arrays = model.layers[0], model.recurrence.arrays()
        reach = max(1.0, float(np.abs(arrays.get("initial", 0.0)).max()))
        if isinstance(model.recurrence, Window):
            reach = float(min(visible.largest_state, 1e12))
        most = np.finfo(np.float32).max
        return all(
            reach * sums.max() < most
            for matrix in arrays.values() if matrix.ndim == 2
            for sums in absolute_sums(matrix)
        )  # fmt: skip
