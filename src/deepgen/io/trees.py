"""Trees of plain data in files: the state that a run needs to go on (docs/files.md, "Checkpoints").

A tree is made of dictionaries with string keys, lists, strings, numbers, True, False, None, and
NumPy arrays. In the file each array is a tensor, named by its JSON pointer (RFC 6901), such as
``/trainer/rule/particles/0``: the names and list numbers on the way to it. The rest is one JSON
text, in which ``{"$array": [type, shape...]}`` stands in the place of each array.
"""

import json
import math

import numpy as np

from deepgen.errors import ModelFileError
from deepgen.io import model_files

KIND = "checkpoint"
_TREE = "tree"  # the tensor that holds the JSON text; those of arrays begin with "/"
_DTYPES = {"F32": "<f4", "F64": "<f8", "U8": "|u1", "BOOL": "|b1", "I32": "<i4", "I64": "<i8"}
_TAGS = {dtype: tag for tag, dtype in _DTYPES.items()}
_ARRAY, _FLOAT = "$array", "$float"
MAX_DEPTH, MAX_POINTER = 32, 4_000  # of a part: levels above it, characters of its pointer
MAX_TEXT = 2**25  # bytes of the JSON text: a history of 150,000 epochs


def plain(value):
    """Return a copy of a tree in which NumPy numbers are Python's and tuples are lists.

    Raises
    ------
    ValueError
        If something in it is no plain data; the message says where.
    """
    return _map(value, "", lambda array, pointer: array)


def _map(value, pointer, of_array):
    """Return a copy of a part of a tree, its arrays replaced by ``of_array(array, pointer)``."""
    # a list that holds itself ends here, and so does a name too long for a tensor
    if len(pointer) > MAX_POINTER or pointer.count("/") > MAX_DEPTH:
        raise ValueError(f"a state must be at most {MAX_DEPTH} levels deep, got more")
    if isinstance(value, np.ndarray) and value.ndim:
        return of_array(value, pointer)
    if isinstance(value, np.ndarray | np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_map(part, f"{pointer}/{i}", of_array) for i, part in enumerate(value)]
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str) or name in (_ARRAY, _FLOAT):
                raise ValueError(f"names in {pointer or 'a state'} must be strings, got {name!r}")
        return {name: _map(part, _inside(pointer, name), of_array) for name, part in value.items()}
    raise ValueError(
        f"{pointer.lstrip('/') or 'a state'} must be plain data or an array, got a "
        f"{type(value).__name__}"
    )


def _inside(pointer, name):
    """Return the pointer to a named part, escaped so that no two parts share one."""
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"


