"""``deepgen sample``, ``score``, ``transform``, ``impute`` and ``predict`` on model files."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from cli_runs import call, fails, working_folder

import deepgen as dg
from deepgen.cli import main
from deepgen.cli.common.building import estimator_for
from deepgen.cli.common.rows import read_rows


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return working_folder(tmp_path, monkeypatch)


# ------------------------------------------------------------------------------- sample and score


@pytest.fixture
def model(folder):
    """A model file of 9 binary and 4 binary units with random weights."""
    rng = np.random.default_rng(0)
    layers = [dg.Binary(9), dg.Binary(4)]
    dg.RBM.from_model(dg.BoltzmannMachine(layers, [rng.normal(size=(9, 4))])).save("m")
    return "m"


def test_samples_in_every_format(model, capsys):
    """Catches formats that disagree, and a seed that is not used."""
    argv = ["sample", model, "--n", "6", "--sweeps", "3", "--n-threads", "1"]
    for name in ("s.npy", "s.npz", "s.csv"):
        code, out, lines = call(capsys, *argv, "--out", name)
        assert (code, lines) == (0, [])
        assert out == f"{name}: 6 x 9, uint8\n"
    wanted = dg.load(model).sample(6, n_sweeps=3, random_state=0)
    for name in ("s.npy", "s.npz", "s.csv"):
        assert np.array_equal(read_rows(name), wanted), name
    code, out, _ = call(capsys, *argv)
    assert code == 0
    assert np.array_equal(np.loadtxt(out.splitlines(), delimiter=","), wanted)
    other = call(capsys, *argv, "--seed", "1")[1]
    assert other != out


def test_real_samples_keep_their_bits_in_csv(folder, capsys):
    """Catches a format of numbers that rounds float32."""
    W = np.random.default_rng(0).normal(size=(3, 2))
    dg.RBM.from_model(dg.BoltzmannMachine([dg.Gaussian(3), dg.Binary(2)], [W])).save("g")
    for name in ("s.npy", "s.csv"):
        assert call(capsys, "sample", "g", "--n", "5", "--sweeps", "2", "--out", name)[0] == 0
    assert np.array_equal(read_rows("s.csv").astype(np.float32), read_rows("s.npy"))


def test_sample_as_json_and_its_failures(model, folder, capsys):
    """Catches JSON mixed with rows, and tracebacks."""
    argv = ["sample", model, "--n", "2", "--sweeps", "1"]
    code, out, _ = call(capsys, *argv, "--out", "s.npy", "--json")
    assert code == 0
    assert json.loads(out) == {
        "file": "s.npy", "shape": [2, 9], "dtype": "uint8", "n_sweeps": 1, "seed": 0,
    }  # fmt: skip
    code, out, _ = call(capsys, *argv, "--json")
    assert (code, json.loads(out)["exit_code"]) == (2, 2)
    assert ".npy or .npz or .csv" in fails(capsys, 2, *argv, "--out", "s.txt")
    assert "no such folder" in fails(capsys, 1, *argv, "--out", "no/s.npy")
    assert "missing" in fails(capsys, 1, "sample", "missing")
    assert "train.npy" in fails(capsys, 1, "sample", "train.npy")


def test_score_is_exact_where_that_is_cheap(model, capsys):
    """Catches a bracket with its ends swapped, and a mean that is not the likelihood."""
    code, out, lines = call(capsys, "score", model, "valid.npy", "--json", "--n-threads", "1")
    assert (code, lines) == (0, [])
    result = json.loads(out)
    wanted = dg.exact_log_likelihood(dg.load(model).model_, np.load("valid.npy")).mean()
    found = result["log_likelihood"]
    assert result["method"] == "exact"
    assert found["lower"] == found["value"] == found["upper"]
    assert np.isclose(found["value"], wanted, rtol=1e-12)
    assert result["n_rows"] == 60
    assert f"{wanted:.4f}" in call(capsys, "score", model, "valid.npy")[1]


def test_score_says_which_end_is_which(folder, capsys):
    """Catches an upper end of log Z that becomes an upper end of the likelihood."""
    rng = np.random.default_rng(0)
    layers = [dg.Binary(30), dg.Binary(30)]
    dg.RBM.from_model(dg.BoltzmannMachine(layers, [rng.normal(0, 0.3, (30, 30))])).save("wide")
    np.save("rows.npy", rng.integers(0, 2, (20, 30)).astype(np.uint8))
    argv = ["score", "wide", "rows.npy", "--n-chains", "20", "--n-betas", "50", "--json"]
    code, out, _ = call(capsys, *argv)
    assert code == 0
    result = json.loads(out)
    ends, log_z = result["log_likelihood"], result["log_partition"]
    assert ends["lower"] < ends["value"] < ends["upper"]
    assert np.isclose(ends["value"] - ends["lower"], log_z["upper"] - log_z["value"])


@pytest.fixture
def network(folder, serial):
    """A file of a fitted DBN, 9-5-4, of binary rows."""
    X = (np.random.default_rng(0).random((60, 9)) < 0.4).astype(np.uint8)
    np.save("binary.npy", X)
    dg.DBN((5, 4), n_epochs=1, random_state=0).fit(X).save("dbn.st")
    return "dbn.st"


def test_a_belief_network_is_described(network, capsys):
    """Catches a KeyError for layers that have two sides, and a top that is left out."""
    code, out, _ = call(capsys, "info", network)
    assert code == 0
    for words in ('BeliefNetwork, saved by "DBN"', "9 binary units -> 5 binary units",
                  "top               5 binary units - 4 binary units"):  # fmt: skip
        assert words in out
    about = json.loads(call(capsys, "info", network, "--json")[1])
    assert [layer["lower"]["size"] for layer in about["layers"]] == [9]
    assert [layer["size"] for layer in about["top"]["layers"]] == [5, 4]


def test_the_score_of_a_belief_network_is_a_bound(network, capsys):
    """Catches an AttributeError, and an upper end where nothing bounds the likelihood above."""
    code, out, _ = call(capsys, "score", network, "binary.npy", "--json")
    assert code == 0
    found = json.loads(out)["log_likelihood"]
    dbn, X = dg.load(network), np.load("binary.npy")
    assert (found["value"], found["lower"]) == (dbn.score_samples(X).mean(), dbn.score(X))
    assert found["upper"] is None
    assert found["is_bound"] is True
    words = call(capsys, "score", network, "binary.npy")[1]
    assert f"over {found['value']:.4f} nats a row" in words
    np.save("grey.npy", np.full((3, 9), 0.5))
    assert "binarize" in fails(capsys, 1, "score", network, "grey.npy")


def test_a_belief_network_draws_rows(network, capsys):
    """Catches a command that knows machines only."""
    argv = ["sample", network, "--n", "3", "--sweeps", "2", "--seed", "1", "--out", "drawn.npy"]
    assert call(capsys, *argv)[0] == 0
    wanted = dg.load(network).sample(3, n_sweeps=2, random_state=1)
    assert (np.load("drawn.npy") == wanted).all()


def test_a_deep_boltzmann_machine_is_described_scored_and_drawn(folder, capsys, serial):
    """Catches a bound that is presented as a bracket, and a command that knows two layers only."""
    X = (np.random.default_rng(0).random((60, 9)) < 0.4).astype(np.uint8)
    np.save("binary.npy", X)
    dbm = dg.DBM((5, 4), label_units=True, n_epochs=1, random_state=0).fit(X, np.arange(60) % 3)
    dbm.save("dbm.st")
    code, out, _ = call(capsys, "info", "dbm.st")
    assert code == 0
    for words in ('BoltzmannMachine, saved by "DBM"', "9 binary", "5 binary", "4 binary",
                  "3 softmax units"):  # fmt: skip
        assert words in out
    loaded = dg.load("dbm.st")
    found = json.loads(call(capsys, "score", "dbm.st", "binary.npy", "--json")[1])
    assert found["log_likelihood"]["value"] == loaded.score_samples(X).mean()
    assert found["log_likelihood"]["is_bound"] is True
    assert found["log_likelihood"]["upper"] is None
    argv = ["sample", "dbm.st", "--n", "3", "--sweeps", "2", "--seed", "1", "--out", "drawn.npy"]
    assert call(capsys, *argv)[0] == 0
    assert (np.load("drawn.npy") == loaded.sample(3, n_sweeps=2, random_state=1)).all()


@pytest.mark.parametrize(
    "flags", [["--n-betas", "1"], ["--n-betas", 10**9], ["--n-chains", 10**12]]
)
def test_flags_of_score_out_of_range_are_code_2(flags, model, capsys):
    """Catches data that are blamed for a flag."""
    line = fails(capsys, 2, "score", model, "valid.npy", *flags)
    assert flags[0].lstrip("-").replace("-", "_") in line
    assert "valid.npy" not in line


@pytest.mark.parametrize("flags", [["--n", 10**12], ["--sweeps", 10**12], ["--n-threads", 10**12]])
def test_flags_of_sample_out_of_range_are_code_2(flags, model, capsys):
    """Catches the library's ValueError as a traceback."""
    line = fails(capsys, 2, "sample", model, "--n", "1", "--sweeps", "1", *flags)
    assert line.startswith(f"deepgen: {flags[0].lstrip('-').replace('-', '_')} must")


