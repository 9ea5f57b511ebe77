"""``deepgen train``, ``sample`` and ``score``: exit codes, messages, JSON and files."""

import csv
import json
import os
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from scipy import sparse

import deepgen as dg
from deepgen.cli import main, train
from deepgen.cli.building import estimator_for
from deepgen.cli.rows import read_rows
from deepgen.cli.settings import FILES, HYPER_PARAMETERS

SMALL = ["--n-hidden", "4", "--n-epochs", "2", "--n-threads", "1"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with 300 rows of bars and stripes to train on and 60 to hold out."""
    monkeypatch.chdir(tmp_path)
    X = dg.datasets.sample_bars_and_stripes(360, 3, random_state=0)
    np.save("train.npy", X[:300])
    np.save("valid.npy", X[300:])
    return tmp_path


def call(capsys, *argv):
    """Run a command; return its code, its output, and its messages as lines."""
    code = main([str(word) for word in argv])
    out, err = capsys.readouterr()
    return code, out, err.splitlines()


def fails(capsys, code, *argv):
    """Run a command that must fail with one line; return the line."""
    found, out, lines = call(capsys, *argv)
    assert found == code, lines
    assert out == ""
    assert len(lines) == 1
    assert lines[0].startswith("deepgen: ")
    return lines[0]


def model_bytes(argv, capsys):
    code, _, lines = call(capsys, "train", *argv, "--out", "m.safetensors")
    assert code == 0, lines
    with open("m.safetensors", "rb") as file:
        return file.read()


# ------------------------------------------------------------------------------------------ train


def test_train_is_the_estimator(folder, capsys):
    """Catches a flag that is read and not used, and a default of the command line that differs
    from the library's."""
    argv = [
        "--data", "train.npy", *SMALL, "--rule", "cd", "--k", "2", "--no-centring",
        "--learning-rate", "0.3", "--learning-rate-end", "0.1", "--momentum", "0.5",
        "--weight-decay", "0.01", "--averaging", "0.5", "--batch-size", "50", "--seed", "3",
        "--sparsity", "0.2", "--sparsity-strength", "0.3",
    ]  # fmt: skip
    rbm = dg.RBM(
        4, n_epochs=2, rule=dg.CD(2, centring=False, sparsity=dg.Sparsity(0.2, 0.3)),
        learning_rate=dg.Linear(0.3, 0.1), optimizer=dg.SGD(0.5, 0.01, 0.5), batch_size=50,
        random_state=3,
    ).fit(np.load("train.npy"))  # fmt: skip
    rbm.save("wanted.safetensors")
    assert model_bytes(argv, capsys) == (folder / "wanted.safetensors").read_bytes()
    plain = model_bytes(["--data", "train.npy", *SMALL], capsys)
    dg.RBM(4, n_epochs=2, random_state=0).fit(np.load("train.npy")).save("plain.safetensors")
    assert plain == (folder / "plain.safetensors").read_bytes()


def test_every_hyper_parameter_reaches_the_estimator():
    """Catches a setting that is listed, accepted and dropped."""
    other = {
        "n_hidden": 7, "visible": "softmax:3", "hidden": "gaussian", "rule": "cd", "k": 3,
        "n_particles": 9, "centring": False, "sparsity": 0.2, "sparsity_strength": 0.3,
        "learning_rate": 0.3, "learning_rate_end": 0.2, "optimizer": "adam", "momentum": 0.5,
        "weight_decay": 0.1, "averaging": 0.3, "batch_size": 9, "n_epochs": 3, "binarize": True,
        "seed": 5, "n_threads": 2,
    }  # fmt: skip
    assert set(other) == {setting.name for setting in HYPER_PARAMETERS}
    needs = {"sparsity_strength": {"sparsity": 0.1}, "learning_rate_end": {"learning_rate": 0.1}}
    for name, value in other.items():
        with_it = estimator_for({**needs.get(name, {}), name: value}).get_params()
        without = estimator_for(needs.get(name, {})).get_params()
        assert {n: repr(v) for n, v in with_it.items()} != {n: repr(v) for n, v in without.items()}


def test_a_flag_wins_over_the_configuration_file(folder, capsys):
    """Catches a file that overrules what was typed, and keys that are read and not used."""
    (folder / "run.toml").write_text(
        'data = "train.npy"\nn_hidden = 9\nn_epochs = 2\nlearning_rate = 1\nseed = 4\n'
    )
    both = model_bytes(["run.toml", "--n-hidden", "4"], capsys)
    flags = ["--data", "train.npy", *SMALL, "--learning-rate", "1.0", "--seed", "4"]
    assert both == model_bytes(flags, capsys)


def test_train_as_json(folder, capsys):
    """Catches prose in the JSON, numpy numbers, and a progress bar where there is no terminal."""
    argv = ["--data", "train.npy", "--out", "m.safetensors", "--valid", "valid.npy", *SMALL]
    code, out, lines = call(capsys, "train", *argv, "--json")
    assert (code, lines) == (0, [])
    result = json.loads(out)
    assert set(result) == {
        "model", "history", "data", "n_rows", "n_columns", "settings", "n_updates", "seconds",
        "last_epoch",
    }  # fmt: skip
    assert (result["n_rows"], result["n_columns"], result["n_updates"]) == (300, 9, 6)
    assert result["settings"]["n_hidden"] == 4
    assert result["last_epoch"]["epoch"] == 2
    assert {"log_likelihood", "free_energy_gap"} <= set(result["last_epoch"])


def test_train_in_words_and_with_a_bar(folder, capsys):
    """Catches a result on standard error, and a bar on standard output."""
    argv = ["--data", "train.npy", "--out", "m.safetensors", "--valid", "valid.npy", *SMALL]
    code, out, lines = call(capsys, "train", *argv, "--progress")
    assert code == 0
    assert out.startswith("m.safetensors\n")
    assert "train.npy, 300 x 9" in out
    assert "held-out row" in out
    assert any("6/6" in line for line in lines)


def test_history_in_both_formats(folder, capsys):
    """Catches histories that disagree, or miss what the held-out rows add."""
    argv = ["train", "--data", "train.npy", "--out", "m", "--valid", "valid.npy", *SMALL]
    assert call(capsys, *argv, "--history", "h.csv")[0] == 0
    assert call(capsys, *argv, "--history", "h.json")[0] == 0
    with open("h.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    entries = json.loads((folder / "h.json").read_text())
    assert len(lines) == len(entries) == 2
    for line, entry in zip(lines, entries, strict=True):
        assert set(line) == set(entry)
        for name in set(entry) - {"seconds"}:
            assert float(line[name]) == entry[name]


def test_the_gap_is_that_of_mean_free_energies(folder, capsys):
    """Catches a gap with the other sign, or of rows that are not those."""
    argv = ["train", "--data", "train.npy", "--out", "m", "--valid", "valid.npy", *SMALL]
    code, out, _ = call(capsys, *argv, "--json")
    assert code == 0
    model = dg.load("m").model_
    train_rows, valid = np.load("train.npy"), np.load("valid.npy")
    gap = dg.free_energy(model, valid).mean() - dg.free_energy(model, train_rows).mean()
    assert np.isclose(json.loads(out)["last_epoch"]["free_energy_gap"], gap, rtol=1e-6)


def test_grey_rows_get_a_gap_and_no_likelihood(folder, capsys):
    """Catches free energies of grey values that are called log-likelihoods."""
    np.save("grey.npy", np.random.default_rng(0).random((50, 9)))
    argv = ["--data", "grey.npy", "--valid", "grey.npy", "--out", "m", *SMALL, "--json"]
    code, out, _ = call(capsys, "train", *argv)
    assert code == 0
    last = json.loads(out)["last_epoch"]
    assert "log_likelihood" not in last
    assert last["free_energy_gap"] == 0.0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "--data FILE"),
        (["--data", "train.npy"], "--out FILE"),
        (["train.npy", "--out", "m"], "--data"),
        (["--data", "train.npy", "--out", "m", "--n-hidden", "0"], "n_hidden"),
        (["--data", "train.npy", "--out", "m", "--k", "0"], "k must"),
        (["--data", "train.npy", "--out", "m", "--learning-rate", "-1"], "learning_rate"),
        (["--data", "train.npy", "--out", "m", "--learning-rate-end", "0"], "learning_rate,"),
        (["--data", "train.npy", "--out", "m", "--visible", "softmax"], "softmax:5"),
        (["--data", "train.npy", "--out", "m", "--visible", "poisson"], "softmax:K"),
        (["--data", "train.npy", "--out", "m", "--rule", "cd", "--n-particles", "5"], "pcd"),
        (["--data", "train.npy", "--out", "m", "--optimizer", "adam", "--momentum", "0"], "sgd"),
        (["--data", "train.npy", "--out", "m", "--sparsity-strength", "1"], "sparsity"),
        (["--data", "train.npy", "--out", "m", "--history", "h.txt"], ".csv or .json"),
        (["--data", "train.txt", "--out", "m"], ".npy"),
        (["--data", "train.npy", "--out", "m", "--resume"], "resume needs checkpoint"),
        (["--data", "train.npy", "--out", "m", "--checkpoint-minutes", "1"], "needs checkpoint"),
        (["--data", "train.npy", "--out", "m", "--checkpoint", "c", "--checkpoint-minutes", "-1"],
         "checkpoint_minutes must"),
        (["--data", "train.npy", "--out", "m", "--visible", "gaussian", "--hidden", "gaussian"],
         "Gaussian"),
    ],
)  # fmt: skip
def test_wrong_settings_are_code_2(argv, words, folder, capsys):
    """Catches a traceback, and a run that starts with settings nobody asked for."""
    assert words in fails(capsys, 2, "train", *argv)
    assert not (folder / "m").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n_hiden = 3", "did you mean n_hidden?"),
        ("n_hidden = 'x'", "n_hidden must be an integer"),
        ("n_hidden = true", "n_hidden must be an integer"),
        ("binarize = 1", "binarize must be true or false"),
        ("rule = 'magic'", "pcd, cd"),
        ("learning_rate = '1'", "learning_rate must be a number"),
        ("[rbm]\nn_hidden = 3", "unknown key 'rbm'"),
        ("n_hidden =", "not TOML"),
    ],
)
def test_wrong_configuration_files_are_code_2(text, words, folder, capsys):
    """Catches a misspelled key that is ignored, and a type that is turned into another."""
    (folder / "run.toml").write_text(text)
    line = fails(capsys, 2, "train", "run.toml", "--data", "train.npy", "--out", "m")
    assert words in line
    assert "run.toml" in line
    if "unknown" in line:
        assert all(setting.name in line for setting in (*FILES, *HYPER_PARAMETERS))


