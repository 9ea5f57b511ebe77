"""``deepgen sample``."""

from deepgen.cli.arguments import add_seed, add_threads, count, file_name, positive
from deepgen.cli.errors import UsageError
from deepgen.cli.models import is_exact, load_able
from deepgen.cli.rows import WRITES, check_apart, check_target, write_rows


def add_to(commands):
    """Add the command's parser and return it."""
    parser = commands.add_parser(
        "sample",
        help="draw rows from a model file by Gibbs sampling",
        description="Draw rows from a model file, each from a Gibbs chain of its own that "
        "starts at the model's biases. A mixture draws at once: it needs no sweeps.",
    )
    parser.add_argument("model", type=file_name, metavar="MODEL")
    parser.add_argument("--n", type=positive, default=100, metavar="N", help="rows (%(default)s)")
    parser.add_argument(
        "--sweeps", type=count, default=1000, metavar="N",
        help="sweeps of each chain (%(default)s); too few show the start, not the model",
    )  # fmt: skip
    add_seed(parser)
    add_threads(parser)
    parser.add_argument(
        "--out", default="-", metavar="FILE",
        help=f"{', '.join(WRITES)}, or - for CSV on the output (%(default)s)",
    )  # fmt: skip
    return parser


def run(arguments):
    """Draw the rows and write them."""
    if arguments.out == "-" and arguments.json:
        raise UsageError("--json needs --out FILE: the output cannot be both JSON and rows")
    if arguments.out != "-":
        check_apart({"MODEL": arguments.model}, {"out": arguments.out})
        check_target(arguments.out, WRITES)
    model = load_able(arguments.model, "sample", "be sampled from")
    model.set_params(n_threads=arguments.n_threads)
    chains = {} if is_exact(model) else {"n_sweeps": arguments.sweeps}
    try:
        rows = model.sample(arguments.n, **chains, random_state=arguments.seed)
    except ValueError as error:  # there is no input but the flags
        raise UsageError(error) from error
    write_rows(arguments.out, rows)
    return {
        "file": arguments.out,
        "shape": list(rows.shape),
        "dtype": str(rows.dtype),
        "n_sweeps": chains.get("n_sweeps"),
        "seed": arguments.seed,
    }


def tell(result):
    """Print where the rows are, unless they were printed themselves."""
    if result["file"] != "-":
        n_rows, n_columns = result["shape"]
        print(f"{result['file']}: {n_rows:,} x {n_columns:,}, {result['dtype']}")
