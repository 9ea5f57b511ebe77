"""Retrieval by codes: how well relevant rows come first, and search by binary codes."""

from deepgen.retrieval.evaluation import (
    Retrieved,
    evaluate,
    mean_average_precision,
    nearest,
)
from deepgen.retrieval.hashing import HammingIndex, binary_codes

__all__ = [
    "HammingIndex",
    "Retrieved",
    "binary_codes",
    "evaluate",
    "mean_average_precision",
    "nearest",
]
