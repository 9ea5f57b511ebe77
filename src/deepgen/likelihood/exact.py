"""Exact log Z by enumeration, and exact likelihoods."""

import math
from dataclasses import dataclass, field

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import check_number
from deepgen.layers.passes import layer_log_weight, segments_log_normalizer
from deepgen.models import check_model, check_one_length
from deepgen.rows.states import dense
from deepgen.runtime.threads import check_threads, effective_threads
from deepgen.runtime.time_limit import check_time

# Enumeration goes up to 25 binary units.
MAX_BITS = 25
# Products of an enumeration that is cheaper than an estimate of the same precision.
CHEAP_WORK = 2.0**35


@dataclass(frozen=True)
class LogPartition:
    """An estimate of log Z.

    Attributes
    ----------
    value : float
        The estimate, in nats.
    lower, upper : float
        Interval: 3 standard errors (or Markov's bound) for one estimator; both ends for a
        bracket; equal to `value` where it is exact.
    log_weights : ndarray of shape (n_chains,)
        Empty where it is exact.
    ess : float
        Effective sample size of the weights; a few chains' worth is not to be trusted.
    method : str
        "exact", "ais", "reverse_ais", "bracket", "open bracket", "trajectory", "ladder" or "open
        ladder".
    forward, reverse : LogPartition or None
        What a bracket was joined from: the estimates of each direction alone.
    reason : str
        What there is to know about the interval, such as why it was opened; may be empty.
    """

    value: float
    lower: float
    upper: float
    log_weights: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    ess: float = math.inf
    method: str = "exact"
    forward: "LogPartition | None" = field(default=None, repr=False)
    reverse: "LogPartition | None" = field(default=None, repr=False)
    reason: str = ""


def _count_states(layers):
    """Return log2 of the number of joint states of layers, infinite where it cannot be counted."""
    parts = [part for layer in layers for _, part in layer.placed_parts]
    return sum((part.n_sites * math.log2(part.n_states) for part in parts), 0.0)


def _enumerated_parity(layers):
    return min((0, 1), key=lambda parity: _count_states(layers[parity::2]))


class _Enumeration:
    """Log Z of a chain of layers, for any biases: one parity enumerated, the other summed out.

    Parameters
    ----------
    layers : sequence of Units
    weights : sequence of ndarray
    remedy : str
        End of the message where there are too many states.
    """

    def __init__(self, layers, weights, remedy):
        parity = _enumerated_parity(layers)
        mine = range(parity, len(layers), 2)
        self._others = range(1 - parity, len(layers), 2)
        bits = _count_states([layers[l] for l in mine])
        if bits > MAX_BITS:
            raise ValueError(
                f"the smaller side has 2**{bits:.0f} states, more than 2**{MAX_BITS}; {remedy}"
            )
        fields_at, n_fields = {}, 0
        for l in self._others:
            fields_at[l] = slice(n_fields, n_fields + layers[l].size)
            n_fields += layers[l].size
        self._segments = [each for l in self._others for each in layers[l].kernel_segments()]
        self._takes_products = _takes_products([layers[l] for l in self._others])
        self._radix, self._shift, self._tables = [], [], []
        for l in mine:
            rows = np.zeros((layers[l].size, n_fields))
            if l > 0:
                rows[:, fields_at[l - 1]] = weights[l - 1].T
            if l + 1 < len(layers):
                rows[:, fields_at[l + 1]] = weights[l]
            for columns, part in layers[l].placed_parts:
                self._add_sites(l, columns, part, rows[columns])

    def _add_sites(self, l, columns, part, rows):
        """Add the sites of a part of a layer: their states, and what these shift the fields by.

        Parameters
        ----------
        l : int
        columns : slice
            Where the part stands in layer `l`.
        part : Units
        rows : ndarray of shape (size of the part, n_fields)
            What a 1 of each column adds to the fields of the other layers.
        """
        states, log_measure = part.alternatives()
        states = states.astype(np.float64)
        self._radix += [part.n_states] * part.n_sites
        self._shift += [*_by_site(states, rows)]
        self._tables.append((l, columns, states, log_measure))

    def log_sum(self, biases, n_threads=None):
        """Return log Z with these biases, float64 vectors by layer."""
        terms = []
        for l, columns, states, log_measure in self._tables:
            of_states = _by_site(states, biases[l][columns, None])[:, :, 0]
            terms += [*(of_states + log_measure)]
        bias = np.concatenate([biases[l] for l in self._others])
        per_fold = _products_per_fold(self._shift, bias) if self._takes_products else 0
        return _enumerate(
            self._radix, self._shift, terms, bias, self._segments, per_fold, n_threads
        )


