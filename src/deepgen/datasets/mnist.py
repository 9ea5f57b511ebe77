"""MNIST: 70,000 handwritten digits."""

import gzip
from typing import NamedTuple

import numpy as np

from deepgen.datasets.fetching import DataFile, find

_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FILES = {
    name: DataFile(name, size, sha256, _URL + name)
    for name, size, sha256 in (
        (
            "train-images-idx3-ubyte.gz", 9912422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        (
            "train-labels-idx1-ubyte.gz", 28881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        (
            "t10k-images-idx3-ubyte.gz", 1648877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        (
            "t10k-labels-idx1-ubyte.gz", 4542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    )
}  # fmt: skip


class MNIST(NamedTuple):
    """Digits of 28 x 28 grey pixels, rows of 784 uint8 (0 paper, 255 ink), and their labels."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def load_mnist(data_home=None):
    """Load MNIST in its original split.

    Parameters
    ----------
    data_home : path-like or None
        Folder that holds a folder ``mnist`` with the four IDX files as they are distributed,
        gzipped. None: ``$DEEPGEN_DATA``, else a cache folder, into which they are downloaded if
        pooch is installed (``pip install 'deepgen[data]'``).

    Returns
    -------
    MNIST
        ``X_train`` (60000, 784) and ``X_test`` (10000, 784), uint8; ``y_train``, ``y_test``
        int64.

    Raises
    ------
    FileNotFoundError
        If a file is missing and cannot be downloaded; says which, and where to put it.
    ValueError
        If a file is not the original one.

    References
    ----------
    LeCun, Bottou, Bengio & Haffner (1998). Commonly stated terms: CC BY-SA 3.0.
    """

    def read(name, header):
        # IDX: `header` bytes of sizes, then one byte for each value; a bytearray is writable
        with gzip.open(find(_FILES[name], "mnist", data_home)) as file:
            return np.frombuffer(bytearray(file.read()), np.uint8, offset=header)

    arrays = []
    for split in ("train", "t10k"):
        arrays.append(read(f"{split}-images-idx3-ubyte.gz", 16).reshape(-1, 784))
        arrays.append(read(f"{split}-labels-idx1-ubyte.gz", 8).astype(np.int64))
    return MNIST(*arrays)
