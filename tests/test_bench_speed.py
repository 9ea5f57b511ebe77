"""Comparisons with other implementations: all sample, learn and estimate one and the same thing."""

import exact
import numpy as np
import pytest
from conftest import assert_mean, assert_within_errors, bars_and_stripes, twin, with_slow

import deepgen as dg
from deepgen import estimators
from deepgen.runtime.precision import rounded

ais = pytest.importorskip("bench.speed.ais", reason="bench/ is not beside the tests")
gibbs = pytest.importorskip("bench.speed.gibbs")
models = pytest.importorskip("bench.speed.models")
pcd = pytest.importorskip("bench.speed.pcd")
peers = pytest.importorskip("bench.speed.peers")
readme = pytest.importorskip("bench.speed.readme")
roofline = pytest.importorskip("bench.speed.roofline")
trained = pytest.importorskip("bench.speed.trained")

SYSTEMS = ("deepgen", "numpy", "torch")


@pytest.fixture(params=SYSTEMS)
def name(request):
    """A system, where its package is installed."""
    if request.param == "torch":
        pytest.importorskip("torch")
    return request.param


@pytest.fixture(autouse=True)
def _fixed_point(monkeypatch):
    """Begin with the default precision, and leave it behind."""
    monkeypatch.delenv("DEEPGEN_PRECISION", raising=False)
    dg.set_precision(None)
    yield
    dg.set_precision(None)


@pytest.fixture
def arrays():
    """Weights on the fixed-point grid and biases, of a model 6-4."""
    rng = np.random.default_rng(0)
    weights, visible, hidden = (
        rng.normal(0.0, scale, shape).astype(np.float32)
        for scale, shape in ((0.7, (6, 4)), (0.5, 6), (0.5, 4))
    )
    return rounded(dg.Binary(6), dg.Binary(4), weights), visible, hidden


def test_chains_of_all_systems_have_the_means_of_the_model(name, arrays):
    """Catches a peer that samples another model than ours, faster or slower."""
    means = exact.expectation(*twin(trained.deepgen_model(*arrays)))
    sweep = gibbs.SAMPLERS[name][0](*arrays, np.zeros((4000, 6), np.uint8))
    sweep(20)
    # the hidden states were drawn before the visible ones, from the same distribution
    for states, mean in zip(sweep(20), means, strict=True):
        assert_mean(states, mean)


def test_annealing_of_all_systems_finds_log_z(name, arrays):
    """Catches a peer that anneals on other temperatures, or weighs them wrongly."""
    model = trained.deepgen_model(*arrays)
    estimate = ais.SYSTEMS[name][0](*arrays)
    ours = dg.ais(model, n_chains=ais.N_CHAINS, n_betas=200, random_state=1)
    sigma = (ours.upper - ours.lower) / 6.0  # the ends are three of them away
    log_z = dg.exact_log_partition(model).value
    assert_within_errors(float(estimate(200)), log_z, sigma, 1e-4)


@pytest.mark.parametrize("n_particles", with_slow([50, 500], [500]))
def test_persistent_updates_of_all_systems_learn(name, n_particles, monkeypatch):
    """Catches a phase with a wrong sign, or divided by the rows of the other one."""
    for module in (peers, pcd):
        monkeypatch.setattr(module, "N_HIDDEN", 12)
    X = bars_and_stripes().astype(np.uint8)
    epochs = []
    train, dtype, _ = pcd.SYSTEMS[name]
    weights, visible, hidden = train(
        np.tile(X, (200, 1)).astype(dtype), 100, lambda: epochs.append(1), n_particles=n_particles
    )
    assert len(epochs) == 100
    model = dg.BoltzmannMachine([dg.Binary(bias=visible), dg.Binary(bias=hidden)], [weights])
    # independent units give -6.24 nats, the data's own distribution -2.64, these -3.1 to -3.5
    assert dg.exact_log_likelihood(model, X).mean() > -4.5


def test_a_model_off_the_grid_is_refused(arrays):
    """Catches a comparison that says fixed point and times float32."""
    weights, visible, hidden = arrays
    weights = weights * np.float32(1.1)
    with pytest.raises(RuntimeError, match="fixed-point grid"):
        trained.deepgen_model(weights, visible, hidden)
    dg.set_precision("float32")
    trained.deepgen_model(weights, visible, hidden)