def _by_site(states, columns):
    """Return the products of the states of a site with the numbers of its columns.

    Parameters
    ----------
    states : csr_array of shape (n_states, group)
    columns : ndarray of shape (n_sites * group, n)

    Returns
    -------
    ndarray of shape (n_sites, n_states, n)
    """
    n_states, group = states.shape
    n = columns.shape[1]
    side_by_side = columns.reshape(-1, group, n).swapaxes(0, 1).reshape(group, -1)
    return (states @ side_by_side).reshape(n_states, -1, n).swapaxes(0, 1)


def is_enumerable(model, bits=MAX_BITS):
    """Tell whether :func:`exact_log_partition` has at most 2**bits states to visit."""
    return _count_states(model.layers[_enumerated_parity(model.layers) :: 2]) <= bits


def is_cheap(model):
    """Tell whether :func:`exact_log_partition` takes some seconds at the most."""
    parity = _enumerated_parity(model.layers)
    others = model.layers[1 - parity :: 2]
    bits = _count_states(model.layers[parity::2])
    work = 2.0 ** min(bits, 64.0) * sum(layer.size for layer in others)
    # a product a unit, or else logarithms
    return bits <= MAX_BITS and work * (1 if _takes_products(others) else 16) <= CHEAP_WORK


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
    check_model(model)
    check_one_length(model)
    check_threads(n_threads)
    enumeration = _Enumeration(
        model.layers, model.weights, "use ais and reverse_ais for a bracket"
    )
    value = enumeration.log_sum(_biases(model), n_threads)
    return LogPartition(value, value, value)


def exact_log_partitions(model, bias_rows, *, n_threads=None):
    """Compute log Z of a machine with each of some rows of biases, by enumeration.

    Parameters
    ----------
    model : BoltzmannMachine
    bias_rows : dict of int to ndarray of shape (n_rows, n_units)
        Added to the biases of a layer, row by row.
    n_threads : int or None

    Returns
    -------
    ndarray of shape (n_rows,), float64

    Raises
    ------
    ValueError
        If both sides are too large; see :func:`exact_log_partition`.
    """
    check_model(model)
    check_one_length(model)
    enumeration = _Enumeration(model.layers, model.weights, "estimate them by annealing")
    biases = _biases(model)
    n_rows = len(next(iter(bias_rows.values())))
    out = np.empty(n_rows)
    for r in range(n_rows):
        own = [bias + bias_rows[l][r] if l in bias_rows else bias for l, bias in enumerate(biases)]
        out[r] = enumeration.log_sum(own, n_threads)
    return out


def is_cheap_by_row(model, n_rows):
    """Tell whether :func:`exact_log_partitions` takes some seconds at the most."""
    bits = _count_states(model.layers[_enumerated_parity(model.layers) :: 2])
    # small rows cost what a call does
    return is_cheap(model) and n_rows * 2.0 ** max(bits, 6.0) * 128.0 <= CHEAP_WORK


def _biases(model):
    return [layer.bias.astype(np.float64) for layer in model.layers]


def _takes_products(layers):
    """Tell whether what is summed out is a product of 1 + exp(field): one layer of 0 and 1."""
    return len(layers) == 1 and layers[0].is_bernoulli


def _products_per_fold(shift, bias):
    """Count the factors 1 + exp(field) whose product is safe; 0 where not even one is."""
    reach = np.abs(bias) + sum(np.abs(rows).max(axis=0) for rows in shift)
    if not reach.max() < 350.0:
        return 0
    return int(690.0 / np.logaddexp(0.0, reach.max()))


