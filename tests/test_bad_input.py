"""One table of bad input: each row is refused by name, with what is expected, and changes nothing.

Every public function has rows here. Run it under the sanitizers too (CONTRIBUTING.md): what
Python lets through, the kernels would read.
"""

import functools
import pickle

import numpy as np
import pandas as pd
import pytest
from bad_values import (
    ARRAYS,
    BINARY_ROWS,
    COUNT,
    FLAGS,
    HOLES,
    INTEGER,
    OBJECT,
    ONE_HOT,
    PACKED,
    POSITIVE,
    RATE,
    REAL,
    ROWS,
    SEEDS,
    SHARE,
    THREADS,
    VECTORS,
    WRONG_WIDTHS,
    X,
    csr,
    generator,
    refused,
    table_of,
    with_value,
)
from scipy import sparse
from sklearn.exceptions import NotFittedError

import deepgen as dg

SMALL = {"n_hidden": 3, "n_epochs": 1, "batch_size": 10, "random_state": 0, "n_threads": 1}


@functools.cache
def fitted(kind):
    """A fitted estimator by kind of visible units; nothing in this file may change one."""
    visible, rows = {
        "binary": ("binary", X),
        "gaussian": ("gaussian", REAL),
        "softmax": (dg.Softmax(3), ONE_HOT),
    }[kind]
    return dg.RBM(visible=visible, **SMALL).fit(rows)


@functools.cache
def named():
    """An estimator that was fitted on a data frame."""
    return dg.RBM(**SMALL).fit(pd.DataFrame(X, columns=list("abcdef")))


@functools.cache
def model():
    return fitted("binary").model_


@functools.cache
def particles():
    return dg.Particles([X[:5], X[:5, :3]])


# ------------------------------------------------------------------------------------- rows of X

METHODS = ("fit", "partial_fit", "transform", "free_energy", "score_samples", "score")
TAKE_HOLES = ("fit", "partial_fit", "transform")


def estimator_rows():
    for method in METHODS:
        for name, (rows, message) in ROWS.items():
            if name in HOLES and method in TAKE_HOLES:
                continue  # test_holes.py
            yield f"{method}: {name}", method, rows, message
        for name, (rows, message) in BINARY_ROWS.items():
            yield f"{method}: {name}", method, lambda rows=rows: rows, message
        if method != "fit":
            for name, (rows, message) in WRONG_WIDTHS.items():
                yield f"{method}: {name}", method, lambda rows=rows: rows, message


ESTIMATOR_ROWS = {name: rest for name, *rest in estimator_rows()}


@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("ignore:.*masked array:UserWarning")
@pytest.mark.parametrize("case", ESTIMATOR_ROWS)
def test_bad_rows_are_refused_and_change_nothing(case):
    """Would catch rows that reach the kernels, a message without the argument's name, and an
    estimator that is half changed; a warning on the way fails as well."""
    method, rows, message = ESTIMATOR_ROWS[case]
    rbm = fitted("binary")
    before, answer = dict(vars(rbm)), rbm.transform(X)
    refused(lambda: getattr(rbm, method)(rows()), message)
    assert dict(vars(rbm)) == before
    assert np.array_equal(rbm.transform(X), answer)
    if method in ("fit", "partial_fit"):
        new = dg.RBM(**SMALL)
        before = dict(vars(new))
        if method == "fit" or "column" not in case or case.endswith("no columns"):
            refused(lambda: getattr(new, method)(rows()), message)
            assert dict(vars(new)) == before


# ------------------------------------------------------------------------- every other argument

def fit_with(name):
    return lambda value: dg.RBM(**{**SMALL, name: value}).fit(X)


def gibbs(**options):
    return dg.gibbs(model(), particles(), **{"n_sweeps": 1, "random_state": 0, **options})


def machine(**options):
    return dg.BoltzmannMachine(**{"layers": model().layers, "weights": model().weights, **options})


def units(call):
    return lambda value: call(dg.Binary(6), value)


