"""Likelihood of polyphonic music by frame: RNN-RBM, with and without transposition."""

from typing import NamedTuple

import numpy as np

import deepgen as dg
from bench.results.clocks import ProcessorSeconds
from bench.results.sequence_baselines import Copies, Frequencies, Logistic
from deepgen import plots
from deepgen.datasets import load_piano_rolls
from deepgen.likelihood.by_row import RowPartitions
from deepgen.likelihood.sequences import FrameLikelihoods, frame_log_likelihoods
from deepgen.rows.sequences import Sequences

TITLE = "Log-likelihood of polyphonic music by frame"
COLUMNS = (
    "set", "model", "published test", "train", "test, all frames, bracket", "forward alone",
    "mean of pieces", "chains x temperatures", "mean var(log w)", "CPU s to train",
)  # fmt: skip
NOTES = [
    "Nats a frame (88 keys), the means over all frames of the test pieces but for *mean of "
    "pieces*, which weighs pieces alike; it is not known which of the two is published. log Z of "
    "each frame by annealing both ways, with so many chains each; the bracket is the gap between "
    "the directions and 3 standard errors (`TemporalRBM.score_sequences`). *Forward alone* is the "
    "estimate that papers give: it errs upwards, the more so the larger the variance of the log "
    "weights is: of such a row no more than the bracket is claimed. "
    "Train: the first 1,500 frames, the same estimate.",
    "",
    "With transposition all notes of a piece move by -5 to 6 keys, drawn anew at each "
    "presentation; the published rows have none, as far as their paper says: such rows have seen "
    "more. Keys are those of the files. Settings were chosen on validation pieces by a few runs "
    "(docs/decisions.md, \"Time\"); those of MuseData without transposition are like the ones of "
    "Piano-midi. Nottingham with transposition has not been run. "
    "Baselines: *frequencies* of keys; *copy*, each key by itself given its last state; "
    "*logistic*, each key by itself given all keys of the last frame; *LSTM*, each key by itself "
    "given all frames before, trained by others: Bai, Kolter & Koltun (2018), table 1. "
    "Published RNN-RBMs: Boulanger-Lewandowski et al. (2012), table 1. CPU seconds are "
    "those of one thread on a machine that others used too.",
]
PUBLISHED = {"jsb": -6.27, "nottingham": -2.39, "piano-midi": -7.09, "musedata": -6.01}
LSTM = {"jsb": -8.45, "nottingham": -3.29}
USUAL = {"n_gibbs": 5, "random_state": 0, "n_threads": 1}
# Most pieces of Nottingham have up to 257 frames: they stay whole.
LONGER = {"n_hidden": 150, "chunk": 260}
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
        **LONGER, "n_recurrent": 200, "batch_size": 4, "dropout": 0.1, "n_epochs": 120,
        "learning_rate": dg.Linear(0.008, 0.0), "optimizer": dg.Adam(weight_decay=1e-4),
        "recurrence_decay": 1e-4,
    },
    ("piano-midi", "RNN-RBM, transposed"): {
        **LONGER, "n_recurrent": 100, "n_epochs": 60, "augment": dg.Transpose(),
        "optimizer": dg.Adam(weight_decay=5e-4),
    },
    ("piano-midi", "RNN-RBM"): {
        **LONGER, "n_recurrent": 100, "n_epochs": 15, "dropout": 0.1,
        "optimizer": dg.Adam(weight_decay=5e-4),
    },
    ("musedata", "RNN-RBM, transposed"): {
        **LONGER, "n_recurrent": 100, "n_epochs": 15, "augment": dg.Transpose(),
        "optimizer": dg.Adam(weight_decay=5e-4),
    },
    ("musedata", "RNN-RBM"): {
        **LONGER, "n_recurrent": 100, "n_epochs": 7, "dropout": 0.05,
        "optimizer": dg.Adam(weight_decay=5e-4),
    },
}  # fmt: skip


class Annealing(NamedTuple):
    """Chains of each frame and direction, and temperatures."""

    n_chains: int
    n_betas: int


