"""The recognition posterior of a belief network: its draws, and what they weigh.

Bounds of the likelihood average the weights; completions accept or refuse draws by them. What the
weight is made of, and what cancels in it, is in docs/math.md, "Belief networks".
"""

from dataclasses import dataclass

import numpy as np

from deepgen._kernels import engine
from deepgen.inference.free_energy import free_energy
from deepgen.layers.context import with_trials
from deepgen.layers.passes import LayerContext, Outputs, Site, conditional_pass, layer_log_weight
from deepgen.layers.units import log_ratio_chain, lone_chain
from deepgen.models.network import ACTIVATIONS
from deepgen.rows.fingerprint import row_digests
from deepgen.runtime.stream import RECOGNIZE
from deepgen.runtime.work import Work

_LINEAR = ACTIVATIONS["linear"]


def _linear_upward(layer, bias, weights):
    """Two layers as the kernels read them; the upper one is the field ``x weights + bias``."""
    return engine.Chain([layer.lower.kernel_layer(), (_LINEAR, 1, 1, bias, None)], [weights])


class _Correction:
    """The terms of the log weight that depend on states y of a hidden layer, given x below it.

    ``log p(y) p(x | y) - log q(y | x)`` without the log normalizers is ``x (G - R) y + (b - c) y -
    (p - r) y^2 / 2``: generative minus recognition weights, biases and precisions. Base measures
    are the same and cancel. Nothing at all is left of a fresh stack whose upper machine began as
    the transpose of the lower one. Where x are rows of several lengths D, such as documents, the
    recognition bias counts D times: it goes into the slopes then.
    """

    def __init__(self, layer, above, work):
        self.layer, self._work = layer, work
        by_length = layer.lower.takes_trials
        bias = above.bias if by_length else above.bias - layer.upper.bias
        precision = None
        if above.precision is not None:
            precision = above.precision - layer.upper.precision
        self.slopes_chain = None
        if by_length or not np.array_equal(layer.generative, layer.recognition):
            own = -layer.upper.bias if by_length else np.zeros_like(bias)
            self.slopes_chain = _linear_upward(layer, own, layer.generative - layer.recognition)
        self.is_zero = self.slopes_chain is None and not (
            bias.any() or (precision is not None and precision.any())
        )
        self.y_chain = log_ratio_chain(bias, precision)

    def slopes(self, x):
        """Return x (G - R) by row, less D c of rows of several lengths; None where all are zero."""
        if self.slopes_chain is None:
            return None
        return _field(self.slopes_chain, self.layer, x, self._work)

    def at(self, y, slopes):
        """Return the correction of states by row, float64."""
        if self.is_zero:
            return np.zeros(len(y))
        context = LayerContext(bias_rows=slopes)
        return layer_log_weight(self.y_chain, 0, y, context, n_threads=self._work.n_threads)


def _field(chain, layer, x, work):
    out = np.empty((x.shape[0], layer.upper.size), np.float32)
    context = with_trials((layer.lower, layer.upper), [x, None])
    around = None if context is None else context.of_layer(1)
    conditional_pass(chain, 1, [x, None], Outputs(out), around, work=work)
    return out


@dataclass(frozen=True)
class RecognitionTerms:
    """Numbers of each row that all its draws share.

    Attributes
    ----------
    constants : ndarray of shape (n_rows,), float64
        The part of the log weight that no draw changes.
    fields : ndarray of shape (n_rows, n_1), float32
        Of the first hidden layer under the recognition model.
    slopes : ndarray of shape (n_rows, n_1), float32, or None
        Of the correction by the first hidden layer.
    digests : list of int
        Of the rows, which name the random numbers of their draws.
    trials : ndarray of shape (n_rows,), int64, or None
        Words of each row, of a model of documents.
    """

    constants: np.ndarray
    fields: np.ndarray
    slopes: np.ndarray | None
    digests: list
    trials: np.ndarray | None = None


