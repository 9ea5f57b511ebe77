"""Updates of an RBM over processes: seconds by rows a process, share of the sums; a long stream."""

import contextlib
import functools
import json
import math
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import deepgen as dg
from bench.speed import fresh, machine, memmap
from bench.speed.data import N_PIXELS

N_HIDDEN = 500
ROWS = (100, 1_000, 4_000)  # a process, of one update
SETTLE = 3  # updates before the clock starts
FILE_ROWS = 1_000_000  # of each file of a stream
KILLED = "killed"  # file that says when a process was
TIMEOUT = 3_600  # seconds, for one job


def run(*, n_updates, n_rounds, rules, peer_python):
    """Measure the table and print it as Markdown."""
    print(*machine.describe(1), sep="\n")
    print(
        f"model: {N_PIXELS}-{N_HIDDEN} bits, one thread a process, {n_updates} updates, of which "
        f"the fastest tenth counts; {n_rounds} rounds, systems in turn, the median of these; "
        "efficiency: seconds of one process alone, and of two that run at the same time and do "
        "not talk, by those of two that share a run, as many rows for each\n\n"
        "| system | rule | rows a process | alone, ms | two apart, ms | one of one, ms "
        "| two together, ms | of these in sums | efficiency | beside two apart |\n"
        "|" + " --- |" * 10,
        flush=True,
    )
    systems = {"deepgen": _job, "torch, gloo": functools.partial(_torch_job, peer_python)}
    if not _has_torch(peer_python):
        del systems["torch, gloo"]
    for rule in rules:
        for n_rows in ROWS:
            for name, job in systems.items():
                _show_row(name, job, rule, n_rows, n_updates, n_rounds)


# By system of a row: processes, and whether they share a run.
WAYS = {"alone": (1, False), "apart": (2, False), "one": (1, True), "two": (2, True)}


def _show_row(name, job, rule, n_rows, n_updates, n_rounds):
    """Measure one row of the table and print it."""
    told = {way: [] for way in WAYS}
    for _ in range(n_rounds):
        for way, (size, together) in WAYS.items():
            told[way].append(job(size, "updates", rule, n_rows, n_updates, together))
    seconds = {
        way: statistics.median(each["seconds"] for each in found) for way, found in told.items()
    }
    waits = statistics.median(each["in_sums"] for each in told["two"])
    times = " | ".join(f"{1e3 * seconds[way]:.2f}" for way in WAYS)
    print(
        f"| {name} | {rule.upper()} | {n_rows:,} | {times} | {waits / seconds['two']:.0%} "
        f"| {seconds['alone'] / seconds['two']:.2f} | {seconds['apart'] / seconds['two']:.2f} |",
        flush=True,
    )


def stream(*, n_rows, minutes):
    """Learn from rows in packed files through two processes; kill one in the middle, and go on."""
    print(*machine.describe(1), sep="\n")
    with tempfile.TemporaryDirectory(dir=os.environ.get("DEEPGEN_RUNS")) as folder:
        began = time.perf_counter()
        for number, start in enumerate(range(0, n_rows, FILE_ROWS)):
            _write_file(Path(folder), number, min(FILE_ROWS, n_rows - start))
        print(
            f"{n_rows:,} rows of {N_PIXELS} bits in {number + 1} files, "
            f"{n_rows * N_PIXELS / 8e9:.1f} GB, written in {time.perf_counter() - began:.0f} s",
            flush=True,
        )
        seconds, began = 30.0 * minutes, time.perf_counter()
        first = _job(2, "rows", folder, seconds, True, fails=True)
        over = time.time() - float((Path(folder) / KILLED).read_text())
        print(
            f"process 1 was killed after {seconds:.0f} s of updates; all over {over:.1f} s later, "
            f"exit code {first['code']}",
            flush=True,
        )
        then = _job(2, "rows", folder, seconds, False)
        print(
            f"gone on from update {then['began']:,}; {then['rows']:,} rows in "
            f"{then['seconds']:.0f} s: {then['rows'] / then['seconds']:,.0f} rows a second; "
            "anonymous MB of process 0 at a quarter, half, three quarters and the end of that "
            f"time: {then['memory']}; both jobs with their surveys "
            f"{time.perf_counter() - began:.0f} s"
        )


