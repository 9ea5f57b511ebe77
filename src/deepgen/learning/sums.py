"""Sums over the rows of two phases, which add before anything is divided (docs/math.md, "Sums").

One process that makes a whole update alone forms them while it visits the weights
(:class:`~deepgen.learning.gradients.Phases`). Here they are arrays: several processes add theirs,
and rows may count differently.
"""

import itertools

import numpy as np

from deepgen._kernels import engine
from deepgen.learning.gradients import visit_pair
from deepgen.rows.states import ByteMeans, CompressedRows, dense, row_slice
from deepgen.rows.sums import column_sums, weight_sums, weighted_sums
from deepgen.runtime.threads import effective_threads
from deepgen.runtime.work import ANY_WORK

# A product of states and means in steps is a sum of whole numbers that float32 holds exactly up to
# here; more rows are summed in pieces.
EXACT = 2**24
SIDES = ("positive", "negative")


class Sums:
    """Sums of states, and of products of neighbouring layers, over the rows of both phases.

    With states x of a layer and y of the one above, a row's weight w and its bias scale s, summed
    over the rows of each phase::

        states[l] = sum w x      scaled[l] = sum w s x       where the layer has a bias scale
        squares[l] = sum w x^2   products[l] = sum w x^T y   weight = sum w

    Where rows have shares (:class:`~deepgen.learning.gradients.Phases`), w is the weight times the
    share in all of these but ``weight``, and ``whole[l]`` is the sum of the weight times x.

    The positive phase is divided by its number of rows n, the negative one by its weight times
    n / weight of the positive one.

    States and means in bytes are counted in steps of their unit, so these are whole numbers: they
    add to the same bits in any order and over any number of processes.

    Parameters
    ----------
    sizes : sequence of int
        Units of each layer.
    squares, scaled : sequence of bool
        By layer: whether these are summed.
    shared : bool
        Whether rows have shares.

    Attributes
    ----------
    buffer : ndarray, float64
        All sums, and the number of rows of the positive phase: what processes add.
    n_rows : ndarray of shape (1,)
        View of that number.
    weight, states, scaled, squares, products, whole : dict
        Views of the others, by phase ("positive", "negative") and layer.
    units : dict of tuple (phase, layer) to float
        What a step stands for; the same in all processes.
    offsets, gains, bias_terms
        See :class:`~deepgen.learning.gradients.Phases`.
    """

    def __init__(self, sizes, squares, scaled, *, shared=False):
        shapes = {"n_rows": (1,)}
        for side in SIDES:
            shapes[side, "weight"] = (1,)
            for l, size in enumerate(sizes):
                shapes[side, "states", l] = (size,)
                if shared:
                    shapes[side, "whole", l] = (size,)
                if scaled[l]:
                    shapes[side, "scaled", l] = (size,)
                if squares[l]:
                    shapes[side, "squares", l] = (size,)
            for l, pair in enumerate(itertools.pairwise(sizes)):
                shapes[side, "products", l] = pair
        counts = [int(np.prod(shape)) for shape in shapes.values()]
        self.buffer = np.zeros(sum(counts))
        pieces = np.split(self.buffer, np.cumsum(counts)[:-1])
        views = {
            key: piece.reshape(shape)
            for (key, shape), piece in zip(shapes.items(), pieces, strict=True)
        }
        self.n_rows = views.pop("n_rows")
        self.weight = {side: views.pop((side, "weight")) for side in SIDES}
        self.states, self.scaled, self.squares, self.products, self.whole = (
            {(side, l): view for (side, kind, l), view in views.items() if kind == wanted}
            for wanted in ("states", "scaled", "squares", "products", "whole")
        )
        self.sizes, self.units = list(sizes), {}
        self.offsets, self.gains, self.bias_terms = None, None, {}

    def positive_means(self):
        """Return the weighted mean of x over the positive phase by layer, float64."""
        total = float(self.weight["positive"][0]) or 1.0
        sums = self.whole or self.states
        return [
            sums["positive", l] * self.units["positive", l] / total
            for l in range(len(self.sizes))
        ]

    def _divisor(self, side):
        """Return the divisor of the sums of a phase, such as its rows; inf where no row counts."""
        n_rows, weight = max(float(self.n_rows[0]), 1.0), float(self.weight["positive"][0])
        if side == "positive":
            return n_rows
        # below 1 where few chains stand against heavy rows
        return (float(self.weight[side][0]) * (n_rows / weight) if weight else 0.0) or np.inf

    def mean_changes(self, squares, work):
        """Return means of the positive phase minus those of the negative one.

        See :meth:`deepgen.learning.gradients.PhaseStatistics.mean_changes`.
        """
        change = np.zeros((2 if any(squares) else 1, sum(self.sizes)))
        stops = list(itertools.accumulate(self.sizes))
        for sign, side in ((1.0, "positive"), (-1.0, "negative")):
            means, divisor = np.zeros_like(change), self._divisor(side)
            for l, (start, stop) in enumerate(itertools.pairwise([0, *stops])):
                total = self.scaled.get((side, l), self.states[side, l])
                means[0, start:stop] = total * self.units[side, l] / divisor
                if squares[l]:
                    means[1, start:stop] = self.squares[side, l] / divisor
            change += sign * means
        return change

    def visit_weights(self, parameters, layer, differences, step, out, work):
        """Write the gradient by a matrix, or take the step.

        See :meth:`deepgen.learning.gradients.PhaseStatistics.visit_weights`.
        """
        pair, weights = slice(layer, layer + 2), parameters.weights[layer]
        sums = []
        for side in SIDES:
            unit = np.float32(self.units[side, layer]) * np.float32(self.units[side, layer + 1])
            sums.append(unit * self.products[side, layer].astype(np.float32))
        return engine.update_from_sums(
            *sums, *(1.0 / self._divisor(side) for side in SIDES),
            None if self.offsets is None else self.offsets[pair],
            differences[pair],
            None if self.gains is None else self.gains[pair],
            out.gradient, out.follow, weights, step.velocity, step.average,
            None if out.gradient is not None else parameters.packed[layer],
            step.learning_rate, step.momentum, step.weight_decay, step.averaging,
            work.workspace or engine.Workspace(),
            effective_threads(work.n_threads, 8 * weights.size),
        )  # fmt: skip


