"""What the hyper-parameters of a DBM stand for: start, rule, optimizer, layers, first model."""

from dataclasses import replace

from deepgen.checks import check_flag, has_role, shown
from deepgen.estimators.common.documents import reads_documents
from deepgen.estimators.common.hyperparameters import (
    asked_units,
    check_machine_settings,
    check_objects,
    check_sizes,
    visible_units,
)
from deepgen.estimators.common.labels import label_units, units_for_labels
from deepgen.estimators.documents import RATE, usual_optimizer, usual_rule
from deepgen.layers.binary import Binary
from deepgen.learning.optimizers import SGD
from deepgen.learning.rules import CD, PCD, MeanFieldPCD, Rule
from deepgen.learning.schedules import Constant
from deepgen.learning.starts import (
    first_hidden,
    initial_deep_model,
    with_top,
)
from deepgen.models import BoltzmannMachine
from deepgen.stacks.settings import Pretraining, check_layers, is_greedy, settings_by_layer

# Weights above the first hidden layer move at this share of the rate: what they read is noise in
# the beginning. From random weights it makes no difference; see docs/decisions.md.
UPPER_RATE = 0.25
# The `pretrained` whose meaning depends on the number of layers, and on `fit` or `partial_fit`.
AUTO = "auto"


def check_settings(dbm):
    """Raise unless the hyper-parameters of a DBM can be used."""
    sizes = check_sizes(dbm.n_hidden)
    check_machine_settings(dbm)
    check_objects(dbm, ("pretrained",))
    for name in ("label_units", "binarize"):
        check_flag(getattr(dbm, name), name)
    visible = asked_units(dbm)
    if visible.n_copies != 1:
        raise ValueError("visible must not have tied copies, got n_copies > 1")
    if dbm.binarize and not visible.is_bernoulli:
        raise ValueError(f"binarize needs visible='binary', got visible={dbm.visible!r}")
    if not has_role(rule_of(dbm), Rule) or isinstance(rule_of(dbm), CD | PCD):
        two = ", which is for two layers" if isinstance(dbm.rule, CD | PCD) else ""
        raise ValueError(f"rule must be None or dg.MeanFieldPCD(...), got {shown(dbm.rule)}{two}")
    _check_entries(dbm, len(sizes) + bool(dbm.label_units))
    start = start_of(dbm)
    if start is not None and not is_greedy(start):
        _check_start(start)


def _check_entries(dbm, n_weights):
    """Raise ValueError unless `rates` and `sparsity` have an entry for each weight matrix."""
    for name, holder, entries in (
        ("rates", "optimizer", getattr(dbm.optimizer, "rates", None)),
        ("sparsity", "rule", getattr(dbm.rule, "sparsity", None)),
    ):
        if isinstance(entries, tuple) and len(entries) != n_weights:
            raise ValueError(
                f"{holder} must have {name} with one entry for each of {n_weights} layers "
                f"above the visible one, got {len(entries)}"
            )


def _check_start(start):
    if hasattr(start, "get_params"):
        raise ValueError(
            f"pretrained must be a core model, got a {type(start).__name__}: "
            "scikit-learn's clone would silently strip it of its weights; pass its model_"
        )
    if not isinstance(start, BoltzmannMachine):
        raise ValueError(
            f"pretrained must be {AUTO!r}, None, dg.Pretraining(...), one for each layer, or a "
            f"dg.BoltzmannMachine, got {shown(start)}"
        )


def start_of(dbm, *, stream=False):
    """Resolve `pretrained`: settings of a greedy start, a model, or None.

    ``"auto"`` is a greedy start where there is something to stack, in `fit`, with the epochs and
    the batches of the joint training for each layer: fewer updates leave the second layer idle
    (docs/decisions.md); of documents the lowest layer has the other settings of
    :class:`ReplicatedSoftmax`. A stream has no second pass over its rows, and one hidden layer is
    an RBM, which starts as one.
    """
    if not (isinstance(dbm.pretrained, str) and dbm.pretrained == AUTO):
        return dbm.pretrained
    if stream or len(check_sizes(dbm.n_hidden)) == 1:
        return None
    n_epochs = None if dbm.n_epochs is None else int(dbm.n_epochs)
    usual = Pretraining(n_epochs, batch_size=int(dbm.batch_size))
    if not reads_documents(dbm):
        return usual
    lowest = replace(
        usual, rule=usual_rule(), optimizer=usual_optimizer(), learning_rate=Constant(RATE)
    )
    return [lowest] + [usual] * (len(check_sizes(dbm.n_hidden)) - 1)


def rule_of(dbm):
    """Return the rule: that asked for, else the default."""
    return MeanFieldPCD() if dbm.rule is None else dbm.rule


def optimizer_of(dbm, n_weights):
    """Return the optimizer: that asked for, else SGD with slower upper weights."""
    if dbm.optimizer is not None:
        return dbm.optimizer
    return SGD(rates=(1.0,) + (UPPER_RATE,) * (n_weights - 1))


def layers_of(dbm, n_columns):
    """Return visible and hidden layers, without label units."""
    start = start_of(dbm)
    hidden = [first_hidden(Binary(size)) for size in check_sizes(dbm.n_hidden)]
    layers = [visible_units(dbm, n_columns), *hidden]
    if layers[0].takes_trials:  # beside which a bias counts once a word
        layers[1] = Binary(hidden[0].size)
    if is_greedy(start):
        settings = settings_by_layer(start, len(hidden))
        check_layers(layers, settings, tied=True)
    elif start is not None:
        _check_layers_of_start(dbm, layers)
    return layers


def _check_layers_of_start(dbm, layers):
    """Raise ValueError unless a model has these layers, and label units at most where asked."""
    start, expected, observed = dbm.pretrained, layers, (0,)
    if dbm.label_units and start.n_layers > len(layers):
        top = units_for_labels(len(dbm.classes_))
        expected, observed = [*layers, top], (0, len(layers))
    same = [units.form for units in start.layers] == [units.form for units in expected]
    if not same or start.observed != observed:
        raise ValueError(
            f"pretrained must have the layers {expected!r} and observe layers {observed}, got "
            f"{list(start.layers)!r} and {start.observed}"
        )


def first_model(layers, start, moments, targets, stream):
    """Return the model that joint training starts from, with label units where asked for."""
    n_rows, mean, variance = moments
    top = None if targets is None else label_units(targets)
    if start is None:
        ends = [] if top is None else [top]
        observed = (0,) if top is None else (0, len(layers))
        return initial_deep_model(
            [*layers, *ends], mean, variance, n_rows, stream, observed=observed
        )
    if top is None or start.n_layers > len(layers):
        return start
    return with_top(start, top, stream)
