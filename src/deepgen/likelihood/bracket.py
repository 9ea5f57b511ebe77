"""Brackets of log Z: an estimate from below and one from above, or the exact value."""

import numpy as np

from deepgen.likelihood.annealing import ais, reverse_ais
from deepgen.likelihood.exact import LogPartition, exact_log_partition, is_enumerable
from deepgen.sampling import start_particles
from deepgen.states import Particles
from deepgen.stream import Stream, child_seed

# Enumeration up to this many states (about a second) is cheaper than any estimate.
CHEAP_BITS = 20


def log_partition_bracket(
    model, particles=None, *, n_chains=100, n_betas=3000, base=None, random_state=None,
    n_threads=None,
):  # fmt: skip
    """Bracket log Z of a model.

    Parameters
    ----------
    model : BoltzmannMachine
    particles : Particles or None
        Chains near the model's distribution (training particles). None: fresh chains.
    n_chains : int
    n_betas, base, random_state, n_threads
        See :func:`deepgen.ais`.

    Returns
    -------
    LogPartition
        `value` is the forward estimate's, or the middle where the two disagree by more than
        their errors; `lower` and `upper` cover the intervals of both.
    """
    if is_enumerable(model, CHEAP_BITS):
        return exact_log_partition(model, n_threads=n_threads)
    seeds = [child_seed(random_state, name) for name in ("forward", "reverse")]
    forward = ais(
        model, n_chains=n_chains, n_betas=n_betas, base=base, random_state=seeds[0],
        n_threads=n_threads,
    )  # fmt: skip
    if particles is None:
        stream = Stream.from_random_state(seeds[1])
        particles = start_particles(model, n_chains, stream)
    # few particles serve several chains each; the sweeps before annealing part them
    chosen = np.arange(n_chains) % len(particles)
    chosen = Particles([x[chosen] for x in particles.states])
    n_sweeps = 500
    reverse = reverse_ais(
        model, chosen, n_betas=n_betas, n_sweeps=n_sweeps, base=base, random_state=seeds[1],
        n_threads=n_threads,
    )  # fmt: skip
    lower = min(forward.lower, reverse.lower)
    upper = max(forward.upper, reverse.upper)
    apart = reverse.lower > forward.upper or reverse.upper < forward.lower
    value = 0.5 * (forward.value + reverse.value) if apart else forward.value
    ess = min(forward.ess, reverse.ess)
    return LogPartition(value, lower, upper, forward.log_weights, ess, "bracket")
