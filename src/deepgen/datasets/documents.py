"""Documents as counts of words: 20 Newsgroups, Reuters-21578, and corpora of gensim."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from deepgen.checks import MOST, check_integer, is_integer, shown
from deepgen.datasets.fetching import DataFile, find

_NEWSGROUPS = DataFile(
    "20news-top2000.npz", 1375097,
    "545ddd6471d5565e29dcb41f67a82bd66ed51f5883810ed029a226b5fb5278ce",
)  # fmt: skip
_REUTERS = DataFile(
    "reuters-modapte-top2000.npz", 750780,
    "e2dafb4ec8d92f7c643debc28b8c939e42db559887c45c892913d8981f7036c4",
)  # fmt: skip


class Newsgroups20(NamedTuple):
    """Counts (CSR, int64) and groups (int64, 0 to 19) of the posts; words; names of the groups."""

    train: sparse.csr_array
    train_labels: np.ndarray
    test: sparse.csr_array
    test_labels: np.ndarray
    vocabulary: list
    groups: list


class Reuters21578(NamedTuple):
    """Counts (CSR, int64) and topics (bool, a column each) of the stories; words; topic names."""

    train: sparse.csr_array
    train_topics: np.ndarray
    test: sparse.csr_array
    test_topics: np.ndarray
    vocabulary: list
    topics: list


def load_newsgroups20(data_home=None):
    """Load the posts of 20 Newsgroups, split by date, as counts of 2,000 words.

    Of the subject and the text; lower case, words of 3 to 15 letters, without stop words, not
    stemmed; the 2,000 that the training posts use most, in that order. 6 and 8 posts have none of
    them: they stay in, as rows of zeros. A few posts are encoded binaries, with thousands of words.

    Parameters
    ----------
    data_home : path-like or None
        Folder that holds a folder ``newsgroups20`` with ``20news-top2000.npz``. None:
        ``$DEEPGEN_DATA``, else a cache folder.

    Returns
    -------
    Newsgroups20
        ``train`` (11314, 2000) and ``test`` (7532, 2000), ``train_labels`` and ``test_labels``,
        ``vocabulary``, ``groups``.

    Raises
    ------
    FileNotFoundError
        If the file is missing; says where to put it.
    ValueError
        If it is not the known file.

    References
    ----------
    Lang (1995), NewsWeeder; the split by date is Jason Rennie's.
    """
    with np.load(find(_NEWSGROUPS, "newsgroups20", data_home), allow_pickle=False) as arrays:
        vocabulary = arrays["vocab"].tolist()
        return Newsgroups20(
            _counts(arrays, "train", len(vocabulary)), arrays["train_labels"].astype(np.int64),
            _counts(arrays, "test", len(vocabulary)), arrays["test_labels"].astype(np.int64),
            vocabulary, arrays["groups"].tolist(),
        )  # fmt: skip


def load_reuters21578(data_home=None):
    """Load the stories of Reuters-21578, the ModApte split, as counts of 2,000 words.

    Of title and body; words as of :func:`load_newsgroups20`. A story has some of 90 topics, or
    none: 7,770 of the training stories and 3,019 of the others have one.

    Parameters
    ----------
    data_home : path-like or None
        Folder that holds a folder ``reuters21578`` with ``reuters-modapte-top2000.npz``. None:
        ``$DEEPGEN_DATA``, else a cache folder.

    Returns
    -------
    Reuters21578
        ``train`` (9603, 2000) and ``test`` (3299, 2000), ``train_topics`` (9603, 90) and
        ``test_topics`` (3299, 90), bool, ``vocabulary``, ``topics``, those of most stories first.

    Raises
    ------
    FileNotFoundError
        If the file is missing; says where to put it.
    ValueError
        If it is not the known file.

    References
    ----------
    Lewis (1997), Reuters-21578, Distribution 1.0. The text is for research only.
    """
    with np.load(find(_REUTERS, "reuters21578", data_home), allow_pickle=False) as arrays:
        vocabulary = arrays["vocab"].tolist()
        return Reuters21578(
            _counts(arrays, "train", len(vocabulary)), arrays["train_topics"].astype(bool),
            _counts(arrays, "test", len(vocabulary)), arrays["test_topics"].astype(bool),
            vocabulary, arrays["topic_names"].tolist(),
        )  # fmt: skip


def _counts(arrays, split, n_words):
    """Return the rows of a split as a CSR matrix of int64."""
    parts = [arrays[f"{split}_{name}"] for name in ("counts", "indices", "indptr")]
    counts, indices, starts = (part.astype(np.int64) for part in parts)
    return sparse.csr_array((counts, indices, starts), shape=(len(starts) - 1, n_words))


def counts_of_corpus(corpus, n_words):
    """Return a corpus of gensim as counts, a row for each document.

    ``gensim.matutils.corpus2csc`` has documents as columns, and without ``num_terms`` it leaves out
    the last words where no document has them. gensim is not needed here.

    Parameters
    ----------
    corpus : iterable of iterables of (int, int)
        For each document its words and their counts, as ``Dictionary.doc2bow`` gives them.
    n_words : int
        Words of the vocabulary: ``len(dictionary)``.

    Returns
    -------
    csr_array of shape (n_documents, n_words), int64

    Raises
    ------
    ValueError
        If a word is not one of the vocabulary, or a count is no whole number, as those of a
        TF-IDF model.
    """
    check_integer(n_words, "n_words", 1, MOST)
    words, counts, starts = [], [], [0]
    for number, document in enumerate(corpus):
        for word, count in document:
            if not is_integer(word) or not 0 <= word < n_words:
                raise ValueError(
                    f"corpus must name words from 0 to {n_words - 1}, got {shown(word)} in "
                    f"document {number}; pass n_words=len(dictionary)"
                )
            if count != int(count) or count < 0:
                raise ValueError(
                    f"corpus must hold counts, whole numbers from 0 on, got {shown(count)} in "
                    f"document {number}; pass the bags of words, before TF-IDF"
                )
            words.append(int(word))
            counts.append(int(count))
        starts.append(len(words))
    matrix = sparse.csr_array(
        (np.array(counts, np.int64), np.array(words, np.int64), np.array(starts, np.int64)),
        shape=(len(starts) - 1, n_words),
    )
    matrix.sum_duplicates()
    return matrix