def test_models_are_read_as_they_were_saved(tmp_path, monkeypatch):
    """Catches systems that get other weights, or layers in another order."""
    monkeypatch.setattr(peers, "N_HIDDEN", 3)
    X = dg.datasets.sample_bars_and_stripes(200, 3, random_state=0)
    path = str(tmp_path / "model.npz")
    trained.save_model(X, path)
    weights, visible, hidden = trained.load_model(path)
    model = dg.RBM(3, n_epochs=2, random_state=0).fit(X).model_
    assert (weights == model.weights[0]).all()
    assert (visible == model.layers[0].bias).all()
    assert (hidden == model.layers[1].bias).all()


def test_shares_of_the_peak_are_those_of_the_same_round(capsys):
    """Catches a share of another round's peak, and traffic that is taken for work."""
    peaks = [{"flops": 4e9, "bandwidth": 2e9}, {"flops": 1e9, "bandwidth": 1e9}]
    roofline.print_table({"one": [1.0, 2.0]}, 2e9, {"one": 1e9}, peaks)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == "| one | 1.5 (1..2) | 0.75 (0.5..1) | 0.75 (0.5..1) | 0.5 (0.5..0.5) |"


def test_an_update_moves_what_its_arrays_hold():
    """Catches a count that forgets the velocity, or a form of the weights."""
    weights = np.zeros((784, 500), np.float32)
    numbers = weights.astype(np.int16)
    float32 = 3 * weights.nbytes + 2 * weights.nbytes  # passes; the step
    packed = 3 * numbers.nbytes + 2 * weights.nbytes + 2 * numbers.nbytes
    plain = {"fixed_point": False, "velocity": False}
    assert roofline.traffic(784, 500, **plain) == float32
    assert roofline.traffic(784, 500, **plain | {"velocity": True}) == float32 + 2 * weights.nbytes
    assert roofline.traffic(784, 500, **plain | {"fixed_point": True}) == packed


def test_the_peak_is_measured_by_any_number_of_threads():
    """Catches a copy that is cut into other parts than there are threads."""
    for n_workers in (1, 3):
        peak = roofline.time_peak(n_workers, size=8, n_bytes=4 * 100)
        assert all(value > 0.0 for value in peak.values())


def test_a_row_of_the_readme_divides_within_rounds():
    """Catches ratios the wrong way round, of medians, or of a system in another one's column."""
    results = {
        "deepgen": [{"seconds": 1.0}, {"seconds": 2.0}],
        "numpy": [{"seconds": 4.0}, {"seconds": 6.0}],
        "rbms": [{"seconds": 5.0}, {"seconds": 10.0}],
    }
    assert readme.row("what", results) == "| what | 3.5 (3..4) | - | - | 5 (5..5) |"


def test_every_comparison_of_the_readme_names_its_systems(tmp_path):
    """Catches a comparison whose systems are not those of the function that times them."""
    compared = list(readme.comparisons(tmp_path, True))
    assert len({label for label, *_ in compared}) == len(compared) == 11
    for _, function, names, arguments in compared:
        assert names[0] == "deepgen"
        expected = function.__code__.co_varnames[: function.__code__.co_argcount]
        assert {"name", *arguments("deepgen")} == set(expected)


@pytest.mark.parametrize(
    "name", with_slow(list(models.MODELS), [n for n in models.MODELS if n != "RBM 64-32, PCD"])
)
def test_every_model_is_timed(name):
    """Catches a model that is left out of the table because its call fails."""
    found = models.time_model(name, 300, 2)
    assert found["update"] > 0.0
    assert found["answer"] > 0.0
    assert (found["partial_fit"] is not None) == (name in models.STREAMS)


def test_every_estimator_has_a_row():
    """Catches an estimator whose speed nobody measures."""
    elsewhere = {"Imputer", "RatingsRBM", "TemporalRBM"}  # none of its own; `ratings`; `temporal`
    named = {name.replace(",", "").split()[0] for name in models.MODELS}
    assert named | elsewhere == set(estimators.__all__)
