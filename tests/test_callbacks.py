"""Callbacks: what stops a run, slows it down, writes it down, and what it shows."""

import csv
import logging

import numpy as np
import pytest
from conftest import assert_same_bits, bars_and_stripes

import deepgen as dg
from deepgen.learning.machines import Trainer

pytestmark = pytest.mark.usefixtures("serial")

X = np.tile(bars_and_stripes(3), (10, 1))
SMALL = {"n_hidden": 6, "batch_size": 20, "n_epochs": 12, "learning_rate": 0.1, "random_state": 0}


def fit(*callbacks, **settings):
    """An estimator trained with these callbacks."""
    return dg.RBM(**{**SMALL, **settings}, callbacks=list(callbacks)).fit(X)


class Scores:
    """A score of each epoch's model, from a list."""

    def __init__(self, *values):
        self.values, self.models = list(values), []

    def __call__(self, model):
        self.models.append(model)
        return self.values[len(self.models) - 1]


# --- early stopping ---------------------------------------------------------------------------


def test_early_stopping_waits_and_goes_back_to_the_best_epoch():
    """Catches patience that is off by one, and a last model sold as the best one."""
    scores = Scores(1.0, 3.0, 2.0, 2.9, 2.5, 9.0)
    stopping = dg.EarlyStopping(scores, patience=3)
    rbm = fit(stopping)
    assert len(rbm.history_) == 5
    assert (stopping.best, stopping.best_epoch) == (3.0, 2)
    assert_same_bits(rbm.model_.weights[0], scores.models[1].weights[0])
    assert_same_bits(rbm.model_.layers[0].bias, scores.models[1].layers[0].bias)
    same = fit(dg.EarlyStopping(scores_again := Scores(*scores.values), patience=3,
                                restore_best=False))  # fmt: skip
    assert_same_bits(same.model_.weights[0], scores_again.models[4].weights[0])


def test_early_stopping_restores_averages_and_particles():
    """Catches a best model without its average, and particles of a model that is gone."""
    kept = []

    def keep(report):
        kept.append([x.copy() for x in report.trainer.rule_state.particles.states])

    scores = Scores(*[0.0] * 9, 5.0, 1.0, 1.0)
    rbm = fit(dg.EarlyStopping(scores), keep, optimizer=dg.SGD(averaging=0.5))
    assert len(rbm.history_) == 12
    assert_same_bits(rbm.model_.weights[0], scores.models[9].weights[0])
    for one, other in zip(rbm._fitted.particles.states, kept[9], strict=True):
        assert_same_bits(one, other)
    rbm.partial_fit(X)


def test_early_stopping_reads_rows_and_numbers_of_others():
    """Catches a wrong sign for what should fall, and rows scored by anything but their model."""
    stopping = dg.EarlyStopping("free_energy_gap", mode="min", patience=20)
    rbm = fit(dg.FreeEnergyGap(X[:50], X[50:70]), stopping)
    gaps = [entry["free_energy_gap"] for entry in rbm.history_]
    assert stopping.best == min(gaps)
    assert stopping.best_epoch == 1 + int(np.argmin(gaps))
    rows = dg.EarlyStopping(X, patience=20)
    rbm = fit(rows)
    scores = [entry["pseudo_log_likelihood"] for entry in rbm.history_]
    assert rows.best == max(scores)
    assert rows.best == dg.pseudo_log_likelihood(rbm.model_, X, random_state=0).mean()


def test_nan_is_no_improvement():
    """Catches a best score that is NaN, which nothing ever beats, and one that nobody hears of."""
    stopping = dg.EarlyStopping(Scores(np.nan, 1.0, np.nan, np.nan), patience=2)
    with pytest.warns(RuntimeWarning, match="NaN, which counts as no improvement") as heard:
        assert len(fit(stopping).history_) == 4
    assert len({str(warning.message) for warning in heard}) == 1
    assert len(heard) == 1
    assert stopping.best_epoch == 2


def test_a_callback_can_be_used_again():
    """Catches the memory of an earlier run: GridSearchCV copies callbacks, users reuse them."""
    stopping = dg.EarlyStopping(lambda model: -float(np.abs(model.weights[0]).max()), patience=2)
    first, second = fit(stopping), fit(stopping)
    assert first.n_updates_ == second.n_updates_ == 21
    assert stopping.best_epoch == 1


@pytest.mark.parametrize("make", [
    lambda: dg.EarlyStopping(X, patience=0),
    lambda: dg.EarlyStopping(X, mode="up"),
    lambda: dg.EarlyStopping(X, min_delta=-1.0),
    lambda: dg.ReduceLearningRate(X, factor=1.0),
    lambda: dg.ReduceLearningRate(X, min_scale=0.0),
])  # fmt: skip
def test_bad_options_are_refused(make):
    """Catches a callback that never acts because an option was misread."""
    with pytest.raises(ValueError, match="must be"):
        make()


