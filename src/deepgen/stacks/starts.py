"""First machines of a stack: as any RBM starts, or the one below turned over."""

import numpy as np

from deepgen.learning.starts import first_hidden, initial_model
from deepgen.models import BoltzmannMachine
from deepgen.rows.particles import Particles

# Share of the usual rate for a machine that starts where the one below has ended.
RATE_TURNED_OVER = 0.25


def first_machine(visible, hidden, moments, stream):
    """Return the machine that a layer starts from, as an RBM of the same units would.

    Beside words of documents hidden biases start at zero: they count once a word.
    """
    n_rows, mean, variance = moments
    if not visible.takes_trials:
        hidden = first_hidden(hidden)
    return initial_model(visible, hidden, mean, variance, n_rows, stream)


def turned_over(model, below):
    """Return a machine that starts as the one below it, upside down.

    Parameters
    ----------
    model : BoltzmannMachine
        The usual start; its hidden units beyond the visible ones of `below` stay as they are.
    below : BoltzmannMachine

    Returns
    -------
    BoltzmannMachine
        ``W = W_below^T``, visible bias = hidden bias of `below`, hidden bias = its visible bias.
    """
    lowest, middle = below.layers
    weights, bias = np.array(model.weights[0]), np.array(model.layers[1].bias)
    weights[:, : lowest.size] = below.weights[0].T
    bias[: lowest.size] = lowest.bias
    layers = [model.layers[0].replace(bias=middle.bias), model.layers[1].replace(bias=bias)]
    return BoltzmannMachine(layers, [weights])


def state_turned_over(rule, usual, model, stream, below):
    """Return the state of a rule for a machine that starts as the one below it, upside down.

    Offsets of centring are means of the data. `rule.start` takes them from the visible biases,
    which in a machine turned over do not tell these means; so it gets the visible layer of
    `usual`, the start of any other machine, whose biases do. Particles are those of the lower
    machine, samples of the same distribution: from independent units PCD would first unlearn what
    the start has (docs/decisions.md).
    """
    state = rule.start(model.replace(layers=[usual.layers[0], model.layers[1]]), stream)
    fresh = state.particles
    if fresh is not None and below is not None:
        chosen = np.arange(len(fresh)) % len(below)
        further = fresh[1][:, below[0].shape[1] :]  # units that the machine below has not
        columns = np.concatenate([below[0][chosen], further], axis=1)
        state.particles = Particles([below[1][chosen], columns])
    return state
