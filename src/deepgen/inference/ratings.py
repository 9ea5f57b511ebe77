"""What a machine of ratings answers about rows (docs/math.md, "Ratings").

The hidden means of a row follow from the ratings that it has; every answer about a rating that it
lacks follows from these means, by mean field: ``p(v_j = k) = softmax_k(b[j, k] + W[j, k] . h)``.
"""

import numpy as np

from deepgen._kernels import engine
from deepgen.runtime.threads import effective_threads
from deepgen.runtime.work import ANY_WORK

# Columns of scores that are sorted in place rather than kept as a short list of the best.
SHORT_LIST = 100


def hidden_means(machine, rows, *, fields=False, work=ANY_WORK):
    """Return p(h = 1 | ratings) of rows as kernels read them, (n_rows, n_hidden or more).

    Parameters
    ----------
    machine : RatingMachine
    rows : PatternedRows
    fields : bool, default False
        The total inputs in place of the means.
    work : Work

    Returns
    -------
    ndarray of shape (n_rows, width), float32
        Zeros after the columns of the hidden units.
    """
    form = machine.kernel_form
    out = np.empty((rows.n_rows, form[0].shape[2]), np.float32)
    n_threads = effective_threads(work.n_threads, int(rows.lengths.sum()) * out.shape[1] * 2)
    engine.ratings_hidden(rows.arrays, rows.order, form, fields, out, n_threads)
    return out


def rating_probabilities(machine, means, numbers, columns, *, work=ANY_WORK):
    """Return the probabilities of each value at pairs of a row and a column.

    Parameters
    ----------
    machine : RatingMachine
    means : ndarray of shape (n_rows, width)
        From :func:`hidden_means`.
    numbers, columns : ndarray of shape (n_pairs,), int
        Rows of `means`, and columns.

    Returns
    -------
    ndarray of shape (n_pairs, n_values), float32
    """
    out = np.empty((len(columns), machine.n_values), np.float32)
    _pairs(machine, means, numbers, columns, (out, None), work)
    return out


def expected_ratings(machine, means, numbers, columns, *, work=ANY_WORK):
    """Return the expected rating at pairs of a row and a column; see above for the arguments.

    Returns
    -------
    ndarray of shape (n_pairs,), float32
    """
    out = np.empty(len(columns), np.float32)
    _pairs(machine, means, numbers, columns, (None, out), work)
    return out


def _pairs(machine, means, numbers, columns, out, work):
    form = machine.kernel_form
    numbers = np.ascontiguousarray(numbers, np.int64)
    columns = np.ascontiguousarray(columns, np.int32)
    cost = len(columns) * form[0].shape[1] * form[0].shape[2]
    n_threads = effective_threads(work.n_threads, cost)
    engine.ratings_pairs(means, numbers, columns, form, *out, n_threads)


def rating_scores(machine, means, columns, *, top=False, by_column=False, work=ANY_WORK):
    """Return scores of all rows by some columns: expected ratings.

    Parameters
    ----------
    machine : RatingMachine
    means : ndarray of shape (n_rows, width)
        From :func:`hidden_means`.
    columns : ndarray of int
    top : bool, default False
        The probability of the highest value in place of the expected rating.
    by_column : bool, default False
        The transpose, a row for each column.
    work : Work

    Returns
    -------
    ndarray of shape (n_rows, n_columns), float32
    """
    form = machine.kernel_form
    columns = np.ascontiguousarray(columns, np.int32)
    shape = (len(means), len(columns))
    out = np.empty(shape[::-1] if by_column else shape, np.float32)
    cost = out.size * form[0].shape[1] * form[0].shape[2]
    n_threads = effective_threads(work.n_threads, cost)
    engine.ratings_scores(means, columns, form, top, out, by_column, n_threads)
    return out


def best_columns(scores, n, *, work=ANY_WORK):
    """Return the columns of the `n` highest scores of each row, the highest first, and the scores.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_columns), float32
        NaN: not to be chosen.
    n : int
    work : Work

    Returns
    -------
    tuple of ndarray of shape (n_rows, n)
        int64 and float32; -1 and NaN where no column is left. Of equal scores the lower column
        comes first.
    """
    ids, best = np.full((len(scores), n), -1), np.full((len(scores), n), np.nan, np.float32)
    if n <= SHORT_LIST:
        engine.ratings_top(scores, ids, best, effective_threads(work.n_threads, scores.size))
        return ids, best
    for row in range(len(scores)):  # NaN comes last in a sort
        order = np.argsort(-scores[row], kind="stable")[:n]
        order = order[~np.isnan(scores[row, order])]
        ids[row, : len(order)], best[row, : len(order)] = order, scores[row, order]
    return ids, best
