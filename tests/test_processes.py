"""Gaussian processes on networks: likelihood and its gradients, posteriors, the loss, files."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import reference
from comparisons import assert_same_network
from conftest import assert_same_bits
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

import deepgen as dg
from deepgen.cli import main
from deepgen.inference import processes
from deepgen.inference.processes import (
    InducedPosterior,
    ProcessPosterior,
    marginal_likelihood,
    most_likely,
    squared_distances,
)
from deepgen.io.schemas.registry import as_tree, from_tree
from deepgen.models import NetworkParameters
from deepgen.networks.process_loss import LOG_RATE

DATA = Path(__file__).parent / "data"
NUMBERS = {"amplitude": 1.7, "length": 1.3, "noise": 0.08, "noise_floor": 0.03}
COVARIANCE = dg.SquaredExponential(**NUMBERS)
NAMES = ("log_amplitude", "log_length", "log_noise")
# of the file of before, for five rows
EXPECTED = (
    (3.273801, 3.292337, 5.493759, 3.407655, 3.527162),
    (0.9451775, 1.114346, 1.00059, 1.003483, 1.003803),
)
QUICK = {"n_epochs": 4, "batch_size": 20, "random_state": 3, "learning_rate": 0.01}
GREEDY = dg.Pretraining(n_epochs=2)


def data(n_rows=40, seed=0):
    """Rows, and targets that are no linear function of them."""
    rng = np.random.default_rng(seed)
    X = rng.random((n_rows, 6)).astype(np.float32)
    y = 3.0 + 2.0 * np.sin(4.0 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.05 * rng.normal(size=n_rows)
    return X, y


def network(top, seed=0):
    """6-5-3."""
    rng = np.random.default_rng(seed)
    return dg.Network([
        dg.NetworkLayer("logistic", np.zeros(5), rng.normal(0.0, 0.9, (6, 5))),
        dg.NetworkLayer(top, np.zeros(3), rng.normal(0.0, 0.9, (5, 3))),
    ])  # fmt: skip


def process(n_rows=40, covariance=COVARIANCE):
    """A model that knows some rows, with random features."""
    X, y = data(n_rows)
    net = network("linear")
    mean, scale = float(y.mean()), float(y.std())
    return dg.ProcessNetwork(net, covariance, net.forward(X), (y - mean) / scale, mean, scale)


def regressor(**settings):
    return dg.DeepGaussianProcessRegressor(**{"n_hidden": (8, 5), **QUICK, **settings})


def value_at(features, targets, logs):
    """The twin, by the logarithms of amplitude, squared length and noise."""
    amplitude, square, noise = np.exp(logs)
    return reference.process_value(
        features, targets, amplitude, np.sqrt(square), noise + NUMBERS["noise_floor"]
    )


LOGS = np.log([NUMBERS["amplitude"], NUMBERS["length"] ** 2, NUMBERS["noise"]])


# --- the arithmetic -------------------------------------------------------------------------------


def test_likelihood_and_gradients_equal_finite_differences():
    """Would catch a pair that counts once, a forgotten factor of a logarithm, a floor that
    moves with the noise.
    """
    rng = np.random.default_rng(1)
    F, y = rng.normal(size=(9, 3)), rng.normal(size=9)
    found = marginal_likelihood(F, y, COVARIANCE)
    np.testing.assert_allclose(found.value, value_at(F, y, LOGS), rtol=1e-12)
    slope = reference.finite_difference(lambda logs: value_at(F, y, logs), LOGS)
    np.testing.assert_allclose(found.by_logs, slope, rtol=1e-7, atol=1e-8)
    slope = reference.finite_difference(lambda f: value_at(f, y, LOGS), F)
    np.testing.assert_allclose(found.by_features, slope, rtol=1e-7, atol=1e-8)
    alone = marginal_likelihood(F, y, COVARIANCE, by_features=False)
    assert alone.by_features is None
    assert_same_bits(alone.by_logs, found.by_logs)


def test_small_distances_are_not_lost():
    """Would catch distances in float32, or one below zero between two equal rows."""
    far = np.full((3, 4), 1000.0)
    far[1] += 1e-4
    D = squared_distances(far)
    assert np.diagonal(D).tolist() == [0.0] * 3
    assert D[0, 2] >= 0.0
    np.testing.assert_allclose(D[0, 1], 4e-8, rtol=0.05)


def test_what_has_no_likelihood_is_nan():
    """Would catch a Cholesky factor of a matrix that has none, used as if it had."""
    equal = dg.SquaredExponential(1.0, 1.0, 1e-30, 1e-30)
    found = marginal_likelihood(np.zeros((4, 2)), np.arange(4.0), equal)
    assert np.isnan(found.value)
    assert np.isnan(found.by_features).all()
    model = dg.ProcessNetwork(network("linear"), equal, np.zeros((4, 3)), np.arange(4.0))
    with pytest.raises(ValueError, match=r"not positive definite .* larger noise_floor"):
        ProcessPosterior(model)


def sklearn_of(model):
    """scikit-learn's process with the same covariance and rows, which it does not change."""
    c = model.covariance
    kernel = ConstantKernel(c.amplitude) * RBF(c.length) + WhiteKernel(c.noise + c.noise_floor)
    theirs = GaussianProcessRegressor(kernel, optimizer=None, alpha=0.0)
    return theirs.fit(model.features.astype(np.float64), model.targets.astype(np.float64))


