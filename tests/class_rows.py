"""Classes for tests of hierarchies."""

import numpy as np

from deepgen.inference.class_hierarchy import class_of_rows


def data(n_classes=5, n_rows=12, n_columns=4, seed=0):
    """Rows of classes whose means lie apart, and their labels, shuffled."""
    rng = np.random.default_rng(seed)
    centres = 3.0 * rng.normal(size=(n_classes, n_columns))
    labels = rng.permutation(np.repeat(np.arange(n_classes), n_rows))
    spread = rng.normal(size=(n_columns, n_columns))
    X = centres[labels] + rng.normal(size=(len(labels), n_columns)) @ spread
    return X.astype(np.float32), labels


def sorts(n_classes=4, n_rows=6, seed=1):
    """Classes of two columns, every other one wider in the first."""
    rng = np.random.default_rng(seed)
    return [
        class_of_rows(rng.normal(size=(n_rows, 2)) * ([1.6, 0.8] if k % 2 else [0.8, 1.0]))
        for k in range(n_classes)
    ]
