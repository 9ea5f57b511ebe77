"""What estimators around a Boltzmann machine share: brackets of log Z, likelihoods, chains."""

import os
import threading
from abc import abstractmethod
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import MOST_ROWS, check_flag, check_integer, shown
from deepgen.estimators.common.base import FeatureEstimator
from deepgen.estimators.common.collectives import collective_of
from deepgen.estimators.common.documents import lengths_in, lengths_of_samples, partition_of
from deepgen.estimators.common.frames import completed_rows, framed_like
from deepgen.estimators.common.row_chains import RowChains, as_rows
from deepgen.estimators.common.validation import (
    rows_to_read,
    rows_with_gaps,
    table_of,
    table_with_gaps,
    warn_of_grey_rows,
)
from deepgen.inference.completion import impute
from deepgen.inference.gibbs import start_particles
from deepgen.inference.running import RunningChains
from deepgen.inference.samplers import check_sampler, description_of
from deepgen.inference.trajectories import TrajectoryTempering
from deepgen.layers.context import Context
from deepgen.layers.passes import Site
from deepgen.likelihood.bracket import Bracketing, shared_bracket
from deepgen.likelihood.ladder import joined, log_partition_by_ladder
from deepgen.rows.fingerprint import digest_of
from deepgen.rows.particles import Particles
from deepgen.rows.sources import ArrayRows
from deepgen.rows.states import dense
from deepgen.rows.survey import checked_pieces
from deepgen.runtime.collective import by_parts, require_same
from deepgen.runtime.stream import IMPUTE, SAMPLE, Stream
from deepgen.runtime.work import Work

# What `transform` gives of hidden units: their means, or the fields that these are means of.
QUANTITIES = ("mean", "field")


def bracket_of(estimator, machine, n_chains, n_betas, ladder=None):
    """Return the bracket of a machine's log Z, computed once for a fitted model and these numbers.

    Parameters
    ----------
    estimator : BaseEstimator
        Its ``_fitted`` keeps the bracket beside what it was asked for with; each fit makes it anew.
    machine : BoltzmannMachine
    n_chains, n_betas
        See :func:`deepgen.log_partition_bracket`.
    ladder : TrajectoryTempering or None
        The bracket hears it too (:func:`deepgen.likelihood.ladder.joined`).
    """
    fitted = estimator._fitted
    wanted = (
        n_chains, n_betas if n_betas is None else tuple(np.ravel(n_betas).tolist()),
        None if ladder is None else description_of(ladder),
    )  # fmt: skip
    known, bracket = fitted.bracket or (None, None)
    if known != wanted:
        collective = collective_of(estimator)
        asked = dict(zip(("n_chains", "n_betas", "ladder"), wanted, strict=True))
        require_same(collective, asked)
        with _lock:
            known, bracket = fitted.bracket or (None, None)
            if known != wanted:
                bracket = shared_bracket(
                    machine, fitted.particles,
                    Bracketing(n_chains, n_betas, n_threads=estimator.n_threads),
                    fitted.score_seed, collective,
                )
                if ladder is not None and bracket.method != "exact":
                    # each process computes the same: the chains of a ladder are few
                    bracket = joined(bracket, log_partition_by_ladder(
                        machine, ladder, n_chains=n_chains, random_state=fitted.score_seed,
                        n_threads=estimator.n_threads,
                    ))  # fmt: skip
                fitted.bracket = (wanted, bracket)
    return bracket


def last_bracket(estimator):
    """Return the bracket that was asked for last, or one with the default numbers."""
    known = estimator._fitted.bracket
    return known[1] if known else estimator.log_partition()


def check_whole_rows(X, visible):
    """Raise ValueError unless rows can have a likelihood; warn where values are between states."""
    grey = False
    for states in checked_pieces(ArrayRows(X), visible):
        grey = grey or not visible.is_state(states)
        if visible.missing(states) is not None:
            raise ValueError(
                "X has missing variables (all-zero groups), and log p(v) is that of whole rows; "
                "complete them with impute, or compare free_energy of rows with the same gaps"
            )
    if grey:
        warn_of_grey_rows()


