"""The Olivetti faces: 40 people, 10 pictures of each."""

from typing import NamedTuple

import numpy as np

from deepgen.datasets.fetching import DataFile, find

_FILE = DataFile(
    "olivettifaces.mat", 1432511,
    "b1988d02c72fe5b8ee82b5ef3bb7982eafc74f1e1ff0ae0ade35061ad0af534d",
)  # fmt: skip


class Olivetti(NamedTuple):
    """Upright faces, (400, 64, 64) uint8, and who they are, (400,) int64 from 0 to 39."""

    images: np.ndarray
    person: np.ndarray


def load_olivetti(data_home=None):
    """Load the Olivetti (AT&T) faces.

    There is no official split; the first 30 people for training and the other 10 for tests is
    customary.

    Parameters
    ----------
    data_home : path-like or None
        Folder that holds a folder ``olivetti`` with ``olivettifaces.mat``. None:
        ``$DEEPGEN_DATA``, else a cache folder.

    Returns
    -------
    Olivetti

    Raises
    ------
    FileNotFoundError
        If the file is missing; says where to put it.
    ValueError
        If it is not the known file.

    References
    ----------
    Samaria & Harter (1994). Give credit to AT&T Laboratories Cambridge.
    """
    from scipy.io import loadmat  # not needed by those who load no faces

    columns = loadmat(find(_FILE, "olivetti", data_home))["faces"]
    images = columns.T.reshape(400, 64, 64).transpose(0, 2, 1)  # pixels go down the columns first
    return Olivetti(np.ascontiguousarray(images), np.repeat(np.arange(40), 10))
