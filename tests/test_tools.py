"""The campaign of ``tools/``: does it see what it looks for?"""

import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import deepgen as dg

FILE = Path(__file__).resolve().parents[1] / "tools" / "fuzz.py"
pytestmark = pytest.mark.skipif(
    not (FILE.exists() and sys.platform == "linux"), reason="no checkout, or no Linux"
)


@pytest.fixture(scope="module")
def fuzz():
    """The module of the command."""
    spec = importlib.util.spec_from_file_location("fuzz", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def crash(path):
    os.kill(os.getpid(), signal.SIGKILL)


def hang(path):
    time.sleep(60.0)


def take_memory(path):
    np.ones(2**25)


def index_error(path):
    raise IndexError("list index out of range")


def nameless(path):
    raise ValueError("a number is wrong")


def promised(path):
    raise dg.ModelFileError(f"{path}: damaged")


@pytest.mark.parametrize(("read", "words"), [
    (crash, "ended with -9"), (take_memory, "bytes of memory for 3"), (len, "TypeError"),
    (index_error, "IndexError"), (nameless, "ValueError"), (promised, None),
    pytest.param(hang, "TimeoutError", marks=pytest.mark.slow),
])  # fmt: skip
def test_what_a_reader_must_not_do_is_found(read, words, fuzz, tmp_path, monkeypatch):
    """Catches a campaign of an hour that finds nothing because it cannot."""
    monkeypatch.setattr(fuzz, "HANGS", 2.0 if read is hang else 60.0)
    (found,) = fuzz.in_child(tmp_path / "a", [b"abc"], read, set())
    assert found[0] is None if words is None else words in found[0]


@pytest.mark.parametrize(
    "name", ["models", "ladders", "checkpoints", "arrays", "tables", "ratings", "settings"]
)
def test_files_change_and_new_lines_are_kept(name, fuzz, tmp_path, monkeypatch):
    """Catches mutants that are all refused at the first line, or a corpus that never grows."""
    monkeypatch.setattr(fuzz, "AT_ONCE", 5)
    n, n_lines, findings = fuzz.fuzz(name, 0.1, 0, tmp_path / "findings")
    assert findings == 0, list((tmp_path / "findings").iterdir())
    assert n >= fuzz.AT_ONCE
    assert n_lines > {"tables": 30, "settings": 25, "arrays": 60, "ratings": 100}.get(name, 500)
