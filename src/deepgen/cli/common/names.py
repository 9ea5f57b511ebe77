"""Names on the command line: of files, and those that are like a slip."""

import argparse
import difflib
import os


def file_name(text):
    """Return the name of a file, with a home folder for ``~``; refuse the empty name."""
    if not text:
        raise argparse.ArgumentTypeError("must name a file, got an empty name")
    return os.path.expanduser(text)


def near(name, known):
    """Return " (did you mean this?)", or nothing where no known name is like a wrong one."""
    found = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {found[0]}?)" if found else ""
