"""The file format: one model, one safetensors file (docs/architecture.md, "Files").

The configuration is JSON in the file's metadata, with a format version and a closed registry of
names; every tensor's shape is recomputed from it, and a checksum covers both. Nothing in a file
is ever imported or run. Files of states (``state_files.py``) share header, checksum and the way
of writing.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import secrets
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

from deepgen.errors import ModelFileError
from deepgen.models import BoltzmannMachine, Network, NetworkLayer
from deepgen.models.network import ACTIVATIONS
from deepgen.units import Binary, Gaussian, Softmax

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FORMAT_VERSION = 1
MAX_BYTES = 8 * 2**30
MAX_HEADER = 2**20
MAX_LAYERS = 64
MAX_UNITS = 10_000_000
BYTES = {"F32": 4, "F64": 8, "U8": 1, "BOOL": 1, "I32": 4, "I64": 8}  # of one element
CHUNK = 2**24  # bytes of one write

logger = logging.getLogger("deepgen")

_UNITS = {"binary": Binary, "gaussian": Gaussian, "softmax": Softmax}
_UNIT_OPTIONS = {
    "binary": {"n_copies": int},
    "gaussian": {"learn_precision": bool},
    "softmax": {"n_categories": int},
}
_VECTORS = {"binary": ("bias",), "gaussian": ("bias", "log_precision"), "softmax": ("bias",)}


def describe(model):
    """Return (configuration, tensors) of a model: plain data and float32 arrays."""
    if isinstance(model, Network):
        return _describe_network(model)
    tags = {kind: tag for tag, kind in _UNITS.items()}
    layers, tensors = [], {}
    for l, layer in enumerate(model.layers):
        if type(layer) not in tags:
            raise ValueError(
                f"layers[{l}] is a {type(layer).__name__}, which the file format does not know; "
                f"it knows {', '.join(kind.__name__ for kind in tags)}"
            )
        layers.append({"units": tags[type(layer)], "size": layer.size, **layer.options()})
        tensors |= {f"layers.{l}.{name}": value for name, value in layer.parameters().items()}
    tensors |= {f"weights.{l}": matrix for l, matrix in enumerate(model.weights)}
    config = {"model": "BoltzmannMachine", "layers": layers, "observed": list(model.observed)}
    return config, tensors


def _describe_network(network):
    layers, tensors = [], {}
    for l, layer in enumerate(network.layers):
        entry = {"activation": layer.activation, "size": layer.size}
        options = {"tied_to": layer.tied_to, "group": layer.group}
        entry |= {name: value for name, value in options.items() if value is not None}
        layers.append(entry)
        tensors[f"layers.{l}.bias"] = layer.bias
        if layer.weights is not None:
            tensors[f"weights.{l}"] = layer.weights
    return {"model": "Network", "n_inputs": network.sizes[0], "layers": layers}, tensors


def save(model, path, *, extra=None):
    """Write a model to a file, atomically: the previous file stays until the new one is whole.

    Parameters
    ----------
    model : BoltzmannMachine or Network
    path : str or path-like
    extra : dict or None
        Plain JSON data kept beside the configuration (the estimator's name and seed).

    Raises
    ------
    OSError
        If the file cannot be written; an existing file is unharmed.
    """
    config, tensors = describe(model)
    write(path, {"format_version": FORMAT_VERSION, **config, "extra": extra or {}}, tensors)


def write(path, config, tensors):
    """Write a configuration and tensors with their checksum, atomically."""
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    config = {**config, "sha256": _checksum(config, contiguous)}
    # one entry: safetensors writes several in an order that changes from call to call
    metadata = {"deepgen": json.dumps(config, sort_keys=True, allow_nan=False)}
    write_atomically(path, serialize(contiguous, metadata=metadata))


def _checksum(config, tensors):
    """SHA-256 of the configuration and the tensors by name: finds damage, proves no origin."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, allow_nan=False).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name])
    return digest.hexdigest()


def write_atomically(path, data):
    """Write bytes beside `path`, flush them to the disk, and rename: never half a file.

    What earlier writers of the same path left behind when they were killed is removed.
    """
    path = Path(path)
    _sweep(path)
    temporary, handle = _temporary(path)
    try:
        left = memoryview(data)
        while len(left):  # a write may take less than all
            left = left[os.write(handle, left[:CHUNK]) :]
        os.fsync(handle)
        os.replace(temporary, path)  # still locked: that tells others that we are alive
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _temporary(path):
    """Make a file beside `path`, locked while its writer lives."""
    while True:
        temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            return temporary, handle
        # some network disks have no locks: then nothing is swept there either
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return temporary, handle
        os.close(handle)  # swept by another writer before it was locked


def _sweep(path):
    """Remove temporary files of `path` whose writers are dead: nobody holds their locks."""
    ours = rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.tmp"
    # tidying up is no reason to fail: what is wrong with the folder, the write will say
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent) if fcntl else ():
            if re.fullmatch(ours, name):
                _remove_if_stale(path.parent / name)


