"""Deep Boltzmann machine 784-500-500-1000 on binarized MNIST."""

import numpy as np

import deepgen as dg
from bench.results import deep_boltzmann
from bench.results.data import binary_mnist
from bench.results.deep_boltzmann import COLUMNS

__all__ = ["COLUMNS", "NOTES", "TITLE", "rows"]

TITLE = "Log-likelihood of MNIST under a deep Boltzmann machine of three hidden layers"
NOTES = [
    *deep_boltzmann.NOTES,
    "",
    "Published: Salakhutdinov & Hinton (2009). A machine of two hidden layers first, as in the "
    "table of these but with 60 epochs (quick: 2); then an RBM (PCD, 9 epochs; quick: 1) on what "
    "it infers of its second hidden layer from 20,000 training rows; then all together, with half "
    "of the RBM's weights: 15 epochs (quick: 2), rate 0.05 linearly to 0, a quarter of it for the "
    "upper weights, 500 particles (quick: 100). Seconds are of all of it.",
]
# Rows whose posterior the third layer learns from before it joins.
ROWS = 20_000
# The second hidden layer hears from both sides then.
SHARE = 0.5


def rows(store, quick):
    """Yield the rows of the table."""
    digits = binary_mnist()
    rule = dg.MeanFieldPCD(n_particles=100 if quick else 500)
    two = dg.DBM(
        (500, 500), pretrained=dg.Pretraining(n_epochs=1 if quick else 10), rule=rule,
        learning_rate=dg.Linear(0.2, 0.0), optimizer=dg.SGD(rates=(1.0, 0.25)),
        n_epochs=2 if quick else 60, binarize=True, random_state=0,
    )  # fmt: skip
    two, seconds = deep_boltzmann.trained(store, two, digits, "two")
    posterior = dg.mean_field(two.model_, [digits.train[:ROWS], None, None]).means[2]
    third, more = store.model("third", lambda: third_layer(posterior, quick))
    estimator = dg.DBM(
        (500, 500, 1000), pretrained=joined(two.model_, third.model_, posterior), rule=rule,
        learning_rate=dg.Linear(0.05, 0.0), optimizer=dg.SGD(rates=(1.0, 0.25, 0.25)),
        n_epochs=2 if quick else 15, binarize=True, random_state=1,
    )  # fmt: skip
    yield from deep_boltzmann.rows_of(
        store, quick, estimator, "-85.10", seconds_before=seconds + more
    )


def third_layer(posterior, quick):
    """Return an RBM on the means of the second hidden layer, bits drawn at each presentation."""
    return dg.RBM(
        1000, learning_rate=dg.Linear(0.05, 0.0), n_epochs=1 if quick else 9, binarize=True,
        random_state=3,
    ).fit(posterior)  # fmt: skip


def joined(two, third, posterior):
    """Return a machine of three hidden layers from one of two and an RBM on its second one.

    What the third layer sends to the second on average is taken from the latter's bias.
    """
    units = third.layers[1]
    weights = np.float32(SHARE) * third.weights[0]
    means = 1.0 / (1.0 + np.exp(-(posterior @ weights + units.bias)))
    middle = two.layers[2].replace(bias=two.layers[2].bias - weights @ means.mean(axis=0))
    return dg.BoltzmannMachine([*two.layers[:2], middle, units], [*two.weights, weights])
