"""Estimates of the likelihood: free energies, exact log Z, annealed importance sampling."""

import math
from dataclasses import dataclass, field

import numpy as np

from deepgen._kernels import engine
from deepgen.context import Context
from deepgen.passes import Site, conditional_pass, layer_log_weight, segments_log_normalizer
from deepgen.sampling import gibbs, layer_work, start_particles, update_layer
from deepgen.states import as_states, dense
from deepgen.stream import ANNEAL, REVERSE, Stream
from deepgen.threads import effective_threads
from deepgen.units import KIND_BINARY, KIND_GAUSSIAN, KIND_SOFTMAX

# Enumeration goes up to 25 binary units.
MAX_BITS = 25


@dataclass(frozen=True)
class LogPartition:
    """An estimate of log Z.

    Attributes
    ----------
    value : float
        The estimate, in nats.
    lower, upper : float
        Interval: 3 standard errors for one estimator; both ends for a bracket; equal to
        `value` where it is exact.
    log_weights : ndarray of shape (n_chains,)
        Empty where it is exact.
    ess : float
        Effective sample size of the weights; a few chains' worth is not to be trusted.
    method : str
    """

    value: float
    lower: float
    upper: float
    log_weights: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    ess: float = math.inf
    method: str = "exact"


def free_energy(model, X, *, context=None, n_threads=None):
    """Compute the free energy of rows of the first layer of a two-layer model.

    ``F(v) = -log sum_h exp(-energy(v, h))``: low for likely rows; ``p(v) = exp(-F(v)) / Z``.

    Parameters
    ----------
    model : BoltzmannMachine
        Two layers.
    X : array-like or sparse matrix of shape (n_samples, n_visible)
    context : Context or None

    Returns
    -------
    ndarray of shape (n_samples,), float64

    Raises
    ------
    ValueError
        If the model has more than two layers or a shape does not fit.
    """
    if model.n_layers != 2:
        raise ValueError(f"the free energy needs a model of 2 layers, got {model.n_layers}")
    x = as_states(X)
    model.layers[0].check_width(x)
    context = context or Context()
    context.check(model.layers, x.shape[0])
    out = layer_log_weight(model.chain, 0, x, context.fields(0), n_threads=n_threads)
    if x.shape[0]:
        conditional_pass(
            model.chain, 1, [x, None], context.fields(1), log_normalizer=out, n_rows=x.shape[0],
            work=layer_work(model, 1), n_threads=n_threads,
        )  # fmt: skip
    return -out


def _sites(model, parity, mine, fields_at, n_fields):
    """List the sites of the enumerated layers: shifts of fields and own weights by state."""
    radix, shift, own = [], [], []
    for l in mine:
        layer = model.layers[l]
        rows = np.zeros((layer.size, n_fields))
        if l > 0:
            rows[:, fields_at[l - 1]] = model.weights[l - 1].T
        if l + 1 < model.n_layers:
            rows[:, fields_at[l + 1]] = model.weights[l]
        bias = layer.bias.astype(np.float64)
        if layer.kind == KIND_SOFTMAX:
            for first in range(0, layer.size, layer.group):
                radix.append(layer.group)
                shift.append(rows[first : first + layer.group])
                own.append(bias[first : first + layer.group])
        else:
            states = np.arange(layer.n_copies + 1.0)
            measure = [math.log(math.comb(layer.n_copies, int(x))) for x in states]
            for unit in range(layer.size):
                radix.append(len(states))
                shift.append(states[:, None] * rows[unit])
                own.append(states * bias[unit] + measure)
    return radix, shift, own


def _count_states(layers):
    total = 0.0
    for layer in layers:
        if layer.kind == KIND_GAUSSIAN:
            return math.inf
        states = layer.n_copies + 1 if layer.kind == KIND_BINARY else layer.group
        total += layer.size / layer.group * math.log2(states)
    return total


def _enumerated_parity(model):
    return min((0, 1), key=lambda parity: _count_states(model.layers[parity::2]))


def is_enumerable(model, bits=25):
    """Tell whether :func:`exact_log_partition` has at most 2**bits states to visit."""
    return _count_states(model.layers[_enumerated_parity(model) :: 2]) <= bits


def exact_log_partition(model, *, n_threads=None):
    """Compute log Z by enumeration of the layers of one parity; the others in closed form.

    Parameters
    ----------
    model : BoltzmannMachine
        Any depth; even or odd layers together have at most 2**25 states.
    n_threads : int or None

    Returns
    -------
    LogPartition
        `lower`, `value` and `upper` are equal.

    Raises
    ------
    ValueError
        If both sides are too large.

    Notes
    -----
    float64 throughout. The time doubles with each binary unit of the smaller side: 25 units
    against 784 take seconds.
    """
    parity = _enumerated_parity(model)
    mine, others = range(parity, model.n_layers, 2), range(1 - parity, model.n_layers, 2)
    bits = _count_states([model.layers[l] for l in mine])
    if bits > MAX_BITS:
        raise ValueError(
            f"the smaller side has 2**{bits:.0f} states, more than 2**25; use ais and reverse_ais "
            "for a bracket"
        )
    fields_at, n_fields = {}, 0
    for l in others:
        fields_at[l] = slice(n_fields, n_fields + model.layers[l].size)
        n_fields += model.layers[l].size
    bias = np.concatenate([model.layers[l].bias for l in others]).astype(np.float64)
    segments = [model.layers[l].kernel_segment() for l in others]
    radix, shift, own = _sites(model, parity, mine, fields_at, n_fields)
    value = _enumerate(radix, shift, own, bias, segments, n_threads)
    return LogPartition(value, value, value)


