"""Labels and targets in files, and the scores that compare with them."""

import json

import numpy as np
import pytest
from cli_runs import call, fails, working_folder
from scipy import sparse
from sklearn.metrics import r2_score

import deepgen as dg
from deepgen.cli.common.labels import read_labels, read_targets, unlabelled_in
from deepgen.cli.common.measures import mean_with_error, r_squared_of

SHORT = ["--n-hidden", "4", "--n-epochs", "1", "--n-threads", "1"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return working_folder(tmp_path, monkeypatch)


def train(*argv, model="classifier", labels="y.csv"):
    return ["train", "--model", model, "--data", "train.npy", "--labels", labels, "--out", "m",
            *SHORT, *argv]  # fmt: skip


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0\n1\n2\n", [0, 1, 2]),
        ("class\n0\n1\n2\n", [0, 1, 2]),
        ("0.0\n1.0\n-1\n", [0.0, 1.0, -1.0]),
        ("a\nb\nc", ["a", "b", "c"]),
        ("class\na\nb\nc\n\n", ["a", "b", "c"]),
        ('"a, b"\n"c"\n d \n', ["a, b", "c", "d"]),
        ("1_0\n2_0\n3_0\n", ["1_0", "2_0", "3_0"]),
        ("0\nb\n-1\n", ["0", "b", "-1"]),
        ("\ufeff1\n2\n3\n", [1, 2, 3]),
        ("\na\nb\n", ["", "a", "b"]),
        (f"{2**70}\n1\n2\n", [float(2**70), 1.0, 2.0]),
    ],
)
def test_labels_in_text(text, wanted, folder):
    """Catches a header taken for a label and a label for a header, numbers that become texts, and
    texts that Python would read as numbers."""
    (folder / "y.csv").write_text(text, encoding="utf-8")
    found = read_labels("y.csv", 3, "rows.npy")
    assert found.tolist() == wanted
    assert found.dtype.kind == np.asarray(wanted).dtype.kind


def test_labels_in_arrays(folder):
    """Catches a column that is refused, bytes that no model file can hold, and one of several
    arrays that cannot be named."""
    y = np.array(["ä", "b", "c"])
    np.save("column.npy", np.array([[1], [2], [3]]))
    np.save("bytes.npy", np.char.encode(y, "utf-8"))
    np.savez("two.npz", X=np.eye(3), y=y)
    np.save("flags.npy", np.array([True, False, True]))
    assert read_labels("column.npy", 3, "rows").tolist() == [1, 2, 3]
    for source in ("bytes.npy", "two.npz:y"):
        assert read_labels(source, 3, "rows").tolist() == y.tolist()
    assert read_labels("flags.npy", 3, "rows").tolist() == [True, False, True]
    assert read_targets("column.npy", 3, "rows").shape == (3,)
    assert read_targets("two.npz:X", 3, "rows").shape == (3, 3)


@pytest.mark.parametrize(
    ("labels", "settings", "wanted"),
    [
        ([0, 1], {}, None),
        (["a", "b"], {}, None),
        ([0, 1], {"unlabelled": "-1"}, -1),
        (["a", "b"], {"unlabelled": -1}, "-1"),
        (["a", "b"], {"unlabelled": "?"}, "?"),
        ([0, 1], {"unlabelled": "9"}, 9),
        ([0.0, 1.0], {"unlabelled": 9}, 9),
    ],
)
def test_what_stands_for_no_label_is_of_the_labels_type(labels, settings, wanted):
    """Catches "-1" among texts that becomes a class, because -1 is another type."""
    found = unlabelled_in(np.array(labels), settings)
    assert found == wanted
    assert type(found) is type(wanted)


