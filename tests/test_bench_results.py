"""Tables of results: what is done is not done again, and pages keep what is not theirs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import deepgen as dg
from deepgen.learning.machines import Trainer
from deepgen.rows.batch import Batch

report = pytest.importorskip("bench.results.report", reason="bench/ is not beside the tests")
store = pytest.importorskip("bench.results.store")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A store in a folder of its own."""
    monkeypatch.setenv("DEEPGEN_RUNS", str(tmp_path))
    return store.Store("table")


def test_pieces_are_computed_once(runs, tmp_path):
    """Catches a run of hours that begins anew after a stop."""
    calls = []

    def piece():
        calls.append(1)
        return {"value": 2.5}

    first = runs.once("piece", piece)
    again = store.Store("table").once("piece", piece)
    assert first == again
    assert len(calls) == 1
    assert first["seconds"] >= 0.0
    assert json.loads((tmp_path / "table" / "piece.json").read_text()) == first


def test_models_are_trained_once_and_a_damaged_one_again(runs, tmp_path):
    """Catches a half-written model that a later run takes for a whole one."""
    X = dg.datasets.sample_bars_and_stripes(50, 3, random_state=0)
    trained = []

    def train():
        trained.append(1)
        return dg.RBM(3, n_epochs=1, random_state=0).fit(X)

    first, seconds = runs.model("rbm", train)
    again, same = runs.model("rbm", train)
    assert seconds == same
    assert (first.transform(X) == again.transform(X)).all()
    (tmp_path / "table" / "rbm.safetensors").write_bytes(b"half")
    mended, _ = runs.model("rbm", train)
    assert len(trained) == 2
    assert (mended.transform(X) == first.transform(X)).all()


def test_checkpoints_come_back(runs):
    """Catches a checkpoint under another name, or one that is lost."""

    def trainer():
        model = dg.BoltzmannMachine([dg.Binary(4), dg.Binary(2)], [np.zeros((4, 2))])
        return Trainer(model, dg.CD(), dg.SGD(momentum=0.5), dg.Constant(0.1), stream=dg.Stream(1))

    first, other = trainer(), trainer()
    runs.resume("run", other)
    assert other.n_updates == 0
    first.step(Batch((np.eye(4, dtype=np.uint8),)), 0.0)
    runs.keep("run", first)
    runs.resume("run", other)
    assert other.n_updates == 1
    np.testing.assert_array_equal(other.model().weights[0], first.model().weights[0])


def test_a_section_is_replaced_and_the_rest_stays(tmp_path, monkeypatch):
    """Catches a second copy of a table, and results of others that are overwritten."""
    page = tmp_path / "results.md"
    page.write_text("# Results\n\nby hand\n")
    monkeypatch.setattr(report, "RESULTS", page)
    for value in ("1.0", "2.0"):
        text = report.table("Title", ("a", "b"), [("x", value)], ["a note"])
        report.write("name", True, text)
    content = page.read_text()
    assert "by hand" in content
    assert "| x | 2.0 |" in content
    assert "| x | 1.0 |" not in content  # the whole cell: the machine's load may be 1.0, too
    assert content.count("## Title") == 1
    assert "`python -m bench.results name --quick`" in content


def test_spread_is_mean_and_deviation():
    """Catches a deviation of the population in place of the sample's."""
    assert report.spread([1.0, 3.0]) == "2.00 (1.41)"
    assert report.spread([5.0], 0) == "5"


def test_labels_of_test_rows_decide_nothing():
    """Catches a classifier of objects that reads the labels it is tested on."""
    objects = pytest.importorskip("bench.results.dbm_objects")
    rng = np.random.default_rng(0)
    view, y = np.tile(np.arange(0, 72, 6), 20), np.repeat(np.arange(20), 12)
    known, seen = objects.labelled(view, 0), view % 4 == 0
    assert known.sum() == 80
    centres = rng.normal(size=(20, 6))
    F = (centres[y] + 0.3 * rng.normal(size=(4, len(y), 6))).astype(np.float32)
    other = np.where(known, y, rng.integers(0, 20, len(y)))
    learners = (
        objects.logistic, objects.logistic_copies, objects.support, objects.support_copies,
        objects.spreading, objects.self_training,
    )  # fmt: skip
    for learner in learners:
        found = learner(F, y, known, seen)
        assert (found == y)[~known].mean() > 0.3, learner.__name__  # chance is 0.05
        np.testing.assert_array_equal(found, learner(F, other, known, seen), learner.__name__)


def test_a_machine_of_half_of_the_views_is_tested_on_the_others():
    """Catches test rows that are labelled, or that the machine has seen."""
    objects = pytest.importorskip("bench.results.dbm_objects")
    view = np.tile(np.arange(72), 20)
    coil = SimpleNamespace(view=view)
    even, everything = view % 2 == 0, np.ones(1440, np.bool_)
    for start in range(0, 18, 2):
        known = objects.labelled(view, start)
        assert (known & even).sum() == known.sum() == 80
        assert objects.tested(coil, everything, start).sum() == 1360
        test = objects.tested(coil, even, start)
        assert test.sum() == 720
        assert not (test & (known | even)).any()


