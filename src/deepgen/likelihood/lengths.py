"""Log Z of models whose rows have their own number of draws: one for each length of a document.

A model of documents is a machine for each length (``model.of_length``). Their log Z lie on a smooth
curve, of which a few lengths are bracketed; docs/math.md, "Documents".
"""

from dataclasses import dataclass, replace

import numpy as np

from deepgen.checks import check_integer, real_array, shown
from deepgen.likelihood.annealing import as_betas
from deepgen.likelihood.bracket import ERRORS, log_partition_bracket
from deepgen.likelihood.by_row import RowPartitions
from deepgen.likelihood.exact import LogPartition
from deepgen.models import check_model
from deepgen.runtime.stream import child_seed

# The next length that is bracketed is so many times the last one: 16 lengths reach 1,200 words.
RATIO = 1.6


@dataclass(frozen=True)
class LengthPartition:
    """Log Z by length: brackets at some lengths, and curves through them.

    With the value at no weights of the words, ``base(D) = log Z(0) + D log sum_k exp(b_k)``, the
    excess for each word, ``(log Z(D) - base(D)) / D``, is read off a cubic through the four nearest
    lengths, in log D. So the value of a length does not depend on which others there are.

    Attributes
    ----------
    lengths : tuple of int
        Those that were bracketed, ascending.
    brackets : tuple of LogPartition
    empty : LogPartition
        Of rows without words: log Z of the hidden layers alone, exact where there is one.
    log_word : float
        ``log sum_k exp(b_k)``, what each word adds at no weights.
    """

    lengths: tuple
    brackets: tuple
    empty: LogPartition
    log_word: float

    def value(self, lengths):
        """Return estimates of log Z, float64 of the shape of `lengths`."""
        return self._read(lengths)[0]

    def lower(self, lengths):
        """Return the lower ends of the brackets, with what the curve may be off."""
        value, below, _ = self._read(lengths)
        return value - below

    def upper(self, lengths):
        """Return the upper ends of the brackets, with what the curve may be off."""
        value, _, above = self._read(lengths)
        return value + above

    def by_row(self, lengths):
        """Return log Z of rows of these lengths as :class:`RowPartitions`.

        Values of each direction alone are read off curves as `value` is; the variance of the log
        weights is the larger one of the two lengths around that were bracketed. Ends are shared:
        rows of like lengths have their error in common.
        """
        lengths = check_lengths(lengths)
        value, below, above = self._read(lengths)
        forward, reverse = (
            self._replaced([each(b) for b in self.brackets])._read(lengths)[0]
            for each in (
                lambda b: b if b.forward is None else b.forward,
                lambda b: b if b.reverse is None else b.reverse,
            )
        )
        spread = np.array([_variance(b) for b in self.brackets])
        after = np.minimum(np.searchsorted(self.lengths, lengths), len(spread) - 1)
        variance = np.where(lengths, np.maximum(spread[after], spread[np.maximum(after - 1, 0)]), 0)
        methods = {b.method for b in self.brackets}
        method = next(m for m in ("open bracket", "bracket", "exact") if m in methods)
        return RowPartitions(
            value, forward, reverse, (below + above) / (2.0 * ERRORS), variance, method,
            (value - below, value + above),
        )  # fmt: skip

    def _replaced(self, brackets):
        return replace(self, brackets=tuple(brackets))

    def _read(self, lengths):
        """Return values, and how far the ends of the brackets are below and above them."""
        lengths = check_lengths(lengths)
        nodes, words = np.array(self.lengths), lengths.astype(np.float64)
        if lengths.size and lengths.max() > nodes[-1]:
            raise ValueError(
                f"lengths must be at most {nodes[-1]}, up to which log Z is known, got "
                f"{lengths.max()}; call log_partition_by_length with the longest row"
            )
        start, step = self.empty.value, self.log_word
        base = start + step * words
        excess = np.array([b.value for b in self.brackets]) - start - step * nodes
        curve = _Curve(np.log(nodes), excess / nodes)
        sides = [
            _Curve(np.log(nodes), np.array([distance(b) for b in self.brackets]) / nodes)
            for distance in (lambda b: b.value - b.lower, lambda b: b.upper - b.value)
        ]
        at = np.log(np.maximum(words, 1.0))
        off = curve.error(at)
        below, above = (words * (side.linear(at) + off) for side in sides)
        below = np.where(words, below, start - self.empty.lower)
        above = np.where(words, above, self.empty.upper - start)
        return base + words * curve.cubic(at), below, above


def _variance(bracket):
    """Return the variance of the log weights of a bracket, the larger one of both directions."""
    weights = [b.log_weights for b in (bracket.forward, bracket.reverse) if b is not None]
    return max((w.var(ddof=1) for w in weights if len(w) > 1), default=0.0)


