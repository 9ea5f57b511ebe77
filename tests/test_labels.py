"""Labels of any value: which are classes, what says that there is none, files that keep them."""

import datetime

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning
from stops import At, Stop, fail

import deepgen as dg

N = np.arange(90)
X = (np.random.default_rng(0).random((90, 4)) < 0.5).astype(np.uint8)
RUN = {"n_epochs": 1, "random_state": 0}
MODELS = {
    "classifier": lambda **settings: dg.DeepClassifier((4,), **RUN, **settings),
    "dbm": lambda **settings: dg.DBM((4,), label_units=True, **RUN, **settings),
}
LETTERS = np.array(["a", "b", "c"])[N % 3]
DAYS = np.array(["2020-01-01", "2020-01-02", "2021-05-05"], "M8[D]")[N % 3]
# labels; classes that they are
ALL_LABELLED = {
    "-1, 0, 1": (N % 3 - 1, [-1, 0, 1]),
    "-1, 1": (2 * (N % 2) - 1, [-1, 1]),
    "-1.0, 0.0": (-1.0 * (N % 2), [-1.0, 0.0]),
    "list": ((N % 3 - 1).tolist(), [-1, 0, 1]),
    "objects": ((N % 3 - 1).astype(object), [-1, 0, 1]),
    "nullable": (pd.Series(N % 3 - 1, dtype="Int64"), [-1, 0, 1]),
    "texts": (LETTERS, ["a", "b", "c"]),
    "-1 as a text": (np.array(["-1", "0"])[N % 2], ["-1", "0"]),
    "an empty text": (np.array(["", "a"])[N % 2], ["", "a"]),
    "categories": (pd.Series(LETTERS, dtype="category"), ["a", "b", "c"]),
    "strings of pandas": (pd.Series(LETTERS, dtype="string"), ["a", "b", "c"]),
    "truth values": (N % 2 == 0, [False, True]),
    "nullable truth values": (pd.Series(N % 2 == 0, dtype="boolean"), [False, True]),
    "list of truth values": ([bool(n % 2) for n in N], [False, True]),
    "dates": (DAYS, np.unique(DAYS)),
    "dates of pandas": (pd.Series(DAYS), np.unique(DAYS)),
    "list of dates": (DAYS.tolist(), np.unique(DAYS)),
    "durations": (pd.Series(pd.to_timedelta(N % 3, unit="D")), np.unique(N % 3).astype("m8[D]")),
    "frame of one column": (pd.DataFrame({"label": N % 3 - 1}), [-1, 0, 1]),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ALL_LABELLED)
def test_every_label_is_a_class_where_nothing_is_said(name, model, tmp_path):
    """Would catch a class that vanishes because of its value, labels that change their type, a
    frame of one column that is refused, and files that lose dates or truth values."""
    y, classes = ALL_LABELLED[name]
    fitted = MODELS[model]().fit(X, y)
    assert np.array_equal(fitted.classes_, classes)
    assert fitted.classes_.dtype.kind == np.asarray(classes).dtype.kind
    fitted.save(tmp_path / "m")
    again = dg.load(tmp_path / "m")
    assert np.array_equal(again.classes_, classes)
    assert again.classes_.dtype.kind == fitted.classes_.dtype.kind
    assert np.array_equal(again.predict(X), fitted.predict(X))


