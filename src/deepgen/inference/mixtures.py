"""Mixtures given rows: posteriors, likelihoods, samples, completions."""

import numpy as np

from deepgen.layers.passes import Outputs, Site, conditional_pass
from deepgen.rows.holes import filled, holes_in
from deepgen.rows.states import as_states, dense
from deepgen.runtime.stream import IMPUTE, SAMPLE, Stream
from deepgen.runtime.work import ANY_WORK, Work

# Rows of one kernel call where outputs of (n_rows, n_components) are not the result itself.
CHUNK = 8_192


def _component_pass(model, states, outputs, observed=None, site=None, work=ANY_WORK):
    """Run the component's layer given rows, or given the observed entries of rows."""
    chain, neighbours = model.chain, [states, None]
    if observed is not None:
        chain, neighbours = model.chain_of_observed, [states, None, observed]
    conditional_pass(chain, 1, neighbours, outputs, site=site, work=work)


def posterior(model, states, outputs, *, work=ANY_WORK):
    """Write p(k | x) and log p(x) of rows into arrays; where a row has NaN, of what is known of it.

    Parameters
    ----------
    model : BernoulliMixture
    states : states of shape (n_rows, n_features)
    outputs : Outputs
        Means: p(k | x), (n_rows, n_components); log normalizers: log p(x). Products are float32.
    work : Work
    """
    holes = holes_in(states)
    if holes is None:
        if states.shape[0]:
            _component_pass(model, states, outputs, work=work)
        return
    # rows without holes apart: each row has the bits that it has alone
    states, with_holes = filled(states, holes), holes.any(axis=1)
    for chosen in (np.flatnonzero(~with_holes), np.flatnonzero(with_holes)):
        if not len(chosen):
            continue
        known = (~holes[chosen]).view(np.uint8) if with_holes[chosen[0]] else None
        some = Outputs(*(None if x is None else x[chosen] for x in outputs))
        _component_pass(model, states[chosen], some, known, work=work)
        for whole, part in zip(outputs, some, strict=True):
            if whole is not None:
                whole[chosen] = part


def responsibilities(model, states, *, n_threads=None):
    """Return p(k | x) of each row, or p(k | what is known of x), (n_rows, n_components) float32."""
    out = np.empty((states.shape[0], model.n_components), np.float32)
    posterior(model, states, Outputs(out), work=Work(n_threads=n_threads))
    return out


def log_likelihood(model, states, *, n_threads=None):
    """Return log p(x) of each row, float64 of shape (n_rows,); products are float32.

    Where a row has NaN, that is the log probability of what is known of it: exact too.
    """
    out = np.zeros(states.shape[0])
    posterior(model, states, Outputs(log_normalizer=out), work=Work(n_threads=n_threads))
    return out


def _columns_given(model, chosen, site, n_threads, draws):
    """Draw columns given one-hot components into `draws`."""
    conditional_pass(
        model.chain, 0, [None, chosen], Outputs(sample=draws), site=site,
        work=Work(n_threads=n_threads),
    )  # fmt: skip
    return draws


def sample_mixture(model, n_rows, *, random_state=None, first_row=0, n_threads=None):
    """Draw rows: a component by its weight, then the columns.

    Parameters
    ----------
    model : BernoulliMixture
    n_rows : int
    random_state : int, RandomState, Generator or None
    first_row : int
        Pieces drawn with the right `first_row` equal the whole.

    Returns
    -------
    ndarray of shape (n_rows, n_features), uint8
    """
    stream = Stream.from_random_state(random_state)
    out = np.empty((n_rows, model.n_features), np.uint8)
    nothing = np.zeros((min(n_rows, CHUNK), model.n_features), np.uint8)
    for start in range(0, n_rows, CHUNK):
        rows = slice(start, min(start + CHUNK, n_rows))
        n, site = rows.stop - start, Site(stream, SAMPLE, first_row + start)
        chosen = np.empty((n, model.n_components), np.uint8)
        # nothing is observed: the posterior is the weights
        _component_pass(
            model, nothing[:n], Outputs(sample=chosen), nothing[:n], site=site,
            work=Work(n_threads=n_threads),
        )  # fmt: skip
        _columns_given(model, chosen, site, n_threads, out[rows])
    return out


def impute_mixture(model, X, missing, *, random_state=None, first_row=0, n_threads=None):
    """Complete rows from the posterior given their observed entries; exact, no chains.

    Parameters
    ----------
    model : BernoulliMixture
    X : array-like of shape (n_rows, n_features)
        Values at missing entries are ignored; grey ones are used as means.
    missing : bool array of shape (n_rows, n_features)

    Returns
    -------
    tuple of (draws, means, deviations)
        One joint draw, conditional means and standard deviations of the missing entries;
        float32, shape of X.
    """
    stream = Stream.from_random_state(random_state)
    X = np.where(missing, 0, dense(as_states(X)))
    draws, means = (np.array(X, np.float32) for _ in range(2))
    for start in range(0, len(X), CHUNK):
        rows = slice(start, start + CHUNK)
        states, holes = X[rows], missing[rows]
        n, site = len(states), Site(stream, IMPUTE, first_row + start)
        shares = np.empty((n, model.n_components), np.float32)
        chosen = np.empty(shares.shape, np.uint8)
        _component_pass(
            model, states, Outputs(shares, chosen), (~holes).view(np.uint8), site=site,
            work=Work(n_threads=n_threads),
        )  # fmt: skip
        columns = np.empty(states.shape, np.float32)
        conditional_pass(
            model.chain_of_means, 1, [shares, None], Outputs(mean=columns),
            work=Work(n_threads=n_threads),
        )  # fmt: skip
        means[rows] = np.where(holes, np.clip(columns, 0.0, 1.0), means[rows])
        drawn = np.empty(states.shape, np.uint8)
        _columns_given(model, chosen, site, n_threads, drawn)
        draws[rows] = np.where(holes, drawn, draws[rows])
    deviations = np.where(missing, np.sqrt(means * (1.0 - means)), 0.0)
    return draws, means, deviations.astype(np.float32)
