"""Views of COIL-20 for tables: rows, their stretched and mirrored copies, draws of labels."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import affine_transform

from deepgen.datasets import load_coil20

SIDE, N_OBJECTS, N_VIEWS = 32, 20, 72
WIDTHS = (1.0, 0.7, 0.85, 1.15, 1.35)  # of the copies, as shares of the picture's own


class Objects(NamedTuple):
    """Grey values in [0, 1], (1440, 1024) float32; object and view of each row; copies.

    `copies` is (10, 1440, 1024) float32: the pictures, their mirror images, then the same
    stretched.
    """

    pixels: np.ndarray
    object: np.ndarray
    view: np.ndarray
    copies: np.ndarray


def objects():
    """Return the 1,440 views and their copies."""
    coil = load_coil20()
    images = coil.images / np.float32(255.0)
    copies = [
        picture.reshape(len(images), -1)
        for width in WIDTHS
        for stretched in [stretch(images, width)]
        for picture in (stretched, stretched[:, :, ::-1])
    ]
    return Objects(copies[0], coil.object, coil.view, np.stack(copies))


def stretch(images, width):
    """Return images that are stretched sideways around their middle."""
    if width == 1.0:
        return images
    middle = (SIDE - 1) / 2
    return np.stack([
        affine_transform(
            image, np.diag([1.0, 1.0 / width]), offset=[0.0, middle - middle / width], order=1,
            mode="nearest",
        )
        for image in images
    ])  # fmt: skip


def labelled(view, start):
    """Return where a draw has labels: views start, start + 18, + 36, + 54 (90 degrees apart)."""
    return view % (N_VIEWS // 4) == start
