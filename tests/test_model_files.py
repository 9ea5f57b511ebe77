"""The file format: models and estimators come back with the same bits, from old files too."""

import json
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from model_files import metadata_of, same, small_model, unpack

import deepgen as dg
from deepgen.io import model_files

DATA = Path(__file__).parent / "data"
# float32 values whose bits a detour through text or arithmetic would change
AWKWARD = np.array([-0.0, 1e-45, 3.4e38, 1.17e-38, -1 / 3, 1.0000001], np.float32)


def every_model():
    """One model for each unit type as visible and as hidden layer, and deeper ones."""
    layers = {
        "binary": lambda: dg.Binary(bias=AWKWARD),
        "copies": lambda: dg.Binary(bias=AWKWARD[::-1], n_copies=3),
        "gaussian": lambda: dg.Gaussian(bias=AWKWARD, log_precision=AWKWARD[[0, 1, 3, 4, 5, 0]]),
        "fixed gaussian": lambda: dg.Gaussian(6, learn_precision=False),
        "softmax": lambda: dg.Softmax(3, bias=AWKWARD),
    }
    weights = np.tile(AWKWARD, (6, 1))
    for name, make in layers.items():
        yield f"{name}-binary", dg.BoltzmannMachine([make(), dg.Binary(6)], [weights])
        yield f"binary-{name}", dg.BoltzmannMachine([dg.Binary(6), make()], [weights.T])
    yield "deep", dg.BoltzmannMachine(
        [layers["gaussian"](), layers["softmax"](), dg.Binary(6), layers["copies"]()],
        [weights] * 3, observed=(0, 3),
    )  # fmt: skip


MODELS = dict(every_model())


# ---------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("name", MODELS)
def test_every_model_comes_back_with_the_same_bits(name, tmp_path):
    """Would catch a parameter or an option that the file leaves out, or a wrong byte order."""
    path = tmp_path / "model.safetensors"
    extra = {"estimator": "RBM", "list": [1, 2.5, None, True, "é"], "deep": {"a": {}}}
    model_files.save(MODELS[name], path, extra=extra)
    model, again = model_files.load_model(path)
    assert same(model, MODELS[name])
    assert again == extra
    assert model.observed == MODELS[name].observed
    model_files.save(model, tmp_path / "again", extra=again)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("visible", ["binary", "gaussian", dg.Softmax(3)])
def test_an_estimator_comes_back_and_gives_the_same_bits(visible, tmp_path):
    """Would catch a loaded estimator that lacks an attribute or answers differently."""
    rng = np.random.default_rng(0)
    rows = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, (50, 4))].reshape(50, 12)
    rbm = dg.RBM(5, visible=visible, n_epochs=3, random_state=0).fit(rows)
    for path in (tmp_path / "a.safetensors", str(tmp_path / "b")):
        assert rbm.save(path) is None
        loaded = dg.load(path)
        assert isinstance(loaded, dg.RBM)
        assert same(loaded.model_, rbm.model_)
        assert loaded.n_features_in_ == 12
        assert loaded.n_hidden == 5
        assert repr(loaded.visible) == repr(dg.RBM.from_model(rbm.model_).visible)
        assert np.array_equal(loaded.transform(rows), rbm.transform(rows))
        assert np.array_equal(loaded.score_samples(rows), rbm.score_samples(rows))
        assert np.array_equal(
            loaded.inverse_transform(loaded.transform(rows)),
            rbm.inverse_transform(rbm.transform(rows)),
        )
        assert list(loaded.get_feature_names_out()) == list(rbm.get_feature_names_out())
        assert loaded.sample(4, n_sweeps=3, random_state=0).shape == (4, 12)
        loaded.set_params(n_epochs=1).fit(rows)  # its settings can be fitted again
        assert loaded.model_.layers[0].size == 12


def test_a_file_says_what_it_is(tmp_path):
    """Would catch a file that only this version of this library can look into."""
    path = tmp_path / "a.safetensors"
    model_files.save(small_model(), path)
    header, data = unpack(path.read_bytes())
    metadata = header.pop("__metadata__")
    config = json.loads(metadata["deepgen"])
    assert metadata == metadata_of(config, model_files.describe(small_model())[1])
    assert config["format_version"] == 1 < model_files.FORMAT_VERSION
    assert config["model"] == "BoltzmannMachine"
    assert config["layers"][1] == {"units": "binary", "size": 3}
    assert {name: entry["shape"] for name, entry in header.items()} == {
        "layers.0.bias": [4], "layers.1.bias": [3], "weights.0": [4, 3],
    }  # fmt: skip
    assert len(data) == 4 * (4 + 3 + 12)
    with model_files.opened(path) as file:
        assert file.config == config
        assert file.shapes["weights.0"] == ("F32", (4, 3))


