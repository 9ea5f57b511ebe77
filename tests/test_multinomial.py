"""Multinomial units: counts with a number of draws for each row, and machines of documents."""

import numpy as np
import pytest
import reference
from conftest import assert_same_bits, restored_backend  # noqa: F401
from deepgen._kernels import engine
from scipy import sparse, stats

import deepgen as dg
from deepgen.inference.gibbs import update_layer
from deepgen.layers.context import with_trials
from deepgen.layers.passes import Site
from deepgen.models import Parameters
from deepgen.runtime.work import Work

SIZES = 4, 3
STREAM = dg.Stream(7, 3)


def machine(seed=1, sizes=SIZES, scale=0.6, mean_trials=3.0):
    """A machine of documents, small enough to enumerate."""
    rng = np.random.default_rng(seed)
    words = dg.Multinomial(bias=rng.normal(0.0, scale, sizes[0]), mean_trials=mean_trials)
    topics = dg.Binary(bias=rng.normal(0.0, scale, sizes[1]))
    return dg.BoltzmannMachine([words, topics], [rng.normal(0.0, scale, sizes)])


def parameters_of(model):
    """Weights, visible and hidden biases in float64, for the twins."""
    biases = [layer.bias.astype(np.float64) for layer in model.layers]
    return (model.weights[0].astype(np.float64), *biases)


def log_likelihood(parameters, v):
    """Exact log p of the words of each row in their order, by the twins."""
    lengths = v.sum(axis=1)
    log_z = [reference.replicated_log_partition(*parameters, d) for d in lengths]
    return reference.replicated_log_weight(*parameters, v) - np.array(log_z)


def counts(n_rows, size=SIZES[0], most=6, seed=0):
    """Rows of counts, the first of them empty."""
    rows = np.random.default_rng(seed).integers(0, most, (n_rows, size))
    rows[0] = 0
    return rows


# ------------------------------------------------------------------------------------- the layer


def test_mean_and_draw_of_rows_of_several_lengths_are_those_of_the_twin():
    """Would catch trials of another row, a mean that is not D softmax(f), and uniforms that are
    not in order or belong to another word of the stream."""
    rng = np.random.default_rng(0)
    model, trials = machine(sizes=(70, 3)), np.array([0, 1, 5, 33, 400])
    hidden = rng.integers(0, 2, (5, 3)).astype(np.uint8)
    site = Site(STREAM, 1)
    mean, draw = update_layer(
        model, 0, [None, hidden], context=dg.Context(trials={0: trials}), mean=True, site=site
    )
    weights, bias, _ = parameters_of(model)
    expected = reference.multinomial_mean(bias + hidden @ weights.T, trials)
    np.testing.assert_allclose(mean, expected, rtol=2e-6)
    assert draw.sum(axis=1).tolist() == trials.tolist()
    for row, n in enumerate(trials):
        words = reference.site_words(
            STREAM.key, STREAM.position, 1 << 24, np.array([row]), np.arange(n + 1)
        )
        twin = reference.draw_multinomial(expected[row], n, reference.uniform(words)[0])
        # float32 logarithms move a draw across an edge at the most
        assert np.abs(draw[row] - twin).sum() <= 2


def test_draws_have_the_multinomial_distribution():
    """Would catch spacings that are not uniform, or a last column that gets what is left over."""
    units = dg.Multinomial(3, trials=4)
    field = np.tile(np.float32([0.3, -0.8, 0.9]), (60_000, 1))
    draws = units.sample(field, STREAM)
    states, orders = units.alternatives()
    p = np.exp(orders + states @ field[0] - units.log_normalizer(field[:1]))
    assert p.sum() == pytest.approx(1.0)
    places = {tuple(row): i for i, row in enumerate(states.toarray())}
    seen = np.bincount([places[tuple(row)] for row in draws], minlength=len(p))
    assert stats.chisquare(seen, p / p.sum() * len(draws)).pvalue > 1e-6


