"""Mean-field inference: the factorial posterior of the layers that are not known.

Each layer's mean given its neighbours' means, again and again, until nothing moves: coordinate
ascent on the variational bound (docs/math.md, "Mean field").
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import as_list, check_instance, check_integer, check_number
from deepgen.inference.gibbs import update_layer
from deepgen.layers.context import Context, with_trials
from deepgen.layers.passes import Outputs, conditional_pass, fixed_point
from deepgen.models import Parameters, check_model
from deepgen.models.network import ACTIVATIONS
from deepgen.rows.holes import filled, holes_in
from deepgen.rows.states import ByteMeans, are_states, dense, doubled
from deepgen.runtime.threads import check_threads
from deepgen.runtime.work import ANY_WORK, Work

_LINEAR = ACTIVATIONS["linear"]

_NO_CONTEXT = Context()


@dataclass(frozen=True)
class MeanField:
    """A factorial posterior, row by row.

    Attributes
    ----------
    means : list
        By layer: float32 means of shape (n_rows, n_units) where they were inferred, else the
        states that were given.
    n_sweeps : ndarray of shape (n_rows,), int32
        Sweeps that a row took.
    change : ndarray of shape (n_rows,), float32
        Largest change of a mean in a row's last sweep, before damping.
    converged : ndarray of shape (n_rows,), bool
        Whether that is at most the tolerance.
    """

    means: list
    n_sweeps: np.ndarray
    change: np.ndarray
    converged: np.ndarray


@dataclass(frozen=True)
class FixedPoint:
    """How far mean field goes: when the sweeps over a row stop.

    Parameters
    ----------
    max_sweeps : int, default 50
    tol : float, default 1e-4
        Largest change of any mean of a row in one sweep, before damping; of a Gaussian unit in
        its own scale. The bound on log p(v) is flat around the fixed point: what is left of it is
        of the order of the tolerance squared.
    damping : float, default 0.0
        Share of the old mean that stays, in [0, 1); the first sweep has none. Sweeps are
        Gauss-Seidel and raise the bound each time, so that none is needed.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    max_sweeps: int = 50
    tol: float = 1e-4
    damping: float = 0.0

    def __post_init__(self):
        check_integer(self.max_sweeps, "max_sweeps")
        check_number(self.tol, "tol", 0.0, closed=True)
        check_number(self.damping, "damping", 0.0, 1.0, closed=True)


class _Stretch(NamedTuple):
    """Layers `first` to ``stop - 1``: unknown neighbours, between layers that are known.

    ``contexts[l - first]`` is what layer l gets from outside: bias rows, with what a known
    neighbour sends, and held entries. `in_steps` says whether the layers read each other's means
    in steps of 1 / 255.
    """

    first: int
    stop: int
    contexts: list
    in_steps: bool


def mean_field(model, states, *, context=None, until=None, start=None, n_threads=None):
    """Infer the layers that are not known, given those that are.

    Parameters
    ----------
    model : BoltzmannMachine or Parameters
        Any depth.
    states : sequence
        By layer: rows of states (means, where they lie between states), or None for a layer that
        is to be inferred. At least one layer must be known.
    context : Context or None
        Bias rows, and ``held`` entries: a layer with known rows and a mask is inferred where the
        mask is False. What stands there is not used, but must be a value that the units can take.
    until : FixedPoint or None
        None: ``dg.FixedPoint()``.
    start : sequence or None
        Means to start from, by layer; those of known layers are not used. None for a layer, or
        for all: from the layers below, whose input counts twice where the layer above is not
        known yet.
    n_threads : int or None

    Returns
    -------
    MeanField
        A layer that no other unknown layer touches has its exact conditional mean, after one
        sweep. Rows do not depend on each other: each has its own number of sweeps.

    Raises
    ------
    ValueError
        If a shape or a value does not fit the model, or no layer is known.
    TypeError
        If an argument is an object of another kind.

    References
    ----------
    Salakhutdinov & Hinton (2009), section 3.2.
    """
    if not isinstance(model, Parameters):
        check_model(model)
    until = FixedPoint() if until is None else until
    check_instance(until, "until", FixedPoint, "dg.FixedPoint(max_sweeps, tol)")
    check_threads(n_threads)
    work = Work(n_threads=n_threads)
    return infer_layers(model, states, context=context, until=until, start=start, work=work)


def infer_layers(model, states, *, context=None, until, start=None, work=ANY_WORK):
    """Infer the layers that are not known; :func:`mean_field`, with memory to use again.

    Between the known layers lie stretches of unknown ones that do not touch each other: each
    converges alone, and a stretch of one layer is exact after one pass.
    """
    context = _NO_CONTEXT if context is None else context
    states = _checked(model, states, context)
    start = _checked_start(model, start, _n_rows(states))
    return _inferred(model, states, context, until, start, work)


