"""Rows with something beside them: a target, or the states of a machine's last layer."""

from dataclasses import replace

import numpy as np

from deepgen.rows.holes import filled, holes_in
from deepgen.rows.sources import ArrayRows
from deepgen.rows.states import dense
from deepgen.runtime.stream import SHUFFLE

# Where some rows have no target, at least this share of the rows of an epoch has one. With few
# labels most batches would otherwise hold one or none, and the gradient by them be all noise.
TARGET_SHARE = 0.2


class PairedRows(ArrayRows):
    """Rows with a target each: labels, rows to be rebuilt, or none for some.

    What is not known of a row (NaN) is an input of zero; a row that is its own target keeps it
    there.

    Parameters
    ----------
    X : ndarray, PackedBits or sparse matrix of shape (n_rows, n_columns)
    targets : ndarray of shape (n_rows, ...) or None
        None: the rows themselves, see `target_of`.
    known : ndarray of bool, shape (n_rows,), or None
        Which rows have a target. None: all. Where fewer than a fifth have one, an epoch still has
        `n_rows` rows, a fifth of them with a target: of 1,000 rows with 50 targets each of the 50
        comes four times, beside 800 of the other 950, drawn anew in each epoch. The order then
        takes memory for every row, and files on disk are read in a random order.
    weights : array-like of shape (n_rows,) or None
        See :class:`ArrayRows`.
    target_of : callable, default dense
        Makes the targets of some states, where `targets` is None: ``Units.target_of``.
    """

    def __init__(self, X, targets=None, known=None, *, weights=None, target_of=dense):
        super().__init__(X, weights=weights)
        if targets is not None and len(targets) != self.n_rows:
            raise ValueError(f"targets must have {self.n_rows} rows, got {len(targets)}")
        self.targets, self.known, self.target_of = targets, known, target_of

    def orders(self, batch_size, stream):
        """Yield the numbers of the rows of each batch; see `known`."""
        if self.known is None or self.known.mean() >= TARGET_SHARE:
            yield from super().orders(batch_size, stream)
            return
        known, others = np.flatnonzero(self.known), np.flatnonzero(~self.known)
        n_known = max(1, round(TARGET_SHARE * self.n_rows))
        # rows with a target again and again, each time all of them in another order, the last
        # time as many as are missing
        repeated = [
            known[stream.child("known").permutation(len(known), SHUFFLE, row=turn)]
            for turn in range(-(-n_known // len(known)))
        ]
        others = others[stream.child("others").permutation(len(others), SHUFFLE)]
        rows = np.concatenate(
            [np.concatenate(repeated)[:n_known], others[: self.n_rows - n_known]]
        )
        rows = rows[stream.child("order").permutation(self.n_rows, SHUFFLE)]
        for first in range(0, self.n_rows, batch_size):
            yield rows[first : first + batch_size]

    def batch(self, chosen):
        """Return some rows and their targets; see :meth:`ArrayRows.batch`."""
        batch = super().batch(chosen)
        states = batch.states[0]
        target = self.target_of(states) if self.targets is None else self.targets[chosen]
        return replace(batch, states=(filled(states, holes_in(states)),), target=target)


class LabelledRows(ArrayRows):
    """Rows of a machine that observes its last layer too: each has the states of that.

    Parameters
    ----------
    X : ndarray, PackedBits or sparse matrix of shape (n_rows, n_columns)
    labels : ndarray of shape (n_rows, n_units)
        States of the last layer: one-hot labels, all zero where a row has none.
    weights : array-like of shape (n_rows,) or None
        See :class:`ArrayRows`.
    """

    def __init__(self, X, labels, *, weights=None):
        super().__init__(X, weights=weights)
        if len(labels) != self.n_rows:
            raise ValueError(f"labels must have {self.n_rows} rows, got {len(labels)}")
        self.labels = labels

    def batch(self, chosen):
        """Return some rows and their labels; see :meth:`ArrayRows.batch`."""
        batch = super().batch(chosen)
        return batch.with_states(*batch.states, self.labels[chosen])
