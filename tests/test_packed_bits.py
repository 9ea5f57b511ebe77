"""Rows packed as bits: everywhere the same bits as from bytes, and never unpacked as a whole."""

import json
import pickle
import sys

import memory_of_fits
import numpy as np
import pytest
from comparisons import without_seconds
from conftest import Batches, with_slow
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_array

import deepgen as dg
from deepgen.cli import main
from deepgen.rows import sources
from deepgen.rows.sources import ArrayRows
from deepgen.rows.survey import survey

RNG = np.random.default_rng(0)
X = (RNG.random((300, 37)) < 0.3).astype(np.uint8)
LABELS = RNG.integers(0, 3, 300)
ONE_HOT = np.eye(3, dtype=np.uint8)[RNG.integers(0, 3, (300, 5))].reshape(300, 15)
RUN = {"n_epochs": 2, "batch_size": 40, "random_state": 0}
ESTIMATORS = {
    "RBM": dg.RBM(5, **RUN),
    "RBM, grey": dg.RBM(5, binarize=True, **RUN),
    "RBM, CD": dg.RBM(5, rule="cd", **RUN),
    "RBM, Gaussian": dg.RBM(5, visible="gaussian", **RUN),
    "RBM, two copies": dg.RBM(5, visible=dg.Binary(n_copies=2), **RUN),
    "DBN": dg.DBN((5, 4), **RUN),
    "DBM": dg.DBM((5, 4), **RUN),
    "DBM, labels": dg.DBM((5, 4), label_units=True, **RUN),
    "mixture": dg.MixtureOfBernoullis(4, max_iter=3, random_state=0),
    "autoencoder": dg.Autoencoder(5, **RUN),
    "deep autoencoder": dg.DeepAutoencoder((5, 2), **RUN),
    "classifier": dg.DeepClassifier((5, 4), early_stopping=1, unlabelled=2, **RUN),
    "regressor": dg.DeepRegressor((5, 4), early_stopping=1, **RUN),
}
SLOW = ("RBM, two copies", "DBN", "DBM", "DBM, labels")
ANSWERS = (
    "transform", "free_energy", "score_samples", "bound", "posterior", "predict", "predict_proba",
    "reconstruction_error",
)  # fmt: skip


def targets_of(estimator):
    supervised = isinstance(estimator, dg.DeepClassifier | dg.DeepRegressor)
    return LABELS if supervised or getattr(estimator, "label_units", False) else None


def fitted(name, rows):
    estimator = clone(ESTIMATORS[name])
    return estimator.fit(rows, targets_of(estimator)[: len(rows)]) if (
        targets_of(estimator) is not None
    ) else estimator.fit(rows)  # fmt: skip


def as_list(answer):
    """The arrays of an answer; a posterior has one for each layer."""
    return answer if isinstance(answer, list) else [answer]


def file_of(estimator, folder):
    """The bytes that the estimator's model is saved as."""
    estimator.save(folder / "model")
    return (folder / "model").read_bytes()


def mapped(rows, folder):
    """Packed rows in a file, and the map of it."""
    np.save(folder / "bits.npy", np.packbits(rows, axis=1))
    packed = dg.PackedBits(np.load(folder / "bits.npy", mmap_mode="r"), rows.shape[1])
    assert isinstance(packed.array, np.memmap)
    return packed


# -------------------------------------------------------------------------------- the rows alone


@pytest.mark.parametrize("n_columns", [1, 7, 8, 9, 16, 37])
def test_rows_are_unpacked_as_they_were(n_columns):
    """Would catch bits in the wrong order, and padding that comes out as columns."""
    rows = X[:, :n_columns]
    packed = dg.PackedBits(np.packbits(rows, axis=1), n_columns)
    assert packed.shape == rows.shape
    assert (len(packed), packed.ndim, packed.dtype) == (300, 2, np.uint8)
    mask = rows[:, 0] == 1
    for chosen in (
        slice(None), slice(3, 50, 7), slice(None, None, -1), slice(9, 9), 5, -1, np.int64(4), [],
        [7, 0, 7], np.array([299, -300]), mask, (mask, Ellipsis),
    ):  # fmt: skip
        found = packed[chosen]
        assert type(found) is np.ndarray
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous
        assert np.array_equal(found, rows[chosen])
    assert np.array_equal(packed, rows)
    assert np.array_equal(np.asarray(packed, np.float32), rows.astype(np.float32))
    assert np.array_equal(list(packed), rows)
    with pytest.raises(ValueError, match="without a copy"):
        packed.__array__(copy=False)


