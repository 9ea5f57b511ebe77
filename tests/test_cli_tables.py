"""Tables as people have them, read by the command line: separators, names, gaps, an index, Parquet,
standard input; and what a mistyped word is like."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runs import call, fails, working_folder

import deepgen as dg
from deepgen.cli import main
from deepgen.cli.common import tables
from deepgen.cli.common.errors import CommandError
from deepgen.cli.common.labels import read_labels, read_targets
from deepgen.cli.common.rows import read_rows

GAPS = np.array([[1.0, np.nan, 0.5], [np.nan, 2.0, -3e-7], [4.0, 5.0, 6.0]])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Bars and stripes, with gaps in gaps.csv, and an RBM and a mixture of them in `r`, `x`."""
    folder = working_folder(tmp_path, monkeypatch)
    X = np.load("train.npy")
    dg.RBM(4, n_epochs=2, random_state=0).fit(X).save("r")
    dg.MixtureOfBernoullis(3, max_iter=3, random_state=0).fit(X).save("x")
    frame = pd.DataFrame(X[:5], columns=list("abcdefghi")).astype(float)
    frame.iloc[2, 7] = np.nan
    frame.to_csv("gaps.csv", index=False)
    return folder


def given(monkeypatch, content):
    """Let these bytes be the standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


# --- text -----------------------------------------------------------------------------------------

TEXTS = {
    "commas": "1,,0.5\n,2,-3e-7\n4,5,6\n",
    "semicolons": "1;;0.5\n;2;-3e-7\n4;5;6\n",
    "tabs": "1\t\t0.5\n\t2\t-3e-7\n4\t5\t6\n",
    "no line at the end": "1,,0.5\n,2,-3e-7\n4,5,6",
    "lines of Windows": "1,,0.5\r\n,2,-3e-7\r\n4,5,6\r\n",
    "empty lines": "\n1,,0.5\n\n,2,-3e-7\n4,5,6\n\n\n",
    "spaces": " 1 , , 0.5\n,2,-3e-7\n4 ,5,6\n",
    "quotes": '"1","","0.5"\n"","2","-3e-7"\n"4","5","6"\n',
    "names": "a,b,c\n1,,0.5\n,2,-3e-7\n4,5,6\n",
    "names with separators": '"a;1","b, 2","c\t3"\n1,,0.5\n,2,-3e-7\n4,5,6\n',
    "names of semicolons": "a,1;b;c\n1;;0.5\n;2;-3e-7\n4;5;6\n",
    "a name that is empty": "a,,c\n1,,0.5\n,2,-3e-7\n4,5,6\n",
    "a byte order mark": "\ufeff1,,0.5\n,2,-3e-7\n4,5,6\n",
    "a byte order mark before names": "\ufeffa;b;c\n1;;0.5\n;2;-3e-7\n4;5;6\n",
    "words for gaps": "1,NA,0.5\nnan,2,-3e-7\n4,5,6\n",
    "an index": ",a,b,c\n0,1,,0.5\n1,,2,-3e-7\n2,4,5,6\n",
    "an index that was read and written": "Unnamed: 0,a,b,c\n0,1,,0.5\n1,,2,-3e-7\n2,4,5,6\n",
    "comments": "# made by a script\n# a,b,c\n1,,0.5\n,2,-3e-7\n4,5,6\n",
    "a comment": "# three columns; no names\n1,,0.5\n,2,-3e-7\n4,5,6\n",
    "an index of R": '"";"a";"b";"c"\n"1";1;NA;0.5\n"2";NA;2;-3e-7\n"3";4;5;6\n',
    "an index above numbers": ",0,1,2\n0,1,,0.5\n1,,2,-3e-7\n2,4,5,6\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("ending", [".csv", ".CSV", ".tsv"])
def test_texts_are_the_same_table(text, ending, tmp_path, capsys):
    """Catches a row of names that is read as data, an index as a column, an empty cell as 0 or as
    an error, and cells that are shifted."""
    if ending == ".tsv":
        text = text.replace("a,1;", "a 1;").replace(";", "\t").replace(",", "\t")
    path = tmp_path / f"t{ending}"
    path.write_bytes(text.encode())
    np.testing.assert_array_equal(read_rows(str(path)), GAPS)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("names", [None, list("abc"), ["1990", "b", "NA"]], ids=str)
@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["commas", "semicolons", "tabs"])
def test_what_pandas_writes_is_read_as_it_was(index, names, separator, tmp_path):
    """Catches a mark of pandas' that is taken for data: each number comes back, and only those."""
    if names is None and not index:
        pytest.skip("names that are numbers cannot be told from a row: a warning says so")
    rng = np.random.default_rng(0)
    values = np.where(rng.random((40, 3)) < 0.3, np.nan, rng.normal(size=(40, 3)))
    path = str(tmp_path / "t.csv")
    pd.DataFrame(values, columns=names).to_csv(path, index=index, sep=separator)
    np.testing.assert_array_equal(read_rows(path), values)


