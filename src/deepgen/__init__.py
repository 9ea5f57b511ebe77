"""deepgen: deep generative models on ordinary CPUs.

Estimators (:class:`RBM`, :class:`MixtureOfBernoullis`, :class:`DeepClassifier`, ...) are what most
people call; the core below them is public too: models are data (:class:`BoltzmannMachine`,
:class:`BernoulliMixture`, :class:`Network`), algorithms are functions over them (:func:`gibbs`,
:func:`exact_log_partition`, :func:`ais`, ...).
"""

import importlib
from typing import TYPE_CHECKING

from deepgen import datasets
from deepgen._version import __version__
from deepgen.errors import DivergedError, ModelFileError
from deepgen.inference.blends import Blend, blend
from deepgen.inference.gibbs import gibbs
from deepgen.inference.mean_field import FixedPoint, MeanField, mean_field
from deepgen.inference.samplers import Chains, Gibbs, MoveInfo, Sampler
from deepgen.layers.binary import Binary
from deepgen.layers.context import Context
from deepgen.layers.gaussian import Gaussian
from deepgen.layers.mixed import Mixed
from deepgen.layers.multinomial import Multinomial
from deepgen.layers.softmax import Softmax
from deepgen.layers.units import Units
from deepgen.learning.belief_networks import UpDownTrainer
from deepgen.learning.callbacks import Checkpoint, CSVLog, EarlyStopping, ReduceLearningRate
from deepgen.learning.minimizers import LBFGS, ConjugateGradient
from deepgen.learning.monitors import FreeEnergyGap, LikelihoodMonitor
from deepgen.learning.networks import NetworkTrainer
from deepgen.learning.optimizers import SGD, Adam
from deepgen.learning.ratings import MaskedPrediction
from deepgen.learning.rules import CD, PCD, MeanFieldPCD, Sparsity
from deepgen.learning.schedules import Constant, Linear
from deepgen.likelihood import (
    FrameLikelihoods,
    LengthPartition,
    LogPartition,
    RowPartitions,
    Trajectory,
    ais,
    base_rates,
    exact_log_likelihood,
    exact_log_partition,
    frame_log_likelihoods,
    free_energy,
    importance_weighted_bound,
    log_partition_bracket,
    log_partition_by_length,
    log_partitions_by_row,
    pseudo_log_likelihood,
    reverse_ais,
    variational_bound,
)
from deepgen.models import (
    BeliefLayer,
    BeliefNetwork,
    BernoulliMixture,
    BoltzmannMachine,
    ClassHierarchy,
    ConditionalMachine,
    HiddenMeans,
    NeighbourNetwork,
    Network,
    NetworkLayer,
    PosteriorNetwork,
    ProcessNetwork,
    RatingMachine,
    Recurrent,
    SquaredExponential,
    Window,
    conditional_model,
)
from deepgen.networks.losses import (
    CrossEntropy,
    Loss,
    RowLoss,
    SoftmaxCrossEntropy,
    SquaredError,
)
from deepgen.networks.neighbour_loss import NeighbourLoss
from deepgen.networks.objective import FieldNoise, Objective, Reconstruction
from deepgen.networks.process_loss import ProcessLikelihood
from deepgen.networks.smoothness import VirtualAdversarial
from deepgen.rows.batch import Batch
from deepgen.rows.counts import CountInputs
from deepgen.rows.mapped import map_csr
from deepgen.rows.packed_bits import PackedBits
from deepgen.rows.particles import Particles
from deepgen.rows.ratings import Ratings
from deepgen.rows.sequences import Sequences, Transpose
from deepgen.runtime.config import show_config, warn_of_environment
from deepgen.runtime.precision import set_precision
from deepgen.runtime.stream import Stream, child_seed
from deepgen.runtime.threads import set_num_threads
from deepgen.stacks.composition import compose
from deepgen.stacks.settings import Pretraining
from deepgen.stacks.unrolling import encoder, unrolled

if TYPE_CHECKING:
    from deepgen import plots
    from deepgen.estimators import (
        DBM,
        DBN,
        RBM,
        Autoencoder,
        DeepAutoencoder,
        DeepClassifier,
        DeepGaussianProcessRegressor,
        DeepRegressor,
        HierarchicalGaussian,
        Imputer,
        MixtureOfBernoullis,
        NeighbourhoodComponents,
        RatingsRBM,
        TemporalRBM,
    )
    from deepgen.estimators.deep_kernel import DeepKernel
    from deepgen.estimators.loading import load

