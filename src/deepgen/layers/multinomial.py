"""Multinomial units: counts of draws that all columns share, such as the words of a document."""

import math
from itertools import chain, combinations_with_replacement

import numpy as np
import scipy

from deepgen._kernels import engine
from deepgen.checks import RefusedValue, check_integer, check_number, first_place
from deepgen.layers.units import Alternatives, Units, check_range
from deepgen.rows.counts import MOST_COUNTS as MOST_TRIALS
from deepgen.rows.counts import CountInputs
from deepgen.rows.states import CompressedRows, dense, row_totals

# Count vectors that are listed at the most.
MOST_LISTED = 2**16


class Multinomial(Units):
    """Counts of some draws, each of one of `size` columns: replicated softmax units.

    A row of D words is D softmax units that share their bias and their weights; its states are the
    counts of the words, float32. The weight of a state is that of the words in one order, so a
    likelihood is one of ordered words and has no multinomial coefficient.

    Parameters
    ----------
    size, bias
        See :class:`Units`.
    trials : int or None
        Draws of each row. None: every row has its own number, the sum of its counts
        (``Context.trials``), and the bias of the neighbouring layer counts as many times
        (``Context.bias_scale``). ``model.of_length(trials)`` is the machine of rows of one length.
    mean_trials : float, default 1
        Of rows that have their own number: what it usually is. Rows whose number nobody tells have
        it, rounded; gradients are taken in these units (docs/math.md, "Documents").

    References
    ----------
    Salakhutdinov & Hinton (2009), Replicated softmax: an undirected topic model.
    """

    kind = engine.KINDS["multinomial"]
    state_dtype = np.float32
    usual_rate = 0.1
    activation = "softmax"

    def __init__(self, size=None, *, bias=None, trials=None, mean_trials=1.0):
        if trials is not None:
            check_integer(trials, "trials", 0, MOST_TRIALS)
            trials = int(trials)
        check_number(mean_trials, "mean_trials", 0.0, MOST_TRIALS + 1)
        super().__init__(size, bias=bias)
        self.trials, self.mean_trials = trials, float(mean_trials)

    @property
    def group(self):
        """All columns: the draws are shared."""
        return self.size or 1

    @property
    def takes_trials(self):
        """Whether each row has a number of draws of its own."""
        return self.trials is None

    @property
    def largest_state(self):
        """The number of draws, or the largest that there can be."""
        return MOST_TRIALS if self.trials is None else self.trials

    @property
    def usual_trials(self):
        """`mean_trials`, rounded, of rows that have their own number; else 1."""
        return max(1, round(self.mean_trials)) if self.takes_trials else 1

    @property
    def _kernel_copies(self):
        return self.usual_trials if self.takes_trials else self.trials

    @property
    def n_states(self):
        """How many count vectors a row can be; infinite where its length is its own, or too many.

        There are ``(trials + size - 1 over trials)``.
        """
        if self.trials is None:
            return math.inf
        gammaln = scipy.special.gammaln
        logs = gammaln(self.trials + self.size) - gammaln(self.trials + 1) - gammaln(self.size)
        if logs > math.log(MOST_LISTED):
            return math.inf
        return math.comb(self.trials + self.size - 1, self.trials)

    def options(self):
        """Return the settings that are not parameters."""
        if self.trials is None:
            return {"mean_trials": self.mean_trials}
        return {"trials": self.trials}

    def measures(self):
        """Return `mean_trials`, of rows that have their own number."""
        return self.options() if self.takes_trials else {}

    def of_length(self, trials):
        """Return the same units, all rows of which have so many draws."""
        return Multinomial(bias=self.bias, trials=trials)

    def trials_of(self, states):
        """Return how many draws each row of states has, float64 of shape (n_rows,)."""
        if isinstance(states, np.ndarray) and states.dtype == np.float32:
            # in a quarter of the time, and exact: whole numbers, at most MOST_TRIALS together
            return states.sum(axis=1).astype(np.float64)
        return row_totals(states)

    def alternatives(self):
        """Return the count vectors of a row, with the logs of how many orders each has."""
        if math.isinf(self.n_states):
            return super().alternatives()
        draws = combinations_with_replacement(range(self.size), self.trials)
        columns = np.fromiter(chain.from_iterable(draws), np.int32)
        starts = np.arange(self.n_states + 1, dtype=np.int64) * self.trials
        counts = scipy.sparse.csr_array(
            (np.ones(len(columns), np.float32), columns, starts), shape=(self.n_states, self.size)
        )
        counts.sum_duplicates()
        orders = scipy.special.gammaln(counts.data.astype(np.float64) + 1.0)
        orders = scipy.sparse.csr_array((orders, counts.indices, counts.indptr), shape=counts.shape)
        return Alternatives(counts, scipy.special.gammaln(self.trials + 1) - orders.sum(axis=1))

    def variance(self, mean):
        """Return ``mean (1 - mean / trials)`` of each column by itself."""
        mean = np.asarray(mean).astype(np.float64)
        trials = mean.sum(axis=-1, keepdims=True)
        return mean * (1.0 - mean / np.maximum(trials, np.finfo(np.float64).tiny))

    def field_of(self, mean):
        """Return log shares of the draws, at least -80."""
        share = np.asarray(mean, np.float64)
        share = share / np.maximum(share.sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
        return np.log(np.maximum(share, np.exp(-80.0))).astype(np.float32)

    def fitted_to(self, mean, variance, n_rows):
        """Return the layer whose bias is the log frequency, smoothed by one count a column."""
        counts = np.asarray(mean, np.float64) * n_rows + 1.0
        options = self.options()
        if self.trials is None:
            options["mean_trials"] = max(float(np.sum(mean)), 1.0)
        return Multinomial(bias=np.log(counts / counts.sum()), **options)

    @property
    def gain(self):
        """`mean_trials` for each column, of rows that have their own number of trials."""
        return np.full(self.size, self.mean_trials, np.float32) if self.takes_trials else None

    def row_weights(self, states):
        """Return ``1 / trials`` of each row, 0 of empty ones: every row counts by the word.

        As it is, a row of a thousand words would count a hundred times as much as one of ten, and
        its step would go too far.
        """
        if not self.takes_trials:
            return None
        trials = self.trials_of(states)
        return np.where(trials > 0, 1.0 / np.maximum(trials, 1.0), 0.0)

    def inputs(self, form="counts"):
        """Return how a network reads counts, as large as rows of usual length have them."""
        usual = self.mean_trials if self.takes_trials else max(self.trials, 1)
        gains = {"counts": 1.0, "logs": math.sqrt(usual), "shares": usual}
        return CountInputs(form, gains[form])

    def target_of(self, states):
        """Return the shares of the columns in each row; an empty row is no target, all zeros."""
        shares = dense(states).astype(np.float32)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True, dtype=np.float64), 1.0)
        return shares

    def check(self, states, name="X"):
        """Raise RefusedValue unless all values are counts, which add up to `trials` where given."""
        check_range(
            states, name, 0, expected="hold counts, whole numbers from 0 on",
            remedy="Negative values in data are no counts of words",
        )  # fmt: skip
        values = states.values if isinstance(states, CompressedRows) else states
        if values.dtype != np.uint8:
            fractions = values != np.floor(values)
            if fractions.any():
                self._refuse_fraction(states, fractions, name)
        totals = row_totals(states)
        if self.trials is not None:
            wrong = totals != self.trials
            if wrong.any():
                row = int(wrong.argmax())
                raise RefusedValue(
                    name, f"have {self.trials} counts in each row", totals[row], row,
                    remedy="units without trials= take rows of any length",
                )  # fmt: skip
        elif totals.size and totals.max() > MOST_TRIALS:
            row = int(totals.argmax())
            raise RefusedValue(
                name, f"have at most {MOST_TRIALS} counts in a row", totals[row], row,
                remedy="cut such a document into several",
            )  # fmt: skip

    def check_with_holes(self, states, name="X"):
        """Raise RefusedValue as :meth:`check` does: a count that is not known has no place here."""
        self.check(states, name)

    def _refuse_fraction(self, states, fractions, name):
        if isinstance(states, CompressedRows):
            entry = int(fractions.argmax())
            row = int(np.searchsorted(states.starts, entry, side="right")) - 1
            column, value = int(states.indices[entry]), states.values[entry]
        else:
            row, column = first_place(fractions)
            value = states[row, column]
        remedy = "give the counts of words (CountVectorizer): TF-IDF and frequencies are no counts"
        if np.isnan(value):
            remedy = "words that are missing from a document: ReplicatedSoftmax.impute"
        raise RefusedValue(
            name, "hold counts, whole numbers from 0 on", value, row, column, remedy
        )  # fmt: skip