# (what the message must say, call, bad values)
ARGUMENTS = [
    # the estimator's settings
    ("n_hidden must be", fit_with("n_hidden"), {**POSITIVE, "2**40": 2**40}),
    ("batch_size must be", fit_with("batch_size"), POSITIVE),
    ("n_epochs must be", fit_with("n_epochs"), {k: v for k, v in POSITIVE.items() if k != "None"}),
    ("n_threads must be", fit_with("n_threads"), THREADS),
    ("random_state must", fit_with("random_state"), SEEDS),
    ("verbose must be", fit_with("verbose"), {"x": "text", "-1": -1, "None": None}),
    ("binarize must be True or False", fit_with("binarize"), FLAGS),
    ("visible must be 'binary'", fit_with("visible"), {**OBJECT, "None": None, "class": dg.Binary}),
    ("hidden must be 'binary'", fit_with("hidden"), {**OBJECT, "None": None, "class": dg.Binary}),
    ("visible does not fit the 6 columns", fit_with("visible"), {"7": dg.Binary(7)}),
    ("visible does not fit.*multiple of 4", fit_with("visible"), {"groups": dg.Softmax(4)}),
    ("hidden does not fit n_hidden=3", fit_with("hidden"), {"7": dg.Binary(7)}),
    ("rule must be", fit_with("rule"), {**OBJECT, "None": None, "class": dg.CD}),
    ("learning_rate must be", fit_with("learning_rate"),
     {"x": "text", "0": 0, "-1": -1.0, "NaN": np.nan, "inf": np.inf, "class": dg.Linear}),
    ("optimizer must be", fit_with("optimizer"), {**OBJECT, "class": dg.Adam}),
    (r"callbacks\[1\] must be an object, got the class EarlyStopping", fit_with("callbacks"),
     {"class": [print, dg.EarlyStopping]}),
    ("callbacks must be a list", fit_with("callbacks"),
     {"x": "text", "3": 3, "[3]": [3], "function": print}),
    # its methods
    ("X .*read only once|X is a generator", lambda v: dg.RBM(**SMALL).fit(v),
     {"generator": generator()}),
    ("X must be an array or a sparse matrix for partial_fit", lambda v: dg.RBM().partial_fit(v),
     {"generator": generator()}),
    ("batch 1 of X has 5 features", lambda v: dg.RBM(**SMALL).fit(v),
     {"batches": type("Batches", (), {"__iter__": lambda self: iter([X, X[:, :5]])})()}),
    ("batch 1 of X must have the columns", lambda v: dg.RBM(**SMALL).fit(v),
     {"frames": type("Batches", (), {"__iter__": lambda self: iter(
         [pd.DataFrame(X, columns=list(c)) for c in ("abcdef", "abcdfe")])})()}),
    ("feature names should match", lambda v: named().transform(v),
     {"order": pd.DataFrame(X, columns=list("bacdef")),
      "other": pd.DataFrame(X, columns=list("abcdeg"))}),
    ("input_features", lambda v: named().get_feature_names_out(v), {"too many": ["x"] * 8}),
    ("n_samples must be", lambda v: fitted("binary").sample(v), {**INTEGER, "-1": -1}),
    ("n_sweeps must be", lambda v: fitted("binary").sample(2, n_sweeps=v), {**INTEGER, "-1": -1}),
    ("first_row must be", lambda v: fitted("binary").sample(2, first_row=v),
     {**INTEGER, "-1": -1, "2**70": 2**70}),
    ("random_state must", lambda v: fitted("binary").sample(2, random_state=v), SEEDS),
    ("n_chains must be", lambda v: fitted("binary").log_partition(n_chains=v), COUNT),
    ("n_betas must", lambda v: fitted("binary").log_partition(n_betas=v),
     {"x": "text", "1": 1, "0.5": 0.5, "falling": [0.0, 0.7, 0.3, 1.0], "2**40": 2**40,
      "NaN": [0.0, np.nan, 1.0], "ends": [0.1, 0.5, 1.0]}),
    ("X ", lambda v: fitted("binary").inverse_transform(v),
     {**{k: v for k, v in ARRAYS.items() if k != "3-D"}, "width": np.zeros((2, 4)),
      "range": np.full((2, 3), 1.5), "damaged": csr("indices", 1, 10**6), "row": np.zeros(3)}),
    ("method must be", lambda v: fitted("binary").impute(REAL, method=v), {"median": "median"}),
    ("return_std must be", lambda v: fitted("binary").impute(X, X == 1, return_std=v), FLAGS),
    ("n_chains must be", lambda v: fitted("binary").impute(X, X == 1, n_chains=v), POSITIVE),
    ("n_sweeps must be", lambda v: fitted("binary").impute(X, X == 1, n_sweeps=v), INTEGER),
    ("missing must be a bool array", lambda v: fitted("binary").impute(X, v),
     {"ints": X, "rows": X[:3] == 1, "one": True, "floats": REAL, "row": X[0] == 1, "x": "text"}),
    ("missing must hold all 3 columns", lambda v: fitted("softmax").impute(ONE_HOT, v),
     {"part": np.eye(30, 6, dtype=bool)}),
    ("X must be finite where it is observed", lambda v: fitted("gaussian").impute(v),
     {"inf": with_value(np.inf, REAL)}),
    (r"X must lie within .*1e12", lambda v: fitted("gaussian").transform(v), {"1e13": REAL * 1e13}),
    ("X must have one 1 in each group", lambda v: fitted("softmax").transform(v),
     {"two": 1 - ONE_HOT, "half": ONE_HOT * 0.5, "all": np.ones((2, 6))}),
    ("X has missing variables", lambda v: fitted("softmax").score_samples(v),
     {"gap": np.zeros((2, 6))}),
    ("model must be a BoltzmannMachine", dg.RBM.from_model, {**OBJECT, "RBM": dg.RBM()}),
    ("path must", lambda v: fitted("binary").save(v), {"3": 3, "None": None, "": "", "0": "a\0b"}),
    ("path must", dg.load, {"3": 3, "None": None, "": "", "0": "a\0b", "[1]": [1]}),
    # packed bits
    ("array must be a NumPy array", lambda v: dg.PackedBits(v, 6),
     {**OBJECT, "None": None, "list": PACKED.tolist(), "masked": np.ma.array(PACKED, mask=False),
      "CSR": sparse.csr_matrix(PACKED)}),
    ("array must be packed bits of dtype uint8, got .*PackedBits.pack",
     lambda v: dg.PackedBits(v, 6),
     {"bool": PACKED > 0, "int8": PACKED.view(np.int8), "float": PACKED * 1.0,
      "int64": PACKED.astype(np.int64), "complex": PACKED * 1j}),
    (r"array must have shape \(n_rows, 2\), bytes for 9 columns of bits",
     lambda v: dg.PackedBits(v, 9),
     {"row": PACKED[0], "3-D": PACKED[None], "unpacked": X, "too few": PACKED,
      "too many": np.packbits(np.zeros((3, 17), np.uint8), axis=1), "none": PACKED[:, :0],
      "by columns": np.packbits(np.zeros((30, 9), np.uint8), axis=0)}),
    ("n_columns must be", lambda v: dg.PackedBits(PACKED, v), COUNT),
    ("rows (must|is)", dg.PackedBits.pack,
     {**ARRAYS, "half": X * 0.5, "two": X + 1, "negative": -X.astype(np.int8),
      "no columns": X[:, :0], "row": X[0], "CSR of twos": sparse.csr_matrix(2 * X),
      "damaged": csr("indices", 1, 10**8)}),
    # units
    ("size must be", dg.Binary, {**COUNT, "2**60": 2**60}),
    ("n_copies must be an integer from 1 to 8", lambda v: dg.Binary(3, n_copies=v),
     {**POSITIVE, "9": 9}),
    ("n_categories must be", dg.Softmax, {**POSITIVE, "1": 1}),
    ("multiple of 3 columns", lambda v: dg.Softmax(3, v), {"4": 4}),
    ("learn_precision must be", lambda v: dg.Gaussian(3, learn_precision=v), FLAGS),
    ("bias must", lambda v: dg.Binary(3, bias=v), VECTORS),
    ("log_precision must", lambda v: dg.Gaussian(3, log_precision=v),
     {**VECTORS, "range": [0.0, 0.0, 61.0]}),
    ("field (must|is)", units(lambda layer, v: layer.mean(v)),
     {**ARRAYS, "width": np.zeros((2, 5))}),
    ("field (must|is)", units(lambda layer, v: layer.sample(v, dg.Stream(0))), ARRAYS),
    ("stream must be a dg.Stream", units(lambda layer, v: layer.sample(np.zeros((2, 6)), v)),
     OBJECT),
    ("x (must|is)", units(lambda layer, v: layer.energy(v)), {**ARRAYS, "7": np.full((2, 6), 7)}),
    ("x (must|is)", units(lambda layer, v: layer.moments(v)), ARRAYS),
    ("size must be", lambda v: dg.Binary().sized(v), POSITIVE),
    ("has no size yet", lambda v: dg.Binary().mean(v), {"array": np.zeros((2, 6))}),
    # models and their states
    ("layers must be a sequence", lambda v: machine(layers=v), {"x": "text", "3": 3, "None": None}),
    (r"layers (must hold|\[0\] must be)|layers\[0\] must be", lambda v: machine(layers=v),
     {"[1]": [1, 2], "one": [dg.Binary(6)], "no size": [dg.Binary(), dg.Binary(3)]}),
    (r"layers\[0\] and layers\[1\] are both Gaussian", lambda v: machine(layers=v),
     {"two": [dg.Gaussian(6), dg.Gaussian(3)]}),
    ("weights must be a sequence", lambda v: machine(weights=v),
     {"x": "text", "3": 3, "None": None}),
    (r"weights must hold 1|weights\[0\]", lambda v: machine(weights=v),
     {"none": [], "two": [np.zeros((6, 3))] * 2, "shape": [np.zeros((3, 6))], "x": ["text"],
      "NaN": [np.full((6, 3), np.nan)], "1e300": [np.full((6, 3), 1e300)],
      "complex": [np.full((6, 3), 1j)], "ragged": [[[1], [1, 2]]]}),
    ("observed must", lambda v: machine(observed=v),
     {"x": "text", "3": 3, "none": [], "beyond": [2], "-1": [-1], "1.5": [1.5], "twice": [0, 0]}),
    ("layers must", lambda v: model().replace(layers=v), {"x": "text", "3": 3}),
    ("states must be a sequence", dg.Particles, {"x": "text", "3": 3, "None": None}),
    (r"states(\[0\])? must|states\[0\] is a masked", dg.Particles,
     {"row": [np.zeros(3)], "x": [["text"]], "number": [3], "ragged": [[[1], [1, 2]]],
      "masked": [np.ma.array(X, mask=X == 1)], "counts": [X[:2], X[:3]]}),
    ("bias_rows must be a dict", lambda v: dg.Context(bias_rows=v), {**OBJECT, "list": [X]}),
    ("held must be a dict", lambda v: dg.Context(held=v), OBJECT),
    (r"bias_rows\[0\] (must|is)", lambda v: gibbs(context=dg.Context(bias_rows={0: v})),
     {k: v for k, v in ARRAYS.items() if k != "None"}),
    (r"held\[0\] must", lambda v: gibbs(context=dg.Context(held={0: v})),
     {"7": np.full((5, 6), 7), "half": np.full((5, 6), 0.5), "shape": np.ones((4, 6), bool)}),
    ("beta must", lambda v: gibbs(context=dg.Context(beta=v)),
     {"x": "text", "shape": [1.0], "NaN": [np.nan] * 5, "one": 0.5}),
    (r"base(\[0\])? must", lambda v: gibbs(context=dg.Context(base=v)),
     {"x": "text", "3": 3, "one": [dg.Binary(6)], "sizes": [dg.Binary(5), dg.Binary(3)]}),
    ("key must be", dg.Stream, {**INTEGER, "-1": -1, "2**64": 2**64}),
    ("position must be", lambda v: dg.Stream(0, v), {**INTEGER, "-1": -1, "2**64": 2**64}),
    ("name must be", dg.Stream(0).child, {"1.5": 1.5, "None": None, "[1]": [1], "True": True}),
    ("name must be", lambda v: dg.child_seed(0, v), {"1.5": 1.5, "None": None, "[1]": [1]}),
    ("random_state must", lambda v: dg.child_seed(v, "a"), SEEDS),
    ("n must be", dg.set_num_threads, THREADS),
    # samplers and likelihoods
    *[("model must be a dg.BoltzmannMachine", call, {**OBJECT, "None": None, "RBM": dg.RBM()})
      for call in (
          lambda v: dg.gibbs(v, particles()), lambda v: dg.free_energy(v, X),
          dg.exact_log_partition, lambda v: dg.exact_log_likelihood(v, X), dg.ais,
          lambda v: dg.reverse_ais(v, particles()), dg.base_rates, dg.log_partition_bracket,
          lambda v: dg.conditional_model(v, {0: X[0]}),
          lambda v: dg.pseudo_log_likelihood(v, X), dg.Trajectory,
          lambda v: dg.Trajectory(model(), 3, random_state=0).advance(v, 2))],
    *[(r"particles(\[.\])? must", call,
       {**OBJECT, "layers": dg.Particles([X]), "width": dg.Particles([X, X]),
        "grey": dg.Particles([X * 0.5, X[:, :3]]), "range": dg.Particles([X * 7, X[:, :3]]),
        "NaN": dg.Particles([X * np.nan, X[:, :3]])})
      for call in (
          lambda v: dg.gibbs(model(), v), lambda v: dg.reverse_ais(model(), v, n_betas=3),
          lambda v: dg.log_partition_bracket(model(), v, n_betas=3, exact=False),
          lambda v: dg.Trajectory(model(), 3, random_state=0).advance(model(), 2, v))],
    *[("X (must|is)", call, {**ARRAYS, "width": X[:, :5], "7": 7 * X,
       "damaged": csr("indices", 1, 99)})
      for call in (
          lambda v: dg.free_energy(model(), v), lambda v: dg.exact_log_likelihood(model(), v),
          lambda v: dg.pseudo_log_likelihood(model(), v))],
    ("X (must|is)", lambda v: dg.base_rates(model(), v),
     {**{k: v for k, v in ARRAYS.items() if k != "None"}, "no rows": X[:0], "7": 7 * X}),
    ("n_sweeps must be", lambda v: gibbs(n_sweeps=v), {**INTEGER, "-1": -1}),
    ("first_row must be", lambda v: gibbs(first_row=v), {**INTEGER, "-1": -1, "2**63": 2**63}),
    ("clamp must", lambda v: gibbs(clamp=v),
     {"x": "text", "3": 3, "None": None, "beyond": [2], "1.5": [1.5], "-1": [-1]}),
    ("context must be a dg.Context", lambda v: gibbs(context=v), OBJECT),
    ("context must be a dg.Context", lambda v: dg.free_energy(model(), X, context=v), OBJECT),
    ("random_state must", lambda v: gibbs(random_state=v), SEEDS),
    *[("n_threads must be", call, THREADS)
      for call in (
          lambda v: gibbs(n_threads=v), lambda v: dg.free_energy(model(), X, n_threads=v),
          lambda v: dg.exact_log_partition(model(), n_threads=v),
          lambda v: dg.ais(model(), n_betas=3, n_threads=v),
          lambda v: dg.log_partition_bracket(model(), n_threads=v),
          lambda v: dg.pseudo_log_likelihood(model(), X, n_threads=v),
          lambda v: dg.Trajectory(model(), n_threads=v),
          lambda v: dg.LikelihoodMonitor(n_threads=v))],
    *[("n_chains must be", call, POSITIVE)
      for call in (
          lambda v: dg.ais(model(), n_chains=v), lambda v: dg.Trajectory(model(), v),
          lambda v: dg.LikelihoodMonitor(n_chains=v))],
    ("n_chains must be", lambda v: dg.log_partition_bracket(model(), n_chains=v), COUNT),
    ("n_betas must", lambda v: dg.ais(model(), n_betas=v),
     {"x": "text", "1": 1, "True": True, "falling": [0.0, 0.7, 0.3, 1.0],
      "NaN": [0.0, np.nan, 1.0]}),
    ("base must be", lambda v: dg.ais(model(), n_betas=3, base=v),
     {**OBJECT, "size": dg.Binary(5)}),
    *[("summed_out must be", call, {**OBJECT, "both": "both", "list": ["odd"]})
      for call in (
          lambda v: dg.ais(model(), n_betas=3, summed_out=v),
          lambda v: dg.reverse_ais(model(), particles(), n_betas=3, summed_out=v))],
    ("states must be a dict", lambda v: dg.conditional_model(model(), v),
     {"x": "text", "None": None, "vector": X[0], "beyond": {2: X[0]}, "name": {"v": X[0]}}),
    (r"states\[0\] (must|is)", lambda v: dg.conditional_model(model(), {0: v}),
     {**VECTORS, "row": X[:1], "grey": X[0] * 0.5, "7": X[0] * 7, "NaN": X[0] * np.nan}),
    ("n_sweeps must be", lambda v: dg.reverse_ais(model(), particles(), n_betas=3, n_sweeps=v),
     {**INTEGER, "-1": -1}),
    ("exact must be", lambda v: dg.log_partition_bracket(model(), exact=v), {"x": "text", "1": 1}),
    ("log_partition must be", lambda v: dg.exact_log_likelihood(model(), X, log_partition=v),
     {"x": "text", "NaN": np.nan, "inf": np.inf, "[1]": [1.0]}),
    ("n_sites must be", lambda v: dg.pseudo_log_likelihood(model(), X, n_sites=v),
     {k: v for k, v in POSITIVE.items() if k != "None"}),
    ("n_steps must be", lambda v: dg.Trajectory(model(), 3).advance(model(), v), POSITIVE),
    ("model must be of the form", lambda v: dg.Trajectory(model(), 3).advance(v, 2),
     {"size": dg.BoltzmannMachine([dg.Binary(5), dg.Binary(3)], [np.zeros((5, 3))])}),
    ("n_steps must be", lambda v: dg.LikelihoodMonitor(n_steps=v), POSITIVE),
    ("random_state must", lambda v: dg.LikelihoodMonitor(random_state=v), SEEDS),
    ("X (must|is)", dg.LikelihoodMonitor,
     {"x": "text", "3": 3, "row": X[0], "ragged": [[1], [1, 2]]}),
    # rules, optimizers, schedules
    *[("k must be", rule, POSITIVE) for rule in (dg.CD, dg.PCD)],
    ("n_particles must be", lambda v: dg.PCD(n_particles=v), POSITIVE),
    ("centring must be", lambda v: dg.CD(centring=v), FLAGS),
    ("offset_rate must be", lambda v: dg.CD(offset_rate=v), {**SHARE, "0": 0}),
    ("sparsity must be", lambda v: dg.PCD(sparsity=v), OBJECT),
    ("target must be", dg.Sparsity, {**SHARE, "0": 0, "None": None}),
    ("strength must be", lambda v: dg.Sparsity(0.1, v), {**RATE, "0": 0}),
    ("decay must be", lambda v: dg.Sparsity(0.1, decay=v), {**SHARE, "0": 0}),
    ("value must be", dg.Constant, {**RATE, "None": None}),
    ("start must be", dg.Linear, {**RATE, "None": None}),
    ("end must be", lambda v: dg.Linear(0.1, v), {**RATE, "None": None}),
    ("momentum must be", lambda v: dg.SGD(momentum=v), SHARE),
    *[("weight_decay must be", lambda v, kind=kind: kind(weight_decay=v), RATE)
      for kind in (dg.SGD, dg.Adam)],
    *[("averaging must be", lambda v, kind=kind: kind(averaging=v), SHARE)
      for kind in (dg.SGD, dg.Adam)],
    ("beta1 must be", lambda v: dg.Adam(beta1=v), SHARE),
    ("beta2 must be", lambda v: dg.Adam(beta2=v), SHARE),
    ("epsilon must be", lambda v: dg.Adam(epsilon=v), {**RATE, "0": 0}),
    # data sets
    ("X must", lambda v: dg.datasets.binarize(v, random_state=0),
     {**{k: v for k, v in ARRAYS.items() if k != "masked"}, "ints": X.astype(int), "2": X * 2.0}),
    ("first_row must be", lambda v: dg.datasets.binarize(X, random_state=0, first_row=v), INTEGER),
    ("size must be an integer from 1 to 20", dg.datasets.bars_and_stripes, {**POSITIVE, "21": 21}),
    ("unique must be", lambda v: dg.datasets.bars_and_stripes(3, unique=v), FLAGS),
    ("n_samples must be", dg.datasets.sample_bars_and_stripes, {**INTEGER, "-1": -1}),
    ("size must be", lambda v: dg.datasets.sample_bars_and_stripes(2, v), POSITIVE),
]  # fmt: skip
TABLE = table_of(ARGUMENTS)


