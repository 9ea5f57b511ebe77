"""scikit-learn's own checks, on real-valued data and on the binary default: nothing may fail."""

import functools
import os
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import with_slow
from scipy import sparse
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

import deepgen as dg

# The only check that may be skipped, because scikit-learn asks for an environment variable.
NEEDS_ARRAY_API = "check_array_api_input"


def _share(numbers):
    """Map numbers to [0, 1]."""
    size = np.abs(numbers)
    with np.errstate(invalid="ignore"):  # inf / inf: NaN, which the estimator refuses as well
        return size / (1 + size)


def _mapped(X, function=_share):
    """Apply a function, 0 to 0, to numbers; leave what is no table of numbers as it is."""
    if isinstance(X, pd.DataFrame):
        return X.map(function)
    if sparse.issparse(X):
        if X.format not in ("csr", "csc", "coo"):
            X = X.tocsr()
        mapped = X.copy()
        mapped.data = _mapped(X.data, function)
        return mapped
    array = np.asarray(X)
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            return X
    if array.dtype.kind not in "iuf":
        return X
    return function(array.astype(np.float64 if array.dtype.kind != "f" else array.dtype))


def fed_with_reals(estimator, *methods, function=_share, prefix="UnitInterval"):
    """A class like `estimator`, whose `methods` map X to [0, 1] first, or by another function.

    What only calls them (`score` of most estimators, `predict` of a mixture) is left as it is.
    """

    def mapped(method):
        @functools.wraps(method)
        def first_mapped(self, X, *y, **named):
            with warnings.catch_warnings():
                if method.__name__ == "score_samples":  # grey values; that warning has its own test
                    warnings.filterwarnings("ignore", "X has values between states", UserWarning)
                return method(self, _mapped(X, function), *y, **named)

        return first_mapped

    own = {name: mapped(getattr(estimator, name)) for name in methods}
    return type(f"{prefix}{estimator.__name__}", (estimator,), {"__module__": __name__, **own})


UnitIntervalRBM = fed_with_reals(
    dg.RBM, "fit", "partial_fit", "transform", "free_energy", "score_samples"
)
UnitIntervalDBN = fed_with_reals(dg.DBN, "fit", "partial_fit", "transform", "score_samples")
UnitIntervalDBM = fed_with_reals(
    dg.DBM, "fit", "partial_fit", "transform", "posterior", "score_samples"
)
UnitIntervalMixtureOfBernoullis = fed_with_reals(
    dg.MixtureOfBernoullis, "fit", "transform", "score_samples"
)
UnitIntervalAutoencoder = fed_with_reals(
    dg.Autoencoder, "fit", "transform", "reconstruction_error", "score"
)


CountsReplicatedSoftmax = fed_with_reals(
    dg.ReplicatedSoftmax, "fit", "partial_fit", "transform", "free_energy", "score_samples",
    "score", function=np.rint, prefix="Counts",
)  # fmt: skip
UnitIntervalImputer = fed_with_reals(dg.Imputer, "fit", "transform")