class _Curve:
    """Values at nodes, read by polynomials through the nearest ones.

    Parameters
    ----------
    x, y : ndarray of shape (n,)
        `x` ascending.
    """

    def __init__(self, x, y):
        self.x, self.y = x, y

    def linear(self, at):
        """Return the line between the two nodes around each place."""
        return np.interp(at, self.x, self.y)

    def cubic(self, at):
        """Return the polynomial through the four nodes around each place."""
        return self._through(at, -1, 4)

    def error(self, at):
        """Return how far the cubic is from the furthest of its neighbours.

        They are the parabolas that leave out an end, and the cubics one node to each side: either
        kind alone is near where the derivative that it leaves out changes its sign.
        """
        cubic, neighbours = self.cubic(at), ((-1, 3), (0, 3), (-2, 4), (0, 4))
        off = [np.abs(cubic - self._through(at, *nodes)) for nodes in neighbours]
        return np.max(off, axis=0)

    def _through(self, at, first, count):
        """Return the polynomial through `count` nodes, from `first` before each place on."""
        n = len(self.x)
        count = min(count, n)
        below = np.clip(np.searchsorted(self.x, at, side="right") - 1, 0, n - 1)
        start = np.clip(below + first, 0, n - count)
        x, y = (values[start[..., None] + np.arange(count)] for values in (self.x, self.y))
        total = np.zeros_like(at)
        for i in range(count):  # Lagrange
            term = y[..., i]
            for j in range(count):
                if j != i:
                    term = term * (at - x[..., j]) / (x[..., i] - x[..., j])
            total = total + term
        return total


def check_lengths(lengths):
    """Return lengths as whole numbers, int64, after a check."""
    values = real_array(lengths, "lengths")
    whole = (values >= 0) & (values == np.floor(values)) & (values <= 2**24)
    if not whole.all():
        raise ValueError(
            f"lengths must be whole numbers from 0 to {2**24}, got {shown(values[~whole][0])}"
        )
    return values.astype(np.int64)


def nodes_up_to(most):
    """Return the lengths that are bracketed where the longest row has `most` words.

    Two lengths beyond it are among them, so that the curve does not change with it.
    """
    nodes, beyond = [1], 0
    while beyond < 2:
        nodes.append(max(nodes[-1] + 1, round(nodes[-1] * RATIO)))
        beyond += nodes[-1] >= most
    return nodes


def log_partition_by_length(
    model, lengths, *, n_chains=100, n_betas=1000, known=None, random_state=None, n_threads=None
):
    """Bracket log Z of a model of documents for all lengths of its rows.

    Parameters
    ----------
    model : BoltzmannMachine
        Whose rows have their own numbers of draws: ``dg.Multinomial()`` units.
    lengths : array-like of int
        Numbers of words; the largest decides how many lengths are bracketed, some 16 for 1,200.
    n_chains, n_betas
        Of each length; see :func:`deepgen.log_partition_bracket`.
    known : LengthPartition or None
        Of the same model and settings: its brackets are not computed again.
    random_state : int, RandomState, Generator or None
    n_threads : int or None

    Returns
    -------
    LengthPartition

    Raises
    ------
    ValueError
        If a length is no whole number, or the model has rows of one length.

    Notes
    -----
    p(v) is that of the words in one order, as of a unigram or of LDA: no multinomial coefficient.

    References
    ----------
    Salakhutdinov & Hinton (2009), Replicated softmax, section 4; there each length is annealed.
    """
    check_model(model)
    check_integer(n_chains, "n_chains")
    betas = as_betas(n_betas)
    if not any(units.takes_trials for units in model.layers):
        raise ValueError(
            f"model must have rows of several lengths, got {model!r}; use log_partition_bracket"
        )
    lengths = check_lengths(lengths)
    seed = child_seed(random_state, "lengths")

    def bracket(length):
        return log_partition_bracket(
            model.of_length(length), n_chains=n_chains, n_betas=betas,
            random_state=child_seed(seed, f"length {length}"), n_threads=n_threads,
        )  # fmt: skip

    done = {} if known is None else dict(zip(known.lengths, known.brackets, strict=True))
    for length in nodes_up_to(int(lengths.max(initial=1))):
        if length not in done:
            done[length] = bracket(length)
    nodes = sorted(done)
    if known is not None:
        empty = known.empty
    else:
        empty = bracket(0) if model.n_layers > 2 else _of_no_words(model)
    return LengthPartition(
        tuple(nodes), tuple(done[n] for n in nodes), empty, _log_of_word(model)
    )


def _of_no_words(model):
    """Return log Z of a model of two layers for rows without words: exactly that of its biases."""
    value = sum(
        float(units.log_normalizer(np.zeros((1, units.size)))[0])
        for units in model.layers
        if not units.takes_trials
    )
    return LogPartition(value, value, value)


def _log_of_word(model):
    """Return ``log sum_w exp(b_w)`` over words w: without weights each word adds it to log Z."""
    return sum(
        float(units.of_length(1).log_normalizer(units.bias[None])[0])
        for units in model.layers
        if units.takes_trials
    )