def _remove_if_stale(temporary):
    handle = os.open(temporary, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        temporary.unlink(missing_ok=True)
    except BlockingIOError:
        logger.debug("%s is being written by another process", temporary)
    finally:
        os.close(handle)


def _refuse_duplicates(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a name stands twice in the header")
    return dict(pairs)


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def parse_json(text):
    """Parse JSON; a name that stands twice, NaN or Infinity is a ValueError."""
    return json.loads(text, object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)


def read_header(path):
    """Return (configuration, tensor shapes by name) of a model file, without its tensors.

    Raises
    ------
    ModelFileError
        If it is not a file of this format.
    FileNotFoundError
        If there is none.
    """
    path = Path(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise ModelFileError(f"{path}: {size} bytes is more than {MAX_BYTES}")
        return _parse_header(path, file.read(8), file.read(MAX_HEADER), size)


def _parse_header(path, prefix, start, size):
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length > min(MAX_HEADER, size - 8):
        raise ModelFileError(f"{path}: not a deepgen model file (no safetensors header)")
    try:
        header = parse_json(start[:length].decode())
        metadata = header.pop("__metadata__")
        config = parse_json(metadata.pop("deepgen"))
        shapes = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a deepgen model file ({error})") from None
    if not isinstance(config, dict) or metadata:
        raise ModelFileError(f"{path}: the configuration is not one object")
    return config, shapes


def _require(condition, path, message):
    if not condition:
        raise ModelFileError(f"{path}: {message}")


def _is_count(value, most):
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def check_version(path, config):
    """Raise ModelFileError unless this version of deepgen knows the file's."""
    version = config.get("format_version")
    _require(_is_count(version, math.inf), path, "it has no format_version")
    _require(
        version <= FORMAT_VERSION, path,
        f"format version {version} is newer than {FORMAT_VERSION}; update deepgen to read it",
    )  # fmt: skip


def _check_config(path, config):
    check_version(path, config)
    _require(
        "kind" not in config, path,
        "this is the checkpoint of a run, not a model; go on from it with fit(X, resume=...), or "
        "load_checkpoint",
    )  # fmt: skip
    if config.get("model") == "Network":
        _check_network(path, config)
        return
    _require(
        set(config) == {"format_version", "model", "layers", "observed", "extra", "sha256"}, path,
        "the configuration has unknown or missing entries",
    )  # fmt: skip
    _require(config["model"] == "BoltzmannMachine", path, f"unknown model {config['model']!r}")
    layers, extra = config["layers"], config["extra"]
    _require(isinstance(extra, dict), path, "extra is not an object")
    _require(
        isinstance(layers, list) and 2 <= len(layers) <= MAX_LAYERS, path,
        f"layers must be a list of 2 to {MAX_LAYERS}",
    )  # fmt: skip
    for layer in layers:
        _require(isinstance(layer, dict), path, "a layer is not an object")
        tag = layer.get("units")
        _require(isinstance(tag, str) and tag in _UNITS, path, f"unknown units {tag!r}")
        _require(_is_count(layer.get("size"), MAX_UNITS), path, "a layer has no valid size")
        for name, value in layer.items():
            kind = _UNIT_OPTIONS[tag].get(name)
            known = name in ("units", "size") or (kind is not None and type(value) is kind)
            _require(known, path, f"unknown or invalid layer option {name!r}")
        if tag == "softmax":
            count = layer.get("n_categories")
            _require(_is_count(count, layer["size"]), path, "softmax has no valid n_categories")
    observed = config["observed"]
    _require(
        isinstance(observed, list)
        and all(type(l) is int and 0 <= l < len(layers) for l in observed)
        and 1 <= len(set(observed)) == len(observed),
        path, "observed must list layers of the model",
    )  # fmt: skip


def _check_network(path, config):
    _require(
        set(config) == {"format_version", "model", "n_inputs", "layers", "extra", "sha256"}, path,
        "the configuration has unknown or missing entries",
    )  # fmt: skip
    layers = config["layers"]
    _require(isinstance(config["extra"], dict), path, "extra is not an object")
    _require(_is_count(config["n_inputs"], MAX_UNITS), path, "it has no valid n_inputs")
    _require(
        isinstance(layers, list) and 1 <= len(layers) <= MAX_LAYERS, path,
        f"layers must be a list of 1 to {MAX_LAYERS}",
    )  # fmt: skip
    for layer in layers:
        _require(isinstance(layer, dict), path, "a layer is not an object")
        kind = layer.get("activation")
        _require(
            isinstance(kind, str) and kind in ACTIVATIONS, path, f"unknown activation {kind!r}"
        )
        _require(_is_count(layer.get("size"), MAX_UNITS), path, "a layer has no valid size")
        for name, value in layer.items():
            known = name in ("activation", "size") or (
                (name == "group" and _is_count(value, layer["size"]))
                or (name == "tied_to" and type(value) is int and 0 <= value < len(layers))
            )
            _require(known, path, f"unknown or invalid layer option {name!r}")


def _network_shapes(config):
    shapes, below = {}, config["n_inputs"]
    for l, layer in enumerate(config["layers"]):
        shapes[f"layers.{l}.bias"] = (layer["size"],)
        if "tied_to" not in layer:
            shapes[f"weights.{l}"] = (below, layer["size"])
        below = layer["size"]
    return shapes


def _network_from(config, tensors):
    layers = [
        NetworkLayer(
            layer["activation"], tensors[f"layers.{l}.bias"], tensors.get(f"weights.{l}"),
            layer.get("tied_to"), layer.get("group"),
        )
        for l, layer in enumerate(config["layers"])
    ]  # fmt: skip
    network = Network(layers)
    if network.sizes[0] != config["n_inputs"]:
        raise ValueError(f"n_inputs is {config['n_inputs']}, but layers.0 takes {network.sizes[0]}")
    return network


def _expected_shapes(layers):
    shapes = {}
    for l, layer in enumerate(layers):
        for name in _VECTORS[layer["units"]]:
            shapes[f"layers.{l}.{name}"] = (layer["size"],)
        if l + 1 < len(layers):
            shapes[f"weights.{l}"] = (layer["size"], layers[l + 1]["size"])
    return shapes


def read_tensors(path, config, shapes):
    """Return the tensors of a file whose header is known to be right.

    Parameters
    ----------
    path : Path
    config : dict
        With its ``sha256``.
    shapes : dict of {str: (str, tuple)}
        Type and shape of each tensor, from the header.

    Raises
    ------
    ModelFileError
        If the file is not whole.
    """
    n_bytes = 0
    for tag, shape in shapes.values():
        _require(tag in BYTES and all(type(n) is int and n >= 0 for n in shape), path, "damaged")
        n_bytes += BYTES[tag] * math.prod(shape)
    _require(
        8 <= path.stat().st_size - n_bytes <= 8 + MAX_HEADER, path,
        f"it should hold {n_bytes} bytes of tensors, but is {path.stat().st_size} bytes long",
    )  # fmt: skip
    try:
        tensors = parse(path.read_bytes())
    except (SafetensorError, ValueError) as error:
        raise ModelFileError(f"{path}: damaged ({error})") from None
    _require(set(tensors) == set(shapes), path, "tensors are missing or unknown")
    signed = {name: value for name, value in config.items() if name != "sha256"}
    _require(config["sha256"] == _checksum(signed, tensors), path, "damaged (wrong checksum)")
    return tensors


def load_model(path):
    """Read a model file.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    tuple of (BoltzmannMachine or Network, dict)
        The model and the plain data saved beside it.

    Raises
    ------
    ModelFileError
        For any file that is not a whole, valid model of a known version. Nothing is imported
        or run, and no more memory is taken than about twice the file.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    config, shapes = read_header(path)
    _check_config(path, config)
    network = config["model"] == "Network"
    expected = _network_shapes(config) if network else _expected_shapes(config["layers"])
    _require(set(shapes) == set(expected), path, "tensors are missing or unknown")
    for name, shape in expected.items():
        _require(
            shapes[name] == ("F32", shape), path,
            f"tensor {name} must be F32 of shape {shape}, got {shapes[name]}",
        )  # fmt: skip
    tensors = read_tensors(path, config, shapes)
    layers = []
    try:
        if network:
            return _network_from(config, tensors), config["extra"]
        for l, layer in enumerate(config["layers"]):
            options = {name: layer[name] for name in _UNIT_OPTIONS[layer["units"]] if name in layer}
            vectors = {name: tensors[f"layers.{l}.{name}"] for name in _VECTORS[layer["units"]]}
            layers.append(_UNITS[layer["units"]](**options, **vectors))
        weights = [tensors[f"weights.{l}"] for l in range(len(layers) - 1)]
        model = BoltzmannMachine(layers, weights, observed=config["observed"])
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from None
    return model, config["extra"]
