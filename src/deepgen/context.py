"""What varies from row to row around a layer."""

from dataclasses import dataclass, field

import numpy as np


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
        ``(1 - beta) * base + beta * model``. None: the uniform one.
    """

    bias_rows: dict = field(default_factory=dict)
    held: dict = field(default_factory=dict)
    beta: np.ndarray | None = None
    base: tuple | None = None

    def __post_init__(self):
        for name, dtype in (("bias_rows", np.float32), ("held", np.uint8)):
            rows = {
                layer: np.ascontiguousarray(value, dtype)
                for layer, value in getattr(self, name).items()
            }
            object.__setattr__(self, name, rows)
        if self.beta is not None:
            object.__setattr__(self, "beta", np.ascontiguousarray(self.beta, np.float32))

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

    def fields(self, layer):
        """Return what the kernels take for one layer."""
        base = None if self.base is None else self.base[layer]
        return (
            self.bias_rows.get(layer),
            self.held.get(layer),
            self.beta,
            None if base is None else base.bias,
            None if base is None else base.precision,
        )
