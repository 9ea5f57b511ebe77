"""Hyper-parameters as plain data: what a checkpoint keeps of them, and compares."""

from dataclasses import fields, is_dataclass

import numpy as np

from deepgen.io import model_files
from deepgen.io.schemas.registry import describe
from deepgen.io.trees import plain
from deepgen.layers.units import Units
from deepgen.learning.schedules import SCHEDULE_PLACES
from deepgen.models import BeliefNetwork, BoltzmannMachine
from deepgen.stacks.settings import Pretraining

# Hyper-parameters that decide no bit of a run; the seed, which is compared elsewhere; and which
# label stands for none: what it decides, the targets tell.
FREE = ("random_state", "n_threads", "callbacks", "verbose", "unlabelled", "communicator")


def plain_settings(estimator, resolved, *, without=()):
    """Return the hyper-parameters that decide the bits of a run, as plain data by name.

    They are all hyper-parameters but those in `FREE`: a new one is kept and compared unless it is
    named there.

    Parameters
    ----------
    estimator : BaseEstimator
    resolved : dict
        Values by name that replace hyper-parameters, such as the rule that ``"pcd"`` means, or
        that are added to them, such as the classes of labels.
    without : sequence of str
        Names that do not count: a stream has no ``"n_epochs"``.
    """
    free = {*FREE, *resolved}
    names = [name for name in estimator.get_params(deep=False) if name not in free]
    settings = {name: plain_setting(getattr(estimator, name)) for name in names}
    settings |= {name: plain_setting(value) for name, value in resolved.items()}
    settings["estimator"] = type(estimator).__name__
    settings["n_features"] = int(estimator.n_features_in_)
    return {name: value for name, value in settings.items() if name not in without}


def plain_setting(value):
    """Return one hyper-parameter as plain data, the same in every process.

    A model becomes a digest of its parameters, a schedule its rates at a few places, another
    object its ``repr``, where that tells its settings, or else the name of its class.
    """
    if isinstance(value, Pretraining):
        return {part.name: plain_setting(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, BoltzmannMachine | BeliefNetwork):
        return model_files.checksum(*describe(value))[:16]
    if type(value).__name__ == "FrozenEstimator":
        return plain_setting(value.estimator.model_)
    if isinstance(value, list | tuple):
        return [plain_setting(part) for part in value]
    if value is None or isinstance(value, str | bool | int | float | np.generic):
        return plain(value)
    if is_dataclass(value) or isinstance(value, Units):
        return repr(value)
    if callable(value):
        name = getattr(value, "__qualname__", type(value).__qualname__)
        return f"{name}, {[float(value(place)) for place in SCHEDULE_PLACES]}"
    return type(value).__qualname__