SUPERVISED = {
    "n_hidden": (20,), "n_epochs": 15, "batch_size": 20, "activation": "rectified",
    "learning_rate": 0.01, "random_state": 0,
}  # fmt: skip
ESTIMATORS = {
    "gaussian": dg.RBM(n_hidden=4, visible="gaussian", n_epochs=2, random_state=0),
    "binary": UnitIntervalRBM(n_hidden=4, n_epochs=2, random_state=0),
    "dbn": dg.DBN((4, 3), visible="gaussian", n_epochs=2, random_state=0),
    "binary dbn": UnitIntervalDBN((4, 3), n_epochs=2, random_state=0),
    "dbm": dg.DBM((4, 3), visible="gaussian", n_epochs=2, random_state=0),
    "binary dbm": UnitIntervalDBM((4, 3), n_epochs=2, random_state=0),
    "mixture": UnitIntervalMixtureOfBernoullis(4, max_iter=3, random_state=0),
    "real mixture": dg.MixtureOfProducts(
        4, visible="gaussian", max_iter=3, random_state=0
    ),
    "autoencoder": dg.Autoencoder(4, visible="gaussian", n_epochs=2, random_state=0),
    "binary autoencoder": UnitIntervalAutoencoder(4, n_epochs=2, random_state=0),
    "deep autoencoder": dg.DeepAutoencoder(
        (6, 3), visible="gaussian", n_epochs=2, random_state=0
    ),
    "documents": CountsReplicatedSoftmax(4, n_epochs=2, random_state=0),
    "imputer": dg.Imputer(
        dg.RBM(n_hidden=4, visible="gaussian", n_epochs=2, random_state=0), random_state=0
    ),
    "binary imputer": UnitIntervalImputer(random_state=0),
    # scikit-learn's checks have a class -1
    "classifier": dg.DeepClassifier(unlabelled=None, **SUPERVISED),
    "regressor": dg.DeepRegressor(**SUPERVISED),
    "neighbours": dg.NeighbourhoodComponents(n_components=2, **SUPERVISED),
    "hierarchy": dg.HierarchicalGaussian(random_state=0),
    "gaussian process": dg.DeepGaussianProcessRegressor(**SUPERVISED),
}

# The same fit where a row of weight two is there twice: what weights by row mean
# (`tests/test_sample_weight.py`), but mini-batches are drawn from other rows.
OF_WHOLE_BATCHES = (
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
)

OWN_CHECKS = {
    "classifier": ("check_classifiers_train", "check_classifiers_classes"),
    "regressor": ("check_regressors_train", "check_regressor_multioutput"),
    "neighbours": ("check_classifiers_train", "check_transformer_general"),
    "gaussian process": ("check_regressors_train",),
    "hierarchy": ("check_classifiers_train", "check_transformer_general"),
}


# those that must learn to predict take a minute; `test_all_checks_run` runs all of their checks
@pytest.mark.parametrize(
    "name", with_slow([name for name in ESTIMATORS if name not in OWN_CHECKS], ["dbm", "dbn"])
)
def test_check_estimator_raises_nothing(name):
    """Would catch any breach of scikit-learn's contract: no list of expected failures is given."""
    check_estimator(ESTIMATORS[name], on_fail="raise", on_skip=None)


@pytest.mark.parametrize("name", with_slow(ESTIMATORS, set(ESTIMATORS) - {"binary", "gaussian"}))
def test_all_checks_run(name):
    """Would catch a tag that quietly switches checks off: all run, none is skipped by us."""
    results = check_estimator(ESTIMATORS[name], on_fail=None, on_skip=None)
    status = {r["check_name"]: r["status"] for r in results if r["status"] != "passed"}
    if os.environ.get("SCIPY_ARRAY_API") != "1":
        assert status.pop(NEEDS_ARRAY_API, "skipped") == "skipped"
    if name in OWN_CHECKS:
        status = {check: how for check, how in status.items() if check not in OF_WHOLE_BATCHES}
    assert status == {}
    assert not any(r["expected_to_fail"] for r in results)
    names = {r["check_name"] for r in results}
    assert len(names) >= 40
    for needed in (
        "check_n_features_in_after_fitting", "check_fit2d_1sample", "check_estimator_sparse_matrix",
        "check_estimators_pickle", "check_methods_subset_invariance",
        "check_methods_sample_order_invariance", "check_readonly_memmap_input",
        *OWN_CHECKS.get(name, ("check_transformer_general",)),
    ):  # fmt: skip
        assert needed in names


def test_checks_see_a_broken_estimator():
    """Would catch a checker that checks nothing: an estimator that keeps the data must fail."""

    class Broken(UnitIntervalRBM):
        def transform(self, X):
            return super().transform(X) + np.arange(np.shape(X)[0])[:, None]  # by position

    failed = check_estimator(
        Broken(n_hidden=2, n_epochs=1, random_state=0), on_fail=None, on_skip=None
    )
    assert any(r["status"] == "failed" for r in failed)


def test_checks_can_be_listed():
    """Would catch an estimator whose tags or constructor break scikit-learn's own generator."""
    assert len(list(estimator_checks_generator(ESTIMATORS["gaussian"]))) >= 40
