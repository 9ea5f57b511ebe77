"""The restricted Boltzmann machine as a scikit-learn estimator."""

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_flag, check_integer, shown
from deepgen.estimators.common import density
from deepgen.estimators.common.fitting import Fitted
from deepgen.estimators.common.hyperparameters import (
    asked_units,
    check_machine_settings,
    sized,
    visible_units,
)
from deepgen.estimators.common.machines import MachineProblem
from deepgen.estimators.common.streams import StreamEstimator
from deepgen.estimators.common.validation import by_pieces, features, reads_tables, rows_to_read
from deepgen.inference.gibbs import layer_field, update_layer
from deepgen.inference.mean_field import completed_by_means
from deepgen.layers.named import as_units
from deepgen.learning.rules import as_rule
from deepgen.learning.starts import first_hidden
from deepgen.likelihood import exact_log_likelihood, free_energy
from deepgen.models import BoltzmannMachine
from deepgen.runtime.work import Work


class RBM(StreamEstimator, density.MachineEstimator, BaseEstimator):
    """Restricted Boltzmann machine: a generative model with one layer of features.

    ``p(v, h) = exp(v^T W h + b^T v + c^T h) / Z`` (Smolensky 1986; Hinton 2002), for binary,
    real-valued or categorical data. The defaults are meant to work untuned.

    Parameters
    ----------
    n_hidden : int, default 256
        Hidden units.
    visible : {"binary", "gaussian", "auto"} or Units, default "binary"
        Binary units take values in [0, 1]: 0 and 1 are states, values between are means (see
        `binarize`). Gaussian units learn their variances; ``dg.Softmax(k)`` takes k one-hot
        columns for each variable, all zero where it is missing; ``dg.Mixed([...])`` has several
        types side by side. ``"auto"`` reads them off the table that `fit` gets, such as a data
        frame: columns of bools, or of 0 and 1, are binary, those of texts or of a categorical
        type are categorical, others of numbers are real. `sample` and `impute` give such a table
        back.
    hidden : {"binary", "gaussian"} or Units, default "binary"
    rule : {"pcd", "cd"} or rule, default "pcd"
        ``dg.PCD(k, n_particles=...)`` or ``dg.CD(k)``.
    learning_rate : float, schedule or None
        A number stays constant; ``dg.Linear(start, end)`` moves. None: 0.2, decaying to zero; of
        Gaussian visible units 2 by the largest eigenvalue of their columns' correlations, 0.1 at
        most. The first line of `history_` shows it.
    optimizer : SGD, Adam or None
        None: ``dg.SGD()``, plain steps, light decay, the last fifth averaged.
    batch_size : int, default 100
    n_epochs : int or None
        None: as many as the rows call for, 5,000 updates at most: about ``300 n / c`` for `n` rows
        of which each column counts ``4 p (1 - p)`` towards `c`, 1 for a fair coin. Few rows of
        many columns would be learned by heart. Real-valued columns: ``100 n / c`` of `c` columns,
        and the more, the stronger they are correlated. See `n_epochs_`.
    binarize : bool, default False
        Draw binary states from grey values afresh at each presentation. False: grey values are
        used as means.
    random_state : int, RandomState, Generator or None
        The same seed gives the same bits for any number of threads.
    n_threads : int or None
        None: ``OMP_NUM_THREADS``, else all cores that this process may use.
    callbacks : sequence of callable or None
        Called with an ``EpochReport`` after each epoch; a true value stops training.
    verbose : int, default 0
        1 shows a progress bar.
    communicator : communicator or None
        ``dg.distributed.mpi()``: the processes of an MPI job share the run, each with its part of
        every batch (docs/guide/cluster.md). All of them call the same methods. None: this one.

    Attributes
    ----------
    model_ : BoltzmannMachine
        ``model_.weights[0]`` is (n_visible, n_hidden); ``model_.layers[i].bias``.
    history_ : list of dict
        One entry an epoch.
    n_features_in_ : int
    n_updates_, n_epochs_ : int
        Updates made; epochs of the run, as asked for or chosen.
    table_ : Table
        With ``visible="auto"``: the columns of the table, and the units that stand for them.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> X = (np.random.default_rng(0).random((200, 16)) < 0.3).astype(np.uint8)
    >>> rbm = dg.RBM(n_hidden=8, n_epochs=2, random_state=0).fit(X)
    >>> rbm.transform(X).shape
    (200, 8)
    """

    _saved_as = "RBM"
    takes_files = True

    def __init__(
        self, n_hidden=256, *, visible="binary", hidden="binary", rule="pcd", learning_rate=None,
        optimizer=None, batch_size=100, n_epochs=None, binarize=False, random_state=None,
        n_threads=None, callbacks=None, verbose=0, communicator=None,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.visible = visible
        self.hidden = hidden
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
        """Learn from rows.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or iterable of batches, (n_samples, n_features)
            uint8 and bool are used as they are; CSR stays sparse; a re-iterable of arrays is
            read, and :class:`deepgen.PackedBits` are unpacked, a batch at a time. NaN where a value
            is missing: what is learned is then the likelihood of what is there.
        y : ignored
        resume : str, path-like or None
            A file that :class:`deepgen.Checkpoint` has written: the run goes on from there, with
            the same bits as if it had not been stopped. Settings and rows must be those that it
            was begun with; `random_state` may be None. A finished run gives its model.

        Returns
        -------
        RBM
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or a value of X is not valid, or if the checkpoint is that of another
            run; raised before any work. ModelFileError is one of them: the file is damaged.
        FileNotFoundError
            If there is no such checkpoint.
        DivergedError
            If a parameter is no longer finite; `model_` is the last good model.
        RuntimeError
            If another thread is fitting this estimator.
        """
        return self._fit(X, y, resume)

    def partial_fit(self, X, y=None):
        """Learn from more rows, a batch of at most `batch_size` at a time, in their order.

        Calls that bring multiples of `batch_size` rows give the same bits however they were
        cut; a shorter call is one update. Until `batch_size` rows have come, each call starts
        anew with all of them. A learning rate of None is constant here, half of where `fit`
        starts and lower for updates of few rows; a schedule stays at its start. `model_` is the
        mean of the newest twentieth of the updates, at most about 1,000. The learning rate and
        the batch size may change within a stream. After `fit` learning goes on from the fitted
        model and its particles. Callbacks are not called: :meth:`save_checkpoint` keeps a stream.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        RBM
            This estimator.
        """
        return self._partial_fit(X, lambda rows, first: self._problem(rows, y), rows_alone=True)

    def _check_settings(self):
        for name in ("n_hidden", "batch_size"):
            check_integer(getattr(self, name), name)
        check_machine_settings(self)
        as_rule(self.rule)
        visible, hidden = asked_units(self), as_units(self.hidden, "hidden")
        for name, units in (("visible", visible), ("hidden", hidden)):
            if units.takes_trials:
                raise ValueError(
                    f"{name} must not be multinomial without a number of trials, which are the "
                    "words of documents; use dg.ReplicatedSoftmax, or dg.Multinomial(trials=...)"
                )
        if not (visible.is_bounded or hidden.is_bounded):
            names = [type(units).__name__ for units in (hidden, visible)]
            is_too = "" if names[0] == names[1] else f" {names[1]}"
            raise ValueError(
                f"hidden must not be {names[0]} where visible is{is_too}: such a model need not be "
                "normalizable; make one of them 'binary'"
            )
        check_flag(self.binarize, "binarize")
        if self.binarize and not visible.is_bernoulli:
            raise ValueError(f"binarize needs visible='binary', got visible={self.visible!r}")

    def _problem(self, rows, y):
        return _RBMProblem(self, self._layers(), rows, binarize=self.binarize)

    def _layers(self):
        """Return the visible and hidden layers that the hyper-parameters ask for, sized."""
        asked = as_units(self.hidden, "hidden")
        hidden = sized(asked, self.n_hidden, "hidden", f"n_hidden={self.n_hidden}")
        if asked.size is None:
            hidden = first_hidden(hidden)
        # a scale of hidden units is the weights' scale
        hidden = hidden.with_learned_scale(False)
        return visible_units(self, self.n_features_in_), hidden

    # --- using --------------------------------------------------------------------------------

    def transform(self, X, *, quantity="mean"):
        """Return E[h | v], the features of each row, or the fields behind them.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            NaN where a value is missing: features are then the mean-field means given the others.
        quantity : {"mean", "field"}, default "mean"
            The field is ``c + W^T v``. Means of binary units are its logistic, those of softmax
            units its softmax by group, those of Gaussian units the field divided by the
            precision. Means near 0 and 1 round to them: where rows are compared by distances,
            as with a few examples of a new class, fields tell more.

        Returns
        -------
        ndarray of shape (n_samples, n_hidden), float32

        Notes
        -----
        Put a ``StandardScaler`` between the means and a linear model.
        """
        density.check_quantity(quantity)
        X, model, work = rows_to_read(self, X), self.model_, Work(n_threads=self.n_threads)

        def of_hidden(v):
            v = completed_by_means(model, v, work=work)
            if quantity == "field":
                return layer_field(model, 1, [v, None], work=work)
            return update_layer(model, 1, [v, None], mean=True, work=work)[0]

        return by_pieces(X, model.layers[0], of_hidden, holes=True)

    def inverse_transform(self, X):
        """Return E[v | h] for features in [0, 1] (or real, for Gaussian hidden units).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_hidden)

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            With ``visible="auto"`` of shape (n_samples, n_visible), means of the visible units;
            ``table_.rows(means)`` makes a table of them.
        """
        check_is_fitted(self)
        model, hidden = self.model_, self.model_.layers[1]
        states = hidden.states_of(features(self, X, hidden.size, "the hidden units"))
        work = Work(n_threads=self.n_threads)
        return update_layer(model, 0, [None, states], mean=True, work=work)[0]

    def free_energy(self, X):
        """Return -log sum_h exp(-energy(v, h)) by row, in nats: low for likely rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
        """
        return self._free_energy(rows_to_read(self, X))

    def _free_energy(self, X):
        """Return free energies of rows that `rows_to_read` has returned."""
        model = self.model_
        return by_pieces(
            X, model.layers[0], lambda v: free_energy(model, v, n_threads=self.n_threads)
        )

    def score_samples(self, X):
        """Return log p(v) by row in nats, with log Z at the bracket's value.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            States. Grey values give no log-likelihood and a warning: binarize them.

        Returns
        -------
        ndarray of shape (n_samples,), float64
        """
        X, model = rows_to_read(self, X), self.model_
        visible = model.layers[0]
        density.check_whole_rows(X, visible)  # before the work that log Z is
        bracket = density.last_bracket(self)
        if bracket.method == "exact":
            return by_pieces(
                X, visible, lambda v: exact_log_likelihood(model, v, log_partition=bracket.value)
            )
        return -self._free_energy(X) - bracket.value

    # --- files --------------------------------------------------------------------------------

    @classmethod
    def from_model(cls, model):
        """Return a fitted estimator around a core model of two layers.

        Parameters
        ----------
        model : BoltzmannMachine
        """
        if not isinstance(model, BoltzmannMachine) or model.n_layers != 2:
            raise ValueError(f"model must be a BoltzmannMachine of 2 layers, got {shown(model)}")
        if any(units.takes_trials for units in model.layers):
            raise ValueError(
                f"model must be one of rows of one length, got {model!r}; of documents use "
                "dg.ReplicatedSoftmax.from_model"
            )
        visible, hidden = model.layers
        rbm = cls(
            hidden.size,
            visible=type(visible)(**visible.options()),
            hidden=type(hidden)(**hidden.options()),
        )
        rbm.model_ = model
        rbm.history_ = []
        rbm.n_updates_ = 0
        rbm.n_features_in_ = visible.size
        rbm._fitted = Fitted()
        return rbm

    # --- scikit-learn -------------------------------------------------------------------------

    @property
    def _n_features_out(self):
        return self.model_.layers[1].size


class _RBMProblem(MachineProblem):
    """The layers of an RBM, as its settings ask for them."""

    def for_rows(self, rows):
        """Return the problem of other rows of the stream."""
        self.rows = rows
        return self

    @property
    def visible(self):
        """The visible units of the settings; of a table those that it has become."""
        return self.layers[0] if reads_tables(self.estimator) else asked_units(self.estimator)

    def resolved(self, schedule):
        """Resolve hyper-parameters: names of unit types too."""
        hidden = as_units(self.estimator.hidden, "hidden")
        return {**super().resolved(schedule), "visible": self.visible, "hidden": hidden}
