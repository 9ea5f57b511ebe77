"""The deep belief network as a scikit-learn estimator."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_integer, shown
from deepgen.estimators.common import guards, plain_settings, runs, streams
from deepgen.estimators.common.belief import BeliefEstimator
from deepgen.estimators.common.hyperparameters import (
    check_callbacks,
    check_common,
    check_sizes,
    visible_units,
)
from deepgen.estimators.common.plain_settings import setting
from deepgen.estimators.common.rows import rows_to_learn
from deepgen.io import checkpoints, model_files
from deepgen.layers.binary import Binary
from deepgen.layers.named import as_units
from deepgen.learning.belief_networks import UpDown
from deepgen.learning.hooks import callbacks_for
from deepgen.learning.optimizers import SGD
from deepgen.learning.rules import CD, as_rule, check_missing_variables
from deepgen.models import BeliefNetwork
from deepgen.rows.sources import is_iterable_of_batches
from deepgen.rows.survey import survey
from deepgen.runtime.stream import Stream, child_seed, seed_of
from deepgen.stacks.settings import Pretraining, check_layers
from deepgen.stacks.stream import StackStream
from deepgen.stacks.trainer import StackTrainer

# What may differ from layer to layer: a sequence with one entry a layer.
BY_LAYER = ("rule", "learning_rate", "optimizer", "n_epochs")


class DBN(BeliefEstimator, streams.StreamEstimator, BaseEstimator):
    """Deep belief network: layers of features over features, learned one at a time.

    The lowest machine learns the rows, the next one its features, and so on; the uppermost stays
    undirected, the others become directed layers below it (Hinton, Osindero & Teh 2006).

    Parameters
    ----------
    n_hidden : int or sequence of int, default (500, 2000)
        Sizes of the hidden layers, bottom first; an int is one layer.
    visible : {"binary", "gaussian"} or Units, default "binary"
        See :class:`RBM`. Hidden units are binary.
    rule : {"pcd", "cd"}, rule, or sequence with one a layer, default "pcd"
    learning_rate : float, schedule, None, or sequence with one a layer
        None: what an RBM of the same units takes, decaying to zero; a quarter of it for a layer
        that starts `transposed`.
    optimizer : SGD, Adam, None, or sequence with one a layer
    batch_size : int, default 100
    n_epochs : int, None, or sequence with one a layer
        Of each layer. None: enough for 5,000 updates of it.
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
    n_updates_ : list of int
        By layer.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> X = (np.random.default_rng(0).random((200, 16)) < 0.3).astype(np.uint8)
    >>> dbn = dg.DBN(n_hidden=(8, 4), n_epochs=2, random_state=0).fit(X)
    >>> dbn.transform(X).shape
    (200, 4)
    """

    def __init__(
        self, n_hidden=(500, 2000), *, visible="binary", rule="pcd", learning_rate=None,
        optimizer=None, batch_size=100, n_epochs=None, features="samples", transposed=False,
        random_state=None, n_threads=None, callbacks=None, verbose=0,
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
        settings = self._settings()
        resume = runs.checked_resume(resume)
        with guards.alone(self):
            with guards.unchanged_on_error(self):
                rows = rows_to_learn(self, X, reset=True)
                layers = self._layers(rows.n_columns, settings)
                found = runs.surveyed(rows, layers[0], self.n_threads)
                check_missing_variables(rows, layers[0], settings[0].rule)
                run = self._run(rows, layers, settings, found, resume)
                run.attach(self.callbacks or ())
            try:
                run.fit(verbose=self.verbose)
            finally:
                self._keep(run)
        return self

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
        first = not hasattr(self, "model_")
        settings = self._settings()
        if is_iterable_of_batches(X):
            raise ValueError(
                "X must be an array or a sparse matrix for partial_fit, got "
                f"{type(X).__name__}; call partial_fit with each of its batches"
            )
        with guards.alone(self):
            with guards.unchanged_on_error(self):
                rows = rows_to_learn(self, X, reset=first)
                layers = self._layers(rows.n_columns, settings)
                survey(rows, layers[0], n_threads=self.n_threads)
                check_missing_variables(rows, layers[0], settings[0].rule)
                run, X = streams.run_for(self, rows.X, _Stream(self, layers, settings))
            self._score_seed = run.frame["score_seed"]
            try:
                streams.learn(run.step, X, settings[0].batch_size)
            finally:
                self._keep(run)
                self._trainer = run
        return self

    def refine(
        self, X, n_epochs=10, *, rule=None, learning_rate=None, optimizer=None, resume=None
    ):
        """Let all layers learn together: the up-down algorithm, after the greedy start.

        Generative and recognition weights part; `stack_` stays as it was, and `partial_fit`
        cannot follow. `batch_size`, `random_state`, `callbacks` and `verbose` are those of the
        estimator; of the callbacks, those that watch a Boltzmann machine are left out.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or iterable of batches, (n_samples, n_features)
        n_epochs : int, default 10
        rule : rule or None
            Of the top machine. None: ``dg.CD(3)``.
        learning_rate : float, schedule or None
            None: 0.1, or 0.01 for Gaussian units, decaying to zero.
        optimizer : SGD, Adam or None
            None: ``dg.SGD()``.
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
        check_integer(n_epochs, "n_epochs")
        self._settings()
        resume = runs.checked_resume(resume)
        with guards.alone(self):
            with guards.unchanged_on_error(self):
                rows = rows_to_learn(self, X, reset=False)
                self.model_.visible.check_width(np.empty((0, rows.n_columns)), "X")
                found = runs.surveyed(rows, self.model_.visible, self.n_threads)
                settings = UpDown(
                    CD(3) if rule is None else as_rule(rule), learning_rate,
                    SGD() if optimizer is None else optimizer,
                )  # fmt: skip
                if not self.model_.layers:  # else the top reads drawn features, without gaps
                    check_missing_variables(rows, self.model_.visible, settings.rule)
                run = self._refinement(settings, n_epochs, found, resume)
                run.attach(callbacks_for(self.callbacks or (), run))
            try:
                if not run.finished:
                    run.fit(rows, n_epochs, found.n_rows, verbose=self.verbose)
            finally:
                self.model_, self.refinement_ = run.model(), run.history
                self._refined_from = run.frame["settings"]["model"]
                self._particles = run.rule_state.particles or self._particles
                self._trainer = self._bracket = None
        return self

    def _refinement(self, settings, n_epochs, found, resume):
        """Return the run of `refine`: a new one, or one that goes on."""
        plain = {
            "estimator": f"{type(self).__name__}.refine",
            "n_hidden": list(self.model_.sizes[1:]),
            "model": setting(self.model_),
            **{name: setting(value) for name, value in vars(settings).items()},
            "batch_size": int(self.batch_size),
            "n_features": int(self.n_features_in_),
            "n_samples": int(found.n_rows),
            "n_epochs": int(n_epochs),
        }
        if resume is None:
            seed = seed_of(self.random_state)
        else:
            kept, state, seed = runs.read_run(self, resume)
            begun = kept.get("settings")
            if isinstance(begun, dict) and begun.get("model") == self._refined_from:
                plain["model"] = self._refined_from or plain["model"]  # that was stopped here
            runs.require_same_run(kept, plain, found, resume)
        run = settings.run(
            self.model_, stream=Stream(child_seed(seed, "up-down")),
            batch_size=int(self.batch_size), n_threads=self.n_threads,
        )  # fmt: skip
        run.frame = {**runs.origin_of(seed), "settings": plain, **runs.marks_of(found)}
        if resume is not None:
            checkpoints.restore(run, state, resume)
        return run

    def _check_settings(self):
        self._settings()

    def _stream_of(self, settings):
        own = self._settings()
        return _Stream(self, self._layers(self.n_features_in_, own), own)

    def _settings(self):
        """Return the settings of each layer after a check of all hyper-parameters."""
        sizes = check_sizes(self.n_hidden)
        check_integer(self.batch_size, "batch_size")
        check_common(self)
        check_callbacks(self.callbacks)
        if as_units(self.visible, "visible").n_copies != 1:
            raise ValueError("visible must not have tied copies, got n_copies > 1")
        values = {name: _by_layer(getattr(self, name), name, len(sizes)) for name in BY_LAYER}
        settings = []
        for l, each in enumerate(zip(*values.values(), strict=True)):
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
        return Pretraining(
            n_epochs, as_rule(rule), learning_rate, optimizer, int(self.batch_size),
            self.features, self.transposed,
        )  # fmt: skip

    def _layers(self, n_columns, settings):
        layers = [
            visible_units(self, n_columns), *(Binary(size) for size in check_sizes(self.n_hidden))
        ]  # fmt: skip
        check_layers(layers, settings)
        return layers

    def _plain_settings(self, settings):
        """Return the settings that decide the bits of a run, as plain data."""
        by_layer = {
            name: [setting(getattr(each, name)) for each in settings]
            for name in BY_LAYER
            if name != "n_epochs"  # a stream has none
        }
        return {
            "estimator": type(self).__name__,
            "n_hidden": list(check_sizes(self.n_hidden)),
            "visible": plain_settings.text(as_units(self.visible, "visible")),
            **by_layer,
            "batch_size": int(self.batch_size),
            "features": self.features,
            "transposed": bool(self.transposed),
            "n_features": int(self.n_features_in_),
        }

    def _run(self, rows, layers, settings, found, resume):
        """Return the run of `fit`: a new one, or one that goes on."""
        plain = self._plain_settings(settings)
        plain["n_samples"] = int(found.n_rows)
        plain["n_epochs"] = [each.epochs(found.n_rows) for each in settings]
        if resume is None:
            seed = seed_of(self.random_state)
        else:
            kept, state, seed = runs.read_run(self, resume)
            runs.require_same_run(kept, plain, found, resume)
        frame = {**runs.origin_of(seed), "settings": plain, **runs.marks_of(found)}
        run = StackTrainer(
            rows, layers, settings, moments=found.moments, random_state=seed, frame=frame,
            n_threads=self.n_threads,
        )  # fmt: skip
        if resume is not None:
            checkpoints.restore(run, {"stack": kept.get("stack"), "trainer": state}, resume)
        self._score_seed = frame["score_seed"]
        return run

    def _keep(self, run):
        self.stack_ = run.stack()
        self.model_ = BeliefNetwork.from_stack(self.stack_)
        self.history_, self.n_updates_ = run.history, run.n_updates
        self._particles = run.particles
        self._trainer = self._bracket = self._refined_from = None
        vars(self).pop("refinement_", None)

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
        extra = {"estimator": "DBN", "score_seed": self._score_seed}
        model_files.save(self.model_, path, extra=extra)

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
        dbn._particles = dbn._trainer = dbn._bracket = dbn._refined_from = None
        dbn._score_seed = 0
        return dbn


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


