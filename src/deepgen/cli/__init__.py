"""The command ``deepgen``: train a model, and use its file; ``demo`` shows what comes out.

Exit codes: 0 for success; 1 for a failure, such as a file or a package that is missing or
damaged, or a run that diverged; 2 for wrong usage, on the command line or in a configuration
file; 130 after Ctrl-C; 143 after SIGTERM, which makes `train` without a checkpoint write its model.
Results go to standard output, messages and progress to standard error. With ``--json`` standard
output gets exactly one JSON object, also where the command fails: then it has ``error`` and
``exit_code``. Only what argparse itself refuses leaves it empty.
"""

import argparse
import contextlib
import importlib
import os
import sys
import warnings

from deepgen._version import __version__
from deepgen.cli.common.errors import CommandError
from deepgen.cli.common.names import near
from deepgen.cli.common.output import print_json
from deepgen.errors import DivergedError, ModelFileError

# In the order of the help. Only the module of the one that is asked for is imported: most of them
# need scikit-learn, which takes a second.
COMMANDS = {
    "demo": "train on real digits and draw what was learned (about a minute)",
    "train": "train a model on a file of rows: an RBM, or another one by --model",
    "info": "say what a model file holds",
    "score": "say how well a model file fits rows: likelihood, accuracy or error",
    "sample": "draw rows from a model file by Gibbs sampling",
    "transform": "write the features or codes that a model file has of rows",
    "impute": "complete rows that have missing entries",
    "predict": "write the label, target or component that a model file predicts for rows",
    "topics": "print the words of each topic of a replicated-softmax",
    "recommend": "print the items that a model of ratings recommends to users",
    "serve": "answer requests over HTTP with a model file (extra web)",
}
EXIT_CODES = (
    "exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted (Ctrl-C), 143 terminated"
)


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str or None
        None: of this process.

    Returns
    -------
    int
        Exit code.
    """
    arguments = _parsed(sys.argv[1:] if argv is None else list(argv))
    with _short_warnings():
        try:
            result = arguments.run(arguments)
            if arguments.json:
                print_json(result)
            else:
                arguments.tell(result)
            sys.stdout.flush()
        except BrokenPipeError:  # what reads the output has gone, as `head` does
            _discard_output()
            return 1
        except CommandError as error:
            return _failed(arguments, error, error.code)
        except (ModelFileError, DivergedError, ImportError, MemoryError) as error:
            return _failed(arguments, error or "out of memory", 1)
        except OSError as error:
            where = f"{error.filename}: " if error.filename is not None else ""
            return _failed(arguments, f"{where}{error.strerror or error}", 1)
        except KeyboardInterrupt:
            return _failed(arguments, "interrupted", 130)
    return 0


def _parsed(argv):
    """Return the arguments; of a command or a flag that is unknown, say which is like it."""
    parser, commands = _parser(argv[0] if argv else None)
    if argv and not argv[0].startswith("-") and argv[0] not in commands:
        hint = near(argv[0], commands)
        parser.error(f"unknown command {argv[0]!r}{hint}; commands: {', '.join(commands)}")
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        command = commands[argv[0]]
        flags = [flag for action in command._actions for flag in action.option_strings]
        hints = [near(word.partition("=")[0], flags) for word in unknown if word.startswith("-")]
        command.error(f"unrecognized arguments: {' '.join(unknown)}{''.join(hints)}")
    return arguments


def _failed(arguments, message, code):
    message = " ".join(str(message).split())
    print("deepgen:", message, file=sys.stderr)
    if arguments.json:
        print_json({"error": message, "exit_code": code})
    return code


def _discard_output():
    """Point standard output to nowhere: the interpreter flushes it once more at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _short_warnings():
    """Show a warning as one line on standard error, without a path into the package."""

    def show(message, *place, **more):
        print("deepgen: warning:", " ".join(str(message).split()), file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _parser(asked):
    """Return the parser of the whole command line, and those of commands by name.

    Parameters
    ----------
    asked : str or None
        The command whose arguments the parser has to know; of the others it knows what they do.
    """
    parser = argparse.ArgumentParser(
        prog="deepgen", description="Deep generative models on ordinary CPUs.", epilog=EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=f"deepgen {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, about in COMMANDS.items():
        if name != asked:
            commands.add_parser(name, help=about)
            continue
        module = importlib.import_module(f"deepgen.cli.{name}")
        command = module.add_to(commands, about)
        command.epilog = f"{command.epilog or ''}{EXIT_CODES}"
        command.add_argument("--json", action="store_true", help="print one JSON object instead")
        command.set_defaults(run=module.run, tell=module.tell)
    return parser, commands.choices
