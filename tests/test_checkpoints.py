"""Going on after a stop: the same bits, whatever stopped the run and wherever it was."""

import json
import os
import signal
import threading

import numpy as np
import pytest
from conftest import Batches, assert_same_bits, rows_of, with_slow
from scipy import sparse
from stopped_runs import (
    N_COLUMNS,
    N_ROWS,
    RUNS,
    bits,
    rbm_for,
    rows_for,
    run_python,
)
from stops import At, Stop, fail, press_ctrl_c
from threadpoolctl import threadpool_info

import deepgen as dg
from deepgen.rows.sources import ArrayRows

pytestmark = pytest.mark.usefixtures("serial")


# --- the same bits ----------------------------------------------------------------------------


@pytest.mark.parametrize("act", with_slow([fail, press_ctrl_c], [press_ctrl_c]))
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


KILLED_RUNS = [("pcd",), ("momentum and average", "adam", "cd", "sparsity", "binarize", "gaussian")]
KILLED = """
import os, signal, sys
import stopped_runs as t
import stops
import deepgen as dg
import deepgen.estimators  # before the forks: no child imports scikit-learn anew
from deepgen.io import checkpoints

dg.set_num_threads(1)

def in_a_child(act):
    child = os.fork()
    if not child:
        act()
        os._exit(1)
    return os.WTERMSIG(os.waitpid(child, 0)[1])

def killed_at(place):
    kill = stops.At(lambda: os.kill(os.getpid(), signal.SIGKILL), update=place)
    rbm = t.rbm_for(settings, [kill, dg.Checkpoint(path, minutes=0.0)])
    rbm.fit(t.rows_for(settings), resume=path if os.path.exists(path) else None)

for name in sys.argv[2:]:
    settings, path = t.RUNS[name], os.path.join(sys.argv[1], name)
    for place in (10, 26):
        assert in_a_child(lambda: killed_at(place)) == signal.SIGKILL
        _, state = checkpoints.load(path)
        assert state["place"]["n_updates"] == place - 1, state["place"]
print("killed")
"""


@pytest.mark.parametrize("names", with_slow(KILLED_RUNS, KILLED_RUNS[1:]), ids="-".join)
def test_killed_runs_go_on_in_a_new_process_with_the_same_bits(names, tmp_path):
    """Catches what lives in the process only. Each child is killed in the middle of an epoch; the
    next one goes on from the file of the update before, and this process ends the run."""
    done = run_python(KILLED, tmp_path, *names)
    assert done.stdout == "killed\n", done.stderr
    for name in names:
        X = rows_for(RUNS[name])
        rbm = rbm_for(RUNS[name], random_state=None).fit(X, resume=tmp_path / name)
        assert bits(rbm) == bits(rbm_for(RUNS[name]).fit(X))


@pytest.mark.parametrize("form", ["memmap", "csr", "batches"])
def test_runs_on_other_forms_of_rows_go_on(form, tmp_path):
    """Catches rows that are skipped twice, or not at all, in the middle of an epoch."""
    X = rows_for({})
    if form == "memmap":
        np.save(tmp_path / "X.npy", X)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
    X = {"csr": sparse.csr_array(X), "batches": Batches(*np.split(X, [33, 34, 90]))}.get(form, X)
    whole = rbm_for({}).fit(X)
    for number, place in enumerate((1, 10, 14, 20)):
        rbm = rbm_for({}, [dg.Checkpoint(tmp_path / "run"), At(fail, update=place)])
        with pytest.raises(Stop):
            rbm.fit(X, resume=tmp_path / "run" if number else None)
    assert bits(rbm_for({}).fit(X, resume=tmp_path / "run")) == bits(whole)


def test_rows_before_the_place_are_not_read_again(tmp_path):
    """Catches a resume that computes, or reads from disk, what is behind it."""
    X = rows_for({})
    rows = ArrayRows(X)
    stream = dg.Stream(1)
    whole = list(rows_of(rows.batches(20, stream)))
    for skip in range(9):
        found = list(rows_of(rows.batches(20, stream, skip=skip)))
        assert len(found) == max(0, 7 - skip)
        for one, other in zip(found, whole[skip:], strict=True):
            assert_same_bits(one, other)

    class Guarded:
        shape = X.shape

        def __getitem__(self, rows):
            assert set(rows.tolist()) <= allowed
            return X[rows]

    rows.X = Guarded()
    order = list(rows.orders(20, stream))
    allowed = set(np.concatenate(order[5:]).tolist())
    assert len(list(rows.batches(20, stream, skip=5))) == 2


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
