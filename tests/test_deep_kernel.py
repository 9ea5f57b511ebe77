"""Kernels of scikit-learn on features of a network."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    Matern,
    WhiteKernel,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import deepgen as dg


def network(n_columns=4, seed=0):
    """Some 4-6-3."""
    rng = np.random.default_rng(seed)
    return dg.Network([
        dg.NetworkLayer("logistic", np.zeros(6), rng.normal(0.0, 1.5, (n_columns, 6))),
        dg.NetworkLayer("rectified", np.zeros(3), rng.normal(0.0, 1.5, (6, 3))),
    ])  # fmt: skip


def data(n_rows=40, seed=1):
    """Rows, numbers and classes that depend on their features."""
    X = np.random.default_rng(seed).normal(size=(n_rows, 4))
    noise = 0.1 * np.random.default_rng(seed + 1).normal(size=n_rows)
    y = np.sin(network().forward(X.astype(np.float32)).sum(axis=1)) + noise
    return X, y, np.where(y > np.median(y), "high", "low")


FITS = {
    "GaussianProcessRegressor": lambda k: GaussianProcessRegressor(
        ConstantKernel() * k + WhiteKernel(0.1, (1e-3, 10.0))
    ),
    "GaussianProcessClassifier": lambda k: GaussianProcessClassifier(ConstantKernel() * k),
    "SVC": lambda k: SVC(kernel=k),
    "KernelRidge": lambda k: KernelRidge(kernel=k, alpha=0.1),
}


@pytest.mark.parametrize("name", FITS)
def test_an_estimator_is_the_one_on_features(name):
    """Would catch rows in place of features on one side of new rows, an estimator that takes the
    kernel pair by pair, and hyper-parameters that it cannot move.
    """
    X, y, classes = data()
    kernel, base = dg.DeepKernel(network(), RBF(0.7)), RBF(0.7)
    targets = classes if "C" in name else y
    on_rows, on_features = FITS[name](kernel), FITS[name](base)
    F = kernel.features(X)
    on_rows.fit(X[:30], targets[:30])
    on_features.fit(F[:30], targets[:30])
    found, expected = on_rows.predict(X[30:]), on_features.predict(F[30:])
    if "C" in name:
        assert (found == expected).all()
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    if name.startswith("Gaussian"):
        np.testing.assert_allclose(on_rows.kernel_.theta, on_features.kernel_.theta, rtol=1e-6)
        assert (on_rows.kernel_.theta != FITS[name](kernel).kernel.theta).any()


def test_the_gradient_is_that_of_finite_differences():
    """Would catch a gradient in another order than `theta`, or by lengths, not their logarithms."""
    X = data(7)[0]
    base = ConstantKernel(1.3) * RBF([0.5, 1.0, 2.0]) + Matern(0.8, nu=1.5)
    kernel = dg.DeepKernel(network(), base)
    value, gradient = kernel(X, eval_gradient=True)
    theta = kernel.theta
    assert gradient.shape == (7, 7, 5)
    for k in range(5):
        step = 1e-6 * np.eye(5)[k]
        up, down = (kernel.clone_with_theta(theta + s)(X) for s in (step, -step))
        np.testing.assert_allclose(gradient[:, :, k], (up - down) / 2e-6, rtol=1e-5, atol=1e-8)
    assert value.dtype == gradient.dtype == np.float64
    np.testing.assert_array_equal(kernel.theta, theta)
    np.testing.assert_allclose(kernel.diag(X), np.diag(value))
    np.testing.assert_allclose(kernel(X, X[:2]), value[:, :2], rtol=1e-12, atol=1e-14)


def test_parameters_are_those_of_the_base():
    """Would catch parameters that a search cannot reach, or that move another copy's."""
    kernel = dg.DeepKernel(network(), ConstantKernel(2.0) * RBF(0.5, (0.1, 10.0)))
    names = [h.name for h in kernel.hyperparameters]
    assert names == ["base__k1__constant_value", "base__k2__length_scale"]
    assert set(names) < set(kernel.get_params())
    assert set(kernel.get_params(deep=False)) == {"network", "base"}
    np.testing.assert_allclose(kernel.theta, np.log([2.0, 0.5]))
    np.testing.assert_allclose(kernel.bounds, np.log([[1e-5, 1e5], [0.1, 10.0]]))
    other = clone(kernel)
    other.theta = np.log([3.0, 0.6])
    other.set_params(base__k2__length_scale=0.7)
    np.testing.assert_allclose(other.theta, np.log([3.0, 0.7]))
    np.testing.assert_allclose(kernel.theta, np.log([2.0, 0.5]))
    assert not kernel.is_stationary()
    X, _, classes = data(60)
    search = GridSearchCV(SVC(kernel=kernel), {"kernel__base__k2__length_scale": [1e-3, 1.0]}, cv=3)
    assert search.fit(X, classes).best_params_ == {"kernel__base__k2__length_scale": 1.0}


