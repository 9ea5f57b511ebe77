"""Model files that commands use, and which commands work on which."""

from deepgen.cli.common.errors import CommandError, UsageError
from deepgen.estimators import RatingsRBM, ReplicatedSoftmax, TemporalRBM
from deepgen.estimators.common.validation import table_of
from deepgen.estimators.loading import load

# By command: the method of estimators that it calls, and what it says of those without the method.
METHODS = {
    "score": ("score", "has no score"),
    "sample": ("sample", "is no distribution that rows can be drawn from"),
    "transform": ("transform", "has no features or codes to write"),
    "impute": ("impute", "cannot complete rows"),
    "predict": ("predict", "predicts nothing"),
    "topics": ("top_words", "has no topics"),
    "recommend": ("recommend", "recommends nothing"),
}
# Commands that work on a model of ratings: others read rows, and it answers about users and items.
OF_RATINGS = ("score", "recommend")
# Commands that work on a model of sequences.
OF_SEQUENCES = ("score", "sample", "transform")


def is_exact(estimator):
    """Tell whether an estimator has exact likelihoods and independent samples, as a mixture has."""
    return not hasattr(estimator, "log_partition") and not is_of_sequences(estimator)


def is_of_documents(estimator):
    """Tell whether rows of an estimator are documents: counts, with a number of words each."""
    return isinstance(estimator, ReplicatedSoftmax)


def is_of_ratings(estimator):
    """Tell whether an estimator is of ratings, which files hold as triples."""
    return isinstance(estimator, RatingsRBM)


def is_of_sequences(estimator):
    """Tell whether rows of an estimator are frames of sequences."""
    return isinstance(estimator, TemporalRBM)


def load_ratings(path, command):
    """Load a model of ratings, with identifiers: numbers from 0 where it was fitted on a matrix.

    Raises
    ------
    CommandError, ModelFileError
        See :func:`load_able`.
    """
    estimator = load_able(path, command)
    if estimator.item_ids_ is not None:
        return estimator
    return RatingsRBM.from_model(
        estimator.model_, estimator.rows, range(estimator.n_users_), range(estimator.n_items_)
    )


def require_documents(estimator, path, flag):
    """Raise UsageError where a flag about words is given for a model of other rows."""
    if not is_of_documents(estimator):
        raise UsageError(
            f"--{flag} is for replicated-softmax, but {path} holds {in_words(estimator)}; leave it "
            "out"
        )


def load_able(path, command, *, with_names=False):
    """Load an estimator that a command works on.

    Parameters
    ----------
    path : str
    command : str
        A key of `METHODS`.
    with_names : bool, default False
        Leave the names of columns to it. Rows in files are arrays, which have none.

    Raises
    ------
    CommandError
        If the file holds an estimator that it does not work on; the message says which do.
    ModelFileError
        If the file is no whole, valid model.
    """
    estimator = load(path)
    if table_of(estimator) is None and not with_names:
        vars(estimator).pop("feature_names_in_", None)
    if is_of_ratings(estimator) and command not in OF_RATINGS:
        raise CommandError(
            f"{path} holds {in_words(estimator)}, which answers about users and items, not about "
            f"rows; commands that work on it are info, {' and '.join(OF_RATINGS)}"
        )
    if is_of_sequences(estimator) and command not in OF_SEQUENCES:
        *most, last = OF_SEQUENCES
        raise CommandError(
            f"{path} holds {in_words(estimator)}, whose rows are frames of sequences; commands "
            f"that work on it are info, {', '.join(most)} and {last}"
        )
    method, lack = METHODS[command]
    # what an estimator can do may depend on its fitted model: scikit-learn tells by attributes
    if not hasattr(estimator, method):
        able = [name for name, (method, _) in METHODS.items() if hasattr(estimator, method)]
        raise CommandError(
            f"{path} holds {in_words(estimator)}, which {lack}; commands that work on it are "
            f"info, {', '.join(able[:-1])} and {able[-1]}"
        )
    return estimator


def on_threads(estimator, n_threads):
    """Return an estimator that works on so many threads, where it has the choice.

    Parameters
    ----------
    estimator : estimator
    n_threads : int or None
    """
    # a hierarchy of classes has one thread whatever is said: the flag never changes results
    if "n_threads" in estimator.get_params(deep=False):
        estimator.set_params(n_threads=n_threads)
    return estimator


def in_words(estimator):
    """Return an estimator's type with its article, and what decides which commands work on it."""
    name = type(estimator).__name__
    name = f"an {name}" if name.startswith(("A", "RBM")) else f"a {name}"
    labelled = estimator.get_params(deep=False).get("label_units")
    return name if labelled is None else f"{name} {'with' if labelled else 'without'} label units"
