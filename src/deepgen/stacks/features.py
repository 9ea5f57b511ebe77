"""What the machines of a stack read: features by those below, and rows of two tied copies."""

from dataclasses import replace

import numpy as np

from deepgen.inference.gibbs import layer_field, update_layer
from deepgen.inference.mean_field import completed_by_means
from deepgen.layers.passes import Site
from deepgen.rows.parts import first_number, own_rows
from deepgen.rows.sources import KEEP_BYTES, ArrayRows
from deepgen.rows.states import doubled
from deepgen.runtime.stream import DATA, Stream
from deepgen.runtime.work import Work


class DoubledRows:
    """Rows times two, batch by batch: the data of a layer of two tied copies.

    Parameters
    ----------
    rows : Rows
    """

    def __init__(self, rows):
        self.rows, self.n_rows, self.n_columns = rows, rows.n_rows, rows.n_columns
        self.is_fixed = rows.is_fixed

    def made_of(self, change):
        """Return the same of other rows: those that `change` returns for the present ones."""
        return DoubledRows(change(self.rows))

    def pieces(self, stream=None):
        """Yield the rows in order; `stream` is for rows that are drawn."""
        return map(_doubled, self.rows.pieces(stream))

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch in the order that the rows themselves would have."""
        return map(_doubled, self.rows.batches(batch_size, stream, skip=skip))


def _doubled(batch):
    return batch.with_states(doubled(batch.states[0]))


class FeatureRows:
    """The features of rows by one machine, made batch by batch.

    A context of the rows is read here: what comes out belongs to another layer, without it. What is
    not known of a row (NaN) has its mean-field means in its place.

    Parameters
    ----------
    rows : Rows
        What the machine reads.
    machine : BoltzmannMachine
    level : int, default 0
        Number of the machine: tells its draws from those of others.
    drawn : bool, default False
        Draw states instead of means, anew in each epoch.
    n_threads : int or None
    """

    def __init__(self, rows, machine, level=0, *, drawn=False, n_threads=None):
        self.rows, self.machine, self.level = rows, machine, level
        self.drawn, self.n_threads = drawn, n_threads
        self.n_rows, self.n_columns = rows.n_rows, machine.layers[1].size
        self.is_fixed = rows.is_fixed and not drawn

    def made_of(self, change):
        """Return the same features of other rows: those that `change` returns for these."""
        return FeatureRows(
            change(self.rows), self.machine, self.level, drawn=self.drawn,
            n_threads=self.n_threads,
        )  # fmt: skip

    def _features(self, batch, stream, first_row):
        """Return the features of a batch; `first_row` is the number of its row 0 in the epoch."""
        # Draws are named by the row's number in the order of the epoch, so that they depend neither
        # on how the rows are cut into batches nor on earlier draws.
        site = Site(stream.child(f"features {self.level}"), DATA, first_row) if self.drawn else None
        work = Work(n_threads=self.n_threads)
        states = completed_by_means(self.machine, batch.states[0], work=work)
        means, draws = update_layer(
            self.machine, 1, [states, None], context=batch.context, mean=not self.drawn, site=site,
            work=work,
        )  # fmt: skip
        return replace(batch, states=(draws if self.drawn else means,), context=None)

    def pieces(self, stream=None):
        """Yield the features in order.

        Parameters
        ----------
        stream : Stream or None
            None: one of these rows' own; draws are the same each time.
        """
        stream, first_row = stream or Stream.from_random_state(0), first_number(self.rows)
        for batch in self.rows.pieces(stream):
            yield self._features(batch, stream, first_row)
            first_row += batch.n_rows

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch in the order that the rows themselves would have."""
        first_row = skip * batch_size
        for batch in self.rows.batches(batch_size, stream, skip=skip):
            yield self._features(batch, stream, first_row + batch.first_row)
            first_row += batch_size


def kept_in_memory(rows, n_rows):
    """Return feature rows as an array where it is small enough, else as they are."""
    # a process keeps no rows of others, and its own stay in the order of their files
    if own_rows(rows) is not None:
        return rows
    if not rows.is_fixed or 4 * n_rows * rows.n_columns > KEEP_BYTES:
        return rows
    whole, first, weights = np.empty((n_rows, rows.n_columns), np.float32), 0, []
    for piece in rows.pieces():
        whole[first : first + piece.n_rows] = piece.states[0]
        first += piece.n_rows
        weights.append(piece.weights)
    weighted = weights and weights[0] is not None
    return ArrayRows(whole, weights=np.concatenate(weights) if weighted else None)


def stack_features(stack, states, *, field=False, n_threads=None):
    """Return the mean activities of a stack's uppermost units, or their fields.

    Each machine reads the means of the one below.

    Parameters
    ----------
    stack : sequence of BoltzmannMachine
        Two layers each, bottom first.
    states : states of the visible layer
        Where a value is not known (NaN), its mean-field mean in the lowest machine is read.
    field : bool, default False
        Whether the fields of the uppermost units are wanted, before their nonlinearity.

    Returns
    -------
    ndarray of shape (n_rows, n_hidden of the last machine), float32
    """
    work, last = Work(n_threads=n_threads), len(stack) - 1
    states = completed_by_means(stack[0], states, work=work)
    for l, machine in enumerate(stack):
        if field and l == last:
            return layer_field(machine, 1, [states, None], work=work)
        states = update_layer(machine, 1, [states, None], mean=True, work=work)[0]
    return states
