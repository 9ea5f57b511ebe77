"""The file format: whole or refused, never half, never code.

The golden files of format version 1 in ``tests/data`` were written by this script, once; a
later version must read them with the same numbers, so they are never written again:

    import deepgen as dg
    from deepgen import storage

    binary = dg.BoltzmannMachine(
        [dg.Binary(bias=[0.5, -1.25, 0.0]), dg.Binary(bias=[-0.75, 2.0], n_copies=2)],
        [[[1.0, -0.5], [0.25, 2.5], [-3.0, 0.1]]],
    )
    dg.RBM.from_model(binary).save("tests/data/rbm_v1.safetensors")
    mixed = dg.BoltzmannMachine(
        [
            dg.Gaussian(bias=[0.5, -1.0], log_precision=[0.25, -2.0], learn_precision=False),
            dg.Softmax(2, bias=[0.1, -0.2, 0.3, 1.5]),
            dg.Gaussian(bias=[0.0], log_precision=[1.0]),
        ],
        [[[1.0, 0.5, -0.5, 0.25], [-1.0, 2.0, 0.75, -0.125]], [[0.5], [-1.5], [0.3], [0.0]]],
        observed=(0, 2),
    )
    storage.save(mixed, "tests/data/mixed_v1.safetensors", extra={"note": "golden"})
"""

import ast
import errno
import hashlib
import json
import os
import pickle
import resource
import stat
import subprocess
import sys
import threading
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as serialize

import deepgen as dg
from deepgen import model_forms, storage
from deepgen.cli.info import describe_file

DATA = Path(__file__).parent / "data"
# float32 values whose bits a detour through text or arithmetic would change
AWKWARD = np.array([-0.0, 1e-45, 3.4e38, 1.17e-38, -1 / 3, 1.0000001], np.float32)


def small_model(seed=0, n_hidden=3):
    rng = np.random.default_rng(seed)
    return dg.BoltzmannMachine(
        [dg.Binary(bias=rng.normal(size=4)), dg.Binary(bias=rng.normal(size=n_hidden))],
        [rng.normal(size=(4, n_hidden))],
    )


def every_model():
    """One model for each unit type as visible and as hidden layer, and deeper ones."""
    layers = {
        "binary": lambda: dg.Binary(bias=AWKWARD),
        "copies": lambda: dg.Binary(bias=AWKWARD[::-1], n_copies=3),
        "gaussian": lambda: dg.Gaussian(bias=AWKWARD, log_precision=AWKWARD[[0, 1, 3, 4, 5, 0]]),
        "fixed gaussian": lambda: dg.Gaussian(6, learn_precision=False),
        "softmax": lambda: dg.Softmax(3, bias=AWKWARD),
    }
    weights = np.tile(AWKWARD, (6, 1))
    for name, make in layers.items():
        yield f"{name}-binary", dg.BoltzmannMachine([make(), dg.Binary(6)], [weights])
        yield f"binary-{name}", dg.BoltzmannMachine([dg.Binary(6), make()], [weights.T])
    yield "deep", dg.BoltzmannMachine(
        [layers["gaussian"](), layers["softmax"](), dg.Binary(6), layers["copies"]()],
        [weights] * 3, observed=(0, 3),
    )  # fmt: skip


MODELS = dict(every_model())


def same(one, other):
    """Tell whether two models are equal to the last bit, options included."""
    config, tensors = storage.describe(one)
    other_config, others = storage.describe(other)
    return config == other_config and {k: v.tobytes() for k, v in tensors.items()} == {
        k: v.tobytes() for k, v in others.items()
    }


def metadata_of(config, tensors):
    """Metadata with a checksum that fits: whoever makes a hostile file can compute it too."""
    config = {name: value for name, value in config.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + np.asarray(tensors[name]).tobytes())
    return {"deepgen": json.dumps({**config, "sha256": digest.hexdigest()}, sort_keys=True)}


