"""Losses whose rows depend on each other, with parameters of their own, in a run of a network.

The loss here is made up for the tests: neighbourhood components (Goldberger et al. 2004) with a
learned scale of the distances. Rows are pulled towards rows of their class.
"""

import pickle

import numpy as np
import pytest
import reference
from comparisons import assert_same_network
from conftest import THREADS, assert_same_bits
from stops import At, Stop, fail

import deepgen as dg
from deepgen.io import checkpoints
from deepgen.learning.networks import HeldBackLoss, NetworkTrainer
from deepgen.models import Network, NetworkLayer, NetworkParameters
from deepgen.networks.losses import Loss, RowLoss
from deepgen.networks.objective import Objective, loss_by_row
from deepgen.rows.batch import Batch
from deepgen.rows.paired import PairedRows
from deepgen.runtime.stream import Stream

N_CLASSES = 3
OPTIMIZERS = {
    "sgd": dg.SGD(momentum=0.9, weight_decay=0.0, averaging=0.3),
    "adam": dg.Adam(weight_decay=0.0, averaging=0.3),
    "cg": dg.ConjugateGradient(),
    "lbfgs": dg.LBFGS(),
}


class Neighbours(Loss):
    """``-mean log p_i`` over rows with a neighbour of their class; rows of zeros have no class.

    ``z_ij = -e^s |f_i - f_j|^2``, ``P`` its softmax by row without i, ``p_i`` the part of row i
    that falls on its class. With ``G = (P - P S / p) / n`` and ``M = G + G'``: by the field
    ``-2 e^s (diag(M 1) F - M F)``, by s the sum of ``G z``.
    """

    def __init__(self, log_scale=-1.0):
        self.log_scale = log_scale

    def learned(self):
        """The logarithm of the scale."""
        return {"log_scale": self.log_scale}

    def evaluate(self, layer, field, target, parameters):
        """See :class:`Loss`."""
        labelled = target.any(axis=1)
        F, T = field[labelled].astype(np.float64), target[labelled].astype(np.float64)
        scale, gradient = np.exp(float(parameters["log_scale"][0])), np.zeros(field.shape)
        z = -scale * np.square(F[:, None] - F[None]).sum(axis=2)
        S = T @ T.T
        np.fill_diagonal(S, 0.0)
        counted = S.any(axis=1)
        if not counted.any():
            return 0.0, gradient, {"log_scale": np.zeros(1)}
        P = np.exp(z - np.where(np.eye(len(z)), -np.inf, z).max(axis=1, keepdims=True))
        np.fill_diagonal(P, 0.0)
        P /= P.sum(axis=1, keepdims=True)
        p = np.where(counted, np.maximum((P * S).sum(axis=1), 1e-300), 1.0)
        G = (P - P * S / p[:, None]) * (counted / counted.sum())[:, None]
        M = G + G.T
        gradient[labelled] = -2.0 * scale * (M.sum(axis=1)[:, None] * F - M @ F)
        return -np.log(p[counted]).mean(), gradient, {"log_scale": np.array([(G * z).sum()])}


def twin(field, target, log_scale):
    """The value of :class:`Neighbours`, pair by pair."""
    n_rows, logs = len(field), []
    labels = [int(np.argmax(t)) if np.any(t) else None for t in target]
    for i in range(n_rows):
        others = [j for j in range(n_rows) if j != i and labels[j] is not None]
        if labels[i] is None or not any(labels[j] == labels[i] for j in others):
            continue
        weights = {
            j: np.exp(-np.exp(log_scale) * ((field[i] - field[j]) ** 2).sum()) for j in others
        }
        same = sum(w for j, w in weights.items() if labels[j] == labels[i])
        logs.append(np.log(same / sum(weights.values())))
    return -np.mean(logs) if logs else 0.0


class Counted(dg.SquaredError):
    """A loss of each row that claims to learn something."""

    def learned(self):
        """A number that no gradient comes for."""
        return {"noise": 1.0}


def network(seed=0, top="linear"):
    """6-5-2."""
    rng = np.random.default_rng(seed)
    return Network([
        NetworkLayer("logistic", np.zeros(5), rng.normal(0.0, 0.7, (6, 5))),
        NetworkLayer(top, np.zeros(2), rng.normal(0.0, 0.7, (5, 2))),
    ])  # fmt: skip


