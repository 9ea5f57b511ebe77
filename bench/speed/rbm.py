"""Two tables: an epoch of CD-1 at 784-500, and `transform` of a single row."""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.speed import fresh, machine, peers, rounds
from bench.speed.data import binary_digits

OURS = "deepgen"
LATENCY_PEER = "scikit-learn"
ROW_DTYPES = ("uint8", "float32", "float64")
TIMEOUT = 60  # seconds, for one process


def run(*, n_rows, n_rounds, n_epochs, n_calls, n_threads, peer_python):
    """Measure both tables and print them as Markdown."""
    rows, origin = binary_digits(n_rows)
    print(*machine.describe(n_threads), sep="\n")
    print(f"data: {n_rows:,} rows of {rows.shape[1]} bits; {origin}")
    print(
        f"model: {rows.shape[1]}-{peers.N_HIDDEN}, batches of {peers.BATCH_SIZE}, "
        f"learning rate {peers.LEARNING_RATE}, momentum {peers.MOMENTUM}, "
        f"weight decay {peers.WEIGHT_DECAY:g}"
    )
    print(
        f"{n_rounds} rounds, systems in turn, a fresh process each time; median (min..max) of the "
        "rounds; ratios within a round; peak memory includes packages and rows; error: mean "
        "squared, of reconstructed bits; active: mean of hidden units",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        for dtype in {system.dtype for system in peers.SYSTEMS.values()} | set(ROW_DTYPES):
            np.save(_rows_path(folder, dtype), rows.astype(dtype))
        del rows
        common = {"n_threads": n_threads, "timeout": TIMEOUT}
        _compare_epochs(folder, n_rows, n_rounds, n_epochs, peer_python, common)
        _compare_latencies(folder, n_rounds, n_calls, common)


def time_epochs(name, path, n_epochs):
    """Train one system; called in a process of its own.

    Returns
    -------
    dict
        `seconds` an epoch (median of `n_epochs`, after one to warm up), `peak` memory of the
        process in bytes, and two signs that all learned the same on 1,000 training rows: the
        mean squared `error` of their reconstruction and the mean of hidden units, `active`.
    """
    rows = np.load(path)
    marks = []
    weights, visible_bias, hidden_bias = peers.SYSTEMS[name].train(
        rows, 1 + n_epochs, lambda: marks.append(time.perf_counter())
    )
    peak = machine.peak_memory()
    v_data = rows[:1000].astype(np.float32)
    hidden = 1 / (1 + np.exp(-(v_data @ weights + hidden_bias)))
    visible = 1 / (1 + np.exp(-(hidden @ weights.T + visible_bias)))
    return {
        "seconds": statistics.median(np.diff(marks).tolist()),
        "peak": peak,
        "error": float(np.mean((v_data - visible) ** 2)),
        "active": float(np.mean(hidden)),
    }


def time_transform(name, folder, n_calls):
    """Return the median seconds of `transform` of one row, by dtype; called in its own process.

    The model learns from 1,000 rows of the same dtype: scikit-learn computes in the dtype it was
    fitted in, and would convert its weights at every call with another.
    """
    fit = {OURS: peers.fit_deepgen, LATENCY_PEER: peers.fit_sklearn}[name]
    medians = {}
    for dtype in ROW_DTYPES:
        rows = np.load(_rows_path(folder, dtype), mmap_mode="r")[:1000].copy()
        model = fit(rows, n_epochs=1)
        seconds = []
        for call in range(n_calls):
            row = rows[call % len(rows)][np.newaxis]
            start = time.perf_counter()
            model.transform(row)
            seconds.append(time.perf_counter() - start)
        medians[dtype] = statistics.median(seconds)
    return medians


def _compare_epochs(folder, n_rows, n_rounds, n_epochs, peer_python, common):
    def measure(name):
        system = peers.SYSTEMS[name]
        return fresh.call(
            time_epochs,
            python=peer_python if system.needs_torch else sys.executable,
            name=name,
            path=_rows_path(folder, system.dtype),
            n_epochs=n_epochs,
            **common,
        )

    results = rounds.in_turn(measure, peers.SYSTEMS, n_rounds)
    seconds = {name: [result["seconds"] for result in found] for name, found in results.items()}
    print(
        f"\n| system | s / epoch | rows / s | peak MB | error | active | system / {OURS} "
        "| rows, remark |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    for name, system in peers.SYSTEMS.items():
        if name not in results:
            continue
        remark = ", ".join(filter(None, (system.dtype, system.remark)))
        print(
            f"| {name} | {rounds.spread(seconds[name])} "
            f"| {n_rows / statistics.median(seconds[name]):,.0f} "
            f"| {statistics.median(result['peak'] for result in results[name]) / 1e6:,.0f} "
            f"| {results[name][-1]['error']:.4f} | {results[name][-1]['active']:.3f} "
            f"| {rounds.ratio(seconds[name], seconds.get(OURS))} | {remark} |"
        )


def _compare_latencies(folder, n_rounds, n_calls, common):
    def measure(name):
        return fresh.call(time_transform, name=name, folder=folder, n_calls=n_calls, **common)

    results = rounds.in_turn(measure, (OURS, LATENCY_PEER), n_rounds)
    print(
        f"\n| `transform`, one row | {OURS}, us | {LATENCY_PEER}, us | {LATENCY_PEER} / {OURS} |\n"
        "| --- | --- | --- | --- |"
    )
    for dtype in ROW_DTYPES:
        microseconds = {
            name: [1e6 * result[dtype] for result in found] for name, found in results.items()
        }
        ours, theirs = microseconds.get(OURS), microseconds.get(LATENCY_PEER)
        print(
            f"| {dtype} | {rounds.spread(ours)} | {rounds.spread(theirs)} "
            f"| {rounds.ratio(theirs, ours)} |"
        )


def _rows_path(folder, dtype):
    return str(Path(folder) / f"rows-{dtype}.npy")