def check_sampling(n_samples, n_sweeps, first_row):
    """Raise ValueError unless these are numbers of samples, sweeps and a row."""
    check_integer(n_samples, "n_samples", 0)
    check_integer(n_sweeps, "n_sweeps", 0)
    check_integer(first_row, "first_row", 0, MOST_ROWS)


def asked_samples(n_samples, n_sweeps, first_row, sampler, **by_row):
    """Return the arguments of a call of :meth:`sample` as plain data, arrays as digests.

    Processes that share the samples compare them: all must have made the same call. `by_row` are
    arrays by row, or None, under the names that users know them by, such as ``y``.
    """
    digests = {n: None if x is None else digest_of(x) for n, x in by_row.items()}
    return {
        "n_samples": int(n_samples), "n_sweeps": int(n_sweeps), "first_row": int(first_row),
        "sampler": None if sampler is None else description_of(sampler), **digests,
    }  # fmt: skip


def asked_rows(states, missing, n_chains, n_sweeps, first_row, sampler=None):
    """Return the arguments of a call of :meth:`impute` as plain data; see `asked_samples`."""
    return {
        "X": digest_of(dense(states), missing), "n_chains": int(n_chains),
        "n_sweeps": int(n_sweeps), "first_row": int(first_row),
        "sampler": None if sampler is None else description_of(sampler),
    }  # fmt: skip


def check_quantity(quantity):
    """Raise ValueError unless `quantity` says what `transform` gives of hidden units."""
    if not isinstance(quantity, str) or quantity not in QUANTITIES:
        expected = " or ".join(repr(known) for known in QUANTITIES)
        raise ValueError(f"quantity must be {expected}, got {shown(quantity)}")


def first_states(estimator, machine, n_samples, stream, first_row, lengths=None):
    """Return where chains start: the training particles where there are any.

    Documents of given lengths start from the biases; particles have lengths of their own.
    """
    particles = estimator._fitted.particles
    if particles is None or lengths is not None:
        return start_particles(machine, n_samples, stream, first_row=first_row, trials=lengths)
    chosen = np.arange(first_row, first_row + n_samples) % len(particles)
    return Particles([x[chosen] for x in particles.states])


@dataclass(frozen=True)
class Completion:
    """Rows whose missing entries are filled in, in every way that chains tell.

    Each is an array, or a data frame for a data frame, of shape (n_samples, n_features), see
    :meth:`deepgen.RBM.impute`; observed entries are untouched, their deviation is 0.

    Attributes
    ----------
    means : array or data frame
        Means over chains of the missing entries' conditional means.
    draws : array or data frame
        One joint draw of the missing entries of each row.
    deviations : array or data frame
        Standard deviations of the missing entries.
    """

    means: object
    draws: object
    deviations: object


