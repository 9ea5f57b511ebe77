"""Networks of codes, with the labelled rows that they know, in files."""

import math

import numpy as np

from deepgen.io.schemas.networks import NetworkSchema
from deepgen.io.schemas.schema import MAX_UNITS, Schema, is_count, require, under, within
from deepgen.models import NeighbourNetwork

_NETWORK = NetworkSchema()


class NeighbourNetworkSchema(Schema):
    """Networks of codes: the network as an object, numbers of rows and classes, temperature."""

    model_class = NeighbourNetwork
    format_version = 2
    entries = frozenset({"network", "n_rows", "n_classes", "temperature"})

    def describe(self, model):
        network, tensors = _NETWORK.describe(model.network)
        entries = {
            "network": network, "n_rows": len(model.labels), "n_classes": model.n_classes,
            "temperature": model.temperature,
        }  # fmt: skip
        own = {"codes": model.codes, "labels": model.labels.astype(np.float32)}
        return entries, under("network", tensors) | own

    def check(self, config):
        network, temperature = config["network"], config["temperature"]
        require(
            isinstance(network, dict) and _NETWORK.knows(network),
            "network is not an object of layers and n_inputs",
        )
        _NETWORK.check(network)
        require(is_count(config["n_rows"], MAX_UNITS), "n_rows is not valid")
        # a label is a float32, and a matrix of classes by classes is made of them
        n_classes = config["n_classes"]
        require(is_count(n_classes, config["n_rows"]) and n_classes > 1, "n_classes is not valid")
        require(
            type(temperature) is float and math.isfinite(temperature) and temperature > 0.0,
            "temperature is no positive number",
        )

    def shapes(self, config):
        n_rows, width = config["n_rows"], config["network"]["layers"][-1]["size"]
        own = {"codes": (n_rows, width), "labels": (n_rows,)}
        return under("network", _NETWORK.shapes(config["network"])) | own

    def build(self, config, tensors):
        return NeighbourNetwork(
            _NETWORK.build(config["network"], within("network", tensors)), tensors["codes"],
            tensors["labels"], config["n_classes"], config["temperature"],
        )  # fmt: skip

    def is_usable(self, model):
        return _NETWORK.is_usable(model.network)