class Recognition:
    """Draws x_1, ..., x_L of the hidden layers given data, and log p*(v, x) - log q(x | v).

    ``p*`` leaves log Z of the top out, and the topmost layer is summed out.

    Parameters
    ----------
    model : BeliefNetwork
        Without a directed layer nothing is drawn: the weight is that of the machine's free energy.
    stream : Stream
    n_threads : int or None
    """

    def __init__(self, model, stream, n_threads=None):
        self.model, self.stream = model, stream
        self._work = Work(n_threads=n_threads).reusing()
        above = [*(layer.lower for layer in model.layers), model.top.layers[0]][1:]
        self._corrections = [
            _Correction(layer, units, self._work)
            for layer, units in zip(model.layers, above, strict=True)
        ]
        if model.layers:
            first = model.layers[0]
            self._fields_chain = _linear_upward(first, first.upper.bias, first.recognition)
            self._first = lone_chain(first.upper)

    def terms(self, v, *, ratios=False):
        """Return the numbers of these rows that all their draws share.

        Parameters
        ----------
        v : states of the visible layer
        ratios : bool
            True where weights of one row are only compared with each other: what they share,
            `constants`, stays at zero then, and `digests` are left out.
        """
        if not self.model.layers:
            free = free_energy(self.model.top, v, n_threads=self._work.n_threads)
            return RecognitionTerms(-free, None, None, [])
        layer, n_rows = self.model.layers[0], v.shape[0]
        fields = _field(self._fields_chain, layer, v, self._work)
        slopes, total = self._corrections[0].slopes(v), np.zeros(n_rows)
        if n_rows and not ratios:
            total = layer_log_weight(layer.downward.chain, 0, v, n_threads=self._work.n_threads)
            conditional_pass(
                self._first, 0, [None], Outputs(log_normalizer=total),
                LayerContext(bias_rows=fields), work=self._work,
            )  # fmt: skip
        trials = None
        if layer.lower.takes_trials:
            trials = layer.lower.trials_of(v).astype(np.int64)
        return RecognitionTerms(total, fields, slopes, [] if ratios else row_digests(v), trials)

    def log_weights(self, terms, rows, first_draw, n_draws):
        """Return the log weights of draws of each row.

        The random numbers of a row are named by its digest and by the number of the draw: those of
        different rows are independent, whatever rows are asked about and in which order.

        Parameters
        ----------
        terms : RecognitionTerms
        rows : slice
        first_draw : int
            Number of the first of these draws.
        n_draws : int

        Returns
        -------
        ndarray of shape (n of these rows, n_draws), float64
        """
        constants = terms.constants[rows, None]
        if not self.model.layers:
            return np.repeat(constants, n_draws, axis=1)
        fields, slopes, trials = terms.fields[rows], terms.slopes, terms.trials
        streams = [self.stream.child(digest) for digest in terms.digests[rows]]
        x = np.concatenate([
            self.first_draws(np.repeat(field[None], n_draws, axis=0), stream, first_draw)
            for field, stream in zip(fields, streams, strict=True)
        ])  # fmt: skip
        if trials is not None:
            trials = np.repeat(trials[rows], n_draws)
        rest = self.weigh(x, streams, first_draw, trials)
        if slopes is not None:
            slopes = np.repeat(slopes[rows], n_draws, axis=0)
        return constants + (rest + self.first_correction(x, slopes)).reshape(-1, n_draws)

    def first_draws(self, fields, stream, first_row):
        """Draw the first hidden layer, a row for each row of `fields`."""
        units = self.model.layers[0].upper
        out = np.empty(fields.shape, units.state_dtype)
        conditional_pass(
            self._first, 0, [None], Outputs(sample=out), LayerContext(bias_rows=fields),
            Site(stream.child("layer 1"), RECOGNIZE, first_row), self._work,
        )  # fmt: skip
        return out

    def first_correction(self, x, slopes):
        """Return the part of the log weight that depends on both the data and draws `x`."""
        return self._corrections[0].at(x, slopes)

    def weigh(self, x, streams, first_row, trials=None):
        """Draw the layers above draws `x` of the first; return the rest of their log weight.

        Parameters
        ----------
        x : states of the first hidden layer, (n_rows, n_1)
        streams : list of Stream
            The rows of `x` are cut into as many parts of equal length, and each part draws from
            its own stream.
        first_row : int
            Number of the first row of each part.
        trials : ndarray of shape (n_rows,), int64, or None
            See :class:`RecognitionTerms`.

        Returns
        -------
        ndarray of shape (n_rows,), float64
        """
        layers, n_rows = self.model.layers, len(x)
        total = np.zeros(n_rows)
        for l, layer in enumerate(layers):
            below = np.zeros(n_rows)
            around = LayerContext(trials=trials) if l == 0 and trials is not None else None
            conditional_pass(
                layer.downward.chain, 0, [None, x], Outputs(log_normalizer=below), around,
                work=self._work,
            )  # fmt: skip
            above = np.zeros(n_rows)
            if l + 1 < len(layers):
                x, correction = self._upward(l + 1, x, above, streams, first_row)
                total += correction
            else:
                top = self.model.top
                conditional_pass(
                    top.chain, 1, [x, None], Outputs(log_normalizer=above), work=self._work
                )
            total += above - below
        return total

    def _upward(self, l, x, log_normalizer, streams, first_row):
        """Draw layer l + 1 given layer l; return the draws and their correction."""
        layer, correction = self.model.layers[l], self._corrections[l]
        draws = np.empty((len(x), layer.upper.size), layer.upper.state_dtype)
        size = len(x) // len(streams)
        for number, stream in enumerate(streams):
            rows = slice(number * size, (number + 1) * size)
            conditional_pass(
                layer.upward.chain, 1, [x[rows], None],
                Outputs(sample=draws[rows], log_normalizer=log_normalizer[rows]),
                site=Site(stream.child(f"layer {l + 1}"), RECOGNIZE, first_row), work=self._work,
            )  # fmt: skip
        return draws, correction.at(draws, correction.slopes(x))
