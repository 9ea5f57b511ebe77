"""The work of requests: who waits, what is computed together, on which thread, and until when."""

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from deepgen.errors import TimeLimitError
from deepgen.runtime.threads import available_cores
from deepgen.runtime.time_limit import TimeLimit
from deepgen.serving.refusals import Refusal, of_the_library

_log = logging.getLogger("deepgen.serving")
# A thread may be a little late; a request that hears nothing for so long after its time gives up.
GRACE = 1.0
# Processor seconds of a call that is made on the loop itself: to hand it to a thread and back costs
# more, most of all in waits for Python's lock, and others wait for the loop no longer than for a
# body that is read there.
QUICK = 0.0005


@dataclass(eq=False)
class Task:
    """One request on its way through the model.

    Attributes
    ----------
    ability : Ability
    rows : ndarray or None
    options : dict
        By parameter of the estimator's method.
    finish : callable
        From (values, deviations) to what the request gets; called on the thread.
    until : float
        When its time is over, of ``time.monotonic``.
    answer : Future
        Of asyncio.
    limit : TimeLimit or None
        While it is computed.
    gone : bool
        Whether nobody waits for the answer any more.
    """

    ability: object
    rows: np.ndarray | None
    options: dict
    finish: object
    until: float
    answer: asyncio.Future
    limit: TimeLimit | None = None
    gone: bool = False

    @property
    def key(self):
        """What tasks must share to be computed together."""
        dtype = None if self.rows is None else self.rows.dtype.str
        return self.ability.endpoint.name, dtype, tuple(sorted(self.options.items()))

    @property
    def n_rows(self):
        """Rows that it reads, or asks for."""
        return self.options.get("n_samples", 1) if self.rows is None else len(self.rows)


