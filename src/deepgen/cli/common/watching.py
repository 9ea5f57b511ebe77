"""What ``deepgen train --valid`` watches of held-out rows, by the kind of the model."""

import numpy as np
from scipy import sparse

from deepgen.cli.common.errors import CommandError
from deepgen.cli.common.frames import read_frame
from deepgen.cli.common.labels import read_labels, read_targets
from deepgen.cli.common.measures import r_squared_of
from deepgen.cli.common.rows import read_rows, refused
from deepgen.estimators import ReplicatedSoftmax
from deepgen.estimators.common.labels import has_label
from deepgen.estimators.common.tables import Table
from deepgen.estimators.common.validation import reads_tables
from deepgen.layers.named import as_units, real_columns
from deepgen.learning.monitors import FreeEnergyGap, LikelihoodMonitor
from deepgen.models import BoltzmannMachine, PosteriorNetwork
from deepgen.rows.holes import holes_in
from deepgen.rows.states import as_states

# Rows whose free energies are compared with those of held-out rows.
GAP_ROWS = 10_000
# Documents whose words are predicted at a time.
ROWS_AT_A_TIME = 1_000


class NetworkMonitor:
    """Callback that writes a number of each epoch's network into the history.

    In the greedy pretraining before it there is no network yet, and nothing is written.

    Parameters
    ----------
    name : str
    measure : callable
        From a network to a number.
    """

    def __init__(self, name, measure):
        self.name, self.measure = name, measure

    def is_for(self, trainer):
        """Take part in the fine-tuning only."""
        return "loss" in trainer.watchable

    def __call__(self, report):
        """Add this epoch's number."""
        report.entry[self.name] = float(self.measure(report.trainer.model()))


class CompletionMonitor:
    """Callback that writes how well one half of held-out documents tells the other.

    The halves are drawn once, word by word. ``exp(-mean(log p / D))`` over documents, with p of the
    D words of one half by ``softmax(b + W E[h | other half])``: document completion, which needs no
    log Z. Documents without words in both halves are left out.

    Parameters
    ----------
    counts : sparse matrix of shape (n_documents, n_words)
    judge : callable
        From a model to its estimator.
    """

    name = "completion_perplexity"

    def __init__(self, counts, judge):
        counts = sparse.csr_array(counts).astype(np.int64)
        given = counts.copy()
        given.data = np.random.default_rng(0).binomial(counts.data, 0.5)
        asked = counts - given
        both = (given.sum(axis=1) > 0) & (asked.sum(axis=1) > 0)
        self.given, self.asked, self.judge = given[both], asked[both], judge

    @property
    def n_documents(self):
        """How many have words in both halves."""
        return self.given.shape[0]

    def __call__(self, report):
        """Add this epoch's number."""
        estimator, nats = self.judge(report.trainer.model()), 0.0
        for first in range(0, self.n_documents, ROWS_AT_A_TIME):
            rows = slice(first, first + ROWS_AT_A_TIME)
            given, asked = self.given[rows], self.asked[rows]
            words = estimator.inverse_transform(estimator.transform(given)).astype(np.float64)
            logs = np.log(np.maximum(words, np.finfo(np.float32).tiny))
            nats -= (asked.multiply(logs).sum(axis=1) / asked.sum(axis=1)).sum()
        report.entry[self.name] = float(np.exp(nats / self.n_documents))


