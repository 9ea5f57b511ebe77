"""Mixtures given rows: posteriors, likelihoods, samples, completions."""

from typing import NamedTuple

import numpy as np

from deepgen.layers.passes import Outputs, Site, conditional_pass, layer_log_weight
from deepgen.rows.holes import filled
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


class KnownRows(NamedTuple):
    """Rows as a mixture reads them.

    Attributes
    ----------
    states : states of shape (n_rows, n_features)
        With the origin taken off, and zeros where a value is not known.
    unknown : ndarray of shape (n_rows, n_features), bool, or None
        Where it is not; None: all are known.
    """

    states: np.ndarray
    unknown: np.ndarray | None


def known_rows(model, states):
    """Return states, with NaN or a state that says "missing" where a value is not known.

    Parameters
    ----------
    model : ProductMixture
    states : states of shape (n_rows, n_features)

    Returns
    -------
    KnownRows
    """
    unknown = model.visible.unknown_in(states)
    if unknown is not None or model.has_scales:
        states = dense(states)
    if model.has_scales:
        states = states - model.origin
    return KnownRows(filled(states, unknown), unknown)


def posterior(model, rows, outputs, *, work=ANY_WORK):
    """Write p(k | x) and log p(x) of rows into arrays; of what is known of them.

    Parameters
    ----------
    model : ProductMixture
    rows : KnownRows
    outputs : Outputs
        Means: p(k | x), (n_rows, n_components); log normalizers: log p(x). Products are float32.
    work : Work
    """
    states, unknown = rows
    if unknown is None:
        if states.shape[0]:
            _component_pass(model, states, outputs, work=work)
    else:
        _posterior_of_known(model, states, unknown, outputs, work)
    if outputs.log_normalizer is not None and model.has_scales:
        # the base measure, of known values alone: others are at the origin, where it is one
        outputs.log_normalizer[:] += layer_log_weight(
            model.chain, 0, states, n_threads=work.n_threads
        )


def _posterior_of_known(model, states, unknown, outputs, work):
    """See :func:`posterior`; rows without holes apart: each row has the bits that it has alone."""
    with_holes = unknown.any(axis=1)
    for chosen in (np.flatnonzero(~with_holes), np.flatnonzero(with_holes)):
        if not len(chosen):
            continue
        known = (~unknown[chosen]).view(np.uint8) if with_holes[chosen[0]] else None
        some = Outputs(*(None if x is None else x[chosen] for x in outputs))
        _component_pass(model, states[chosen], some, known, work=work)
        for whole, part in zip(outputs, some, strict=True):
            if whole is not None:
                whole[chosen] = part


def responsibilities(model, states, *, n_threads=None):
    """Return p(k | x) of each row, or p(k | what is known of x), (n_rows, n_components) float32."""
    out = np.empty((states.shape[0], model.n_components), np.float32)
    posterior(model, known_rows(model, states), Outputs(out), work=Work(n_threads=n_threads))
    return out


def log_likelihood(model, states, *, n_threads=None):
    """Return log p(x) of each row, float64 of shape (n_rows,); products are float32.

    Where a row has NaN, that is the log probability of what is known of it: exact too.
    """
    out = np.zeros(states.shape[0])
    rows, outputs = known_rows(model, states), Outputs(log_normalizer=out)
    posterior(model, rows, outputs, work=Work(n_threads=n_threads))
    return out


def _columns_given(model, chosen, site, n_threads, draws):
    """Draw columns given one-hot components into `draws`."""
    conditional_pass(
        model.chain, 0, [None, chosen], Outputs(sample=draws), site=site,
        work=Work(n_threads=n_threads),
    )  # fmt: skip
    if model.has_scales:
        draws += model.origin
    return draws


def _averages(chain, shares, n_features, n_threads):
    """Return numbers by column of each component, averaged by its share, (n_rows, n_features)."""
    out = np.empty((len(shares), n_features), np.float32)
    conditional_pass(
        chain, 1, [shares, None], Outputs(mean=out), work=Work(n_threads=n_threads)
    )
    return out


