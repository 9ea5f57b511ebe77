"""Hyper-parameters as plain data: what a checkpoint compares."""

from dataclasses import fields, is_dataclass

import numpy as np

from deepgen.io import model_files
from deepgen.io.schemas.registry import describe
from deepgen.io.trees import plain
from deepgen.layers.units import Units
from deepgen.learning.schedules import SCHEDULE_PLACES
from deepgen.models import BeliefNetwork, BoltzmannMachine
from deepgen.stacks.settings import Pretraining


def text(value):
    """Return what tells a setting that is an object from others, in every process the same."""
    if callable(value) and not is_dataclass(value):
        name = getattr(value, "__qualname__", type(value).__qualname__)
        return f"{name}, {[float(value(place)) for place in SCHEDULE_PLACES]}"
    known = is_dataclass(value) or isinstance(value, Units)
    return repr(value) if known else type(value).__qualname__

# Hyper-parameters that decide no bit of a run, or that are looked at apart.
_FREE = ("random_state", "n_threads", "callbacks", "verbose")


def setting(value):
    """Return a hyper-parameter as plain data, the same in every process."""
    if isinstance(value, Pretraining):
        return {part.name: setting(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, BoltzmannMachine | BeliefNetwork):
        return model_files.checksum(*describe(value))[:16]
    if type(value).__name__ == "FrozenEstimator":
        return setting(value.estimator.model_)
    if isinstance(value, list | tuple):
        return [setting(part) for part in value]
    if value is None or isinstance(value, str | bool | int | float | np.generic):
        return plain(value)
    return repr(value) if is_dataclass(value) else text(value)
