"""The deep Boltzmann machine as a scikit-learn estimator."""

from dataclasses import replace

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import shown
from deepgen.errors import ModelFileError
from deepgen.estimators.common import guards, runs, streams
from deepgen.estimators.common.deep_boltzmann import DeepBoltzmannEstimator, has_label_units
from deepgen.estimators.common.labels import as_classes, classes_in, one_hot, split_labels
from deepgen.estimators.common.rows import rows_to_learn
from deepgen.estimators.dbm_settings import (
    check_settings,
    first_model,
    layers_of,
    plain_settings,
    rule_of,
    schedule_of,
    start_of,
    stream_schedule_of,
    trainer_of,
)
from deepgen.estimators.dbm_stream import SETTLE, DeepStream, joined
from deepgen.io import checkpoints, model_files
from deepgen.io.schemas.registry import as_tree, from_tree
from deepgen.layers.binary import Binary
from deepgen.layers.softmax import Softmax
from deepgen.learning.rules import check_missing_variables
from deepgen.models import BoltzmannMachine
from deepgen.rows.paired import PairedRows
from deepgen.rows.sources import ArrayRows, is_iterable_of_batches
from deepgen.rows.survey import survey
from deepgen.runtime.stream import Stream, child_seed, seed_of
from deepgen.stacks.composition import compose
from deepgen.stacks.settings import is_greedy, settings_by_layer
from deepgen.stacks.trainer import StackTrainer

# Rows of the data that the centring of a trained start begins with.
SOME_ROWS = 1_000


