"""What a rule keeps from one update to the next, and what an update makes of its two phases.

A rule draws states; here they become :class:`~deepgen.learning.gradients.Phases`, and particles,
offsets and running means, the :class:`RuleState`, follow them.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from deepgen.checks import check_number
from deepgen.inference.mean_field import FixedPoint, infer
from deepgen.inference.samplers import Chains
from deepgen.layers.context import with_trials
from deepgen.learning.gradients import Phases
from deepgen.learning.sums import in_steps
from deepgen.rows.states import dense
from deepgen.rows.sums import column_sums, weighted_sums


@dataclass(frozen=True)
class Sparsity:
    """A target for the mean of hidden units, reached through their biases.

    Parameters
    ----------
    target : float
        Wanted mean, in (0, 1).
    strength : float, default 0.1
        Weight of ``target - running mean`` in the gradient of the bias.
    decay : float, default 0.9
        Decay of the running mean by update.
    """

    target: float
    strength: float = 0.1
    decay: float = 0.9

    def __post_init__(self):
        check_number(self.target, "target", 0.0, 1.0)
        check_number(self.strength, "strength", 0.0)
        check_number(self.decay, "decay", 0.0, 1.0)


@dataclass
class RuleState:
    """The memory of a rule from one update to the next; the run keeps it.

    Attributes
    ----------
    chains : Chains or None
        Of the negative phase, with all that their sampler keeps.
    offsets, gains : list of ndarray or None
        Centring and standardization by layer.
    activity : list of ndarray or None
        Running means for sparsity targets, by layer.
    """

    chains: Chains | None
    offsets: list | None
    gains: list | None
    activity: list | None

    @property
    def particles(self):
        """The chains' particles at the model, or None; what is set goes on in their place."""
        return None if self.chains is None else self.chains.at_model()

    @particles.setter
    def particles(self, particles):
        self.chains.put_at_model(particles)

    def tree(self):
        """Return the state as plain data and arrays."""
        return {
            "particles": None if self.chains is None else self.chains.tree(),
            "offsets": self.offsets, "gains": self.gains, "activity": self.activity,
        }  # fmt: skip

    @classmethod
    def from_tree(cls, tree):
        """Return the state that :meth:`tree` was called on; the arrays are copied."""
        chains = tree["particles"]
        by_layer = (
            None if tree[name] is None else [np.array(array) for array in tree[name]]
            for name in ("offsets", "gains", "activity")
        )
        return cls(None if chains is None else Chains.from_tree(chains), *by_layer)


def check_particles(state, layers):
    """Raise ValueError unless the particles of a rule's state are states of these layers."""
    particles = state.particles
    if isinstance(state, RuleState) and state.chains is not None:
        particles = state.chains.particles  # those at other temperatures too
    if particles is not None:
        particles.check(layers)


def _targets(rule, n_layers):
    """Return the sparsity target of each layer, None where there is none."""
    if not isinstance(rule.sparsity, tuple):
        return [None] + [rule.sparsity] * (n_layers - 1)
    if len(rule.sparsity) != n_layers - 1:
        raise ValueError(
            f"sparsity must have one entry for each of {n_layers - 1} hidden layers, got "
            f"{len(rule.sparsity)}"
        )
    return [None, *rule.sparsity]


def first_state(model, rule, chains, rows):
    """Return the first state of a rule.

    Offsets are the means by layer of `rows`, or else of the biases: of the visible layer alone,
    and of each layer above for the offset below, ``mu_(l+1) = E[x | field b + mu_l W]``. Of counts
    they are shares of one draw, and the field is that of a row of usual length (docs/math.md,
    "Documents"). Gains are those of the layers, and running means start at their targets.
    """
    offsets = None
    if rule.centring and rows is not None:
        means = infer(model, rows, FixedPoint())
        offsets = [dense(x).mean(axis=0, dtype=np.float64).astype(np.float32) for x in means]
        offsets = [x / units.usual_trials for x, units in zip(offsets, model.layers, strict=True)]
    elif rule.centring:
        below = model.layers[0]
        offsets = [below.mean(below.bias[None])[0] / below.usual_trials]
        for layer, weights in zip(model.layers[1:], model.weights, strict=True):
            field = layer.bias + (offsets[-1][:, None] * weights).sum(axis=0, dtype=np.float64)
            offsets.append(layer.mean(below.usual_trials * field[None])[0] / layer.usual_trials)
            below = layer
    gains = None
    if any(layer.gain is not None for layer in model.layers):
        gains = [
            np.ones(layer.size, np.float32) if layer.gain is None else layer.gain
            for layer in model.layers
        ]
    activity, targets = None, _targets(rule, model.n_layers)
    if any(targets):
        activity = [
            np.full(layer.size, target.target if target else 0.0)
            for layer, target in zip(model.layers, targets, strict=True)
        ]
    return RuleState(chains, offsets, gains, activity)


