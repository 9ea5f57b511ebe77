"""deepgen: deep generative models on ordinary CPUs.

Estimators (:class:`RBM`, :class:`MixtureOfBernoullis`) are what most people call; the core below
them is public too: models are data (:class:`BoltzmannMachine`, :class:`BernoulliMixture`),
algorithms are functions over them (:func:`gibbs`, :func:`exact_log_partition`, :func:`ais`, ...).
"""

import importlib
from typing import TYPE_CHECKING

from deepgen import datasets
from deepgen._version import __version__
from deepgen.callbacks import CSVLog, EarlyStopping, ReduceLearningRate
from deepgen.checkpoints import Checkpoint
from deepgen.config import show_config
from deepgen.context import Context
from deepgen.errors import DivergedError, ModelFileError
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
from deepgen.monitors import FreeEnergyGap, LikelihoodMonitor
from deepgen.optimizers import SGD, Adam, Constant, Linear
from deepgen.rules import CD, PCD, Sparsity
from deepgen.sampling import gibbs
from deepgen.states import Particles
from deepgen.stream import Stream, child_seed
from deepgen.threads import set_num_threads
from deepgen.units import Binary, Gaussian, Softmax, Units

if TYPE_CHECKING:
    from deepgen.estimators import RBM, MixtureOfBernoullis
    from deepgen.estimators.loading import load

# Estimators come with their first use: scikit-learn takes three times as long to import as all the
# rest, and who needs the core alone does not need it.
_LATER = {
    "MixtureOfBernoullis": "deepgen.estimators",
    "RBM": "deepgen.estimators",
    "load": "deepgen.estimators.loading",
}

__all__ = [
    "CD",
    "PCD",
    "RBM",
    "SGD",
    "Adam",
    "BernoulliMixture",
    "Binary",
    "BoltzmannMachine",
    "CSVLog",
    "Checkpoint",
    "Constant",
    "Context",
    "DivergedError",
    "EarlyStopping",
    "FreeEnergyGap",
    "Gaussian",
    "LikelihoodMonitor",
    "Linear",
    "LogPartition",
    "MixtureOfBernoullis",
    "ModelFileError",
    "Particles",
    "ReduceLearningRate",
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


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module 'deepgen' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
    return value


def __dir__():
    return sorted({*globals(), *_LATER})
