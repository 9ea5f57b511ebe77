"""Says what is going on, and how long it took."""

import contextlib
import time


class Clock:
    """Stages of a long command: their seconds by name, said as they end.

    Parameters
    ----------
    say : callable
        Takes what ``print`` takes.

    Attributes
    ----------
    seconds : dict of str to float
        Of each stage, and ``total`` since the beginning.
    """

    def __init__(self, say):
        self.say, self.seconds, self._began = say, {}, time.perf_counter()

    @contextlib.contextmanager
    def stage(self, name, words):
        """Time what is done in a block, and say its words and its seconds."""
        self.say(f"{words} ...", end=" ", flush=True)
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            self.say()  # what comes next is an error message: on a line of its own
            raise
        now = time.perf_counter()
        self.seconds[name] = round(now - start, 2)
        self.seconds["total"] = round(now - self._began, 2)
        self.say(f"{self.seconds[name]:.1f} s")
