"""Small rows of each kind, and what an RBM estimator holds: for the tests of that estimator."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import deepgen as dg

SMALL = {"n_hidden": 5, "n_epochs": 2, "batch_size": 10, "random_state": 0}
RNG = np.random.default_rng(7)
# 60 rows of 12 pixels: two prototypes with noise; never written to, by any test
X = (RNG.random((60, 12)) < np.where(np.arange(60)[:, None] % 2, 0.8, 0.2)).astype(np.uint8)
X.flags.writeable = False
GREY = RNG.random((60, 12))
REAL = RNG.normal(3.0, [0.5, 1.0, 2.0] * 4, (60, 12))
ONE_HOT = np.eye(3, dtype=np.uint8)[RNG.integers(0, 3, (60, 4))].reshape(60, 12)
KINDS = {
    "binary": ("binary", X),
    "grey": ("binary", GREY),
    "gaussian": ("gaussian", REAL),
    "softmax": (dg.Softmax(3), ONE_HOT),
}


def state(estimator):
    """Names and identities of everything an estimator holds."""
    return {name: id(value) for name, value in vars(estimator).items()}


# ------------------------------------------------------------------------------------- fixtures
# a file of tests takes them over by assignment, as arguments would shadow imported names


@pytest.fixture(scope="module")
def digits():
    """Real digits as bits: 1,500 rows to learn from, 297 held out."""
    rows = (load_digits().data > 7).astype(np.uint8)
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    return rows[:1500], rows[1500:]


@pytest.fixture(scope="module")
def fitted_digits(digits):
    """One model with all defaults but the number of hidden units, shared by the module."""
    return dg.RBM(16, random_state=0).fit(digits[0])


@pytest.fixture(scope="module")
def fitted():
    """A small fitted estimator; tests that change one make a deep copy."""
    return dg.RBM(**SMALL).fit(X)
