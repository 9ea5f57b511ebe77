"""What the estimators around a network share: settings, runs that begin or go on, files."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_integer, shown
from deepgen.errors import ModelFileError
from deepgen.estimators.common import guards, runs
from deepgen.estimators.common.hyperparameters import check_callbacks, check_common, check_objects
from deepgen.estimators.common.plain_settings import _FREE, setting
from deepgen.estimators.common.rows import by_pieces, rows_to_read
from deepgen.io import checkpoints, model_files
from deepgen.io.schemas.registry import as_tree, from_tree
from deepgen.layers.gaussian import Gaussian
from deepgen.learning.callbacks import EarlyStopping
from deepgen.learning.hooks import callbacks_for
from deepgen.learning.networks import HeldBackLoss, NetworkTrainer, check_descent
from deepgen.learning.optimizers import Adam
from deepgen.learning.schedules import Linear, as_schedule
from deepgen.models import BeliefNetwork, BoltzmannMachine
from deepgen.models.backprop import outputs
from deepgen.networks.objective import Objective
from deepgen.rows.paired import PairedRows
from deepgen.rows.sources import ArrayRows
from deepgen.runtime.stream import SHUFFLE, Stream, child_seed, seed_of
from deepgen.runtime.work import Work
from deepgen.stacks.settings import is_greedy
from deepgen.stacks.trainer import StackTrainer
from deepgen.stacks.unrolling import checked_stack


@dataclass
class Task:
    """What a call of `fit` has found out before any training.

    Attributes
    ----------
    seed : int
        Of the run.
    X : ndarray or CSR matrix
        All rows: a greedy pretraining learns from them.
    found : Survey
        Of all rows.
    rows : PairedRows
        What the network learns from.
    objective : Objective
    held : PairedRows or None
        Rows that early stopping judges by.
    frame : dict
        See :attr:`deepgen.NetworkTrainer.frame`.
    state : dict or None
        Of the checkpoint that the run goes on from; None once it is used up.
    history : list of dict
        Of the greedy pretraining.
    """

    seed: int
    X: object
    found: runs.Survey
    rows: PairedRows
    objective: Objective
    held: PairedRows | None = None
    frame: dict | None = None
    state: dict | None = None
    history: list = field(default_factory=list)

    @property
    def stream(self):
        """The stream of the run's seed."""
        return Stream.from_random_state(self.seed)


def check_network_settings(estimator):
    """Raise ValueError where a hyper-parameter of the training is not valid, before any work."""
    check_integer(estimator.batch_size, "batch_size")
    if estimator.n_epochs is not None:
        check_integer(estimator.n_epochs, "n_epochs")
    check_common(estimator)
    names = ("learning_rate", "optimizer", "pretrained")
    check_objects(estimator, [name for name in names if hasattr(estimator, name)])
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


def settings_of(estimator, task):
    """Return the settings that decide the bits of a run, as plain data."""
    names = [name for name in estimator.get_params(deep=False) if name not in _FREE]
    targets = task.rows.targets
    digest = None if targets is None else np.ascontiguousarray(targets).tobytes()
    return {
        "estimator": type(estimator).__name__,
        **{name: setting(getattr(estimator, name)) for name in names},
        "n_epochs": runs.n_epochs_for(estimator, task.rows.n_rows),
        "n_features": int(estimator.n_features_in_),
        "n_samples": int(task.found.n_rows),
        "y": digest and hashlib.sha256(digest).hexdigest()[:16],
    }


def stack_of(trees, path):
    """Return the machines of a checkpoint.

    Raises
    ------
    ModelFileError
        If they are none.
    """
    try:
        return checked_stack([from_tree(tree) for tree in trees])
    except ValueError as error:
        raise ModelFileError(f"{path}: damaged (no pretrained machines: {error})") from None


