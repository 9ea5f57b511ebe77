"""Float64 NumPy twins of the kernels: one formula each, for tests to compare with.

Rows are samples, columns are units; `weights[l]` is (size of layer l, size of layer l + 1).
A model is a list of `Layer` and a list of weights. `beta` is an inverse temperature, a number
or one for each row; it scales every natural parameter (bias, weights, precision), but not the
binomial base measure of tied copies.
"""

from dataclasses import dataclass
from itertools import pairwise, product
from math import comb

import numpy as np
from scipy import stats
from scipy.special import gammaln, xlogy

# ---------------------------------------------------------------------------- random numbers

MASK = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)

# Counter, key and the four words that follow from them: the vectors of Random123.
PHILOX_ANSWERS = [
    tuple(
        np.array([int(word, 16) for word in text.split()], np.uint32)
        for text in (counter, key, words)
    )
    for counter, key, words in (
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    )
]  # fmt: skip


def philox4x32(counter, key):
    """Ten rounds: c0, c1, c2, c3 <- hi(M1 c2)^c1^k0, lo(M1 c2), hi(M0 c0)^c3^k1, lo(M0 c0)."""
    counter = np.asarray(counter, dtype=np.uint32).astype(np.uint64)
    c0, c1, c2, c3 = (counter[..., word] for word in range(4))
    k0, k1 = (int(word) for word in np.asarray(key, dtype=np.uint32))
    for _ in range(10):
        product0 = np.uint64(0xD2511F53) * c0
        product1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (product1 >> SHIFT) ^ c1 ^ np.uint64(k0),
            product1 & MASK,
            (product0 >> SHIFT) ^ c3 ^ np.uint64(k1),
            product0 & MASK,
        )
        k0 = (k0 + 0x9E3779B9) % 2**32
        k1 = (k1 + 0xBB67AE85) % 2**32
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def uniform(words):
    """u = ((x >> 9) + 0.5) * 2**-23, in (0, 1)."""
    return ((np.asarray(words, dtype=np.uint32) >> 9) + 0.5) * 2.0**-23


def site_words(key, step, purpose, rows, columns):
    """Word column % 4 of philox(column // 4, row, step, purpose); high halves go into the key."""
    key, step = int(key), int(step)
    words = np.empty((len(rows), len(columns)), dtype=np.uint32)
    columns = np.asarray(columns, dtype=np.int64)
    for i, row in enumerate(rows):
        row = int(row)
        counter = np.empty((len(columns), 4), dtype=np.uint32)
        counter[:, 0] = columns // 4
        counter[:, 1] = row % 2**32
        counter[:, 2] = step % 2**32
        counter[:, 3] = purpose
        halves = [(key % 2**32) ^ (step >> 32), (key >> 32) ^ (row >> 32)]
        blocks = philox4x32(counter, np.array(halves, dtype=np.uint32))
        words[i] = blocks[np.arange(len(columns)), columns % 4]
    return words


def normal_pair(u, v):
    """sqrt(-2 log u) * (cos(2 pi v), sin(2 pi v))."""
    radius = np.sqrt(-2.0 * np.log(u))
    return radius * np.cos(2.0 * np.pi * v), radius * np.sin(2.0 * np.pi * v)


# ------------------------------------------------------------------------------- elementwise


def float64(x):
    """x as a float64 array."""
    return np.asarray(x, dtype=np.float64)


def logistic(x):
    """1 / (1 + exp(-x)) = exp(-log(1 + exp(-x)))."""
    return np.exp(-np.logaddexp(0.0, -float64(x)))


def softplus(x):
    """log(1 + exp(x))."""
    return np.logaddexp(0.0, float64(x))


