"""Replicated softmax, a model of documents, as a scikit-learn estimator."""

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_integer, shown
from deepgen.estimators.common.base import FeatureEstimator
from deepgen.estimators.common.density import check_quantity, check_sampling
from deepgen.estimators.common.documents import (
    check_per,
    lengths_asked,
    lengths_in,
    partition_of,
    perplexity_of,
)
from deepgen.estimators.common.fitting import Fitted
from deepgen.estimators.common.hyperparameters import check_machine_settings
from deepgen.estimators.common.machines import MachineProblem
from deepgen.estimators.common.reports import ReportingEstimator
from deepgen.estimators.common.streams import StreamEstimator
from deepgen.estimators.common.validation import by_pieces, features, rows_to_read
from deepgen.inference.documents import missing_words
from deepgen.inference.gibbs import layer_field, start_particles, update_layer
from deepgen.inference.running import moved_particles
from deepgen.layers.binary import Binary
from deepgen.layers.multinomial import Multinomial
from deepgen.layers.passes import Site
from deepgen.learning.optimizers import SGD
from deepgen.learning.rule_states import Sparsity
from deepgen.learning.rules import CD, PCD, as_rule
from deepgen.learning.schedules import Constant, as_schedule
from deepgen.likelihood import RowLikelihoods, free_energy
from deepgen.models import BoltzmannMachine
from deepgen.rows.states import row_totals
from deepgen.runtime.stream import IMPUTE, SAMPLE, Stream
from deepgen.runtime.work import Work

# What works untuned on two corpora (docs/decisions.md, "Documents").
RATE, AVERAGING, EPOCHS = 0.1, 0.3, 20
FEWEST_UPDATES = 1_000


