"""Log Z by row: is annealing of rows with biases of their own right, and honest about itself?"""

from dataclasses import replace

import exact
import numpy as np
import pytest
import reference
from conftest import FIVE_SIGMA, THREADS, twin
from scipy import sparse
from sequence_models import KINDS, V, model_of, sequences_of

import deepgen as dg
from deepgen.inference.gibbs import sweep
from deepgen.inference.sequences import unfolded
from deepgen.layers.passes import Outputs, Site, conditional_pass
from deepgen.likelihood import by_row
from deepgen.likelihood.by_row import base_rows, log_partitions_by_row
from deepgen.likelihood.exact import exact_log_partitions
from deepgen.likelihood.sequences import frame_log_likelihoods
from deepgen.models.conditional_machine import biases_of
from deepgen.rows.sequences import Sequences
from deepgen.runtime.stream import SAMPLE


def machine_of(visible, n_hidden, scale, rng):
    """A machine with random weights."""
    weights = rng.normal(0.0, scale, (visible.size, n_hidden))
    return dg.BoltzmannMachine([visible, dg.Binary(n_hidden)], [weights])


def rows_of(machine, n_rows, rng, scale=1.0):
    """A context with random bias rows."""
    sizes = [units.size for units in machine.layers]
    return dg.Context(
        bias_rows={l: rng.normal(0.0, scale, (n_rows, size)) for l, size in enumerate(sizes)}
    )


VISIBLE = {
    "binary": lambda rng: dg.Binary(bias=rng.normal(-1, 1, 20)),
    "gaussian": lambda rng: dg.Gaussian(
        bias=rng.normal(0, 1, 9), log_precision=rng.normal(0, 0.3, 9)
    ),
    "softmax": lambda rng: dg.Softmax(3, bias=rng.normal(0, 1, 12)),
}


@pytest.mark.parametrize("kind", VISIBLE)
def test_rows_are_exact_as_their_own_machines(kind):
    """Would catch bias rows that enumeration adds to the wrong layer, or not at all."""
    rng = np.random.default_rng(0)
    machine = machine_of(VISIBLE[kind](rng), 5, 0.5, rng)
    context = rows_of(machine, 4, rng)
    found = exact_log_partitions(machine, context.bias_rows)
    for r in range(4):
        layers = [
            units.replace(bias=units.bias + context.bias_rows[l][r])
            for l, units in enumerate(machine.layers)
        ]
        expected = dg.exact_log_partition(machine.replace(layers=layers)).value
        assert found[r] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", VISIBLE)
@pytest.mark.parametrize("reverse", [True, False])
def test_annealing_by_row_finds_the_exact_values(kind, reverse):
    """Would catch a row that is annealed from another one's biases, and a direction of wrong sign.

    A mean weight estimates Z without bias, so the mean of exp(estimate - exact) is 1.
    """
    rng = np.random.default_rng(1)
    machine = machine_of(VISIBLE[kind](rng), 6, 0.4, rng)
    context = rows_of(machine, 300, rng)
    exact = exact_log_partitions(machine, context.bias_rows)
    found = log_partitions_by_row(
        machine, context, n_chains=4, n_betas=20, reverse=reverse, exact=False, random_state=0
    )
    assert found.method == "annealed"
    ratio = np.exp(found.forward - exact)
    assert abs(ratio.mean() - 1.0) < FIVE_SIGMA * ratio.std() / np.sqrt(len(ratio))
    assert ratio.std() > 0.0
    if reverse:
        ratio = np.exp(exact - found.reverse)
        assert abs(ratio.mean() - 1.0) < FIVE_SIGMA * ratio.std() / np.sqrt(len(ratio)) + 0.02
        assert (found.value == 0.5 * (found.forward + found.reverse)).all()
        away = (found.value - exact) / found.error
        assert np.mean(np.abs(away) < 3.0) > 0.95
    else:
        assert np.isnan(found.reverse).all()
        assert (found.value == found.forward).all()


@pytest.mark.parametrize("n_threads", THREADS)
def test_bits_do_not_depend_on_threads(n_threads):
    """Would catch draws that depend on how chains are shared out."""
    rng = np.random.default_rng(2)
    machine = machine_of(dg.Binary(40), 30, 0.3, rng)
    context = rows_of(machine, 700, rng)
    options = {"n_chains": 3, "n_betas": 40, "exact": False, "random_state": 0}
    found = log_partitions_by_row(machine, context, n_threads=n_threads, **options)
    again = log_partitions_by_row(machine, context, n_threads=1, **options)
    assert found.value.tobytes() == again.value.tobytes()
    # those of the first rows are the same without the others
    few = log_partitions_by_row(machine, context.of_rows(slice(0, 9)), **options)
    assert few.value.tobytes() == found.value[:9].tobytes()