def test_frames_of_bools_are_zeros_and_ones(tmp_path):
    """Catches True and False, as pandas writes bools, taken for names or refused."""
    values = np.random.default_rng(0).random((9, 4)) < 0.5
    path = str(tmp_path / "t.csv")
    for options in ({"index": False}, {}, {"index": False, "header": False}):
        pd.DataFrame(values, columns=list("abcd")).to_csv(path, **options)
        np.testing.assert_array_equal(read_rows(path), values)


def test_an_index_that_is_no_count_is_left_out_aloud(tmp_path, capsys):
    """Catches a column of data without a name that is dropped in silence."""
    path = str(tmp_path / "t.csv")
    for index in (list("xyz"), [7, 3, 9], [0, 1, 1]):
        pd.DataFrame(GAPS, columns=list("abc"), index=index).to_csv(path)
        np.testing.assert_array_equal(read_rows(path), GAPS)
        assert "left out" in capsys.readouterr().err


def test_rows_that_look_like_an_index_are_rows(tmp_path, capsys):
    """Catches data that are dropped because they count: only a name that is empty says index."""
    path = tmp_path / "t.csv"
    for values in (np.arange(12.0).reshape(3, 4), np.array([[np.nan, 0.0], [1.0, 2.0]])):
        path.write_text("\n".join(",".join("" if x != x else f"{x:g}" for x in r) for r in values))
        np.testing.assert_array_equal(read_rows(str(path)), values)
    assert "counts 0, 1, 2 and is read as a row" in capsys.readouterr().err
    path.write_text("id,a\n0,5\n1,6\n")  # has a name, so it is a column
    np.testing.assert_array_equal(read_rows(str(path)), [[0, 5], [1, 6]])


def test_one_column_has_gaps_in_quotes(tmp_path):
    """Catches an empty line between rows that becomes a row of its own."""
    path = tmp_path / "t.csv"
    path.write_text('a\n1\n""\n\n3\n')
    np.testing.assert_array_equal(read_rows(str(path)), [[1], [np.nan], [3]])


def test_fast_and_slow_ways_read_the_same_numbers(tmp_path):
    """Catches a last digit that depends on whether there is a gap somewhere."""
    values = np.random.default_rng(0).normal(size=(50, 3)) * 10.0 ** np.arange(-20, 30)[:, None]
    path = tmp_path / "t.csv"
    pd.DataFrame(values).to_csv(path, index=False, header=False)
    text = path.read_text()
    np.testing.assert_array_equal(read_rows(str(path)), values)
    path.write_text(text + ",,\n")
    np.testing.assert_array_equal(read_rows(str(path))[:-1], values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n3,x\n", ["'x'", "row 1, column 1 ('b')"]),
        ("1,2\n3,x\n", ["'x'", "row 1, column 1;"]),
        (",a,b\n0,1,2\n1,3,x\n", ["'x'", "row 1, column 1 ('b')"]),
        ("1,2\n1,2,3\n", ["2 cells between commas", "got 3 in row 1"]),
        ("1;2\n1;2\n1\n", ["row", "commas, semicolons or tabs"]),
        ("a;b\n1,5;2\n", ["'1,5'", "decimals with a point"]),
        ("1,2\n1_000,2\n", ["'1_000'"]),
        ("a,b\n0,1,2\n1,3,4\n", ["2 in the first line", "3 cells in row 0"]),
        ("a,b\n0,1,\n1,3,4\n", ["2 cells between commas", "got 3 in row 0"]),
        ("1,2\n3,\0\n", ["column 1"]),
        ("", ["at least one row"]),
        ("a,b\n", ["at least one row"]),
        (",a\n", ["at least one row"]),
    ],
    ids=repr,
)
def test_texts_that_are_no_table_say_where(text, words, tmp_path):
    """Catches NumPy's words about usecols and converters, and a place that is off by the header."""
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(CommandError) as raised:
        read_rows(str(path))
    assert str(path) in str(raised.value)
    for word in words:
        assert word in str(raised.value)


