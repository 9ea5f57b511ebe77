"""Estimators with nothing set: few rows, columns of any scale, and simple models to be ahead of."""

import warnings

import numpy as np
import pytest
from conftest import Batches
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from stops import At, Stop, fail

import deepgen as dg
from deepgen.learning.evidence import MOST_UPDATES, Evidence, largest_eigenvalue
from deepgen.learning.scaled_networks import InputScale
from deepgen.rows.sources import ArrayRows, IterableRows
from deepgen.rows.survey import survey


def factors(n_rows, n_columns, n_factors=3, seed=0):
    """Bits that a few common causes make, rarely on."""
    rng = np.random.default_rng(seed)
    field = rng.normal(size=(n_rows, n_factors)) @ rng.normal(size=(n_factors, n_columns)) - 2.0
    return (rng.random(field.shape) < 1.0 / (1.0 + np.exp(-field))).astype(np.uint8)


def noise(n_rows, n_columns, seed=1):
    """Independent bits."""
    rng = np.random.default_rng(seed)
    return (rng.random((n_rows, n_columns)) < rng.random(n_columns)).astype(np.uint8)


def _normal(rows):
    """As many independent normal values."""
    return np.random.default_rng(len(rows)).normal(size=rows.shape)


def _normal_density(train, held):
    """Mean log density of independent normal columns, nats a row."""
    mean, var = train.mean(axis=0), train.var(axis=0)
    by_column = np.log(2.0 * np.pi * var) + np.square(held - mean) / var
    return -0.5 * by_column.sum(axis=1).mean()


def cancer(n_rows, seed=2):
    """Bits of a real table, shuffled."""
    X = load_breast_cancer().data
    order = np.random.default_rng(seed).permutation(len(X))[:n_rows]
    return (np.median(X, axis=0) < X).astype(np.uint8)[order]


def smooth(n_rows, n_columns, seed=3):
    """Columns that hang together strongly, as pixels of a smooth picture, standardized."""
    X = np.random.default_rng(seed).normal(size=(n_rows, n_columns)).cumsum(axis=1)
    X = X + 5.0 * np.random.default_rng(seed + 1).normal(size=(n_rows, 1))
    return (X - X.mean(axis=0)) / X.std(axis=0)


def independent(train, held):
    """Log-likelihood by row of independent columns."""
    p = (train.sum(axis=0) + 0.5) / (len(train) + 1.0)
    return (held * np.log(p) + (1.0 - held) * np.log1p(-p)).sum(axis=1)


def one_gaussian(train, held):
    """Mean log-likelihood of a Gaussian with the covariance of the training rows."""
    away, covariance = held - train.mean(axis=0), np.cov(train.T, bias=True)
    _, log_det = np.linalg.slogdet(2.0 * np.pi * covariance)
    squares = ((away @ np.linalg.inv(covariance)) * away).sum(axis=1)
    return float(-0.5 * squares.mean() - 0.5 * log_det)


# ------------------------------------------------------------------------- few rows, many columns

TABLES = {
    "factors, 200 x 100": (factors(600, 100), 200),
    "factors, 80 x 150": (factors(500, 150, 4), 80),
    "factors, 50 x 60": (factors(500, 60), 50),
    "breast cancer, 60 x 30": (cancer(560), 60),
    "breast cancer, 200 x 30": (cancer(560), 200),
}


def held_out(estimator, name, **brackets):
    """Fit; return (estimator, held-out log-likelihood by row less that of independent columns)."""
    X, n_rows = TABLES[name]
    train, held = X[:n_rows], X[n_rows:]
    estimator.fit(train)
    if brackets:
        estimator.log_partition(**brackets)
    return estimator, estimator.score_samples(held) - independent(train, held)


