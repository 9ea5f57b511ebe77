"""Values that no argument of a kind takes, and rows that no method takes: tables for the tests."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import deepgen as dg

RNG = np.random.default_rng(3)
X = (RNG.random((30, 6)) < 0.4).astype(np.uint8)
X.flags.writeable = False
PACKED = np.packbits(X, axis=1)
REAL = RNG.normal(size=(30, 6))
ONE_HOT = np.eye(3, dtype=np.uint8)[RNG.integers(0, 3, (30, 2))].reshape(30, 6)


def refused(call, message):
    """Fail unless `call` raises ValueError or TypeError with `message`; return the error."""
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        call()
    return caught.value


def table_of(arguments):
    """A case by name for each value of each row of (message, call, bad values)."""
    return {
        f"{number}: {message} <- {name}": (call, value, message)
        for number, (message, call, values) in enumerate(arguments)
        for name, value in values.items()
    }


# ---------------------------------------------------------------------------------------- values

INTEGER = {"x": "text", "1.5": 1.5, "True": True, "NaN": np.nan, "[1]": [1], "None": None}
POSITIVE = {**INTEGER, "0": 0, "-1": -1}
RATE = {"x": "text", "-1": -1, "inf": np.inf, "NaN": np.nan, "True": True, "[1]": [1]}
SHARE = {**RATE, "1": 1.0, "2": 2}
OBJECT = {"x": "text", "3": 3, "[1]": [1], "a dict": {"a": 1}}
THREADS = {"x": "text", "0": 0, "-1": -1, "1.5": 1.5, "True": True, "2**40": 2**40}
SEEDS = {"x": "text", "-1": -1, "1.5": 1.5, "True": True, "[1]": [1]}
COUNT = {k: v for k, v in POSITIVE.items() if k != "None"}  # None: as many as are needed
FLAGS = {"x": "text", "1": 1, "None": None}
ARRAYS = {
    "x": "text", "ragged": [[1, 2], [3]], "complex": np.full((5, 6), 1j), "None": None,
    "dates": np.zeros((5, 6), "M8[s]"), "objects": np.full((5, 6), object()),
    "NaN": np.full((5, 6), np.nan), "inf": np.full((5, 6), np.inf), "3-D": np.zeros((5, 6, 1)),
    "masked": np.ma.array(X[:5], mask=X[:5] == 1),
}  # fmt: skip
VECTORS = {
    "x": "text", "short": [0.0], "NaN": [0.0, 0.0, np.nan], "1e300": [0.0, 0.0, 1e300],
    "complex": [0.0, 0.0, 1j], "2-D": np.zeros((3, 3)), "ragged": [[0.0], [0.0, 1.0], [1.0]],
}  # fmt: skip


# ------------------------------------------------------------------------------------------ rows


def with_value(value, rows=X):
    changed = rows.astype(np.float64)
    changed[3, 2] = value
    return changed


def csr(part=None, place=1, value=None, dtype=np.float32):
    matrix = sparse.csr_matrix(X.astype(dtype))
    if part is not None:
        getattr(matrix, part)[place] = value
    return matrix


def coo_beyond():
    matrix = sparse.coo_matrix(X.astype(np.float32))
    matrix.coords = (matrix.coords[0], matrix.coords[1] + 100)
    return matrix


def generator():
    yield X


WIDTH = "X has . features, but RBM is expecting 6 features|X must have shape"
DAMAGED = "X is a damaged sparse matrix.*build it again"
# what no method that takes rows may take; name: (rows, message)
ROWS = {
    "None": (lambda: None, r"X\b.*(2D array|None)"),
    "a number": (lambda: 3, r"X\b.*2D array"),
    "text": (lambda: "rows", r"X\b.*(2D array|numeric)"),
    "a row": (lambda: X[0], r"(?s)X\b.*Expected 2D array.*[Rr]eshape"),
    "three dimensions": (lambda: X.reshape(5, 6, 6), r"X\b.*dim 3"),
    "no rows": (lambda: X[:0], r"X\b.*0 sample"),
    "no columns": (lambda: X[:, :0], r"X\b.*0 feature"),
    "ragged": (lambda: [[0, 1], [1]], r"X\b.*(inhomogeneous|sequence)"),
    "strings": (lambda: np.full((3, 6), "a"), r"X cannot be used.*numeric"),
    "bytes": (lambda: np.full((3, 6), b"a"), r"X cannot be used.*numeric"),
    "objects": (lambda: np.full((3, 6), object()), r"X cannot be used.*number"),
    "None inside": (lambda: np.full((3, 6), None), r"X (must be finite|cannot be used)"),
    "dicts": (lambda: [{"a": 1}] * 3, r"X\b"),
    "complex": (lambda: X * 1j, r"X\b.*Complex data not supported"),
    "complex CSR": (lambda: csr(dtype=np.complex64), r"X must hold real numbers.*complex"),
    "dates": (lambda: np.zeros((3, 6), "M8[s]"), r"X must hold real numbers.*datetime"),
    "durations": (lambda: np.zeros((3, 6), "m8[s]"), r"X must hold real numbers.*timedelta"),
    "records": (lambda: np.zeros((3, 6), "i4,i4"), r"X\b"),
    "masked": (lambda: np.ma.array(X, mask=X == 1), r"X is a masked array.*impute"),
    "NaN": (lambda: with_value(np.nan), r"X must be finite.*remove such rows"),
    "inf": (lambda: with_value(np.inf), r"X must be finite.*remove such rows"),
    "-inf": (lambda: with_value(-np.inf), r"X must be finite"),
    "beyond float32": (lambda: with_value(1e300), r"X must be finite.*beyond float32"),
    "NaN in float32": (lambda: with_value(np.nan).astype(np.float32), r"X must be finite"),
    "NaN in Fortran order": (lambda: np.asfortranarray(with_value(np.nan)), r"X must be finite"),
    "NaN in CSR": (lambda: sparse.csr_matrix(with_value(np.nan)), r"X must be finite"),
    "NaN in a frame": (lambda: pd.DataFrame(with_value(np.nan)), r"X must be finite"),
    "CSR index beyond": (lambda: csr("indices", 1, 10**8), DAMAGED),
    "CSR index at the edge": (lambda: csr("indices", 1, 6), DAMAGED),
    "CSR index negative": (lambda: csr("indices", 1, -1), DAMAGED),
    "CSR start beyond": (lambda: csr("indptr", 1, 10**6), DAMAGED),
    "CSR starts fall": (lambda: csr("indptr", 1, -1), DAMAGED),
    "CSR first start": (lambda: csr("indptr", 0, 1), DAMAGED),
    "CSR last start": (lambda: csr("indptr", -1, 10**6), DAMAGED),
    "COO beyond": (coo_beyond, DAMAGED),
    "packed bits, no rows": (lambda: dg.PackedBits(PACKED[:0], 6), r"X\b.*0 sample"),
    "sparse, one dimension": (lambda: sparse.coo_array(X[0]), "X must be a sparse matrix of 2"),
    "CSR of more than 2**31 columns": (
        lambda: sparse.csr_array((np.ones(1), [2**33], [0, 1]), shape=(1, 2**34)),
        "X must have at most 2147483647 columns",
    ),
}
# of these, what methods take that let values be missing
HOLES = ("None inside", "NaN", "NaN in float32", "NaN in Fortran order", "NaN in a frame")
# what a binary layer, or a layer of six columns, does not take
BINARY_ROWS = {
    "255": (255 * X, r"X must have values in \[0, 1\].*got 255.*X / 255"),
    "just above one": (X * 1.001, r"X must have values in \[0, 1\].*1.001"),
    "negative": (X - 0.5, r"X must have values in \[0, 1\].*-0.5"),
    "negative int8": (-X.astype(np.int8), r"X must have values in \[0, 1\]"),
    "CSR above one": (sparse.csr_matrix(2.0 * X), r"X must have values in \[0, 1\]"),
    "int64 beyond": (with_value(2**40).astype(np.int64), r"X must have values in \[0, 1\]"),
    "longdouble": (with_value(7.0).astype(np.longdouble), r"X must have values in \[0, 1\]"),
}
WRONG_WIDTHS = {
    "a column less": (X[:, :5], WIDTH),
    "a column more": (np.hstack([X, X[:, :1]]), WIDTH),
    "CSR of a column less": (sparse.csr_matrix(X[:, :5]), WIDTH),
    "a list of a column less": (X[:, :5].tolist(), WIDTH),
    "float64 of a column less": (REAL[:, :5], WIDTH),
    "packed bits of a column less": (dg.PackedBits(PACKED, 5), WIDTH),
    "packed bytes taken for columns": (PACKED, WIDTH),
}