def test_bits_beyond_the_last_column_are_ignored(tmp_path):
    """Would catch garbage in the padding that is counted, learned or taken for columns."""
    clean = np.packbits(X, axis=1)
    dirty = clean.copy()
    dirty[:, -1] |= 0b111  # 37 columns: three bits of padding
    one, other = (dg.PackedBits(array, 37) for array in (clean, dirty))
    assert np.array_equal(one, other)
    assert file_of(fitted("RBM", one), tmp_path) == file_of(fitted("RBM", other), tmp_path)


def test_chosen_rows_can_stay_packed():
    """Would catch a selection that unpacks, or a slice of a map that is read."""
    packed = dg.PackedBits.pack(X)
    for chosen in (slice(3, 50), X[:, 0] == 1, [4, 2], np.arange(9)):
        part = packed.select(chosen)
        assert isinstance(part, dg.PackedBits)
        assert np.array_equal(part, X[chosen])
    assert np.shares_memory(packed.select(slice(3, 50)).array, packed.array)
    with pytest.raises(IndexError, match="one row"):
        packed.select(3)


@pytest.mark.parametrize(
    "chosen", [(slice(None), 3), (0, 1), None, Ellipsis, True, np.ones((300, 5), bool), 1.5, "a"]
)
def test_only_rows_can_be_taken(chosen):
    """Would catch columns of bytes that are given out as columns of bits."""
    packed = dg.PackedBits.pack(X)
    for call in (packed.__getitem__, packed.select):
        with pytest.raises(IndexError):
            call(chosen)
    with pytest.raises(IndexError):
        packed[300]


@pytest.mark.parametrize(
    "form", [np.asarray, np.ndarray.tolist, sparse.csr_matrix, sparse.coo_array, np.asfortranarray]
)
def test_rows_of_any_form_are_packed(form, monkeypatch):
    """Would catch a piece of the rows that is lost, and a form that is read by another order."""
    monkeypatch.setattr("deepgen.rows.packed_bits.PIECE_ROWS", 64)
    for dtype in (np.uint8, bool, np.int64, np.float32):
        packed = dg.PackedBits.pack(form(X.astype(dtype)))
        assert np.array_equal(packed.array, np.packbits(X, axis=1))
        assert packed.shape == X.shape
    assert dg.PackedBits.pack(X[:0]).shape == (0, 37)


def test_every_value_is_looked_at_when_rows_are_packed(monkeypatch):
    """Would catch grey values that become ones in silence."""
    monkeypatch.setattr("deepgen.rows.packed_bits.PIECE_ROWS", 64)
    for value in (0.5, 2.0, -1.0, np.nan, np.inf):
        for place in (0, 63, 64, 299):
            rows = X.astype(np.float64)
            rows[place, 3] = value
            with pytest.raises(ValueError, match=f"zeros and ones only, got {value}; binarize"):
                dg.PackedBits.pack(rows)


def test_packed_rows_are_pickled():
    """Would catch a cross-validation in several processes that fails."""
    again = pickle.loads(pickle.dumps(dg.PackedBits.pack(X)))
    assert np.array_equal(again, X)
    assert again.shape == X.shape
    assert repr(again) == "PackedBits(300 x 37)"


# ------------------------------------------------------------------------------- learning from them


