"""Settings of ``deepgen train``: one table for its flags and for its configuration files.

A setting belongs to the models whose estimator has the parameter that it is part of. So the table
says once what a setting is, and the estimators say who has it.
"""

import argparse
import os
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from deepgen.cli.common.arguments import count, one_of
from deepgen.cli.common.errors import UsageError
from deepgen.cli.common.kinds import KINDS
from deepgen.cli.common.names import file_name, near
from deepgen.cli.common.rows import PACKED
from deepgen.cli.common.sequences import LENGTHS
from deepgen.estimators.common.deep_boltzmann import INFERENCES
from deepgen.estimators.ratings import SIDES
from deepgen.models.recurrences import RECURRENCES
from deepgen.rows.counts import FORMS

MODEL = "rbm"  # where --model is not given


class File(str):
    """Kind of a setting that is the name of a file."""


class Label(str):
    """Kind of a setting that is a label: text, or in a configuration file also a number."""


@dataclass(frozen=True)
class Setting:
    """One setting: a flag ``--its-name`` and a key ``its_name``.

    Attributes
    ----------
    name : str
    kind : type
        int, float, bool, str, File or Label.
    help : str
    choices : tuple of str or None
    metavar : str or None
    several : bool
        Whether it takes one value or more.
    part_of : str or None
        The estimator's parameter that it is a part of; None: that of its own name.
    models : tuple of str or None
        Names of the models that have it. None: those whose estimators have the parameter.
    needs : tuple of str or None
        Another setting without which this one has no effect, and what to call it in the message:
        ("checkpoint", "the file").
    otherwise : str
        What a user of another model can do instead.
    """

    name: str
    kind: type
    help: str
    choices: tuple | None = None
    metavar: str | None = None
    several: bool = False
    part_of: str | None = None
    models: tuple | None = None
    needs: tuple | None = None
    otherwise: str = "choose another one by --model"

    @property
    def flag(self):
        """The name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def parameter(self):
        """The estimator's parameter that it becomes, alone or with other settings."""
        return self.part_of or self.name

    def parameter_of(self, kind):
        """The parameter that it becomes of one kind of model: that of its name where there is one.

        The decay of weights, for example, is as a rule a part of an optimizer.
        """
        return self.name if kind.has(self.name) else self.parameter

    @cached_property
    def owners(self):
        """Names of the models that have it."""
        if self.models is not None:
            return self.models
        return tuple(name for name, kind in KINDS.items() if kind.has(self.parameter_of(kind)))

    def add_to(self, parser, *, tell_owners=False):
        """Add the flag; where it is not given, the namespace has no such name."""
        of = ""
        if tell_owners and self.owners != ALL:
            of = f" [{'not mixture' if self.owners == NOT_MIXTURE else ', '.join(self.owners)}]"
        options = {"default": argparse.SUPPRESS, "help": self.help + of}
        if self.kind is bool:
            parser.add_argument(self.flag, action=argparse.BooleanOptionalAction, **options)
            return
        if self.several:
            options |= {"nargs": "+", "action": _Several}
        kind = {int: count, File: file_name}.get(self.kind, self.kind)
        kind = _count_or_config if self.several else kind
        metavar = self.metavar or {int: "N", float: "X", File: "FILE"}.get(self.kind)
        if self.choices:
            kind, metavar = one_of(self.choices), metavar or f"{{{','.join(self.choices)}}}"
        parser.add_argument(self.flag, type=kind, metavar=metavar, **options)

    def check(self, value, source):
        """Return a configuration file's value, or raise UsageError."""
        several = self.several and isinstance(value, list) and bool(value)
        for each in value if several else [value]:
            self._check_one(each, value, source)
        if self.kind is File:
            return os.path.expanduser(value)
        return _one_or_all(value) if several else value

    def _check_one(self, value, whole, source):
        kinds = {float: (int, float), File: (str,), Label: (str, int, float)}.get(
            self.kind, (self.kind,)
        )
        if type(value) not in kinds or (self.kind is int and value < 0):
            expected = {
                int: "an integer of at least 0", float: "a number", bool: "true or false",
                str: "a string", File: "the name of a file", Label: "a string or a number",
            }[self.kind] + (", or a list of them" if self.several else "")  # fmt: skip
            raise UsageError(f"{source}: {self.name} must be {expected}, got {whole!r}")
        if self.kind is File and not value:
            raise UsageError(f"{source}: {self.name} must name a file, got an empty name")
        if isinstance(value, str) and "\0" in value:
            raise UsageError(f"{source}: {self.name} must not hold null characters")
        if self.choices and value not in self.choices:
            raise UsageError(
                f"{source}: {self.name} must be one of {', '.join(self.choices)}, got {value!r}"
                f"{near(value, self.choices)}"
            )


def _one_or_all(values):
    return values[0] if len(values) == 1 else values


