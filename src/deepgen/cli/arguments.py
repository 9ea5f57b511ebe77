"""Types of arguments that several commands take."""

import argparse


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


def file_name(text):
    """Refuse the empty name, which no file has."""
    if not text:
        raise argparse.ArgumentTypeError("must name a file, got an empty name")
    return text


def add_seed(parser):
    """Add ``--seed``; it is never drawn, so that the same command gives the same result."""
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="seed (%(default)s)")


def add_threads(parser):
    """Add ``--n-threads``."""
    parser.add_argument(
        "--n-threads", type=positive, metavar="N",
        help="threads (OMP_NUM_THREADS, else all cores); results never depend on it",
    )  # fmt: skip
