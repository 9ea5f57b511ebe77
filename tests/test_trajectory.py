"""Log Z along a path of models, and the callback that writes it into a history."""

import numpy as np
import pytest
from conftest import random_model

import deepgen as dg
from deepgen.likelihood.trajectory import interpolated

pytestmark = pytest.mark.usefixtures("serial")

KINDS = [("binary", "binary"), ("gaussian", "binary"), ("binary", "softmax", "binary")]


def scaled(model, factor):
    """Return the model with its weights multiplied."""
    return model.replace(weights=[factor * w for w in model.weights])


@pytest.mark.parametrize("kinds", KINDS)
def test_the_ends_of_a_path_are_the_models(kinds):
    """Catches a path that starts or ends elsewhere: precisions, not their logs, are natural."""
    old, new = random_model(kinds, 1), random_model(kinds, 2)
    for share, end in ((0.0, old), (1.0, new)):
        found = interpolated(old, new, share)
        for a, b in zip(found.layers, end.layers, strict=True):
            np.testing.assert_allclose(a.bias, b.bias, rtol=1e-6)
            if b.precision is not None:
                np.testing.assert_allclose(a.precision, b.precision, rtol=1e-6)
        for a, b in zip(found.weights, end.weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("kinds", KINDS)
def test_the_trajectory_follows_the_exact_value(kinds):
    """Catches changes of the wrong sign, or of one direction only, that add up along the path."""
    model = random_model(kinds, 3)
    path = [scaled(model, factor) for factor in (0.3, 0.6, 1.0, 0.8)]
    n_runs, errors, reach = 20, [], []
    for seed in range(n_runs):
        trajectory = dg.Trajectory(model, 100, random_state=seed)
        for here in path:
            found = trajectory.advance(here, 5)
        errors.append(found.value - dg.exact_log_partition(here).value)
        reach.append((found.upper - found.lower) / 6.0)
    assert found.method == "trajectory"
    assert abs(np.mean(errors)) < 5.0 * np.mean(reach) / np.sqrt(n_runs) + 0.02
    assert 0.4 < np.mean(reach) / np.std(errors) < 2.5


def test_the_monitor_tells_the_likelihood():
    """Catches a likelihood of other rows, and entries that never reach the history."""
    X = dg.datasets.sample_bars_and_stripes(600, 3, random_state=0)
    monitor = dg.LikelihoodMonitor(X[:100], random_state=1)
    models = []
    rbm = dg.RBM(
        6, n_epochs=4, random_state=0,
        callbacks=[monitor, lambda report: models.append(report.trainer.model())],
    )  # fmt: skip
    rbm.fit(X)
    assert len(rbm.history_) == 4
    for entry, model in zip(rbm.history_, models, strict=True):
        exact = dg.exact_log_likelihood(model, X[:100]).mean()
        assert 0.0 < entry["log_partition_error"] < 0.5
        assert abs(entry["log_likelihood"] - exact) < 0.3
    again = dg.RBM(6, n_epochs=1, random_state=0, callbacks=[monitor]).fit(X)
    assert again.history_[0]["log_partition"] == pytest.approx(
        dg.exact_log_partition(again.model_).value, abs=0.3
    )


@pytest.mark.parametrize("rule", [dg.CD(1), dg.PCD(n_particles=7)])
def test_the_monitor_changes_nothing(rule):
    """Catches a callback that draws from the run's stream or moves its particles."""
    X = dg.datasets.sample_bars_and_stripes(300, 3, random_state=0)
    plain, watched = (
        dg.RBM(5, n_epochs=3, rule=rule, random_state=2, callbacks=callbacks).fit(X)
        for callbacks in (None, [dg.LikelihoodMonitor()])
    )
    assert (plain.model_.weights[0] == watched.model_.weights[0]).all()
    assert "log_likelihood" not in watched.history_[0]


@pytest.mark.parametrize("options", [{"n_chains": 0}, {"n_steps": 1.5}, {"n_steps": True}])
def test_the_monitor_refuses_what_makes_no_sense(options):
    """Catches an error that comes only after the first epoch."""
    with pytest.raises(ValueError, match="must be a positive integer"):
        dg.LikelihoodMonitor(**options)
