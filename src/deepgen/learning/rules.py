"""Learning rules: immutable recipes that turn a batch into two phases of states, or gradients.

A rule keeps nothing: `start` gives a state that training holds and checkpoints.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np

from deepgen.checks import (
    check_flag,
    check_instance,
    check_integer,
    check_number,
    has_role,
    shown,
)
from deepgen.inference.gibbs import start_particles, update_layer
from deepgen.inference.mean_field import FixedPoint, infer
from deepgen.inference.samplers import Gibbs, Sampler, check_sampler, description_of
from deepgen.inference.tap import check_layers_of_tap, tap_after_mean_field
from deepgen.layers.context import Context, with_trials
from deepgen.layers.passes import Site
from deepgen.learning.rule_states import Sparsity, finished_phases, first_state
from deepgen.rows.holes import filled, holes_in
from deepgen.rows.parts import joined
from deepgen.rows.states import compressed
from deepgen.runtime.stream import DATA, PARTICLES, START
from deepgen.runtime.work import ANY_WORK


@runtime_checkable
class Rule(Protocol):
    """A recipe that turns a batch into statistics; immutable, so that one serves many runs.

    Its state is a :class:`RuleState` or an object like one: with `particles` and `offsets`, which
    may be None, with ``tree()``, and ``from_tree`` of its class. ``takes_context``, where a rule
    has it, says whether it can hold entries of single rows; ``takes_holes`` whether rows may hold
    NaN, values that are not known; ``sampler`` what moves its particles.
    """

    def start(self, model, stream):
        """Return the state before the first update, which the run keeps and checkpoints.

        A run that begins from a trained model (a DBM after its greedy start, up-down) also passes
        ``rows=``: states of the first layer, whose means centring can start from.
        """

    def phases(self, model, batch, state, stream, *, work):
        """Return the :class:`Phases` of an update, or :class:`RowGradients` in place of them.

        Parameters
        ----------
        model : Parameters
        batch : Batch
            With the context and the weights of its rows.
        state : RuleState or an object like one
            Changed in place. Of a part of a batch it moves when ``Phases.follow`` is called.
        stream : Stream
            At this update's position.
        work : Work
        """


class DrawPlan(NamedTuple):
    """Phases as a kernel makes them that makes whole updates of a machine.

    Attributes
    ----------
    persistent : bool
        Whether the negative phase goes on from particles; else it begins at the rows, which have
        two layers then.
    n_sweeps : int
    kind : int
        Of the draws; see :mod:`deepgen.runtime.stream`.
    offset_rate : float
    inference : FixedPoint or None
        How far mean field goes in the positive phase. With two layers it is one pass, and None.
    """

    persistent: bool
    n_sweeps: int
    kind: int
    offset_rate: float
    inference: FixedPoint | None = None


@runtime_checkable
class PlannedRule(Protocol):
    """A rule whose phases a kernel may make."""

    def plan(self, state):
        """Return the :class:`DrawPlan` of a run; None: no kernel makes its phases.

        Parameters
        ----------
        state : RuleState
            The kernel moves its particles and offsets, and none else.
        """


def _check_common(rule):
    check_integer(rule.k, "k")
    check_number(rule.offset_rate, "offset_rate", 0.0, 1.0)
    check_flag(rule.centring, "centring")
    targets = rule.sparsity if isinstance(rule.sparsity, tuple) else (rule.sparsity,)
    if not all(target is None or isinstance(target, Sparsity) for target in targets):
        raise ValueError(
            "sparsity must be None, dg.Sparsity(target), or a tuple of them with one for each "
            f"hidden layer, got {shown(rule.sparsity)}"
        )


def _in_words(rule):
    """Return the settings of a rule as a call of its class.

    Checkpoints compare it. Those from before a setting could be chosen have had its default, so
    that newer ones are named only where they are not at it.
    """
    settings = [
        f"{each.name}={getattr(rule, each.name)!r}" for each in fields(rule) if not each.kw_only
    ]
    for each in fields(rule):
        value = getattr(rule, each.name)
        if each.kw_only and value != each.default:
            words = description_of(value) if each.name == "sampler" else repr(value)
            settings.append(f"{each.name}={words}")
    return f"{type(rule).__qualname__}({', '.join(settings)})"


def _check_two_layers(rule, model):
    if model.n_layers != 2:
        raise ValueError(
            f"model must have two layers for {type(rule).__name__}, got {model.n_layers}; use "
            "dg.MeanFieldPCD()"
        )


def _context_of(model, batch):
    """Return the context of a batch, with what is missing held at zero: it is no part of that
    row's model (Salakhutdinov, Mnih & Hinton 2007, section 2)."""
    missing, context = model.layers[0].missing(batch.states[0]), batch.context
    if missing is None:
        return context
    context = Context() if context is None else context
    held = context.held.get(0)
    missing = missing if held is None else (held != 0) | missing
    return replace(context, held={**context.held, 0: missing})


