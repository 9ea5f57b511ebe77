"""Going on after a stop: the same bits, whatever stopped the run and wherever it was."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from itertools import pairwise

import numpy as np
import pytest
from conftest import assert_same_bits, random_states
from scipy import sparse
from threadpoolctl import threadpool_info

import deepgen as dg
from deepgen import checkpoints, state_files, storage

pytestmark = pytest.mark.usefixtures("serial")

N_ROWS, N_COLUMNS = 130, 12

RUNS = {
    "pcd": {"rule": dg.PCD(n_particles=20)},
    "momentum and average": {"optimizer": dg.SGD(momentum=0.7, averaging=0.6)},
    "adam": {"optimizer": dg.Adam(averaging=0.5), "learning_rate": dg.Linear(0.02, 0.0)},
    "cd": {"rule": dg.CD(2)},
    "sparsity": {"rule": dg.CD(sparsity=dg.Sparsity(0.1))},
    "plain": {"rule": dg.PCD(centring=False)},
    "binarize": {"binarize": True},
    "gaussian": {"visible": "gaussian", "optimizer": dg.SGD(momentum=0.5, averaging=0.5)},
    "gaussian adam": {"visible": "gaussian", "optimizer": dg.Adam(), "learning_rate": 0.01},
    "gaussian hidden": {"hidden": "gaussian", "learning_rate": 0.01},
    "softmax": {"visible": dg.Softmax(3), "rule": "cd"},
}


def rows_for(settings, seed=0):
    """Rows that a run with these settings can learn from."""
    rng = np.random.default_rng(seed)
    if settings.get("binarize"):
        return rng.random((N_ROWS, N_COLUMNS)).astype(np.float32)
    visible = settings.get("visible", "binary")
    if visible == "gaussian":
        return rng.normal(size=(N_ROWS, N_COLUMNS)).astype(np.float32)
    if isinstance(visible, dg.Softmax):
        return random_states(visible.sized(N_COLUMNS), N_ROWS, rng)
    return (rng.random((N_ROWS, N_COLUMNS)) < 0.3).astype(np.uint8)


def rbm_for(settings, callbacks=(), **others):
    """An estimator of 5 epochs of 7 updates, the last of 10 rows."""
    common = {"n_hidden": 7, "batch_size": 20, "n_epochs": 5, "random_state": 3}
    return dg.RBM(**{**common, **settings, **others, "callbacks": list(callbacks)})


def bits(rbm):
    """All that a run leaves behind and that its seed decides."""
    model = rbm.model_
    arrays = [*model.weights, *(p for l in model.layers for p in l.parameters().values())]
    if rbm._particles is not None:
        arrays += rbm._particles.states
    kept = [{k: v for k, v in entry.items() if k != "seconds"} for entry in rbm.history_]
    return [a.tobytes() for a in arrays], rbm.n_updates_, kept, rbm._score_seed


class Stop(Exception):
    """What a callback of a test raises."""


class At:
    """Callback that does something after an update, or in the report of an epoch."""

    def __init__(self, act, *, update=None, epoch=None):
        self.act, self.update, self.epoch = act, update, epoch

    def __call__(self, report):
        if report.epoch == self.epoch:
            self.act()

    def between_updates(self, trainer):
        if trainer.n_updates == self.update:
            self.update = None
            self.act()


def fail():
    """Stop a run by an error."""
    raise Stop


def press_ctrl_c():
    """Stop a run as a user does."""
    signal.raise_signal(signal.SIGINT)


# --- the same bits ----------------------------------------------------------------------------


@pytest.mark.parametrize("act", [fail, press_ctrl_c])
@pytest.mark.parametrize("name", RUNS)
def test_a_run_stopped_at_random_places_ends_with_the_same_bits(name, act, tmp_path):
    """Catches a checkpoint without particles, velocities, moments, averages, offsets, running
    means, rate, stream or place; 20 stops of one run, in the middle of epochs and at their ends.
    """
    settings, path = RUNS[name], tmp_path / "run"
    X = rows_for(settings)
    whole = rbm_for(settings).fit(X)
    places = np.sort(np.random.default_rng(7).choice(np.arange(1, 36), 20, replace=False))
    for number, place in enumerate(places):
        rbm = rbm_for(
            settings, [dg.Checkpoint(path, minutes=None), At(act, update=int(place))],
            random_state=3 if number == 0 else None,
        )  # fmt: skip
        with pytest.raises((Stop, KeyboardInterrupt)):
            rbm.fit(X, resume=path if number else None)
        assert rbm.n_updates_ == place
    rbm = rbm_for(settings, [dg.Checkpoint(path)]).fit(X, resume=path)
    assert bits(rbm) == bits(whole)
    again = rbm_for(settings).fit(X, resume=path)  # finished: nothing is left to do
    assert bits(again) == bits(whole)


KILLED = """
import os, signal, sys
import test_checkpoints as t
import deepgen as dg

