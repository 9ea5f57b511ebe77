"""What the RBM estimator refuses: rows, batches, parameters, arguments; nothing changes."""

import copy
import re

import numpy as np
import pandas as pd
import pytest
import rbm_cases
from comparisons import bits, is_finite
from conftest import Batches
from rbm_cases import GREY, ONE_HOT, REAL, SMALL, X, state
from scipy import sparse

import deepgen as dg

pytestmark = pytest.mark.usefixtures("serial_module")

fitted = rbm_cases.fitted


# ----------------------------------------------------------------------------------------- rows


def nan_at(rows, value=np.nan):
    rows = np.array(rows, np.float64)
    rows[3, 4] = value
    return rows


def damaged_csr(part, value):
    matrix = sparse.csr_matrix(X.astype(np.float32))
    getattr(matrix, part)[1] = value
    return matrix


BAD_ROWS = {
    "above one": (lambda: 255 * X, r"X must have values in \[0, 1\].*got 255.*X / 255"),
    "barely above one": (lambda: X * 1.001, r"X must have values in \[0, 1\].*got 1.001"),
    "negative": (lambda: X - 0.5, r"X must have values in \[0, 1\].*got -0.5"),
    "negative CSR": (lambda: sparse.csr_matrix(-1.0 * X), r"X must have values in \[0, 1\]"),
    "CSR above one": (lambda: sparse.csr_matrix(2.0 * X), r"X must have values in \[0, 1\]"),
    "int8": (lambda: -X.astype(np.int8), r"X must have values in \[0, 1\]"),
    "NaN": (lambda: nan_at(GREY), "X (contains NaN|must be finite)"),
    "NaN CSR": (lambda: sparse.csr_matrix(nan_at(GREY)), "X must be finite.*NaN"),
    "infinity": (lambda: nan_at(GREY, np.inf), "X (contains infinity|must be finite)"),
    "NaN frame": (lambda: pd.DataFrame(nan_at(GREY)), "X must be finite.*NaN"),
    "no rows": (lambda: X[:0], r"0 sample\(s\)"),
    "no columns": (lambda: X[:, :0], r"0 feature\(s\)"),
    "1-D": (lambda: X[0], "Expected 2D array, got 1D array"),
    "3-D": (lambda: X.reshape(5, 12, 12), "dim 3"),
    "a number": (lambda: 3, "Expected 2D array, got scalar"),
    "None": (lambda: None, "Expected 2D array|NoneType"),
    "text": (lambda: np.array([["a"] * 12] * 3), "X cannot be used.*numeric"),
    "complex": (lambda: X * 1j, "Complex data not supported"),
    "ragged": (lambda: [[0, 1], [1]], "inhomogeneous|sequence"),
    "np.matrix": (lambda: np.asmatrix(X), "np.matrix"),
    "masked array": (lambda: np.ma.array(X, mask=X == 1), "X is a masked array.*impute"),
    "CSR index beyond the columns": (lambda: damaged_csr("indices", 10**8), "X is a damaged"),
    "CSR negative index": (lambda: damaged_csr("indices", -3), "X is a damaged"),
    "CSR row start beyond the end": (lambda: damaged_csr("indptr", 10**6), "X is a damaged"),
    "CSR row starts not in order": (lambda: damaged_csr("indptr", -1), "X is a damaged"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize(
    ("method", "case"),
    [
        (method, case)
        for method in ("fit", "partial_fit", "transform", "free_energy", "score")
        for case in BAD_ROWS
        # values that are missing, which the first three take
        if case not in ("NaN", "NaN frame") or method in ("free_energy", "score")
    ],
)
def test_bad_rows_are_refused_and_change_nothing(case, method, fitted):
    """Would catch bytes taken for bits, NaN sampled as zero, a crash on a damaged CSR matrix,
    and a failed fit that leaves a half-changed estimator."""
    make, message = BAD_ROWS[case]
    with np.errstate(all="ignore"):
        rows = make()
    for rbm in (dg.RBM(**SMALL), copy.deepcopy(fitted)):
        if method not in ("fit", "partial_fit") and not hasattr(rbm, "model_"):
            continue
        before, answer = state(rbm), fitted.transform(X)
        with pytest.raises((ValueError, TypeError), match=message):
            getattr(rbm, method)(rows)
        assert state(rbm) == before
        if hasattr(rbm, "model_"):
            assert np.array_equal(rbm.transform(X), answer)


@pytest.mark.parametrize(
    ("visible", "rows", "message"),
    [
        ("gaussian", nan_at(REAL, -np.inf), "X must be finite.*inf"),
        ("gaussian", nan_at(REAL, 1e300), "X must be finite.*beyond float32"),
        ("gaussian", sparse.csr_matrix(nan_at(REAL, -1e39)), "X must be finite.*beyond float32"),
        (dg.Softmax(3), X, "X must have one 1 in each group of 3 columns"),
        (dg.Softmax(3), ONE_HOT * 0.5, "X must have one 1 in each group of 3 columns.*0.5"),
        (dg.Softmax(3), ONE_HOT - 1.0, r"X must have values in \[0, 1\] for softmax"),
        (dg.Softmax(5), ONE_HOT, "visible does not fit the 12 columns of X.*multiple of 5"),
        (dg.Binary(10), X, "visible does not fit the 12 columns of X.*10 units"),
        (dg.Binary(n_copies=2), 3 * X, r"X must have values in \[0, 2\]"),
    ],
)
def test_other_units_refuse_what_they_cannot_take(visible, rows, message):
    """Would catch a unit type without a domain check, or an overflow on the way to float32."""
    for method in ("fit", "partial_fit"):
        rbm = dg.RBM(visible=visible, **SMALL)
        before = state(rbm)
        with pytest.raises(ValueError, match=message):
            getattr(rbm, method)(rows)
        assert state(rbm) == before


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e-3, 1e3, 1e6, 1e12, 1e18, 1e30])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_real_values_of_any_scale_train_or_are_refused(scale, method):
    """Would catch infinite precisions, and warnings from the middle of NumPy, on odd scales."""
    rbm = dg.RBM(visible="gaussian", **SMALL)
    try:
        getattr(rbm, method)(scale * REAL)
    except ValueError as error:
        assert re.search("standardize|scale", str(error))  # noqa: PT017
        assert not 1e-9 <= scale <= 1e9
        return
    assert is_finite(rbm.model_)
    assert np.isfinite(rbm.transform(scale * REAL)).all()
    assert np.isfinite(rbm.sample(5, n_sweeps=10, random_state=0)).all()


