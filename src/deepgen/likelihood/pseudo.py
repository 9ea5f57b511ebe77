"""Pseudo-likelihood: each unit given all the others. No log Z is needed."""

import math

import numpy as np

from deepgen.checks import MOST, is_integer, shown
from deepgen.inference.free_energy import free_energy
from deepgen.models import check_model
from deepgen.rows.states import dense
from deepgen.runtime.stream import FLIP, Stream

# Rows of changed states that are held at once.
CHUNK = 8192


def pseudo_log_likelihood(model, X, *, n_sites=1, random_state=None, n_threads=None):
    """Estimate the sum over visible units of log p(v_i | all others), by row.

    A monitor that costs about `n_sites` times `free_energy` and needs no log Z. It rises while
    a model learns what is local; it tells little about distant modes, and values of different
    models may stand in another order than their likelihoods.

    Parameters
    ----------
    model : BoltzmannMachine
        Two layers; visible units binary or softmax.
    X : array-like or sparse matrix of shape (n_samples, n_visible)
    n_sites : int or None
        Units (groups of a softmax layer) drawn for each row, with replacement; their mean stands
        for all. None: every one, exactly.
    random_state : int, RandomState, Generator or None
    n_threads : int or None

    Returns
    -------
    ndarray of shape (n_samples,), float64
        Nats.

    Raises
    ------
    ValueError
        If the states of a visible unit cannot be counted, as those of Gaussian ones, X holds
        values between states or missing variables,
        or the model has more than two layers.

    References
    ----------
    Besag (1975); Marlin, Swersky, Chen & de Freitas (2010), section 3.
    """
    check_model(model, 2)
    visible = model.layers[0]
    if math.isinf(visible.n_states):
        raise ValueError(
            "the pseudo-likelihood needs visible units whose states can be counted, such as binary "
            f"or softmax ones, got {type(visible).__name__} ones; use dg.ais and dg.free_energy "
            "for their likelihood"
        )
    if n_sites is not None and not (is_integer(n_sites) and 1 <= n_sites <= MOST):
        raise ValueError(f"n_sites must be None or a positive integer, got {shown(n_sites)}")
    states = visible.states_of(X)
    if not visible.is_state(states) or visible.missing(states) is not None:
        raise ValueError("X must hold whole states: binarize grey values, impute missing variables")
    rows = dense(states).astype(visible.state_dtype)
    n_all = visible.n_sites
    if n_sites is None:
        sites = np.broadcast_to(np.arange(n_all), (len(rows), n_all))
    else:
        words = Stream.from_random_state(random_state).words(len(rows), n_sites, FLIP)
        sites = words % np.uint32(n_all)
    alternatives = visible.alternatives().states.toarray()
    out = np.empty(len(rows))
    step = max(1, CHUNK // (sites.shape[1] * len(alternatives)))
    for first in range(0, len(rows), step):
        piece = slice(first, first + step)
        changed = _changed(rows[piece], sites[piece], alternatives)
        energy = free_energy(model, changed.reshape(-1, visible.size), n_threads=n_threads)
        log_p = -energy.reshape(-1, sites.shape[1], len(alternatives))
        log_p -= np.logaddexp.reduce(log_p, axis=2, keepdims=True)
        numbers = _state_numbers(rows[piece], sites[piece], alternatives)
        out[piece] = np.take_along_axis(log_p, numbers[:, :, None], axis=2)[:, :, 0].mean(axis=1)
    return out * n_all


def _state_numbers(rows, sites, alternatives):
    """Return the number of the state that each site has, int64 of shape (n_rows, n_sites).

    `alternatives` are the states of a site, (n_states, group).
    """
    by_site = rows.reshape(len(rows), -1, alternatives.shape[1])
    chosen = by_site[np.arange(len(rows))[:, None], sites]  # (n_rows, n_sites, group)
    return (chosen[:, :, None] == alternatives).all(axis=3).argmax(axis=2)


def _changed(rows, sites, alternatives):
    """Copies of each row, one for each site and each state that the site could have."""
    (n, n_sites), (n_states, group) = sites.shape, alternatives.shape
    changed = np.repeat(rows, n_sites * n_states, axis=0)
    changed = changed.reshape(n, n_sites, n_states, -1, group)
    row, number = np.arange(n)[:, None], np.arange(n_sites)[None, :]
    for state, values in enumerate(alternatives):
        changed[row, number, state, sites] = values
    return changed
