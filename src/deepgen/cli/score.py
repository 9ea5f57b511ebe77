"""``deepgen score``."""

import math

import numpy as np

from deepgen.checks import check_integer
from deepgen.cli.common.arguments import (
    add_rows,
    add_threads,
    check_numbers,
    positive,
    refuse_chains,
)
from deepgen.cli.common.errors import CommandError, UsageError
from deepgen.cli.common.frames import read_data
from deepgen.cli.common.measures import accuracy, mean_with_error, r_squared
from deepgen.cli.common.models import (
    in_words,
    is_exact,
    is_of_documents,
    is_of_ratings,
    is_of_sequences,
    load_able,
    load_ratings,
    on_threads,
)
from deepgen.cli.common.names import file_name
from deepgen.cli.common.output import print_fields
from deepgen.cli.common.rows import check_apart, refused
from deepgen.cli.common.sequences import add_lengths, lengths_for
from deepgen.cli.common.triples import read_ratings
from deepgen.estimators import DBM, DBN, HierarchicalGaussian, MixtureOfProducts
from deepgen.estimators.common.deep_boltzmann import INFERENCES, has_label_units
from deepgen.estimators.common.validation import by_pieces, table_of
from deepgen.likelihood import LogPartition
from deepgen.likelihood.annealing import as_betas
from deepgen.rows.holes import filled, holes_in
from deepgen.rows.sources import ArrayRows
from deepgen.rows.survey import checked_pieces

# Where no flag says another number.
N_CHAINS, N_BETAS, DOCUMENT_BETAS = 100, 3000, 1000


def add_to(commands, about):
    """Add the command's parser, which the list of commands says this about; return it."""
    parser = commands.add_parser(
        "score",
        help=about,
        description="Bracket the mean log-likelihood of rows in nats: exact where enumeration "
        "is cheap, else by annealed importance sampling both ways. Of deep belief networks and "
        "deep Boltzmann machines it is low on average. Of a replicated-softmax it comes with "
        "the perplexities, by document and by word. Of ratings it is the error, the log loss and "
        "the NDCG of those in DATA, a line for each. Of autoencoders it is the squared error "
        "of reconstructions; with --labels the accuracy of a classifier or of a dbm with label "
        "units, or the R2 of a regressor.",
    )
    add_rows(parser)
    parser.add_argument(
        "--labels", type=file_name, metavar="FILE",
        help="a label or a target for each row: .npy, .npz, .csv, .tsv or .parquet",
    )  # fmt: skip
    parser.add_argument(
        "--unlabelled", metavar="LABEL",
        help="label of rows that have none, which are left out (every row counts)",
    )  # fmt: skip
    parser.add_argument(
        "--n-chains", type=positive, metavar="N",
        help=f"AIS chains ({N_CHAINS}; temporal 4 a frame)",
    )
    parser.add_argument(
        "--n-betas", type=positive, metavar="N",
        help=f"AIS temperatures ({N_BETAS}; temporal 300; replicated-softmax {DOCUMENT_BETAS}, of "
        "each of some lengths); more of both make the bracket narrower",
    )  # fmt: skip
    parser.add_argument(
        "--inference", choices=INFERENCES,
        help="of a dbm without labels: mean_field for an estimate that is low on average, tap for "
        "the TAP estimate, which is no bound (mean_field)",
    )  # fmt: skip
    add_lengths(parser)
    add_threads(parser)
    return parser


