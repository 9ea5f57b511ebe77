"""Likelihoods: exact log Z against brute force, and estimates that err to the right side."""

import itertools

import exact
import numpy as np
import pytest
import reference
from conftest import (
    FIVE_SIGMA,
    FLOAT32_ROUNDING,
    PAIRS,
    THREADS,
    assert_mean,
    assert_same_bits,
    assert_within_errors,
    exact_particles,
    in_form,
    random_model,
    random_states,
    twin,
    twin_layer,
)
from deepgen._kernels import engine
from scipy.special import gammaln

import deepgen as dg
from deepgen.inference.gibbs import start_particles
from deepgen.likelihood import (
    base_rates,
    default_betas,
    is_cheap,
    is_enumerable,
    log_partition_bracket,
)
from deepgen.likelihood.annealing import annealed_layers
from deepgen.likelihood.bridge import bridge

pytestmark = pytest.mark.usefixtures("serial")

DISCRETE = [  # up to 2**22 joint states
    (("binary", "binary"), (11, 11)),
    (("binary", "binary"), (3, 16)),
    (("binary", "binary"), (1, 1)),
    (("copies", "binary"), (5, 11)),
    (("binary", "copies"), (9, 5)),
    (("softmax", "binary"), (15, 13)),
    (("binary", "softmax"), (8, 18)),
    (("softmax", "copies"), (12, 6)),
    (("binary", "binary", "binary"), (7, 8, 7)),
    (("softmax", "binary", "copies"), (9, 7, 4)),
    (("binary", "binary", "binary", "binary"), (5, 6, 6, 5)),
    (("copies", "softmax", "binary", "softmax"), (2, 9, 5, 6)),
]
GAUSSIAN = [
    (("gaussian", "binary"), (5, 10)),
    (("gaussian", "copies"), (3, 5)),
    (("gaussian", "softmax"), (4, 12)),
    (("binary", "gaussian"), (11, 3)),
    (("gaussian", "binary", "gaussian"), (3, 8, 2)),
    (("binary", "gaussian", "binary"), (5, 2, 6)),
    (("gaussian", "binary", "gaussian", "softmax"), (2, 6, 2, 9)),
]
DEEP = [("binary", "copies", "binary"), ("gaussian", "binary", "softmax"),
        ("softmax", "binary", "gaussian", "copies")]  # fmt: skip


def name_of(case):
    """A short name for a model."""
    return "-".join(case[0]) + str(case[1])


def brute_force(model):
    """Log of the sum over all joint states, each with its own weight: nothing is summed out."""
    layers, weights = twin(model)
    states = [exact.layer_states(layer) for layer in layers]
    total = np.zeros([1] * len(layers))
    for l, (layer, own) in enumerate(zip(layers, states, strict=True)):
        shape = [1] * len(layers)
        shape[l] = len(own)
        total = total + reference.layer_log_weight(layer, own).reshape(shape)
        if l > 0:
            shape[l - 1] = len(states[l - 1])
            total = total + (states[l - 1] @ weights[l - 1] @ own.T).reshape(shape)
    assert total.size <= 2**22
    top = total.max()
    return top + np.log(np.exp(total - top).sum())


# ------------------------------------------------------------------------------- exact log Z


@pytest.mark.parametrize("scale", [0.5, 60.0])
@pytest.mark.parametrize("case", DISCRETE, ids=name_of)
def test_exact_log_partition_equals_brute_force(case, scale):
    """Catches states left out or counted twice, and products of exponentials that overflow."""
    model = random_model(case[0], 1, case[1], scale=scale)
    found = dg.exact_log_partition(model)
    np.testing.assert_allclose(found.value, brute_force(model), rtol=1e-9)
    assert found.lower == found.value == found.upper
    assert found.method == "exact"


@pytest.mark.parametrize("case", GAUSSIAN, ids=name_of)
def test_exact_log_partition_equals_the_closed_form(case):
    """Catches a lost 2 pi, a precision on the wrong side, a Gaussian layer that is enumerated."""
    model = random_model(case[0], 2, case[1])
    expected = exact.log_partition(*twin(model))
    np.testing.assert_allclose(dg.exact_log_partition(model).value, expected, rtol=1e-9)


