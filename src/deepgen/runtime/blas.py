"""Products, Cholesky factors and triangular solves by BLAS and LAPACK, on one thread.

OpenBLAS and MKL round differently with another number of threads. One thread inside the call keeps
the bits the same on one machine, whatever the settings; another machine may have others.
"""

import os
import threading
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

_alone = threading.RLock()


def _after_fork_in_child():
    # who held it may be a thread that the child does not have
    global _alone
    _alone = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


@cache
def _libraries():
    """Return threadpoolctl's controller of the BLAS libraries in this process; made once.

    Listing the libraries takes milliseconds; setting their threads then takes microseconds.
    """
    import scipy.linalg  # noqa: F401  its BLAS must be loaded when they are listed

    return ThreadpoolController()


def _take_control(libraries):
    """Let this thread set the number of threads, whichever thread has set it before.

    Newer versions of threadpoolctl listen to the first thread alone that sets a number for the
    whole process, and ignore the others without a word.
    """
    for library in libraries.lib_controllers:
        give_up = getattr(library, "clear_controlling_thread", None)
        if give_up is not None:
            give_up(force=True)


@contextmanager
def one_blas_thread():
    """Let BLAS run on one thread while the caller is inside, then as it was.

    The number of threads is a setting of the process in most libraries, of a thread in others. So
    threads of Python take turns: the second one to come waits until the first has left, and none
    puts a number back while another one is inside. Calls within calls are fine.
    """
    with _alone:
        libraries = _libraries()
        _take_control(libraries)
        limits = libraries.limit(limits=1, user_api="blas")
        try:
            yield
        finally:
            _take_control(libraries)
            limits.restore_original_limits()
            _take_control(libraries)
