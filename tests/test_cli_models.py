"""``deepgen train --model``: every model by the same way, and which commands work on its file."""

import json
import os
import signal

import numpy as np
import pytest
from cli_runs import call, fails, working_folder

import deepgen as dg
from deepgen.cli import train
from deepgen.cli.common.building import estimator_for
from deepgen.cli.common.kinds import KINDS
from deepgen.cli.common.settings import FILES, HYPER_PARAMETERS, KNOWN

CLASSES = np.array(["ant", "bee", "big cat"])
SHORT = ["--n-epochs", "2", "--n-threads", "1"]
# By --model: flags, and the same estimator in Python.
EPOCHS = {"n_epochs": 2, "random_state": 0, "n_threads": 1}
RUNS = {
    "rbm": (["--n-hidden", 4, *SHORT], lambda: dg.RBM(4, **EPOCHS)),
    "dbn": (["--n-hidden", 5, 4, *SHORT], lambda: dg.DBN((5, 4), **EPOCHS)),
    "dbm": (
        ["--n-hidden", 5, 4, "--labels", "labels.csv", *SHORT],
        lambda: dg.DBM((5, 4), label_units=True, **EPOCHS),
    ),
    "replicated-softmax": (
        ["--n-hidden", 4, *SHORT], lambda: dg.ReplicatedSoftmax(4, **EPOCHS)
    ),
    "mixture": (
        ["--n-components", 3, "--max-iter", 4],
        lambda: dg.MixtureOfBernoullis(3, max_iter=4, random_state=0),
    ),
    "product-mixture": (
        ["--n-components", 3, "--max-iter", 4, "--visible", "gaussian"],
        lambda: dg.MixtureOfProducts(3, visible="gaussian", max_iter=4, random_state=0),
    ),
    "autoencoder": (["--n-hidden", 3, *SHORT], lambda: dg.Autoencoder(3, **EPOCHS)),
    "deep-autoencoder": (
        ["--n-hidden", 5, 3, "--pretrain-epochs", 1, *SHORT],
        lambda: dg.DeepAutoencoder((5, 3), pretrained=dg.Pretraining(1), **EPOCHS),
    ),
    "classifier": (
        ["--n-hidden", 5, "--labels", "labels.csv", *SHORT],
        lambda: dg.DeepClassifier(5, **EPOCHS),
    ),
    "regressor": (
        ["--n-hidden", 5, "--labels", "targets.npy", *SHORT],
        lambda: dg.DeepRegressor(5, **EPOCHS),
    ),
    "gaussian-process": (
        ["--n-hidden", 5, "--labels", "targets.npy", *SHORT],
        lambda: dg.DeepGaussianProcessRegressor(5, **EPOCHS),
    ),
    "neighbours": (
        ["--n-hidden", 5, "--n-components", 3, "--labels", "labels.csv", *SHORT],
        lambda: dg.NeighbourhoodComponents(5, 3, **EPOCHS),
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = working_folder(tmp_path, monkeypatch)
    X = np.load("train.npy")
    lines = [f'"{label}"' for label in CLASSES[label_numbers(X)]]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    np.save("targets.npy", X.mean(axis=1))
    return folder


def label_numbers(X):
    return (X[:, 0] + X[:, 4]) % 3


def learn(capsys, model, *more, out="m"):
    """Train a model by its flags; return what the command says."""
    argv = ["train", "--model", model, "--data", "train.npy", "--out", out, *RUNS[model][0], *more]
    code, found, lines = call(capsys, *argv)
    assert code == 0, lines
    return found


# --- one way for all ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", RUNS)
def test_train_is_the_estimator_of_the_library(model, folder, capsys):
    """Catches a default of the command line that is not the library's, and labels or a seed that
    do not arrive: the files would differ."""
    learn(capsys, model)
    X, estimator = np.load("train.npy"), RUNS[model][1]()
    numbers = KINDS[model].learns == "numbers"
    y = X.mean(axis=1) if numbers else CLASSES[label_numbers(X)]
    estimator.fit(X, y).save("wanted")
    assert (folder / "m").read_bytes() == (folder / "wanted").read_bytes()


def test_every_parameter_has_a_setting():
    """Catches a new hyper-parameter of an estimator that the command line forgets."""
    by_command = {"callbacks", "verbose", "label_units", "communicator"}  # --mpi
    for name, kind in KINDS.items():
        settable = {s.parameter_of(kind) for s in HYPER_PARAMETERS if name in s.owners}
        assert set(kind.estimator().get_params(deep=False)) - by_command <= settable, name
    # whose files are triples or sequences: test_cli_ratings.py, test_cli_sequences.py
    assert set(RUNS) == set(KINDS) - {"ratings", "temporal"}


OTHER = {
    "inference": "tap",
    "n_hidden": 7, "visible": "softmax:3", "rule": "cd", "k": 4, "n_particles": 9,
    "centring": False, "sparsity": 0.2, "sparsity_strength": 0.3, "learning_rate": 0.3,
    "learning_rate_end": 0.2, "momentum": 0.5, "weight_decay": 0.1, "averaging": 0.3,
    "line_searches": 5, "batch_size": 9, "n_epochs": 3, "seed": 5, "n_threads": 2,
    "features": "means", "transposed": True, "pretrain_epochs": 4, "pretrain_batch_size": 6,
    "l2": 0.1, "l1": 0.1, "loss": "squared_error", "masking": 0.3, "tied": False,
    "code": "logistic", "code_noise": 0.5, "inputs": "shares", "activation": "rectified",
    "dropout": 0.3, "input_dropout": 0.25, "recurrence_decay": 0.4,
    "top_epochs": 1, "class_weight": "balanced", "early_stopping": 4,
    "validation_fraction": 0.3, "smoothness": 0.5,
    "smoothness_weight": 2.0, "n_components": 4, "max_iter": 5, "tol": 0.5, "n_init": 2,
    "smoothing": 0.5, "binarize": True, "rows": "users", "scale": "1,2,4", "bins": 6,
    "conditional": True, "input_noise": 0.1, "noise_floor": 0.2, "fine_tune": False,
    "max_exact": 50, "inducing": 20, "temperature": 2.0, "reconstruction": 0.5,
    "recurrence": "window", "n_recurrent": 7, "order": 4, "n_gibbs": 3, "chunk": 50,
    "transpose": True,
}  # fmt: skip
BESIDE = {
    "sparsity_strength": {"sparsity": 0.1}, "learning_rate_end": {"learning_rate": 0.1},
    "momentum": {"optimizer": "sgd"}, "line_searches": {"optimizer": "lbfgs"},
    "pretrain_batch_size": {"pretrain_epochs": 1}, "validation_fraction": {"early_stopping": 3},
    "smoothness_weight": {"smoothness": 0.1},
}  # fmt: skip
ELSEWHERE = {"model", "unlabelled", "pretrained"}  # tests of their own


def value_for(setting, kind):
    if setting == "optimizer":
        return "sgd" if kind.is_network else "adam"
    if setting == "centring":
        return kind.name == "replicated-softmax"  # which does not, where nobody says
    if setting == "hidden":
        return "rectified" if kind.is_network else "gaussian"
    if setting == "visible" and kind.name == "temporal":
        return "gaussian"
    return OTHER[setting]


@pytest.mark.parametrize("model", KINDS)
def test_every_hyper_parameter_reaches_the_estimator(model):
    """Catches a setting that is listed, accepted and dropped."""
    kind = KINDS[model]
    names = {s.name for s in HYPER_PARAMETERS if model in s.owners} - ELSEWHERE
    for name in names:
        beside = {"model": model, **BESIDE.get(name, {})}
        if name == "k" and model == "ratings":
            beside["rule"] = "cd"
        if name == "visible" and kind.learns:
            beside["pretrain_epochs"] = 1
        with_it = estimator_for({**beside, name: value_for(name, kind)}).get_params(deep=False)
        without = estimator_for(beside).get_params(deep=False)
        assert {n: repr(v) for n, v in with_it.items()} != {n: repr(v) for n, v in without.items()}


@pytest.mark.parametrize("model", KINDS)
def test_settings_of_other_models_are_refused(model, folder, capsys):
    """Catches a flag that a model does not have and that is ignored: whoever gave it believes
    that it works. The message says who has it."""
    others = [s for s in KNOWN if model not in s.owners]
    assert others
    toml = {str: '"x"', bool: "true", int: "3", float: "0.5"}
    for setting in others:
        value = f'"{setting.choices[0]}"' if setting.choices else toml.get(setting.kind, '"x"')
        (folder / "run.toml").write_text(f"{setting.name} = {value}\n")
        argv = ["run.toml", "--model", model, "--data", "train.npy", "--out", "m"]
        line = fails(capsys, 2, "train", *argv)
        assert f"{setting.name} (in run.toml, or as {setting.flag}) is a setting of" in line
        assert f"{', '.join(setting.owners)}, but the model is {model}; " in line
    line = fails(capsys, 2, "train", *argv[1:], *_as_flag(others[0]))
    assert line.startswith(f"deepgen: {others[0].name} is a setting of")


def _as_flag(setting):
    if setting.kind is bool:
        return [setting.flag]
    value = setting.choices[0] if setting.choices else "3"
    return [setting.flag, value]


@pytest.mark.parametrize("model", ["rbm", "dbm", "mixture", "classifier", "replicated-softmax"])
def test_a_configuration_file_equals_flags(model, folder, capsys):
    """Catches a key that is read as another type than its flag, lists of sizes above all."""
    learn(capsys, model)
    flags = [str(word) for word in RUNS[model][0]]
    lines, name = [f'model = "{model}"', 'data = "train.npy"', 'out = "t"'], None
    values = {}
    for word in flags:
        if word.startswith("--"):
            name = word[2:].replace("-", "_")
        else:
            values.setdefault(name, []).append(word if word.isdecimal() else f'"{word}"')
    lines += [f"{n} = {v[0] if len(v) == 1 else '[' + ', '.join(v) + ']'}" for n, v in
              values.items()]  # fmt: skip
    (folder / "run.toml").write_text("\n".join(lines))
    code, _, messages = call(capsys, "train", "run.toml")
    assert code == 0, messages
    assert (folder / "t").read_bytes() == (folder / "m").read_bytes()


def test_a_configuration_file_may_stand_behind_sizes(folder, capsys):
    """Catches CONFIG taken for one more size, where it has always been allowed."""
    (folder / "run.toml").write_text('n_epochs = 1\ndata = "train.npy"\nout = "m"\n')
    for sizes in (["4"], ["4", "3", "--model", "dbn", "--n-hidden", "4", "3"]):
        assert call(capsys, "train", "--n-hidden", *sizes, "run.toml")[0] == 0
    assert dg.load("m").n_hidden == (4, 3)
    assert "one file" in fails(capsys, 2, "train", "run.toml", "--n-hidden", "4", "other.toml")


# --- what works on the files --------------------------------------------------------------------

WORKS = {
    "rbm": {"score", "sample", "transform", "impute"},
    "dbn": {"score", "sample", "transform", "impute"},
    "dbm": {"score", "sample", "transform", "impute", "predict", "predict --proba"},
    "replicated-softmax": {"score", "sample", "transform", "impute", "topics"},
    "mixture": {"score", "sample", "transform", "impute", "predict", "predict --proba"},
    "product-mixture": {"score", "sample", "transform", "impute", "predict", "predict --proba"},
    "autoencoder": {"score", "transform"},
    "deep-autoencoder": {"score", "transform"},
    "classifier": {"score --labels", "predict", "predict --proba"},
    "regressor": {"score --labels", "predict"},
    "gaussian-process": {"score --labels", "predict", "predict --std"},
    "neighbours": {"score --labels", "transform", "predict", "predict --proba"},
}
COMMANDS = {
    "score": ["score", "m", "valid.npy"],
    "sample": ["sample", "m", "--n", 3, "--sweeps", 2, "--out", "o.npy"],
    "transform": ["transform", "m", "valid.npy", "--out", "o.npy"],
    "impute": ["impute", "m", "gaps.npy", "--n-chains", 2, "--sweeps", 2, "--out", "o.npy"],
    "predict": ["predict", "m", "valid.npy", "--out", "o.npy"],
    "predict --proba": ["predict", "m", "valid.npy", "--proba", "--out", "o.npy"],
    "predict --std": ["predict", "m", "valid.npy", "--std", "--out", "o.npy"],
    "topics": ["topics", "m", "--n", 3],
}
WITHOUT_CHAINS = {
    "sample": ["sample", "m", "--n", 3, "--out", "o.npy"],
    "impute": ["impute", "m", "gaps.npy", "--out", "o.npy"],
}
OTHERWISE = {  # without chains; of documents, which lack words
    "mixture": WITHOUT_CHAINS,
    "product-mixture": WITHOUT_CHAINS,
    "replicated-softmax": {
        "impute": ["impute", "m", "valid.npy", "--words", 2, "--sweeps", 2, "--out", "o.npy"],
    },
}
SHAPES = {"transform": (60, None), "impute": (60, 9), "sample": (3, 9), "predict": (60,),
          "predict --std": (60, 2)}  # fmt: skip
WORDS = {"rbm": "an RBM", "dbm": "a DBM with label units", "autoencoder": "an Autoencoder",
         "regressor": "a DeepRegressor"}  # fmt: skip


@pytest.mark.parametrize("model", WORKS)
def test_every_command_works_or_says_why_not(model, folder, capsys):
    """Catches an AttributeError of a file that a command was not made for, JSON that is none, and
    a refusal that leaves the user without what does work."""
    result = json.loads(learn(capsys, model, "--json"))
    assert result["n_updates"] >= 2
    assert set(result) - {"layers"} == {
        "model", "history", "data", "n_rows", "n_columns", "settings", "n_updates", "seconds",
        "last_epoch",
    }  # fmt: skip
    about = json.loads(call(capsys, "info", "m", "--json")[1])
    assert about["estimator"] == type(RUNS[model][1]()).__name__
    wanted = CLASSES.tolist() if model in ("dbm", "classifier", "neighbours") else None
    assert about["classes"] == wanted
    assert call(capsys, "info", "m")[0] == 0
    X = np.load("valid.npy").astype(np.float32)
    X[:, 2] = np.nan
    np.save("gaps.npy", X)
    for name, argv in COMMANDS.items():
        argv = OTHERWISE.get(model, {}).get(name, argv)
        if name not in WORKS[model]:
            line = fails(capsys, 2 if f"{name} --labels" in WORKS[model] else 1, *argv)
            assert f"m holds {WORDS.get(model, '')}" in line
            for able in WORKS[model] if "commands that work" in line else ():
                assert able.split()[0] in line
            continue
        code, out, lines = call(capsys, *argv, "--json")
        assert (code, lines) == (0, [])
        found = json.loads(out)
        if name in SHAPES:
            shape = np.load("o.npy").shape
            assert found["shape"] == list(shape)
            assert all(a == b for a, b in zip(SHAPES[name], shape, strict=True) if a)
        assert call(capsys, *argv)[0] == 0


WATCHED = {
    "rbm": ["free_energy_gap", "log_likelihood"],
    "dbn": ["free_energy_gap", "log_likelihood"],
    "autoencoder": ["validation_squared_error"],
    "deep-autoencoder": ["validation_squared_error"],
    "classifier": ["validation_accuracy"],
    "regressor": ["validation_r_squared"],
    "replicated-softmax": ["completion_perplexity"],
}


@pytest.mark.parametrize("model", WATCHED)
def test_held_out_rows_are_watched(model, folder, capsys):
    """Catches a number of other rows, labels or epochs: the last one must be what `score` says of
    the file. A pretraining must not end in a TypeError of what watches networks."""
    more = ["--averaging", "0"]
    if model in ("classifier", "regressor"):
        labels = "labels.csv" if model == "classifier" else "targets.npy"
        more += ["--valid-labels", labels, "--pretrain-epochs", "1"]
    result = json.loads(
        learn(capsys, model, "--valid", "train.npy", *more, "--history", "h.json", "--json")
    )
    last = result["layers"][0] if model == "dbn" else result["last_epoch"]
    assert set(WATCHED[model]) <= set(last)
    assert json.loads((folder / "h.json").read_text())[-1] == result["last_epoch"]
    words = learn(capsys, model, "--valid", "train.npy", *more)
    assert "held-out" in words
    if model in ("rbm", "dbn", "replicated-softmax"):
        return
    argv = ["--labels", labels] if "validation_squared_error" not in last else []
    found = json.loads(call(capsys, "score", "m", "train.npy", *argv, "--json")[1])
    (name,) = WATCHED[model]
    score = found[name.removeprefix("validation_")]["value"]
    assert np.isclose(score, last[name], rtol=1e-4, atol=1e-6)


def test_held_out_rows_of_a_network_beside_a_machine(folder, capsys):
    """Catches a network that is judged without the posterior that it reads."""
    learn(capsys, "dbm", out="dbm")
    argv = ["--model", "classifier", "--data", "train.npy", "--labels", "labels.csv", *SHORT,
            "--pretrained", "dbm", "--valid", "train.npy", "--valid-labels", "labels.csv",
            "--averaging", "0", "--out", "m", "--json"]  # fmt: skip
    code, out, lines = call(capsys, "train", *argv)
    assert code == 0, lines
    scored = call(capsys, "score", "m", "train.npy", "--labels", "labels.csv", "--json")[1]
    found = json.loads(out)["last_epoch"]["validation_accuracy"]
    assert found == json.loads(scored)["accuracy"]["value"]


# --- starts from model files ----------------------------------------------------------------------


def test_starts_from_a_file_are_those_of_the_library(folder, capsys):
    """Catches a file that is named and not used, sizes that are not its own, and the slow rates of
    a DBM's upper weights lost to one flag of its optimizer."""
    X = np.load("train.npy")
    learn(capsys, "dbn", out="dbn")
    common = ["train", "--data", "train.npy", "--out", "m", *SHORT]
    argv = ["--model", "deep-autoencoder", "--pretrained", "dbn"]
    assert call(capsys, *common, *argv)[0] == 0
    dbn = dg.load("dbn").model_
    dg.DeepAutoencoder((5, 4), pretrained=dbn, code="logistic", **EPOCHS).fit(X).save("w")
    assert (folder / "m").read_bytes() == (folder / "w").read_bytes()
    dbm = dg.DBM((5, 4), **EPOCHS).fit(X)
    dbm.save("dbm")
    for more in ([], ["--weight-decay", "0.0001"]):
        assert call(capsys, *common, "--model", "dbm", "--pretrained", "dbm", *more)[0] == 0
        dg.DBM((5, 4), pretrained=dg.load("dbm").model_, **EPOCHS).fit(X).save("w")
        assert (folder / "m").read_bytes() == (folder / "w").read_bytes()
    y = CLASSES[label_numbers(X)]
    assert call(capsys, *common, "--model", "classifier", "--labels", "labels.csv",
                "--pretrained", "dbn")[0] == 0  # fmt: skip
    start = dg.DeepClassifier((5, 4), pretrained=dbn, **EPOCHS)
    start.fit(X, y).save("w")
    assert (folder / "m").read_bytes() == (folder / "w").read_bytes()


def test_files_that_none_can_start_from(folder, capsys):
    """Catches a traceback, and a size on the command line that the file overrules in silence."""
    learn(capsys, "mixture", out="mixture")
    learn(capsys, "dbm", out="dbm")
    common = ["train", "--data", "train.npy", "--out", "m", "--model"]
    argv = [*common, "classifier", "--labels", "labels.csv", "--pretrained"]
    assert "dbn or dbm" in fails(capsys, 1, *argv, "mixture")
    assert "missing" in fails(capsys, 1, *argv, "missing")
    assert "train.npy" in fails(capsys, 1, *argv, "train.npy")
    assert "leave it out" in fails(capsys, 2, *argv, "dbm", "--n-hidden", "5")
    line = fails(capsys, 2, *common, "dbm", "--pretrained", "dbm")
    assert "labels is missing: the model in pretrained, dbm, has label units" in line
    assert "only one" in fails(capsys, 2, *argv, "dbm", "--pretrain-epochs", "5")
    assert "rbm" in fails(capsys, 1, *common, "deep-autoencoder", "--pretrained", "dbm")
    assert "is pretrained too" in fails(
        capsys, 2, "train", "--data", "train.npy", "--model", "dbm", "--pretrained", "dbm",
        "--labels", "labels.csv", "--out", "dbm",
    )  # fmt: skip


# --- wrong usage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("rbm --n-hidden 4 5", "one size for the model rbm"),
        ("autoencoder --n-hidden 4 5", "deep-autoencoder"),
        ("autoencoder --n-hidden 0", "n_hidden must be a positive integer"),
        ("autoencoder --n-hidden 99999999999", "n_hidden must be"),
        ("dbn --n-hidden 4 0", "each size in n_hidden must be"),
        ("autoencoder --hidden binary", "logistic, linear or rectified"),
        ("dbm --optimizer lbfgs", "sgd or adam"),
        ("autoencoder --optimizer lbfgs --learning-rate 1", "learning_rate belongs to"),
        ("autoencoder --line-searches 3", "line_searches belongs to"),
        ("autoencoder --optimizer adam --momentum 0.5", "momentum belongs to"),
        ("autoencoder --masking 2", "masking"),
        ("mixture --tol -1", "tol"),
        ("replicated-softmax --n-hidden 4 5", "one size for the model replicated-softmax"),
        ("replicated-softmax --rule cd --n-particles 5", "n_particles belongs to the rule pcd"),
        ("replicated-softmax --visible gaussian", "visible is a setting of rbm, dbn"),
        ("replicated-softmax --optimizer lbfgs", "sgd or adam"),
        ("mixture --n-components 0", "n_components"),
        ("classifier", "labels is missing"),
        ("regressor", "labels is missing"),
        ("classifier --labels labels.csv --valid valid.npy", "valid_labels is missing"),
        ("classifier --labels labels.csv --visible gaussian", "needs pretrain_epochs"),
        ("classifier --labels labels.csv --dropout 1", "dropout"),
        ("classifier --labels labels.csv --validation-fraction 0.2", "needs early_stopping"),
        ("classifier --labels labels.csv --smoothness-weight 1", "needs smoothness"),
        ("classifier --labels labels.csv --smoothness 1 --optimizer lbfgs", "smoothness needs"),
        ("classifier --labels labels.txt", "labels must be a .npy"),
        ("dbm --unlabelled 3", "needs labels"),
        ("dbm --pretrain-batch-size 3", "needs pretrain_epochs"),
        ("dbm --labels labels.csv --n-hidden 4 --out labels.csv", "is labels too"),
    ],
)
def test_wrong_settings_are_code_2(argv, words, folder, capsys):
    """Catches a traceback, an ignored setting, and a run that starts without what it needs."""
    common = ["train", "--data", "train.npy", "--out", "m", "--model"]
    before = (folder / "labels.csv").read_bytes()
    assert words in fails(capsys, 2, *common, *argv.split())
    assert not (folder / "m").exists()
    assert (folder / "labels.csv").read_bytes() == before


