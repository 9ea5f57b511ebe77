"""What the machines of a stack read: features by those below, and rows of two tied copies."""

import numpy as np

from deepgen.inference.gibbs import layer_field, update_layer
from deepgen.layers.passes import Site
from deepgen.rows.sources import KEEP_BYTES, ArrayRows
from deepgen.rows.states import doubled
from deepgen.runtime.stream import DATA, Stream
from deepgen.runtime.work import Work


class DoubledRows:
    """Rows times two, batch by batch: the data of a layer of two tied copies.

    Parameters
    ----------
    rows : ArrayRows, IterableRows or FeatureRows
    """

    def __init__(self, rows):
        self.rows, self.n_rows, self.n_columns = rows, rows.n_rows, rows.n_columns

    def pieces(self, *stream):
        """Yield the rows in order; `stream` is for rows that are drawn."""
        return map(doubled, self.rows.pieces(*stream))

    def chunks(self, size):
        """Yield the rows in order, `size` at a time."""
        return map(doubled, self.rows.chunks(size))

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch in the order that the rows themselves would have."""
        return map(doubled, self.rows.batches(batch_size, stream, skip=skip))


class FeatureRows:
    """The features of rows by one machine, made batch by batch.

    Parameters
    ----------
    rows : ArrayRows, IterableRows, DoubledRows or FeatureRows
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

    def _features(self, states, stream, first_row):
        # Draws are named by the row's number in the order of the epoch, so that they depend neither
        # on how the rows are cut into batches nor on earlier draws.
        site = Site(stream.child(f"features {self.level}"), DATA, first_row) if self.drawn else None
        means, draws = update_layer(
            self.machine, 1, [states, None], mean=not self.drawn, site=site,
            work=Work(n_threads=self.n_threads),
        )  # fmt: skip
        return draws if self.drawn else means

    def pieces(self, stream=None):
        """Yield the features in order.

        Parameters
        ----------
        stream : Stream or None
            None: one of these rows' own; draws are the same each time.
        """
        stream, first_row = stream or Stream.from_random_state(0), 0
        below = (stream,) if _are_features(self.rows) else ()
        for states in self.rows.pieces(*below):
            yield self._features(states, stream, first_row)
            first_row += states.shape[0]

    def batches(self, batch_size, stream, *, skip=0):
        """Yield one epoch in the order that the rows themselves would have."""
        first_row = skip * batch_size
        for states in self.rows.batches(batch_size, stream, skip=skip):
            yield self._features(states, stream, first_row)
            first_row += states.shape[0]


def _are_features(rows):
    return isinstance(rows.rows if isinstance(rows, DoubledRows) else rows, FeatureRows)


def _can_be_kept(rows):
    """Tell whether features held in memory give the same run as features made for each batch."""
    if isinstance(rows, DoubledRows):
        return _can_be_kept(rows.rows)
    if isinstance(rows, FeatureRows):
        return not rows.drawn and _can_be_kept(rows.rows)
    return isinstance(rows, ArrayRows)


def kept_in_memory(rows, n_rows):
    """Return feature rows as an array where it is small enough, else as they are."""
    if not _can_be_kept(rows) or 4 * n_rows * rows.n_columns > KEEP_BYTES:
        return rows
    whole, first = np.empty((n_rows, rows.n_columns), np.float32), 0
    for piece in rows.pieces():
        whole[first : first + len(piece)] = piece
        first += len(piece)
    return ArrayRows(whole)


def stack_features(stack, states, *, field=False, n_threads=None):
    """Return the mean activities of a stack's uppermost units, or their fields.

    Each machine reads the means of the one below.

    Parameters
    ----------
    stack : sequence of BoltzmannMachine
        Two layers each, bottom first.
    states : states of the visible layer
    field : bool, default False
        Whether the fields of the uppermost units are wanted, before their nonlinearity.

    Returns
    -------
    ndarray of shape (n_rows, n_hidden of the last machine), float32
    """
    work, last = Work(n_threads=n_threads), len(stack) - 1
    for l, machine in enumerate(stack):
        if field and l == last:
            return layer_field(machine, 1, [states, None], work=work)
        states = update_layer(machine, 1, [states, None], mean=True, work=work)[0]
    return states
