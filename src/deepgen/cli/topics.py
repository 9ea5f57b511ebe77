"""``deepgen topics``."""

import json
from pathlib import Path

from deepgen.cli.common.arguments import file_name, positive
from deepgen.cli.common.errors import CommandError
from deepgen.cli.common.models import in_words, load_able


def add_to(commands):
    """Add the command's parser and return it."""
    parser = commands.add_parser(
        "topics",
        help="print the words of each topic of a model of documents",
        description="Print a line for each topic of a replicated softmax: the words whose weights "
        "are the furthest above their mean over all topics, the furthest first.",
    )
    parser.add_argument("model", type=file_name, metavar="MODEL")
    parser.add_argument(
        "--vocabulary", type=file_name, metavar="FILE",
        help="the words of the columns: a text file of one word a line, or a .json list (names of "
        "the columns in MODEL, else their numbers)",
    )  # fmt: skip
    parser.add_argument(
        "--n", type=positive, default=10, metavar="N", help="words of each topic (%(default)s)"
    )
    return parser


def run(arguments):
    """Find the words of the topics."""
    model = load_able(arguments.model, "topics")
    words = _vocabulary(arguments, model)
    return {
        "model": arguments.model,
        "topics": [list(map(str, topic)) for topic in model.top_words(arguments.n, words)],
    }


def _vocabulary(arguments, model):
    """Return the words of the columns, or None where nobody says."""
    if arguments.vocabulary is None:
        return getattr(model, "feature_names_in_", None)
    path = arguments.vocabulary
    try:
        text = Path(path).read_text(encoding="utf-8")
        words = json.loads(text) if path.endswith(".json") else text.splitlines()
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CommandError(f"{path} must be words, one a line, or a .json list: {error}") from None
    whole = isinstance(words, list) and all(isinstance(word, str) for word in words)
    if not whole or len(words) != model.n_features_in_:
        how_many = len(words) if whole else "something else"
        raise CommandError(
            f"{path} must have {model.n_features_in_} words, one for each column of "
            f"{arguments.model}, which holds {in_words(model)}; got {how_many}"
        )
    return words


def tell(result):
    """Print a line for each topic."""
    width = len(str(len(result["topics"])))
    for number, words in enumerate(result["topics"]):
        print(f"{number:>{width}}  {' '.join(words)}")
