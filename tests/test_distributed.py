"""Runs that the processes of an MPI job share: equal bits, and an end whatever happens.

The jobs are in ``mpi_jobs.py``. What processes agree on is tested with threads in
``test_sums.py`` and ``test_collective.py``, where there is no MPI.
"""

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

import deepgen as dg

JOBS = Path(__file__).with_name("mpi_jobs.py")
PLACES = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
MPIRUN = shutil.which("mpirun", path=os.pathsep.join(PLACES))
try:
    import mpi4py  # noqa: F401
except ImportError:
    MPIRUN = None
pytestmark = pytest.mark.skipif(
    MPIRUN is None, reason="needs mpi4py and mpirun: pip install mpi4py mpich"
)
slow = pytest.mark.slow
# The end of a job that has failed must come within 10 s; starting processes takes as long on a
# machine that others use.
LIMIT = 10.0


def started(size, *words, **environment):
    """A job that runs."""
    return subprocess.Popen(
        [MPIRUN, "-n", str(size), sys.executable, JOBS, *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


def job(size, *words, **environment):
    """What a job of so many processes prints, or of one without a communicator (0)."""
    if size == 0:
        size, environment = 1, {"ALONE": "1", **environment}
    process = started(size, *words, **environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)


def failed(size, *words, **environment):
    """Messages of a job that must end by itself, with a status that is not zero.

    A file tells when the failure came: launchers may lose last words.
    """
    with tempfile.TemporaryDirectory() as folder:
        failing = Path(folder, "failing")
        process = started(size, *words, FAILING=str(failing), **environment)
        try:
            _, err = process.communicate(timeout=300)
        finally:
            process.kill()
        ended = time.time()
        assert process.returncode != 0, err
        assert failing.exists(), err
        assert ended - float(failing.read_text()) < LIMIT, err
    return err


@pytest.fixture(scope="module")
def alone():
    return job(0, "machines")


@slow
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_machines_have_the_bits_of_one_process(alone, size):
    """Would catch a draw, a mean or a sum that depends on who makes it: of machines and stacks,
    particles, histories, samples, completions, log Z and scores."""
    assert job(size, "machines") == alone


@slow
def test_threads_within_processes_change_nothing(alone):
    """Would catch sums whose order the threads of a process decide."""
    assert job(2, "threads") == alone


@slow
def test_real_values_have_the_bits_of_any_number_of_processes():
    """Would catch floats that are added in the order of processes, or cut where these are cut."""
    one = job(1, "reals")
    for size in (2, 3, 4):
        assert job(size, "reals") == one


@slow
def test_a_run_goes_on_in_another_number_of_processes(tmp_path):
    """Would catch a checkpoint with the particles of one process, and a signal that stops one
    process while the others wait for it."""
    whole = job(0, "checkpoint", tmp_path / "whole", "go")
    assert job(3, "checkpoint", tmp_path / "run", "stop") == "stopped"
    assert job(2, "checkpoint", tmp_path / "run", "resume") == whole
    # the finished run, read by one process alone
    assert job(0, "checkpoint", tmp_path / "run", "resume") == whole


@slow
def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path):
    """Would catch a file that only a run which ends in good order can leave."""
    whole = job(0, "checkpoint", tmp_path / "whole", "go")
    failed(3, "checkpoint", tmp_path / "run", "kill")
    assert job(2, "checkpoint", tmp_path / "run", "resume") == whole


@slow
@pytest.mark.parametrize(("name", "told"), [
    ("raises", "process 2 of 3 ends the job: Traceback"), ("killed", ""), ("first_killed", ""),
    ("frozen", "process 2 was not heard of for 3 s"), ("leaves", "SystemExit"),
    ("alone_in_a_call", "has ended, and this one waits for it; call methods of"),
])  # fmt: skip
def test_a_failure_of_one_process_ends_the_job(name, told):
    """Would catch processes that wait for one that never comes: within 10 s all are over, and the
    rank of the one that failed is told."""
    assert told in failed(3, name, SILENCE="3" if name == "frozen" else "60")


@slow
def test_one_process_that_diverges_is_a_divergence_of_all():
    """Would catch a NaN of one process that the others learn on with, or wait for."""
    told = job(3, "diverges")
    assert len(told) == 3
    assert all("training diverged" in each and "epoch 2" in each for each in told)


@slow
def test_processes_that_do_not_make_the_same_call_are_told():
    """Would catch sums of different runs."""
    for told in job(2, "other_settings"):
        assert "batch_size must be the same in all processes" in told
        assert "process 1 than in process 0" in told


@slow
def test_a_bad_row_of_one_process_stops_all():
    """Would catch a survey whose error reaches one process alone."""
    *others, own = job(3, "bad_rows")
    assert own.startswith("RefusedValue: X must have values in [0, 1]")
    for told in others:
        assert told.startswith("OtherProcessError: process 2 of 3 failed to read its rows")
        assert "row 5, column 3" in told


@pytest.mark.parametrize("number", range(10))
def test_jobs_begin_and_end(number):
    """Would catch a start or a farewell that now and then hangs; for 200 of them see
    ``tools/mpi_jobs.py``."""
    assert job(2, "begins") == [0, 1]


def command(size, *words):
    """Exit code, output and messages of the command line in so many processes."""
    return subprocess.run(
        [MPIRUN, "-n", str(size), sys.executable, "-m", "deepgen", *map(str, words)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@slow
def test_the_command_line_trains_over_processes(tmp_path):
    """Would catch files that every process writes, and output that each of them prints."""
    rows = tmp_path / "rows.npy"
    np.save(rows, np.random.default_rng(0).integers(0, 2, (60, 8)).astype(np.uint8))
    toml = tmp_path / "settings.toml"
    toml.write_text(
        f'data = "{rows}"\nout = "{tmp_path}/model.safetensors"\nn_hidden = 5\nn_epochs = 3\n'
        f'seed = 0\nhistory = "{tmp_path}/history.csv"\n'
        f'checkpoint = "{tmp_path}/run.checkpoint"\n'
    )
    alone = subprocess.run(
        [sys.executable, "-m", "deepgen", "train", toml, "--out", tmp_path / "alone.safetensors"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    (tmp_path / "run.checkpoint").unlink()
    done = command(2, "train", toml, "--mpi", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_updates"] == 3
    one, other = (tmp_path / f"{name}.safetensors" for name in ("alone", "model"))
    assert one.read_bytes() == other.read_bytes()
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 4
    refused = command(2, "train", toml, "--model", "ratings", "--mpi")
    assert refused.returncode == 2
    assert "--mpi does not go with --model ratings" in refused.stderr


@slow
def test_the_example_of_a_cluster_runs():
    """Would catch an example that only its author has started."""
    script, said = JOBS.parents[1] / "examples" / "cluster" / "train.py", []
    if not script.exists():
        pytest.skip("an installed wheel has no examples")
    for size in (1, 2):
        done = subprocess.run(
            [MPIRUN, "-n", str(size), sys.executable, script], capture_output=True, text=True,
            stdin=subprocess.DEVNULL, check=False, timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1]
    assert said[0].endswith("nats a row\n")


def test_a_communicator_is_no_setting():
    """Would catch clones, copies and pickles of a process's connection."""
    comm = dg.distributed.mpi()
    assert comm is dg.distributed.mpi()
    assert (comm.rank, comm.size) == (0, 1)
    rbm = dg.RBM(3, communicator=comm)
    assert clone(rbm).communicator is comm
    assert copy.deepcopy(rbm).communicator is comm
    with pytest.raises(TypeError, match="cannot be pickled; set communicator=None"):
        pickle.dumps(rbm)
    with pytest.raises(ValueError, match="communicator must be None for partial_fit"):
        rbm.partial_fit([[0, 1], [1, 0]])
