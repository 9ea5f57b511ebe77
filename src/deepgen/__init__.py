"""deepgen: deep generative models on ordinary CPUs.

Estimators (:class:`RBM`) are what most people call; the core below them is public too: models
are data (:class:`BoltzmannMachine`), algorithms are functions over them (:func:`gibbs`,
:func:`exact_log_partition`, :func:`ais`, ...).
"""

from deepgen import datasets
from deepgen._version import __version__
from deepgen.callbacks import CSVLog, EarlyStopping, ReduceLearningRate
from deepgen.checkpoints import Checkpoint
from deepgen.config import show_config
from deepgen.context import Context
from deepgen.errors import DivergedError, ModelFileError
from deepgen.estimators import RBM, Autoencoder, DeepAutoencoder, DeepClassifier, DeepRegressor
from deepgen.estimators.loading import load
from deepgen.fine_tuning import NetworkTrainer, Objective
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
from deepgen.losses import CrossEntropy, SoftmaxCrossEntropy, SquaredError
from deepgen.minimizers import LBFGS, ConjugateGradient
from deepgen.models import BoltzmannMachine, Network, NetworkLayer
from deepgen.monitors import FreeEnergyGap, LikelihoodMonitor
from deepgen.optimizers import SGD, Adam, Constant, Linear
from deepgen.rules import CD, PCD, Sparsity
from deepgen.sampling import gibbs
from deepgen.stacking import Pretraining
from deepgen.states import Particles
from deepgen.stream import Stream, child_seed
from deepgen.threads import set_num_threads
from deepgen.units import Binary, Gaussian, Softmax, Units
from deepgen.unrolling import encoder, unrolled

__all__ = [
    "CD",
    "LBFGS",
    "PCD",
    "RBM",
    "SGD",
    "Adam",
    "Autoencoder",
    "Binary",
    "BoltzmannMachine",
    "CSVLog",
    "Checkpoint",
    "ConjugateGradient",
    "Constant",
    "Context",
    "CrossEntropy",
    "DeepAutoencoder",
    "DeepClassifier",
    "DeepRegressor",
    "DivergedError",
    "EarlyStopping",
    "FreeEnergyGap",
    "Gaussian",
    "LikelihoodMonitor",
    "Linear",
    "LogPartition",
    "ModelFileError",
    "Network",
    "NetworkLayer",
    "NetworkTrainer",
    "Objective",
    "Particles",
    "Pretraining",
    "ReduceLearningRate",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Sparsity",
    "SquaredError",
    "Stream",
    "Trajectory",
    "Units",
    "__version__",
    "ais",
    "base_rates",
    "child_seed",
    "datasets",
    "encoder",
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
    "unrolled",
]
