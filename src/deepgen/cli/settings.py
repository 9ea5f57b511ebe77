"""Settings of ``deepgen train``: one table for its flags and for its configuration files."""

import argparse
import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from deepgen.cli.arguments import count
from deepgen.cli.errors import UsageError
from deepgen.cli.rows import PACKED
from deepgen.estimators import RBM
from deepgen.layers.softmax import Softmax
from deepgen.learning.optimizers import SGD, Adam
from deepgen.learning.rules import CD, PCD, Sparsity
from deepgen.learning.schedules import Linear

RULES = {"pcd": PCD, "cd": CD}
OPTIMIZERS = {"sgd": SGD, "adam": Adam}


@dataclass(frozen=True)
class Setting:
    """One setting: a flag ``--its-name`` and a key ``its_name``.

    Attributes
    ----------
    name : str
    kind : type
        int, float, bool or str.
    help : str
    choices : tuple of str or None
    metavar : str or None
    """

    name: str
    kind: type
    help: str
    choices: tuple | None = None
    metavar: str | None = None

    @property
    def flag(self):
        """The name on the command line."""
        return "--" + self.name.replace("_", "-")

    def add_to(self, parser):
        """Add the flag; where it is not given, the namespace has no such name."""
        options = {"default": argparse.SUPPRESS, "help": self.help}
        if self.kind is bool:
            parser.add_argument(self.flag, action=argparse.BooleanOptionalAction, **options)
            return
        kind = count if self.kind is int else self.kind
        metavar = self.metavar or {int: "N", float: "X", str: None}[self.kind]
        parser.add_argument(self.flag, type=kind, metavar=metavar, choices=self.choices, **options)

    def check(self, value, source):
        """Return a configuration file's value, or raise UsageError."""
        kinds = (int, float) if self.kind is float else (self.kind,)
        if type(value) not in kinds or (self.kind is int and value < 0):
            expected = {
                int: "an integer of at least 0", float: "a number", bool: "true or false",
                str: "a string",
            }[self.kind]  # fmt: skip
            raise UsageError(f"{source}: {self.name} must be {expected}, got {value!r}")
        if self.kind is str and "\0" in value:
            raise UsageError(f"{source}: {self.name} must not hold null characters")
        if self.choices and value not in self.choices:
            raise UsageError(
                f"{source}: {self.name} must be one of {', '.join(self.choices)}, got {value!r}"
            )
        return value


FILES = (
    Setting("data", str, "rows to learn from: .npy, .npz, FILE.npz:NAME or .csv", metavar="FILE"),
    Setting("valid", str, "held-out rows, whose likelihood goes into the history", metavar="FILE"),
    Setting("packed_columns", int, PACKED),
    Setting("out", str, "the model file to write, by custom .safetensors", metavar="FILE"),
    Setting("history", str, "write a line an epoch to a .csv or .json file", metavar="FILE"),
    Setting("checkpoint", str, "a file to go on from after a stop", metavar="FILE"),
    Setting("checkpoint_minutes", float, "how often it is written (10)"),
    Setting("resume", bool, "go on from the checkpoint, if there is one (no)"),
)
HYPER_PARAMETERS = (
    Setting("n_hidden", int, "hidden units (256)"),
    Setting("visible", str, "binary, gaussian or softmax:K of K columns (binary)", metavar="UNITS"),
    Setting("hidden", str, "the same for hidden units (binary)", metavar="UNITS"),
    Setting("rule", str, "persistent or plain contrastive divergence (pcd)", tuple(RULES)),
    Setting("k", int, "sweeps of the rule for each update (1)"),
    Setting("n_particles", int, "persistent chains of pcd (100)"),
    Setting("centring", bool, "centre the gradient (yes)"),
    Setting("sparsity", float, "target for the mean of hidden units (none)"),
    Setting("sparsity_strength", float, "its weight in the gradient (0.1)"),
    Setting("learning_rate", float, "constant, or the start of --learning-rate-end "
            "(0.2, or 0.05 with Gaussian units, to 0)"),
    Setting("learning_rate_end", float, "the rate moves here in a straight line"),
    Setting("optimizer", str, "(sgd)", tuple(OPTIMIZERS)),
    Setting("momentum", float, "of sgd (0)"),
    Setting("weight_decay", float, "of the weights (0.0001)"),
    Setting("averaging", float, "share of the updates, at the end, that is averaged (0.2)"),
    Setting("batch_size", int, "rows of an update (100)"),
    Setting("n_epochs", int, "(enough for 5,000 updates)"),
    Setting("binarize", bool, "draw bits from grey values at each presentation (no)"),
    Setting("seed", int, "(0); the same seed gives the same model"),
    Setting("n_threads", int, "(OMP_NUM_THREADS, else all cores); results never depend on it"),
)  # fmt: skip


