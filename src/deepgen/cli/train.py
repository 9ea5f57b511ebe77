"""``deepgen train``."""

import argparse
import contextlib
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from deepgen.cli.common.building import estimator_for
from deepgen.cli.common.errors import (
    CommandError,
    InterruptedRun,
    TerminatedRun,
    UsageError,
)
from deepgen.cli.common.frames import read_frame
from deepgen.cli.common.kinds import KINDS
from deepgen.cli.common.labels import check_classes, read_labels, read_targets, unlabelled_in
from deepgen.cli.common.output import as_json, print_fields
from deepgen.cli.common.rows import check_apart, check_target, read_rows, refused
from deepgen.cli.common.sequences import read_lengths
from deepgen.cli.common.settings import KNOWN, MODEL, add_settings, check_together, read_config
from deepgen.cli.common.triples import read_ratings
from deepgen.cli.common.watching import monitors_for
from deepgen.distributed import mpi
from deepgen.errors import DivergedError, ModelFileError
from deepgen.estimators import MixtureOfProducts
from deepgen.estimators.common.validation import reads_tables
from deepgen.io.atomic import write_atomically
from deepgen.io.checkpoints import OtherRunError
from deepgen.learning.callbacks import Checkpoint, as_csv

READ = ("data", "lengths", "labels", "valid", "valid_labels", "pretrained")
WRITTEN = ("out", "history", "checkpoint")


def add_to(commands, about):
    """Add the command's parser, which the list of commands says this about; return it."""
    parser = commands.add_parser(
        "train",
        usage="%(prog)s [CONFIG] [--model MODEL] --data FILE --out FILE [--SETTING VALUE ...]",
        help=about,
        description="Train a model on a file of rows and write a model file. Each setting is a "
        "flag, or a key of the TOML file CONFIG (learning_rate for --learning-rate); a flag "
        "wins. Paths are relative to the working folder. What stands in brackets is the default. ",
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="a .toml file of settings")
    add_settings(parser)
    parser.add_argument(
        "--progress", action=argparse.BooleanOptionalAction,
        help="a progress bar on standard error (where that is a terminal)",
    )  # fmt: skip
    parser.add_argument(
        "--mpi", action="store_true",
        help="share the run with the other processes of the MPI job that this one is of: "
        "mpirun -n 4 deepgen train ... --mpi; process 0 writes and prints",
    )  # fmt: skip
    return parser


def run(arguments):
    """Train, write the model and its history, and say how it went."""
    config = _config(arguments)
    settings = _settings(arguments, config)
    kind = KINDS[settings.get("model", MODEL)]
    estimator = estimator_for(settings)
    if arguments.mpi:
        if not kind.has("communicator"):
            raise UsageError(f"--mpi does not go with --model {kind.name}, which learns alone")
        estimator.communicator = mpi()
        if estimator.communicator.rank > 0:
            arguments.tell, arguments.json = _nothing, False
    out, history = settings["out"], settings.get("history")
    check_apart(
        {"CONFIG": config, **{name: settings.get(name) for name in READ}},
        {name: settings.get(name) for name in WRITTEN},
    )
    check_target(out)
    check_target(history, (".csv", ".json"))
    checkpoint, resume = _checkpoint(settings)
    if kind.name == "ratings":
        X = read_ratings(settings["data"], scale=estimator.scale, bins=estimator.bins)
    else:
        read = read_frame if reads_tables(estimator) else read_rows
        X = read(settings["data"], settings.get("packed_columns"))
    y = _labels(kind, estimator, X, settings)
    beside = {}
    if "lengths" in settings:
        beside["lengths"] = read_lengths(settings["lengths"], X.shape[0], settings["data"])
    if kind.has("callbacks"):
        estimator.callbacks = [*monitors_for(kind, estimator, (X, y), settings), *checkpoint]
    progress = sys.stderr.isatty() if arguments.progress is None else arguments.progress
    estimator.verbose = int(progress)
    began = time.perf_counter()
    try:
        # a checkpoint holds more than a model, and the process then ends by the signal itself
        with contextlib.nullcontext() if checkpoint else _sigterm_as_exception():
            _fit(kind, estimator, (X, y), beside, resume)
    except KeyboardInterrupt:
        how = "; go on by the same command with --resume" if checkpoint else ""
        raise InterruptedRun(f"interrupted; {_keep(estimator, out, history)}{how}") from None
    except Terminated:
        raise TerminatedRun(f"terminated; {_keep(estimator, out, history)}") from None
    except DivergedError as error:
        raise CommandError(f"{error} ({_keep(estimator, out, history)})") from error
    except OtherRunError as error:
        raise UsageError(_by_settings(str(error))) from error
    except ModelFileError:  # a checkpoint that is damaged or none
        raise
    except ValueError as error:
        message = str(error)
        if message.startswith("y ") and y is not None:
            raise CommandError(f"{settings['labels']}: {message}") from error
        if message.partition(" ")[0] in settings and " X" not in message:  # no fault of the rows
            raise UsageError(message) from error
        raise refused(settings["data"], X, error) from error
    seconds = time.perf_counter() - began
    _keep(estimator, out, history)
    return {
        "model": out,
        "history": history,
        "data": settings["data"],
        "n_rows": X.shape[0],
        "n_columns": X.shape[1],
        "settings": settings,
        "n_updates": _length(estimator)[0],
        "seconds": round(seconds, 3),
        "last_epoch": estimator.history_[-1],
        **_layers(estimator.history_),
    }


