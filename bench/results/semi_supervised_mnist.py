"""Classification of MNIST with few labels, the stack pretrained once, without labels."""

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

import deepgen as dg
from bench.results import dbm_mnist, nca_mnist, report
from bench.results.stacks import chosen, fewer, fitted, grey_mnist, stack_of
from bench.results.store import Store

TITLE = "Classification of MNIST with few labels"
COLUMNS = ("model", "labels", "published error, %", "test error, %", "draws", "s a draw")
NOTES = [
    "Test error after the last epoch in per cent, mean over draws (standard deviation). A draw "
    "picks that many of the 60,000 training rows, as many of each class, which is what gives the "
    "published error of nearest neighbours with 600 labels (shares of classes as in the training "
    "rows: 14.1, over 12 draws); with 60,000 labels there is but one draw, and the draws of the "
    "networks are three seeds. Published: the lecture's table; "
    "its rows are a deep Boltzmann machine, neighbourhood components, autoencoder codes and "
    "nearest neighbours. Neighbourhood components: see the table of that name, seconds of the "
    "processor.",
    "",
    "Nearest neighbours: k = 5, distance weights, on pixels and on the 30 codes of the table "
    "*Reconstruction of MNIST* (an autoencoder of its own, 10 + 20 epochs, no labels). Deep belief "
    "network and random start: 784-500-500-2000-10, dropout of half of the hidden units and a "
    "fifth of the inputs, Adam, rate 0.001 linearly to 0; the stack is pretrained once on all rows "
    "without labels. Epochs: 150, 60, 40 and 12; for 600 labels they were looked at on the last "
    "10,000 training rows (docs/decisions.md).",
    "",
    "Deep Boltzmann machine: 784-500-1000, that of the table of its likelihood, trained once on "
    "all rows without labels (the published one had label units), then a network that reads its "
    "posterior beside each row; dropout of half of the hidden units and 0.4 of the inputs, Adam, "
    "rate 0.003 linearly to 0, epochs as above. For 60,000 labels see the table *Classification of "
    "MNIST with all labels, from a deep Boltzmann machine*. *Smooth*: the same start, but the "
    "other training rows take part without their labels: outputs are to change little within "
    "a radius of 2 (Miyato et al. 2018), in place of dropout; 8 epochs of 60,000 rows, a "
    "fifth of them with labels, each as often as it takes; rate 0.003 linearly to 0. No "
    "labels but those of the draw are read; method and rate are from another draw, judged on "
    "the last 10,000 training rows, which were left out there (docs/decisions.md). The "
    "posterior of the rows, inferred first, is not in the seconds. Quick forms know the first "
    "20,000 training rows alone.",
]

SIZES, CODE_SIZES = (500, 500, 2000), (1000, 500, 250, 30)
LABELS = (600, 3_000, 6_000, 60_000)
PUBLISHED = {
    "deep Boltzmann machine": (4.82, 2.72, 2.46, 0.95),
    "deep Boltzmann machine, smooth": (4.82, 2.72, 2.46, 0.95),
    "nearest neighbours": (13.74, 7.19, 5.87, 3.09),
    "autoencoder codes, nearest neighbours": (9.62, 5.18, 4.46, 2.41),
    "neighbourhood components": (8.81, 3.24, 2.58, "1.00"),
}
# so that each number of labels gets about as many updates as it can use
N_EPOCHS = {600: 150, 3_000: 60, 6_000: 40, 60_000: 12}
DROPOUT = {"dropout": 0.5, "input_dropout": 0.2}
DBM_DROPOUT, DBM_RATE = {"dropout": 0.5, "input_dropout": 0.4}, dg.Linear(0.003, 0.0)
SMOOTH_EPOCHS = 8


