"""Hostile .npz files: one line that says what is wrong, before memory is taken, never a crash."""

import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
from cli_runs import fails
from scipy import sparse

from deepgen.cli.common import archives
from deepgen.cli.common.errors import CommandError
from deepgen.cli.common.rows import read_rows
from deepgen.rows.states import checked_csr

SOME = np.array([0, 1, 2, 3, 3, 3, 3], np.int32)
FAR = np.array([10**8, 1, 2], np.int32)
SPARSE = {
    "csc indices": {"format": "csc", "indices": FAR, "indptr": SOME},
    "csc indptr": {"format": "csc", "indices": SOME[:3], "indptr": SOME * 10**8},
    "csr indices": {"format": "csr", "indices": FAR, "indptr": SOME[:6]},
    "csr floats": {"format": "csr", "indices": FAR * 0.5, "indptr": SOME[:6]},
    "bsr indptr": {
        "format": "bsr", "shape": [4, 4], "data": np.ones((2, 2, 2)), "indices": SOME[:2],
        "indptr": np.array([0, 10**8, 2], np.int32),
    },
    "bsr indices": {
        "format": "bsr", "shape": [4, 4], "data": np.ones((2, 2, 2)), "indices": FAR[:2],
        "indptr": SOME[:3],
    },
    "bsr blocks of nothing": {
        "format": "bsr", "shape": [4, 4], "data": np.ones((0, 0, 2)), "indices": SOME[:0],
        "indptr": SOME[:1],
    },
    "bsr rows": {
        "format": "bsr", "shape": [10**9, 1], "data": np.ones((0, 10**9, 1)), "indices": SOME[:0],
        "indptr": SOME[:1] * np.ones(2, np.int32),
    },
    "csc rows": {"format": "csc", "shape": [2**40, 6], "indices": SOME[:3], "indptr": SOME},
    "coo rows": {"format": "coo", "shape": [10**12, 6], "row": SOME[:3], "col": SOME[:3]},
    "coo indices": {"format": "coo", "row": FAR, "col": SOME[:3]},
    "coo below": {"format": "coo", "row": -FAR, "col": SOME[:3]},
    "dia offsets": {"format": "dia", "data": np.ones((2, 6)), "offsets": np.array([2**62, 0])},
    "dia rows": {"format": "dia", "shape": [10**12, 6], "data": np.ones((1, 6)), "offsets": [0]},
    "no class": {"format": "__class__"},
    "two formats": {"format": ["csr", "csc"]},
    "words": {"format": "csr", "shape": ["a", "b"], "indices": SOME[:3], "indptr": SOME[:6]},
}  # fmt: skip


@pytest.mark.parametrize("case", SPARSE)
def test_a_hostile_sparse_file_is_refused(case, tmp_path, monkeypatch, capsys):
    """Catches a crash of the process in scipy, which trusts indices, and memory for rows that
    only the header of a file has."""
    monkeypatch.chdir(tmp_path)
    arrays = {"shape": [5, 6], "data": np.ones(3), **SPARSE[case]}
    np.savez("evil.npz", **{name: np.asarray(value) for name, value in arrays.items()})
    for command in (["--out", "m"], ["--out", "m", "--valid", "evil.npz"]):
        line = fails(capsys, 1, "train", "--data", "evil.npz", "--n-hidden", 4, *command)
        assert "evil.npz" in line
    tracemalloc.start()
    with pytest.raises(CommandError):
        read_rows("evil.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_matrices_that_point_outside_are_refused_whatever_their_format():
    """Catches lists of lists, whose columns scipy copies into CSR as they are."""
    X = sparse.lil_array((3, 4))
    X.rows[0], X.data[0] = [10**8], [1.0]
    with pytest.raises(ValueError, match="damaged sparse matrix"):
        checked_csr(X)
    X = sparse.bsr_array(np.eye(4), blocksize=(2, 2))
    X.data = X.data[:, :0]
    with pytest.raises(ValueError, match="damaged sparse matrix"):
        checked_csr(X)


def header(shape, dtype="<f8"):
    """The first bytes of a .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def pack(path, data, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as file:
        file.writestr("X.npy", data)


def test_an_archive_that_unpacks_to_far_more_than_itself_is_refused(tmp_path, monkeypatch):
    """Catches a bomb of zeros that fills the memory, and a limit that stops honest files."""
    path = tmp_path / "bomb.npz"
    pack(path, header((2**20,)) + bytes(2**23))
    assert os.path.getsize(path) < 20_000
    # 8 MB, packed five hundred times, are no danger
    with pytest.raises(CommandError, match="must hold a matrix"):
        read_rows(str(path))
    monkeypatch.setattr(archives, "LEAST_LIMIT", 2**22)
    tracemalloc.start()
    with pytest.raises(CommandError, match=r"would unpack to 8388608; write such rows by numpy"):
        read_rows(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("shape", [(10**9, 5), (2**62, 2**62), (0, 10**12), (-1, 5), (3, 5)])
def test_a_header_that_says_another_size_than_the_bytes_is_refused(shape, tmp_path):
    """Catches memory taken for what a header says alone."""
    path = tmp_path / "header.npz"
    pack(path, header(shape) + bytes(8 * 10))
    with pytest.raises(CommandError):
        read_rows(str(path))
    (tmp_path / "header.npy").write_bytes(header(shape) + bytes(8 * 10))
    with pytest.raises(CommandError):
        read_rows(str(tmp_path / "header.npy"))


def test_a_directory_that_says_another_size_than_the_stream_is_refused(tmp_path):
    """Catches an archive whose directory and header agree on a size that no bytes can fill."""
    path = tmp_path / "lie.npz"
    data = header((10**6, 5)) + bytes(100)
    pack(path, data)
    whole = bytearray(path.read_bytes())
    size, said = len(data).to_bytes(4, "little"), (len(header((10**6, 5))) + 40_000_000)
    place = whole.index(b"PK\x01\x02") + 24
    assert whole[place : place + 4] == size
    whole[place : place + 4] = said.to_bytes(4, "little")
    path.write_bytes(whole)
    tracemalloc.start()
    with pytest.raises(CommandError, match="damaged"):
        read_rows(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("ending", [".npz", ".npy"])
def test_a_pipe_is_told_at_once(ending, tmp_path):
    """Catches a command that waits for ever for the other end of a pipe."""
    path = tmp_path / f"pipe{ending}"
    os.mkfifo(path)
    with pytest.raises(CommandError, match="no regular file"):
        read_rows(str(path))


def test_an_encrypted_archive_is_one_error(tmp_path):
    """Would catch the traceback of a flag that zipfile alone knows: a password is required."""
    path = tmp_path / "locked.npz"
    np.savez(path, X=np.zeros((2, 3)))
    data = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # flags of both headers
        data[data.index(signature) + place] |= 1
    path.write_bytes(data)
    with pytest.raises(CommandError, match=r"locked\.npz"):
        read_rows(str(path))