def test_data_that_cannot_be_used_are_code_1(folder, capsys):
    """Catches tracebacks for data, and a message that does not name the file."""
    rng = np.random.default_rng(0)
    np.save("cube.npy", np.zeros((2, 3, 3)))
    np.save("large.npy", rng.normal(0, 9, (20, 9)))
    np.save("objects.npy", np.array([{}, {}]), allow_pickle=True)
    np.savez("two.npz", a=np.zeros((3, 9)), b=np.zeros((3, 9)))
    (folder / "text.npy").write_text("no array")
    (folder / "words.csv").write_text("a,b\n1,x\n")
    (folder / "empty.csv").write_text("")
    (folder / "text.npz").write_text("no archive")
    for name in (
        "cube.npy", "large.npy", "objects.npy", "two.npz", "two.npz:c", "text.npy", "words.csv",
        "empty.csv", "text.npz", "missing.npy",
    ):  # fmt: skip
        line = fails(capsys, 1, "train", "--data", name, "--out", "m", *SMALL)
        assert name.partition(":")[0] in line
        assert not (folder / "m").exists()


def test_files_that_cannot_be_written_fail_first(folder, capsys, monkeypatch):
    """Catches a missing folder that is noticed after an hour of training."""
    monkeypatch.setattr(dg.RBM, "fit", lambda *_, **__: pytest.fail("it trained"))
    common = ["train", "--data", "train.npy"]
    assert "no such folder" in fails(capsys, 1, *common, "--out", "no/m")
    assert "folder" in fails(capsys, 1, *common, "--out", folder)
    assert "no such" in fails(capsys, 1, *common, "--out", "m", "--history", "no/h.csv")
    np.save("narrow.npy", np.zeros((5, 8), np.uint8))
    line = fails(capsys, 1, *common, "--out", "m", "--valid", "narrow.npy")
    assert "8 columns" in line


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["--data", "train.npy", "--out", "train.npy"], "out must be"),
        (["--data", "train.npy", "--out", "./train.npy"], "which is data too"),
        (["--data", "train.npy", "--out", "link.npy"], "which is data too"),
        (["--data", "train.npy", "--out", "hard.npy"], "which is data too"),
        (["--data", "two.npz:a", "--out", "two.npz"], "which is data too"),
        (["--data", "train.npy", "--valid", "valid.npy", "--out", "valid.npy"], "is valid too"),
        (["--data", "train.npy", "--valid", "two.npz:b", "--out", "two.npz"], "is valid too"),
        (["--data", "train.csv", "--out", "m", "--history", "train.csv"], "history must be"),
        (["--data", "train.npy", "--out", "m", "--checkpoint", "train.npy"], "checkpoint must be"),
        (["--data", "train.npy", "--out", "h.csv", "--history", "./h.csv"], "is out too"),
        (["--data", "train.npy", "--out", "m", "--checkpoint", "m"], "is out too"),
        (["--data", "train.npy", "--out", "m", "--history", "h.csv", "--checkpoint", "h.csv"],
         "is history too"),
        (["run.toml", "--data", "train.npy", "--out", "run.toml"], "is CONFIG too"),
    ],
)  # fmt: skip
def test_no_file_is_overwritten_by_another_of_the_command(
    files, words, folder, capsys, monkeypatch
):
    """Catches data, a configuration or a checkpoint lost to a model with the same path."""
    monkeypatch.setattr(dg.RBM, "fit", lambda *_, **__: pytest.fail("it trained"))
    np.savez("two.npz", a=np.load("train.npy"), b=np.load("valid.npy"))
    np.savetxt("train.csv", np.load("train.npy"), fmt="%d", delimiter=",")
    (folder / "link.npy").symlink_to("train.npy")
    os.link("train.npy", "hard.npy")
    (folder / "run.toml").write_text("n_hidden = 4")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert words in fails(capsys, 2, "train", *files)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_rows_may_be_read_twice(folder, capsys):
    """Catches a check of paths that refuses two arrays of one file."""
    np.savez("two.npz", a=np.load("train.npy"), b=np.load("valid.npy"))
    argv = ["train", "--data", "two.npz:a", "--valid", "two.npz:b", "--out", "m", *SMALL]
    assert call(capsys, *argv)[0] == 0


