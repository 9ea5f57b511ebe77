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
    F, labels = np.asarray(codes, np.float64), np.asarray(labels)
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    classes = [rows for rows in classes if len(rows) > 1]
    if not classes:
        return 0.0, np.zeros(F.shape)
    n_counted = sum(map(len, classes))
    with one_blas_thread():
        z = squared_distances(F)
        z *= -1.0 / temperature
        np.fill_diagonal(z, -np.inf)
        own = [z[np.ix_(rows, rows)] for rows in classes]  # before z is overwritten
        P, log_all = _choice(z)
        G, value = np.zeros(P.shape), 0.0
        for rows, z_own in zip(classes, own, strict=True):
            Q, log_own = _choice(z_own)
            value += (log_all[rows] - log_own).sum()
            G[rows] = P[rows]
            G[np.ix_(rows, rows)] -= Q
        G *= 1.0 / n_counted
        M = G + G.T
        slopes = (-2.0 / temperature) * (M.sum(axis=1)[:, None] * F - M @ F)
    return float(value / n_counted), slopes


def _choice(z):
    """Return the softmax of each row, in place of `z`, and its log normalizer.

    Entries of -inf are never chosen; each row has one that is finite.
    """
    greatest = z.max(axis=1, keepdims=True)
    z -= greatest
    chosen = np.exp(z, out=z)
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