def data(n_rows=60, without=0, seed=1):
    """Rows of three classes, one-hot targets; the first `without` have none."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, N_CLASSES, n_rows)
    X = rng.normal(size=(n_rows, 6)) + 1.5 * np.eye(6)[2 * labels]
    target = np.eye(N_CLASSES, dtype=np.float32)[labels]
    target[:without] = 0.0
    return X.astype(np.float32), target


def trainer(optimizer, loss=None, *, batch_size=20, **options):
    """A run with a rate that works for these rows."""
    rate = 0.5 if isinstance(optimizer, dg.SGD) else 0.1
    return NetworkTrainer(
        network(), Objective(loss or Neighbours()), optimizer, dg.Linear(rate, 0.0),
        stream=Stream(3), batch_size=batch_size, **options,
    )  # fmt: skip


def value_of(run, X, target):
    """The loss of all rows as one batch, under what the run stands for."""
    batch, learned = Batch((X,), target=target), run.loss_parameters()
    return run.objective.evaluate(run.model(), batch, loss_parameters=learned)[0]


@pytest.mark.parametrize("without", [0, 4, 9, 10])
def test_gradients_equal_finite_differences(without):
    """Would catch a pair that counts once, a class of one row, rows without a target that pull."""
    X, target = data(10, without)
    objective = Objective(Neighbours(), l2=0.1, l1=0.05)
    value, gradients = objective.evaluate(NetworkParameters(network()), Batch((X,), target=target))
    layers, arrays = reference.network_arrays(network())
    arrays["loss.log_scale"] = np.array([-1.0])

    def at(moved):
        def loss(field, target):
            return twin(field, target, moved["loss.log_scale"][0])
        return reference.network_objective(layers, moved, X, target, loss, l2=0.1, l1=0.05)

    np.testing.assert_allclose(value, at(arrays), rtol=1e-5)
    assert set(gradients) == set(arrays)
    for name, array in arrays.items():
        slope = reference.finite_difference(lambda a, n=name: at({**arrays, n: a}), array)
        assert gradients[name].dtype == np.float32
        np.testing.assert_allclose(gradients[name], slope, rtol=1e-4, atol=2e-5, err_msg=name)


def test_a_loss_is_judged_at_the_parameters_that_are_given():
    """Would catch an evaluation that always takes the starting values."""
    X, target = data(12)
    objective = Objective(Neighbours())
    field = reference.network_fields(*reference.network_arrays(network()), X)[-1]
    for log_scale in (-3.0, 0.5):
        given = {"log_scale": np.array([log_scale], np.float32)}
        value, _ = objective.evaluate(network(), Batch((X,), target=target), loss_parameters=given)
        np.testing.assert_allclose(value, twin(field, target, log_scale), rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_network_and_loss_learn_together(name):
    """Would catch a parameter of the loss that an optimizer or a line search leaves out."""
    rows, loss = data(), Neighbours()
    run = trainer(OPTIMIZERS[name], loss, batch_size=60)
    before = value_of(run, *rows)
    assert run.loss_parameters() == {"log_scale": np.float32(-1.0)}
    run.fit(PairedRows(*rows), 8 if name in ("cg", "lbfgs") else 60)
    assert value_of(run, *rows) < 0.5 * before
    assert abs(run.loss_parameters()["log_scale"][0] + 1.0) > 0.05
    assert np.isfinite(run.history[-1]["loss"])
    assert loss.learned() == {"log_scale": -1.0}  # a value: the run has what it has learned
    assert trainer(OPTIMIZERS[name], loss).loss_parameters() == {"log_scale": np.float32(-1.0)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_top_and_the_loss_move_first(name):
    """Would catch a parameter of the loss that waits for the layers below the top."""
    run = trainer(OPTIMIZERS[name], top_epochs=1)
    run.fit(PairedRows(*data()), 1)
    assert_same_bits(run.parameters.weights[0], np.asarray(network().layers[0].weights))
    assert (run.parameters.weights[1] != network().layers[1].weights).any()
    assert run.loss_parameters()["log_scale"][0] != -1.0


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("way", ["checkpoint", "pickle"])
def test_a_resumed_run_has_the_same_bits(tmp_path, name, way):
    """Would catch a checkpoint without the loss's parameters, or without their moments."""
    rows, path = PairedRows(*data()), tmp_path / "run.checkpoint"
    whole = trainer(OPTIMIZERS[name])
    whole.fit(rows, 4)
    part = trainer(OPTIMIZERS[name])
    with pytest.raises(Stop):  # in the last epoch, where averaging has begun
        part.fit(rows, 4, callbacks=[At(fail, update=11)])
    if way == "pickle":
        resumed = pickle.loads(pickle.dumps(part))
    else:
        checkpoints.save(part, path)
        resumed = trainer(OPTIMIZERS[name])
        checkpoints.restore(resumed, checkpoints.load(path)[1], path)
    resumed.fit(rows, 4)
    assert_same_network(whole.model(), resumed.model())
    for one, other in ((whole, resumed), (whole.parameters, resumed.parameters)):
        learned = [x.loss_parameters() if isinstance(x, NetworkTrainer) else x.loss
                   for x in (one, other)]  # fmt: skip
        assert_same_bits(learned[0]["log_scale"], learned[1]["log_scale"])


