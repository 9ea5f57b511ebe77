"""Checkpoints that are refused by name: other settings, other rows, other files, damage."""

import math
import tracemalloc

import numpy as np
import pytest
from conftest import Batches
from scipy import sparse
from stopped_runs import bits, rbm_for, rows_for
from stops import At, Stop, fail

import deepgen as dg
from deepgen.io import model_files, trees
from deepgen.learning.rule_states import RuleState, check_particles

pytestmark = pytest.mark.usefixtures("serial")


@pytest.fixture
def stopped(tmp_path):
    """A checkpoint of a run of binary units."""
    path = tmp_path / "run"
    with pytest.raises(Stop):
        rbm_for({}, [dg.Checkpoint(path), At(fail, update=9)]).fit(rows_for({}))
    return path


# --- options and folders ----------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    {"minutes": -1}, {"minutes": "1"}, {"epochs": 0}, {"epochs": True}, {"on_save_error": "stop"},
], ids=str)  # fmt: skip
def test_bad_options_are_refused(options):
    """Catches a checkpoint that is never written because an option was misread."""
    with pytest.raises(ValueError, match=next(iter(options))):
        dg.Checkpoint("a", **options)


def test_a_missing_folder_is_found_before_any_work(tmp_path):
    """Catches an hour of training that cannot be saved."""
    with pytest.raises(FileNotFoundError, match="make it first"):
        rbm_for({}, [dg.Checkpoint(tmp_path / "none" / "a")]).fit(rows_for({}))
    with pytest.raises(IsADirectoryError):
        rbm_for({}, [dg.Checkpoint(tmp_path)]).fit(rows_for({}))


def test_what_no_checkpoint_can_be_is_named(tmp_path, monkeypatch):
    """Catches messages about "path", "." or a missing __fspath__ for a slip in `resume`."""
    monkeypatch.chdir(tmp_path)
    for fit in (rbm_for({}).fit, dg.Autoencoder(5).fit):
        for wrong, error in ((3, TypeError), ("", TypeError), (b"a", TypeError),
                             (".", IsADirectoryError), (tmp_path, IsADirectoryError)):  # fmt: skip
            with pytest.raises(error, match=r"^resume must"):
                fit(rows_for({}), resume=wrong)


# --- other settings, other rows ---------------------------------------------------------------


