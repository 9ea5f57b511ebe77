"""Lengths of sequences in files: how many rows of the data belong to each."""

import numpy as np

from deepgen.cli.common.arguments import file_name
from deepgen.cli.common.errors import CommandError, UsageError
from deepgen.cli.common.rows import name_of, read_array

LENGTHS = (
    "how many rows each sequence has, in their order: .npy, .npz, FILE.npz:NAME, .csv or .tsv (all "
    "rows are one sequence)"
)


def read_lengths(source, n_rows, data):
    """Read the lengths of sequences.

    Parameters
    ----------
    source : str
    n_rows : int
        Of the data, which the lengths add up to.
    data : str
        The source of those, for messages.

    Returns
    -------
    ndarray of shape (n_sequences,), int64

    Raises
    ------
    CommandError
        If the file holds no such numbers.
    """
    found = read_array(source, "lengths", LENGTHS)
    found = np.asarray(found)
    whole = found.dtype.kind in "uif" and found.size and min(found.shape, default=0) != 0
    flat = found.reshape(-1)
    if not whole or max(found.shape) != found.size or not (flat == np.floor(flat)).all():
        raise CommandError(f"{name_of(source)} must hold a whole number for each sequence")
    if flat.min() < 1 or flat.sum() != n_rows:
        raise CommandError(
            f"{name_of(source)} must hold numbers from 1 that add up to the {n_rows} rows of "
            f"{name_of(data)}, got a sum of {flat.sum():g}"
        )
    return flat.astype(np.int64)


def add_lengths(parser):
    """Add ``--lengths``, of models of sequences."""
    parser.add_argument(
        "--lengths", type=file_name, metavar="FILE", help=f"of temporal: {LENGTHS}"
    )


def lengths_for(arguments, n_rows, is_of_sequences):
    """Return the lengths of a command's rows as arguments by name, of a model of sequences.

    Raises
    ------
    UsageError
        If the flag is given for a model of other rows.
    """
    if arguments.lengths is None:
        return {}
    if not is_of_sequences:
        raise UsageError("--lengths is for models of sequences; leave it out")
    return {"lengths": read_lengths(arguments.lengths, n_rows, arguments.data)}
