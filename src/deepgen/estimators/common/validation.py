"""What users pass as rows: checked by scikit-learn's rules, in the type and place it comes in.

Nothing here copies an array: rows become states a piece at a time. Which values a layer can take,
its units tell (`Units.check`).
"""

import re
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from deepgen.checks import real_array, shown, warn_at_users_line
from deepgen.rows.fingerprint import RowOrder
from deepgen.rows.packed_bits import PackedBits
from deepgen.rows.sources import CHECK_ROWS, ArrayRows, IterableRows, is_iterable_of_batches
from deepgen.rows.states import checked_csr
from deepgen.rows.survey import survey


@dataclass(frozen=True)
class Survey:
    """Measurements of the rows of a fit.

    Attributes
    ----------
    n_rows : int
    mean, variance : ndarray of shape (n_columns,)
    order : dict
        A number that tells these rows, in this order, from others; see
        :meth:`deepgen.rows.fingerprint.RowOrder.tree`.
    """

    n_rows: int
    mean: np.ndarray
    variance: np.ndarray
    order: dict

    @property
    def moments(self):
        """(n_rows, mean, variance)."""
        return self.n_rows, self.mean, self.variance


def surveyed(rows, units, n_threads=None):
    """Check and measure rows in one pass; see :func:`deepgen.rows.survey.survey`."""
    order = RowOrder(n_threads)
    return Survey(*survey(rows, units, n_threads=n_threads, also=order.add), order.tree())


def refuse_iterable(X):
    """Raise ValueError where `partial_fit` gets an iterable of batches."""
    if is_iterable_of_batches(X):
        raise ValueError(
            "X must be an array or a sparse matrix for partial_fit, got "
            f"{type(X).__name__}; call partial_fit with each of its batches"
        )


def rows_to_learn(estimator, X, *, reset):
    """Wrap X as the rows that `fit` and `partial_fit` read: of an array, or of batches.

    Parameters
    ----------
    estimator : BaseEstimator
        Its `n_features_in_` and `feature_names_in_` are set (`reset`) or compared.
    X : array-like, PackedBits, sparse matrix or iterable of batches
    reset : bool

    Returns
    -------
    ArrayRows or IterableRows
    """
    if is_iterable_of_batches(X):
        rows = IterableRows(X)
        estimator.n_features_in_ = rows.n_columns
        vars(estimator).pop("feature_names_in_", None)
        return rows
    # the survey, which comes next, looks at every value: one pass over a file less
    return ArrayRows(
        validated(estimator, X, reset=reset, accept_sparse="csr", ensure_all_finite=False)
    )


def validated(estimator, X, *, reset, **options):
    """Return X as an array or CSR matrix by scikit-learn's rules.

    Packed bits stay packed where a CSR matrix would stay sparse.

    Raises
    ------
    ValueError, TypeError
        Whose message names X.
    """
    if is_iterable_of_batches(X):
        raise TypeError(f"X must be an array or a sparse matrix, got {type(X).__name__}")
    if sparse.issparse(X):
        X = checked_csr(X)
    if np.ma.isMaskedArray(X):
        raise ValueError(
            "X is a masked array, whose mask would be lost; fill it, or complete rows with "
            "impute(X.data, missing=X.mask)"
        )
    packed = X if isinstance(X, PackedBits) and "accept_sparse" in options else None
    X = _named(
        validate_data, estimator, _stand_in(X) if packed is not None else X,
        dtype="numeric", reset=reset, **options,
    )  # fmt: skip
    if packed is not None:
        return packed
    return X if sparse.issparse(X) else real_array(X, "X")


def _stand_in(packed):
    """Return an array of the shape of packed bits without memory, for scikit-learn to look at."""
    return np.broadcast_to(np.uint8(0), packed.shape)


def validated_pair(estimator, X, y, **options):
    """Return rows to learn from and their targets by scikit-learn's rules.

    Returns
    -------
    tuple of (X, y)

    Raises
    ------
    ValueError, TypeError
        Whose message names X or y. Whether values of X are finite, the survey tells.
    """
    ours = {"accept_sparse": "csr", "ensure_all_finite": False}
    X = validated(estimator, X, reset=True, **ours)
    seen, y = _named(
        validate_data, estimator, _stand_in(X) if isinstance(X, PackedBits) else X, y,
        dtype=None, reset=False, what="y", **ours, **options,
    )  # fmt: skip
    return X if isinstance(X, PackedBits) else seen, y


