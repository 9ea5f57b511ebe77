"""Belief networks at work: passes up and down, ancestral samples, completions."""

from deepgen.checks import MOST_ROWS, check_integer
from deepgen.inference.gibbs import gibbs, start_particles, update_layer
from deepgen.layers.context import Context
from deepgen.layers.passes import Site
from deepgen.models import check_belief_network
from deepgen.runtime.stream import RECOGNIZE, SAMPLE, Stream
from deepgen.runtime.work import Work


def upward_pass(model, states, stream=None, *, first_row=0, n_threads=None):
    """Run the recognition model from data up to the lower layer of the top machine.

    Parameters
    ----------
    model : BeliefNetwork
    states : states of the visible layer, (n_rows, n_visible)
    stream : Stream or None
        Draw each layer given the draws below; row `i` is row ``first_row + i`` of the whole.
        None: means given the means below, the features that a stack of machines has.
    first_row : int

    Returns
    -------
    list of ndarray
        One for each directed layer, bottom first: of the layer's state type, or float32 means.
    """
    by_layer = []
    for l, layer in enumerate(model.layers):
        site = None
        if stream is not None:
            site = Site(stream.child(f"layer {l + 1}"), RECOGNIZE, first_row)
        means, draws = update_layer(
            layer.upward, 1, [states, None], mean=site is None, site=site,
            work=Work(n_threads=n_threads),
        )  # fmt: skip
        states = means if site is None else draws
        by_layer.append(states)
    return by_layer


def downward_pass(
    model, states, stream, *, first_row=0, mean=False, trials=None, n_threads=None
):
    """Run the generative model from the lower layer of the top machine down to data.

    Parameters
    ----------
    model : BeliefNetwork
    states : states of the top machine's lower layer, (n_rows, n_units)
    stream : Stream
        Each layer is drawn given the draws above; row `i` is row ``first_row + i`` of the whole.
    first_row : int
    mean : bool
        Take the mean of the visible layer given the draws above it.
    trials : ndarray of shape (n_rows,), int64, or None
        Words of each row, of a model of documents. None: the usual number.

    Returns
    -------
    list of ndarray
        One for each directed layer, bottom first; the first one is visible.
    """
    by_layer = []
    for l in reversed(range(len(model.layers))):
        site = None
        if l or not mean:
            site = Site(stream.child(f"layer {l}"), SAMPLE, first_row)
        context = Context(trials={0: trials}) if l == 0 and trials is not None else None
        means, draws = update_layer(
            model.layers[l].downward, 0, [None, states], context=context, mean=site is None,
            site=site, work=Work(n_threads=n_threads),
        )  # fmt: skip
        states = means if site is None else draws
        by_layer.append(states)
    return by_layer[::-1]


def sample_belief(
    model, n_rows, *, particles=None, n_sweeps=1000, mean=False, random_state=None, first_row=0,
    n_threads=None,
):  # fmt: skip
    """Draw rows: Gibbs sweeps in the top machine, then one pass down.

    Parameters
    ----------
    model : BeliefNetwork
    n_rows : int
    particles : Particles or None
        First states of the top machine, one for each row. None: drawn from its biases.
    n_sweeps : int, default 1000
    mean : bool
        Return the means of the visible units given the draws above: smooth pictures.
    random_state : int, RandomState, Generator or None
    first_row : int
        Pieces drawn with the right `first_row` equal the whole.
    n_threads : int or None

    Returns
    -------
    ndarray of shape (n_rows, n_visible)
        Of the visible state type, or float32 means.

    References
    ----------
    Hinton, Osindero & Teh (2006), section 2.
    """
    check_belief_network(model)
    check_integer(n_rows, "n_rows", 0)
    check_integer(first_row, "first_row", 0, MOST_ROWS)
    stream = Stream.from_random_state(random_state)
    if particles is None:
        particles = start_particles(model.top, n_rows, stream, first_row=first_row)
    particles = gibbs(
        model.top, particles, n_sweeps, random_state=stream.child("sample"), first_row=first_row,
        n_threads=n_threads,
    )  # fmt: skip
    if model.layers:
        return downward_pass(
            model, particles[0], stream.child("down"), first_row=first_row, mean=mean,
            n_threads=n_threads,
        )[0]  # fmt: skip
    if mean:
        work = Work(n_threads=n_threads)
        return update_layer(model.top, 0, particles.states, mean=True, work=work)[0]
    return particles[0]
