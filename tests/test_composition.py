"""Machines with tied copies, the deep Boltzmann machine of them, and the stack that learns them."""

from itertools import pairwise, product

import numpy as np
import pytest
import reference
from comparisons import assert_same_models, assert_same_parameters
from conftest import assert_float32_close, assert_same_bits, bars_and_stripes, rows_of, twin
from scipy import sparse
from stops import At, Stop, fail

import deepgen as dg
from deepgen.inference.gibbs import update_layer
from deepgen.io import checkpoints
from deepgen.learning.machines import Trainer
from deepgen.rows.batch import Batch
from deepgen.rows.sources import ArrayRows, IterableRows
from deepgen.rows.states import dense
from deepgen.rows.survey import survey
from deepgen.runtime.stream import BINARIZE, Stream
from deepgen.stacks.composition import tied_copies
from deepgen.stacks.features import DoubledRows, FeatureRows, stack_features
from deepgen.stacks.settings import Pretraining
from deepgen.stacks.starts import first_machine
from deepgen.stacks.stream import StackStream
from deepgen.stacks.trainer import StackTrainer, pretrain

pytestmark = pytest.mark.usefixtures("serial")

SIZES = (12, 8, 7, 6)


def own_layers(*sizes, visible=None):
    """Layers of a deep Boltzmann machine, each of one copy."""
    lowest = dg.Binary(sizes[0]) if visible is None else visible
    return [lowest, *(dg.Binary(size) for size in sizes[1:])]


def random_machines(layers, seed=0):
    """Machines of these layers with tied copies, random parameters."""
    rng, machines = np.random.default_rng(seed), []
    for pair in tied_copies(layers):
        lower, upper = (units.replace(bias=rng.normal(0, 0.5, units.size)) for units in pair)
        weights = rng.normal(0, 0.5, (lower.size, upper.size))
        machines.append(dg.BoltzmannMachine([lower, upper], [weights]))
    return machines


# --- composed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_machines", "copies"),
    [(1, [(1, 1)]), (2, [(2, 1), (1, 2)]), (3, [(2, 1), (2, 2), (1, 2)]),
     (4, [(2, 1), (2, 2), (2, 2), (1, 2)])],
)  # fmt: skip
def test_each_place_in_a_chain_has_its_copies(n_machines, copies):
    """Would catch a layer that stands twice for a neighbour that hears one side only."""
    pairs = tied_copies(own_layers(*range(3, 4 + n_machines)))
    assert [tuple(units.n_copies for units in pair) for pair in pairs] == copies


def test_one_machine_is_itself():
    """Would catch copies, or a halved bias, where there is nothing to share."""
    (machine,) = random_machines(own_layers(5, 4))
    model = dg.compose([machine], observed=(1,))
    assert_same_parameters(model, machine)
    assert model.observed == (1,)
    assert [units.n_copies for units in model.layers] == [1, 1]


@pytest.mark.parametrize("n_machines", [2, 3, 4])
def test_a_layer_hears_the_mean_of_what_its_machines_say(n_machines):
    """Would catch weights or biases that count twice or half: where each neighbour stands twice
    in the machines and once in the model, an inner layer's field is the mean of two fields, and
    an end's field is its machine's."""
    layers = own_layers(*range(4, 5 + n_machines))
    machines = random_machines(layers, 1)
    model, rng = dg.compose(machines), np.random.default_rng(2)
    assert all(units.n_copies == 1 for units in model.layers)
    states = [rng.integers(0, 2, (9, units.size)).astype(float) for units in layers]
    for l in range(len(layers)):
        said = []
        for machine, side in ((l - 1, 1), (l, 0)):
            if not 0 <= machine < n_machines:
                continue
            pair = [units.n_copies * states[machine + s] for s, units in
                    enumerate(machines[machine].layers)]
            said.append(reference.field(*twin(machines[machine]), pair, side))
        found = reference.field(*twin(model), states, l)
        np.testing.assert_allclose(found, np.mean(said, axis=0), rtol=1e-6, atol=1e-6)