def _enumerate(radix, shift, own, bias, segments, n_threads):
    # a table of the low sites' states is shared; it should stay in the second-level cache
    n_low_sites, n_low = 0, 1
    while n_low_sites < len(radix) and n_low * radix[n_low_sites] * len(bias) <= 2**16:
        n_low *= radix[n_low_sites]
        n_low_sites += 1

    def pack(part):
        counts = np.array(radix[part], np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
        shifts = np.concatenate([np.zeros((0, len(bias))), *shift[part]])
        return counts, offsets, shifts, np.concatenate([np.zeros(0), *own[part]])

    high, low = pack(slice(n_low_sites, None)), pack(slice(None, n_low_sites))
    n_high = math.prod(radix[n_low_sites:])
    threads = effective_threads(n_threads, n_high * n_low * len(bias) * 8)
    table = np.empty(n_low * (len(bias) + 1))
    scratch = np.empty(threads * (2 * len(bias) + n_low))
    top, total = -math.inf, 0.0
    piece = max(1, 2**25 // (n_low * len(bias)))  # about 50 ms between chances for Ctrl-C
    for first in range(0, n_high, piece):
        out = np.empty(min(piece, n_high - first))
        engine.enumerate_states(high, low, bias, segments, table, scratch, out, first, threads)
        here = float(out.max())
        if here > top:
            top, total = here, total * math.exp(top - here)
        total += float(np.exp(out - top).sum())
    return top + math.log(total)


def exact_log_likelihood(model, X, *, log_partition=None):
    """Compute the exact log p(v) of rows under a two-layer model, in float64.

    Parameters
    ----------
    model : BoltzmannMachine
        Two layers, enumerable.
    X : array-like of shape (n_samples, n_visible)
    log_partition : float or None
        None: :func:`exact_log_partition`.

    Returns
    -------
    ndarray of shape (n_samples,), float64
    """
    if model.n_layers != 2:
        raise ValueError(f"the exact likelihood needs a model of 2 layers, got {model.n_layers}")
    if log_partition is None:
        log_partition = exact_log_partition(model).value
    x = as_states(X)
    model.layers[0].check_width(x)
    out = layer_log_weight(model.chain, 0, x)
    weights, hidden = model.weights[0].astype(np.float64), model.layers[1]
    rows = dense(x)
    for first in range(0, len(rows), 4096):
        piece = slice(first, first + 4096)
        field = rows[piece].astype(np.float64) @ weights + hidden.bias
        out[piece] += segments_log_normalizer([hidden.kernel_segment()], field)
    return out - log_partition


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
    visible = model.layers[0]
    if X is None:
        return visible
    rows = dense(as_states(X)).astype(np.float64)
    return visible.fitted_to(rows.mean(axis=0), rows.var(axis=0), len(rows) / 5.0)


def _annealing(model, base):
    """Layers at beta = 0: the base for the first, flat ones (bias zero) above it."""
    visible = model.layers[0]
    if base is not None and (type(base), base.size) != (type(visible), visible.size):
        raise ValueError(f"base must be like the first layer, {visible!r}, got {base!r}")
    flat = [layer.replace(bias=np.zeros(layer.size)) for layer in model.layers[1:]]
    layers = (model.layers[0] if base is None else base, *flat)
    log_base = sum(float(layer.log_normalizer(layer.bias[None])[0]) for layer in layers)
    return layers, log_base


def _slope(model, base, states):
    """d log p*_beta / d beta that even layers add by themselves, by row."""
    total = np.zeros(states[0].shape[0])
    for l in range(0, model.n_layers, 2):
        x = states[l].astype(np.float32)
        total += (x * (model.layers[l].bias - base[l].bias)).sum(axis=1, dtype=np.float64)
        if model.layers[l].precision is not None:
            change = model.layers[l].precision - base[l].precision
            total -= 0.5 * (x * x * change).sum(axis=1, dtype=np.float64)
    return total


def _anneal(model, base, states, betas, site, n_threads):
    """Move states of the even layers along `betas`; return the log weights by row.

    Odd layers are summed out of the weights; they are drawn from the fields of that same pass.
    """
    n = states[0].shape[0]
    log_weights = np.zeros(n)
    stream, kind, first_row = site
    tools = {"workspace": engine.Workspace(), "n_threads": n_threads}
    states = list(states)
    for step in range(1, len(betas)):
        old, new = np.float32(betas[step - 1]), np.float32(betas[step])
        log_weights += (float(new) - float(old)) * _slope(model, base, states)
        context = Context(beta=np.full(n, new), base=base)
        here = Site(stream.advanced(step), kind, first_row)
        before = np.full(n, old)
        for l in range(1, model.n_layers, 2):
            draws = np.empty((n, model.layers[l].size), model.layers[l].state_dtype)
            conditional_pass(
                model.chain, l, states, context.fields(l), sample=draws,
                log_normalizer=log_weights, beta_from=before, site=here, n_rows=n,
                work=layer_work(model, l), **tools,
            )  # fmt: skip
            states[l] = draws
        if step < len(betas) - 1:
            for l in range(0, model.n_layers, 2):
                _, states[l] = update_layer(model, l, states, context=context, site=here, **tools)
    return log_weights


def _log_mean_exp(log_weights):
    """Log of the mean weight, its standard error on the weight scale, and the sample size."""
    top = log_weights.max()
    weights = np.exp(log_weights - top)
    mean = weights.mean()
    error = weights.std(ddof=1) / math.sqrt(len(weights)) / mean if len(weights) > 1 else math.inf
    ess = weights.sum() ** 2 / (weights**2).sum()
    return top + math.log(mean), error, float(ess)


def _interval(value, error):
    low = value + math.log1p(-3.0 * error) if 3.0 * error < 1.0 else -math.inf
    return low, value + math.log1p(3.0 * error)


def ais(model, *, n_chains=100, n_betas=None, base=None, random_state=None, n_threads=None):
    """Estimate log Z by annealed importance sampling.

    Chains move from independent units (beta = 0) to `model` (beta = 1); each returns one
    log-weight, and the log of the mean weight estimates log Z - log Z_base.

    Parameters
    ----------
    model : BoltzmannMachine
        Any depth; odd layers are summed out.
    n_chains : int
    n_betas : int, array-like or None
        Number of inverse temperatures, the temperatures themselves, or None for the schedule
        of record (14,501).
    base : Units or None
        First layer at beta = 0, from :func:`base_rates`. None: the model's own biases.
    random_state : int, RandomState, Generator or None
    n_threads : int or None

    Returns
    -------
    LogPartition
        `lower` and `upper` are 3 standard errors away.

    Notes
    -----
    Underestimates log Z in probability, hence overestimates the log-likelihood: see
    :func:`reverse_ais`. An `ess` of a few chains means that the interval is not to be trusted;
    raise `n_betas` before `n_chains`.

    References
    ----------
    Neal (2001); Salakhutdinov & Murray (2008), section 4.1.
    """
    if n_chains < 1:
        raise ValueError(f"n_chains must be positive, got {n_chains}")
    betas = _betas(n_betas)
    layers, log_base = _annealing(model, base)
    stream = Stream.from_random_state(random_state)
    start = start_particles(_Independent(layers), n_chains, stream.child("start"))
    site = (stream.child("ais"), ANNEAL, 0)
    log_weights = _anneal(model, layers, start.states, betas, site, n_threads)
    value, error, ess = _log_mean_exp(log_weights)
    low, high = _interval(value, error)
    return LogPartition(log_base + value, log_base + low, log_base + high, log_weights, ess, "ais")


def reverse_ais(
    model, particles, *, n_betas=None, n_sweeps=100, base=None, random_state=None, n_threads=None
):
    """Estimate log Z from model samples annealed back to independent units.

    Parameters
    ----------
    model : BoltzmannMachine
    particles : Particles
        Chains near the model's distribution, one log-weight each.
    n_betas, base, random_state, n_threads
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
    betas = _betas(n_betas)[::-1]
    layers, log_base = _annealing(model, base)
    stream = Stream.from_random_state(random_state)
    particles = gibbs(
        model, particles, n_sweeps, random_state=stream.child("start"), n_threads=n_threads
    )
    site = (stream.child("reverse"), REVERSE, 0)
    log_weights = _anneal(model, layers, particles.states, betas, site, n_threads)
    value, error, ess = _log_mean_exp(log_weights)
    low, high = _interval(value, error)
    return LogPartition(
        log_base - value, log_base - high, log_base - low, log_weights, ess, "reverse_ais"
    )


def _betas(n_betas):
    if n_betas is None or isinstance(n_betas, int | np.integer):
        return default_betas(n_betas)
    betas = np.asarray(n_betas, np.float64)
    if betas.ndim != 1 or len(betas) < 2 or betas[0] != 0 or betas[-1] != 1:
        raise ValueError("n_betas must be a number or temperatures that run from 0 to 1")
    if (np.diff(betas) <= 0).any():
        raise ValueError("n_betas must be increasing temperatures from 0 to 1")
    return betas


@dataclass(frozen=True)
class _Independent:
    """Layers without weights, to draw first states from."""

    layers: tuple
