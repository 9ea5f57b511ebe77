"""What estimators around a network share: settings, the problem of their training, answers."""

import hashlib
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_integer, shown
from deepgen.estimators.common.fitting import Fitted, FittingEstimator, Problem, greedy_start
from deepgen.estimators.common.hyperparameters import (
    check_callbacks,
    check_common,
    check_objects,
)
from deepgen.estimators.common.plain_settings import plain_settings
from deepgen.estimators.common.validation import by_pieces, rows_to_read
from deepgen.layers.named import columns_of
from deepgen.layers.units import Units
from deepgen.learning.callbacks import EarlyStopping
from deepgen.learning.evidence import MOST_UPDATES
from deepgen.learning.hooks import callbacks_for
from deepgen.learning.networks import HeldBackLoss, NetworkTrainer, check_descent
from deepgen.learning.optimizers import Adam
from deepgen.learning.scaled_networks import ScaledNetworkTrainer
from deepgen.learning.schedules import Linear, as_schedule
from deepgen.models import BeliefNetwork, BoltzmannMachine
from deepgen.models.backprop import outputs
from deepgen.networks.objective import Objective
from deepgen.rows.holes import filled, holes_in
from deepgen.rows.paired import PairedRows
from deepgen.rows.sources import select
from deepgen.runtime.stream import SHUFFLE, Stream
from deepgen.runtime.work import Work
from deepgen.stacks.settings import is_greedy
from deepgen.stacks.unrolling import checked_stack

# Losses of rows that are rebuilt, by the activation of the units whose means the outputs are: minus
# the log-likelihood but for scale and constant.
LOSS_OF = {
    "logistic": "cross_entropy", "linear": "squared_error", "softmax": "softmax_cross_entropy"
}  # fmt: skip

# Where the learning rate starts, with Adam.
USUAL_RATE = 0.002


def check_network_settings(estimator):
    """Raise ValueError where a hyper-parameter of the training is not valid, before any work."""
    check_integer(estimator.batch_size, "batch_size")
    if estimator.n_epochs is not None:
        check_integer(estimator.n_epochs, "n_epochs")
    check_common(estimator)
    names = {"learning_rate", "optimizer", "pretrained"} & set(estimator.get_params(deep=False))
    check_objects(estimator, sorted(names))
    if estimator.learning_rate is not None:
        as_schedule(estimator.learning_rate)
    if estimator.optimizer is not None:
        check_descent(estimator.optimizer)
    check_callbacks(estimator.callbacks)


def check_choice(value, name, choices):
    """Raise ValueError unless `value` is one of the names `choices`."""
    if not isinstance(value, str) or value not in choices:
        known = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be {known}, got {shown(value)}")


def core_models(pretrained):
    """Return a list of core models from what a user passes as `pretrained`, after a check.

    A ``sklearn.frozen.FrozenEstimator`` around a fitted estimator will do as well.

    Raises
    ------
    ValueError
        For a bare estimator, which ``clone`` would strip of its weights.
    """
    parts = pretrained if isinstance(pretrained, list | tuple) else [pretrained]
    stack = []
    for part in parts:
        if type(part).__name__ == "FrozenEstimator":
            check_is_fitted(part.estimator)
            part = part.estimator.model_
        elif hasattr(part, "get_params"):
            raise ValueError(
                f"pretrained must hold core models, got a {type(part).__name__}: scikit-learn's "
                "clone would silently strip it of its weights; pass its model_, or wrap it in "
                "sklearn.frozen.FrozenEstimator"
            )
        elif not isinstance(part, BoltzmannMachine | BeliefNetwork):
            raise ValueError(
                "pretrained must be None, dg.Pretraining(...), a BeliefNetwork or a list of "
                f"BoltzmannMachine, got {shown(pretrained)}"
            )
        stack.extend(part.stack if isinstance(part, BeliefNetwork) else [part])
    return stack


def pretrained_stack(pretrained, n_columns):
    """Return two-layer machines from what a user passes as `pretrained`, after a check.

    Raises
    ------
    ValueError
        For a bare estimator, which ``clone`` would strip of its weights; or a misfit.
    """
    stack = checked_stack(core_models(pretrained))
    check_width(stack[0], n_columns)
    return stack