dg.set_num_threads(1)

def in_a_child(act):
    child = os.fork()
    if not child:
        act()
        os._exit(1)
    return os.WTERMSIG(os.waitpid(child, 0)[1])

def killed_at(place):
    kill = t.At(lambda: os.kill(os.getpid(), signal.SIGKILL), update=place)
    rbm = t.rbm_for(settings, [kill, dg.Checkpoint(path, minutes=0.0)])
    rbm.fit(t.rows_for(settings), resume=path if os.path.exists(path) else None)

for name in sys.argv[2:]:
    settings, path = t.RUNS[name], os.path.join(sys.argv[1], name)
    for place in (10, 26):
        assert in_a_child(lambda: killed_at(place)) == signal.SIGKILL
        _, state = t.checkpoints.load(path)
        assert state["place"]["n_updates"] == place - 1, state["place"]
print("killed")
"""


def run_python(script, *arguments):
    """Run a script in a process of its own that can import the tests."""
    folder = os.path.dirname(__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, *sys.path])}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=600, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_killed_runs_go_on_in_a_new_process_with_the_same_bits(tmp_path):
    """Catches what lives in the process only. Each child is killed in the middle of an epoch; the
    next one goes on from the file of the update before, and this process ends the run."""
    names = ["momentum and average", "adam", "cd", "pcd", "sparsity", "binarize", "gaussian"]
    done = run_python(KILLED, tmp_path, *names)
    assert done.stdout == "killed\n", done.stderr
    for name in names:
        X = rows_for(RUNS[name])
        rbm = rbm_for(RUNS[name], random_state=None).fit(X, resume=tmp_path / name)
        assert bits(rbm) == bits(rbm_for(RUNS[name]).fit(X))


class Batches:
    """A re-iterable of batches of uneven sizes."""

    def __init__(self, X, cuts):
        self.X, self.cuts = X, cuts

    def __iter__(self):
        for start, stop in pairwise([0, *self.cuts, len(self.X)]):
            yield self.X[start:stop]


@pytest.mark.parametrize("form", ["memmap", "csr", "batches"])
def test_runs_on_other_forms_of_rows_go_on(form, tmp_path):
    """Catches rows that are skipped twice, or not at all, in the middle of an epoch."""
    X = rows_for({})
    if form == "memmap":
        np.save(tmp_path / "X.npy", X)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
    X = {"csr": sparse.csr_array(X), "batches": Batches(X, [33, 34, 90])}.get(form, X)
    whole = rbm_for({}).fit(X)
    for number, place in enumerate((1, 10, 14, 20)):
        rbm = rbm_for({}, [dg.Checkpoint(tmp_path / "run"), At(fail, update=place)])
        with pytest.raises(Stop):
            rbm.fit(X, resume=tmp_path / "run" if number else None)
    assert bits(rbm_for({}).fit(X, resume=tmp_path / "run")) == bits(whole)


def test_rows_before_the_place_are_not_read_again(tmp_path):
    """Catches a resume that computes, or reads from disk, what is behind it."""
    X = rows_for({})
    rows = dg.data.ArrayRows(X)
    stream = dg.Stream(1)
    whole = list(rows.batches(20, stream))
    for skip in range(9):
        found = list(rows.batches(20, stream, skip=skip))
        assert len(found) == max(0, 7 - skip)
        for one, other in zip(found, whole[skip:], strict=True):
            assert_same_bits(one, other)

    class Guarded:
        shape = X.shape

        def __getitem__(self, rows):
            assert set(rows.tolist()) <= allowed
            return X[rows]

    rows.X = Guarded()
    order = list(rows._orders(20, stream))
    allowed = set(np.concatenate(order[5:]).tolist())
    assert len(list(rows.batches(20, stream, skip=5))) == 2


# --- what a callback can do -------------------------------------------------------------------


def callbacks_with_memory(X, path):
    """Callbacks whose answers decide bits."""
    return [
        dg.LikelihoodMonitor(X[:30], n_chains=10, n_steps=2),
        dg.FreeEnergyGap(X[:30], X[30:60]),
        dg.ReduceLearningRate("log_likelihood", patience=1, factor=0.25, min_delta=0.5),
        dg.EarlyStopping(X[:40], patience=3, min_delta=0.02),
        dg.CSVLog(path),
    ]


def test_callbacks_with_memory_go_on(tmp_path):
    """Catches plateaus, best epochs, rates or trajectories that begin anew, epochs that are
    reported twice, and a rate that is lowered twice where a later callback broke off."""
    X, path = rows_for({}), tmp_path / "run"
    settings = {"n_epochs": 12, "learning_rate": 0.3}
    watching = callbacks_with_memory(X, tmp_path / "a.csv")
    whole = rbm_for(settings, watching).fit(X)
    assert len(whole.history_) < 12  # it was stopped early
    assert len({entry["learning_rate"] for entry in whole.history_}) > 2
    assert watching[3].best_epoch < len(whole.history_)
    stops = [{"update": 5}, {"epoch": 2}, {"update": 18}, {"epoch": 3}, {"epoch": 4},
             {"epoch": len(whole.history_)}]  # fmt: skip
    for number, stop in enumerate(stops):
        callbacks = callbacks_with_memory(X, tmp_path / "b.csv")
        callbacks += [dg.Checkpoint(path, minutes=None), At(fail, **stop)]
        with pytest.raises(Stop):
            rbm_for(settings, callbacks).fit(X, resume=path if number else None)
    callbacks = [*callbacks_with_memory(X, tmp_path / "b.csv"), dg.Checkpoint(path)]
    rbm = rbm_for(settings, callbacks).fit(X, resume=path)
    assert bits(rbm) == bits(whole)
    assert callbacks[3].best_epoch == watching[3].best_epoch

    def lines(name):
        text = (tmp_path / name).read_text().splitlines()
        column = text[0].split(",").index("seconds")
        return [[w for i, w in enumerate(line.split(",")) if i != column] for line in text]

    assert lines("a.csv") == lines("b.csv")


def test_a_second_ctrl_c_is_raised_where_a_callback_hangs(tmp_path):
    """Catches a run that can be killed only, and one that goes on with other bits after it."""
    path, X, waited = tmp_path / "run", rows_for({}), []

    def hang():
        press_ctrl_c()
        waited.append(1)
        press_ctrl_c()
        waited.append(2)

    for place in ({"update": 9}, {"epoch": 2}):
        waited.clear()
        rbm = rbm_for({}, [dg.Checkpoint(path), At(hang, **place)])
        with pytest.raises(KeyboardInterrupt):
            rbm.fit(X)
        assert waited == [1]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert bits(rbm_for({}).fit(X, resume=path)) == bits(rbm_for({}).fit(X))


def test_a_second_ctrl_c_in_an_update_waits_for_its_end():
    """Catches half an update in the model, or a batch that is learned and not counted."""
    presses = []

    class Pressing(dg.PCD):
        def phases(self, *arguments, **options):
            presses.append(1)
            if len(presses) == 9:
                press_ctrl_c()
                press_ctrl_c()
            return super().phases(*arguments, **options)

    def never(trainer):
        assert trainer.n_updates != 9  # raised at once behind the update

    never.between_updates = never
    rbm = rbm_for({"rule": Pressing()}, [never])
    with pytest.raises(KeyboardInterrupt):
        rbm.fit(rows_for({}))
    assert rbm.n_updates_ == 9
    assert len(presses) == 9


def test_an_error_of_a_callback_leaves_whole_updates_and_a_checkpoint(tmp_path):
    """Catches a model or a history that is half a step ahead of the other."""
    X, path = rows_for({}), tmp_path / "run"
    seen = []
    rbm = rbm_for({}, [At(fail, epoch=3), dg.Checkpoint(path), lambda r: seen.append(r.epoch)])
    with pytest.raises(Stop):
        rbm.fit(X)
    assert rbm.n_updates_ == 21
    assert [entry["epoch"] for entry in rbm.history_] == [1, 2, 3]
    assert seen == [1, 2]
    rbm = rbm_for({}, [lambda r: seen.append(r.epoch)]).fit(X, resume=path)
    assert seen == [1, 2, 3, 4, 5]  # the epoch that was broken off is reported again
    assert bits(rbm) == bits(rbm_for({}).fit(X))


def test_a_run_goes_on_without_callbacks_that_it_had(tmp_path, caplog):
    """Catches a crash where the memory of a callback finds no owner."""
    X, path = rows_for({}), tmp_path / "run"
    with pytest.raises(Stop):
        rbm_for({}, [dg.EarlyStopping(X), dg.Checkpoint(path), At(fail, update=9)]).fit(X)
    rbm_for({}, [dg.LikelihoodMonitor(X, n_chains=5, n_steps=1)]).fit(X, resume=path)
    assert "EarlyStopping 1" in caplog.text


def test_a_run_that_diverges_is_not_written(tmp_path):
    """Catches a checkpoint that can only diverge again."""
    X = 100.0 * rows_for({"visible": "gaussian"})
    rbm = rbm_for({"visible": "gaussian", "learning_rate": 1e10}, [dg.Checkpoint(tmp_path / "a")])
    with pytest.raises(dg.DivergedError):
        rbm.fit(X)
    assert os.listdir(tmp_path) == []


def test_a_run_that_diverges_at_the_end_of_an_epoch_is_not_written(tmp_path):
    """Catches particles that run away unseen by an update: that run is not whole either."""
    X = rows_for({"visible": "gaussian"})

    class RunAway:
        def __call__(self, report):
            return None

        def between_updates(self, trainer):
            if trainer.batch == 7:
                states = trainer.rule_state.particles.states
                trainer.rule_state.particles = dg.Particles([1e30 + states[0], states[1]])

    with pytest.raises(dg.DivergedError, match="particles"):
        rbm_for({"visible": "gaussian"}, [RunAway(), dg.Checkpoint(tmp_path / "a")]).fit(X)
    assert os.listdir(tmp_path) == []


def test_a_resumed_run_that_diverges_falls_back_to_the_same_model(tmp_path):
    """Catches a last good model that the checkpoint forgot."""
    X = rows_for({"visible": "gaussian"})

    def rate(progress):
        return 0.01 if progress < 0.5 else 1e12

    models = []
    for stopped in (False, True):
        settings = {"visible": "gaussian", "learning_rate": rate, "n_epochs": 40}
        path = tmp_path / "run"
        if stopped:
            with pytest.raises(Stop):
                rbm_for(settings, [dg.Checkpoint(path), At(fail, update=120)]).fit(X)
        rbm = rbm_for(settings)
        with pytest.raises(dg.DivergedError):
            rbm.fit(X, resume=path if stopped else None)
        models.append(rbm.model_)
    assert_same_bits(models[0].weights[0], models[1].weights[0])
    assert np.abs(models[0].weights[0]).max() < 1e3


# --- when it writes ---------------------------------------------------------------------------


def test_checkpoints_are_written_by_the_clock_and_by_epochs(tmp_path, monkeypatch):
    """Catches a clock that is looked at once an epoch only, and one that never runs again."""
    places, now = [], [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        checkpoints, "save", lambda trainer, path: places.append((trainer.n_updates, trainer.epoch))
    )

    class Clock:
        def __call__(self, report):
            return None

        def between_updates(self, trainer):
            now[0] += 10.0

    X = rows_for({})
    rbm_for({}, [Clock(), dg.Checkpoint(tmp_path / "a", minutes=1.5)], n_epochs=4).fit(X)
    # 8 rests an epoch: 7 updates and its end; each 9th rest is a minute and a half later
    assert places == [(8, 1), (16, 2), (24, 3), (28, 4)]
    places.clear()
    rbm_for({}, [dg.Checkpoint(tmp_path / "a", minutes=None, epochs=2)]).fit(X)
    assert places == [(14, 2), (28, 4), (35, 5)]


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


# --- what it refuses --------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path):
    """A checkpoint of a run of binary units."""
    path = tmp_path / "run"
    with pytest.raises(Stop):
        rbm_for({}, [dg.Checkpoint(path), At(fail, update=9)]).fit(rows_for({}))
    return path


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
    for rows in (other, X[::-1], Batches(other, [50])):
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


def test_what_no_checkpoint_can_be_is_named(tmp_path, monkeypatch):
    """Catches messages about "path", "." or a missing __fspath__ for a slip in `resume`."""
    monkeypatch.chdir(tmp_path)
    for fit in (rbm_for({}).fit, dg.Autoencoder(5).fit):
        for wrong, error in ((3, TypeError), ("", TypeError), (b"a", TypeError),
                             (".", IsADirectoryError), (tmp_path, IsADirectoryError)):  # fmt: skip
            with pytest.raises(error, match=r"^resume must"):
                fit(rows_for({}), resume=wrong)


def test_models_and_checkpoints_are_told_apart(stopped, tmp_path):
    """Catches a message about damage where a user took the wrong file."""
    rbm = rbm_for({}).fit(rows_for({}))
    rbm.save(tmp_path / "model")
    with pytest.raises(dg.ModelFileError, match=r"deepgen\.load reads"):
        rbm_for({}).fit(rows_for({}), resume=tmp_path / "model")
    with pytest.raises(dg.ModelFileError, match="resume="):
        dg.load(stopped)
    with pytest.raises(ValueError, match="n_epochs is not set here"):
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
    ("trainer", "rule", "particles", 0): np.zeros((100, 13), np.uint8),
    ("trainer", "rule", "particles", 1): np.zeros((100, 7), np.float32),
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


@pytest.mark.parametrize("place", HOSTILE, ids=str)
def test_states_that_do_not_fit_are_refused(place, stopped):
    """Catches arrays of another shape in the hands of kernels: the checksum of these is right."""
    state_files.save(changed(state_files.load(stopped), place, HOSTILE[place]), stopped)
    with pytest.raises(dg.ModelFileError):
        rbm_for({}).fit(rows_for({}), resume=stopped)


# --- the files --------------------------------------------------------------------------------


def test_any_state_comes_back(tmp_path):
    """Catches types, shapes, infinities or odd names that a file changes."""
    rng = np.random.default_rng(0)
    tree = {
        "numbers": [1, 2**63, -0.0, 1e-300, True, None, "text", np.float32(0.1), np.int64(7)],
        "odd": {"a/b": {"c": np.zeros(2)}, "a": {"b/c": np.ones(2), "~": [np.arange(3)]}, "": 1},
        "limits": [np.inf, -np.inf],
        "empty": {"a": np.zeros((0, 3), np.float32), "b": {}, "c": []},
        "arrays": [rng.normal(size=(3, 4)), rng.integers(0, 9, (2, 5)), np.array([True, False])],
    }
    state_files.save(tree, tmp_path / "a")
    found = state_files.load(tmp_path / "a")
    state_files.check_form(found, state_files.plain(tree), "tree")
    state_files.save(found, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert found["numbers"][:3] == [1, 2**63, -0.0]
    assert found["limits"] == [np.inf, -np.inf]
    np.testing.assert_array_equal(found["arrays"][0], tree["arrays"][0])
    np.testing.assert_array_equal(found["odd"]["a"]["b/c"], np.ones(2))


@pytest.mark.parametrize(
    "value",
    [object(), {1: 2}, np.array(["a"]), np.array([None]), {"$array": 1}, 1j],
    ids=["object", "number as a name", "texts", "array of objects", "reserved name", "complex"],
)
def test_what_is_no_plain_data_is_refused_by_its_place(value, tmp_path):
    """Catches a pickle by the back door, and a message that does not say where."""
    with pytest.raises(ValueError, match="history/0"):
        state_files.save({"history": [value]}, tmp_path / "a")
    assert os.listdir(tmp_path) == []


class FailingDisk:
    """System calls of which the k-th fails, and all writes after it."""

    calls = ("open", "write", "fsync", "replace")

    def __init__(self, monkeypatch, k, half=False):
        self.k, self.half, self.count = k, half, 0
        for name in self.calls:
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name, call):
        def wrapper(*arguments, **options):
            self.count += 1
            if self.count == self.k:
                if name == "write" and self.half:
                    return call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise OSError(28, "No space left on device")
            if name == "write" and self.half and self.count == self.k + 1:
                raise OSError(28, "No space left on device")
            return call(*arguments, **options)

        return wrapper


@pytest.mark.parametrize("half", [False, True])
def test_a_disk_that_fills_at_any_step_never_harms_the_file_of_before(half, tmp_path, monkeypatch):
    """Catches any order of steps in which a failure costs both files; steps are counted, so that
    none is left out."""
    monkeypatch.setattr(storage, "CHUNK", 100)  # many writes
    path, old, new = tmp_path / "a", {"x": np.zeros(50)}, {"x": np.ones(50)}
    state_files.save(old, path)
    k, failures = 0, 0
    while True:
        k += 1
        with monkeypatch.context() as patch:
            disk = FailingDisk(patch, k, half)
            try:
                state_files.save(new, path)
            except OSError:
                failures += 1
        found = state_files.load(path)["x"][0]
        assert os.listdir(tmp_path) == ["a"]
        if disk.count < k:
            break
        assert found in (0.0, 1.0)
        state_files.save(old, path)
    assert found == 1.0
    assert k > 8
    assert failures > 3


def test_training_goes_on_where_the_disk_is_full(tmp_path, monkeypatch):
    """Catches a run of days that a full disk ends, and one that says nothing."""
    X, path = rows_for({}), tmp_path / "run"
    whole = rbm_for({}).fit(X)

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        rbm = rbm_for({}, [dg.Checkpoint(path, epochs=1)]).fit(X)
    assert bits(rbm) == bits(whole)
    rbm = rbm_for({}, [dg.Checkpoint(path, epochs=2, on_save_error="raise")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(OSError, match="No space left"):
            rbm.fit(X)
    assert rbm.n_updates_ == 14


KILLED_WHILE_SAVING = """
import os, sys, threading
import numpy as np
from deepgen import state_files, storage

