"""Semantic hashing: similar rows have binary codes that differ in few bits.

Salakhutdinov & Hinton (2009), Semantic hashing. Codes come from any model whose features are near 0
and 1, such as a deep autoencoder that learned with noise in its code.
"""

import numpy as np

from deepgen.checks import check_integer, real_array

CHUNK = 2**20  # rows whose distances are there at one time


def binary_codes(codes, threshold=0.5):
    """Return codes as bits: whether each number is above its threshold.

    Parameters
    ----------
    codes : array-like of shape (n_rows, n_bits)
    threshold : float or array-like of shape (n_bits,), default 0.5
        Where codes are not near 0 and 1, ``numpy.median(codes_of_database, axis=0)`` makes bits
        that half of the rows have.

    Returns
    -------
    ndarray of shape (n_rows, n_bits), bool
    """
    codes = real_array(codes, "codes").astype(np.float64)
    if codes.ndim != 2:
        raise ValueError(f"codes must have shape (n_rows, n_bits), got {codes.shape}")
    if np.isnan(codes).any():
        raise ValueError("codes must be numbers, but contains NaN")
    threshold = real_array(threshold, "threshold").astype(np.float64)
    if threshold.shape not in ((), (codes.shape[1],)):
        raise ValueError(
            f"threshold must be a number or have shape ({codes.shape[1]},), got {threshold.shape}"
        )
    return codes > threshold


class HammingIndex:
    """Binary codes of a database, packed, to be searched by the number of bits that differ.

    Every code is compared: 800,000 codes of 32 bits take some milliseconds a query
    (docs/decisions.md, "Semantic hashing").

    Parameters
    ----------
    bits : array-like of shape (n_rows, n_bits), of bools or 0 and 1
        See :func:`binary_codes`.

    Attributes
    ----------
    n_rows, n_bits : int

    Examples
    --------
    >>> import numpy as np
    >>> from deepgen.retrieval import HammingIndex
    >>> index = HammingIndex([[0, 0, 1], [1, 1, 1], [0, 0, 0]])
    >>> ids, distances = index.query([[0, 0, 1]], n=2)
    >>> ids.tolist(), distances.tolist()
    ([[0, 2]], [[0, 1]])
    """

    def __init__(self, bits):
        words, self.n_bits = _packed(bits, "bits")
        self.n_rows = len(words)
        if not self.n_rows:
            raise ValueError("bits must have at least one row, got none")
        self._words = np.ascontiguousarray(words.T)  # a line for each word: they are read in turn

    def query(self, bits, n=10):
        """Return the rows whose codes differ least from those of queries.

        Parameters
        ----------
        bits : array-like of shape (n_queries, n_bits)
        n : int, default 10
            At most the rows that there are.

        Returns
        -------
        tuple of (ids, distances), ndarray of shape (n_queries, min(n, n_rows)), int64
            The nearest first; of equally distant rows the first ones.
        """
        check_integer(n, "n")
        words, n_bits = _packed(bits, "bits")
        if n_bits != self.n_bits:
            raise ValueError(f"bits must have {self.n_bits} columns, got {n_bits}")
        n = min(n, self.n_rows)
        ids, distances = (np.empty((len(words), n), np.int64) for _ in range(2))
        for row, word in enumerate(words):
            distance = self.distances(word)
            counts = np.cumsum(np.bincount(distance, minlength=n_bits + 1))
            furthest = int(np.searchsorted(counts, n))
            within = np.flatnonzero(distance <= furthest)
            order = np.argsort(distance[within], kind="stable")[:n]
            ids[row] = within[order]
            distances[row] = distance[ids[row]]
        return ids, distances

    def distances(self, word):
        """Return how many bits of each row differ from one packed code, uint16 of (n_rows,)."""
        total = np.zeros(self.n_rows, np.uint16)
        for line, of_query in zip(self._words, word, strict=True):
            for start in range(0, self.n_rows, CHUNK):
                piece = slice(start, start + CHUNK)
                total[piece] += _ones(line[piece] ^ of_query)
        return total


def _ones(words):
    """Return the number of ones of each word."""
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        return np.bitwise_count(words)
    by_byte = _ONES_OF_BYTE[words.view(np.uint8)]
    return by_byte.reshape(len(words), words.itemsize).sum(axis=1, dtype=np.uint8)


_ONES_OF_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
_ONES_OF_BYTE = _ONES_OF_BYTE.astype(np.uint8)


def _packed(bits, name):
    """Return bits as words of (n_rows, n_words), uint32, and how many bits a row has."""
    bits = real_array(bits, name)
    if bits.ndim != 2 or not bits.shape[1]:
        raise ValueError(f"{name} must have shape (n_rows, n_bits), got {bits.shape}")
    if not ((bits == 0) | (bits == 1)).all():
        raise ValueError(f"{name} must be bools or 0 and 1; make them by binary_codes(codes)")
    packed = np.packbits(bits.astype(np.bool_), axis=1)
    width = -(-packed.shape[1] // 4) * 4
    padded = np.zeros((len(packed), width), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.uint32), bits.shape[1]
