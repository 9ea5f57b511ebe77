"""Passes and steps over ratings: are they what the formulas say, and what must not matter?"""

import copy

import numpy as np
import pytest
import reference
from conftest import THREADS, assert_mean
from deepgen._kernels import engine
from scipy import sparse

import deepgen as dg
from deepgen.inference.gibbs import update_layer
from deepgen.inference.ratings import (
    best_columns,
    expected_ratings,
    hidden_means,
    rating_probabilities,
    rating_scores,
)
from deepgen.layers.context import Context
from deepgen.learning.ratings import MaskedPrediction, RatingStep, RatingTrainer
from deepgen.likelihood import rating_log_likelihood
from deepgen.models import RatingMachine
from deepgen.rows.batch import Batch
from deepgen.rows.patterns import PatternedRows
from deepgen.rows.scale import Scale
from deepgen.runtime.stream import DATA, Stream
from deepgen.runtime.work import Work

# (columns, values, hidden units): around whole lanes, strips of 128 and groups of five values
SHAPES = [(1, 2, 1), (7, 5, 15), (9, 3, 16), (6, 10, 17), (5, 20, 100), (8, 5, 130), (4, 7, 272)]


def machine_of(shape, seed=0, *, conditional=True, size=0.5):
    """A random machine of ratings."""
    rng = np.random.default_rng(seed)
    n_columns, n_values, n_hidden = shape
    return RatingMachine(
        rng.normal(0.0, size, shape), rng.normal(0.0, 1.0, shape[:2]),
        rng.normal(0.0, 0.5, n_hidden), Scale(tuple(np.arange(n_values) * 0.5 - 1.0)),
        conditional=rng.normal(0.0, size, (n_columns, n_hidden)) if conditional else None,
    )  # fmt: skip


def rows_of(n_rows, n_columns, n_values, seed=0, share=0.6):
    """Random rows; the first has nothing, the second everything."""
    rng = np.random.default_rng(seed)
    there = rng.random((n_rows, n_columns)) < share
    there[:1], there[1:2] = False, True
    starts = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64)
    columns = np.nonzero(there)[1].astype(np.int32)
    values = rng.integers(0, n_values, len(columns)).astype(np.uint8)
    return PatternedRows(starts, columns, values, n_columns)


def row(rows, r):
    """Columns and values of one row."""
    entries = slice(rows.starts[r], rows.starts[r + 1])
    return rows.columns[entries].astype(int), rows.values[entries].astype(int)


def twin_of(machine):
    """The float64 twin."""
    arrays = {name: a.astype(np.float64) for name, a in machine.arrays().items()}
    arrays.pop("known_means")
    arrays.setdefault("conditional", np.zeros((machine.n_columns, machine.n_hidden)))
    return reference.Ratings(**arrays)


def trainer_of(machine, rule, rows, *, rate=1.0, seed=0, step=None):
    """A run with a constant rate, without decay and with one rate for all unless said."""
    step = step or RatingStep(weight_decay=0.0, hidden_rate=1.0, conditional_rate=1.0)
    return RatingTrainer(
        machine, rule, rate, n_rows=rows.n_rows, stream=Stream.from_random_state(seed), step=step
    )


def changes(before, after):
    """What an update has added to each parameter."""
    return {
        name: array.astype(np.float64) - before.arrays()[name]
        for name, array in after.arrays().items()
        if name != "known_means"
    }


# ------------------------------------------------------------------------------------- passes


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("conditional", [True, False])
def test_passes_equal_the_twin(shape, conditional):
    """Would catch a value read at the wrong place, a lane that is lost, a padded unit sent."""
    machine = machine_of(shape, conditional=conditional)
    rows, twin = rows_of(12, *shape[:2]), twin_of(machine)
    means = hidden_means(machine, rows)
    assert not means[:, shape[2] :].any()
    pairs = np.array([(r, j) for r in range(12) for j in range(shape[0])])
    p = rating_probabilities(machine, means, *pairs.T)
    expected = expected_ratings(machine, means, *pairs.T)
    for r in range(12):
        h = twin.means(*row(rows, r))
        np.testing.assert_allclose(means[r, : shape[2]], h, atol=2e-6)
        exact = twin.probabilities(h, np.arange(shape[0]))
        np.testing.assert_allclose(p[pairs[:, 0] == r], exact, atol=2e-5)
        values = exact @ np.array(machine.scale.values)
        np.testing.assert_allclose(expected[pairs[:, 0] == r], values, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 5, 20), (5, 3, 33)])
