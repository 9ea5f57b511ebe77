"""Training of networks: steps against the twins, exact small problems, resume, greedy stacks."""

import pickle

import numpy as np
import pytest
import reference
from comparisons import assert_same_network
from conftest import THREADS, assert_same_bits
from scipy import sparse
from stops import Stop

import deepgen as dg
from deepgen.learning.networks import NetworkTrainer
from deepgen.models import Network, NetworkLayer, NetworkParameters
from deepgen.networks.losses import CrossEntropy, SquaredError
from deepgen.networks.objective import Objective, loss_by_row
from deepgen.rows.batch import Batch
from deepgen.rows.paired import PairedRows
from deepgen.runtime.stream import Stream
from deepgen.runtime.work import Work

STEPS = {"rtol": 2e-4, "atol": 2e-5}
OPTIMIZERS = {
    "sgd": dg.SGD(momentum=0.9, averaging=0.3),
    "adam": dg.Adam(averaging=0.3),
    "cg": dg.ConjugateGradient(),
    "lbfgs": dg.LBFGS(),
}


def small_network(seed=0, sizes=(6, 5, 3)):
    """logistic, linear."""
    rng = np.random.default_rng(seed)
    kinds = ["logistic"] * (len(sizes) - 2) + ["linear"]
    return Network(
        NetworkLayer(kind, np.zeros(sizes[l + 1]), rng.normal(0.0, 0.5, sizes[l : l + 2]))
        for l, kind in enumerate(kinds)
    )


