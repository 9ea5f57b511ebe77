"""The README's table of speed: how many times as long as deepgen others take, in one run."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.speed import (
    ais,
    arithmetic,
    dbm,
    finetune,
    fresh,
    gibbs,
    machine,
    pcd,
    peers,
    rbm,
    rounds,
    trained,
)
from bench.speed.data import binary_digits

OURS = "deepgen"
COLUMNS = ("NumPy", "torch", "scikit-learn", "rbms")
TIMEOUT = 400  # seconds, for one process


def run(*, n_rounds, n_threads, peer_python, quick):
    """Measure all comparisons and print one Markdown table."""
    rows, origin = binary_digits(6_000 if quick else 60_000)
    print(*machine.describe(n_threads), arithmetic.describe(), sep="\n")
    print(
        f"data: {len(rows):,} rows; {origin}; {n_rounds} rounds, systems in turn, a fresh process "
        "each time; how many times as long as deepgen a system takes: median (min..max) of the "
        "ratios within a round",
        flush=True,
    )
    print(f"\n| what | {' | '.join(COLUMNS)} |\n" + "| --- " * (len(COLUMNS) + 1) + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        _save(rows, Path(folder))
        for label, function, names, arguments in comparisons(Path(folder), quick):

            def measure(name, function=function, arguments=arguments):
                needs_torch = name in ("torch", "rbms")
                return fresh.call(
                    function, python=peer_python if needs_torch else sys.executable, name=name,
                    n_threads=n_threads, timeout=TIMEOUT, **arguments(name),
                )  # fmt: skip

            print(row(label, rounds.in_turn(measure, names, n_rounds)), flush=True)


def row(label, results):
    """Return a row of the table from the results of a comparison, lists by system."""
    seconds = {
        name.lower(): [result["seconds"] for result in found] for name, found in results.items()
    }
    ratios = [rounds.ratio(seconds.get(name.lower()), seconds.get(OURS)) for name in COLUMNS]
    return f"| {label} | {' | '.join(ratios)} |"


def _save(rows, folder):
    for dtype in ("uint8", "float32", "float64"):
        np.save(folder / f"{dtype}.npy", rows.astype(dtype))
        np.save(folder / f"few-{dtype}.npy", rows[:6_000].astype(dtype))
    np.save(folder / "chains.npy", rows[: gibbs.N_CHAINS])
    trained.save_model(rows[: trained.N_ROWS], str(folder / "model.npz"))


def comparisons(folder, quick):
    """Yield what is compared: its name, a function that times a system, the names of the systems,
    and the arguments of that function by the system's name."""
    model, chains = str(folder / "model.npz"), str(folder / "chains.npy")
    yield "CD-1, 784-500, 100 rows a batch", rbm.time_epochs, list(peers.SYSTEMS), lambda name: {
        "path": str(folder / f"{peers.SYSTEMS[name].dtype}.npy"), "n_epochs": 1,
    }  # fmt: skip
    for n_particles in gibbs.PARTICLES:
        yield f"PCD-1, {n_particles:,} particles", gibbs.time_updates, list(pcd.SYSTEMS), (
            lambda name, n_particles=n_particles: {
                "path": str(folder / f"few-{pcd.SYSTEMS[name][1]}.npy"), "n_particles": n_particles,
            }
        )  # fmt: skip
    yield f"Gibbs, {gibbs.N_CHAINS:,} chains", gibbs.time_sweeps, list(gibbs.SAMPLERS), lambda _: {
        "model_path": model, "rows_path": chains, "n_sweeps": 10 if quick else 100,
    }  # fmt: skip
    yield "AIS, 100 chains", ais.time_ais, list(ais.SYSTEMS), lambda _: {
        "path": model, "n_betas": 1_500 if quick else 14_500,
    }  # fmt: skip
    for n_rows in dbm.ROWS:
        yield f"mean field, 784-500-1000, {n_rows} rows", dbm.time_steps, list(dbm.SYSTEMS), (
            lambda _, n_rows=n_rows: {
                "what": "mean field", "n_rows": n_rows, "n_steps": 10 if quick else 50,
            }
        )  # fmt: skip
    for task in finetune.TASKS:
        for size in finetune.BATCH_SIZES:
            label = f"Adam, {finetune.TASKS[task].label}, {size} rows"
            yield label, finetune.time_epochs, list(finetune.SYSTEMS), (
                lambda _, task=task, size=size: {
                    "path": str(folder / "few-float32.npy"), "task": task, "batch_size": size,
                    "n_epochs": 1 if quick else 3, "wall": True,
                }
            )  # fmt: skip