def test_sample_does_not_overwrite_its_model(model, folder, capsys):
    """Catches a model that is replaced by what was drawn from it."""
    os.rename(model, "m.npy")
    before = (folder / "m.npy").read_bytes()
    assert "is MODEL too" in fails(capsys, 2, "sample", "m.npy", "--n", "1", "--out", "./m.npy")
    assert (folder / "m.npy").read_bytes() == before


@pytest.mark.parametrize("argv", [["sample", ""], ["score", "", "valid.npy"], ["info", ""],
                                  ["score", "m", ""], ["train", ""]])  # fmt: skip
def test_an_empty_name_is_wrong_usage(argv, model, capsys):
    """Catches a TypeError for the empty variable of a script, and a setting that is left out."""
    try:
        code = main(argv)
    except SystemExit as end:  # argparse refuses it
        code = end.code
    assert code == 2
    assert capsys.readouterr().out == ""


def test_score_of_rows_that_have_none_is_code_1(model, folder, capsys):
    """Catches a number for grey values, which have no likelihood, and a path that is not named."""
    np.save("grey.npy", np.full((3, 9), 0.5))
    np.save("narrow.npy", np.zeros((3, 8), np.uint8))
    assert "binarize" in fails(capsys, 1, "score", model, "grey.npy")
    assert "narrow.npy" in fails(capsys, 1, "score", model, "narrow.npy")
    assert "missing.npy" in fails(capsys, 1, "score", model, "missing.npy")