def _inferred(model, states, context, until, start, work):
    """Infer the layers that are not known, from states that have been checked."""
    work, n_rows = work.reusing(), _n_rows(states)
    context = with_trials(model.layers, states, context)
    unknown = [x is None or context.holds(l) for l, x in enumerate(states)]
    means = [None if u else x for x, u in zip(states, unknown, strict=True)]
    sweeps, change = np.zeros(n_rows, np.int32), np.zeros(n_rows, np.float32)
    for first, stop in _stretches(unknown):
        if stop - first == 1:
            means[first] = update_layer(
                model, first, states, context=context, mean=True, work=work
            )[0]
            sweeps = np.maximum(sweeps, 1)
            continue
        stretch = _stretch(model, states, context, first, stop, work)
        means[first:stop] = _first_means(model, states, start, stretch, work)
        own_sweeps, own_change = fixed_point(
            model.part(first, stop), means[first:stop], stretch.contexts, until,
            first_parity=1 - first % 2, in_steps=stretch.in_steps, work=work,
        )  # fmt: skip
        sweeps, change = np.maximum(sweeps, own_sweeps), np.maximum(change, own_change)
    return MeanField(means, sweeps, change, change <= until.tol)


def infer(model, batch, until, *, work=ANY_WORK):
    """Return the means of every layer given a batch of what is observed.

    Parameters
    ----------
    model : BoltzmannMachine or Parameters
    batch : states of the first layer, or tuple of (first layer, last layer)
        NaN in the first layer is a value that is not known, and is inferred. The last layer holds
        labels; a group of zeros is a label that is missing, and is inferred. Where any row
        lacks its label, the layer counts as unknown and the labels that are there as held entries.
        Their rows have the same fixed point, but another start of the sweeps.
    until : FixedPoint
    work : Work

    Returns
    -------
    list
        See :class:`MeanField`.
    """
    parts = batch if isinstance(batch, tuple) else (batch,)
    holes = holes_in(parts[0])
    if holes is not None and not holes.any(axis=1).all():
        return _infer_apart(model, parts, holes.any(axis=1), until, work)
    states, held = [None] * model.n_layers, {}
    if len(parts) == 2:
        states[-1] = top = dense(parts[1])
        missing = model.layers[-1].missing(top)
        if missing is not None:
            held[model.n_layers - 1] = ~missing
    if holes is not None:
        held[0] = ~holes
    states[0], context = filled(parts[0], holes), Context(held=held) if held else _NO_CONTEXT
    n_rows = _n_rows(states)
    fitting = all(
        x is None or (are_states(x) and x.shape == (n_rows, units.size))
        for x, units in zip(states, model.layers, strict=True)
    )
    if isinstance(model, Parameters) and fitting:  # a run of learning has checked the values
        start = [None] * model.n_layers
        return _inferred(model, states, context, until, start, work).means
    return infer_layers(model, states, context=context, until=until, work=work).means


def _infer_apart(model, parts, open_rows, until, work):
    """Infer rows with holes and rows without apart: each is what it is alone."""
    means = None
    for chosen in (np.flatnonzero(~open_rows), np.flatnonzero(open_rows)):
        some = tuple(np.ascontiguousarray(dense(x)[chosen]) for x in parts)
        found = infer(model, some if len(some) == 2 else some[0], until, work=work)
        if means is None:
            means = [np.empty((len(open_rows), x.shape[1]), np.float32) for x in found]
        for whole, x in zip(means, found, strict=True):
            whole[chosen] = dense(x)
    return means


def completed_by_means(model, rows, *, work=ANY_WORK):
    """Return rows whose holes are filled by their mean-field means, given what is known.

    Parameters
    ----------
    model : BoltzmannMachine or Parameters
    rows : states of the first layer
        NaN where a value is not known. Rows without holes come back as they are.
    work : Work

    Returns
    -------
    states
    """
    if holes_in(rows) is None:
        return rows
    return np.ascontiguousarray(dense(infer(model, rows, FixedPoint(), work=work)[0]))


def _n_rows(states):
    return next(x.shape[0] for x in states if x is not None)


def _checked(model, states, context):
    """Return the states by layer in the form that kernels read, after a check."""
    states = as_list(states, "states", "rows for each layer, or None")
    if len(states) != model.n_layers:
        raise ValueError(
            f"states must have {model.n_layers} entries, one a layer, got {len(states)}"
        )
    if all(x is None for x in states):
        raise ValueError("states must hold the rows of at least one layer, got None for all")
    states = [
        None if x is None else layer.states_of(x, f"states[{l}]")
        for l, (layer, x) in enumerate(zip(model.layers, states, strict=True))
    ]
    counts = {x.shape[0] for x in states if x is not None}
    if len(counts) != 1:
        raise ValueError(
            f"states must have one number of rows for all layers, got {sorted(counts)}"
        )
    check_instance(context, "context", Context, "a dg.Context or None")
    context.check(model.layers, *counts)
    if context.beta is not None or context.base is not None:
        raise ValueError("context must have no beta and no base for mean field; scale the model")
    for l in range(model.n_layers):
        if context.holds(l) and states[l] is None:
            raise ValueError(f"held[{l}] needs the states that layer {l} keeps, got None")
        context.check_pattern(l, states[l])
    return states


