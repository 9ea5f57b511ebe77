"""Networks that read rows beside the posterior means that a deep Boltzmann machine gives them."""

from deepgen.checks import check_instance, shown
from deepgen.models.boltzmann_machine import BoltzmannMachine, next_version
from deepgen.models.network import Network


class PosteriorNetwork:
    """A network that reads rows and the mean-field posterior of the second hidden layer.

    ``output = network([v, q2])``, where q2 are the means of a machine's third layer given v, at
    the fixed point of mean field (docs/math.md, "Networks"); they are inputs, not functions to
    differentiate. A model never changes: :meth:`replace` makes another one.

    Parameters
    ----------
    machine : BoltzmannMachine
        At least two hidden layers, all binary; above them may be label units, which are observed
        beside the rows (``observed == (0, top)``): q2 is the posterior without labels.
    network : Network
        Its inputs are the rows' columns and the units of the second hidden layer, in this order.

    Attributes
    ----------
    machine : BoltzmannMachine
    network : Network
    version : int
        Different for every set of parameters in this process.

    Raises
    ------
    ValueError
        If the machine has no second hidden layer of binary units, or the network does not fit.
    TypeError
        If `machine` is no BoltzmannMachine, or `network` no Network.

    References
    ----------
    Salakhutdinov & Hinton (2009), section 3.3.
    """

    def __init__(self, machine, network):
        check_instance(machine, "machine", BoltzmannMachine, "a dg.BoltzmannMachine")
        check_instance(network, "network", Network, "a dg.Network")
        n_hidden_layers(machine)
        expected = machine.layers[0].size + machine.layers[2].size
        if network.sizes[0] != expected:
            raise ValueError(
                f"network must read {expected} columns, {machine.layers[0].size} of the rows and "
                f"{machine.layers[2].size} of the posterior, got {network.sizes[0]}"
            )
        self.machine, self.network = machine, network
        self.version = next_version()

    def __repr__(self):
        return f"PosteriorNetwork({self.machine!r}, {self.network!r})"

    def __reduce__(self):
        return PosteriorNetwork, (self.machine, self.network)

    @property
    def layers(self):
        """Layers of the network; the weights of the first are those of the rows, then of q2."""
        return self.network.layers

    @property
    def n_layers(self):
        """Number of layers, the input not counted."""
        return self.network.n_layers

    @property
    def sizes(self):
        """Columns of the rows and of each layer."""
        return (self.machine.layers[0].size, *self.network.sizes[1:])

    def replace(self, *, network):
        """Return a model with another network beside the same machine."""
        return PosteriorNetwork(self.machine, network)


def n_hidden_layers(machine, name="machine"):
    """Count the hidden layers that layers of a network can be made of; label units do not count.

    Raises
    ------
    ValueError
        If there are fewer than two, or one of them is not binary.
    """
    top = machine.n_layers - 1
    # rows alone, or rows and labels: label units can only be the last layer
    if machine.observed not in ((0,), (0, top), (top, 0)):
        raise ValueError(
            f"{name} must have data for its first layer, and labels for its last one at most, got "
            f"observed={machine.observed}"
        )
    count = top if machine.observed == (0,) else top - 1
    if count < 2:
        raise ValueError(
            f"{name} must have at least two hidden layers, got {count} in {machine!r}; take "
            "dg.BoltzmannMachine(machine.layers[:2], machine.weights[:1]) for a start of one layer"
        )
    if machine.layers[0].n_copies != 1:
        raise ValueError(
            f"{name} must not have tied copies of its visible units, got {machine.layers[0]!r}"
        )
    for l, units in enumerate(machine.layers[1 : 1 + count], start=1):
        if not units.is_bernoulli:
            raise ValueError(
                f"layers[{l}] of {name} must be Binary units of one copy, whose means a logistic "
                f"layer gives, got {shown(units)}; label units belong on top, with "
                "observed=(0, top)"
            )
    return count
