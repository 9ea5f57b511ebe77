"""What processes agree on, with threads in their place."""

import re
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from mpi_jobs import BITS, COMMON, LABELS, digest, of_model
from ranks import on_threads
from sklearn.base import BaseEstimator

import deepgen as dg
from deepgen.runtime.collective import (
    SHARDS,
    OtherProcessError,
    by_parts,
    from_first,
    on_all,
    part_of,
    require_shards,
    shard_bounds,
    sum_of_shards,
)


@pytest.mark.parametrize("n_rows", [0, 1, 5, 24, 97, 1000])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 24, 30])
def test_parts_are_all_rows_in_order(n_rows, size):
    """Would catch a row that no process has, or two."""
    parts = on_threads(size, lambda c: list(range(n_rows))[part_of(n_rows, c)])
    assert [row for part in parts for row in part] == list(range(n_rows))
    if size <= SHARDS:
        assert len({len(on_threads(1, lambda c: shard_bounds(n_rows, c))[0])}) == 1


def test_parts_have_whole_shards():
    """Would catch a shard that two processes share, whose sum would then be rounded twice."""
    whole = on_threads(1, lambda c: shard_bounds(97, c))[0]
    for size in (2, 3, 5, 24):
        cuts = on_threads(size, lambda c: shard_bounds(97, c))
        assert [bound for each in cuts for bound in each[:-1]] + [97] == whole


def test_sums_of_shards_do_not_depend_on_who_adds():
    """Would catch floats that are added in the order of processes; and a step so coarse that
    float32 would see it."""
    rng = np.random.default_rng(0)
    shards = [rng.normal(size=50) * 10.0 ** rng.integers(-6, 6, 50) for _ in range(SHARDS)]

    def added(collective):
        out = np.empty(50)
        sum_of_shards(collective, shards[part_of(SHARDS, collective)], out)
        return out

    one = on_threads(1, added)[0]
    np.testing.assert_allclose(one, sum(shards), atol=2.0**-40 * np.abs(shards).max())
    for size in (2, 3, 5, 24):
        for each in on_threads(size, added):
            np.testing.assert_array_equal(each, one)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_seen_by_all(bad):
    """Would catch a NaN that max() or a cast to whole numbers swallows."""

    def added(collective):
        x, out = np.ones(3), np.empty(3)
        if collective.rank == 1:
            x[1] = bad
        sum_of_shards(collective, [x, np.ones(3)], out)
        return out

    assert all(np.isnan(each).all() for each in on_threads(2, added))


def test_sums_of_zeros_are_zero():
    """Would catch the logarithm of nothing."""
    out = np.ones(2)
    on_threads(1, lambda c: sum_of_shards(c, [np.zeros(2)], out))
    assert not out.any()


def test_more_processes_than_shards_are_refused_where_sums_are_rounded():
    """Would catch processes without any shard, which would add nothing."""

    def check(collective):
        require_shards(collective, "networks")

    on_threads(SHARDS, check)
    with pytest.raises(ValueError, match="at most 24 processes for networks"):
        on_threads(SHARDS + 1, check)


def test_an_error_of_one_process_is_raised_in_all():
    """Would catch a process that goes on while another one has stopped."""

    def work(collective):
        def fail():
            if collective.rank == 1:
                raise OSError("rows.npy: no such file")
            return collective.rank

        try:
            on_all(collective, fail, "to read its rows")
        except OtherProcessError as error:
            return str(error)
        except OSError as error:
            return error

    told = on_threads(3, work)
    assert isinstance(told[1], OSError)
    assert told[0] == told[2] == (
        "process 1 of 3 failed to read its rows: OSError: rows.npy: no such file"
    )
    assert on_threads(3, lambda c: from_first(c, lambda: c.rank, "to begin")) == [0, 0, 0]


def test_rows_that_processes_compute_come_together():
    """Would catch pieces in another order, and a process without a row."""
    rows = on_threads(4, lambda c: by_parts(c, 3, lambda own: [np.arange(3)[own]]))
    for each in rows:
        np.testing.assert_array_equal(each[0], [0, 1, 2])


