"""The deep Boltzmann machine as a scikit-learn estimator."""

import hashlib
from dataclasses import replace
from functools import partial

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator

from deepgen.checks import shown
from deepgen.estimators.common.deep_boltzmann import DeepBoltzmannEstimator, has_label_units
from deepgen.estimators.common.fitting import Fitted, greedy_start
from deepgen.estimators.common.hyperparameters import check_sizes
from deepgen.estimators.common.labels import (
    are_label_units,
    as_classes,
    classes_in,
    has_label,
    one_hot,
    split_labels,
)
from deepgen.estimators.common.machines import MachineProblem
from deepgen.estimators.common.streams import StreamEstimator, require_same_layers
from deepgen.estimators.dbm_settings import (
    check_settings,
    first_model,
    layers_of,
    optimizer_of,
    rule_of,
    start_of,
)
from deepgen.estimators.documents import usual_epochs
from deepgen.io.classes import classes_of_plain, plain_classes
from deepgen.learning.evidence import MOST_UPDATES
from deepgen.models import BoltzmannMachine
from deepgen.rows.batch import Batch
from deepgen.rows.paired import LabelledRows
from deepgen.rows.sources import ArrayRows
from deepgen.rows.states import as_states, dense
from deepgen.rows.survey import survey
from deepgen.runtime.stream import Stream, child_seed
from deepgen.stacks.composition import compose
from deepgen.stacks.settings import is_greedy, settings_by_layer

# Rows of the data that the centring of a trained start begins with.
SOME_ROWS = 1_000
# Sweeps of the particles before the first update of a machine that has learned already.
SETTLE = 100


