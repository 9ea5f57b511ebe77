"""Whole updates by one call of a kernel: the bits of rule, sums and optimizer one by one."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import assert_same_bits, bars_and_stripes, random_model
from scipy import sparse

import deepgen as dg
from deepgen.errors import DivergedError
from deepgen.learning.machines import Trainer
from deepgen.learning.whole_updates import WholeUpdates
from deepgen.rows.sources import ArrayRows

ROWS = np.tile(bars_and_stripes(3), (6, 1))  # 84 rows of 9 columns
GREY = ((2.0 * ROWS + 1.0) / 4.0).astype(np.float32)


# Of derived classes no kernel makes updates, because they may do something else.
class OwnCD(dg.CD):
    """CD by calls one by one."""


class OwnPCD(dg.PCD):
    """PCD by calls one by one."""


class OwnMeanFieldPCD(dg.MeanFieldPCD):
    """MeanFieldPCD by calls one by one."""


class OwnSGD(dg.SGD):
    """SGD by calls one by one."""


def run_of(rule, optimizer=None, rows=ROWS, *, sizes=(9, 40), n_threads=1, n_copies=1, **fit):
    """A run of 3 epochs of 9 batches, the last one short, of a machine of 9 and more units."""
    model = random_model(("binary",) * len(sizes), 3, sizes, 0.3, n_copies=n_copies)
    run = Trainer(model, rule, optimizer or dg.SGD(), dg.Linear(0.1, 0.0), stream=dg.Stream(2),
                  batch_size=10, n_threads=n_threads)  # fmt: skip
    run.fit(ArrayRows(rows), 3, **fit)
    return run


def assert_same_run(one, other):
    """Fail unless two runs have the same bits of all that goes on in them."""
    for name, array in one.parameters.learned().items():
        assert_same_bits(other.parameters.learned()[name], array)
    for name in ("average", "velocity"):
        arrays, others = one.optimizer_state[name], other.optimizer_state[name]
        if name == "average":
            assert arrays["count"] == others["count"]
            arrays, others = arrays["arrays"], others["arrays"]
        for key in arrays or ():
            assert_same_bits(others[key], arrays[key])
    states, others = one.rule_state, other.rule_state
    for offset, its in zip(states.offsets or (), others.offsets or (), strict=True):
        assert_same_bits(its, offset)
    if states.particles is not None:
        for its, particles in zip(others.particles.states, states.particles.states, strict=True):
            assert_same_bits(its, particles)


@pytest.fixture
def counted(monkeypatch):
    """Numbers of updates that calls of the kernel were asked for."""
    calls, make = [], WholeUpdates.make

    def counting(self, updates, *others):
        calls.append(len(updates))
        return make(self, updates, *others)

    monkeypatch.setattr(WholeUpdates, "make", counting)
    return calls


SETTINGS = {
    "cd": ((dg.CD, OwnCD), {}, {}),
    "cd 3": ((dg.CD, OwnCD), {"k": 3, "centring": False}, {"momentum": 0.7, "averaging": 0.6}),
    "pcd": ((dg.PCD, OwnPCD), {"n_particles": 13}, {}),
    "pcd 2": ((dg.PCD, OwnPCD), {"n_particles": 4, "k": 2, "offset_rate": 0.3},
              {"momentum": 0.5, "rates": (0.3,), "averaging": 0.0}),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("form", ["bytes", "grey", "sparse"])
def test_a_whole_update_has_the_bits_of_its_parts(name, form, backend, counted):
    """Would catch a draw of another site, an offset a step early, sums or biases in another
    order, and a short last batch that is read beyond its end."""
    (planned, own), rule, optimizer = SETTINGS[name]
    rows = {"bytes": ROWS, "grey": GREY, "sparse": sparse.csr_array(GREY)}[form]
    whole = run_of(planned(**rule), dg.SGD(**optimizer), rows)
    assert sum(counted) == whole.n_updates == 27
    if form == "bytes":
        assert max(counted) > 1
    parts = run_of(own(**rule), dg.SGD(**optimizer), rows)
    assert sum(counted) == 27
    assert_same_run(whole, parts)
    assert_same_run(whole, run_of(planned(**rule), OwnSGD(**optimizer), rows))


DEEP = {
    "3 layers": ((9, 40, 33), {"n_particles": 13}, {"rates": (1.0, 0.25)}),
    "4 layers": (
        (9, 12, 40, 7),
        {"n_particles": 5, "k": 2, "inference": dg.FixedPoint(9, 1e-2, 0.3), "offset_rate": 0.2},
        {"momentum": 0.7, "averaging": 0.6},
    ),
    "not centred": ((9, 33, 20), {"n_particles": 4, "centring": False}, {}),
    "2 layers": ((9, 40), {"n_particles": 4}, {"rates": (0.3,)}),
}  # fmt: skip


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("form", ["bytes", "grey", "sparse"])
def test_a_whole_update_of_a_deep_machine_has_the_bits_of_its_parts(name, form, backend, counted):
    """Would catch layers that are drawn in another order, mean field that starts or stops
    elsewhere, a bias that follows its two matrices in another order or at one rate, and an offset
    of a higher layer that stays."""
    sizes, rule, optimizer = DEEP[name]
    rows = {"bytes": ROWS, "grey": GREY, "sparse": sparse.csr_array(GREY)}[form]
    whole = run_of(dg.MeanFieldPCD(**rule), dg.SGD(**optimizer), rows, sizes=sizes)
    assert sum(counted) == whole.n_updates == 27
    if form == "bytes":
        assert max(counted) > 1
    parts = run_of(OwnMeanFieldPCD(**rule), dg.SGD(**optimizer), rows, sizes=sizes)
    assert sum(counted) == 27
    assert_same_run(whole, parts)


def test_whole_updates_of_a_deep_machine_have_one_set_of_bits_for_any_threads(threaded):
    """Would catch a sum or a sweep that crosses threads within the kernel's call."""
    one = run_of(dg.MeanFieldPCD(n_particles=30), sizes=(9, 40, 33))
    for n_threads in (2, 3, 7):
        rule = dg.MeanFieldPCD(n_particles=30)
        assert_same_run(one, run_of(rule, sizes=(9, 40, 33), n_threads=n_threads))