def test_gaussian_visible_equals_the_quadratic_form():
    """Catches an error that the enumeration twin shares: v integrated out by hand.

    Z = prod_i sqrt(2 pi / p_i) exp(b_i^2 / 2 p_i) * sum_h exp(h.(c + W^T b / p) + |W h|^2 / 2 p).
    """
    model = random_model(("gaussian", "binary"), 3, (4, 9))
    (visible, hidden), (weights,) = twin(model)
    p, b = visible.precision, visible.bias
    h = exact.layer_states(hidden)
    couplings = weights.T @ (weights / p[:, None])
    exponents = h @ (hidden.bias + weights.T @ (b / p)) + ((h @ couplings) * h).sum(axis=1) / 2.0
    constant = (np.log(2.0 * np.pi / p) + b**2 / p).sum() / 2.0
    expected = constant + reference.log_sum_exp(exponents)
    np.testing.assert_allclose(dg.exact_log_partition(model).value, expected, rtol=1e-12)


def test_exact_log_partition_has_the_same_bits_for_any_number_of_threads(threaded):
    """Catches partial sums that are added in the order in which threads finish."""
    for kinds, sizes in ((("binary", "binary"), (9, 15)), (("copies", "softmax"), (6, 12))):
        model = random_model(kinds, 4, sizes)
        values = {dg.exact_log_partition(model, n_threads=n).value for n in THREADS}
        assert len(values) == 1


def test_two_joined_models_add_their_log_partitions():
    """Catches sites that hear units of another block."""
    one, other = (random_model(("binary", "softmax"), seed, sizes)
                  for seed, sizes in ((5, (6, 6)), (6, (7, 3))))  # fmt: skip
    layers = [
        dg.Binary(bias=np.concatenate([one.layers[0].bias, other.layers[0].bias])),
        dg.Softmax(3, bias=np.concatenate([one.layers[1].bias, other.layers[1].bias])),
    ]
    weights = np.zeros((13, 9))
    weights[:6, :6], weights[6:, 6:] = one.weights[0], other.weights[0]
    joined = dg.exact_log_partition(dg.BoltzmannMachine(layers, [weights])).value
    expected = sum(dg.exact_log_partition(model).value for model in (one, other))
    np.testing.assert_allclose(joined, expected, rtol=1e-12)


@pytest.mark.parametrize("kinds", [("binary", "copies"), ("gaussian", "binary")])
def test_what_must_not_matter(kinds):
    """Catches a result that depends on the order of hidden units, or on which side is up."""
    model = random_model(kinds, 7, (6, 10))
    value = dg.exact_log_partition(model).value
    v = random_states(model.layers[0], 5, np.random.default_rng(7))
    order = np.random.default_rng(8).permutation(10)
    hidden = model.layers[1].replace(bias=model.layers[1].bias[order])
    permuted = dg.BoltzmannMachine([model.layers[0], hidden], [model.weights[0][:, order]])
    turned = dg.BoltzmannMachine(model.layers[::-1], [model.weights[0].T])
    for other in (permuted, turned):
        np.testing.assert_allclose(dg.exact_log_partition(other).value, value, rtol=1e-12)
    np.testing.assert_allclose(
        dg.exact_log_likelihood(permuted, v), dg.exact_log_likelihood(model, v), rtol=1e-12
    )
    np.testing.assert_allclose(dg.free_energy(permuted, v), dg.free_energy(model, v), rtol=1e-5)
    # a third layer of weight zero adds what it has by itself: an RBM is a DBM without a top
    top = dg.Binary(bias=[0.3, -1.0])
    deep = dg.BoltzmannMachine([*model.layers, top], [model.weights[0], np.zeros((10, 2))])
    expected = value + float(top.log_normalizer(top.bias[None])[0])
    np.testing.assert_allclose(dg.exact_log_partition(deep).value, expected, rtol=1e-12)