class DensityEstimator(FeatureEstimator):
    """Mix-in: scores with log Z in a bracket, and completions.

    A class with it writes `score_samples`, and ``_machine`` where the machine whose log Z is
    bracketed is not `model_`. Each change of the model makes its ``_fitted`` anew, a
    :class:`~deepgen.estimators.common.fitting.Fitted`, which keeps the bracket.
    """

    @property
    def _machine(self):
        return self.model_

    def _beside_model(self):
        return {"score_seed": self._fitted.score_seed}

    def log_partition(self, X=None, *, n_chains=100, n_betas=3000, ladder=None):
        """Return a bracket of log Z: exact where that is cheap, else forward and reverse AIS.

        Of a belief network it is that of the top machine. Likelihoods use the bracket of the last
        call, or one with these defaults: where it is too wide, call this with more chains and
        temperatures first.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_documents, n_words), or None
            Of a model of documents in which log Z depends on their lengths: counts, or numbers of
            words, of shape (n_documents,). None for all others. A belief network of documents
            with more than one hidden layer is one of the others.
        n_chains : int, default 100
            The width falls with the square root.
        n_betas : int, array-like or None, default 3000
            Inverse temperatures; None is the schedule of record, 14,501 of them.
        ladder : TrajectoryTempering or None
            Models that a fit has passed through, of ``dg.ModelLadder().sampler()``: a second
            opinion, which sees tight modes beside broad ones. Where it contradicts annealing the
            bracket opens, and its `reason` says so (:func:`deepgen.ladder_bracket`). Not of
            documents whose log Z depends on their lengths.

        Returns
        -------
        LogPartition or LengthPartition
            `lower`, `value`, `upper`, and by `method` which way was taken; see
            :func:`deepgen.log_partition_bracket`. Computed once for a fitted model and these
            numbers. By length: see :func:`deepgen.log_partition_by_length`; likelihoods take 1,000
            temperatures of each length where nobody has asked for others.
        """
        check_is_fitted(self)
        by_length = self._machine.visible.takes_trials
        if by_length != (X is not None):
            raise ValueError(
                "X must hold documents, or their numbers of words: log Z depends on them, got None"
                if by_length
                else f"X must be None where log Z is one number, got {shown(X)}"
            )
        if ladder is not None and (by_length or not isinstance(ladder, TrajectoryTempering)):
            expected = "None where log Z depends on lengths" if by_length else (
                "None or a dg.TrajectoryTempering, such as sampler() of a dg.ModelLadder"
            )  # fmt: skip
            raise ValueError(f"ladder must be {expected}, got {shown(ladder)}")
        if ladder is not None:
            check_integer(n_chains, "n_chains", 2)
        if by_length:
            return partition_of(self, self._machine, X, n_chains, n_betas)
        return bracket_of(self, self._machine, n_chains, n_betas, ladder)

    def _log_z(self, X):
        """Return log Z and the upper end of its bracket; of documents one of each by row."""
        if not self._machine.visible.takes_trials:
            bracket = last_bracket(self)
            return bracket.value, bracket.upper
        lengths = lengths_in(rows_to_read(self, X), self._machine.visible)
        partition = partition_of(self, self._machine, lengths)
        return partition.value(lengths), partition.upper(lengths)

    def score(self, X, y=None):
        """Return the mean of `score_samples` with log Z at the upper end of its bracket.

        That is the lower end of the likelihood: a search by `score` never prefers a model because
        annealing failed on it.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        float
            Nats a row.
        """
        return self._mean_at_upper_end(self.score_samples(X), X)

    def _mean_at_upper_end(self, at_value, X):
        """Return the mean of log p(v) by row, from log Z at its value to its upper end."""
        value, upper = self._log_z(X)
        return float(np.mean(at_value) - np.mean(upper - value))

    def impute(
        self, X, missing=None, *, method="mean", return_std=False, n_chains=20, n_sweeps=100,
        random_state=None, first_row=0,
    ):  # fmt: skip
        """Complete rows; observed entries come back untouched.

        By Gibbs chains with the observed entries held; in a belief network a sweep offers hidden
        layers and accepts them by their weights
        (:func:`deepgen.inference.belief_completion.impute_belief`). With another sampler, in a
        machine: ``complete``.

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
        array or data frame, or tuple of two, of shape (n_samples, n_features)
            Of the dtype of X where that is floating, else float32. A data frame for a data frame:
            with its index and names, its columns without a missing entry as they are. With
            ``visible="auto"`` cells have values that their columns can have: of means the most
            probable one, and the mean itself of real columns. The deviation of a category is then
            the probability that it is another one.
        """
        if method not in ("mean", "draw"):
            raise ValueError(f"method must be 'mean' or 'draw', got {shown(method)}")
        check_flag(return_std, "return_std")
        chains = {
            "n_chains": n_chains, "n_sweeps": n_sweeps, "random_state": random_state,
            "first_row": first_row,
        }  # fmt: skip
        form, draws, means, deviations = self._completed(X, missing, chains)
        completed = form(draws if method == "draw" else means)
        return (completed, deviations) if return_std else completed

    def _completed(self, X, missing, chains):
        """Return a function that gives states the form of X, then draws, means and deviations.

        Draws and means are states of the visible layer, deviations have the form of X already.

        Parameters
        ----------
        X, missing
            See :meth:`impute`.
        chains : dict
            The other arguments of ``_complete``, by name.
        """
        check_is_fitted(self)
        if self.model_.visible.takes_trials:
            raise ValueError(
                f"impute needs columns that can be missing, and this {type(self).__name__} is one "
                "of documents; ReplicatedSoftmax.impute tells which words they lack"
            )
        check_integer(chains["n_chains"], "n_chains")
        check_integer(chains["n_sweeps"], "n_sweeps", 0)
        check_integer(chains["first_row"], "first_row", 0, MOST_ROWS)
        table = table_of(self)
        if table is not None:
            missing, states, gaps = table_with_gaps(self, X, missing)
            draws, means, deviations = self._complete(states, gaps, **chains)
            deviations = table.deviations(missing, means, deviations)
            return partial(table.completed, X, missing), draws, means, deviations
        values, states, missing = rows_with_gaps(self, X, missing, self.model_.visible)
        draws, means, deviations = self._complete(states, missing, **chains)
        form = partial(completed_rows, X, values, missing)
        return form, draws, means, framed_like(X, deviations)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @abstractmethod
    def _complete(self, states, missing, *, n_chains, n_sweeps, random_state, first_row):
        """Return (draws, means, deviations) of missing entries, by chains; see :meth:`impute`."""


