"""Types of arguments that several commands take."""

import argparse

from deepgen.checks import MOST, check_integer
from deepgen.cli.common.errors import UsageError
from deepgen.cli.common.names import file_name, near
from deepgen.cli.common.rows import PACKED, READS, WRITES, check_apart, check_target
from deepgen.runtime.stream import check_random_state
from deepgen.runtime.threads import check_threads


def count(text):
    """Parse an integer of at least 0."""
    value = int(text) if text.isdecimal() else -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 0, got {text!r}")
    return value


def positive(text):
    """Parse an integer of at least 1."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, got {text!r}")
    return value


def one_of(choices):
    """Return a parser of words that are among `choices`."""

    def parse(text):
        if text not in choices:
            raise argparse.ArgumentTypeError(
                f"must be one of {', '.join(choices)}, got {text!r}{near(text, choices)}"
            )
        return text

    return parse


def refuse_chains(arguments, flags, who):
    """Raise UsageError where a flag about chains is given, for a model that uses none.

    Parameters
    ----------
    arguments : Namespace
        Flags that are not given are None.
    flags : dict of {str: str}
        Flags by their names in `arguments`.
    who : str
        The model, and why it has no chains.
    """
    given = [flag for name, flag in flags.items() if getattr(arguments, name) is not None]
    if given:
        raise UsageError(f"{' and '.join(given)} would do nothing: {who}; leave it out")


def add_seed(parser):
    """Add ``--seed``; it is never drawn, so that the same command gives the same result."""
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="seed (%(default)s)")


def add_threads(parser):
    """Add ``--n-threads``."""
    parser.add_argument(
        "--n-threads", type=positive, metavar="N",
        help="threads (OMP_NUM_THREADS, else all cores); results never depend on it",
    )  # fmt: skip


def add_rows(parser):
    """Add MODEL, DATA and ``--packed-columns``: what most commands read."""
    parser.add_argument("model", type=file_name, metavar="MODEL")
    parser.add_argument("data", type=file_name, metavar="DATA", help=READS)
    parser.add_argument("--packed-columns", type=positive, metavar="N", help=PACKED)


def add_out(parser):
    """Add ``--out``, by default the output."""
    parser.add_argument(
        "--out", type=file_name, default="-", metavar="FILE",
        help=f"{', '.join(WRITES)}, or - for CSV on the output (%(default)s)",
    )  # fmt: skip


def check_out(arguments, read, **written):
    """Raise before any work where what a command writes could not be written.

    Parameters
    ----------
    arguments : Namespace
    read : dict of {str: str or None}
        Files that it reads, by what it calls them.
    written : str or None
        Files that it writes beside that of ``--out``.
    """
    if arguments.out == "-":
        if arguments.json:
            raise UsageError("--json needs --out FILE: the output cannot be both JSON and rows")
    else:
        written = {"out": arguments.out, **written}
    check_apart(read, written)
    for path in written.values():
        check_target(path, WRITES)


def check_numbers(arguments):
    """Raise UsageError where a number of a flag is beyond what the library takes."""
    given = vars(arguments)
    try:
        for name in ("n", "n_chains", "sweeps"):
            if given.get(name) is not None:
                check_integer(given[name], name, 0, MOST)
        check_random_state(given.get("seed"))
        check_threads(arguments.n_threads)
    except ValueError as error:
        raise UsageError(error) from error
