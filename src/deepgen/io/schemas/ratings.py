"""Machines of ratings in files."""

import math
from itertools import pairwise

import numpy as np

from deepgen.io.schemas.schema import MAX_UNITS, Schema, is_count, require
from deepgen.models import RatingMachine
from deepgen.rows.scale import MOST_VALUES, Scale

# Users may be more than the units of a layer: any number that kernels count, whichever side they
# are. The tensors of such a size must be in the file before anything is made of them.
MOST_PEOPLE = 2**31 - 1


class RatingMachineSchema(Schema):
    """Rating machines: sizes, the scale, whether there are conditional weights, rows it knows."""

    model_class = RatingMachine
    format_version = 2
    entries = frozenset({"n_columns", "n_hidden", "n_known", "conditional", "scale", "edges"})

    def describe(self, model):
        entries = {
            "n_columns": model.n_columns, "n_hidden": model.n_hidden, "n_known": model.n_known,
            "conditional": model.conditional is not None, "scale": list(model.scale.values),
            "edges": None if model.scale.edges is None else list(model.scale.edges),
        }  # fmt: skip
        return entries, {name: model.arrays()[name] for name in self.shapes(entries)}

    def check(self, config):
        require(is_count(config["n_columns"], MOST_PEOPLE), "n_columns is not valid")
        require(is_count(config["n_hidden"], MAX_UNITS), "n_hidden is not valid")
        n_known = config["n_known"]
        require(n_known == 0 or is_count(n_known, MOST_PEOPLE), "n_known is not valid")
        require(type(n_known) is int, "n_known is not valid")
        require(isinstance(config["conditional"], bool), "conditional is neither true nor false")
        _require_ascending(config["scale"], "scale")
        require(2 <= len(config["scale"]) <= MOST_VALUES, "scale has no valid number of values")
        if config["edges"] is not None:
            _require_ascending(config["edges"], "edges")
            require(len(config["edges"]) == len(config["scale"]) - 1, "edges do not fit scale")

    def shapes(self, config):
        n_columns, n_values = config["n_columns"], len(config["scale"])
        n_hidden = config["n_hidden"]
        shapes = {
            "weights": (n_columns, n_values, n_hidden), "bias": (n_columns, n_values),
            "hidden_bias": (n_hidden,),
        }  # fmt: skip
        if config["conditional"]:
            shapes["conditional"] = (n_columns, n_hidden)
        if config["n_known"]:
            shapes["known_means"] = (config["n_known"], n_hidden)
        return shapes

    def build(self, config, tensors):
        edges = config["edges"]
        scale = Scale(tuple(config["scale"]), None if edges is None else tuple(edges))
        machine = RatingMachine(scale=scale, **tensors)
        means = machine.known_means
        require(
            not means.size or (means.min() >= 0.0 and means.max() <= 1.0),
            "known_means are no means of binary units",
        )
        return machine

    def is_usable(self, model):
        # largest hidden field: every column rated by its largest weight; visible ones: h all 1
        reach = np.abs(model.hidden_bias).astype(np.float64)
        most = 0.0
        for first in range(0, model.n_columns, 256):
            piece = np.abs(model.weights[first : first + 256])
            reach += piece.max(axis=1).sum(axis=0, dtype=np.float64)
            fields = piece.sum(axis=2, dtype=np.float64) + np.abs(model.bias[first : first + 256])
            most = max(most, float(fields.max()))
        if model.conditional is not None:
            reach += np.abs(model.conditional).sum(axis=0, dtype=np.float64)
        return max(most, float(reach.max())) < float(np.finfo(np.float32).max)


def _require_ascending(numbers, name):
    """Raise ValueError unless a value of a configuration is a list of ascending finite numbers."""
    good = isinstance(numbers, list) and all(
        type(number) in (int, float) and math.isfinite(number) for number in numbers
    )
    require(good and all(a < b for a, b in pairwise(numbers)), f"{name} must ascend")
