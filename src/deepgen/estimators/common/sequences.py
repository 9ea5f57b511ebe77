"""What users pass as sequences, and in which form answers about frames come back."""

import numpy as np
from scipy import sparse

from deepgen.checks import real_array, shown
from deepgen.estimators.common.validation import naming_columns, validated
from deepgen.rows.sequences import Sequences

FORMS = (
    "a list of arrays of shape (n_frames, n_features), one array with lengths=[...], or an array "
    "of shape (n_sequences, n_frames, n_features)"
)


def as_sequences(estimator, X, lengths=None, *, units=None, reset=False, holes=False):
    """Return what a user passes as sequences, checked.

    Parameters
    ----------
    estimator : BaseEstimator
        Its `n_features_in_` and `feature_names_in_` are set (`reset`) or compared.
    X : list of array-like, or array-like of 2 or 3 dimensions
        Two dimensions without `lengths` are one sequence, as in hmmlearn.
    lengths : array-like of shape (n_sequences,), int, or None
        Frames of each sequence, where X has all of them below each other.
    units : callable or None
        From the number of columns to the units that values are checked by. None: of the model.
    reset : bool
    holes : bool, default False
        Let NaN pass, in floats.

    Raises
    ------
    ValueError, TypeError
        If X has another form, or a value is none of the units'.
    """
    if sparse.issparse(X):
        raise TypeError(
            "X must be dense for sequences, got a sparse matrix; pass X.toarray(), with lengths"
        )
    parts = _parts(X)
    if parts is not None:
        if lengths is not None:
            raise ValueError(
                "lengths must be None where X has an array for each sequence, got "
                f"{shown(lengths)}"
            )
        X, lengths = _stacked(parts)
    frames = validated(estimator, X, reset=reset, ensure_all_finite=False)
    lengths = _checked_lengths(lengths, len(frames))
    layer = estimator.model_.layers[0] if units is None else units(frames.shape[1])
    with naming_columns(estimator):
        states = layer.states_of(frames, "X", holes=holes)
    return Sequences(np.ascontiguousarray(states), lengths)


def _parts(X):
    """Return the sequences of a list, or of three dimensions, as a list; None of two dimensions."""
    if isinstance(X, list | tuple):
        if not X:
            raise ValueError(f"X must be {FORMS}; got an empty list, a sequence is needed")
        # rows of numbers in a list are one array, as everywhere in scikit-learn
        n_dimensions = {2 if sparse.issparse(part) else np.asarray(part).ndim for part in X}
        return list(X) if n_dimensions == {2} or (n_dimensions - {0, 1}) else None
    n_dimensions = getattr(X, "ndim", None)
    if n_dimensions == 1 and getattr(X, "dtype", None) == np.object_ and len(X):
        raise ValueError(
            f"X must be {FORMS}; got an array of {len(X)} objects: pass list(X)"
        )
    return list(X) if n_dimensions == 3 else None


def _stacked(parts):
    """Return the arrays of a list below each other, and their lengths."""
    arrays = []
    for number, part in enumerate(parts):
        name = f"X[{number}]"
        if sparse.issparse(part):
            raise TypeError(f"{name} must be dense, got a sparse matrix; pass its toarray()")
        array = real_array(part, name)
        if array.ndim != 2:
            raise ValueError(
                f"{name} must have shape (n_frames, n_features), as X must be {FORMS}; got shape "
                f"{array.shape}"
            )
        if not len(array):
            raise ValueError(f"{name} must have at least one frame, got none; leave it out")
        if array.shape[1] != arrays[0].shape[1] if arrays else False:
            raise ValueError(
                f"{name} must have {arrays[0].shape[1]} columns as X[0] has, got {array.shape[1]}"
            )
        arrays.append(array)
    return np.concatenate(arrays), [len(array) for array in arrays]


def _checked_lengths(lengths, n_frames):
    """Return lengths as int64; ValueError unless they are lengths of so many frames."""
    if lengths is None:
        return np.array([n_frames], np.int64)
    checked = real_array(lengths, "lengths")
    whole = checked.ndim == 1 and len(checked) and (checked == np.floor(checked)).all()
    if not whole or checked.min() < 1 or checked.sum() != n_frames:
        raise ValueError(
            f"lengths must be whole numbers from 1 that add up to the {n_frames} frames of X, got "
            f"{shown(lengths)}"
        )
    return checked.astype(np.int64)
