"""The up-down algorithm: a whole belief network learns, after its stack has been greedily trained.

Wake: states drawn upwards teach the generative side. Sleep: states drawn downwards teach the
recognition side. The top machine learns between them (docs/math.md, "Up-down").
"""

from dataclasses import dataclass, field

import numpy as np

from deepgen.checks import check_instance, check_integer, real_array
from deepgen.inference.gibbs import update_layer
from deepgen.layers.context import Context
from deepgen.layers.passes import Site
from deepgen.learning.gradients import check_phases, named_gradients
from deepgen.learning.loop import TrainingLoop
from deepgen.learning.optimizers import SGD, GradientOptimizer, check_optimizer
from deepgen.learning.rule_states import check_particles
from deepgen.learning.rules import CD, as_rule
from deepgen.learning.schedules import Linear, as_schedule
from deepgen.learning.sums import phase_sums
from deepgen.models import BeliefLayer, BeliefNetwork, Parameters, check_belief_network
from deepgen.models.parameters import WritableArrays
from deepgen.rows.batch import Batch, check_batch, with_checked_states
from deepgen.rows.sources import ArrayRows, IterableRows
from deepgen.rows.states import dense
from deepgen.rows.sums import column_sums, weight_sums
from deepgen.rows.survey import checked_pieces
from deepgen.runtime.stream import DATA, Stream
from deepgen.runtime.threads import check_threads


class BeliefParameters(WritableArrays):
    """Writable copies of a belief network's arrays while it is trained.

    Parameters of a layer beside its bias, such as precisions, stay as they are.

    Parameters
    ----------
    network : BeliefNetwork

    Attributes
    ----------
    downward, upward : list of Parameters
        By directed layer; of `downward` the weights and the lower bias are the network's, of
        `upward` the weights and the upper bias.
    top : Parameters
    """

    def __init__(self, network):
        self.network = network
        self.downward = [Parameters(layer.downward) for layer in network.layers]
        self.upward = [Parameters(layer.upward) for layer in network.layers]
        self.top = Parameters(network.top)

    def __getstate__(self):
        return self.network, self.snapshot()

    def __setstate__(self, state):
        self.__init__(state[0])
        self.restore(state[1])

    @property
    def weights(self):
        """All matrices."""
        return [array for name, array in self.learned().items() if name.startswith("weights")]

    def learned(self):
        """Return the arrays that training changes, by name."""
        arrays = {}
        for l, (down, up) in enumerate(zip(self.downward, self.upward, strict=True)):
            arrays[f"weights.generative[{l}]"] = down.weights[0]
            arrays[f"weights.recognition[{l}]"] = up.weights[0]
            arrays[f"layers[{l}].lower.bias"] = down.biases[0]
            arrays[f"layers[{l}].upper.bias"] = up.biases[1]
        arrays["weights.top"] = self.top.weights[0]
        return arrays | {f"top.layers[{l}].bias": b for l, b in enumerate(self.top.biases)}

    def fixed(self):
        """Return the parameters of layers that stay, such as log precisions, by name."""
        network, arrays = self.network, {}
        units = {}
        for l, layer in enumerate(network.layers):
            units |= {f"layers[{l}].lower": layer.lower, f"layers[{l}].upper": layer.upper}
        units |= {f"top.layers[{l}]": layer for l, layer in enumerate(network.top.layers)}
        for name, layer in units.items():
            arrays |= {f"{name}.{p}": x for p, x in layer.parameters().items() if p != "bias"}
        return arrays

    def to_network(self, arrays=None):
        """Return a network with these parameters, or with `arrays` in their place."""
        arrays = self.learned() if arrays is None else arrays
        layers = [
            BeliefLayer(
                layer.lower.replace(bias=arrays[f"layers[{l}].lower.bias"]),
                layer.upper.replace(bias=arrays[f"layers[{l}].upper.bias"]),
                arrays[f"weights.generative[{l}]"],
                arrays[f"weights.recognition[{l}]"],
            )
            for l, layer in enumerate(self.network.layers)
        ]
        top = self.network.top
        units = [
            layer.replace(bias=arrays[f"top.layers[{l}].bias"])
            for l, layer in enumerate(top.layers)
        ]
        return BeliefNetwork(layers, top.replace(layers=units, weights=[arrays["weights.top"]]))