def _marked(value):
    """Return JSON values in which infinities and NaN are spelled out: JSON has none."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: repr(value)}
    if isinstance(value, list):
        return [_marked(part) for part in value]
    if isinstance(value, dict):
        return {name: _marked(part) for name, part in value.items()}
    return value


def save(tree, path):
    """Write a tree to a file, atomically.

    Parameters
    ----------
    tree : dict
    path : str or path-like

    Raises
    ------
    OSError
        If the file cannot be written; an existing file is unharmed.
    ValueError
        If something in the tree is no plain data.
    """
    tensors = {}

    # an array becomes a tensor, and what stands for it in the JSON text says what it has to be
    def named(array, pointer):
        if array.dtype.str not in _TAGS:
            raise ValueError(f"{pointer} must have one of the types {list(_DTYPES)}: {array.dtype}")
        tensors[pointer] = np.ascontiguousarray(array)
        return {_ARRAY: [_TAGS[array.dtype.str], *array.shape]}

    text = json.dumps(_marked(_map(tree, "", named)), allow_nan=False)
    model_files.check_json(text)  # what could not be read again is not written
    text = text.encode()
    if len(text) > MAX_TEXT:
        raise ValueError(
            f"a state must have at most {MAX_TEXT} bytes beside its arrays, got {len(text)}: its "
            "history is too long; train in several calls of fewer epochs"
        )
    tensors[_TREE] = np.frombuffer(text, np.uint8)
    model_files.write(path, {"format_version": model_files.FORMAT_VERSION, "kind": KIND}, tensors)


def load(path):
    """Read a tree.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    dict
        Its arrays are read-only.

    Raises
    ------
    ModelFileError
        For any file that is not a whole checkpoint of a known version. Nothing is imported or
        run.
    FileNotFoundError
        If there is no such file.
    """
    with model_files.opened(path) as file:
        path, config = file.path, file.config
        model_files.check_version(path, config)
        if config.get("kind") != KIND or set(config) != {"format_version", "kind", "sha256"}:
            raise ModelFileError(
                f"{path}: not a checkpoint of a run"
                + ("; it is a model, which deepgen.load reads" if "model" in config else "")
            )
        for name, (tag, _) in file.shapes.items():
            if tag not in _DTYPES or not (name == _TREE or name.startswith("/")):
                raise ModelFileError(f"{path}: unknown tensor {name!r} of type {tag!r}")
        tensors = model_files.read_tensors(file)
    try:
        text = tensors.pop(_TREE)
        if text.nbytes > MAX_TEXT:
            raise ValueError(f"more than {MAX_TEXT} bytes of plain data")
        text = str(text.data, "utf-8")
        tree = model_files.parse_json(text)
        tree = _unmarked(tree, "", tensors) if isinstance(tree, dict) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{path}: damaged (no state: {error})") from None
    if tensors or not isinstance(tree, dict):
        raise ModelFileError(f"{path}: damaged (tensors that the state does not name)")
    return tree


def _unmarked(value, pointer, tensors):
    """Return a part of the tree, a list or dict, with arrays and infinities back in their place.

    Each array is taken out of `tensors`, so that what is left there belongs to no part.
    """
    if len(pointer) > MAX_POINTER:
        raise ValueError("names too long for a state")
    if isinstance(value, dict) and set(value) == {_FLOAT}:
        if value[_FLOAT] not in ("nan", "inf", "-inf"):
            raise ValueError(f"{pointer} is no number")
        return float(value[_FLOAT])
    if isinstance(value, dict) and set(value) == {_ARRAY}:
        array, (tag, *shape) = tensors.pop(pointer), value[_ARRAY]
        if _TAGS.get(array.dtype.str) != tag or list(array.shape) != shape:
            raise ValueError(f"array {pointer} should be {tag} of shape {shape}")
        array.flags.writeable = False
        return array
    # in place: a copy would take as much memory again
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(part, dict | list):
            inner = _inside(pointer, key) if isinstance(value, dict) else f"{pointer}/{key}"
            value[key] = _unmarked(part, inner, tensors)
    return value


def check_structure(tree, expected, name):
    """Raise ValueError unless two trees agree in names, types, shapes and dtypes.

    Parameters
    ----------
    tree, expected
        The values of numbers and strings, and those in arrays, may differ.
    name : str
        What the message calls the tree.
    """
    if isinstance(expected, np.ndarray):
        type_and_shape = isinstance(tree, np.ndarray) and (tree.dtype, tree.shape)
        if type_and_shape != (expected.dtype, expected.shape):
            raise ValueError(
                f"{name} must be an array of {expected.dtype} and shape {expected.shape}, got "
                f"{type_and_shape or type(tree).__name__}"
            )
    elif isinstance(expected, dict):
        if not isinstance(tree, dict) or set(tree) != set(expected):
            raise ValueError(f"{name} must hold {sorted(expected)}, got {_names(tree)}")
        for part, value in expected.items():
            check_structure(tree[part], value, f"{name}.{part}")
    elif isinstance(expected, list):
        if not isinstance(tree, list) or len(tree) != len(expected):
            raise ValueError(f"{name} must be a list of {len(expected)}, got {_names(tree)}")
        for i, value in enumerate(expected):
            check_structure(tree[i], value, f"{name}[{i}]")
    elif type(tree) is not type(expected):
        raise ValueError(f"{name} must be {type(expected).__name__}, got {type(tree).__name__}")


def _names(value):
    """Say in a few words what a value is that should be a dictionary or a list."""
    return sorted(value) if isinstance(value, dict) else type(value).__name__