def rows(store, quick):
    """Yield the rows of the table."""
    digits = grey_mnist()
    source = Store("dbm_mnist" + ("_quick" if quick else ""))
    machine = fitted(source, "dbm", dbm_mnist.estimator(quick), digits.X_train)[0].model_
    digits = fewer(digits) if quick else digits
    n_pre, n_fine = (1, 2) if quick else (10, 20)
    layers = [dg.Binary(784), *map(dg.Binary, SIZES)]
    stack, _ = stack_of(
        store, f"stack-{n_pre}", digits.X_train, layers, dg.Pretraining(n_epochs=n_pre)
    )
    codes = codes_of(store, digits, n_pre, n_fine)
    for i, n_labels in enumerate(LABELS[:2] if quick else LABELS):
        n_draws = 1 if quick else 3 if n_labels == len(digits.y_train) else 5
        draws = range(n_draws)
        found = {}
        for name, (train, test) in {
            "nearest neighbours": (digits.X_train, digits.X_test),
            "autoencoder codes, nearest neighbours": codes,
        }.items():
            found[name] = [
                store.once(
                    f"{name.split()[0]}-{n_labels}-{draw}",
                    lambda n=n_labels, d=draw, train=train, test=test: neighbours(
                        digits, train, test, chosen(digits, n, d)
                    ),
                )
                for draw in (draws if n_labels < len(digits.y_train) else range(1))
            ]
        for name, start in (("random start", None), ("deep belief network", stack)):
            found[name] = [
                learned(store, digits, name.split()[0], start, n_labels, draw, quick)
                for draw in draws
            ]
        found["neighbourhood components"] = nca_mnist.results(
            Store("nca_mnist" + ("_quick" if quick else "")), digits, nca_mnist.LEARNED, n_labels,
            quick,
        )  # fmt: skip
        if n_labels < len(digits.y_train):
            found["deep Boltzmann machine"] = [
                learned(store, digits, "boltzmann", machine, n_labels, draw, quick)
                for draw in draws
            ]
            found["deep Boltzmann machine, smooth"] = [
                smooth(store, digits, machine, n_labels, draw, quick) for draw in draws
            ]
        for name, runs in found.items():
            yield (
                name, f"{n_labels:,}", PUBLISHED.get(name, [""] * 4)[i],
                report.spread([run["error"] for run in runs]), len(runs),
                report.spread([run["seconds"] for run in runs], 0),
            )  # fmt: skip


def codes_of(store, digits, n_pre, n_epochs):
    """Return the codes of training and test rows by an autoencoder that saw no labels."""
    layers = [dg.Binary(784), *map(dg.Binary, CODE_SIZES[:-1])]
    layers.append(dg.Gaussian(CODE_SIZES[-1], learn_precision=False))
    stack, _ = stack_of(
        store, f"codes-{n_pre}", digits.X_train, layers, dg.Pretraining(n_epochs=n_pre)
    )
    autoencoder, _ = fitted(
        store, "codes",
        dg.DeepAutoencoder(
            CODE_SIZES, pretrained=stack, n_epochs=n_epochs, learning_rate=dg.Linear(0.002, 0.0),
            random_state=0,
        ), digits.X_train,
    )  # fmt: skip
    return autoencoder.transform(digits.X_train), autoencoder.transform(digits.X_test)


def neighbours(digits, train, test, known):
    """Return the test error of nearest neighbours in per cent."""
    model = KNeighborsClassifier(5, weights="distance").fit(train[known], digits.y_train[known])
    return {"error": float(100.0 * (model.predict(test) != digits.y_test).mean())}


def learned(store, digits, key, start, n_labels, draw, quick):
    """Return test error and seconds of a network on the labels of one draw."""
    known, key = chosen(digits, n_labels, draw), f"{key}-{n_labels}-{draw}"
    deep = key.startswith("boltzmann")
    classifier, seconds = fitted(
        store, key,
        dg.DeepClassifier(
            SIZES, pretrained=start, n_epochs=20 if quick else N_EPOCHS[n_labels],
            learning_rate=DBM_RATE if deep else dg.Linear(0.001, 0.0), random_state=draw,
            **(DBM_DROPOUT if deep else DROPOUT),
        ), digits.X_train[known], digits.y_train[known],
    )  # fmt: skip
    return judged(store, digits, key, classifier, seconds)


def smooth(store, digits, machine, n_labels, draw, quick):
    """Return test error and seconds of a network that rows without labels teach too."""
    known, key = chosen(digits, n_labels, draw), f"smooth-{n_labels}-{draw}"
    labels = np.full(len(digits.y_train), -1)
    labels[known] = digits.y_train[known]
    classifier, seconds = fitted(
        store, key,
        dg.DeepClassifier(
            pretrained=machine, n_epochs=4 if quick else SMOOTH_EPOCHS, learning_rate=DBM_RATE,
            smoothness=dg.VirtualAdversarial(2.0), unlabelled=-1, random_state=draw,
        ), digits.X_train, labels,
    )  # fmt: skip
    return judged(store, digits, key, classifier, seconds)


def judged(store, digits, key, classifier, seconds):
    """Return test error and seconds of a classifier."""
    return store.once(f"{key}-error", lambda: {
        "error": float(100.0 * (classifier.predict(digits.X_test) != digits.y_test).mean()),
        "seconds": seconds,
    })  # fmt: skip