@dataclass(frozen=True)
class UpDown:
    """Settings of the up-down algorithm.

    Parameters
    ----------
    rule : CD or PCD, default CD(3)
        Of the top machine.
    learning_rate : float, schedule or None
        None: 0.1, or 0.01 where the states of a layer have no bounds, as Gaussian ones;
        decaying to zero.
    optimizer : SGD or Adam
    """

    rule: object = field(default_factory=lambda: CD(3))
    learning_rate: object = None
    optimizer: object = field(default_factory=SGD)

    def __post_init__(self):
        as_rule(self.rule)
        check_optimizer(self.optimizer, GradientOptimizer)
        if self.learning_rate is not None:
            as_schedule(self.learning_rate)

    def run(self, network, *, stream, batch_size=100, n_threads=None):
        """Return a run of these settings; see :class:`UpDownTrainer`."""
        schedule = self.learning_rate
        if schedule is None:
            units = [*(u for each in network.layers for u in (each.lower, each.upper))]
            bounded = all(u.is_bounded for u in (*units, *network.top.layers))
            schedule = Linear(0.1 if bounded else 0.01, 0.0)
        return UpDownTrainer(
            network, self.rule, self.optimizer, schedule, stream=stream, batch_size=batch_size,
            n_threads=n_threads,
        )  # fmt: skip


class UpDownTrainer(TrainingLoop):
    """A run of the up-down algorithm: contrastive wake-sleep.

    States of a batch are rows of the visible layer, array-like or states.

    Parameters
    ----------
    network : BeliefNetwork
        Starting point, from a greedy stack.
    rule : CD or PCD
        Of the top machine; its positive phase are the wake states. The sleep states descend from
        the end of its chains. ``CD(k)`` with k of 3 to 10 is the algorithm of the paper.
    optimizer : SGD or Adam
        One for all parameters.
    schedule : float or callable
        Learning rate, or that by progress in [0, 1]: far lower than that of greedy training, or
        the recognition side cannot follow the generative one.
    stream : Stream
    batch_size : int, default 100
    n_threads : int or None

    Attributes
    ----------
    rule_state : RuleState
        Of the top machine: particles and offsets.
    n_updates, epoch, batch, history, rate_scale, whole, stopped, finished, frame
        See :class:`~deepgen.learning.loop.TrainingLoop`.

    References
    ----------
    Hinton, Osindero & Teh (2006), section 5 and appendix B; Hinton, Dayan, Frey & Neal (1995).
    """

    def __init__(
        self, network, rule, optimizer, schedule, *, stream, batch_size=100, n_threads=None
    ):
        check_belief_network(network, "network")
        check_instance(stream, "stream", Stream, "a dg.Stream, which random numbers come from")
        check_integer(batch_size, "batch_size")
        check_threads(n_threads)
        check_optimizer(optimizer, GradientOptimizer)
        self.rule, schedule = as_rule(rule), as_schedule(schedule)
        self.rule_state = self.rule.start(network.top, stream.child("rule"))
        super().__init__(
            BeliefParameters(network), optimizer, schedule, stream=stream, batch_size=batch_size,
            n_threads=n_threads,
        )  # fmt: skip

    def model(self):
        """Return the network that this run stands for: averaged where averaging has begun."""
        return self.parameters.to_network(self.optimizer_state["average"]["arrays"])

    def _further_state(self):
        return {"rule": self.rule_state.tree(), "fixed": self.parameters.fixed()}

    def _take_over(self, state):
        for name, array in self.parameters.fixed().items():
            if not np.array_equal(state["fixed"][name], array):
                raise ValueError(f"the run began with another {name}")
        rule_state = type(self.rule_state).from_tree(state["rule"])
        check_particles(rule_state, self.parameters.network.top.layers)
        self.parameters.restore(state["parameters"])
        self.rule_state = rule_state

    # --- learning -----------------------------------------------------------------------------

    def fit(self, rows, n_epochs, n_rows=None, *, callbacks=(), verbose=0):
        """Train until `n_epochs` epochs are whole; goes on where the run is.

        Parameters
        ----------
        rows : array-like or sparse matrix of shape (n_rows, n_visible), ArrayRows or IterableRows
        n_epochs, n_rows, callbacks, verbose
            See :meth:`deepgen.learning.loop.TrainingLoop.fit`, which also says what is raised.

        Raises
        ------
        ValueError
            If a shape or a value of an array does not fit.
        """
        check_integer(n_epochs, "n_epochs", 0)
        if not isinstance(rows, ArrayRows | IterableRows):
            rows = self._rows_of(rows)
        super().fit(rows, n_epochs, n_rows, callbacks=callbacks, verbose=verbose)

    def _rows_of(self, X):
        visible = self.parameters.network.visible
        X = X if hasattr(X, "dtype") else real_array(X, "X")
        visible.check_width(X, "X")
        rows = ArrayRows(X)
        for _ in checked_pieces(rows, visible):
            pass
        return rows

    def _checked(self, batch):
        check_batch(batch)
        plain = batch.context is None and batch.weights is None and not batch.is_part
        if not plain or len(batch.states) != 1:
            raise ValueError(
                "a batch of the up-down algorithm must be whole and have states of the visible "
                "layer alone, no context and no weights"
            )
        visible = self.parameters.network.visible
        return with_checked_states(batch, [visible.states_of(batch.states[0], "batch")])

    def _updates(self, updates, work):
        for batch, site, progress in updates:
            gradients = self._gradients(batch.states[0], site, work)
            # a schedule may return a float32, to which Adam would round what it makes of the rate
            rate = float(self._rate(progress))
            overflow = self.optimizer.descend(
                self.parameters, gradients, self.optimizer_state, rate, progress, work=work
            )
            yield overflow, None

    def _gradients(self, rows, stream, work):
        """Return gradients by name, that parameters go down: wake, top, sleep.

        Of two layers x (lower) and y (upper), drawn upwards in the wake phase and downwards in the
        sleep phase, with errors ``e = mean - state`` and n rows::

            wake:   e = E[x | y] - x,   generative weights  e^T y / n,   lower bias  mean of e
            sleep:  e = E[y | x] - y,   recognition weights x^T e / n,   upper bias  mean of e

        Rows of words count by the word there, as in the greedy training: their errors e downwards
        and their counts x upwards are those of a row of usual length. Dreams are as long as rows.
        """
        parameters, gradients = self.parameters, {}
        words = _Words(parameters.network.visible, rows)
        x = rows
        for l, (down, up) in enumerate(zip(parameters.downward, parameters.upward, strict=True)):
            site = Site(stream.child(f"wake {l}"), DATA)
            above = update_layer(up, 1, [x, None], site=site, work=work)[1]
            around = None if l else words.context(rows.shape[0])
            means = update_layer(
                down, 0, [None, above], context=around, mean=True, work=work
            )[0]
            error = _error(means, x, down.layers[0])
            error = error if l else words.of_usual_length(error)
            gradients[f"weights.generative[{l}]"] = _mean_product(error, above, work)
            gradients[f"layers[{l}].lower.bias"] = _mean(error, work)
            x = above
        if self.n_updates == 0:
            self._centre_on(x)
        batch = Batch((x,))
        phases = self.rule.phases(
            parameters.top, batch, self.rule_state, stream.child("top"), work=work
        )
        check_phases(phases, parameters.top.layers, batch)
        gradients |= _of_top(parameters.top, phases, work)
        x = phases.negative[0]
        for l in reversed(range(len(parameters.downward))):
            down, up = parameters.downward[l], parameters.upward[l]
            site = Site(stream.child(f"sleep {l}"), DATA)
            around = None if l else words.context(x.shape[0])
            below = update_layer(down, 0, [None, x], context=around, site=site, work=work)[1]
            means = update_layer(up, 1, [below, None], mean=True, work=work)[0]
            error = _error(means, x, up.layers[1])
            seen = below if l else words.of_usual_length(below)
            gradients[f"weights.recognition[{l}]"] = _mean_product(seen, error, work)
            gradients[f"layers[{l}].upper.bias"] = _mean(error, work)
            x = below
        return gradients

    def _centre_on(self, states):
        """Let the centring of the top machine start from its first batch.

        The biases of a machine that has learned already do not tell the mean of what it reads.
        """
        top = self.parameters.to_network().top
        fresh = self.rule.start(top, self.stream.child("rule"), rows=states)
        self.rule_state.offsets = fresh.offsets

    def _forget(self):
        # particles and velocities may hold what is not finite
        top = self.parameters.to_network().top
        self.rule_state = self.rule.start(top, self.stream.child("diverged"))