def data(n_rows=60, seed=1):
    """Rows and targets that depend on them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 6)).astype(np.float32)
    return X, np.tanh(X @ rng.normal(size=(6, 3))).astype(np.float32)


def trainer(optimizer, network=None, *, objective=None, batch_size=20, **options):
    """A run with a rate that works for these problems."""
    return NetworkTrainer(
        network or small_network(), objective or Objective(SquaredError()), optimizer,
        dg.Linear(0.02, 0.0), stream=Stream(3), batch_size=batch_size, **options,
    )  # fmt: skip


def slopes_of(layers, arrays, X, target):
    """Finite differences of the objective of the twin by each of its arrays."""
    return {
        name: reference.finite_difference(
            lambda a, name=name: reference.network_objective(
                layers, {**arrays, name: a}, X, target, "SquaredError"
            ),
            array,
        )
        for name, array in arrays.items()
    }


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_sgd_goes_down_as_the_reference_does(momentum):
    """Would catch a step uphill, decay of biases, a velocity that is multiplied by the rate."""
    run = trainer(dg.SGD(momentum=momentum, weight_decay=0.1, averaging=0.0))
    layers, arrays = reference.network_arrays(small_network())
    X, target = data(20)
    velocity = dict.fromkeys(arrays, 0.0)
    for update in range(4):
        run.step(Batch((X,), target=target), update / 10)
        rate = dg.Linear(0.02, 0.0)(update / 10)
        for name, slope in slopes_of(layers, arrays, X, target).items():
            decay = 0.1 if name.startswith("weights") else 0.0
            arrays[name], velocity[name] = reference.sgd_step(
                arrays[name], velocity[name], -slope, rate, momentum, decay
            )
    for name, array in run.parameters.learned().items():
        np.testing.assert_allclose(array, arrays[name], **STEPS, err_msg=name)


@pytest.mark.parametrize("as_given", [
    np.asfortranarray, lambda X: X.astype(np.float64), lambda X: np.repeat(X, 2, axis=0)[::2],
    sparse.csr_array, np.ndarray.tolist,
], ids=["columns", "float64", "strided", "sparse", "list"])  # fmt: skip
def test_a_batch_may_be_arrays_of_any_type(as_given):
    """Would catch rows that reach a kernel as they were given, which it cannot read."""
    X, target = data(20)
    values = [
        trainer(dg.SGD()).step(Batch((rows,), target=target), 0.0) for rows in (X, as_given(X))
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_batches_that_do_not_fit_are_refused():
    """Would catch a kernel that reads beyond rows, or a run that is broken by a slip."""
    X, target = data(20)
    run = trainer(dg.SGD())
    for batch, message in (
        (Batch((X[:, :1],), target=target), r"must have shape \(n_rows, "),
        (Batch((X[0],), target=target), r"must have shape \(n_rows, "),
        (Batch((X,), target=target[:5]), "target must have 20 rows"),
        (Batch((X[:0],), target=target[:0]), "at least one row"),
        (Batch((X,), target=target, weights=np.ones(3)), r"weights must have shape \(20,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            run.step(batch, 0.0)
    assert run.whole
    assert run.n_updates == 0


def test_adam_goes_down_as_the_reference_does():
    """Would catch a sign lost in the kernel, a bias correction of the wrong step."""
    run = trainer(dg.Adam(weight_decay=0.0, averaging=0.0, epsilon=1e-3))
    layers, arrays = reference.network_arrays(small_network())
    X, target = data(20)
    moments = dict.fromkeys(arrays, (0.0, 0.0))
    for update in range(3):
        run.step(Batch((X,), target=target), 0.0)
        for name, slope in slopes_of(layers, arrays, X, target).items():
            arrays[name], *moments[name] = reference.adam_step(
                arrays[name], *moments[name], -slope, update + 1, 0.02, epsilon=1e-3
            )
    for name, array in run.parameters.learned().items():
        np.testing.assert_allclose(array, arrays[name], **STEPS, err_msg=name)


@pytest.mark.parametrize(
    "optimizer", [dg.SGD(0.8, 0.1, averaging=0.5), dg.SGD(0.0, 0.0), dg.Adam(weight_decay=0.1)]
)
def test_a_step_over_many_blocks_equals_the_reference(optimizer, threaded):
    """Would catch entries left out between blocks, a decay after the moments, an average of the
    parameters before their step, bits that depend on threads.
    """
    rng = np.random.default_rng(4)
    sizes = (1025, 3)  # blocks of 1,024 parameters, a last one of three, and a short bias
    network = Network([NetworkLayer("linear", np.zeros(3), 0.1 * rng.standard_normal(sizes))])
    slopes = [
        {"weights[0]": rng.standard_normal(sizes), "layers[0].bias": rng.standard_normal(3)}
        for _ in range(3)
    ]
    runs = []
    for n_threads in THREADS:
        parameters = NetworkParameters(network)
        state = optimizer.start(parameters)
        path = []
        for slope in slopes:
            gradients = {name: g.astype(np.float32) for name, g in slope.items()}
            assert not optimizer.descend(
                parameters, gradients, state, 0.01, 1.0, work=Work(n_threads=n_threads)
            )
            path.append(parameters.snapshot())
        runs.append(path)
    for name, array in reference.network_arrays(network)[1].items():
        decay = optimizer.weight_decay if name.startswith("weights") else 0.0
        kept = (0.0, 0.0)
        for update, slope in enumerate(slopes):
            if isinstance(optimizer, dg.SGD):
                array, velocity = reference.sgd_step(
                    array, kept[0], -slope[name], 0.01, optimizer.momentum, decay
                )
                kept = (velocity, 0.0)
            else:
                uphill = -slope[name] - decay * array
                array, *kept = reference.adam_step(array, *kept, uphill, update + 1, 0.01)
            np.testing.assert_allclose(runs[0][update][name], array, **STEPS, err_msg=name)
            for path in runs[1:]:
                assert_same_bits(runs[0][update][name], path[update][name])
        mean = np.mean([update[name] for update in runs[0]], axis=0)
        np.testing.assert_allclose(state["average"]["arrays"][name], mean, **STEPS)


@pytest.mark.parametrize("optimizer", [dg.SGD(), dg.Adam()])
def test_a_step_to_infinity_is_told(optimizer):
    """Would catch a check that looks at the first block of parameters only."""
    network = Network([NetworkLayer("linear", np.zeros(3), np.zeros((1025, 3)))])
    parameters = NetworkParameters(network)
    gradients = {"weights[0]": np.zeros((1025, 3), np.float32)}
    gradients["weights[0]"][-1, -1] = np.nan
    state = optimizer.start(parameters)
    assert optimizer.descend(parameters, gradients, state, 0.01, 0.0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(name):
    """Would catch a direction uphill: the loss of all rows halves on a learnable problem."""
    rows, network = PairedRows(*data()), small_network()
    run = trainer(OPTIMIZERS[name], network)
    run.fit(rows, 5 if hasattr(OPTIMIZERS[name], "minimize") else 60)
    before = loss_by_row(network, SquaredError(), rows).mean()
    assert loss_by_row(run.model(), SquaredError(), rows).mean() < 0.5 * before


@pytest.mark.parametrize("tied", [False, True])
def test_a_linear_autoencoder_reaches_the_error_of_pca(tied):
    """Would catch biased gradients: the minimum is known in closed form (Baldi & Hornik 1989)."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 8)) @ rng.normal(size=(8, 8)) + 1.0
    X = X.astype(np.float32)
    up = NetworkLayer("linear", np.zeros(3), 0.3 * rng.normal(size=(8, 3)))
    down = {"tied_to": 0} if tied else {"weights": 0.3 * rng.normal(size=(3, 8))}
    network = Network([up, NetworkLayer("linear", np.zeros(8), **down)])
    run = trainer(dg.LBFGS(100), network, batch_size=200)
    run.fit(PairedRows(X), 3)
    values = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    best = (values[3:] ** 2).sum() / len(X)
    found = loss_by_row(run.model(), SquaredError(), PairedRows(X)).mean()
    assert best * (1 - 1e-4) < found < best * 1.001