warn_of_environment()

# Estimators come with their first use: scikit-learn takes three times as long to import as all the
# rest, and who needs the core alone does not need it. Pictures are for those who draw them.
_LATER = {
    "Autoencoder": "deepgen.estimators",
    "DBM": "deepgen.estimators",
    "DBN": "deepgen.estimators",
    "DeepAutoencoder": "deepgen.estimators",
    "DeepClassifier": "deepgen.estimators",
    "DeepGaussianProcessRegressor": "deepgen.estimators",
    "DeepKernel": "deepgen.estimators.deep_kernel",
    "DeepRegressor": "deepgen.estimators",
    "HierarchicalGaussian": "deepgen.estimators",
    "Imputer": "deepgen.estimators",
    "MixtureOfBernoullis": "deepgen.estimators",
    "NeighbourhoodComponents": "deepgen.estimators",
    "RBM": "deepgen.estimators",
    "RatingsRBM": "deepgen.estimators",
    "ReplicatedSoftmax": "deepgen.estimators",
    "TemporalRBM": "deepgen.estimators",
    "load": "deepgen.estimators.loading",
    "plots": "deepgen.plots",
    "retrieval": "deepgen.retrieval",
}

__all__ = [
    "CD",
    "DBM",
    "DBN",
    "LBFGS",
    "PCD",
    "RBM",
    "SGD",
    "Adam",
    "Autoencoder",
    "Batch",
    "BeliefLayer",
    "BeliefNetwork",
    "BernoulliMixture",
    "Binary",
    "Blend",
    "BoltzmannMachine",
    "CSVLog",
    "Chains",
    "Checkpoint",
    "ClassHierarchy",
    "ConditionalMachine",
    "ConjugateGradient",
    "Constant",
    "Context",
    "CountInputs",
    "CrossEntropy",
    "DeepAutoencoder",
    "DeepClassifier",
    "DeepGaussianProcessRegressor",
    "DeepKernel",
    "DeepRegressor",
    "DivergedError",
    "EarlyStopping",
    "FieldNoise",
    "FixedPoint",
    "FrameLikelihoods",
    "FreeEnergyGap",
    "Gaussian",
    "Gibbs",
    "HiddenMeans",
    "HierarchicalGaussian",
    "Imputer",
    "LengthPartition",
    "LikelihoodMonitor",
    "Linear",
    "LogPartition",
    "Loss",
    "MaskedPrediction",
    "MeanField",
    "MeanFieldPCD",
    "Mixed",
    "MixtureOfBernoullis",
    "ModelFileError",
    "MoveInfo",
    "Multinomial",
    "NeighbourLoss",
    "NeighbourNetwork",
    "NeighbourhoodComponents",
    "Network",
    "NetworkLayer",
    "NetworkTrainer",
    "Objective",
    "PackedBits",
    "Particles",
    "PosteriorNetwork",
    "Pretraining",
    "ProcessLikelihood",
    "ProcessNetwork",
    "RatingMachine",
    "Ratings",
    "RatingsRBM",
    "Reconstruction",
    "Recurrent",
    "ReduceLearningRate",
    "RowLoss",
    "RowPartitions",
    "Sampler",
    "Sequences",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Sparsity",
    "SquaredError",
    "SquaredExponential",
    "Stream",
    "TemporalRBM",
    "Trajectory",
    "Transpose",
    "Units",
    "UpDownTrainer",
    "VirtualAdversarial",
    "Window",
    "__version__",
    "ais",
    "base_rates",
    "blend",
    "child_seed",
    "compose",
    "conditional_model",
    "datasets",
    "encoder",
    "exact_log_likelihood",
    "exact_log_partition",
    "frame_log_likelihoods",
    "free_energy",
    "gibbs",
    "importance_weighted_bound",
    "load",
    "log_partition_bracket",
    "log_partition_by_length",
    "log_partitions_by_row",
    "map_csr",
    "mean_field",
    "plots",
    "pseudo_log_likelihood",
    "retrieval",
    "reverse_ais",
    "set_num_threads",
    "set_precision",
    "show_config",
    "unrolled",
    "variational_bound",
]


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module 'deepgen' has no attribute {name!r}")
    module = importlib.import_module(_LATER[name])
    value = module if _LATER[name] == f"deepgen.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_LATER})
