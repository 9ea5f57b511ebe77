"""``deepgen predict``."""

import numpy as np

from deepgen.cli.common.arguments import add_out, add_rows, add_threads, check_numbers, check_out
from deepgen.cli.common.errors import CommandError
from deepgen.cli.common.frames import read_data
from deepgen.cli.common.models import in_words, load_able, on_threads
from deepgen.cli.common.output import about_array, tell_array
from deepgen.cli.common.rows import refused, write_rows
from deepgen.estimators import DeepGaussianProcessRegressor
from deepgen.io.classes import json_classes


def add_to(commands, about):
    """Add the command's parser, which the list of commands says this about; return it."""
    parser = commands.add_parser(
        "predict",
        help=about,
        description="Write a line for each row: its most probable class (classifier, neighbours, "
        "dbm with label units), its targets (regressor, gaussian-process), its most probable "
        "component (mixtures).",
    )
    add_rows(parser)
    parser.add_argument(
        "--proba", action="store_true",
        help="write the probability of each class instead, a column each, in the order of "
        "deepgen info, or of each component (mixtures)",
    )  # fmt: skip
    parser.add_argument(
        "--std", action="store_true",
        help="write the standard deviation beside each target, a second column (gaussian-process)",
    )  # fmt: skip
    add_threads(parser)
    add_out(parser)
    return parser


def run(arguments):
    """Predict and write."""
    check_out(arguments, {"MODEL": arguments.model, "DATA": arguments.data})
    check_numbers(arguments)
    model = load_able(arguments.model, "predict")
    if arguments.proba and not hasattr(model, "predict_proba"):
        raise CommandError(
            f"{arguments.model} holds {in_words(model)}, which predicts no classes or components "
            "that have probabilities; leave --proba out"
        )
    if arguments.std and not isinstance(model, DeepGaussianProcessRegressor):
        raise CommandError(
            f"{arguments.model} holds {in_words(model)}, which knows no deviations of what it "
            "predicts; leave --std out"
        )
    on_threads(model, arguments.n_threads)
    rows = read_data(model, arguments.data, arguments.packed_columns)
    try:
        if arguments.std:
            predicted = np.column_stack(model.predict(rows, return_std=True))
        else:
            predicted = model.predict_proba(rows) if arguments.proba else model.predict(rows)
    except ValueError as error:
        raise refused(arguments.data, rows, error) from error
    write_rows(arguments.out, predicted)
    return {
        **about_array(arguments.out, predicted),
        "model": arguments.model,
        "data": arguments.data,
        "classes": json_classes(model.classes_) if hasattr(model, "classes_") else None,
    }


tell = tell_array