def run(arguments):
    """Score the rows by what the model is for."""
    _check_flags(arguments)
    model = on_threads(load_able(arguments.model, "score"), arguments.n_threads)
    measure = _measure_for(model, arguments)
    if measure not in (_likelihood, _documents, _sequences) or is_exact(model):
        why = (
            "its likelihood is exact" if measure is _likelihood else "it is judged without log Z"
        )
        who = f"{arguments.model} holds {in_words(model)}, and {why}"
        refuse_chains(arguments, {"n_chains": "--n-chains", "n_betas": "--n-betas"}, who)
    if arguments.inference is not None and not (
        measure is _likelihood and isinstance(model, DBM) and not has_label_units(model)
    ):
        raise UsageError(
            "inference is for the likelihood of a dbm without label units, and "
            f"{arguments.model} holds {in_words(model)}; leave --inference out"
        )
    check_apart({"MODEL": arguments.model, "DATA": arguments.data, "labels": arguments.labels}, {})
    if measure is _ratings:
        model = load_ratings(arguments.model, "score").set_params(n_threads=arguments.n_threads)
        rows = read_ratings(arguments.data, scale=model.model_.scale, model=model)
    else:
        rows = read_data(model, arguments.data, arguments.packed_columns)
    if measure is not _sequences:
        lengths_for(arguments, rows.shape[0], False)
    try:
        found = measure(model, rows, arguments)
    except ValueError as error:
        raise refused(arguments.data, rows, error) from error
    return {
        "model": arguments.model, "data": arguments.data, "n_rows": rows.shape[0], **found
    }  # fmt: skip


def _measure_for(model, arguments):
    """Return the function that scores this model; raise where labels lack, or are of no use."""
    if is_of_ratings(model):
        for name in ("labels", "unlabelled", "packed_columns"):
            if getattr(arguments, name) is not None:
                raise UsageError(
                    f"{name} is not for {in_words(model)}, which {arguments.model} holds; leave it "
                    "out"
                )
        return _ratings
    if is_of_sequences(model):
        for name in ("labels", "unlabelled"):
            if getattr(arguments, name) is not None:
                raise UsageError(
                    f"{name} is not for {in_words(model)}, which {arguments.model} holds; leave it "
                    "out"
                )
        return _sequences
    # densities of a hierarchy of classes are those of coordinates: one file's alone compare
    density = hasattr(model, "score_samples") and not isinstance(model, HierarchicalGaussian)
    # a mixture predicts components, which no label is compared with
    predicts = hasattr(model, "predict") and not isinstance(model, MixtureOfProducts)
    if arguments.labels is not None:
        if not predicts:
            raise CommandError(
                f"{arguments.model} holds {in_words(model)}, which predicts no labels; leave "
                "--labels out"
            )
        return _accuracy if hasattr(model, "classes_") else _r_squared
    if arguments.unlabelled is not None:
        raise UsageError("unlabelled needs labels, the file")
    if density:
        return _documents if is_of_documents(model) else _likelihood
    if predicts:
        raise UsageError(
            f"{arguments.model} holds {in_words(model)}, which is scored against labels or "
            "targets; give --labels FILE"
        )
    return _squared_error


def _likelihood(model, rows, arguments):
    """Return the mean log-likelihood between the ends of the bracket of log Z, or an exact one."""
    model.transform(rows)  # checks them before the long part
    visible, table = model.model_.visible, table_of(model)
    states = rows if table is None else table.read(rows)[0]
    pieces = checked_pieces(
        ArrayRows(states), visible, holes=isinstance(model, MixtureOfProducts)
    )
    if not all(visible.is_state(filled(x, holes_in(x))) for x in pieces):
        raise ValueError("it has values between states, which have no likelihood; binarize it")
    log_z = LogPartition(0.0, 0.0, 0.0)  # of a normalized model
    if not is_exact(model):
        log_z = model.log_partition(
            n_chains=arguments.n_chains or N_CHAINS, n_betas=arguments.n_betas or N_BETAS
        )
    asked, by_tap = {}, arguments.inference == "tap"
    if arguments.inference is not None:
        asked = {"inference": arguments.inference}
    found = mean_with_error(model.score_samples(rows, **asked))
    mean, is_bound = found["value"], isinstance(model, DBM | DBN) and not by_tap
    return {
        "tap_estimate" if by_tap else "log_likelihood": {
            "lower": mean + float(log_z.value - log_z.upper),
            "value": mean,
            "upper": math.inf if is_bound else mean + float(log_z.value - log_z.lower),
            "is_bound": is_bound,
            "standard_error": found["standard_error"],
        },
        "log_partition": {
            name: float(getattr(log_z, name)) for name in ("lower", "value", "upper")
        },
        "method": log_z.method,
    }