def _count_or_config(text):
    return text if text.lower().endswith(".toml") else count(text)


class _Several(argparse.Action):
    """Take sizes, and the CONFIG that may stand behind them: ``--n-hidden 64 32 run.toml``."""

    def __call__(self, parser, namespace, values, option_string=None):
        *sizes, last = values
        if isinstance(last, str):
            namespace.config_behind = last
        else:
            sizes.append(last)
        if not sizes or not all(isinstance(size, int) for size in sizes):
            parser.error(f"argument {option_string}: must be integers, got {values}")
        setattr(namespace, self.dest, _one_or_all(sizes))


ALL = tuple(KINDS)
MIXTURES = ("mixture", "product-mixture")
NOT_MIXTURE = tuple(name for name in ALL if name not in MIXTURES)
OF_ROWS = tuple(name for name in ALL if name != "ratings")
LABELLED = ("dbm", *(name for name, kind in KINDS.items() if kind.learns))
SUPERVISED = ("classifier", "regressor")
# What is watched of held-out rows, where something is.
UNWATCHED = (*MIXTURES, "dbm", "ratings", "temporal", "gaussian-process", "neighbours")
OF_SEQUENCES = tuple(name for name, kind in KINDS.items() if kind.reads_sequences)
PACKABLE = tuple(name for name in OF_ROWS if name not in OF_SEQUENCES)
NETWORKS = tuple(name for name, kind in KINDS.items() if kind.is_network)
RULED = tuple(name for name, kind in KINDS.items() if kind.has("rule") and name != "ratings")
SCORE_LATER = "run deepgen score on the model file instead"
NO_CHECKPOINT = "a mixture learns in one go"

