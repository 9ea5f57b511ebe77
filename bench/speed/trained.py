"""A model 784-500 that has learned a little: one file for all systems of a comparison."""

import numpy as np

from bench.speed import arithmetic, peers

N_ROWS = 20_000
DESCRIPTION = f"trained by deepgen for 2 epochs of {N_ROWS:,} rows"


def save_model(rows, path):
    """Train on rows and keep weights and biases in a file of NumPy."""
    import deepgen as dg

    rbm = dg.RBM(peers.N_HIDDEN, n_epochs=2, random_state=0).fit(rows)
    weights, visible, hidden = peers.parameters_of(rbm)
    np.savez(path, weights=weights, visible=visible, hidden=hidden)


def load_model(path):
    """Return weights, visible bias and hidden bias, float32."""
    with np.load(path) as arrays:
        return tuple(arrays[key] for key in ("weights", "visible", "hidden"))


def deepgen_model(weights, visible, hidden):
    """Return them as a `deepgen.BoltzmannMachine`, after a look at its arithmetic."""
    import deepgen as dg

    model = dg.BoltzmannMachine([dg.Binary(bias=visible), dg.Binary(bias=hidden)], [weights])
    arithmetic.check_on_grid(model)
    return model