def test_a_state_of_another_loss_is_refused():
    """Would catch a resume that begins the loss's parameters anew without a word."""
    of_rows = NetworkTrainer(
        network(), Objective(dg.SquaredError()), dg.Adam(), dg.Linear(0.02, 0.0),
        stream=Stream(3), batch_size=20,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"loss\.log_scale"):
        of_rows.restore(trainer(dg.Adam()).state())


def test_bits_do_not_depend_on_threads(threaded):
    """Would catch a step of a short array whose blocks cross threads."""
    runs = []
    for n_threads in THREADS:
        run = trainer(dg.Adam(), n_threads=n_threads)
        run.fit(PairedRows(*data()), 2)
        runs.append(run)
    for other in runs[1:]:
        assert_same_network(runs[0].model(), other.model())
        assert_same_bits(*(r.loss_parameters()["log_scale"] for r in (runs[0], other)))


def test_what_a_loss_learns_is_averaged_as_the_network_is():
    """Would catch the last value in place of the mean over the tail, and arrays of the run that
    are handed out.
    """
    path = []
    run = trainer(dg.SGD(averaging=0.5))
    run.fit(PairedRows(*data()), 2, callbacks=[
        At(lambda: path.append(float(run.parameters.loss["log_scale"][0])), update=update)
        for update in (3, 4, 5, 6)
    ])  # fmt: skip
    assert run.loss_parameters()["log_scale"][0] == pytest.approx(np.mean(path), abs=1e-6)
    run.loss_parameters()["log_scale"][0] = 7.0
    assert run.loss_parameters()["log_scale"][0] == pytest.approx(np.mean(path), abs=1e-6)


def test_early_stopping_goes_back_to_the_loss_of_the_best_epoch():
    """Would catch the best network beside the last parameters of its loss."""
    numbers, seen = iter([3.0, 1.0, 2.0, 2.0]), []
    stopping = dg.EarlyStopping(lambda network: next(numbers), patience=2, mode="min")
    run = trainer(dg.SGD(averaging=0.0))
    run.fit(PairedRows(*data()), 9,
            callbacks=[stopping, lambda r: seen.append(r.trainer.loss_parameters())])  # fmt: skip
    assert stopping.best_epoch == 2
    assert_same_bits(run.loss_parameters()["log_scale"], seen[1]["log_scale"])


def test_divergence_puts_the_last_good_parameters_of_the_loss_back():
    """Would catch a NaN that stays where the network was saved."""

    class Steep(Neighbours):
        def evaluate(self, layer, field, target, parameters):
            value, gradient, gradients = super().evaluate(layer, field, target, parameters)
            return value, 0.0 * gradient, {"log_scale": gradients["log_scale"] * np.inf}

    run = trainer(dg.SGD(), Steep())
    with pytest.raises(dg.DivergedError, match=r"loss\.log_scale is not finite"):
        run.fit(PairedRows(*data()), 2)
    assert run.loss_parameters() == {"log_scale": np.float32(-1.0)}


