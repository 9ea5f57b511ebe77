"""Sparse matrices in mapped files: what is read, what is copied, what is refused."""

import sys
import tracemalloc
import zipfile

import memory_of_fits
import numpy as np
import pytest
from scipy import sparse

import deepgen as dg

N_WORDS, IN_EACH = 50, 5  # of the vocabulary; of a document


def write_documents(folder, n_rows, *, index=np.int32, start=np.int32):
    """Documents of five words that stand apart; written a piece at a time."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = [
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (n_rows * IN_EACH,))
        for name, dtype in (("data", np.int64), ("indices", index))
    ]
    apart = np.arange(IN_EACH) * (N_WORDS // IN_EACH)
    for first in range(0, n_rows, 50_000):
        n = min(50_000, n_rows - first)
        here = slice(first * IN_EACH, (first + n) * IN_EACH)
        files[0][here] = rng.integers(1, 4, n * IN_EACH)
        files[1][here] = (apart + rng.integers(0, N_WORDS // IN_EACH, (n, IN_EACH))).ravel()
    np.save(folder / "indptr.npy", np.arange(n_rows + 1, dtype=start) * IN_EACH)
    np.save(folder / "shape.npy", (n_rows, N_WORDS))
    return folder


def in_memory(folder):
    arrays = [np.load(folder / f"{name}.npy") for name in ("data", "indices", "indptr")]
    return sparse.csr_array(tuple(arrays), shape=tuple(np.load(folder / "shape.npy")))


def documents_model():
    return dg.ReplicatedSoftmax(
        2, rule=dg.CD(1), batch_size=500, n_epochs=1, random_state=0, n_threads=1
    )


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("start", [np.int32, np.int64, np.uint64])
def test_no_type_of_the_indices_makes_a_copy_of_them(index, start, tmp_path):
    """Would catch scipy's common type of both arrays: int64 starts copy all int32 indices."""
    folder = write_documents(tmp_path / "counts", 300, index=index, start=start)
    X = dg.map_csr(folder)
    assert not X.indices.flags.writeable  # maps of files are not
    assert not X.data.flags.writeable
    assert X.indices.dtype == X.indptr.dtype == index
    assert (in_memory(folder) != X).nnz == 0


def test_a_fit_to_mapped_files_has_the_bits_of_one_in_memory(tmp_path):
    """Would catch rows that are read from other places than scipy's."""
    folder = write_documents(tmp_path / "counts", 1200, start=np.int64)
    mapped, there = (documents_model().fit(X) for X in (dg.map_csr(folder), in_memory(folder)))
    assert np.array_equal(mapped.components_, there.components_)
    assert np.array_equal(mapped.transform(dg.map_csr(folder)), there.transform(in_memory(folder)))


def test_a_fit_to_mapped_files_copies_nothing_of_the_size_of_the_matrix(tmp_path):
    """Would catch a copy of the values or the indices of all documents, in whatever type: 20 bytes
    a document at the least, where the order of a block, and masks of its rows, take some."""
    peaks = []
    for n_rows in (10_000, 40_000):
        folder = write_documents(tmp_path / str(n_rows), n_rows, start=np.int64)
        documents_model().fit(dg.map_csr(folder))  # what the first call alone allocates
        tracemalloc.start()
        X = dg.map_csr(folder)
        opened = tracemalloc.get_traced_memory()[1]
        documents_model().fit(X).transform(X[:2000])
        peaks.append((opened, tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
    (opened, small), (opened_large, large) = peaks
    assert opened_large - opened < 30_000 * 5  # the starts as int32
    assert large - small < 30_000 * 80


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_a_fit_to_a_million_documents_is_that_of_fifty_thousand(tmp_path):
    """Would catch a copy of the matrix, 60 bytes a document, and of its row totals as floats."""
    for n_rows in (20_000, 50_000, 1_000_000):
        write_documents(tmp_path / str(n_rows), n_rows)
    opened = """
        def opened(path, n_rows):
            return dg.map_csr(f"{path}/{n_rows}")
    """
    estimator = "dg.ReplicatedSoftmax(2, rule=dg.CD(1), batch_size=5000, n_epochs=1, n_threads=1)"
    small, large = memory_of_fits.peaks(tmp_path, opened, 50_000, 1_000_000, estimator=estimator)
    # the files grow by 61 MB
    assert large - small < 8e6


def test_what_save_npz_writes_can_be_unpacked_and_mapped(tmp_path):
    """Would catch other names, or another form of the shape, than those of scipy's archives."""
    X = sparse.random_array((30, 7), density=0.3, format="csr", random_state=0)
    sparse.save_npz(tmp_path / "x.npz", X)
    zipfile.ZipFile(tmp_path / "x.npz").extractall(tmp_path / "x")
    assert (dg.map_csr(tmp_path / "x") != X).nnz == 0
    sparse.save_npz(tmp_path / "x.npz", X.tocsc())
    zipfile.ZipFile(tmp_path / "x.npz").extractall(tmp_path / "x")
    with pytest.raises(ValueError, match=r"must hold a CSR matrix, got format b'csc'; save X"):
        dg.map_csr(tmp_path / "x")


def test_a_file_that_lacks_is_named(tmp_path):
    """Would catch an error that does not say which of the files is not there."""
    folder = write_documents(tmp_path / "counts", 10)
    (folder / "indices.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"indices\.npy"):
        dg.map_csr(folder)
    with pytest.raises(FileNotFoundError, match=r"none.shape\.npy"):
        dg.map_csr(tmp_path / "none")


DAMAGED = {
    "shape": (np.array([10]), r"must hold \(n_rows, n_columns\), got"),
    "indices": (np.zeros(50, np.uint16), "must be int32 or int64, got uint16; save it as"),
    "indptr": (np.arange(11.0), "must hold whole numbers, got float64"),
    "data": (np.zeros(3), r"must hold the arrays of one CSR matrix of shape \(10, 50\)"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_files_of_no_matrix_are_refused(name, tmp_path):
    """Would catch a matrix whose rows reach beyond its arrays: a crash when it is read."""
    folder = write_documents(tmp_path / "counts", 10)
    array, message = DAMAGED[name]
    np.save(folder / f"{name}.npy", array)
    with pytest.raises(ValueError, match=message):
        dg.map_csr(folder)


def test_starts_beyond_the_type_of_the_indices_are_refused(tmp_path):
    """Would catch starts that wrap to negative numbers."""
    folder = write_documents(tmp_path / "counts", 10)
    np.save(folder / "indptr.npy", np.append(np.zeros(10, np.int64), 2**31))
    with pytest.raises(ValueError, match="ends with 2147483648, beyond what int32, the type of"):
        dg.map_csr(folder)
