"""Contexts: biases, held entries and temperatures that differ from row to row."""

from dataclasses import dataclass, field

import numpy as np

from deepgen.checks import as_list, float32_array, is_integer, real_array, shown
from deepgen.layers.passes import LayerContext
from deepgen.layers.units import Units


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


@dataclass(frozen=True)
class Context:
    """Per-row settings of a pass, a sweep or a rule.

    Attributes
    ----------
    bias_rows : dict of int to ndarray of shape (n_rows, n_units)
        Added to the bias of that layer: hidden biases times the length of a document, biases
        from the past frames of a time series.
    held : dict of int to bool ndarray of shape (n_rows, n_units)
        Entries of that layer that keep their value: observed pixels in a completion, or
        ratings that a user never gave (held at zero they are no part of that row's model).
    beta : ndarray of shape (n_rows,) or None
        Inverse temperature of each row; scales all natural parameters. None: 1.
    base : sequence of Units or None
        Independent layers at beta = 0 for annealing; natural parameters are
        ``(1 - beta) * base + beta * model``. None, or None for a layer: the uniform one.
    """

    bias_rows: dict = field(default_factory=dict)
    held: dict = field(default_factory=dict)
    beta: np.ndarray | None = None
    base: tuple | None = None

    def __post_init__(self):
        for name, converted in (("bias_rows", _finite), ("held", _mask)):
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
        for name in ("bias_rows", "held"):
            for layer, value in getattr(self, name).items():
                if not 0 <= layer < len(layers):
                    raise ValueError(
                        f"{name} names layer {layer}, but the model has {len(layers)} layers"
                    )
                expected = (n_rows, layers[layer].size)
                if value.shape != expected:
                    raise ValueError(
                        f"{name}[{layer}] must have shape {expected}, got {value.shape}"
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

    def of_layer(self, layer):
        """Return the context of one layer."""
        base = None if self.base is None else self.base[layer]
        return LayerContext(
            self.bias_rows.get(layer),
            self.held.get(layer),
            self.beta,
            None if base is None else base.bias,
            None if base is None else base.precision,
        )
