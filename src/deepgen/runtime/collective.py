"""The processes that share a run of learning: each has a part of every batch."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Collective(Protocol):
    """Processes that add their sums, so that all of them make the same update.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.
    """

    def sum(self, array):
        """Replace an array, float64, by the sum of those of all processes, in place.

        Sums of whole numbers below 2^53 are exact, in whatever order they are added.
        """


class Alone:
    """The collective of one process."""

    rank, size = 0, 1

    def sum(self, array):
        """Leave the array as it is."""