def _documents(model, rows, arguments):
    """Return the mean log-likelihood of documents, and perplexities, between the ends of log Z."""
    energies = model.free_energy(rows)
    visible = model.model_.visible
    lengths = by_pieces(rows, visible, visible.trials_of).astype(np.int64)
    log_z = model.log_partition(
        lengths, n_chains=arguments.n_chains or N_CHAINS,
        n_betas=arguments.n_betas or DOCUMENT_BETAS,
    )  # fmt: skip
    ends = {"lower": log_z.upper, "value": log_z.value, "upper": log_z.lower}  # of log p
    log_p = {name: -energies - end(lengths) for name, end in ends.items()}
    words = lengths > 0
    if not words.any():
        raise ValueError("it has no document with words, so there is no perplexity")
    by_document = {name: -np.mean(p[words] / lengths[words]) for name, p in log_p.items()}
    by_word = {name: -p.sum() / lengths.sum() for name, p in log_p.items()}
    return {
        "log_likelihood": {
            **{name: float(np.mean(p)) for name, p in log_p.items()},
            "is_bound": False,
            "standard_error": mean_with_error(log_p["value"])["standard_error"],
        },
        "perplexity": {
            "document": _perplexities(by_document), "word": _perplexities(by_word)
        },
        "n_words": int(lengths.sum()),
        "n_empty": int((~words).sum()),
        "lengths": list(log_z.lengths),
        "method": ", ".join(dict.fromkeys(b.method for b in log_z.brackets)),
    }  # fmt: skip


def _sequences(model, rows, arguments):
    """Return the mean log-likelihood of a frame, and how far its estimate can be believed."""
    numbers = {"n_chains": arguments.n_chains, "n_betas": arguments.n_betas}
    given = {name: value for name, value in numbers.items() if value is not None}
    found = model.score_sequences(rows, **lengths_for(arguments, rows.shape[0], True), **given)
    report = model.likelihood_report_
    return {
        "frame_log_likelihood": {name: report[name] for name in ("lower", "value", "upper")},
        "mean_variance": report["mean_variance"],
        "n_sequences": len(found),
        "method": report["method"],
    }


def _ratings(model, rows, arguments):
    """Return how well held-out ratings are predicted, and how well they rank."""
    n_ratings = rows.n_ratings
    rows = rows.among(users=model.user_ids_, items=model.item_ids_)
    if not rows.n_ratings:
        raise ValueError("it has no rating of a user and an item that the model knows")
    found = {"rmse": -model.score(rows), "log_loss": model.log_loss(rows)}
    try:
        found["ndcg"] = model.ndcg(rows)
    except ValueError:  # single ratings, and the lowest alone, have no order
        found["ndcg"] = None
    return {**found, "n_ratings": rows.n_ratings, "n_unknown": n_ratings - rows.n_ratings}


def _perplexities(nats):
    """Return perplexities from nats a word; the lower end of log p is the upper of these."""
    return {
        "lower": float(np.exp(nats["upper"])),
        "value": float(np.exp(nats["value"])),
        "upper": float(np.exp(nats["lower"])),
    }


def _accuracy(model, rows, arguments):
    settings = {} if arguments.unlabelled is None else {"unlabelled": arguments.unlabelled}
    return {
        "accuracy": accuracy(
            model.predict, model.classes_, rows, arguments.labels, arguments.data, settings
        )
    }


def _r_squared(model, rows, arguments):
    if arguments.unlabelled is not None:
        raise UsageError("unlabelled is about classes, and this model is a regressor")
    return {"r_squared": r_squared(model.predict, rows, arguments.labels, arguments.data)}


def _squared_error(model, rows, arguments):
    found = mean_with_error(model.reconstruction_error(rows, loss="squared_error"))
    return {"squared_error": {**found, "per_value": found["value"] / rows.shape[1]}}


def _check_flags(arguments):
    try:
        if arguments.n_chains is not None:
            check_integer(arguments.n_chains, "n_chains")
        if arguments.n_betas is not None:
            as_betas(arguments.n_betas)
    except ValueError as error:
        raise UsageError(error) from error
    check_numbers(arguments)


def tell(result):
    """Print the score."""
    what = "users" if "rmse" in result else "rows"
    title = f"{result['model']} on {result['n_rows']:,} {what} of {result['data']}"
    print_fields(title, next(told(result) for name, told in _TOLD if name in result))


