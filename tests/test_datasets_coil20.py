"""COIL-20: a tiny file of the same form and, where it is, the real one."""

import os

import numpy as np
import pytest
from conftest import assert_same_bits

from deepgen.datasets import coil20, fetching, load_coil20


def test_grey_values_are_exact(tmp_path, monkeypatch):
    """Catches sixteenths rounded away, and grey values sixteen times too large."""
    path = tmp_path / "coil20" / "coil20.npz"
    path.parent.mkdir()
    grey = np.array([0, 1, 17, 4080], np.uint16).reshape(1, 2, 2)
    np.savez(path, images_x16=grey, object=np.array([19], np.uint8), view=np.array([71], np.uint8))
    file = fetching.DataFile(path.name, path.stat().st_size, fetching._sha256(path))
    monkeypatch.setattr(coil20, "_FILE", file)
    found = load_coil20(tmp_path)
    assert_same_bits(found.images, np.array([[[0, 0.0625], [1.0625, 255]]], np.float32))
    assert (found.object.tolist(), found.view.tolist()) == ([19], [71])


def test_a_missing_file_says_what_to_do(tmp_path):
    """Catches an error that names no folder, or a download that does not exist."""
    with pytest.raises(FileNotFoundError, match=r"coil20\.npz .* 1581778 bytes") as caught:
        load_coil20(tmp_path)
    assert str(tmp_path / "coil20") in str(caught.value)
    assert "pip install" not in str(caught.value)


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("DEEPGEN_DATA"), reason="DEEPGEN_DATA is not set")
def test_the_real_objects():
    """Catches views out of order: root mean squared distances of next and of opposite views."""
    found = load_coil20()
    assert found.images.shape == (1440, 32, 32)
    assert (found.images.min(), found.images.max()) == (0, 255)
    order = np.lexsort((found.view, found.object))
    assert found.object[order].tolist() == np.repeat(np.arange(20), 72).tolist()
    assert found.view[order].tolist() == list(range(72)) * 20
    turns = found.images[order].reshape(20, 72, -1).astype(np.float64)
    for step, expected in ((1, 16.7), (36, 42.4)):
        squares = ((turns - np.roll(turns, step, axis=1)) ** 2).mean(axis=2)
        assert np.sqrt(squares).mean() == pytest.approx(expected, abs=0.05)
