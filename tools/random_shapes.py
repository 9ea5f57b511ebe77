"""Run kernels on random shapes, and compare all instruction sets and threads bit by bit.

    python tools/random_shapes.py --seconds 600

Sizes lie around those at which kernels change their way: tiles of 32, panels of 128 and 256, chunks
of 1024. Each case is a machine of two to four layers and rows in one storage: a few sweeps, free
energies or mean field, updates of an RBM and of a network. Its bits must be the same from each
instruction set, for one and for three threads. Run it with the sanitizers too (CONTRIBUTING.md),
where a read beyond an array ends the process.
"""

import argparse
import sys
import time
import warnings
from itertools import pairwise

import numpy as np
from deepgen._kernels import engine
from scipy import sparse

import deepgen as dg

SIZES = (1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 500)
ROWS = (1, 2, 3, 11, 12, 13, 31, 33, 100, 127, 129, 255, 257, 300, 1025)


def layer_of(rng, size, *, real):
    """Return units of a random type, about `size` of them."""
    bias = rng.normal(size=size)
    kind = rng.integers(4 if real else 3)
    if kind == 0:
        return dg.Binary(bias=bias)
    if kind == 1:
        return dg.Binary(bias=bias, n_copies=int(rng.integers(2, 5)))
    if kind == 2:
        group = int(rng.integers(2, 41))
        n = max(1, size // group)
        return dg.Softmax(group, bias=rng.normal(size=n * group))
    return dg.Gaussian(bias=bias, log_precision=rng.normal(size=size) * 0.3)


def machine_of(rng):
    """Return a machine of two to four layers."""
    n_layers = int(rng.choice((2, 2, 2, 3, 4)))
    layers = [layer_of(rng, int(rng.choice(SIZES)), real=l == 0) for l in range(n_layers)]
    scale = rng.choice((0.0, 0.01, 0.3, 30.0))
    weights = [scale * rng.normal(size=(a.size, b.size)) for a, b in pairwise(layers)]
    return dg.BoltzmannMachine(layers, weights)


def case(number):
    """Return a function that gives the bits of case `number`, whatever the instruction set."""
    rng = np.random.default_rng((20, number))
    model, n_rows = machine_of(rng), int(rng.choice(ROWS))
    n_sweeps, seed = int(rng.integers(1, 4)), int(rng.integers(2**31))
    storage, batch_size = int(rng.integers(3)), int(rng.choice((7, 30, 100, 1024)))
    start = [states_of(layer, n_rows, rng) for layer in model.layers]

    def bits(n_threads):
        X = start[0]
        if storage == 1:
            X = sparse.csr_array(X)
        elif storage == 2:
            X = X.astype(np.float32)
        particles = dg.Particles([x.copy() for x in start])
        found = dg.gibbs(model, particles, n_sweeps, random_state=seed, n_threads=n_threads)
        arrays = list(found.states)
        if model.n_layers == 2:
            arrays.append(dg.free_energy(model, X, n_threads=n_threads))
        else:
            states = [X, *[None] * (model.n_layers - 1)]
            means = dg.mean_field(model, states, until=dg.FixedPoint(5), n_threads=n_threads)
            arrays += means.means[1:]
        visible, hidden = model.layers[:2]
        few = {
            "n_epochs": 1, "batch_size": batch_size, "random_state": seed, "n_threads": n_threads,
            "learning_rate": 1e-3,
        }  # fmt: skip
        units = "gaussian" if isinstance(visible, dg.Gaussian) else visible
        rbm = dg.RBM(min(hidden.size, 130), visible=units, rule="cd", **few).fit(X)
        arrays += [rbm.model_.weights[0], rbm.transform(X)]
        if visible.n_copies == 1:
            network = dg.Autoencoder(5, visible=units, **few).fit(X)
            arrays.append(network.transform(X))
        return [np.asarray(array).tobytes() for array in arrays]

    return bits, f"{model!r}, {n_rows} rows, storage {storage}, batches of {batch_size}"


def states_of(layer, n_rows, rng):
    """Return rows of states, some of them zero."""
    if isinstance(layer, dg.Softmax):
        chosen = rng.integers(0, layer.group, (n_rows, layer.size // layer.group))
        return np.eye(layer.group, dtype=np.uint8)[chosen].reshape(n_rows, layer.size)
    if isinstance(layer, dg.Gaussian):
        return rng.normal(size=(n_rows, layer.size)).astype(np.float32)
    share = rng.choice((0.02, 0.2, 0.9))
    drawn = rng.integers(1, layer.n_copies + 1, (n_rows, layer.size))
    return (drawn * (rng.random(drawn.shape) < share)).astype(np.uint8)


def main():
    """Run cases until the time is over; the exit code is 1 where bits differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    end, number, wrong = time.monotonic() + arguments.seconds, arguments.first, 0
    names = engine.available_backends()
    while time.monotonic() < end:
        bits, words = case(number)
        found = {}
        for name in names:
            engine.select_backend(name)
            for n_threads in (1, 3):
                found[name, n_threads] = bits(n_threads)
        if any(one != found["generic", 1] for one in found.values()):
            wrong += 1
            others = [key for key, one in found.items() if one != found["generic", 1]]
            print(f"case {number}: other bits from {others}: {words}", flush=True)
        number += 1
    n = number - arguments.first
    print(f"{n} cases of {len(names)} instruction sets, 1 and 3 threads: {wrong} differ")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