class ReplicatedSoftmax(StreamEstimator, ReportingEstimator, FeatureEstimator, BaseEstimator):
    """Replicated softmax: topics of documents from their counts of words.

    An RBM whose visible units are the words of a document, as many as it has, with shared weights
    (Salakhutdinov & Hinton 2009): for counts v of D words
    ``p(v, h) = exp(v^T W h + b^T v + D c^T h) / Z(D)``. In learning each document counts by the
    word, 1 / D, so that long ones do not decide.

    Parameters
    ----------
    n_hidden : int, default 50
        Hidden binary units, the topics. Unlike those of LDA several are on in one document.
    rule : {"pcd", "cd"} or rule, default "pcd"
        ``dg.PCD(n_particles=200, sparsity=dg.Sparsity(0.5))``, whose chains have the lengths of
        documents, or ``dg.CD(3, centring=False)``.
    learning_rate : float, schedule or None
        None: 0.1, constant; the average of the last steps takes the place of a decay.
    optimizer : SGD, Adam or None
        None: plain steps, no decay, the last 30 % averaged.
    batch_size : int, default 100
    n_epochs : int or None
        None: 20, or more where rows are few, for 1,000 updates.
    random_state : int, RandomState, Generator or None
        The same seed gives the same bits for any number of threads.
    n_threads : int or None
        None: ``OMP_NUM_THREADS``, else all cores that this process may use.
    callbacks : sequence of callable or None
        Called with an ``EpochReport`` after each epoch; a true value stops training.
    verbose : int, default 0
        1 shows a progress bar.

    Attributes
    ----------
    model_ : BoltzmannMachine
        ``model_.weights[0]`` is (n_words, n_hidden).
    components_ : ndarray of shape (n_hidden, n_words)
        Its transpose: weights of the words in each topic.
    history_ : list of dict
    n_features_in_ : int
        Words of the vocabulary.
    n_updates_, n_epochs_ : int
    likelihood_report_ : dict
        How the last likelihood was estimated: ``method``, ``value``, ``lower`` and ``upper`` (nats
        a row), ``forward`` (optimistic), ``mean_variance`` (of log weights; above 0.1, raise
        `n_betas`), ``n_rows``.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> counts = np.random.default_rng(0).poisson(0.5, size=(200, 30))
    >>> topics = dg.ReplicatedSoftmax(4, n_epochs=2, random_state=0).fit(counts)
    >>> topics.transform(counts).shape
    (200, 4)
    """

    _saved_as = "ReplicatedSoftmax"

    def __init__(
        self, n_hidden=50, *, rule="pcd", learning_rate=None, optimizer=None, batch_size=100,
        n_epochs=None, random_state=None, n_threads=None, callbacks=None, verbose=0,
    ):  # fmt: skip
        self.n_hidden = n_hidden
        self.rule = rule
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.verbose = verbose

    # --- learning -----------------------------------------------------------------------------

    def fit(self, X, y=None, *, resume=None):
        """Learn from counts of words.

        Parameters
        ----------
        X : array-like, sparse matrix or iterable of batches, (n_documents, n_words)
            Counts of any integer type, such as ``CountVectorizer`` gives; CSR stays sparse. TF-IDF
            and other fractions are refused. Documents without words are allowed, and teach nothing.
        y : ignored
        resume : str, path-like or None
            A file that :class:`deepgen.Checkpoint` has written: the run goes on from there, with
            the same bits as if it had not been stopped.

        Returns
        -------
        ReplicatedSoftmax
            This estimator.

        Raises
        ------
        ValueError
            If a parameter or a value of X is not valid, or if the checkpoint is that of another
            run; raised before any work.
        FileNotFoundError
            If there is no such checkpoint.
        DivergedError
            If a parameter is no longer finite; `model_` is the last good model.
        """
        return self._fit(X, y, resume)

    def partial_fit(self, X, y=None):
        """Learn from more documents, a batch of at most `batch_size` at a time, in their order.

        As :meth:`deepgen.RBM.partial_fit`: the learning rate of None is constant here, half of
        where `fit` starts, and `model_` the mean of the newest updates.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_documents, n_words)
            Counts.
        y : ignored

        Returns
        -------
        ReplicatedSoftmax
            This estimator.
        """
        return self._partial_fit(X, lambda rows, first: self._problem(rows, y))

    def _check_settings(self):
        for name in ("n_hidden", "batch_size"):
            check_integer(getattr(self, name), name)
        check_machine_settings(self)
        self._rule()

    def _rule(self):
        if isinstance(self.rule, str) and self.rule in RULES:
            return RULES[self.rule]
        return as_rule(self.rule)

    def _problem(self, rows, y):
        layers = Multinomial(self.n_features_in_), Binary(int(self.n_hidden))
        return _DocumentsProblem(self, layers, rows, rule=self._rule())

    # --- using --------------------------------------------------------------------------------

    @property
    def components_(self):
        """Weights of the words in each topic, (n_hidden, n_words)."""
        check_is_fitted(self)
        return self.model_.weights[0].T

    def transform(self, X, *, quantity="mean"):
        """Return E[h | v], the topics of each document, or the fields behind them.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_documents, n_words)
            Counts.
        quantity : {"mean", "field"}, default "mean"
            The field is that of a word, ``c + W^T v / D``. Means of long documents round to 0 and
            1; where documents are compared, subtract the fields' mean and take cosines.

        Returns
        -------
        ndarray of shape (n_documents, n_hidden), float32
        """
        check_quantity(quantity)
        X, model, work = rows_to_read(self, X), self.model_, Work(n_threads=self.n_threads)
        bias = model.layers[1].bias

        def of_topics(v):
            if quantity == "mean":
                return update_layer(model, 1, [v, None], mean=True, work=work)[0]
            words = row_totals(v)[:, None].astype(np.float32)
            fields = layer_field(model, 1, [v, None], work=work)
            return np.where(words, fields / np.maximum(words, 1.0), bias)

        return by_pieces(X, model.layers[0], of_topics)

    def inverse_transform(self, X):
        """Return the distribution of a word given topics, ``softmax(b + W h)``.

        Parameters
        ----------
        X : array-like of shape (n_documents, n_hidden)
            Topics in [0, 1].

        Returns
        -------
        ndarray of shape (n_documents, n_words), float32
        """
        check_is_fitted(self)
        hidden = self.model_.layers[1]
        states = hidden.states_of(features(self, X, hidden.size, "the topics"))
        of_word = self.model_.replace(layers=[self.model_.layers[0].of_length(1), hidden])
        work = Work(n_threads=self.n_threads)
        return update_layer(of_word, 0, [None, states], mean=True, work=work)[0]

    def top_words(self, n=10, vocabulary=None):
        """Return the words that tell each topic from the others.

        Parameters
        ----------
        n : int, default 10
        vocabulary : sequence of str or None
            Words by column, such as ``CountVectorizer.get_feature_names_out()``. None: names of
            the data frame that `fit` got, else numbers of columns.

        Returns
        -------
        list of list
            For each topic its `n` words, those of the largest weights minus their mean over all
            topics first. Weights alone would put the same frequent words everywhere.
        """
        check_is_fitted(self)
        check_integer(n, "n")
        if vocabulary is None:
            vocabulary = getattr(self, "feature_names_in_", range(self.n_features_in_))
        vocabulary = list(vocabulary)
        if len(vocabulary) != self.n_features_in_:
            raise ValueError(
                f"vocabulary must have {self.n_features_in_} words, one a column, got "
                f"{len(vocabulary)}"
            )
        weights = self.components_ - self.components_.mean(axis=0)
        order = np.argsort(-weights, axis=1, kind="stable")[:, :n]
        return [[vocabulary[word] for word in row] for row in order]

    def sample(self, n_samples=1, *, n_words=None, n_sweeps=1000, random_state=None, first_row=0):
        """Draw documents, each from a Markov chain of its own.

        Parameters
        ----------
        n_samples : int
        n_words : int, array-like of shape (n_samples,) or None
            Words of each. None: as many as the documents of `fit` had on average.
        n_sweeps : int, default 1000
        random_state : int, RandomState, Generator or None
        first_row : int, default 0
            Pieces drawn with the right `first_row` equal the whole.

        Returns
        -------
        csr_array of shape (n_samples, n_words of the vocabulary), int64
            Counts.
        """
        check_is_fitted(self)
        check_sampling(n_samples, n_sweeps, first_row)
        if n_words is None:
            n_words = self.model_.layers[0].usual_trials
        lengths = lengths_asked(n_words, n_samples)
        stream = Stream.from_random_state(random_state)
        if n_samples == 0:
            return sparse.csr_array((0, self.n_features_in_), dtype=np.int64)
        start = start_particles(
            self.model_, n_samples, stream, first_row=first_row, trials=lengths
        )
        site = Site(stream.child("sample"), SAMPLE, first_row)
        particles = moved_particles(
            self.model_, start, site, n_sweeps=n_sweeps, work=Work(n_threads=self.n_threads)
        )
        return sparse.csr_array(particles[0].astype(np.int64))

    def impute(
        self, X, n_words, *, method="mean", n_chains=20, n_sweeps=50, random_state=None,
        first_row=0,
    ):  # fmt: skip
        """Return which words documents lack, given those that they have.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_documents, n_words of the vocabulary)
            Counts of the words that are there.
        n_words : int or array-like of shape (n_documents,)
            How many are missing.
        method : {"mean", "draw"}, default "mean"
            Expected counts of the missing words, or one joint draw of them.
        n_chains, n_sweeps : int
        random_state : int, RandomState, Generator or None
        first_row : int, default 0

        Returns
        -------
        ndarray of shape (n_documents, n_words of the vocabulary), float32
            Counts of the missing words alone; they add up to `n_words` in each row.
        """
        X = rows_to_read(self, X)
        if method not in ("mean", "draw"):
            raise ValueError(f"method must be 'mean' or 'draw', got {shown(method)}")
        check_integer(n_chains, "n_chains")
        check_sampling(X.shape[0], n_sweeps, first_row)
        check_integer(n_sweeps, "n_sweeps")
        counts = self.model_.layers[0].states_of(X)
        site = Site(Stream.from_random_state(random_state), IMPUTE, first_row)
        draws, means = missing_words(
            self.model_, counts, lengths_asked(n_words, X.shape[0]), site, n_chains=n_chains,
            n_sweeps=n_sweeps, work=Work(n_threads=self.n_threads),
        )  # fmt: skip
        return draws if method == "draw" else means

    # --- likelihoods --------------------------------------------------------------------------

    def log_partition(self, X, *, n_chains=100, n_betas=1000):
        """Return brackets of log Z for all lengths of some documents.

        Likelihoods use the numbers of the last call, or these defaults: where brackets are too
        wide, call this with more chains and temperatures first.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_documents, n_words)
            Counts; or their numbers of words, of shape (n_documents,).
        n_chains : int, default 100
        n_betas : int, array-like or None, default 1000
            Inverse temperatures of each length; see :func:`deepgen.log_partition_by_length`.

        Returns
        -------
        LengthPartition
            Computed once for a fitted model and these numbers; what is known of other lengths is
            kept.
        """
        check_is_fitted(self)
        return partition_of(self, self.model_, X, n_chains, n_betas)

    def free_energy(self, X):
        """Return -log sum_h exp(-energy(v, h)) by document, in nats.

        Comparable between documents of one length only.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_documents, n_words)

        Returns
        -------
        ndarray of shape (n_documents,), float64
        """
        return self._free_energy(rows_to_read(self, X))

    def _free_energy(self, X):
        """Return free energies of rows that `rows_to_read` has returned."""
        model = self.model_
        return by_pieces(
            X, model.layers[0], lambda v: free_energy(model, v, n_threads=self.n_threads)
        )

    def score_samples(self, X):
        """Return log p(v) of the words of each document in their order, given how many they are.

        In nats, with log Z at the brackets' values; 0 of a document without words.
        `likelihood_report_` tells how far that can be believed.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_documents, n_words)

        Returns
        -------
        ndarray of shape (n_documents,), float64
        """
        return self._log_likelihoods(X)[0].by_row

    def _log_likelihoods(self, X):
        """Return the likelihoods of documents, :class:`RowLikelihoods`, and their lengths."""
        X = rows_to_read(self, X)
        lengths = lengths_in(X, self.model_.layers[0])
        partition, energies = partition_of(self, self.model_, lengths), self._free_energy(X)
        found = RowLikelihoods(energies, partition.by_row(lengths))
        self._fitted.report = found.report()
        return found, lengths

    def score(self, X, y=None):
        """Return the mean of `score_samples` with log Z at the upper ends of its brackets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_documents, n_words)
        y : ignored

        Returns
        -------
        float
            Nats a document.
        """
        return float(np.mean(self._log_likelihoods(X)[0].lower))

    def perplexity(self, X, *, per="document"):
        """Return the perplexity of documents: how many equally likely words it would be as hard as.

        With log Z at the upper ends of its brackets, so that the perplexity is an upper one.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_documents, n_words)
            Documents without words have no part in it.
        per : {"document", "word"}, default "document"
            ``exp(-mean(log p(v) / D))`` as in the paper, or ``exp(-sum log p(v) / sum D)``, which
            long documents decide.

        Returns
        -------
        float
        """
        check_per(per)
        found, lengths = self._log_likelihoods(X)
        return perplexity_of(found.lower, lengths, per)

    # --- files --------------------------------------------------------------------------------

    @classmethod
    def from_model(cls, model):
        """Return a fitted estimator around a core model of multinomial and binary units.

        Parameters
        ----------
        model : BoltzmannMachine
        """
        good = isinstance(model, BoltzmannMachine) and model.n_layers == 2
        if not good or not model.layers[0].takes_trials or not model.layers[1].is_bernoulli:
            raise ValueError(
                "model must be a BoltzmannMachine of dg.Multinomial() and dg.Binary() units, got "
                f"{shown(model)}"
            )
        topics = cls(model.layers[1].size)
        topics.model_ = model
        topics.history_ = []
        topics.n_updates_ = 0
        topics.n_features_in_ = model.layers[0].size
        topics._fitted = Fitted()
        return topics

    def _beside_model(self):
        return {"score_seed": self._fitted.score_seed}

    # --- scikit-learn -------------------------------------------------------------------------

    @property
    def _n_features_out(self):
        return self.model_.layers[1].size

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


