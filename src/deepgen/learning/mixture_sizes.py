"""How many components a mixture gets where nobody says it: as rows that are held back ask for."""

import numpy as np

from deepgen.inference.mixtures import impute_mixture, log_likelihood
from deepgen.rows.holes import filled
from deepgen.rows.sources import ArrayRows, select
from deepgen.rows.survey import survey
from deepgen.runtime.stream import SHUFFLE

# Numbers of components of a run to choose from, and rows from which on it is the largest.
SIZES, MANY_ROWS = (1, 3, 6, 12, 25, 50, 100, 250, 500), 10_000
# Runs that are joined: at most so many, fewer for the choice; and of so many components together.
MOST_RUNS, RUNS_OF_CHOICE, MOST_COMPONENTS = 30, 10, 500
# Parts that the rows are cut into for the choice; from so many rows on one of them is held back,
# of fewer each in turn.
FOLDS, ROWS_OF_ONE_FOLD = 6, 1_000
# Where a tenth of the rows or more have holes: values of a part of them are hidden, so many times.
TURNS, SHARE_WITH_HOLES = 3, 0.1
# Standard errors behind the best from which on larger numbers are not tried.
HOPELESS = 3.0


def number_of_runs(size, most=MOST_RUNS):
    """Return how many runs of so many components are joined; one component needs one."""
    return 1 if size == 1 else max(1, min(most, MOST_COMPONENTS // size))


def chosen_size(rows, visible, n_rows, learn, stream, *, n_threads=None):
    """Return the best number of components; one where none is ahead of it by a standard error.

    By the log-likelihood of rows that are held back. Where a tenth of the rows or more have holes:
    by the log probability of single values, which are hidden in each row where another one has its
    holes. That is what a completion is asked for: columns that are missing together are hidden
    together.

    Parameters
    ----------
    rows : Rows
    visible : Units
    n_rows : int
    learn : callable
        ``learn(rows, moments, size, stream)`` returns a mixture of `size` components a run, given
        the rows' number, means and variances.
    stream : Stream
    n_threads : int or None

    Returns
    -------
    int
        One of `SIZES`; the largest for 10,000 rows, for fewer than 12, and for iterables.
    """
    if not isinstance(rows, ArrayRows) or not 2 * FOLDS <= n_rows < MANY_ROWS:
        return SIZES[-1]
    parts = _parts(rows, visible, stream)
    n_learned = min(kept.n_rows for kept, *_ in parts)
    sizes, scores = [size for size in SIZES if size == 1 or size <= n_learned], []
    for size in sizes:
        scores.append(
            np.concatenate([
                _scores(learn(kept, moments, size, stream), held, hidden, n_threads)
                for kept, moments, held, hidden in parts
            ])
        )  # fmt: skip
        best = max(scores, key=np.mean)
        if _standard_errors(best - scores[-1]) > HOPELESS:
            break
    # Joined runs overfit little, so the best is taken; but a single component has nothing to learn.
    if _standard_errors(best - scores[0]) <= 1.0:
        return 1
    return sizes[int(np.argmax([each.mean() for each in scores]))]


def _parts(rows, visible, stream):
    """Cut the rows into some to learn and some to score, in several ways where rows are few.

    Returns
    -------
    list of tuple of (kept, moments, held, hidden)
        Rows to learn, their number, means and variances by column, the states that are scored, and
        a mask of the single values that are; None: rows by their likelihood.
    """
    holes = visible.unknown_in(rows.X) if isinstance(rows.X, np.ndarray) else None
    if holes is not None and holes.any(axis=1).mean() >= SHARE_WITH_HOLES:
        parts = _parts_with_holes(visible, visible.states_of(rows.X, holes=True), holes, stream)
        if sum(hidden.any(axis=1).sum() for *_, hidden in parts) >= 2 * FOLDS:
            return parts
    order, parts = stream.permutation(rows.n_rows, SHUFFLE), []
    folds = np.array_split(order, FOLDS)
    for fold in folds if rows.n_rows < ROWS_OF_ONE_FOLD else folds[:1]:
        kept = ArrayRows(select(rows.X, np.setdiff1d(order, fold)))
        held = visible.states_of(select(rows.X, np.sort(fold)), holes=True)
        parts.append((kept, survey(kept, visible, holes=True), held, None))
    return parts


def _parts_with_holes(visible, states, holes, stream):
    """Hide values of a third of the rows after the other; all rows are learned, with more holes."""
    patterns, parts = holes[holes.any(axis=1)], []
    taken = stream.generator("hidden").integers(len(patterns), size=len(states))
    hidden, turn = patterns[taken] & ~holes, np.arange(len(states)) % TURNS
    for number in range(TURNS):
        now = hidden & (turn == number)[:, None]
        kept = ArrayRows(np.where(now, np.float32(np.nan), states))
        parts.append((kept, survey(kept, visible, holes=True), states, now))
    return parts


def _scores(model, held, hidden, n_threads):
    """Return the log probability of each held-back row, or of its hidden values alone, in nats."""
    if hidden is None:
        return log_likelihood(model, held, n_threads=n_threads)
    chosen = hidden.any(axis=1)
    held, hidden = held[chosen], hidden[chosen]
    missing = hidden | np.isnan(held)
    _, means, deviations = impute_mixture(
        model, filled(held, missing), missing, n_threads=n_threads
    )
    deviations = np.where(hidden, deviations, 1.0)
    scores = model.visible.value_scores(filled(held, ~hidden), means, deviations)
    return np.where(hidden, scores, 0.0).sum(axis=1)


def _standard_errors(away):
    """Return the mean of differences by row in its standard errors."""
    error = away.std(ddof=1) / np.sqrt(len(away))
    return away.mean() / error if error > 0.0 else 0.0
