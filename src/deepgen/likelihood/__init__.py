"""Estimates of the likelihood: exact where that is cheap, else a bracket."""

from deepgen.inference.free_energy import free_energy
from deepgen.likelihood.annealing import ais, base_rates, default_betas, reverse_ais
from deepgen.likelihood.bounds import importance_weighted_bound, variational_bound
from deepgen.likelihood.bracket import log_partition_bracket
from deepgen.likelihood.by_row import RowLikelihoods, RowPartitions, log_partitions_by_row
from deepgen.likelihood.exact import (
    LogPartition,
    exact_log_likelihood,
    exact_log_partition,
    is_cheap,
    is_enumerable,
)
from deepgen.likelihood.ladder import ladder_bracket, log_partition_by_ladder
from deepgen.likelihood.lengths import LengthPartition, log_partition_by_length
from deepgen.likelihood.pseudo import pseudo_log_likelihood
from deepgen.likelihood.ratings import rating_log_likelihood
from deepgen.likelihood.sequences import FrameLikelihoods, frame_log_likelihoods
from deepgen.likelihood.trajectory import Trajectory

__all__ = [
    "FrameLikelihoods",
    "LengthPartition",
    "LogPartition",
    "RowLikelihoods",
    "RowPartitions",
    "Trajectory",
    "ais",
    "base_rates",
    "default_betas",
    "exact_log_likelihood",
    "exact_log_partition",
    "frame_log_likelihoods",
    "free_energy",
    "importance_weighted_bound",
    "is_cheap",
    "is_enumerable",
    "ladder_bracket",
    "log_partition_bracket",
    "log_partition_by_ladder",
    "log_partition_by_length",
    "log_partitions_by_row",
    "pseudo_log_likelihood",
    "rating_log_likelihood",
    "reverse_ais",
    "variational_bound",
]
