"""Small conditional machines of all recurrences, and ragged sequences, for the tests of time."""

import numpy as np

import deepgen as dg
from deepgen.rows.sequences import Sequences

KINDS = ("window", "rnn", "rtrbm")
V, H, R, ORDER = 7, 5, 4, 2
LENGTHS = (6, 1, 9, 4)


def recurrence_of(kind, rng, scale=0.5, n_visible=V, n_hidden=H):
    """A recurrence with random arrays."""

    def drawn(*shape):
        return rng.normal(0.0, scale, shape)

    if kind == "window":
        n_state = ORDER * n_visible
        return dg.Window(drawn(n_state, n_visible), drawn(n_state, n_hidden))
    if kind == "rtrbm":
        return dg.HiddenMeans(
            rng.random(n_hidden), drawn(n_hidden, n_visible), drawn(n_hidden, n_hidden)
        )
    return dg.Recurrent(
        drawn(R), drawn(R), drawn(R, R), drawn(n_visible, R), drawn(R, n_visible),
        drawn(R, n_hidden),
    )  # fmt: skip


def model_of(kind, seed=0, scale=0.5, visible=None, n_hidden=H):
    """A conditional machine with random parameters."""
    rng = np.random.default_rng(seed)
    visible = dg.Binary(bias=rng.normal(0.0, scale, V)) if visible is None else visible
    hidden = dg.Binary(bias=rng.normal(0.0, scale, n_hidden))
    weights = rng.normal(0.0, scale, (visible.size, n_hidden))
    machine = dg.BoltzmannMachine([visible, hidden], [weights])
    return dg.ConditionalMachine(
        machine, recurrence_of(kind, rng, scale, visible.size, n_hidden)
    )


def arrays_of(model):
    """The arrays of a model in float64, as the twins know them."""
    machine = model.machine
    arrays = {
        "weights": machine.weights[0], "visible_bias": machine.layers[0].bias,
        "hidden_bias": machine.layers[1].bias, **model.recurrence.arrays(),
    }  # fmt: skip
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def sequences_of(lengths=LENGTHS, seed=1, n_visible=V):
    """Ragged sequences of bits."""
    rng = np.random.default_rng(seed)
    return Sequences.joined([(rng.random((n, n_visible)) < 0.4).astype(np.uint8) for n in lengths])
