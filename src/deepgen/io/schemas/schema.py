"""What a schema is: how models of one class are written into files and built from them."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

# Of a model in a file; more is damage, or an attack on the memory of whoever reads it.
MAX_LAYERS = 64
MAX_UNITS = 10_000_000


class Schema(ABC):
    """How models of one class stand in files: entries of a configuration, and tensors by name.

    Writing is :meth:`describe`. Reading is :meth:`check`, then :meth:`shapes`, with which the
    tensors of the file are compared before they are read, then :meth:`build`. A new class of
    models gets a schema, and a place in the list of ``registry.py``.

    Attributes
    ----------
    model_class : type
        Its name is the entry ``model`` of a configuration.
    entries : frozenset of str
        Names of the other entries, all of which a configuration has.
    format_version : int
        Of files that hold such a model: the first version that knew it, so that versions of the
        library that know it read the file.
    optional : frozenset of str
        Names of those that it may have.
    """

    model_class: ClassVar[type]
    entries: ClassVar[frozenset]
    format_version: ClassVar[int] = 1
    optional: ClassVar[frozenset] = frozenset()

    def knows(self, entries):
        """Tell whether a configuration has all entries and no unknown ones, given their names."""
        return self.entries <= set(entries) <= self.entries | self.optional

    @abstractmethod
    def describe(self, model):
        """Return (entries, tensors) of a model: plain data, and float32 arrays, both by name."""

    @abstractmethod
    def check(self, config):
        """Raise ValueError where the value of an entry is not valid; all entries are there."""

    @abstractmethod
    def shapes(self, config):
        """Return the shapes, by name, of the tensors that belong to a checked configuration."""

    @abstractmethod
    def build(self, config, tensors):
        """Return the model of a checked configuration and tensors of the right shapes.

        Raises
        ------
        ValueError
            If they make no such model, for example because a value is not finite.
        """

    @abstractmethod
    def is_usable(self, model):
        """Tell whether all fields of a model stay within float32, and its draws in their range.

        Every model that was trained does. One that does not can only come from a file that was
        made by hand, and is refused.
        """


def require(condition, message):
    """Raise ValueError with a message unless a condition holds."""
    if not condition:
        raise ValueError(message)


def is_count(value, most):
    """Tell whether a value of a configuration is an integer from 1 to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def check_list_of_layers(layers, least):
    """Raise ValueError unless `layers` is a list of `least` layers or more, each with a size."""
    require(
        isinstance(layers, list) and least <= len(layers) <= MAX_LAYERS,
        f"layers must be a list of {least} to {MAX_LAYERS}",
    )
    for layer in layers:
        require(isinstance(layer, dict), "a layer is not an object")
        require(is_count(layer.get("size"), MAX_UNITS), "a layer has no valid size")


def within(name, tensors):
    """Return the tensors whose names begin with ``name.``, without that beginning."""
    start = f"{name}."
    return {
        key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)
    }


def under(name, tensors):
    """Return tensors, or shapes, with ``name.`` before each of their names."""
    return {f"{name}.{key}": value for key, value in tensors.items()}


def absolute_sums(weights):
    """Return the sums of absolute values by row and by column, float64, without a copy of all.

    ``by_row[i] = sum_j |weights[i, j]|`` and ``by_column[j] = sum_i |weights[i, j]|``: how far a
    field can be from its bias where the other side's states are at most 1.
    """
    by_row, by_column = np.empty(weights.shape[0]), np.zeros(weights.shape[1])
    for first in range(0, len(weights), 256):
        piece = np.abs(weights[first : first + 256])
        by_row[first : first + 256] = piece.sum(axis=1, dtype=np.float64)
        by_column += piece.sum(axis=0, dtype=np.float64)
    return by_row, by_column
