"""Gaussian processes on networks in files."""

import math
from dataclasses import asdict

from deepgen.io.schemas.networks import NetworkSchema
from deepgen.io.schemas.schema import MAX_UNITS, Schema, is_count, require, under, within
from deepgen.models import ProcessNetwork, SquaredExponential

_NETWORK = NetworkSchema()
_OF_COVARIANCE = frozenset({"amplitude", "length", "noise", "noise_floor"})


class ProcessNetworkSchema(Schema):
    """Process networks: the network as an object, labelled rows, covariance, scale of targets."""

    model_class = ProcessNetwork
    format_version = 2
    entries = frozenset({
        "network", "n_rows", "n_inducing", "covariance", "target_mean", "target_scale",
    })  # fmt: skip

    def describe(self, model):
        network, tensors = _NETWORK.describe(model.network)
        entries = {
            "network": network, "n_rows": len(model.targets),
            "covariance": asdict(model.covariance), "target_mean": model.mean,
            "target_scale": model.scale, "n_inducing": model.n_inducing,
        }  # fmt: skip
        own = {"features": model.features, "targets": model.targets}
        return entries, under("network", tensors) | own

    def check(self, config):
        network, covariance = config["network"], config["covariance"]
        require(
            isinstance(network, dict) and _NETWORK.knows(network),
            "network is not an object of layers and n_inputs",
        )
        _NETWORK.check(network)
        n_rows, n_inducing = config["n_rows"], config["n_inducing"]
        require(is_count(n_rows, MAX_UNITS), "n_rows is not valid")
        require(n_inducing is None or is_count(n_inducing, n_rows), "n_inducing is not valid")
        require(
            isinstance(covariance, dict) and set(covariance) == _OF_COVARIANCE,
            f"covariance is not an object of {', '.join(sorted(_OF_COVARIANCE))}",
        )
        numbers = covariance | {name: config[name] for name in ("target_mean", "target_scale")}
        for name, value in numbers.items():
            require(type(value) is float and math.isfinite(value), f"{name} is no finite number")
            require(name == "target_mean" or value > 0.0, f"{name} is not positive")

    def shapes(self, config):
        n_rows, width = config["n_rows"], config["network"]["layers"][-1]["size"]
        own = {"features": (n_rows, width), "targets": (n_rows,)}
        return under("network", _NETWORK.shapes(config["network"])) | own

    def build(self, config, tensors):
        return ProcessNetwork(
            _NETWORK.build(config["network"], within("network", tensors)),
            SquaredExponential(**config["covariance"]), tensors["features"], tensors["targets"],
            config["target_mean"], config["target_scale"], config["n_inducing"],
        )  # fmt: skip

    def is_usable(self, model):
        return _NETWORK.is_usable(model.network)
