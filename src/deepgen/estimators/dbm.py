"""The deep Boltzmann machine as a scikit-learn estimator."""

import hashlib
from dataclasses import replace

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from deepgen import checkpoints, storage
from deepgen.checks import check_flag, check_integer, shown
from deepgen.composition import compose
from deepgen.data import ArrayRows, PairedRows, check_rule, is_iterable_of_batches, survey
from deepgen.errors import ModelFileError
from deepgen.estimators import running, streaming
from deepgen.estimators.deep_boltzmann import DeepBoltzmannEstimator
from deepgen.estimators.networks import setting
from deepgen.estimators.settings import (
    check_callbacks,
    check_common,
    check_objects,
    check_sizes,
    visible_units,
)
from deepgen.estimators.validation import labels_of, rows_to_learn
from deepgen.model_forms import as_tree, from_tree
from deepgen.models import BoltzmannMachine
from deepgen.optimizers import SGD, as_schedule
from deepgen.pretraining import check_layers, is_greedy, settings_by_layer
from deepgen.rules import CD, PCD, MeanFieldPCD
from deepgen.stacking import StackTrainer
from deepgen.states import as_states
from deepgen.stream import Stream, child_seed, seed_of
from deepgen.training import (
    HIDDEN_BIAS,
    Trainer,
    default_epochs,
    default_schedule,
    default_stream_schedule,
    initial_deep_model,
    with_top,
)
from deepgen.units import Binary, Softmax, as_units

# Hyper-parameters that decide no bit of a run.
_FREE = ("random_state", "n_threads", "callbacks", "verbose")
# Weights above the first hidden layer move at this share of the rate: a layer whose input is noise
# in the beginning would saturate, and never come back (docs/decisions.md).
UPPER_RATE = 0.25

# Sweeps of the particles before the first update of a machine that has learned already.
SETTLE = 100
# Rows of the data that its centring starts from.
SOME_ROWS = 1_000


