"""Models are data: layers and weights, and what they mean. Functions over them live elsewhere."""

from deepgen.models.belief_network import (
    BeliefLayer,
    BeliefNetwork,
    check_belief_network,
)
from deepgen.models.boltzmann_machine import (
    BoltzmannMachine,
    are_layers,
    check_model,
    check_one_length,
)
from deepgen.models.clamped import conditional_model
from deepgen.models.class_hierarchy import ClassHierarchy, ClassRows
from deepgen.models.conditional_machine import (
    ConditionalMachine,
    ConditionalParameters,
    check_conditional,
)
from deepgen.models.mixture import BernoulliMixture, ProductMixture, mixture_of
from deepgen.models.neighbour_network import NeighbourNetwork
from deepgen.models.network import Network, NetworkLayer, NetworkParameters
from deepgen.models.parameters import Parameters
from deepgen.models.posterior_network import PosteriorNetwork, n_hidden_layers
from deepgen.models.process_network import ProcessNetwork, SquaredExponential
from deepgen.models.rating_machine import RatingMachine, RatingParameters
from deepgen.models.recurrences import HiddenMeans, Recurrent, Window

__all__ = [
    "BeliefLayer",
    "BeliefNetwork",
    "BernoulliMixture",
    "BoltzmannMachine",
    "ClassHierarchy",
    "ClassRows",
    "ConditionalMachine",
    "ConditionalParameters",
    "HiddenMeans",
    "NeighbourNetwork",
    "Network",
    "NetworkLayer",
    "NetworkParameters",
    "Parameters",
    "PosteriorNetwork",
    "ProcessNetwork",
    "ProductMixture",
    "RatingMachine",
    "RatingParameters",
    "Recurrent",
    "SquaredExponential",
    "Window",
    "are_layers",
    "check_belief_network",
    "check_conditional",
    "check_model",
    "check_one_length",
    "conditional_model",
    "mixture_of",
    "n_hidden_layers",
]
