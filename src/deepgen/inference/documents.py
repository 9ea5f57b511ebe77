"""Words that are missing in documents, given the words that are there."""

import numpy as np

from deepgen.inference.gibbs import update_layer
from deepgen.layers.context import Context
from deepgen.rows.states import dense
from deepgen.runtime.time_limit import check_time


def missing_words(model, counts, n_words, site, *, n_chains, n_sweeps, work):
    """Draw the words that documents lack, by chains with the words that are there held.

    A sweep draws ``h | v + u``, of a document of all its words, and ``u | h``, of the missing ones.

    Parameters
    ----------
    model : BoltzmannMachine
        Two layers, of rows with their own number of draws.
    counts : states of shape (n_rows, n_visible)
        Words that are there, ``v``.
    n_words : ndarray of shape (n_rows,), int64
        How many are missing.
    site : Site
        Of the first sweep; each chain has a child stream.
    n_chains, n_sweeps : int
    work : Work

    Returns
    -------
    tuple of (draws, means), float32 of shape (n_rows, n_visible)
        Counts of the missing words of the first chain, and the mean over chains of their
        conditional means in the last sweep.
    """
    there = np.asarray(dense(counts), np.float32)
    context = Context(trials={0: n_words})
    first, total = None, np.zeros(there.shape)
    for number in range(n_chains):
        source = site.stream.child(number)
        added = np.zeros_like(there)
        for sweep in range(n_sweeps):
            here = site._replace(stream=source.advanced(sweep))
            last = sweep == n_sweeps - 1
            _, hidden = update_layer(model, 1, [there + added, None], site=here, work=work)
            means, added = update_layer(
                model, 0, [None, hidden], context=context, mean=last, site=here, work=work
            )
            check_time(len(there))
        total += means
        first = added if first is None else first
    return first, (total / n_chains).astype(np.float32)
