"""Models are data: layers and weights, and what they mean."""

from deepgen.models.boltzmann_machine import BoltzmannMachine
from deepgen.models.parameters import Parameters

__all__ = ["BoltzmannMachine", "Parameters"]
