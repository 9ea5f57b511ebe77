"""Models are data: layers and weights, and what they mean."""

from deepgen.models.boltzmann_machine import BoltzmannMachine, are_layers, check_model
from deepgen.models.parameters import Parameters

__all__ = ["BoltzmannMachine", "Parameters", "are_layers", "check_model"]