def pack(header, data):
    """Bytes of a safetensors file with any header (a dict or raw bytes) and any data."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def unpack(blob):
    length = int.from_bytes(blob[:8], "little")
    return json.loads(blob[8 : 8 + length]), blob[8 + length :]


@pytest.fixture(scope="module")
def blob(tmp_path_factory):
    """A whole, valid file."""
    path = tmp_path_factory.mktemp("storage") / "whole.safetensors"
    storage.save(small_model(), path, extra={"estimator": "RBM"})
    return path.read_bytes()


def outcome(data, path):
    """Load bytes as a file: the error, or the model after it has been used; nothing else."""
    path.write_bytes(data)
    try:
        rbm = dg.load(path)
    except dg.ModelFileError as error:
        if str(path) not in str(error):
            raise AssertionError(f"the error does not name the file: {error}") from error
        return error
    model = rbm.model_
    rows = np.zeros((3, model.layers[0].size), np.float32)
    with warnings.catch_warnings():  # a flipped exponent gives huge weights; that is still a model
        warnings.simplefilter("ignore", RuntimeWarning)
        assert rbm.transform(rows).shape == (3, model.layers[1].size)
        assert rbm.sample(3, n_sweeps=2, random_state=0).shape == rows.shape
        assert rbm.free_energy(rows).shape == (3,)
    return model


# -------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("name", MODELS)
def test_every_model_comes_back_with_the_same_bits(name, tmp_path):
    """Would catch a parameter or an option that the file leaves out, or a wrong byte order."""
    path = tmp_path / "model.safetensors"
    extra = {"estimator": "RBM", "list": [1, 2.5, None, True, "é"], "deep": {"a": {}}}
    storage.save(MODELS[name], path, extra=extra)
    model, again = storage.load_model(path)
    assert same(model, MODELS[name])
    assert again == extra
    assert model.observed == MODELS[name].observed
    storage.save(model, tmp_path / "again", extra=again)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("visible", ["binary", "gaussian", dg.Softmax(3)])
def test_an_estimator_comes_back_and_gives_the_same_bits(visible, tmp_path):
    """Would catch a loaded estimator that lacks an attribute or answers differently."""
    rng = np.random.default_rng(0)
    rows = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, (50, 4))].reshape(50, 12)
    rbm = dg.RBM(5, visible=visible, n_epochs=3, random_state=0).fit(rows)
    for path in (tmp_path / "a.safetensors", str(tmp_path / "b")):
        assert rbm.save(path) is None
        loaded = dg.load(path)
        assert isinstance(loaded, dg.RBM)
        assert same(loaded.model_, rbm.model_)
        assert loaded.n_features_in_ == 12
        assert loaded.n_hidden == 5
        assert repr(loaded.visible) == repr(dg.RBM.from_model(rbm.model_).visible)
        assert np.array_equal(loaded.transform(rows), rbm.transform(rows))
        assert np.array_equal(loaded.score_samples(rows), rbm.score_samples(rows))
        assert np.array_equal(
            loaded.inverse_transform(loaded.transform(rows)),
            rbm.inverse_transform(rbm.transform(rows)),
        )
        assert list(loaded.get_feature_names_out()) == list(rbm.get_feature_names_out())
        assert loaded.sample(4, n_sweeps=3, random_state=0).shape == (4, 12)
        loaded.set_params(n_epochs=1).fit(rows)  # its settings can be fitted again
        assert loaded.model_.layers[0].size == 12


def test_a_file_says_what_it_is(tmp_path):
    """Would catch a file that only this version of this library can look into."""
    path = tmp_path / "a.safetensors"
    storage.save(small_model(), path)
    header, data = unpack(path.read_bytes())
    metadata = header.pop("__metadata__")
    config = json.loads(metadata["deepgen"])
    assert metadata == metadata_of(config, storage.describe(small_model())[1])
    assert config["format_version"] == storage.FORMAT_VERSION == 1
    assert config["model"] == "BoltzmannMachine"
    assert config["layers"][1] == {"units": "binary", "size": 3}
    assert {name: entry["shape"] for name, entry in header.items()} == {
        "layers.0.bias": [4], "layers.1.bias": [3], "weights.0": [4, 3],
    }  # fmt: skip
    assert len(data) == 4 * (4 + 3 + 12)
    read, shapes = storage.read_header(path)
    assert read == config
    assert shapes["weights.0"] == ("F32", (4, 3))


def test_a_model_that_no_estimator_handles_is_told(tmp_path):
    """Would catch a DBM around hidden units that it has no inference for."""
    layers = [dg.Binary(4), dg.Softmax(2, size=4), dg.Binary(3)]
    model = dg.BoltzmannMachine(layers, [np.zeros((4, 4)), np.zeros((4, 3))])
    storage.save(model, tmp_path / "deep")
    with pytest.raises(dg.ModelFileError, match=r"no estimator for this model .*binary hidden"):
        dg.load(tmp_path / "deep")


def test_what_the_format_does_not_know_is_refused_before_a_file_is_touched(tmp_path):
    """Would catch a KeyError from inside, or a good file lost to a bad save."""
    path = tmp_path / "a"
    storage.save(small_model(), path)
    before = path.read_bytes()

    class Mine(dg.Binary):
        pass

    model = dg.BoltzmannMachine([Mine(2), dg.Binary(2)], [np.zeros((2, 2))])
    with pytest.raises(ValueError, match=r"layers\[0\] is a Mine.*Binary, Gaussian, Softmax"):
        storage.save(model, path)
    for extra in ({"a": np.nan}, {"a": {1, 2}}, {"a": np.ones(2)}):
        with pytest.raises((ValueError, TypeError)):
            storage.save(small_model(), path, extra=extra)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a"]


# --------------------------------------------------------------------------------- golden files


def test_golden_file_of_format_1_loads_with_the_expected_numbers():
    """Would catch a later format or loader that cannot read, or reads differently, the files
    that users have already. The numbers were computed apart from the library, in float64."""
    path = DATA / "rbm_v1.safetensors"
    assert path.stat().st_size < 1000
    rbm = dg.load(path)
    visible, hidden = rbm.model_.layers
    assert visible.bias.tolist() == [0.5, -1.25, 0.0]
    assert hidden.bias.tolist() == [-0.75, 2.0]
    assert hidden.n_copies == 2
    weights = np.array([[1.0, -0.5], [0.25, 2.5], [-3.0, 0.1]], np.float32)
    assert rbm.model_.weights[0].tobytes() == weights.tobytes()
    rows = np.array([[0, 0, 0], [1, 0, 1], [1, 1, 1]], np.uint8)
    # -b.v - sum_j 2 softplus(c_j + (v W)_j)
    field = rows @ weights.astype(np.float64) + [-0.75, 2.0]
    energies = -(rows @ [0.5, -1.25, 0.0]) - 2 * np.logaddexp(0, field).sum(axis=1)
    assert energies == pytest.approx([-5.02759803, -4.19173666, -7.64065317], abs=1e-6)
    assert rbm.free_energy(rows) == pytest.approx(energies, abs=1e-6)
    assert rbm.log_partition().value == pytest.approx(10.0027112, abs=1e-6)
    assert rbm.transform(rows) == pytest.approx(2 / (1 + np.exp(-field)), abs=1e-6)


def test_golden_file_with_other_units_loads():
    """Would catch a renamed tag, option or tensor of Gaussian and softmax units."""
    path = DATA / "mixed_v1.safetensors"
    assert path.stat().st_size < 1500
    model, extra = storage.load_model(path)
    assert extra == {"note": "golden"}
    assert model.observed == (0, 2)
    gaussian, softmax, top = model.layers
    assert not gaussian.learn_precision
    assert top.learn_precision
    assert gaussian.bias.tolist() == [0.5, -1.0]
    assert gaussian.log_precision.tolist() == [0.25, -2.0]
    assert softmax.group == 2
    assert softmax.bias.tobytes() == np.array([0.1, -0.2, 0.3, 1.5], np.float32).tobytes()
    assert top.log_precision.tolist() == [1.0]
    assert model.weights[0].tolist() == [[1.0, 0.5, -0.5, 0.25], [-1.0, 2.0, 0.75, -0.125]]
    assert model.weights[1].shape == (4, 1)


def test_golden_files_are_in_git():
    """Would catch golden files that an ignore rule keeps out of the repository."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return  # an unpacked sdist: the tests above have read the files
    names = [f"tests/data/{name}_v1.safetensors" for name in ("rbm", "mixed")]
    ignored = subprocess.run(
        ["git", "check-ignore", *names], cwd=root, capture_output=True, text=True, check=False
    )
    assert ignored.stdout == ""
    assert ignored.returncode == 1


