"""``deepgen score``."""

import math

from deepgen.checks import check_integer
from deepgen.cli.arguments import add_threads, file_name, positive
from deepgen.cli.errors import CommandError, UsageError
from deepgen.cli.models import is_exact, load_able
from deepgen.cli.output import print_fields
from deepgen.cli.rows import PACKED, READS, read_rows
from deepgen.estimators import DBM, DBN
from deepgen.likelihood import LogPartition
from deepgen.likelihood.annealing import as_betas
from deepgen.rows.sources import ArrayRows
from deepgen.runtime.threads import check_threads


def add_to(commands):
    """Add the command's parser and return it."""
    parser = commands.add_parser(
        "score",
        help="bracket the mean log-likelihood of rows under a model file",
        description="Bracket the mean log-likelihood of rows in nats: exact where enumeration "
        "is cheap, else by annealed importance sampling both ways. Of deep belief networks and "
        "deep Boltzmann machines it is a bound from below.",
    )
    parser.add_argument("model", type=file_name, metavar="MODEL")
    parser.add_argument("data", metavar="DATA", help=READS)
    parser.add_argument("--packed-columns", type=positive, metavar="N", help=PACKED)
    parser.add_argument(
        "--n-chains", type=positive, default=100, metavar="N", help="AIS chains (%(default)s)"
    )
    parser.add_argument(
        "--n-betas", type=positive, default=3000, metavar="N",
        help="AIS temperatures (%(default)s); more of both make the bracket narrower",
    )  # fmt: skip
    add_threads(parser)
    return parser


def run(arguments):
    """Score the rows; the bracket is that of :meth:`deepgen.RBM.log_partition`, or a point."""
    _check_flags(arguments)
    model = load_able(arguments.model, "score_samples", "score rows")
    model.set_params(n_threads=arguments.n_threads)
    rows = read_rows(arguments.data, arguments.packed_columns)
    try:
        model.transform(rows)  # checks them before the long part
        if not all(map(model.model_.visible.is_state, ArrayRows(rows).pieces())):
            raise ValueError("it has values between states, which have no likelihood; binarize it")
        log_z = LogPartition(0.0, 0.0, 0.0)  # of a normalized model
        if not is_exact(model):
            log_z = model.log_partition(n_chains=arguments.n_chains, n_betas=arguments.n_betas)
        scores = model.score_samples(rows)
    except ValueError as error:
        raise CommandError(f"{arguments.data}: {error}") from error
    mean, is_bound = float(scores.mean()), isinstance(model, DBM | DBN)
    return {
        "model": arguments.model,
        "data": arguments.data,
        "n_rows": len(scores),
        "log_likelihood": {
            "lower": mean + float(log_z.value - log_z.upper),
            "value": mean,
            "upper": math.inf if is_bound else mean + float(log_z.value - log_z.lower),
            "is_bound": is_bound,
            "standard_error": float(scores.std()) / math.sqrt(len(scores)),
        },
        "log_partition": {
            name: float(getattr(log_z, name)) for name in ("lower", "value", "upper")
        },
        "method": log_z.method,
    }


def _check_flags(arguments):
    try:
        check_integer(arguments.n_chains, "n_chains")
        as_betas(arguments.n_betas)
        check_threads(arguments.n_threads)
    except ValueError as error:
        raise UsageError(error) from error


def tell(result):
    """Print the bracket."""
    mean = result["log_likelihood"]
    bound = "over " if mean["is_bound"] else ""
    bracket = (
        f"over {mean['lower']:.4f}, at the upper end of log Z" if mean["is_bound"]
        else f"{mean['lower']:.4f} to {mean['upper']:.4f}"
    )  # fmt: skip
    print_fields(
        f"{result['model']} on {result['n_rows']:,} rows of {result['data']}",
        [
            ("log-likelihood", f"{bound}{mean['value']:.4f} nats a row"),
            ("bracket", f"{bracket} ({result['method']})"),
            ("rows differ by", f"{mean['standard_error']:.4f} (standard error of their mean)"),
        ],
    )
