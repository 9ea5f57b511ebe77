"""Mixtures of products as scikit-learn estimators: of any columns, and of binary ones."""

import contextlib

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import ClassifierTags
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import MOST_ROWS, check_flag, check_integer, check_number, shown
from deepgen.estimators.common.base import FeatureEstimator
from deepgen.estimators.common.collectives import collective_of, require_same_call
from deepgen.estimators.common.frames import completed_rows, framed_like
from deepgen.estimators.common.guards import alone, unchanged_on_error
from deepgen.estimators.common.hyperparameters import (
    asked_units,
    check_common,
    check_objects,
    visible_units,
)
from deepgen.estimators.common.plain_settings import plain_settings
from deepgen.estimators.common.validation import (
    by_pieces,
    naming_columns,
    reads_tables,
    rows_to_learn,
    rows_to_read,
    rows_with_gaps,
    surveyed,
    table_of,
    table_with_gaps,
    warn_of_grey_rows,
)
from deepgen.inference.mixtures import (
    impute_mixture,
    log_likelihood,
    responsibilities,
    sample_mixture,
)
from deepgen.learning.mixture_sizes import RUNS_OF_CHOICE, chosen_size, number_of_runs
from deepgen.learning.mixtures import Prior, Run, joined, run_em, starting_mixture
from deepgen.models import BernoulliMixture, ProductMixture
from deepgen.rows.holes import filled, holes_in
from deepgen.rows.sources import ArrayRows, is_iterable_of_batches
from deepgen.rows.survey import checked_pieces
from deepgen.runtime.collective import on_all
from deepgen.runtime.interrupts import interrupt_between_steps
from deepgen.runtime.progress import ProgressBar
from deepgen.runtime.stream import Stream