def grouped(x, group):
    """(rows, columns) -> (rows, groups, columns of a group)."""
    x = float64(x)
    return x.reshape(x.shape[0], x.shape[1] // group, group)


def log_sum_exp(x):
    """log sum exp(x) over the last axis."""
    highest = x.max(axis=-1, keepdims=True)
    return np.log(np.exp(x - highest).sum(axis=-1)) + highest[..., 0]


def row_softmax(field, group):
    """exp(field) / sum of exp(field) over each group of `group` columns."""
    blocks = grouped(field, group)
    return np.exp(blocks - log_sum_exp(blocks)[..., None]).reshape(np.shape(field))


# ------------------------------------------------------------------------------------ layers


@dataclass
class Layer:
    """Units of one kind: "binary", "gaussian" or "softmax"."""

    kind: str
    bias: np.ndarray
    n_copies: int = 1  # binary: states 0..n_copies, a sum of tied copies
    group: int | None = None  # softmax: columns of one group, one-hot; all zeros: missing
    log_precision: np.ndarray | None = None  # gaussian: (n,), None: zeros

    def __post_init__(self):
        self.bias = float64(self.bias)
        if self.kind not in ("binary", "gaussian", "softmax"):
            raise ValueError(f"kind is {self.kind!r}")
        if self.kind == "gaussian":
            log_precision = 0.0 if self.log_precision is None else self.log_precision
            self.log_precision = np.zeros(self.size) + log_precision
        if self.kind == "softmax" and (self.group is None or self.size % self.group):
            raise ValueError(f"{self.size} columns are no whole number of groups")

    @property
    def size(self):
        """Number of columns."""
        return len(self.bias)

    @property
    def precision(self):
        """exp(log_precision)."""
        return np.exp(self.log_precision)


def row_beta(beta):
    """A number, or (rows,) as a column (rows, 1)."""
    beta = float64(beta)
    return beta if beta.ndim == 0 else beta.reshape(-1, 1)


def field(layers, weights, states, index, bias_rows=None, beta=1.0):
    """beta * (bias + bias_rows + x_{l-1} W_{l-1} + x_{l+1} W_l^T) of layer l = `index`."""
    total = layers[index].bias[None, :]
    if bias_rows is not None:
        total = total + float64(bias_rows)
    if index > 0:
        total = total + float64(states[index - 1]) @ float64(weights[index - 1])
    if index + 1 < len(layers):
        total = total + float64(states[index + 1]) @ float64(weights[index]).T
    return row_beta(beta) * total


def grid(weights):
    """Whole numbers q, 2^e with w ~ 2^e q: the least e in -126 .. 113 with |w| <= 32767 2^e."""
    weights, exponent = float64(weights), -126
    while exponent < 113 and np.abs(weights).max(initial=0.0) > 32767 * 2.0**exponent:
        exponent += 1
    numbers = np.clip(np.rint(weights / 2.0**exponent), -32767, 32767)
    return numbers.astype(np.int64), 2.0**exponent


def fixed_point_field(bias, parts):
    """bias + 2^e (x q), rounded to float32 after each part: states x, numbers q, scale 2^e."""
    total = np.asarray(bias, np.float32)
    for x, numbers, scale in parts:
        sums = (np.asarray(x, np.int64) @ numbers).astype(np.float32)
        total = (total + scale * float64(sums)).astype(np.float32)
    return total


def field_of_steps(bias, steps, unit, numbers, scale):
    """bias + unit 2^e (steps q), in sums over 256 inputs, rounded to float32 after each."""
    strips = [slice(k, k + 256) for k in range(0, len(numbers), 256)]
    parts = [(steps[:, k], numbers[k], float64(np.float32(scale * unit))) for k in strips]
    return fixed_point_field(bias, parts)


def tempered_precision(layer, beta=1.0):
    """beta * precision."""
    return row_beta(beta) * layer.precision[None, :]


def mean(layer, field, beta=1.0, missing=None, precision=None):
    """n_copies * logistic(field); softmax(field); field / (beta * precision); 0 where missing."""
    field = float64(field)
    if layer.kind == "binary":
        return layer.n_copies * logistic(field)
    if layer.kind == "softmax":
        present = present_columns(layer, field.shape[0], missing)
        return row_softmax(field, layer.group) * present
    return field / (tempered_precision(layer, beta) if precision is None else precision)


def log_normalizer(layer, field, beta=1.0, missing=None, precision=None):
    """Sum over units of n_copies log(1 + e^f); log sum e^f; f^2 / (2 p) + log(2 pi / p) / 2."""
    return unit_log_normalizers(layer, field, beta, missing, precision).sum(axis=1)


def unit_log_normalizers(layer, field, beta=1.0, missing=None, precision=None):
    """The terms of `log_normalizer`, (rows, units) or (rows, groups)."""
    field = float64(field)
    if layer.kind == "binary":
        return layer.n_copies * softplus(field)
    if layer.kind == "softmax":
        terms = log_sum_exp(grouped(field, layer.group))
        return terms if missing is None else np.where(missing, 0.0, terms)
    if precision is None:
        precision = tempered_precision(layer, beta)
    return field**2 / (2.0 * precision) + np.log(2.0 * np.pi / precision) / 2.0


def present_columns(layer, n_rows, missing):
    """1 for the columns of groups that exist, from `missing` (rows, groups) or None."""
    if missing is None:
        return np.ones((n_rows, layer.size))
    return np.repeat(1.0 - float64(missing), layer.group, axis=1)


def missing_groups(layer, x):
    """True for the groups of `x` whose columns are all zero."""
    return (grouped(x, layer.group) == 0.0).all(axis=2)


# -------------------------------------------------------------------------------------- draws


def draw_binary(layer, field, uniforms):
    """Number of k in 0..n_copies-1 with u < P(X > k); for one copy u < logistic(field)."""
    probability = logistic(field)
    n = layer.n_copies
    drawn = np.zeros(np.shape(field))
    for k in range(n):
        tail = sum(
            comb(n, j) * probability**j * (1 - probability) ** (n - j) for j in range(k + 1, n + 1)
        )
        drawn += uniforms < tail
    return drawn


def multinomial_mean(field, trials):
    """D softmax(f) over all columns, D draws a row: trials (n_rows,)."""
    return trials[:, None] * row_softmax(field, field.shape[1])


def draw_multinomial(mean, trials, uniforms):
    """Counts of the draws of one row: exponential spacings are uniforms in order, which meet the
    cumulated means. uniforms: (trials + 1,)."""
    spacing = -np.log(np.asarray(uniforms, np.float64))
    places = np.cumsum(spacing)[:-1] / spacing.sum() * mean.sum()
    columns = np.searchsorted(np.cumsum(mean), places, side="right")
    return np.bincount(np.minimum(columns, len(mean) - 1), minlength=len(mean))


def replicated_log_weight(weights, bias, hidden_bias, v):
    """log sum_h exp(v^T W h + b^T v + D c^T h) of counts v, (n_rows, n_words): words in order."""
    trials = v.sum(axis=1)
    field = v @ weights + trials[:, None] * hidden_bias
    return v @ bias + softplus(field).sum(axis=1)


def replicated_log_partition(weights, bias, hidden_bias, trials):
    """log sum_h exp(D c^T h) (sum_k exp(b_k + W_k h))^D of rows of D words."""
    states = np.array(list(product([0.0, 1.0], repeat=len(hidden_bias))))
    words = log_sum_exp(bias + states @ weights.T)
    return log_sum_exp(trials * (states @ hidden_bias + words))


def draw_softmax(layer, field, uniforms, missing=None):
    """One-hot of the first category whose cumulative probability exceeds u (rows, groups)."""
    cumulative = grouped(row_softmax(field, layer.group), layer.group).cumsum(axis=2)
    category = (cumulative[..., :-1] <= np.asarray(uniforms)[..., None]).sum(axis=2)
    one_hot = np.eye(layer.group)[category].reshape(np.shape(field))
    return one_hot * present_columns(layer, len(one_hot), missing)


def draw_gaussian(layer, field, normals, beta=1.0):
    """field / p + normal / sqrt(p), p = beta * precision."""
    precision = tempered_precision(layer, beta)
    return field / precision + normals / np.sqrt(precision)


# ----------------------------------------------------------------------- energies of a model


def log_base_measure(layer, x):
    """Sum over units of log binomial(n_copies, x) (binary), else 0; never tempered."""
    x = float64(x)
    if layer.kind != "binary" or layer.n_copies == 1:
        return np.zeros(x.shape[0])
    n = layer.n_copies
    return (gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)).sum(axis=1)


def layer_log_weight(layer, x, bias_rows=None, beta=1.0):
    """beta * ((bias + bias_rows) . x - precision . x^2 / 2) + log base measure(x)."""
    x = float64(x)
    bias = layer.bias if bias_rows is None else layer.bias + bias_rows
    natural = (bias * x).sum(axis=1)
    if layer.kind == "gaussian":
        natural = natural - (layer.precision * x**2 / 2.0).sum(axis=1)
    return float64(beta) * natural + log_base_measure(layer, x)


def log_weight(layers, weights, states, bias_rows=None, beta=1.0):
    """Sum of layer log weights + beta * sum_l x_l W_l x_{l+1}^T; `bias_rows` a list or None."""
    bias_rows = [None] * len(layers) if bias_rows is None else bias_rows
    states = [float64(x) for x in states]
    total = sum(layer_log_weight(layer, x, rows, beta)
                for layer, x, rows in zip(layers, states, bias_rows, strict=True))
    for lower, w, upper in zip(states[:-1], weights, states[1:], strict=True):
        total = total + float64(beta) * ((lower @ float64(w)) * upper).sum(axis=1)
    return total


def energy(layers, weights, states):
    """-log_weight at beta = 1, by row."""
    return -log_weight(layers, weights, states)