def test_a_wrong_number_of_features_names_both_numbers(fitted):
    """Would catch an out-of-bounds read, or a message that leaves the user to count."""
    for method in ("partial_fit", "transform", "free_energy", "score_samples", "score", "impute"):
        for rows in (X[:, :11], np.tile(X, (1, 2))):
            rbm = copy.deepcopy(fitted)
            message = f"X has {rows.shape[1]} features, but RBM is expecting 12 features"
            with pytest.raises(ValueError, match=message):
                getattr(rbm, method)(rows)
            assert bits(rbm.model_) == bits(fitted.model_)
    with pytest.raises(ValueError, match=r"X must have shape \(n_samples, 5\).*got \(60, 12\)"):
        fitted.inverse_transform(X)


def test_a_failed_refit_on_other_columns_leaves_the_old_model_usable(fitted):
    """Would catch n_features_in_ of the failed fit beside the model of the one before."""
    rbm = copy.deepcopy(fitted)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        rbm.fit(pd.DataFrame(np.full((5, 3), 2.0), columns=list("abc")))
    assert rbm.n_features_in_ == 12
    assert not hasattr(rbm, "feature_names_in_")
    assert np.array_equal(rbm.transform(X), fitted.transform(X))


# -------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("n_epochs", [1, 2, None])
def test_a_one_shot_generator_is_refused(n_epochs):
    """Would catch epochs without a single row after the first, or a silent model of nothing."""
    rbm = dg.RBM(5, n_epochs=n_epochs)
    before = state(rbm)
    for source in ((X[i : i + 10] for i in range(0, 60, 10)), iter([X]), map(np.asarray, [X])):
        with pytest.raises(ValueError, match=r"X is a generator.*only once.*partial_fit"):
            rbm.fit(source)
        assert len(list(source)) >= 1  # nothing was taken from it
        assert state(rbm) == before


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ((), "X must yield arrays of rows"),
        ((X[:0],), "X must have at least one row"),
        ((X[0],), r"batch 0 of X must be a 2-D array of rows, got shape \(12,\)"),
        ((X, X[0]), r"batch 1 of X must be a 2-D array"),
        ((X, X[:, :5]), "batch 1 of X has 5 features, but the first had 12"),
        ((X, 2.0 * X), r"X must have values in \[0, 1\]"),
        ((X, nan_at(GREY, np.inf)), "X must be finite"),
        (("abc",), "batch 0 of X must (hold real numbers|be real)"),
        ((X * 1j,), "batch 0 of X must (hold real numbers|be real)"),
        ((damaged_csr("indices", 10**8),), "batch 0 of X .* damaged sparse matrix"),
        ((X, damaged_csr("indptr", 10**6)), "batch 1 of X .* damaged sparse matrix"),
    ],
)
def test_bad_batches_are_refused_with_their_number(batches, message):
    """Would catch an error without a place, in data too large to look through."""
    rbm = dg.RBM(**SMALL)
    before = state(rbm)
    with pytest.raises(ValueError, match=message):
        rbm.fit(Batches(*batches))
    assert state(rbm) == before