def test_patterned_passes_equal_the_held_route(shape):
    """Would catch a pass over patterns that is not that of softmax groups of which some are held
    at zero: the same model by way of `Context.pattern`, to the rounding of float32 sums."""
    n_columns, n_values, n_hidden = shape
    machine, rows = machine_of(shape, conditional=False), rows_of(9, n_columns, n_values)
    plain = dg.BoltzmannMachine(
        [dg.Softmax(n_values, bias=machine.bias.reshape(-1)), dg.Binary(bias=machine.hidden_bias)],
        [machine.weights.reshape(-1, n_hidden)],
    )
    states, there = np.zeros((9, n_columns, n_values), np.uint8), np.zeros((9, n_columns), bool)
    for r in range(9):
        columns, values = row(rows, r)
        states[r, columns, values], there[r, columns] = 1, True
    states = states.reshape(9, -1)
    pattern = sparse.csr_array(np.repeat(there, n_values, axis=1))
    context = Context(pattern={0: pattern})
    held = update_layer(plain, 1, [states, None], mean=True, context=context)[0]
    means = hidden_means(machine, rows)
    np.testing.assert_allclose(means[:, :n_hidden], held, atol=1e-6)
    visible = update_layer(
        plain, 0, [states, np.ascontiguousarray(means[:, :n_hidden])], mean=True, context=context
    )[0].reshape(9, n_columns, n_values)
    for r in range(9):
        columns, _ = row(rows, r)
        p = rating_probabilities(machine, means, np.full(len(columns), r), columns)
        np.testing.assert_allclose(p, visible[r, columns], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_have_the_bits_of_pairs(shape):
    """Would catch a list of recommendations whose scores are not what `predict` says."""
    machine, rows = machine_of(shape), rows_of(70, *shape[:2])
    means, columns = hidden_means(machine, rows), np.arange(shape[0])[::-1].copy()
    pairs = np.repeat(np.arange(70), shape[0]), np.tile(columns, 70)
    expected = expected_ratings(machine, means, *pairs).reshape(70, -1)
    top = rating_probabilities(machine, means, *pairs)[:, -1].reshape(70, -1)
    assert (rating_scores(machine, means, columns) == expected).all()
    assert (rating_scores(machine, means, columns, by_column=True) == expected.T).all()
    assert (rating_scores(machine, means, columns, top=True) == top).all()


def everything(machine, rows, work):
    """All that kernels of ratings compute."""
    means = hidden_means(machine, rows, work=work)
    pairs = np.repeat(np.arange(rows.n_rows), 3), np.tile(np.arange(3), rows.n_rows)
    scores = rating_scores(machine, means, np.arange(machine.n_columns), work=work)
    outputs = [
        means, hidden_means(machine, rows, fields=True, work=work),
        rating_probabilities(machine, means, *pairs, work=work),
        expected_ratings(machine, means, *pairs, work=work), scores,
        *best_columns(scores, 4, work=work),
    ]  # fmt: skip
    for rule in (MaskedPrediction(), dg.CD(2), dg.PCD()):
        run = trainer_of(machine, rule, rows, rate=0.1)
        values = [run.step(Batch((rows,)), 0.5) for _ in range(2)]
        outputs += [np.array(values), *run.model().arrays().values()]
    return [np.array(x) for x in outputs]


@pytest.mark.parametrize("shape", [(9, 5, 40), (8, 20, 130), (5, 2, 16)])
def test_back_ends_and_threads_give_the_same_bits(shape, monkeypatch):
    """Would catch a sum whose order depends on the width of vectors or on who computes it."""
    monkeypatch.setattr("deepgen.runtime.threads.SERIAL_WORK", 0)
    machine, rows = machine_of(shape), rows_of(300, *shape[:2])
    usual = engine.backend()
    first = everything(machine, rows, Work(n_threads=1))
    try:
        for name in engine.available_backends():
            assert engine.select_backend(name)
            for n_threads in THREADS if name == usual else (1,):
                again = everything(machine, rows, Work(n_threads=n_threads))
                for a, b in zip(first, again, strict=True):
                    np.testing.assert_array_equal(a, b)
    finally:
        engine.select_backend(usual)


def test_rows_alone_and_together_are_the_same():
    """Would catch answers about a row that depend on which others are asked."""
    machine, rows = machine_of((9, 5, 40)), rows_of(30, 9, 5)
    means = hidden_means(machine, rows)
    for chosen in ([3], [7, 2], np.arange(30)[::-1]):
        np.testing.assert_array_equal(hidden_means(machine, rows.of_rows(chosen)), means[chosen])


def test_draws_belong_to_rows():
    """Would catch draws that depend on how rows were cut: rows without a common column learn
    nothing from each other, so they can be learned from in any order and any pieces."""
    starts, columns = np.array([0, 2, 4, 6]), np.arange(6, dtype=np.int32)
    rows = PatternedRows(starts, columns, np.array([0, 1, 2, 1, 0, 2], np.uint8), 6)
    machine = machine_of((6, 3, 8))
    step = RatingStep(hidden_rate=0.0)
    for rule in (MaskedPrediction(masked=(0.3, 0.7)), dg.CD(2)):
        models = []
        for pieces in ([[0, 1, 2]], [[2, 0, 1]], [[1], [2], [0]]):
            run = trainer_of(machine, rule, rows, step=step)
            for piece in pieces:
                run.n_updates = 4  # the same update for all pieces
                run.step(Batch((rows.of_rows(piece),)), 0.0)
            models.append(run.model().arrays())
        for name, array in models[0].items():
            assert all((array == other[name]).all() for other in models[1:]), (rule, name)


def test_best_columns_are_those_of_a_sort():
    """Would catch ties in another order, NaN that are chosen, and places that are left over."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, (40, 30)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = np.nan
    scores[0] = np.nan
    for n in (1, 4, 30, 33, 150):
        ids, best = best_columns(scores, n)
        for r in range(40):
            order = [j for j in np.argsort(-scores[r], kind="stable") if not np.isnan(scores[r, j])]
            order = order[:n]
            assert ids[r, : len(order)].tolist() == order
            assert (best[r, : len(order)] == scores[r, order]).all()
            assert (ids[r, len(order) :] == -1).all()
            assert np.isnan(best[r, len(order) :]).all()


def test_nothing_is_no_error():
    """Would catch a kernel that reads the first row, pair or column of none."""
    machine, none = machine_of((3, 2, 4)), rows_of(0, 3, 2)
    means = hidden_means(machine, none)
    assert means.shape == (0, 16)
    empty = np.empty(0, np.int64)
    assert expected_ratings(machine, means, empty, empty).shape == (0,)
    assert rating_scores(machine, means, np.arange(3)).shape == (0, 3)
    assert rating_scores(machine, np.zeros((2, 16), np.float32), empty).shape == (2, 0)
    assert best_columns(np.empty((2, 0), np.float32), 3)[0].tolist() == [[-1] * 3] * 2


# ----------------------------------------------------------------------------------- learning


def masks(stream, row_number, n, shares):
    """Which ratings of a row masked prediction hides: word 32 + j against the share of word 0."""
    words = stream.words(1, 32 + n, DATA, first_row=row_number)[0]
    uniforms = reference.uniform(words)
    return uniforms[32:] < shares[0] + (shares[1] - shares[0]) * uniforms[0]


@pytest.mark.parametrize("shape", [(6, 5, 3), (5, 2, 18), (7, 9, 4)])
@pytest.mark.parametrize("squared", [0.0, 0.4, 1.0])
def test_masked_prediction_goes_down_its_gradient(shape, squared):
    """Would catch a term that is forgotten in the back-propagation: the change of each parameter is
    the slope of the loss by finite differences, decay of what was touched apart."""
    machine, rows = machine_of(shape), rows_of(4, *shape[:2], seed=2)
    twin, points = twin_of(machine), machine.scale.points.astype(np.float64)
    rule = MaskedPrediction(masked=(0.3, 0.8), squared_error=squared)
    rate, decay = 0.125, 0.25
    step = RatingStep(weight_decay=decay, hidden_rate=0.5, conditional_rate=2.0)
    factors = {"hidden_bias": 0.5, "conditional": 2.0}
    for r in range(1, 4):
        run = trainer_of(machine, rule, rows, rate=rate, step=step)
        value = run.step(Batch((rows.of_rows([r]),)), 0.0)
        columns, values = row(rows, r)
        hidden = masks(run.stream.child("updates").at(0), r, len(columns), rule.masked)
        at = columns, values, hidden, points, squared

        def loss(name, index, change, at=at):
            moved = copy.deepcopy(twin)
            getattr(moved, name)[index] += change
            return moved.prediction_loss(*at)

        n_hidden_ratings = max(hidden.sum(), 1)
        p = twin.probabilities(twin.means(columns, values, hidden), columns[hidden])
        cross = -np.log(p[np.arange(hidden.sum()), values[hidden]]).sum()
        assert value == pytest.approx(cross / n_hidden_ratings, rel=1e-4)
        decayed = {name: np.zeros_like(a) for name, a in twin.arrays().items()}
        decayed["weights"][columns[hidden]] = twin.weights[columns[hidden]]
        decayed["weights"][columns[~hidden], values[~hidden]] = twin.weights[
            columns[~hidden], values[~hidden]
        ]
        decayed["conditional"][columns] = twin.conditional[columns]
        for name, change in changes(machine, run.model()).items():
            factor, epsilon = factors.get(name, 1.0), 1e-5
            slope = np.array(
                [
                    (loss(name, i, epsilon) - loss(name, i, -epsilon)) / (2.0 * epsilon)
                    for i in np.ndindex(change.shape)
                ]
            ).reshape(change.shape)
            expected = -rate * factor * (slope + decay * decayed[name])
            np.testing.assert_allclose(change, expected, atol=3e-6, err_msg=name)


def mean_change(machine, rows, make_run, n_draws):
    """Changes of each parameter by an update from the same start, over positions of the stream."""
    draws = {}
    for number in range(n_draws):
        run = make_run(number)
        run.n_updates = number + 1  # 0 would take a snapshot, which is slow
        run.step(Batch((rows,)), 0.0)
        for name, change in changes(machine, run.model()).items():
            draws.setdefault(name, []).append(change)
    return {name: np.array(values) for name, values in draws.items()}


def assert_changes(draws, expected):
    for name, values in draws.items():
        flat = values.reshape(len(values), -1)
        moves = flat.std(axis=0) > 1e-7
        assert_mean(flat[:, moves], expected[name].reshape(-1)[moves], rounding=2e-6)
        still = expected[name].reshape(-1)[~moves]
        np.testing.assert_allclose(flat.mean(axis=0)[~moves], still, atol=2e-6)


def exact_sweeps(twin, columns, values, k):
    """The exact expected change of contrastive divergence with rate 1, by enumeration."""
    v, h, log_weights = twin.log_weights(columns)
    p_v_given_h = np.exp(log_weights - log_weights.max(axis=0))
    p_v_given_h /= p_v_given_h.sum(axis=0)
    means_of_v = np.array([twin.means(columns, one) for one in v])
    p_h_given_v = np.prod(
        np.where(h[None] == 1, means_of_v[:, None], 1.0 - means_of_v[:, None]), axis=2
    )
    h_data = twin.means(columns, values)
    p_h = np.prod(np.where(h == 1, h_data, 1.0 - h_data), axis=1)
    for sweep in range(k):
        p_v = p_v_given_h @ p_h
        if sweep + 1 < k:
            p_h = p_v @ p_h_given_v
    change = twin.statistics(columns, values, h_data)
    for probability, one, mean in zip(p_v, v, means_of_v, strict=True):
        for name, part in twin.statistics(columns, one, mean).items():
            change[name] -= probability * part
    return change


@pytest.mark.parametrize("k", [1, 3])
def test_contrastive_divergence_moves_as_enumerated(k):
    """Would catch a phase with the wrong sign or the wrong states, and draws that are not p."""
    machine, rows = machine_of((3, 3, 2), size=1.0), rows_of(2, 3, 3).of_rows([1])
    expected = exact_sweeps(twin_of(machine), *row(rows, 1), k)
    draws = mean_change(machine, rows, lambda _: trainer_of(machine, dg.CD(k), rows), 3000)
    assert_changes(draws, expected)


def test_persistent_chains_at_the_model_give_the_gradient():
    """Would catch a chain that starts from the data, or that is not kept: from hidden states that
    are drawn from the model of the row, the mean change is the gradient of log p(v | pattern)."""
    machine, rows = machine_of((3, 3, 2), size=1.0), rows_of(2, 3, 3)
    twin, (columns, values) = twin_of(machine), row(rows, 1)
    _, h, log_weights = twin.log_weights(columns)
    p_h = np.exp(log_weights - log_weights.max()).sum(axis=0)
    p_h /= p_h.sum()
    rng = np.random.default_rng(0)

    def run_at_the_model(_):
        run = trainer_of(machine, dg.PCD(2), rows)
        run._particles[1] = h[rng.choice(len(h), p=p_h)]
        return run

    draws = mean_change(machine, rows.of_rows([1]), run_at_the_model, 3000)

    def log_likelihood(changed):
        v, _, weights = changed.log_weights(columns)
        by_v = np.logaddexp.reduce(weights, axis=1)
        (at,) = np.flatnonzero((v == values).all(axis=1))
        return by_v[at] - np.logaddexp.reduce(by_v)

    gradient = {}
    for name, array in twin.arrays().items():
        gradient[name] = np.zeros_like(array)
        for i in np.ndindex(array.shape):
            up, down = copy.deepcopy(twin), copy.deepcopy(twin)
            getattr(up, name)[i] += 1e-5
            getattr(down, name)[i] -= 1e-5
            gradient[name][i] = (log_likelihood(up) - log_likelihood(down)) / 2e-5
    assert_changes(draws, gradient)


def test_untouched_columns_do_not_move():
    """Would catch decay or steps of columns that no row has, which would cost as much as all."""
    machine = machine_of((6, 3, 8))
    rows = PatternedRows(
        np.array([0, 2]), np.array([1, 4], np.int32), np.array([0, 2], np.uint8), 6
    )
    for rule in (MaskedPrediction(masked=(0.5, 0.5)), dg.CD(1), dg.PCD(1)):
        run = trainer_of(machine, rule, rows, step=RatingStep(weight_decay=0.3))
        run.step(Batch((rows,)), 0.0)
        for name, change in changes(machine, run.model()).items():
            if name != "hidden_bias":
                assert not change[[0, 2, 3, 5]].any(), (rule, name)
    assert change[[1, 4]].any()


def test_a_rate_that_is_too_high_is_told():
    """Would catch weights that are not finite, and a run that goes on with them."""
    machine, rows = machine_of((6, 5, 8), size=0.01), rows_of(50, 6, 5)
    run = trainer_of(machine, MaskedPrediction(), rows, rate=1e38)
    batches = [Batch((rows,))] * 20
    with pytest.raises(dg.DivergedError):
        run.steps(batches, [0.0] * 20)
    assert all(np.isfinite(array).all() for array in run.model().arrays().values())


# --------------------------------------------------------------------------------- likelihoods


def test_likelihoods_of_rows_are_those_of_enumeration():
    """Would catch a machine of a row that has other columns, or forgets conditional weights; by
    annealing too, within its interval."""
    machine, rows = machine_of((4, 3, 5), size=1.0), rows_of(6, 4, 3)
    twin = twin_of(machine)
    exact = np.zeros(6)
    for r in range(1, 6):
        columns, values = row(rows, r)
        if len(columns):
            v, _, weights = twin.log_weights(columns)
            by_v = np.logaddexp.reduce(weights, axis=1)
            exact[r] = by_v[(v == values).all(axis=1)][0] - np.logaddexp.reduce(by_v)
    found = rating_log_likelihood(machine, rows)
    np.testing.assert_allclose(found.by_row, exact, atol=1e-5)
    np.testing.assert_array_equal(found.lower, found.upper)
    assert found.partitions.method == "exact"
    assert not found.partitions.variance.any()


def test_annealed_likelihoods_hold_the_exact_ones(monkeypatch):
    """Would catch an interval of log Z that belongs to another row, and too few temperatures that
    nobody hears of."""
    machine, rows = machine_of((4, 3, 5), size=1.0), rows_of(6, 4, 3)
    exact = rating_log_likelihood(machine, rows).by_row
    monkeypatch.setattr("deepgen.likelihood.ratings.EXACT_BITS", 0)
    found = rating_log_likelihood(machine, rows, n_betas=300, random_state=0)
    away = 0.5 * (found.upper - found.lower)
    assert (np.abs(found.by_row - exact) <= 5.0 / 3.0 * away + 1e-5).all()
    there = rows.lengths > 0
    assert (found.partitions.variance[there] > 0.0).all()
    assert (found.by_row[~there] == 0.0).all()
    alone = rating_log_likelihood(machine, rows.of_rows([4]), n_betas=300, random_state=0)
    assert alone.by_row[0] == found.by_row[4]
    few = rating_log_likelihood(machine, rows, n_betas=3, random_state=0)
    report, of_few = found.report(), few.report()
    assert report["method"] == "annealed"
    assert report["lower"] < report["value"] < report["upper"]
    assert of_few["mean_variance"] > 10 * report["mean_variance"]
    assert of_few["upper"] - of_few["lower"] > 3 * (report["upper"] - report["lower"])