def test_bits_do_not_depend_on_pieces(monkeypatch):
    """Would catch chains of the base or of annealing whose draws depend on where rows are cut."""
    rng = np.random.default_rng(11)
    machine = machine_of(dg.Binary(20), 10, 0.3, rng)
    context = rows_of(machine, 50, rng)
    options = {"n_chains": 3, "n_betas": 40, "exact": False, "random_state": 0}
    whole = log_partitions_by_row(machine, context, **options)
    monkeypatch.setattr(by_row, "CHAINS_AT_ONCE", 21)
    assert log_partitions_by_row(machine, context, **options).value.tobytes() == (
        whole.value.tobytes()
    )


def test_a_bad_base_still_finds_the_exact_values(monkeypatch):
    """Would catch a log Z at beta = 0, a start or a path that are not those of the base.

    The base is far from the machine and other in each row: weights vary, but have no bias.
    """
    rng = np.random.default_rng(12)
    machine = machine_of(dg.Binary(bias=rng.normal(-1, 1, 20)), 6, 0.4, rng)
    context = rows_of(machine, 300, rng)
    bad = rows_of(machine, 300, rng, scale=1.5).bias_rows
    monkeypatch.setattr(by_row, "base_rows", lambda *_: bad)
    exact = exact_log_partitions(machine, context.bias_rows)
    found = log_partitions_by_row(
        machine, context, n_chains=10, n_betas=200, exact=False, random_state=0
    )
    for ratio in (np.exp(found.forward - exact), np.exp(exact - found.reverse)):
        assert abs(ratio.mean() - 1.0) < FIVE_SIGMA * ratio.std() / np.sqrt(len(ratio)) + 0.01
    assert np.mean(np.abs(found.value - exact) < 3.0 * found.error) > 0.95


@pytest.mark.parametrize("kind", VISIBLE)
def test_the_base_has_the_means_of_each_row(kind):
    """Would catch means of another row or layer, and those of chains that have not moved."""
    rng = np.random.default_rng(13)
    visible = VISIBLE[kind](rng)
    machine = machine_of(visible.of_columns(np.arange(6)), 4, 0.5, rng)
    context, n_chains, n_copies = rows_of(machine, 3, rng), 16, 300
    many = context.of_rows(np.repeat(np.arange(3), n_copies))
    found = base_rows(machine, many, n_chains, dg.Stream(0), 1)
    layers, weights = twin(machine)
    for r in range(3):
        bias_rows = [context.bias_rows[l][r] for l in (0, 1)]
        means = exact.expectation(layers, weights, bias_rows)
        for l, units in enumerate(machine.layers):
            of_copies = units.mean(found[l][r * n_copies : (r + 1) * n_copies]).astype(float)
            expected = reference.base_mean(layers[l], bias_rows[l], means[l], n_chains)
            error = of_copies.std(axis=0) / np.sqrt(n_copies)
            assert (np.abs(of_copies.mean(axis=0) - expected) < FIVE_SIGMA * error + 1e-3).all()
    own = base_rows(machine, context, 0, dg.Stream(0), 1)
    assert (own[1] == machine.layers[1].bias + context.bias_rows[1]).all()


@pytest.mark.parametrize("n_copies", [1, 3])
def test_units_that_are_always_on_have_a_base(n_copies):
    """Would catch means that rounding brings beyond the largest state: their field is no number."""
    bias = np.linspace(5.0, 60.0, 200)
    machine = machine_of(dg.Binary(bias=bias, n_copies=n_copies), 3, 0.1, np.random.default_rng(14))
    context = rows_of(machine, 40, np.random.default_rng(14))
    for n_chains in (1, 7, 24, 33, 40):
        base = base_rows(machine, context, n_chains, dg.Stream(0), 1)
        assert np.isfinite(base[0]).all()
        assert base[0].max() == 80.0


