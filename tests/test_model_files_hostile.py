"""2,000 mutated model files with fixed seeds: a usable model or one clear error, never more.

Whoever makes a hostile file can compute the checksum too: most mutants carry one that fits.
"""

import json
import tracemalloc
import warnings

import numpy as np
import pytest
from model_files import config_of, metadata_of, pack, unpack

import deepgen as dg
from deepgen.io import model_files
from deepgen.io.schemas.registry import schema_for

N_FILES = 2000
RNG = np.random.default_rng(0)
# finite values that overflow in sums, products or exponentials
EXTREMES = np.array([3.4e38, -3.4e38, 1e30, -1e20, 88.8, -60.0, 60.0, 1e-45, -0.0], np.float32)
NUMBERS = [
    0, -1, 1, 2, 2**31, 2**32 + 4, 2**62, 2**64, -(2**63), 1e308, 1.5, True, None, "4", [], {}
]  # fmt: skip
BYTES = list(b'{}[]",:0-19eE.\\ \0\xff')


def whole_files():
    """A valid file for each kind of layer and of model: (header, data, tensors)."""
    layers = {
        "binary": dg.Binary(bias=RNG.normal(size=6)),
        "copies": dg.Binary(bias=RNG.normal(size=6), n_copies=3),
        "gaussian": dg.Gaussian(bias=RNG.normal(size=6), log_precision=RNG.normal(size=6)),
        "softmax": dg.Softmax(3, bias=RNG.normal(size=6)),
    }
    for visible in layers.values():
        model = dg.BoltzmannMachine([visible, dg.Binary(4)], [RNG.normal(size=(6, 4))])
        yield whole_file(model, {"estimator": "RBM", "score_seed": 1})
    documents = dg.Multinomial(bias=RNG.normal(size=6), mean_trials=20.5)
    model = dg.BoltzmannMachine([documents, dg.Binary(4)], [RNG.normal(size=(6, 4))])
    yield whole_file(model, {"estimator": "ReplicatedSoftmax", "score_seed": 1})
    mixture = dg.BernoulliMixture.from_means([0.25] * 4, RNG.random((4, 6)))
    yield whole_file(mixture, {"estimator": "MixtureOfBernoullis"})
    columns = dg.Mixed([dg.Softmax(3, 3), dg.Gaussian(2), dg.Binary(1)])
    fields, origin = RNG.normal(size=(6, 2)), [0.0, 0.0, 0.0, 7.0, 8.0, 0.0]
    mixture = dg.ProductMixture(columns, np.log([0.25, 0.75]), fields, origin)
    yield whole_file(mixture, {"estimator": "MixtureOfProducts"})
    up = dg.NetworkLayer("rectified", RNG.normal(size=4), RNG.normal(size=(6, 4)))
    tied = dg.NetworkLayer("logistic", RNG.normal(size=6), tied_to=0)
    yield whole_file(dg.Network([up, tied]), {"estimator": "Autoencoder"})
    visible = dg.Gaussian(bias=RNG.normal(size=6), log_precision=RNG.normal(size=6))
    hidden = [dg.Binary(bias=RNG.normal(size=4)) for _ in range(2)]
    layer = dg.BeliefLayer(visible, hidden[0], *RNG.normal(size=(2, 6, 4)))
    machine = dg.BoltzmannMachine([hidden[1], dg.Binary(3)], [RNG.normal(size=(4, 3))])
    network = dg.BeliefNetwork([layer], machine)
    yield whole_file(network, {"estimator": "DBN", "score_seed": 1})
    machine = dg.BoltzmannMachine([dg.Binary(6), dg.Binary(4)], [RNG.normal(size=(6, 4))])
    recurrence = dg.HiddenMeans(RNG.random(4), RNG.normal(size=(4, 6)), RNG.normal(size=(4, 4)))
    sequences = dg.ConditionalMachine(machine, recurrence)
    yield whole_file(sequences, {"estimator": "TemporalRBM", "score_seed": 1})
    ladder = dg.TrajectoryTempering([dg.independent(machine), machine])
    yield whole_file(ladder, {})
    top = dg.NetworkLayer("softmax", RNG.normal(size=2), RNG.normal(size=(4, 2)))
    classifier = {"estimator": "DeepClassifier", "classes": [0, 1]}
    yield whole_file(dg.Network([up, top]), classifier)
    layers = [visible, *(dg.Binary(bias=RNG.normal(size=n)) for n in (4, 3))]
    machine = dg.BoltzmannMachine(layers, [RNG.normal(size=n) for n in ((6, 4), (4, 3))])
    up = dg.NetworkLayer("logistic", RNG.normal(size=4), RNG.normal(size=(9, 4)))
    yield whole_file(dg.PosteriorNetwork(machine, dg.Network([up, top])), classifier)
    top = dg.Softmax(2, bias=RNG.normal(size=2))
    weights = [RNG.normal(size=n) for n in ((6, 4), (4, 3), (3, 2))]
    machine = dg.BoltzmannMachine([*layers, top], weights, observed=(0, 3))
    yield whole_file(machine, {"estimator": "DBM", "score_seed": 1, "classes": ["a", "b"]})