def test_posterior_and_likelihood_are_those_of_scikit_learn():
    """Would catch a deviation without the noise, a scale that is forgotten or squared."""
    model, (new, _) = process(), data(2_500, seed=5)  # more than one piece
    features, theirs = model.network.forward(new), sklearn_of(model)
    mean, deviation = theirs.predict(features.astype(np.float64), return_std=True)
    ours = ProcessPosterior(model)
    found = ours.mean_and_deviation(features)
    np.testing.assert_allclose(found[0], model.mean + model.scale * mean, rtol=1e-6)
    np.testing.assert_allclose(found[1], model.scale * deviation, rtol=1e-6)
    np.testing.assert_allclose(ours.mean(features), found[0], rtol=1e-12)
    expected = theirs.log_marginal_likelihood_value_ - len(model.targets) * np.log(model.scale)
    np.testing.assert_allclose(ours.log_likelihood, expected, rtol=1e-6)


def test_the_greatest_likelihood_is_that_of_scikit_learn():
    """Would catch a search that stops early, or goes by a wrong gradient."""
    model = process(60)
    F, y = model.features.astype(np.float64), model.targets.astype(np.float64)
    found = most_likely(F, y, COVARIANCE, n_iterations=200)
    kernel = ConstantKernel(1.7, (1e-3, 1e3)) * RBF(1.3, (0.04, 41)) + WhiteKernel(0.08, (1e-6, 10))
    theirs = GaussianProcessRegressor(kernel, alpha=NUMBERS["noise_floor"]).fit(F, y)
    value = -marginal_likelihood(F, y, found).value
    np.testing.assert_allclose(value, theirs.log_marginal_likelihood_value_, rtol=1e-5)
    assert found.noise_floor == NUMBERS["noise_floor"]


def test_draws_have_the_moments_of_the_posterior():
    """Would catch draws of rows one by one, without noise, or around zero."""
    model, (new, _) = process(), data(3, seed=6)
    features, ours = model.network.forward(new), ProcessPosterior(model)
    n = 20_000
    draws = ours.draw(features, n, np.random.default_rng(0))
    mean, deviation = ours.mean_and_deviation(features)
    assert (np.abs(draws.mean(axis=1) - mean) < 5 * deviation / np.sqrt(n)).all()
    theirs = sklearn_of(model).predict(features.astype(np.float64), return_cov=True)[1]
    expected, found = theirs * model.scale**2, np.cov(draws)
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / n)
    assert (np.abs(found - expected) < 5 * error).all()


# --- inducing rows --------------------------------------------------------------------------------


def with_inducing(model, n_inducing):
    """The same model, in which the first rows stand for all."""
    return dg.ProcessNetwork(
        model.network, model.covariance, model.features, model.targets, model.mean, model.scale,
        n_inducing,
    )  # fmt: skip


