"""Networks that read counts: documents in, shares of their words out, codes to find them by."""

import numpy as np
import pytest
import reference
from comparisons import without_seconds
from conftest import THREADS, assert_mean, assert_same_bits
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from stops import At, Stop, fail

import deepgen as dg
from deepgen.inference.mean_field import infer
from deepgen.io import model_files
from deepgen.models import backprop
from deepgen.networks.objective import Objective
from deepgen.rows.paired import PairedRows
from deepgen.rows.states import as_states, dense
from deepgen.runtime.stream import Stream
from deepgen.stacks.features import stack_features
from deepgen.stacks.unrolling import posterior_layers

N_WORDS, N_TOPICS = 40, 4
QUICK = {"n_epochs": 3, "random_state": 0, "batch_size": 50}
FORMS = ("counts", "logs", "shares")


def documents(n_rows=300, seed=0):
    """Documents of 5 to 60 words of four topics, and the topics; two documents are empty."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, N_TOPICS, n_rows)
    of_topic = rng.dirichlet(np.full(N_WORDS, 0.15), N_TOPICS)
    counts = np.stack([rng.multinomial(rng.integers(5, 61), of_topic[t]) for t in topics])
    counts[[3, 17]] = 0
    return sparse.csr_array(counts), topics


def machine(seed=0, n_visible=6, n_hidden=4, **options):
    """A replicated softmax with large weights and biases."""
    rng = np.random.default_rng(seed)
    visible = dg.Multinomial(bias=rng.normal(size=n_visible), **options)
    hidden = dg.Binary(bias=rng.normal(0.0, 0.2, n_hidden))
    return dg.BoltzmannMachine([visible, hidden], [rng.normal(0.0, 0.4, (n_visible, n_hidden))])


# ------------------------------------------------------------------------------ how counts are read


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stored", ["bytes", "floats", "compressed"])
def test_counts_are_read_by_their_formula(form, stored):
    """Would catch a form that depends on how rows are stored, or that divides an empty row by 0."""
    counts = np.random.default_rng(0).integers(0, 9, (7, 5))
    counts[2] = 0
    given = {"bytes": counts.astype(np.uint8), "floats": counts.astype(np.float32),
             "compressed": sparse.csr_array(counts)}[stored]  # fmt: skip
    read = dense(dg.CountInputs(form, 3.0).read(as_states(given)))
    logs, total = np.log(1.0 + counts), counts.sum(axis=1, keepdims=True)
    length = np.linalg.norm(logs, axis=1, keepdims=True)
    twin = {
        "counts": counts, "logs": 3.0 * logs / np.maximum(length, 1e-9),
        "shares": 3.0 * counts / np.maximum(total, 1),
    }[form]  # fmt: skip
    np.testing.assert_allclose(read, twin, rtol=1e-6)


def test_compressed_rows_stay_compressed():
    """Would catch a reading that makes all documents of a corpus dense at once."""
    rows = as_states(documents()[0])
    for form in FORMS:
        assert len(dg.CountInputs(form).read(rows).values) == len(rows.values)


@pytest.mark.parametrize("options", [{"form": "tf-idf"}, {"form": "logs", "gain": 0.0},
                                     {"form": "logs", "gain": np.nan}])  # fmt: skip
def test_readings_without_a_meaning_are_refused(options):
    """Would catch a gain that makes every document a row of zeros or NaN."""
    with pytest.raises(ValueError, match=r"form must be|gain must be"):
        dg.CountInputs(**options)


def test_files_keep_how_counts_are_read(tmp_path):
    """Would catch a file whose network reads plain values after it has been loaded."""
    network = dg.encoder(machine(), dg.CountInputs("shares", 12.5))
    model_files.save(network, tmp_path / "n")
    loaded, _ = model_files.load_model(tmp_path / "n")
    assert loaded.inputs == network.inputs
    counts = documents(20)[0].toarray()[:, :6]
    assert_same_bits(loaded.forward(counts), network.forward(counts))
    assert "inputs" not in model_files.describe(dg.encoder(binary_machine()))[0]


def binary_machine():
    return dg.BoltzmannMachine([dg.Binary(6), dg.Binary(4)], [np.zeros((6, 4))])


@pytest.mark.parametrize("inputs", [
    None, "logs", {"form": "logs"}, {"form": "tf-idf", "gain": 1.0},
    {"form": ["logs"], "gain": 1.0}, {"form": "logs", "gain": -1.0},
    {"form": "logs", "gain": True}, {"form": "logs", "gain": 1e300},
    {"form": "logs", "gain": "1"}, {"form": "logs", "gain": 1.0, "more": 1},
])  # fmt: skip
def test_damaged_readings_are_refused(tmp_path, monkeypatch, inputs):
    """Would catch a loader that trusts what a file says of the inputs."""
    describe = model_files.describe

    def changed(model):
        config, tensors = describe(model)
        return config | {"inputs": inputs}, tensors

    monkeypatch.setattr(model_files, "describe", changed)
    model_files.save(dg.encoder(machine()), tmp_path / "n")
    with pytest.raises(dg.ModelFileError):
        model_files.load_model(tmp_path / "n")


def test_networks_of_counts_refuse_what_are_none():
    """Would catch logs of negative numbers, or shares of what has been divided already."""
    network = dg.encoder(machine())
    with pytest.raises(ValueError, match="hold counts"):
        network.forward(np.full((1, 6), 0.5))
    with pytest.raises(ValueError, match="hold counts"):
        network.forward(np.full((1, 6), -1.0))


# ------------------------------------------------------------------------------------- from a stack


def test_an_encoder_gives_the_features_of_documents_of_any_length():
    """Would catch hidden biases that count once, not once for each word."""
    stack = [machine(mean_trials=9.0), binary_top()]
    counts = np.random.default_rng(1).integers(0, 4, (20, 6))
    counts[0] = 0
    counts[1] = 40
    found = dg.encoder(stack).forward(counts)
    expected = stack_features(stack, stack[0].layers[0].states_of(counts))
    np.testing.assert_allclose(found, expected, atol=2e-6)


def binary_top():
    weights = np.random.default_rng(5).normal(size=(4, 3))
    return dg.BoltzmannMachine([dg.Binary(bias=np.ones(4)), dg.Binary(3)], [weights])


def test_the_network_beside_a_posterior_starts_as_mean_field_ends():
    """Would catch the bias of a deep machine that counts once in its network."""
    rng, lowest = np.random.default_rng(8), machine(mean_trials=9.0)
    deep = dg.BoltzmannMachine(
        [*lowest.layers, dg.Binary(bias=rng.normal(size=3))],
        [lowest.weights[0], rng.normal(0.0, 0.3, (4, 3))],
    )
    counts = rng.integers(0, 4, (20, 6))
    states = deep.layers[0].states_of(counts)
    means = infer(deep, states, dg.FixedPoint(1_000, 1e-7))
    network = dg.Network(posterior_layers(deep))
    found = network.forward(np.concatenate([counts, means[2]], axis=1), keep=True)[1]
    np.testing.assert_allclose(found.outputs[1], means[1], atol=1e-5)


def test_shares_are_a_document_of_usual_length():
    """Would catch a gain that is not the number of words which biases are folded for."""
    model, counts = machine(mean_trials=10.0), np.array([[1, 2, 3, 4, 0, 0]])
    network = dg.encoder(model, model.layers[0].inputs("shares"))
    expected = dg.encoder(model).forward(counts)
    np.testing.assert_allclose(network.forward(counts), expected, atol=1e-6)
    np.testing.assert_allclose(network.forward(7 * counts), expected, atol=1e-6)


def test_documents_of_one_length_have_their_bias_once():
    """Would catch a fold that adds the bias of a machine whose rows all have so many words."""
    model, counts = machine(trials=10), np.array([[1, 2, 3, 4, 0, 0]])
    expected = stack_features([model], model.layers[0].states_of(counts))
    np.testing.assert_allclose(dg.encoder(model).forward(counts), expected, atol=1e-6)


def test_the_decoder_gives_the_words_of_the_machine():
    """Would catch a softmax over a part of the words, or means that are counts."""
    model = machine(mean_trials=10.0)
    hidden = np.array([[1.0, 0.0, 1.0, 0.5]], np.float32)
    shares = backprop.outputs(dg.unrolled(model), hidden, first=1)
    field = hidden @ model.weights[0].T + model.layers[0].bias
    np.testing.assert_allclose(shares, np.exp(field) / np.exp(field).sum(), rtol=1e-5)


# -------------------------------------------------------------------------------------------- noise


def noisy_network():
    rng = np.random.default_rng(2)
    sizes, kinds = (5, 4, 2, 4, 5), ("logistic", "logistic", "logistic", "softmax")
    return dg.Network([
        dg.NetworkLayer(kind, rng.normal(size=above), rng.normal(size=(below, above)))
        for kind, below, above in zip(kinds, sizes[:-1], sizes[1:], strict=True)
    ])  # fmt: skip


def test_noise_is_normal_and_new_in_each_update():
    """Would catch noise of another size, the same for all rows, or the same in each update."""
    noise, network = dg.FieldNoise(1, 3.0), noisy_network()
    drawn = noise.draw(network, 20_000, Stream(4))
    assert set(drawn) == {1}
    assert_mean(drawn[1], 0.0)
    assert_mean(drawn[1] ** 2, 9.0)
    again = noise.draw(network, 20_000, Stream(4).at(1))[1]
    assert_mean(drawn[1] * again, 0.0)
    assert_mean(drawn[1][:-1] * drawn[1][1:], 0.0)


def test_the_gradient_is_that_of_the_network_with_this_noise():
    """Would catch noise behind the logistic function, in another layer, or in the forward pass
    alone: with noise that stays the loss is smooth."""
    network, noise = noisy_network(), dg.FieldNoise(1, 2.0)
    X = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
    target = np.full((6, 5), 0.2, np.float32)
    stream = Stream(9, 4)
    added = noise.draw(network, 6, stream)[1].astype(np.float64)
    _, arrays = reference.network_arrays(network)
    objective = Objective(dg.SoftmaxCrossEntropy(), noise=noise)
    _, gradients = objective.evaluate(network, dg.Batch((X,), target=target), stream=stream)
    for name, array in arrays.items():
        def function(a, name=name):
            values, x = {**arrays, name: a}, X.astype(np.float64)
            for l in range(4):
                x = x @ values[f"weights[{l}]"] + values[f"layers[{l}].bias"]
                x = x + added if l == 1 else x
                x = 1.0 / (1.0 + np.exp(-x)) if l < 3 else x
            return -(target * (x - np.log(np.exp(x).sum(axis=1))[:, None])).sum(axis=1).mean()
        slope = reference.finite_difference(function, array)
        np.testing.assert_allclose(gradients[name], slope, rtol=1e-4, atol=2e-5, err_msg=name)


def test_noise_makes_a_logistic_code_binary():
    """Would catch noise that is lost on its way, so that codes stay between 0 and 1."""
    X, _ = documents()
    common = {"visible": "multinomial", "code": "logistic", "n_epochs": 200, "random_state": 0}
    plain = dg.DeepAutoencoder((20, 3), **common).fit(X).transform(X)
    noisy = dg.DeepAutoencoder((20, 3), code_noise=4.0, **common).fit(X).transform(X)
    between = [float((np.abs(codes - 0.5) < 0.4).mean()) for codes in (plain, noisy)]
    assert between[1] < 0.02
    assert between[0] > 5 * between[1]


# ------------------------------------------------------------------------------------ the estimator


def settings(name):
    return {
        "random": {},
        "shares": {"inputs": "shares", "activation": "logistic", "masking": 0.2},
        "noise": {"code": "logistic", "code_noise": 3.0, "l2": 1e-4},
        "greedy": {"inputs": "counts", "pretrained": dg.Pretraining(1)},
        "stack": {"pretrained": [machine(1, N_WORDS, 8, mean_trials=30.0), code_machine()]},
    }[name]


def code_machine():
    weights = np.random.default_rng(6).normal(0.0, 0.1, (8, 3))
    return dg.BoltzmannMachine([dg.Binary(8), dg.Gaussian(3, learn_precision=False)], [weights])


NAMES = ("random", "shares", "noise", "greedy", "stack")


def fitted(name, X, **more):
    autoencoder = dg.DeepAutoencoder(
        (8, 3), visible="multinomial", **{**QUICK, **settings(name), **more}
    )
    return autoencoder.fit(X)


def answers(estimator, X):
    codes = estimator.transform(X)
    return [codes, estimator.transform(X, quantity="field"), estimator.inverse_transform(codes),
            estimator.reconstruction_error(X)]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_counts_of_any_type_are_the_same_documents(name, tmp_path):
    """Would catch bits that depend on threads, on how counts are stored, or on a file between."""
    X, _ = documents()
    whole = fitted(name, X)
    expected = answers(whole, X)
    others = [fitted(name, X.astype(kind), n_threads=n_threads)
              for kind, n_threads in zip((np.int32, np.uint16, np.float64), THREADS, strict=False)]
    others += [fitted(name, X.toarray()), fitted(name, X.toarray().astype(np.uint8))]
    whole.save(tmp_path / "m")
    for other in [*others, dg.load(tmp_path / "m")]:
        for one, its in zip(expected, answers(other, X), strict=True):
            np.testing.assert_allclose(one, its, rtol=1e-4, atol=1e-5)
    for other in [*others[:3], dg.load(tmp_path / "m")]:
        for one, its in zip(expected, answers(other, X), strict=True):
            assert_same_bits(one, its)


def test_the_error_is_the_cross_entropy_of_the_shares():
    """Would catch a squared error in its place, a target of counts, or one in bits."""
    X, _ = documents()
    autoencoder = fitted("random", X)
    shares = X.toarray() / np.maximum(X.toarray().sum(axis=1), 1)[:, None]
    rebuilt = autoencoder.inverse_transform(autoencoder.transform(X)).astype(np.float64)
    np.testing.assert_allclose(rebuilt.sum(axis=1), 1.0, rtol=1e-5)
    expected = -(shares * np.log(rebuilt)).sum(axis=1)
    np.testing.assert_allclose(autoencoder.reconstruction_error(X), expected, rtol=1e-4, atol=1e-6)
    squared = np.square(rebuilt - shares).sum(axis=1)
    found = autoencoder.reconstruction_error(X, loss="squared_error")
    keep = X.sum(axis=1) > 0
    np.testing.assert_allclose(found[keep], squared[keep], rtol=1e-4)
    with pytest.raises(ValueError, match="needs a last layer of logistic units"):
        autoencoder.reconstruction_error(X, loss="cross_entropy")


def test_documents_without_words_count_nowhere():
    """Would catch an empty document that is rebuilt as the mean one, or that lowers the score."""
    X, _ = documents()
    words = X.toarray().sum(axis=1) > 0
    autoencoder = fitted("random", X)
    errors = autoencoder.reconstruction_error(X)
    assert (errors[~words] == 0.0).all()
    assert (errors[words] > 0.0).all()
    assert autoencoder.score(X) == pytest.approx(-errors[words].mean(), rel=1e-12)
    assert autoencoder.score(sparse.csr_array((2, N_WORDS), dtype=np.int64)) == 0.0
    network, empty = autoencoder.model_, np.zeros((4, N_WORDS), np.float32)
    rows = PairedRows(empty, target_of=dg.Multinomial(N_WORDS).target_of)
    batch = rows.batch(slice(0, 4))
    _, gradients = Objective(dg.SoftmaxCrossEntropy()).evaluate(network, batch)
    assert not any(gradient.any() for gradient in gradients.values())


def test_long_and_empty_documents_in_one_batch():
    """Would catch an input whose size goes with the length: it would saturate or overflow."""
    counts = np.zeros((3, N_WORDS), np.int64)
    counts[1, :5] = 1
    counts[2, :5] = 1_000
    for form in ("logs", "shares"):
        autoencoder = fitted("random", documents()[0], inputs=form)
        codes = autoencoder.transform(counts)
        assert np.isfinite(codes).all()
        np.testing.assert_allclose(codes[1], codes[2], atol=1e-5)


def test_the_loss_goes_below_the_unigram():
    """Would catch inputs so small that hidden units never move: the loss stays where it starts."""
    X, _ = documents()
    total = X.sum(axis=0) / X.sum()
    shares = X.toarray() / np.maximum(X.toarray().sum(axis=1), 1)[:, None]
    unigram = -(shares * np.log(np.maximum(total, 1e-9))).sum(axis=1)[X.sum(axis=1) > 0].mean()
    autoencoder = fitted("random", X, n_epochs=60)
    assert -autoencoder.score(X) < 0.8 * unigram
    assert autoencoder.history_[-1]["loss"] < autoencoder.history_[0]["loss"]


@pytest.mark.parametrize("name", ["noise", "greedy"])
def test_a_fit_that_was_stopped_goes_on_with_the_same_bits(name, tmp_path):
    """Would catch noise that is drawn anew after a stop, or inputs that a checkpoint forgets."""
    X, path = documents()[0], tmp_path / "run"
    whole = fitted(name, X, n_epochs=4)
    with pytest.raises(Stop):
        fitted(name, X, n_epochs=4, callbacks=[dg.Checkpoint(path), At(fail, update=14)])
    other = dg.DeepAutoencoder(
        (8, 3), visible="multinomial", **{**QUICK, **settings(name), "n_epochs": 4}
    ).fit(X, resume=path)
    for one, its in zip(answers(whole, X), answers(other, X), strict=True):
        assert_same_bits(one, its)
    assert without_seconds(whole.history_) == without_seconds(other.history_)


def test_what_are_no_counts_is_refused_by_name():
    """Would catch a fit on TF-IDF, whose shares are no target of a likelihood."""
    X, _ = documents()
    for form in ({}, {"pretrained": dg.Pretraining(1)}):
        with pytest.raises(ValueError, match="TF-IDF and frequencies are no counts"):
            dg.DeepAutoencoder((8, 3), visible="multinomial", **form).fit(
                TfidfTransformer().fit_transform(X)
            )
    autoencoder = fitted("random", X)
    with pytest.raises(ValueError, match="hold counts"):
        autoencoder.transform(0.5 * X)


@pytest.mark.parametrize(("options", "message"), [
    ({"inputs": "tf-idf"}, "inputs must be 'counts' or 'logs' or 'shares'"),
    ({"inputs": "logs", "visible": "binary"}, "inputs is for counts"),
    ({"activation": "tanh"}, "activation must be"),
    ({"activation": "rectified", "pretrained": dg.Pretraining(1)}, "leave pretrained out"),
    ({"code_noise": -1.0}, "code_noise must be a number"),
])  # fmt: skip
def test_settings_without_a_meaning_are_refused(options, message):
    """Would catch a setting that is told to be wrong after the pretraining, or never."""
    with pytest.raises(ValueError, match=message):
        dg.DeepAutoencoder((8, 3), **{"visible": "multinomial", **options}).fit(documents()[0])


def test_a_shallow_autoencoder_takes_documents_too():
    """Would catch counts that only the deep one reads."""
    X, _ = documents()
    for tied in (True, False):
        autoencoder = dg.Autoencoder(4, visible="multinomial", tied=tied, **QUICK).fit(X)
        assert autoencoder.model_.inputs.form == "logs"
        assert -autoencoder.score(X) < np.log(N_WORDS)


def test_a_classifier_above_a_stack_reads_counts():
    """Would catch a top that is put on layers whose counts are then read as plain values."""
    X, topics = documents()
    classifier = dg.DeepClassifier(
        (8,), visible="multinomial", pretrained=dg.Pretraining(2), **{**QUICK, "n_epochs": 40}
    ).fit(X, topics)
    assert classifier.model_.inputs == dg.CountInputs("counts")
    assert classifier.score(X, topics) > 0.9
    with pytest.raises(ValueError, match="hold counts"):
        classifier.predict(0.5 * X)