@pytest.mark.parametrize("case", TABLE)
def test_bad_arguments_are_refused_by_name(case):
    """Would catch an AttributeError from deep inside, a silent conversion, and a check that
    comes after the work."""
    call, value, message = TABLE[case]
    refused(lambda: call(value), message)


@pytest.mark.parametrize("kind", ["binary", "gaussian", "softmax"])
def test_nothing_in_the_table_has_changed_an_estimator(kind):
    """Would catch a refused call that leaves its mark on a shared estimator or model."""
    fresh = fitted.__wrapped__(kind)
    rows = {"binary": X, "gaussian": REAL, "softmax": ONE_HOT}[kind]
    assert np.array_equal(fitted(kind).transform(rows), fresh.transform(rows))
    assert set(vars(fitted(kind))) == set(vars(fresh))


@pytest.mark.parametrize(
    "method",
    ["transform", "inverse_transform", "free_energy", "score_samples", "score", "impute", "save",
     "sample", "log_partition", "get_feature_names_out"],
)  # fmt: skip
def test_what_is_not_fitted_says_so(method, tmp_path):
    """Would catch an AttributeError for `model_`, which does not tell what to do."""
    argument = {"sample": 2, "save": tmp_path / "a", "log_partition": None}.get(method, X)
    call = getattr(dg.RBM(), method)
    with pytest.raises(NotFittedError, match=r"RBM instance is not fitted yet\. Call 'fit'"):
        call() if argument is None or method == "get_feature_names_out" else call(argument)
    assert not list(tmp_path.iterdir())


