"""Small models solved by enumeration, in float64: what samplers and estimates must agree with.

Layers of binary and softmax units are enumerated; gaussian layers are integrated in closed form,
which needs enumerated neighbours. Parameters that all functions share:

bias_rows : list over layers of (size,) or None, added to the bias
beta : number, inverse temperature (see reference.py for what it scales)
missing : list over layers of (groups,) bool or None; True: that softmax group does not exist
clamped : dict from layer to (size,), the values it is held at; NaN: this unit is free

They describe one row's own distribution. Functions over many rows (`log_likelihood`, `sample`,
`gradient`) say what they take by row.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import reference
from scipy.special import gammaln, xlog1py, xlogy

MOST_STATES = 2**20


@dataclass
class Enumeration:
    """All joint states; index 0 is all first states, the last column moves fastest.

    `states[l]` is (n_states, size); of a gaussian layer the mean given the other layers, and
    `variances[l]` (n_states, size) is its variance (zeros for the rest and for held units).
    """

    states: list
    variances: list
    log_weights: np.ndarray

    @property
    def log_partition(self):
        """log of the sum of the weights (an integral over gaussian units)."""
        return float(reference.log_sum_exp(self.log_weights))

    @property
    def probabilities(self):
        """Probability of each state, (n_states,)."""
        return np.exp(self.log_weights - self.log_partition)


# --------------------------------------------------------------------------------- enumeration


def unit_states(layer, missing=None):
    """All states of each unit (or group): a list of (n_states, columns) arrays."""
    if layer.kind == "binary":
        return [np.arange(layer.n_copies + 1.0)[:, None]] * layer.size
    n_groups = layer.size // layer.group
    missing = np.zeros(n_groups, dtype=bool) if missing is None else missing
    return [np.zeros((1, layer.group)) if absent else np.eye(layer.group) for absent in missing]


def layer_states(layer, missing=None):
    """All states of a binary or softmax layer, (n_states, size); the last unit moves fastest."""
    choices = unit_states(layer, missing)
    counts = [len(choice) for choice in choices]
    if np.prod(counts, dtype=np.float64) > MOST_STATES:
        raise ValueError(f"a layer of {layer.size} columns has too many states to enumerate")
    which = np.indices(counts).reshape(len(counts), -1)
    return np.concatenate([c[i] for c, i in zip(choices, which, strict=True)], axis=1)


def layer_index(layer, x, missing=None):
    """Index in `layer_states` of each row of `x`."""
    x = reference.float64(x)
    if layer.kind == "binary":
        digits = x.astype(np.int64)
    else:
        digits = reference.grouped(x, layer.group).argmax(axis=2)
    counts = [len(choice) for choice in unit_states(layer, missing)]
    return np.ravel_multi_index(tuple(digits.T), counts)


def joint_index(layers, states, missing=None):
    """Index in `enumerate_states` of each row of `states`; gaussian layers are left out."""
    missing = [None] * len(layers) if missing is None else missing
    index = 0
    for layer, x, absent in zip(layers, states, missing, strict=True):
        if layer.kind != "gaussian":
            n_states = int(np.prod([len(c) for c in unit_states(layer, absent)]))
            index = index * n_states + layer_index(layer, x, absent)
    return index


def enumerate_states(layers, weights, bias_rows=None, beta=1.0, missing=None, clamped=None):
    """Enumerate one row's distribution: log weight = beta * natural part + log base measure."""
    bias_rows = [None] * len(layers) if bias_rows is None else bias_rows
    missing = [None] * len(layers) if missing is None else missing
    clamped = {} if clamped is None else clamped
    gaussian = [layer.kind == "gaussian" for layer in layers]
    if any(one and other for one, other in pairwise(gaussian)):
        raise ValueError("two neighbouring gaussian layers cannot be enumerated")

    choices = []
    for index, layer in enumerate(layers):
        if gaussian[index]:
            choices.append(np.zeros((1, layer.size)))
        else:
            choices.append(agreeing(layer_states(layer, missing[index]), clamped.get(index)))
    counts = [len(choice) for choice in choices]
    if np.prod(counts, dtype=np.float64) > MOST_STATES:
        raise ValueError(f"{counts} states in the layers are too many to enumerate")
    which = np.indices(counts).reshape(len(counts), -1)
    states = [choice[i] for choice, i in zip(choices, which, strict=True)]

    # gaussian states are zero so far: they add nothing here, and nothing to neighbours' terms
    log_weights = reference.log_weight(layers, weights, states, bias_rows, beta)
    variances = [np.zeros_like(x) for x in states]
    for index, layer in enumerate(layers):
        if not gaussian[index]:
            continue
        field = reference.field(layers, weights, states, index, bias_rows[index], beta)
        precision = beta * layer.precision
        held = reference.float64(clamped.get(index, np.full(layer.size, np.nan)))
        free, held = np.isnan(held), np.nan_to_num(held)
        integrals = reference.unit_log_normalizers(layer, field, beta)
        terms = np.where(free, integrals, field * held - precision * held**2 / 2.0)
        log_weights = log_weights + terms.sum(axis=1)
        states[index] = np.where(free, field / precision, held)
        variances[index] = np.where(free, 1.0 / precision, 0.0) + np.zeros_like(field)
    return Enumeration(states, variances, log_weights)


