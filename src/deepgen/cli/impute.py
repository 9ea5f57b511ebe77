"""``deepgen impute``."""

import sys

import numpy as np
from scipy import sparse

from deepgen.cli.common.arguments import (
    add_out,
    add_rows,
    add_seed,
    add_threads,
    check_numbers,
    check_out,
    count,
    file_name,
    positive,
    refuse_chains,
)
from deepgen.cli.common.errors import CommandError, UsageError
from deepgen.cli.common.frames import check_frame_out, read_data, write_frame
from deepgen.cli.common.models import in_words, is_exact, load_able
from deepgen.cli.common.output import about_array, tell_array
from deepgen.cli.common.rows import read_rows, refused, write_rows
from deepgen.estimators import ReplicatedSoftmax
from deepgen.estimators.common.validation import table_of

N_CHAINS, N_SWEEPS = 20, 100  # where no flag says another number


def add_to(commands):
    """Add the command's parser and return it."""
    parser = commands.add_parser(
        "impute",
        help="complete rows that have missing entries",
        description="Complete rows: entries that are NaN, or empty cells of a text, or that "
        "--missing says, get the means that the model expects given the others. Observed entries "
        "stay as they are. A mixture does so exactly, without chains.",
    )
    add_rows(parser)
    parser.add_argument(
        "--missing", type=file_name, metavar="FILE",
        help="a matrix of the shape of DATA: 1 where it is missing",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=("mean", "draw"), default="mean",
        help="means of what is missing, or one joint draw of it (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--std", type=file_name, metavar="FILE",
        help="write the standard deviation of each missing entry too",
    )  # fmt: skip
    parser.add_argument(
        "--n-chains", type=positive, metavar="N", help=f"chains a row ({N_CHAINS})"
    )
    parser.add_argument(
        "--sweeps", type=count, metavar="N", help=f"sweeps of each chain ({N_SWEEPS})"
    )
    parser.add_argument(
        "--words", type=count, metavar="N",
        help="of a replicated-softmax: how many words each document lacks; written are the counts "
        "of these words alone",
    )  # fmt: skip
    add_seed(parser)
    add_threads(parser)
    add_out(parser)
    return parser


def run(arguments):
    """Complete the rows and write them."""
    read = {name: getattr(arguments, name.lower()) for name in ("MODEL", "DATA")}
    check_out(arguments, {**read, "missing": arguments.missing}, std=arguments.std)
    check_numbers(arguments)
    model = load_able(arguments.model, "impute")
    model.set_params(n_threads=arguments.n_threads)
    chains = _chains(arguments, model)
    if isinstance(model, ReplicatedSoftmax):
        return _missing_words(arguments, model, chains)
    if arguments.words is not None:
        raise CommandError(
            f"{arguments.model} holds {in_words(model)}, whose rows have no words; leave --words "
            "out"
        )
    check_frame_out(model, arguments.out)
    rows = read_data(model, arguments.data, arguments.packed_columns)
    try:
        rows, missing = _with_gaps(arguments, model, rows)
        completed, deviation = model.impute(
            rows, missing, method=arguments.method, return_std=True,
            random_state=arguments.seed, **chains,
        )  # fmt: skip
    except ValueError as error:
        raise refused(arguments.data, rows, error) from error
    if not missing.any():
        print("deepgen: warning: nothing is missing; rows stay as they are", file=sys.stderr)
    write = write_rows if isinstance(completed, np.ndarray) else write_frame
    write(arguments.out, completed)
    if arguments.std is not None:
        write_rows(arguments.std, deviation)
    return {
        **about_array(arguments.out, completed),
        "std": arguments.std,
        "model": arguments.model,
        "data": arguments.data,
        "n_missing": int(missing.sum()),
        "method": arguments.method,
        "seed": arguments.seed,
    }


def _missing_words(arguments, model, chains):
    """Write the words that documents lack."""
    if arguments.words is None or arguments.missing is not None or arguments.std is not None:
        raise UsageError(
            f"words is what {in_words(model)} completes: give --words N, how many each document "
            "lacks, and neither --missing nor --std"
        )
    rows = read_data(model, arguments.data, arguments.packed_columns)
    try:
        words = model.impute(
            rows, arguments.words, method=arguments.method, random_state=arguments.seed, **chains
        )
    except ValueError as error:
        raise refused(arguments.data, rows, error) from error
    write_rows(arguments.out, words)
    return {
        **about_array(arguments.out, words), "std": None, "model": arguments.model,
        "data": arguments.data, "n_missing": arguments.words * rows.shape[0],
        "method": arguments.method, "seed": arguments.seed,
    }  # fmt: skip


def tell(result):
    """Print where the rows are, and how much of them is new."""
    tell_array(result)
    if result["file"] != "-":
        print(f"  {result['n_missing']:,} entries completed by their {result['method']}")
    if result["std"] is not None and result["file"] != "-":
        print(f"  standard deviations are in {result['std']}")


def _chains(arguments, model):
    """Return options about chains; none of a model that needs none, which must not be given any."""
    if is_exact(model):
        who = f"{arguments.model} holds {in_words(model)}, which completes rows exactly"
        refuse_chains(arguments, {"n_chains": "--n-chains", "sweeps": "--sweeps"}, who)
        return {}
    n_chains, n_sweeps = arguments.n_chains, arguments.sweeps
    return {
        "n_chains": N_CHAINS if n_chains is None else n_chains,
        "n_sweeps": N_SWEEPS if n_sweeps is None else n_sweeps,
    }


def _dense(rows):
    return rows.toarray() if sparse.issparse(rows) else np.asarray(rows)


def _with_gaps(arguments, model, rows):
    """Return rows, and which entries are missing: NaN or empty, and those where the mask is 1."""
    table = table_of(model)
    if table is None:
        rows = _dense(rows)
        missing = np.isnan(rows)
    else:
        missing = table.read(rows)[1]
    if arguments.missing is None:
        return rows, missing
    mask = _dense(read_rows(arguments.missing))
    if mask.shape != rows.shape:
        raise CommandError(
            f"{arguments.missing} has shape {mask.shape}, but {arguments.data} has {rows.shape}; "
            "give an entry for each"
        )
    if not np.isin(mask, (0, 1)).all():
        raise CommandError(f"{arguments.missing} must hold 0 and 1 only, 1 where it is missing")
    return rows, missing | (mask == 1)
