"""Music, motion, balls: tiny files of the same form, the real ones, and physics."""

import os

import numpy as np
import pytest

import deepgen as dg
from deepgen.datasets import fetching, mocap, music

NEEDS_DATA = pytest.mark.skipif(
    not os.environ.get("DEEPGEN_DATA"), reason="DEEPGEN_DATA is not set"
)


def file_of(path):
    """The description of a file that a test has written."""
    return fetching.DataFile(path.name, path.stat().st_size, fetching._sha256(path))


def test_rolls_are_cut_into_pieces(tmp_path, monkeypatch):
    """Would catch pieces that begin a frame too late, and keys in another order."""
    rng, arrays, pieces = np.random.default_rng(0), {}, {}
    for split, lengths in (("train", [3, 1]), ("valid", [2]), ("test", [4, 2, 1])):
        pieces[split] = [(rng.random((n, 88)) < 0.1).astype(np.uint8) for n in lengths]
        arrays[f"{split}_frames_packed"] = np.packbits(np.concatenate(pieces[split]), axis=1)
        arrays[f"{split}_lengths"] = np.array(lengths, np.int32)
    path = tmp_path / "polymusic" / "JSB_Chorales.npz"
    path.parent.mkdir()
    np.savez(path, **arrays)
    monkeypatch.setitem(music._FILES, "jsb", file_of(path))
    found = dg.datasets.load_piano_rolls("jsb", tmp_path)
    for split, expected in pieces.items():
        for one, other in zip(getattr(found, split), expected, strict=True):
            assert one.dtype == np.uint8
            assert (one == other).all()
    for name in ("bach", None, 3):
        with pytest.raises(ValueError, match="name must be one of jsb"):
            dg.datasets.load_piano_rolls(name)
    with pytest.raises(FileNotFoundError, match=r"Nottingham\.npz"):
        dg.datasets.load_piano_rolls("nottingham", tmp_path)


def test_motion_is_cut_where_the_number_changes(tmp_path, monkeypatch):
    """Would catch a sequence that goes on in the next one."""
    path = tmp_path / "cmu_mocap35" / "cmu35_walk_jog.npz"
    path.parent.mkdir()
    frames = np.arange(6 * 62.0).reshape(6, 62)
    np.savez(
        path, train=frames, train_seq=np.array([0, 0, 0, 1, 2, 2], np.int16), test=frames[:3],
        test_seq=np.array([0, 1, 1], np.int16),
    )  # fmt: skip
    monkeypatch.setattr(mocap, "_FILE", file_of(path))
    found = dg.datasets.load_mocap35(tmp_path)
    assert [len(x) for x in found.train] == [3, 1, 2]
    assert [len(x) for x in found.test] == [1, 2]
    assert (np.concatenate(found.train) == frames).all()


@pytest.mark.data
@NEEDS_DATA
def test_the_real_rolls_and_walks():
    """Would catch another release: numbers of pieces and frames as published."""
    for name, pieces, frames in (
        ("jsb", (229, 76, 77), (13_807, 4_602, 4_725)),
        ("nottingham", (694, 173, 170), (176_561, 45_513, 44_463)),
        ("piano-midi", (87, 12, 25), (75_911, 8_540, 19_036)),
        ("musedata", (524, 135, 124), (245_202, 82_755, 64_339)),
    ):
        found = dg.datasets.load_piano_rolls(name)
        assert tuple(map(len, found)) == pieces
        assert tuple(sum(map(len, split)) for split in found) == frames
    walks = dg.datasets.load_mocap35()
    assert [len(x) for x in walks.test] == [44, 125]
    assert sum(map(len, walks.train)) == 2644


def places_of(frame, size):
    """The centre of what one ball has lit."""
    grid = (np.arange(size) + 0.5) * 10.0 / size
    frame = frame.reshape(size, size)
    return np.array([(frame.sum(axis=1 - axis) * grid).sum() for axis in (0, 1)]) / frame.sum()


def test_a_ball_moves_straight_and_stays_in_the_box():
    """Would catch walls that let a ball through, speeds that change, a picture that is mirrored.

    Its speed is 0.5 an inner step of 0.5, so 0.5 a frame.
    """
    video = dg.datasets.bouncing_balls(1, 200, 40, 1, random_state=1)[0]
    places = np.array([places_of(frame, 40) for frame in video])
    assert places.min() > 1.2 - 0.3
    assert places.max() < 8.8 + 0.3
    steps = np.diff(places, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    free = ((places[:-1] > 1.8) & (places[:-1] < 8.2)).all(axis=1)
    assert lengths[free] == pytest.approx(0.5, abs=0.02)
    turns = np.abs(np.diff(steps, axis=0)).max(axis=1)
    straight = free[:-1] & free[1:]
    assert turns[straight].max() < 0.03


def test_balls_keep_their_energy_and_are_drawn_by_the_seed():
    """Would catch collisions that make balls faster, and draws that nobody has seeded."""
    places = np.array([[3.0, 3.0], [5.0, 3.2], [7.0, 7.0]])
    speeds = np.array([[0.4, 0.0], [-0.3, 0.1], [0.1, 0.2]])
    energy, momentum = (speeds**2).sum(), speeds[:2].sum(axis=0)
    for _ in range(3):
        dg.datasets.balls._move(places, speeds)
    assert (speeds**2).sum() == pytest.approx(energy)
    assert speeds[:2].sum(axis=0) == pytest.approx(momentum)
    assert speeds[0, 0] < 0.0 < speeds[1, 0]
    one, same, other = (dg.datasets.bouncing_balls(2, 5, random_state=s) for s in (0, 0, 1))
    assert one.shape == (2, 5, 225)
    assert one.tobytes() == same.tobytes() != other.tobytes()
    assert one.min() >= 0.0
    assert one.max() <= 1.0
    for settings in ({"n_balls": 7}, {"size": 0}, {"n_frames": -1}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            dg.datasets.bouncing_balls(1, **settings)
