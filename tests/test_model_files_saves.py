"""Saves and loads of model files, whatever happens meanwhile: a whole file or none, never half."""

import errno
import os
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from model_files import same, small_model

import deepgen as dg
from deepgen.cli.info import describe_file
from deepgen.io import model_files

# ------------------------------------------------------------------------------------- failures


FAILING_STEPS = {
    "make": "deepgen.io.model_files.os.open",
    "flush": "deepgen.io.model_files.os.fsync",
    "rename": "deepgen.io.model_files.os.replace",
}


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), MemoryError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize("step", FAILING_STEPS)
@pytest.mark.parametrize("old", [True, False])
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(
    step, error, old, tmp_path, monkeypatch
):
    """Would catch a model lost to a full disk or to Ctrl-C, and temporary files left behind."""
    path = tmp_path / "model.safetensors"
    if old:
        model_files.save(small_model(0), path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(*args, **options):
        raise error

    monkeypatch.setattr(FAILING_STEPS[step], fail)
    with pytest.raises(type(error)):
        model_files.save(small_model(1), path)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_disk_that_fills_up_while_writing_leaves_the_old_file(share, tmp_path):
    """Would catch a short write taken for a whole one: the kernel itself refuses the bytes."""
    path = tmp_path / "model.safetensors"
    model_files.save(small_model(0), path)
    before = path.read_bytes()
    large = small_model(1, n_hidden=50_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * 4 * 4 * 50_000), limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            model_files.save(large, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_a_folder_that_cannot_be_flushed_still_holds_a_whole_file(tmp_path, monkeypatch):
    """Would catch a clean-up that removes the new file after the old one is gone."""
    path = tmp_path / "model.safetensors"
    model_files.save(small_model(0), path)
    flush, calls = os.fsync, []

    def second_fails(number):
        calls.append(number)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        flush(number)

    monkeypatch.setattr("deepgen.io.model_files.os.fsync", second_fails)
    with pytest.raises(OSError, match="Input/output"):
        model_files.save(small_model(1), path)
    assert len(calls) == 2
    assert same(model_files.load_model(path)[0], small_model(1))
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_a_save_flushes_the_file_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    """Would catch a rename that a power loss can turn into an empty file."""
    events = []
    fsync, replace = os.fsync, os.replace

    def flushed(number):
        kind = "folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file"
        size = os.fstat(number).st_size
        events.append(kind if kind == "folder" else (kind, size))
        fsync(number)

    def renamed(source, target):
        assert Path(source).parent == Path(target).parent
        events.append("rename")
        replace(source, target)

    monkeypatch.setattr("deepgen.io.model_files.os.fsync", flushed)
    monkeypatch.setattr("deepgen.io.model_files.os.replace", renamed)
    path = tmp_path / "a"
    model_files.save(small_model(), path)
    assert events == [("file", path.stat().st_size), "rename", "folder"]


KILLED = """
import os, random, signal, sys, time
import numpy as np
import deepgen as dg
from deepgen.io import model_files as storage

path, models = sys.argv[1], []
for seed in (0, 1):
    rng = np.random.default_rng(seed)
    models.append(dg.BoltzmannMachine([dg.Binary(200), dg.Binary(300)], [rng.normal(size=(200, 300))]))
storage.save(models[0], path)
bits = [model.weights[0].tobytes() for model in models]
random.seed(0)
for kill in range(30):
    child = os.fork()
    if not child:
        while True:
            storage.save(models[1], path)
            storage.save(models[0], path)
    time.sleep(random.uniform(0.001, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert storage.load_model(path)[0].weights[0].tobytes() in bits
print("whole after 30 kills")
"""  # noqa: E501


def test_a_killed_process_leaves_a_whole_file(tmp_path):
    """Would catch a file written in place: np.savez left 31 of 40 unreadable."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path / "a")],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.stdout == "whole after 30 kills\n", done.stderr


# ------------------------------------------------------------------------------ several at once


def test_saves_at_once_leave_one_whole_file(tmp_path):
    """Would catch a shared name for temporary files."""
    path, failures = tmp_path / "a", []
    models = [small_model(seed) for seed in range(4)]

    def work(model):
        try:
            for _ in range(15):
                model_files.save(model, path)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(model,)) for model in models]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert os.listdir(tmp_path) == ["a"]
    assert any(same(model_files.load_model(path)[0], model) for model in models)


@pytest.mark.parametrize("read", [lambda p: model_files.load_model(p)[0], dg.load, describe_file])
def test_a_file_that_is_replaced_while_it_is_read_is_the_old_one_or_the_new_one(
    read, tmp_path, monkeypatch
):
    """Would catch a header of one file with the tensors of another, called damage: the path is
    opened twice, or its size is asked for again."""
    path, parse_header = tmp_path / "a", model_files._parse_header
    model_files.save(small_model(0, n_hidden=3), path, extra={"estimator": "RBM", "score_seed": 1})
    before = read(path)

    def replaced(*arguments):
        model_files.save(
            small_model(1, n_hidden=5), path, extra={"estimator": "RBM", "score_seed": 2}
        )
        return parse_header(*arguments)

    monkeypatch.setattr(model_files, "_parse_header", replaced)
    found = read(path)
    monkeypatch.undo()
    after = read(path)
    assert str(found) == str(before)
    assert str(after) != str(before)


# ----------------------------------------------------------------------- places and permissions


def test_a_saved_file_can_be_read_by_others(tmp_path):
    """Would catch permissions other than the umask's on a model that a service should read."""
    before = os.umask(0o027)
    try:
        model_files.save(small_model(), tmp_path / "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_link_stays_a_link_and_a_file_keeps_its_permissions(tmp_path):
    """Would catch a link that becomes a file, and a private model that all may read after it is
    saved again."""
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "a", tmp_path / "link"
    link.symlink_to(real)
    model_files.save(small_model(0), link)  # through a link that leads nowhere yet
    real.chmod(0o600)
    model_files.save(small_model(1), link)
    assert link.is_symlink()
    assert not real.is_symlink()
    assert same(model_files.load_model(real)[0], small_model(1))
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "there") == ["a"]
    assert sorted(os.listdir(tmp_path)) == ["link", "there"]


def test_what_is_no_regular_file_is_never_replaced(tmp_path):
    """Would catch a device or a pipe that a save puts a file in the place of."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match=r"path must name a regular file.*pipe"):
            model_files.save(small_model(), tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


def test_places_that_cannot_be_written_or_read_give_os_errors(tmp_path):
    """Would catch a half-made folder, or a missing file called a damaged one."""
    with pytest.raises(FileNotFoundError):
        dg.load(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError) as caught:
        model_files.save(small_model(), tmp_path / "none" / "a")
    assert caught.value.filename == str(tmp_path / "none" / "a")  # not that of a temporary file
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        model_files.save(small_model(), tmp_path / "folder")
    with pytest.raises(IsADirectoryError):
        dg.load(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == []
