"""From settings to the estimator that they ask for."""

import contextlib
from dataclasses import dataclass, replace

from deepgen.checks import check_integer
from deepgen.cli.common.errors import CommandError, UsageError
from deepgen.cli.common.kinds import KINDS, Kind, names_of
from deepgen.cli.common.models import in_words
from deepgen.cli.common.settings import HYPER_PARAMETERS, MODEL, check_together
from deepgen.estimators import DBM, DBN, RBM, MixtureOfProducts, ReplicatedSoftmax, documents
from deepgen.estimators.common.tables import AUTO
from deepgen.estimators.dbm_settings import UPPER_RATE
from deepgen.estimators.loading import load
from deepgen.layers.named import NAMED
from deepgen.layers.softmax import Softmax
from deepgen.learning.minimizers import LBFGS, ConjugateGradient
from deepgen.learning.optimizers import SGD, Adam
from deepgen.learning.rule_states import Sparsity
from deepgen.learning.rules import CD, PCD, TAPPCD, MeanFieldPCD
from deepgen.learning.schedules import Linear
from deepgen.networks.smoothness import VirtualAdversarial
from deepgen.rows.sequences import Transpose
from deepgen.stacks.settings import Pretraining

RULES = {"pcd": PCD, "cd": CD}
DEEP_RULES = {"mean_field": MeanFieldPCD, "tap": TAPPCD}  # by how hidden layers are inferred
STEPS = {"sgd": SGD, "adam": Adam}
LINE_SEARCHES = {"conjugate-gradient": ConjugateGradient, "lbfgs": LBFGS}


@dataclass(frozen=True)
class Request:
    """Facts of the whole command that the functions of `_PARTS` may read beside their own settings.

    Attributes
    ----------
    kind : Kind
    settings : dict
        All of them.
    start : estimator or None
        The fitted one in the file of `pretrained`.
    """

    kind: Kind
    settings: dict
    start: object = None

    @property
    def n_weights(self):
        """How many layers of weights a DBM gets, that of label units included."""
        usual = self.kind.estimator() if self.start is None else self.start
        sizes = self.settings.get("n_hidden", usual.n_hidden)
        n_hidden = len(sizes) if isinstance(sizes, list | tuple) else 1
        return n_hidden + ("labels" in self.settings)


def estimator_for(settings):
    """Return the estimator that settings ask for, not fitted yet.

    Parameters
    ----------
    settings : dict
        Values by the names of settings; what is left out has the library's default. `unlabelled`
        is left to who knows the labels.

    Raises
    ------
    UsageError
        If a value is out of range, or belongs to another choice than the one made.
    CommandError, ModelFileError, OSError
        If the file in `pretrained` is none to start from.
    """
    check_together(settings)
    kind = KINDS[settings.get("model", MODEL)]
    parts = {}
    for setting in HYPER_PARAMETERS:
        if setting.name in settings and setting.name != "model":
            parameter = setting.parameter_of(kind)
            parts.setdefault(parameter, {})[setting.name] = settings[setting.name]
    parts.pop("unlabelled", None)
    parts.setdefault("random_state", {"seed": 0})
    request = Request(kind, settings, _start(settings, kind))
    try:
        values = {
            name: _PARTS[name](part, request) if name in _PARTS else part[name]
            for name, part in parts.items()
        }
        if request.start is not None:
            values |= _of_start(request)
        if "labels" in settings and kind.has("label_units"):
            values["label_units"] = True
        estimator = kind.estimator(**values)
        estimator._check_settings()
    except ValueError as error:
        raise UsageError(error) from error
    return estimator


@contextlib.contextmanager
def _told_as(settings):
    """Let messages name the setting where the library names a parameter of one of its parts.

    Parameters
    ----------
    settings : dict of {str: str}
        Names of settings by those of parameters.
    """
    try:
        yield
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        if name not in settings:
            raise
        raise UsageError(f"{settings[name]} {rest}") from error


def _take(given, *names):
    return {name: given.pop(name) for name in names if name in given}


def _seed(given, request):
    return given["seed"]


