"""Samplers as objects: chains, what learns and draws by them, what is refused.

That each leaves the model's distribution as it is, is the contract in ``test_gibbs.py``.
"""

import pickle

import known_runs
import numpy as np
import pytest
from conftest import (
    THREADS,
    assert_same_bits,
    random_belief_network,
    random_model,
    random_states,
    with_slow,
)
from samplers_of_ones_own import (
    SAMPLERS,
    WITH_CONTEXT,
    AlongTheWay,
    Offers,
    RandomOrder,
    Rungs,
)
from sklearn.base import clone
from stopped_runs import bits, run_python
from stops import At, Stop, fail

import deepgen as dg
from deepgen.inference.completion import impute
from deepgen.inference.running import moved_particles
from deepgen.io import checkpoints
from deepgen.layers.passes import Site
from deepgen.learning.rule_states import RuleState
from deepgen.models import Parameters
from deepgen.rows.batch import Batch
from deepgen.runtime.stream import IMPUTE, PARTICLES, SAMPLE
from deepgen.runtime.work import Work

pytestmark = pytest.mark.usefixtures("serial")

OWN = [
    RandomOrder(), Offers(), Rungs(), dg.ParallelTempering(3), dg.TemperedTransitions(3),
    dg.CoupledTempering(3, n_settling=60), AlongTheWay(),
]  # fmt: skip
NAMES = [
    "random order", "offers", "rungs", "parallel tempering", "tempered transitions",
    "coupled tempering", "trajectory tempering",
]  # fmt: skip
COMMON = {"n_epochs": 3, "batch_size": 20, "random_state": 3, "n_threads": 1}
X = dg.datasets.sample_bars_and_stripes(130, 3, random_state=0)


def move(name, model, particles, context=None, *, kind=SAMPLE, first_row=0, n_threads=1):
    """Chains after three sweeps, and what the move has told."""
    sampler, means = SAMPLERS[name]
    site = Site(dg.Stream(1), kind, first_row)
    chains = sampler.start(model, particles, site)
    info = sampler.move(model, chains, site, n_sweeps=3, means=means, context=context,
                        work=Work(n_threads=n_threads))  # fmt: skip
    return chains, info


def completed(estimator, rows, missing, *, sampler, n_sweeps=100):
    """Means of missing entries by a sampler, as `impute` of the estimator has them by Gibbs."""
    site = Site(dg.Stream.from_random_state(0), IMPUTE)
    return impute(
        estimator.model_, rows, missing, site, n_sweeps=n_sweeps, sampler=sampler
    )[1]  # fmt: skip


def case(kinds=("softmax", "binary", "gaussian"), n_rows=40):
    """A model, particles, and a context of bias rows, held entries and temperatures."""
    model = random_model(kinds, 1, (33, 40, 35)[: len(kinds)])
    rng = np.random.default_rng(1)
    particles = dg.Particles([random_states(layer, n_rows, rng) for layer in model.layers])
    bias_rows = {1: rng.normal(size=(n_rows, 40))}
    held = np.repeat(rng.random((n_rows, 11)) < 0.3, 3, axis=1)
    return model, particles, dg.Context(bias_rows, {0: held}, beta=rng.uniform(0.5, 1.5, n_rows))


def assert_same_particles(one, other):
    """Fail unless all layers have the same bits."""
    for x, y in zip(one.states, other.states, strict=True):
        assert_same_bits(x, y)


# ---------------------------------------------------------------------------------- invariance


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_bits_for_any_number_of_threads(name, threaded):
    """Catches a sampler that takes the number of threads it is given for another thing."""
    model, particles, context = case()
    context = context if name in WITH_CONTEXT else None
    one = move(name, model, particles, context, n_threads=1)[0].particles
    for n_threads in THREADS[1:]:
        other = move(name, model, particles, context, n_threads=n_threads)[0].particles
        assert_same_particles(one, other)


