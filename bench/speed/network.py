"""Forward and backward pass of a deep autoencoder beside the same products by NumPy's BLAS."""

import time
from itertools import pairwise

import numpy as np
import threadpoolctl

from bench.speed.machine import describe
from deepgen.models import Network, NetworkLayer, NetworkParameters, backprop
from deepgen.runtime.work import Work

SIZES = (784, 1000, 500, 250, 30, 250, 500, 1000, 784)


def _network(rng):
    return Network(
        NetworkLayer("logistic", np.zeros(upper), 0.03 * rng.standard_normal((lower, upper)))
        for lower, upper in pairwise(SIZES)
    )


def _ours(network, X, delta, n_threads):
    parameters, work = NetworkParameters(network), Work(n_threads=n_threads).reusing()

    def run():
        kept = backprop.forward(parameters, X, work=work)
        backprop.backward(parameters, kept, delta.copy(), work=work)

    return run


def _blas(network, X, delta):
    weights = [layer.weights for layer in network.layers]
    biases = [layer.bias for layer in network.layers]

    def run():
        rows = [X]
        for matrix, bias in zip(weights, biases, strict=True):
            out = rows[-1] @ matrix
            out += bias
            np.negative(out, out=out)
            np.exp(out, out=out)
            out += 1.0
            np.reciprocal(out, out=out)
            rows.append(out)
        gradient = delta
        for l in range(len(weights) - 1, -1, -1):
            rows[l].T @ gradient
            gradient.sum(axis=0)
            if l:
                gradient = gradient @ weights[l].T
                gradient *= rows[l]
                gradient *= 1.0 - rows[l]

    return run


def _best(run, n, clock):
    run()
    times = []
    for _ in range(n):
        began = clock()
        run()
        times.append(clock() - began)
    return 1e3 * min(times)


def run(n_rounds, n_threads):
    """Print milliseconds, the best of many runs in several turns.

    On one thread processor time is counted, so that other jobs on the machine matter less.
    """
    print(*describe(n_threads), sep="\n")
    rng = np.random.default_rng(0)
    network = _network(rng)
    print("| rows | threads | deepgen, ms | NumPy's BLAS, ms | ratio |\n|" + " --- |" * 5)
    for n_rows in (100, 1000):
        X = rng.random((n_rows, SIZES[0]), np.float32)
        delta = (rng.standard_normal((n_rows, SIZES[-1])) / n_rows).astype(np.float32)
        for threads in sorted({1, n_threads}):
            clock = time.process_time if threads == 1 else time.perf_counter
            with threadpoolctl.threadpool_limits(threads, user_api="blas"):
                pairs = [
                    (
                        _best(_ours(network, X, delta, threads), 2_000 // n_rows, clock),
                        _best(_blas(network, X, delta), 2_000 // n_rows, clock),
                    )
                    for _ in range(n_rounds)
                ]
            ours, blas = (min(column) for column in zip(*pairs, strict=True))
            print(f"| {n_rows} | {threads} | {ours:.1f} | {blas:.1f} | {ours / blas:.2f} |")
