"""The RBM estimator: what it accepts and refuses, what it promises, and that it learns."""

import copy
import os
import pickle
import re
import signal
import threading
import time
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deepgen as dg
from deepgen import threads

SMALL = {"n_hidden": 5, "n_epochs": 2, "batch_size": 10, "random_state": 0}
RNG = np.random.default_rng(7)
# 60 rows of 12 pixels: two prototypes with noise; never written to, by any test
X = (RNG.random((60, 12)) < np.where(np.arange(60)[:, None] % 2, 0.8, 0.2)).astype(np.uint8)
X.flags.writeable = False
GREY = RNG.random((60, 12))
REAL = RNG.normal(3.0, [0.5, 1.0, 2.0] * 4, (60, 12))
ONE_HOT = np.eye(3, dtype=np.uint8)[RNG.integers(0, 3, (60, 4))].reshape(60, 12)
KINDS = {
    "binary": ("binary", X),
    "grey": ("binary", GREY),
    "gaussian": ("gaussian", REAL),
    "softmax": (dg.Softmax(3), ONE_HOT),
}


@pytest.fixture(scope="module", autouse=True)
def _serial():
    """One thread where a test names no other number: the bits are the same, and small work on a
    busy machine is faster."""
    dg.set_num_threads(1)
    yield
    dg.set_num_threads(None)