def test_inducing_rows_give_what_their_formula_says(monkeypatch):
    """Would catch a piece of the labelled rows that is lost, a variance that is forgotten in the
    inner matrix, a bound without its last part.
    """
    monkeypatch.setattr(processes, "PIECE_ROWS", 7)
    model, (new, _) = with_inducing(process(40), 12), data(9, seed=5)
    features, ours, c = model.network.forward(new), InducedPosterior(model), model.covariance
    bound, mean, covariance = reference.inducing_process(
        model.features, model.targets, features, 12, c.amplitude, c.length, c.variance,
        processes.JITTER * c.amplitude,
    )
    found = ours.mean_and_deviation(features)
    np.testing.assert_allclose(found[0], model.mean + model.scale * mean, rtol=1e-7)
    deviation = model.scale * np.sqrt(np.diagonal(covariance) + c.variance)
    np.testing.assert_allclose(found[1], deviation, rtol=1e-7)
    np.testing.assert_allclose(ours.mean(features), found[0], rtol=1e-12)
    expected = bound - len(model.targets) * np.log(model.scale)
    np.testing.assert_allclose(ours.log_likelihood, expected, rtol=1e-7)


def test_draws_by_inducing_rows_have_their_covariance():
    """Would catch draws that know more, or less, than the deviations say."""
    model, (new, _) = with_inducing(process(40), 12), data(3, seed=6)
    features, ours, c = model.network.forward(new), InducedPosterior(model), model.covariance
    n = 20_000
    draws = ours.draw(features, n, np.random.default_rng(0))
    _, mean, covariance = reference.inducing_process(
        model.features, model.targets, features, 12, c.amplitude, c.length, c.variance,
        processes.JITTER * c.amplitude,
    )
    expected = model.scale**2 * (covariance + c.variance * np.eye(3))
    spread = np.sqrt(np.diagonal(expected) / n)
    assert (np.abs(draws.mean(axis=1) - model.mean - model.scale * mean) < 5 * spread).all()
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / n)
    assert (np.abs(np.cov(draws) - expected) < 5 * error).all()


def test_more_inducing_rows_tell_more_and_all_of_them_everything():
    """Would catch a bound above the likelihood, or one that does not rise to it."""
    model, (new, _) = process(60), data(20, seed=5)
    features, exact = model.network.forward(new), ProcessPosterior(model)
    bounds = [InducedPosterior(with_inducing(model, n)).log_likelihood for n in (5, 15, 30, 60)]
    assert (np.diff([*bounds, exact.log_likelihood]) > 0.0).all()
    whole = InducedPosterior(with_inducing(model, 60))
    np.testing.assert_allclose(whole.log_likelihood, exact.log_likelihood, atol=0.01)
    for one, other in zip(
        whole.mean_and_deviation(features), exact.mean_and_deviation(features), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-3)


def test_equal_inducing_rows_are_no_error():
    """Would catch a covariance without a factor, where a table has the same row twice."""
    model = process(40)
    twice = dg.ProcessNetwork(
        model.network, model.covariance, np.repeat(model.features, 2, axis=0),
        np.repeat(model.targets, 2), n_inducing=40,
    )  # fmt: skip
    assert np.isfinite(InducedPosterior(twice).mean(model.features)).all()


# --- the loss -------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["logistic", "linear", "rectified"])
@pytest.mark.parametrize("without", [0, 3, 9])
def test_gradients_of_a_network_equal_finite_differences(top, without):
    """Would catch a gradient by outputs that is taken for one by fields, rows without a target
    that pull, a wrong share of the mean.
    """
    X, y = data(10)
    target = ((y - y.mean()) / y.std()).astype(np.float32)
    target[:without] = np.nan
    known = ~np.isnan(target)
    loss = dg.ProcessLikelihood(COVARIANCE)
    start = {name: np.float32([log / LOG_RATE]) for name, log in zip(NAMES, LOGS, strict=True)}
    value, gradients = dg.Objective(loss).evaluate(
        NetworkParameters(network(top)), dg.Batch((X,), target=target), loss_parameters=start
    )
    layers, arrays = reference.network_arrays(network(top))
    arrays |= {f"loss.{name}": reference.float64(array) for name, array in start.items()}

    def at(moved):
        outputs = reference.network_outputs(layers, moved, X)[-1]
        logs = LOG_RATE * np.array([moved[f"loss.{name}"][0] for name in NAMES])
        return value_at(outputs[known], target[known], logs) / known.sum()

    np.testing.assert_allclose(value, at(arrays), rtol=1e-5)
    assert set(gradients) == set(arrays)
    for name, array in arrays.items():
        slope = reference.finite_difference(
            lambda a, n=name: at({**arrays, n: a}), array, step=1e-5
        )
        np.testing.assert_allclose(gradients[name], slope, rtol=1e-3, atol=2e-5, err_msg=name)