def _nothing(result):
    """Print nothing: process 0 of a job does."""


class Terminated(BaseException):
    """SIGTERM has come, and the last update of the run is whole."""


@contextlib.contextmanager
def _sigterm_as_exception():
    """Raise Terminated at SIGTERM, unless something else is to be done at it already.

    A run holds the signal until its update is whole, and then calls this handler.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number, frame):
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _by_settings(message):
    """Return a message about another run, in which parameters have the names of settings."""
    names = {"random_state": "seed", "estimator": "model", "label_units": "labels", "y": "labels"}

    def told(found):
        return f"{found[1]}{names[found[2]]} is "

    return re.sub(rf"(: |; )({'|'.join(names)}) is ", told, message)


def _layers(history):
    """Return the last entry of each layer that was trained on its own, where there are such."""
    last = {entry["layer"]: entry for entry in history if "layer" in entry}
    return {"layers": [last[l] for l in sorted(last)]} if last else {}


def tell(result):
    """Print what was trained and where it is."""
    last = result["last_epoch"]
    fields = [
        ("data", f"{result['data']}, {result['n_rows']:,} x {result['n_columns']:,}"),
        _told_length(result, last),
    ]
    watched = result["layers"][0] | last if "layer" in last else last  # --valid: the lowest layer
    told = _TOLD_OF_MIXTURES if "iteration" in last else _TOLD
    fields += [(label, form(watched[name])) for name, label, form in told if name in watched]
    print_fields(result["model"], fields)


def _told_length(result, last):
    n, seconds = result["n_updates"], f"{result['seconds']:.1f} s"
    if "iteration" in last:
        return "iterations", f"{n:,}, {seconds}"
    if "layer" in last:
        layers = f"{last['layer'] + 1:,} layers, the last of {last['epoch']:,} epochs"
        return "updates", f"{n:,} in {layers}, {seconds}"
    return "updates", f"{n:,} in {last['epoch']:,} epochs, {seconds}"


_TOLD_OF_MIXTURES = (
    ("log_likelihood", "log-likelihood", "{:.4f} nats a row, before the last iteration".format),
)
_TOLD = (
    ("rmse", "error",
     "{:.4f}, root of the mean square, of ratings that were hidden and predicted".format),
    ("weight_max", "largest |weight|", "{:.4g}".format),
    ("log_likelihood", "log-likelihood", "{:.4f} nats a held-out row".format),
    ("free_energy_gap", "free-energy gap", "{:.4f}".format),
    ("completion_perplexity", "perplexity",
     "{:.2f}, of halves of held-out documents given the others".format),
    ("loss", "loss", "{:.4f}, the mean of the last epoch's updates".format),
    ("validation_loss", "validation loss", "{:.4f} of rows held back".format),
    ("validation_accuracy", "accuracy", "{:.4f} of held-out labels".format),
    ("validation_r_squared", "R2", "{:.4f} of held-out targets".format),
    ("validation_squared_error", "squared error", "{:.4f} a held-out row".format),
)  # fmt: skip


def _config(arguments):
    """Return the configuration file, which may stand behind a flag of several numbers."""
    behind = vars(arguments).get("config_behind")
    if behind is not None and arguments.config is not None:
        raise UsageError(f"CONFIG must be one file, got {behind} and {arguments.config}")
    found = behind or arguments.config
    return None if found is None else os.path.expanduser(found)


def _settings(arguments, config):
    settings = {} if config is None else read_config(config, KNOWN)
    given = vars(arguments)
    settings.update({s.name: given[s.name] for s in KNOWN if s.name in given})
    for name in ("data", "out"):
        if name not in settings:
            raise UsageError(f"{name} is missing: give --{name} FILE, or {name} in CONFIG")
    check_together(settings, config)
    model = settings.get("model", MODEL)
    if KINDS[model].learns and "labels" not in settings:
        raise UsageError(
            f"labels is missing: a {model} learns from them; give --labels FILE, or labels in "
            "CONFIG"
        )
    if KINDS[model].learns and "valid" in settings and "valid_labels" not in settings:
        raise UsageError("valid_labels is missing: held-out rows are judged by their labels")
    return settings


def _labels(kind, estimator, X, settings):
    """Return labels or targets, or None; set `unlabelled` of the estimator."""
    if "labels" not in settings:
        return None
    source, n_rows = settings["labels"], X.shape[0]
    if kind.learns == "numbers":
        return read_targets(source, n_rows, settings["data"], gaps=kind.takes_gaps)
    labels = read_labels(source, n_rows, settings["data"])
    estimator.unlabelled = unlabelled_in(labels, settings)
    check_classes(labels, estimator.unlabelled, source)
    return labels


def _fit(kind, estimator, data, beside, resume):
    """Call `fit` with what the model takes: X, y or None, and what belongs to rows by name."""
    X, y = data
    learned = (X,) if y is None else (X, y)
    if kind.has("callbacks"):  # an estimator with callbacks has checkpoints, and `resume`
        estimator.fit(*learned, **beside, resume=resume)
    else:
        estimator.fit(*learned)


def _length(estimator):
    """Return the number of updates, of all layers, or of iterations; and the word for it."""
    if isinstance(estimator, MixtureOfProducts):
        return estimator.n_iter_, "iterations"
    return int(np.sum(estimator.n_updates_)), "updates"


def _keep(estimator, out, history):
    """Write model and history, also of a run that was broken off; return a message about it."""
    if not hasattr(estimator, "model_"):
        return "there is no model to write yet"
    n, what = _length(estimator)
    told = f"the model of {n:,} {what} is in {out}"
    if estimator.communicator is not None and estimator.communicator.rank > 0:
        return told
    estimator.save(out)
    if history is not None:
        lines = estimator.history_
        text = as_json(lines) if history.lower().endswith(".json") else as_csv(lines)
        write_atomically(history, text.encode())
    return told


def _checkpoint(settings):
    """Return the callback that writes checkpoints, in a list, and the file to go on from."""
    path = settings.get("checkpoint")
    if path is None:
        return [], None
    check_target(path)
    try:
        callback = Checkpoint(path, minutes=settings.get("checkpoint_minutes", 10.0))
    except ValueError as error:
        raise UsageError(f"checkpoint_{error}") from error
    if not settings.get("resume", False):
        return [callback], None
    if not Path(path).exists():  # a job that is always started with --resume begins so
        print(f"deepgen: no checkpoint {path} yet: starting anew", file=sys.stderr)
        return [callback], None
    return [callback], path
