"""Files of checkpoints: when they are written, what they hold, and that a failure harms none."""

import os
import warnings

import numpy as np
import pytest
from stopped_runs import bits, rbm_for, rows_for, run_python

import deepgen as dg
from deepgen.io import atomic, checkpoints, trees
from deepgen.learning import callbacks

pytestmark = pytest.mark.usefixtures("serial")


# --- when they are written --------------------------------------------------------------------


def test_checkpoints_are_written_by_the_clock_and_by_epochs(tmp_path, monkeypatch):
    """Catches a clock that is looked at once an epoch only, and one that never runs again."""
    places, now = [], [0.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoints, "tree_of", lambda trainer: (trainer.n_updates, trainer.epoch))
    monkeypatch.setattr(trees, "save", lambda tree, path: places.append(tree))

    class Clock:
        def __call__(self, report):
            return None

        def between_updates(self, trainer):
            now[0] += 10.0

    X = rows_for({})
    rbm_for({}, [Clock(), dg.Checkpoint(tmp_path / "a", minutes=1.5)], n_epochs=4).fit(X)
    # 8 rests an epoch: 7 updates and its end; each 9th rest is a minute and a half later
    assert places == [(8, 1), (16, 2), (24, 3), (28, 4)]
    places.clear()
    rbm_for({}, [dg.Checkpoint(tmp_path / "a", minutes=None, epochs=2)]).fit(X)
    assert places == [(14, 2), (28, 4), (35, 5)]


# --- what they hold ---------------------------------------------------------------------------


def test_any_state_comes_back(tmp_path):
    """Catches types, shapes, infinities or odd names that a file changes."""
    rng = np.random.default_rng(0)
    tree = {
        "numbers": [1, 2**63, -0.0, 1e-300, True, None, "text", np.float32(0.1), np.int64(7)],
        "odd": {"a/b": {"c": np.zeros(2)}, "a": {"b/c": np.ones(2), "~": [np.arange(3)]}, "": 1},
        "limits": [np.inf, -np.inf],
        "empty": {"a": np.zeros((0, 3), np.float32), "b": {}, "c": []},
        "arrays": [rng.normal(size=(3, 4)), rng.integers(0, 9, (2, 5)), np.array([True, False])],
    }
    trees.save(tree, tmp_path / "a")
    found = trees.load(tmp_path / "a")
    trees.check_structure(found, trees.plain(tree), "tree")
    trees.save(found, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert found["numbers"][:3] == [1, 2**63, -0.0]
    assert found["limits"] == [np.inf, -np.inf]
    np.testing.assert_array_equal(found["arrays"][0], tree["arrays"][0])
    np.testing.assert_array_equal(found["odd"]["a"]["b/c"], np.ones(2))


@pytest.mark.parametrize(
    "value",
    [object(), {1: 2}, np.array(["a"]), np.array([None]), {"$array": 1}, 1j],
    ids=["object", "number as a name", "texts", "array of objects", "reserved name", "complex"],
)
def test_what_is_no_plain_data_is_refused_by_its_place(value, tmp_path):
    """Catches a pickle by the back door, and a message that does not say where."""
    with pytest.raises(ValueError, match="history/0"):
        trees.save({"history": [value]}, tmp_path / "a")
    assert os.listdir(tmp_path) == []


# --- failures ---------------------------------------------------------------------------------


class FailingDisk:
    """System calls of which the k-th fails, and all writes after it."""

    calls = ("open", "write", "fsync", "replace")

    def __init__(self, monkeypatch, k, half=False):
        self.k, self.half, self.count = k, half, 0
        for name in self.calls:
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name, call):
        def wrapper(*arguments, **options):
            self.count += 1
            if self.count == self.k:
                if name == "write" and self.half:
                    return call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise OSError(28, "No space left on device")
            if name == "write" and self.half and self.count == self.k + 1:
                raise OSError(28, "No space left on device")
            return call(*arguments, **options)

        return wrapper