def agreeing(states, held):
    """The rows of `states` that agree with `held` wherever that is not NaN."""
    if held is None:
        return states
    held = reference.float64(held)
    kept = states[(np.isnan(held) | (states == held)).all(axis=1)]
    if len(kept) == 0:
        raise ValueError(f"no state of the layer agrees with {held}")
    return kept


# ------------------------------------------------------------------------------- probabilities


def log_partition(layers, weights, bias_rows=None, beta=1.0, missing=None, clamped=None):
    """log of the sum of exp(log weight) over all states, log Z."""
    return enumerate_states(layers, weights, bias_rows, beta, missing, clamped).log_partition


def conditional(layers, weights, target, clamped, bias_rows=None, beta=1.0, missing=None):
    """States (n, size) of layer `target`, and their probabilities given what is clamped."""
    missing = [None] * len(layers) if missing is None else missing
    found = enumerate_states(layers, weights, bias_rows, beta, missing, clamped)
    if layers[target].kind == "gaussian":
        raise ValueError("a gaussian layer has a density, not states: use expectation")
    states = layer_states(layers[target], missing[target])
    index = layer_index(layers[target], found.states[target], missing[target])
    return states, np.bincount(index, weights=found.probabilities, minlength=len(states))


def marginal(layers, weights, observed=0, bias_rows=None, beta=1.0, missing=None):
    """States (n, size) of layer `observed`, and their probabilities under the model."""
    return conditional(layers, weights, observed, {}, bias_rows, beta, missing)


def expectation(layers, weights, bias_rows=None, beta=1.0, missing=None, clamped=None):
    """Mean of each layer given what is clamped: a list of (size,)."""
    found = enumerate_states(layers, weights, bias_rows, beta, missing, clamped)
    return [found.probabilities @ x for x in found.states]


def log_likelihood(layers, weights, v, observed=0, bias_rows=None, beta=1.0, missing=None):
    """log p(v) (gaussian: log density) of each row of `v` in layer `observed`.

    By row if they have two dimensions (one for `beta`): `bias_rows[l]`, `beta`, `missing[l]`.
    """
    result = np.empty(len(v))
    for rows, own in distributions(len(v), bias_rows, beta, missing):
        own_log_partition = log_partition(layers, weights, *own)
        for row in rows:
            joint = log_partition(layers, weights, *own, clamped={observed: v[row]})
            result[row] = joint - own_log_partition
    return result


def distributions(n_rows, bias_rows, beta, missing):
    """Pairs of (indices of rows, the bias_rows, beta and missing that they share)."""
    columns = [np.zeros((n_rows, 1)) + reference.row_beta(beta)]
    for part in [*(bias_rows or []), *(missing or [])]:
        if part is not None:
            columns.append(np.zeros((n_rows, 1)) + reference.float64(part))
    _, kinds = np.unique(np.concatenate(columns, axis=1), axis=0, return_inverse=True)
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        own_beta = float(beta if np.ndim(beta) == 0 else beta[rows[0]])
        yield rows, (row_of(bias_rows, rows[0]), own_beta, row_of(missing, rows[0]))


def row_of(parts, row):
    """Row `row` of each two-dimensional array of a list; other arrays and None stay."""
    if parts is None:
        return None
    parts = [None if part is None else np.asarray(part) for part in parts]
    return [part if part is None or part.ndim < 2 else part[row] for part in parts]


# ------------------------------------------------------------------------------------ gradients


def moments(layers, weights, bias_rows=None, beta=1.0, missing=None, clamped=None):
    """Expectations of -dE / d(weights, biases, log_precision = -precision x^2 / 2)."""
    found = enumerate_states(layers, weights, bias_rows, beta, missing, clamped)
    p, states = found.probabilities, found.states
    squares = [p @ (x**2 + s) for x, s in zip(states, found.variances, strict=True)]
    return reference.Gradient(
        [(p[:, None] * x).T @ y for x, y in pairwise(states)],
        [p @ x for x in states],
        [-layer.precision * square / 2.0 if layer.kind == "gaussian" else None
         for layer, square in zip(layers, squares, strict=True)],
    )


def gradient(layers, weights, v, observed=0, bias_rows=None, missing=None):
    """Derivatives of the mean of log p(v) by every parameter, for a model of any depth.

    By row if they have two dimensions: `bias_rows[l]`, `missing[l]`.
    """
    positive, negative = [], []
    for rows, own in distributions(len(v), bias_rows, 1.0, missing):
        negative += [moments(layers, weights, *own)] * len(rows)
        positive += [moments(layers, weights, *own, clamped={observed: v[row]}) for row in rows]
    return reference.difference(average(positive), average(negative))


