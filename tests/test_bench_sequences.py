"""Tables of sequences: what stands beside the models is right, and so is the peer that is timed."""

import numpy as np
import pytest
import reference
from scipy.stats import multivariate_normal

import deepgen as dg

baselines = pytest.importorskip(
    "bench.results.sequence_baselines", reason="bench/ is not beside the tests"
)
mocap = pytest.importorskip("bench.results.mocap")
temporal = pytest.importorskip("bench.speed.temporal")


def pieces(rng, lengths=(5, 1, 8), n_columns=4):
    """Sequences of bits."""
    return [(rng.random((n, n_columns)) < 0.4).astype(np.uint8) for n in lengths]


def test_pasts_do_not_reach_into_other_sequences():
    """Catches a baseline that knows the end of the piece before."""
    X = pieces(np.random.default_rng(0))
    now, past = baselines.past_of(X, 2)
    row = 0
    for frames in X:
        for t in range(len(frames)):
            assert (now[row] == frames[t]).all()
            for k in (1, 2):
                expected = frames[t - k] if t >= k else np.zeros(4)
                assert (past[row, 4 * (k - 1) : 4 * k] == expected).all()
            row += 1


@pytest.mark.parametrize("make", [baselines.Frequencies, baselines.Copies, baselines.Logistic])
def test_baselines_of_keys_are_normalized(make):
    """Catches a baseline that looks better because its probabilities add up to more than one."""
    rng = np.random.default_rng(1)
    model, first = make(pieces(rng, (40, 30))), pieces(rng, (3,))[0]
    states = (np.arange(16)[:, None] >> np.arange(4) & 1).astype(np.uint8)
    last = [
        model.log_likelihoods([np.vstack([first, state])])[-1] for state in states
    ]
    assert np.exp(last).sum() == pytest.approx(1.0)


def test_a_logistic_baseline_finds_what_the_last_frame_says():
    """Catches weights that are turned over, or a penalty that keeps them at zero."""
    rng = np.random.default_rng(2)
    X = [(rng.random((1, 4)) < 0.5).astype(np.uint8)]
    for _ in range(500):
        X.append(np.roll(X[-1], 1, axis=1) ^ (rng.random((1, 4)) < 0.05))
    model = baselines.Logistic([np.concatenate(X)], decay=1.0)
    assert model.log_likelihoods([np.concatenate(X)])[1:].mean() == pytest.approx(
        4 * (0.05 * np.log(0.05) + 0.95 * np.log(0.95)), abs=0.1
    )


def test_densities_of_ridge_are_normal_densities():
    """Catches a determinant that is forgotten, and noise of the wrong covariance."""
    rng = np.random.default_rng(3)
    X = [rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3)) for _ in range(2)]
    model = baselines.Ridge(X, 1)
    left = np.concatenate(X) - model.predict(X)
    diagonal = np.diag(np.diag(model.covariance))
    for share, covariance in ((1.0, diagonal), (0.1, 0.9 * model.covariance + 0.1 * diagonal)):
        expected = multivariate_normal.logpdf(left, np.zeros(3), covariance)
        np.testing.assert_allclose(model.log_densities(X, share), expected, rtol=1e-9)


def test_decorrelated_frames_leave_independent_noise(monkeypatch):
    """Catches a matrix on the wrong side, and a density that lacks its determinant."""
    rng = np.random.default_rng(6)
    mix = rng.normal(size=(3, 3))
    X = [np.cumsum(rng.normal(size=(400, 3)), axis=0) * 0.1 + rng.normal(size=(400, 3)) @ mix]
    monkeypatch.setattr(mocap, "SHRINKAGE", 0.0)
    matrix = mocap.decorrelation(X)
    covariance = baselines.Ridge(X, mocap.ORDER, 10.0).covariance
    np.testing.assert_allclose(matrix.T @ covariance @ matrix, np.eye(3), atol=1e-8)
    model = dg.TemporalRBM(
        1, recurrence="window", visible="gaussian", n_epochs=1, learning_rate=1e-9, random_state=0
    )
    found = [
        mocap.measured(model.fit([x @ a for x in X]), X, True, a) for a in (np.eye(3), matrix)
    ]
    # both start at linear regressions; only the decorrelated one has the noise of this process
    assert found[1]["error"] == pytest.approx(found[0]["error"], rel=0.02)
    assert found[1]["density"] > found[0]["density"] + 0.1


def test_walks_have_differences_in_place_of_places():
    """Catches a heading that jumps by a whole turn, and sequences of different columns."""
    rng = np.random.default_rng(4)
    frames = rng.normal(size=(6, 62))
    frames[:, 4] = [170.0, 175.0, -179.0, -170.0, 175.0, 170.0]
    frames[:, 7] = 3.0  # never varies
    found = mocap.local(frames)
    assert found[:, 4] == pytest.approx([5.0, 6.0, 9.0, -15.0, -5.0])
    assert found[:, 0] == pytest.approx(np.diff(frames[:, 0]))
    assert found[:, 1] == pytest.approx(frames[1:, 1])
    train, test = mocap.prepared(([frames, frames + 1e-9], [frames[:3]]))
    assert [x.shape for x in train + test] == [(5, 61), (5, 61), (2, 61)]
    assert np.concatenate(train).std(axis=0) == pytest.approx(1.0)


def test_torch_has_the_same_free_energies(monkeypatch):
    """Catches a peer that learns another model than ours, faster or slower."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    X = pieces(rng, (6, 3, 4))
    for name, size in (("N_HIDDEN", 5), ("N_RECURRENT", 3), ("N_GIBBS", 1)):
        monkeypatch.setattr(temporal, name, size)
    model = temporal.TorchModel(X)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.5)
    negative = [(rng.random(x.shape) < 0.5).astype(np.float32) for x in X]
    queue = [torch.zeros(13, 5), torch.tensor(np.concatenate(negative))]  # hidden, then visible
    monkeypatch.setattr(torch, "bernoulli", lambda p: queue.pop(0))
    frames = torch.nn.utils.rnn.pad_sequence([torch.tensor(x).float() for x in X], batch_first=True)
    mask = torch.arange(6) < torch.tensor([6, 3, 4])[:, None]
    found = float(model.loss(frames, mask).detach())
    rnn = model.rnn
    arrays = {
        "weights": model.weights, "visible_bias": model.visible_bias,
        "hidden_bias": model.hidden_bias, "visible_weights": model.to_visible,
        "hidden_weights": model.to_hidden, "initial": model.initial,
        "recurrent_weights": rnn.weight_hh_l0.T, "input_weights": rnn.weight_ih_l0.T,
        "bias": rnn.bias_hh_l0 + rnn.bias_ih_l0,
    }  # fmt: skip
    arrays = {name: array.detach().numpy().astype(np.float64) for name, array in arrays.items()}
    everything = [np.ones(len(x), bool) for x in X]
    expected = reference.sequence_objective("rnn", arrays, X, negative, everything)
    assert found == pytest.approx(expected, rel=1e-5)
