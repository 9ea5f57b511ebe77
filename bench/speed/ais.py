"""Annealed importance sampling of a trained 784-500 model: 100 chains, 14,500 temperatures."""

import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.speed import arithmetic, fresh, machine, peers, rounds, trained
from bench.speed.data import binary_digits

N_CHAINS = 100
TIMEOUT = 400  # seconds, for one process
OURS = "deepgen"


def run(*, n_betas, n_rounds, n_threads, peer_python):
    """Measure the table and print it as Markdown."""
    rows, origin = binary_digits(trained.N_ROWS)
    print(*machine.describe(n_threads), arithmetic.describe(), sep="\n")
    print(f"model: {rows.shape[1]}-{peers.N_HIDDEN}, {trained.DESCRIPTION}; {origin}")
    print(
        f"{N_CHAINS} chains, {n_betas:,} temperatures evenly from 0 to 1, from independent units "
        f"with the visible biases of the model; {n_rounds} rounds, systems in turn, a fresh "
        "process each time; median (min..max); ratios within a round",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.npz")
        trained.save_model(rows, path)

        def measure(name):
            return fresh.call(
                time_ais, python=peer_python if SYSTEMS[name][1] else sys.executable,
                n_threads=n_threads, timeout=TIMEOUT, name=name, path=path, n_betas=n_betas,
            )  # fmt: skip

        results = rounds.in_turn(measure, SYSTEMS, n_rounds)
    seconds = {name: [result["seconds"] for result in found] for name, found in results.items()}
    print(f"\n| system | s | log Z | system / {OURS} |\n| --- | --- | --- | --- |")
    for name in results:
        print(
            f"| {name} | {rounds.spread(seconds[name])} "
            f"| {statistics.median(result['log_z'] for result in results[name]):.2f} "
            f"| {rounds.ratio(seconds[name], seconds.get(OURS))} |"
        )


def time_ais(name, path, n_betas):
    """Estimate log Z by one system; called in a process of its own.

    Returns
    -------
    dict
        `seconds`, after a short run to warm up, and `log_z`: all must agree.
    """
    estimate = SYSTEMS[name][0](*trained.load_model(path))
    estimate(20)
    start = time.perf_counter()
    log_z = estimate(n_betas)
    return {"seconds": time.perf_counter() - start, "log_z": float(log_z)}


def deepgen_ais(weights, visible, hidden):
    """Call `deepgen.ais`."""
    import deepgen as dg

    model = trained.deepgen_model(weights, visible, hidden)

    def estimate(n_betas):
        betas = np.linspace(0.0, 1.0, n_betas)
        return dg.ais(model, n_chains=N_CHAINS, n_betas=betas, random_state=0).value

    return estimate


def numpy_ais(weights, visible, hidden):
    """Run the loop that one would write by hand, in float32 but for the log weights.

    Hidden units are summed out; one product serves the weights and the next hidden states.
    """
    rng = np.random.default_rng(0)

    def sample(field):
        np.negative(field, out=field)
        np.exp(field, out=field)
        field += 1
        u = rng.random(field.shape, dtype=np.float32)
        u *= field
        return (u < 1).astype(np.float32)

    def softplus(field):
        # no field of this model comes near 88, where float32 overflows
        return np.log(1 + np.exp(field)).sum(axis=1, dtype=np.float64)

    def estimate(n_betas):
        betas = np.linspace(0.0, 1.0, n_betas, dtype=np.float32)
        v = sample(np.tile(visible, (N_CHAINS, 1)))
        log_weights = np.zeros(N_CHAINS)
        for old, new in itertools.pairwise(betas):
            field = v @ weights + hidden
            tempered = new * field
            log_weights += softplus(tempered) - softplus(old * field)
            h = sample(tempered)
            v = sample(new * (h @ weights.T) + visible)
        top = log_weights.max()
        log_base = np.logaddexp(0, visible, dtype=np.float64).sum() + len(hidden) * np.log(2.0)
        return log_base + top + np.log(np.exp(log_weights - top).mean())

    return estimate


def torch_ais(weights, visible, hidden):
    """Run the loop of NumPy on PyTorch tensors, eagerly and in place."""
    import torch

    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    weights, visible, hidden = (torch.from_numpy(x) for x in (weights, visible, hidden))

    def sample(field):  # 2 to 3 times as fast as torch.bernoulli on a CPU
        mean = field.sigmoid_()
        return torch.rand_like(mean).lt_(mean)

    def softplus(field):
        return field.exp_().log1p_().sum(dim=1, dtype=torch.float64)

    def estimate(n_betas):
        betas = torch.linspace(0.0, 1.0, n_betas).tolist()
        v = sample(visible.tile(N_CHAINS, 1))
        log_weights = torch.zeros(N_CHAINS, dtype=torch.float64)
        for old, new in itertools.pairwise(betas):
            field = torch.addmm(hidden, v, weights)
            tempered = new * field
            log_weights += softplus(tempered.clone()) - softplus(field.mul_(old))
            h = sample(tempered)
            v = sample(torch.addmm(visible, h, weights.T, alpha=new))
        log_base = torch.logaddexp(torch.zeros(()), visible).sum(dtype=torch.float64)
        log_mean = torch.logsumexp(log_weights, 0) - np.log(N_CHAINS)
        return log_base + len(hidden) * np.log(2.0) + log_mean

    return estimate


def rbms_ais(weights, visible, hidden):
    """Call the AIS of `rbms`."""
    import torch
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.partition_function.ais import compute_partition_function_ais

    torch.manual_seed(0)
    model = BBRBM(
        weight_matrix=torch.from_numpy(weights),
        vbias=torch.from_numpy(visible),
        hbias=torch.from_numpy(hidden),
    )

    def estimate(n_betas):
        with torch.no_grad():
            return compute_partition_function_ais(N_CHAINS, n_betas, model)

    return estimate


# by name: estimator, and whether it needs the peers' interpreter
SYSTEMS = {
    "deepgen": (deepgen_ais, False),
    "numpy": (numpy_ais, False),
    "torch": (torch_ais, True),
    "rbms": (rbms_ais, True),
}
