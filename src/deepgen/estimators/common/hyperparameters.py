"""Hyper-parameters that several estimators have: what is valid, and what it stands for."""

import numpy as np

from deepgen.checks import check_integer, is_integer, shown
from deepgen.estimators.common.collectives import collective_of
from deepgen.estimators.common.validation import reads_tables, table_of
from deepgen.layers.named import as_units, real_columns
from deepgen.learning.optimizers import check_optimizer
from deepgen.learning.schedules import as_schedule
from deepgen.runtime.stream import check_random_state
from deepgen.runtime.threads import check_threads


def sized(units, size, name, needed_by):
    """Return units of a size; ValueError, which says who needs it, where they have another."""
    try:
        return units.sized(size)
    except ValueError as error:
        raise ValueError(f"{name} does not fit {needed_by}: {error}") from None


def check_common(estimator):
    """Raise ValueError where a hyper-parameter that every estimator has is not valid."""
    check_threads(estimator.n_threads)
    check_random_state(estimator.random_state)
    collective_of(estimator)
    if not isinstance(estimator.verbose, bool):
        check_integer(estimator.verbose, "verbose", 0)


def check_objects(estimator, names):
    """Raise ValueError where a hyper-parameter is a class, not an object: dg.SGD, not dg.SGD()."""
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


def check_machine_settings(estimator, objects=("rule", "learning_rate", "optimizer")):
    """Raise ValueError where a hyper-parameter of the training of a machine is not valid.

    ``batch_size``, ``n_epochs``, ``learning_rate``, ``optimizer``, ``callbacks``, and what every
    estimator has; of other `objects`, such as ``rule``, only that they are no classes.
    """
    check_integer(estimator.batch_size, "batch_size")
    if estimator.n_epochs is not None:
        check_integer(estimator.n_epochs, "n_epochs")
    check_common(estimator)
    check_objects(estimator, objects)
    if estimator.learning_rate is not None:
        as_schedule(estimator.learning_rate)
    if estimator.optimizer is not None:
        check_optimizer(estimator.optimizer, expected="None, dg.SGD(...) or dg.Adam(...)")
    check_callbacks(estimator.callbacks)


def asked_units(estimator):
    """Return the visible units that the hyper-parameters ask for, as far as they are known.

    Those of ``"auto"`` are known from the rows. Until then they are units that take any real
    numbers: what goes with these goes with every table.
    """
    if reads_tables(estimator):
        return real_columns()
    return as_units(estimator.visible, "visible")


def visible_units(estimator, n_columns):
    """Return the visible layer that the hyper-parameters ask for, sized."""
    if reads_tables(estimator):
        return table_of(estimator).units
    visible = as_units(estimator.visible, "visible")
    return sized(visible, n_columns, "visible", f"the {n_columns} columns of X")
