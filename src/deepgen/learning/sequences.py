"""Runs of conditional machines: how a model starts, and an update through time."""

from dataclasses import dataclass

import numpy as np

from deepgen.checks import check_instance, check_integer, check_number, shown
from deepgen.learning.gradients import named_gradients, row_differences
from deepgen.learning.loop import TrainingLoop
from deepgen.learning.optimizers import GradientOptimizer, check_optimizer
from deepgen.learning.rules import CD
from deepgen.learning.schedules import as_schedule, check_rate
from deepgen.learning.starts import initial_model
from deepgen.models import (
    ConditionalMachine,
    ConditionalParameters,
    HiddenMeans,
    Recurrent,
    Window,
    check_conditional,
)
from deepgen.models.backprop import Dropout
from deepgen.models.conditional_machine import biases_of
from deepgen.models.linear_map import LinearMap
from deepgen.rows.batch import Batch, check_batch, with_checked_states
from deepgen.rows.sequences import Sequences
from deepgen.rows.states import dense
from deepgen.rows.sums import weight_sums
from deepgen.runtime.blas import one_blas_thread
from deepgen.runtime.stream import Stream
from deepgen.runtime.threads import check_threads

# Norm of all gradients together beyond which they are shortened: back-propagation through a
# hundred steps can make them huge.
MOST_NORM = 1.0
# Standard deviations of the first weights: from frames to a recurrent network's state, from a
# state to biases; what a recurrent network multiplies its state by; and how much larger the weights
# of the machine start than those of one without a past (docs/decisions.md, "Time").
INPUT_DEVIATION, BIAS_DEVIATION, RECURRENT_SCALE, WEIGHTS_SCALE = 0.25, 0.001, 0.9, 10.0
HIDDEN_DEVIATION = 0.01  # of the weights from hidden means to hidden biases
# Of the first autoregression of a window: rows' worth of zeros, in units of the noise; how many
# parts are held back in turn, of so many frames that follow each other; and the least noise, as a
# share of a column's deviation; and its least variance, as a share of its mean square.
RIDGES, FOLDS, HELD_TOGETHER = (1.0, 10.0, 100.0, 1000.0, 10000.0), 5, 20
LEAST_NOISE, LEAST_VARIANCE = 0.03, 1e-6


def starting_machine(layers, recurrence, moments, stream, *, n_state, sequences=None):
    """Return the conditional machine that training starts from.

    Parameters
    ----------
    layers : tuple of two Units
        Sized.
    recurrence : {"window", "rnn", "rtrbm"}
    moments : tuple of (int, ndarray, ndarray)
        Number of frames, and mean and variance of their columns.
    stream : Stream
    n_state : int
        Of a window its number of frames; of a recurrent network its units; of hidden means ignored.
    sequences : Sequences or None
        Of real values: a window's visible weights and precisions start at a ridge regression of
        each frame on those before it. None: they start at zero.
    """
    n_frames, mean, variance = moments
    machine = initial_model(*layers, mean, variance, n_frames, stream)
    visible, hidden = (units.size for units in machine.layers)
    rng = stream.generator("recurrence")
    if recurrence == "window":
        weights = np.zeros((n_state * visible, visible))
        if sequences is not None and machine.layers[0].precision is not None:
            machine, weights = _autoregression(machine, sequences, n_state)
        return ConditionalMachine(machine, Window(weights, np.zeros((n_state * visible, hidden))))
    machine = _with_larger_weights(machine, mean)
    if recurrence == "rtrbm":
        return ConditionalMachine(machine, HiddenMeans(
            np.full(hidden, 0.5), rng.normal(0.0, BIAS_DEVIATION, (hidden, visible)),
            rng.normal(0.0, HIDDEN_DEVIATION, (hidden, hidden)),
        ))  # fmt: skip
    orthogonal = np.linalg.qr(rng.normal(size=(n_state, n_state)))[0]
    # frames in units of each column's deviation, as the weights of the machine
    scale = np.sqrt(machine.layers[0].precision) if machine.layers[0].precision is not None else 1.0
    inputs = rng.normal(0.0, INPUT_DEVIATION, (visible, n_state)) * np.reshape(scale, (-1, 1))
    return ConditionalMachine(machine, Recurrent(
        np.zeros(n_state), np.zeros(n_state), RECURRENT_SCALE * orthogonal, inputs,
        rng.normal(0.0, BIAS_DEVIATION, (n_state, visible)),
        rng.normal(0.0, BIAS_DEVIATION, (n_state, hidden)),
    ))  # fmt: skip


