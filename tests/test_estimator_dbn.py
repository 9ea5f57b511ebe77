"""The deep belief network as an estimator: layers, streams, stops, files, and what it starts."""

import pickle

import numpy as np
import pytest
from comparisons import assert_same_models, assert_same_network, without_seconds
from conftest import (
    THREADS,
    Batches,
    assert_same_bits,
    random_belief_network,
)
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import cross_val_score
from stops import At, Stop, fail, press_ctrl_c

import deepgen as dg
from deepgen.io import checkpoints, trees
from deepgen.learning.belief_networks import UpDownTrainer
from deepgen.rows.sources import ArrayRows
from deepgen.runtime.stream import Stream

pytestmark = pytest.mark.usefixtures("serial")

TINY = {"n_hidden": (8, 12, 5), "n_epochs": 2, "batch_size": 50, "random_state": 3}


def arrays(dbn):
    """All parameters of the machines of a fitted estimator."""
    return [a for m in dbn.stack_ for a in (*m.weights, *(units.bias for units in m.layers))]


def assert_same_dbn(one, other):
    """Compare parameters, updates and particles, bit for bit."""
    assert_same_models(one.stack_, other.stack_)
    assert one.n_updates_ == other.n_updates_
    for a, b in zip(one._fitted.particles.states, other._fitted.particles.states, strict=True):
        assert_same_bits(a, b)


# --- learning ---------------------------------------------------------------------------------


def test_fit_equals_layers_trained_by_hand(rows):
    """Would catch seeds, rates, starts or features that differ from those of `RBM`."""
    by_layer = {
        "rule": ["cd", dg.PCD(2), "pcd"], "learning_rate": [None, 0.1, dg.Linear(0.1, 0.0)],
        "optimizer": [None, dg.SGD(momentum=0.5), dg.Adam()], "n_epochs": [2, 1, 3],
    }  # fmt: skip
    dbn, features = dg.DBN(**{**TINY, **by_layer}, features="means").fit(rows), rows
    for l, size in enumerate(TINY["n_hidden"]):
        settings = {name: values[l] for name, values in by_layer.items()}
        rbm = dg.RBM(size, batch_size=50, random_state=dg.child_seed(3, l), **settings)
        rbm.fit(features)
        assert_same_bits(rbm.model_.weights[0], dbn.stack_[l].weights[0])
        assert_same_bits(rbm.model_.layers[0].bias, dbn.stack_[l].layers[0].bias)
        features = rbm.transform(features)
    assert_same_bits(dbn.transform(rows), features)
    assert [entry["layer"] for entry in dbn.history_] == [0, 0, 1, 2, 2, 2]
    assert dbn.n_updates_ == [6, 3, 9]
    assert dbn.get_feature_names_out().tolist() == [f"dbn{i}" for i in range(5)]


@pytest.mark.parametrize("features", ["means", "samples"])
def test_the_bits_do_not_depend_on_threads_or_on_how_rows_are_stored(features, rows, threaded):
    """Would catch draws or sums cut by threads, and features of CSR rows that differ."""
    whole = dg.DBN(**TINY, features=features).fit(rows)
    for n_threads in THREADS[1:]:
        other = dg.DBN(**TINY, features=features, n_threads=n_threads).fit(rows)
        assert_same_dbn(whole, other)
        assert_same_bits(whole.transform(rows), other.transform(rows))
    assert_same_dbn(whole, dg.DBN(**TINY, features=features).fit(sparse.csr_array(rows)))
    assert_same_bits(whole.transform(rows), whole.transform(sparse.csr_array(rows)))


def test_layers_read_drawn_states_unless_told_otherwise(rows):
    """Would catch a default that learns another density than the one that is scored."""
    drawn = dg.DBN(**TINY, features="samples").fit(rows)
    assert_same_dbn(dg.DBN(**TINY).fit(rows), drawn)
    means = dg.DBN(**TINY, features="means").fit(rows)
    assert (means.stack_[0].weights[0] == drawn.stack_[0].weights[0]).all()
    assert (means.stack_[1].weights[0] != drawn.stack_[1].weights[0]).any()
    assert dg.Pretraining().features == "means"


