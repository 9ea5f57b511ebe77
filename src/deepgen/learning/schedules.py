"""Learning rates as functions of the progress of a run."""

import math
import numbers
from dataclasses import dataclass

from deepgen.checks import check_number, shown

# Progress at which schedules are looked at before any work.
SCHEDULE_PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)


def check_rate(value, name):
    """Raise ValueError unless `value` is a number of at least 0."""
    check_number(value, name, 0.0, closed=True)


@dataclass(frozen=True)
class Constant:
    """A learning rate that stays."""

    value: float

    def __post_init__(self):
        check_rate(self.value, "value")

    def __call__(self, progress):
        """Return the rate at `progress` in [0, 1] of the updates."""
        return self.value


@dataclass(frozen=True)
class Linear:
    """A learning rate that moves from `start` to `end` in a straight line."""

    start: float
    end: float = 0.0

    def __post_init__(self):
        check_rate(self.start, "start")
        check_rate(self.end, "end")

    def __call__(self, progress):
        """Return the rate at `progress` in [0, 1] of the updates."""
        return self.start + (self.end - self.start) * min(max(progress, 0.0), 1.0)


def as_schedule(value):
    """Turn a number or a callable of progress into a schedule."""
    if callable(value) and not isinstance(value, type):
        for place in SCHEDULE_PLACES:
            check_rate(value(place), f"learning_rate({place})")
        return value
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (number and 0 < value < math.inf):
        raise ValueError(
            "learning_rate must be None, a positive number or a schedule such as "
            f"dg.Linear(0.1, 0), got {shown(value)}"
        )
    return Constant(float(value))
