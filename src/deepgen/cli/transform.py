"""``deepgen transform``."""

from deepgen.cli.common.arguments import add_out, add_rows, add_threads, check_numbers, check_out
from deepgen.cli.common.errors import CommandError
from deepgen.cli.common.frames import read_data
from deepgen.cli.common.models import in_words, is_of_sequences, load_able, on_threads
from deepgen.cli.common.output import about_array, tell_array
from deepgen.cli.common.rows import refused, write_rows
from deepgen.cli.common.sequences import add_lengths, lengths_for
from deepgen.estimators import DBM, DBN, RBM, ReplicatedSoftmax

# Estimators whose features are means of units, so that there are fields behind them.
HAVE_FIELDS = (RBM, DBN, DBM, ReplicatedSoftmax)


def add_to(commands, about):
    """Add the command's parser, which the list of commands says this about; return it."""
    parser = commands.add_parser(
        "transform",
        help=about,
        description="Write the features of rows: mean activities of the uppermost hidden layer "
        "(rbm, dbn, dbm), topics (replicated-softmax), probabilities of the components (mixtures), "
        "codes (autoencoders), hidden means and states of frames (temporal).",
    )
    add_rows(parser)
    parser.add_argument(
        "--quantity", choices=("mean", "field"),
        help="of rbm, dbn, dbm and replicated-softmax: means of the hidden units, or their fields "
        "(total inputs; of documents by the word), which tell rows apart where means are near 0 "
        "and 1 (mean)",
    )  # fmt: skip
    add_lengths(parser)
    add_threads(parser)
    add_out(parser)
    return parser


def run(arguments):
    """Transform the rows and write what comes out."""
    check_out(arguments, {"MODEL": arguments.model, "DATA": arguments.data})
    check_numbers(arguments)
    model = on_threads(load_able(arguments.model, "transform"), arguments.n_threads)
    options = {}
    if arguments.quantity is not None:
        if not isinstance(model, HAVE_FIELDS):
            raise CommandError(
                f"{arguments.model} holds {in_words(model)}, whose features are no means of hidden "
                "units; --quantity is for rbm, dbn, dbm and replicated-softmax: leave it out"
            )
        options = {"quantity": arguments.quantity}
    rows = read_data(model, arguments.data, arguments.packed_columns)
    options |= lengths_for(arguments, rows.shape[0], is_of_sequences(model))
    try:
        features = model.transform(rows, **options)
    except ValueError as error:
        raise refused(arguments.data, rows, error) from error
    write_rows(arguments.out, features)
    return {
        **about_array(arguments.out, features), "model": arguments.model, "data": arguments.data
    }  # fmt: skip


tell = tell_array
