"""Missing entries of rows, filled in by chains around what is observed."""

import numpy as np

from deepgen.inference.gibbs import start_particles, update_layer
from deepgen.inference.running import moved_particles
from deepgen.layers.context import Context
from deepgen.layers.passes import Site
from deepgen.rows.states import as_states, dense
from deepgen.runtime.stream import SAMPLE
from deepgen.runtime.work import ANY_WORK


def impute(
    model, X, missing, site, *, n_chains=20, n_sweeps=100, sampler=None, work=ANY_WORK
):
    """Complete rows: chains with the observed entries held.

    Parameters
    ----------
    model : BoltzmannMachine
    X : array-like of shape (n_samples, n_visible)
        Values at missing entries are ignored.
    missing : bool array of shape (n_samples, n_visible)
    site : Site
        Of the last draws; each chain has a child stream.
    n_chains : int
        Independent chains a row.
    n_sweeps : int
        Sweeps of each chain.
    sampler : Sampler or None
        None: :class:`~deepgen.inference.samplers.Gibbs`.
    work : Work

    Returns
    -------
    tuple of (draws, means, deviations)
        Last draw of the first chain; mean over chains of the conditional mean of the last
        sweep; and the standard deviation of the missing values, from the conditional means'
        spread over chains plus the conditional variance. float32, shape of X.
    """
    units, first_row = model.layers[0], site.first_row
    X = np.where(missing, 0, dense(as_states(X)))
    context = Context(held={0: ~missing})

    def chain(number):
        source = site.stream.child(number)
        particles = start_particles(model, len(X), source, first_row=first_row)
        observed = observed_states(units, X, source, first_row)
        particles.states[0] = np.where(missing, particles[0], observed).astype(units.state_dtype)
        particles = moved_particles(
            model, particles, Site(source, SAMPLE, first_row), n_sweeps=n_sweeps, sampler=sampler,
            context=context, work=work,
        )  # fmt: skip
        last = site._replace(stream=source.advanced(n_sweeps))
        return update_layer(
            model, 0, particles.states, context=context, mean=True, site=last, work=work
        )

    return summary_of_chains(X, missing, units, map(chain, range(n_chains)))


def observed_states(units, X, stream, first_row):
    """Return X as states that one chain is given: drawn from it, where it has means."""
    if units.is_state(X):
        return X
    observed = units.sample(units.field_of(X), stream.child("grey"), first_row=first_row)
    if units.state_dtype == np.uint8:
        # no state is smaller, so a mean of 0 is certain; also all columns of a missing group
        observed[X == 0] = 0
    return observed


def summary_of_chains(X, missing, units, chains):
    """Return draws, means and deviations of missing entries, from the ends of all chains.

    With means m_c of n chains and conditional variances s_c, the mean is ``sum m_c / n`` and the
    squared deviation ``sum (m_c^2 + s_c) / n`` minus its square. Draws are the first chain's.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_visible)
    missing : bool array of that shape
    units : Units
        The visible ones.
    chains : iterable of tuple of ndarray
        (means, draws) of the visible layer after each chain's last sweep.

    Returns
    -------
    tuple of ndarray
        See :func:`impute`.
    """
    first, total, square, n_chains = None, 0.0, 0.0, 0
    for means, draws in chains:
        first = draws if first is None else first
        total = total + means.astype(np.float64)
        square = square + means.astype(np.float64) ** 2 + units.variance(means)
        n_chains += 1
    mean = total / n_chains
    deviation = np.sqrt(np.maximum(square / n_chains - mean**2, 0.0))
    return (
        np.where(missing, first, X).astype(np.float32),
        np.where(missing, mean, X).astype(np.float32),
        np.where(missing, deviation, 0.0).astype(np.float32),
    )