@pytest.mark.parametrize("lengths", [(0, 5_000), (5_000, 0, 1, 70)])
def test_lengths_far_apart_share_a_batch(lengths):
    """Would catch a draw of a long document that spoils a short one, or an empty one with words."""
    model = machine(sizes=(300, 3))
    hidden = np.ones((len(lengths), 3), np.uint8)
    context = dg.Context(trials={0: np.array(lengths)})
    _, together = update_layer(model, 0, [None, hidden], context=context, site=Site(STREAM, 1))
    for row, length in enumerate(lengths):
        alone = dg.Context(trials={0: [length]})
        _, draw = update_layer(
            model, 0, [None, hidden[:1]], context=alone, site=Site(STREAM, 1, first_row=row)
        )
        assert_same_bits(draw[0], together[row])
        assert draw.sum() == length


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_every_instruction_set_and_number_of_threads_gives_the_same_bits(
    n_threads, restored_backend, threaded  # noqa: F811
):
    """Would catch sums of exponentials whose order depends on the vectors of an instruction set."""
    model, rng = machine(sizes=(1_003, 6)), np.random.default_rng(0)
    hidden = rng.integers(0, 2, (40, 6)).astype(np.uint8)
    context = dg.Context(trials={0: rng.integers(0, 200, 40)})
    found = []
    for name in engine.available_backends():
        engine.select_backend(name)
        found.append(
            update_layer(
                model, 0, [None, hidden], context=context, mean=True, site=Site(STREAM, 1),
                work=Work(n_threads=n_threads),
            )
        )  # fmt: skip
    for mean, draw in found[1:]:
        assert_same_bits(mean, found[0][0])
        assert_same_bits(draw, found[0][1])


def test_states_tell_how_long_rows_are():
    """Would catch a hidden bias that counts once for a document of many words, and trials that a
    context had being replaced."""
    model, rows = machine(), counts(5)
    for form in (rows.astype(np.float32), rows.astype(np.uint8), sparse.csr_array(rows)):
        states = model.layers[0].states_of(form)
        context = with_trials(model.layers, [states, None])
        assert context.trials[0].tolist() == rows.sum(axis=1).tolist()
        assert context.bias_scale[1].tolist() == rows.sum(axis=1).tolist()
    given = with_trials(model.layers, [states, None], dg.Context(trials={0: [9] * 5}))
    assert given.trials[0].tolist() == given.bias_scale[1].tolist() == [9] * 5


def test_means_given_documents_scale_the_hidden_bias():
    """Would catch the plain hidden bias in mean field, free energy or a pass."""
    model, rows = machine(), counts(6)
    weights, _, hidden_bias = parameters_of(model)
    field = rows @ weights + rows.sum(axis=1)[:, None] * hidden_bias
    expected = reference.logistic(field)
    found = dg.mean_field(model, [rows, None]).means[1]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    energies = -reference.replicated_log_weight(*parameters_of(model), rows)
    np.testing.assert_allclose(dg.free_energy(model, rows), energies, rtol=1e-6)


@pytest.mark.parametrize(("row", "message"), [
    ([0.5, 0, 0, 0], r"whole numbers from 0 on, got 0.5 in row 0, column 0.*TF-IDF"),
    ([-1, 0, 0, 0], r"whole numbers from 0 on, got -1"),
    ([np.nan, 0, 0, 0], "finite"),
    ([2.0**24, 1, 0, 0], "at most 16777216 counts in a row"),
])  # fmt: skip
def test_what_is_no_count_is_refused(row, message):
    """Would catch TF-IDF that is taken for counts, and sums that float32 cannot hold."""
    for form in (np.array([row]), sparse.csr_array(np.array([row]))):
        with pytest.raises(ValueError, match=message):
            dg.free_energy(machine(), form)


def test_rows_of_another_length_are_refused():
    """Would catch a likelihood with the log Z of another length."""
    with pytest.raises(ValueError, match="have 3 counts in each row, got 4"):
        dg.free_energy(machine().of_length(3), [[1, 1, 1, 1]])


# ---------------------------------------------------------------------------- likelihoods


@pytest.mark.parametrize("length", [0, 1, 4])
def test_log_partition_is_that_of_the_twin(length):
    """Would catch a log Z with multinomial coefficients, or of the plain hidden bias."""
    model = machine()
    expected = reference.replicated_log_partition(*parameters_of(model), length)
    found = dg.exact_log_partition(model.of_length(length)).value
    assert found == pytest.approx(expected, rel=1e-12)
    many = machine(sizes=(3, 12))  # its documents are enumerated, not its topics
    expected = reference.replicated_log_partition(*parameters_of(many), length)
    assert dg.exact_log_partition(many.of_length(length)).value == pytest.approx(expected, rel=1e-6)


def test_exact_likelihoods_of_all_orders_sum_to_one():
    """Would catch log p of counts where it should be that of words in one order."""
    model = machine()
    states, orders = model.of_length(4).layers[0].alternatives()
    log_p = dg.exact_log_likelihood(model, states.astype(np.int64))
    assert np.exp(log_p + orders).sum() == pytest.approx(1.0, rel=1e-6)
    rows = counts(7)
    expected = log_likelihood(parameters_of(model), rows)
    np.testing.assert_allclose(dg.exact_log_likelihood(model, rows), expected, atol=1e-5)


