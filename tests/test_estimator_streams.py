"""Learning from streams: calls of any size learn as `fit` does, and do not run away."""

import copy
import pickle
import signal
import threading
import tracemalloc

import numpy as np
import pytest
from comparisons import bits
from conftest import FIVE_SIGMA, with_slow

import deepgen as dg
from deepgen.estimators.common.machines import MachineProblem
from deepgen.io import checkpoints, trees
from deepgen.learning.starts import ROWS_OF_FULL_RATE
from deepgen.learning.whole_updates import WholeUpdates
from deepgen.rows.batch import Batch
from deepgen.runtime.precision import rounded

PATTERNS = dg.datasets.bars_and_stripes(3, unique=False)
ROWS = dg.datasets.sample_bars_and_stripes(12_000, 3, random_state=0)
N_HIDDEN = 8


@pytest.fixture(autouse=True)
def _serial(serial):
    """One thread: the bits are the same, and small work is faster."""


def likelihood(rbm):
    """Exact mean log-likelihood of the distribution that the rows come from."""
    return dg.exact_log_likelihood(rbm.model_, PATTERNS).mean()


INDEPENDENT = -9 * np.log(2.0)  # what pixels without connections reach


def fed(size, n_rows, seed=0, **settings):
    rbm = dg.RBM(N_HIDDEN, random_state=seed, **settings)
    for start in range(0, n_rows, size):
        first = start % (len(ROWS) - size + 1)
        rbm.partial_fit(ROWS[first : first + size])
    return rbm


