"""Fixed-point weights: sums of whole numbers that are exact, and where they are used."""

import os
import pickle
import subprocess
import sys
from itertools import pairwise

import exact
import numpy as np
import pytest
import reference
from conftest import (
    FIVE_SIGMA,
    FLOAT32_ROUNDING,
    assert_float32_close,
    assert_same_bits,
    bars_and_stripes,
    in_form,
    random_model,
    random_states,
    twin,
)
from deepgen._kernels import engine

import deepgen as dg
from deepgen.inference.gibbs import update_layer
from deepgen.layers.passes import Outputs, Site, conditional_pass
from deepgen.learning.machines import Trainer
from deepgen.models.parameters import Parameters
from deepgen.rows.batch import Batch
from deepgen.rows.sources import ArrayRows
from deepgen.rows.states import as_states
from deepgen.runtime.precision import pack, pack_exactly, rounded
from deepgen.runtime.stream import DATA
from deepgen.runtime.work import Work

pytestmark = pytest.mark.usefixtures("serial")

SITE = Site(dg.Stream(0x0123456789ABCDEF, 5), DATA, first_row=11)
WORK = 10**9  # of a pass that is large enough for threads

# kinds and sizes of the layers, which of them is updated, columns of softmax groups, copies, rows
SHAPES = [
    (("binary", "binary"), (1, 1), 1, 1, 1, 1),
    (("binary", "binary"), (1, 65), 1, 1, 1, 5),
    (("binary", "binary"), (65, 1), 0, 1, 1, 5),
    (("binary", "binary"), (33, 129), 1, 1, 1, 300),
    (("binary", "binary"), (257, 66), 0, 1, 1, 131),
    (("binary", "binary"), (40, 35), 1, 1, 1, 1_000),
    (("copies", "binary"), (31, 33), 1, 1, 2, 140),
    (("binary", "copies"), (63, 34), 1, 1, 3, 140),
    (("copies", "copies"), (70, 130), 0, 1, 8, 20),
    (("softmax", "binary"), (65, 33), 1, 5, 1, 140),
    (("binary", "softmax"), (33, 65), 1, 5, 1, 140),
    (("softmax", "copies"), (80, 33), 0, 40, 2, 35),
    (("binary", "binary", "copies"), (33, 40, 65), 1, 1, 2, 140),
    (("softmax", "copies", "binary"), (66, 33, 7), 1, 3, 3, 35),
]


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch):
    """Begin with the default precision, and leave it behind."""
    monkeypatch.delenv("DEEPGEN_PRECISION", raising=False)
    dg.set_precision(None)
    yield
    dg.set_precision(None)


def on_grid(model):
    """The model with weights that are packed exactly."""
    pairs = zip(pairwise(model.layers), model.weights, strict=True)
    return model.replace(weights=[rounded(*pair, w) for pair, w in pairs])


def is_packed(model):
    """Whether fixed-point sums stand for all weights of a model."""
    pairs = zip(pairwise(model.layers), model.weights, strict=True)
    return all(pack_exactly(*pair, w) is not None for pair, w in pairs)


def make_case(shape, seed=1, density=0.5):
    """A model on the grid, states of all layers, and the layer to update."""
    kinds, sizes, layer, group, n_copies, n_rows = shape
    model = on_grid(random_model(kinds, seed, sizes, 0.3, group=group, n_copies=n_copies))
    rng = np.random.default_rng(seed)
    states = [random_states(units, n_rows, rng) for units in model.layers]
    return model, [x * (rng.random(x.shape) < density) for x in states], layer


def run_pass(chain_of, states, layer, n_threads=1):
    """Mean, draw and log normalizer of one layer, for a model."""
    states = [as_states(x) for x in states]
    means, draws = update_layer(chain_of, layer, states, mean=True, site=SITE,
                                work=Work(n_threads=n_threads))
    normalizer = np.zeros(len(means))
    conditional_pass(chain_of.chain, layer, states, Outputs(log_normalizer=normalizer),
                     work=Work(n_threads=n_threads))  # fmt: skip
    return means, draws, normalizer


