"""Ratings: epochs and recommendations of MovieLens 1M; an epoch of 100 million mapped ones."""

import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.speed import fresh, machine, rounds
from bench.speed.memmap import AnonymousMemory

TIMEOUT = 1800  # seconds, for one process
N_HIDDEN = 100
N_ONE = 200  # users that are asked about alone
SIDES = ("items", "users")
# Users, films and ratings of the Netflix Prize.
NETFLIX = (480_189, 17_770, 100_000_000)
BLOCK = 20_000  # users that are drawn together
MOST = 10_000  # ratings of one user, before those are taken away that are drawn twice
DRAWN = 1.37  # for each rating that is left
BARS = {
    "epoch": "0.4 / 0.2 s", "one user": "5 / 1 ms", "all users": "2 / 0.5 s",
    "mapped": "180 / 60 s, 3 GB",
}  # fmt: skip


def run(*, n_rounds, n_threads):
    """Measure epochs and recommendations on MovieLens 1M and print them as Markdown."""
    print(*machine.describe(n_threads), sep="\n")
    print(
        f"MovieLens 1M, its training ratings; {N_HIDDEN} hidden units, defaults; {n_rounds} "
        "rounds in turn, a fresh process each time; median (min..max). Epochs run on one thread, "
        "in seconds of the processor. "
        f"One user: the median of {N_ONE} calls of `recommend`, ten items each. must / aim: of "
        "rows that must be so fast",
        flush=True,
    )
    found = rounds.in_turn(
        lambda side: fresh.call(time_side, n_threads=n_threads, timeout=TIMEOUT, side=side),
        SIDES, n_rounds,
    )  # fmt: skip
    print("\n| rows | what | measured | must / aim |\n" + "| --- " * 4 + "|")
    for side, results in found.items():
        for name, unit, factor in (
            ("epoch", "s", 1.0), ("one user", "ms", 1000.0), ("all users", "s", 1.0)
        ):  # fmt: skip
            told = rounds.spread([factor * result[name] for result in results])
            print(f"| {side} | {name} | {told} {unit} | {BARS[name]} |")


def time_side(side):
    """Return processor seconds of an epoch; seconds of `recommend` for one user and for all."""
    import deepgen as dg

    X, ends = dg.datasets.load_movielens("1m").train, []
    model = dg.RatingsRBM(
        N_HIDDEN, rows=side, n_epochs=4, random_state=0, n_threads=1,
        callbacks=[lambda report: ends.append(time.process_time())],
    ).fit(X)  # fmt: skip
    model.n_threads = None
    model.recommend(X[:1], users=[0])
    alone = []
    for user in range(N_ONE):
        row, began = X[user : user + 1], time.perf_counter()
        model.recommend(row, users=[user])
        alone.append(time.perf_counter() - began)
    began = time.perf_counter()
    model.recommend(X)
    return {
        "epoch": statistics.median(np.diff(ends)),
        "one user": statistics.median(alone), "all users": time.perf_counter() - began,
    }  # fmt: skip


def run_mapped(*, share, n_threads):
    """Draw ratings like Netflix's into a file, learn from it for one epoch, print a table."""
    n_users, n_items, n_ratings = int(NETFLIX[0] * share), NETFLIX[1], int(NETFLIX[2] * share)
    print(*machine.describe(n_threads), sep="\n")
    with tempfile.TemporaryDirectory(dir=os.environ.get("DEEPGEN_RUNS")) as folder:
        began = time.perf_counter()
        drawn = write_ratings(Path(folder), n_users, n_items, n_ratings)
        print(
            f"{drawn:,} ratings by {n_users:,} users of {n_items:,} films, drawn in "
            f"{time.perf_counter() - began:.0f} s into a file that is mapped; rows of users, "
            f"{N_HIDDEN} hidden units, one epoch; a fresh process, peak anonymous memory "
            "(RssAnon), packages included",
            flush=True,
        )
        found = fresh.call(time_mapped, n_threads=n_threads, timeout=TIMEOUT, folder=folder)
    print(
        "\n| ratings | an epoch, s | fit, s | peak RssAnon, GB | must / aim |\n"
        + "| --- " * 5 + "|\n"
        f"| {drawn:,} | {found['epoch']:.1f} | {found['fit']:.1f} | {found['peak'] / 1e9:.2f} | "
        f"{BARS['mapped']} |"
    )  # fmt: skip


