"""Models in servers: many threads, forks, other libraries' settings, worker processes."""

import json
import os
import pickle
import subprocess
import sys
import threading

import joblib
import numpy as np
import pytest
from conftest import with_slow

import deepgen as dg

RNG = np.random.default_rng(2)
X = (RNG.random((400, 100)) < 0.3).astype(np.uint8)


@pytest.fixture(scope="module")
def fitted():
    return dg.RBM(64, n_epochs=2, random_state=0, n_threads=1).fit(X)


def run(code):
    """Run code in a process of its own; return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True,
        timeout=600, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_64_threads_give_the_serial_result(fitted):
    """Would catch scratch that callers share, or a cache that is written while others read."""
    pieces = [X[i : i + 1 + i % 3] for i in range(200)]
    expected = [fitted.transform(piece).tobytes() for piece in pieces]
    start, wrong = threading.Barrier(64), []

    def serve(worker):
        start.wait()
        for i in range(200):
            number = (7 * worker + i) % 200
            if fitted.transform(pieces[number]).tobytes() != expected[number]:
                wrong.append(number)

    threads = [threading.Thread(target=serve, args=(worker,)) for worker in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


FORKS = """
import json, os, signal, threading
import numpy as np
import deepgen as dg
from deepgen.runtime import threads

threads.SERIAL_WORK = 0  # small work on many threads too
X = (np.random.default_rng(0).random((300, 100)) < 0.3).astype(np.uint8)
rbm = dg.RBM(64, n_epochs=2, random_state=0, n_threads=2).fit(X)

def work():
    again = dg.RBM(8, n_epochs=1, random_state=1, n_threads=2).fit(X[:100])
    return rbm.transform(X).tobytes() + again.model_.weights[0].tobytes()

def forked(n_children):
    answers = []
    for _ in range(n_children):
        child = os.fork()
        if child == 0:
            signal.alarm(100)  # a child that hangs in libgomp is ended, and the test fails
            os._exit(0 if work() == expected else 3)
        answers.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in answers]

expected = work()
calm = forked(N_CHILDREN // 2)
over = threading.Event()

def busy():
    particles = dg.Particles([X, np.zeros((300, 64), np.uint8)])
    while not over.is_set():
        dg.gibbs(rbm.model_, particles, 20, random_state=0, n_threads=2)

other = threading.Thread(target=busy)
other.start()
try:
    inside = forked(N_CHILDREN - N_CHILDREN // 2)
finally:
    over.set()
    other.join()
print(json.dumps([calm, inside, work() == expected]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("n_children", with_slow([8, 100], [100]))
def test_forked_children_finish_with_the_same_bits(n_children):
    """Would catch a child that hangs in libgomp, also one forked while another thread is inside
    a kernel, and a parent whose threads are gone afterwards."""
    calm, inside, after = run(FORKS.replace("N_CHILDREN", str(n_children)))
    assert calm + inside == [0] * n_children
    assert after


SETTINGS = """
import ctypes, json
import numpy as np, scipy.linalg, sklearn.cluster
import threadpoolctl
from deepgen._kernels import engine
import deepgen as dg

openmp = ctypes.CDLL(engine.__file__)  # its symbols include those of the OpenMP that it loads

def state():
    pools = threadpoolctl.threadpool_info()
    threads = getattr(openmp, "omp_get_max_threads", None)
    dynamic = getattr(openmp, "omp_get_dynamic", None)
    return [sorted((p["filepath"], p["num_threads"]) for p in pools),
            threads and threads(), dynamic and dynamic()]

X = (np.random.default_rng(0).random((300, 100)) < 0.3).astype(np.uint8)
before = state()
rbm = dg.RBM(64, n_epochs=2, random_state=0, n_threads=2).fit(X)
rbm.transform(X), rbm.sample(50, n_sweeps=20), rbm.impute(X[:20], X[:20] == 1, n_chains=2)
dg.ais(rbm.model_, n_chains=20, n_betas=50, n_threads=2)
dg.set_num_threads(1)
rbm.partial_fit(X)
print(json.dumps([before, state()]))
"""


@pytest.mark.slow
def test_settings_of_the_process_stay():
    """Would catch omp_set_num_threads or threadpool_limits, which other libraries would feel."""
    before, after = run(SETTINGS)
    assert before == after


def arrays(model):
    yield from model.weights
    for layer in model.layers:
        yield from layer.parameters().values()
        if layer.precision is not None:
            yield layer.precision


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_a_model_is_read_only_wherever_it_comes_from(visible, tmp_path):
    """Would catch a handler that changes the model that all others use: arrays out of a pickle
    are writeable unless somebody sees to it."""
    rbm = dg.RBM(8, visible=visible, n_epochs=1, random_state=0).fit(X / 2)
    rbm.save(tmp_path / "a")
    joblib.dump(rbm, tmp_path / "b")
    for other in (rbm, pickle.loads(pickle.dumps(rbm)), dg.load(tmp_path / "a"),
                  joblib.load(tmp_path / "b"), joblib.load(tmp_path / "b", mmap_mode="r"),
                  dg.RBM.from_model(pickle.loads(pickle.dumps(rbm.model_)))):  # fmt: skip
        assert not any(array.flags.writeable for array in arrays(other.model_))
        assert np.array_equal(other.transform(X / 2), rbm.transform(X / 2))


def test_worker_processes_give_the_same_bits(fitted):
    """Would catch state that does not travel: joblib's default processes, and its threads."""
    pieces = [X[:10], X[10:11], X[11:200]]
    expected = [fitted.transform(piece) for piece in pieces]
    for backend in ("loky", "threading"):
        found = joblib.Parallel(2, backend=backend)(
            joblib.delayed(fitted.transform)(piece) for piece in pieces
        )
        assert all(map(np.array_equal, found, expected))