def _sizes(given, request):
    sizes = given["n_hidden"]
    sizes = list(sizes) if isinstance(sizes, list | tuple) else [sizes]
    for size in sizes:
        check_integer(size, "each size in n_hidden" if len(sizes) > 1 else "n_hidden")
    if request.kind.is_deep:
        return tuple(sizes)
    if len(sizes) > 1:
        deep = ", ".join(name for name, other in KINDS.items() if other.is_deep)
        raise UsageError(
            f"n_hidden must be one size for the model {request.kind.name}, got "
            f"{' '.join(map(str, sizes))}; "
            f"models of several layers are {deep}"
        )
    return sizes[0]


def _visible(given, request):
    if request.kind.learns and not request.settings.get("pretrain_epochs"):
        raise UsageError(
            f"visible is what the pretraining of a {request.kind.name} takes the columns for; it "
            "needs pretrain_epochs"
        )
    if given["visible"] == AUTO:
        if not issubclass(request.kind.estimator, RBM | DBN | DBM | MixtureOfProducts):
            raise UsageError(
                f"visible must not be auto for the model {request.kind.name}: rbm, dbn, dbm and "
                "product-mixture read the types of columns off a table"
            )
        return AUTO
    return _units(given["visible"], "visible")


def _hidden(given, request):
    if not request.kind.is_network:
        return _units(given["hidden"], "hidden")
    if given["hidden"] not in ("logistic", "linear", "rectified"):
        raise UsageError(
            f"hidden must be logistic, linear or rectified for the model {request.kind.name}, got "
            f"{given['hidden']!r}"
        )
    return given["hidden"]


def _units(text, name):
    kind, colon, size = text.partition(":")
    if kind == "softmax":
        if not size.isdecimal():
            raise UsageError(f"{name} must say how many columns a variable has, as softmax:5")
        with _told_as({"n_categories": f"K of {name}"}):
            return Softmax(int(size))
    if colon or kind not in NAMED:
        auto = ", auto" if name == "visible" else ""
        raise UsageError(f"{name} must be binary, gaussian{auto} or softmax:K, got {text!r}")
    return kind


def _is_of_documents(request):
    return issubclass(request.kind.estimator, ReplicatedSoftmax)


def _rule(given, request):
    if request.kind.name == "ratings":
        return _rule_of_ratings(given)
    name = given.pop("rule", "pcd")
    if name not in RULES:
        raise UsageError(f"rule must be pcd or cd for the model {request.kind.name}, got {name}")
    options = _take(given, "k", "centring", "n_particles")
    if name != "pcd" and "n_particles" in options:
        raise UsageError(f"n_particles belongs to the rule pcd, got rule {name}")
    if "sparsity" in given:
        with _told_as({"target": "sparsity", "strength": "sparsity_strength"}):
            options["sparsity"] = Sparsity(given["sparsity"], given.get("sparsity_strength", 0.1))
    if _is_of_documents(request):
        return replace(documents.RULES[name], **options)
    if request.kind.name == "dbm":
        inference = given.get("inference", "mean_field")
        if inference == "tap" and "labels" in request.settings:
            raise UsageError("inference must be mean_field for a dbm that learns labels, got tap")
        return DEEP_RULES[inference](**options)
    return RULES[name](**options)


def _rule_of_ratings(given):
    name = given.pop("rule", "prediction")
    if name in RULES:
        return RULES[name](**given)
    if given:
        raise UsageError(f"k belongs to the rules {' and '.join(RULES)}, got rule {name}")
    return name


def _scale(given, request):
    try:
        return tuple(float(value) for value in given["scale"].split(","))
    except ValueError:
        raise UsageError(
            f"scale must be numbers with commas between, such as 1,2,3,4,5, got {given['scale']!r}"
        ) from None


def _learning_rate(given, request):
    if request.settings.get("optimizer") in LINE_SEARCHES:
        raise UsageError(
            f"learning_rate belongs to the optimizers {' and '.join(STEPS)}, got optimizer "
            f"{request.settings['optimizer']}"
        )
    if "learning_rate_end" not in given:
        return given["learning_rate"]
    with _told_as({"start": "learning_rate", "end": "learning_rate_end"}):
        return Linear(given["learning_rate"], given["learning_rate_end"])