# Without a target some units are off, or on, in all documents for good: their bias counts once for
# each word.
RULES = {"pcd": PCD(n_particles=200, sparsity=Sparsity(0.5)), "cd": CD(3, centring=False)}


def usual_rule():
    """Return the rule that a replicated softmax learns by, where nobody says."""
    return RULES["pcd"]


def usual_optimizer():
    """Return its optimizer: plain steps, no decay, an average of the last ones."""
    return SGD(weight_decay=0.0, averaging=AVERAGING)


def usual_epochs(n_rows, batch_size):
    """Return 20 epochs, or as many as make 1,000 updates of few rows."""
    by_updates = -(-FEWEST_UPDATES * int(batch_size) // int(n_rows))
    return max(EPOCHS, min(by_updates, FEWEST_UPDATES))


class _DocumentsProblem(MachineProblem):
    """The layers of a replicated softmax, its usual rates and steps."""

    @property
    def takes_holes(self):
        """A count that is not known has no place here: `impute` asks how many words are missing."""
        return False

    def schedule(self):
        """Return the learning rates of `fit`."""
        rate = self.estimator.learning_rate
        return Constant(RATE) if rate is None else as_schedule(rate)

    def stream_schedule(self, n_rows):
        """Return the learning rate of an update of a stream."""
        rate = self.estimator.learning_rate
        return Constant(0.5 * RATE) if rate is None else as_schedule(rate)

    def optimizer(self, model):
        """Return the optimizer of the estimator, else plain steps."""
        given = self.estimator.optimizer
        return usual_optimizer() if given is None else given

    def usual_epochs(self, n_rows):
        """Return 20, or as many as make 1,000 updates of few rows."""
        return usual_epochs(n_rows, self.estimator.batch_size)