def _with_larger_weights(machine, mean):
    """Return a machine with `WEIGHTS_SCALE` times the weights, hidden fields of the mean kept."""
    weights = machine.weights[0].astype(np.float64) * WEIGHTS_SCALE
    hidden = machine.layers[1]
    shift = (np.asarray(mean)[:, None] * (weights - machine.weights[0])).sum(axis=0)
    layers = [machine.layers[0], hidden.replace(bias=hidden.bias - shift)]
    return machine.replace(layers=layers, weights=[weights])


def _autoregression(machine, sequences, order):
    """Return the machine and visible weights of a ridge regression on the frames before.

    With past frames u: ``v_t = u K + m + noise``, weights ``K p`` and bias ``m p`` with precisions
    p (docs/math.md, "Time"). The past counts in units of each column's noise: what stands far out
    of it is shrunk least, and combinations of columns that hardly vary are shrunk most.
    """
    frames = dense(sequences.frames).astype(np.float64)
    n_columns = frames.shape[1]
    window = Window(
        np.zeros((order * n_columns, n_columns)),
        np.zeros((order * n_columns, machine.layers[1].size)),
    )
    steps = sequences.steps
    before = window.unfold(None, sequences.frames[steps.order], steps).before
    past = steps.in_sequence(before).astype(np.float64)
    # a column that never varies has a share of its size: in smaller units it would be the constant
    least = LEAST_VARIANCE * (1e-6 + np.square(frames).mean(axis=0))
    deviation = np.sqrt(np.maximum(frames.var(axis=0), least))
    with one_blas_thread():
        # the noise is what a first regression leaves, whose past is in units of the deviations
        _, left = _regression(past, frames, np.tile(deviation, order))
        noise = np.maximum(left.std(axis=0), LEAST_NOISE * deviation)
        coefficients, left = _regression(past, frames, np.tile(noise, order))
    visible = machine.layers[0]
    if visible.learn_precision:
        visible = visible.fitted_to(coefficients[-1], left.var(axis=0), len(frames))
    precision = visible.precision.astype(np.float64)
    visible = visible.replace(bias=coefficients[-1] * precision)
    # weights are small in units of the columns' deviations that are left
    weights = machine.weights[0] * np.sqrt(precision / machine.layers[0].precision)[:, None]
    machine = machine.replace(layers=[visible, machine.layers[1]], weights=[weights])
    return machine, coefficients[:-1] * precision


def _regression(past, frames, unit):
    """Return coefficients of a ridge regression on the past and a constant, and what it leaves.

    The penalty is that of the least error of frames held back, a fifth at a time.

    Parameters
    ----------
    past : ndarray of shape (n_frames, n_state), float64
    frames : ndarray of shape (n_frames, n_columns), float64
    unit : ndarray of shape (n_state,)
        The past is divided by it.

    Returns
    -------
    tuple of ndarray of shape (n_state + 1, n_columns) and (n_frames, n_columns)
    """
    past = np.column_stack([past / unit, np.ones(len(past))])
    # each part has pieces from everywhere: what a sequence alone does is known to the others
    part = np.arange(len(past)) // HELD_TOGETHER % FOLDS
    parts = [np.flatnonzero(part == number) for number in range(int(part.max()) + 1)]
    products = [(past[rows].T @ past[rows], past[rows].T @ frames[rows]) for rows in parts]
    whole = [sum(each) for each in zip(*products, strict=True)]

    def error(penalty):
        """Return the squared error of all frames, by regressions that they are held back of."""
        return sum(
            np.square(
                frames[rows] - past[rows] @ _ridge(*map(np.subtract, whole, own), penalty)
            ).sum()
            for rows, own in zip(parts, products, strict=True)
        )

    coefficients = _ridge(*whole, min(RIDGES, key=error))
    left = frames - past @ coefficients
    coefficients[:-1] /= unit[:, None]
    return coefficients, left


