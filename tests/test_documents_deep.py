"""Deep models of documents: bounds against enumeration, and estimators from fit to file."""

from itertools import product

import numpy as np
import pytest
import reference
from comparisons import assert_same_model, assert_same_models
from conftest import FIVE_SIGMA, THREADS, assert_same_bits
from scipy import sparse
from scipy.special import logsumexp

import deepgen as dg
from deepgen.inference.factorial import FactorialPosterior
from deepgen.learning.belief_networks import UpDownTrainer
from deepgen.runtime.work import ANY_WORK

WORDS, HIDDEN = 5, 4
# Every state of the first hidden layer, and documents of several lengths, one of them empty.
STATES = np.array([*product([0.0, 1.0], repeat=HIDDEN)])
COUNTS = np.array([[2, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 5, 0, 1, 3], [1, 0, 0, 0, 0]])
LENGTHS = COUNTS.sum(axis=1)


def units(seed, size, scale=0.5):
    return scale * np.random.default_rng(seed).standard_normal(size)


def belief_network(mean_trials=3.25):
    """A network of documents whose directions differ, as after `refine`."""
    layer = dg.BeliefLayer(
        dg.Multinomial(bias=units(0, WORDS), mean_trials=mean_trials),
        dg.Binary(bias=units(1, HIDDEN, 0.2)), units(2, (WORDS, HIDDEN)),
        units(3, (WORDS, HIDDEN), 0.1),
    )  # fmt: skip
    top = dg.BoltzmannMachine(
        [dg.Binary(bias=units(4, HIDDEN)), dg.Binary(bias=units(5, 3))], [units(6, (HIDDEN, 3))]
    )
    return dg.BeliefNetwork([layer], top)


def log_joint_and_posterior(network):
    """log p(v, h) and log q(h | v) for all documents and states h, float64."""
    (layer,), top = network.layers, network.top
    bias, up = (x.bias.astype(np.float64) for x in top.layers)
    prior = STATES @ bias + np.logaddexp(0.0, STATES @ top.weights[0] + up).sum(axis=1)
    field = STATES @ layer.generative.T.astype(np.float64) + layer.lower.bias
    log_word = field - logsumexp(field, axis=1, keepdims=True)
    joint = COUNTS @ log_word.T + prior - logsumexp(prior)
    fields = COUNTS @ layer.recognition.astype(np.float64)
    fields = fields + LENGTHS[:, None] * layer.upper.bias
    return joint, fields @ STATES.T - np.logaddexp(0.0, fields).sum(axis=1)[:, None]


def deep_machine(top):
    return dg.BoltzmannMachine(
        [dg.Multinomial(bias=units(0, WORDS), mean_trials=3.25),
         dg.Binary(bias=units(1, HIDDEN, 0.2)), top],
        [units(2, (WORDS, HIDDEN)), units(3, (HIDDEN, top.size))],
    )  # fmt: skip


TOPS = [dg.Binary(bias=units(4, 3)), dg.Multinomial(bias=units(4, WORDS), trials=3)]


def log_z_and_likelihood(machine):
    """log Z of each document's length, and log p(v), by enumeration at float64."""
    visible, hidden, top = machine.layers
    below, above = (w.astype(np.float64) for w in machine.weights)
    from_top = STATES @ above + top.bias
    if top.is_bernoulli:
        summed = np.logaddexp(0.0, from_top).sum(axis=1)
    else:  # the words of the second, hidden document
        summed = top.trials * logsumexp(from_top, axis=1)
    word = logsumexp(STATES @ below.T + visible.bias, axis=1)
    by_word = STATES @ hidden.bias.astype(np.float64)
    log_z = np.array([logsumexp(d * (by_word + word) + summed) for d in LENGTHS])
    weights = (COUNTS @ visible.bias.astype(np.float64))[:, None] + COUNTS @ below @ STATES.T
    weights = weights + LENGTHS[:, None] * by_word + summed
    return log_z, logsumexp(weights, axis=1) - log_z


# ------------------------------------------------------------------------------ bounds


