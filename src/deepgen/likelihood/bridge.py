"""The ratio of two normalizers from log weights in both directions."""

import math

import numpy as np
from scipy.special import expit


def bridge(forward, reverse, *, clusters=None):
    """Estimate a log ratio of normalizers by Bennett's acceptance ratio.

    Parameters
    ----------
    forward : ndarray of shape (n_forward,)
        Log weights of chains from the first distribution to the second.
    reverse : ndarray of shape (n_reverse,)
        Log weights of chains the other way, from samples of the second.
    clusters : ndarray of int of shape (n_reverse,) or None
        Reverse chains of one number are not independent; numbers below ``n_forward`` name the
        forward chain that they descend from. None: all are independent.

    Returns
    -------
    tuple of (float, float)
        Estimate and its standard error, robust to clusters; infinite where the two sets of
        weights do not overlap.

    References
    ----------
    Bennett (1976), equations 12 and 13; Meng & Wong (1996), the optimal bridge.
    """
    from scipy.optimize import brentq  # slow to import, and needed here alone

    back, shift = -reverse, math.log(len(forward) / len(reverse))

    def accepted(ratio):
        return expit(forward - ratio - shift), expit(ratio + shift - back)

    def excess(ratio):
        ours, theirs = accepted(ratio)
        return ours.sum() - theirs.sum()

    both = np.concatenate([forward, back])
    low, high = both.min() - shift - 50.0, both.max() - shift + 50.0
    ratio = brentq(excess, low, high, xtol=1e-10)
    n = len(forward)
    if clusters is None:
        clusters = n + np.arange(len(reverse))
    ours, theirs, slope = influences(forward, reverse, ratio)
    _, numbers = np.unique(np.concatenate([np.arange(n), clusters]), return_inverse=True)
    share = np.bincount(numbers[:n], ours, numbers.max() + 1)
    share -= np.bincount(numbers[n:], theirs, numbers.max() + 1)
    if slope <= 1e-12 * len(both):
        return ratio, math.inf
    return ratio, float(np.sqrt((share**2).sum()) / slope)


def influences(forward, reverse, ratio):
    """Return by how much each weight moves the estimate of :func:`bridge`, times a slope.

    Parameters
    ----------
    forward, reverse : ndarray of any shape
    ratio : float
        The estimate.

    Returns
    -------
    tuple of (ndarray, ndarray, float)
        Of the shapes of `forward` and `reverse`; the estimate moves by their difference over the
        slope, which is zero where the weights do not overlap.
    """
    shift = math.log(forward.size / reverse.size)
    ours, theirs = expit(forward - ratio - shift), expit(ratio + shift + reverse)
    slope = float((ours * (1.0 - ours)).sum() + (theirs * (1.0 - theirs)).sum())
    return ours - ours.mean(), theirs - theirs.mean(), slope
