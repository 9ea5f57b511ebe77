"""``deepgen serve``."""

from deepgen.cli.common.addresses import add_address, listen, require_web, tell_beside
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
    add_address(parser)
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
    require_web("serve")
    from deepgen.serving.server import serve
    from deepgen.serving.service import Service

    try:
        service = Service.of_file(
            arguments.model, without=arguments.without, n_threads=arguments.n_threads
        )
    except ValueError as error:
        raise CommandError(f"{arguments.model}: {error}") from error
    listening, address = listen(arguments.host, arguments.port)
    allowed = [arguments.host, *arguments.allow_host]

    def started():
        names = ", ".join(service.abilities)
        tell_beside(f"{address} answers {names} of {arguments.model}; Ctrl-C ends it")

    try:
        about = serve(service, listening, allowed=allowed, started=started)
    except KeyboardInterrupt:  # the usual end
        about = {"n_requests": service.metrics.n_requests}
    return {"model": arguments.model, "address": address, **about}


def tell(about):
    """Print how much was answered."""
    print(f"{about['n_requests']:,} requests answered at {about['address']}")
