"""Samplers: Gibbs sweeps over layered models, and what is drawn with them."""

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import MOST_ROWS, as_list, check_instance, check_integer, shown
from deepgen.layers.context import Context, with_trials
from deepgen.layers.passes import (
    CALL_WORK,
    LayerContext,
    Outputs,
    Site,
    conditional_pass,
    gibbs_sweeps,
    row_pieces,
)
from deepgen.models import are_layers, check_model
from deepgen.models.network import ACTIVATIONS
from deepgen.rows.particles import Particles
from deepgen.rows.states import dense
from deepgen.runtime.stream import SAMPLE, START, Stream
from deepgen.runtime.threads import Governor
from deepgen.runtime.time_limit import check_time
from deepgen.runtime.work import ANY_WORK, Work

_NO_CONTEXT = Context()


def update_layer(model, layer, states, *, context=None, mean=False, site=None, work=ANY_WORK):
    """Compute the conditional mean of a layer, or draw it, or both.

    Parameters
    ----------
    model : BoltzmannMachine or Parameters
    layer : int
    states : sequence
        States by layer; the neighbours are read. Held entries are taken from ``states[layer]``.
    context : Context or None
    mean : bool
        Whether the mean is wanted.
    site : Site or None
        Whether, and with which random numbers, a draw is wanted.
    work : Work

    Returns
    -------
    tuple of (ndarray or None, ndarray or None)
        Mean (float32) and draw (the layer's state type), (n_rows, n_units).
    """
    neighbour = states[layer - 1] if layer > 0 else states[layer + 1]
    n_rows, units = neighbour.shape[0], model.layers[layer]
    context = with_trials(model.layers, states, context)
    held, around = False, None
    if context is not None:
        context.check(model.layers, n_rows)
        held, around = context.holds(layer), context.of_layer(layer)
    for m in (layer - 1, layer + 1):
        if 0 <= m < model.n_layers:
            x, its = states[m], model.layers[m]
            if x is None or len(x.shape) != 2 or x.shape[1] != its.size:
                its.check_width(x, f"states[{m}]")
    if held and states[layer] is None:
        raise ValueError(f"held[{layer}] needs the states that layer {layer} keeps, got None")
    shape = (n_rows, units.size)
    means = draws = None
    if mean:
        means = np.array(dense(states[layer]), np.float32) if held else np.empty(shape, np.float32)
    if site is not None:
        draws = np.empty(shape, units.state_dtype)
        if held:
            draws[...] = dense(states[layer])
    if n_rows:
        conditional_pass(model.chain, layer, states, Outputs(means, draws), around, site, work)
    return means, draws


def layer_field(model, layer, states, *, work=ANY_WORK):
    """Compute the field of a layer: ``bias + x_below W + x_above W^T``, float32.

    Where its mean rounds to 0 or 1, the field still tells rows apart. Beside words of documents the
    bias counts once for each.

    Parameters
    ----------
    model : BoltzmannMachine
    layer : int
    states : sequence
        States by layer; the neighbours are read.
    work : Work

    Returns
    -------
    ndarray of shape (n_rows, n_units), float32
    """
    first, stop = max(layer - 1, 0), min(layer + 2, model.n_layers)
    units, inputs = model.layers[layer], states[first:stop]
    layers = [neighbour.kernel_layer() for neighbour in model.layers[first:stop]]
    layers[layer - first] = (ACTIVATIONS["linear"], 1, 1, units.bias, None)  # its mean is the field
    weights, packed = model.kernel_weights(slice(first, stop - 1))
    if units.group > 1:  # packed in tiles of whole groups, which a linear layer does not have
        packed = [None] * len(packed)
    neighbour = inputs[0] if layer > first else inputs[-1]
    out = np.empty((neighbour.shape[0], units.size), np.float32)
    if len(out):
        chain = engine.Chain(layers, weights, packed)
        context = with_trials(model.layers, states)
        around = None if context is None else context.of_layer(layer)
        conditional_pass(chain, layer - first, inputs, Outputs(out), around, work=work)
    return out


def start_particles(model, n_particles, stream, *, first_row=0, trials=None):
    """Draw particles from independent layers, each with its own bias.

    Parameters
    ----------
    model : BoltzmannMachine
    n_particles : int
    stream : Stream
    first_row : int, default 0
    trials : ndarray of shape (n_particles,), int64, or None
        Of layers whose rows have their own number of draws. None: the usual one.

    Returns
    -------
    Particles
    """
    states = []
    for number, layer in enumerate(model.layers):
        chain = engine.Chain([layer.kernel_layer()], [])
        draws = np.empty((n_particles, layer.size), layer.state_dtype)
        site = Site(stream.child(number), START, first_row)
        around = LayerContext(trials=trials) if layer.takes_trials else None
        conditional_pass(chain, 0, [None], Outputs(sample=draws), around, site)
        states.append(draws)
    return Particles(states)


def spread_particles(model, n_particles, stream):
    """Draw particles far from each other, so that few modes are missed.

    Odd layers are on with a probability that runs from near 0 to near 1 over the particles; even
    layers are drawn given those.

    Returns
    -------
    Particles
    """
    states = [None] * model.n_layers
    probability = (np.arange(n_particles) + 0.5) / n_particles
    field = np.log(probability / (1.0 - probability)).astype(np.float32)
    for l in range(1, model.n_layers, 2):
        layer = model.layers[l].replace(bias=np.zeros(model.layers[l].size))
        chain = engine.Chain([layer.kernel_layer()], [])
        context = LayerContext(bias_rows=np.repeat(field[:, None], layer.size, axis=1))
        states[l] = np.empty((n_particles, layer.size), layer.state_dtype)
        site = Site(stream.child(l), START)
        conditional_pass(chain, 0, [None], Outputs(sample=states[l]), context, site)
    for l in range(0, model.n_layers, 2):
        _, states[l] = update_layer(model, l, states, site=Site(stream.child(l), START))
    return Particles(states)


