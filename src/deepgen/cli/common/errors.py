"""What ends a command with a message of one line instead of a traceback."""


class CommandError(Exception):
    """The command cannot do what was asked for.

    Attributes
    ----------
    code : int
        Exit code of the process.
    """

    code = 1


class UsageError(CommandError):
    """The command was asked in a wrong way, on the command line or in a configuration file."""

    code = 2


class InterruptedRun(CommandError):
    """Ctrl-C ended the command; the message says what is kept and how to go on."""

    code = 130


class TerminatedRun(CommandError):
    """SIGTERM ended the command; the message says what is kept."""

    code = 143
