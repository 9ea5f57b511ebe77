"""``deepgen train`` of an RBM: exit codes, messages, JSON and files."""

import csv
import json
import os
import signal
import zipfile

import numpy as np
import pytest
from cli_runs import call, fails, working_folder
from scipy import sparse

import deepgen as dg
from deepgen.cli import main, train
from deepgen.cli.common.rows import read_rows
from deepgen.cli.common.settings import FILES, HYPER_PARAMETERS

SMALL = ["--n-hidden", "4", "--n-epochs", "2", "--n-threads", "1"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return working_folder(tmp_path, monkeypatch)


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
        (["--data", "train.npy", "--out", "m", "--visible", "softmax:1"], "K of visible must"),
        (["--data", "train.npy", "--out", "m", "--sparsity-strength", "1"], "sparsity"),
        (["--data", "train.npy", "--out", "m", "--sparsity", "2"], ": sparsity must"),
        (["--data", "train.npy", "--out", "m", "--sparsity", "0.1", "--sparsity-strength", "0"],
         "sparsity_strength must"),
        (["--data", "train.npy", "--out", "m", "--learning-rate", "1", "--learning-rate-end", "-1"],
         "learning_rate_end must"),
        (["--model", "autoencoder", "--data", "train.npy", "--out", "m", "--optimizer", "lbfgs",
          "--line-searches", "0"], ": line_searches must"),
        (["--model", "dbm", "--data", "train.npy", "--out", "m", "--pretrain-epochs", "1",
          "--pretrain-batch-size", "0"], "pretrain_batch_size must"),
        (["--model", "classifier", "--labels", "train.npy", "--data", "train.npy", "--out", "m",
          "--smoothness", "0"], ": smoothness must"),
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
        ("n_hidden = " + "9" * 5000, "not TOML"),
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


@pytest.mark.parametrize("name", ["out", "history", "pretrained", "data"])
def test_an_empty_name_is_no_file(name, folder, capsys):
    """Catches a traceback, or ".", which Python takes an empty path for, as the file's name."""
    argv = ["train", "--model", "dbm", "--data", "train.npy", "--out", "m"]
    with pytest.raises(SystemExit) as stopped:
        main([*argv, f"--{name}", ""])
    assert stopped.value.code == 2
    assert f"--{name}: must name a file" in capsys.readouterr().err
    (folder / "run.toml").write_text(f"{name} = ''")
    line = fails(capsys, 2, "train", "run.toml", "--model", "dbm")
    assert f"run.toml: {name} must name a file" in line


def test_files_that_cannot_be_written_fail_first(folder, capsys, monkeypatch):
    """Catches a missing folder that is noticed after an hour of training."""
    monkeypatch.setattr(dg.RBM, "fit", lambda *_, **__: pytest.fail("it trained"))
    common = ["train", "--data", "train.npy"]
    assert "no such folder" in fails(capsys, 1, *common, "--out", "no/m")
    assert "folder" in fails(capsys, 1, *common, "--out", folder)
    assert "is a device" in fails(capsys, 1, *common, "--out", os.devnull)
    for name in ("--out", "--history", "--checkpoint"):
        with monkeypatch.context() as patched:
            patched.setattr(os, "access", lambda *_: False)
            line = fails(capsys, 1, *common, "--out", "m.csv", name, "h.csv")
        assert "no permission to write there" in line
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
    line = fails(capsys, 1, *argv, "--n-hidden", "4", "--resume")
    assert line.startswith("deepgen: c: ")  # and not that the rows are no model file


def test_ctrl_c_before_training_writes_nothing(folder, capsys, monkeypatch):
    """Catches an AttributeError where there is no model yet."""

    def interrupted(self, X, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(dg.RBM, "fit", interrupted)
    assert "no model to write" in fails(capsys, 130, "train", "--data", "train.npy", "--out", "m")
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