def test_models_too_large_to_enumerate_are_refused():
    """Catches a call that would run for years instead of naming the estimators."""
    large = dg.BoltzmannMachine([dg.Binary(26), dg.Binary(30)], [np.zeros((26, 30))])
    assert not is_enumerable(large)
    with pytest.raises(ValueError, match="use ais and reverse_ais"):
        dg.exact_log_partition(large)
    assert is_enumerable(random_model(("binary", "binary"), 9, (25, 100)))
    assert not is_enumerable(random_model(("binary", "binary"), 9, (25, 100)), 24)
    assert is_enumerable(random_model(("gaussian", "binary"), 9, (1, 20)))
    assert not is_enumerable(random_model(("gaussian", "binary"), 9, (1, 26)))
    assert is_enumerable(random_model(("softmax", "binary"), 9, (45, 100)))
    assert not is_enumerable(random_model(("softmax", "binary"), 9, (48, 100)))
    assert is_enumerable(random_model(("copies", "binary"), 9, (12, 100)))
    assert not is_enumerable(random_model(("copies", "binary"), 9, (13, 100)))


# ----------------------------------------------------------------- free energy and likelihood


@pytest.mark.parametrize("kinds", PAIRS)
def test_free_energy_equals_reference(kinds):
    """Catches a free energy of another model, bias rows and temperatures included."""
    model = random_model(kinds, 10, (33, 36))
    rng = np.random.default_rng(10)
    v = random_states(model.layers[0], 20, rng)
    layers, weights = twin(model)
    found = dg.free_energy(model, v)
    np.testing.assert_allclose(found, reference.free_energy(layers, weights, v), rtol=1e-5,
                               atol=1e-4)  # fmt: skip
    rows, beta = rng.normal(size=(20, 36)), rng.uniform(0.3, 1.2, 20)
    context = dg.Context(bias_rows={1: rows}, beta=beta)
    expected = reference.free_energy(layers, weights, v, context.bias_rows[1],
                                     context.beta.astype(np.float64))  # fmt: skip
    np.testing.assert_allclose(dg.free_energy(model, v, context=context), expected, rtol=1e-5,
                               atol=1e-4)  # fmt: skip


@pytest.mark.parametrize("kinds", [("copies", "binary"), ("softmax", "copies")])
def test_free_energy_has_the_same_bits_however_rows_come(kinds, restored_backend, threaded):
    """Catches an anomaly score that depends on its neighbours, its form or the threads."""
    model = random_model(kinds, 11, (33, 36))
    v = random_states(model.layers[0], 300, np.random.default_rng(11))
    expected = dg.free_energy(model, v, n_threads=1)
    one_by_one = np.concatenate([dg.free_energy(model, v[r : r + 1]) for r in range(0, 300, 30)])
    assert_same_bits(one_by_one, expected[::30])
    for name in engine.available_backends():
        restored_backend(name)
        for form, n_threads in (("bytes", 7), ("floats", 2), ("csr", 3)):
            found = dg.free_energy(model, in_form(v, form), n_threads=n_threads)
            assert_same_bits(found, expected)


@pytest.mark.parametrize("kinds", PAIRS)
def test_exact_log_likelihood_equals_enumeration(kinds):
    """Catches a visible normalizer that is left out, and float32 fields in an exact path."""
    model = random_model(kinds, 12)
    layers, weights = twin(model)
    v = exact.sample(layers, weights, 20, np.random.default_rng(12))[0]
    v = v.astype(model.layers[0].state_dtype)
    expected = exact.log_likelihood(layers, weights, v)
    found = dg.exact_log_likelihood(model, v)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    value = dg.exact_log_partition(model).value
    assert_same_bits(dg.exact_log_likelihood(model, v, log_partition=value), found)


@pytest.mark.parametrize("case", [(kinds, (6, 4)) for kinds in (
    ("binary", "binary"), ("copies", "binary"), ("binary", "gaussian"))]
    + [(("softmax", "copies"), (9, 4)), (("binary", "softmax"), (12, 9)),
       (("binary", "binary"), (14, 3))], ids=name_of)  # fmt: skip
