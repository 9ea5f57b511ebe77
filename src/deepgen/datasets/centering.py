"""Pictures of single digits, brought to the place and size that those of MNIST have."""

import numpy as np

from deepgen.checks import real_array

SIDE = 28  # of the pictures of MNIST
BOX = 20  # longer side of the ink in them


def center_digits(images):
    """Return pictures of digits as rows that look as MNIST's do: scaled and centred.

    The rectangle around the ink is scaled so that its longer side is 20 pixels, and its centre of
    mass is put on pixel 14 of 28, counted from 0, downwards and across, to the nearest pixel. A
    model that was trained on MNIST reads a drawn digit so; where it is drawn too small, or in a
    corner, the same model takes it for another one.

    Parameters
    ----------
    images : array-like of shape (n_images, height, width) or (height, width)
        Ink is bright, paper 0: uint8 from 0 to 255, or floating values in [0, 1].

    Returns
    -------
    ndarray of shape (n_images, 784), float32
        In [0, 1], row after row of the pictures. All zero where there is no ink.

    Raises
    ------
    ValueError
        If images have other values, or another shape; dark ink on bright paper has to be inverted
        first, for example ``255 - image``.

    References
    ----------
    LeCun, Bottou, Bengio & Haffner (1998), section III A.

    Examples
    --------
    >>> import numpy as np
    >>> from deepgen.datasets import center_digits
    >>> image = np.zeros((200, 100), np.uint8)
    >>> image[10:50, 20:24] = 255  # a stroke in a corner, 40 pixels long and 4 wide
    >>> rows = center_digits(image)
    >>> np.argwhere(rows.reshape(28, 28).any(axis=1)).ravel()[[0, -1]].tolist()
    [5, 24]
    """
    values = real_array(images, "images")
    if values.ndim not in (2, 3) or 0 in values.shape[-2:]:
        raise ValueError(
            "images must have shape (n_images, height, width) or (height, width) with pixels, got "
            f"{values.shape}; rows of 784 pixels are rows.reshape(-1, 28, 28)"
        )
    if values.dtype == np.uint8:
        grey = values / np.float32(255.0)
    elif np.issubdtype(values.dtype, np.floating):
        if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):
            raise ValueError(
                "images must hold grey values in [0, 1] without NaN; divide by the largest value, "
                "or pass uint8 from 0 to 255"
            )
        grey = values
    else:
        raise ValueError(
            f"images must be uint8 (0 to 255) or floating (0 to 1), got {values.dtype}; convert "
            "them, for example images.astype(float)"
        )
    pictures = [_centred(image) for image in grey.reshape(-1, *values.shape[-2:])]
    return np.array(pictures, np.float32).reshape(-1, SIDE * SIDE)


def _centred(image):
    """Return one picture of 28 x 28; see docs/math.md, "Drawn digits"."""
    picture = np.zeros((SIDE, SIDE))
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    if not len(rows):
        return picture
    ink = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float64)
    step = max(ink.shape) / BOX  # pixels of the drawing in one of the picture
    ink = _mean_over_cells(ink, step)
    ink = _mean_over_cells(ink.T, step).T
    place = [_first(ink.sum(axis=1 - axis)) for axis in (0, 1)]
    picture[place[0] : place[0] + ink.shape[0], place[1] : place[1] + ink.shape[1]] = ink
    return np.minimum(picture, 1.0)  # sums of parts of one can round to a little more


def _mean_over_cells(ink, step):
    """Return means over cells of `step` rows, the last of which may reach beyond the ink.

    A row that lies in two cells counts in each by the part of it that lies there.
    """
    n_rows = len(ink)
    n_cells = min(BOX, max(1, round(n_rows / step)))
    # a side that is no whole number of cells is stretched to one
    edges = np.linspace(0.0, n_rows, n_cells + 1)
    first = np.arange(n_rows)
    overlap = np.minimum(edges[1:, None], first + 1) - np.maximum(edges[:-1, None], first)
    return np.maximum(overlap, 0.0) @ ink * (n_cells / n_rows)


def _first(mass):
    """Return where ink with these sums over lines begins, so that it is centred and whole."""
    middle = np.arange(len(mass)) @ mass / mass.sum()
    return int(np.clip(np.floor(SIDE // 2 - middle + 0.5), 0, SIDE - len(mass)))