def write_ratings(folder, n_users, n_items, n_ratings, seed=0):
    """Write ratings as the arrays of a CSR matrix into files of a folder; return their number.

    Films are rated as often as the power -0.9 of their rank says, no user rates one twice, and
    users have log-normal numbers of ratings. Stars are products of four factors, with biases and
    noise.

    Parameters
    ----------
    folder : Path
    n_users, n_items, n_ratings : int
        The number of ratings is met nearly.
    seed : int
    """
    rng = np.random.default_rng(seed)
    wanted = np.exp(rng.normal(0.0, 1.0, n_users))
    wanted = (1.0 + wanted / wanted.sum() * DRAWN * n_ratings).astype(np.int64)
    wanted = np.minimum(wanted, MOST)
    steps = np.cumsum(np.arange(1, n_items + 1) ** -0.9).astype(np.float32)
    names = rng.permutation(n_items).astype(np.int32)  # popular films are not neighbours
    factors = rng.normal(size=(n_items, 4)).astype(np.float32)
    biases = rng.normal(3.6, 0.4, n_items).astype(np.float32)
    starts = np.zeros(n_users + 1, np.int64)
    with open(folder / "indices.raw", "wb") as indices, open(folder / "data.raw", "wb") as data:
        for first in range(0, n_users, BLOCK):
            lengths = wanted[first : first + BLOCK]
            rows = np.repeat(np.arange(len(lengths)), lengths)
            drawn = rng.random(len(rows), np.float32) * steps[-1]
            columns = names[np.minimum(np.searchsorted(steps, drawn), n_items - 1)]
            rows, columns = np.divmod(np.unique(rows * n_items + columns), n_items)
            own = rng.normal(0.0, 0.35, (len(lengths), 4)).astype(np.float32)
            stars = biases[columns] + np.einsum("ij,ij->i", own[rows], factors[columns])
            stars += 0.8 * rng.standard_normal(len(rows), np.float32)
            indices.write(columns.astype(np.int32).tobytes())
            data.write(np.clip(np.round(stars), 1, 5).astype(np.uint8).tobytes())
            found = np.bincount(rows, minlength=len(lengths))
            starts[first + 1 : first + 1 + len(lengths)] = starts[first] + np.cumsum(found)
    for name, dtype in (("indices", np.int32), ("data", np.uint8)):
        _to_npy(folder / f"{name}.raw", folder / f"{name}.npy", dtype)
    np.save(folder / "indptr.npy", starts)
    np.save(folder / "shape.npy", np.array([n_users, n_items]))
    return int(starts[-1])


def _to_npy(raw, path, dtype):
    """Turn a file of numbers into one of NumPy, a piece at a time, and delete it."""
    whole = np.memmap(raw, dtype, "r")
    out = np.lib.format.open_memmap(path, "w+", dtype, whole.shape)
    for first in range(0, len(whole), 2**24):
        out[first : first + 2**24] = whole[first : first + 2**24]
    out.flush()
    raw.unlink()


def time_mapped(folder):
    """Learn for one epoch from a mapped file; return seconds and the peak of anonymous memory."""
    import deepgen as dg

    X = dg.map_csr(folder)
    model = dg.RatingsRBM(N_HIDDEN, rows="users", n_epochs=1, random_state=0)
    with AnonymousMemory(every=0.05) as memory:
        began = time.perf_counter()
        model.fit(X)
        seconds = time.perf_counter() - began
    return {"fit": seconds, "epoch": model.history_[0]["seconds"], "peak": memory.peak}