HELD_OUT_JUNK = {
    "complex.npy": np.zeros((3, 9), np.complex64),
    "words.npy": np.full((3, 9), "a"),
    "dates.npy": np.zeros((3, 9), "datetime64[s]"),
    "fields.npy": np.zeros((3, 9), [("a", "f4")]),
    "empty.npy": np.zeros((0, 9)),
    "inf.npy": np.full((3, 9), np.inf),
    "narrow.npy": np.zeros((3, 8)),
}


@pytest.mark.parametrize("name", HELD_OUT_JUNK)
@pytest.mark.parametrize("role", ["data", "valid"])
def test_rows_that_are_none_give_one_json_object(role, name, folder, capsys):
    """Catches a traceback for rows that the library refuses, and another file that is blamed."""
    np.save(name, HELD_OUT_JUNK[name])
    files = {"data": "train.npy", "valid": "valid.npy", role: name}
    argv = ["--data", files["data"], "--valid", files["valid"], "--out", "m", *SMALL]
    code, out, lines = call(capsys, "train", *argv, "--json")
    assert code == 1
    answer = json.loads(out)
    assert answer["exit_code"] == 1
    assert lines == [f"deepgen: {answer['error']}"]
    assert name in answer["error"]
    assert not (folder / "m").exists()


def test_columns_that_units_cannot_take_are_no_traceback(folder, capsys):
    """Catches an error of the units that is raised beside those of the rows."""
    argv = ["--data", "train.npy", "--valid", "valid.npy", "--out", "m", "--visible", "softmax:5"]
    assert "5" in fails(capsys, 1, "train", *argv)


