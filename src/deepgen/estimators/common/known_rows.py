"""Outputs of a network for the labelled rows that its estimator keeps."""

import numpy as np

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
