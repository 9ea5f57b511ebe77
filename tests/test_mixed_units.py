"""Units of several types side by side: each part is what it is alone, and the whole is exact.

Likelihoods and gradients are those of an enumeration of the hidden states in float64, which knows
the parts one by one (`Enumerated`) and nothing of a mixed layer.
"""

from itertools import pairwise

import numpy as np
import pytest
import reference
from conftest import assert_mean, assert_same_bits, random_states, twin_layer
from scipy import sparse

import deepgen as dg
from deepgen.inference.completion import impute
from deepgen.layers.passes import Site
from deepgen.learning.gradients import Phases, named_gradients
from deepgen.learning.machines import Trainer
from deepgen.learning.sums import phase_sums
from deepgen.models import Parameters
from deepgen.rows.batch import Batch
from deepgen.runtime.stream import IMPUTE

N_HIDDEN = 4


def parts_of(name, seed=0):
    """Parts with random parameters, from the first column on."""
    rng = np.random.default_rng(seed)

    def bias(size):
        return rng.normal(0.0, 0.5, size)

    def real(size):
        return dg.Gaussian(bias=bias(size), log_precision=rng.normal(0.0, 0.3, size))

    return {
        "three": lambda: [dg.Binary(bias=bias(3)), dg.Softmax(4, bias=bias(4)), real(2)],
        "table": lambda: [
            dg.Softmax(2, bias=bias(4)), real(1), dg.Softmax(7, bias=bias(7)),
            dg.Binary(bias=bias(1)), dg.Softmax(3, bias=bias(3)), real(2),
            dg.Binary(bias=bias(2), n_copies=3),
        ],
        "wide": lambda: [
            dg.Softmax(5, bias=bias(10)), dg.Binary(bias=bias(70)), dg.Softmax(40, bias=bias(80)),
            real(35), dg.Softmax(3, bias=bias(33)),
        ],
        "discrete": lambda: [dg.Softmax(3, bias=bias(3)), dg.Binary(bias=bias(3)),
                             dg.Softmax(2, bias=bias(2))],
        "alone": lambda: [dg.Binary(bias=bias(70))],
    }[name]()  # fmt: skip


NAMES = ["three", "table", "wide", "discrete"]


def mixed_model(name, seed=0, hidden=None, scale=0.4):
    rng = np.random.default_rng(seed + 1)
    visible = dg.Mixed(parts_of(name, seed))
    hidden = dg.Binary(bias=rng.normal(0.0, 0.5, N_HIDDEN)) if hidden is None else hidden
    weights = rng.normal(0.0, scale, (visible.size, hidden.size))
    return dg.BoltzmannMachine([visible, hidden], [weights])


def rows_of_parts(visible, n_rows, seed=0):
    """Whole states, each unit by itself."""
    rng = np.random.default_rng(seed)
    pieces = [random_states(part, n_rows, rng, missing=False) for part in visible.parts]
    return np.hstack([piece.astype(np.float32) for piece in pieces])


