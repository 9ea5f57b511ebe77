"""Unit types by name, as users pass them."""

from deepgen.layers.binary import Binary
from deepgen.layers.gaussian import Gaussian
from deepgen.layers.units import Units


def as_units(value, name="units"):
    """Turn ``"binary"``, ``"gaussian"`` or a Units object into Units."""
    if isinstance(value, Units):
        return value
    named = {"binary": Binary, "gaussian": Gaussian}
    if not isinstance(value, str) or value not in named:
        raise ValueError(
            f"{name} must be 'binary', 'gaussian' or a Units object such as dg.Softmax(5), got "
            f"{value!r}"
        )
    return named[value]()
