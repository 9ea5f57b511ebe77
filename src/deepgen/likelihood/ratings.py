"""Likelihoods of machines of ratings: each row is a row of an ordinary machine of its columns."""

import numpy as np

from deepgen.checks import check_instance, check_integer
from deepgen.inference.free_energy import free_energy
from deepgen.layers.context import Context
from deepgen.likelihood.by_row import RowLikelihoods, RowPartitions, log_partitions_by_row
from deepgen.likelihood.exact import is_enumerable
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
    row's columns. Its log Z is exact up to 12 hidden units. Else it is annealed in both directions
    for each row (:func:`deepgen.log_partitions_by_row`), which takes seconds where a row has a
    thousand ratings: ask about a sample of rows.

    Parameters
    ----------
    machine : RatingMachine
    rows : PatternedRows
    n_chains : int
        Of each row and direction; a single one has no standard error.
    n_betas : int
        Inverse temperatures, evenly from 0 to 1.
    random_state : int, RandomState, Generator or None
    n_threads : int or None

    Returns
    -------
    RowLikelihoods
        Exactly 0 for rows without a rating. Draws for a row belong to its number.
    """
    check_instance(machine, "machine", RatingMachine, "a dg.RatingMachine")
    check_instance(rows, "rows", PatternedRows, "a deepgen.rows.patterns.PatternedRows")
    check_integer(n_chains, "n_chains")
    check_integer(n_betas, "n_betas", 2)
    seed = seed_of(random_state)
    numbers = np.arange(rows.n_rows) if rows.order is None else rows.order
    energies, partitions = np.zeros(len(numbers)), [RowPartitions.known(np.zeros(0))]
    for r, number in enumerate(numbers):
        entries = slice(rows.starts[number], rows.starts[number + 1])
        columns = rows.columns[entries]
        if not len(columns):
            partitions.append(RowPartitions.known(np.zeros(1)))
            continue
        of_row = machine.of_row(columns)
        states = np.zeros((len(columns), machine.n_values), np.uint8)
        states[np.arange(len(columns)), rows.values[entries]] = 1
        # its columns are its biases: nothing more comes with the row
        nothing = {l: np.zeros((1, units.size)) for l, units in enumerate(of_row.layers)}
        partitions.append(log_partitions_by_row(
            of_row, Context(bias_rows=nothing), n_chains=n_chains, n_betas=n_betas,
            exact=machine.n_hidden <= EXACT_BITS and is_enumerable(of_row),
            random_state=child_seed(seed, int(number)), n_threads=n_threads,
        ))  # fmt: skip
        energies[r] = free_energy(of_row, states.reshape(1, -1), n_threads=n_threads)[0]
    return RowLikelihoods(energies, RowPartitions.joined(partitions))