def test_bounds_of_a_belief_network_are_those_of_enumeration():
    """Would catch recognition biases that do not count once a word, log normalizers of one word,
    and a length that goes to another row."""
    network = belief_network()
    joint, log_q = log_joint_and_posterior(network)
    log_z = dg.exact_log_partition(network.top).value
    exact = logsumexp(joint, axis=1)
    bound = (np.exp(log_q) * (joint - log_q)).sum(axis=1)
    spread = np.sqrt((np.exp(log_q) * (joint - log_q - bound[:, None]) ** 2).sum(axis=1))
    for X in (COUNTS, sparse.csr_array(COUNTS)):
        found = dg.variational_bound(network, X, log_partition=log_z, n_draws=4_000, random_state=0)
        assert (np.abs(found - bound) <= FIVE_SIGMA * spread / np.sqrt(4_000) + 1e-5).all()
        weighted = dg.importance_weighted_bound(
            network, X, log_partition=log_z, n_draws=20_000, random_state=0
        )
        np.testing.assert_allclose(weighted, exact, atol=0.1)
    assert (bound <= exact).all()


@pytest.mark.parametrize("top", TOPS, ids=["binary", "over-replicated"])
def test_bounds_of_a_deep_machine_are_those_of_enumeration(top):
    """Would catch biases that do not count once a word in mean field, in its bound or in its draws,
    and one log Z for documents of all lengths."""
    machine = deep_machine(top)
    log_z, exact = log_z_and_likelihood(machine)
    bound = dg.variational_bound(machine, COUNTS, log_partition=log_z)
    assert (bound <= exact + 1e-5).all()
    assert (bound > exact - 0.5).all()
    weighted = dg.importance_weighted_bound(
        machine, COUNTS, log_partition=log_z, n_draws=4_000, random_state=0
    )
    np.testing.assert_allclose(weighted, exact, atol=0.02)
    posterior = FactorialPosterior(machine, dg.Stream(0))
    fields = COUNTS @ machine.weights[0] + LENGTHS[:, None] * machine.layers[1].bias
    means = posterior.means(machine.layers[0].states_of(COUNTS))
    fields = fields + means[2] @ machine.weights[1].T
    np.testing.assert_allclose(means[1], reference.logistic(fields), atol=1e-3)


@pytest.mark.parametrize("top", TOPS, ids=["binary", "over-replicated"])
def test_log_z_of_deep_machines_by_length(top):
    """Would catch a curve that starts from layers without weights: the upper ones have them, and an
    empty document too."""
    machine = deep_machine(top)
    log_z, _ = log_z_and_likelihood(machine)
    partition = dg.log_partition_by_length(machine, LENGTHS)
    assert (partition.lower(LENGTHS) - 1e-5 <= log_z).all()
    assert (log_z <= partition.upper(LENGTHS) + 1e-5).all()
    np.testing.assert_allclose(partition.value(LENGTHS), log_z, atol=5e-3)
    assert partition.value([0])[0] == pytest.approx(log_z[1], abs=1e-5)
    again = dg.log_partition_by_length(machine, [40], known=partition)
    assert again.empty is partition.empty


def test_log_z_by_row_is_checked():
    """Would catch numbers of other rows, which broadcasting would take."""
    machine = deep_machine(TOPS[0])
    for wrong in (np.zeros(3), np.full(4, np.nan), np.zeros((4, 1))):
        with pytest.raises(ValueError, match=r"log_partition must be a number or finite numbers"):
            dg.variational_bound(machine, COUNTS, log_partition=wrong)


# ------------------------------------------------------------------------------ learning


def test_an_update_of_up_down_counts_documents_by_the_word():
    """Would catch a long document that decides, dreams of one length, and an empty one that is
    divided by: the gradients of documents of D words are those of D / D."""
    network = belief_network()
    run = UpDownTrainer(network, dg.CD(1, centring=False), dg.SGD(), 0.1, stream=dg.Stream(1))
    words, long = (
        run._gradients(network.visible.states_of(np.tile(v, (500, 1))), dg.Stream(2), ANY_WORK)
        for v in (COUNTS, COUNTS * [[1], [1], [1], [300]])
    )
    assert np.isfinite(np.concatenate([g.ravel() for g in long.values()])).all()
    largest = np.abs(words["weights.generative[0]"]).max()
    assert np.abs(long["weights.generative[0]"]).max() < 3.0 * largest
    # exact: m E_q(h | v) [(softmax(b + W h) - v / D) h^T], mean over documents; 0 of the empty one
    (layer,) = network.layers
    _, log_q = log_joint_and_posterior(network)
    field = STATES @ layer.generative.T + layer.lower.bias
    p = np.exp(field - logsumexp(field, axis=1, keepdims=True))
    exact = np.zeros((WORDS, HIDDEN))
    for v, length, q in zip(COUNTS, LENGTHS, np.exp(log_q), strict=True):
        if length:
            exact += ((p - v / length) * q[:, None]).T @ STATES
    exact *= network.visible.mean_trials / len(COUNTS)
    np.testing.assert_allclose(words["weights.generative[0]"], exact, atol=0.05)


