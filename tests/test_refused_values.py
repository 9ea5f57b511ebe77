"""Values that are refused, by place and as they were given; and rounding, which is forgiven."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import deepgen as dg
from deepgen.layers.units import ROUNDING

RUN = {"n_epochs": 1, "batch_size": 20, "random_state": 0, "n_threads": 1}
BITS = (np.random.default_rng(0).random((60, 6)) < 0.5).astype(np.float32)
MODELS = {
    "rbm": lambda: dg.RBM(3, **RUN),
    "binarizing rbm": lambda: dg.RBM(3, binarize=True, **RUN),
    "dbn": lambda: dg.DBN((4, 3), **RUN),
    "dbm": lambda: dg.DBM((4, 3), **RUN),
    "mixture": lambda: dg.MixtureOfBernoullis(2, max_iter=3, random_state=0),
    "autoencoder": lambda: dg.Autoencoder(3, **RUN),
    "deep autoencoder": lambda: dg.DeepAutoencoder((4, 2), **RUN),
}
FORMS = {
    "float32": lambda X: X.astype(np.float32),
    "float64": lambda X: X.astype(np.float64),
    "float64, in Fortran order": lambda X: np.asfortranarray(X.astype(np.float64)),
    "list": lambda X: X.tolist(),
    "frame": pd.DataFrame,
    "csr": sparse.csr_array,
    "csc": sparse.csc_array,
}


def rounded(X, steps):
    """Move ones up and zeros down by some steps of float32 at 1."""
    return np.where(X > 0, 1.0 + steps * 2.0**-23, -steps * 2.0**-23)


class Batches:
    """Rows that come 7 at a time."""

    def __init__(self, X):
        self.X = X

    def __iter__(self):
        return (self.X[first : first + 7] for first in range(0, len(self.X), 7))


# ----------------------------------------------------------------------- rounding is forgiven


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", MODELS)
def test_rounding_is_taken_back(model, form):
    """Would catch values a few steps of float32 outside of [0, 1] that are refused, or taken for
    grey values, or give other answers than the zeros and ones that they stand for."""
    near = FORMS[form](rounded(BITS, 4))
    plain, other = MODELS[model]().fit(BITS), MODELS[model]().fit(near)
    assert np.allclose(plain.transform(BITS), other.transform(BITS), atol=1e-5)
    if "autoencoder" not in model:
        assert np.array_equal(plain.transform(near), plain.transform(BITS))
        assert np.array_equal(plain.score_samples(near), plain.score_samples(BITS))
    if model in ("rbm", "binarizing rbm", "dbm", "mixture"):
        assert np.array_equal(plain.transform(BITS), other.transform(BITS))


def test_rounding_is_forgiven_everywhere():
    """Would catch an entrance that is stricter than `fit`: streams, watched rows, core functions,
    counts of tied copies, softmax groups; and rows of the user that are changed."""
    near = rounded(BITS, 4)
    kept = near.copy()
    rbm = dg.RBM(3, **RUN).partial_fit(near)
    dg.RBM(3, callbacks=[dg.EarlyStopping(near), dg.LikelihoodMonitor(near)], **RUN).fit(near)
    assert np.array_equal(dg.free_energy(rbm.model_, near), dg.free_energy(rbm.model_, BITS))
    pseudo = [dg.pseudo_log_likelihood(rbm.model_, X, random_state=0) for X in (near, BITS)]
    assert np.array_equal(*pseudo)
    plain, other = (dg.RBM(3, **RUN).fit(Batches(X)).transform(BITS) for X in (BITS, near))
    assert np.array_equal(plain, other)
    counts = dg.Binary(2, n_copies=2).states_of([[2.0 + 2 * ROUNDING, -ROUNDING]])
    assert counts.tolist() == [[2.0, 0.0]]
    assert dg.Softmax(2, 2).states_of([[1.0 + ROUNDING, -ROUNDING]]).tolist() == [[1.0, 0.0]]
    assert np.array_equal(near, kept)
    with pytest.raises(ValueError, match=r"got 1\.000001 in row 0, column 1"):
        dg.Binary(2).states_of([[0.0, 1.000001]])


def test_a_scaler_before_a_machine_can_be_searched():
    """Would catch the textbook pipeline that ends in NaN because 1.0000001 is not 1."""
    X = load_breast_cancer().data[:200].astype(np.float32)
    assert MinMaxScaler().fit_transform(X).max() > 1
    dg.RBM(3, **RUN).fit(MinMaxScaler().fit_transform(X))
    pipeline = make_pipeline(MinMaxScaler(clip=True), dg.RBM(3, **RUN))
    with pytest.warns(UserWarning, match="values between states"):
        found = GridSearchCV(pipeline, {"rbm__n_hidden": [2, 3]}, error_score="raise").fit(X)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    with pytest.raises(ValueError, match=r"values in \[0, 1\].*MinMaxScaler\(clip=True"):
        cross_val_score(make_pipeline(MinMaxScaler(), dg.RBM(3, **RUN)), X, error_score="raise")


# ----------------------------------------------------------------- the place, the value, the cure


@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "score", "free_energy"])
@pytest.mark.parametrize("form", FORMS)
def test_a_value_is_named_by_row_and_column_as_it_was_given(form, method):
    """Would catch "got 1" for 1.000001, and a place within a piece of the rows."""
    X = np.tile(BITS, (150, 1)).astype(np.float64)
    X[8765, 4] = 1.000001
    rbm = dg.RBM(3, **RUN).fit(BITS)
    named = r" \('4'\)" if form == "frame" and method == "fit" else ""
    rows = FORMS[form](X)
    if form == "frame":
        rows.columns = [str(name) for name in rows.columns]
        rbm = dg.RBM(3, **RUN).fit(rows[:60])
    message = rf"X must .* \[0, 1\] .*got 1\.000001 in row 8765, column 4{named}.*MinMaxScaler"
    with pytest.raises(ValueError, match=message):
        getattr(rbm, method)(rows)


def test_a_value_in_batches_is_named_by_its_row_of_all():
    """Would catch the row of a batch instead of that of the rows."""
    X = BITS.astype(np.float64)
    X[45, 2] = np.inf
    with pytest.raises(ValueError, match="X must be finite, got inf in row 45, column 2"):
        dg.RBM(3, **RUN).fit(Batches(X))


def with_value(value, dtype=np.float64):
    X = BITS.astype(dtype)
    X[17, 3] = value
    return X


ODD = {
    "NaN": (with_value(np.nan), "X must be finite, got NaN in row 17, column 3"),
    "inf": (with_value(-np.inf), "X must be finite, got -inf in row 17, column 3"),
    "beyond float32": (with_value(1e300), r"X must be finite, got 1e\+300 in row 17, column 3"),
    "a byte": (with_value(255, np.uint8), "got 255 in row 17, column 3"),
    "an integer": (with_value(-3, np.int64), "got -3 in row 17, column 3"),
    "None": (with_value(None, object), "X must be finite, got (NaN|None) in row 17, column 3"),
    "a text": (with_value("male", object), "X cannot be used: .*got 'male' in row 17, column 3"),
    "texts in a frame": (
        pd.DataFrame({"age": [1, 2], "sex": ["male", "female"]}),
        r"X cannot be used: .*got 'male' in row 0, column 1 \('sex'\).*one-hot",
    ),
    "NA in a frame": (
        pd.DataFrame({"a": [0, 1], "b": pd.array([1, None], dtype="Int64")}),
        r"X must be finite, got NaN in row 1, column 1 \('b'\)",
    ),
    "dates in a frame": (
        pd.DataFrame({"a": [0, 1], "b": pd.to_datetime(["2020", "2021"])}),
        r"X cannot be used: .*Timestamp.*in row 0, column 1 \('b'\)",
    ),
    "complex": (BITS * 1j, r"X must be real, got 1j in entry \(0, \d\)"),
    "complex frame": (pd.DataFrame(BITS * 1j), "X cannot be used.*Complex data not supported"),
    "a row": (BITS[0], r"X .*Expected 2D array, got 1D array of shape \(6,\).*reshape\(1, -1\)"),
    "a dict": ({"X": BITS}, "X must be an array.* got a? ?dict"),
    "a set": ({1, 2}, "X must be an array.* got a? ?set"),
    "bytes": (b"rows", "X must be an array.* got a? ?bytes"),
}


MISSING = ("NaN", "None", "NA in a frame")  # values that are missing: fit and transform take them


@pytest.mark.parametrize(
    ("name", "method"),
    [(name, method) for name in ODD if name not in MISSING for method in ("fit", "transform")]
    + [(name, "free_energy") for name in MISSING],
)
def test_odd_input_gets_a_short_message_with_a_place(name, method):
    """Would catch a message that prints the whole matrix, a dict whose keys are taken for batches,
    and one that does not say where a value stands."""
    X, message = ODD[name]
    rbm = dg.RBM(3, **RUN).fit(BITS if "frame" not in name or "complex" in name else BITS[:, :2])
    if name.endswith("in a frame"):
        rbm = dg.RBM(3, **RUN).fit(pd.DataFrame(BITS[:, :2], columns=X.columns))
        message = message.replace(r" \('b'\)", "") if method != "fit" else message
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        getattr(rbm, method)(X)
    assert len(str(caught.value)) < 700


def test_completions_and_features_name_the_place_too():
    """Would catch the methods that check rows in their own way."""
    rbm = dg.RBM(3, **RUN).fit(BITS)
    known = np.zeros(BITS.shape, np.bool_)
    with pytest.raises(ValueError, match="where it is observed, got NaN in row 17, column 3"):
        rbm.impute(with_value(np.nan), missing=known)
    with pytest.raises(ValueError, match="got NaN in row 1, column 0"):
        rbm.inverse_transform([[0.0, 1.0, 0.5], [np.nan, 0.0, 0.0]])
    with pytest.raises(ValueError, match=r"got 1\.5 in row 0, column 2"):
        rbm.inverse_transform([[0.0, 1.0, 1.5]])
    groups = dg.RBM(3, visible=dg.Softmax(3), rule="cd", **RUN)
    one_hot = np.eye(3)[np.arange(120) % 3].reshape(60, 6)
    groups.fit(one_hot)
    one_hot[41, 4] = 0.5
    with pytest.raises(ValueError, match=r"one 1 in each group of 3 .*in row 41; .*columns 3 to 5"):
        groups.transform(one_hot)
    one_hot[41, 4] = 0
    known[41, 4] = True
    with pytest.raises(ValueError, match=r"all 3 columns.*got 1 of columns 3 to 5 in row 41"):
        groups.impute(one_hot, missing=known)


TARGETS = {
    "NaN": (np.where(np.arange(60) == 7, np.nan, 1.0), "y must be finite, got NaN in row 7;"),
    "None": ([*range(5), None, *range(54)], "y must be finite, got None in row 5;"),
    "inf in a column": (
        np.where(np.arange(120).reshape(60, 2) == 9, np.inf, 1.0), "got inf in row 4, column 1",
    ),
    "too large": (np.where(np.arange(60) == 7, 1e14, 1.0), "y must have values within.*in row 7"),
    "a text": (np.where(np.arange(60) == 7, "x", np.zeros(60, object)), "got 'x' in row 7"),
    "too few": (np.zeros(5), r"y must have shape \(60,\) or \(60, n_targets\), got \(5,\)"),
    "nothing": (None, "the target y is None"),
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_targets_are_named_by_row_and_column(name):
    """Would catch "Input y contains NaN", which says neither."""
    y, message = TARGETS[name]
    with pytest.raises(ValueError, match=message):
        dg.DeepRegressor((3,), **RUN).fit(BITS, y)


def test_an_error_about_a_value_goes_through_a_pickle():
    """Would catch a search with several processes that hangs or hides the message."""
    with pytest.raises(ValueError, match="got inf") as caught:
        dg.RBM(3, **RUN).fit(pd.DataFrame(with_value(np.inf), columns=list("abcdef")))
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert "column 3 ('d')" in str(again)