@pytest.mark.parametrize("estimate", [dg.ais, dg.log_partition_bracket])
@pytest.mark.parametrize("length", [1, 6, 40])
def test_annealing_holds_the_exact_value(estimate, length):
    """Would catch draws of another number of words on the way, in either direction."""
    model = machine(scale=1.0).of_length(length)
    about = {"exact": False} if estimate is dg.log_partition_bracket else {}
    found = estimate(model, n_chains=200, n_betas=300, random_state=0, **about)
    exact = dg.exact_log_partition(model).value
    assert found.lower <= exact <= found.upper
    assert found.upper - found.lower < 1.0


def test_a_model_of_all_lengths_has_no_one_log_partition():
    """Would catch the log Z of documents of one word given for all."""
    model = machine()
    calls = [
        lambda: dg.ais(model), lambda: dg.exact_log_partition(model),
        lambda: dg.log_partition_bracket(model),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match=r"model\.of_length"):
            call()
    with pytest.raises(ValueError, match="rows of several lengths"):
        dg.log_partition_by_length(model.of_length(3), [3])


@pytest.mark.parametrize("scale", [0.3, 1.5])
def test_the_curve_over_lengths_holds_exact_values(scale):
    """Would catch a curve through the wrong lengths, an error of it that is left out, and a value
    that changes with the longest document."""
    model, lengths = machine(scale=scale, sizes=(30, 6)), np.array([0, 1, 2, 6, 17, 40, 99, 300])
    curve = dg.log_partition_by_length(model, lengths)
    assert {bracket.method for bracket in curve.brackets} == {"exact"}
    exact = [reference.replicated_log_partition(*parameters_of(model), d) for d in lengths]
    assert (curve.lower(lengths) - 1e-6 <= exact).all()
    assert (exact <= curve.upper(lengths) + 1e-6).all()
    np.testing.assert_allclose(curve.value(lengths), exact, atol=0.02 * 300)
    short = dg.log_partition_by_length(model, lengths[:6])
    assert_same_bits(short.value(lengths[:6]), curve.value(lengths[:6]))
    with pytest.raises(ValueError, match="lengths must be at most"):
        short.value([10_000])


# ------------------------------------------------------------------------------- learning


def test_persistent_chains_have_the_lengths_of_the_data():
    """Would catch chains of one length against documents of all lengths."""
    model, rows = machine(), counts(9)
    for n_particles in (9, 27, 3):
        rule = dg.PCD(n_particles=n_particles)
        state = rule.start(Parameters(model), STREAM, rows=rows.astype(np.float32))
        found = state.particles[0].sum(axis=1)
        quantiles = np.sort(rows.sum(axis=1))
        wanted = quantiles[1::3] if n_particles == 3 else np.repeat(quantiles, n_particles // 9)
        assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("form", [sparse.csr_array, np.asarray])
def test_learning_gives_the_same_bits_for_threads_and_forms(form, threaded):
    """Would catch counts that lose bits as CSR, or sums that follow the threads."""
    rows, found = counts(300, size=60, seed=3), []
    for n_threads in (1, 2, 3):
        model = dg.ReplicatedSoftmax(7, n_epochs=2, random_state=0, n_threads=n_threads)
        found.append(model.fit(form(rows)).model_.weights[0])
    assert_same_bits(found[0], found[1])
    assert_same_bits(found[0], found[2])


def test_single_counts_are_not_held():
    """Would catch a row that gets all its draws beside counts that stay: too many in all."""
    model = machine()
    hidden = np.zeros((2, model.layers[1].size), np.uint8)
    states = np.ones((2, model.layers[0].size), np.float32)
    held = np.zeros(states.shape, np.uint8)
    held[0] = 1
    options = {"site": Site(STREAM, 1)}
    trials = {0: states.sum(axis=1).astype(np.int64)}
    whole = dg.Context(held={0: held}, trials=trials)
    _, draw = update_layer(model, 0, [states, hidden], context=whole, **options)
    assert (draw[0] == 1.0).all()
    held[1, 0] = 1
    with pytest.raises(ValueError, match=r"held\[0\] must hold all counts of a row or none"):
        update_layer(
            model, 0, [states, hidden], context=dg.Context(held={0: held}, trials=trials), **options
        )
