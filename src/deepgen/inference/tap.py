"""Second-order mean field: means that know how far their neighbours waver (TAP equations).

Mean field takes each layer's neighbours for their means. The next term of the same expansion, by
the variances of both sides, takes most of the error of log p(v) away, but the result is no bound
(docs/math.md, "TAP").
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import xlog1py, xlogy

from deepgen.checks import check_instance, check_number
from deepgen.inference.factorial import BOUND_FIXED_POINT, FactorialPosterior
from deepgen.inference.mean_field import FixedPoint, field_from, reads_steps
from deepgen.layers.passes import LayerContext, Outputs, conditional_pass, layer_log_weight
from deepgen.models import check_model
from deepgen.rows.states import ByteMeans, dense, row_slice
from deepgen.runtime.precision import packed_form
from deepgen.runtime.stream import Stream
from deepgen.runtime.work import ANY_WORK, Work

# Rows that are inferred together, so that memory does not grow with the data.
PIECE = 1024
DAMPING = 0.5
LARGEST_VARIANCE = 0.25  # of a bit


@dataclass(frozen=True)
class TAP:
    """Means of the TAP equations, row by row, and the log p(v) that goes with them.

    Attributes
    ----------
    means : list
        By layer: the rows that were given, then float32 means of shape (n_rows, n_units).
    log_weight : ndarray of shape (n_rows,), float64
        An estimate of ``log p(v) + log Z``. Where `fell_back` is true it is the variational bound,
        else it is no bound.
    n_sweeps : ndarray of shape (n_rows,), int32
    damped : ndarray of shape (n_rows,), bool
        Whether changes grew from one sweep to the next, so that half of each was kept from then on.
    fell_back : ndarray of shape (n_rows,), bool
        Whether the sweeps did not settle: these rows have the means of mean field.
    """

    means: list
    log_weight: np.ndarray
    n_sweeps: np.ndarray
    damped: np.ndarray
    fell_back: np.ndarray


def tap(model, X, *, until=None, n_threads=None):
    """Infer the hidden layers of a deep machine by the TAP equations.

    ``m = logistic(b + W m' + (1/2 - m) W^2 m' (1 - m'))`` with the means m' of the neighbouring
    layers that are inferred too, the squares by entry. One product more a layer than mean field;
    fewer sweeps, as a rule.

    Parameters
    ----------
    model : BoltzmannMachine
        Whose hidden layers are binary units of one copy.
    X : array-like or sparse matrix of shape (n_samples, n_visible)
        States of the first layer.
    until : FixedPoint or None
        When the sweeps over a row stop. None: 100 sweeps, a change of 1e-4.
    n_threads : int or None

    Returns
    -------
    TAP

    Raises
    ------
    ValueError
        If a hidden layer is of other units, or a value of X does not fit.

    Notes
    -----
    With weights of 3 and more between hidden layers the expansion fails: its estimate can lie nats
    above log p(v), and rows are seen to fail only where their sweeps do not settle.

    References
    ----------
    Thouless, Anderson & Palmer (1977); of Boltzmann machines, Gabrie, Tramel & Krzakala (2015),
    "Training restricted Boltzmann machines via the Thouless-Anderson-Palmer free energy", eq. 8.
    """
    check_model(model)
    until = BOUND_FIXED_POINT if until is None else until
    check_instance(until, "until", FixedPoint, "dg.FixedPoint(max_sweeps, tol)")
    check_layers_of_tap(model, "mean_field")
    v = model.visible.states_of(X)
    work = Work(n_threads=n_threads).reusing()
    squares = _Squares.of(model)
    pieces = [
        _of_piece(model, squares, row_slice(v, first, min(first + PIECE, v.shape[0])), until, work)
        for first in range(0, max(v.shape[0], 1), PIECE)
    ]
    return TAP(
        [v, *(np.concatenate(x) for x in zip(*(p.means[1:] for p in pieces), strict=True))],
        *(np.concatenate([getattr(p, name) for p in pieces])
          for name in ("log_weight", "n_sweeps", "damped", "fell_back")),
    )  # fmt: skip


def tap_log_likelihood(model, X, *, log_partition, until=None, n_threads=None):
    """Estimate log p(v) by row by the TAP free energy; it is no bound.

    Parameters
    ----------
    model, X, until, n_threads
        See :func:`tap`.
    log_partition : float
        log Z of the machine.

    Returns
    -------
    ndarray of shape (n_samples,), float64
        Nats. Rows that fell back to mean field have their variational bound; :func:`tap` tells
        which.

    Raises
    ------
    ValueError
        As :func:`tap`, and if `log_partition` is no finite number.
    """
    check_number(log_partition, "log_partition")
    return tap(model, X, until=until, n_threads=n_threads).log_weight - log_partition


def check_layers_of_tap(model, otherwise):
    """Raise ValueError unless hidden layers are binary units; the message says what to use."""
    for l, units in enumerate(model.layers[1:], start=1):
        if not units.is_bernoulli:
            raise ValueError(
                f"layers[{l}] must be binary units of one copy for TAP, got {units!r}; use "
                f"{otherwise}"
            )


def tap_after_mean_field(model, means, n_sweeps, tol, *, work=ANY_WORK):
    """Return the means of all layers some TAP sweeps after mean field, for an update of learning.

    Mean field's sweeps are cheaper, and TAP's means lie near its own. A row whose changes grow,
    and are above `tol`, keeps the means of mean field.

    Parameters
    ----------
    model : BoltzmannMachine or Parameters
        Whose hidden layers are binary units of one copy, and none is known.
    means : list
        By layer: states of the first, then float32 means of shape (n_rows, n_units), from which
        the sweeps start. They stay as they are.
    n_sweeps : int
    tol : float
    work : Work

    Returns
    -------
    list
        As `means`.
    """
    squares = _Squares.of(model, in_steps=reads_steps(model, 1, model.n_layers))
    outside, start = field_from(model, 0, 1, means[0], work), means
    means, before, grown = list(means), np.inf, False
    for _ in range(n_sweeps):
        means, moved = _swept(model, squares, means, outside, None, work)
        grown = grown | ((moved > before) & (moved > tol))
        before = moved
    if np.any(grown):
        for l in range(1, model.n_layers):
            means[l][grown] = start[l][grown]
    return means


@dataclass(frozen=True)
class _Squares:
    """Squares of the weights between hidden layers, which :func:`field_from` reads as a model's.

    There are none below: rows are given, so that the layer of rows does not waver.
    """

    layers: tuple
    weights: list
    packed: list
    in_steps: bool  # whether layers read means and variances in steps of 1 / 255 of the largest

    @classmethod
    def of(cls, model, in_steps=False):
        """Return those of a model; packed ones where layers read each other in steps."""
        weights = [None, *(w * w for w in model.weights[1:])]
        packed = [None] * len(weights)
        if in_steps:
            for l in range(1, len(weights)):
                packed[l] = packed_form(*model.layers[l : l + 2], weights[l])
        return cls(model.layers, weights, packed, in_steps)

    def kernel_weights(self, chosen):
        """Return (matrices, packed forms or None) of a slice, as the kernels read them."""
        return self.weights[chosen], self.packed[chosen]


def _of_piece(model, squares, v, until, work):
    """Return the TAP means of some rows, and mean field's where they fail."""
    n_rows, hidden = v.shape[0], range(1, model.n_layers)
    outside = field_from(model, 0, 1, v, work)
    means = [v, *(np.array(x) for x in _first_means(model, outside, work)[1:])]
    active, change = np.arange(n_rows), np.full(n_rows, np.inf)
    sweeps, damped = np.zeros(n_rows, np.int32), np.zeros(n_rows, bool)
    for _ in range(until.max_sweeps):
        some = [None, *(np.ascontiguousarray(means[l][active]) for l in hidden)]
        keep = np.where(damped[active], DAMPING, until.damping).astype(np.float32)[:, None]
        some, moved = _swept(model, squares, some, outside[active], keep, work)
        for l in hidden:
            means[l][active] = some[l]
        sweeps[active] += 1
        damped[active] |= moved > change[active]
        change[active] = moved
        active = active[moved > until.tol]
        if not len(active):
            break
    settled = change <= until.tol
    value = _free_energy(model, squares, means, outside, v, work)
    fallen = np.flatnonzero(~settled)
    if len(fallen):
        bound = FactorialPosterior(model, Stream(0), work.n_threads)
        rows = np.ascontiguousarray(dense(v)[fallen])
        found = bound.means(rows)
        for l in hidden:
            means[l][fallen] = found[l]
        value[fallen] = bound.bound(rows)
    return TAP(means, value, sweeps, damped, ~settled)


def _swept(model, squares, means, outside, keep, work):
    """Return the means after a sweep, odd layers, then even ones, and the largest change by row.

    ``m = logistic(b + W m' + (1/2 - m) W^2 m' (1 - m'))``; rows keep a share of their old means.

    Parameters
    ----------
    outside : ndarray of shape (n_rows, n_units of the first hidden layer), float32
        What the rows send there.
    keep : ndarray of shape (n_rows, 1), float32, or None
    """
    means, hidden, in_steps = list(means), model.part(1, model.n_layers), squares.in_steps
    moved = np.zeros(len(outside), np.float32)
    told = [None, *(_Moments.of(m, in_steps) for m in means[1:])]
    for l in [*range(1, model.n_layers, 2), *range(2, model.n_layers, 2)]:
        around = (0.5 - means[l]) * _reaction(squares, told, l, work)
        if l == 1:
            around += outside
        fresh = np.empty_like(means[l])
        conditional_pass(
            hidden, l - 1, [x.mean for x in told[1:]], Outputs(fresh), LayerContext(around),
            work=work,
        )  # fmt: skip
        change = fresh - means[l]
        moved = np.maximum(moved, np.abs(change).max(axis=1, initial=0.0))
        means[l] = fresh if keep is None else fresh - keep * change
        told[l] = _Moments.of(means[l], in_steps)
    return means, moved


class _Moments(NamedTuple):
    """Means ``m`` and variances ``m (1 - m)`` of a layer, as its neighbours read them."""

    mean: np.ndarray | ByteMeans
    variance: np.ndarray | ByteMeans

    @classmethod
    def of(cls, mean, in_steps):
        variance = mean * (1.0 - mean)
        if in_steps:
            return cls(ByteMeans.of(mean), ByteMeans.of(variance, LARGEST_VARIANCE))
        return cls(mean, variance)


def _reaction(squares, told, l, work):
    """Return ``W^2 m' (1 - m')`` of a hidden layer by row, summed over the hidden layers beside."""
    beside = [n for n in (l - 1, l + 1) if 1 <= n < len(told)]
    sent = [field_from(squares, n, l, told[n].variance, work) for n in beside]
    return sum(sent[1:], sent[0]) if sent else np.float32(0.0)


def _first_means(model, outside, work):
    """Return means from the bottom up, where what comes from below counts twice."""
    means, sent = [None], outside
    for l, units in enumerate(model.layers[1:], start=1):
        if l > 1:
            sent = field_from(model, l - 1, l, means[l - 1], work)
        share = 2.0 if l + 1 < model.n_layers else 1.0
        means.append(units.mean(units.bias + share * sent))
    return means


def _free_energy(model, squares, means, outside, v, work):
    """Return the TAP estimate of ``log p*(v)`` by row, float64.

    ``sum_l m . b + v W m_1 + sum m W m' + entropy + 1/2 sum m (1 - m) W^2 m' (1 - m')``, sums over
    the pairs of neighbouring hidden layers.
    """
    total = layer_log_weight(model.chain, 0, v, n_threads=work.n_threads)
    for l in range(1, model.n_layers):
        m = means[l].astype(np.float64)
        bias = model.layers[l].bias + outside if l == 1 else model.layers[l].bias
        total += (m * bias).sum(axis=1) + _entropy(m)
        if l + 1 < model.n_layers:
            upper = means[l + 1]
            sent = field_from(model, l + 1, l, upper, work)
            second = field_from(squares, l + 1, l, upper * (1.0 - upper), work)
            total += (m * sent + 0.5 * m * (1.0 - m) * second).sum(axis=1)
    return total


def _entropy(m):
    """Return the entropy of independent binary units by row, nats."""
    return -(xlogy(m, m) + xlog1py(1.0 - m, -m)).sum(axis=1)
