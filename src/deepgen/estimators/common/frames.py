"""Data frames: what is computed of one comes back as one, with its names and its index."""

from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Frame(Protocol):
    """A table with names of columns, of pandas, polars or another library."""

    columns: object

    def __getitem__(self, name): ...

    def to_numpy(self): ...


@runtime_checkable
class _IndexedFrame(Frame, Protocol):
    """A frame of pandas: rows have names too, and a column is replaced by its number."""

    index: object

    def isetitem(self, column, value): ...


def framed_like(X, values):
    """Return an array as a frame with the names and the index of X; as it is, if X is no frame.

    Parameters
    ----------
    X : array-like or data frame of shape (n_rows, n_columns)
    values : ndarray of that shape
    """
    if isinstance(X, _IndexedFrame):
        return type(X)(values, index=X.index, columns=X.columns)
    if isinstance(X, Frame):
        return type(X)({name: values[:, j] for j, name in enumerate(X.columns)})
    return values


def named_like(X, values):
    """Return an array as a frame with the names of X, whose rows are others.

    Parameters
    ----------
    X : data frame
    values : ndarray of shape (n_rows, n_columns)
    """
    if isinstance(X, _IndexedFrame):
        return type(X)(values, columns=X.columns)
    return type(X)({name: values[:, j] for j, name in enumerate(X.columns)})


def completed_rows(X, values, missing, completed):
    """Return completed rows in the form of X; entries that are there are untouched.

    Parameters
    ----------
    X : array-like or data frame of shape (n_rows, n_columns)
        As the user passed it.
    values : ndarray of that shape
        What was read of it.
    missing : ndarray of bool, of that shape
    completed : ndarray of that shape, float32

    Returns
    -------
    ndarray or data frame
        Of the floating type of `values`, else float32. Columns of a frame without a missing entry
        stay as they are, of any type.
    """
    if np.issubdtype(values.dtype, np.floating):
        completed = np.where(missing, completed, values).astype(values.dtype)
    if isinstance(X, _IndexedFrame):
        frame = X.copy()
        for column in np.flatnonzero(missing.any(axis=0)):
            frame.isetitem(column, completed[:, column])
        return frame
    if isinstance(X, Frame):
        with_gaps = missing.any(axis=0)
        return type(X)(
            {n: completed[:, j] if with_gaps[j] else X[n] for j, n in enumerate(X.columns)}
        )
    return completed
