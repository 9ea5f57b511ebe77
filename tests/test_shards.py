"""Rows in files: every row once an epoch, each process its own files, equal bits for all."""

import numpy as np
import pytest
from mpi_jobs import BITS, COMMON, REAL, of_model
from ranks import on_threads
from scipy import sparse

import deepgen as dg
from deepgen.distributed import Shards
from deepgen.rows import shards as shards_module
from deepgen.runtime.stream import Stream

CUTS = [3, 3, 60]  # an empty file, and some of unequal size


def written(folder, X, kind="npy"):
    """Files of some rows."""
    folder.mkdir(exist_ok=True)
    for number, rows in enumerate(np.split(X, CUTS)):
        path = folder / f"{number}.{kind.split()[-1]}"
        if kind == "npy":
            np.save(path, rows)
        elif kind == "bits npy":
            np.save(path, np.packbits(rows, axis=1))
        elif kind == "npz":
            np.savez_compressed(path, rows)
        elif kind == "sparse npz":
            sparse.save_npz(path, sparse.csr_array(rows))
        else:
            parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
            table = pytest.importorskip("pyarrow").table(
                {f"column {j}": rows[:, j] for j in range(12)}
            )
            parquet.write_table(table, path)
    return folder


def fitted(source, size, estimator=dg.RBM, X_of=Shards, **settings):
    """Digests of what processes learn from files; 0: without a communicator."""
    sizes = 7 if estimator is dg.RBM else (7, 5)

    def learn(collective):
        each = estimator(sizes, **{**COMMON, **settings}, communicator=collective, n_threads=1)
        each.fit(X_of(source))
        return of_model(vars(each).get("stack_", each.model_))

    return on_threads(size, learn) if size else [learn(None)]


def all_alike(source, sizes=(0, 1, 2, 3), **settings):
    """What all processes of any number learn, after a check that it is the same."""
    found = [each for size in sizes for each in fitted(source, size, **settings)]
    assert all(each == found[0] for each in found), found
    return found[0]


KINDS = ["npy", "bits npy", "npz", "sparse npz", "parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_all_kinds_are_the_same_rows(tmp_path, kind):
    """Would catch a reader that mixes rows or values, of any kind of file: the bits are those of
    arrays, for any number of processes."""
    arrays = fitted(written(tmp_path / "arrays", BITS), 0)[0]
    packed = 12 if kind == "bits npy" else None
    folder = written(tmp_path / "files", BITS, kind)
    assert all_alike(
        folder, (0, 2, 3), X_of=lambda source: Shards(source, packed_columns=packed)
    ) == arrays


@pytest.mark.parametrize(("estimator", "settings"), [
    (dg.RBM, {"rule": dg.PCD(n_particles=5)}), (dg.RBM, {"rule": "cd", "batch_size": 1}),
    (dg.DBN, {}), (dg.DBM, {"pretrained": None}),
], ids=["pcd", "single rows", "dbn", "dbm"])  # fmt: skip
def test_machines_learn_alike_from_files(tmp_path, estimator, settings):
    """Would catch features, particles or draws that depend on who has a file."""
    all_alike(written(tmp_path / "files", BITS), estimator=estimator, **settings)


@pytest.mark.parametrize(("estimator", "settings"), [
    (dg.RBM, {"visible": "gaussian"}), (dg.DBM, {}),
], ids=["gaussian", "means of a greedy start"])  # fmt: skip
def test_real_values_of_files_add_to_the_same_bits(tmp_path, estimator, settings):
    """Would catch floats that are added by process: with a communicator all are alike."""
    X = REAL if settings else BITS
    all_alike(written(tmp_path / "files", X), (1, 2, 3, 5), estimator=estimator, **settings)


def test_every_row_comes_once_an_epoch_and_all_have_a_share(tmp_path, monkeypatch):
    """Would catch rows that are left out or come twice, also where an epoch is entered in its
    middle, and batches that one process has alone."""
    monkeypatch.setattr(shards_module, "BLOCK", 8)
    X = np.arange(1000)[:, None].astype(np.float32)
    for number, rows in enumerate(np.split(X, [10, 500])):
        np.save(tmp_path / f"{number}.npy", rows)
    orders = []
    for epoch in range(2):
        for skip in (0, 3):
            parts = on_threads(3, lambda c, e=epoch, s=skip: list(
                Shards(tmp_path).rows(c).batches(96, Stream(1, e).child("order"), skip=s)
            ))  # fmt: skip
            whole = list(zip(*parts, strict=True))
            batches = [np.concatenate([b.states[0][:, 0] for b in own]) for own in whole]
            assert [len(batch) for batch in batches] == [96] * (10 - skip) + [40]
            for batch, own in zip(batches, whole, strict=True):
                assert (np.diff(batch) > 0).all()
                assert [b.first_row for b in own] == [0, own[0].n_rows,
                                                      own[0].n_rows + own[1].n_rows]  # fmt: skip
                assert all(sum(b.shards) == b.n_rows for b in own)
                assert max(b.n_rows for b in own) - min(b.n_rows for b in own) <= 40
            if skip:
                np.testing.assert_array_equal(np.concatenate(orders[-1][3:]),
                                              np.concatenate(batches))  # fmt: skip
            else:
                orders.append(batches)
                np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(1000))
    assert not np.array_equal(orders[0][0], orders[1][0])