@pytest.mark.parametrize("seed", [23, 2023, 90000])
def test_brackets_hold_a_mode_that_forward_chains_rarely_find(seed):
    """Catches an interval of one kind of start alone: a mode with a tenth of the mass, to which no
    forward chain comes in these runs, lies outside it, and nothing is contradicted."""
    brackets = pytest.importorskip("bench.results.brackets")
    case = brackets.gaussian_machine(np.random.default_rng([2, 23]), 23)
    one = brackets.judged(case, seed)
    assert one["lower"] <= one["exact"] <= one["upper"]
    assert one["upper"] - one["lower"] < 2.0


def test_machines_of_the_brackets_have_the_log_z_that_is_said():
    """Catches a count or a sum over parts that is not the machine's: small ones of the same kinds
    are enumerated."""
    brackets = pytest.importorskip("bench.results.brackets")
    groups = [(5, -1.5, 0.25), (4, 0.5, -0.75)]
    model = brackets.of_groups(groups, 6, 0.125)
    assert brackets.by_counting(groups, 6, 0.125)[0] == pytest.approx(
        dg.exact_log_partition(model).value, abs=1e-9
    )
    for kind, number in (("blocks", 4), ("two modes", 5)):
        case = brackets.MACHINES[kind](np.random.default_rng(number), 0)
        found = dg.log_partition_bracket(case.model, exact=False, n_betas=300, random_state=0)
        assert found.lower <= case.exact <= found.upper
    assert sum(brackets.NUMBERS.values()) == 500
    assert set(brackets.NUMBERS) == set(brackets.MACHINES)


def test_what_lies_outside_a_bracket_is_counted():
    """Catches a miss on one side that is none, and rounding that is counted as one."""
    brackets = pytest.importorskip("bench.results.brackets")
    ends = {"lower": 1.0, "upper": 2.0}
    assert brackets.missed_by({**ends, "exact": 1.5}) == 0.0
    assert brackets.missed_by({**ends, "exact": 2.00001}) == 0.0
    assert brackets.missed_by({**ends, "exact": 2.5}) == 0.5
    assert brackets.missed_by({**ends, "exact": 0.75}) == 0.25


def test_an_estimate_in_parts_is_that_of_all_pieces(runs, monkeypatch):
    """Catches a part that is left out or counted twice, frames that go to another piece, and an
    estimate that begins anew after a stop. The model is small: log Z is exact, parts add exactly.
    """
    music = pytest.importorskip("bench.results.music")
    rng = np.random.default_rng(0)
    pieces = [(rng.random((n, 6)) < 0.4).astype(np.uint8) for n in (12, 7, 20, 3, 9)]
    model = dg.TemporalRBM(5, n_recurrent=4, n_epochs=3, random_state=0).fit(pieces)
    monkeypatch.setattr(music, "FRAMES_AT_ONCE", 15)
    annealing = music.Annealing(4, 20)
    found = music.estimated(runs, "piece", model, pieces, annealing)
    by_frame = model.score_samples(pieces)
    assert found["n_frames"] == len(by_frame)
    assert found["value"] == pytest.approx(by_frame.mean(), abs=1e-5)
    by_piece = np.split(by_frame, np.cumsum([len(x) for x in pieces])[:-1])
    means = [part.mean() for part in by_piece]
    assert found["mean_of_sequences"] == pytest.approx(np.mean(means), abs=1e-5)
    assert len(list(runs.folder.glob("piece-*.npz"))) > 1
    assert music.estimated(runs, "piece", None, pieces, annealing) == found


def test_logistic_regressions_over_distinct_pasts_are_those_over_frames():
    """Catches pasts that are counted once where several frames have them: at the weights found
    the gradient of the plain loss, summed over frames, is zero."""
    baselines = pytest.importorskip("bench.results.sequence_baselines")
    rng = np.random.default_rng(0)
    train = [(rng.random((n, 3)) < 0.4).astype(np.uint8) for n in (40, 25, 60)]
    model = baselines.Logistic(train, order=2, decay=2.0, n_iterations=500)
    now, past = baselines.past_of(train, 2)
    past = np.column_stack([past, np.ones(len(past))])
    means = 1.0 / (1.0 + np.exp(-past @ model.weights))
    slope = past.T @ (means - now) + 2.0 * np.vstack([model.weights[:-1], np.zeros(3)])
    np.testing.assert_allclose(slope, 0.0, atol=0.01)  # of sums over 125 frames
    assert len(np.unique(past, axis=0)) < len(past)