def test_loading_takes_about_twice_the_file(tmp_path):
    """Would catch copies upon copies of a large model."""
    n_bytes = 4 * 2000 * 2000
    model = dg.BoltzmannMachine([dg.Binary(2000), dg.Binary(2000)], [np.ones((2000, 2000))])
    model_files.save(model, tmp_path / "a")
    del model
    load = dg.load  # brings scikit-learn, which is no part of a model
    tracemalloc.start()
    try:
        load(tmp_path / "a")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.6 * n_bytes


def test_an_estimator_of_a_users_own_class_comes_back_as_what_it_is_derived_from(tmp_path):
    """Would catch a file that names a class which nobody can load, or the wrong one of two
    estimators around models of one kind."""

    class Mine(dg.DBM):
        """A deep Boltzmann machine of somebody's own."""

    X = dg.datasets.sample_bars_and_stripes(60, 2, random_state=0)
    Mine(3, n_epochs=1, random_state=0).fit(X).save(tmp_path / "mine")
    assert type(dg.load(tmp_path / "mine")) is dg.DBM


# --------------------------------------------------------------------------------- golden files

# The golden files of format version 1 in ``tests/data`` were written by this script, once; a
# later version must read them with the same numbers, so they are never written again:
#
#     import deepgen as dg
#     from deepgen import storage
#
#     binary = dg.BoltzmannMachine(
#         [dg.Binary(bias=[0.5, -1.25, 0.0]), dg.Binary(bias=[-0.75, 2.0], n_copies=2)],
#         [[[1.0, -0.5], [0.25, 2.5], [-3.0, 0.1]]],
#     )
#     dg.RBM.from_model(binary).save("tests/data/rbm_v1.safetensors")
#     mixed = dg.BoltzmannMachine(
#         [
#             dg.Gaussian(bias=[0.5, -1.0], log_precision=[0.25, -2.0], learn_precision=False),
#             dg.Softmax(2, bias=[0.1, -0.2, 0.3, 1.5]),
#             dg.Gaussian(bias=[0.0], log_precision=[1.0]),
#         ],
#         [[[1.0, 0.5, -0.5, 0.25], [-1.0, 2.0, 0.75, -0.125]], [[0.5], [-1.5], [0.3], [0.0]]],
#         observed=(0, 2),
#     )
#     storage.save(mixed, "tests/data/mixed_v1.safetensors", extra={"note": "golden"})


def test_golden_file_of_format_1_loads_with_the_expected_numbers():
    """Would catch a later format or loader that cannot read, or reads differently, the files
    that users have already. The numbers were computed apart from the library, in float64."""
    path = DATA / "rbm_v1.safetensors"
    assert path.stat().st_size < 1000
    rbm = dg.load(path)
    visible, hidden = rbm.model_.layers
    assert visible.bias.tolist() == [0.5, -1.25, 0.0]
    assert hidden.bias.tolist() == [-0.75, 2.0]
    assert hidden.n_copies == 2
    weights = np.array([[1.0, -0.5], [0.25, 2.5], [-3.0, 0.1]], np.float32)
    assert rbm.model_.weights[0].tobytes() == weights.tobytes()
    rows = np.array([[0, 0, 0], [1, 0, 1], [1, 1, 1]], np.uint8)
    # -b.v - sum_j 2 softplus(c_j + (v W)_j)
    field = rows @ weights.astype(np.float64) + [-0.75, 2.0]
    energies = -(rows @ [0.5, -1.25, 0.0]) - 2 * np.logaddexp(0, field).sum(axis=1)
    assert energies == pytest.approx([-5.02759803, -4.19173666, -7.64065317], abs=1e-6)
    assert rbm.free_energy(rows) == pytest.approx(energies, abs=1e-6)
    assert rbm.log_partition().value == pytest.approx(10.0027112, abs=1e-6)
    assert rbm.transform(rows) == pytest.approx(2 / (1 + np.exp(-field)), abs=1e-6)