def test_batches_of_an_iterable_and_a_memmap_are_learned(rows, tmp_path):
    """Would catch features that need an array, or that keep the rows of a file."""
    dbn = dg.DBN(**TINY).fit(Batches(*np.split(rows, [40, 80, 120])))
    assert dbn.n_updates_ == [6, 6, 6]
    mapped = np.memmap(tmp_path / "rows", np.uint8, "w+", shape=rows.shape)
    mapped[...] = rows
    assert_same_dbn(dg.DBN(**TINY).fit(mapped), dg.DBN(**TINY).fit(rows))


def test_other_visible_units(rows):
    """Would catch a stack that takes binary rows only."""
    real = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    dbn = dg.DBN((5, 3), visible="gaussian", n_epochs=1, random_state=0).fit(real)
    assert isinstance(dbn.model_.visible, dg.Gaussian)
    one_hot = np.eye(3, dtype=np.uint8)[np.random.default_rng(0).integers(0, 3, (60, 2))]
    dbn = dg.DBN((5, 3), visible=dg.Softmax(3), rule="cd", n_epochs=1, random_state=0)
    assert dbn.fit_transform(one_hot.reshape(60, 6)).shape == (60, 3)


def test_partial_fit_gives_the_same_bits_however_the_calls_are_cut(rows):
    """Would catch first rows, features or counters that depend on the calls."""
    for features in ("means", "samples"):
        settings = {**TINY, "features": features, "batch_size": 20}
        whole = dg.DBN(**settings).partial_fit(rows[:120])
        cut = dg.DBN(**settings)
        for start in range(0, 120, 40):
            cut.partial_fit(rows[start : start + 40])
        assert_same_dbn(whole, cut)
        short = dg.DBN(**settings).partial_fit(rows[:7]).partial_fit(rows[7:120])
        assert_same_dbn(whole, short)
        assert whole.n_updates_ == [6, 6, 6]


def test_a_stream_goes_on_after_fit_and_in_a_copy(rows):
    """Would catch partial_fit that begins anew after `fit`, or state that a pickle loses."""
    dbn = dg.DBN(**TINY).fit(rows)
    before = dbn.stack_
    dbn.partial_fit(rows[:50])
    assert dbn.n_updates_ == [7, 7, 7]
    assert len(dbn.history_) == 6
    assert np.abs(dbn.stack_[0].weights[0] - before[0].weights[0]).max() < 0.1
    copy = pickle.loads(pickle.dumps(dbn))
    assert_same_dbn(dbn.partial_fit(rows[50:100]), copy.partial_fit(rows[50:100]))
    with pytest.raises(ValueError, match="features was"):
        copy.set_params(features="means").partial_fit(rows)
    with pytest.raises(ValueError, match="n_hidden asks for 2 layers"):
        dg.DBN(**TINY).fit(rows).set_params(n_hidden=(8, 12)).partial_fit(rows)
    with pytest.raises(ValueError, match=r"n_hidden\[2\] asks for Binary\(size=6\)"):
        dg.DBN(**TINY).fit(rows).set_params(n_hidden=(8, 12, 6)).partial_fit(rows)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("n_before", [7, 60])
@pytest.mark.parametrize("kind", [
    {}, {"transposed": True, "n_hidden": (12, 13)}, {"rule": ["cd", "pcd", dg.PCD(2)]},
    {"optimizer": dg.Adam(), "features": "means"}, {"visible": "gaussian"},
], ids=str)  # fmt: skip
def test_a_kept_stream_goes_on_with_the_same_bits(kind, n_before, form, rows, tmp_path):
    """Would catch a stream that loses a machine, its particles, moments or its few first rows."""
    rows = form(rows.astype(np.float32))
    settings = {**TINY, "batch_size": 20, **kind}
    whole = dg.DBN(**settings).partial_fit(rows[:n_before])
    whole.save_checkpoint(tmp_path / "stream")
    again = dg.DBN(**{**settings, "random_state": None}).load_checkpoint(tmp_path / "stream")
    for dbn in (whole, again):
        dbn.partial_fit(rows[n_before:])
    for a, b in zip(arrays(whole), arrays(again), strict=True):
        assert_same_bits(a, b)
    assert whole.n_updates_ == again.n_updates_
    assert whole.score(rows) == again.score(rows)


