"""What no model file can be, and what none can hold: one clear error, and never code that runs."""

import ast
import json
import os
import pickle
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from model_files import config_of, metadata_of, pack, same, small_model, unpack
from safetensors.numpy import save as serialize

import deepgen as dg
from deepgen.cli import main
from deepgen.io import model_files
from deepgen.io.schemas import registry


@pytest.fixture(scope="module")
def blob(tmp_path_factory):
    """A whole, valid file."""
    path = tmp_path_factory.mktemp("storage") / "whole.safetensors"
    model_files.save(small_model(), path, extra={"estimator": "RBM"})
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


# ---------------------------------------------------------------- what the format does not know


def test_a_model_that_no_estimator_handles_is_told(tmp_path):
    """Would catch a DBM around hidden units that it has no inference for."""
    layers = [dg.Binary(4), dg.Softmax(2, size=4), dg.Binary(3)]
    model = dg.BoltzmannMachine(layers, [np.zeros((4, 4)), np.zeros((4, 3))])
    model_files.save(model, tmp_path / "deep")
    with pytest.raises(dg.ModelFileError, match=r"no estimator for this model .*binary hidden"):
        dg.load(tmp_path / "deep")


def test_what_the_format_does_not_know_is_refused_before_a_file_is_touched(tmp_path):
    """Would catch a KeyError from inside, or a good file lost to a bad save."""
    path = tmp_path / "a"
    model_files.save(small_model(), path)
    before = path.read_bytes()

    class Mine(dg.Binary):
        pass

    model = dg.BoltzmannMachine([Mine(2), dg.Binary(2)], [np.zeros((2, 2))])
    with pytest.raises(ValueError, match=r"layers\[0\] is a Mine.*Binary, Gaussian, Softmax"):
        model_files.save(model, path)
    for extra in ({"a": np.nan}, {"a": {1, 2}}, {"a": np.ones(2)}):
        with pytest.raises((ValueError, TypeError)):
            model_files.save(small_model(), path, extra=extra)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a"]


def test_numbers_beyond_all_numbers_are_told_with_the_file(blob, tmp_path, capsys):
    """Would catch 1e999 in a configuration: infinite, and an error that names no file, or a
    traceback of the command line."""
    header, data = unpack(blob)
    path = tmp_path / "a.safetensors"
    for number in ("1e999", "-1e999", "9" * 5000):
        text = json.dumps(config_of(header)).replace('"RBM"', number)
        path.write_bytes(pack({**header, "__metadata__": {"deepgen": text}}, data))
        assert isinstance(outcome(path.read_bytes(), path), dg.ModelFileError)
        for argv in (["info", path], ["score", path, path]):
            assert main([str(word) for word in argv]) == 1
            assert str(path) in capsys.readouterr().err