def test_exact_likelihoods_sum_to_one(case):
    """Catches a log Z and a free energy of two different models."""
    model = random_model(case[0], 13, case[1])
    v = exact.layer_states(twin_layer(model.layers[0])).astype(np.uint8)
    total = np.exp(dg.exact_log_likelihood(model, v)).sum()
    assert abs(total - 1.0) < 1e-5
    log_partition = dg.exact_log_partition(model).value
    assert abs(np.exp(-dg.free_energy(model, v) - log_partition).sum() - 1.0) < 1e-5


@pytest.mark.parametrize("hidden", ["binary", "copies", "softmax"])
def test_exact_density_integrates_to_one(hidden):
    """Catches a density whose scale is off: real-valued rows have no states to sum over."""
    model = random_model(("gaussian", hidden), 14, (2, 3))
    axis = np.arange(-25.0, 25.0, 0.25)  # a sum over so fine a grid is exact to far below 1e-5
    v = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    total = np.exp(dg.exact_log_likelihood(model, v)).sum() * 0.25**2
    assert abs(total - 1.0) < 1e-5


def test_likelihoods_of_no_rows_and_of_wrong_rows():
    """Catches an empty batch that fails, and rows of another width that are read beyond."""
    model = random_model(("binary", "binary"), 15)
    deep = random_model(("binary", "binary", "binary"), 15)
    for function in (dg.free_energy, dg.exact_log_likelihood):
        assert function(model, np.zeros((0, 3))).shape == (0,)
        for form in ("floats", "csr"):
            with pytest.raises(ValueError, match=r"shape \(n_rows, 3\)"):
                function(model, in_form(np.zeros((2, 4)), form))
    with pytest.raises(ValueError, match="model must have 2 layers, got 3"):
        dg.free_energy(deep, np.zeros((2, 3)))


# ------------------------------------------------------------------------------- estimates


def log_mean_exp(log_weights):
    """Log of the mean weight."""
    return reference.log_sum_exp(log_weights) - np.log(len(log_weights))


COARSE = [0.0, 0.4, 0.7, 0.9, 1.0]


BOTH = [(kinds, side) for kinds in (PAIRS[1], *DEEP) for side in ("odd", "even")]


@pytest.mark.parametrize("own_base", [True, False])
@pytest.mark.parametrize(("kinds", "side"), [*[(kinds, None) for kinds in PAIRS], *BOTH])
def test_annealing_weights_are_unbiased_and_err_to_the_right_side(kinds, side, own_base):
    """Catches a transition at the wrong temperature (a bug that a peer shipped).

    The mean weight is Z / Z_0 for any number of temperatures, so a few of them show every slip;
    by Jensen's inequality the mean log weight is below, and above when annealed in reverse.
    """
    model = random_model(kinds, 16, scale=0.4)
    layers, weights = twin(model)
    expected = exact.log_partition(layers, weights)
    rng = np.random.default_rng(16)
    base = None
    if not own_base:
        base = model.layers[0].replace(bias=rng.normal(0.0, 0.3, layers[0].size))
        if layers[0].kind == "gaussian":
            base = base.replace(log_precision=base.log_precision + np.float32(0.1))
    forward = dg.ais(
        model, n_chains=4_000, n_betas=COARSE, base=base, summed_out=side, random_state=1
    )
    backward = dg.reverse_ais(
        model, exact_particles(model, 4_000, 16), n_betas=COARSE, n_sweeps=1, base=base,
        summed_out=side, random_state=2,
    )  # fmt: skip
    start = [twin_layer(model.layers[0] if base is None else base)]
    start += [twin_layer(layer.replace(bias=np.zeros(layer.size))) for layer in model.layers[1:]]
    log_base = reference.base_log_partition(start)
    for found, sign in ((forward, 1.0), (backward, -1.0)):
        assert found.log_weights.shape == (4_000,)
        estimate = log_base + sign * log_mean_exp(found.log_weights)
        np.testing.assert_allclose(found.value, estimate, rtol=1e-12)
        assert_mean(np.exp(found.log_weights - sign * (expected - log_base)), 1.0)
        error = found.log_weights.std() / np.sqrt(4_000)
        above = sign * (log_base + sign * found.log_weights.mean() - expected)
        assert above <= FIVE_SIGMA * error