def test_rows_that_cannot_be_watched_are_refused_before_any_work():
    """Catches an error after the first epoch, and a run whose estimator was changed by it."""
    for callback, words in (
        (dg.EarlyStopping(X[:, 1:]), "the rows to watch"),
        (dg.EarlyStopping(0.5 * X), "binarize"),
        (dg.FreeEnergyGap(X, X[:, 1:]), "X_valid"),
        (dg.FreeEnergyGap(X[:0], X), "X_train must have at least one row"),
        (dg.EarlyStopping(X[:0]), "the rows to watch must have at least one row"),
        (dg.ReduceLearningRate(X[:0]), "the rows to watch must have at least one row"),
        (dg.LikelihoodMonitor(X[:, 1:]), "X of LikelihoodMonitor must have shape"),
        (dg.LikelihoodMonitor(2 * X), r"X of LikelihoodMonitor must have values in \[0, 1\]"),
        (dg.LikelihoodMonitor(0.5 * X), "X of LikelihoodMonitor must be states.*binarize"),
        (dg.LikelihoodMonitor(X[:0]), "X of LikelihoodMonitor must have at least one row"),
    ):
        rbm = dg.RBM(**SMALL, callbacks=[callback])
        with pytest.raises(ValueError, match=words):
            rbm.fit(X)
        assert not hasattr(rbm, "model_")
    with pytest.raises(ValueError, match="LikelihoodMonitor"):
        fit(dg.EarlyStopping(X), visible="gaussian")
    with pytest.raises(ValueError, match="put the callback that writes it first"):
        fit(dg.EarlyStopping("log_likelihood"))


def runs():
    """A run of each type: of an RBM, of one whose rows are features, of a DBM, of networks."""
    rng = np.random.default_rng(0)
    layers = [dg.Binary(9), dg.Binary(4), dg.Binary(3)]
    weights = [rng.normal(size=(9, 4)), rng.normal(size=(4, 3))]
    settings = {"stream": dg.Stream(0), "batch_size": 20}

    def of_machine(n_layers, rule):
        model = dg.BoltzmannMachine(layers[:n_layers], weights[: n_layers - 1])
        return Trainer(model, rule, dg.SGD(), dg.Constant(0.1), **settings)

    upper = of_machine(2, dg.CD())
    upper.reads_data = False
    network = dg.Network([dg.NetworkLayer("linear", np.zeros(2), rng.normal(size=(9, 2)))])
    belief = dg.BeliefNetwork.from_stack([dg.BoltzmannMachine(layers[:2], weights[:1])])
    return {
        "rbm": of_machine(2, dg.CD()), "upper": upper, "dbm": of_machine(3, dg.MeanFieldPCD()),
        "network": dg.NetworkTrainer(
            network, dg.Objective(dg.SquaredError()), dg.SGD(), dg.Constant(0.1), **settings
        ),
        "belief": dg.UpDownTrainer(belief, dg.CD(), dg.SGD(), dg.Constant(0.1), **settings),
    }  # fmt: skip


def test_each_run_tells_what_can_be_watched_in_it():
    """Catches a monitor of rows in a run that reads features, a loss that is looked for in the run
    of a machine, and a name of a user's own that is kept from any run.
    """
    rows, losses = {"rbm", "dbm"}, {"network", "belief"}
    wanted = {
        "rows": (dg.EarlyStopping(X), rows),
        "gap": (dg.FreeEnergyGap(X, X), rows),
        "likelihood": (dg.LikelihoodMonitor(X), rows),
        "loss": (dg.EarlyStopping("loss"), losses),
        "validation_loss": (dg.ReduceLearningRate("validation_loss"), losses),
        "function": (dg.EarlyStopping(lambda model: 0.0), rows | losses | {"upper"}),
        "own": (dg.EarlyStopping("their_number"), rows | losses | {"upper"}),
    }
    for number in (
        "pseudo_log_likelihood", "log_likelihood", "log_partition", "log_partition_error",
        "free_energy_train", "free_energy_valid", "free_energy_gap",
    ):  # fmt: skip
        wanted[number] = (dg.EarlyStopping(number), rows)
    for name, (callback, where) in wanted.items():
        assert {run for run, trainer in runs().items() if callback.is_for(trainer)} == where, name
    for callback in (dg.FreeEnergyGap(X, X), dg.LikelihoodMonitor(X), dg.EarlyStopping(X)):
        callback.begin(runs()["rbm"])
        with pytest.raises(ValueError, match=r"needs a machine of two layers.*got 3"):
            callback.begin(runs()["dbm"])
        for run, name in (("network", "NetworkTrainer"), ("belief", "UpDownTrainer")):
            with pytest.raises(TypeError, match=f"a run of a Boltzmann machine, got a {name}"):
                callback.begin(runs()[run])


def test_a_run_of_another_type_needs_no_line_in_the_callbacks():
    """Catches a list of types that a new trainer would have to be taught to."""

    class Silent(dg.NetworkTrainer):
        watchable = frozenset({"validation_loss"})

    network = dg.Network([dg.NetworkLayer("linear", np.zeros(2), np.ones((9, 2)))])
    run = Silent(network, dg.Objective(dg.SquaredError()), dg.SGD(), dg.Constant(0.1),
                 stream=dg.Stream(0))  # fmt: skip
    assert not dg.EarlyStopping("loss").is_for(run)
    assert dg.EarlyStopping("validation_loss").is_for(run)