ANNEALING = {
    "jsb": Annealing(2, 2000), "nottingham": Annealing(2, 1000), "piano-midi": Annealing(2, 200),
    "musedata": Annealing(2, 120),
}  # fmt: skip
FRAMES_AT_ONCE = 4000
BY_ROW = ("value", "forward", "reverse", "error", "variance")


def rows(store, quick):
    """Yield the rows of the table."""
    for name in ("jsb",) if quick else PUBLISHED:
        rolls = load_piano_rolls(name)
        baselines = {"frequencies": Frequencies, "copy": Copies, "logistic": Logistic}
        for label, make in baselines.items():
            found = store.once(f"{name}-{label}", lambda m=make, r=rolls: of_baseline(m, r))
            yield (
                name, label, "", f"{found['train']:.2f}", f"{found['test']:.2f}", "",
                f"{found['pieces']:.2f}", "", "", "",
            )  # fmt: skip
        if name in LSTM:
            yield name, "LSTM", f"{LSTM[name]:.2f}", "", "", "", "", "", "", ""
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


def fitted(store, key, settings, train):
    """Return a fitted model, with the CPU seconds that it took; a stopped run goes on."""
    path = store.folder / f"{key}.run"
    model = dg.TemporalRBM(
        **{**USUAL, **settings}, callbacks=[ProcessorSeconds(), dg.Checkpoint(path, minutes=2.0)]
    )
    model.fit(train, resume=path if path.exists() else None)
    model.bench_seconds_ = sum(entry["processor_seconds"] for entry in model.history_)
    return model


def estimated(store, key, model, pieces, annealing):
    """Return how probable pieces are, and how far that can be believed; a stopped estimate goes on.

    Returns
    -------
    dict
        As `TemporalRBM.likelihood_report_`.
    """
    lengths = np.array([len(piece) for piece in pieces])
    part = np.cumsum(lengths) // FRAMES_AT_ONCE
    found = []
    for number in np.unique(part):
        some = [pieces[place] for place in np.flatnonzero(part == number)]
        found.append(store.arrays(f"{key}-{number}", lambda s=some, n=number: by_frame(
            model, s, annealing, int(n)
        )))  # fmt: skip
    joined = {name: np.concatenate([arrays[name] for arrays in found]) for name in found[0]}
    energy, starts = joined.pop("free_energy"), np.concatenate([[0], np.cumsum(lengths)])
    return FrameLikelihoods(energy, RowPartitions(**joined, method="annealed"), starts).report()


def by_frame(model, pieces, annealing, seed):
    """Return free energies and log Z of the frames of some pieces, arrays by name."""
    found = frame_log_likelihoods(
        model.model_, Sequences.joined(pieces), n_chains=annealing.n_chains,
        n_betas=annealing.n_betas, random_state=seed, n_threads=1,
    )  # fmt: skip
    arrays = {name: getattr(found.partitions, name) for name in BY_ROW}
    return {"free_energy": found.free_energy, **arrays}


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
    model, seconds = store.model(key, lambda: fitted(store, key, settings, rolls.train))
    if name == "jsb" and model.augment is None and not (store.folder / "roll.png").exists():
        picture(model, rolls.test[0]).savefig(store.folder / "roll.png", dpi=150)
    annealing = Annealing(4, 100) if quick else ANNEALING[name]
    test, train = (
        store.once(of, lambda o=of, p=pieces: estimated(store, o, model, p, annealing))
        for of, pieces in (
            (f"{key}-test", first_pieces(rolls.test, 500) if quick else rolls.test),
            (f"{key}-train", first_pieces(rolls.train, 1500)),
        )
    )
    return (
        name, label, f"{PUBLISHED[name]:.2f}", f"{train['value']:.2f}",
        f"{test['value']:.3f} ({test['lower']:.3f} to {test['upper']:.3f})",
        f"{test['forward']:.3f}", f"{test['mean_of_sequences']:.3f}",
        f"{annealing.n_chains} x {annealing.n_betas:,}", f"{test['mean_variance']:.3f}",
        f"{seconds:.0f}",
    )  # fmt: skip
