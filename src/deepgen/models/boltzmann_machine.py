"""Boltzmann machines of layers: with two layers an RBM, with more a DBM."""

import itertools

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import as_list, float32_array, is_integer, model_remedy, shown
from deepgen.layers.units import Units, both_in_words
from deepgen.rows.counts import MOST_COUNTS
from deepgen.runtime.precision import pack_exactly, precision

_versions = itertools.count(1)
# A parameter that is added for each draw of the longest row: the sum has to be finite.
MOST_SUMMED = float(np.finfo(np.float32).max) / (2 * MOST_COUNTS)


def beyond_sums(layers, weights, biases):
    """Look for a parameter that could not be summed over the draws of the longest row.

    Parameters
    ----------
    layers : sequence of Units
    weights, biases : sequence of ndarray, float32

    Returns
    -------
    tuple of (name, units, largest) or None
        The parameter, the units that take trials, and its largest absolute value.
    """
    for l, (lower, upper) in enumerate(itertools.pairwise(layers)):
        for units, k in ((lower, l + 1), (upper, l)):
            if not units.takes_trials:
                continue
            for name, values in (
                (f"weights[{l}]", weights[l]), (f"layers[{k}].bias", biases[k])
            ):  # fmt: skip
                largest = float(max(values.max(), -values.min()))
                if not largest <= MOST_SUMMED:
                    return name, units, largest
    return None


def next_version():
    """Return a number that no model of this process has had."""
    return next(_versions)


