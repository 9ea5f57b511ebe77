"""A time that computations may take: long ones look at the clock between two kernel calls."""

import math
import time
from contextvars import ContextVar

from deepgen.checks import check_number
from deepgen.errors import TimeLimitError

# The limit of this thread, or of this task of asyncio.
_current = ContextVar("deepgen time limit", default=None)


class TimeLimit:
    """Let what is computed in a block take so many seconds, then raise :class:`TimeLimitError`.

    Samples, completions, likelihoods and features look at the clock between two kernel calls, which
    are some 10 ms of work each; so a call ends shortly after its time. What it has computed by
    then is thrown away: an answer that depended on the clock would be another one each time, and
    `random_state` would mean nothing. Who wants what there is after a time runs chains a few sweeps
    at a time (:meth:`RBM.chains`). Fits do not heed it. It is a matter of one thread.

    Parameters
    ----------
    seconds : float
        Of wall time, from the beginning of the block. Of limits inside each other the one that
        ends first counts.

    Attributes
    ----------
    n_sweeps : int
        Sweeps of single chains that were made in the block, of samples and completions: 20 chains
        for each of 3 rows that make 10 sweeps are 600.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> X = (np.random.default_rng(0).random((200, 16)) < 0.3).astype(np.uint8)
    >>> rbm = dg.RBM(n_hidden=8, n_epochs=2, random_state=0).fit(X)
    >>> with dg.TimeLimit(60) as limit:
    ...     rbm.sample(3, n_sweeps=10).shape
    (3, 16)
    >>> limit.n_sweeps
    30
    """

    def __init__(self, seconds):
        check_number(seconds, "seconds", 0.0)
        self.seconds, self.n_sweeps = float(seconds), 0
        self._until, self._token, self._around = None, None, None
        self._first_to_end = self

    def __enter__(self):
        self._around = _current.get()
        self._until = time.monotonic() + self.seconds
        if self._around is not None and self._around._until < self._until:
            self._until, self._first_to_end = self._around._until, self._around._first_to_end
        self._token = _current.set(self)
        return self

    def __exit__(self, *error):
        _current.reset(self._token)
        if self._around is not None:
            self._around.n_sweeps += self.n_sweeps

    def end(self):
        """Let the time be over now; any thread may call it."""
        self._until = -math.inf

    @property
    def ending_after(self):
        """Seconds of the limit that ends first: of this one, or of one around it."""
        return self._first_to_end.seconds

    @property
    def remaining(self):
        """Seconds that are left, not below 0; before the block those of all of it."""
        if self._until is None:
            return self.seconds
        return max(0.0, self._until - time.monotonic())


def check_time(n_sweeps=0):
    """Raise TimeLimitError where the time of this thread's limit is over; without one do nothing.

    Parameters
    ----------
    n_sweeps : int
        Sweeps of single chains that were made since the last look.
    """
    limit = _current.get()
    if limit is None:
        return
    limit.n_sweeps += n_sweeps
    if limit.remaining == 0.0:
        raise TimeLimitError(limit.ending_after, limit.n_sweeps)


# A class, not a generator: a call of partial_fit with one row passes through it.
class without_time_limit:
    """Let a block heed no limit: an update that is broken off would be of no use."""

    def __enter__(self):
        self._token = _current.set(None)

    def __exit__(self, *error):
        _current.reset(self._token)