# ------------------------------------------------------------------------------------- atomicity

FAILING_STEPS = {
    "make": "deepgen.storage.os.open",
    "flush": "deepgen.storage.os.fsync",
    "rename": "deepgen.storage.os.replace",
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
        storage.save(small_model(0), path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(*args, **options):
        raise error

    monkeypatch.setattr(FAILING_STEPS[step], fail)
    with pytest.raises(type(error)):
        storage.save(small_model(1), path)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_disk_that_fills_up_while_writing_leaves_the_old_file(share, tmp_path):
    """Would catch a short write taken for a whole one: the kernel itself refuses the bytes."""
    path = tmp_path / "model.safetensors"
    storage.save(small_model(0), path)
    before = path.read_bytes()
    large = small_model(1, n_hidden=50_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * 4 * 4 * 50_000), limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            storage.save(large, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_a_folder_that_cannot_be_flushed_still_holds_a_whole_file(tmp_path, monkeypatch):
    """Would catch a clean-up that removes the new file after the old one is gone."""
    path = tmp_path / "model.safetensors"
    storage.save(small_model(0), path)
    flush, calls = os.fsync, []

    def second_fails(number):
        calls.append(number)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        flush(number)

    monkeypatch.setattr("deepgen.storage.os.fsync", second_fails)
    with pytest.raises(OSError, match="Input/output"):
        storage.save(small_model(1), path)
    assert len(calls) == 2
    assert same(storage.load_model(path)[0], small_model(1))
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

    monkeypatch.setattr("deepgen.storage.os.fsync", flushed)
    monkeypatch.setattr("deepgen.storage.os.replace", renamed)
    path = tmp_path / "a"
    storage.save(small_model(), path)
    assert events == [("file", path.stat().st_size), "rename", "folder"]


KILLED = """
import os, random, signal, sys, time
import numpy as np
import deepgen as dg
from deepgen import storage

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


def test_saves_at_once_leave_one_whole_file(tmp_path):
    """Would catch a shared name for temporary files."""
    path, failures = tmp_path / "a", []
    models = [small_model(seed) for seed in range(4)]

    def work(model):
        try:
            for _ in range(15):
                storage.save(model, path)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(model,)) for model in models]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert os.listdir(tmp_path) == ["a"]
    assert any(same(storage.load_model(path)[0], model) for model in models)


def test_a_saved_file_can_be_read_by_others(tmp_path):
    """Would catch permissions other than the umask's on a model that a service should read."""
    before = os.umask(0o027)
    try:
        storage.save(small_model(), tmp_path / "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("read", [lambda p: storage.load_model(p)[0], dg.load, describe_file])
def test_a_file_that_is_replaced_while_it_is_read_is_the_old_one_or_the_new_one(
    read, tmp_path, monkeypatch
):
    """Would catch a header of one file with the tensors of another, called damage: the path is
    opened twice, or its size is asked for again."""
    path, parse_header = tmp_path / "a", storage._parse_header
    storage.save(small_model(0, n_hidden=3), path, extra={"estimator": "RBM", "score_seed": 1})
    before = read(path)

    def replaced(*arguments):
        storage.save(
            small_model(1, n_hidden=5), path, extra={"estimator": "RBM", "score_seed": 2}
        )
        return parse_header(*arguments)

    monkeypatch.setattr(storage, "_parse_header", replaced)
    found = read(path)
    monkeypatch.undo()
    after = read(path)
    assert str(found) == str(before)
    assert str(after) != str(before)


def test_a_link_stays_a_link_and_a_file_keeps_its_permissions(tmp_path):
    """Would catch a link that becomes a file, and a private model that all may read after it is
    saved again."""
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "a", tmp_path / "link"
    link.symlink_to(real)
    storage.save(small_model(0), link)  # through a link that leads nowhere yet
    real.chmod(0o600)
    storage.save(small_model(1), link)
    assert link.is_symlink()
    assert not real.is_symlink()
    assert same(storage.load_model(real)[0], small_model(1))
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "there") == ["a"]
    assert sorted(os.listdir(tmp_path)) == ["link", "there"]


def test_what_is_no_regular_file_is_never_replaced(tmp_path):
    """Would catch a device or a pipe that a save puts a file in the place of."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match=r"path must name a regular file.*pipe"):
            storage.save(small_model(), tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


def test_places_that_cannot_be_written_or_read_give_os_errors(tmp_path):
    """Would catch a half-made folder, or a missing file called a damaged one."""
    with pytest.raises(FileNotFoundError):
        dg.load(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError) as caught:
        storage.save(small_model(), tmp_path / "none" / "a")
    assert caught.value.filename == str(tmp_path / "none" / "a")  # not that of a temporary file
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        storage.save(small_model(), tmp_path / "folder")
    with pytest.raises(IsADirectoryError):
        dg.load(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == []


# -------------------------------------------------------------------------------- hostile files


def test_every_truncation_is_refused(blob, tmp_path):
    """Would catch a file cut by a full disk or a broken download that loads all the same."""
    path = tmp_path / "cut"
    for length in range(len(blob)):
        assert isinstance(outcome(blob[:length], path), dg.ModelFileError), length
    assert not isinstance(outcome(blob, path), dg.ModelFileError)


def test_what_follows_the_end_is_refused(blob, tmp_path):
    """Would catch a file with a tail that nobody has looked at."""
    for tail in (b"\0", b"x" * 7, b"\0" * 4096, blob):
        assert isinstance(outcome(blob + tail, tmp_path / "a"), dg.ModelFileError)


def test_flipped_bits_give_a_model_or_one_error(blob, tmp_path):
    """Would catch a damaged file that crashes, hangs, or gives another model in silence."""
    path, refused = tmp_path / "a", 0
    rng = np.random.default_rng(0)
    bits = [8 * i + int(rng.integers(8)) for i in range(len(blob))]
    bits += rng.integers(0, 8 * len(blob), 600).tolist()
    for bit in bits:
        data = bytearray(blob)
        data[bit // 8] ^= 1 << bit % 8
        result = outcome(bytes(data), path)
        refused += isinstance(result, dg.ModelFileError)
        assert isinstance(result, dg.ModelFileError) or same(result, small_model())
    assert refused > 0.98 * len(bits) > 1000  # the rest hits blanks that mean nothing


def test_random_edits_give_a_model_or_one_error(blob, tmp_path):
    """Would catch a parser that trusts lengths: bytes are inserted, dropped, copied, replaced."""
    rng = np.random.default_rng(1)
    for _ in range(400):
        data = bytearray(blob)
        for _ in range(rng.integers(1, 4)):
            first = int(rng.integers(len(data)))
            last = min(len(data), first + int(rng.integers(1, 20)))
            kind = rng.integers(4)
            if kind == 0:
                del data[first:last]
            elif kind == 1:
                data[first:first] = data[first:last]
            elif kind == 2:
                data[first:last] = rng.bytes(last - first)
            else:
                data[first:last] = bytes([int(rng.choice(list(b'{}[]",:0-19eE.\\\0\xff')))])
        result = outcome(bytes(data), tmp_path / "a")
        assert isinstance(result, dg.ModelFileError) or same(result, small_model())


def config_of(header):
    return json.loads(header["__metadata__"]["deepgen"])


HUGE = 10**400
VALUES = [
    None, True, False, 0, -1, 1, 2, 3, 5, 2**31, 2**62, 2**63, 2**64, HUGE, 1.0, 3.0, 1e308, "",
    "binary", "gaussian", "softmax", "os.system", "__import__('os')", "../../etc/passwd", [], [0],
    [1], [-1], [0, 0], [True], [[]], {}, {"a": 1}, {"units": "binary", "size": 4}, "\ud800", "\0",
]  # fmt: skip


def places(value, path=()):
    """Every place in a tree of dicts and lists, as a path of keys."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(
        value, list) else ()  # fmt: skip
    for key, child in children:
        yield from places(child, (*path, key))


def differs(one, other):
    """Tell whether two trees differ as JSON, where 1, 1.0 and true are three things."""
    return json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)


def changed(tree, path, value):
    tree = json.loads(json.dumps(tree))
    here = tree
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    return tree


def removed(tree, path):
    tree = json.loads(json.dumps(tree))
    here = tree
    for key in path[:-1]:
        here = here[key]
    del here[path[-1]]
    return tree


def structured_mutants(blob):
    """Files with one entry of the configuration or the header changed, removed or added."""
    header, data = unpack(blob)
    config = config_of(header)
    tensors = storage.describe(small_model())[1]

    def with_text(text):
        return pack({**header, "__metadata__": {"deepgen": text}}, data)

    def with_config(new):
        return pack({**header, "__metadata__": metadata_of(new, tensors)}, data)

    for path in places(config):
        if not path:
            continue
        yield True, with_text(json.dumps(removed(config, path)))
        fitting = path in (("extra", "estimator"), ("sha256",))
        yield not fitting, with_config(removed(config, path))
        for value in VALUES:
            new = changed(config, path, value)
            yield differs(new, config), with_text(json.dumps(new))
            free = path[0] == "extra" and isinstance(new["extra"], dict)
            other = path[0] == "observed" and new["observed"] == [1]  # a valid file as well
            fitting = path[0] == "sha256" or free or other
            yield differs(new, config) and not fitting, with_config(new)
    for path in places(header):
        if not path:
            continue
        yield True, pack(removed(header, path), data)
        for value in VALUES:
            new = changed(header, path, value)
            yield differs(new, header), pack(new, data)
    for name, value in (("code", "x"), ("__class__", "RBM"), ("format_version ", 1)):
        yield True, with_config({**config, name: value})
        layers = [{**layer, name: value} for layer in config["layers"]]
        yield True, with_config({**config, "layers": layers})
    deep = ("[" * 10**5, '{"a":' * 10**5)
    # weights that the checksum does not fit, and tensors that have changed places
    yield True, pack(header, data[:-1] + bytes([data[-1] ^ 1]))
    tensors = {**tensors, "layers.0.bias": tensors["layers.0.bias"][::-1].copy()}
    yield True, pack(header, serialize(tensors)[-len(data) :])
    for text in ("", "null", "[]", "3", '"x"', "{", "NaN", "{'a': 1}", *deep):
        yield True, with_text(text)
    yield True, with_text(json.dumps(config).replace("1,", "NaN,", 1))
    yield True, pack({**header, "__metadata__": {**header["__metadata__"], "more": "x"}}, data)
    yield True, with_config({**config, "extra": {"a": float("inf")}})
    yield True, with_text(json.dumps(config)[:-1] + ', "format_version": 1}')
    yield True, with_text(json.dumps(config)[:-1] + ', "model": "BoltzmannMachine"}')
    for depth in range(700, 1100, 20):  # about where Python's own recursion ends
        nested = "[" * depth + "]" * depth
        yield True, with_text(json.dumps(config)[:-1] + f', "extra": {{"a": {nested}}}}}')
        text = json.dumps({**config, "extra": {}}).replace("{}", f'{{"a": {nested}}}')
        yield True, with_text(text)


def test_structured_mutants_give_a_model_or_one_error(blob, tmp_path):
    """Would catch a header entry that is believed: shapes, names, kinds, versions, nesting."""
    count, loaded_modules = 0, set(sys.modules)
    for must_fail, data in structured_mutants(blob):
        count += 1
        result = outcome(data, tmp_path / "a")
        if must_fail and not isinstance(result, dg.ModelFileError):
            raise AssertionError(f"accepted: {data[8:]!r}")
    assert count > 1000
    assert set(sys.modules) - loaded_modules <= {"resource"}  # nothing named in a file is imported


HEADERS = {
    "not JSON": b"{'a': 1}",
    "empty": b"",
    "an empty object": b"{}",
    "a list": b"[]",
    "a number": b"12",
    "null": b"null",
    "bad UTF-8": b'{"\xff\xfe": 1}',
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 200_000,
    "a huge integer": b'{"a": ' + b"9" * 100_000 + b"}",
    "NaN": b'{"__metadata__": NaN}',
    "metadata is text": b'{"__metadata__": "deepgen"}',
    "metadata is a list": b'{"__metadata__": ["deepgen"]}',
    "no configuration": b'{"__metadata__": {}}',
    "another library's": b'{"__metadata__": {"format": "pt"}}',
    "configuration is no text": b'{"__metadata__": {"deepgen": {}}}',
    "duplicate metadata": b'{"__metadata__": {"deepgen": "{}"}, "__metadata__": {"deepgen": "{}"}}',
}


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_headers_are_refused(name, tmp_path):
    """Would catch a RecursionError, a UnicodeDecodeError or a TypeError from the parser."""
    for data in (b"", b"\0" * 64):
        error = outcome(pack(HEADERS[name], data), tmp_path / "a")
        assert isinstance(error, dg.ModelFileError)


def test_duplicate_tensors_are_refused(blob, tmp_path):
    """Would catch the second of two entries that the safetensors parser lets through."""
    header, data = unpack(blob)
    text = json.dumps(header)
    twice = text[:-1] + ', "weights.0": ' + json.dumps(header["weights.0"]) + "}"
    error = outcome(pack(twice.encode(), data), tmp_path / "a")
    assert isinstance(error, dg.ModelFileError)
    assert "twice" in str(error)


def test_a_newer_version_is_told_apart_from_damage(blob, tmp_path):
    """Would catch "not a model file" for a file that only asks for an update."""
    header, data = unpack(blob)
    for version in (2, 3, 1000, 10**9):
        config = {"format_version": version, "anything": ["that", "came", "later"]}
        later = {**header, "__metadata__": {"deepgen": json.dumps(config)}}
        error = outcome(pack(later, data), tmp_path / "a")
        assert f"format version {version} is newer than 1; update deepgen" in str(error)
    for version in (0, -1, "2", None, 1.5, True):
        config = {**config_of(header), "format_version": version}
        later = {**header, "__metadata__": {"deepgen": json.dumps(config)}}
        assert "no format_version" in str(outcome(pack(later, data), tmp_path / "a"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["weights.0", "layers.0.bias", "layers.1.log_precision"])
def test_numbers_that_are_not_finite_are_refused(bad, name, tmp_path):
    """Would catch NaN weights, from which u < NaN samples zeros in silence."""
    model = dg.BoltzmannMachine([dg.Binary(4), dg.Gaussian(3)], [np.ones((4, 3))])
    config, tensors = storage.describe(model)
    tensors = {key: np.array(value) for key, value in tensors.items()}
    tensors[name].reshape(-1)[-1] = bad
    metadata = metadata_of({"format_version": 1, **config, "extra": {}}, tensors)
    error = outcome(serialize(tensors, metadata=metadata), tmp_path / "a")
    assert isinstance(error, dg.ModelFileError)
    assert "finite" in str(error)


@pytest.mark.parametrize("value", [1000.0, -1000.0, 3e38, -3e38, 89.0, -104.0])
def test_precisions_beyond_float32_are_refused(value, tmp_path):
    """Would catch a finite log precision whose exponential is infinite or zero."""
    model = dg.BoltzmannMachine([dg.Gaussian(3), dg.Binary(2)], [np.ones((3, 2))])
    config, tensors = storage.describe(model)
    tensors = {**tensors, "layers.0.log_precision": np.array([0, value, 0], np.float32)}
    metadata = metadata_of({"format_version": 1, **config, "extra": {}}, tensors)
    error = outcome(serialize(tensors, metadata=metadata), tmp_path / "a")
    assert isinstance(error, dg.ModelFileError)
    assert "log_precision" in str(error)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.uint8, np.bool_])