@pytest.mark.parametrize("half", [False, True])
def test_a_disk_that_fills_at_any_step_never_harms_the_file_of_before(half, tmp_path, monkeypatch):
    """Catches any order of steps in which a failure costs both files; steps are counted, so that
    none is left out."""
    monkeypatch.setattr(atomic, "CHUNK", 100)  # many writes
    path, old, new = tmp_path / "a", {"x": np.zeros(50)}, {"x": np.ones(50)}
    trees.save(old, path)
    k, failures = 0, 0
    while True:
        k += 1
        with monkeypatch.context() as patch:
            disk = FailingDisk(patch, k, half)
            try:
                trees.save(new, path)
            except OSError:
                failures += 1
        found = trees.load(path)["x"][0]
        assert os.listdir(tmp_path) == ["a"]
        if disk.count < k:
            break
        assert found in (0.0, 1.0)
        trees.save(old, path)
    assert found == 1.0
    assert k > 8
    assert failures > 3


def test_training_goes_on_where_the_disk_is_full(tmp_path, monkeypatch):
    """Catches a run of days that a full disk ends, and one that says nothing."""
    X, path = rows_for({}), tmp_path / "run"
    whole = rbm_for({}).fit(X)

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        rbm = rbm_for({}, [dg.Checkpoint(path, epochs=1)]).fit(X)
    assert bits(rbm) == bits(whole)
    rbm = rbm_for({}, [dg.Checkpoint(path, epochs=2, on_save_error="raise")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(OSError, match="No space left"):
            rbm.fit(X)
    assert rbm.n_updates_ == 14


KILLED_WHILE_SAVING = """
import os, sys
import numpy as np
from deepgen.io import atomic, trees as files

# the process kills itself before a random one of its system calls
path, seed = sys.argv[1], int(sys.argv[2])
atomic.CHUNK = 50_000  # many writes a file
rng = np.random.default_rng(seed)
trees = [{"x": np.full(100_000, float(i))} for i in range(2)]
after, count = int(rng.integers(1, 60)), 0
names = "open write fsync replace close".split()
for name in names:
    def wrapped(*args, call=getattr(os, name), **options):
        global count
        count += 1
        if count == after:
            os.kill(os.getpid(), 9)
        return call(*args, **options)
    setattr(os, name, wrapped)
while True:
    for tree in trees:
        files.save(tree, path)
"""


@pytest.mark.slow
def test_forty_kills_while_saving_leave_whole_files_and_no_litter(tmp_path):
    """Catches a file written in place, and temporary files that pile up. The child kills itself
    before a random one of its system calls."""
    path = tmp_path / "a"
    trees.save({"x": np.full(100_000, 1.0)}, path)
    script = KILLED_WHILE_SAVING
    # four at a time in one process: forks of it, so that imports are paid once
    forked = f"""
    import os, sys
    import numpy, deepgen
    from deepgen.io import trees
    code = {script!r}
    for seed in range(40):
        child = os.fork()
        if not child:
            sys.argv = ["", {str(path)!r}, str(seed)]
            exec(code, {{}})
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == 9, status
        values = set(trees.load({str(path)!r})["x"].tolist())
        assert len(values) == 1, values
        assert len(os.listdir(os.path.dirname({str(path)!r}))) <= 2
    print("whole")
    """
    done = run_python(forked)
    assert done.stdout == "whole\n", done.stderr
    trees.save({"x": np.zeros(3)}, path)
    assert os.listdir(tmp_path) == ["a"]


def test_only_dead_writers_files_of_this_path_are_swept(tmp_path):
    """Catches a sweep that takes the file of a writer that lives, or one of another name."""
    path = tmp_path / "a"
    stale = tmp_path / f".a.{'0' * 16}.tmp"
    others = [
        tmp_path / name for name in (".b.0000000000000000.tmp", ".a.tmp", "a.tmp", ".a.x.tmp")
    ]
    living, handle = atomic._temporary(path)
    for file in (stale, *others):
        file.touch()
    trees.save({}, path)
    assert not stale.exists()
    assert all(file.exists() for file in (*others, living))
    os.close(handle)
    trees.save({}, path)
    assert not living.exists()