@pytest.fixture
def ctrl_c():
    """Python's own handler of SIGINT: a job in the background of a shell starts without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def digits():
    """Real digits as bits: 1,500 rows to learn from, 297 held out."""
    rows = (load_digits().data > 7).astype(np.uint8)
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    return rows[:1500], rows[1500:]


@pytest.fixture(scope="module")
def fitted_digits(digits):
    """One model with all defaults but the number of hidden units, shared by the module."""
    return dg.RBM(16, random_state=0).fit(digits[0])


@pytest.fixture(scope="module")
def fitted():
    """A small fitted estimator; tests that change one make a deep copy."""
    return dg.RBM(**SMALL).fit(X)


def bits(model):
    """All parameters of a core model as bytes."""
    arrays = [*model.weights, *(p for layer in model.layers for p in layer.parameters().values())]
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def is_finite(model):
    """Tell whether every parameter is a number."""
    return bool(np.isfinite(np.frombuffer(bits(model), np.float32)).all())


def state(estimator):
    """Names and identities of everything an estimator holds."""
    return {name: id(value) for name, value in vars(estimator).items()}


class Batches:
    """A re-iterable of batches."""

    def __init__(self, *batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


# ---------------------------------------------------------------------- among scikit-learn's


def test_clone_keeps_parameters_and_drops_the_model(fitted):
    """Would catch a constructor that converts or copies what it is given."""
    other = clone(dg.RBM(7, visible=dg.Softmax(3), rule=dg.CD(2), learning_rate=dg.Linear(0.1)))
    assert other.visible.group == 3
    assert other.rule == dg.CD(2)
    assert other.learning_rate == dg.Linear(0.1)
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert not hasattr(again, "model_")
    assert bits(again.fit(X).model_) == bits(fitted.model_)


@pytest.mark.parametrize("copier", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
@pytest.mark.parametrize("kind", KINDS)
def test_copies_answer_with_the_same_bits(copier, kind):
    """Would catch a model, a lock or a kernel object that a pickle cannot carry."""
    visible, rows = KINDS[kind]
    rbm = dg.RBM(visible=visible, **SMALL).fit(rows)
    other = copier(rbm)
    assert bits(other.model_) == bits(rbm.model_)
    assert np.array_equal(other.transform(rows), rbm.transform(rows))
    assert np.array_equal(
        other.sample(4, n_sweeps=3, random_state=1), rbm.sample(4, n_sweeps=3, random_state=1)
    )
    assert other.log_partition().value == rbm.log_partition().value


def test_a_copy_in_the_middle_of_partial_fit_goes_on_with_the_same_bits():
    """Would catch particles, velocities or a stream position lost by pickle (rbms' restore)."""
    rbm = dg.RBM(optimizer=dg.SGD(momentum=0.5), **SMALL).partial_fit(X[:30])
    other = pickle.loads(pickle.dumps(rbm))
    assert bits(other.partial_fit(X[30:]).model_) == bits(rbm.partial_fit(X[30:]).model_)
    assert other.n_updates_ == rbm.n_updates_ == 6


def test_pipeline_and_grid_search():
    """Would catch an estimator that scikit-learn's composition cannot use or score."""
    y = np.arange(60) % 2
    pipeline = make_pipeline(dg.RBM(**SMALL), StandardScaler(), LogisticRegression())
    assert pipeline.fit(X, y).score(X, y) > 0.9
    search = GridSearchCV(dg.RBM(**SMALL), {"n_hidden": [2, np.int64(3)]}, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
    assert search.best_estimator_.transform(X).shape == (60, search.best_params_["n_hidden"])


def test_score_is_the_mean_log_likelihood_at_the_lower_end(fitted):
    """Would catch a score that a model search can raise by an optimistic log Z."""
    assert fitted.log_partition().method == "exact"
    assert fitted.score(X) == pytest.approx(fitted.score_samples(X).mean(), rel=1e-12)
    wide = np.tile(X, (1, 3))
    bracketed = dg.RBM(**{**SMALL, "n_hidden": 30}).fit(wide)
    bracket = bracketed.log_partition()
    assert bracket.method == "bracket"
    assert bracket.lower <= bracket.value <= bracket.upper
    expected = -bracketed.free_energy(wide).mean() - bracket.upper
    assert bracketed.score(wide) == pytest.approx(expected, rel=1e-12)
    assert bracketed.log_partition() is bracket  # computed once


def test_scores_use_the_bracket_that_was_asked_for_last():
    """Would catch a narrower bracket that is computed and then not used."""
    wide = np.tile(X, (1, 3))
    rbm = dg.RBM(**{**SMALL, "n_hidden": 30}).fit(wide)
    first = rbm.score(wide)
    narrow = rbm.log_partition(n_chains=400, n_betas=[0.0, 0.3, 0.6, 0.8, 0.9, 1.0])
    assert rbm.log_partition(n_chains=400, n_betas=[0.0, 0.3, 0.6, 0.8, 0.9, 1.0]) is narrow
    expected = -rbm.free_energy(wide).mean() - narrow.upper
    assert rbm.score(wide) == pytest.approx(expected, rel=1e-12)
    assert rbm.score(wide) != first
    rbm.fit(wide)
    assert rbm.score(wide) == first  # a new fit forgets


def test_names_and_data_frames_go_in_and_out():
    """Would catch lost column names, or a transform that ignores their order."""
    frame = pd.DataFrame(X, columns=[f"pixel{i}" for i in range(12)], index=range(100, 160))
    rbm = dg.RBM(**SMALL).fit(frame)
    assert list(rbm.feature_names_in_) == list(frame.columns)
    assert rbm.n_features_in_ == 12
    assert list(rbm.get_feature_names_out()) == [f"rbm{i}" for i in range(5)]
    with pytest.raises(ValueError, match="feature names"):
        rbm.transform(frame[frame.columns[::-1]])
    out = rbm.set_output(transform="pandas").transform(frame)
    assert list(out.columns) == [f"rbm{i}" for i in range(5)]
    assert (out.index == frame.index).all()
    assert np.array_equal(out.to_numpy(), dg.RBM(**SMALL).fit(X).transform(X))
    rbm.fit(Batches(X))  # rows without names: the old names must go
    assert not hasattr(rbm, "feature_names_in_")


def test_methods_before_fit_name_the_remedy(tmp_path):
    """Would catch an AttributeError from inside where NotFittedError is meant."""
    rbm = dg.RBM()
    calls = [
        lambda: rbm.transform(X), lambda: rbm.inverse_transform(X), lambda: rbm.free_energy(X),
        lambda: rbm.log_partition(), lambda: rbm.score_samples(X), lambda: rbm.score(X),
        lambda: rbm.sample(), lambda: rbm.impute(GREY), lambda: rbm.save(tmp_path / "a"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(NotFittedError, match="RBM"):
            call()
    assert list(tmp_path.iterdir()) == []
    assert vars(rbm) == vars(dg.RBM())


# ------------------------------------------------------------------------------- refusing data


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
@pytest.mark.parametrize("case", BAD_ROWS)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "free_energy", "score"])
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
        ("gaussian", nan_at(REAL), "X must be finite.*NaN"),
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


# -------------------------------------------------------------------------- refusing parameters

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
        (lambda rbm: rbm.inverse_transform(np.full((2, 5), np.nan)), "X contains NaN"),
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


# ------------------------------------------------------------------------- forms of the same rows


def memmap_of(rows, folder):
    path = os.path.join(folder, "rows.dat")
    array = np.memmap(path, rows.dtype, "w+", shape=rows.shape)
    array[...] = rows
    array.flush()
    return np.memmap(path, rows.dtype, "r", shape=rows.shape)


def csr_with_int64_indices(rows):
    matrix = sparse.csr_matrix(rows.astype(np.float32))
    matrix.indices, matrix.indptr = matrix.indices.astype("i8"), matrix.indptr.astype("i8")
    return matrix


def csr_in_disorder(rows):
    """Columns descending, explicit zeros, and each value cut into two halves."""
    matrix = sparse.csr_matrix(rows.astype(np.float32))
    parts = []
    for i in range(matrix.shape[0]):
        columns = matrix.indices[matrix.indptr[i] : matrix.indptr[i + 1]][::-1]
        values = matrix.data[matrix.indptr[i] : matrix.indptr[i + 1]][::-1]
        parts.append((np.r_[columns, columns, 0], np.r_[values / 2, values / 2, 0.0]))
    starts = np.cumsum([0] + [len(columns) for columns, _ in parts])
    columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return sparse.csr_matrix((values.astype(np.float32), columns, starts), shape=rows.shape)


def padded(rows):
    wide = np.zeros((2 * rows.shape[0], 3 * rows.shape[1]), rows.dtype)
    wide[::2, 1::3] = rows
    return wide[::2, 1::3]


FORMS = {
    "bool": lambda rows: rows.astype(bool),
    "float32": lambda rows: rows.astype(np.float32),
    "float64": lambda rows: rows.astype(np.float64),
    "float16": lambda rows: rows.astype(np.float16),
    "int64": lambda rows: rows.astype(np.int64),
    "big-endian float32": lambda rows: rows.astype(">f4"),
    "big-endian float64": lambda rows: rows.astype(">f8"),
    "object": lambda rows: rows.astype(object),
    "list": lambda rows: rows.tolist(),
    "Fortran order": lambda rows: np.asfortranarray(rows),
    "Fortran order float64": lambda rows: np.asfortranarray(rows.astype(np.float64)),
    "strided": padded,
    "strided float32": lambda rows: padded(rows.astype(np.float32)),
    "reversed twice": lambda rows: rows[::-1, ::-1].copy()[::-1, ::-1],
    "writeable": lambda rows: rows.copy(),
    "data frame": lambda rows: pd.DataFrame(rows),
    "data frame float64": lambda rows: pd.DataFrame(rows.astype(np.float64)),
    "CSR int32": lambda rows: sparse.csr_matrix(rows.astype(np.float32)),
    "CSR int64": csr_with_int64_indices,
    "CSR float64": lambda rows: sparse.csr_matrix(rows.astype(np.float64)),
    "CSR uint8": lambda rows: sparse.csr_matrix(rows),
    "CSR array": lambda rows: sparse.csr_array(rows.astype(np.float32)),
    "CSR in disorder": csr_in_disorder,
    "CSC": lambda rows: sparse.csc_matrix(rows.astype(np.float32)),
    "COO": lambda rows: sparse.coo_matrix(rows.astype(np.float32)),
}


@pytest.fixture(scope="module")
def expected_answers(fitted):
    """What the uint8 rows give."""
    stream = dg.RBM(**SMALL).partial_fit(X)
    return bits(fitted.model_), bits(stream.model_), fitted.transform(X), fitted.score_samples(X)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_rows_gives_the_same_bits(form, fitted, expected_answers):
    """Would catch a wrong stride, a wrong byte order, int64 indices read as int32, duplicates of
    a CSR matrix counted once, or a path of its own for some dtype."""
    rows = FORMS[form](X)
    names = isinstance(rows, pd.DataFrame)
    assert bits(dg.RBM(**SMALL).fit(rows).model_) == expected_answers[0]
    assert bits(dg.RBM(**SMALL).partial_fit(rows).model_) == expected_answers[1]
    rbm = copy.deepcopy(fitted)
    if names:
        rows.columns = [f"x{i}" for i in range(12)]
        rbm.feature_names_in_ = rows.columns.to_numpy(object)
    assert np.array_equal(rbm.transform(rows), expected_answers[2])
    assert np.array_equal(rbm.score_samples(rows), expected_answers[3])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_memmaps_are_read_and_never_written(dtype, tmp_path, expected_answers):
    """Would catch a loader that needs writeable or whole arrays, or that changes the file."""
    rows = memmap_of(X.astype(dtype), tmp_path)
    before = (tmp_path / "rows.dat").read_bytes()
    rbm = dg.RBM(**SMALL).fit(rows)
    assert bits(rbm.model_) == expected_answers[0]
    assert np.array_equal(rbm.transform(rows), expected_answers[2])
    assert (tmp_path / "rows.dat").read_bytes() == before


@pytest.mark.parametrize(
    "form", ["float32", "float64", "writeable", "CSR int32", "CSR int64", "CSR in disorder"]
)
def test_the_data_set_is_never_modified(form):
    """Would catch a sort of CSR indices, a scaling or a draw in the caller's own array."""
    rows = FORMS[form](X)
    parts = [rows] if isinstance(rows, np.ndarray) else [rows.data, rows.indices, rows.indptr]
    before = [(id(part), part.dtype, part.tobytes()) for part in parts]
    rbm = dg.RBM(**SMALL).fit(rows)
    rbm.partial_fit(rows).transform(rows)
    rbm.score(rows)
    if isinstance(rows, np.ndarray):
        rbm.impute(rows, X == 1, n_chains=2, n_sweeps=2)
        dg.RBM(binarize=True, **SMALL).fit(rows)
    now = [rows] if isinstance(rows, np.ndarray) else [rows.data, rows.indices, rows.indptr]
    assert [(id(part), part.dtype, part.tobytes()) for part in now] == before


def test_read_only_grey_rows_work():
    """Would catch kernels that ask for writeable buffers."""
    for rows in (GREY.copy(), GREY.astype(np.float32)):
        rows.flags.writeable = False
        hidden = dg.RBM(**SMALL).fit(rows).transform(rows)
        hidden.flags.writeable = False
        rbm = dg.RBM(**SMALL).fit(rows)
        assert rbm.inverse_transform(hidden).shape == rows.shape


def test_batches_of_any_size_give_the_same_bits():
    """Would catch rows counted by the batch, or dropped, where an iterable cuts unevenly."""
    cuts = [[60], [10] * 6, [1] * 60, [7, 13, 1, 39], [59, 1], [37, 0, 23]]
    models = set()
    for sizes in cuts:
        parts = np.split(X, np.cumsum(sizes)[:-1])
        rbm = dg.RBM(**SMALL).fit(Batches(*parts))
        assert rbm.n_updates_ == 12
        assert [entry["n_rows"] for entry in rbm.history_] == [60, 60]
        models.add(bits(rbm.model_))
        for form in ("float64", "CSR int32", "Fortran order", "data frame"):
            part = dg.RBM(**SMALL).fit(Batches(*map(FORMS[form], parts)))
            models.add(bits(part.model_))
    assert len(models) == 1


def test_a_list_of_rows_is_an_array_and_not_batches(expected_answers):
    """Would catch a list of lists read as a sequence of batches."""
    assert bits(dg.RBM(**SMALL).fit(X.tolist()).model_) == expected_answers[0]
    assert bits(dg.RBM(**SMALL).fit(tuple(map(tuple, X))).model_) == expected_answers[0]


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
        ((X, nan_at(GREY)), "X must be finite"),
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


# ------------------------------------------------------------------------------------ same bits


@pytest.mark.parametrize("kind", KINDS)
def test_rows_one_by_one_or_together_give_the_same_bits(kind):
    """Would catch a result that depends on the neighbours in a batch (threaded BLAS does)."""
    visible, rows = KINDS[kind]
    rbm = dg.RBM(visible=visible, **SMALL).fit(rows)
    for method in (rbm.transform, rbm.free_energy):
        whole = method(rows)
        assert np.array_equal(whole, np.concatenate([method(rows[i : i + 1]) for i in range(60)]))
        assert np.array_equal(whole, np.concatenate([method(rows[:37]), method(rows[37:])]))
    hidden = rbm.transform(rows)
    whole = rbm.inverse_transform(hidden)
    pieces = [rbm.inverse_transform(hidden[i : i + 1]) for i in range(60)]
    assert np.array_equal(whole, np.concatenate(pieces))


@pytest.mark.parametrize("rule", ["pcd", "cd"])
def test_any_number_of_threads_gives_the_same_bits(rule, monkeypatch):
    """Would catch a sum that crosses threads or a generator for each thread."""
    monkeypatch.setattr(threads, "SERIAL_WORK", 0)
    rows = (np.random.default_rng(1).random((150, 70)) < 0.4).astype(np.uint8)
    models, draws = set(), set()
    for n_threads in (1, 2, 3, 7):
        rbm = dg.RBM(40, rule=rule, n_epochs=2, random_state=0, n_threads=n_threads).fit(rows)
        models.add(bits(rbm.model_))
        draws.add(rbm.sample(20, n_sweeps=5, random_state=0).tobytes())
    assert len(models) == len(draws) == 1


def test_random_state_none_differs_and_an_integer_repeats():
    """Would catch a default seed, or a run that a seed does not fix."""
    options = {**SMALL, "random_state": None}
    assert bits(dg.RBM(**options).fit(X).model_) != bits(dg.RBM(**options).fit(X).model_)
    assert bits(dg.RBM(**SMALL).fit(X).model_) == bits(dg.RBM(**SMALL).fit(X).model_)
    assert bits(dg.RBM(**{**SMALL, "random_state": 1}).fit(X).model_) != bits(
        dg.RBM(**SMALL).fit(X).model_
    )
    rbm = dg.RBM(**SMALL).fit(X)
    draws = [rbm.sample(10, n_sweeps=2, random_state=seed) for seed in (None, None, 0, 0)]
    assert not np.array_equal(draws[0], draws[1])
    assert np.array_equal(draws[2], draws[3])


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_generators_are_accepted_and_advance(make):
    """Would catch a generator that is ignored, or used without being moved on."""
    first = dg.RBM(**{**SMALL, "random_state": make(3)}).fit(X)
    again = dg.RBM(**{**SMALL, "random_state": make(3)}).fit(X)
    assert bits(first.model_) == bits(again.model_)
    source = make(3)
    one = first.sample(20, n_sweeps=2, random_state=source)
    assert not np.array_equal(one, first.sample(20, n_sweeps=2, random_state=source))


@pytest.mark.parametrize("random_state", [None, 0])
def test_the_global_numpy_state_is_not_touched(random_state):
    """Would catch np.random.seed or np.random.rand anywhere below."""
    before = pickle.dumps(np.random.get_state())  # noqa: NPY002
    rbm = dg.RBM(**{**SMALL, "random_state": random_state}).fit(X)
    rbm.partial_fit(X).sample(3, n_sweeps=2, random_state=random_state)
    rbm.impute(X, X == 1, n_chains=2, n_sweeps=2, random_state=random_state)
    rbm.score(X)
    assert pickle.dumps(np.random.get_state()) == before  # noqa: NPY002


# --------------------------------------------------------------------------------- partial_fit


@pytest.mark.parametrize("kind", KINDS)
def test_partial_fit_gives_the_same_bits_however_multiples_of_the_batch_are_cut(kind):
    """Would catch a phase divided by the length of the call (scikit-learn #4211)."""
    visible, rows = KINDS[kind]
    models = []
    for sizes in ([60], [10] * 6, [30, 30], [20, 40]):
        rbm = dg.RBM(visible=visible, **SMALL)
        rbm.partial_fit(rows)  # the first call sets the biases from what it sees
        for part in np.split(rows, np.cumsum(sizes)[:-1]):
            assert rbm.partial_fit(part) is rbm
        assert rbm.n_updates_ == 12
        models.append(bits(rbm.model_))
    assert len(set(models)) == 1


@pytest.mark.parametrize("size", [1, 37, 100, 5000])
def test_partial_fit_does_not_collapse_for_any_size_of_call(size):
    """Would catch saturated hidden units: 20 calls of 5,000 rows drove scikit-learn's samples
    to a mean of 0.94 where the data had 0.31."""
    rng = np.random.default_rng(5)
    n_rows = max(5000, size)
    on = rng.random((n_rows, 1)) < 0.5
    rows = (rng.random((n_rows, 16)) < np.where(on, 0.5, 0.12)).astype(np.uint8)
    rbm = dg.RBM(8, random_state=0, batch_size=100)
    for call in range(300 if size < 5000 else 20):
        first = call * size % (n_rows - size + 1)
        rbm.partial_fit(rows[first : first + size])
    hidden = rbm.transform(rows).mean()
    assert 0.02 < hidden < 0.98
    draws = rbm.sample(2000, n_sweeps=200, random_state=0)
    # single rows are noisy steps at a constant rate: only the collapse is excluded there
    assert draws.mean() == pytest.approx(rows.mean(), abs=0.25 if size == 1 else 0.1)


def test_partial_fit_goes_on_from_fit_from_a_file_and_from_a_core_model(tmp_path, fitted):
    """Would catch training that starts over, or attributes that a loaded estimator lacks."""
    fitted.save(tmp_path / "a.safetensors")
    for rbm in (
        copy.deepcopy(fitted),
        dg.load(tmp_path / "a.safetensors"),
        dg.RBM.from_model(fitted.model_),
    ):
        before, n_before = rbm.model_.weights[0].copy(), rbm.n_updates_
        rbm.set_params(batch_size=10, random_state=0).partial_fit(X[:10])
        change = np.abs(rbm.model_.weights[0] - before).max()
        assert 0 < change < 0.1 * np.abs(before).max() + 0.05
        assert rbm.n_updates_ == n_before + 1
        assert np.isfinite(rbm.score(X))
    again = copy.deepcopy(fitted).fit(X)
    assert bits(again.model_) == bits(fitted.model_)  # while fit starts over


def test_partial_fit_interrupted_leaves_whole_updates(monkeypatch, ctrl_c):
    """Would catch weights of one update beside the biases of the one before."""
    rbm = dg.RBM(**SMALL).partial_fit(X)
    reference = copy.deepcopy(rbm)
    step, calls = type(rbm._trainer).step, []

    def interrupting(self, *args, **options):
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        calls.append(1)
        return step(self, *args, **options)

    monkeypatch.setattr(type(rbm._trainer), "step", interrupting)
    with pytest.raises(KeyboardInterrupt):
        rbm.partial_fit(X)
    monkeypatch.undo()
    whole = rbm.n_updates_ - reference.n_updates_
    assert whole in (2, 3)
    reference.partial_fit(X[: 10 * whole])
    assert bits(rbm.model_) == bits(reference.model_)


# -------------------------------------------------------------------- sampling, imputation, back


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


# ---------------------------------------------------------------- callbacks, Ctrl-C, divergence


def test_callbacks_get_a_report_after_each_epoch():
    """Would catch a callback that is skipped once another one asks to stop, or a wrong count."""
    seen = []
    rbm = dg.RBM(**{**SMALL, "n_epochs": 5}, learning_rate=dg.Linear(0.2, 0.0))
    rbm.set_params(callbacks=[lambda report: report.epoch == 3, seen.append]).fit(X)
    assert [report.epoch for report in seen] == [1, 2, 3]
    assert [report.n_updates for report in seen] == [6, 12, 18]
    assert [report.n_rows for report in seen] == [60, 60, 60]
    assert all(report.seconds > 0 for report in seen)
    rates = [0.2 * (1 - 6 * epoch / 30) for epoch in (1, 2, 3)]
    assert [report.learning_rate for report in seen] == pytest.approx(rates, abs=1e-12)
    largest = np.abs(seen[-1].trainer.parameters.weights[0]).max()  # a model has rounded weights
    assert seen[-1].weight_max == pytest.approx(largest)
    assert isinstance(seen[0].trainer.model(), dg.BoltzmannMachine)
    assert [entry["epoch"] for entry in rbm.history_] == [1, 2, 3]
    assert rbm.n_updates_ == 18
    assert rbm.transform(X).shape == (60, 5)


@pytest.mark.parametrize("error", [RuntimeError("mine"), StopIteration(), MemoryError()])
def test_an_exception_in_a_callback_leaves_the_last_state(error):
    """Would catch a run lost, or an exception swallowed, because a callback failed."""

    def fail(report):
        if report.epoch == 2:
            raise error

    rbm = dg.RBM(**{**SMALL, "n_epochs": 4}, optimizer=dg.SGD(averaging=0), callbacks=[fail])
    with pytest.raises(type(error)):
        rbm.fit(X)
    assert rbm.n_updates_ == 12
    whole = dg.RBM(
        **{**SMALL, "n_epochs": 4}, optimizer=dg.SGD(averaging=0),
        callbacks=[lambda report: report.epoch == 2],
    ).fit(X)  # fmt: skip
    assert bits(rbm.model_) == bits(whole.model_)
    assert np.isfinite(rbm.score(X))


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_ctrl_c_from_a_callback_is_raised_and_leaves_a_usable_model(epoch, ctrl_c):
    """Would catch Ctrl-C swallowed, in the last epoch too, or a model that was never set."""

    def interrupt(report):
        if report.epoch == epoch:
            signal.raise_signal(signal.SIGINT)

    rbm = dg.RBM(**{**SMALL, "n_epochs": 4}, callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt):
        rbm.fit(X)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert rbm.n_updates_ == 6 * epoch
    assert is_finite(rbm.model_)
    assert np.isfinite(rbm.score(X))
    rbm.partial_fit(X)
    assert rbm.sample(3, n_sweeps=2).shape == (3, 12)


class Enough(Exception):
    """Raised by Counted."""


@dataclass(frozen=True)
class Counted(dg.PCD):
    """PCD that raises instead of making one more update than `limit`."""

    limit: int = 0

    def phases(self, *args, **options):
        counted.append(1)
        if len(counted) > self.limit:
            raise Enough
        return super().phases(*args, **options)


counted = []


def test_ctrl_c_from_outside_stops_soon_between_updates(ctrl_c):
    """Would catch a long run that cannot be stopped, or that stops in the middle of an update."""
    rows = np.tile(X, (100, 1))
    started, begun = threading.Event(), []
    counted.clear()

    def send():
        started.wait(600)
        time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        begun.append(len(counted))

    sender = threading.Thread(target=send)
    sender.start()
    rbm = dg.RBM(8, batch_size=10, n_epochs=10**6, random_state=0, optimizer=dg.SGD(averaging=0),
                 learning_rate=0.01, callbacks=[lambda report: started.set()],
                 rule=Counted(limit=10**9))  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        rbm.fit(rows)
    sender.join()
    n_updates = rbm.n_updates_
    assert n_updates == len(counted)
    assert n_updates <= begun[0] + 2  # no more than the updates around the signal
    n_epochs, rest = divmod(n_updates, 600)
    assert len(rbm.history_) == n_epochs
    assert n_epochs >= 1
    # the same run, stopped by its rule before the next update: the bits of whole updates
    counted.clear()
    again = dg.RBM(**{**rbm.get_params(), "callbacks": None, "rule": Counted(limit=n_updates)})
    with pytest.raises(Enough):
        again.fit(rows)
    assert rest == again.n_updates_ % 600
    assert bits(again.model_) == bits(rbm.model_)


def test_training_in_a_thread_leaves_the_signal_handler_alone(ctrl_c):
    """Would catch signal.signal called outside the main thread, which raises."""
    before, errors = signal.getsignal(signal.SIGINT), []

    def work():
        try:
            dg.RBM(**SMALL).fit(X)
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert errors == []
    assert signal.getsignal(signal.SIGINT) is before


def test_a_users_own_signal_handler_stays(ctrl_c):
    """Would catch a library that replaces an application's handler."""
    calls = []

    def mine(number, frame):
        calls.append(number)

    before = signal.signal(signal.SIGINT, mine)
    try:
        dg.RBM(**SMALL, callbacks=[lambda r: signal.raise_signal(signal.SIGINT)]).fit(X)
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == [signal.SIGINT] * 2


@pytest.mark.parametrize("optimizer", [dg.SGD(), dg.SGD(momentum=0.9), dg.Adam()])
@pytest.mark.parametrize("kind", ["binary", "gaussian"])
def test_a_run_that_diverges_says_where_and_keeps_the_last_good_model(kind, optimizer):
    """Would catch NaN weights kept, or sampled as zeros because u < NaN is False."""
    visible, rows = KINDS[kind]
    rbm = dg.RBM(visible=visible, optimizer=optimizer, learning_rate=1e38, **SMALL)
    with pytest.raises(dg.DivergedError, match=r"learning rate 1e\+38") as caught:
        rbm.fit(rows)
    error = caught.value
    assert re.fullmatch(r"weights\[0\]|layers\[[01]\]\.\w+", error.parameter)
    assert error.parameter in str(error)
    assert error.epoch in (1, 2)
    assert error.learning_rate == pytest.approx(1e38)
    assert is_finite(rbm.model_)
    assert np.isfinite(rbm.transform(rows)).all()
    for n_sweeps in (0, 1, 20):
        assert np.isfinite(rbm.sample(5, n_sweeps=n_sweeps, random_state=0)).all()
    rbm.set_params(learning_rate=None, optimizer=None).partial_fit(rows)
    assert is_finite(rbm.model_)


def test_a_run_that_diverges_late_keeps_what_was_learned_before():
    """Would catch a fall back to the very first parameters, or an average full of NaN."""

    def rate(progress):
        return 0.1 if progress < 0.9 else 1e38

    rbm = dg.RBM(5, n_epochs=200, batch_size=10, random_state=0, learning_rate=rate)
    with pytest.raises(dg.DivergedError) as caught:
        rbm.fit(X)
    assert caught.value.epoch >= 180
    assert is_finite(rbm.model_)
    first = dg.RBM(5, n_epochs=1, batch_size=60, random_state=0, learning_rate=1e-9).fit(X)
    assert rbm.score(X) > first.score(X) + 0.3


# ------------------------------------------------------------------------------------ grey values


def test_binarize_draws_states_afresh_and_repeats_by_seed():
    """Would catch grey values rounded once, or drawn from a generator that no seed fixes."""
    means = dg.RBM(**SMALL).fit(GREY)
    drawn = [dg.RBM(binarize=True, **SMALL).fit(GREY) for _ in range(2)]
    assert bits(drawn[0].model_) == bits(drawn[1].model_)
    assert bits(drawn[0].model_) != bits(means.model_)
    rounded = dg.RBM(**SMALL).fit((GREY > 0.5).astype(np.uint8))
    assert bits(drawn[0].model_) != bits(rounded.model_)
    other = dg.RBM(binarize=True, **{**SMALL, "random_state": 1}).fit(GREY)
    assert bits(other.model_) != bits(drawn[0].model_)
    whole = [dg.RBM(binarize=True, **SMALL).fit(rows) for rows in (X, X.astype(np.float32))]
    assert bits(whole[0].model_) == bits(dg.RBM(**SMALL).fit(X).model_)  # bits stay bits
    assert bits(whole[1].model_) == bits(whole[0].model_)
    assert bits(dg.RBM(binarize=True, **SMALL).fit(sparse.csr_matrix(GREY)).model_) == bits(
        drawn[0].model_
    )


class Watched(dg.CD):
    """CD that keeps the batches it is shown."""

    batches: list

    def phases(self, model, batch, state, stream, **tools):
        watched.append(np.array(batch))
        return super().phases(model, batch, state, stream, **tools)


watched = []


def test_grey_values_reach_the_rule_as_means_or_as_fresh_bits():
    """Would catch grey pixels thresholded in silence, or the same draw in every epoch."""
    watched.clear()
    dg.RBM(rule=Watched(), **{**SMALL, "batch_size": 60}).fit(GREY)
    for batch in watched:
        assert batch.dtype == np.float32
        assert set(map(bytes, batch)) == set(map(bytes, GREY.astype(np.float32)))
    watched.clear()
    options = {**SMALL, "batch_size": 60, "n_epochs": 400}
    dg.RBM(rule=Watched(), binarize=True, **options).fit(np.full((60, 12), 0.3))
    draws = np.array(watched)
    assert draws.dtype == np.uint8
    assert set(np.unique(draws)) == {0, 1}
    error = np.sqrt(0.3 * 0.7 / 400)
    # of 720 cells, each a mean of 400 draws: five standard errors
    assert np.abs(draws.mean(axis=0) - 0.3).max() < 5 * error
    pair = (draws[1:] * draws[:-1].astype(float)).mean()
    assert abs(pair - 0.09) < 5 * 0.3 / np.sqrt(399 * 720)  # epochs are independent


def test_log_likelihoods_warn_about_grey_values(fitted):
    """Would catch a density of means reported as the likelihood of states."""
    with pytest.warns(UserWarning, match="not a log-likelihood; binarize"):
        grey = fitted.score_samples(GREY)
    assert np.isfinite(grey).all()
    with pytest.warns(UserWarning, match="not a log-likelihood"):
        fitted.score(sparse.csr_matrix(GREY))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.score_samples(X.astype(np.float64))
        dg.RBM(visible="gaussian", **SMALL).fit(REAL).score_samples(REAL)


# --------------------------------------------------------------------------------------- learning


def bernoulli_log_likelihood(train, test):
    """Mean log-likelihood of independent pixels, smoothed by half a count."""
    p = (train.sum(axis=0, dtype=np.float64) + 0.5) / (len(train) + 1.0)
    return float((test * np.log(p) + (1 - test) * np.log1p(-p)).sum(axis=1).mean())


def test_defaults_learn_digits_far_beyond_independent_pixels(digits, fitted_digits):
    """Would catch any step of training gone wrong: judged by exact held-out likelihood."""
    train, held_out = digits
    assert fitted_digits.log_partition().method == "exact"
    assert fitted_digits.n_updates_ == 5010  # 334 epochs of 15 updates: the first beyond 5,000
    gain = fitted_digits.score(held_out) - bernoulli_log_likelihood(train, held_out)
    assert gain > 4.0
    overfit = fitted_digits.score(train) - fitted_digits.score(held_out)
    assert overfit < 1.5


def test_samples_of_digits_have_the_moments_of_digits(digits, fitted_digits):
    """Would catch a sampler or a model whose fantasies drift away from the data."""
    draws = fitted_digits.sample(2000, n_sweeps=500, random_state=0)
    train = digits[0].astype(np.float64)
    assert np.abs(draws.mean(axis=0) - train.mean(axis=0)).max() < 0.08
    pairs = np.abs(draws.T @ draws.astype(np.float64) / len(draws) - train.T @ train / len(train))
    assert pairs.mean() < 0.02


@pytest.mark.parametrize("options", [
    {"rule": dg.CD(1)}, {"rule": dg.CD(3)}, {"rule": dg.PCD(2, n_particles=37)},
    {"optimizer": dg.SGD(momentum=0.5), "learning_rate": dg.Linear(0.1, 0.0)},
    {"optimizer": dg.Adam(), "learning_rate": dg.Linear(0.01, 0.0)},
    {"rule": dg.PCD(sparsity=dg.Sparsity(0.2))}, {"rule": dg.PCD(centring=False)},
    {"hidden": dg.Softmax(4)}, {"hidden": dg.Binary(n_copies=2)}, {"binarize": True},
    {"batch_size": 7, "learning_rate": 0.02, "n_epochs": 40},
    {"batch_size": 10**9, "n_epochs": 600},
], ids=repr)  # fmt: skip
def test_every_option_learns_two_prototypes(options):
    """Would catch an option that is accepted and ruins learning: exact likelihood must rise
    well above independent pixels, most of the way to the two prototypes that made the data."""
    rng = np.random.default_rng(11)
    rows, held_out = (
        (rng.random((400, 12)) < np.where(rng.random((400, 1)) < 0.5, 0.85, 0.15)).astype(np.uint8)
        for _ in range(2)
    )
    rbm = dg.RBM(**{"n_hidden": 4, "n_epochs": 150, "random_state": 0, **options}).fit(rows)
    assert rbm.log_partition().method == "exact"
    ones = held_out.sum(axis=1, dtype=np.float64)
    one = ones * np.log(0.85) + (12 - ones) * np.log(0.15)
    other = ones * np.log(0.15) + (12 - ones) * np.log(0.85)
    ideal = float((np.logaddexp(one, other) - np.log(2)).mean())
    base = bernoulli_log_likelihood(rows, held_out)
    assert rbm.score(held_out) > base + 0.5 * (ideal - base)


def test_gaussian_units_learn_means_variances_and_clusters():
    """Would catch a blow-up of the precision, or features that ignore real-valued data."""
    rng = np.random.default_rng(2)
    side = np.where(rng.random((600, 1)) < 0.5, 2.0, -2.0)
    rows = 5.0 + np.array([1.0, 3.0, 0.2]) * (side + rng.normal(size=(600, 3)))
    rbm = dg.RBM(4, visible="gaussian", random_state=0).fit(rows[:400])
    mean, variance = rows[:400].mean(axis=0), rows[:400].var(axis=0)
    square = (rows[400:] - mean) ** 2 / variance
    base = -0.5 * (square + np.log(2 * np.pi * variance)).sum(axis=1).mean()
    assert rbm.log_partition().method == "exact"
    assert rbm.score(rows[400:]) > base + 1.0
    draws = rbm.sample(2000, n_sweeps=300, random_state=0)
    assert draws.mean(axis=0) == pytest.approx(mean, abs=0.3 * np.sqrt(variance).max())
    assert draws.std(axis=0) == pytest.approx(np.sqrt(variance), rel=0.2)


def test_softmax_units_learn_categories_and_missing_ones():
    """Would catch frequencies that are not matched, or missing groups taken for a category."""
    rng = np.random.default_rng(4)
    same = rng.integers(0, 3, 500)
    values = np.where(rng.random((500, 4)) < 0.8, same[:, None], rng.integers(0, 3, (500, 4)))
    rows = np.eye(3, dtype=np.uint8)[values].reshape(500, 12)
    rbm = dg.RBM(6, visible=dg.Softmax(3), n_epochs=150, random_state=0).fit(rows)
    base = np.log(np.maximum(rows.mean(axis=0), 1e-9)) @ rows.T
    assert rbm.score(rows) > base.mean() + 0.7
    holes = rows.copy()
    holes[:, :3] = 0  # the first variable is missing
    with_holes = dg.RBM(6, visible=dg.Softmax(3), rule="cd", n_epochs=5, random_state=0).fit(holes)
    assert is_finite(with_holes.model_)
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=r"X has missing variables.*rule='cd'"):
            getattr(dg.RBM(6, visible=dg.Softmax(3), rule="pcd"), method)(holes)
    missing = np.zeros(rows.shape, bool)
    missing[:, :3] = True
    mean = rbm.impute(rows, missing, n_sweeps=30, random_state=0)
    assert mean[:, :3].sum(axis=1) == pytest.approx(1.0, abs=1e-4)
    assert (mean[:, :3].argmax(axis=1) == values[:, 0]).mean() > 0.7


def test_data_of_one_row_one_column_or_no_variance():
    """Would catch a division by zero or a logarithm of zero on degenerate data."""
    cases = [
        ("binary", np.ones((1, 1))), ("binary", np.zeros((30, 4))), ("binary", np.ones((30, 4))),
        ("gaussian", np.zeros((30, 4))), ("gaussian", np.full((30, 4), 7.5)),
        ("gaussian", np.full((1, 1), -3.0)), ("gaussian", np.c_[np.zeros(30), np.arange(30.0)]),
        (dg.Softmax(2), np.tile([1.0, 0.0], (30, 2))), (dg.Softmax(2), np.zeros((30, 4))),
    ]  # fmt: skip
    for visible, rows in cases:
        rbm = dg.RBM(3, visible=visible, rule="cd", n_epochs=50, random_state=0).fit(rows)
        assert is_finite(rbm.model_)
        assert np.isfinite(rbm.free_energy(rows)).all()
        assert np.isfinite(rbm.sample(5, n_sweeps=20, random_state=0)).all()


def test_the_default_number_of_epochs_gives_5000_updates():
    """Would catch small data that are hardly looked at, or a batch that counts wrongly."""
    rbm = dg.RBM(2, batch_size=25, random_state=0).fit(X)
    assert rbm.n_updates_ == 5001  # 1,667 epochs of 3
    assert rbm.history_[-1]["learning_rate"] == pytest.approx(0.0, abs=1e-12)
    assert rbm.history_[0]["learning_rate"] > 0.1


def test_verbose_shows_a_bar_and_silence_is_silent(capfd):
    """Would catch prints from a library."""
    dg.RBM(**SMALL).fit(X)
    assert capfd.readouterr() == ("", "")
    dg.RBM(verbose=1, **SMALL).fit(X)
    out, err = capfd.readouterr()
    assert out == ""
    assert "12/12" in err


def test_concurrent_reading_gives_the_same_bits(fitted):
    """Would catch scratch memory or a cache shared by calls of a fitted estimator."""
    expected = fitted.transform(X), fitted.sample(7, n_sweeps=20, random_state=3)
    fresh, failures = copy.deepcopy(fitted), []

    def work():
        for _ in range(10):
            same = np.array_equal(fresh.transform(X), expected[0])
            draws = fresh.sample(7, n_sweeps=20, random_state=3)
            if not (same and np.array_equal(draws, expected[1]) and np.isfinite(fresh.score(X))):
                failures.append(1)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