@pytest.mark.parametrize("size", with_slow([37, 100, 5000], [37, 100]))
def test_calls_learn_as_fit_does_with_as_many_updates_of_that_size(size):
    """Would catch phases divided by another number than their own, and particles or offsets that
    a new call starts anew: scikit-learn collapses in calls of 5,000 rows."""
    n_updates, update, n_seeds = 1200, min(size, 100), 4
    n_rows = n_updates * update
    n_epochs = n_rows // len(ROWS) + 1
    settings = {"learning_rate": 0.4, "batch_size": update}
    streams, fits = [], []
    for seed in range(n_seeds):
        stream = fed(size, n_rows, seed, **settings)
        whole = dg.RBM(N_HIDDEN, n_epochs=n_epochs, random_state=seed, **settings)
        whole.fit(ROWS[: n_rows // n_epochs])
        assert stream.n_updates_ == pytest.approx(whole.n_updates_, rel=0.01)
        streams.append(likelihood(stream))
        fits.append(likelihood(whole))
    assert np.mean(fits) > INDEPENDENT + 1.0  # both have learned something
    error = np.sqrt((np.var(streams, ddof=1) + np.var(fits, ddof=1)) / n_seeds)
    assert np.mean(streams) > np.mean(fits) - FIVE_SIGMA * error


def test_a_stream_stands_for_the_mean_of_its_newest_updates():
    """Would catch a model that is the last step, noise and all, or one of long ago."""
    rbm = dg.RBM(N_HIDDEN, random_state=0).partial_fit(ROWS[:100])
    trainer, mean = rbm._fitted.stream, None
    for count in range(1, 200):
        weights = trainer.parameters.weights[0].astype(np.float64)
        share = max(20.0 / (count + 19.0), 1e-3)
        mean = weights if mean is None else mean + share * (weights - mean)
        np.testing.assert_allclose(rbm.model_.weights[0], mean, atol=1e-5)
        rbm.partial_fit(ROWS[100 * (count % 100) :][:100])
    plain = dg.RBM(N_HIDDEN, optimizer=dg.SGD(averaging=0.0), random_state=0)
    parameters = plain.partial_fit(ROWS[:100]).partial_fit(ROWS[:100])._fitted.stream.parameters
    assert (plain.model_.weights[0] == rounded(*plain.model_.layers, parameters.weights[0])).all()


def test_what_cannot_change_within_a_stream_is_refused():
    """Would catch settings that are silently not used, and a checkpoint that tells others."""
    rbm = dg.RBM(N_HIDDEN, batch_size=20, random_state=0).partial_fit(ROWS[:20])
    before = rbm.model_
    for changed in ({"rule": "cd"}, {"optimizer": dg.Adam()}, {"binarize": True}):
        with pytest.raises(ValueError, match=rf"{next(iter(changed))} was .* when the stream"):
            rbm.set_params(**changed).partial_fit(ROWS[:20])
        assert rbm.model_ is before
        rbm.set_params(rule="pcd", optimizer=None, binarize=False)


def test_rate_and_batch_size_may_change_within_a_stream(tmp_path):
    """Would catch a checkpoint with the settings that the stream began with."""
    rbm = dg.RBM(N_HIDDEN, batch_size=20, random_state=0).partial_fit(ROWS[:20])
    rbm.set_params(learning_rate=0.3, batch_size=10).partial_fit(ROWS[20:40])
    assert rbm.n_updates_ == 3
    assert rbm._fitted.stream.learning_rate == 0.3
    rbm.save_checkpoint(tmp_path / "stream")
    other = dg.RBM(N_HIDDEN, batch_size=10, learning_rate=0.3, random_state=0)
    other.load_checkpoint(tmp_path / "stream")
    one, two = (r.partial_fit(ROWS[40:60]).model_.weights[0] for r in (rbm, other))
    assert (one == two).all()


@pytest.mark.slow
def test_single_rows_do_not_run_away():
    """Would catch the rate of whole batches used for single rows: it learns for some thousand
    rows and then loses all of it (docs/decisions.md)."""
    rbm = dg.RBM(N_HIDDEN, random_state=0).partial_fit(ROWS[:100])
    trainer = rbm._fitted.stream
    problem = MachineProblem(rbm, trainer.parameters.layers)
    trainer.schedule = problem.stream_schedule(1)
    for row in range(5_000):  # what partial_fit does, without its checks of each row
        trainer.step(Batch((ROWS[row : row + 1],)), None)
    problem.keep(trainer, 0)
    tens = fed(ROWS_OF_FULL_RATE, 5_000)
    assert likelihood(rbm) > INDEPENDENT - 0.1
    # the rate falls with the rows, so single rows do together what ten of them do
    assert likelihood(rbm) == pytest.approx(likelihood(tens), abs=0.5)


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_a_stream_begins_alike_however_its_first_rows_are_cut(visible):
    """Would catch a start from the moments of one row: it has no variance, and its pixels would
    be the centre for good."""
    rows = ROWS[:40] if visible == "binary" else np.random.default_rng(1).normal(5.0, 2.0, (40, 9))
    models = []
    for cuts in ([40], [1] * 40, [7, 13, 20], [39, 1]):
        rbm, first = dg.RBM(4, visible=visible, batch_size=40, random_state=0), 0
        for size in cuts:
            piece = rows[first : first + size].copy()
            rbm.partial_fit(piece)
            piece[:] = 0  # the caller's buffer is its own
            first += size
            assert rbm.n_updates_ == 1
            assert np.isfinite(rbm.model_.weights[0]).all()
        models.append(rbm.model_)
        assert np.isfinite(rbm.partial_fit(rows[:1]).model_.weights[0]).all()
        assert rbm.n_updates_ == 2
    for other in models[1:]:
        assert np.array_equal(other.weights[0], models[0].weights[0])
        assert np.array_equal(other.layers[0].bias, models[0].layers[0].bias)


def test_explicit_rates_are_taken_as_they_are():
    """Would catch a rate that the user named and that is scaled all the same."""
    layers = [dg.Binary(4), dg.Binary(3)]
    named, usual = (MachineProblem(rbm, layers) for rbm in (dg.RBM(learning_rate=0.3), dg.RBM()))
    assert named.stream_schedule(1)(0.0) == 0.3
    rates = [usual.stream_schedule(n)(0.0) for n in (1, 5, 10, 100, 5000)]
    assert rates == pytest.approx([0.01, 0.05, 0.1, 0.1, 0.1])


# --- kept streams, of all estimators that learn from one ------------------------------------


def estimator_of(kind, **settings):
    """A small estimator of a kind."""
    settings = {"batch_size": 20, "n_epochs": 2, **settings}
    if kind == "RBM":
        return dg.RBM(N_HIDDEN, **settings)
    if kind == "DBN":
        return dg.DBN((N_HIDDEN, 5), **settings)
    return dg.DBM((N_HIDDEN, 5), pretrained=None, **settings)


KINDS = pytest.mark.parametrize("kind", ["RBM", "DBN", "DBM"])


@KINDS
def test_what_is_kept_after_a_fit_scores_as_the_keeper_does(kind, tmp_path):
    """Would catch a seed of likelihoods that is drawn anew for the file: estimates differ."""
    keeper = estimator_of(kind).fit(ROWS[:200])
    keeper.save_checkpoint(tmp_path / "stream")
    other = estimator_of(kind).load_checkpoint(tmp_path / "stream")
    assert other.score(ROWS[:50]) == keeper.score(ROWS[:50])
    seed = keeper._fitted.score_seed
    assert {e.partial_fit(ROWS[:40])._fitted.score_seed for e in (keeper, other)} == {seed}
    assert other._fitted.score_seed == seed
    assert type(keeper).from_model(keeper.model_).partial_fit(ROWS[:40])._fitted.score_seed == 0


@KINDS
def test_a_stream_is_kept_with_the_settings_of_now(kind, tmp_path):
    """Would catch a rate that was set after the last call and makes the file that of another
    stream; and a file written in spite of a setting that no stream can change."""
    now = {"learning_rate": 0.01, "batch_size": 15, "random_state": 0}
    for n_rows in (10, 40):  # fewer than a batch, and more
        keeper = estimator_of(kind, random_state=0).partial_fit(ROWS[:n_rows])
        keeper.set_params(**now).save_checkpoint(tmp_path / "stream")
        other = estimator_of(kind, **now).load_checkpoint(tmp_path / "stream")
        one, two = (e.partial_fit(ROWS[40:80]).transform(ROWS[:9]) for e in (keeper, other))
        assert (one == two).all()
    with pytest.raises(ValueError, match=r"optimizer was .* when the stream began"):
        keeper.set_params(optimizer=dg.Adam()).save_checkpoint(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@KINDS
def test_files_of_fits_and_of_streams_are_told_apart(kind, tmp_path):
    """Would catch a message about settings, or about damage, where a user took the wrong file."""
    run = estimator_of(kind, random_state=0, callbacks=[dg.Checkpoint(tmp_path / "fit")])
    run.fit(ROWS[:40])
    estimator_of(kind, random_state=0).partial_fit(ROWS[:40]).save_checkpoint(tmp_path / "stream")
    other = estimator_of(kind, random_state=1)  # its kind is told first
    with pytest.raises(ValueError, match="not the checkpoint of a stream; go on with fit or ref"):
        other.load_checkpoint(tmp_path / "fit")
    with pytest.raises(ValueError, match="the checkpoint of a stream; read it with load_check"):
        other.fit(ROWS[:40], resume=tmp_path / "stream")
    with pytest.raises(FileNotFoundError, match="name a file that save_checkpoint has written"):
        other.load_checkpoint(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError, match="a file that save_checkpoint has written"):
        other.load_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"needs its folder .* make it first"):
        run.save_checkpoint(tmp_path / "none" / "stream")
    foreign = estimator_of("DBN" if kind == "RBM" else "RBM", random_state=0)
    with pytest.raises(ValueError, match=r"run: estimator is \w+ here and \w+ there. Set the est"):
        foreign.load_checkpoint(tmp_path / "stream")


@KINDS
def test_no_run_goes_on_with_another_arithmetic(kind, tmp_path):
    """Would catch other bits without a word where the process has another precision."""
    run = estimator_of(kind, random_state=0, callbacks=[dg.Checkpoint(tmp_path / "fit")])
    run.fit(ROWS[:40])
    estimator_of(kind, random_state=0).partial_fit(ROWS[:40]).save_checkpoint(tmp_path / "stream")
    other, now = estimator_of(kind, random_state=0), dg.show_config()["precision"]
    dg.set_precision({"auto": "float32", "float32": "auto"}[now])
    try:
        with pytest.raises(ValueError, match=rf"dg.set_precision\('{now}'\) first"):
            other.load_checkpoint(tmp_path / "stream")
        with pytest.raises(ValueError, match=rf"dg.set_precision\('{now}'\) first"):
            other.fit(ROWS[:40], resume=tmp_path / "fit")
    finally:
        dg.set_precision(None)
    other.load_checkpoint(tmp_path / "stream")


def sparse_rows(**changes):
    """First rows of a stream as a checkpoint holds a sparse matrix, with other entries."""
    rows = {
        "values": np.ones(1, np.float32), "indices": np.zeros(1, np.int32),
        "starts": np.array([0, 1], np.int64), "n_columns": ROWS.shape[1],
    }  # fmt: skip
    return {**rows, **changes}


HOSTILE = {
    "score_seed": [None, True, -1, "1"],
    "precision": [None, 7, "float16"],
    "feature_names": [["a"], [1] * 9, "names"],
    "first_rows": [
        np.zeros((3, 4), np.uint8), {"values": np.zeros(1, np.float32)}, 3,
        np.zeros(9, np.uint8), np.zeros((3, 9, 1), np.uint8), sparse_rows(n_columns=2**70),
        sparse_rows(n_columns=10**9), sparse_rows(n_columns="9"), sparse_rows(starts=3),
        sparse_rows(indices=np.array([10**8], np.int32)),
        *(sparse_rows(starts=np.array([0, 3, 2, 4], dtype), values=np.ones(4, np.float32),
                      indices=np.zeros(4, np.int32)) for dtype in (np.int64, np.uint8)),
        sparse_rows(starts=np.zeros(0, np.int64)), sparse_rows(values=np.zeros((1, 1), np.float32)),
    ],
    "seed": [None, -1],
    "settings": [None, {}, {"n_features": True}],
}


@KINDS
@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_stream_gives_one_error_and_changes_nothing(kind, name, tmp_path):
    """Would catch a kept stream that is read with another seed, other names or rows of another
    width, and an estimator that a refused file has changed."""
    estimator_of(kind, random_state=0).partial_fit(ROWS[:10]).save_checkpoint(tmp_path / "stream")
    frame, state = checkpoints.load(tmp_path / "stream")
    other = estimator_of(kind, random_state=0).partial_fit(ROWS[:30])
    before = dict(vars(other))
    for value in HOSTILE[name]:
        tree = {"frame": {**frame, name: value}, "trainer": state}
        trees.save(tree, tmp_path / "damaged")
        with pytest.raises(dg.ModelFileError, match="damaged"):
            other.load_checkpoint(tmp_path / "damaged")
        assert {n: id(v) for n, v in vars(other).items()} == {n: id(v) for n, v in before.items()}


@KINDS
def test_the_size_of_a_stream_is_that_of_its_arrays(kind, tmp_path):
    """Would catch memory for 10**8 columns, which a small file only says that it has."""
    estimator_of(kind, random_state=0).partial_fit(ROWS[:30]).save_checkpoint(tmp_path / "stream")
    frame, state = checkpoints.load(tmp_path / "stream")
    other = estimator_of(kind, random_state=0)
    for n_features, more in (
        (10**8, {}), (10**8, {"none": np.zeros((10**8, 0), np.float32)}),
        (10**5, {"bias": np.zeros(10**5, np.float32)}), (2**70, {}), (8, {}), (-1, {}), (0, {}),
    ):  # fmt: skip
        settings = {**frame["settings"], "n_features": n_features}
        tree = {"frame": {**frame, "settings": settings}, "trainer": {**state, **more}}
        trees.save(tree, tmp_path / "damaged")
        size = (tmp_path / "damaged").stat().st_size
        tracemalloc.start()
        with pytest.raises(dg.ModelFileError, match="damaged"):
            other.load_checkpoint(tmp_path / "damaged")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * size + 2**18
        assert not hasattr(other, "model_")


@KINDS
def test_a_stream_is_not_kept_in_the_middle_of_a_call(kind, tmp_path):
    """Would catch a file of an update that is half done, written from a signal handler: it is read
    and goes on with other bits."""
    stream = estimator_of(kind, random_state=0).partial_fit(ROWS[:40])
    stream.save_checkpoint(tmp_path / "stream")
    before, step = (tmp_path / "stream").read_bytes(), type(stream._fitted.stream).step

    def half_done(self, batch, *rest):
        with pytest.raises(RuntimeError, match="saved between two calls"):
            stream.save_checkpoint(tmp_path / "stream")
        return step(self, batch, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(stream._fitted.stream), "step", half_done)
        stream.partial_fit(ROWS[40:60])
    assert (tmp_path / "stream").read_bytes() == before
    stream.save_checkpoint(tmp_path / "stream")
    assert (tmp_path / "stream").read_bytes() != before


# ------------------------------------------------- short calls, and what they leave for later


def single_rows(n_rows=60, **settings):
    """A stream that has read a batch, then rows one by one."""
    rbm = dg.RBM(N_HIDDEN, batch_size=20, random_state=0, **settings).partial_fit(ROWS[:20])
    for row in range(20, n_rows):
        rbm.partial_fit(ROWS[row : row + 1])
    return rbm


def test_a_model_that_nobody_asked_for_is_the_same():
    """Would catch a model made of a later update, and one that moves while somebody keeps it."""
    asked = dg.RBM(N_HIDDEN, batch_size=20, random_state=0).partial_fit(ROWS[:20])
    for row in range(20, 60):
        kept = asked.model_
        before = bits(kept)
        asked.partial_fit(ROWS[row : row + 1])
        assert bits(kept) == before
    assert bits(single_rows().model_) == bits(asked.model_)
    assert asked.n_updates_ == 41


def test_a_copy_has_the_model_of_its_time():
    """Would catch a copy whose model is that of updates that the original makes later."""
    rbm = single_rows()
    copies = [copy.copy(rbm), pickle.loads(pickle.dumps(rbm))]
    assert "model_" in vars(copies[0])
    before = bits(copies[0].model_)
    rbm.partial_fit(ROWS[:1])
    assert bits(copies[0].model_) == bits(copies[1].model_) == before != bits(rbm.model_)
    assert bits(copies[1].partial_fit(ROWS[:1]).model_) == bits(rbm.model_)


def test_another_thread_reads_models_of_whole_updates():
    """Would catch a model that is read out of arrays in the middle of an update."""
    rbm, found, over = single_rows(), [], threading.Event()

    def read():
        while not over.is_set():
            found.append(bits(rbm.model_))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for row in range(60, 84):
            rbm.partial_fit(ROWS[row : row + 1])
    finally:
        over.set()
        reader.join(60)
    whole = {bits(single_rows(n_rows).model_) for n_rows in range(60, 85)}
    assert found
    assert set(found) <= whole


def test_a_model_cannot_be_read_in_the_middle_of_its_own_update(monkeypatch):
    """Would catch a signal handler that reads half of an update."""
    rbm, make = single_rows(), WholeUpdates.make

    def reading(*arguments):
        signal.raise_signal(signal.SIGALRM)
        return make(*arguments)

    monkeypatch.setattr(WholeUpdates, "make", reading)
    before = signal.signal(signal.SIGALRM, lambda number, frame: rbm.model_)
    try:
        with pytest.raises(RuntimeError, match="in the middle of an update"):
            rbm.partial_fit(ROWS[21:22])
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("row", [np.full((1, 9), 2, np.uint8), np.full((1, 9), np.inf)])
def test_a_bad_row_of_a_short_call_changes_nothing(row):
    """Would catch a call without checks, because the one before was checked."""
    rbm, expected = single_rows(), single_rows()
    with pytest.raises(ValueError, match=r"^X must .* in row 0, column 0"):
        rbm.partial_fit(row)
    with pytest.raises(ValueError, match="X has 8 features"):
        rbm.partial_fit(ROWS[:1, :8])
    assert rbm.n_updates_ == expected.n_updates_
    models = [r.partial_fit(ROWS[:1]).model_ for r in (rbm, expected)]
    assert bits(models[0]) == bits(models[1])


def test_a_short_call_sees_settings_that_have_changed():
    """Would catch settings that are compared once and never again."""
    rbm = single_rows()
    with pytest.raises(ValueError, match="rule was"):
        rbm.set_params(rule=dg.CD(3)).partial_fit(ROWS[:1])
    with pytest.raises(ValueError, match="n_threads"):
        rbm.set_params(rule="pcd", n_threads=0).partial_fit(ROWS[:1])
    rbm.set_params(n_threads=None, learning_rate=0.25).partial_fit(ROWS[:1])
    rates = rbm._fitted.stream.learning_rate
    assert rates == 0.25
