"""Rankings by cosines, precision and recall, binary codes."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from deepgen.retrieval import (
    HammingIndex,
    binary_codes,
    evaluate,
    evaluation,
    hashing,
    mean_average_precision,
    nearest,
)


def problem(seed=0, n_queries=12, n_rows=60):
    """Codes and one label each, of queries and of a database."""
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(n_queries, 5)), rng.normal(size=(n_rows, 5))
    labels = rng.integers(0, 4, n_queries), rng.integers(0, 4, n_rows)
    return codes[0], labels[0], codes[1], labels[1]


@pytest.mark.parametrize("block", [1, 100, 2**22])
def test_average_precision_is_that_of_scikit_learn(block, monkeypatch):
    """Would catch ranks off by one, means over ranks in place of relevant rows, and results that
    depend on the blocks."""
    monkeypatch.setattr(evaluation, "BLOCK", block)
    queries, wanted, database, labels = problem()
    similarity = cosine_similarity(queries, database)
    expected = [
        average_precision_score(labels == one, row)
        for one, row in zip(wanted, similarity, strict=True)
    ]
    found = mean_average_precision(queries, wanted, database, labels)
    assert found == pytest.approx(np.mean(expected), rel=1e-12)


def test_equal_similarities_are_one_step():
    """Would catch ties in the order of the rows, which flatter a database sorted by label."""
    database, labels = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]]), [0, 0, 1, 1]
    for order in ([0, 1, 2, 3], [2, 1, 0, 3]):
        found = mean_average_precision(
            [[1.0, 0.0]], [0], database[order], np.array(labels)[order]
        )
        assert found == pytest.approx(2 / 3)


def test_precisions_are_read_where_the_recall_is_reached():
    """Would catch precision at a share of the database, or one row too late."""
    database = np.stack([np.cos(x := np.linspace(0, 1.5, 5)), np.sin(x)], axis=1)
    found = evaluate([[1.0, 0.0]], [1], database, [1, 0, 1, 0, 0], recalls=(0.1, 0.5, 0.6, 1.0))
    np.testing.assert_allclose(found.precisions, [1.0, 1.0, 2 / 3, 2 / 3])
    assert found.mean_average_precision == pytest.approx((1.0 + 2 / 3) / 2)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array, sparse.csc_matrix])
def test_sharing_one_of_several_labels_is_enough(form):
    """Would catch labels that must be all the same, and queries without any that count as zero."""
    wanted = form(np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]]))
    have = form(np.array([[0, 0, 1], [1, 1, 0], [0, 0, 0]]))
    codes = np.eye(3)
    found = evaluate(codes, wanted, codes, have)
    assert (found.n_queries, found.n_without) == (2, 1)
    # the first: its own row is relevant, then two of cosine 0; the last: two that tie before it
    assert found.mean_average_precision == pytest.approx((0.5 * (1 + 2 / 3) + 1 / 3) / 2)


def test_queries_leave_themselves_out_of_their_own_database():
    """Would catch a perfect first hit that is the query itself."""
    codes, labels, *_ = problem(n_queries=20)
    similarity = cosine_similarity(codes)
    expected = []
    for row in range(20):
        others = np.arange(20) != row
        right = labels[others] == labels[row]
        expected.append(average_precision_score(right, similarity[row, others]))
    assert mean_average_precision(codes, labels) == pytest.approx(np.mean(expected))


def test_centred_codes_forget_what_all_have_in_common():
    """Would catch the mean of the queries taken away, or of neither."""
    queries, wanted, database, labels = problem()
    far = np.full(5, 30.0)
    found = mean_average_precision(queries + far, wanted, database + far, labels, centre=True)
    mean = database.mean(axis=0)
    plain = mean_average_precision(queries - mean, wanted, database - mean, labels)
    assert found == pytest.approx(plain)


def test_nearest_rows_come_first_and_equal_ones_in_order():
    """Would catch unsorted neighbours, and codes of zeros that give NaN."""
    database = np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    ids, similarities = nearest([[3.0, 0.0], [0.0, 0.0]], database, n=9)
    assert ids.tolist() == [[1, 3, 0, 2], [0, 1, 2, 3]]
    np.testing.assert_allclose(similarities[0], [1, 1, 0, 0])
    queries, _, many, _ = problem()
    ids, _ = nearest(queries, many, n=3)
    expected = np.argsort(-cosine_similarity(queries, many), axis=1)[:, :3]
    assert ids.tolist() == expected.tolist()


@pytest.mark.parametrize(("change", "message"), [
    ({"queries": np.full((12, 5), np.nan)}, "queries must be finite"),
    ({"database": np.ones((60, 4))}, "database must have 5 columns as queries, got 4"),
    ({"query_labels": [1, 2]}, "query_labels must have a label for each of 12 rows"),
    ({"database_labels": np.ones((60, 2))}, "database_labels must be of the form"),
    ({"database_labels": np.full(60, 9)}, "share labels"),
    ({"database": np.ones((0, 5)), "database_labels": []}, "database must have shape"),
    ({"recalls": [0.0]}, "recalls must be numbers above 0"),
])  # fmt: skip
def test_what_does_not_fit_is_named(change, message):
    """Would catch a division by no rows, and labels of other rows."""
    names = ("queries", "query_labels", "database", "database_labels")
    arguments = {**dict(zip(names, problem(), strict=True)), **change}
    with pytest.raises(ValueError, match=message):
        evaluate(**arguments)


# ---------------------------------------------------------------------------------- binary codes


def test_codes_become_bits_above_their_thresholds():
    """Would catch a threshold of another column, or one that is a bit itself."""
    codes = np.array([[0.2, 0.9], [0.5, 0.6], [0.7, 0.1]])
    assert binary_codes(codes).tolist() == [[0, 1], [0, 1], [1, 0]]
    assert binary_codes(codes, np.median(codes, axis=0)).tolist() == [[0, 1], [0, 0], [1, 0]]
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        binary_codes(codes, [0.1, 0.2, 0.3])


@pytest.mark.parametrize("n_bits", [1, 7, 32, 33, 100])
@pytest.mark.parametrize("old_numpy", [False, True])
def test_search_by_bits_is_that_of_all_pairs(n_bits, old_numpy, monkeypatch):
    """Would catch bits lost at the end of a word, ties in another order, and chunks that are
    joined wrongly."""
    monkeypatch.setattr(hashing, "CHUNK", 64)
    if old_numpy:
        monkeypatch.setattr(hashing.np, "__version__", "1.26.4")
    rng = np.random.default_rng(n_bits)
    database, queries = rng.random((200, n_bits)) < 0.5, rng.random((6, n_bits)) < 0.5
    expected = (queries[:, None] != database).sum(axis=2)
    index = HammingIndex(database)
    for n in (1, 17, 200, 500):
        ids, distances = index.query(queries, n)
        order = np.argsort(expected, axis=1, kind="stable")[:, : min(n, 200)]
        assert ids.tolist() == order.tolist()
        assert distances.tolist() == np.take_along_axis(expected, order, axis=1).tolist()


@pytest.mark.parametrize(("make", "message"), [
    (lambda: HammingIndex(np.zeros((0, 4))), "at least one row"),
    (lambda: HammingIndex([[0.5, 1.0]]), r"binary_codes\(codes\)"),
    (lambda: HammingIndex([0, 1]), r"shape \(n_rows, n_bits\)"),
    (lambda: HammingIndex([[0, 1]]).query([[0, 1, 1]]), "bits must have 2 columns, got 3"),
    (lambda: HammingIndex([[0, 1]]).query([[0, 1]], n=0), "n must be"),
])  # fmt: skip
def test_what_is_no_code_is_refused(make, message):
    """Would catch means that are cut to bits, and codes of another length."""
    with pytest.raises(ValueError, match=message):
        make()