class NetworkEstimator:
    """Mix-in: an estimator whose `model_` is a network."""

    def _default_optimizer(self):
        return Adam(weight_decay=0.0)

    def _fit(self, X, y, resume):
        """Check, begin or go on, and train; subclasses make the task and the network."""
        resume = runs.checked_resume(resume)
        with guards.alone(self):
            with guards.unchanged_on_error(self):
                frame = state = None
                if resume is not None:
                    frame, state, seed = runs.read_run(self, resume)
                else:
                    seed = seed_of(self.random_state)
                task = self._task(X, y, seed)
                self._put_frame(task, frame, resume)
                task.state = state
                network = self._network(task, resume)
                trainer = self._trainer(task, network, resume)
            self._learn(trainer, task.rows)
        return self

    def _put_frame(self, task, frame, resume):
        """Put the frame of the run into its task; `frame` is that of the run that goes on."""
        settings = settings_of(self, task)
        if frame is not None:
            runs.require_same_run(frame, settings, task.found, resume)
        task.frame = {
            **runs.origin_of(task.seed), "settings": settings,
            **runs.marks_of(task.found), "stack": frame and frame.get("stack"),
        }  # fmt: skip

    def _stack_for(self, task, resume, layers):
        """Return the machines that the network starts from, or None.

        `layers` are those of a greedy pretraining, which is done here where the settings ask for
        it; what a run that goes on has finished already comes from its checkpoint.
        """
        if self.pretrained is None:
            return None
        if not is_greedy(self.pretrained):
            return self._pretrained_models(self.n_features_in_)
        trees = task.frame.pop("stack")
        if isinstance(trees, list) and len(trees) == len(layers) - 1:
            stack = stack_of(trees, resume)
        else:
            stack = self._pretrained_now(task, resume, layers, trees)
        task.frame["stack"] = [as_tree(machine) for machine in stack]
        return stack

    def _pretrained_models(self, n_columns):
        """Return the machines in `pretrained`, where they are no settings."""
        return pretrained_stack(self.pretrained, n_columns)

    def _pretrained_now(self, task, resume, layers, trees):
        run = StackTrainer(
            ArrayRows(task.X), layers, self.pretrained, moments=task.found.moments,
            random_state=child_seed(task.seed, "stack"), frame=task.frame,
            n_threads=self.n_threads,
        )  # fmt: skip
        if task.state is not None:
            checkpoints.restore(run, {"stack": trees, "trainer": task.state}, resume)
        run.attach(self.callbacks or ())
        run.fit(verbose=self.verbose)
        task.state, task.history = None, run.history
        return run.stack()

    def _trainer(self, task, network, resume):
        rate = Linear(0.002, 0.0) if self.learning_rate is None else self.learning_rate
        trainer = NetworkTrainer(
            network, task.objective, self.optimizer or self._default_optimizer(), rate,
            stream=task.stream, batch_size=int(self.batch_size),
            top_epochs=getattr(self, "top_epochs", 0), n_threads=self.n_threads,
        )  # fmt: skip
        trainer.frame, trainer.history = task.frame, list(task.history)
        if task.state is not None:
            checkpoints.restore(trainer, task.state, resume)
        own = []
        if task.held is not None:
            own = [
                HeldBackLoss(task.objective.loss, task.held),
                EarlyStopping("validation_loss", mode="min", patience=self.early_stopping),
            ]
        callbacks = [*own, *(self.callbacks or ())]
        if task.frame["stack"]:  # of a greedy pretraining, which they have taken part in
            callbacks = callbacks_for(callbacks, trainer)
        trainer.attach(callbacks)
        return trainer

    def _learn(self, trainer, rows):
        try:
            if not trainer.finished:
                n_epochs = trainer.frame["settings"]["n_epochs"]
                trainer.fit(rows, n_epochs, verbose=self.verbose)
        finally:
            self.model_ = self._kept(trainer.model())
            self.history_ = trainer.history
            self.n_updates_ = trainer.n_updates

    def _kept(self, network):
        """Return the network that the estimator keeps of a trained one."""
        return network

    def _outputs(self, X, until=None):
        """Return the outputs of rows, after checks of their values."""
        X, network, work = rows_to_read(self, X), self.model_, Work(n_threads=self.n_threads)
        return by_pieces(
            X, self._units, lambda x: outputs(network, x, until=until, work=work)
        )

    @property
    def _units(self):
        """What values of X are checked by: any real numbers."""
        return Gaussian(self.model_.sizes[0])

    def _save(self, path, **extra):
        check_is_fitted(self)
        model_files.save(self.model_, path, extra={"estimator": type(self).__name__, **extra})

    def _take(self, network):
        """Become a fitted estimator around a network."""
        self.model_ = network
        self.history_, self.n_updates_ = [], 0
        self.n_features_in_ = network.sizes[0]
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "model_")


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
        own = order[labels[order] == label]
        if len(own) > 1:
            held[own[: max(1, int(fraction * len(own)))]] = True
    return held
