"""The deep belief network as a scikit-learn estimator."""

from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_integer, shown
from deepgen.estimators.common.belief import BeliefEstimator
from deepgen.estimators.common.collectives import refuse_processes
from deepgen.estimators.common.documents import reads_documents
from deepgen.estimators.common.fitting import Fitted, Problem, solve
from deepgen.estimators.common.hyperparameters import (
    asked_units,
    check_callbacks,
    check_common,
    check_sizes,
    visible_units,
)
from deepgen.estimators.common.plain_settings import plain_setting, plain_settings
from deepgen.estimators.common.streams import (
    StreamEstimator,
    StreamProblem,
    require_same_layers,
)
from deepgen.estimators.common.validation import reads_tables, rows_to_learn
from deepgen.estimators.documents import RATE, usual_epochs, usual_optimizer, usual_rule
from deepgen.io import checkpoints
from deepgen.layers.binary import Binary
from deepgen.learning.belief_networks import UpDown
from deepgen.learning.evidence import Evidence
from deepgen.learning.hooks import callbacks_for
from deepgen.learning.optimizers import SGD
from deepgen.learning.rules import CD, as_rule, takes_holes
from deepgen.learning.runaway import warn_of_runaway
from deepgen.learning.schedules import Constant, Linear
from deepgen.models import BeliefNetwork
from deepgen.rows.batch import Batch
from deepgen.rows.shards import Shards
from deepgen.rows.sources import ArrayRows
from deepgen.runtime.stream import Stream, child_seed
from deepgen.stacks.settings import Pretraining, check_layers
from deepgen.stacks.stream import StackStream
from deepgen.stacks.trainer import StackTrainer

# What may differ from layer to layer: a sequence with one entry a layer.
BY_LAYER = ("rule", "learning_rate", "optimizer", "n_epochs")
# Steps of `refine`, of documents: without momentum 60 epochs do not go far (docs/decisions.md).
OF_DOCUMENTS = SGD(momentum=0.9, weight_decay=0.0, averaging=0.3)
# Epochs of `refine`: a prior that knows no length has to be learned anew above documents.
REFINED, REFINED_DOCUMENTS = 10, 60
REFINED_RATE = 0.03  # of documents