OTHERS = {
    "n_hidden": {"n_hidden": 8},
    "rule": {"rule": dg.PCD(k=2)},
    "optimizer": {"optimizer": dg.SGD(momentum=0.5)},
    "learning_rate": {"learning_rate": 0.1},
    "batch_size": {"batch_size": 10},
    "n_epochs": {"n_epochs": 6},
    "binarize": {"binarize": True},
    "random_state": {"random_state": 4},
    "visible": {"visible": "gaussian"},
    "hidden": {"hidden": dg.Binary(n_copies=2)},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_other_settings_is_refused_by_name(name, stopped):
    """Catches a run that goes on as another one."""
    rbm = rbm_for(OTHERS[name])
    with pytest.raises(ValueError, match=f"{name} is .* here and .* there") as caught:
        rbm.fit(rows_for({}), resume=stopped)
    assert not isinstance(caught.value, dg.ModelFileError)
    assert not hasattr(rbm, "model_")


def test_a_checkpoint_of_other_rows_is_refused(stopped, tmp_path):
    """Catches a run that goes on with other data, of another shape or of the same."""
    X = rows_for({})
    with pytest.raises(ValueError, match="n_samples is 129 here and 130 there"):
        rbm_for({}).fit(X[1:], resume=stopped)
    with pytest.raises(ValueError, match="n_features is 11 here and 12 there"):
        rbm_for({}).fit(X[:, 1:], resume=stopped)
    with pytest.raises(ValueError, match="mean of column"):
        rbm_for({}).fit(1 - X, resume=stopped)
    with pytest.raises(FileNotFoundError, match="leave `resume` out"):
        rbm_for({}).fit(X, resume=tmp_path / "none")


@pytest.mark.parametrize("settings", [{}, {"visible": "gaussian"}])
def test_a_checkpoint_of_the_same_rows_in_another_order_is_refused(settings, tmp_path):
    """Catches a run that goes on with wrong bits: two rows that have changed places leave the
    means as they are."""
    path, X = tmp_path / "run", rows_for(settings)
    whole = rbm_for(settings).fit(X)
    with pytest.raises(Stop):
        rbm_for(settings, [dg.Checkpoint(path), At(fail, update=9)]).fit(X)
    other = X.copy()
    other[[0, 129]] = other[[129, 0]]
    assert (other[0] != X[0]).any()
    for rows in (other, X[::-1], Batches(other[:50], other[50:])):
        with pytest.raises(ValueError, match="in another order") as caught:
            rbm_for(settings).fit(rows, resume=path)
        assert not isinstance(caught.value, dg.ModelFileError)
    for rows in (X, X.astype(np.float64), sparse.csr_matrix(X)):
        assert bits(rbm_for(settings).fit(rows, resume=path)) == bits(whole)


def test_networks_refuse_rows_in_another_order_too(tmp_path):
    """Catches a mark of the rows that only one kind of run keeps."""
    path, X = tmp_path / "run", rows_for({})
    common = {"n_epochs": 2, "random_state": 0, "batch_size": 20}
    make = lambda **more: dg.Autoencoder(5, **common, **more)  # noqa: E731
    with pytest.raises(Stop):
        make(callbacks=[dg.Checkpoint(path), At(fail, epoch=1)]).fit(X)
    with pytest.raises(ValueError, match="in another order"):
        make().fit(X[::-1], resume=path)
    assert make().fit(X, resume=path).n_updates_ == 14


# --- other files, damaged files ---------------------------------------------------------------


def test_models_and_checkpoints_are_told_apart(stopped, tmp_path):
    """Catches a message about damage where a user took the wrong file."""
    rbm = rbm_for({}).fit(rows_for({}))
    rbm.save(tmp_path / "model")
    with pytest.raises(dg.ModelFileError, match=r"deepgen\.load reads"):
        rbm_for({}).fit(rows_for({}), resume=tmp_path / "model")
    with pytest.raises(dg.ModelFileError, match="resume="):
        dg.load(stopped)
    with pytest.raises(ValueError, match="not the checkpoint of a stream"):
        rbm_for({}).load_checkpoint(stopped)


def test_damaged_checkpoints_give_one_error(stopped, tmp_path):
    """Catches a truncated or changed file that is taken for a run, or crashes."""
    whole, path = stopped.read_bytes(), tmp_path / "damaged"
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    for number in range(150):
        data = bytearray(whole)
        if number < 50:
            data = data[: int(rng.integers(0, len(data)))]
        else:
            data[int(rng.integers(0, header if number < 100 else len(data)))] ^= 1 << number % 8
        path.write_bytes(data)
        with pytest.raises(dg.ModelFileError):
            rbm_for({}).fit(rows_for({}), resume=path)


def changed(tree, place, value):
    """A copy of a tree with another value at a place."""
    if not place:
        return value
    if isinstance(tree, list):
        return [changed(v, place[1:], value) if i == place[0] else v for i, v in enumerate(tree)]
    return {**tree, place[0]: changed(tree[place[0]], place[1:], value)}


HOSTILE = {
    ("trainer",): 3,
    ("trainer", "place", "epoch"): -1,
    ("trainer", "place", "n_updates"): "many",
    ("trainer", "rule", "particles"): [
        np.zeros((100, 13), np.uint8), np.zeros((100, 7), np.float32)
    ],
    ("trainer", "rule", "particles", 1): np.full((100, 7), 2, np.uint8),
    ("trainer", "rule", "particles", 0): np.full((100, 12), 255, np.uint8),
    ("trainer", "rule", "offsets", 0): np.full(12, np.nan, np.float32),
    ("trainer", "learning_rate"): np.nan,
    ("trainer", "rate_scale"): np.inf,
    ("trainer", "good", "weights[0]"): np.full((12, 7), np.inf, np.float32),
    ("trainer", "rule", "offsets"): None,
    ("trainer", "optimizer", "velocity"): {"weights[0]": np.zeros((12, 7), np.float32)},
    ("trainer", "optimizer", "average", "arrays"): {},
    ("trainer", "parameters", "weights[0]"): np.full((12, 7), np.nan, np.float32),
    ("trainer", "start", 0, "bias"): np.full(12, np.inf, np.float32),
    ("trainer", "history"): [{"epoch": 1}],
    ("trainer", "callbacks"): [1],
    ("trainer", "stream"): {"key": 1},
    ("frame", "seed"): -1,
    ("frame", "mean"): None,
}


def test_particles_at_other_temperatures_are_looked_at_too():
    """Catches particles that are no states and wait at another temperature."""
    states = [np.full((2, 3), n, np.uint8) for n in (1, 2)]
    state = RuleState(dg.Chains(dg.Particles(states), beta=[1.0, 0.5]), None, None, None)
    with pytest.raises(ValueError, match=r"states\[1\]"):
        check_particles(state, [dg.Binary(3), dg.Binary(3)])


TEXTS = {
    "lists": "[],", "objects": "{},", "numbers": "1,", "words": '"ab",', "nested": '{"a":[]},',
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_of_many_values_is_refused_before_it_is_read(text, tmp_path, monkeypatch):
    """Catches 22 MB of lists that take a gigabyte and a minute."""
    for most, n_bytes in ((2**25, 8_000_000), (2**20, 1_500_000)):
        monkeypatch.setattr(trees, "MAX_TEXT", most)
        values = (TEXTS[text] * (n_bytes // len(TEXTS[text])))[:-1]
        tree = np.frombuffer(f'{{"frame":{{}},"trainer":{{"a":[{values}]}}}}'.encode(), np.uint8)
        config = {"format_version": 1, "kind": trees.KIND}
        model_files.write(tmp_path / "many", config, {"tree": tree})
        tracemalloc.start()
        with pytest.raises(dg.ModelFileError, match=r"too many values|bytes of plain data"):
            trees.load(tmp_path / "many")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * n_bytes


def test_a_history_that_no_file_would_be_read_with_is_not_written(tmp_path, monkeypatch):
    """Catches a checkpoint that is written and then refused; a usual history is far below."""
    line = {"epoch": 10**6, "seconds": 0.123456789, "learning_rate": 0.05, "watched": math.nan}
    trees.save({"history": [line] * 4_000}, tmp_path / "long")
    assert len(trees.load(tmp_path / "long")["history"]) == 4_000
    with pytest.raises(ValueError, match="too many values"):
        trees.save({"history": [[]] * 400_000}, tmp_path / "longer")
    monkeypatch.setattr(trees, "MAX_TEXT", 10**5)
    with pytest.raises(ValueError, match="its history is too long"):
        trees.save({"history": [line] * 4_000}, tmp_path / "longer")
    assert not (tmp_path / "longer").exists()


@pytest.mark.parametrize("place", HOSTILE, ids=str)
def test_states_that_do_not_fit_are_refused(place, stopped):
    """Catches arrays of another shape in the hands of kernels: the checksum of these is right."""
    trees.save(changed(trees.load(stopped), place, HOSTILE[place]), stopped)
    with pytest.raises(dg.ModelFileError):
        rbm_for({}).fit(rows_for({}), resume=stopped)
