"""Loaders of real data: whole files, wrong files, missing files; and fixed binarization."""

import gzip
import os
import struct
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import FIVE_SIGMA
from scipy.io import savemat

from deepgen.datasets import binarize, fetching, load_mnist, load_olivetti, mnist, olivetti
from deepgen.runtime.stream import Stream

needs_data = pytest.mark.skipif(
    not os.environ.get("DEEPGEN_DATA"), reason="DEEPGEN_DATA is not set"
)


def known(path):
    """Return the description of a file as it stands."""
    return fetching.DataFile(path.name, path.stat().st_size, fetching._sha256(path))


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """Three training and two test images in the format of the originals."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 784), np.uint8)
    labels = np.array([3, 1, 4, 1, 5], np.uint8)
    table = {}
    for part, rows in (("train", slice(0, 3)), ("t10k", slice(3, 5))):
        n = len(labels[rows])
        header = struct.pack(">iiii", 2051, n, 28, 28)
        contents = {
            f"{part}-images-idx3-ubyte.gz": header + images[rows].tobytes(),
            f"{part}-labels-idx1-ubyte.gz": struct.pack(">ii", 2049, n) + labels[rows].tobytes(),
        }
        for name, content in contents.items():
            with gzip.open(folder / name, "wb") as file:
                file.write(content)
            table[name] = replace(known(folder / name), url="https://example.org/" + name)
    monkeypatch.setattr(mnist, "_FILES", table)
    return folder, images, labels


def test_mnist_is_read_from_either_place(small_mnist, monkeypatch):
    """Catches headers read as pixels, train and test mixed up, and a data_home that is ignored."""
    folder, images, labels = small_mnist
    monkeypatch.setenv("DEEPGEN_DATA", "/nowhere")
    given = load_mnist(folder.parent)
    monkeypatch.setenv("DEEPGEN_DATA", str(folder.parent))
    for found in (given, load_mnist()):
        X_train, y_train, X_test, y_test = found
        assert (X_train == images[:3]).all()
        assert (X_test == images[3:]).all()
        assert y_train.tolist() + y_test.tolist() == labels.tolist()
        assert X_train.dtype == np.uint8
        assert y_test.dtype == np.int64
        assert found.X_test is X_test


def test_a_changed_file_is_refused(small_mnist):
    """Catches data that were cut short, or that somebody changed, read as the known ones."""
    folder, *_ = small_mnist
    path = folder / "train-labels-idx1-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    for wrong in (bytes(content), bytes(content[:-5])):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match="delete it and fetch it again"):
            load_mnist(folder.parent)


def test_a_missing_file_says_what_to_do(small_mnist, monkeypatch):
    """Catches an error without name, size, hash, folder or remedy."""
    folder, *_ = small_mnist
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(FileNotFoundError) as error:
        load_mnist(folder.parent)
    wanted = mnist._FILES["t10k-images-idx3-ubyte.gz"]
    for part in (wanted.name, str(wanted.size), wanted.sha256, str(folder), "DEEPGEN_DATA",
                 "pip install 'deepgen[data]'"):  # fmt: skip
        assert part in str(error.value)


def test_a_missing_file_is_downloaded_where_pooch_is(small_mnist, monkeypatch, tmp_path):
    """Catches a download without a hash, or into a folder that is not looked into."""
    folder, images, _ = small_mnist
    cache = tmp_path / "cache"
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        Path(path).mkdir(parents=True, exist_ok=True)
        (Path(path) / fname).write_bytes((folder / fname).read_bytes())

    monkeypatch.setitem(sys.modules, "pooch", types.SimpleNamespace(retrieve=retrieve))
    monkeypatch.delenv("DEEPGEN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    found = load_mnist()
    assert (found.X_train == images[:3]).all()
    assert (cache / "deepgen" / "mnist").is_dir()
    assert sorted(asked) == sorted(
        (file.url, f"sha256:{file.sha256}") for file in mnist._FILES.values()
    )
    load_mnist()
    assert len(asked) == 4  # what is there is not fetched again


@pytest.mark.parametrize("error", [ConnectionError("no route"), PermissionError("read-only"),
                                   ValueError("hash does not match")])  # fmt: skip
def test_a_download_that_fails_says_what_else_to_do(small_mnist, monkeypatch, tmp_path, error):
    """Catches a bare error of the network, or of a folder that is read-only."""

    def retrieve(*_, **__):
        raise error

    monkeypatch.setitem(sys.modules, "pooch", types.SimpleNamespace(retrieve=retrieve))
    with pytest.raises(FileNotFoundError, match=r"put the file of .* DEEPGEN_DATA") as caught:
        load_mnist(tmp_path / "empty")
    assert str(error) in str(caught.value)
    assert caught.value.__cause__ is error


def test_mnist_can_be_written_to(small_mnist):
    """Catches images that alone of the four arrays are read-only views of a buffer."""
    assert all(part.flags.writeable for part in load_mnist(small_mnist[0].parent))


def test_faces_stand_upright(tmp_path, monkeypatch):
    """Catches faces that lie on their side: the file holds each image column by column."""
    images = np.random.default_rng(0).integers(0, 243, (400, 64, 64), np.uint8)
    path = tmp_path / "olivetti" / "olivettifaces.mat"
    path.parent.mkdir()
    savemat(path, {"faces": np.stack([image.ravel(order="F") for image in images], axis=1)})
    monkeypatch.setattr(olivetti, "_FILE", known(path))
    found = load_olivetti(tmp_path)
    assert (found.images == images).all()
    assert found.person.tolist() == [i // 10 for i in range(400)]


def test_faces_cannot_be_downloaded(tmp_path):
    """Catches a remedy that does not exist: no address of the known file is known."""
    with pytest.raises(FileNotFoundError) as error:
        load_olivetti(tmp_path)
    assert "olivettifaces.mat" in str(error.value)
    assert "pip install" not in str(error.value)


@pytest.mark.data
@needs_data
def test_the_real_mnist():
    """Catches labels that do not belong to their images, and pixels that are scaled."""
    found = load_mnist()
    assert found.X_train.shape == (60000, 784)
    assert found.X_test.shape == (10000, 784)
    assert np.bincount(found.y_train)[:3].tolist() == [5923, 6742, 5958]
    assert np.bincount(found.y_test)[:3].tolist() == [980, 1135, 1032]
    assert abs(found.X_train.mean() / 255 - 0.130660) < 1e-6


@pytest.mark.data
@needs_data
def test_the_real_faces():
    """Catches faces that lie on their side: the first pixels of the first row are published."""
    found = load_olivetti()
    assert found.images.shape == (400, 64, 64)
    assert found.images[0, 0, :5].tolist() == [75, 89, 101, 107, 128]
    assert found.person.tolist() == sorted(list(range(40)) * 10)


# ------------------------------------------------------------------------- binarization


@pytest.mark.parametrize("form", ["bytes", "float32", "float64"])
def test_bits_have_the_rates_of_the_grey_values(form):
    """Catches a threshold in place of a draw, and a scale of 256: white is always ink."""
    grey = np.tile(np.array([[0, 1, 64, 128, 200, 254, 255]], np.uint8), (20_000, 1))
    X = grey if form == "bytes" else (grey / 255.0).astype(form)
    bits = binarize(X, random_state=0)
    assert bits.dtype == np.uint8
    rates = grey[0] / 255.0
    error = np.sqrt(rates * (1.0 - rates) / len(bits))
    assert (np.abs(bits.mean(axis=0) - rates) <= FIVE_SIGMA * error).all()


def test_one_seed_names_one_binarization():
    """Catches pieces that do not join, and a seed that is not used."""
    grey = np.random.default_rng(0).integers(0, 256, (9_000, 30), np.uint8)
    whole = binarize(grey, random_state=5)
    pieces = [binarize(grey[i : i + 3_500], random_state=5, first_row=i)
              for i in range(0, 9_000, 3_500)]  # fmt: skip
    assert (np.concatenate(pieces) == whole).all()
    assert (binarize(grey, random_state=6) != whole).mean() > 0.2


def test_bytes_and_floats_give_the_same_bits(monkeypatch):
    """Catches k * (1 / 255) in place of k / 255: for 32 of the 256 values other bits can follow.

    The uniforms next to each grey value are the ones that would tell.
    """
    grey = np.arange(256, dtype=np.uint8)
    nearest = np.round(grey / 255.0 * 2**23 - 0.5) + np.arange(-2, 3)[:, None]
    uniforms = ((nearest + 0.5) * 2.0**-23).astype(np.float32)
    monkeypatch.setattr(Stream, "uniform", lambda *_, **__: uniforms)
    X = np.tile(grey, (5, 1))
    expected = binarize(X, random_state=0)
    for dtype in (np.float32, np.float64):
        assert (binarize((X / 255.0).astype(dtype), random_state=0) == expected).all()


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros(3, np.uint8), r"shape \(n_samples, n_features\)"),
        (np.array([[0.0, 1.5]]), r"grey values in \[0, 1\]"),
        (np.array([[np.nan]]), "without NaN"),
        (np.array([[1, 200]]), "must be uint8"),
        (np.array([[True]]), "binary already"),
    ],
)
def test_what_cannot_be_binarized(X, message):
    """Catches integers of another type, whose scale is unknown, and NaN, which is never above."""
    with pytest.raises(ValueError, match=message):
        binarize(X, random_state=0)
    with pytest.raises(ValueError, match="first_row must be"):
        binarize(np.zeros((1, 1), np.uint8), random_state=0, first_row=-1)
