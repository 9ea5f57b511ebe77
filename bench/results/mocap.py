"""Walks and runs: conditional RBMs beside linear autoregressions, in prediction and density."""

import itertools
import time

import numpy as np

import deepgen as dg
from bench.results.sequence_baselines import Ridge, shrunk
from deepgen import plots
from deepgen.datasets import load_mocap35

TITLE = "Motion capture: the next frame of walks and runs"
COLUMNS = (
    "model", "squared error", "over ridge of the same order", "log density, nats a frame",
    "CPU s to train",
)  # fmt: skip
NOTES = [
    "CMU subject 35: 31 sequences to learn from, two (169 frames) to test; 56 columns that vary, "
    "place and heading of the root as differences, standardized by the training frames. Squared "
    "error of the predicted mean, summed over columns; log densities in the standardized "
    "coordinates; both are means over the test frames from the fourth on of each sequence, so "
    "that windows are full. Penalty and covariance of ridge and settings of the models were chosen "
    "on the last six training sequences. A window of a `TemporalRBM` starts at ridge of the same "
    "order and learns the rest; log Z of each frame by annealing both ways, middle of the bracket.",
    "Real units have noise that is independent from column to column. *Decorrelated*: frames are "
    "multiplied by a matrix that makes what ridge leaves of them nearly independent and of "
    "variance one, the model learns from these, and its predictions are brought back; its log "
    "density gets the log determinant. So errors and densities of all rows are in the same "
    "coordinates. Settings are those of the least error among some forty that were tried on the "
    "validation sequences (4.87 there, ridge 5.24; density 28.1), *by density* those of the "
    "largest density (28.9 there, ridge with a full covariance 23.7; error 5.09). "
    "Full covariance: ridge with normal noise, its sample covariance shrunk towards "
    "the diagonal; penalty and shrinkage are those of the largest density.",
]
ORDER = 3
WINDOW = {
    "recurrence": "window", "order": ORDER, "n_hidden": 100, "n_epochs": 100,
    "learning_rate": dg.Linear(0.03, 0.0), "recurrence_decay": 0.1,
    "optimizer": dg.Adam(weight_decay=1e-3),
}  # fmt: skip
DECORRELATED = ", decorrelated"
SETTINGS = {
    "CRBM, 100 hidden, order 1": {**WINDOW, "order": 1},
    "CRBM, 100 hidden, order 3": WINDOW,
    f"CRBM, 100 hidden, order 3{DECORRELATED}": WINDOW,
    f"CRBM by density, 60 hidden, order 3{DECORRELATED}": {
        **WINDOW, "n_hidden": 60, "n_gibbs": 1, "n_epochs": 200, "recurrence_decay": 0.03,
    },
    "RNN-RBM, 60 hidden, 100 recurrent": {
        "recurrence": "rnn", "n_hidden": 60, "n_recurrent": 100, "n_epochs": 150,
        "learning_rate": dg.Linear(0.003, 0.0),
    },
}  # fmt: skip
N_VALID = 6
PICTURED = "CRBM, 100 hidden, order 3"
PENALTIES = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0)
SHRINKAGES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
SHRINKAGE = 0.3  # of the covariance by which frames are decorrelated


def prepared(data=None):
    """Return (train, test): lists of standardized sequences of the columns that vary."""
    data = load_mocap35() if data is None else data
    train, test = ([local(x) for x in split] for split in data)
    frames = np.concatenate(train)
    mean, deviation = frames.mean(axis=0), frames.std(axis=0)
    varies = deviation > 1e-6
    return tuple(
        [((x - mean) / np.where(varies, deviation, 1.0))[:, varies] for x in split]
        for split in (train, test)
    )


def local(frames):
    """Return frames with differences in place of the root's place (0, 2) and heading (4)."""
    out = frames[1:].copy()
    for column in (0, 2, 4):
        change = np.diff(frames[:, column])
        out[:, column] = (change + 180.0) % 360.0 - 180.0 if column == 4 else change
    return out


def late(by_frame, sequences):
    """Return what stands by frame from the fourth frame of each sequence on."""
    place = np.concatenate([np.arange(len(x)) for x in sequences])
    return by_frame[place >= ORDER]


def error_of(predicted, sequences):
    """Return the squared error, summed over columns."""
    squares = np.square(predicted - np.concatenate(sequences)).sum(axis=1)
    return float(late(squares, sequences).mean())


