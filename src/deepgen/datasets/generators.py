"""Data whose distribution is known exactly."""

import numpy as np

from deepgen.checks import check_flag, check_integer
from deepgen.runtime.stream import Stream

_MOST_LINES = 20  # 2**20 patterns of 400 pixels are 400 MB


def _drawn(lines, upright):
    """Spread lines (n, size) over squares (n, size * size): columns where `upright`, else rows."""
    size = lines.shape[1]
    square = np.repeat(lines[:, :, None], size, axis=2)  # (n, row, column), rows filled
    square = np.where(upright[:, None, None], square.transpose(0, 2, 1), square)
    return square.reshape(len(lines), size * size)


def bars_and_stripes(size=3, *, unique=True):
    """Return every bars-and-stripes pattern: squares whose rows, or whose columns, are full.

    The smallest data set with structure that no pair of pixels shows; a uniform distribution
    over the patterns has mean log-likelihood ``-log(n_patterns)``, which no model exceeds.

    Parameters
    ----------
    size : int, default 3
        Side of the square, at most 20.
    unique : bool, default True
        False lists the empty and the full square twice, once for rows and once for columns:
        the distribution of :func:`sample_bars_and_stripes`.

    Returns
    -------
    ndarray of shape (2**(size + 1) - 2, size * size), uint8
        Two rows more where `unique` is False.

    References
    ----------
    MacKay (2003), *Information Theory, Inference, and Learning Algorithms*, section 43.
    """
    check_integer(size, "size", most=_MOST_LINES)
    check_flag(unique, "unique")
    codes = np.arange(2**size)
    lines = (codes[:, None] >> np.arange(size) & 1).astype(np.uint8)
    stripes = _drawn(lines, np.zeros(len(lines), bool))
    bars = _drawn(lines, np.ones(len(lines), bool))
    if unique:
        bars = bars[1:-1]
    return np.concatenate([stripes, bars])


def sample_bars_and_stripes(n_samples, size=3, *, random_state=None):
    """Draw patterns: rows or columns by a fair coin, then each line by a fair coin.

    Parameters
    ----------
    n_samples : int
    size : int, default 3
        Side of the square.
    random_state : int, RandomState, Generator or None

    Returns
    -------
    ndarray of shape (n_samples, size * size), uint8
    """
    check_integer(size, "size", most=10_000)
    check_integer(n_samples, "n_samples", 0)
    rng = Stream.from_random_state(random_state).generator("bars and stripes")
    upright = rng.integers(0, 2, n_samples).astype(bool)
    return _drawn(rng.integers(0, 2, (n_samples, size), np.uint8), upright)
