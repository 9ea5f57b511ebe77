"""Piano rolls of polyphonic music, in the splits of Boulanger-Lewandowski et al. (2012)."""

from typing import NamedTuple

import numpy as np

from deepgen.checks import shown
from deepgen.datasets.fetching import DataFile, find

N_KEYS, LOWEST_NOTE = 88, 21  # a piano's keys; the MIDI number of the first one
_FILES = {
    "jsb": DataFile(
        "JSB_Chorales.npz", 44005,
        "385e813ef6aea23d50ae03ec6fbbfdfd50cd3c3a4ed45288d7031c38dbd208f4",
    ),
    "nottingham": DataFile(
        "Nottingham.npz", 128045,
        "a067e38c7046a560255949750df6025574414294fd8f2e99c8ea6f5f72381511",
    ),
    "piano-midi": DataFile(
        "Piano_midi.npz", 116969,
        "7494969e3c132df8c22a774cea1217f59705c7e9f0b45f16687a25008e4191b2",
    ),
    "musedata": DataFile(
        "MuseData.npz", 500973,
        "9e113f40a858dbc4d8fc99b2778e50d50ca6db3be6a058f13cb672be53a535c1",
    ),
}  # fmt: skip


class PianoRolls(NamedTuple):
    """Pieces of each split, a list of (n_frames, 88) uint8: 1 where a key is down."""

    train: list
    valid: list
    test: list


def load_piano_rolls(name="jsb", data_home=None):
    """Load a set of polyphonic music as piano rolls.

    Column k is the MIDI note 21 + k. Frames are steps of equal musical time.

    Parameters
    ----------
    name : {"jsb", "nottingham", "piano-midi", "musedata"}, default "jsb"
        J. S. Bach's chorales in the keys that they are written in, folk tunes, classical piano
        pieces, or orchestral and chamber music.
    data_home : path-like or None
        Folder that holds a folder ``polymusic`` with the file. None: ``$DEEPGEN_DATA``, else a
        cache folder.

    Returns
    -------
    PianoRolls
        ``train``, ``valid``, ``test``: lists of arrays, as :class:`deepgen.TemporalRBM` takes them.
        229, 76 and 77 chorales; 694, 173 and 170 tunes; 87, 12 and 25 piano pieces; 524, 135 and
        124 pieces of MuseData.

    Raises
    ------
    FileNotFoundError
        If the file is missing; says where to put it.
    ValueError
        If there is no set of this name, or the file is not the known one.

    References
    ----------
    Boulanger-Lewandowski, Bengio & Vincent (2012), section 6.
    """
    if not isinstance(name, str) or name not in _FILES:
        raise ValueError(f"name must be one of {', '.join(_FILES)}, got {shown(name)}")
    with np.load(find(_FILES[name], "polymusic", data_home), allow_pickle=False) as arrays:
        splits = []
        for split in PianoRolls._fields:
            frames = np.unpackbits(arrays[f"{split}_frames_packed"], axis=1, count=N_KEYS)
            splits.append(np.split(frames, np.cumsum(arrays[f"{split}_lengths"])[:-1]))
    return PianoRolls(*splits)
