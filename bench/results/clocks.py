"""Seconds of a run that other work on the machine, and stops in between, do not move."""

import time


class ProcessorSeconds:
    """A callback that adds the processor seconds of each epoch, which other work does not move."""

    def __init__(self):
        self._last = time.process_time()

    def __call__(self, report):
        """Add this epoch's seconds."""
        now = time.process_time()
        report.entry["processor_seconds"], self._last = now - self._last, now
