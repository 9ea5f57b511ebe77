"""The file format: one model, one safetensors file (docs/architecture.md, "Files").

The configuration is JSON in the file's metadata, with a format version and a closed registry of
names; every tensor's shape is recomputed from it, and a checksum covers both. Nothing in a file
is ever imported or run.
"""

import hashlib
import json
import math
import os
import secrets
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

from deepgen.errors import ModelFileError
from deepgen.models import BernoulliMixture, BoltzmannMachine
from deepgen.units import Binary, Gaussian, Softmax

FORMAT_VERSION = 1
MAX_BYTES = 8 * 2**30
MAX_HEADER = 2**20
MAX_LAYERS = 64
MAX_UNITS = 10_000_000

_UNITS = {"binary": Binary, "gaussian": Gaussian, "softmax": Softmax}
_UNIT_OPTIONS = {
    "binary": {"n_copies": int},
    "gaussian": {"learn_precision": bool},
    "softmax": {"n_categories": int},
}
_VECTORS = {"binary": ("bias",), "gaussian": ("bias", "log_precision"), "softmax": ("bias",)}


def describe(model):
    """Return (configuration, tensors) of a model: plain data and float32 arrays."""
    if isinstance(model, BernoulliMixture):
        tensors = {"log_weights": model.log_weights, "logits": model.logits}
        sizes = {"n_features": model.n_features, "n_components": model.n_components}
        return {"model": "BernoulliMixture", **sizes}, tensors
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


def save(model, path, *, extra=None):
    """Write a model to a file, atomically: the previous file stays until the new one is whole.

    Parameters
    ----------
    model : BoltzmannMachine or BernoulliMixture
    path : str or path-like
    extra : dict or None
        Plain JSON data kept beside the configuration (the estimator's name and seed).

    Raises
    ------
    OSError
        If the file cannot be written; an existing file is unharmed.
    """
    config, tensors = describe(model)
    header = {"format_version": FORMAT_VERSION, **config, "extra": extra or {}}
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    header["sha256"] = _checksum(header, contiguous)
    # one entry: safetensors writes several in an order that changes from call to call
    metadata = {"deepgen": json.dumps(header, sort_keys=True, allow_nan=False)}
    write_atomically(path, serialize(contiguous, metadata=metadata))


def _checksum(config, tensors):
    """SHA-256 of the configuration and the tensors by name: finds damage, proves no origin."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, allow_nan=False).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name])
    return digest.hexdigest()


def write_atomically(path, data):
    """Write bytes beside `path`, flush them to the disk, and rename: never half a file."""
    path = Path(path)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _refuse_duplicates(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a name stands twice in the header")
    return dict(pairs)


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def _json(text):
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
        header = _json(start[:length].decode())
        metadata = header.pop("__metadata__")
        config = _json(metadata.pop("deepgen"))
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


_COMMON = {"format_version", "model", "extra", "sha256"}
_OWN = {
    "BoltzmannMachine": {"layers", "observed"},
    "BernoulliMixture": {"n_features", "n_components"},
}


def _mixture_shapes(n_features, n_components):
    return {"log_weights": (n_components,), "logits": (n_features, n_components)}


def _check_config(path, config):
    version = config.get("format_version")
    _require(_is_count(version, math.inf), path, "it has no format_version")
    _require(
        version <= FORMAT_VERSION, path,
        f"format version {version} is newer than {FORMAT_VERSION}; update deepgen to read it",
    )  # fmt: skip
    model = config.get("model")
    _require(isinstance(model, str) and model in _OWN, path, f"unknown model {model!r}")
    _require(
        set(config) == _COMMON | _OWN[model], path,
        "the configuration has unknown or missing entries",
    )  # fmt: skip
    _require(isinstance(config["extra"], dict), path, "extra is not an object")
    if model == "BernoulliMixture":
        for name in sorted(_OWN[model]):
            _require(_is_count(config[name], MAX_UNITS), path, f"{name} is not valid")
    else:
        _check_layers(path, config)


def _check_layers(path, config):
    layers = config["layers"]
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


def _expected_shapes(config):
    if config["model"] == "BernoulliMixture":
        return _mixture_shapes(config["n_features"], config["n_components"])
    shapes, layers = {}, config["layers"]
    for l, layer in enumerate(layers):
        for name in _VECTORS[layer["units"]]:
            shapes[f"layers.{l}.{name}"] = (layer["size"],)
        if l + 1 < len(layers):
            shapes[f"weights.{l}"] = (layer["size"], layers[l + 1]["size"])
    return shapes


def load_model(path):
    """Read a model file.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    tuple of (BoltzmannMachine or BernoulliMixture, dict)
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
    expected = _expected_shapes(config)
    _require(set(shapes) == set(expected), path, "tensors are missing or unknown")
    for name, shape in expected.items():
        _require(
            shapes[name] == ("F32", shape), path,
            f"tensor {name} must be F32 of shape {shape}, got {shapes[name]}",
        )  # fmt: skip
    n_bytes = sum(4 * math.prod(shape) for shape in expected.values())
    _require(
        8 <= path.stat().st_size - n_bytes <= 8 + MAX_HEADER, path,
        f"it should hold {n_bytes} bytes of tensors, but is {path.stat().st_size} bytes long",
    )  # fmt: skip
    try:
        tensors = parse(path.read_bytes())
    except (SafetensorError, ValueError) as error:
        raise ModelFileError(f"{path}: damaged ({error})") from None
    _require(set(tensors) == set(expected), path, "tensors are missing or unknown")
    _require(config.pop("sha256") == _checksum(config, tensors), path, "damaged (wrong checksum)")
    try:
        model = _model_of(config, tensors)
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from None
    return model, config["extra"]


def _model_of(config, tensors):
    if config["model"] == "BernoulliMixture":
        return BernoulliMixture(**tensors)
    layers = []
    for l, layer in enumerate(config["layers"]):
        options = {name: layer[name] for name in _UNIT_OPTIONS[layer["units"]] if name in layer}
        vectors = {name: tensors[f"layers.{l}.{name}"] for name in _VECTORS[layer["units"]]}
        layers.append(_UNITS[layer["units"]](**options, **vectors))
    weights = [tensors[f"weights.{l}"] for l in range(len(layers) - 1)]
    return BoltzmannMachine(layers, weights, observed=config["observed"])