def test_labels_that_are_none(folder, capsys):
    """Catches a traceback, and a message that blames the rows or does not say what is wrong."""
    rng = np.random.default_rng(0)
    bad = {
        "short.npy": (rng.integers(0, 2, 299), "299 entries, but train.npy has 300 rows"),
        "matrix.npy": (rng.integers(0, 2, (300, 2)), "one label a row"),
        "real.npy": (rng.random(300), "regressor"),
        "nan.npy": (np.full(300, np.nan), "--unlabelled -1"),
        "one.npy": (np.zeros(300, int), "at least 2 classes"),
        "empty.npy": (np.zeros(0), "entry for each row"),
        "dates.npy": (np.zeros(300, "datetime64[s]"), "numbers or texts"),
        "gap.npy": (np.array(["a", "b", ""] * 100), "empty label, the first in row 2"),
    }
    for name, (y, words) in bad.items():
        np.save(name, y)
        line = fails(capsys, 1, *train(labels=name))
        assert name in line
        assert words in line
    sparse.save_npz("sparse.npz", sparse.eye_array(300, 9))
    (folder / "ragged.csv").write_text("1\n1,2\n" * 150)
    (folder / "junk.csv").write_bytes(b"\xff\xfe\x00")
    (folder / "objects.npy").write_bytes(b"junk")
    for name in ("sparse.npz", "ragged.csv", "junk.csv", "objects.npy", "missing.npy"):
        assert name in fails(capsys, 1, *train(labels=name))
    np.save("texts.npy", np.array(["a", "b"] * 150))
    assert "must hold numbers" in fails(capsys, 1, *train(model="regressor", labels="texts.npy"))
    assert "finite" in fails(capsys, 1, *train(model="regressor", labels="nan.npy"))
    assert not (folder / "m").exists()


# --- rows without a label -------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["classifier", "dbm"])
def test_rows_without_a_label_are_none_of_a_class(model, folder, capsys):
    """Catches a text that stands for no label and is learned as one, and classes that are lost."""
    y = np.array(["?", "a", "b"])[np.load("train.npy")[:, :2].sum(axis=1)]
    (folder / "y.csv").write_text("\n".join(y))
    assert call(capsys, *train("--unlabelled", "?", model=model))[0] == 0
    assert dg.load("m").classes_.tolist() == ["a", "b"]
    assert call(capsys, *train(model=model))[0] == 0
    assert dg.load("m").classes_.tolist() == ["?", "a", "b"]
    signs = np.load("train.npy")[:, 0].astype(int) * 2 - 1
    np.save("signs.npy", signs)
    assert call(capsys, *train(model=model, labels="signs.npy"))[0] == 0
    assert dg.load("m").classes_.tolist() == [-1, 1]
    line = fails(capsys, 1, *train("--unlabelled", "-1", model=model, labels="signs.npy"))
    assert "is a class without --unlabelled" in line


def test_rows_without_a_target_are_none_of_a_process(folder, capsys):
    """Catches NaN that is refused, where rows without a target serve the pretraining."""
    y = np.load("train.npy").mean(axis=1)
    y[20:] = np.nan
    np.save("y.npy", y)
    argv = train("--pretrain-epochs", "1", model="gaussian-process", labels="y.npy")
    assert call(capsys, *argv)[0] == 0
    assert len(dg.load("m").model_.targets) == 20
    y[3] = np.inf
    np.save("y.npy", y)
    assert "make it NaN where a row has none" in fails(capsys, 1, *argv)


# --- scores ---------------------------------------------------------------------------------------


def test_accuracy_is_of_the_rows_that_have_a_label(folder, capsys):
    """Catches rows without a label that count as wrong, and an error that is none of a share."""
    X = np.load("train.npy")
    y = np.array(["a", "b"])[X[:, 0]]
    (folder / "y.csv").write_text("\n".join(y))
    assert call(capsys, *train("--n-epochs", "30"))[0] == 0
    some = y.astype("U2")
    some[:100] = "no"
    (folder / "some.csv").write_text("\n".join(some))
    argv = ["score", "m", "train.npy", "--labels", "some.csv"]
    out = call(capsys, *argv, "--unlabelled", "no", "--json")[1]
    found = json.loads(out)["accuracy"]
    p = (dg.load("m").predict(X) == y)[100:].mean()
    assert found["n_labelled"] == 200
    assert np.isclose(found["value"], p)
    assert np.isclose(found["standard_error"], np.sqrt(p * (1 - p) / 200))
    words = call(capsys, *argv, "--unlabelled", "no")[1]
    assert f"{p:.4f} of 200 labels" in words
    some[:100] = "?"
    (folder / "some.csv").write_text("\n".join(some))
    assert call(capsys, *argv, "--unlabelled", "?")[1] == words
    code, out, lines = call(capsys, *argv)
    assert code == 0
    assert "of 300 labels" in out
    assert lines == [
        "deepgen: warning: 100 rows of some.csv have labels that the model does not know, '?'; "
        "they count as wrong (--unlabelled LABEL leaves them out)"
    ]


