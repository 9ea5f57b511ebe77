"""No kernel makes or reads a float below the normal ones: some processors take a hundred cycles.

A kernel takes such a number for zero (``DG_FLUSH`` in ``_kernels/parallel.h``), so what it gives
shows whether it met one. Numbers of what that costs are in docs/decisions.md.
"""

import threading

import numpy as np
import pytest
from conftest import random_units
from deepgen._kernels import engine

import deepgen as dg
from deepgen.layers.context import LayerContext
from deepgen.layers.passes import Outputs, conditional_pass
from deepgen.models.backprop import mean_of_field, outputs
from deepgen.rows.sums import weight_sums
from deepgen.runtime.work import Work

TINY = np.finfo(np.float32).tiny
SMALLEST = np.array([TINY / 2, 1e-40, 1e-45, 0.0, 1.0], np.float32)


def is_normal(x):
    """Tell whether all values are zero, or no closer to it than the normal floats."""
    x = np.asarray(x)
    return bool(((x == 0.0) | (np.abs(x) >= TINY)).all())


def fields():
    """Fields from where a logistic unit is half on to where its mean is no float."""
    return np.concatenate([
        np.linspace(-120.0, 120.0, 4801), np.linspace(-88.8, -86.8, 999), [-1e4, -1e30, 1e4, 1e30]
    ]).astype(np.float32)  # fmt: skip


@pytest.mark.parametrize("kind", ["binary", "copies", "softmax"])
def test_means_are_normal_at_any_field(kind, backend):
    """Catches saturated units whose means, and all that is computed from them, are subnormal."""
    field = fields()
    units = random_units(kind, np.random.default_rng(0), len(field) // 6 * 6)
    units = units.replace(bias=np.zeros(units.size))
    field = field[: units.size]
    for shift in (0.0, 0.3):
        mean = np.empty((1, units.size), np.float32)
        chain = engine.Chain([units.kernel_layer()], [])
        context = LayerContext(bias_rows=np.ascontiguousarray(field[None] + np.float32(shift)))
        conditional_pass(chain, 0, [None], Outputs(mean=mean), context)
        assert (mean >= TINY).all()
    if kind == "binary":  # as without a clamp, wherever the mean is a normal float
        inside = context.bias_rows[0] > -87.3
        expected = 1.0 / (1.0 + np.exp(-context.bias_rows[0][inside].astype(np.float64)))
        np.testing.assert_allclose(mean[0][inside], expected, rtol=1e-6)


def linear(weights):
    """A network of one layer: its output is a product, and nothing else."""
    return dg.Network([dg.NetworkLayer("linear", np.zeros(weights.shape[1]), weights)])


def test_products_are_flushed_at_once(backend):
    """Catches sums of ten thousand subnormal products: each is slow, and the sum is a normal
    number that tells nothing of them."""
    rows = np.full((3, 10_000), 1e-20, np.float32)
    for n_upper in (1, 32, 33):
        network = linear(np.full((10_000, n_upper), 1e-20, np.float32))
        for n_threads in (1, 2):
            assert (outputs(network, rows, work=Work(n_threads=n_threads)) == 0.0).all()
            long = np.full((10_000, n_upper), 1e-20, np.float32)
            assert (weight_sums(rows.T.copy(), long, work=Work(n_threads=n_threads)) == 0.0).all()


def test_operands_are_flushed_too(backend):
    """Catches rows and weights of subnormal numbers that are read as they are: times 1e20 they
    would be normal."""
    for row, weight in ((1e-40, 1e20), (1e20, 1e-40)):
        network = linear(np.full((40, 5), weight, np.float32))
        assert (outputs(network, np.full((3, 40), row, np.float32)) == 0.0).all()


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_steps_forget_what_has_become_tiny(optimizer):
    """Catches velocities and moments of parameters whose gradient is zero: they shrink by a tenth
    at each update, and are subnormal from the 830th on."""
    n = 300
    parameters, moment = np.ones(n, np.float32), np.full(n, 1.2e-38, np.float32)
    second = np.full(n, 1.2e-38, np.float32)
    for _ in range(3):
        gradient = np.zeros(n, np.float32)
        if optimizer == "adam":
            engine.descend_adam(
                parameters, gradient, moment, second, None, 0.0, 0.01, 0.0, 0.1, 0.5, 1.0, 1e-8, 1
            )
        else:
            engine.descend_sgd(parameters, gradient, moment, None, 0.0, 0.01, 0.9, 0.0, 1)
        assert is_normal(moment)
        assert is_normal(gradient)
        if optimizer == "adam":
            assert is_normal(second)


def test_gradients_by_fields_are_normal():
    """Catches the slope of saturated units, times a small error."""
    output = np.array([TINY, 1e-30, 1e-10, 0.5, 1.0], np.float32)
    for error in (1e-3, 1e-10, 1e-30, 1.0):
        gradient = np.full(5, error, np.float32)
        engine.logistic_gradient(gradient, output)
        assert is_normal(gradient)
    gradient = np.array([0.25, -3.0], np.float32)
    engine.logistic_gradient(gradient, np.array([0.5, 0.25], np.float32))
    assert (gradient == np.array([0.0625, -0.5625], np.float32)).all()


def test_a_network_of_saturated_units_gives_normal_numbers(backend):
    """Catches raw inputs of hundreds, whose fields are far below -87 in every row."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 20)) * 1e3
    y = np.arange(60) % 2
    network = dg.DeepClassifier((7, 5), n_epochs=3, random_state=0).fit(X, y)
    for value in (*(layer.weights for layer in network.model_.layers), network.predict_proba(X)):
        assert is_normal(value)
    layer = network.model_.layers[0]
    mean, _ = mean_of_field(layer, (rng.normal(size=(30, 7)) * 100).astype(np.float32))
    assert (mean >= TINY).all()


def makes_subnormals():
    """Tell whether this thread makes subnormal numbers, as Python programs expect."""
    return float(np.float32(1e-30) * np.float32(1e-10)) > 0.0


def test_the_mode_of_the_thread_is_put_back(backend):
    """Catches a library that changes the arithmetic of the program that it is loaded in."""
    X = (np.random.default_rng(0).random((300, 40)) < 0.5).astype(np.uint8)
    found = []

    def work():
        rbm = dg.RBM(30, n_epochs=1, random_state=0).fit(X)
        rbm.transform(X)
        rbm.sample(5, n_sweeps=3, random_state=0)
        dg.Autoencoder(5, n_epochs=1, random_state=0).fit(X)
        weight_sums(X, X, work=Work(n_threads=2))
        found.append(makes_subnormals())

    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True, True]


def test_zeros_are_zeros_whatever_their_storage():
    """Catches a subnormal entry that is left out of a list of non-zero entries in one storage, and
    multiplied in another."""
    X = np.tile(SMALLEST, (4, 8)).astype(np.float32)
    model = dg.BoltzmannMachine(
        [dg.Gaussian(40), dg.Binary(6)], [np.random.default_rng(0).normal(size=(40, 6))]
    )
    clean = np.where(X < TINY, np.float32(0.0), X)
    one, two = (dg.free_energy(model, rows) for rows in (X, clean))
    assert (one == two).all()