class DBN(BeliefEstimator, StreamEstimator, BaseEstimator):
    """Deep belief network: layers of features over features, learned one at a time.

    The lowest machine learns the rows, the next one its features, and so on; the uppermost stays
    undirected, the others become directed layers below it (Hinton, Osindero & Teh 2006).

    Parameters
    ----------
    n_hidden : int or sequence of int, default (500, 2000)
        Sizes of the hidden layers, bottom first; an int is one layer.
    visible : {"binary", "gaussian", "multinomial", "auto"} or Units, default "binary"
        See :class:`RBM`. ``"multinomial"``: counts of words, so that the lowest machine is a
        :class:`ReplicatedSoftmax`, whose settings it has where a value here is None; call
        :meth:`refine` after `fit`, or the network is no better than that. Hidden units are binary.
    rule : {"pcd", "cd"}, rule, None, or sequence with one a layer
        None: ``"pcd"``.
    learning_rate : float, schedule, None, or sequence with one a layer
        None: what an RBM of the same units takes, decaying to zero; a quarter of it for a layer
        that starts `transposed`.
    optimizer : SGD, Adam, None, or sequence with one a layer
    batch_size : int, default 100
    n_epochs : int, None, or sequence with one a layer
        Of each layer. None: as many as the rows call for, the same for all; see :class:`RBM`, and
        for documents :class:`ReplicatedSoftmax`.
    features : {"samples", "means"}, default "samples"
        What a layer reads of the one below: states, drawn anew for each presentation of a row,
        which the bound on log p(v) is about, or mean activities, for stacks of features
        (:class:`Pretraining` of the deep networks has them by default).
    transposed : bool, default False
        Start each layer from the machine below, turned over, so that the network starts as good
        as that machine; a layer then needs at least the units of the layer two below it, and
        visible units must be binary. Where the density counts, take it, and compare with an RBM:
        further layers need not be better than the first one (docs/decisions.md, "Features of a
        belief network").
    random_state : int, RandomState, Generator or None
        Machine `l` trains with ``dg.child_seed(random_state, l)``. The same seed gives the same
        bits for any number of threads.
    n_threads : int or None
        None: ``OMP_NUM_THREADS``, else all cores that this process may use.
    callbacks : sequence of callable or None
        Called with an ``EpochReport`` after each epoch of each layer, whose number is in
        ``report.entry["layer"]``; a true value ends the training of that layer. Those that watch
        rows watch the lowest one.
    verbose : int, default 0
        1 shows a progress bar for each layer.
    communicator : communicator or None
        ``dg.distributed.mpi()``: the processes of an MPI job share the run, each with its part of
        every batch (docs/guide/cluster.md). All of them call the same methods. None: this one.

    Attributes
    ----------
    model_ : BeliefNetwork
    stack_ : list of BoltzmannMachine
        The machines as they were trained, bottom first.
    history_ : list of dict
        One entry an epoch of a layer; ``layer`` is its number, from 0.
    refinement_ : list of dict
        One entry an epoch of the last :meth:`refine`.
    n_features_in_ : int
    n_updates_, n_epochs_ : list of int
        By layer: updates made; epochs as asked for or chosen.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> X = (np.random.default_rng(0).random((200, 16)) < 0.3).astype(np.uint8)
    >>> dbn = dg.DBN(n_hidden=(8, 4), n_epochs=2, random_state=0).fit(X)
    >>> dbn.transform(X).shape
    (200, 4)
    """

    _saved_as = "DBN"
    takes_files = True

    def __init__(
        self, n_hidden=(500, 2000), *, visible="binary", rule=None, learning_rate=None,
        optimizer=None, batch_size=100, n_epochs=None, features="samples", transposed=False,
        random_state=None, n_threads=None, callbacks=None, verbose=0, communicator=None,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.visible = visible
        self.rule = rule
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.features = features
        self.transposed = transposed
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose
        self.communicator = communicator

    # --- learning -----------------------------------------------------------------------------

    def fit(self, X, y=None, *, resume=None):
        """Learn from rows, a layer at a time.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or iterable of batches, (n_samples, n_features)
            See :meth:`RBM.fit`.
        y : ignored
        resume : str, path-like or None
            A file that :class:`deepgen.Checkpoint` has written: the run goes on from there, in
            the layer that it was in, with the same bits; see :meth:`RBM.fit`.

        Returns
        -------
        DBN
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or a value of X is not valid, or if the checkpoint is that of another
            run; raised before any work. ModelFileError is one of them: the file is damaged.
        FileNotFoundError
            If there is no such checkpoint.
        KeyboardInterrupt, DivergedError
            After Ctrl-C, or if a parameter is no longer finite: `model_` then has the layers so
            far, the last one as it was after its last good update.
        RuntimeError
            If another thread is fitting this estimator.
        """
        return self._fit(X, y, resume)

    def partial_fit(self, X, y=None):
        """Learn from more rows, a batch of at most `batch_size` at a time, in their order.

        Each batch makes an update of every layer, bottom first: a layer reads the features of the
        layers below as they are then. What :meth:`RBM.partial_fit` says of how calls are cut, of
        the first rows, of learning rates and of :meth:`save_checkpoint` holds for each layer.
        After `fit` learning goes on from the fitted machines. Callbacks are not called.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        DBN
            This estimator.
        """
        return self._partial_fit(X, lambda rows, first: self._problem(rows, y))

    def refine(
        self, X, n_epochs=None, *, rule=None, learning_rate=None, optimizer=None, resume=None
    ):
        """Let all layers learn together: the up-down algorithm, after the greedy start.

        Generative and recognition weights part; `stack_` stays as it was, and `partial_fit`
        cannot follow. `batch_size`, `random_state`, `callbacks` and `verbose` are those of the
        estimator; of the callbacks, those that watch a Boltzmann machine are left out.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or iterable of batches, (n_samples, n_features)
        n_epochs : int or None
            None: 10; of documents 60.
        rule : rule or None
            Of the top machine. None: ``dg.CD(3)``.
        learning_rate : float, schedule or None
            None: 0.1, or 0.01 for Gaussian units, or 0.03 of documents, decaying to zero.
        optimizer : SGD, Adam or None
            None: ``dg.SGD()``; of documents with momentum 0.9, without decay, and the last 30 %
            averaged.
        resume : str, path-like or None
            A file that :class:`deepgen.Checkpoint` has written in such a refinement: it goes on
            from there, with the same bits. This estimator must hold the model that the
            refinement began with, or be the one that it was stopped in.

        Returns
        -------
        DBN
            This estimator; ``refinement_`` has one entry an epoch.

        Raises
        ------
        ValueError, FileNotFoundError, KeyboardInterrupt, DivergedError, RuntimeError
            See :meth:`fit`. `model_` is that of the last good update.
        """
        check_is_fitted(self)
        refuse_processes(self, "refine", "set_params(communicator=None) before it, in one of them")
        documents = self.model_.visible.takes_trials
        if n_epochs is None:
            n_epochs = REFINED_DOCUMENTS if documents else REFINED
        check_integer(n_epochs, "n_epochs")
        self._check_settings()
        if optimizer is None:
            optimizer = OF_DOCUMENTS if documents else SGD()
        if learning_rate is None and documents:
            learning_rate = Linear(REFINED_RATE, 0.0)
        settings = UpDown(CD(3) if rule is None else as_rule(rule), learning_rate, optimizer)

        def make_problem():
            if isinstance(X, Shards):
                raise TypeError(f"X must be an array or an iterable of batches, got {X!r}")
            rows = rows_to_learn(self, X, reset=False)
            return _Refinement(self, rows, settings, n_epochs)

        return solve(self, make_problem, resume)

    def _check_settings(self):
        self._settings()

    def _problem(self, rows, y):
        return _StackProblem(self, self._settings(), rows)

    def _settings(self):
        """Return the settings of each layer after a check of all hyper-parameters."""
        sizes = check_sizes(self.n_hidden)
        check_integer(self.batch_size, "batch_size")
        check_common(self)
        check_callbacks(self.callbacks)
        if asked_units(self).n_copies != 1:
            raise ValueError("visible must not have tied copies, got n_copies > 1")
        values = {name: _by_layer(getattr(self, name), name, len(sizes)) for name in BY_LAYER}
        settings = []
        for l, each in enumerate(zip(*values.values(), strict=True)):
            if l == 0 and reads_documents(self):
                each = _of_documents(*each)
            try:
                settings.append(self._settings_of_layer(*each))
            except ValueError as error:
                name, _, rest = str(error).partition(" ")
                if name not in BY_LAYER or not _is_by_layer(getattr(self, name)):
                    raise
                raise ValueError(f"{name}[{l}] {rest}") from None
        return settings

    def _settings_of_layer(self, rule, learning_rate, optimizer, n_epochs):
        optimizer = SGD() if optimizer is None else optimizer
        rule = as_rule("pcd" if rule is None else rule)
        return Pretraining(
            n_epochs, rule, learning_rate, optimizer, int(self.batch_size), self.features,
            self.transposed,
        )  # fmt: skip

    # --- files --------------------------------------------------------------------------------

    @classmethod
    def from_model(cls, model):
        """Return a fitted estimator around a core model.

        Parameters
        ----------
        model : BeliefNetwork
        """
        if not isinstance(model, BeliefNetwork):
            raise ValueError(
                f"model must be a BeliefNetwork, got {shown(model)}; of machines, bottom first, "
                "make one with BeliefNetwork.from_stack([...])"
            )
        visible = model.visible
        dbn = cls(model.sizes[1:], visible=type(visible)(**visible.options()))
        dbn.model_, dbn.stack_ = model, model.stack
        dbn.history_, dbn.n_updates_ = [], [0] * len(model.stack)
        dbn.n_features_in_ = visible.size
        dbn._fitted = Fitted()
        return dbn


def _of_documents(rule, learning_rate, optimizer, n_epochs):
    """Return settings of the lowest layer of documents: None is what a replicated softmax has."""
    return (
        usual_rule() if rule is None else rule,
        Constant(RATE) if learning_rate is None else learning_rate,
        usual_optimizer() if optimizer is None else optimizer,
        n_epochs,
    )


def _is_by_layer(value):
    return isinstance(value, list | tuple | np.ndarray)


def _by_layer(value, name, n_layers):
    """Return one value for each layer: a sequence has one each, anything else is for all."""
    if not _is_by_layer(value):
        return [value] * n_layers
    if len(value) != n_layers:
        raise ValueError(
            f"{name} must be one value, or a sequence of {n_layers}, one for each layer in "
            f"n_hidden, got {shown(value)}"
        )
    return list(value)


class _StackProblem(StreamProblem):
    """The greedy training of a stack, layer by layer, or all layers at once in a stream.

    Parameters
    ----------
    dbn : DBN
    layer_settings : list of Pretraining
        One for each machine.
    rows : ArrayRows, IterableRows or None
    """

    def __init__(self, dbn, layer_settings, rows=None):
        super().__init__(dbn, rows)
        self.layer_settings, self.rule = layer_settings, layer_settings[0].rule
        hidden = [Binary(size) for size in check_sizes(dbn.n_hidden)]
        self.layers = [visible_units(dbn, dbn.n_features_in_), *hidden]
        check_layers(self.layers, layer_settings)

    @property
    def units(self):
        """The visible units."""
        return self.layers[0]

    @property
    def takes_holes(self):
        """Whether the rule of the lowest machine learns from rows with NaN."""
        return takes_holes(self.rule)

    # --- settings -----------------------------------------------------------------------------

    def draw(self, seed):
        """Choose the epochs of documents, now that their number is known."""
        if self.units.takes_trials:
            n_epochs = usual_epochs(self.survey.n_rows, self.estimator.batch_size)
            self.layer_settings = [
                replace(each, n_epochs=n_epochs) if each.n_epochs is None else each
                for each in self.layer_settings
            ]

    def _resolved(self):
        by_layer = {
            name: [getattr(each, name) for each in self.layer_settings] for name in BY_LAYER
        }
        dbn = self.estimator
        return {
            **by_layer, "n_hidden": list(check_sizes(dbn.n_hidden)),
            "visible": self.units if reads_tables(dbn) else asked_units(dbn),
        }  # fmt: skip

    def settings(self, n_rows):
        """Return the settings that decide the bits of a run of `fit`, as plain data."""
        evidence = partial(Evidence.of_rows, self.rows, self.units, self.survey.moments)
        n_epochs = [each.epochs(evidence) for each in self.layer_settings]
        counts = {"n_samples": int(n_rows), "n_epochs": n_epochs}
        return plain_settings(self.estimator, {**self._resolved(), **counts})

    def stream_settings(self):
        """Return the settings that decide the bits of a stream, as plain data."""
        return plain_settings(self.estimator, self._resolved(), without=("n_epochs",))

    # --- runs ---------------------------------------------------------------------------------

    def run(self, beginning):
        """Return the run of all layers."""
        run = StackTrainer(
            self.rows, self.layers, self.layer_settings, moments=beginning.survey.moments,
            random_state=beginning.seed, frame=beginning.frame,
            n_threads=self.estimator.n_threads,
        )  # fmt: skip
        run.collective = self.collective
        stopped = beginning.stopped
        if stopped is not None:
            state = {"stack": stopped.frame.get("stack"), "trainer": stopped.state}
            checkpoints.restore(run, state, stopped.path)
        return run

    def learn(self, run, settings, n_rows):
        """Let the layers learn that are not finished."""
        run.fit(verbose=self.estimator.verbose)
        warn_of_runaway(run.stack()[0], self.rows)

    def keep(self, run, score_seed):
        """Set what is fitted: the machines, and the network that they are."""
        dbn = self.estimator
        dbn.stack_ = run.stack()
        dbn.model_ = BeliefNetwork.from_stack(dbn.stack_)
        dbn.history_, dbn.n_updates_ = run.history, run.n_updates
        dbn._fitted = Fitted(score_seed, run.particles)
        vars(dbn).pop("refinement_", None)

    # --- streams ------------------------------------------------------------------------------

    def first_run(self, X, seed):
        """Return a new run of a stream."""
        return StackStream.begin(
            ArrayRows(X), self.layers, self.layer_settings, random_state=seed,
            n_threads=self.estimator.n_threads,
        )  # fmt: skip

    def blank_run(self, seed):
        """Return a run of the right shapes."""
        return StackStream.blank(
            self.layers, self.layer_settings, random_state=seed,
            n_threads=self.estimator.n_threads,
        )  # fmt: skip

    def run_after_fit(self, seed):
        """Return a run that goes on from the fitted machines."""
        dbn = self.estimator
        run = StackStream(
            dbn.stack_, self.layer_settings, random_state=seed, n_threads=dbn.n_threads
        )
        run.go_on(dbn.n_updates_, dbn.history_, dbn._fitted.particles)
        return run

    def require_fitted_layers(self):
        """Raise ValueError where the fitted machines are not those of a greedy stack of these."""
        dbn, machines = self.estimator, self.estimator.stack_
        if hasattr(dbn, "refinement_") or not dbn.model_.is_tied:
            raise ValueError(
                "partial_fit trains greedily and would lose what refine has taught this model; "
                "call refine, or fit anew"
            )
        if len(machines) != len(self.layer_settings):
            raise ValueError(
                f"n_hidden asks for {len(self.layer_settings)} layers, but partial_fit goes on "
                f"with {len(machines)}; call fit, or set the parameters back"
            )
        names = ("visible", *(f"n_hidden[{l}]" for l in range(len(machines))))
        for l, machine in enumerate(machines):
            pair = slice(l, l + 2)
            require_same_layers(machine.layers, self.layers[pair], names[pair])

    def step(self, run, batch):
        """Let every machine make one update."""
        run.settings = self.layer_settings  # the rate may have changed between two calls
        run.step(Batch((batch,)))


class _Refinement(Problem):
    """The up-down algorithm on a fitted belief network.

    Parameters
    ----------
    dbn : DBN
    rows : ArrayRows or IterableRows
    up_down : UpDown
    n_epochs : int
    """

    tells_epochs = False

    def __init__(self, dbn, rows, up_down, n_epochs):
        super().__init__(dbn, rows)
        self.up_down, self.n_epochs = up_down, n_epochs
        dbn.model_.visible.check_width(np.empty((0, rows.n_columns)), "X")
        if not dbn.model_.layers:  # else the top reads drawn features, without gaps
            self.rule = up_down.rule

    @property
    def units(self):
        """The visible units of the network."""
        return self.estimator.model_.visible

    def settings(self, n_rows):
        """Return the settings that decide the bits of the refinement, as plain data."""
        dbn = self.estimator
        settings = {
            "estimator": f"{type(dbn).__name__}.refine",
            "n_hidden": list(dbn.model_.sizes[1:]),
            "model": dbn.model_,
            **vars(self.up_down),
            "batch_size": int(dbn.batch_size),
            "n_features": int(dbn.n_features_in_),
            "n_samples": int(n_rows),
            "n_epochs": int(self.n_epochs),
        }
        return {name: plain_setting(value) for name, value in settings.items()}

    def accept(self, stopped, settings):
        """Let a refinement go on in the estimator that it was stopped in.

        Its model is that of the stopped run, no longer the one that the refinement began with.
        """
        before, refined_from = stopped.frame.get("settings"), self.estimator._fitted.refined_from
        began_with = before.get("model") if isinstance(before, dict) else None
        if refined_from is not None and began_with == refined_from:
            settings["model"] = refined_from

    def run(self, beginning):
        """Return the run of the up-down algorithm."""
        dbn = self.estimator
        run = self.up_down.run(
            dbn.model_, stream=Stream(child_seed(beginning.seed, "up-down")),
            batch_size=int(dbn.batch_size), n_threads=dbn.n_threads,
        )  # fmt: skip
        run.frame = beginning.frame
        beginning.take_over(run)
        return run

    def callbacks(self, run):
        """Return those of the callbacks that can watch a network."""
        return callbacks_for(super().callbacks(run), run)

    def keep(self, run, score_seed):
        """Set the refined network; the stack stays, and so do the seeds of likelihoods."""
        dbn = self.estimator
        dbn.model_, dbn.refinement_ = run.model(), run.history
        dbn._fitted = replace(
            dbn._fitted, bracket=None, stream=None, refined_from=run.frame["settings"]["model"],
            particles=run.rule_state.particles or dbn._fitted.particles,
        )  # fmt: skip