def free_energy(layers, weights, v, bias_rows_hidden=None, beta=1.0, missing_hidden=None):
    """-log sum_h exp(-E(v, h)) = -visible log weight(v) - hidden log normalizer(c + v W)."""
    visible, hidden = layers
    hidden_field = field(layers, weights, [v, None], 1, bias_rows_hidden, beta)
    hidden_part = log_normalizer(hidden, hidden_field, beta, missing_hidden)
    return -layer_log_weight(visible, v, None, beta) - hidden_part


# ------------------------------------------------------------------------ gradients and steps


@dataclass
class Gradient:
    """Derivatives of the mean log-likelihood; `log_precisions[l]` None unless gaussian."""

    weights: list
    biases: list
    log_precisions: list


def statistics(x, y):
    """x^T y, a sum over rows."""
    return float64(x).T @ float64(y)


def steps_of_means(means, n_copies=1):
    """Means as whole numbers of steps of n_copies / 255, to the nearest."""
    return np.floor(float64(means) * 255 / n_copies + 0.5).astype(int)


def byte_statistics(x, y):
    """sum_r x_ri y_rj of whole numbers, exactly."""
    return np.asarray(x, dtype=np.int64).T @ np.asarray(y, dtype=np.int64)


def phase(layers, states):
    """Means over rows of -dE / d(weights, biases, log_precision = -precision x^2 / 2)."""
    states = [float64(x) for x in states]
    n = states[0].shape[0]
    return Gradient(
        [statistics(x, y) / n for x, y in pairwise(states)],
        [x.mean(axis=0) for x in states],
        [-layer.precision * (x**2).mean(axis=0) / 2.0 if layer.kind == "gaussian" else None
         for layer, x in zip(layers, states, strict=True)],
    )


def difference(positive, negative):
    """positive - negative, part by part."""
    return Gradient(*(
        [None if p is None else p - q for p, q in zip(here, there, strict=True)]
        for here, there in (
            (positive.weights, negative.weights),
            (positive.biases, negative.biases),
            (positive.log_precisions, negative.log_precisions),
        )
    ))


def gradient(layers, positive, negative):
    """phase(positive states) - phase(negative states), each divided by its own row count."""
    return difference(phase(layers, positive), phase(layers, negative))


def follow_sums(gradient, mu, lam):
    """What the biases below and above weights lose: dW lam and dW^T mu, with mu and lam the offsets
    of the layers below and above."""
    return float64(gradient) @ float64(lam), float64(gradient).T @ float64(mu)


def centred_gradient(layers, positive, negative, mu, lam):
    """dW = <(v-mu)(h-lam)>_d - <(v-mu)(h-lam)>_m; db = dv - dW lam; dc = dh - dW^T mu."""
    plain = gradient(layers, positive, negative)
    centred = [[float64(v) - mu, float64(h) - lam]
               for v, h in (positive, negative)]
    d_weights = (statistics(*centred[0]) / len(centred[0][0])
                 - statistics(*centred[1]) / len(centred[1][0]))
    d_visible, d_hidden = plain.biases
    by_lower, by_upper = follow_sums(d_weights, mu, lam)
    biases = [d_visible - by_lower, d_hidden - by_upper]
    return Gradient([d_weights], biases, plain.log_precisions)


def sgd_step(parameter, velocity, gradient, learning_rate, momentum=0.0, weight_decay=0.0):
    """velocity <- momentum velocity + gradient - decay W; W <- W + rate velocity (ascent)."""
    velocity = momentum * velocity + gradient - weight_decay * parameter
    return parameter + learning_rate * velocity, velocity


def tail_average(average, parameter, count):
    """average + (parameter - average) / count; `count` includes this one, 1 for the first."""
    return average + (parameter - average) / count


def adam_step(parameter, first, second, gradient, step, learning_rate,
              beta1=0.9, beta2=0.999, epsilon=1e-8):
    """W + rate * m / (1-b1^t) / (sqrt(s / (1-b2^t)) + eps), t = step >= 1 (ascent)."""
    first = beta1 * first + (1.0 - beta1) * gradient
    second = beta2 * second + (1.0 - beta2) * gradient**2
    unbiased = first / (1.0 - beta1**step)
    scale = np.sqrt(second / (1.0 - beta2**step)) + epsilon
    return parameter + learning_rate * unbiased / scale, first, second


# ----------------------------------------------------------------------------------- mean field