# --- gaps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["rbm", "dbn", "dbm", "mixture", "autoencoder"])
def test_models_are_trained_from_gaps(model, folder, capsys):
    """Catches a training, or features, that refuse what the library takes; and a mixture without
    the likelihood of what is there."""
    line = ["train", "--model", model, "--data", "gaps.csv", "--out", "m"]
    if model != "mixture":
        line += ["--n-epochs", "2"]
    if model in ("rbm", "dbn", "autoencoder"):
        line += ["--valid", "valid.npy"]
    assert call(capsys, *line)[0] == 0
    assert call(capsys, "transform", "m", "gaps.csv", "--out", "o.npy")[0] == 0
    assert np.isfinite(np.load("o.npy")).all()
    if model == "mixture":
        code, out, _ = call(capsys, "score", "m", "gaps.csv", "--json")
        assert (code, json.loads(out)["n_rows"]) == (0, 5)


@pytest.mark.parametrize("command", ["score", "train"])
def test_commands_that_take_no_gaps_say_where_they_are(command, folder, capsys):
    """Catches "contains NaN" of a file of a thousand columns. What a model can take it says
    itself: `impute` completes the rows, and the command then works."""
    argv = {
        "train": ["train", "--model", "regressor", "--data", "gaps.csv", "--labels", "y.npy",
                  "--n-epochs", "1", "--out", "m"],
        "score": ["score", "r", "gaps.csv"],
    }[command]
    np.save("y.npy", np.arange(5.0))
    line = fails(capsys, 1, *argv)
    assert line.startswith("deepgen: gaps.csv: ")
    assert "row 2, column 7 ('h'): deepgen impute" in line
    code, _, lines = call(capsys, "impute", "r", "gaps.csv", "--method", "draw", "--sweeps", "3",
                          "--out", "whole.csv")  # fmt: skip
    assert (code, lines) == (0, [])
    assert call(capsys, *["whole.csv" if word == "gaps.csv" else word for word in argv])[0] == 0
    X = np.zeros((9000, 9), np.float32)
    X[8999, 3] = np.nan
    np.save("late.npy", X)
    np.save("y.npy", np.arange(9000.0))
    line = fails(capsys, 1, *["late.npy" if word == "gaps.csv" else word for word in argv])
    assert "row 8,999, column 3: deepgen impute" in line


@pytest.mark.parametrize("model", ["r", "x"])
def test_gaps_of_every_text_are_completed(model, folder, capsys, monkeypatch):
    """Catches gaps that only a comma makes; all of them are the same rows."""
    frame = pd.read_csv("gaps.csv")
    frame.to_csv("gaps.tsv", sep="\t")
    frame.to_csv("semicolons.csv", sep=";", index=False)
    options = ["--n-chains", "2", "--sweeps", "3"] if model == "r" else []
    found = []
    for source in ("gaps.csv", "gaps.tsv", "semicolons.csv", "-"):
        given(monkeypatch, Path("gaps.tsv").read_bytes())
        out = call(capsys, "impute", model, source, *options)
        assert out[0] == 0, out
        found.append(out[1])
    assert len(set(found)) == 1
    assert "nan" not in found[0]


# --- Parquet --------------------------------------------------------------------------------------


def table():
    frame = pd.DataFrame({
        "a": [1.5, np.nan, 3.0], "b": [1, 0, 1], "c": pd.array([True, None, False], "boolean"),
        "d": pd.array([7, None, 9], "Int64"),
    })  # fmt: skip
    return frame, np.array([[1.5, 1, 1, 7], [np.nan, 0, np.nan, np.nan], [3, 1, 0, 9]])


