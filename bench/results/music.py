"""Likelihood of polyphonic music by frame: RNN-RBM, with and without transposition."""

import time

import numpy as np

import deepgen as dg
from bench.results.sequence_baselines import Copies, Frequencies, Logistic
from deepgen import plots
from deepgen.datasets import load_piano_rolls

TITLE = "Log-likelihood of polyphonic music by frame"
COLUMNS = (
    "set", "model", "published test", "train", "test, all frames, bracket", "forward alone",
    "mean of pieces", "mean var(log w)", "CPU s to train",
)  # fmt: skip
NOTES = [
    "Nats a frame (88 keys), the means over all frames of the test pieces but for *mean of "
    "pieces*, which weighs pieces alike; it is not known which of the two is published. log Z of "
    "each frame by annealing, 4 chains each way; the bracket is the gap between the directions "
    "and 3 standard errors (`TemporalRBM.score_sequences`). *Forward alone* is the estimate that "
    "papers give: it errs upwards, the more so the larger the variance of the log weights is: of "
    "such a row no more than the bracket is claimed. "
    "Train: the first 1,500 frames, the same estimate.",
    "",
    "With transposition all notes of a piece move by -5 to 6 keys, drawn anew at each "
    "presentation; the published rows have none, as far as their paper says: such rows have seen "
    "more. Keys are those of the files. Settings were chosen on validation pieces. "
    "Baselines: *frequencies* of keys; *copy*, each key by itself given its last state; "
    "*logistic*, each key by itself given all keys of the last frame; *LSTM*, each key by itself "
    "given all frames before, trained by others: Bai, Kolter & Koltun (2018), table 1. "
    "Published RNN-RBMs: Boulanger-Lewandowski et al. (2012), table 1. CPU seconds are "
    "those of one thread on a machine that others used too.",
]
PUBLISHED = {"jsb": -6.27, "nottingham": -2.39, "piano-midi": -7.09, "musedata": -6.01}
LSTM = {"jsb": -8.45, "nottingham": -3.29}
USUAL = {"n_gibbs": 5, "random_state": 0, "n_threads": 1}
# Settings by set and row; see NOTES for what they were chosen on.
MODELS = {
    ("jsb", "RNN-RBM, transposed"): {
        "n_hidden": 150, "n_recurrent": 200, "augment": dg.Transpose(), "n_epochs": 250,
    },
    ("jsb", "RNN-RBM"): {
        "n_hidden": 150, "n_recurrent": 100, "dropout": 0.6, "n_epochs": 60,
        "optimizer": dg.Adam(weight_decay=1e-3),
    },
    ("nottingham", "RNN-RBM"): {
        "n_hidden": 150, "n_recurrent": 200, "n_epochs": 30, "batch_size": 4,
        "learning_rate": dg.Linear(0.008, 0.0),
    },
    ("piano-midi", "RNN-RBM"): {
        "n_hidden": 150, "n_recurrent": 100, "n_epochs": 20, "dropout": 0.3,
        "learning_rate": dg.Linear(0.005, 0.0), "optimizer": dg.Adam(weight_decay=5e-4),
    },
    ("musedata", "RNN-RBM"): {
        "n_hidden": 150, "n_recurrent": 200, "n_epochs": 12, "batch_size": 4,
        "learning_rate": dg.Linear(0.008, 0.0),
    },
}  # fmt: skip
N_BETAS = {"jsb": 3000, "nottingham": 1500, "piano-midi": 1000, "musedata": 600}


def rows(store, quick):
    """Yield the rows of the table."""
    for name in ("jsb",) if quick else PUBLISHED:
        rolls = load_piano_rolls(name)
        baselines = {"frequencies": Frequencies, "copy": Copies, "logistic": Logistic}
        for label, make in baselines.items():
            found = store.once(f"{name}-{label}", lambda m=make, r=rolls: of_baseline(m, r))
            yield (
                name, label, "", f"{found['train']:.2f}", f"{found['test']:.2f}", "",
                f"{found['pieces']:.2f}", "", "",
            )  # fmt: skip
        if name in LSTM:
            yield name, "LSTM", f"{LSTM[name]:.2f}", "", "", "", "", "", ""
        for (of, label), settings in MODELS.items():
            if of == name:
                yield row(store, quick, name, label, settings, rolls)


def of_baseline(make, rolls):
    """Return the mean log-likelihoods of a baseline."""
    model = make(rolls.train)
    by_frame = model.log_likelihoods(rolls.test)
    parts = np.split(by_frame, np.cumsum([len(x) for x in rolls.test])[:-1])
    return {
        "train": float(model.log_likelihoods(rolls.train).mean()), "test": float(by_frame.mean()),
        "pieces": float(np.mean([part.mean() for part in parts])),
    }  # fmt: skip


def fitted(settings, train):
    """Return a fitted model, with the CPU seconds that it took."""
    began = time.process_time()
    model = dg.TemporalRBM(**{**USUAL, **settings}).fit(train)
    model.bench_seconds_ = time.process_time() - began
    return model


def first_pieces(pieces, n_frames):
    """Return the first pieces with so many frames together."""
    lengths = np.cumsum([len(piece) for piece in pieces])
    return pieces[: int(np.searchsorted(lengths, n_frames)) + 1]


def picture(model, piece):
    """Return a figure of a piece, of the next chords that are predicted, and of a way to go on."""
    figure = plots.require_matplotlib("figure").Figure((7.5, 5.0), layout="constrained")
    seen = len(piece) // 3
    drawn = model.sample(len(piece) - seen, prefix=piece[:seen], random_state=0)[0]
    told = {
        "piece": piece, "predicted, chord by chord": model.predict(piece),
        f"drawn from frame {seen} on": drawn,
    }  # fmt: skip
    keys = slice(15, 80)
    for axes, (label, roll) in zip(figure.subplots(3, sharex=True), told.items(), strict=True):
        axes.imshow(
            roll[:, keys].T, origin="lower", aspect="auto", cmap="Greys", vmin=0, vmax=1,
            extent=(0, len(roll), 36, 101), interpolation="nearest",
        )  # fmt: skip
        axes.set_title(label, fontsize=9)
        axes.set_ylabel("MIDI note")
    figure.axes[-1].set_xlabel("frame")
    return figure


def row(store, quick, name, label, settings, rolls):
    """Return the row of a model."""
    if quick:
        settings = {**settings, "n_epochs": settings["n_epochs"] // 10}
    key = f"{name}-{label}".replace(" ", "-").replace(",", "")
    model, seconds = store.model(key, lambda: fitted(settings, rolls.train))
    if name == "jsb" and model.augment is None and not (store.folder / "roll.png").exists():
        picture(model, rolls.test[0]).savefig(store.folder / "roll.png", dpi=150)
    test = first_pieces(rolls.test, 500) if quick else rolls.test
    n_betas = 100 if quick else N_BETAS[name]

    def measured(pieces):
        model.score_sequences(pieces, n_chains=4, n_betas=n_betas)
        return model.likelihood_report_

    found = store.once(f"{key}-test", lambda: measured(test))
    train = store.once(f"{key}-train", lambda: measured(first_pieces(rolls.train, 1500)))
    return (
        name, label, f"{PUBLISHED[name]:.2f}", f"{train['value']:.2f}",
        f"{found['value']:.3f} ({found['lower']:.3f} to {found['upper']:.3f})",
        f"{found['forward']:.3f}", f"{found['mean_of_sequences']:.3f}",
        f"{found['mean_variance']:.3f}", f"{seconds:.0f}",
    )  # fmt: skip
