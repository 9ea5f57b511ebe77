"""Updates of an RBM over processes: seconds by rows a process, share of the sums; a long stream."""

import contextlib
import json
import math
import os
import shutil
import signal
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
FILE_ROWS = 1_000_000  # of the file that a stream reads again and again
TIMEOUT = 3_600  # seconds, for one job


def run(*, n_updates, n_rounds):
    """Measure the table and print it as Markdown."""
    print(*machine.describe(1), sep="\n")
    print(
        f"model: {N_PIXELS}-{N_HIDDEN} bits, one thread a process, {n_updates} updates, the faster "
        f"half of them counts; {n_rounds} rounds; efficiency: seconds of one process alone by "
        "those of all, with as many rows for each\n\n"
        "| rule | rows a process | processes | ms an update | of these in sums | efficiency |\n"
        "|---|---|---|---|---|---|",
        flush=True,
    )
    for rule in ("cd", "pcd"):
        for n_rows in ROWS:
            alone = None
            for size in (0, 1, 2):
                told = [
                    _job(max(size, 1), "updates", rule, n_rows, n_updates, size == 0)
                    for _ in range(n_rounds)
                ]
                seconds, waits = min((each["seconds"], each["in_sums"]) for each in told)
                alone = alone or seconds
                name = "1, no communicator" if size == 0 else str(size)
                print(
                    f"| {rule.upper()} | {n_rows:,} | {name} | {1e3 * seconds:.2f} | "
                    f"{waits / seconds:.0%} | {alone / seconds:.2f} |",
                    flush=True,
                )


def stream(*, n_rows, minutes):
    """Learn from rows in packed files through two processes; kill one in the middle, and go on."""
    print(*machine.describe(1), sep="\n")
    with tempfile.TemporaryDirectory(dir=os.environ.get("DEEPGEN_RUNS")) as folder:
        rng, width = np.random.default_rng(0), N_PIXELS // 8
        file = np.lib.format.open_memmap(
            f"{folder}/rows.npy", "w+", np.uint8, (min(FILE_ROWS, n_rows), width)
        )
        for start in range(0, len(file), 10_000):
            piece = file[start : start + 10_000]
            piece[:] = rng.integers(0, 256, piece.shape) & rng.integers(0, 256, piece.shape)
        file.flush()
        n_files = max(n_rows // FILE_ROWS, 1)
        first = _job(2, "rows", folder, n_files, 30.0 * minutes, True)
        print(f"a process was killed after {30 * minutes:.0f} s; exit code {first['code']}")
        then = _job(2, "rows", folder, n_files, 30.0 * minutes, False)
        print(
            f"{n_files * len(file):,} rows of {N_PIXELS} bits; gone on from update "
            f"{then['began']:,}, {then['rows']:,} rows in {then['seconds']:.0f} s: "
            f"{then['rows'] / then['seconds']:,.0f} rows a second; MB of each process at a "
            f"quarter, half, three quarters and the end of that time: {then['memory']}"
        )


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
# processor): what does not depend on rows, alone and with sums that are sent; of a row, by rule.
ALONE, SHARED, OF_A_ROW = 1.5e-3, 3.6e-3, {"cd": 19e-6, "pcd": 7e-6}
EXCHANGES, BYTES_SENT = 4, 4 * 2 * N_PIXELS * N_HIDDEN


def modelled(network, rule, n_rows, size):
    """Return the efficiency of `size` processes that have so many rows each, by the model of time.

    ``t = a + b n + c log2 P + 2 (P - 1) / P s / w``; see docs/guide/cluster.md.
    """
    alone = ALONE + OF_A_ROW[rule] * n_rows
    small = EXCHANGES * network.latency * math.ceil(math.log2(size))
    sums = 2.0 * (size - 1) / size * BYTES_SENT / network.bandwidth
    return alone / (SHARED + OF_A_ROW[rule] * n_rows + small + sums)


def simulate():
    """Print the efficiencies of 8 to 512 processes by the model of time, as Markdown."""
    sizes = (8, 32, 128, 512)
    print(f"| network | rule | rows a process | {' | '.join(map(str, sizes))} |")
    print("| --- | --- | --- |" + " --- |" * len(sizes))
    for network in NETWORKS:
        for rule in OF_A_ROW:
            for n_rows in (1_000, 4_000, 16_000):
                told = [f"{modelled(network, rule, n_rows, size):.2f}" for size in sizes]
                print(f"| {network.name} | {rule.upper()} | {n_rows:,} | {' | '.join(told)} |")


def _job(size, *words):
    """Return what process 0 of a job prints."""
    place = str(Path(sys.executable).parent)
    mpirun = shutil.which("mpirun", path=os.pathsep.join([place, os.environ.get("PATH", "")]))
    if mpirun is None:
        raise SystemExit("bench.speed mpi needs mpirun: pip install mpi4py mpich")
    done = subprocess.run(
        [mpirun, "-n", str(size), sys.executable, "-m", "bench.speed.mpi", json.dumps(words)],
        capture_output=True, text=True, check=False, timeout=TIMEOUT, cwd=fresh.PROJECT_ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not told and not (words[0] == "rows" and words[-1]):
        raise SystemExit(done.stderr)
    return {**(json.loads(told[-1]) if told else {}), "code": done.returncode}


# --- what a process of a job does -------------------------------------------------------------


class Clock:
    """A callback that notes when each update is over, and the seconds spent in sums so far."""

    def __init__(self, communicator):
        self.communicator, self.marks = communicator, []

    def __call__(self, report):
        return False

    def between_updates(self, trainer):
        """Note the time."""
        spent = 0.0 if self.communicator is None else self.communicator.seconds
        self.marks.append((time.perf_counter(), spent))


def updates(rule, n_rows, n_updates, alone):
    """Return the seconds of an update, and of these in sums."""
    communicator = None if alone else dg.distributed.mpi()
    size = 1 if alone else communicator.size
    batch = n_rows * size
    rows = np.random.default_rng(0).integers(0, 2, (n_rows * 8, N_PIXELS), dtype=np.uint8)
    rows = np.tile(rows, (size, 1))
    clock = Clock(communicator)
    rule = dg.CD() if rule == "cd" else dg.PCD(n_particles=batch)
    dg.RBM(
        N_HIDDEN, rule=rule, batch_size=batch, n_epochs=-(-(n_updates + SETTLE) // 8),
        random_state=0, n_threads=1, communicator=communicator, callbacks=[clock],
    ).fit(rows)  # fmt: skip
    steps = np.diff(np.array(clock.marks), axis=0)[SETTLE:]
    faster = steps[steps[:, 0] <= statistics.median(steps[:, 0])]
    return {"seconds": float(faster[:, 0].mean()), "in_sums": float(faster[:, 1].mean())}


class Until:
    """A callback that ends a run after some seconds, from process 0, or kills process 1 then."""

    def __init__(self, seconds, kills):
        self.seconds, self.kills, self.began, self.first = seconds, kills, None, 0
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
                os.kill(os.getpid(), signal.SIGKILL)
            if not self.kills and trainer.collective.rank == 0:
                os.kill(os.getpid(), signal.SIGINT)
                self.seconds = np.inf


def rows(folder, n_files, seconds, kills):
    """Return how many rows were learned from in so many seconds."""
    communicator = dg.distributed.mpi()
    until, path = Until(seconds, kills), Path(folder) / "run.checkpoint"
    shards = dg.distributed.Shards([Path(folder) / "rows.npy"] * n_files, packed_columns=N_PIXELS)
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
    if arguments[-1] is True or dg.distributed.mpi().rank == 0:
        print(json.dumps(result))
