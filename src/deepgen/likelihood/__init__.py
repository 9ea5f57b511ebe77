"""Estimates of the likelihood: exact where that is cheap, else a bracket."""

from deepgen.likelihood.annealing import ais, base_rates, default_betas, reverse_ais
from deepgen.likelihood.bracket import log_partition_bracket
from deepgen.likelihood.exact import (
    LogPartition,
    exact_log_likelihood,
    exact_log_partition,
    free_energy,
    is_enumerable,
)

__all__ = [
    "LogPartition",
    "ais",
    "base_rates",
    "default_betas",
    "exact_log_likelihood",
    "exact_log_partition",
    "free_energy",
    "is_enumerable",
    "log_partition_bracket",
    "reverse_ais",
]
