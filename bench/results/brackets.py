"""How often brackets of log Z hold the exact value: 500 machines of nine kinds."""

import itertools
import math
import time
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp
from sklearn.datasets import load_digits

import deepgen as dg

TITLE = "How often brackets of log Z hold the exact value: 500 machines"
COLUMNS = (
    "machines", "number", "exact value inside", "missed by, largest", "open", "open and infinite",
    "width of those that are not open, median", "largest", "s, median",
)  # fmt: skip
NOTES = [
    "`dg.log_partition_bracket(model, particles, exact=False)` with its other defaults: 100 "
    "forward chains, 3,000 temperatures; particles are those of training, where there was any. The "
    "exact value is by enumeration of the smaller side, by counting (two modes), or a sum over "
    "parts that know nothing of each other (blocks). Nats; 2e-6 of the value is taken for "
    "rounding. `log_partition()` enumerates machines as small as these; the table asks what "
    "brackets are worth where that cannot be done.",
    "Random: binary units, 30 to 150 by 6 to 14, normal weights of standard deviation 0.3, 1 or 3. "
    "Softmax: 8 to 30 variables of 3 to 6 categories, or hidden softmax units. Gaussian: visible, "
    "precisions from 0.1 to 10. Deep: three or four layers. Blocks: three to eight parts in which "
    "all units hold each other. Two modes: one narrow, one wide, masses within 3 nats of each "
    "other. Trained: digits and bars and stripes, CD and PCD, 1 to 40 epochs. Strong biases: "
    "standard deviations of 10 to 100,000. Tight beside broad: one hidden unit; where it is on, "
    "20 to 120 visible units have fields of 2 to 10, where it is off none, masses within 2 nats of "
    "each other: forward annealing sees the broad mode alone, and says nothing.",
]

