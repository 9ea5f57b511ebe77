"""Estimators around networks: what users see, and what they are told."""

from itertools import chain

import numpy as np
import pytest
from comparisons import without_seconds
from conftest import THREADS, assert_same_bits, random_model
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import cross_validate
from stops import At, Stop, fail

import deepgen as dg
from deepgen.inference.gibbs import update_layer

QUICK = {"n_epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def stack(digits):
    """Two machines, 64-30-10, hardly trained."""
    rbm = dg.RBM(30, rule="cd", **QUICK).fit(digits[0])
    top = dg.RBM(10, rule="cd", **QUICK).fit(rbm.transform(digits[0]))
    return [rbm.model_, top.model_]


def everything(X, y, stack):
    """Every estimator, fitted, by name."""
    return {
        "tied": dg.Autoencoder(5, **QUICK).fit(X),
        "free": dg.Autoencoder(5, tied=False, hidden="rectified", l1=0.01, l2=0.01, masking=0.2,
                               **QUICK).fit(X),
        "deep": dg.DeepAutoencoder(pretrained=stack, code="logistic", **QUICK).fit(X),
        "greedy": dg.DeepAutoencoder((12, 3), pretrained=dg.Pretraining(1), **QUICK).fit(X),
        "classifier": dg.DeepClassifier(pretrained=stack, dropout=0.1, **QUICK).fit(X, y),
        "smooth": dg.DeepClassifier((5,), smoothness=dg.VirtualAdversarial(0.5), unlabelled=-1,
                                    **QUICK).fit(
            X, np.where(np.arange(len(y)) % 9, -1, y)
        ),
        "regressor": dg.DeepRegressor((7,), input_dropout=0.1, **QUICK).fit(X, 100.0 + y),
    }  # fmt: skip


def answers(estimator, X):
    """What an estimator says about rows."""
    if hasattr(estimator, "predict"):
        proba = [estimator.predict_proba(X)] if hasattr(estimator, "predict_proba") else []
        return [estimator.predict(X), *proba]
    codes = estimator.transform(X)
    return [codes, estimator.inverse_transform(codes), estimator.reconstruction_error(X)]


def test_files_give_the_same_estimator(tmp_path, digits, stack):
    """Would catch a file that forgets the kind of estimator, classes, or a bit of a weight."""
    X, y = digits
    for name, estimator in everything(X, y, stack).items():
        estimator.save(tmp_path / name)
        loaded = dg.load(tmp_path / name)
        assert type(loaded) is type(estimator)
        for one, other in zip(answers(estimator, X), answers(loaded, X), strict=True):
            assert_same_bits(np.asarray(one), np.asarray(other))


def test_bits_do_not_depend_on_threads_or_cuts(threaded, digits, stack):
    """Would catch an estimator that does not pass its threads on, or rows that depend on others."""
    X, y = digits[0][:150], digits[1][:150]
    estimators = everything(X, y, stack).values()
    whole = [answers(estimator, X) for estimator in estimators]
    for n_threads in THREADS[1:3]:
        dg.set_num_threads(n_threads)
        try:
            others = [answers(e, X) for e in everything(X, y, stack).values()]
        finally:
            dg.set_num_threads(None)
        for one, other in zip(chain(*whole), chain(*others), strict=True):
            assert_same_bits(one, other)
    for estimator, one in zip(estimators, whole, strict=True):
        assert_same_bits(np.concatenate([answers(estimator, part)[0] for part in (X[:7], X[7:])]),
                         one[0])  # fmt: skip


def test_fine_tuning_starts_from_the_stack(digits, stack):
    """Would catch an estimator that trains from other weights than those it was given."""
    X, y = digits
    features = X
    for machine in stack:
        features = update_layer(machine, 1, [features, None], mean=True)[0]
    still = {"learning_rate": dg.Constant(0.0), "optimizer": dg.SGD(weight_decay=0.0), **QUICK}
    auto = dg.DeepAutoencoder(pretrained=stack, code="logistic", **still).fit(X)
    assert_same_bits(auto.transform(X), features)
    classifier = dg.DeepClassifier(pretrained=stack, **still).fit(X, y)
    hidden = dg.Network(classifier.model_.layers[:-1])
    assert_same_bits(hidden.forward(X), features)


def test_clone_and_cross_validation_keep_the_pretraining(digits, stack):
    """Would catch a clone that starts at random: without a step its features are the stack's."""
    X, y = digits
    still = {"learning_rate": dg.Constant(0.0), "optimizer": dg.SGD(weight_decay=0.0), **QUICK}
    copy = clone(clone(dg.DeepClassifier(pretrained=stack, **still)))
    for one, other in zip(copy.pretrained, stack, strict=True):
        assert_same_bits(one.weights[0], other.weights[0])
    weights = copy.fit(X, y).model_.layers[0].weights
    assert_same_bits(weights, stack[0].weights[0])
    for fold in cross_validate(copy, X, y, cv=3, return_estimator=True)["estimator"]:
        assert_same_bits(fold.model_.layers[0].weights, stack[0].weights[0])


def test_bare_estimators_are_refused_and_frozen_ones_taken(digits):
    """Would catch a clone that silently loses the weights of a fitted estimator."""
    X, y = digits
    rbm = dg.RBM(12, **QUICK).fit(X)
    with pytest.raises(ValueError, match="pass its model_"):
        dg.DeepClassifier(pretrained=rbm, **QUICK).fit(X, y)
    frozen = dg.DeepClassifier(pretrained=FrozenEstimator(rbm), **QUICK).fit(X, y)
    plain = dg.DeepClassifier(pretrained=rbm.model_, **QUICK).fit(X, y)
    assert_same_bits(frozen.model_.layers[0].weights, plain.model_.layers[0].weights)


def test_a_tied_autoencoder_stays_tied(digits):
    """Would catch a decoder that has weights of its own although it should not."""
    tied, free = (dg.Autoencoder(5, tied=tied, **QUICK).fit(digits[0]) for tied in (True, False))
    assert tied.model_.layers[1].tied_to == 0
    assert free.model_.layers[1].weights.shape == (5, 64)


def test_a_linear_autoencoder_is_as_good_as_pca(digits):
    """Would catch a wrong error, loss or gradient: PCA is the optimum, and known."""
    X = digits[0]
    best = PCA(5).fit(X)
    least = ((X - best.inverse_transform(best.transform(X))) ** 2).sum(axis=1).mean()
    auto = dg.Autoencoder(
        5, visible="gaussian", hidden="linear", optimizer=dg.LBFGS(60), batch_size=len(X),
        n_epochs=2, random_state=0,
    ).fit(X)  # fmt: skip
    assert least * (1 - 1e-4) < -auto.score(X) < 1.01 * least


def test_l1_makes_codes_sparse(digits):
    """Would catch a penalty that is not passed on."""
    X = digits[0]
    plain, sparse = (
        dg.Autoencoder(30, l1=l1, n_epochs=20, random_state=0).fit(X).transform(X).mean()
        for l1 in (0.0, 0.3)
    )
    assert sparse < 0.5 * plain


def test_a_stack_knows_its_rows_before_any_fine_tuning(digits):
    """Would catch features or a mirror image of another scale, a code layer that hardly learns,
    and a pretraining that makes the fine-tuning slower: on held-out rows each unrolled stack is
    well ahead of the mean image, and a short fine-tuning ends ahead of one from a random start."""
    X, held_out = digits[0][:1400], digits[0][1400:]
    pretraining = dg.Pretraining(
        40, learning_rate=dg.Linear(0.1, 0.0), optimizer=dg.SGD(momentum=0.9)
    )
    settings = {"n_epochs": 10, "learning_rate": dg.Linear(0.01, 0.0), "random_state": 0}
    pretrained = dg.DeepAutoencoder((64, 32, 5), pretrained=pretraining, **settings).fit(X)
    at_mean = ((held_out - X.mean(axis=0)) ** 2).sum(axis=1).mean()
    errors = [
        dg.DeepAutoencoder.from_model(dg.unrolled(pretrained.stack_[:n])).score(held_out)
        for n in (1, 2, 3)
    ]
    assert max(-np.array(errors)) < 0.9 * at_mean, (errors, at_mean)
    at_random = dg.DeepAutoencoder((64, 32, 5), **settings).fit(X)
    assert pretrained.score(held_out) > at_random.score(held_out)


def test_unlabelled_rows_serve_the_pretraining(digits):
    """Would catch rows of -1 that become a class, or are thrown away before the pretraining."""
    X, y = digits
    few = np.where(np.arange(len(y)) < 100, y, -1)
    settings = {"pretrained": dg.Pretraining(1), "unlabelled": -1, **QUICK}
    semi = dg.DeepClassifier((20,), **settings).fit(X, few)
    assert set(semi.classes_) == set(y[:100])
    alone = dg.DeepClassifier((20,), **settings).fit(X[:100], y[:100])
    every = dg.DeepClassifier((20,), **settings).fit(X, y)
    assert_same_bits(semi.stack_[0].weights[0], every.stack_[0].weights[0])
    assert (semi.stack_[0].weights[0] != alone.stack_[0].weights[0]).any()
    with pytest.raises(ValueError, match="unlabelled=None"):
        dg.DeepClassifier((3,), unlabelled=-1, **QUICK).fit(X[:10], np.where(y[:10] > 4, 1, -1))


def test_unlabelled_rows_teach_a_smooth_classifier(digits):
    """Would catch rows of -1 that a penalty without labels does not see, that count as a class,
    or that early stopping holds back.
    """
    X, y = digits
    few = np.where(np.arange(len(y)) < 60, y, -1)
    settings = {
        "n_hidden": (30,), "learning_rate": dg.Linear(0.01, 0.0), "random_state": 0,
        "smoothness": dg.VirtualAdversarial(0.5), "unlabelled": -1,
    }  # fmt: skip
    semi = dg.DeepClassifier(n_epochs=40, **settings).fit(X[:1400], few[:1400])
    assert semi.history_[0]["n_rows"] == 1400
    np.testing.assert_array_equal(semi.classes_, np.arange(10))
    # as many updates; 80 and 84 rows in a hundred
    alone = dg.DeepClassifier(n_epochs=560, batch_size=60, **settings).fit(X[:60], y[:60])
    others = X[60:1400], y[60:1400]
    assert semi.score(*others) > alone.score(*others) + 0.01
    settings |= {"n_epochs": 1, "early_stopping": 3}
    stopped = dg.DeepClassifier(**settings).fit(X[:1400], few[:1400])
    held = sum(max(1, int(0.1 * (y[:60] == label).sum())) for label in range(10))
    assert stopped.history_[0]["n_rows"] == 1400 - held


@pytest.mark.parametrize(
    ("known", "none", "unlabelled"), [("ab", -1, -1), ("ab", "", ""), ((3, 5), -1, -1)]
)
def test_rows_without_a_label_are_no_class(known, none, unlabelled):
    """Would catch a class "-1": NumPy makes texts of a list of texts and numbers."""
    X = np.random.default_rng(0).random((6, 4)).astype(np.float32)
    labels = [known[0], none, known[1], known[0], none, known[1]]
    for y in (labels, np.array(labels, dtype=object)):
        fitted = dg.DeepClassifier((3,), unlabelled=unlabelled, **QUICK).fit(X, y)
        assert fitted.classes_.tolist() == list(known)
        assert fitted.history_[0]["n_rows"] == 4


def test_line_searches_are_refused_before_a_pretraining(digits):
    """Would catch hours of a greedy start before a message."""
    seen = []
    classifier = dg.DeepClassifier(
        (3,), pretrained=dg.Pretraining(1), smoothness=dg.VirtualAdversarial(0.5),
        optimizer=dg.LBFGS(), callbacks=[seen.append],
    )  # fmt: skip
    with pytest.raises(ValueError, match="optimizer that takes steps"):
        classifier.fit(*digits)
    assert not seen


def test_early_stopping_holds_rows_back(digits):
    """Would catch a validation loss of rows trained on, and a network that is not the best."""
    X, y = digits
    classifier = dg.DeepClassifier(
        (20,), early_stopping=2, n_epochs=60, learning_rate=0.05, random_state=0
    ).fit(X, y)
    losses = [entry["validation_loss"] for entry in classifier.history_]
    assert len(losses) < 60
    assert losses.index(min(losses)) == len(losses) - 3
    assert classifier.history_[0]["n_rows"] == len(X) - sum(
        int(0.1 * (y == label).sum()) for label in range(10)
    )
    assert classifier.score(X, y) > 0.9


def test_targets_come_back_in_their_own_scale(digits):
    """Would catch a regressor that predicts standardized targets, or a shape that changes."""
    X, y = digits
    settings = {"n_epochs": 30, "learning_rate": 0.02, "random_state": 0}
    one = dg.DeepRegressor((20,), **settings).fit(X, 1e4 + 100.0 * y)
    assert one.predict(X).shape == (len(X),)
    assert one.score(X, 1e4 + 100.0 * y) > 0.8
    two = dg.DeepRegressor((20,), **QUICK).fit(X, np.stack([y, -y], axis=1))
    assert two.predict(X).shape == (len(X), 2)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (dg.Autoencoder(0), "n_hidden"), (dg.Autoencoder(hidden="tanh"), "hidden"),
        (dg.Autoencoder(loss="hinge"), "loss"), (dg.Autoencoder(masking=1.0), "masking"),
        (dg.Autoencoder(visible="gaussian", loss="cross_entropy"), "needs a last layer"),
        (dg.Autoencoder(optimizer=dg.Adam), "optimizer"), (dg.Autoencoder(batch_size=0), "batch"),
        (dg.DeepAutoencoder(()), "n_hidden"), (dg.DeepAutoencoder(code="relu"), "code"),
        (dg.DeepAutoencoder(pretrained=random_model(("binary", "binary"), 0)), "64 features"),
        (dg.DeepAutoencoder(pretrained=random_model(("binary", "binary"), 0, (64, 3))),
         "pass code='logistic'"),
        (dg.DeepClassifier((3,), pretrained=[dg.Pretraining(1)] * 2), "one dg.Pretraining"),
        (dg.DeepAutoencoder((3, 2), code="logistic", pretrained=dg.Pretraining(1, transposed=True)),
         "at least the 64 units"),
        (dg.DeepClassifier(early_stopping=0), "early_stopping"),
        (dg.DeepClassifier(activation="tanh"), "activation"),
        (dg.DeepClassifier(smoothness=0.5), r"smoothness must be None or dg\.Virtual"),
        (dg.DeepClassifier(smoothness=dg.VirtualAdversarial(0.5), optimizer=dg.LBFGS()),
         "smoothness needs an optimizer that takes steps"),
        (dg.DeepClassifier(validation_fraction=1.0), "validation_fraction"),
    ],
)  # fmt: skip
def test_bad_settings_are_named_before_any_work(estimator, message, digits):
    """Would catch a message that does not name the parameter; nothing may be left behind."""
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match=message):
        estimator.fit(*digits)
    assert vars(estimator) == before


