"""Run kernels on random shapes, and compare all instruction sets and threads bit by bit.

    python tools/random_shapes.py --seconds 600

Sizes lie around those at which kernels change their way: tiles of 32, panels of 128 and 256, chunks
of 1024; `--largest` leaves out those beyond it, for more cases in the same time. Each case is a
machine of two to four layers and rows in one storage: a few sweeps, free energies or mean field,
updates of an RBM and of a network; then one model of another kind: a deep machine, ratings,
documents, frames or a mixture. Its bits must be the same from each instruction set, for one and for
three threads. Run it with the sanitizers too (CONTRIBUTING.md), where a read beyond an array ends
the process.
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


def one_of(sizes, rng, largest):
    """Return one of the sizes up to the largest one that is asked for."""
    return int(rng.choice([size for size in sizes if size <= largest]))


def machine_of(rng, largest):
    """Return a machine of two to four layers."""
    n_layers = int(rng.choice((2, 2, 2, 3, 4)))
    layers = [layer_of(rng, one_of(SIZES, rng, largest), real=l == 0) for l in range(n_layers)]
    scale = rng.choice((0.0, 0.01, 0.3, 30.0))
    weights = [scale * rng.normal(size=(a.size, b.size)) for a, b in pairwise(layers)]
    return dg.BoltzmannMachine(layers, weights)


def case(number, largest):
    """Return a function that gives the bits of case `number`, whatever the instruction set."""
    rng = np.random.default_rng((20, number))
    model, n_rows = machine_of(rng, largest), one_of(ROWS, rng, largest)
    n_sweeps, seed = int(rng.integers(1, 4)), int(rng.integers(2**31))
    storage, batch_size = int(rng.integers(3)), int(rng.choice((7, 30, 100, 1024)))
    start = [states_of(layer, n_rows, rng) for layer in model.layers]
    name = str(rng.choice(list(KINDS)))
    other = KINDS[name](rng, largest)

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
        arrays += other(n_threads)
        return [np.asarray(array).tobytes() for array in arrays]

    words = f"{model!r}, {n_rows} rows, storage {storage}, batches of {batch_size}; {name}"
    return bits, words


def deep_machine(rng, largest):
    """Return a function from threads to what a deep machine learns from random bits."""
    X = bits_of(rng, largest)
    sizes = tuple(one_of(SIZES, rng, min(largest, 130)) for _ in range(rng.integers(2, 4)))
    rule = dg.MeanFieldPCD(n_particles=one_of(ROWS, rng, min(largest, 130)))
    few = few_updates(rng)

    def found(n_threads):
        dbm = dg.DBM(
            sizes, rule=rule, pretrained=dg.Pretraining(n_epochs=1), n_threads=n_threads, **few
        ).fit(X)
        return [*dbm.model_.weights, dbm.transform(X[:5])]

    return found


def ratings(rng, largest):
    """Return a function from threads to what a machine of ratings learns and predicts."""
    n_users, n_items = one_of(ROWS, rng, largest) + 2, one_of(SIZES, rng, largest) + 1
    stars = rng.integers(1, rng.integers(3, 9), (n_users, n_items))
    X = sparse.csr_array(stars * (rng.random(stars.shape) < rng.choice((0.05, 0.5))))
    X[0, 0], X[1, 0] = 1, 2
    n_hidden, seed = one_of(SIZES, rng, min(largest, 130)), int(rng.integers(2**31))
    rule = rng.choice((dg.CD(2), dg.PCD(), dg.MaskedPrediction()))

    def found(n_threads):
        rbm = dg.RatingsRBM(
            n_hidden, rule=rule, n_epochs=1, random_state=seed, n_threads=n_threads
        ).fit(X)
        return [rbm.model_.weights, *rbm.recommend(n=3, users=[0, 1])]

    return found


def documents(rng, largest):
    """Return a function from threads to what a machine of documents learns."""
    X = rng.poisson(0.3, (one_of(ROWS, rng, largest) + 1, one_of(SIZES, rng, largest) + 1))
    X[:, 0] += 1
    n_hidden, few = one_of(SIZES, rng, min(largest, 130)), few_updates(rng)

    def found(n_threads):
        rbm = dg.ReplicatedSoftmax(n_hidden, n_threads=n_threads, **few).fit(sparse.csr_array(X))
        return [rbm.model_.weights[0], rbm.transform(sparse.csr_array(X[:5]))]

    return found


def frames(rng, largest):
    """Return a function from threads to what a machine of frames learns and predicts."""
    X = bits_of(rng, min(largest, 65))
    cut = int(rng.integers(len(X) + 1))
    pieces = [piece for piece in (X[:cut], X[cut:]) if len(piece)]
    recurrence = str(rng.choice(("window", "rnn", "rtrbm")))
    n_hidden, few = one_of(SIZES, rng, min(largest, 65)), few_updates(rng)
    few["batch_size"] = 2

    def found(n_threads):
        rbm = dg.TemporalRBM(n_hidden, recurrence=recurrence, n_threads=n_threads, **few)
        rbm.fit(pieces)
        return [rbm.model_.machine.weights[0], *rbm.predict(pieces)]

    return found


def mixture(rng, largest):
    """Return a function from threads to what a mixture learns."""
    X, few = bits_of(rng, largest), few_updates(rng)
    n_components = min(one_of(SIZES, rng, 17), len(X))
    seed = few["random_state"]

    def found(n_threads):
        fitted = dg.MixtureOfBernoullis(
            n_components, max_iter=3, random_state=seed, n_threads=n_threads
        ).fit(X)
        return [fitted.score_samples(X)]

    return found


def bits_of(rng, largest):
    """Return rows of bits."""
    shape = one_of(ROWS, rng, largest) + 1, one_of(SIZES, rng, largest)
    return (rng.random(shape) < rng.choice((0.1, 0.5))).astype(np.uint8)


def few_updates(rng):
    """Return settings of a short run."""
    return {
        "n_epochs": 1, "batch_size": int(rng.choice((1, 7, 30, 100))), "learning_rate": 1e-3,
        "random_state": int(rng.integers(2**31)),
    }  # fmt: skip


KINDS = {
    "a deep machine": deep_machine, "ratings": ratings, "documents": documents, "frames": frames,
    "a mixture": mixture,
}  # fmt: skip


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
    parser.add_argument("--largest", type=int, default=max(ROWS), help="size of layers, of rows")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    end, number, wrong = time.monotonic() + arguments.seconds, arguments.first, 0
    names = engine.available_backends()
    while time.monotonic() < end:
        bits, words = case(number, arguments.largest)
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
