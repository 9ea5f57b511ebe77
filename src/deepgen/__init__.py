"""deepgen: deep generative models on ordinary CPUs.

Estimators (:class:`RBM`, :class:`MixtureOfBernoullis`, :class:`DeepClassifier`, ...) are what most
people call; the core below them is public too: models are data (:class:`BoltzmannMachine`,
:class:`BernoulliMixture`, :class:`Network`), algorithms are functions over them (:func:`gibbs`,
:func:`exact_log_partition`, :func:`ais`, ...).
"""

import importlib
import os
from typing import TYPE_CHECKING

from deepgen._version import __version__

if TYPE_CHECKING:
    from deepgen import datasets, distributed, plots, retrieval
    from deepgen.errors import DivergedError, ModelFileError, TimeLimitError
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
        MixtureOfProducts,
        NeighbourhoodComponents,
        RatingsRBM,
        ReplicatedSoftmax,
        TemporalRBM,
    )
    from deepgen.estimators.deep_kernel import DeepKernel
    from deepgen.estimators.loading import load
    from deepgen.inference.blends import Blend, blend
    from deepgen.inference.gibbs import gibbs
    from deepgen.inference.mean_field import FixedPoint, MeanField, mean_field
    from deepgen.inference.mixing import Mixing, mixing, placed_rungs
    from deepgen.inference.samplers import Chains, Gibbs, MoveInfo, Sampler
    from deepgen.inference.tap import TAP, tap, tap_log_likelihood
    from deepgen.inference.tempering import CoupledTempering, ParallelTempering, TemperedTransitions
    from deepgen.inference.trajectories import TrajectoryTempering, independent
    from deepgen.io.ladders import load_ladder, save_ladder
    from deepgen.layers.binary import Binary
    from deepgen.layers.context import Context
    from deepgen.layers.gaussian import Gaussian
    from deepgen.layers.mixed import Mixed
    from deepgen.layers.multinomial import Multinomial
    from deepgen.layers.softmax import Softmax
    from deepgen.layers.units import Units
    from deepgen.learning.belief_networks import UpDownTrainer
    from deepgen.learning.callbacks import Checkpoint, CSVLog, EarlyStopping, ReduceLearningRate
    from deepgen.learning.ladders import ModelLadder
    from deepgen.learning.minimizers import LBFGS, ConjugateGradient
    from deepgen.learning.monitors import FreeEnergyGap, LikelihoodMonitor
    from deepgen.learning.networks import NetworkTrainer
    from deepgen.learning.optimizers import SGD, Adam
    from deepgen.learning.ratings import MaskedPrediction
    from deepgen.learning.rule_states import Sparsity
    from deepgen.learning.rules import CD, PCD, TAPPCD, MeanFieldPCD
    from deepgen.learning.schedules import Constant, Linear
    from deepgen.likelihood import (
        FrameLikelihoods,
        LengthPartition,
        LogPartition,
        RowLikelihoods,
        RowPartitions,
        Trajectory,
        ais,
        base_rates,
        exact_log_likelihood,
        exact_log_partition,
        frame_log_likelihoods,
        free_energy,
        importance_weighted_bound,
        ladder_bracket,
        log_partition_bracket,
        log_partition_by_ladder,
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
        ProductMixture,
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
    from deepgen.runtime.config import show_config
    from deepgen.runtime.precision import set_precision
    from deepgen.runtime.stream import Stream, child_seed
    from deepgen.runtime.threads import set_num_threads
    from deepgen.runtime.time_limit import TimeLimit
    from deepgen.stacks.composition import compose
    from deepgen.stacks.settings import Pretraining
    from deepgen.stacks.unrolling import encoder, unrolled

# What is asked for by name comes with its first use: NumPy and the kernels take a tenth of a
# second, SciPy and scikit-learn a whole one, and `deepgen --version` needs none of them.
_LATER = {
    "Adam": "deepgen.learning.optimizers",
    "Autoencoder": "deepgen.estimators",
    "Batch": "deepgen.rows.batch",
    "BeliefLayer": "deepgen.models",
    "BeliefNetwork": "deepgen.models",
    "BernoulliMixture": "deepgen.models",
    "Binary": "deepgen.layers.binary",
    "Blend": "deepgen.inference.blends",
    "BoltzmannMachine": "deepgen.models",
    "CD": "deepgen.learning.rules",
    "CSVLog": "deepgen.learning.callbacks",
    "Chains": "deepgen.inference.samplers",
    "Checkpoint": "deepgen.learning.callbacks",
    "ClassHierarchy": "deepgen.models",
    "ConditionalMachine": "deepgen.models",
    "ConjugateGradient": "deepgen.learning.minimizers",
    "Constant": "deepgen.learning.schedules",
    "Context": "deepgen.layers.context",
    "CountInputs": "deepgen.rows.counts",
    "CoupledTempering": "deepgen.inference.tempering",
    "CrossEntropy": "deepgen.networks.losses",
    "DBM": "deepgen.estimators",
    "DBN": "deepgen.estimators",
    "DeepAutoencoder": "deepgen.estimators",
    "DeepClassifier": "deepgen.estimators",
    "DeepGaussianProcessRegressor": "deepgen.estimators",
    "DeepKernel": "deepgen.estimators.deep_kernel",
    "DeepRegressor": "deepgen.estimators",
    "DivergedError": "deepgen.errors",
    "EarlyStopping": "deepgen.learning.callbacks",
    "FieldNoise": "deepgen.networks.objective",
    "FixedPoint": "deepgen.inference.mean_field",
    "FrameLikelihoods": "deepgen.likelihood",
    "FreeEnergyGap": "deepgen.learning.monitors",
    "Gaussian": "deepgen.layers.gaussian",
    "Gibbs": "deepgen.inference.samplers",
    "HiddenMeans": "deepgen.models",
    "HierarchicalGaussian": "deepgen.estimators",
    "Imputer": "deepgen.estimators",
    "LBFGS": "deepgen.learning.minimizers",
    "LengthPartition": "deepgen.likelihood",
    "LikelihoodMonitor": "deepgen.learning.monitors",
    "Linear": "deepgen.learning.schedules",
    "LogPartition": "deepgen.likelihood",
    "Loss": "deepgen.networks.losses",
    "MaskedPrediction": "deepgen.learning.ratings",
    "MeanField": "deepgen.inference.mean_field",
    "MeanFieldPCD": "deepgen.learning.rules",
    "Mixed": "deepgen.layers.mixed",
    "Mixing": "deepgen.inference.mixing",
    "MixtureOfBernoullis": "deepgen.estimators",
    "MixtureOfProducts": "deepgen.estimators",
    "ModelFileError": "deepgen.errors",
    "ModelLadder": "deepgen.learning.ladders",
    "MoveInfo": "deepgen.inference.samplers",
    "Multinomial": "deepgen.layers.multinomial",
    "NeighbourLoss": "deepgen.networks.neighbour_loss",
    "NeighbourNetwork": "deepgen.models",
    "NeighbourhoodComponents": "deepgen.estimators",
    "Network": "deepgen.models",
    "NetworkLayer": "deepgen.models",
    "NetworkTrainer": "deepgen.learning.networks",
    "Objective": "deepgen.networks.objective",
    "PCD": "deepgen.learning.rules",
    "PackedBits": "deepgen.rows.packed_bits",
    "ParallelTempering": "deepgen.inference.tempering",
    "Particles": "deepgen.rows.particles",
    "PosteriorNetwork": "deepgen.models",
    "Pretraining": "deepgen.stacks.settings",
    "ProcessLikelihood": "deepgen.networks.process_loss",
    "ProcessNetwork": "deepgen.models",
    "ProductMixture": "deepgen.models",
    "RBM": "deepgen.estimators",
    "RatingMachine": "deepgen.models",
    "Ratings": "deepgen.rows.ratings",
    "RatingsRBM": "deepgen.estimators",
    "Reconstruction": "deepgen.networks.objective",
    "Recurrent": "deepgen.models",
    "ReduceLearningRate": "deepgen.learning.callbacks",
    "ReplicatedSoftmax": "deepgen.estimators",
    "RowLoss": "deepgen.networks.losses",
    "RowLikelihoods": "deepgen.likelihood",
    "RowPartitions": "deepgen.likelihood",
    "SGD": "deepgen.learning.optimizers",
    "Sampler": "deepgen.inference.samplers",
    "Sequences": "deepgen.rows.sequences",
    "Softmax": "deepgen.layers.softmax",
    "SoftmaxCrossEntropy": "deepgen.networks.losses",
    "Sparsity": "deepgen.learning.rule_states",
    "SquaredError": "deepgen.networks.losses",
    "SquaredExponential": "deepgen.models",
    "Stream": "deepgen.runtime.stream",
    "TAP": "deepgen.inference.tap",
    "TAPPCD": "deepgen.learning.rules",
    "TemperedTransitions": "deepgen.inference.tempering",
    "TemporalRBM": "deepgen.estimators",
    "TimeLimit": "deepgen.runtime.time_limit",
    "TimeLimitError": "deepgen.errors",
    "Trajectory": "deepgen.likelihood",
    "TrajectoryTempering": "deepgen.inference.trajectories",
    "Transpose": "deepgen.rows.sequences",
    "Units": "deepgen.layers.units",
    "UpDownTrainer": "deepgen.learning.belief_networks",
    "VirtualAdversarial": "deepgen.networks.smoothness",
    "Window": "deepgen.models",
    "ais": "deepgen.likelihood",
    "base_rates": "deepgen.likelihood",
    "blend": "deepgen.inference.blends",
    "child_seed": "deepgen.runtime.stream",
    "compose": "deepgen.stacks.composition",
    "conditional_model": "deepgen.models",
    "datasets": "deepgen.datasets",
    "distributed": "deepgen.distributed",
    "encoder": "deepgen.stacks.unrolling",
    "exact_log_likelihood": "deepgen.likelihood",
    "exact_log_partition": "deepgen.likelihood",
    "frame_log_likelihoods": "deepgen.likelihood",
    "free_energy": "deepgen.likelihood",
    "gibbs": "deepgen.inference.gibbs",
    "importance_weighted_bound": "deepgen.likelihood",
    "independent": "deepgen.inference.trajectories",
    "ladder_bracket": "deepgen.likelihood",
    "load": "deepgen.estimators.loading",
    "load_ladder": "deepgen.io.ladders",
    "log_partition_bracket": "deepgen.likelihood",
    "log_partition_by_ladder": "deepgen.likelihood",
    "log_partition_by_length": "deepgen.likelihood",
    "log_partitions_by_row": "deepgen.likelihood",
    "map_csr": "deepgen.rows.mapped",
    "mean_field": "deepgen.inference.mean_field",
    "mixing": "deepgen.inference.mixing",
    "placed_rungs": "deepgen.inference.mixing",
    "plots": "deepgen.plots",
    "pseudo_log_likelihood": "deepgen.likelihood",
    "retrieval": "deepgen.retrieval",
    "reverse_ais": "deepgen.likelihood",
    "save_ladder": "deepgen.io.ladders",
    "set_num_threads": "deepgen.runtime.threads",
    "set_precision": "deepgen.runtime.precision",
    "show_config": "deepgen.runtime.config",
    "tap": "deepgen.inference.tap",
    "tap_log_likelihood": "deepgen.inference.tap",
    "unrolled": "deepgen.stacks.unrolling",
    "variational_bound": "deepgen.likelihood",
}
# Rooms of the core, which are attributes as if they had been imported.
_ROOMS = (
    "errors", "estimators", "inference", "io", "layers", "learning", "likelihood", "models",
    "networks", "rows", "runtime", "stacks",
)  # fmt: skip

__all__ = [
    "CD",
    "DBM",
    "DBN",
    "LBFGS",
    "PCD",
    "RBM",
    "SGD",
    "TAP",
    "TAPPCD",
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
    "CoupledTempering",
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
    "Mixing",
    "MixtureOfBernoullis",
    "MixtureOfProducts",
    "ModelFileError",
    "ModelLadder",
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
    "ParallelTempering",
    "Particles",
    "PosteriorNetwork",
    "Pretraining",
    "ProcessLikelihood",
    "ProcessNetwork",
    "ProductMixture",
    "RatingMachine",
    "Ratings",
    "RatingsRBM",
    "Reconstruction",
    "Recurrent",
    "ReduceLearningRate",
    "ReplicatedSoftmax",
    "RowLikelihoods",
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
    "TemperedTransitions",
    "TemporalRBM",
    "TimeLimit",
    "TimeLimitError",
    "Trajectory",
    "TrajectoryTempering",
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
    "distributed",
    "encoder",
    "exact_log_likelihood",
    "exact_log_partition",
    "frame_log_likelihoods",
    "free_energy",
    "gibbs",
    "importance_weighted_bound",
    "independent",
    "ladder_bracket",
    "load",
    "load_ladder",
    "log_partition_bracket",
    "log_partition_by_ladder",
    "log_partition_by_length",
    "log_partitions_by_row",
    "map_csr",
    "mean_field",
    "mixing",
    "placed_rungs",
    "plots",
    "pseudo_log_likelihood",
    "retrieval",
    "reverse_ais",
    "save_ladder",
    "set_num_threads",
    "set_precision",
    "show_config",
    "tap",
    "tap_log_likelihood",
    "unrolled",
    "variational_bound",
]


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f"deepgen.{name}")
    if name not in _LATER:
        raise AttributeError(f"module 'deepgen' has no attribute {name!r}")
    module = importlib.import_module(_LATER[name])
    value = module if _LATER[name] == f"deepgen.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_LATER})


# An environment that says something may say it wrongly, and nobody would see that later on.
if {"DEEPGEN_CPU", "DEEPGEN_PRECISION", "OMP_NUM_THREADS"} & set(os.environ):
    importlib.import_module("deepgen.runtime.config").warn_of_environment()
