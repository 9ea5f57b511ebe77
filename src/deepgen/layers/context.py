"""Contexts: what differs from row to row around the layers of a model."""

from dataclasses import dataclass, field, replace

import numpy as np
import scipy

from deepgen.checks import MOST, as_list, float32_array, is_integer, real_array, shown
from deepgen.layers.passes import LayerContext
from deepgen.layers.units import Units
from deepgen.rows.states import checked_csr, dense


def _finite(value, name):
    array = float32_array(value, name)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, but contains NaN, inf or values beyond float32")
    return array


def _mask(value, name):
    array = real_array(value, name)
    if array.dtype == np.bool_:
        return np.ascontiguousarray(array).view(np.uint8)
    if not ((array == 0) | (array == 1)).all():
        raise ValueError(f"{name} must be a bool array, got other values than 0 and 1")
    return np.ascontiguousarray(array, np.uint8)


def _counts(value, name):
    array = real_array(value, name)
    if not ((array >= 0) & (array == np.floor(array)) & (array <= MOST)).all():
        raise ValueError(f"{name} must be whole numbers from 0 to {MOST}")
    return np.ascontiguousarray(array, np.int64)


def _pattern(value, name):
    if not scipy.sparse.issparse(value):
        raise TypeError(
            f"{name} must be a sparse matrix whose stored entries are there, got {shown(value)}"
        )
    return scipy.sparse.csr_array(checked_csr(value, name))


# What a dict by layer holds: how it is converted, and its shape for n_rows rows of a layer.
_BY_LAYER = {
    "bias_rows": (_finite, lambda n_rows, layer: (n_rows, layer.size)),
    "base_rows": (_finite, lambda n_rows, layer: (n_rows, layer.size)),
    "held": (_mask, lambda n_rows, layer: (n_rows, layer.size)),
    "bias_scale": (_finite, lambda n_rows, layer: (n_rows,)),
    "trials": (_counts, lambda n_rows, layer: (n_rows,)),
    "pattern": (_pattern, lambda n_rows, layer: (n_rows, layer.size)),
}


