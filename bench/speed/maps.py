"""Answers of a model for many rows: `map_rows` on worker processes beside one call, equal bits."""

import hashlib
import os
import tempfile
import time
from pathlib import Path

import numpy as np

import deepgen as dg
from bench.speed import machine
from bench.speed.data import N_PIXELS

N_HIDDEN = 500
CHUNK = 50_000  # rows of a partition
METHODS = ("free_energy", "transform")


def run(*, n_rows, n_workers):
    """Measure both ways for each method, compare their bits, and print Markdown."""
    import dask

    print(*machine.describe(1), sep="\n")
    print(
        f"{n_rows:,} rows of {N_PIXELS} bits in a file, {N_HIDDEN} hidden units, partitions of "
        f"{CHUNK:,} rows; {n_workers} worker processes of one thread (their start, and each "
        "reading the model, included) beside one call on one thread; a digest of each partition's "
        "answers is compared\n\n"
        "| method | one call, s | rows / s | workers, s | rows / s | ratio | equal bits |\n"
        "| --- | --- | --- | --- | --- | --- | --- |",
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=os.environ.get("DEEPGEN_RUNS")) as folder:
        path, model = Path(folder) / "rows.npy", Path(folder) / "rbm.safetensors"
        rows = _write(path, n_rows)
        dg.RBM(N_HIDDEN, n_epochs=1, random_state=0, n_threads=1).fit(rows[:20_000]).save(model)
        for method in METHODS:
            began = time.perf_counter()
            answers = getattr(dg.load(model).set_params(n_threads=1), method)(rows)
            alone = time.perf_counter() - began
            wanted = [digest(answers[at : at + CHUNK]) for at in range(0, n_rows, CHUNK)]
            del answers
            began = time.perf_counter()
            pieces = dg.distributed.map_rows(model, method, _dask_rows(path, n_rows))
            ones = ((1,) * pieces.numblocks[0], *((1,) for _ in pieces.shape[1:]))
            digests = pieces.map_blocks(_digest_block, chunks=ones, dtype=object)
            with dask.config.set(scheduler="processes", num_workers=n_workers):
                found = digests.compute().ravel().tolist()
            shared = time.perf_counter() - began
            print(
                f"| `{method}` | {alone:.1f} | {n_rows / alone:,.0f} | {shared:.1f} "
                f"| {n_rows / shared:,.0f} | {alone / shared:.2f} "
                f"| {'yes' if found == wanted else 'NO'} |",
                flush=True,
            )


def digest(x):
    """Return a digest of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(x)).hexdigest()


def _digest_block(x):
    return np.full((1,) * x.ndim, digest(x), object)


def _read(path, block_info=None):
    """Return the rows of a partition, in the process that needs them."""
    (start, stop), _ = block_info[None]["array-location"]
    return np.array(np.load(path, mmap_mode="r")[start:stop])


def _write(path, n_rows):
    """Write random rows, a quarter of their bits one, and return them as they lie in the file."""
    rng = np.random.default_rng(0)
    rows = np.lib.format.open_memmap(path, "w+", np.uint8, (n_rows, N_PIXELS))
    for start in range(0, n_rows, CHUNK):
        some = rows[start : start + CHUNK]
        bits = rng.integers(0, 256, some.size // 4 + 1, dtype=np.uint8)  # two draws of two bits
        pairs = (bits[:, None] >> np.arange(0, 8, 2, dtype=np.uint8)) & 3
        some[:] = (pairs.ravel()[: some.size] == 3).reshape(some.shape)
    rows.flush()
    return np.load(path, mmap_mode="r")


def _dask_rows(path, n_rows):
    """Return the rows as a Dask array whose partitions are read where they are used."""
    import dask.array as da

    sizes = tuple(min(CHUNK, n_rows - start) for start in range(0, n_rows, CHUNK))
    return da.map_blocks(
        _read, str(path), chunks=(sizes, (N_PIXELS,)), meta=np.empty((0, 0), np.uint8)
    )
