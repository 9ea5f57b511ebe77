"""The parameters of a model in training: arrays that the kernels update in place."""

import itertools

import numpy as np

from deepgen._kernels import engine
from deepgen.models.boltzmann_machine import beyond_sums
from deepgen.runtime.precision import pack, rounded
from deepgen.runtime.threads import effective_threads


class WritableArrays:
    """Arrays by name that training changes in place; `learned` returns them."""

    def first_non_finite(self):
        """Return the name of a parameter that is not finite, or None."""
        for name, array in self.learned().items():
            if not np.isfinite(array).all():
                return name
        return None

    def first_run_away(self):
        """Return the name of a parameter that is finite but too large for a model, or None."""
        return

    def snapshot(self):
        """Return copies of the learned arrays."""
        return {name: array.copy() for name, array in self.learned().items()}

    def restore(self, arrays):
        """Put back what :meth:`snapshot` returned."""
        for name, array in self.learned().items():
            array[...] = arrays[name]


class Parameters(WritableArrays):
    """Writable copies of a model's parameters, with the kernels' view of them.

    Parameters
    ----------
    model : BoltzmannMachine
    packed : bool, default False
        Let passes of whole-number states read the packed form of the weights where there is one;
        who changes weights then calls :meth:`refresh`. The model of the end is rounded to it.

    Attributes
    ----------
    layers : tuple of Units
        Unit types and options; their parameters are the starting values.
    weights, biases : list of ndarray, float32
    log_precisions, precisions : list of ndarray or None
        By layer; None where a layer has none.
    n_layers : int
    learns_precision : list of bool
        By layer: whether training changes its log precision.
    means_in_bytes : list of float or None
        By layer: the largest mean, where means are kept in steps of 1 / 255 of it, because a matrix
        of the layer has a packed form. None: they stay floats. Those of groups do, which rounded
        one by one would not add up to one; updates round them together (``in_steps``).
    chain : Chain
        Points into the arrays above, so it is always up to date.
    """

    def __init__(self, model, *, packed=False):
        self.model = model
        self.layers = model.layers
        self.weights = [np.array(w) for w in model.weights]
        self.biases = [np.array(layer.bias) for layer in model.layers]
        self.log_precisions = [
            None if layer.precision is None else np.array(layer.log_precision)
            for layer in model.layers
        ]
        self.precisions = [
            None if layer.precision is None else np.array(layer.precision) for layer in model.layers
        ]
        self.packed = [None] * len(self.weights)
        if packed:
            pairs = itertools.pairwise(self.layers)
            self.packed = [pack(*pair, w) for pair, w in zip(pairs, self.weights, strict=True)]
        self.n_layers = len(self.layers)
        self.learns_precision = [
            layer.precision is not None and f"layers[{l}].log_precision" in self.learned()
            for l, layer in enumerate(self.layers)
        ]
        self.means_in_bytes = [self._largest_mean(l) for l in range(self.n_layers)]
        self._parts = {}  # chains that have been asked for: they point into the arrays above
        self.chain = self.part(0, self.n_layers)

    def __getstate__(self):
        return self.model, any(self.packed), self.snapshot()

    def __setstate__(self, state):
        model, packed, arrays = state
        self.__init__(model, packed=packed)
        self.restore(arrays)

    def _largest_mean(self, layer):
        """Return an entry of `means_in_bytes`."""
        units = self.layers[layer]
        return None if units.group > 1 or not self.has_packed(layer) else units.largest_state

    def has_packed(self, layer):
        """Tell whether a matrix of a layer has a packed form: its means are summed in steps."""
        return any(form is not None for form in self.packed[max(layer - 1, 0) : layer + 1])

    def part(self, start, stop):
        """Return the layers `start` to `stop - 1` alone, as the kernels read them."""
        if (start, stop) not in self._parts:
            arrays = list(zip(self.layers, self.biases, self.precisions, strict=True))[start:stop]
            layers = [
                (*layer.kernel_layer()[:3], bias, precision) for layer, bias, precision in arrays
            ]
            chain = engine.Chain(layers, *self.kernel_weights(slice(start, stop - 1)))
            self._parts[start, stop] = chain
        return self._parts[start, stop]

    def kernel_weights(self, chosen):
        """Return (matrices, packed forms or None) of a slice, as the kernels read them."""
        return self.weights[chosen], self.packed[chosen]

    def learned(self):
        """Return the arrays that training changes, by name."""
        arrays = {f"weights[{l}]": w for l, w in enumerate(self.weights)}
        arrays |= {f"layers[{l}].bias": b for l, b in enumerate(self.biases)}
        for l, layer in enumerate(self.layers):
            # Of the lowest layer alone: hidden units of another precision, their weights scaled
            # with it, are the same model of the rows.
            if l == 0 and layer.learn_precision:
                arrays[f"layers[{l}].log_precision"] = self.log_precisions[l]
        return arrays

    def refresh_precisions(self):
        """Recompute precisions from their logarithms."""
        for precision, log_precision in zip(self.precisions, self.log_precisions, strict=True):
            if precision is not None:
                np.exp(log_precision, out=precision)

    def refresh(self, n_threads=None):
        """Recompute all that is derived: precisions and packed weights."""
        self.refresh_precisions()
        for weights, packed in zip(self.weights, self.packed, strict=True):
            if packed is not None:
                packed.refresh(effective_threads(n_threads, 4 * weights.size))

    def first_run_away(self):
        """See :meth:`WritableArrays.first_run_away`: too large to be summed over long rows."""
        found = beyond_sums(self.layers, self.weights, self.biases)
        return None if found is None else found[0]

    def restore(self, arrays):
        """Put back what :meth:`snapshot` returned."""
        super().restore(arrays)
        self.refresh()

    def to_model(self, arrays=None):
        """Return a model with these parameters, or with `arrays` in their place."""
        arrays = self.learned() if arrays is None else arrays
        layers = []
        for l, layer in enumerate(self.layers):
            changes = {"bias": arrays[f"layers[{l}].bias"]}
            if f"layers[{l}].log_precision" in arrays:
                changes["log_precision"] = arrays[f"layers[{l}].log_precision"]
            layers.append(layer.replace(**changes))
        weights = [arrays[f"weights[{l}]"] for l in range(len(self.weights))]
        for l, packed in enumerate(self.packed):
            if packed is not None:
                weights[l] = rounded(*self.layers[l : l + 2], weights[l])
        return self.model.replace(layers=layers, weights=weights)