# a thread of its own kills the process at a random moment of the saves
path, seed = sys.argv[1], int(sys.argv[2])
storage.CHUNK = 50_000
rng = np.random.default_rng(seed)
trees = [{"x": np.full(100_000, float(i))} for i in range(2)]
after, count = int(rng.integers(1, 60)), 0
names = "open write fsync replace close".split()
for name in names:
    def wrapped(*args, call=getattr(os, name), **options):
        global count
        count += 1
        if count == after:
            os.kill(os.getpid(), 9)
        return call(*args, **options)
    setattr(os, name, wrapped)
while True:
    for tree in trees:
        state_files.save(tree, path)
"""


@pytest.mark.slow
def test_forty_kills_while_saving_leave_whole_files_and_no_litter(tmp_path):
    """Catches a file written in place, and temporary files that pile up. The child kills itself
    before a random one of its system calls."""
    path = tmp_path / "a"
    state_files.save({"x": np.full(100_000, 1.0)}, path)
    script = KILLED_WHILE_SAVING
    # four at a time in one process: forks of it, so that imports are paid once
    forked = f"""
    import os, sys
    import numpy, deepgen
    code = {script!r}
    for seed in range(40):
        child = os.fork()
        if not child:
            sys.argv = ["", {str(path)!r}, str(seed)]
            exec(code, {{}})
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == 9, status
        values = set(deepgen.state_files.load({str(path)!r})["x"].tolist())
        assert len(values) == 1, values
        assert len(os.listdir(os.path.dirname({str(path)!r}))) <= 2
    print("whole")
    """
    done = run_python(forked)
    assert done.stdout == "whole\n", done.stderr
    state_files.save({"x": np.zeros(3)}, path)
    assert os.listdir(tmp_path) == ["a"]


def test_only_dead_writers_files_of_this_path_are_swept(tmp_path):
    """Catches a sweep that takes the file of a writer that lives, or one of another name."""
    path = tmp_path / "a"
    stale = tmp_path / f".a.{'0' * 16}.tmp"
    others = [
        tmp_path / name for name in (".b.0000000000000000.tmp", ".a.tmp", "a.tmp", ".a.x.tmp")
    ]
    living, handle = storage._temporary(path)
    for file in (stale, *others):
        file.touch()
    state_files.save({}, path)
    assert not stale.exists()
    assert all(file.exists() for file in (*others, living))
    os.close(handle)
    state_files.save({}, path)
    assert not living.exists()


# --- streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_a_stream_goes_on_with_the_same_bits(name, tmp_path):
    """Catches a stream of partial_fit that loses its particles, velocities or place."""
    settings, path = RUNS[name], tmp_path / "stream"
    X = rows_for(settings)
    whole = rbm_for(settings)
    for start in range(0, 120, 20):
        whole.partial_fit(X[start : start + 20])
        if start == 40:
            whole.save_checkpoint(path)
    rbm = rbm_for(settings, random_state=None).load_checkpoint(path)
    assert rbm.n_updates_ == 3
    assert rbm.transform(X).shape == (N_ROWS, 7)
    for start in range(60, 120, 20):
        rbm.partial_fit(X[start : start + 20])
    assert bits(rbm) == bits(whole)


def test_a_stream_that_begins_after_fit_can_be_kept(tmp_path):
    """Catches a checkpoint that forgets the fitted model, its history or the names of columns."""
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(rows_for({}), columns=[f"c{i}" for i in range(N_COLUMNS)])
    rbm = rbm_for({}).fit(X)
    rbm.save_checkpoint(tmp_path / "a")
    other = rbm_for({}).load_checkpoint(tmp_path / "a")
    assert list(other.feature_names_in_) == list(X.columns)
    assert bits(other) == bits(rbm)
    assert bits(other.partial_fit(X)) == bits(rbm.partial_fit(X))
    with pytest.raises(ValueError, match="rule is"):
        rbm_for({"rule": "cd"}).load_checkpoint(tmp_path / "a")


# --- several at once --------------------------------------------------------------------------


def test_two_fits_in_two_threads_equal_the_serial_ones():
    """Catches anything that two runs share: workspaces, streams, callbacks, settings."""
    names, found = ["momentum and average", "gaussian adam"], {}
    expected = {name: bits(rbm_for(RUNS[name]).fit(rows_for(RUNS[name]))) for name in names}
    before = json.dumps(threadpool_info(), sort_keys=True)
    together, met = threading.Barrier(2), {name: [] for name in names}

    def work(name):
        settings = RUNS[name]
        rbm = rbm_for(settings, [lambda report: met[name].append(together.wait(600))])
        found[name] = bits(rbm.fit(rows_for(settings)))

    workers = [threading.Thread(target=work, args=(name,)) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == expected
    # each epoch of one run ended together with one of the other: one came first, one second
    assert len(met[names[0]]) >= 2
    assert [{*pair} for pair in zip(*met.values(), strict=True)] == [{0, 1}] * len(met[names[0]])
    assert json.dumps(threadpool_info(), sort_keys=True) == before


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_two_fits_of_one_estimator_are_refused(method):
    """Catches two threads that write one model."""
    X, errors = rows_for({}), []

    def again(report):
        worker = threading.Thread(target=attempt)
        worker.start()
        worker.join()

    def attempt():
        try:
            getattr(rbm, method)(X)
        except RuntimeError as error:
            errors.append(str(error))

    rbm = rbm_for({}, [again])
    rbm.fit(X)
    assert len(errors) == 5
    assert "being fitted already" in errors[0]
    assert bits(rbm) == bits(rbm_for({}).fit(X))
    rbm.set_params(callbacks=None)
    getattr(rbm, method)(X)  # and free again
