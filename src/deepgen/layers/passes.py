"""Conditional passes: one layer given its neighbours. The only caller of these kernels."""

from typing import NamedTuple

import numpy as np
import scipy

from deepgen._kernels import engine
from deepgen.rows.states import kernel_states, row_slice
from deepgen.runtime.stream import DATA, PARTICLES, Stream, purpose
from deepgen.runtime.threads import SERIAL_WORK, effective_threads
from deepgen.runtime.time_limit import check_time
from deepgen.runtime.work import ANY_WORK

# Multiply-adds of one kernel call over many rows, 10 ms or so, more on a busy machine: between
# calls Ctrl-C is heard. Rows do not depend on each other, so the bits are the same.
CALL_WORK = 400_000_000
FEWEST_ROWS = 32  # that share a read of the weights
TILE_ROWS = 128  # that mean field works on together, between two barriers


class Site(NamedTuple):
    """The place of a draw: all that its random numbers are a function of, but layer and column.

    Attributes
    ----------
    stream : Stream
        Its key, and its position as the step.
    kind : int
        One of the kinds of draws of :mod:`deepgen.runtime.stream`.
    first_row : int
        Number of row 0 in the whole, so that pieces are drawn as the whole is.
    temperature : int
    """

    stream: Stream
    kind: int
    first_row: int = 0
    temperature: int = 0

    @property
    def counts_sweeps(self):
        """Whether a position of the stream is one sweep, as for chains on request.

        In a run of learning it is one update, and the sweeps of an update are child streams.
        """
        return self.kind not in (PARTICLES, DATA)

    def of_sweep(self, number):
        """Return the site of a later sweep of the same move; the first one has number 0."""
        later = self.stream.advanced if self.counts_sweeps else self.stream.child
        return Site(later(number), self.kind, self.first_row, self.temperature)


_NO_SITE = Site(Stream(0), 0)  # of a pass that draws nothing


class LayerContext(NamedTuple):
    """The context of one layer, as the kernels read it; None where nothing varies.

    Attributes
    ----------
    bias_rows : ndarray of shape (n_rows, n_units), float32
        Added to the layer's bias.
    held : ndarray of shape (n_rows, n_units), uint8
        1 where an entry keeps its value.
    beta : ndarray of shape (n_rows,), float32
        Inverse temperature of each row.
    base_bias : ndarray of shape (n_units,) or (n_rows, n_units), float32
        Of the independent units at ``beta`` = 0, the same for all rows or one for each.
    base_precision : ndarray of shape (n_units,), float32
        Of these units too.
    bias_scale : ndarray of shape (n_rows,), float32
        Multiplies the layer's bias.
    trials : ndarray of shape (n_rows,), int64
        How many draws a row's units share; of unit types that have a number of trials.
    pattern : scipy CSR array of shape (n_rows, n_units)
        The entries that a row has. `held` has all others, for kernels that go through whole rows.
    """

    bias_rows: np.ndarray | None = None
    held: np.ndarray | None = None
    beta: np.ndarray | None = None
    base_bias: np.ndarray | None = None
    base_precision: np.ndarray | None = None
    bias_scale: np.ndarray | None = None
    trials: np.ndarray | None = None
    pattern: "scipy.sparse.csr_array | None" = None

    def of_rows(self, piece):
        """Return the context of a slice of the rows."""
        return self._replace(
            bias_rows=_rows(self.bias_rows, piece),
            held=_rows(self.held, piece),
            beta=_rows(self.beta, piece),
            base_bias=_base_rows(self.base_bias, piece),
            bias_scale=_rows(self.bias_scale, piece),
            trials=_rows(self.trials, piece),
            pattern=None if self.pattern is None else self.pattern[piece],
        )


class Outputs(NamedTuple):
    """Arrays that a pass writes to, C-contiguous; None where an output is not wanted.

    One of the first three is wanted.

    Attributes
    ----------
    mean : ndarray of shape (n_rows, n_units), float32
    sample : ndarray of shape (n_rows, n_units)
        Of the layer's state type.
    log_normalizer : ndarray of shape (n_rows,), float64
        The log normalizers are added to what it holds.
    beta_from : ndarray of shape (n_rows,), float32
        An input, no output: the log normalizer at this inverse temperature is subtracted from
        that at the ``beta`` of the context, as annealing weights need it.
    """

    mean: np.ndarray | None = None
    sample: np.ndarray | None = None
    log_normalizer: np.ndarray | None = None
    beta_from: np.ndarray | None = None

    @property
    def n_rows(self):
        """Rows of a pass with these outputs."""
        for array in self:
            if array is not None:
                return len(array)
        raise ValueError("a pass must have an output, got none")


