"""Outputs of a network for the labelled rows that its estimator keeps, and for rows to compare."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from deepgen.estimators.common.validation import by_pieces, rows_to_read
from deepgen.layers.named import columns_of
from deepgen.models.backprop import outputs
from deepgen.networks.objective import PASS_ROWS
from deepgen.runtime.work import Work


def outputs_of(network, rows, *, n_threads=None):
    """Return the outputs of all rows, float32 of shape (n_rows, n_outputs).

    Parameters
    ----------
    network : Network
    rows : PairedRows
    n_threads : int or None
    """
    work = Work(n_threads=n_threads).reusing()
    return np.concatenate([
        outputs(network, batch.states[0], work=work) for batch in rows.in_order(PASS_ROWS)
    ])  # fmt: skip


def outputs_of_some(network, rows, most, *, scale=None, n_threads=None):
    """Return the outputs of some rows, evenly spaced: neighbours in a table are often alike.

    Parameters
    ----------
    network : Network
        At the start of a run.
    rows : ArrayRows
    most : int
        Number of rows, at most.
    scale : InputScale or None
        What the run standardizes its inputs by.
    n_threads : int or None
    """
    chosen = np.linspace(0, rows.n_rows - 1, min(rows.n_rows, most)).astype(np.intp)
    states = rows.batch(chosen).states[0]
    if scale is not None:
        states = scale.standardized(states)
    return outputs(network, states, work=Work(n_threads=n_threads))


def outputs_of_new(estimator, X):
    """Return the outputs of the rows that a fitted estimator is asked about, after checks.

    Parameters
    ----------
    estimator : DeepGaussianProcessRegressor or NeighbourhoodComponents
        Its `model_` has a `network`.
    X : array-like or sparse matrix of shape (n_samples, n_features)

    Returns
    -------
    ndarray of shape (n_samples, n_outputs), float32
    """
    check_is_fitted(estimator)
    rows, network = rows_to_read(estimator, X), estimator.model_.network
    units, work = columns_of(network.inputs, network.sizes[0]), Work(n_threads=estimator.n_threads)
    return by_pieces(rows, units, lambda states: outputs(network, states, work=work))