class MachineEstimator(DensityEstimator):
    """Mix-in around `model_`, a BoltzmannMachine: samples and completions by chains."""

    def sample(
        self, n_samples=1, *, n_sweeps=1000, random_state=None, first_row=0, sampler=None,
        n_words=None,
    ):  # fmt: skip
        """Draw rows, each from a Markov chain of its own.

        Parameters
        ----------
        n_samples : int
        n_sweeps : int, default 1000
            Sweeps of each chain. Chains start from the training particles where there are any.
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
            kind that `fit` got: a data frame of a data frame. Documents are a csr_array of counts.
        """
        check_is_fitted(self)
        check_sampling(n_samples, n_sweeps, first_row)
        return self._samples(
            n_samples, n_sweeps, random_state=random_state, first_row=first_row, sampler=sampler,
            n_words=n_words,
        )  # fmt: skip

    def _samples(
        self, n_samples, n_sweeps, *, labels=None, random_state, first_row, sampler, n_words
    ):
        """Return rows of chains, each process moving those of its rows; see :meth:`sample`."""
        collective = collective_of(self)
        stream = collective.broadcast(Stream.from_random_state(random_state))
        lengths = lengths_of_samples(self.model_.layers[0], n_words, n_samples)

        def drawn(rows):
            chains = self._chains_of(rows, stream, first_row, sampler, lengths, labels)
            return chains.move(n_sweeps)[0].states[:1]

        def told():
            return asked_samples(n_samples, n_sweeps, first_row, sampler, y=labels, n_words=lengths)

        states = by_parts(collective, n_samples, drawn, told)[0]
        return as_rows(states, self.model_.layers[0], table_of(self))

    def chains(self, n_chains=1, *, random_state=None, first_row=0, sampler=None, n_words=None):
        """Return chains that go on: ``run`` moves them, and gives the rows that they have then.

        Parameters
        ----------
        n_chains : int
        random_state, first_row, sampler, n_words
            See :meth:`sample`, which is one run of such chains.

        Returns
        -------
        RowChains
        """
        check_is_fitted(self)
        check_sampling(n_chains, 0, first_row)
        return self._row_chains(n_chains, random_state, first_row, sampler, n_words)

    def _row_chains(self, n_chains, random_state, first_row, sampler, n_words, labels=None):
        """Return chains that go on; see :meth:`chains`."""
        lengths = lengths_of_samples(self.model_.layers[0], n_words, n_chains)
        stream = Stream.from_random_state(random_state)
        rows = slice(0, n_chains)
        chains = self._chains_of(rows, stream, first_row, sampler, lengths, labels)
        return RowChains(chains, table_of(self), n_threads=self.n_threads)

    def _chains_of(self, rows, stream, first_row, sampler, lengths, labels):
        """Return some of the chains that are drawn from a stream.

        Parameters
        ----------
        rows : slice
            Which of them.
        stream : Stream
            Of a user's seed.
        first_row : int
            Number of the first of all.
        sampler : Sampler or None
        lengths : ndarray of shape (n_chains,) or None
            Of documents, of all chains.
        labels : ndarray of shape (n_chains, n_classes) or None
            One-hot labels that are held, of all chains, of the uppermost layer; a row of zeros
            holds nothing.

        Returns
        -------
        RunningChains
        """
        model, first = self.model_, first_row + rows.start
        own = None if lengths is None else lengths[rows]
        particles, context = first_states(
            self, model, rows.stop - rows.start, stream, first, own
        ), None
        if labels is not None:
            labels = labels[rows]
            known = labels.any(axis=1, keepdims=True)
            top = np.where(known, labels, particles[-1])
            particles = Particles([*particles.states[:-1], top])
            held = np.broadcast_to(known, labels.shape)
            context = Context(held={model.n_layers - 1: held})
        return RunningChains(
            model, particles, Site(stream.child("sample"), SAMPLE, first), sampler=sampler,
            context=context, work=Work(n_threads=self.n_threads),
        )  # fmt: skip

    def complete(
        self, X, missing=None, *, sampler=None, n_chains=20, n_sweeps=100, random_state=None,
        first_row=0,
    ):  # fmt: skip
        """Complete rows by chains of any sampler; return means, draws and deviations at once.

        Where observed entries leave several completions that lie far apart, Gibbs chains stay with
        that where they began, however probable the others are. A sampler that moves between them
        has each as often as it is probable.

        Parameters
        ----------
        X, missing
            See :meth:`impute`, which is this with Gibbs sampling and one of the results.
        sampler : Sampler or None
            One that can hold entries, such as :class:`deepgen.ParallelTempering`. None:
            :class:`deepgen.Gibbs`.
        n_chains, n_sweeps : int
            Chains a row, and sweeps of each.
        random_state : int, RandomState, Generator or None
        first_row : int, default 0

        Returns
        -------
        Completion

        Raises
        ------
        ValueError
            If `sampler` is none, or cannot hold entries; and as :meth:`impute`.

        Examples
        --------
        >>> import numpy as np, deepgen as dg
        >>> X = dg.datasets.sample_bars_and_stripes(200, 3, random_state=0)
        >>> rbm = dg.RBM(8, n_epochs=2, random_state=0).fit(X)
        >>> holes = X[:2].astype(np.float32)
        >>> holes[:, :4] = np.nan
        >>> found = rbm.complete(holes, sampler=dg.ParallelTempering(5), random_state=0)
        >>> found.means.shape, found.deviations[:, 4:].sum().item()
        ((2, 9), 0.0)
        """
        if sampler is not None:
            check_sampler(sampler, for_context=True)
        chains = {
            "sampler": sampler, "n_chains": n_chains, "n_sweeps": n_sweeps,
            "random_state": random_state, "first_row": first_row,
        }  # fmt: skip
        form, draws, means, deviations = self._completed(X, missing, chains)
        return Completion(form(means), form(draws), deviations)

    def _complete(
        self, states, missing, *, n_chains, n_sweeps, random_state, first_row, sampler=None
    ):
        collective = collective_of(self)
        stream = collective.broadcast(Stream.from_random_state(random_state))

        def completed(rows):
            return impute(
                self.model_, states[rows], missing[rows],
                Site(stream, IMPUTE, first_row + rows.start), n_chains=n_chains,
                n_sweeps=n_sweeps, sampler=sampler, work=Work(n_threads=self.n_threads),
            )  # fmt: skip

        def told():
            return asked_rows(states, missing, n_chains, n_sweeps, first_row, sampler)

        return by_parts(collective, len(missing), completed, told)


# One lock for all estimators: a lock of their own could not be pickled, and a bracket is rare.
_lock = threading.Lock()


def _renew_lock_in_child():
    # a thread that the child does not have may have held it
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock_in_child)