def assert_same_pass(one, other):
    """Fail unless means, draws and log normalizers have the same bits."""
    for x, y in zip(one, other, strict=True):
        assert_same_bits(x, y)


def twin_field(model, states, layer):
    """The field of a layer by sums of integers: the same float32."""
    parts = []
    if layer > 0:
        parts.append((states[layer - 1], *reference.grid(model.weights[layer - 1])))
    if layer + 1 < model.n_layers:
        numbers, scale = reference.grid(model.weights[layer])
        parts.append((states[layer + 1], numbers.T, scale))
    return reference.fixed_point_field(model.layers[layer].bias, parts)


def test_passes_have_work_for_sixteen_cores():
    """Catches tiles of rows that leave cores idle: 100 rows of 784 or 500 units are few."""
    model = random_model(("binary", "binary"), 1, (784, 500))
    chain = Parameters(model, packed=True).chain
    assert min(engine.conditional_tasks(chain, l, 100, 16) for l in (0, 1)) >= 48
    assert engine.conditional_tasks(chain, 1, 100, 1) == 16


# ------------------------------------------------------------------------------- the sums


@pytest.mark.parametrize("density", [0.05, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fields_are_the_integer_twin(shape, density, backend):
    """Catches a sum that misses a term, wraps around, or is rounded more than once."""
    model, states, layer = make_case(shape, density=density)
    assert is_packed(model)
    means, _, _ = run_pass(model, states, layer)
    field = twin_field(model, states, layer)
    units = model.layers[layer]
    if isinstance(units, dg.Softmax):
        expected = reference.row_softmax(field, units.group)
        n_roundings = 16 + units.group
        assert_float32_close(means, expected, np.abs(field), 0, n_roundings=n_roundings)
        return
    expected = np.empty(field.size, np.float32)
    engine.elementwise("logistic", field.reshape(-1), expected)
    assert_same_bits(means, expected.reshape(field.shape) * np.float32(units.n_copies))


@pytest.mark.parametrize("density", [0.05, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_same_bits_for_every_back_end_form_and_number_of_threads(
    shape, density, restored_backend, threaded
):
    """Catches an instruction set, a form of the rows or a thread that sums something else."""
    model, states, layer = make_case(shape, density=density)
    expected = run_pass(model, states, layer)
    for name in engine.available_backends():
        restored_backend(name)
        for n_threads in (1, 2, 5, 8):
            assert_same_pass(run_pass(model, states, layer, n_threads), expected)
        for form in ("floats", "csr"):
            assert_same_pass(run_pass(model, [in_form(x, form) for x in states], layer), expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_stay_exact(sign, backend):
    """Catches an overflow of int32: 65,528 states that all meet the largest number."""
    layers = [dg.Binary(8_191, n_copies=8), dg.Binary(2)]
    model = dg.BoltzmannMachine(layers, [np.full((8_191, 2), sign * 32767 * 2.0**-30)])
    states = [np.full((3, 8_191), 8, np.uint8), np.zeros((3, 2), np.uint8)]
    assert is_packed(model)
    field = twin_field(model, states, 1)
    np.testing.assert_array_equal(field, np.float32(sign * 65_528 * 32_767) * np.float32(2.0**-30))
    expected = np.empty(field.size, np.float32)
    engine.elementwise("logistic", field.reshape(-1), expected)
    assert_same_bits(run_pass(model, states, 1)[0], expected.reshape(field.shape))


def test_layers_whose_sums_could_overflow_are_not_packed():
    """Catches a limit that is one unit off, on either side of a matrix."""
    one = dg.Binary(1)
    for fits, wide in ((dg.Binary(65_535), dg.Binary(65_536)),
                       (dg.Binary(8_191, n_copies=8), dg.Binary(8_192, n_copies=8))):
        for units in (fits, wide):
            weights = np.ones((units.size, 1), np.float32)
            packed = (pack(units, one, weights), pack(one, units, weights.T.copy()))
            assert [form is not None for form in packed] == [units is fits] * 2
    assert pack(dg.Gaussian(1), one, np.ones((1, 1), np.float32)) is None


@pytest.mark.parametrize("shape", [SHAPES[3], SHAPES[6], SHAPES[9], SHAPES[12]], ids=str)
def test_rows_among_grey_ones_have_the_bits_they_have_alone(shape, backend):
    """Catches a batch that leaves the integers because one of its rows is grey."""
    model, states, layer = make_case(shape)
    rng = np.random.default_rng(2)
    states = [x.astype(np.float32) for x in states]
    for below, x in enumerate(states):
        if below != layer:
            grey = rng.random(len(x)) < 0.4
            x[grey] = rng.random((grey.sum(), x.shape[1]))
    whole = run_pass(model, states, layer)
    for row in range(0, len(states[0]), 7):
        alone = [x[row : row + 1] for x in states]
        for one, other in zip(run_pass_of_row(model, alone, layer, row), whole, strict=True):
            assert_same_bits(one, other[row : row + 1])


def run_pass_of_row(model, states, layer, row):
    """What :func:`run_pass` finds for one row of a call, in a call of its own."""
    states = [as_states(x) for x in states]
    site = SITE._replace(first_row=SITE.first_row + row)
    means, draws = update_layer(model, layer, states, mean=True, site=site, work=Work(n_threads=1))
    normalizer = np.zeros(1)
    conditional_pass(model.chain, layer, states, Outputs(log_normalizer=normalizer))
    return means, draws, normalizer


# ------------------------------------------------------------------------------- the grid


def exponent_of(weights):
    """The exponent of the packed form of a matrix."""
    form = pack(dg.Binary(len(weights)), dg.Binary(1), np.array(weights, np.float32)[:, None])
    return int(np.log2(form.scale))


@pytest.mark.parametrize("exponent", [-126, -125, -60, -15, 0, 40, 113])
def test_the_exponent_is_the_least_that_reaches_the_largest_weight(exponent):
    """Catches an exponent that is one off where the largest number is exactly 32767, or beyond."""
    largest = np.ldexp(np.float32(32767), exponent)
    assert exponent_of([largest, -largest]) == exponent
    beyond = np.nextafter(largest, np.float32(np.inf))
    assert exponent_of([0.0, -beyond]) == min(exponent + 1, 113)  # at 114 a weight could be inf
    for weights in ([largest, 0.0], [beyond, 0.0], [-largest, beyond]):
        assert 2.0 ** exponent_of(weights) == reference.grid(weights)[1]


@pytest.mark.parametrize("weights", [[0.0, -0.0], [1e-45, 0.0], [-1e-40, 2e-42], [1e-38, 1e-36]])
def test_the_least_weights_have_the_least_exponent(weights):
    """Catches a scale that is denormal or zero, whose inverse is infinite."""
    assert exponent_of(weights) == -126
    found = np.array(weights, np.float32)
    engine.round_weights(found, 1)
    np.testing.assert_array_equal(found, np.rint(found / 2.0**-126) * 2.0**-126)


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 0.01, 0.3, 7.0, 1e30])
def test_rounding_moves_a_weight_by_half_a_step_and_only_once(scale, backend):
    """Catches truncation, a grid of its own for each tile, and rounding that goes on and on."""
    rng = np.random.default_rng(3)
    weights = (scale * rng.standard_normal((257, 131))).astype(np.float32)
    numbers, step = reference.grid(weights)
    found = weights.copy()
    changed = engine.round_weights(found, 2)
    assert changed == (found != weights).sum()
    np.testing.assert_array_equal(found, (numbers * step).astype(np.float32))
    assert np.abs(found.astype(np.float64) - weights).max() <= step / 2
    again = found.copy()
    assert engine.round_weights(again, 1) == 0
    assert_same_bits(again, found)


def test_ties_go_to_even_numbers(backend):
    """Catches ties that all go up: weights that were rounded before would drift."""
    weights = np.array([32767.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5], np.float32)
    engine.round_weights(weights, 1)
    np.testing.assert_array_equal(weights, [32767, 0, 2, 2, 0, -2, -2])


# --------------------------------------------------------------- which weights a model uses


@pytest.mark.parametrize("shape", [SHAPES[3], SHAPES[9], SHAPES[12]], ids=str)
def test_a_model_off_the_grid_has_the_bits_of_float32(shape):
    """Catches rounded weights behind the back of a model that was not trained with them."""
    kinds, sizes, layer, group, n_copies, _ = shape
    model = random_model(kinds, 1, sizes, 0.3, group=group, n_copies=n_copies)
    _, states, _ = make_case(shape)
    assert not is_packed(model)
    found = run_pass(model, states, layer)
    dg.set_precision("float32")
    assert_same_pass(run_pass(model, states, layer), found)


@pytest.mark.parametrize("shape", [SHAPES[3], SHAPES[7], SHAPES[12]], ids=str)
def test_a_model_on_the_grid_agrees_with_float32_to_rounding(shape):
    """Catches a packed path that is never taken, and one with other weights than the model's."""
    model, states, layer = make_case(shape)
    means, _, _ = run_pass(model, states, layer)
    dg.set_precision("float32")
    floats, _, _ = run_pass(model, states, layer)
    assert not is_packed(model)
    assert (means != floats).any()
    layers, weights = twin(model)
    sizes = [reference.Layer("binary", np.abs(one.bias)) for one in layers]
    terms = reference.field(sizes, [np.abs(w) for w in weights], states, layer)
    n_terms = sum(model.layers[l].size for l in (layer - 1, layer + 1) if 0 <= l < len(layers))
    slope = model.layers[layer].n_copies
    assert_float32_close(means, floats, terms, 2 * n_terms, slope, 64)


# ------------------------------------------------------------------------------- training


def trainer_for(model, optimizer, rule=None, **options):
    """A run from this model, at a rate that moves the largest weight through several scales."""
    return Trainer(model, rule or dg.CD(), optimizer, dg.Constant(options.pop("rate", 4.0)),
                   stream=dg.Stream(7), **options)  # fmt: skip


def assert_packed_is_new(parameters):
    """Fail where passes read other weights than the packed form of those of now."""
    model, rng = parameters.model, np.random.default_rng(5)
    states = [as_states(random_states(units, 9, rng)) for units in model.layers]
    layers = [(*units.kernel_layer()[:3], bias, None)
              for units, bias in zip(model.layers, parameters.biases, strict=True)]
    copies = [w.copy() for w in parameters.weights]
    pairs = list(zip(pairwise(model.layers), copies, strict=True))
    anew = engine.Chain(layers, copies, [pack(*pair, w) for pair, w in pairs])
    floats = engine.Chain(layers, copies, [None] * len(copies))
    differs = False
    for layer, units in enumerate(model.layers):
        found = np.empty((3, 9, units.size), np.float32)
        for mean, chain in zip(found, (parameters.chain, anew, floats), strict=True):
            conditional_pass(chain, layer, states, Outputs(mean=mean))
        assert_same_bits(found[0], found[1])
        differs |= (found[0] != found[2]).any()
    assert differs, "the packed form was not read at all"


OPTIMIZERS = [dg.SGD(momentum=0.5), dg.SGD(averaging=0.5), dg.Adam()]
STALE = [
    (("binary", "binary"), (33, 70), dg.CD()),
    (("softmax", "binary"), (66, 9), dg.PCD(n_particles=20)),
    (("binary", "copies", "binary"), (40, 34, 33), dg.MeanFieldPCD(n_particles=20)),
]
# first weights and rates with which the largest weight leaves its scale upwards, or downwards
MOVES = [(optimizer, 0.01, 4.0) for optimizer in OPTIMIZERS]
MOVES += [(dg.SGD(weight_decay=0.2), 1.0, 1.0)]


@pytest.mark.parametrize(("optimizer", "size_of_weights", "rate"), MOVES, ids=str)
@pytest.mark.parametrize(("kinds", "sizes", "rule"), STALE, ids=str)
def test_packed_weights_are_those_of_the_last_step(
    kinds, sizes, rule, optimizer, size_of_weights, rate, threaded
):
    """Catches a step, a restore or a copy after which passes read the weights of before."""
    model = random_model(kinds, 4, sizes, scale=size_of_weights)
    X = random_states(model.layers[0], 40, np.random.default_rng(4))
    trainer = trainer_for(model, optimizer, rule, rate=rate, n_threads=2)
    scales, start = [trainer.parameters.packed[0].scale], trainer.parameters.snapshot()
    for update in range(6):
        trainer.step(Batch((X,)), (update + 1) / 6)
        scales.append(trainer.parameters.packed[0].scale)
        assert_packed_is_new(trainer.parameters)
    assert min(scales) < scales[0] if rate == 1.0 else max(scales) > scales[0]
    kept = trainer.state()
    assert_packed_is_new(pickle.loads(pickle.dumps(trainer.parameters)))
    trainer.parameters.restore(start)
    assert_packed_is_new(trainer.parameters)
    resumed = trainer_for(model, optimizer, rule, rate=rate)
    resumed.restore(kept)
    assert_packed_is_new(resumed.parameters)
    resumed.step(Batch((X,)), 1.0)
    assert_packed_is_new(resumed.parameters)


def test_packed_weights_follow_the_instruction_set(restored_backend):
    """Catches a chain that goes on in the layout of another back end."""
    model = random_model(("binary", "binary"), 4, (33, 40))
    parameters = Parameters(model, packed=True)
    for name in engine.available_backends() * 2:
        restored_backend(name)
        assert_packed_is_new(parameters)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_training_ends_on_the_grid(optimizer):
    """Catches a trained model whose passes are not those of its training."""
    model = random_model(("binary", "binary"), 6, (9, 6), scale=0.01)
    trainer = trainer_for(model, optimizer, rate=0.1)
    assert not is_packed(model)
    for update in range(5):
        trainer.step(Batch((bars_and_stripes(3),)), (update + 1) / 5)
        assert is_packed(trainer.model())
    dg.set_precision("float32")
    assert engine.round_weights(trainer.model().weights[0].copy(), 1) == 0  # it began on the grid
    floats = trainer_for(model, optimizer, rate=0.1)
    floats.step(Batch((bars_and_stripes(3),)), 0.2)
    assert engine.round_weights(floats.model().weights[0].copy(), 1) > 0


@pytest.mark.parametrize("setting", ["auto", "float32"])
def test_training_learns_with_either_setting(setting):
    """Catches rounding that keeps small steps from adding up: the exact likelihood tells."""
    dg.set_precision(setting)
    X = bars_and_stripes(3)
    p = X.mean(axis=0)
    layers = [dg.Binary(bias=np.log(p / (1.0 - p))), dg.Binary(16)]
    weights = np.random.default_rng(0).normal(0.0, 0.01, (9, 16))
    trainer = Trainer(dg.BoltzmannMachine(layers, [weights]), dg.PCD(), dg.SGD(),
                      dg.Linear(1.0, 0.0), stream=dg.Stream(0))  # fmt: skip
    trainer.fit(ArrayRows(X), 500, len(X))
    found = dg.exact_log_likelihood(trainer.model(), X).mean()
    independent = (p * np.log(p) + (1.0 - p) * np.log(1.0 - p)).sum()
    best = -np.log(len(X))
    assert independent + 0.7 * (best - independent) < found < best


# ------------------------------------------------------------------- samplers and estimates


@pytest.mark.parametrize("n_sweeps", [1, 16])
@pytest.mark.parametrize(
    ("kinds", "sizes"),
    [(("binary", "binary"), (5, 4)), (("copies", "binary"), (3, 3)),
     (("softmax", "copies"), (6, 2)), (("binary", "copies", "softmax"), (3, 2, 3))],
    ids=str,
)  # fmt: skip
def test_chains_that_start_at_the_target_stay_there(kinds, sizes, n_sweeps):
    """Catches two conditionals of different weights: they have no joint distribution."""
    model = on_grid(random_model(kinds, 1, sizes))
    assert is_packed(model)
    layers, weights = twin(model)
    p = exact.enumerate_states(layers, weights).probabilities
    start = exact.sample(layers, weights, 20_000, np.random.default_rng(1))
    start = dg.Particles([x.astype(np.float32) for x in start])
    found = dg.gibbs(model, start, n_sweeps, random_state=2)
    index = exact.joint_index(layers, found.states)
    floor = exact.monte_carlo_floor(p, len(index))
    distance = exact.total_variation(exact.frequencies(index, len(p)), p)
    assert distance <= min(4.0 * floor, floor + FIVE_SIGMA * 0.5 / np.sqrt(len(index)))


def test_the_bracket_of_a_trained_model_holds_exact_log_z():
    """Catches packed passes that anneal, or weigh chains, by another model than the one given."""
    X = bars_and_stripes(4)
    rbm = dg.RBM(12, n_epochs=300, random_state=0).fit(X)
    assert is_packed(rbm.model_)
    found = dg.log_partition_bracket(
        rbm.model_, n_chains=50, n_betas=100, exact=False, random_state=1
    )
    truth = dg.exact_log_partition(rbm.model_).value
    assert found.lower < found.upper
    # either end is three standard errors away: five are allowed
    wider = 2.0 / 3.0 * (found.upper - found.lower) / 2.0
    assert found.lower - wider <= truth <= found.upper + wider


@pytest.mark.parametrize("n_rows", [0, 1, 30])
def test_free_energies_of_a_model_on_the_grid_equal_the_twin(n_rows):
    """Catches a log normalizer of other weights than those of the draws."""
    model = on_grid(random_model(("binary", "binary"), 8, (33, 20), scale=0.3))
    X = random_states(model.layers[0], n_rows, np.random.default_rng(8))
    layers, weights = twin(model)
    expected = reference.free_energy(layers, weights, X)
    terms = reference.free_energy(
        [reference.Layer("binary", np.abs(layer.bias)) for layer in layers],
        [np.abs(weights[0])], X,
    )  # fmt: skip
    allowed = 64 * FLOAT32_ROUNDING * np.abs(terms)
    assert (np.abs(dg.free_energy(model, X) - expected) <= allowed).all()


# ------------------------------------------------------------------------------ the setting


@pytest.mark.parametrize("bad", ["int8", "", "Auto", 16, True, ["auto"], b"auto"])
def test_other_settings_are_refused(bad):
    """Catches a misspelt setting that is taken for the default, and one that is half set."""
    dg.set_precision("float32")
    with pytest.raises(ValueError, match="precision must be 'auto', 'float32' or None, got "):
        dg.set_precision(bad)
    assert dg.show_config()["precision"] == "float32"


def test_the_configuration_shows_the_setting():
    """Catches a bug report without what decides the bits."""
    assert dg.show_config()["precision"] == "auto"
    for setting in ("float32", "auto"):
        dg.set_precision(setting)
        assert dg.show_config()["precision"] == setting


def test_the_environment_chooses_where_nothing_else_does(monkeypatch):
    """Catches DEEPGEN_PRECISION being ignored, or winning over a call."""
    code = "import deepgen; print(deepgen.show_config()['precision'])"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "DEEPGEN_PRECISION": "float32"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == "float32"
    for wish, expected in (("float32", "float32"), ("auto", "auto"), ("no such", "auto")):
        monkeypatch.setenv("DEEPGEN_PRECISION", wish)
        assert dg.show_config()["precision"] == expected
    monkeypatch.setenv("DEEPGEN_PRECISION", "float32")
    dg.set_precision("auto")
    assert dg.show_config()["precision"] == "auto"


def test_a_run_keeps_the_arithmetic_that_it_began_with():
    """Catches a setting that changes the bits of a run in its middle."""
    model, X = random_model(("binary", "binary"), 6, (9, 6), scale=0.01), bars_and_stripes(3)
    expected = trainer_for(model, dg.SGD())
    expected.fit(ArrayRows(X), 4, len(X))
    changed = trainer_for(model, dg.SGD())
    changed.fit(ArrayRows(X), 2, len(X))
    dg.set_precision("float32")
    changed.fit(ArrayRows(X), 4, len(X))
    for name, array in expected.parameters.learned().items():
        assert_same_bits(array, changed.parameters.learned()[name])
