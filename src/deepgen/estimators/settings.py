"""Hyper-parameters of an RBM: what is valid, and what it stands for in the core."""

import numpy as np

from deepgen.optimizers import SGD, Constant, Linear, as_schedule
from deepgen.rules import as_rule
from deepgen.training import HIDDEN_BIAS, Trainer, default_schedule
from deepgen.units import Binary, Gaussian, as_units


def check_integer(value, name, least=1):
    """Raise ValueError unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def _sized(units, size, name, needed_by):
    try:
        return units.sized(size)
    except ValueError as error:
        raise ValueError(f"{name} does not fit {needed_by}: {error}") from None


def check_settings(estimator):
    """Raise ValueError where a hyper-parameter is not valid, before any work."""
    for name in ("n_hidden", "batch_size"):
        check_integer(getattr(estimator, name), name)
    for name in ("n_epochs", "n_threads"):
        if getattr(estimator, name) is not None:
            check_integer(getattr(estimator, name), name)
    if not isinstance(estimator.verbose, bool):
        check_integer(estimator.verbose, "verbose", 0)
    for name in ("rule", "learning_rate", "optimizer"):
        value = getattr(estimator, name)
        if isinstance(value, type):
            raise ValueError(
                f"{name} must be an object, got the class {value.__name__}; write "
                f"{value.__name__}(...)"
            )
    as_rule(estimator.rule)
    if estimator.learning_rate is not None:
        as_schedule(estimator.learning_rate)
    if estimator.optimizer is not None and not hasattr(estimator.optimizer, "step"):
        raise ValueError(
            f"optimizer must be None, dg.SGD(...) or dg.Adam(...), got {estimator.optimizer!r}"
        )
    visible, hidden = as_units(estimator.visible, "visible"), as_units(estimator.hidden, "hidden")
    if isinstance(visible, Gaussian) and isinstance(hidden, Gaussian):
        raise ValueError(
            "hidden must not be Gaussian where visible is: such a model need not be "
            "normalizable; make one of them 'binary'"
        )
    if not isinstance(estimator.binarize, bool | np.bool_):
        raise ValueError(f"binarize must be True or False, got {estimator.binarize!r}")
    if estimator.binarize and not (isinstance(visible, Binary) and visible.n_copies == 1):
        raise ValueError(f"binarize needs visible='binary', got visible={estimator.visible!r}")
    if not isinstance(estimator.callbacks, list | tuple | None) or not all(
        callable(callback) for callback in estimator.callbacks or ()
    ):
        raise ValueError(f"callbacks must be a list of callables, got {estimator.callbacks!r}")


def units_for(estimator, n_columns):
    """Return the visible and hidden layers that the hyper-parameters ask for, sized."""
    visible = as_units(estimator.visible, "visible")
    hidden = as_units(estimator.hidden, "hidden")
    if isinstance(hidden, Gaussian):
        hidden = hidden.replace(learn_precision=False)  # its scale is the weights' scale
    elif isinstance(hidden, Binary) and hidden.size is None:
        bias = np.full(estimator.n_hidden, HIDDEN_BIAS)
        hidden = Binary(bias=bias, n_copies=hidden.n_copies)
    return (
        _sized(visible, n_columns, "visible", f"the {n_columns} columns of X"),
        _sized(hidden, estimator.n_hidden, "hidden", f"n_hidden={estimator.n_hidden}"),
    )


def trainer_for(estimator, model, stream, *, streaming=False):
    """Return a run of learning with the estimator's settings; constant rate for streams."""
    if estimator.learning_rate is not None:
        schedule = as_schedule(estimator.learning_rate)
    else:
        schedule = default_schedule(model.layers)
        if streaming and isinstance(schedule, Linear):
            schedule = Constant(0.25 * schedule.start)
    optimizer = estimator.optimizer or SGD()
    return Trainer(
        model, as_rule(estimator.rule), optimizer, schedule, stream=stream,
        batch_size=estimator.batch_size, binarize=estimator.binarize, n_threads=estimator.n_threads,
    )  # fmt: skip
