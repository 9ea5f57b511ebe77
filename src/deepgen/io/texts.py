"""Lists of texts as tensors: names of columns may take more bytes than a file's header holds.

A list becomes two tensors. ``texts.<name>.bytes`` (U8) is all texts in UTF-8, one behind the other;
``texts.<name>.ends`` (I64) says before which byte each of them ends. Half a surrogate pair, which a
Python text may hold, is written as Python writes it ("surrogatepass").
"""

import numpy as np

from deepgen.io.schemas.schema import is_count, require

# Users may be more than the units of a layer; that the file has so many texts is checked.
MAX_TEXTS = 2**31 - 1


def tensors_of(name, texts):
    """Return the tensors of a list of texts, by name."""
    pieces = [text.encode("utf-8", "surrogatepass") for text in texts]
    return {
        f"texts.{name}.bytes": np.frombuffer(b"".join(pieces), np.uint8),
        f"texts.{name}.ends": np.cumsum([len(piece) for piece in pieces], dtype=np.int64),
    }


def sizes_of(name, tensors):
    """Return the entry of a list in the configuration: [number of texts, bytes of all of them]."""
    return [len(tensors[f"texts.{name}.ends"]), len(tensors[f"texts.{name}.bytes"])]


def shapes(sizes):
    """Return {name: (type, shape)} of the tensors of all lists of a configuration.

    Parameters
    ----------
    sizes : dict
        The entry ``texts`` of the configuration, not checked yet.

    Raises
    ------
    ValueError
        If it is no dictionary of two numbers each.
    """
    require(isinstance(sizes, dict) and sizes, "texts is not an object of sizes")
    expected = {}
    for name, size in sizes.items():
        require(
            isinstance(size, list) and len(size) == 2 and is_count(size[0], MAX_TEXTS)
            and type(size[1]) is int and size[1] >= 0,
            f"texts {name!r} have no valid sizes",
        )  # fmt: skip
        expected[f"texts.{name}.bytes"] = ("U8", (size[1],))
        expected[f"texts.{name}.ends"] = ("I64", (size[0],))
    return expected


def texts_of(name, tensors):
    """Return the list of texts of tensors of the right shapes; ValueError where damaged."""
    data, ends = tensors[f"texts.{name}.bytes"].tobytes(), tensors[f"texts.{name}.ends"]
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    require(
        bool((starts <= ends).all()) and ends[-1] == len(data) and ends[0] >= 0,
        f"texts {name!r} end outside of their bytes",
    )
    try:
        return [
            data[start:end].decode("utf-8", "surrogatepass")
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
    except UnicodeDecodeError:
        raise ValueError(f"texts {name!r} are not UTF-8") from None