def test_files_that_are_none_get_our_words(folder, capsys):
    """Catches NumPy's advice to load a file unsafely, and tracebacks of its readers."""
    whole = (folder / "train.npy").read_bytes()
    np.savez("good.npz", np.load("train.npy"))
    archive = (folder / "good.npz").read_bytes()
    with zipfile.ZipFile("member.npz", "w") as file:
        file.writestr("a.txt", "no array")
    sparse.save_npz("s.npz", sparse.coo_array(np.eye(9)))
    np.savez("format.npz", format=np.array(b"xyz"), shape=np.array([3, 9]), data=np.zeros(3))
    np.save("objects.npy", np.array([[{}]]), allow_pickle=True)
    junk = {
        "text.npy": b"1,2\n3,4\n", "archive.npy": archive, "short.npy": whole[:150],
        "header.npy": whole[:20] + b"((((" + whole[24:], "array.npz": whole, "text.npz": b"1,2\n",
        "bits.npz": archive[:200] + bytes(50) + archive[250:], "binary.csv": b"\xff\xfe" + whole,
        "words.csv": b"a,b\n1,x\n", "ragged.csv": b"1,2\n1,2,3\n", "null.csv": b"1,\0\n",
        "long.csv": b"1" * 200_000, "empty.csv": b"", "head.csv": b"a,b\n",
    }  # fmt: skip
    for name, blob in junk.items():
        (folder / name).write_bytes(blob)
    for name in (*junk, "member.npz", "format.npz", "objects.npy"):
        line = fails(capsys, 1, "train", "--data", name, "--out", "m", *SMALL)
        assert name in line
        assert " must " in line, line
        assert not any(word in line for word in ("pickle", "usecols", "allow_")), line