@pytest.mark.parametrize("kinds", [("binary", "binary"), ("gaussian", "binary"), DEEP[0]])
def test_intervals_cover_the_exact_value(kinds):
    """Catches an interval of one standard error, or on the wrong scale: 3 errors miss 1 in 370."""
    model = random_model(kinds, 17)
    expected = dg.exact_log_partition(model).value
    n_runs, missed = 30, [0, 0]
    for seed in range(n_runs):
        particles = exact_particles(model, 200, seed)
        for which, found in enumerate((
            dg.ais(model, n_chains=200, n_betas=np.linspace(0, 1, 9), random_state=seed),
            dg.reverse_ais(model, particles, n_betas=np.linspace(0, 1, 9), n_sweeps=1,
                           random_state=seed),
        )):  # fmt: skip
            assert found.lower < found.value < found.upper
            assert 1.0 <= found.ess <= 200.0 + 1e-9
            missed[which] += not found.lower <= expected <= found.upper
    share = 0.0027
    assert max(missed) <= n_runs * share + FIVE_SIGMA * np.sqrt(n_runs * share * (1.0 - share))


@pytest.mark.parametrize("kinds", PAIRS)
def test_models_without_weights_are_exact(kinds):
    """Catches a base whose own log Z leaves a layer out: every chain has the exact weight."""
    model = random_model(kinds, 18, scale=0.0)
    expected = dg.exact_log_partition(model).value
    terms = sum(float(np.abs(layer.bias).sum()) + layer.size for layer in model.layers)
    betas = np.linspace(0.0, 1.0, 11)
    rounding = {"rtol": 0.0, "atol": 8 * len(betas) * FLOAT32_ROUNDING * terms}
    forward = dg.ais(model, n_chains=5, n_betas=betas, random_state=0)
    backward = dg.reverse_ais(model, exact_particles(model, 5, 0), n_betas=betas, random_state=0)
    for found in (forward, backward):
        np.testing.assert_allclose(found.log_weights, found.log_weights[0], **rounding)
        for value in (found.value, found.lower, found.upper):
            np.testing.assert_allclose(value, expected, **rounding)
        np.testing.assert_allclose(found.ess, 5.0, rtol=1e-4)


def test_base_rates_are_those_of_the_data():
    """Catches infinite log odds of a pixel that is always black, and rates that are swapped."""
    rng = np.random.default_rng(19)
    X = (rng.random((200, 8)) < np.linspace(0.0, 0.9, 8)).astype(np.uint8)
    model = random_model(("binary", "binary"), 19, (8, 4))
    for form in ("bytes", "csr"):
        base = base_rates(model, in_form(X, form))
        assert np.isfinite(base.bias).all()
        smoothing = 0.5 / (200 / 5 + 1)  # half a count in a fifth of the rows
        rates = base.mean(base.bias[None])[0]
        assert_within_errors(rates, X.mean(axis=0), 0.0, smoothing + 4 * FLOAT32_ROUNDING)
    assert base_rates(model) is model.layers[0]


@pytest.mark.parametrize("kinds", [("binary", "binary"), ("gaussian", "binary"), DEEP[0]])
def test_the_bracket_covers_the_exact_value(kinds):
    """Catches ends that are swapped, a value outside them, and errors of the wrong size.

    3 standard errors miss once in 370 runs.
    """
    model = random_model(kinds, 20)
    expected = dg.exact_log_partition(model).value
    n_runs, missed = 20, 0
    for seed in range(n_runs):
        particles = exact_particles(model, 30, seed) if seed % 2 else None
        found = log_partition_bracket(
            model, particles, n_chains=100, n_betas=30, exact=False, random_state=seed
        )
        assert found.method in ("bracket", "open bracket")
        assert found.lower <= found.value <= found.upper
        assert found.forward.method == "ais"
        assert found.reverse.method == "reverse_ais"
        assert found.upper - found.lower < 1.0
        missed += not found.lower <= expected <= found.upper
    share = 0.0027
    assert missed <= n_runs * share + FIVE_SIGMA * np.sqrt(n_runs * share * (1.0 - share))


