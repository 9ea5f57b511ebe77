"""``deepgen sample``."""

from deepgen.cli.common.arguments import (
    add_out,
    add_seed,
    add_threads,
    check_numbers,
    check_out,
    count,
    positive,
    refuse_chains,
)
from deepgen.cli.common.frames import check_frame_out, write_frame
from deepgen.cli.common.models import (
    in_words,
    is_exact,
    is_of_sequences,
    load_able,
    require_documents,
)
from deepgen.cli.common.names import file_name
from deepgen.cli.common.output import about_array, tell_array
from deepgen.cli.common.rows import write_rows

# Where no flag says another number: of a chain, and of each frame of a sequence.
N_SWEEPS, FRAME_SWEEPS = 1000, 25


def add_to(commands, about):
    """Add the command's parser, which the list of commands says this about; return it."""
    parser = commands.add_parser(
        "sample",
        help=about,
        description="Draw rows from a model file, each from a Gibbs chain of its own that "
        "starts at the model's biases. A mixture draws at once: it needs no sweeps. Of a "
        "replicated-softmax a row is a document, its counts of words; of temporal the rows are the "
        "frames of one sequence. Networks (autoencoders, "
        "classifiers, regressors) have no samples.",
    )
    parser.add_argument("model", type=file_name, metavar="MODEL")
    parser.add_argument("--n", type=positive, default=100, metavar="N", help="rows (%(default)s)")
    parser.add_argument(
        "--sweeps", type=count, metavar="N",
        help=f"sweeps of each chain ({N_SWEEPS}; of each frame {FRAME_SWEEPS}); too few show the "
        "start, not the model",
    )  # fmt: skip
    parser.add_argument(
        "--words", type=count, metavar="N",
        help="of replicated-softmax: words of each document (as many as those that it learned from "
        "had on average)",
    )  # fmt: skip
    add_seed(parser)
    add_threads(parser)
    add_out(parser)
    return parser


def run(arguments):
    """Draw the rows and write them."""
    check_out(arguments, {"MODEL": arguments.model})
    check_numbers(arguments)
    model = load_able(arguments.model, "sample")
    model.set_params(n_threads=arguments.n_threads)
    chains = {}
    if is_exact(model):
        who = f"{arguments.model} holds {in_words(model)}, which draws rows without chains"
        refuse_chains(arguments, {"sweeps": "--sweeps"}, who)
    else:
        usual = FRAME_SWEEPS if is_of_sequences(model) else N_SWEEPS
        chains = {"n_sweeps": usual if arguments.sweeps is None else arguments.sweeps}
    if arguments.words is not None:
        require_documents(model, arguments.model, "words")
        chains["n_words"] = arguments.words
    check_frame_out(model, arguments.out)
    rows = model.sample(arguments.n, **chains, random_state=arguments.seed)
    if is_of_sequences(model):
        (rows,) = rows
    write = write_frame if hasattr(rows, "columns") else write_rows
    write(arguments.out, rows)
    return {
        **about_array(arguments.out, rows),
        "n_sweeps": chains.get("n_sweeps"),
        "seed": arguments.seed,
    }


tell = tell_array
