"""Greedy pretraining: learn a layer, freeze it, treat its features as data."""

from dataclasses import dataclass, field

import numpy as np

from deepgen.backprop import outputs
from deepgen.data import ArrayRows, survey
from deepgen.optimizers import SGD
from deepgen.rules import CD
from deepgen.stream import Stream, child_seed, seed_of
from deepgen.training import HIDDEN_BIAS, Trainer, default_schedule, initial_model
from deepgen.units import Binary
from deepgen.unrolling import encoder

# Features of a layer are kept where they take at most this many bytes, else made batch by batch.
KEEP_BYTES = 2**29


@dataclass(frozen=True)
class Pretraining:
    """Settings of the greedy training of each layer.

    Parameters
    ----------
    n_epochs : int, default 10
    rule : rule, default CD(1)
    learning_rate : schedule or None
        None: what an RBM of the same units takes.
    optimizer : SGD or Adam
    batch_size : int, default 100
    """

    n_epochs: int = 10
    rule: object = field(default_factory=CD)
    learning_rate: object = None
    optimizer: object = field(default_factory=SGD)
    batch_size: int = 100

    def schedule(self, layers):
        """Return the learning rate of a machine of these layers."""
        if self.learning_rate is not None:
            return self.learning_rate
        return default_schedule(layers)


class FeatureRows:
    """The features of rows, made batch by batch.

    Parameters
    ----------
    rows : ArrayRows
    stack : sequence of BoltzmannMachine
    """

    def __init__(self, rows, stack, n_threads=None):
        self.rows, self.network, self.n_threads = rows, encoder(stack), n_threads
        self.n_rows, self.n_columns = rows.n_rows, self.network.sizes[-1]

    def pieces(self):
        """Yield the features in order."""
        for states in self.rows.pieces():
            yield outputs(self.network, states, n_threads=self.n_threads)

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch in the order that the rows themselves would have."""
        for states in self.rows.batches(batch_size, stream, skip=skip):
            yield outputs(self.network, states, n_threads=self.n_threads)


def _features(rows, stack, n_threads):
    if not stack:
        return rows
    features = FeatureRows(rows, stack, n_threads)
    if 4 * features.n_rows * features.n_columns > KEEP_BYTES:
        return features
    return ArrayRows(np.concatenate(list(features.pieces())))


def pretrain(rows, layers, settings, *, random_state=None, n_threads=None, callbacks=()):
    """Train a stack of two-layer machines from the bottom up.

    Machine `l` trains with ``child_seed(random_state, l)`` on the means of the features below.

    Parameters
    ----------
    rows : ArrayRows
    layers : sequence of Units
        The visible layer and the hidden ones, each with a size.
    settings : Pretraining
    random_state : int, RandomState, Generator or None
    n_threads : int or None
    callbacks : sequence of callable

    Returns
    -------
    list of BoltzmannMachine
    """
    seed, stack = seed_of(random_state), []
    for l in range(len(layers) - 1):
        data = _features(rows, stack, n_threads)
        visible, hidden = layers[l], layers[l + 1]
        if isinstance(hidden, Binary):
            hidden = hidden.replace(bias=np.full(hidden.size, HIDDEN_BIAS))
        n_rows, mean, variance = survey(data, visible, n_threads=n_threads)
        stream = Stream.from_random_state(child_seed(seed, l))
        model = initial_model(visible, hidden, mean, variance, n_rows, stream)
        trainer = Trainer(
            model, settings.rule, settings.optimizer, settings.schedule(model.layers),
            stream=stream, batch_size=settings.batch_size, n_threads=n_threads,
        )  # fmt: skip
        trainer.fit(data, settings.n_epochs, n_rows, callbacks=callbacks)
        stack.append(trainer.model())
    return stack
