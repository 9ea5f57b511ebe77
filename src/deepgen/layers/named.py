"""Unit types by name, as users pass them, and by what they stand for in a network."""

from deepgen.layers.binary import Binary
from deepgen.layers.gaussian import Gaussian
from deepgen.layers.multinomial import Multinomial
from deepgen.layers.softmax import Softmax
from deepgen.layers.units import Units

NAMED = {"binary": Binary, "gaussian": Gaussian, "multinomial": Multinomial}
_OF_ACTIVATIONS = {"logistic": "binary", "linear": "gaussian"}


def as_units(value, name="units"):
    """Turn ``"binary"``, ``"gaussian"`` or a Units object into Units."""
    if isinstance(value, Units):
        return value
    if not isinstance(value, str) or value not in NAMED:
        raise ValueError(
            f"{name} must be 'binary', 'gaussian' or a Units object such as dg.Softmax(5), got "
            f"{value!r}"
        )
    return NAMED[value]()


def visible_of(activation, group=None, inputs=None):
    """Return the visible units, as users pass them, whose mean an activation's output is, or None.

    Parameters
    ----------
    activation : str
    group : int or None
        Of a softmax: columns of one distribution.
    inputs : CountInputs or None
        How the network reads rows. Where these are counts, a softmax gives shares of them.
    """
    if inputs is not None:
        return "multinomial" if activation == "softmax" else None
    return Softmax(group) if activation == "softmax" else _OF_ACTIVATIONS.get(activation)


def columns_of(inputs, size):
    """Return units that rows of a network are checked by: counts, or any real numbers.

    Parameters
    ----------
    inputs : CountInputs or None
        How the network reads rows.
    size : int
    """
    return real_columns(size) if inputs is None else Multinomial(size)


def real_columns(size=None):
    """Return units that take any real numbers: what columns of a network are checked by."""
    return Gaussian(size)
