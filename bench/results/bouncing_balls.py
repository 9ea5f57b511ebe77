"""Prediction of the next frame of bouncing balls: RNN-RBM and RTRBM."""

import time

import numpy as np

import deepgen as dg
from bench.results.sequence_baselines import Ridge
from deepgen import plots
from deepgen.datasets import bouncing_balls

TITLE = "Bouncing balls: squared error of the next frame"
COLUMNS = ("model", "squared error", "over that of copying", "parameters", "CPU s to train")
NOTES = [
    "Squared error of the predicted mean of the next frame, summed over pixels, the mean over all "
    "frames but the first of 50 test videos; three balls, 15 x 15 pixels, 128 frames, 300 videos "
    "to learn from, made by `datasets.bouncing_balls`. Grey values are means of binary pixels. "
    "Published errors are for 30 x 30 pixels and cannot be compared. "
    "Ridge: linear autoregression of the last frames, penalty 10. Settings are those that a "
    "prototype had, and were not tuned. Prediction is by mean field from the last frame.",
]
PICTURED = "RNN-RBM, 150 hidden, 100 recurrent"
MODELS = {
    "RNN-RBM, 150 hidden, 100 recurrent": {
        "recurrence": "rnn", "n_hidden": 150, "n_recurrent": 100, "n_epochs": 16,
    },
    "RTRBM, 200 hidden": {"recurrence": "rtrbm", "n_hidden": 200, "n_epochs": 20},
    "CRBM, 150 hidden, last 3 frames": {
        "recurrence": "window", "n_hidden": 150, "order": 3, "n_epochs": 16,
    },
}  # fmt: skip


def rows(store, quick):
    """Yield the rows of the table."""
    n_train = 60 if quick else 300
    train = bouncing_balls(n_train, random_state=0)
    test = bouncing_balls(10 if quick else 50, random_state=2)
    copy = float(np.square(np.diff(test, axis=1)).sum(axis=2).mean())
    yield "last frame copied", f"{copy:.3f}", "1", "", ""
    for order in (1, 3):
        found = store.once(f"ridge-{order}", lambda n=order: ridge(train, test, n))
        yield line(f"ridge, last {order} frames", found, copy)
    for name, settings in MODELS.items():
        if quick:
            settings = {**settings, "n_epochs": max(settings["n_epochs"] // 4, 1)}
        key = name.replace(" ", "-").replace(",", "")
        model, seconds = store.model(key, lambda s=settings: fitted(s, train))
        if name == PICTURED and not (store.folder / "frames.png").exists():
            picture(model, test[0]).savefig(store.folder / "frames.png", dpi=150)
        found = store.once(f"{key}-test", lambda m=model: {
            "error": error_of(m.predict(test), test),
            "parameters": sum(a.size for a in m.model_.recurrence.arrays().values())
            + m.model_.machine.weights[0].size,
        })  # fmt: skip
        yield line(name, {**found, "seconds": seconds}, copy)


def picture(model, video):
    """Return a figure of frames 20 to 29: as they are, predicted one by one, drawn from 20 on."""
    figure = plots.require_matplotlib("figure").Figure((7.5, 2.6), layout="constrained")
    size = round(video.shape[1] ** 0.5)
    drawn = model.forecast([video[:20]], 10, random_state=0)[0, 0]
    told = {"frames": video[20:30], "predicted": model.predict(video)[20:30], "drawn": drawn}
    for row, (label, frames) in zip(figure.subplots(3, 10), told.items(), strict=True):
        for axes, frame in zip(row, frames, strict=True):
            axes.imshow(frame.reshape(size, size), cmap="gray", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
        row[0].set_ylabel(label, fontsize=8)
    return figure


def line(name, found, copy):
    """Return a row of the table."""
    return (
        name, f"{found['error']:.3f}", f"{found['error'] / copy:.3f}",
        f"{found['parameters']:,}", f"{found['seconds']:.0f}",
    )  # fmt: skip


def error_of(predicted, videos):
    """Return the squared error of all frames but the first ones, summed over pixels."""
    squares = np.square(predicted.reshape(videos.shape) - videos).sum(axis=2)
    return float(squares[:, 1:].mean())


def ridge(train, test, order):
    """Return the error of a linear autoregression."""
    began = time.process_time()
    model = Ridge(list(train), order, penalty=10.0)
    seconds = time.process_time() - began
    return {
        "error": error_of(model.predict(list(test)), test), "parameters": model.weights.size,
        "seconds": seconds,
    }  # fmt: skip


def fitted(settings, train):
    """Return a fitted model, with the CPU seconds that it took."""
    began = time.process_time()
    model = dg.TemporalRBM(
        **settings, chunk=50, learning_rate=dg.Linear(0.005, 0.0), random_state=0, n_threads=1
    ).fit(train)
    model.bench_seconds_ = time.process_time() - began
    return model
