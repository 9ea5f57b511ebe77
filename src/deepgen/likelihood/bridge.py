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
    ours, theirs = accepted(ratio)
    n = len(forward)
    if clusters is None:
        clusters = n + np.arange(len(reverse))
    _, numbers = np.unique(np.concatenate([np.arange(n), clusters]), return_inverse=True)
    share = np.bincount(numbers[:n], ours - ours.mean(), numbers.max() + 1)
    share -= np.bincount(numbers[n:], theirs - theirs.mean(), numbers.max() + 1)
    slope = (ours * (1.0 - ours)).sum() + (theirs * (1.0 - theirs)).sum()
    if slope <= 1e-12 * len(both):
        return ratio, math.inf
    return ratio, float(np.sqrt((share**2).sum()) / slope)
