"""Model files that commands use, and which commands work on which."""

from deepgen.cli.common.errors import CommandError
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
}


def is_exact(estimator):
    """Tell whether an estimator has exact likelihoods and independent samples, as a mixture has."""
    return not hasattr(estimator, "log_partition")


def load_able(path, command):
    """Load an estimator that a command works on.

    Parameters
    ----------
    path : str
    command : str
        A key of `METHODS`.

    Raises
    ------
    CommandError
        If the file holds an estimator that it does not work on; the message says which do.
    ModelFileError
        If the file is no whole, valid model.
    """
    estimator = load(path)
    if table_of(estimator) is None and command != "topics":
        vars(estimator).pop("feature_names_in_", None)  # rows are arrays, without names of columns
    method, lack = METHODS[command]
    # what an estimator can do may depend on its fitted model: scikit-learn tells by attributes
    if not hasattr(estimator, method):
        able = [name for name, (method, _) in METHODS.items() if hasattr(estimator, method)]
        raise CommandError(
            f"{path} holds {in_words(estimator)}, which {lack}; commands that work on it are "
            f"info, {', '.join(able[:-1])} and {able[-1]}"
        )
    return estimator


def in_words(estimator):
    """Return an estimator's type with its article, and what decides which commands work on it."""
    name = type(estimator).__name__
    name = f"an {name}" if name.startswith(("A", "RBM")) else f"a {name}"
    labelled = estimator.get_params(deep=False).get("label_units")
    return name if labelled is None else f"{name} {'with' if labelled else 'without'} label units"
