"""deepgen: deep generative models on ordinary CPUs.

Estimators (:class:`RBM`, :class:`MixtureOfBernoullis`) are what most people call; the core below
them is public too: models are data (:class:`BoltzmannMachine`, :class:`BernoulliMixture`),
algorithms are functions over them (:func:`gibbs`, :func:`exact_log_partition`, :func:`ais`, ...).
"""

from deepgen import datasets
from deepgen._version import __version__
from deepgen.config import show_config
from deepgen.context import Context
from deepgen.errors import DivergedError, ModelFileError
from deepgen.estimators import RBM, MixtureOfBernoullis
from deepgen.estimators.loading import load
from deepgen.likelihood import (
    LogPartition,
    Trajectory,
    ais,
    base_rates,
    exact_log_likelihood,
    exact_log_partition,
    free_energy,
    log_partition_bracket,
    pseudo_log_likelihood,
    reverse_ais,
)
from deepgen.models import BernoulliMixture, BoltzmannMachine
from deepgen.monitors import LikelihoodMonitor
from deepgen.optimizers import SGD, Adam, Constant, Linear
from deepgen.rules import CD, PCD, Sparsity
from deepgen.sampling import gibbs
from deepgen.states import Particles
from deepgen.stream import Stream, child_seed
from deepgen.threads import set_num_threads
from deepgen.units import Binary, Gaussian, Softmax, Units

__all__ = [
    "CD",
    "PCD",
    "RBM",
    "SGD",
    "Adam",
    "BernoulliMixture",
    "Binary",
    "BoltzmannMachine",
    "Constant",
    "Context",
    "DivergedError",
    "Gaussian",
    "LikelihoodMonitor",
    "Linear",
    "LogPartition",
    "MixtureOfBernoullis",
    "ModelFileError",
    "Particles",
    "Softmax",
    "Sparsity",
    "Stream",
    "Trajectory",
    "Units",
    "__version__",
    "ais",
    "base_rates",
    "child_seed",
    "datasets",
    "exact_log_likelihood",
    "exact_log_partition",
    "free_energy",
    "gibbs",
    "load",
    "log_partition_bracket",
    "pseudo_log_likelihood",
    "reverse_ais",
    "set_num_threads",
    "show_config",
]
