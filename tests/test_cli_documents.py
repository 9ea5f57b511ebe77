"""Documents on the command line: counts in, topics and perplexities out."""

import json

import numpy as np
import pytest
from scipy import sparse

from deepgen.cli import main

WORDS = [f"w{k}" for k in range(8)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Counts, their vocabulary and a model of them."""
    folder = tmp_path_factory.mktemp("documents")
    counts = np.random.default_rng(0).poisson(1.0, (60, 8))
    sparse.save_npz(folder / "counts.npz", sparse.csr_matrix(counts))
    (folder / "words.txt").write_text("\n".join(WORDS))
    (folder / "words.json").write_text(json.dumps(WORDS))
    arguments = [
        "train", "--model", "replicated-softmax", "--data", str(folder / "counts.npz"),
        "--n-hidden", "3", "--n-epochs", "2", "--out", str(folder / "m.safetensors"), "--json",
    ]  # fmt: skip
    assert main(arguments) == 0
    return folder


@pytest.mark.parametrize("name", ["words.txt", "words.json"])
def test_topics_are_words_of_the_vocabulary(files, name, capsys):
    """Would catch words of other columns, and a vocabulary read as one line."""
    model = str(files / "m.safetensors")
    assert main(["topics", model, "--vocabulary", str(files / name), "--n", "2", "--json"]) == 0
    topics = json.loads(capsys.readouterr().out)["topics"]
    assert [len(topic) for topic in topics] == [2, 2, 2]
    assert {word for topic in topics for word in topic} <= set(WORDS)
    assert main(["topics", model, "--vocabulary", str(files / name), "--n", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"1  {' '.join(topics[1])}"
    assert main(["topics", model, "--n", "1"]) == 0
    assert capsys.readouterr().out.split()[1] in {str(k) for k in range(8)}


def test_documents_are_scored_drawn_and_completed(files, capsys, tmp_path):
    """Would catch log Z of one length for all, and rows that are no counts of so many words."""
    model, counts = str(files / "m.safetensors"), str(files / "counts.npz")
    assert main(["score", model, counts, "--n-betas", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    mean = found["log_likelihood"]
    assert mean["lower"] <= mean["value"] <= mean["upper"] < 0
    assert 1.0 < found["perplexity"]["document"] < 10.0
    out = str(tmp_path / "drawn.npy")
    assert main(["sample", model, "--n", "4", "--words", "7", "--sweeps", "5", "--out", out]) == 0
    assert np.load(out).sum(axis=1).tolist() == [7] * 4
    assert main(["impute", model, counts, "--words", "3", "--out", out]) == 0
    np.testing.assert_allclose(np.load(out).sum(axis=1), 3.0, rtol=1e-5)
    assert main(["transform", model, counts, "--quantity", "field", "--out", out]) == 0
    assert np.load(out).shape == (60, 3)


@pytest.mark.parametrize(("flags", "code", "message"), [
    (["topics", "{m}", "--vocabulary", "{few}"], 1, "must have 8 words, one for each column"),
    (["topics", "{m}", "--vocabulary", "{m}"], 1, "must be words, one a line, or a .json list"),
    (["impute", "{m}", "{counts}", "--out", "{out}"], 2, "give --words N"),
    (["train", "--model", "replicated-softmax", "--data", "{counts}", "--out", "{out}",
      "--rule", "pcd"], 2, "rule is a setting of rbm, dbn, but the model is replicated-softmax"),
    (["train", "--model", "replicated-softmax", "--data", "{counts}", "--out", "{out}",
      "--valid", "{counts}"], 2, "each length of documents has its own log Z"),
    (["train", "--model", "replicated-softmax", "--data", "{shares}", "--out", "{out}"], 1,
     "TF-IDF and frequencies are no counts"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(files, tmp_path, capsys, flags, code, message):
    """Would catch a traceback, and shares that are learned from as counts."""
    (tmp_path / "few.txt").write_text("a\nb")
    np.save(tmp_path / "shares.npy", np.full((4, 8), 0.5))
    places = {
        "m": files / "m.safetensors", "counts": files / "counts.npz", "few": tmp_path / "few.txt",
        "shares": tmp_path / "shares.npy", "out": tmp_path / "out.npy",
    }  # fmt: skip
    places["out"] = tmp_path / ("out.safetensors" if flags[0] == "train" else "out.npy")
    assert main([flag.format(**places) for flag in flags]) == code
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_settings_of_the_rule_reach_the_run(files, tmp_path):
    """Would catch --k that is read and forgotten."""
    arguments = [
        "train", "--model", "replicated-softmax", "--data", str(files / "counts.npz"),
        "--n-hidden", "3", "--n-epochs", "2", "--json", "--out",
    ]  # fmt: skip
    assert main([*arguments, str(tmp_path / "one.safetensors"), "--k", "1"]) == 0
    assert main([*arguments, str(tmp_path / "three.safetensors"), "--k", "3"]) == 0
    usual = (files / "m.safetensors").read_bytes()
    assert (tmp_path / "three.safetensors").read_bytes() == usual
    assert (tmp_path / "one.safetensors").read_bytes() != usual
