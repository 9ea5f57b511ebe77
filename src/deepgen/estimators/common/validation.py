"""What users pass as rows: checked by scikit-learn's rules, in the type and place it comes in.

Nothing here copies an array: rows become states a piece at a time. Which values a layer can take,
its units tell (`Units.check`).
"""

import contextlib
import re
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from deepgen.checks import (
    RefusedValue,
    first_place,
    real_array,
    shown,
    warn_at_users_line,
)
from deepgen.estimators.common.collectives import collective_of
from deepgen.estimators.common.tables import AUTO, Table, container_of
from deepgen.rows.fingerprint import RowOrder
from deepgen.rows.holes import holes_in
from deepgen.rows.packed_bits import PackedBits
from deepgen.rows.parts import first_number, joined
from deepgen.rows.shards import Shards
from deepgen.rows.sources import CHECK_ROWS, ArrayRows, IterableRows, is_iterable_of_batches
from deepgen.rows.states import checked_csr
from deepgen.rows.survey import checked_pieces, survey

# An array that a message of scikit-learn's prints.
_PRINTED = re.compile(r"(?s)(?<=Complex data not supported)\n.*|\s+array=.*?(?=\nReshape)")


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


def surveyed(rows, units, n_threads=None, *, holes=False):
    """Check and measure rows in one pass; see :func:`deepgen.rows.survey.survey`.

    Raises
    ------
    RefusedValue
        If a value is none of the units', or a column has no value at all (``holes=True``).
    """
    order = RowOrder(n_threads, first_number(rows))
    known = np.zeros(rows.n_columns, np.bool_)

    def also(states):
        order.add(states)
        mask = holes_in(states) if holes else None
        known[:] |= True if mask is None else ~mask.all(axis=0)

    measured = survey(rows, units, n_threads=n_threads, also=also, holes=holes)
    found = joined(rows, (order.tree(), known))
    if len(found) > 1:
        order.join([tree for tree, _ in found])
        known = np.any([mask for _, mask in found], axis=0)
    if not known.all():
        raise RefusedValue(
            "X", "have a value in each column", np.nan, 0, int(known.argmin()),
            "all rows of this column are NaN: leave it out",
        )  # fmt: skip
    return Survey(*measured, order.tree())


def refuse_iterable(X):
    """Raise ValueError where `partial_fit` gets an iterable of batches."""
    if is_iterable_of_batches(X) or isinstance(X, Shards):
        raise ValueError(
            "X must be an array or a sparse matrix for partial_fit, got "
            f"{type(X).__name__}; call partial_fit with each of its batches"
        )


