"""Mean-field iterations and Gibbs sweeps a second of a deep Boltzmann machine 784-500-1000."""

import statistics
import sys
import time
from itertools import pairwise

import numpy as np

from bench.speed import fresh, machine, rounds
from bench.speed.data import binary_digits

OURS = "deepgen"
SIZES = (784, 500, 1000)
ROWS = (100, 500)
TIMEOUT = 120  # seconds, for one process
# Mean of the hidden units that the random machine gives, about that of a trained one.
HIDDEN_BIAS = -2.0


def run(*, n_steps, n_rounds, n_threads, peer_python):
    """Measure and print one Markdown table."""
    _, origin = binary_digits(10)
    print(*machine.describe(n_threads), sep="\n")
    print(
        f"model: {'-'.join(map(str, SIZES))}, normal weights of deviation 0.05, hidden biases "
        f"{HIDDEN_BIAS}; data: {origin}"
    )
    print(
        f"{n_rounds} rounds, systems in turn, a fresh process each time, float32; median "
        f"(min..max) of the rounds, each the median of 5 times {n_steps} steps; ratios within a "
        "round. Mean field: the field that the rows send is computed once, then both hidden layers "
        "in turn, no stop before the last iteration. Gibbs: the middle layer, then the outer ones. "
        "Mean: of the top layer, a sign that all did the same"
    )
    print(
        "\n| what | rows | system | steps / s | mean | system / deepgen, time |\n"
        + "| --- " * 6 + "|", flush=True,
    )  # fmt: skip
    for what in ("mean field", "Gibbs"):
        for n_rows in ROWS:

            def measure(name, what=what, n_rows=n_rows):
                return fresh.call(
                    time_steps, python=peer_python if name == "torch" else sys.executable,
                    name=name, what=what, n_rows=n_rows, n_steps=n_steps, n_threads=n_threads,
                    timeout=TIMEOUT,
                )  # fmt: skip

            results = rounds.in_turn(measure, SYSTEMS, n_rounds)
            seconds = {name: [r["seconds"] for r in found] for name, found in results.items()}
            for name, found in results.items():
                per_second = [n_steps / s for s in seconds[name]]
                print(
                    f"| {what} | {n_rows} | {name} | {rounds.spread(per_second)} "
                    f"| {found[-1]['mean']:.3f} "
                    f"| {rounds.ratio(seconds[name], seconds.get(OURS))} |",
                    flush=True,
                )


def _machine():
    """Return biases and weights."""
    rng = np.random.default_rng(0)
    biases = [np.zeros(SIZES[0], np.float32)]
    biases += [np.full(size, HIDDEN_BIAS, np.float32) for size in SIZES[1:]]
    weights = [
        (0.05 * rng.standard_normal((lower, upper))).astype(np.float32)
        for lower, upper in pairwise(SIZES)
    ]
    return biases, weights


def time_steps(name, what, n_rows, n_steps):
    """Time steps of one system; called in a process of its own.

    Returns
    -------
    dict
        Median `seconds` of five times `n_steps` steps after one to warm up, and the `mean` of
        the top layer after the last.
    """
    rows, _ = binary_digits(n_rows)
    step = SYSTEMS[name](what, rows)
    found = []
    for _ in range(6):
        began = time.perf_counter()
        mean = step(n_steps)
        found.append(time.perf_counter() - began)
    return {"seconds": statistics.median(found[1:]), "mean": float(mean)}


def ours(what, rows):
    """Run the package's functions."""
    import deepgen as dg

    biases, weights = _machine()
    model = dg.BoltzmannMachine([dg.Binary(bias=bias) for bias in biases], weights)
    if what == "mean field":

        def step(n_steps):
            until = dg.FixedPoint(max_sweeps=n_steps, tol=0.0)
            return dg.mean_field(model, [rows, None, None], until=until).means[2].mean()

        return step
    states = [rows, *(np.zeros((len(rows), size), np.uint8) for size in SIZES[1:])]

    def step(n_steps):
        particles = dg.gibbs(model, dg.Particles(states), n_steps, random_state=0)
        states[:] = particles.states
        return states[2].mean()

    return step


def numpy_loop(what, rows):
    """Run the same loop in NumPy, float32, as it is usually written."""
    biases, weights = _machine()
    rng, v = np.random.default_rng(0), rows.astype(np.float32)

    def logistic(field):
        return 1.0 / (1.0 + np.exp(-field))

    def draw(mean):
        return (rng.random(mean.shape, dtype=np.float32) < mean).astype(np.float32)

    if what == "mean field":

        def step(n_steps):
            below = v @ weights[0] + biases[1]
            h1 = logistic(below + v @ weights[0])
            h2 = logistic(h1 @ weights[1] + biases[2])
            for _ in range(n_steps):
                h1 = logistic(below + h2 @ weights[1].T)
                h2 = logistic(h1 @ weights[1] + biases[2])
            return h2.mean()

        return step
    states = [v, np.zeros((len(v), SIZES[2]), np.float32)]

    def step(n_steps):
        for _ in range(n_steps):
            h1 = draw(logistic(states[0] @ weights[0] + states[1] @ weights[1].T + biases[1]))
            states[0] = draw(logistic(h1 @ weights[0].T + biases[0]))
            states[1] = draw(logistic(h1 @ weights[1] + biases[2]))
        return states[1].mean()

    return step


def torch_loop(what, rows):
    """Run the same loop in torch, in place where that is faster, without gradients."""
    import torch

    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    biases, weights = ([torch.from_numpy(x) for x in part] for part in _machine())
    v = torch.from_numpy(rows.astype(np.float32))

    def draw(field):
        return torch.bernoulli(field.sigmoid_())

    if what == "mean field":

        def step(n_steps):
            below = torch.addmm(biases[1], v, weights[0])
            h1 = torch.sigmoid(torch.addmm(below, v, weights[0]))
            h2 = torch.addmm(biases[2], h1, weights[1]).sigmoid_()
            for _ in range(n_steps):
                h1 = torch.addmm(below, h2, weights[1].T).sigmoid_()
                h2 = torch.addmm(biases[2], h1, weights[1]).sigmoid_()
            return h2.mean()

        return step
    states = [v, torch.zeros((len(v), SIZES[2]))]

    def step(n_steps):
        for _ in range(n_steps):
            field = torch.addmm(biases[1], states[0], weights[0])
            h1 = draw(field.addmm_(states[1], weights[1].T))
            states[0] = draw(torch.addmm(biases[0], h1, weights[0].T))
            states[1] = draw(torch.addmm(biases[2], h1, weights[1]))
        return states[1].mean()

    return step


SYSTEMS = {OURS: ours, "NumPy": numpy_loop, "torch": torch_loop}
