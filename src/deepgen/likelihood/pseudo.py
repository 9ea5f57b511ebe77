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
    out = np.empty(len(rows))
    step = max(1, CHUNK // (sites.shape[1] * visible.n_states))
    for first in range(0, len(rows), step):
        piece = slice(first, first + step)
        out[piece] = _log_p_of_sites(model, rows[piece], sites[piece], n_threads).mean(axis=1)
    return out * n_all


def _log_p_of_sites(model, rows, sites, n_threads):
    """Return log p(state of a site | all other sites), of the shape of `sites`.

    Parameters
    ----------
    model : BoltzmannMachine
    rows : ndarray of shape (n_rows, n_visible)
    sites : ndarray of shape (n_rows, n)
        Numbers of some sites of each row.
    n_threads : int or None
    """
    out, first = np.empty(sites.shape), 0
    for columns, part in model.layers[0].placed_parts:
        row, place = np.nonzero((sites >= first) & (sites < first + part.n_sites))
        number = sites[row, place].astype(np.int64) - first
        first += part.n_sites
        if not len(row):
            continue
        alternatives = part.alternatives().states.toarray()
        n_states, group = alternatives.shape
        # the columns of each site, (n_pairs, group), and rows with every state that it could have
        at = columns.start + number[:, None] * group + np.arange(group)
        changed = np.repeat(rows[row], n_states, axis=0).reshape(len(row), n_states, -1)
        pair, state = np.arange(len(row))[:, None, None], np.arange(n_states)[None, :, None]
        changed[pair, state, at[:, None, :]] = alternatives
        energy = free_energy(model, changed.reshape(len(changed) * n_states, -1),
                             n_threads=n_threads)
        log_p = -energy.reshape(len(row), n_states)
        log_p -= np.logaddexp.reduce(log_p, axis=1, keepdims=True)
        is_now = (rows[row[:, None], at][:, None, :] == alternatives).all(axis=2).argmax(axis=1)
        out[row, place] = log_p[np.arange(len(row)), is_now]
    return out