@pytest.mark.parametrize("name", TABLES)
def test_an_rbm_with_nothing_set_is_ahead_of_independent_columns(name):
    """Would catch a number of updates that does not look at the rows: 5,000 of them learn 200 rows
    by heart, and end 9 to 23 nats behind independent columns."""
    rbm, ahead = held_out(dg.RBM(random_state=0), name, n_chains=30, n_betas=300)
    assert ahead.mean() > 2.0 * ahead.std() / np.sqrt(len(ahead))
    assert rbm.n_epochs_ == len(rbm.history_)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_it_comes_near_the_best_number_of_epochs(seed):
    """Would catch a rule that stops long before the rows are learned: 400 epochs of 16 units reach
    -41.0 on the first table, a mixture of 10 components -44.6."""
    X, n_rows = TABLES["factors, 200 x 100"]
    few = dg.RBM(random_state=seed).fit(X[:n_rows]).score(X[n_rows:])
    mixture = dg.MixtureOfBernoullis(10, random_state=seed).fit(X[:n_rows]).score(X[n_rows:])
    assert few > mixture + 1.0


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [dg.DBN, dg.DBM, dg.MixtureOfBernoullis])
@pytest.mark.parametrize("name", list(TABLES)[:2] + list(TABLES)[3:4])
def test_the_other_densities_are_ahead_too(estimator, name):
    """Would catch a stack whose upper layers, or a greedy start that, learns few rows by heart."""
    brackets = {} if estimator is dg.MixtureOfBernoullis else {"n_chains": 30, "n_betas": 500}
    _, ahead = held_out(estimator(random_state=0), name, **brackets)
    assert ahead.mean() > 2.0 * ahead.std() / np.sqrt(len(ahead))


@pytest.mark.parametrize("n_rows", [50, 100])
def test_nothing_is_learned_from_noise(n_rows):
    """Would catch updates that go on where columns have nothing to say about each other, and first
    weights that, learned or not, cost a hundredth of a nat; biases lose their half count."""
    X = noise(n_rows + 500, 40)
    train, held = X[:n_rows], X[n_rows:]
    expected = independent(train, held).mean()
    for machine in (dg.RBM(12), dg.DBM((12, 8)), dg.RBM(12, visible="gaussian")):
        is_real, machine.random_state = machine.visible == "gaussian", 0
        rows, rest = (_normal(each) if is_real else each for each in (train, held))
        machine.fit(rows)
        assert machine.log_partition().method == "exact"
        ahead = machine.score_samples(rest).mean()
        ahead -= _normal_density(rows, rest) if is_real else expected
        assert ahead > -0.002
    mixture = dg.MixtureOfBernoullis(random_state=0).fit(train)
    assert mixture.n_components_ == 1
    assert mixture.score(held) > expected - 0.05


@pytest.mark.parametrize("estimator", [
    dg.DeepAutoencoder((100, 20)), pytest.param(dg.Autoencoder(), marks=pytest.mark.slow),
])  # fmt: skip
def test_an_autoencoder_is_ahead_of_the_mean_row(estimator):
    """Would catch a network that learns its rows by heart, in its own loss."""
    X, n_rows = TABLES["factors, 80 x 150"]
    train, held = X[:n_rows], X[n_rows:]
    p = (train.sum(axis=0) + 0.5) / (n_rows + 1.0)
    auto = estimator.set_params(random_state=0).fit(train)
    rebuilt = auto.inverse_transform(auto.transform(held)).clip(1e-6, 1.0 - 1e-6)
    loss = (held * np.log(rebuilt) + (1.0 - held) * np.log1p(-rebuilt)).sum(axis=1)
    assert loss.mean() > independent(train, held).mean() + 2.0
    assert auto.score(held) > -np.square(held - p).sum(axis=1).mean()


def test_what_is_set_is_done():
    """Would catch an estimator that stops, or picks a size, behind the user's back."""
    X = TABLES["factors, 80 x 150"][0][:80]
    rbm = dg.RBM(4, n_epochs=300, random_state=0).fit(X)
    assert len(rbm.history_) == rbm.n_updates_ == rbm.n_epochs_ == 300
    assert rbm.history_[0]["learning_rate"] == pytest.approx(0.2, rel=0.01)
    mixture = dg.MixtureOfBernoullis(7, random_state=0).fit(X)
    assert mixture.n_components_ == mixture.model_.n_components == 7


def test_many_rows_get_all_updates():
    """Would catch a rule that takes from those who have rows: 60,000 digits, 2,000 patches."""
    mean = np.full(784, 0.1)
    many = Evidence.of_rows(None, dg.Binary(784), (60_000, mean, mean * 0.9))
    assert many.n_updates == MOST_UPDATES
    assert many.n_epochs(100) == 9
    assert Evidence(2_000, 784.0, 784, 250.0, 1_000).n_updates == MOST_UPDATES
    assert Evidence(50, 500.0).n_updates < 500


def test_evidence_does_not_depend_on_how_rows_come():
    """Would catch an iterable of batches that is trained otherwise than the array of its rows."""
    X = smooth(2_500, 20).astype(np.float32)
    moments = len(X), X.mean(axis=0, dtype=np.float64), X.var(axis=0, dtype=np.float64)
    units = dg.Gaussian(20)
    whole = Evidence.of_rows(ArrayRows(X), units, moments)
    pieces = Evidence.of_rows(IterableRows(Batches(X[:7], X[7:1500], X[1500:])), units, moments)
    assert whole == pieces
    assert 250 <= whole.n_measured <= 1_000
    exact = np.linalg.eigvalsh(np.corrcoef(X.T)).max()
    assert whole.eigenvalue == pytest.approx(exact, rel=0.1)