# --------------------------------------------------------------------------------------- processes


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_traceback(model):
    """Catches `deepgen sample ... | head` ending in a BrokenPipeError."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "deepgen", "sample", model, "--n", "5", "--sweeps", "1"],
        stdout=write, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""


# ---------------------------------------------------------------------- transform, impute, predict


def test_features_are_those_of_the_library(model, folder, capsys):
    """Catches rows that are read otherwise than by `score`, and a shape that is only said."""
    X = np.load("valid.npy")
    np.save("packed.npy", np.packbits(X, axis=1))
    wanted = dg.load(model).transform(X)
    for name in ("f.npy", "f.npz", "f.csv"):
        code, out, lines = call(capsys, "transform", model, "valid.npy", "--out", name)
        assert (code, lines) == (0, [])
        assert out == f"{name}: 60 x 4, float32\n"
        assert np.array_equal(read_rows(name).astype(np.float32), wanted)
    out = call(capsys, "transform", model, "packed.npy", "--packed-columns", "9")[1]
    assert np.array_equal(np.loadtxt(out.splitlines(), delimiter=",", dtype=np.float32), wanted)


def test_a_dbm_learns_and_is_scored_by_tap(folder, capsys, serial):
    """Catches an estimate that is printed as a bound or under its name, and a word that is not
    heard in learning."""
    X = (np.random.default_rng(0).random((60, 9)) < 0.4).astype(np.uint8)
    np.save("binary.npy", X)
    np.save("y.npy", X[:, 0])
    argv = ["train", "--model", "dbm", "--data", "binary.npy", "--out", "dbm.st", "--n-hidden", "5",
            "4", "--n-epochs", "1", "--inference", "tap"]  # fmt: skip
    assert call(capsys, *argv)[0] == 0
    argv = ["score", "dbm.st", "binary.npy", "--inference", "tap"]
    found = json.loads(call(capsys, *argv, "--json")[1])
    dbm = dg.load("dbm.st")
    assert found["tap_estimate"]["value"] == dbm.score_samples(X, inference="tap").mean()
    assert found["tap_estimate"]["is_bound"] is False
    assert "log_likelihood" not in found
    out = call(capsys, *argv)[1]
    assert "TAP estimate" in out
    assert "no bound" in out
    asked = estimator_for({"model": "dbm", "inference": "tap", "k": 2})
    assert asked.rule == dg.TAPPCD(2)
    dg.RBM(4, n_epochs=1, random_state=0).fit(X).save("r.st")
    line = fails(capsys, 2, "score", "r.st", "binary.npy", "--inference", "tap")
    assert "inference is for the likelihood of a dbm without label units" in line
    line = fails(capsys, 2, "train", "--model", "dbm", "--data", "binary.npy", "--labels", "y.npy",
                 "--inference", "tap", "--out", "x.st")  # fmt: skip
    assert "inference must be mean_field for a dbm that learns labels, got tap" in line


def test_fields_where_there_are_some(model, folder, capsys):
    """Catches a quantity that is not used, and one that a model without hidden units ignores."""
    X = np.load("valid.npy")
    for quantity in ("mean", "field"):
        argv = ["transform", model, "valid.npy", "--quantity", quantity, "--out", "f.npy"]
        assert call(capsys, *argv)[0] == 0
        assert np.array_equal(np.load("f.npy"), dg.load(model).transform(X, quantity=quantity))
    dg.MixtureOfBernoullis(3, max_iter=2, random_state=0).fit(X).save("x")
    dg.Autoencoder(2, n_epochs=1, random_state=0).fit(X).save("a")
    for name, words in (("x", "a MixtureOfBernoullis"), ("a", "an Autoencoder")):
        line = fails(capsys, 1, "transform", name, "valid.npy", "--quantity", "mean")
        assert f"{name} holds {words}" in line
        assert "--quantity is for rbm, dbn, dbm and replicated-softmax" in line


def test_completions_are_those_of_the_library(model, folder, capsys):
    """Catches a seed, a method, chains or a mask that are not used, NaN and a mask that exclude
    each other, and an empty entry of a .csv file that is refused: so gaps mostly come."""
    X = np.load("valid.npy").astype(np.float64)
    mask = np.random.default_rng(0).random(X.shape) < 0.3
    gaps = np.where(mask, np.nan, X)
    np.save("gaps.npy", gaps)
    np.save("mask.npy", mask)
    np.save("first.npy", np.where(np.arange(9) < 5, gaps, X))
    rows = [",".join("" if np.isnan(v) else f"{v:g}" for v in row) for row in gaps]
    (folder / "gaps.csv").write_text("\n".join(["a,b,c,d,e,f,g,h,i", *rows]) + "\n")
    options = {"n_chains": 3, "n_sweeps": 4, "random_state": 2, "return_std": True}
    argv = ["--n-chains", "3", "--sweeps", "4", "--seed", "2", "--std", "s.npy", "--out", "o.npy"]
    for method in ("mean", "draw"):
        wanted, deviation = dg.load(model).impute(gaps, method=method, **options)
        for source in (["gaps.npy"], ["gaps.csv"], ["first.npy", "--missing", "mask.npy"]):
            code, out, lines = call(capsys, "impute", model, *source, "--method", method, *argv)
            assert (code, lines) == (0, [])
            assert f"{mask.sum()} entries" in out
            assert np.array_equal(np.load("o.npy"), wanted)
            assert np.array_equal(np.load("s.npy"), deviation)
    np.save("packed.npy", np.packbits(X.astype(np.uint8), axis=1))
    packed = ["packed.npy", "--packed-columns", "9", "--missing", "mask.npy", "--method", "draw"]
    assert call(capsys, "impute", model, *packed, *argv)[0] == 0
    assert np.array_equal(np.load("o.npy")[~mask], X[~mask])


def test_float64_keeps_its_bits_in_csv(model, folder, capsys):
    """Catches observed entries that a format of nine digits changes."""
    X = np.random.default_rng(0).random((4, 9))
    X[:, 0] = np.nan
    np.save("gaps.npy", X)
    assert call(capsys, "impute", model, "gaps.npy", "--sweeps", "1", "--out", "o.csv")[0] == 0
    assert np.array_equal(read_rows("o.csv")[:, 1:], X[:, 1:])


def test_completions_that_cannot_be(model, folder, capsys):
    """Catches tracebacks, a mask of another shape that is broadcast, and a file overwritten."""
    X = np.load("valid.npy").astype(np.float32)
    np.save("narrow.npy", X[:, :8])
    np.save("half.npy", np.full(X.shape, 0.5))
    np.save("one.npy", X[:1])
    X[0, 0] = np.inf
    np.save("inf.npy", X)
    impute = ["impute", model, "valid.npy", "--sweeps", "1"]
    assert "narrow.npy has shape (60, 8)" in fails(capsys, 1, *impute, "--missing", "narrow.npy")
    assert "one.npy" in fails(capsys, 1, *impute, "--missing", "one.npy")
    assert "0 and 1 only" in fails(capsys, 1, *impute, "--missing", "half.npy")
    assert "inf.npy" in fails(capsys, 1, "impute", model, "inf.npy")
    assert "narrow.npy" in fails(capsys, 1, "impute", model, "narrow.npy")
    for flag in (["--out", "valid.npy"], ["--out", "o.npy", "--std", "./o.npy"]):
        assert "too" in fails(capsys, 2, *impute, *flag)
    assert ".npy" in fails(capsys, 2, *impute, "--out", "o.npy", "--std", "s.txt")
    for flag in (["--n-chains", 10**12], ["--sweeps", 10**12]):
        line = fails(capsys, 2, *impute, *flag)
        assert "valid.npy" not in line
    code, _, lines = call(capsys, *impute, "--out", "o.npy")
    assert code == 0
    assert lines == ["deepgen: warning: nothing is missing; rows stay as they are"]


def test_predictions_are_those_of_the_library(folder, capsys):
    """Catches classes that come as numbers, probabilities in another order, and labels of the data
    that would matter: prediction reads none. What is written can be read as labels."""
    X, rows = np.load("train.npy"), np.load("valid.npy")
    y = np.array(["ant", "b, c"])[X[:, 0]]
    classifier = dg.DeepClassifier(4, n_epochs=5, random_state=0).fit(X, y)
    classifier.save("c")
    for name in ("p.npy", "p.npz", "p.csv"):
        code, out, _ = call(capsys, "predict", "c", "valid.npy", "--out", name)
        assert (code, out) == (0, f"{name}: 60, <U4\n")
        assert call(capsys, "score", "c", "valid.npy", "--labels", name)[1].count("1.0000") == 1
    assert call(capsys, "predict", "c", "valid.npy")[1] == (folder / "p.csv").read_text()
    assert call(capsys, "predict", "c", "valid.npy", "--proba", "--out", "p.npy")[0] == 0
    assert np.array_equal(np.load("p.npy"), classifier.predict_proba(rows))
    regressor = dg.DeepRegressor(4, n_epochs=1, random_state=0).fit(X, X[:, :2] + 0.5)
    regressor.save("r")
    code, out, _ = call(capsys, "predict", "r", "valid.npy", "--out", "p.csv", "--json")
    assert json.loads(out)["shape"] == [60, 2]
    assert np.array_equal(read_rows("p.csv"), regressor.predict(rows))
    assert "leave --proba out" in fails(capsys, 1, "predict", "r", "valid.npy", "--proba")
    mixture = dg.MixtureOfBernoullis(3, max_iter=2, random_state=0).fit(X)
    mixture.save("x")
    assert call(capsys, "predict", "x", "valid.npy", "--proba", "--out", "p.npy")[0] == 0
    assert np.array_equal(np.load("p.npy"), mixture.predict_proba(rows))


@pytest.mark.parametrize("command", ["transform", "impute", "predict"])
def test_rows_that_do_not_fit_are_code_1(command, model, folder, capsys):
    """Catches a path that is not named, and flags beyond the library's range as a traceback."""
    X = np.load("train.npy")
    dg.DBM(3, label_units=True, n_epochs=1, random_state=0).fit(X, X[:, 0]).save("m")
    np.save("narrow.npy", X[:, :8])
    np.save("large.npy", np.full((3, 9), 7.0))
    for name in ("narrow.npy", "large.npy", "missing.npy"):
        assert name in fails(capsys, 1, command, "m", name)
    assert "no such folder" in fails(capsys, 1, command, "m", "valid.npy", "--out", "no/o.npy")
    assert "is MODEL too" in fails(capsys, 2, command, "m", "valid.npy", "--out", "m")
    assert "must end in" in fails(capsys, 2, command, "m", "valid.npy", "--out", "o.txt")
    assert "n_threads" in fails(capsys, 2, command, "m", "valid.npy", "--n-threads", 10**12)
    code, out, _ = call(capsys, command, "m", "valid.npy", "--json")
    assert (code, json.loads(out)["exit_code"]) == (2, 2)
