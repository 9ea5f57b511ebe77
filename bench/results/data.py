"""The data of the tables: MNIST in the one form in which its likelihoods are compared."""

from typing import NamedTuple

import numpy as np

from deepgen.datasets import binarize, load_mnist

TRAIN_SEED = 30  # the seed of the authors' script, though not of their generator
TEST_SEEDS = (30, 31, 32, 33, 34)
N_VALID = 10_000  # the last rows of train, for choices


class BinaryDigits(NamedTuple):
    """Grey training rows, their one fixed binarization, and five of the test rows."""

    grey: np.ndarray
    train: np.ndarray
    tests: list


def binary_mnist():
    """Return 60,000 training and 10,000 test rows, binarized stochastically."""
    mnist = load_mnist()
    return BinaryDigits(
        mnist.X_train,
        binarize(mnist.X_train, random_state=TRAIN_SEED),
        [binarize(mnist.X_test, random_state=seed) for seed in TEST_SEEDS],
    )