# labels, `unlabelled`; what is left are the classes 0 and 2, or "a" and "c", of two rows in three
NONE = np.nan
SOME_UNLABELLED = {
    "-1": (np.where(N % 3 == 1, -1, N % 3), -1),
    "-1 in a list": (np.where(N % 3 == 1, -1, N % 3).tolist(), -1),
    "NaN": (np.where(N % 3 == 1, np.nan, N % 3), NONE),
    "NumPy's NaN": (np.where(N % 3 == 1, np.nan, N % 3), np.float32("nan")),
    "NA": (pd.Series(N % 3, dtype="Int64").where(N % 3 != 1), NONE),
    "None": (np.where(N % 3 == 1, None, LETTERS), NONE),
    "None in a list": (np.where(N % 3 == 1, None, LETTERS).tolist(), NONE),
    "missing category": (pd.Series(LETTERS, dtype="category").where(N % 3 != 1), NONE),
    "missing string": (pd.Series(LETTERS, dtype="string").where(N % 3 != 1), NONE),
    "NaT": (np.where(N % 3 == 1, np.datetime64("NaT"), DAYS), NONE),
    "a date": (DAYS, datetime.date(2020, 1, 2)),
    "a text": (LETTERS, "b"),
    "a number among texts": (np.where(N % 3 == 1, -1, LETTERS.astype(object)), -1),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", SOME_UNLABELLED)
def test_rows_without_a_label_are_told_by_unlabelled(name, model):
    """Would catch a way to say "no label" that works for one type of labels only."""
    y, unlabelled = SOME_UNLABELLED[name]
    fitted = MODELS[model](unlabelled=unlabelled).fit(X, y)
    assert len(fitted.classes_) == 2
    assert fitted.history_[0]["n_rows"] == (60 if model == "classifier" else 90)


def with_label(value, place=7):
    y = (N % 3).astype(object)
    y[place] = value
    return y


REFUSED = {
    "NaN": (with_label(np.nan).astype(float), "for each row, got NaN in row 7; .*unlabelled="),
    "None": (with_label(None), r"y must hold a label for each row, got None in row 7"),
    "NA": (with_label(pd.NA), r"y must hold a label for each row, got <NA> in row 7"),
    "None among texts": (np.where(N == 5, None, LETTERS), "got None in row 5"),
    "inf": (with_label(np.inf).astype(float), "y must be finite, got inf in row 7"),
    "a text among numbers": (with_label("x"), "of one kind, as 0 in row 0, got 'x' in row 7"),
    "a truth value among numbers": (with_label(True), "labels of one kind.*got True in row 7"),
    "a pair": (with_label((1, 2)), r"labels, got \(1, 2\) in row 7"),
    "complex": (N * 1j, "y must hold numbers, texts, truth values or dates as labels"),
    "measurements": (N / 90, "Unknown label type: continuous"),
    "a time zone": (
        pd.Series(pd.date_range("2020", periods=90, tz="UTC")), "without a time zone.*in row 0",
    ),
    "two columns": (np.zeros((90, 2)), r"y must have shape \(90,\), got \(90, 2\)"),
    "too few": (N[:5], r"y must have shape \(90,\), got \(5,\)"),
    "a mask": (np.ma.array(N % 3, mask=N == 3), "y is a masked array"),
    "one class": (0 * N, r"at least 2 classes, got 1 class: \[0\]"),
}  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_label_is_named_by_row(name, model):
    """Would catch "'<' not supported between NoneType and str", and a message without a place."""
    y, message = REFUSED[name]
    estimator = MODELS[model]()
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, y)
    assert vars(estimator) == before


def test_unlabelled_is_checked():
    """Would catch a list of such labels that silently equals none of them."""
    with pytest.raises(ValueError, match=r"unlabelled must be a label.*got \[-1\]"):
        MODELS["classifier"](unlabelled=[-1]).fit(X, N % 3 - 1)


@pytest.mark.parametrize("model", MODELS)
def test_labels_as_semi_supervised_estimators_take_them_are_not_taken_in_silence(model):
    """Would catch rows without a label that become a class without a word, and a warning about
    classes that happen to be -1, 0 and 1."""
    few = np.where(N % 9 < 3, N % 3, -1)
    with pytest.warns(UserWarning, match="-1 in 60 of 90 rows.*pass unlabelled=-1"):
        MODELS[model]().fit(X, few)
    MODELS[model](unlabelled=-1).fit(X, few)
    MODELS[model]().fit(X, N % 3 - 1)
    MODELS[model]().fit(X, np.where(N < 80, -1, 1))


def test_a_column_of_an_array_is_read_with_a_warning():
    """Would catch a vector of labels that only one estimator takes as a column."""
    for make in MODELS.values():
        with pytest.warns(DataConversionWarning, match="column-vector"):
            fitted = make().fit(X, (N % 3)[:, None])
        assert fitted.classes_.tolist() == [0, 1, 2]


def test_a_stream_takes_labels_of_dates():
    """Would catch dates that are compared in another unit than the classes came in."""
    dbm = dg.DBM((4,), label_units=True, random_state=0)
    dbm.partial_fit(X, DAYS, classes=np.unique(DAYS)).partial_fit(X, pd.Series(DAYS))
    with pytest.raises(ValueError, match=r"y must hold labels of.*in row 3"):
        dbm.partial_fit(X, np.where(N == 3, np.datetime64("2000-01-01"), DAYS))
    with pytest.raises(ValueError, match="y must hold labels of"):
        dbm.partial_fit(X, N % 3)


def test_a_run_goes_on_whatever_stood_for_no_label(tmp_path):
    """Would catch NaN, which differs from itself, in the settings that a checkpoint compares; and
    a checkpoint that wants the label of then where the targets are the same."""
    path, few = tmp_path / "run", np.where(N % 3, N % 2, -1)
    settings = {"smoothness": dg.VirtualAdversarial(0.5), "n_epochs": 4, "batch_size": 30}
    whole = dg.DeepClassifier((4,), unlabelled=-1, random_state=0, **settings).fit(X, few)
    with_gaps = np.where(few < 0, np.nan, few)
    with pytest.raises(Stop):
        dg.DeepClassifier(
            (4,), unlabelled=np.nan, random_state=0,
            callbacks=[dg.Checkpoint(path), At(fail, update=7)], **settings,
        ).fit(X, with_gaps)  # fmt: skip
    for unlabelled, y in ((np.nan, with_gaps), (-1, few)):
        resumed = dg.DeepClassifier((4,), unlabelled=unlabelled, **settings).fit(X, y, resume=path)
        assert np.array_equal(resumed.predict_proba(X), whole.predict_proba(X))
