"""The processes that share a run of learning: each has a part of every batch.

Sums of whole numbers have the same bits in whatever order processes add them. Of other numbers the
same bits come from virtual shards: a batch is cut into :data:`SHARDS` pieces however many processes
there are, each process has some whole ones, and what is added is rounded to whole numbers of one
step first (:func:`sum_of_shards`; docs/math.md, "Sums").
"""

from typing import Protocol, runtime_checkable

import numpy as np

# Pieces that a batch is cut into where its sums are no whole numbers. Processes have equal parts of
# it where their number divides it: 1, 2, 3, 4, 6, 8, 12, 24.
SHARDS = 24
# float64 holds whole numbers exactly up to here.
WHOLE = 2.0**53


@runtime_checkable
class Collective(Protocol):
    """Processes that make the same run together: all of them call the same methods in turn.

    ``deepgen.distributed.mpi`` returns one.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.
    """

    def sum(self, array, most=np.inf):
        """Replace an array, float64, by the sum of those of all processes, in place.

        Sums of whole numbers below 2^53 are exact, in whatever order they are added.

        Parameters
        ----------
        array : ndarray, float64
        most : float
            If finite: all entries are whole numbers, no sum is larger, and so fewer bits may be
            sent.
        """

    def gather(self, value):
        """Return the values of all processes, a list by rank: plain data and arrays."""

    def broadcast(self, value):
        """Return the value of process 0, whatever the others passed."""

    def abort(self, error):
        """End all processes at once, because of an error that the others do not have."""


class Alone:
    """The collective of one process."""

    rank, size = 0, 1

    def sum(self, array, most=np.inf):
        """Leave the array as it is."""

    def gather(self, value):
        """Return the value, in a list."""
        return [value]

    def broadcast(self, value):
        """Return the value."""
        return value

    def abort(self, error):
        """Leave the error to those who catch it: there are no others."""


ALONE = Alone()


class OtherProcessError(RuntimeError):
    """Another process of a run has failed, and so all of them stop."""


def bounds(n_rows, size):
    """Return where `size` processes cut so many rows: ``size + 1`` numbers, from 0 to `n_rows`."""
    return [n_rows * rank // size for rank in range(size + 1)]


def shard_bounds(n_rows, collective):
    """Return where the virtual shards of this process begin and end, within all `n_rows` rows.

    Where there are more processes than shards, each process has one piece of its own.
    """
    n_shards = max(SHARDS, collective.size)
    cuts, own = bounds(n_rows, n_shards), bounds(n_shards, collective.size)
    return cuts[own[collective.rank] : own[collective.rank + 1] + 1]


def part_of(n_rows, collective):
    """Return the rows of this process, a slice; it may be empty."""
    cuts = shard_bounds(n_rows, collective)
    return slice(cuts[0], cuts[-1])


def require_shards(collective, who):
    """Raise ValueError where there are more processes than virtual shards."""
    if collective.size > SHARDS:
        raise ValueError(
            f"communicator must have at most {SHARDS} processes for {who}, whose sums are no whole "
            f"numbers, got {collective.size}"
        )


def any_of(collective, flag):
    """Tell whether a flag is set in any process."""
    if collective.size == 1:
        return bool(flag)
    total = np.array([float(bool(flag))])
    collective.sum(total)
    return bool(total[0])


def check_together(collective, check):
    """Call a function that may raise, such as a check for Ctrl-C; where it does, raise in all.

    Raises
    ------
    BaseException
        What was raised here, or KeyboardInterrupt where it was in another process.
    """
    raised = None
    try:
        check()
    except BaseException as error:
        raised = error
    if any_of(collective, raised is not None):
        raise raised or KeyboardInterrupt("another process of this run was told to end")


def from_first(collective, compute, what):
    """Return what a function returns in process 0, in all; where it fails there, raise in all.

    Parameters
    ----------
    collective, compute, what
        See :func:`on_all`; the function is called in process 0 alone.
    """
    value = on_all(collective, compute if collective.rank == 0 else lambda: None, what)
    return collective.broadcast(value)


def on_all(collective, compute, what):
    """Return what a function returns here; where it fails in one process, raise in all.

    Parameters
    ----------
    collective : Collective
    compute : callable
        Without arguments; calls nothing of the collective.
    what : str
        What the processes do, for the message.

    Raises
    ------
    Exception
        The error of this process itself. In the others OtherProcessError, with its rank and words.
    """
    value, error = None, None
    try:
        value = compute()
    except Exception as raised:
        error = raised
    told = None if error is None else f"{type(error).__name__}: {error}"
    errors = collective.gather(told)
    if error is not None:
        raise error
    for rank, other in enumerate(errors):
        if other is not None:
            raise OtherProcessError(f"process {rank} of {collective.size} failed {what}: {other}")
    return value


def require_same(collective, told):
    """Raise ValueError, in all processes, where one of them tells something else than the first.

    Parameters
    ----------
    collective : Collective
    told : dict of str to plain data
        By name: what all processes must have been given alike.
    """
    calls = collective.gather({name: repr(value) for name, value in told.items()})
    for rank, call in enumerate(calls):
        differing = sorted({*call, *calls[0]} - {n for n in call if call[n] == calls[0].get(n)})
        if differing:
            raise ValueError(
                f"{', '.join(differing)} must be the same in all processes that share a run, got "
                f"others in process {rank} than in process 0; make the same call in all of them"
            )


def by_parts(collective, n_rows, compute, told=None):
    """Compute arrays by row, each process those of its rows; return all rows in every process.

    Parameters
    ----------
    collective : Collective
    n_rows : int
    compute : callable
        From a slice of row numbers to a list of arrays with a row for each. It must give a row the
        same values whichever others are computed with it.
    told : callable or None
        Without arguments; returns what users must have passed alike in all processes, see
        :func:`require_same`. Called where there are several.

    Returns
    -------
    list of ndarray

    Raises
    ------
    ValueError
        If processes were not given the same.
    """
    if collective.size == 1:
        return compute(slice(0, n_rows))
    if told is not None:
        require_same(collective, told())
    own = part_of(n_rows, collective)
    pieces = collective.gather(compute(own))
    return [np.concatenate(arrays) for arrays in zip(*pieces, strict=True)]


def sum_of_shards(collective, shards, out):
    """Add arrays of virtual shards over all processes to the same bits for any number of them.

    With x_k of shard k and ``t = max |x_k|`` over all entries and shards, in steps of q::

        q = 2^(ceil(log2 t) - 48)          out = q sum_k round(x_k / q)

    Each term is a whole number of at most 2^48, so their sum is exact in any order. An entry is off
    by at most 24 half steps, 2^-45 of the largest one: far below what float32 keeps of it.

    Parameters
    ----------
    collective : Collective
    shards : sequence of ndarray, float64
        Of this process, all of one shape.
    out : ndarray of that shape, float64
        What is written: NaN where an entry of any shard is not finite.
    """
    largest = max((float(np.abs(x).max(initial=0.0)) for x in shards), default=0.0)
    if not all(np.isfinite(x).all() for x in shards):
        largest = np.inf
    top = max(collective.gather(largest))
    if not np.isfinite(top):
        out[...] = np.nan
        return
    exponent = int(np.ceil(np.log2(top))) - 48 if top else 0
    total = np.zeros(out.shape)
    for x in shards:
        total += np.rint(np.ldexp(x, -exponent))
    collective.sum(total)
    np.ldexp(total, exponent, out=out)
