"""What a fitted RBM answers: samples, imputations, features and the way back from them."""

import numpy as np
import pandas as pd
import pytest
import rbm_cases
from rbm_cases import KINDS, SMALL, X
from scipy import sparse

import deepgen as dg

pytestmark = pytest.mark.usefixtures("serial_module")

digits, fitted_digits = rbm_cases.digits, rbm_cases.fitted_digits


# -------------------------------------------------------------------------------------- samples


def test_an_integer_seed_does_not_make_every_sample_the_same(fitted_digits):
    """Would catch a generator made anew for each row (scikit-learn #4227)."""
    draws = fitted_digits.sample(100, n_sweeps=50, random_state=0)
    assert len(np.unique(draws, axis=0)) > 90
    steps = [fitted_digits.sample(50, n_sweeps=n, random_state=0) for n in (10, 11)]
    assert (steps[0] != steps[1]).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", ["pcd", "cd"])
def test_pieces_with_first_row_equal_the_whole(kind, rule):
    """Would catch draws that count from the call and not from the row."""
    visible, rows = KINDS[kind]
    rbm = dg.RBM(visible=visible, rule=rule, **SMALL).fit(rows)
    for n_sweeps in (0, 1, 3):
        whole = rbm.sample(230, n_sweeps=n_sweeps, random_state=5)
        pieces = [
            rbm.sample(n, n_sweeps=n_sweeps, random_state=5, first_row=first)
            for first, n in ((0, 1), (1, 129), (130, 0), (130, 100))
        ]
        assert np.array_equal(whole, np.concatenate(pieces))
    missing = np.random.default_rng(0).random(rows.shape) < 0.3
    if kind == "softmax":
        missing = np.repeat(missing[:, ::3], 3, axis=1)
    for method in ("mean", "draw"):
        options = {"method": method, "n_chains": 3, "n_sweeps": 4, "random_state": 5}
        whole = rbm.impute(rows, missing, **options)
        cut = [
            rbm.impute(rows[first:last], missing[first:last], first_row=first, **options)
            for first, last in ((0, 1), (1, 40), (40, 60))
        ]
        assert np.array_equal(whole, np.concatenate(cut))


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_states_of_their_units(kind):
    """Would catch means for draws, or softmax groups drawn as independent bits."""
    visible, rows = KINDS[kind]
    rbm = dg.RBM(visible=visible, **SMALL).fit(rows)
    draws = rbm.sample(40, n_sweeps=20, random_state=0)
    assert draws.shape == (40, 12)
    if kind == "gaussian":
        assert draws.dtype == np.float32
        assert np.isfinite(draws).all()
        return
    assert draws.dtype == np.uint8
    assert set(np.unique(draws)) <= {0, 1}
    if kind == "softmax":
        assert (draws.reshape(40, 4, 3).sum(axis=2) == 1).all()
    assert rbm.sample(0).shape == (0, 12)
    assert rbm.sample(0).dtype == np.uint8


def test_samples_of_digits_have_the_moments_of_digits(digits, fitted_digits):
    """Would catch a sampler or a model whose fantasies drift away from the data."""
    draws = fitted_digits.sample(2000, n_sweeps=500, random_state=0)
    train = digits[0].astype(np.float64)
    assert np.abs(draws.mean(axis=0) - train.mean(axis=0)).max() < 0.08
    pairs = np.abs(draws.T @ draws.astype(np.float64) / len(draws) - train.T @ train / len(train))
    assert pairs.mean() < 0.02


# ----------------------------------------------------------------------------------- imputation


