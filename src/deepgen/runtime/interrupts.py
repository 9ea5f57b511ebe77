"""Signals in a run: Ctrl-C, and what a scheduler sends, wait until an update is whole.

An update that is broken off leaves parameters that no checkpoint can hold, so a job that is told
to end in the middle of one would lose its work. A run therefore takes signals over while it is on,
looks at them between updates, and then does what would have been done at once.
"""

import contextlib
import signal
import threading
import time

# Those of `signal` make an enum of each handler: most of the time of a call with one row.
from _signal import getsignal
from _signal import signal as set_handler

# Ctrl-C; what `kill`, schedulers and container hosts send before they end a job for good; the end
# of a terminal. They are held whatever is to be done at them, but for nothing.
ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
# What a scheduler can be told to send before that: held where Python has a handler for it. Where it
# seems to have none, a library may have set one, as `faulthandler.register` does.
WARNING = ("SIGUSR1", "SIGUSR2")
# Those that this system has.
HELD = tuple(
    signal.Signals[name] for name in (*ENDING, *WARNING) if name in signal.Signals.__members__
)
_ENDING = frozenset(number for number in HELD if number.name in ENDING)
# `timeout` sends a signal to the process and to its group: within so many seconds it is one.
ONE_SIGNAL = 1.0


class EndedBySignal(BaseException):
    """A run unwinds because of a signal that ends the process afterwards."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


class Interrupts:
    """Signals of a run: the first one waits for :meth:`check`, a second one only for an update.

    A user who presses Ctrl-C twice has an iterable or a callback that hangs between two checks.

    Attributes
    ----------
    handlers : dict of {int: callable or signal.SIG_DFL}
        What was to be done at a signal before the run took it over.
    """

    def __init__(self):
        self.handlers, self.waiting = {}, []
        self._count, self._holding, self._latest = 0, False, {}

    def handle(self, number, frame):
        """Take a signal."""
        before, self._latest[number] = self._latest.get(number), time.monotonic()
        if number != signal.SIGINT and before and self._latest[number] - before < ONE_SIGNAL:
            return
        self.waiting.append((number, frame))
        self._count += 1
        if self._count > 1 and not self._holding:
            self.check()

    def check(self):
        """Do what was to be done at the signals that have come; most of it raises."""
        while self.waiting:
            number, frame = self.waiting.pop(0)
            handler = self.handlers[number]
            if handler == signal.SIG_DFL:
                raise EndedBySignal(number)
            handler(number, frame)

    @contextlib.contextmanager
    def held(self):
        """Let an update end, whatever comes."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._count > 1:
            self.check()

    def take_over(self):
        """Take the signals that would raise or end the process; the main thread alone gets any."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in HELD:
            handler = getsignal(number)
            # a run around this one holds them already
            around = isinstance(getattr(handler, "__self__", None), Interrupts)
            ends = number in _ENDING and handler == signal.SIG_DFL
            handled = callable(handler) and not around
            if ends or handled:
                self.handlers[number] = handler
                set_handler(number, self.handle)

    def give_back(self):
        """Put the handlers of before in their places."""
        for number, handler in self.handlers.items():
            set_handler(number, handler)


@contextlib.contextmanager
def interrupt_between_steps():
    """Hold signals back until an update is whole; yields :class:`Interrupts`.

    What no check has raised takes its effect when the block ends, and so does a signal that ends
    the process: callbacks have written their files by then.
    """
    interrupts, ended = Interrupts(), None
    interrupts.take_over()
    try:
        yield interrupts
    except EndedBySignal as error:
        ended = error.number
    finally:
        interrupts.give_back()
        for number, _ in interrupts.waiting:
            signal.raise_signal(number)
    if ended is not None:
        signal.raise_signal(ended)
        raise SystemExit(128 + ended)  # the first process of a container outlives its signals