# ----------------------------------------------------------------------------------- parameters


BAD_PARAMETERS = [
    ("n_hidden", 0), ("n_hidden", -3), ("n_hidden", 2.5), ("n_hidden", "8"), ("n_hidden", None),
    ("n_hidden", True), ("n_hidden", [8]), ("n_hidden", np.nan),
    ("batch_size", 0), ("batch_size", -1), ("batch_size", 10.0), ("batch_size", None),
    ("batch_size", "10"), ("batch_size", False),
    ("n_epochs", 0), ("n_epochs", -1), ("n_epochs", 1.5), ("n_epochs", "2"), ("n_epochs", True),
    ("n_threads", 0), ("n_threads", -1), ("n_threads", 1.0), ("n_threads", "all"),
    ("visible", "bernoulli"), ("visible", None), ("visible", 12), ("visible", dg.Binary),
    ("visible", dg.Binary(11)), ("visible", dg.Softmax(5)), ("visible", ["binary"]),
    ("hidden", "relu"), ("hidden", None), ("hidden", dg.Gaussian), ("hidden", dg.Binary(4)),
    ("hidden", dg.Softmax(3)),
    ("rule", "sml"), ("rule", None), ("rule", 1), ("rule", dg.CD), ("rule", dg.PCD),
    ("learning_rate", 0), ("learning_rate", -0.1), ("learning_rate", np.nan),
    ("learning_rate", np.inf), ("learning_rate", "auto"), ("learning_rate", True),
    ("learning_rate", [0.1]), ("learning_rate", dg.Linear), ("learning_rate", lambda p: "x"),
    ("optimizer", "sgd"), ("optimizer", 0.9), ("optimizer", dg.SGD), ("optimizer", dg.Adam),
    ("binarize", "yes"), ("binarize", None), ("binarize", 1),
    ("random_state", "seed"), ("random_state", -1), ("random_state", 1.5), ("random_state", True),
    ("random_state", [1, 2]),
    ("callbacks", print), ("callbacks", 5), ("callbacks", ["print"]), ("callbacks", [None]),
    ("callbacks", (c for c in [print])), ("callbacks", "print"),
    ("verbose", "x"), ("verbose", -1), ("verbose", None), ("verbose", 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS)
def test_bad_parameters_are_refused_by_name_and_change_nothing(name, value, fitted):
    """Would catch a parameter that fails deep inside, unnamed, or after the old model is gone."""
    assert len(BAD_PARAMETERS) >= 40
    for rbm in (dg.RBM(**SMALL), copy.deepcopy(fitted)):
        rbm.set_params(**{name: value})
        before = state(rbm)
        for method in ("fit", "partial_fit"):
            if (name, method) == ("random_state", "partial_fit") and hasattr(rbm, "model_"):
                continue  # a run under way has its seed already
            with pytest.raises((ValueError, TypeError), match=name):
                getattr(rbm, method)(X)
            assert state(rbm) == before
        if hasattr(rbm, "model_") and name != "n_threads":
            assert bits(rbm.model_) == bits(fitted.model_)
            assert np.array_equal(rbm.transform(X), fitted.transform(X))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visible": "gaussian", "hidden": "gaussian"}, "hidden must not be Gaussian"),
        ({"visible": "gaussian", "binarize": True}, "binarize needs visible='binary'"),
        ({"visible": dg.Softmax(3), "binarize": True}, "binarize needs visible='binary'"),
        ({"visible": dg.Binary(n_copies=2), "binarize": True}, "binarize needs visible='binary'"),
        ({"hidden": dg.Binary(4), "n_hidden": 5}, "hidden does not fit n_hidden=5"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(changes, message):
    """Would catch a Gaussian-Gaussian model, whose log Z need not exist, or ignored options."""
    with pytest.raises(ValueError, match=message):
        dg.RBM(**{**SMALL, **changes}).fit(REAL)


BAD_OBJECTS = {
    "k": [lambda: dg.CD(0), lambda: dg.CD(1.5), lambda: dg.PCD(-1), lambda: dg.CD("1")],
    "n_particles": [lambda: dg.PCD(n_particles=0), lambda: dg.PCD(n_particles=1.5)],
    "centring": [lambda: dg.CD(centring="no"), lambda: dg.PCD(centring=None)],
    "sparsity": [lambda: dg.CD(sparsity=0.1), lambda: dg.PCD(sparsity="yes")],
    "offset_rate": [lambda: dg.CD(offset_rate=5), lambda: dg.PCD(offset_rate=-0.1)],
    "target": [lambda: dg.Sparsity(0), lambda: dg.Sparsity(1.0), lambda: dg.Sparsity(np.nan)],
    "strength": [lambda: dg.Sparsity(0.1, strength=-1)],
    "decay": [lambda: dg.Sparsity(0.1, decay=2)],
    "momentum": [lambda: dg.SGD(momentum=1), lambda: dg.SGD(momentum="x"),
                 lambda: dg.SGD(momentum=np.nan)],
    "weight_decay": [lambda: dg.SGD(weight_decay=-1), lambda: dg.Adam(weight_decay=np.nan)],
    "averaging": [lambda: dg.SGD(averaging=1.5), lambda: dg.Adam(averaging=-0.1)],
    "beta1": [lambda: dg.Adam(beta1=1)],
    "beta2": [lambda: dg.Adam(beta2=-1)],
    "epsilon": [lambda: dg.Adam(epsilon=-1), lambda: dg.Adam(epsilon=0)],
    "start": [lambda: dg.Linear(np.nan), lambda: dg.Linear(-1, 0), lambda: dg.Linear("a", 0)],
    "end": [lambda: dg.Linear(1, np.inf)],
    "value": [lambda: dg.Constant(-1), lambda: dg.Constant(np.nan)],
    "size": [lambda: dg.Binary(0), lambda: dg.Binary(2.5), lambda: dg.Binary(True)],
    "n_copies": [lambda: dg.Binary(n_copies=0), lambda: dg.Binary(n_copies=10**6)],
    "n_categories": [lambda: dg.Softmax(1), lambda: dg.Softmax(2.0)],
    "bias": [lambda: dg.Binary(bias=[np.nan]), lambda: dg.Binary(bias=np.zeros((2, 2)))],
    "log_precision": [lambda: dg.Gaussian(2, log_precision=[0, np.inf]),
                      lambda: dg.Gaussian(2, log_precision=[0, 1000.0]),
                      lambda: dg.Gaussian(2, log_precision=[0, -1000.0])],
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_OBJECTS)
def test_parts_check_their_own_options(name):
    """Would catch a rule, optimizer, schedule or layer that takes nonsense and fails later."""
    for make in BAD_OBJECTS[name]:
        with pytest.raises((ValueError, TypeError), match=name):
            make()


# ------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda rbm: rbm.sample(-1), "n_samples"),
        (lambda rbm: rbm.sample(1.5), "n_samples"),
        (lambda rbm: rbm.sample(2, n_sweeps=-1), "n_sweeps"),
        (lambda rbm: rbm.sample(2, first_row=-1), "first_row"),
        (lambda rbm: rbm.sample(2, random_state="x"), "random_state"),
        (lambda rbm: rbm.sample(2, random_state=-1), "random_state"),
        (lambda rbm: rbm.impute(GREY, method="median"), "method"),
        (lambda rbm: rbm.impute(GREY, n_chains=0), "n_chains"),
        (lambda rbm: rbm.impute(GREY, n_sweeps=-1), "n_sweeps"),
        (lambda rbm: rbm.impute(GREY, random_state=1.5), "random_state"),
        (lambda rbm: rbm.impute(GREY, first_row=-1), "first_row"),
        (lambda rbm: rbm.impute(X, X), "missing must be a bool array"),
        (lambda rbm: rbm.impute(X, X[:3] == 1), r"missing must be .* shape \(60, 12\)"),
        (lambda rbm: rbm.impute(nan_at(GREY), np.zeros_like(GREY, bool)), "X must be finite"),
        (lambda rbm: rbm.impute(nan_at(GREY, np.inf)), "X must be finite"),
        (lambda rbm: rbm.impute(nan_at(GREY, 7.0)), r"X must have values in \[0, 1\]"),
        (lambda rbm: rbm.impute(np.ma.array(GREY, mask=GREY > 0.5)), "masked array"),
        (lambda rbm: rbm.inverse_transform(np.zeros(5)), "2D array"),
        (lambda rbm: rbm.inverse_transform(np.full((2, 5), 1.5)), r"in \[0, 1\]"),
    (lambda rbm: rbm.inverse_transform(np.full((2, 5), np.nan)), "finite, got NaN in row 0"),
        (lambda rbm: rbm.inverse_transform(np.ones((2, 5)) * 1j), "Complex data"),
        (lambda rbm: rbm.transform(Batches(X)), "X must be an array.*Batches"),
        (lambda rbm: rbm.partial_fit(Batches(X)), "X must be an array.*Batches"),
        (lambda rbm: rbm.from_model(rbm), "model must be a BoltzmannMachine"),
    ],
)  # fmt: skip
def test_bad_arguments_of_methods_are_refused_by_name(call, name, fitted):
    """Would catch a method that fails deep inside, or that changes the estimator on the way."""
    before = state(fitted)
    with pytest.raises((ValueError, TypeError), match=name):
        call(fitted)
    assert state(fitted) == before
