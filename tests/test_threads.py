"""Threads: who decides how many, and what happens to a process that was forked."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from deepgen._kernels import engine

import deepgen as dg
from deepgen.runtime import threads
from deepgen.runtime.threads import available_cores, effective_threads

needs_openmp = pytest.mark.skipif(not engine.has_openmp(), reason="built without OpenMP")

FORK = """
import json, os, signal, sys
import numpy as np
import deepgen as dg
from deepgen.runtime import threads
from deepgen.rows.sources import ArrayRows
from deepgen.learning.machines import Trainer

threads.SERIAL_WORK = 0
rng = np.random.default_rng(0)
model = dg.BoltzmannMachine([dg.Binary(70), dg.Binary(40)], [rng.normal(0.0, 0.1, (70, 40))])
X = rng.integers(0, 2, (60, 70)).astype(np.uint8)

def work():
    particles = dg.Particles([X, np.zeros((60, 40), np.uint8)])
    drawn = dg.gibbs(model, particles, 3, random_state=1)
    trainer = Trainer(model, dg.CD(), dg.SGD(), dg.Constant(0.1), stream=dg.Stream(1),
                      batch_size=20)
    trainer.fit(ArrayRows(X), 2, 60)
    return drawn[0].tobytes() + trainer.model().weights[0].tobytes()

def count_tasks():
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0

n_tasks = [count_tasks()]
dg.gibbs(model, dg.Particles([X, np.zeros((60, 40), np.uint8)]), 1, random_state=1)
n_tasks.append(count_tasks())
before = work()
read, write = os.pipe()
child = os.fork()
if child == 0:
    signal.alarm(60)  # a child that hangs in libgomp is ended, and the test fails
    os.write(write, b"same" if work() == before else b"other")
    os._exit(threads.effective_threads(4))
_, status = os.waitpid(child, 0)
answer = os.read(read, 10).decode() if os.WIFEXITED(status) else "killed"
print(json.dumps({"answer": answer, "status": os.waitstatus_to_exitcode(status),
                  "after": work() == before, "n_tasks": n_tasks,
                  "n_threads": threads.effective_threads()}))
"""


def run_script(**environment):
    """Run FORK in a process of its own; return what it prints."""
    clean = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], env={**clean, **environment},
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    return json.loads(run.stdout)


@needs_openmp
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_finishes_with_the_same_bits_and_the_environment_counts():
    """Catches a child that hangs in libgomp after the parent used threads, as joblib's would,
    and a count of threads that OMP_NUM_THREADS asked for and nobody started."""
    found = run_script(OMP_NUM_THREADS="3", OPENBLAS_NUM_THREADS="1")
    assert found["answer"] == "same"
    assert found["status"] == 1  # the child runs serial, whatever is asked for
    assert found["after"]
    assert found["n_threads"] == 3
    if found["n_tasks"][0]:
        assert found["n_tasks"][1] - found["n_tasks"][0] == 2


@needs_openmp
def test_who_decides(monkeypatch):
    """Catches an argument or setting that is not heard: argument, set_num_threads, environment."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert effective_threads() == available_cores()
    for wish, expected in (("3", 3), ("5,2", 5), ("", available_cores()), ("x", available_cores()),
                           ("0", available_cores()), ("-1", available_cores()),
                           ("²", available_cores()), ("99999", available_cores())):  # fmt: skip
        monkeypatch.setenv("OMP_NUM_THREADS", wish)
        assert effective_threads() == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    dg.set_num_threads(4)
    try:
        assert effective_threads() == 4
        assert effective_threads(5) == 5
    finally:
        dg.set_num_threads(None)
    assert effective_threads() == 3


@needs_openmp
def test_small_work_stays_serial(monkeypatch):
    """Catches a one-row transform that wakes threads: slower, and far slower on a busy machine."""
    assert effective_threads(4, threads.SERIAL_WORK - 1) == 1
    assert effective_threads(4, threads.SERIAL_WORK) == 4
    assert effective_threads(4, None) == 4


def test_a_forked_child_and_a_build_without_openmp_run_serial(monkeypatch):
    """Catches an OpenMP team that is asked for where there can be none."""
    monkeypatch.setattr(threads, "_in_forked_child", True)
    assert effective_threads(4) == 1
    monkeypatch.setattr(threads, "_in_forked_child", False)
    monkeypatch.setattr(threads, "_HAS_OPENMP", False)
    assert effective_threads(4) == 1


def test_available_cores_are_those_of_the_process():
    """Catches all cores of a machine being counted inside a container or a cpuset."""
    cores = available_cores()
    assert 1 <= cores <= os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        assert cores <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "2"])
def test_wrong_counts_are_refused(wrong):
    """Catches zero threads, which OpenMP would take for its own default."""
    with pytest.raises(ValueError, match="n must be a positive integer"):
        dg.set_num_threads(wrong)
    if not isinstance(wrong, str | bool) and wrong < 1:
        with pytest.raises(ValueError, match="n_threads must be a positive integer"):
            effective_threads(wrong)


def test_more_threads_than_rows_or_tiles(threaded):
    """Catches a thread without work that waits for ever or writes where it should not."""
    model = dg.BoltzmannMachine([dg.Binary(1), dg.Binary(1)], [[[0.5]]])
    particles = dg.Particles([np.zeros((1, 1), np.uint8)] * 2)
    one, many = (dg.gibbs(model, particles, 5, random_state=0, n_threads=n) for n in (1, 7))
    for x, y in zip(one.states, many.states, strict=True):
        np.testing.assert_array_equal(x, y)