def whole_file(model, extra):
    header, data = unpack(saved(model, extra))
    return header, data, model_files.describe(model)[1]


def saved(model, extra):
    config, tensors = model_files.describe(model)
    config = {"format_version": schema_for(model).format_version, **config, "extra": extra}
    return model_files.serialize(tensors, metadata=metadata_of(config, tensors))


FILES = list(whole_files())


def any_place(tree, rng):
    """A random (container, key) in a tree of dicts and lists."""
    here = tree
    while True:
        keys = list(here) if isinstance(here, dict) else range(len(here))
        key = keys[int(rng.integers(len(keys)))]
        inner = here[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.3:
            return here, key
        here = inner


def with_text(header, data, text):
    return pack({**header, "__metadata__": {"deepgen": text}}, data)


def mutant(number):
    """File `number` of 2,000: what was done to it, and its bytes."""
    rng = np.random.default_rng((11, number))
    header, data, tensors = FILES[number % len(FILES)]
    header, config = json.loads(json.dumps(header)), config_of(header)
    whole = pack(header, data)
    kind = KINDS[number // len(FILES) % len(KINDS)]
    if kind == "bits":
        changed = bytearray(whole)
        for bit in rng.integers(0, 8 * len(whole), rng.integers(1, 9)):
            changed[bit // 8] ^= 1 << bit % 8
        return kind, bytes(changed)
    if kind == "length":
        cut = int(rng.integers(len(whole) + 1))
        return kind, whole[:cut] + rng.bytes(int(rng.integers(3)) * 40)
    if kind == "bytes":
        changed = bytearray(whole)
        length = 8 + int.from_bytes(whole[:8], "little")
        for place in rng.integers(0, length, 3):
            changed[place] = BYTES[int(rng.integers(len(BYTES)))]
        return kind, bytes(changed)
    if kind == "entry":  # of the configuration, with a checksum that fits
        container, key = any_place(config, rng)
        container[key] = NUMBERS[int(rng.integers(len(NUMBERS)))]
        return kind, pack({**header, "__metadata__": metadata_of(config, tensors)}, data)
    if kind == "layout":  # dtypes, shapes and offsets of the tensors
        tensor = list(tensors)[int(rng.integers(len(tensors)))]
        container, key = any_place(header[tensor], rng)
        choice = [*NUMBERS, "F16", "F64", "I8", "BOOL", "x", [4, 6], [2**62, 4], [0, 2**40]]
        container[key] = choice[int(rng.integers(len(choice)))]
        return kind, pack(header, data)
    if kind == "duplicate":
        names = [name for name in ("format_version", "model", "layers", "extra") if name in config]
        name = names[int(rng.integers(len(names)))]
        text = json.dumps(config)[:-1] + f', "{name}": {json.dumps(config[name])}}}'
        return kind, with_text(header, data, text)
    if kind == "deep":
        depth = int(rng.integers(100, 30_000))
        nested = ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth)[number % 2]
        text = json.dumps({**config, "extra": {}}).replace("{}", f'{{"a": {nested}}}')
        return kind, with_text(header, data, text)
    if kind == "huge":
        digits = "9" * int(rng.integers(20, 6000))
        return kind, with_text(header, data, json.dumps(config).replace(": 6", f": {digits}", 1))
    # values: extreme finite numbers, with a checksum that fits
    tensors = {name: np.array(value) for name, value in tensors.items()}
    for _ in range(int(rng.integers(1, 6))):
        value = tensors[list(tensors)[int(rng.integers(len(tensors)))]].reshape(-1)
        value[int(rng.integers(len(value)))] = EXTREMES[int(rng.integers(len(EXTREMES)))]
    config = {name: value for name, value in config.items() if name != "sha256"}
    return kind, model_files.serialize(tensors, metadata=metadata_of(config, tensors))


KINDS = ("bits", "length", "bytes", "entry", "layout", "duplicate", "deep", "huge", "values")


def loaded_from(path, number):
    """What the reader of file `number` makes of it: a ladder of models has its own."""
    header = FILES[number % len(FILES)][0]
    is_ladder = config_of(header)["model"] == "TrajectoryTempering"
    return (dg.load_ladder if is_ladder else dg.load)(path)


def use(loaded):
    """Fail unless what was loaded gives finite answers and samples."""
    if isinstance(loaded, dg.TrajectoryTempering):
        for model in loaded.models:
            use_rbm(dg.RBM.from_model(model))
        return
    if isinstance(loaded, dg.RBM):
        use_rbm(loaded)
        return
    if isinstance(loaded, dg.DBN | dg.DBM):
        rows = np.eye(3, loaded.n_features_in_, dtype=np.float32)
        assert np.isfinite(loaded.transform(rows)).all()
        draws = loaded.sample(5, n_sweeps=3, random_state=0)
        assert np.isfinite(loaded.transform(draws)).all()
        return
    rows = np.eye(3, loaded.n_features_in_, dtype=np.float32)
    if isinstance(loaded, dg.ReplicatedSoftmax):
        draws = loaded.sample(5, n_words=20, n_sweeps=3, random_state=0)
        assert (draws.sum(axis=1) == 20).all()
        assert np.isfinite(loaded.transform(draws, quantity="field")).all()
        assert np.isfinite(loaded.free_energy(draws)).all()
        return
    names = ("transform", "predict_proba", "score_samples", "reconstruction_error")
    for name in names:
        if hasattr(loaded, name):
            assert np.isfinite(getattr(loaded, name)(rows)).all()
    if hasattr(loaded, "sample"):
        draws = loaded.sample(5, random_state=0)
        if isinstance(loaded, dg.MixtureOfProducts):
            loaded.model_.visible.check(draws)  # raises where a draw is no state of its column
        else:
            assert set(np.unique(draws)) <= {0, 1}


def use_rbm(rbm):
    """Fail unless features and samples of an RBM are finite."""
    size, group = rbm.n_features_in_, rbm.model_.layers[0].group
    ones = np.zeros((3, size), np.float32)
    ones[1, ::group] = ones[2, group - 1 :: group] = 1.0
    assert np.isfinite(rbm.transform(ones)).all()
    draws = rbm.sample(5, n_sweeps=3, random_state=0)
    assert np.isfinite(draws).all()
    assert np.isfinite(rbm.transform(draws)).all()


@pytest.mark.slow
def test_mutated_files_give_a_usable_model_or_one_error(tmp_path):
    """Would catch a crash, an error of another kind, memory that a header asks for, and weights
    that turn into NaN when they are used."""
    path, loaded, refused = tmp_path / "a", dict.fromkeys(KINDS, 0), 0
    named = 0
    tracemalloc.start()
    try:
        for number in range(N_FILES):
            kind, blob = mutant(number)
            path.write_bytes(blob)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                rbm = loaded_from(path, number)
            except (dg.ModelFileError, OSError) as error:
                rbm, refused, named = None, refused + 1, named + (str(path) in str(error))
            assert tracemalloc.get_traced_memory()[1] - before < 2 * len(blob) + 1_500_000
            if rbm is not None:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")  # NumPy tells of overflows
                    use(rbm)
                loaded[kind] += 1
    finally:
        tracemalloc.stop()
    assert named == refused > 1500  # each error names the file
    assert loaded["values"] > 50  # not all that is strange is refused


@pytest.mark.parametrize("kind", range(len(FILES)))
def test_the_files_before_mutation_load(kind, tmp_path):
    """Would catch mutants that are refused for another reason than their mutation."""
    header, data, _ = FILES[kind]
    (tmp_path / "a").write_bytes(pack(header, data))
    use(loaded_from(tmp_path / "a", kind))
