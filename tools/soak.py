"""Feed single rows to a stream that is killed again and again: the same bits as one that never was.

    python tools/soak.py --rows 200000 --kills 50

A child process calls `partial_fit` with one row after the other, and `save_checkpoint` after 500
of them. It is killed by SIGKILL or SIGTERM at random times after it has begun, in the middle of
an update or of a file, and another one goes on from the checkpoint. At the end the model is
compared with that of a stream in this process, and the child's memory at its end with that after a
thousand rows.
"""

import argparse
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import deepgen as dg

EVERY = 500
SETTLED = 1_000  # rows after which a process takes no more memory
ALIVE = (0.5, 3.0)  # seconds from where a child has begun to its end
BEGUN = 120.0  # seconds that a child may take to begin
ALLOWED = 16 * 2**20  # bytes that it may grow by in spite of that


def stream():
    """Return an estimator that learns from each row by itself."""
    return dg.RBM(16, rule="cd", batch_size=1, learning_rate=0.01, random_state=0, n_threads=1)


def row(number):
    """Return row `number` of the stream."""
    rng = np.random.default_rng((7, number))
    return (rng.random((1, 24)) < rng.choice((0.1, 0.6))).astype(np.uint8)


def feed(path, n_rows, answer):
    """Go on from the checkpoint, if there is one, to the last row.

    Sends None before its first row, and at the end the weights and by how many bytes it has grown.
    """
    estimator, done = stream(), 0
    if path.exists():
        estimator.load_checkpoint(path)
        done = estimator.n_updates_
    answer.send(None)  # it has begun: imports can take longer than it is left alive
    first = None
    for number in range(done, n_rows):
        estimator.partial_fit(row(number))
        if (number + 1) % EVERY == 0:
            estimator.save_checkpoint(path)
        if number == done + SETTLED:
            first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = 0 if first is None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first
    answer.send((estimator.model_.weights[0].tobytes(), 1024 * grown))


def main():
    """Run the soak; the exit code is 1 where bits or memory are wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, context = random.Random(arguments.seed), multiprocessing.get_context("spawn")
    kills, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stream")
        while True:
            ours, theirs = context.Pipe(duplex=False)
            child = context.Process(target=feed, args=(path, arguments.rows, theirs))
            child.start()
            theirs.close()
            if ours.poll(BEGUN):
                ours.recv()
            else:
                sys.exit(f"a child did not begin within {BEGUN:g} s after {kills} kills")
            if kills < arguments.kills:
                child.join(rng.uniform(*ALIVE))
            else:
                child.join()
            if child.exitcode is None:
                kills += 1
                (child.kill if rng.random() < 0.7 else child.terminate)()
                child.join()
                continue
            if child.exitcode:
                sys.exit(f"a child ended with {child.exitcode} after {kills} kills")
            weights, grown = ours.recv()
            break
        left = [file.name for file in Path(folder).iterdir() if file.name != "stream"]
    seconds = time.monotonic() - began
    whole = stream()
    for number in range(arguments.rows):
        whole.partial_fit(row(number))
    same = whole.model_.weights[0].tobytes() == weights
    print(
        f"{arguments.rows} rows, {kills} kills, {seconds:.0f} s: "
        f"{'the same bits' if same else 'OTHER BITS'}, {grown} bytes grown, files left: {left}"
    )
    sys.exit(0 if same and grown < ALLOWED else 1)


if __name__ == "__main__":
    main()
