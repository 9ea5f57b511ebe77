"""Runs of networks: what is made small, and an update of it."""

from dataclasses import dataclass

import numpy as np

from deepgen import backprop
from deepgen.checks import check_instance, check_integer, check_number, shown
from deepgen.errors import DivergedError
from deepgen.loop import SNAPSHOT_EVERY, TrainingLoop
from deepgen.losses import Loss
from deepgen.models import Network, NetworkParameters
from deepgen.optimizers import as_schedule
from deepgen.smoothness import VirtualAdversarial
from deepgen.stream import Stream
from deepgen.threads import check_threads

# Rows of one pass where a whole data set goes through.
PASS_ROWS = 2_048


@dataclass(frozen=True)
class Objective:
    """What training makes small: a loss, penalties, and what is left out at random.

    Parameters
    ----------
    loss : Loss
    l2 : float, default 0.0
        ``l2 / 2`` times the sum of all squared weights; tied ones count once.
    l1 : float, default 0.0
        Times the sum of the hidden units' absolute activities, mean over rows.
    dropout, input_dropout : float, default 0.0
        Share of the hidden units and of the inputs that is left out of an update (Srivastava et
        al. 2014).
    masking : float, default 0.0
        Share of the inputs that is set to zero; the target stays whole (Vincent et al. 2008).
    smoothness : VirtualAdversarial or None
        A penalty on outputs that change where inputs move a little, of rows without a target too.
    """

    loss: Loss
    l2: float = 0.0
    l1: float = 0.0
    dropout: float = 0.0
    input_dropout: float = 0.0
    masking: float = 0.0
    smoothness: VirtualAdversarial | None = None

    def __post_init__(self):
        check_instance(self.loss, "loss", Loss, "a loss such as dg.SquaredError()")
        for name in ("dropout", "input_dropout", "masking"):
            check_number(getattr(self, name), name, 0.0, 1.0, closed=True)
        for name in ("l1", "l2"):
            check_number(getattr(self, name), name, 0.0, closed=True)
        if not isinstance(self.smoothness, VirtualAdversarial | None):
            raise ValueError(
                "smoothness must be None or dg.VirtualAdversarial(...), got "
                f"{shown(self.smoothness)}"
            )

    def check(self, activation, optimizer):
        """Raise ValueError unless loss and penalty fit the last layer and the optimizer."""
        self.loss.check(activation)
        if self.smoothness is not None:
            self.smoothness.check(activation, optimizer)

    @property
    def is_random(self):
        """Whether anything is left out at random; moves of `smoothness` do not count."""
        return bool(self.dropout or self.input_dropout or self.masking)

    def evaluate(
        self, network, X, target, *, stream=None, first=0, workspace=None, n_threads=None
    ):
        """Return the value and its gradient by name.

        Parameters
        ----------
        network : Network or NetworkParameters
        X : states of shape (n_rows, n_inputs)
        target : ndarray
            See :class:`~deepgen.losses.Loss`.
        stream : Stream or None
            At the position of the update; None: nothing is left out, no input moves.
        first : int, default 0
            Layers below it get no gradient.

        Returns
        -------
        tuple of (float, dict of {str: ndarray})
        """
        tools = {"workspace": workspace, "n_threads": n_threads}
        dropout = None
        if stream is not None and self.is_random:
            dropout = backprop.Dropout(stream, self.input_dropout, self.dropout, self.masking)
        kept = backprop.forward(network, X, dropout=dropout, **tools)
        value, gradient = self.loss(network.layers[-1], kept.field, target)
        l1 = self.l1 / max(len(kept.field), 1)
        if l1:
            value += l1 * sum(float(np.abs(h).sum(dtype=np.float64)) for h in kept.outputs[1:])
        gradients = backprop.backward(network, kept, gradient, first=first, l1=l1, **tools)
        if self.l2:
            arrays = network.learned(first)
            for name, array in arrays.items():
                if name.startswith("weights"):
                    value += 0.5 * self.l2 * float(np.square(array).sum(dtype=np.float64))
                    gradients[name] += np.float32(self.l2) * array
        if self.smoothness is not None and stream is not None:
            field = kept.field
            if dropout is not None:
                field = backprop.forward(network, X, **tools).field
            more, slopes = self.smoothness.evaluate(
                network, X, field, stream=stream, first=first, **tools
            )
            value += more
            for name, slope in slopes.items():
                gradients[name] += slope
        return value, gradients


def loss_by_row(network, loss, rows, *, n_threads=None):
    """Return the loss of each row, float64 of shape (n_rows,).

    Parameters
    ----------
    network : Network or NetworkParameters
    loss : Loss
    rows : PairedRows
    """
    by_row = [
        loss.by_row(
            network.layers[-1], backprop.forward(network, states, n_threads=n_threads).field,
            target,
        )
        for states, target in rows.pairs(PASS_ROWS)
    ]  # fmt: skip
    return np.concatenate(by_row) if by_row else np.empty(0)


def check_descent(optimizer):
    """Raise ValueError unless `optimizer` can go down gradients that come by name."""
    able = hasattr(optimizer, "descend") or hasattr(optimizer, "minimize")
    if isinstance(optimizer, type) or not able:
        raise ValueError(
            "optimizer must be dg.SGD(...), dg.Adam(...), dg.ConjugateGradient() or dg.LBFGS(), "
            f"got {shown(optimizer)}"
        )


