"""Documents as counts: tiny files of the same form and, where they are, the real ones."""

import os

import numpy as np
import pytest

from deepgen.datasets import (
    counts_of_corpus,
    documents,
    fetching,
    load_newsgroups20,
    load_reuters21578,
)


def put(tmp_path, monkeypatch, name, folder, **arrays):
    """Write a small file where a loader finds it, and let it be the known one."""
    path = tmp_path / folder / getattr(documents, name).name
    path.parent.mkdir()
    np.savez(path, **arrays)
    file = fetching.DataFile(path.name, path.stat().st_size, fetching._sha256(path))
    monkeypatch.setattr(documents, name, file)


def rows_of(split):
    """Two documents of three words: (0, 700, 2) and none."""
    return {
        f"{split}_indptr": np.array([0, 2, 2], np.int32),
        f"{split}_indices": np.array([1, 2], np.uint16),
        f"{split}_counts": np.array([700, 2], np.uint16),
    }


def test_posts_are_counts_of_wide_integers(tmp_path, monkeypatch):
    """Would catch 16-bit counts whose sums overflow, and empty posts that are dropped."""
    labels = {f"{split}_labels": np.array([3, 19], np.uint8) for split in ("train", "test")}
    put(
        tmp_path, monkeypatch, "_NEWSGROUPS", "newsgroups20", **rows_of("train"), **rows_of("test"),
        **labels, vocab=np.array(["a", "b", "c"]), groups=np.array(["x", "y"]),
    )  # fmt: skip
    found = load_newsgroups20(tmp_path)
    assert found.test.toarray().tolist() == [[0, 700, 2], [0, 0, 0]]
    assert found.train.dtype == np.int64
    assert (found.train_labels.tolist(), found.vocabulary) == ([3, 19], ["a", "b", "c"])


def test_stories_have_several_topics(tmp_path, monkeypatch):
    """Would catch topics that are taken for one label, or numbers instead of bools."""
    topics = {f"{split}_topics": np.eye(2, dtype=np.uint8) for split in ("train", "test")}
    put(
        tmp_path, monkeypatch, "_REUTERS", "reuters21578", **rows_of("train"), **rows_of("test"),
        **topics, vocab=np.array(["a", "b", "c"]), topic_names=np.array(["earn", "acq"]),
    )  # fmt: skip
    found = load_reuters21578(tmp_path)
    assert found.train_topics.dtype == np.bool_
    assert (found.topics, found.test.shape) == (["earn", "acq"], (2, 3))


@pytest.mark.parametrize("load", [load_newsgroups20, load_reuters21578])
def test_a_missing_file_says_what_to_do(load, tmp_path):
    """Would catch an error that names no folder."""
    with pytest.raises(FileNotFoundError, match=r"top2000\.npz is missing") as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_corpora_are_documents_by_words():
    """Would catch a transposed matrix, last words that are lost, and a word that is named twice."""
    corpus = iter([[(0, 2), (3, 1)], [], [(1, 1), (1, 4)]])
    found = counts_of_corpus(corpus, 6)
    assert found.toarray().tolist() == [[2, 0, 0, 1, 0, 0], [0] * 6, [0, 5, 0, 0, 0, 0]]
    assert counts_of_corpus([], 4).shape == (0, 4)


@pytest.mark.parametrize(("corpus", "message"), [
    ([[(6, 1)]], r"words from 0 to 5, got 6 in document 0.*len\(dictionary\)"),
    ([[], [(2, 0.5)]], r"whole numbers from 0 on, got 0\.5 in document 1.*TF-IDF"),
    ([[(2, -1)]], r"got -1 in document 0"),
])  # fmt: skip
def test_what_is_no_bag_of_words_is_refused(corpus, message):
    """Would catch weights of TF-IDF cut to whole numbers, and a vocabulary that is too small."""
    with pytest.raises(ValueError, match=message):
        counts_of_corpus(corpus, 6)


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("DEEPGEN_DATA"), reason="DEEPGEN_DATA is not set")
def test_the_real_documents():
    """Would catch rows of another split, or counts that were cut."""
    posts, stories = load_newsgroups20(), load_reuters21578()
    assert (posts.train.shape, posts.test.shape) == ((11314, 2000), (7532, 2000))
    assert (posts.train.sum(), posts.test.sum()) == (872_398, 547_738)
    assert np.bincount(posts.train_labels).tolist()[:3] == [480, 584, 591]
    assert int((posts.test.sum(axis=1) == 0).sum()) == 8
    assert (stories.train.sum(), stories.test.sum()) == (573_372, 178_291)
    assert int(stories.train_topics.any(axis=1).sum()) == 7_770
    assert stories.test_topics[:, stories.topics.index("earn")].sum() == 1087
