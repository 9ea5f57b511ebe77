"""One epoch from a file of rows and from memory, as bytes or as bits: rows a second, memory."""

import os
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.speed import fresh, machine, rounds
from bench.speed.data import N_PIXELS, binary_digits

N_HIDDEN = 32  # few: reading is a larger share of the work than with more
TIMEOUT = 900  # seconds, for one process
DRAWN = 60_000  # rows that are drawn; files repeat them
MEMORY, BYTES, BITS = "in memory", "bytes", "bits"


@dataclass(frozen=True)
class System:
    """Where rows are, and the part of them that is read: one row in `share`."""

    form: str
    share: int = 1


FROM_BYTES = {
    "in memory": System(MEMORY),
    "memmap": System(BYTES),
    "memmap, a tenth of the rows": System(BYTES, 10),
}
FROM_BITS = {
    "memmap of bytes, a tenth of the rows": System(BYTES, 10),
    "memmap of bits, a tenth of the rows": System(BITS, 10),
    "memmap of bits": System(BITS),
}


def run(*, n_rows, n_rounds, n_threads, bits):
    """Measure the table and print it as Markdown; the first system is what others are held to."""
    systems = FROM_BITS if bits else FROM_BYTES
    ours = next(iter(systems))
    print(*machine.describe(n_threads), sep="\n")
    with tempfile.TemporaryDirectory(dir=os.environ.get("DEEPGEN_RUNS")) as folder:
        paths = {form: str(Path(folder) / form) for form in (BYTES, BITS)}
        origin = _write_rows(paths, n_rows, systems)
        sizes = ", ".join(
            f"{os.path.getsize(path) / 1e6:,.0f} MB of {form}"
            for form, path in paths.items() if os.path.getsize(path)
        )  # fmt: skip
        print(
            f"data: {n_rows:,} rows of {N_PIXELS} columns, {sizes}; {origin}\n"
            f"model: {N_PIXELS}-{N_HIDDEN}, batches of 100, defaults, one epoch with its survey; "
            f"{n_rounds} rounds, systems in turn, a fresh process each time; median (min..max); "
            "ratios within a round; peak anonymous memory (RssAnon) of the process, packages "
            "included",
            flush=True,
        )

        def measure(name):
            system = systems[name]
            return fresh.call(
                time_fit, n_threads=n_threads, timeout=TIMEOUT, form=system.form,
                path=paths[BITS if system.form == BITS else BYTES], n_rows=n_rows // system.share,
            )  # fmt: skip

        results = rounds.in_turn(measure, systems, n_rounds)
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
            f"| {rounds.ratio(speeds[name], speeds.get(ours))} "
            f"| {rounds.ratio(costs[name], costs.get(ours))} | {peak:,.0f} |"
        )


def _write_rows(paths, n_rows, systems):
    """Write the files that systems read, 60,000 rows at a time; return where rows are from."""
    rows, origin = binary_digits(min(DRAWN, n_rows))
    most = dict.fromkeys(paths, 0)
    for system in systems.values():
        form = BITS if system.form == BITS else BYTES
        most[form] = max(most[form], n_rows // system.share)
    for form, count in most.items():
        whole = np.packbits(rows, axis=1) if form == BITS else rows
        with open(paths[form], "wb") as file:
            for start in range(0, count, len(whole)):
                file.write(whole[: count - start].tobytes())
    return origin


def time_fit(path, form, n_rows):
    """Train for one epoch; called in a process of its own.

    Returns
    -------
    dict
        `speed` in rows a second; `cost`, seconds of processor time a row, which other jobs on the
        machine disturb less; `peak` anonymous memory in bytes, seen every 10 ms.
    """
    import deepgen as dg

    width = N_PIXELS // 8 if form == BITS else N_PIXELS
    rows = np.memmap(path, np.uint8, "r", shape=(n_rows, width))
    if form == MEMORY:
        rows = np.array(rows)
    elif form == BITS:
        rows = dg.PackedBits(rows, N_PIXELS)
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
