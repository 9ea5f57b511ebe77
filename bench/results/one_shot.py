"""New classes from a few rows: digits and people that nobody has labelled before."""

from itertools import chain, pairwise

import numpy as np
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

import deepgen as dg
from bench.results.stacks import grey_mnist, stack_of
from deepgen.datasets import load_olivetti
from deepgen.inference.class_hierarchy import (
    class_density,
    class_of_rows,
    coordinates,
    heritages_of_new,
    log_predictives,
)

TITLE = "New classes from a few rows"
COLUMNS = ("task", "features", "model", "1 shot (se)", "3 shots", "5 shots", "20 shots")
NOTES = [
    "MNIST: each digit in turn is new; the other nine are known from the first 20,000 training "
    "rows, its shots are drawn there too. Area under the ROC curve of all 10,000 test rows, the "
    "new digit against the rest; mean and standard error of 30 pairs of a digit and a draw, the "
    "same for every model. Alone: minus the distance of the nearest shot. Against known: that of "
    "the nearest known row minus it; of HierarchicalGaussian `score_samples(X, label)`. Shared "
    "covariance: `inherited_rows=None`; own covariance: `super_categories=None`; super-categories: "
    "defaults. Gain: of super-categories over own covariance, mean of the paired differences.",
    "Stack: 784-500-250, CD on the 60,000 training rows without labels, 6 and 4 epochs; features "
    "are the fields of its last layer. Random start: the same shape, weights of variance 1 / "
    "columns, no learning.",
    "Olivetti: four folds of ten new people, 30 known ones, 32 x 32 pixels; error of choosing "
    "among the ten, five draws of shots a fold (standard error over 20 pairs of a fold and a "
    "draw; they share pictures). Copies: each picture of a known person also shifted by a pixel "
    "in any direction and mirrored, 18 in all, for the stack (1024-400-200, Gaussian pixels, CD, "
    "20 and 20 epochs) and for `fit`, unless the table says so. Shots and test pictures are as "
    "they are.",
    "Chosen on training rows: `inherited_rows` and the stack by digits held out among training "
    "rows, tested on training rows 50,000 to 60,000 (each tenth); 250 components of faces, their "
    "shrinkage and the copies by ten people held out among the 30 of a fold. Everything else is a "
    "default.",
]

SHOTS = (1, 3, 5, 20)
N_KNOWN = 20_000
SIZES, EPOCHS = (500, 250), (6, 4)
MODELS = {
    "shared": ("shared covariance", {"inherited_rows": None}),
    "own": ("own covariance", {"super_categories": None}),
    "crp": ("super-categories", {}),
}
FACE_SIZES, FACE_COMPONENTS = (400, 200), 250


def rows(store, quick):
    """Yield the rows of the table."""
    yield from digits(store, quick)
    yield from faces(store, quick)


# --- digits ---------------------------------------------------------------------------------------


def digits(store, quick):
    """Yield the rows of MNIST."""
    mnist = grey_mnist()
    layers = [dg.Binary(784), *map(dg.Binary, SIZES)]
    settings = [dg.Pretraining(n_epochs=n) for n in EPOCHS]
    stack, _ = stack_of(store, "digits", mnist.X_train, layers, settings)
    machines = {"pixels": [], "random start": random_stack(layers), "pretrained": stack}
    n_draws, every = (1, 5) if quick else (3, 1)
    for name, stack in machines.items():
        found = store.once(
            f"digits-{name.replace(' ', '-')}",
            lambda stack=stack: judged_digits(
                fields(stack, mnist.X_train[:N_KNOWN]), mnist.y_train[:N_KNOWN],
                fields(stack, mnist.X_test[::every]), mnist.y_test[::every], n_draws,
            ),
        )  # fmt: skip
        for label, areas in found.items():
            if label != "seconds":
                places = 4 if label.startswith("gain") else 3
                yield ("MNIST, AUROC", name, label, *cells(areas, places))


def judged_digits(X, y, X_test, y_test, n_draws):
    """Return areas under the curve, lists of lists by model: one for each number of shots."""
    found, kept = {}, {}
    nearest = {
        name: np.stack([
            nearness(X_test, X[y == digit], name == "cosine").max(axis=1) for digit in range(10)
        ], axis=1) for name in ("distance", "cosine")
    }  # fmt: skip
    for digit in range(10):
        is_new, others = y_test == digit, y != digit
        models = {
            key: dg.HierarchicalGaussian(random_state=0, **options).fit(X[others], y[others]).model_
            for key, (_, options) in MODELS.items()
        }
        points = {key: coordinates(model, X_test) for key, model in models.items()}
        known = {
            key: logsumexp(log_predictives(model, points[key]), axis=1)
            for key, model in models.items()
        }
        for draw in range(n_draws):
            order = np.random.default_rng(10 * digit + draw).permutation(np.flatnonzero(~others))
            for number, n_shots in enumerate(SHOTS):
                shots = X[order[:n_shots]]
                scores = {}
                for name, label in (("distance", "nearest"), ("cosine", "nearest cosine")):
                    near = nearness(X_test, shots, name == "cosine").max(axis=1)
                    nearest_known = np.delete(nearest[name], digit, axis=1).max(axis=1)
                    scores[f"{label}, alone"] = near
                    scores[f"{label}, against known"] = near - nearest_known
                for key, (label, _) in MODELS.items():
                    # what add_class and score_samples give, with the known classes' share once
                    model = models[key]
                    new = class_of_rows(coordinates(model, shots))
                    density = class_density(model, new, heritages_of_new(model))
                    scores[label] = density.log_of(points[key]) - known[key]
                for label, score in scores.items():
                    areas = kept.setdefault(label, [[] for _ in SHOTS])
                    areas[number].append(float(roc_auc_score(is_new, score)))
    found |= kept
    found["gain of super-categories"] = [
        [one - other for one, other in zip(*pair, strict=True)]
        for pair in zip(kept["super-categories"], kept["own covariance"], strict=True)
    ]
    return found


