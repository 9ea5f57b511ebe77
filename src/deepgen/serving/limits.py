"""How much a service takes on: everything that a request could make large."""

from dataclasses import dataclass

from deepgen.checks import check_integer, check_number


@dataclass(frozen=True)
class Limits:
    """Bounds of requests and answers; what lies beyond is refused with a status of its own.

    Attributes
    ----------
    body : int
        Bytes of a request, counted as they arrive: 413.
    rows : int
        Rows of a request: 422.
    sweeps, chains : int
        Of samples and completions, by chain and by request (of samples) or row (of completions):
        422.
    values : int
        Numbers in an answer, so that many narrow rows cannot ask for wide features: 422.
    seconds : float
        From the last byte of a request to its answer: 503. As long a body may take to arrive: 408.
    queue : int
        Requests that wait for a thread: 429.
    together : int
        Rows of a request that is computed together with others of its kind.
    wait : float
        Seconds for which such a request waits for others while a thread is at work.
    connections : int
        Connections at once: 503 beyond.
    """

    body: int = 2**20
    rows: int = 4_096
    sweeps: int = 1_000
    chains: int = 256
    values: int = 2**22
    seconds: float = 5.0
    queue: int = 64
    together: int = 64
    wait: float = 0.002
    connections: int = 1_024

    def __post_init__(self):
        for name in ("body", "rows", "sweeps", "chains", "values", "queue", "connections"):
            check_integer(getattr(self, name), name)
        check_integer(self.together, "together", 0)
        check_number(self.seconds, "seconds", 0.0)
        check_number(self.wait, "wait", 0.0, closed=True)

    def rows_of(self, width):
        """Return how many rows an answer of rows of so many numbers can have."""
        return max(1, min(self.rows, self.values // max(width, 1)))
