"""Where a command listens: its flags, the socket, and who can reach it."""

import argparse
import errno
import importlib
import sys

from deepgen.cli.common.errors import CommandError

HOST, PORT = "127.0.0.1", 8000
# uvicorn asks for websockets only when a WebSocket comes.
WEB_PACKAGES = ("starlette", "uvicorn", "websockets")


def require_web(who):
    """Raise CommandError where a package of the extra web is missing.

    Parameters
    ----------
    who : str
        What needs them, for the message.
    """
    for name in WEB_PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CommandError(
                f"{who} needs the packages of the extra web ({error}); "
                "python -m pip install 'deepgen[web]'"
            ) from error


def add_address(parser, *, only=""):
    """Add ``--host`` and ``--port``.

    Parameters
    ----------
    parser : ArgumentParser
    only : str
        When they count, for the help; empty: always.
    """
    parser.add_argument(
        "--host", default=HOST, metavar="HOST",
        help=f"{only}address to listen on (%(default)s); any other than this machine's own is open "
        "to whoever reaches it: there are no passwords",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=_port, default=PORT, metavar="N",
        help=f"{only}(%(default)s); 0: any that is free",
    )  # fmt: skip


def listen(host, port):
    """Return a socket that listens, and its address; warn where others can reach it.

    Raises
    ------
    CommandError
        If the port is taken, or may not be had.
    """
    from deepgen.serving.server import is_loopback, open_socket

    try:
        listening, address = open_socket(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"port {port} of {host} is taken, perhaps by another one of these commands; choose "
                "another port by --port, or any that is free by --port 0"
            ) from error
        if error.errno == errno.EACCES:
            raise CommandError(
                f"port {port} of {host} is not for everyone; choose one from 1024 on by --port"
            ) from error
        raise CommandError(f"{host} cannot be listened on: {error.strerror or error}") from error
    if not is_loopback(host):
        tell_beside(
            f"warning: {host} is open to whoever reaches it, without a password; put a proxy that "
            "knows its users in front"
        )
    return listening, address


def tell_beside(text):
    """Print a line on standard error, beside the results."""
    print("deepgen:", text, file=sys.stderr, flush=True)


def _port(text):
    value = int(text) if text.isdecimal() and len(text) < 6 else -1
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to 65535, got {text!r}")
    return value
