"""An imputer for pipelines of scikit-learn, around an estimator that can complete rows."""

from typing import Protocol, runtime_checkable

from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from deepgen.checks import RefusedValue, has_role, shown
from deepgen.estimators.common.validation import refuse_other_forms
from deepgen.estimators.mixture import MixtureOfBernoullis
from deepgen.rows.sources import is_iterable_of_batches
from deepgen.runtime.stream import check_random_state, child_seed, seed_of


@runtime_checkable
class Completing(Protocol):
    """An estimator that learns from rows with NaN and completes such rows."""

    def fit(self, X, y=None): ...

    def impute(self, X, missing=None, *, method="mean", random_state=None): ...


class Imputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Transformer that fills NaN by what a generative model expects there, given the rest.

    The model learns from the rows as they are, holes included, and each row is completed by its own
    conditional distribution: columns that belong together are filled together.

    Parameters
    ----------
    estimator : object or None
        What learns, with `fit` and `impute`: :class:`RBM`, :class:`DBM`, :class:`DBN`,
        :class:`MixtureOfProducts` or :class:`MixtureOfBernoullis`; a copy of it is fitted. None: a
        mixture whose size is chosen by known values that are hidden (``MixtureOfBernoullis()``).
        It is for columns of zeros and ones, or values between, and takes seconds; an RBM is often
        better. ``dg.MixtureOfProducts()`` takes tables of categories and numbers as they are. Or
        standardize real columns (``StandardScaler`` lets NaN pass) and give
        ``dg.RBM(visible="gaussian")``; for categories one-hot columns and
        ``dg.RBM(visible=dg.Softmax(k))``.
    method : {"mean", "draw"}, default "mean"
        Conditional means: of a column of zeros and ones the probability of a one. Or one joint draw
        of a row's missing entries, whose spread is that of the data.
    random_state : int, RandomState, Generator or None
        Of the draws and chains that complete rows, and of the default estimator. Drawn once by
        `fit`: each call of `transform` gives the same numbers.

    Attributes
    ----------
    estimator_ : object
        The fitted copy.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where `fit` got a data frame.

    Notes
    -----
    Values must be missing at random: that one is missing may depend on what is there, not on what
    it would have been (Little & Rubin 2002, section 1.3).

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat(rng.integers(0, 2, (200, 1)), 6, axis=1).astype(float)
    >>> holes = np.where(rng.random(X.shape) < 0.2, np.nan, X)
    >>> filled = dg.Imputer(random_state=0).fit_transform(holes)
    >>> bool(np.abs(filled - X).mean() < 0.02)
    True
    """

    def __init__(self, estimator=None, *, method="mean", random_state=None):
        self.estimator = estimator
        self.method = method
        self.random_state = random_state

    def fit(self, X, y=None):
        """Learn from rows with NaN where a value is missing.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            As the estimator takes it.
        y : ignored

        Returns
        -------
        Imputer
            This transformer.

        Raises
        ------
        ValueError
            If a parameter or a value of X is not valid.
        """
        self._check_settings()
        _check_form(X)
        seed = seed_of(self.random_state)
        if self.estimator is None:
            estimator = _fitted_mixture(X, seed)
        else:
            estimator = clone(self.estimator).fit(X)
        validate_data(self, X=X, skip_check_array=True, reset=True)
        self.estimator_, self._seed = estimator, child_seed(seed, "impute")
        return self

    def _check_settings(self):
        check_random_state(self.random_state)
        if not isinstance(self.method, str) or self.method not in ("mean", "draw"):
            raise ValueError(f"method must be 'mean' or 'draw', got {shown(self.method)}")
        if self.estimator is not None and not has_role(self.estimator, Completing):
            raise TypeError(
                "estimator must be an object with fit and impute, such as dg.RBM(...) or "
                f"dg.MixtureOfBernoullis(...), got {shown(self.estimator)}"
            )

    def transform(self, X):
        """Return rows with their missing values filled in; what is there stays as it is.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        ndarray or data frame of shape (n_samples, n_features)
            What X is: of a data frame index and names are kept, and columns without NaN stay of
            their type. ``set_output(transform="pandas")`` makes a frame of any X.
        """
        check_is_fitted(self)
        _check_form(X)
        refuse_other_forms(X)
        validate_data(self, X=X, skip_check_array=True, reset=False)
        return self.estimator_.impute(X, method=self.method, random_state=self._seed)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


_REMEDY = (
    "the default estimator takes columns of zeros and ones: scale others to [0, 1], or give "
    "dg.Imputer(dg.MixtureOfProducts()), which takes tables as they are"
)


def _fitted_mixture(X, seed):
    """Return the default estimator, fitted; say what to do with columns that it does not take."""
    try:
        return MixtureOfBernoullis(random_state=child_seed(seed, "estimator")).fit(X)
    except RefusedValue as error:
        if error.expected.startswith("have values in"):
            raise RefusedValue(*error.args[:5], _REMEDY, error.column_name) from None
        raise


def _check_form(X):
    if is_iterable_of_batches(X):
        raise TypeError(f"X must be an array or a data frame, got {type(X).__name__}")
    if sparse.issparse(X):
        raise TypeError(
            "X must be an array or a data frame, got a sparse matrix, whose zeros are values; pass "
            "X.toarray(), with NaN where a value is missing"
        )
