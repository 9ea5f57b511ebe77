"""Classification of MNIST with all labels: random start, deep belief network, SVM."""

import time

import numpy as np
from sklearn.svm import SVC

import deepgen as dg
from bench.results import report
from bench.results.stacks import fitted, grey_mnist, stack_of

TITLE = "Classification of MNIST with all labels"
COLUMNS = (
    "model", "published error, %", "test error, %", "of each seed", "epochs", "s to pretrain",
    "s to fine-tune",
)  # fmt: skip
NOTES = [
    "Test error after the last epoch, mean over seeds (standard deviation); 784-500-500-2000-10, "
    "logistic units, grey pixels, no augmentation. Published: 1.2 (deep belief network), 1.6 "
    "(backpropagation), 1.4 (support vector machine) as in the lecture.",
    "",
    "Deep belief network: greedy CD-1 with the library's defaults, 10 epochs a layer, a seed of "
    "its own for each run. Fine-tuning: cross-entropy by Adam, rate 0.001 linearly to 0. "
    "*Dropout*: 0.3 of the hidden units, a fifth of the inputs. Numbers of epochs, rate and "
    "dropout were chosen on the last 10,000 training rows (docs/decisions.md). SVM: "
    "scikit-learn's SVC, C = 5, gamma = 0.02 (as usual for these data).",
]

SIZES = (500, 500, 2000)
DROPOUT = {"dropout": 0.3, "input_dropout": 0.2}
# label, published, key, epochs, quick epochs, pretrained, other settings
MODELS = (
    ("random start", "1.6", "random", 20, 3, False, {}),
    ("deep belief network", "1.2", "dbn", 20, 3, True, {}),
    ("deep belief network, *dropout*", "1.2", "dropout", 40, 3, True, DROPOUT),
)


def rows(store, quick):
    """Yield the rows of the table."""
    digits = grey_mnist()
    n_pre, n_seeds = (1, 1) if quick else (10, 3)
    layers = [dg.Binary(784), *map(dg.Binary, SIZES)]
    for label, published, key, n_full, n_quick, pretrained, settings in MODELS:
        n_epochs, runs = n_quick if quick else n_full, []
        for seed in range(n_seeds):
            stack, s_stack = None, 0.0
            if pretrained:
                stack, s_stack = stack_of(
                    store, f"stack-{n_pre}-{seed}", digits.X_train, layers,
                    dg.Pretraining(n_epochs=n_pre), random_state=seed,
                )  # fmt: skip
            classifier = dg.DeepClassifier(
                SIZES, pretrained=stack, n_epochs=n_epochs, learning_rate=dg.Linear(0.001, 0.0),
                random_state=seed, **settings,
            )  # fmt: skip
            classifier, seconds = fitted(
                store, f"{key}-{seed}", classifier, digits.X_train, digits.y_train
            )
            found = store.once(f"{key}-{seed}-error", lambda c=classifier: {
                "error": error(c, digits)
            })  # fmt: skip
            runs.append((found["error"], s_stack, seconds))
        errors, s_stack, seconds = zip(*runs, strict=True)
        yield (
            label, published, report.spread(errors), ", ".join(f"{e:.2f}" for e in errors),
            n_epochs, f"{np.mean(s_stack):.0f}" if pretrained else "", report.spread(seconds, 0),
        )  # fmt: skip
    found = store.once("svm", lambda: svm(digits, 5_000 if quick else None))
    label = f"SVM, Gaussian kernel, {found['rows']:,} rows"
    yield (label, "1.4", f"{found['error']:.2f}", "", "", "", f"{found['s_fit']:.0f}")


def error(classifier, digits):
    """Return the test error in per cent."""
    return float(100.0 * (classifier.predict(digits.X_test) != digits.y_test).mean())


def svm(digits, n_rows):
    """Return the test error of a support vector machine."""
    began = time.perf_counter()
    machine = SVC(C=5.0, gamma=0.02, cache_size=1000).fit(
        digits.X_train[:n_rows], digits.y_train[:n_rows]
    )
    seconds = time.perf_counter() - began
    return {
        "error": error(machine, digits), "s_fit": seconds, "rows": len(digits.X_train[:n_rows]),
    }  # fmt: skip