def test_a_machine_of_copies_is_the_one_with_twice_the_rows():
    """Would catch copies that count in the energy but not in the conditional means: by float64,
    p(h | v) = logistic(2 v W + c) and each copy of v is logistic(W h + b)."""
    machine = random_machines(own_layers(5, 4, 3), 3)[0]
    v = np.array(list(product((0, 1), repeat=5)), np.uint8)
    h = np.array(list(product((0, 1), repeat=4)), np.uint8)
    (lower, upper), (weights,) = twin(machine)
    upwards, _ = update_layer(machine, 1, [2 * v, None], mean=True)
    downwards, _ = update_layer(machine, 0, [None, h], mean=True)
    for found, field, terms, slope in (
        (upwards, 2.0 * v @ weights + upper.bias, 2.0 * v @ np.abs(weights) + np.abs(upper.bias),
         1.0),
        (downwards, h @ weights.T + lower.bias, h @ np.abs(weights.T) + np.abs(lower.bias), 2.0),
    ):  # fmt: skip
        expected = slope * reference.logistic(field)
        assert_float32_close(found, expected, terms, 5, slope, 32)


def test_the_ends_keep_their_units():
    """Would catch a precision that stays halved, an option of the model that is lost, or a softmax
    layer that is doubled into what is no state."""
    precise = dg.Gaussian(4, log_precision=[0.5, -1.0, 0.0, 2.0], learn_precision=False)
    machines = random_machines(own_layers(4, 3, 2, visible=precise))
    lower = machines[0].layers[0]
    np.testing.assert_allclose(lower.precision, precise.precision / 2, rtol=1e-6)
    assert not lower.learn_precision
    model = dg.compose(machines)
    np.testing.assert_allclose(model.visible.precision, precise.precision, rtol=1e-6)
    assert_same_bits(model.visible.bias, lower.bias)
    assert model.visible.learn_precision
    again = dg.compose(machines, layers=[precise, dg.Binary(3), dg.Binary(2)])
    assert not again.visible.learn_precision
    assert_same_parameters(again, model)
    labels = [dg.Softmax(2, 4), dg.Binary(3), dg.Softmax(3, 6)]
    machines = random_machines(labels)
    model = dg.compose(machines)
    assert [type(units) for units in model.layers] == [dg.Softmax, dg.Binary, dg.Softmax]
    assert [m.layers[s].n_copies for m in machines for s in (0, 1)] == [1, 1, 1, 1]


def test_two_gaussian_copies_are_one_layer_of_half_the_precision():
    """Would catch a doubled mean with the variance of one copy, or of two equal ones."""
    own = dg.Gaussian(bias=[1.0, -2.0], log_precision=[0.3, 1.0])
    pair = tied_copies([own, dg.Binary(3), dg.Binary(2)])[0]
    field = np.array([[0.7, -1.5]])
    np.testing.assert_allclose(pair[0].mean(field), 2 * own.mean(field), rtol=1e-6)
    np.testing.assert_allclose(1 / pair[0].precision, 2 / own.precision, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m: [], ValueError, "at least one machine"),
        (lambda m: m[:1] * 2, ValueError, "4 visible units, but the one below has 3 hidden ones"),
        (lambda m: [m[0], m[1].layers], TypeError, "machines.1."),
        (lambda m: m[0], TypeError, "machines must be a sequence"),
        (lambda m: m[:1], ValueError, "must have 1 tied copies of its visible units, got 2"),
        (lambda m: [m[0], m[1].replace(layers=[dg.Gaussian(3), m[1].layers[1]])], ValueError,
         "must have binary visible units"),
        (lambda m: [m[0].replace(layers=[dg.Binary(4), m[0].layers[1]]), m[1]], ValueError,
         r"train it with dg.Binary\(4, n_copies=2\) and rows times two"),
    ],
)  # fmt: skip
def test_machines_that_were_not_trained_for_it_are_refused(make, error, message):
    """Would catch a model whose fields are silently twice or half of what was learned."""
    with pytest.raises(error, match=message):
        dg.compose(make(random_machines(own_layers(4, 3, 2))))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([dg.Binary(3)], "at least two layers"),
        ([dg.Binary(3), dg.Gaussian(2), dg.Binary(2)], r"layers\[1\] must be dg.Binary of one"),
        ([dg.Binary(3), dg.Binary(2, n_copies=2), dg.Binary(2)], r"layers\[1\] must be dg.Binary"),
        ([dg.Binary(3, n_copies=2), dg.Binary(2)], r"layers\[0\] must have a size and one copy"),
        ([dg.Binary(), dg.Binary(2), dg.Binary(2)], r"layers\[0\] must have a size"),
    ],
)
def test_layers_that_have_no_tied_copies_are_refused(layers, message):
    """Would catch copies of copies, or an inner layer that two machines cannot share."""
    with pytest.raises(ValueError, match=message):
        tied_copies(layers)