class BoltzmannMachine:
    """Layers and the weight matrices between neighbours; plain, uncentred parameters.

    ``energy = -sum_l (bias_l . x_l + log base measure) - sum_l x_l^T weights_l x_(l+1)``.
    A model never changes: :meth:`replace` makes another one, with another `version`.

    Parameters
    ----------
    layers : sequence of Units
        Bottom layer first; each with a size.
    weights : sequence of array-like of shape (n_lower, n_upper)
        One matrix for each pair of neighbours.
    observed : sequence of int, default (0,)
        Layers that data can be given for.

    Attributes
    ----------
    layers : tuple of Units
    weights : tuple of ndarray, float32, read-only
    version : int
        Different for every set of parameters in this process; keys every cache.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite or could not be summed over the draws of a row,
        or the states of two neighbours have no bounds, as those of Gaussian units (such a model
        need not have a finite partition function).
    """

    def __init__(self, layers, weights, *, observed=(0,)):
        self.layers = tuple(as_list(layers, "layers", "Units"))
        self.version = next_version()
        if len(self.layers) < 2:
            raise ValueError(f"layers must hold at least two layers, got {len(self.layers)}")
        for number, layer in enumerate(self.layers):
            if not isinstance(layer, Units) or layer.size is None:
                raise ValueError(f"layers[{number}] must be Units with a size, got {layer!r}")
        weights = as_list(weights, "weights", "matrices, one for each pair of neighbours")
        if len(weights) != len(self.layers) - 1:
            raise ValueError(
                f"weights must hold {len(self.layers) - 1} matrices, one for each pair of "
                f"neighbouring layers, got {len(weights)}"
            )
        self.weights = tuple(self._matrix(l, matrix) for l, matrix in enumerate(weights))
        self.observed = tuple(as_list(observed, "observed", "numbers of layers"))
        if not self.observed or not are_layers(self.observed, self.n_layers):
            raise ValueError(
                f"observed must name layers of the model, 0 to {self.n_layers - 1}, each once, "
                f"got {shown(observed)}"
            )
        self.observed = tuple(int(l) for l in self.observed)
        # exp(x^T W y - p x^2 / 2 - q y^2 / 2) has a finite integral for small W only, and no rule
        # of learning keeps W small
        for number, (lower, upper) in enumerate(itertools.pairwise(self.layers)):
            if not (lower.is_bounded or upper.is_bounded):
                are = both_in_words(lower, upper)
                raise ValueError(
                    f"layers[{number}] and layers[{number + 1}] are {are}; such "
                    "a model need not be normalizable: make one of them binary"
                )
        found = beyond_sums(self.layers, self.weights, [layer.bias for layer in self.layers])
        if found is not None:
            name, units, largest = found
            raise ValueError(
                f"{name} must lie within {MOST_SUMMED:.2g} in absolute value beside "
                f"{type(units).__name__} units, which sum it over the draws of a row, got "
                f"{largest:.3g}"
            )
        self._packed, self._chain = {}, {}  # by setting of the precision, made when asked for

    def _matrix(self, number, matrix):
        """Return weights between two layers as a read-only float32 copy, after a check."""
        matrix = np.array(float32_array(matrix, f"weights[{number}]"))
        expected = (self.layers[number].size, self.layers[number + 1].size)
        if matrix.shape != expected:
            raise ValueError(f"weights[{number}] must have shape {expected}, got {matrix.shape}")
        if not np.isfinite(matrix).all():
            raise ValueError(
                f"weights[{number}] must be finite, but contains NaN, inf or values beyond float32"
            )
        matrix.flags.writeable = False
        return matrix

    def __repr__(self):
        layers = " - ".join(f"{type(layer).__name__}({layer.size})" for layer in self.layers)
        return f"BoltzmannMachine({layers})"

    def __getstate__(self):
        return self.layers, self.weights, self.observed

    def __setstate__(self, state):
        # the constructor makes what a copy cannot share: a version, and pointers into its arrays
        layers, weights, observed = state
        self.__init__(layers, weights, observed=observed)

    @property
    def n_layers(self):
        """Number of layers."""
        return len(self.layers)

    @property
    def visible(self):
        """Units of the lowest layer."""
        return self.layers[0]

    @property
    def chain(self):
        """The model as the kernels read it, one for each setting of :func:`set_precision`."""
        setting = precision()
        if setting not in self._chain:  # two threads may both build it: the chains are equal
            self._chain[setting] = self.part(0, self.n_layers)
        return self._chain[setting]

    def _packed_weights(self):
        """Return the packed form of each matrix that has an exact one, else None."""
        setting = precision()
        if setting not in self._packed:
            pairs = itertools.pairwise(self.layers)
            self._packed[setting] = [
                pack_exactly(*pair, w) for pair, w in zip(pairs, self.weights, strict=True)
            ]
        return self._packed[setting]

    def part(self, start, stop):
        """Return the layers `start` to `stop - 1` as a chain for the kernels.

        Their neighbours outside are left out: what they send comes as bias rows, if at all.
        """
        layers = [layer.kernel_layer() for layer in self.layers[start:stop]]
        return engine.Chain(layers, *self.kernel_weights(slice(start, stop - 1)))

    def kernel_weights(self, chosen):
        """Return (matrices, packed forms or None) of a slice of the matrices, for a chain."""
        return self.weights[chosen], self._packed_weights()[chosen]

    def replace(self, *, layers=None, weights=None):
        """Return a model with other layers or weights.

        Parameters
        ----------
        layers : sequence of Units or None
        weights : sequence of array-like or None
            None: as in this model.
        """
        return BoltzmannMachine(
            self.layers if layers is None else layers,
            self.weights if weights is None else weights,
            observed=self.observed,
        )


    def of_length(self, trials):
        """Return the machine of rows of so many draws, of one whose rows have their own number.

        A model of documents is one machine for each length: hidden biases count ``trials`` times,
        and Z is another number.

        Parameters
        ----------
        trials : int
        """
        layers = list(self.layers)
        for l, units in enumerate(self.layers):
            if not units.takes_trials:
                continue
            layers[l] = units.of_length(trials)
            for beside in (l - 1, l + 1):
                if 0 <= beside < self.n_layers:
                    bias = layers[beside].bias.astype(np.float64) * trials
                    layers[beside] = layers[beside].replace(bias=bias)
        return self.replace(layers=layers)


def are_layers(numbers, n_layers):
    """Tell whether `numbers` are numbers of layers, each once."""
    known = all(is_integer(l) and 0 <= l < n_layers for l in numbers)
    return known and len(set(numbers)) == len(numbers)


def check_one_length(model, name="model"):
    """Raise ValueError for a model whose rows have their own numbers of draws: it has no one Z."""
    if any(units.takes_trials for units in model.layers):
        raise ValueError(
            f"{name} must be one of rows of one length to have one log Z, got {model!r}, whose "
            "rows have their own; use model.of_length(trials), or dg.LengthPartition"
        )


def check_model(model, n_layers=None, name="model"):
    """Raise unless `model` is a BoltzmannMachine, of `n_layers` layers where that is given."""
    if not isinstance(model, BoltzmannMachine):
        raise TypeError(
            f"{name} must be a dg.BoltzmannMachine, got {shown(model)}{model_remedy(model)}"
        )
    if n_layers is not None and model.n_layers != n_layers:
        raise ValueError(f"{name} must have {n_layers} layers, got {model.n_layers}")
