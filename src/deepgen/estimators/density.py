"""What estimators around a Boltzmann machine share: brackets of log Z, likelihoods, chains."""

import os
import threading

import numpy as np

from deepgen.checks import MOST_ROWS, check_flag, check_integer, shown
from deepgen.data import ArrayRows
from deepgen.estimators.validation import warn_of_grey_rows
from deepgen.likelihood import log_partition_bracket
from deepgen.sampling import start_particles
from deepgen.states import Particles


def bracket(estimator, machine, n_chains, n_betas):
    """Return the bracket of a machine's log Z, computed once for a fitted model and these numbers.

    Parameters
    ----------
    estimator : BaseEstimator
        Keeps it as ``_bracket``, None after each fit, with the numbers it was asked for.
    machine : BoltzmannMachine
    n_chains, n_betas
        See :func:`deepgen.log_partition_bracket`.
    """
    wanted = (n_chains, n_betas if n_betas is None else tuple(np.ravel(n_betas).tolist()))
    known, found = estimator._bracket or (None, None)
    if known != wanted:
        with _lock:
            known, found = estimator._bracket or (None, None)
            if known != wanted:
                found = log_partition_bracket(
                    machine, estimator._particles, n_chains=n_chains, n_betas=n_betas,
                    random_state=estimator._score_seed, n_threads=estimator.n_threads,
                )  # fmt: skip
                estimator._bracket = (wanted, found)
    return found


def last_bracket(estimator):
    """Return the bracket that was asked for last, or one with the default numbers."""
    return estimator._bracket[1] if estimator._bracket else estimator.log_partition()


def check_whole_rows(X, visible):
    """Raise ValueError unless rows can have a likelihood; warn where values are between states."""
    grey = False
    for states in ArrayRows(X).pieces():
        visible.check(states)
        grey = grey or not visible.is_state(states)
        if visible.missing(states) is not None:
            raise ValueError(
                "X has missing variables (all-zero groups), and log p(v) is that of whole rows; "
                "complete them with impute, or compare free_energy of rows with the same gaps"
            )
    if grey:
        warn_of_grey_rows()


def check_sampling(n_samples, n_sweeps, first_row):
    """Raise ValueError unless these are numbers of samples, sweeps and a row."""
    check_integer(n_samples, "n_samples", 0)
    check_integer(n_sweeps, "n_sweeps", 0)
    check_integer(first_row, "first_row", 0, MOST_ROWS)


def first_states(estimator, machine, n_samples, stream, first_row):
    """Return where chains start: the training particles where there are any."""
    if estimator._particles is None:
        return start_particles(machine, n_samples, stream, first_row=first_row)
    chosen = np.arange(first_row, first_row + n_samples) % len(estimator._particles)
    return Particles([x[chosen] for x in estimator._particles.states])


def check_imputation(method, return_std, n_chains, n_sweeps, first_row):
    """Raise ValueError unless these are settings of `impute`."""
    if method not in ("mean", "draw"):
        raise ValueError(f"method must be 'mean' or 'draw', got {shown(method)}")
    check_flag(return_std, "return_std")
    check_integer(n_chains, "n_chains")
    check_integer(n_sweeps, "n_sweeps", 0)
    check_integer(first_row, "first_row", 0, MOST_ROWS)


# One lock for all estimators: a lock of their own could not be pickled, and a bracket is rare.
_lock = threading.Lock()


def _renew_lock_in_child():
    # a thread that the child does not have may have held it
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock_in_child)