@pytest.mark.parametrize("name", with_slow(ESTIMATORS, SLOW))
def test_every_estimator_learns_and_answers_the_bits_of_bytes(name, tmp_path):
    """Would catch an estimator that refuses packed rows, reads their bytes as columns, or pairs
    rows with the targets of others."""
    wanted, packed = fitted(name, X), mapped(X, tmp_path)
    for rows in (dg.PackedBits.pack(X), packed):
        found = fitted(name, rows)
        assert found.n_features_in_ == 37
        assert file_of(found, tmp_path) == file_of(wanted, tmp_path)
        assert without_seconds(found.history_) == without_seconds(wanted.history_)
    for method in ANSWERS:
        if hasattr(wanted, method):
            answers = getattr(wanted, method)(X), getattr(found, method)(packed)
            pairs = zip(*map(as_list, answers), strict=True)
            assert all(np.array_equal(*pair) for pair in pairs), method
    if targets_of(wanted) is None:
        assert wanted.score(X) == found.score(packed)
    else:
        assert wanted.score(X, LABELS) == found.score(packed, LABELS)
    if hasattr(wanted, "impute"):
        missing, settings = RNG.random(X.shape) < 0.3, {"random_state": 1}
        a, b = (e.impute(r, missing, **settings) for e, r in ((wanted, X), (found, packed)))
        assert np.array_equal(a, b)
        assert a.dtype == b.dtype


def test_softmax_units_take_packed_one_hot_rows(tmp_path):
    """Would catch groups that are cut by the bytes, and rows that are not checked by group."""
    rbm = dg.RBM(4, visible=dg.Softmax(3), **RUN)
    packed = dg.PackedBits.pack(ONE_HOT)
    wanted, found = clone(rbm).fit(ONE_HOT), clone(rbm).fit(packed)
    assert file_of(found, tmp_path) == file_of(wanted, tmp_path)
    assert np.array_equal(found.score_samples(packed), wanted.score_samples(ONE_HOT))
    with pytest.raises(ValueError, match="X must have one 1 in each group"):
        clone(rbm).fit(dg.PackedBits.pack(1 - ONE_HOT))


@pytest.mark.parametrize("name", ["RBM", "DBN", "DBM", "DBM, labels"])
def test_streams_take_packed_rows(name, tmp_path):
    """Would catch a stream that loses its first rows, or joins packed ones to bytes."""
    for cuts in ([300], [10, 20, 300], [40, 80, 300]):
        one, other = (clone(ESTIMATORS[name]) for _ in range(2))
        for estimator, form in ((one, np.asarray), (other, dg.PackedBits.pack)):
            start = 0
            for end in cuts:
                part = form(X[start:end])
                if name == "DBM, labels":
                    estimator.partial_fit(part, LABELS[start:end], classes=[0, 1, 2])
                else:
                    estimator.partial_fit(part)
                start = end
        assert file_of(one, tmp_path) == file_of(other, tmp_path)


def test_batches_of_an_iterable_may_be_packed(tmp_path):
    """Would catch batches that are read as bytes, and those that cannot be joined to others."""
    parts = (X[:90], X[90:130], X[130:])
    packed = Batches(dg.PackedBits.pack(parts[0]), parts[1], dg.PackedBits.pack(parts[2]))
    for name in ("RBM", "mixture"):
        one, other = (clone(ESTIMATORS[name]).fit(rows) for rows in (packed, Batches(*parts)))
        assert file_of(one, tmp_path) == file_of(other, tmp_path)


def test_the_core_takes_packed_rows():
    """Would catch a function that takes the bytes for columns."""
    packed, model = dg.PackedBits.pack(X), fitted("RBM", X).model_
    deep = fitted("DBM", X).model_
    for answer in (
        lambda rows: dg.free_energy(model, rows),
        lambda rows: dg.exact_log_likelihood(model, rows),
        lambda rows: dg.variational_bound(deep, rows, log_partition=0.0, random_state=0),
    ):
        assert np.array_equal(answer(packed), answer(X))
    monitors = [dg.LikelihoodMonitor(rows[:50]) for rows in (packed, X)]
    histories = [dg.RBM(5, callbacks=[m], **RUN).fit(packed).history_ for m in monitors]
    assert histories[0][-1]["log_likelihood"] == histories[1][-1]["log_likelihood"]


