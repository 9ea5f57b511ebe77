"""Runs of the command line in this process: what tests of several commands share."""

import numpy as np

import deepgen as dg
from deepgen.cli import main


def working_folder(path, monkeypatch):
    """Make this the working folder: bars and stripes, 300 in train.npy and 60 in valid.npy."""
    monkeypatch.chdir(path)
    X = dg.datasets.sample_bars_and_stripes(360, 3, random_state=0)
    np.save("train.npy", X[:300])
    np.save("valid.npy", X[300:])
    return path


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