def themes(n_rows=400, seed=0):
    """Counts of documents of two themes, and the theme; the last document is empty."""
    rng = np.random.default_rng(seed)
    theme = np.arange(n_rows) % 2
    p = np.where((np.arange(12) < 6) == (theme[:, None] == 0), 0.9, 0.1)
    counts = np.array([rng.multinomial(rng.integers(1, 20), row / row.sum()) for row in p])
    counts[-1] = 0
    return counts, theme


DEEP = {
    "dbn": dg.DBN((5, 4), visible="multinomial", random_state=0),
    "one layer": dg.DBN(5, visible="multinomial", random_state=0),
    "dbm": dg.DBM((5, 4), visible="multinomial", random_state=0),
    "dbm of one layer": dg.DBM(5, visible="multinomial", random_state=0),
}


@pytest.fixture(scope="module", params=DEEP)
def fitted(request):
    """A deep model of two themes, by the name of its kind."""
    counts, _ = themes()
    return DEEP[request.param].fit(sparse.csr_array(counts))


def test_deep_models_of_documents_answer(fitted):
    """Would catch scores with log Z of another length, samples of another one, features of another
    layer, and a model that has learned nothing."""
    counts, _ = themes()
    p = (counts.sum(axis=0) + 1.0) / (counts.sum() + 12.0)
    scores, lengths = fitted.score_samples(counts), counts.sum(axis=1)
    assert scores.mean() > (counts @ np.log(p)).mean() + 1.0
    # an empty document is certain; of a belief network that is an estimate from a few draws of a
    # prior over 32 states against a uniform proposal
    assert scores[-1] == pytest.approx(0.0, abs=0.5)
    assert (fitted.bound(counts) <= scores + 0.5).all()
    assert fitted.score(counts) <= scores.mean() + 1e-9
    full = lengths > 0
    by_document = np.exp(-np.mean(scores[full] / lengths[full]))
    assert fitted.perplexity(counts) == pytest.approx(by_document, rel=0.05)
    assert fitted.perplexity(counts, per="word") != fitted.perplexity(counts)
    features = fitted.transform(counts)
    fields = fitted.transform(counts, quantity="field")
    np.testing.assert_allclose(features, reference.logistic(fields), atol=2e-4)
    drawn = fitted.sample(3, n_words=[0, 7, 900], n_sweeps=20, random_state=1)
    assert sparse.issparse(drawn)
    assert drawn.sum(axis=1).tolist() == [0, 7, 900]
    usual = fitted.sample(2, n_sweeps=5, random_state=1).sum(axis=1)
    assert usual.tolist() == [round(counts.sum(axis=1).mean())] * 2
    halves = [fitted.sample(1, n_sweeps=5, random_state=1, first_row=i).toarray() for i in (0, 1)]
    whole = fitted.sample(2, n_sweeps=5, random_state=1).toarray()
    assert_same_bits(np.concatenate(halves), whole)


def test_deep_models_of_documents_refuse_by_name(fitted):
    """Would catch fractions that are learned, gaps that are guessed, and words of a bitmap."""
    counts, _ = themes()
    gap = counts.astype(np.float64)
    gap[3, 2] = np.nan
    for call in (fitted.transform, fitted.score_samples, dg.DBN(5, visible="multinomial").fit):
        with pytest.raises(ValueError, match="row 3, column 2"):
            call(gap)
        with pytest.raises(ValueError, match="TF-IDF"):
            call(counts * 0.5)
    with pytest.raises(ValueError, match=r"ReplicatedSoftmax\.impute"):
        fitted.impute(counts)
    with pytest.raises(ValueError, match="per must be"):
        fitted.perplexity(counts, per="token")
    with pytest.raises(ValueError, match="n_words must be a number or have shape"):
        fitted.sample(2, n_words=[1, 2, 3])