FILES = (
    Setting("data", File, "rows to learn from: .npy, .npz, FILE.npz:NAME, .csv, .tsv, .parquet, a "
            "folder of the arrays of a CSR matrix, or - for standard input; of ratings a line for "
            "each: columns user, item and rating, or the first three (.csv, .tsv, .parquet, -)",
            models=ALL),
    Setting("labels", File, "a label or a target for each row: .npy, .npz, .csv, .tsv or .parquet; "
            "a label may be text; a dbm gets units for them", models=LABELLED),
    Setting("valid", File, "held-out rows; what is watched of them goes into the history: "
            "likelihood and free-energy gap (rbm, lowest layer of a dbn), squared error "
            "(autoencoders), accuracy or R2 with --valid-labels, completion perplexity "
            "(replicated-softmax)",
            models=tuple(name for name in ALL if name not in UNWATCHED),
            otherwise=SCORE_LATER),
    Setting("valid_labels", File, "labels or targets of the held-out rows",
            models=SUPERVISED, needs=("valid", "the rows")),
    Setting("packed_columns", int, PACKED, models=PACKABLE),
    Setting("lengths", File, LENGTHS, models=OF_SEQUENCES),
    Setting("out", File, "the model file to write, by custom .safetensors",
            models=ALL),
    Setting("history", File, "write a line an epoch to a .csv or .json file",
            models=ALL),
    Setting("checkpoint", File, "a file to go on from after a stop",
            models=NOT_MIXTURE, otherwise=NO_CHECKPOINT),
    Setting("checkpoint_minutes", float, "how often it is written (10)", models=NOT_MIXTURE,
            needs=("checkpoint", "the file"), otherwise=NO_CHECKPOINT),
    Setting("resume", bool, "go on from the checkpoint, if there is one (no)",
            models=NOT_MIXTURE, needs=("checkpoint", "the file"), otherwise=NO_CHECKPOINT),
)  # fmt: skip
HYPER_PARAMETERS = (
    Setting("model", str, f"what to train: {', '.join(ALL)} ({MODEL})", ALL, "MODEL", models=ALL),
    Setting("seed", int, "(0); the same seed gives the same model", part_of="random_state"),
    Setting("n_threads", int, "(OMP_NUM_THREADS, else all cores); results never depend on it"),
    Setting("n_hidden", int, "hidden units; of a deep model the sizes of its layers, bottom first "
            "(rbm 256, replicated-softmax 50, autoencoder 64, dbn 500 2000, dbm 500 1000, "
            "deep-autoencoder 1000 500 250 30, ratings 100, temporal 150, others 500 500)",
            several=True, otherwise="a mixture has n_components"),
    Setting("visible", str, "binary, gaussian, multinomial (counts), softmax:K of K columns, or "
            "auto: of an rbm, dbn, dbm or product-mixture by the columns of a table of texts and "
            "numbers (binary; of a product-mixture auto); "
            "of a model that learns from labels for its pretraining", metavar="UNITS"),
    Setting("learning_rate", float, "constant, or the start of --learning-rate-end (rbm and dbn "
            "0.2, or 0.05 with Gaussian units; dbm half of it; networks 0.002; all fall to 0; "
            "replicated-softmax 0.1, constant; ratings 0.02, with --rule cd 0.005; temporal 0.01, "
            "with Gaussian units 0.003)"),
    Setting("learning_rate_end", float, "the rate moves here in a straight line",
            part_of="learning_rate", needs=("learning_rate", "the start")),
    Setting("optimizer", str, "(sgd; of networks and temporal adam); networks have all four",
            ("sgd", "adam", "conjugate-gradient", "lbfgs")),
    Setting("momentum", float, "of sgd (0)", part_of="optimizer"),
    Setting("weight_decay", float, "of the weights, for sgd and adam (0.0001; of networks, "
            "temporal and replicated-softmax 0); of ratings by rating (0.06, with --rows users "
            "0.03)",
            part_of="optimizer"),
    Setting("averaging", float, "share of the updates, at the end, that is averaged (0.2; "
            "replicated-softmax 0.3)",
            part_of="optimizer"),
    Setting("batch_size", int, "rows of an update (100; gaussian-process 250, neighbours 1000; "
            "temporal 8 sequences)",
            otherwise="a mixture reads all rows"),
    Setting("n_epochs", int, "of each layer, for a dbn (chosen by the rows)",
            otherwise="a mixture has max_iter"),
    Setting("rule", str, "persistent or plain contrastive divergence (pcd); of ratings alone "
            "prediction of ratings that are hidden for the moment (its usual rule)",
            ("pcd", "cd", "prediction"), models=("rbm", "dbn", "replicated-softmax", "ratings"),
            otherwise="choose one of these by --model; a dbm learns by pcd and mean field"),
    Setting("k", int, "sweeps of the rule for each update (1; of cd of a replicated-softmax 3)",
            part_of="rule"),
    Setting("n_particles", int, "persistent chains of pcd (100; replicated-softmax 200)",
            part_of="rule", models=RULED),
    Setting("centring", bool, "centre the gradient (yes; no with cd of a replicated-softmax)",
            part_of="rule", models=RULED),
    Setting("inference", str, "of the hidden layers in learning: tap goes on after mean field "
            "(mean_field)", INFERENCES, part_of="rule", models=("dbm",)),
    Setting("sparsity", float, "target for the mean of hidden units (none)", part_of="rule",
            models=RULED),
    Setting("sparsity_strength", float, "its weight in the gradient (0.1)", part_of="rule",
            models=RULED, needs=("sparsity", "the target")),
    Setting("binarize", bool, "draw bits from grey values at each presentation (no)"),
    Setting("hidden", str, "as --visible for an rbm (binary); logistic, linear or rectified for "
            "an autoencoder (logistic)", metavar="UNITS"),
    Setting("features", str, "what a layer reads of the one below: states or their means (samples)",
            ("samples", "means")),
    Setting("transposed", bool, "start each layer from the one below, turned over (no)"),
    Setting("pretrained", File, "start from a model file of rbm, dbn or dbm, whose layers count"),
    Setting("pretrain_epochs", int, "epochs of a greedy pretraining of each layer (dbm: n_epochs; "
            "others 0, none)", part_of="pretrained"),
    Setting("pretrain_batch_size", int, "rows of an update of it (dbm: batch_size; others 100)",
            part_of="pretrained", needs=("pretrain_epochs", "the pretraining")),
    Setting("unlabelled", Label, "label of rows that have none (every label is a class)",
            metavar="LABEL", needs=("labels", "the file")),
    Setting("l2", float, "half of it times the sum of squared weights is added to the loss (0)"),
    Setting("line_searches", int, "an update, of conjugate-gradient and lbfgs (3)",
            part_of="optimizer", models=NETWORKS),
    Setting("loss", str, "(that of the visible units)",
            ("cross_entropy", "softmax_cross_entropy", "squared_error")),
    Setting("l1", float, "times the sum of absolute hidden activities is added to the loss (0)"),
    Setting("masking", float, "share of the inputs set to zero in training (0)"),
    Setting("tied", bool, "the decoder's weights are the encoder's, transposed (yes)"),
    Setting("code", str, "activation of the code (linear, or that of --pretrained)",
            ("linear", "logistic")),
    Setting("code_noise", float, "deviation of the noise that the code gets in training (0)"),
    Setting("inputs", str, "how counts are read: as they are, as logs or as shares of words (logs)",
            FORMS),
    Setting("activation", str, "of hidden layers that start at random (logistic; a "
            "deep-autoencoder of counts: rectified)", ("logistic", "rectified")),
    Setting("dropout", float, "share of the hidden units left out of an update, of temporal of "
            "the columns that the recurrence reads (0)"),
    Setting("recurrence_decay", float, "decay of the recurrence's matrices (0)"),
    Setting("input_dropout", float, "share of the inputs left out of an update (0; "
            "gaussian-process 0.2, neighbours 0.3)"),
    Setting("input_noise", float, "deviation of normal noise in the inputs of an update (0)"),
    Setting("noise_floor", float, "least variance of the noise, as a share of that of the targets "
            "(0.01)"),
    Setting("fine_tune", bool, "train the network too, not the covariance alone (yes)"),
    Setting("max_exact", int, "rows with a target up to which the process is exact (4000)"),
    Setting("inducing", int, "beyond: so many of them stand for all (1000)"),
    Setting("reconstruction", float, "times the loss of rows rebuilt from codes is added (0)"),
    Setting("temperature", float, "what squared distances of codes are divided by (4)"),
    Setting("top_epochs", int, "epochs at the start in which only the new top moves (0)"),
    Setting("class_weight", str, "how much rows of a class count: as much in sum for every class "
            "(all rows alike)", ("balanced",)),
    Setting("early_stopping", int, "epochs without a smaller loss on rows held back of --data "
            "after which training stops (never)"),
    Setting("validation_fraction", float, "share of the rows that is held back for it (0.1)",
            needs=("early_stopping", "which looks at them")),
    Setting("smoothness", float, "length of moves of the inputs that should not change the output; "
            "rows without a label count too (none)"),
    Setting("smoothness_weight", float, "weight of that in the loss (1)", part_of="smoothness",
            needs=("smoothness", "the length")),
    Setting("rows", str, "which side is a row: items predict better, users can be new ones (items)",
            SIDES),
    Setting("scale", str, "the values that ratings can have, with commas between: 1,2,3,4,5 (those "
            "that are there)", metavar="VALUES"),
    Setting("bins", int, "of continuous ratings: cut them into so many bins"),
    Setting("conditional", bool, "let hidden units see that a rating is there, whatever its value "
            "(yes, with --rows users no)"),
    Setting("recurrence", str, "what gives the biases of a frame: a recurrent network, the last "
            "frames, or the means of the hidden units (rnn)", tuple(RECURRENCES)),
    Setting("n_recurrent", int, "units of the recurrent network (100)"),
    Setting("order", int, "frames of a window (3)"),
    Setting("n_gibbs", int, "sweeps of contrastive divergence (5)"),
    Setting("chunk", int, "longer sequences are learned in pieces of so many frames (200)"),
    Setting("transpose", bool, "columns are keys: move the notes of each presentation to another "
            "key (no)", part_of="augment"),
    Setting("n_components", int, "components of a mixture (chosen by rows held back), size of the "
            "code of neighbours (30)"),
    Setting("max_iter", int, "iterations at most (100)"),
    Setting("tol", float, "stop where the log posterior rises by less, in nats a row (0.001)"),
    Setting("n_init", int, "starts, of which the best is kept (1)"),
    Setting("smoothing", float, "rows at the column means that each component gets (1)"),
)  # fmt: skip
KNOWN = (*FILES, *HYPER_PARAMETERS)