def test_a_deep_run_that_diverges_in_a_call_goes_back_as_one_by_one():
    """Would catch means that are no numbers and are read as bytes in one of the two ways."""
    runs = []
    for rule in (dg.MeanFieldPCD(n_particles=5), OwnMeanFieldPCD(n_particles=5)):
        model = random_model(("binary",) * 3, 3, (9, 40, 33), 0.3)
        run = Trainer(
            model, rule, dg.SGD(momentum=0.9), lambda progress: 0.1 if progress < 0.2 else 1e30,
            stream=dg.Stream(2), batch_size=10,
        )  # fmt: skip
        with pytest.raises(DivergedError) as raised:
            run.fit(ArrayRows(ROWS), 3)
        runs.append((run, str(raised.value)))
    (whole, one), (parts, other) = runs
    assert whole.n_updates == parts.n_updates > 1
    assert one == other
    assert_same_run(whole, parts)


def test_rows_with_holes_of_a_deep_machine_go_one_by_one(counted):
    """Would catch values that are not known and are read as states."""
    holes, sizes = GREY.copy(), (9, 12, 10)
    holes[:40:7, 3] = np.nan
    run = run_of(dg.MeanFieldPCD(n_particles=5), rows=holes, sizes=sizes)
    assert 0 < sum(counted) < run.n_updates
    assert_same_run(run, run_of(OwnMeanFieldPCD(n_particles=5), rows=holes, sizes=sizes))


def test_labels_beside_the_rows_of_a_deep_machine_go_one_by_one(counted):
    """Would catch labels that are left out of mean field."""
    model = random_model(("binary",) * 3, 3, (9, 12, 3), 0.3)
    model = dg.BoltzmannMachine(model.layers, model.weights, observed=(0, 2))
    run = Trainer(model, dg.MeanFieldPCD(n_particles=5), dg.SGD(), dg.Linear(0.1, 0.0),
                  stream=dg.Stream(2), batch_size=10)  # fmt: skip
    run.step(dg.Batch((ROWS[:10], np.eye(3, dtype=np.uint8)[np.arange(10) % 3])), 0.5)
    assert run.n_updates == 1
    assert not counted


def test_tied_copies_are_whole_updates_too(counted):
    """Would catch means of several copies that are counted in steps of one, and states of two that
    are refused."""
    rows = ROWS + ROWS[::-1]
    whole = run_of(dg.CD(), rows=rows, n_copies=2)
    assert sum(counted) == 27
    assert_same_run(whole, run_of(OwnCD(), rows=rows, n_copies=2))


def test_whole_updates_have_one_set_of_bits_for_any_threads(threaded):
    """Would catch a sum that crosses threads within the kernel's call."""
    one = run_of(dg.PCD(n_particles=30))
    for n_threads in (2, 3, 7):
        assert_same_run(one, run_of(dg.PCD(n_particles=30), n_threads=n_threads))


