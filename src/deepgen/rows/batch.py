"""A batch: the rows that one update reads, and what belongs to each; and what gives batches."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from deepgen.checks import MOST_ROWS, check_integer, real_array, shown
from deepgen.rows.states import row_slice


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that one update reads, and what belongs to each of them.

    :meth:`step` of a trainer checks it, and takes arrays of any type.

    Attributes
    ----------
    states : tuple
        By observed layer, arrays or states of shape (n_rows, n_units): the visible layer of a
        machine and, where it observes its last layer too, that (one-hot labels); the inputs of a
        network. Without its last entry, or with None there, the last layer is inferred.
    context : Context or None
        What varies from row to row around the layers: biases, held entries.
    target : ndarray of shape (n_rows, ...) or None
        What a network should answer.
    weights : ndarray of shape (n_rows,), float64, or None
        How much each row counts in a gradient, ``sum_r weights[r] gradient[r] / n_rows``. None: 1.
    first_row : int, default 0
        Number of the first row in the whole batch, where this is a part of it: draws for a row do
        not depend on how a batch was cut.
    n_whole : int or None
        Number of rows of the whole batch, where other processes have the others: sums over rows are
        then added to theirs before anything is divided or moves. A part may have no row. None:
        these are all.
    shards : tuple of int or None
        Rows of each virtual shard in this part, in their order
        (:mod:`deepgen.runtime.collective`). None: it was not cut by them.
    """

    states: tuple
    context: object | None = None
    target: np.ndarray | None = None
    weights: np.ndarray | None = None
    first_row: int = 0
    n_whole: int | None = None
    shards: tuple | None = None

    @property
    def n_rows(self):
        """Number of rows."""
        return self.states[0].shape[0]

    @property
    def is_part(self):
        """Whether other processes have other rows of the batch."""
        return self.n_whole is not None

    def with_states(self, *states):
        """Return the batch with other states, and all that belongs to its rows."""
        return Batch(
            states, self.context, self.target, self.weights, self.first_row, self.n_whole,
            self.shards,
        )  # fmt: skip

    def rows(self, start, stop):
        """Return some of its rows, with all that belongs to them; no part of anything."""
        chosen = slice(start, stop)
        return Batch(
            tuple(None if x is None else row_slice(x, start, stop) for x in self.states),
            None if self.context is None else self.context.of_rows(chosen),
            None if self.target is None else row_slice(self.target, start, stop),
            None if self.weights is None else self.weights[chosen],
        )


def check_batch(batch):
    """Raise ValueError unless `batch` is a :class:`Batch` with states of a first layer."""
    if (
        not isinstance(batch, Batch) or not isinstance(batch.states, tuple) or not batch.states
        or batch.states[0] is None
    ):  # fmt: skip
        raise ValueError(
            "batch must be a dg.Batch of a tuple of states, as dg.Batch((rows,)), got "
            f"{shown(batch)}"
        )


def with_checked_states(batch, states):
    """Return a batch with states that are checked already, after a check of all else by row.

    Parameters
    ----------
    batch : Batch
        Checked by :func:`check_batch`.
    states : sequence of states

    Raises
    ------
    ValueError
        If the number of rows is not the same everywhere, or is 0 in a batch that is no part.
    """
    n_rows = states[0].shape[0]
    if len(states) > 1 and len({x.shape[0] for x in states}) > 1:
        counts = [x.shape[0] for x in states]
        raise ValueError(f"states must have one number of rows for all layers, got {counts}")
    if batch.first_row:
        check_integer(batch.first_row, "first_row", 0, MOST_ROWS)
    if batch.n_whole is not None:
        check_integer(batch.n_whole, "n_whole", max(n_rows, 1))
    elif n_rows == 0:
        raise ValueError("batch must have at least one row, got none")
    weights = batch.weights
    if weights is not None:
        weights = as_weights(weights, n_rows)
    return Batch(
        tuple(states), batch.context, batch.target, weights, batch.first_row, batch.n_whole,
        batch.shards,
    )  # fmt: skip


def as_weights(weights, n_rows, name="weights"):
    """Return weights by row as float64 of shape (n_rows,); ValueError where they are none."""
    weights = np.ascontiguousarray(real_array(weights, name), np.float64)
    if weights.shape != (n_rows,):
        raise ValueError(
            f"{name} must have shape ({n_rows},), one for each row, got {weights.shape}"
        )
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0.0)))
    if len(wrong):
        raise ValueError(
            f"{name} must be finite and not negative, got {weights[wrong[0]]} in row {wrong[0]}"
        )
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise ValueError(
            f"{name} must have a finite sum, got weights of up to {weights.max():.3g}; divide them "
            "by their largest"
        )
    return weights


@runtime_checkable
class AroundRows(Protocol):
    """An object with a row for each row of a batch, such as a :class:`Context`.

    It is cut and shuffled with them.
    """

    def check_rows(self, n_rows):
        """Raise ValueError unless all of it has `n_rows` rows."""

    def of_rows(self, chosen):
        """Return that of some rows, by a slice or an array of their numbers."""


@runtime_checkable
class Rows(Protocol):
    """A source of rows that a run of learning reads again in each epoch.

    Attributes
    ----------
    n_rows : int or None
        None: not known before all have been read.
    n_columns : int
    is_fixed : bool
        Whether the rows of all epochs are the same ones, so that what is made of them may be kept.
        Not so where they are drawn anew, or where an iterable gives them.
    """

    def pieces(self, stream=None):
        """Yield all rows in order, as batches of any size, for a check or a measurement.

        Parameters
        ----------
        stream : Stream or None
            For rows that are drawn. None: one of their own, the same each time.
        """

    def batches(self, batch_size, stream, *, skip=0):
        """Yield the batches of an epoch, in the keyed random order of `stream`.

        All have `batch_size` rows but the last one. The first `skip` are left out.
        """


class NumberedRows(Rows, Protocol):
    """Rows that can be asked for by their numbers: nothing is read before :meth:`batch`."""

    def orders(self, batch_size, stream):
        """Yield the numbers of the rows of each batch of an epoch, int64 arrays."""

    def batch(self, chosen):
        """Return some rows, by a slice or an array of their numbers (no mask)."""


@runtime_checkable
class ByteRows(Protocol):
    """Numbered rows that may be bytes of an array alone, as kernels can gather them."""

    def plain_bytes(self):
        """Return the array, uint8 and C-contiguous, or None where there is more to a row."""

    def orders(self, batch_size, stream):
        """See :class:`NumberedRows`."""
