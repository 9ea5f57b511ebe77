"""Samplers: pairs of `start` and `move` over chains, which learning, samples and completions share.

A sampler keeps nothing, so that one serves many runs. What moves on is in :class:`Chains`, and what
a move has found out beside that is in :class:`MoveInfo`.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from deepgen.checks import check_instance, float32_array, has_role, shown
from deepgen.inference.gibbs import sweep, update_layer
from deepgen.layers.context import Context, with_trials
from deepgen.rows.particles import Particles, unchecked_particles
from deepgen.rows.states import compressed
from deepgen.runtime.work import ANY_WORK

_NO_CONTEXT = Context()


class Chains:
    """Chains of a sampler: joint configurations, and all else that decides how they move on.

    Parameters
    ----------
    particles : Particles
        One row for each chain, or several where a sampler also keeps some at other temperatures.
    beta : array-like of shape (n_rows,) or None
        Inverse temperature of each row; 1 is the model. None: all rows are at the model.
    further : dict of str to ndarray, optional
        What else the sampler keeps from one move to the next: counts, weights of temperatures.

    Attributes
    ----------
    particles, beta, further
        A sampler's `move` puts others in their place, and leaves the old arrays as they are.
    first_row : int
        Number of the first row in the whole, where these are the chains of one process of several:
        draws for a chain do not depend on how they were shared out. 0 unless it is set.
    """

    def __init__(self, particles, beta=None, further=None):
        check_instance(particles, "particles", Particles, "dg.Particles([visible, hidden])")
        check_instance({} if further is None else further, "further", dict, "a dict of arrays")
        self.particles = particles
        self.beta = None if beta is None else float32_array(beta, "beta")
        self.further, self.first_row = {} if further is None else further, 0
        if self.beta is not None and self.beta.shape != (len(particles),):
            raise ValueError(f"beta must have shape ({len(particles)},), got {self.beta.shape}")

    def __len__(self):
        return len(self.particles)

    def __repr__(self):
        return f"Chains({self.particles!r}{'' if self.beta is None else ', with temperatures'})"

    def at_model(self):
        """Return the particles at ``beta`` = 1, those of the model, in their order."""
        if self.beta is None:
            return self.particles
        rows = self.beta == 1.0
        return unchecked_particles([x[rows] for x in self.particles.states])

    def put_at_model(self, particles):
        """Let the chains go on from other particles; rows of other temperatures stay."""
        if self.beta is None:
            self.particles = particles
            return
        rows, states = self.beta == 1.0, [x.copy() for x in self.particles.states]
        if rows.sum() != len(particles):
            raise ValueError(
                f"particles must have {rows.sum()} rows, as the chains at beta = 1, got "
                f"{len(particles)}"
            )
        for x, others in zip(states, particles.states, strict=True):
            x[rows] = others
        self.particles = unchecked_particles(states)

    def around(self, context=None):
        """Return the context of all rows: a given one, at the temperatures of the chains.

        Parameters
        ----------
        context : Context or None
            With a row for each row of the chains. Its own temperatures and those of the chains
            multiply.
        """
        context = _NO_CONTEXT if context is None else context
        if self.beta is None:
            return context
        beta = self.beta if context.beta is None else self.beta * context.beta
        return replace(context, beta=beta)

    def tree(self):
        """Return the chains as plain data and arrays, for a checkpoint.

        Where there are particles alone, it is the list of their states.
        """
        states = list(self.particles.states)
        if self.beta is None and not self.further:
            return states
        return {"states": states, "beta": self.beta, "further": dict(self.further)}

    @classmethod
    def from_tree(cls, tree):
        """Return the chains that :meth:`tree` was called on; the arrays are copied."""
        if isinstance(tree, list):
            tree = {"states": tree, "beta": None, "further": {}}
        beta = None if tree["beta"] is None else np.array(tree["beta"])
        further = {name: np.array(value) for name, value in tree["further"].items()}
        return cls(Particles([np.array(x) for x in tree["states"]]), beta, further)


@dataclass(slots=True)
class MoveInfo:
    """Results of a move beside the new places of the chains: means, numbers of swaps.

    Attributes
    ----------
    means : dict of int to ndarray of shape (n_chains, n_units), float32
        By layer: conditional means given the other layers of ``chains.at_model()``, as far as the
        sampler has them; asked for by ``means=True``. Learning computes those that are not there.
    diagnostics : dict of str to ndarray
        For example the share of accepted swaps.
    listed : dict of int to CompressedRows
        By layer of counts: the states of ``chains.at_model()`` as short lists, as far as the
        sampler has them. Learning makes those that are not there.
    """

    means: dict = field(default_factory=dict)
    diagnostics: dict = field(default_factory=dict)
    listed: dict = field(default_factory=dict)


@runtime_checkable
class Sampler(Protocol):
    """A recipe that moves chains and leaves the model's distribution as it is; immutable.

    Of each chain one row is at the model, ``beta`` = 1, after each move; those rows stay in the
    order of the chains. ``takes_context``, where a sampler has it, says whether it can read
    contexts: bias rows, and entries that are held, as completions need. A frozen dataclass
    is good for its settings: checkpoints tell samplers apart by their ``repr``.

    Examples
    --------
    Gibbs sampling whose layers come in an order drawn anew for each sweep:

    >>> import numpy as np, deepgen as dg
    >>> from deepgen.inference.gibbs import update_layer
    >>> class RandomOrder:
    ...     def start(self, model, particles, site):
    ...         return dg.Chains(particles)
    ...
    ...     def move(self, model, chains, site, *, n_sweeps, means, context, work):
    ...         states, context = list(chains.particles.states), chains.around(context)
    ...         for number in range(n_sweeps):
    ...             here = site.of_sweep(number)
    ...             for l in here.stream.child("order").permutation(model.n_layers, here.kind):
    ...                 _, states[l] = update_layer(
    ...                     model, l, states, context=context, site=here, work=work
    ...                 )
    ...         chains.particles = dg.Particles(states)
    ...         return dg.MoveInfo()
    >>> X = (np.random.default_rng(0).random((200, 16)) < 0.3).astype(np.uint8)
    >>> rule = dg.PCD(sampler=RandomOrder())
    >>> rbm = dg.RBM(n_hidden=8, rule=rule, n_epochs=2, random_state=0).fit(X)
    >>> rbm.sample(3, n_sweeps=20, sampler=RandomOrder(), random_state=0).shape
    (3, 16)
    """

    def start(self, model, particles, site):
        """Return the :class:`Chains` that begin where particles are.

        Parameters
        ----------
        model : BoltzmannMachine
        particles : Particles
            One row for each chain; not changed.
        site : Site
            Of what the sampler draws beside them: rows of other temperatures, say.
        """

    def move(self, model, chains, site, *, n_sweeps, means, context, work):
        """Move chains on; return a :class:`MoveInfo`.

        Parameters
        ----------
        model : BoltzmannMachine or Parameters
            The latter in a run of learning, where it is another one in each move.
        chains : Chains
            Changed in place, their arrays are not.
        site : Site
            What the draws are a function of. Those of sweep `s` are at ``site.of_sweep(s)``, or
            at child streams of that.
        n_sweeps : int
        means : bool
            Whether conditional means of the odd layers are of use; see :class:`MoveInfo`.
        context : Context or None
            With a row for each chain; a sampler of several rows a chain repeats it.
        work : Work
        """


@dataclass(frozen=True)
class Gibbs:
    """Block Gibbs sampling: all odd layers given the even ones, then the other way round.

    Where means of the odd layers are asked for, these come last, so that mean and draw are one
    pass. See :func:`gibbs` for the same as a function.

    Examples
    --------
    >>> import deepgen as dg
    >>> dg.PCD(k=2, sampler=dg.Gibbs())
    PCD(k=2, n_particles=100, centring=True, sparsity=None, offset_rate=0.01)
    """

    takes_context: ClassVar[bool] = True

    def start(self, model, particles, site):
        """Return the chains that begin where particles are; see :meth:`Sampler.start`."""
        return Chains(particles)

    def move(
        self, model, chains, site, *, n_sweeps=1, means=False, context=None, work=ANY_WORK
    ):
        """Move chains on; see :meth:`Sampler.move`."""
        if context is not None or chains.beta is not None:
            context = chains.around(context)
            context.check(model.layers, len(chains))
        if means:
            return _odd_layers_last(model, chains, site, n_sweeps, context, work)
        calls = [(site, n_sweeps)]
        if not site.counts_sweeps:
            calls = [(site.of_sweep(number), 1) for number in range(n_sweeps)]
        context = _NO_CONTEXT if context is None else context
        for here, count in calls:
            chains.particles = sweep(
                model, chains.particles, count, here, context=context, n_threads=work.n_threads
            )
        return MoveInfo()


def _odd_layers_last(model, chains, site, n_sweeps, context, work):
    """Sweep over even, then odd layers; keep the last means of the odd ones at the model."""
    states, by_layer, listed = list(chains.particles.states), {}, {}
    # how many draws a row has stays; what is read again and again is short lists of counts
    options = {"context": with_trials(model.layers, states, context), "work": work}
    counts = [l for l in range(0, model.n_layers, 2) if model.layers[l].takes_trials]
    for number in range(n_sweeps):
        here, last = site.of_sweep(number), number == n_sweeps - 1
        for l in range(0, model.n_layers, 2):
            _, states[l] = update_layer(model, l, states, site=here, **options)
        listed = {l: compressed(states[l]) for l in counts}
        near = [listed.get(l, x) for l, x in enumerate(states)]
        for l in range(1, model.n_layers, 2):
            by_layer[l], states[l] = update_layer(
                model, l, near, mean=last, site=here, **options
            )
    chains.particles = unchecked_particles(states)
    if chains.beta is not None:
        at_model = chains.beta == 1.0
        by_layer = {l: x[at_model] for l, x in by_layer.items()}
        listed = {}
    return MoveInfo(by_layer, listed=listed)


def check_sampler(value, *, for_context=False):
    """Raise ValueError unless `value` is a :class:`Sampler`.

    Parameters
    ----------
    for_context : bool, default False
        Whether it has to hold entries of single rows.
    """
    if not has_role(value, Sampler):
        raise ValueError(
            "sampler must be dg.Gibbs() or another object with the methods start and move "
            f"(dg.Sampler), got {shown(value)}"
        )
    if for_context and not getattr(value, "takes_context", False):
        raise ValueError(
            "sampler must be one that can hold observed entries, whose takes_context is True, got "
            f"{shown(value)}; pass None or dg.Gibbs()"
        )


def description_of(sampler):
    """Return a text that is the same for samplers of the same settings, in every process.

    An object without a ``repr`` of its own is told by its class.
    """
    own = type(sampler).__repr__ is not object.__repr__
    return repr(sampler) if own else type(sampler).__qualname__


def check_one_row_each(particles, n_chains, sampler):
    """Raise ValueError unless there is one particle at the model for each chain."""
    if len(particles) != n_chains:
        raise ValueError(
            f"chains must have one row at beta = 1 for each of {n_chains} chains, got "
            f"{len(particles)} from {shown(sampler)}"
        )
