"""The mean-field posterior of a Boltzmann machine: its bound, its draws, and what they weigh.

What a weight is made of is in docs/math.md, "Mean field". Draws are named by what a row holds, as
those of :mod:`deepgen.inference.recognition` are.
"""

from dataclasses import dataclass

import numpy as np

from deepgen.inference.mean_field import FixedPoint, field_from, infer_layers
from deepgen.layers.context import with_trials
from deepgen.layers.passes import LayerContext, Outputs, Site, conditional_pass, layer_log_weight
from deepgen.layers.units import log_ratio_chain, lone_chain
from deepgen.rows.fingerprint import row_digests
from deepgen.rows.states import dense
from deepgen.runtime.stream import RECOGNIZE
from deepgen.runtime.work import Work

# Where mean field stops for bounds and for answers about rows. Closer would not pay: what is left
# of the bound is of the order of the tolerance squared.
BOUND_FIXED_POINT = FixedPoint(max_sweeps=100, tol=1e-4)


@dataclass(frozen=True)
class FactorialTerms:
    """Numbers of each row that all its draws share.

    Attributes
    ----------
    constants : ndarray of shape (n_rows,), float64
        The part of the log weight that no draw changes.
    fields : dict of {int: ndarray of shape (n_rows, n_units), float32}
        By number of the layers that are drawn: fields whose means are those of the posterior.
    slopes : dict of {int: ndarray of shape (n_rows, n_units)}
        By the same numbers: the field under the model, without the layers that are summed out,
        minus `fields`. A draw x adds ``slopes . x`` to the log weight.
    digests : list of int
        Of the rows, which name the random numbers of their draws.
    """

    constants: np.ndarray
    fields: dict
    slopes: dict
    digests: list


class FactorialPosterior:
    """Mean-field posterior of the hidden layers given rows of the first.

    Odd layers are drawn, even ones above the first are summed out given them: the weight is
    ``p*(v, odd) / q(odd | v)`` and leaves log Z out.

    Parameters
    ----------
    model : BoltzmannMachine
    stream : Stream
    n_threads : int or None
    """

    def __init__(self, model, stream, n_threads=None):
        self.model, self.stream = model, stream
        self._work = Work(n_threads=n_threads).reusing()
        self._odd = range(1, model.n_layers, 2)

    def means(self, v):
        """Return the means of every layer, v included."""
        states = [v, *[None] * (self.model.n_layers - 1)]
        return infer_layers(self.model, states, until=BOUND_FIXED_POINT, work=self._work).means

    def bound(self, v):
        """Return ``E_q[log p*(v, h)] + H(q)`` by row, float64.

        Base measures and precisions are the same in the energy and in the entropy, and cancel:
        a layer of q with natural parameters `f` and mean `m` adds ``A(f) + (b - f) . m``.
        """
        means, biases = self.means(v), self._biases(v)
        total = layer_log_weight(self.model.chain, 0, v, n_threads=self._work.n_threads)
        for l, units in enumerate(self.model.layers[1:], start=1):
            m = dense(means[l])
            field = units.field_of(m)
            sent = field_from(self.model, l - 1, l, means[l - 1], self._work)
            total += units.log_normalizer(field)
            total += _dots(m, biases[l] - field.astype(np.float64) + sent)
        return total

    def _biases(self, v):
        """Return the biases of all layers; of those beside rows of several lengths by row."""
        context = with_trials(self.model.layers, [v, *[None] * (self.model.n_layers - 1)])
        scales = {} if context is None else context.bias_scale
        return [
            units.bias * scales[l][:, None] if l in scales else units.bias
            for l, units in enumerate(self.model.layers)
        ]

    def terms(self, v):
        """Return the numbers of these rows that all their draws share.

        Parameters
        ----------
        v : states of the visible layer
        """
        means, biases, fields, slopes = self.means(v), self._biases(v), {}, {}
        total = layer_log_weight(self.model.chain, 0, v, n_threads=self._work.n_threads)
        for l in self._odd:
            units = self.model.layers[l]
            fields[l] = units.field_of(dense(means[l]))
            slopes[l] = biases[l] - fields[l]
            if l == 1:
                slopes[l] += field_from(self.model, 0, 1, v, self._work)
            total += units.log_normalizer(fields[l])
        return FactorialTerms(total, fields, slopes, row_digests(v))

    def log_weights(self, terms, rows, first_draw, n_draws):
        """Return the log weights of draws of each row; see :meth:`Recognition.log_weights`."""
        streams = [self.stream.child(digest) for digest in terms.digests[rows]]
        total = np.zeros(len(streams) * n_draws)
        states = [None] * self.model.n_layers
        for l in self._odd:
            units = self.model.layers[l]
            lone = lone_chain(units)
            states[l] = np.empty((len(total), units.size), units.state_dtype)
            fields = terms.fields[l][rows, None].repeat(n_draws, axis=1)
            draws = states[l].reshape(fields.shape)  # by row of the data
            for row, stream in enumerate(streams):
                conditional_pass(
                    lone, 0, [None], Outputs(sample=draws[row]), LayerContext(fields[row]),
                    Site(stream.child(f"layer {l}"), RECOGNIZE, first_draw), self._work,
                )  # fmt: skip
            # base measure and precision are those of q too
            linear = log_ratio_chain(np.zeros_like(units.bias))
            slopes = np.repeat(terms.slopes[l][rows], n_draws, axis=0)
            total += layer_log_weight(
                linear, 0, states[l], LayerContext(slopes), n_threads=self._work.n_threads
            )
        for l in range(2, self.model.n_layers, 2):
            conditional_pass(
                self.model.chain, l, states, Outputs(log_normalizer=total), work=self._work
            )
        return terms.constants[rows, None] + total.reshape(-1, n_draws)


def _dots(x, y):
    """Dot product of rows, float64."""
    return np.einsum("ij,ij->i", x, y, dtype=np.float64)