def test_a_batch_without_targets_costs_nothing():
    """Would catch the logarithm of an empty product, or a mean of nothing."""
    X, _ = data(5)
    objective = dg.Objective(dg.ProcessLikelihood())
    value, gradients = objective.evaluate(
        network("linear"), dg.Batch((X,), target=np.full(5, np.nan, np.float32))
    )
    assert value == 0.0
    assert not any(gradient.any() for gradient in gradients.values())


def test_a_loss_tells_what_does_not_fit():
    """Would catch targets of two columns that are read as one, and settings without a meaning."""
    X, _ = data(5)
    with pytest.raises(ValueError, match=r"target must have shape \(n_rows,\).*got \(5, 2\)"):
        dg.Objective(dg.ProcessLikelihood()).evaluate(
            network("linear"), dg.Batch((X,), target=np.zeros((5, 2), np.float32))
        )
    with pytest.raises(TypeError, match=r"covariance must be a dg\.SquaredExponential"):
        dg.ProcessLikelihood(1.0)
    for name in NUMBERS:
        with pytest.raises(ValueError, match=f"{name} must be a number in"):
            dg.SquaredExponential(**{name: 0.0})


def test_a_run_that_has_run_away_says_so():
    """Would catch a covariance beyond all numbers that fits on without a word."""
    X, y = data()
    with pytest.raises(dg.DivergedError):
        regressor(learning_rate=1e6).fit(X, y)


@pytest.mark.parametrize("squared_length", [-800.0, 800.0, 1500.0])
def test_a_length_beyond_all_numbers_is_nan(squared_length):
    """Would catch an error of arithmetic, a division by zero, out of a run that has run away: a
    trainer takes NaN for that.
    """
    layer = dg.NetworkLayer("linear", np.zeros(2), np.zeros((3, 2)))
    loss = dg.ProcessLikelihood()
    parameters = {name: np.zeros(1) for name in NAMES}
    parameters["log_length"] = np.array([squared_length / 20.0])
    field, target = np.ones((4, 2), np.float32), np.arange(4.0, dtype=np.float32)
    value, slopes, of_loss = loss.evaluate(layer, field, target, parameters)
    assert np.isnan([value, *slopes.ravel(), *np.concatenate(list(of_loss.values()))]).all()
    for length in (1e-200, 1e200):
        with pytest.raises(ValueError, match=r"length must be a number in \(1e-150, 1e\+150\)"):
            dg.SquaredExponential(length=length)


def test_whole_numbers_stand_for_mean_and_scale():
    """Would catch a model that takes 0.5 as the mean of its targets and refuses 0."""
    parts = network("linear"), COVARIANCE, np.zeros((4, 3)), np.zeros(4)
    plain = dg.ProcessNetwork(*parts, 2.0, 3.0)
    for mean, scale in ((2, 3), (np.float32(2.0), np.int64(3))):
        model = dg.ProcessNetwork(*parts, mean, scale)
        assert (type(model.mean), type(model.scale)) == (float, float)
        assert (model.mean, model.scale) == (plain.mean, plain.scale)


# --- the estimator --------------------------------------------------------------------------------


def everything(estimator, X):
    """All that a seed decides."""
    mean, deviation = estimator.predict(X, return_std=True)
    drawn = estimator.sample_y(X, 2, random_state=1)
    return [mean, deviation, drawn, estimator.model_.features], estimator.kernel_