def test_layers_of_another_model_are_refused():
    """Would catch options of one layer that go to another."""
    with pytest.raises(ValueError, match="layers must be those of the machines"):
        dg.compose(random_machines(own_layers(4, 3, 2)), layers=own_layers(4, 3, 3))


# --- rows times two ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["bytes", "bool", "floats", "csr", "batches"])
def test_doubled_rows_are_twice_the_rows_in_their_form(form, rows):
    """Would catch bytes that become floats, CSR that becomes dense, another order or cut."""
    X = {"bool": rows.astype(bool), "floats": 0.5 * rows.astype(np.float32),
         "csr": sparse.csr_array(rows.astype(np.float32))}.get(form, rows)  # fmt: skip
    plain = IterableRows([X[:60], X[60:]]) if form == "batches" else ArrayRows(X)
    twice = DoubledRows(plain)
    assert (twice.n_columns, twice.n_rows) == (12, plain.n_rows)
    for one, other in (
        (plain.pieces(), twice.pieces()),
        (plain.batches(50, Stream(1), skip=1), twice.batches(50, Stream(1), skip=1)),
    ):  # fmt: skip
        for x, y in zip(rows_of(one), rows_of(other), strict=True):
            assert type(x) is type(y)
            assert dense(x).dtype == dense(y).dtype
            np.testing.assert_array_equal(2.0 * dense(x), dense(y))


def test_bytes_that_no_unit_takes_do_not_become_states():
    """Would catch 128 + 128 = 0."""
    rows = DoubledRows(ArrayRows(np.array([[128, 255, 1]], np.uint8)))
    (piece,) = rows_of(rows.pieces())
    with pytest.raises(ValueError, match=r"values in \[0, 2\]"):
        dg.Binary(3, n_copies=2).check(piece)


# --- the stack that learns them ---------------------------------------------------------------


def trained_by_hand(data, pair, settings, seed, factor, n_rows=130):
    """A machine of a stack with tied copies, without StackTrainer."""
    stream = Stream.from_random_state(seed)
    model = first_machine(*pair, survey(data, pair[0]), stream)
    trainer = Trainer(
        model, settings.rule, settings.optimizer, dg.Linear(factor * 0.2, 0.0), stream=stream,
        batch_size=settings.batch_size, binarize=settings.binarize,
    )  # fmt: skip
    trainer.fit(data, settings.n_epochs, n_rows)
    return trainer.model()


@pytest.mark.parametrize("features", ["means", "samples"])
def test_a_stack_with_tied_copies_equals_its_machines_trained_by_hand(features, rows):
    """Would catch other copies, features of two copies, rows that are not doubled, moments of
    single rows, or rates that do not know the copies."""
    settings = Pretraining(n_epochs=2, batch_size=50, rule=dg.PCD(), features=features)
    layers = own_layers(*SIZES)
    stack = pretrain(ArrayRows(rows), layers, settings, random_state=7, tied=True)
    data = ArrayRows(2 * rows)
    for l, pair in enumerate(tied_copies(layers)):
        factor = (1 / 2, 1 / 4, 1 / 2)[l]
        own = trained_by_hand(data, pair, settings, dg.child_seed(7, l), factor)
        assert_same_models([stack[l]], [own])
        assert [u.n_copies for u in stack[l].layers] == [u.n_copies for u in pair]
        up = own.replace(layers=[own.layers[0], dg.Binary(bias=own.layers[1].bias)])
        features_up = FeatureRows(data, up, l, drawn=features == "samples")
        if features == "means":
            features_up = ArrayRows(np.concatenate(list(rows_of(features_up.pieces()))))
        data = DoubledRows(features_up) if l == 0 else features_up


