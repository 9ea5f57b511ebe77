"""What a fitted estimator around a belief network answers."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from deepgen.belief import impute_belief, sample_belief
from deepgen.checks import check_integer
from deepgen.estimators import density
from deepgen.estimators.base import FeatureEstimator
from deepgen.estimators.validation import by_pieces, in_type_of, rows_to_read, rows_with_gaps
from deepgen.features import stack_features
from deepgen.likelihood import importance_weighted_bound, variational_bound
from deepgen.stream import Stream, seed_of


class BeliefEstimator(FeatureEstimator):
    """Mix-in around `model_`, a BeliefNetwork: features, likelihoods, samples, completions.

    Who fits it keeps ``_particles`` of the top machine or None, ``_score_seed``, and ``_bracket``,
    None after each change of the model (:mod:`deepgen.estimators.density`).
    """

    def transform(self, X):
        """Return the mean activities of the uppermost layer, by the recognition weights.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_hidden[-1]), float32
        """
        X, stack = rows_to_read(self, X), self.model_.stack
        return by_pieces(
            X, self.model_.visible, lambda v: stack_features(stack, v, n_threads=self.n_threads)
        )

    def log_partition(self, *, n_chains=100, n_betas=3000):
        """Return a bracket of log Z of the top machine; see :meth:`RBM.log_partition`.

        `score_samples`, `bound` and `score` use the bracket of the last call, or one with these
        defaults.

        Parameters
        ----------
        n_chains : int, default 100
        n_betas : int, array-like or None, default 3000

        Returns
        -------
        LogPartition
        """
        check_is_fitted(self)
        return density.bracket(self, self.model_.top, n_chains, n_betas)

    def score_samples(self, X, *, n_draws=100):
        """Estimate log p(v) by row in nats from below, with log Z at the bracket's value.

        The importance-weighted bound (:func:`deepgen.importance_weighted_bound`): low on average,
        less so with more draws.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            States. Grey values give no log-likelihood and a warning: binarize them.
        n_draws : int, default 100
            Draws of the hidden layers for each row; equal rows have equal draws.

        Returns
        -------
        ndarray of shape (n_samples,), float64
        """
        return self._bounded(importance_weighted_bound, X, n_draws)

    def bound(self, X, *, n_draws=100):
        """Estimate the variational lower bound of log p(v) by row, with log Z as above.

        Parameters
        ----------
        X, n_draws
            See :meth:`score_samples`.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            See :func:`deepgen.variational_bound`.
        """
        return self._bounded(variational_bound, X, n_draws)

    def _bounded(self, function, X, n_draws):
        X = rows_to_read(self, X)
        check_integer(n_draws, "n_draws")
        density.check_whole_rows(X, self.model_.visible)  # before the work that log Z is
        return function(
            self.model_, X, log_partition=density.last_bracket(self).value, n_draws=n_draws,
            random_state=self._score_seed, n_threads=self.n_threads,
        )  # fmt: skip

    def score(self, X, y=None):
        """Return the mean of `score_samples` at the lower end of the bracket of log Z.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        float
            Nats a row.
        """
        samples = self.score_samples(X)
        bracket = density.last_bracket(self)
        return float(np.mean(samples) - (bracket.upper - bracket.value))

    def sample(self, n_samples=1, *, n_sweeps=1000, random_state=None, first_row=0):
        """Draw rows: Gibbs sampling in the top machine, then one pass down.

        Parameters
        ----------
        n_samples : int
        n_sweeps : int, default 1000
            Sweeps of the top machine, a chain for each row. Chains start from the training
            particles where there are any.
        random_state : int, RandomState, Generator or None
        first_row : int, default 0
            Pieces drawn with the right `first_row` equal the whole.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            uint8, or float32 for Gaussian units.
        """
        check_is_fitted(self)
        density.check_sampling(n_samples, n_sweeps, first_row)
        if n_samples == 0:
            return np.empty((0, self.n_features_in_), self.model_.visible.state_dtype)
        seed = seed_of(random_state)
        particles = density.first_states(
            self, self.model_.top, n_samples, Stream.from_random_state(seed), first_row
        )
        return sample_belief(
            self.model_, n_samples, particles=particles, n_sweeps=n_sweeps, random_state=seed,
            first_row=first_row, n_threads=self.n_threads,
        )  # fmt: skip

    def impute(
        self, X, missing=None, *, method="mean", return_std=False, n_chains=20, n_sweeps=100,
        random_state=None, first_row=0,
    ):  # fmt: skip
        """Complete rows; observed entries come back untouched.

        Chains over hidden layers and missing entries, see :func:`deepgen.belief.impute_belief`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        missing : bool array of shape (n_samples, n_features) or None
            None: where X is NaN.
        method : {"mean", "draw"}, default "mean"
            Mean over chains of the missing entries' means, or one joint draw.
        return_std : bool, default False
            Also return the standard deviation of each missing entry (0 where observed).
        n_chains, n_sweeps : int
            Chains a row, and sweeps of each.
        random_state : int, RandomState, Generator or None
        first_row : int, default 0

        Returns
        -------
        ndarray, or tuple of two, of shape (n_samples, n_features)
            Of the dtype of X where that is floating, else float32.
        """
        check_is_fitted(self)
        density.check_imputation(method, return_std, n_chains, n_sweeps, first_row)
        values, states, missing = rows_with_gaps(self, X, missing, self.model_.visible)
        draws, means, deviation = impute_belief(
            self.model_, states, missing, n_chains=n_chains, n_sweeps=n_sweeps,
            random_state=random_state, first_row=first_row, n_threads=self.n_threads,
        )  # fmt: skip
        completed = in_type_of(values, missing, draws if method == "draw" else means)
        return (completed, deviation) if return_std else completed

    @property
    def _n_features_out(self):
        return self.model_.sizes[-1]
