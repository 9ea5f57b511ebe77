"""Likelihoods of machines of ratings: each row is a row of an ordinary machine of its columns."""

import numpy as np

from deepgen.checks import check_instance, check_integer
from deepgen.inference.free_energy import free_energy
from deepgen.likelihood.annealing import ais
from deepgen.likelihood.exact import exact_log_partition, is_enumerable
from deepgen.models import RatingMachine
from deepgen.rows.patterns import PatternedRows
from deepgen.runtime.stream import child_seed, seed_of

# Hidden units up to which log Z of a row is enumerated.
EXACT_BITS = 12


def rating_log_likelihood(
    machine, rows, *, n_chains=100, n_betas=1000, random_state=None, n_threads=None
):  # fmt: skip
    """Return log p(ratings | which columns a row has), by row.

    ``log p(v) = -F(v) - log Z``, of the machine that :meth:`RatingMachine.of_row` makes of the
    row's columns. Its log Z is exact up to 12 hidden units, else an estimate by annealed importance
    sampling for each row, which takes seconds where a row has a thousand ratings: ask about a
    sample of rows.

    Parameters
    ----------
    machine : RatingMachine
    rows : PatternedRows
    n_chains, n_betas : int
        See :func:`deepgen.ais`.
    random_state : int, RandomState, Generator or None
    n_threads : int or None

    Returns
    -------
    tuple of ndarray of shape (n_rows,), float64
        Log-likelihoods in nats, 0 for rows without a rating; and half the width of the interval of
        log Z of each row (3 standard errors), 0 where it is exact.
    """
    check_instance(machine, "machine", RatingMachine, "a dg.RatingMachine")
    check_instance(rows, "rows", PatternedRows, "a deepgen.rows.patterns.PatternedRows")
    check_integer(n_chains, "n_chains")
    seed = seed_of(random_state)
    numbers = np.arange(rows.n_rows) if rows.order is None else rows.order
    values, errors = np.zeros(len(numbers)), np.zeros(len(numbers))
    for r, number in enumerate(numbers):
        entries = slice(rows.starts[number], rows.starts[number + 1])
        columns = rows.columns[entries]
        if not len(columns):
            continue
        of_row = machine.of_row(columns)
        states = np.zeros((len(columns), machine.n_values), np.uint8)
        states[np.arange(len(columns)), rows.values[entries]] = 1
        if machine.n_hidden <= EXACT_BITS and is_enumerable(of_row):
            log_z = exact_log_partition(of_row, n_threads=n_threads)
        else:  # chains of a row belong to its number
            log_z = ais(
                of_row, n_chains=n_chains, n_betas=n_betas, n_threads=n_threads,
                random_state=child_seed(seed, int(number)),
            )  # fmt: skip
        free = float(free_energy(of_row, states.reshape(1, -1), n_threads=n_threads)[0])
        values[r] = -free - log_z.value
        errors[r] = (log_z.upper - log_z.lower) / 2.0
    return values, errors
