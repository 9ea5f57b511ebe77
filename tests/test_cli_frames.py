"""The command line on tables of texts and numbers: `deepgen train --visible auto`."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runs import call, fails

import deepgen as dg


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Tables t.csv, v.csv (with an index) and h.csv (with holes), and a model of them in `m`."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    cause = rng.integers(0, 3, 200)
    frame = pd.DataFrame({
        "odor": np.array(["almond", "foul", "größe"])[cause], "gill": cause > 1,
        "height": np.round(cause + rng.normal(size=200), 3), "rings": rng.poisson(3 + cause),
    })  # fmt: skip
    frame[:150].to_csv("t.csv", index=False)
    frame[150:].to_csv("v.csv")
    holes = frame[:40].copy()
    holes.loc[::3, "odor"] = np.nan
    holes.loc[::4, "height"] = np.nan
    holes.to_csv("h.csv", index=False)
    holes.to_csv("h.tsv", index=False, sep="\t")
    dg.RBM(4, visible="auto", n_epochs=2, random_state=0).fit(frame[:150]).save("m")
    return frame


def test_a_table_is_trained_on_as_in_python(folder, capsys):
    """Would catch texts that are refused, and columns of other types than pandas reads."""
    code, _, errors = call(
        capsys, "train", "--visible", "auto", "--data", "t.csv", "--valid", "v.csv", "--out", "n",
        "--n-hidden", 4, "--n-epochs", 2, "--history", "n.json",
    )  # fmt: skip
    assert (code, errors) == (0, [])
    for one, other in zip(dg.load("n").model_.weights, dg.load("m").model_.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    history = json.loads(Path("n.json").read_text())
    assert np.isfinite(history[-1]["log_likelihood"])
    assert np.isfinite(history[-1]["free_energy_gap"])
    code, out, _ = call(capsys, "info", "n")
    assert "mixed units: 3 softmax units, n_categories 3; 1 binary units; 2 gaussian units" in out


def test_models_of_tables_read_and_write_tables(folder, capsys, monkeypatch):
    """Would catch a command that reads numbers alone, or writes states of units."""
    model = dg.load("m")
    code, out, _ = call(capsys, "score", "m", "v.csv", "--json")
    assert code == 0
    found = json.loads(out)["log_likelihood"]["value"]
    assert found == pytest.approx(model.score(folder[150:]))
    assert call(capsys, "transform", "m", "v.csv", "--out", "f.npy")[0] == 0
    np.testing.assert_array_equal(np.load("f.npy"), model.transform(folder[150:]))
    code, out, _ = call(capsys, "sample", "m", "--n", 5, "--sweeps", 3, "--out", "-")
    assert code == 0
    draws = pd.read_csv(io.StringIO(out))
    expected = model.sample(5, n_sweeps=3, random_state=0)
    pd.testing.assert_frame_equal(draws, expected)
    files = {}
    for source in ("h.csv", "h.tsv", "-"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("h.csv").read_bytes())))
        code, _, errors = call(capsys, "impute", "m", source, "--out", "c.csv", "--std", "s.csv")
        assert (code, errors) == (0, [])
        files[source] = Path("c.csv").read_text()
    assert len(set(files.values())) == 1
    completed, holes = pd.read_csv("c.csv"), pd.read_csv("h.csv")
    assert list(completed) == list(holes)
    assert not completed.isna().any(axis=None)
    kept = holes.notna().to_numpy()
    np.testing.assert_array_equal(completed.to_numpy(object)[kept], holes.to_numpy(object)[kept])
    deviations = np.loadtxt("s.csv", delimiter=",")
    assert not deviations[kept].any()
    assert (deviations[~kept] > 0).all()


def test_what_is_no_table_is_told(folder, capsys):
    """Would catch a traceback of pandas, and a frame that is written as an array of objects."""
    train = ["train", "--visible", "auto", "--out", "n", "--n-epochs", 1, "--data"]
    message = fails(capsys, 2, "sample", "m", "--out", "s.npy")
    assert "out must be a .csv file or -" in message
    with open("twice.csv", "w") as file:
        file.write("p,x,p\np,x,s\ne,x,s\n")
    assert "names of its columns, each once, got 'p' twice" in fails(
        capsys, 1, *train, "twice.csv"
    )
    message = fails(capsys, 2, *train, "t.csv", "--model", "autoencoder")
    assert "visible must not be auto for the model autoencoder" in message
    folder.assign(odor="new").to_csv("new.csv", index=False)
    message = fails(capsys, 1, "score", "m", "new.csv")
    assert "must have one of the categories" in message
    assert "got 'new' in row 0, column 0 ('odor')" in message
    folder[["gill", "odor", "height", "rings"]].to_csv("order.csv", index=False)
    assert "same order" in fails(capsys, 1, "score", "m", "order.csv")
    assert "--visible auto" in fails(capsys, 1, "train", "--data", "t.csv", "--out", "n")