def test_estimates_by_frame_are_as_near_as_promised():
    """Would catch a base or a schedule that anneals worse: 12 hidden units, 300 x 20.

    From the biases of the rows the error is 0.035.
    """
    rng = np.random.default_rng(3)
    machine = machine_of(dg.Binary(bias=rng.normal(-2, 1, 88)), 12, 0.5, rng)
    context = rows_of(machine, 40, rng)
    exact = exact_log_partitions(machine, context.bias_rows)
    found = log_partitions_by_row(
        machine, context, n_chains=20, n_betas=300, exact=False, random_state=0
    )
    assert np.abs(found.value - exact).mean() < 0.02
    assert np.abs(found.forward - exact).mean() < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_brackets_of_sequences_hold_the_exact_values(kind):
    """Would catch errors by frame that do not add up: 19 of 20 sequences must be inside."""
    inside = 0
    for seed in range(20):
        model = model_of(kind, seed=seed, scale=1.0)
        sequences = sequences_of((12,), seed=seed)
        exact = frame_log_likelihoods(model, sequences)
        assert exact.partitions.method == "exact"
        found = annealed(model, sequences, 200, seed)
        value, lower, upper = found.by_sequence()
        inside += bool(lower[0] <= exact.by_frame.sum() <= upper[0])
        assert lower[0] < value[0] < upper[0]
        assert (upper[0] - lower[0]) / 12 < 0.25
    assert inside >= 19


def annealed(model, sequences, n_betas, seed=0):
    """Frame likelihoods of a small model as those of a large one are found: by annealing."""
    context = biases_of(model.recurrence, unfolded(model, sequences)[0])
    partitions = log_partitions_by_row(
        model.machine, context, n_betas=n_betas, exact=False, random_state=seed
    )
    return replace(frame_log_likelihoods(model, sequences), partitions=partitions)


@pytest.mark.parametrize("kind", KINDS)
def test_likelihoods_of_all_sequences_add_up_to_one(kind):
    """Would catch a term of log p that is missing: all 2^6 sequences of two frames of 3 columns."""
    rng = np.random.default_rng(4)
    model = model_of(kind, visible=dg.Binary(bias=rng.normal(size=3)), scale=0.8)
    bits = (np.arange(64)[:, None] >> np.arange(6) & 1).astype(np.uint8)
    sequences = Sequences(bits.reshape(128, 3), np.full(64, 2))
    value, lower, upper = frame_log_likelihoods(model, sequences).by_sequence()
    assert np.exp(value).sum() == pytest.approx(1.0, abs=1e-5)
    assert (lower == value).all()
    assert (upper == value).all()


def test_a_report_says_how_far_it_can_be_believed():
    """Would catch too few temperatures that nobody hears of: weights that vary, ends far apart."""
    model = model_of("rnn", scale=2.0, n_hidden=12)
    sequences = sequences_of((30, 20))
    reports = [annealed(model, sequences, n_betas).report() for n_betas in (5, 500)]
    assert reports[0]["mean_variance"] > 4 * reports[1]["mean_variance"]
    width = [report["upper"] - report["lower"] for report in reports]
    assert width[0] > 2 * width[1]
    assert reports[0]["forward"] > reports[0]["value"] > reports[0]["lower"]
    assert reports[1]["n_frames"] == 50


def test_rows_of_documents_ratings_and_sequences_report_in_the_same_words():
    """Would catch a likelihood whose spread nobody can ask for, and a score that is not the lower
    end of what is reported."""
    rng = np.random.default_rng(9)
    counts = rng.poisson(0.6, (60, 8))
    topics = dg.ReplicatedSoftmax(3, n_epochs=2, random_state=0).fit(counts)
    topics.log_partition(counts, n_chains=20, n_betas=50)
    by_document, score = topics.score_samples(counts), topics.score(counts)
    report = topics.likelihood_report_
    assert by_document.mean() == pytest.approx(report["value"])
    assert score == pytest.approx(report["lower"])
    ratings = sparse.csr_array(np.where(rng.random((20, 9)) < 0.5, rng.integers(1, 4, (20, 9)), 0))
    machine = dg.RatingsRBM(3, rows="users", n_epochs=2, random_state=0).fit(ratings)
    by_user = machine.score_samples(ratings)
    assert by_user.mean() == pytest.approx(machine.likelihood_report_["value"])
    model = dg.TemporalRBM(3, n_recurrent=2, n_epochs=1, random_state=0)
    model.fit([(counts > 0).astype(np.uint8)]).score([(counts > 0).astype(np.uint8)])
    own = {"n_frames", "mean_of_sequences"}
    for other in (topics, machine):
        keys = set(other.likelihood_report_)
        assert keys - {"n_rows"} == set(model.likelihood_report_) - own