def test_other_dtypes_are_refused(dtype, tmp_path):
    """Would catch bytes read as another type."""
    config, tensors = storage.describe(small_model())
    tensors = {**tensors, "weights.0": tensors["weights.0"].astype(dtype)}
    metadata = metadata_of({"format_version": 1, **config, "extra": {}}, tensors)
    error = outcome(serialize(tensors, metadata=metadata), tmp_path / "a")
    assert "must be F32" in str(error)


@pytest.mark.parametrize(
    ("sizes", "layers"),
    [
        ((10**7, 10**7), 2), ((2**31, 2**33), 2), ((10**7, 4), 2), ((2**62, 0), 2),
        ((0, 3), 2), ((-4, 3), 2), ((4, 3), 65), ((4, 3), 1), ((4, 3), 0),
    ],
)  # fmt: skip
def test_shapes_that_the_file_cannot_hold_are_refused_without_the_memory(sizes, layers, tmp_path):
    """Would catch an allocation of what a header claims, or an overflow of its product."""
    config, tensors = storage.describe(small_model())
    lower, upper = ({"units": "binary", "size": size} for size in sizes)
    config["layers"] = ([lower, upper] * 40)[:layers]
    header = {"__metadata__": metadata_of({"format_version": 1, **config, "extra": {}}, tensors)}
    offset = 0
    for l, layer in enumerate(config["layers"]):
        for name, shape in ((f"layers.{l}.bias", [layer["size"]]), (f"weights.{l}", list(sizes))):
            if name == f"weights.{layers - 1}":
                continue
            end = offset + 4 * int(np.prod([float(n) for n in shape]))
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
            offset = end
    data = b"".join(value.tobytes() for value in tensors.values())
    tracemalloc.start()
    try:
        result = outcome(pack(header, data), tmp_path / "a")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(result, dg.ModelFileError)
    assert peak < 5e6


