"""Ladders of models in files: machines of one form, from the first of a training on."""

from deepgen.inference.trajectories import TrajectoryTempering
from deepgen.io.schemas.machines import MACHINE
from deepgen.io.schemas.schema import Schema, is_count, require, under, within

# Of a ladder in a file; a callback keeps a few dozen, and placing makes 200 at the most.
MOST_MODELS = 1_000


class LadderSchema(Schema):
    """Ladders: what the machines have in common once, and the tensors of each."""

    model_class = TrajectoryTempering
    format_version = 2
    entries = frozenset({"machine", "n_models"})

    def describe(self, model):
        entries, tensors = MACHINE.describe(model.models[0])[0], {}
        for number, machine in enumerate(model.models):
            tensors |= under(f"models.{number}", MACHINE.describe(machine)[1])
        return {"machine": entries, "n_models": len(model.models)}, tensors

    def check(self, config):
        machine = config["machine"]
        require(
            isinstance(machine, dict) and MACHINE.knows(machine),
            "machine is not an object of layers and observed",
        )
        MACHINE.check(machine)
        require(is_count(config["n_models"], MOST_MODELS), "n_models is not valid")

    def shapes(self, config):
        of_one, shapes = MACHINE.shapes(config["machine"]), {}
        for number in range(config["n_models"]):
            shapes |= under(f"models.{number}", of_one)
        return shapes

    def build(self, config, tensors):
        return TrajectoryTempering(
            [MACHINE.build(config["machine"], within(f"models.{number}", tensors))
             for number in range(config["n_models"])]
        )  # fmt: skip

    def is_usable(self, model):
        return all(MACHINE.is_usable(machine) for machine in model.models)