def test_likelihoods_of_documents_have_the_ends_of_their_lengths():
    """Would catch a variance or an end of another length, and directions that are swapped."""
    rng = np.random.default_rng(10)
    model = machine_of(dg.Multinomial(30, bias=rng.normal(0, 1, 30)), 30, 0.6, rng)
    lengths = np.array([0, 3, 11, 40, 11])
    curve = dg.log_partition_by_length(model, lengths, n_chains=20, n_betas=30, random_state=0)
    rows = curve.by_row(lengths)
    for found, expected in zip(
        (rows.value, *rows.ends), (curve.value, curve.lower, curve.upper), strict=True
    ):
        np.testing.assert_allclose(found, expected(lengths))
    assert rows.method in ("bracket", "open bracket")
    assert rows.variance[0] == 0.0
    assert rows.variance[2] == rows.variance[4] > 0.0
    assert (rows.forward[2:] < rows.reverse[2:]).all()  # that of three words is exact
    # brackets that rows share add as they are: twice a length has twice its error
    value, lower, upper = rows.sums([0, 2, 5])
    assert value[1] == pytest.approx(rows.value[2:].sum())
    assert upper[1] - lower[1] == pytest.approx((rows.ends[1] - rows.ends[0])[2:].sum())


# ------------------------------------------------------------------------ bases by row, in kernels


@pytest.mark.parametrize("kind", ["binary", "gaussian"])
def test_fields_between_temperatures_are_those_of_each_row(kind):
    """Would catch a kernel that reads the base of another row."""
    rng = np.random.default_rng(6)
    machine = machine_of(VISIBLE[kind](rng), 37, 0.4, rng)
    n = 5
    base = {l: rng.normal(0, 1, (n, units.size)) for l, units in enumerate(machine.layers)}
    context = dg.Context(
        bias_rows=rows_of(machine, n, rng).bias_rows, beta=rng.random(n), base_rows=base,
        base=machine.layers,
    )  # fmt: skip
    hidden = (rng.random((n, 37)) < 0.5).astype(np.uint8)
    normalizer, means = np.zeros(n), np.empty((n, machine.layers[0].size), np.float32)
    conditional_pass(
        machine.chain, 0, [None, hidden], Outputs(mean=means, log_normalizer=normalizer),
        context.of_layer(0),
    )  # fmt: skip
    units = machine.layers[0]
    field = hidden @ machine.weights[0].astype(float).T + units.bias + context.bias_rows[0]
    beta = context.beta[:, None].astype(float)
    field = beta * field + (1 - beta) * context.base_rows[0]
    if kind == "binary":
        expected, total = reference.logistic(field), reference.softplus(field).sum(axis=1)
    else:
        expected = field / units.precision
        total = 0.5 * (field**2 / units.precision + np.log(2 * np.pi / units.precision)).sum(axis=1)
    np.testing.assert_allclose(means, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(normalizer, total, rtol=1e-5)


def test_chains_at_the_model_know_no_base():
    """Would catch sweeps at beta = 1 that are pulled towards a base by row."""
    rng = np.random.default_rng(7)
    machine = machine_of(dg.Binary(V), 5, 0.5, rng)
    context = rows_of(machine, 6, rng)
    base = {l: np.full((6, units.size), 9.0) for l, units in enumerate(machine.layers)}
    particles = dg.Particles([np.zeros((6, V), np.uint8), np.zeros((6, 5), np.uint8)])
    site = Site(dg.Stream(0), SAMPLE)
    plain = sweep(machine, particles, 3, site, context=context)
    with_base = dg.Context(bias_rows=context.bias_rows, base_rows=base)
    assert (sweep(machine, particles, 3, site, context=with_base)[0] == plain[0]).all()


def test_contexts_that_are_refused():
    """Would catch a context whose held entries or scales are forgotten without a word."""
    rng = np.random.default_rng(8)
    machine = machine_of(dg.Binary(V), 5, 0.5, rng)
    rows = rows_of(machine, 3, rng).bias_rows
    for context in (
        dg.Context(), dg.Context(bias_rows={0: rows[0]}),
        dg.Context(bias_rows=rows, beta=np.ones(3)),
        dg.Context(bias_rows=rows, held={0: np.ones((3, V), bool)}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="bias rows of layers 0 and 1, and nothing else"):
            log_partitions_by_row(machine, context)