@pytest.mark.parametrize("kind", [SAMPLE, PARTICLES])
@pytest.mark.parametrize("name", SAMPLERS)
def test_rows_alone_and_together_are_the_same(name, kind):
    """Catches draws that depend on the place in a call, above all of rows of one chain."""
    model, particles, context = case()
    context = context if name in WITH_CONTEXT else None
    whole, info = move(name, model, particles, context, kind=kind)
    for start, stop in ((0, 1), (1, 39), (39, 40)):
        rows = slice(start, stop)
        piece, about = move(
            name, model, dg.Particles([x[rows] for x in particles.states]),
            context and context.of_rows(rows), kind=kind, first_row=start,
        )  # fmt: skip
        expected = whole.at_model()
        assert_same_particles(piece.at_model(), dg.Particles([x[rows] for x in expected.states]))
        for l, means in about.means.items():
            assert_same_bits(means, info.means[l][rows])


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_move_leaves_what_it_was_given_alone(name):
    """Catches a sampler that sweeps in the arrays of fitted particles, or of a checkpoint."""
    model, particles, _ = case()
    kept, (sampler, means) = particles.copy(), SAMPLERS[name]
    chains = sampler.start(model, particles, Site(dg.Stream(0), SAMPLE))
    before = chains.particles
    again, options = before.copy(), {"means": means, "context": None, "work": Work()}
    sampler.move(model, chains, Site(dg.Stream(0), SAMPLE), n_sweeps=2, **options)
    assert_same_particles(particles, kept)
    assert_same_particles(before, again)
    found = chains.at_model().states
    assert any((x != y).any() for x, y in zip(found, kept.states, strict=True))


def test_gibbs_is_the_function_of_that_name():
    """Catches an object and a function that go different ways from one seed."""
    model, particles, context = case()
    expected = dg.gibbs(model, particles, 3, context=context, random_state=dg.Stream(1))
    assert_same_particles(move("gibbs", model, particles, context)[0].particles, expected)
    parts = {"bias_rows": context.bias_rows, "held": context.held}
    chains = dg.Chains(particles, context.beta)  # the same temperatures, as those of the chains
    dg.Gibbs().move(
        model, chains, Site(dg.Stream(1), SAMPLE), n_sweeps=3, context=dg.Context(**parts)
    )
    assert_same_particles(chains.particles, expected)


@pytest.mark.parametrize("means", [False, True])
def test_sweeps_of_updates_share_no_random_number(means):
    """Catches the second sweep of an update that draws as the first sweep of the next one does:
    positions count updates in a run of learning, and sweeps elsewhere."""
    model = dg.BoltzmannMachine([dg.Binary(64), dg.Binary(64)], [np.zeros((64, 64))])
    start, found = dg.Particles([np.zeros((50, 64), np.uint8)] * 2), []
    for position, n_sweeps in ((0, 1), (0, 2), (1, 1), (1, 2)):
        chains = dg.Chains(start)
        dg.Gibbs().move(
            model, chains, Site(dg.Stream(0, position), PARTICLES), n_sweeps=n_sweeps, means=means
        )
        found += chains.particles.states
    rows = np.concatenate(found)
    assert len(np.unique(rows, axis=0)) == len(rows)


# -------------------------------------------------------------------------------------- chains


def test_chains_at_other_temperatures_are_no_particles_of_the_model():
    """Catches statistics over all temperatures, and particles put into the wrong rows."""
    rows = dg.Particles([np.eye(4, 3, dtype=np.uint8), np.eye(4, 2, dtype=np.uint8)])
    chains = dg.Chains(rows, beta=[1.0, 0.5, 1.0, 0.25])
    assert_same_particles(chains.at_model(), dg.Particles([x[[0, 2]] for x in rows.states]))
    ones = dg.Particles([np.ones((2, 3), np.uint8), np.ones((2, 2), np.uint8)])
    chains.put_at_model(ones)
    assert_same_particles(chains.at_model(), ones)
    for x, y in zip(chains.particles.states, rows.states, strict=True):
        assert_same_bits(x[[1, 3]], y[[1, 3]])
    assert rows[0].sum() == 3  # the particles of before are as they were
    around = chains.around(dg.Context(beta=np.full(4, 2.0)))
    np.testing.assert_array_equal(around.beta, [2.0, 1.0, 2.0, 0.5])
    assert repr(chains) == "Chains(Particles(4 x 3-2), with temperatures)"
    with pytest.raises(ValueError, match="particles must have 2 rows"):
        chains.put_at_model(rows)