def test_golden_file_with_other_units_loads():
    """Would catch a renamed tag, option or tensor of Gaussian and softmax units."""
    path = DATA / "mixed_v1.safetensors"
    assert path.stat().st_size < 1500
    model, extra = model_files.load_model(path)
    assert extra == {"note": "golden"}
    assert model.observed == (0, 2)
    gaussian, softmax, top = model.layers
    assert not gaussian.learn_precision
    assert top.learn_precision
    assert gaussian.bias.tolist() == [0.5, -1.0]
    assert gaussian.log_precision.tolist() == [0.25, -2.0]
    assert softmax.group == 2
    assert softmax.bias.tobytes() == np.array([0.1, -0.2, 0.3, 1.5], np.float32).tobytes()
    assert top.log_precision.tolist() == [1.0]
    assert model.weights[0].tolist() == [[1.0, 0.5, -0.5, 0.25], [-1.0, 2.0, 0.75, -0.125]]
    assert model.weights[1].shape == (4, 1)


def test_golden_file_of_ratings_loads():
    """Would catch a renamed entry or tensor of rating machines, of which format version 2 tells.

    It was written once, by ``RatingsRBM.from_model(machine, "users").save`` of these numbers."""
    model = dg.load(DATA / "ratings_v2.safetensors")
    assert (model.rows, model.n_users_, model.n_items_) == ("users", 2, 3)
    assert model.scale_.tolist() == [0.5, 1.0, 2.5]
    machine = model.model_
    assert machine.scale.edges == (0.75, 2.0)
    assert machine.weights.tolist() == (np.arange(18.0) / 8).reshape(3, 3, 2).tolist()
    assert machine.bias.tolist() == (np.arange(9.0) / 4).reshape(3, 3).tolist()
    assert machine.hidden_bias.tolist() == [-0.5, 0.25]
    assert machine.conditional.tolist() == [[0.5, 1.0], [-1.0, 0.0], [2.0, -2.0]]
    assert machine.known_means.tolist() == [[0.5, 0.25], [1.0, 0.0]]
    # softmax(b[1] + W[1] h), the values of the scale
    field = np.array([0.75, 1.0, 1.25]) + np.arange(6.0, 12.0).reshape(3, 2) @ [0.5, 0.25] / 8
    p = np.exp(field) / np.exp(field).sum()
    assert model.predict(0, 1) == pytest.approx(p @ [0.5, 1.0, 2.5], abs=1e-6)


def test_golden_file_of_sequences_loads():
    """Would catch a renamed entry or tensor of conditional machines.

    It was written once, by ``TemporalRBM.from_model(model).save`` of these numbers."""
    estimator = dg.load(DATA / "sequences_v2.safetensors")
    model, recurrence = estimator.model_, estimator.model_.recurrence
    assert (estimator.recurrence, estimator.n_recurrent, estimator.n_hidden) == ("rnn", 2, 3)
    assert model.layers[0].log_precision.tolist() == [0.25, -2.0]
    assert model.layers[1].bias.tolist() == [1.0, -0.5, 0.25]
    assert model.machine.weights[0].tolist() == (np.arange(6.0) / 8).reshape(2, 3).tolist()
    assert recurrence.initial.tolist() == [0.5, -0.25]
    assert recurrence.bias.tolist() == [0.125, 1.0]
    assert recurrence.recurrent_weights.tolist() == [[1.0, -0.5], [0.25, 0.75]]
    assert recurrence.input_weights.tolist() == [[0.5, 1.0], [-1.0, 2.0]]
    assert recurrence.visible_weights.tolist() == (np.arange(4.0) / 4).reshape(2, 2).tolist()
    assert recurrence.hidden_weights.tolist() == (np.arange(6.0) / 4).reshape(2, 3).tolist()
    state = estimator.state_after(np.array([[1.0, 0.5]]))
    # the bias, 0.5 and -0.25 times the rows of the recurrent weights, 1 and 0.5 times the inputs
    field = np.array([0.125 + 0.4375 + 0.0, 1.0 - 0.4375 + 2.0])
    assert state[0] == pytest.approx(np.tanh(field), abs=1e-6)


def test_golden_files_are_in_git():
    """Would catch golden files that an ignore rule keeps out of the repository."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return  # an unpacked sdist: the tests above have read the files
    kept = ("rbm_v1", "mixed_v1", "ratings_v2", "ratings_ids_v2", "sequences_v2")
    names = [f"tests/data/{name}.safetensors" for name in kept]
    ignored = subprocess.run(
        ["git", "check-ignore", *names], cwd=root, capture_output=True, text=True, check=False
    )
    assert ignored.stdout == ""
    assert ignored.returncode == 1
