"""Grey values into bits, once and for all."""

import numpy as np

from deepgen.checks import MOST_ROWS, check_integer, real_array
from deepgen.runtime.stream import BINARIZE, Stream

# Rows that are drawn at once: memory for uniforms does not grow with the data.
BLOCK = 4096


def binarize(X, *, random_state, first_row=0):
    """Draw one fixed binary state of each grey value: 1 with probability grey.

    The usual form of MNIST for likelihoods: it is drawn once, and every model sees the same
    bits. (A threshold at one half makes other, far less noisy data, whose likelihoods cannot be
    compared.)

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        uint8 from 0 to 255, or floating values in [0, 1].
    random_state : int, RandomState, Generator or None
        One value names one binarization.
    first_row : int, default 0
        Pieces drawn with the right `first_row` equal the whole.

    Returns
    -------
    ndarray of shape (n_samples, n_features), uint8
        Zeros and ones.

    Raises
    ------
    ValueError
        If X is neither, or has more or fewer than two dimensions.

    References
    ----------
    Salakhutdinov & Murray (2008), section 5.

    Examples
    --------
    >>> import numpy as np
    >>> from deepgen.datasets import binarize
    >>> binarize(np.array([[0, 255, 0], [255, 0, 255]], np.uint8), random_state=0)
    array([[0, 1, 0],
           [1, 0, 1]], dtype=uint8)
    """
    X = real_array(X, "X")
    if X.ndim != 2:
        raise ValueError(f"X must have shape (n_samples, n_features), got {X.shape}")
    check_integer(first_row, "first_row", 0, MOST_ROWS)
    if X.dtype == np.uint8:
        white = np.float32(255.0)
    elif np.issubdtype(X.dtype, np.floating):
        white = np.float32(1.0)
        if X.size and not (X.min() >= 0.0 and X.max() <= 1.0):
            raise ValueError(
                "X must hold grey values in [0, 1] without NaN; divide by the largest value, or "
                "pass uint8 from 0 to 255"
            )
    else:
        raise ValueError(
            f"X must be uint8 (0 to 255) or floating (0 to 1), got {X.dtype}; a bool array is "
            "binary already"
        )
    stream = Stream.from_random_state(random_state)
    out = np.empty(X.shape, np.uint8)
    for start in range(0, len(X), BLOCK):
        grey = X[start : start + BLOCK]
        u = stream.uniform(*grey.shape, BINARIZE, first_row=first_row + start)
        out[start : start + BLOCK] = u < grey / white  # a quotient: the same bits as for X / 255
    return out
