"""``deepgen recommend``."""

import json

from deepgen.cli.common.arguments import add_threads, check_numbers, positive
from deepgen.cli.common.errors import CommandError
from deepgen.cli.common.models import load_ratings
from deepgen.cli.common.names import file_name
from deepgen.cli.common.rows import check_apart
from deepgen.cli.common.triples import READS, identifier_of, read_ratings, read_titles
from deepgen.estimators.common.recommending import RANKS


def add_to(commands, about):
    """Add the command's parser, which the list of commands says this about; return it."""
    parser = commands.add_parser(
        "recommend",
        help=about,
        description="Print the best items for users, an item a line behind its expected rating. "
        "The file of a model does not hold the ratings that it learned from: what a user has rated "
        "is left out where --ratings says it.",
    )
    parser.add_argument("model", type=file_name, metavar="MODEL")
    parser.add_argument(
        "--user", nargs="+", required=True, metavar="ID", help="one user or more"
    )
    parser.add_argument(
        "--n", type=positive, default=10, metavar="N", help="items for each (%(default)s)"
    )
    parser.add_argument(
        "--ratings", type=file_name, metavar="FILE",
        help=f"what these users have rated, which is left out: {READS}. A model with rows of users "
        "looks at these ratings, and then knows new users too",
    )  # fmt: skip
    parser.add_argument(
        "--titles", type=file_name, metavar="FILE",
        help="titles to print for items: a .csv, .tsv or .parquet file with the columns item and "
        "title, or else the first two",
    )  # fmt: skip
    parser.add_argument(
        "--rank", choices=RANKS, default="mean",
        help="by expected rating, or by the probability of the highest rating (%(default)s)",
    )  # fmt: skip
    add_threads(parser)
    return parser


def run(arguments):
    """Return the best items of each user."""
    check_numbers(arguments)
    read = {name: getattr(arguments, name) for name in ("model", "ratings", "titles")}
    check_apart(read, {})
    model = load_ratings(arguments.model, "recommend")
    model.set_params(n_threads=arguments.n_threads)
    titles = {} if arguments.titles is None else read_titles(arguments.titles)
    users, rows = _asked(model, arguments)
    n_unknown = 0
    if rows is not None:
        known = rows.among(items=model.item_ids_)
        rows, n_unknown = known, rows.n_ratings - known.n_ratings
    n = min(arguments.n, model.n_items_)  # no memory for places that stay empty
    try:
        ids, scores = model.recommend(rows, n, users=users, rank=arguments.rank)
    except ValueError as error:
        raise CommandError(f"{arguments.ratings or arguments.model}: {error}") from error
    return {
        "model": arguments.model,
        "ratings": arguments.ratings,
        "titles": arguments.titles,
        "rank": arguments.rank,
        "n_unknown": n_unknown,
        "users": [
            {"user": user, "items": _items(ids[row], scores[row], titles)}
            for row, user in enumerate(users)
        ],
    }


def _asked(model, arguments):
    """Return the identifiers of the users, and their ratings or None."""
    known = set(model.user_ids_.tolist())
    users = [identifier_of(text, known) for text in arguments.user]
    lost = [user for user in users if user not in known]
    new = model.rows == "users"
    if lost and not (new and arguments.ratings):
        raise CommandError(
            f"{arguments.model} does not know user {lost[0]!r}; "
            + ("pass what this user has rated by --ratings" if new else
               "a model with rows of items cannot answer for new users: train one with --rows "
               "users, and pass what they have rated by --ratings")
        )  # fmt: skip
    if arguments.ratings is None:
        return users, None
    rows = read_ratings(
        arguments.ratings, scale=model.model_.scale, users=arguments.user, model=model
    )
    rated = set() if rows is None else set(rows.user_ids.tolist())
    users = [identifier_of(text, rated) for text in arguments.user]
    lost = [user for user in users if user not in rated]
    if lost:
        raise CommandError(
            f"{arguments.ratings} must have a rating of user {lost[0]!r}, got none; leave "
            "--ratings out for users that the model knows"
        )
    return users, rows


def _items(ids, scores, titles):
    """Return the items of a user as plain data, the best first."""
    return [
        {"item": item, "score": float(score)}
        | ({"title": titles[str(item)]} if str(item) in titles else {})
        for item, score in zip(ids.tolist(), scores.tolist(), strict=True)
        if item is not None
    ]


def tell(result):
    """Print a line for each item, below each user."""
    for entry in result["users"]:
        print(f"user {_printed(entry['user'])}")
        if not entry["items"]:
            print("  nothing is left")
        for item in entry["items"]:
            title = f"  {_printed(item['title'])}" if "title" in item else ""
            print(f"  {item['score']:6.3f}  {_printed(item['item'])}{title}")
    if result["n_unknown"]:
        print(f"{result['n_unknown']:,} ratings of items that the model does not know")


def _printed(value):
    """Return an identifier or a title without what would move a terminal's cursor."""
    text = str(value)
    return text if text.isprintable() and text else json.dumps(text)