def _enumerate(radix, shift, terms, bias, segments, per_fold, n_threads):
    """Return log sum over joint states s of all sites of exp(terms(s) + A(bias + shifts(s))).

    Site i has ``radix[i]`` states; state s of it adds ``terms[i][s]`` to the log weight and
    ``shift[i][s]``, a row of (n_fields,), to the fields of the other layers, whose log normalizer
    is A. Where A is a sum of log(1 + exp(field)), `per_fold` factors are multiplied before each
    logarithm; 0: none are.
    """
    if per_fold:
        padding = np.zeros(-len(bias) % engine.PRODUCT_LANES)
        bias = np.concatenate([np.exp(bias), padding])
        shift = [np.pad(np.exp(rows), ((0, 0), (0, len(padding)))) for rows in shift]
    # a table of the low sites' states is shared; it should stay in the second-level cache
    n_low_sites, n_low = 0, 1
    while n_low_sites < len(radix) and n_low * radix[n_low_sites] * len(bias) <= 2**16:
        n_low *= radix[n_low_sites]
        n_low_sites += 1

    def pack(sites):
        counts = np.array(radix[sites], np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
        shifts = np.concatenate([np.zeros((0, len(bias))), *shift[sites]])
        return counts, offsets, shifts, np.concatenate([np.zeros(0), *terms[sites]])

    high, low = pack(slice(n_low_sites, None)), pack(slice(None, n_low_sites))
    n_high = math.prod(radix[n_low_sites:])
    threads = effective_threads(n_threads, n_high * n_low * len(bias) * 8)
    table = np.empty(n_low * (len(bias) + 1))
    scratch = np.empty(threads * (2 * len(bias) + n_low))
    top, total = -math.inf, 0.0
    # about 50 ms between chances for Ctrl-C
    piece = max(1, 2 ** (28 if per_fold else 25) // (n_low * len(bias)))
    for first in range(0, n_high, piece):
        out = np.empty(min(piece, n_high - first))
        engine.enumerate_states(
            high, low, bias, segments, table, scratch, out, first, per_fold, threads
        )
        here = float(out.max())
        if here > top:
            top, total = here, total * math.exp(top - here)
        total += float(np.exp(out - top).sum())
        check_time()
    return top + math.log(total)


def exact_log_likelihood(model, X, *, log_partition=None):
    """Compute the exact log p(v) of rows of the first layer, in float64.

    Parameters
    ----------
    model : BoltzmannMachine
        Enumerable, see :func:`exact_log_partition`. With more than two layers the hidden ones are
        enumerated too, once for each row: even or odd ones together have at most 2**25 states.
    X : array-like of shape (n_samples, n_visible)
    log_partition : float or None
        None: :func:`exact_log_partition`.

    Returns
    -------
    ndarray of shape (n_samples,), float64

    Raises
    ------
    ValueError
        If a sum is too large, or a shape or a value of X does not fit.
    """
    check_model(model)
    x = model.layers[0].states_of(X)
    if model.layers[0].takes_trials:
        return _by_length(model, x)
    hidden = None
    if model.n_layers > 2:
        hidden = _Enumeration(
            model.layers[1:], model.weights[1:],
            "given a row, use ais on conditional_model(model, {0: row})",
        )  # fmt: skip
    if log_partition is None:
        log_partition = exact_log_partition(model).value
    check_number(log_partition, "log_partition")
    out = layer_log_weight(model.chain, 0, x)
    weights, biases = model.weights[0].astype(np.float64), _biases(model)[1:]
    segments = model.layers[1].kernel_segments()
    rows = dense(x)
    for first in range(0, len(rows), 4096):
        piece = slice(first, first + 4096)
        field = rows[piece].astype(np.float64) @ weights + biases[0]
        if hidden is None:
            out[piece] += segments_log_normalizer(segments, field)
        else:
            out[piece] += [hidden.log_sum([bias, *biases[1:]]) for bias in field]
    return out - log_partition


def _by_length(model, x):
    """Return exact log p(v | number of trials) of rows that have their own numbers of them."""
    trials, out = model.layers[0].trials_of(x).astype(int), np.empty(x.shape[0])
    for length in np.unique(trials):
        rows = trials == length
        out[rows] = exact_log_likelihood(model.of_length(int(length)), dense(x)[rows])
    return out