def test_failures_as_json(folder, capsys):
    """Catches a script that finds no JSON where it asked for it."""
    for code, argv in ((1, ["missing.npy", "--out", "m"]), (2, ["train.npy"])):
        found, out, lines = call(capsys, "train", "--json", "--data", *argv)
        assert found == code
        answer = json.loads(out)
        assert answer["exit_code"] == code
        assert lines == [f"deepgen: {answer['error']}"]


def test_a_run_that_diverges_keeps_the_last_good_model(folder, capsys):
    """Catches the traceback of a DivergedError, and the model that it speaks of left unsaved."""
    X = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    np.save("real.npy", X)
    argv = ["--visible", "gaussian", "--learning-rate", "50", "--n-epochs", "50"]
    line = fails(capsys, 1, "train", "--data", "real.npy", "--out", "m", *argv)
    assert "diverged" in line
    assert "is in m" in line
    assert np.isfinite(dg.load("m").model_.weights[0]).all()


def test_ctrl_c_keeps_the_model_so_far(folder, capsys, monkeypatch):
    """Catches a run of hours that is lost to Ctrl-C. The signal comes after the first epoch."""
    monkeypatch.setattr(
        train, "monitors_for", lambda *_: [lambda report: os.kill(os.getpid(), signal.SIGINT)]
    )
    argv = ["--data", "train.npy", "--out", "m", "--history", "h.json", "--n-epochs", "1000"]
    line = fails(capsys, 130, "train", *argv)
    assert "interrupted" in line
    assert "is in m" in line
    assert dg.load("m").n_features_in_ == 9
    entries = json.loads((folder / "h.json").read_text())
    assert 1 <= len(entries) < 1000


