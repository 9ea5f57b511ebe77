"""An epoch of CD-1 at 784-500, its share of the machine's peak, and `transform` of one row."""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.speed import arithmetic, fresh, machine, peers, roofline, rounds
from bench.speed.data import N_PIXELS, binary_digits

OURS = "deepgen"
LATENCY_PEER = "scikit-learn"
ROW_DTYPES = ("uint8", "float32", "float64")
PEAK = "peak"  # of the machine, which takes its turn with the systems
TIMEOUT = 60  # seconds, for one process


def run(*, n_rows, n_rounds, n_epochs, n_calls, n_threads, peer_python):
    """Measure the tables and print them as Markdown."""
    rows, origin = binary_digits(n_rows)
    print(*machine.describe(n_threads), arithmetic.describe(), sep="\n")
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
        results = _compare_epochs(folder, n_rows, n_rounds, n_epochs, peer_python, common)
        _show_shares(n_rows, results)
        _compare_latencies(folder, n_rounds, n_calls, common)


def time_epochs(name, path, n_epochs):
    """Train one system; called in a process of its own: see `peers.timed_epochs`."""
    return peers.timed_epochs(peers.SYSTEMS[name].train, path, n_epochs)


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
        if name == PEAK:
            return fresh.call(roofline.time_peak, n_workers=common["n_threads"], **common)
        system = peers.SYSTEMS[name]
        return fresh.call(
            time_epochs,
            python=peer_python if system.needs_torch else sys.executable,
            name=name,
            path=_rows_path(folder, system.dtype),
            n_epochs=n_epochs,
            **common,
        )

    results = rounds.in_turn(measure, [*peers.SYSTEMS, PEAK], n_rounds)
    seconds = _seconds(results)
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
    return results


def _seconds(results):
    """Take the seconds of an epoch out of the results, by system."""
    return {
        name: [result["seconds"] for result in found]
        for name, found in results.items()
        if name != PEAK
    }


def _show_shares(n_rows, results):
    """Print work and traffic of the same epochs beside what the machine can do."""
    if PEAK not in results:
        return
    sizes = (N_PIXELS, peers.N_HIDDEN)
    seconds = _seconds(results)
    each = {
        name: roofline.traffic(
            *sizes,
            fixed_point=name == OURS and arithmetic.is_fixed_point(),
            velocity=peers.SYSTEMS[name].has_velocity,
        )
        for name in seconds
    }
    n_updates = -(-n_rows // peers.BATCH_SIZE)
    print(
        "\nwork of an update: 2 x (3 passes + 2 statistics) x "
        f"{peers.BATCH_SIZE} x {sizes[0]} x {sizes[1]} = "
        f"{roofline.work(peers.BATCH_SIZE, *sizes) / 1e6:.0f} MFLOP, for every system; zeros that "
        "are skipped and integer sums count as the float work that they replace\n"
        "traffic of an update, the least: weights read by each pass, weights and velocity read "
        "and written by the step; fixed point: passes read 2 bytes a weight, the step writes two "
        f"such forms; MB: {', '.join(f'{name} {n / 1e6:.1f}' for name, n in each.items())}\n"
        f"peak: product of {roofline.SGEMM_SIZE} x {roofline.SGEMM_SIZE} float32 by NumPy's BLAS; "
        f"copy of {roofline.COPY_BYTES >> 20} MiB, bytes read and written; caches hold the "
        "matrices of an update, the copy is from memory"
    )
    roofline.print_table(
        seconds,
        roofline.work(n_rows, *sizes),
        {name: n_updates * n for name, n in each.items()},
        results[PEAK],
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