def test_copies_share_the_network_and_are_equal():
    """Would catch a step of a fit that copies millions of weights, and a pickle that is another."""
    X, y, _ = data()
    kernel = dg.DeepKernel(network(), RBF(0.7))
    assert clone(kernel).network is kernel.network
    assert clone(kernel) == kernel
    assert clone(kernel).base is not kernel.base
    assert kernel != dg.DeepKernel(kernel.network, RBF(0.8))
    assert kernel != dg.DeepKernel(network(seed=2), RBF(0.7))
    again = pickle.loads(pickle.dumps(kernel))
    np.testing.assert_array_equal(again(X), kernel(X))
    fitted = GaussianProcessRegressor(kernel + WhiteKernel(0.1), optimizer=None).fit(X, y)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X)
    )


def test_features_are_those_of_the_network_for_any_threads(threaded):
    """Would catch features that depend on other rows, or on the number of threads."""
    kernel, X = dg.DeepKernel(network(), RBF()), np.tile(data()[0], (300, 1))
    F = kernel.features(X)
    assert F.dtype == np.float64
    np.testing.assert_array_equal(F, network().forward(X))
    np.testing.assert_array_equal(F[5:6], kernel.features(X[5:6]))


@pytest.mark.parametrize("base", [None, RBF([1.0] * 3), ConstantKernel(2.0) * Matern(3.0, nu=0.5)])
def test_the_length_is_the_median_distance(base):
    """Would catch squares in place of distances, a row's distance to itself, and a base that is
    changed in place.
    """
    X, before = data(31)[0], repr(base)
    F = network().forward(X).astype(np.float64)
    apart = [np.linalg.norm(F[i] - F[j]) for i in range(31) for j in range(i)]
    kernel = dg.DeepKernel.from_data(network(), X, base)
    lengths = [v for name, v in kernel.get_params().items() if name.endswith("length_scale")]
    np.testing.assert_allclose(np.ravel(lengths), np.median(apart), rtol=1e-5)
    assert repr(base) == before


def test_the_length_comes_from_rows_all_over():
    """Would catch a median of the first rows alone, which are often alike."""
    X = np.repeat(data(2)[0], 5_000, axis=0)
    with pytest.raises(ValueError, match="median distance of 1000 rows is 0"):
        dg.DeepKernel.from_data(network(), X[:5_000])
    assert dg.DeepKernel.from_data(network(), X).base.length_scale > 0.0


def fitted_stack():
    return dg.DBN((3, 2), n_epochs=1, random_state=0).fit(np.eye(4))


@pytest.mark.parametrize("make", [
    lambda: fitted_stack(), lambda: fitted_stack().model_, lambda: fitted_stack().model_.stack,
    lambda: None, lambda: np.zeros((4, 3)),
], ids=["estimator", "belief network", "stack", "None", "array"])  # fmt: skip
def test_what_is_no_network_is_refused_with_a_remedy(make):
    """Would catch a stack whose features are never computed, and an error inside of a fit."""
    with pytest.raises(TypeError, match=r"network must be a dg\.Network(?s:.)*dg\.encoder"):
        dg.DeepKernel(make(), RBF())
    kernel = dg.DeepKernel(network(), RBF()).set_params(network=make())
    with pytest.raises(TypeError, match=r"network must be a dg\.Network(?s:.)*dg\.encoder"):
        kernel(data()[0])


def test_what_does_not_fit_is_refused():
    """Would catch features given as rows, which would be read as such, and a base without a
    length that keeps one of another size in silence.
    """
    X = data()[0]
    kernel = dg.DeepKernel(network(), RBF())
    for wrong in (X[:, :3], X[0], X[None]):
        with pytest.raises(ValueError, match=r"X must have shape \(n_samples, 4\)"):
            kernel(wrong)
        with pytest.raises(ValueError, match=r"X must have shape \(n_samples, 4\)"):
            kernel(X, wrong)
        with pytest.raises(ValueError, match=r"X must have shape \(n_samples, 4\)"):
            dg.DeepKernel.from_data(network(), wrong)
    with pytest.raises(ValueError, match=r"NaN|finite"):
        kernel(np.where(np.eye(4), np.nan, 1.0))
    with pytest.raises(TypeError, match=r"base must be a kernel of sklearn.*got"):
        dg.DeepKernel(network(), "rbf")
    with pytest.raises(ValueError, match="base must have a parameter length_scale, got DotProduct"):
        dg.DeepKernel.from_data(network(), X, DotProduct())
    with pytest.raises(ValueError, match="median distance of 1 rows is 0"):
        dg.DeepKernel.from_data(network(), X[:1])


def test_processes_of_scikit_learn_are_imported_when_they_are_used():
    """Would catch an import that everyone waits for."""
    script = (
        "import sys, deepgen as dg; dg.RBM; "
        "assert 'sklearn.gaussian_process' not in sys.modules; dg.DeepKernel; "
        "assert 'sklearn.gaussian_process' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