class MixtureOfProducts(FeatureEstimator, DensityMixin, BaseEstimator):
    """Mixture whose components have independent columns, fitted by expectation maximization.

    ``p(x) = sum_k w_k prod_j p(x_j | k)`` for tables as people have them: binary, categorical and
    real columns side by side, with holes. Likelihoods and completions are exact, samples
    independent. Of categories alone it is latent class analysis; a real column has a mean in each
    component and one variance for all of them.

    Parameters
    ----------
    n_components : int or None
        Components of one run of EM. None: chosen, for densities and completions. Then up to 30 runs
        from different starts are joined, their densities averaged, into one mixture of up to 500
        components; real columns then have the mean of the runs' variances. Each has that number of
        3, 6, 12, 25, 50, 100, 250 and 500 components which is best on rows that are held back, or
        one where none is ahead of it by a standard error; where a tenth of the rows have holes,
        best on known values that are hidden as others are missing. One run of 500 from 10,000 rows
        up, of fewer than 12, and for iterables. For groups of rows (`predict`) say how many: those
        of several runs overlap.
    visible : {"auto", "binary", "gaussian"} or Units, default "auto"
        ``"auto"`` reads the types of the columns off the table that `fit` gets, such as a data
        frame: columns of bools, or of 0 and 1, are binary, those of texts or of a categorical type
        are categorical, others of numbers are real. `sample` and `impute` give such a table back.
        ``dg.Softmax(k)`` takes k one-hot columns for each variable, all zero where it is missing;
        ``dg.Mixed([...])`` has several types side by side. In what unit a real column is measured
        does not matter: nothing needs to be standardized.
    max_iter : int, default 100
        Iterations of EM at most.
    tol : float, default 1e-3
        Stop when the log posterior rises by less, in nats a row and iteration.
    n_init : int, default 1
        Different starts of a run; the one with the largest log posterior is kept.
    smoothing : float, default 1.0
        Pseudo-rows that each component gets, all equal to the column means: a Dirichlet prior
        of the weights, Beta and Dirichlet priors of probabilities, normal priors of the means of
        real columns. Positive; the estimate is the mode of the posterior.
    random_state : int, RandomState, Generator or None
        The same seed gives the same bits for any number of threads.
    n_threads : int or None
        None: ``OMP_NUM_THREADS``, else all cores that this process may use.
    verbose : int, default 0
        1 shows a progress bar for each run.
    communicator : communicator or None
        See :class:`RBM`; at most 24 processes. Not with ``visible="auto"``.

    Attributes
    ----------
    model_ : ProductMixture or BernoulliMixture
        ``model_.weights`` (n_components,); ``model_.means`` (n_components, n_visible), of the
        columns of the units: a category is one of them.
    history_ : list of dict
        One entry an iteration of the kept runs, one after the other: log likelihood and log
        posterior density (up to a constant) at its start, nats a row; seconds.
    n_iter_ : int
        Iterations of the kept runs.
    converged_ : bool
        Whether all of them did.
    n_components_ : int
        Of all runs together.
    n_features_in_ : int
    table_ : Table
        With ``visible="auto"``: the columns of the table, and the units that stand for them.

    Notes
    -----
    Values must be missing at random. The variance of a real column is its posterior mode under
    `smoothing` pseudo-rows of the column's own variance, so it never collapses.

    References
    ----------
    Dempster, Laird & Rubin (1977); Lazarsfeld & Henry (1968), "Latent structure analysis";
    McLachlan & Peel (2000), sections 2 and 5.

    Examples
    --------
    >>> import numpy as np, pandas as pd, deepgen as dg
    >>> size = np.repeat(["small", "large"], 50)
    >>> grams = np.where(size == "small", 4.0, 9.0) + np.random.default_rng(0).normal(size=100)
    >>> frame = pd.DataFrame({"size": size, "grams": grams})
    >>> mixture = dg.MixtureOfProducts(random_state=0).fit(frame)
    >>> holes = pd.DataFrame({"size": [None, "large"], "grams": [3.5, np.nan]})
    >>> completed = mixture.impute(holes)
    >>> completed["size"][0], bool(completed["grams"][1] > 8.0)
    ('small', True)
    """

    _saved_as = "MixtureOfProducts"
    _model_class = ProductMixture

    def __init__(
        self, n_components=None, *, visible="auto", max_iter=100, tol=1e-3, n_init=1,
        smoothing=1.0, random_state=None, n_threads=None, verbose=0, communicator=None,
    ):  # fmt: skip
        self.n_components = n_components
        self.visible = visible
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.smoothing = smoothing
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose
        self.communicator = communicator

    # --- learning -----------------------------------------------------------------------------

    def fit(self, X, y=None):
        """Learn from rows.

        Parameters
        ----------
        X : data frame, array-like, sparse matrix, memmap or iterable of batches
            Of shape (n_samples, n_features); NaN, or an empty cell, where a value is missing: what
            is maximized is then the likelihood of what is there. Read once an iteration, 1,024 rows
            at a time; uint8, bool and CSR are used as they are. Of binary columns values between 0
            and 1 are taken as means. With ``visible="auto"`` one frame or array.
        y : ignored

        Returns
        -------
        MixtureOfProducts
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or a value of X is not valid; raised before any work.
        KeyboardInterrupt
            After Ctrl-C; `model_` has the kept runs, the last as of its last whole iteration.
        RuntimeError
            If another thread is fitting this estimator.
        """
        self._check_settings()
        collective = collective_of(self)

        def measure():
            with naming_columns(self):
                rows = rows_to_learn(self, X, reset=True)
                visible = visible_units(self, rows.n_columns)
                return rows, visible, surveyed(rows, visible, self.n_threads, holes=True)

        with alone(self):
            with unchanged_on_error(self):
                rows, visible, found = on_all(collective, measure, "to read its rows")
                settings = plain_settings(self, {"n_samples": found.n_rows})
                require_same_call(collective, self, settings, found)
            self._learn(rows, visible, found.moments)
        return self

    def fit_predict(self, X, y=None):
        """Learn from rows and return the component of each, as `predict` then has it.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap, (n_samples, n_features)
            See :meth:`fit`. An iterable of batches can be learned from, but not predicted.
        y : ignored

        Returns
        -------
        ndarray of shape (n_samples,), int64
        """
        if is_iterable_of_batches(X):
            raise TypeError(
                "X must be an array or a sparse matrix for fit_predict, got "
                f"{type(X).__name__}; call fit with it, and predict with each of its batches"
            )
        return self.fit(X).predict(X)

    def _learn(self, rows, visible, moments):
        n_rows = moments[0]
        stream = collective_of(self).broadcast(Stream.from_random_state(self.random_state))
        with interrupt_between_steps() as interrupts:
            size, n_runs = self.n_components, 1
            if size is None:
                size = self._chosen_size(
                    rows, visible, n_rows, stream.child("size"), interrupts.check
                )
                n_runs = number_of_runs(size)
            prior, kept = self._prior(visible, moments, size), []
            for number in range(n_runs * self.n_init):
                run = Run(
                    starting_mixture(rows, n_rows, size, prior, stream.child(number)),
                    collective=collective_of(self),
                )
                if number % self.n_init == 0:
                    kept.append(run)
                try:
                    self._improve(run, rows, n_rows, prior, interrupts.check)
                finally:
                    if run.log_posterior > kept[-1].log_posterior:
                        kept[-1] = run
                    self._keep(joined(kept))

    def _chosen_size(self, rows, visible, n_rows, stream, check):
        """Choose the number of components of a run by rows that are held back."""

        def learn(some, moments, size, stream):
            prior, runs = self._prior(visible, moments, size), []
            for number in range(number_of_runs(size, RUNS_OF_CHOICE)):
                start = starting_mixture(some, some.n_rows, size, prior, stream.child(number))
                runs.append(Run(start, collective=collective_of(self)))
                for _ in run_em(
                    runs[-1], some, prior, max_iter=self.max_iter, tol=self.tol, check=check,
                    n_threads=self.n_threads,
                ):  # fmt: skip
                    pass
            return joined(runs).model

        return chosen_size(rows, visible, n_rows, learn, stream, n_threads=self.n_threads)

    def _prior(self, visible, moments, n_components):
        """Return the prior: of a single component that was chosen, the column means themselves.

        They are smoothed by half a count, and a row of them more would hardly smooth.
        """
        alone = self.n_components is None and n_components == 1
        return Prior.of_rows(visible, moments, 1e6 * moments[0] if alone else self.smoothing)

    def _improve(self, run, rows, n_rows, prior, check):
        steps = run_em(
            run, rows, prior, max_iter=self.max_iter, tol=self.tol, n_threads=self.n_threads,
            n_rows=n_rows, check=check,
        )  # fmt: skip
        shows = bool(self.verbose) and run.collective.rank == 0
        with (
            ProgressBar(self.max_iter, 0, shows, unit="iteration") as bar,
            contextlib.closing(steps),
        ):
            for entry in steps:
                bar.report({name: x for name, x in entry.items() if name != "seconds"})
                bar.update(n_rows)

    def _keep(self, run):
        self.model_ = run.model
        self.n_components_ = run.model.n_components
        self.history_ = run.history
        self.n_iter_ = len(run.history)
        self.converged_ = run.converged

    def _check_settings(self):
        check_objects(self, ("visible",))
        visible = asked_units(self)
        if not visible.can_mix:
            raise ValueError(
                "visible must be binary, softmax, Gaussian or mixed units, without tied copies, "
                f"got {visible!r}; of documents use dg.ReplicatedSoftmax"
            )
        if reads_tables(self) and self.communicator is not None:
            raise ValueError(
                "communicator must be None for visible='auto', which reads the types of columns "
                "off all rows; pass units such as dg.Mixed([...]) as visible"
            )
        for name in ("max_iter", "n_init"):
            check_integer(getattr(self, name), name)
        if self.n_components is not None:
            check_integer(self.n_components, "n_components")
        check_common(self)
        check_number(self.tol, "tol", 0.0, closed=True)
        check_number(self.smoothing, "smoothing", 0.0)

    # --- using --------------------------------------------------------------------------------

    def transform(self, X):
        """Return p(k | x), the responsibilities of the components for each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            NaN where a value is missing: p(k | what is there).

        Returns
        -------
        ndarray of shape (n_samples, n_components), float32
        """
        X, model = rows_to_read(self, X), self.model_
        return by_pieces(
            X, model.visible, lambda x: responsibilities(model, x, n_threads=self.n_threads),
            holes=True,
        )  # fmt: skip

    def predict(self, X):
        """Return the component with the largest responsibility for each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), int64
        """
        return self.transform(X).argmax(axis=1)

    def predict_proba(self, X):
        """Return p(k | x), as `transform` does: the name that scikit-learn's mixtures have for it.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components), float32
        """
        return self.transform(X)

    def score_samples(self, X):
        """Return log p(x) by row in nats: exact, but for products in float32.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            States; NaN where a value is missing: log p of what is there. Grey values of binary
            columns give no log-likelihood and a warning: binarize them. Of real columns it is the
            log of a density, which depends on the units that they are measured in.

        Returns
        -------
        ndarray of shape (n_samples,), float64
        """
        X, model = rows_to_read(self, X), self.model_
        visible = model.visible
        scores = by_pieces(
            X, visible, lambda x: log_likelihood(model, x, n_threads=self.n_threads), holes=True
        )
        pieces = checked_pieces(ArrayRows(X), visible, holes=True)
        if not all(visible.is_state(filled(x, holes_in(x))) for x in pieces):
            warn_of_grey_rows()
        return scores

    def score(self, X, y=None):
        """Return the mean log-likelihood in nats a row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        float
        """
        return float(np.mean(self.score_samples(X)))

    def bic(self, X):
        """Return Bayes' information criterion, ``n_parameters log(n_samples) - 2 log p(X)``.

        In nats, twice and with its sign turned over, as scikit-learn has it: the smaller, the
        better. Parameters are all means (of a variable with c categories c - 1), the variance of
        each real column, and all weights but one. The criterion is made for the rows of `fit`; on
        held-out rows `score` needs no penalty.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        float
        """
        scores = self.score_samples(X)
        return float(self.model_.n_free * np.log(len(scores)) - 2.0 * scores.sum())

    def aic(self, X):
        """Return Akaike's information criterion, ``2 n_parameters - 2 log p(X)``.

        See :meth:`bic`, whose penalty is the larger one from 8 rows on.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        float
        """
        scores = self.score_samples(X)
        return float(2.0 * self.model_.n_free - 2.0 * scores.sum())

    def sample(self, n_samples=1, *, random_state=None, first_row=0):
        """Draw independent rows.

        Parameters
        ----------
        n_samples : int
        random_state : int, RandomState, Generator or None
        first_row : int, default 0
            Pieces drawn with the right `first_row` equal the whole.

        Returns
        -------
        array or data frame of shape (n_samples, n_features)
            uint8, or float32 of real and mixed columns. With ``visible="auto"`` a table of the kind
            that `fit` got.
        """
        check_is_fitted(self)
        check_integer(n_samples, "n_samples", 0)
        check_integer(first_row, "first_row", 0, MOST_ROWS)
        states = sample_mixture(
            self.model_, n_samples, random_state=random_state, first_row=first_row,
            n_threads=self.n_threads,
        )  # fmt: skip
        table = table_of(self)
        return states if table is None else table.rows(states)

    def impute(
        self, X, missing=None, *, method="mean", return_std=False, random_state=None, first_row=0
    ):
        """Complete rows; observed entries come back untouched.

        The posterior of the component given the observed entries is exact, and so are means
        and deviations.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        missing : bool array of shape (n_samples, n_features) or None
            None: where X is NaN.
        method : {"mean", "draw"}, default "mean"
            Conditional means of the missing entries, or one joint draw.
        return_std : bool, default False
            Also return the standard deviation of each missing entry (0 where observed).
        random_state : int, RandomState, Generator or None
        first_row : int, default 0

        Returns
        -------
        array or data frame, or tuple of two, of shape (n_samples, n_features)
            Of the dtype of X where that is floating, else float32. A data frame for a data frame:
            with its index and names, its columns without a missing entry as they are. With
            ``visible="auto"`` cells have values that their columns can have: of means the most
            probable one, and the mean itself of real columns. The deviation of a category is then
            the probability that it is another one.
        """
        check_is_fitted(self)
        if method not in ("mean", "draw"):
            raise ValueError(f"method must be 'mean' or 'draw', got {shown(method)}")
        check_flag(return_std, "return_std")
        check_integer(first_row, "first_row", 0, MOST_ROWS)
        table = table_of(self)
        if table is None:
            values, states, gaps = rows_with_gaps(self, X, missing, self.model_.visible)
        else:
            missing, states, gaps = table_with_gaps(self, X, missing)
        draws, means, deviations = impute_mixture(
            self.model_, states, gaps, random_state=random_state, first_row=first_row,
            n_threads=self.n_threads,
        )  # fmt: skip
        filled_in = draws if method == "draw" else means
        if table is None:
            completed = completed_rows(X, values, gaps, filled_in)
            deviations = framed_like(X, deviations)
        else:
            completed = table.completed(X, missing, filled_in)
            deviations = table.deviations(missing, means, deviations)
        return (completed, deviations) if return_std else completed

    # --- files --------------------------------------------------------------------------------

    @classmethod
    def from_model(cls, model):
        """Return a fitted estimator around a core model.

        Parameters
        ----------
        model : ProductMixture
            Of a :class:`MixtureOfBernoullis` a BernoulliMixture.
        """
        if not isinstance(model, cls._model_class):
            raise ValueError(f"model must be a {cls._model_class.__name__}, got {shown(model)}")
        mixture = cls(model.n_components)
        mixture.visible = type(model.visible)(**model.visible.options())
        mixture._keep(Run(model))
        mixture.n_features_in_ = model.n_features
        return mixture

    # --- scikit-learn -------------------------------------------------------------------------

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # scikit-learn's check of sparse rows asks these how many columns predict_proba has, also
        # of what is no classifier
        tags.classifier_tags = ClassifierTags(multi_class=True)
        tags.input_tags.allow_nan = True
        return tags

    @property
    def _n_features_out(self):
        return self.model_.n_components


