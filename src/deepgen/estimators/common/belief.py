"""What a fitted estimator around a belief network answers."""

from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_integer
from deepgen.estimators.common import density
from deepgen.estimators.common.collectives import collective_of
from deepgen.estimators.common.documents import DeepDocuments, lengths_of_samples
from deepgen.estimators.common.row_chains import Below, RowChains, as_rows
from deepgen.estimators.common.validation import by_pieces, rows_to_read, table_of
from deepgen.inference.belief_completion import impute_belief
from deepgen.inference.belief_networks import downward_pass
from deepgen.inference.running import RunningChains
from deepgen.layers.passes import Site
from deepgen.likelihood import importance_weighted_bound, variational_bound
from deepgen.runtime.collective import by_parts
from deepgen.runtime.stream import SAMPLE, Stream, seed_of
from deepgen.runtime.work import Work
from deepgen.stacks.features import stack_features


class BeliefEstimator(DeepDocuments, density.DensityEstimator):
    """Mix-in around `model_`, a BeliefNetwork: features, likelihoods, samples, completions.

    The particles in ``_fitted`` are those of the top machine.
    """

    @property
    def _machine(self):
        return self.model_.top

    def transform(self, X, *, quantity="mean"):
        """Return the mean activities of the uppermost layer, by the recognition weights.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            NaN where a value is missing: the lowest layer then reads its mean-field mean.
        quantity : {"mean", "field"}, default "mean"
            ``"field"``: the total input ``c + W^T x`` of the uppermost layer, `x` the means of
            the layer below; means are its logistic. See :meth:`deepgen.RBM.transform`.

        Returns
        -------
        ndarray of shape (n_samples, n_hidden[-1]), float32
        """
        density.check_quantity(quantity)
        X, stack, field = rows_to_read(self, X), self.model_.stack, quantity == "field"
        return by_pieces(
            X, self.model_.visible,
            lambda v: stack_features(stack, v, field=field, n_threads=self.n_threads),
            holes=True,
        )  # fmt: skip

    def score_samples(self, X, *, n_draws=100):
        """Estimate log p(v) by row in nats, low on average, with log Z at the bracket's value.

        With importance weights (:func:`deepgen.importance_weighted_bound`): low on average, less so
        with more draws. It is no bound of a single row, which can lie above its log p(v).

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
            self.model_, X, log_partition=self._log_z(X)[0], n_draws=n_draws,
            random_state=self._fitted.score_seed, n_threads=self.n_threads,
        )  # fmt: skip

    def sample(
        self, n_samples=1, *, n_sweeps=1000, random_state=None, first_row=0, sampler=None,
        n_words=None,
    ):  # fmt: skip
        """Draw rows: chains of the top machine, then one pass down.

        Parameters
        ----------
        n_samples : int
        n_sweeps : int, default 1000
            Sweeps of the top machine, a chain for each row. Chains start from the training
            particles where there are any.
        random_state : int, RandomState, Generator or None
        first_row : int, default 0
            Pieces drawn with the right `first_row` equal the whole.
        sampler : Sampler or None
            What moves the chains. None: :class:`deepgen.Gibbs`.
        n_words : int, array-like of shape (n_samples,) or None
            Of documents: words of each. None: as many as those of `fit` had on average.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            uint8, or float32 for Gaussian and mixed units. With ``visible="auto"`` a table of the
            kind that `fit` got. Documents are a csr_array of counts.
        """
        check_is_fitted(self)
        density.check_sampling(n_samples, n_sweeps, first_row)
        lengths = lengths_of_samples(self.model_.visible, n_words, n_samples)
        collective, network = collective_of(self), self.model_
        stream = collective.broadcast(Stream.from_random_state(random_state))

        def drawn(rows):
            chains = self._top_chains(rows, stream, first_row, sampler, lengths)
            states = chains.move(n_sweeps)[0][0]
            if network.layers:
                states = downward_pass(
                    network, states, stream.child("down"), first_row=first_row + rows.start,
                    trials=None if lengths is None else lengths[rows], n_threads=self.n_threads,
                )[0]  # fmt: skip
            return [states]

        def told():
            return density.asked_samples(n_samples, n_sweeps, first_row, sampler, n_words=lengths)

        states = by_parts(collective, n_samples, drawn, told)[0]
        return as_rows(states, network.visible, table_of(self))

    def chains(self, n_chains=1, *, random_state=None, first_row=0, sampler=None, n_words=None):
        """Return chains of the top machine that go on; ``run`` moves them, and gives rows.

        Each time they are looked at, one pass goes down from where they are. Its draws are those
        of this number of sweeps, so that rows of two looks are independent given the chains, and
        other ones than those of `sample`.

        Parameters
        ----------
        n_chains : int
        random_state, first_row, sampler, n_words
            See :meth:`sample`.

        Returns
        -------
        RowChains
        """
        check_is_fitted(self)
        density.check_sampling(n_chains, 0, first_row)
        lengths = lengths_of_samples(self.model_.visible, n_words, n_chains)
        stream, below = Stream.from_random_state(random_state), None
        chains = self._top_chains(slice(0, n_chains), stream, first_row, sampler, lengths)
        if self.model_.layers:
            below = Below(self.model_, stream.child("down"), first_row, lengths)
        return RowChains(chains, table_of(self), below, self.n_threads)

    def _top_chains(self, rows, stream, first_row, sampler, lengths):
        """Return some chains of the top machine; lengths of documents are its own if it is alone.

        See :meth:`deepgen.estimators.common.density.MachineEstimator._chains_of`.
        """
        top, first = self.model_.top, first_row + rows.start
        own = None if self.model_.layers or lengths is None else lengths[rows]
        particles = density.first_states(self, top, rows.stop - rows.start, stream, first, own)
        site = Site(stream.child("sample"), SAMPLE, first)
        work = Work(n_threads=self.n_threads)
        return RunningChains(top, particles, site, sampler=sampler, work=work)

    def _complete(self, states, missing, *, n_chains, n_sweeps, random_state, first_row):
        collective = collective_of(self)
        seed = collective.broadcast(seed_of(random_state))

        def completed(rows):
            return impute_belief(
                self.model_, states[rows], missing[rows], n_chains=n_chains, n_sweeps=n_sweeps,
                random_state=seed, first_row=first_row + rows.start, n_threads=self.n_threads,
            )  # fmt: skip

        def told():
            return density.asked_rows(states, missing, n_chains, n_sweeps, first_row)

        return by_parts(collective, len(missing), completed, told)

    @property
    def _n_features_out(self):
        return self.model_.sizes[-1]