class NetworkTrainer(TrainingLoop):
    """A run of fine-tuning: parameters, optimizer state, stream and place.

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
        Epochs at the start in which only the last layer moves: a new top would otherwise spoil
        the features below it before it has learned anything.
    n_threads : int or None

    Attributes
    ----------
    history : list of dict
        One entry an epoch; ``loss`` is the mean objective of its updates, each before its step.
    n_updates, epoch, batch, rate_scale, whole, stopped, finished, frame, labels
        See :class:`~deepgen.loop.TrainingLoop`.
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
        objective.check(network.layers[-1].activation, optimizer)
        if top_epochs and network.layers[-1].tied_to is not None:
            raise ValueError("top_epochs needs weights of the last layer's own, got a tied one")
        self.objective, self.top_epochs = objective, top_epochs
        self._total = 0.0  # loss times rows, of the epoch that has begun
        super().__init__(
            NetworkParameters(network), optimizer, as_schedule(schedule), stream=stream,
            batch_size=batch_size, n_threads=n_threads,
        )  # fmt: skip

    def _start_optimizer(self):
        if hasattr(self.optimizer, "minimize"):
            return {"average": {"arrays": None, "count": 0}}
        return super()._start_optimizer()

    def model(self):
        """Return the network that this run stands for: averaged where averaging has begun."""
        return self.parameters.to_network(self.optimizer_state["average"]["arrays"])

    def _own_state(self):
        return {"total": float(self._total)}

    def _take_over(self, state):
        self.parameters.restore(state["parameters"])
        self._total = state["total"]

    # --- learning -----------------------------------------------------------------------------

    def step(self, batch, target, progress):
        """Make one update.

        Parameters
        ----------
        batch : states of shape (n_rows, n_inputs)
        target : ndarray
        progress : float
            In [0, 1], for schedules and averaging.

        Returns
        -------
        float
            The objective before the update.

        Raises
        ------
        DivergedError
            If a parameter is no longer finite; the last good parameters are put back.
        """
        self.whole = False
        if self.n_updates % SNAPSHOT_EVERY == 0:
            self._good = self.parameters.snapshot()
        site = Stream(self.stream.child("updates").key, self.n_updates)
        first = self.parameters.n_layers - 1 if self.epoch < self.top_epochs else 0
        tools = {"workspace": self._workspace, "n_threads": self._governor.next()}
        asked = {"stream": site, "first": first, **tools}
        with np.errstate(over="ignore", invalid="ignore"):  # a flag tells, and is acted on
            if hasattr(self.optimizer, "minimize"):
                value = self._minimize(batch, target, asked)
                overflow = not np.isfinite(value)
            else:
                value, gradients = self.objective.evaluate(
                    self.parameters, batch, target, **asked
                )
                self.learning_rate = float(self.rate_scale * self.schedule(progress))
                overflow = self.optimizer.descend(
                    self.parameters, gradients, self.optimizer_state, self.learning_rate,
                    progress, n_threads=tools["n_threads"],
                )  # fmt: skip
        self._governor.done()
        if overflow or not np.isfinite(value):
            self._diverged()
        self.n_updates += 1
        self.whole = True
        return value

    def _minimize(self, batch, target, asked):
        """Take a few line searches on this batch; the parameters that move form one vector."""
        arrays = self.parameters.learned(asked["first"])
        cuts = np.cumsum([array.size for array in arrays.values()])[:-1]
        values = []

        def function(vector):
            for array, part in zip(arrays.values(), np.split(vector, cuts), strict=True):
                array[...] = part.reshape(array.shape)
            value, gradients = self.objective.evaluate(self.parameters, batch, target, **asked)
            values.append(value)
            flat = np.concatenate([gradients[name].reshape(-1) for name in arrays])
            return value, flat.astype(np.float64)

        start = np.concatenate([array.reshape(-1) for array in arrays.values()])
        best = self.optimizer.minimize(function, start.astype(np.float64))
        for array, part in zip(arrays.values(), np.split(best, cuts), strict=True):
            array[...] = part.reshape(array.shape)
        return values[0]

    def _diverged(self):
        name = self.parameters.first_non_finite() or "loss"
        self.parameters.restore(self._good)
        self.optimizer_state = self._start_optimizer()
        raise DivergedError(name, self.epoch + 1, self.learning_rate)

    def _learn(self, batch, progress):
        states, target = batch
        self._total += self.step(states, target, progress) * states.shape[0]
        return states.shape[0]

    def _close_epoch(self):
        loss, self._total = self._total / max(self._n_rows, 1), 0.0
        return {"loss": loss}


class HeldBackLoss:
    """A callback that writes the mean loss of rows held back into the history.

    Parameters
    ----------
    loss : Loss
    rows : PairedRows
    name : str, default "validation_loss"
        Of the number in the history.
    """

    def __init__(self, loss, rows, name="validation_loss"):
        self.loss, self.rows, self.name = loss, rows, name

    def __call__(self, report):
        """Add this epoch's number."""
        trainer = report.trainer
        by_row = loss_by_row(trainer.model(), self.loss, self.rows, n_threads=trainer.n_threads)
        report.entry[self.name] = float(by_row.mean())