def test_drawn_features_are_states_of_one_copy(rows):
    """Would catch a machine that reads sums of two independent copies: 1 for "half on"."""
    run = StackTrainer(
        ArrayRows(rows), own_layers(12, 8, 7, 6, 5), Pretraining(1, features="samples"),
        random_state=0, tied=True,
    )  # fmt: skip
    run.fit()
    assert set(np.unique(np.concatenate(list(rows_of(run._data.pieces()))))) == {0, 1}
    assert set(np.unique(np.concatenate(list(rows_of(run._data.rows.pieces()))))) == {0, 2}


@pytest.mark.parametrize("batches", [False, True])
def test_streamed_features_equal_kept_ones(batches, rows, monkeypatch):
    """Would catch doubled rows that a stream cuts, orders or draws in another way."""
    data = IterableRows([rows[:60], rows[60:]]) if batches else ArrayRows(rows)
    settings, layers = Pretraining(n_epochs=2, batch_size=50), own_layers(*SIZES)
    kept = StackTrainer(data, layers, settings, random_state=1, tied=True)
    kept.fit()
    assert isinstance(kept._data, FeatureRows if batches else ArrayRows)
    monkeypatch.setattr("deepgen.rows.sources.KEEP_BYTES", 0)
    streamed = pretrain(data, layers, settings, random_state=1, tied=True)
    assert_same_models(kept.stack(), streamed)


@pytest.mark.parametrize("features", ["means", "samples"])
@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("update", [4, 6])  # inside the second epoch, and at its end
@pytest.mark.parametrize("grey", [False, True])
def test_a_stack_with_tied_copies_resumes_with_the_same_bits(
    layer, update, features, grey, rows, tmp_path
):
    """Would catch copies, doubled rows or drawn bits that a checkpoint forgets."""
    X = (0.2 + 0.6 * rows).astype(np.float32) if grey else rows
    settings = Pretraining(
        n_epochs=2, rule=dg.PCD(), batch_size=50, features=features, binarize=grey
    )
    layers = own_layers(*SIZES)
    whole = StackTrainer(ArrayRows(X), layers, settings, random_state=3, tied=True)
    whole.fit()
    stopped = StackTrainer(ArrayRows(X), layers, settings, random_state=3, tied=True)
    stopped.attach([dg.Checkpoint(tmp_path / "run"), At(fail, layer=layer, update=update)])
    with pytest.raises(Stop):
        stopped.fit()
    frame, state = checkpoints.load(tmp_path / "run")
    other = StackTrainer(ArrayRows(X), layers, settings, random_state=3, tied=True)
    other.restore({"stack": frame["stack"], "trainer": state})
    other.fit()
    assert_same_models(whole.stack(), other.stack())
    assert_same_bits(whole.particles[0], other.particles[0])
    untied = StackTrainer(ArrayRows(X), layers, settings, random_state=3)
    if layer:
        with pytest.raises(ValueError, match="none of this stack"):
            untied.restore({"stack": frame["stack"], "trainer": state})


def test_grey_pixels_are_drawn_once_for_both_copies_and_not_for_upper_machines(rows):
    """Would catch copies of a pixel that differ, draws that repeat, and features of drawn bits."""
    X = (0.2 + 0.6 * rows).astype(np.float32)
    settings = Pretraining(n_epochs=1, batch_size=130, binarize=True)
    run = StackTrainer(ArrayRows(X), own_layers(*SIZES), settings, random_state=0, tied=True)
    trainer = run.trainer

    def drawn_at(update):
        return trainer._binarized(Batch((2 * X,)), Stream(0, update)).states[0]

    drawn = drawn_at(0)
    assert drawn.dtype == np.uint8
    assert set(np.unique(drawn)) == {0, 2}
    uniforms = Stream(trainer.stream.child("binarize").key, 0).uniform(130, 12, BINARIZE)
    np.testing.assert_array_equal(drawn, 2 * (uniforms < X))
    assert (drawn_at(1) != drawn).any()
    run.fit()
    assert not run.trainer.binarize
    lower, middle = run.machines
    grey = stack_features([lower], 2 * X)
    up = middle.replace(layers=[middle.layers[0], middle.layers[1].untied(2)])
    found = np.concatenate(list(rows_of(run._data.pieces())))
    assert_same_bits(found, stack_features([up], 2 * grey))


