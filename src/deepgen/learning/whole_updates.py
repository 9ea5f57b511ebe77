"""Whole updates by one call of a kernel, several of them where rows are bytes of an array.

Rule, sums and optimizer say what an update is; for a machine of layers of bytes, CD, PCD or
MeanFieldPCD and plain steps, a kernel does all of it, in the same arithmetic, so that the bits are
those of the calls one by one (docs/kernels.md, "Whole updates"). What it leaves out, calls one by
one do: contexts, weights by row, holes, labels, parts of batches, sparsity targets, other units and
optimizers.
"""

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import has_role
from deepgen.layers.passes import TILE_ROWS, pass_work
from deepgen.learning.optimizers import PlannedOptimizer, tail_weight
from deepgen.learning.rules import PlannedRule
from deepgen.rows.holes import holes_in
from deepgen.rows.particles import unchecked_particles
from deepgen.rows.states import ChosenRows, kernel_states
from deepgen.runtime.stream import purpose
from deepgen.runtime.threads import effective_threads

# What a call of several updates may take, in seconds: so long Ctrl-C and callbacks wait.
CALL_SECONDS = 0.005
# An update takes about this much for itself, and so much for each multiply-add.
UPDATE_SECONDS, MULTIPLY_ADD_SECONDS = 20e-6, 2e-11


def whole_updates(rule, parameters, rule_state, optimizer, stream):
    """Return the :class:`WholeUpdates` of a run, or None where no kernel makes its updates.

    Parameters
    ----------
    rule, optimizer
        See :mod:`deepgen.learning.rules`, :mod:`deepgen.learning.optimizers`.
    parameters : Parameters
    rule_state : RuleState
    stream : Stream
        Of the run.
    """
    if None in parameters.packed or None in parameters.means_in_bytes[1:]:
        return None
    if not has_role(rule, PlannedRule) or not has_role(optimizer, PlannedOptimizer):
        return None
    for units in parameters.layers:
        if units.takes_trials or units.can_be_missing or units.gain is not None:
            return None
    draws, steps = rule.plan(rule_state), optimizer.plan()
    if draws is None or steps is None:
        return None
    return WholeUpdates(parameters, rule_state, draws, steps, stream.child("updates"))


