"""What estimators share whose rows are documents: lengths, log Z by length, perplexity."""

import numpy as np
from scipy import sparse
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import real_array, shown
from deepgen.estimators.common.validation import by_pieces, rows_to_read
from deepgen.layers.named import as_units
from deepgen.layers.units import Units
from deepgen.likelihood import log_partition_by_length
from deepgen.likelihood.lengths import check_lengths
from deepgen.rows.states import row_totals

# Chains and inverse temperatures of each length, where nobody has asked for others.
CHAINS, BETAS = 100, 1000


def lengths_in(X, units):
    """Return how many words each document has, int64 of shape (n_documents,).

    Parameters
    ----------
    X : ndarray or CSR matrix
        Counts that `rows_to_read` has returned.
    units : Multinomial
    """
    return by_pieces(X, units, row_totals).astype(np.int64)


def lengths_asked(n_words, n_rows):
    """Return numbers of words by row, int64 of shape (n_rows,), of one number or one for each."""
    lengths = check_lengths(real_array(n_words, "n_words"))
    if lengths.shape not in ((), (n_rows,)):
        raise ValueError(f"n_words must be a number or have shape ({n_rows},), got {lengths.shape}")
    return np.ascontiguousarray(np.broadcast_to(lengths, n_rows))


def lengths_of_samples(units, n_words, n_rows):
    """Return how long samples are to be: as asked for, or usual; None where rows are no documents.

    Raises
    ------
    ValueError
        If `n_words` is given where rows have no words.
    """
    if units.takes_trials:
        return lengths_asked(units.usual_trials if n_words is None else n_words, n_rows)
    if n_words is not None:
        raise ValueError(
            f"n_words must be None where the visible units are {units!r}: only documents have words"
        )
    return None


def partition_of(estimator, machine, X, n_chains=None, n_betas=BETAS):
    """Return brackets of log Z for the lengths of documents; what is known of others is kept.

    Parameters
    ----------
    estimator : BaseEstimator
        Its ``_fitted`` keeps the brackets beside `n_chains` and `n_betas`.
    machine : BoltzmannMachine
    X : array-like or sparse matrix
        Counts as users pass them, or numbers of words, of shape (n_documents,).
    n_chains, n_betas
        See :func:`deepgen.log_partition_by_length`. Without `n_chains`: those of the last call.

    Returns
    -------
    LengthPartition
    """
    if not sparse.issparse(X) and np.ndim(X) == 1:
        lengths = check_lengths(X)
    else:
        lengths = lengths_in(rows_to_read(estimator, X), machine.layers[0])
    wanted, known = estimator._fitted.bracket or ((CHAINS, BETAS), None)
    if n_chains is not None:
        asked = (n_chains, n_betas if n_betas is None else tuple(np.ravel(n_betas).tolist()))
        known = known if asked == wanted else None
        wanted = asked
    chains, betas = wanted
    if isinstance(betas, tuple):
        betas = betas[0] if len(betas) == 1 else np.array(betas)
    found = log_partition_by_length(
        machine, lengths, n_chains=chains, n_betas=betas, known=known,
        random_state=estimator._fitted.score_seed, n_threads=estimator.n_threads,
    )  # fmt: skip
    estimator._fitted.bracket = (wanted, found)
    return found


def perplexity_of(log_p, lengths, per):
    """Return the perplexity of documents whose log-likelihoods these are.

    ``exp(-mean(log p / D))`` by document, ``exp(-sum log p / sum D)`` by word, of those with words.

    Parameters
    ----------
    log_p : ndarray of shape (n_documents,)
    lengths : ndarray of shape (n_documents,)
    per : {"document", "word"}
    """
    log_p, lengths = log_p[lengths > 0], lengths[lengths > 0]
    if not len(lengths):
        raise ValueError("X must have documents with words for a perplexity, got none")
    if per == "word":
        return float(np.exp(-log_p.sum() / lengths.sum()))
    return float(np.exp(-np.mean(log_p / lengths)))


def check_per(per):
    """Raise ValueError unless `per` says what a perplexity is averaged over."""
    if per not in ("document", "word"):
        raise ValueError(f"per must be 'document' or 'word', got {shown(per)}")


def reads_documents(estimator):
    """Tell whether the rows of an estimator are documents, fitted or not."""
    model = getattr(estimator, "model_", None)
    if model is not None:
        return model.visible.takes_trials
    visible = estimator.visible
    named = visible == "multinomial" if isinstance(visible, str) else isinstance(visible, Units)
    return named and as_units(visible, "visible").takes_trials


def _of_documents(estimator):
    if not reads_documents(estimator):
        raise AttributeError(
            f"this {type(estimator).__name__} is no model of documents; make it with "
            "visible='multinomial'"
        )
    return True


class DeepDocuments:
    """Mix-in of deep models whose rows can be documents: perplexity, around `score_samples`."""

    @available_if(_of_documents)
    def perplexity(self, X, *, per="document", n_draws=100):
        """Return the perplexity of documents: how many equally likely words it would be as hard as.

        Of estimates that are low on average (:meth:`score_samples`), with log Z at the upper ends
        of its brackets, so that the perplexity is an upper one.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_documents, n_words)
            Documents without words have no part in it.
        per : {"document", "word"}, default "document"
            See :meth:`deepgen.ReplicatedSoftmax.perplexity`.
        n_draws : int, default 100

        Returns
        -------
        float
        """
        check_is_fitted(self)
        check_per(per)
        at_value = self.score_samples(X, n_draws=n_draws)
        value, upper = self._log_z(X)
        lengths = lengths_in(rows_to_read(self, X), self.model_.visible)
        return perplexity_of(at_value - (upper - value), lengths, per)