def test_a_run_begun_on_bytes_goes_on_from_bits(tmp_path):
    """Would catch a mark of the rows that depends on how they are stored."""
    whole = dg.RBM(5, **{**RUN, "n_epochs": 4}).fit(X)
    path = tmp_path / "run"

    def stop(report):
        if report.epoch == 2:
            raise RuntimeError("stopped")

    rbm = dg.RBM(5, **{**RUN, "n_epochs": 4}, callbacks=[dg.Checkpoint(path, minutes=0), stop])
    with pytest.raises(RuntimeError, match="stopped"):
        rbm.fit(X)
    again = dg.RBM(5, **{**RUN, "n_epochs": 4}, callbacks=[dg.Checkpoint(path)])
    again.fit(mapped(X, tmp_path), resume=path)
    assert np.array_equal(again.model_.weights[0], whole.model_.weights[0])
    with pytest.raises(ValueError, match="order"):
        again.fit(dg.PackedBits.pack(X[::-1]), resume=path)


@pytest.mark.parametrize("block", [16, 100, 1000])
def test_the_order_of_a_file_is_that_of_bytes(block, tmp_path, monkeypatch):
    """Would catch packed rows that are shuffled in another order, or by bytes of rows."""
    monkeypatch.setattr(sources, "BLOCK", block)
    packed, stream = ArrayRows(mapped(X, tmp_path)), dg.Stream(3)
    for skip in (0, 2):
        pairs = zip(packed.batches(40, stream, skip=skip),
                    ArrayRows(X).batches(40, stream, skip=skip), strict=True)  # fmt: skip
        assert all(np.array_equal(one.states[0], other.states[0]) for one, other in pairs)
    for one, other in zip(survey(packed, dg.Binary(37)), survey(ArrayRows(X), dg.Binary(37)),
                          strict=True):  # fmt: skip
        assert np.array_equal(one, other)


# ------------------------------------------------------------------------------------------ memory


@pytest.mark.parametrize("name", ESTIMATORS)
def test_rows_are_never_unpacked_as_a_whole(name, monkeypatch):
    """Would catch an estimator that makes bytes of the data set, of what it holds back or of the
    rows that have a label."""
    monkeypatch.setattr(sources, "CHECK_ROWS", 64)
    monkeypatch.setattr("deepgen.estimators.common.validation.CHECK_ROWS", 64)
    monkeypatch.setattr("deepgen.learning.mixtures.CHUNK", 64)
    monkeypatch.setattr("deepgen.estimators.dbm.SOME_ROWS", 64)
    taken, unpackbits = [], np.unpackbits

    def spy(packed, **options):
        taken.append(len(packed))
        return unpackbits(packed, **options)

    packed = dg.PackedBits.pack(X)
    monkeypatch.setattr(np, "unpackbits", spy)
    estimator = fitted(name, packed)
    for method in ANSWERS:
        if hasattr(estimator, method):
            getattr(estimator, method)(packed)
    assert len(taken) > 10
    assert max(taken) <= 64


@pytest.mark.parametrize("chosen", [3, (3, Ellipsis)], ids=str)
def test_one_row_cannot_be_selected(chosen):
    """Would catch an error about the shape of an array that the user never saw."""
    packed = dg.PackedBits.pack(np.eye(9, dtype=np.uint8))
    with pytest.raises(IndexError, match=r"packed\[3\] is one row"):
        packed.select(chosen)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_a_fit_from_packed_bits_does_not_grow_with_the_rows(tmp_path):
    """Would catch a copy of the file, and rows that are unpacked as a whole or block by block."""
    path = tmp_path / "rows"
    np.memmap(path, np.uint8, "w+", shape=(400_000, 25)).flush()  # a file of holes
    opened = """
        def opened(path, n_rows):
            return dg.PackedBits(np.memmap(path, np.uint8, "r", shape=(n_rows, 25)), 197)
    """
    small, large = memory_of_fits.peaks(path, opened, 70_000, 400_000)
    # the file grows by 8 MB, its rows as bytes by 65 MB; a whole block as bytes has 13 MB
    assert large - small < 4e6


