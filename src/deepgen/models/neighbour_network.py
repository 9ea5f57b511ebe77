"""A network whose outputs are codes, with the labelled rows that new ones are compared with."""

import numpy as np

from deepgen.checks import check_instance, check_integer, check_number, float32_array
from deepgen.models.boltzmann_machine import next_version
from deepgen.models.network import Network


class NeighbourNetwork:
    """A network of codes, and the codes of the labelled rows that it knows.

    A row chooses a known one with a probability that falls with the squared distance of their
    codes, divided by the temperature (``inference/neighbours.py``). A model never changes.

    Parameters
    ----------
    network : Network
    codes : array-like of shape (n_labelled, n_outputs)
        Outputs of the network for the labelled rows.
    labels : array-like of shape (n_labelled,), integers
        Numbers of their classes, from 0.
    n_classes : int
    temperature : float

    Attributes
    ----------
    codes : ndarray, float32, read-only
    labels : ndarray, int64, read-only
    version : int
        Different for every set of parameters in this process.

    Raises
    ------
    ValueError
        If shapes do not fit, a code is not finite, or a label is none of the classes.
    TypeError
        If `network` is no Network.
    """

    def __init__(self, network, codes, labels, n_classes, temperature):
        check_instance(network, "network", Network, "a dg.Network")
        check_integer(n_classes, "n_classes", 2)
        check_number(temperature, "temperature", 0.0)
        codes, given = np.array(float32_array(codes, "codes")), np.asarray(labels)
        if codes.ndim != 2 or not len(codes) or codes.shape[1] != network.sizes[-1]:
            raise ValueError(
                f"codes must have shape (n_labelled, {network.sizes[-1]}), a column for each "
                f"output of the network, got {codes.shape}"
            )
        if not np.isfinite(codes).all():
            raise ValueError("codes must be finite, but contain NaN or inf")
        if given.shape != (len(codes),) or given.dtype.kind not in "iuf":
            raise ValueError(
                f"labels must be {len(codes)} numbers of classes, one for each row of codes, got "
                f"shape {given.shape} and dtype {given.dtype}"
            )
        whole = np.isin(given, np.arange(n_classes))
        if not whole.all():
            raise ValueError(
                f"labels must be integers from 0 to {n_classes - 1}, got {given[~whole][0]}"
            )
        self.network, self.codes, self.labels = network, codes, given.astype(np.int64)
        self.codes.flags.writeable = self.labels.flags.writeable = False
        self.n_classes, self.temperature = int(n_classes), float(temperature)
        self.version = next_version()

    def __repr__(self):
        return f"NeighbourNetwork({self.network!r}, {len(self.labels)} rows)"

    def __reduce__(self):
        return NeighbourNetwork, (
            self.network, self.codes, self.labels, self.n_classes, self.temperature,
        )  # fmt: skip

    @property
    def layers(self):
        """Layers of the network."""
        return self.network.layers

    @property
    def sizes(self):
        """Columns of the rows and of each layer of the network."""
        return self.network.sizes
