"""Gibbs chains at 784-500: PCD-1 with 100 and 2,000 particles, and sweeps of 1,000 chains."""

import functools
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.speed import arithmetic, fresh, machine, pcd, peers, rounds, trained
from bench.speed.data import binary_digits

OURS = "deepgen"
PARTICLES = (100, 2_000)
N_CHAINS = 1_000
N_REPEATS = 5
TIMEOUT = 300  # seconds, for one process


def run(*, n_updates, n_sweeps, n_rounds, n_threads, peer_python):
    """Measure both tables and print them as Markdown."""
    rows, origin = binary_digits(trained.N_ROWS)
    print(*machine.describe(n_threads), arithmetic.describe(), sep="\n")
    print(f"data: {origin}")
    print(
        f"{n_rounds} rounds, systems in turn, a fresh process each time; median (min..max) of the "
        "rounds; ratios within a round",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        common = {"n_threads": n_threads, "timeout": TIMEOUT}
        _compare_updates(folder, rows, n_updates, n_rounds, peer_python, common)
        _compare_sweeps(folder, rows, n_sweeps, n_rounds, peer_python, common)


# --- updates ----------------------------------------------------------------------------------


def time_updates(name, path, n_particles):
    """Train one system for two epochs, the second timed: see `peers.timed_epochs`."""
    train = functools.partial(pcd.SYSTEMS[name][0], n_particles=n_particles)
    return peers.timed_epochs(train, path, n_epochs=1)


def _compare_updates(folder, rows, n_updates, n_rounds, peer_python, common):
    rows = rows[: n_updates * peers.BATCH_SIZE]
    for _, dtype, _ in pcd.SYSTEMS.values():
        np.save(Path(folder) / f"rows-{dtype}.npy", rows.astype(dtype))
    print(
        f"\nPCD-1, {rows.shape[1]}-{peers.N_HIDDEN}, batches of {peers.BATCH_SIZE}, learning rate "
        f"{peers.LEARNING_RATE}, momentum {peers.MOMENTUM}, weight decay {peers.WEIGHT_DECAY:g}; "
        f"the second {n_updates} updates; error: mean squared, of reconstructed bits; active: "
        "mean of hidden units"
    )
    print(
        f"\n| particles | system | s / {n_updates} updates | updates / s | error | active "
        f"| system / {OURS} |\n" + "| --- " * 7 + "|",
        flush=True,
    )
    for n_particles in PARTICLES:

        def measure(name, n_particles=n_particles):
            _, dtype, needs_torch = pcd.SYSTEMS[name]
            return fresh.call(
                time_updates, python=peer_python if needs_torch else sys.executable, name=name,
                path=str(Path(folder) / f"rows-{dtype}.npy"), n_particles=n_particles, **common,
            )  # fmt: skip

        results = rounds.in_turn(measure, pcd.SYSTEMS, n_rounds)
        seconds = {name: [result["seconds"] for result in found] for name, found in results.items()}
        for name, found in results.items():
            print(
                f"| {n_particles:,} | {name} | {rounds.spread(seconds[name])} "
                f"| {n_updates / statistics.median(seconds[name]):,.0f} "
                f"| {found[-1]['error']:.4f} | {found[-1]['active']:.3f} "
                f"| {rounds.ratio(seconds[name], seconds.get(OURS))} |",
                flush=True,
            )


# --- sweeps -----------------------------------------------------------------------------------


def time_sweeps(name, model_path, rows_path, n_sweeps):
    """Sweep over chains that start at rows; called in a process of its own.

    Returns
    -------
    dict
        Median `seconds` of some times `n_sweeps` sweeps after one to warm up, and the means of
        the `visible` and `hidden` states of the last sweep: all must agree.
    """
    sweep = SAMPLERS[name][0](*trained.load_model(model_path), np.load(rows_path))
    found = []
    for _ in range(1 + N_REPEATS):
        start = time.perf_counter()
        v, h = sweep(n_sweeps)
        found.append(time.perf_counter() - start)
    return {
        "seconds": statistics.median(found[1:]),
        "visible": float(v.mean()),
        "hidden": float(h.mean()),
    }


def _compare_sweeps(folder, rows, n_sweeps, n_rounds, peer_python, common):
    paths = {name: str(Path(folder) / name) for name in ("model.npz", "chains.npy")}
    trained.save_model(rows, paths["model.npz"])
    np.save(paths["chains.npy"], rows[:N_CHAINS])
    print(
        f"\nGibbs, {N_CHAINS:,} chains, {rows.shape[1]}-{peers.N_HIDDEN}, {trained.DESCRIPTION}; "
        f"chains start at rows; median of {N_REPEATS} times {n_sweeps} sweeps of both layers; "
        "visible, hidden: mean of the last states"
    )

    def measure(name):
        return fresh.call(
            time_sweeps, python=peer_python if SAMPLERS[name][1] else sys.executable, name=name,
            model_path=paths["model.npz"], rows_path=paths["chains.npy"], n_sweeps=n_sweeps,
            **common,
        )  # fmt: skip

    results = rounds.in_turn(measure, SAMPLERS, n_rounds)
    seconds = {name: [result["seconds"] for result in found] for name, found in results.items()}
    print(
        f"\n| system | sweeps / s | visible | hidden | system / {OURS}, time |\n"
        + "| --- " * 5 + "|"
    )  # fmt: skip
    for name, found in results.items():
        print(
            f"| {name} | {rounds.spread([n_sweeps / value for value in seconds[name]])} "
            f"| {found[-1]['visible']:.3f} | {found[-1]['hidden']:.3f} "
            f"| {rounds.ratio(seconds[name], seconds.get(OURS))} |"
        )


def deepgen_sampler(weights, visible, hidden, rows):
    """Call `deepgen.gibbs`."""
    import deepgen as dg

    model, stream = trained.deepgen_model(weights, visible, hidden), dg.Stream(0)
    states = [rows, np.zeros((len(rows), len(hidden)), np.uint8)]
    n_done = 0

    def sweep(n_sweeps):
        nonlocal n_done
        particles = dg.gibbs(
            model, dg.Particles(states), n_sweeps, random_state=stream.advanced(n_done)
        )
        n_done += n_sweeps
        states[:] = particles.states
        return states

    return sweep


def numpy_sampler(weights, visible, hidden, rows):
    """Run the loop that one would write by hand, in float32 throughout."""
    rng = np.random.default_rng(0)
    states = [rows.astype(np.float32), None]

    def sample(mean):
        return (rng.random(mean.shape, dtype=np.float32) < mean).astype(np.float32)

    def sweep(n_sweeps):
        v, h = states
        for _ in range(n_sweeps):
            h = sample(peers.logistic(v @ weights + hidden))
            v = sample(peers.logistic(h @ weights.T + visible))
        states[:] = v, h
        return states

    return sweep


def torch_sampler(weights, visible, hidden, rows):
    """Run the same loop on PyTorch tensors, eagerly and in place."""
    import torch

    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    weights, visible, hidden = (torch.from_numpy(x) for x in (weights, visible, hidden))
    states = [torch.from_numpy(rows.astype(np.float32)), torch.empty(len(rows), len(hidden))]
    v, h = states
    v_mean, h_mean = torch.empty_like(v), torch.empty_like(h)

    def sweep(n_sweeps):
        for _ in range(n_sweeps):
            torch.addmm(hidden, v, weights, out=h_mean).sigmoid_()
            h.uniform_().lt_(h_mean)
            torch.addmm(visible, h, weights.T, out=v_mean).sigmoid_()
            v.uniform_().lt_(v_mean)
        return states

    return sweep


# by name: sampler, and whether it needs the peers' interpreter
SAMPLERS = {
    "deepgen": (deepgen_sampler, False),
    "numpy": (numpy_sampler, False),
    "torch": (torch_sampler, True),
}
