"""What ``deepgen train --valid`` watches of held-out rows, by the kind of the model."""

import numpy as np

from deepgen.cli.common.errors import CommandError, UsageError
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
    if kind.estimator is ReplicatedSoftmax:
        raise UsageError(
            f"valid is not watched for the model {kind.name}: each length of documents has its own "
            "log Z; leave it out, and use deepgen score MODEL DATA after the run"
        )
    if reads_tables(estimator):
        return _of_table(estimator, X, source)
    valid = read_rows(source, settings.get("packed_columns"))
    if valid.shape[1] != X.shape[1]:
        raise CommandError(
            f"{source} has {valid.shape[1]} columns, but {settings['data']} has {X.shape[1]}"
        )
    units = real_columns() if kind.learns_labels else as_units(estimator.visible)
    try:
        units = units.sized(X.shape[1])
        states = as_states(valid)
        units.check(states, "the rows")
    except ValueError as error:
        raise refused(source, valid, error) from error
    if kind.learns_labels:
        read = read_labels if kind.name == "classifier" else read_targets
        labels = read(settings["valid_labels"], valid.shape[0], source)
        watch = _of_classifier if kind.name == "classifier" else _of_regressor
        return [watch(estimator, y, valid, labels, settings["valid_labels"])]
    if kind.is_network:
        return [_of_autoencoder(estimator, valid)]
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
