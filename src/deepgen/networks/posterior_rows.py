"""Rows joined with the posterior means of a machine's second hidden layer: inputs of a network."""

import numpy as np

from deepgen.inference.mean_field import FixedPoint, infer
from deepgen.models import backprop
from deepgen.rows.paired import PairedRows
from deepgen.rows.sources import KEEP_BYTES
from deepgen.rows.states import dense
from deepgen.runtime.work import Work

# Where mean field stops. It decides bits of what a saved network answers, so it never changes.
INPUT_FIXED_POINT = FixedPoint(max_sweeps=50, tol=1e-4)
# The layer whose means are joined to the rows.
LAYER = 2
PIECE_ROWS = 2_048


def joined_inputs(states, means):
    """Return rows as a network reads them: columns of states, then those of means, float32."""
    return np.concatenate([dense(states), means], axis=1, dtype=np.float32)


def posterior_outputs(model, states, *, n_threads=None):
    """Return the outputs of rows, float32 of shape (n_rows, n_outputs).

    Parameters
    ----------
    model : PosteriorNetwork
    states : states of the machine's first layer
    """
    work = Work(n_threads=n_threads).reusing()
    means = infer(model.machine, states, INPUT_FIXED_POINT, work=work)
    return backprop.outputs(model.network, joined_inputs(states, means[LAYER]), work=work)


class PosteriorRows(PairedRows):
    """Rows with a target each, joined with the posterior means of the second hidden layer.

    The means are kept where they take at most ``sources.KEEP_BYTES``, else they are inferred
    for each batch anew: mean field of a batch costs two to three updates of the network. Rows do
    not depend on each other, so the bits are the same.

    Parameters
    ----------
    rows : PairedRows
        With targets.
    machine : BoltzmannMachine
    n_threads : int or None
    """

    def __init__(self, rows, machine, *, n_threads=None):
        super().__init__(rows.X, rows.targets, rows.known, weights=rows.weights)
        self.machine, self.n_threads = machine, n_threads
        size = machine.layers[LAYER].size
        self.n_columns += size
        self._averages = self._kept = None
        if 4 * self.n_rows * size <= KEEP_BYTES:
            self._kept = np.empty((self.n_rows, size), np.float32)
            self._visit()

    def states(self, chosen):
        """Return the inputs of some rows."""
        states = super().states(chosen)
        if self._kept is None:
            return joined_inputs(states, self._infer(states)[LAYER])
        return joined_inputs(states, self._kept[chosen])

    def averages(self):
        """Return the means of each layer, averaged over rows: float64 vectors by layer."""
        if self._averages is None:
            self._visit()
        return self._averages

    def _infer(self, states):
        return infer(self.machine, states, INPUT_FIXED_POINT, work=Work(n_threads=self.n_threads))

    def _visit(self):
        """Infer the means of all rows; keep those of the second hidden layer, sum all."""
        totals = [np.zeros(units.size) for units in self.machine.layers]
        for start in range(0, self.n_rows, PIECE_ROWS):
            piece = slice(start, start + PIECE_ROWS)
            means = self._infer(super().states(piece))
            if self._kept is not None:
                self._kept[piece] = means[LAYER]
            for total, mean in zip(totals, means, strict=True):
                total += dense(mean).sum(axis=0, dtype=np.float64)
        self._averages = [total / self.n_rows for total in totals]
