"""Stochastic neighbours: which rows a row chooses by distances of codes, and their votes."""

import numpy as np

from deepgen.inference.processes import squared_distances
from deepgen.runtime.blas import one_blas_thread

# Numbers of a matrix of new rows by known ones that is in memory at a time.
PIECE_NUMBERS = 1 << 23


def neighbour_loss(codes, labels, temperature):
    """Return the mean of ``-log p_i`` and its gradient by the codes.

    Row i chooses row j, another one, with probability ``P_ij ~ exp(-|f_i - f_j|^2 / T)``, and
    ``p_i`` is the probability that it chooses one of its class. With Q the same choice among the
    rows of its class alone and n the number of rows that are not alone in theirs::

        G = (P - Q) / n,   M = G + G^T,   by codes: -2 / T (diag(M 1) F - M F)

    (Salakhutdinov & Hinton 2007, "Learning a nonlinear embedding by preserving class neighbourhood
    structure", equations 2 to 6; they sum p_i in place of its logarithm.)

    Parameters
    ----------
    codes : ndarray of shape (n_rows, n_units)
    labels : ndarray of shape (n_rows,), integers
        A row that is alone in its class has no p_i: it costs nothing, and others may choose it.
    temperature : float

    Returns
    -------
    tuple of (float, ndarray of shape (n_rows, n_units))
    """
    F = np.asarray(codes, np.float64)
    S = labels[:, None] == labels
    np.fill_diagonal(S, False)
    counted = S.any(axis=1)
    if not counted.any():
        return 0.0, np.zeros(F.shape)
    with one_blas_thread():
        z = squared_distances(F)
        z *= -1.0 / temperature
        np.fill_diagonal(z, -np.inf)
        P, log_all = _choice(z)
        z[~S] = -np.inf
        Q, log_same = _choice(z[counted])
        value = (log_all[counted] - log_same).mean()
        P[~counted] = 0.0
        P[counted] -= Q
        P *= 1.0 / counted.sum()
        M = P + P.T
        slopes = (-2.0 / temperature) * (M.sum(axis=1)[:, None] * F - M @ F)
    return float(value), slopes


def _choice(z):
    """Return the softmax of each row and its log normalizer; entries of -inf are never chosen.

    Each row has one that is finite.
    """
    greatest = z.max(axis=1, keepdims=True)
    chosen = np.exp(z - greatest)
    total = chosen.sum(axis=1, keepdims=True)
    chosen /= total
    return chosen, (greatest + np.log(total))[:, 0]


def votes(model, codes):
    """Return the share of each class in the choice of new rows among those that a model knows.

    ``sum over known j of class c of exp(-|f - f_j|^2 / T)``, divided by the sum over all.

    Parameters
    ----------
    model : NeighbourNetwork
    codes : ndarray of shape (n_rows, n_units)

    Returns
    -------
    ndarray of shape (n_rows, n_classes), float64
    """
    of_class = np.eye(model.n_classes)[model.labels]
    shares = np.empty((len(codes), model.n_classes))
    step = max(1, PIECE_NUMBERS // len(model.labels))
    with one_blas_thread():
        for first in range(0, len(codes), step):
            D = squared_distances(codes[first : first + step], model.codes)
            D -= D.min(axis=1, keepdims=True)
            np.exp(D / -model.temperature, out=D)
            piece = D @ of_class
            shares[first : first + step] = piece / piece.sum(axis=1, keepdims=True)
    return shares
