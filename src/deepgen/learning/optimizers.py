"""Optimizers: from statistics of two phases, or gradients by name, to changed parameters."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import as_list, check_number, has_role, shown
from deepgen.learning.gradients import (
    Differences,
    Step,
    follow_of,
    layer_gradients,
    step_weights,
    vector_gradients,
)
from deepgen.learning.schedules import check_rate
from deepgen.models import Parameters
from deepgen.runtime.threads import effective_threads
from deepgen.runtime.work import ANY_WORK


@runtime_checkable
class PhaseOptimizer(Protocol):
    """A recipe that changes parameters of machines. It never changes itself: the run keeps its
    state."""

    def start(self, parameters):
        """Return the state before the first update: plain data and arrays."""

    def step(self, parameters, statistics, state, rate, progress, *, work):
        """Go up the gradient of the statistics of two phases; True where a parameter overflowed.

        Statistics are :class:`~deepgen.learning.gradients.Phases` or their sums.
        """


@runtime_checkable
class GradientOptimizer(Protocol):
    """A recipe that changes parameters by gradients that come by name: of networks, in up-down."""

    def start(self, parameters):
        """Return the state before the first update: plain data and arrays."""

    def descend(self, parameters, gradients, state, rate, progress, *, work):
        """Go down gradients by name; True where a parameter overflowed."""


def check_optimizer(value, role=PhaseOptimizer, expected="dg.SGD(...) or dg.Adam(...)"):
    """Raise ValueError unless `value` has the role that a run asks of its optimizer."""
    if not has_role(value, role):
        raise ValueError(f"optimizer must be {expected}, got {shown(value)}")


# A parameter's step costs as much as so many multiply-adds.
STEP_WORK = 8


def _check_share(value, name):
    check_number(value, name, 0.0, 1.0, closed=True)


def _change_log_precision(parameters, statistics, layer, change):
    """Add a change to a log precision, with care, and move the bias along."""
    # It has a fifth of the rate, because its gradient is the noisiest; the precision moves by at
    # most 10 % an update and by a factor e^7 from the data's: where a unit explains nothing,
    # nothing else would stop it. The bias goes along, by p mu (e^change - 1), so that the unit's
    # mean stays where it is.
    log_precision, start = parameters.log_precisions[layer], parameters.layers[layer].log_precision
    moved = log_precision + np.clip(0.2 * change, -0.1, 0.1)
    moved = np.clip(moved, start - 7.0, start + 7.0).astype(np.float32)
    if statistics.offsets is not None:
        change = np.expm1(moved - log_precision)
        shift = parameters.precisions[layer] * change * statistics.offsets[layer]
        parameters.biases[layer] += shift
    log_precision[...] = moved


# Averages along a stream: the newest 1/20 of the updates, and never more than about 1,000.
STREAM_DECAY, STREAM_WINDOW = 20.0, 1000.0


class StepPlan(NamedTuple):
    """Steps as a kernel makes them that makes whole updates of a machine.

    Attributes
    ----------
    momentum, weight_decay : float
        As those of :class:`SGD`.
    rates : tuple of float or None
        Factors on the learning rate of each weight matrix; None: 1 for all.
    averaging : float
        Share of the updates that are averaged; see :func:`tail_weight`.
    """

    momentum: float
    weight_decay: float
    rates: tuple | None
    averaging: float


@runtime_checkable
class PlannedOptimizer(Protocol):
    """An optimizer whose steps a kernel may make."""

    def plan(self):
        """Return the :class:`StepPlan` of a machine; None: no kernel makes its steps."""


def no_average():
    """Return the state of an average that has not begun: no arrays, and no updates in it.

    What is averaged are the parameters over the last share of the updates (Polyak & Juditsky
    1992): ``average += w (parameters - average)``, with w from `tail_weight`.
    """
    return {"arrays": None, "count": 0}


def tail_weight(average, share, progress):
    """Count a value of an average; return its weight: 0 before the tail, then 1, 1/2, 1/3, ...

    A stream has no tail (`progress` is None): there the newest twentieth of the updates counts,
    and at most about 1,000 of them (Shamir & Zhang 2013, section 4, polynomial-decay averaging).
    """
    if not share or (progress is not None and progress < 1.0 - share):
        return 0.0
    average["count"] += 1
    if progress is None:
        return max(STREAM_DECAY / (average["count"] + STREAM_DECAY - 1.0), 1.0 / STREAM_WINDOW)
    return 1.0 / average["count"]


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient ascent with momentum, decay and tail averaging.

    Parameters
    ----------
    momentum : float, default 0.0
        ``velocity = momentum * velocity + gradient``; the rate multiplies the velocity.
    weight_decay : float, default 1e-4
        Of the weights between layers alone. Biases have none, and the recurrence of sequences has
        its own, ``TemporalRBM(recurrence_decay=...)``.
    averaging : float, default 0.2
        Share of the updates, at the end, whose parameters are averaged; 0 for none. In a stream,
        which has no end, any share means the newest twentieth, at most about 1,000 updates.
    rates : tuple of float or None
        Factors on the learning rate of each weight matrix of a Boltzmann machine, bottom first.
        Biases keep the rate, but what centring makes them follow is the weights' own change.
        None: 1 for all.
    """

    momentum: float = 0.0
    weight_decay: float = 1e-4
    averaging: float = 0.2
    rates: tuple | None = None

    def __post_init__(self):
        _check_share(self.momentum, "momentum")
        _check_share(self.averaging, "averaging")
        check_rate(self.weight_decay, "weight_decay")
        if self.rates is not None:
            object.__setattr__(self, "rates", tuple(as_list(self.rates, "rates", "numbers")))
            for rate in self.rates:
                check_rate(rate, "each of rates")

    def start(self, parameters):
        """Return the state before the first update."""
        if self.rates is not None and not isinstance(parameters, Parameters):
            raise ValueError(
                "rates must be None where gradients come by name (networks, up-down), got "
                f"{shown(self.rates)}"
            )
        if self.rates is not None and len(self.rates) != len(parameters.weights):
            raise ValueError(
                f"rates must have one factor for each of {len(parameters.weights)} weight "
                f"matrices, got {len(self.rates)}"
            )
        velocity = None
        if self.momentum:
            velocity = {name: np.zeros_like(a) for name, a in parameters.learned().items()}
        return {"velocity": velocity, "average": no_average()}

    def plan(self):
        """Return these steps as a kernel makes them; None of a derived class, which may not."""
        if type(self) is not SGD:
            return None
        return StepPlan(self.momentum, self.weight_decay, self.rates, self.averaging)

    def step(self, parameters, statistics, state, rate, progress, *, work=ANY_WORK):
        """Change the parameters in place.

        Returns
        -------
        bool
            True where a parameter became non-finite.
        """
        velocity, tail = state["velocity"], state["average"]
        weight = tail_weight(tail, self.averaging, progress)
        if weight and tail["arrays"] is None:
            tail["arrays"] = parameters.snapshot()
        averages = tail["arrays"] or {}
        rates = self.rates or (1.0,) * len(parameters.weights)
        differences = Differences(parameters, statistics, work)
        overflow, follow = False, []
        for l in range(len(parameters.weights)):
            name = f"weights[{l}]"
            follow.append(follow_of(statistics, l))
            step = Step(
                rates[l] * rate, self.momentum, self.weight_decay, weight,
                velocity and velocity[name], averages.get(name),
            )  # fmt: skip
            overflow |= step_weights(
                parameters, statistics, l, differences.rounded, step, follow=follow[l], work=work
            )
        gradients = vector_gradients(parameters, statistics, differences, follow, self.rates)
        vectors = (  # log precisions first: they move their biases along
            ("log_precision", parameters.log_precisions, gradients.log_precision),
            ("bias", parameters.biases, gradients.bias),
        )
        for parameter, arrays, by_layer in vectors:
            for l, gradient in enumerate(by_layer):
                if gradient is None:
                    continue
                name, change = f"layers[{l}].{parameter}", gradient.astype(np.float32)
                if velocity:
                    velocity[name] *= self.momentum
                    velocity[name] += change
                    change = velocity[name]
                if parameter == "bias":
                    arrays[l] += rate * change
                else:
                    # where a precision has grown by a factor, the gradient answers to its change
                    # that many times as much (docs/decisions.md, "Updates by the rows")
                    start = parameters.layers[l].log_precision
                    grown = np.maximum(np.exp(arrays[l] - start), 1.0)
                    _change_log_precision(parameters, statistics, l, rate * change / grown)
                if name in averages:
                    averages[name] += np.float32(weight) * (arrays[l] - averages[name])
                overflow |= not np.isfinite(arrays[l]).all()
        parameters.refresh_precisions()  # step_weights has packed what it wrote
        return overflow

    def descend(self, parameters, gradients, state, rate, progress, *, work=ANY_WORK):
        """Change the parameters in place, down gradients that come by name.

        Parameters
        ----------
        parameters : NetworkParameters, Parameters or BeliefParameters
        gradients : dict of {str: ndarray, float32}
            Of what is to become small. Parameters without one stay. Not kept: the arrays are
            used for the changes.
        state, rate, progress
            See :meth:`step`.

        Returns
        -------
        bool
            True where a parameter became non-finite.
        """
        velocity = state["velocity"]
        factors = {f"weights[{l}]": factor for l, factor in enumerate(self.rates or ())}

        def move(name, array, gradient, average, weight):
            return engine.descend_sgd(
                array, gradient, velocity and velocity[name], average,
                _decay_of(name, self.weight_decay), factors.get(name, 1.0) * rate,
                self.momentum, weight,
                effective_threads(work.n_threads, STEP_WORK * array.size),
            )  # fmt: skip

        return _go_down(parameters, gradients, state, self.averaging, progress, move)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015) on the gradient of the likelihood.

    Parameters
    ----------
    beta1, beta2, epsilon : float
        As in the paper, section 2.
    weight_decay : float, default 1e-4
        Of the weights between layers alone, added to the gradient. Biases have none, and the
        recurrence of sequences has its own, ``TemporalRBM(recurrence_decay=...)``.
    averaging : float, default 0.2
        See :class:`SGD`.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 1e-4
    averaging: float = 0.2

    def __post_init__(self):
        for name in ("beta1", "beta2", "averaging"):
            _check_share(getattr(self, name), name)
        check_rate(self.weight_decay, "weight_decay")
        check_number(self.epsilon, "epsilon", 0.0)

    def start(self, parameters):
        """Return the state before the first update."""
        moments = [
            {name: np.zeros_like(a) for name, a in parameters.learned().items()} for _ in range(2)
        ]
        return {"moments": moments, "steps": 0, "average": no_average()}

    def step(self, parameters, statistics, state, rate, progress, *, work=ANY_WORK):
        """Change the parameters in place; see :meth:`SGD.step`."""
        tail = state["average"]
        weight = tail_weight(tail, self.averaging, progress)
        if weight and tail["arrays"] is None:
            tail["arrays"] = parameters.snapshot()
        # The step divides element by element, which is no linear map: it is taken in centred and
        # standardized coordinates, where the gradient D of a bias is g dx alone, and its changes
        # are brought back to the plain ones (docs/math.md, "One update").
        gradients = layer_gradients(
            parameters, statistics, work, weight_decay=self.weight_decay, centred=True
        )
        # by name: first gradients, then changes, in place
        changes = {f"weights[{l}]": gradient for l, gradient in enumerate(gradients.weights)}
        for l in range(parameters.n_layers):
            changes[f"layers[{l}].bias"] = gradients.bias[l].astype(np.float32)
            if gradients.log_precision[l] is not None:
                by_log_precision = gradients.log_precision[l].astype(np.float32)
                changes[f"layers[{l}].log_precision"] = by_log_precision
        arrays = parameters.learned()
        self._to_changes(changes, state, rate, work.n_threads)
        _unscale(changes, statistics)
        for l, matrix in enumerate(parameters.weights):
            change = changes[f"weights[{l}]"]
            matrix += change
            if statistics.offsets is not None:
                # b_l -= (change of W) lambda,  b_(l+1) -= (change of W)^T mu
                lower, upper = statistics.offsets[l], statistics.offsets[l + 1]
                changes[f"layers[{l}].bias"] -= (change * upper).sum(axis=1)
                changes[f"layers[{l + 1}].bias"] -= (change * lower[:, None]).sum(axis=0)
        for l in range(parameters.n_layers):
            if f"layers[{l}].log_precision" in changes:  # first: it moves the bias along
                change = changes[f"layers[{l}].log_precision"]
                _change_log_precision(parameters, statistics, l, change)
            parameters.biases[l] += changes[f"layers[{l}].bias"]
        overflow = False
        for name, array in arrays.items():
            if weight:
                average = tail["arrays"][name]
                average += np.float32(weight) * (array - average)
            overflow |= not np.isfinite(array).all()
        parameters.refresh(work.n_threads)
        return overflow

    def _numbers(self, state, rate):
        """Count step t; return ``e / (1 - b1^t)`` for rate e, and ``1 - b2^t``."""
        state["steps"] += 1
        correct1 = 1.0 - self.beta1 ** state["steps"]
        return rate / correct1, 1.0 - self.beta2 ** state["steps"]

    def _to_changes(self, gradients, state, rate, n_threads):
        """Move the moments M and S by gradients D, and turn D into changes, in place.

        ``M += (1 - b1) (D - M)``, ``S += (1 - b2) (D^2 - S)``, and the change is ``rate M /
        (sqrt(S / correction) + epsilon)`` with the two numbers of `_numbers`.
        """
        rate, correction = self._numbers(state, rate)
        first, second = state["moments"]
        for name, gradient in gradients.items():
            engine.adam_change(
                gradient.reshape(-1), first[name].reshape(-1), second[name].reshape(-1),
                1.0 - self.beta1, 1.0 - self.beta2, rate, correction, self.epsilon,
                effective_threads(n_threads, STEP_WORK * gradient.size),
            )  # fmt: skip

    def descend(self, parameters, gradients, state, rate, progress, *, work=ANY_WORK):
        """Change the parameters in place; see :meth:`SGD.descend`."""
        rate, correction = self._numbers(state, rate)
        first, second = state["moments"]

        def move(name, array, gradient, average, weight):
            return engine.descend_adam(
                array, gradient, first[name], second[name], average,
                _decay_of(name, self.weight_decay), rate, weight, 1.0 - self.beta1,
                1.0 - self.beta2, correction, self.epsilon,
                effective_threads(work.n_threads, STEP_WORK * array.size),
            )  # fmt: skip

        return _go_down(parameters, gradients, state, self.averaging, progress, move)


