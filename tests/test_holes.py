"""Rows with NaN, values that are not known: learned from, answered, completed."""

import exact
import numpy as np
import pandas as pd
import pytest
import reference
from conftest import (
    FIVE_SIGMA_PROBABILITY,
    Batches,
    assert_mean,
    assert_same_bits,
    random_model,
    twin,
)
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
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
MACHINES = [("binary", "binary"), ("gaussian", "binary"), ("softmax", "binary")]
MEANS = {"rtol": 1e-5, "atol": 1e-5}
# enough for columns that come in fours: an update an epoch
QUICK = {"n_epochs": 800, "learning_rate": dg.Linear(0.5, 0.0), "random_state": 0}
UNITS = {"binary": dg.Binary(6), "gaussian": dg.Gaussian(6), "softmax": dg.Softmax(3, 6)}


def rows_with_holes(n_rows=100, n_columns=12, seed=0, share=0.2):
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


@pytest.mark.parametrize("kinds", MACHINES)
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
        dg.RBM(8, **QUICK),
        dg.RBM(8, rule="cd", **QUICK),
        dg.RBM(8, binarize=True, **QUICK),
        pytest.param(dg.DBM((8, 6), **QUICK), marks=pytest.mark.slow),
        pytest.param(dg.DBN((8, 6), **QUICK), marks=pytest.mark.slow),
        pytest.param(dg.DBN((8, 6), features="means", **QUICK), marks=pytest.mark.slow),
        dg.MixtureOfBernoullis(8, random_state=0),
    ],
    ids=["pcd", "cd", "binarize", "dbm", "dbn", "dbn means", "mixture"],
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
    rbm = dg.RBM(8, visible="gaussian", n_epochs=150, random_state=0).fit(holes + 5.0)
    error = np.square(rbm.impute(holes + 5.0, random_state=0) - 5.0 - X)[missing].mean()
    assert error < 0.5 * X[missing].var()
    category = np.repeat(rng.integers(0, 3, (100, 1)), 4, axis=1)
    one_hot = np.eye(3)[category].reshape(100, 12)
    cells = np.repeat(rng.random((100, 4)) < 0.2, 3, axis=1)
    rbm = dg.RBM(8, visible=dg.Softmax(3), **QUICK)
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
    X, holes = rows_with_holes()
    y = X[:, 0].astype(int)
    dbm = dg.DBM((8, 6), label_units=True, **QUICK).fit(holes, y)
    known = ~np.isnan(holes[:, :4]).all(axis=1)
    assert (dbm.predict(holes) == y)[known].mean() > 0.95


# ----------------------------------------------------------------------------------- posterior


@pytest.mark.parametrize("kinds", MACHINES)
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
    """Catches a missing column that counts as off: log p is that of the sum over its values."""
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
    run, prior = Run(start), Prior(np.full(12, 0.4), 0.5, dg.Binary(12))
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
        with pytest.raises(ValueError, match=r"where it is sparse, got NaN .* X\.toarray"):
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


# -------------------------------------------------------------------------------- autoencoders

LAST = {"logistic": dg.CrossEntropy(), "softmax": dg.SoftmaxCrossEntropy()}