class MixtureOfBernoullis(MixtureOfProducts):
    """Mixture of products of Bernoulli distributions, fitted by expectation maximization.

    ``p(x) = sum_k w_k prod_j p_jk^x_j (1 - p_jk)^(1 - x_j)`` with exact likelihoods,
    independent samples and exact completions: the yardstick that an RBM has to pass. It is
    :class:`MixtureOfProducts` with ``visible="binary"``, which takes other columns too.

    Parameters
    ----------
    n_components, max_iter, tol, n_init, random_state, n_threads, verbose, communicator
        See :class:`MixtureOfProducts`.
    smoothing : float, default 1.0
        Pseudo-rows that each component gets, all equal to the column means: a Dirichlet prior of
        the weights and Beta priors of the probabilities. Positive.

    Attributes
    ----------
    model_ : BernoulliMixture
        ``model_.weights`` (n_components,); ``model_.means`` (n_components, n_features).
    history_, n_iter_, converged_, n_components_, n_features_in_
        See :class:`MixtureOfProducts`.

    Notes
    -----
    Grey values in [0, 1] are taken as means: what is then maximized and returned is
    ``log sum_k w_k exp(sum_j x_j log p_jk + (1 - x_j) log(1 - p_jk))``, a lower bound of the
    expected log-likelihood of bits drawn from the grey values.

    References
    ----------
    Dempster, Laird & Rubin (1977); McLachlan & Peel (2000), section 2.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> X = (np.random.default_rng(0).random((200, 16)) < 0.3).astype(np.uint8)
    >>> mixture = dg.MixtureOfBernoullis(3, random_state=0).fit(X)
    >>> mixture.transform(X).shape
    (200, 3)
    """

    _saved_as = "MixtureOfBernoullis"
    _model_class = BernoulliMixture

    def __init__(
        self, n_components=None, *, max_iter=100, tol=1e-3, n_init=1, smoothing=1.0,
        random_state=None, n_threads=None, verbose=0, communicator=None,
    ):  # fmt: skip
        super().__init__(
            n_components, visible="binary", max_iter=max_iter, tol=tol, n_init=n_init,
            smoothing=smoothing, random_state=random_state, n_threads=n_threads, verbose=verbose,
            communicator=communicator,
        )  # fmt: skip
