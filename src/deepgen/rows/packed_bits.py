"""Rows of zeros and ones, eight entries in a byte."""

import numpy as np
from scipy import sparse

from deepgen.checks import check_integer, is_integer, real_array, shown
from deepgen.rows.states import checked_csr

# Rows that are looked at and packed at a time.
PIECE_ROWS = 8_192


class PackedBits:
    """Rows of zeros and ones, packed as bits: an eighth of the memory of uint8.

    Stands for the uint8 array of its zeros and ones wherever rows are taken, with the same
    results to the last bit. Rows are unpacked as they are taken; a fit unpacks a batch at a time.

    Parameters
    ----------
    array : ndarray or memmap of shape (n_rows, ceil(n_columns / 8)), uint8
        As ``numpy.packbits(rows, axis=1)`` makes it (``bitorder="big"``): the first column is the
        highest bit of the first byte. It is neither copied nor read. Bits beyond the last column
        are ignored.
    n_columns : int

    Attributes
    ----------
    shape : tuple
        (n_rows, n_columns)
    dtype : dtype
        uint8, that of the unpacked rows.

    Notes
    -----
    ``packed[chosen]``, with a slice, numbers of rows or a mask, is an array of unpacked rows;
    :meth:`select` leaves them packed. ``numpy.asarray(packed)`` unpacks all rows, and so do
    functions that know nothing of packed rows, ``sklearn.model_selection.train_test_split`` among
    them.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> X = (np.random.default_rng(0).random((200, 20)) < 0.3).astype(np.uint8)
    >>> packed = dg.PackedBits(np.packbits(X, axis=1), 20)
    >>> packed.shape, packed.array.shape
    ((200, 20), (200, 3))
    >>> bool((packed[:10] == X[:10]).all())
    True
    >>> rbm = dg.RBM(8, n_epochs=2, random_state=0).fit(packed)
    """

    dtype = np.dtype(np.uint8)
    ndim = 2

    def __init__(self, array, n_columns):
        if not isinstance(array, np.ndarray) or np.ma.isMaskedArray(array):
            raise TypeError(
                "array must be a NumPy array or memmap of packed bits, got "
                f"{type(array).__name__}; numpy.packbits(rows, axis=1) makes one"
            )
        check_integer(n_columns, "n_columns")
        if array.dtype != np.uint8:
            raise ValueError(
                f"array must be packed bits of dtype uint8, got {array.dtype}; "
                "dg.PackedBits.pack(rows) packs rows of zeros and ones"
            )
        width = -(-n_columns // 8)
        if array.ndim != 2 or array.shape[1] != width:
            raise ValueError(
                f"array must have shape (n_rows, {width}), bytes for {n_columns} columns of bits, "
                f"got {array.shape}; pack rows by numpy.packbits(rows, axis=1)"
            )
        self.array = array
        self.shape = (array.shape[0], int(n_columns))

    @classmethod
    def pack(cls, rows):
        """Return rows of zeros and ones, packed.

        Parameters
        ----------
        rows : array-like or sparse matrix of shape (n_rows, n_columns)
            Read some thousand rows at a time.

        Returns
        -------
        PackedBits

        Raises
        ------
        ValueError
            If a value is neither 0 nor 1.
        """
        rows = checked_csr(rows, "rows") if sparse.issparse(rows) else real_array(rows, "rows")
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise ValueError(f"rows must have shape (n_rows, n_columns), got {rows.shape}")
        array = np.empty((rows.shape[0], -(-rows.shape[1] // 8)), np.uint8)
        for start in range(0, len(array), PIECE_ROWS):
            piece = rows[start : start + PIECE_ROWS]
            piece = piece.toarray() if sparse.issparse(piece) else piece
            others = (piece != 0) & (piece != 1)
            if others.any():
                raise ValueError(
                    f"rows must hold zeros and ones only, got {piece[others][0]}; binarize grey "
                    "values first, for example rows > rng.random(rows.shape)"
                )
            array[start : start + PIECE_ROWS] = np.packbits(piece != 0, axis=1)
        return cls(array, rows.shape[1])

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        return f"PackedBits({self.shape[0]} x {self.shape[1]})"

    def __getitem__(self, chosen):
        packed = np.asarray(self.array[_of_rows(chosen)])
        return np.unpackbits(packed, axis=-1, count=self.shape[1])

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("packed bits cannot become an array without a copy")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def select(self, chosen):
        """Return some rows, packed as they are; by a slice no byte is copied.

        Parameters
        ----------
        chosen : slice or array-like of shape (n_chosen,)
            Numbers of rows, or a mask.

        Returns
        -------
        PackedBits
        """
        rows = _of_rows(chosen)
        if is_integer(rows):
            raise IndexError(
                f"select takes a slice, numbers of rows or a mask, got {rows}; "
                f"packed[{rows}] is one row"
            )
        return PackedBits(self.array[rows], self.shape[1])


def _of_rows(chosen):
    """Return an index that takes whole rows, or raise IndexError where it takes something else."""
    if isinstance(chosen, tuple) and len(chosen) == 2 and chosen[1] is Ellipsis:
        chosen = chosen[0]  # what scikit-learn's tools take rows by
    if isinstance(chosen, slice) or is_integer(chosen):
        return chosen
    if isinstance(chosen, tuple) or np.ndim(chosen) != 1:
        raise IndexError(
            "packed bits are taken by rows, by a slice, numbers of rows or a mask, got "
            f"{shown(chosen)}; take columns of the rows that come out: packed[rows][:, columns]"
        )
    return chosen