def finished_phases(rule, model, batch, state, positive, negative, context, work):
    """Make the phases of an update, and let the state follow the positive phase x+.

    `context` is that of the rows of the batch; chains have the one that their states tell. What
    the state follows are means of the states as the phases have them, so in steps where these are
    in bytes: the means of one process are then those of several.

    Of a part of a batch the state follows later, when the means over all parts are there.
    """
    own, units = batch.weights, model.layers[0]
    shares = units.row_weights(positive[0]), units.row_weights(negative[0])
    if shares[0] is None:
        shares = None
        # chains that persist belong to no row: they count alike
        weights = None if own is None else (own, own if state.chains is None else None)
    else:  # empty rows have no part
        some = [(share > 0).astype(np.float64) for share in shares]
        if own is not None:
            some = [own * some[0], some[1] if state.chains is not None else own * some[1]]
        weights = tuple(some)
    phases = Phases(
        _in_bytes(model, positive, "positive"), _in_bytes(model, negative, "negative"),
        state.offsets, state.gains, weights=weights, shares=shares,
        bias_scale=_bias_scales(model, state, negative, context),
    )  # fmt: skip
    if batch.is_part:
        phases.follow = partial(_follow, rule, state)
        return phases
    if state.offsets is None and state.activity is None:
        return phases
    own = None if weights is None else weights[0]
    total = batch.n_rows if own is None else own.sum()
    if not total:  # no row counts: there is no mean to follow
        return phases
    threads = work.n_threads
    sums = [
        column_sums(x, threads) if own is None else weighted_sums(x, own, threads)
        for x in phases.positive[1:]
    ]
    phases.bias_terms = _follow(rule, state, [None, *(x / total for x in sums)])
    return phases


def _bias_scales(model, state, negative, context):
    """Return the factors of the biases of each phase, dicts by layer: lengths of documents.

    Chains that persist have lengths of their own. See :class:`Phases`.
    """
    if context is None or not context.bias_scale:
        return {}, {}
    if state.chains is not None:  # whose rows are none of the batch
        return context.bias_scale, with_trials(model.layers, negative).bias_scale
    return context.bias_scale, context.bias_scale


def _follow(rule, state, means):
    """Move the state of a rule by the means ``mean(x+)`` of the layers above the first.

    Running means ``a <- d a + (1 - d) mean(x+)``, which give the bias terms ``strength (target -
    a)`` of this update; offsets ``mu <- mu + rate (mean(x+) - mu)``, from the next one on.

    Parameters
    ----------
    means : list of ndarray, float64
        By layer; that of the first one is not read.

    Returns
    -------
    dict of int to ndarray
        Bias terms by layer.
    """
    terms = {}
    if state.activity is not None:
        for l, target in enumerate(_targets(rule, len(means))):
            if target is None:
                continue
            state.activity[l] = target.decay * state.activity[l] + (1.0 - target.decay) * means[l]
            terms[l] = target.strength * (target.target - state.activity[l])
    if state.offsets is not None:
        # the first layer's offset is the data's mean already, by way of its initial bias
        moved = [
            o if l == 0 else o + rule.offset_rate * (means[l] - o)
            for l, o in enumerate(state.offsets)
        ]
        state.offsets = [np.ascontiguousarray(o, np.float32) for o in moved]
    return terms


def _in_bytes(model, states, side):
    """Return the states of a phase, means of layers at fixed-point weights as bytes.

    Rows of the data stay as they are.
    """
    states = list(states)
    for l in range(1, len(states)):
        if model.has_packed(l):
            states[l] = in_steps(states[l], model.layers[l], side)
    return states
