"""What the page is told about a drawing: both layers sweep by sweep, classes, completions, dreams.

Plain functions of models and rows; of the web nothing is known here.
"""

import time
from dataclasses import dataclass

import numpy as np

from deepgen.inference.gibbs import update_layer
from deepgen.inference.mean_field import FixedPoint, mean_field

MOST_SWEEPS = 50  # of mean field; all but few drawings arrive before
TOLERANCE = 1e-3  # of the page, where a mean is drawn as one of 256 greys
# Completions: chains, their sweeps, and how many of them are shown one by one.
N_CHAINS, N_SWEEPS, N_SHOWN = 20, 60, 4


@dataclass(frozen=True)
class Sweeps:
    """Mean field on its way: entry 0 before the second layer has spoken, then one each sweep.

    Attributes
    ----------
    first, second : ndarray of shape (1 + n_sweeps, n_units), float32
        Means of the hidden layers. Entry 0 of the first is what the picture alone makes of it;
        of the second, and of the labels, it is zero: they have not spoken.
    labels : ndarray of shape (1 + n_sweeps, n_classes), float32
        Means of the label units.
    pictures : ndarray of shape (1 + n_sweeps, n_visible), float32
        What the first layer stands for: means of the visible units given its means.
    milliseconds : float
        Time of mean field alone, from the picture to the fixed point in one call.
    """

    first: np.ndarray
    second: np.ndarray
    labels: np.ndarray
    pictures: np.ndarray
    milliseconds: float


def sweeps_of(model, row):
    """Return mean field of a machine with label units for one row, sweep by sweep.

    Parameters
    ----------
    model : BoltzmannMachine
        Visible units, two hidden layers, label units.
    row : ndarray of shape (n_visible,), float32

    Returns
    -------
    Sweeps
        See docs/math.md, "Mean field".
    """
    known = [row[None], None, None, None]
    began = time.perf_counter()
    arrived = mean_field(model, known, until=FixedPoint(MOST_SWEEPS, TOLERANCE))
    milliseconds = 1e3 * (time.perf_counter() - began)
    unheard = [row[None], *(np.zeros((1, units.size), np.float32) for units in model.layers[1:])]
    unheard[1] = update_layer(model, 1, unheard, mean=True)[0]
    steps, means = [unheard], None
    for _ in range(max(1, int(arrived.n_sweeps[0]))):
        means = mean_field(model, known, start=means, until=FixedPoint(1, 0.0)).means
        steps.append(means)
    first, second, labels = (np.concatenate([step[layer] for step in steps]) for layer in (1, 2, 3))
    pictures = update_layer(model, 0, [None, first, None, None], mean=True)[0]
    return Sweeps(first, second, labels, pictures, milliseconds)


@dataclass(frozen=True)
class Completions:
    """Completions of a picture of which a part is erased: some chains, and the mean of all.

    Attributes
    ----------
    single : ndarray of shape (n_shown, n_visible), float32
        The picture as single chains leave it: possible answers, each whole in itself.
    mean : ndarray of shape (n_visible,), float32
        Mean of all chains: the best guess of each pixel, and a blur where answers differ.
    """

    single: np.ndarray
    mean: np.ndarray


def completions_of(dbm, row, erased, *, random_state):
    """Complete a picture by chains that hold what is not erased.

    Parameters
    ----------
    dbm : DBM
    row : ndarray of shape (n_visible,), float32
    erased : ndarray of shape (n_visible,), bool
    random_state : int

    Returns
    -------
    Completions
    """
    rows = np.repeat(row[None], N_CHAINS, axis=0)
    missing = np.repeat(erased[None], N_CHAINS, axis=0)
    completed = dbm.impute(
        rows, missing, n_chains=1, n_sweeps=N_SWEEPS, random_state=random_state
    )
    return Completions(completed[:N_SHOWN], completed.mean(axis=0))


def erased_pixels(numbers, n_pixels):
    """Return which pixels are erased, from their numbers.

    Parameters
    ----------
    numbers : list of int
        Row after row, from 0.
    n_pixels : int

    Returns
    -------
    ndarray of shape (n_pixels,), bool

    Raises
    ------
    ValueError
        If a number is no pixel's.
    """
    fine = isinstance(numbers, list) and all(
        type(number) is int and 0 <= number < n_pixels for number in numbers
    )
    if not fine or len(numbers) > n_pixels:
        raise ValueError(f"erased must be a list of integers from 0 to {n_pixels - 1}")
    erased = np.zeros(n_pixels, bool)
    erased[numbers] = True
    return erased