def awkward_values(kind, dtype):
    """Rows with values whose bits a detour through float32 or arithmetic would change."""
    rows = np.array(KINDS[kind][1], dtype)
    if kind in ("grey", "gaussian"):
        rows[0, :4] = [np.nextafter(dtype(1), dtype(0)), dtype(1) / 3, -0.0, np.finfo(dtype).tiny]
    return rows


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_imputation_leaves_observed_entries_untouched(kind, dtype):
    """Would catch observed entries resampled, rounded, or replaced by reconstructions."""
    rows = awkward_values(kind, dtype)
    rbm = dg.RBM(visible=KINDS[kind][0], **SMALL).fit(rows)
    missing = np.random.default_rng(3).random(rows.shape) < 0.4
    if kind == "softmax":
        missing = np.repeat(missing[:, ::3], 3, axis=1)
    missing[0, :4] = False
    if kind == "softmax":
        missing[0, :6] = False
    holes = np.where(missing, np.nan, rows).astype(dtype)
    options = {"n_chains": 4, "n_sweeps": 5, "random_state": 0}
    for method in ("mean", "draw"):
        by_nan, deviation = rbm.impute(holes, method=method, return_std=True, **options)
        by_mask = rbm.impute(rows, missing, method=method, **options)
        garbage = rbm.impute(np.where(missing, 77.0, rows).astype(dtype), missing,
                             method=method, **options)  # fmt: skip
        infinite = rbm.impute(np.where(missing, np.inf, rows).astype(dtype), missing,
                              method=method, **options)  # fmt: skip
        assert by_nan.dtype == dtype
        for completed in (by_nan, by_mask, garbage, infinite):
            assert completed[~missing].tobytes() == rows[~missing].tobytes()
            assert np.array_equal(completed, by_nan)
        assert np.isfinite(by_nan).all()
        assert (deviation[~missing] == 0).all()
        assert (deviation[missing] > 0).all()
        if method == "draw" and kind in ("binary", "grey", "softmax"):
            assert set(np.unique(by_nan[missing])) <= {0.0, 1.0}
    assert np.isnan(holes[missing]).all()  # the caller's array


def test_imputed_bits_and_frames():
    """Would catch holes refused in integers, booleans or data frames."""
    rbm = dg.RBM(**SMALL).fit(X)
    missing = np.random.default_rng(3).random(X.shape) < 0.4
    options = {"n_chains": 3, "n_sweeps": 5, "random_state": 0}
    expected = rbm.impute(X.astype(np.float32), missing, **options)
    for rows in (X, X.astype(bool)):
        assert np.array_equal(rbm.impute(rows, missing, **options), expected)
        assert np.array_equal(rbm.impute(rows, missing.tolist(), **options), expected)
    holes = pd.DataFrame(np.where(missing, np.nan, X.astype(np.float32)))
    assert np.array_equal(rbm.impute(holes, **options), expected)
    nothing = np.zeros_like(missing)
    assert np.array_equal(rbm.impute(X, nothing, **options), X.astype(np.float32))
    assert rbm.impute(X[:0], missing[:0], **options).shape == (0, 12)


def test_imputation_uses_what_is_observed(digits, fitted_digits):
    """Would catch chains that ignore the held entries: the mean must beat the column mean by
    far, and its own deviations must describe its errors."""
    held_out = digits[1]
    missing = np.zeros(held_out.shape, bool)
    missing[:, 32:] = True
    mean, deviation = fitted_digits.impute(
        held_out, missing, n_chains=20, n_sweeps=60, random_state=0, return_std=True
    )
    error = (mean - held_out)[missing]
    base = (digits[0].mean(axis=0) - held_out)[missing]
    assert (error**2).mean() < 0.75 * (base**2).mean()
    assert (deviation[missing] ** 2).mean() == pytest.approx((error**2).mean(), rel=0.25)


def test_grey_rows_are_imputed_from_their_grey_values():
    """Would catch observed grey values taken as zeros while chains are conditioned on them."""
    weights = np.array([[8.0], [8.0]])
    model = dg.BoltzmannMachine([dg.Binary(bias=[-4.0, -4.0]), dg.Binary(bias=[-4.0])], [weights])
    rbm = dg.RBM.from_model(model)
    rows = np.array([[0.9, np.nan], [0.1, np.nan], [1.0, np.nan], [0.0, np.nan]])
    mean = rbm.impute(rows, n_chains=400, n_sweeps=10, random_state=0)[:, 1]
    assert mean[3] + 0.05 < mean[1] < mean[0] < mean[2] + 1e-9
    # the mixture of both conditionals, within 5 standard errors of 400 chains
    for row, share in ((0, 0.9), (1, 0.1)):
        expected = share * mean[2] + (1 - share) * mean[3]
        assert abs(mean[row] - expected) < 5 * 0.5 / np.sqrt(400)