@pytest.mark.parametrize("tied", [False, True])
def test_bits_are_drawn_in_stacks_and_streams_of_all_kinds(tied, rows):
    """Would catch `binarize` that is taken and not acted on: grey rows as means learn otherwise."""
    X = (0.2 + 0.6 * rows).astype(np.float32)
    layers = own_layers(12, 8, 7)
    stacks = [
        pretrain(ArrayRows(X), layers, Pretraining(1, binarize=b), random_state=0, tied=tied)
        for b in (False, True)
    ]
    assert (stacks[0][0].weights[0] != stacks[1][0].weights[0]).any()
    run = StackStream.begin(ArrayRows(X), layers, [Pretraining(binarize=True)] * 2, random_state=0)
    assert [trainer.binarize for trainer in run.trainers] == [True, False]


def test_gaussian_precision_is_half_of_the_data_and_stays():
    """Would catch a precision that follows the doubled rows, whose variance is four times that of
    a row, or a bias for the mean of single rows."""
    X = np.random.default_rng(0).normal(3.0, [0.5, 1.0, 2.0, 1.0], (130, 4)).astype(np.float32)
    layers = own_layers(4, 5, 3, visible=dg.Gaussian(4))
    starts = StackTrainer(ArrayRows(X), layers, Pretraining(3), random_state=0, tied=True)
    start = starts.trainer.model().visible
    np.testing.assert_allclose(1 / start.precision, 2 * X.var(axis=0), rtol=1e-4)
    np.testing.assert_allclose(start.bias / start.precision, 2 * X.mean(axis=0), rtol=1e-4)
    starts.fit()
    assert_same_bits(starts.machines[0].visible.log_precision, start.log_precision)
    model = dg.compose(starts.stack(), layers=layers)
    np.testing.assert_allclose(1 / model.visible.precision, X.var(axis=0), rtol=1e-4)
    assert model.visible.learn_precision


def test_callbacks_that_watch_rows_leave_machines_of_copies_out(rows):
    """Would catch rows of single copies that are judged by a machine of two."""
    run = StackTrainer(
        ArrayRows(rows), own_layers(*SIZES), Pretraining(1), random_state=0, tied=True
    )
    run.attach([dg.LikelihoodMonitor(rows[:20], n_chains=5, n_steps=2)])
    run.fit()
    assert [entry["layer"] for entry in run.history] == [0, 1, 2]
    assert not any("log_likelihood" in entry for entry in run.history)


@pytest.mark.parametrize(
    ("layers", "settings", "message"),
    [
        (own_layers(12, 8, 12), Pretraining(transposed=True), "transposed is the start"),
        (own_layers(12, 8, 6, visible=dg.Gaussian(12)), Pretraining(binarize=True),
         "binarize needs binary visible units"),
        ([dg.Binary(12), dg.Gaussian(4), dg.Binary(3)], Pretraining(), r"layers\[1\] must be"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_tied_copies_is_refused(layers, settings, message, rows):
    """Would catch a start or a draw that is silently left out."""
    with pytest.raises(ValueError, match=message):
        StackTrainer(ArrayRows(rows), layers, settings, tied=True)


@pytest.mark.parametrize("sizes", [(9, 8, 5), (9, 6, 5, 4)])
def test_greedy_training_raises_the_exact_likelihood_of_the_composed_model(sizes):
    """Would catch copies in the wrong places, or a composition that breaks what was learned: by
    2.5 nats and more above independent pixels (-6.24; the best model has -2.64)."""
    patterns = bars_and_stripes(3)
    X = np.repeat(patterns, 20, axis=0)
    settings = Pretraining(
        40, rule=dg.PCD(), batch_size=20, learning_rate=dg.Linear(0.3, 0.0)
    )
    layers = own_layers(*sizes)
    model = dg.compose(pretrain(ArrayRows(X), layers, settings, random_state=0, tied=True))
    p = X.mean(axis=0)
    independent = (patterns * np.log(p) + (1 - patterns) * np.log(1 - p)).sum(axis=1).mean()
    assert dg.exact_log_likelihood(model, patterns).mean() > independent + 2.5
    assert [w.shape for w in model.weights] == list(pairwise(sizes))
