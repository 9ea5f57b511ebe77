"""The command line on sequences: lengths in files, train, score, transform, sample."""

import json

import numpy as np
import pytest
from cli_runs import call, fails

import deepgen as dg

LENGTHS = [20, 10, 30]
SHORT = ["--n-epochs", 3, "--n-hidden", 5, "--n-recurrent", 4, "--n-threads", 1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """frames.npy and its lengths in two forms; a model in `m`."""
    monkeypatch.chdir(tmp_path)
    frames = (np.random.default_rng(0).random((60, 6)) < 0.3).astype(np.uint8)
    np.save("frames.npy", frames)
    np.save("lengths.npy", np.array(LENGTHS))
    (tmp_path / "lengths.csv").write_text("n\n" + "\n".join(map(str, LENGTHS)) + "\n")
    dg.TemporalRBM(5, n_recurrent=4, n_epochs=3, random_state=0, n_threads=1).fit(
        frames, lengths=LENGTHS
    ).save("m")
    return tmp_path


@pytest.mark.parametrize("lengths", ["lengths.npy", "lengths.csv"])
def test_train_is_the_estimator_of_the_library(lengths, folder, capsys):
    """Would catch a default that is not the library's, and lengths that are forgotten."""
    argv = ["train", "--model", "temporal", "--data", "frames.npy", "--lengths", lengths]
    code, out, lines = call(capsys, *argv, "--out", "n", *SHORT)
    assert code == 0, lines
    assert "60 x 6" in out
    assert (folder / "n").read_bytes() == (folder / "m").read_bytes()


@pytest.mark.parametrize(
    "flags", [["--recurrence", "window", "--order", 2], ["--recurrence", "rtrbm"],
              ["--transpose", "--dropout", "0.1", "--n-gibbs", 2, "--chunk", 7],
              ["--recurrence-decay", "0.5"],
              ["--visible", "gaussian", "--optimizer", "sgd", "--learning-rate", "0.01"]],
)  # fmt: skip
def test_settings_reach_the_estimator(flags, folder, capsys):
    """Would catch a flag without effect: the model would be the same."""
    argv = ["train", "--model", "temporal", "--data", "frames.npy", "--lengths", "lengths.npy"]
    code, _, lines = call(capsys, *argv, "--out", "n", *SHORT, *flags)
    assert code == 0, lines
    assert (folder / "n").read_bytes() != (folder / "m").read_bytes()


def test_score_transform_and_sample(folder, capsys):
    """Would catch answers about one long sequence in place of three."""
    model, frames = dg.load("m"), np.load("frames.npy")
    argv = ["score", "m", "frames.npy", "--lengths", "lengths.npy"]
    found = json.loads(call(capsys, *argv, "--json")[1])
    expected = model.score(frames, lengths=LENGTHS)
    assert found["frame_log_likelihood"]["lower"] == pytest.approx(expected)
    assert found["n_sequences"] == 3
    assert "nats a frame of 3 sequences" in call(capsys, *argv)[1]
    whole = json.loads(call(capsys, *argv[:3], "--json")[1])
    assert whole["frame_log_likelihood"] != found["frame_log_likelihood"]
    call(capsys, "transform", *argv[1:], "--out", "t.npy")
    assert np.array_equal(np.load("t.npy"), model.transform(frames, LENGTHS))
    call(capsys, "sample", "m", "--n", 7, "--out", "s.npy")
    assert np.array_equal(np.load("s.npy"), model.sample(7, random_state=0)[0])
    code, out, _ = call(capsys, "info", "m")
    assert code == 0
    assert "recurrence.recurrent_weights  4 x 4" in out


def test_what_is_refused(folder, capsys):
    """Would catch lengths that do not fit, and commands that read frames as plain rows."""
    np.save("short.npy", np.array([20, 10]))
    np.save("parts.npy", np.array([20.5, 39.5]))
    argv = ["train", "--model", "temporal", "--data", "frames.npy", "--out", "n", *SHORT]
    line = fails(capsys, 1, *argv, "--lengths", "short.npy")
    assert "add up to the 60 rows of frames.npy, got a sum of 30" in line
    assert "a whole number for each" in fails(capsys, 1, *argv, "--lengths", "parts.npy")
    line = fails(capsys, 2, "train", "--data", "frames.npy", "--out", "n", "--lengths", "short.npy")
    assert "lengths is a setting of temporal, but the model is rbm" in line
    for command in ("impute", "predict"):
        line = fails(capsys, 1, command, "m", "frames.npy")
        assert "frames of sequences; commands that work on it are info, score, sample" in line
    dg.RBM(3, n_epochs=1).fit(np.load("frames.npy")).save("r")
    for command in ("score", "transform"):
        line = fails(capsys, 2, command, "r", "frames.npy", "--lengths", "lengths.npy")
        assert "--lengths is for models of sequences" in line
    line = fails(capsys, 2, "score", "m", "frames.npy", "--labels", "lengths.npy")
    assert "labels is not for a TemporalRBM" in line
