"""Numbers about a service for those who watch it, in the text format of Prometheus."""

import os
import threading
import time
from bisect import bisect_left

# Upper ends, in seconds, of the classes that answers are counted in.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counts of requests, rows and batches; any thread adds to them.

    Attributes
    ----------
    gauges : dict of str to tuple of (str, callable)
        What is read when somebody asks: what it is about, and a function without arguments.
    """

    def __init__(self):
        self.gauges = {}
        self._lock = threading.Lock()
        self._requests, self._seconds = {}, {}
        self._rows, self._batches, self._began = 0, 0, time.time()

    @property
    def n_requests(self):
        """Requests that were answered."""
        with self._lock:
            return sum(self._requests.values())

    def answered(self, endpoint, status, seconds):
        """Count an answer.

        Parameters
        ----------
        endpoint : str
            One of a few names, never what a client has sent.
        status : int
            499: the client had gone.
        seconds : float
        """
        with self._lock:
            key = endpoint, status
            self._requests[key] = self._requests.get(key, 0) + 1
            counts, total = self._seconds.get(endpoint, ([0] * (len(BOUNDS) + 1), 0.0))
            counts[bisect_left(BOUNDS, seconds)] += 1
            self._seconds[endpoint] = counts, total + seconds

    def computed(self, n_rows):
        """Count rows that were computed in one call of the model."""
        with self._lock:
            self._rows, self._batches = self._rows + n_rows, self._batches + 1

    def text(self):
        """Return all numbers."""
        with self._lock:
            lines = _head("deepgen_requests_total", "Requests answered.", "counter")
            for (endpoint, status), count in sorted(self._requests.items()):
                labels = f'endpoint="{endpoint}",status="{status}"'
                lines.append(f"deepgen_requests_total{{{labels}}} {count}")
            name = "deepgen_request_seconds"
            lines += _head(name, "From a request's head to the end of its answer.", "histogram")
            for endpoint, (counts, total) in sorted(self._seconds.items()):
                so_far = 0
                for bound, count in zip((*BOUNDS, "+Inf"), counts, strict=True):
                    so_far += count
                    lines.append(f'{name}_bucket{{endpoint="{endpoint}",le="{bound}"}} {so_far}')
                lines.append(f'{name}_sum{{endpoint="{endpoint}"}} {total:.6f}')
                lines.append(f'{name}_count{{endpoint="{endpoint}"}} {so_far}')
            lines += _head("deepgen_rows_total", "Rows computed or drawn.", "counter")
            lines.append(f"deepgen_rows_total {self._rows}")
            about = "Calls of the model; each computes one request or several together."
            lines += _head("deepgen_calls_total", about, "counter")
            lines.append(f"deepgen_calls_total {self._batches}")
        for name, (about, value) in sorted(self.gauges.items()):
            lines += [*_head(name, about, "gauge"), f"{name} {value():g}"]
        lines += _head("process_start_time_seconds", "Start, in seconds since 1970.", "gauge")
        lines.append(f"process_start_time_seconds {self._began:.3f}")
        lines += _head("process_cpu_seconds_total", "Processor time.", "counter")
        lines.append(f"process_cpu_seconds_total {time.process_time():.3f}")
        memory = resident_bytes()
        if memory is not None:
            lines += _head("process_resident_memory_bytes", "Memory in use.", "gauge")
            lines.append(f"process_resident_memory_bytes {memory}")
        return "\n".join(lines) + "\n"


def _head(name, about, kind):
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]


def resident_bytes():
    """Return how much memory this process has, in bytes; None where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