def test_a_large_file_of_holes_is_refused_unread(tmp_path, monkeypatch):
    """Would catch a loader that reads whatever size a file claims: this one is 3 GB of nothing."""
    blob_path, path = tmp_path / "whole", tmp_path / "holes"
    storage.save(small_model(), blob_path)
    data = blob_path.read_bytes()
    with path.open("wb") as file:
        file.write(data)
        file.truncate(3 * 10**9)
    load = dg.load  # it comes with scikit-learn, which reads files of its own
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("the whole file was read"))
    with pytest.raises(dg.ModelFileError, match="3000000000"):
        load(path)
    monkeypatch.setattr(storage, "MAX_BYTES", 10**9)
    with pytest.raises(dg.ModelFileError, match="more than"):
        load(path)


def test_loading_takes_about_twice_the_file(tmp_path):
    """Would catch copies upon copies of a large model."""
    n_bytes = 4 * 2000 * 2000
    model = dg.BoltzmannMachine([dg.Binary(2000), dg.Binary(2000)], [np.ones((2000, 2000))])
    storage.save(model, tmp_path / "a")
    del model
    load = dg.load  # brings scikit-learn, which is no part of a model
    tracemalloc.start()
    try:
        load(tmp_path / "a")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.6 * n_bytes


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_and_other_formats_never_run(blob, tmp_path):
    """Would catch a fall back to another format by content or by file ending."""
    trap = tmp_path / "trap"
    payload = pickle.dumps(Payload(str(trap)))
    for ending in (".pkl", ".pickle", ".joblib", ".npz", ".npy", ".pt", ".h5", ".safetensors"):
        for data in (payload, b"PK\x03\x04" + payload, b"\x93NUMPY" + payload, payload + blob):
            error = outcome(data, tmp_path / f"a{ending}")
            assert isinstance(error, dg.ModelFileError)
        assert not isinstance(outcome(blob, tmp_path / f"a{ending}"), dg.ModelFileError)
    assert not trap.exists()


@pytest.mark.parametrize("module", [storage, model_forms], ids=lambda module: module.__name__)
def test_the_loader_names_no_pickle_and_no_import(module):
    """Would catch a later change that brings eval, pickle or importlib into the loader."""
    tree = ast.parse(Path(module.__file__).read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.name for alias in node.names} | {getattr(node, "module", None)}
    banned = {"eval", "exec", "compile", "__import__", "import_module", "importlib", "pickle"}
    assert not names & (banned | {"joblib", "marshal", "shelve", "getattr", "globals"})