def test_a_stream_that_begins_after_a_fit_can_be_kept(rows, tmp_path):
    """Would catch a checkpoint that forgets the fitted machines, the history or the names of the
    columns, and a file whose writing changes what follows."""
    dbn = dg.DBN(**TINY).fit(rows)
    dbn.save_checkpoint(tmp_path / "stream")
    again = dg.DBN(**TINY).load_checkpoint(tmp_path / "stream")
    assert_same_dbn(again, dbn)
    assert again.history_ == dbn.history_
    straight_on = dg.DBN(**TINY).fit(rows).partial_fit(rows)
    assert_same_dbn(dbn.partial_fit(rows), straight_on)
    assert_same_dbn(again.partial_fit(rows), straight_on)


def test_a_kept_stream_of_something_else_is_refused_by_name(rows, tmp_path):
    """Would catch a stream read with other layers, or of an RBM, which fails deep inside; and a
    machine that a damaged file has lost."""
    path = tmp_path / "stream"
    dg.DBN(**TINY).partial_fit(rows).save_checkpoint(path)
    for settings, message in (
        ({"n_hidden": (8, 12)}, r"n_hidden is \[8, 12\]"), ({"rule": "cd"}, "rule is"),
        ({"batch_size": 10}, "batch_size is 10"), ({"random_state": 4}, "random_state is 4"),
    ):  # fmt: skip
        other = dg.DBN(**{**TINY, **settings})
        with pytest.raises(ValueError, match=message):
            other.load_checkpoint(path)
        assert not hasattr(other, "model_")
    frame, state = checkpoints.load(path)
    state["machines"].pop()
    trees.save({"frame": frame, "trainer": state}, path)
    with pytest.raises(dg.ModelFileError, match="damaged"):
        dg.DBN(**TINY).load_checkpoint(path)
    dg.RBM(8, random_state=3).partial_fit(rows).save_checkpoint(path)
    with pytest.raises(ValueError, match="estimator is"):
        dg.DBN(**TINY).load_checkpoint(path)


def test_a_checkpoint_does_not_lose_a_refinement(rows, tmp_path):
    """Would catch a file of the greedy machines where all layers have learned together."""
    dbn = dg.DBN(**TINY).fit(rows).refine(rows, 1)
    with pytest.raises(ValueError, match=r"would lose what refine has taught .*; call refine"):
        dbn.save_checkpoint(tmp_path / "stream")
    assert not (tmp_path / "stream").exists()


# --- stopped and resumed ----------------------------------------------------------------------


@pytest.mark.parametrize("act", [fail, press_ctrl_c])
@pytest.mark.parametrize("features", ["means", "samples"])
def test_a_dbn_stopped_in_each_of_its_layers_ends_with_the_same_bits(act, features, rows, tmp_path):
    """Would catch a layer, a place, or finished machines that a checkpoint forgets; `model_` of a
    stopped run has the layers so far."""
    path, settings = tmp_path / "run", {**TINY, "features": features}
    whole = dg.DBN(**settings).fit(rows)
    for layer, update in ((0, 2), (1, 5), (2, 3)):
        callbacks = [dg.Checkpoint(path, minutes=None), At(act, layer=layer, update=update)]
        dbn = dg.DBN(**{**settings, "random_state": None if layer else 3}, callbacks=callbacks)
        with pytest.raises((Stop, KeyboardInterrupt)):
            dbn.fit(rows, resume=path if layer else None)
        assert len(dbn.stack_) == layer + 1
        assert dbn.n_updates_ == [6] * layer + [update]
        assert dbn.transform(rows).shape == (130, settings["n_hidden"][layer])
    for _ in range(2):  # the second time it has ended already
        other = dg.DBN(**settings, callbacks=[dg.Checkpoint(path)]).fit(rows, resume=path)
        assert_same_dbn(whole, other)
        assert without_seconds(other.history_) == without_seconds(whole.history_)


def test_a_checkpoint_of_another_run_is_refused_by_name(rows, tmp_path):
    """Would catch a stack that goes on with other layers, settings or rows."""
    path = tmp_path / "run"
    dg.DBN(**TINY, callbacks=[dg.Checkpoint(path)]).fit(rows)
    for change, message in (
        ({"n_hidden": (8, 12, 6)}, "n_hidden is"), ({"rule": "cd"}, "rule is"),
        ({"features": "means"}, "features is means here and samples there"),
        ({"transposed": True, "n_hidden": (8, 12, 8)}, "transposed is True here"),
        ({"n_epochs": (2, 2, 3)}, "n_epochs is"), ({"random_state": 4}, "random_state is 4 here"),
    ):  # fmt: skip
        dbn = dg.DBN(**{**TINY, **change})
        with pytest.raises(ValueError, match=message):
            dbn.fit(rows, resume=path)
        assert not hasattr(dbn, "model_")
    with pytest.raises(ValueError, match="other rows"):
        dg.DBN(**TINY).fit(rows[::-1].copy(), resume=path)
    with pytest.raises(ValueError, match="estimator is RBM here and DBN there"):
        dg.RBM(8).fit(rows, resume=path)


