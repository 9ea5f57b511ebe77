"""One thread of BLAS inside a call, and the setting of the process as it was afterwards."""

import threading

import pytest
from stops import Stop, fail
from threadpoolctl import threadpool_info, threadpool_limits

from deepgen.runtime.blas import one_blas_thread


def blas_threads():
    """Threads of each BLAS library."""
    return {p["filepath"]: p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}


def test_blas_has_one_thread_inside_and_its_own_number_afterwards():
    """Would catch a setting that stays, that comes back too early, or that an error keeps."""
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        with one_blas_thread():
            with pytest.raises(Stop), one_blas_thread():
                fail()
            assert set(blas_threads().values()) == {1}
        assert blas_threads() == before


def test_threads_that_come_together_leave_the_setting_as_it_was():
    """Would catch a thread that takes another one's setting for the process's, or puts the number
    back while another one is inside; and a limit that a library ignores in all threads but one.
    """
    with threadpool_limits(2, "blas"):
        before, together, inside = blas_threads(), threading.Barrier(4), []

        def work():
            together.wait(60)
            for _ in range(20):
                with one_blas_thread():
                    inside.append(set(blas_threads().values()))

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert inside == [{1}] * 80
        assert blas_threads() == before
