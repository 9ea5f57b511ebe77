"""How far an update of CD-1 is from what the machine can do, as measured in the same run.

Work of an update: three passes and two products of statistics, each `batch x visible x hidden`
multiply-adds, two floating-point operations apiece. It is the same for all systems: what one of
them skips (inputs that are zero) or does in integers counts as the float work that it replaces.

Traffic of an update, the least there is: each pass reads the weights, the step reads and writes
them, and their velocity where there is one. deepgen's passes read 16-bit fixed-point weights,
whose two forms the step writes. States, and what caches spare or add, are left out.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bench.speed import rounds

SGEMM_SIZE = 2048
COPY_BYTES = 256 * 2**20
REPEATS = 7
N_PASSES, N_STATISTICS = 3, 2
FLOAT_BYTES, FIXED_BYTES = 4, 2
N_FORMS = 2  # packed for the passes up and down


def work(n_rows, n_visible, n_hidden):
    """Count the floating-point operations of updates by `n_rows` rows in all."""
    return 2 * (N_PASSES + N_STATISTICS) * n_rows * n_visible * n_hidden


def traffic(n_visible, n_hidden, *, fixed_point, velocity):
    """Count the bytes of one update, the least there is."""
    stepped = 2 * FLOAT_BYTES * (2 if velocity else 1)
    read = N_PASSES * (FIXED_BYTES if fixed_point else FLOAT_BYTES)
    packed = N_FORMS * FIXED_BYTES if fixed_point else 0
    return (stepped + read + packed) * n_visible * n_hidden


def time_peak(n_workers, size=SGEMM_SIZE, n_bytes=COPY_BYTES):
    """Measure what the machine can do; called in a process of its own.

    Returns
    -------
    dict
        Medians after one to warm up: `flops` a second of a square product in float32 by NumPy's
        BLAS, `bandwidth` in bytes read and written a second of a copy that no cache holds, by
        `n_workers` threads.
    """
    rng = np.random.default_rng(0)
    a, b = (rng.random((size, size), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    product = _median_seconds(lambda: np.matmul(a, b, out=out))
    source = np.ones(n_bytes // FLOAT_BYTES, np.float32)
    target = np.empty_like(source)
    parts = list(
        zip(np.array_split(target, n_workers), np.array_split(source, n_workers), strict=True)
    )
    with ThreadPoolExecutor(n_workers) as pool:
        copy = _median_seconds(lambda: list(pool.map(lambda part: np.copyto(*part), parts)))
    return {"flops": 2 * size**3 / product, "bandwidth": 2 * source.nbytes / copy}


def _median_seconds(call):
    seconds = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def print_table(seconds, epoch_work, epoch_traffic, peaks):
    """Print one line of Markdown for each system, and the peak.

    Parameters
    ----------
    seconds : dict
        Of an epoch, by system, one for each round.
    epoch_work : float
        Operations.
    epoch_traffic : dict
        Bytes, by system.
    peaks : list of dict
        From :func:`time_peak`, one for each round.
    """
    flops, bandwidth = ([peak[key] for peak in peaks] for key in ("flops", "bandwidth"))
    print(
        "\n| system | GFLOP/s | share of sgemm | GB/s | share of copy |\n" + "| --- " * 5 + "|\n"
        f"| peak | {rounds.spread([value / 1e9 for value in flops])} | 1 "
        f"| {rounds.spread([value / 1e9 for value in bandwidth])} | 1 |"
    )
    for name, found in seconds.items():
        reached = [epoch_work / value for value in found]
        moved = [epoch_traffic[name] / value for value in found]
        print(
            f"| {name} | {rounds.spread([value / 1e9 for value in reached])} "
            f"| {rounds.ratio(reached, flops)} "
            f"| {rounds.spread([value / 1e9 for value in moved])} "
            f"| {rounds.ratio(moved, bandwidth)} |"
        )