def labels_of(y):
    """Return y after a check that it can hold classes."""
    _named(check_classification_targets, y, what="y")
    return y


def rows_to_read(estimator, X):
    """Return rows that a fitted estimator can read: an array, packed bits or CSR of its width."""
    check_is_fitted(estimator)
    # What scikit-learn's validation does for a plain array costs three times what one row of the
    # model costs; the units check finiteness and range in any case.
    plain = (
        type(X) is np.ndarray
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == estimator.n_features_in_
        and X.dtype.kind in "buif"
        and not hasattr(estimator, "feature_names_in_")
    )
    if plain:
        return X
    return validated(estimator, X, reset=False, accept_sparse="csr", ensure_all_finite=False)


def by_pieces(rows, units, compute):
    """Apply a function of independent rows to checked states, at most 8,192 rows at a time.

    Parameters
    ----------
    rows : ndarray, PackedBits or CSR matrix
    units : Units
        What the states are checked by.
    compute : callable
        From states of n rows to an array of n rows.

    Returns
    -------
    ndarray
    """
    n_rows = rows.shape[0]
    if n_rows <= CHECK_ROWS:
        return compute(units.states_of(rows))
    out, start = None, 0
    for states in ArrayRows(rows).pieces():
        units.check(states)
        piece = compute(states)
        if out is None:
            out = np.empty((n_rows, *piece.shape[1:]), piece.dtype)
        out[start : start + len(piece)] = piece
        start += len(piece)
    return out


def features(estimator, X, size, what):
    """Check the argument of `inverse_transform`: an array or CSR matrix of `size` columns.

    `what` says what the columns are, for the message.
    """
    if sparse.issparse(X):
        X = checked_csr(X)
    if is_iterable_of_batches(X):
        raise TypeError(f"X must be an array or a sparse matrix, got {type(X).__name__}")
    if np.ma.isMaskedArray(X):
        raise ValueError("X is a masked array, whose mask would be lost; fill it first")
    X = _named(
        check_array, X, accept_sparse="csr", dtype="numeric", input_name="X", estimator=estimator
    )
    if X.shape[1] != size:
        raise ValueError(f"X must have shape (n_samples, {size}), {what}, got {X.shape}")
    return X


def rows_with_gaps(estimator, X, missing, units):
    """Check rows that `impute` is to complete, and find their gaps.

    Returns
    -------
    tuple of (values, states, missing)
        X as it came; states that `units` can take, with zeros at missing entries; bool of its
        shape.
    """
    check_is_fitted(estimator)
    values = validated(
        estimator, X, reset=False, ensure_all_finite=False, ensure_min_samples=0
    )
    if missing is None:
        missing = np.isnan(values)
    else:
        missing = np.asarray(missing) if not np.ma.isMaskedArray(missing) else missing
        if missing.dtype != np.bool_ or missing.shape != values.shape:
            raise ValueError(
                f"missing must be a bool array of shape {values.shape}, got {missing.dtype} of "
                f"shape {missing.shape}: {shown(missing)}"
            )
    if not np.isfinite(values[~missing]).all():
        raise ValueError("X must be finite where it is observed; mark other entries as missing")
    group = units.group
    if group > 1 and not np.isin(missing.reshape(-1, group).sum(axis=1), (0, group)).all():
        raise ValueError(f"missing must hold all {group} columns of a variable or none")
    return values, units.states_of(np.where(missing, 0, values)), missing


def in_type_of(values, missing, completed):
    """Return completed rows in the floating type of `values`, observed entries untouched."""
    if np.issubdtype(values.dtype, np.floating):
        return np.where(missing, completed, values).astype(values.dtype)
    return completed


def warn_of_grey_rows():
    """Warn, at the user's line, that rows between states have no likelihood."""
    warn_at_users_line(
        "X has values between states, so the result is not a log-likelihood; binarize grey "
        "values first, for example X > rng.random(X.shape)",
        UserWarning,
    )


def _named(check, *arguments, what="X", **options):
    """Call a check of scikit-learn's; its message says what is meant."""
    try:
        return check(*arguments, **options)
    except (ValueError, TypeError) as error:
        if re.search(r"\b[Xy]\b", str(error)):
            raise
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{what} cannot be used: {error}") from None