def test_the_bracket_is_exact_where_that_is_cheap():
    """Catches an estimate where the exact value costs less, and hours of enumeration."""
    small = random_model(("binary", "binary"), 20, (6, 8))
    found = log_partition_bracket(small, random_state=0)
    assert (found.method, found.value) == ("exact", dg.exact_log_partition(small).value)
    wide = random_model(("binary", "binary"), 20, (784, 25))
    assert is_cheap(wide)
    many_copies = random_model(("copies", "binary"), 20, (784, 25))  # logarithms, not products
    assert is_enumerable(many_copies)
    assert not is_cheap(many_copies)
    assert not is_cheap(random_model(("binary", "binary"), 20, (200, 26)))
    with pytest.raises(ValueError, match="use ais and reverse_ais"):
        log_partition_bracket(random_model(("binary", "binary"), 20, (30, 30)), exact=True)
    with pytest.raises(ValueError, match="n_chains must be a positive integer"):
        log_partition_bracket(small, n_chains=0)


def two_modes(size, weight, bias):
    """All units off or all on: a model of equal weights, and its exact log Z by counting."""
    layers = [dg.Binary(bias=np.full(size, bias)) for _ in range(2)]
    model = dg.BoltzmannMachine(layers, [np.full((size, size), weight)])
    k = np.arange(size + 1)
    states = gammaln(size + 1) - gammaln(k + 1) - gammaln(size - k + 1)
    weight, bias = np.float32(weight), np.float32(bias)
    terms = states + bias * k + size * np.logaddexp(0.0, bias + float(weight) * k)
    return model, reference.log_sum_exp(terms)