def _optimizer(given, request):
    by_adam = request.kind.is_network or request.kind.reads_sequences
    name = given.pop("optimizer", "adam" if by_adam else "sgd")
    if name in LINE_SEARCHES and not request.kind.is_network:
        raise UsageError(
            f"optimizer must be sgd or adam for the model {request.kind.name}, got {name}"
        )
    for option, owners in (
        ("momentum", ("sgd",)), ("weight_decay", STEPS), ("averaging", STEPS),
        ("line_searches", LINE_SEARCHES),
    ):  # fmt: skip
        if option in given and name not in owners:
            raise UsageError(
                f"{option} belongs to the optimizer {' or '.join(owners)}, got optimizer {name}"
            )
    if name in LINE_SEARCHES:
        with _told_as({"n_line_searches": "line_searches"}):
            return LINE_SEARCHES[name](given.get("line_searches", 3))
    if by_adam:
        given.setdefault("weight_decay", 0.0)
    if _is_of_documents(request):
        given = {"averaging": documents.AVERAGING, "weight_decay": 0.0, **given}
    if request.kind.name == "dbm" and name == "sgd":
        given["rates"] = (1.0,) + (UPPER_RATE,) * (request.n_weights - 1)
    return STEPS[name](**given)


def _pretraining(given, request):
    if request.start is not None:
        return request.start.model_
    if not given["pretrain_epochs"]:
        return None
    usual = 100
    if request.kind.name == "dbm":
        usual = request.settings.get("batch_size", usual)
    batch_size = given.get("pretrain_batch_size", usual)
    with _told_as({"n_epochs": "pretrain_epochs", "batch_size": "pretrain_batch_size"}):
        return Pretraining(given["pretrain_epochs"], batch_size=batch_size)


def _start(settings, kind):
    """Return the fitted estimator in the file of `pretrained`, or None."""
    if "pretrained" not in settings:
        return None
    path = settings["pretrained"]
    for name in ("n_hidden", "visible"):
        if name in settings:
            raise UsageError(f"{name} is that of the model in pretrained, {path}; leave it out")
    if "pretrain_epochs" in settings:
        raise UsageError(
            "pretrain_epochs trains a start and pretrained names one: give only one of them"
        )
    start = load(path)
    if not isinstance(start, kind.starts_from):
        wanted = " or ".join(names_of(kind.starts_from))
        raise CommandError(
            f"pretrained must be the file of {wanted} for the model {kind.name}, but "
            f"{path} holds {in_words(start)}"
        )
    return start


def _of_start(request):
    """Return the parameters that a model to start from decides."""
    start, settings = request.start, request.settings
    labelled = request.kind.has("label_units") and start.get_params().get("label_units")
    if labelled and "labels" not in settings:
        raise UsageError(
            f"labels is missing: the model in pretrained, {settings['pretrained']}, has label units"
        )
    values = {"n_hidden": start.n_hidden, "visible": start.visible}
    if request.kind.has("code") and "code" not in settings:
        top = start.model_.top if isinstance(start, DBN) else start.model_
        values["code"] = top.layers[-1].activation
    return values


def _smoothness(given, request):
    with _told_as({"radius": "smoothness", "weight": "smoothness_weight"}):
        return VirtualAdversarial(given["smoothness"], given.get("smoothness_weight", 1.0))


def _augment(given, request):
    return Transpose() if given["transpose"] else None


# Parameters that are made of several settings, or of a value that has to be turned into an object;
# any other parameter is the value of the setting of its name.
_PARTS = {
    "random_state": _seed,
    "n_hidden": _sizes,
    "visible": _visible,
    "hidden": _hidden,
    "rule": _rule,
    "scale": _scale,
    "learning_rate": _learning_rate,
    "optimizer": _optimizer,
    "pretrained": _pretraining,
    "smoothness": _smoothness,
    "augment": _augment,
}
