"""Updates of machines whose visible units are counts: rows of several lengths, empty ones too."""

import itertools

import numpy as np
import pytest
from scipy import sparse
from test_sums import moved, trained

import deepgen as dg
from deepgen.learning.machines import Trainer
from deepgen.learning.optimizers import SGD
from deepgen.learning.sums import WeighedPhases, phase_sums
from deepgen.models import Parameters
from deepgen.rows.batch import Batch
from deepgen.rows.particles import unchecked_particles
from deepgen.rows.sources import ArrayRows
from deepgen.runtime.stream import Stream

PLAIN = SGD(weight_decay=0.0, averaging=0.0)
DOCUMENTS = np.array([[1, 0, 0, 0], [2, 1, 0, 2], [0, 0, 0, 0], [0, 3, 4, 1]], np.float32)
MEAN = 3.0


def toy(seed=3):
    """A machine of four words and three hidden units that is far from independent."""
    rng = np.random.default_rng(seed)
    layers = [
        dg.Multinomial(bias=rng.normal(0, 0.5, 4), mean_trials=MEAN),
        dg.Binary(bias=rng.normal(0, 0.2, 3)),
    ]
    return dg.BoltzmannMachine(layers, [rng.normal(0, 0.7, (4, 3))])


def moments(model, trials):
    """E[v h^T], E[v], E[h] of rows of one length, over all hidden states, float64."""
    visible, hidden = (layer.bias.astype(np.float64) for layer in model.layers)
    h = np.array(list(itertools.product([0.0, 1.0], repeat=len(hidden))))
    field = visible + h @ model.weights[0].T.astype(np.float64)
    top = np.logaddexp.reduce(field, axis=1)
    log_weight = trials * (h @ hidden + top)
    p = np.exp(log_weight - np.logaddexp.reduce(log_weight))
    v = trials * np.exp(field - top[:, None])
    return (p[:, None] * v).T @ h, p @ v, p @ h


def exact_gradient(model, documents, weights):
    """Gradient of the mean log-likelihood by the word, in units of the mean length.

    By `weights[0]` and the visible bias times MEAN; by the hidden bias, which counts D times, once.
    """
    hidden, matrix = model.layers[1].bias.astype(np.float64), model.weights[0].astype(np.float64)
    total = [0.0, 0.0, 0.0]
    for v, weight in zip(documents.astype(np.float64), weights, strict=True):
        trials = v.sum()
        if not trials:
            continue
        up = 1.0 / (1.0 + np.exp(-(trials * hidden + v @ matrix)))
        product, visible, mean = moments(model, trials)
        for part, change in enumerate((
            (np.outer(v, up) - product) / trials, (v - visible) / trials, up - mean,
        )):  # fmt: skip
            total[part] = total[part] + weight * change
    by_weights, by_visible, by_hidden = (part / len(documents) for part in total)
    return by_weights, by_visible, by_hidden


def affine(gradient, offsets):
    """The same of the centred parametrization, whose offsets are shares of one draw."""
    by_weights, by_visible, by_hidden = gradient
    mu, lam = offsets
    centred = by_weights - np.outer(mu, by_hidden) - np.outer(by_visible, lam)
    return {
        "weights[0]": MEAN * centred,
        "layers[0].bias": MEAN * (by_visible - centred @ lam),
        "layers[1].bias": by_hidden - MEAN * mu @ centred,
    }


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (0.5, 2.0, 1.5, 0.0)])
@pytest.mark.parametrize("centring", [False, True])
def test_rows_of_several_lengths_learn_the_exact_gradient(centring, weights):
    """Would catch a long row that counts more than a short one, a hidden bias whose gradient is
    not that of a bias that counts once a word, and centring by the share of the wrong length."""
    copies, rate, model = 5_000, 0.01, toy()
    rows = ArrayRows(
        sparse.csr_array(np.repeat(DOCUMENTS, copies, axis=0)),
        weights=np.repeat(weights, copies),
    )
    run = Trainer(model, dg.CD(40, centring=centring), PLAIN, dg.Constant(rate),
                  stream=Stream(2), batch_size=4 * copies)  # fmt: skip
    offsets = np.zeros(4), np.zeros(3)
    if centring:
        offsets = np.array([0.4, 0.1, 0.2, 0.3]), np.array([0.6, 0.2, 0.7])
        run.rule_state.offsets = [np.float32(offset) for offset in offsets]
    found = moved(run, rows, rate)
    wanted = affine(exact_gradient(model, DOCUMENTS, weights), offsets)
    for name, gradient in wanted.items():
        # shares and means are at most 1, and their products are multiplied by MEAN
        error = MEAN * 2.0 / np.sqrt(4 * copies)
        np.testing.assert_allclose(found[name], gradient, atol=4.0 * error)