def nearness(X, others, cosine):
    """Return minus the distances of two sets of rows, or their cosines: (n_rows, n_others)."""
    X, others = np.asarray(X, np.float32), np.asarray(others, np.float32)
    if cosine:
        return unit(X) @ unit(others).T
    squares = np.square(X).sum(axis=1)[:, None] + np.square(others).sum(axis=1)
    return -np.sqrt(np.maximum(squares - 2.0 * X @ others.T, 0.0))


def unit(X):
    """Return rows of length 1."""
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def fields(stack, X):
    """Return the fields of the last layer of a stack; X itself where it has none."""
    for number, machine in enumerate(stack, 1):
        last = number == len(stack)
        X = dg.RBM.from_model(machine).transform(X, quantity="field" if last else "mean")
    return X


def random_stack(layers):
    """Return machines of the given layers that have learned nothing."""
    rng = np.random.default_rng(0)
    return [
        dg.BoltzmannMachine(
            [lower, upper], [rng.normal(0.0, lower.size**-0.5, (lower.size, upper.size))]
        )
        for lower, upper in pairwise(layers)
    ]


def cells(found, digits):
    """Return a cell for each number of shots: mean (standard error)."""
    out = [
        f"{np.mean(values):.{digits}f} ({np.std(values, ddof=1) / len(values) ** 0.5:.{digits}f})"
        for values in found
    ]
    return out + [""] * (len(SHOTS) - len(out))


# --- people ---------------------------------------------------------------------------------------


def faces(store, quick):
    """Yield the rows of the Olivetti faces."""
    olivetti = load_olivetti()
    images = olivetti.images.reshape(400, 32, 2, 32, 2).mean(axis=(2, 4)) / 255.0
    folds = [
        store.once(
            f"faces-{fold}",
            lambda fold=fold: judged_faces(store, images, olivetti.person, fold, quick),
        )
        for fold in range(1 if quick else 4)
    ]
    for key in folds[0]:
        if key != "seconds":
            name, label = key.split("|")
            by_shots = zip(*(fold[key] for fold in folds), strict=True)
            together = [list(chain(*parts)) for parts in by_shots]
            yield ("Olivetti, error %", name, label, *cells(together, 1))


def judged_faces(store, images, person, fold, quick):
    """Return errors in percent, lists of lists by features and model."""
    new = np.arange(10 * fold, 10 * fold + 10)
    known = ~np.isin(person, new)
    pictures = images.reshape(len(images), -1).astype(np.float32)
    many = np.concatenate([copy.reshape(len(copy), -1) for copy in copies(images[known])])
    names = np.tile(person[known], len(many) // known.sum())
    many = many.astype(np.float32)
    mean = many.mean(axis=0)
    scale = np.float32((many - mean).std())
    many, pictures = (many - mean) / scale, (pictures - mean) / scale
    layers = [dg.Gaussian(1024, learn_precision=False), *map(dg.Binary, FACE_SIZES)]
    n_epochs = 5 if quick else 20
    stack, _ = stack_of(
        store, f"stack-{fold}", many, layers, [dg.Pretraining(n_epochs=n_epochs)] * 2
    )
    ready, found = random_stack(layers), {}
    features = {
        "pixels": [], "random start, layer 1": ready[:1], "pretrained, layer 1": stack[:1],
        "random start, layer 2": ready, "pretrained, layer 2": stack,
    }  # fmt: skip
    for name, machines in features.items():
        F, F_many = fields(machines, pictures), fields(machines, many)
        plain = {"n_components": FACE_COMPONENTS, "random_state": 0}
        estimators = {
            "shared covariance, no copies": (
                dg.HierarchicalGaussian(**plain, inherited_rows=None), F[known], person[known]
            ),
            "shared covariance": (
                dg.HierarchicalGaussian(**plain, inherited_rows=None), F_many, names
            ),
        }
        models = {label: e.fit(X, y).model_ for label, (e, X, y) in estimators.items()}
        for draw in range(5):
            rng = np.random.default_rng(100 * fold + draw)
            order = np.stack([rng.permutation(np.flatnonzero(person == p)) for p in new])
            for number, n_shots in enumerate(SHOTS[:-1]):
                shots, test = order[:, :n_shots], order[:, n_shots:].ravel()
                answers = {
                    f"nearest{kind}": nearness(F[test], F[shots.ravel()], bool(kind))
                    .reshape(len(test), 10, n_shots).max(axis=2)
                    for kind in ("", " cosine")
                }  # fmt: skip
                for label, model in models.items():
                    answers[label] = of_new_people(model, F, shots, test)
                for label, answer in answers.items():
                    wrong = new[answer.argmax(axis=1)] != person[test]
                    errors = found.setdefault(f"{name}|{label}", [[] for _ in SHOTS[:-1]])
                    errors[number].append(100.0 * float(wrong.mean()))
    return found


def of_new_people(model, F, shots, test):
    """Return log densities of new people, after their shots, of shape (n_test, n_new).

    What add_class and predict_log_proba give, without the known people.
    """
    points, heritages = coordinates(model, F[test]), heritages_of_new(model)
    return np.stack([
        class_density(model, class_of_rows(coordinates(model, F[rows])), heritages).log_of(points)
        for rows in shots
    ], axis=1)  # fmt: skip


def copies(images):
    """Yield pictures shifted by up to a pixel in each direction, and mirrored.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width)
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = images.shape[1:]
    for down in range(3):
        for right in range(3):
            shifted = padded[:, down : down + height, right : right + width]
            yield shifted
            yield shifted[:, :, ::-1]