class WeighedPhases:
    """Phases whose rows count differently, for one process: sums and step are one visit.

    What a row counts is multiplied into its states of the upper layer of each pair, so that no
    array of the shape of the weights is written in between; :class:`Sums` are what processes add.

    Parameters
    ----------
    phases : Phases
        With weights.
    """

    def __init__(self, phases):
        self._phases, self._factors = phases, []
        self.offsets, self.gains = phases.offsets, phases.gains
        self.bias_terms = phases.bias_terms
        counts = [x[0].shape[0] for x in (phases.positive, phases.negative)]
        total = None
        for side, n_rows in enumerate(counts):
            weights, factor = phases.counts_of(side)
            own = n_rows if weights is None else weights.sum()
            factor = np.ones(n_rows) if factor is None else factor
            if total is None:
                total = own / n_rows
            else:  # both phases have the total weight of the positive one
                factor = factor * (total * n_rows / own if own else 0.0)
            self._factors.append(factor)

    def mean_changes(self, squares, work):
        """Return means of the positive phase minus those of the negative one.

        See :meth:`deepgen.learning.gradients.PhaseStatistics.mean_changes`.
        """
        phases, threads = self._phases, work.n_threads
        sizes = [x.shape[1] for x in phases.positive]
        stops = [0, *itertools.accumulate(sizes)]
        change = np.zeros((2 if any(squares) else 1, stops[-1]))
        for sign, side, factor in zip((1.0, -1.0), SIDES, self._factors, strict=True):
            states, scales = getattr(phases, side), phases.bias_scale[SIDES.index(side)]
            sign /= states[0].shape[0]
            for l, x in enumerate(states):
                rows = change[:, stops[l] : stops[l + 1]]
                own = factor * scales[l] if l in scales else factor
                rows[0] += sign * weighted_sums(x, own, threads)
                if squares[l]:
                    rows[1] += sign * _square_sums(dense(x), factor)
        return change

    def visit_weights(self, parameters, layer, differences, step, out, work):
        """Write the gradient by a matrix, or take the step.

        See :meth:`deepgen.learning.gradients.PhaseStatistics.visit_weights`.
        """
        pairs = []
        for side, factor in zip(SIDES, self._factors, strict=True):
            lower, upper = getattr(self._phases, side)[layer : layer + 2]
            pairs.append((lower, np.float32(factor)[:, None] * dense(upper)))
        return visit_pair(parameters, layer, pairs, self, differences, step, out, work)