def check_width(machine, n_columns):
    """Raise ValueError unless a pretrained machine reads rows of so many columns."""
    if machine.layers[0].size != n_columns:
        raise ValueError(
            f"X has {n_columns} features, but pretrained was trained on "
            f"{machine.layers[0].size}"
        )


@dataclass
class Examples:
    """Rows with targets, and how a network learns from them.

    Attributes
    ----------
    rows : PairedRows
        With targets.
    objective : Objective
    units : Units
        What values of all rows are checked by.
    strata : ndarray of shape (n_rows,) or None
        Numbers of groups, of each of which early stopping holds back as large a share; -1: rows
        of none, which have no target. None: nothing is held back.
    held : PairedRows or None
        Rows that are held back.
    """

    rows: PairedRows
    objective: Objective
    units: Units
    strata: np.ndarray | None = None
    held: PairedRows | None = None

    def hold_back(self, fraction, stream):
        """Take rows out that early stopping judges by: a share of each stratum.

        Parameters
        ----------
        fraction : float
        stream : Stream
        """
        rows, mask = self.rows, held_back(self.strata, fraction, stream)
        if mask.any():
            known = None if rows.known is None else rows.known[~mask]
            held, kept = (_weights_of(rows, chosen) for chosen in (mask, ~mask))
            self.held = PairedRows(select(rows.X, mask), rows.targets[mask], weights=held)
            self.rows = PairedRows(
                select(rows.X, ~mask), rows.targets[~mask], known, weights=kept
            )


def _weights_of(rows, chosen):
    """Return the weights of some rows; None where they have none, or zeros alone."""
    weights = None if rows.weights is None else rows.weights[chosen]
    return weights if weights is not None and weights.any() else None