def test_deep_models_of_documents_come_back_from_files(fitted, tmp_path):
    """Would catch a file without the usual length, by which samples and gradients are scaled."""
    counts, _ = themes(60)
    fitted.save(tmp_path / "deep.safetensors")
    loaded = dg.load(tmp_path / "deep.safetensors")
    assert type(loaded) is type(fitted)
    assert_same_bits(loaded.score_samples(counts), fitted.score_samples(counts))
    assert loaded.model_.visible.mean_trials == fitted.model_.visible.mean_trials
    assert fitted.model_.visible.mean_trials == pytest.approx(themes()[0].sum(axis=1).mean())


def test_log_partition_says_whether_it_needs_documents(fitted):
    """Would catch one log Z of all lengths, and lengths that a belief network's top has no use
    for."""
    if fitted._machine.visible.takes_trials:
        assert fitted.log_partition([3, 9]).lengths[-1] >= 9
        with pytest.raises(ValueError, match="X must hold documents"):
            fitted.log_partition()
    else:
        assert fitted.log_partition().upper >= fitted.log_partition().lower
        with pytest.raises(ValueError, match="X must be None"):
            fitted.log_partition([3, 9])


@pytest.mark.parametrize("kind", ["dbn", "dbm"])
def test_the_same_bits_for_all_forms_and_threads(kind):
    """Would catch a sum that depends on the storage of counts, or on the threads."""
    counts, _ = themes(150)
    made = []
    for n_threads, X in zip(THREADS, (counts, sparse.csr_array(counts), counts), strict=False):
        deep = DEEP[kind].__class__(
            (5, 4), visible="multinomial", n_epochs=2, random_state=0, n_threads=n_threads
        ).fit(X)
        if kind == "dbn":
            deep.refine(X, 2)
        made.append(deep)
    for other in made[1:]:
        assert_same_bits(made[0].score_samples(counts[:20]), other.score_samples(counts[:20]))


def test_refining_makes_a_better_belief_network():
    """Would catch wake and sleep phases that work against each other on documents."""
    counts, _ = themes()
    dbn = dg.DBN((5, 4), visible="multinomial", random_state=0).fit(counts)
    before, rate = dbn.bound(counts).mean(), dg.Linear(0.1, 0.0)
    assert dbn.refine(counts, 200, learning_rate=rate).bound(counts).mean() > before + 0.1


@pytest.mark.parametrize("kind", ["dbn", "dbm"])
def test_streams_of_documents(kind):
    """Would catch a stream of counts whose cuts matter, or that knows no usual length."""
    counts, _ = themes(240)
    whole, cut = (
        DEEP[kind].__class__((5, 4), visible="multinomial", batch_size=40, random_state=0)
        for _ in range(2)
    )
    whole.partial_fit(counts)
    cut.partial_fit(counts[:80]).partial_fit(sparse.csr_array(counts[80:]))
    if kind == "dbn":
        assert_same_models(whole.stack_, cut.stack_)
    else:
        assert_same_model(whole.model_, cut.model_)


def test_particles_are_as_long_as_documents():
    """Would catch particles of the usual length alone, whose model is another one."""
    counts, _ = themes()
    settings = {"visible": "multinomial", "n_epochs": 1, "random_state": 0, "pretrained": None}
    dbm = dg.DBM((5, 4), **settings).fit(counts)
    lengths = dbm._fitted.particles[0].sum(axis=1)
    assert len(set(lengths.tolist())) > 5
    assert set(lengths.tolist()) <= set(counts.sum(axis=1).tolist())


def test_an_rbm_names_the_model_of_documents():
    """Would catch an RBM of documents, which has no one log Z."""
    counts, _ = themes(20)
    with pytest.raises(ValueError, match=r"dg\.ReplicatedSoftmax"):
        dg.RBM(3, visible="multinomial").fit(counts)
    with pytest.raises(ValueError, match="n_words must be None"):
        dg.RBM(3, n_epochs=1).fit(np.eye(4, dtype=np.uint8)).sample(1, n_words=3)
    with pytest.raises(AttributeError, match="perplexity"):
        dg.DBN(3).perplexity(counts)
    model = deep_machine(TOPS[0])
    two = dg.BoltzmannMachine(model.layers[:2], model.weights[:1])
    with pytest.raises(ValueError, match=r"dg\.ReplicatedSoftmax\.from_model"):
        dg.RBM.from_model(two)
