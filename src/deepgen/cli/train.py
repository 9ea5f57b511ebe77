"""``deepgen train``."""

import argparse
import sys
import time
from pathlib import Path

from deepgen.cli.errors import CommandError, InterruptedRun, UsageError
from deepgen.cli.output import as_json, print_fields
from deepgen.cli.rows import check_apart, check_target, read_rows
from deepgen.cli.settings import FILES, HYPER_PARAMETERS, estimator_for, read_config
from deepgen.errors import DivergedError
from deepgen.io.atomic import write_atomically
from deepgen.io.checkpoints import Checkpoint, OtherRunError
from deepgen.layers.named import as_units
from deepgen.learning.callbacks import as_csv
from deepgen.learning.monitors import FreeEnergyGap, LikelihoodMonitor
from deepgen.rows.states import as_states

# Rows whose free energies are compared with those of held-out rows.
GAP_ROWS = 10_000


def add_to(commands):
    """Add the command's parser and return it."""
    parser = commands.add_parser(
        "train",
        help="train an RBM on a file of rows",
        description="Train an RBM on a file of rows and write a model file. Each setting is a "
        "flag, or a key of the TOML file CONFIG (learning_rate for --learning-rate); a flag "
        "wins. Paths are relative to the working folder. ",
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="a .toml file of settings")
    for title, settings in (("files", FILES), ("hyper-parameters", HYPER_PARAMETERS)):
        group = parser.add_argument_group(title)
        for setting in settings:
            setting.add_to(group)
    parser.add_argument(
        "--progress", action=argparse.BooleanOptionalAction,
        help="a progress bar on standard error (where that is a terminal)",
    )  # fmt: skip
    return parser


def run(arguments):
    """Train, write the model and its history, and say how it went."""
    settings = _settings(arguments)
    rbm = estimator_for(settings)
    out, history = settings["out"], settings.get("history")
    read = {"CONFIG": arguments.config, **{name: settings.get(name) for name in ("data", "valid")}}
    written = {name: settings.get(name) for name in ("out", "history", "checkpoint")}
    check_apart(read, written)
    check_target(out)
    check_target(history, (".csv", ".json"))
    checkpoint, resume = _checkpoint(settings)
    X = read_rows(settings["data"], settings.get("packed_columns"))
    rbm.callbacks = [*_callbacks(rbm, X, settings), *checkpoint]
    progress = sys.stderr.isatty() if arguments.progress is None else arguments.progress
    rbm.verbose = int(progress)
    began = time.perf_counter()
    try:
        rbm.fit(X, resume=resume)
    except KeyboardInterrupt:
        how = "; go on by the same command with --resume" if checkpoint else ""
        raise InterruptedRun(f"interrupted; {_keep(rbm, out, history)}{how}") from None
    except DivergedError as error:
        raise CommandError(f"{error} ({_keep(rbm, out, history)})") from error
    except OtherRunError as error:
        raise UsageError(error) from error
    except ValueError as error:
        raise CommandError(f"{settings['data']}: {error}") from error
    seconds = time.perf_counter() - began
    _keep(rbm, out, history)
    return {
        "model": out,
        "history": history,
        "data": settings["data"],
        "n_rows": X.shape[0],
        "n_columns": X.shape[1],
        "settings": settings,
        "n_updates": rbm.n_updates_,
        "seconds": round(seconds, 3),
        "last_epoch": rbm.history_[-1],
    }


def tell(result):
    """Print what was trained and where it is."""
    last = result["last_epoch"]
    fields = [
        ("data", f"{result['data']}, {result['n_rows']:,} x {result['n_columns']:,}"),
        ("updates", f"{result['n_updates']:,} in {last['epoch']:,} epochs, "
                    f"{result['seconds']:.1f} s"),
        ("largest |weight|", f"{last['weight_max']:.4g}"),
    ]  # fmt: skip
    if "log_likelihood" in last:
        fields.append(("log-likelihood", f"{last['log_likelihood']:.4f} nats a held-out row"))
    if "free_energy_gap" in last:
        fields.append(("free-energy gap", f"{last['free_energy_gap']:.4f}"))
    print_fields(result["model"], fields)


def _settings(arguments):
    known = (*FILES, *HYPER_PARAMETERS)
    settings = {} if arguments.config is None else read_config(arguments.config, known)
    given = vars(arguments)
    settings.update({s.name: given[s.name] for s in known if s.name in given})
    for name in ("data", "out"):
        if name not in settings:
            raise UsageError(f"{name} is missing: give --{name} FILE, or {name} in CONFIG")
    return settings


def _keep(rbm, out, history):
    """Write the model and the history of a run, whole or not; say so in words."""
    if not hasattr(rbm, "model_"):
        return "nothing was trained and nothing written"
    rbm.save(out)
    if history is not None:
        text = as_json(rbm.history_) if history.lower().endswith(".json") else as_csv(rbm.history_)
        write_atomically(history, text.encode())
    return f"the model of {rbm.n_updates_:,} updates is in {out}"


def _checkpoint(settings):
    """Return the callback that writes checkpoints, in a list, and the file to go on from."""
    path = settings.get("checkpoint")
    if path is None:
        for name in ("checkpoint_minutes", "resume"):
            if name in settings:
                raise UsageError(f"{name} needs checkpoint, the file")
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


def _callbacks(rbm, X, settings):
    if "valid" not in settings:
        return []
    valid = read_rows(settings["valid"], settings.get("packed_columns"))
    if valid.shape[1] != X.shape[1]:
        raise CommandError(
            f"{settings['valid']} has {valid.shape[1]} columns, but {settings['data']} has "
            f"{X.shape[1]}"
        )
    try:
        visible = as_units(rbm.visible).sized(X.shape[1])
        states = as_states(valid)
        visible.check(states, "the rows")
    except ValueError as error:
        raise CommandError(f"{settings['valid']}: {error}") from error
    watch = [FreeEnergyGap(X[:GAP_ROWS], states, n_threads=rbm.n_threads)]
    if visible.is_state(states) and visible.missing(states) is None:
        watch.append(LikelihoodMonitor(states, n_threads=rbm.n_threads))
    return watch
