"""Chains that go on: one long run in pieces, of a class, in threads, in a pickle."""

import pickle
import threading

import exact
import numpy as np
import pytest
from conftest import assert_same_bits, random_model, twin
from samplers_of_ones_own import RandomOrder, Rungs
from scipy import sparse

import deepgen as dg

RNG = np.random.default_rng(6)
X = (RNG.random((120, 20)) < 0.3).astype(np.uint8)
RUN = {"n_epochs": 1, "random_state": 0, "n_threads": 1}
Y = np.array(["cat", "dog", "owl"])[np.arange(120) % 3]

pytestmark = pytest.mark.usefixtures("serial")


@pytest.fixture(scope="module")
def fitted():
    return {
        "rbm": dg.RBM(12, **RUN).fit(X),
        "gaussian": dg.RBM(12, visible="gaussian", **RUN).fit(X - 0.3),
        "dbn": dg.DBN((12, 9), **RUN).fit(X),
        "one layer": dg.DBN((12,), **RUN).fit(X),
        "dbm": dg.DBM((12, 9), pretrained=None, **RUN).fit(X),
        "labels": dg.DBM(
            (12, 9), pretrained=None, label_units=True, unlabelled="?", **RUN
        ).fit(X, Y),
        "documents": dg.DBM((12,), visible="multinomial", pretrained=None, **RUN).fit(X + 1),
    }


NAMES = ["rbm", "gaussian", "dbn", "one layer", "dbm", "labels", "documents"]


def dense(rows):
    return rows.toarray() if sparse.issparse(rows) else rows


@pytest.mark.parametrize("name", NAMES)
def test_runs_in_pieces_are_one_run(fitted, name):
    """Would catch a run that begins with the random numbers of the one before, or from the start;
    and looking at chains that moves them."""
    pieces = fitted[name].chains(5, random_state=1)
    for count in (3, 0, 5, 2):
        rows = dense(pieces.run(count))
        assert_same_bits(rows, dense(pieces.run(0)))
        pieces.run(0, mean=True)
    whole = fitted[name].chains(5, random_state=1)
    assert_same_bits(rows, dense(whole.run(10)))
    for one, other in zip(pieces.particles.states, whole.particles.states, strict=True):
        assert_same_bits(one, other)
    assert pieces.n_sweeps == 10
    assert repr(pieces) == "RowChains(5 chains, 10 sweeps)"
    assert len(pieces) == 5
    if name != "dbn":  # whose pass down has other random numbers after each run
        drawn = fitted[name].sample(5, n_sweeps=10, random_state=1)
        assert_same_bits(rows, dense(drawn))


@pytest.mark.parametrize("sampler", [RandomOrder(), Rungs()], ids=["random order", "rungs"])
def test_other_samplers_go_on_too(fitted, sampler):
    """Would catch chains that lose what a sampler keeps beside the states: temperatures, counts."""
    pieces = fitted["rbm"].chains(4, sampler=sampler, random_state=1)
    for count in (1, 4, 2):
        rows = pieces.run(count)
    assert_same_bits(rows, fitted["rbm"].chains(4, sampler=sampler, random_state=1).run(7))
    drawn = fitted["rbm"].sample(4, n_sweeps=7, sampler=sampler, random_state=1)
    assert_same_bits(rows, drawn)


@pytest.mark.parametrize("name", NAMES)
def test_chains_of_a_piece_equal_the_whole(fitted, name):
    """Would catch draws that depend on how chains are shared out over processes."""
    whole = dense(fitted[name].chains(6, random_state=2).run(4))
    part = dense(fitted[name].chains(2, random_state=2, first_row=3).run(4))
    assert_same_bits(np.ascontiguousarray(whole[3:5]), part)


def test_a_pickle_goes_on(fitted):
    """Would catch a lock that cannot be pickled, and a copy that begins anew."""
    for name in NAMES:
        chains = fitted[name].chains(3, random_state=2)
        chains.run(4)
        copied = pickle.loads(pickle.dumps(chains))
        assert_same_bits(dense(chains.run(3)), dense(copied.run(3)))


