"""Deep belief networks: directed layers under a Boltzmann machine of two layers."""

from dataclasses import dataclass, field

import numpy as np

from deepgen.checks import as_list, check_instance, float32_array, model_remedy, shown
from deepgen.layers.units import Units
from deepgen.models.boltzmann_machine import BoltzmannMachine, check_model, next_version


@dataclass(frozen=True, eq=False)
class BeliefLayer:
    """Two layers of units, joined by weights for each direction; plain data.

    Downwards, ``p(x_lower | x_upper)`` is that of the units `lower` with the field ``generative
    x_upper + bias``; upwards, ``q(x_upper | x_lower)`` is that of the units `upper` with the field
    ``x_lower recognition + bias``. A layer never changes.

    Parameters
    ----------
    lower : Units
        With a size; holds the generative bias.
    upper : Units
        With a size; holds the recognition bias.
    generative, recognition : array-like of shape (n_lower, n_upper)

    Attributes
    ----------
    generative, recognition : ndarray, float32, read-only
    downward, upward : BoltzmannMachine
        `lower` and `upper` joined by the generative and by the recognition weights. Only their
        conditionals mean something here: of `lower` downwards, of `upper` upwards.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, or the states of neither layer have bounds.
    """

    lower: Units
    upper: Units
    generative: np.ndarray = field(repr=False)
    recognition: np.ndarray = field(repr=False)

    def __post_init__(self):
        for name in ("lower", "upper"):
            units = getattr(self, name)
            if not isinstance(units, Units) or units.size is None:
                raise ValueError(f"{name} must be Units with a size, got {shown(units)}")
        if not (self.lower.is_bounded or self.upper.is_bounded):
            names = " or ".join(sorted({type(self.lower).__name__, type(self.upper).__name__}))
            raise ValueError(
                f"lower and upper must not both be {names}, got {self.lower!r} and "
                f"{self.upper!r}; make one of them binary"
            )
        # the same array for both, as in a fresh stack: one machine serves both directions, and its
        # weights are packed once
        shared = self.generative is self.recognition
        for name, machine in (("generative", "downward"), ("recognition", "upward")):
            if name == "recognition" and shared:
                joined = self.downward
            else:
                joined = BoltzmannMachine([self.lower, self.upper], [self._checked(name)])
            object.__setattr__(self, machine, joined)
        object.__setattr__(self, "generative", self.downward.weights[0])
        object.__setattr__(self, "recognition", self.upward.weights[0])

    def _checked(self, name):
        """Return the generative or the recognition weights as float32, after a check."""
        weights = float32_array(getattr(self, name), name)
        expected = (self.lower.size, self.upper.size)
        if weights.shape != expected:
            raise ValueError(f"{name} must have shape {expected}, got {weights.shape}")
        if not np.isfinite(weights).all():
            raise ValueError(
                f"{name} must be finite, but contains NaN, inf or values beyond float32"
            )
        return weights

    def __reduce__(self):
        return BeliefLayer, (self.lower, self.upper, self.generative, self.recognition)


class BeliefNetwork:
    """A deep belief network: directed layers under a Boltzmann machine of two layers.

    ``p(x_0, ..., x_(L+1)) = p_top(x_L, x_(L+1)) prod_l p(x_l | x_(l+1))``, with the recognition
    model ``q = prod_l q(x_(l+1) | x_l)`` beside it (Hinton, Osindero & Teh 2006). Without a
    directed layer it is the machine alone. A model never changes: :meth:`replace` makes another.

    Parameters
    ----------
    layers : sequence of BeliefLayer
        Bottom first; may be empty.
    top : BoltzmannMachine
        Two layers; the lower one is the last layer's upper.

    Attributes
    ----------
    layers : tuple of BeliefLayer
    top : BoltzmannMachine
    version : int
        Different for every set of parameters in this process; keys every cache.

    Raises
    ------
    ValueError
        If the upper units of a layer are not of the form of the lower ones of the next.
    """

    def __init__(self, layers, top):
        self.layers = tuple(as_list(layers, "layers", "BeliefLayer"))
        for l, layer in enumerate(self.layers):
            check_instance(layer, f"layers[{l}]", BeliefLayer, "a dg.BeliefLayer")
        check_model(top, 2, "top")
        self.top = top
        self.version = next_version()
        uppers = [layer.upper for layer in self.layers]
        lowers = [*(layer.lower for layer in self.layers), top.layers[0]][1:]
        for l, (upper, lower) in enumerate(zip(uppers, lowers, strict=True)):
            if upper.form != lower.form:  # they are one layer, seen from below and from above
                name = "top" if l + 1 == len(self.layers) else f"layers[{l + 1}]"
                raise ValueError(
                    f"layers[{l}] ends in {upper!r}, but {name} begins with {lower!r}; they "
                    "must be units of one type and size"
                )

    @classmethod
    def from_stack(cls, stack):
        """Return the network of a greedy stack: both directions start with the same weights.

        Parameters
        ----------
        stack : sequence of BoltzmannMachine
            Machines of two layers, bottom first; the last one becomes the top.
        """
        stack = as_list(stack, "stack", "machines")
        if not stack:
            raise ValueError("a stack must hold at least one machine, got none")
        for l, machine in enumerate(stack):
            check_model(machine, 2, f"stack[{l}]")
        layers = [BeliefLayer(*m.layers, m.weights[0], m.weights[0]) for m in stack[:-1]]
        return cls(layers, stack[-1])

    def __repr__(self):
        units = [*(layer.lower for layer in self.layers), *self.top.layers]
        layers = [f"{type(layer).__name__}({layer.size})" for layer in units]
        return f"BeliefNetwork({' <- '.join(layers[:-1])} - {layers[-1]})"

    def __reduce__(self):
        return BeliefNetwork, (self.layers, self.top)

    @property
    def visible(self):
        """Units of the data, with their generative bias."""
        return self.layers[0].lower if self.layers else self.top.layers[0]

    @property
    def sizes(self):
        """Units of each layer, bottom first."""
        return (*(layer.lower.size for layer in self.layers), *(u.size for u in self.top.layers))

    @property
    def is_tied(self):
        """Whether all recognition weights are the generative ones, as in a greedy stack."""
        return all(np.array_equal(layer.generative, layer.recognition) for layer in self.layers)

    @property
    def stack(self):
        """The recognition side as a list of two-layer machines, bottom first; the top is last.

        What networks are unrolled from (:func:`deepgen.encoder`, :func:`deepgen.unrolled`).
        """
        return [*(layer.upward for layer in self.layers), self.top]

    def replace(self, *, layers=None, top=None):
        """Return a network with other layers or another top; None: as in this one."""
        return BeliefNetwork(
            self.layers if layers is None else layers, self.top if top is None else top
        )


def check_belief_network(model, name="model"):
    """Raise TypeError unless `model` is a BeliefNetwork."""
    if not isinstance(model, BeliefNetwork):
        raise TypeError(
            f"{name} must be a dg.BeliefNetwork, got {shown(model)}{model_remedy(model)}"
        )