GREEDY = {
    "classifier": lambda **o: dg.DeepClassifier((8, 6, 5), dropout=0.1, early_stopping=9, **o),
    "regressor": lambda **o: dg.DeepRegressor((8, 6, 5), **o),
    "autoencoder": lambda **o: dg.DeepAutoencoder((8, 6, 3), **o),
}


@pytest.mark.parametrize("name", GREEDY)
def test_networks_stopped_in_pretraining_or_fine_tuning_go_on_there(name, rows, tmp_path):
    """Would catch a pretraining that a resumed run repeats, skips or begins anew, or one whose
    callbacks are left out."""
    y = np.arange(130) % 3
    settings = {
        "n_epochs": 2, "batch_size": 50, "random_state": 3,
        "pretrained": [
            dg.Pretraining(2, batch_size=50), dg.Pretraining(1, features="samples"),
            dg.Pretraining(2, rule=dg.PCD(), batch_size=50),
        ],
    }  # fmt: skip
    make, path = GREEDY[name], tmp_path / "run"
    whole = make(**settings).fit(rows, y)
    layers = [entry.get("layer") for entry in whole.history_]
    assert layers == [0, 0, 1, 2, 2, None, None]
    assert all(("loss" in entry) == ("layer" not in entry) for entry in whole.history_)
    resume = None
    for layer, update in ((0, 4), (1, 1), (2, 5), (None, 3)):
        callbacks = [dg.Checkpoint(path, minutes=None), At(fail, layer=layer, update=update)]
        estimator = make(**{**settings, "random_state": None if resume else 3}, callbacks=callbacks)
        with pytest.raises(Stop):
            estimator.fit(rows, y, resume=resume)
        assert hasattr(estimator, "model_") == (layer is None)
        resume = path
    other = make(**settings).fit(rows, y, resume=path)
    assert_same_network(whole.model_, other.model_)
    assert_same_models(whole.stack_, other.stack_)
    assert without_seconds(whole.history_) == without_seconds(other.history_)


def test_early_stopping_of_the_loss_leaves_the_pretraining_alone(rows):
    """Would catch callbacks that look for a network's loss in a machine's history."""
    stopping = dg.EarlyStopping("loss", mode="min", patience=1, min_delta=1e9)
    monitor = dg.LikelihoodMonitor(rows[:20], n_chains=5, n_steps=2)
    classifier = dg.DeepClassifier(
        (5, 4), pretrained=dg.Pretraining(2), n_epochs=9, random_state=0,
        callbacks=[monitor, stopping],
    ).fit(rows, np.arange(130) % 2)  # fmt: skip
    assert [entry.get("layer") for entry in classifier.history_] == [0, 0, 1, 1, None, None]
    assert ["log_likelihood" in entry for entry in classifier.history_] == [True] * 2 + [False] * 4


# --- what it starts ---------------------------------------------------------------------------


@pytest.fixture
def dbn(rows):
    """A fitted estimator, 12-8-12-5."""
    return dg.DBN(**TINY).fit(rows)


@pytest.mark.parametrize("wrap", [lambda dbn: dbn.model_, FrozenEstimator])
def test_fine_tuning_starts_with_exactly_the_features_of_the_stack(wrap, dbn, rows):
    """Would catch an unrolling that changes a bit: one step at rate zero leaves the start."""
    y = np.arange(130) % 3
    settings = {"n_epochs": 1, "learning_rate": dg.Constant(0.0), "random_state": 0}
    expected = dbn.transform(rows)
    classifier = dg.DeepClassifier(pretrained=wrap(dbn), **settings).fit(rows, y)
    hidden = dg.Network(classifier.model_.layers[:-1])
    assert_same_bits(hidden.forward(rows), expected)
    regressor = dg.DeepRegressor(pretrained=wrap(dbn), **settings).fit(rows, y)
    assert_same_bits(dg.Network(regressor.model_.layers[:-1]).forward(rows), expected)
    coder = dg.DeepAutoencoder(pretrained=wrap(dbn), code="logistic", **settings).fit(rows)
    assert_same_bits(coder.transform(rows), expected)
    assert_same_bits(dg.encoder(dbn.model_).forward(rows), expected)


