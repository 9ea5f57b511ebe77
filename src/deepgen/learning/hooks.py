"""The callbacks of a run: when they are called, and what they remember.

A callback is a callable that takes an ``EpochReport`` after each epoch; a true answer stops the
run. It may also have some of these methods:

======================================  ==========================================================
``begin(trainer)``                      before the first update; the place to raise errors
``between_updates(trainer)``            after each update and after the reports of each epoch, when
                                        ``trainer.state()`` is whole and can be written
``finish(trainer)``                     after the last epoch; may change the parameters
``end(trainer, error)``                 at last, and after an error too (None: there was none)
``is_for(trainer)``                     whether to take part in this run; without the method: in
                                        all. In a stack each layer is a run of its own, whose number
                                        is ``trainer.labels["layer"]``; the fine-tuning is another.
                                        ``trainer.watchable`` says what there is to watch
``state()``, ``restore(state)``         plain data and arrays that a checkpoint keeps; changed by
                                        replacing them, never in place
======================================  ==========================================================
"""

import logging
from collections import Counter

from deepgen.io.trees import plain

logger = logging.getLogger("deepgen")


def require_machine(trainer, who):
    """Raise unless a run is that of a Boltzmann machine whose free energies can be summed.

    TypeError for a network, ValueError for a machine of more than two layers.
    """
    if "machine" not in trainer.watchable:
        raise TypeError(
            f"{who} needs a run of a Boltzmann machine, got a {type(trainer).__name__}; of "
            "networks watch 'loss' or 'validation_loss', or a function of the network"
        )
    if "free_energy" not in trainer.watchable:
        raise ValueError(
            f"{who} needs a machine of two layers, whose hidden units can be summed out, got "
            f"{trainer.parameters.n_layers}; watch a function of the model, such as the mean of "
            "dg.variational_bound with log_partition=dg.ais(model).value"
        )


def callbacks_for(callbacks, trainer):
    """Return the callbacks, of those given to a whole stack, that take part in this run of it."""
    return [c for c in callbacks if not hasattr(c, "is_for") or c.is_for(trainer)]


class Hooks:
    """Callbacks of one run.

    Parameters
    ----------
    callbacks : sequence of callable
    """

    def __init__(self, callbacks=()):
        self.callbacks = tuple(callbacks)
        self._between = self._methods("between_updates")

    def _methods(self, name):
        return [getattr(c, name) for c in self.callbacks if hasattr(c, name)]

    @property
    def watch_updates(self):
        """Whether one of them wants to be told after each update."""
        return bool(self._between)

    def begin(self, trainer):
        """Tell that a run begins, or goes on."""
        for method in self._methods("begin"):
            method(trainer)

    def report(self, report):
        """Call all of them; return whether one wants to stop."""
        answers = [callback(report) for callback in self.callbacks]
        return any(answers)

    def between_updates(self, trainer):
        """Tell that an update is whole."""
        for method in self._between:
            method(trainer)

    def finish(self, trainer):
        """Tell that the last epoch is over."""
        for method in self._methods("finish"):
            method(trainer)

    def end(self, trainer, error):
        """Tell that the run is over, or broken off by `error`.

        All are told, whatever one of them raises: others may have a file to write. The first
        error is raised then.
        """
        raised = []
        for method in self._methods("end"):
            try:
                method(trainer, error)
            except BaseException as error_of_callback:
                raised.append(error_of_callback)
        for later in raised[1:]:
            logger.error("another callback could not end either: %r", later)
        if raised:
            raise raised[0]

    def _named(self):
        """Yield (name, callback): the name is its type and a count, as in "Checkpoint 1"."""
        seen = Counter()
        for callback in self.callbacks:
            name = type(callback).__name__
            seen[name] += 1
            yield f"{name} {seen[name]}", callback

    def states(self):
        """Return the memory of each callback that has one, by name, as a tree."""
        return {
            name: plain(callback.state())
            for name, callback in self._named()
            if hasattr(callback, "state")
        }

    def restore(self, states):
        """Give back what :meth:`states` returned."""
        left = dict(states)
        for name, callback in self._named():
            if name in left and hasattr(callback, "restore"):
                callback.restore(left.pop(name))
        if left:
            logger.warning(
                "the run goes on without callbacks that it had: %s", ", ".join(sorted(left))
            )