def runs_of(free):
    """Pairs (first, stop) of neighbouring layers that are to be inferred."""
    edges = np.flatnonzero(np.diff([0, *map(int, free), 0]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@dataclass
class MeanField:
    """Means by layer, and by row: sweeps, and the largest change of the last one."""

    means: list
    sweeps: np.ndarray
    change: np.ndarray


def mean_field(layers, weights, states, held=None, bias_rows=None, start=None, *, max_sweeps=50,
               tol=1e-4, damping=0.0, in_steps=False):
    """Gauss-Seidel: x_l <- mean(f_l), the odd layers of a run, then the even ones, row by row.

    `states[l]` None: unknown; with a mask `held[l]`, entries where it is True are known.
    `start[l]` None: from the field of the layer below, twice where the layer above is unknown.
    A row stops after the sweep whose largest |new - old|, before damping, is at most `tol`.
    With `in_steps`, unknown layers read each other's means to the nearest step.
    """
    held = held or {}
    bias_rows = bias_rows or {}
    free = [x is None or l in held for l, x in enumerate(states)]
    n_rows = next(len(x) for x in states if x is not None)
    means = [None if one else float64(x) for x, one in zip(states, free, strict=True)]
    sweeps, change = np.zeros(n_rows, int), np.zeros(n_rows)

    def keep(l, fresh, rows):
        return np.where(held[l][rows], float64(states[l])[rows], fresh) if l in held else fresh

    def sent(l, rows):
        if not in_steps or not free[l] or means[l] is None:
            return None if means[l] is None else means[l][rows]
        steps = steps_of_means(means[l][rows], layers[l].n_copies)
        return steps * layers[l].n_copies / 255

    def fresh_mean(l, rows):
        around = [sent(m, rows) for m in range(len(layers))]
        extra = bias_rows[l][rows] if l in bias_rows else None
        return keep(l, mean(layers[l], field(layers, weights, around, l, extra)), rows)

    everyone = np.arange(n_rows)
    for first, stop in runs_of(free):
        if stop - first == 1:
            means[first] = fresh_mean(first, everyone)
            sweeps = np.maximum(sweeps, 1)
            continue
        for l in range(first, stop):
            if start is not None and start[l] is not None:
                means[l] = keep(l, float64(start[l]), everyone)
                continue
            total = layers[l].bias + np.zeros((n_rows, layers[l].size))
            total += bias_rows.get(l, 0.0)
            if l > 0:
                total += (1.0 + (l + 1 < stop)) * (sent(l - 1, everyone) @ weights[l - 1])
            if l + 1 == stop < len(layers):
                total += means[l + 1] @ weights[l].T
            means[l] = keep(l, mean(layers[l], total), everyone)
        active, own, count = everyone, np.zeros(n_rows), np.zeros(n_rows, int)
        for sweep in range(1, max_sweeps + 1):
            share = 0.0 if sweep == 1 else damping
            most = np.zeros(len(active))
            for l in [l for parity in (1, 0) for l in range(first, stop) if l % 2 == parity]:
                fresh, old = fresh_mean(l, active), means[l][active]
                most = np.maximum(most, np.abs(fresh - old).max(axis=1))
                means[l][active] = fresh + share * (old - fresh)
            own[active], count[active] = most, sweep
            active = active[most > tol]
            if len(active) == 0:
                break
        sweeps, change = np.maximum(sweeps, count), np.maximum(change, own)
    return MeanField(means, sweeps, change)


def mean_field_bound(layers, weights, means, free):
    """E_q[log p*(x)] + H(q) by row, each unit's entropy and base measure summed over its states.

    `free[l]` a bool array of the shape of the rows: units that q describes, the rest are known.
    """
    total = sum(((x @ float64(w)) * y).sum(axis=1)
                for x, w, y in zip(means[:-1], weights, means[1:], strict=True))
    for layer, m, drawn in zip(layers, means, free, strict=True):
        if layer.kind == "softmax":  # a known group is one-hot or zero, and has no entropy
            total = total + (layer.bias * m - xlogy(m, m)).sum(axis=1)
        elif layer.kind == "gaussian":
            entropy = (np.log(2.0 * np.pi / layer.precision) + 1.0) / 2.0
            square = m**2 + drawn / layer.precision
            terms = layer.bias * m - layer.precision * square / 2.0 + drawn * entropy
            total = total + terms.sum(axis=1)
        else:
            k = np.arange(layer.n_copies + 1.0)
            n, share = layer.n_copies, m[..., None] / layer.n_copies
            choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
            q = np.exp(choose + xlogy(k, share) + xlogy(n - k, 1.0 - share))
            of_draws = (q * choose - xlogy(q, q)).sum(axis=2)
            known = gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1)
            total = total + (layer.bias * m + np.where(drawn, of_draws, known)).sum(axis=1)
    return total


# ------------------------------------------------------------------------ beyond mean field


def tap(layers, weights, v, n_sweeps=1000, start=None):
    """(means by layer, log p*(v)) of binary hidden layers, by the TAP equations:

    m <- logistic(b + W m' + (1/2 - m) W^2 m' (1 - m')), odd layers, then even ones; of the layer
    of v, which is known, W v alone.
    """
    means = [v, *[np.full((len(v), layer.size), 0.5) for layer in layers[1:]]]
    means = means if start is None else [v, *start[1:]]
    order = [*range(1, len(layers), 2), *range(2, len(layers), 2)]
    for _ in range(n_sweeps):
        for l in order:
            total = field(layers, weights, means, l)
            reaction = np.zeros_like(means[l])
            if l > 1:
                below = means[l - 1]
                reaction += (below * (1.0 - below)) @ weights[l - 1] ** 2
            if l + 1 < len(layers):
                above = means[l + 1]
                reaction += (above * (1.0 - above)) @ (weights[l] ** 2).T
            means[l] = logistic(total + (0.5 - means[l]) * reaction)
    return means, tap_free_energy(layers, weights, means)


def tap_free_energy(layers, weights, means):
    """The mean-field bound of log p*(v) plus 1/2 sum of m (1 - m) W^2 m' (1 - m') over the pairs
    of hidden layers, by row.
    """
    free = [np.full(m.shape, l > 0) for l, m in enumerate(means)]
    total = mean_field_bound(layers, weights, means, free)
    for x, matrix, y in zip(means[1:-1], weights[1:], means[2:], strict=True):
        total = total + 0.5 * ((x * (1.0 - x)) @ matrix**2 * (y * (1.0 - y))).sum(axis=1)
    return total


def belief_propagation(layers, weights, v, n_sweeps=200):
    """Means of three binary layers by loopy belief propagation: v, then the two hidden ones.

    The message of unit i to unit j is log((1 + exp(f + W_ij)) / (1 + exp(f))), with f all that i
    hears but from j.
    """
    matrix = weights[1][None]
    below = layers[1].bias + v @ weights[0]
    up, down = (np.zeros((len(v), *weights[1].shape)) for _ in range(2))
    for _ in range(n_sweeps):
        heard = below[:, :, None] + down.sum(axis=2, keepdims=True) - down
        up = softplus(heard + matrix) - softplus(heard)
        heard = layers[2].bias[None, None] + up.sum(axis=1, keepdims=True) - up
        down = softplus(heard + matrix) - softplus(heard)
    return [v, logistic(below + down.sum(axis=2)), logistic(layers[2].bias + up.sum(axis=1))]


# ------------------------------------------------------------------------------------ annealing


def annealed_field(base_bias, field, beta):
    """(1 - beta) * base_bias + beta * field, `field` untempered."""
    return (1.0 - row_beta(beta)) * base_bias + row_beta(beta) * field


def annealed_precision(base_precision, precision, beta):
    """(1 - beta) * base_precision + beta * precision."""
    return (1.0 - row_beta(beta)) * base_precision + row_beta(beta) * precision


def annealed_log_weight(layers, weights, base, states, beta, kept=0):
    """log p*_beta of the states of layers kept, kept + 2, ...; the others are summed out."""
    total = 0.0
    for l, (layer, start) in enumerate(zip(layers, base, strict=True)):
        precision = None
        if layer.kind == "gaussian":
            precision = annealed_precision(start.precision, layer.precision, beta)
        if l % 2 != kept:
            own = annealed_field(start.bias, field(layers, weights, states, l), beta)
            total = total + log_normalizer(layer, own, precision=precision)
            continue
        x = float64(states[l])
        total = total + (annealed_field(start.bias, layer.bias, beta) * x).sum(axis=1)
        total = total + log_base_measure(layer, x)
        if precision is not None:
            total = total - (precision * x**2 / 2.0).sum(axis=1)
    return total


def base_mean(layer, bias_row, chain_mean, n_chains, own_chains=4.0):
    """(n m + 4 m_own) / (n + 4): n chains of a row at mean m, m_own at the row's own bias."""
    own = mean(layer, (layer.bias + bias_row)[None])[0]
    return (n_chains * float64(chain_mean) + own_chains * own) / (n_chains + own_chains)


def base_log_partition(base):
    """log Z of independent layers: sum of log_normalizer(bias), log p*_0 summed over v."""
    return float(sum(log_normalizer(layer, layer.bias[None, :])[0] for layer in base))


# ------------------------------------------------------------------------------------ derivatives


def bridge(forward, reverse):
    """Log ratio of normalizers by fixed-point iteration of Bennett (1976)."""
    forward, back, ratio = np.asarray(forward, float), -np.asarray(reverse, float), 0.0
    n, m = len(forward), len(back)
    for _ in range(500):
        above = np.mean(1.0 / (n * np.exp(ratio - forward) + m))
        below = np.mean(1.0 / (n + m * np.exp(back - ratio)))
        ratio += np.log(above) - np.log(below)
    return ratio


def row_distance(ratios):
    """Distance of two models by log ratios (n_sweeps, n_rows), the farthest rows left out."""
    ratios = float64(ratios)
    everywhere = np.sqrt(np.mean((ratios - np.mean(ratios)) ** 2))
    along = sorted(
        np.sqrt(np.sum((row - np.mean(row)) ** 2) / (len(row) - 1)) for row in ratios.T
    )
    place = 0.97 * (len(along) - 1)
    below, share = int(place), place - int(place)
    above = along[min(below + 1, len(along) - 1)]
    return max(everywhere, (1.0 - share) * along[below] + share * above)


def drawn_by_weight(log_weights, uniform):
    """Numbers of rows drawn in proportion to e^log_weights, one for each uniform number."""
    p = np.exp(float64(log_weights))
    edges = np.cumsum(p / p.sum())
    return [next(i for i, edge in enumerate(edges) if u <= edge) for u in uniform]


def finite_difference(function, x, step=1e-3):
    """(f(x-2s) - 8 f(x-s) + 8 f(x+s) - f(x+2s)) / (12 s) by each entry of x, f a number."""
    x = float64(x)
    slope = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        total = 0.0
        for offset, factor in ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0)):
            moved = x.copy()
            moved[place] += offset * step
            total += factor * float(function(moved))
        slope[place] = total / (12.0 * step)
    return slope