def test_a_process_opens_its_own_files_alone(tmp_path):
    """Would catch every process that reads every file."""
    rows = 2400
    for number in range(6):
        np.save(tmp_path / f"{number}.npy", np.zeros((rows // 6, 4), np.uint8))

    def read(collective):
        own = Shards(tmp_path).rows(collective)
        for batch in (*own.pieces(), *own.batches(100, Stream(0))):
            assert batch.n_rows
        return sorted(own._open)

    assert on_threads(3, read) == [[0, 1], [2, 3], [4, 5]]


def test_a_run_of_files_goes_on_elsewhere(tmp_path):
    """Would catch a place in an epoch that only the same number of processes finds again."""
    folder = written(tmp_path / "files", BITS)

    class Fail:
        def __call__(self, report):
            return False

        def between_updates(self, trainer):
            if trainer.n_updates == 14:
                raise RuntimeError("in mid-epoch")

    def learn(collective, resume=None, fail=()):
        callbacks = [dg.Checkpoint(tmp_path / "run", minutes=0.0), *fail]
        rbm = dg.RBM(7, **COMMON, communicator=collective, callbacks=callbacks)
        return of_model(rbm.fit(Shards(folder), resume=resume).model_)

    whole = learn(None)
    with pytest.raises(RuntimeError, match="in mid-epoch"):
        on_threads(3, lambda c: learn(c, fail=[Fail()]))
    assert on_threads(2, lambda c: learn(c, resume=tmp_path / "run")) == [whole, whole]


def test_a_bad_value_is_told_with_its_file(tmp_path):
    """Would catch a place that is counted from the wrong row, and processes that wait."""
    X = BITS.astype(np.float32)
    X[70, 4] = 3.0  # in the last file, which begins with row 60
    folder = written(tmp_path / "files", X)

    def learn(collective):
        try:
            dg.RBM(3, **COMMON, communicator=collective).fit(Shards(folder))
        except (ValueError, RuntimeError) as error:
            return str(error)

    for told in on_threads(3, learn):
        assert "3.npy must have values in [0, 1]" in told
        assert "got 3.0 in row 10, column 4" in told


@pytest.mark.parametrize("spoil", ["missing", "damaged", "width"])
def test_a_bad_file_stops_all(tmp_path, spoil):
    """Would catch a process that fails alone."""
    folder = written(tmp_path / "files", BITS)
    path, source = folder / "3.npy", sorted(folder.iterdir())
    if spoil == "missing":
        path.unlink()
    elif spoil == "damaged":
        path.write_bytes(path.read_bytes()[:150])
    else:
        np.save(path, BITS[:, :5])

    def learn(collective):
        try:
            dg.RBM(3, **COMMON, communicator=collective).fit(Shards(source))
        except (OSError, ValueError, RuntimeError) as error:
            return str(error)

    wanted = {"missing": "3.npy", "damaged": "3.npy cannot be read", "width": r"got [5, 12]"}[spoil]
    assert all(wanted in told for told in on_threads(3, learn))


@pytest.mark.parametrize(("source", "error", "message"), [
    ("nowhere", FileNotFoundError, "must be a folder or a list of files"),
    (".", FileNotFoundError, "must have files of .npy"),
    (["rows.csv"], ValueError, "must have files of .npy.*got rows.csv"),
    (5, TypeError, "source must be a sequence of names of files, or the name of a folder, got 5"),
    ([5], TypeError, "source must be a str or a path-like object, got 5"),
])  # fmt: skip
def test_no_files_are_refused(tmp_path, monkeypatch, source, error, message):
    """Would catch an empty run, or a kind of file that is read as another one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        Shards(source)


def test_files_are_for_machines_alone(tmp_path):
    """Would catch an AttributeError somewhere inside of what cannot read files."""
    files = Shards(written(tmp_path / "files", BITS))
    for estimator in (dg.MixtureOfBernoullis(2), dg.Autoencoder(3), dg.RBM(3, visible="auto")):
        with pytest.raises(TypeError, match=r"X must be one array for a .*got Shards"):
            estimator.fit(files)
    with pytest.raises(ValueError, match="X must be an array"):
        dg.RBM(3).partial_fit(files)
    with pytest.raises(TypeError, match="X must be an array"):
        dg.DBN((3, 2), n_epochs=1).fit(BITS).refine(files)