def _write_file(folder, number, n_rows):
    """Write random rows, a quarter of their bits one, eight bits in a byte."""
    rng, shape = np.random.default_rng(number), (n_rows, N_PIXELS // 8)
    rows = np.frombuffer(rng.bytes(n_rows * shape[1]), np.uint8)
    rows = rows & np.frombuffer(rng.bytes(n_rows * shape[1]), np.uint8)
    np.save(folder / f"{number:04d}.npy", rows.reshape(shape))


@dataclass(frozen=True)
class Network:
    """A network between machines: seconds of a small exchange with a neighbour, bytes a second."""

    name: str
    latency: float
    bandwidth: float


NETWORKS = (
    Network("10 Gbit/s Ethernet", 30e-6, 1.1e9), Network("25 Gbit/s Ethernet", 20e-6, 2.8e9),
    Network("100 Gbit/s InfiniBand", 2e-6, 11e9),
)  # fmt: skip
# Of an update at 784-500, processor seconds of one thread (docs/guide/cluster.md says of which
# processor): what does not depend on rows, alone and with sums as arrays of their own; of a row,
# by CD-1, or by PCD-1 with a particle for each.
ALONE, SHARED, OF_A_ROW = 0.5e-3, 2.8e-3, 18.3e-6
EXCHANGES, BYTES_SENT = 4, 4 * 2 * N_PIXELS * N_HIDDEN


def modelled(network, n_rows, size):
    """Return the efficiency of `size` processes that have so many rows each, by the model of time.

    ``t = a + b n + c ceil(log2 P) + 2 (P - 1) / P s / w``; see docs/guide/cluster.md.
    """
    small = EXCHANGES * network.latency * math.ceil(math.log2(size))
    sums = 2.0 * (size - 1) / size * BYTES_SENT / network.bandwidth
    rows_alone = OF_A_ROW * n_rows
    return (ALONE + rows_alone) / (SHARED + rows_alone + small + sums)


def simulate():
    """Print the efficiencies of 8 to 512 processes by the model of time, as Markdown."""
    sizes = (8, 32, 128, 512)
    print(f"| network | rows a process | {' | '.join(map(str, sizes))} |")
    print("| --- | --- |" + " --- |" * len(sizes))
    for network in NETWORKS:
        for n_rows in (1_000, 4_000, 16_000):
            told = [f"{modelled(network, n_rows, size):.2f}" for size in sizes]
            print(f"| {network.name} | {n_rows:,} | {' | '.join(told)} |")


def _job(size, *words, fails=False):
    """Return what the processes of a job print: of several lines the one of most seconds."""
    place = str(Path(sys.executable).parent)
    mpirun = shutil.which("mpirun", path=os.pathsep.join([place, os.environ.get("PATH", "")]))
    if mpirun is None:
        raise SystemExit("bench.speed mpi needs mpirun: pip install mpi4py mpich")
    done = subprocess.run(
        [mpirun, "-n", str(size), sys.executable, "-m", "bench.speed.mpi", json.dumps(words)],
        capture_output=True, text=True, check=False, timeout=TIMEOUT, cwd=fresh.PROJECT_ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not told and not fails:
        raise SystemExit(done.stderr)
    return {**max(told, key=lambda each: each["seconds"], default={}), "code": done.returncode}


def _has_torch(python):
    """Tell whether an interpreter has torch; say so where it has not."""
    done = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False)
    if done.returncode:
        print("torch is left out: --peer-python names an interpreter that has it", file=sys.stderr)
    return not done.returncode


def _torch_job(python, size, _, rule, n_rows, n_updates, together):
    """Return the seconds of an update of torch, as :func:`updates` does of ours."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    words = json.dumps([rule, n_rows, n_updates + SETTLE + 1, size if together else 0])
    processes = [
        subprocess.Popen(
            [python, "-m", "bench.speed.gloo", words], stdout=subprocess.PIPE, text=True,
            cwd=fresh.PROJECT_ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(size)},
        )
        for rank in range(size)
    ]  # fmt: skip
    told = [
        fastest(json.loads(each.communicate(timeout=TIMEOUT)[0])) for each in processes
    ]
    return max(told, key=lambda each: each["seconds"])


# --- what a process of a job does -------------------------------------------------------------


class Clock:
    """A callback that notes when each update is over, and the seconds spent in sums so far."""

    def __init__(self, communicator):
        self.communicator, self.marks, self.n_updates = communicator, [], 0

    def __call__(self, report):
        return False

    def between_updates(self, trainer):
        """Note the time; after the last update of an epoch this is called twice."""
        if trainer.n_updates == self.n_updates:
            return
        self.n_updates = trainer.n_updates
        spent = 0.0 if self.communicator is None else self.communicator.seconds
        self.marks.append((time.perf_counter(), spent))


def fastest(marks):
    """Return the mean seconds of the fastest tenth of some updates, and of these in sums.

    Other work of the machine makes the rest slower, of which each system has had another share.
    """
    steps = np.diff(np.array(marks), axis=0)[SETTLE:]
    faster = steps[steps[:, 0] <= np.quantile(steps[:, 0], 0.1)]
    return {"seconds": float(faster[:, 0].mean()), "in_sums": float(faster[:, 1].mean())}


def updates(rule, n_rows, n_updates, together):
    """Return the seconds of an update, and of these in sums."""
    communicator = dg.distributed.mpi() if together else None
    size = communicator.size if together else 1
    batch = n_rows * size
    rows = np.random.default_rng(0).integers(0, 2, (n_rows * 8, N_PIXELS), dtype=np.uint8)
    rows = np.tile(rows, (size, 1))
    clock = Clock(communicator)
    rule = dg.CD() if rule == "cd" else dg.PCD(n_particles=batch)
    dg.RBM(
        N_HIDDEN, rule=rule, batch_size=batch, n_epochs=-(-(n_updates + SETTLE) // 8),
        random_state=0, n_threads=1, communicator=communicator, callbacks=[clock],
    ).fit(rows)  # fmt: skip
    return fastest(clock.marks)


class Until:
    """A callback that ends a run after some seconds, from process 0, or kills process 1 then."""

    def __init__(self, seconds, folder, kills):
        self.seconds, self.folder, self.kills = seconds, folder, kills
        self.began, self.first = None, 0
        self.memory = []

    def __call__(self, report):
        return False

    def between_updates(self, trainer):
        """Look at the clock."""
        if self.began is None:
            self.began, self.first = time.monotonic(), trainer.n_updates
        gone = time.monotonic() - self.began
        if len(self.memory) < 4 and gone > self.seconds * (len(self.memory) + 1) / 4:
            self.memory.append(round(memmap.anonymous_memory() / 1e6))
        if gone > self.seconds:
            if self.kills and trainer.collective.rank == 1:
                (self.folder / KILLED).write_text(str(time.time()))
                os.kill(os.getpid(), signal.SIGKILL)
            if not self.kills and trainer.collective.rank == 0:
                os.kill(os.getpid(), signal.SIGINT)
                self.seconds = np.inf


def rows(folder, seconds, kills):
    """Return how many rows were learned from in so many seconds."""
    communicator, folder = dg.distributed.mpi(), Path(folder)
    until, path = Until(seconds, folder, kills), folder / "run.checkpoint"
    shards = dg.distributed.Shards(folder, packed_columns=N_PIXELS)
    rbm = dg.RBM(
        N_HIDDEN, rule=dg.PCD(n_particles=4_000), batch_size=8_000, n_epochs=100, random_state=0,
        n_threads=1, communicator=communicator,
        callbacks=[dg.Checkpoint(path, minutes=seconds / 60 / 4), until],
    )  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):
        rbm.fit(shards, resume=path if path.exists() else None)
    n_updates = rbm.n_updates_ - until.first
    return {
        "began": until.first, "rows": 8_000 * n_updates,
        "seconds": time.monotonic() - until.began, "memory": until.memory,
    }  # fmt: skip


if __name__ == "__main__":
    name, *arguments = json.loads(sys.argv[1])
    result = {"updates": updates, "rows": rows}[name](*arguments)
    if name == "updates" or dg.distributed.mpi().rank == 0:
        sys.stdout.write(f"{json.dumps(result)}\n")  # one piece: lines of processes stay apart
