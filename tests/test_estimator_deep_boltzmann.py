"""What a fitted DBM answers: features, scores as bounds, samples, completions, files."""

import exact
import numpy as np
import pytest
from conftest import assert_mean, assert_same_bits, in_form, random_model, twin
from scipy import sparse
from sklearn.exceptions import NotFittedError

import deepgen as dg

pytestmark = pytest.mark.usefixtures("serial")

TINY = {"n_hidden": (8, 5), "n_epochs": 2, "batch_size": 50, "random_state": 3}


def small(seed=1, kinds=("binary", "binary", "binary"), sizes=None):
    """An estimator around an enumerable model, and the model's twin."""
    model = random_model(kinds, seed, sizes)
    return dg.DBM.from_model(model), twin(model)


def labelled(seed=1):
    """An estimator around an enumerable model with label units on top."""
    rng = np.random.default_rng(seed)
    layers = [
        dg.Binary(bias=rng.normal(size=4)), dg.Binary(bias=rng.normal(size=3)),
        dg.Binary(bias=rng.normal(size=2)), dg.Softmax(3, bias=rng.normal(size=3)),
    ]  # fmt: skip
    weights = [rng.normal(size=(a, b)) for a, b in ((4, 3), (3, 2), (2, 3))]
    return dg.BoltzmannMachine(layers, weights, observed=(0, 3))


# --- features ---------------------------------------------------------------------------------


@pytest.mark.parametrize("visible", ["binary", "gaussian", "softmax"])
def test_of_two_layers_it_answers_as_an_rbm(visible):
    """Would catch inference, chains or scores of deep machines that differ where they are exact:
    two layers are an RBM, whose tests know more."""
    model = random_model((visible, "binary"), 2, (6, 5))
    dbm, rbm = dg.DBM.from_model(model), dg.RBM.from_model(model)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9, 6)) if visible == "gaussian" else rng.integers(0, 2, (9, 6))
    if visible == "softmax":
        X = np.eye(3)[rng.integers(0, 3, (9, 2))].reshape(9, 6)
    assert_same_bits(dbm.transform(X), rbm.transform(X))
    assert_same_bits(dbm.posterior(X)[0], rbm.transform(X))
    options = {"n_sweeps": 5, "random_state": 0}
    assert_same_bits(dbm.sample(7, **options), rbm.sample(7, **options))
    missing = np.zeros(X.shape, bool)
    missing[:, 3:] = True
    one, other = (e.impute(X, missing, return_std=True, **options) for e in (dbm, rbm))
    for a, b in zip(one, other, strict=True):
        assert_same_bits(a, b)
    assert dbm.log_partition().value == rbm.log_partition().value
    expected = rbm.score_samples(X)
    np.testing.assert_allclose(dbm.bound(X), expected, atol=1e-5, rtol=1e-6)
    np.testing.assert_allclose(dbm.score_samples(X), expected, atol=1e-5, rtol=1e-6)
    assert dbm.score(X) == pytest.approx(rbm.score(X), abs=1e-5)


@pytest.mark.parametrize("form", ["csr", "bytes", "floats"])
def test_features_do_not_depend_on_how_rows_are_stored_or_on_their_company(
    form, rows, tmp_path, monkeypatch
):
    """Would catch mean field that stops for all rows at once, and rows lost between pieces."""
    dbm = dg.DBM(**TINY).fit(rows)
    expected, posterior = dbm.transform(rows), dbm.posterior(rows)
    assert_same_bits(dbm.transform(in_form(rows, form)), expected)
    assert_same_bits(dbm.transform(in_form(rows[7:9], form)), expected[7:9])
    mapped = np.memmap(tmp_path / "rows", np.uint8, "w+", shape=rows.shape)
    mapped[...] = rows
    assert_same_bits(dbm.transform(mapped), expected)
    for room in ("rows.sources", "estimators.common.validation"):
        monkeypatch.setattr(f"deepgen.{room}.CHECK_ROWS", 32)
    for one, other in zip(dbm.posterior(in_form(rows, form)), posterior, strict=True):
        assert_same_bits(one, other)
    assert_same_bits(posterior[-1], expected)
    assert dbm.posterior(rows)[0].shape == (130, 8)


def test_the_posterior_is_that_of_the_core(rows):
    """Would catch another tolerance than that of the bounds, or a layer in another's place."""
    dbm = dg.DBM(**TINY).fit(rows)
    until = dg.FixedPoint(max_sweeps=100, tol=1e-4)
    means = dg.mean_field(dbm.model_, [rows, None, None], until=until).means
    for one, other in zip(dbm.posterior(rows), means[1:], strict=True):
        assert_same_bits(one, other)


