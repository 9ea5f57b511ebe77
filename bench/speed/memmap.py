"""One epoch from a file of 2,000,000 x 784 bytes and from memory: rows a second, peak memory."""

import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from bench.speed import fresh, machine, rounds
from bench.speed.data import N_PIXELS, binary_digits

N_HIDDEN = 32  # few: reading is a larger share of the work than with more
TIMEOUT = 900  # seconds, for one process
OURS = "in memory"
SYSTEMS = {OURS: 1, "memmap": 1, "memmap, a tenth of the rows": 10}
DRAWN = 60_000  # rows that are drawn; the file repeats them


def run(*, n_rows, n_rounds, n_threads):
    """Measure the table and print it as Markdown."""
    print(*machine.describe(n_threads), sep="\n")
    with tempfile.TemporaryDirectory(dir=os.environ.get("DEEPGEN_RUNS")) as folder:
        path = Path(folder) / "rows.u8"
        origin = _write_rows(path, n_rows)
        print(
            f"data: {n_rows:,} rows of {N_PIXELS} bytes, {path.stat().st_size / 1e6:,.0f} MB; "
            f"{origin}\n"
            f"model: {N_PIXELS}-{N_HIDDEN}, batches of 100, defaults, one epoch with its survey; "
            f"{n_rounds} rounds, systems in turn, a fresh process each time; median (min..max); "
            "ratios within a round; peak anonymous memory (RssAnon) of the process, packages "
            "included",
            flush=True,
        )

        def measure(name):
            return fresh.call(
                time_fit, n_threads=n_threads, timeout=TIMEOUT, path=str(path),
                n_rows=n_rows // SYSTEMS[name], copied=name == OURS,
            )  # fmt: skip

        results = rounds.in_turn(measure, SYSTEMS, n_rounds)
    print(
        "\n| rows | rows / s | CPU us a row | rows / s, ratio | CPU, ratio | peak RssAnon, MB |\n"
        + "| --- " * 6 + "|"
    )  # fmt: skip
    speeds = {name: [result["speed"] for result in found] for name, found in results.items()}
    costs = {name: [result["cost"] for result in found] for name, found in results.items()}
    for name, found in results.items():
        peak = statistics.median(result["peak"] for result in found) / 1e6
        print(
            f"| {name} | {statistics.median(speeds[name]):,.0f} "
            f"| {rounds.spread([1e6 * cost for cost in costs[name]])} "
            f"| {rounds.ratio(speeds[name], speeds.get(OURS))} "
            f"| {rounds.ratio(costs[name], costs.get(OURS))} | {peak:,.0f} |"
        )


def _write_rows(path, n_rows):
    """Write rows to a file, 60,000 at a time; return where they are from."""
    rows, origin = binary_digits(min(DRAWN, n_rows))
    with path.open("wb") as file:
        for start in range(0, n_rows, len(rows)):
            file.write(rows[: n_rows - start].tobytes())
    return origin


def time_fit(path, n_rows, copied):
    """Train for one epoch; called in a process of its own.

    Returns
    -------
    dict
        `speed` in rows a second; `cost`, seconds of processor time a row, which other jobs on the
        machine disturb less; `peak` anonymous memory in bytes, seen every 10 ms.
    """
    import deepgen as dg

    rows = np.memmap(path, np.uint8, "r", shape=(n_rows, N_PIXELS))
    if copied:
        rows = np.array(rows)
    with AnonymousMemory() as memory:
        start, cpu_start = time.perf_counter(), time.process_time()
        dg.RBM(N_HIDDEN, n_epochs=1, random_state=0).fit(rows)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    return {"speed": n_rows / seconds, "cost": cpu / n_rows, "peak": memory.peak}


class AnonymousMemory:
    """Watch the anonymous memory of this process from a thread: pages of files do not count."""

    def __init__(self, every=0.01):
        self.peak, self._every, self._over = 0, every, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._over.set()
        self._thread.join()

    def _watch(self):
        while True:
            self.peak = max(self.peak, anonymous_memory())
            if self._over.wait(self._every):
                return


def anonymous_memory():
    """Return the resident anonymous memory of this process (RssAnon), in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon")
