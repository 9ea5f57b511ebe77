"""Runs of rating machines: one row after the other, a step of the columns that it has after each.

Neighbouring rows share few columns, so their steps hardly get in each other's way, and what a row
costs is in proportion to its ratings (docs/math.md, "Ratings").
"""

from dataclasses import dataclass, fields

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import check_instance, check_number, shown
from deepgen.learning.loop import TrainingLoop
from deepgen.learning.optimizers import no_average
from deepgen.learning.rules import CD, PCD
from deepgen.learning.schedules import as_schedule, check_rate
from deepgen.models import RatingMachine, RatingParameters
from deepgen.rows.batch import check_batch, with_checked_states
from deepgen.rows.patterns import PatternedRows
from deepgen.runtime.stream import DATA, Stream, purpose
from deepgen.runtime.threads import check_threads

# Rows between two looks at the clock: callbacks and Ctrl-C wait for so many. The rate is that of
# the first of them, so it is a part of the result.
ROWS_OF_AN_UPDATE = 100
# Pseudo-ratings of each column, spread as all ratings are: what a column that nobody rated says.
SMOOTHING = 5.0
# Standard deviation of the first weights.
START_DEVIATION = 0.05
# A persistent hidden state that has not begun.
NO_STATE = 255


@dataclass(frozen=True)
class MaskedPrediction:
    """A rule for ratings: hide some of a row, predict them from the others, go down the error.

    The hidden means follow from the ratings that are left, and from them the probabilities of the
    hidden ones: the machine's own mean-field prediction, trained for what it is used for. What is
    made small is the sum over hidden ratings of ``(1 - squared_error) * cross-entropy +
    squared_error * (expected rating - rating)^2``, the scale's length counting as 4. It is no
    likelihood of the machine any more; its energy, file and answers are as ever (Goodfellow et al.
    2013, section 4; Zheng et al. 2016).

    Parameters
    ----------
    masked : tuple of float, default (0.2, 0.9)
        Bounds of the share of a row that is hidden, drawn anew each time that the row comes.
    squared_error : float, default 0.5
        Its share of the loss, in [0, 1].
    """

    masked: tuple = (0.2, 0.9)
    squared_error: float = 0.5

    def __post_init__(self):
        if (
            not isinstance(self.masked, tuple | list)
            or len(self.masked) != 2
            or not all(isinstance(share, float | int) for share in self.masked)
            or not 0.0 <= self.masked[0] <= self.masked[1] <= 1.0
            or self.masked[1] == 0.0
        ):
            raise ValueError(
                "masked must be two shares in [0, 1], ascending and not both 0, got "
                f"{shown(self.masked)}"
            )
        object.__setattr__(self, "masked", tuple(map(float, self.masked)))
        if self.squared_error != 1.0:
            check_number(self.squared_error, "squared_error", 0.0, 1.0, closed=True)


def as_rating_rule(value):
    """Return the rule that a user means; ValueError where a rating machine has none like it.

    Parameters
    ----------
    value : str, MaskedPrediction, CD or PCD
        ``"prediction"``, ``"cd"`` and ``"pcd"`` are the rules with their usual settings.
    """
    usual = {"prediction": MaskedPrediction(), "cd": CD(), "pcd": PCD()}
    rule = usual.get(value) if isinstance(value, str) else value
    if type(rule) is MaskedPrediction:
        return rule
    if type(rule) not in (CD, PCD):
        raise ValueError(
            "rule must be 'prediction', 'cd', 'pcd', dg.MaskedPrediction(...), dg.CD(k) or "
            f"dg.PCD(k), got {shown(value)}"
        )
    # rows have their own patterns, so there are no columns to centre by, and each row has particles
    plain = type(rule)(k=rule.k)
    other = [f.name for f in fields(rule) if getattr(rule, f.name) != getattr(plain, f.name)]
    if other:
        raise ValueError(
            f"rule must have k alone where rows have patterns, got {other[0]}="
            f"{shown(getattr(rule, other[0]))}; write {type(rule).__name__}({rule.k})"
        )
    return rule


@dataclass(frozen=True)
class RatingStep:
    """How far an update goes, beside the learning rate.

    Attributes
    ----------
    weight_decay : float
        By rating: the weights of a column shrink once for each of its ratings that is learned from.
    hidden_rate, conditional_rate : float
        Factors on the rate of the hidden bias, which all ratings move, and of conditional weights.
    averaging : float
        Share of the epochs, at the end, after which parameters are averaged.
    """

    weight_decay: float = 0.05
    hidden_rate: float = 0.1
    conditional_rate: float = 1.0
    averaging: float = 0.3

    def __post_init__(self):
        for name in ("weight_decay", "hidden_rate", "conditional_rate"):
            check_rate(getattr(self, name), name)
        check_number(self.averaging, "averaging", 0.0, 1.0, closed=True)


def starting_rating_machine(rows, scale, n_hidden, *, conditional, stream):
    """Return the machine before the first update: column frequencies, and small random weights.

    Parameters
    ----------
    rows : PatternedRows
    scale : Scale
    n_hidden : int
    conditional : bool
        Whether there are conditional weights; they start from zero.
    stream : Stream
    """
    # bias[j, k] = log (count[j, k] + 5 p_k) / (count[j] + 5),    p the frequencies of all ratings
    counts = rows.counts(scale.n_values).astype(np.float64)
    overall = (counts.sum(axis=0) + 0.5) / (counts.sum() + 0.5 * scale.n_values)
    counts += SMOOTHING * overall
    bias = np.log(counts / counts.sum(axis=1, keepdims=True))
    shape = (rows.n_columns, scale.n_values, n_hidden)
    weights = stream.generator("weights").standard_normal(shape, np.float32)
    weights *= np.float32(START_DEVIATION)
    return RatingMachine(
        weights, bias, np.zeros(n_hidden, np.float32), scale,
        conditional=np.zeros((rows.n_columns, n_hidden), np.float32) if conditional else None,
    )  # fmt: skip


