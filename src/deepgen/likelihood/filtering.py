"""Completion of sequences: particles that go forward in time, weighed by whole frames."""

import numpy as np

from deepgen.inference.free_energy import free_energy
from deepgen.inference.sequences import advanced, drawn_frames, first_frames
from deepgen.layers.passes import Site
from deepgen.likelihood.bracket import resample
from deepgen.likelihood.by_row import log_partitions_by_row
from deepgen.models.conditional_machine import biases_of, states_at
from deepgen.rows.states import dense
from deepgen.runtime.stream import IMPUTE
from deepgen.runtime.work import ANY_WORK

WEIGHING_BETAS = 100  # temperatures of log Z, of which one chain is annealed for each particle


def completed(
    model, sequences, missing, stream, *, initial_state=None, n_particles=20, n_sweeps=25,
    work=ANY_WORK,
):  # fmt: skip
    """Complete frames that have gaps, given all that is known before, and whole frames later.

    Each particle is a past: a frame with a gap is completed by Gibbs sweeps around what is known of
    it, and the state goes on from there. A whole frame weighs particles by its probability; where
    few of them count, pasts are drawn anew by their weights (docs/math.md, "Time").

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
        One draw of whole sequences; and means over the particles: of what they drew, and after the
        last whole frame of the means that they drew from. Known entries are as they were.
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
            if apart:
                log_weights += _log_probability(model, states, newest, stream.child(t), work)
                n_weighed = t
        paths[:, t] = newest
        states = advanced(model, states, newest, work=work)
        weights = np.exp(log_weights - log_weights.max())
        if weights.sum() ** 2 < 0.5 * n_particles * (weights**2).sum():
            chosen = resample(log_weights)
            paths, means, states, newest = (
                array[chosen] for array in (paths, means, states, newest)
            )
            log_weights = np.zeros(n_particles)
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    drawn = int(np.searchsorted(np.cumsum(weights), stream.generator("draw").random()))
    path = paths[min(drawn, n_particles - 1)]
    # a weight knows what was drawn: means given the hidden units alone would pass over it
    means[:, :n_weighed] = paths[:, :n_weighed]
    return path, np.tensordot(weights, means, axes=1)


def _log_probability(model, states, frames, stream, work):
    """Estimate log p of a frame given each state, float64, by a chain each."""
    context = biases_of(model.recurrence, states, work=work)
    log_z = log_partitions_by_row(
        model.machine, context, n_chains=1, n_betas=WEIGHING_BETAS, reverse=False,
        random_state=stream.child("log Z"), n_threads=work.n_threads,
    )  # fmt: skip
    energy = free_energy(model.machine, frames, context=context, n_threads=work.n_threads)
    return -energy - log_z.value
