"""Data as people have it: files larger than memory, views of many elements, frames."""

import sys

import memory_of_fits
import numpy as np
import pandas as pd
import pytest
from conftest import rows_of
from scipy import sparse

import deepgen as dg
from deepgen.estimators.common.validation import rows_to_learn
from deepgen.rows.sources import ArrayRows
from deepgen.rows.states import CompressedRows
from deepgen.runtime.stream import SHUFFLE


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_memory_of_a_fit_from_a_file_does_not_grow_with_the_rows(dtype, tmp_path):
    """Would catch a copy of the file, whole or in another type, and of a mask of its size."""
    path = tmp_path / "rows"
    np.memmap(path, dtype, "w+", shape=(200_000, 200)).flush()  # a file of holes
    opened = f"""
        def opened(path, n_rows):
            return np.memmap(path, np.{dtype}, "r", shape=(n_rows, 200))
    """
    small, large = memory_of_fits.peaks(path, opened, 40_000, 200_000)
    # the file grows by 32 MB of bytes (128 MB of floats); what stays is an order of 65,536 rows
    assert large - small < 6e6


def batches_of(X, n_batches=3):
    """The first batches of an epoch, as an estimator would read them."""
    rows = ArrayRows(X)
    batches = rows_of(rows.batches(100, dg.Stream(1)))
    return rows, [next(batches) for _ in range(n_batches)]


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float32, np.float64])
def test_views_of_more_than_2_31_elements_are_read_by_pieces(dtype):
    """Would catch an offset of 32 bits, and a copy of 8 GB of repeated rows."""
    row = np.array([1, 0, 1, 1], dtype)
    X = np.broadcast_to(row, (2**33 + 5, 4))
    assert rows_to_learn(dg.RBM(), X, reset=True).n_rows == 2**33 + 5
    rows, batches = batches_of(X)
    assert (rows.n_rows, rows.n_columns) == (2**33 + 5, 4)
    assert all(np.array_equal(batch, np.tile(row, (100, 1))) for batch in batches)
    assert np.array_equal(next(ArrayRows(X[::-1, ::-1]).pieces()).states[0][0], row[::-1])


def test_files_of_more_than_2_31_elements_are_read_at_their_end(tmp_path, monkeypatch):
    """Would catch an offset of 32 bits: the last rows of the file would be its first."""
    n_rows = 2**31 // 784 + 5000
    X = np.memmap(tmp_path / "rows", np.uint8, "w+", shape=(n_rows, 784))  # holes but for the end
    X[-4000:] = 1
    assert X.size > 2**31
    # two blocks: the holes, the end
    monkeypatch.setattr("deepgen.rows.sources.BLOCK", n_rows - 4000)
    stream = next(s for s in map(dg.Stream, range(99)) if s.permutation(2, SHUFFLE)[0] == 1)
    batches = rows_of(ArrayRows(X).batches(1000, stream))
    assert [int(next(batches).sum()) for _ in range(4)] == [784_000] * 4


def test_sparse_rows_with_wide_indices_keep_their_meaning():
    """Would catch int64 indices read as int32, and columns beyond int32 that wrap."""
    X = (np.random.default_rng(0).random((50, 7)) < 0.4).astype(np.float32)
    wide = sparse.csr_array(X)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    batch = next(ArrayRows(wide).pieces()).states[0]
    assert isinstance(batch, CompressedRows)
    assert np.array_equal(batch.to_dense(), X)
    tall = sparse.csr_array((np.ones(1, np.float32), [3], [0, 1]), shape=(1, 2**31 - 1))
    assert ArrayRows(tall).n_columns == 2**31 - 1


@pytest.mark.parametrize("dtype", ["i2", "i8", "u4", ">f4", ">f8", "f2", "O", "?"])
def test_any_type_is_learned_from_without_a_copy_of_the_whole(dtype):
    """Would catch whole integer arrays turned into float64 before they are read."""
    X = (np.random.default_rng(0).random((100, 6)) < 0.4).astype(np.uint8)
    given = X.astype(dtype)
    rows = rows_to_learn(dg.RBM(), given, reset=True)
    assert (rows.X is given or np.shares_memory(rows.X, given)) == (dtype != "O")
    settings = {"n_epochs": 1, "batch_size": 20, "random_state": 0}
    one, other = (dg.RBM(3, **settings).fit(rows) for rows in (X, given))
    assert np.array_equal(one.model_.weights[0], other.model_.weights[0])
    assert np.array_equal(one.transform(X), other.transform(given))


def test_frames_keep_their_names():
    """Would catch columns in another order that are learned from in silence."""
    frame = pd.DataFrame(np.eye(4, dtype=np.uint8), columns=list("abcd"))
    rbm = dg.RBM(2, n_epochs=1, random_state=0).fit(frame)
    assert rbm.feature_names_in_.tolist() == list("abcd")
    assert rbm.get_feature_names_out().tolist() == ["rbm0", "rbm1"]
    with pytest.raises(ValueError, match="feature names should match"):
        rbm.transform(frame[list("abdc")])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        rbm.transform(frame.to_numpy())


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_pieces_of_rows_give_the_bits_of_the_whole(dtype, monkeypatch):
    """Would catch a row lost or doubled where a long array is cut."""
    X = (np.random.default_rng(0).random((1000, 9)) < 0.4).astype(dtype)
    rbm = dg.RBM(5, n_epochs=1, random_state=0).fit(X)
    whole = rbm.transform(X), rbm.free_energy(X), rbm.score_samples(X)
    for room in ("rows.sources", "estimators.common.validation"):
        monkeypatch.setattr(f"deepgen.{room}.CHECK_ROWS", 64)
    for one, other in zip(whole, (rbm.transform(X), rbm.free_energy(X), rbm.score_samples(X)),
                          strict=True):  # fmt: skip
        assert np.array_equal(one, other)