def _completed(model, batch, state, stream, n_sweeps, context, work):
    """Return the states of a batch with draws of what is not known, given what is.

    ``v ~ p(v_missing | v_known)`` row by row, after some Gibbs sweeps over the hidden layer and the
    missing entries, which start from the means of the columns. Statistics of such rows are on
    average those of the gradient of log p(v_known) (docs/math.md, "Holes").
    """
    units, v = model.layers[0], batch.states[0]
    holes = holes_in(v)
    if holes is None:
        return v
    start = state.offsets[0] if state.offsets is not None else units.mean(units.bias[None])[0]
    v, stream = filled(v, holes, start), stream.child("holes")
    for sweep in range(n_sweeps):
        site = Site(stream.child(sweep), DATA, batch.first_row)
        _, hidden = update_layer(model, 1, [v, None], context=context, site=site, work=work)
        _, draws = update_layer(model, 0, [v, hidden], context=context, site=site, work=work)
        v = filled(v, holes, draws)
    if units.state_dtype == np.uint8 and units.is_state(v):
        v = v.astype(np.uint8)  # as rows without holes are read
    return v


@dataclass(frozen=True)
class CD:
    """Contrastive divergence: k sweeps from the data (Hinton 2002).

    Parameters
    ----------
    k : int, default 1
        Sweeps.
    centring : bool, default True
        Centre the gradient by the data's mean and a moving mean of the hidden units.
    sparsity : Sparsity, tuple with one for each hidden layer, or None
    offset_rate : float, default 0.01
        Rate of the moving mean.
    hole_sweeps : int, default 5
        In rows with NaN, Gibbs sweeps that draw what is not known given what is, before both
        phases.
    """

    k: int = 1
    centring: bool = True
    sparsity: Sparsity | None = None
    offset_rate: float = 0.01
    hole_sweeps: int = field(default=5, kw_only=True)

    takes_context: ClassVar[bool] = True
    takes_holes: ClassVar[bool] = True

    def __post_init__(self):
        _check_common(self)
        check_integer(self.hole_sweeps, "hole_sweeps")

    def __repr__(self):
        return _in_words(self)

    def start(self, model, stream, *, rows=None):
        """Return the state before the first update.

        Parameters
        ----------
        model : BoltzmannMachine
        stream : Stream
        rows : states of the first layer, or None
            Some rows of the data, drawn at random, whose means by layer are the first offsets of
            centring. None: the visible biases are at the mean of the data, as those of
            :func:`~deepgen.learning.starts.initial_model` are.
        """
        _check_two_layers(self, model)
        return first_state(model, self, None, rows)

    def plan(self, state):
        """Return the phases as a kernel makes them, or None; see :class:`PlannedRule`."""
        if type(self) is not CD or state.activity is not None:
            return None
        return DrawPlan(False, self.k, DATA, self.offset_rate)

    def phases(self, model, batch, state, stream, *, work=ANY_WORK):
        """Return the phases of one update.

        Parameters
        ----------
        model : Parameters
            Two layers.
        batch : Batch
            Of states of the first layer, NaN where a value is not known. Bias rows, held entries
            and inverse temperatures of its context are those of each row's own chain.
        state : RuleState
            Changed in place.
        stream : Stream
            At this update's position.
        """
        options = {"context": _context_of(model, batch), "work": work}
        v = _completed(model, batch, state, stream, self.hole_sweeps, **options)
        options["context"] = context = with_trials(model.layers, [v, None], options["context"])
        site = Site(stream.child("data"), DATA, batch.first_row)
        means, draws = update_layer(model, 1, [v, None], mean=True, site=site, **options)
        positive = [v, means]
        for sweep in range(self.k):
            site = Site(stream.child(sweep), DATA, batch.first_row)
            _, v = update_layer(model, 0, [v, draws], site=site, **options)
            v = compressed(v) if model.layers[0].takes_trials else v
            last = sweep == self.k - 1
            means, draws = update_layer(
                model, 1, [v, draws], mean=last, site=None if last else site, **options
            )
        return finished_phases(self, model, batch, state, positive, [v, means], context, work)