class DBM(streams.StreamEstimator, DeepBoltzmannEstimator, BaseEstimator):
    """Deep Boltzmann machine: undirected layers of features over features.

    All layers learn together: mean field tells what the rows mean to them, persistent chains what
    the model believes (Salakhutdinov & Hinton 2009). Inference is a fixed point in which upper
    layers correct lower ones.

    Parameters
    ----------
    n_hidden : int or sequence of int, default (500, 1000)
        Sizes of the hidden layers, bottom first; hidden units are binary.
    visible : {"binary", "gaussian"} or Units, default "binary"
        See :class:`RBM`.
    label_units : bool, default False
        Put a group of softmax units on top, one for each class of `y`, so that the model is one of
        rows and labels together, and can :meth:`predict`.
    unlabelled : label or None, default -1
        Stands in `y` for rows without a label: theirs is inferred. None: each row has one.
    pretrained : "auto", Pretraining, sequence of it, BoltzmannMachine or None; default "auto"
        None: all layers start from small random weights, which centring makes possible. Settings:
        a greedy start, a layer at a time, with tied copies (:func:`deepgen.compose`). A model of
        these layers, with or without the label units on top: go on from it. ``"auto"``:
        a greedy start with `n_epochs` and `batch_size` of the joint training for each layer; None
        where there is one hidden layer, and in a stream. When to use which: the guide.
    rule : MeanFieldPCD or None
        None: ``dg.MeanFieldPCD()``.
    learning_rate : float, schedule or None
        Of the joint training. None: half of what an RBM of the same units takes, to zero.
    optimizer : SGD, Adam or None
        None: ``dg.SGD`` with a quarter of the rate for the weights above the first hidden layer.
    batch_size : int, default 100
    n_epochs : int or None
        Of the joint training. None: enough for 5,000 updates.
    binarize : bool, default False
        Draw binary states from grey values afresh at each presentation, in a greedy start too.
    random_state : int, RandomState, Generator or None
        The same seed gives the same bits for any number of threads.
    n_threads : int or None
        None: ``OMP_NUM_THREADS``, else all cores that this process may use.
    callbacks : sequence of callable or None
        Called with an ``EpochReport`` after each epoch, of a greedy start too, whose entries have
        a ``"layer"``; a true value ends the training of that layer, or of the whole.
    verbose : int, default 0
        1 shows a progress bar.

    Attributes
    ----------
    model_ : BoltzmannMachine
    classes_ : ndarray of shape (n_classes,)
        With label units: the label of each unit of the uppermost layer.
    history_ : list of dict
        One entry an epoch.
    n_features_in_ : int
    n_updates_ : int
        Of the joint training.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> X = (np.random.default_rng(0).random((200, 16)) < 0.3).astype(np.uint8)
    >>> dbm = dg.DBM(n_hidden=(8, 4), n_epochs=2, random_state=0).fit(X)
    >>> dbm.transform(X).shape
    (200, 4)
    """

    def __init__(
        self, n_hidden=(500, 1000), *, visible="binary", label_units=False, unlabelled=-1,
        pretrained="auto", rule=None, learning_rate=None, optimizer=None, batch_size=100,
        n_epochs=None, binarize=False, random_state=None, n_threads=None, callbacks=None,
        verbose=0,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.visible = visible
        self.label_units = label_units
        self.unlabelled = unlabelled
        self.pretrained = pretrained
        self.rule = rule
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.binarize = binarize
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose

    # --- learning -----------------------------------------------------------------------------

    def fit(self, X, y=None, *, resume=None):
        """Learn from rows, and from labels where the model has units for them.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or iterable of batches, (n_samples, n_features)
            See :meth:`RBM.fit`. With label units an array or a sparse matrix.
        y : array-like of shape (n_samples,) or None
            Labels; read with label units only.
        resume : str, path-like or None
            A file that :class:`deepgen.Checkpoint` has written: the run goes on from there, in
            the greedy start or in the joint training, with the same bits; see :meth:`RBM.fit`.

        Returns
        -------
        DBM
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or a value is not valid, or if the checkpoint is that of another run;
            raised before any work. ModelFileError is one of them: the file is damaged.
        FileNotFoundError
            If there is no such checkpoint.
        KeyboardInterrupt, DivergedError
            After Ctrl-C, or if a parameter is no longer finite: `model_` is then that of the last
            good update of the joint training; in a greedy start there is none yet.
        RuntimeError
            If another thread is fitting this estimator.
        """
        self._check_settings()
        resume = runs.checked_resume(resume)
        with guards.alone(self):
            with guards.unchanged_on_error(self):
                frame = state = None
                if resume is not None:
                    frame, state, seed = runs.read_run(self, resume)
                else:
                    seed = seed_of(self.random_state)
                rows = rows_to_learn(self, X, reset=True)
                targets = self._targets(y, rows)
                layers = layers_of(self, rows.n_columns)
                found = runs.surveyed(rows, layers[0], self.n_threads)
                check_missing_variables(rows, layers[0], rule_of(self))
                plain = plain_settings(self, found.n_rows, targets)
                if frame is not None:
                    runs.require_same_run(frame, plain, found, resume)
                new = {
                    **runs.origin_of(seed), "settings": plain, **runs.marks_of(found),
                    "stack": frame and frame.get("stack"),
                }  # fmt: skip
                run = self._run(rows, targets, layers, found, new, (resume, state))
                run.attach(self.callbacks or ())
            self._score_seed = run.frame["score_seed"]
            data = rows if targets is None else PairedRows(rows.X, targets)
            try:
                if not run.finished:
                    run.fit(data, plain["n_epochs"], found.n_rows, verbose=self.verbose)
            finally:
                self._keep(run)
        return self

    def partial_fit(self, X, y=None, *, classes=None):
        """Learn from more rows, a batch of at most `batch_size` at a time, in their order.

        What :meth:`RBM.partial_fit` says of how calls are cut, of the first rows, of learning
        rates and of :meth:`save_checkpoint` holds here. A stream has no greedy start: `pretrained`
        must be ``"auto"`` (as None here), None or a model. Callbacks are not called.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or None
            Read with label units only.
        classes : array-like or None
            All labels that will come. Needed in the first call where there are label units;
            later ones may repeat it.

        Returns
        -------
        DBM
            This estimator.
        """
        first = not hasattr(self, "model_")
        self._check_settings()
        if first and is_greedy(start_of(self, stream=True)):
            raise ValueError(
                "partial_fit cannot start greedily, a layer at a time; leave pretrained out, or "
                "pass a model"
            )
        if is_iterable_of_batches(X):
            raise ValueError(
                "X must be an array or a sparse matrix for partial_fit, got "
                f"{type(X).__name__}; call partial_fit with each of its batches"
            )
        with guards.alone(self):
            with guards.unchanged_on_error(self):
                rows = rows_to_learn(self, X, reset=first)
                self._take_classes(classes, first)
                targets = self._targets(y, rows, stream=True)
                layers = layers_of(self, rows.n_columns)
                survey(rows, layers[0], n_threads=self.n_threads)
                check_missing_variables(rows, layers[0], rule_of(self))
                kind = DeepStream(self, layers)
                run, X = streams.run_for(self, joined(rows.X, targets), kind)
                self._score_seed = run.frame["score_seed"]

            def step(batch):
                run.schedule = stream_schedule_of(self, layers, batch.shape[0])
                run.step(kind.parts(batch), None)

            try:
                streams.learn(step, X, self.batch_size)
            finally:
                self._keep(run)
                self._trainer = run
        return self

    # --- labels -------------------------------------------------------------------------------

    def _take_classes(self, classes, first):
        """Take over the classes of a stream; refuse a change of them, or of label units."""
        if not first and bool(self.label_units) != has_label_units(self):
            raise ValueError(
                f"label_units is {self.label_units}, but partial_fit goes on with a model that has "
                f"{'none' if self.label_units else 'some'}; call fit, or set it back"
            )
        if not self.label_units:
            return
        if first and classes is None:
            raise ValueError("classes must hold all labels in the first call of partial_fit")
        if first:
            self.classes_ = np.sort(as_classes(classes))
            if self.unlabelled is not None and self.unlabelled in self.classes_.tolist():
                raise ValueError(
                    f"classes must not hold {self.unlabelled!r}, which stands for rows without a "
                    "label; pass unlabelled=None if it is a class"
                )
        elif classes is not None and set(as_classes(classes).tolist()) != set(
            self.classes_.tolist()
        ):
            raise ValueError(
                f"classes must stay {shown(self.classes_.tolist())} within a stream, got "
                f"{shown(classes)}"
            )

    def _targets(self, y, rows, *, stream=False):
        """Return one-hot rows of the labels, all zero where there is none, or None."""
        if not self.label_units:
            vars(self).pop("classes_", None)
            return None
        if not isinstance(rows, ArrayRows):
            raise ValueError("X must be an array or a sparse matrix where label_units is True")
        known, labels = split_labels(y, rows.n_rows, self.unlabelled)
        if not stream:
            self.classes_ = classes_in(labels, self.unlabelled)
        return one_hot(known, labels, self.classes_)

    # --- runs ---------------------------------------------------------------------------------

    def _check_settings(self):
        check_settings(self)

    def _stream_of(self, settings):
        if settings is not None and self.label_units:
            # of a stream without labels: any will do, because the settings are compared next
            self.classes_ = as_classes(settings.get("classes", [0, 1]))
        return DeepStream(self, layers_of(self, self.n_features_in_))

    def _run(self, rows, targets, layers, found, frame, going_on):
        """Return the run of the joint training, after a greedy start where one is asked for."""
        resume, state = going_on
        seed, history, start = frame["seed"], [], start_of(self)
        stream = Stream.from_random_state(child_seed(seed, "joint"))
        if is_greedy(start):
            # what the joint training refuses of callbacks, it refuses before the greedy start
            self._joint(layers, None, found, targets, stream).attach(self.callbacks or ())
            trees = frame["stack"]
            if isinstance(trees, list) and len(trees) == len(layers) - 1:
                start = _composed(trees, layers, resume)
            else:
                greedy = self._greedy(rows, layers, found, frame, resume, state)
                history, state, stack = greedy.history, None, greedy.stack()
                frame["stack"] = [as_tree(machine) for machine in stack]
                start = compose(stack, layers=layers)
        run = self._joint(layers, start, found, targets, stream)
        if start is not None:
            run.begin_trained(next(iter(rows.chunks(SOME_ROWS))), SETTLE)
        run.frame, run.history = frame, list(history)
        if state is not None:
            checkpoints.restore(run, state, resume)
        return run

    def _joint(self, layers, start, found, targets, stream):
        model = first_model(layers, start, found.moments, targets, stream)
        return trainer_of(self, model, schedule_of(self, model.layers), stream)

    def _greedy(self, rows, layers, found, frame, resume, state):
        settings = settings_by_layer(start_of(self), len(layers) - 1)
        if self.binarize:
            settings = [replace(each, binarize=True) for each in settings]
        trees = frame.pop("stack")
        run = StackTrainer(
            rows, layers, settings, moments=found.moments, tied=True, frame=frame,
            random_state=child_seed(frame["seed"], "stack"), n_threads=self.n_threads,
        )  # fmt: skip
        if state is not None:
            checkpoints.restore(run, {"stack": trees, "trainer": state}, resume)
        run.attach(self.callbacks or ())
        run.fit(verbose=self.verbose)
        return run

    def _keep(self, run):
        self.model_ = run.model()
        self.history_, self.n_updates_ = run.history, run.n_updates
        self._particles = run.rule_state.particles
        self._offsets = run.rule_state.offsets
        self._trainer = self._bracket = None

    # --- files --------------------------------------------------------------------------------

    def save(self, path):
        """Write the model to one file, atomically; :func:`deepgen.load` reads it.

        See :meth:`RBM.save`.

        Parameters
        ----------
        path : str or path-like
            By custom ending in ``.safetensors``.
        """
        check_is_fitted(self)
        extra = {"estimator": "DBM", "score_seed": self._score_seed}
        if has_label_units(self):
            extra["classes"] = self.classes_.tolist()
        model_files.save(self.model_, path, extra=extra)

    @classmethod
    def from_model(cls, model, classes=None):
        """Return a fitted estimator around a core model.

        Parameters
        ----------
        model : BoltzmannMachine
            Its hidden layers are binary. One that observes its uppermost layer too has label units
            there.
        classes : array-like or None
            Labels of those units, all different. None: 0, 1, 2, ...

        Raises
        ------
        ValueError
            If the model has other layers, or not one label for each label unit.
        """
        if not isinstance(model, BoltzmannMachine):
            raise ValueError(f"model must be a BoltzmannMachine, got {shown(model)}")
        top = model.n_layers - 1
        if model.observed not in ((0,), (0, top)):
            raise ValueError(
                f"model must observe its first layer, or its first and its last, got layers "
                f"{model.observed}"
            )
        labelled = len(model.observed) == 2
        hidden = model.layers[1 : top if labelled else top + 1]
        if not hidden or not all(isinstance(u, Binary) and u.n_copies == 1 for u in hidden):
            raise ValueError(f"model must have binary hidden layers, got {list(model.layers)!r}")
        visible = model.visible
        dbm = cls(
            tuple(units.size for units in hidden),
            visible=type(visible)(**visible.options()), label_units=labelled,
        )  # fmt: skip
        if labelled:
            units = model.layers[top]
            if not isinstance(units, Softmax) or units.group != units.size:
                raise ValueError(f"model must have one softmax group on top, got {units!r}")
            classes = np.arange(units.size) if classes is None else classes
            dbm.classes_ = as_classes(classes, units.size)
        elif classes is not None:
            raise ValueError(
                f"classes must be None for a model without label units, got {shown(classes)}"
            )
        dbm.model_, dbm.history_, dbm.n_updates_ = model, [], 0
        dbm.n_features_in_ = visible.size
        dbm._particles = dbm._offsets = dbm._trainer = dbm._bracket = None
        dbm._score_seed = 0
        return dbm


def _composed(trees, layers, path):
    """Return the model that the finished machines of a checkpoint make."""
    try:
        return compose([from_tree(tree) for tree in trees], layers=layers)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: damaged (no pretrained machines: {error})") from None
