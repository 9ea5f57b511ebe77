"""``deepgen serve``."""

import argparse
import sys

from deepgen.cli.common.arguments import positive
from deepgen.cli.common.errors import CommandError
from deepgen.cli.common.names import file_name


def add_to(commands, about):
    """Add the command's parser, which the list of commands says this about; return it."""
    parser = commands.add_parser(
        "serve",
        help=about,
        description="Answer requests over HTTP with a model file, until Ctrl-C or SIGTERM: "
        "transform, free_energy, score, impute, sample and predict under /v1/, as far as the "
        "model has them, with JSON and .npy bodies. /openapi.json describes them, /metrics counts, "
        "/healthz and /readyz tell whether it lives and can answer. Nothing but the numbers in a "
        "request is read. Needs python -m pip install 'deepgen[web]'.",
    )
    parser.add_argument("model", type=file_name, metavar="MODEL")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="HOST",
        help="address to listen on (%(default)s); any other than this machine's own is open to "
        "whoever reaches it: there are no passwords",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=_port, default=8000, metavar="N", help="(%(default)s); 0: any that is free"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="name under which it is asked, beside localhost and addresses; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--without", action="append", default=[], metavar="ENDPOINT",
        help="leave an endpoint out, score for example, whose log Z takes time at the start; may "
        "be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--n-threads", type=positive, metavar="N",
        help="requests that are computed at once, each on one core (all cores)",
    )  # fmt: skip
    return parser


def run(arguments):
    """Serve until the end is asked for."""
    try:
        from deepgen.serving.server import is_loopback, open_socket, serve
        from deepgen.serving.service import Service
    except ImportError as error:
        raise CommandError(
            f"serve needs the packages of the extra web ({error}); "
            "python -m pip install 'deepgen[web]'"
        ) from error
    try:
        service = Service.of_file(
            arguments.model, without=arguments.without, n_threads=arguments.n_threads
        )
    except ValueError as error:
        raise CommandError(f"{arguments.model}: {error}") from error
    listening, address = open_socket(arguments.host, arguments.port)
    if not is_loopback(arguments.host):
        _say(
            f"warning: {arguments.host} is open to whoever reaches it, without a password; put a "
            "proxy that knows its users in front"
        )
    allowed = [arguments.host, *arguments.allow_host]

    def started():
        names = ", ".join(service.abilities)
        _say(f"{address} answers {names} of {arguments.model}; Ctrl-C ends it")

    try:
        about = serve(service, listening, allowed=allowed, started=started)
    except KeyboardInterrupt:  # the usual end
        about = {"n_requests": service.metrics.n_requests}
    return {"model": arguments.model, "address": address, **about}


def tell(about):
    """Print how much was answered."""
    print(f"{about['n_requests']:,} requests answered at {about['address']}")


def _say(text):
    print("deepgen:", text, file=sys.stderr, flush=True)


def _port(text):
    value = int(text) if text.isdecimal() and len(text) < 6 else -1
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to 65535, got {text!r}")
    return value