def test_chains_come_back_from_a_tree():
    """Catches temperatures or counts that a checkpoint forgets, and states that share memory."""
    rows = dg.Particles([np.eye(4, 3, dtype=np.uint8), np.eye(4, 2, dtype=np.uint8)])
    plain = dg.Chains(rows)
    assert [id(x) for x in plain.tree()] == [id(x) for x in rows.states]  # as before samplers
    full = dg.Chains(rows, [1.0, 0.5, 1.0, 0.5], {"swaps": np.arange(3)})
    for chains in (plain, full):
        found = dg.Chains.from_tree(chains.tree())
        assert_same_particles(found.particles, rows)
        assert found.particles[0] is not rows[0]
        np.testing.assert_equal(found.beta, chains.beta)
        np.testing.assert_equal(found.further, chains.further)
    state = RuleState(full, None, None, None)
    np.testing.assert_equal(RuleState.from_tree(state.tree()).tree(), state.tree())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"particles": [np.zeros((2, 3))]}, TypeError, "particles must be dg.Particles"),
        ({"beta": [1.0]}, ValueError, r"beta must have shape \(2,\), got \(1,\)"),
        ({"further": [1]}, TypeError, "further must be a dict of arrays"),
    ],
)
def test_chains_that_do_not_fit_are_refused(options, error, message):
    """Catches temperatures that belong to no row, which kernels would read beyond."""
    particles = dg.Particles([np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(error, match=message):
        dg.Chains(**{"particles": particles, **options})


# ------------------------------------------------------------------------------------ learning


def log_likelihood(rbm):
    """Mean exact log-likelihood of all bars and stripes."""
    return dg.exact_log_likelihood(rbm.model_, dg.datasets.bars_and_stripes(3)).mean()


@pytest.mark.parametrize("name", with_slow(NAMES, NAMES[1:]))
def test_a_sampler_of_ones_own_trains_and_serves(name):
    """Catches a rule or an estimator that knows one sampler only: the exact likelihood must be
    more than that of independent units, and samples and completions come from the model."""
    sampler, rows = SAMPLERS[name][0], dg.datasets.sample_bars_and_stripes(2_000, 3, random_state=0)
    settings = {**COMMON, "n_epochs": 10, "learning_rate": dg.Linear(1.0, 0.0)}
    rbm = dg.RBM(8, rule=dg.PCD(sampler=sampler), **settings).fit(rows)
    share = rows.mean(axis=0)
    independent = (share * np.log(share) + (1 - share) * np.log1p(-share)).sum()
    assert log_likelihood(rbm) > independent + 2.0
    drawn = rbm.sample(500, n_sweeps=20, sampler=sampler, random_state=0)
    lines = [drawn.reshape(-1, 3, 3).std(axis=axis).sum(axis=1) == 0 for axis in (1, 2)]
    assert np.logical_or(*lines).mean() > 0.3  # of independent units 0.1 are bars or stripes
    piece = rbm.sample(100, n_sweeps=20, sampler=sampler, random_state=0, first_row=400)
    assert_same_bits(piece, drawn[400:])
    if isinstance(sampler, Offers):
        return
    missing = np.zeros((14, 9), bool)
    missing[:, 6:] = True
    patterns = dg.datasets.bars_and_stripes(3)
    found = completed(rbm, patterns, missing, sampler=sampler)
    expected = rbm.impute(patterns, missing, random_state=0)
    np.testing.assert_array_equal(found[:, :6], patterns[:, :6])
    np.testing.assert_allclose(found, expected, atol=5 * 0.5 * np.sqrt(2 / 20))


def test_a_sampler_moves_all_layers_of_a_deep_machine():
    """Catches a seam for two layers only: joint training, samples and completions of a DBM, and
    samples of the top machine of a DBN."""
    sampler = Rungs()
    rule = dg.MeanFieldPCD(sampler=sampler)
    dbm = dg.DBM((7, 5), pretrained=None, rule=rule, **COMMON).fit(X)
    plain = dg.DBM((7, 5), pretrained=None, **COMMON).fit(X)
    assert (dbm.model_.weights[1] != plain.model_.weights[1]).any()
    assert len(dbm._fitted.particles) == 100
    options = {"n_sweeps": 3, "sampler": sampler, "random_state": 0}
    assert dbm.sample(5, **options).shape == (5, 9)
    assert completed(dbm, X[:4], X[:4] == 1, n_sweeps=3, sampler=sampler).shape == (4, 9)
    dg.DBN((7, 5), rule=dg.PCD(n_particles=9, sampler=sampler), **COMMON).fit(X)
    dbn = dg.DBN.from_model(random_belief_network(("binary",) * 3, 5, (9, 7, 5), scale=3.0))
    whole = dbn.sample(6, n_sweeps=3, sampler=sampler, random_state=0)
    assert (whole != dbn.sample(6, n_sweeps=3, random_state=0)).any()
    piece = dbn.sample(4, n_sweeps=3, sampler=sampler, random_state=0, first_row=2)
    assert_same_bits(piece, whole[2:])


def test_gibbs_is_what_no_sampler_means():
    """Catches a default that has other bits than the object that it stands for."""
    rbm = dg.RBM(7, rule=dg.PCD(sampler=dg.Gibbs()), **COMMON).fit(X)
    assert bits(rbm) == bits(dg.RBM(7, **COMMON).fit(X))
    drawn = rbm.sample(5, n_sweeps=3, random_state=0)
    assert_same_bits(rbm.sample(5, n_sweeps=3, random_state=0, sampler=dg.Gibbs()), drawn)
    expected = rbm.impute(X.astype(np.float32), X == 1, n_sweeps=3, random_state=0)
    assert_same_bits(completed(rbm, X, X == 1, n_sweeps=3, sampler=dg.Gibbs()), expected)


@pytest.mark.parametrize("sampler", OWN, ids=NAMES)
def test_means_that_a_sampler_does_not_give_are_computed(sampler):
    """Catches draws of the odd layers in the statistics, or means of another temperature."""
    model = random_model(("binary", "binary", "binary"), 4, (6, 5, 4))
    rule = dg.MeanFieldPCD(n_particles=11, sampler=sampler)
    state = rule.start(model, dg.Stream(0))
    phases = rule.phases(Parameters(model), Batch((X[:4, :6],)), state, dg.Stream(1))
    v, h, top = phases.negative
    assert [len(x) for x in (v, h, top)] == [11] * 3
    field = model.layers[1].bias + v @ model.weights[0] + top @ model.weights[1].T
    np.testing.assert_allclose(h, 1 / (1 + np.exp(-field)), rtol=1e-5)
    assert_same_particles(state.particles, state.chains.at_model())


# ---------------------------------------------------------------------------- stopped runs, files


@pytest.mark.parametrize("sampler", OWN, ids=NAMES)
def test_a_stopped_run_goes_on_with_the_same_bits(sampler, tmp_path):
    """Catches chains of which a checkpoint keeps the particles alone: their other temperatures,
    their counts, or whose turn it is to swap."""
    settings = {"n_hidden": 7, "rule": dg.PCD(n_particles=9, sampler=sampler), **COMMON}
    whole, path = dg.RBM(**settings).fit(X), tmp_path / "run"
    for update in (2, 9, 14):
        stops = [dg.Checkpoint(path, minutes=None), At(fail, update=update)]
        with pytest.raises(Stop):
            dg.RBM(**settings, callbacks=stops).fit(X)
        assert bits(dg.RBM(**settings).fit(X, resume=path)) == bits(whole)
    chains = checkpoints.load(path, None)[1]["rule"]["particles"]
    assert isinstance(chains, list) == isinstance(sampler, RandomOrder)
    for other in (dg.PCD(n_particles=9), dg.PCD(n_particles=9, sampler=Rungs((1.0, 0.3)))):
        with pytest.raises(ValueError, match="rule is PCD"):
            dg.RBM(**{**settings, "rule": other}).fit(X, resume=path)


def test_a_stream_keeps_its_chains(tmp_path):
    """Catches chains at other temperatures that a stream begins anew."""
    def begun():
        rule = dg.PCD(n_particles=9, sampler=Rungs())
        return dg.RBM(7, rule=rule, **COMMON).partial_fit(X[:70])

    begun().save_checkpoint(tmp_path / "stream")
    rule = dg.PCD(n_particles=9, sampler=Rungs())
    loaded = dg.RBM(7, rule=rule, **COMMON).load_checkpoint(tmp_path / "stream")
    assert bits(loaded.partial_fit(X[70:])) == bits(begun().partial_fit(X[70:]))
    after = dg.RBM(7, rule=rule, **COMMON).fit(X)
    assert len(after.partial_fit(X)._fitted.particles) == 9


@pytest.mark.parametrize("sampler", [dg.Gibbs(), *OWN], ids=["gibbs", *NAMES])
def test_samplers_are_pickled_and_cloned(sampler):
    """Catches rules that hold on to something of their process or of their first run."""
    rbm = clone(dg.RBM(7, rule=dg.PCD(n_particles=9, sampler=sampler), **COMMON)).fit(X)
    again = pickle.loads(pickle.dumps(rbm))
    assert bits(again) == bits(rbm)
    assert repr(again.rule) == repr(rbm.rule)
    options = {"n_sweeps": 2, "random_state": 0}
    found = again.sample(3, sampler=again.rule.sampler, **options)
    assert_same_bits(found, rbm.sample(3, sampler=sampler, **options))


def test_a_rule_is_told_by_the_same_words_as_before():
    """Catches checkpoints from before samplers could be chosen, which hold these words, and
    settings that are others in each process."""
    settings = "centring=True, sparsity=None, offset_rate=0.01"
    fixed = "inference=FixedPoint(max_sweeps=3, tol=0.001, damping=0.0)"
    assert repr(dg.PCD()) == f"PCD(k=1, n_particles=100, {settings})"
    assert repr(dg.MeanFieldPCD()) == f"MeanFieldPCD(k=1, n_particles=100, {fixed}, {settings})"
    with_rungs = dg.PCD(sampler=Rungs())
    assert repr(with_rungs).endswith("offset_rate=0.01, sampler=Rungs(betas=(1.0, 0.7, 0.4)))")
    assert repr(dg.PCD(sampler=RandomOrder())).endswith("sampler=RandomOrder)")
    stored = checkpoints.load(known_runs.checkpoint_of("rbm"), None)[0]["settings"]["rule"]
    assert stored == repr(dg.PCD())


@pytest.mark.slow
def test_a_run_goes_on_in_another_process(tmp_path):
    """Catches a sampler told by its place in memory: no other process could go on."""
    script = """
        import sys, deepgen as dg
        from samplers_of_ones_own import RandomOrder
        from stops import At, Stop, fail
        from test_samplers import COMMON, X
        stops = [dg.Checkpoint(sys.argv[1], minutes=None), At(fail, update=9)]
        try:
            dg.RBM(7, rule=dg.PCD(sampler=RandomOrder()), callbacks=stops, **COMMON).fit(X)
        except Stop:
            print("stopped")
    """
    done = run_python(script, tmp_path / "run")
    assert done.stdout == "stopped\n", done.stderr
    rbm = dg.RBM(7, rule=dg.PCD(sampler=RandomOrder()), **COMMON)
    found = rbm.fit(X, resume=tmp_path / "run")
    assert bits(found) == bits(clone(rbm).fit(X))


# ------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("value", ["gibbs", 3, dg.Gibbs, dg.PCD()], ids=repr)
def test_what_is_no_sampler_is_refused(value):
    """Catches an AttributeError from deep inside a run or a draw."""
    rbm = dg.RBM(7, **COMMON).fit(X)
    for call in (
        lambda: dg.PCD(sampler=value), lambda: dg.MeanFieldPCD(sampler=value),
        lambda: rbm.sample(2, sampler=value), lambda: completed(rbm, X, X == 1, sampler=value),
        lambda: dg.DBN((7, 5), **COMMON).fit(X).sample(0, sampler=value),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"sampler must be dg.Gibbs\(\) or another object"):
            call()


def test_a_sampler_that_cannot_hold_entries_is_refused_for_completions():
    """Catches completions whose observed entries have moved on the way."""
    rbm = dg.RBM(7, **COMMON).fit(X)
    with pytest.raises(ValueError, match=r"hold observed entries.*got Offers"):
        completed(rbm, X, X == 1, sampler=Offers())


def test_one_row_at_the_model_for_each_chain():
    """Catches rows of a sampler whose chains have left the model's temperature: there would be
    fewer samples than asked for."""
    model, particles, _ = case(("binary", "binary"))

    class Wanders(RandomOrder):
        def move(self, model, chains, site, **options):
            chains.beta = np.full(len(chains), 0.5, np.float32)
            return dg.MoveInfo()

    with pytest.raises(ValueError, match="one row at beta = 1 for each of 40 chains, got 0"):
        moved_particles(model, particles, Site(dg.Stream(0), SAMPLE), n_sweeps=1, sampler=Wanders())
