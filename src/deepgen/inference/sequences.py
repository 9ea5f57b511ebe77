"""What a conditional machine says of sequences: states, next frames, samples, completions."""

import numpy as np

from deepgen.inference.gibbs import sweep, update_layer
from deepgen.layers.context import Context
from deepgen.layers.passes import Site
from deepgen.layers.units import LARGEST_VALUE
from deepgen.models.conditional_machine import biases_of, states_at
from deepgen.rows.particles import unchecked_particles
from deepgen.rows.sequences import Sequences
from deepgen.runtime.stream import SAMPLE
from deepgen.runtime.work import ANY_WORK

MEAN_SWEEPS = 10  # of a frame's mean field, from the frame before


def unfolded(model, sequences, initial_state=None, *, work=ANY_WORK):
    """Return the state that each frame finds, and the one that each sequence leaves.

    Parameters
    ----------
    model : ConditionalMachine
    sequences : Sequences
    initial_state : ndarray of shape (n_sequences, n_state), float32, or None
        What frames before these have left. None: ``sequences.initial``; where that is None too,
        sequences begin.
    work : Work

    Returns
    -------
    tuple of (ndarray of shape (n_frames, n_state), ndarray of shape (n_sequences, n_state))
        Sequence by sequence. A sequence that is cut in two has the same bits as the whole where the
        second part begins at what the first one leaves.
    """
    steps = sequences.steps
    begun = sequences.initial if initial_state is None else initial_state
    states = model.recurrence.unfold(
        model.parameters(), sequences.frames[steps.order], steps,
        states_at(model, begun, sequences.n_sequences), work=work,
    )  # fmt: skip
    return steps.in_sequence(states.before), states.last


def features(model, sequences, initial_state=None, *, work=ANY_WORK):
    """Return the hidden means of frames beside the states that they find.

    Returns
    -------
    ndarray of shape (n_frames, n_hidden + n_state), float32
    """
    before, _ = unfolded(model, sequences, initial_state, work=work)
    context = biases_of(model.recurrence, before, work=work)
    means, _ = update_layer(
        model.machine, 1, [sequences.frames, None], context=context, mean=True, work=work
    )
    return np.concatenate([means, before], axis=1)


def next_means(model, before, newest, *, work=ANY_WORK):
    """Return the mean of the frame that follows a state, by mean field from the newest frame.

    ``h <- E[h | v, u]`` and ``v <- E[v | h, u]`` in turn.

    Parameters
    ----------
    model : ConditionalMachine
    before : ndarray of shape (n_rows, n_state), float32
        u.
    newest : ndarray of shape (n_rows, n_visible)
        The frame before each, where v starts.

    Returns
    -------
    ndarray of shape (n_rows, n_visible), float32
    """
    context, v = biases_of(model.recurrence, before, work=work), newest
    for _ in range(MEAN_SWEEPS):
        h, _ = update_layer(model.machine, 1, [v, None], context=context, mean=True, work=work)
        v, _ = update_layer(model.machine, 0, [None, h], context=context, mean=True, work=work)
    return v


def predictions(model, sequences, initial_state=None, *, work=ANY_WORK):
    """Return the mean of each frame given those before it; see :func:`next_means`.

    Returns
    -------
    ndarray of shape (n_frames, n_visible), float32
        Row t is about frame t; where a sequence begins, mean field starts from the biases alone.
    """
    before, _ = unfolded(model, sequences, initial_state, work=work)
    newest = np.empty((len(before), model.n_visible), np.float32)
    newest[1:] = sequences.frames[:-1]
    visible = model.layers[0]
    newest[sequences.starts[:-1]] = visible.mean(visible.bias[None])
    return next_means(model, before, newest, work=work)


def advanced(model, states, frames, *, work):
    """Return the states that frames, one for each row, leave behind.

    Raises
    ------
    ValueError
        If a value of a frame is beyond what units take: drawn frames have run away.
    """
    largest = np.abs(frames).max(initial=0)
    if not largest <= LARGEST_VALUE:
        raise ValueError(
            f"drawn frames must stay within +-{LARGEST_VALUE:g}, got {largest:g}: those of this "
            "model grow without end; ask for fewer frames (n_steps), or learn from sequences that "
            "do not grow, for example differences of them"
        )
    one_each = Sequences(frames, np.ones(len(frames), np.int64))
    return model.recurrence.unfold(
        model.parameters(), frames, one_each.steps, states, work=work
    ).last


def drawn_frames(model, states, newest, site, *, n_sweeps, held=None, work=ANY_WORK):
    """Draw a frame for each row from the machine of its state, by Gibbs sweeps.

    Parameters
    ----------
    model : ConditionalMachine
    states : ndarray of shape (n_rows, n_state), float32
    newest : ndarray of shape (n_rows, n_visible), of the state type
        Where the chains start; held entries are taken from it.
    site : Site
        Of the first sweep.
    n_sweeps : int
    held : bool ndarray of shape (n_rows, n_visible), or None
        Entries that keep their value.
    work : Work

    Returns
    -------
    tuple of ndarray of shape (n_rows, n_visible)
        Draws, of the state type; and the means, float32, that the last sweep drew them from.
    """
    context = biases_of(model.recurrence, states, work=work)
    if held is not None:
        context = Context(held={0: held}, bias_rows=context.bias_rows)
    v = newest
    start = Site(site.stream.child("hidden"), site.kind, site.first_row)
    _, h = update_layer(model.machine, 1, [v, None], context=context, site=start, work=work)
    particles = unchecked_particles([v, h])
    if n_sweeps > 1:
        particles = sweep(
            model.machine, particles, n_sweeps - 1, site, context=context,
            n_threads=work.n_threads,
        )  # fmt: skip
    last = site.of_sweep(n_sweeps)
    _, h = update_layer(
        model.machine, 1, particles.states, context=context, site=last, work=work
    )
    means, draws = update_layer(
        model.machine, 0, [particles[0], h], context=context, mean=True, site=last, work=work
    )
    return draws, means


def continued(model, states, newest, n_steps, site, *, n_sweeps=25, work=ANY_WORK):
    """Draw the frames that follow, one after the other.

    Parameters
    ----------
    model : ConditionalMachine
    states : ndarray of shape (n_rows, n_state), float32
        What the past of each row has left.
    newest : ndarray of shape (n_rows, n_visible), of the state type
        The last frame, where the chains of the first one start.
    n_steps : int
    site : Site
    n_sweeps : int
        Of each frame.
    work : Work

    Returns
    -------
    tuple of ndarray of shape (n_rows, n_steps, n_visible)
        Draws, of the state type; and their means given the hidden draws, float32.
    """
    shape = (len(states), n_steps, model.n_visible)
    draws, means = np.empty(shape, model.layers[0].state_dtype), np.empty(shape, np.float32)
    for t in range(n_steps):
        here = Site(site.stream.child(t), SAMPLE, site.first_row)
        newest, means[:, t] = drawn_frames(
            model, states, newest, here, n_sweeps=n_sweeps, work=work
        )
        draws[:, t] = newest
        states = advanced(model, states, newest, work=work)
    return draws, means


def first_frames(model, n_rows, stream):
    """Return frames where chains start that have no frame before: draws from the biases alone."""
    visible = model.layers[0]
    field = np.repeat(visible.bias[None], n_rows, axis=0)
    return visible.sample(field, stream.child("first"))