# --- stops ----------------------------------------------------------------------------------------


def stops_at(**place):
    """A callback that presses Ctrl-C after an epoch whose history entry has these numbers."""

    def stop(report):
        if all(report.entry.get(name) == value for name, value in place.items()):
            os.kill(os.getpid(), signal.SIGINT)

    return [stop]


STOPS = {
    "replicated-softmax": ("replicated-softmax", {"epoch": 2}),
    "dbn in its second layer": ("dbn", {"layer": 1, "epoch": 2}),
    "dbm in its greedy start": ("dbm", {"layer": 0, "epoch": 2}),
    "dbm": ("dbm", {"layer": None, "epoch": 2}),
    "classifier": ("classifier", {"layer": None, "epoch": 2}),
    "classifier in its pretraining": ("classifier", {"layer": 0, "epoch": 1}),
    "deep-autoencoder": ("deep-autoencoder", {"layer": None, "epoch": 2}),
}


@pytest.mark.parametrize("name", STOPS)
def test_a_stopped_run_goes_on_with_the_same_bits(name, folder, capsys, monkeypatch):
    """Catches --resume that begins anew, in a stack too, and Ctrl-C that leaves no model where
    there is one: the file of the run that went on would differ from that of a whole one."""
    model, place = STOPS[name]
    more = ["--n-epochs", "4"]
    if model == "classifier":
        more += ["--pretrain-epochs", "2"]
    learn(capsys, model, *more)
    whole = (folder / "m").read_bytes()
    os.remove("m")
    argv = ["train", "--model", model, "--data", "train.npy", "--out", "m", *RUNS[model][0], *more,
            "--checkpoint", "c", "--resume"]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(train, "monitors_for", lambda *_: stops_at(**place))
        code, out, lines = call(capsys, *argv)
    assert (code, out) == (130, "")
    assert "starting anew" in lines[0]
    assert lines[1].endswith("go on by the same command with --resume")
    has_model = model == "dbn" or place.get("layer") is None
    assert (folder / "m").exists() == has_model
    assert ("is in m" if has_model else "no model to write yet") in lines[1]
    code, _, lines = call(capsys, *argv, "--json")
    assert (code, lines) == (0, [])
    assert (folder / "m").read_bytes() == whole