class _Stream:
    """How a stream of `partial_fit` begins and goes on; see :func:`streams.run_for`."""

    def __init__(self, dbn, layers, settings):
        self.dbn, self.layers, self.settings = dbn, layers, settings

    def _framed(self, run, seed):
        plain = self.dbn._plain_settings(self.settings)
        run.frame = {**runs.origin_of(seed), "settings": plain, streams.FIRST_ROWS: None}
        return run

    def begin(self, rows, seed):
        """Return a new run that starts from the moments of its first rows."""
        run = StackStream.begin(
            rows, self.layers, self.settings, random_state=seed, n_threads=self.dbn.n_threads
        )
        return self._framed(run, seed)

    def after_fit(self):
        """Return a run that goes on from the fitted machines."""
        dbn = self.dbn
        if hasattr(dbn, "refinement_") or not dbn.model_.is_tied:
            raise ValueError(
                "partial_fit trains greedily and would lose what refine has taught this model; "
                "call refine, or fit anew"
            )
        machines, seed = dbn.stack_, seed_of(dbn.random_state)
        if len(machines) != len(self.settings):
            raise ValueError(
                f"n_hidden asks for {len(self.settings)} layers, but partial_fit goes on with "
                f"{len(machines)}; call fit, or set the parameters back"
            )
        names = ("visible", *(f"n_hidden[{l}]" for l in range(len(machines))))
        for l, machine in enumerate(machines):
            part = slice(l, l + 2)
            streams.check_same_layers(machine.layers, self.layers[part], names[part])
        run = StackStream(machines, self.settings, random_state=seed, n_threads=dbn.n_threads)
        run.go_on(dbn.n_updates_, dbn.history_, dbn._particles)
        return self._framed(run, seed)

    def blank(self, seed):
        """Return a run of these layers that a checkpoint can be read into."""
        run = StackStream.blank(
            self.layers, self.settings, random_state=seed, n_threads=self.dbn.n_threads
        )
        return self._framed(run, seed)

    def check_first_rows(self, states):
        """Raise ValueError unless these can be the first rows of the stream."""
        streams.check_rows_of(self.layers[0], states)

    def take_over(self, run):
        """Let the rate and the size of the batches change in a stream; refuse what cannot."""
        plain = self.dbn._plain_settings(self.settings)
        run.frame["settings"] = streams.settings_in_stream(run.frame["settings"], plain)
        run.settings = self.settings