def monitors_for(kind, estimator, data, settings):
    """Return the callbacks that watch the rows of `valid`, none where there are no such rows.

    Parameters
    ----------
    kind : Kind
    estimator : estimator
        Not fitted yet.
    data : tuple of (X, y)
        What it will learn from; y may be None.
    settings : dict

    Raises
    ------
    CommandError
        If the rows or their labels do not fit those of the data.
    """
    if "valid" not in settings:
        return []
    X, y = data
    source = settings["valid"]
    if reads_tables(estimator):
        return _of_table(estimator, X, source)
    valid = read_rows(source, settings.get("packed_columns"))
    if valid.shape[1] != X.shape[1]:
        raise CommandError(
            f"{source} has {valid.shape[1]} columns, but {settings['data']} has {X.shape[1]}"
        )
    units = _units_of(kind, estimator)
    try:
        units = units.sized(X.shape[1])
        states = as_states(valid)
        units.check(states, "the rows")
    except ValueError as error:
        raise refused(source, valid, error) from error
    if kind.learns:
        read = read_labels if kind.learns == "classes" else read_targets
        labels = read(settings["valid_labels"], valid.shape[0], source)
        watch = _of_classifier if kind.learns == "classes" else _of_regressor
        return [watch(estimator, y, valid, labels, settings["valid_labels"])]
    if kind.is_network:
        return [_of_autoencoder(estimator, valid)]
    if isinstance(estimator, ReplicatedSoftmax):
        return [_of_documents(estimator, valid, source)]
    watch, learned = [], as_states(X[:GAP_ROWS])
    holes = holes_in(learned)
    if holes is not None:  # a row with holes has no free energy
        learned = learned[~holes.any(axis=1)]
    if learned.shape[0]:
        watch.append(FreeEnergyGap(learned, states, n_threads=estimator.n_threads))
    if units.is_state(states) and units.missing(states) is None:
        watch.append(LikelihoodMonitor(states, n_threads=estimator.n_threads))
    return watch


def _of_table(estimator, X, source):
    """Return the callbacks that watch the rows of a table."""
    valid = read_frame(source)
    try:
        table = Table.of(X)
        states = [table.read(rows)[0] for rows in (X, valid)]
        units = table.units
        learned, states = (units.states_of(rows, "the rows") for rows in states)
    except ValueError as error:
        raise refused(source, valid, error) from error
    watch = [FreeEnergyGap(learned[:GAP_ROWS], states, n_threads=estimator.n_threads)]
    if units.missing(states) is None:
        watch.append(LikelihoodMonitor(states, n_threads=estimator.n_threads))
    return watch


def _units_of(kind, estimator):
    """Return the units that held-out rows are checked by, without a size."""
    if kind.learns:
        return real_columns()
    return as_units(estimator.visible) if kind.has("visible") else as_units("multinomial")


def _of_documents(estimator, valid, source):
    counts = sparse.csr_array(valid if sparse.issparse(valid) else np.asarray(valid))

    def judge(model):
        return type(estimator).from_model(model).set_params(n_threads=estimator.n_threads)

    watch = CompletionMonitor(counts, judge)
    if not watch.n_documents:
        raise CommandError(f"{source} must have a document of two words or more, got none")
    return watch


def _of_autoencoder(estimator, valid):
    def squared_error(network):
        judge = type(estimator).from_model(network).set_params(n_threads=estimator.n_threads)
        return judge.reconstruction_error(valid, loss="squared_error").mean()

    return NetworkMonitor("validation_squared_error", squared_error)


def _of_classifier(estimator, y, valid, labels, source):
    classes = np.unique(y[has_label(y, estimator.unlabelled)])
    known = np.isin(labels, classes)
    if not known.any():
        raise CommandError(
            f"{source} must hold classes of the labels, {classes[:5].tolist()}, got "
            f"{np.unique(labels)[:5].tolist()}"
        )
    labelled = known | has_label(labels, estimator.unlabelled)

    def accuracy(network):
        return (_judge(estimator, network, classes).predict(valid) == labels)[labelled].mean()

    return NetworkMonitor("validation_accuracy", accuracy)


def _of_regressor(estimator, y, valid, targets, source):
    if targets.shape[1:] != y.shape[1:]:
        raise CommandError(
            f"{source} must hold as many targets a row as the labels, got shapes {targets.shape} "
            f"and {y.shape}"
        )
    scale = y.std(axis=0)  # of the targets while the network learns: it is standardized then
    targets = (targets - y.mean(axis=0)) / np.where(scale == 0, 1.0, scale)

    def r_squared(network):
        predicted = _judge(estimator, network, targets.ndim == 1).predict(valid)
        return r_squared_of(predicted, targets)[0]

    return NetworkMonitor("validation_r_squared", r_squared)


def _judge(estimator, network, what):
    """Return a fitted estimator around the network of an epoch."""
    if isinstance(estimator.pretrained, BoltzmannMachine) and estimator.pretrained.n_layers > 2:
        network = PosteriorNetwork(estimator.pretrained, network)
    return type(estimator).from_model(network, what).set_params(n_threads=estimator.n_threads)
