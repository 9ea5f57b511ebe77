"""Model files: one model, one safetensors file (docs/files.md).

The header holds a configuration as JSON, whose ``model`` names one of the schemas (``schemas``).
From the configuration follows the shape of every tensor, and a checksum covers both. Nothing in a
file is ever imported or run. Checkpoints (``trees.py``) have the same header and checksum, and are
written and read by the functions of this module.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

from deepgen.checks import as_path
from deepgen.errors import ModelFileError
from deepgen.io import texts
from deepgen.io.atomic import write_atomically
from deepgen.io.schemas.registry import describe, schema_for, schema_of
from deepgen.io.schemas.schema import is_count

FORMAT_VERSION = 2
MAX_BYTES = 8 * 2**30  # of a file that is read
MAX_HEADER = 2**20  # bytes of its header
BYTES = {"F32": 4, "F64": 8, "U8": 1, "BOOL": 1, "I32": 4, "I64": 8}  # of one element of a tensor

# What the values of a JSON text may take in memory, in bytes, where so many times its length is
# less; and about what each of them takes. A line of a history takes four times its length.
LEAST_JSON, TIMES_JSON = 2**24, 8
_LIST, _OBJECT, _VALUE = 64, 240, 40

# Entries of a configuration beside those of the model itself.
_COMMON = {"format_version", "extra", "sha256"}
# Lists of texts in `extra` stand as tensors where they have one of these names or, as JSON, more
# than this many characters (texts.py).
_NAMES_OF_TEXTS = ("feature_names", "user_ids", "item_ids")
_LONG_TEXTS = 2**16

logger = logging.getLogger("deepgen")


def save(model, path, *, extra=None):
    """Write a model to a file, atomically: the previous file stays until the new one is whole.

    Parameters
    ----------
    model : BoltzmannMachine, or another one of ``io.schemas.registry.SCHEMAS``
    path : str or path-like
    extra : dict or None
        Plain JSON data beside the configuration (the estimator's name and seed). Lists of texts
        may be of any length.

    Raises
    ------
    ValueError
        If the configuration would take more than the header of a file may.
    OSError
        If the file cannot be written; an existing file is unharmed.
    """
    path = as_path(path)
    config, tensors = describe(model)
    extra = dict(extra or {})
    lists = {name: extra.pop(name) for name in sorted(extra) if _is_for_tensors(name, extra[name])}
    for name, values in lists.items():
        tensors |= texts.tensors_of(name, values)
    if lists:
        config["texts"] = {name: texts.sizes_of(name, tensors) for name in lists}
    version = schema_for(model).format_version
    write(path, {"format_version": version, **config, "extra": extra}, tensors)


def _is_for_tensors(name, value):
    """Tell whether an entry of `extra` is a list of texts that stands as tensors."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        return False
    return bool(value) and (name in _NAMES_OF_TEXTS or len(json.dumps(value)) > _LONG_TEXTS)


def write(path, config, tensors):
    """Write a configuration and tensors with their checksum, atomically."""
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    config = {**config, "sha256": checksum(config, contiguous)}
    # one entry: safetensors writes several in an order that changes from call to call
    metadata = {"deepgen": json.dumps(config, sort_keys=True, allow_nan=False)}
    blob = serialize(contiguous, metadata=metadata)
    n_bytes = int.from_bytes(blob[:8], "little")
    if n_bytes > MAX_HEADER:
        raise ValueError(
            f"the header of {path} would take {n_bytes} bytes, and none that is read takes more "
            f"than {MAX_HEADER}; save a model of fewer layers or with fewer classes"
        )
    write_atomically(path, blob)


def checksum(config, tensors):
    """SHA-256 of the configuration and the tensors by name: finds damage, proves no origin."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, allow_nan=False).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name])
    return digest.hexdigest()


def _refuse_duplicates(pairs):
    """Make a dict of (name, value) pairs; raise ValueError where a name stands twice."""
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a name stands twice in the header")
    return dict(pairs)


def _refuse_constant(name):
    """Raise ValueError for NaN and Infinity, which Python's parser would let through."""
    raise ValueError(f"{name} is not JSON")


def _finite(digits):
    """Return the number that digits stand for; ValueError for 1e999, which would be infinite."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:40]} is beyond all numbers")
    return number


def check_json(text):
    """Raise ValueError where the values of a JSON text would take far more memory than its bytes.

    An empty list is three bytes, with its comma, and 64 in memory.
    """
    n_bytes = _LIST * text.count("[") + _OBJECT * text.count("{") + _VALUE * text.count(",")
    if n_bytes > max(LEAST_JSON, TIMES_JSON * len(text)):
        raise ValueError("too many values for its size")


def parse_json(text):
    """Parse JSON after :func:`check_json`.

    A name that stands twice, or a number that is not finite, is a ValueError.
    """
    check_json(text)
    return json.loads(
        text, object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant,
        parse_float=_finite,
    )  # fmt: skip


@dataclass(frozen=True)
class ModelFile:
    """An open file whose header has been read.

    All is read by one handle, so that header and tensors belong together even where another
    process replaces the file meanwhile.

    Attributes
    ----------
    path : Path
        For messages.
    handle : binary file
    size : int
        Bytes.
    config : dict
    shapes : dict of {str: (str, tuple)}
        Type and shape of each tensor, from the header.
    """

    path: Path
    handle: BinaryIO
    size: int
    config: dict
    shapes: dict


@contextlib.contextmanager
def opened(path):
    """Open a file of this format and read its header; yields a :class:`ModelFile`.

    Raises
    ------
    ModelFileError
        If it is not a file of this format.
    FileNotFoundError
        If there is none.
    """
    path = as_path(path)
    mode = path.stat().st_mode  # before it is opened: a pipe would wait for its writer
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ModelFileError(f"{path}: a device, pipe or socket; name a regular file")
    with path.open("rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        if size > MAX_BYTES:
            raise ModelFileError(f"{path}: {size} bytes is more than {MAX_BYTES}")
        config, shapes = _parse_header(
            path, handle.read(8), handle.read(min(MAX_HEADER, size)), size
        )
        yield ModelFile(path, handle, size, config, shapes)


def _parse_header(path, prefix, start, size):
    """Return (configuration, tensor shapes by name) from the first bytes of a file.

    Parameters
    ----------
    path : Path
        For messages.
    prefix : bytes
        The first eight: how long the header is.
    start : bytes
        What follows, at least the header if the file has one of an allowed length.
    size : int
        Bytes of the file.
    """
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
    """Raise ModelFileError unless a condition holds."""
    if not condition:
        raise ModelFileError(f"{path}: {message}")


def check_version(path, config):
    """Raise ModelFileError unless this version of deepgen knows the file's."""
    version = config.get("format_version")
    _require(is_count(version, math.inf), path, "it has no format_version")
    _require(
        version <= FORMAT_VERSION, path,
        f"format version {version} is newer than {FORMAT_VERSION}; update deepgen to read it",
    )  # fmt: skip


def _model_schema(path, config):
    """Return (entries, schema): the entries of a configuration that the model's schema reads."""
    check_version(path, config)
    _require(
        "kind" not in config, path,
        "this is the checkpoint of a run, not a model; go on from it with fit(X, resume=...), or "
        "load_checkpoint",
    )  # fmt: skip
    _require(
        set(config) >= _COMMON, path, "the configuration has unknown or missing entries"
    )
    _require(isinstance(config["extra"], dict), path, "extra is not an object")
    entries = {
        name: value for name, value in config.items() if name not in _COMMON and name != "texts"
    }
    try:
        schema = schema_of(entries)
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from None
    version = config["format_version"]
    _require(
        version == schema.format_version, path,
        f"damaged (a {entries['model']} has format version {schema.format_version}, not {version})",
    )  # fmt: skip
    return entries, schema


def read_tensors(file):
    """Read the tensors of a file, after its header was checked; checks length and checksum.

    Parameters
    ----------
    file : ModelFile
        Its configuration has a ``sha256``.

    Raises
    ------
    ModelFileError
        If the file is not whole.
    """
    # before any of it is read: the tensors of the header must fill the file, but for the header
    # itself and the eight bytes of its length, or a small file could ask for much memory
    path, config, n_bytes = file.path, file.config, 0
    for tag, shape in file.shapes.values():
        _require(tag in BYTES and all(type(n) is int and n >= 0 for n in shape), path, "damaged")
        n_bytes += BYTES[tag] * math.prod(shape)
    _require(
        8 <= file.size - n_bytes <= 8 + MAX_HEADER, path,
        f"it should hold {n_bytes} bytes of tensors, but is {file.size} bytes long",
    )  # fmt: skip
    file.handle.seek(0)
    try:
        tensors = parse(file.handle.read(file.size))
    except (SafetensorError, ValueError) as error:
        raise ModelFileError(f"{path}: damaged ({error})") from None
    _require(set(tensors) == set(file.shapes), path, "tensors are missing or unknown")
    signed = {name: value for name, value in config.items() if name != "sha256"}
    _require(config["sha256"] == checksum(signed, tensors), path, "damaged (wrong checksum)")
    return tensors


def load_model(path):
    """Read a model file.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    tuple of (model, dict)
        The model and the plain data saved beside it.

    Raises
    ------
    ModelFileError
        For any file that is not a whole, valid model of a known version. Nothing is imported
        or run, and no more memory is taken than about twice the file.
    FileNotFoundError
        If there is no such file.
    """
    with opened(path) as file:
        return read_model(file)


def read_model(file):
    """Return (model, plain data saved beside it) of an open file; see :func:`load_model`."""
    path, shapes = file.path, file.shapes
    entries, schema = _model_schema(path, file.config)
    expected = {name: ("F32", shape) for name, shape in schema.shapes(entries).items()}
    sizes, extra = file.config.get("texts", {}), dict(file.config["extra"])
    try:
        expected |= texts.shapes(sizes) if "texts" in file.config else {}
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from None
    _require(not set(sizes) & set(extra), path, "a name stands in texts and in extra")
    _require(set(shapes) == set(expected), path, "tensors are missing or unknown")
    for name, (tag, shape) in expected.items():
        _require(
            shapes[name] == (tag, shape), path,
            f"tensor {name} must be {tag} of shape {shape}, got {shapes[name]}",
        )  # fmt: skip
    tensors = read_tensors(file)
    try:
        extra |= {name: texts.texts_of(name, tensors) for name in sizes}
        tensors = {name: value for name, value in tensors.items() if expected[name][0] == "F32"}
        model = schema.build(entries, tensors)
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from None
    return model, extra