@dataclass(frozen=True)
class Context:
    """Per-row settings of a pass, a sweep or a rule.

    Attributes
    ----------
    bias_rows : dict of int to ndarray of shape (n_rows, n_units)
        Added to the bias of that layer: biases from the past frames of a time series.
    held : dict of int to bool ndarray of shape (n_rows, n_units)
        Entries of that layer that keep their value: observed pixels in a completion.
    bias_scale : dict of int to ndarray of shape (n_rows,)
        Multiplies the bias of that layer, not `bias_rows`: hidden biases times the length of a
        document.
    trials : dict of int to ndarray of shape (n_rows,), whole numbers
        How many draws a row's units of that layer share, such as the words of a document; for
        units that have a number of trials (``Units.takes_trials``).
    pattern : dict of int to sparse matrix of shape (n_rows, n_units)
        Stored entries are those that a row has, such as the films that a user has rated, whatever
        their values. The others are held, and must be zero: so they are no part of the row's model
        (Salakhutdinov, Mnih & Hinton 2007, section 2).
    beta : ndarray of shape (n_rows,) or None
        Inverse temperature of each row; scales all natural parameters. None: 1.
    base : sequence of Units or None
        Independent layers at beta = 0 for annealing; natural parameters are
        ``(1 - beta) * base + beta * model``. None, or None for a layer: the uniform one.
    base_rows : dict of int to ndarray of shape (n_rows, n_units)
        The bias of that layer at beta = 0, row by row, in place of that of `base`: rows whose
        biases differ are annealed from bases of their own.
    """

    bias_rows: dict = field(default_factory=dict)
    held: dict = field(default_factory=dict)
    beta: np.ndarray | None = None
    base: tuple | None = None
    bias_scale: dict = field(default_factory=dict, kw_only=True)
    trials: dict = field(default_factory=dict, kw_only=True)
    pattern: dict = field(default_factory=dict, kw_only=True)
    base_rows: dict = field(default_factory=dict, kw_only=True)

    def __post_init__(self):
        for name, (converted, _) in _BY_LAYER.items():
            rows = getattr(self, name)
            if not isinstance(rows, dict) or not all(is_integer(layer) for layer in rows):
                raise TypeError(
                    f"{name} must be a dict from layer numbers to arrays, got {shown(rows)}"
                )
            rows = {layer: converted(value, f"{name}[{layer}]") for layer, value in rows.items()}
            object.__setattr__(self, name, rows)
        if self.beta is not None:
            object.__setattr__(self, "beta", _finite(self.beta, "beta"))
        if self.base is not None:
            base = tuple(as_list(self.base, "base", "Units, one for each layer"))
            if not all(units is None or isinstance(units, Units) for units in base):
                raise TypeError(f"base must be a sequence of Units or None, got {shown(self.base)}")
            object.__setattr__(self, "base", base)

    def check(self, layers, n_rows):
        """Raise ValueError where a shape does not fit `layers` and `n_rows`."""
        for name, (_, shape_of) in _BY_LAYER.items():
            for layer, value in getattr(self, name).items():
                if not 0 <= layer < len(layers):
                    raise ValueError(
                        f"{name} names layer {layer}, but the model has {len(layers)} layers"
                    )
                expected = shape_of(n_rows, layers[layer])
                if value.shape != expected:
                    raise ValueError(
                        f"{name}[{layer}] must have shape {expected}, got {value.shape}"
                    )
        for layer in self.trials:
            if not layers[layer].takes_trials:
                raise ValueError(
                    f"trials names layer {layer}, but {layers[layer]!r} has no number of trials"
                )
        for layer, held in self.held.items():
            if layers[layer].takes_trials and (held.any(axis=1) != held.all(axis=1)).any():
                raise ValueError(
                    f"held[{layer}] must hold all counts of a row or none, as {layers[layer]!r} "
                    "shares its draws among them; ReplicatedSoftmax.impute completes documents"
                )
        if self.beta is not None and self.beta.shape != (n_rows,):
            raise ValueError(f"beta must have shape ({n_rows},), got {self.beta.shape}")
        if self.base is not None and len(self.base) != len(layers):
            raise ValueError(f"base must name {len(layers)} layers, got {len(self.base)}")
        for number, units in enumerate(self.base or ()):
            if units is not None and units.size != layers[number].size:
                raise ValueError(
                    f"base[{number}] must have {layers[number].size} units, got {units!r}"
                )

    def check_rows(self, n_rows):
        """Raise ValueError unless all that varies by row has `n_rows` rows, whatever the layers."""
        by_name = {
            f"{name}[{layer}]": value
            for name in _BY_LAYER
            for layer, value in getattr(self, name).items()
        }
        if self.beta is not None:
            by_name["beta"] = self.beta
        for name, value in by_name.items():
            if value.shape[:1] != (n_rows,):
                raise ValueError(
                    f"{name} must have {n_rows} rows, one for each row of the data, got shape "
                    f"{value.shape}"
                )

    def check_pattern(self, layer, states):
        """Raise ValueError where states of a layer are not zero outside of its pattern.

        Parameters
        ----------
        layer : int
        states : states of shape (n_rows, n_units)
        """
        pattern = self.pattern.get(layer)
        if pattern is None:
            return
        outside = np.argwhere((dense(states) != 0) & (_absent(pattern) != 0))
        if len(outside):
            row, unit = outside[0]
            raise ValueError(
                f"states of layer {layer} must be zero where pattern[{layer}] has no entry, but "
                f"are not in row {row}, column {unit}; store an entry there, or set the state to 0"
            )

    def of_rows(self, chosen):
        """Return the context of some rows, by a slice or an array of their numbers."""
        taken = {
            name: {layer: value[chosen] for layer, value in getattr(self, name).items()}
            for name in _BY_LAYER
        }
        return replace(self, beta=None if self.beta is None else self.beta[chosen], **taken)

    def holds(self, layer):
        """Tell whether entries of a layer keep their value: held, or not in its pattern."""
        return layer in self.held or layer in self.pattern

    def of_layer(self, layer):
        """Return the context of one layer."""
        base = None if self.base is None else self.base[layer]
        held, pattern = self.held.get(layer), self.pattern.get(layer)
        if pattern is not None:
            held = _absent(pattern) if held is None else held | _absent(pattern)
        return LayerContext(
            self.bias_rows.get(layer),
            held,
            self.beta,
            self.base_rows.get(layer, None if base is None else base.bias),
            None if base is None else base.precision,
            self.bias_scale.get(layer),
            self.trials.get(layer),
            pattern,
        )


def with_trials(layers, states, context=None):
    """Return a context that has what the states of multinomial layers tell: how long rows are.

    The number of trials of each row, its sum of counts, and by how much the biases of the layers
    beside are multiplied: by the trials of their neighbours. What the context has already stays.

    Parameters
    ----------
    layers : sequence of Units
    states : sequence
        By layer; None where they are not known.
    context : Context or None

    Returns
    -------
    Context or None
        The one that was given, where no layer has rows of several lengths.
    """
    several = [l for l, units in enumerate(layers) if units.takes_trials]
    if not several:
        return context
    if context is not None and all(
        l in context.trials and all(beside in context.bias_scale for beside in _beside(l, layers))
        for l in several
    ):
        return context
    trials, scales = {} if context is None else dict(context.trials), {}
    for l in several:
        if l not in trials and states[l] is not None:
            trials[l] = layers[l].trials_of(states[l]).astype(np.int64)
        for beside in _beside(l, layers) if l in trials else ():
            scales[beside] = scales.get(beside, 0.0) + trials[l].astype(np.float32)
    if context is None:
        return Context(trials=trials, bias_scale=scales)
    return replace(context, trials=trials, bias_scale={**scales, **context.bias_scale})


def _beside(layer, layers):
    """Return the numbers of the neighbours of a layer."""
    return [l for l in (layer - 1, layer + 1) if 0 <= l < len(layers)]


def _absent(pattern):
    """Return 1 where a pattern has no entry, uint8 of its shape."""
    absent = np.ones(pattern.shape, np.uint8)
    absent[np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr)), pattern.indices] = 0
    return absent