def assert_same(one, other, X):
    assert_same_network(one.model_.network, other.model_.network)
    (arrays, kernel), (its, its_kernel) = everything(one, X), everything(other, X)
    assert kernel == its_kernel
    for array, its_array in zip(arrays, its, strict=True):
        assert_same_bits(array, its_array)


def test_rows_without_a_target_serve_the_pretraining_alone():
    """Would catch NaN among the targets, or a process that knows rows without one."""
    X, y = data()
    y[10:] = np.nan
    greedy = dg.Pretraining(n_epochs=3)
    with_others = regressor(pretrained=greedy, fine_tune=False).fit(X, y)
    alone = regressor(pretrained=greedy, fine_tune=False).fit(X[:10], y[:10])
    assert len(with_others.model_.targets) == 10
    assert (with_others.stack_[0].weights[0] != alone.stack_[0].weights[0]).any()
    assert_same(regressor().fit(X, y), regressor().fit(X[:10], y[:10]), X)


def test_features_stay_where_they_are_not_tuned():
    """Would catch a fine-tuning that is not asked for, or a covariance that is not learned."""
    X, y = data(80)
    stack = dg.DBN((8, 5), n_epochs=3, random_state=0).fit(X).model_
    fixed = regressor(pretrained=stack, fine_tune=False).fit(X, y)
    assert_same_network(fixed.model_.network, dg.encoder(stack))
    assert fixed.n_updates_ == 0
    F, z = fixed.model_.features, fixed.model_.targets
    value = marginal_likelihood(F, z, fixed.kernel_).value
    slopes = marginal_likelihood(F, z, fixed.kernel_).by_logs
    assert value < marginal_likelihood(F, z, dg.SquaredExponential()).value
    inside = np.array([True, True, fixed.kernel_.noise > 1e-5])
    assert np.abs(slopes[inside]).max() < 0.05 * len(z)


@pytest.mark.parametrize("n_rows", [1, 3, 4, 7])
def test_equal_targets_leave_the_noise_as_it_is(n_rows):
    """Would catch deviations of 1e-18 where the mean of equal targets rounds to another number."""
    X, _ = data()
    fitted = regressor().fit(X[:n_rows], np.full(n_rows, 0.1))
    mean, deviation = fitted.predict(X, return_std=True)
    np.testing.assert_allclose(mean, 0.1)
    assert (deviation >= 0.1).all()
    assert (deviation < 0.2).all()


def test_rows_beyond_the_limit_are_known_through_some_of_them(tmp_path):
    """Would catch targets that part from their rows, a file without the inducing rows, and labels
    beyond `max_exact` that are not used.
    """
    X, y = data(400)
    settings = {"n_epochs": 30, "batch_size": 100, "n_hidden": (30, 20)}
    many = regressor(max_exact=100, inducing=60, **settings).fit(X[:300], y[:300])
    model = many.model_
    assert model.n_inducing == 60
    assert len(model.targets) == 300
    features = model.network.forward(X[:300])
    order = [int(np.abs(features - f).sum(axis=1).argmin()) for f in model.features]
    assert sorted(order) == list(range(300))
    assert order != list(range(300))  # not the first 60 rows of a table that may be sorted
    np.testing.assert_allclose(model.mean + model.scale * model.targets, y[order], rtol=1e-5)
    assert many.score(X[300:], y[300:]) > 0.8
    exact = regressor(**settings).fit(X[:300], y[:300])
    assert exact.model_.n_inducing is None
    assert_same_network(exact.model_.network, model.network)
    assert many.log_marginal_likelihood_ < exact.log_marginal_likelihood_
    many.save(tmp_path / "model")
    assert_same(many, dg.load(tmp_path / "model"), X)
    assert_same(many, pickle.loads(pickle.dumps(many)), X)


def test_fine_tuning_predicts_better_than_the_mean():
    """Would catch a network that is trained to no end: new rows are then no better than a guess."""
    X, y = data(300)
    tuned = regressor(n_epochs=60, batch_size=100, n_hidden=(30, 20)).fit(X[:200], y[:200])
    assert tuned.score(X[200:], y[200:]) > 0.8
    mean, deviation = tuned.predict(X[200:], return_std=True)
    far = np.abs(y[200:] - mean) / deviation
    assert 0.5 < np.sqrt(np.square(far).mean()) < 2.0
    assert tuned.history_[-1]["loss"] < tuned.history_[0]["loss"]