class _Persistent(ABC):
    """A rule with persistent chains; its subclasses give the posterior of the positive phase.

    A rule of this kind has ``k``, ``n_particles``, ``sampler`` and the settings of :class:`CD`.
    """

    takes_context: ClassVar[bool] = False
    takes_holes: ClassVar[bool] = True

    def __post_init__(self):
        _check_common(self)
        check_integer(self.n_particles, "n_particles")
        check_sampler(self.sampler)

    def __repr__(self):
        return _in_words(self)

    def start(self, model, stream, *, rows=None):
        """Return the state before the first update; see :meth:`CD.start`.

        Particles start from the biases. Where rows have their own number of draws, such as the
        words of a document, the particles have quantiles of those of the rows.
        """
        self._check_model(model)
        trials = None
        if rows is not None and model.layers[0].takes_trials:
            lengths = model.layers[0].trials_of(rows).astype(np.int64)
            at = (np.arange(self.n_particles) + 0.5) * (len(lengths) / self.n_particles)
            trials = np.sort(lengths)[at.astype(np.int64)]
        particles = start_particles(
            model, self.n_particles, stream.child("particles"), trials=trials
        )
        chains = self.sampler.start(model, particles, Site(stream.child("chains"), START))
        return first_state(model, self, chains, rows)

    def phases(self, model, batch, state, stream, *, work=ANY_WORK):
        """Return the phases of one update; see :meth:`CD.phases`.

        Parameters
        ----------
        batch : Batch
            Of states of the first layer, NaN where a value is not known, and with mean field of the
            last one too. Rows of that with a missing group are inferred.

        Raises
        ------
        ValueError
            If the batch has a context: particles belong to no row of the data. Use CD.
        """
        if batch.context is not None:
            raise ValueError(
                f"{type(self).__name__} cannot use a context by row, because its particles belong "
                "to no row of the data; use CD, which is for two layers"
            )
        positive = self._posterior(model, batch, state, stream, work)
        negative = self._moved(model, state.chains, stream, work)
        context = with_trials(model.layers, positive)
        return finished_phases(self, model, batch, state, positive, negative, context, work)

    def _plan_of(self, cls, state, inference):
        """Return the phases of a rule of just this class as a kernel makes them, or None."""
        plain = type(self) is cls and type(self.sampler) is Gibbs
        if not plain or state.activity is not None or state.chains.beta is not None:
            return None
        return DrawPlan(True, self.k, PARTICLES, self.offset_rate, inference)

    def _check_model(self, model):
        """Raise ValueError where the rule cannot learn a model."""

    @abstractmethod
    def _posterior(self, model, batch, state, stream, work):
        """Return the states of the observed layers and the means of all others, by layer."""

    def _moved(self, model, chains, stream, work):
        """Move the chains; return states of the even layers at the model, means of the odd ones.

        Odd layers' means are those given the even layers' states: of every pair of neighbours one
        side is a mean given the other, which takes noise out of the statistics.
        """
        info = self.sampler.move(
            model, chains, Site(stream, PARTICLES, chains.first_row), n_sweeps=self.k, means=True,
            context=None, work=work,
        )  # fmt: skip
        states = list(chains.at_model().states)
        for l, units in enumerate(model.layers):
            if units.takes_trials:
                states[l] = info.listed.get(l) or compressed(states[l])
        negative = list(states)
        for l in range(1, model.n_layers, 2):
            negative[l] = info.means.get(l)
            if negative[l] is None:
                negative[l], _ = update_layer(model, l, states, mean=True, work=work)
        return negative


