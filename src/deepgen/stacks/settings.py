"""Settings of a greedy pretraining: of one layer, or of each layer of a stack."""

from dataclasses import dataclass, field

from deepgen.checks import check_flag, check_integer, shown
from deepgen.learning.optimizers import SGD, check_optimizer
from deepgen.learning.rules import CD, check_rule
from deepgen.learning.schedules import Linear, as_schedule
from deepgen.learning.starts import default_schedule, default_stream_schedule


@dataclass(frozen=True)
class Pretraining:
    """Settings of the greedy training of a layer, or of each layer alike.

    Parameters
    ----------
    n_epochs : int or None, default 10
        None: as many as the rows call for; see :class:`RBM`.
    rule : rule, default CD(1)
    learning_rate : float, schedule or None
        None: what an RBM of the same units takes; a quarter of it from a start that is
        `transposed`, and so has learned already.
    optimizer : SGD or Adam
    batch_size : int, default 100
    features : {"means", "samples"}, default "means"
        What the layer reads of the one below: the mean activities of its units, or states, drawn
        anew for each presentation of a row.
    transposed : bool, default False
        Start from the machine below, turned over: its weights transposed, its biases swapped. A
        belief network of the two then starts as the lower machine's own distribution. The layer
        must have at least as many units as the visible layer of the machine below; further
        ones start with small random weights. All of these must be binary. Particles of PCD, where
        both machines have them, start as those of the machine below. The lowest layer has
        nothing below and starts as always.
    binarize : bool, default False
        For rows that are grey values: draw their bits anew at each presentation to the lowest
        machine. The features that those above read are of the grey values, as in the code of
        Salakhutdinov & Hinton (2009).
    """

    n_epochs: int | None = 10
    rule: object = field(default_factory=CD)
    learning_rate: object = None
    optimizer: object = field(default_factory=SGD)
    batch_size: int = 100
    features: str = "means"
    transposed: bool = False
    binarize: bool = False

    def __post_init__(self):
        if self.n_epochs is not None:
            check_integer(self.n_epochs, "n_epochs")
        check_integer(self.batch_size, "batch_size")
        check_rule(self.rule)
        check_optimizer(self.optimizer)
        if self.learning_rate is not None:
            as_schedule(self.learning_rate)
        if not isinstance(self.features, str) or self.features not in ("means", "samples"):
            raise ValueError(f"features must be 'means' or 'samples', got {shown(self.features)}")
        check_flag(self.transposed, "transposed")
        check_flag(self.binarize, "binarize")

    def schedule(self, layers, evidence=None, *, factor=1.0):
        """Return the learning rate of a machine of these layers: `factor` times the usual one.

        Parameters
        ----------
        layers : sequence of Units
        evidence : callable or None
            Returns the :class:`Evidence` of the rows that the machine reads, which it is only
            asked for where no rate is given. None: the machine reads features.
        factor : float, default 1.0
        """
        if self.learning_rate is not None:
            return as_schedule(self.learning_rate)
        if evidence is None:
            usual = default_schedule(layers, self.batch_size)
        else:
            usual = evidence().schedule(layers, self.batch_size)
        return Linear(factor * usual.start, 0.0)

    def stream_schedule(self, layers, n_rows):
        """Return the learning rate of an update of `n_rows` rows in a stream, which has no end."""
        if self.learning_rate is not None:
            return as_schedule(self.learning_rate)
        return default_stream_schedule(layers, n_rows)

    def epochs(self, evidence):
        """Return the number of epochs on rows whose :class:`Evidence` a callable returns."""
        return evidence().n_epochs(self.batch_size) if self.n_epochs is None else self.n_epochs


def settings_by_layer(settings, n_machines):
    """Return one Pretraining for each machine of a stack.

    Parameters
    ----------
    settings : Pretraining or sequence of Pretraining
    n_machines : int
    """
    if isinstance(settings, Pretraining):
        return [settings] * n_machines
    if not is_greedy(settings) or len(settings) != n_machines:
        raise ValueError(
            f"pretrained must hold one dg.Pretraining(...) for each of {n_machines} layers, got "
            f"{shown(settings)}"
        )
    return list(settings)


def is_greedy(settings):
    """Tell whether these are settings of a greedy pretraining: one, or a sequence by layer."""
    several = isinstance(settings, list | tuple) and bool(settings)
    each = settings if several else [settings]
    return all(isinstance(one, Pretraining) for one in each)


def check_layers(layers, settings, *, tied=False):
    """Raise ValueError where layers cannot be stacked with these settings, before any work.

    Parameters
    ----------
    layers : sequence of Units
        Sized, bottom first.
    settings : sequence of Pretraining
        One for each machine.
    tied : bool, default False
        Whether machines have tied copies.
    """
    if settings[0].binarize and not layers[0].is_bernoulli:
        raise ValueError(
            f"binarize needs binary visible units, which grey values can be bits of, got "
            f"{layers[0]!r}; leave binarize out"
        )
    if tied and any(each.transposed for each in settings[1:]):
        raise ValueError(
            "transposed is the start of a belief network's machine, which has no tied copies; "
            "leave it out for a deep Boltzmann machine"
        )
    for l in range(1, len(layers) - 1):
        if not settings[l].transposed:
            continue
        lowest, hidden = layers[l - 1], layers[l + 1]
        for number, units in ((l - 1, lowest), (l, layers[l]), (l + 1, hidden)):
            if not units.is_bernoulli:
                raise ValueError(
                    f"transposed needs binary units in layers {l - 1} to {l + 1}, which change "
                    f"places, got {units!r} in layer {number}; leave transposed out"
                )
        if hidden.size < lowest.size:
            raise ValueError(
                f"transposed needs a layer {l + 1} of at least the {lowest.size} units of layer "
                f"{l - 1}, whose place it takes, got {hidden.size}; make it larger, or leave "
                "transposed out"
            )
