"""Annealed importance sampling: log Z of models too large to enumerate.

Temperatures that estimate log Z live here, samplers in `deepgen.inference.gibbs`.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import check_instance, check_integer, is_integer, real_array, shown
from deepgen.inference.gibbs import (
    check_particles,
    gibbs,
    start_particles,
)
from deepgen.layers.context import Context
from deepgen.layers.passes import Outputs, Site, conditional_pass
from deepgen.layers.units import Units
from deepgen.likelihood.exact import LogPartition
from deepgen.models import check_model, check_one_length
from deepgen.rows.particles import Particles
from deepgen.rows.states import dense
from deepgen.runtime.collective import ALONE, by_parts
from deepgen.runtime.stream import ANNEAL, REVERSE, Stream
from deepgen.runtime.threads import Governor, check_threads
from deepgen.runtime.time_limit import check_time
from deepgen.runtime.work import Work

MOST_BETAS = 10_000_000
# A unit whose bias at beta = 0 is so far from its fields is one that never turns; ordinary machines
# keep the base that they have.
BEYOND = 30.0


@dataclass(frozen=True)
class Crew:
    """Who moves chains: threads of this process, and processes that share them.

    Attributes
    ----------
    n_threads : int or None
    collective : Collective
    """

    n_threads: int | None = None
    collective: object = ALONE


@dataclass(frozen=True)
class _Independent:
    """Layers without weights, to draw first states from."""

    layers: tuple


def default_betas(n_betas=None):
    """Return inverse temperatures from 0 to 1.

    None gives the schedule of record of 14,501 temperatures, dense near 1 (Salakhutdinov &
    Murray 2008, section 4.1); a number gives the same shape with about that many.
    """
    parts = ((0.0, 0.5, 500), (0.5, 0.9, 4000), (0.9, 1.0, 10000))
    share = 1.0 if n_betas is None else n_betas / 14500.0
    pieces = [
        np.linspace(low, high, max(1, round(count * share)), endpoint=False)
        for low, high, count in parts
    ]
    return np.concatenate([*pieces, [1.0]])


def base_rates(model, X=None):
    """Return independent units for the first layer at beta = 0.

    Parameters
    ----------
    model : BoltzmannMachine
    X : array-like or None
        Data whose base rates are matched, which anneals much better than the model's own
        biases (None).
    """
    check_model(model)
    visible = model.layers[0]
    if X is None:
        return visible
    rows = dense(visible.states_of(X)).astype(np.float64)
    if not len(rows):
        raise ValueError("X must have at least one row, got none")
    return visible.fitted_to(rows.mean(axis=0), rows.var(axis=0), len(rows) / 5.0)


def annealed_layers(model, base):
    """Return the layers at beta = 0 (the base, flat ones of bias zero above it) and their log Z.

    A bias that is far beyond all fields that its unit can have in the model is moved towards them.
    So a bias of -100,000 is one from the start: no temperatures between are fine enough for it.
    """
    visible = model.layers[0]
    if base is not None:
        check_instance(base, "base", Units, "None or Units such as dg.base_rates(model, X)")
    if base is not None and base.form != visible.form:
        raise ValueError(f"base must be like the first layer, {visible!r}, got {base!r}")
    flat = [layer.replace(bias=np.zeros(layer.size)) for layer in model.layers[1:]]
    layers = (model.layers[0] if base is None else base, *flat)
    layers = tuple(_within_reach(model, l, units) for l, units in enumerate(layers))
    log_base = sum(float(layer.log_normalizer(layer.bias[None])[0]) for layer in layers)
    return layers, log_base


def _within_reach(model, l, units):
    """Return units whose biases are at most `BEYOND` outside the fields of layer `l` in a model.

    The log odds of a unit are a mean over its fields, ``bias -+ sum |w| largest state``. Where the
    states of a neighbour have no bound the fields have none; groups and precisions share a field
    between numbers, and are left as they are.
    """
    if units.group > 1 or units.precision is not None:  # also of mixed units with such a part
        return units
    bias, reach = model.layers[l].bias.astype(np.float64), np.zeros(units.size)
    below = [(model.layers[l - 1], model.weights[l - 1].T)] if l > 0 else []
    above = [(model.layers[l + 1], model.weights[l])] if l + 1 < model.n_layers else []
    for neighbour, weights in below + above:
        if not neighbour.is_bounded:
            return units
        reach += neighbour.largest_state * np.abs(weights).sum(axis=1, dtype=np.float64)
    near = np.clip(units.bias, bias - reach - BEYOND, bias + reach + BEYOND)
    return units if np.array_equal(near, units.bias) else units.replace(bias=near)


def parity_of_states(model, summed_out=None):
    """Return 0 where the chains of annealing are states of the even layers, 1 where of the odd.

    Parameters
    ----------
    model : BoltzmannMachine
    summed_out : "odd", "even" or None
        See :func:`ais`.
    """
    if summed_out is None:
        even, odd = (sum(layer.size for layer in model.layers[first::2]) for first in (0, 1))
        summed_out = "even" if model.n_layers > 2 and even > odd else "odd"
    if not isinstance(summed_out, str) or summed_out not in ("odd", "even"):
        raise ValueError(f"summed_out must be 'odd', 'even' or None, got {shown(summed_out)}")
    return 1 if summed_out == "even" else 0


def _changes(model, base, parity, context):
    """Return by how much biases and precisions grow from beta = 0 to 1, of the layers of a parity.

    Parameters
    ----------
    context : Context
        Rows that have biases of their own may have them in both.

    Returns
    -------
    list of tuple of (int, ndarray or None, ndarray or None)
        Layer, change of its biases and of its precisions; None where nothing changes.
    """
    changes = []
    for l in range(parity, model.n_layers, 2):
        own_base = context.base_rows.get(l, base[l].bias)
        by_bias = model.layers[l].bias + context.bias_rows.get(l, np.float32(0.0)) - own_base
        by_precision = None
        if model.layers[l].precision is not None:
            by_precision = model.layers[l].precision - base[l].precision
        pair = (change if change is not None and change.any() else None
                for change in (by_bias, by_precision))  # fmt: skip
        changes.append((l, *pair))
    return changes


def _slope(changes, states):
    """Derivative by beta of the log weight of the layers of a parity by themselves, by row.

    Sum of ``x . (b - b_base) - x^2 . (p - p_base) / 2`` over the layers, with biases b and
    precisions p of the model and of the base: `changes` are those of :func:`_changes`.
    """
    total = np.zeros(states[0].shape[0])
    for l, by_bias, by_precision in changes:
        if by_bias is None and by_precision is None:
            continue
        x = states[l].astype(np.float32)
        if by_bias is not None:
            total += (x * by_bias).sum(axis=1, dtype=np.float64)
        if by_precision is not None:
            total -= 0.5 * (x * x * by_precision).sum(axis=1, dtype=np.float64)
    return total


def anneal(model, base, states, betas, site, work, parity=0, context=None):
    """Move states along `betas`; return the log weights by row, and the states.

    A step from beta to beta' adds ``log p*_beta'(x) - log p*_beta(x)`` of the states x of layers
    `parity`, `parity` + 2, and so on, the layers between them summed out; those are drawn from the
    fields of the same pass. Then the layers of `parity` are drawn at beta'.

    Parameters
    ----------
    model : BoltzmannMachine
    base : sequence of Units
        Layers at beta = 0.
    states : sequence of ndarray of shape (n_rows, n_units)
        By layer.
    betas : ndarray
        Ascending, or descending for annealing in reverse.
    site : Site
    work : tuple of (Workspace, Governor)
    parity : {0, 1}
    context : Context or None
        Of rows that have biases of their own (`bias_rows` and `base_rows`), or entries that are
        held; none of another kind.
    """
    n = states[0].shape[0]
    log_weights = np.zeros(n)
    workspace, governor = work
    states = list(states)
    context = Context(base=base) if context is None else replace(context, base=base)
    context.check(model.layers, n)
    around = [context.of_layer(l) for l in range(model.n_layers)]
    changes = _changes(model, base, parity, context)
    for step in range(1, len(betas)):
        work = Work(workspace, governor.next())
        old, new = np.float32(betas[step - 1]), np.float32(betas[step])
        log_weights += (float(new) - float(old)) * _slope(changes, states)
        at, before = np.full(n, new), np.full(n, old)
        here = site._replace(stream=site.stream.advanced(step))
        later = range(parity, model.n_layers, 2) if step < len(betas) - 1 else ()
        for l in (*range(1 - parity, model.n_layers, 2), *later):
            draws = np.empty((n, model.layers[l].size), model.layers[l].state_dtype)
            if around[l].held is not None:
                draws[...] = states[l]
            weighed = (l - parity) % 2 == 1
            outputs = Outputs(None, draws, *((log_weights, before) if weighed else ()))
            conditional_pass(
                model.chain, l, states, outputs, around[l]._replace(beta=at), here, work
            )
            states[l] = draws
        governor.done()
        check_time()
    return log_weights, states


def scratch(n_threads):
    """Return the workspace and the governor of threads that calls of :func:`anneal` share."""
    return engine.Workspace(), Governor(n_threads)


def _log_mean_exp(log_weights):
    """Log of the mean weight, its standard error on the weight scale, and the sample size."""
    top = float(log_weights.max())
    weights = np.exp(log_weights - top)
    mean = float(weights.mean())
    error = math.inf
    if len(weights) > 1:
        error = float(weights.std(ddof=1)) / math.sqrt(len(weights)) / mean
    ess = weights.sum() ** 2 / (weights**2).sum()
    return top + math.log(mean), error, float(ess)


def _interval(value, error):
    """Return the ends of an interval of 3 standard errors around a log of a mean.

    The lower end is never below that of Markov's inequality, which needs no standard error: an
    unbiased positive estimate exceeds 1 / 0.00135 times its mean with probability 0.00135 at the
    most, which is as rare as 3 standard errors.
    """
    low = value + math.log1p(-3.0 * error) if 3.0 * error < 1.0 else -math.inf
    return max(low, value + math.log(0.00135)), value + math.log1p(3.0 * error)


def mean_weight(log_weights, log_base=0.0):
    """Estimate log Z by the mean of forward weights."""
    value, error, ess = _log_mean_exp(log_weights)
    low, high = _interval(value, error)
    return LogPartition(log_base + value, log_base + low, log_base + high, log_weights, ess, "ais")


def mean_reverse_weight(log_weights, log_base):
    """Estimate log Z by the mean of reverse weights, which estimates Z_base / Z."""
    value, error, ess = _log_mean_exp(log_weights)
    low, high = _interval(value, error)
    return LogPartition(
        log_base - value, log_base - high, log_base - low, log_weights, ess, "reverse_ais"
    )


def ais(
    model, *, n_chains=100, n_betas=None, base=None, summed_out=None, random_state=None,
    n_threads=None,
):  # fmt: skip
    """Estimate log Z by annealed importance sampling.

    Chains move from independent units (beta = 0) to `model` (beta = 1); each returns one
    log-weight, and the log of the mean weight estimates log Z - log Z_base.

    Parameters
    ----------
    model : BoltzmannMachine
        Any depth.
    n_chains : int
    n_betas : int, array-like or None
        Number of inverse temperatures, the temperatures themselves, or None for the schedule
        of record (14,501).
    base : Units or None
        First layer at beta = 0, from :func:`base_rates`. None: the model's own biases.
    summed_out : "odd", "even" or None
        Layers that are summed out of the weights analytically; the first layer is even. As a rule
        weights vary less where more is summed out. None: of more than two layers the parity with
        more units (data and second hidden layer of a machine 784-500-1000), else the odd layer.
    random_state : int, RandomState, Generator or None
    n_threads : int or None

    Returns
    -------
    LogPartition
        `lower` and `upper` are 3 standard errors away; where the errors are too large for that,
        `lower` is Markov's bound at the same level, 6.6 nats below.

    Notes
    -----
    Underestimates log Z in probability, hence overestimates the log-likelihood: see
    :func:`reverse_ais`. An `ess` of a few chains means that the interval is not to be trusted;
    raise `n_betas` before `n_chains`.

    References
    ----------
    Neal (2001); Salakhutdinov & Murray (2008), section 4.1; of deep machines, Salakhutdinov &
    Hinton (2009).
    """
    check_model(model)
    check_one_length(model)
    check_integer(n_chains, "n_chains")
    check_threads(n_threads)
    log_weights, log_base, _ = forward_chains(
        model, n_chains, as_betas(n_betas), base, Stream.from_random_state(random_state),
        Crew(n_threads), summed_out,
    )  # fmt: skip
    return mean_weight(log_weights, log_base)


def forward_chains(model, n_chains, betas, base, stream, crew, summed_out=None):
    """Anneal from independent units to the model: log weights, log Z at beta = 0, last states."""
    parity = parity_of_states(model, summed_out)
    layers, log_base = annealed_layers(model, base)
    start = start_particles(_Independent(layers), n_chains, stream.child("start"))
    site = Site(stream.child("ais"), ANNEAL)
    log_weights, *states = _annealed(model, layers, start, betas, site, crew, parity)
    return log_weights, log_base, Particles(states)


def _annealed(model, layers, particles, betas, site, crew, parity):
    """Return log weights and states of chains, annealed by the processes that share them."""

    def moved(rows):
        weights, states = anneal(
            model, layers, [x[rows] for x in particles.states], betas,
            site._replace(first_row=rows.start), scratch(crew.n_threads), parity,
        )  # fmt: skip
        return [weights, *states]

    return by_parts(crew.collective, len(particles), moved)


def reverse_chains(model, particles, betas, base, stream, crew, summed_out=None):
    """Anneal samples of the model back to independent units: log weights, log Z at beta = 0."""
    parity = parity_of_states(model, summed_out)
    layers, log_base = annealed_layers(model, base)
    site = Site(stream.child("reverse"), REVERSE)
    log_weights, *_ = _annealed(model, layers, particles, betas[::-1], site, crew, parity)
    return log_weights, log_base


def reverse_ais(
    model, particles, *, n_betas=None, n_sweeps=100, base=None, summed_out=None,
    random_state=None, n_threads=None,
):  # fmt: skip
    """Estimate log Z from model samples annealed back to independent units.

    Parameters
    ----------
    model : BoltzmannMachine
    particles : Particles
        Chains near the model's distribution, one log-weight each.
    n_betas, base, summed_out, random_state, n_threads
        See :func:`ais`.
    n_sweeps : int
        Gibbs sweeps before annealing starts.

    Returns
    -------
    LogPartition
        Overestimates log Z in probability when the particles are samples of the model.

    References
    ----------
    Burda, Grosse & Salakhutdinov (2015).
    """
    check_model(model)
    check_one_length(model)
    betas = as_betas(n_betas)
    check_particles(model, particles)
    if not len(particles):
        raise ValueError("particles must hold at least one chain, got none")
    annealed_layers(model, base)  # refuses a base and a parity before the sweeps
    parity_of_states(model, summed_out)
    stream = Stream.from_random_state(random_state)
    particles = gibbs(
        model, particles, n_sweeps, random_state=stream.child("start"), n_threads=n_threads
    )
    return mean_reverse_weight(
        *reverse_chains(model, particles, betas, base, stream, Crew(n_threads), summed_out)
    )


def as_betas(n_betas):
    """Return inverse temperatures from 0 to 1; see :func:`ais`."""
    if n_betas is None or is_integer(n_betas):
        if n_betas is not None and not 2 <= n_betas <= MOST_BETAS:
            raise ValueError(
                f"n_betas must be at least 2 and at most {MOST_BETAS}, got {shown(n_betas)}"
            )
        return default_betas(n_betas)
    betas = real_array(n_betas, "n_betas").astype(np.float64)
    if betas.ndim != 1 or len(betas) < 2 or betas[0] != 0 or betas[-1] != 1:
        raise ValueError("n_betas must be a number or temperatures that run from 0 to 1")
    if not (np.diff(betas) > 0).all():
        raise ValueError("n_betas must be increasing temperatures from 0 to 1")
    return betas
