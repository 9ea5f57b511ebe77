"""Model files that commands use."""

from deepgen.cli.errors import CommandError
from deepgen.estimators.loading import load


def is_exact(estimator):
    """Tell whether an estimator knows its likelihoods without a bracket, and draws at once."""
    return not hasattr(estimator, "log_partition")


def load_able(path, method, does):
    """Load an estimator that has a method.

    Raises
    ------
    CommandError
        If the file holds an estimator that has not; `does` says what it cannot do.
    ModelFileError
        If the file is no whole, valid model.
    """
    estimator = load(path)
    if not hasattr(estimator, method):
        raise CommandError(f"{path} holds a {type(estimator).__name__}, which cannot {does}")
    return estimator
