"""One run of an estimator at a time; and an estimator that bad input leaves as it was."""

import contextlib
import os
import threading

from deepgen.runtime.time_limit import without_time_limit

_busy, _lock = set(), threading.RLock()  # a signal handler may take it once more


@contextlib.contextmanager
def alone(estimator):
    """Let one thread at a time train an estimator, to no time limit; others get a RuntimeError."""
    with _lock:
        if id(estimator) in _busy:
            raise RuntimeError(
                f"this {type(estimator).__name__} is being fitted already, by another thread or by "
                "the callback that calls fit; train a copy (sklearn.base.clone), or wait; a stream "
                "is saved between two calls"
            )
        _busy.add(id(estimator))
    try:
        with without_time_limit():
            yield
    finally:
        with _lock:
            _busy.discard(id(estimator))


@contextlib.contextmanager
def unchanged_on_error(estimator):
    """Put an estimator's attributes back if the block raises."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _free_in_child():
    # the threads that were training do not exist in the child
    global _lock
    _lock = threading.RLock()
    _busy.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_in_child)
