"""Helpers that the tests of several rooms share: tolerances, random models, back ends."""

import os
import signal
from itertools import pairwise, product

# Before the library comes: tests run in as many processes as there are cores, and threads that
# wait for work by spinning would take the cores from each other.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import exact
import numpy as np
import pytest
import reference
from deepgen._kernels import engine
from scipy import sparse
from sklearn.datasets import load_digits

import deepgen as dg
from deepgen.runtime import threads

FIVE_SIGMA = 5.0
FIVE_SIGMA_PROBABILITY = 5.733e-7  # of a normal draw further away than that, on either side
FLOAT32_ROUNDING = 2.0**-24  # largest relative error of one rounding
THREADS = (1, 2, 3, 7)

KINDS = ("binary", "copies", "softmax", "gaussian")
PAIRS = [pair for pair in product(KINDS, KINDS) if pair != ("gaussian", "gaussian")]
SMALL = {"binary": 3, "copies": 2, "softmax": 6, "gaussian": 3}


def with_slow(cases, slow):
    """The cases of a test; those in `slow` are left out where plain ``pytest`` runs."""
    return [pytest.param(case, marks=pytest.mark.slow) if case in slow else case for case in cases]


# ---------------------------------------------------------------------------------- tolerances


def assert_within_errors(found, expected, error, rounding=0.0):
    """Fail where `found` is further than five standard errors (and a rounding) from `expected`."""
    found, expected, error, rounding = np.broadcast_arrays(
        *(np.asarray(part, np.float64) for part in (found, expected, error, rounding))
    )
    away, allowed = np.abs(found - expected), FIVE_SIGMA * error + rounding
    assert found.size == 0 or (away <= allowed).all(), (
        "{0} is {2} from {1}, at most {3} was allowed".format(
            *(part.flat[np.argmax(away - allowed)] for part in (found, expected, away, allowed))
        )
    )


def assert_mean(draws, expected, rounding=0.0):
    """Fail where the mean over rows is further than five standard errors from `expected`."""
    draws = np.asarray(draws, np.float64)
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert_within_errors(draws.mean(axis=0), expected, error, rounding)


def assert_float32_close(found, exact, terms, n_terms, slope=1.0, n_roundings=8):
    """Fail where `found` is further from `exact` than float32 rounding explains.

    `terms` is the sum of absolute terms of a sum of `n_terms`, whose value enters `found` with
    at most this `slope`; a few more roundings follow.
    """
    found, exact = np.asarray(found, np.float64), np.asarray(exact, np.float64)
    field_error = (n_terms + 4) * FLOAT32_ROUNDING * np.asarray(terms)
    allowed = slope * field_error + n_roundings * FLOAT32_ROUNDING * np.abs(exact)
    assert_within_errors(found, exact, 0.0, allowed + np.finfo(np.float32).tiny)


def rows_of(batches):
    """Yield the states of the first layer of each batch."""
    return (batch.states[0] for batch in batches)


def assert_same_bits(one, other):
    """Fail unless two arrays have the same type, shape and bits."""
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    assert one.tobytes() == other.tobytes()


# -------------------------------------------------------------------------------------- models


def random_units(kind, rng, size=None, group=3, n_copies=3):
    """Units of a kind with random parameters of order one."""
    size = SMALL[kind] if size is None else size
    bias = rng.normal(0.0, 0.5, size)
    if kind == "copies":
        return dg.Binary(bias=bias, n_copies=n_copies)
    if kind == "softmax":
        return dg.Softmax(group, bias=bias)
    if kind == "gaussian":
        return dg.Gaussian(bias=bias, log_precision=rng.normal(0.0, 0.3, size))
    return dg.Binary(bias=bias)


def random_model(kinds, seed, sizes=None, scale=0.5, **options):
    """A model with layers of these kinds, random parameters and normal weights."""
    rng = np.random.default_rng(seed)
    sizes = [SMALL[kind] for kind in kinds] if sizes is None else sizes
    layers = [random_units(kind, rng, size, **options)
              for kind, size in zip(kinds, sizes, strict=True)]
    weights = [rng.normal(0.0, scale, pair) for pair in pairwise(sizes)]
    return dg.BoltzmannMachine(layers, weights)


def random_belief_network(kinds, seed, sizes=None, scale=0.5, **options):
    """A belief network with layers of these kinds; nothing of its recognition side is shared."""
    rng = np.random.default_rng(seed)
    sizes = [SMALL[kind] for kind in kinds] if sizes is None else sizes
    layers = []
    for l in range(len(kinds) - 2):
        lower, upper = (random_units(kinds[m], rng, sizes[m], **options) for m in (l, l + 1))
        weights = rng.normal(0.0, scale, (2, sizes[l], sizes[l + 1]))
        layers.append(dg.BeliefLayer(lower, upper, *weights))
    return dg.BeliefNetwork(layers, random_model(kinds[-2:], seed, sizes[-2:], scale, **options))


