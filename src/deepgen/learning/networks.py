"""Runs of networks: an objective is made small, batch by batch."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np

from deepgen.checks import check_instance, check_integer
from deepgen.learning.loop import TrainingLoop
from deepgen.learning.minimizers import is_minimizer
from deepgen.learning.optimizers import GradientOptimizer, check_optimizer, no_average
from deepgen.learning.schedules import as_schedule
from deepgen.models import Network, NetworkParameters
from deepgen.networks.losses import check_row_loss, starting_parameters
from deepgen.networks.objective import Objective, loss_by_row
from deepgen.rows.batch import check_batch, with_checked_states
from deepgen.rows.states import are_states, as_states
from deepgen.runtime.collective import require_shards, sum_of_shards
from deepgen.runtime.stream import Stream
from deepgen.runtime.threads import check_threads


def check_descent(value):
    """Raise ValueError unless `value` can make the objective of a network small."""
    if not is_minimizer(value):
        expected = "dg.SGD(...), dg.Adam(...), dg.ConjugateGradient() or dg.LBFGS()"
        check_optimizer(value, GradientOptimizer, expected)


def check_objective(objective, activation, optimizer):
    """Raise ValueError unless an objective fits the last layer and the optimizer."""
    objective.check(activation)
    if objective.smoothness is not None and is_minimizer(optimizer):
        raise ValueError(
            "smoothness needs an optimizer that takes steps, dg.SGD(...) or dg.Adam(...): a line "
            f"search would need the slope of the moves too, got {optimizer!r}"
        )


class NetworkTrainer(TrainingLoop):
    """A run of fine-tuning: parameters, optimizer state, stream and place.

    A batch has states of shape (n_rows, n_inputs), and a target as the loss takes it; weights by
    row need a loss that is a mean over rows. :meth:`step` returns the objective before the update.

    Parameters
    ----------
    network : Network
        Starting point.
    objective : Objective
    optimizer : SGD, Adam, ConjugateGradient or LBFGS
    schedule : callable
        Learning rate by progress in [0, 1]; minimizers need none.
    stream : Stream
    batch_size : int
    top_epochs : int, default 0
        Epochs at the start in which only the last layer moves, and what the loss learns: a new
        top would otherwise spoil the features below it before it has learned anything.
    n_threads : int or None

    Attributes
    ----------
    history : list of dict
        One entry an epoch; ``loss`` is the mean objective of its updates, each before its step.
    n_updates, epoch, batch, rate_scale, whole, stopped, finished, frame, labels
        See :class:`~deepgen.learning.loop.TrainingLoop`.
    """

    def __init__(
        self, network, objective, optimizer, schedule, *, stream, batch_size=100, top_epochs=0,
        n_threads=None,
    ):  # fmt: skip
        check_instance(network, "network", Network, "a dg.Network; dg.unrolled(stack) makes one")
        check_instance(objective, "objective", Objective, "a dg.Objective, around a loss")
        check_instance(stream, "stream", Stream, "a dg.Stream, which random numbers come from")
        check_descent(optimizer)
        check_threads(n_threads)
        check_integer(batch_size, "batch_size")
        check_integer(top_epochs, "top_epochs", 0)
        check_objective(objective, network.layers[-1].activation, optimizer)
        if objective.reconstruction is not None:
            objective.reconstruction.check(network)
        if top_epochs and network.layers[-1].tied_to is not None:
            raise ValueError("top_epochs needs weights of the last layer's own, got a tied one")
        self.objective, self.top_epochs = objective, top_epochs
        self._minimizes = is_minimizer(optimizer)
        self._total = 0.0  # loss times rows, of the epoch that has begun
        parameters = NetworkParameters(network, starting_parameters(objective.loss))
        super().__init__(
            parameters, optimizer, as_schedule(schedule), stream=stream, batch_size=batch_size,
            n_threads=n_threads,
        )  # fmt: skip

    def _start_optimizer(self):
        if self._minimizes:
            return {"average": no_average()}
        return super()._start_optimizer()

    def model(self):
        """Return the network that this run stands for: averaged where averaging has begun."""
        return self.parameters.to_network(self.optimizer_state["average"]["arrays"])

    def loss_parameters(self):
        """Return the loss's own parameters by name, averaged where averaging has begun.

        Copies. The file of a network does not have them: who makes the run keeps them.
        """
        average = self.optimizer_state["average"]["arrays"] or {}
        return {
            name: average.get(f"loss.{name}", array).copy()
            for name, array in self.parameters.loss.items()
        }

    def _further_state(self):
        return {"total": float(self._total)}

    def _take_over(self, state):
        self.parameters.restore(state["parameters"])
        self._total = state["total"]

    # --- learning -----------------------------------------------------------------------------

    def _checked(self, batch):
        check_batch(batch)
        if batch.context is not None or len(batch.states) != 1:
            raise ValueError(
                "a batch of a network must have states of its inputs alone, and no context"
            )
        if batch.is_part and batch.shards is None:
            raise ValueError(
                "a part of a batch of a network must have `shards`; give the trainer a "
                "`collective`, and whole batches"
            )
        # rows with targets have checked the values already
        states, n_inputs = batch.states[0], self.parameters.sizes[0]
        if not are_states(states):
            states = as_states(states, "batch")
        if len(states.shape) != 2 or states.shape[1] != n_inputs:
            raise ValueError(f"batch must have shape (n_rows, {n_inputs}), got {states.shape}")
        target = batch.target
        if target is not None and len(target) != states.shape[0]:
            raise ValueError(
                f"target must have {states.shape[0]} rows, one for each of the states, got shape "
                f"{np.shape(target)}"
            )
        return with_checked_states(batch, [states])

    def _updates(self, updates, work):
        for batch, site, progress in updates:
            first = self.parameters.n_layers - 1 if self.epoch < self.top_epochs else 0
            objective = partial(self._evaluate, batch, site, first, work)
            if self._minimizes:
                value = self._minimize(objective, self.parameters.learned(first))
                yield not np.isfinite(value), value
                continue
            value, gradients = objective()
            # a schedule may return a float32, to which Adam would round what it makes of the rate
            rate = float(self._rate(progress))
            overflow = self.optimizer.descend(
                self.parameters, gradients, self.optimizer_state, rate, progress, work=work
            )
            yield overflow or not np.isfinite(value), value

    def _evaluate(self, batch, site, first, work):
        """Return value and gradients of the objective over the rows of all processes.

        Those of virtual shards of n_k rows, ``sum_k (n_k / n) f_k``, in an order that does not
        depend on the number of processes.
        """
        evaluate = partial(
            self.objective.evaluate, self.parameters, loss_parameters=self.parameters.loss,
            stream=site, first=first, work=work,
        )  # fmt: skip
        if not batch.is_part:
            return evaluate(batch)
        check_row_loss(self.objective.loss, "a run of several processes")
        require_shards(self.collective, "networks")
        arrays = self.parameters.learned(first)
        values, flat = [], []
        for start, stop in pairwise(np.cumsum([0, *batch.shards]).tolist()):
            if start == stop:
                continue
            part = replace(batch.rows(start, stop), first_row=batch.first_row + start)
            value, gradients = evaluate(part)
            share = (stop - start) / batch.n_whole
            values.append(np.array([share * value]))
            flat.append(np.concatenate([gradients[name].ravel() for name in arrays]))
            flat[-1] *= np.float32(share)
        total = np.empty(sum(array.size for array in arrays.values()))
        sum_of_shards(self.collective, flat, total)
        cuts, value = np.cumsum([array.size for array in arrays.values()])[:-1], np.empty(1)
        sum_of_shards(self.collective, values, value)
        pieces = zip(arrays.items(), np.split(total.astype(np.float32), cuts), strict=True)
        return float(value[0]), {n: piece.reshape(array.shape) for (n, array), piece in pieces}

    def _minimize(self, objective, arrays):
        """Take a few line searches on a batch; the arrays to change are joined to one vector.

        `objective` takes no arguments and gives the value and the gradients by name.
        """
        cuts = np.cumsum([array.size for array in arrays.values()])[:-1]
        values = []

        def put(vector):
            for array, piece in zip(arrays.values(), np.split(vector, cuts), strict=True):
                array[...] = piece.reshape(array.shape)

        def function(vector):
            put(vector)
            value, gradients = objective()
            values.append(value)
            flat = np.concatenate([gradients[name].reshape(-1) for name in arrays])
            return value, flat.astype(np.float64)

        start = np.concatenate([array.reshape(-1) for array in arrays.values()])
        put(self.optimizer.minimize(function, start.astype(np.float64)))
        return values[0]

    def _add_value(self, value, n_rows):
        self._total += value * n_rows

    def _close_epoch(self):
        loss, self._total = self._total / max(self._n_rows, 1), 0.0
        return {"loss": loss}


class HeldBackLoss:
    """A callback that writes the mean loss of rows held back into the history.

    Parameters
    ----------
    loss : RowLoss
        Means over rows alone can tell the loss of rows held back.
    rows : PairedRows
    name : str, default "validation_loss"
        Of the number in the history.
    """

    def __init__(self, loss, rows, name="validation_loss"):
        check_row_loss(loss, f"{name!r}, the loss of rows held back,")
        self.loss, self.rows, self.name = loss, rows, name

    def __call__(self, report):
        """Add this epoch's number."""
        trainer = report.trainer
        by_row = loss_by_row(trainer.model(), self.loss, self.rows, n_threads=trainer.n_threads)
        if self.rows.weights is not None:
            by_row *= self.rows.weights  # whose mean is 1
        report.entry[self.name] = float(by_row.mean())