def test_the_largest_eigenvalue_is_that_of_the_matrix():
    """Would catch a power iteration that stops early, or forgets the number of rows."""
    Z = smooth(300, 12)
    expected = np.linalg.eigvalsh(Z.T @ Z / 300).max()
    assert largest_eigenvalue(Z) == pytest.approx(expected, rel=5e-3)
    assert largest_eigenvalue(np.zeros((5, 3))) == 1.0


def test_a_deep_machine_of_few_rows_starts_at_random():
    """Would catch a greedy start of few rows, which learns them by heart three times over."""
    X = TABLES["factors, 80 x 150"][0][:80]
    few = dg.DBM((8, 6), random_state=0).fit(X)
    assert not any("layer" in entry for entry in few.history_)
    asked = dg.DBM((8, 6), n_epochs=2, random_state=0).fit(X)
    assert any("layer" in entry for entry in asked.history_)


@pytest.mark.parametrize("estimator", [dg.RBM(5), dg.DBN((5, 4)), dg.DBM((5, 4))])
def test_a_run_with_nothing_set_goes_on_from_a_checkpoint(estimator, tmp_path):
    """Would catch defaults that a resumed run chooses anew, or otherwise."""
    X, path = cancer(60), tmp_path / "run.checkpoint"
    estimator.set_params(random_state=0, n_threads=1)
    whole = type(estimator)(**estimator.get_params()).fit(X)
    stopped = type(estimator)(**estimator.get_params())
    stopped.set_params(callbacks=[dg.Checkpoint(path, minutes=None), At(fail, update=150)])
    with pytest.raises(Stop):
        stopped.fit(X)
    again = type(estimator)(**estimator.get_params()).fit(X, resume=path)
    assert (again.transform(X) == whole.transform(X)).all()
    assert again.n_epochs_ == whole.n_epochs_


# ------------------------------------------------------------------------------- patience of a run


class Falling:
    """A function of the model that is best in its first epoch."""

    def __init__(self):
        self.value = 0.0

    def __call__(self, model):
        self.value -= 1.0
        return self.value


@pytest.mark.parametrize(
    ("patience", "n_epochs", "expected"),
    [(None, 400, 41), (None, 30, 11), (0.25, 400, 101), (3, 400, 4)],
)
def test_patience_is_a_share_of_the_run(patience, n_epochs, expected):
    """Would catch a patience of ten epochs where an epoch of 50 rows is a single update."""
    stopping = dg.EarlyStopping(Falling(), patience=patience)
    rbm = dg.RBM(2, n_epochs=n_epochs, random_state=0, callbacks=[stopping]).fit(cancer(50))
    assert len(rbm.history_) == expected
    assert stopping.best_epoch == 1


def test_early_stopping_of_a_network_takes_a_share():
    """Would catch a share that is refused, or is counted as a number of epochs."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 20)), rng.integers(0, 2, 60)  # nothing to learn but by heart
    settings = {"n_epochs": 200, "learning_rate": 0.02, "random_state": 0}
    stopped = dg.DeepClassifier((32,), early_stopping=0.1, **settings).fit(X, y)
    losses = [entry["validation_loss"] for entry in stopped.history_]
    assert len(losses) == int(np.argmin(losses)) + 1 + 20
    with pytest.raises(ValueError, match="early_stopping must be"):
        dg.DeepClassifier((4,), early_stopping=1.5).fit(X, y)


# ------------------------------------------------------------------------------ real-valued columns


@pytest.mark.parametrize(
    "scales", [[1, 10, 100, 1000], [1, 1, 1, 1e5], [1e-3, 1, 1, 1e5], [1e-4] * 4]
)
def test_the_unit_of_a_column_changes_nothing(scales):
    """Would catch a floor of the variance that is one for all columns: a column of large values
    took 16 nats from the others."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(500, 1)) + 0.5 * rng.normal(size=(500, 4))

    def score(X):
        rbm = dg.RBM(4, visible="gaussian", n_epochs=40, random_state=0)
        return rbm.fit(X).score(X)

    expected = score(Z)
    assert expected == pytest.approx(-6.17, abs=0.3)
    assert score(Z * scales) + np.log(scales).sum() == pytest.approx(expected, abs=0.02)


