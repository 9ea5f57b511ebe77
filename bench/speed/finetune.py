"""An epoch of fine-tuning by Adam: a deep classifier and a deep autoencoder."""

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from bench.speed import fresh, machine, rounds
from bench.speed.data import binary_digits

OURS = "deepgen"
BATCH_SIZES = (100, 1000)
LEARNING_RATE = 1e-3
TIMEOUT = 120  # seconds, for one process


@dataclass(frozen=True)
class Task:
    """A net of logistic hidden layers and what its outputs are judged by.

    Outputs are softmax probabilities of a class, or as many logistic units as there are inputs,
    whose targets are the inputs. The loss is cross-entropy, summed over outputs.
    """

    sizes: tuple
    is_classifier: bool

    @property
    def label(self):
        """The sizes, as tables show them."""
        return "-".join(map(str, self.sizes))


TASKS = {
    "classifier": Task((784, 500, 500, 2000, 10), True),
    "autoencoder": Task((784, 1000, 500, 250, 30, 250, 500, 1000, 784), False),
}


def run(*, n_rows, n_rounds, n_epochs, n_threads, peer_python):
    """Measure and print one Markdown table."""
    rows, origin = binary_digits(n_rows)
    print(*machine.describe(n_threads), sep="\n")
    print(f"data: {n_rows:,} rows of {rows.shape[1]} bits as float32; {origin}")
    print(
        f"Adam, rate {LEARNING_RATE}, no decay; logistic hidden units; cross-entropy; weights "
        "start as scikit-learn's do; classes: the largest of ten random linear functions of a row\n"
        f"{n_rounds} rounds, systems in turn, a fresh process each time; median (min..max) of the "
        f"rounds, which are medians of {n_epochs} epochs after one to warm up; ratios within a "
        "round; one thread: processor time, more: wall time; loss: mean over the last epoch"
    )
    print(
        "\n| net | rows a batch | threads | system | s / epoch | rows / s | loss | "
        f"system / {OURS} |\n" + "| --- " * 8 + "|",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "rows.npy")
        np.save(path, rows.astype(np.float32))
        for task in TASKS:
            for batch_size in BATCH_SIZES:
                for threads in sorted({1, n_threads}):
                    arguments = {
                        "path": path, "task": task, "batch_size": batch_size,
                        "n_epochs": n_epochs, "wall": threads > 1, "n_threads": threads,
                        "timeout": TIMEOUT,
                    }  # fmt: skip
                    _compare(n_rounds, n_rows, peer_python, arguments)


def _compare(n_rounds, n_rows, peer_python, arguments):
    def measure(name):
        python = peer_python if name == "torch" else sys.executable
        return fresh.call(time_epochs, python=python, name=name, **arguments)

    results = rounds.in_turn(measure, SYSTEMS, n_rounds)
    seconds = {name: [result["seconds"] for result in found] for name, found in results.items()}
    for name in results:
        print(
            f"| {TASKS[arguments['task']].label} | {arguments['batch_size']} "
            f"| {arguments['n_threads']} | {name} | {rounds.spread(seconds[name])} "
            f"| {n_rows / statistics.median(seconds[name]):,.0f} "
            f"| {results[name][-1]['loss']:.4f} "
            f"| {rounds.ratio(seconds[name], seconds.get(OURS))} |",
            flush=True,
        )


def time_epochs(name, path, task, batch_size, n_epochs, wall):
    """Train one system; called in a process of its own.

    Returns
    -------
    dict
        `seconds` an epoch, median of `n_epochs` after one to warm up, and the mean `loss` of the
        last epoch: a sign that all learned the same.
    """
    clock = time.perf_counter if wall else time.process_time
    rows = np.load(path)
    teacher = np.random.default_rng(1).standard_normal((rows.shape[1], 10), np.float32)
    classes = ((rows - rows.mean(axis=0)) @ teacher).argmax(axis=1)
    marks = []
    loss = SYSTEMS[name](
        TASKS[task], rows, classes, batch_size, 1 + n_epochs, lambda: marks.append(clock())
    )
    return {"seconds": statistics.median(np.diff(marks).tolist()), "loss": float(loss)}


def _first_weights(sizes):
    """Draw as scikit-learn does for logistic units (Glorot & Bengio 2010, its own factor)."""
    rng = np.random.default_rng(0)
    return [
        rng.uniform(-1.0, 1.0, (lower, upper)).astype(np.float32)
        * np.float32(np.sqrt(2.0 / (lower + upper)))
        for lower, upper in pairwise(sizes)
    ]


def train_deepgen(task, rows, classes, batch_size, n_epochs, on_epoch):
    """Run `NetworkTrainer`, as `DeepClassifier` and `DeepAutoencoder` do; return the last loss."""
    import deepgen as dg
    from deepgen.models import NetworkLayer
    from deepgen.rows.paired import PairedRows

    weights = _first_weights(task.sizes)
    kinds = ["logistic"] * (len(weights) - 1)
    kinds.append("softmax" if task.is_classifier else "logistic")
    trainer = dg.NetworkTrainer(
        dg.Network(
            NetworkLayer(kind, np.zeros(matrix.shape[1]), matrix)
            for kind, matrix in zip(kinds, weights, strict=True)
        ),
        dg.Objective(dg.SoftmaxCrossEntropy() if task.is_classifier else dg.CrossEntropy()),
        dg.Adam(weight_decay=0.0, averaging=0.0),
        LEARNING_RATE,
        stream=dg.Stream(0),
        batch_size=batch_size,
    )
    pairs = PairedRows(rows, classes if task.is_classifier else None)
    trainer.fit(pairs, n_epochs, callbacks=[lambda report: on_epoch()])
    return trainer.history[-1]["loss"]


def train_torch(task, rows, classes, batch_size, n_epochs, on_epoch):
    """Run the usual loop with the fused Adam, its fastest; return the last loss."""
    import torch
    from torch.nn import functional

    torch.manual_seed(0)
    modules = []
    for matrix in _first_weights(task.sizes):
        linear = torch.nn.Linear(*matrix.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(matrix.T))
            linear.bias.zero_()
        modules += [linear, torch.nn.Sigmoid()]
    net = torch.nn.Sequential(*modules[:-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
    X = torch.from_numpy(rows)
    targets = torch.from_numpy(classes) if task.is_classifier else X
    for _ in range(n_epochs):
        total = 0.0
        for chosen in torch.randperm(len(X)).split(batch_size):
            batch, target = X[chosen], targets[chosen]
            field = net(batch)
            if task.is_classifier:
                loss = functional.cross_entropy(field, target)
            else:
                loss = functional.binary_cross_entropy_with_logits(field, target, reduction="sum")
                loss = loss / len(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        on_epoch()
    return total / len(X)


def train_sklearn(task, rows, classes, batch_size, n_epochs, on_epoch):
    """Fit `MLPClassifier`; several labels a row make its outputs logistic. Return the last loss."""
    from sklearn.neural_network import MLPClassifier

    class ObservedMLP(MLPClassifier):
        def _update_no_improvement_count(self, *arguments):
            super()._update_no_improvement_count(*arguments)
            on_epoch()

    net = ObservedMLP(
        task.sizes[1:-1], activation="logistic", solver="adam", alpha=0.0, batch_size=batch_size,
        learning_rate_init=LEARNING_RATE, max_iter=n_epochs, n_iter_no_change=n_epochs + 1,
        random_state=0,
    )  # fmt: skip
    net.fit(rows, classes if task.is_classifier else rows.astype(int))
    return net.loss_


SYSTEMS = {OURS: train_deepgen, "torch": train_torch, "scikit-learn": train_sklearn}