@pytest.mark.parametrize("reader", ["pyarrow", "polars"])
@pytest.mark.parametrize("index", [None, ["x", "y", "z"]], ids=["counted", "named"])
def test_parquet_is_read_by_what_is_installed(reader, index, tmp_path, monkeypatch):
    """Catches gaps of integers and bools that become numbers or objects, and an index that pandas
    stores as a column."""
    pytest.importorskip("pyarrow")
    pytest.importorskip(reader)
    path = str(tmp_path / "t.parquet")
    frame, wanted = table()
    frame.set_axis(index or range(3)).to_parquet(path)
    if reader != "pyarrow":
        monkeypatch.setattr(tables, "_by_arrow", without("pyarrow"))
    np.testing.assert_array_equal(read_rows(path), wanted)


def without(package):
    """A reader whose package is not installed."""

    def missing():
        raise ImportError(package)

    return missing


def test_parquet_without_a_package_says_what_to_install(folder, capsys, monkeypatch):
    """Catches a traceback of an import, or "damaged" of a file that is whole."""
    for name in ("_by_arrow", "_by_polars", "_by_pandas"):
        monkeypatch.setattr(tables, name, without(name))
    Path("t.parquet").write_bytes(b"PAR1")
    for argv in (["score", "r", "t.parquet"], ["train", "--data", "t.parquet", "--out", "m"]):
        assert "pip install pyarrow" in fails(capsys, 1, *argv)


def test_parquet_that_is_none_is_refused(folder, capsys):
    """Catches a foreign package's error as a traceback, and texts taken for rows."""
    pytest.importorskip("pyarrow")
    Path("bad.parquet").write_bytes(b"PAR1 and no more")
    assert "bad.parquet must be a Parquet file" in fails(capsys, 1, "score", "r", "bad.parquet")
    pd.DataFrame({"a": [1, 2], "city": ["x", "y"]}).to_parquet("words.parquet")
    assert "column 'city'" in fails(capsys, 1, "score", "r", "words.parquet")
    pd.DataFrame({"day": pd.to_datetime(["2026-01-01", "2026-01-02"])}).to_parquet("days.parquet")
    assert "column 'day', got datetime64" in fails(capsys, 1, "score", "r", "days.parquet")
    assert "missing.parquet" in fails(capsys, 1, "score", "r", "missing.parquet")


# --- standard input -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["npy", "npz", "csv", "tsv", "parquet"])
def test_standard_input_is_read_in_every_form(form, folder, capsys, monkeypatch):
    """Catches a form that is told by an ending only, and a model of other rows."""
    X = np.load("train.npy")
    frame = pd.DataFrame(X, columns=list("abcdefghi"))
    if form == "parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet("t.parquet")
    elif form == "npz":
        np.savez("t.npz", X=X)
    elif form == "npy":
        np.save("t.npy", X)
    else:
        frame.to_csv(f"t.{form}", sep="\t" if form == "tsv" else ",")
    argv = ["train", "--n-hidden", "4", "--n-epochs", "1", "--data"]
    assert call(capsys, *argv, f"t.{form}", "--out", "wanted")[0] == 0
    given(monkeypatch, Path(f"t.{form}").read_bytes())
    code, out, lines = call(capsys, *argv, "-", "--out", "m", "--json")
    assert (code, lines) == (0, [])
    assert json.loads(out)["data"] == "-"
    assert Path("m").read_bytes() == Path("wanted").read_bytes()


def test_standard_input_is_one_file(folder, capsys, monkeypatch):
    """Catches a second read of it, which finds nothing, and messages about a file of ours."""
    given(monkeypatch, b"1,2\n3,x\n")
    line = fails(capsys, 1, "score", "r", "-")
    assert "standard input must hold numbers" in line
    for argv in (
        ["train", "--model", "classifier", "--data", "-", "--labels", "-", "--out", "m"],
        ["impute", "r", "-", "--missing", "-"],
        ["score", "r", "-", "--labels", "-"],
    ):
        given(monkeypatch, b"1,2\n")
        code, _, lines = call(capsys, *argv)
        assert code in (1, 2), argv
        assert len(lines) == 1
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input is closed" in fails(capsys, 1, "score", "r", "-")
    given(monkeypatch, b"")
    assert "standard input must hold at least one row" in fails(capsys, 1, "score", "r", "-")
    np.save("narrow.npy", np.zeros((3, 2)))
    given(monkeypatch, Path("narrow.npy").read_bytes())
    assert fails(capsys, 1, "transform", "r", "-").startswith("deepgen: standard input: ")


# --- labels ---------------------------------------------------------------------------------------

