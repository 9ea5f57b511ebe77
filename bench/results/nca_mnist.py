"""Nonlinear neighbourhood components of MNIST: codes of 30 numbers, and votes among them."""

import time

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

import deepgen as dg
from bench.results import report
from bench.results.stacks import chosen, fewer, grey_mnist, stack_of
from bench.results.store import Store

TITLE = "Neighbourhood components of MNIST"
COLUMNS = (
    "model", "labels", "published error, %", "test error, %", "5 nearest codes, %", "draws",
    "s a draw",
)  # fmt: skip
NOTES = []

SIZES, N_COMPONENTS = (500, 500, 2000), 30
LABELS = (600, 3_000, 6_000, 60_000)
PUBLISHED = {
    "nearest neighbours, pixels": (13.74, 7.19, 5.87, 3.09),
    "pretrained": (8.81, 3.24, 2.58, 1.00),
    "smooth, pretrained": (8.81, 3.24, 2.58, 1.00),
}
# epochs of the labelled rows alone, and of all rows
N_EPOCHS = {600: 160, 3_000: 150, 6_000: 120, 60_000: 20}
SMOOTH_EPOCHS = {600: 5, 3_000: 5, 6_000: 5, 60_000: 20}
DROPOUT = {600: 0.5, 3_000: 0.4, 6_000: 0.4, 60_000: 0.4}
SMOOTH = {"smoothness": dg.VirtualAdversarial(2.0), "input_dropout": 0.3}
MODELS = {
    "code before fine-tuning": (True, False), "random start": (False, False),
    "pretrained": (True, False), "smooth, random start": (False, True),
    "smooth, pretrained": (True, True),
}  # fmt: skip


def rows(store, quick):
    """Yield the rows of the table."""
    digits = grey_mnist()
    digits = fewer(digits) if quick else digits
    for i, n_labels in enumerate(LABELS[:1] if quick else LABELS):
        for name in ("nearest neighbours, pixels", *MODELS):
            found = results(store, digits, name, n_labels, quick)
            nearest = [run["nearest"] for run in found if run["nearest"] is not None]
            yield (
                name, f"{n_labels:,}", PUBLISHED.get(name, [""] * 4)[i],
                report.spread([run["error"] for run in found]),
                report.spread(nearest) if nearest else "", len(found),
                report.spread([run["seconds"] for run in found], 0),
            )  # fmt: skip


def results(store, digits, name, n_labels, quick):
    """Return what was measured of a model, by draw."""
    return [
        result(store, digits, name, n_labels, draw, quick)
        for draw in range(n_draws(name, n_labels, quick))
    ]


def result(store, digits, name, n_labels, draw, quick):
    """Return what was measured of a model on the labels of one draw, measured once."""
    key = f"{name.replace(', ', '-').replace(' ', '-')}-{n_labels}-{draw}"
    return store.once(key, lambda: measured(store, digits, name, n_labels, draw, quick))


def n_draws(name, n_labels, quick):
    """Return how many draws of labels, or seeds, a row of the table stands for."""
    if quick:
        return 1
    if n_labels < LABELS[-1]:
        return 5
    return 1 if name in ("nearest neighbours, pixels", "code before fine-tuning") else 5


def measured(store, digits, name, n_labels, draw, quick):
    """Return test errors in per cent and processor seconds of a model on the labels of a draw."""
    known = chosen(digits, n_labels, draw)
    X, y = digits.X_train[known], digits.y_train[known]
    if name not in MODELS:
        began = time.process_time()
        error = of_nearest(X, y, digits.X_test, digits.y_test)
        return {"error": error, "nearest": None, "seconds": time.process_time() - began}
    is_pretrained, smooth = MODELS[name]
    epochs = SMOOTH_EPOCHS if smooth else N_EPOCHS
    settings = SMOOTH if smooth else {"dropout": DROPOUT[n_labels], "input_dropout": 0.3}
    n_epochs, rate = 2 if quick else epochs[n_labels], dg.Linear(0.001, 0.0)
    if name == "code before fine-tuning":
        n_epochs, rate = 1, 1e-9  # one update, which moves nothing that can be seen
    path, clock = store.folder / f"{name}-{n_labels}-{draw}.run", ProcessorSeconds()
    components = dg.NeighbourhoodComponents(
        SIZES, N_COMPONENTS, pretrained=pretrained(digits, quick) if is_pretrained else None,
        batch_size=500 if n_labels == LABELS[-1] else 1_000,
        n_epochs=n_epochs, learning_rate=rate, unlabelled=-1, random_state=draw,
        callbacks=[clock, dg.Checkpoint(path, minutes=3.0)], **settings,
    )  # fmt: skip
    resume = path if path.exists() else None
    if smooth:  # the others take part without their labels
        labels = np.full(len(digits.y_train), -1)
        labels[known] = y
        components.fit(digits.X_train, labels, resume=resume)
    else:
        components.fit(X, y, resume=resume)
    found = {
        "error": float(100.0 * (components.predict(digits.X_test) != digits.y_test).mean()),
        "nearest": of_nearest(
            components.transform(X), y, components.transform(digits.X_test), digits.y_test
        ),
        "seconds": sum(entry["processor_seconds"] for entry in components.history_),
    }
    path.unlink(missing_ok=True)
    return found


def pretrained(digits, quick):
    """Return the stack, trained once on all rows without labels, of the table of few labels."""
    source = Store("semi_supervised_mnist" + ("_quick" if quick else ""))
    layers, n_epochs = [dg.Binary(784), *map(dg.Binary, SIZES)], 1 if quick else 10
    settings = dg.Pretraining(n_epochs=n_epochs)
    return stack_of(source, f"stack-{n_epochs}", digits.X_train, layers, settings)[0]


def of_nearest(train, y_train, test, y_test):
    """Return the error of five nearest rows, weighted by distance, in per cent."""
    model = KNeighborsClassifier(5, weights="distance").fit(train, y_train)
    return float(100.0 * (model.predict(test) != y_test).mean())


class ProcessorSeconds:
    """A callback that adds the processor seconds of each epoch, which other work does not move."""

    def __init__(self):
        self._last = time.process_time()

    def __call__(self, report):
        """Add this epoch's seconds."""
        now = time.process_time()
        report.entry["processor_seconds"], self._last = now - self._last, now