def _ridge(square, product, penalty):
    """Return ``(X^T X + penalty)^-1 X^T Y``; the last column of X, of ones, is not penalized."""
    diagonal = np.full(len(square), penalty)
    diagonal[-1] = 1e-9
    return np.linalg.solve(square + np.diag(diagonal), product)


@dataclass(frozen=True)
class Restraint:
    """Dropout and weight decay of a recurrence, which keep it from learning sequences by heart.

    Parameters
    ----------
    dropout : float, default 0.0
        Share of the columns that are left out, frame by frame, of what the recurrence reads.
    decay : float, default 0.0
        Half of it times the sum of squares of the recurrence's matrices is added to the loss of a
        frame. Real columns count in units of the noise that they start with, so that it does not
        matter in which unit they are measured.
    """

    dropout: float = 0.0
    decay: float = 0.0

    def __post_init__(self):
        check_number(self.dropout, "dropout", 0.0, 1.0, closed=True)
        check_rate(self.decay, "decay")

    def decays(self, parameters):
        """Return the factor of each matrix in its own gradient: `decay`, by the columns' noise.

        Parameters
        ----------
        parameters : ConditionalParameters

        Returns
        -------
        dict of {str: float or ndarray, float32}
            That broadcasts to each matrix; empty without a decay.
        """
        if not self.decay:
            return {}
        recurrence, visible = parameters.recurrence, parameters.layers[0]
        variance = np.ones(visible.size)
        if visible.precision is not None:
            variance = 1.0 / visible.precision.astype(np.float64)
        decays = {}
        for name, (by_row, by_column) in recurrence.frame_axes.items():
            n_rows = len(recurrence.arrays()[name])
            rows = np.tile(variance, n_rows // visible.size) if by_row else np.ones(n_rows)
            columns = variance if by_column else np.ones(1)
            decays[name] = (self.decay * np.outer(rows, columns)).astype(np.float32)
        return decays


class SequenceTrainer(TrainingLoop):
    """A run of a conditional machine on sequences.

    A batch has :class:`Sequences` for its states. All its frames are rows of one chain call of
    contrastive divergence; only the recurrence goes through them step by step. :meth:`step`
    returns None: no number is made small.

    Parameters
    ----------
    model : ConditionalMachine
        Starting point.
    rule : CD
        Without centring: what moves the states needs the plain gradient.
    optimizer : SGD or Adam
    schedule : callable
        Learning rate by progress in [0, 1].
    stream : Stream
    batch_size : int
        Sequences of an update.
    restraint : Restraint
    n_threads : int or None

    Attributes
    ----------
    n_updates, epoch, batch, history, rate_scale, whole, stopped, finished, frame, labels
        See :class:`~deepgen.learning.loop.TrainingLoop`.
    """

    def __init__(
        self, model, rule, optimizer, schedule, *, stream, batch_size=8,
        restraint=Restraint(), n_threads=None,
    ):  # fmt: skip
        check_conditional(model)
        check_instance(stream, "stream", Stream, "a dg.Stream, which random numbers come from")
        if type(rule) is not CD or rule.centring:
            raise ValueError(
                "rule must be dg.CD(k, centring=False): each frame has a machine of its own, and "
                f"chains that start at it, got {shown(rule)}"
            )
        check_optimizer(optimizer, GradientOptimizer)
        check_integer(batch_size, "batch_size")
        check_instance(restraint, "restraint", Restraint, "a Restraint")
        check_threads(n_threads)
        self.rule, self.restraint = rule, restraint
        self._rule_state = rule.start(model.machine, stream.child("rule"))
        super().__init__(
            ConditionalParameters(model), optimizer, as_schedule(schedule), stream=stream,
            batch_size=batch_size, n_threads=n_threads,
        )  # fmt: skip
        self._decays = restraint.decays(self.parameters)

    def model(self):
        """Return the model that this run stands for: averaged where averaging has begun."""
        return self.parameters.to_model(self.optimizer_state["average"]["arrays"])

    def go_on(self, n_updates, history):
        """Take over the place of an earlier run whose last model this one starts from."""
        self.n_updates, self.history = n_updates, list(history)

    @property
    def watchable(self):
        """Nothing beside functions of the model; see :class:`TrainingLoop`."""
        return frozenset()

    def _further_state(self):
        return {"rule": self._rule_state.tree()}

    def _take_over(self, state):
        self.parameters.restore(state["parameters"])

    # --- learning -----------------------------------------------------------------------------

    def _checked(self, batch):
        check_batch(batch)
        sequences, units = batch.states[0], self.parameters.layers[0]
        check_instance(sequences, "batch", Sequences, "a dg.Batch of Sequences")
        if batch.context is not None or batch.n_whole is not None or batch.weights is not None:
            raise ValueError("a batch of sequences must be whole, without a context and weights")
        units.check_width(sequences.frames, "batch")
        units.check(sequences.frames, "batch")
        return with_checked_states(batch, [sequences])

    def _updates(self, updates, work):
        for batch, site, progress in updates:
            gradients = self._gradients(batch.states[0], site, work)
            _shorten(gradients, MOST_NORM)
            rate = self._rate(progress)
            overflow = self.optimizer.descend(
                self.parameters, gradients, self.optimizer_state, rate, progress, work=work
            )
            self.parameters.refresh(work.n_threads)
            yield overflow, None

    def _gradients(self, sequences, site, work):
        """Return gradients of minus the mean log-likelihood of a frame, by name (CD's of them)."""
        machine, recurrence = self.parameters.machine, self.parameters.recurrence
        steps, learned = sequences.steps, sequences.learned()
        frames = sequences.frames[steps.order]
        read = frames
        if self.restraint.dropout:
            dropout = Dropout(site.child("dropout"), inputs=self.restraint.dropout)
            mask = dropout.mask(0, frames.shape)
            read = frames * mask
        unfolded = recurrence.unfold(machine, read, steps, sequences.initial, work=work)
        chosen = slice(None) if learned is None else np.flatnonzero(learned[steps.order])
        before = np.ascontiguousarray(unfolded.before[chosen])
        context = biases_of(recurrence, before, work=work)
        phases = self.rule.phases(
            machine, Batch((frames[chosen],), context), self._rule_state, site, work=work
        )
        gradients = named_gradients(machine, phases, work=work)
        by_before, n_rows = np.zeros_like(unfolded.before), np.float32(len(before))
        given = 0.0
        for l, name in enumerate(("visible_weights", "hidden_weights")):
            by_bias = row_differences(phases, l) / n_rows
            weights = getattr(recurrence, name)
            gradients[f"recurrence.{name}"] = weight_sums(before, by_bias, work=work)
            given = given + LinearMap(weights).down(by_bias, work=work)
        by_before[chosen] = given
        through_time = recurrence.backward(machine, read, steps, unfolded, by_before, work=work)
        if sequences.initial is not None:  # they do not begin at the learned state
            through_time.pop("initial", None)
        if phases.gains is not None and "weights[0]" in through_time:
            # as the rest of the gradient by them has it
            through_time["weights[0]"] *= phases.gains[0][:, None]
        own = recurrence.arrays()
        for name, gradient in through_time.items():
            full = f"recurrence.{name}" if name in own else name
            gradients[full] = gradients[full] + gradient if full in gradients else gradient
        for name, decay in self._decays.items():
            gradients[f"recurrence.{name}"] -= decay * own[name]
        return {name: np.negative(gradient) for name, gradient in gradients.items()}


def _shorten(gradients, most):
    """Scale gradients by name, in place, so that their common norm is at most `most`."""
    norm = np.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in gradients.values()))
    if norm > most:
        for gradient in gradients.values():
            gradient *= np.float32(most / norm)
