"""Rankings by cosines, and how precise they are: precision and recall over queries.

A query is a row whose relevant rows are known: those of the same label, or those that share one of
several labels (Salakhutdinov & Hinton 2009, Replicated softmax, section 5).
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from deepgen.checks import check_flag, check_integer, real_array

RECALLS = (0.002, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BLOCK = 2**22  # similarities that are there at one time


@dataclass(frozen=True)
class Retrieved:
    """How well relevant rows come before the others, averaged over queries.

    Attributes
    ----------
    mean_average_precision : float
    recalls : ndarray of shape (n_recalls,)
    precisions : ndarray of shape (n_recalls,)
        Share of relevant rows among those that a query gets until the recall is reached.
    standard_error : float
        Of the mean over queries of the average precision.
    n_queries : int
    n_without : int
        Queries that have no relevant row, which are left out.
    """

    mean_average_precision: float
    recalls: np.ndarray
    precisions: np.ndarray
    standard_error: float
    n_queries: int
    n_without: int


def evaluate(
    queries, query_labels, database=None, database_labels=None, *, recalls=RECALLS, centre=False
):
    """Rank a database by cosines with each query, and measure how early relevant rows come.

    Parameters
    ----------
    queries : array-like of shape (n_queries, n_features)
        Codes. A row of zeros has the cosine 0 with all others.
    query_labels : array-like of shape (n_queries,), or (n_queries, n_labels)
        One label each; or, sparse or dense, which labels a query has, nonzero where it has one.
        Relevant is what shares a label.
    database, database_labels : array-like or None
        Of the rows that are searched. None: the queries, each of which leaves itself out.
    recalls : sequence of float
        In (0, 1], where precisions are read off.
    centre : bool, default False
        Subtract the mean of the database from all codes first. Fields of hidden units need it:
        what they have in common says nothing.

    Returns
    -------
    Retrieved

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, there are no rows, or no query has a relevant
        row.

    Notes
    -----
    Rows of equal similarity come together, in one step of the curve: no order among them flatters
    or harms (as ``sklearn.metrics.average_precision_score``).
    """
    check_flag(centre, "centre")
    itself = database is None
    if itself:
        database, database_labels = queries, query_labels
    queries, database = _codes(queries, "queries"), _codes(database, "database")
    if queries.shape[1] != database.shape[1]:
        raise ValueError(
            f"database must have {queries.shape[1]} columns as queries, got {database.shape[1]}"
        )
    relevance = _Relevance(query_labels, database_labels, len(queries), len(database))
    recalls = real_array(recalls, "recalls").astype(np.float64)
    if recalls.ndim != 1 or not ((recalls > 0.0) & (recalls <= 1.0)).all():
        raise ValueError("recalls must be numbers above 0 and at most 1")
    queries, database = _directions(queries, database, centre)
    average, precisions = [], []
    for rows in _blocks(len(queries), len(database)):
        similarity = queries[rows] @ database.T
        relevant = relevance.of(rows)
        for number, (one, right) in enumerate(zip(similarity, relevant, strict=True), rows.start):
            if itself:
                one, right = np.delete(one, number), np.delete(right, number)
            if right.any():
                found = _curve(one, right, recalls)
                average.append(found[0])
                precisions.append(found[1])
    if not average:
        raise ValueError("query_labels must share labels with database_labels, but no query does")
    error = np.std(average, ddof=1) / np.sqrt(len(average)) if len(average) > 1 else np.inf
    return Retrieved(
        float(np.mean(average)), recalls, np.mean(precisions, axis=0), float(error), len(average),
        len(queries) - len(average),
    )  # fmt: skip


def mean_average_precision(
    queries, query_labels, database=None, database_labels=None, *, centre=False
):
    """Return the mean over queries of the average precision; see :func:`evaluate`.

    Examples
    --------
    >>> import numpy as np
    >>> from deepgen.retrieval import mean_average_precision
    >>> codes = np.array([[1.0, 0.1], [0.9, 0.0], [0.1, 1.0], [0.0, 0.8]])
    >>> mean_average_precision(codes, [0, 0, 1, 1])
    1.0
    """
    return evaluate(
        queries, query_labels, database, database_labels, centre=centre
    ).mean_average_precision


def nearest(queries, database, n=10, *, centre=False):
    """Return the rows of a database that have the largest cosines with each query.

    Parameters
    ----------
    queries, database : array-like of shape (n_queries, n_features) and (n_rows, n_features)
    n : int, default 10
        At most the rows that there are.
    centre : bool, default False
        See :func:`evaluate`.

    Returns
    -------
    tuple of (ids, similarities), ndarray of shape (n_queries, min(n, n_rows))
        Numbers of rows and cosines, the nearest first; of equal ones the first row.
    """
    check_integer(n, "n")
    check_flag(centre, "centre")
    queries, database = _codes(queries, "queries"), _codes(database, "database")
    if queries.shape[1] != database.shape[1]:
        raise ValueError(
            f"database must have {queries.shape[1]} columns as queries, got {database.shape[1]}"
        )
    queries, database = _directions(queries, database, centre)
    n = min(n, len(database))
    ids, similarities = np.empty((len(queries), n), np.int64), np.empty((len(queries), n))
    for rows in _blocks(len(queries), len(database)):
        similarity = queries[rows] @ database.T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :n]
        ids[rows], similarities[rows] = order, np.take_along_axis(similarity, order, axis=1)
    return ids, similarities


def _curve(similarity, relevant, recalls):
    """Return the average precision of one query, and its precisions at some recalls."""
    n_relevant = int(relevant.sum())
    order = np.argsort(-similarity)
    ordered = similarity[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # of equal ones
    hits = np.cumsum(relevant[order])[last]
    precision = hits / (last + 1.0)
    average = float((np.diff(hits, prepend=0) * precision).sum()) / n_relevant
    # the first place at which so many relevant rows have come; a hair below, for 0.1 * 10
    wanted = np.ceil(recalls * n_relevant - 1e-9)
    return average, precision[np.searchsorted(hits, wanted)]


def _blocks(n_queries, n_rows):
    """Yield slices of queries, of at most `BLOCK` similarities each."""
    size = max(1, BLOCK // n_rows)
    for start in range(0, n_queries, size):
        yield slice(start, min(start + size, n_queries))


def _codes(codes, name):
    """Return codes as finite float64 rows."""
    if sparse.issparse(codes):
        codes = codes.toarray()
    codes = real_array(codes, name).astype(np.float64)
    if codes.ndim != 2 or not codes.shape[0]:
        raise ValueError(f"{name} must have shape (n_rows, n_features), got {codes.shape}")
    if not np.isfinite(codes).all():
        raise ValueError(f"{name} must be finite, but contains NaN or inf")
    return codes


def _directions(queries, database, centre):
    """Return rows divided by their lengths; the mean of the database taken away before."""
    if centre:
        mean = database.mean(axis=0)
        queries, database = queries - mean, database - mean
    found = []
    for rows in (queries, database):
        length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
        found.append(rows / np.where(length > 0.0, length, 1.0))
    return found


class _Relevance:
    """Which rows of a database are relevant for queries."""

    def __init__(self, query_labels, database_labels, n_queries, n_rows):
        self._queries = _labels(query_labels, n_queries, "query_labels")
        self._database = _labels(database_labels, n_rows, "database_labels")
        if self._queries.ndim != self._database.ndim or (
            self._queries.shape[1:] != self._database.shape[1:]
        ):
            raise ValueError(
                "database_labels must be of the form of query_labels, one label each or the same "
                f"columns, got {self._database.shape} and {self._queries.shape}"
            )

    def of(self, rows):
        """Return bool of shape (n_rows of the slice, n_rows of the database)."""
        if self._queries.ndim == 1:
            return self._queries[rows, None] == self._database
        return np.asarray((self._queries[rows] @ self._database.T).todense() > 0)


def _labels(labels, n_rows, name):
    """Return labels as an array of one each, or a sparse matrix of which each row has."""
    if labels is None:
        raise ValueError(f"{name} must be given for each of {n_rows} rows, got None")
    if not sparse.issparse(labels):
        labels = np.asarray(labels)
    if labels.ndim not in (1, 2) or labels.shape[0] != n_rows:
        raise ValueError(f"{name} must have a label for each of {n_rows} rows, got {labels.shape}")
    if labels.ndim == 1:
        return labels
    return sparse.csr_array(labels != 0).astype(np.float32)
