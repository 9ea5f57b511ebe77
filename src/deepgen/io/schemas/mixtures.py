"""Mixtures in files."""

import numpy as np

from deepgen.io.schemas.machines import build_units, check_units, describe_units, shapes_of_units
from deepgen.io.schemas.schema import (
    MAX_UNITS,
    Schema,
    absolute_sums,
    check_list_of_layers,
    is_count,
    require,
)
from deepgen.layers.units import LARGEST_VALUE
from deepgen.models import BernoulliMixture, ProductMixture


class MixtureSchema(Schema):
    """Mixtures of Bernoullis: numbers of columns and components."""

    model_class = BernoulliMixture
    entries = frozenset({"n_features", "n_components"})

    def describe(self, model):
        tensors = {"log_weights": model.log_weights, "logits": model.logits}
        return {"n_features": model.n_features, "n_components": model.n_components}, tensors

    def check(self, config):
        for name in ("n_features", "n_components"):
            require(is_count(config[name], MAX_UNITS), f"{name} is not valid")

    def shapes(self, config):
        n_features, n_components = config["n_features"], config["n_components"]
        return {"log_weights": (n_components,), "logits": (n_features, n_components)}

    def build(self, config, tensors):
        return BernoulliMixture(**tensors)

    def is_usable(self, model):
        reach = np.abs(model.constants) + absolute_sums(model.logits)[1]
        return bool(reach.max() < np.finfo(np.float32).max)


class ProductMixtureSchema(Schema):
    """Mixtures of products: the units of their columns, and the number of components."""

    model_class = ProductMixture
    format_version = 2
    entries = frozenset({"layers", "n_components"})

    def describe(self, model):
        entry, tensors = describe_units(model.visible, "layers.0")
        for name in ("log_weights", "fields", "origin"):
            tensors[name] = vars(model)[name]
        return {"layers": [entry], "n_components": model.n_components}, tensors

    def check(self, config):
        check_list_of_layers(config["layers"], 1)
        require(len(config["layers"]) == 1, "layers must be one layer of columns")
        check_units(config["layers"][0])
        require(is_count(config["n_components"], MAX_UNITS), "n_components is not valid")

    def shapes(self, config):
        layer, n_components = config["layers"][0], config["n_components"]
        return {
            **shapes_of_units(layer, "layers.0"), "log_weights": (n_components,),
            "fields": (layer["size"], n_components), "origin": (layer["size"],),
        }  # fmt: skip

    def build(self, config, tensors):
        visible = build_units(config["layers"][0], "layers.0", tensors)
        arrays = {name: tensors[name] for name in ("log_weights", "fields", "origin")}
        return ProductMixture(visible, **arrays)

    def is_usable(self, model):
        fields, reach = np.abs(model.fields).astype(np.float64), np.abs(model.constants)
        for columns, part in model.visible.placed_parts:
            most = min(part.largest_state, LARGEST_VALUE)
            reach = reach + most * fields[columns].sum(axis=0)
            if not part.is_bounded:  # draws are rows: six deviations
                means = np.abs(model.means[:, columns])
                if not (means + 6.0 * np.sqrt(part.variance(means))).max() < LARGEST_VALUE:
                    return False
        return bool(reach.max() < np.finfo(np.float32).max)
