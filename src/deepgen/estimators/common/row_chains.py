"""Chains of a fitted estimator that go on, and what they are seen as: rows of the kind it reads."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from deepgen.checks import check_flag
from deepgen.inference.belief_networks import downward_pass
from deepgen.inference.gibbs import visible_mean
from deepgen.models import BeliefNetwork
from deepgen.runtime.stream import Stream


def as_rows(states, units, table):
    """Return states of the visible layer as rows of the kind that `fit` got.

    Parameters
    ----------
    states : ndarray of shape (n_rows, n_visible)
    units : Units
        Those of documents give a csr_array of counts.
    table : Table or None
        Of an estimator that was fitted on one: rows are a table then.
    """
    if units.takes_trials:
        return sparse.csr_array(states.astype(np.int64))
    return states if table is None else table.rows(states)


@dataclass(frozen=True)
class Below:
    """The directed layers below the machine whose chains move: of a belief network.

    Attributes
    ----------
    network : BeliefNetwork
    stream : Stream
        At the beginning of the chains.
    first_row : int
        Number of the first chain in the whole.
    lengths : ndarray of shape (n_chains,), int64, or None
        Words of each row, of documents.
    """

    network: BeliefNetwork
    stream: Stream
    first_row: int
    lengths: np.ndarray | None

    def rows(self, states, n_sweeps, *, mean, n_threads):
        """Return draws of the visible layer, or its means, given the machine's lower layer.

        After another number of sweeps the draws have other random numbers.
        """
        return downward_pass(
            self.network, states, self.stream.advanced(n_sweeps), first_row=self.first_row,
            mean=mean, trials=self.lengths, n_threads=n_threads,
        )[0]  # fmt: skip


class RowChains:
    """Chains of a model that go on: one long run, seen whenever one likes.

    ``estimator.chains(n)`` makes them. They keep the model of then: a later fit does not change
    them. Threads that run the same chains do so one after the other; a pickle goes on where its
    original was. A run that a :class:`TimeLimit` or Ctrl-C breaks off has not been made.

    Attributes
    ----------
    n_sweeps : int
        Sweeps of each chain so far.
    particles : Particles
        States of all layers of the machine whose chains these are; of a belief network that on top.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> X = (np.random.default_rng(0).random((200, 16)) < 0.3).astype(np.uint8)
    >>> rbm = dg.RBM(n_hidden=8, n_epochs=2, random_state=0).fit(X)
    >>> chains = rbm.chains(4, random_state=0)
    >>> for _ in range(3):
    ...     rows = chains.run(10)
    >>> chains
    RowChains(4 chains, 30 sweeps)
    >>> bool((rows == rbm.sample(4, n_sweeps=30, random_state=0)).all())
    True
    """

    def __init__(self, chains, table=None, below=None, n_threads=None):
        self._chains, self._table, self._below = chains, table, below
        self._n_threads = n_threads

    def __len__(self):
        return len(self._chains)

    def __repr__(self):
        return f"RowChains({len(self)} chains, {self.n_sweeps:,} sweeps)"

    @property
    def n_sweeps(self):
        """Sweeps of each chain so far."""
        return self._chains.n_sweeps

    @property
    def particles(self):
        """States of all layers, as :class:`Particles`; no later run changes them."""
        return self._chains.move(0)[0]

    def run(self, n_sweeps=1, *, mean=False):
        """Move the chains on; return the rows that they have then.

        Two runs of 5 sweeps end with the bits of one of 10.

        Parameters
        ----------
        n_sweeps : int, default 1
            0: look at them where they are.
        mean : bool, default False
            Return the means of the visible units given the layer above, not a draw: smooth
            pictures. The chains go the same way.

        Returns
        -------
        ndarray of shape (n_chains, n_features)
            Rows as `sample` of the estimator gives them; means are float32. With
            ``visible="auto"`` a table, documents are a csr_array of counts; means of either are an
            array of shape (n_chains, n_visible).

        Raises
        ------
        ValueError
            If `n_sweeps` is no whole number of at least 0, or `mean` is neither True nor False.
        """
        check_flag(mean, "mean")
        particles, done = self._chains.move(n_sweeps)
        model, units = self._chains.model, self._chains.model.layers[0]
        if self._below is not None:
            units = self._below.network.visible
            rows = self._below.rows(particles[0], done, mean=mean, n_threads=self._n_threads)
        elif mean:
            rows = visible_mean(model, particles, n_threads=self._n_threads)
        else:
            rows = particles[0]
        return rows if mean else as_rows(rows, units, self._table)
