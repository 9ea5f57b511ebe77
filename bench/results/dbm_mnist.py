"""Deep Boltzmann machine 784-500-1000 on binarized MNIST."""

import deepgen as dg
from bench.results import deep_boltzmann
from bench.results.deep_boltzmann import COLUMNS

__all__ = ["COLUMNS", "NOTES", "TITLE", "estimator", "rows"]

TITLE = "Log-likelihood of MNIST under a deep Boltzmann machine of two hidden layers"
NOTES = [
    *deep_boltzmann.NOTES,
    "",
    "Published: Salakhutdinov & Hinton (2009). Greedy start: CD-1 with tied copies, 10 epochs a "
    "layer (quick: 1). Joint training: 500 particles (quick: 100), one sweep an update, at most 3 "
    "sweeps of mean field, rate 0.2 linearly to 0, a quarter of it for the upper weights; bits "
    "drawn at each presentation.",
]


def estimator(quick):
    """Return the machine that this table trains; other tables use it too."""
    return dg.DBM(
        (500, 1000), pretrained=dg.Pretraining(n_epochs=1 if quick else 10),
        rule=dg.MeanFieldPCD(n_particles=100 if quick else 500),
        learning_rate=dg.Linear(0.2, 0.0), optimizer=dg.SGD(rates=(1.0, 0.25)),
        n_epochs=2 if quick else 80, binarize=True, random_state=0,
    )  # fmt: skip


def rows(store, quick):
    """Yield the rows of the table."""
    yield from deep_boltzmann.rows_of(store, quick, estimator(quick), "-84.62")
