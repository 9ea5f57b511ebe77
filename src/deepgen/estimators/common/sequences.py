"""What users pass as sequences, and in which form answers about frames come back."""

import numpy as np
from scipy import sparse

from deepgen.checks import RefusedValue, real_array, shown
from deepgen.estimators.common.frames import Frame, named_like
from deepgen.estimators.common.validation import (
    is_iterable_of_batches,
    naming_columns,
    validated,
)
from deepgen.rows.sequences import Sequences, checked_lengths

FORMS = (
    "a list of arrays of shape (n_frames, n_features), one array with lengths=[...], or an array "
    "of shape (n_sequences, n_frames, n_features)"
)


def as_sequences(estimator, X, lengths=None, *, units=None, reset=False, holes=False):
    """Return `X` as :class:`Sequences`: all frames below each other, and how many each one has.

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
        If X has another form, data frames of a list have other columns than the first one, or a
        value is none of the units'.
    """
    if sparse.issparse(X):
        raise TypeError(
            "X must be dense for sequences, got a sparse matrix; pass X.toarray(), with lengths"
        )
    if X is None or np.isscalar(X) or is_iterable_of_batches(X):
        raise TypeError(f"X must be {FORMS}; got {shown(X)}")
    parts = _parts(X)
    if parts is not None:
        if lengths is not None:
            raise ValueError(
                "lengths must be None where X has an array for each sequence, got "
                f"{shown(lengths)}"
            )
        X, lengths = _stacked(parts)
        if not holes:
            _refuse_padding(X, lengths)
        if all(isinstance(part, Frame) for part in parts):
            _require_same_names(parts)
            X = named_like(parts[0], X)
    frames = validated(estimator, X, reset=reset, ensure_all_finite=False)
    lengths = checked_lengths([len(frames)] if lengths is None else lengths, len(frames))
    layer = estimator.model_.layers[0] if units is None else units(frames.shape[1])
    try:
        with naming_columns(estimator):
            states = layer.states_of(frames, "X", holes=holes)
    except RefusedValue as error:
        raise (error if parts is None else _in_its_part(error, lengths)) from None
    return Sequences(np.ascontiguousarray(states), lengths)


def _in_its_part(error, lengths):
    """Return an error about a value of stacked frames as one about the array that it came in."""
    starts = np.cumsum(lengths) - lengths
    number = int(np.searchsorted(starts, error.row, side="right")) - 1
    return RefusedValue(
        f"X[{number}]", error.expected, error.value, error.row - int(starts[number]),
        error.column, error.remedy, error.column_name,
    )  # fmt: skip


def _refuse_padding(frames, lengths):
    """Raise ValueError where a sequence ends with frames of NaN: others have made it as long."""
    if frames.dtype.kind != "f":
        return
    unknown = np.isnan(frames).all(axis=1)
    for number, end in enumerate(np.cumsum(lengths)):
        own = unknown[end - lengths[number] : end]
        if own[-1] and not own.all():
            raise ValueError(
                f"X[{number}] must end with a frame, got NaN alone in its last "
                f"{int(np.argmin(own[::-1]))} frames; "
                "leave padding out, by a list of sequences of their own lengths: "
                "[x[~np.isnan(x).all(axis=1)] for x in X]"
            )


def _require_same_names(frames):
    """Raise ValueError unless all data frames of a list have the columns of the first one."""
    names = list(frames[0].columns)
    for number, frame in enumerate(frames):
        if list(frame.columns) != names:
            raise ValueError(
                f"X[{number}] must have the columns of X[0] in their order, {shown(names)}, got "
                f"{shown(list(frame.columns))}"
            )


def as_gaps(missing, sequences):
    """Return which entries of sequences are not known, as a user tells it.

    Parameters
    ----------
    missing : bool array or list of them
        In a form that the sequences could have had.
    sequences : Sequences

    Returns
    -------
    bool ndarray of shape (n_frames, n_features)

    Raises
    ------
    ValueError
        If it is not bool, or of another shape.
    """
    parts, lengths = _parts(missing, "missing"), sequences.lengths
    mask = real_array(missing, "missing") if parts is None else None
    if parts is not None:
        mask, lengths = _stacked(parts, "missing")
    same = np.array_equal(lengths, sequences.lengths) and mask.shape == sequences.frames.shape
    if mask.dtype != np.bool_ or not same:
        raise ValueError(
            "missing must be bool and of the form of X, sequence by sequence, "
            f"{sequences.frames.shape} in all, got {mask.dtype} of shape {mask.shape}"
            + ("" if parts is None else f" with {shown(lengths)} frames by sequence")
        )
    return mask


def _parts(X, name="X"):
    """Return the sequences of a list, or of three dimensions, as a list; None of two dimensions."""
    if isinstance(X, list | tuple):
        if not X:
            raise ValueError(f"{name} must be {FORMS}; got an empty list, a sequence is needed")
        shapes = [
            part.shape if sparse.issparse(part) else real_array(part, f"{name}[{number}]").shape
            for number, part in enumerate(X)
        ]
        n_dimensions = {len(shape) for shape in shapes}
        if n_dimensions == {1} and len(set(shapes)) > 1:
            raise ValueError(
                f"{name} must be {FORMS}; got a list of rows of different lengths, "
                f"{shown([shape[0] for shape in shapes])}"
            )
        # rows of numbers in a list are one array, as everywhere in scikit-learn
        return list(X) if n_dimensions - {0, 1} else None
    n_dimensions = getattr(X, "ndim", None)
    if n_dimensions == 1 and getattr(X, "dtype", None) == np.object_ and len(X):
        raise ValueError(
            f"{name} must be {FORMS}; got an array of {len(X)} objects: pass list({name})"
        )
    if n_dimensions == 3 and not len(X):
        raise ValueError(f"{name} must be {FORMS}; got shape {X.shape}, a sequence is needed")
    return list(X) if n_dimensions == 3 else None


def _stacked(parts, name="X"):
    """Return the arrays of a list below each other, and their lengths."""
    arrays = []
    for number, part in enumerate(parts):
        own = f"{name}[{number}]"
        if sparse.issparse(part):
            raise TypeError(f"{own} must be dense, got a sparse matrix; pass its toarray()")
        array = real_array(part, own)
        if array.ndim != 2:
            raise ValueError(
                f"{own} must have shape (n_frames, n_features), as {name} must be {FORMS}; got "
                f"shape {array.shape}"
            )
        if not len(array):
            raise ValueError(f"{own} must have at least one frame, got none; leave it out")
        if array.shape[1] != arrays[0].shape[1] if arrays else False:
            raise ValueError(
                f"{own} must have {arrays[0].shape[1]} columns as {name}[0] has, got "
                f"{array.shape[1]}"
            )
        arrays.append(array)
    return np.concatenate(arrays), [len(array) for array in arrays]