LABELS = {
    "an index": ",animal\n0,cat\n1,dog\n2,cat\n",
    "an index and tabs": "\tanimal\n0\tcat\n1\tdog\n2\tcat\n",
    "an index and semicolons": ";animal\n0;cat\n1;dog\n2;cat\n",
    "a series": ",0\n0,cat\n1,dog\n2,cat\n",
    "plain": "cat\ndog\ncat\n",
    "a name": "animal\ncat\ndog\ncat\n",
}


@pytest.mark.parametrize("text", LABELS.values(), ids=LABELS)
def test_labels_that_pandas_wrote(text, tmp_path):
    """Catches an index that is taken for a second label of each row."""
    path = tmp_path / "y.csv"
    path.write_text(text)
    assert read_labels(str(path), 3, "rows.npy").tolist() == ["cat", "dog", "cat"]


def test_labels_with_semicolons_are_texts(tmp_path):
    """Catches a label that is cut in two: a semicolon in a text separates nothing."""
    path = tmp_path / "y.csv"
    path.write_text("cat; old\ndog; new\ncat; old\n")
    assert read_labels(str(path), 3, "rows.npy").tolist() == ["cat; old", "dog; new", "cat; old"]


@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["commas", "semicolons", "tabs"])
@pytest.mark.parametrize("index", [False, True])
def test_targets_of_several_columns(separator, index, tmp_path):
    """Catches an index that becomes a target."""
    path = str(tmp_path / "y.csv")
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(5, 2)), columns=["u", "v"])
    frame.to_csv(path, sep=separator, index=index)
    np.testing.assert_array_equal(read_targets(path, 5, "rows.npy"), frame.to_numpy())


def test_labels_in_parquet_and_from_standard_input(tmp_path, monkeypatch):
    """Catches texts in columns of objects, which is how packages hand them over."""
    given(monkeypatch, b"cat\ndog\n")
    assert read_labels("-", 2, "rows.npy").tolist() == ["cat", "dog"]
    pytest.importorskip("pyarrow")
    path = str(tmp_path / "y.parquet")
    pd.DataFrame({"animal": ["cat", "dog"]}).to_parquet(path)
    assert read_labels(path, 2, "rows.npy").tolist() == ["cat", "dog"]
    pd.DataFrame({"u": [0.5, 1.5], "v": [1, 2]}).to_parquet(path)
    np.testing.assert_array_equal(read_targets(path, 2, "rows.npy"), [[0.5, 1], [1.5, 2]])


# --- words ----------------------------------------------------------------------------------------


def test_a_settings_file_with_a_byte_order_mark(folder, capsys):
    """Catches a file that an editor of Windows saved, refused as no TOML."""
    text = '\ufeffdata = "train.npy"\r\nout = "m"\r\nn_hidden = 4\r\nn_epochs = 1\r\n'
    Path("run.toml").write_bytes(text.encode())
    assert call(capsys, "train", "run.toml")[0] == 0
    Path("run.toml").write_bytes(text.encode("utf-16"))
    assert "run.toml is not TOML" in fails(capsys, 2, "train", "run.toml")
    Path("run.toml").write_text(f"seed = {'9' * 5000}\n")
    assert "run.toml is not TOML" in fails(capsys, 2, "train", "run.toml")


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["trian"], "did you mean train?"),
        (["train", "--n-hiden", "4"], "did you mean --n-hidden?"),
        (["train", "--n_hidden", "4"], "did you mean --n-hidden?"),
        (["train", "--learning-rte=0.1"], "did you mean --learning-rate?"),
        (["train", "--model", "mixtur"], "did you mean mixture?"),
        (["train", "--optimizer", "adma"], "did you mean adam?"),
        (["score", "m", "d.npy", "--lables", "y.npy"], "did you mean --labels?"),
        (["sample", "m", "--sweep-s", "4"], "did you mean --sweeps?"),
        (["impute", "m", "d.npy", "--chains", "4"], "did you mean --n-chains?"),
    ],
    ids=str,
)
def test_mistyped_words_are_told_what_they_are_like(argv, hint, capsys):
    """Catches "unrecognized arguments" of one letter among sixty flags."""
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert hint in err