class RatingTrainer(TrainingLoop):
    """A run of a rating machine on rows with patterns.

    A batch has :class:`PatternedRows` for its states, without context, target or weights. Its rows
    are learned from one after the other, on one thread. :meth:`step` returns the mean of minus the
    log probability of a rating that was predicted, in nats, before the step of its row.

    Parameters
    ----------
    machine : RatingMachine
        Starting point.
    rule : MaskedPrediction, CD or PCD
    schedule : callable
        Learning rate by progress in [0, 1].
    step : RatingStep
    n_rows : int
        Rows of all: persistent chains are theirs.
    stream : Stream
    n_threads : int or None
        Of what is computed beside the updates.

    Attributes
    ----------
    history : list of dict
        One entry an epoch; ``loss`` is the mean over ratings of what :meth:`step` returns, and
        ``rmse`` that of the ratings that were predicted for it.
    n_updates, epoch, batch, rate_scale, whole, stopped, finished, frame, labels
        See :class:`~deepgen.learning.loop.TrainingLoop`.
    """

    def __init__(
        self, machine, rule, schedule, *, n_rows, stream, step=None, n_threads=None
    ):  # fmt: skip
        check_instance(machine, "machine", RatingMachine, "a dg.RatingMachine")
        check_instance(stream, "stream", Stream, "a dg.Stream, which random numbers come from")
        check_threads(n_threads)
        self.rule, self.steps_by = as_rating_rule(rule), step or RatingStep()
        self._particles = None
        if isinstance(self.rule, PCD):
            self._particles = np.full((n_rows, machine.n_hidden), NO_STATE, np.uint8)
        self._totals = np.zeros(3)  # of this epoch: loss, squared error, ratings
        super().__init__(
            RatingParameters(machine), None, as_schedule(schedule), stream=stream,
            batch_size=ROWS_OF_AN_UPDATE, n_threads=n_threads,
        )  # fmt: skip

    def model(self):
        """Return the machine that this run stands for: averaged where averaging has begun."""
        return self.parameters.to_machine(self.optimizer_state["average"]["arrays"])

    def _start_optimizer(self):
        return {"average": no_average()}

    def _further_state(self):
        return {"totals": self._totals.copy(), "particles": self._particles}

    def _take_over(self, state):
        self.parameters.restore(state["parameters"])
        self._totals = np.array(state["totals"])
        if self._particles is not None:
            self._particles[...] = state["particles"]

    def _forget(self):
        if self._particles is not None:
            self._particles.fill(NO_STATE)

    # --- learning -----------------------------------------------------------------------------

    def _checked(self, batch):
        check_batch(batch)
        rows, n_columns = batch.states[0], self.parameters.machine.n_columns
        check_instance(rows, "batch", PatternedRows, "a dg.Batch of PatternedRows")
        if batch.context is not None or batch.n_whole is not None or batch.weights is not None:
            raise ValueError("a batch of ratings must be whole, without a context and weights")
        if rows.n_columns != n_columns:
            raise ValueError(f"batch must have {n_columns} columns, got {rows.n_columns}")
        return with_checked_states(batch, [rows])

    def _updates(self, updates, work):
        rule, step = self.rule, self.steps_by
        masked = isinstance(rule, MaskedPrediction)
        shares = (*rule.masked, rule.squared_error, 1) if masked else (0.0, 1.0, 0.0, rule.k)
        for batch, site, progress in updates:
            rows = batch.states[0]
            order = np.arange(rows.n_rows) if rows.order is None else rows.order
            rate = float(self._rate(progress))
            further = (step.weight_decay, step.hidden_rate, step.conditional_rate)
            *sums, n_ratings = engine.ratings_learn(
                rows.arrays, order, self.parameters.kernel_form, self._particles,
                (rate, *further, *shares), not masked, site.key, site.position, purpose(DATA),
                rows.longest, work.workspace,
            )  # fmt: skip
            if not np.isfinite(sums).all():
                yield True, None
                return
            self._totals += (*sums, n_ratings)
            yield False, sums[0] / max(n_ratings, 1)

    def _close_epoch(self):
        """Average the parameters in the tail; return the means of the epoch."""
        average, share = self.optimizer_state["average"], self.steps_by.averaging
        # of the epoch that ends here, from 1: the last ones count, and always the very last
        if share and self.epoch + 1 > (1.0 - share) * self.n_epochs:
            average["count"] += 1
            if average["arrays"] is None:
                average["arrays"] = self.parameters.snapshot()
            else:
                for name, array in self.parameters.learned().items():
                    mean = average["arrays"][name]
                    mean += (array - mean) / np.float32(average["count"])
        loss, squared, n_ratings = self._totals
        self._totals = np.zeros(3)
        n_ratings = max(n_ratings, 1.0)
        values = self.parameters.machine.scale.values
        unit = (values[-1] - values[0]) / 4.0
        return {"loss": float(loss / n_ratings), "rmse": unit * float(np.sqrt(squared / n_ratings))}
