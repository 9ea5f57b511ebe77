"""Joint configurations of all layers: persistent particles, chains, samples."""

from deepgen.checks import as_list
from deepgen.rows.states import as_states


class Particles:
    """Joint configurations: one array per layer, rows of one index belong together.

    Binary and softmax states are uint8 (softmax one-hot by groups, an all-zero group is
    missing), the others float32.

    Parameters
    ----------
    states : sequence of ndarray of shape (n_particles, n_units of the layer)
    """

    def __init__(self, states):
        states = as_list(states, "states", "arrays, one for each layer")
        self.states = [as_states(x, f"states[{l}]") for l, x in enumerate(states)]
        for l, x in enumerate(self.states):
            if len(x.shape) != 2:
                raise ValueError(
                    f"states[{l}] must have shape (n_particles, n_units), got {x.shape}"
                )
        counts = {x.shape[0] for x in self.states}
        if len(counts) != 1:
            raise ValueError(
                f"states must have one number of rows for all layers, got {sorted(counts)}; "
                "rows of one index are one joint configuration"
            )

    def __len__(self):
        return self.states[0].shape[0]

    def __getitem__(self, layer):
        return self.states[layer]

    def __repr__(self):
        sizes = "-".join(str(x.shape[1]) for x in self.states)
        return f"Particles({len(self)} x {sizes})"

    def check(self, layers):
        """Raise ValueError unless each array holds states of its layer."""
        for l, (layer, x) in enumerate(zip(layers, self.states, strict=True)):
            layer.check(x, f"states[{l}]")

    def copy(self):
        """Return particles with arrays of their own."""
        return Particles([x.copy() for x in self.states])


def unchecked_particles(states):
    """Return particles of states that kernels have drawn: an update has no time to look again.

    Parameters
    ----------
    states : list of ndarray of shape (n_particles, n_units of the layer)
    """
    particles = Particles.__new__(Particles)
    particles.states = states
    return particles