# ---------------------------------------------------------------------------------- mixtures


def mixture_log_joint(log_weights, logits, x, observed=None):
    """log w_k + sum over observed j of x_j log p_jk + (1 - x_j) log(1 - p_jk): (rows, k)."""
    on, off = -softplus(-float64(logits)), -softplus(logits)  # log p, log(1 - p)
    seen = np.ones(np.shape(x)) if observed is None else float64(observed)
    return float64(log_weights) + (seen * x) @ on + (seen * (1.0 - float64(x))) @ off


def responsibilities(log_weights, logits, x, observed=None):
    """p(k | x) = exp(log joint) / sum of exp(log joint)."""
    joint = mixture_log_joint(log_weights, logits, x, observed)
    return np.exp(joint - log_sum_exp(joint)[:, None])


def mixture_log_posterior(log_weights, logits, x, prior_mean, strength):
    """sum over rows of log p(x) + strength * sum_k of the log joint of k and the prior's mean."""
    rows = log_sum_exp(mixture_log_joint(log_weights, logits, x)).sum()
    return rows + strength * mixture_log_joint(log_weights, logits, prior_mean[None, :]).sum()


def em_step(log_weights, logits, x, prior_mean, strength):
    """Log weights and logits of the M-step after the E-step."""
    r = responsibilities(log_weights, logits, x)
    counts = r.sum(axis=0)
    weights = (counts + strength) / (len(x) + strength * len(counts))
    p = (float64(x).T @ r + strength * prior_mean[:, None]) / (counts + strength)
    return np.log(weights), np.log(p) - np.log1p(-p)



def product_log_joint(weights, blocks, x):
    """log w_k + the log probability of what is known of x in component k: (rows, k).

    A block is (kind, first column, means (k, columns), variance (columns) or None); of the columns
    of a softmax block all are known or none. NaN: not known.
    """
    joint = np.log(float64(weights)) + np.zeros((len(x), 1))
    for kind, first, means, variance in blocks:
        for k, mean in enumerate(float64(means)):
            for j, m in enumerate(mean):
                for row, value in enumerate(float64(x)[:, first + j]):
                    if np.isnan(value):
                        continue
                    if kind == "gaussian":
                        v = variance[j]
                        joint[row, k] -= 0.5 * (np.log(2 * np.pi * v) + (value - m) ** 2 / v)
                    elif kind == "softmax":
                        joint[row, k] += value * np.log(m)
                    else:
                        joint[row, k] += value * np.log(m) + (1.0 - value) * np.log1p(-m)
    return joint


def product_log_posterior(weights, blocks, x, prior, strength):
    """sum over rows of log p(x) + the log prior, up to a constant; `prior` are blocks of one mean.

    strength * log p(mean of the prior | k) of each component, and of a Gaussian column instead
    -strength / (2 v) sum_k (mean_k - mean)^2 - strength / 2 (log v + prior variance / v).
    """
    total = log_sum_exp(product_log_joint(weights, blocks, x)).sum()
    total += strength * np.log(float64(weights)).sum()
    for (kind, _, means, v), (_, _, mean, spread) in zip(blocks, prior, strict=True):
        means, mean = float64(means), float64(mean)
        if kind == "gaussian":
            total -= 0.5 * strength * (((means - mean) ** 2) / v).sum()
            total -= 0.5 * strength * (np.log(v) + spread / v).sum()
        elif kind == "softmax":
            total += strength * (mean * np.log(means)).sum()
        else:
            total += strength * (mean * np.log(means) + (1 - mean) * np.log1p(-means)).sum()
    return total


def product_em_step(weights, blocks, x, prior, strength):
    """Weights and blocks after an E-step and an M-step."""
    joint = product_log_joint(weights, blocks, x)
    r = np.exp(joint - log_sum_exp(joint)[:, None])
    n_components = len(weights)
    after = []
    for (kind, first, means, variance), (_, _, mean, spread) in zip(blocks, prior, strict=True):
        means, columns = np.zeros(np.shape(means)), float64(x)[:, first : first + len(means[0])]
        variance = None if variance is None else np.zeros(len(variance))
        for j, values in enumerate(columns.T):
            known = ~np.isnan(values)
            values, shares = values[known], r[known]
            means[:, j] = values @ shares + strength * mean[j]
            means[:, j] /= shares.sum(axis=0) + strength
            if kind == "gaussian":
                square = (shares * (values[:, None] - means[:, j]) ** 2).sum()
                square += strength * ((means[:, j] - mean[j]) ** 2).sum() + strength * spread[j]
                variance[j] = square / (shares.sum() + strength)
        after.append((kind, first, means, variance))
    weights = (r.sum(axis=0) + strength) / (len(x) + strength * n_components)
    return weights, after