class DBM(DeepBoltzmannEstimator, BaseEstimator):
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
        Stands in `y` for rows without a label: theirs is inferred.
    pretrained : Pretraining, sequence of Pretraining, BoltzmannMachine or None
        None: all layers start from small random weights, which centring makes possible. Settings:
        a greedy start, a layer at a time, with tied copies (:func:`deepgen.compose`). A model of
        these layers: go on from it. When to use which: the guide.
    rule : MeanFieldPCD or None
        None: ``dg.MeanFieldPCD()``.
    learning_rate : float, schedule or None
        None: half of what an RBM of the same units takes, decaying to zero.
    optimizer : SGD, Adam or None
        None: ``dg.SGD`` with a quarter of the rate for the weights above the first hidden layer.
    batch_size : int, default 100
    n_epochs : int or None
        Of the joint training. None: enough for 5,000 updates.
    binarize : bool, default False
        Draw binary states from grey values afresh at each presentation.
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
    n_features_in_, n_updates_ : int

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
        pretrained=None, rule=None, learning_rate=None, optimizer=None, batch_size=100,
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
        resume = running.checked_resume(resume)
        with running.alone(self):
            with running.unchanged_on_error(self):
                frame = state = None
                if resume is not None:
                    frame, state = checkpoints.load(resume)
                    seed = running.seed_in(self, frame, resume)
                else:
                    seed = seed_of(self.random_state)
                rows = rows_to_learn(self, X, reset=True)
                targets = self._targets(y, rows)
                layers = self._layers(rows.n_columns)
                found = running.surveyed(rows, layers[0], self.n_threads)
                check_rule(rows, layers[0], self._rule())
                plain = self._plain_settings(found.n_rows, targets)
                if frame is not None:
                    running.require_same_run(frame, plain, found, resume)
                new = {
                    **running.seeds_of(seed), "settings": plain, **running.marks_of(found),
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

        What :meth:`RBM.partial_fit` says of how calls are cut, of the first rows and of learning
        rates holds here. A stream has no greedy start: `pretrained` must be None or a model.
        Callbacks are not called.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or None
            Read with label units only.
        classes : array-like or None
            All labels that will come. Needed in the first call where there are label units.

        Returns
        -------
        DBM
            This estimator.
        """
        first = not hasattr(self, "model_")
        self._check_settings()
        if is_greedy(self.pretrained):
            raise ValueError(
                "partial_fit cannot start greedily, a layer at a time; leave pretrained out, or "
                "pass a model"
            )
        if is_iterable_of_batches(X):
            raise ValueError(
                "X must be an array or a sparse matrix for partial_fit, got "
                f"{type(X).__name__}; call partial_fit with each of its batches"
            )
        with running.alone(self):
            with running.unchanged_on_error(self):
                rows = rows_to_learn(self, X, reset=first)
                targets = self._targets(y, rows, classes, stream=True)
                layers = self._layers(rows.n_columns)
                survey(rows, layers[0], n_threads=self.n_threads)
                check_rule(rows, layers[0], self._rule())
                kind = _Stream(self, layers, rows.n_columns)
                run, joint = streaming.run_for(self, _joined(rows.X, targets), kind)
            self._score_seed = run.frame["score_seed"]

            def step(batch):
                run.schedule = self._stream_schedule(layers, batch.shape[0])
                run.step(kind.parts(batch), None)

            try:
                streaming.learn(step, joint, self.batch_size)
            finally:
                self._keep(run)
                self._trainer = run
        return self

    # --- settings -----------------------------------------------------------------------------

    def _check_settings(self):
        sizes = check_sizes(self.n_hidden)
        check_integer(self.batch_size, "batch_size")
        if self.n_epochs is not None:
            check_integer(self.n_epochs, "n_epochs")
        check_common(self)
        check_callbacks(self.callbacks)
        check_objects(self, ("rule", "learning_rate", "optimizer", "pretrained"))
        for name in ("label_units", "binarize"):
            check_flag(getattr(self, name), name)
        visible = as_units(self.visible, "visible")
        if visible.n_copies != 1:
            raise ValueError("visible must not have tied copies, got n_copies > 1")
        if self.binarize and not isinstance(visible, Binary):
            raise ValueError(f"binarize needs visible='binary', got visible={self.visible!r}")
        if self.learning_rate is not None:
            as_schedule(self.learning_rate)
        if not hasattr(self._rule(), "phases") or isinstance(self._rule(), CD | PCD):
            raise ValueError(
                "rule must be None or dg.MeanFieldPCD(...), got "
                f"{shown(self.rule)}, which is for two layers"
            )
        rates = getattr(self.optimizer, "rates", None)
        n_weights = len(sizes) + bool(self.label_units)
        if self.optimizer is not None and not hasattr(self.optimizer, "step"):
            raise ValueError(
                f"optimizer must be None, dg.SGD(...) or dg.Adam(...), got {shown(self.optimizer)}"
            )
        if rates is not None and len(rates) != n_weights:
            raise ValueError(
                f"rates of the optimizer must have one factor for each of {n_weights} weight "
                f"matrices, got {len(rates)}"
            )
        if self.pretrained is not None and not is_greedy(self.pretrained):
            self._check_start()

    def _check_start(self):
        if hasattr(self.pretrained, "get_params"):
            raise ValueError(
                f"pretrained must be a core model, got a {type(self.pretrained).__name__}: "
                "scikit-learn's clone would silently strip it of its weights; pass its model_"
            )
        if not isinstance(self.pretrained, BoltzmannMachine):
            raise ValueError(
                "pretrained must be None, dg.Pretraining(...), one for each layer, or a "
                f"dg.BoltzmannMachine, got {shown(self.pretrained)}"
            )

    def _rule(self):
        return MeanFieldPCD() if self.rule is None else self.rule

    def _optimizer(self, n_weights):
        if self.optimizer is not None:
            return self.optimizer
        return SGD(rates=(1.0,) + (UPPER_RATE,) * (n_weights - 1))

    def _schedule(self, layers):
        if self.learning_rate is not None:
            return as_schedule(self.learning_rate)
        usual = default_schedule(layers, self.batch_size)
        return replace(usual, start=0.5 * usual.start)

    def _stream_schedule(self, layers, n_rows):
        if self.learning_rate is not None:
            return as_schedule(self.learning_rate)
        usual = default_stream_schedule(layers, n_rows)
        return replace(usual, value=0.5 * usual.value)

    def _layers(self, n_columns):
        """Return visible and hidden layers, without label units."""
        hidden = [Binary(bias=np.full(n, HIDDEN_BIAS)) for n in check_sizes(self.n_hidden)]
        layers = [visible_units(self, n_columns), *hidden]
        if is_greedy(self.pretrained):
            settings = settings_by_layer(self.pretrained, len(hidden))
            check_layers(layers, settings, tied=True)
        elif self.pretrained is not None:
            found = [(type(units), units.size) for units in self.pretrained.layers]
            wanted = [(type(units), units.size) for units in layers]
            if found[: len(wanted)] != wanted or len(found) > len(wanted) + self.label_units:
                raise ValueError(
                    f"pretrained must have the layers {layers!r}, got "
                    f"{list(self.pretrained.layers)!r}"
                )
        return layers

    def _plain_settings(self, n_rows=None, targets=None):
        """Return the settings that decide the bits of a run, as plain data."""
        names = [name for name in self.get_params(deep=False) if name not in _FREE]
        plain = {
            "estimator": type(self).__name__,
            **{name: setting(getattr(self, name)) for name in names},
            "n_features": int(self.n_features_in_),
        }
        if self.label_units:
            plain["classes"] = np.asarray(self.classes_).tolist()
        if n_rows is None:  # a stream has no end
            del plain["n_epochs"], plain["pretrained"]
            return plain
        plain["n_samples"] = int(n_rows)
        plain["n_epochs"] = int(self.n_epochs or default_epochs(n_rows, self.batch_size))
        if targets is not None:
            plain["y"] = hashlib.sha256(targets.tobytes()).hexdigest()[:16]
        return plain

    # --- labels -------------------------------------------------------------------------------

    def _targets(self, y, rows, classes=None, *, stream=False):
        """Return one-hot rows of the labels, all zero where there is none, or None."""
        if not self.label_units:
            return None
        if not isinstance(rows, ArrayRows):
            raise ValueError("X must be an array or a sparse matrix where label_units is True")
        if y is None:
            raise ValueError("y must hold a label for each row where label_units is True, got None")
        y = labels_of(np.asarray(y))
        if y.shape != (rows.n_rows,):
            raise ValueError(f"y must have shape ({rows.n_rows},), got {y.shape}")
        known = np.ones(len(y), np.bool_)
        if self.unlabelled is not None:
            known = np.broadcast_to(y != np.asarray(self.unlabelled, dtype=object), y.shape)
            known = known.astype(np.bool_)
        if not stream:
            self.classes_ = np.unique(y[known])
        elif not hasattr(self, "classes_"):
            if classes is None:
                raise ValueError("classes must hold all labels in the first call of partial_fit")
            self.classes_ = np.unique(np.asarray(classes))
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must hold at least 2 classes, got {self.classes_.tolist()} beside "
                f"{self.unlabelled!r} (none)"
            )
        place = np.minimum(np.searchsorted(self.classes_, y[known]), len(self.classes_) - 1)
        unknown = self.classes_[place] != y[known]
        if unknown.any():
            raise ValueError(
                f"y must hold labels of {shown(self.classes_.tolist())}, got "
                f"{shown(y[known][unknown][0])}"
            )
        targets = np.zeros((len(y), len(self.classes_)), np.uint8)
        targets[np.flatnonzero(known), place] = 1
        return targets

    def _label_layer(self, targets):
        """Return the label units, at the frequencies of the labels."""
        size = len(self.classes_)
        total = max(int(targets.sum()), 1)
        return Softmax(size, size=size).fitted_to(targets.sum(axis=0) / total, None, total)

    # --- runs ---------------------------------------------------------------------------------

    def _run(self, rows, targets, layers, found, frame, going_on):
        """Return the run of the joint training, after a greedy start where one is asked for."""
        resume, state = going_on
        seed, history, start = frame["seed"], [], self.pretrained
        if is_greedy(self.pretrained):
            trees = frame["stack"]
            if isinstance(trees, list) and len(trees) == len(layers) - 1:
                start = _composed(trees, layers, resume)
            else:
                greedy = self._greedy(rows, layers, found, frame, resume, state)
                history, state, stack = greedy.history, None, greedy.stack()
                frame["stack"] = [as_tree(machine) for machine in stack]
                start = compose(stack, layers=layers)
        stream = Stream.from_random_state(child_seed(seed, "joint"))
        model = self._first_model(layers, start, found.moments, targets, stream)
        run = self._trainer_of(model, self._schedule(model.layers), stream)
        if start is not None:
            run.begin_trained(next(iter(rows.chunks(SOME_ROWS))), SETTLE)
        run.frame, run.history = frame, list(history)
        if state is not None:
            checkpoints.restore(run, state, resume)
        return run

    def _greedy(self, rows, layers, found, frame, resume, state):
        settings = settings_by_layer(self.pretrained, len(layers) - 1)
        settings = [replace(each, binarize=bool(self.binarize)) for each in settings]
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

    def _first_model(self, layers, start, moments, targets, stream):
        """Return the model that joint training starts from, with label units where asked for."""
        n_rows, mean, variance = moments
        top = None if targets is None else self._label_layer(targets)
        if start is None:
            ends = [] if top is None else [top]
            observed = (0,) if top is None else (0, len(layers))
            return initial_deep_model(
                [*layers, *ends], mean, variance, n_rows, stream, observed=observed
            )
        if top is None or start.n_layers > len(layers):
            return start
        return with_top(start, top, stream)

    def _trainer_of(self, model, schedule, stream):
        return Trainer(
            model, self._rule(), self._optimizer(len(model.weights)), schedule, stream=stream,
            batch_size=int(self.batch_size), binarize=bool(self.binarize),
            n_threads=self.n_threads,
        )  # fmt: skip

    def _keep(self, run):
        self.model_ = run.model()
        self.history_, self.n_updates_ = run.history, run.n_updates
        self._particles = run.rule_state.particles
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
        if self.label_units:
            extra["classes"] = self.classes_.tolist()
        storage.save(self.model_, path, extra=extra)

    @classmethod
    def from_model(cls, model, classes=None):
        """Return a fitted estimator around a core model.

        Parameters
        ----------
        model : BoltzmannMachine
            Its hidden layers are binary. One that observes its uppermost layer too has label units
            there.
        classes : array-like or None
            Labels of those units. None: 0, 1, 2, ...
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
            classes = np.arange(units.size) if classes is None else np.asarray(classes)
            if classes.shape != (units.size,):
                raise ValueError(f"classes must hold {units.size} labels, got {classes.shape}")
            dbm.classes_ = classes
        dbm.model_, dbm.history_, dbm.n_updates_ = model, [], 0
        dbm.n_features_in_ = visible.size
        dbm._particles = dbm._trainer = dbm._bracket = None
        dbm._score_seed = 0
        return dbm


def _composed(trees, layers, path):
    """Return the model that the finished machines of a checkpoint make."""
    try:
        return compose([from_tree(tree) for tree in trees], layers=layers)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: damaged (no pretrained machines: {error})") from None


def _joined(X, targets):
    """Return rows and labels side by side, as a stream keeps its first rows."""
    if targets is None:
        return X
    if sparse.issparse(X):
        return sparse.hstack([X, sparse.csr_array(targets)], format="csr")
    kind = X.dtype if X.dtype != np.bool_ else np.uint8
    return np.concatenate([X, targets.astype(kind)], axis=1)


class _Stream:
    """How a stream of `partial_fit` begins and goes on; see :mod:`deepgen.estimators.streaming`.

    Rows have the labels, where there are any, beside them.
    """

    def __init__(self, dbm, layers, n_columns):
        self.dbm, self.layers, self.n_columns = dbm, layers, n_columns

    def parts(self, batch):
        """Return a batch as the trainer takes it."""
        if not self.dbm.label_units:
            return batch
        rows, labels = self._cut(batch)
        return as_states(rows), labels

    def _cut(self, joint):
        whole = joint.to_dense() if hasattr(joint, "to_dense") else joint
        whole = whole.toarray() if sparse.issparse(whole) else whole
        return whole[:, : self.n_columns], whole[:, self.n_columns :].astype(np.uint8)

    def _framed(self, run, seed):
        run.frame = {
            **running.seeds_of(seed), "settings": self.dbm._plain_settings(),
            streaming.FIRST_ROWS: None,
        }  # fmt: skip
        return run

    def begin(self, rows, seed):
        """Return a new run that starts from the moments of its first rows."""
        dbm, targets = self.dbm, None
        if dbm.label_units:
            X, targets = self._cut(rows.X)
            rows = ArrayRows(X)
        moments = survey(rows, self.layers[0], n_threads=dbm.n_threads)
        stream = Stream.from_random_state(seed)
        model = dbm._first_model(self.layers, dbm.pretrained, moments, targets, stream)
        schedule = dbm._stream_schedule(self.layers, dbm.batch_size)
        return self._framed(dbm._trainer_of(model, schedule, stream), seed)

    def after_fit(self):
        """Return a run that goes on from the fitted model and its particles."""
        dbm, seed = self.dbm, seed_of(self.dbm.random_state)
        names = ("visible", *(f"n_hidden[{l}]" for l in range(len(self.layers) - 1)))
        n_hidden = dbm.model_.n_layers - 1 - bool(dbm.label_units)
        if n_hidden != len(self.layers) - 1:
            raise ValueError(
                f"n_hidden asks for {len(self.layers) - 1} layers, but partial_fit goes on with "
                f"{n_hidden}; call fit, or set the parameters back"
            )
        streaming.check_same_layers(dbm.model_.layers[: len(self.layers)], self.layers, names)
        schedule = dbm._stream_schedule(self.layers, dbm.batch_size)
        run = dbm._trainer_of(dbm.model_, schedule, Stream.from_random_state(seed))
        run.go_on(dbm.n_updates_, dbm.history_, dbm._particles)
        return self._framed(run, seed)

    def take_over(self, run):
        """Let the rate and the size of the batches change in a stream; refuse what cannot."""
        plain = self.dbm._plain_settings()
        run.frame["settings"] = streaming.settings_in_stream(run.frame["settings"], plain)