def test_ctrl_c_keeps_the_mixture_so_far(folder, capsys, monkeypatch):
    """Catches iterations that are lost, and a message about updates, of which there are none."""
    whole = dg.MixtureOfBernoullis.fit

    def interrupted(self, X):
        whole(self, X)
        raise KeyboardInterrupt

    monkeypatch.setattr(dg.MixtureOfBernoullis, "fit", interrupted)
    argv = ["train", "--model", "mixture", "--data", "train.npy", "--out", "m", *RUNS["mixture"][0]]
    line = fails(capsys, 130, *argv)
    assert "the model of 4 iterations is in m" in line
    assert "--resume" not in line
    assert dg.load("m").n_features_in_ == 9


def test_a_diverged_network_keeps_the_last_good_one(folder, capsys):
    """Catches the traceback of a DivergedError of other models than the RBM."""
    np.save("large.npy", np.random.default_rng(0).normal(0, 1e6, (300, 9)))
    argv = ["--model", "autoencoder", "--visible", "gaussian", "--optimizer", "sgd",
            "--learning-rate", "1e10", "--no-tied"]  # fmt: skip
    line = fails(capsys, 1, "train", *argv, "--data", "large.npy", "--out", "m")
    assert "diverged" in line
    assert "is in m" in line


def test_settings_are_listed_once():
    """Catches two settings of one name: one of them would be lost."""
    names = [setting.name for setting in KNOWN]
    assert len(set(names)) == len(names) == len(FILES) + len(HYPER_PARAMETERS)