class NetworkProblem(Problem):
    """The training of a network, after a greedy pretraining where one is asked for.

    Parameters
    ----------
    estimator : NetworkEstimator
    rows : ArrayRows
        All of them: a greedy pretraining learns from those without a target too.
    examples : Examples
    """

    def __init__(self, estimator, rows, examples):
        super().__init__(estimator, rows)
        self.examples = examples

    @property
    def units(self):
        """The units that values of the rows are checked by."""
        return self.examples.units

    @property
    def learned_rows(self):
        """Rows with targets."""
        return self.examples.rows

    def draw(self, seed):
        """Draw the rows that early stopping holds back, where it is asked for."""
        self.stream = Stream.from_random_state(seed)
        if self.examples.strata is not None:
            self.examples.hold_back(self.estimator.validation_fraction, self.stream)

    def settings(self, n_rows):
        """Return the settings that decide the bits of a run, as plain data."""
        estimator, targets = self.estimator, self.examples.rows.targets
        digest = None
        if targets is not None:
            data = np.ascontiguousarray(targets).tobytes()
            digest = hashlib.sha256(data).hexdigest()[:16]
        n_epochs = estimator.n_epochs or self._default_epochs()
        resolved = {"n_epochs": int(n_epochs), "n_samples": int(n_rows), "y": digest}
        if self.examples.rows.weights is not None:
            weights = self.examples.rows.weights.tobytes()
            resolved["sample_weight"] = hashlib.sha256(weights).hexdigest()[:16]
        return plain_settings(estimator, resolved)

    def _default_epochs(self):
        """Return the epochs of the estimator's kind, as updates within its limits."""
        estimator = self.estimator
        a_pass = -(-self.examples.rows.n_rows // int(estimator.batch_size))
        fewest = estimator._fewest_updates
        wanted = min(max(estimator._usual_epochs * a_pass, fewest), MOST_UPDATES)
        return -(-wanted // a_pass)

    def _default_rate(self):
        estimator = self.estimator
        if estimator.n_epochs is not None:
            return USUAL_RATE
        a_pass = -(-self.examples.rows.n_rows // int(estimator.batch_size))
        return estimator._usual_rate(self._default_epochs() * a_pass)

    def run(self, beginning):
        """Return the run of the fine-tuning."""
        estimator, history = self.estimator, []
        layers = estimator._pretrained_layers(self, beginning.survey)
        if not layers:
            stack = None
        elif is_greedy(estimator.pretrained):
            stack, history = greedy_start(
                self, beginning, layers, estimator.pretrained, made_of=checked_stack
            )
        else:
            stack = estimator._pretrained_models(self.units.size)
        network = estimator._network(self, beginning.survey, stack)
        rate = estimator.learning_rate
        if rate is None:
            rate = Linear(self._default_rate(), 0.0)
        scale = estimator._input_scale(self, beginning.survey) if stack is None else None
        trainer = NetworkTrainer if scale is None else ScaledNetworkTrainer
        run = trainer(
            network, self.examples.objective, estimator.optimizer or Adam(weight_decay=0.0), rate,
            stream=self.stream, batch_size=int(estimator.batch_size),
            top_epochs=estimator._top_epochs, n_threads=estimator.n_threads,
        )  # fmt: skip
        if scale is not None:
            run.scale = scale
        run.collective = self.collective
        run.frame, run.history = beginning.frame, list(history)
        beginning.take_over(run)
        return run

    def callbacks(self, run):
        """Return early stopping, if it is asked for, and the callbacks of the estimator."""
        callbacks, examples = list(super().callbacks(run)), self.examples
        if examples.held is not None:
            patience = self.estimator.early_stopping
            callbacks = [
                HeldBackLoss(examples.objective.loss, examples.held),
                EarlyStopping("validation_loss", mode="min", patience=patience),
                *callbacks,
            ]
        if run.frame.get("stack"):  # they have taken part in the greedy pretraining
            return callbacks_for(callbacks, run)
        return callbacks

    def keep(self, run, score_seed):
        """Set what is fitted."""
        super().keep(run, score_seed)
        self.estimator.model_ = self.estimator._finished(self, run.model())


class NetworkEstimator(FittingEstimator):
    """Mix-in: an estimator whose `model_` is a network.

    A class with it writes `_problem`, which returns a :class:`NetworkProblem`, and `_network`.
    """

    # Epochs at the start in which only the last layer moves.
    _top_epochs = 0
    # Without `n_epochs`: that many epochs, but never fewer updates than this, or more than 5,000.
    _usual_epochs, _fewest_updates = 250, 250

    def _usual_rate(self, n_updates):
        """Return where the learning rate of a run of so many updates starts, without `n_epochs`."""
        return USUAL_RATE

    def _pretrained_layers(self, problem, survey):
        """Return the layers of the machines that the network starts from; empty: it has none."""
        return []

    def _input_scale(self, problem, survey):
        """Return the :class:`InputScale` that inputs are standardized by in training, or None."""
        return

    def _pretrained_models(self, n_columns):
        """Return the machines in `pretrained`, where they are no settings."""
        return pretrained_stack(self.pretrained, n_columns)

    @abstractmethod
    def _network(self, problem, survey, stack):
        """Return the network at its first update.

        Parameters
        ----------
        problem : NetworkProblem
        survey : Survey
            Of all rows.
        stack : list of BoltzmannMachine or None
            The machines that it starts from.
        """

    def _finished(self, problem, network):
        """Return the model that the estimator keeps of a trained network."""
        return network

    def _outputs(self, X, until=None, *, field=False, holes=False):
        """Return the outputs of rows, or the fields of the last layer, after checks of values.

        `holes` lets NaN pass: inputs that are not known, and zero to the network.
        """
        X, network, work = rows_to_read(self, X), self.model_, Work(n_threads=self.n_threads)
        return by_pieces(
            X, self._units,
            lambda x: outputs(
                network, filled(x, holes_in(x)), until=until, field=field, work=work
            ),
            holes=holes,
        )  # fmt: skip

    @property
    def _units(self):
        """The units that values of X are checked by: any real numbers, or counts."""
        return columns_of(self.model_.inputs, self.model_.sizes[0])

    def _take(self, network):
        """Become a fitted estimator around a network."""
        self.model_ = network
        self.history_, self.n_updates_ = [], 0
        self.n_features_in_ = network.sizes[0]
        self._fitted = Fitted()
        return self


def held_back(labels, fraction, stream):
    """Return a bool mask of rows to hold back: this share of each label, at least one row.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,)
        Rows of -1 have no label and are never held back.
    fraction : float
    stream : Stream
    """
    order = stream.child("validation").permutation(len(labels), SHUFFLE)
    held = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels[labels >= 0]):
        of_label = order[labels[order] == label]
        if len(of_label) > 1:
            held[of_label[: max(1, int(fraction * len(of_label)))]] = True
    return held