class DBM(StreamEstimator, DeepBoltzmannEstimator, BaseEstimator):
    """Deep Boltzmann machine: undirected layers of features over features.

    All layers learn together: mean field tells what the rows mean to them, persistent chains what
    the model believes (Salakhutdinov & Hinton 2009). Inference is a fixed point in which upper
    layers correct lower ones.

    Parameters
    ----------
    n_hidden : int or sequence of int, default (500, 1000)
        Sizes of the hidden layers, bottom first; hidden units are binary.
    visible : {"binary", "gaussian", "multinomial", "auto"} or Units, default "binary"
        See :class:`RBM`. ``"multinomial"``: counts of words, whose number each row has of its own;
        log Z is then one for each length. A :class:`DBN` of documents is the better model.
    label_units : bool, default False
        Put a group of softmax units on top, one for each class of `y`, so that the model is one of
        rows and labels together, and can :meth:`predict`.
    unlabelled : label, NaN or None, default None
        Stands in `y` for rows without a label: theirs is inferred. None: each row has one, and -1
        is a class like any other. -1: as in scikit-learn's semi-supervised estimators. NaN:
        missing values, which are NaN, None and ``pandas.NA``.
    pretrained : "auto", Pretraining, sequence of it, BoltzmannMachine or None; default "auto"
        None: all layers start from small random weights, which centring makes possible. Settings:
        a greedy start, a layer at a time, with tied copies (:func:`deepgen.compose`). A model of
        these layers, with or without the label units on top: go on from it. ``"auto"``:
        a greedy start with `n_epochs` and `batch_size` of the joint training for each layer; None
        where there is one hidden layer, in a stream, and, without `n_epochs` and label units, of
        rows that are too few for 5,000 updates. When to use which: the guide.
    rule : MeanFieldPCD or None
        None: ``dg.MeanFieldPCD()``.
    learning_rate : float, schedule or None
        Of the joint training. None: half of what an RBM of the same units takes, to zero; all of
        it where rows are too few for a greedy start.
    optimizer : SGD, Adam or None
        None: ``dg.SGD`` with a quarter of the rate for the weights above the first hidden layer.
    batch_size : int, default 100
    n_epochs : int or None
        Of the joint training. None: as many as the rows call for; see :class:`RBM`.
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
    communicator : communicator or None
        ``dg.distributed.mpi()``: the processes of an MPI job share the run, each with its part of
        every batch (docs/guide/cluster.md). All of them call the same methods. None: this one.

    Attributes
    ----------
    model_ : BoltzmannMachine
    classes_ : ndarray of shape (n_classes,)
        With label units: the label of each unit of the uppermost layer.
    history_ : list of dict
        One entry an epoch.
    n_features_in_ : int
    n_updates_, n_epochs_ : int
        Of the joint training.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> X = (np.random.default_rng(0).random((200, 16)) < 0.3).astype(np.uint8)
    >>> dbm = dg.DBM(n_hidden=(8, 4), n_epochs=2, random_state=0).fit(X)
    >>> dbm.transform(X).shape
    (200, 4)
    """

    _saved_as = "DBM"
    takes_files = True

    def __init__(
        self, n_hidden=(500, 1000), *, visible="binary", label_units=False, unlabelled=None,
        pretrained="auto", rule=None, learning_rate=None, optimizer=None, batch_size=100,
        n_epochs=None, binarize=False, random_state=None, n_threads=None, callbacks=None,
        verbose=0, communicator=None,
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
        self.communicator = communicator

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
        return self._fit(X, y, resume)

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

        def problem_of(rows, first):
            if first and is_greedy(start_of(self, stream=True)):
                raise ValueError(
                    "partial_fit cannot start greedily, a layer at a time; leave pretrained out, "
                    "or pass a model"
                )
            self._take_classes(classes, first)
            return _DBMProblem(self, rows, self._targets(y, rows, stream=True))

        return self._partial_fit(X, problem_of, rows_alone=y is None and classes is None)

    def _check_settings(self):
        check_settings(self)

    def _problem(self, rows, y):
        return _DBMProblem(self, rows, self._targets(y, rows))

    def _problem_of_state(self, settings):
        if settings is None:
            self._check_label_units()
        elif self.label_units:
            # of a stream without labels: any will do, because the settings are compared next
            self.classes_ = as_classes(classes_of_plain(settings.get("classes", [0, 1])))
        return _DBMProblem(self)

    # --- labels -------------------------------------------------------------------------------

    def _take_classes(self, classes, first):
        """Take over the classes of a stream; refuse a change of them, or of label units."""
        if not first:
            self._check_label_units()
        if not self.label_units:
            return
        if first and classes is None:
            raise ValueError("classes must hold all labels in the first call of partial_fit")
        if first:
            self.classes_ = np.sort(as_classes(classes))
            if not has_label(self.classes_, self.unlabelled).all():
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

    def _check_label_units(self):
        """Raise ValueError unless the fitted model has label units where they are asked for."""
        if bool(self.label_units) != has_label_units(self):
            raise ValueError(
                f"label_units is {self.label_units}, but partial_fit goes on with a model that has "
                f"{'none' if self.label_units else 'some'}; call fit, or set it back"
            )

    def _targets(self, y, rows, *, stream=False):
        """Return one-hot rows of the labels, all zero where there is none, or None."""
        if not self.label_units:
            vars(self).pop("classes_", None)
            return None
        if not isinstance(rows, ArrayRows):
            raise ValueError("X must be an array or a sparse matrix where label_units is True")
        if y is None:
            raise ValueError(
                "y must hold a label for each row where label_units is True, got None"
            )
        known, labels = split_labels(y, rows.n_rows, self.unlabelled)
        if not stream:
            self.classes_ = classes_in(labels, self.unlabelled)
        return one_hot(known, labels, self.classes_)

    # --- files --------------------------------------------------------------------------------

    def _beside_model(self):
        classes = {"classes": plain_classes(self.classes_)} if has_label_units(self) else {}
        return {**super()._beside_model(), **classes}

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
        if not hidden or not all(units.is_bernoulli for units in hidden):
            raise ValueError(f"model must have binary hidden layers, got {list(model.layers)!r}")
        visible = model.visible
        dbm = cls(
            tuple(units.size for units in hidden),
            visible=type(visible)(**visible.options()), label_units=labelled,
        )  # fmt: skip
        if labelled:
            units = model.layers[top]
            if not are_label_units(units):
                raise ValueError(f"model must have one softmax group on top, got {units!r}")
            classes = np.arange(units.size) if classes is None else classes
            dbm.classes_ = as_classes(classes, units.size)
        elif classes is not None:
            raise ValueError(
                f"classes must be None for a model without label units, got {shown(classes)}"
            )
        dbm.model_, dbm.history_, dbm.n_updates_ = model, [], 0
        dbm.n_features_in_ = visible.size
        dbm._fitted = Fitted()
        return dbm


class _DBMProblem(MachineProblem):
    """Joint training of all layers: the layers and starts that the settings of a DBM ask for.

    In a stream, rows have their one-hot labels, where there are any, beside them.

    Parameters
    ----------
    dbm : DBM
    rows : ArrayRows, IterableRows or None
    targets : ndarray of shape (n_rows, n_classes) or None
        One-hot labels, all zero where a row has none. None: there are no label units.
    """

    without_end = ("n_epochs", "pretrained")

    def __init__(self, dbm, rows=None, targets=None):
        layers = layers_of(dbm, dbm.n_features_in_)
        super().__init__(dbm, layers, rows, rule=rule_of(dbm), binarize=dbm.binarize)
        self.targets = targets
        self.names = ("visible", *(f"n_hidden[{l}]" for l in range(len(layers) - 1)))

    def for_rows(self, rows):
        """Return the problem of other rows of the stream; None where each has labels."""
        if self.targets is not None:
            return None
        self.rows = rows
        return self

    @property
    def learned_rows(self):
        """The rows, with their labels where there are label units."""
        return self.rows if self.targets is None else LabelledRows(self.rows.X, self.targets)

    # --- settings -----------------------------------------------------------------------------

    @property
    def _has_few_rows(self):
        """Whether so few rows are to be learned that a greedy start would learn them by heart."""
        return (
            self.estimator.n_epochs is None
            and self.targets is None
            and not self.units.takes_trials
            and self.evidence.n_updates < MOST_UPDATES
        )

    def start(self):
        """Return the start of `fit`: see :func:`start_of`; of few rows none, where it is auto."""
        start = start_of(self.estimator)
        is_auto = is_greedy(start) and not is_greedy(self.estimator.pretrained)
        if is_auto and self.units.takes_trials:
            n_epochs = self.estimator.n_epochs or self.usual_epochs(self.survey.n_rows)
            return [replace(each, n_epochs=int(n_epochs)) for each in start]
        return None if is_auto and self._has_few_rows else start

    def usual_epochs(self, n_rows):
        """Return as many as the rows call for; of documents those of a replicated softmax."""
        if self.units.takes_trials:
            return usual_epochs(n_rows, self.estimator.batch_size)
        return super().usual_epochs(n_rows)

    def schedule(self):
        """Return the learning rates of the joint training: half of what an RBM takes.

        All of it for few rows from random weights: their run is too short for half.
        """
        usual = super().schedule()
        if self.estimator.learning_rate is not None:
            return usual
        whole = self._has_few_rows and self.start() is None
        return usual if whole else replace(usual, start=0.5 * usual.start)

    def stream_schedule(self, n_rows):
        """Return the learning rate of an update of a stream: half of what an RBM takes."""
        usual = super().stream_schedule(n_rows)
        asked = self.estimator.learning_rate is not None
        return usual if asked else replace(usual, value=0.5 * usual.value)

    def optimizer(self, model):
        """Return the optimizer for a model; see :func:`optimizer_of`."""
        return optimizer_of(self.estimator, len(model.weights))

    def resolved(self, schedule):
        """Return values that replace hyper-parameters in the settings, and classes of labels."""
        dbm = self.estimator
        resolved = {
            "n_hidden": list(check_sizes(dbm.n_hidden)),
            "pretrained": start_of(dbm) if self.survey is None else self.start(),
            "rule": self.rule,
        }  # fmt: skip
        if dbm.label_units:
            resolved["classes"] = plain_classes(dbm.classes_)
        return resolved

    def settings(self, n_rows):
        """Return the settings that decide the bits of a run of `fit`, as plain data."""
        settings = super().settings(n_rows)
        if self.targets is not None:
            settings["y"] = hashlib.sha256(self.targets.tobytes()).hexdigest()[:16]
        return settings

    # --- runs ---------------------------------------------------------------------------------

    def run(self, beginning):
        """Return the run of the joint training, after a greedy start where one is asked for."""
        history, start, moments = [], self.start(), beginning.survey.moments
        stream = Stream.from_random_state(child_seed(beginning.seed, "joint"))
        if is_greedy(start):
            # callbacks that the joint training refuses are refused now, not after hours of it
            self._joint(None, moments, stream).attach(self.estimator.callbacks or ())
            settings = settings_by_layer(start, len(self.layers) - 1)
            if self.binarize:
                settings = [replace(each, binarize=True) for each in settings]
            start, history = greedy_start(
                self, beginning, self.layers, settings,
                made_of=partial(compose, layers=self.layers), tied=True,
            )  # fmt: skip
        run = self._joint(start, moments, stream)
        if start is not None:
            run.begin_trained(next(iter(self.rows.in_order(SOME_ROWS))).states[0], SETTLE)
        run.frame, run.history = beginning.frame, list(history)
        beginning.take_over(run)
        return run

    @property
    def evidence(self):
        """The :class:`Evidence` of the rows; with label units they never count as noise.

        Columns that are independent of each other may still tell the labels.
        """
        found = super().evidence
        return replace(found, is_noise=found.is_noise and self.targets is None)

    def _joint(self, start, moments, stream):
        model = self.first_model(moments, stream, start)
        if start is None:
            model = self.started_by_evidence(model)
        return self.trainer(model, self.schedule(), stream)

    def first_model(self, moments, stream, start=None):
        """Return the model that joint training or a stream starts from."""
        return first_model(self.layers, start, moments, self.targets, stream)

    # --- streams ------------------------------------------------------------------------------

    def first_run(self, X, seed):
        """Return a new run of a stream, from small random weights or a model."""
        start, stream = start_of(self.estimator, stream=True), Stream.from_random_state(seed)
        rows, self.targets = self._cut(X)
        moments = survey(
            ArrayRows(rows), self.units, n_threads=self.estimator.n_threads, holes=self.takes_holes
        )
        run = self._stream_run(self.first_model(moments, stream, start), stream)
        if start is not None:
            run.begin_trained(rows, SETTLE)
        return run

    def blank_run(self, seed):
        """Return a run of the right shapes, whatever its start was."""
        if self.estimator.label_units:
            self.targets = np.zeros((1, len(self.estimator.classes_)), np.uint8)
        return super().blank_run(seed)

    def stream_rows(self):
        """Return rows and labels side by side."""
        X, targets = self.rows.X, self.targets
        if targets is None:
            return X
        if sparse.issparse(X):
            return sparse.hstack([X, sparse.csr_array(targets)], format="csr")
        kind = X.dtype if X.dtype != np.bool_ else np.uint8
        return np.concatenate([X, targets.astype(kind)], axis=1)

    def _cut(self, joint):
        """Return rows and labels, or None, of rows as :meth:`stream_rows` returns them."""
        if not self.estimator.label_units:
            return joint, None
        both = joint.toarray() if sparse.issparse(joint) else dense(joint)
        n_columns = self.units.size
        return both[:, :n_columns], both[:, n_columns:].astype(np.uint8)

    def step(self, run, batch):
        """Let the run make one update of rows, and of labels beside them."""
        run.schedule = self.stream_schedule(batch.shape[0])
        rows, labels = self._cut(batch)
        states = as_states(rows)
        run.step(Batch((states,) if labels is None else (states, labels)), None)

    def check_first_rows(self, states):
        """Raise ValueError unless these can be the first rows of the stream, labels beside them."""
        dbm, n_columns = self.estimator, self.units.size
        n_classes = len(dbm.classes_) if dbm.label_units else 0
        if states.shape[1] != n_columns + n_classes:
            raise ValueError(f"{states.shape[1]} columns for {n_columns} and {n_classes} labels")
        self.units.states_of(as_states(self._cut(states)[0]), holes=self.takes_holes)

    def require_fitted_layers(self):
        """Raise ValueError where the fitted model has not these layers below its label units."""
        model, n_wanted = self.estimator.model_, len(self.layers) - 1
        n_hidden = model.n_layers - 1 - has_label_units(self.estimator)
        if n_hidden != n_wanted:
            raise ValueError(
                f"n_hidden asks for {n_wanted} layers, but partial_fit goes on with {n_hidden}; "
                "call fit, or set the parameters back"
            )
        require_same_layers(model.layers[: n_wanted + 1], self.layers, self.names)
