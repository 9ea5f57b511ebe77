"""Conditional passes: one layer given its neighbours. The only caller of these kernels."""

from typing import NamedTuple

import numpy as np

from deepgen._kernels import engine
from deepgen.rows.states import ByteMeans, CompressedRows, kernel_form
from deepgen.runtime.stream import Stream, purpose
from deepgen.runtime.threads import effective_threads

# Multiply-adds of one kernel call over many rows, 10 ms or so, more on a busy machine: between
# calls Ctrl-C is heard. Rows do not depend on each other, so the bits are the same.
CALL_WORK = 400_000_000
FEWEST_ROWS = 32  # that share a read of the weights
TILE_ROWS = 128  # that mean field works on together, between two barriers


class Site(NamedTuple):
    """Who asks for random numbers."""

    stream: Stream
    kind: int
    first_row: int = 0
    temperature: int = 0


_NO_SITE = Site(Stream(0), 0)  # of a pass that draws nothing


class LayerContext(NamedTuple):
    """What varies around one layer, as the kernels read it; None where it does not.

    Attributes
    ----------
    bias_rows : ndarray of shape (n_rows, n_units), float32
        Added to the layer's bias.
    held : ndarray of shape (n_rows, n_units), uint8
        1 where an entry keeps its value.
    beta : ndarray of shape (n_rows,), float32
        Inverse temperature of each row.
    base_bias, base_precision : ndarray of shape (n_units,), float32
        Of the independent units at ``beta`` = 0; the same for all rows.
    """

    bias_rows: np.ndarray | None = None
    held: np.ndarray | None = None
    beta: np.ndarray | None = None
    base_bias: np.ndarray | None = None
    base_precision: np.ndarray | None = None

    def of_rows(self, piece):
        """Return the context of a slice of the rows."""
        return self._replace(
            bias_rows=_rows(self.bias_rows, piece),
            held=_rows(self.held, piece),
            beta=_rows(self.beta, piece),
        )


def row_pieces(n_rows, work, fewest=FEWEST_ROWS):
    """Yield slices of rows that are one kernel call each; `work` is that of a row."""
    size = max(fewest, CALL_WORK // max(work, 1) // fewest * fewest)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def _rows(x, piece):
    if x is None or piece.stop - piece.start == x.shape[0]:
        return None if x is None else kernel_form(x)
    if isinstance(x, CompressedRows):
        starts = x.starts[piece.start : piece.stop + 1]
        whole = slice(starts[0], starts[-1])
        return x.values[whole], x.indices[whole], starts - starts[0]
    if isinstance(x, ByteMeans):
        return kernel_form(ByteMeans(x.steps[piece], x.unit))
    return x[piece]


def conditional_pass(
    chain, layer, states, context=None, *, mean=None, sample=None, log_normalizer=None,
    beta_from=None, site=None, n_rows, work, workspace=None, n_threads=None,
):  # fmt: skip
    """Run one layer of a chain given its neighbours.

    Parameters
    ----------
    chain : Chain
    layer : int
    states : sequence
        States by layer; only the neighbours of `layer` are read.
    context : LayerContext or None
    mean, sample, log_normalizer : ndarray or None
        Outputs, C-contiguous: (n_rows, size) float32, (n_rows, size) of the layer's state type,
        (n_rows,) float64 that is added to. None: not wanted.
    beta_from : ndarray of shape (n_rows,) or None
        Subtract the log normalizer at this inverse temperature.
    site : Site or None
        Needed for a sample.
    work : int
        Multiply-adds of a row, to decide on threads.
    """
    site = site or _NO_SITE
    stream = site.stream
    workspace = workspace or engine.Workspace()
    together = engine.panel_rows(chain, layer)
    outputs = (mean, sample, log_normalizer, beta_from)
    for start, count, inputs, varying, arrays in _calls(states, context, outputs, n_rows, work):
        engine.conditional(
            chain, layer, inputs, varying, *arrays, stream.key, stream.position,
            purpose(site.kind, layer, site.temperature), site.first_row + start, count, workspace,
            effective_threads(n_threads, work * min(count, together)),
        )  # fmt: skip


def _calls(states, context, outputs, n_rows, work):
    """Yield (first row, count, states, context, outputs) of each kernel call of a pass."""
    if 0 < n_rows * work <= CALL_WORK:
        yield 0, n_rows, [kernel_form(x) for x in states], context, outputs
        return
    for piece in row_pieces(n_rows, work):
        yield (
            piece.start, piece.stop - piece.start, [_rows(x, piece) for x in states],
            context and context.of_rows(piece), [_rows(x, piece) for x in outputs],
        )  # fmt: skip


def gibbs_sweeps(
    chain, free_layers, states, contexts, *, n_sweeps, site, n_rows, work, workspace, n_threads=None
):
    """Run sweeps over a chain in place: odd layers, then even layers.

    `work` counts the multiply-adds of a row in an average layer.
    """
    stream = site.stream
    work *= min(n_rows, max(engine.panel_rows(chain, l) for l in range(chain.n_layers)))
    engine.gibbs(
        chain, np.asarray(free_layers, np.uint8), [kernel_form(x) for x in states], contexts,
        stream.key, stream.position, purpose(site.kind, 0, site.temperature), site.first_row,
        n_sweeps, n_rows, workspace, effective_threads(n_threads, work),
    )  # fmt: skip


def fixed_point(
    chain, means, contexts, *, until, first_parity, in_steps=False, work, workspace=None,
    n_threads=None,
):  # fmt: skip
    """Run mean-field sweeps over all layers of a chain in place, until each row has arrived.

    Parameters
    ----------
    chain : Chain
    means : list of ndarray, float32
        By layer: the start, and then the fixed point.
    contexts : list of LayerContext
        By layer; only bias rows and held entries count.
    until : FixedPoint
    first_parity : {0, 1}
        Of the layers that a sweep begins with.
    in_steps : bool, default False
        Let neighbours read means as bytes; every matrix must have a packed form.
    work : int
        Multiply-adds of a row in a sweep.

    Returns
    -------
    tuple of (int32, float32) ndarray of shape (n_rows,)
        Sweeps of each row, and the largest change of a mean in the last one.
    """
    n_rows = means[0].shape[0]
    sweeps, change = np.zeros(n_rows, np.int32), np.zeros(n_rows, np.float32)
    workspace = workspace or engine.Workspace()
    for piece in row_pieces(n_rows, work * until.max_sweeps, TILE_ROWS):
        engine.mean_field(
            chain, [x[piece] for x in means], [c.of_rows(piece) for c in contexts],
            sweeps[piece], change[piece], until.max_sweeps, first_parity, in_steps, until.tol,
            until.damping, workspace,
            effective_threads(n_threads, work * min(piece.stop - piece.start, TILE_ROWS)),
        )  # fmt: skip
    return sweeps, change


def layer_log_weight(chain, layer, x, context=None, *, n_threads=None):
    """Return the log weight of states of one layer alone, float64 of shape (n_rows,)."""
    out = np.zeros(x.shape[0])
    for piece in row_pieces(x.shape[0], 32 * x.shape[1]):
        work = 8 * (piece.stop - piece.start) * x.shape[1]
        engine.layer_log_weight(
            chain, layer, _rows(x, piece), context and context.of_rows(piece), out[piece],
            effective_threads(n_threads, work),
        )  # fmt: skip
    return out


def segments_log_normalizer(segments, field):
    """Return log sum_x exp(field x) of whole layers in float64, shape (n_rows,)."""
    field = np.ascontiguousarray(field, np.float64)
    out = np.zeros(len(field))
    engine.segments_log_normalizer(segments, field, out)
    return out