def row_pieces(n_rows, multiply_adds, fewest=FEWEST_ROWS):
    """Yield slices of rows that are one kernel call each; `multiply_adds` are those of a row.

    Between two of them the thread's time limit is looked at.
    """
    size = max(fewest, CALL_WORK // max(multiply_adds, 1) // fewest * fewest)
    for start in range(0, n_rows, size):
        check_time()
        yield slice(start, min(start + size, n_rows))


def _rows(x, piece):
    """Return a slice of the rows of states, or of any array by row, as kernels read them."""
    if x is None or piece.stop - piece.start == x.shape[0]:
        return None if x is None else kernel_states(x)
    return kernel_states(row_slice(x, piece.start, piece.stop))


def _base_rows(base, piece):
    """Return the base of a slice of the rows; one that is the same for all rows as it is."""
    return base if base is None or base.ndim == 1 else _rows(base, piece)


def conditional_pass(chain, layer, states, outputs, context=None, site=None, work=ANY_WORK):
    """Run one layer of a chain given its neighbours.

    ``field = x_below W + x_above W^T + bias``, all of shape (n_rows, n_units), and of it the mean,
    a draw and the log normalizer of the layer's units (docs/math.md, "Units").

    Parameters
    ----------
    chain : Chain
    layer : int
    states : sequence
        States by layer; only the neighbours of `layer` are read.
    outputs : Outputs
    context : LayerContext or None
    site : Site or None
        Needed for a sample.
    work : Work
    """
    site = site or _NO_SITE
    stream = site.stream
    workspace = work.workspace or engine.Workspace()
    n_rows, multiply_adds = outputs.n_rows, chain.multiply_adds(layer)
    if 0 < n_rows * multiply_adds <= CALL_WORK:
        calls = [(0, n_rows, [kernel_states(x) for x in states], context, outputs)]
    else:
        calls = _calls(states, context, outputs, row_pieces(n_rows, multiply_adds))
    asked = purpose(site.kind, layer, site.temperature)
    for start, count, inputs, around, arrays in calls:
        engine.conditional(
            chain, layer, inputs, around, *arrays, stream.key, stream.position, asked,
            site.first_row + start, count, workspace,
            effective_threads(work.n_threads, pass_work(chain, layer, count)),
        )  # fmt: skip


def pass_work(chain, layer, n_rows):
    """Return the multiply-adds of a pass over so many rows, between two barriers."""
    in_all = chain.multiply_adds(layer) * n_rows
    if in_all < SERIAL_WORK:
        return in_all
    return chain.multiply_adds(layer) * min(n_rows, engine.panel_rows(chain, layer))


def _calls(states, context, outputs, pieces):
    """Yield (first row, count, states, context, outputs) of the kernel call of each piece."""
    for piece in pieces:
        yield (
            piece.start, piece.stop - piece.start, [_rows(x, piece) for x in states],
            context and context.of_rows(piece), [_rows(x, piece) for x in outputs],
        )  # fmt: skip


def gibbs_sweeps(chain, free_layers, states, contexts, n_sweeps, site, work):
    """Run sweeps over a chain in place: odd layers, then even layers.

    Parameters
    ----------
    chain : Chain
    free_layers : sequence of bool
        By layer: whether it moves.
    states : list of ndarray of shape (n_rows, n_units)
        By layer, of its state type.
    contexts : list of LayerContext
        By layer.
    n_sweeps : int
    site : Site
    work : Work
    """
    stream, n_rows = site.stream, states[0].shape[0]
    layers = range(chain.n_layers)
    # between two barriers: an average layer, and as many rows as are taken together
    multiply_adds = sum(chain.multiply_adds(l) for l in layers if free_layers[l]) // chain.n_layers
    multiply_adds *= min(n_rows, max(engine.panel_rows(chain, l) for l in layers))
    engine.gibbs(
        chain, np.asarray(free_layers, np.uint8), [kernel_states(x) for x in states], contexts,
        stream.key, stream.position, purpose(site.kind, 0, site.temperature), site.first_row,
        n_sweeps, n_rows, work.workspace or engine.Workspace(),
        effective_threads(work.n_threads, multiply_adds),
    )  # fmt: skip


def fixed_point(chain, means, contexts, until, *, first_parity, in_steps=False, work=ANY_WORK):
    """Run mean-field sweeps over all layers of a chain in place, until each row has arrived.

    Parameters
    ----------
    chain : Chain
    means : list of ndarray, float32
        By layer: the start, and then the fixed point.
    contexts : list of LayerContext
        By layer; only bias rows, bias scales and held entries count.
    until : FixedPoint
    first_parity : {0, 1}
        Of the layers that a sweep begins with.
    in_steps : bool, default False
        Let neighbours read means as bytes; every matrix must have a packed form.
    work : Work

    Returns
    -------
    tuple of (int32, float32) ndarray of shape (n_rows,)
        Sweeps of each row, and the largest change of a mean in the last one.
    """
    n_rows = means[0].shape[0]
    sweeps, change = np.zeros(n_rows, np.int32), np.zeros(n_rows, np.float32)
    workspace = work.workspace or engine.Workspace()
    multiply_adds = sum(chain.multiply_adds(l) for l in range(chain.n_layers))  # of a sweep
    for piece in row_pieces(n_rows, multiply_adds * until.max_sweeps, TILE_ROWS):
        together = min(piece.stop - piece.start, TILE_ROWS)
        engine.mean_field(
            chain, [x[piece] for x in means], [c.of_rows(piece) for c in contexts],
            sweeps[piece], change[piece], until.max_sweeps, first_parity, in_steps, until.tol,
            until.damping, workspace, effective_threads(work.n_threads, multiply_adds * together),
        )  # fmt: skip
    return sweeps, change


def layer_log_weight(chain, layer, x, context=None, *, n_threads=None):
    """Return the log weight of states of one layer alone, float64 of shape (n_rows,)."""
    out = np.zeros(x.shape[0])
    for piece in row_pieces(x.shape[0], 32 * x.shape[1]):
        count, around = piece.stop - piece.start, context
        if context is not None and count < x.shape[0]:
            around = context.of_rows(piece)
        engine.layer_log_weight(
            chain, layer, _rows(x, piece), around, out[piece],
            effective_threads(n_threads, 8 * count * x.shape[1]),
        )  # fmt: skip
    return out


def segments_log_normalizer(segments, field):
    """Return log sum_x exp(field x) of whole layers in float64, shape (n_rows,)."""
    field = np.ascontiguousarray(field, np.float64)
    out = np.zeros(len(field))
    engine.segments_log_normalizer(segments, field, out)
    return out