def particles_of(model, lengths, seed):
    """Joint draws of the machine, a row for each length: the hidden layer by enumeration."""
    rng = np.random.default_rng(seed)
    visible, hidden = (layer.bias.astype(np.float64) for layer in model.layers)
    h = np.array(list(itertools.product([0.0, 1.0], repeat=len(hidden))))
    field = visible + h @ model.weights[0].T.astype(np.float64)
    top = np.logaddexp.reduce(field, axis=1)
    v, chosen = np.empty((len(lengths), 4), np.float32), np.empty((len(lengths), 3), np.uint8)
    for row, trials in enumerate(lengths):
        log_weight = trials * (h @ hidden + top)
        one = rng.choice(len(h), p=np.exp(log_weight - np.logaddexp.reduce(log_weight)))
        share = np.exp(field[one] - top[one])
        v[row], chosen[row] = rng.multinomial(trials, share / share.sum()), h[one]
    return unchecked_particles([v, chosen])


@pytest.mark.parametrize("centring", [False, True])
def test_particles_of_the_rows_lengths_learn_the_exact_gradient(centring):
    """Would catch particles that count by their length, or as often as the rows are short."""
    n_particles, model = 12_000, toy()
    lengths = np.tile(DOCUMENTS.sum(axis=1).astype(int), n_particles // 4)
    run = Trainer(model, dg.PCD(n_particles=n_particles, centring=centring), PLAIN,
                  dg.Constant(0.01), stream=Stream(2), batch_size=4)  # fmt: skip
    offsets = np.zeros(4), np.zeros(3)
    if centring:
        offsets = np.array([0.4, 0.1, 0.2, 0.3]), np.array([0.6, 0.2, 0.7])
        run.rule_state.offsets = [np.float32(offset) for offset in offsets]
    run.rule_state.particles = particles_of(model, lengths, 5)
    before = run.parameters.snapshot()
    run.step(Batch((DOCUMENTS,)), 0.0)
    wanted = affine(exact_gradient(model, DOCUMENTS, np.ones(4)), offsets)
    for name, gradient in wanted.items():
        found = (run.parameters.learned()[name].astype(np.float64) - before[name]) / 0.01
        np.testing.assert_allclose(found, gradient, atol=4 * MEAN * 2.0 / np.sqrt(n_particles))


def test_particles_of_other_lengths_leave_the_words_in_balance():
    """Would catch particles whose total is that of their shares, not of their number: the bias of
    all words would rise or fall together with every draw of lengths."""
    model = toy()
    run = Trainer(model, dg.PCD(n_particles=40, centring=False), PLAIN, dg.Constant(0.1),
                  stream=Stream(2), batch_size=4)  # fmt: skip
    run.rule_state.particles = particles_of(model, np.arange(1, 41), 1)
    before = run.parameters.snapshot()["layers[0].bias"]
    run.step(Batch((DOCUMENTS[[0, 1, 3, 3]],)), 0.0)
    change = run.parameters.learned()["layers[0].bias"].astype(np.float64) - before
    assert np.abs(change).max() > 0.01
    assert abs(change.sum()) < 1e-6


@pytest.mark.parametrize("rule", [dg.CD(2), dg.CD(1, centring=False), dg.PCD(n_particles=9)],
                         ids=["cd", "plain", "pcd"])  # fmt: skip
def test_one_visit_and_sums_are_one_update(rule):
    """Would catch a second definition of the update of rows that count differently."""
    model, stream = toy(), Stream(5)
    parameters = Parameters(model, packed=True)
    state = rule.start(model, stream.child("rule"))
    batch = Batch((DOCUMENTS,), weights=np.array([1.0, 0.5, 2.0, 0.5]))
    phases = rule.phases(parameters, batch, state, stream)
    runs = []
    for statistics in (WeighedPhases(phases), phase_sums(parameters, phases)):
        own = Parameters(model, packed=True)
        optimizer = dg.SGD(momentum=0.5, weight_decay=1e-3)
        optimizer.step(own, statistics, optimizer.start(own), 0.1, 0.5)
        runs.append(own.learned())
    for name, one in runs[0].items():
        np.testing.assert_allclose(runs[1][name], one, rtol=1e-5, atol=1e-6)


def test_processes_share_the_rows_of_several_lengths():
    """Would catch running means that parts weigh by the word, and sums of a part alone."""
    rows = ArrayRows(np.tile(DOCUMENTS, (10, 1)))
    rule = dg.CD(sparsity=dg.Sparsity(0.1))
    alone, *several = [
        trained(rule, dg.SGD(averaging=0.0), toy(), rows, size)[0] for size in (1, 2, 3)
    ]
    whole = Trainer(toy(), rule, dg.SGD(averaging=0.0), dg.Constant(0.1), stream=Stream(3),
                    batch_size=32)  # fmt: skip
    whole.fit(rows, 4)
    for run in (*several, whole):
        np.testing.assert_allclose(
            run.rule_state.offsets[1], alone.rule_state.offsets[1], atol=1e-5
        )
        for name, one in alone.parameters.learned().items():
            np.testing.assert_allclose(run.parameters.learned()[name], one, atol=1e-5)


def test_weights_that_run_away_are_told_as_a_divergence():
    """Would catch finite weights that no model of documents takes: the run ended with an error
    about a model that nobody had made."""
    counts = np.random.default_rng(0).poisson(0.5, (200, 20))
    topics = dg.ReplicatedSoftmax(4, n_epochs=3, learning_rate=1e32, random_state=0)
    with pytest.raises(dg.DivergedError, match=r"weights\[0\]"):
        topics.fit(counts)
    assert np.isfinite(topics.transform(counts)).all()
