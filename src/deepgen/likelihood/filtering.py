"""Completion of sequences: particles that go forward in time, weighed by what is known later."""

import numpy as np

from deepgen.inference.free_energy import free_energy
from deepgen.inference.sequences import advanced, drawn_frames, first_frames
from deepgen.layers.context import Context
from deepgen.layers.passes import Site
from deepgen.likelihood.bracket import resample
from deepgen.likelihood.by_row import log_partitions_by_row
from deepgen.models import BoltzmannMachine
from deepgen.models.conditional_machine import biases_of, states_at
from deepgen.models.linear_map import LinearMap
from deepgen.rows.states import dense
from deepgen.rows.sums import row_dots
from deepgen.runtime.stream import IMPUTE
from deepgen.runtime.work import ANY_WORK

WEIGHING_BETAS = 100  # temperatures of log Z, of which one chain is annealed for each particle


def completed(
    model, sequences, missing, stream, *, initial_state=None, n_particles=20, n_sweeps=25,
    work=ANY_WORK,
):  # fmt: skip
    """Complete frames that have gaps, given all that is known of them, before and later.

    Each particle is a past: a frame with a gap is completed by Gibbs sweeps around what is known of
    it, and the state goes on from there. A frame weighs particles by the probability of what is
    known of it (:func:`log_probabilities_of_known`); where few of them count, pasts are drawn anew
    by their weights (docs/math.md, "Time").

    Parameters
    ----------
    model : ConditionalMachine
    sequences : Sequences
        Values at missing entries are ignored.
    missing : bool ndarray of shape (n_frames, n_visible)
    stream : Stream
    initial_state : ndarray of shape (n_sequences, n_state), float32, or None
    n_particles, n_sweeps : int
        Particles of a sequence, and sweeps of each in a frame.
    work : Work

    Returns
    -------
    tuple of ndarray of shape (n_frames, n_visible), float32
        One draw of whole sequences; and means over the particles: of what they drew, and from the
        last frame on of which something is known of the means that they drew from. Known entries
        are as they were.
    """
    begun = states_at(model, initial_state, sequences.n_sequences)
    draws = np.array(dense(sequences.frames), np.float32)
    means = draws.copy()
    for number in range(sequences.n_sequences):
        frames = slice(sequences.starts[number], sequences.starts[number + 1])
        if not missing[frames].any():
            continue
        start = None if begun is None else begun[number]
        draws[frames], means[frames] = _complete(
            model, draws[frames], missing[frames], stream.child(number), start,
            (n_particles, n_sweeps), work,
        )  # fmt: skip
    return draws, means


def _complete(model, frames, missing, stream, start, counts, work):
    """Complete one sequence; see :func:`completed`."""
    n_particles, n_sweeps = counts
    visible = model.layers[0]
    begin = model.recurrence.first_state() if start is None else start
    states = np.repeat(np.asarray(begin, np.float32)[None], n_particles, axis=0)
    newest = first_frames(model, n_particles, stream)
    shape = (n_particles, *frames.shape)
    paths, means = np.empty(shape, np.float32), np.empty(shape, np.float32)
    log_weights, apart, n_weighed = np.zeros(n_particles), False, 0
    for t, (frame, gaps) in enumerate(zip(frames, missing, strict=True)):
        if apart and not gaps.all():  # before the first gap all particles are the same
            log_weights += log_probabilities_of_known(
                model, states, frame, gaps, stream.child(t), work=work
            )
            n_weighed = t
            if _few_count(log_weights):
                chosen = resample(log_weights)
                paths, means, states, newest = (
                    array[chosen] for array in (paths, means, states, newest)
                )
                log_weights = np.zeros(n_particles)
        if gaps.any():
            held = np.repeat(~gaps[None], n_particles, axis=0)
            begun = np.where(gaps, newest, frame).astype(visible.state_dtype)
            newest, means[:, t] = drawn_frames(
                model, states, begun, Site(stream.child(t), IMPUTE), n_sweeps=n_sweeps, held=held,
                work=work,
            )  # fmt: skip
            apart = True
        else:
            newest = np.repeat(frame[None], n_particles, axis=0).astype(visible.state_dtype)
            means[:, t] = frame
        paths[:, t] = newest
        states = advanced(model, states, newest, work=work)
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    drawn = int(np.searchsorted(np.cumsum(weights), stream.generator("draw").random()))
    path = paths[min(drawn, n_particles - 1)]
    # a weight knows what was drawn: means given the hidden units alone would pass over it
    means[:, :n_weighed] = paths[:, :n_weighed]
    return path, np.tensordot(weights, means, axes=1)


def _few_count(log_weights):
    """Tell whether less than half of the particles count, by their effective number."""
    weights = np.exp(log_weights - log_weights.max())
    return weights.sum() ** 2 < 0.5 * len(weights) * (weights**2).sum()


def log_probabilities_of_known(model, states, frame, gaps, stream, *, work=ANY_WORK):
    """Return log p of what is known of one frame, given each of some states.

    With the known entries k and the others m, ``log p(v_k | u) = log Z_k - log Z``: Z_k is that of
    a machine of the columns m alone, to whose hidden biases the known columns add ``v_k W_k``,
    times the weight of v_k by itself (docs/math.md, "Time"). Both are exact where enumeration is
    cheap. Else each is the weight of one annealed chain for each state: Z_k is estimated without
    bias, 1 / Z is too large by a factor of 1 + var(w / Z) on average. The machines of all states
    share their weights, so the factor is nearly the same for all of them, and what compares states
    by their weights does not see it.

    Parameters
    ----------
    model : ConditionalMachine
    states : ndarray of shape (n_states, model.n_state), float32
    frame : ndarray of shape (n_visible,)
        Values at missing entries are ignored.
    gaps : bool ndarray of shape (n_visible,)
        Which entries are missing: whole groups of softmax units.
    stream : Stream
    work : Work

    Returns
    -------
    ndarray of shape (n_states,), float64
    """
    context = biases_of(model.recurrence, states, work=work)
    log_z = _log_z(model.machine, context, stream.child("log Z"), work)
    visible, n_states = model.layers[0], len(states)
    if not gaps.any():
        rows = np.repeat(frame[None], n_states, axis=0).astype(visible.state_dtype)
        energy = free_energy(model.machine, rows, context=context, n_threads=work.n_threads)
        return -energy - log_z
    known, missing = np.flatnonzero(~gaps), np.flatnonzero(gaps)
    log_known = np.zeros(n_states)
    by_visible, by_hidden = (context.bias_rows[l] for l in (0, 1))
    if len(known):
        values = frame[known].astype(np.float32)
        of_known = np.ascontiguousarray(by_visible[:, known])
        log_known = row_dots(of_known, values, work.n_threads).astype(np.float64)
        log_known = log_known - visible.of_columns(known).energy(values[None])
        by_hidden = by_hidden + LinearMap(model.machine.weights[0][known]).up(values[None])
    rest = BoltzmannMachine(
        [visible.of_columns(missing), model.layers[1]], [model.machine.weights[0][missing]]
    )
    around = Context(bias_rows={0: by_visible[:, missing], 1: by_hidden})
    return log_known + _log_z(rest, around, stream.child("log Z of gaps"), work) - log_z


def _log_z(machine, context, stream, work):
    """Return log Z of a machine by row of biases, by a chain each where it is not exact."""
    return log_partitions_by_row(
        machine, context, n_chains=1, n_betas=WEIGHING_BETAS, reverse=False, random_state=stream,
        n_threads=work.n_threads,
    ).value  # fmt: skip
