"""Deep autoencoders 784-1000-500-250-30 on MNIST beside PCA at the same code length."""

import numpy as np
from sklearn.decomposition import PCA

import deepgen as dg
from bench.results.stacks import fitted, grey_mnist, stack_of

TITLE = "Reconstruction of MNIST by a deep autoencoder"
COLUMNS = (
    "model", "published test", "train", "test", "epochs", "seeds", "s to pretrain",
    "s to fine-tune",
)  # fmt: skip
NOTES = [
    "Squared error of a digit: sum over 784 pixels with values in [0, 1], mean over rows; train: "
    "the first 10,000 training rows. 784-1000-500-250-30 and its mirror image, logistic units, a "
    "linear code; learned from the 60,000 grey training rows. Published: Hinton & Salakhutdinov "
    "(2006), and 2.28 the best of later optimizers (Martens 2010), both as quoted by others.",
    "",
    "Pretrained: greedy CD-1 with the library's defaults, then cross-entropy by Adam, rate 0.002 "
    "linearly to 0, average of the last fifth of the updates. Losses were compared on the last "
    "10,000 training rows (docs/decisions.md), nothing else was tuned. *Long*: `l2` of 0.00002.",
]

SIZES = (1000, 500, 250, 30)
SHORT = {"learning_rate": dg.Linear(0.002, 0.0)}
LONG = {"learning_rate": dg.Linear(0.002, 0.0), "l2": 2e-5}


def rows(store, quick):
    """Yield the rows of the table."""
    digits = grey_mnist()
    pca = PCA(SIZES[-1], svd_solver="full").fit(digits.X_train)
    errors = [
        float(np.square(pca.inverse_transform(pca.transform(X)) - X).sum(axis=1).mean())
        for X in (digits.X_train[:10_000], digits.X_test)
    ]
    yield ("PCA-30", "13.87", *(f"{error:.2f}" for error in errors), *[""] * 4)
    layers = [dg.Binary(784), *map(dg.Binary, SIZES[:-1])]
    layers.append(dg.Gaussian(SIZES[-1], learn_precision=False))
    n_pre, n_short = (1, 2) if quick else (10, 20)
    stack, s_stack = stack_of(
        store, f"stack-{n_pre}", digits.X_train, layers, dg.Pretraining(n_epochs=n_pre)
    )
    short = SHORT | {"n_epochs": n_short}
    yield row(store, digits, "random start", "", "random", short, None, "")
    yield row(store, digits, "pretrained", "3.00", "short", short, stack, f"{s_stack:.0f}")
    if not quick:
        long = LONG | {"n_epochs": 60}
        yield row(
            store, digits, "pretrained, long", "3.00 (later 2.28)", "long", long, stack,
            f"{s_stack:.0f}",
        )  # fmt: skip


def row(store, digits, label, published, key, settings, stack, s_stack):
    """Return one row: the errors of one autoencoder."""
    autoencoder, seconds = fitted(
        store, key,
        dg.DeepAutoencoder(SIZES, pretrained=stack, random_state=0, **settings), digits.X_train,
    )  # fmt: skip
    found = store.once(f"{key}-errors", lambda: {
        "train": float(autoencoder.reconstruction_error(digits.X_train[:10_000]).mean()),
        "test": float(autoencoder.reconstruction_error(digits.X_test).mean()),
    })  # fmt: skip
    return (
        label, published, f"{found['train']:.2f}", f"{found['test']:.2f}", settings["n_epochs"], 1,
        s_stack, f"{seconds:.0f}",
    )  # fmt: skip
