"""The table of bad input goes on: mixtures, networks and the estimators around them.

What `RBM` refuses they refuse in the same words (tests/test_bad_input.py).
"""

import functools

import numpy as np
import pytest
from bad_values import (
    ARRAYS,
    BINARY_ROWS,
    COUNT,
    FLAGS,
    HOLES,
    INTEGER,
    OBJECT,
    POSITIVE,
    RATE,
    ROWS,
    SEEDS,
    SHARE,
    THREADS,
    WRONG_WIDTHS,
    X,
    csr,
    generator,
    refused,
    table_of,
)
from sklearn.exceptions import NotFittedError

import deepgen as dg

LABELS = np.arange(len(X)) % 3
QUICK = {"n_epochs": 1, "batch_size": 10, "random_state": 0, "n_threads": 1}
ESTIMATORS = {
    "mixture": lambda **o: dg.MixtureOfBernoullis(
        **{"n_components": 3, "max_iter": 2, "random_state": 0, "n_threads": 1, **o}
    ),
    "dbm": lambda **o: dg.DBM(**{"n_hidden": (4, 3), **QUICK, **o}),
    "autoencoder": lambda **o: dg.Autoencoder(**{"n_hidden": 3, **QUICK, **o}),
    "deep": lambda **o: dg.DeepAutoencoder(**{"n_hidden": (4, 3), **QUICK, **o}),
    "classifier": lambda **o: dg.DeepClassifier(**{"n_hidden": (4,), **QUICK, **o}),
    "regressor": lambda **o: dg.DeepRegressor(**{"n_hidden": (4,), **QUICK, **o}),
    "process": lambda **o: dg.DeepGaussianProcessRegressor(**{"n_hidden": (4,), **QUICK, **o}),
    "neighbours": lambda **o: dg.NeighbourhoodComponents(
        **{"n_hidden": (4,), "n_components": 2, **QUICK, **o}
    ),
    "hierarchy": lambda **o: dg.HierarchicalGaussian(**{"random_state": 0, **o}),
}
NETWORKS = ("autoencoder", "deep", "classifier", "regressor")
METHODS = {
    "mixture": ("fit", "transform", "predict", "score_samples", "score"),
    "dbm": ("fit", "transform", "posterior", "score_samples", "score", "bound"),
    "autoencoder": ("fit", "transform", "reconstruction_error", "score"),
    "deep": ("fit", "transform"),
    "classifier": ("fit", "predict", "predict_proba"),
    "regressor": ("fit", "predict"),
    "process": ("fit", "predict", "sample_y"),
    "neighbours": ("fit", "transform", "predict", "predict_proba"),
    "hierarchy": ("fit", "transform", "predict", "predict_log_proba", "score_samples"),
}


TAKE_HOLES = {
    "mixture": METHODS["mixture"], "dbm": ("fit", "partial_fit", "transform", "posterior"),
    "autoencoder": METHODS["autoencoder"], "deep": METHODS["deep"],
}  # fmt: skip


@functools.cache
def machine():
    return dg.BoltzmannMachine([dg.Binary(6), dg.Binary(3)], [np.zeros((6, 3))])


def fit(estimator, rows=X, y=LABELS):
    """Fit to rows, with labels where they are wanted."""
    supervised = isinstance(
        estimator,
        dg.DeepClassifier | dg.DeepRegressor | dg.DeepGaussianProcessRegressor
        | dg.NeighbourhoodComponents | dg.HierarchicalGaussian,
    )  # fmt: skip
    return estimator.fit(rows, y) if supervised else estimator.fit(rows)


@functools.cache
def known(kind):
    """A fitted estimator; nothing in this file may change one."""
    return fit(ESTIMATORS[kind]())


@functools.cache
def network():
    return known("autoencoder").model_