def read_config(path, known):
    """Read a TOML file of settings.

    Parameters
    ----------
    path : str
    known : sequence of Setting

    Returns
    -------
    dict

    Raises
    ------
    UsageError
        If it is not TOML, or has a key or a value that no setting takes.
    """
    if Path(path).suffix.lower() != ".toml":
        raise UsageError(f"CONFIG must be a .toml file, got {path!r}; data are given by --data")
    try:
        with open(path, "rb") as file:
            found = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    table = {setting.name: setting for setting in known}
    for name in found:
        if name not in table:
            near = difflib.get_close_matches(name, table, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"{path}: unknown key {name!r}{hint} Known keys: {', '.join(table)}")
    return {name: table[name].check(value, path) for name, value in found.items()}


def estimator_for(settings):
    """Return the RBM that settings ask for.

    Parameters
    ----------
    settings : dict
        Values by the names of `HYPER_PARAMETERS`; what is left out has the library's default.

    Raises
    ------
    UsageError
        If a value is out of range, or belongs to another choice than the one made.
    """
    names = [setting.name for setting in HYPER_PARAMETERS]
    given = {name: settings[name] for name in names if name in settings}
    own = ("n_hidden", "batch_size", "n_epochs", "binarize", "n_threads")
    try:
        rbm = RBM(
            **{name: given.pop(name) for name in own if name in given},
            random_state=given.pop("seed", 0),
            visible=_units(given.pop("visible", "binary"), "visible"),
            hidden=_units(given.pop("hidden", "binary"), "hidden"),
            rule=_rule(given),
            learning_rate=_learning_rate(given),
            optimizer=_optimizer(given),
        )
        rbm._check_settings()
    except ValueError as error:
        raise UsageError(error) from error
    return rbm


def _take(given, *names):
    return {name: given.pop(name) for name in names if name in given}


def _units(text, name):
    kind, colon, size = text.partition(":")
    if kind == "softmax":
        if not size.isdecimal():
            raise UsageError(f"{name} must say how many columns a variable has, as softmax:5")
        return Softmax(int(size))
    if colon or kind not in ("binary", "gaussian"):
        raise UsageError(f"{name} must be binary, gaussian or softmax:K, got {text!r}")
    return kind


def _rule(given):
    name = given.pop("rule", "pcd")
    options = _take(given, "k", "centring", "n_particles")
    if name != "pcd" and "n_particles" in options:
        raise UsageError(f"n_particles belongs to the rule pcd, got rule {name}")
    target = _take(given, "sparsity", "sparsity_strength")
    if "sparsity" in target:
        options["sparsity"] = Sparsity(target["sparsity"], target.get("sparsity_strength", 0.1))
    elif target:
        raise UsageError("sparsity_strength needs sparsity, the target")
    return RULES[name](**options)


def _learning_rate(given):
    rate = _take(given, "learning_rate", "learning_rate_end")
    if "learning_rate_end" not in rate:
        return rate.get("learning_rate")
    if "learning_rate" not in rate:
        raise UsageError("learning_rate_end needs learning_rate, the start")
    return Linear(rate["learning_rate"], rate["learning_rate_end"])


def _optimizer(given):
    name = given.pop("optimizer", "sgd")
    options = _take(given, "momentum", "weight_decay", "averaging")
    if name != "sgd" and "momentum" in options:
        raise UsageError(f"momentum belongs to the optimizer sgd, got optimizer {name}")
    return OPTIMIZERS[name](**options)