# --- the learning rate ------------------------------------------------------------------------


def test_the_rate_falls_at_a_plateau():
    """Catches a rate that falls each epoch after the first plateau, or never again."""
    scores = Scores(1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0)
    rbm = fit(dg.ReduceLearningRate(scores, patience=2, factor=0.1, min_scale=0.005))
    rates = np.array([entry["learning_rate"] for entry in rbm.history_])
    expected = [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.005, 0.005, 0.005]
    np.testing.assert_allclose(rates, 0.1 * np.array(expected))


# --- what is written and shown ----------------------------------------------------------------


def test_the_gap_is_that_of_log_likelihoods():
    """Catches a gap of the wrong sign or of sums: log Z must cancel."""
    rbm = fit(dg.FreeEnergyGap(X[:50], X[50:]))
    model, entry = rbm.model_, rbm.history_[-1]
    train, valid = (dg.exact_log_likelihood(model, rows).mean() for rows in (X[:50], X[50:]))
    np.testing.assert_allclose(entry["free_energy_gap"], train - valid, atol=1e-4)
    assert entry["free_energy_valid"] - entry["free_energy_train"] == entry["free_energy_gap"]


def test_the_log_holds_the_history(tmp_path):
    """Catches columns that come late, epochs that are missing, and numbers that are rounded."""
    path = tmp_path / "log.csv"

    def late(report):
        if report.epoch == 12:
            report.entry["late"] = 1 / 3

    rbm = fit(dg.CSVLog(path), late)
    with path.open() as file:
        lines = list(csv.DictReader(file))
    assert [int(line["epoch"]) for line in lines] == list(range(1, 13))
    assert [float(line["seconds"]) for line in lines] == [e["seconds"] for e in rbm.history_]
    assert [line["late"] for line in lines] == [""] * 11 + [repr(1 / 3)]


def test_a_log_that_cannot_be_written_warns(tmp_path):
    """Catches a run that a full disk ends, and warnings whose text is another one each time: a
    filter could not merge them."""
    folder = tmp_path / "gone"
    folder.mkdir()
    with pytest.warns(RuntimeWarning, match="could not be written") as heard:
        rbm = fit(lambda report: folder.exists() and folder.rmdir(), dg.CSVLog(folder / "log.csv"))
    assert len(rbm.history_) == 12
    assert len({str(warning.message) for warning in heard}) == 1


def test_a_log_that_never_can_be_written_is_found_before_any_work(tmp_path):
    """Catches a slip in a path that twelve warnings tell of, and no error."""
    for path, error in ((tmp_path / "none" / "log.csv", FileNotFoundError),
                        (tmp_path, IsADirectoryError)):  # fmt: skip
        rbm = dg.RBM(**SMALL, callbacks=[dg.CSVLog(path)])
        with pytest.raises(error):
            rbm.fit(X)
        assert not hasattr(rbm, "model_")
    for make in (dg.CSVLog, dg.Checkpoint):
        for path in (3, "", None):
            with pytest.raises(TypeError, match="path must be a str"):
                make(path)


def test_all_callbacks_end_whatever_one_of_them_raises(caplog):
    """Catches a log or a checkpoint that is lost because another callback cannot end."""

    class Ends:
        def __init__(self, error=None):
            self.error, self.ended = error, False

        def __call__(self, report):
            pass

        def end(self, trainer, error):
            self.ended = True
            if self.error is not None:
                raise self.error

    callbacks = [Ends(), Ends(OSError("one")), Ends(ValueError("two")), Ends()]
    with pytest.raises(OSError, match="one"):
        fit(*callbacks)
    assert all(callback.ended for callback in callbacks)
    assert "two" in caplog.text


def test_the_bar_shows_speed_and_the_newest_numbers(monkeypatch):
    """Catches a bar that stands still, that begins at zero again after a stop, or hides what
    callbacks found."""
    bars = []

    class Bar:
        def __init__(self, **options):
            self.options, self.n, self.texts = options, options["initial"], []
            bars.append(self)

        def update(self, n):
            self.n += n

        def set_postfix_str(self, text, refresh):
            self.texts.append(text)

        def close(self):
            self.closed = True

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    fit(dg.FreeEnergyGap(X[:50], X[50:]), verbose=1)
    (bar,) = bars
    assert (bar.options["total"], bar.n, bar.closed) == (84, 84, True)
    assert "rows/s" in bar.texts[0]
    assert "free_energy_gap=" in bar.texts[-1]
    assert "weight_max" not in bar.texts[-1]
    fit(verbose=0)
    assert len(bars) == 1


def test_what_happens_is_logged_without_a_handler(caplog):
    """Catches prints, and a library that decides where its log goes."""
    with caplog.at_level(logging.INFO, logger="deepgen"):
        fit(dg.EarlyStopping(Scores(1.0, 0.0, 0.0), patience=2))
    text = caplog.text
    assert "epoch 1: learning rate 0.1" in text
    assert "stopped, the best was 1" in text
    assert logging.getLogger("deepgen").handlers == []