# ------------------------------------------------------------------------------------ scikit-learn


def test_scikit_learn_takes_packed_rows():
    """Would catch a validator that chokes on packed rows, or takes the bytes for columns."""
    packed = dg.PackedBits.pack(X)
    assert np.array_equal(check_array(packed), X)
    train, test, labels, _ = train_test_split(packed, LABELS, random_state=0)
    wanted = train_test_split(X, LABELS, random_state=0)
    assert all(np.array_equal(*pair) for pair in zip((train, test, labels), wanted, strict=False))
    rbm = dg.RBM(4, **RUN)
    scores = [cross_val_score(rbm, rows, cv=3) for rows in (packed, X)]
    assert np.array_equal(*scores)
    classifier = dg.DeepClassifier((4,), **RUN)
    pipes = [make_pipeline(clone(rbm), clone(classifier)).fit(rows, LABELS) for rows in (packed, X)]
    assert np.array_equal(pipes[0].predict(packed), pipes[1].predict(X))


def test_widths_and_names_are_compared():
    """Would catch packed rows of another width, or nameless ones, that are read in silence."""
    pd = pytest.importorskip("pandas")
    packed = dg.PackedBits.pack(X)
    rbm = fitted("RBM", packed)
    # 36 columns are as many bytes as 37
    with pytest.raises(ValueError, match="X has 36 features, but RBM is expecting 37"):
        rbm.transform(dg.PackedBits(packed.array, 36))
    with pytest.raises(ValueError, match="X has 40 features, but RBM is expecting 37"):
        rbm.partial_fit(dg.PackedBits(packed.array, 40))
    with pytest.raises(ValueError, match="0 sample"):
        rbm.transform(packed.select([]))
    for name in ("classifier", "regressor", "DBM, labels"):
        with pytest.raises(ValueError, match=r"inconsistent numbers of samples|y must"):
            clone(ESTIMATORS[name]).fit(packed, LABELS[:10])
    named = dg.RBM(2, n_epochs=1).fit(pd.DataFrame(X, columns=[f"c{i}" for i in range(37)]))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        named.transform(packed)
    assert not hasattr(named.fit(packed), "feature_names_in_")


# ------------------------------------------------------------------------------------ command line


def test_the_command_line_reads_packed_rows(tmp_path, monkeypatch, capsys):
    """Would catch a flag that is not used, for the held-out rows or for a score."""
    monkeypatch.chdir(tmp_path)
    for name, rows in (("train", X[:240]), ("valid", X[240:])):
        np.save(f"{name}.npy", rows)
        np.save(f"{name}_bits.npy", np.packbits(rows, axis=1))
    common = ["--n-hidden", "4", "--n-epochs", "2", "--n-threads", "1"]
    files, scores = [], []
    for ending, flags in (("", []), ("_bits", ["--packed-columns", "37"])):
        out = f"model{ending}"
        argv = ["--data", f"train{ending}.npy", "--valid", f"valid{ending}.npy", *flags, *common]
        assert main(["train", *argv, "--out", out, "--history", f"{out}.json"]) == 0
        files.append((tmp_path / out).read_bytes())
        capsys.readouterr()
        assert main(["score", out, f"valid{ending}.npy", *flags, "--json"]) == 0
        scores.append(json.loads(capsys.readouterr().out)["log_likelihood"])
    assert files[0] == files[1]
    assert scores[0] == scores[1]
    bad = ["train", "--data", "train.npy", "--packed-columns", "37", "--out", "m"]
    assert main(bad) == 1
    assert "train.npy must hold packed bits: array must have shape (n_rows, 5)" in (
        capsys.readouterr().err
    )
