"""Scales of ratings: the few values that a rating can have, and their numbers."""

from dataclasses import dataclass

import numpy as np

from deepgen.checks import check_integer, real_array, shown

# Each value costs a column of weights for each hidden unit; kernels have room for so many.
MOST_VALUES = 20
# Entries that are looked at together, so that a mapped file is never in memory as a whole.
PIECE = 2**22


@dataclass(frozen=True)
class Scale:
    """The values that ratings can have, ascending; or bins of continuous ones.

    Attributes
    ----------
    values : tuple of float
        2 to 20 of them, ascending. With bins the value that stands for each.
    edges : tuple of float or None
        Of bins: a rating x falls into bin k where ``edges[k - 1] <= x < edges[k]``. None: a rating
        is one of the values.
    """

    values: tuple
    edges: tuple | None = None

    def __post_init__(self):
        values = _ascending(self.values, "scale")
        if not 2 <= len(values) <= MOST_VALUES:
            raise ValueError(
                f"scale must have 2 to {MOST_VALUES} values, got {len(values)}; pass bins= for "
                "continuous ratings"
            )
        with np.errstate(over="ignore"):
            floats = np.array(values).astype(np.float32)
        if not np.isfinite(floats).all() or not (floats[1:] > floats[:-1]).all():
            raise ValueError(
                f"scale must have values that are finite and differ in float32, got {list(values)};"
                " subtract a number from all ratings, or divide them by one"
            )
        object.__setattr__(self, "values", values)
        if self.edges is not None:
            edges = _ascending(self.edges, "edges")
            if len(edges) != len(values) - 1:
                raise ValueError(
                    f"edges must be {len(values) - 1} numbers between {len(values)} values, got "
                    f"{len(edges)}"
                )
            object.__setattr__(self, "edges", edges)

    @property
    def n_values(self):
        """Number of values, or of bins."""
        return len(self.values)

    @property
    def points(self):
        """The values in quarters of the scale's length, float32: one to five stars lie 1 apart."""
        values = np.array(self.values)
        return ((values - values[0]) * (4.0 / (values[-1] - values[0]))).astype(np.float32)

    @property
    def floats(self):
        """The values as float32."""
        return np.array(self.values, np.float32)

    def numbers(self, ratings, name="X"):
        """Return the numbers of ratings in the scale, uint8.

        Raises
        ------
        ValueError
            If a rating is none of the values; it names the value.
        """
        out, values = np.empty(len(ratings), np.uint8), np.array(self.values)
        near = 1e-6 * (values[-1] - values[0])
        middles = (values[1:] + values[:-1]) / 2.0 if self.edges is None else np.array(self.edges)
        for first in range(0, len(ratings), PIECE):
            piece = np.asarray(ratings[first : first + PIECE], np.float64)
            number = np.searchsorted(middles, piece, side="right")
            good = np.isfinite(piece)
            if self.edges is None:
                good &= np.abs(values[number] - piece) <= near
            if not good.all():
                wrong = piece[~good][0]
                raise ValueError(
                    f"{name} must hold ratings of the scale {list(self.values)}, got {wrong:g}; "
                    "pass the whole scale as scale=, or leave such entries out"
                )
            out[first : first + PIECE] = number
        return out

    @classmethod
    def of(cls, ratings, name="X"):
        """Return the scale of the distinct values of some ratings; ValueError where they make none.

        The message has the remedy: bins for continuous ratings, another model for implicit ones.
        """
        distinct = np.empty(0)
        for first in range(0, len(ratings), PIECE):
            piece = np.asarray(ratings[first : first + PIECE], np.float64)
            if not np.isfinite(piece).all():
                raise ValueError(
                    f"{name} must hold finite ratings, got {piece[~np.isfinite(piece)][0]}; leave "
                    "out what is not rated: it is no stored entry of the sparse matrix"
                )
            distinct = np.union1d(distinct, piece)
            if len(distinct) > MOST_VALUES:
                raise ValueError(
                    f"{name} must hold ratings of at most {MOST_VALUES} distinct values, got more, "
                    f"such as {shown(distinct[:4].tolist())}; pass bins={MOST_VALUES} for "
                    "continuous ratings"
                )
        if len(distinct) < 2:
            what = f"the value {distinct[0]:g} alone" if len(distinct) else "none"
            raise ValueError(
                f"{name} must hold ratings of at least 2 distinct values, got {what}; where an "
                "entry only says that something happened, train dg.RBM(visible='binary') on the "
                "matrix, or pass the whole scale as scale="
            )
        return cls(tuple(distinct.tolist()))

    @classmethod
    def of_bins(cls, ratings, bins):
        """Return bins of continuous ratings, each with the mean of its ratings as its value.

        Parameters
        ----------
        ratings : ndarray
        bins : int or array-like
            A number of bins that hold equally many ratings, as far as equal ratings allow; or the
            edges between them, ascending.
        """
        if np.ndim(bins) == 0:
            check_integer(bins, "bins", 2, MOST_VALUES)
        ratings = np.asarray(ratings, np.float64)
        if not len(ratings) or not np.isfinite(ratings).all():
            raise ValueError("X must hold finite ratings for bins, and at least one of them")
        if np.ndim(bins) == 0:
            edges = np.quantile(ratings, np.arange(1, bins) / bins, method="higher")
            edges = np.unique(edges)
            edges = edges[edges > ratings.min()]  # an empty bin below the lowest rating
        else:
            edges = np.array(_ascending(bins, "bins"))
        number = np.searchsorted(edges, ratings, side="right")
        counts = np.bincount(number, minlength=len(edges) + 1)
        if len(counts) < 2 or not counts.all():
            what = "there is but one" if len(counts) < 2 else f"part {int(counts.argmin())} is"
            raise ValueError(
                f"bins must cut the ratings into two parts or more that are not empty, but {what}"
            )
        sums = np.bincount(number, ratings, minlength=len(counts))
        return cls(tuple((sums / counts).tolist()), tuple(edges.tolist()))


def _ascending(numbers, name):
    """Return ascending finite numbers as a tuple of float; ValueError where they are none."""
    array = real_array(numbers, name).astype(np.float64)
    if array.ndim != 1 or not np.isfinite(array).all() or not (array[1:] > array[:-1]).all():
        raise ValueError(f"{name} must be ascending finite numbers, got {shown(numbers)}")
    return tuple(array.tolist())
