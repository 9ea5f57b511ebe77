"""Hierarchies of classes in files."""

import math

import numpy as np

from deepgen.inference.class_hierarchy import are_definite
from deepgen.io.schemas.schema import MAX_UNITS, Schema, is_count, require
from deepgen.models import ClassHierarchy
from deepgen.models.class_hierarchy import MOST_DRAWS

_SIZES = ("n_features", "n_components", "n_classes")


class ClassHierarchySchema(Schema):
    """Hierarchies of classes: sizes, draws of super-categories, what an inheritance counts for."""

    model_class = ClassHierarchy
    format_version = 2
    entries = frozenset({*_SIZES, "n_draws", "n_sorted", "inherited_rows"})

    def describe(self, model):
        n_draws, n_sorted = model.categories.shape
        entries = {
            "n_features": model.n_features, "n_components": model.n_components,
            "n_classes": model.n_classes, "n_draws": n_draws, "n_sorted": n_sorted,
            "inherited_rows": model.inherited_rows,
        }  # fmt: skip
        tensors = {
            "offset": model.offset, "weights": model.weights, "variances": model.variances,
            "counts": model.counts.astype(np.float32), "means": model.means,
            "scatters": model.scatters,
        }  # fmt: skip
        if model.categories.size:
            tensors["categories"] = model.categories.astype(np.float32)
        return entries, tensors

    def check(self, config):
        for name in _SIZES:
            require(is_count(config[name], MAX_UNITS), f"{name} is not valid")
        for name, most in (("n_draws", MOST_DRAWS), ("n_sorted", config["n_classes"])):
            value = config[name]
            require(value == 0 or is_count(value, most), f"{name} is not valid")
            require(type(value) is int, f"{name} is not valid")
        require((config["n_draws"] == 0) == (config["n_sorted"] == 0), "n_draws is not valid")
        rows = config["inherited_rows"]
        require(
            rows is None or (type(rows) is float and math.isfinite(rows) and rows > 0.0),
            "inherited_rows is no positive number and not null",
        )

    def shapes(self, config):
        n_columns, d, n_classes = (config[name] for name in _SIZES)
        shapes = {
            "offset": (n_columns,), "weights": (n_columns, d), "variances": (d,),
            "counts": (n_classes,), "means": (n_classes, d), "scatters": (n_classes, d, d),
        }  # fmt: skip
        if config["n_draws"]:
            shapes["categories"] = (config["n_draws"], config["n_sorted"])
        return shapes

    def build(self, config, tensors):
        return ClassHierarchy(**tensors, inherited_rows=config["inherited_rows"])

    def is_usable(self, model):
        """Tell whether all covariances that a model answers by are positive definite."""
        return are_definite(model)