def test_a_rule_whose_chains_depend_on_each_other_is_refused():
    """Would catch chains at other temperatures that are cut as if each stood for itself."""

    class Tempered(dg.Gibbs):
        def start(self, model, particles, site):
            return dg.Chains(particles, further={"swaps": np.zeros(len(particles))})

    X = np.eye(8, dtype=np.uint8)
    rule = dg.PCD(n_particles=4, sampler=Tempered())
    with pytest.raises(ValueError, match=r"chains that do not depend on each other"):
        on_threads(2, lambda c: dg.RBM(3, rule=rule, n_epochs=1, communicator=c).fit(X))


@pytest.mark.parametrize("bad", [2, "mpi", object()])
def test_a_communicator_must_be_one(bad):
    """Would catch an mpi4py communicator, or a number of processes, that fails in mid-run."""
    with pytest.raises(ValueError, match=r"communicator must be None or dg.distributed.mpi\(\)"):
        dg.RBM(3, communicator=bad).fit(np.eye(3))


@pytest.mark.parametrize(("differs", "name"), [
    (lambda rank: dg.RBM(3, n_epochs=1, callbacks=[dg.ModelLadder()] if rank else None),
     "callbacks"),
    (lambda rank: dg.MixtureOfBernoullis(2 + rank), "n_components"),
    (lambda rank: dg.MixtureOfBernoullis(2), "X"),
], ids=["callbacks", "components", "rows"])  # fmt: skip
def test_processes_that_fit_something_else_are_told(differs, name):
    """Would catch a checkpoint that waits for a process without one, and a mixture of other sums:
    of other rows it would be learned without a word."""

    def learn(collective):
        estimator = differs(collective.rank).set_params(communicator=collective, random_state=0)
        return estimator.fit(BITS[collective.rank :][:30] if name == "X" else BITS)

    with pytest.raises(ValueError, match=f"^{name} must be the same in all processes"):
        on_threads(2, learn)


HOLES = np.where(np.arange(12) < 3, np.nan, BITS)


@pytest.mark.parametrize(("ask", "name"), [
    (lambda model, rank: model.sample(10 + rank, n_sweeps=2), "n_samples"),
    (lambda model, rank: model.sample(5, n_sweeps=2, sampler=dg.ParallelTempering(3 + rank)),
     "sampler"),
    (lambda model, rank: model.log_partition(n_chains=10 + rank), "n_chains"),
    (lambda model, rank: model.impute(HOLES[10 * rank :][:10], n_sweeps=2), "X"),
], ids=["samples", "sampler", "chains", "rows"])  # fmt: skip
@pytest.mark.parametrize("estimator", [dg.RBM, dg.DBN], ids=["rbm", "dbn"])
def test_processes_that_ask_something_else_are_told(estimator, ask, name):
    """Would catch 15 samples where one process asked for 10 and one for 20, and gaps that are
    filled from the rows of another process."""
    settings = {**COMMON, "n_epochs": 1}
    n_hidden = 7 if estimator is dg.RBM else (7, 12)

    def ask_here(collective):
        model = estimator(n_hidden, communicator=collective, **settings).fit(BITS)
        ask(model, collective.rank)

    with pytest.raises(ValueError, match=f"^{name} must be the same in all processes"):
        on_threads(2, ask_here)


def test_a_bad_value_of_one_process_stops_a_mixture_in_all():
    """Would catch processes that wait for one whose rows are refused."""

    def learn(collective):
        rows = np.where(collective.rank, BITS.astype(float) - 1.0, BITS)
        with pytest.raises(OtherProcessError if collective.rank == 0 else ValueError) as caught:
            dg.MixtureOfBernoullis(2, random_state=0, communicator=collective).fit(rows)
        return str(caught.value)

    told = on_threads(2, learn)
    assert told[0].startswith("process 1 of 2 failed to read its rows: RefusedValue: X must have")
    assert told[1].startswith("X must have values in [0, 1]")


