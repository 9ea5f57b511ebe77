"""How many threads a kernel uses: decided here alone. No result depends on it."""

import os
import time

from deepgen._kernels import engine
from deepgen.checks import is_integer, shown

# Below this many multiply-adds between two barriers (about 0.2 ms) waking a second thread costs
# more than it saves, and on a busy machine far more.
SERIAL_WORK = 4_000_000

# libgomp ends the process where the system refuses a thread: a slip must not get there.
MOST_THREADS = 1024

_HAS_OPENMP = engine.has_openmp()

_limit = None
_in_forked_child = False


def _after_fork_in_child():
    # libgomp hangs in the child of a process that has used threads; serial code gives the
    # same bits, so the child just runs serial.
    global _in_forked_child
    _in_forked_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def available_cores():
    """Count the cores that this process may use (affinity and cgroup quota).

    Returns
    -------
    int
        At least 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        return max(1, cores or 1)  # no cgroup v2 here: affinity is all there is to know
    return max(1, cores or 1)


def set_num_threads(n):
    """Set the number of threads for calls that do not name their own.

    Parameters
    ----------
    n : int or None
        Number of threads; None returns to ``OMP_NUM_THREADS``, else the available cores.

    Raises
    ------
    ValueError
        If `n` is less than 1.
    """
    global _limit
    check_threads(n, "n")
    _limit = None if n is None else int(n)


def check_threads(n, name="n_threads"):
    """Raise ValueError unless `n` is None or a number of threads."""
    if n is not None and not (is_integer(n) and 1 <= n <= MOST_THREADS):
        most = f" of at most {MOST_THREADS}" if is_integer(n) and n > 1 else ""
        raise ValueError(f"{name} must be a positive integer{most} or None, got {shown(n)}")


def effective_threads(n_threads=None, work=None):
    """Decide how many threads a kernel call uses.

    Results never depend on the answer.

    Parameters
    ----------
    n_threads : int or None
        What the caller asked for.
    work : int or None
        Multiply-adds between two barriers; small work stays serial.

    Returns
    -------
    int
    """
    if not (type(n_threads) is int and 1 <= n_threads <= MOST_THREADS):  # an update asks often
        check_threads(n_threads)
    if work is not None and work < SERIAL_WORK:
        return 1
    if _in_forked_child or not _HAS_OPENMP:
        return 1
    if n_threads is not None:
        return int(n_threads)
    if _limit is not None:
        return _limit
    return threads_of(os.environ.get("OMP_NUM_THREADS", "")) or available_cores()


def threads_of(text):
    """Return the number of threads that OMP_NUM_THREADS asks for, or None where it can be none."""
    wish = text.split(",")[0].strip()  # a list has a number for each level; ours is the first
    if wish.isascii() and wish.isdigit() and len(wish) < 6 and 1 <= int(wish) <= MOST_THREADS:
        return int(wish)
    return None


class Governor:
    """Chooses between many threads and one, step by step, for a loop of like steps.

    A team of threads waits at barriers for its slowest member. Where other processes use the
    cores, that makes two threads many times slower than one, so the choice is measured again
    and again: a few steps of each, then the faster for many steps, longer each time that one
    thread wins. Results never depend on it (docs/decisions.md has numbers).

    Parameters
    ----------
    n_threads : int or None
        The most to use; see :func:`effective_threads`.
    """

    PROBE = 3  # steps that are measured with each number of threads
    HOLD = 300  # steps between two measurements, twice as many each time that one thread wins
    LONGEST = 10_000  # but no more than this

    def __init__(self, n_threads=None):
        self.most = effective_threads(n_threads)
        self._hold = self.HOLD
        self._first = True  # not measured: it wakes the team, and may be the only step
        self._restart()

    def _restart(self):
        """Begin to measure again."""
        self._single, self._team = [], []  # seconds of the steps of this probe
        self._left = 0  # steps until the next probe, once the probe is over
        self._choice = None

    def next(self):
        """Return the number of threads for the next step, and start its clock."""
        if self.most == 1:
            return 1
        if self._first:
            self._current = self.most
        elif self._choice is None:
            self._current = 1 if len(self._single) < self.PROBE else self.most
        else:
            self._current = self._choice
        self._began = time.perf_counter()
        return self._current

    def done(self, n_steps=1):
        """Stop the clock; where enough is measured, choose for the steps to come.

        Parameters
        ----------
        n_steps : int, default 1
            Steps since :meth:`next`, all on the threads that it named.
        """
        if self.most == 1:
            return
        if self._first:
            self._first = False
            return
        if self._choice is not None:
            self._left -= n_steps
            if self._left <= 0:
                self._restart()
            return
        steps = self._single if self._current == 1 else self._team
        steps.append((time.perf_counter() - self._began) / n_steps)
        # a team that is far slower is not measured to the end: each of its steps is dear
        slow = self._team and self._team[-1] > 2.0 * max(self._single)
        if slow or len(self._team) == self.PROBE:
            if slow or sum(self._team) > sum(self._single):
                self._choice, self._hold = 1, min(2 * self._hold, self.LONGEST)
            else:
                self._choice, self._hold = self.most, self.HOLD
            self._left = self._hold
