"""From machines that are trained one by one to a deep Boltzmann machine.

An inner layer of a deep Boltzmann machine hears both of its neighbours; a machine of a greedy stack
knows one of them. It is trained as if the other one said the same: with two tied copies of the
layer that it hears (docs/math.md, "Deep Boltzmann machines").
"""

import itertools

import numpy as np

from deepgen.checks import as_list, check_instance
from deepgen.layers.units import Units
from deepgen.models import BoltzmannMachine
from deepgen.models.boltzmann_machine import check_model


def copies_in(layers):
    """Return how many tied copies of its two layers each machine of a chain is trained with.

    Parameters
    ----------
    layers : sequence of Units
        Of the deep Boltzmann machine, bottom first.

    Returns
    -------
    list of tuple of int
        (lower, upper) for each pair of neighbours, from the bottom. A layer stands twice where its
        neighbour has another one on its far side. A softmax layer never does: the sum of two
        one-hot groups is no state of a softmax layer (`Units.can_tie`).
    """
    top = len(layers) - 2
    return [
        (
            2 if l < top and layers[l].can_tie else 1,
            2 if l > 0 and layers[l + 1].can_tie else 1,
        )
        for l in range(top + 1)
    ]


def check_inner(layers):
    """Raise ValueError unless the layers between the ends are binary, of one copy."""
    for l, units in enumerate(layers[1:-1], 1):
        if not (units.is_bernoulli and units.can_tie):
            raise ValueError(
                f"layers[{l}] must be dg.Binary of one copy, as every layer between the ends of a "
                f"deep Boltzmann machine, got {units!r}; other units can be its lowest or its "
                "topmost layer"
            )


def tied_copies(layers):
    """Return the layers that each machine of a greedy pretraining is trained with.

    Parameters
    ----------
    layers : sequence of Units
        Of the deep Boltzmann machine, bottom first, each with a size and of one copy. A Gaussian
        layer has the precision that it is to have in the model.

    Returns
    -------
    list of tuple of Units
        (visible, hidden) of each machine. Rows of a visible layer of two copies are the layer's
        rows times two. Two layers are one machine without copies.

    Raises
    ------
    ValueError
        If a layer has no size or has copies already, or if one between the ends is not binary.
    """
    layers = _units(layers)
    if len(layers) < 2:
        raise ValueError(f"layers must hold at least two layers, got {len(layers)}")
    check_inner(layers)
    for l, units in enumerate(layers):
        if units.size is None or units.n_copies != 1:
            raise ValueError(
                f"layers[{l}] must have a size and one copy of each unit, got {units!r}; give the "
                "layers of the model, copies are made here"
            )
    return [
        (layers[l].tied(lower), layers[l + 1].tied(upper))
        for l, (lower, upper) in enumerate(copies_in(layers))
    ]


def _units(layers):
    layers = as_list(layers, "layers", "Units")
    for l, units in enumerate(layers):
        check_instance(units, f"layers[{l}]", Units, "Units, such as dg.Binary(100)")
    return layers


def compose(machines, *, layers=None, observed=(0,)):
    """Make a deep Boltzmann machine of machines that were trained one on the other.

    They must have been trained with tied copies: two of the visible layer in all but the topmost
    machine (``dg.Binary(n, n_copies=2)``, rows times two), two of the hidden layer in all but
    the lowest. A Gaussian layer of two copies has half of the precision, which is not learned. A
    softmax layer stays single. What a machine reads of the one below is the activity of one copy.

    Parameters
    ----------
    machines : sequence of BoltzmannMachine
        Two layers each, bottom first.
    layers : sequence of Units or None
        Layers of the model, whose options it takes. None: as the machines have them, and a
        Gaussian visible layer learns its precision. Their parameters do not count.
    observed : sequence of int, default (0,)
        Layers of the model that data can be given for.

    Returns
    -------
    BoltzmannMachine
        Its layers have one copy of each unit. Weights are those of the machines; the bias of a
        layer that two machines share is the mean of theirs. Of one machine: the same model.

    Raises
    ------
    TypeError, ValueError
        If a machine has not two layers, not the copies that its place asks for, or not the size of
        the one below.

    References
    ----------
    Salakhutdinov & Hinton (2009), section 3.1.

    Examples
    --------
    >>> import deepgen as dg
    >>> X = dg.datasets.sample_bars_and_stripes(200, 3, random_state=0)
    >>> lower = dg.RBM(6, visible=dg.Binary(n_copies=2), n_epochs=2, random_state=0).fit(2 * X)
    >>> H = lower.transform(2 * X)
    >>> upper = dg.RBM(4, hidden=dg.Binary(n_copies=2), n_epochs=2, random_state=0).fit(H)
    >>> dg.compose([lower.model_, upper.model_])
    BoltzmannMachine(Binary(9) - Binary(6) - Binary(4))
    """
    machines = as_list(machines, "machines", "dg.BoltzmannMachine")
    if not machines:
        raise ValueError("machines must hold at least one machine, got none")
    for l, machine in enumerate(machines):
        check_model(machine, 2, f"machines[{l}]")
        if l and machine.layers[0].size != machines[l - 1].layers[1].size:
            raise ValueError(
                f"machines[{l}] has {machine.layers[0].size} visible units, but the one below has "
                f"{machines[l - 1].layers[1].size} hidden ones"
            )
    copies = copies_in([machines[0].layers[0], *(machine.layers[1] for machine in machines)])
    _check_copies(machines, copies)
    composed, weights = _composed(machines, copies)
    if layers is not None:
        layers = _units(layers)
        if [units.form for units in layers] != [units.form for units in composed]:
            raise ValueError(f"layers must be those of the machines, {composed!r}, got {layers!r}")
        composed = [
            units.replace(**own.parameters(), **own.measures())
            for units, own in zip(layers, composed, strict=True)
        ]
    return BoltzmannMachine(composed, weights, observed=observed)


def _check_copies(machines, copies):
    """Raise ValueError where a machine has not the layers that its place in a chain asks for."""
    for l, (machine, expected) in enumerate(zip(machines, copies, strict=True)):
        for side, (units, n_copies) in enumerate(zip(machine.layers, expected, strict=True)):
            where = f"machines[{l}] of {len(machines)}"
            name = ("visible", "hidden")[side]
            inner = 0 < l + side < len(machines)
            if inner and not (units.can_tie and units.untied(n_copies).is_bernoulli):
                raise ValueError(
                    f"{where} must have binary {name} units, because two machines share them, got "
                    f"{units!r}"
                )
            if units.tied(n_copies).form != units.form:  # it says how many copies it has
                remedy = f"dg.{type(units).__name__}({units.size}, n_copies={n_copies})"
                if side == 0 and n_copies == 2:
                    remedy += " and rows times two"
                raise ValueError(
                    f"{where} must have {n_copies} tied copies of its {name} units, got "
                    f"{units.n_copies}; train it with {remedy}"
                )


def _composed(machines, copies):
    """Return layers and weights of the model."""
    ends = machines[0].layers[0], machines[-1].layers[1]
    layers = [ends[0].untied(copies[0][0])]
    if len(machines) > 1:
        layers[0] = layers[0].with_learned_scale(True)
    for (below, above), (_, n_copies) in zip(
        itertools.pairwise(machines), copies[:-1], strict=True
    ):
        biases = [below.layers[1].bias, above.layers[0].bias]
        shared = below.layers[1].untied(n_copies)
        layers.append(shared.replace(bias=np.mean(biases, axis=0, dtype=np.float64)))
    layers.append(ends[1].untied(copies[-1][1]))
    return layers, [machine.weights[0] for machine in machines]