def test_a_stopped_run_goes_on_with_the_same_bits(folder, capsys, monkeypatch):
    """Catches --resume that begins anew, or forgets the particles: its file would differ. A run
    that is always started with --resume must begin where there is no checkpoint yet."""
    argv = ["train", "--data", "train.npy", "--out", "m", "--n-hidden", "4", "--n-epochs", "6"]
    assert call(capsys, *argv)[0] == 0
    whole = (folder / "m").read_bytes()
    argv += ["--checkpoint", "c", "--resume"]
    stop = [lambda report: report.epoch == 2 and os.kill(os.getpid(), signal.SIGINT)]
    with monkeypatch.context() as patch:
        patch.setattr(train, "monitors_for", lambda *_: stop)
        code, out, lines = call(capsys, *argv)
    assert (code, out) == (130, "")
    assert "starting anew" in lines[0]
    assert "--resume" in lines[1]
    assert (folder / "m").read_bytes() != whole
    code, out, lines = call(capsys, *argv, "--json")
    assert (code, lines) == (0, [])
    assert (folder / "m").read_bytes() == whole
    assert json.loads(out)["last_epoch"]["epoch"] == 6


def test_a_checkpoint_of_another_run_is_wrong_usage(folder, capsys):
    """Catches a traceback, a run that goes on with another run's particles, and data that are
    blamed for settings."""
    argv = ["train", "--data", "train.npy", "--out", "m", "--checkpoint", "c", "--n-epochs", "2"]
    assert call(capsys, *argv, "--n-hidden", "4")[0] == 0
    line = fails(capsys, 2, *argv, "--n-hidden", "5", "--resume")
    assert "n_hidden is 5 here and 4 there" in line
    assert line.endswith("or begin a new run")
    assert "train.npy" not in line
    (folder / "c").write_text("no checkpoint")
    assert "c" in fails(capsys, 1, *argv, "--n-hidden", "4", "--resume")


def test_ctrl_c_before_training_writes_nothing(folder, capsys, monkeypatch):
    """Catches an AttributeError where there is no model yet."""

    def interrupted(self, X, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(dg.RBM, "fit", interrupted)
    assert "nothing" in fails(capsys, 130, "train", "--data", "train.npy", "--out", "m")
    assert not (folder / "m").exists()


# ------------------------------------------------------------------------------------------ files


def test_rows_of_every_format(folder):
    """Catches a format that loses values, and a .npy that is read as a whole."""
    X = np.load("train.npy")
    np.savez("one.npz", X=X)
    np.savez_compressed("two.npz", a=X, b=X[:3])
    sparse.save_npz("sparse.npz", sparse.csr_array(X))
    np.savetxt("plain.csv", X, fmt="%d", delimiter=",")
    header = ",".join("abcdefghi")
    np.savetxt("header.csv", X, fmt="%.1f", delimiter=",", comments="", header=header)
    assert isinstance(read_rows("train.npy"), np.memmap)
    for name in ("train.npy", "one.npz", "two.npz:a", "plain.csv", "header.csv"):
        assert np.array_equal(read_rows(name), X), name
    assert np.array_equal(read_rows("two.npz:b"), X[:3])
    assert np.array_equal(read_rows("sparse.npz").toarray(), X)


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
    fails(capsys, 2, "sample", model, "--n", "1", "--sweeps", "1", *flags)


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