def phase_sums(parameters, phases, *, work=ANY_WORK):
    """Return the sums of the two phases of an update, or of the part of it that is here.

    Parameters
    ----------
    parameters : Parameters
    phases : Phases
    work : Work

    Returns
    -------
    Sums
        Rows that count differently are multiplied by ``phases.weights`` and ``phases.shares``;
        their number stays the number of rows, and their weight that of the weights alone.
    """
    learns = parameters.learns_precision
    scaled = [l in phases.bias_scale[0] for l in range(parameters.n_layers)]
    sizes = [layer.size for layer in parameters.layers]
    sums = Sums(sizes, learns, scaled, shared=phases.shares is not None)
    sums.offsets, sums.gains = phases.offsets, phases.gains
    sums.bias_terms = phases.bias_terms
    work = work.reusing()
    for number, side in enumerate(SIDES):
        weights, factor = phases.counts_of(number)
        states = [
            x if l == 0 or units.group == 1 else in_steps(x, units, side)
            for l, (x, units) in enumerate(
                zip(getattr(phases, side), parameters.layers, strict=True)
            )
        ]
        n_rows = states[0].shape[0]
        if side == "positive":
            sums.n_rows[0] = n_rows
        sums.weight[side][0] = n_rows if weights is None else weights.sum()
        plain = [x.steps if isinstance(x, ByteMeans) else x for x in states]
        for l, x in enumerate(states):
            sums.units[side, l] = _unit_of(x)
            sums.states[side, l][:] = _state_sums(plain[l], factor, work.n_threads)
            if phases.shares is not None:
                sums.whole[side, l][:] = _state_sums(plain[l], weights, work.n_threads)
            if scaled[l]:
                scale = phases.bias_scale[number][l]
                scale = scale if factor is None else factor * scale
                sums.scaled[side, l][:] = _state_sums(plain[l], scale, work.n_threads)
            if learns[l]:
                sums.squares[side, l][:] = _square_sums(dense(x), factor)
        for l in range(len(plain) - 1):
            _add_products(plain[l], plain[l + 1], factor, sums.products[side, l], work)
    return sums


def in_steps(x, units, side):
    """Return states of a layer above the first as bytes, means in steps; see :class:`ByteMeans`.

    Means of groups add up to one in each group. Labels of the positive phase are counted in the
    same steps: a part of a batch in which some are missing has means. What has no bytes, such as
    real values, stays as it is.

    Parameters
    ----------
    x : ndarray, CompressedRows or ByteMeans of shape (n_rows, n_units)
    units : Units
    side : {"positive", "negative"}
    """
    if units.state_dtype != np.uint8 or isinstance(x, ByteMeans | CompressedRows):
        return x
    if x.dtype == np.float32:
        if units.group > 1:
            return ByteMeans.of_groups(x, units.group)
        return ByteMeans.of(x, units.largest_state)
    labels = units.group > 1 and side == "positive"
    return ByteMeans(255 * x, 1.0 / 255.0) if labels else x


def _unit_of(x):
    """Return the value of one step of states: 1 / 255 of means as bytes, 1 of others."""
    return float(np.float32(x.unit)) if isinstance(x, ByteMeans) else 1.0


def _state_sums(x, factor, n_threads):
    """Return sums over rows of ``factor x``, float64 of shape (n_units,)."""
    if factor is None:
        return column_sums(x, n_threads)
    return weighted_sums(x, factor, n_threads)


def _square_sums(x, weights):
    squares = np.square(x, dtype=np.float64)
    return (squares if weights is None else weights[:, None] * squares).sum(axis=0)


def _add_products(lower, upper, weights, total, work):
    """total += lower^T (weights upper), float64 of shape (n_lower, n_upper)."""
    if weights is not None:
        upper = np.float32(weights)[:, None] * np.asarray(dense(upper), np.float32)
    n_rows = lower.shape[0]
    size = max(EXACT // (_largest(lower) * _largest(upper)), 1)
    for start in range(0, n_rows, size):
        stop = min(start + size, n_rows)
        total += weight_sums(
            row_slice(lower, start, stop), row_slice(upper, start, stop), work=work
        )


def _largest(x):
    """Return the largest whole number that states may be; 1 where they are no bytes."""
    return max(int(x.max(initial=1)), 1) if getattr(x, "dtype", None) == np.uint8 else 1
