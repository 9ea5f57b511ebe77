"""One run of an estimator at a time; and an estimator that bad input leaves as it was."""

import os
import threading

from deepgen.runtime.time_limit import without_time_limit

# Whom a thread trains: id of the estimator to that of the thread. A signal handler may take the
# lock once more. `_freed` is told whenever an estimator is free again.
_busy, _lock = {}, threading.RLock()
_freed = threading.Condition(_lock)


# Classes, not generators: a call of partial_fit with one row passes through each of them.
class alone:
    """Let one thread at a time train an estimator, to no time limit; others get a RuntimeError."""

    def __init__(self, estimator):
        self._estimator, self._unlimited = estimator, without_time_limit()

    def __enter__(self):
        estimator = self._estimator
        with _lock:
            if id(estimator) in _busy:
                raise RuntimeError(
                    f"this {type(estimator).__name__} is being fitted already, by another thread "
                    "or by the callback that calls fit; train a copy (sklearn.base.clone), or "
                    "wait; a stream is saved between two calls"
                )
            _busy[id(estimator)] = threading.get_ident()
        self._unlimited.__enter__()

    def __exit__(self, *error):
        self._unlimited.__exit__()
        with _lock:
            _busy.pop(id(self._estimator), None)
            _freed.notify_all()


class unchanged_on_error:
    """Put an estimator's attributes back if the block raises."""

    def __init__(self, estimator):
        self._estimator = estimator

    def __enter__(self):
        self._before = dict(vars(self._estimator))

    def __exit__(self, kind, error, trace):
        if kind is not None:
            vars(self._estimator).clear()
            vars(self._estimator).update(self._before)


class settled:
    """Wait until no other thread trains an estimator, and let none begin."""

    def __init__(self, estimator):
        self._estimator = estimator

    def __enter__(self):
        self._held, me = _freed, threading.get_ident()
        self._held.acquire()
        try:
            while _busy.get(id(self._estimator), me) != me:
                self._held.wait()
        except BaseException:  # Ctrl-C while it waits
            self._held.release()
            raise

    def __exit__(self, *error):
        self._held.release()


def _free_in_child():
    # the threads that were training do not exist in the child
    global _lock, _freed
    _lock = threading.RLock()
    _freed = threading.Condition(_lock)
    _busy.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_in_child)