def test_inputs_of_any_size_are_read_as_they_came():
    """Would catch a covariance whose length is that of plain inputs, where scaled ones are read."""
    X, y = data(200)
    plain = regressor(n_epochs=20).fit(1000.0 * X[:150], y[:150])
    assert plain.score(1000.0 * X[150:], y[150:]) > 0.3


def test_whole_numbers_of_a_covariance_come_back(tmp_path):
    """Would catch integers that are written into a file whose reader wants floats."""
    whole = dg.DeepGaussianProcessRegressor.from_model(process(20, dg.SquaredExponential(1, 2)))
    whole.save(tmp_path / "model")
    assert dg.load(tmp_path / "model").kernel_ == whole.kernel_


@pytest.mark.parametrize(("entry", "value", "message"), [
    ("n_rows", 0, "n_rows is not valid"),
    ("n_rows", 41, "tensors of other names or shapes"),
    ("n_inducing", 41, "n_inducing is not valid"),
    ("n_inducing", 0, "n_inducing is not valid"),
    ("covariance", {"amplitude": 1.0}, "covariance is not an object of"),
    ("covariance", dict.fromkeys(NUMBERS, -1.0), "amplitude is not positive"),
    ("covariance", dict.fromkeys(NUMBERS, "1"), "amplitude is no finite number"),
    ("covariance", dict.fromkeys(NUMBERS, 1e-200), "length must be a number in"),
    ("covariance", dict.fromkeys(NUMBERS, 1e200), "length must be a number in"),
    ("target_mean", float("inf"), "target_mean is no finite number"),
    ("target_mean", 1e300, "mean must be a number in"),
    ("target_scale", 0.0, "target_scale is not positive"),
    ("target_scale", 1e308, "scale must be a number in"),
    ("network", {}, "network is not an object of layers and n_inputs"),
    ("network", {"n_inputs": 6, "layers": []}, "layers must be a list"),
])  # fmt: skip
def test_a_damaged_configuration_is_refused(entry, value, message):
    """Would catch a file that takes memory, or gives predictions of NaN, before it is refused."""
    tree = as_tree(process())
    tree["model"] = {**tree["model"], entry: value}
    with pytest.raises(ValueError, match=message):
        from_tree(tree)


def test_the_command_tells_what_a_file_holds(capsys):
    """Would catch an entry of the file that the command takes for one of another model."""
    assert main(["info", str(DATA / "gaussian_process_v2.safetensors")]) == 0
    assert "ProcessNetwork" in capsys.readouterr().out


def test_a_file_of_before_loads():
    """Would catch a loader that no longer reads files that users have."""
    loaded = dg.load(DATA / "gaussian_process_v2.safetensors")
    X, _ = data(5, seed=9)
    mean, deviation = loaded.predict(X, return_std=True)
    np.testing.assert_allclose(mean, EXPECTED[0], rtol=1e-4)
    np.testing.assert_allclose(deviation, EXPECTED[1], rtol=1e-4)


@pytest.mark.parametrize(("settings", "message"), [
    ({"noise_floor": 0.0}, r"noise_floor must be a number in \(0, inf\), got 0\.0"),
    ({"noise_floor": "low"}, "noise_floor must be a number"),
    ({"input_dropout": 1.0}, r"input_dropout must be a number in \[0, 1\)"),
    ({"fine_tune": "no"}, "fine_tune must be True or False"),
    ({"max_exact": 0}, "max_exact must be a positive integer"),
    ({"activation": "linear"}, "activation must be 'logistic' or 'rectified'"),
    ({"batch_size": 0}, "batch_size must be a positive integer"),
    ({"n_hidden": ()}, "n_hidden"),
    ({"optimizer": "adam"}, "optimizer"),
    ({"pretrained": 3}, "pretrained must be None"),
    ({"max_exact": 39, "inducing": None},
     r"at most max_exact=39 targets where inducing is None, got 40: .* GB, and .* s .* inducing"),
    ({"inducing": 0}, "inducing must be a positive integer"),
    ({"max_exact": 39, "inducing": 40},
     "inducing must be at most max_exact=39 for 40 targets, got 40"),
    ({"input_noise": -1.0}, "input_noise must be a number"),
])  # fmt: skip
def test_settings_without_a_meaning_are_refused(settings, message):
    """Would catch an error in the middle of the work, or one that names no remedy."""
    X, y = data()
    estimator = regressor(**settings)
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, y)
    assert "model_" not in vars(estimator)


