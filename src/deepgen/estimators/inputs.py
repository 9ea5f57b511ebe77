"""What users pass as X: scikit-learn's validation, and states that kernels read."""

import contextlib

import numpy as np
from scipy import sparse
from sklearn.utils.validation import validate_data

from deepgen.data import ArrayRows, IterableRows, is_iterable_of_batches
from deepgen.states import as_states, checked_csr

DTYPES = [np.dtype(kind) for kind in (np.float64, np.float32, np.uint8, np.bool_)]

GREY = (
    "X has values between states, so the result is not a log-likelihood; binarize "
    "grey values first, for example X > rng.random(X.shape)"
)


def rows_of(estimator, X, *, reset):
    """Return rows to learn from: of an array, a sparse matrix or an iterable of batches."""
    if is_iterable_of_batches(X):
        rows = IterableRows(X)
        estimator.n_features_in_ = rows.n_columns
        vars(estimator).pop("feature_names_in_", None)
        return rows
    return ArrayRows(validated(estimator, X, reset=reset, accept_sparse="csr"))


def validated(estimator, X, *, reset, **options):
    """Return X as scikit-learn's ``validate_data`` does; refuse what would be misread."""
    if is_iterable_of_batches(X):
        raise TypeError(f"X must be an array or a sparse matrix, got {type(X).__name__}")
    if sparse.issparse(X):
        X = checked_csr(X)
    if np.ma.isMaskedArray(X):
        raise ValueError(
            "X is a masked array, whose mask would be lost; fill it, or complete rows with "
            "impute(X.data, missing=X.mask)"
        )
    return validate_data(estimator, X, dtype=DTYPES, reset=reset, **options)


def states_of(estimator, X, units):
    """Return the rows of X as states that `units` can take, for a fitted estimator."""
    # What scikit-learn's validation does for a plain array costs three times what one row
    # of the model costs; the units check finiteness and range in any case.
    plain = (
        type(X) is np.ndarray
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == estimator.n_features_in_
        and X.dtype in DTYPES
        and not hasattr(estimator, "feature_names_in_")
    )
    if not plain:
        X = validated(estimator, X, reset=False, accept_sparse="csr")
    states = as_states(X)
    units.check(states)
    return states


def rows_with_holes(estimator, X, missing, units):
    """Return (values, states, missing) of rows to complete.

    `values` is X as validated, `states` has zeros at missing entries.
    """
    values = validated(estimator, X, reset=False, ensure_all_finite=False, ensure_min_samples=0)
    if missing is None:
        missing = np.isnan(values)
    else:
        missing = np.asarray(missing)
        if missing.dtype != np.bool_ or missing.shape != values.shape:
            raise ValueError(
                f"missing must be a bool array of shape {values.shape}, got "
                f"{missing.dtype} of shape {missing.shape}"
            )
    filled = np.where(missing, 0, values)
    if not np.isfinite(filled).all():
        raise ValueError("X must be finite where it is observed; mark other entries as missing")
    states = as_states(filled)
    units.check(states)
    return values, states, missing


def in_dtype_of(values, missing, completed):
    """Return completed rows in the floating dtype of `values`, observed entries untouched."""
    if np.issubdtype(values.dtype, np.floating):
        return np.where(missing, completed, values).astype(values.dtype)
    return completed


@contextlib.contextmanager
def unchanged_on_error(estimator):
    """Put an estimator's attributes back if the block raises."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