def test_clone_and_cross_val_score_keep_the_pretraining(dbn, rows):
    """Would catch weights that scikit-learn strips: the copies must start from the stack."""
    y = np.arange(130) % 2
    settings = {"n_epochs": 1, "learning_rate": dg.Constant(0.0), "random_state": 0}
    expected = dbn.transform(rows)

    def is_the_stack(estimator, X, y):
        hidden = dg.Network(estimator.model_.layers[:-1])
        return float((hidden.forward(rows) == expected).all())

    for pretrained in (dbn.model_, FrozenEstimator(dbn)):
        classifier = clone(dg.DeepClassifier(pretrained=pretrained, **settings))
        scores = cross_val_score(classifier, rows, y, cv=3, scoring=is_the_stack)
        assert scores.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="silently strip"):
        dg.DeepClassifier(pretrained=dbn).fit(rows, y)


def test_networks_take_the_recognition_side(rows):
    """Would catch a network that is unrolled from generative weights."""
    model = random_belief_network(("binary",) * 4, 0, (12, 7, 6, 5))
    classifier = dg.DeepClassifier(
        pretrained=model, n_epochs=1, learning_rate=dg.Constant(0.0), random_state=0
    ).fit(rows, np.arange(130) % 2)
    assert_same_bits(classifier.model_.layers[0].weights, model.layers[0].recognition)
    dbn = dg.DBN.from_model(model)
    hidden = dg.Network(classifier.model_.layers[:-1])
    assert_same_bits(hidden.forward(rows), dbn.transform(rows))


def test_files_models_and_copies(dbn, rows, tmp_path):
    """Would catch a file that forgets a layer, or a copy without what `transform` needs."""
    dbn.save(tmp_path / "dbn.safetensors")
    loaded = dg.load(tmp_path / "dbn.safetensors")
    assert isinstance(loaded, dg.DBN)
    assert loaded._fitted.score_seed == dbn._fitted.score_seed
    assert loaded.n_hidden == (8, 12, 5)
    for other in (loaded, dg.DBN.from_model(dbn.model_), pickle.loads(pickle.dumps(dbn))):
        assert_same_bits(other.transform(rows), dbn.transform(rows))
        other.partial_fit(rows)
    assert clone(dbn).get_params() == dbn.get_params()
    with pytest.raises(ValueError, match=r"must be a BeliefNetwork, got .*from_stack\(\[...\]\)"):
        dg.DBN.from_model(dbn.stack_[0])


def test_an_estimator_in_the_place_of_its_model_is_told(dbn):
    """Would catch "must be a sequence of machines" for what needs `.model_` only, and a remedy
    in front of what came."""
    rbm = dg.RBM.from_model(dbn.stack_[0])
    for stack in (dbn, rbm):
        with pytest.raises(TypeError, match=r"got (DBN|RBM).*; pass its model_$"):
            dg.encoder(stack)
    with pytest.raises(ValueError, match=r"machine 0 of a stack .* got RBM.*; pass its model_$"):
        dg.unrolled([rbm])
    with pytest.raises(TypeError, match=r"dg.BoltzmannMachine, got DBN.*; pass its model_$"):
        dg.variational_bound(dbn, np.zeros((1, 12), np.uint8), log_partition=0.0)


@pytest.mark.parametrize("n_hidden", [5, np.array([5]), np.int64(5), [5], (5,)])
def test_one_layer_may_be_a_number(n_hidden, rows):
    """Would catch an array of sizes, as from np.arange or a search, that is refused without a
    remedy."""
    dbn = clone(dg.DBN(n_hidden, n_epochs=1, random_state=0)).fit(rows)
    assert dbn.model_.sizes == (12, 5)
    expected = dg.RBM(5, n_epochs=1, random_state=dg.child_seed(0, 0)).fit(rows)
    assert_same_bits(dbn.model_.top.weights[0], expected.model_.weights[0])


