"""Parts of batches: what each of several processes reads of the same rows."""

from dataclasses import replace
from itertools import islice, pairwise
from typing import Protocol, runtime_checkable

from deepgen.runtime.collective import Alone, shard_bounds


@runtime_checkable
class MadeOfRows(Protocol):
    """Rows that are made, batch by batch, of other rows, such as features of them."""

    def made_of(self, change):
        """Return the same of other rows: those that `change` returns for the present ones."""


@runtime_checkable
class Numbered(Protocol):
    """Rows that can be asked for by their numbers; see :class:`~deepgen.rows.batch.NumberedRows`.

    A part of a batch is read without the others then.
    """

    def orders(self, batch_size, stream):
        """Yield the numbers of the rows of each batch."""

    def batch(self, chosen):
        """Return some rows."""


@runtime_checkable
class InParts(Protocol):
    """Rows of which each process has its own already: their batches are parts."""

    collective: object


@runtime_checkable
class OwnRows(Protocol):
    """Rows of which a process reads its own alone, :meth:`pieces` too: files that it has opened."""

    collective: object
    n_rows: int
    first_row: int
    piece_counts: list


def own_rows(rows):
    """Return the :class:`OwnRows` that rows are, or are made of; None where there are none."""
    if isinstance(rows, OwnRows):
        return rows
    if isinstance(rows, MadeOfRows):
        found = []
        rows.made_of(lambda inner: found.append(inner) or inner)
        return own_rows(found[0])
    return None


def first_number(rows):
    """Return the number of the first row that :meth:`pieces` of rows yields in this process."""
    own = own_rows(rows)
    return 0 if own is None else own.first_row


def joined(rows, value):
    """Gather one value from each process, such as a count of its rows: a list by process.

    A list of one where every process reads all rows.
    """
    own = own_rows(rows)
    return [value] if own is None else own.collective.gather(value)


class Parts:
    """The rows of every batch that one of several processes has, cut by their places in it.

    All processes have the same rows, say of one memory map. A process reads its part alone where
    rows can be asked for by number.

    Parameters
    ----------
    rows : Rows
    collective : Collective
    """

    def __init__(self, rows, collective):
        self.whole, self.collective = rows, collective
        self.n_rows, self.n_columns, self.is_fixed = rows.n_rows, rows.n_columns, rows.is_fixed

    def pieces(self, stream=None):
        """Yield all rows in order, in every process."""
        return self.whole.pieces(stream)

    def batches(self, batch_size, stream, *, skip=0):
        """Yield the parts of an epoch's batches; a part may be empty."""
        if isinstance(self.whole, Numbered):
            for order in islice(self.whole.orders(batch_size, stream), skip, None):
                cuts = shard_bounds(len(order), self.collective)
                yield _marked(self.whole.batch(order[cuts[0] : cuts[-1]]), cuts, len(order))
            return
        for batch in self.whole.batches(batch_size, stream, skip=skip):
            cuts = shard_bounds(batch.n_rows, self.collective)
            yield _marked(batch.rows(cuts[0], cuts[-1]), cuts, batch.n_rows)


def _marked(part, cuts, n_whole):
    """Return rows of a batch that know their place in it."""
    lengths = tuple(stop - start for start, stop in pairwise(cuts))
    return replace(part, first_row=cuts[0], n_whole=n_whole, shards=lengths)


def shared(rows, collective):
    """Return rows whose batches are the parts of this process.

    Parameters
    ----------
    rows : Rows
    collective : Collective
        That of a run in one process leaves the rows as they are.
    """
    if isinstance(collective, Alone) or isinstance(rows, InParts):
        return rows
    if isinstance(rows, MadeOfRows):
        return rows.made_of(lambda inner: shared(inner, collective))
    return Parts(rows, collective)