def test_a_chosen_row_that_is_no_state_is_told_after_the_updates_before_it():
    """Would catch bytes that changed after the survey and are learned from, or whole batches before
    them that are lost."""
    rows = ROWS.copy()
    order = next(iter(ArrayRows(rows).orders(84, dg.Stream(dg.Stream(2).child("order").key, 0))))
    rows[order[35], 4] = 2  # of the fourth batch
    model = random_model(("binary", "binary"), 3, (9, 40), 0.3)
    run = Trainer(model, dg.CD(), dg.SGD(), dg.Linear(0.1, 0.0), stream=dg.Stream(2), batch_size=10)
    with pytest.raises(ValueError, match=r"batch must have values in \[0, 1\].* got 2"):
        run.fit(ArrayRows(rows), 3)
    assert run.n_updates == 3
    assert np.isfinite(run.parameters.weights[0]).all()


def test_a_run_that_diverges_in_a_call_goes_back_as_one_by_one():
    """Would catch updates that go on after a parameter is not finite, and a wrong rate in the
    message."""
    runs = []
    for rule in (dg.CD(), OwnCD()):
        model = random_model(("binary", "binary"), 3, (9, 40), 0.3)
        run = Trainer(
            model, rule, dg.SGD(momentum=0.9), lambda progress: 0.1 if progress < 0.2 else 1e30,
            stream=dg.Stream(2), batch_size=10,
        )  # fmt: skip
        with pytest.raises(DivergedError) as raised:
            run.fit(ArrayRows(ROWS), 3)
        runs.append((run, raised.value))
    (whole, one), (parts, other) = runs
    assert whole.n_updates == parts.n_updates > 1
    assert str(one) == str(other)
    assert_same_run(whole, parts)


def test_averaging_begins_in_the_middle_of_a_call():
    """Would catch an average that begins from parameters of the update after its first one."""
    whole, parts = (run_of(rule, dg.SGD(averaging=0.5)) for rule in (dg.CD(), OwnCD()))
    assert whole.optimizer_state["average"]["count"] == 14
    assert_same_run(whole, parts)


@dataclass
class EachUpdate:
    """A callback that wants to hear of each update."""

    numbers: list

    def __call__(self, report):
        return False

    def between_updates(self, trainer):
        self.numbers.append(trainer.n_updates)


def test_who_watches_updates_hears_of_each(counted):
    """Would catch a checkpoint that can only be written after several updates."""
    numbers = []
    run_of(dg.CD(), callbacks=[EachUpdate(numbers)])
    assert sorted(set(numbers)) == list(range(1, 28))
    assert max(counted) == 1


@pytest.mark.parametrize("rule", [dg.CD(), dg.PCD(n_particles=5), dg.MeanFieldPCD(n_particles=5)])
def test_a_pickled_run_goes_on_with_the_same_bits(rule):
    """Would catch a copy that moves the arrays of the run it was made of."""
    run = run_of(rule)
    other = pickle.loads(pickle.dumps(run))
    before = run.parameters.snapshot()
    other.fit(ArrayRows(ROWS), 5)
    assert_same_bits(run.parameters.weights[0], before["weights[0]"])
    run.fit(ArrayRows(ROWS), 5)
    assert_same_run(run, other)


@pytest.mark.parametrize(
    ("rule", "sizes"),
    [(dg.PCD(n_particles=5), (9, 40)), (dg.MeanFieldPCD(n_particles=5), (9, 12, 10))],
)
def test_particles_that_somebody_keeps_stay(rule, sizes, counted):
    """Would catch chains that move in arrays which a callback or an estimator has."""
    run = run_of(rule, sizes=sizes)
    kept = run.rule_state.particles
    before = [x.copy() for x in kept.states]
    run.fit(ArrayRows(ROWS), 5)
    assert sum(counted) == 45
    for x, its in zip(kept.states, before, strict=True):
        assert_same_bits(x, its)


@pytest.mark.parametrize(
    ("rule", "optimizer"),
    [(dg.CD(sparsity=dg.Sparsity(0.1)), dg.SGD()), (dg.CD(), dg.Adam()), (OwnCD(), dg.SGD())],
)
def test_what_no_kernel_makes_goes_one_by_one(rule, optimizer, counted):
    """Would catch a sparsity target or an optimizer that is left out."""
    run_of(rule, optimizer)
    assert not counted