class Enumerated:
    """A machine with a mixed visible layer, its hidden states enumerated, by its parts alone."""

    def __init__(self, model):
        visible, hidden = model.layers
        self.cuts = np.cumsum([0, *[part.size for part in visible.parts]])
        self.twins = [twin_layer(part) for part in visible.parts]
        self.weights = model.weights[0].astype(np.float64)
        self.hidden = twin_layer(hidden)
        self.h = np.array(list(np.ndindex(*(2,) * hidden.size)), np.float64)
        fields = self.h @ self.weights.T
        log_p = self.h @ self.hidden.bias
        mean, square = [], []
        for twin, (first, stop) in zip(self.twins, pairwise(self.cuts), strict=True):
            field = twin.bias + fields[:, first:stop]
            log_p = log_p + reference.log_normalizer(twin, field)
            mean.append(reference.mean(twin, field))
            real = twin.kind == "gaussian"
            square.append(mean[-1] ** 2 + (1.0 / twin.precision if real else 0.0))
        self.log_partition = float(reference.log_sum_exp(log_p))
        self.p = np.exp(log_p - self.log_partition)
        self.mean, self.square = np.hstack(mean), np.hstack(square)

    def parts(self, v):
        return [(twin, v[:, a:b]) for twin, (a, b) in
                zip(self.twins, pairwise(self.cuts), strict=True)]  # fmt: skip

    def log_likelihood(self, v):
        v = v.astype(np.float64)
        own = sum(reference.layer_log_weight(twin, x) for twin, x in self.parts(v))
        field = self.hidden.bias + v @ self.weights
        return own + reference.log_normalizer(self.hidden, field) - self.log_partition

    def expectations(self, v=None):
        """E of v h^T, v, h and -precision v^2 / 2 given rows, or under the model."""
        if v is None:
            p, mean, square, h = self.p, self.mean, self.square, self.h
        else:
            p, mean, square = np.full(len(v), 1.0 / len(v)), v.astype(np.float64), v**2.0
            h = reference.mean(self.hidden, self.hidden.bias + mean @ self.weights)
        precision = np.concatenate([
            twin.precision if twin.kind == "gaussian" else np.zeros(twin.size)
            for twin in self.twins
        ])  # fmt: skip
        return {
            "weights[0]": (p[:, None] * mean).T @ h,
            "layers[0].bias": p @ mean,
            "layers[1].bias": p @ h,
            "layers[0].log_precision": -0.5 * precision * (p @ square),
        }

    def gradient(self, v):
        data, model = self.expectations(v), self.expectations()
        return {name: data[name] - model[name] for name in data}

    def draws(self, n_rows, seed):
        """Joint states drawn exactly, [v, h]."""
        rng = np.random.default_rng(seed)
        h = self.h[rng.choice(len(self.h), n_rows, p=self.p)]
        pieces = []
        for twin, (first, stop) in zip(self.twins, pairwise(self.cuts), strict=True):
            field = twin.bias + h @ self.weights[first:stop].T
            if twin.kind == "gaussian":
                x = reference.draw_gaussian(twin, field, rng.standard_normal(field.shape))
            elif twin.kind == "softmax":
                x = reference.draw_softmax(
                    twin, field, rng.random((n_rows, twin.size // twin.group))
                )
            else:
                x = reference.draw_binary(twin, field, rng.random(field.shape))
            pieces.append(x)
        return [np.hstack(pieces).astype(np.float32), h.astype(np.uint8)]


# ------------------------------------------------------------------------------------- the layer


@pytest.mark.parametrize("name", [*NAMES, "alone"])
def test_each_part_has_the_means_and_normalizers_of_its_own_type(name, backend):
    """Would catch a task of columns that goes over the border of two parts, whatever the widths."""
    units = dg.Mixed(parts_of(name))
    field = np.random.default_rng(1).normal(0.0, 2.0, (300, units.size)).astype(np.float32)
    cuts = np.cumsum([0, *[part.size for part in units.parts]])
    pieces = [field[:, a:b] for a, b in pairwise(cuts)]
    parts = list(zip(units.parts, pieces, strict=True))
    mean = units.mean(field)
    assert_same_bits(mean, np.hstack([part.mean(piece) for part, piece in parts]))
    normalizer = sum(part.log_normalizer(piece) for part, piece in parts)
    np.testing.assert_allclose(units.log_normalizer(field), normalizer, rtol=1e-12)
    np.testing.assert_allclose(
        units.variance(mean), np.hstack([part.variance(part.mean(p)) + 0 * p for part, p in parts])
    )
    assert units.n_sites == sum(part.n_sites for part in units.parts)
    assert units.widths.sum() == units.size


def test_threads_and_pieces_of_rows_change_no_bit(threaded):
    """Would catch a task that writes beyond its columns, and scratch that two threads share."""
    units = dg.Mixed(parts_of("wide"))
    model = mixed_model("wide")
    rows = rows_of_parts(units, 700)
    found = [dg.free_energy(model, rows, n_threads=n) for n in (1, 2, 3)]
    assert_same_bits(found[0], found[1])
    assert_same_bits(found[0], found[2])
    pieces = [dg.free_energy(model, rows[start : start + 90]) for start in range(0, 700, 90)]
    assert_same_bits(found[0], np.concatenate(pieces))
    draws = [
        dg.RBM.from_model(model).set_params(n_threads=n).sample(300, n_sweeps=3, random_state=0)
        for n in (1, 3)
    ]
    assert_same_bits(*draws)


def test_a_mixed_layer_of_one_part_draws_as_the_part():
    """Would catch draws whose random words depend on how columns are cut into tasks."""
    (part,) = parts_of("alone")
    field = np.random.default_rng(1).normal(size=(40, 70)).astype(np.float32)
    draws = dg.Mixed([part]).sample(field, dg.Stream(3))
    assert draws.dtype == np.float32
    np.testing.assert_array_equal(draws, part.sample(field, dg.Stream(3)))


@pytest.mark.parametrize("name", NAMES)
def test_draws_have_the_means_and_no_part_follows_another(name):
    """Would catch parts that share random words: their draws would go together."""
    units = dg.Mixed(parts_of(name))
    n = 20_000
    field = np.zeros((n, units.size), np.float32) + units.bias
    draws = units.sample(field, dg.Stream(5)).astype(np.float64)
    mean = units.mean(field[:1])[0].astype(np.float64)
    assert_mean(draws, mean)
    variance = np.broadcast_to(units.variance(mean[None]), (1, units.size))[0]
    standard = (draws - mean) / np.sqrt(variance)
    part = np.repeat(np.arange(len(units.parts)), [p.size for p in units.parts])
    others = part[:, None] != part[None, :]
    correlation = np.abs(standard.T @ standard / n)[others]
    assert correlation.max() < 6.0 / np.sqrt(n)
    for other in (units.sample(field[:7], dg.Stream(5)), units.sample(field[5:7], dg.Stream(5),
                                                                      first_row=5)):
        assert_same_bits(other[-2:], draws[5:7].astype(np.float32))


def test_parts_are_checked():
    """Would catch parts without a size, parts within parts and vectors that do not fit."""
    for parts in (
        [], [dg.Binary()], [dg.Mixed([dg.Binary(2)])], ["binary"], [dg.Softmax(3)],
        [dg.Multinomial(3)],
    ):  # fmt: skip
        with pytest.raises(ValueError, match="parts must"):
            dg.Mixed(parts)
    with pytest.raises(TypeError, match="parts must be"):
        dg.Mixed(dg.Binary(3))
    with pytest.raises(ValueError, match="bias must have shape"):
        dg.Mixed([dg.Binary(3)], bias=np.zeros(2))
    with pytest.raises(ValueError, match="visible does not fit the 4 columns of X"):
        dg.RBM(2, visible=dg.Mixed([dg.Binary(3)])).fit(np.zeros((9, 4)))


def test_messages_name_the_column_of_the_whole():
    """Would catch a place that is counted from the first column of a part."""
    units = dg.Mixed([dg.Gaussian(2), dg.Softmax(3, size=3), dg.Binary(2)])
    good = np.array([[1.5, -2.0, 0.0, 1.0, 0.0, 1.0, 0.0]] * 3, np.float32)
    for column, value in ((0, np.inf), (3, 2.0), (6, 1.5), (6, -1.0)):
        bad = good.copy()
        bad[1, column] = value
        with pytest.raises(ValueError, match=f"got {value} in row 1, column {column}"):
            units.states_of(bad)
    bad = good.copy()
    bad[2, 2] = 1.0
    with pytest.raises(ValueError, match=r"got 2.0 in row 2; .* columns 0 to 2, .* column 2 on"):
        units.states_of(bad)
    near = good.copy()
    near[0, 5] = np.float32(1.0000001)
    assert units.states_of(near)[0, 5] == 1.0
    assert_same_bits(units.states_of(sparse.csr_array(good)).to_dense(), good)


# -------------------------------------------------------------------------------- exact machines


@pytest.mark.parametrize("name", NAMES)
def test_likelihoods_are_those_of_an_enumeration(name, backend):
    """Would catch a base measure, a precision or a normalizer of the wrong columns."""
    model = mixed_model(name)
    exact = Enumerated(model)
    assert dg.exact_log_partition(model).value == pytest.approx(exact.log_partition, abs=1e-5)
    rows = rows_of_parts(model.layers[0], 50)
    expected = exact.log_likelihood(rows)
    np.testing.assert_allclose(dg.exact_log_likelihood(model, rows), expected, atol=1e-4)
    found = -dg.free_energy(model, rows) - exact.log_partition
    np.testing.assert_allclose(found, expected, atol=1e-3)
    sparse_rows = sparse.csr_array(rows)
    assert_same_bits(dg.free_energy(model, sparse_rows), dg.free_energy(model, rows))


def test_the_visible_side_is_enumerated_where_it_is_smaller():
    """Would catch sites of different widths that are cut as if they had one."""
    model = mixed_model("discrete", hidden=dg.Binary(bias=np.linspace(-1.0, 1.0, 9)))
    assert dg.exact_log_partition(model).value == pytest.approx(
        Enumerated(model).log_partition, abs=1e-5
    )
    more = mixed_model("three", hidden=dg.Binary(bias=np.linspace(-1.0, 1.0, 12)))
    assert dg.exact_log_partition(more).value == pytest.approx(
        Enumerated(more).log_partition, abs=1e-5
    )


def test_a_mixed_layer_is_two_layers_that_share_a_neighbour():
    """Would catch a mixed layer that is another model than its parts around the hidden layer."""
    model = mixed_model("three")
    first, *rest = model.layers[0].parts
    weights = model.weights[0]
    others = dg.Mixed(rest)
    apart = dg.BoltzmannMachine(
        [first, model.layers[1], others], [weights[: first.size], weights[first.size :].T],
        observed=(0, 2),
    )  # fmt: skip
    assert dg.exact_log_partition(apart).value == pytest.approx(
        dg.exact_log_partition(model).value, abs=1e-6
    )


@pytest.mark.parametrize("name", ["three", "table", "discrete"])
def test_annealing_brackets_log_z(name):
    """Would catch a precision or a bias that is tempered in the columns of another type."""
    model = mixed_model(name)
    bracket = dg.log_partition_bracket(model, n_chains=100, n_betas=300, random_state=0)
    rough = dg.ais(model, n_chains=200, n_betas=300, random_state=0)
    exact = Enumerated(model).log_partition
    assert bracket.value == pytest.approx(exact, abs=1e-5)
    assert rough.lower - 0.02 < exact < rough.upper + 0.02
    backward = dg.reverse_ais(
        model, dg.Particles(Enumerated(model).draws(300, 0)), n_betas=300, random_state=0
    )
    assert backward.lower - 0.02 < exact < backward.upper + 0.02


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_the_phases(name):
    """Would catch columns without a precision that learn one, and sums over the wrong columns."""
    model = mixed_model(name)
    exact = Enumerated(model)
    rows = rows_of_parts(model.layers[0], 30)
    parameters = Parameters(model)
    positive = [rows, model.layers[1].mean(model.layers[1].bias + rows @ model.weights[0])]
    v, h = exact.draws(400_000, seed=3)
    phases = Phases(positive, [v, h])
    found = named_gradients(parameters, phases)
    expected = exact.gradient(rows)
    if name == "discrete":
        assert set(found) == set(expected) - {"layers[0].log_precision"}
    errors = {  # standard deviations of single draws, from above
        "weights[0]": np.sqrt((v**2.0).mean(axis=0))[:, None], "layers[0].bias": v.std(axis=0),
        "layers[1].bias": np.ones(N_HIDDEN),
        "layers[0].log_precision": (0.5 * (1.0 + 0.0 * v[0]) * (v**2.0).std(axis=0)) * 3.0,
    }  # fmt: skip
    for key, gradient in found.items():
        off = np.abs(gradient - expected[key])
        assert (off <= 5.5 * errors[key] / np.sqrt(len(v)) + 1e-4).all(), key
    if name != "discrete":
        real = np.concatenate([[p.learn_precision] * p.size for p in model.layers[0].parts])
        assert not found["layers[0].log_precision"][~real].any()
        assert found["layers[0].log_precision"][real].all()
    summed = named_gradients(parameters, phase_sums(parameters, phases))
    for key, gradient in found.items():
        np.testing.assert_allclose(summed[key], gradient, atol=2e-4)


def test_the_expected_update_is_the_exact_gradient():
    """Would catch an update of a part's bias or precision by the numbers of another one.

    The average of one update of PCD, whose particles are exact draws, over many particles.
    """
    model = mixed_model("three")
    exact = Enumerated(model)
    rows = rows_of_parts(model.layers[0], 40)
    rule = dg.PCD(1, n_particles=200_000, centring=False)
    optimizer = dg.SGD(weight_decay=0.0, averaging=0.0)
    trainer = Trainer(model, rule, optimizer, lambda progress: 1e-3, stream=dg.Stream(0))
    for state, drawn in zip(trainer.rule_state.particles.states, exact.draws(200_000, 1),
                            strict=True):  # fmt: skip
        state[...] = drawn
    trainer.rule_state.gains = None
    trainer.step(Batch((rows,)), None)
    after = Parameters(trainer.model()).learned()
    before, gradient = Parameters(model).learned(), exact.gradient(rows)
    gradient["layers[0].log_precision"] *= 0.2  # its share of the rate
    for key in after:
        moved = (after[key].astype(np.float64) - before[key]) / 1e-3
        np.testing.assert_allclose(moved, gradient[key], atol=0.03)
    rest = model.layers[0].log_precision == 0.0
    assert_same_bits(after["layers[0].log_precision"][rest], np.zeros(rest.sum(), np.float32))


def test_which_precisions_are_learned_is_told_by_part():
    """Would catch one real part whose fixed precision moves because another one's is learned."""
    visible = dg.Mixed([dg.Gaussian(2), dg.Gaussian(2, learn_precision=False), dg.Binary(1)])
    rows = np.random.default_rng(0).normal(2.0, 3.0, (200, 5)).astype(np.float32)
    rows[:, 4] = rows[:, 4] > 2.0
    learned = dg.RBM(3, visible=visible, n_epochs=3, random_state=0).fit(rows).model_.layers[0]
    assert (learned.log_precision[:2] < -1.0).all()
    assert_same_bits(learned.log_precision[2:], np.zeros(3, np.float32))
    fixed = visible.with_learned_scale(False)
    assert not fixed.learn_precision
    again = dg.RBM(3, visible=fixed, n_epochs=3, random_state=0).fit(rows).model_.layers[0]
    assert not again.log_precision.any()


@pytest.mark.parametrize("rule", [dg.PCD(n_particles=50), dg.CD(2)], ids=["PCD", "CD"])
def test_a_machine_of_two_layers_learns(rule):
    """Would catch a rule or an optimizer that needs states in bytes, or one kind of units."""
    source = mixed_model("table", scale=1.2)
    rows, held_out = Enumerated(source).draws(3_000, 0)[0], Enumerated(source).draws(2_000, 1)[0]
    visible = dg.Mixed([type(p)(size=p.size, **p.options()) for p in source.layers[0].parts])
    rbm = dg.RBM(8, visible=visible, rule=rule, n_epochs=60, random_state=0).fit(rows)
    true = Enumerated(source).log_likelihood(held_out).mean()
    alone = dg.RBM(1, visible=visible, n_epochs=1, learning_rate=1e-9, random_state=0).fit(rows)
    independent, score = alone.score(held_out), rbm.score(held_out)
    assert independent < score < true + 0.2
    assert score - independent > 0.5 * (true - independent)
    same = dg.RBM(8, visible=visible, rule=rule, n_epochs=60, random_state=0, n_threads=1).fit(rows)
    assert_same_bits(same.model_.weights[0], rbm.model_.weights[0])


@pytest.mark.parametrize("n_sites", [None, 40])
def test_pseudo_likelihood_goes_over_the_sites_of_all_parts(n_sites):
    """Would catch sites of one width, or of the first part alone."""
    model = mixed_model("discrete")
    rows = rows_of_parts(model.layers[0], 30)
    exact, expected = Enumerated(model), np.zeros(30)
    first = 0
    for part in model.layers[0].parts:
        for _ in range(part.n_sites):
            columns = slice(first, first + part.group)
            states = part.alternatives().states.toarray()
            log_p = []
            for state in states:
                changed = rows.copy()
                changed[:, columns] = state
                log_p.append(exact.log_likelihood(changed))
            now = exact.log_likelihood(rows)
            expected += now - reference.log_sum_exp(np.array(log_p).T)
            first += part.group
    found = dg.pseudo_log_likelihood(model, rows, n_sites=n_sites, random_state=0)
    if n_sites is None:
        np.testing.assert_allclose(found, expected, atol=1e-4)
    else:
        assert abs(found.mean() - expected.mean()) < 0.5
    with pytest.raises(ValueError, match="states can be counted"):
        dg.pseudo_log_likelihood(mixed_model("three"), np.zeros((1, 9)))


def test_completions_are_the_exact_conditional_means():
    """Would catch a held part that is drawn, and a completed one that is held."""
    model = mixed_model("three")
    exact = Enumerated(model)
    row = rows_of_parts(model.layers[0], 1)
    missing = np.zeros(row.shape, np.bool_)
    missing[0, [1, 3, 4, 5, 6, 8]] = True
    units = model.layers[0]
    log_p, means = exact.h @ exact.hidden.bias, []
    fields = units.bias + exact.h @ exact.weights.T
    seen = np.where(missing, 0.0, row)[0]
    log_p = log_p + exact.h @ exact.weights.T @ seen
    hidden_parts = [(twin, fields[:, a:b], missing[0, a:b]) for twin, (a, b) in
                    zip(exact.twins, pairwise(exact.cuts), strict=True)]  # fmt: skip
    for twin, field, gaps in hidden_parts:
        means.append(reference.mean(twin, field))
        if twin.kind == "softmax":
            log_p = log_p + reference.log_normalizer(twin, field) * gaps[0]
        else:
            log_p = log_p + reference.unit_log_normalizers(twin, field) @ gaps
    p = np.exp(log_p - reference.log_sum_exp(log_p))
    expected = p @ np.hstack(means)
    _, found, _ = impute(
        model, row.repeat(400, axis=0), missing.repeat(400, axis=0), Site(dg.Stream(0), IMPUTE),
        n_chains=20, n_sweeps=30,
    )  # fmt: skip
    assert_same_bits(found[:, ~missing[0]], row.repeat(400, axis=0)[:, ~missing[0]])
    np.testing.assert_allclose(found.mean(axis=0)[missing[0]], expected[missing[0]], atol=0.03)


def test_a_missing_variable_is_no_part_of_a_row():
    """Would catch an all-zero group of a mixed layer that is taken for a state."""
    units = dg.Mixed([dg.Gaussian(1), dg.Softmax(3, size=3), dg.Softmax(2, size=2)])
    rows = np.array([[0.0, 0, 0, 0, 1, 0], [1.5, 0, 1, 0, 0, 1]], np.float32)
    mask = units.missing(rows)
    np.testing.assert_array_equal(mask, [[0, 1, 1, 1, 0, 0], [0] * 6])
    assert units.missing(rows[1:]) is None
    many = np.tile(rows, (50, 1))
    with pytest.raises(ValueError, match="missing variables"):
        dg.RBM(2, visible=units, n_epochs=1).fit(many)
    dg.RBM(2, visible=units, rule="cd", n_epochs=1, random_state=0).fit(many)


@pytest.mark.parametrize("name", NAMES)
def test_deep_machines_and_belief_networks_take_mixed_rows(name, tmp_path):
    """Would catch a stack, a mean field or an up-down that knows the three types alone."""
    rows = rows_of_parts(dg.Mixed(parts_of(name)), 60)
    visible = dg.Mixed(dg.Mixed(parts_of(name)).options()["parts"])
    settings = {"n_epochs": 2, "random_state": 0}
    dbn = dg.DBN((4, 3), visible=visible, **settings).fit(rows)
    dbn.refine(rows, n_epochs=1)
    dbm = dg.DBM((4, 3), visible=visible, pretrained=None, **settings).fit(rows)
    for number, model in enumerate((dbn, dbm)):
        assert model.sample(3, random_state=0).shape == (3, visible.size)
        gaps = np.where(np.arange(visible.size) < visible.widths[0], np.nan, rows)
        completed = model.impute(gaps, random_state=0, n_chains=2, n_sweeps=2)
        assert np.isfinite(completed).all()
        model.save(tmp_path / str(number))
        again = dg.load(tmp_path / str(number))
        assert_same_bits(again.transform(rows), model.transform(rows))
        assert_same_bits(again.score_samples(rows[:5]), model.score_samples(rows[:5]))


# ----------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("name", NAMES)
def test_a_file_keeps_all_parts(name, tmp_path):
    """Would catch parts in another order, or a precision that is lost."""
    model = mixed_model(name)
    dg.RBM.from_model(model).save(tmp_path / "m")
    again = dg.load(tmp_path / "m")
    assert again.model_.layers[0].form == model.layers[0].form
    assert [p.options() for p in again.model_.layers[0].parts] == [
        p.options() for p in model.layers[0].parts
    ]
    rows = rows_of_parts(model.layers[0], 9)
    assert_same_bits(again.free_energy(rows), dg.free_energy(model, rows))
    assert repr(again.visible) == repr(dg.RBM.from_model(model).visible)