# --- likelihoods ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        random_model(("binary",) * 3, 1), random_model(("binary",) * 4, 2),
        random_model(("softmax", "binary", "binary"), 3), labelled(),
    ],
    ids=["three", "four", "softmax", "labels"],
)  # fmt: skip
def test_scores_are_bounds_of_the_exact_likelihood(model):
    """Would catch log Z of another machine, a bound that is none, labels that are not summed out,
    or random numbers that differ from call to call."""
    dbm = dg.DBM.from_model(model)
    layers, weights = twin(model)
    v = exact.layer_states(layers[0]).astype(np.uint8)
    likelihood = exact.log_likelihood(layers, weights, v)
    np.testing.assert_allclose(np.exp(likelihood).sum(), 1.0, rtol=1e-9)
    log_z = dbm.log_partition()
    assert log_z.method == "exact"
    np.testing.assert_allclose(log_z.value, exact.log_partition(layers, weights), rtol=1e-6)
    bound = dbm.bound(v)
    assert (bound <= likelihood + 1e-5).all()
    assert np.abs(bound - likelihood).max() < 1.0
    many = dbm.score_samples(v, n_draws=20_000)
    assert np.abs(many - likelihood).max() < 0.05
    assert_same_bits(bound, dg.variational_bound(model, v, log_partition=log_z.value))
    assert_same_bits(
        dbm.score_samples(v),
        dg.importance_weighted_bound(
            model, v, log_partition=log_z.value, random_state=dbm._fitted.score_seed
        ),
    )
    assert dbm.score(v) == dbm.score_samples(v).mean()


def test_score_is_taken_at_the_lower_end_of_the_bracket(rows):
    """Would catch a model search that prefers what annealing fails on, and a bracket that is
    computed for each call or kept after another fit."""
    dbm = dg.DBM((30, 20, 27), n_epochs=1, random_state=0).fit(np.hstack([rows, rows, rows]))
    X = np.hstack([rows, rows, rows])[:20]
    bracket = dbm.log_partition(n_chains=10, n_betas=50)
    assert bracket.method != "exact"
    assert bracket is dbm.log_partition(n_chains=10, n_betas=50)
    expected = dbm.score_samples(X).mean() - (bracket.upper - bracket.value)
    assert dbm.score(X) == pytest.approx(expected, rel=1e-12)
    dbm.partial_fit(np.hstack([rows, rows, rows]))
    assert dbm._fitted.bracket is None


def test_rows_without_a_likelihood_are_told():
    """Would catch a likelihood of means, or of rows with holes."""
    dbm, _ = small()
    for ask in (dbm.score_samples, dbm.bound, dbm.score):
        with pytest.warns(UserWarning, match="not a log-likelihood") as caught:
            ask(np.full((2, 3), 0.5))
        assert [warning.filename for warning in caught] == [__file__]
    dbm, _ = small(kinds=("softmax", "binary", "binary"))
    with pytest.raises(ValueError, match="missing variables"):
        dbm.bound(np.zeros((2, 6)))
    with pytest.raises(ValueError, match="n_draws must be a positive integer"):
        dbm.score_samples(np.eye(6)[:2] + np.eye(6)[3:5], n_draws=0)


# --- labels -----------------------------------------------------------------------------------


def test_probabilities_of_classes_are_close_to_the_exact_ones():
    """Would catch classes of another layer or in another order. Where the layers hear each other
    little, mean field is nearly exact."""
    model = labelled()
    model = model.replace(weights=[0.3 * weights for weights in model.weights])
    dbm = dg.DBM.from_model(model, ["z", "a", "m"])
    layers, weights = twin(model)
    v = exact.layer_states(layers[0])
    expected = np.array([
        exact.expectation(layers, weights, clamped={0: row})[3] for row in v
    ])  # fmt: skip
    found = dbm.predict_proba(v)
    np.testing.assert_allclose(found, expected, atol=0.01)
    chosen = expected.argmax(axis=1)
    assert dbm.predict(v).tolist() == [["z", "a", "m"][place] for place in chosen]
    assert dbm.transform(v).shape == (16, 2)
    # a stream goes on with labels in the order of the units, sorted or not
    dbm.partial_fit(v, np.array(["a"] * 16))
    assert dbm.classes_.tolist() == ["z", "a", "m"]


# --- samples and completions ------------------------------------------------------------------


def test_samples_have_the_distribution_of_the_model_and_come_in_pieces():
    """Would catch chains that leave a layer out, or pieces that do not fit."""
    dbm, (layers, weights) = small(seed=3)
    draws = dbm.sample(20_000, n_sweeps=50, random_state=0)
    assert_mean(draws, exact.expectation(layers, weights)[0], 1e-6)
    whole = dbm.sample(11, n_sweeps=4, random_state=2)
    parts = [dbm.sample(n, n_sweeps=4, random_state=2, first_row=f) for n, f in ((5, 0), (6, 5))]
    assert_same_bits(np.concatenate(parts), whole)
    assert dbm.sample(0).shape == (0, 3)


def test_samples_start_from_the_training_particles(rows):
    """Would catch chains that start from nothing although training has good ones."""
    dbm = dg.DBM((6, 5), rule=dg.MeanFieldPCD(n_particles=4), n_epochs=1, random_state=0).fit(rows)
    found = dbm.sample(6, n_sweeps=0, random_state=0)
    assert_same_bits(found, dbm._fitted.particles[0][np.arange(6) % 4])