def test_a_constant_column_has_a_finite_precision():
    """Would catch a logarithm of zero, or a constant that takes the precision of rounding."""
    X = np.random.default_rng(0).normal(size=(100, 3)) * [1.0, 0.0, 0.0] + [0.0, 0.0, 1e4]
    rbm = dg.RBM(3, visible="gaussian", n_epochs=3, random_state=0).fit(X)
    assert np.isfinite(rbm.score_samples(X)).all()


@pytest.mark.parametrize("n_hidden", [10, 256, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_correlated_columns_neither_diverge_nor_run_away(n_hidden, scale):
    """Would catch a rate that knows neither how columns hang together nor their scales: 0.05 ended
    in free energies of a million on 784 pixels of faces, and in DivergedError from 256 units up."""
    X = smooth(600, 300) * scale + 3.0 * scale
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rbm = dg.RBM(n_hidden, visible="gaussian", n_epochs=15, random_state=0).fit(X)
    start = dg.RBM(n_hidden, visible="gaussian", n_epochs=1, random_state=0).fit(X)
    assert rbm.history_[0]["learning_rate"] < 0.02
    assert np.abs(rbm.free_energy(X)).mean() < 10.0 * np.abs(start.free_energy(X)).mean()


def test_a_stack_over_correlated_columns_is_trained():
    """Would catch a stack or a deep machine whose lowest layer has a rate of its own."""
    X = smooth(300, 300)
    for estimator in (
        dg.DBN((64, 16), visible="gaussian", n_epochs=20, random_state=0),
        dg.DBM((64, 16), visible="gaussian", n_epochs=20, random_state=0),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isfinite(estimator.fit(X).transform(X)).all()


def test_a_run_that_has_run_away_is_told():
    """Would catch a model of free energies of a million that is returned without a word."""
    X = smooth(600, 300)
    rbm = dg.RBM(
        256, visible="gaussian", learning_rate=dg.Linear(0.12, 0.0), n_epochs=10, random_state=0
    )
    with pytest.warns(RuntimeWarning, match="the run has run away.*lower learning_rate") as told:
        rbm.fit(X)
    assert told[0].filename == __file__


@pytest.mark.slow
@pytest.mark.parametrize("n_hidden", [1, 10, 256])
def test_two_clusters_are_more_likely_than_one_gaussian(n_hidden):
    """Would catch precisions that are learned too slowly, or overshoot: clusters 15 deviations
    apart, where a unit scored 1.65 and one Gaussian 1.81."""
    rng = np.random.default_rng(0)
    k = rng.integers(0, 2, 2000)[:, None]
    S = np.where(k, 0.225, -0.225) + 0.03 * rng.normal(size=(2000, 2))
    rbm = dg.RBM(n_hidden, visible="gaussian", random_state=0).fit(S)
    assert rbm.score(S) > one_gaussian(S, S)


@pytest.mark.slow
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("load", [load_wine, load_diabetes, load_iris, load_breast_cancer])
def test_real_tables_are_more_likely_than_under_independent_columns(load, raw):
    """Would catch Gaussian units that few rows are learned by heart with, or raw columns that end
    elsewhere than standardized ones."""
    X = load().data
    X = X[np.random.default_rng(0).permutation(len(X))]
    n_rows = len(X) // 2
    mean, deviation = X[:n_rows].mean(axis=0), X[:n_rows].std(axis=0)
    Z = (X - mean) / deviation
    rbm = dg.RBM(visible="gaussian", random_state=0)
    rbm.fit((X if raw else Z)[:n_rows])
    rbm.log_partition(n_chains=30, n_betas=500)
    ours = rbm.score_samples((X if raw else Z)[n_rows:]) + raw * np.log(deviation).sum()
    others = -0.5 * np.square(Z[n_rows:]).sum(axis=1) - 0.5 * np.log(2.0 * np.pi) * X.shape[1]
    ahead = ours - others
    assert ahead.mean() > 2.0 * ahead.std() / np.sqrt(len(ahead))


# ---------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_a_classifier_is_not_behind_logistic_regression(load, raw):
    """Would catch a network that does not scale its inputs (.844 on raw wine), or trains for a
    minute where a second will do."""
    X, y = load(return_X_y=True)
    train, held, y_train, y_held = train_test_split(X, y, random_state=0, stratify=y)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    expected = linear.fit(train, y_train).score(held, y_held)
    if not raw:
        scaler = StandardScaler().fit(train)
        train, held = scaler.transform(train), scaler.transform(held)
    classifier = dg.DeepClassifier(random_state=0).fit(train, y_train)
    assert classifier.score(held, y_held) > expected - 2.0 / len(y_held)
    assert classifier.n_updates_ <= 400


@pytest.mark.parametrize("raw", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_regressor_is_not_behind_ridge(raw):
    """Would catch a network that learns 330 rows by heart: .290 where ridge has .437."""
    X, y = load_diabetes(return_X_y=True)
    X = X if raw else StandardScaler().fit_transform(X)
    ours, ridge = [], []
    for seed in range(3):
        train, held, y_train, y_held = train_test_split(X, y, random_state=seed)
        ours.append(dg.DeepRegressor(random_state=seed).fit(train, y_train).score(held, y_held))
        linear = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 11)))
        ridge.append(linear.fit(train, y_train).score(held, y_held))
    assert np.mean(ours) > np.mean(ridge) - 0.03


def test_a_network_of_scaled_inputs_reads_plain_rows(tmp_path):
    """Would catch a model, a file or a callback that wants rows standardized by hand."""
    X, y = load_wine(return_X_y=True)
    seen = []

    def look(report):
        seen.append(report.trainer.model())

    classifier = dg.DeepClassifier((16,), n_epochs=3, random_state=0, callbacks=[look]).fit(X, y)
    assert len(np.unique(classifier.predict(X))) > 1
    assert (seen[-1].forward(X) == classifier.predict_proba(X)).all()
    classifier.save(tmp_path / "model")
    assert (dg.load(tmp_path / "model").predict_proba(X) == classifier.predict_proba(X)).all()


def test_the_scale_of_inputs_is_folded_into_the_first_layer():
    """Would catch a bias that forgets the means, or weights that are multiplied for divided."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3)) * [1.0, 100.0, 0.01] + [0.0, 50.0, 3.0]
    scale = InputScale.needed(X.mean(axis=0), X.var(axis=0))
    network = dg.Network([dg.NetworkLayer("logistic", np.ones(2), rng.normal(size=(3, 2)))])
    plain = scale.folded_into(network).forward(X)
    assert np.allclose(plain, network.forward(scale.standardized(X)), atol=1e-4)


def test_inputs_around_one_are_taken_as_they_are():
    """Would catch a change of what grey values, bits and standardized columns have been taught."""
    ones = np.ones(4)
    assert InputScale.needed(0.5 * ones, 0.1 * ones) is None
    assert InputScale.needed(0.0 * ones, ones) is None
    assert InputScale.needed(np.array([0.0, 100.0]), np.ones(2)) is not None
    assert InputScale.needed(np.zeros(2), np.full(2, 1e-4)) is not None
    assert InputScale.needed(np.zeros(2), np.zeros(2)) is None


@pytest.mark.parametrize(("name", "draw", "is_noise"), [
    ("coins", lambda rng, n: rng.random((n, 40)) < 0.5, True),
    ("rare coins", lambda rng, n: rng.random((n, 200)) < np.linspace(0.001, 0.2, 200), True),
    ("normal", lambda rng, n: rng.normal(size=(n, 40)) * np.arange(1, 41) + 7.0, True),
    ("two columns", lambda rng, n: rng.normal(size=(n, 2)), True),
    ("pairs", lambda rng, n: rng.random((n, 20)).repeat(2, axis=1) + rng.random((n, 40)) < 1.0,
     False),
    ("heavy tails", lambda rng, n: rng.laplace(size=(n, 20)), False),
    ("one loudness", lambda rng, n: rng.normal(size=(n, 20)) * rng.random((n, 1)), False),
    ("two clusters", lambda rng, n: rng.normal(size=(n, 2)) + 9 * rng.integers(0, 2, (n, 1)),
     False),
])  # fmt: skip
@pytest.mark.parametrize("n_rows", [200, 3_000])
def test_noise_is_told_from_rows_that_can_be_learned(name, draw, is_noise, n_rows):
    """Would catch a machine that learns noise by heart, and one that learns nothing of dependence
    which the correlations of single columns do not show."""
    X = draw(np.random.default_rng(5), n_rows)
    real = X.dtype == np.float64
    units = dg.Gaussian(X.shape[1]) if real else dg.Binary(X.shape[1])
    rows = ArrayRows(X.astype(np.float32 if real else np.uint8))
    evidence = Evidence.of_rows(rows, units, survey(rows, units))
    assert evidence.is_noise == is_noise
    if is_noise:
        assert evidence.n_updates <= 100 + n_rows / 20
