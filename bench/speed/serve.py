"""One row through HTTP: `deepgen serve` beside FastAPI around scikit-learn's BernoulliRBM.

Both transform one row of 784 by the same 784-500 weights, on the same machine as the clients. The
greatest rate is that of 16 clients, each with one request at a time. Then requests come at half
of it, and seconds are counted from when each was due. Processor time is the server's, by request.
Server and clients have a core each, where there are two.
"""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.speed import http_load, machine, rounds
from bench.speed.fresh import PROJECT_ROOT

SIZES = 784, 500
JSON, NPY = "application/json", "application/x-npy"
SYSTEMS = {
    "deepgen, JSON": ("deepgen", "/v1/transform", JSON),
    "deepgen, .npy": ("deepgen", "/v1/transform", NPY),
    "FastAPI, JSON": ("fastapi", "/transform", JSON),
}


def write_model(folder):
    """Write one RBM for both servers; its weights are those of a run that has begun."""
    import deepgen as dg

    rng = np.random.default_rng(0)
    weights = rng.normal(0.0, 0.1, SIZES).astype(np.float32)
    visible, hidden = np.full(SIZES[0], -1.0), np.full(SIZES[1], -1.0)
    layers = [dg.Binary(bias=visible), dg.Binary(bias=hidden)]
    rbm = dg.RBM.from_model(dg.BoltzmannMachine(layers, [weights]))
    rbm.save(folder / "rbm.safetensors")
    np.savez(folder / "rbm.npz", weights=weights, visible=visible, hidden=hidden)
    row = (rng.random((1, SIZES[0])) < 0.2).astype(np.uint8)
    return row, rbm.transform(row)


@contextlib.contextmanager
def server(name, folder, port):
    """Run a server; yields its process once it answers."""
    commands = {
        "deepgen": ["deepgen", "serve", str(folder / "rbm.safetensors"), "--without", "score",
                    "--port", str(port)],
        "fastapi": ["bench.speed.fastapi_rbm", str(folder / "rbm.npz"), str(port)],
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", *commands[name]], cwd=PROJECT_ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    cores = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(process.pid, cores[-1:])
        os.sched_setaffinity(0, cores[:1])
        for _ in range(600):
            if process.poll() is not None:
                raise RuntimeError(f"{name} does not start: {process.stderr.read()[-500:]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield process
    finally:
        os.sched_setaffinity(0, cores)
        process.terminate()
        process.wait()
        process.stderr.close()


def processor_seconds(process):
    """Return the processor time that a process has had, all threads."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def body_of(row, kind):
    """Return a row as the body of a request."""
    if kind == JSON:
        return json.dumps({"rows": row.tolist()}).encode()
    file = io.BytesIO()
    np.save(file, row)
    return file.getvalue()


def check_answer(address, path, row, expected):
    """Raise where a server does not give the features that the model has, to six digits."""
    import urllib.request

    asked = urllib.request.Request(
        f"http://{address[0]}:{address[1]}{path}", body_of(row, JSON), {"Content-Type": JSON}
    )
    with urllib.request.urlopen(asked) as answer:
        found = np.array(json.load(answer)["values"])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def measure(name, folder, row, expected, seconds):
    """Measure one system in a server of its own; return numbers by name."""
    kind, path, media = SYSTEMS[name]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    message = http_load.request(f"127.0.0.1:{address[1]}", path, body_of(row, media), media)
    with server(kind, folder, address[1]) as process:
        check_answer(address, path, row, expected)
        http_load.greatest_rate(address, message, 1.0)
        began, cpu = time.perf_counter(), processor_seconds(process)
        fast = http_load.greatest_rate(address, message, seconds)
        spent, share = processor_seconds(process) - cpu, time.perf_counter() - began
        calm = http_load.at_rate(address, message, seconds, fast.rate / 2)
    return {
        "rate": fast.rate, "cores": spent / share,
        "milliseconds of processor": 1e3 * spent / len(fast.seconds),
        "p50": 1e3 * calm.quantile(0.5), "p99": 1e3 * calm.quantile(0.99),
        "refused": fast.n_refused + calm.n_refused,
    }  # fmt: skip


def run(n_rounds, seconds):
    """Print the table."""
    print("\n".join(machine.describe(1)), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        row, expected = write_model(folder)
        results = rounds.in_turn(
            lambda name: measure(name, folder, row, expected, seconds), SYSTEMS, n_rounds
        )
    print("\none row of 784-500; median (min..max) of rounds; processor time is the server's")
    heads = ("rate", "milliseconds of processor", "p50", "p99", "refused")
    print("| server | answers a second | processor ms a request | p50 ms at half of it | p99 ms "
          "| refused |")  # fmt: skip
    print("| --- " * 6 + "|")
    for name, found in results.items():
        cells = [rounds.spread([result[head] for result in found]) for head in heads]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}")