def average(gradients):
    """Mean of gradients, part by part."""
    return reference.Gradient(*(
        [None if parts[0] is None else np.mean(parts, axis=0) for parts in zip(*lists, strict=True)]
        for lists in (
            [one.weights for one in gradients],
            [one.biases for one in gradients],
            [one.log_precisions for one in gradients],
        )
    ))


# ---------------------------------------------------------------------------- draws and distance


def sample(
    layers, weights, n_rows, generator, bias_rows=None, beta=1.0, missing=None, clamped=None
):
    """Draw `n_rows` independent joint states with a NumPy Generator: a list of (n_rows, size).

    By row if they have two dimensions (one for `beta`): `bias_rows[l]`, `beta`, `missing[l]`;
    `clamped` holds for all rows.
    """
    states = [np.empty((n_rows, layer.size)) for layer in layers]
    for rows, own in distributions(n_rows, bias_rows, beta, missing):
        found = enumerate_states(layers, weights, *own, clamped)
        index = generator.choice(len(found.log_weights), size=len(rows), p=found.probabilities)
        for x, centre, variance in zip(states, found.states, found.variances, strict=True):
            x[rows] = centre[index]
            if variance.any():
                noise = generator.standard_normal((len(rows), x.shape[1]))
                x[rows] += np.sqrt(variance[index]) * noise
    return states


def frequencies(index, n_states):
    """Share of the draws in each state, (n_states,)."""
    return np.bincount(index, minlength=n_states) / len(index)


def total_variation(p, q):
    """sum |p - q| / 2."""
    return float(np.abs(np.asarray(p) - np.asarray(q)).sum() / 2.0)


def monte_carlo_floor(p, n):
    """Expected total variation between `p` and the frequencies of `n` independent draws.

    sum_i E|X_i / n - p_i| / 2 with X_i binomial, by De Moivre's formula
    E|X - n p| = 2 m C(n, m) p^m (1 - p)^(n - m + 1), m = floor(n p) + 1.
    """
    p = np.clip(reference.float64(p), 0.0, 1.0)
    p = p[(p > 0.0) & (p < 1.0)]
    m = np.minimum(np.floor(n * p) + 1.0, n)
    log_choose = gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1)
    deviation = 2.0 * m * np.exp(log_choose + xlogy(m, p) + xlog1py(n - m + 1, -p))
    return float(deviation.sum() / n / 2.0)


# ------------------------------------------------------------------------------ belief networks


@dataclass
class Belief:
    """A belief network: (lower, upper, generative, recognition) by directed layer; the top.

    Directed layers are float64 twins; `top` is (layers, weights) of the undirected machine.
    """

    directed: list
    top: tuple

    @property
    def log_partition(self):
        """log Z of the top machine."""
        return log_partition(*self.top)


def hidden_states(model):
    """All joint states of the hidden layers below the topmost one: a list of (n, size)."""
    choices = [layer_states(upper) for _, upper, _, _ in model.directed]
    which = np.indices([len(choice) for choice in choices]).reshape(len(choices), -1)
    return [choice[i] for choice, i in zip(choices, which, strict=True)]


def directed_log_probability(layer, weights, x, y):
    """log p(x | y) of `layer` with the field bias + y W^T, by row (gaussian: log density)."""
    field = layer.bias + y @ weights.T
    own = reference.layer_log_weight(layer, x) + ((x @ weights) * y).sum(axis=1)
    return own - reference.log_normalizer(layer, field)


def belief_log_weights(model, v, hidden):
    """(log p*(v, x), log q(x | v)) of hidden states, for one row `v`; p* leaves log Z out."""
    below = np.repeat(reference.float64(v)[None], len(hidden[0]), axis=0)
    log_p, log_q = np.zeros(len(below)), np.zeros(len(below))
    for (lower, upper, generative, recognition), x in zip(model.directed, hidden, strict=True):
        log_p += directed_log_probability(lower, generative, below, x)
        log_q += directed_log_probability(upper, recognition.T, x, below)
        below = x
    return log_p - reference.free_energy(*model.top, below), log_q


def belief_log_likelihood(model, v):
    """log p(v) of each row: every hidden layer enumerated, the topmost in closed form."""
    hidden = hidden_states(model)
    sums = [reference.log_sum_exp(belief_log_weights(model, row, hidden)[0]) for row in v]
    return np.array(sums) - model.log_partition


def belief_bound(model, v):
    """E_q[log p*(v, x) - log q(x | v)] - log Z of each row."""
    hidden, bounds = hidden_states(model), []
    for row in v:
        log_p, log_q = belief_log_weights(model, row, hidden)
        bounds.append(np.exp(log_q) @ (log_p - log_q))
    return np.array(bounds) - model.log_partition