def test_imputation_of_gaussian_rows_agrees_with_the_exact_conditional():
    """Would catch a deviation without the units' own variance, or the wrong conditional."""
    weight = np.array([[1.0], [0.8]])
    model = dg.BoltzmannMachine([dg.Gaussian(bias=[0.0, 0.5]), dg.Binary(bias=[-0.3])], [weight])
    rbm = dg.RBM.from_model(model)
    value = 1.2
    # p(h = 1 | x0), x1 summed out: odds exp(c + w0 x0 + b1 w1 + w1^2 / 2)
    odds = np.exp(-0.3 + 1.0 * value + 0.5 * 0.8 + 0.8**2 / 2)
    p = odds / (1 + odds)
    expected = 0.5 + 0.8 * p
    variance = 1.0 + 0.8**2 * p * (1 - p)
    n = 400
    mean, deviation = rbm.impute(
        np.array([[value, np.nan]]), n_chains=n, n_sweeps=50, random_state=0, return_std=True
    )
    assert abs(mean[0, 1] - expected) < 5 * 0.8 * np.sqrt(p * (1 - p) / n)
    assert deviation[0, 1] == pytest.approx(np.sqrt(variance), rel=5 / np.sqrt(n))


# --------------------------------------------------------------------------- features, and back


@pytest.mark.parametrize(
    ("kind", "hidden"),
    [(kind, hidden) for kind in KINDS for hidden in ("binary", "gaussian", dg.Softmax(5))
     if (kind, hidden) != ("gaussian", "gaussian")],
)  # fmt: skip
def test_there_and_back_keeps_shapes_and_domains(kind, hidden):
    """Would catch transposed weights, or means outside what the units can be."""
    visible, rows = KINDS[kind]
    rbm = dg.RBM(visible=visible, hidden=hidden, **SMALL).fit(rows)
    features = rbm.transform(rows)
    back = rbm.inverse_transform(features)
    assert features.shape == (60, 5)
    assert back.shape == rows.shape
    assert features.dtype == back.dtype == np.float32
    assert rbm.inverse_transform(sparse.csr_matrix(features)).shape == rows.shape
    if kind != "gaussian":
        assert (back >= 0).all()
        assert (back <= 1).all()
    if kind == "softmax":
        assert back.reshape(60, 4, 3).sum(axis=2) == pytest.approx(1.0, abs=1e-5)


def test_options_of_hidden_units_reach_the_model():
    """Would catch a layer description that is replaced by the default of its kind."""
    for hidden in (
        dg.Gaussian(log_precision=np.arange(5.0)),
        dg.Binary(n_copies=2),
        dg.Softmax(5),
    ):
        layer = dg.RBM(hidden=hidden, **SMALL).fit(X).model_.layers[1]
        assert type(layer) is type(hidden)
        assert layer.n_copies == hidden.n_copies
        assert layer.group == hidden.group
        if isinstance(hidden, dg.Gaussian):  # its scale is the weights' scale: not learned
            assert layer.log_precision.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_features_follow_the_formula(fitted_digits, digits):
    """Would catch centring offsets left out of the model: features are logistic(X W + c)."""
    model = fitted_digits.model_
    field = digits[1] @ model.weights[0].astype(np.float64) + model.layers[1].bias
    assert fitted_digits.transform(digits[1]) == pytest.approx(1 / (1 + np.exp(-field)), abs=1e-5)
    assert not model.weights[0].flags.writeable
    assert not model.layers[0].bias.flags.writeable


# ----------------------------------------------------------------- samplers and ladders of models


def test_complete_tells_all_that_impute_does(digits, fitted_digits):
    """Would catch results of other chains than those of `impute`, or swapped means and draws."""
    rows = np.array(digits[0][:5], np.float32)
    rows[:, 30:] = np.nan
    options = {"n_chains": 3, "n_sweeps": 4, "random_state": 5}
    found = fitted_digits.complete(rows, **options)
    means, deviations = fitted_digits.impute(rows, return_std=True, **options)
    assert np.array_equal(found.means, means)
    assert np.array_equal(found.deviations, deviations)
    assert np.array_equal(found.draws, fitted_digits.impute(rows, method="draw", **options))
    other = fitted_digits.complete(rows, sampler=dg.ParallelTempering(3), **options)
    assert np.array_equal(other.means[:, :30], rows[:, :30])
    assert not np.array_equal(other.means, means)


