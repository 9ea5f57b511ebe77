"""Rows to learn from: every row once an epoch, shuffled, in bounded memory, checked."""

import copy
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from conftest import assert_same_bits, rows_of
from scipy import sparse

import deepgen as dg
from deepgen.rows import sources
from deepgen.rows.paired import PairedRows
from deepgen.rows.sources import ArrayRows, IterableRows, is_iterable_of_batches
from deepgen.rows.states import CompressedRows, as_states, compressed, dense
from deepgen.rows.survey import survey
from deepgen.runtime.stream import Stream

STREAM = Stream.from_random_state(3)
RNG = np.random.default_rng(0)
ROWS = (RNG.random((137, 9)) < 0.3).astype(np.uint8)


def numbered(n_rows, dtype=np.float64):
    """Rows that say which row they are."""
    return np.arange(n_rows, dtype=dtype)[:, None]


def order_of(rows, batch_size, stream=STREAM):
    """Row numbers in the order of one epoch, and the sizes of its batches."""
    batches = [dense(x)[:, 0] for x in rows_of(rows.batches(batch_size, stream))]
    return np.concatenate(batches).astype(int), [len(batch) for batch in batches]


class Again:
    """A re-iterable; counts how often it was begun and how many batches were taken."""

    def __init__(self, batches):
        self.batches, self.begun, self.taken = batches, 0, 0

    def __iter__(self):
        self.begun += 1
        for batch in self.batches:
            self.taken += 1
            yield batch


# ------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize("block", [10, 64, 100, 1000])
@pytest.mark.parametrize("batch_size", [1, 7, 100, 137, 1000])
def test_every_row_comes_once_an_epoch_in_full_batches(block, batch_size, monkeypatch):
    """Would catch rows lost or doubled where blocks and batches do not fit into each other."""
    monkeypatch.setattr(sources, "BLOCK", block)
    for rows in (numbered(137), sparse.csr_matrix(numbered(137))):
        order, sizes = order_of(ArrayRows(rows), batch_size)
        assert sorted(order) == list(range(137))
        assert set(sizes[:-1]) <= {batch_size}
        assert 0 < sizes[-1] <= batch_size


def test_the_order_is_a_function_of_the_stream_alone():
    """Would catch an order that depends on the batch size, on the call or on NumPy's state."""
    rows = ArrayRows(numbered(500))
    first, _ = order_of(rows, 10)
    for batch_size in (1, 64, 500):
        assert np.array_equal(order_of(rows, batch_size)[0], first)
    assert not np.array_equal(order_of(rows, 10, Stream(STREAM.key, 1))[0], first)
    assert not np.array_equal(order_of(rows, 10, STREAM.child("other"))[0], first)
    assert not np.array_equal(first, np.arange(500))


@pytest.mark.parametrize(("n_known", "batch_size"), [(3, 10), (1, 7), (90, 500)])
def test_a_fifth_of_an_epoch_has_a_target(n_known, batch_size):
    """Would catch labels that are rare in an epoch, one that comes twice before another comes
    once, a row without one that comes twice, and rows left out of the short last batch.
    """
    known = np.zeros(137, np.bool_)
    known[5 : 5 + n_known] = True
    rows = PairedRows(numbered(137), np.arange(137), known)
    targets = [batch.target for batch in rows.batches(batch_size, STREAM)]
    assert {len(part) for part in targets[:-1]} <= {batch_size}
    order = np.concatenate(targets)
    assert len(order) == 137
    counts = np.bincount(order, minlength=137)
    share = max(n_known, 27)
    assert counts[known].sum() == share
    assert np.ptp(counts[known]) <= 1
    assert counts[~known].max() <= 1
    assert [batch.target.tolist() for batch in rows.batches(batch_size, STREAM, skip=1)] == [
        part.tolist() for part in targets[1:]
    ]


def test_the_shuffle_is_uniform():
    """Would catch a biased shuffle: each row is at each place equally often."""
    n, epochs = 6, 6000
    rows, counts = ArrayRows(numbered(n)), np.zeros((n, n))
    for epoch in range(epochs):
        counts[np.arange(n), order_of(rows, n, Stream(STREAM.key, epoch))[0]] += 1
    error = np.sqrt(epochs * (1 / n) * (1 - 1 / n))
    assert np.abs(counts - epochs / n).max() < 5 * error