def test_paths_that_are_not_there_are_named(tmp_path):
    """Would catch another error than that of the system, or a file left behind."""
    for path in (tmp_path / "none", tmp_path, tmp_path / "no folder" / "a"):
        with pytest.raises(OSError, match=str(tmp_path)):
            dg.load(path)
    for path in (tmp_path, tmp_path / "no folder" / "a"):
        with pytest.raises(OSError, match=str(tmp_path)):
            fitted("binary").save(path)
    assert not list(tmp_path.iterdir())


def test_the_table_is_as_large_as_promised():
    """Would catch rows that are lost because two have one name."""
    assert len(TABLE) == sum(len(values) for _, _, values in ARGUMENTS) > 400
    assert len(ESTIMATOR_ROWS) > 200


def test_what_the_table_refuses_is_not_what_people_have():
    """Would catch checks that refuse NumPy's own numbers, bools of NumPy and path-like names."""
    rbm = dg.RBM(
        np.int64(3), learning_rate=np.float32(0.1), batch_size=np.uint8(10), n_epochs=np.int8(1),
        binarize=np.bool_(False), random_state=np.int64(0), n_threads=np.int32(1),
    ).fit(X)  # fmt: skip
    assert np.array_equal(rbm.transform(X), dg.RBM(learning_rate=0.1 + 1.490116e-9, **SMALL)
                          .fit(X).transform(X))  # fmt: skip
    assert pickle.loads(pickle.dumps(rbm)).sample(np.int64(2), n_sweeps=np.uint8(2)).shape == (2, 6)
    assert dg.CD(np.int64(1), centring=True, offset_rate=np.float64(0.5)).k == 1
