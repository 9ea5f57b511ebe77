"""Numbers of the tour, each with its standard error over held-out digits (docs/math.md, "Numbers
of the demo")."""

import math

import numpy as np
from sklearn.decomposition import PCA

from deepgen.demo.digits import DATA_SEED
from deepgen.runtime.stream import child_seed

# Rows whose completions are judged, chains of each and their sweeps: a few seconds of work.
N_JUDGED, JUDGED_CHAINS, JUDGED_SWEEPS = 100, 10, 50


def standard_error(values):
    """Return the standard error of the mean of independent values; NaN for a single one."""
    values = np.asarray(values, np.float64)
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def likelihoods(rbm, train, held_out):
    """Return mean log-likelihoods of held-out rows, in nats a row.

    Parameters
    ----------
    rbm : RBM
    train, held_out : ndarray of shape (n_rows, n_visible), uint8

    Returns
    -------
    dict
        Of ``independent_pixels``, with the rates of `train` by Laplace's rule; of the RBM
        ``value``, and ``lower`` and ``upper`` by the bracket of log Z, made by ``method``; and
        ``standard_error``, over rows, of the value.
    """
    bracket = rbm.log_partition()
    by_row = rbm.score_samples(held_out)
    at_value = float(by_row.mean())
    p = (train.sum(axis=0) + 1.0) / (len(train) + 2.0)
    independent = held_out @ np.log(p) + (1 - held_out.astype(np.int8)) @ np.log1p(-p)
    return {
        "independent_pixels": float(independent.mean()),
        "value": at_value,
        "lower": float(at_value + bracket.value - bracket.upper),
        "upper": float(at_value + bracket.value - bracket.lower),
        "method": bracket.method,
        "standard_error": standard_error(by_row),
    }


def lower_half(X):
    """Return which pixels of rows are those of the lower half: what completions fill in."""
    missing = np.zeros(X.shape, bool)
    missing[:, X.shape[1] // 2 :] = True
    return missing


def completion_errors(machines, train, held_out, seed):
    """Return root mean square errors of the pixels of the lower half, completed.

    Parameters
    ----------
    machines : dict of str to estimator
    train, held_out : ndarray of shape (n_rows, n_visible), uint8
        The first 100 held-out rows are completed.
    seed : int

    Returns
    -------
    dict of str to dict
        For ``column_means`` of `train`, and for each machine, ``value`` and ``standard_error``;
        of machines after the first also ``less_than_first`` and ``its_standard_error``: the mean
        over rows of how much smaller the mean square error is than the first machine's.
    """
    X = held_out[:N_JUDGED]
    missing = lower_half(X)
    completed = {"column_means": np.broadcast_to(train.mean(axis=0), X.shape)}
    for name, machine in machines.items():
        completed[name] = machine.impute(
            X, missing, n_chains=JUDGED_CHAINS, n_sweeps=JUDGED_SWEEPS,
            random_state=child_seed(seed, "judged"),
        )  # fmt: skip
    squares = {
        name: np.square(C - X, dtype=np.float64)[missing].reshape(len(X), -1).mean(axis=1)
        for name, C in completed.items()
    }
    first, *others = machines
    errors = {name: _root_mean(by_row) for name, by_row in squares.items()}
    for name in others:
        less = squares[first] - squares[name]
        errors[name] |= {
            "less_than_first": float(less.mean()), "its_standard_error": standard_error(less)
        }  # fmt: skip
    return errors


def _root_mean(squares):
    """Return the root of a mean of squares by row, and its standard error by the delta method."""
    root = math.sqrt(squares.mean())
    return {"value": root, "standard_error": standard_error(squares) / (2 * root)}


def squared_errors(auto, train, held_out):
    """Return held-out rows rebuilt from as many numbers by an autoencoder and by PCA.

    Parameters
    ----------
    auto : DeepAutoencoder
    train, held_out : ndarray of shape (n_rows, n_features), float32

    Returns
    -------
    tuple of (dict of str to ndarray, dict of str to dict)
        Reconstructions, by "autoencoder" and "PCA"; by "autoencoder" and "pca" the mean squared
        error of a row, ``value``, and its ``standard_error``.
    """
    n_code = auto.model_.sizes[auto.model_.n_layers // 2]
    pca = PCA(n_code, random_state=DATA_SEED).fit(train)
    rebuilt = {
        "autoencoder": auto.inverse_transform(auto.transform(held_out)),
        "PCA": pca.inverse_transform(pca.transform(held_out)),
    }
    errors = {}
    for name, X in rebuilt.items():
        by_row = np.square(X - held_out, dtype=np.float64).sum(axis=1)
        errors[name.lower()] = {
            "value": float(by_row.mean()), "standard_error": standard_error(by_row)
        }  # fmt: skip
    return rebuilt, errors