def test_impute_completes_what_is_missing():
    """Would catch observed entries that change, or completions that leave the top layer out."""
    dbm, (layers, weights) = small(seed=5)
    X = np.tile([1.0, np.nan, np.nan], (4_000, 1))
    draws = dbm.impute(X, method="draw", n_chains=1, n_sweeps=30, random_state=0)
    held = np.array([1.0, np.nan, np.nan])
    assert_mean(draws, exact.expectation(layers, weights, clamped={0: held})[0], 1e-6)
    options = {"n_chains": 4, "n_sweeps": 2, "random_state": 0}
    means, deviation = dbm.impute(X[:4], return_std=True, **options)
    assert means.dtype == np.float64
    assert (means[:, 0] == 1).all()
    assert (deviation[:, 1:] > 0).all()
    assert not deviation[:, 0].any()
    parts = [dbm.impute(X[first : first + 2], first_row=first, **options) for first in (0, 2)]
    assert_same_bits(np.concatenate(parts), means)


def test_label_units_take_part_in_samples_and_completions():
    """Would catch chains of a model with labels that need them."""
    dbm = dg.DBM.from_model(labelled())
    assert dbm.sample(3, n_sweeps=2, random_state=0).shape == (3, 4)
    X = np.array([[1.0, 0.0, np.nan, np.nan]])
    assert (dbm.impute(X, n_chains=2, n_sweeps=2, random_state=0)[0, :2] == [1, 0]).all()


# --- files and models -------------------------------------------------------------------------


@pytest.mark.parametrize("label_units", [False, True])
@pytest.mark.parametrize("n_hidden", [(8, 5), (8,)])
def test_a_model_comes_back_from_its_file(n_hidden, label_units, rows, tmp_path):
    """Would catch a file that forgets classes or the seed of the likelihoods, and a machine of
    two layers that comes back as an RBM."""
    y = np.array(["a", "b"])[np.arange(130) % 2]
    dbm = dg.DBM(**{**TINY, "n_hidden": n_hidden}, label_units=label_units).fit(rows, y)
    dbm.save(tmp_path / "dbm")
    loaded = dg.load(tmp_path / "dbm")
    assert isinstance(loaded, dg.DBM)
    assert (loaded.n_hidden, loaded.label_units) == (n_hidden, label_units)
    assert loaded._fitted.score_seed == dbm._fitted.score_seed
    assert_same_bits(loaded.transform(rows), dbm.transform(rows))
    assert_same_bits(loaded.bound(rows[:5]), dbm.bound(rows[:5]))
    if label_units:
        assert loaded.classes_.tolist() == ["a", "b"]
        assert loaded.predict(rows).tolist() == dbm.predict(rows).tolist()
    loaded.partial_fit(sparse.csr_array(rows), y)


def test_models_that_are_no_dbm_are_refused():
    """Would catch an estimator around a model that it cannot answer for."""
    binary = [dg.Binary(4), dg.Binary(3), dg.Binary(2)]
    weights = [np.zeros((4, 3)), np.zeros((3, 2))]

    def machine(layers, observed=(0,)):
        return dg.BoltzmannMachine(layers, weights, observed=observed)

    copies = [dg.Binary(4), dg.Binary(3, n_copies=2), dg.Binary(2)]
    for model, message in (
        (None, "model must be a BoltzmannMachine, got None"), (dg.DBM(), "got DBM"),
        (machine(binary, (0, 1)), "must observe its first layer"),
        (machine(binary, (1,)), "must observe its first layer"),
        (machine([dg.Binary(4), dg.Binary(3), dg.Gaussian(2)]), "binary hidden layers"),
        (machine(copies), "binary hidden layers"),
        (machine(binary, (0, 2)), "one softmax group on top"),
        (dg.BoltzmannMachine([*binary[:2], dg.Softmax(2, size=4)],
                             [weights[0], np.zeros((3, 4))], observed=(0, 2)),
         "one softmax group on top"),
        (dg.BoltzmannMachine([dg.Binary(4), dg.Softmax(3, size=3)], weights[:1], observed=(0, 1)),
         "binary hidden layers"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            dg.DBM.from_model(model)
    for classes in (["a"], ["a", "a", "b"], [[1, 2, 3]], [1, None, 2], [{}, [], 1], "abc"):
        with pytest.raises(ValueError, match="classes must hold 3 different labels"):
            dg.DBM.from_model(labelled(), classes)
    with pytest.raises(ValueError, match="classes must be None for a model without label units"):
        dg.DBM.from_model(machine(binary), [0, 1])


def test_nothing_is_answered_before_fit(rows):
    """Would catch an AttributeError of a private name."""
    dbm = dg.DBM(label_units=True)
    for name in ("transform", "posterior", "score_samples", "bound", "score", "predict",
                 "predict_proba", "impute"):  # fmt: skip
        with pytest.raises(NotFittedError):
            getattr(dbm, name)(rows)
    for call in (dbm.sample, dbm.log_partition, lambda: dbm.save("never")):
        with pytest.raises(NotFittedError):
            call()
    with pytest.raises(AttributeError, match="no attribute 'predict_proba'"):
        dg.DBM().predict_proba(rows)