@pytest.mark.parametrize("activation", ["logistic", "softmax", "linear", "rectified"])
@pytest.mark.parametrize("loss", ["own", "squared"])
def test_a_target_of_nan_costs_nothing(activation, loss):
    """Catches a gradient by a missing target, or a loss that counts it: against the loss of the
    known columns alone, by finite differences."""
    loss = LAST.get(activation, dg.SquaredError()) if loss == "own" else dg.SquaredError()
    rng = np.random.default_rng(0)
    group = 3 if activation == "softmax" else 1
    options = {"group": 3} if group == 3 else {}
    layer = dg.NetworkLayer(activation, np.zeros(6), np.zeros((2, 6)), **options)
    field = rng.normal(size=(5, 6)).astype(np.float32)
    if group == 1:
        target = rng.random((5, 6)).astype(np.float32)
    else:
        target = np.eye(3, dtype=np.float32)[rng.integers(0, 3, (5, 2))].reshape(5, 6)
    known = np.repeat(rng.random((5, 6 // group)) < 0.6, group, axis=1)
    known[4] = False
    value, gradient = loss.by_row(layer, field, np.where(known, target, np.float32(np.nan)))

    def of_known(row, shifted):
        return twin_loss(loss, activation, shifted, target[row].astype(float))[known[row]].sum()

    for row in range(5):
        at = field[row].astype(np.float64)
        np.testing.assert_allclose(value[row], of_known(row, at), rtol=1e-5, atol=1e-6)
        for column in range(6):
            step = 1e-5 * np.eye(6)[column]
            slope = (of_known(row, at + step) - of_known(row, at - step)) / 2e-5
            np.testing.assert_allclose(gradient[row, column], slope, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(gradient[4], 0.0)


def twin_loss(loss, activation, field, target):
    """Loss of each column of a row, float64; a softmax group has the sum over its columns."""
    output = {
        "logistic": lambda: 1.0 / (1.0 + np.exp(-field)),
        "softmax": lambda: np.concatenate(
            [np.exp(x) / np.exp(x).sum() for x in np.split(field, len(field) // 3)]
        ),
        "linear": lambda: field,
        "rectified": lambda: np.maximum(field, 0.0),
    }[activation]()
    if isinstance(loss, dg.SquaredError):
        return np.square(output - target)
    if isinstance(loss, dg.SoftmaxCrossEntropy):
        return -target * np.log(output)
    return -target * np.log(output) - (1.0 - target) * np.log1p(-output)


@pytest.mark.parametrize(
    "estimator",
    [
        dg.Autoencoder(6, n_epochs=400, learning_rate=dg.Linear(0.02, 0.0), random_state=0),
        dg.DeepAutoencoder(
            (8, 6), pretrained=dg.Pretraining(100), n_epochs=800,
            learning_rate=dg.Linear(0.02, 0.0), random_state=0,
        ),
    ],
    ids=["one layer", "pretrained"],
)  # fmt: skip
def test_autoencoders_learn_what_is_there(estimator):
    """Catches NaN in weights, and holes that are rebuilt as the zeros that the network reads."""
    X, holes = rows_with_holes()
    missing, zeros = np.isnan(holes), np.nan_to_num(holes)
    taken_for_zeros = clone(estimator).fit(zeros)
    estimator.fit(holes)
    rebuilt = estimator.inverse_transform(estimator.transform(holes))
    others = taken_for_zeros.inverse_transform(taken_for_zeros.transform(zeros))
    assert np.abs(rebuilt - X)[missing].mean() < 0.8 * np.abs(others - X)[missing].mean()
    errors = np.where(missing, 0.0, np.square(rebuilt - X)).sum(axis=1)
    np.testing.assert_allclose(estimator.reconstruction_error(holes), errors, rtol=1e-4, atol=1e-6)


# -------------------------------------------------------------------------------------- frames


def frame_with_holes():
    """Whole rows, and a frame with holes in float columns beside an int and a bool column."""
    X, holes = rows_with_holes()
    frame = pd.DataFrame(holes, columns=[f"c{j}" for j in range(12)], index=np.arange(100) + 7)
    frame["c0"], frame["c1"] = X[:, 0].astype(int), X[:, 1] > 0.5
    return X, frame


@pytest.mark.parametrize(
    "estimator",
    [dg.MixtureOfBernoullis(6, random_state=0), dg.RBM(3, n_epochs=2, random_state=0),
     dg.DBN((3, 2), n_epochs=2, random_state=0), dg.DBM((3, 2), n_epochs=2, random_state=0)],
    ids=["mixture", "rbm", "dbn", "dbm"],
)  # fmt: skip
def test_a_frame_comes_back_as_a_frame(estimator):
    """Catches lost names and index, a column of another type that had no hole, or a changed X."""
    _, frame = frame_with_holes()
    before = frame.copy()
    completed, deviation = estimator.fit(frame).impute(frame, return_std=True, random_state=0)
    pd.testing.assert_frame_equal(frame, before)
    for one in (completed, deviation):
        assert list(one.columns) == list(frame.columns)
        pd.testing.assert_index_equal(one.index, frame.index)
    assert completed.dtypes["c0"] == frame.dtypes["c0"]
    assert completed.dtypes["c1"].kind == "b"
    array = estimator.impute(frame, random_state=0).to_numpy(float)
    np.testing.assert_array_equal(completed.to_numpy(float), array)
    known = frame.notna().to_numpy()
    np.testing.assert_array_equal(array[known], frame.to_numpy(float)[known])


class TableOfItsOwn:
    """A frame without an index, as polars has them."""

    def __init__(self, columns):
        self._columns = dict(columns)
        self.columns = list(self._columns)

    def __getitem__(self, name):
        return self._columns[name]

    def to_numpy(self):
        return np.column_stack(list(self._columns.values()))

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.to_numpy(), dtype)

    @property
    def shape(self):
        return self.to_numpy().shape

    def __len__(self):
        return self.shape[0]


def test_frames_without_an_index_come_back_too():
    """Catches a way that is for pandas alone."""
    X, holes = rows_with_holes(60)
    names = [f"c{j}" for j in range(12)]
    table = TableOfItsOwn({name: holes[:, j] for j, name in enumerate(names)} | {"c0": X[:, 0]})
    mixture = dg.MixtureOfBernoullis(3, random_state=0).fit(holes)
    completed = mixture.impute(table)
    assert isinstance(completed, TableOfItsOwn)
    assert completed.columns == names
    holes[:, 0] = X[:, 0]
    np.testing.assert_array_equal(completed.to_numpy(), mixture.impute(holes))


# ------------------------------------------------------------------------------------- Imputer


def test_an_imputer_fills_what_is_missing():
    """Catches rows that are completed by column means, and other numbers in the second call."""
    X, holes = rows_with_holes()
    missing = np.isnan(holes)
    imputer = dg.Imputer(random_state=0)
    completed = imputer.fit_transform(holes)
    assert np.abs(completed - X)[missing].mean() < 0.15
    np.testing.assert_array_equal(completed[~missing], X[~missing])
    assert_same_bits(imputer.transform(holes), completed)
    assert_same_bits(dg.Imputer(random_state=0).fit_transform(holes), completed)
    drawn = dg.Imputer(method="draw", random_state=0).fit_transform(holes)
    assert set(np.unique(drawn)) == {0.0, 1.0}


def test_an_imputer_around_a_machine_repeats_itself():
    """Catches chains with new random numbers in each call, and an estimator that is fitted."""
    _, holes = rows_with_holes(50)
    rbm = dg.RBM(3, n_epochs=2, random_state=0)
    imputer = dg.Imputer(rbm).fit(holes)
    assert not hasattr(rbm, "model_")
    assert_same_bits(imputer.transform(holes), imputer.transform(holes))


def test_the_default_learns_few_components_where_columns_are_independent():
    """Catches a choice that does not look at values held back: noise has one component."""
    rng = np.random.default_rng(0)
    X = (rng.random((80, 10)) < 0.3).astype(float)
    assert dg.Imputer(random_state=0).fit(X).estimator_.n_components_ == 1
    _, holes = rows_with_holes()
    assert dg.Imputer(random_state=0).fit(holes).estimator_.n_components_ > 3


def test_an_imputer_keeps_names_and_makes_frames():
    """Catches set_output, index or names that are lost in a pipeline."""
    _, frame = frame_with_holes()
    imputer = dg.Imputer(random_state=0).fit(frame)
    np.testing.assert_array_equal(imputer.get_feature_names_out(), frame.columns)
    found = imputer.transform(frame)
    assert not found.isna().to_numpy().any()
    imputer.set_output(transform="pandas")
    pd.testing.assert_frame_equal(imputer.transform(frame), found)
    pipe = make_pipeline(
        dg.Imputer(random_state=0), StandardScaler(), dg.RBM(3, visible="gaussian", n_epochs=1)
    ).set_output(transform="pandas")
    features = pipe.fit_transform(frame)
    pd.testing.assert_index_equal(features.index, frame.index)
    made = dg.Imputer(random_state=0).set_output(transform="pandas").fit_transform(
        frame.to_numpy(float)
    )
    assert list(made.columns) == [f"x{j}" for j in range(12)]


@pytest.mark.parametrize("kind", ["boolean", "Int64", "Float32", "object"])
def test_columns_of_pandas_with_missing_values_are_holes(kind):
    """Catches NA that becomes a number, or an error about objects."""
    X, holes = rows_with_holes()
    values = [None if np.isnan(x) else bool(x) for x in holes[:, 2]]
    column = pd.Series(values, dtype=kind) if kind != "object" else pd.Series(values, dtype=object)
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": column})
    completed = dg.Imputer(random_state=0).fit_transform(frame)
    assert np.abs(completed["c"].to_numpy(float) - X[:, 2]).mean() < 0.1


def test_an_imputer_refuses_by_name():
    """Catches remedies that do not help, and estimators that cannot complete rows."""
    _, holes = rows_with_holes(30)
    with pytest.raises(TypeError, match=r"estimator must be an object with fit and impute"):
        dg.Imputer(dg.Autoencoder(3)).fit(holes)
    with pytest.raises(TypeError, match=r"estimator must be an object with fit and impute"):
        dg.Imputer(dg.RBM).fit(holes)
    with pytest.raises(ValueError, match=r"method must be 'mean' or 'draw', got 'mode'"):
        dg.Imputer(method="mode").fit(holes)
    remedy = r"row 2, column 0; .* scale others .*MixtureOfProducts"
    with pytest.raises(ValueError, match=remedy):
        dg.Imputer().fit(np.where(np.arange(360).reshape(30, 12) == 24, 7.0, holes))
    with pytest.raises(TypeError, match=r"sparse matrix, whose zeros are values; pass X.toarray"):
        dg.Imputer().fit(sparse.csr_array(holes))
    with pytest.raises(TypeError, match=r"X must be an array or a data frame, got Batches"):
        dg.Imputer().fit(Batches(holes))