def _decay_of(name, weight_decay):
    return weight_decay if name.startswith("weights") else 0.0


def _go_down(parameters, gradients, state, share, progress, move):
    """Move and average each parameter; True where one became non-finite.

    `move` takes name, array, gradient, average or None and the average's weight of the new value.
    """
    tail, arrays, overflow = state["average"], parameters.learned(), False
    for name, gradient in gradients.items():  # a kernel would read beyond what is too short
        if name not in arrays:
            raise ValueError(f"gradients must have names of {list(arrays)}, got {name!r}")
        if gradient.shape != arrays[name].shape:
            raise ValueError(
                f"the gradient by {name!r} must have shape {arrays[name].shape}, got "
                f"{gradient.shape}"
            )
    weight = tail_weight(tail, share, progress)
    averages = (tail["arrays"] if weight else None) or {}
    for name, gradient in gradients.items():
        overflow |= move(name, arrays[name], gradient, averages.get(name), weight)
    if weight and not averages:
        tail["arrays"] = parameters.snapshot()
    for name in averages.keys() - gradients.keys():
        averages[name] += np.float32(weight) * (arrays[name] - averages[name])
    return overflow


def _unscale(changes, statistics):
    """Turn changes of standardized parameters into changes of the plain ones, in place.

    With gains c below and d above, that of ``W_ij`` is multiplied by ``sqrt(c_i d_j)``, that of
    a bias by the root of its gain.
    """
    if statistics.gains is None:
        return
    scales = [np.sqrt(gain) for gain in statistics.gains]
    for l in range(len(scales) - 1):
        changes[f"weights[{l}]"] *= scales[l][:, None] * scales[l + 1]
    for l, scale in enumerate(scales):
        changes[f"layers[{l}].bias"] *= scale
