"""Mixtures in files."""

import numpy as np

from deepgen.io.schemas.schema import MAX_UNITS, Schema, absolute_sums, is_count, require
from deepgen.models import BernoulliMixture


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