def test_a_dbm_with_label_units_has_both_scores(folder, capsys):
    """Catches labels that are read and not used, where there is a likelihood too."""
    X = np.load("train.npy")
    np.save("y.npy", X[:, 0])
    assert call(capsys, *train(model="dbm", labels="y.npy"))[0] == 0
    found = json.loads(call(capsys, "score", "m", "train.npy", "--labels", "y.npy", "--json")[1])
    assert found["accuracy"]["value"] == (dg.load("m").predict(X) == X[:, 0]).mean()
    assert "log_likelihood" in json.loads(call(capsys, "score", "m", "train.npy", "--json")[1])


def test_labels_that_a_file_cannot_be_scored_by(folder, capsys):
    """Catches an accuracy of 0 where labels are of another type, and labels that are ignored."""
    X = np.load("train.npy")
    np.save("y.npy", X[:, 0])
    np.save("texts.npy", np.array(["a", "b"])[X[:, 0]])
    np.save("pairs.npy", X[:, :2])
    np.save("same.npy", np.ones(300))
    assert call(capsys, *train(labels="y.npy"))[0] == 0
    score = ["score", "m", "train.npy"]
    assert "classes of the model" in fails(capsys, 1, *score, "--labels", "texts.npy")
    assert "give --labels FILE" in fails(capsys, 2, *score)
    np.save("few.npy", X[:60, 0])
    assert "300 rows" in fails(capsys, 1, *score, "--labels", "few.npy")
    assert call(capsys, *train(model="regressor", labels="y.npy"))[0] == 0
    assert "as the model has" in fails(capsys, 1, *score, "--labels", "pairs.npy")
    assert "targets that differ" in fails(capsys, 1, *score, "--labels", "same.npy")
    assert "regressor" in fails(capsys, 2, *score, "--labels", "y.npy", "--unlabelled", "1")
    dg.RBM(3, n_epochs=1, random_state=0).fit(X).save("m")
    assert "predicts no labels" in fails(capsys, 1, *score, "--labels", "y.npy")
    assert "needs labels" in fails(capsys, 2, *score, "--unlabelled", "1")


@pytest.mark.parametrize("n_targets", [1, 3])
def test_r_squared_is_the_usual_one_and_its_error_that_of_samples(n_targets):
    """Catches a mean over targets that is weighted, and a standard error that forgets that the
    variance of the targets is estimated too: it must be that of R2 over many samples."""
    rng = np.random.default_rng(0)
    found, errors = [], []
    for _ in range(300):
        targets = rng.normal(size=(400, n_targets)) * [1.0, 5.0, 0.1][:n_targets]
        predicted = 0.7 * targets + 0.4 * rng.normal(size=targets.shape)
        if n_targets == 1:
            targets, predicted = targets[:, 0], predicted[:, 0]
        value, error = r_squared_of(predicted, targets)
        assert np.isclose(value, r2_score(targets, predicted))
        found.append(value)
        errors.append(error)
    # the standard deviation of 300 numbers is known to 1 / sqrt(600); fourth moments are normal's
    assert abs(np.std(found) / np.mean(errors) - 1) < 5 / np.sqrt(600)


def test_squared_errors_of_an_autoencoder(folder, capsys):
    """Catches a mean over values called one over rows."""
    X = np.load("valid.npy")
    dg.Autoencoder(3, n_epochs=1, random_state=0).fit(X).save("m")
    errors = dg.load("m").reconstruction_error(X)
    found = json.loads(call(capsys, "score", "m", "valid.npy", "--json")[1])["squared_error"]
    assert found == {**mean_with_error(errors), "per_value": errors.mean() / 9}
    assert np.isclose(found["standard_error"], errors.std() / np.sqrt(60))
    assert f"{errors.mean():.4f} a row" in call(capsys, "score", "m", "valid.npy")[1]


def test_a_model_of_dates_can_be_asked(folder, capsys):
    """Catches dates, which JSON does not have, and a list of classes that is not shown."""
    days = np.array(["2020-01-01", "2021-02-03"], "M8[D]")
    X = np.load("train.npy")
    dg.DeepClassifier((3,), n_epochs=1, random_state=0).fit(X, days[X[:, 0]]).save("m")
    for command in (["info", "m"], ["predict", "m", "train.npy", "--out", "p.npy"]):
        out = call(capsys, *command, "--json")[1]
        assert json.loads(out)["classes"] == ["2020-01-01", "2021-02-03"]
    assert set(np.load("p.npy").tolist()) <= set(days.tolist())
    assert "2021-02-03" in call(capsys, "info", "m")[1]
