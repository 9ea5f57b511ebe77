"""Small fitted models for tests of services, with rows, and what can be asked of each."""

import datetime
import functools

import numpy as np
import pandas as pd
from served import served

import deepgen as dg

RNG = np.random.default_rng(8)
X = (RNG.random((150, 20)) < 0.3).astype(np.uint8)
REAL = RNG.normal(size=(150, 20)).astype(np.float32)
WORDS = RNG.poisson(0.6, (150, 20)) + np.eye(150, 20, dtype=np.int64)
NAMES = np.array(["cat", "dog", "owl"])[np.arange(150) % 3]
DAYS = np.array([datetime.date(2020, 1, 1 + n % 2) for n in range(150)])
RUN = {"n_epochs": 1, "random_state": 0, "n_threads": 1}
TOWNS = np.array(["Ulm", "Bonn", "Trier"])[np.arange(150) % 3]
TABLE = pd.DataFrame({
    "smokes": np.arange(150) % 2 == 0, "town": TOWNS, "height": 170 + 10 * RNG.normal(size=150)
})  # fmt: skip

MADE = {
    "rbm": lambda: dg.RBM(12, **RUN).fit(X),
    "gaussian": lambda: dg.RBM(12, visible="gaussian", **RUN).fit(REAL),
    "dbn": lambda: dg.DBN((12, 9), **RUN).fit(X),
    "dbm": lambda: dg.DBM((12, 9), pretrained=None, **RUN).fit(X),
    "labels": lambda: dg.DBM((12,), pretrained=None, label_units=True, **RUN).fit(X, NAMES),
    "days": lambda: dg.DBM((12,), pretrained=None, label_units=True, **RUN).fit(X, DAYS),
    "mixture": lambda: dg.MixtureOfBernoullis(3, random_state=0).fit(X),
    "documents": lambda: dg.ReplicatedSoftmax(8, **RUN).fit(WORDS),
    "autoencoder": lambda: dg.Autoencoder(6, **RUN).fit(X),
    "classifier": lambda: dg.DeepClassifier((9,), **RUN).fit(X, NAMES),
    "regressor": lambda: dg.DeepRegressor((9,), **RUN).fit(X, REAL[:, :2]),
    "table": lambda: dg.RBM(6, visible="auto", **RUN).fit(TABLE),
    "real mixture": lambda: dg.MixtureOfProducts(3, visible="gaussian", random_state=0).fit(REAL),
    "process": lambda: dg.DeepGaussianProcessRegressor((9,), **RUN).fit(X, REAL[:, 0]),
    "neighbours": lambda: dg.NeighbourhoodComponents((9,), 3, **RUN).fit(X, NAMES),
    "hierarchy": lambda: dg.HierarchicalGaussian(4, random_state=0).fit(REAL, NAMES),
}
ROWS = {"gaussian": REAL, "real mixture": REAL, "documents": WORDS, "hierarchy": REAL}
ANSWERS = {
    "rbm": {"transform", "free_energy", "score", "impute", "sample"},
    "gaussian": {"transform", "free_energy", "score", "impute", "sample"},
    "dbn": {"transform", "score", "impute", "sample"},
    "dbm": {"transform", "score", "impute", "sample"},
    "labels": {"transform", "score", "impute", "sample", "predict"},
    "days": {"transform", "score", "impute", "sample", "predict"},
    "mixture": {"transform", "score", "impute", "sample", "predict"},
    "documents": {"transform", "free_energy", "score", "impute", "sample"},
    "autoencoder": {"transform"},
    "classifier": {"predict"},
    "regressor": {"predict"},
    "table": {"transform", "free_energy", "score", "impute", "sample"},
    "real mixture": {"transform", "score", "impute", "sample", "predict"},
    "process": {"predict"},
    "neighbours": {"transform", "predict"},
    "hierarchy": {"transform", "score", "predict"},
}
ONE = [[0] * 20]  # a row, as JSON has it


@functools.cache
def made():
    """The fitted estimators by name."""
    return {name: make() for name, make in MADE.items()}


def small_service():
    """A service of a DBM with label units, which has most endpoints, with tight limits."""
    return served(MADE["labels"](), seconds=0.5, body=20_000, sweeps=500, chains=40)


def rows_of(name, n=6):
    return ROWS.get(name, X)[:n]