def test_the_top_alone_moves_first():
    """Would catch features that are spoilt by a top that has learned nothing yet."""
    network = small_network()
    run = trainer(dg.SGD(momentum=0.5), network, top_epochs=2)
    rows = PairedRows(*data())
    run.fit(rows, 2)
    assert_same_bits(run.parameters.weights[0], np.asarray(network.layers[0].weights))
    assert (run.parameters.weights[1] != network.layers[1].weights).any()
    run.fit(rows, 3)
    assert (run.parameters.weights[0] != network.layers[0].weights).any()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_bits_do_not_depend_on_threads(threaded, name):
    """Would catch a step whose sums cross threads."""
    rows = PairedRows(*data())
    runs = []
    for n_threads in THREADS:
        run = trainer(OPTIMIZERS[name], n_threads=n_threads,
                      objective=Objective(SquaredError(), dropout=0.2, l2=0.01))  # fmt: skip
        run.fit(rows, 2)
        runs.append(run.model())
    for other in runs[1:]:
        assert_same_network(runs[0], other)


class BreakingRows(PairedRows):
    """Rows that break off before a batch of an epoch."""

    left = 11

    def batches(self, batch_size, stream, *, skip=0):
        """Yield pairs until none are left."""
        for pair in super().batches(batch_size, stream, skip=skip):
            if not self.left:
                raise Stop
            self.left -= 1
            yield pair


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("way", ["state", "pickle"])
def test_a_resumed_run_has_the_same_bits(name, way):
    """Would catch state that a resume loses: moments, averages, dropout's position, the place."""
    rows, objective = PairedRows(*data()), Objective(SquaredError(), dropout=0.3)
    whole = trainer(OPTIMIZERS[name], objective=objective)
    whole.fit(rows, 4)
    part = trainer(OPTIMIZERS[name], objective=objective)
    with pytest.raises(Stop):  # inside the fourth epoch
        part.fit(BreakingRows(*data()), 4)
    if way == "pickle":
        resumed = pickle.loads(pickle.dumps(part))
    else:
        resumed = trainer(OPTIMIZERS[name], objective=objective)
        resumed.restore(part.state())
    resumed.fit(rows, 4)
    assert_same_network(whole.model(), resumed.model())
    losses = [[entry["loss"] for entry in run.history] for run in (resumed, whole)]
    assert losses[0] == losses[1]


def test_a_state_of_another_network_is_refused():
    """Would catch a resume that broadcasts one network's arrays into another's."""
    with pytest.raises(ValueError, match=r"state\.parameters"):
        trainer(dg.SGD()).restore(trainer(dg.SGD(), small_network(sizes=(6, 4, 3))).state())


def test_divergence_puts_the_last_good_parameters_back():
    """Would catch a network of NaN that is kept, or an error that does not say what to do."""
    run = NetworkTrainer(
        small_network(), Objective(SquaredError()), dg.SGD(momentum=0.9),
        dg.Constant(1e6), stream=Stream(0), batch_size=20,
    )  # fmt: skip
    with pytest.raises(dg.DivergedError, match="learning rate"):
        run.fit(PairedRows(*data()), 20)
    assert run.parameters.first_non_finite() is None


def test_history_and_callbacks():
    """Would catch reports that differ from those of other runs, and a stop that is not heeded."""
    reports = []
    run = trainer(dg.SGD())
    run.fit(PairedRows(*data()), 9, callbacks=[lambda r: reports.append(r) or r.epoch == 3])
    assert [entry["epoch"] for entry in run.history] == [1, 2, 3]
    assert [entry["n_updates"] for entry in run.history] == [3, 6, 9]
    assert reports[0].n_rows == 60
    assert run.history[-1]["loss"] < run.history[0]["loss"]


def test_early_stopping_keeps_the_best_network():
    """Would catch the last network in place of the best."""
    errors = iter([3.0, 1.0, 2.0, 2.0, 2.0])
    stopping = dg.EarlyStopping(lambda network: next(errors), patience=2, mode="min")
    run = trainer(dg.SGD())
    networks = []
    run.fit(PairedRows(*data()), 9,
            callbacks=[stopping, lambda r: networks.append(r.trainer.model())])  # fmt: skip
    assert run.epoch == 4
    assert stopping.best_epoch == 2
    assert_same_bits(run.model().layers[0].weights, networks[1].layers[0].weights)


def test_a_loss_refuses_outputs_that_it_cannot_judge():
    """Would catch a cross-entropy of real-valued outputs."""
    with pytest.raises(ValueError, match="needs a last layer of logistic"):
        trainer(dg.SGD(), objective=Objective(CrossEntropy()))


@pytest.mark.parametrize("options", [
    {"dropout": 1.0}, {"masking": -0.1}, {"l2": -1.0}, {"l1": np.nan}, {"input_dropout": True},
    {"input_noise": -0.1},
])  # fmt: skip
def test_objectives_refuse_numbers_without_a_meaning(options):
    """Would catch a dropout of everything."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Objective(SquaredError(), **options)