@pytest.mark.parametrize(("y", "message"), [
    (np.full(40, np.nan), "y must hold a target for at least one row"),
    (np.r_[np.inf, np.zeros(39)], "y must be finite, or NaN for no target.*row 0"),
    (np.r_[np.zeros(39), 1e38], "y must have values within.*row 39"),
    (np.zeros((40, 2)), r"y must have shape \(40,\), one target for each row, got \(40, 2\)"),
    (np.zeros(39), r"y must have shape \(40,\)"),
    (None, "y must hold a target for each row, got None"),
    (["a"] * 40, "y must"),
])  # fmt: skip
def test_targets_without_a_meaning_are_refused(y, message):
    """Would catch targets that make every likelihood NaN, or that belong to other rows."""
    with pytest.raises(ValueError, match=message):
        regressor().fit(data()[0], y)


def test_a_deep_machine_is_no_start():
    """Would catch a posterior network below a process, which nothing here reads."""
    X, y = data()
    machine = dg.DBM((4, 3), n_epochs=1, random_state=0).fit(X).model_
    with pytest.raises(ValueError, match="must be a BoltzmannMachine of 2 layers"):
        regressor(pretrained=machine).fit(X, y)


def test_questions_without_a_meaning_are_refused(monkeypatch):
    """Would catch a covariance of all rows of a large table, and a number for a truth value."""
    X, y = data()
    fitted = regressor().fit(X, y)
    with pytest.raises(ValueError, match="return_std must be True or False"):
        fitted.predict(X, return_std=1)
    with pytest.raises(ValueError, match="n_samples must be a positive integer"):
        fitted.sample_y(X, 0)
    monkeypatch.setattr("deepgen.estimators.gaussian_process.MOST_DRAWN", 39)
    with pytest.raises(ValueError, match=r"at most 39 rows to be drawn together, got 40: .* GB"):
        fitted.sample_y(X)
    with pytest.raises(ValueError, match="model must be a ProcessNetwork"):
        dg.DeepGaussianProcessRegressor.from_model(fitted.model_.network)


@pytest.mark.parametrize(("change", "message"), [
    ({"features": np.zeros((4, 2))}, r"features must have shape \(n_labelled, 3\)"),
    ({"features": np.full((4, 3), np.nan)}, "features must be finite"),
    ({"targets": np.zeros(3)}, r"targets must have shape \(4,\)"),
    ({"mean": np.nan}, r"mean must be a number in \[-1e\+12, 1e\+12\), got nan"),
    ({"mean": "0"}, "mean must be a number"),
    ({"scale": 0.0}, "scale must be a number in"),
    ({"n_inducing": 0}, "n_inducing must be a positive integer"),
    ({"n_inducing": 5}, "n_inducing must be at most the number of labelled rows, 4, got 5"),
])  # fmt: skip
def test_a_model_of_parts_that_do_not_fit_is_refused(change, message):
    """Would catch labelled rows of another network."""
    parts = {"features": np.zeros((4, 3)), "targets": np.zeros(4), **change}
    with pytest.raises(ValueError, match=message):
        dg.ProcessNetwork(network("linear"), COVARIANCE, **parts)


def test_labelled_rows_are_read_in_pieces(monkeypatch):
    """Would catch a piece that is lost or comes twice."""
    model, (new, _) = process(), data(50, seed=5)
    features = model.network.forward(new)
    whole = ProcessPosterior(model).mean_and_deviation(features)
    monkeypatch.setattr(processes, "PIECE_ROWS", 7)
    for one, other in zip(
        whole, ProcessPosterior(model).mean_and_deviation(features), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-10)