# --- bad settings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_hidden": ()}, "n_hidden must be"), ({"n_hidden": (3, 0)}, "each size in n_hidden"),
        ({"rule": ["cd"]}, "rule must be one value, or a sequence of 2"),
        ({"rule": "sml"}, "^rule must be"), ({"rule": dg.CD}, "^rule must be"),
        ({"rule": ["cd", "sml"]}, r"^rule\[1\] must be"),
        ({"learning_rate": [0.1, -1.0]}, r"^learning_rate\[1\] must be"),
        ({"n_hidden": np.ones((2, 2))}, "n_hidden must be a size, or a sequence"),
        ({"n_hidden": np.array([4.0, 3.0])}, "each size in n_hidden must be"),
        ({"learning_rate": (0.1, 0.1, 0.1)}, "a sequence of 2"),
        ({"optimizer": [dg.SGD(), "adam"]}, r"^optimizer\[1\] must be"),
        ({"n_epochs": [1, 0]}, r"^n_epochs\[1\] must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"features": "draws"}, "features must be 'means' or 'samples'"),
        ({"transposed": 1}, "transposed must be"), ({"transposed": True}, "at least the 12 units"),
        ({"transposed": True, "visible": "gaussian", "n_hidden": (3, 12)}, "binary units"),
        ({"visible": dg.Binary(n_copies=2)}, "tied copies"), ({"visible": "real"}, "visible"),
        ({"visible": dg.Binary(5)}, "visible does not fit"), ({"callbacks": [3]}, "callbacks"),
        ({"random_state": -1}, "random_state"), ({"n_threads": 0}, "n_threads"),
    ],
)  # fmt: skip
def test_bad_settings_are_named_before_any_work(settings, message, rows):
    """Would catch a message that does not name the parameter; nothing may be left behind."""
    dbn = dg.DBN(**{"n_hidden": (4, 3), **settings})
    before = dict(vars(dbn))
    for learn in (dbn.fit, dbn.partial_fit):
        with pytest.raises(ValueError, match=message):
            learn(rows)
        assert vars(dbn) == before


# --- refinement -------------------------------------------------------------------------------


def test_refine_is_the_up_down_run_of_the_fitted_network(rows):
    """Would catch settings that do not reach the run, or a model that is not the run's."""
    dbn = dg.DBN(**TINY).fit(rows)
    greedy, stack = dbn.model_, dbn.stack_
    assert dbn.refine(rows, 2, learning_rate=0.05) is dbn
    run = UpDownTrainer(
        greedy, dg.CD(3), dg.SGD(), 0.05, stream=Stream(dg.child_seed(3, "up-down")), batch_size=50
    )
    run.fit(ArrayRows(rows), 2)
    for one, other in zip(dbn.model_.layers, run.model().layers, strict=True):
        assert_same_bits(one.generative, other.generative)
        assert_same_bits(one.recognition, other.recognition)
    assert dbn.stack_ is stack
    assert [entry["epoch"] for entry in dbn.refinement_] == [1, 2]
    assert not dbn.model_.is_tied
    assert np.isfinite(dbn.transform(rows)).all()
    with pytest.raises(ValueError, match="partial_fit trains greedily"):
        dbn.partial_fit(rows)
    dbn.fit(rows).partial_fit(rows[:50])  # greedy again
    assert not hasattr(dbn, "refinement_")


@pytest.mark.parametrize("n_hidden", [(6,), (6, 5)])
def test_partial_fit_does_not_lose_a_refinement(n_hidden, rows):
    """Would catch a network without directed layers, whose sides cannot part, that begins again
    at its greedy machine."""
    dbn = dg.DBN(n_hidden, n_epochs=1, random_state=0).fit(rows).refine(rows, 1)
    refined = dbn.model_
    with pytest.raises(ValueError, match=r"partial_fit trains greedily .*; call refine"):
        dbn.partial_fit(rows)
    assert dbn.model_ is refined
    copy = dg.DBN.from_model(refined)  # of one layer it goes on from the refined machine
    if len(n_hidden) == 1:
        moved = copy.partial_fit(rows[:9]).model_.top.weights[0] - refined.top.weights[0]
        assert 0 < np.abs(moved).max() < 0.05
    else:
        with pytest.raises(ValueError, match="partial_fit trains greedily"):
            copy.partial_fit(rows)


