"""The closed list of schemas: a file's ``model`` is looked up here, never imported.

A configuration is what a file says of a model in plain data: ``model``, the name of its class, and
the entries of its schema. Header, checksum and bytes of the file are those of ``model_files.py``.
"""

from deepgen.io.schemas.belief_networks import BeliefNetworkSchema
from deepgen.io.schemas.hierarchies import ClassHierarchySchema
from deepgen.io.schemas.ladders import LadderSchema
from deepgen.io.schemas.machines import MACHINE
from deepgen.io.schemas.mixtures import MixtureSchema, ProductMixtureSchema
from deepgen.io.schemas.neighbours import NeighbourNetworkSchema
from deepgen.io.schemas.networks import NetworkSchema, PosteriorNetworkSchema
from deepgen.io.schemas.processes import ProcessNetworkSchema
from deepgen.io.schemas.ratings import RatingMachineSchema
from deepgen.io.schemas.schema import require
from deepgen.io.schemas.sequences import ConditionalMachineSchema

SCHEMAS = {
    schema.model_class.__name__: schema
    for schema in (
        MACHINE, BeliefNetworkSchema(), MixtureSchema(), NetworkSchema(), PosteriorNetworkSchema(),
        RatingMachineSchema(), ProcessNetworkSchema(), NeighbourNetworkSchema(),
        ClassHierarchySchema(), ConditionalMachineSchema(), LadderSchema(), ProductMixtureSchema(),
    )
}  # fmt: skip


def describe(model):
    """Return (configuration, tensors) of a model: plain data and float32 arrays.

    Raises
    ------
    ValueError
        If the file format does not know the model, or one of its layers.
    """
    entries, tensors = schema_for(model).describe(model)
    return {"model": type(model).__name__, **entries}, tensors


def schema_for(model):
    """Return the schema of a model; ValueError if the file format does not know it."""
    schema = SCHEMAS.get(type(model).__name__)
    if schema is None or type(model) is not schema.model_class:
        raise ValueError(
            f"model is a {type(model).__name__}, which the file format does not know; it knows "
            f"{', '.join(SCHEMAS)}"
        )
    return schema


def schema_of(config):
    """Return the schema of a configuration, which it has checked.

    Parameters
    ----------
    config : dict
        ``model`` and the entries of its schema.

    Raises
    ------
    ValueError
        If the model is unknown, an entry is missing, unknown or not valid.
    """
    name = config.get("model")
    require(isinstance(name, str) and name in SCHEMAS, f"unknown model {name!r}")
    schema = SCHEMAS[name]
    known = schema.knows(set(config) - {"model"})
    require(known, "the configuration has unknown or missing entries")
    schema.check(config)
    return schema


def as_tree(model):
    """Return a model as a tree that a checkpoint can hold, as stacks keep finished machines."""
    return dict(zip(("model", "tensors"), describe(model), strict=True))


def from_tree(tree):
    """Return the model that :func:`as_tree` was called on.

    Raises
    ------
    ValueError
        If the tree is not that of a model.
    """
    try:
        config, tensors = tree["model"], tree["tensors"]
        schema = schema_of(config)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no model: {error}") from None
    require(shapes == schema.shapes(config), "tensors of other names or shapes")
    return schema.build(config, tensors)