def product_completion(weights, blocks, x):
    """Means and deviations of all columns given what is known of x: (rows, columns) each."""
    joint = product_log_joint(weights, blocks, x)
    r = np.exp(joint - log_sum_exp(joint)[:, None])
    means = np.hstack([r @ float64(means) for _, _, means, _ in blocks])
    second = [
        r @ (float64(means) if variance is None else float64(means) ** 2 + variance)
        for _, _, means, variance in blocks
    ]  # fmt: skip
    return means, np.sqrt(np.maximum(np.hstack(second) - means**2, 0.0))


# --------------------------------------------------------------------------------- networks


def network_arrays(network):
    """Layers as (activation, group, tied_to) and float64 arrays by name."""
    layers = [(layer.activation, layer.group, layer.tied_to) for layer in network.layers]
    arrays = {}
    for l, layer in enumerate(network.layers):
        arrays[f"layers[{l}].bias"] = float64(layer.bias)
        if layer.weights is not None:
            arrays[f"weights[{l}]"] = float64(layer.weights)
    return layers, arrays


def network_activation(kind, field, group=None):
    """logistic(f), softmax by groups, f, or max(f, 0)."""
    if kind == "logistic":
        return logistic(field)
    if kind == "softmax":
        return row_softmax(field, group)
    return np.maximum(field, 0.0) if kind == "rectified" else field


def network_fields(layers, arrays, X, masks=None):
    """Fields of all layers: (mask * output below) W + b, W transposed where it is tied."""
    below, fields = float64(X), []
    for l, (kind, group, tied_to) in enumerate(layers):
        weights = arrays[f"weights[{l}]"] if tied_to is None else arrays[f"weights[{tied_to}]"].T
        below = below if masks is None else below * masks[l]
        fields.append(below @ weights + arrays[f"layers[{l}].bias"])
        below = network_activation(kind, fields[-1], group)
    return fields


def network_outputs(layers, arrays, X, masks=None):
    """Outputs of all layers."""
    fields = network_fields(layers, arrays, X, masks)
    return [network_activation(kind, f, group)
            for (kind, group, _), f in zip(layers, fields, strict=True)]


def network_objective(layers, arrays, X, target, loss, l2=0.0, l1=0.0):
    """Mean loss by row + l1 mean sum |hidden| + l2 / 2 sum W^2.

    `loss` is the name of one, or a function of field and target that is no mean over rows.
    """
    outputs, field = network_outputs(layers, arrays, X), network_fields(layers, arrays, X)[-1]
    sparse_part = sum(np.abs(h).sum(axis=1).mean() for h in outputs[:-1])
    squares = sum((w**2).sum() for name, w in arrays.items() if name.startswith("weights"))
    penalties = l1 * sparse_part + l2 / 2.0 * squares
    if callable(loss):
        return loss(field, target) + penalties
    if np.ndim(target) == 1:
        target = np.eye(field.shape[1])[target]
    target = float64(target)
    if loss == "CrossEntropy":
        by_row = (softplus(field) - field * target).sum(axis=1)
    elif loss == "SoftmaxCrossEntropy":
        group = layers[-1][1]
        log_p = grouped(field, group) - log_sum_exp(grouped(field, group))[..., None]
        by_row = -(grouped(target, group) * log_p).sum(axis=(1, 2))
    else:
        by_row = ((outputs[-1] - target) ** 2).sum(axis=1)
    return by_row.mean() + penalties


def network_divergence(layers, arrays, X, output):
    """KL(output || p(X)) by row of the distributions that the last layer's outputs stand for."""
    kind, found = layers[-1][0], network_outputs(layers, arrays, X)[-1]
    if kind == "softmax":
        return (output * (np.log(output) - np.log(found))).sum(axis=1)
    if kind == "logistic":
        off = (1.0 - output) * (np.log1p(-output) - np.log1p(-found))
        return (output * (np.log(output) - np.log(found)) + off).sum(axis=1)
    return 0.5 * ((output - found) ** 2).sum(axis=1)


def virtual_adversarial(layers, arrays, X, direction, radius, step):
    """Outputs for X, and the move of each row that changes them most (Miyato et al. 2018)."""
    output = network_outputs(layers, arrays, X)[-1]

    def scaled(rows, length):
        return length * rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))

    slope = finite_difference(
        lambda x: network_divergence(layers, arrays, x, output).sum(),
        float64(X) + scaled(float64(direction), step),
    )
    return output, scaled(slope, radius)


# ---------------------------------------------------------------------------- Gaussian processes


def process_covariance(ones, others, amplitude, length):
    """a exp(-|f - f'|^2 / 2 l^2), pair by pair."""
    return np.array([
        [amplitude * np.exp(-((f - g) ** 2).sum() / (2.0 * length**2)) for g in float64(others)]
        for f in float64(ones)
    ])


def process_value(features, targets, amplitude, length, variance):
    """-log N(targets; 0, K + variance I)."""
    K = process_covariance(features, features, amplitude, length)
    K += variance * np.eye(len(K))
    y, (_, log_det) = float64(targets), np.linalg.slogdet(K)
    return 0.5 * (y @ np.linalg.solve(K, y) + log_det + len(y) * np.log(2.0 * np.pi))


def inducing_process(features, targets, new, n_inducing, amplitude, length, variance, jitter):
    """Bound of log p(targets), and mean and covariance of the function at new rows, where the
    first rows stand for all: every matrix of all rows by all rows is written out.
    """
    y, basis = float64(targets), features[:n_inducing]
    C = process_covariance(basis, features, amplitude, length)
    c = process_covariance(basis, new, amplitude, length)
    Z = process_covariance(basis, basis, amplitude, length) + jitter * np.eye(n_inducing)
    Q = C.T @ np.linalg.solve(Z, C)
    S = Q + variance * np.eye(len(y))
    value = 0.5 * (y @ np.linalg.solve(S, y) + np.linalg.slogdet(S)[1])
    value += 0.5 * len(y) * np.log(2.0 * np.pi)
    value += (len(y) * amplitude - np.trace(Q)) / (2.0 * variance)
    A = variance * Z + C @ C.T
    mean = c.T @ np.linalg.solve(A, C @ y)
    own = process_covariance(new, new, amplitude, length)
    return -value, mean, own - c.T @ np.linalg.solve(Z, c) + variance * c.T @ np.linalg.solve(A, c)


# -------------------------------------------------------------------------------- neighbours


def neighbour_value(codes, labels, temperature):
    """Mean of -log p_i over rows with another one of their class; rows of -1 are not there."""
    codes, labels = float64(codes)[labels >= 0], labels[labels >= 0]
    logs = []
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        if not any(labels[j] == label for j in others):
            continue
        chosen = np.array([np.exp(-((codes[i] - codes[j]) ** 2).sum() / temperature)
                           for j in others])
        same = np.array([labels[j] == label for j in others])
        logs.append(np.log(chosen[same].sum() / chosen.sum()))
    return -np.mean(logs) if logs else 0.0