def random_states(units, n_rows, rng, *, missing=True):
    """States of a layer, each unit by itself; softmax groups may be missing."""
    if isinstance(units, dg.Gaussian):
        return rng.normal(size=(n_rows, units.size)).astype(np.float32)
    if isinstance(units, dg.Softmax):
        chosen = rng.integers(0, units.group + missing, (n_rows, units.size // units.group))
        one_hot = np.eye(units.group + 1, units.group, dtype=np.uint8)[chosen]
        return one_hot.reshape(n_rows, units.size)
    assert isinstance(units, dg.Binary), f"no random states of {units!r} yet"
    return rng.integers(0, units.n_copies + 1, (n_rows, units.size)).astype(np.uint8)


def whole_rows(units, n_rows, seed=0):
    """Random states of a layer of which no softmax group is missing."""
    return random_states(units, n_rows, np.random.default_rng(seed), missing=False)


def twin_layer(units):
    """The float64 twin of a layer: the same parameters, to the last bit."""
    bias = units.bias.astype(np.float64)
    if isinstance(units, dg.Gaussian):
        log_precision = np.log(units.precision.astype(np.float64))
        return reference.Layer("gaussian", bias, log_precision=log_precision)
    if isinstance(units, dg.Softmax):
        return reference.Layer("softmax", bias, group=units.group)
    assert isinstance(units, dg.Binary), f"no twin of {units!r} yet"
    return reference.Layer("binary", bias, n_copies=units.n_copies)


def twin(model):
    """Layers and weights of the float64 twin of a model."""
    return ([twin_layer(layer) for layer in model.layers],
            [weights.astype(np.float64) for weights in model.weights])


def exact_particles(model, n_rows, seed):
    """Particles drawn exactly from the model."""
    states = exact.sample(*twin(model), n_rows, np.random.default_rng(seed))
    return dg.Particles(
        [x.astype(layer.state_dtype) for x, layer in zip(states, model.layers, strict=True)]
    )


def twin_belief(network):
    """The float64 twin of a belief network."""
    directed = [
        (twin_layer(layer.lower), twin_layer(layer.upper),
         layer.generative.astype(np.float64), layer.recognition.astype(np.float64))
        for layer in network.layers
    ]
    return exact.Belief(directed, twin(network.top))


def tied_belief_network(machine):
    """The network of a machine and its transpose: it defines the machine's own distribution."""
    transpose = dg.BoltzmannMachine(machine.layers[::-1], [machine.weights[0].T])
    return dg.BeliefNetwork.from_stack([machine, transpose])


def in_form(states, form):
    """The same states as bytes, floats or compressed rows."""
    if form == "csr":
        return sparse.csr_array(np.asarray(states, np.float32))
    return np.asarray(states).astype({"bytes": np.uint8, "floats": np.float32}[form])


class Batches:
    """A re-iterable of batches."""

    def __init__(self, *batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def bars_and_stripes(side=3):
    """All patterns of whole rows or of whole columns: 2**(side + 1) - 2 of them."""
    lines = np.array(list(product((0, 1), repeat=side)), np.uint8)
    bars = np.repeat(lines[:, :, None], side, axis=2)
    patterns = np.concatenate([bars, bars.transpose(0, 2, 1)])
    return np.unique(patterns.reshape(len(patterns), -1), axis=0)


# ------------------------------------------------------------------------------------ fixtures


@pytest.fixture
def rows():
    """130 binary rows of 12 columns: 3 batches of 50 an epoch, the last of 30."""
    return (np.random.default_rng(0).random((130, 12)) < 0.4).astype(np.uint8)


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's digits in [0, 1], and their labels."""
    X, y = load_digits(return_X_y=True)
    return (X / 16.0).astype(np.float32), y


@pytest.fixture(params=engine.available_backends())
def backend(request):
    """Run the test once for each instruction set of this machine, then go back."""
    before = engine.backend()
    engine.select_backend(request.param)
    yield request.param
    engine.select_backend(before)


@pytest.fixture
def restored_backend():
    """Let the test select back ends itself; go back to the first afterwards."""
    before = engine.backend()
    yield engine.select_backend
    engine.select_backend(before)


@pytest.fixture
def threaded(monkeypatch):
    """Use threads for small work too: without it every test here would run serial."""
    monkeypatch.setattr(threads, "SERIAL_WORK", 0)


@pytest.fixture
def serial():
    """Run on one thread where a call does not name its own: on a busy machine that is faster."""
    dg.set_num_threads(1)
    yield
    dg.set_num_threads(None)


@pytest.fixture(scope="module")
def serial_module():
    """Like `serial`, for a whole module: what its own fixtures compute is serial too."""
    dg.set_num_threads(1)
    yield
    dg.set_num_threads(None)


@pytest.fixture(autouse=True)
def _interrupts_as_in_a_terminal():
    """A shell starts background jobs with SIGINT ignored; tests of Ctrl-C need it."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