def sample_mixture(model, n_rows, *, random_state=None, first_row=0, n_threads=None):
    """Draw rows: a component by its weight, then the columns.

    Parameters
    ----------
    model : ProductMixture
    n_rows : int
    random_state : int, RandomState, Generator or None
    first_row : int
        Pieces drawn with the right `first_row` equal the whole.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        Of the columns' state type.
    """
    stream, dtype = Stream.from_random_state(random_state), model.visible.state_dtype
    out = np.empty((n_rows, model.n_features), dtype)
    nothing = np.zeros((min(n_rows, CHUNK), model.n_features), dtype)
    no_column = nothing.astype(np.uint8)
    for start in range(0, n_rows, CHUNK):
        rows = slice(start, min(start + CHUNK, n_rows))
        n, site = rows.stop - start, Site(stream, SAMPLE, first_row + start)
        chosen = np.empty((n, model.n_components), np.uint8)
        # nothing is observed: the posterior is the weights
        _component_pass(
            model, nothing[:n], Outputs(sample=chosen), no_column[:n], site=site,
            work=Work(n_threads=n_threads),
        )  # fmt: skip
        _columns_given(model, chosen, site, n_threads, out[rows])
    return out


def impute_mixture(model, X, missing, *, random_state=None, first_row=0, n_threads=None):
    """Complete rows from the posterior given their observed entries; exact, no chains.

    Parameters
    ----------
    model : ProductMixture
    X : array-like of shape (n_rows, n_features)
        Values at missing entries are ignored; grey ones are used as means. A group without a one
        is not observed, and comes back as it is where it is not missing.
    missing : bool array of shape (n_rows, n_features)

    Returns
    -------
    tuple of (draws, means, deviations)
        One joint draw, conditional means and standard deviations of the missing entries;
        float32, shape of X.
    """
    stream, visible = Stream.from_random_state(random_state), model.visible
    X = np.where(missing, 0, dense(as_states(X)))
    draws, means, variances = (np.array(X, np.float32) for _ in range(3))
    for start in range(0, len(X), CHUNK):
        rows = slice(start, start + CHUNK)
        holes = missing[rows]
        absent = visible.missing(X[rows]) if visible.can_be_missing else None
        unknown = holes if absent is None else holes | absent
        states = X[rows] if not model.has_scales else filled(X[rows] - model.origin, unknown)
        n, site = len(states), Site(stream, IMPUTE, first_row + start)
        shares = np.empty((n, model.n_components), np.float32)
        chosen = np.empty(shares.shape, np.uint8)
        _component_pass(
            model, states, Outputs(shares, chosen), (~unknown).view(np.uint8), site=site,
            work=Work(n_threads=n_threads),
        )  # fmt: skip
        columns = _averages(model.chain_of_means, shares, model.n_features, n_threads)
        clipped = visible.clipped(columns)
        variances[rows] = clipped * (1.0 - clipped)  # of columns of zeros and ones
        if model.has_scales:
            _set_variances(model, variances[rows], shares, columns, n_threads)
            clipped = clipped + model.origin
        means[rows] = np.where(holes, clipped, means[rows])
        drawn = np.empty(states.shape, visible.state_dtype)
        _columns_given(model, chosen, site, n_threads, drawn)
        draws[rows] = np.where(holes, drawn, draws[rows])
    deviations = np.where(missing, np.sqrt(variances), 0.0)
    return draws, means, deviations.astype(np.float32)


def _set_variances(model, variances, shares, means, n_threads):
    """Write the variances of columns with a scale: that within components and that of their means.

    Parameters
    ----------
    variances : ndarray of shape (n_rows, n_features)
    shares : ndarray of shape (n_rows, n_components)
    means : ndarray of shape (n_rows, n_features)
        From the origin, as the components give them.
    """
    squares = _averages(model.chain_of_squares, shares, model.n_features, n_threads)
    between = np.maximum(squares - means**2, 0.0)
    for columns, part in model.visible.placed_parts:
        if part.precision is not None:
            variances[:, columns] = 1.0 / part.precision + between[:, columns]