def test_rows_without_a_target_and_smoothness_go_along():
    """Would catch a smoothness that changes the loss's gradient, or rows that `known` leaves out
    counted as a class.
    """
    X, target = data(60, without=54)
    smooth = Objective(Neighbours(), smoothness=dg.VirtualAdversarial(0.5))
    plain = Objective(Neighbours())
    stream = Stream(7)
    alone = plain.evaluate(network(), Batch((X,), target=target), stream=stream)[1]
    both = smooth.evaluate(network(), Batch((X,), target=target), stream=stream)[1]
    assert_same_bits(alone["loss.log_scale"], both["loss.log_scale"])
    assert (alone["weights[0]"] != both["weights[0]"]).any()
    run = NetworkTrainer(
        network(), smooth, dg.Adam(weight_decay=0.0), dg.Linear(0.02, 0.0), stream=stream,
        batch_size=20,
    )  # fmt: skip
    before = value_of(run, X[54:], target[54:])
    run.fit(PairedRows(X, target, target.any(axis=1)), 20)
    assert value_of(run, X[54:], target[54:]) < 0.5 * before


def test_a_loss_of_rows_is_asked_for_where_rows_are_judged():
    """Would catch a validation loss of rows that depend on which others are held back."""
    rows = PairedRows(*data())
    with pytest.raises(ValueError, match=r"the loss of each row needs .*RowLoss.*Neighbours"):
        loss_by_row(network(), Neighbours(), rows)
    with pytest.raises(ValueError, match=r"'validation_loss', .* needs .*RowLoss.*EarlyStopping"):
        HeldBackLoss(Neighbours(), rows)
    assert isinstance(dg.SquaredError(), RowLoss)


@pytest.mark.parametrize(("gradients", "message"), [
    ({}, r"gradients by what it learns, \['log_scale'\], got \[\]"),
    ({"scale": np.zeros(1)}, r"got \['scale'\]"),
    ({"log_scale": np.zeros(2)}, r"by log_scale must have shape \(1,\), got \(2,\)"),
])  # fmt: skip
def test_gradients_that_do_not_fit_are_refused(gradients, message):
    """Would catch a step of the kernel beyond the end of an array."""

    class Careless(Neighbours):
        def evaluate(self, layer, field, target, parameters):
            return (*super().evaluate(layer, field, target, parameters)[:2], gradients)

    X, target = data(20)
    batch = Batch((X,), target=target)
    with pytest.raises(ValueError, match=message):
        trainer(dg.SGD(), Careless()).step(batch, 0.0)


@pytest.mark.parametrize("shape", [(20, 1), (19, 2), (2, 20), (20, 50), (40,), ()], ids=str)
def test_gradients_by_the_field_of_another_shape_are_refused(shape):
    """Would catch a back-propagation that reads and writes beyond the end of arrays."""

    class Careless(Neighbours):
        def evaluate(self, layer, field, target, parameters):
            value, _, of_loss = super().evaluate(layer, field, target, parameters)
            return value, np.ones(shape), of_loss

    X, target = data(20)
    with pytest.raises(ValueError, match="by the field must have the shape of the field"):
        trainer(dg.SGD(), Careless()).step(Batch((X,), target=target), 0.0)


@pytest.mark.parametrize(("learned", "message"), [
    ({"noise": np.nan}, "noise of .* must start from finite"),
    ({"noise": []}, "noise of .* must start from finite"),
    ({"noise": "much"}, "noise"),
    ({3: 1.0}, "by strings, got 3"),
])  # fmt: skip
def test_starting_values_without_a_meaning_are_refused(learned, message):
    """Would catch a run that diverges at its first update for a typing error."""

    class Odd(Neighbours):
        def learned(self):
            return learned

    with pytest.raises(ValueError, match=message):
        trainer(dg.SGD(), Odd())


def test_a_loss_of_rows_learns_nothing_itself():
    """Would catch a parameter of such a loss that never moves, and nobody says so."""
    X, _ = data(20)
    with pytest.raises(ValueError, match=r"gradients by what it learns, \['noise'\], got \[\]"):
        trainer(dg.SGD(), Counted()).step(Batch((X,), target=X[:, :2]), 0.0)