def test_completions_know_which_mode_is_the_probable_one():
    """Would catch a sampler that is not handed on: Gibbs chains all begin in the mode of mass .2,
    where the biases put them, and stay there."""
    field = 4.0 * np.where(np.arange(20) % 2, 1.0, -1.0)
    weights = np.append(field, 0.0)[:, None]
    # the modes are mirror images, so the hidden bias is the log odds of their masses
    layers = [dg.Binary(bias=-0.5 * weights[:, 0]), dg.Binary(bias=[np.log(4.0)])]
    rbm = dg.RBM.from_model(dg.BoltzmannMachine(layers, [weights]))
    rows = np.full((1, 21), np.nan, np.float32)
    rows[:, 20] = 1.0
    options = {"n_chains": 100, "n_sweeps": 60, "random_state": 0}
    stuck = rbm.complete(rows, **options).means[0, 1]
    found = rbm.complete(rows, sampler=dg.ParallelTempering(6), **options)
    low, high = 1.0 / (1.0 + np.exp(2.0)), 1.0 / (1.0 + np.exp(-2.0))  # means in the two modes
    assert abs(stuck - low) < 0.01
    error = (high - low) * np.sqrt(0.16 / 100)
    assert abs(found.means[0, 1] - (0.8 * high + 0.2 * low)) < 5.0 * error
    assert found.means[0, 20] == 1.0


def test_samplers_that_hold_nothing_complete_nothing(digits, fitted_digits):
    """Would catch observed entries that a sampler moves, in silence."""

    class Free:
        takes_context = False

        def start(self, model, particles, site):
            raise AssertionError

        def move(self, model, chains, site, **options):
            raise AssertionError

    with pytest.raises(ValueError, match="sampler must be one that can hold observed entries"):
        fitted_digits.complete(digits[0][:1], sampler=Free())
    with pytest.raises(ValueError, match=r"sampler must be dg.Gibbs\(\)"):
        fitted_digits.complete(digits[0][:1], sampler="gibbs")


def modes(share=1.0, n_idle=40):
    """A machine of a broad and a tight mode of one mass, and idle units: too many to enumerate."""
    field = share * 8.0 * np.where(np.arange(60) % 2, 1.0, -1.0)
    bias = 60 * np.log(2.0) - np.logaddexp(0.0, field).sum()
    weights = np.zeros((60, 1 + n_idle))
    weights[:, 0] = field
    hidden = dg.Binary(bias=np.append(bias, np.zeros(n_idle)))
    return dg.BoltzmannMachine([dg.Binary(bias=np.zeros(60)), hidden], [weights])


def test_likelihoods_hear_a_ladder_of_models():
    """Would catch a ladder that is asked and not believed, and a bracket of another question that
    is taken for its answer: annealing misses half of Z here, and says nothing."""
    ladder = dg.TrajectoryTempering([modes(s) for s in np.linspace(0.0, 1.0, 9)[:-1] ** 2])
    rbm = dg.RBM.from_model(modes())
    value = (60 + 40 + 1) * np.log(2.0)  # of each mode 2^60, of the idle units 2^40
    alone = rbm.log_partition(n_chains=40, n_betas=300)
    heard = rbm.log_partition(n_chains=40, n_betas=300, ladder=ladder)
    assert alone.reason == ""
    assert "ladder of models" in heard.reason
    assert heard.lower <= value <= heard.upper
    assert rbm.log_partition(n_chains=40, n_betas=300, ladder=ladder) is heard
    rows = np.zeros((2, 60), np.uint8)
    assert rbm.score(rows) == pytest.approx(-rbm.free_energy(rows).mean() - heard.upper)
    small = dg.RBM.from_model(dg.BoltzmannMachine([dg.Binary(3), dg.Binary(2)], [np.eye(3, 2)]))
    assert small.log_partition(ladder=ladder).method == "exact"
    with pytest.raises(ValueError, match=r"ladder must be None or a dg\.Traj"):
        rbm.log_partition(ladder=dg.ModelLadder())
