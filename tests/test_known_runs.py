"""Results of today against those of before, to the last bit; models and checkpoints of before."""

import json
import os
import subprocess
import sys
from pathlib import Path

import known_runs
import numpy as np
import pytest

import deepgen as dg

KNOWN = json.loads(known_runs.DIGESTS.read_text())


def test_every_run_has_a_digest():
    """Would catch a run that was added without its digest, or one that was left out."""
    assert set(KNOWN) == set(known_runs.RUNS)


@pytest.mark.parametrize("name", known_runs.RUNS)
def test_a_run_gives_the_bits_that_it_gave_before(name):
    """Would catch a change of code that was not meant to change results but does: another order
    of draws or sums, a default, a seed, a place in the run."""
    assert known_runs.digest(known_runs.RUNS[name]()) == KNOWN[name]


def test_bits_are_not_those_of_numpy_on_this_processor():
    """Would catch a function of NumPy's on the way of a run, a hyperbolic tangent say, whose last
    bits are others where the processor has fewer instructions.

    Left out is the linear start of a window, which is a regression by BLAS.
    """
    extensions = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    if not extensions:
        pytest.skip("NumPy has one set of instructions here")
    names = sorted(set(known_runs.RUNS) - {"sequences window"})
    script = (
        "import json, sys, known_runs\n"
        "runs = {n: known_runs.digest(known_runs.RUNS[n]()) for n in json.load(sys.stdin)}\n"
        "print(json.dumps(runs))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, input=json.dumps(names),
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(extensions)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(found.stdout) == {name: KNOWN[name] for name in names}


@pytest.mark.parametrize("file", known_runs.FILES)
def test_a_model_file_of_before_loads_and_is_written_alike(file, tmp_path):
    """Would catch a loader that no longer reads files that users have, or reads them otherwise."""
    path = known_runs.model_file_of(file)
    estimator = dg.load(path)
    expected = known_runs.RUNS[known_runs.FILES[file]]()
    assert type(estimator) is type(expected)
    for each, name in ((estimator, "loaded"), (expected, "trained")):
        each.save(tmp_path / name)
    assert (tmp_path / "loaded").read_bytes() == path.read_bytes()
    assert (tmp_path / "trained").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", [*known_runs.STOPPED, *known_runs.STREAMS])
def test_a_checkpoint_of_before_goes_on_with_the_same_bits(name):
    """Would catch a resumed run of an earlier version that is refused, or ends elsewhere."""
    assert known_runs.digest(known_runs.gone_on(name)) == KNOWN[name]


def test_files_of_before_are_in_git():
    """Would catch files that an ignore rule keeps out of the repository."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return  # an unpacked sdist: the tests above have read the files
    paths = [known_runs.DIGESTS, *map(known_runs.model_file_of, known_runs.FILES)]
    paths += map(known_runs.checkpoint_of, [*known_runs.STOPPED, *known_runs.STREAMS])
    ignored = subprocess.run(
        ["git", "check-ignore", *paths], cwd=root, capture_output=True, text=True, check=False
    )
    assert ignored.stdout == ""
    assert ignored.returncode == 1