def gibbs(
    model, particles, n_sweeps=1, *, context=None, clamp=(), random_state=None, first_row=0,
    n_threads=None,
):  # fmt: skip
    """Run block Gibbs sweeps: every odd layer, then every even layer, once a sweep.

    Parameters
    ----------
    model : BoltzmannMachine
    particles : Particles
        First states; not changed.
    n_sweeps : int
    context : Context or None
        Bias rows, held entries and an inverse temperature for each row.
    clamp : sequence of int
        Layers that keep their states.
    random_state : int, RandomState, Generator, Stream or None
    first_row : int
        The row that row 0 stands for: pieces drawn with the right `first_row` equal the whole.
    n_threads : int or None

    Returns
    -------
    Particles

    Raises
    ------
    ValueError
        If a shape does not fit the model.
    """
    check_model(model)
    check_integer(n_sweeps, "n_sweeps", 0)
    check_integer(first_row, "first_row", 0, MOST_ROWS)
    check_particles(model, particles)
    context = _NO_CONTEXT if context is None else context
    check_instance(context, "context", Context, "a dg.Context or None")
    context.check(model.layers, len(particles))
    for l, x in enumerate(particles.states):
        context.check_pattern(l, x)
    clamp = as_list(clamp, "clamp", "numbers of layers")
    if not are_layers(clamp, model.n_layers):
        raise ValueError(
            f"clamp must name layers of the model, 0 to {model.n_layers - 1}, each once, got "
            f"{shown(clamp)}"
        )
    if isinstance(random_state, Stream):
        stream = random_state
    else:
        stream = Stream.from_random_state(random_state)
    free = [l not in clamp for l in range(model.n_layers)]
    site = Site(stream, SAMPLE, first_row)
    return sweep(model, particles, n_sweeps, site, free=free, context=context, n_threads=n_threads)


def sweep(model, particles, n_sweeps, site, *, free=None, context=_NO_CONTEXT, n_threads=None):
    """Run the sweeps of :func:`gibbs`, of arguments that are known to fit.

    Parameters
    ----------
    model : BoltzmannMachine or Parameters
    particles : Particles
        First states; not changed.
    n_sweeps : int
    site : Site
        Of the first sweep; the others take the next positions of its stream.
    free : sequence of bool or None
        By layer: whether it moves. None: all do.
    context : Context
    n_threads : int or None

    Returns
    -------
    Particles
    """
    context = with_trials(model.layers, particles.states, context)
    states = [
        np.array(dense(x), layer.state_dtype, order="C")
        for layer, x in zip(model.layers, particles.states, strict=True)
    ]
    contexts = [context.of_layer(l) for l in range(model.n_layers)]
    sweep_in_place(
        model.chain, states, contexts, n_sweeps, site, free=free, work=Work(n_threads=n_threads)
    )
    return Particles(states)


def sweep_in_place(chain, states, contexts, n_sweeps, site, *, free=None, work=ANY_WORK):
    """Run sweeps in place, for a caller who moves the same rows again and again.

    Parameters
    ----------
    chain : Chain
        Of the model.
    states : list of ndarray of shape (n_rows, n_units)
        By layer, of its state type; changed.
    contexts : list of LayerContext
        By layer.
    n_sweeps, site, free
        See :func:`sweep`.
    work : Work
    """
    n_rows = states[0].shape[0]
    free = [True] * chain.n_layers if free is None else free
    multiply_adds = sum(chain.multiply_adds(l) for l in range(chain.n_layers) if free[l])
    workspace, governor = work.workspace or engine.Workspace(), Governor(work.n_threads)
    for rows in row_pieces(n_rows, multiply_adds):
        count, some, around = rows.stop - rows.start, states, contexts
        if count < n_rows:
            some, around = [x[rows] for x in states], [c.of_rows(rows) for c in contexts]
        at_once = max(1, CALL_WORK // max(multiply_adds * count, 1))
        for done in range(0, n_sweeps, at_once):
            here = site._replace(
                stream=site.stream.advanced(done), first_row=site.first_row + rows.start
            )
            n_here = min(at_once, n_sweeps - done)
            gibbs_sweeps(
                chain, free, some, around, n_here, here, Work(workspace, governor.next())
            )
            governor.done()
            check_time(n_here * count)


def check_particles(model, particles):
    """Raise unless `particles` are states of every layer of `model`."""
    check_instance(particles, "particles", Particles, "dg.Particles([visible, hidden])")
    if len(particles.states) != model.n_layers:
        raise ValueError(
            f"particles must have {model.n_layers} layers, got {len(particles.states)}"
        )
    for number, (layer, x) in enumerate(zip(model.layers, particles.states, strict=True)):
        name = f"particles[{number}]"
        layer.check_width(x, name)
        layer.check(x, name)
        if not layer.is_state(x):
            raise ValueError(
                f"{name} must hold states, got values between them; binarize grey values first, "
                "for example x > rng.random(x.shape)"
            )


def visible_mean(model, particles, *, context=None, n_threads=None):
    """Return the mean of the first layer given the second: smooth pictures of samples."""
    work = Work(n_threads=n_threads)
    return update_layer(model, 0, particles.states, context=context, mean=True, work=work)[0]
