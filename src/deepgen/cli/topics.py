"""``deepgen topics``."""

import json

import numpy as np

from deepgen.checks import check_integer
from deepgen.cli.common.arguments import positive
from deepgen.cli.common.errors import UsageError
from deepgen.cli.common.models import load_able
from deepgen.cli.common.names import file_name
from deepgen.cli.common.vocabularies import READS, read_vocabulary


def add_to(commands, about):
    """Add the command's parser, which the list of commands says this about; return it."""
    parser = commands.add_parser(
        "topics",
        help=about,
        description="Print the words that tell each topic from the others, a topic a line: those "
        "of the largest weights minus their mean over all topics. Topics whose weights differ most "
        "from that mean come first; their numbers are columns of what transform writes.",
    )
    parser.add_argument("model", type=file_name, metavar="MODEL")
    parser.add_argument(
        "--vocabulary", type=file_name, metavar="FILE",
        help=f"{READS} (the columns of the data frame that the model learned from, else numbers)",
    )  # fmt: skip
    parser.add_argument(
        "--n", type=positive, default=10, metavar="N", help="words of each topic (%(default)s)"
    )
    return parser


def run(arguments):
    """Return the topics, strongest first."""
    try:
        check_integer(arguments.n, "n")
    except ValueError as error:
        raise UsageError(error) from error
    model = load_able(arguments.model, "topics", with_names=True)
    vocabulary = None
    if arguments.vocabulary is not None:
        vocabulary = read_vocabulary(arguments.vocabulary, model.n_features_in_)
    words = model.top_words(arguments.n, vocabulary)
    contrasts = model.components_ - model.components_.mean(axis=0)
    strengths = np.sqrt(np.square(contrasts, dtype=np.float64).sum(axis=1))
    largest = -np.sort(-contrasts, axis=1)[:, : arguments.n]
    return {
        "model": arguments.model,
        "vocabulary": arguments.vocabulary,
        "topics": [
            {
                "topic": int(topic),
                "strength": float(strengths[topic]),
                "words": words[topic],
                "weights": largest[topic].tolist(),
            }
            for topic in np.argsort(-strengths, kind="stable")
        ],
    }


def tell(result):
    """Print a line for each topic."""
    width = len(str(len(result["topics"]) - 1))
    for entry in result["topics"]:
        words = " ".join(_printed(str(word)) for word in entry["words"])
        print(f"topic {entry['topic']:>{width}}: {words}")


def _printed(word):
    """Return a word without what would move a terminal's cursor, or look like two words."""
    return word if word.isprintable() and word and " " not in word else json.dumps(word)
