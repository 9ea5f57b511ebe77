"""Rows with NaN, values that are not known: learned from, answered, completed."""

import exact
import numpy as np
import pandas as pd
import pytest
import reference
from conftest import FIVE_SIGMA_PROBABILITY, assert_mean, assert_same_bits, random_model, twin
from scipy import sparse, stats
from stops import At, Stop, fail

import deepgen as dg
from deepgen.inference.mean_field import completed_by_means, infer
from deepgen.learning.mixtures import Prior, Run, run_em
from deepgen.models import Parameters
from deepgen.rows.batch import Batch
from deepgen.rows.sources import ArrayRows, IterableRows
from deepgen.rows.survey import survey

pytestmark = pytest.mark.usefixtures("serial")

N_ROWS = 20_000
MEANS = {"rtol": 1e-5, "atol": 1e-5}
UNITS = {"binary": dg.Binary(6), "gaussian": dg.Gaussian(6), "softmax": dg.Softmax(3, 6)}


def rows_with_holes(n_rows=200, n_columns=12, seed=0, share=0.2):
    """Whole rows of three columns, four times each, and the same with holes."""
    rng = np.random.default_rng(seed)
    X = np.repeat(rng.integers(0, 2, (n_rows, n_columns // 4)), 4, axis=1).astype(np.float32)
    return X, np.where(rng.random(X.shape) < share, np.float32(np.nan), X)


def some_with_holes(kind, n_rows=40, seed=0):
    """Rows that units of a kind can take, whole variables of which are not known."""
    rng = np.random.default_rng(seed)
    group = UNITS[kind].group
    X = {
        "binary": lambda: rng.integers(0, 2, (n_rows, 6)),
        "gaussian": lambda: rng.normal(3.0, 2.0, (n_rows, 6)),
        "softmax": lambda: np.eye(3)[rng.integers(0, 3, (n_rows, 2))].reshape(n_rows, 6),
    }[kind]()
    holes = np.repeat(rng.random((n_rows, 6 // group)) < 0.3, group, axis=1)
    return np.where(holes, np.nan, X).astype(np.float32)


# ---------------------------------------------------------------------------- what is measured


@pytest.mark.parametrize("kind", UNITS)
def test_columns_are_measured_over_what_is_there(kind):
    """Catches moments that count holes as zeros, in any cut of the rows into pieces."""
    X = some_with_holes(kind)
    for rows in (ArrayRows(X), IterableRows([X[:7], X[7:8], X[8:]])):
        n_rows, mean, variance = survey(rows, UNITS[kind], holes=True)
        assert n_rows == len(X)
        np.testing.assert_allclose(mean, np.nanmean(X, axis=0), rtol=1e-5)
        np.testing.assert_allclose(variance, np.nanvar(X, axis=0), rtol=1e-3, atol=1e-6)


# ------------------------------------------------------------------------------------ learning


def holed_batch(kinds, seed):
    """A model, three rows of it with holes, and a batch of many copies of each."""
    model = random_model(kinds, seed)
    visible = model.layers[0]
    particles = exact.sample(*twin(model), 3, np.random.default_rng(seed))[0]
    rows = np.asarray(particles, np.float32)
    group, known = visible.group, np.ones((3, visible.size), bool)
    known[0, :group], known[1, -group:], known[2] = False, False, False  # the last: nothing
    rows[~known] = np.nan
    kind = np.random.default_rng(seed + 1).integers(0, 3, N_ROWS)
    return model, rows, kind


@pytest.mark.parametrize("kinds", [("binary", "binary"), ("gaussian", "binary"), ("softmax", "binary")])
@pytest.mark.parametrize("rule", [dg.PCD(hole_sweeps=20), dg.CD(hole_sweeps=20)], ids=["PCD", "CD"])
def test_the_positive_phase_is_that_of_what_is_known(kinds, rule):
    """Catches an update whose expectation is not the gradient of log p(known): holes that are zero,
    means in place of draws, or draws given the wrong entries."""
    model, rows, kind = holed_batch(kinds, 3)
    state = rule.start(model, dg.Stream(6))
    phases = rule.phases(Parameters(model), Batch((rows[kind],)), state, dg.Stream(7))
    layers, weights = twin(model)
    for k in range(3):
        expected = exact.moments(layers, weights, clamped={0: rows[k].astype(np.float64)})
        v, h = (np.asarray(reference.float64(x))[kind == k] for x in map(_dense, phases.positive))
        assert_mean(v[:, :, None] * h[:, None, :], expected.weights[0], 1e-4)
        assert_mean(v, expected.biases[0], 1e-4)
        assert_mean(h, expected.biases[1], 1e-4)


def _dense(x):
    return x if isinstance(x, np.ndarray) else x.to_dense()


@pytest.mark.parametrize("rule", [dg.PCD(), dg.CD()], ids=["PCD", "CD"])
def test_a_batch_cut_into_parts_draws_the_same(rule):
    """Catches draws of holes that depend on which rows another process has."""
    model, rows, kind = holed_batch(("binary", "binary"), 4)
    batch = rows[kind[:50]]

    def positive(first, stop):
        state = rule.start(model, dg.Stream(6))
        part = Batch((batch[first:stop],), first_row=first)
        return rule.phases(Parameters(model), part, state, dg.Stream(7)).positive[0]

    assert_same_bits(np.concatenate([positive(0, 17), positive(17, 50)]), positive(0, 50))


@pytest.mark.parametrize(
    "estimator",
    [
        dg.RBM(8, n_epochs=700, random_state=0),
        dg.RBM(8, n_epochs=700, rule="cd", random_state=0),
        dg.RBM(8, n_epochs=700, binarize=True, random_state=0),
        dg.DBN((8, 6), n_epochs=1500, random_state=0),
        dg.DBN((8, 6), n_epochs=1500, features="samples", random_state=0),
        dg.DBM((8, 6), n_epochs=500, random_state=0),
        dg.MixtureOfBernoullis(8, random_state=0),
    ],
    ids=["pcd", "cd", "binarize", "dbn", "dbn samples", "dbm", "mixture"],
)
def test_what_is_learned_from_holes_fills_them(estimator):
    """Catches a run that takes holes for zeros, or stops on NaN: columns come in fours, so nearly
    all that is missing follows from what is there."""
    X, holes = rows_with_holes()
    missing = np.isnan(holes)
    completed = estimator.fit(holes).impute(holes, random_state=0)
    assert np.abs(completed - X)[missing].mean() < 0.15
    np.testing.assert_array_equal(completed[~missing], X[~missing])


def test_gaussian_columns_and_categories_are_learned_from_holes():
    """Catches holes of other unit types that become zeros: columns of mean 5 would tell."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(400, 1))
    X = factor + 0.3 * rng.normal(size=(400, 6))
    holes = np.where(rng.random(X.shape) < 0.2, np.nan, X)
    missing = np.isnan(holes)
    rbm = dg.RBM(8, visible="gaussian", n_epochs=300, random_state=0).fit(holes + 5.0)
    error = np.square(rbm.impute(holes + 5.0, random_state=0) - 5.0 - X)[missing].mean()
    assert error < 0.5 * X[missing].var()
    category = np.repeat(rng.integers(0, 3, (300, 1)), 4, axis=1)
    one_hot = np.eye(3)[category].reshape(300, 12)
    cells = np.repeat(rng.random((300, 4)) < 0.2, 3, axis=1)
    rbm = dg.RBM(8, visible=dg.Softmax(3), n_epochs=700, random_state=0)
    completed = rbm.fit(np.where(cells, np.nan, one_hot)).impute(
        np.where(cells, np.nan, one_hot), random_state=0
    )
    assert np.abs(completed - one_hot)[cells].mean() < 0.15


@pytest.mark.parametrize("make", [dg.RBM, dg.DBN, dg.DBM])
def test_a_stream_learns_from_holes_and_goes_on_from_its_checkpoint(make, tmp_path):
    """Catches first rows without a value in some column, and a checkpoint that loses holes."""
    _, holes = rows_with_holes(60)
    holes[0] = np.nan

    def begun():
        size = 5 if make is dg.RBM else (5, 4)
        return make(size, batch_size=20, random_state=0)

    whole, stopped = begun(), begun()
    for start, stop in ((0, 1), (1, 9), (9, 40), (40, 60)):
        whole.partial_fit(holes[start:stop])
        if start < 9:
            stopped.partial_fit(holes[start:stop])
    stopped.save_checkpoint(tmp_path / "stream.run")
    loaded = begun().load_checkpoint(tmp_path / "stream.run")
    loaded.partial_fit(holes[9:40]).partial_fit(holes[40:60])
    assert_same_bits(loaded.transform(holes), whole.transform(holes))


def test_a_run_over_holes_goes_on_from_its_checkpoint(tmp_path):
    """Catches a fingerprint of the rows that is NaN, or draws that a resumed run has not."""
    _, holes = rows_with_holes(60)
    path = tmp_path / "run"
    whole = dg.RBM(5, n_epochs=6, random_state=0).fit(holes)
    stop = [dg.Checkpoint(path), At(fail, epoch=3)]
    with pytest.raises(Stop):
        dg.RBM(5, n_epochs=6, random_state=0, callbacks=stop).fit(holes)
    resumed = dg.RBM(5, n_epochs=6, random_state=0).fit(holes, resume=path)
    assert_same_bits(resumed.model_.weights[0], whole.model_.weights[0])
    other = holes.copy()
    other[np.isnan(other)] = 0.0
    with pytest.raises(ValueError, match="rows"):
        dg.RBM(5, n_epochs=6, random_state=0).fit(other, resume=path)


def test_labels_beside_rows_with_holes():
    """Catches label units that are inferred, or held, in the place of the visible holes."""
    X, holes = rows_with_holes(300)
    y = X[:, 0].astype(int)
    dbm = dg.DBM((8, 6), label_units=True, n_epochs=700, random_state=0).fit(holes, y)
    known = ~np.isnan(holes[:, :4]).all(axis=1)
    assert (dbm.predict(holes) == y)[known].mean() > 0.95


# ----------------------------------------------------------------------------------- posterior


@pytest.mark.parametrize("kinds", [("binary", "binary"), ("gaussian", "binary"), ("softmax", "binary")])
def test_means_of_holes_are_a_fixed_point(kinds):
    """Catches holes that are held at zero, or known entries that move."""
    model, rows, _ = holed_batch(kinds, 5)
    v, h = infer(model, rows, dg.FixedPoint(max_sweeps=1000, tol=1e-7))
    missing = np.isnan(rows)
    np.testing.assert_array_equal(v[~missing], rows[~missing])
    layers, weights = twin(model)
    states = [np.float64(v), np.float64(h)]
    mean = reference.mean(layers[0], reference.field(layers, weights, states, 0))
    np.testing.assert_allclose(v[missing], mean[missing], atol=1e-5)
    mean = reference.mean(layers[1], reference.field(layers, weights, states, 1))
    np.testing.assert_allclose(h, mean, atol=1e-5)


def test_whole_rows_among_others_have_the_bits_that_they_have_alone():
    """Catches features that depend on whether another row of the call has a hole."""
    X, holes = rows_with_holes(60)
    holes[::2] = X[::2]
    for estimator in (
        dg.RBM(5, n_epochs=3, random_state=0), dg.DBN((5, 4), n_epochs=3, random_state=0),
        dg.DBM((5, 4), n_epochs=3, random_state=0), dg.MixtureOfBernoullis(3, random_state=0),
    ):  # fmt: skip
        estimator.fit(holes)
        together = estimator.transform(holes)
        assert_same_bits(together[::2], estimator.transform(X[::2]))
        assert_same_bits(together[3:4], estimator.transform(holes[3:4]))
        assert np.isfinite(together).all()


def test_rows_without_holes_are_not_copied():
    """Catches a pass over whole rows that nobody asked for."""
    model = random_model(("binary", "binary"), 1)
    X = np.zeros((3, model.layers[0].size), np.float32)
    assert completed_by_means(model, X) is X


# ------------------------------------------------------------------------------------ mixtures


def twin_log_joint(model, X):
    """log p(k, what is known of x), float64 of shape (n_rows, n_components)."""
    p = 1.0 / (1.0 + np.exp(-model.logits.astype(np.float64)))[None]
    x = X[:, :, None].astype(np.float64)
    terms = np.where(np.isnan(x), 0.0, np.where(x == 1.0, np.log(p), np.log1p(-p)))
    return terms.sum(axis=1) + model.log_weights.astype(np.float64)


def test_a_mixture_scores_what_is_known():
    """Catches a missing column that counts as off: log p must be that of the sum over its values."""
    X, holes = rows_with_holes(50)
    mixture = dg.MixtureOfBernoullis(4, random_state=0).fit(X)
    joint = twin_log_joint(mixture.model_, holes)
    total = reference.log_sum_exp(joint)
    np.testing.assert_allclose(mixture.score_samples(holes), total, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        mixture.predict_proba(holes), np.exp(joint - total[:, None]), atol=1e-5
    )
    np.testing.assert_array_equal(mixture.predict(holes), joint.argmax(axis=1))
    one = np.where(np.arange(12) == 3, np.nan, X[:1])
    both = np.repeat(one, 2, axis=0)
    both[:, 3] = 0, 1
    summed = np.logaddexp(*mixture.score_samples(both))
    np.testing.assert_allclose(mixture.score_samples(one), summed, rtol=1e-5)
    assert mixture.score_samples(np.full((1, 12), np.nan))[0] == pytest.approx(0.0, abs=1e-5)


def test_an_iteration_of_em_is_that_of_the_twin():
    """Catches an M-step that divides by all rows: it is on / (on + off) over known entries."""
    _, holes = rows_with_holes(80)
    start = dg.BernoulliMixture.from_means(
        [0.5, 0.3, 0.2], np.random.default_rng(1).uniform(0.2, 0.8, (3, 12))
    )
    run, prior = Run(start), Prior(np.full(12, 0.4), 0.5)
    list(run_em(run, ArrayRows(holes), prior, max_iter=1, tol=0.0))
    joint = twin_log_joint(start, holes)
    shares = np.exp(joint - reference.log_sum_exp(joint)[:, None])
    known = ~np.isnan(holes)
    on = np.nan_to_num(holes).T @ shares + 0.5 * 0.4
    all_known = known.T.astype(float) @ shares + 0.5
    np.testing.assert_allclose(run.model.means, (on / all_known).T, rtol=1e-4)
    weights = (shares.sum(axis=0) + 0.5) / (len(holes) + 1.5)
    np.testing.assert_allclose(run.model.weights, weights, rtol=1e-4)


def test_em_over_holes_never_falls():
    """Catches statistics of another likelihood than the one that is reported."""
    _, holes = rows_with_holes(80, share=0.5)
    history = dg.MixtureOfBernoullis(6, tol=0.0, random_state=0).fit(holes).history_
    rise = np.diff([entry["log_posterior"] for entry in history])
    assert (rise > -1e-5).all()


def test_probabilities_are_those_of_what_is_there():
    """Catches bias by holes: where a column is missing more often, its mean stays the same."""
    rng = np.random.default_rng(0)
    X = (rng.random((20_000, 2)) < 0.7).astype(float)
    X[rng.random(X.shape) < (0.0, 0.6)] = np.nan
    mixture = dg.MixtureOfBernoullis(1, smoothing=1e-3, random_state=0).fit(X)
    error = np.sqrt(0.21 / (~np.isnan(X)).sum(axis=0))
    n_errors = stats.norm.isf(FIVE_SIGMA_PROBABILITY / 2)
    assert (np.abs(mixture.model_.means[0] - 0.7) < n_errors * error).all()


# ------------------------------------------------------------------------------------ refusals


def test_holes_that_cannot_be_are_refused_by_name():
    """Catches messages that do not say where, or what to do."""
    _, holes = rows_with_holes(30)
    frame = pd.DataFrame(holes, columns=[f"c{j}" for j in range(12)])
    frame["c7"] = np.nan
    for estimator in (dg.RBM(3, n_epochs=1), dg.MixtureOfBernoullis(2), dg.DBM((3,), n_epochs=1)):
        with pytest.raises(ValueError, match=r"column 7 \('c7'\); all rows .* leave it out"):
            estimator.fit(frame)
    for make in (dg.RBM(3, n_epochs=1), dg.MixtureOfBernoullis(2)):
        with pytest.raises(ValueError, match="sparse, got NaN in row .* pass X.toarray"):
            make.fit(sparse.csr_array(holes))
        with pytest.raises(ValueError, match="finite, got inf in row 2, column 1"):
            make.fit(np.where(np.arange(360).reshape(30, 12) == 25, np.inf, holes))
    torn = np.eye(3)[[[0, 1], [2, 2]]].reshape(2, 6)
    torn[1, 4] = np.nan
    with pytest.raises(ValueError, match=r"all 3 columns of a variable .* row 1, column 3"):
        dg.RBM(2, visible=dg.Softmax(3), n_epochs=1).fit(torn)


def test_machines_score_whole_rows_alone():
    """Catches a likelihood of NaN, or of zeros in its place, without a word."""
    _, holes = rows_with_holes(30)
    for estimator in (
        dg.RBM(3, n_epochs=1), dg.DBM((3, 2), n_epochs=1), dg.DBN((3, 2), n_epochs=1)
    ):  # fmt: skip
        with pytest.raises(ValueError, match="got NaN in row"):
            estimator.fit(holes).score_samples(holes)
    with pytest.raises(ValueError, match="got NaN in row"):
        dg.RBM(3, n_epochs=1).fit(holes).free_energy(holes)


class NeedsWholeRows:
    """A rule of one's own, which says nothing of holes."""

    def start(self, model, stream):
        return dg.PCD().start(model, stream)

    def phases(self, model, batch, state, stream, *, work):
        return dg.PCD().phases(model, batch, state, stream, work=work)


def test_a_rule_that_says_nothing_gets_no_holes():
    """Catches NaN in the states of a rule that was written before there were holes."""
    _, holes = rows_with_holes(30)
    with pytest.raises(ValueError, match=r"got NaN in row .* dg\.Imputer"):
        dg.RBM(3, n_epochs=1, rule=NeedsWholeRows()).fit(holes)
