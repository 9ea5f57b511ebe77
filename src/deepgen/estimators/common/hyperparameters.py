"""Hyper-parameters of an RBM: what is valid, and what it stands for in the core."""

import numpy as np

from deepgen.checks import check_flag, check_integer, is_integer, shown
from deepgen.layers.binary import Binary
from deepgen.layers.gaussian import Gaussian
from deepgen.layers.named import as_units
from deepgen.learning.machines import Trainer
from deepgen.learning.optimizers import SGD, check_optimizer
from deepgen.learning.rules import as_rule
from deepgen.learning.schedules import as_schedule
from deepgen.learning.starts import HIDDEN_BIAS, default_schedule, default_stream_schedule
from deepgen.runtime.stream import check_random_state
from deepgen.runtime.threads import check_threads


def _sized(units, size, name, needed_by):
    try:
        return units.sized(size)
    except ValueError as error:
        raise ValueError(f"{name} does not fit {needed_by}: {error}") from None


def check_common(estimator):
    """Raise ValueError where what every estimator has is not valid."""
    check_threads(estimator.n_threads)
    check_random_state(estimator.random_state)
    if not isinstance(estimator.verbose, bool):
        check_integer(estimator.verbose, "verbose", 0)


def check_objects(estimator, names):
    """Raise ValueError where a class stands for an object of it."""
    for name in names:
        _refuse_class(name, getattr(estimator, name))


def _refuse_class(name, value):
    if isinstance(value, type):
        raise ValueError(
            f"{name} must be an object, got the class {value.__name__}; write {value.__name__}(...)"
        )


def check_callbacks(callbacks):
    """Raise ValueError unless `callbacks` is None or a list of callables, none of them a class."""
    if not isinstance(callbacks, list | tuple | None) or not all(
        callable(callback) for callback in callbacks or ()
    ):
        raise ValueError(f"callbacks must be a list of callables, got {shown(callbacks)}")
    for number, callback in enumerate(callbacks or ()):
        _refuse_class(f"callbacks[{number}]", callback)


def check_sizes(n_hidden):
    """Return the sizes of hidden layers as a tuple after a check."""
    sizes = (n_hidden,) if is_integer(n_hidden) else n_hidden
    if isinstance(sizes, np.ndarray) and sizes.ndim == 1:
        sizes = sizes.tolist()
    if not isinstance(sizes, list | tuple) or not sizes:
        raise ValueError(
            "n_hidden must be a size, or a sequence of sizes such as (500, 100), got "
            f"{shown(n_hidden)}"
        )
    for size in sizes:
        check_integer(size, "each size in n_hidden")
    return tuple(int(size) for size in sizes)


def check_settings(estimator):
    """Raise ValueError where a hyper-parameter is not valid, before any work."""
    for name in ("n_hidden", "batch_size"):
        check_integer(getattr(estimator, name), name)
    if estimator.n_epochs is not None:
        check_integer(estimator.n_epochs, "n_epochs")
    check_common(estimator)
    check_objects(estimator, ("rule", "learning_rate", "optimizer"))
    as_rule(estimator.rule)
    if estimator.learning_rate is not None:
        as_schedule(estimator.learning_rate)
    if estimator.optimizer is not None:
        check_optimizer(estimator.optimizer, "None, dg.SGD(...) or dg.Adam(...)")
    visible, hidden = as_units(estimator.visible, "visible"), as_units(estimator.hidden, "hidden")
    if isinstance(visible, Gaussian) and isinstance(hidden, Gaussian):
        raise ValueError(
            "hidden must not be Gaussian where visible is: such a model need not be "
            "normalizable; make one of them 'binary'"
        )
    check_flag(estimator.binarize, "binarize")
    if estimator.binarize and not (isinstance(visible, Binary) and visible.n_copies == 1):
        raise ValueError(f"binarize needs visible='binary', got visible={estimator.visible!r}")
    check_callbacks(estimator.callbacks)


def visible_units(estimator, n_columns):
    """Return the visible layer that the hyper-parameters ask for, sized."""
    visible = as_units(estimator.visible, "visible")
    return _sized(visible, n_columns, "visible", f"the {n_columns} columns of X")


def units_for(estimator, n_columns):
    """Return the visible and hidden layers that the hyper-parameters ask for, sized."""
    hidden = as_units(estimator.hidden, "hidden")
    if isinstance(hidden, Gaussian):
        hidden = hidden.replace(learn_precision=False)  # its scale is the weights' scale
    elif isinstance(hidden, Binary) and hidden.size is None:
        bias = np.full(estimator.n_hidden, HIDDEN_BIAS)
        hidden = Binary(bias=bias, n_copies=hidden.n_copies)
    return (
        visible_units(estimator, n_columns),
        _sized(hidden, estimator.n_hidden, "hidden", f"n_hidden={estimator.n_hidden}"),
    )


def fit_schedule(estimator, layers):
    """Return the learning rates of `fit`."""
    if estimator.learning_rate is not None:
        return as_schedule(estimator.learning_rate)
    return default_schedule(layers, estimator.batch_size)


def stream_schedule(estimator, layers, n_rows):
    """Return the learning rate of an update of `n_rows` rows of a stream: it has no end."""
    if estimator.learning_rate is not None:
        return as_schedule(estimator.learning_rate)
    return default_stream_schedule(layers, n_rows)


def trainer_for(estimator, model, stream, *, streaming=False):
    """Return a run of learning with the estimator's settings; constant rate for streams."""
    if streaming:
        schedule = stream_schedule(estimator, model.layers, estimator.batch_size)
    else:
        schedule = fit_schedule(estimator, model.layers)
    return Trainer(
        model, as_rule(estimator.rule), estimator.optimizer or SGD(), schedule, stream=stream,
        batch_size=int(estimator.batch_size), binarize=estimator.binarize,
        n_threads=estimator.n_threads,
    )  # fmt: skip
