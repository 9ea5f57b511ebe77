"""Pseudo-labels: a network learns rows without labels by what the network before it says."""

import numpy as np

import deepgen as dg
from deepgen import backprop
from deepgen.fine_tuning import NetworkTrainer, Objective
from deepgen.losses import SoftmaxCrossEntropy
from deepgen.stream import Stream
from deepgen.unrolling import posterior_layers, random_layer

N_CLASSES = 10
# Rows of an epoch: known ones, as often as it takes, and others, drawn anew in each epoch.
N_KNOWN, N_OTHERS = 5_000, 20_000
# A class counts as a label from this probability on; rows without one cost nothing.
SURE = 0.95


class PseudoLabels:
    """Rows of an epoch, some with labels and others with those that a network gives them.

    Rows to learn from and a callback of the same run: each epoch reads the labels of the network
    that the epoch before ended with, without dropout (Lee 2013; that learning is noisy and the
    labels are not is the pseudo-ensemble of Bachman et al. 2014).

    Parameters
    ----------
    rows : ArrayRows
        All rows, as the networks read them.
    known : ndarray of shape (n_known,)
        Numbers of the rows that have a label.
    labels : ndarray of shape (n_known,)
        Theirs, 0 to 9.
    network : Network
        Whose labels the first epoch reads.
    """

    def __init__(self, rows, known, labels, network):
        self.rows, self.known, self.labels, self.network = rows, known, labels, network
        self.others = np.setdiff1d(np.arange(rows.n_rows), known)
        self.n_others = min(N_OTHERS, len(self.others))
        self.n_rows, self.n_columns = N_KNOWN + self.n_others, rows.n_columns

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch of pairs of states and targets."""
        rng, n_known = stream.generator("rows"), len(self.known)
        often = [rng.permutation(n_known) for _ in range(-(-N_KNOWN // n_known))]
        known = np.concatenate(often)[:N_KNOWN]
        others = rng.choice(self.others, self.n_others, replace=False)
        chosen = np.concatenate([self.known[known], others])
        targets = np.concatenate([one_hot(self.labels[known]), self.guessed(others)])
        order = rng.permutation(len(chosen))
        for first in range(skip * batch_size, len(order), batch_size):
            part = order[first : first + batch_size]
            yield self.rows.states(chosen[part]), targets[part]

    def guessed(self, chosen):
        """Return the targets of rows without labels: one-hot, or zeros where none is sure."""
        found = backprop.outputs(self.network, self.rows.states(chosen))
        return one_hot(found.argmax(axis=1)) * (found.max(axis=1, keepdims=True) >= SURE)

    def __call__(self, report):
        """Let the network of this epoch label the next one."""
        self.network = report.trainer.model()


def one_hot(labels):
    """Return class numbers as distributions, float32 of shape (n_rows, 10)."""
    return np.eye(N_CLASSES, dtype=np.float32)[labels]


def learned(machine, labelled, n_epochs, *, dropout, learning_rate, seed):
    """Return (network, seconds): started from the machine, it learns from pseudo-labels.

    Parameters
    ----------
    machine : BoltzmannMachine
        Of two hidden layers.
    labelled : PseudoLabels
    n_epochs : int
    dropout : dict
        Options of an Objective.
    learning_rate : schedule
    seed : int
    """
    stream = Stream.from_random_state(seed)
    hidden = posterior_layers(machine)
    top = random_layer("softmax", hidden[-1].size, N_CLASSES, stream.generator("top"))
    run = NetworkTrainer(
        dg.Network([*hidden, top]), Objective(SoftmaxCrossEntropy(), **dropout),
        dg.Adam(weight_decay=0.0), learning_rate, stream=stream,
    )  # fmt: skip
    run.fit(labelled, n_epochs, callbacks=[labelled])
    return run.model(), sum(entry["seconds"] for entry in run.history)