def told(estimator):
    """What a fitted machine is, and how it got there."""
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in estimator.history_]
    particles = estimator._fitted.particles
    return of_model(estimator.model_), digest(*particles.states), lines


def test_callbacks_see_one_run(tmp_path):
    """Would catch a monitor that is given the particles of one process, a best epoch that is put
    back with a part of them, and a log that all write at once."""

    def learn(collective):
        name = "alone" if collective is None else "shared"
        callbacks = [
            dg.LikelihoodMonitor(BITS[:20], n_steps=3, n_chains=10),
            dg.EarlyStopping("log_likelihood", patience=2, min_delta=2.0),
            dg.CSVLog(tmp_path / name),
        ]  # fmt: skip
        rule = dg.PCD(n_particles=5)
        settings = {**COMMON, "n_epochs": 9, "learning_rate": 1.0, "n_threads": 1}
        return told(dg.RBM(
            7, rule=rule, callbacks=callbacks, communicator=collective, **settings
        ).fit(BITS))  # fmt: skip

    alone = learn(None)
    assert len(alone[2]) < 9
    for size in (2, 3):
        assert on_threads(size, learn) == [alone] * size
    logs = [(tmp_path / name).read_text().splitlines() for name in ("alone", "shared")]
    assert [len(log) for log in logs] == [len(alone[2]) + 1] * 2


def test_labels_stay_with_their_rows():
    """Would catch labels that are cut in another place than the rows they belong to."""

    def learn(collective):
        rule = dg.MeanFieldPCD(n_particles=9)
        dbm = dg.DBM((6, 4), rule=rule, label_units=True, pretrained=None, communicator=collective,
                     **COMMON)  # fmt: skip
        return told(dbm.fit(BITS, LABELS))

    alone = learn(None)
    for size in (2, 3):
        assert on_threads(size, learn) == [alone] * size


def test_the_seed_of_the_first_process_is_that_of_all():
    """Would catch processes that each draw a seed of their own."""
    settings = {**COMMON, "random_state": None}
    found = on_threads(2, lambda c: told(dg.RBM(7, communicator=c, **settings).fit(BITS)))
    assert found[0] == found[1]


ALONE = [
    dg.ReplicatedSoftmax, dg.RatingsRBM, dg.DeepGaussianProcessRegressor,
    dg.NeighbourhoodComponents, dg.HierarchicalGaussian, dg.TemporalRBM, dg.Imputer,
]  # fmt: skip


@pytest.mark.parametrize("estimator", ALONE, ids=lambda each: each.__name__)
def test_who_learns_in_one_process_refuses_a_communicator(estimator):
    """Would catch a communicator that an estimator takes and does not read: each process would
    learn from all rows."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'communicator'"):
        estimator(communicator=None)
    with pytest.raises(ValueError, match="Invalid parameter 'communicator'"):
        estimator().set_params(communicator=None)


def test_every_estimator_is_told_in_the_guide():
    """Would catch a new estimator of which the guide does not say whether it takes processes."""
    guide = Path(__file__).parents[1] / "docs" / "guide" / "cluster.md"
    if not guide.exists():
        pytest.skip("an installed wheel has no guide")
    text = guide.read_text()
    everyone = {name: each for name in dir(dg) if hasattr(each := getattr(dg, name), "fit")
                and isinstance(each, type) and issubclass(each, BaseEstimator)}  # fmt: skip
    assert {each.__name__ for each in ALONE} <= set(everyone)
    for name, each in everyone.items():
        takes = "communicator" in signature(each).parameters
        paragraph = re.search(
            r"\*\*Who takes a communicator\*\*(.*?)\n\n" if takes
            else r"\*\*Who learns in one process\*\*(.*?)\n\n", text, re.S
        )
        assert f"`{name}`" in paragraph[1], name
        assert takes or each in ALONE, name
