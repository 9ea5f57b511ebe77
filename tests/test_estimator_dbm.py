"""The deep Boltzmann machine as an estimator: learning, labels, streams, stops, settings."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from comparisons import assert_same_model, without_seconds
from conftest import Batches, assert_same_bits
from scipy import sparse
from sklearn.base import clone
from stops import At, Stop, fail

import deepgen as dg
from deepgen.estimators.dbm import SETTLE
from deepgen.estimators.dbm_settings import UPPER_RATE
from deepgen.layers.binary import Binary
from deepgen.learning.machines import Trainer
from deepgen.learning.starts import first_hidden, initial_deep_model
from deepgen.rows.sources import ArrayRows
from deepgen.rows.survey import survey
from deepgen.runtime.stream import Stream
from deepgen.stacks.composition import compose
from deepgen.stacks.trainer import pretrain

pytestmark = pytest.mark.usefixtures("serial")

TINY = {"n_hidden": (8, 5), "n_epochs": 2, "batch_size": 50, "random_state": 3}
GREEDY = [dg.Pretraining(2, batch_size=50), dg.Pretraining(1, batch_size=50)]
KINDS = {
    "plain": {"pretrained": None},
    "labels": {"pretrained": None, "label_units": True, "unlabelled": -1},
    "greedy": {"pretrained": GREEDY},
    "greedy labels": {"pretrained": GREEDY, "label_units": True, "unlabelled": -1},
}


@pytest.fixture
def y():
    """Labels 0, 1, 2, and none for every fourth row."""
    labels = np.arange(130) % 3
    labels[::4] = -1
    return labels


def assert_same_dbm(one, other):
    """Compare parameters, particles and updates, bit for bit."""
    assert_same_model(one.model_, other.model_)
    for a, b in zip(one._fitted.particles.states, other._fitted.particles.states, strict=True):
        assert_same_bits(a, b)
    assert one.n_updates_ == other.n_updates_


# --- learning ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"n_epochs": 140, "learning_rate": dg.Linear(0.1, 0.0), "pretrained": None},
        {
            "n_epochs": 100, "learning_rate": dg.Linear(0.05, 0.0),
            "pretrained": dg.Pretraining(
                40, learning_rate=dg.Linear(0.05, 0.0), optimizer=dg.SGD(momentum=0.9)
            ),
        },
    ],
    ids=["random weights", "greedy start"],
)  # fmt: skip
def test_training_raises_the_exact_likelihood_of_bars_and_stripes(settings):
    """Would catch a gradient of the wrong sign, of one neighbour only, or of other particles.

    Independent pixels have -6.24 nats, the distribution itself -2.64; -2.86 and -3.10 are reached.
    """
    patterns = dg.datasets.bars_and_stripes(3)
    p = patterns.mean(axis=0)
    independent = (patterns * np.log(p) + (1 - patterns) * np.log1p(-p)).sum(axis=1).mean()
    optimizer = dg.SGD(momentum=0.9, rates=(1.0, 1.0))
    dbm = dg.DBM((12, 8), optimizer=optimizer, random_state=0, **settings)
    dbm.fit(np.tile(patterns, (50, 1)))
    likelihood = dg.exact_log_likelihood(dbm.model_, patterns).mean()
    assert independent + 2.8 < likelihood < -np.log(len(patterns))


def test_fit_equals_the_core_by_hand(rows):
    """Would catch a default, a seed or a start that differs from what the docs say."""
    dbm = dg.DBM(**TINY, pretrained=None).fit(rows)
    n_rows, mean, variance = survey(ArrayRows(rows), dg.Binary(12))
    stream = Stream.from_random_state(dg.child_seed(3, "joint"))
    layers = [dg.Binary(12), *(first_hidden(Binary(n)) for n in (8, 5))]
    model = initial_deep_model(layers, mean, variance, n_rows, stream)
    run = Trainer(
        model, dg.MeanFieldPCD(), dg.SGD(rates=(1.0, UPPER_RATE)), dg.Linear(0.1, 0.0),
        stream=stream, batch_size=50,
    )  # fmt: skip
    run.fit(ArrayRows(rows), 2)
    for one, other in zip(run.model().weights, dbm.model_.weights, strict=True):
        assert_same_bits(one, other)
    assert [entry["epoch"] for entry in dbm.history_] == [1, 2]
    assert dbm.n_updates_ == 6


def test_a_greedy_fit_equals_the_core_by_hand(rows):
    """Would catch machines without tied copies, particles that start from noise, offsets from
    the biases of a trained model, and settings that do not reach their layer."""
    rule, optimizer = dg.MeanFieldPCD(2, n_particles=30), dg.Adam()
    dbm = dg.DBM(**TINY, rule=rule, optimizer=optimizer, learning_rate=0.01, pretrained=GREEDY)
    dbm.fit(rows)
    layers = [dg.Binary(12), dg.Binary(8), dg.Binary(5)]
    stack = pretrain(
        ArrayRows(rows), layers, GREEDY, random_state=dg.child_seed(3, "stack"), tied=True
    )
    run = Trainer(
        compose(stack), rule, optimizer, dg.Constant(0.01),
        stream=Stream.from_random_state(dg.child_seed(3, "joint")), batch_size=50,
    )  # fmt: skip
    run.begin_trained(rows, SETTLE)
    run.fit(ArrayRows(rows), 2)
    for one, other in zip(run.model().weights, dbm.model_.weights, strict=True):
        assert_same_bits(one, other)
    assert [entry.get("layer") for entry in dbm.history_] == [0, 0, 1, None, None]
    again = dg.DBM(**{**TINY, "n_epochs": 1}, pretrained=dbm.model_).fit(rows)
    assert np.abs(again.model_.weights[0] - dbm.model_.weights[0]).max() < 0.2


@pytest.mark.parametrize("label_units", [False, True])
def test_auto_is_a_greedy_start_of_deep_machines_only(label_units, rows, y):
    """Would catch one hidden layer that is stacked, so no longer an RBM, or a default that is not
    the one of the docs."""
    settings = {**TINY, "label_units": label_units}
    for n_hidden, same, other in (
        ((8, 5), dg.Pretraining(2, batch_size=50), None), ((8,), None, GREEDY[:1]), (8, None, None),
    ):  # fmt: skip
        auto = dg.DBM(**{**settings, "n_hidden": n_hidden}).fit(rows, y)
        by_hand = dg.DBM(**{**settings, "n_hidden": n_hidden}, pretrained=same).fit(rows, y)
        assert_same_dbm(auto, by_hand)
        assert without_seconds(auto.history_) == without_seconds(by_hand.history_)
        if other is not same:
            third = dg.DBM(**{**settings, "n_hidden": n_hidden}, pretrained=other).fit(rows, y)
            assert (third.model_.weights[0] != auto.model_.weights[0]).any()


def test_a_stream_with_auto_starts_from_random_weights(rows, tmp_path):
    """Would catch a stream refused, or a kept one that another spelling cannot go on with."""
    auto, plain = (dg.DBM(**TINY, pretrained=start) for start in ("auto", None))
    assert_same_dbm(auto.partial_fit(rows), plain.partial_fit(rows))
    auto.save_checkpoint(tmp_path / "stream")
    plain.load_checkpoint(tmp_path / "stream")
    assert_same_dbm(auto.partial_fit(rows), plain.partial_fit(rows))


def test_a_run_with_auto_goes_on_under_another_spelling(rows, tmp_path):
    """Would catch checkpoints that compare words in place of the start that they stand for."""
    path = tmp_path / "run"
    callbacks = [dg.Checkpoint(path, minutes=None), At(fail, layer=1, update=2)]
    with pytest.raises(Stop):
        dg.DBM(**TINY, pretrained="auto", callbacks=callbacks).fit(rows)
    spelled = dg.DBM(**TINY, pretrained=dg.Pretraining(2, batch_size=50)).fit(rows, resume=path)
    assert_same_dbm(spelled, dg.DBM(**TINY, pretrained="auto").fit(rows))
    with pytest.raises(ValueError, match="pretrained is"):
        dg.DBM(**TINY, pretrained=None).fit(rows, resume=path)


def test_grey_rows_are_drawn_anew_in_the_greedy_start_too(rows):
    """Would catch `binarize` of a Pretraining that is silently put back, or that of the DBM
    which does not reach the lowest machine."""
    grey = 0.2 + 0.6 * rows.astype(np.float32)
    start = dg.Pretraining(1, batch_size=50)
    both = dg.DBM(**TINY, pretrained=start, binarize=True).fit(grey)
    drawn = dg.Pretraining(1, batch_size=50, binarize=True)
    assert_same_dbm(both, dg.DBM(**TINY, pretrained=drawn, binarize=True).fit(grey))
    weights = [
        dg.DBM(**TINY, pretrained=each).fit(grey).model_.weights[0] for each in (start, drawn)
    ]
    assert (weights[0] != weights[1]).any()


@pytest.mark.parametrize("kind", ["labels", "greedy labels"])
def test_the_bits_do_not_depend_on_threads_or_on_how_rows_are_stored(
    kind, rows, y, threaded, tmp_path, monkeypatch
):
    """Would catch draws or sums cut by threads, and sparse or mapped rows that learn otherwise."""
    monkeypatch.setattr("deepgen.estimators.dbm.SETTLE", 3)  # threads wait much where work is tiny
    settings = {**TINY, **KINDS[kind], "n_epochs": 1}
    whole = dg.DBM(**settings, n_threads=1).fit(rows, y)
    other = dg.DBM(**settings, n_threads=2 if "greedy" in kind else 3).fit(rows, y)
    assert_same_dbm(whole, other)
    assert_same_bits(whole.transform(rows), other.transform(rows))
    mapped = np.memmap(tmp_path / "rows", np.uint8, "w+", shape=rows.shape)
    mapped[...] = rows
    for other in (sparse.csr_array(rows), mapped, rows.astype(np.float64)):
        assert_same_dbm(whole, dg.DBM(**settings, n_threads=1).fit(other, y))


def test_batches_and_other_visible_units(rows, y):
    """Would catch a machine that takes arrays of binary rows only."""
    batches = Batches(*np.split(rows, [40, 80, 120]))
    dbm = dg.DBM(**TINY, pretrained=GREEDY).fit(batches)
    assert dbm.n_updates_ == 6
    with pytest.raises(ValueError, match="X must be an array or a sparse matrix where label_units"):
        dg.DBM(**TINY, label_units=True, unlabelled=-1).fit(batches, y)
    real = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    for start in (None, dg.Pretraining(1)):
        dbm = dg.DBM((5, 3), visible="gaussian", n_epochs=1, random_state=0, pretrained=start)
        assert isinstance(dbm.fit(real).model_.visible, dg.Gaussian)
        assert dbm.model_.visible.learn_precision
    one_hot = np.eye(3, dtype=np.uint8)[np.random.default_rng(0).integers(0, 3, (60, 2))]
    dbm = dg.DBM(5, visible=dg.Softmax(3), n_epochs=1, random_state=0)
    assert dbm.fit_transform(one_hot.reshape(60, 6)).shape == (60, 5)


# --- labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_hidden", "settings", "least"),
    [
        ((12,), {"n_epochs": 30}, 0.9),
        (
            (12, 8),
            {
                "n_epochs": 20,
                "pretrained": dg.Pretraining(
                    15, learning_rate=dg.Linear(0.05, 0.0), batch_size=50,
                    optimizer=dg.SGD(momentum=0.9),
                ),
            },
            0.5,
        ),
    ],
    ids=["one layer", "two layers"],
)  # fmt: skip
def test_labels_are_learned_from_rows_of_which_half_have_one(n_hidden, settings, least):
    """Would catch label units that hear nothing, or missing labels that are taken for a class.

    Four patterns with a tenth of their bits flipped: chance is 0.25; 0.99 and 0.75 are reached.
    """
    rng = np.random.default_rng(0)
    patterns, digits = rng.random((4, 20)) < 0.5, rng.integers(0, 4, 900)
    X = (patterns[digits] ^ (rng.random((900, 20)) < 0.1)).astype(np.uint8)
    names = np.array(["north", "east", "south", "west"])[digits]
    y = np.where(rng.random(900) < 0.5, names, "none")
    dbm = dg.DBM(
        n_hidden, label_units=True, unlabelled="none", batch_size=50, random_state=0,
        learning_rate=dg.Linear(0.05, 0.0),
        optimizer=dg.SGD(momentum=0.9, rates=(1.0,) * (len(n_hidden) + 1)), **settings,
    ).fit(X[:600], y[:600])  # fmt: skip
    assert dbm.classes_.tolist() == ["east", "north", "south", "west"]
    assert np.mean(dbm.predict(X[600:]) == names[600:]) > least
    np.testing.assert_allclose(dbm.predict_proba(X).sum(axis=1), 1.0, atol=1e-5)
    assert dbm.transform(X).shape == (900, n_hidden[-1])
    assert [means.shape[1] for means in dbm.posterior(X[:2])] == [*n_hidden, 4]


@pytest.mark.parametrize(
    ("labels", "unlabelled", "classes"),
    [
        (["b", "a", -1, "b"], -1, ["a", "b"]), (["b", "a", "", "b"], "", ["a", "b"]),
        ([2, 0, -1, 2], -1, [0, 2]), ([2, 0, -1, 2], None, [-1, 0, 2]),
        ([True, False, True, True], -1, [False, True]), ([1.0, 3.0, -1.0, 3.0], -1, [1.0, 3.0]),
    ],
)  # fmt: skip
def test_labels_of_any_type(labels, unlabelled, classes, rows, tmp_path):
    """Would catch a list of texts and -1 that becomes a class "-1", and files that lose types."""
    settings = {**TINY, "label_units": True, "unlabelled": unlabelled}
    dbm = dg.DBM(**settings).fit(rows[:4], labels)
    assert dbm.classes_.tolist() == classes
    as_array = np.array(labels, object if "a" in labels else None)
    assert_same_dbm(dbm, dg.DBM(**settings).fit(rows[:4], as_array))
    assert set(dbm.predict(rows).tolist()) <= set(classes)
    dbm.save(tmp_path / "dbm")
    loaded = dg.load(tmp_path / "dbm")
    assert loaded.classes_.tolist() == classes
    assert loaded.predict(rows).tolist() == dbm.predict(rows).tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "y must hold a label for each row where label_units is True, got None"),
        (np.full(130, -1), r"got none: \[\]; -1 stands for rows without a label"),
        (np.zeros(130, int), r"at least 2 classes, got 1 class: \[0\]"),
        (np.zeros((130, 2), int), r"y must have shape \(130,\), got \(130, 2\)"),
        (np.arange(5), r"y must have shape \(130,\), got \(5,\)"),
        (np.linspace(0, 1, 130), "y cannot be used: Unknown label type: continuous"),
        (np.full(130, np.nan), r"y must hold a label.*got NaN in row 0.*unlabelled=float\('nan'\)"),
        (np.full(130, np.inf), "y must be finite, got inf in row 0"),
    ],
)  # fmt: skip
def test_bad_labels_are_named_before_any_work(labels, message, rows):
    """Would catch a message without a remedy; the estimator stays as it was."""
    dbm = dg.DBM(**TINY, label_units=True, unlabelled=-1)
    before = dict(vars(dbm))
    with pytest.raises(ValueError, match=message):
        dbm.fit(rows, labels)
    assert vars(dbm) == before


def test_label_units_are_those_of_the_fitted_model(rows, y, tmp_path):
    """Would catch features of the label units where a hyper-parameter was changed after fit, a
    file without their classes, and classes that outlive them."""
    dbm = dg.DBM(**TINY, label_units=True, unlabelled=-1).fit(rows, np.where(y > 0, "b", "a"))
    features = dbm.transform(rows)
    dbm.set_params(label_units=False)
    assert_same_bits(dbm.transform(rows), features)
    assert dbm.predict(rows).shape == (130,)
    dbm.save(tmp_path / "dbm")
    assert dg.load(tmp_path / "dbm").classes_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="label_units is False, but partial_fit goes on"):
        dbm.partial_fit(rows)
    dbm.fit(rows, y)
    assert not hasattr(dbm, "classes_")
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        dbm.predict(rows)


# --- streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("label_units", [False, True])
def test_partial_fit_gives_the_same_bits_however_the_calls_are_cut(label_units, form, rows, y):
    """Would catch first rows, labels or counters that depend on the calls; one row at a time
    until there is a batch, too."""
    settings = {**TINY, "batch_size": 20, "label_units": label_units, "unlabelled": -1}
    options = {"classes": [0, 1, 2]} if label_units else {}

    def learn(*cuts):
        dbm = dg.DBM(**settings)
        for start, stop in zip((0, *cuts), (*cuts, 120), strict=True):
            dbm.partial_fit(form(rows[start:stop]), y[start:stop], **options)
        return dbm

    whole = learn()
    assert whole.n_updates_ == 6
    assert_same_dbm(whole, learn(40, 80))
    assert_same_dbm(whole, learn(*range(1, 21)))  # single rows, then all others
    single = dg.DBM(**settings)
    for i in range(3):
        single.partial_fit(form(rows[i : i + 1]), y[i : i + 1], **options)
    assert np.isfinite(single.transform(rows)).all()


def test_a_stream_needs_its_classes_first_and_keeps_them(rows, y):
    """Would catch classes that grow in silence, or labels that get the place of another one."""
    dbm = dg.DBM(**TINY, label_units=True, unlabelled=-1)
    with pytest.raises(ValueError, match="classes must hold all labels in the first call"):
        dbm.partial_fit(rows, y)
    for classes, message in (
        ([0], "classes must hold at least 2 different labels"), ([0, 0], "different labels"),
        ([[0], [1, 2]], "classes must hold"), ([{}, []], "classes must hold"),
        ([-1, 0, 1, 2], "classes must not hold -1"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            dbm.partial_fit(rows, y, classes=classes)
    assert not hasattr(dbm, "classes_")
    dbm.partial_fit(rows, np.full(130, -1), classes=[2, 0, 1])
    assert dbm.classes_.tolist() == [0, 1, 2]
    dbm.partial_fit(rows, y).partial_fit(rows, y, classes=np.arange(3))
    with pytest.raises(ValueError, match=r"y must hold labels of \[0, 1, 2\], got 7"):
        dbm.partial_fit(rows, y + 8)
    with pytest.raises(ValueError, match=r"classes must stay \[0, 1, 2\]"):
        dbm.partial_fit(rows, y, classes=[0, 1])
    with pytest.raises(ValueError, match="partial_fit cannot start greedily"):
        dg.DBM(**TINY, pretrained=GREEDY).partial_fit(rows)


@pytest.mark.parametrize("kind", ["plain", "labels"])
def test_a_stream_goes_on_after_fit_and_in_a_copy(kind, rows, y):
    """Would catch partial_fit that begins anew after `fit`, or state that a pickle loses."""
    dbm = dg.DBM(**TINY, **KINDS[kind]).fit(rows, y)
    before = dbm.model_
    dbm.partial_fit(rows[:50], y[:50])
    assert dbm.n_updates_ == 7
    assert 0 < np.abs(dbm.model_.weights[0] - before.weights[0]).max() < 0.1
    copy = pickle.loads(pickle.dumps(dbm))
    assert_same_dbm(dbm.partial_fit(rows[50:], y[50:]), copy.partial_fit(rows[50:], y[50:]))
    with pytest.raises(ValueError, match="rule was MeanFieldPCD"):
        copy.set_params(rule=dg.MeanFieldPCD(2)).partial_fit(rows, y)
    for n_hidden, message in (
        ((8,), "n_hidden asks for 1 layers"), ((8, 6), r"n_hidden\[1\] asks for Binary\(size=6\)"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            dg.DBM(**TINY).fit(rows).set_params(n_hidden=n_hidden).partial_fit(rows)


def test_a_stream_from_a_model_begins_as_fit_does(rows):
    """Would catch a trained model whose stream centres on its biases, not on the rows."""
    start = dg.DBM(**TINY).fit(rows).model_
    dbm = dg.DBM(**TINY, pretrained=start).partial_fit(rows[:50])
    offsets = dbm._fitted.stream.rule_state.offsets
    assert_same_bits(np.asarray(offsets[0]), rows[:50].mean(axis=0).astype(np.float32))


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("n_before", [3, 40])
@pytest.mark.parametrize("kind", ["plain", "labels"])
def test_a_kept_stream_goes_on_with_the_same_bits(kind, n_before, form, rows, y, tmp_path):
    """Would catch a stream that loses labels, classes, particles, or its few first rows."""
    settings = {**TINY, **KINDS[kind], "batch_size": 20}
    options = {"classes": [2, 0, 1]} if kind == "labels" else {}
    whole = dg.DBM(**settings)
    whole.partial_fit(form(rows[:n_before]), y[:n_before], **options)
    whole.save_checkpoint(tmp_path / "stream")
    again = dg.DBM(**{**settings, "random_state": None}).load_checkpoint(tmp_path / "stream")
    assert_same_dbm(again, whole)
    for dbm in (whole, again):
        dbm.partial_fit(form(rows[n_before:]), y[n_before:])
    assert_same_dbm(again, whole)
    if kind == "labels":
        assert (again.predict(rows) == whole.predict(rows)).all()


def test_a_stream_that_begins_after_a_greedy_fit_can_be_kept(rows, y, tmp_path):
    """Would catch a checkpoint that forgets the fitted model, its centring or its classes, a
    greedy start that is taken for a model, and a file whose writing changes what follows."""
    names = np.array(["none", "a", "b", "c"])[y + 1]
    settings = {**TINY, "label_units": True, "unlabelled": "none", "pretrained": GREEDY}
    dbm = dg.DBM(**settings).fit(rows, names)
    dbm.save_checkpoint(tmp_path / "stream")
    again = dg.DBM(**settings).load_checkpoint(tmp_path / "stream")
    assert_same_dbm(again, dbm)
    assert again.classes_.tolist() == ["a", "b", "c"]
    assert (again.predict_proba(rows) == dbm.predict_proba(rows)).all()
    straight_on = dg.DBM(**settings).fit(rows, names).partial_fit(rows, names)
    assert_same_dbm(dbm.partial_fit(rows, names), straight_on)
    assert_same_dbm(again.partial_fit(rows, names), straight_on)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("label_units", [False, True])
def test_a_stream_is_not_kept_with_label_units_that_its_model_has_not(
    label_units, streamed, rows, y, tmp_path
):
    """Would catch a file that no estimator can read, or an error about a missing attribute."""
    dbm = dg.DBM(**TINY, pretrained=None, label_units=label_units, unlabelled=-1)
    if streamed:
        dbm.partial_fit(rows, y, classes=[0, 1, 2])
    else:
        dbm.fit(rows, y)
    dbm.set_params(label_units=not label_units)
    with pytest.raises(ValueError, match=f"label_units is {not label_units}, but partial_fit"):
        dbm.save_checkpoint(tmp_path / "stream")
    assert not (tmp_path / "stream").exists()


def test_a_kept_stream_of_something_else_is_refused_by_name(rows, y, tmp_path):
    """Would catch a stream read with other layers or classes, which fails deep inside."""
    path = tmp_path / "stream"
    dg.DBM(**TINY).partial_fit(rows).save_checkpoint(path)
    for settings, message in (
        ({"n_hidden": (8, 6)}, r"n_hidden is \[8, 6\]"), ({"batch_size": 10}, "batch_size is 10"),
        ({"random_state": 4}, "random_state is 4"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            dg.DBM(**{**TINY, **settings}).load_checkpoint(path)
    with pytest.raises(ValueError, match="label_units is True here and False there"):
        dg.DBM(**TINY, label_units=True, unlabelled=-1).load_checkpoint(path)
    dg.RBM(8, random_state=3).partial_fit(rows).save_checkpoint(path)
    with pytest.raises(ValueError, match="estimator is"):
        dg.DBM(**TINY).load_checkpoint(path)


# --- stopped and resumed ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_stopped_anywhere_ends_with_the_same_bits(kind, rows, y, tmp_path):
    """Would catch a layer, a place, labels or finished machines that a checkpoint forgets."""
    path, resume = tmp_path / "run", None
    settings = {**TINY, **KINDS[kind]}
    whole = dg.DBM(**settings).fit(rows, y)
    places = [(0, 4), (1, 2)] if "greedy" in kind else []
    for layer, update in [*places, (None, 2), (None, 5)]:
        callbacks = [dg.Checkpoint(path, minutes=None), At(fail, layer=layer, update=update)]
        dbm = dg.DBM(**{**settings, "random_state": None if resume else 3}, callbacks=callbacks)
        with pytest.raises(Stop):
            dbm.fit(rows, y, resume=resume)
        assert hasattr(dbm, "model_") == (layer is None)
        resume = path
    for _ in range(2):  # the second time it has ended already
        other = dg.DBM(**settings, callbacks=[dg.Checkpoint(path)]).fit(rows, y, resume=path)
        assert_same_dbm(whole, other)
        assert without_seconds(whole.history_) == without_seconds(other.history_)


@pytest.mark.parametrize("layer", [1, None])
def test_a_checkpoint_of_another_run_is_refused_by_name(layer, rows, y, tmp_path):
    """Would catch a run that goes on with other layers, settings, labels or rows."""
    path, settings = tmp_path / "run", {**TINY, **KINDS["greedy labels"]}
    stopping = At(fail, layer=layer, update=1)
    with pytest.raises(Stop):
        dg.DBM(**settings, callbacks=[dg.Checkpoint(path), stopping]).fit(rows, y)
    for change, message in (
        ({"n_hidden": (8, 6)}, "n_hidden is"), ({"rule": dg.MeanFieldPCD(3)}, "rule is"),
        ({"pretrained": None}, "pretrained is"), ({"n_epochs": 3}, "n_epochs is 3 here and 2"),
        ({"random_state": 4}, "random_state is 4 here"), ({"binarize": True}, "binarize is"),
        ({"label_units": False}, "label_units is False here and True there"),
    ):  # fmt: skip
        dbm = dg.DBM(**{**settings, **change})
        with pytest.raises(ValueError, match=message):
            dbm.fit(rows, y, resume=path)
        assert not hasattr(dbm, "model_")
    with pytest.raises(ValueError, match="y is"):
        dg.DBM(**settings).fit(rows, y[::-1].copy(), resume=path)
    with pytest.raises(ValueError, match="other rows"):
        dg.DBM(**settings).fit(rows[::-1].copy(), y, resume=path)
    with pytest.raises(ValueError, match="estimator is RBM here and DBM there"):
        dg.RBM(8).fit(rows, resume=path)
    dg.DBM(**{**settings, "rule": dg.MeanFieldPCD(), "n_hidden": np.array([8, 5])}).fit(
        rows, y, resume=path
    )  # the same settings, said in another way


def test_callbacks_for_two_layers_are_refused_before_the_greedy_start(rows):
    """Would catch minutes of greedy training before a message, or one at the end of an epoch."""
    for callback in (
        dg.LikelihoodMonitor(rows[:20]), dg.FreeEnergyGap(rows[:9], rows[9:]),
        dg.EarlyStopping(rows[:20]),
    ):  # fmt: skip
        for kind in ("plain", "greedy"):
            seen = []
            dbm = dg.DBM(**TINY, **KINDS[kind], callbacks=[callback, seen.append])
            with pytest.raises(ValueError, match=r"needs a machine of two layers.*got 3; watch"):
                dbm.fit(rows)
            assert not seen
    watch = dg.EarlyStopping(
        lambda m: dg.variational_bound(
            m, rows, log_partition=dg.exact_log_partition(m).value
        ).mean(), patience=1, min_delta=1e9,
    )
    settings = {**TINY, "n_epochs": 9, "pretrained": None}
    assert len(dg.DBM(**settings, callbacks=[watch]).fit(rows).history_) == 2


# --- settings ---------------------------------------------------------------------------------


def machine(*sizes, top=None, observed=(0,), copies=1):
    layers = [dg.Binary(sizes[0], n_copies=copies), *map(dg.Binary, sizes[1:])]
    layers += [] if top is None else [top]
    sizes = [layer.size for layer in layers]
    weights = [np.zeros((a, b)) for a, b in pairwise(sizes)]
    return dg.BoltzmannMachine(layers, weights, observed=observed)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_hidden": ()}, "n_hidden must be"), ({"n_hidden": (3, 0)}, "each size in n_hidden"),
        ({"rule": "pcd"}, "^rule must be None or dg.MeanFieldPCD"),
        ({"rule": dg.PCD()}, "^rule must be.*which is for two layers"),
        ({"rule": dg.MeanFieldPCD}, "^rule must be an object"),
        ({"rule": dg.MeanFieldPCD(sparsity=(dg.Sparsity(0.1),))}, "^rule must have sparsity.* 2"),
        ({"optimizer": "adam"}, "^optimizer must be"),
        ({"optimizer": dg.SGD(rates=(1.0,))}, "^optimizer must have rates.* 2 layers"),
        ({"optimizer": dg.SGD(rates=(1.0, 1.0)), "label_units": True}, "of 3 layers.* got 2"),
        ({"learning_rate": -1.0}, "learning_rate must be"), ({"batch_size": 0}, "batch_size must"),
        ({"n_epochs": 0}, "n_epochs must be"), ({"label_units": 1}, "label_units must be"),
        ({"binarize": 1}, "binarize must be"),
        ({"binarize": True, "visible": "gaussian"}, "binarize needs visible='binary'"),
        ({"visible": dg.Binary(n_copies=2)}, "tied copies"), ({"visible": "real"}, "visible"),
        ({"visible": dg.Binary(5)}, "visible does not fit"), ({"callbacks": [3]}, "callbacks"),
        ({"random_state": -1}, "random_state"), ({"n_threads": 0}, "n_threads"),
        ({"pretrained": "rbm"}, "pretrained must be 'auto', None, dg.Pretraining"),
        ({"pretrained": dg.DBM()}, "silently strip it of its weights; pass its model_"),
        ({"pretrained": GREEDY[:1]}, "one dg.Pretraining.* for each of 2 layers"),
        ({"pretrained": dg.Pretraining(transposed=True)}, "transposed is the start of a belief"),
        ({"pretrained": machine(12, 4)}, "pretrained must have the layers"),
        ({"pretrained": machine(12, 4, 3, copies=2)}, "pretrained must have the layers"),
        ({"pretrained": machine(12, 4, 3, observed=(0, 2))}, r"observe layers \(0,\), got"),
        ({"pretrained": machine(12, 4, 3, top=dg.Softmax(3, size=3), observed=(0, 3))},
         "pretrained must have the layers"),
        ({"pretrained": machine(12, 4, 3, 2, observed=(0, 3)), "label_units": True},
         "pretrained must have the layers"),
        ({"pretrained": machine(12, 4, 3, top=dg.Softmax(4, size=4), observed=(0, 3)),
          "label_units": True}, r"Softmax\(size=3.*got.*Softmax\(size=4"),
    ],
)  # fmt: skip
def test_bad_settings_are_named_before_any_work(settings, message, rows, y):
    """Would catch a message that does not name the parameter; nothing may be left behind."""
    dbm = dg.DBM(**{"n_hidden": (4, 3), "unlabelled": -1, **settings})
    before = dict(vars(dbm))
    options = {"classes": [0, 1, 2]} if settings.get("label_units") is True else {}
    for learn in (dbm.fit, lambda rows, y: dbm.partial_fit(rows, y, **options)):
        if learn == dbm.fit or not isinstance(settings.get("pretrained"), list | dg.Pretraining):
            with pytest.raises(ValueError, match=message):
                learn(rows, y)
        assert vars(dbm) == before


def test_a_model_starts_another_one_with_or_without_labels(rows, y):
    """Would catch label units that are lost, doubled, or put on top of other ones."""
    plain = dg.DBM(**TINY).fit(rows).model_
    with_labels = dg.DBM(**TINY, label_units=True, pretrained=plain).fit(rows, y)
    assert with_labels.model_.observed == (0, 3)
    again = dg.DBM(**TINY, label_units=True, pretrained=with_labels.model_).fit(rows, y)
    assert again.model_.n_layers == 4
    assert np.abs(again.model_.weights[2] - with_labels.model_.weights[2]).max() < 0.2


def test_clones_and_copies(rows, y):
    """Would catch a constructor that changes what it is given, or a copy that lost its state."""
    dbm = dg.DBM(**TINY, **KINDS["greedy labels"]).fit(rows, y)
    assert clone(dbm).get_params() == dbm.get_params()
    assert_same_dbm(clone(dbm).fit(rows, y), dbm)
    copy = pickle.loads(pickle.dumps(dbm))
    assert_same_bits(copy.transform(rows), dbm.transform(rows))
    assert_same_bits(copy.sample(3, n_sweeps=2, random_state=0),
                     dbm.sample(3, n_sweeps=2, random_state=0))  # fmt: skip
    one = clone(dg.DBM(n_hidden=np.int64(5), n_epochs=1, pretrained=machine(12, 5))).fit(rows)
    assert one.get_feature_names_out().tolist() == [f"dbm{i}" for i in range(5)]
