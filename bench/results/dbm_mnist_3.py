"""Deep Boltzmann machine 784-500-500-1000 on binarized MNIST."""

import deepgen as dg
from bench.results import deep_boltzmann
from bench.results.deep_boltzmann import COLUMNS

__all__ = ["COLUMNS", "NOTES", "TITLE", "rows"]

TITLE = "Log-likelihood of MNIST under a deep Boltzmann machine of three hidden layers"
# Without targets units of the middle layer end always on or off, one after the other
# (docs/decisions.md).
SPARSITY = (None, dg.Sparsity(0.2), dg.Sparsity(0.1))
NOTES = [
    *deep_boltzmann.NOTES,
    "",
    "Published: Salakhutdinov & Hinton (2009). Greedy start as with two layers. Joint training: "
    "500 particles (quick: 100), one sweep an update, at most 3 sweeps of mean field, rate 0.1 "
    "linearly to 0, a quarter of it for the upper weights, targets 0.2 and 0.1 for the means of "
    "the second and third hidden layer; bits drawn at each presentation.",
]


def rows(store, quick):
    """Yield the rows of the table."""
    estimator = dg.DBM(
        (500, 500, 1000), pretrained=dg.Pretraining(n_epochs=1 if quick else 10),
        rule=dg.MeanFieldPCD(n_particles=100 if quick else 500, sparsity=SPARSITY),
        learning_rate=dg.Linear(0.1, 0.0), optimizer=dg.SGD(rates=(1.0, 0.25, 0.25)),
        n_epochs=2 if quick else 50, binarize=True, random_state=0,
    )  # fmt: skip
    yield from deep_boltzmann.rows_of(store, quick, estimator, "-85.10")