def refuse_tables(estimator, method):
    """Raise ValueError where a stream should read the types of columns off its rows."""
    if reads_tables(estimator):
        raise ValueError(
            f"visible must be known before the rows for {method}, got {AUTO!r}; call fit, or pass "
            "units such as dg.Mixed([...])"
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
    if isinstance(X, Shards):
        return _rows_of_files(estimator, X)
    if is_iterable_of_batches(X):
        if reads_tables(estimator):
            raise ValueError(
                "X must be one data frame or array for visible='auto', which reads the types of "
                f"columns off all rows, got {type(X).__name__}; pass dg.Mixed([...]) as visible"
            )
        rows = IterableRows(X)
        estimator.n_features_in_ = rows.n_columns
        vars(estimator).pop("feature_names_in_", None)
        if rows.names is not None and all(isinstance(name, str) for name in rows.names):
            estimator.feature_names_in_ = np.array(rows.names, dtype=object)
        return rows
    # whoever reads the rows next looks at every value: one pass over a file less
    if not reset and _is_plain(estimator, X):
        return ArrayRows(X)
    return ArrayRows(
        validated(estimator, X, reset=reset, accept_sparse="csr", ensure_all_finite=False)
    )


def _rows_of_files(estimator, shards):
    """Return the rows of :class:`Shards` that this process has."""
    if reads_tables(estimator) or not estimator.takes_files:
        raise _no_files(estimator, shards)
    rows = shards.rows(collective_of(estimator))
    estimator.n_features_in_ = rows.n_columns
    vars(estimator).pop("feature_names_in_", None)
    return rows


def _no_files(estimator, shards):
    """Return the error about rows in files where an estimator needs an array."""
    reads = " that reads tables" if reads_tables(estimator) else ""
    return TypeError(
        f"X must be one array for a {type(estimator).__name__}{reads}, got {shards!r}; `fit` of "
        "RBM, DBN and DBM without label units learns from files"
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
    if isinstance(X, Shards):
        raise _no_files(estimator, X)
    if sparse.issparse(X):
        X = checked_csr(X)
    if np.ma.isMaskedArray(X):
        raise ValueError(
            "X is a masked array, whose mask would be lost; fill it, or complete rows with "
            "impute(X.data, missing=X.mask)"
        )
    if reset:
        vars(estimator).pop("table_", None)
    if table_of(estimator) is not None or (reset and reads_tables(estimator)):
        return _cells_of_table(estimator, X, reset)[0]
    refuse_other_forms(X)
    packed = X if isinstance(X, PackedBits) and "accept_sparse" in options else None
    names = list(X.columns) if hasattr(X, "columns") else None
    try:
        X = _named(
            validate_data, estimator, _stand_in(X) if packed is not None else X,
            dtype="numeric", reset=reset, **options,
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        place = _place_of_no_number(X, names)
        if not place:
            raise
        kind = ValueError if isinstance(error, ValueError) else TypeError
        reason = str(error).removeprefix("X cannot be used: ")
        raise kind(f"X cannot be used: {place} ({reason})") from None
    if packed is not None:
        return packed
    return X if sparse.issparse(X) else real_array(X, "X")


def reads_tables(estimator):
    """Tell whether an estimator takes the types of its columns from the rows of `fit`."""
    visible = getattr(estimator, "visible", None)
    return isinstance(visible, str) and visible == AUTO


def table_of(estimator):
    """Return the :class:`Table` that `fit` has made of a data frame, or None."""
    return vars(estimator).get("table_")


def _cells_of_table(estimator, X, reset):
    """Return rows of a table as states, and which cells are missing; see :meth:`Table.read`.

    With `reset` the types of the columns are read off them, and become `table_`.
    """
    if not container_of(X):
        refuse_other_forms(X)
    if reset:
        estimator.table_ = Table.of(X)
    if len(X) == 0 and reset:
        raise ValueError("X must have rows, got none")
    _named(validate_data, estimator, X, reset=reset, skip_check_array=True)
    return estimator.table_.read(X)


def refuse_other_forms(X):
    """Raise ValueError for complex numbers and single rows, whose messages print all of X."""
    if sparse.issparse(X) or isinstance(X, PackedBits):
        return
    try:
        values = np.asarray(X) if isinstance(X, np.ndarray | list) else np.empty((0, 0))
    except ValueError:  # ragged: scikit-learn says so
        return
    if values.dtype.kind == "c" and values.size:
        place = np.unravel_index(int((values.imag != 0).argmax()), values.shape)
        raise ValueError(
            f"X must be real, got {values[place]} in entry {tuple(map(int, place))}: Complex data "
            "not supported; take the real part or the magnitude"
        )
    if values.ndim == 1 and values.dtype.kind in "buif":
        raise ValueError(
            f"X must have rows and columns: Expected 2D array, got 1D array of shape "
            f"{values.shape} instead. Reshape your data, with X.reshape(1, -1) if it is one row, "
            "X.reshape(-1, 1) if it is one column"
        )


def _place_of_no_number(X, names):
    """Return words about the first entry of X that is no number, "" where there is none.

    `names` are those of a frame's columns, or None.
    """
    try:
        values = np.asarray(X, dtype=object)
    except ValueError:  # ragged
        return ""
    try:
        if values.ndim == 2 and not sparse.issparse(X):
            real_array(values, "X")
    except RefusedValue as error:
        return f"it {str(error.named(names)).removeprefix('X ')}"
    return ""


def _stand_in(packed):
    """Return an array of the shape of packed bits without memory, for scikit-learn to look at."""
    return np.broadcast_to(np.uint8(0), packed.shape)


def rows_with_targets(estimator, X, y):
    """Return rows to learn from, after a check that there are targets beside them.

    Raises
    ------
    ValueError, TypeError
        Whose message names X or y. Whether values of X are finite, the survey tells.
    """
    if is_iterable_of_batches(X):
        raise TypeError(
            f"X must be an array or a sparse matrix, so that y belongs to it, got "
            f"{type(X).__name__}"
        )
    rows = rows_to_learn(estimator, X, reset=True)
    if y is None:
        raise ValueError(
            "y must hold a target for each row, got None; this "
            f"{type(estimator).__name__} requires y to be passed, but the target y is None"
        )
    return rows


def targets_of(y, n_rows, most):
    """Return targets of regression, real numbers within +-`most`, float64.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or (n_rows, n_targets)
    n_rows : int
    most : float
    """
    if sparse.issparse(y):
        raise ValueError("y must be an array of targets, got a sparse matrix; pass y.toarray()")
    values = real_array(y, "y").astype(np.float64)
    if values.ndim not in (1, 2) or len(values) != n_rows or values.size == 0:
        raise ValueError(
            f"y must have shape ({n_rows},) or ({n_rows}, n_targets), got {values.shape}"
        )
    for bad, expected, remedy in (
        (~np.isfinite(values), "be finite", "leave such rows out"),
        (~(np.abs(values) < most), f"have values within +-{most:g}", "standardize it"),
    ):
        if bad.any():
            row, column = first_place(bad.reshape(n_rows, -1))
            given = np.asarray(y).reshape(n_rows, -1)[row, column]
            column = column if values.ndim == 2 else None
            raise RefusedValue("y", expected, given, row, column, remedy)
    return values


@contextlib.contextmanager
def naming_columns(estimator):
    """Let errors about a value of X say what the data frame calls its column."""
    try:
        yield
    except RefusedValue as error:
        table = table_of(estimator)
        if table is not None:
            raise table.named(error) from None
        raise error.named(getattr(estimator, "feature_names_in_", None)) from None


def labels_of(y):
    """Return y after a check that it can hold classes."""
    _named(check_classification_targets, y, what="y")
    return y


def _is_plain(estimator, X):
    """Tell whether X is an array that scikit-learn's validation would pass as it is.

    That costs three times what one row of a model costs; the units check finiteness and range in
    any case.
    """
    known = vars(estimator)
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == known.get("n_features_in_")
        and X.dtype.kind in "buif"
        and "feature_names_in_" not in known
        and table_of(estimator) is None
    )


def rows_to_read(estimator, X):
    """Return rows that a fitted estimator can read: an array, packed bits or CSR of its width."""
    if _is_plain(estimator, X) and "model_" in vars(estimator):
        return X
    check_is_fitted(estimator)
    if _is_plain(estimator, X):
        return X
    return validated(estimator, X, reset=False, accept_sparse="csr", ensure_all_finite=False)


def by_pieces(rows, units, compute, *, holes=False):
    """Apply a function of independent rows to checked states, at most 8,192 rows at a time.

    Parameters
    ----------
    rows : ndarray, PackedBits or CSR matrix
    units : Units
        What the states are checked by.
    compute : callable
        From states of n rows to an array of n rows.
    holes : bool, default False
        Let NaN pass; see ``Units.states_of``.

    Returns
    -------
    ndarray
    """
    n_rows = rows.shape[0]
    if n_rows <= CHECK_ROWS:
        return compute(units.states_of(rows, holes=holes))
    out, start = None, 0
    for states in checked_pieces(ArrayRows(rows), units, holes=holes):
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
    refuse_other_forms(X)
    X = _named(
        check_array, X, accept_sparse="csr", dtype="numeric", input_name="X", estimator=estimator,
        ensure_all_finite=False,
    )  # fmt: skip
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
    missing = np.ascontiguousarray(missing)  # a frame's values lie column by column
    bad = ~(np.isfinite(values) | missing)
    if bad.any():
        row, column = first_place(bad)
        raise RefusedValue(
            "X", "be finite where it is observed", values[row, column], row, column,
            "mark such entries as missing",
        )  # fmt: skip
    if units.group > 1:
        firsts = np.cumsum(units.widths) - units.widths
        gaps = np.add.reduceat(missing, firsts, axis=1, dtype=np.int64)
        partly = (gaps != 0) & (gaps != units.widths)
        if partly.any():
            row, variable = first_place(partly)
            first, group = firsts[variable], units.widths[variable]
            raise ValueError(
                f"missing must hold all {group} columns of a variable or none, got "
                f"{gaps[row, variable]} of columns {first} to {first + group - 1} in row {row}"
            )
    return values, units.states_of(np.where(missing, 0, values)), missing


def table_with_gaps(estimator, X, missing):
    """Check the rows of a table that `impute` is to complete, and find their gaps.

    Returns
    -------
    tuple of (missing, states, missing_states)
        Bool by cell; states with zeros where one is missing; bool by state.
    """
    check_is_fitted(estimator)
    table = table_of(estimator)
    states, empty = _cells_of_table(estimator, X, reset=False)
    if missing is None:
        missing = empty
    else:
        missing = np.asarray(missing)
        if missing.dtype != np.bool_ or missing.shape != empty.shape:
            raise ValueError(
                f"missing must be a bool array of shape {empty.shape}, got {missing.dtype} of "
                f"shape {missing.shape}"
            )
        missing = missing | empty
    gaps = np.ascontiguousarray(table.gaps(missing))  # cells are read column by column
    states = estimator.model_.visible.states_of(np.where(gaps, np.float32(0.0), states))
    return missing, states, gaps


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
        # without the array itself, which some messages print
        message = _PRINTED.sub("", str(error))
        if re.search(r"\b[Xy]\b", message) and message == str(error):
            raise
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{what} cannot be used: {message}") from None