# Machines of each kind.
NUMBERS = {
    "random": 70, "softmax": 50, "Gaussian": 60, "deep": 60, "blocks": 60, "two modes": 70,
    "trained": 60, "strong biases": 30, "tight beside broad": 40,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A machine, its exact log Z where that is not by enumeration, and its training particles."""

    model: dg.BoltzmannMachine
    exact: float | None = None
    particles: dg.Particles | None = None


def rows(store, quick):
    """Yield the rows of the table."""
    together = []
    for number, (kind, n) in enumerate(NUMBERS.items()):
        n = n // 10 if quick else n
        found = [
            store.once(
                f"{kind.replace(' ', '-')}-{seed}",
                lambda kind=kind, seed=seed, number=number: judged(
                    MACHINES[kind](np.random.default_rng([number, seed]), seed), seed
                ),
            )
            for seed in range(n)
        ]
        together += found
        yield row(kind, found)
    yield row("all", together)


def judged(case, seed):
    """Return the ends of a bracket beside the exact value."""
    exact = case.exact
    if exact is None:
        exact = dg.exact_log_partition(case.model).value
    began = time.perf_counter()
    found = dg.log_partition_bracket(
        case.model, case.particles, exact=False, random_state=seed
    )
    seconds = time.perf_counter() - began
    ends = {name: getattr(found, name) for name in ("lower", "value", "upper", "method", "ess")}
    return {**ends, "exact": exact, "seconds": seconds}


def missed_by(one):
    """Return how far the exact value lies outside, 0 where it is inside.

    A difference that rounding in float32 makes is none.
    """
    far = max(one["lower"] - one["exact"], one["exact"] - one["upper"], 0.0)
    return far if far > 2e-6 * abs(one["exact"]) + 1e-4 else 0.0


def row(kind, found):
    """Return one row of the table."""
    inside = sum(not missed_by(one) for one in found)
    is_open = [one["method"] == "open bracket" for one in found]
    infinite = sum(not math.isfinite(one["upper"] - one["lower"]) for one in found)
    widths = [one["upper"] - one["lower"] for one in found if one["method"] == "bracket"] or [0.0]
    return (
        kind, len(found), f"{inside} of {len(found)}", f"{max(map(missed_by, found)):.2g}",
        sum(is_open), infinite, f"{np.median(widths):.2f}", f"{max(widths):.2f}",
        f"{np.median([one['seconds'] for one in found]):.1f}",
    )  # fmt: skip


def _binary(rng, size, scale=1.0):
    return dg.Binary(bias=rng.normal(0, scale, size))


def random_machine(rng, seed):
    """Return a machine of binary units with normal weights."""
    n, m = rng.integers(30, 151), rng.integers(6, 15)
    scale = (0.3, 1.0, 3.0)[seed % 3]
    weights = rng.normal(0, scale, (n, m))
    return Case(dg.BoltzmannMachine([_binary(rng, n), _binary(rng, m)], [weights]))


def softmax_machine(rng, seed):
    """Return a machine with softmax units on one side."""
    k = int(rng.integers(3, 7))
    scale = rng.choice([0.3, 1.0, 2.0])
    if seed % 2:
        n, m = k * int(rng.integers(8, 31)), int(rng.integers(6, 13))
        layers = [dg.Softmax(k, bias=rng.normal(0, 1, n)), _binary(rng, m)]
    else:
        n, m = int(rng.integers(30, 101)), k * int(rng.integers(2, 6))
        layers = [_binary(rng, n), dg.Softmax(k, bias=rng.normal(0, 1, m))]
    return Case(dg.BoltzmannMachine(layers, [rng.normal(0, scale, (n, m))]))


def gaussian_machine(rng, seed):
    """Return a machine with Gaussian visible units."""
    n, m = int(rng.integers(5, 60)), int(rng.integers(4, 13))
    scale = (0.2, 0.5, 1.0)[seed % 3]
    log_precision = rng.uniform(-math.log(10), math.log(10), n)
    visible = dg.Gaussian(bias=rng.normal(0, 1, n), log_precision=log_precision)
    weights = rng.normal(0, scale, (n, m)) * np.exp(0.5 * log_precision)[:, None]
    return Case(dg.BoltzmannMachine([visible, _binary(rng, m)], [weights]))


def deep_machine(rng, seed):
    """Return a machine of three or four layers, the layers of one parity small."""
    small = [int(rng.integers(4, 9)), int(rng.integers(4, 9))]
    large = [int(rng.integers(20, 61)), int(rng.integers(20, 61))]
    sizes = [large[0], small[0], large[1], small[1]][: 3 + seed % 2]
    scale = (0.3, 1.0, 2.0)[seed % 3]
    weights = [rng.normal(0, scale, s) for s in itertools.pairwise(sizes)]
    return Case(dg.BoltzmannMachine([_binary(rng, size) for size in sizes], weights))


def by_counting(groups, n_hidden, hidden_bias):
    """Return log Z where all hidden units are alike and visible units come in groups.

    Parameters
    ----------
    groups : sequence of (n_units, bias, weight)
    n_hidden : int
    hidden_bias : float
    """
    k = np.arange(n_hidden + 1)
    ways = gammaln(n_hidden + 1) - gammaln(k + 1) - gammaln(n_hidden - k + 1)
    terms = ways + hidden_bias * k
    for n, bias, weight in groups:
        terms = terms + n * np.logaddexp(0.0, bias + weight * k)
    return float(logsumexp(terms)), terms


def of_groups(groups, n_hidden, hidden_bias):
    """Return the machine of :func:`by_counting`."""
    bias = np.concatenate([np.full(n, b) for n, b, _ in groups])
    column = np.concatenate([np.full(n, w) for n, _, w in groups])
    return dg.BoltzmannMachine(
        [dg.Binary(bias=bias), dg.Binary(bias=np.full(n_hidden, hidden_bias))],
        [np.repeat(column[:, None], n_hidden, axis=1)],
    )


def block_machine(rng, seed):
    """Return parts in which all units are on together or off together, side by side."""
    parts = []
    for _ in range(int(rng.integers(3, 9))):
        n, m = int(rng.integers(8, 21)), int(rng.integers(6, 13))
        weight = float(np.float32(rng.uniform(0.1, 0.8)))
        shift = float(rng.uniform(-0.05, 0.05))
        bias = float(np.float32((-0.5 + shift) * weight * m))
        hidden = float(np.float32((-0.5 + shift) * weight * n))
        parts.append((n, m, bias, hidden, weight))
    sizes = np.array([part[:2] for part in parts])
    weights = np.zeros(sizes.sum(axis=0))
    at = np.zeros(2, int)
    for n, m, _, _, weight in parts:
        weights[at[0] : at[0] + n, at[1] : at[1] + m] = weight
        at += (n, m)
    model = dg.BoltzmannMachine(
        [
            dg.Binary(bias=np.concatenate([np.full(n, b) for n, _, b, _, _ in parts])),
            dg.Binary(bias=np.concatenate([np.full(m, c) for _, m, _, c, _ in parts])),
        ],
        [weights],
    )
    exact = sum(by_counting([(n, b, w)], m, c)[0] for n, m, b, c, w in parts)
    return Case(model, exact)


def two_mode_machine(rng, seed):
    """Return a narrow mode without hidden units and a wide one with all of them."""
    m = int(rng.integers(20, 61))
    n, n_wide = int(rng.integers(20, 61)), int(rng.integers(10, 61))
    reach, narrow = rng.uniform(3.0, 8.0), rng.uniform(2.0, 6.0)
    groups = [
        (n, float(np.float32(-reach)), float(np.float32(2.0 * reach / m))),
        (n_wide, float(np.float32(-narrow)), float(np.float32(narrow / m))),
    ]
    wanted = rng.uniform(-3.0, 3.0)  # log mass of the upper half of the hidden counts

    def upper_mass(bias):
        _, terms = by_counting(groups, m, bias)
        half = m // 2
        return float(logsumexp(terms[half:]) - logsumexp(terms[:half]))

    low, high = -50.0, 50.0
    while high - low > 1e-4:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if upper_mass(middle) < wanted else (low, middle)
    bias = float(np.float32(low))
    return Case(of_groups(groups, m, bias), by_counting(groups, m, bias)[0])


def tight_machine(rng, seed):
    """Return a broad mode, where the hidden unit is off, and a tight one, where it is on."""
    n, tightness = int(rng.integers(20, 121)), rng.uniform(2.0, 10.0)
    field = np.float32(tightness * np.where(rng.random(n) < 0.5, 1.0, -1.0))
    more = float(rng.uniform(-2.0, 2.0))  # log mass of the tight mode less that of the broad one
    bias = np.float32(n * math.log(2.0) - np.logaddexp(0.0, field.astype(np.float64)).sum() + more)
    layers = [dg.Binary(bias=np.zeros(n)), dg.Binary(bias=[bias])]
    return Case(dg.BoltzmannMachine(layers, [field[:, None]]))


def trained_machine(rng, seed):
    """Return a machine that has learned digits or bars and stripes, with its particles."""
    if seed % 3:
        X = (load_digits().data >= 8).astype(np.uint8)[rng.permutation(1797)[:1000]]
    else:
        X = dg.datasets.sample_bars_and_stripes(500, 5, random_state=seed)
    rule = dg.CD() if seed % 2 else dg.PCD()
    rbm = dg.RBM(
        int(rng.integers(6, 15)), rule=rule, n_epochs=int(rng.integers(1, 41)),
        learning_rate=float(rng.choice([0.05, 0.2])), random_state=seed,
    ).fit(X)  # fmt: skip
    return Case(rbm.model_, None, rbm._fitted.particles)


def biased_machine(rng, seed):
    """Return a machine whose biases are far greater than its weights."""
    n, m = rng.integers(20, 61), rng.integers(6, 13)
    scale = (10.0, 100.0, 1e4, 1e5)[seed % 4]
    weights = rng.normal(0, 1, (n, m))
    hidden = _binary(rng, m, scale if seed % 8 < 4 else 1.0)
    return Case(dg.BoltzmannMachine([_binary(rng, n, scale), hidden], [weights]))


MACHINES = {
    "random": random_machine,
    "softmax": softmax_machine,
    "Gaussian": gaussian_machine,
    "deep": deep_machine,
    "blocks": block_machine,
    "two modes": two_mode_machine,
    "trained": trained_machine,
    "strong biases": biased_machine,
    "tight beside broad": tight_machine,
}