# the mode of all units on holds e^10 times as much as the other, e^-1, e^80, e^400
@pytest.mark.parametrize(("weight", "bias"), [(0.2, -3.9), (0.3, -6.0), (0.3, -5.0), (1.0, -15.0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_bracket_opens_where_annealing_misses_a_mode(weight, bias, seed):
    """Catches a bracket that lies: forward chains from the model's biases find one mode only.

    Chains of reverse annealing start in both, and their weights tell.
    """
    model, expected = two_modes(40, weight, bias)
    own = model.layers[0]
    found = log_partition_bracket(model, n_betas=300, base=own, random_state=seed)
    assert found.lower <= expected <= found.upper
    blind = dg.ais(model, n_chains=100, n_betas=300, base=own, random_state=seed)
    if not blind.lower <= expected <= blind.upper:
        assert found.method == "open bracket"


# biases by layer, no two neighbours of which are 0: units of the others never turn
STRONG = {
    "visible off": ((-1e5, 0.0), (90, 40)),
    "visible on": ((1e5, 0.0), (90, 40)),
    "hidden off": ((0.0, -1e5), (90, 40)),
    "all off": ((-1e5, -1e5), (90, 40)),
    "all on": ((1e5, 1e4), (90, 40)),
    "one of each": ((-1e4, 1e4), (90, 40)),
    "middle off": ((0.0, -1e5, 0.0), (40, 90, 30)),
    "middle free": ((1e3, 0.0, -1e5), (40, 30, 90)),
    "uppermost on": ((1e3, -1e4, 1e5), (30, 40, 90)),
}


@pytest.mark.parametrize(("biases", "sizes"), STRONG.values(), ids=STRONG)
def test_strong_biases_have_brackets_that_say_something(biases, sizes):
    """Catches a bracket that is infinitely wide where only biases are large: units that never turn
    are no work for temperatures. The exact value is that of the other units, in float64."""
    rng = np.random.default_rng(30)
    weights = [rng.normal(0, 0.01, shape) for shape in itertools.pairwise(sizes)]
    layers = [dg.Binary(bias=np.full(n, b)) for n, b in zip(sizes, biases, strict=True)]
    model = dg.BoltzmannMachine(layers, weights)
    states = [np.full(n, float(b > 0)) for n, b in zip(sizes, biases, strict=True)]
    fields = [layer.bias.astype(np.float64) for layer in layers]
    expected = 0.0
    for l, matrix in enumerate(model.weights):
        if biases[l] and biases[l + 1]:
            expected += states[l] @ matrix.astype(np.float64) @ states[l + 1]
        fields[l] += matrix.astype(np.float64) @ states[l + 1] * (biases[l] == 0)
        fields[l + 1] += states[l] @ matrix.astype(np.float64) * (biases[l + 1] == 0)
    for bias, state, field in zip(biases, states, fields, strict=True):
        expected += state @ field if bias else np.logaddexp(0.0, field).sum()
    found = log_partition_bracket(model, n_chains=40, n_betas=300, random_state=0)
    assert found.method == "bracket"
    assert found.lower <= expected <= found.upper
    assert found.upper - found.lower < 0.5 + 2.5e-7 * abs(expected)  # float32


def test_ordinary_machines_keep_their_base():
    """Catches a base that is moved where no bias is out of reach: all brackets would change."""
    for kinds in (("binary", "binary"), ("gaussian", "binary"), ("softmax", "binary"), DEEP[0]):
        model = random_model(kinds, 31)
        layers, _ = annealed_layers(model, None)
        assert layers[0] is model.layers[0]
        assert all(not layer.bias.any() for layer in layers[1:])


@pytest.mark.parametrize("seed", range(3))
def test_two_temperatures_give_finite_ends(seed):
    """Catches an infinite end: a mean of weights exceeds 741 times its expectation once in 741
    runs, in either direction, whether or not the directions overlap."""
    model = random_model(("binary", "binary"), 32 + seed, (60, 12))
    strong = dg.BoltzmannMachine(model.layers, [8.0 * model.weights[0]])
    found = log_partition_bracket(strong, n_chains=20, n_betas=[0, 1], exact=False, random_state=0)
    assert found.method == "open bracket"
    assert np.isfinite([found.lower, found.upper]).all()
    assert found.lower <= dg.exact_log_partition(strong).value <= found.upper


def test_particles_in_a_mode_that_nothing_else_finds_open_the_bracket():
    """Catches particles that are not listened to: a narrow mode at one random pattern."""
    rng = np.random.default_rng(24)
    size, n_hidden = 200, 30
    pattern = rng.permutation(np.repeat([0.0, 1.0], [size - 30, 30]))
    weights = 0.01 * rng.standard_normal((size, n_hidden))
    # one hidden unit is off unless nearly all of the pattern's pixels are on
    weights[:, 0] = np.where(pattern > 0, 20.0, -20.0)
    layers = [
        dg.Binary(bias=np.full(size, -1.0)),
        dg.Binary(bias=np.concatenate([[-300.0], np.zeros(n_hidden - 1)])),
    ]
    model = dg.BoltzmannMachine(layers, [weights])
    free = dg.BoltzmannMachine([*layers[:1], dg.Binary(bias=layers[1].bias[1:])], [weights[:, 1:]])
    without = log_partition_bracket(free, n_betas=300, exact=False, random_state=0).value
    # with that unit on, visible fields are +-20 - 1 and all others nearly independent of them
    inside = -300.0 + np.logaddexp(0.0, weights[:, 0] - 1.0).sum() + 29 * np.log(2.0)
    assert inside > without + 50.0  # nearly all of the mass
    states = np.tile(pattern.astype(np.uint8), (10, 1))
    particles = dg.Particles([states, np.ones((10, n_hidden), np.uint8)])
    found = log_partition_bracket(model, particles, n_betas=300, random_state=0)
    assert found.method == "open bracket"
    assert found.lower <= inside <= found.upper


def test_the_bridge_is_unbiased_and_its_error_is_right():
    """Catches a shift of the wrong sign for unequal numbers, and errors blind to clusters.

    Normal work: forward weights N(d - s^2/2, s^2), reverse ones N(-d - s^2/2, s^2).
    """
    rng = np.random.default_rng(25)
    ratio, s, found = 3.0, 1.5, []
    for run in range(400):
        forward = ratio - 0.5 * s**2 + s * rng.standard_normal(60)
        reverse = -ratio - 0.5 * s**2 + s * rng.standard_normal(25)
        found.append(bridge(forward, np.repeat(reverse, 4), clusters=60 + np.repeat(range(25), 4)))
        if run < 5:
            expected = reference.bridge(forward, np.repeat(reverse, 4))
            assert abs(found[-1][0] - expected) < 1e-6
    values, errors = np.array(found).T
    assert_mean(values, ratio, rounding=0.02)  # consistent, not unbiased: of order 1 / n
    assert 0.85 < errors.mean() / values.std() < 1.15
    apart = bridge(np.zeros(10), np.full(10, -200.0))
    assert apart[1] == np.inf


@pytest.mark.parametrize(("kinds", "side"), [(("binary", "softmax"), None), *BOTH[4:6]])
def test_estimates_have_the_same_bits(kinds, side, restored_backend, threaded):
    """Catches chains whose weights depend on threads or on the instruction set."""
    model = random_model(kinds, 21)
    runs = set()
    for name in engine.available_backends():
        restored_backend(name)
        for n_threads in THREADS:
            found = dg.ais(model, n_chains=140, n_betas=COARSE, summed_out=side,
                           random_state=3, n_threads=n_threads)  # fmt: skip
            particles = start_particles(model, 140, dg.Stream(3))
            back = dg.reverse_ais(model, particles, n_betas=COARSE, n_sweeps=2,
                                  summed_out=side, random_state=3,
                                  n_threads=n_threads)  # fmt: skip
            runs.add(found.log_weights.tobytes() + back.log_weights.tobytes())
    assert len(runs) == 1
    other = dg.ais(model, n_chains=140, n_betas=COARSE, summed_out=side, random_state=4)
    assert (other.log_weights != found.log_weights).mean() > 0.5


def test_more_chains_keep_the_first_ones():
    """Catches chains whose draws depend on how many there are."""
    model = random_model(("binary", "binary"), 22)
    few, many = (dg.ais(model, n_chains=n, n_betas=COARSE, random_state=5) for n in (3, 200))
    assert_same_bits(few.log_weights, many.log_weights[:3])


def test_the_schedule_of_record():
    """Catches temperatures that repeat, or that are sparse where the model is cold."""
    betas = default_betas()
    assert len(betas) == 14_501
    for n_betas in (None, 1, 50, 3_000):
        betas = default_betas(n_betas)
        assert (betas[0], betas[-1]) == (0.0, 1.0)
        assert (np.diff(betas) > 0).all()
        if n_betas is not None and n_betas > 10:
            assert abs(len(betas) - n_betas) <= 3
    assert_within_errors((default_betas(3_000) > 0.9).mean(), 10_000 / 14_500, 0.0, 0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_betas": [0.0, 0.5]}, "n_betas must be"),
        ({"n_betas": [0.1, 1.0]}, "n_betas must be"),
        ({"n_betas": [0.0, 0.6, 0.5, 1.0]}, "n_betas must be increasing"),
        ({"n_chains": 0}, "n_chains must be a positive integer"),
        ({"base": dg.Binary(1)}, "base must be like the first layer"),
        ({"base": dg.Gaussian(3)}, "base must be like the first layer"),
        ({"base": dg.Binary(3, n_copies=2)}, "base must be like the first layer"),
    ],
)
def test_ais_refuses_what_does_not_fit(options, message):
    """Catches a base of another size, which broadcasts, and temperatures that go back."""
    model = random_model(("binary", "binary"), 23)
    with pytest.raises(ValueError, match=message):
        dg.ais(model, **{"n_chains": 2, "n_betas": 10, "random_state": 0, **options})