def rows(store, quick):
    """Yield the rows of the table."""
    train, test = prepared()
    copied = np.concatenate([np.concatenate([x[:1], x[:-1]]) for x in test])
    yield "last frame copied", f"{error_of(copied, test):.2f}", "", "", ""
    errors = {}
    for order in (1, ORDER):
        found = store.once(f"ridge-{order}", lambda n=order: of_ridge(train, test, n))
        errors[order] = found["error"]
        yield (
            f"ridge, order {order}, penalty {found['penalty']:g}", f"{found['error']:.2f}", "1",
            f"{found['diagonal']:.1f}; full covariance {found['full']:.1f} "
            f"(penalty {found['full_penalty']:g}, shrunk by {found['shrinkage']:g})", "",
        )  # fmt: skip
    for name, settings in SETTINGS.items():
        if quick:
            settings = {**settings, "n_epochs": settings["n_epochs"] // 10}
        key = name.replace(" ", "-").replace(",", "")
        matrix = decorrelation(train) if name.endswith(DECORRELATED) else np.eye(test[0].shape[1])
        some = [x @ matrix for x in train]
        model, seconds = store.model(key, lambda s=settings, x=some: fitted(s, x))
        found = store.once(
            f"{key}-test", lambda m=model, a=matrix: measured(m, test, quick, a)
        )
        same = errors[settings.get("order", ORDER)]
        if name == PICTURED and not (store.folder / "angles.png").exists():
            picture(model, test[1]).savefig(store.folder / "angles.png", dpi=150)
        yield (
            name, f"{found['error']:.2f}", f"{found['error'] / same:.3f}",
            f"{found['density']:.1f} ({found['lower']:.1f} to {found['upper']:.1f})",
            f"{seconds:.0f}",
        )  # fmt: skip


def picture(model, frames):
    """Return a figure of the joints that move most: as they were, predicted, and going on."""
    figure = plots.require_matplotlib("figure").Figure((7.0, 4.5), layout="constrained")
    columns = np.argsort(-np.ptp(frames, axis=0))[:3]
    seen = len(frames) // 2
    predicted = model.predict(frames)
    ahead = model.forecast([frames[:seen]], len(frames) - seen, n_samples=5, random_state=0)[0]
    for axes, column in zip(figure.subplots(3, sharex=True), columns, strict=True):
        axes.plot(frames[:, column], color="black", label="frames")
        axes.plot(predicted[:, column], ":", color="tab:blue", label="predicted, one by one")
        for number, way in enumerate(ahead):
            label = "drawn from the middle on" if number == 0 else None
            times = np.arange(seen, len(frames))
            axes.plot(times, way[:, column], color="tab:orange", alpha=0.5, lw=0.8, label=label)
        axes.set_ylabel(f"column {column}")
    figure.axes[0].legend(fontsize=7, ncols=3)
    figure.axes[-1].set_xlabel("frame, 30 a second")
    return figure


def decorrelation(train):
    """Return the matrix by which frames are multiplied to make their noise independent.

    With the covariance C of what ridge leaves of the training frames, shrunk towards its diagonal
    D^2, it is ``D^-1 (D^-1 C D^-1)^(-1/2)``: of all that do so the one that moves columns least.
    """
    covariance = shrunk(Ridge(train, ORDER, 10.0).covariance, SHRINKAGE)
    deviation = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    return (vectors / np.sqrt(values)) @ vectors.T / deviation[:, None]


def of_ridge(train, test, order):
    """Return error and densities of ridge, settings chosen on the last training sequences.

    The penalty is that of the least error; noise of a full covariance has penalty and shrinkage of
    its own, those of the largest density.
    """
    some, held_out = train[:-N_VALID], train[-N_VALID:]
    models = {penalty: Ridge(some, order, penalty) for penalty in PENALTIES}
    penalty = min(PENALTIES, key=lambda p: error_of(models[p].predict(held_out), held_out))
    full, share = max(
        itertools.product(PENALTIES, SHRINKAGES),
        key=lambda each: late(models[each[0]].log_densities(held_out, each[1]), held_out).mean(),
    )
    model, other = Ridge(train, order, penalty), Ridge(train, order, full)
    return {
        "penalty": penalty, "error": error_of(model.predict(test), test),
        "diagonal": float(late(model.log_densities(test), test).mean()),
        "full_penalty": full, "shrinkage": share,
        "full": float(late(other.log_densities(test, share), test).mean()),
    }  # fmt: skip


def fitted(settings, train):
    """Return a fitted model, with the CPU seconds that it took."""
    began = time.process_time()
    model = dg.TemporalRBM(
        **settings, visible="gaussian", batch_size=4, chunk=60, random_state=0, n_threads=1
    ).fit(train)
    model.bench_seconds_ = time.process_time() - began
    return model


def measured(model, test, quick, matrix):
    """Return error and density, in standardized columns, of a model of frames times a matrix."""
    frames = [x @ matrix for x in test]
    by_frame = model.score_samples(frames, n_chains=4, n_betas=100 if quick else 1000)
    report = model.likelihood_report_
    density = float(late(by_frame, test).mean() + np.linalg.slogdet(matrix)[1])
    predicted = np.linalg.solve(matrix.T, model.predict(frames).T.astype(np.float64)).T
    return {
        "error": error_of(predicted, test), "density": density,
        "lower": density + report["lower"] - report["value"],
        "upper": density + report["upper"] - report["value"],
    }  # fmt: skip
