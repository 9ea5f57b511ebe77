"""Model files by hand: a small model, its bytes taken apart and put together."""

import hashlib
import json

import numpy as np

import deepgen as dg

# dg.load brings scikit-learn at its first use: before any test counts memory or modules
from deepgen.estimators import loading  # noqa: F401
from deepgen.io import model_files


def small_model(seed=0, n_hidden=3):
    """A model of 4 visible and a few hidden units with random parameters."""
    rng = np.random.default_rng(seed)
    return dg.BoltzmannMachine(
        [dg.Binary(bias=rng.normal(size=4)), dg.Binary(bias=rng.normal(size=n_hidden))],
        [rng.normal(size=(4, n_hidden))],
    )


def same(one, other):
    """Tell whether two models are equal to the last bit, options included."""
    config, tensors = model_files.describe(one)
    other_config, others = model_files.describe(other)
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


def config_of(header):
    """The library's own part of a header."""
    return json.loads(header["__metadata__"]["deepgen"])


def pack(header, data):
    """Bytes of a safetensors file with any header (a dict or raw bytes) and any data."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def unpack(blob):
    """Header and data of the bytes of a safetensors file."""
    length = int.from_bytes(blob[:8], "little")
    return json.loads(blob[8 : 8 + length]), blob[8 + length :]
