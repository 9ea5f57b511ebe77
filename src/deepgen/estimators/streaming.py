"""How learning from a stream begins: with the first rows, however few come at a time."""

from deepgen.data import ArrayRows, join, survey
from deepgen.estimators.settings import trainer_for
from deepgen.stream import Stream
from deepgen.training import initial_model


def begin(estimator, seed, earlier, X, visible, hidden):
    """Start a run from the first `batch_size` rows, or from as many as have come.

    The model starts from the moments of its first rows, and so do the offsets of centring and the
    scale of real-valued units: one row has no variance. So short calls are put together, and each
    starts anew with all that came before it, until there is a batch.

    Parameters
    ----------
    estimator : RBM
    seed : int
    earlier : ndarray, CSR matrix or None
        Rows of the calls before, fewer than `batch_size`.
    X : ndarray or CSR matrix
        New rows.
    visible, hidden : Units

    Returns
    -------
    tuple of (Trainer, rows, rows or None)
        All rows to learn from; and those that the next call needs, None where there is a batch.
    """
    if earlier is not None:
        X = join([earlier, X])
    batch = ArrayRows(X[: estimator.batch_size])
    n_rows, mean, variance = survey(batch, visible, n_threads=estimator.n_threads)
    stream = Stream.from_random_state(seed)
    model = initial_model(visible, hidden, mean, variance, n_rows, stream)
    trainer = trainer_for(estimator, model, stream, streaming=True)
    short = n_rows < estimator.batch_size
    # the caller may fill the same buffer again
    return trainer, X, X.copy() if short else None