def test_mistyped_values_of_a_settings_file(folder, capsys):
    """Catches a hint that flags have and settings do not."""
    for line, hint in (('model = "dbnn"', "did you mean dbn?"), ("n_hiden = 3", "n_hidden?")):
        Path("run.toml").write_text(f'data = "train.npy"\nout = "m"\n{line}\n')
        assert hint in fails(capsys, 2, "train", "run.toml")


def test_home_folders_in_paths(folder, capsys, monkeypatch):
    """Catches a folder named ~, and a flag or a setting that a shell does not expand."""
    monkeypatch.setenv("HOME", str(folder))
    Path("run.toml").write_text('data = "~/train.npy"\nout = "~/m"\nn_epochs = 1\n')
    assert call(capsys, "train", "~/run.toml", "--n-hidden", "4")[0] == 0
    assert call(capsys, "train", "~/run.toml", "--n-hidden", "4", "--history", "~/h.csv")[0] == 0
    np.savez("two.npz", a=np.load("valid.npy"), b=np.zeros(3))
    assert call(capsys, "transform", "~/m", "~/two.npz:a", "--out", "~/o.npy")[0] == 0
    assert {"m", "h.csv", "o.npy"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "~").exists()


# --- settings that did nothing, or were blamed on the rows ----------------------------------------


@pytest.mark.parametrize(
    ("argv", "flag"),
    [
        (["sample", "x", "--sweeps", "5"], "--sweeps"),
        (["impute", "x", "gaps.csv", "--n-chains", "5"], "--n-chains"),
        (["impute", "x", "gaps.csv", "--sweeps", "5"], "--sweeps"),
        (["score", "x", "valid.npy", "--n-chains", "5"], "--n-chains"),
        (["score", "x", "valid.npy", "--n-betas", "50"], "--n-betas"),
        (["score", "a", "valid.npy", "--n-betas", "50"], "--n-betas"),
    ],
    ids=str,
)
def test_flags_about_chains_are_refused_where_there_are_none(argv, flag, folder, capsys):
    """Catches a number that a user sets, and that does nothing."""
    dg.Autoencoder(2, n_epochs=1, random_state=0).fit(np.load("train.npy")).save("a")
    line = fails(capsys, 2, *argv)
    assert f"{flag} would do nothing" in line
    assert line.endswith("leave it out")
    at = argv.index(flag)
    assert call(capsys, *argv[:at], *argv[at + 2 :])[0] == 0


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        ("--model autoencoder --loss softmax_cross_entropy", "loss must fit"),
        ("--model autoencoder --visible gaussian --loss cross_entropy", "loss must fit"),
        ("--model deep-autoencoder --n-hidden 4 2 --loss softmax_cross_entropy", "loss must fit"),
        ("--model dbn --visible gaussian --transposed --n-hidden 9 9", "transposed needs"),
        ("--hidden softmax:5 --n-hidden 4", "hidden does not fit"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_wrong_usage(argv, word, folder, capsys):
    """Catches rows that are blamed for a setting, and the exit code of a failure."""
    line = fails(capsys, 2, "train", "--data", "train.npy", "--out", "m", *argv.split())
    assert word in line
    assert "train.npy" not in line
    assert not Path("m").exists()


def test_a_resumed_run_names_settings(folder, capsys):
    """Catches names of parameters that no flag has: random_state is --seed."""
    argv = ["train", "--data", "train.npy", "--out", "m", "--checkpoint", "c", "--n-epochs", "2"]
    assert call(capsys, *argv, "--n-hidden", "4")[0] == 0
    line = fails(capsys, 2, *argv, "--n-hidden", "4", "--resume", "--seed", "3")
    assert "seed is 3 here and 0 there" in line
    assert "random_state" not in line
    line = fails(capsys, 2, *argv, "--n-hidden", "4", "--resume", "--model", "dbn")
    assert "model is DBN here and RBM there" in line


def test_a_line_of_millions_of_cells_is_refused_before_it_is_cut(tmp_path, monkeypatch):
    """Would catch a text that takes 34 times its size in memory."""
    monkeypatch.setattr(tables, "LONGEST", 1_000)
    path = tmp_path / "wide.csv"
    path.write_text(",".join(["1"] * 501) + "\n")
    with pytest.raises(CommandError, match=r"lines of at most 1,000 characters.*numpy.save"):
        tables.read_text(str(path))
    path.write_text(",".join(["1"] * 500) + "\n")
    assert tables.read_text(str(path)).shape == (1, 500)
