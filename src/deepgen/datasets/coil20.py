"""COIL-20: 20 objects on a turntable, 72 views of each."""

from typing import NamedTuple

import numpy as np

from deepgen.datasets.fetching import DataFile, find

_FILE = DataFile(
    "coil20.npz", 1581778,
    "b87dd70a901f23cce4b4e9588771e427727f659e38d69ec81d676ca73fe1a423",
)  # fmt: skip
_SIXTEENTHS = np.float32(16.0)  # the file holds sixteen times the grey value, without rounding


class COIL20(NamedTuple):
    """Views, (1440, 32, 32) float32 from 0 to 255; object, 0 to 19; view, 0 to 71; int64."""

    images: np.ndarray
    object: np.ndarray
    view: np.ndarray


def load_coil20(data_home=None):
    """Load the objects of COIL-20 at 32 x 32 pixels.

    Grey values are means of 4 x 4 pixels, hence multiples of 1/16, which float32 holds exactly.
    View k is turned by 5 k degrees, and view 71 is next to view 0. There is no official split;
    some views of each object for training and the others for tests is customary, and a random
    split tells little, since the neighbours of nearly every test view are in the training set.

    Parameters
    ----------
    data_home : path-like or None
        Folder that holds a folder ``coil20`` with ``coil20.npz``. None: ``$DEEPGEN_DATA``, else
        a cache folder.

    Returns
    -------
    COIL20
        ``images`` (1440, 32, 32) float32, from 0 to 255; ``object`` and ``view`` (1440,) int64.

    Raises
    ------
    FileNotFoundError
        If the file is missing; says where to put it.
    ValueError
        If it is not the known file.

    References
    ----------
    Nene, Nayar & Murase (1996), Columbia University, CUCS-005-96. For research, with credit.
    """
    with np.load(find(_FILE, "coil20", data_home), allow_pickle=False) as arrays:
        return COIL20(
            arrays["images_x16"] / _SIXTEENTHS,
            arrays["object"].astype(np.int64),
            arrays["view"].astype(np.int64),
        )
