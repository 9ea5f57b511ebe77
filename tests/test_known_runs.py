"""Results of today against those of before, to the last bit; models and checkpoints of before."""

import json
import subprocess
from pathlib import Path

import known_runs
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