def test_what_is_no_file_is_told_at_once(tmp_path):
    """Would catch a load that waits for ever for somebody to write into a pipe."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(dg.ModelFileError, match="pipe or socket; name a regular file"):
        dg.load(tmp_path / "pipe")
    with pytest.raises(dg.ModelFileError, match="pipe or socket; name a regular file"):
        dg.RBM(3).load_checkpoint(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        dg.load(tmp_path)


def test_a_model_that_could_not_be_loaded_is_not_saved(tmp_path):
    """Would catch a file that is found to be useless once the run that made it is gone."""
    rng = np.random.default_rng(0)
    for value in (3e38, -3e38):
        machine = dg.BoltzmannMachine([dg.Binary(3), dg.Binary(3)], [np.full((3, 3), value)])
        network = dg.Network([dg.NetworkLayer("linear", rng.normal(size=3), np.full((3, 3), value)),
                              dg.NetworkLayer("linear", rng.normal(size=3), np.eye(3))])
        for estimator in (dg.RBM.from_model(machine), dg.Autoencoder.from_model(network)):
            with pytest.raises(ValueError, match="could not be loaded again"):
                estimator.save(tmp_path / "a")
    assert os.listdir(tmp_path) == []


def test_a_newer_version_is_told_apart_from_damage(blob, tmp_path):
    """Would catch "not a model file" for a file that only asks for an update."""
    header, data = unpack(blob)
    for version in (3, 4, 1000, 10**9):
        config = {"format_version": version, "anything": ["that", "came", "later"]}
        later = {**header, "__metadata__": {"deepgen": json.dumps(config)}}
        error = outcome(pack(later, data), tmp_path / "a")
        assert f"format version {version} is newer than 2; update deepgen" in str(error)
    for version in (0, -1, "2", None, 1.5, True):
        config = {**config_of(header), "format_version": version}
        later = {**header, "__metadata__": {"deepgen": json.dumps(config)}}
        assert "no format_version" in str(outcome(pack(later, data), tmp_path / "a"))


DRAWS = [
    {"trials": -1}, {"trials": 2**24 + 1}, {"trials": 10**30}, {"trials": 3.0}, {"trials": True},
    {"trials": None}, {"mean_trials": 0.0}, {"mean_trials": -2.5}, {"mean_trials": 1e308},
    {"mean_trials": float("nan")}, {"mean_trials": float("inf")}, {"mean_trials": "7"},
    {"mean_trials": 7}, {"trials": 3, "mean_trials": 7.5}, {},
]  # fmt: skip


@pytest.mark.parametrize("options", DRAWS, ids=str)
@pytest.mark.parametrize("estimator", ["ReplicatedSoftmax", "RBM"])
def test_numbers_of_draws_that_are_none_are_refused(estimator, options, tmp_path):
    """Would catch a length that overflows in a kernel, a gain that is infinite, and a file whose
    two numbers contradict each other."""
    layers = dg.Multinomial(bias=np.zeros(4), mean_trials=7.5), dg.Binary(2)
    config, tensors = model_files.describe(dg.BoltzmannMachine(layers, [np.zeros((4, 2))]))
    config = {"format_version": 1, **config, "extra": {"estimator": estimator}}
    del config["layers"][0]["mean_trials"]
    config["layers"][0] |= options
    (tmp_path / "a").write_bytes(serialize(tensors, metadata=metadata_of(config, tensors)))
    with pytest.raises(dg.ModelFileError, match=r"trials|not a deepgen model file") as error:
        dg.load(tmp_path / "a")
    assert str(tmp_path / "a") in str(error.value)


def test_units_of_a_later_version_ask_for_an_update(blob, tmp_path):
    """Would catch "unknown units" alone, where the file is good and this deepgen is too old."""
    header, data = unpack(blob)
    config = config_of(header)
    config["layers"][0]["units"] = "poisson"
    _, tensors = model_files.describe(small_model())
    later = pack({**header, "__metadata__": metadata_of(config, tensors)}, data)
    error = outcome(later, tmp_path / "a")
    assert "unknown units 'poisson'; if a newer deepgen has written the file, update" in str(error)


# --------------------------------------------------------------------------------------- damage


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


# ------------------------------------------------------------------------------ hostile headers


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
    tensors = model_files.describe(small_model())[1]

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


# --------------------------------------------------------------------------- numbers and shapes


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["weights.0", "layers.0.bias", "layers.1.log_precision"])
def test_numbers_that_are_not_finite_are_refused(bad, name, tmp_path):
    """Would catch NaN weights, from which u < NaN samples zeros in silence."""
    model = dg.BoltzmannMachine([dg.Binary(4), dg.Gaussian(3)], [np.ones((4, 3))])
    config, tensors = model_files.describe(model)
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
    config, tensors = model_files.describe(model)
    tensors = {**tensors, "layers.0.log_precision": np.array([0, value, 0], np.float32)}
    metadata = metadata_of({"format_version": 1, **config, "extra": {}}, tensors)
    error = outcome(serialize(tensors, metadata=metadata), tmp_path / "a")
    assert isinstance(error, dg.ModelFileError)
    assert "log_precision" in str(error)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.uint8, np.bool_])
def test_other_dtypes_are_refused(dtype, tmp_path):
    """Would catch bytes read as another type."""
    config, tensors = model_files.describe(small_model())
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
    config, tensors = model_files.describe(small_model())
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
    model_files.save(small_model(), blob_path)
    data = blob_path.read_bytes()
    with path.open("wb") as file:
        file.write(data)
        file.truncate(3 * 10**9)
    load = dg.load  # it comes with scikit-learn, which reads files of its own
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("the whole file was read"))
    with pytest.raises(dg.ModelFileError, match="3000000000"):
        load(path)
    monkeypatch.setattr(model_files, "MAX_BYTES", 10**9)
    with pytest.raises(dg.ModelFileError, match="more than"):
        load(path)


# ----------------------------------------------------------------------------------------- code


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


@pytest.mark.parametrize("module", [model_files, registry], ids=lambda module: module.__name__)
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