def _checked_start(model, start, n_rows):
    """Return the means to start from by layer, None where there are none, after a check."""
    if start is None:
        return [None] * model.n_layers
    start = as_list(start, "start", "means for each layer, or None")
    if len(start) != model.n_layers:
        raise ValueError(f"start must have {model.n_layers} entries, one a layer, got {len(start)}")
    start = [
        None if x is None else layer.states_of(x, f"start[{l}]")
        for l, (layer, x) in enumerate(zip(model.layers, start, strict=True))
    ]
    for l, x in enumerate(start):
        if x is not None and x.shape[0] != n_rows:
            raise ValueError(
                f"start[{l}] must have a row for each of {n_rows} rows of states, got {x.shape[0]}"
            )
    return start


def _stretches(unknown):
    """Yield (first, stop) of each stretch of neighbouring layers that are not known."""
    first = None
    for l, is_unknown in enumerate([*unknown, False]):
        if is_unknown and first is None:
            first = l
        elif not is_unknown and first is not None:
            yield first, l
            first = None


def reads_steps(model, first, stop):
    """Tell whether layers read each other's means in steps of 1 / 255.

    While a model learns, beside fixed-point weights: no loss of half a nat was found
    (docs/decisions.md). What a finished model infers is exact to float32.
    """
    return isinstance(model, Parameters) and None not in model.packed[first : stop - 1]


def field_from(model, sender, receiver, x, work=ANY_WORK):
    """Return the field that states x of a layer add to a neighbour's: x W, or downwards x W^T.

    float32 of shape (n_rows, n_units of the receiver).
    """
    out = np.empty((x.shape[0], model.layers[receiver].size), np.float32)
    send(sending_chain(model, sender, receiver), sender < receiver, x, out, work)
    return out


def sending_chain(model, sender, receiver, bias=None):
    """Return a layer and a linear neighbour as the kernels read them; see :func:`send`.

    Parameters
    ----------
    model : BoltzmannMachine or Parameters
    sender, receiver : int
        Numbers of layers beside each other.
    bias : ndarray of shape (n_units,), float32, or None
        Of the receiver. None: zero.
    """
    bias = np.zeros(model.layers[receiver].size, np.float32) if bias is None else bias
    linear, units = (_LINEAR, 1, 1, bias, None), model.layers[sender].kernel_layer()
    lower = min(sender, receiver)
    weights, packed = model.kernel_weights(slice(lower, lower + 1))
    if model.layers[receiver].group > 1:
        packed = [None]  # in tiles of whole groups, which a linear layer does not have
    pair = [units, linear] if receiver > sender else [linear, units]
    return engine.Chain(pair, weights, packed)


def send(chain, upwards, x, out, work=ANY_WORK):
    """Write the field of the linear layer of :func:`sending_chain`, given states of the other."""
    conditional_pass(
        chain, int(upwards), [x, None] if upwards else [None, x], Outputs(out), work=work
    )


def _stretch(model, states, context, first, stop, work):
    """Make a stretch of unknown layers: what known neighbours send goes into its bias rows."""
    bias_rows = {l: context.bias_rows[l] for l in context.bias_rows if first <= l < stop}
    for outside, inside in ((first - 1, first), (stop, stop - 1)):
        if 0 <= outside < model.n_layers:
            sent = field_from(model, outside, inside, states[outside], work)
            bias_rows[inside] = bias_rows[inside] + sent if inside in bias_rows else sent
    contexts = [
        context.of_layer(l)._replace(bias_rows=bias_rows.get(l))
        for l in range(first, stop)
    ]
    return _Stretch(first, stop, contexts, reads_steps(model, first, stop))


def _first_means(model, states, start, stretch, work):
    """Return the means that sweeps over a stretch start from, from the bottom up."""
    n_rows = next(x.shape[0] for x in states if x is not None)
    means = []
    for l, around in enumerate(stretch.contexts, start=stretch.first):
        units = model.layers[l]
        if start[l] is not None:
            mean = np.array(dense(start[l]), np.float32)
        else:
            mean = np.empty((n_rows, units.size), np.float32)
            below = None
            if l > stretch.first:
                below = means[-1]
                if stretch.in_steps:
                    below = ByteMeans.of(below, model.layers[l - 1].largest_state)
                if l + 1 < stretch.stop:  # the layer above, not known yet, is taken to say the same
                    below = doubled(below)
            elif l > 0:  # once more: the bias rows have it already
                below = states[l - 1]
            conditional_pass(
                model.part(l if below is None else l - 1, l + 1), 0 if below is None else 1,
                [below, None], Outputs(mean=mean), around._replace(held=None), work=work,
            )  # fmt: skip
        if around.held is not None:
            mean = np.where(around.held, dense(states[l]), mean).astype(np.float32)
        means.append(mean)
    return means
