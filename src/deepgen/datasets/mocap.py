"""Motion capture of walking and running: subject 35 of the CMU collection."""

from typing import NamedTuple

import numpy as np

from deepgen.datasets.fetching import DataFile, find

_FILE = DataFile(
    "cmu35_walk_jog.npz", 868407,
    "c0da5923a45edfffa33e9acdce63eadc5f83c746466a1c2fa385afb2ed7a46d1",
    page="http://mocap.cs.cmu.edu",
)  # fmt: skip


class Mocap(NamedTuple):
    """Sequences of each split, a list of (n_frames, 62) float64, at 30 frames a second.

    Root translation and rotation, then joint angles in degrees.
    """

    train: list
    test: list


def load_mocap35(data_home=None):
    """Load 33 walks and runs of CMU subject 35.

    Parameters
    ----------
    data_home : path-like or None
        Folder that holds a folder ``cmu_mocap35`` with the file. None: ``$DEEPGEN_DATA``, else a
        cache folder.

    Returns
    -------
    Mocap
        31 sequences of 2,644 frames in all to learn from, and two of 44 and 125 frames. Six of the
        62 columns never vary. The place of the root, columns 0 and 2, and its heading, column 4,
        are absolute: models want their differences.

    Raises
    ------
    FileNotFoundError
        If the file is missing; says where to put it.
    ValueError
        If it is not the known file.

    References
    ----------
    Taylor, Hinton & Roweis (2007); the split is that of Lawrence (2007). The data used in this
    project was obtained from mocap.cs.cmu.edu; the database was created with funding from NSF
    EIA-0196217.
    """
    with np.load(find(_FILE, "cmu_mocap35", data_home), allow_pickle=False) as arrays:
        splits = []
        for split in Mocap._fields:
            edges = np.flatnonzero(np.diff(arrays[f"{split}_seq"])) + 1
            splits.append(np.split(arrays[split], edges))
    return Mocap(*splits)