# ------------------------------------------------------------------------- hierarchies of classes


def class_log_densities(rows, points, heritages, variances, inherited_rows):
    """log p of each point given the rows of its class; heritages are (weight, covariance).

    Where classes have no covariance of their own there is one heritage, that of all.
    """
    rows, B = float64(rows), np.diag(float64(variances))
    n, d = rows.shape
    mean = rows.mean(axis=0)
    S, logs, weights = (rows - mean).T @ (rows - mean), [], []
    for weight, P in heritages:
        C = P if inherited_rows is None else (inherited_rows * P + S) / (inherited_rows + n - 1)
        V = np.linalg.inv(np.linalg.inv(B) + n * np.linalg.inv(C))
        centre = V @ (n * np.linalg.inv(C)) @ mean
        if inherited_rows is None:
            return stats.multivariate_normal(centre, C + V).logpdf(points)
        degrees = inherited_rows + n + 1
        law = stats.multivariate_t(centre, (C + V) * (degrees - 2) / degrees, df=degrees)
        logs.append(np.atleast_1d(law.logpdf(points)))
        at_mean = stats.multivariate_normal(np.zeros(d), B + C / n).logpdf(mean)
        weights.append(np.log(weight) + at_mean + scatter_log_density(S, n - 1, P, inherited_rows))
    weights = np.exp(weights - np.max(weights))
    return np.log((weights / weights.sum()) @ np.exp(logs))


def scatter_log_density(S, n_rows, P, inherited_rows):
    """log p of n_rows centred rows with scatter S, their covariance inverse Wishart of mean P."""
    d = len(P)
    v, prior = d + 1 + inherited_rows, inherited_rows * P
    gammas = sum(
        gammaln((v + n_rows - j) / 2) - gammaln((v - j) / 2) for j in range(d)
    )
    dets = v * np.log(np.linalg.det(prior)) - (v + n_rows) * np.log(np.linalg.det(prior + S))
    return gammas + 0.5 * dets - 0.5 * n_rows * d * np.log(np.pi)


def partition_log_weight(groups, scatters, n_rows, inherited_rows, alpha=1.0):
    """log of the posterior weight of a partition of classes, up to a constant."""
    total = 0.0
    for group in groups:
        total += np.log(alpha) + gammaln(len(group))
        S, n = sum(scatters[k] for k in group), sum(n_rows[k] for k in group)
        total += scatter_log_density(S, n, np.eye(len(S)), inherited_rows)
    return total



def neighbour_reconstruction(layers, arrays, X, labels, temperature, code, weight):
    """The value of the codes of layer `code`, and `weight` times the loss of the rebuilt rows.

    Cross-entropy of a logistic last layer, squared error of a linear one, mean over rows.
    """
    outputs = network_outputs(layers, arrays, X)
    y, x = outputs[-1], float64(X)
    if layers[-1][0] == "logistic":
        by_row = -(x * np.log(y) + (1 - x) * np.log(1 - y)).sum(axis=1)
    else:
        by_row = ((y - x) ** 2).sum(axis=1)
    return neighbour_value(outputs[code], labels, temperature) + weight * by_row.mean()


# -------------------------------------------------------------------------------------- ratings


@dataclass
class Ratings:
    """A machine of ratings: W (n_columns, K, F), b (n_columns, K), c (F,), D (n_columns, F)."""

    weights: np.ndarray
    bias: np.ndarray
    hidden_bias: np.ndarray
    conditional: np.ndarray

    def arrays(self):
        """All parameters by name."""
        return {name: float64(value) for name, value in vars(self).items()}

    def means(self, columns, values, hidden=()):
        """logistic(c + sum_j D[j] + sum over ratings that are not hidden of W[j, v_j])."""
        seen = np.setdiff1d(np.arange(len(columns)), np.flatnonzero(hidden))
        field = self.hidden_bias + self.conditional[columns].sum(axis=0)
        field = field + self.weights[columns[seen], values[seen]].sum(axis=0)
        return 1.0 / (1.0 + np.exp(-field))

    def probabilities(self, h, columns):
        """softmax_k(b[j, k] + W[j, k] . h), (n, K)."""
        fields = self.bias[columns] + self.weights[columns] @ h
        p = np.exp(fields - fields.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def prediction_loss(self, columns, values, hidden, points, squared):
        """Loss of the hidden ratings of a row, given the others (docs/math.md, "Ratings")."""
        at = np.flatnonzero(hidden)
        p = self.probabilities(self.means(columns, values, hidden), columns[at])
        cross = -np.log(p[np.arange(len(at)), values[at]]).sum()
        errors = p @ points - points[values[at]]
        return (1.0 - squared) * cross + squared * (errors**2).sum()

    def log_weights(self, columns):
        """-E of all (v, h) of a row's columns: states of values, of hidden units, (n_v, n_h)."""
        n, (_, n_values, n_hidden) = len(columns), self.weights.shape
        v = np.indices((n_values,) * n).reshape(n, -1).T
        h = np.indices((2,) * n_hidden).reshape(n_hidden, -1).T
        field = self.hidden_bias + self.conditional[columns].sum(axis=0)
        field = field + self.weights[columns, v].sum(axis=1)
        return v, h, self.bias[columns, v].sum(axis=1)[:, None] + field @ h.T

    def statistics(self, columns, values, h):
        """Gradient of -E(v, h) by each parameter, for one row, h may be means."""
        gradient = {name: np.zeros_like(value) for name, value in self.arrays().items()}
        gradient["weights"][columns, values] = h
        gradient["bias"][columns, values] = 1.0
        gradient["hidden_bias"][...] = h
        gradient["conditional"][columns] = h
        return gradient


# ------------------------------------------------------------------------------- drawn digits


def centred_digit(image):
    """One picture of 28 x 28 (docs/math.md, "Drawn digits"); each cell by a sum over all pixels."""
    ink = np.argwhere(image > 0)
    picture = np.zeros((28, 28))
    if not len(ink):
        return picture
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0) + 1
    image = np.asarray(image[top:bottom, left:right], np.float64)
    (m, n), step = image.shape, max(image.shape) / 20
    n_rows, n_columns = (min(20, max(1, round(side / step))) for side in (m, n))
    cells = np.zeros((n_rows, n_columns))
    for i, j in product(range(n_rows), range(n_columns)):
        for y, x in product(range(m), range(n)):
            high = min((i + 1) * m / n_rows, y + 1) - max(i * m / n_rows, y)
            wide = min((j + 1) * n / n_columns, x + 1) - max(j * n / n_columns, x)
            if high > 0 and wide > 0:
                cells[i, j] += image[y, x] * high * wide * n_rows * n_columns / (m * n)
    centre = np.argwhere(np.ones_like(cells)).T @ cells.ravel() / cells.sum()
    first = [
        min(max(int(np.floor(14.5 - c)), 0), 28 - size)
        for c, size in zip(centre, cells.shape, strict=True)
    ]
    picture[first[0] : first[0] + n_rows, first[1] : first[1] + n_columns] = cells
    return picture