def add_settings(parser):
    """Add the flags of all settings: files first, then groups of those that models share."""
    first, *others = HYPER_PARAMETERS
    first.add_to(parser.add_argument_group("model"))
    files = parser.add_argument_group("files")
    for setting in FILES:
        setting.add_to(files, tell_owners=True)
    groups = {}
    for setting in others:
        owners = setting.owners
        if owners not in groups:
            title = "every model" if owners == ALL else ", ".join(owners)
            groups[owners] = parser.add_argument_group(f"hyper-parameters of {title}")
        setting.add_to(groups[owners])


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
        with open(path, encoding="utf-8-sig", newline="") as file:
            found = tomllib.loads(file.read())
    except (ValueError, RecursionError) as error:  # of TOML, UTF-8 and numbers of 5,000 digits
        raise UsageError(f"{path} is not TOML: {error}") from error
    table = {setting.name: setting for setting in known}
    for name in found:
        if name not in table:
            raise UsageError(
                f"{path}: unknown key {name!r}{near(name, table)}; known keys: {', '.join(table)}"
            )
    return {name: table[name].check(value, path) for name, value in found.items()}


def check_together(settings, config=None):
    """Raise UsageError where a setting is none of the model's, or needs another one.

    Parameters
    ----------
    settings : dict
    config : str or None
        The configuration file that settings came from, which the message names with the flags.
    """
    model = settings.get("model", MODEL)
    for setting in KNOWN:
        if setting.name not in settings:
            continue
        if model not in setting.owners:
            where = "" if config is None else f" (in {config}, or as {setting.flag})"
            raise UsageError(
                f"{setting.name}{where} is a setting of {', '.join(setting.owners)}, "
                f"but the model is {model}; {setting.otherwise}"
            )
        if setting.needs and setting.needs[0] not in settings:
            other, what = setting.needs
            raise UsageError(f"{setting.name} needs {other}, {what}")
