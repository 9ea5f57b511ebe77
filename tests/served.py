"""Services for tests: a real server on a free port, in a thread of this process."""

import contextlib
import io
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="needs the extra web: pip install 'deepgen[web]'")
pytest.importorskip("starlette", reason="needs the extra web: pip install 'deepgen[web]'")
httpx = pytest.importorskip("httpx", reason="needs httpx, of the extra test")

from deepgen.serving.limits import Limits  # noqa: E402
from deepgen.serving.server import make_server, open_socket  # noqa: E402
from deepgen.serving.service import Service  # noqa: E402

NPY = "application/x-npy"


@contextlib.contextmanager
def served(estimator, *, without=(), n_threads=None, further=(), allowed=(), **limits):
    """Serve an estimator; yields a client of httpx, whose `service` is the service."""
    service = Service(
        estimator, "0" * 64, limits=Limits(**limits), without=without, n_threads=n_threads
    )
    server = make_server(service, further=further, allowed=allowed)
    listening, address = open_socket("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        with httpx.Client(base_url=address, timeout=30) as client:
            client.service = service
            wait_until(lambda: client.get("/readyz").status_code == 200)
            yield client
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
        assert not thread.is_alive(), "the server does not end"


@contextlib.contextmanager
def command(path, *flags):
    """Run ``deepgen serve`` on a free port; yields the process and a client of httpx."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deepgen", "serve", str(path), "--port", "0", *flags],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        line = process.stderr.readline()
        address = line.split()[1]
        assert address.startswith("http://127.0.0.1:"), line
        with httpx.Client(base_url=address, timeout=60) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200)
            yield process, client
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
        process.stderr.close()


def number_of(client, name):
    """A number among the metrics of a service."""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[-1])
    raise AssertionError(f"no {name} among the metrics")


def wait_until(condition, seconds=30):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come to be"
        time.sleep(0.01)


def npy(array):
    """An array as the bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def post_npy(client, path, array, **parameters):
    """Ask with an array, for an array."""
    headers = {"Content-Type": NPY, "Accept": NPY}
    answer = client.post(path, content=npy(array), headers=headers, params=parameters)
    assert answer.status_code == 200, answer.text
    return np.load(io.BytesIO(answer.content), allow_pickle=False)


def refused(answer, status):
    """What an answer says that must be a refusal in the form of all of them."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error["status"] == status
    assert {"message", "field", "expected", "got"} <= set(error)
    return error
