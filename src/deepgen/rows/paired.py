"""Rows with a target each: labels, rows to be rebuilt, or none for some."""

from itertools import islice

import numpy as np

from deepgen.rows.sources import ArrayRows
from deepgen.rows.states import dense
from deepgen.runtime.stream import SHUFFLE

# Where some rows have no target, at least this share of an epoch has one. Of labels that are few,
# a batch would else hold one or none, and their gradient be all noise.
TARGET_SHARE = 0.2


class PairedRows(ArrayRows):
    """Rows with a target each; batches are pairs of states and targets.

    Parameters
    ----------
    X : ndarray, PackedBits or sparse matrix of shape (n_rows, n_columns)
    targets : ndarray of shape (n_rows, ...) or None
        None: the rows themselves.
    known : ndarray of bool, shape (n_rows,), or None
        Which rows have a target. An epoch has as many rows as there are, a fifth of them or more
        with a target: those come as often as it takes, of the others some, drawn anew. The order
        takes memory for each row, and disks are not read in theirs. None: all have.
    """

    def __init__(self, X, targets=None, known=None):
        super().__init__(X)
        if targets is not None and len(targets) != self.n_rows:
            raise ValueError(f"targets must have {self.n_rows} rows, got {len(targets)}")
        self.targets, self.known = targets, known

    def _orders(self, batch_size, stream):
        if self.known is None or self.known.mean() >= TARGET_SHARE:
            yield from super()._orders(batch_size, stream)
            return
        known, others = np.flatnonzero(self.known), np.flatnonzero(~self.known)
        n_known = max(1, round(TARGET_SHARE * self.n_rows))
        often = [
            known[stream.child("known").permutation(len(known), SHUFFLE, row=turn)]
            for turn in range(-(-n_known // len(known)))
        ]
        others = others[stream.child("others").permutation(len(others), SHUFFLE)]
        rows = np.concatenate([np.concatenate(often)[:n_known], others[: self.n_rows - n_known]])
        rows = rows[stream.child("order").permutation(self.n_rows, SHUFFLE)]
        for first in range(0, self.n_rows, batch_size):
            yield rows[first : first + batch_size]

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch of pairs; see :meth:`ArrayRows.batches`."""
        for chosen in islice(self._orders(batch_size, stream), skip, None):
            states = self.states(chosen)
            yield states, dense(states) if self.targets is None else self.targets[chosen]

    def pairs(self, size):
        """Yield the rows in order, as pairs of at most `size` rows."""
        for start in range(0, self.n_rows, size):
            states = self.states(slice(start, start + size))
            targets = self.targets
            yield states, dense(states) if targets is None else targets[start : start + size]