def test_rows_are_shuffled_within_blocks_and_blocks_among_each_other(monkeypatch):
    """Would catch an order that jumps all over a disk, or blocks read in their own order."""
    monkeypatch.setattr(sources, "BLOCK", 50)
    orders = [order_of(ArrayRows(numbered(500)), 10, Stream(STREAM.key, e))[0] for e in range(4)]
    blocks = []
    for order in orders:
        pieces = order.reshape(10, 50)
        assert all(set(piece // 50) == {piece[0] // 50} for piece in pieces)
        assert all((np.diff(piece) < 0).any() for piece in pieces)
        inside = [tuple(piece % 50) for piece in pieces]
        assert len(set(inside)) == 10  # no two blocks share an order
        blocks.append(tuple(pieces[:, 0] // 50))
    assert len(set(blocks)) == 4
    assert all(block != tuple(range(10)) for block in blocks)


def test_batches_keep_the_form_of_the_rows():
    """Would catch bytes turned into floats, or a CSR matrix made dense."""
    for dtype, expected in ((np.uint8, np.uint8), (bool, np.uint8), (np.float32, np.float32),
                            (np.float64, np.float32)):  # fmt: skip
        for batch in rows_of(ArrayRows(ROWS.astype(dtype)).batches(50, STREAM)):
            assert batch.dtype == expected
            assert batch.flags.c_contiguous
    for kind in (sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix, sparse.coo_matrix):
        rows = ArrayRows(kind(ROWS.astype(float)))
        assert rows.n_rows, rows.n_columns == ROWS.shape
        assert all(isinstance(x, CompressedRows) for x in rows_of(rows.batches(50, STREAM)))
        dense_rows = rows_of(ArrayRows(ROWS).batches(50, STREAM))
        pairs = zip(rows_of(rows.batches(50, STREAM)), dense_rows, strict=True)
        assert all(np.array_equal(dense(one), other) for one, other in pairs)


@pytest.mark.parametrize("shape", [(5, 1), (3, 15), (4, 16), (3, 17), (2, 64), (3, 200), (0, 4)])
@pytest.mark.parametrize("share", [0.0, 0.05, 1.0])
def test_counts_become_the_lists_that_scipy_makes(shape, share):
    """Would catch an entry of the columns after the last strip of sixteen, a row without any, and
    one written beyond the end."""
    rng = np.random.default_rng(shape[1])
    counts = np.where(rng.random(shape) < share, rng.integers(1, 9, shape), 0).astype(np.float32)
    listed, expected = compressed(counts), sparse.csr_array(counts)
    assert_same_bits(listed.values, expected.data)
    assert (listed.indices == expected.indices).all()
    assert (listed.starts == expected.indptr).all()
    assert_same_bits(dense(listed), counts)


def test_memory_does_not_grow_with_the_data():
    """Would catch a float copy of bytes, or a dense copy of a CSR matrix."""
    n_rows, n_columns = 200_000, 100
    bytes_ = np.zeros((n_rows, n_columns), np.uint8)  # 20 MB; as floats 80 MB
    short = sparse.random(n_rows, n_columns, 0.01, "csr", np.float32, rng=0)
    for X in (bytes_, short):
        tracemalloc.start()
        try:
            rows = ArrayRows(X)
            survey(rows, dg.Binary(n_columns))
            for _ in rows.batches(1000, STREAM):
                pass
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 12e6  # a block's order and a piece of 8,192 rows


def test_a_memmap_stays_on_the_disk(tmp_path):
    """Would catch a memmap that is read as a whole."""
    X = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(100_000, 64))  # 25.6 MB
    X[::1000] = 1.0
    X.flush()
    X = np.memmap(tmp_path / "rows", np.float32, "r", shape=X.shape)
    tracemalloc.start()
    try:
        dg.RBM(2, batch_size=1000, n_epochs=1, random_state=0).fit(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * X.nbytes


# ------------------------------------------------------------------------------------ iterables


@pytest.mark.parametrize("batch_size", [1, 10, 37, 137, 500])
@pytest.mark.parametrize("cuts", [[137], [1] * 137, [100, 37], [0, 30, 0, 107], [50, 50, 37]])
def test_batches_of_an_iterable_are_cut_and_joined(cuts, batch_size):
    """Would catch short updates in mid-epoch: then the rate's schedule runs out too early."""
    for form in (np.asarray, sparse.csr_matrix, sparse.csr_array, np.asfortranarray):
        parts = [form(part) for part in np.split(ROWS, np.cumsum(cuts)[:-1])]
        rows = IterableRows(Again(parts))
        batches = list(rows_of(rows.batches(batch_size, STREAM)))
        sizes = [batch.shape[0] for batch in batches]
        assert sizes[:-1] == [batch_size] * (137 // batch_size - (137 % batch_size == 0))
        assert sum(sizes) == 137
        assert np.array_equal(np.concatenate([dense(batch) for batch in batches]), ROWS)


def test_mixed_forms_are_joined_by_value():
    """Would catch batches of different kinds that cannot be put together."""
    parts = [
        ROWS[:10], ROWS[10:20].astype(bool), sparse.csr_matrix(ROWS[20:40]),
        0.5 * ROWS[40:45], sparse.csr_array(ROWS[45:50].astype(float)), ROWS[50:51].tolist(),
    ]  # fmt: skip
    expected = ROWS[:51].astype(np.float32)
    expected[40:45] *= 0.5
    for batch_size in (1, 7, 33, 60):
        batches = rows_of(IterableRows(Again(parts)).batches(batch_size, STREAM))
        assert np.array_equal(np.concatenate([dense(batch) for batch in batches]), expected)


def test_a_source_may_fill_one_buffer_again_and_again():
    """Would catch rows kept for the next batch by reference, while the source overwrites them."""

    class OneBuffer:
        def __iter__(self):
            buffer = np.empty((10, 9), np.uint8)
            for first in range(0, 130, 10):
                buffer[...] = ROWS[first : first + 10]
                yield buffer

    batches = [np.array(x) for x in rows_of(IterableRows(OneBuffer()).batches(32, STREAM))]
    assert np.array_equal(np.concatenate(batches), ROWS[:130])


def test_an_iterable_is_read_once_for_the_survey_and_once_an_epoch():
    """Would catch a second survey, or a whole data set kept in a list."""
    source = Again([ROWS[:100], ROWS[100:]])
    dg.RBM(3, n_epochs=3, batch_size=50, random_state=0).fit(source)
    assert source.begun <= 1 + 1 + 3  # one look at the first batch, the survey, the epochs
    assert source.taken <= 1 + 2 * 4


@pytest.mark.parametrize("batch_size", [7, 50])
@pytest.mark.parametrize(
    ("later", "got"), [([], "0"), ([ROWS[:60]], "60"), ([ROWS[:130], ROWS], "more than 130")]
)
def test_an_epoch_of_other_rows_than_the_survey_saw_is_an_error(later, got, batch_size):
    """Would catch an iterable that shrinks, runs dry or grows and is learned silently."""

    class Changing:
        begun = 0

        def __iter__(self):
            self.begun += 1
            yield from [ROWS[:100], ROWS[100:130]] if self.begun < 4 else later

    rbm = dg.RBM(3, n_epochs=3, batch_size=batch_size, random_state=0)
    message = f"X must have 130 rows each time.* got {got} in epoch 2"
    with pytest.raises(ValueError, match=message):
        rbm.fit(Changing())
    assert len(rbm.history_) == 1
    learned = {"0": 0, "60": 60}.get(got, 130)
    assert rbm.n_updates_ == -(-130 // batch_size) + -(-learned // batch_size)
    assert np.isfinite(rbm.model_.weights[0]).all()


def test_em_refuses_other_rows_than_the_survey_saw():
    """Would catch a mixture of the rows that were left, and a division by no row."""

    class Changing:
        begun = 0

        def __init__(self, last):
            self.last = last

        def __iter__(self):
            self.begun += 1
            yield from [ROWS] if self.begun < 5 else self.last

    for last in ([], [ROWS[:100]], [ROWS, ROWS]):
        got = sum(map(len, last))
        mixture = dg.MixtureOfBernoullis(2, random_state=0, tol=0.0)
        with pytest.raises(ValueError, match=f"X must have 137 rows each time.* got {got} in"):
            mixture.fit(Changing(last))
        assert len(mixture.history_) >= 1


def test_what_is_an_iterable_of_batches():
    """Would catch an array-like taken for batches, or a loader taken for an array."""
    import pandas as pd

    for array_like in (ROWS, ROWS.tolist(), tuple(ROWS), pd.DataFrame(ROWS), 3, None, "text",
                       sparse.csr_matrix(ROWS), memoryview(ROWS)):  # fmt: skip
        assert not is_iterable_of_batches(array_like)
    for batches in (Again([ROWS]), iter([ROWS]), (x for x in [ROWS]), {1: ROWS}, {1, 2}):
        assert is_iterable_of_batches(batches)


# ---------------------------------------------------------------------------------------- survey


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_survey_measures_moments(scale):
    """Would catch moments of pieces that are weighted wrongly, or accumulated in float32."""
    rng = np.random.default_rng(1)
    X = (scale * (3.0 + rng.normal(size=(20_000, 5)))).astype(np.float32)
    for rows in (ArrayRows(X), ArrayRows(sparse.csr_matrix(X)),
                 IterableRows(Again(np.split(X, [1, 7, 15_000])))):  # fmt: skip
        n_rows, mean, variance = survey(rows, dg.Gaussian(5))
        assert n_rows == 20_000
        assert mean == pytest.approx(X.mean(axis=0, dtype=np.float64), rel=1e-12)
        assert variance == pytest.approx(X.var(axis=0, dtype=np.float64), rel=1e-9)
        assert (variance >= 0).all()


def test_the_survey_looks_at_every_value():
    """Would catch a check of the first piece only."""
    for place in (0, 8191, 8192, 19_999):
        X = np.zeros((20_000, 3), np.float32)
        X[place, 2] = 1.5
        for rows in (ArrayRows(X), ArrayRows(sparse.csr_matrix(X)), IterableRows(Again([X]))):
            with pytest.raises(ValueError, match=r"\[0, 1\].*got 1.5"):
                survey(rows, dg.Binary(3))
        X[place, 2] = np.nan
        with pytest.raises(ValueError, match="X must be finite"):
            survey(ArrayRows(X), dg.Binary(3))


def test_constant_columns_have_no_variance():
    """Would catch a variance below zero, whose logarithm is no number."""
    X = np.full((1000, 2), 0.1, np.float32)
    _, mean, variance = survey(ArrayRows(X), dg.Gaussian(2))
    assert mean == pytest.approx(0.1, rel=1e-7)
    assert (variance >= 0).all()
    assert variance == pytest.approx(0.0, abs=1e-12)


# ------------------------------------------------------------------------- forms that kernels read


def test_as_states_copies_only_where_the_form_must_change():
    """Would catch a hidden copy of the whole data set."""
    for X in (ROWS, ROWS.astype(np.float32)):
        assert np.shares_memory(as_states(X), X)
    assert np.shares_memory(as_states(ROWS.astype(bool, copy=True)), as_states(ROWS)) is False
    flags = ROWS.astype(bool)
    assert np.shares_memory(as_states(flags), flags)
    matrix = sparse.csr_matrix(ROWS.astype(np.float32))
    assert np.shares_memory(as_states(matrix).values, matrix.data)


def test_csr_rows_keep_their_meaning():
    """Would catch indices in disorder, duplicates or stored zeros read as something else."""
    columns = np.array([4, 0, 4, 2, 2, 1])
    values = np.array([0.25, 1.0, 0.5, 0.0, 0.75, -1.0])
    starts = np.array([0, 3, 3, 6])
    matrix = sparse.csr_matrix((values, columns, starts), shape=(3, 5))
    before = copy.deepcopy((matrix.data, matrix.indices, matrix.indptr))
    states = as_states(matrix)
    assert np.array_equal(dense(states), matrix.toarray().astype(np.float32))
    assert all((np.diff(states.indices[a:b]) > 0).all() for a, b in pairwise(states.starts))
    for kept, now in zip(before, (matrix.data, matrix.indices, matrix.indptr), strict=True):
        assert np.array_equal(kept, now)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.bsr_matrix])
@pytest.mark.parametrize(
    ("part", "value"),
    [("indices", 10**8), ("indices", -1), ("indptr", 10**6), ("indptr", -1)],
)
def test_damaged_sparse_matrices_are_refused(kind, part, value):
    """Would catch a read far outside an array: scipy does not check what it is given."""
    matrix = kind(np.ones((4, 4), np.float32))
    getattr(matrix, part)[1 if part == "indptr" else 0] = value
    model = dg.BoltzmannMachine([dg.Binary(4), dg.Binary(2)], [np.zeros((4, 2))])
    calls = [
        lambda: ArrayRows(matrix), lambda: IterableRows(Again([matrix])),
        lambda: as_states(matrix), lambda: dg.free_energy(model, matrix),
        lambda: dg.exact_log_likelihood(model, matrix), lambda: dg.RBM(2, n_epochs=1).fit(matrix),
        lambda: dg.RBM.from_model(model).transform(matrix),
        lambda: dg.RBM.from_model(model).score(matrix),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match="damaged sparse matrix"):
            call()


def test_batches_are_looked_at_in_every_epoch():
    """Would catch a kernel that reads past the rows of a source which changes after the survey."""
    damaged = sparse.csr_matrix(ROWS.astype(np.float32))
    damaged.indices[0] = 10**8
    for second, message in ((ROWS[:, :4], "batch 0 of X has 4 features"), (damaged, "damaged")):

        class Changing:
            begun = 0

            def __iter__(self, second=second):
                self.begun += 1
                yield second if self.begun > 3 else ROWS

        rbm = dg.RBM(3, n_epochs=5, batch_size=50, random_state=0)
        with pytest.raises(ValueError, match=message):
            rbm.fit(Changing())
        assert rbm.sample(2, n_sweeps=1).shape == (2, 9)  # what was learned before is kept