# --------------------------------------------------------------------------- stopped and resumed


RESUMED = {
    "autoencoder": lambda stack, **o: dg.Autoencoder(5, masking=0.1, **o),
    "greedy": lambda stack, **o: dg.DeepAutoencoder((12, 3), pretrained=dg.Pretraining(1), **o),
    "stacked": lambda stack, **o: dg.DeepAutoencoder(pretrained=stack, code="logistic", **o),
    "classifier": lambda stack, **o: dg.DeepClassifier(
        (12,), pretrained=dg.Pretraining(1), dropout=0.1, early_stopping=5, **o
    ),
    "smooth": lambda stack, **o: dg.DeepClassifier(
        (12,), smoothness=dg.VirtualAdversarial(0.5), unlabelled=-1, **o
    ),
    "regressor": lambda stack, **o: dg.DeepRegressor((7,), optimizer=dg.SGD(momentum=0.9), **o),
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_fit_that_was_stopped_goes_on_with_the_same_bits(name, digits, stack, tmp_path):
    """Would catch a place, moments, random numbers, held-back rows or machines of a greedy
    pretraining that a checkpoint forgets."""
    X, y = digits[0][:600], digits[1][:600]
    if name == "smooth":  # an order of its own
        y = np.where(np.arange(600) % 9, -1, y)
    make, path = RESUMED[name], tmp_path / "run"
    whole = make(stack, n_epochs=4, random_state=3).fit(X, y)
    with pytest.raises(Stop):  # inside the third epoch
        make(stack, n_epochs=4, random_state=3,
             callbacks=[dg.Checkpoint(path), At(fail, update=14)]).fit(X, y)  # fmt: skip
    for _ in range(2):  # the second time the run has ended already
        other = make(stack, n_epochs=4, callbacks=[dg.Checkpoint(path)]).fit(X, y, resume=path)
        assert other.n_updates_ == whole.n_updates_
        for one, its in zip(answers(whole, X), answers(other, X), strict=True):
            assert_same_bits(np.asarray(one), np.asarray(its))
        assert without_seconds(whole.history_) == without_seconds(other.history_)
        for one, its in zip(getattr(whole, "stack_", None) or (),
                            getattr(other, "stack_", None) or (), strict=True):  # fmt: skip
            assert_same_bits(one.weights[0], its.weights[0])


def test_a_checkpoint_of_another_run_is_refused_by_name(digits, stack, tmp_path):
    """Would catch a run that goes on with other settings, rows, labels or machines."""
    X, y = digits[0][:200], digits[1][:200]
    path, rbms = tmp_path / "run", tmp_path / "rbm"
    settings = {"pretrained": stack, "random_state": 0, "n_epochs": 2}
    dg.DeepClassifier(**settings, callbacks=[dg.Checkpoint(path)]).fit(X, y)
    dg.RBM(4, n_epochs=1, random_state=0, callbacks=[dg.Checkpoint(rbms)]).fit(X)
    others = [random_model(("binary", "binary"), 0, (64, 30)), stack[1]]
    for change, message in (
        ({"l2": 0.1}, r"l2 is 0\.1 here and 0\.0 there"),
        ({"learning_rate": dg.Constant(0.1)}, "learning_rate is Constant"),
        ({"pretrained": others}, "pretrained is"), ({"random_state": 1}, "random_state is 1 here"),
    ):  # fmt: skip
        estimator = dg.DeepClassifier(**{**settings, **change})
        with pytest.raises(ValueError, match=message):
            estimator.fit(X, y, resume=path)
        assert not hasattr(estimator, "model_")
    with pytest.raises(ValueError, match="y is"):
        dg.DeepClassifier(**settings).fit(X, y[::-1], resume=path)
    with pytest.raises(ValueError, match="mean of column"):
        dg.DeepClassifier(**settings).fit(X * 0.5, y, resume=path)
    with pytest.raises(ValueError, match="estimator is DeepClassifier here and RBM there"):
        dg.DeepClassifier(**settings).fit(X, y, resume=rbms)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        dg.DeepClassifier(**settings).fit(X, y, resume=tmp_path / "none")


def test_two_fits_at_once_are_refused(digits):
    """Would catch two runs that write one estimator's attributes."""
    estimator, seen = dg.Autoencoder(3, **QUICK), []

    def again(report):
        with pytest.raises(RuntimeError, match="being fitted already"):
            estimator.fit(digits[0])
        seen.append(report)

    estimator.set_params(callbacks=[again]).fit(digits[0])
    assert len(seen) == 2
