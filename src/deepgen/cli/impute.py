"""``deepgen impute``."""

import sys
from pathlib import Path

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
    positive,
    refuse_chains,
)
from deepgen.cli.common.errors import CommandError, UsageError
from deepgen.cli.common.frames import check_frame_out, read_data, write_frame
from deepgen.cli.common.labels import read_targets
from deepgen.cli.common.models import (
    in_words,
    is_exact,
    is_of_documents,
    load_able,
    require_documents,
)
from deepgen.cli.common.names import file_name
from deepgen.cli.common.output import about_array, tell_array
from deepgen.cli.common.rows import read_rows, refused, write_rows
from deepgen.estimators.common.validation import table_of

N_CHAINS, N_SWEEPS = 20, 100  # where no flag says another number


def add_to(commands, about):
    """Add the command's parser, which the list of commands says this about; return it."""
    parser = commands.add_parser(
        "impute",
        help=about,
        description="Complete rows: entries that are NaN, or empty cells of a text, or that "
        "--missing says, get the means that the model expects given the others. Observed entries "
        "stay as they are. A mixture does so exactly, without chains. Of a replicated-softmax "
        "it is the counts of --words words that each document lacks, apart from those that it has.",
    )
    add_rows(parser)
    parser.add_argument(
        "--missing", type=file_name, metavar="FILE",
        help="a matrix of the shape of DATA: 1 where it is missing",
    )  # fmt: skip
    parser.add_argument(
        "--words", type=file_name, metavar="N|FILE",
        help="of replicated-softmax, which needs it: how many words are missing, in every document "
        "or, in a file, in each",
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
        "--sweeps", type=count, metavar="N",
        help=f"sweeps of each chain ({N_SWEEPS}; replicated-softmax 50)",
    )  # fmt: skip
    add_seed(parser)
    add_threads(parser)
    add_out(parser)
    return parser


def run(arguments):
    """Complete the rows and write them."""
    read = {name: getattr(arguments, name.lower()) for name in ("MODEL", "DATA")}
    words = arguments.words
    if words is not None and not words.isdecimal():
        read["words"] = words
    check_out(arguments, {**read, "missing": arguments.missing}, std=arguments.std)
    check_numbers(arguments)
    model = load_able(arguments.model, "impute")
    model.set_params(n_threads=arguments.n_threads)
    if is_of_documents(model):
        return _complete_documents(arguments, model)
    if arguments.words is not None:
        require_documents(model, arguments.model, "words")
    chains = _chains(arguments, model)
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


def _complete_documents(arguments, model):
    """Write the counts of the words that documents lack."""
    for name in ("missing", "std"):
        if getattr(arguments, name) is not None:
            raise UsageError(
                f"--{name} is about single entries, and {arguments.model} holds {in_words(model)}, "
                "whose documents lack words; leave it out and give --words"
            )
    if arguments.words is None:
        raise UsageError(
            f"words is missing: {arguments.model} holds {in_words(model)}; say by --words how many "
            "words a document lacks"
        )
    rows = read_rows(arguments.data, arguments.packed_columns)
    n_words = _words(arguments, rows.shape[0])
    chains = {"n_chains": arguments.n_chains, "n_sweeps": arguments.sweeps}
    try:
        added = model.impute(
            rows, n_words, method=arguments.method, random_state=arguments.seed,
            **{name: value for name, value in chains.items() if value is not None},
        )  # fmt: skip
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        told = {"lengths": "words", "n_words": "words", "n_sweeps": "sweeps"}
        if name in told:
            raise UsageError(f"{told[name]} {rest}") from error
        raise refused(arguments.data, rows, error) from error
    write_rows(arguments.out, added)
    return {
        **about_array(arguments.out, added),
        "model": arguments.model,
        "data": arguments.data,
        "n_words": int(np.sum(np.broadcast_to(n_words, rows.shape[0]))),
        "method": arguments.method,
        "seed": arguments.seed,
    }


def _words(arguments, n_rows):
    """Return how many words are missing: of every document, or an array."""
    given = arguments.words
    if given.isdecimal():
        return int(given)
    if Path(given).suffix == "":
        raise UsageError(f"words must be a number of at least 0, or a file, got {given!r}")
    return read_targets(given, n_rows, arguments.data)


def tell(result):
    """Print where the rows are, and how much of them is new."""
    tell_array(result)
    if "n_words" in result:
        if result["file"] != "-":
            print(f"  {result['n_words']:,} missing words by their {result['method']}")
        return
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