class Workshop:
    """Threads that answer requests with one estimator; used from one loop of asyncio.

    Small requests of one kind are computed in one call: a row has the same bits alone and in
    company. One that comes while no thread is at work does not wait for others. A kind of request
    whose last call took no time worth a thread is answered on the loop.

    Parameters
    ----------
    estimator : BaseEstimator
        Each thread computes on one core.
    limits : Limits
    metrics : Metrics
    n_threads : int or None
        None: as many as this process may use cores.
    """

    def __init__(self, estimator, limits, metrics, n_threads=None):
        self.estimator, self.limits, self.metrics = estimator, limits, metrics
        self.n_threads = available_cores() if n_threads is None else n_threads
        self._pool = ThreadPoolExecutor(self.n_threads, thread_name_prefix="deepgen")
        self._lock = threading.Lock()
        self._n_waiting, self._n_running, self._closed = 0, 0, False
        self._groups, self._at_work = {}, set()
        self._quick_rows = {}  # by key of tasks: how many rows a call may have to be a quick one
        metrics.gauges["deepgen_queue_length"] = (
            "Requests that wait for a thread.", lambda: self._n_waiting
        )
        metrics.gauges["deepgen_running_calls"] = (
            "Calls of the model on their way.", lambda: self._n_running
        )

    # --- on the loop --------------------------------------------------------------------------

    def begin(self, ability, rows, options, finish):
        """Take a request on; return its :class:`Task`, whose `answer` is awaited.

        Raises
        ------
        Refusal
            429 where too many wait already, 503 where the service ends.
        """
        if self._closed:
            raise Refusal(503, "this service is shutting down", headers={"Retry-After": "5"})
        loop = asyncio.get_running_loop()
        until = time.monotonic() + self.limits.seconds
        task = Task(ability, rows, options, finish, until, loop.create_future())
        if self._is_quick(task):
            self._compute([task], None)
            return task
        with self._lock:
            if self._n_waiting >= self.limits.queue:
                raise Refusal(
                    429, f"{self._n_waiting} requests are waiting already; come back in a second",
                    headers={"Retry-After": "1"},
                )  # fmt: skip
            self._n_waiting += 1
            busy = self._n_running > 0
        if not ability.apart or task.n_rows > self.limits.together:
            self._pool.submit(self._work, [task], loop)
            return task
        key = task.key
        group = self._groups.setdefault(key, [])
        group.append(task)
        full = sum(other.n_rows for other in group) >= self.limits.together
        if full or not busy:
            self._send(key, loop)
        elif len(group) == 1:
            loop.call_later(self.limits.wait, self._send, key, loop)
        return task

    def _is_quick(self, task):
        """Tell whether a request can be answered on the loop, as far as earlier calls tell."""
        return task.ability.apart and task.n_rows <= self._quick_rows.get(task.key, 0)

    def _learn(self, task, n_rows, seconds):
        """Take a call of so many rows as the measure of those to come."""
        known = self._quick_rows.get(task.key, 0)
        quick = max(known, n_rows) if seconds <= QUICK else min(known, n_rows - 1)
        self._quick_rows[task.key] = min(quick, self.limits.together)

    def _send(self, key, loop):
        """Give a group of requests to a thread, unless another call has done so."""
        group = self._groups.pop(key, None)
        if group and not self._closed:
            self._pool.submit(self._work, group, loop)

    async def answer_of(self, task, gone):
        """Wait for an answer, a little longer than its time.

        Parameters
        ----------
        task : Task
        gone : Future
            Done where the client has left.

        Returns
        -------
        bytes or None
            None: the client has left, and the work ends.

        Raises
        ------
        Refusal
            What the work has ended with; 503 where the time is over.
        """
        left = task.until - time.monotonic() + GRACE
        await asyncio.wait(
            (task.answer, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED
        )
        if task.answer.done():
            return task.answer.result()
        self.leave(task)
        if gone.done():
            return None
        raise self._late()

    def leave(self, task):
        """Let a task end early: nobody waits for it any more."""
        task.gone = True
        limit = task.limit
        if limit is not None:
            limit.end()

    def close(self):
        """End all work: what waits is not begun, what runs is stopped at its next look."""
        self._closed = True
        self._groups.clear()
        for task in tuple(self._at_work):
            self.leave(task)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --- on threads ---------------------------------------------------------------------------

    def _work(self, tasks, loop):
        """Compute some requests together, and hand their answers over."""
        with self._lock:
            self._n_waiting -= len(tasks)
            self._n_running += 1
            self._at_work.update(tasks)
        try:
            now = time.monotonic()
            here = []
            for task in tasks:
                if task.gone:
                    continue
                if now >= task.until:
                    self._tell(task, loop, self._late())
                else:
                    here.append(task)
            if here:
                self._compute(here, loop)
        except BaseException as error:  # a thread that ends with an error tells nobody
            _log.exception("a request failed")
            for task in tasks:
                self._tell(task, loop, error)
        finally:
            with self._lock:
                self._n_running -= 1
                self._at_work.difference_update(tasks)

    def _compute(self, tasks, loop):
        """Answer requests by one call of the model; where that fails, each by itself.

        The loop is that which their answers are handed over to; None: this thread's own.
        """
        first, began = tasks[0], time.thread_time()
        rows = first.rows if len(tasks) == 1 else np.concatenate([task.rows for task in tasks])
        try:
            with TimeLimit(max(1e-3, first.until - time.monotonic())) as limit:
                if len(tasks) == 1:
                    first.limit = limit
                    if first.gone:  # between the look before and here
                        return
                values, deviations = first.ability.answer(self.estimator, rows, first.options)
            n_rows = sum(task.n_rows for task in tasks)
            self.metrics.computed(n_rows)
            if first.ability.apart:
                self._learn(first, n_rows, time.thread_time() - began)
        except Exception as error:
            if len(tasks) > 1:  # one of them is to blame, and the others need not know
                for task in tasks:
                    self._compute([task], loop)
            else:
                self._tell(first, loop, self._refusal_of(error))
            return
        finally:
            first.limit = None
        start = 0
        for task in tasks:
            stop = start + len(values) if task.rows is None else start + len(task.rows)
            some = None if deviations is None else deviations[start:stop]
            try:
                self._tell(task, loop, None, task.finish(values[start:stop], some))
            except Exception as error:
                self._tell(task, loop, self._refusal_of(error))
            start = stop

    def _refusal_of(self, error):
        """Return what a request gets where the model has raised."""
        if isinstance(error, Refusal):
            return error
        if isinstance(error, TimeLimitError):
            return self._late(error.n_sweeps)
        if isinstance(error, MemoryError):
            return Refusal(503, "there is not enough memory for this request just now")
        if isinstance(error, ValueError | TypeError):
            return of_the_library(error)
        return error

    def _late(self, n_sweeps=0):
        made = f" after {n_sweeps:,} sweeps of single chains" if n_sweeps else ""
        return Refusal(
            503, f"no answer within {self.limits.seconds:g} s{made}; ask for fewer rows, chains or "
            "sweeps", headers={"Retry-After": "1"},
        )  # fmt: skip

    @staticmethod
    def _tell(task, loop, error, answer=None):
        """Hand an answer or an error over to a loop, which may have ended; None: this thread's."""

        def hand_over():
            if task.answer.done():
                return
            if error is None:
                task.answer.set_result(answer)
            else:
                task.answer.set_exception(error)
                task.answer.exception()  # looked at: nobody may be waiting any more

        if loop is None:
            hand_over()
            return
        try:
            loop.call_soon_threadsafe(hand_over)
        except RuntimeError:
            _log.debug("an answer came after the end of the service")