def ink_of_strokes(strokes, side=112, margin=6, pen=0.125):
    """A drawing by its strokes (docs/math.md, "Drawn digits"), one pixel after the other."""
    points = np.array([point for stroke in strokes for point in stroke], np.float64)
    low, high, room = points.min(axis=0), points.max(axis=0), side - 2 * margin
    width, longest = pen * room, max(high - low)
    scale = (room - width) / longest if longest > 0 else 1.0
    ink = np.zeros((side, side))
    for row, column in product(range(side), range(side)):
        here, nearest = np.array([column + 0.5, row + 0.5]), np.inf
        for stroke in strokes:
            placed = (np.asarray(stroke, np.float64) - (low + high) / 2) * scale + side / 2
            for one, other in pairwise([*placed, placed[-1]]):
                way = other - one
                square = way @ way
                t = min(max((here - one) @ way / square, 0.0), 1.0) if square > 0 else 0.0
                nearest = min(nearest, np.linalg.norm(here - one - t * way))
        ink[row, column] = min(max(width / 2 - nearest + 0.5, 0.0), 1.0)
    return ink


# --- sequences (docs/math.md, "Time") ----------------------------------------------------------


def sequence_states(kind, arrays, sequence):
    """The state before each frame of one sequence, and the one that it leaves: (T + 1, n_state)."""
    sequence = float64(sequence)
    if kind == "window":
        n_visible = sequence.shape[1]
        order = len(arrays["visible_weights"]) // n_visible
        past = np.concatenate([np.zeros((order, n_visible)), sequence])
        return np.array([past[t : t + order][::-1].ravel() for t in range(len(sequence) + 1)])
    states = [float64(arrays["initial"])]
    for frame in sequence:
        if kind == "rnn":
            field = arrays["bias"] + states[-1] @ arrays["recurrent_weights"]
            states.append(np.tanh(field + frame @ arrays["input_weights"]))
        else:
            field = arrays["hidden_bias"] + states[-1] @ arrays["hidden_weights"]
            states.append(logistic(field + frame @ arrays["weights"]))
    return np.array(states)


def sequence_free_energies(kind, arrays, sequence, frames):
    """F of some frames, each under the machine of its place in a sequence of binary units."""
    before = sequence_states(kind, arrays, sequence)[:-1]
    visible = arrays["visible_bias"] + before @ arrays["visible_weights"]
    hidden = arrays["hidden_bias"] + before @ arrays["hidden_weights"]
    field = hidden + float64(frames) @ arrays["weights"]
    return -(visible * frames).sum(axis=1) - softplus(field).sum(axis=1)


def log_probability_of_known(weights, biases, frame, gaps, precision=None):
    """log p(v_k) of the known entries of a frame, missing ones and hidden units summed out.

    Hidden units are 0 or 1 and enumerated; biases are those of both layers with their bias rows;
    without a precision visible units are 0 or 1, else Gaussian.
    """
    n_hidden = weights.shape[1]
    h = (np.arange(2**n_hidden)[:, None] >> np.arange(n_hidden) & 1).astype(np.float64)
    field = biases[0] + h @ weights.T

    def summed_out(columns):
        of_columns = field[:, columns]
        if precision is None:
            return softplus(of_columns).sum(axis=1)
        p = precision[columns]
        return 0.5 * (of_columns**2 / p + np.log(2 * np.pi / p)).sum(axis=1)

    own = field[:, ~gaps] @ frame[~gaps]
    if precision is not None:
        own = own - 0.5 * precision[~gaps] @ frame[~gaps] ** 2
    whole = np.logaddexp.reduce(h @ biases[1] + summed_out(np.ones(len(gaps), bool)))
    return np.logaddexp.reduce(h @ biases[1] + own + summed_out(gaps)) - whole


def sequence_objective(kind, arrays, sequences, negatives, learned):
    """Mean of F(v+) - F(v-) over the frames that are learned: what CD makes small."""
    n_frames = sum(int(mask.sum()) for mask in learned)
    total = 0.0
    for sequence, negative, mask in zip(sequences, negatives, learned, strict=True):
        difference = sequence_free_energies(kind, arrays, sequence, sequence)
        difference = difference - sequence_free_energies(kind, arrays, sequence, negative)
        total += difference[mask].sum()
    return total / n_frames


def sequence_gradients(kind, arrays, sequences, negatives, learned):
    """Gradients of `sequence_objective` by name, frame by frame, back through time."""
    n_frames = sum(int(mask.sum()) for mask in learned)
    total = {name: np.zeros_like(float64(array)) for name, array in arrays.items()}
    for sequence, negative, mask in zip(sequences, negatives, learned, strict=True):
        states = sequence_states(kind, arrays, sequence)
        before, after = states[:-1], states[1:]
        hidden = arrays["hidden_bias"] + before @ arrays["hidden_weights"]
        means = [logistic(hidden + frames @ arrays["weights"]) for frames in (sequence, negative)]
        count = mask[:, None] / n_frames
        by_visible, by_hidden = count * (negative - sequence), count * (means[1] - means[0])
        total["visible_bias"] += by_visible.sum(axis=0)
        total["hidden_bias"] += by_hidden.sum(axis=0)
        total["weights"] += negative.T @ (count * means[1]) - sequence.T @ (count * means[0])
        total["visible_weights"] += before.T @ by_visible
        total["hidden_weights"] += before.T @ by_hidden
        if kind == "window":
            continue
        recurrent = arrays["recurrent_weights" if kind == "rnn" else "hidden_weights"]
        names = ("bias", "recurrent_weights", "input_weights")
        if kind == "rtrbm":
            names = ("hidden_bias", "hidden_weights", "weights")
        later = 0.0  # gradient by the state that a frame leaves
        for t in range(len(sequence) - 1, -1, -1):
            u = after[t]
            delta = later * (1.0 - u * u if kind == "rnn" else u * (1.0 - u))
            total[names[0]] += delta
            total[names[1]] += np.outer(before[t], delta)
            total[names[2]] += np.outer(sequence[t], delta)
            by_biases = by_visible[t] @ arrays["visible_weights"].T
            by_biases = by_biases + by_hidden[t] @ arrays["hidden_weights"].T
            later = by_biases + recurrent @ delta
        total["initial"] += later
    return total