class _Words:
    """How many words the rows of a batch have, where the visible units have a number of draws.

    Parameters
    ----------
    units : Units
        The visible ones.
    rows : states of the visible layer
    """

    def __init__(self, units, rows):
        self.usual, self.lengths = units.gain, None
        if units.takes_trials:
            self.lengths = units.trials_of(rows).astype(np.int64)

    def context(self, n_rows):
        """Return a context of so many rows with the lengths of the batch in turn, or None."""
        if self.lengths is None:
            return None
        return Context(trials={0: self.lengths[np.arange(n_rows) % len(self.lengths)]})

    def of_usual_length(self, x):
        """Return arrays by row and word, scaled as if each row had the usual number of words."""
        if self.lengths is None:
            return x
        lengths = self.lengths[np.arange(len(x)) % len(self.lengths)][:, None]
        share = np.where(lengths > 0, self.usual / np.maximum(lengths, 1), 0.0)
        return x * share.astype(np.float32)


def _error(means, states, units):
    """Means minus states, float32; a missing variable has no error."""
    states = dense(states)
    absent = units.missing(states)
    error = means - states
    if absent is not None:
        error[absent] = 0.0
    return error


def _mean_product(x, y, work):
    return weight_sums(x, y, work=work) / np.float32(max(len(x), 1))


def _mean(error, work):
    sums = column_sums(error, work.n_threads)
    return (sums / max(len(error), 1)).astype(np.float32)


def _of_top(top, phases, work):
    """Gradients of the top machine, downwards."""
    statistics = phases if phases.has_equal_rows else phase_sums(top, phases, work=work)
    upwards = named_gradients(top, statistics, work=work)
    gradients = {"weights.top": -upwards["weights[0]"]}
    for l in range(top.n_layers):
        gradients[f"top.layers[{l}].bias"] = -upwards[f"layers[{l}].bias"]
    return gradients
