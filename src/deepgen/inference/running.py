"""Chains of a sampler that go on where they are: one long run, taken a few sweeps at a time."""

import copy
import threading

from deepgen.checks import check_integer
from deepgen.inference.gibbs import check_particles
from deepgen.inference.samplers import Gibbs, check_one_row_each, check_sampler
from deepgen.layers.passes import Site
from deepgen.runtime.work import ANY_WORK, Work


class RunningChains:
    """Chains of a model that can be moved on again and again, as if they had never stopped.

    Draws are a function of the number of the sweep, counted from the beginning, so that two moves
    of 5 sweeps end where one of 10 does, bit by bit. A move that is broken off, by Ctrl-C or a time
    limit, has not been made. Threads that move the same chains do so one after the other. A pickle
    goes on where its original was.

    Parameters
    ----------
    model : BoltzmannMachine
    particles : Particles
        First states, one row for each chain; not changed.
    site : Site
        Of the first sweep, of a kind whose positions are sweeps.
    sampler : Sampler or None
        None: :class:`~deepgen.inference.samplers.Gibbs`.
    context : Context or None
        With a row for each chain.
    work : Work

    Attributes
    ----------
    model, context
        As they were given.
    n_sweeps : int
        Sweeps of each chain so far.

    Raises
    ------
    ValueError
        If the particles are not states of the model, or the sampler cannot do what is asked for.
    """

    def __init__(self, model, particles, site, *, sampler=None, context=None, work=ANY_WORK):
        self._sampler = Gibbs() if sampler is None else sampler
        check_sampler(self._sampler, for_context=context is not None)
        check_particles(model, particles)
        self.model, self.context, self.n_sweeps = model, context, 0
        self._first, self._site, self._work = particles.copy(), site, work
        self._chains, self._lock = None, threading.Lock()

    def __len__(self):
        return len(self._first)

    def __getstate__(self):
        with self._lock:
            state = dict(vars(self))
        del state["_lock"]
        return {**state, "_work": Work(n_threads=self._work.n_threads)}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def move(self, n_sweeps):
        """Move all chains on; return where they are then, and after how many sweeps.

        Parameters
        ----------
        n_sweeps : int
            0: stay.

        Returns
        -------
        tuple of (Particles, int)
            Of all layers, a row for each chain; no later move changes them. Sweeps of each chain
            since the beginning.
        """
        check_integer(n_sweeps, "n_sweeps", 0)
        with self._lock:
            if len(self) == 0 or n_sweeps == 0:
                return self._here(), self.n_sweeps
            site = self._site
            if self._chains is None:
                start = Site(site.stream.child("start"), site.kind, site.first_row)
                chains = self._sampler.start(self.model, self._first, start)
            else:
                chains = copy.copy(self._chains)
                chains.further = dict(chains.further)
            self._sampler.move(
                self.model, chains, site.of_sweep(self.n_sweeps), n_sweeps=n_sweeps, means=False,
                context=self.context, work=self._work,
            )  # fmt: skip
            check_one_row_each(chains.at_model(), len(self), self._sampler)
            self._chains = chains
            self.n_sweeps += n_sweeps
            return self._here(), self.n_sweeps

    def _here(self):
        """Return the particles at the model."""
        return self._first.copy() if self._chains is None else self._chains.at_model()


def moved_particles(
    model, particles, site, *, n_sweeps, sampler=None, context=None, work=ANY_WORK
):
    """Return where chains are that begin at particles and make a number of sweeps.

    Parameters
    ----------
    n_sweeps : int
    model, particles, site, sampler, context, work
        See :class:`RunningChains`.

    Returns
    -------
    Particles
        Of the model, a row for each of those given.
    """
    chains = RunningChains(model, particles, site, sampler=sampler, context=context, work=work)
    return chains.move(n_sweeps)[0]