def _tell_likelihood(result):
    mean = result["log_likelihood"]
    bound = "over " if mean["is_bound"] else ""
    bracket = (
        f"over {mean['lower']:.4f}, at the upper end of log Z" if mean["is_bound"]
        else f"{mean['lower']:.4f} to {mean['upper']:.4f}"
    )  # fmt: skip
    return [
        ("log-likelihood", f"{bound}{mean['value']:.4f} nats a row"),
        ("bracket", f"{bracket} ({result['method']})"),
        ("rows differ by", f"{mean['standard_error']:.4f} (standard error of their mean)"),
    ]


def _tell_tap(result):
    mean = result["tap_estimate"]
    return [
        ("TAP estimate", f"{mean['value']:.4f} nats a row, no bound"),
        ("log Z", f"{mean['lower']:.4f} to {mean['upper']:.4f} by its ends ({result['method']})"),
        ("rows differ by", f"{mean['standard_error']:.4f} (standard error of their mean)"),
    ]


def _tell_sequences(result):
    mean = result["frame_log_likelihood"]
    return [
        ("log-likelihood", f"{mean['value']:.4f} nats a frame of {result['n_sequences']:,} "
         "sequences"),
        ("bracket", f"{mean['lower']:.4f} to {mean['upper']:.4f} ({result['method']})"),
        ("variance", f"{result['mean_variance']:.3g}, mean of that of log weights; above 0.1 raise "
         "--n-betas"),
    ]  # fmt: skip


def _tell_documents(result):
    mean, found = result["log_likelihood"], result["perplexity"]
    perplexities = [
        (f"per {what}", f"{p['value']:.2f}, bracket {p['lower']:.2f} to {p['upper']:.2f}")
        for what, p in found.items()
    ]
    empty = f", {result['n_empty']:,} documents without any" if result["n_empty"] else ""
    return [
        ("log-likelihood", f"{mean['value']:.4f} nats a document, of words in their order"),
        ("bracket", f"{mean['lower']:.4f} to {mean['upper']:.4f} ({result['method']}, "
         f"{len(result['lengths'])} lengths and a curve through them)"),
        ("rows differ by", f"{mean['standard_error']:.4f} (standard error of their mean)"),
        ("words", f"{result['n_words']:,}{empty}"),
        ("perplexity", f"{perplexities[0][0]} {perplexities[0][1]}"),
        ("", f"{perplexities[1][0]} {perplexities[1][1]}"),
    ]  # fmt: skip


def _tell_accuracy(result):
    found = result["accuracy"]
    return [
        ("accuracy", f"{found['value']:.4f} of {found['n_labelled']:,} labels"),
        ("standard error", f"{found['standard_error']:.4f}"),
    ]


def _tell_r_squared(result):
    found = result["r_squared"]
    return [
        ("R2", f"{found['value']:.4f}"),
        ("standard error", f"{found['standard_error']:.4f}"),
        ("squared error", f"{found['squared_error']:.4g} a target"),
    ]


def _tell_squared_error(result):
    found = result["squared_error"]
    return [
        ("squared error", f"{found['value']:.4f} a row, {found['per_value']:.4g} a value"),
        ("standard error", f"{found['standard_error']:.4f} of that of a row"),
    ]


def _tell_ratings(result):
    ndcg = "none: no user has two of them, and not the lowest alone"
    if result["ndcg"] is not None:
        ndcg = f"{result['ndcg']:.4f}, of the held-out ratings of each user"
    return [
        ("ratings", f"{result['n_ratings']:,}; {result['n_unknown']:,} more of users or items that "
         "the model does not know"),
        ("error", f"{result['rmse']:.4f}, root of the mean square"),
        ("log loss", f"{result['log_loss']:.4f} nats a rating"),
        ("NDCG@10", ndcg),
    ]  # fmt: skip


_TOLD = (
    ("rmse", _tell_ratings),
    ("frame_log_likelihood", _tell_sequences),
    ("perplexity", _tell_documents),
    ("log_likelihood", _tell_likelihood),
    ("tap_estimate", _tell_tap),
    ("accuracy", _tell_accuracy),
    ("r_squared", _tell_r_squared),
    ("squared_error", _tell_squared_error),
)