class WholeUpdates:
    """The updates of one run, as a kernel makes them.

    Parameters
    ----------
    parameters : Parameters
        Of layers whose states are bytes, all matrices packed.
    rule_state : RuleState
        Particles and offsets move.
    draws : DrawPlan
    steps : StepPlan
    stream : Stream
        Whose positions are updates.
    """

    def __init__(self, parameters, rule_state, draws, steps, stream):
        self._parameters, self._state = parameters, rule_state
        self._draws, self._steps = draws, steps
        n_layers, until = parameters.n_layers, draws.inference
        keys = [stream.child(sweep).key for sweep in range(draws.n_sweeps)]
        self._kernel = engine.Updates(
            parameters.chain, parameters.packed, parameters.weights, parameters.biases,
            [units.largest_state for units in parameters.layers],
            None if n_layers == 2 else (until.max_sweeps, until.tol, until.damping),
            draws.persistent, stream.child("data").key, np.array(keys, np.uint64),
            [purpose(draws.kind, l) for l in range(n_layers)], draws.offset_rate, steps.momentum,
            steps.weight_decay, steps.rates or (1.0,) * (n_layers - 1),
        )  # fmt: skip
        self._threads = {}  # by what they depend on
        self._names = [f"weights[{l}]" for l in range(n_layers - 1)]
        self._names += [f"layers[{l}].bias" for l in range(n_layers)]

    def at_once(self, batch_size):
        """Return how many updates of so many rows a call should make: some 5 ms of them."""
        parameters, draws = self._parameters, self._draws
        rows = batch_size * (1 if draws.persistent else 2)
        rows += len(self._state.particles or ()) * 2
        rows *= draws.n_sweeps + 1
        if parameters.n_layers > 2:
            rows += 2 * batch_size * draws.inference.max_sweeps
        size = sum(weights.size for weights in parameters.weights)
        one = UPDATE_SECONDS + MULTIPLY_ADD_SECONDS * rows * size
        return max(int(CALL_SECONDS / one), 1)

    def count(self, updates, optimizer_state):
        """Return how many of the next updates one call can make, from the first one on.

        Parameters
        ----------
        updates : list of Update
        optimizer_state : dict
        """
        batch = updates[0].batch
        states = batch.states[0]
        if not isinstance(states, ChosenRows):
            plain = batch.context is None and batch.weights is None and not batch.is_part
            return int(plain and len(batch.states) == 1 and holes_in(states) is None)
        count = 1
        for update in updates[1:]:
            following = update.batch.states[0]
            alike = isinstance(following, ChosenRows) and following.whole is states.whole
            # averaging begins with copies of the parameters, which only Python makes
            if not alike or self._begins_average(update.progress, optimizer_state):
                break
            count += 1
            if len(following.numbers) != len(states.numbers):
                return count - (len(following.numbers) > len(states.numbers))
        return count

    def _begins_average(self, progress, optimizer_state):
        """Tell whether an update is averaged and none before it was."""
        share, average = self._steps.averaging, optimizer_state["average"]
        if average["arrays"] is not None or not share:
            return False
        return progress is None or progress >= 1.0 - share

    def make(self, updates, rates, optimizer_state, work):
        """Make updates, as many as :meth:`count` has told.

        Parameters
        ----------
        updates : list of Update
        rates : list of float
            By update.
        optimizer_state : dict
            As the optimizer's own step leaves it.
        work : Work

        Returns
        -------
        tuple of (int, bool)
            Updates that are made: fewer where rows hold no states, which has to be told, or a
            parameter is not finite after the last one; and whether that is so.
        """
        parameters, state, tail = self._parameters, self._state, optimizer_state["average"]
        before, averaged = tail["count"], tail["arrays"]
        weights = [tail_weight(tail, self._steps.averaging, u.progress) for u in updates]
        if any(weights) and tail["arrays"] is None:
            tail["arrays"] = parameters.snapshot()
        first = updates[0].batch
        states, chosen = first.states[0], None
        size = states.shape[0]
        if isinstance(states, ChosenRows):
            parts = [update.batch.states[0].numbers for update in updates]
            states, chosen = states.whole, np.concatenate(parts) if len(parts) > 1 else parts[0]
        offsets = state.offsets
        if offsets is not None:
            offsets = [offset.copy() for offset in offsets]
        at = to = None
        if state.chains is not None:
            at = state.chains.particles
            to = [np.empty_like(x) for x in at.states]
        made, overflow = self._kernel.make(
            kernel_states(states), chosen, size, first.first_row, offsets,
            None if at is None else at.states, to, 0 if at is None else state.chains.first_row,
            self._arrays(optimizer_state["velocity"]),
            self._arrays(tail["arrays"] if any(weights) else None),
            np.array(rates), np.array(weights, np.float64), updates[0].site.position,
            self._threads_for(size, 0 if at is None else len(at), work.n_threads),
            work.workspace or engine.Workspace(),
        )  # fmt: skip
        if made < len(updates):
            tail["count"] = before + sum(weight > 0.0 for weight in weights[:made])
            tail["arrays"] = tail["arrays"] if made else averaged
        if made:
            state.offsets = offsets
            if to is not None:
                state.chains.particles = unchecked_particles(to)
        return made, overflow

    def _threads_for(self, n_rows, n_particles, n_threads):
        """Return the threads of each kind of work, as calls one by one would choose them."""
        asked = n_rows, n_particles, n_threads
        if asked not in self._threads:
            chain, weights = self._parameters.chain, self._parameters.weights
            layers = range(self._parameters.n_layers)
            n_chains = n_particles if self._draws.persistent else n_rows
            widest = max(layer.size for layer in self._parameters.layers)
            a_sweep = sum(chain.multiply_adds(l) for l in layers[1:]) * min(n_rows, TILE_ROWS)

            def threads(work):
                return effective_threads(n_threads, work)

            self._threads = {asked: (
                [threads(pass_work(chain, l, n_rows)) for l in layers],
                [threads(pass_work(chain, l, n_chains)) for l in layers],
                threads(a_sweep), threads(8 * widest * max(n_rows, n_chains)),
                [threads((n_rows + n_chains + 4) * matrix.size) for matrix in weights],
            )}  # fmt: skip
        return self._threads[asked]

    def _arrays(self, by_name):
        """Return the arrays of all weights, then of all biases; or None."""
        if by_name is None:
            return None
        return [by_name[name] for name in self._names]