def test_a_refinement_goes_on_with_the_model_it_began_with(rows, tmp_path):
    """Would catch a checkpoint that goes on with another fitted model of the same shape, and a
    stopped estimator that is refused its own checkpoint."""
    path = tmp_path / "run"

    def stop(report):
        if report.epoch == 1:
            raise KeyboardInterrupt

    whole = dg.DBN(**TINY).fit(rows).refine(rows, 2)
    dbn = dg.DBN(**TINY).fit(rows).set_params(callbacks=[stop, dg.Checkpoint(path)])
    with pytest.raises(KeyboardInterrupt):
        dbn.refine(rows, 2)
    other = dg.DBN(**{**TINY, "random_state": 4}).fit(rows).set_params(random_state=None)
    before = other.model_
    with pytest.raises(ValueError, match=r"another run: model is \w+ here and \w+ there"):
        other.refine(rows, 2, resume=path)
    assert other.model_ is before
    for one in (dbn, dg.DBN(**TINY).fit(rows)):
        one.set_params(callbacks=None).refine(rows, 2, resume=path)
        assert_same_bits(one.model_.top.weights[0], whole.model_.top.weights[0])
    dbn.fit(rows[:60])  # no longer the one that was stopped
    with pytest.raises(ValueError, match="model is"):
        dbn.refine(rows, 2, resume=path)


def test_refine_by_particles_refuses_gaps_where_no_layer_fills_them():
    """Would catch rows with missing variables that PCD takes for states, as `fit` does not."""
    X = np.eye(3, dtype=np.uint8)[np.random.default_rng(0).integers(0, 3, (60, 2))].reshape(60, 6)
    dbn = dg.DBN((5,), visible=dg.Softmax(3), rule="cd", n_epochs=1, random_state=0).fit(X)
    X[0, :3] = 0
    with pytest.raises(ValueError, match="PCD cannot leave out"):
        dbn.refine(X, 1, rule="pcd")
    dbn.refine(X, 1)
    two = dg.DBN((5, 4), visible=dg.Softmax(3), rule="cd", n_epochs=1, random_state=0).fit(X)
    two.refine(X, 1, rule="pcd")


def test_a_refined_network_comes_back_from_its_file(rows, tmp_path):
    """Would catch a file that keeps one of both sides."""
    dbn = dg.DBN(**TINY).fit(rows).refine(rows, 1)
    dbn.save(tmp_path / "a")
    loaded = dg.load(tmp_path / "a")
    assert_same_bits(loaded.transform(rows), dbn.transform(rows))
    assert_same_bits(loaded.bound(rows[:3]), dbn.bound(rows[:3]))
    assert_same_bits(loaded.model_.layers[0].generative, dbn.model_.layers[0].generative)


def test_a_refinement_that_was_stopped_goes_on_with_the_same_bits(rows, tmp_path):
    """Would catch a checkpoint of refine that lacks particles, place or the seed of the run."""
    path = tmp_path / "run"
    whole = dg.DBN(**TINY).fit(rows).refine(rows, 3, rule="pcd")
    dbn = dg.DBN(**TINY).fit(rows)
    greedy = dbn.model_

    def stop(report):
        if report.epoch == 2:
            raise KeyboardInterrupt

    dbn.set_params(callbacks=[stop, dg.Checkpoint(path)])
    with pytest.raises(KeyboardInterrupt):
        dbn.refine(rows, 3, rule="pcd")
    other = dg.DBN.from_model(greedy).set_params(batch_size=50)
    other.refine(rows, 3, rule="pcd", resume=path)
    for one, two in zip(whole.model_.layers, other.model_.layers, strict=True):
        assert_same_bits(one.generative, two.generative)
        assert_same_bits(one.recognition, two.recognition)
    assert_same_bits(whole.model_.top.weights[0], other.model_.top.weights[0])
    assert len(other.refinement_) == 3
    with pytest.raises(ValueError, match="n_epochs is 4 here and 3 there"):
        other.refine(rows, 4, rule="pcd", resume=path)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        dg.DBN(**TINY).fit(rows, resume=path)


def test_refine_refuses_what_it_cannot_use(rows):
    """Would catch an error from inside a run, or a model that a refused call has changed."""
    dbn = dg.DBN(**TINY)
    with pytest.raises(NotFittedError):
        dbn.refine(rows)
    dbn.fit(rows)
    before = dbn.model_
    for arguments, message in (
        ({"n_epochs": 0}, "n_epochs must be a positive integer"),
        ({"rule": 3}, "rule must be"),
        ({"learning_rate": -1}, "learning_rate must be"),
        ({"optimizer": "sgd"}, "optimizer must be"),
        ({"X": rows[:, :5]}, "features"),
        ({"X": 2.0 * rows}, r"values in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            dbn.refine(**{"X": rows, **arguments})
    assert dbn.model_ is before
