"""Models are data: layers and weights, and what they mean."""

from deepgen.models.boltzmann_machine import BoltzmannMachine
from deepgen.models.network import Network, NetworkLayer, NetworkParameters
from deepgen.models.parameters import Parameters

__all__ = ["BoltzmannMachine", "Network", "NetworkLayer", "NetworkParameters", "Parameters"]