def cases():
    for kind, methods in METHODS.items():
        rows = dict(ROWS)
        if kind in ("mixture", "dbm", "autoencoder", "deep"):
            rows |= {name: (lambda r=r: r, message) for name, (r, message) in BINARY_ROWS.items()}
        for method in (*methods, *["partial_fit"] * (kind == "dbm")):
            for name, (make, message) in rows.items():
                if name in HOLES and method in TAKE_HOLES.get(kind, ()):
                    continue  # test_holes.py
                yield f"{kind}.{method}: {name}", kind, method, make, message
            for name, (wrong, _) in WRONG_WIDTHS.items():
                if method != "fit":
                    message = r"X has . features, but \w+ is expecting 6"
                    yield f"{kind}.{method}: {name}", kind, method, lambda w=wrong: w, message


CASES = {name: rest for name, *rest in cases()}


@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("ignore:.*masked array:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_bad_rows_are_refused_and_change_nothing(case):
    """Would catch rows that reach the kernels, a message without the argument's name, and an
    estimator that is half changed."""
    kind, method, rows, message = CASES[case]
    estimator = known(kind) if method != "fit" else ESTIMATORS[kind]()
    before = dict(vars(estimator))
    if method == "fit":
        y = LABELS
        if "no rows" not in case and _has_rows(rows()):
            y = np.resize(LABELS[:2], np.shape(rows())[0])  # of three rows two are of one class
        refused(lambda: fit(estimator, rows(), y), message)
    else:
        refused(lambda: getattr(estimator, method)(rows()), message)
    assert dict(vars(estimator)) == before


def _has_rows(rows):
    return hasattr(rows, "shape") and len(rows.shape) >= 2 and rows.shape[0] <= len(LABELS)


def setting(kind, name):
    return lambda value: fit(ESTIMATORS[kind](**{name: value}))


def layer(**options):
    return dg.NetworkLayer(**{"activation": "logistic", "bias": [0.0] * 3,
                              "weights": np.zeros((6, 3)), **options})  # fmt: skip


def run(**options):
    return dg.NetworkTrainer(
        **{"network": network(), "objective": dg.Objective(dg.CrossEntropy()),
           "optimizer": dg.SGD(), "schedule": 0.1, "stream": dg.Stream(0), **options}
    )  # fmt: skip


CLASSES = {"x": "text", "3": 3, "None": None, "list": [1]}
PROBABILITIES = {"x": "text", "2": [[2.0]], "NaN": [[np.nan]], "row": [0.5], "complex": [[1j]]}
MATRIX = {**{k: v for k, v in ARRAYS.items() if k not in ("masked", "None")}, "row": [1.0]}

# (what the message must say, call, bad values)
ARGUMENTS = [
    # settings of the mixture
    *[(f"{name} must be", setting("mixture", name), POSITIVE)
      for name in ("max_iter", "n_init")],
    ("n_components must be", setting("mixture", "n_components"),
     {name: value for name, value in POSITIVE.items() if value is not None}),
    ("tol must be", setting("mixture", "tol"), RATE),
    ("smoothing must be", setting("mixture", "smoothing"), {**RATE, "0": 0}),
    # settings that all of them have
    *[("n_threads must be", setting(kind, "n_threads"), THREADS)
      for kind in ESTIMATORS if kind != "hierarchy"],
    *[("random_state must", setting(kind, "random_state"), SEEDS) for kind in ESTIMATORS],
    *[("verbose must be", setting(kind, "verbose"), {"x": "text", "-1": -1, "None": None})
      for kind in ESTIMATORS if kind != "hierarchy"],
    # settings of networks
    *[(message, setting(kind, name), values) for kind in NETWORKS for message, name, values in [
        ("n_hidden must be", "n_hidden", {"x": "text", "None": None, "0": 0, "[0]": [0],
                                          "[1.5]": [1.5]}),
        ("batch_size must be", "batch_size", POSITIVE),
        ("n_epochs must be", "n_epochs", COUNT),
        ("learning_rate must be", "learning_rate", {"x": "text", "0": 0, "class": dg.Linear}),
        ("optimizer must be", "optimizer", {**OBJECT, "class": dg.Adam}),
        ("callbacks must be a list", "callbacks", {"x": "text", "3": 3, "[3]": [3]}),
        ("l2 must be", "l2", RATE),
        ("visible must be 'binary'", "visible", {**OBJECT, "class": dg.Binary}),
    ] if (kind, message[:8]) != ("autoencoder", "n_hidden")],
    ("n_hidden must be", setting("autoencoder", "n_hidden"), POSITIVE),
    *[(f"{name} must", setting("dbm", name), values) for name, values in [
        ("batch_size", POSITIVE), ("n_epochs", COUNT), ("label_units", FLAGS), ("binarize", FLAGS),
        ("n_hidden", {"x": "text", "None": None, "0": 0, "[0]": [0], "[1.5]": [1.5]}),
        ("learning_rate", {"x": "text", "0": 0, "class": dg.Linear}),
        ("optimizer", {**OBJECT, "class": dg.Adam}), ("visible", {**OBJECT, "class": dg.Binary}),
        ("rule", {**OBJECT, "class": dg.MeanFieldPCD, "two layers": dg.CD()}),
        ("callbacks", {"x": "text", "3": 3, "[3]": [3]}),
        ("pretrained", {**OBJECT, "class": dg.Pretraining, "RBM": dg.RBM(), "network": network()}),
    ]],
    *[(f"{name} must be", setting("autoencoder", name), values) for name, values in [
        ("l1", RATE), ("masking", SHARE), ("tied", FLAGS), ("hidden", {**OBJECT, "tanh": "tanh"}),
        ("loss", {**OBJECT, "hinge": "hinge"}),
    ]],
    ("needs a last layer of", setting("autoencoder", "loss"), {"softmax": "softmax_cross_entropy"}),
    ("visible must not have tied copies", setting("autoencoder", "visible"),
     {"2": dg.Binary(n_copies=2)}),
    ("code must be", setting("deep", "code"), {**OBJECT, "relu": "relu"}),
    *[("pretrained must", setting(kind, "pretrained"),
       {**OBJECT, "class": dg.Pretraining, "RBM": dg.RBM(), "network": network()})
      for kind in NETWORKS[1:]],
    *[(f"{name} must be", setting(kind, name), values)
      for kind in ("classifier", "regressor") for name, values in [
        ("top_epochs", {**INTEGER, "-1": -1}), ("early_stopping", COUNT),
        ("validation_fraction", {**SHARE, "0": 0}), ("dropout", SHARE), ("input_dropout", SHARE),
        ("activation", {**OBJECT, "tanh": "tanh"}),
    ]],
    # targets
    (r"y\b", lambda v: ESTIMATORS["classifier"]().fit(X, v),
     {"None": None, "short": LABELS[:5], "reals": np.linspace(0, 1, len(X)), "2-D": X,
      "NaN": np.full(len(X), np.nan), "one class": np.ones(len(X)), "none": -np.ones(len(X))}),
    (r"y\b", lambda v: ESTIMATORS["regressor"]().fit(X, v),
     {"None": None, "short": LABELS[:5], "NaN": np.full(len(X), np.nan), "text": ["a"] * len(X),
      "1e13": 1e13 * LABELS, "complex": LABELS * 1j}),
    # methods
    ("X must be an array or a sparse matrix", lambda v: ESTIMATORS["autoencoder"]().fit(v),
     {"generator": generator()}),
    ("X is a generator", lambda v: ESTIMATORS["mixture"]().fit(v), {"generator": generator()}),
    ("X ", lambda v: known("autoencoder").inverse_transform(v),
     {**{k: v for k, v in ARRAYS.items() if k != "3-D"}, "width": np.zeros((2, 4)),
      "damaged": csr("indices", 1, 10**6), "row": np.zeros(3)}),
    ("n_samples must be", lambda v: known("mixture").sample(v), {**INTEGER, "-1": -1}),
    ("first_row must be", lambda v: known("mixture").sample(2, first_row=v),
     {**INTEGER, "-1": -1, "2**70": 2**70}),
    ("random_state must", lambda v: known("mixture").sample(2, random_state=v), SEEDS),
    *[(f"{name} must be", lambda v, name=name: known("dbm").sample(**{"n_samples": 2, name: v}),
       {**INTEGER, "-1": -1}) for name in ("n_samples", "n_sweeps", "first_row")],
    ("n_draws must be", lambda v: known("dbm").score_samples(X, n_draws=v), POSITIVE),
    ("missing must be a bool array", lambda v: known("dbm").impute(X, v), {"ints": X, "one": True}),
    ("X must be an array", lambda v: known("dbm").partial_fit(v), {"generator": generator()}),
    ("method must be", lambda v: known("mixture").impute(X, X == 1, method=v), OBJECT),
    ("return_std must be", lambda v: known("mixture").impute(X, X == 1, return_std=v), FLAGS),
    ("missing must be a bool array", lambda v: known("mixture").impute(X, v),
     {"ints": X, "rows": X[:3] == 1, "one": True, "x": "text"}),
    *[("model must be", type(known(kind)).from_model, {**OBJECT, "RBM": machine()})
      for kind in ESTIMATORS if kind != "dbm"],
    ("model must be", dg.DBM.from_model, {**OBJECT, "network": network()}),
    ("model must be a Network of encoder and decoder", dg.Autoencoder.from_model,
     {"classifier": known("classifier").model_}),
    ("classes must hold", lambda v: dg.DeepClassifier.from_model(known("classifier").model_, v),
     {"short": [1], "x": "text"}),
    *[("path must", known(kind).save, {"3": 3, "None": None, "": ""}) for kind in ESTIMATORS],
    # models
    ("log_weights must", lambda v: dg.BernoulliMixture(v, [[0.0]]),
     {"x": "text", "2-D": [[0.0]], "NaN": [np.nan], "complex": [1j], "none": []}),
    ("logits must", lambda v: dg.BernoulliMixture([0.0], v),
     {"x": "text", "row": [0.0], "NaN": [[np.nan]], "1e300": [[1e300]], "two": [[0.0, 0.0]]}),
    ("means must", lambda v: dg.BernoulliMixture.from_means([1.0], v), PROBABILITIES),
    ("weights must", lambda v: dg.BernoulliMixture.from_means(v, [[0.5]]),
     {"x": "text", "0": [0.0], "-1": [-1.0], "sum": [0.5], "NaN": [np.nan]}),
    ("activation must be", lambda v: layer(activation=v), {**OBJECT, "tanh": "tanh"}),
    ("bias must", lambda v: layer(bias=v), {"x": "text", "2-D": [[0.0]], "NaN": [np.nan] * 3}),
    ("weights must", lambda v: layer(weights=v),
     {"x": "text", "row": [0.0], "NaN": np.full((6, 3), np.nan), "shape": np.zeros((6, 4)),
      "1e300": np.full((6, 3), 1e300), "complex": np.full((6, 3), 1j)}),
    ("either weights or tied_to", lambda v: layer(weights=v), {"None": None}),
    ("tied_to must be", lambda v: layer(weights=None, tied_to=v), {"x": "text", "-1": -1}),
    ("group must be", lambda v: layer(activation="softmax", group=v), {"x": "text", "0": 0}),
    ("group must divide", lambda v: layer(activation="softmax", group=v), {"2": 2}),
    (r"layers (must|takes)|layers\[0\] must", dg.Network, {**CLASSES, "none": []}),
    (r"layers\[1\] takes 6 columns", dg.Network, {"misfit": [layer(), layer()]}),
    (r"layers\[1\].tied_to must name", dg.Network,
     {"itself": [layer(), layer(weights=None, tied_to=1)],
      "beyond": [layer(), layer(weights=None, tied_to=7)]}),
    ("X ", lambda v: network().forward(v),
     {**ARRAYS, "width": X[:, :5], "damaged": csr("indices", 1, 99)}),
    ("grad_output must", lambda v: network().backward(network().forward(X, keep=True)[1], v),
     {"x": "text", "rows": X[:3], "width": X[:, :5], "complex": X * 1j}),
    ("kept must be", lambda v: network().backward(v, X),
     {**OBJECT, "another": known("deep").model_.forward(X, keep=True)[1]}),
    *[("stack must|machine 0 of a stack", call, {"x": "text", "3": 3, "[1]": [1], "none": []})
      for call in (dg.encoder, dg.unrolled)],
    # training
    *[("n_line_searches must be", kind, POSITIVE) for kind in (dg.LBFGS, dg.ConjugateGradient)],
    ("loss must be", dg.Objective, {**OBJECT, "class": dg.CrossEntropy}),
    *[(f"{name} must be", lambda v, name=name: dg.Objective(dg.CrossEntropy(), **{name: v}), values)
      for name, values in [("l1", RATE), ("l2", RATE), ("dropout", SHARE), ("masking", SHARE),
                           ("input_dropout", SHARE)]],
    ("network must be", lambda v: run(network=v), {**OBJECT, "RBM": dg.RBM()}),
    ("objective must be", lambda v: run(objective=v), {**OBJECT, "loss": dg.CrossEntropy()}),
    ("optimizer must be", lambda v: run(optimizer=v), {**OBJECT, "class": dg.Adam, "None": None}),
    ("learning_rate must be", lambda v: run(schedule=v), {"x": "text", "0": 0, "class": dg.Linear}),
    ("stream must be", lambda v: run(stream=v), OBJECT),
    ("batch_size must be", lambda v: run(batch_size=v), POSITIVE),
    ("n_threads must be", lambda v: run(n_threads=v), THREADS),
    ("top_epochs must be", lambda v: run(top_epochs=v), {**INTEGER, "-1": -1}),
    ("n_epochs must be", lambda v: dg.Pretraining(n_epochs=v), COUNT),
    ("batch_size must be", lambda v: dg.Pretraining(batch_size=v), POSITIVE),
    ("rule must be", lambda v: dg.Pretraining(rule=v), {**OBJECT, "class": dg.CD}),
    ("optimizer must be", lambda v: dg.Pretraining(optimizer=v), {**OBJECT, "class": dg.Adam}),
    ("features must be", lambda v: dg.Pretraining(features=v), {**OBJECT, "other": "draws"}),
    ("transposed must be", lambda v: dg.Pretraining(transposed=v), {**OBJECT, "one": 1}),
    ("binarize must be", lambda v: dg.Pretraining(binarize=v), {**OBJECT, "one": 1}),
    ("machines must", lambda v: dg.compose(v), {"number": 3, "text": "x", "none": []}),
    (r"machines\[0\] must be", lambda v: dg.compose([v]), {**OBJECT, "network": network()}),
    ("layers", lambda v: dg.compose([dg.BoltzmannMachine([dg.Binary(1)] * 2, [[[0.0]]])],
                                    layers=v), {**OBJECT, "other": [dg.Binary(1)]}),
    ("learning_rate must be", lambda v: dg.Pretraining(learning_rate=v),
     {"x": "text", "0": 0, "class": dg.Linear}),
    *[("needs a run of a Boltzmann machine", lambda v: setting("autoencoder", "callbacks")([v]),
       {"callback": watching})
      for watching in (dg.LikelihoodMonitor(), dg.FreeEnergyGap(X, X), dg.EarlyStopping(X))],
]  # fmt: skip
TABLE = table_of(ARGUMENTS)


@pytest.mark.parametrize("case", TABLE)
def test_bad_arguments_are_refused_by_name(case):
    """Would catch an AttributeError from deep inside, a silent conversion, and a check that
    comes after the work."""
    call, value, message = TABLE[case]
    refused(lambda: call(value), message)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_nothing_in_the_table_has_changed_an_estimator(kind):
    """Would catch a refused call that leaves its mark on a shared estimator or model."""
    fresh, method = known.__wrapped__(kind), METHODS[kind][1]
    assert np.array_equal(getattr(known(kind), method)(X), getattr(fresh, method)(X))
    assert set(vars(known(kind))) == set(vars(fresh))


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_what_is_not_fitted_says_so(kind, tmp_path):
    """Would catch an AttributeError for `model_`, which does not tell what to do."""
    own = {"mixture": ("sample", "impute"), "autoencoder": ("inverse_transform",),
           "deep": ("inverse_transform",)}.get(kind, ())  # fmt: skip
    for method in (*METHODS[kind][1:], *own, "save"):
        argument = {"sample": 2, "save": tmp_path / "a"}.get(method, X)
        with pytest.raises(NotFittedError, match=r"is not fitted yet\. Call 'fit'"):
            getattr(ESTIMATORS[kind](), method)(argument)
    assert not list(tmp_path.iterdir())