def test_threads_take_turns(fitted):
    """Would catch a sweep that is lost or made twice where several threads run the same chains."""
    chains = fitted["rbm"].chains(8, random_state=3)
    threads = [
        threading.Thread(target=lambda: [chains.run(1) for _ in range(25)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert chains.n_sweeps == 200
    assert_same_bits(chains.run(0), fitted["rbm"].sample(8, n_sweeps=200, random_state=3))


def test_they_keep_their_model():
    """Would catch chains that change their model in the middle: a later fit is another model."""
    rbm = dg.RBM(12, **RUN).fit(X)
    chains, expected = (rbm.chains(3, random_state=0) for _ in range(2))
    chains.run(2)
    rbm.fit(1 - X)
    assert_same_bits(chains.run(3), expected.run(5))


def test_rows_of_a_run_stay(fitted):
    """Would catch rows that the next run writes over."""
    chains = fitted["rbm"].chains(3, random_state=0)
    rows = chains.run(2)
    kept, particles = rows.copy(), chains.particles
    first = particles[0].copy()
    chains.run(20)
    assert_same_bits(rows, kept)
    assert_same_bits(particles[0], first)


def test_means_are_those_of_the_states(fitted):
    """Would catch means of other states than those the chains are in."""
    chains = fitted["dbm"].chains(3, random_state=0)
    means = chains.run(4, mean=True)
    model, particles = fitted["dbm"].model_, chains.particles
    field = particles[1].astype(np.float64) @ model.weights[0].T + model.layers[0].bias
    np.testing.assert_allclose(means, 1 / (1 + np.exp(-field)), atol=1e-4)


def test_no_chains(fitted):
    """Would catch a crash on no rows, which a caller that cuts rows into pieces has at the end."""
    for name in NAMES:
        chains = fitted[name].chains(0, random_state=0)
        assert chains.run(3).shape == (0, 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_sweeps": -1}, "n_sweeps must be an integer of at least 0"),
        ({"n_sweeps": 1.5}, "n_sweeps must be"),
        ({"mean": 1}, "mean must be True or False"),
    ],
)
def test_refused_runs(fitted, arguments, message):
    """Would catch an argument that is read as something else."""
    with pytest.raises(ValueError, match=message):
        fitted["rbm"].chains(2).run(**arguments)


# ------------------------------------------------------------------------------------- of a class


@pytest.mark.parametrize("label", [0, 2])
def test_rows_of_a_class_have_the_model_s_distribution(label):
    """Would catch a label that is not held, or another class: p(v | y) by enumeration."""
    model = random_model(["binary", "binary", "softmax"], 4, sizes=[4, 5, 3], scale=1.5)
    model = dg.BoltzmannMachine(model.layers, model.weights, observed=(0, 2))
    dbm = dg.DBM.from_model(model)
    n = 20_000
    rows = dbm.sample(n, y=label, n_sweeps=60, random_state=0)
    layers, weights = twin(model)
    held = np.eye(3)[label]
    _, expected = exact.conditional(layers, weights, 0, {2: held})
    found = exact.frequencies(exact.layer_index(layers[0], rows), len(expected))
    distance = exact.total_variation(found, expected)
    assert distance < 3 * exact.monte_carlo_floor(expected, n)
    free = dbm.sample(n, n_sweeps=60, random_state=0)
    others = exact.frequencies(exact.layer_index(layers[0], free), len(expected))
    assert exact.total_variation(others, expected) > 3 * distance


def test_labels_by_row(fitted):
    """Would catch labels in another order than rows, a label that moves, and rows without a label
    that are held at none."""
    dbm = fitted["labels"]
    y = ["owl", "?", "cat", "dog", "?", "owl"]
    chains = dbm.chains(6, y=y, random_state=0)
    rows = chains.run(5)
    states = chains.particles[-1]
    assert (states.sum(axis=1) == 1).all()
    named = dbm.classes_[states.argmax(axis=1)]
    assert [a for a, b in zip(named, y, strict=True) if b != "?"] == ["owl", "cat", "dog", "owl"]
    assert_same_bits(rows, dbm.sample(6, y=np.array(y), n_sweeps=5, random_state=0))
    all_free = dbm.sample(6, y=["?"] * 6, n_sweeps=5, random_state=0)
    assert_same_bits(all_free, dbm.sample(6, n_sweeps=5, random_state=0))


@pytest.mark.parametrize(
    ("name", "y", "message"),
    [
        ("dbm", "cat", "no label units, got 'cat'; make the DBM with label_units=True"),
        ("labels", "cow", "y must hold labels of .*, got 'cow' in row 0"),
        ("labels", 1, "y must hold labels"),
        ("labels", ["cat", "dog"], r"y must have shape \(3,\), got \(2,\)"),
        ("labels", float("nan"), "y must hold a label for each row, got NaN"),
    ],
)
def test_refused_labels(fitted, name, y, message):
    """Would catch a class that the model does not have, and is dreamed of without a word."""
    for method in (fitted[name].sample, fitted[name].chains):
        with pytest.raises(ValueError, match=message):
            method(3, y=y)


def test_a_sampler_must_be_able_to_hold_labels(fitted):
    """Would catch a sampler that moves the labels all the same."""

    class Own:
        def start(self, model, particles, site):
            return dg.Chains(particles)

        def move(self, model, chains, site, *, n_sweeps, means, context, work):
            return dg.MoveInfo()

    with pytest.raises(ValueError, match="takes_context"):
        fitted["labels"].sample(2, y="cat", sampler=Own())
