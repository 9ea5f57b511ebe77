"""What users pass as ratings, and how lists of recommendations are judged."""

import numpy as np
from scipy import sparse

from deepgen.checks import shown
from deepgen.rows.patterns import PatternedRows
from deepgen.rows.states import checked_csr


def ratings_matrix(X):
    """Return ratings as a CSR matrix, each pair at most once, columns ascending within a row.

    The arrays of such a matrix are not copied.

    Raises
    ------
    TypeError
        For a dense array, or a matrix of blocks or diagonals: they do not say what is not rated.
    ValueError
        If a pair is there twice, or the matrix is damaged.
    """
    if not sparse.issparse(X):
        raise TypeError(
            "X must be a dg.Ratings, or a sparse matrix of users by items, whose stored entries "
            f"are the ratings, got {type(X).__name__}; write dg.Ratings.from_triples(users, items, "
            "ratings), or for a table dg.Ratings.from_frame(frame, user=..., item=..., rating=...)"
        )
    if X.format in ("bsr", "dia"):
        raise TypeError(
            f"X must store ratings one by one, got a sparse matrix of format {X.format!r}, which "
            "stores zeros of whole blocks or diagonals: they would be ratings of zero, or ratings "
            "of zero would be lost; build a scipy.sparse.csr_array from triples"
        )
    if X.format == "coo" and X.ndim == 2:  # which adds up, as CSR, what stands for one pair
        _refuse_pairs(X.coords[0].astype(np.int64) * X.shape[1] + X.coords[1])
    matrix = checked_csr(X)
    if not matrix.has_sorted_indices:
        matrix = matrix.sorted_indices()
    if not matrix.has_canonical_format:
        users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        _refuse_pairs(users * np.int64(matrix.shape[1]) + matrix.indices)
    return matrix


def _refuse_pairs(pairs):
    unique, counts = np.unique(pairs, return_counts=True)
    if len(unique) != len(pairs):
        raise ValueError(
            f"X must have one rating for a user and an item, got {counts.max()} for one pair and "
            f"{len(pairs) - len(unique)} too many in all; keep the last of each, for example"
        )


def patterned(matrix, scale, side):
    """Return checked ratings, users by items, as rows of users or of items."""
    rows = PatternedRows(
        matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False),
        scale.numbers(matrix.data), matrix.shape[1],
    )  # fmt: skip
    return rows if side == "users" else rows.transposed()


def ndcg_of_users(users, scores, gains, n):
    """Return the mean over users of the normalized discounted cumulative gain of their items.

    Parameters
    ----------
    users : ndarray of int
        Of each pair of a user and an item.
    scores : ndarray
        By which the items of a user are ranked; of equal ones the first pair comes first.
    gains : ndarray of int
        Numbers of ratings in the scale.
    n : int
        Places that count.
    """
    gains = 2.0 ** np.asarray(gains, np.float64) - 1.0
    sums = []
    for order in (scores, gains):
        ranked = np.lexsort((np.arange(len(users)), -np.asarray(order, np.float64), users))
        starts = np.flatnonzero(np.diff(users[ranked], prepend=-1))
        lengths = np.diff(np.append(starts, len(users)))
        place = np.arange(len(users)) - np.repeat(starts, lengths)
        discounted = np.where(place < n, gains[ranked] / np.log2(place + 2.0), 0.0)
        sums.append(np.add.reduceat(discounted, starts))
    counted = (lengths > 1) & (sums[1] > 0.0)
    if not counted.any():
        raise ValueError("X must hold two ratings of one user, not both the lowest, for ndcg")
    return float(np.mean(sums[0][counted] / sums[1][counted]))


def numbers_of(values, name, n, *, remedy=""):
    """Return numbers of users or items as int64; ValueError where one is none of `n`."""
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be whole numbers from 0 to {n - 1}, those of rows or columns of X, got "
            f"{shown(values)}"
        )
    wrong = array[(array < 0) | (array >= n)]
    if len(wrong):
        tail = f"; {remedy}" if remedy else ""
        raise ValueError(f"{name} must be numbers from 0 to {n - 1}, got {wrong[0]}{tail}")
    return array.astype(np.int64)


def told_shape(shape, known):
    """Say a shape, and where it is the transpose of what is known, say that."""
    turned = shape != known and shape == known[::-1]
    return f"{shape}" + ("; it is items by users: pass X.T" if turned else "")