@dataclass(frozen=True, repr=False)
class PCD(_Persistent):
    """Persistent contrastive divergence (Tieleman 2008; stochastic maximum likelihood).

    Parameters
    ----------
    k : int, default 1
        Sweeps of the particles for each update.
    n_particles : int, default 100
    centring, sparsity, offset_rate
        See :class:`CD`.
    sampler : Sampler, default Gibbs()
        What moves the particles; see :class:`Sampler`.
    hole_sweeps : int, default 5
        See :class:`CD`. With enough of them the expected update of rows with NaN is the gradient of
        the likelihood of what is known.
    """

    k: int = 1
    n_particles: int = 100
    centring: bool = True
    sparsity: Sparsity | None = None
    offset_rate: float = 0.01
    sampler: Sampler = field(default=Gibbs(), kw_only=True)
    hole_sweeps: int = field(default=5, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        check_integer(self.hole_sweeps, "hole_sweeps")

    def _check_model(self, model):
        _check_two_layers(self, model)

    def plan(self, state):
        """Return the phases as a kernel makes them, or None; see :class:`PlannedRule`."""
        return self._plan_of(PCD, state, None)

    def _posterior(self, model, batch, state, stream, work):
        v = _completed(model, batch, state, stream, self.hole_sweeps, None, work)
        return [v, update_layer(model, 1, [v, None], mean=True, work=work)[0]]


@dataclass(frozen=True, repr=False)
class MeanFieldPCD(_Persistent):
    """Stochastic approximation of a deep Boltzmann machine (Salakhutdinov & Hinton 2009).

    Positive phase: the mean-field posterior of the hidden layers given the data. Negative phase:
    persistent particles, as in :class:`PCD`, by block Gibbs over even and odd layers. The expected
    update is the gradient of the variational bound at its fixed point; with two layers mean field
    is exact, and this is PCD. In rows with NaN the posterior is that of the missing entries too.

    Parameters
    ----------
    k : int, default 1
        Sweeps of the particles for each update.
    n_particles : int, default 100
        More particles make a cleaner gradient.
    inference : FixedPoint
        How far mean field goes for each batch. Default: 3 sweeps at most, where bounds and
        answers of a trained machine go up to 100. Beside fixed-point weights layers read each
        other's means in steps of 1 / 255 here (docs/math.md, "Fixed-point weights").
    centring, sparsity, offset_rate
        See :class:`CD`. Centring is what lets deep machines learn without pretraining (Montavon
        & Müller 2012).
    sampler : Sampler, default Gibbs()
        See :class:`PCD`.
    """

    k: int = 1
    n_particles: int = 100
    inference: FixedPoint = field(default_factory=lambda: FixedPoint(max_sweeps=3, tol=1e-3))
    centring: bool = True
    sparsity: Sparsity | tuple | None = None
    offset_rate: float = 0.01
    sampler: Sampler = field(default=Gibbs(), kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        check_instance(
            self.inference, "inference", FixedPoint, "dg.FixedPoint(max_sweeps, tol)"
        )

    def plan(self, state):
        """Return the phases as a kernel makes them, or None; see :class:`PlannedRule`."""
        return self._plan_of(MeanFieldPCD, state, self.inference)

    def _posterior(self, model, batch, state, stream, work):
        observed = batch.states
        batch = observed[0] if len(observed) == 1 or observed[1] is None else observed
        return infer(model, batch, self.inference, work=work)


@dataclass(frozen=True, repr=False)
class TAPPCD(MeanFieldPCD):
    """:class:`MeanFieldPCD` with the means of the TAP equations in the positive phase.

    Mean field's sweeps first, then a few of TAP, which start near their end. Rows whose changes
    grow in these keep the means of mean field. Statistics are products of means, as with mean
    field: the gradient of TAP's estimate of log p(v) also has the correlation that a weight brings
    about, ``W m (1 - m) m' (1 - m')``, which is left out. Bounds came out tighter than by mean
    field, likelihoods level (docs/decisions.md).

    Parameters
    ----------
    k, n_particles, centring, sparsity, offset_rate, sampler
        See :class:`MeanFieldPCD`.
    inference : FixedPoint
        How far mean field goes for each batch, before TAP. Default: 3 sweeps at most.
    tap_sweeps : int, default 2
        Sweeps of TAP after these; each is two to three times the work of one of mean field.

    Raises
    ------
    ValueError
        In a run: if a hidden layer is none of binary units of one copy, such as one of labels; or
        if a row has NaN.

    References
    ----------
    The equations: see :func:`tap`.
    """

    tap_sweeps: int = field(default=2, kw_only=True)

    takes_holes: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        check_integer(self.tap_sweeps, "tap_sweeps")

    def _check_model(self, model):
        check_layers_of_tap(model, "dg.MeanFieldPCD()")

    def _posterior(self, model, batch, state, stream, work):
        means = super()._posterior(model, batch, state, stream, work)
        return tap_after_mean_field(
            model, means, self.tap_sweeps, self.inference.tol, work=work
        )


def as_rule(value):
    """Turn ``"cd"``, ``"pcd"`` or a rule into a rule."""
    if isinstance(value, str) and value in ("cd", "pcd"):
        return CD() if value == "cd" else PCD()
    check_rule(value, "'cd', 'pcd', dg.CD(k) or dg.PCD(k)")
    return value


def check_rule(value, expected="dg.CD(...) or dg.PCD(...)"):
    """Raise ValueError unless `value` is a :class:`Rule`; the message names what is `expected`."""
    if not has_role(value, Rule):
        raise ValueError(f"rule must be {expected}, got {shown(value)}")


def takes_holes(rule):
    """Tell whether a rule learns from rows with NaN, values that are not known."""
    return bool(getattr(rule, "takes_holes", False))


def check_missing_variables(rows, units, rule):
    """Raise ValueError where rows have missing variables that a rule cannot leave out."""
    if getattr(rule, "takes_context", False) or not units.can_be_missing:
        return
    if any(joined(rows, any(units.missing(b.states[0]) is not None for b in rows.pieces()))):
        raise ValueError(
            "X has missing variables (all-zero groups), which PCD cannot leave out of the model "
            "row by row; use rule='cd', or write NaN where the value is there but not known"
        )
